//! The same story for the tests of all renderers: a report for each state that a service can be in, at fixed times.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::connect::credentials::Expiry;
use crate::judge::overview::{OverviewInput, overview};
use crate::judge::pod;
use crate::judge::verdict::{Finding, Verdict};
use crate::judge::{Loss, LossLimits, Policy, RateLimits, RequestLimits, judge};
use crate::probe::observation::{
    EndpointEnd, EndpointReply, EndpointSeen, Failure, Fate, Instance, InstanceReply, Observation, Outcome, Server,
    ServiceError,
};
use crate::probe::plan::Wanted;
use crate::probe::stats::{Counters, SeenStats, Stats};
use crate::render::report::{AllReport, Report};
use crate::state::memory::Memory;
use crate::values::range::Range;
use crate::values::status::{Reason, Status};
use crate::values::timestamp::Timestamp;

/// 2026-09-21 14:13:20 UTC, and this many seconds.
pub const fn at(second: i64) -> Timestamp {
    Timestamp::from_micros(1_790_000_000_000_000 + second * 1_000_000)
}

pub fn instance(n: usize) -> Instance {
    Instance {
        id: format!("id{n}"),
        version: "1.2.3".into(),
        metadata: vec![("pod".into(), format!("orders-{n}"))],
    }
}

pub fn answered(numbers: impl IntoIterator<Item = usize>) -> Outcome {
    let answer = |n: usize| InstanceReply {
        instance: instance(n),
        rtt: Some(Duration::from_micros(600 + n as u64)),
    };
    Outcome::Answered(numbers.into_iter().map(answer).collect())
}

/// Returns the observation of a probe at this second.
pub fn saw(second: i64, outcome: Outcome) -> Observation {
    let reached = !matches!(outcome, Outcome::Failed(_));
    Observation {
        census: true,
        rounds: usize::from(reached),
        server: reached.then(|| Server {
            address: "nats.example.org:4222".into(),
            version: "2.15.1".into(),
            rtt: Some(Duration::from_micros(170)),
            ..Server::default()
        }),
        took: Duration::from_millis(12),
        ..Observation::new(at(second), outcome)
    }
}

/// One run: judges, remembers, and is told half a second later.
pub fn run(memory: &mut Memory, seen: Observation) -> Report {
    let policy = Policy {
        warning: Range::parse("3:").ok(),
        rates: RateLimits {
            wanted: seen.stats.is_some(),
            ..RateLimits::default()
        },
        ..Policy::default()
    };
    let now = seen.at + Duration::from_millis(500);
    let (verdict, next) = judge("orders", memory, &seen, &policy, now);
    *memory = next.clone();
    Report {
        verdict,
        own_up: pod::is_up(&Wanted::Any, &seen),
        seen: Some(Arc::new(seen)),
        memory: next.into(),
        now,
    }
}

/// An instance that answers, and has counted so many requests.
fn counting(second: i64, requests: u64) -> Observation {
    let mut stats = Stats::default();
    for (endpoint, errors) in [("add", 0), ("delete", 1)] {
        let counters = Counters {
            requests,
            errors: errors * requests / 10,
            processing: requests * 1_500_000,
        };
        stats.add(endpoint, counters);
    }
    stats.last_errors.insert("delete".into(), "500:disk full".into());
    let mut seen = saw(second, answered(0..3));
    seen.stats = Some(SeenStats {
        instances: BTreeMap::from([("id0".to_owned(), stats)]),
        denied: String::new(),
    });
    seen
}

/// The instances are there, and an endpoint of theirs answers with an error.
fn request_failed() -> Report {
    let reply = EndpointReply {
        took: Duration::from_micros(2400),
        size: 12,
        error: Some(ServiceError {
            code: "500".into(),
            text: "no database".into(),
        }),
        lacks: String::new(),
        excerpt: String::new(),
        sender: "id1".into(),
    };
    let seen = Observation {
        request: Some(EndpointSeen {
            endpoint: "find".into(),
            subject: "orders.find".into(),
            end: EndpointEnd::Replied(reply),
            doubt: String::new(),
        }),
        ..saw(0, answered(0..3))
    };
    let policy = Policy {
        request: Some(RequestLimits::default()),
        ..Policy::default()
    };
    let now = seen.at + Duration::from_millis(500);
    let (verdict, memory) = judge("orders", &Memory::default(), &seen, &policy, now);
    Report {
        verdict,
        seen: Some(Arc::new(seen)),
        memory: memory.into(),
        own_up: None,
        now,
    }
}

