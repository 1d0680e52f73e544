use std::time::Duration;

use super::super::fixture::{answered, at, failed, findings, ms, saw, up};
use super::super::verdict::Verdict;
use super::super::{Policy, RequestLimits, judge};
use super::*;
use crate::probe::observation::{
    EndpointEnd, EndpointReply, EndpointSeen, Failure, Observation, Outcome, ServiceError,
};
use crate::state::memory::Memory;

fn seen(end: EndpointEnd) -> EndpointSeen {
    EndpointSeen {
        endpoint: "echo".into(),
        subject: "orders.echo".into(),
        end,
        doubt: String::new(),
    }
}

fn reply() -> EndpointReply {
    EndpointReply {
        took: ms(120),
        size: 12,
        error: None,
        lacks: String::new(),
        excerpt: "hello".into(),
        sender: String::new(),
    }
}

fn error(code: &str, text: &str) -> EndpointEnd {
    EndpointEnd::Replied(EndpointReply {
        error: Some(ServiceError {
            code: code.into(),
            text: text.into(),
        }),
        took: ms(9000),
        lacks: "ok".into(),
        ..reply()
    })
}

fn policy() -> Policy {
    Policy {
        request: Some(RequestLimits {
            warning: Some(ms(200)),
            critical: Some(ms(1000)),
        }),
        ..Policy::default()
    }
}

/// Three instances answered, and this came of the request.
fn judged(request: Option<EndpointSeen>, policy: &Policy) -> (Verdict, Memory) {
    let seen = Observation {
        request,
        ..saw(answered(3))
    };
    judge("orders", &up(), &seen, policy, at(100))
}

/// The finding beside that of the instances; empty if there is none.
fn found(end: EndpointEnd) -> String {
    let (verdict, _) = judged(Some(seen(end)), &policy());
    let all = findings(&verdict);
    let up = "OK service_up: 3 instances, slowest answer 1.2ms";
    assert!(all.ends_with(up), "{all}");
    all.trim_end_matches(up).trim_end().to_owned()
}

