//! A folder that is opened once and used by its descriptor, so that nobody can put another one in its place meanwhile.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{self, AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::process::user::euid;

/// As many links as the kernel follows in one path.
const MAX_LINKS: usize = 40;

/// The bits of a mode that let others write: the group, and everybody.
const OTHERS_WRITE: u32 = 0o022;

/// Only the owner of an entry (and of the folder) may remove or rename it.
const STICKY: u32 = 0o1000;

/// An open folder.
#[derive(Debug)]
pub struct Folder {
    fd: OwnedFd,
    path: PathBuf,
    stat: Stat,
}

/// Users who may own, and write to, the folders above a trusted folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ancestors {
    /// Only we and root.
    Private,
    /// In a Kubernetes pod: whoever shares a volume with us. An emptyDir can be written to by everybody.
    SharedInPod,
}

impl Folder {
    /// Opens a folder, whoever can write to it.
    ///
    /// # Errors
    ///
    /// Those of the system: it is not there, or is no folder.
    pub fn open(path: &Path) -> io::Result<Folder> {
        let fd = fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Folder {
            stat: fs::fstat(&fd)?,
            path: path.to_owned(),
            fd,
        })
    }

    /// Opens a folder in which only we and root can put a file, and which only we and root can replace: no folder on the way to
    /// it belongs to others, nor can others write to it, unless it is a sticky one where the entry is ours (or root's). Links
    /// of ours and of root are followed. `None` if it is not there.
    ///
    /// One that is ours and was opened to a group, as by the `fsGroup` of Kubernetes, is trusted; [`Folder::make_private`]
    /// closes it again.
    ///
    /// # Errors
    ///
    /// Why it cannot be trusted, and what to do.
    pub fn open_trusted(path: &Path, ancestors: Ancestors) -> Result<Option<Folder>, String> {
        Walk::new(path, ancestors, false).run()
    }

    /// The same, and makes what is missing, with mode 0700.
    ///
    /// # Errors
    ///
    /// Why it cannot be made or trusted, and what to do.
    pub fn create_trusted(path: &Path, ancestors: Ancestors) -> Result<Folder, String> {
        let folder = Walk::new(path, ancestors, true).run()?;
        folder.ok_or_else(|| format!("the state folder {} was removed a moment ago", path.display()))
    }

    /// Puts the mode of our own folder back to 0700 if a group can write to it.
    ///
    /// # Errors
    ///
    /// One line that names it.
    pub fn make_private(&self) -> Result<(), String> {
        if self.stat.st_mode & OTHERS_WRITE == 0 {
            return Ok(());
        }
        let done = self
            .open_itself()
            .and_then(|fd| fs::fchmod(fd, Mode::RWXU).map_err(io::Error::from));
        done.map_err(|e| format!("cannot make the state folder {} private: {e}", self.path.display()))
    }

    /// Opens a file in it, without following a link, and without waiting for the other end of a pipe. The mode is that of a new
    /// file.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn open_file(&self, name: &OsStr, flags: OFlags, mode: u32) -> io::Result<File> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        Ok(fs::openat(&self.fd, name, flags, Mode::from_raw_mode(mode))?.into())
    }

    /// The kind of an entry, if it is there. A link is a link.
    pub fn kind(&self, name: &OsStr) -> Option<FileType> {
        let stat = fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some(FileType::from_raw_mode(stat.st_mode))
    }

    /// Returns `true` if there is anything under this name.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn has(&self, name: &OsStr) -> io::Result<bool> {
        match fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// Removes a file, if it is there.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn remove(&self, name: &OsStr) -> io::Result<()> {
        match fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            done => Ok(done?),
        }
    }

    /// # Errors
    ///
    /// Those of the system.
    pub fn rename(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        Ok(fs::renameat(&self.fd, from, &self.fd, to)?)
    }

    /// Gives a file a second name.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn link(&self, name: &OsStr, second: &OsStr) -> io::Result<()> {
        Ok(fs::linkat(&self.fd, name, &self.fd, second, AtFlags::empty())?)
    }

    /// The names of all entries, sorted.
    ///
    /// # Errors
    ///
    /// Those of the system: we may not look at it, perhaps.
    pub fn names(&self) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in Dir::new(self.open_itself()?)? {
            names.push(OsString::from_vec(entry?.file_name().to_bytes().to_vec()));
        }
        names.sort();
        Ok(names)
    }

    /// Opens the folder for what a mere path descriptor cannot do.
    fn open_itself(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(fs::openat(&self.fd, ".", flags, Mode::empty())?)
    }
}

/// The way from the root to a trusted folder, one entry at a time, each looked at by its descriptor.
struct Walk<'a> {
    path: &'a Path,
    ancestors: Ancestors,
    create: bool,
    euid: u32,
}

