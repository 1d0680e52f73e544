use std::time::Duration;

use super::super::fixture::{answered, at, down, failed, findings, metric, saw, up};
use super::super::verdict::Verdict;
use super::super::{Policy, judge};
use super::*;
use crate::probe::observation::{Instance, InstanceReply, Observation, Silence};
use crate::state::changes::Succession;
use crate::state::memory::Memory;

fn policy(warning: Option<usize>, critical: Option<usize>) -> Policy {
    let restarts = RestartLimits {
        warning,
        critical,
        succession: Succession {
            confirm: Duration::ZERO,
            window: Duration::from_secs(600),
        },
    };
    Policy {
        restarts,
        ..Policy::default()
    }
}

fn instance(id: &str, pod: &str) -> Instance {
    Instance {
        id: id.into(),
        version: "1.2.3".into(),
        metadata: vec![("pod".into(), pod.into())],
    }
}

/// At this second these answer, each with its pod, and these are gone.
fn saw_at(second: i64, there: &[(&str, &str)], gone: &[&str]) -> Observation {
    let answer = |(id, pod): &(&str, &str)| InstanceReply {
        instance: instance(id, pod),
        rtt: Some(Duration::from_micros(1200)),
    };
    Observation {
        at: at(second),
        absent: gone.iter().map(|id| ((*id).to_owned(), Fate::Gone)).collect(),
        ..saw(Outcome::Answered(there.iter().map(answer).collect()))
    }
}

fn run(memory: &mut Memory, policy: &Policy, seen: &Observation) -> Verdict {
    let (verdict, next) = judge("orders", memory, seen, policy, seen.at);
    *memory = next;
    verdict
}

/// One of two is restarted before each run.
#[test]
fn crash_loop_is_reported_until_it_ends() {
    let memory = &mut Memory::default();
    let limits = policy(Some(2), Some(3));
    let steady = ("a", "web-0");
    let up = "OK service_up: 2 instances, slowest answer 1.2ms";
    let mut epoch =
        |second, id, gone: &[&str]| findings(&run(memory, &limits, &saw_at(second, &[steady, (id, "web-1")], gone)));
    assert_eq!(epoch(0, "b", &[]), up);
    assert_eq!(epoch(60, "c", &["b"]), up);
    assert_eq!(
        epoch(120, "d", &["c"]),
        format!(
            "WARNING restarts: 2 restarts within 10m, warning from 2, all at pod=web-1, latest 0.0s ago: d (1.2.3, \
             pod=web-1)\n{up}"
        )
    );
    assert_eq!(
        epoch(180, "e", &["d"]),
        format!(
            "CRITICAL restarts: 3 restarts within 10m, critical from 3, all at pod=web-1, latest 0.0s ago: e (1.2.3, \
             pod=web-1)\n{up}"
        )
    );
    assert!(epoch(659, "e", &[]).starts_with("CRITICAL restarts: 3 restarts within 10m"));
    assert!(
        epoch(660, "e", &[])
            .starts_with("WARNING restarts: 2 restarts within 10m, warning from 2, all at pod=web-1, latest 8m ago: e")
    );
    assert_eq!(epoch(720, "e", &[]), up);
    assert_eq!(memory.changes.as_ref().map(|changes| changes.restarts), Some(3));
}

/// After a restart of NATS, instances connect again one after the other, and a new one may come first. A clock that was set back makes
/// nobody wait.
#[test]
fn one_that_connects_again_was_not_restarted() {
    let mut limits = policy(Some(1), None);
    limits.restarts.succession.confirm = Duration::from_secs(5);
    let (a, b, c) = (("a", "web-0"), ("b", "web-1"), ("c", "web-2"));
    for (second, there, restarts) in [
        (64, &[a, b, c][..], 0_u32),
        (64, &[a, c], 0),
        (65, &[a, c], 1),
        (59, &[a, c], 1),
    ] {
        let memory = &mut Memory::default();
        run(memory, &limits, &saw_at(0, &[a, b], &[]));
        let at_once = run(memory, &limits, &saw_at(60, &[a, c], &["b"]));
        assert_eq!(metric(&at_once, "restarts"), Some(0.0));
        let later = run(memory, &limits, &saw_at(second, there, &[]));
        assert_eq!(metric(&later, "restarts"), Some(f64::from(restarts)), "{second}");
        assert_eq!(
            memory.changes.as_ref().map(|changes| changes.restarts),
            Some(restarts.into())
        );
    }
    // The instances from before an outage have been away since it began.
    let memory = &mut down();
    let recovered = saw_at(100, &[("x", "web-0"), ("y", "web-1")], &["id0", "id1", "id2"]);
    assert_eq!(metric(&run(memory, &limits, &recovered), "restarts"), Some(2.0));
}

