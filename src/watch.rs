//! The sidecar: checks again and again, and writes files.
//!
//! Each check is a process of its own, forked from this one: whatever a check leaks, hangs in or dies of ends with it, so
//! that a year of them leaves nothing. This process has a single thread, holds what is remembered where no file does, and
//! only waits: for the next check, for the end of the running one, and for signals.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::cli::{self, Env, Mode, Parsed, Telling, Typed};
use crate::files::shown;
use crate::report::Report;
use crate::state::{Place, Store};
use crate::timestamp::Timestamp;
use crate::verdict::{Finding, Reason, Status, Verdict};
use crate::watchdog::{self, Alarm};
use crate::{Output, examine, render, state_store, textfile};

/// How long after its timeout a check that does not end is killed. Its own watchdog is faster.
const GRACE: Duration = Duration::from_secs(1);

/// Whether these arguments ask for this mode, which must start before the process has a second thread.
pub fn is_asked_for(args: &[OsString]) -> bool {
    args.get(1).is_some_and(|command| command == "watch")
}

/// Checks until SIGTERM or SIGINT comes. `finish` prints and exits, for the checks themselves.
pub fn run(args: &[OsString], env: Env<'_>, finish: fn(Output) -> !) -> Output {
    let typed = match cli::parse(args, env) {
        Ok(Parsed::Run(typed)) => typed,
        Ok(Parsed::Print(text)) => return Output::fine(text),
        Err(problem) => return Output::failed(&format!("{problem} (see --help)")),
    };
    // A mistake is told at once. Later a file may well be missing for a while, when it is renewed.
    if let Err(problem) = typed.target(env, Instant::now() + typed.timing.timeout) {
        return Output::failed(&format!("{} (see --help)", problem.text()));
    }
    let Mode::Watch { interval, .. } = typed.mode else {
        return Output::failed("watch: not what was asked for");
    };
    let signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(e) => return Output::failed(&format!("cannot take over the signals: {e}")),
    };
    let mut held = holds_memory(&typed, env).then(String::new);
    let mut last_said = None;
    let mut schedule = Schedule::new(interval);
    loop {
        let event = match check(env, held.as_deref(), &typed, &signals, finish) {
            Ok(Some(event)) => event,
            // A signal to end.
            Ok(None) => return Output::default(),
            Err(e) => Event::failed(&format!("cannot start a check: {e}")),
        };
        if let (Some(held), Some(text)) = (&mut held, event.memory) {
            *held = text;
        }
        if last_said.as_ref() != Some(&event.said) {
            log(&format!(
                "{} {} {}: {}",
                typed.service.as_str(),
                event.said.0,
                event.said.1,
                event.text
            ));
            last_said = Some(event.said);
        }
        let next = schedule.next();
        while !signals.end() && !signals.again() && Instant::now() < next {
            wait(&[signals.ear.as_raw_fd()], Some(next));
            signals.hear();
        }
        if signals.end() {
            return Output::default();
        }
        if signals.forget_again() {
            log("SIGHUP: checking now; configuration and credentials are read for each check");
        }
    }
}

/// One line for people, with the time.
fn log(text: &str) {
    let line = text.replace(|c: char| c.is_control(), "?");
    let _ = writeln!(io::stderr(), "{} {line}", Timestamp::now());
}

/// Without a file for the state, this process remembers for as long as it lives.
fn holds_memory(typed: &Typed, env: Env<'_>) -> bool {
    typed.place == Place::Default && env("STATE_DIRECTORY").is_none_or(|dir| dir.is_empty())
}

/// The times of the checks: steady, and shifted by a random part of the interval, so that a thousand sidecars that were
/// started at once do not ask in step. The first check does not wait.
struct Schedule {
    interval: Duration,
    next: Instant,
}

impl Schedule {
    fn new(interval: Duration) -> Schedule {
        let nanos = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.subsec_nanos());
        // Different in each process, and that is all it has to be.
        let scattered = u64::from(nanos ^ std::process::id()).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let shift = interval.mul_f64(scattered as f64 / f64::from(u32::MAX));
        Schedule {
            interval,
            next: Instant::now() + shift.min(interval),
        }
    }

    /// The next time that is still to come; those that a long check has missed are left out.
    fn next(&mut self) -> Instant {
        let now = Instant::now();
        if self.next <= now {
            let missed = now.duration_since(self.next).as_nanos() / self.interval.as_nanos().max(1);
            self.next += self
                .interval
                .saturating_mul(u32::try_from(missed + 1).unwrap_or(u32::MAX));
        }
        self.next
    }
}

/// The signals that this process hears.
struct Signals {
    ear: UnixStream,
    end: Arc<AtomicBool>,
    again: Arc<AtomicBool>,
}

