//! Writes the file that the textfile collector of node_exporter reads: whole or not at all, and readable by it.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions, Permissions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process;
use std::time::Duration;

use crate::guard::user::euid;

/// The collector runs as another user.
const MODE: u32 = 0o644;

/// For how long a file that nobody has locked may just be in the making.
const YOUNG: Duration = Duration::from_secs(10);

/// Writes the text to the file, by renaming a new file in the same folder. A failure keeps the old file.
///
/// The name of the new file does not end in `.prom`: the collector reads those, hidden ones too. It is locked while it is
/// written, so that what a killed run left behind can be told from what another one writes now, and removed.
///
/// # Errors
///
/// One line that names the file.
pub fn write(path: &Path, text: &str) -> Result<(), String> {
    replace(path, text.as_bytes()).map_err(|why| format!("cannot write {}: {why}", path.display()))
}

fn replace(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let Some(name) = path.file_name() else {
        return Err("that is not the name of a file".into());
    };
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_symlink() => return Err("it is a symbolic link, give the path that it stands for".into()),
        Ok(meta) if meta.is_dir() => return Err("it is a folder, give the name of a file in it".into()),
        Ok(meta) if !meta.is_file() => return Err("it is no regular file".into()),
        _ => {}
    }
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    remove_leftovers(dir, name);
    let temporary = dir.join(temporary_name(name));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(&temporary)
        .map_err(|error| no_file_in(dir, &error))?;
    // Where there are no locks, what is left behind stays.
    let _ = file.try_lock();
    let written = fill(&mut file, bytes)
        .map_err(|error| error.to_string())
        .and_then(|()| fs::rename(&temporary, path).map_err(|error| not_renamed(&error)));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn fill(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    // Whatever the umask.
    file.set_permissions(Permissions::from_mode(MODE))?;
    file.write_all(bytes)?;
    file.sync_data()
}

fn no_file_in(dir: &Path, error: &io::Error) -> String {
    let dir = dir.display();
    match error.kind() {
        ErrorKind::NotFound => format!("there is no folder {dir}"),
        ErrorKind::NotADirectory => format!("{dir} is no folder"),
        ErrorKind::PermissionDenied => format!("user {} may not write to the folder {dir}: {error}", euid()),
        _ => error.to_string(),
    }
}

fn not_renamed(error: &io::Error) -> String {
    match error.kind() {
        // As containers do with a single file.
        ErrorKind::ResourceBusy => format!("it is mounted by itself, mount its folder instead: {error}"),
        _ => error.to_string(),
    }
}

/// A new name each time, with a random number: in containers, all have the same process id.
fn temporary_name(name: &OsStr) -> OsString {
    let random = RandomState::new().build_hasher().finish();
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}-{random}.tmp", process::id()));
    temporary
}

fn is_temporary_name(file: &OsStr, name: &OsStr) -> bool {
    let rest = file.as_bytes().strip_prefix(b".");
    let rest = rest.and_then(|rest| rest.strip_prefix(name.as_bytes()));
    let number = rest.and_then(|rest| rest.strip_prefix(b".")?.strip_suffix(b".tmp"));
    number.is_some_and(|number| !number.is_empty() && number.iter().all(|b| b.is_ascii_digit() || *b == b'-'))
}

/// Removes the new file that this process was writing when it was killed.
pub fn remove_leftovers_of(path: &Path, pid: i32) {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return;
    };
    let begin = format!(".{name}.{pid}-");
    let dir = path
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry
            .file_name()
            .to_str()
            .is_some_and(|file| file.starts_with(&begin) && file.ends_with(".tmp"))
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Removes the new files of runs that were killed. Nobody holds their locks any more.
fn remove_leftovers(dir: &Path, name: &OsStr) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if is_file && is_temporary_name(&entry.file_name(), name) && is_abandoned(&entry.path()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn is_abandoned(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    // Between its making and its locking, a file is young.
    let modified = file.metadata().and_then(|meta| meta.modified());
    let is_old = modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > YOUNG));
    is_old && file.try_lock().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_collector_never_reads_a_file_in_the_making() {
        for name in ["orders.prom", ".hidden.prom", "a b.prom", "x", "1.prom.2-3.tmp"] {
            let temporary = temporary_name(OsStr::new(name));
            assert!(!temporary.as_bytes().ends_with(b".prom"), "{temporary:?}");
            assert!(is_temporary_name(&temporary, OsStr::new(name)), "{temporary:?}");
        }
        let not_utf_8 = OsStr::from_bytes(b"\xff.prom");
        assert!(is_temporary_name(&temporary_name(not_utf_8), not_utf_8));
    }

    #[test]
    fn nobody_else_s_files_are_taken_for_ours() {
        for file in [
            "orders.prom",
            ".orders.prom",
            ".orders.prom.tmp",
            ".orders.prom..tmp",
            ".orders.prom.1-2.tmp.prom",
            ".orders.prom.1-2",
            ".orders.prom.old.tmp",
            "orders.prom.1-2.tmp",
            ".orders2.prom.1-2.tmp",
            ".my_orders.prom.1-2.tmp",
        ] {
            assert!(
                !is_temporary_name(OsStr::new(file), OsStr::new("orders.prom")),
                "{file}"
            );
        }
    }
}
