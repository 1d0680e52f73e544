//! One look at a service: probes, judges and remembers.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::check_report::{AbortReport, CheckReport};
use crate::cli::{Config, Settings};
use crate::judge::judge;
use crate::judge::verdict::{Finding, Verdict};
use crate::probe::client::{ProbeRequest, probe};
use crate::probe::observation::{Failure, Observation};
use crate::probe::plan::{FIRST_RETRY, PingPlan, Wanted};
use crate::process::user::euid;
use crate::process::watchdog::{self, Alarm};
use crate::render::report::Report;
use crate::state::key::StateKey;
use crate::state::memory::Memory;
use crate::state::store::{StateEnvironment, Store};
use crate::values::env::Env;
use crate::values::status::{Reason, Status};
use crate::values::timestamp::Timestamp;

/// Made by the package, for the state of every user of the host.
const PACKAGE_STATE_DIR: &str = "/var/lib/check_nats_service";

/// Time after its end that a run may still wait for the lock of the state. The watchdog waits longer.
pub const SAVING: Duration = Duration::from_millis(40);

/// Times of a run.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub start: Instant,
    /// When the network is given up.
    pub network: Instant,
    /// When the run is over, whatever it waits for: the state, or a file that it writes.
    pub end: Instant,
}

impl Limits {
    /// Limits of a run that prints its verdict: the network may use all of the time.
    pub fn of_output(start: Instant, timeout: Duration) -> Limits {
        let end = start + timeout;
        Limits {
            start,
            network: end,
            end,
        }
    }
}

/// The state of the question: the text that is carried on, or a file wherever the user or the environment says.
pub fn state_store(key: StateKey, carried: Option<&str>, settings: &Settings, env: Env<'_>) -> Store {
    match carried {
        Some(text) => Store::holding(text, key),
        None => Store::new(&settings.location, key, &state_environment(env)),
    }
}