impl Signals {
    fn listen() -> io::Result<Signals> {
        let (ear, bell) = UnixStream::pair()?;
        ear.set_nonblocking(true)?;
        bell.set_nonblocking(true)?;
        let (end, again) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        for (signal, flag) in [(SIGTERM, &end), (SIGINT, &end), (SIGHUP, &again)] {
            // In this order: when the bell rings, the flag is set.
            signal_hook::flag::register(signal, Arc::clone(flag))?;
            signal_hook::low_level::pipe::register(signal, bell.try_clone()?)?;
        }
        Ok(Signals { ear, end, again })
    }

    fn end(&self) -> bool {
        self.end.load(SeqCst)
    }

    fn again(&self) -> bool {
        self.again.load(SeqCst)
    }

    fn forget_again(&self) -> bool {
        self.again.swap(false, SeqCst)
    }

    /// Empties the pipe; the flags say what came.
    fn hear(&self) {
        while matches!((&self.ear).read(&mut [0; 64]), Ok(1..)) {}
    }
}

/// What a check tells the process that waits for it.
struct Event {
    /// Status and reason: a line is logged when they change.
    said: (String, String),
    text: String,
    memory: Option<String>,
}

impl Event {
    fn failed(text: &str) -> Event {
        Event {
            said: (Status::Unknown.name().to_owned(), Reason::Interrupted.name().to_owned()),
            text: text.to_owned(),
            memory: None,
        }
    }

    fn write(report: &Report, memory: Option<String>) -> String {
        let lead = report.verdict.findings().first();
        json!({
            "status": report.verdict.status().name(),
            "reason": lead.map(|finding| finding.reason.name()),
            "text": lead.map(|finding| finding.text.as_str()),
            "memory": memory,
        })
        .to_string()
    }

    fn read(text: &str) -> Option<Event> {
        let value: Value = serde_json::from_str(text).ok()?;
        let field = |name: &str| value[name].as_str().map(str::to_owned);
        Some(Event {
            said: (field("status")?, field("reason")?),
            text: field("text")?,
            memory: field("memory"),
        })
    }
}

/// Forks a check and waits for its end. `None`: a signal said to end.
fn check(
    env: Env<'_>,
    held: Option<&str>,
    typed: &Typed,
    signals: &Signals,
    finish: fn(Output) -> !,
) -> io::Result<Option<Event>> {
    let start = Instant::now();
    let (reader, writer) = pipe()?;
    // A signal can wake us with nothing to read, and a read that waits would hear no other one.
    set_nonblocking(&reader)?;
    // SAFETY: this process has one thread, so the child may do whatever the parent may.
    let pid = match unsafe { libc::fork() } {
        -1 => return Err(io::Error::last_os_error()),
        0 => {
            // SAFETY: both descriptors are open.
            unsafe { libc::dup2(writer.as_raw_fd(), 1) };
            drop((reader, writer));
            be_a_check(env, held, typed, start, finish)
        }
        pid => pid,
    };
    drop(writer);
    let deadline = start + typed.timing.timeout + GRACE;
    let mut pipe = File::from(reader);
    let mut told = Vec::new();
    loop {
        wait(&[signals.ear.as_raw_fd(), pipe.as_raw_fd()], Some(deadline));
        signals.hear();
        if signals.end() || Instant::now() >= deadline {
            // SAFETY: the child has not been waited for, so the process id is its own.
            unsafe { libc::kill(pid, libc::SIGKILL) };
            break;
        }
        let mut buffer = [0; 16 * 1024];
        match pipe.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => told.extend_from_slice(&buffer[..length]),
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => break,
        }
    }
    reap(pid);
    // Killed, or ended by its own watchdog while it wrote.
    for path in files(&typed.mode) {
        textfile::remove_leftovers_of(path, pid as u32);
    }
    if signals.end() {
        return Ok(None);
    }
    let event = String::from_utf8(told).ok().and_then(|text| Event::read(&text));
    Ok(Some(event.unwrap_or_else(|| {
        Event::failed("a check hung or died, and was ended")
    })))
}

fn files(mode: &Mode) -> impl Iterator<Item = &Path> {
    let (textfile, status_file) = match mode {
        Mode::Watch {
            textfile, status_file, ..
        } => (textfile.as_deref(), status_file.as_deref()),
        _ => (None, None),
    };
    textfile.into_iter().chain(status_file)
}

