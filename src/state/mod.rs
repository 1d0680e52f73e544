//! What is remembered from run to run: `memory` says what, and `store` alone knows the file.

pub mod memory;
pub mod store;
