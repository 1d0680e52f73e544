//! Is this NATS micro service (ADR-32) up? A straight pipe from arguments to an exit code:
//!
//! ```text
//! arguments -> Config -> probe -> Observation -> judge(memory, observation, policy, now) -> Verdict -> text, exit code
//!               cli                 asking                state                             render
//! ```
//!
//! `judge`, `asking` and everything that they use are pure. Only `probe` names the NATS client, only `state` knows the
//! state file, and only `main` prints and exits.

pub mod asking;
pub mod cli;
pub mod context;
pub mod credentials;
pub mod diagnosis;
pub mod duration;
pub mod epoch;
pub mod files;
pub mod judge;
pub mod limit;
pub mod observation;
pub mod pod;
pub mod probe;
pub mod range;
pub mod render;
pub mod report;
pub mod roster;
pub mod sockets;
pub mod state;
pub mod status_file;
pub mod target;
pub mod text;
pub mod textfile;
pub mod timestamp;
pub mod verdict;
pub mod watch;
pub mod watchdog;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::asking::{ONCE_MORE, Wanted};
use crate::cli::{Config, Env, Format, Mode, Parsed, Problem, Telling, Typed, Which};
use crate::epoch::Memory;
use crate::files::{read_text, shown};
use crate::judge::judge;
use crate::observation::{Failure, Observation, Outcome, is_id};
use crate::report::Report;
use crate::roster::Roster;
use crate::state::{Store, Surroundings};
use crate::timestamp::Timestamp;
use crate::verdict::{Finding, Reason, Status, Verdict};
use crate::watchdog::Alarm;

/// Made by the package, for the state of every user of the host.
const PACKAGE_STATE_DIR: &str = "/var/lib/check_nats_service";

/// How long after the deadline a run may still wait for its turn to save. The watchdog waits longer.
const SAVING: Duration = Duration::from_millis(40);

/// What a run has to say, and the status it ends with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// For stdout, with its line ends.
    pub text: String,
    /// For stderr, with its line ends. Empty for a check: monitoring systems mix it into the output.
    pub complaint: String,
    pub exit_code: u8,
    /// Whether it is worth nothing if nobody can read it: a verdict that is lost is not OK.
    pub must_be_read: bool,
}

impl Output {
    /// The report in the format that was asked for.
    fn of(report: &Report, telling: &Telling) -> Output {
        let verdict = &report.verdict;
        Output {
            text: match telling.format {
                Format::Nagios => render::nagios::render(verdict, telling.verbosity),
                Format::Json => render::json::render(report),
                Format::Text => render::text::render(verdict, telling.verbosity),
                Format::Prometheus => render::prometheus::render(report, &telling.metrics),
            },
            exit_code: verdict.status().exit_code(),
            must_be_read: true,
            ..Output::default()
        }
    }

    /// What there is to say when there is nothing else: a line of one finding.
    pub fn unknown(reason: Reason, text: impl Into<String>) -> Output {
        let finding = Finding::new(Status::Unknown, reason, text);
        let report = Report::bare(Verdict::new("", vec![finding], vec![], vec![]));
        Output::of(&report, &Telling::default())
    }

    /// Something went well, and there is something to print.
    fn fine(text: String) -> Output {
        Output {
            text,
            must_be_read: true,
            ..Output::default()
        }
    }

    /// A command that is no check could not do what it was to do.
    fn failed(problem: &str) -> Output {
        let problem = problem.replace(|c: char| c.is_control(), "?");
        Output {
            complaint: format!("check_nats_service: {problem}\n"),
            exit_code: Status::Unknown.exit_code(),
            ..Output::default()
        }
    }
}