/// The child: one check, with a watchdog of its own. What it says goes to the parent.
fn be_a_check(env: Env<'_>, held: Option<&str>, typed: &Typed, start: Instant, finish: fn(Output) -> !) -> ! {
    let last_words = |cause: &Alarm| told(&failed_report("", cause.reason(), &cause.to_string()), None);
    if let Err(e) = watchdog::install(Box::new(last_words), finish) {
        finish(told(
            &failed_report("", Reason::Interrupted, &format!("cannot take over the signals: {e}")),
            None,
        ));
    }
    // Anew each time: credentials are renewed, and files come late.
    let config = match typed.target(env, start + typed.timing.timeout) {
        Ok(target) => typed.clone().with_target(target),
        Err(problem) => {
            let report = failed_report(typed.service.as_str(), Reason::Usage, problem.text());
            finish(told(&write_files(&typed.mode, &typed.telling, report), None))
        }
    };
    let store = match held {
        Some(text) => Store::holding(text, config.question()),
        None => state_store(&config, env),
    };
    let report = write_files(&config.mode, &config.telling, examine(&config, &store, start));
    let memory = held.map(|_| store.write_text(&report.memory));
    finish(told(&report, memory))
}

fn failed_report(service: &str, reason: Reason, text: &str) -> Report {
    let finding = Finding::new(Status::Unknown, reason, text);
    Report::bare(Verdict::new(service, vec![finding], vec![], vec![]))
}

fn told(report: &Report, memory: Option<String>) -> Output {
    Output::fine(Event::write(report, memory))
}

/// What a check that is ended by its watchdog tells.
pub(crate) fn last_words(report: &Report) -> Output {
    told(report, None)
}

/// Writes the files. One that cannot be written is a finding, so that it is logged.
fn write_files(mode: &Mode, telling: &Telling, mut report: Report) -> Report {
    let Mode::Watch {
        textfile, status_file, ..
    } = mode
    else {
        return report;
    };
    let metrics = textfile
        .as_deref()
        .map(|path| (path, render::prometheus::render(&report, &telling.metrics)));
    let status = status_file.as_deref().map(|path| (path, render::json::render(&report)));
    for (path, text) in metrics.into_iter().chain(status) {
        if let Err(problem) = textfile::write(path, &text) {
            let problem = problem.replace(&path.display().to_string(), &shown(path));
            report
                .verdict
                .add(Finding::new(Status::Unknown, Reason::StateUnusable, problem));
        }
    }
    report
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: the kernel writes two descriptors to the array, and they are ours alone.
    unsafe {
        match libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) {
            0 => Ok((OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]))),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

fn set_nonblocking(descriptor: &OwnedFd) -> io::Result<()> {
    // SAFETY: the descriptor is open.
    match unsafe { libc::fcntl(descriptor.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Waits until one of these can be read, a signal comes, or it is this time.
fn wait(descriptors: &[RawFd], until: Option<Instant>) {
    let mut polled: Vec<libc::pollfd> = descriptors
        .iter()
        .map(|fd| libc::pollfd {
            fd: *fd,
            events: libc::POLLIN,
            revents: 0,
        })
        .collect();
    let left = until.map(|until| until.saturating_duration_since(Instant::now()));
    let time = left.map(|left| libc::timespec {
        tv_sec: left.as_secs() as libc::time_t,
        tv_nsec: left.subsec_nanos().into(),
    });
    let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the array and the time live until the call returns.
    unsafe {
        libc::ppoll(
            polled.as_mut_ptr(),
            polled.len() as libc::nfds_t,
            time,
            std::ptr::null(),
        )
    };
}

/// Waits for the end of the child, and, as process 1 of a container, for that of others whose parents are gone.
fn reap(pid: libc::pid_t) {
    // SAFETY: waitpid may be called with a null status.
    unsafe {
        while libc::waitpid(pid, std::ptr::null_mut(), 0) == -1 && *libc::__errno_location() == libc::EINTR {}
        while libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) > 0 {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_is_steady_and_leaves_out_what_was_missed() {
        let interval = Duration::from_millis(50);
        let mut schedule = Schedule::new(interval);
        let start = Instant::now();
        let first = schedule.next();
        assert!(first <= start + interval * 2, "shifted by no more than an interval");
        if Instant::now() < first {
            assert_eq!(schedule.next(), first, "a check out of turn takes no turn away");
        }
        while Instant::now() < first + interval * 3 {
            std::thread::sleep(interval);
        }
        let late = schedule.next();
        assert!(late > Instant::now() - interval && late < Instant::now() + interval * 2);
        assert_eq!(
            (late - first).as_nanos() % interval.as_nanos(),
            0,
            "in the same step as before"
        );
    }

    #[test]
    fn an_event_reads_back() {
        let report = failed_report("orders", Reason::AuthRejected, "no \"entry\"\n");
        let event = Event::read(&Event::write(&report, Some("{}".into()))).expect("an event");
        assert_eq!(event.said, ("UNKNOWN".to_owned(), "auth_rejected".to_owned()));
        assert_eq!(
            (event.text.as_str(), event.memory.as_deref()),
            ("no \"entry\"\n", Some("{}"))
        );
        assert!(Event::read("").is_none() && Event::read("NATS_SERVICE UNKNOWN").is_none());
    }
}
