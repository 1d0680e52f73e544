//! The log of a command that keeps running: lines on stderr.

use std::io::{self, Write};

use crate::values::timestamp::Timestamp;

/// One line for people, with the time.
pub fn log(text: &str) {
    let line = text.replace(|c: char| c.is_control(), "?");
    let _ = writeln!(io::stderr(), "{} {line}", Timestamp::now());
}
