//! A request to an endpoint: the instances tell their endpoints (INFO), and one replies, with headers. It is sent once.
//!
//! The input is events with [`END`] between them; the first byte of each says what it is.
#![allow(deprecated)] // All of the `nats` crate is, as in src/probe/client.rs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use check_nats_service::connect::request::{Destination, EndpointRequest, Payload};
use check_nats_service::judge::{Policy, RequestLimits, judge};
use check_nats_service::probe::clock::PingClock;
use check_nats_service::probe::endpoint::{Call, EndpointAction, EndpointPlan};
use check_nats_service::probe::info::{self, Headers};
use check_nats_service::probe::observation::{
    EndpointEnd, EndpointSeen, Failure, Instance, InstanceReply, Observation, Outcome,
};
use check_nats_service::render::report::Report;
use check_nats_service::state::memory::Memory;
use check_nats_service::values::secret::Secret;
use check_nats_service::values::status::{Reason, Status};
use check_nats_service::values::timestamp::Timestamp;
use nats::HeaderMap;

use super::told::assert_told_well;
use super::{SECRET, Target, assert_clean};

pub const TARGET: Target = Target {
    name: "endpoint",
    run,
    seeds: &[
        "i{\"name\":\"demo\",\"id\":\"A\",\"type\":\"io.nats.micro.v1.info_response\",\"endpoints\":[{\"name\":\"find\",\"subject\":\"orders.find\"}]}\x1er\r\n\r\nhello ok",
        "i{\"name\":\"demo\",\"id\":\"A\",\"subject\":\"x.y\"}\x1ew9",
        "i{\"name\":\"demo\",\"id\":\"A\",\"endpoints\":[{\"name\":\"find\",\"subject\":\"a.>\"},{\"name\":\"find\",\"subject\":\"$JS.API.STREAM.DELETE.X\"}]}\x1er",
        "i{\"name\":\"demo\",\"id\":\"A\",\"endpoints\":[{\"name\":\"find\",\"subject\":\"a\"}]}\x1erNATS/1.0\r\nNats-Service-Error: disk|full\r\nNats-Service-Error-Code: 500\r\n\r\n",
        "i{\"name\":\"demo\",\"id\":\"A\",\"endpoints\":[{\"name\":\"find\",\"subject\":\"a\"}]}\x1erNATS/1.0 503 No Responders\r\nNats-Subject: a\r\n\r\n",
        "i{\"name\":\"demo\",\"id\":\"A\",\"endpoints\":[{\"name\":\"find\",\"subject\":\"a\"}]}\x1er\r\n\r\n{\"stream\":\"S\",\"seq\":1}\x1en\x1en\x1en",
        "m\x1em\x1em",
    ],
    samples: Some("errorreply"),
    words: &[
        "\x1e",
        "\x1ei",
        "\x1er",
        "\x1en",
        "\x1em",
        "\x1ew9",
        "NATS/1.0",
        " 503",
        " 404 x",
        "\r\n",
        "\r\n\r\n",
        ": ",
        "Nats-Service-Error: ",
        "Nats-Service-Error-Code: ",
        "Nats-Subject: a",
        "\"endpoints\":[",
        "{\"name\":\"find\",\"subject\":\"a.b\"}",
        "\"name\":\"demo\"",
        "\"id\":\"A\"",
        "\"id\":\"B\"",
        "\"subject\":",
        "{\"stream\":\"S\",\"seq\":1}",
        "$JS.API.",
        "*",
        ">",
        "\\r\\n",
        "ok",
        "X: A\r\n",
    ],
};

const END: u8 = 0x1e;

fn run(input: &[u8]) {
    // A reply alone, whatever was asked.
    let of_input = headers(input);
    if let Some(error) = info::error(&of_input) {
        assert_clean(&error.code, 16);
        assert_clean(&error.text, 120);
    }
    assert_clean(&info::excerpt(input), 80);
    let mut told = BTreeSet::new();
    for destination in [
        Destination::Endpoint("find".into()),
        Destination::Endpoint("default".into()),
    ] {
        let request = EndpointRequest {
            to: destination,
            payload: Payload::new(SECRET.as_bytes()),
            headers: vec![("Authorization".into(), Secret::new(SECRET))],
            reply_contains: input
                .first()
                .is_some_and(|first| first % 2 == 0)
                .then(|| "ok".to_owned()),
        };
        let seen = call(Call::new("demo", "$SRV.INFO.demo".into(), request), input);
        told.extend([seen.subject.clone(), seen.doubt.clone()]);
        check(seen, input);
    }
    assert!(told.iter().all(|text| !text.contains(char::is_control)), "{told:?}");
}

