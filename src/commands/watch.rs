//! The sidecar: checks again and again, and writes files.
//!
//! Each check is a process of its own, forked from this one: whatever a check leaks, hangs in or dies of ends with it, so
//! that a year of them leaves nothing. This process has a single thread, holds what is remembered where no file does, and
//! only waits: for the next check, for the end of the running one, and for signals. The HTTP server of `--listen` is a
//! process of its own, too, so that none of its clients delays a check.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use rustix::stdio::dup2_stdout;
use serde_json::{Value, json};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::child::fork;
use super::listen::{self, HttpServer};
use super::log::log;
use super::probe;
use super::run_check::{AbortReport, run_check, state_store};
use crate::cli::{self, Arguments, Command, ConfigError, Invocation, OutputOptions};
use crate::files::read::shown;
use crate::files::replace;
use crate::judge::pod;
use crate::judge::verdict::Finding;
use crate::process::exit::{Output, finish};
use crate::process::watchdog::{self, Alarm};
use crate::render;
use crate::render::report::Report;
use crate::state::store::{StateLocation, Store};
use crate::values::env::Env;
use crate::values::status::{Reason, Status};
use crate::values::timestamp::Timestamp;

/// How long after its timeout a check that does not end is killed. Its own watchdog is faster.
const GRACE: Duration = Duration::from_secs(1);

/// Whether these arguments ask for this command, which must start before the process has a second thread.
pub fn is_asked_for(args: &[OsString]) -> bool {
    args.get(1).is_some_and(|command| command == "watch")
}

/// Checks until SIGTERM or SIGINT comes. The checks exit by themselves.
pub fn run(args: &[OsString], env: Env<'_>) -> Output {
    let arguments = match cli::parse(args, env) {
        Ok(Invocation::Run(arguments)) => arguments,
        Ok(Invocation::Print(text)) => return Output::success(text),
        Ok(Invocation::StateList(_)) => return Output::failure("watch: not what was asked for"),
        Err(problem) => return Output::failure(&format!("{problem} (see --help)")),
    };
    let Command::Watch {
        interval,
        listen,
        status_file,
        ..
    } = &arguments.command
    else {
        return Output::failure("watch: not what was asked for");
    };
    let listen = listen.as_ref();
    let answers_probes = listen.is_some() || status_file.is_some();
    // A mistake is told at once. Later a file may well be missing for a while, when it is renewed. Where probes are answered,
    // it may be from the beginning: without this process they would fail.
    match arguments.target(env, Instant::now() + arguments.timing.timeout) {
        Err(ConfigError::File(_)) if answers_probes => {}
        Err(problem) => return Output::failure(&format!("{} (see --help)", problem.text())),
        Ok(_) => {}
    }
    let mut server = match listen
        .map(|listen| HttpServer::bind(listen, &arguments.service, *interval))
        .transpose()
    {
        Ok(server) => server,
        Err(problem) => return Output::failure(&problem),
    };
    let signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(e) => return Output::failure(&format!("cannot take over the signals: {e}")),
    };
    if let Some(server) = &mut server {
        server.start();
    }
    check_until_the_end(env, &arguments, &signals, *interval, &mut server);
    if let Some(server) = server {
        server.end();
    }
    Output::default()
}

/// Returns when a signal says so.
fn check_until_the_end(
    env: Env<'_>,
    arguments: &Arguments,
    signals: &Signals,
    interval: Duration,
    server: &mut Option<HttpServer>,
) {
    let mut carried = CarriedState {
        memory: holds_memory(arguments, env).then(String::new),
        status: None,
    };
    let mut last_logged = None;
    let mut times = CheckTimes::new(interval);
    loop {
        let event = match check(env, &carried, arguments, signals, server) {
            Ok(Some(event)) => event,
            // A signal to end.
            Ok(None) => return,
            Err(e) => CheckOutcome::failed(&format!("cannot start a check: {e}")),
        };
        carried.take(&event);
        if last_logged.as_ref() != Some(&event.status_and_reason) {
            log(&format!(
                "{} {} {}: {}",
                arguments.service.as_str(),
                event.status_and_reason.0,
                event.status_and_reason.1,
                event.text
            ));
            last_logged = Some(event.status_and_reason);
        }
        let next = times.next();
        while !signals.end() && !signals.again() && Instant::now() < next {
            wait(signals, server, None, next);
        }
        if signals.end() {
            return;
        }
        if signals.forget_again() {
            log("SIGHUP: checking now; configuration and credentials are read for each check");
        }
    }
}

