//! The sidecar: checks again and again, and writes files.
//!
//! Each check is a process of its own, forked from this one: whatever a check leaks, hangs in or dies of ends with it, so
//! that a year of them leaves nothing. This process has a single thread, holds the state where no file does, and only waits:
//! for the next check, for the end of the running one, and for signals. The HTTP server of `--listen` is a process of its
//! own, too, so that none of its clients delays a check.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
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
use super::log::Log;
use super::outcome::{CheckOutcome, ChecksSoFar, Served};
use super::probe;
use super::run_check::Limits;
use super::scope::{Question, check_unasked};
use super::verdict_log::VerdictLog;
use crate::cli::{Arguments, ConfigError, Scope, Selector, WatchOptions};
use crate::connect::target::{ServerUrl, Target};
use crate::files::read::shown;
use crate::files::replace;
use crate::judge::pod;
use crate::judge::verdict::Finding;
use crate::probe::observation::Failure;
use crate::process::exit::{Output, finish};
use crate::process::watchdog;
use crate::render::report::Report;
use crate::state::account::AccountKey;
use crate::state::store::StateLocation;
use crate::values::duration::age;
use crate::values::env::Env;
use crate::values::status::{Reason, Status};
use crate::values::text::count;
use crate::values::timestamp::Timestamp;

/// Time after its timeout in which a check writes the state, the files and what is served: also if the network has used up all of
/// its own, for then they have to say so.
const WRITING: Duration = Duration::from_secs(1);

/// Time between the timeout of a check and its end by SIGKILL. Its own watchdog is faster.
const GRACE: Duration = Duration::from_millis(1500);

/// Time between two checks while the pod's own instance is lost.
const LOST_INTERVAL: Duration = Duration::from_secs(1);

/// Minimum time between the begins of two checks that were requested over HTTP: anybody who reaches the port can do so.
const REQUEST_INTERVAL: Duration = Duration::from_millis(250);

/// Checks until SIGTERM or SIGINT comes. The checks exit by themselves.
pub fn run(arguments: &Arguments, options: &WatchOptions, env: Env<'_>) -> Result<Output, ConfigError> {
    let WatchOptions { interval, listen, .. } = options;
    let answers_probes = listen.is_some() || options.status_file.is_some();
    // A mistake is reported at once. Later a file may well be missing for a while, when it is renewed. Where probes are
    // answered, it may be from the beginning: without this process they would fail.
    let deadline = Instant::now() + arguments.settings.timing.timeout;
    let question = match Question::new(arguments, env, deadline, None) {
        Err(ConfigError::File(_)) if answers_probes => None,
        checked => Some(checked?),
    };
    // The handlers are installed before the log says that it answers: from then on SIGTERM ends it with status 0.
    let signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(e) => return Ok(Output::failure(&format!("cannot take over the signals: {e}"))),
    };
    let log = Log {
        format: options.log_format,
        service: match &arguments.scope {
            Scope::One(service) => Some(service.as_str().to_owned()),
            Scope::All(_) => None,
        },
    };
    let server = listen
        .as_ref()
        .map(|listen| HttpServer::bind(listen, &arguments.scope, *interval, log.clone()))
        .transpose();
    let mut server = match server {
        Ok(server) => server,
        Err(problem) => return Ok(Output::failure(&problem)),
    };
    let state = (arguments.settings.location == StateLocation::Default)
        && env("STATE_DIRECTORY").is_none_or(|dir| dir.is_empty());
    let target = question.as_ref().map(Question::target);
    log.start(&introduction(arguments, options, target, state));
    let key = question.as_ref().map(Question::key);
    // Each check reads the credentials for itself.
    drop(question);
    if let (Some(server), Some(listen)) = (&mut server, listen) {
        log.info(&format!("answers over HTTP on {}", listen.typed));
        server.start();
    }
    let mut watch = Watch {
        env,
        arguments,
        options,
        signals,
        server,
        // Without a file for the state, this process keeps it for as long as it lives.
        state: state.then(String::new),
        key,
        so_far: ChecksSoFar::default(),
        log,
        logged: VerdictLog::default(),
    };
    watch.check_until_the_end();
    if let Some(server) = watch.server {
        server.end();
    }
    Ok(Output::default())
}

