use super::*;
use crate::judge::fixture::{SILENT, answered, at, down, epoch, failed, findings, in_trouble, range, saw, up};
use crate::judge::judge;
use crate::judge::policy::{Loss, LossLimits};
use crate::probe::observation::Failure;
use crate::state::memory::Outage;

/// A run for all services at second 100.
struct Run {
    services: Vec<(String, Memory, Outcome)>,
    common: Observation,
    policy: Policy,
    too_many: usize,
    candidates: BTreeMap<String, Timestamp>,
    per_service: bool,
}

impl Run {
    fn new(services: Vec<(&str, Memory, Outcome)>) -> Run {
        let services = services
            .into_iter()
            .map(|(name, memory, outcome)| (name.to_owned(), memory, outcome));
        Run {
            services: services.collect(),
            common: saw(Outcome::Answered(vec![])),
            policy: Policy::default(),
            too_many: 0,
            candidates: BTreeMap::new(),
            per_service: false,
        }
    }

    /// The same, NATS being unable to be asked.
    fn away(mut self, reason: Reason) -> Run {
        let failure = failed(reason);
        self.common = Observation {
            server: None,
            ..saw(failure.clone())
        };
        self.services
            .iter_mut()
            .for_each(|(_, _, outcome)| *outcome = failure.clone());
        self
    }

    fn verdict(&self) -> Verdict {
        let judged = self.services.iter().map(|(name, memory, outcome)| {
            let seen = Observation {
                credentials: self.common.credentials.clone(),
                ..saw(outcome.clone())
            };
            let (verdict, next) = judge(name, memory, &seen, &self.policy, at(100));
            (verdict, next, seen)
        });
        let judged: Vec<_> = judged.collect();
        let services = judged.iter().map(|(verdict, memory, seen)| ServiceResult {
            verdict,
            memory,
            seen: Some(seen),
        });
        overview(&OverviewInput {
            services: &services.collect::<Vec<_>>(),
            common: &self.common,
            too_many: self.too_many,
            candidates: &self.candidates,
            policy: &self.policy,
            per_service: self.per_service,
            now: at(100),
        })
    }

    #[track_caller]
    fn finds(&self, expected: &str) {
        let verdict = self.verdict();
        assert_eq!(findings(&verdict), expected);
        assert_eq!(verdict.service, "");
    }
}

/// `number` services without a complaint.
fn fine(number: usize) -> Vec<(&'static str, Memory, Outcome)> {
    let name = |n: usize| -> &'static str { format!("fine-{n}").leak() };
    (0..number).map(|n| (name(n), up(), answered(3))).collect()
}

/// One instance at this second, none since.
fn one_until(second: i64) -> Memory {
    Memory {
        outage: Some(Outage {
            last_seen: epoch(second, 1),
            first_missed: at(second + 10),
        }),
        ..down()
    }
}

fn losing(number: usize) -> Policy {
    Policy {
        loss: LossLimits {
            warning: Some(Loss::Instances(number)),
            ..LossLimits::default()
        },
        ..Policy::default()
    }
}

fn metrics(verdict: &Verdict) -> String {
    let metric = |metric: &Metric| match metric.value {
        Some(value) => format!("{}={value}", metric.name),
        None => format!("{}=U", metric.name),
    };
    verdict.metrics.iter().map(metric).collect::<Vec<_>>().join(" ")
}

fn details(verdict: &Verdict, verbosity: u8) -> Vec<&str> {
    let details = verdict.details.iter().filter(|detail| detail.verbosity == verbosity);
    details.map(|detail| detail.text.as_str()).collect()
}

#[test]
fn line_of_an_outage_says_how_many_of_how_many_which_and_since_when() {
    let mut services = fine(34);
    services.push(("billing", one_until(20), Outcome::NoResponders));
    services.push(("orders", up(), Outcome::NoResponders));
    services.push(("mail", up(), answered(2)));
    let run = Run {
        policy: losing(1),
        ..Run::new(services)
    };
    run.finds(
        "CRITICAL service_down: 2 of 37 services down: orders (3 instances until 60s ago), billing (1 instance until 80s ago)\n\
         WARNING instances_lost: 1 degraded: mail (2 of 3 instances)",
    );
    let verdict = run.verdict();
    assert_eq!(
        metrics(&verdict),
        "services=37 services_down=2 instances=104 nats_rtt=0.00034 outage=70 probe=0.012"
    );
    assert_eq!(
        details(&verdict, 1),
        ["asked NATS 2.10.25 n1 at h:4222, round trip 0.34ms"]
    );
}

