//! Small files that the user names, of text mostly.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use crate::files::user_path::UserPath;

/// The path as far as it may be printed: see [`UserPath`].
pub fn shown(path: &Path) -> String {
    UserPath(path).to_string()
}

/// Time between two reads of a pipe.
const PIPE_POLL: Duration = Duration::from_millis(5);

/// Reads a file of text that has at most this many bytes. It may be a pipe: until the deadline, its writer may be late.
///
/// # Errors
///
/// Why it cannot be read, without its name and without anything of it.
pub fn read_text(path: &Path, largest: u64, deadline: Instant) -> Result<String, String> {
    let bytes = read_bytes(path, largest, deadline)?;
    String::from_utf8(bytes).map_err(|_| "it is not text".into())
}

/// The same for a file of whatever it is.
///
/// # Errors
///
/// As for [`read_text`].
pub fn read_bytes(path: &Path, largest: u64, deadline: Instant) -> Result<Vec<u8>, String> {
    // Opening a pipe without a writer would block for ever.
    let open = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits() as i32)
        .open(path);
    let file = open.map_err(|e| e.to_string())?;
    let is_pipe = file.metadata().is_ok_and(|meta| meta.file_type().is_fifo());
    let mut reader = file.take(largest + 1);
    let mut bytes = Vec::new();
    loop {
        match reader.read_to_end(&mut bytes) {
            // There was no writer yet: a pipe that had one ends after its data.
            Ok(_) if bytes.is_empty() && is_pipe => {}
            Ok(_) => break,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(e.to_string()),
        }
        if Instant::now() >= deadline {
            return Err("nothing more comes out of this pipe, and the time is up (--timeout)".into());
        }
        thread::sleep(PIPE_POLL);
    }
    if bytes.len() as u64 > largest {
        return Err(format!("it is larger than {largest} bytes"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_not_text_are_reported() {
        let soon = || Instant::now() + Duration::from_millis(20);
        assert_eq!(read_text(Path::new("/dev/null"), 10, soon()), Ok(String::new()));
        assert_eq!(
            read_text(Path::new("/dev/zero"), 10, soon()).err().as_deref(),
            Some("it is larger than 10 bytes")
        );
        assert!(read_text(Path::new("/"), 10, soon()).is_err());
        assert!(read_text(Path::new("/nonexistent"), 10, soon()).is_err());
        assert_eq!(
            read_text(Path::new("/proc/self/comm"), 100, soon()).map(|text| text.is_empty()),
            Ok(false)
        );
    }
}