/// One whole run.
pub fn run(args: impl IntoIterator<Item = OsString>, env: Env<'_>, start: Instant) -> Output {
    let args: Vec<OsString> = args.into_iter().collect();
    match cli::parse(&args, env) {
        Err(problem) => usage(&args, &format!("{problem} (see --help)")),
        Ok(Parsed::Print(text)) => Output::fine(text),
        Ok(Parsed::Run(typed)) => {
            let deadline = start + typed.timing.timeout;
            if let Mode::Probe { which, from, .. } = &typed.mode {
                return match pod_probe(&typed, env, which, from.as_ref(), start) {
                    Ok(answer) => pod_output(answer),
                    Err(problem) => usage(&args, &format!("{problem} (see --help)")),
                };
            }
            // Files can hang, too.
            watchdog::watch(deadline);
            let config = match typed.target(env, deadline) {
                Ok(target) => typed.with_target(target),
                Err(problem) => return usage(&args, &format!("{} (see --help)", problem.text())),
            };
            let store = state_store(&config, env);
            match &config.mode {
                Mode::Check => Output::of(&examine(&config, &store, start), &config.telling),
                Mode::Textfile { output, exit_status } => textfile(&config, &store, start, output, *exit_status),
                // Answered above: it can do without knowing how to connect.
                Mode::Probe { .. } => Output::failed("probe: not what was asked for"),
                // Begun by main, before there is a second thread.
                Mode::Watch { .. } => Output::failed("watch: it must be the first argument"),
                Mode::StateShow => show(&config, &store),
                Mode::StateReset => reset(&config, &store, start),
            }
        }
    }
}

/// Bad arguments: also told in the format asked for, and by a command that writes files on stderr.
fn usage(args: &[OsString], problem: &str) -> Output {
    if args
        .get(1)
        .is_some_and(|command| command == "textfile" || command == "probe")
    {
        return Output::failed(problem);
    }
    let finding = Finding::new(Status::Unknown, Reason::Usage, problem);
    let telling = Telling {
        format: Format::guess(args),
        ..Telling::default()
    };
    Output::of(&Report::bare(Verdict::new("", vec![finding], vec![], vec![])), &telling)
}

pub(crate) fn state_store(config: &Config, env: Env<'_>) -> Store {
    let surroundings = Surroundings {
        var: env,
        package_dir: Path::new(PACKAGE_STATE_DIR),
        euid: state::euid(),
    };
    Store::new(config.place.clone(), config.question(), &surroundings)
}

/// Probes, judges and remembers: what every mode does that looks at a service.
pub(crate) fn examine(config: &Config, store: &Store, start: Instant) -> Report {
    let deadline = start + config.timing.timeout;
    let service = config.target.service.as_str();
    let alarms = watchdog::watch(deadline);
    watchdog::set_last_words(unread(config, store));
    let peeked = store.peek(Timestamp::now());
    watchdog::set_last_words(interrupted(config, &peeked));

    let seen = Arc::new(probe::probe(&probe::Request {
        target: &config.target,
        wanted: Wanted::All,
        known: peeked.roster(),
        doubtful: peeked.doubtful(),
        census: needs_census(&peeked, config.timing.census, Timestamp::now()),
        discover: !peeked.has_seen_any(),
        // An open outage is one whether NATS was disturbed or not.
        confirm: match peeked.is_absent() {
            true => config.timing.confirm.min(ONCE_MORE),
            false => config.timing.confirm,
        },
        // Where nothing is remembered, every run would be that patient: then the user's own word counts.
        patient: config.policy.is_alarmed_by_absence(&peeked)
            && (peeked.epoch.is_some() || config.timing.confirm_by_default),
        servers: peeked.servers.clone(),
        disturbed: peeked.trouble.is_some(),
        stall: config.timing.stall,
        start,
        deadline,
        alarms: &alarms,
    }));

    // If the state hangs or the run is interrupted, the verdict is said all the same.
    let (verdict, memory) = judge(service, &peeked, &seen, &config.policy, Timestamp::now());
    watchdog::set_last_words(unsaved(config, report(verdict, &seen, memory)));
    let (mut report, problems) = store.update(Timestamp::now(), deadline + SAVING, &peeked, |memory| {
        let (report, next) = judge_beside_others(config, &peeked, memory, &seen);
        watchdog::set_last_words(unsaved(config, report.clone()));
        (report, next)
    });
    for problem in problems {
        report
            .verdict
            .add(Finding::new(Status::Unknown, Reason::StateUnusable, problem));
    }
    report
}

/// What Kubernetes is told.
fn pod_output((answer, line): (pod::Answer, String)) -> Output {
    Output {
        exit_code: answer.exit_code(),
        // Kubernetes looks at the status.
        must_be_read: false,
        ..Output::fine(line + "\n")
    }
}

