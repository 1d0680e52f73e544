//! The bounds of a run: its deadline, signals, panics, memory, and its one exit.

pub mod exit;
pub mod memory;
pub mod names;
pub mod user;
pub mod watchdog;
