//! The one file that knows the state file: where it is, how it reads, and how it survives whatever happens.
//!
//! The file is JSON, format 1; the man page describes it for admins. Nothing in here decides anything about a service.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::format;
use super::memory::Memory;
use super::question::Question;
use crate::guard::user::euid;
use crate::values::timestamp::Timestamp;

/// A file of ours cannot be larger, in bytes: 4096 ids of 128 bytes, twice, and the words of 256 instances stay below it.
pub const LARGEST: u64 = 4 * 1024 * 1024;

/// Behind the name of the state: the last one that was synced to the disk.
const SYNCED: &str = ".synced";

/// Behind the name of the state: the one before, in whose place the next one is written.
const SPARE: &str = ".spare";

/// What a disk writes whole or not at all, in bytes: a block of the usual file systems.
const BLOCK: usize = 4096;

/// How long a run waits between two looks at a lock that another run holds.
const LOCK_POLL: Duration = Duration::from_millis(2);

/// Where to keep the state, as the user said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `--no-state`
    Nowhere,
    /// `--state FILE`
    File(PathBuf),
    /// `--state-dir DIR`
    Dir(PathBuf),
    /// Wherever the environment says.
    Default,
}

/// The environment variables that say where state belongs, and the user's id.
pub struct Surroundings<'a> {
    pub var: &'a dyn Fn(&str) -> Option<OsString>,
    /// The folder that the package makes for all users of the host.
    pub package_dir: &'a Path,
    pub euid: u32,
}

impl Surroundings<'_> {
    /// The first folder that applies (SPEC, section 2), whether it can be used or not: falling back to another one
    /// would split the memory in two.
    fn default_dir(&self) -> Option<PathBuf> {
        let var = |name| (self.var)(name).filter(|value| !value.is_empty());
        let plugin = "check_nats_service";
        if let Some(list) = var("STATE_DIRECTORY") {
            // systemd lists several folders with colons between them.
            let first = list.to_string_lossy().split(':').next().unwrap_or_default().to_owned();
            return Some(first.into());
        }
        if let Some(dir) = var("MP_STATE_PATH").or_else(|| var("NAGIOS_PLUGIN_STATE_DIRECTORY")) {
            return Some(Path::new(&dir).join(self.euid.to_string()).join(plugin));
        }
        if self.package_dir.is_dir() {
            return Some(self.package_dir.join(self.euid.to_string()));
        }
        if let Some(dir) = var("XDG_STATE_HOME") {
            return Some(Path::new(&dir).join(plugin));
        }
        var("HOME").map(|home| Path::new(&home).join(".local/state").join(plugin))
    }
}

/// The state of one question.
#[derive(Clone, Debug)]
pub struct Store {
    /// `None`: nothing is to be remembered. `Err`: it is, and there is no place for it.
    path: Option<Result<PathBuf, String>>,
    /// What is remembered without a file, by a process that goes on.
    held: Option<Memory>,
    question: Question,
}

/// What was remembered when a run began.
#[derive(Clone, Debug, Default)]
pub struct Peeked {
    pub memory: Memory,
    /// The file as it was read: if it is the same under the lock, it need not be understood again. Empty if there was none.
    bytes: Vec<u8>,
}

/// What is still known when the state cannot be believed.
struct Salvaged {
    memory: Memory,
    /// Where it comes from, in words.
    what: &'static str,
}

/// Why a state file cannot be believed.
#[derive(Debug, PartialEq, Eq)]
enum Unread {
    /// There is none: the first run.
    Missing,
    /// It is not ours or not whole; it can be set aside.
    Damaged(String),
    /// It cannot be reached at all.
    Failed(String),
}

impl Store {
    pub fn new(place: Place, question: Question, surroundings: &Surroundings<'_>) -> Store {
        let path = match place {
            Place::Nowhere => None,
            Place::File(path) => Some(Ok(path)),
            Place::Dir(dir) => Some(Ok(dir.join(question.file_name()))),
            Place::Default => Some(match surroundings.default_dir() {
                Some(dir) => Ok(dir.join(question.file_name())),
                None => Err("no folder for the state: neither HOME nor XDG_STATE_HOME is set, \
                             give --state-dir, or --no-state to go without"
                    .into()),
            }),
        };
        Store {
            path,
            held: None,
            question,
        }
    }

    /// A state without a file, for a process that goes on: it holds the text of [`Store::write_text`], at first an empty one.
    /// What was held for another question is none of this one.
    pub fn holding(text: &str, question: Question) -> Store {
        let store = Store {
            path: None,
            held: None,
            question,
        };
        Store {
            // Of the same process, whatever its clock has done.
            held: Some(
                format::read_by_another_clock(&store.question, text.as_bytes(), Timestamp::now()).unwrap_or_default(),
            ),
            ..store
        }
    }

