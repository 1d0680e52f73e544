use std::time::Duration;

use super::advance::MAX_MISSED;
use super::details::{LISTED, MAX_NAMED};
use super::fixture::*;
use super::verdict::{Detail, Verdict};
use super::{Loss, LossLimits, Policy, RULES, RateLimits, RequestLimits, RestartLimits, judge, judge_by};
use crate::connect::credentials::Expiry;
use crate::probe::observation::{Failure, Fate, Ignored, InstanceReply, Observation, Outcome, Server};
use crate::probe::stats::SeenStats;
use crate::state::baseline::{Baseline, Peak};
use crate::state::fixture::{changes, statistics};
use crate::state::memory::{Epoch, EpochSummary, MAX_HISTORY, Memory, Outage, Unreachable};
use crate::values::status::{Reason, Status};
use crate::values::version::Requirement;

#[test]
fn missing_instances_are_named() {
    // Two of four answered a while ago, the others are missed since.
    let fewer = |fates: &[(usize, i64, Fate)]| Memory {
        epoch: Some(epoch(90, 2)),
        absentees: fates
            .iter()
            .map(|(n, since, fate)| absentee(*n, *since, *fate))
            .collect(),
        ..up()
    };
    let new_ones = |ids: &[usize]| {
        let answers = ids.iter().map(|n| InstanceReply {
            instance: instances(n + 1).remove(*n),
            rtt: Some(Duration::from_micros(1200)),
        });
        saw(Outcome::Answered(answers.collect()))
    };
    let case = |memory: Memory, seen: Observation, findings, next| Row {
        seen,
        ..row(memory, Outcome::NoResponders, findings, next)
    };
    let denied = Observation {
        denied: "NATS does not let us".into(),
        ..absent_ones(2, &[(2, Fate::NotAsked)])
    };
    check(vec![
        case(
            up(),
            absent_ones(1, &[(1, Fate::Gone), (2, Fate::NotAnswering)]),
            "OK service_up: 1 instance, slowest answer 1.2ms, not answering: id2 (1.2.3, pod=web-2), gone: id1 (1.2.3, \
             pod=web-1)",
            "#8 OK, epoch 1@100, census 40, id1 gone since 100, id2 not answering since 100, history 3@40 1@100",
        ),
        case(
            up(),
            absent_ones(3, &[(2, Fate::Slow)]),
            "OK service_up: 3 instances, slowest answer 1.2ms, slow: id2 (1.2.3, pod=web-2)",
            "#8 OK, epoch 3@100, census 40, history 3@40 3@100",
        ),
        case(
            up(),
            denied,
            "OK service_up: 2 instances, slowest answer 1.2ms, missing: id2 (1.2.3, pod=web-2), NATS does not let us",
            "#8 OK, epoch 2@100, census 40, id2 missing since 100, history 3@40 2@100",
        ),
        // Still missed, with the time of before; one that was frozen is gone now.
        case(
            fewer(&[(3, 80, Fate::NotAnswering), (2, 70, Fate::Gone)]),
            absent_ones(2, &[(3, Fate::Gone)]),
            "OK service_up: 2 instances, slowest answer 1.2ms, gone: id3 (1.2.3, pod=web-3), id2 (1.2.3, pod=web-2)",
            "#8 OK, epoch 2@100, census 40, id3 gone since 80, id2 gone since 70, history 3@40 2@100",
        ),
        // One came back.
        case(
            fewer(&[(3, 80, Fate::Gone), (2, 70, Fate::NotAnswering)]),
            absent_ones(3, &[]),
            "OK service_up: 3 instances, slowest answer 1.2ms, gone: id3 (1.2.3, pod=web-3)",
            "#8 OK, epoch 3@100, census 40, id3 gone since 80, history 3@40 3@100",
        ),
        // Others have taken their places: of two missed, and then of all.
        case(
            fewer(&[(3, 80, Fate::Gone), (2, 70, Fate::Gone)]),
            new_ones(&[0, 1, 7]),
            "OK service_up: 3 instances, slowest answer 1.2ms, gone: id3 (1.2.3, pod=web-3)",
            "#8 OK, epoch 3@100, census 40, id3 gone since 80, history 3@40 3@100",
        ),
        case(
            fewer(&[(3, 80, Fate::Gone), (2, 70, Fate::Gone)]),
            new_ones(&[5, 6, 7, 8]),
            "OK service_up: 4 instances, slowest answer 1.2ms",
            "#8 OK, epoch 4@100, census 40, history 3@40 4@100",
        ),
        // After a while the smaller number is the usual one, and no more are missed than are missing of it.
        case(
            Memory {
                baseline: Some(Baseline {
                    peaks: vec![Peak {
                        count: 4,
                        until: at(100 - 900),
                    }],
                    ..Baseline::new(3)
                }),
                ..fewer(&[(3, 100 - 899, Fate::Gone), (2, 100 - 900, Fate::NotAnswering)])
            },
            absent_ones(2, &[(2, Fate::NotAnswering)]),
            "OK service_up: 2 instances, slowest answer 1.2ms, gone: id3 (1.2.3, pod=web-3)",
            "#8 OK, epoch 2@100, census 40, id3 gone since 0, history 3@40 2@100",
        ),
        // A rolling deployment is over: nobody is missed.
        case(
            Memory {
                baseline: Some(Baseline::new(2)),
                ..fewer(&[(3, 80, Fate::Gone)])
            },
            absent_ones(2, &[(3, Fate::Gone)]),
            "OK service_up: 2 instances, slowest answer 1.2ms",
            "#8 OK, epoch 2@100, census 40, history 3@40 2@100",
        ),
        // After an outage, those of before it are missed, as far as they are known to be missing.
        case(
            Memory {
                baseline: Some(Baseline::new(3)),
                ..down()
            },
            absent_ones(1, &[(1, Fate::Gone), (2, Fate::NotAnswering)]),
            "OK service_recovered: 1 instance (had 3), recovered after 60s, not answering: id2 (1.2.3, pod=web-2), gone: \
             id1 (1.2.3, pod=web-1)",
            "#9 OK, epoch 1@100, census 60, id1 gone since 100, id2 not answering since 100, history 3@40 0@60 1@100",
        ),
        // All down: the outage knows who was there.
        case(
            fewer(&[(3, 80, Fate::Gone)]),
            saw(Outcome::NoResponders),
            "CRITICAL service_down: down, no responders, 2 instances until 10s ago, NATS 2.10.25 n1 at h:4222 is fine \
             (0.34ms), \
             last seen: id0 (1.2.3, pod=web-0), id1 (1.2.3, pod=web-1)",
            "#8 CRITICAL, epoch 0@100, outage 2@90 since 100, census 100, history 3@40 0@100",
        ),
    ]);
}