/// What this process holds from check to check.
struct CarriedState {
    /// The state, where no file holds it.
    memory: Option<String>,
    /// The status, and since when it has been that.
    status: Option<(String, Timestamp)>,
}

impl CarriedState {
    fn take(&mut self, event: &CheckOutcome) {
        if let (Some(carried), Some(text)) = (&mut self.memory, &event.memory) {
            carried.clone_from(text);
        }
        let status = &event.status_and_reason.0;
        if self.status.as_ref().is_none_or(|(carried, _)| carried != status) {
            self.status = Some((status.clone(), Timestamp::now()));
        }
    }

    /// Since when the status has been that of this report.
    fn since(&self, report: &Report) -> Timestamp {
        let same = self
            .status
            .as_ref()
            .filter(|(carried, _)| carried == report.verdict.status().name());
        same.map_or(report.now, |(_, since)| *since)
    }
}

/// Without a file for the state, this process remembers for as long as it lives.
fn holds_memory(arguments: &Arguments, env: Env<'_>) -> bool {
    arguments.place == StateLocation::Default && env("STATE_DIRECTORY").is_none_or(|dir| dir.is_empty())
}

/// The times of the checks: steady, and shifted by a random part of the interval, so that a thousand sidecars that were
/// started at once do not ask in step. The first check does not wait.
struct CheckTimes {
    interval: Duration,
    next: Instant,
}