    /// The memory as it is written to the file.
    pub fn write_text(&self, memory: &Memory) -> String {
        format::write(&self.question, memory)
    }

    /// Reads what [`Store::write_text`] wrote.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn read_text(&self, text: &str, now: Timestamp) -> Result<Memory, String> {
        format::read(&self.question, text.as_bytes(), now)
    }

    /// Where the state is kept, if it is.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_ref()?.as_deref().ok()
    }

    /// Where the state is kept, to be printed; empty if it is not.
    pub fn shown_path(&self) -> String {
        self.path().map(|path| path.display().to_string()).unwrap_or_default()
    }

    /// What was remembered when the run began: whom to expect. Takes no lock, changes nothing, and knows no error:
    /// [`Store::update`] finds them all.
    pub fn peek(&self, now: Timestamp) -> Peeked {
        match self.path() {
            Some(path) if is_trusted(parent(path)).is_ok() => match self.read(path, now, &Peeked::default()) {
                Ok(read) => read,
                Err(_) => Peeked {
                    memory: self.salvage(path, now).map(|left| left.memory).unwrap_or_default(),
                    ..Peeked::default()
                },
            },
            _ => Peeked {
                memory: self.held.clone().unwrap_or_default(),
                ..Peeked::default()
            },
        }
    }

    /// Reads, lets `judge` make the new memory of the old one, and writes, all under the lock of this state.
    ///
    /// `judge` is called once, whatever happens. The second value returned tells what is wrong with the state, in a line
    /// each; it is empty if nothing is.
    pub fn update<T>(
        &self,
        now: Timestamp,
        deadline: Instant,
        peeked: &Peeked,
        judge: impl FnOnce(&Memory) -> (T, Memory),
    ) -> (T, Vec<String>) {
        let path = match &self.path {
            None => return (judge(&self.held.clone().unwrap_or_default()).0, Vec::new()),
            Some(Err(problem)) => return (judge(&Memory::default()).0, vec![problem.clone()]),
            Some(Ok(path)) => path,
        };
        let lock = match self.lock(path, deadline) {
            Ok(lock) => lock,
            // What was peeked is the best there is. It is not written, so that a run that holds the lock loses nothing.
            Err(problem) => return (judge(&peeked.memory).0, vec![problem]),
        };
        let mut problems = Vec::new();
        let memory = match self.read(path, now, peeked) {
            Ok(read) => read.memory,
            Err(Unread::Failed(problem)) => return (judge(&peeked.memory).0, vec![problem]),
            Err(Unread::Missing) => match self.salvage(path, now) {
                Some(left) => {
                    problems.push(format!(
                        "the state {} is missing, {} (state reset forgets that, too)",
                        path.display(),
                        left.what
                    ));
                    left.memory
                }
                None => Memory::default(),
            },
            Err(Unread::Damaged(why)) => {
                let left = self.salvage(path, now).unwrap_or(Salvaged {
                    memory: Memory::default(),
                    what: "all before is forgotten",
                });
                match set_aside(path) {
                    Ok(aside) => problems.push(format!("{why}, set aside as {}, {}", aside.display(), left.what)),
                    Err(e) => {
                        let problem = format!("{why}, and cannot be set aside: {e}");
                        return (judge(&left.memory).0, vec![problem]);
                    }
                }
                left.memory
            }
        };
        let (said, next) = judge(&memory);
        if next != memory {
            let text = self.write_text(&next);
            // Each sync may cost what all the rest of a run does. News is synced; after a usual epoch, the last news is enough.
            let synced = fs::symlink_metadata(with_suffix(path, SYNCED)).is_ok_and(|meta| meta.is_file());
            let sync = next.has_news(&memory) || !synced;
            let written = match sync || text.len() >= BLOCK {
                true => write_whole(path, text.as_bytes(), sync),
                false => write_to_spare(path, text + "\n"),
            };
            if let Err(e) = written {
                problems.push(format!("cannot write the state {}: {e}", path.display()));
            }
        }
        drop(lock);
        (said, problems)
    }

    /// What is remembered, for showing it.
    ///
    /// # Errors
    ///
    /// Why it cannot be read. A missing file is `Ok(None)`.
    pub fn show(&self, now: Timestamp) -> Result<Option<Memory>, String> {
        let path = self.usable_path()?;
        match fs::symlink_metadata(parent(path)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            _ => is_trusted(parent(path))?,
        }
        match self.read(path, now, &Peeked::default()) {
            Ok(read) => Ok(Some(read.memory)),
            Err(Unread::Missing) => Ok(self.salvage(path, now).map(|left| left.memory)),
            Err(Unread::Damaged(problem) | Unread::Failed(problem)) => Err(problem),
        }
    }

    /// Forgets everything. `Ok(false)` if there was nothing to forget.
    ///
    /// # Errors
    ///
    /// Why it cannot be forgotten.
    pub fn reset(&self, deadline: Instant) -> Result<bool, String> {
        let path = self.usable_path()?;
        let files = [with_suffix(path, SPARE), with_suffix(path, SYNCED), path.to_owned()];
        let is_missing =
            |path: &PathBuf| fs::symlink_metadata(path).is_err_and(|e| e.kind() == io::ErrorKind::NotFound);
        if files.iter().all(is_missing) {
            return Ok(false);
        }
        let _lock = self.lock(path, deadline)?;
        for file in files {
            remove(&file).map_err(|e| format!("cannot remove the state {}: {e}", file.display()))?;
        }
        Ok(true)
    }

    fn usable_path(&self) -> Result<&Path, String> {
        match &self.path {
            Some(Ok(path)) => Ok(path),
            Some(Err(problem)) => Err(problem.clone()),
            None => Err("--no-state: there is no state".into()),
        }
    }

    /// Makes the folder if need be, checks it, and takes the lock. It is let go by closing the file.
    fn lock(&self, path: &Path, deadline: Instant) -> Result<File, String> {
        let dir = parent(path);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|e| format!("cannot make the state folder {}: {e}", dir.display()))?;
        is_trusted(dir)?;
        // A file of its own: the state file is another one after each rename.
        let path = with_suffix(path, ".lock");
        let lock = ours(OpenOptions::new().create(true).truncate(false).write(true))
            .open(&path)
            .map_err(|e| format!("cannot open the lock {}: {e}", path.display()))?;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(lock),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(LOCK_POLL),
                Err(TryLockError::WouldBlock) => {
                    return Err(format!("another run holds the lock {} for too long", path.display()));
                }
                Err(TryLockError::Error(e)) => return Err(format!("cannot lock {}: {e}", path.display())),
            }
        }
    }

    /// What is still known when the state cannot be believed: it itself, if nothing but the clock speaks against it; or what was
    /// last synced, which a power cut cannot damage.
    fn salvage(&self, path: &Path, now: Timestamp) -> Option<Salvaged> {
        let read = |path: &Path, what: &'static str| {
            let bytes = read_bytes(path).ok()?;
            let memory = format::read_by_another_clock(&self.question, &bytes, now).ok()?;
            Some(Salvaged { memory, what })
        };
        read(path, "what it says counts, as of now")
            .or_else(|| read(&with_suffix(path, SYNCED), "what was last synced to the disk counts"))
    }

    fn read(&self, path: &Path, now: Timestamp, peeked: &Peeked) -> Result<Peeked, Unread> {
        let bytes = read_bytes(path)?;
        if !bytes.is_empty() && bytes == peeked.bytes {
            return Ok(peeked.clone());
        }
        let memory = format::read(&self.question, &bytes, now)
            .map_err(|why| Unread::Damaged(format!("the state {} {why}", path.display())))?;
        Ok(Peeked { memory, bytes })
    }
}