#[test]
fn restarts_are_reported_with_their_most_frequent_place() {
    let memory = &mut Memory::default();
    let limits = policy(Some(1), None);
    let mut epoch = |second, there: &[(&str, &str)], gone: &[&str]| run(memory, &limits, &saw_at(second, there, gone));
    epoch(0, &[("a", "web-0"), ("b", "web-1")], &[]);
    let one = epoch(60, &[("c", "web-0"), ("b", "web-1")], &["a"]);
    let text = "WARNING restarts: 1 restart within 10m, warning from 1, latest 0.0s ago: c (1.2.3, pod=web-0)\n";
    assert!(findings(&one).starts_with(text), "{}", findings(&one));
    epoch(120, &[("d", "web-0"), ("b", "web-1")], &["c"]);
    let three = epoch(180, &[("d", "web-0"), ("e", "web-1")], &["b"]);
    let text = "WARNING restarts: 3 restarts within 10m, warning from 1, 2 of them at pod=web-0, latest 0.0s ago: e (1.2.3, \
                pod=web-1)\n";
    assert!(findings(&three).starts_with(text), "{}", findings(&three));
    let details: Vec<&str> = three.details.iter().map(|detail| detail.text.as_str()).collect();
    let latest = "restart seen 1970-01-01T00:03:00Z: e version 1.2.3 pod=web-1 in place of b";
    assert!(details.contains(&latest), "{details:?}");
}

#[test]
fn restarts_are_reported_beside_an_outage_and_after_it() {
    let limits = policy(Some(2), None);
    let memory = &mut down();
    let recovered = saw_at(100, &[("x", "web-0"), ("y", "web-1")], &["id0", "id1", "id2"]);
    assert_eq!(
        findings(&run(memory, &limits, &recovered)),
        "WARNING restarts: 2 restarts within 10m, warning from 2, latest 0.0s ago: y (1.2.3, pod=web-1)\n\
         OK service_recovered: 2 instances (had 3), recovered after 60s, gone: id2 (1.2.3, pod=web-2)"
    );
    let down = findings(&run(
        memory,
        &limits,
        &Observation {
            at: at(160),
            ..saw(Outcome::NoResponders)
        },
    ));
    assert!(
        down.starts_with("CRITICAL service_down: ") && down.contains("\nWARNING restarts: 2 restarts within 10m"),
        "{down}"
    );
    // Who could not ask says nothing of it.
    let away = run(memory, &limits, &saw(failed(Reason::NatsUnreachable)));
    assert!(!findings(&away).contains("restarts"), "{}", findings(&away));
    assert_eq!(metric(&away, "restarts"), Some(2.0));
}

#[test]
fn an_overlapping_run_and_a_crowd_change_nothing() {
    let limits = policy(Some(1), None);
    let mut memory = up();
    let mut other = saw_at(100, &[("x", "web-0")], &["id0", "id1", "id2"]);
    if let Outcome::Answered(answers) = &mut other.outcome {
        answers.iter_mut().for_each(|answer| answer.rtt = None);
    }
    run(&mut memory, &limits, &other);
    assert_eq!(memory.changes, None);
    let mut crowd = up();
    if let Some(epoch) = &mut crowd.epoch {
        epoch.count = 5000;
        epoch.digest = Some(7);
    }
    run(&mut crowd, &limits, &saw_at(100, &[("x", "web-0")], &["id0"]));
    assert_eq!(crowd.changes, None);
    // Nor does the first epoch.
    let first = run(&mut Memory::default(), &limits, &saw(answered(3)));
    assert_eq!(metric(&first, "restarts"), None);
}

