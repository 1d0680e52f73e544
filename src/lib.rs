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
pub mod diagnosis;
pub mod duration;
pub mod epoch;
pub mod judge;
pub mod limit;
pub mod observation;
pub mod probe;
pub mod range;
pub mod render;
pub mod sockets;
pub mod state;
pub mod target;
pub mod text;
pub mod timestamp;
pub mod verdict;
pub mod watchdog;

use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::cli::{Config, Env, Mode, Parsed};
use crate::epoch::Memory;
use crate::judge::judge;
use crate::observation::{Failure, Observation, Outcome};
use crate::render::nagios;
use crate::state::{Store, Surroundings};
use crate::timestamp::Timestamp;
use crate::verdict::{Finding, Reason, Status, Verdict};

/// Made by the package, for the state of every user of the host.
const PACKAGE_STATE_DIR: &str = "/var/lib/check_nats_service";

/// How long after the deadline a run may still wait for its turn to save. The watchdog waits longer.
const SAVING: Duration = Duration::from_millis(40);

/// What a run has to say, and the status it ends with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// For stdout, with its line ends.
    pub text: String,
    pub exit_code: u8,
}

impl Output {
    fn of(verdict: &Verdict, verbosity: u8) -> Output {
        Output {
            text: nagios::render(verdict, verbosity),
            exit_code: verdict.status().exit_code(),
        }
    }

    /// What there is to say when there is nothing else: a line of one finding.
    pub fn unknown(reason: Reason, text: impl Into<String>) -> Output {
        let finding = Finding::new(Status::Unknown, reason, text);
        Output::of(&Verdict::new("", vec![finding], vec![], vec![]), 0)
    }
}

/// One whole run.
pub fn run(args: impl IntoIterator<Item = OsString>, env: Env<'_>, start: Instant) -> Output {
    match cli::parse(args, env) {
        Err(problem) => Output::unknown(Reason::Usage, format!("{problem} (see --help)")),
        Ok(Parsed::Print(text)) => Output { text, exit_code: 0 },
        Ok(Parsed::Run(config)) => {
            let store = store(&config, env);
            match config.mode {
                Mode::Check => check(config, &store, start),
                Mode::StateShow => show(&config, &store),
                Mode::StateReset => reset(&config, &store, start),
            }
        }
    }
}

fn store(config: &Config, env: Env<'_>) -> Store {
    let surroundings = Surroundings {
        var: env,
        package_dir: Path::new(PACKAGE_STATE_DIR),
        euid: state::euid(),
    };
    Store::new(config.place.clone(), config.question(), &surroundings)
}

fn check(config: Box<Config>, store: &Store, start: Instant) -> Output {
    let deadline = start + config.timing.timeout;
    let (service, verbosity) = (config.target.service.as_str(), config.verbosity);
    let alarms = watchdog::watch(deadline);
    watchdog::set_last_words(unread(&config, store));
    let peeked = store.peek(Timestamp::now());
    watchdog::set_last_words(interrupted(&config, &peeked));

    let seen = probe::probe(&probe::Request {
        target: &config.target,
        known: peeked.known().iter().map(|instance| instance.id.clone()).collect(),
        census: needs_census(&peeked, config.timing.census, Timestamp::now()),
        confirm: config.timing.confirm,
        stall: config.timing.stall,
        start,
        deadline,
        alarms: &alarms,
    });

    // If the state hangs or the run is interrupted, the verdict is said all the same.
    let (verdict, _) = judge(service, &peeked, &seen, &config.policy, Timestamp::now());
    watchdog::set_last_words(unsaved(&verdict, verbosity));
    let (mut verdict, problems) = store.update(Timestamp::now(), deadline + SAVING, &peeked, |memory| {
        let (verdict, next) = judge_beside_others(&config, &peeked, memory, seen);
        watchdog::set_last_words(unsaved(&verdict, verbosity));
        (verdict, next)
    });
    for problem in problems {
        verdict.add(Finding::new(Status::Unknown, Reason::StateUnusable, problem));
    }
    Output::of(&verdict, verbosity)
}