/// What is in a file of ours.
fn read_bytes(path: &Path) -> Result<Vec<u8>, Unread> {
    let shown = path.display();
    let damaged = |why: String| Unread::Damaged(format!("the state {shown} {why}"));
    let file = match ours(OpenOptions::new().read(true)).open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(Unread::Missing),
        Err(e) if e.raw_os_error() == Some(libc::ELOOP) => return Err(damaged("is a symbolic link".into())),
        // A socket, say.
        Err(e) if e.raw_os_error() == Some(libc::ENXIO) => return Err(damaged("is no regular file".into())),
        Err(e) => return Err(Unread::Failed(format!("cannot read the state {shown}: {e}"))),
    };
    let failed = |e| Unread::Failed(format!("cannot read the state {shown}: {e}"));
    let meta = file.metadata().map_err(failed)?;
    if meta.is_dir() {
        return Err(Unread::Failed(format!("the state {shown} is a folder, name a file")));
    }
    if !meta.is_file() {
        return Err(damaged("is no regular file".into()));
    }
    if meta.uid() != euid() {
        return Err(damaged(format!(
            "belongs to user {}, not to user {}",
            meta.uid(),
            euid()
        )));
    }
    if meta.len() > LARGEST {
        return Err(damaged(format!("has {} bytes, more than any of ours", meta.len())));
    }
    // One byte more than there is, so that one read finds its end.
    let mut bytes = Vec::with_capacity(meta.len() as usize + 1);
    file.take(LARGEST).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Open without following a link and without waiting (for a pipe's other end, say); new files are for us and our group.
fn ours(options: &mut OpenOptions) -> &mut OpenOptions {
    options
        .mode(0o640)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC)
}