#[test]
fn unconfirmed_restart_is_reported_as_presumed() {
    let memory = &mut Memory::default();
    let limits = policy(Some(1), None);
    let steady = ("a", "web-0");
    let mut epoch = |second, id, silent: &[&str]| {
        let mut seen = saw_at(second, &[steady, (id, "web-1")], silent);
        seen.absent.iter_mut().for_each(|(_, fate)| *fate = Fate::NotAnswering);
        seen.silence = Silence::Hidden;
        run(memory, &limits, &seen)
    };
    epoch(0, "b", &[]);
    assert_eq!(epoch(60, "c", &["b"]).status(), Status::Ok);
    let told = epoch(120, "c", &["b"]);
    let text = "WARNING restarts: 1 restart within 10m, warning from 1, latest 60s ago: c (1.2.3, pod=web-1) (presumed: a \
                wildcard subscriber hides whether silent instances are gone)\n";
    assert!(findings(&told).starts_with(text), "{}", findings(&told));
    let details: Vec<&str> = told.details.iter().map(|detail| detail.text.as_str()).collect();
    let detail = "restart presumed 1970-01-01T00:01:00Z: c version 1.2.3 pod=web-1 in place of b";
    assert!(details.contains(&detail), "{details:?}");
    // The next one is confirmed.
    let seen = saw_at(180, &[steady, ("d", "web-1")], &["c"]);
    let told = run(memory, &limits, &seen);
    let text = "(1 of them presumed: a wildcard subscriber hides whether silent instances are gone)\n";
    assert!(findings(&told).contains(text), "{}", findings(&told));
}

#[test]
fn denied_permission_to_count_restarts_is_reported() {
    let denied = Observation {
        denied: "NATS does not let us".into(),
        absent: vec![("id2".into(), Fate::NotAsked)],
        ..saw(answered(2))
    };
    let (verdict, _) = judge("orders", &up(), &denied, &policy(Some(1), None), at(100));
    let told = findings(&verdict);
    assert!(
        told.starts_with("UNKNOWN permission_denied: restarts unknown: NATS does not let us\n"),
        "{told}"
    );
    let (verdict, _) = judge("orders", &up(), &denied, &Policy::default(), at(100));
    assert_eq!(verdict.status(), Status::Ok);
}

#[test]
fn the_metric_has_the_limits_and_is_there_only_with_them() {
    let (verdict, _) = judge("orders", &up(), &saw(answered(3)), &policy(Some(3), Some(10)), at(100));
    let restarts = verdict
        .metrics
        .iter()
        .find(|metric| metric.name == "restarts")
        .expect("a metric");
    let range = |range: Option<Range>| range.map(|range| range.to_string());
    assert_eq!(
        (restarts.value, range(restarts.warning), range(restarts.critical)),
        (Some(0.0), Some("2".into()), Some("9".into()))
    );
    let (verdict, _) = judge("orders", &up(), &saw(answered(3)), &Policy::default(), at(100));
    assert!(verdict.metrics.iter().all(|metric| metric.name != "restarts"));
}

#[test]
fn restarts_are_unknown_only_where_a_missing_instance_may_not_be_asked_for() {
    let unknown = "UNKNOWN permission_denied: restarts unknown: not allowed";
    let cases = [
        ("not allowed", Fate::NotAsked, true),
        ("not allowed", Fate::NotAnswering, false),
        ("", Fate::NotAsked, false),
    ];
    for (denied, fate, expected) in cases {
        let seen = Observation {
            denied: denied.into(),
            absent: vec![("id2".into(), fate)],
            ..saw(answered(2))
        };
        let told = findings(&run(&mut up(), &policy(Some(2), None), &seen));
        assert_eq!(told.contains(unknown), expected, "{told}");
        assert_eq!(told.contains("restarts unknown"), expected, "{told}");
    }
}
