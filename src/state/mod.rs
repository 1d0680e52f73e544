//! The memory from run to run: `memory` has its types, `format` its form in a file, and `state_file` alone knows the file.

pub mod account;
pub mod account_format;
pub mod account_store;
pub mod baseline;
pub mod changes;
pub mod fields;
pub mod format;
pub mod key;
pub mod location;
pub mod memory;
pub mod state_file;
pub mod statistics;
pub mod store;

#[cfg(test)]
pub mod fixture;
