//! Writes the file that the textfile collector of node_exporter reads: whole or not at all, and readable by it.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process;
use std::time::Duration;

use rustix::fs::{FileType, OFlags};

use super::folder::Folder;
use crate::process::user::euid;

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
    const NO_NAME: &str = "that is not the name of a file";
    let name = path.file_name().ok_or(NO_NAME)?;
    let dir = parent(path);
    // All steps use this open folder, even if another one replaces it.
    let folder = Folder::open(dir).map_err(|error| no_file_in(dir, &error))?;
    match folder.kind(name) {
        Some(FileType::Symlink) => return Err("it is a symbolic link, give the path that it stands for".into()),
        Some(FileType::Directory) => return Err("it is a folder, give the name of a file in it".into()),
        None | Some(FileType::RegularFile) if file_name(path).is_some() => {}
        None | Some(FileType::RegularFile) => return Err(NO_NAME.into()),
        Some(_) => return Err("it is no regular file".into()),
    }
    remove_leftovers(&folder, name);
    let temporary = temporary_name(name);
    let mut file = folder
        .open_file(&temporary, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL, MODE)
        .map_err(|error| no_file_in(dir, &error))?;
    // Without locks, leftovers stay.
    let _ = file.try_lock();
    let written = fill(&mut file, bytes)
        .map_err(|error| error.to_string())
        .and_then(|()| folder.rename(&temporary, name).map_err(|error| not_renamed(&error)));
    if written.is_err() {
        let _ = folder.remove(&temporary);
    }
    written
}

/// The name of a file in its folder, if that is what the path names.
pub fn file_name(path: &Path) -> Option<&OsStr> {
    path.file_name()
        .filter(|_| !path.as_os_str().as_bytes().ends_with(b"/"))
}

/// The folder of a file.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

fn fill(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    // The mode is set whatever the umask is.
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
        // Containers mount single files this way.
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
    let (Some(name), Ok(folder)) = (path.file_name().and_then(OsStr::to_str), Folder::open(parent(path))) else {
        return;
    };
    let begin = format!(".{name}.{pid}-");
    for file in folder.names().unwrap_or_default() {
        let is_of_pid = |file: &str| file.starts_with(&begin) && file.ends_with(".tmp");
        if file.to_str().is_some_and(is_of_pid) {
            let _ = folder.remove(&file);
        }
    }
}

/// Removes the new files of runs that were killed. Nobody holds their locks any more.
fn remove_leftovers(folder: &Folder, name: &OsStr) {
    for file in folder.names().unwrap_or_default() {
        if is_temporary_name(&file, name) && is_abandoned(folder, &file) {
            let _ = folder.remove(&file);
        }
    }
}

/// Returns `true` for a file of this user that no process writes to. A file that others have put in its place is neither followed
/// nor waited for.
fn is_abandoned(folder: &Folder, name: &OsStr) -> bool {
    let Ok(file) = folder.open_file(name, OFlags::RDONLY, 0) else {
        return false;
    };
    let Ok(meta) = file.metadata() else { return false };
    // A file is young between its creation and its locking.
    let is_old = meta
        .modified()
        .is_ok_and(|at| at.elapsed().is_ok_and(|age| age > YOUNG));
    meta.is_file() && meta.uid() == euid() && is_old && file.try_lock().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collector_never_reads_a_temporary_file() {
        for name in ["orders.prom", ".hidden.prom", "a b.prom", "x", "1.prom.2-3.tmp"] {
            let temporary = temporary_name(OsStr::new(name));
            assert!(!temporary.as_bytes().ends_with(b".prom"), "{temporary:?}");
            assert!(is_temporary_name(&temporary, OsStr::new(name)), "{temporary:?}");
        }
        let not_utf_8 = OsStr::from_bytes(b"\xff.prom");
        assert!(is_temporary_name(&temporary_name(not_utf_8), not_utf_8));
    }

    #[test]
    fn only_own_temporary_files_are_recognized() {
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