/// Returns the environment that decides where the state file is.
pub fn state_environment(env: Env<'_>) -> StateEnvironment<'_> {
    StateEnvironment {
        var: env,
        package_dir: Path::new(PACKAGE_STATE_DIR),
        euid: euid(),
    }
}

/// Probes, judges and remembers: what every command does that looks at a service.
pub fn run_check(config: &Config, store: &Store, limits: Limits, last_words: &AbortReport) -> Report {
    let (service, settings) = (config.service.as_str(), &config.settings);
    let alarms = watchdog::watch(limits.end);
    watchdog::set_last_words(unread(service, store, last_words));
    let peeked = store.peek(Timestamp::now());
    watchdog::set_last_words(interrupted(config, &peeked, last_words));

    let seen = Arc::new(probe(&ProbeRequest {
        target: &config.target,
        plan: PingPlan {
            census: needs_census(&peeked, settings, Timestamp::now()),
            discover: peeked.last_seen().is_none(),
            ..plan(service, &peeked, settings)
        }
        .into(),
        start: limits.start,
        deadline: limits.network,
        alarms: &alarms,
    }));
    conclude(service, settings, store, &peeked, &seen, limits.end, last_words)
}

/// The same where nobody can be asked, for this reason: judges and remembers that.
pub fn run_unasked(
    service: &str,
    settings: &Settings,
    store: &Store,
    failure: Failure,
    end: Instant,
    last_words: &AbortReport,
) -> Report {
    watchdog::watch(end);
    watchdog::set_last_words(unread(service, store, last_words));
    let now = Timestamp::now();
    let (peeked, seen) = (store.peek(now), Arc::new(Observation::failed(now, failure)));
    conclude(service, settings, store, &peeked, &seen, end, last_words)
}

/// Judges what was seen, and remembers it.
fn conclude(
    service: &str,
    settings: &Settings,
    store: &Store,
    peeked: &Memory,
    seen: &Arc<Observation>,
    end: Instant,
    last_words: &AbortReport,
) -> Report {
    // The verdict is printed even if the state hangs or the run is interrupted.
    let (verdict, next) = judge(service, peeked, seen, &settings.policy, Timestamp::now());
    let judged = report(verdict, seen, next);
    watchdog::set_last_words(unsaved(judged.clone(), last_words));
    let (mut report, problems) = store.update(end + SAVING, peeked, |memory| {
        if memory == peeked {
            let next = Arc::clone(&judged.memory);
            return (judged, next);
        }
        let (report, next) = judge_beside_others(service, settings, peeked, memory, seen, Timestamp::now());
        watchdog::set_last_words(unsaved(report.clone(), last_words));
        (report, next)
    });
    for problem in problems {
        report
            .verdict
            .add(Finding::new(Status::Unknown, Reason::StateUnusable, problem));
    }
    report
}

/// Returns the plan of the requests for a service with this memory.
pub fn plan(service: &str, memory: &Memory, settings: &Settings) -> PingPlan {
    let (timing, policy) = (&settings.timing, &settings.policy);
    let confirm = match memory.is_absent() {
        true => timing.confirm.min(FIRST_RETRY),
        false => timing.confirm,
    };
    PingPlan {
        known: memory.known_instances(),
        previously_missing: memory.previously_missing(),
        before_outage: memory.before_outage(),
        stats: policy.rates.wanted,
        kept_metadata: policy.mixed_metadata.clone(),
        thorough: timing.census.is_zero(),
        thresholds: policy.thresholds(memory),
        ..PingPlan::new(service, Wanted::All, confirm, timing.stall)
    }
}

pub fn report(verdict: Verdict, seen: &Arc<Observation>, memory: impl Into<Arc<Memory>>) -> Report {
    Report {
        seen: Some(Arc::clone(seen)),
        memory: memory.into(),
        ..Report::bare(verdict)
    }
}

/// Judges, unless a run that began before this one ended has seen more recently how things are: then its answer counts,
/// so that the slower of two runs cannot undo what the other one found.
pub fn judge_beside_others(
    service: &str,
    settings: &Settings,
    peeked: &Memory,
    memory: &Memory,
    seen: &Arc<Observation>,
    now: Timestamp,
) -> (Report, Arc<Memory>) {
    let (seen, next) = match memory.newer_epoch(peeked, seen) {
        Some(epoch) => (Arc::new(epoch.observed_like(seen)), Some(memory.clone().into())),
        None => (Arc::clone(seen), None),
    };
    let (verdict, judged) = judge(service, memory, &seen, &settings.policy, now);
    let next: Arc<Memory> = next.unwrap_or_else(|| judged.into());
    (report(verdict, &seen, Arc::clone(&next)), next)
}

/// Returns `true` if the run is a full count, which waits for unknown instances (SPEC, section 3): also while a replacement may
/// come.
pub fn needs_census(memory: &Memory, settings: &Settings, now: Timestamp) -> bool {
    let recent = |at: Timestamp| at <= now && now.since(at) < settings.timing.census;
    let quiet = memory.status == Some(Status::Ok) && memory.outage.is_none() && !memory.known_instances().is_empty();
    let count = memory.epoch.as_ref().map_or(0, |epoch| epoch.count);
    let fewer = memory
        .baseline
        .as_ref()
        .is_some_and(|baseline| count < baseline.count());
    let window = settings.policy.restarts.succession.window;
    let no_successor = memory
        .changes
        .as_ref()
        .is_some_and(|changes| changes.lack_a_successor(window, now));
    fewer || no_successor || !(quiet && memory.census.is_some_and(recent))
}

/// Returns the output of a run that is ended while it reads the state, on a network file system for example.
fn unread(service: &str, store: &Store, last_words: &AbortReport) -> watchdog::FallbackOutput {
    let last_words = Arc::clone(last_words);
    let service = service.to_owned();
    let path = store.shown_path();
    Box::new(move |cause| {
        let text = unreadable(&path, cause);
        let report = Report::unknown(&service, Reason::StateUnusable, text.as_str());
        last_words(&CheckReport::One(Box::new(report)), &text)
    })
}

/// Why the state at this path cannot be read.
pub fn unreadable(path: &str, cause: &Alarm) -> String {
    let why = match cause {
        Alarm::Memory => "it takes more memory than allowed".to_owned(),
        cause => cause.to_string(),
    };
    format!("the state {path} cannot be read: {why}")
}

/// Returns the output of a run that is ended before it has a verdict: it reports an open outage, too.
fn interrupted(config: &Config, memory: &Memory, last_words: &AbortReport) -> watchdog::FallbackOutput {
    let last_words = Arc::clone(last_words);
    let (config, memory) = (config.clone(), memory.clone());
    Box::new(move |cause| {
        let now = Timestamp::now();
        let failure = Failure::new(cause.reason(), cause.to_string());
        let seen = Arc::new(Observation {
            credentials: config.target.expiry(),
            remarks: config.target.remarks.clone(),
            ..Observation::failed(now, failure)
        });
        let (verdict, memory) = judge(config.service.as_str(), &memory, &seen, &config.settings.policy, now);
        last_words(
            &CheckReport::One(Box::new(report(verdict, &seen, memory))),
            &cause.to_string(),
        )
    })
}

/// Returns the output of a run that is ended while it saves the state.
fn unsaved(report: Report, last_words: &AbortReport) -> watchdog::FallbackOutput {
    let last_words = Arc::clone(last_words);
    Box::new(move |cause| {
        let mut report = report.clone();
        let text = format!("the state was perhaps not saved: {cause}");
        report
            .verdict
            .add(Finding::new(Status::Unknown, Reason::StateUnusable, text.as_str()));
        last_words(&CheckReport::One(Box::new(report)), &text)
    })
}
