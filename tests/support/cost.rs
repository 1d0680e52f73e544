//! The cost of a run of a program: times, and counts that do not depend on how fast or how busy the machine is.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::zeroed;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use super::TempDir;

/// A program and its arguments, run as a monitoring system would: an environment of PATH and HOME only, stdin empty.
#[derive(Clone, Debug)]
pub struct Program {
    words: Vec<OsString>,
    code: i32,
}

/// Costs that depend on the machine, and on what else it does.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    pub wall_ms: f64,
    /// User and system time.
    pub cpu_ms: f64,
}

/// System calls of a run.
#[derive(Clone, Debug, Default)]
pub struct Calls {
    pub by_name: BTreeMap<String, usize>,
    /// The first one included.
    pub threads: usize,
    /// As many as the limit of open files has to allow, the three standard ones included.
    pub descriptors: usize,
}

impl Calls {
    pub fn count(&self) -> usize {
        self.by_name.values().sum()
    }
}

impl Program {
    pub fn new(words: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Program {
        Program {
            words: words.into_iter().map(|word| word.as_ref().to_owned()).collect(),
            code: 0,
        }
    }

    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Program {
        self.words.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// With which code it ends, 0 unless said otherwise. What ends with another one did something else: that is an error, and
    /// not measured.
    pub fn ends_with(mut self, code: i32) -> Program {
        self.code = code;
        self
    }

    fn check(&self, status: ExitStatus) -> io::Result<()> {
        match status.code() == Some(self.code) {
            true => Ok(()),
            false => Err(io::Error::other(format!("{status}: {:?}", self.words))),
        }
    }

    /// To be run by another program, which is given this one's words behind its own.
    fn under(&self, words: &[&str]) -> Command {
        let words: Vec<&OsStr> = words
            .iter()
            .map(OsStr::new)
            .chain(self.words.iter().map(OsString::as_os_str))
            .collect();
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", "/nonexistent")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// Runs it, for what it leaves behind.
    pub fn run(&self) -> io::Result<()> {
        self.check(self.under(&[]).status()?)
    }

    /// Runs it with nothing in its way.
    pub fn time(&self) -> io::Result<Times> {
        let mut command = self.under(&[]);
        let start = Instant::now();
        let child = command.spawn()?;
        let (mut status, mut usage);
        // SAFETY: a zeroed rusage is valid, and both pointers are to variables of ours. The child is waited for only here.
        unsafe {
            (status, usage) = (0, zeroed::<libc::rusage>());
            if libc::wait4(child.id() as i32, &mut status, 0, &mut usage) < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        let ms = |time: libc::timeval| time.tv_sec as f64 * 1000.0 + time.tv_usec as f64 / 1000.0;
        let times = Times {
            wall_ms: start.elapsed().as_secs_f64() * 1000.0,
            cpu_ms: ms(usage.ru_utime) + ms(usage.ru_stime),
        };
        self.check(ExitStatus::from_raw(status))?;
        Ok(times)
    }

    /// Returns its largest memory, in KiB. Not `ru_maxrss`, into which the kernel counts what started it.
    pub fn peak_kib(&self) -> io::Result<u64> {
        let mut command = self.under(&[]);
        // SAFETY: ptrace is a plain system call, allowed between fork and exec.
        unsafe {
            command.pre_exec(|| match libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            });
        }
        let (peak, status) = Tracee(command.spawn()?).peak_kib()?;
        self.check(status)?;
        Ok(peak)
    }

    /// Returns the system calls that strace sees.
    pub fn calls(&self) -> io::Result<Calls> {
        let dir = TempDir::new();
        let trace = dir.join("trace");
        let strace = ["strace", "-f", "-qq", "-e", "signal=none", "-o", &trace];
        self.check(self.under(&strace).status()?)?;
        Ok(read_trace(&std::fs::read_to_string(trace)?))
    }

    /// Returns the number of instructions outside of the kernel, as callgrind counts them, with those of the dynamic linker.
    pub fn instructions(&self) -> io::Result<u64> {
        let dir = TempDir::new();
        let log = dir.join("log");
        let log_file = format!("--log-file={log}");
        let valgrind = [
            "valgrind",
            "--tool=cachegrind",
            "--cache-sim=no",
            "--cachegrind-out-file=/dev/null",
            &log_file,
        ];
        self.check(self.under(&valgrind).status()?)?;
        let text = std::fs::read_to_string(log)?;
        text.lines()
            .find_map(|line| line.split_once("refs:")?.1.trim().replace(',', "").parse().ok())
            .ok_or_else(|| io::Error::other(format!("valgrind says: {text}")))
    }
}

/// A child that asked to be traced, by this thread.
struct Tracee(Child);

impl Tracee {
    /// Lets it run, and looks at it when it ends: its memory is there for the last time.
    fn peak_kib(self) -> io::Result<(u64, ExitStatus)> {
        const AT_EXIT: i32 = libc::SIGTRAP | (libc::PTRACE_EVENT_EXIT << 8);
        let pid = self.0.id() as i32;
        let mut peak = None;
        let mut started = false;
        loop {
            let mut status = 0;
            // SAFETY: the pointer is to a variable of ours; the child is waited for only here.
            if unsafe { libc::waitpid(pid, &mut status, libc::__WALL) } < 0 {
                return Err(io::Error::last_os_error());
            }
            if !libc::WIFSTOPPED(status) {
                let peak = peak.ok_or_else(|| io::Error::other("its end was not seen"))?;
                return Ok((peak, ExitStatus::from_raw(status)));
            }
            let mut signal = 0;
            if !started {
                // The exec.
                started = true;
                let options = libc::PTRACE_O_TRACEEXIT | libc::PTRACE_O_EXITKILL;
                // SAFETY: the child is stopped, and traced by this thread.
                unsafe { libc::ptrace(libc::PTRACE_SETOPTIONS, pid, 0, options) };
            } else if status >> 8 == AT_EXIT {
                let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
                let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
                peak = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
            } else {
                signal = libc::WSTOPSIG(status);
            }
            // SAFETY: as above.
            unsafe { libc::ptrace(libc::PTRACE_CONT, pid, 0, signal) };
        }
    }
}

/// Counts the lines that `strace -f` has written.
fn read_trace(text: &str) -> Calls {
    // They give the number, or the two numbers, of what they open.
    const OPENING: [&str; 15] = [
        "open",
        "openat",
        "openat2",
        "socket",
        "socketpair",
        "accept",
        "accept4",
        "dup",
        "dup2",
        "dup3",
        "pipe2",
        "eventfd2",
        "epoll_create1",
        "timerfd_create",
        "signalfd4",
    ];
    let mut calls = Calls {
        threads: 1,
        descriptors: 3,
        ..Calls::default()
    };
    for line in text.lines() {
        // `PID name(…) = result`, `PID name(… <unfinished ...>` and later `PID <... name resumed>…) = result`
        let Some((_pid, line)) = line.split_once(' ') else {
            continue;
        };
        let line = line.trim_start();
        let begins = !line.starts_with("<...");
        let name = line.trim_start_matches("<... ");
        let name: String = name
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
            .collect();
        if name.is_empty() {
            continue; // +++ exited +++
        }
        if OPENING.contains(&name.as_str()) && !line.ends_with("<unfinished ...>") {
            let (args, result) = line.rsplit_once(" = ").unwrap_or_default();
            let numbers = match name.as_str() {
                "pipe2" | "socketpair" => args,
                _ => result.split(' ').next().unwrap_or_default(),
            };
            let numbers = numbers
                .split(|c: char| !c.is_ascii_digit())
                .filter_map(|word| word.parse().ok());
            let failed = result.starts_with('-');
            let largest: usize = numbers.filter(|_| !failed).max().unwrap_or(0);
            calls.descriptors = calls.descriptors.max(largest + 1);
        }
        if begins {
            calls.threads += usize::from(name == "clone" || name == "clone3");
            *calls.by_name.entry(name).or_default() += 1;
        }
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_counted() {
        let calls = read_trace(
            "7 execve(\"/bin/x\", [\"x\"], 0x7ffd /* 2 vars */) = 0\n\
             7 openat(AT_FDCWD, \"/etc/a = 99\", O_RDONLY|O_CLOEXEC) = 3\n\
             7 openat(AT_FDCWD, \"/no\", O_RDONLY) = -1 ENOENT (No such file or directory)\n\
             7 pipe2([4, 5], O_CLOEXEC) = 0\n\
             7 clone3({flags=CLONE_VM} <unfinished ...>\n\
             8 futex(0x7f, FUTEX_WAIT_PRIVATE, 2, NULL <unfinished ...>\n\
             7 <... clone3 resumed> => {parent_tid=[8]}, 88) = 8\n\
             8 <... futex resumed>) = 0\n\
             8 exit(0) = ?\n\
             8 +++ exited with 0 +++\n\
             7 exit_group(0) = ?\n",
        );
        assert_eq!((calls.count(), calls.threads, calls.descriptors), (8, 2, 6));
        assert_eq!((calls.by_name["openat"], calls.by_name["futex"]), (2, 1));
    }

    #[test]
    #[ignore = "needs strace"]
    fn a_program_is_measured() {
        let program = Program::new(["sh", "-c", "exec 7</dev/null; true | true"]);
        let calls = program.calls().unwrap();
        assert_eq!(calls.by_name["execve"], 1, "{calls:?}");
        assert!(calls.threads == 3 && calls.descriptors >= 5, "{calls:?}");
        let instructions = program.instructions().unwrap();
        assert!((20_000..20_000_000).contains(&instructions), "{instructions}");
        let peak = program.peak_kib().unwrap();
        assert!((200..10_000).contains(&peak), "{peak} KiB");
        assert!(program.time().unwrap().wall_ms > 0.0);
        // Its own peak, and not what it had before exec.
        let hog = vec![1u8; 64 << 20];
        assert!(program.peak_kib().unwrap() < 10_000);
        drop(hog);
    }

    #[test]
    #[ignore = "needs strace"]
    fn what_ends_with_another_code_is_not_measured() {
        let program = Program::new(["sh", "-c", "exit 3"]);
        let error = program.time().unwrap_err().to_string();
        assert!(error.contains("exit status: 3"), "{error}");
        let errors = [
            program.run().err(),
            program.calls().err(),
            program.peak_kib().err(),
            program.instructions().err(),
        ];
        assert!(errors.iter().all(Option::is_some), "{errors:?}");
        let program = program.ends_with(3);
        assert!(program.time().is_ok() && program.calls().is_ok() && program.instructions().is_ok());
        let killed = Program::new(["sh", "-c", "kill -TERM $$"]);
        let error = killed.peak_kib().unwrap_err().to_string();
        assert!(error.contains("signal: 15"), "{error}");
    }
}