/// Judges, unless a run that began before this one ended has seen more recently how things are: then its answer counts,
/// so that the slower of two runs cannot undo what the other one found.
fn judge_beside_others(config: &Config, peeked: &Memory, memory: &Memory, seen: Observation) -> (Verdict, Memory) {
    let service = config.target.service.as_str();
    let newer = memory.epoch.as_ref().filter(|epoch| {
        let answered = !matches!(seen.outcome, Outcome::Failed(_));
        answered && memory.sequence != peeked.sequence && epoch.at > seen.at && epoch.is_complete()
    });
    match newer {
        Some(epoch) => {
            let seen = seen.superseded_by(epoch);
            let (verdict, _) = judge(service, memory, &seen, &config.policy, Timestamp::now());
            (verdict, memory.clone())
        }
        None => judge(service, memory, &seen, &config.policy, Timestamp::now()),
    }
}

/// Whether to wait for instances that nobody knows of (SPEC, section 3).
fn needs_census(memory: &Memory, interval: Duration, now: Timestamp) -> bool {
    let recent = |at: Timestamp| at <= now && now.since(at) < interval;
    let quiet = memory.status == Some(Status::Ok) && memory.outage.is_none() && !memory.known().is_empty();
    !(quiet && memory.census.is_some_and(recent))
}

/// What is said if the run is ended while it reads what is remembered, on a network file system say.
fn unread(config: &Config, store: &Store) -> watchdog::LastWords {
    let (service, verbosity) = (config.target.service.as_str().to_owned(), config.verbosity);
    let path = store.path().map(|path| path.display().to_string()).unwrap_or_default();
    Box::new(move |cause| {
        let text = format!("the state {path} cannot be read: {cause}");
        let finding = Finding::new(Status::Unknown, Reason::StateUnusable, text);
        Output::of(&Verdict::new(&service, vec![finding], vec![], vec![]), verbosity)
    })
}

/// What is said if the run is ended before it has a verdict: also then an open outage is told.
fn interrupted(config: &Config, memory: &Memory) -> watchdog::LastWords {
    let (service, policy, verbosity) = (config.target.service.clone(), config.policy.clone(), config.verbosity);
    let memory = memory.clone();
    Box::new(move |cause| {
        let now = Timestamp::now();
        let seen = Observation::failed(now, Failure::new(cause.reason(), cause.to_string()));
        let (verdict, _) = judge(service.as_str(), &memory, &seen, &policy, now);
        Output::of(&verdict, verbosity)
    })
}

/// What is said if the run is ended while it saves.
fn unsaved(verdict: &Verdict, verbosity: u8) -> watchdog::LastWords {
    let verdict = verdict.clone();
    Box::new(move |cause| {
        let mut verdict = verdict.clone();
        let text = format!("the state may not be saved: {cause}");
        verdict.add(Finding::new(Status::Unknown, Reason::StateUnusable, text));
        Output::of(&verdict, verbosity)
    })
}

fn show(config: &Config, store: &Store) -> Output {
    let now = Timestamp::now();
    match store.show(now) {
        Ok(memory) => Output {
            text: render::memory::render(&config.question(), store.path(), memory.as_ref(), now),
            exit_code: 0,
        },
        Err(problem) => Output::unknown(Reason::StateUnusable, problem),
    }
}

fn reset(config: &Config, store: &Store, start: Instant) -> Output {
    let path = store.path().map(|path| path.display().to_string()).unwrap_or_default();
    match store.reset(start + config.timing.timeout) {
        Ok(forgotten) => Output {
            text: match forgotten {
                true => format!("forgotten: {path}\n"),
                false => format!("nothing to forget: there is no {path}\n"),
            },
            exit_code: 0,
        },
        Err(problem) => Output::unknown(Reason::StateUnusable, problem),
    }
}