impl Walk<'_> {
    fn new(path: &Path, ancestors: Ancestors, create: bool) -> Walk<'_> {
        Walk {
            path,
            ancestors,
            create,
            euid: euid(),
        }
    }

    fn run(&self) -> Result<Option<Folder>, String> {
        let absolute = std::path::absolute(self.path).map_err(|e| self.unusable(&e))?;
        let mut here = self.root()?;
        // Remaining entries, the next one last.
        let mut left = reversed(&absolute);
        let mut links = 0;
        while let Some(name) = left.pop() {
            if name == "/" {
                here = self.root()?;
                continue;
            }
            self.check_ancestor(&here)?;
            let Some(fd) = self.entry(&here, &name)? else {
                return Ok(None);
            };
            let next = self.folder(here.path.join(&name), fd)?;
            self.check_owner(&next, left.is_empty())?;
            match FileType::from_raw_mode(next.stat.st_mode) {
                FileType::Directory => here = next,
                FileType::Symlink if links < MAX_LINKS => {
                    links += 1;
                    let target = fs::readlinkat(&next.fd, "", Vec::new()).map_err(|e| self.unusable(&e.into()))?;
                    left.extend(reversed(Path::new(OsStr::from_bytes(target.to_bytes()))));
                }
                FileType::Symlink => return Err(self.unusable(&Errno::LOOP.into())),
                _ if left.is_empty() => return Err(format!("the state folder {} is no folder", self.path.display())),
                _ => return Err(self.unusable(&Errno::NOTDIR.into())),
            }
        }
        self.check_owner(&here, true)?;
        self.check_state_folder(&here)?;
        Ok(Some(Folder {
            path: self.path.to_owned(),
            ..here
        }))
    }

    fn root(&self) -> Result<Folder, String> {
        Folder::open(Path::new("/")).map_err(|e| self.unusable(&e))
    }

    fn folder(&self, path: PathBuf, fd: OwnedFd) -> Result<Folder, String> {
        let stat = fs::fstat(fd.as_fd()).map_err(|e| self.unusable(&e.into()))?;
        Ok(Folder { fd, path, stat })
    }

    /// Opens an entry, whatever it is; makes a folder if there is nothing, and that is wanted.
    fn entry(&self, dir: &Folder, name: &OsStr) -> Result<Option<OwnedFd>, String> {
        let open = || {
            fs::openat(
                &dir.fd,
                name,
                OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                Mode::empty(),
            )
        };
        match open() {
            Ok(fd) => return Ok(Some(fd)),
            Err(Errno::NOENT) if self.create => {}
            Err(Errno::NOENT) => return Ok(None),
            Err(e) => return Err(self.unusable(&e.into())),
        }
        match fs::mkdirat(&dir.fd, name, Mode::RWXU) {
            // Another run has created it meanwhile.
            Ok(()) | Err(Errno::EXIST) => open().map(Some).map_err(|e| self.unusable(&e.into())),
            Err(e) => Err(self.not_made(&e.into())),
        }
    }

    /// Checks a folder above: who can write to it could replace the state folder.
    fn check_ancestor(&self, dir: &Folder) -> Result<(), String> {
        let mode = dir.stat.st_mode;
        if mode & OTHERS_WRITE == 0 || mode & STICKY != 0 || self.ancestors == Ancestors::SharedInPod {
            return Ok(());
        }
        Err(format!(
            "others can write to {} (mode {:04o}), above the state folder {}, make it 0755 or give --state-dir",
            dir.path.display(),
            mode & 0o7777,
            self.path.display()
        ))
    }

    fn check_owner(&self, entry: &Folder, is_last: bool) -> Result<(), String> {
        let (uid, euid, path) = (entry.stat.st_uid, self.euid, self.path.display());
        match uid == 0 || uid == euid {
            true => Ok(()),
            false if is_last => Err(format!(
                "the state folder {path} belongs to user {uid}, not to user {euid}, give --state-dir"
            )),
            false => Err(format!(
                "{}, above the state folder {path}, belongs to user {uid}, not to user {euid}, give --state-dir",
                entry.path.display()
            )),
        }
    }

    /// Nobody but us and root puts a file into the state folder.
    fn check_state_folder(&self, dir: &Folder) -> Result<(), String> {
        let (mode, path) = (dir.stat.st_mode & 0o7777, self.path.display());
        let is_private = mode & OTHERS_WRITE == 0;
        let was_opened_to_a_group = dir.stat.st_uid == self.euid && mode & 0o002 == 0;
        if is_private || was_opened_to_a_group {
            return Ok(());
        }
        Err(format!(
            "others can write to the state folder {path} (mode {mode:04o}), make it 0700 or give --state-dir (in Kubernetes, \
             name a subfolder of the mounted volume: --state-dir {})",
            self.path.join("check_nats_service").display()
        ))
    }

    fn unusable(&self, error: &io::Error) -> String {
        format!("cannot use the state folder {}: {error}", self.path.display())
    }

    fn not_made(&self, error: &io::Error) -> String {
        let (path, euid) = (self.path.display(), self.euid);
        match error.kind() {
            io::ErrorKind::PermissionDenied => format!(
                "user {euid} cannot make the state folder {path}: {error}, as root, run install -d -o {euid} -m 700 {path}, or \
                 give --state-dir"
            ),
            _ => format!("cannot make the state folder {path}: {error}"),
        }
    }
}

/// The entries of a path, the first one last.
fn reversed(path: &Path) -> Vec<OsString> {
    let entries = path.components().rev().filter(|entry| *entry != Component::CurDir);
    entries.map(|entry| entry.as_os_str().to_owned()).collect()
}