#[test]
fn every_finding_of_the_services_has_its_words() {
    let cases = [
        (fine(1), "OK service_up: 1 service, 3 instances"),
        (fine(37), "OK service_up: 37 services, 111 instances"),
        (
            vec![("a", down(), answered(1)), ("b", up(), answered(3))],
            "OK service_recovered: 2 services, 4 instances, 1 recovered: a (after 60s)",
        ),
        (
            vec![("a", up(), Outcome::NoResponders)],
            "CRITICAL service_down: 1 of 1 service down: a (3 instances until 60s ago)",
        ),
        (
            vec![("a", down(), Outcome::NoResponders), ("b", one_until(20), SILENT)],
            "CRITICAL service_down: 1 of 2 services still down: a (3 instances until 60s ago)\n\
             CRITICAL service_silent: 1 silent: b (1 instance until 80s ago)",
        ),
        (
            vec![
                ("a", Memory::default(), Outcome::NoResponders),
                ("b", up(), answered(3)),
            ],
            "UNKNOWN service_never_seen: 1 of 2 services never seen: a",
        ),
        (
            vec![("a", up(), failed(Reason::PermissionDenied)), ("b", up(), answered(3))],
            "UNKNOWN permission_denied: 1 of 2 services not permitted: a (it is permission_denied)",
        ),
        (
            vec![("a", up(), failed(Reason::ProtocolError)), ("b", up(), answered(3))],
            "UNKNOWN protocol_error: 1 of 2 services not asked: a (it is protocol_error)",
        ),
    ];
    for (services, expected) in cases {
        Run::new(services).finds(expected);
    }
    let few = Policy {
        critical: range("2:"),
        ..Policy::default()
    };
    let run = Run {
        policy: few,
        ..Run::new(vec![("a", up(), answered(1)), ("b", Memory::default(), answered(1))])
    };
    run.finds("CRITICAL instances_out_of_range: 2 of 2 services degraded: a (1 of 3 instances), b (1 instance)");
    let never_seen_is_ok = Policy {
        never_seen: Status::Ok,
        ..Policy::default()
    };
    let run = Run {
        policy: never_seen_is_ok,
        ..Run::new(vec![
            ("a", Memory::default(), Outcome::NoResponders),
            ("b", up(), answered(3)),
        ])
    };
    run.finds("OK service_never_seen: 2 services, 3 instances, 1 never seen: a");
}

#[test]
fn nats_that_cannot_be_asked_is_one_finding() {
    let three = || {
        vec![
            ("a", up(), SILENT),
            ("b", up(), SILENT),
            ("c", Memory::default(), SILENT),
        ]
    };
    let run = Run::new(three()).away(Reason::NatsUnreachable);
    run.finds("UNKNOWN nats_unreachable: it is nats_unreachable");
    let verdict = run.verdict();
    assert_eq!(
        metrics(&verdict),
        "services=3 services_down=0 instances=U nats_rtt=U outage=0 probe=0.012"
    );
    Run::new(vec![])
        .away(Reason::AuthRejected)
        .finds("UNKNOWN auth_rejected: it is auth_rejected");
    let run = Run {
        policy: Policy {
            unreachable: Status::Critical,
            ..Policy::default()
        },
        ..Run::new(three()).away(Reason::TlsFailed)
    };
    run.finds("CRITICAL tls_failed: it is tls_failed");
    Run::new(vec![("a", in_trouble(up()), SILENT), ("b", in_trouble(up()), SILENT)])
        .away(Reason::NatsUnreachable)
        .finds("UNKNOWN nats_unreachable: it is nats_unreachable (failing for 30s)");
}

#[test]
fn outages_stay_critical_while_nats_cannot_be_asked() {
    let run = Run::new(vec![
        ("a", down(), SILENT),
        ("b", up(), SILENT),
        ("c", one_until(20), SILENT),
    ])
    .away(Reason::NatsUnreachable);
    run.finds(
        "CRITICAL service_down: 2 of 3 services still down: a (3 instances until 60s ago), c (1 instance until 80s ago)\n\
         UNKNOWN nats_unreachable: it is nats_unreachable",
    );
}