#[test]
fn many_missing_are_counted() {
    let many = Memory {
        epoch: Some(epoch(40, 100)),
        ..up()
    };
    let fates: Vec<(usize, Fate)> = (1..65).map(|n| (n, Fate::Gone)).collect();
    let (verdict, next) = judge("orders", &many, &absent_ones(1, &fates), &Policy::default(), at(100));
    assert_eq!(
        findings(&verdict),
        "OK service_up: 1 instance, slowest answer 1.2ms, gone: id1 (1.2.3, pod=web-1), id2 (1.2.3, pod=web-2), id3 \
         (1.2.3, pod=web-3) and 61 more"
    );
    assert_eq!(next.absentees.len(), MAX_MISSED);
}

#[test]
fn other_services_are_suggested() {
    let others = |names: &[&str]| Some(names.iter().map(|name| (name.to_string(), 1)).collect::<Vec<_>>());
    let look = |others, denied: &str| Observation {
        others,
        denied: denied.into(),
        ..saw(Outcome::NoResponders)
    };
    let cases = [
        (look(None, ""), "check the name, the account and --srv-prefix"),
        (
            look(others(&[]), ""),
            "no service at all answers here: is this the right account, and --srv-prefix?",
        ),
        (
            look(others(&[]), "NATS forbids it"),
            "and other services cannot be listed: NATS forbids it",
        ),
        (
            look(others(&["billing", "order", "orders-v2"]), ""),
            "did you mean order or orders-v2?",
        ),
        (look(others(&["billing", "users"]), ""), "here are: billing, users"),
        (
            look(others(&["a", "b", "c", "d", "e", "f", "g"]), ""),
            "here are: a, b, c, d, e and 2 more",
        ),
    ];
    for (seen, words) in cases {
        let (verdict, _) = judge("orders", &Memory::default(), &seen, &Policy::default(), at(100));
        let text = format!("UNKNOWN service_never_seen: never seen in this account, no responders, {words}");
        assert_eq!(findings(&verdict), text);
    }
}

#[test]
fn hints_for_imports() {
    let imported = Policy {
        imported: Some("APP.$SRV".into()),
        ..Policy::default()
    };
    let told = |seen: &Observation, policy| findings(&judge("orders", &up(), seen, policy, at(100)).0);

    let hint = ", only one answers through the import: does its export say response_type: stream?";
    for (answered, fates, hinted) in [
        (1, &[][..], true),
        (1, &[(1, Fate::NotAsked), (2, Fate::NotAsked)], true),
        (1, &[(1, Fate::Gone), (2, Fate::NotAnswering)], true),
        (3, &[(1, Fate::Slow), (2, Fate::Slow)], true),
        (2, &[(1, Fate::Slow), (2, Fate::Gone)], true),
        (2, &[(2, Fate::NotAnswering)], false),
        (3, &[(2, Fate::Slow)], false),
        (3, &[], false),
    ] {
        let told = told(&absent_ones(answered, fates), &imported);
        assert_eq!(told.ends_with(hint), hinted, "{told}");
        assert!(!(hinted && told.contains("slow: ")), "{told}");
    }
    let usual = Policy::default();
    assert!(!told(&absent_ones(1, &[]), &usual).contains("import"));
    // The only one was replaced by another.
    let lone = Memory {
        epoch: Some(Epoch {
            instances: vec![instances(8).remove(7)],
            ..epoch(40, 1)
        }),
        ..up()
    };
    let mut replaced = absent_ones(1, &[(7, Fate::Gone)]);
    for fate in [Fate::Gone, Fate::NotAnswering] {
        replaced.absent[0].1 = fate;
        let (verdict, _) = judge("orders", &lone, &replaced, &imported, at(100));
        assert_eq!(findings(&verdict), "OK service_up: 1 instance, slowest answer 1.2ms");
    }

    let hint = "(hung, or nobody is there: through an import, a server before 2.10.26 does not say so)";
    let silent = |version: &str| {
        let mut seen = saw(Outcome::Silent(ms(5000)));
        if let Some(server) = &mut seen.server {
            server.version = version.into();
        }
        seen
    };
    // A server that sent no message has not told its version.
    for (version, hinted) in [
        ("2.9.10", true),
        ("2.10.25", true),
        ("2.10.26", false),
        ("2.10.26-RC.1", true),
        ("2.10", true),
        ("", true),
        ("2.11.0", false),
        ("3.0.0", false),
    ] {
        let told = told(&silent(version), &imported);
        assert_eq!(told.contains(hint), hinted, "{version}: {told}");
    }
    assert!(!told(&silent("2.10.25"), &usual).contains(hint));
}

#[test]
fn up_and_recovered() {
    let lone = Memory {
        outage: Some(Outage {
            last_seen: epoch(40, 1),
            first_missed: at(60),
        }),
        ..down()
    };
    check(vec![
        row(
            Memory::default(),
            answered(3),
            "OK service_up: 3 instances, slowest answer 1.2ms",
            "#1 OK, epoch 3@100, history 3@100",
        ),
        row(
            up(),
            answered(1),
            "OK service_up: 1 instance, slowest answer 1.2ms, missing: id1 (1.2.3, pod=web-1), id2 (1.2.3, pod=web-2)",
            "#8 OK, epoch 1@100, census 40, id1 missing since 100, id2 missing since 100, history 3@40 1@100",
        ),
        Row {
            seen: Observation {
                census: true,
                ..saw(answered(3))
            },
            ..row(
                in_trouble(up()),
                answered(3),
                "OK service_up: 3 instances, slowest answer 1.2ms",
                "#8 OK, epoch 3@100, census 100, history 3@40 3@100",
            )
        },
        row(
            absent(),
            answered(2),
            "OK service_up: 2 instances, slowest answer 1.2ms",
            "#2 OK, epoch 2@100, census 40, history 0@40 2@100",
        ),
        row(
            down(),
            answered(3),
            "OK service_recovered: 3 instances, recovered after 60s",
            "#9 OK, epoch 3@100, census 60, history 3@40 0@60 3@100",
        ),
        row(
            in_trouble(down()),
            answered(1),
            "OK service_recovered: 1 instance (had 3), recovered after 60s",
            "#9 OK, epoch 1@100, census 60, history 3@40 0@60 1@100",
        ),
        row(
            lone,
            answered(2),
            "OK service_recovered: 2 instances (had 1), recovered after 60s",
            "#9 OK, epoch 2@100, census 60, history 3@40 0@60 2@100",
        ),
    ]);
}