/// Each state with its name, as it follows from the one before; then those that stand alone.
pub fn sample_reports() -> Vec<(&'static str, Report)> {
    let memory = &mut Memory::default();
    let mut states = Vec::new();
    states.push(("up", run(memory, saw(0, answered(0..3)))));
    let mut fewer = saw(60, answered(0..2));
    fewer.absent = vec![("id2".into(), Fate::Gone)];
    states.push(("degraded", run(memory, fewer)));
    states.push(("down", run(memory, saw(120, Outcome::NoResponders))));
    let away = || Outcome::Failed(Failure::new(Reason::NatsUnreachable, "connection refused"));
    states.push(("down_and_nats_away", run(memory, saw(180, away()))));
    let mut restarted = saw(240, answered(3..6));
    restarted.absent = [0, 1].map(|n| (instance(n).id, Fate::Gone)).into();
    states.push(("recovered", run(memory, restarted)));
    states.push(("nats_away", run(memory, saw(300, away()))));
    let silent = Outcome::Silent(Duration::from_secs(5));
    states.push(("silent", run(memory, saw(360, silent))));

    let mut half = answered(0..3);
    if let Outcome::Answered(answers) = &mut half {
        answers[2].instance.version = "1.3.0".into();
    }
    let mut half = saw(0, half);
    half.credentials = Some(Expiry {
        file: "/etc/nats/mon.creds".into(),
        at: Some(at(86_400)),
    });
    states.push(("half_rolled_out", run(&mut Memory::default(), half)));

    let memory = &mut Memory::default();
    run(memory, counting(0, 0));
    states.push(("counting", run(memory, counting(60, 20))));

    let mut nobody = saw(0, Outcome::NoResponders);
    nobody.others = Some(vec![("order".into(), 2), ("billing".into(), 1)]);
    states.push(("never_seen", run(&mut Memory::default(), nobody)));
    states.push(("request_failed", request_failed()));
    let finding = Finding::new(
        Status::Unknown,
        Reason::Usage,
        "which service? Give its name with --name",
    );
    let usage = Report {
        now: at(0),
        ..Report::bare(Verdict::new("", vec![finding], vec![], vec![]))
    };
    states.push(("usage", usage));
    states
}

/// A run for all services at this second: those that answer with so many instances, of those remembered and others. `None`: NATS
/// cannot be asked.
fn run_all(
    memories: &mut BTreeMap<&'static str, Memory>,
    second: i64,
    answering: Option<&[(&'static str, usize)]>,
) -> AllReport {
    let policy = Policy {
        loss: LossLimits {
            warning: Some(Loss::Instances(1)),
            ..LossLimits::default()
        },
        ..Policy::default()
    };
    let away = || {
        Outcome::Failed(Failure::new(
            Reason::NatsUnreachable,
            "cannot reach NATS: connection refused",
        ))
    };
    for (service, _) in answering.unwrap_or_default() {
        memories.entry(service).or_default();
    }
    let mut reports = Vec::new();
    let now = at(second) + Duration::from_millis(500);
    for (service, memory) in memories.iter_mut() {
        let count = answering.map(|answering| {
            answering
                .iter()
                .find(|(name, _)| name == service)
                .map_or(0, |(_, n)| *n)
        });
        let seen = saw(
            second,
            match count {
                None => away(),
                Some(0) => Outcome::NoResponders,
                Some(count) => answered(0..count),
            },
        );
        let (verdict, next) = judge(service, memory, &seen, &policy, now);
        *memory = next.clone();
        reports.push(Report {
            verdict,
            seen: Some(Arc::new(seen)),
            memory: next.into(),
            own_up: None,
            now,
        });
    }
    let common = saw(second, answering.map_or_else(away, |_| Outcome::Answered(vec![])));
    let services: Vec<_> = reports.iter().map(Report::result).collect();
    let overview = overview(&OverviewInput {
        services: &services,
        common: &common,
        too_many: 0,
        candidates: &BTreeMap::new(),
        policy: &policy,
        per_service: true,
        now,
    });
    AllReport {
        reports: reports.into(),
        overview,
        common: Some(Arc::new(common)),
        now,
    }
}

/// Each state of all services with its name, as it follows from the one before; then those that stand alone.
pub fn sample_all_reports() -> Vec<(&'static str, AllReport)> {
    let memories = &mut BTreeMap::new();
    let up = [("billing", 1), ("catalog", 5), ("mail", 2), ("orders", 3)];
    let some = [("catalog", 5), ("mail", 1)];
    vec![
        ("all_up", run_all(memories, 0, Some(&up))),
        ("all_but_one", run_all(memories, 60, Some(&up[1..]))),
        ("some_down", run_all(memories, 120, Some(&some))),
        ("some_down_and_nats_away", run_all(memories, 180, None)),
        ("all_recovered", run_all(memories, 240, Some(&up))),
        ("all_nats_away", run_all(memories, 300, None)),
        ("no_service", run_all(&mut BTreeMap::new(), 0, Some(&[]))),
    ]
}

/// Compares with tests/snapshots/NAME. `UPDATE_SNAPSHOTS=1` writes it instead; then look at the difference.
#[track_caller]
pub fn assert_snapshot(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(name);
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::write(&path, text).expect("a snapshot can be written");
    }
    let snapshot = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert!(snapshot == text, "not as {}:\n{text}", path.display());
}
