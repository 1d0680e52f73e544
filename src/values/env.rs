//! The environment, as an argument: what is read from it can be tested.

use std::ffi::OsString;

/// Looks up an environment variable.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;
