//! The one file that knows a state file: how it is read, locked and replaced, and how it survives whatever happens.
//!
//! A state is one file and its lock. It is written beside itself, synced and renamed: whatever kills a run, at whatever instant, there
//! is the old state or the new one. Nothing in here decides anything about a service.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions, TryLockError};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use once_cell::unsync::OnceCell;
use rustix::fs::OFlags;

use super::format::{FormatError, Loaded};
use crate::files::folder::{Ancestors, Folder};
use crate::files::replace::{file_name, parent};
use crate::process::user::euid;

/// Size of a write, in bytes: the state of one service is in one piece.
const WRITTEN_AT_ONCE: usize = 64 * 1024;

/// Time between two attempts to take a lock that another run holds.
const LOCK_POLL: Duration = Duration::from_millis(2);

/// An admin's group may read the state; the lock is nobody else's business: whoever holds it keeps all runs waiting.
const STATE_MODE: u32 = 0o640;
const LOCK_MODE: u32 = 0o600;

/// Files that a version before this one left beside the state.
const OBSOLETE: [&str; 2] = [".spare", ".synced"];

/// A state file and its folder, which is opened once.
#[derive(Clone, Debug)]
pub struct StateFile {
    path: PathBuf,
    name: OsString,
    ancestors: Ancestors,
    folder: Rc<OnceCell<Folder>>,
    /// Maximum size in bytes; no more is read, nor written.
    max_bytes: u64,
}

/// Why there is nothing to read.
#[derive(Debug, PartialEq, Eq)]
pub enum LoadError {
    /// There is no file: the first run.
    Missing,
    /// It is not ours or not whole; it can be set aside.
    Damaged(String),
    /// It is a state of the other kind: of one service, or of all services of an account. It is left alone.
    OtherKind(String),
    /// It cannot be reached at all.
    Failed(String),
}

impl LoadError {
    pub fn into_text(self) -> String {
        match self {
            LoadError::Missing => "the state is missing".into(),
            LoadError::Damaged(why) | LoadError::OtherKind(why) | LoadError::Failed(why) => why,
        }
    }
}

/// A state file that is locked and was read. The lock is released with it.
#[derive(Debug)]
pub struct LockedState<'a, M> {
    file: &'a StateFile,
    folder: &'a Folder,
    /// This file's lock, and the one that had to be taken before.
    locks: Vec<File>,
    /// Memory; empty on the first run.
    pub memory: M,
    /// Problems of the file, in a line each.
    pub problems: Vec<String>,
    /// Set if nothing was read: there is no file, or nothing of it can be used.
    pub is_empty: bool,
    may_write: bool,
}

/// The file of a store, for looking at it or changing it.
///
/// # Errors
///
/// There is none: nothing is to be remembered, or there is no place for it.
pub fn usable(file: &Result<Option<StateFile>, String>) -> Result<&StateFile, String> {
    match file {
        Ok(Some(file)) => Ok(file),
        Ok(None) => Err("--no-state: there is no state".into()),
        Err(problem) => Err(problem.clone()),
    }
}

impl StateFile {
    /// # Errors
    ///
    /// The path has no name of a file.
    pub fn new(path: PathBuf, ancestors: Ancestors, max_bytes: u64) -> Result<StateFile, String> {
        let name = file_name(&path).map(OsStr::to_owned);
        Ok(StateFile {
            name: name.ok_or_else(|| format!("the state {}: that is not the name of a file", path.display()))?,
            ancestors,
            folder: Rc::default(),
            path,
            max_bytes,
        })
    }

    /// Another state in the same folder.
    pub fn beside(&self, name: &str, max_bytes: u64) -> StateFile {
        StateFile {
            path: parent(&self.path).join(name),
            name: name.into(),
            max_bytes,
            ..self.clone()
        }
    }

