//! The sidecar: checks again and again, and writes files.
//!
//! Each check is a process of its own, forked from this one: whatever a check leaks, hangs in or dies of ends with it, so
//! that a year of them leaves nothing. This process has a single thread, holds the state where no file does, and only waits:
//! for the next check, for the end of the running one, and for signals. The HTTP server of `--listen` is a process of its
//! own, too, so that none of its clients delays a check.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, WaitOptions, kill_process};
use rustix::stdio::dup2_stdout;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::check_report::{AbortReport, CheckReport};
use super::child::{fork, reap};
use super::handover;
use super::listen::HttpServer;
use super::log::log;
use super::outcome::{CheckOutcome, Served, ShortVerdict, StatusTimes};
use super::probe;
use super::scope::Question;
use crate::cli::{Arguments, ConfigError, WatchOptions};
use crate::files::read::shown;
use crate::files::replace;
use crate::judge::pod;
use crate::judge::verdict::Finding;
use crate::process::exit::{Output, finish};
use crate::process::watchdog;
use crate::render::report::Report;
use crate::state::store::StateLocation;
use crate::values::env::Env;
use crate::values::status::{Reason, Status};
use crate::values::text::count;
use crate::values::timestamp::Timestamp;

/// Time between the timeout of a check and its end by SIGKILL. Its own watchdog is faster.
const GRACE: Duration = Duration::from_secs(1);

/// Maximum number of verdicts of one check that are logged.
const MAX_LINES: usize = 20;

/// Checks until SIGTERM or SIGINT comes. The checks exit by themselves. The error is a mistake in what the user has said.
pub fn run(arguments: &Arguments, options: &WatchOptions, env: Env<'_>) -> Result<Output, String> {
    let WatchOptions { interval, listen, .. } = options;
    let answers_probes = listen.is_some() || options.status_file.is_some();
    // A mistake is reported at once. Later a file may well be missing for a while, when it is renewed. Where probes are
    // answered, it may be from the beginning: without this process they would fail.
    let deadline = Instant::now() + arguments.settings.timing.timeout;
    match Question::new(arguments, env, deadline, None) {
        Err(ConfigError::File(_)) if answers_probes => {}
        checked => drop(checked.map_err(ConfigError::into_text)?),
    }
    // Before the log says that it answers: a SIGTERM from then on ends it with 0.
    let signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(e) => return Ok(Output::failure(&format!("cannot take over the signals: {e}"))),
    };
    let server = listen
        .as_ref()
        .map(|listen| HttpServer::bind(listen, &arguments.scope, *interval))
        .transpose();
    let mut server = match server {
        Ok(server) => server,
        Err(problem) => return Ok(Output::failure(&problem)),
    };
    if let Some(server) = &mut server {
        server.start();
    }
    let state = (arguments.settings.location == StateLocation::Default)
        && env("STATE_DIRECTORY").is_none_or(|dir| dir.is_empty());
    let mut watch = Watch {
        env,
        arguments,
        options,
        signals,
        server,
        // Without a file for the state, this process keeps it for as long as it lives.
        state: state.then(String::new),
        times: StatusTimes::default(),
        logged: BTreeMap::new(),
    };
    watch.check_until_the_end();
    if let Some(server) = watch.server {
        server.end();
    }
    Ok(Output::default())
}

/// The sidecar under way.
struct Watch<'a> {
    env: Env<'a>,
    arguments: &'a Arguments,
    options: &'a WatchOptions,
    signals: Signals,
    server: Option<HttpServer>,
    /// The state, where no file holds it.
    state: Option<String>,
    times: StatusTimes,
    /// The status and the reason of each verdict that was logged last.
    logged: BTreeMap<String, (Status, Reason)>,
}