#[test]
fn texts_of_a_new_and_of_an_open_outage() {
    check(vec![
        row(
            up(),
            Outcome::NoResponders,
            "CRITICAL service_down: down, no responders, 3 instances until 60s ago, \
             NATS 2.10.25 n1 at h:4222 is fine (0.34ms), \
             last seen: id0 (1.2.3, pod=web-0), id1 (1.2.3, pod=web-1), id2 (1.2.3, pod=web-2)",
            "#8 CRITICAL, epoch 0@100, outage 3@40 since 100, census 100, history 3@40 0@100",
        ),
        Row {
            seen: Observation {
                server: None,
                ..saw(Outcome::NoResponders)
            },
            ..row(
                in_trouble(up()),
                Outcome::NoResponders,
                "CRITICAL service_down: down, no responders, 3 instances until 60s ago, \
             last seen: id0 (1.2.3, pod=web-0), id1 (1.2.3, pod=web-1), id2 (1.2.3, pod=web-2)",
                "#8 CRITICAL, epoch 0@100, outage 3@40 since 100, census 100, history 3@40 0@100",
            )
        },
        Row {
            seen: Observation {
                server: Some(Server {
                    address: "h:4222".into(),
                    ..Server::default()
                }),
                ..saw(Outcome::NoResponders)
            },
            ..row(
                down(),
                Outcome::NoResponders,
                "CRITICAL service_down: still down for 60s, no responders, had 3 instances, NATS at h:4222 is fine, \
             last seen: id0 (1.2.3, pod=web-0), id1 (1.2.3, pod=web-1), id2 (1.2.3, pod=web-2)",
                "#9 CRITICAL, epoch 0@100, outage 3@40 since 60, census 100, history 3@40 0@60 0@100",
            )
        },
        row(
            in_trouble(down()),
            Outcome::NoResponders,
            "CRITICAL service_down: still down for 60s, no responders, had 3 instances, \
             NATS 2.10.25 n1 at h:4222 is fine (0.34ms), \
             last seen: id0 (1.2.3, pod=web-0), id1 (1.2.3, pod=web-1), id2 (1.2.3, pod=web-2)",
            "#9 CRITICAL, epoch 0@100, outage 3@40 since 60, census 100, history 3@40 0@60 0@100",
        ),
    ]);
}

#[test]
fn silence_is_an_outage_unless_its_status_is_below_critical() {
    let how = "no answer within 5.0s though somebody is subscribed \
               (hung, not allowed to publish to our inbox, behind a link or server that hangs, or a wildcard subscriber hides that nobody is there)";
    let mild = |silent| Policy {
        silent,
        ..Policy::default()
    };
    check(vec![
        row(
            up(),
            SILENT,
            "CRITICAL service_silent: silent, no answer within 5.0s though somebody is subscribed \
             (hung, not allowed to publish to our inbox, behind a link or server that hangs, or a wildcard subscriber hides that nobody is there), 3 instances until 60s ago, \
             NATS 2.10.25 n1 at h:4222 is fine (0.34ms), \
             last seen: id0 (1.2.3, pod=web-0), id1 (1.2.3, pod=web-1), id2 (1.2.3, pod=web-2)",
            "#8 CRITICAL, epoch 0@100, outage 3@40 since 100, census 100, history 3@40 0@100",
        ),
        row(
            down(),
            SILENT,
            "CRITICAL service_silent: still down for 60s, no answer within 5.0s though somebody is subscribed \
             (hung, not allowed to publish to our inbox, behind a link or server that hangs, or a wildcard subscriber hides that nobody is there), had 3 instances, \
             NATS 2.10.25 n1 at h:4222 is fine (0.34ms), \
             last seen: id0 (1.2.3, pod=web-0), id1 (1.2.3, pod=web-1), id2 (1.2.3, pod=web-2)",
            "#9 CRITICAL, epoch 0@100, outage 3@40 since 60, census 100, history 3@40 0@60 0@100",
        ),
        row(
            Memory::default(),
            SILENT,
            "UNKNOWN service_never_seen: never seen in this account, no answer within 5.0s though somebody is subscribed \
             (hung, not allowed to publish to our inbox, behind a link or server that hangs, or a wildcard subscriber hides that nobody is there), check the name, the account and --srv-prefix",
            "#1 UNKNOWN, epoch 0@100, census 100, history 0@100",
        ),
        // Below CRITICAL it is no epoch: the next silent run must compare with the instances too.
        Row {
            policy: mild(Status::Warning),
            ..row(
                in_trouble(up()),
                SILENT,
                "WARNING service_silent: no answer within 5.0s though somebody is subscribed \
                 (hung, not allowed to publish to our inbox, behind a link or server that hangs, or a wildcard subscriber hides that nobody is there), 3 instances until 60s ago, \
             last seen: id0 (1.2.3, pod=web-0), id1 (1.2.3, pod=web-1), id2 (1.2.3, pod=web-2)",
                "#8 WARNING, epoch 3@40, census 40, history 3@40",
            )
        },
        Row {
            policy: mild(Status::Ok),
            ..row(
                down(),
                SILENT,
                "CRITICAL service_down: still down for 60s, no answer within 5.0s though somebody is subscribed \
                 (hung, not allowed to publish to our inbox, behind a link or server that hangs, or a wildcard subscriber hides that nobody is there), had 3 instances, \
             last seen: id0 (1.2.3, pod=web-0), id1 (1.2.3, pod=web-1), id2 (1.2.3, pod=web-2)",
                "#8 CRITICAL, epoch 0@60, outage 3@40 since 60, census 60, history 3@40 0@60",
            )
        },
        Row {
            policy: mild(Status::Ok),
            ..row(
                Memory::default(),
                SILENT,
                "UNKNOWN service_never_seen: never seen in this account, no answer within 5.0s though somebody is subscribed \
                 (hung, not allowed to publish to our inbox, behind a link or server that hangs, or a wildcard subscriber hides that nobody is there), check the name, the account and --srv-prefix",
                "#1 UNKNOWN, history ",
            )
        },
        // Nobody answered, and that is what -c is about, whatever silence alone is worth.
        Row {
            policy: Policy {
                critical: range("1:"),
                ..mild(Status::Ok)
            },
            ..row(
                up(),
                SILENT,
                "CRITICAL instances_out_of_range: 0 instances, fewer than 1 (range 1:)\n\
                 OK service_silent: no answer within 5.0s though somebody is subscribed \
                 (hung, not allowed to publish to our inbox, behind a link or server that hangs, or a wildcard subscriber hides that nobody is there), 3 instances until 60s ago, \
             last seen: id0 (1.2.3, pod=web-0), id1 (1.2.3, pod=web-1), id2 (1.2.3, pod=web-2)",
                "#8 CRITICAL, epoch 3@40, census 40, history 3@40",
            )
        },
    ]);
    let mut seen = saw(SILENT);
    for (ignored, cause) in [
        ((0, 0, 0), how),
        (
            (1, 1, 1),
            "a JetStream stream captures the request, so nobody may be there",
        ),
        ((1, 0, 1), "another service replies in its place"),
        ((0, 0, 1), "what came is no reply to a PING"),
    ] {
        let (foreign, acks, broken) = ignored;
        seen.ignored = Ignored {
            foreign,
            acks,
            broken,
            ..Ignored::default()
        };
        let (verdict, _) = judge("orders", &up(), &seen, &Policy::default(), at(100));
        assert!(findings(&verdict).contains(cause), "{}", findings(&verdict));
    }
}

