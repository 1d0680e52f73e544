use super::*;
use crate::connect::request::Payload;
use crate::probe::observation::ServiceError;
use crate::values::status::Reason;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn request(to: Destination) -> EndpointRequest {
    EndpointRequest {
        to,
        payload: Payload::default(),
        headers: vec![],
        reply_contains: None,
    }
}

fn to_subject(subject: &str) -> Destination {
    Destination::Subject(Subject::parse(subject).expect("a subject"))
}

fn to_endpoint(name: &str) -> Destination {
    Destination::Endpoint(name.into())
}

fn call(to: Destination) -> Call {
    Call::new("orders", "$SRV.INFO.orders".into(), request(to))
}

/// Of a run with 10 s, whose instances have these ids.
fn plan(ids: &[&str]) -> EndpointPlan {
    EndpointPlan {
        instances: ids.iter().map(|id| (*id).to_owned()).collect(),
        imported: false,
        end: ms(9500),
        patience: ms(2500),
        stall: ms(300),
    }
}

fn info(id: &str, endpoints: &[(&str, &str)]) -> String {
    let endpoints: Vec<String> = endpoints
        .iter()
        .map(|(name, subject)| format!(r#"{{"name":"{name}","subject":"{subject}"}}"#))
        .collect();
    let endpoints = endpoints.join(",");
    format!(r#"{{"name":"orders","id":"{id}","endpoints":[{endpoints}]}}"#)
}

/// Instances that have told these endpoints in the first 2 ms, and a plan from 5 ms on.
fn told(infos: &[(&str, &[(&str, &str)])], answered: &[&str]) -> Call {
    let mut call = call(to_endpoint("echo"));
    assert_eq!(call.info_asked(ms(0)), 0);
    for (id, endpoints) in infos {
        assert!(call.info(ms(2), info(id, endpoints).as_bytes()));
    }
    call.begin(ms(5), plan(answered));
    call
}

/// The request to this subject is sent at 5 ms.
fn asked(subject: &str) -> Call {
    let mut call = call(to_subject(subject));
    call.begin(ms(5), plan(&["A"]));
    assert_eq!(
        call.next(ms(5), &answered()),
        EndpointAction::Request(Subject::parse(subject).expect("a subject"))
    );
    assert_eq!(call.sent(ms(5)), 0);
    call
}

/// The clock of a connection whose server has not dealt with the request, and of one whose server has.
fn unanswered() -> PingClock {
    let mut clock = PingClock::new(false);
    clock.request_sent(ms(0));
    clock
}

fn answered() -> PingClock {
    let mut clock = unanswered();
    clock.pong_received();
    clock
}

fn plain() -> Headers {
    Headers::new()
}

#[test]
fn subject_is_the_one_that_most_instances_report() {
    const ECHO: &[(&str, &str)] = &[("echo", "orders.echo")];
    const NEW: &[(&str, &str)] = &[("echo", "v2.echo"), ("other", "v2.other")];
    const BOTH: &[(&str, &str)] = &[("echo", "v2.echo"), ("echo", "v1.echo"), ("echo", "v1.echo")];
    const NONE: &[(&str, &str)] = &[("other", "orders.other")];
    const WILD: &[(&str, &str)] = &[("echo", "orders.*.get")];
    const BROKEN: &[(&str, &str)] = &[("echo", "a b")];
    const OF_NATS: &[(&str, &str)] = &[("echo", "$JS.API.STREAM.DELETE.ORDERS")];
    // Who told what; the subject, and what -v says of the others.
    type Case<'a> = (&'a [(&'a str, &'a [(&'a str, &'a str)])], &'a str, &'a str);
    let cases: &[Case<'_>] = &[
        (&[("A", ECHO)], "orders.echo", ""),
        (&[("A", ECHO), ("B", ECHO)], "orders.echo", ""),
        (
            &[("A", NEW), ("B", ECHO), ("C", ECHO)],
            "orders.echo",
            "of the same name: v2.echo",
        ),
        (&[("A", NEW), ("B", ECHO)], "orders.echo", "of the same name: v2.echo"),
        (&[("A", BOTH)], "v1.echo", "of the same name: v2.echo"),
        (
            &[("A", NONE), ("B", ECHO)],
            "orders.echo",
            "1 of 2 instances do not have it",
        ),
        (
            &[("A", WILD), ("B", WILD), ("C", ECHO)],
            "orders.echo",
            "of the same name: orders.*.get",
        ),
        (&[("A", BROKEN), ("B", ECHO)], "orders.echo", "of the same name: a?b"),
    ];
    for (infos, subject, doubt) in cases {
        let ids: Vec<&str> = infos.iter().map(|(id, _)| *id).collect();
        let mut call = told(infos, &ids);
        let expected = Subject::parse(subject).expect("a subject");
        assert_eq!(
            call.next(ms(5), &unanswered()),
            EndpointAction::Request(expected),
            "{infos:?}"
        );
        let seen = call.seen();
        assert_eq!(
            (seen.subject.as_str(), seen.doubt.as_str()),
            (*subject, *doubt),
            "{infos:?}"
        );
    }
    for endpoints in [WILD, OF_NATS] {
        let mut none = told(&[("A", endpoints)], &["A"]);
        assert_eq!(none.next(ms(5), &unanswered()), EndpointAction::Done);
        let told = endpoints[0].1.to_owned();
        assert_eq!(none.seen().end, EndpointEnd::NotASubject { told });
    }
    let mut none = told(&[("A", NONE), ("B", &[])], &["A", "B"]);
    assert_eq!(none.next(ms(5), &unanswered()), EndpointAction::Done);
    let unknown = |complete| EndpointEnd::Unknown {
        known: vec!["other".into()],
        complete,
    };
    assert_eq!(none.seen().end, unknown(true));

    // One that answers PING tells nothing: it may have the endpoint.
    let mut late = told(&[("A", NONE)], &["A", "B"]);
    assert_eq!(late.next(ms(5), &unanswered()), EndpointAction::Listen(ms(305)));
    assert!(late.info(ms(200), info("C", NONE).as_bytes()));
    assert_eq!(late.next(ms(305), &unanswered()), EndpointAction::Listen(ms(500)));
    assert_eq!(late.next(ms(500), &unanswered()), EndpointAction::Done);
    assert_eq!(late.seen().end, unknown(false));
    let mut late = told(&[("A", ECHO)], &["A", "B"]);
    assert_eq!(late.next(ms(5), &unanswered()), EndpointAction::Listen(ms(305)));
    assert!(!late.info(ms(6), info("A", NEW).as_bytes()), "each is heard once");
    assert!(late.info(ms(7), info("B", ECHO).as_bytes()));
    assert!(matches!(late.next(ms(7), &unanswered()), EndpointAction::Request(_)));
}

#[test]
fn a_flood_of_infos_is_bounded() {
    let mut call = call(to_endpoint("echo"));
    call.info_asked(ms(0));
    for n in 0..10_000 {
        call.info(ms(1), info(&format!("id{n}"), &[("echo", "orders.echo")]).as_bytes());
    }
    assert_eq!(call.infos.len(), MAX_INFOS);
    let ids: Vec<String> = (0..10_000).map(|n| format!("id{n}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    call.begin(ms(5), plan(&ids));
    assert!(matches!(call.next(ms(5), &unanswered()), EndpointAction::Request(_)));
}

#[test]
fn unreported_endpoints_are_requested_again() {
    // 503, each time: through an import that has PING only, say.
    let mut call = told(&[], &["A"]);
    call.info_no_responders(0);
    for due in [5, 55, 255] {
        assert_eq!(call.next(ms(due), &answered()), EndpointAction::AskInfo, "{due}");
        let nth = call.info_asked(ms(due));
        assert!(matches!(call.next(ms(due + 1), &answered()), EndpointAction::Listen(until) if until > ms(4000)));
        call.info_no_responders(nth);
        if due < 255 {
            assert!(matches!(call.next(ms(due + 1), &answered()), EndpointAction::Listen(_)));
        }
    }
    assert_eq!(call.next(ms(256), &answered()), EndpointAction::Done);
    let none = |no_responders| EndpointEnd::NoInfo {
        subject: "$SRV.INFO.orders".into(),
        no_responders,
    };
    assert_eq!(call.seen().end, none(true));
    // One of a number that was never given means nothing.
    call.info_no_responders(77);

    // The first 503 was that of an asking before the service was back.
    let mut call = told(&[], &["A"]);
    call.info_no_responders(0);
    assert_eq!(call.next(ms(5), &answered()), EndpointAction::AskInfo);
    call.info_asked(ms(5));
    assert!(call.info(ms(6), info("A", &[("echo", "orders.echo")]).as_bytes()));
    assert!(matches!(call.next(ms(6), &answered()), EndpointAction::Request(_)));

    // Silence: once more, and then until half of the time is over.
    let mut call = told(&[], &["A"]);
    assert_eq!(call.next(ms(5), &answered()), EndpointAction::Listen(ms(300)));
    assert_eq!(call.next(ms(300), &answered()), EndpointAction::AskInfo);
    call.info_asked(ms(300));
    let EndpointAction::Listen(until) = call.next(ms(301), &answered()) else {
        panic!("it listens");
    };
    assert!(until > ms(4000) && until < ms(5000), "{until:?}");
    assert_eq!(call.next(until, &answered()), EndpointAction::Done);
    assert_eq!(call.seen().end, none(false));
}

#[test]
fn a_reply_ends_the_wait() {
    let mut call = asked("orders.echo");
    call.on_wire(ms(6));
    assert_eq!(
        call.next(ms(7), &answered()),
        EndpointAction::Listen(ms(6 + (9500 - 6) * 3 / 4) + Duration::from_micros(500))
    );
    assert!(call.is_under_way());
    let headers = Headers::from([
        ("Nats-Service-Error".to_owned(), vec!["kaputt".to_owned()]),
        ("Nats-Service-Error-Code".to_owned(), vec!["500".to_owned()]),
        ("X-Instance".to_owned(), vec!["A".to_owned()]),
    ]);
    assert!(call.reply(ms(9), 0, &headers, b"x|y"));
    // The first one counts; a flood of others is not looked at, and neither is a 503 after it.
    for _ in 0..1000 {
        assert!(!call.reply(ms(10), 0, &plain(), b"other"));
    }
    assert!(!call.no_responders(ms(10), 0, false));
    assert_eq!(call.next(ms(10), &unanswered()), EndpointAction::Done);
    let reply = EndpointReply {
        took: ms(3),
        size: 3,
        error: Some(ServiceError {
            code: "500".into(),
            text: "kaputt".into(),
        }),
        lacks: String::new(),
        excerpt: "x?y".into(),
        sender: "A".into(),
    };
    assert_eq!(call.seen().end, EndpointEnd::Replied(reply));
}

#[test]
fn a_reply_counts_though_the_connection_breaks_behind_it() {
    let lost = Failure::new(Reason::NatsUnreachable, "lost");
    let mut call = asked("orders.echo");
    assert!(call.reply(ms(9), 0, &plain(), b"ok"));
    call.failed(lost.clone());
    assert_eq!(call.next(ms(9), &answered()), EndpointAction::Done);
    assert!(call.seen().reply().is_some(), "{:?}", call.seen());

    // One that somebody makes up after that is none.
    let mut call = asked("orders.echo");
    call.failed(lost.clone());
    assert!(!call.reply(ms(9), 0, &plain(), b"ok"));
    assert_eq!(call.next(ms(9), &answered()), EndpointAction::Done);
    assert_eq!(call.seen().end, EndpointEnd::Failed(lost));
}

#[test]
fn a_reply_is_searched_for_the_text() {
    for (payload, lacks) in [
        (&b"all ok\xff"[..], ""),
        (b"OK", "ok"),
        (b"", "ok"),
        (br#"{"stream":"ok","seq":1}"#, ""),
    ] {
        let mut call = asked("orders.echo");
        call.request.reply_contains = Some("ok".into());
        assert!(call.reply(ms(9), 0, &plain(), payload), "{payload:?}");
        assert_eq!(call.next(ms(9), &answered()), EndpointAction::Done);
        assert_eq!(
            call.seen().reply().map(|reply| reply.lacks.clone()),
            Some(lacks.to_owned())
        );
    }
}

#[test]
fn request_without_receiver_is_repeated_shortly() {
    let mut call = asked("orders.echo");
    let subject = Subject::parse("orders.echo").expect("a subject");
    assert!(call.no_responders(ms(6), 0, false));
    assert!(!call.is_under_way());
    assert_eq!(call.next(ms(6), &answered()), EndpointAction::Listen(ms(55)));
    assert_eq!(call.next(ms(55), &answered()), EndpointAction::Request(subject.clone()));
    assert_eq!(call.sent(ms(55)), 1);
    // Late ones, to the first.
    assert!(!call.no_responders(ms(56), 0, false));
    assert!(!call.reply(ms(56), 0, &plain(), b"forged"));
    assert!(matches!(call.next(ms(56), &answered()), EndpointAction::Listen(_)));
    assert!(call.no_responders(ms(57), 1, false));
    assert_eq!(call.next(ms(57), &answered()), EndpointAction::Listen(ms(255)));
    assert_eq!(call.next(ms(256), &answered()), EndpointAction::Request(subject));
    assert_eq!(call.sent(ms(256)), 2);
    assert!(call.no_responders(ms(258), 2, false));
    assert_eq!(call.next(ms(258), &answered()), EndpointAction::Done);
    assert_eq!(call.seen().end, EndpointEnd::NoResponders { certain: true });
}

#[test]
fn request_that_may_have_been_received_is_never_repeated() {
    // A 503 after the server has answered a PING behind the request, or that comes late: it is not the server's.
    let mut call = asked("orders.echo");
    assert!(!call.no_responders(ms(6), 0, true));
    assert!(!call.no_responders(ms(1006), 0, false));
    assert!(call.is_under_way());
    assert!(matches!(call.next(ms(1006), &answered()), EndpointAction::Listen(_)));

    // Silence, however long, and whatever comes in wrong inboxes.
    let mut call = asked("orders.echo");
    let (mut now, mut clock) = (ms(6), answered());
    loop {
        assert!(!call.no_responders(now, 7, false));
        assert!(!call.reply(now, 7, &plain(), b"x"));
        match call.next(now, &clock) {
            EndpointAction::Listen(until) => now = until.min(now + ms(100)),
            EndpointAction::Ping => {
                clock.ping_sent(now);
                clock.pong_received();
            }
            EndpointAction::Done => break,
            next => panic!("{next:?} at {now:?}"),
        }
    }
    let end = EndpointEnd::NoReply {
        waited: ms(9495),
        enough: true,
        captured: false,
    };
    assert_eq!((now, call.seen().end), (ms(9500), end));
}

#[test]
fn silence_counts_only_while_the_server_answers() {
    let mut call = asked("orders.echo");
    assert!(!call.reply(ms(6), 0, &plain(), br#"{"stream":"CAP","seq":1}"#));
    let mut clock = answered();
    assert_eq!(call.next(ms(7200), &clock), EndpointAction::Ping);
    clock.ping_sent(ms(7200));
    assert_eq!(call.next(ms(7201), &clock), EndpointAction::Listen(ms(9500)));
    assert_eq!(call.next(ms(9500), &clock), EndpointAction::ServerHung);
    clock.pong_received();
    assert_eq!(call.next(ms(9500), &clock), EndpointAction::Done);
    let end = EndpointEnd::NoReply {
        waited: ms(9495),
        enough: true,
        captured: true,
    };
    assert_eq!(call.seen().end, end);
}

#[test]
fn short_wait_gives_no_verdict() {
    let mut call = call(to_subject("orders.echo"));
    call.begin(ms(9400), plan(&["A"]));
    assert_eq!(call.next(ms(9400), &answered()), EndpointAction::Done);
    assert_eq!(call.seen().end, EndpointEnd::NoTime);

    let mut call = self::call(to_subject("orders.echo"));
    call.begin(ms(9000), plan(&["A"]));
    assert!(matches!(call.next(ms(9000), &answered()), EndpointAction::Request(_)));
    call.sent(ms(9000));
    assert_eq!(call.next(ms(9500), &answered()), EndpointAction::Done);
    let end = EndpointEnd::NoReply {
        waited: ms(500),
        enough: false,
        captured: false,
    };
    assert_eq!(call.seen().end, end);
}

#[test]
fn a_denial_is_that_of_what_was_asked() {
    let failure = Failure::new(Reason::PermissionDenied, "no");
    let mut call = told(&[], &["A"]);
    assert!(!call.denied("$SRV.PING.orders", &failure));
    assert!(call.denied("$SRV.INFO.orders", &failure));
    assert_eq!(call.next(ms(6), &answered()), EndpointAction::Done);
    assert_eq!(call.seen().end, EndpointEnd::Failed(failure.clone()));

    let mut call = self::call(to_subject("orders.echo"));
    assert!(!call.denied("orders.echo", &failure), "it was not asked yet");
    call.begin(ms(5), plan(&["A"]));
    call.sent(ms(5));
    assert!(!call.denied("$SRV.INFO.orders", &failure));
    assert!(call.denied("orders.echo", &failure));
    assert_eq!(call.next(ms(6), &answered()), EndpointAction::Done);
}

#[test]
fn through_an_import_the_subject_may_be_another_one() {
    for (to, certain) in [(to_endpoint("echo"), false), (to_subject("orders.echo"), true)] {
        let mut call = call(to);
        call.info(ms(1), info("A", &[("echo", "orders.echo")]).as_bytes());
        call.begin(
            ms(5),
            EndpointPlan {
                imported: true,
                ..plan(&["A"])
            },
        );
        let mut now = ms(5);
        while let EndpointAction::Request(_) = call.next(now, &answered()) {
            let nth = call.sent(now);
            assert!(call.no_responders(now, nth, false));
            now += ms(250);
        }
        assert_eq!(call.seen().end, EndpointEnd::NoResponders { certain });
    }
}