impl Watch<'_> {
    /// Returns when a signal says so.
    fn check_until_the_end(&mut self) {
        let mut times = CheckTimes::new(self.options.interval);
        loop {
            let outcome = match self.check() {
                Ok(Some(outcome)) => outcome,
                // A signal to end.
                Ok(None) => return,
                Err(e) => CheckOutcome::failure(format!("cannot start a check: {e}")),
            };
            self.times.update(&outcome, Timestamp::now());
            self.log_changes(&outcome);
            if let (Some(carried), Some(state)) = (&mut self.state, outcome.state) {
                *carried = state;
            }
            let next = times.next();
            while !self.signals.end() && !self.signals.again() && Instant::now() < next {
                self.wait(None, next);
            }
            if self.signals.end() {
                return;
            }
            if self.signals.take_again() {
                log("SIGHUP: checking now; configuration and credentials are read for each check");
            }
        }
    }

    /// Forks a check and waits for its end. `None`: a signal to end came.
    fn check(&mut self) -> io::Result<Option<CheckOutcome>> {
        let start = Instant::now();
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        let served = self.server.as_ref().map(|_| handover::file()).transpose()?;
        // A signal can wake us with nothing to read, and a read that waits would miss any other one.
        fcntl_setfl(&reader, OFlags::NONBLOCK)?;
        let Some(pid) = fork()? else {
            // Where it fails, the parent reads nothing, and says so.
            let _ = dup2_stdout(&writer);
            // The port and the server are not the check's.
            drop((reader, writer, self.server.take()));
            self.run_check_child(start, served)
        };
        drop(writer);
        let deadline = start + self.arguments.settings.timing.timeout + GRACE;
        let mut pipe = File::from(reader);
        let mut written = Vec::new();
        loop {
            self.wait(Some(pipe.as_fd()), deadline);
            if self.signals.end() || Instant::now() >= deadline {
                // The child has not been waited for, so the process id is its own.
                let _ = kill_process(pid, Signal::KILL);
                break;
            }
            match pipe.read_to_end(&mut written) {
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                _ => break,
            }
        }
        reap(pid);
        reap_orphans();
        // Killed, or ended by its own watchdog while it wrote.
        for path in [&self.options.textfile, &self.options.status_file]
            .into_iter()
            .flatten()
        {
            replace::remove_leftovers_of(path, pid.as_raw_nonzero().get());
        }
        if self.signals.end() {
            return Ok(None);
        }
        let Ok(outcome) = serde_json::from_slice(&written) else {
            return Ok(Some(CheckOutcome::failure(
                "a check hung or died, and was ended".into(),
            )));
        };
        if let (Some(server), Some(served)) = (&mut self.server, served) {
            server.publish(served);
        }
        Ok(Some(outcome))
    }

    /// The child: one check, with a watchdog of its own. Its outcome goes to the parent.
    fn run_check_child(&self, start: Instant, served: Option<File>) -> ! {
        let aborted =
            |reason, text: String| encode_outcome(&CheckReport::One(Box::new(Report::unknown("", reason, text))), None);
        if let Err(e) = watchdog::install(Box::new(move |cause| aborted(cause.reason(), cause.to_string()))) {
            let text = format!("cannot take over the signals: {e}");
            finish(aborted(Reason::Interrupted, text));
        }
        let Arguments { scope, settings, .. } = self.arguments;
        let deadline = start + settings.timing.timeout;
        // Anew each time: credentials are renewed, and files come late.
        let (report, state) = match Question::new(self.arguments, self.env, deadline, self.state.as_deref()) {
            Ok(question) => self.run_with(&question, start),
            Err(problem) => (CheckReport::unknown(scope, Reason::Usage, problem.text()), None),
        };
        let report = self.write_files(report);
        // Where that fails, what was served before grows old, and is reported to be that.
        if let (Some(file), Some(listen)) = (served, &self.options.listen) {
            let style = &settings.output.metrics;
            let _ = Served::write(&file, &report, &self.times, style, listen.max_age);
        }
        finish(encode_outcome(&report, state))
    }

    /// Logs each verdict that has changed. Of many services, those that are well from the beginning are not worth a line each, nor is
    /// what holds for all of them.
    fn log_changes(&mut self, outcome: &CheckOutcome) {
        let whole = self.arguments.scope.name();
        self.logged
            .retain(|name, _| name == whole || outcome.services.contains_key(name));
        let of_services = outcome
            .services
            .iter()
            .filter(|(_, verdict)| !verdict.reason.is_of_whole_run());
        let mut changed = Vec::new();
        for (name, verdict) in of_services.map(|(name, verdict)| (name.as_str(), verdict)) {
            let ShortVerdict { status, reason, .. } = verdict;
            let before = self.logged.insert(name.to_owned(), (*status, *reason));
            let is_well = before.is_none() && *status == Status::Ok;
            if before != Some((*status, *reason)) && !is_well {
                changed.push((name, verdict));
            }
        }
        let ShortVerdict { status, reason, .. } = &outcome.verdict;
        if self.logged.insert(whole.to_owned(), (*status, *reason)) != Some((*status, *reason)) {
            changed.insert(0, (whole, &outcome.verdict));
        }
        for (name, ShortVerdict { status, reason, text }) in changed.iter().take(MAX_LINES) {
            log(&format!("{name} {} {}: {text}", status.name(), reason.name()));
        }
        if changed.len() > MAX_LINES {
            log(&format!(
                "{whole}: {} more changed",
                count(changed.len() - MAX_LINES, "verdict")
            ));
        }
    }

    /// Runs the check; with the state to carry on, where no file holds it.
    fn run_with(&self, question: &Question, start: Instant) -> (CheckReport, Option<String>) {
        let aborted: AbortReport = Arc::new(|report, _| encode_outcome(report, None));
        let mut report = question.check(start, &aborted);
        if let CheckReport::One(report) = &mut report {
            report.own_up = self.own_up(report);
        }
        let state = self.state.as_ref().and_then(|_| question.state_text(&report));
        (report, state)
    }

    /// Returns whether the pod's own instance replied, if `--listen` was given one.
    fn own_up(&self, report: &Report) -> Option<bool> {
        match probe::wanted(self.options.listen.as_ref()?.selector.as_ref()?, Instant::now()) {
            Ok(wanted) => pod::is_up(&wanted, report.seen.as_ref()?),
            // The application has not written its id yet.
            Err(_) => Some(false),
        }
    }

    /// Writes the files. One that cannot be written is a finding, which is in what is written after it and in the log.
    fn write_files(&self, mut report: CheckReport) -> CheckReport {
        let write = |path: &Path, text: &str, reason, report: &mut CheckReport| {
            if let Err(problem) = replace::write(path, text) {
                let problem = problem.replace(&path.display().to_string(), &shown(path));
                report.add(Finding::new(Status::Unknown, reason, problem));
            }
        };
        if let Some(path) = &self.options.textfile {
            let text = report.metrics(&self.arguments.settings.output.metrics);
            write(path, &text, Reason::TextfileUnwritable, &mut report);
        }
        if let Some(path) = &self.options.status_file {
            let text = report.json();
            write(path, &text, Reason::StatusFileUnwritable, &mut report);
        }
        report
    }

    /// Waits until the check writes something, a signal comes, or it is this time, and looks after the HTTP server.
    fn wait(&mut self, check: Option<BorrowedFd<'_>>, until: Instant) {
        let server = self.server.as_ref();
        let descriptors = [
            Some(self.signals.woken.as_fd()),
            check,
            server.and_then(HttpServer::news),
        ];
        let mut polled: Vec<PollFd> = descriptors
            .into_iter()
            .flatten()
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        let until = server.and_then(HttpServer::due).map_or(until, |due| due.min(until));
        // Longer than that nobody waits. An interruption is a signal, and is looked at by whoever waits.
        let left = Timespec::try_from(until.saturating_duration_since(Instant::now())).ok();
        let _ = poll(&mut polled, left.as_ref());
        self.signals.drain();
        if let Some(server) = self.server.as_mut().filter(|_| !self.signals.end()) {
            server.look_after();
        }
    }
}

/// The outcome on stdout, which is the pipe to the sidecar.
fn encode_outcome(report: &CheckReport, state: Option<String>) -> Output {
    // No part of it fails to be written as JSON; if one did, the sidecar would take the check for dead.
    Output::success(serde_json::to_string(&CheckOutcome::new(report, state)).unwrap_or_default())
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

/// The signals that end this process, or start a check.
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

    fn take_again(&self) -> bool {
        self.again.swap(false, SeqCst)
    }

    /// Empties the pipe; the flags say which signals came.
    fn drain(&self) {
        while matches!((&self.woken).read(&mut [0; 64]), Ok(1..)) {}
    }
}

/// Reaps the orphans that end in a container where this is process 1.
fn reap_orphans() {
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
}