#[test]
fn never_seen_and_forgotten() {
    let mild = Policy {
        never_seen: Status::Ok,
        ..Policy::default()
    };
    let forget = |seconds| Policy {
        forget_after: Some(Duration::from_secs(seconds)),
        ..Policy::default()
    };
    let forgotten = "UNKNOWN service_never_seen: no instance for longer than 39s (--forget-after): forgotten, \
                     had 3 instances";
    check(vec![
        row(
            Memory::default(),
            Outcome::NoResponders,
            "UNKNOWN service_never_seen: never seen in this account, no responders, check the name, the account and --srv-prefix",
            "#1 UNKNOWN, epoch 0@100, census 100, history 0@100",
        ),
        row(
            absent(),
            Outcome::NoResponders,
            "UNKNOWN service_never_seen: never seen in this account, no responders, check the name, the account and --srv-prefix",
            "#2 UNKNOWN, epoch 0@100, census 100, history 0@40 0@100",
        ),
        Row {
            policy: Policy {
                remembers: false,
                ..Policy::default()
            },
            ..row(
                Memory::default(),
                Outcome::NoResponders,
                "UNKNOWN service_never_seen: no responders, and without a state it is not known whether it was ever there (--no-state), check the name, the account and --srv-prefix",
                "#1 UNKNOWN, epoch 0@100, census 100, history 0@100",
            )
        },
        Row {
            policy: mild.clone(),
            ..row(
                Memory::default(),
                Outcome::NoResponders,
                "OK service_never_seen: never seen in this account, no responders, check the name, the account and --srv-prefix",
                "#1 OK, epoch 0@100, census 100, history 0@100",
            )
        },
        // It is down since second 60, for 40 seconds: that long is not longer.
        Row {
            policy: forget(40),
            ..row(
                down(),
                Outcome::NoResponders,
                "CRITICAL service_down: still down for 60s, no responders, had 3 instances, \
                 NATS 2.10.25 n1 at h:4222 is fine (0.34ms), \
             last seen: id0 (1.2.3, pod=web-0), id1 (1.2.3, pod=web-1), id2 (1.2.3, pod=web-2)",
                "#9 CRITICAL, epoch 0@100, outage 3@40 since 60, census 100, history 3@40 0@60 0@100",
            )
        },
        Row {
            policy: forget(39),
            ..row(
                down(),
                Outcome::NoResponders,
                forgotten,
                "#9 UNKNOWN, epoch 0@100, census 100, history 3@40 0@60 0@100",
            )
        },
        Row {
            policy: forget(39),
            ..row(
                down(),
                SILENT,
                forgotten,
                "#9 UNKNOWN, epoch 0@100, census 100, history 3@40 0@60 0@100",
            )
        },
        Row {
            policy: Policy {
                warning: range("1:"),
                never_seen: Status::Ok,
                ..forget(39)
            },
            ..row(
                down(),
                Outcome::NoResponders,
                "WARNING instances_out_of_range: 0 instances, fewer than 1 (range 1:)\n\
                 OK service_never_seen: no instance for longer than 39s (--forget-after): forgotten, had 3 instances",
                "#9 WARNING, epoch 0@100, census 100, history 3@40 0@60 0@100",
            )
        },
        // Nothing is forgotten by a run that could not look.
        Row {
            policy: forget(39),
            ..row(
                down(),
                failed(Reason::NatsUnreachable),
                "CRITICAL service_down: still down for 60s, last answer from NATS 40s ago, had 3 instances, \
             last seen: id0 (1.2.3, pod=web-0), id1 (1.2.3, pod=web-1), id2 (1.2.3, pod=web-2)\n\
                 UNKNOWN nats_unreachable: it is nats_unreachable",
                "#9 CRITICAL, epoch 0@60, outage 3@40 since 60, nats_unreachable since 100, census 60, \
                 history 3@40 0@60",
            )
        },
    ]);
}

