//! The one file that knows the state file: how it is read, locked and replaced, and how it survives whatever happens.
//!
//! A state is one file and its lock. It is written beside itself, synced and renamed: whatever kills a run, at whatever instant, there
//! is the old state or the new one. Nothing in here decides anything about a service.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use once_cell::unsync::OnceCell;
use rustix::fs::OFlags;

use super::format::{self, Loaded};
use super::key::StateKey;
pub use super::location::{StateEnvironment, StateLocation};
use super::memory::Memory;
use crate::files::folder::{Ancestors, Folder};
use crate::files::replace::{file_name, parent};
use crate::process::user::euid;
use crate::values::timestamp::Timestamp;

/// Maximum size of a state file in bytes: 4096 ids of 128 bytes, twice, and the words of 256 instances stay below it.
pub const MAX_STATE_BYTES: u64 = 4 * 1024 * 1024;

/// How long a run waits between two looks at a lock that another run holds.
const LOCK_POLL: Duration = Duration::from_millis(2);

/// An admin's group may read the state; the lock is nobody else's business: whoever holds it keeps all runs waiting.
const STATE_MODE: u32 = 0o640;
const LOCK_MODE: u32 = 0o600;

/// Files that a version before this one left beside the state.
const OBSOLETE: [&str; 2] = [".spare", ".synced"];

/// The state of one question.
#[derive(Debug)]
pub struct Store {
    /// `None`: nothing is to be remembered. `Err`: it is, and there is no place for it.
    location: Result<Option<Location>, String>,
    /// What is remembered without a file, by a process that goes on.
    held: Option<Memory>,
    key: StateKey,
}

/// A state file and its folder, which is opened once.
#[derive(Debug)]
struct Location {
    path: PathBuf,
    name: OsString,
    ancestors: Ancestors,
    folder: OnceCell<Folder>,
}

/// Why there is nothing to read.
#[derive(Debug, PartialEq, Eq)]
enum LoadError {
    /// There is no file: the first run.
    Missing,
    /// It is not ours or not whole; it can be set aside.
    Damaged(String),
    /// It cannot be reached at all.
    Failed(String),
}

/// A state file that lies beside others.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The name of the file.
    pub name: String,
    /// What is in it, or why it cannot be read.
    pub loaded: Result<Loaded, String>,
}

impl Store {
    pub fn new(place: &StateLocation, key: StateKey, state_environment: &StateEnvironment<'_>) -> Store {
        let path = place.file(&key, state_environment);
        Store {
            location: path.and_then(|path| path.map(|path| Location::new(path, state_environment)).transpose()),
            held: None,
            key,
        }
    }

    /// A state without a file, for a process that goes on: it holds the text of [`Store::write_text`], at first an empty one.
    /// What was held for another question is none of this one.
    pub fn holding(text: &str, key: StateKey) -> Store {
        // Of the same process, whatever its clock has done.
        let held = format::read(&key, text.as_bytes(), Timestamp::now());
        Store {
            location: Ok(None),
            held: Some(held.map(|loaded| loaded.memory).unwrap_or_default()),
            key,
        }
    }

    /// The memory as it is written to the file.
    pub fn write_text(&self, memory: &Memory) -> String {
        format::write(&self.key, memory)
    }

    /// Where the state is kept, if it is.
    pub fn path(&self) -> Option<&Path> {
        self.location
            .as_ref()
            .ok()?
            .as_ref()
            .map(|location| location.path.as_path())
    }

    /// Where the state is kept, to be printed; empty if it is not.
    pub fn shown_path(&self) -> String {
        self.path().map(|path| path.display().to_string()).unwrap_or_default()
    }

    /// What was remembered when the run began: whom to expect. Takes no lock, changes nothing, and knows no error:
    /// [`Store::update`] finds them all.
    pub fn peek(&self, now: Timestamp) -> Memory {
        let Ok(Some(location)) = &self.location else {
            return self.held.clone().unwrap_or_default();
        };
        match location.folder(false) {
            Ok(Some(folder)) => location.read(folder, &self.key, now).map(|loaded| loaded.memory),
            _ => Err(LoadError::Missing),
        }
        .unwrap_or_default()
    }