/// The folder of a file.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// A folder in which nobody but us (and root) can put a file.
fn is_trusted(dir: &Path) -> Result<(), String> {
    let shown = dir.display();
    let meta = fs::metadata(dir).map_err(|e| format!("cannot use the state folder {shown}: {e}"))?;
    if !meta.is_dir() {
        return Err(format!("the state folder {shown} is no folder"));
    }
    if meta.uid() != euid() && meta.uid() != 0 {
        return Err(format!(
            "the state folder {shown} belongs to user {}, not to user {}, give --state-dir",
            meta.uid(),
            euid()
        ));
    }
    if meta.mode() & 0o022 != 0 {
        return Err(format!(
            "others can write to the state folder {shown} (mode {:04o}), make it 0700 or give --state-dir",
            meta.mode() & 0o7777
        ));
    }
    Ok(())
}

/// Gives a file that cannot be used another name, so that it is not thrown away when it is replaced.
///
/// It keeps its own until then: a run that is killed before must not leave what looks like a first run.
fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = with_suffix(path, ".bad");
    let _ = fs::remove_file(&aside);
    // Where there are no hard links, there is no second name.
    fs::hard_link(path, &aside).or_else(|_| fs::rename(path, &aside))?;
    Ok(aside)
}

/// Removes a file, if there is one.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Writes the whole file or nothing: beside it, synced if so, renamed. The caller holds the lock.
///
/// The folder is not synced: after a power cut there is the old state or the new one, and from the old one the next run
/// draws the same conclusions. A new one that was not synced may then be damaged: what was last synced has a second name.
fn write_whole(path: &Path, bytes: &[u8], sync: bool) -> io::Result<()> {
    let temporary = with_suffix(path, ".tmp");
    // One that a killed run has left behind. Under the lock it is nobody's any more.
    remove(&temporary)?;
    let written = ours(OpenOptions::new().write(true).create_new(true))
        .open(&temporary)
        .and_then(|mut file| {
            // Whatever the umask, an admin's group may read it; where there are no modes, there are none.
            let _ = file.set_permissions(Permissions::from_mode(0o640));
            file.write_all(bytes)?;
            file.write_all(b"\n")?;
            if sync { file.sync_data() } else { Ok(()) }
        })
        .and_then(|()| {
            // What follows a first run that was killed is a first run.
            let is_first = sync && fs::symlink_metadata(path).is_err();
            if sync && !is_first {
                keep_synced(path, &temporary);
            }
            fs::rename(&temporary, path)?;
            if is_first {
                keep_synced(path, path);
            }
            Ok(())
        });
    if written.is_err() {
        // What was half written is of no use, and may be what has filled the disk.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Gives news that has just been synced its second name. Before it becomes the state: whenever a run is killed, what was last
/// synced is never older than the news in the state.
fn keep_synced(path: &Path, news: &Path) {
    let (spare, synced) = (with_suffix(path, SPARE), with_suffix(path, SYNCED));
    // Nothing from before the news can come back.
    let _ = fs::remove_file(&spare);
    // By a rename: there is never a moment without what was last synced.
    if fs::hard_link(news, &spare)
        .and_then(|()| fs::rename(&spare, &synced))
        .is_err()
    {
        // Without it, as where there are no hard links, each state is synced.
        let _ = fs::remove_file(&spare);
        let _ = fs::remove_file(&synced);
    }
}

/// Writes a small state without news over the one before the last, and lets the two change places. The caller holds the lock.
///
/// Nothing is allocated on the disk, which a new file that takes the place of another one would wait for. After a power cut
/// one block has what it had before, or what it was to have; a file that is new is synced first, so that it has something.
fn write_to_spare(path: &Path, text: String) -> io::Result<()> {
    let spare = with_suffix(path, SPARE);
    let mut used = ours(OpenOptions::new().write(true)).open(&spare);
    // What was last synced has two names for a while.
    let is_free = |file: &File| file.metadata().is_ok_and(|meta| meta.is_file() && meta.nlink() == 1);
    let is_new = !used.as_ref().is_ok_and(is_free);
    if is_new {
        remove(&spare)?;
        used = ours(OpenOptions::new().write(true).create_new(true)).open(&spare);
    }
    let mut file = used?;
    let _ = file.set_permissions(Permissions::from_mode(0o640));
    file.write_all(text.as_bytes())?;
    file.set_len(text.len() as u64)?;
    if is_new {
        file.sync_data()?;
    }
    // Not every file system can do that. The next file is then a new one again.
    renameat_with(CWD, &spare, CWD, path, RenameFlags::EXCHANGE)
        .map_err(io::Error::from)
        .or_else(|_| fs::rename(&spare, path))
}

#[cfg(test)]
mod tests;