#[test]
fn the_number_of_instances_against_ranges() {
    let out = |warning: Option<&str>, critical: Option<&str>, number, findings, next| Row {
        policy: Policy {
            warning: warning.and_then(range),
            critical: critical.and_then(range),
            never_seen: Status::Ok,
            ..Policy::default()
        },
        ..row(Memory::default(), answered(number), findings, next)
    };
    check(vec![
        out(
            Some("3:"),
            Some("1:"),
            3,
            "OK service_up: 3 instances, slowest answer 1.2ms",
            "#1 OK, epoch 3@100, history 3@100",
        ),
        out(
            Some("3:"),
            Some("1:"),
            2,
            "WARNING instances_out_of_range: 2 instances, fewer than 3 (range 3:)\n\
             OK service_up: 2 instances, slowest answer 1.2ms",
            "#1 WARNING, epoch 2@100, history 2@100",
        ),
        out(
            Some("3:"),
            Some("2:"),
            1,
            "CRITICAL instances_out_of_range: 1 instance, fewer than 2 (range 2:)\n\
             OK service_up: 1 instance, slowest answer 1.2ms",
            "#1 CRITICAL, epoch 1@100, history 1@100",
        ),
        out(
            Some("2"),
            Some("4"),
            3,
            "WARNING instances_out_of_range: 3 instances, more than 2 (range 2), for fewer than 2 write 2:\n\
             OK service_up: 3 instances, slowest answer 1.2ms",
            "#1 WARNING, epoch 3@100, history 3@100",
        ),
        out(
            None,
            Some("@5:"),
            5,
            "CRITICAL instances_out_of_range: 5 instances, at least 5 (range @5:)\n\
             OK service_up: 5 instances, slowest answer 1.2ms",
            "#1 CRITICAL, epoch 5@100, history 5@100",
        ),
        // A plain threshold works without any memory of the service.
        Row {
            seen: saw(Outcome::NoResponders),
            ..out(
                Some("3:"),
                Some("1:"),
                0,
                "CRITICAL instances_out_of_range: 0 instances, fewer than 1 (range 1:)\n\
                 OK service_never_seen: never seen in this account, no responders, check the name, the account and --srv-prefix",
                "#1 CRITICAL, epoch 0@100, census 100, history 0@100",
            )
        },
        // Not asked is not none.
        Row {
            seen: saw(failed(Reason::PermissionDenied)),
            ..out(
                Some("3:"),
                Some("1:"),
                0,
                "UNKNOWN permission_denied: it is permission_denied",
                "#1 UNKNOWN, permission_denied since 100, history ",
            )
        },
        // A recovery is one only when enough came back.
        Row {
            memory: down(),
            ..out(
                Some("3:"),
                None,
                1,
                "WARNING instances_out_of_range: 1 instance, fewer than 3 (range 3:)\n\
                 OK service_recovered: 1 instance (had 3), recovered after 60s",
                "#9 WARNING, epoch 1@100, census 60, history 3@40 0@60 1@100",
            )
        },
    ]);
}

#[test]
fn the_slowest_answer_against_limits() {
    let slow = |warning: Option<u64>, critical: Option<u64>, findings, next| Row {
        policy: Policy {
            rtt_warning: warning.map(Duration::from_micros),
            rtt_critical: critical.map(Duration::from_micros),
            ..Policy::default()
        },
        ..row(Memory::default(), answered(1), findings, next)
    };
    check(vec![
        slow(
            Some(1200),
            Some(5000),
            "OK service_up: 1 instance, slowest answer 1.2ms",
            "#1 OK, epoch 1@100, history 1@100",
        ),
        slow(
            Some(1199),
            Some(1200),
            "WARNING slow: slow: an answer took 1.2ms, warning above 1.2ms\n\
             OK service_up: 1 instance, slowest answer 1.2ms",
            "#1 WARNING, epoch 1@100, history 1@100",
        ),
        slow(
            Some(100),
            Some(1199),
            "CRITICAL slow: slow: an answer took 1.2ms, critical above 1.2ms\n\
             OK service_up: 1 instance, slowest answer 1.2ms",
            "#1 CRITICAL, epoch 1@100, history 1@100",
        ),
        slow(
            None,
            Some(0),
            "CRITICAL slow: slow: an answer took 1.2ms, critical above 0.00ms\n\
             OK service_up: 1 instance, slowest answer 1.2ms",
            "#1 CRITICAL, epoch 1@100, history 1@100",
        ),
    ]);
}

/// The reasons for which a probe could not ask.
const FAILURES: [Reason; 6] = [
    Reason::NatsUnreachable,
    Reason::AuthRejected,
    Reason::TlsFailed,
    Reason::PermissionDenied,
    Reason::ProtocolError,
    Reason::Interrupted,
];

#[test]
fn failures_have_their_status_and_outages_stay_open() {
    for reason in FAILURES {
        for unreachable in Status::ALL {
            let policy = Policy {
                unreachable,
                ..Policy::default()
            };
            let is_out_of_reach = matches!(
                reason,
                Reason::NatsUnreachable | Reason::AuthRejected | Reason::TlsFailed
            );
            let status = if is_out_of_reach { unreachable } else { Status::Unknown };
            let said = format!("{} {}: it is {}", status.name(), reason.name(), reason.name());
            let (verdict, next) = judge("orders", &up(), &saw(failed(reason)), &policy, at(100));
            assert_eq!(findings(&verdict), said);
            let remembered = match reason {
                Reason::Interrupted => "#7 OK, epoch 3@40, census 40, history 3@40".to_owned(),
                _ => format!(
                    "#8 {}, epoch 3@40, {} since 100, census 40, history 3@40",
                    status.name(),
                    reason.name()
                ),
            };
            assert_eq!(told(&next), remembered);

            // Said 20 s after it was seen: the ages are those of the moment in which it is said.
            let (verdict, next) = judge("orders", &down(), &saw(failed(reason)), &policy, at(120));
            let latch = "CRITICAL service_down: still down for 80s, last answer from NATS 60s ago, had 3 instances, \
             last seen: id0 (1.2.3, pod=web-0), id1 (1.2.3, pod=web-1), id2 (1.2.3, pod=web-2)";
            assert_eq!(findings(&verdict), format!("{latch}\n{said}"));
            assert_eq!((&next.epoch, &next.outage), (&down().epoch, &down().outage));
            assert_eq!(next.status, Some(Status::Critical));
        }
    }
}

#[test]
fn failures_are_reported_with_their_duration() {
    check(vec![
        row(
            in_trouble(up()),
            failed(Reason::AuthRejected),
            "UNKNOWN auth_rejected: it is auth_rejected (failing for 30s)",
            "#7 UNKNOWN, epoch 3@40, nats_unreachable since 70, census 40, history 3@40",
        ),
        row(
            in_trouble(down()),
            failed(Reason::ProtocolError),
            "CRITICAL service_down: still down for 60s, last answer from NATS 40s ago, had 3 instances, \
             last seen: id0 (1.2.3, pod=web-0), id1 (1.2.3, pod=web-1), id2 (1.2.3, pod=web-2)\n\
             UNKNOWN protocol_error: it is protocol_error (failing for 30s)",
            "#9 CRITICAL, epoch 0@60, outage 3@40 since 60, nats_unreachable since 70, census 60, history 3@40 0@60",
        ),
        row(
            in_trouble(up()),
            failed(Reason::Interrupted),
            "UNKNOWN interrupted: it is interrupted",
            "#7 UNKNOWN, epoch 3@40, nats_unreachable since 70, census 40, history 3@40",
        ),
    ]);
}

