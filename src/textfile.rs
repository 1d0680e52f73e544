//! Writes the file that the textfile collector of node_exporter reads: whole or not at all, and readable by it.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process;
use std::time::Duration;

use crate::timestamp::Timestamp;

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
    let shown = path.display();
    let failed = |e: io::Error| format!("cannot write {shown}: {e}");
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return Err(format!("cannot write {shown}: it is not the name of a file"));
    };
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_symlink() => {
            return Err(format!(
                "cannot write {shown}: it is a symbolic link; give the path that it stands for"
            ));
        }
        Ok(meta) if !meta.is_file() => return Err(format!("cannot write {shown}: it is no regular file")),
        _ => {}
    }
    remove_leftovers(dir, name);
    // In containers, all have the same process id.
    let unique = Timestamp::now().as_micros();
    let temporary = dir.join(format!(".{name}.{}-{unique}.tmp", process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(&temporary)
        .and_then(|mut file| {
            let _ = file.try_lock();
            // Whatever the umask.
            file.set_permissions(Permissions::from_mode(MODE))?;
            file.write_all(text.as_bytes())?;
            file.sync_data()?;
            fs::rename(&temporary, path)
        });
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(failed)
}

/// Removes the new files of runs that were killed. Nobody holds their locks any more.
fn remove_leftovers(dir: &Path, name: &str) {
    let (begin, end) = (format!(".{name}."), ".tmp");
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let file_name = entry.file_name();
        let is_ours = file_name.to_str().is_some_and(|file| {
            let pid = file.strip_prefix(&begin).and_then(|rest| rest.strip_suffix(end));
            pid.is_some_and(|pid| !pid.is_empty() && pid.bytes().all(|b| b.is_ascii_digit() || b == b'-'))
        });
        if is_ours && entry.file_type().is_ok_and(|kind| kind.is_file()) && is_abandoned(&entry.path()) {
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