/// The headers as the client reads them: a broken one costs the connection, and is not our reading.
fn headers(bytes: &[u8]) -> Headers {
    let end = bytes
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .map_or(0, |at| at + 4);
    let map = HeaderMap::try_from(&bytes[..end]).unwrap_or_default();
    map.iter()
        .map(|(key, values)| (key.clone(), values.iter().cloned().collect()))
        .collect()
}

fn call(mut call: Call, input: &[u8]) -> EndpointSeen {
    let (mut now, mut clock) = (Duration::ZERO, PingClock::new(false));
    clock.request_sent(now);
    let mut asked_info = call.info_asked(now);
    call.begin(
        now,
        EndpointPlan {
            instances: ["A", "B"].map(str::to_owned).into(),
            imported: false,
            end: Duration::from_secs(9),
            patience: Duration::from_secs(2),
            stall: Duration::from_millis(300),
        },
    );
    let (mut sent, mut refused) = (0_usize, 0);
    let mut events = input.split(|byte| *byte == END).take(200);
    for _ in 0..1000 {
        match call.next(now, &clock) {
            EndpointAction::Done => return call.seen(),
            EndpointAction::ServerHung => call.ended(EndpointEnd::NoTime),
            EndpointAction::AskInfo => asked_info = call.info_asked(now),
            EndpointAction::Request(subject) => {
                let text = subject.as_str();
                let token = |token: &str| !token.is_empty() && token != "*" && token != ">";
                let plain = text.split('.').all(token) && !text.contains(|c: char| c.is_control() || c.is_whitespace());
                assert!(plain && !text.starts_with('$'), "asks on {text:?}");
                assert_eq!(sent, refused, "sent again, and may have been received");
                call.sent(now);
                sent += 1;
            }
            EndpointAction::Ping => clock.ping_sent(now),
            EndpointAction::Listen(until) => {
                let event = events.next().map(|event| event.split_first().unwrap_or((&b'w', b"")));
                now += Duration::from_micros(100);
                match event {
                    Some((b'i', payload)) => drop(call.info(now, payload)),
                    Some((b'm', _)) => call.info_no_responders(asked_info),
                    Some((b'n', _)) => refused += usize::from(call.no_responders(now, sent.saturating_sub(1), false)),
                    Some((b'r', reply)) => {
                        let end = reply
                            .windows(4)
                            .position(|four| four == b"\r\n\r\n")
                            .map_or(0, |at| at + 4);
                        call.reply(now, sent.saturating_sub(1), &headers(reply), &reply[end..]);
                    }
                    Some((b'w', _)) => now += Duration::from_millis(200),
                    Some(_) => {}
                    None => now = now.max(until),
                }
            }
        }
    }
    panic!("a request of more than 1000 steps");
}

fn check(request: EndpointSeen, input: &[u8]) {
    assert_clean(&request.endpoint, 64);
    let at = Timestamp::from_seconds(1_790_000_000);
    let answer = InstanceReply {
        instance: Instance {
            id: "A".into(),
            version: String::new(),
            metadata: Vec::new(),
        },
        rtt: Some(Duration::from_millis(1)),
    };
    let success = request.success();
    let seen = Observation {
        outcome: Outcome::Answered(vec![answer]),
        request: Some(request),
        ..Observation::failed(at, Failure::new(Reason::Interrupted, ""))
    };
    let policy = Policy {
        request: Some(RequestLimits::default()),
        ..Policy::default()
    };
    let (verdict, memory) = judge("demo", &Memory::default(), &seen, &policy, at);
    assert_eq!(verdict.status() == Status::Ok, success == Some(true), "{verdict:?}");
    let repeated = input.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
    let texts: Vec<&str> = verdict.findings().iter().map(|finding| finding.text.as_str()).collect();
    assert!(repeated || !texts.concat().contains(SECRET), "{texts:?}");
    assert_told_well(&Report {
        own_up: None,
        verdict,
        seen: Some(Arc::new(seen)),
        memory: memory.into(),
        now: at,
    });
}