/// Returns the first line of the log: the subject, the servers (addresses only, no secret) and the options.
fn introduction(arguments: &Arguments, options: &WatchOptions, target: Option<&Target>, carried: bool) -> String {
    let servers = target.map(|target| {
        let addresses: Vec<String> = target.servers.iter().map(ServerUrl::address).collect();
        format!("NATS at {}", addresses.join(", "))
    });
    let own = options.listen.as_ref().and_then(|listen| listen.selector.as_ref());
    let own = own.map(|selector| match selector {
        Selector::Id(id) => format!("own instance {id}"),
        Selector::IdFile(file) => format!("own instance by its id in {}", shown(Path::new(file))),
        Selector::Match(values) => {
            let values: Vec<String> = values.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("own instance by {}", values.join(", "))
        }
        Selector::Any => "any instance is its own".to_owned(),
    });
    let state = match &arguments.settings.location {
        StateLocation::Nowhere => "no state".to_owned(),
        StateLocation::File(path) | StateLocation::Dir(path) => format!("state in {}", shown(path)),
        StateLocation::Default if carried => "state in memory".to_owned(),
        StateLocation::Default => "state in $STATE_DIRECTORY".to_owned(),
    };
    let file = |what: &str, path: &Option<PathBuf>| path.as_ref().map(|path| format!("{what} in {}", shown(path)));
    let timeout = arguments.settings.timing.timeout;
    let parts = [
        Some(format!("watches {}", arguments.scope.name())),
        Some(servers.unwrap_or_else(|| "NATS is not known yet".to_owned())),
        Some(format!("every {}", age(options.interval))),
        Some(format!("timeout {}", age(timeout))),
        own,
        Some(state),
        file("metrics", &options.textfile),
        file("status", &options.status_file),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
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
    /// Whose state it is, once it is known.
    key: Option<AccountKey>,
    so_far: ChecksSoFar,
    log: Log,
    logged: VerdictLog,
}

impl Watch<'_> {
    /// Returns when a signal says so.
    fn check_until_the_end(&mut self) {
        let mut times = CheckTimes::new(self.options.interval);
        let (begin, mut checks, mut own) = (Instant::now(), 0_usize, OwnInstance::default());
        loop {
            let started = Instant::now();
            let outcome = match self.check() {
                Ok(Some(outcome)) => outcome,
                // A signal to end.
                Ok(None) => break,
                Err(e) => CheckOutcome::failure(format!("cannot start a check: {e}")),
            };
            checks += 1;
            self.so_far.update(&outcome, Timestamp::now());
            self.logged.log_changes(&self.log, &outcome);
            if let (Some(carried), Some(state)) = (&mut self.state, outcome.state) {
                *carried = state;
            }
            self.key = outcome.key.or(self.key.take());
            let next = times.next();
            let next = own
                .next_check(outcome.own_up, started)
                .map_or(next, |soon| soon.min(next));
            while !self.signals.is_over() && !self.signals.again() {
                let requested = self.server.as_ref().is_some_and(HttpServer::wants_check);
                let next = match requested {
                    true => next.min(started + REQUEST_INTERVAL),
                    false => next,
                };
                if Instant::now() >= next {
                    break;
                }
                self.wait(None, next);
            }
            if self.signals.is_over() {
                break;
            }
            if self.signals.take_again() {
                self.log
                    .info("SIGHUP: checking now; configuration and credentials are read for each check");
            }
        }
        let signal = self.signals.end().unwrap_or_default();
        let took = age(begin.elapsed());
        self.log
            .info(&format!("{signal}: ends, after {} in {took}", count(checks, "check")));
    }

    /// Forks a check and waits for its end. `None`: a signal to end came.
    fn check(&mut self) -> io::Result<Option<CheckOutcome>> {
        let start = Instant::now();
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        let served = self.server.as_ref().map(|_| handover::file()).transpose()?;
        let check_requests = self.server.as_mut().map_or(0, HttpServer::check_requests);
        // A signal can wake this process with nothing to read, and a blocking read would miss any other event.
        fcntl_setfl(&reader, OFlags::NONBLOCK)?;
        let Some(pid) = fork()? else {
            // If this fails, the parent reads nothing and reports it.
            let _ = dup2_stdout(&writer);
            // The port and the HTTP server do not belong to the check.
            drop((reader, writer, self.server.take()));
            self.run_check_child(start, served, check_requests)
        };
        drop(writer);
        let deadline = start + self.arguments.settings.timing.timeout + GRACE;
        let mut pipe = File::from(reader);
        let mut written = Vec::new();
        loop {
            self.wait(Some(pipe.as_fd()), deadline);
            if self.signals.is_over() || Instant::now() >= deadline {
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
        // The child was killed, or its watchdog ended it while it wrote.
        for path in [&self.options.textfile, &self.options.status_file]
            .into_iter()
            .flatten()
        {
            replace::remove_leftovers_of(path, pid.as_raw_nonzero().get());
        }
        if self.signals.is_over() {
            return Ok(None);
        }
        let Ok(outcome) = serde_json::from_slice(&written) else {
            return Ok(Some(CheckOutcome::failure(
                "a check hung or died, and was ended".into(),
            )));
        };
        if let (Some(server), Some(served)) = (&mut self.server, served) {
            server.publish(served, check_requests);
        }
        Ok(Some(outcome))
    }

    /// The child: one check, with a watchdog of its own. Its outcome goes to the parent.
    fn run_check_child(&self, start: Instant, served: Option<File>, check_requests: u64) -> ! {
        let aborted = |reason, text: String| {
            let report = CheckReport::One(Box::new(Report::unknown("", reason, text)));
            encode_outcome(&report, None, None)
        };
        if let Err(e) = watchdog::install(Box::new(move |cause| aborted(cause.reason(), cause.to_string()))) {
            let text = format!("cannot take over the signals: {e}");
            finish(aborted(Reason::Interrupted, text));
        }
        let Arguments { scope, settings, .. } = self.arguments;
        let network = start + settings.timing.timeout;
        let limits = Limits {
            start,
            network,
            end: network + WRITING,
        };
        // The configuration is read for each check: credentials are renewed, and files come late.
        let (mut report, state, key) = match Question::new(self.arguments, self.env, network, self.state.as_deref()) {
            Ok(question) => self.run_with(&question, limits),
            Err(ConfigError::File(why)) => self.run_unasked(why, limits),
            Err(ConfigError::Usage(why)) => (CheckReport::unknown(scope, Reason::Usage, &why), None, None),
        };
        let serve = |report: &CheckReport| {
            if let (Some(file), Some(listen)) = (&served, &self.options.listen) {
                let style = &settings.output.metrics;
                // If this fails, the previous result grows old, and is reported as old.
                let _ = Served::write(
                    file,
                    report,
                    key.as_ref(),
                    &self.so_far,
                    style,
                    listen.max_age,
                    check_requests,
                );
            }
        };
        watchdog::watch(limits.end);
        watchdog::set_last_words(unwritten(report.clone(), state.clone(), key.clone()));
        // What is served waits for no disk.
        serve(&report);
        if self.write_files(&mut report) {
            serve(&report);
        }
        finish(encode_outcome(&report, state, key))
    }

    /// Runs the check; with the state to carry on, where no file holds it, and whose it is.
    fn run_with(&self, question: &Question, limits: Limits) -> (CheckReport, Option<String>, Option<AccountKey>) {
        let key = question.key();
        let of_abort = key.clone();
        let aborted: AbortReport = Arc::new(move |report, _| encode_outcome(report, None, Some(of_abort.clone())));
        let mut report = question.check(limits, &aborted);
        if let CheckReport::One(report) = &mut report {
            report.own_up = self.own_up(report);
        }
        let state = self.state.as_ref().and_then(|_| question.state_text(&report));
        (report, state, Some(key))
    }

    /// NATS cannot be asked until a file of the configuration is there. What is remembered is reported all the same, if it is
    /// known whose state it is.
    fn run_unasked(&self, why: String, limits: Limits) -> (CheckReport, Option<String>, Option<AccountKey>) {
        let Some(key) = &self.key else {
            let report = CheckReport::unknown(&self.arguments.scope, Reason::ConfigUnusable, &why);
            return (report, None, None);
        };
        let aborted: AbortReport = Arc::new(|report, _| encode_outcome(report, None, None));
        let failure = Failure::new(Reason::ConfigUnusable, why);
        let carried = self.state.as_deref();
        let (report, state) = check_unasked(self.arguments, self.env, key, carried, failure, limits, &aborted);
        (report, state, None)
    }

    /// Returns whether the pod's own instance replied, if `--listen` was given one.
    fn own_up(&self, report: &Report) -> Option<bool> {
        match probe::wanted(self.options.listen.as_ref()?.selector.as_ref()?, Instant::now()) {
            Ok(wanted) => pod::is_up(&wanted, report.seen.as_ref()?),
            // The application has not written its id yet.
            Err(_) => Some(false),
        }
    }

    /// Writes the files. One that cannot be written is a finding, which is in what is written after it and in the log. Returns
    /// whether there is one.
    fn write_files(&self, report: &mut CheckReport) -> bool {
        let mut has_failed = false;
        let mut write = |path: &Path, text: &str, reason, report: &mut CheckReport| {
            if let Err(problem) = replace::write(path, text) {
                let problem = problem.replace(&path.display().to_string(), &shown(path));
                report.add(Finding::new(Status::Unknown, reason, problem));
                has_failed = true;
            }
        };
        if let Some(path) = &self.options.textfile {
            let text = report.metrics(&self.arguments.settings.output.metrics);
            write(path, &text, Reason::TextfileUnwritable, report);
        }
        if let Some(path) = &self.options.status_file {
            let text = report.json();
            write(path, &text, Reason::StatusFileUnwritable, report);
        }
        has_failed
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
        // Nothing waits longer than that. An interruption is a signal, which the caller handles.
        let left = Timespec::try_from(until.saturating_duration_since(Instant::now())).ok();
        let _ = poll(&mut polled, left.as_ref());
        self.signals.drain();
        if let Some(server) = self.server.as_mut().filter(|_| !self.signals.is_over()) {
            server.look_after();
        }
    }
}

/// The outcome on stdout, which is the pipe to the sidecar.
fn encode_outcome(report: &CheckReport, state: Option<String>, key: Option<AccountKey>) -> Output {
    // No part of it fails to be written as JSON; if one did, the sidecar would take the check for dead.
    Output::success(serde_json::to_string(&CheckOutcome::new(report, state, key)).unwrap_or_default())
}

/// Returns the output of a check that is ended while it writes the files.
fn unwritten(report: CheckReport, state: Option<String>, key: Option<AccountKey>) -> watchdog::FallbackOutput {
    Box::new(move |cause| {
        let mut report = report.clone();
        let text = format!("the files were perhaps not written: {cause}");
        report.add(Finding::new(Status::Unknown, Reason::StatusFileUnwritable, text));
        encode_outcome(&report, state.clone(), key.clone())
    })
}

/// State of the pod's own instance: while it is lost, checks come sooner than at the interval.
#[derive(Debug, Default)]
enum OwnInstance {
    /// It has not answered yet, or there is none.
    #[default]
    Unseen,
    Up,
    Lost,
}

impl OwnInstance {
    /// When to check again, given whether it answered the check that started then; `None`: at the interval. After the loss at once, then
    /// each second until it is back. Nothing is known of it while NATS cannot be asked.
    fn next_check(&mut self, is_up: Option<bool>, started: Instant) -> Option<Instant> {
        match (is_up?, &self) {
            (true, _) => {
                *self = OwnInstance::Up;
                None
            }
            (false, OwnInstance::Unseen) => None,
            (false, OwnInstance::Up) => {
                *self = OwnInstance::Lost;
                Some(Instant::now())
            }
            (false, OwnInstance::Lost) => Some(started + LOST_INTERVAL),
        }
    }
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
        // The value only has to differ between processes.
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
    /// The signal that ends it; 0 before.
    end: Arc<AtomicUsize>,
    again: Arc<AtomicBool>,
}

impl Signals {
    fn listen() -> io::Result<Signals> {
        let (woken, waker) = UnixStream::pair()?;
        woken.set_nonblocking(true)?;
        waker.set_nonblocking(true)?;
        let (end, again) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        // This order matters: when this process wakes, the flag is set.
        for signal in [SIGTERM, SIGINT] {
            signal_hook::flag::register_usize(signal, Arc::clone(&end), signal as usize)?;
            signal_hook::low_level::pipe::register(signal, waker.try_clone()?)?;
        }
        if !watchdog::is_ignored(SIGHUP) {
            signal_hook::flag::register(SIGHUP, Arc::clone(&again))?;
            signal_hook::low_level::pipe::register(SIGHUP, waker.try_clone()?)?;
        }
        Ok(Signals { woken, end, again })
    }

    fn is_over(&self) -> bool {
        self.end.load(SeqCst) != 0
    }

    /// The name of the signal that ends it.
    fn end(&self) -> Option<&'static str> {
        signal_hook::low_level::signal_name(i32::try_from(self.end.load(SeqCst)).ok()?)
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
    fn checks_come_each_second_while_the_own_instance_is_lost() {
        let mut own = OwnInstance::default();
        let started = Instant::now();
        let mut next = |is_up| own.next_check(is_up, started);
        assert_eq!([next(None), next(Some(false)), next(Some(true))], [None; 3]);
        assert!(next(Some(false)).is_some_and(|at| at <= Instant::now()), "at once");
        assert_eq!(next(Some(false)), Some(started + LOST_INTERVAL));
        assert_eq!(next(None), None);
        assert_eq!(next(Some(false)), Some(started + LOST_INTERVAL));
        assert_eq!([next(Some(true)), next(Some(true))], [None; 2]);
    }

    #[test]
    fn missed_checks_are_left_out_and_the_interval_stays() {
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
