//! Is this NATS micro service (ADR-32) up? A straight pipe from arguments to an exit code:
//!
//! ```text
//! arguments -> Config -> probe -> Observation -> judge(memory, observation, policy, now) -> Verdict -> text, exit code
//! ```
//!
//! The rooms, in the order in which they may use each other: only those that stand further down, and never in a circle
//! (`tests/layout.rs` watches over it).
//!
//! - [`commands`]: check, textfile, probe, watch, state, list; all look at a service by `run_check`, or at all of them by `run_all`
//! - [`cli`]: arguments, variables and the context -> Config, or one line that says what is wrong
//! - [`serve`]: a small HTTP server in one thread, whose clients have bounds; it knows nothing of services
//! - [`render`]: one file for each output; a renderer returns text
//! - [`judge`]: which findings, in which order; one rule a file
//! - [`state`]: what is remembered, and the one file that knows the state file
//! - [`probe`]: when to send what, what was seen, what failed, and the one file that names the NATS client
//! - [`connect`]: servers, credentials, contexts and requests as configured: validated, no network
//! - [`files`]: small files, read within a deadline and replaced whole
//! - [`process`]: what ends a run: deadline, signals, panics, memory; and the one exit
//! - [`values`]: duration, range, status, timestamp, text
//!
//! `judge`, `render` and `values` are pure: no file, no network, no clock but [`values::timestamp::Timestamp::now`], which
//! `judge` does not call.

// Each with its reason; tests/layout.rs lists the files that have any.
#![warn(clippy::undocumented_unsafe_blocks, unsafe_op_in_unsafe_fn)]

pub mod cli;
pub mod commands;
pub mod connect;
pub mod files;
pub mod judge;
pub mod probe;
pub mod process;
pub mod render;
pub mod serve;
pub mod state;
pub mod values;