/// A damaged or edited memory must not lose an outage either.
#[test]
fn outage_without_a_last_check_stays_open() {
    let memory = Memory { epoch: None, ..down() };
    check(vec![
        row(
            memory.clone(),
            failed(Reason::NatsUnreachable),
            "CRITICAL service_down: still down for 60s, last answer from NATS 40s ago, had 3 instances, \
             last seen: id0 (1.2.3, pod=web-0), id1 (1.2.3, pod=web-1), id2 (1.2.3, pod=web-2)\n\
             UNKNOWN nats_unreachable: it is nats_unreachable",
            "#9 CRITICAL, outage 3@40 since 60, nats_unreachable since 100, census 60, history 3@40 0@60",
        ),
        row(
            memory,
            Outcome::NoResponders,
            "CRITICAL service_down: still down for 60s, no responders, had 3 instances, \
             NATS 2.10.25 n1 at h:4222 is fine (0.34ms), \
             last seen: id0 (1.2.3, pod=web-0), id1 (1.2.3, pod=web-1), id2 (1.2.3, pod=web-2)",
            "#9 CRITICAL, epoch 0@100, outage 3@40 since 60, census 100, history 3@40 0@60 0@100",
        ),
    ]);
}

#[test]
fn a_clock_that_went_back_neither_panics_nor_forgets() {
    let seen = |outcome| Observation {
        at: at(10),
        ..saw(outcome)
    };
    let judged = |memory: &Memory, outcome| {
        let (verdict, next) = judge("orders", memory, &seen(outcome), &Policy::default(), at(10));
        format!("{}\n{}", findings(&verdict), told(&next))
    };
    assert_eq!(
        judged(&up(), Outcome::NoResponders),
        "CRITICAL service_down: down, no responders, 3 instances until 0.0s ago, \
         NATS 2.10.25 n1 at h:4222 is fine (0.34ms), \
             last seen: id0 (1.2.3, pod=web-0), id1 (1.2.3, pod=web-1), id2 (1.2.3, pod=web-2)\n\
         #8 CRITICAL, epoch 0@10, outage 3@40 since 10, census 10, history 3@40 0@10"
    );
    assert_eq!(
        judged(&down(), Outcome::NoResponders),
        "CRITICAL service_down: still down for 0.0s, no responders, had 3 instances, \
         NATS 2.10.25 n1 at h:4222 is fine (0.34ms), \
             last seen: id0 (1.2.3, pod=web-0), id1 (1.2.3, pod=web-1), id2 (1.2.3, pod=web-2)\n\
         #9 CRITICAL, epoch 0@10, outage 3@40 since 60, census 10, history 3@40 0@60 0@10"
    );
    assert_eq!(
        judged(&in_trouble(down()), failed(Reason::TlsFailed)),
        "CRITICAL service_down: still down for 0.0s, last answer from NATS 0.0s ago, had 3 instances, \
             last seen: id0 (1.2.3, pod=web-0), id1 (1.2.3, pod=web-1), id2 (1.2.3, pod=web-2)\n\
         UNKNOWN tls_failed: it is tls_failed (failing for 0.0s)\n\
         #9 CRITICAL, epoch 0@60, outage 3@40 since 60, nats_unreachable since 70, census 60, history 3@40 0@60"
    );
    assert_eq!(
        judged(&down(), answered(3)),
        "OK service_recovered: 3 instances, recovered after 0.0s\n\
         #9 OK, epoch 3@10, census 60, history 3@40 0@60 3@10"
    );
}

#[test]
fn an_answer_of_an_overlapping_run_has_no_time() {
    let seen = epoch(99, 2).observed_like(&saw(Outcome::NoResponders));
    assert_eq!(seen.at, at(99));
    let strict = Policy {
        rtt_critical: Some(Duration::ZERO),
        ..Policy::default()
    };
    let (verdict, _) = judge("orders", &up(), &seen, &strict, at(100));
    assert_eq!(
        findings(&verdict),
        "OK service_up: 2 instances, seen by an overlapping run, missing: id2 (1.2.3, pod=web-2)"
    );
    assert_eq!(metric(&verdict, "rtt_max"), None);
    let seen = epoch(99, 0).observed_like(&saw(answered(3)));
    let (verdict, _) = judge("orders", &down(), &seen, &strict, at(100));
    assert_eq!(
        findings(&verdict),
        "CRITICAL service_down: still down for 59s, no responders, had 3 instances, \
         NATS 2.10.25 n1 at h:4222 is fine (0.34ms), \
             last seen: id0 (1.2.3, pod=web-0), id1 (1.2.3, pod=web-1), id2 (1.2.3, pod=web-2)"
    );
}

#[test]
fn instances_that_reply_to_no_ping_are_reported_so() {
    let seen = Observation {
        without_ping: true,
        ..saw(answered(2))
    };
    let lone = Memory {
        epoch: Some(epoch(40, 2)),
        ..up()
    };
    let (verdict, _) = judge("orders", &lone, &seen, &Policy::default(), at(100));
    assert_eq!(
        findings(&verdict),
        "OK service_up: 2 instances, found by STATS and INFO only, PING gets no reply"
    );
}

