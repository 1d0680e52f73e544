//! Processes that never outlive the tests, and waits for them that always end.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::LIMIT;

type Order = (Command, Sender<io::Result<Child>>);

/// Sets the parent death signal of a program and becomes it. Debian's util-linux is always installed.
const SETPRIV: &str = "/usr/bin/setpriv";

/// A command for [`spawn`]: the kernel kills its process when the test process ends, however that ends.
///
/// `setpriv` does this, and not a closure of ours between fork and exec: with a closure, the standard library forks the whole
/// test process, which takes 20 ms for each 100 MB, instead of using `posix_spawn`.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(SETPRIV);
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// Starts a [`command`]. Returns once the program itself runs in the process.
///
/// The kernel ties the process to the *thread* that starts it, and a test's thread ends with the test: so one thread, which
/// never ends, starts them all.
#[track_caller]
pub fn spawn(command: Command) -> Child {
    static SPAWNER: once_cell::sync::OnceCell<Sender<Order>> = once_cell::sync::OnceCell::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, inbox) = channel::<Order>();
        thread::spawn(move || {
            for (mut command, done) in inbox {
                let _ = done.send(command.spawn());
            }
        });
        orders
    });
    assert_eq!(command.get_program(), SETPRIV, "made by process::command()");
    let text = format!("{command:?}");
    let (done, result) = channel();
    spawner.send((command, done)).unwrap();
    let result = result.recv_timeout(LIMIT).expect("the spawner answers");
    let child = result.unwrap_or_else(|error| panic!("cannot start {text}: {error}"));
    let program = format!("/proc/{}/exe", child.id());
    // Another program's, or nobody's when it has ended already.
    while fs::read_link(&program).is_ok_and(|path| path.ends_with("setpriv")) {
        thread::sleep(Duration::from_micros(100));
    }
    child
}

/// Waits until the process ends; `None` when it has not ended within `limit`.
pub fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    if let Some(status) = child.try_wait().unwrap() {
        return Some(status);
    }
    ends(child.id(), limit).then(|| child.wait().unwrap())
}

/// Waits until the process ends, and does not take note of it: what the kernel has counted can still be read. The process must not have
/// been waited for.
pub fn ends(pid: u32, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    // A pidfd becomes readable at the very moment of the end: measured times are not rounded up by a sleep of ours.
    // SAFETY: it has not been waited for, so the process id is its own; the descriptor is ours alone.
    let pidfd = unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        assert!(fd >= 0, "pidfd_open: {}", io::Error::last_os_error());
        OwnedFd::from_raw_fd(fd as i32)
    };
    loop {
        let mut poll = libc::pollfd {
            fd: pidfd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let left = deadline.saturating_duration_since(Instant::now());
        // SAFETY: one valid pollfd.
        match unsafe { libc::poll(&mut poll, 1, left.as_millis() as i32 + 1) } {
            0 => return false,
            1 => return true,
            _ => continue, // interrupted by a signal
        }
    }
}

/// Returns the time that the first thread of a process (one that may have ended, but has not been waited for) has stood in the
/// queue for a processor: the part of its time that is the machine's, and not its own. Nothing if the kernel does not count that.
pub fn queued(child: &Child) -> Duration {
    let counted = fs::read_to_string(format!("/proc/{}/schedstat", child.id())).unwrap_or_default();
    let nanos = counted.split_whitespace().nth(1).and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

/// Sends a signal to a process of ours that has not been waited for.
#[track_caller]
pub fn signal(pid: u32, signal: i32) {
    // SAFETY: kill has no memory effects.
    let result = unsafe { libc::kill(pid as i32, signal) };
    assert_eq!(result, 0, "kill({pid}, {signal}): {}", io::Error::last_os_error());
}

/// Kills the process at once (frozen or not) and takes note of its end.
pub fn kill(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// Stops the process with SIGSTOP and returns once it has really stopped, all threads of it.
#[track_caller]
pub fn freeze(pid: u32) {
    signal(pid, libc::SIGSTOP);
    super::wait_for("the process stops", || {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
        let stopped = |thread: io::Result<fs::DirEntry>| {
            let stat = fs::read_to_string(thread.ok()?.path().join("stat")).ok()?;
            // The name before it may have any character.
            Some(stat.rsplit_once(") ")?.1.starts_with('T'))
        };
        threads.map(stopped).all(|thread| thread == Some(true)).then_some(())
    });
}

/// Lets a frozen process go on.
pub fn thaw(pid: u32) {
    signal(pid, libc::SIGCONT);
}

#[test]
fn a_wait_ends_with_the_process_or_at_the_limit() {
    let mut child = spawn({
        let mut command = self::command("sleep");
        command.arg("60");
        command
    });
    let start = Instant::now();
    assert!(wait(&mut child, Duration::from_millis(50)).is_none());
    assert!(start.elapsed() >= Duration::from_millis(50));
    freeze(child.id());
    assert!(wait(&mut child, Duration::from_millis(10)).is_none());
    thaw(child.id());
    signal(child.id(), libc::SIGTERM);
    use std::os::unix::process::ExitStatusExt;
    assert_eq!(wait(&mut child, LIMIT).unwrap().signal(), Some(libc::SIGTERM));
    assert!(wait(&mut child, LIMIT).is_some(), "waiting again is fine");
}

#[test]
fn a_process_that_has_ended_is_still_counted() {
    // Now and then one is run at once.
    super::wait_for("a process that was in the queue", || {
        let mut command = self::command("sh");
        command.args(["-c", "exit 3"]);
        let mut child = spawn(command);
        assert!(ends(child.id(), LIMIT));
        let queued = queued(&child);
        assert_eq!(wait(&mut child, LIMIT).unwrap().code(), Some(3));
        assert!(queued < LIMIT);
        (queued > Duration::ZERO).then_some(())
    });
}

#[test]
fn a_process_survives_the_thread_that_asked_for_it() {
    let mut child = thread::spawn(|| {
        let mut command = self::command("sleep");
        command.arg("60");
        spawn(command)
    })
    .join()
    .unwrap();
    assert!(wait(&mut child, Duration::from_millis(100)).is_none());
    kill(&mut child);
}