#[test]
fn connection_lost_on_the_way_names_those_that_were_not_asked() {
    let lost = || failed(Reason::NatsUnreachable);
    let run = Run {
        common: saw(lost()),
        ..Run::new(vec![
            ("a", up(), answered(3)),
            ("b", up(), lost()),
            ("c", down(), lost()),
        ])
    };
    run.finds(
        "CRITICAL service_down: 1 of 3 services still down: c (3 instances until 60s ago)\n\
         UNKNOWN nats_unreachable: 1 not asked: b\n\
         UNKNOWN nats_unreachable: it is nats_unreachable",
    );
}

#[test]
fn account_has_findings_of_its_own() {
    let mut run = Run::new(fine(2));
    run.common.denied = "not allowed to publish to $SRV.PING".into();
    run.too_many = 1;
    run.finds(
        "UNKNOWN permission_denied: not allowed to publish to $SRV.PING: new services cannot be found\n\
         UNKNOWN protocol_error: 1 service more than can be watched: choose with --only or --exclude\n\
         OK service_up: 2 services, 6 instances",
    );
    Run::new(vec![]).finds(
        "UNKNOWN service_never_seen: no service has ever answered here: is this the right account, and --srv-prefix?",
    );
    let mut run = Run::new(vec![]);
    run.policy.imported = Some("APP.$SRV".into());
    run.finds(
        "UNKNOWN service_never_seen: no service has ever answered here: is this the right account, and --srv-prefix, \
         and are $SRV.PING and $SRV.PING.> exported and imported, both?",
    );
    let mut run = Run::new(vec![]);
    run.policy.never_seen = Status::Ok;
    run.candidates = BTreeMap::from([("mail".to_owned(), at(40)), ("orders".to_owned(), at(70))]);
    run.finds("OK service_never_seen: no service is watched yet, 2 answer for less than --adopt-after");
    assert_eq!(
        details(&run.verdict(), 1),
        [
            "asked NATS 2.10.25 n1 at h:4222, round trip 0.34ms",
            "not watched yet, answers for 30s: orders",
            "not watched yet, answers for 60s: mail"
        ]
    );
    let mut run = Run::new(vec![]);
    run.policy.remembers = false;
    run.finds(
        "UNKNOWN service_never_seen: no service answers here, and without a state it is not known whether any was ever there (--no-state)",
    );
}

#[test]
fn expiring_credentials_are_told_once() {
    let mut run = Run::new(fine(3));
    run.common.credentials = Some(crate::connect::credentials::Expiry {
        file: "/etc/nats/mon.creds".into(),
        at: Some(at(160)),
    });
    run.policy.creds_warning = Some(Duration::from_secs(3600));
    run.finds(
        "WARNING credentials_expiring: credentials /etc/nats/mon.creds expire in 60s, at 1970-01-01T00:02:40Z, warning below 1h\n\
         OK service_up: 3 services, 9 instances",
    );
    assert!(metrics(&run.verdict()).ends_with("creds_expiry=60"));
}

#[test]
fn thousand_outages_are_named_in_part() {
    let services = fine(1000)
        .into_iter()
        .map(|(name, memory, _)| (name, memory, Outcome::NoResponders));
    let run = Run::new(services.collect());
    run.finds(
        "CRITICAL service_down: 1000 of 1000 services down: fine-0 (3 instances until 60s ago), fine-1 (3 instances until 60s \
         ago), fine-2 (3 instances until 60s ago), fine-3 (3 instances until 60s ago), fine-4 (3 instances until 60s ago) and \
         995 more",
    );

    let long = |n: usize| -> &'static str { format!("{}{n}", "x".repeat(254)).leak() };
    let services = (0..4).map(|n| (long(n), up(), Outcome::NoResponders));
    let verdict = Run::new(services.collect()).verdict();
    let text = &verdict.findings()[0].text;
    assert!(text.len() < 400 && text.ends_with(" and 2 more"), "{text}");
}