#[test]
fn the_metrics_say_what_is_known_and_only_that() {
    let policy = Policy {
        warning: range("3:"),
        critical: range("1:"),
        rtt_warning: Some(ms(100)),
        rtt_critical: Some(ms(500)),
        ..Policy::default()
    };
    let nats_rtt = Some(0.00034);
    let cases = [
        (up(), answered(3), [Some(3.0), Some(0.0012), nats_rtt, Some(0.0)]),
        (down(), answered(1), [Some(1.0), Some(0.0012), nats_rtt, Some(0.0)]),
        // It is down from now on.
        (up(), Outcome::NoResponders, [Some(0.0), None, nats_rtt, Some(20.0)]),
        (down(), Outcome::NoResponders, [Some(0.0), None, nats_rtt, Some(60.0)]),
        (down(), SILENT, [Some(0.0), None, nats_rtt, Some(60.0)]),
        (up(), failed(Reason::NatsUnreachable), [None, None, nats_rtt, Some(0.0)]),
        (down(), failed(Reason::Interrupted), [None, None, nats_rtt, Some(60.0)]),
    ];
    for (memory, outcome, values) in cases {
        let (verdict, _) = judge("orders", &memory, &saw(outcome), &policy, at(120));
        let names = ["instances", "rtt_max", "nats_rtt", "outage"];
        assert_eq!(
            names.map(|name| metric(&verdict, name)),
            values,
            "{}",
            findings(&verdict)
        );
        assert_eq!(metric(&verdict, "probe"), Some(0.012));
        let limits: Vec<String> = verdict.metrics[..2]
            .iter()
            .flat_map(|metric| [metric.warning, metric.critical])
            .map(|range| range.expect("a range").to_string())
            .collect();
        assert_eq!(limits, ["3:", "1:", "0.1", "0.5"]);
    }
    // Without a connection nothing is known of the server.
    let seen = Observation::failed(at(100), Failure::new(Reason::Interrupted, "x"));
    let (verdict, _) = judge("orders", &up(), &seen, &policy, at(100));
    assert_eq!(metric(&verdict, "nats_rtt"), None);
}

#[test]
fn the_details_answer_the_next_question() {
    let details = |memory: &Memory, seen: &Observation| -> Vec<String> {
        let (verdict, _) = judge("orders", memory, seen, &Policy::default(), at(100));
        let line = |detail: &Detail| format!("{} {}", detail.verbosity, detail.text);
        verdict.details.iter().map(line).collect()
    };
    let asked = "1 asked NATS 2.10.25 n1 at h:4222, round trip 0.34ms";
    let mut seen = saw(answered(2));
    seen.rounds = 3;
    seen.ignored.foreign = 1;
    seen.trace = vec![(ms(1), "logged in".into())];
    assert_eq!(
        details(&up(), &seen),
        [
            asked,
            "1 answered in 1.2ms: id0 version 1.2.3 pod=web-0",
            "1 answered in 1.2ms: id1 version 1.2.3 pod=web-1",
            "1 missing since 1970-01-01T00:01:40Z: id2 version 1.2.3 pod=web-2",
            "1 1 reply not counted: 1 of another service, 0 of JetStream, 0 malformed",
            "3      1.00ms logged in",
        ]
    );
    assert_eq!(
        details(&in_trouble(down()), &saw(failed(Reason::AuthRejected))),
        [
            asked,
            "1 last seen 1970-01-01T00:00:40Z, missed since 1970-01-01T00:01:00Z",
            "1 was there: id0 version 1.2.3 pod=web-0",
            "1 was there: id1 version 1.2.3 pod=web-1",
            "1 was there: id2 version 1.2.3 pod=web-2",
            "1 NATS could not be asked since 1970-01-01T00:01:10Z: nats_unreachable",
        ]
    );
    // With many instances, -v names the first of them and -vv all.
    let many = details(&Memory::default(), &saw(answered(MAX_NAMED + 1)));
    assert_eq!(many.len(), 1 + MAX_NAMED + 1);
    assert!(many[MAX_NAMED].starts_with("1 answered") && many[MAX_NAMED + 1].starts_with("2 answered"));
    let most = details(&Memory::default(), &saw(answered(LISTED + 1)));
    assert_eq!(most.len(), 1 + LISTED);
    let gone = Memory {
        epoch: Some(epoch(40, 100)),
        ..up()
    };
    let named = details(&gone, &saw(answered(1)));
    let missing = named.iter().filter(|line| line.starts_with("1 missing since "));
    assert_eq!(missing.count(), MAX_NAMED);
}

/// Small memories, the odd ones too that only an edited file can hold.
fn memories() -> Vec<Memory> {
    let mut memories = Vec::new();
    for epoch in [None, Some(epoch(60, 0)), Some(epoch(60, 2))] {
        for last_seen in [None, Some(self::epoch(40, 3))] {
            for since in [None, Some(at(70))] {
                for status in [None, Some(Status::Ok), Some(Status::Critical)] {
                    let history = epoch.iter().map(|e| EpochSummary::new(e.at, e.count));
                    memories.push(Memory {
                        statistics: None,
                        changes: None,
                        sequence: 7,
                        status,
                        epoch: epoch.clone(),
                        outage: last_seen.clone().map(|last_seen| Outage {
                            last_seen,
                            first_missed: at(50),
                        }),
                        unreachable: since.map(|since| Unreachable {
                            since,
                            reason: Reason::TlsFailed,
                        }),
                        census: since,
                        history: history.collect(),
                        absentees: Vec::new(),
                        baseline: None,
                        mixed_since: since,
                    });
                }
            }
        }
    }
    memories
}

fn policies() -> Vec<Policy> {
    const STATUSES: [Status; 3] = [Status::Ok, Status::Unknown, Status::Critical];
    let mut policies = Vec::new();
    for never_seen in STATUSES {
        for unreachable in STATUSES {
            for silent in STATUSES {
                for forget_after in [None, Some(ms(1000)), Some(ms(3_600_000))] {
                    for critical in [None, range("1:")] {
                        policies.push(Policy {
                            critical,
                            never_seen,
                            unreachable,
                            silent,
                            forget_after,
                            remembers: critical.is_none(),
                            ..Policy::default()
                        });
                    }
                }
            }
        }
    }
    policies
}

