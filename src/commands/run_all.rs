//! One look at all services: asks once, judges each by the rules of the single check, and remembers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use super::check_report::{AbortReport, CheckReport};
use super::run_check::{Limits, SAVING, judge_beside_others, needs_census, plan, state_environment, unreadable};
use crate::cli::{AllConfig, AllServices, Settings};
use crate::judge::overview::{OverviewInput, ServiceResult, add_problem, overview};
use crate::judge::verdict::Finding;
use crate::probe::client::{ProbeRequest, probe_all};
use crate::probe::observation::{AllObservation, Failure, Observation, Outcome};
use crate::probe::plan::{DiscoveryPlan, LEAST_CENSUS, PingPlan, ProbePlan};
use crate::process::watchdog;
use crate::render::report::{AllReport, Report};
use crate::state::account::{AccountKey, AccountMemory, MAX_SERVICES};
use crate::state::account_store::{AccountStore, Turn};
use crate::state::memory::Memory;
use crate::values::env::Env;
use crate::values::status::{Reason, Status};
use crate::values::timestamp::Timestamp;

/// Maximum number of other services among which one that was never seen is looked for.
const MAX_OTHERS: usize = 1000;

/// The state of all services: the text that is carried on, or a file wherever the user or the environment says.
pub fn account_store(key: AccountKey, carried: Option<&str>, settings: &Settings, env: Env<'_>) -> AccountStore {
    match carried {
        Some(text) => AccountStore::holding(text, key),
        None => AccountStore::new(&settings.location, key, &state_environment(env)),
    }
}

/// Asks for all services, judges each and remembers.
pub fn run_all(config: &AllConfig, store: &AccountStore, limits: Limits, last_words: &AbortReport) -> AllReport {
    let AllConfig { services, settings, .. } = config;
    let alarms = watchdog::watch(limits.end);
    watchdog::set_last_words(unread(store, last_words));
    let peeked = Arc::new(store.peek(Timestamp::now()));
    watchdog::set_last_words(interrupted(config, &peeked, last_words));
    let seen = probe_all(&ProbeRequest {
        target: &config.target,
        plan: probe_plan(config, &peeked, Timestamp::now()),
        start: limits.start,
        deadline: limits.network,
        alarms: &alarms,
    });
    conclude(services, settings, store, &peeked, &seen, limits.end, last_words)
}

/// The same where nobody can be asked, for this reason: judges and remembers that.
pub fn run_all_unasked(
    services: &AllServices,
    settings: &Settings,
    store: &AccountStore,
    failure: Failure,
    end: Instant,
    last_words: &AbortReport,
) -> AllReport {
    watchdog::watch(end);
    watchdog::set_last_words(unread(store, last_words));
    let now = Timestamp::now();
    let peeked = store.peek(now);
    let seen = all_failed(services, &peeked, Observation::failed(now, failure));
    conclude(services, settings, store, &peeked, &seen, end, last_words)
}

/// Judges what was seen, and remembers it.
fn conclude(
    services: &AllServices,
    settings: &Settings,
    store: &AccountStore,
    peeked: &AccountMemory,
    seen: &AllObservation,
    end: Instant,
    last_words: &AbortReport,
) -> AllReport {
    let (report, problems) = store.update(end + SAVING, peeked, |turn| {
        let report = judge_all(services, settings, peeked, seen, turn, Timestamp::now());
        // The verdict is printed even if the state hangs or the run is interrupted.
        watchdog::set_last_words(unsaved(report.clone(), last_words));
        report
    });
    problems
        .iter()
        .fold(report, |report, problem| with_problem(report, problem))
}