    /// Name of the file, to be printed.
    pub fn shown_name(&self) -> String {
        self.name.to_string_lossy().into_owned()
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All states of the folder, sorted by the names of the files. None if the folder is not there.
    ///
    /// # Errors
    ///
    /// Why the folder cannot be looked at.
    pub fn all_in_folder(&self, max_bytes: u64) -> Result<Vec<StateFile>, String> {
        let Some(folder) = self.folder(false)? else {
            return Ok(Vec::new());
        };
        let names = folder.names().map_err(|e| {
            let dir = parent(&self.path).display();
            format!("cannot list the state folder {dir}: {e}")
        })?;
        let is_state = |name: &OsString| name.as_encoded_bytes().ends_with(b".json");
        let file = |name: OsString| StateFile {
            path: parent(&self.path).join(&name),
            name,
            max_bytes,
            ..self.clone()
        };
        Ok(names.into_iter().filter(is_state).map(file).collect())
    }

    /// Returns `true` if there is anything in its place.
    ///
    /// # Errors
    ///
    /// Why that cannot be known.
    pub fn exists(&self) -> Result<bool, String> {
        let Some(folder) = self.folder(false)? else {
            return Ok(false);
        };
        let shown = self.path.display();
        folder
            .has(&self.name)
            .map_err(|e| format!("cannot read the state {shown}: {e}"))
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
    pub fn lock(&self, deadline: Instant) -> Result<(&Folder, File), String> {
        let folder = self.folder(true)?.ok_or("the state folder is gone")?;
        folder.make_private()?;
        // The lock is a separate file: each rename replaces the state file.
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
            // Some file systems have no modes.
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

    /// Locks the state, reads it, and sets it aside if it is damaged.
    ///
    /// # Errors
    ///
    /// Why it cannot be locked or reached. The state must not be written then, so that a run that holds the lock loses nothing.
    pub fn begin<K, M: Default>(
        &self,
        deadline: Instant,
        read: impl FnOnce(&[u8]) -> Result<Loaded<K, M>, FormatError>,
    ) -> Result<LockedState<'_, M>, String> {
        let (folder, lock) = self.lock(deadline)?;
        let mut state = LockedState {
            file: self,
            folder,
            locks: vec![lock],
            memory: M::default(),
            problems: Vec::new(),
            is_empty: false,
            may_write: true,
        };
        let shown = self.path.display();
        match self.read(read) {
            Ok(loaded) => {
                if let Some(why) = loaded.damage {
                    state.set_aside(format!("the state {shown} {why}"), "what could be read of it counts");
                }
                if let Some(latest) = loaded.future {
                    state.problems.push(format!(
                        "the state {shown} has a time in the future ({latest}), which counts as now, check the clock"
                    ));
                }
                state.memory = loaded.memory;
            }
            Err(LoadError::Missing) => state.is_empty = true,
            Err(LoadError::Damaged(why)) => {
                state.is_empty = true;
                state.set_aside(why, "what it remembered is lost");
            }
            Err(LoadError::Failed(why) | LoadError::OtherKind(why)) => return Err(why),
        }
        Ok(state)
    }

    /// Reads it without a lock: it is replaced as a whole.
    ///
    /// # Errors
    ///
    /// Why there is nothing to read.
    pub fn read<L>(&self, read: impl FnOnce(&[u8]) -> Result<L, FormatError>) -> Result<L, LoadError> {
        let folder = self.folder(false).map_err(LoadError::Failed)?;
        let bytes = self.read_bytes(folder.ok_or(LoadError::Missing)?)?;
        let shown = self.path.display();
        read(&bytes).map_err(|error| match error {
            FormatError::Damaged(why) => LoadError::Damaged(format!("the state {shown} {why}")),
            FormatError::OtherKind(why) => LoadError::OtherKind(format!("the state {shown} {why}")),
        })
    }

    /// Removes it, and what lies beside it, under its lock, unless it is of the other kind. `Ok(false)` if there is none.
    ///
    /// # Errors
    ///
    /// Why it cannot be removed.
    pub fn remove<L>(
        &self,
        deadline: Instant,
        read: impl FnOnce(&[u8]) -> Result<L, FormatError>,
    ) -> Result<bool, String> {
        if !self.exists()? {
            return Ok(false);
        }
        let (folder, _lock) = self.lock(deadline)?;
        if let Err(LoadError::OtherKind(why)) = self.read(read) {
            return Err(why);
        }
        let mut files = vec![self.name.clone(), self.with_suffix(".tmp")];
        files.extend(OBSOLETE.map(|suffix| self.with_suffix(suffix)));
        for file in files {
            folder.remove(&file).map_err(|e| {
                format!(
                    "cannot remove the state {}: {e}",
                    parent(&self.path).join(&file).display()
                )
            })?;
        }
        Ok(true)
    }

    /// The damaged state that was set aside, as long as it lies there.
    pub fn aside(&self) -> Option<PathBuf> {
        let aside = self.with_suffix(".bad");
        let folder = self.folder(false).ok().flatten()?;
        let lies_there = folder.has(&aside).unwrap_or(false);
        lies_there.then(|| parent(&self.path).join(aside))
    }

    /// Removes the damaged state that was set aside.
    ///
    /// # Errors
    ///
    /// Why it cannot be removed.
    pub fn remove_aside(&self) -> Result<(), String> {
        let (Some(aside), Some(folder)) = (self.aside(), self.folder(false)?) else {
            return Ok(());
        };
        let removed = folder.remove(&self.with_suffix(".bad"));
        removed.map_err(|e| format!("cannot remove the state {}: {e}", aside.display()))
    }

    /// Gives a file that cannot be used a second name, so that it is not thrown away when it is replaced.
    ///
    /// It keeps its own until then: a run that is killed before must not leave what looks like a first run.
    fn set_aside(&self, folder: &Folder) -> io::Result<PathBuf> {
        let aside = self.with_suffix(".bad");
        folder.remove(&aside)?;
        // Some file systems have no hard links.
        folder
            .link(&self.name, &aside)
            .or_else(|_| folder.rename(&self.name, &aside))?;
        Ok(parent(&self.path).join(aside))
    }

    /// Writes the whole file or nothing: beside it, synced, renamed. The caller holds the lock.
    ///
    /// The folder is not synced: after a power cut there is the old state or the new one, and from the old one the next run
    /// draws the same conclusions.
    fn write(&self, folder: &Folder, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        let temporary = self.with_suffix(".tmp");
        // A killed run has left this file. Under the lock no other run uses it.
        folder.remove(&temporary)?;
        let written = folder
            .open_file(&temporary, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL, STATE_MODE)
            .and_then(|file| {
                // The mode is set whatever the umask is; some file systems have none.
                let _ = file.set_permissions(Permissions::from_mode(STATE_MODE));
                let mut writer = BoundedWriter {
                    file: BufWriter::with_capacity(WRITTEN_AT_ONCE, &file),
                    max: self.max_bytes,
                    left: self.max_bytes,
                };
                write(&mut writer)?;
                writer.write_all(b"\n")?;
                writer.flush()?;
                file.sync_data()?;
                folder.rename(&temporary, &self.name)
            });
        // A partly written file is useless, and may have filled the disk.
        let left = match &written {
            Ok(()) => &OBSOLETE[..],
            Err(_) => &[".tmp"],
        };
        for suffix in left {
            let _ = folder.remove(&self.with_suffix(suffix));
        }
        written
    }

    /// Returns the content of a file of ours, at most the bytes that it may have.
    fn read_bytes(&self, folder: &Folder) -> Result<Vec<u8>, LoadError> {
        let shown = self.path.display();
        // A device is not moved away: the whole host may need it.
        let refused = |why: &str| LoadError::Failed(format!("the state {shown} is {why}, name a file"));
        let failed = |e: io::Error| LoadError::Failed(format!("cannot read the state {shown}: {e}"));
        let file = match folder.open_file(&self.name, OFlags::RDONLY, 0) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(LoadError::Missing),
            Err(e) if e.raw_os_error() == Some(libc::ELOOP) => return Err(refused("a symbolic link")),
            // For example a socket.
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
        // Data appended meanwhile is ignored.
        let length = meta.len().min(self.max_bytes);
        let mut bytes = Vec::with_capacity(length as usize);
        file.take(length).read_to_end(&mut bytes).map_err(failed)?;
        Ok(bytes)
    }
}

/// A file that takes so many bytes and no more.
struct BoundedWriter<W> {
    file: W,
    max: u64,
    left: u64,
}

impl<W: Write> Write for BoundedWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let max = self.max / (1024 * 1024);
        let too_large = || io::Error::other(format!("it would be larger than {max} MiB"));
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or_else(too_large)?;
        self.file.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl<M> LockedState<'_, M> {
    /// Keeps another lock as long as this one.
    pub fn keep(&mut self, lock: File) {
        self.locks.push(lock);
    }

    /// Writes the memory if it has changed, or if the file has to be replaced. Returns what is wrong with the state.
    /// `write` writes it to a file, and not to a text: of many services that would be large.
    pub fn save(&mut self, has_changed: bool, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Vec<String> {
        if self.may_write && (has_changed || !self.problems.is_empty()) {
            let shown = self.file.path.display();
            if let Err(e) = self.file.write(self.folder, write) {
                self.problems.push(format!("cannot write the state {shown}: {e}"));
            }
        }
        std::mem::take(&mut self.problems)
    }

    fn set_aside(&mut self, why: String, rest: &str) {
        match self.file.set_aside(self.folder) {
            Ok(aside) => self
                .problems
                .push(format!("{why}, set aside as {}, {rest}", aside.display())),
            Err(e) => {
                self.may_write = false;
                self.problems.push(format!("{why}, and cannot be set aside: {e}"));
            }
        }
    }
}