    /// Reads, lets `judge` make the new memory of the old one, and writes, all under the lock of this state.
    ///
    /// `judge` is called once, whatever happens; with what was peeked where the state cannot be read or locked. The second value
    /// returned tells what is wrong with the state, in a line each; it is empty if nothing is.
    pub fn update<T>(
        &self,
        deadline: Instant,
        peeked: &Memory,
        judge: impl FnOnce(&Memory) -> (T, Memory),
    ) -> (T, Vec<String>) {
        let location = match &self.location {
            Ok(None) => return (judge(&self.held.clone().unwrap_or_default()).0, Vec::new()),
            Ok(Some(location)) => location,
            Err(problem) => return (judge(&Memory::default()).0, vec![problem.clone()]),
        };
        let (folder, lock) = match location.lock(deadline) {
            Ok(locked) => locked,
            // It is not written, so that a run that holds the lock loses nothing.
            Err(problem) => return (judge(peeked).0, vec![problem]),
        };
        let shown = location.path.display();
        let (mut problems, mut may_write) = (Vec::new(), true);
        let mut set_aside = |why: String, rest: &str| match location.set_aside(folder) {
            Ok(aside) => problems.push(format!("{why}, set aside as {}, {rest}", aside.display())),
            Err(e) => {
                may_write = false;
                problems.push(format!("{why}, and cannot be set aside: {e}"));
            }
        };
        let memory = match location.read(folder, &self.key, Timestamp::now()) {
            Ok(loaded) => {
                if let Some(why) = loaded.damage {
                    set_aside(format!("the state {shown} {why}"), "what could be read of it counts");
                }
                if let Some(latest) = loaded.future {
                    problems.push(format!(
                        "the state {shown} comes from the future ({latest}), and counts as of now, check the clock"
                    ));
                }
                loaded.memory
            }
            Err(LoadError::Missing) => Memory::default(),
            Err(LoadError::Failed(problem)) => return (judge(peeked).0, vec![problem]),
            Err(LoadError::Damaged(why)) => {
                set_aside(why, "all before is forgotten");
                Memory::default()
            }
        };
        let (said, next) = judge(&memory);
        if may_write && (next != memory || !problems.is_empty()) {
            let text = self.write_text(&next) + "\n";
            if let Err(e) = location.write(folder, text.as_bytes()) {
                problems.push(format!("cannot write the state {shown}: {e}"));
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
    pub fn show(&self, now: Timestamp) -> Result<Option<Loaded>, String> {
        let location = self.usable()?;
        let Some(folder) = location.folder(false)? else {
            return Ok(None);
        };
        match location.read(folder, &self.key, now) {
            Ok(Loaded { damage: Some(why), .. }) => Err(format!("the state {} {why}", location.path.display())),
            Ok(loaded) => Ok(Some(loaded)),
            Err(LoadError::Missing) => Ok(None),
            Err(LoadError::Damaged(problem) | LoadError::Failed(problem)) => Err(problem),
        }
    }

    /// Forgets everything. `Ok(false)` if there was nothing to forget.
    ///
    /// # Errors
    ///
    /// Why it cannot be forgotten.
    pub fn reset(&self, deadline: Instant) -> Result<bool, String> {
        let location = self.usable()?;
        match location.folder(false)? {
            Some(folder) if folder.kind(&location.name).is_some() => {}
            _ => return Ok(false),
        }
        let (folder, _lock) = location.lock(deadline)?;
        let mut files = vec![location.name.clone(), location.with_suffix(".tmp")];
        files.extend(OBSOLETE.map(|suffix| location.with_suffix(suffix)));
        for file in files {
            folder.remove(&file).map_err(|e| {
                format!(
                    "cannot remove the state {}: {e}",
                    parent(&location.path).join(&file).display()
                )
            })?;
        }
        Ok(true)
    }

    /// The other states of the same service in the folder, whatever their servers, users and prefixes are.
    ///
    /// # Errors
    ///
    /// Why the folder cannot be looked at.
    pub fn siblings(&self, now: Timestamp) -> Result<Vec<StateKey>, String> {
        let location = self.usable()?;
        let states = list(parent(&location.path), location.ancestors, now)?;
        let questions = states.into_iter().filter_map(|state| Some(state.loaded.ok()?.key));
        Ok(questions
            .filter(|other| other.service == self.key.service && *other != self.key)
            .collect())
    }

    fn usable(&self) -> Result<&Location, String> {
        match &self.location {
            Ok(Some(location)) => Ok(location),
            Ok(None) => Err("--no-state: there is no state".into()),
            Err(problem) => Err(problem.clone()),
        }
    }
}

/// All states in a folder, by the name of the file. None if the folder is not there.
///
/// # Errors
///
/// Why the folder cannot be looked at.
pub fn list(dir: &Path, ancestors: Ancestors, now: Timestamp) -> Result<Vec<Listed>, String> {
    let Some(folder) = Folder::open_trusted(dir, ancestors)? else {
        return Ok(Vec::new());
    };
    let names = folder
        .names()
        .map_err(|e| format!("cannot list the state folder {}: {e}", dir.display()))?;
    let mut states = Vec::new();
    for name in names.iter().filter(|name| name.as_encoded_bytes().ends_with(b".json")) {
        let loaded = match read_file(&folder, name, &dir.join(name)) {
            Ok(bytes) => format::read_any(&bytes, now),
            Err(LoadError::Missing) => continue,
            Err(LoadError::Damaged(why) | LoadError::Failed(why)) => Err(why),
        };
        states.push(Listed {
            name: name.to_string_lossy().into_owned(),
            loaded,
        });
    }
    Ok(states)
}

impl Location {
    fn new(path: PathBuf, state_environment: &StateEnvironment<'_>) -> Result<Location, String> {
        let name = file_name(&path).map(OsStr::to_owned);
        Ok(Location {
            name: name.ok_or_else(|| format!("the state {}: that is not the name of a file", path.display()))?,
            ancestors: state_environment.ancestors(),
            folder: OnceCell::new(),
            path,
        })
    }

    /// The folder, opened the first time that it is there. `None` if it is not, and not to be made.
    fn folder(&self, create: bool) -> Result<Option<&Folder>, String> {
        let dir = parent(&self.path);
        if self.folder.get().is_none() {
            let opened = match create {
                true => Some(Folder::create_trusted(dir, self.ancestors)?),
                false => Folder::open_trusted(dir, self.ancestors)?,
            };
            match opened {
                Some(folder) => drop(self.folder.set(folder)),
                None => return Ok(None),
            }
        }
        Ok(self.folder.get())
    }

    fn with_suffix(&self, suffix: &str) -> OsString {
        let mut name = self.name.clone();
        name.push(suffix);
        name
    }

    /// Makes the folder if need be, and takes the lock. It is let go by closing the file.
    fn lock(&self, deadline: Instant) -> Result<(&Folder, File), String> {
        let folder = self.folder(true)?.ok_or("the state folder is gone")?;
        folder.make_private()?;
        // A file of its own: the state file is another one after each rename.
        let name = self.with_suffix(".lock");
        let shown = parent(&self.path).join(&name);
        let shown = shown.display();
        let open = folder.open_file(&name, OFlags::WRONLY | OFlags::CREATE, LOCK_MODE);
        let lock = open.map_err(|e| format!("cannot open the lock {shown}: {e}"))?;
        let meta = lock
            .metadata()
            .map_err(|e| format!("cannot open the lock {shown}: {e}"))?;
        if !meta.is_file() {
            return Err(format!("cannot lock {shown}: it is no regular file"));
        }
        if meta.mode() & 0o777 != LOCK_MODE {
            // Where there are no modes, there are none.
            let _ = lock.set_permissions(Permissions::from_mode(LOCK_MODE));
        }
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok((folder, lock)),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(LOCK_POLL),
                Err(TryLockError::WouldBlock) => {
                    return Err(format!("another run holds the lock {shown} for too long"));
                }
                Err(TryLockError::Error(e)) => return Err(format!("cannot lock {shown}: {e}")),
            }
        }
    }

    fn read(&self, folder: &Folder, key: &StateKey, now: Timestamp) -> Result<Loaded, LoadError> {
        let bytes = read_file(folder, &self.name, &self.path)?;
        format::read(key, &bytes, now)
            .map_err(|why| LoadError::Damaged(format!("the state {} {why}", self.path.display())))
    }

    /// Gives a file that cannot be used a second name, so that it is not thrown away when it is replaced.
    ///
    /// It keeps its own until then: a run that is killed before must not leave what looks like a first run.
    fn set_aside(&self, folder: &Folder) -> io::Result<PathBuf> {
        let aside = self.with_suffix(".bad");
        folder.remove(&aside)?;
        // Where there are no hard links, there is no second name.
        folder
            .link(&self.name, &aside)
            .or_else(|_| folder.rename(&self.name, &aside))?;
        Ok(parent(&self.path).join(aside))
    }

    /// Writes the whole file or nothing: beside it, synced, renamed. The caller holds the lock.
    ///
    /// The folder is not synced: after a power cut there is the old state or the new one, and from the old one the next run
    /// draws the same conclusions.
    fn write(&self, folder: &Folder, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.with_suffix(".tmp");
        // One that a killed run has left behind. Under the lock it is nobody's any more.
        folder.remove(&temporary)?;
        let written = folder
            .open_file(&temporary, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL, STATE_MODE)
            .and_then(|mut file| {
                // Whatever the umask; where there are no modes, there are none.
                let _ = file.set_permissions(Permissions::from_mode(STATE_MODE));
                file.write_all(bytes)?;
                file.sync_data()?;
                folder.rename(&temporary, &self.name)
            });
        // What was half written is of no use, and may be what has filled the disk.
        let left = match &written {
            Ok(()) => &OBSOLETE[..],
            Err(_) => &[".tmp"],
        };
        for suffix in left {
            let _ = folder.remove(&self.with_suffix(suffix));
        }
        written
    }
}

/// Returns the content of a file of ours, at most [`MAX_STATE_BYTES`] bytes of it.
fn read_file(folder: &Folder, name: &OsStr, path: &Path) -> Result<Vec<u8>, LoadError> {
    let shown = path.display();
    // Not set aside, since somebody put it there on purpose: a device moved away is missed by the whole host.
    let refused = |why: &str| LoadError::Failed(format!("the state {shown} is {why}, name a file"));
    let failed = |e: io::Error| LoadError::Failed(format!("cannot read the state {shown}: {e}"));
    let file = match folder.open_file(name, OFlags::RDONLY, 0) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(LoadError::Missing),
        Err(e) if e.raw_os_error() == Some(libc::ELOOP) => return Err(refused("a symbolic link")),
        // A socket, say.
        Err(e) if e.raw_os_error() == Some(libc::ENXIO) => return Err(refused("no regular file")),
        Err(e) => return Err(failed(e)),
    };
    let meta = file.metadata().map_err(failed)?;
    if meta.is_dir() {
        return Err(refused("a folder"));
    }
    if !meta.is_file() {
        return Err(refused("no regular file"));
    }
    if meta.uid() != euid() {
        return Err(LoadError::Damaged(format!(
            "the state {shown} belongs to user {}, not to user {}",
            meta.uid(),
            euid()
        )));
    }
    // One byte more than there is, so that one read finds its end.
    let mut bytes = Vec::with_capacity(meta.len().min(MAX_STATE_BYTES) as usize + 1);
    file.take(MAX_STATE_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