/// The services to ask for by name: those that are watched, and those that may be soon.
pub fn probe_plan(config: &AllConfig, memory: &AccountMemory, now: Timestamp) -> ProbePlan {
    let AllConfig { services, settings, .. } = config;
    let nothing = Memory::default();
    let of = |name: &str| memory.services.get(name).unwrap_or(&nothing);
    let mut names = watched(services, memory);
    names.extend(memory.candidates.keys().map(String::as_str));
    let recent = |at: Timestamp| at <= now && now.since(at) < settings.timing.census;
    let census = !memory.census.is_some_and(recent) || names.iter().any(|name| needs_census(of(name), settings, now));
    let plan = |name: &str| PingPlan {
        census,
        ..plan(name, of(name), settings)
    };
    ProbePlan {
        services: names.into_iter().map(plan).collect(),
        discovery: Some(DiscoveryPlan {
            newcomer: PingPlan {
                census: true,
                ..plan("")
            },
            selection: services.selection.clone(),
            census,
            stall: settings.timing.stall,
            least: LEAST_CENSUS,
        }),
    }
}

/// The services that are selected and remembered, and those that are expected.
fn watched<'a>(services: &'a AllServices, memory: &'a AccountMemory) -> BTreeSet<&'a str> {
    let remembered = memory.remembered().into_iter();
    let selected = remembered.filter(|name| services.selection.includes(name));
    selected.chain(services.expected.iter().map(String::as_str)).collect()
}

/// Judges every service that is watched, and takes in those that are new. `now` is the time of the verdicts.
pub fn judge_all(
    services: &AllServices,
    settings: &Settings,
    peeked: &AccountMemory,
    seen: &AllObservation,
    turn: &mut Turn,
    now: Timestamp,
) -> AllReport {
    let watched = watched(services, peeked);
    turn.fewest_changes = settings.policy.restarts.fewest_changes();
    if !matches!(seen.common.outcome, Outcome::Failed(_)) {
        update_candidates(services, &watched, seen, turn);
        if seen.common.census {
            turn.census = Some(seen.common.at);
        }
    }
    let nothing = Memory::default();
    let mut reports = Vec::new();
    for (name, observation) in &seen.services {
        let is_watched = watched.contains(name.as_str()) || turn.is_remembered(name);
        if !is_watched && !is_adopted(services, seen, name, turn) {
            continue;
        }
        let before = peeked.services.get(name).unwrap_or(&nothing);
        let observation = with_others(observation, before, seen);
        let (mut report, problems) = turn.service(name, |memory| {
            let (mut report, next) = judge_beside_others(name, settings, before, memory, &observation, now);
            // The turn keeps the memory, and may shorten it: a copy here would double it.
            report.memory = Arc::default();
            (report, next)
        });
        report.memory = turn.judged(name);
        // A service that was forgotten just now is not reported.
        if report.memory.is_remembered() || services.expected.contains(name) || !problems.is_empty() {
            for problem in problems {
                let finding = Finding::new(Status::Unknown, Reason::StateUnusable, problem);
                report.verdict.add(finding);
            }
            reports.push(report);
        }
    }
    all_report(settings, reports, seen, turn, now)
}

/// Returns `true` if a service that is not remembered has answered for long enough to be watched from now on.
fn is_adopted(services: &AllServices, seen: &AllObservation, name: &str, turn: &Turn) -> bool {
    let since = turn.candidates.get(name).copied().unwrap_or(seen.common.at);
    answers(seen, name) && seen.common.at.since(since) >= services.adopt_after
}

/// Remembers since when services answer that are not watched yet. One that stops is forgotten at once.
fn update_candidates(services: &AllServices, watched: &BTreeSet<&str>, seen: &AllObservation, turn: &mut Turn) {
    turn.candidates
        .retain(|name, _| answers(seen, name) && services.selection.includes(name));
    if services.adopt_after.is_zero() {
        return turn.candidates.clear();
    }
    for name in seen.services.keys().filter(|name| answers(seen, name)) {
        if watched.contains(name.as_str()) || turn.is_remembered(name) {
            turn.candidates.remove(name);
        } else if turn.candidates.len() < MAX_SERVICES {
            turn.candidates.entry(name.clone()).or_insert(seen.common.at);
        }
    }
}

