//! A process of the same program that does one part of a command.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, getpid, getppid, set_parent_process_death_signal, waitpid};

use crate::process::exit::{Output, finish};

/// Forks. `None`: this is the child, which has to end by itself, and is killed when its parent ends.
///
/// Only for a process with a single thread: then the child may do whatever the parent may.
///
/// # Errors
///
/// That of the system.
pub fn fork() -> io::Result<Option<Pid>> {
    let parent = getpid();
    // SAFETY: the caller has one thread, so no lock is held by another one that the child does not have.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let bound = set_parent_process_death_signal(Some(Signal::KILL)).is_ok();
            // The parent may have ended before this call.
            if bound && getppid() != Some(parent) {
                finish(Output::default());
            }
            Ok(None)
        }
        pid => Ok(Pid::from_raw(pid)),
    }
}

/// Waits for the end of a child, which has begun or will come soon.
pub fn reap(pid: Pid) {
    while matches!(waitpid(Some(pid), WaitOptions::empty()), Err(Errno::INTR)) {}
}

/// Runs this program anew in this process: with this argument alone, and without any variable of the environment. What the
/// process had in its memory is gone.
///
/// Returns only if that fails.
pub fn run_anew(argument: &str) -> io::Error {
    let mut program = Command::new("/proc/self/exe");
    program.arg0(env!("CARGO_PKG_NAME")).arg(argument).env_clear().exec()
}