/// What a probe asks, with the instance that it asks for.
fn pod_question(typed: &Typed, wanted: Wanted) -> pod::Question {
    let (kind, without_nats) = match &typed.mode {
        Mode::Probe { kind, without_nats, .. } => (*kind, *without_nats),
        _ => (pod::Kind::Readiness, pod::Answer::Fail),
    };
    pod::Question {
        kind,
        service: typed.service.as_str().to_owned(),
        wanted,
        without_nats,
    }
}

/// Answers a Kubernetes probe: from the sidecar's file, or by asking for one answer. The error is a mistake in the arguments.
fn pod_probe(
    typed: &Typed,
    env: Env<'_>,
    which: &Which,
    from: Option<&(PathBuf, Duration)>,
    start: Instant,
) -> Result<(pod::Answer, String), String> {
    const LARGEST: u64 = 8 * 1024 * 1024;
    let question = |wanted| pod_question(typed, wanted);
    let deadline = start + typed.timing.timeout;
    let alarms = watchdog::watch(deadline);
    let anyone = question(Wanted::Any);
    watchdog::set_last_words(Box::new(move |cause| pod_output(anyone.cannot_ask(&cause.to_string()))));
    let target = match typed.target(env, deadline) {
        Err(Problem::Usage(problem)) => return Err(problem),
        target => target,
    };
    let wanted = match which {
        Which::Is(wanted) => wanted.clone(),
        Which::IdFile(path) => {
            let id = read_text(path, 4096, deadline).map(|text| text.trim().to_owned());
            match id.and_then(|id| {
                if is_id(&id) {
                    Ok(id)
                } else {
                    Err("there is no id in it".into())
                }
            }) {
                Ok(id) => Wanted::Id(id),
                // The application writes it when it has an instance.
                Err(why) => {
                    let text = format!("no instance yet: the id file {}: {why}", shown(path));
                    return Ok(question(Wanted::Any).say(pod::Answer::Fail, &text));
                }
            }
        }
    };
    let question = question(wanted.clone());
    if let Some((path, max_age)) = from {
        return Ok(match read_text(path, LARGEST, deadline) {
            Ok(text) => status_file::answer(&question, &text, *max_age, Timestamp::now()),
            Err(why) => question.cannot_ask(&format!("the status file {}: {why}", shown(path))),
        });
    }
    let target = match target {
        Ok(target) => target,
        // A Secret that is renewed late must not restart every pod.
        Err(problem) => return Ok(question.cannot_ask(problem.text())),
    };
    Ok(question.judge(&probe::probe(&probe::Request {
        target: &target,
        wanted,
        known: Roster::default(),
        doubtful: BTreeSet::new(),
        census: false,
        discover: false,
        confirm: typed.timing.confirm,
        // Kubernetes gives no time for that, and asks again itself.
        patient: false,
        servers: Vec::new(),
        disturbed: false,
        stall: typed.timing.stall,
        start,
        deadline,
        alarms: &alarms,
    })))
}

fn report(verdict: Verdict, seen: &Arc<Observation>, memory: Memory) -> Report {
    Report {
        seen: Some(Arc::clone(seen)),
        memory,
        ..Report::bare(verdict)
    }
}

fn textfile(config: &Config, store: &Store, start: Instant, path: &Path, exit_status: bool) -> Output {
    let report = examine(config, store, start);
    let text = render::prometheus::render(&report, &config.telling.metrics);
    let shown = path.display().to_string();
    watchdog::set_last_words(Box::new(move |cause| {
        Output::failed(&format!("cannot write {shown}: {cause}"))
    }));
    match textfile::write(path, &text) {
        Ok(()) if exit_status => Output {
            exit_code: report.verdict.status().exit_code(),
            ..Output::default()
        },
        Ok(()) => Output::default(),
        Err(problem) => Output::failed(&problem),
    }
}