fn answers(seen: &AllObservation, name: &str) -> bool {
    let outcome = seen.services.get(name).map(|seen| &seen.outcome);
    matches!(outcome, Some(Outcome::Answered(_)))
}

/// The observation; of a service that nobody has ever seen, with the names of those that answer.
fn with_others(observation: &Arc<Observation>, before: &Memory, seen: &AllObservation) -> Arc<Observation> {
    let is_absent = matches!(observation.outcome, Outcome::NoResponders | Outcome::Silent(_));
    if before.is_remembered() || !is_absent {
        return Arc::clone(observation);
    }
    let others = seen.services.iter().filter_map(|(name, seen)| match &seen.outcome {
        Outcome::Answered(replies) => Some((name.clone(), replies.len())),
        _ => None,
    });
    Arc::new(Observation {
        others: Some(others.take(MAX_OTHERS).collect()),
        ..(**observation).clone()
    })
}

/// The report over these, before it is known whether they can be saved.
fn all_report(
    settings: &Settings,
    reports: Vec<Report>,
    seen: &AllObservation,
    turn: &Turn,
    now: Timestamp,
) -> AllReport {
    let results: Vec<ServiceResult<'_>> = reports.iter().map(Report::result).collect();
    let overview = overview(&OverviewInput {
        services: &results,
        common: &seen.common,
        too_many: seen.too_many,
        candidates: &turn.candidates,
        policy: &settings.policy,
        per_service: settings.output.per_service,
        now,
    });
    AllReport {
        overview,
        common: Some(Arc::new(seen.common.clone())),
        now,
        reports: reports.into(),
    }
}

fn with_problem(mut report: AllReport, problem: &str) -> AllReport {
    add_problem(&mut report.overview, problem);
    report
}

/// Returns the output of a run that is ended while it reads the state.
fn unread(store: &AccountStore, last_words: &AbortReport) -> watchdog::FallbackOutput {
    let (last_words, path) = (Arc::clone(last_words), store.shown_path());
    Box::new(move |cause| {
        let text = unreadable(&path, cause);
        let report = AllReport::unknown(Reason::StateUnusable, text.as_str());
        last_words(&CheckReport::All(report), &text)
    })
}

/// Returns the output of a run that is ended before it has a verdict: it reports open outages, too.
fn interrupted(config: &AllConfig, peeked: &Arc<AccountMemory>, last_words: &AbortReport) -> watchdog::FallbackOutput {
    let (last_words, config, peeked) = (Arc::clone(last_words), config.clone(), Arc::clone(peeked));
    Box::new(move |cause| {
        let now = Timestamp::now();
        let AllConfig {
            services,
            settings,
            target,
        } = &config;
        let failed = Observation {
            credentials: target.expiry(),
            remarks: target.remarks.clone(),
            ..Observation::failed(now, Failure::new(cause.reason(), cause.to_string()))
        };
        let seen = all_failed(services, &peeked, failed);
        let report = judge_all(services, settings, &peeked, &seen, &mut Turn::of(&peeked), now);
        last_words(&CheckReport::All(report), &cause.to_string())
    })
}

/// Observation of all services that are watched, where none could be asked.
fn all_failed(services: &AllServices, peeked: &AccountMemory, failed: Observation) -> AllObservation {
    let of_each = Arc::new(failed.clone());
    let names = watched(services, peeked).into_iter();
    AllObservation {
        services: names.map(|name| (name.to_owned(), Arc::clone(&of_each))).collect(),
        common: failed,
        too_many: 0,
    }
}

/// Returns the output of a run that is ended while it saves the state.
fn unsaved(report: AllReport, last_words: &AbortReport) -> watchdog::FallbackOutput {
    let last_words = Arc::clone(last_words);
    Box::new(move |cause| {
        let text = format!("the state was perhaps not saved: {cause}");
        let report = with_problem(report.clone(), &text);
        last_words(&CheckReport::All(report), &text)
    })
}