/// The two promises, and what they rest on, for each small memory, each outcome and many policies.
#[test]
fn no_outage_is_missed_or_forgotten() {
    let outcomes = [answered(1), answered(3), Outcome::NoResponders, SILENT];
    let outcomes: Vec<Outcome> = outcomes.into_iter().chain(FAILURES.map(failed)).collect();
    let (memories, policies) = (memories(), policies());
    for (memory, outcome) in memories.iter().flat_map(|m| outcomes.iter().map(move |o| (m, o))) {
        let seen = saw(outcome.clone());
        for policy in &policies {
            let (verdict, next) = judge("orders", memory, &seen, policy, at(100));
            let status = verdict.status();
            let case = || format!("{}\n{outcome:?}\n{policy:?}\n{}", told(memory), findings(&verdict));
            let leads = verdict.findings()[0].reason;
            let answered = matches!(outcome, Outcome::Answered(_));
            let was_open = memory.outage.is_some();
            let mild = matches!(outcome, Outcome::Silent(_)) && policy.silent != Status::Critical;
            let is_epoch = !matches!(outcome, Outcome::Failed(_)) && !mild;

            // An outage is closed by an answer, or because the user has it forgotten, and by nothing else.
            let forgotten = is_epoch && !answered && policy.forget_after == Some(ms(1000));
            assert_eq!(
                next.outage.is_some() && was_open,
                was_open && !answered && !forgotten,
                "{}",
                case()
            );
            // While one is open, or has just begun, it is CRITICAL.
            if next.outage.is_some() {
                assert_eq!(status, Status::Critical, "{}", case());
            }
            // Nobody there after somebody was: an outage, with those who were there.
            if let (true, false, Some(before), false) = (is_epoch, answered, &memory.epoch, was_open)
                && before.count > 0
            {
                let outage = next.outage.as_ref().unwrap_or_else(|| panic!("no outage: {}", case()));
                assert_eq!(
                    (&outage.last_seen, outage.first_missed),
                    (before, at(100)),
                    "{}",
                    case()
                );
            }

            // OK comes from instances that answered, or from the user's own word for this very case.
            let by_word = match leads {
                Reason::ServiceNeverSeen => policy.never_seen == Status::Ok,
                Reason::ServiceSilent => policy.silent == Status::Ok,
                Reason::NatsUnreachable | Reason::AuthRejected | Reason::TlsFailed => policy.unreachable == Status::Ok,
                _ => false,
            };
            assert!(status != Status::Ok || answered || by_word, "{}", case());
            // And with a range that wants instances, never without them, where it could be asked.
            if policy.critical.is_some() && !answered && !matches!(outcome, Outcome::Failed(_)) {
                assert_eq!(status, Status::Critical, "{}", case());
            }

            // What could not be asked changes nothing that was known.
            if !is_epoch {
                let known = |m: &Memory| (m.epoch.clone(), m.outage.clone(), m.history.clone(), m.census);
                assert_eq!(known(&next), known(memory), "{}", case());
            }
            if matches!(outcome, Outcome::Failed(f) if f.reason == Reason::Interrupted) {
                assert_eq!(&next, memory, "{}", case());
            } else {
                assert_eq!(next.status, Some(status), "{}", case());
            }
            // `unreachable` ends with the first probe that could ask, and only then.
            assert_eq!(
                next.unreachable.is_some(),
                match outcome {
                    Outcome::Failed(f) => memory.unreachable.is_some() || f.reason != Reason::Interrupted,
                    _ => false,
                },
                "{}",
                case()
            );

            // The number of the memory grows just when the memory changes: overlapping runs see it by that.
            let renumbered = Memory {
                sequence: memory.sequence,
                ..next.clone()
            };
            assert_eq!(
                next.sequence,
                memory.sequence + u64::from(renumbered != *memory),
                "{}",
                case()
            );
            assert!(next.history.len() <= MAX_HISTORY);
        }
    }
}

/// A random number below another one, the same in each run.
fn random(state: &mut u64, below: usize) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state % below as u64) as usize
}

/// The findings, metrics and details of a verdict, in an order of their own.
fn sorted(verdict: &Verdict) -> (Status, [Vec<String>; 3]) {
    let sort = |mut lines: Vec<String>| {
        lines.sort();
        lines
    };
    let findings = verdict
        .findings()
        .iter()
        .map(|finding| format!("{finding:?}"))
        .collect();
    let metrics = verdict.metrics.iter().map(|metric| format!("{metric:?}")).collect();
    let details = verdict.details.iter().map(|detail| format!("{detail:?}")).collect();
    (verdict.status(), [findings, metrics, details].map(sort))
}

#[test]
fn the_order_of_the_rules_changes_nothing_but_the_order_of_the_output() {
    let outcomes = [
        answered(1),
        answered(3),
        versions(&["1.0.0", "2.0.0"]),
        Outcome::NoResponders,
        SILENT,
    ];
    let outcomes: Vec<Outcome> = outcomes.into_iter().chain(FAILURES.map(failed)).collect();
    let seconds = |seconds: u64| Some(Duration::from_secs(seconds));
    let strict = Policy {
        warning: range("5:"),
        critical: range("2:"),
        rtt_critical: Some(ms(1)),
        expected_version: Requirement::parse("^9").ok(),
        mixed_versions: Some(Status::Warning),
        mixed_metadata: vec!["commit".into()],
        creds_warning: seconds(1000),
        rates: RateLimits {
            wanted: true,
            error_warning: Some(0.0),
            ..RateLimits::default()
        },
        request: Some(RequestLimits::default()),
        loss: LossLimits {
            warning: Some(Loss::Instances(1)),
            settle: Duration::ZERO,
            ..LossLimits::default()
        },
        restarts: RestartLimits {
            warning: Some(1),
            ..RestartLimits::default()
        },
        ..Policy::default()
    };
    let many = Memory {
        baseline: Some(Baseline::new(4)),
        statistics: Some(statistics()),
        changes: Some(changes()),
        ..up()
    };
    let mut state = 0x9e37_79b9_7f4a_7c15;
    let mut rules = RULES;
    for memory in memories()
        .into_iter()
        .chain([up(), down(), absent(), in_trouble(down()), many])
    {
        for outcome in &outcomes {
            let seen = Observation {
                absent: vec![("id1".into(), Fate::NotAnswering), ("id2".into(), Fate::NotAsked)],
                credentials: Some(Expiry {
                    file: "/mon.creds".into(),
                    at: Some(at(200)),
                }),
                denied: "may not ask".into(),
                trace: vec![(ms(1), "logged in".into())],
                stats: Some(SeenStats {
                    denied: "may not publish".into(),
                    ..SeenStats::default()
                }),
                ..saw(outcome.clone())
            };
            for policy in [&Policy::default(), &strict] {
                let (verdict, next) = judge("orders", &memory, &seen, policy, at(100));
                for _ in 0..4 {
                    for n in (1..rules.len()).rev() {
                        rules.swap(n, random(&mut state, n + 1));
                    }
                    let (shuffled, other) = judge_by(&rules, "orders", &memory, &seen, policy, at(100));
                    assert_eq!(sorted(&shuffled), sorted(&verdict), "{seen:?}\n{policy:?}");
                    assert_eq!(other, next);
                }
            }
        }
    }
}
