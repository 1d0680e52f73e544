//! A process of the same program that does one part of a mode.

use std::io;

use rustix::process::Pid;

/// Forks. `None`: this is the child, which has to end by itself.
///
/// Only for a process with a single thread: then the child may do whatever the parent may.
///
/// # Errors
///
/// That of the system.
pub fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: the caller has one thread, so no lock is held by another one that the child does not have.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(Pid::from_raw(pid)),
    }
}
