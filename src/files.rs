//! Small files of text that the user names.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::text::clean;

/// The path, to be printed.
pub fn shown(path: &Path) -> String {
    clean(&path.to_string_lossy(), 200)
}

/// Reads a file of text that has at most this many bytes.
///
/// # Errors
///
/// Why it cannot be read, without its name and without anything of it.
pub fn read_text(path: &Path, largest: u64) -> Result<String, String> {
    let mut text = String::new();
    let file = File::open(path).map_err(|e| e.to_string())?;
    match file.take(largest + 1).read_to_string(&mut text) {
        Ok(length) if length as u64 > largest => Err(format!("it is larger than {largest} bytes")),
        Ok(_) => Ok(text),
        Err(e) if e.kind() == io::ErrorKind::InvalidData => Err("it is not text".into()),
        Err(e) => Err(e.to_string()),
    }
}