#[test]
fn each_end_has_its_verdict() {
    let slow = |took| EndpointEnd::Replied(EndpointReply { took, ..reply() });
    let no_reply = |enough, captured| EndpointEnd::NoReply {
        waited: ms(9400),
        enough,
        captured,
    };
    let unknown = |known: &[&str], complete| EndpointEnd::Unknown {
        known: known.iter().map(|name| (*name).to_owned()).collect(),
        complete,
    };
    let no_info = |no_responders| EndpointEnd::NoInfo {
        subject: "$SRV.INFO.orders".into(),
        no_responders,
    };
    let many: Vec<String> = (0..20).map(|n| format!("e{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let cases = [
        (slow(ms(120)), ""),
        (slow(ms(200)), ""),
        (
            slow(ms(201)),
            "WARNING request_slow: request slow: orders.echo took 201ms, warning above 200ms",
        ),
        (
            slow(ms(1001)),
            "CRITICAL request_slow: request slow: orders.echo took 1.0s, critical above 1.0s",
        ),
        (
            error("500", "kaputt"),
            "CRITICAL request_failed: request failed: orders.echo answered with error 500: kaputt",
        ),
        (
            error("404", ""),
            "CRITICAL request_failed: request failed: orders.echo answered with error 404",
        ),
        (
            error("", "kaputt"),
            "CRITICAL request_failed: request failed: orders.echo answered with an error: kaputt",
        ),
        (
            error("", ""),
            "CRITICAL request_failed: request failed: orders.echo answered with an error without a text",
        ),
        (
            EndpointEnd::Replied(EndpointReply {
                lacks: "ok".into(),
                took: ms(9000),
                ..reply()
            }),
            "CRITICAL request_failed: request failed: the reply of orders.echo (12 bytes) does not contain: ok",
        ),
        (
            EndpointEnd::NoResponders { certain: true },
            "CRITICAL request_failed: request failed: no responders on orders.echo, though 3 instances answered PING \
             (if the endpoint is in a group, give --subject GROUP.orders.echo)",
        ),
        (
            EndpointEnd::NoResponders { certain: false },
            "UNKNOWN request_failed: request not judged: no responders on orders.echo, which may have another name here, \
             through an import: give it with --subject",
        ),
        (
            no_reply(true, false),
            "CRITICAL request_failed: request failed: no reply on orders.echo within 9.4s, though 3 instances answered \
             PING: hung, overloaded, or not allowed to publish to our inbox",
        ),
        (
            no_reply(true, true),
            "CRITICAL request_failed: request failed: no reply on orders.echo within 9.4s, but the acknowledgement of a \
             JetStream stream that captures it",
        ),
        (
            no_reply(false, false),
            "UNKNOWN request_failed: request not judged: no reply on orders.echo, but only 9.4s were left to wait: raise \
             --timeout",
        ),
        (
            unknown(&["eco", "boom"], true),
            "CRITICAL request_failed: request failed: no endpoint is named echo, did you mean eco?",
        ),
        (
            unknown(&["boom", "soft"], true),
            "CRITICAL request_failed: request failed: no endpoint is named echo, there are: boom, soft",
        ),
        (
            unknown(&[], true),
            "CRITICAL request_failed: request failed: no endpoint is named echo, the service has none at all",
        ),
        (
            unknown(&many, true),
            "CRITICAL request_failed: request failed: no endpoint is named echo, there are: e0, e1, e2, e3, e4, e5, e6, e7 \
             and 12 more",
        ),
        (
            unknown(&["boom"], false),
            "UNKNOWN request_failed: request not judged: no endpoint is named echo, there are: boom, not all instances \
             reported theirs",
        ),
        (
            EndpointEnd::NotASubject {
                told: "orders.*.get".into(),
            },
            "UNKNOWN usage: request not sent: the endpoint echo reports the subject orders.*.get, which has wildcards or \
             belongs to NATS itself: give a subject with --subject",
        ),
        (
            no_info(true),
            "UNKNOWN request_failed: request not judged: the endpoints are unknown: no responders on $SRV.INFO.orders, \
             though 3 instances answered PING, import it too, or give --subject",
        ),
        (
            no_info(false),
            "UNKNOWN request_failed: request not judged: no answer on $SRV.INFO.orders, though 3 instances answered PING",
        ),
        (
            EndpointEnd::TooLarge {
                size: 2000,
                limit: 1024,
            },
            "UNKNOWN usage: request not sent: it has 2000 bytes, and the server takes 1024 (max_payload)",
        ),
        (
            EndpointEnd::NoHeaders,
            "UNKNOWN usage: request not sent: the server takes no headers: leave out --header",
        ),
        (
            EndpointEnd::NoTime,
            "UNKNOWN request_failed: request not judged: no time was left to send it: raise --timeout",
        ),
        (
            EndpointEnd::Failed(Failure::new(Reason::PermissionDenied, "NATS does not let us")),
            "UNKNOWN permission_denied: request not judged: NATS does not let us",
        ),
        (
            EndpointEnd::Failed(Failure::new(Reason::NatsUnreachable, "gone")),
            "UNKNOWN nats_unreachable: request not judged: gone",
        ),
    ];
    for (end, expected) in cases {
        let success = seen(end.clone()).success();
        assert_eq!(found(end), expected);
        // The metric says the same as the verdict.
        let from_verdict = match expected {
            _ if expected.contains("CRITICAL request_failed") => Some(false),
            _ if expected.is_empty() || expected.contains("request_slow") => Some(true),
            _ => None,
        };
        assert_eq!(success, from_verdict, "{expected}");
    }
}

#[test]
fn nats_being_lost_meanwhile_is_never_less_than_unknown() {
    for (unreachable, status) in [
        (Status::Ok, "UNKNOWN"),
        (Status::Warning, "UNKNOWN"),
        (Status::Critical, "CRITICAL"),
    ] {
        let end = EndpointEnd::Failed(Failure::new(Reason::NatsUnreachable, "gone"));
        let policy = Policy {
            unreachable,
            ..policy()
        };
        let (verdict, _) = judged(Some(seen(end)), &policy);
        assert_eq!(verdict.status().name(), status);
    }
}

#[test]
fn an_instance_that_hides_from_ping_is_asked_too() {
    let observation = Observation {
        request: Some(seen(EndpointEnd::NoResponders { certain: true })),
        without_ping: true,
        ..saw(answered(1))
    };
    let (verdict, _) = judge("orders", &up(), &observation, &policy(), at(100));
    let text = "CRITICAL request_failed: request failed: no responders on orders.echo, though 1 instance answered \
                (if the endpoint is in a group, give --subject GROUP.orders.echo)";
    assert_eq!(findings(&verdict).lines().next(), Some(text));
}

#[test]
fn outage_is_reported_without_the_request() {
    let outcomes = [
        Outcome::NoResponders,
        Outcome::Silent(ms(5000)),
        failed(Reason::NatsUnreachable),
        failed(Reason::Interrupted),
    ];
    for outcome in outcomes {
        // A request that another run's epoch has made pointless, too.
        for request in [None, Some(seen(EndpointEnd::NoResponders { certain: true }))] {
            let observation = Observation {
                request,
                ..saw(outcome.clone())
            };
            let (verdict, _) = judge("orders", &up(), &observation, &policy(), at(100));
            let (without, _) = judge("orders", &up(), &observation, &Policy::default(), at(100));
            assert_eq!(findings(&verdict), findings(&without));
            let metric = verdict.metrics.last().expect("a metric");
            assert_eq!((metric.name.as_ref(), metric.value), ("request", None));
        }
    }
}

#[test]
fn instances_without_a_request_are_not_ok() {
    let (verdict, _) = judged(None, &policy());
    assert!(
        findings(&verdict).starts_with("UNKNOWN request_failed: request not judged: this check saw no instance"),
        "{}",
        findings(&verdict)
    );
    // Unless none was to be sent.
    let (verdict, _) = judged(None, &Policy::default());
    assert_eq!(verdict.status(), Status::Ok);
    assert!(verdict.metrics.iter().all(|metric| metric.name != "request"));
}

#[test]
fn request_time_metric_has_its_limits() {
    let (verdict, _) = judged(Some(seen(EndpointEnd::Replied(reply()))), &policy());
    let metric = verdict.metrics.last().expect("a metric");
    assert_eq!((metric.name.as_ref(), metric.value), ("request", Some(0.12)));
    let range = |range: &Option<Range>| range.map(|range| range.to_string());
    assert_eq!(
        (range(&metric.warning), range(&metric.critical)),
        (Some("0.2".into()), Some("1".into()))
    );
    let (verdict, _) = judged(Some(seen(error("500", "x"))), &policy());
    assert_eq!(verdict.metrics.last().and_then(|metric| metric.value), Some(9.0));
}

#[test]
fn verbose_output_describes_the_request() {
    let told = |seen: EndpointSeen| -> String {
        let (verdict, _) = judged(Some(seen), &policy());
        let lines = verdict.details.iter().filter(|detail| detail.verbosity == 1);
        let ours = |text: &&str| !text.starts_with("asked ") && !text.starts_with("answered ");
        lines
            .map(|detail| detail.text.as_str())
            .filter(ours)
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert_eq!(
        told(seen(EndpointEnd::Replied(reply()))),
        "request to orders.echo (endpoint echo) answered in 120ms, 12 bytes"
    );
    let by_subject = EndpointSeen {
        endpoint: String::new(),
        ..seen(EndpointEnd::Replied(EndpointReply {
            size: 1,
            sender: "id1".into(),
            took: Duration::from_micros(1230),
            lacks: "ok".into(),
            ..reply()
        }))
    };
    assert_eq!(
        told(by_subject),
        "request to orders.echo answered in 1.2ms, 1 byte, from id1 (1.2.3, pod=web-1)\nthe reply begins: hello"
    );
    let doubtful = EndpointSeen {
        doubt: "1 of 3 instances do not have it".into(),
        ..seen(EndpointEnd::NoResponders { certain: true })
    };
    assert_eq!(
        told(doubtful),
        "request to orders.echo (endpoint echo) not answered\nendpoint echo: 1 of 3 instances do not have it"
    );
    let never_sent = EndpointSeen {
        subject: String::new(),
        ..seen(EndpointEnd::NoTime)
    };
    assert_eq!(told(never_sent), "");
}