impl CheckTimes {
    fn new(interval: Duration) -> CheckTimes {
        let nanos = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.subsec_nanos());
        // Different in each process, and that is all it has to be.
        let scattered = u64::from(nanos ^ std::process::id()).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let shift = interval.mul_f64(scattered as f64 / f64::from(u32::MAX));
        CheckTimes {
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
    woken: UnixStream,
    end: Arc<AtomicBool>,
    again: Arc<AtomicBool>,
}

impl Signals {
    fn listen() -> io::Result<Signals> {
        let (woken, waker) = UnixStream::pair()?;
        woken.set_nonblocking(true)?;
        waker.set_nonblocking(true)?;
        let (end, again) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        for (signal, flag) in [(SIGTERM, &end), (SIGINT, &end), (SIGHUP, &again)] {
            if signal == SIGHUP && watchdog::is_ignored(signal) {
                continue;
            }
            // In this order: when this process wakes, the flag is set.
            signal_hook::flag::register(signal, Arc::clone(flag))?;
            signal_hook::low_level::pipe::register(signal, waker.try_clone()?)?;
        }
        Ok(Signals { woken, end, again })
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
        while matches!((&self.woken).read(&mut [0; 64]), Ok(1..)) {}
    }
}

/// What a check tells the process that waits for it.
struct CheckOutcome {
    /// Status and reason: a line is logged when they change.
    status_and_reason: (String, String),
    text: String,
    memory: Option<String>,
}

impl CheckOutcome {
    fn failed(text: &str) -> CheckOutcome {
        CheckOutcome {
            status_and_reason: (Status::Unknown.name().to_owned(), Reason::Interrupted.name().to_owned()),
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

    fn read(text: &str) -> Option<CheckOutcome> {
        let value: Value = serde_json::from_str(text).ok()?;
        let field = |name: &str| value[name].as_str().map(str::to_owned);
        Some(CheckOutcome {
            status_and_reason: (field("status")?, field("reason")?),
            text: field("text")?,
            memory: field("memory"),
        })
    }
}

/// Forks a check and waits for its end. `None`: a signal said to end.
fn check(
    env: Env<'_>,
    carried: &CarriedState,
    arguments: &Arguments,
    signals: &Signals,
    server: &mut Option<HttpServer>,
) -> io::Result<Option<CheckOutcome>> {
    let start = Instant::now();
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    let mut results = server.as_ref().map(|_| listen::results_file()).transpose()?;
    // A signal can wake us with nothing to read, and a read that waits would hear no other one.
    fcntl_setfl(&reader, OFlags::NONBLOCK)?;
    let Some(pid) = fork()? else {
        // Where it fails, the parent hears nothing, and says so.
        let _ = dup2_stdout(&writer);
        // The port and the server are not the check's.
        drop((reader, writer, server.take()));
        run_check_child(env, carried, arguments, start, results)
    };
    drop(writer);
    let deadline = start + arguments.timing.timeout + GRACE;
    let mut pipe = File::from(reader);
    let mut told = Vec::new();
    loop {
        wait(signals, server, Some(pipe.as_fd()), deadline);
        if signals.end() || Instant::now() >= deadline {
            // The child has not been waited for, so the process id is its own.
            let _ = kill_process(pid, Signal::KILL);
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
    for path in files(&arguments.command) {
        replace::remove_leftovers_of(path, pid.as_raw_nonzero().get());
    }
    if signals.end() {
        return Ok(None);
    }
    let event = String::from_utf8(told).ok().and_then(|text| CheckOutcome::read(&text));
    if let (Some(server), Some(results), Some(_)) = (server, results.take(), &event) {
        server.publish(results);
    }
    Ok(Some(event.unwrap_or_else(|| {
        CheckOutcome::failed("a check hung or died, and was ended")
    })))
}

fn files(command: &Command) -> impl Iterator<Item = &Path> {
    let (textfile, status_file) = match command {
        Command::Watch {
            textfile, status_file, ..
        } => (textfile.as_deref(), status_file.as_deref()),
        _ => (None, None),
    };
    textfile.into_iter().chain(status_file)
}

/// The child: one check, with a watchdog of its own. What it says goes to the parent.
fn run_check_child(
    env: Env<'_>,
    carried: &CarriedState,
    arguments: &Arguments,
    start: Instant,
    results: Option<File>,
) -> ! {
    let last_words = |cause: &Alarm| encode_outcome(&Report::unknown("", cause.reason(), cause.to_string()), None);
    if let Err(e) = watchdog::install(Box::new(last_words)) {
        finish(encode_outcome(
            &Report::unknown("", Reason::Interrupted, format!("cannot take over the signals: {e}")),
            None,
        ));
    }
    // Anew each time: credentials are renewed, and files come late.
    let config = match arguments.target(env, start + arguments.timing.timeout) {
        Ok(target) => arguments.clone().with_target(target),
        Err(problem) => {
            let report = Report::unknown(arguments.service.as_str(), Reason::Usage, problem.text());
            let report = write_files(&arguments.command, &arguments.output, report);
            publish(&report, carried, &arguments.output, results);
            finish(encode_outcome(&report, None))
        }
    };
    let store = match &carried.memory {
        Some(text) => Store::holding(text, config.state_key()),
        None => state_store(&config, env),
    };
    let last_words: AbortReport = Arc::new(|report, _| encode_outcome(report, None));
    let mut report = run_check(&config, &store, start, &last_words);
    report.own_up = own_up(&config.command, &report);
    let report = write_files(&config.command, &config.output, report);
    publish(&report, carried, &config.output, results);
    let memory = carried.memory.as_ref().map(|_| store.write_text(&report.memory));
    finish(encode_outcome(&report, memory))
}

/// Whether the pod's own instance answered, if `--listen` was given one.
fn own_up(command: &Command, report: &Report) -> Option<bool> {
    let Command::Watch { listen, .. } = command else {
        return None;
    };
    match probe::wanted(listen.as_ref()?.selector.as_ref()?, Instant::now()) {
        Ok(wanted) => pod::is_up(&wanted, report.seen.as_ref()?),
        // The application has not written its id yet.
        Err(_) => Some(false),
    }
}

fn encode_outcome(report: &Report, memory: Option<String>) -> Output {
    Output::success(CheckOutcome::write(report, memory))
}

/// Writes the files. One that cannot be written is a finding, so that it is logged.
fn write_files(command: &Command, options: &OutputOptions, mut report: Report) -> Report {
    let Command::Watch {
        textfile, status_file, ..
    } = command
    else {
        return report;
    };
    let metrics = textfile
        .as_deref()
        .map(|path| (path, render::prometheus::render(&report, &options.metrics)));
    let status = status_file.as_deref().map(|path| (path, render::json::render(&report)));
    for (path, text) in metrics.into_iter().chain(status) {
        if let Err(problem) = replace::write(path, &text) {
            let problem = problem.replace(&path.display().to_string(), &shown(path));
            report
                .verdict
                .add(Finding::new(Status::Unknown, Reason::StateUnusable, problem));
        }
    }
    report
}

/// Writes what is told over HTTP. Where that fails, what was told before grows old, and is told to be that.
fn publish(report: &Report, carried: &CarriedState, options: &OutputOptions, results: Option<File>) {
    if let Some(mut file) = results {
        let text = listen::results(report, carried.since(report), &options.metrics);
        let _ = file.write_all(text.as_bytes());
    }
}

/// Waits until the check says something, a signal comes, or it is this time, and looks after the HTTP server.
fn wait(signals: &Signals, server: &mut Option<HttpServer>, check: Option<BorrowedFd<'_>>, until: Instant) {
    let news = server.as_ref().and_then(HttpServer::news);
    let descriptors = [Some(signals.woken.as_fd()), check, news].into_iter().flatten();
    let mut polled: Vec<PollFd> = descriptors
        .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
        .collect();
    let until = server
        .as_ref()
        .and_then(HttpServer::due)
        .map_or(until, |due| due.min(until));
    let left = until.saturating_duration_since(Instant::now());
    // Longer than that nobody waits. An interruption is a signal, and is looked at by whoever waits.
    let left = Timespec::try_from(left).ok();
    let _ = poll(&mut polled, left.as_ref());
    signals.hear();
    if let Some(server) = server.as_mut().filter(|_| !signals.end()) {
        server.look_after();
    }
}

/// Waits for the end of the child, and, as process 1 of a container, for that of others whose parents are gone.
fn reap(pid: Pid) {
    while matches!(waitpid(Some(pid), WaitOptions::empty()), Err(Errno::INTR)) {}
    while matches!(rustix::process::wait(WaitOptions::NOHANG), Ok(Some(_))) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_are_steady_and_leaves_out_what_was_missed() {
        let interval = Duration::from_millis(50);
        let mut times = CheckTimes::new(interval);
        let start = Instant::now();
        let first = times.next();
        assert!(first <= start + interval * 2, "shifted by no more than an interval");
        if Instant::now() < first {
            assert_eq!(times.next(), first, "a check out of turn takes no turn away");
        }
        while Instant::now() < first + interval * 3 {
            std::thread::sleep(interval);
        }
        let late = times.next();
        assert!(late > Instant::now() - interval && late < Instant::now() + interval * 2);
        assert_eq!(
            (late - first).as_nanos() % interval.as_nanos(),
            0,
            "in the same step as before"
        );
    }

    #[test]
    fn an_event_reads_back() {
        let report = Report::unknown("orders", Reason::AuthRejected, "no \"entry\"\n");
        let event = CheckOutcome::read(&CheckOutcome::write(&report, Some("{}".into()))).expect("an event");
        assert_eq!(
            event.status_and_reason,
            ("UNKNOWN".to_owned(), "auth_rejected".to_owned())
        );
        assert_eq!(
            (event.text.as_str(), event.memory.as_deref()),
            ("no \"entry\"\n", Some("{}"))
        );
        assert!(CheckOutcome::read("").is_none() && CheckOutcome::read("NATS_SERVICE UNKNOWN").is_none());
    }
}