#[test]
fn metric_of_a_service_has_a_short_name_of_its_own() {
    let names = [
        "orders",
        "Billing-v2",
        "services",
        "mail-in",
        "mail_in",
        "production-orders-of-today",
        "production-orders-of-yesterday",
    ];
    let mut run = Run::new(names.map(|name| (name, up(), answered(3))).into());
    run.per_service = true;
    run.policy.warning = range("3:");
    let verdict = run.verdict();
    let of_services = &verdict.metrics[6..];
    let labels: Vec<&str> = of_services.iter().map(|metric| metric.name.as_ref()).collect();
    assert_eq!(labels[..2], ["orders", "billing_v2"]);
    assert!(
        labels[2].starts_with("services_") && labels[2].len() == 15,
        "{labels:?}"
    );
    for (label, beginning) in labels[3..]
        .iter()
        .zip(["mail_in_", "mail_in_", "production_o_", "production_o_"])
    {
        assert!(label.starts_with(beginning) && label.len() <= MAX_LABEL, "{labels:?}");
    }
    let all: std::collections::BTreeSet<&str> = verdict.metrics.iter().map(|metric| metric.name.as_ref()).collect();
    assert_eq!(all.len(), verdict.metrics.len(), "{labels:?}");
    assert_eq!(labels[5], "production_o_uzzwob");
    assert_eq!(of_services[0].warning, range("3:"));
    // The others do not change it.
    let mut alone = Run::new(vec![(names[5], up(), answered(3))]);
    alone.per_service = true;
    assert_eq!(alone.verdict().metrics[6].name, labels[5]);
}

#[test]
fn interrupted_run_is_one_finding_too() {
    let failure = Failure::new(Reason::Interrupted, "SIGTERM");
    let mut run = Run::new(fine(2)).away(Reason::Interrupted);
    run.common.outcome = Outcome::Failed(failure);
    run.finds("UNKNOWN interrupted: SIGTERM");
}

#[test]
fn unreadable_state_is_at_least_unknown_and_denies_no_outage() {
    let problem = |services| {
        let mut verdict = Run::new(services).verdict();
        add_problem(&mut verdict, "the state X is damaged");
        (findings(&verdict), metrics(&verdict))
    };
    let (found, numbers) = problem(fine(2));
    let expected = "UNKNOWN state_unusable: the state X is damaged\nOK service_up: 2 services, 6 instances";
    assert_eq!(found, expected);
    assert!(numbers.contains(" services_down=U "), "{numbers}");
    let (found, numbers) = problem(vec![("a", up(), Outcome::NoResponders)]);
    assert!(
        found.starts_with("CRITICAL service_down: 1 of 1 service down"),
        "{found}"
    );
    assert!(numbers.contains(" services_down=1 "), "{numbers}");
}

#[test]
fn permission_is_told_once_and_to_its_end() {
    let denied = format!(
        "NATS at h:4222 does not let us publish to $SRV.PING.a, {} $SRV.PING.a",
        "add it ".repeat(20)
    );
    let failure = Outcome::Failed(Failure::new(Reason::PermissionDenied, denied.clone()));
    let services = vec![("a", up(), failure.clone()), ("b", up(), answered(3))];
    Run::new(services).finds(&format!(
        "UNKNOWN permission_denied: 1 of 2 services not permitted: a ({denied})"
    ));
    let mut run = Run::new(vec![]);
    run.common.outcome = failure;
    run.common.denied = denied.clone();
    run.finds(&format!("UNKNOWN permission_denied: {denied}"));
}

#[test]
fn recovered_services_are_named_without_what_else_is_said_of_them() {
    let seen = Observation {
        absent: vec![("id2".into(), crate::probe::observation::Fate::NotAnswering)],
        ..saw(answered(2))
    };
    let (verdict, next) = judge("a", &down(), &seen, &Policy::default(), at(100));
    assert!(verdict.findings()[0].text.contains(", not answering: "), "{verdict:?}");
    let services = [ServiceResult {
        verdict: &verdict,
        memory: &next,
        seen: Some(&seen),
    }];
    let overview = overview(&OverviewInput {
        services: &services,
        common: &saw(Outcome::Answered(vec![])),
        too_many: 0,
        candidates: &BTreeMap::new(),
        policy: &Policy::default(),
        per_service: false,
        now: at(100),
    });
    let expected = "OK service_recovered: 1 service, 2 instances, 1 recovered: a (after 60s)";
    assert_eq!(findings(&overview), expected);
}

#[test]
fn equal_steps_in_a_row_are_one_line() {
    let mut run = Run::new(fine(1));
    let step = |ms, text: &str| (Duration::from_millis(ms), text.to_owned());
    run.common.trace = vec![
        step(1, "asking"),
        step(2, "503"),
        step(2, "503"),
        step(3, "asking again"),
    ];
    run.common.trace.extend((4..54).map(|ms| step(ms, "503")));
    let steps = [
        "1.00ms asking",
        "2.00ms 503",
        "2.00ms 503",
        "3.00ms asking again",
        "4.00ms 503, 50 times",
    ];
    assert_eq!(details(&run.verdict(), 3), steps.map(|step| format!("     {step}")));
}