/// Judges, unless a run that began before this one ended has seen more recently how things are: then its answer counts,
/// so that the slower of two runs cannot undo what the other one found.
fn judge_beside_others(config: &Config, peeked: &Memory, memory: &Memory, seen: &Arc<Observation>) -> (Report, Memory) {
    let service = config.target.service.as_str();
    let newer = memory.epoch.as_ref().filter(|epoch| {
        let answered = !matches!(seen.outcome, Outcome::Failed(_));
        answered && memory.sequence != peeked.sequence && epoch.at > seen.at && epoch.is_complete()
    });
    let (seen, next) = match newer {
        Some(epoch) => (Arc::new(seen.superseded_by(epoch)), Some(memory.clone())),
        None => (Arc::clone(seen), None),
    };
    let (verdict, judged) = judge(service, memory, &seen, &config.policy, Timestamp::now());
    let next = next.unwrap_or(judged);
    (report(verdict, &seen, next.clone()), next)
}

/// Whether to wait for instances that nobody knows of (SPEC, section 3).
fn needs_census(memory: &Memory, interval: Duration, now: Timestamp) -> bool {
    let recent = |at: Timestamp| at <= now && now.since(at) < interval;
    let quiet = memory.status == Some(Status::Ok) && memory.outage.is_none() && !memory.roster().is_empty();
    !(quiet && memory.census.is_some_and(recent))
}

/// What is said if the run is ended while it reads what is remembered, on a network file system say.
fn unread(config: &Config, store: &Store) -> watchdog::LastWords {
    let config = config.clone();
    let path = store.path().map(|path| path.display().to_string()).unwrap_or_default();
    Box::new(move |cause| {
        let why = match cause {
            Alarm::Memory => "it takes more memory than allowed".to_owned(),
            cause => cause.to_string(),
        };
        let text = format!("the state {path} cannot be read: {why}");
        let finding = Finding::new(Status::Unknown, Reason::StateUnusable, text.as_str());
        let verdict = Verdict::new(config.target.service.as_str(), vec![finding], vec![], vec![]);
        last_words(&config, &Report::bare(verdict), &text)
    })
}

/// What is said if the run is ended before it has a verdict: also then an open outage is told.
fn interrupted(config: &Config, memory: &Memory) -> watchdog::LastWords {
    let (config, memory) = (config.clone(), memory.clone());
    Box::new(move |cause| {
        let now = Timestamp::now();
        let seen = Arc::new(Observation::failed(
            now,
            Failure::new(cause.reason(), cause.to_string()),
        ));
        let (verdict, memory) = judge(config.target.service.as_str(), &memory, &seen, &config.policy, now);
        last_words(&config, &report(verdict, &seen, memory), &cause.to_string())
    })
}

/// What is said if the run is ended while it saves.
fn unsaved(config: &Config, report: Report) -> watchdog::LastWords {
    let config = config.clone();
    Box::new(move |cause| {
        let mut report = report.clone();
        let text = format!("the state may not be saved: {cause}");
        report
            .verdict
            .add(Finding::new(Status::Unknown, Reason::StateUnusable, text.as_str()));
        last_words(&config, &report, &text)
    })
}

/// The report, from a thread that must not wait for anything any more, a file say.
fn last_words(config: &Config, report: &Report, cause: &str) -> Output {
    match &config.mode {
        Mode::Textfile { output, .. } => Output::failed(&format!("cannot write {}: {cause}", output.display())),
        Mode::Watch { .. } => watch::last_words(report),
        _ => Output::of(report, &config.telling),
    }
}

fn show(config: &Config, store: &Store) -> Output {
    let now = Timestamp::now();
    match store.show(now) {
        Ok(memory) => Output::fine(render::memory::render(
            &config.question(),
            store.path(),
            memory.as_ref(),
            now,
        )),
        Err(problem) => Output::unknown(Reason::StateUnusable, problem),
    }
}

fn reset(config: &Config, store: &Store, start: Instant) -> Output {
    let path = store.path().map(|path| path.display().to_string()).unwrap_or_default();
    match store.reset(start + config.timing.timeout) {
        Ok(forgotten) => Output::fine(match forgotten {
            true => format!("forgotten: {path}\n"),
            false => format!("nothing to forget: there is no {path}\n"),
        }),
        Err(problem) => Output::unknown(Reason::StateUnusable, problem),
    }
}
