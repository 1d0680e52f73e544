use std::collections::BTreeMap;

use crate::judge::fixture::{answered, at, findings, ms, saw, up};
use crate::judge::{Policy, RateLimits, judge};
use crate::probe::observation::{Failure, Observation, Outcome};
use crate::probe::stats::{Counters, SeenStats, Stats};
use crate::state::memory::Memory;
use crate::values::status::Reason;

/// Endpoints with requests, errors and milliseconds of processing so far.
type Endpoints<'a> = &'a [(&'a str, (u64, u64, u64))];

/// Three instances that answer at this second; the first one has all the requests.
fn seen(second: i64, endpoints: Endpoints<'_>) -> Observation {
    let mut busy = Stats::default();
    for (name, (requests, errors, processing)) in endpoints {
        let counters = Counters {
            requests: *requests,
            errors: *errors,
            processing: processing * 1_000_000,
        };
        busy.add(name, counters);
    }
    let mut instances = BTreeMap::from([("id0".to_owned(), busy)]);
    instances.extend(["id1", "id2"].map(|id| (id.to_owned(), Stats::default())));
    Observation {
        at: at(second),
        stats: Some(SeenStats {
            instances,
            denied: String::new(),
        }),
        ..saw(answered(3))
    }
}

fn limits() -> RateLimits {
    RateLimits {
        wanted: true,
        error_warning: Some(1.0),
        error_critical: Some(10.0),
        latency_warning: Some(ms(50)),
        latency_critical: Some(ms(500)),
        min_requests: 10,
    }
}

/// Judges these epochs, 60 s apart, and returns the findings of the last one.
fn after(limits: &RateLimits, epochs: &[Observation]) -> (String, Memory) {
    let policy = Policy {
        rates: limits.clone(),
        ..Policy::default()
    };
    let mut memory = up();
    let mut told = String::new();
    for seen in epochs {
        let (verdict, next) = judge("orders", &memory, seen, &policy, seen.at);
        told = findings(&verdict);
        memory = next;
    }
    (told, memory)
}

const UP: &str = "OK service_up: 3 instances, slowest answer 1.2ms";

#[test]
fn growth_of_the_counters_between_two_checks_is_judged() {
    // The endpoints at second 100 and 160, and what is found beside that the service is up.
    let cases: &[(Endpoints<'_>, Endpoints<'_>, &str)] = &[
        // All is well, or nobody asks.
        (&[("add", (5, 5, 5))], &[("add", (105, 6, 105))], ""),
        (&[("add", (5, 5, 5))], &[("add", (5, 5, 5))], ""),
        (&[], &[], ""),
        // As slow as is allowed.
        (&[("add", (5, 0, 0))], &[("add", (105, 0, 5000))], ""),
        // Too few to be judged.
        (&[("add", (0, 0, 0))], &[("add", (9, 9, 90_000))], ""),
        (
            &[("add", (0, 0, 0))],
            &[("add", (100, 2, 0))],
            "WARNING error_rate: 2.0% errors of 100 requests in 60s to all endpoints, warning above 1%",
        ),
        (
            &[("add", (0, 0, 0))],
            &[("add", (10, 10, 0))],
            "CRITICAL error_rate: 100.0% errors of 10 requests in 60s to all endpoints, critical above 10% (no last error is reported: \
             the client library may count each success as an error)",
        ),
        // One that fails among others that are busy.
        (
            &[("add", (0, 0, 0)), ("del", (7, 7, 0))],
            &[("add", (10_000, 0, 0)), ("del", (17, 12, 0))],
            "CRITICAL error_rate: 50.0% errors of 10 requests in 60s to endpoint del, critical above 10%",
        ),
        (
            &[("add", (0, 0, 0)), ("del", (0, 0, 0))],
            &[("add", (1000, 0, 1000)), ("del", (10, 0, 5010))],
            "CRITICAL latency: mean processing time 501ms of 10 requests in 60s to endpoint del, critical above 500ms",
        ),
        (
            &[("add", (0, 0, 0))],
            &[("add", (10, 1, 510))],
            "WARNING error_rate: 10.0% errors of 10 requests in 60s to all endpoints, warning above 1%\n\
             WARNING latency: mean processing time 51ms of 10 requests in 60s to all endpoints, warning above 50ms",
        ),
        // Only errors grow: they are counted apart from the requests. Too few of them are not judged.
        (
            &[("add", (5000, 0, 0))],
            &[("add", (5000, 30, 30))],
            "CRITICAL error_rate: 100.0% errors of 30 requests in 60s to all endpoints, critical above 10% (no last error is reported: \
             the client library may count each success as an error)",
        ),
        (&[("add", (5000, 0, 0))], &[("add", (5000, 9, 9000))], ""),
        (
            &[("add", (5000, 0, 0))],
            &[("add", (5004, 6, 510))],
            "CRITICAL error_rate: 60.0% errors of 10 requests in 60s to all endpoints, critical above 10%\n\
             WARNING latency: mean processing time 51ms of 10 requests in 60s to all endpoints, warning above 50ms",
        ),
        // More errors than requests, and counters that went back.
        (
            &[("add", (0, 0, 0))],
            &[("add", (10, 90, 0))],
            "CRITICAL error_rate: 90.0% errors of 100 requests in 60s to all endpoints, critical above 10%",
        ),
        (&[("add", (5000, 4000, 0))], &[("add", (20, 0, 0))], ""),
    ];
    for (before, now, expected) in cases {
        let (told, _) = after(&limits(), &[seen(100, before), seen(160, now)]);
        let expected = match *expected {
            "" => UP.to_owned(),
            found => format!("{found}\n{UP}"),
        };
        assert_eq!(told, expected, "{before:?} {now:?}");
    }
}

#[test]
fn without_limits_nothing_is_judged_and_without_the_flag_nothing_is_remembered() {
    let epochs = [
        seen(100, &[("add", (0, 0, 0))]),
        seen(160, &[("add", (100, 100, 99_999))]),
    ];
    let only = RateLimits {
        wanted: true,
        ..RateLimits::default()
    };
    let (told, memory) = after(&only, &epochs);
    assert_eq!(told, UP);
    assert_eq!(
        memory.statistics.map(|statistics| statistics.all.total.errors),
        Some(100)
    );
    let (told, memory) = after(&RateLimits::default(), &epochs);
    assert_eq!((told.as_str(), memory.statistics), (UP, None));
}

#[test]
fn a_rate_of_few_requests_is_that_of_several_runs_and_stays_for_a_while() {
    let failing = |told: &str| told.contains("error_rate");
    let at = |second: i64, requests: u64| seen(second, &[("add", (requests, requests, 0))]);
    let mut epochs = vec![at(100, 0)];
    // (second, requests so far, whether it is found)
    let steps = [
        (160, 4, false),
        (220, 9, false),
        // Ten at last, in three minutes; the next few do not end it.
        (280, 10, true),
        (290, 10, true),
        (340, 12, true),
        // Nobody asks any more: for 15 minutes what was last known counts.
        (280 + 899, 12, true),
        (280 + 900, 12, false),
    ];
    for (second, requests, found) in steps {
        epochs.push(at(second, requests));
        let (told, _) = after(&limits(), &epochs);
        assert_eq!(failing(&told), found, "{second}: {told}");
    }
    let (told, _) = after(&limits(), &epochs[..6]);
    let text = "CRITICAL error_rate: 100.0% errors of 10 requests in 3m until 60s ago to all endpoints, critical above 10% (no last error \
         is reported: the client library may count each success as an error)";
    assert_eq!(told, format!("{text}\n{UP}"));
}

#[test]
fn missing_statistics_are_never_ok_with_limits() {
    let without = |id: &[&str], denied: &str| {
        let mut seen = seen(160, &[("add", (100, 0, 0))]);
        if let Some(stats) = &mut seen.stats {
            stats.instances.retain(|other, _| !id.contains(&other.as_str()));
            stats.denied = denied.to_owned();
        }
        seen
    };
    let all = ["id0", "id1", "id2"];
    let latency_only = RateLimits {
        error_warning: None,
        error_critical: None,
        ..limits()
    };
    let wanted_only = RateLimits {
        wanted: true,
        ..RateLimits::default()
    };
    let cases = [
        (limits(), without(&["id1"], ""), ""),
        (
            limits(),
            without(&all, ""),
            "UNKNOWN error_rate: no statistics: no instance answers $SRV.STATS",
        ),
        (
            latency_only,
            without(&all, ""),
            "UNKNOWN latency: no statistics: no instance answers $SRV.STATS",
        ),
        (wanted_only.clone(), without(&all, ""), ""),
        (
            wanted_only,
            without(&all, "NATS does not let us"),
            "UNKNOWN permission_denied: no statistics: NATS does not let us",
        ),
    ];
    for (limits, seen, expected) in cases {
        let (told, _) = after(&limits, &[seen]);
        let expected = match expected {
            "" => UP.to_owned(),
            found => format!("{found}\n{UP}"),
        };
        assert_eq!(told, expected);
    }
}

#[test]
fn an_outage_and_a_run_that_cannot_ask_leave_the_counters_as_they_are() {
    let first = [seen(100, &[("add", (0, 0, 0))]), seen(160, &[("add", (100, 0, 0))])];
    let (_, memory) = after(&limits(), &first);
    let gone = Observation {
        at: at(220),
        stats: Some(SeenStats::default()),
        ..saw(Outcome::NoResponders)
    };
    let [a, b] = first;
    let (told, after_outage) = after(&limits(), &[a, b, gone]);
    assert!(
        told.starts_with("CRITICAL service_down") && !told.contains("rate"),
        "{told}"
    );
    assert_eq!(after_outage.statistics, memory.statistics);
}

#[test]
fn errors_that_are_counted_apart_are_requests_too() {
    let apart = |mut seen: Observation| {
        if let Some(stats) = &mut seen.stats {
            stats.instances.get_mut("id0").expect("the busy one").errors_apart = true;
        }
        seen
    };
    let (told, memory) = after(
        &limits(),
        &[
            apart(seen(100, &[("add", (0, 0, 0))])),
            apart(seen(160, &[("add", (90, 90, 0))])),
        ],
    );
    let text = "CRITICAL error_rate: 50.0% errors of 180 requests in 60s to all endpoints, critical above 10% (no last error is reported: \
                the client library may count each success as an error)";
    assert_eq!(told, format!("{text}\n{UP}"));
    let some_fail = [(100, (0, 0, 0)), (160, (90, 60, 0))].map(|(at, counted)| apart(seen(at, &[("add", counted)])));
    let text = "CRITICAL error_rate: 40.0% errors of 150 requests in 60s to all endpoints, critical above 10%";
    assert_eq!(after(&limits(), &some_fail).0, format!("{text}\n{UP}"));
    let total = memory.statistics.expect("they are remembered").all.total;
    assert_eq!((total.requests, total.errors), (180, 90));
}

#[test]
fn latest_error_is_quoted() {
    let mut last = seen(160, &[("add", (100, 50, 0)), ("del", (20, 20, 0))]);
    if let Some(stats) = &mut last.stats {
        let errors = [("add", "404:no such order"), ("del", "500:disk full")];
        let busy = stats.instances.get_mut("id0").expect("the busy one");
        busy.last_errors = errors.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
    }
    let (told, _) = after(&limits(), &[seen(100, &[("add", (0, 0, 0)), ("del", (0, 0, 0))]), last]);
    let text = "CRITICAL error_rate: 100.0% errors of 20 requests in 60s to endpoint del, critical above 10%, last error: \
                500:disk full";
    assert_eq!(told, format!("{text}\n{UP}"));
}

#[test]
fn rates_are_metrics_and_details() {
    let policy = Policy {
        rates: limits(),
        ..Policy::default()
    };
    let (_, memory) = after(&limits(), &[seen(100, &[("add", (0, 0, 0))])]);
    let (verdict, _) = judge(
        "orders",
        &memory,
        &seen(160, &[("add", (1000, 5, 1500))]),
        &policy,
        at(160),
    );
    let metric = |name: &str| {
        verdict
            .metrics
            .iter()
            .find(|metric| metric.name == name)
            .and_then(|m| m.value)
    };
    assert_eq!(metric("error_rate"), Some(0.5));
    assert_eq!(metric("latency"), Some(0.0015));
    assert_eq!((metric("requests"), metric("errors")), (Some(1000.0), Some(5.0)));
    let details: Vec<&str> = verdict.details.iter().map(|detail| detail.text.as_str()).collect();
    let line = "all endpoints: 1000 requests in 60s, 0.5% errors, mean processing time 1.5ms";
    assert!(details.contains(&line), "{details:#?}");
    let (verdict, _) = judge("orders", &up(), &seen(160, &[("add", (1, 0, 0))]), &policy, at(160));
    assert!(
        verdict
            .details
            .iter()
            .any(|detail| detail.text.starts_with("no rates yet"))
    );
}

/// Instances come, go and restart, counters are reset, probes fail in between: the totals never fall, nothing is counted twice,
/// and every number is one.
#[test]
fn in_any_sequence_of_epochs_the_totals_only_grow() {
    struct Instance {
        id: String,
        started: i64,
        counted: (u64, u64, u64),
        was_reset: bool,
        answers: bool,
    }
    let policy = Policy {
        rates: RateLimits {
            min_requests: 3,
            ..limits()
        },
        ..Policy::default()
    };
    let mut seed = 1_u64;
    let mut random = |below: u64| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let (mut judged, mut counted) = (0, 0);
    for _ in 0..60 {
        let clock_jumps = random(4) == 0;
        let (mut memory, mut second, mut born) = (Memory::default(), 1000_i64, 0);
        let mut instances: Vec<Instance> = Vec::new();
        // What all of them have counted since the first epoch.
        let (mut truth, mut before, mut first) = (0, (0, 0, 0), true);
        for _ in 0..60 {
            let passed = 10 + random(100) as i64;
            second += if clock_jumps && random(6) == 0 {
                -passed * 3
            } else {
                passed
            };
            if instances.len() < 5 && random(3) == 0 {
                born += 1;
                instances.push(Instance {
                    id: format!("id{born}"),
                    started: second - 5,
                    counted: (0, 0, 0),
                    was_reset: false,
                    answers: true,
                });
            }
            if !instances.is_empty() && random(8) == 0 {
                instances.remove(random(instances.len() as u64) as usize);
            }
            for instance in &mut instances {
                instance.answers = random(5) > 0;
                // Some libraries can reset their counters.
                if random(20) == 0 {
                    instance.counted = (0, 0, 0);
                    instance.was_reset = true;
                }
                let requests = random(8);
                instance.counted.0 += requests;
                instance.counted.1 += random(requests + 1);
                instance.counted.2 += requests * random(1_000_000_000);
                // After a reset that is not seen, errors can seem to grow more than requests.
                let at_most = if instance.was_reset { 2 * requests } else { requests };
                truth += if first { 0 } else { at_most };
            }
            let outcome = match random(6) {
                0 => Outcome::Failed(Failure::new(Reason::NatsUnreachable, "away")),
                1 => Outcome::NoResponders,
                _ => answered(3),
            };
            let told = instances.iter().filter(|instance| instance.answers).map(|instance| {
                let (requests, errors, processing) = instance.counted;
                let mut stats = Stats {
                    started: Some(at(instance.started)),
                    ..Stats::default()
                };
                stats.add(
                    "add",
                    Counters {
                        requests,
                        errors,
                        processing,
                    },
                );
                (instance.id.clone(), stats)
            });
            let epoch = Observation {
                at: at(second),
                stats: Some(SeenStats {
                    instances: told.collect(),
                    denied: String::new(),
                }),
                ..saw(outcome)
            };
            first &= !matches!(epoch.outcome, Outcome::Answered(_));
            let (verdict, next) = judge("orders", &memory, &epoch, &policy, at(second));
            for metric in &verdict.metrics {
                let value = metric.value.unwrap_or_default();
                assert!(value.is_finite() && value >= 0.0, "{metric:?}");
                assert!(metric.name != "error_rate" || value <= 100.0, "{metric:?}");
            }
            if let Some(statistics) = &next.statistics {
                let Counters {
                    requests,
                    errors,
                    processing,
                } = statistics.all.total;
                assert!(requests >= before.0 && errors >= before.1 && processing >= before.2);
                assert!(clock_jumps || requests <= truth, "{requests} of {truth}");
                before = (requests, errors, processing);
                counted += usize::from(requests > 0);
            }
            judged += usize::from(verdict.findings().iter().any(|found| found.reason == Reason::ErrorRate));
            memory = next;
        }
    }
    assert!(judged > 1000 && counted > 1000, "{judged} {counted}");
}
