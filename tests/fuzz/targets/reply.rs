//! Messages of services: replies to PING and STATS. What is kept of them is clean and bounded, and an id is a token of a subject.

use std::time::Duration;

use check_nats_service::probe::json;
use check_nats_service::probe::observation::{Instance, NotCounted};
use check_nats_service::probe::reply::{ALIVE, PING, Reply, STATS, is_id};
use check_nats_service::values::timestamp::Timestamp;

use super::{Target, assert_clean};

pub const TARGET: Target = Target {
    name: "reply",
    run,
    seeds: &[
        r#"{"name":"demo","id":"A1","version":"1.0.0","metadata":{"pod":"web-0"},"type":"io.nats.micro.v1.ping_response"}"#,
        r#"{"name":"demo","id":"A1","metadata":null,"type":null}"#,
        r#"{"stream":"CAP","seq":1}"#,
        r#"{"name":"demo","id":"A","started":"2026-11-22T07:14:46Z","endpoints":[{"name":"a","num_requests":1e3,"num_errors":-1,"processing_time":2.5,"last_error":"429:slow"}]}"#,
        r#"{"name":"demo","id":"A","num_requests":13,"num_errors":1,"processing_time":104517}"#,
        r#"{"name":"demo","id":"A","endpoints":{"a":{"num_requests":1},"b":{"name":"c","num_requests":2}}}"#,
        "[[[[[[",
    ],
    samples: Some(".json"),
    words: &[
        "\"name\":",
        "\"id\":",
        "\"type\":",
        "\"version\":",
        "\"metadata\":",
        "\"endpoints\":",
        "\"num_requests\":",
        "\"num_errors\":",
        "\"processing_time\":",
        "\"last_error\":",
        "\"started\":",
        "\"demo\"",
        "\"demo-js\"",
        "\"demo-py\"",
        "\"demo-rs\"",
        "\"stream\":",
        "\"seq\":",
        "\"io.nats.micro.v1.ping_response\"",
        "\"io.nats.micro.v1.stats_response\"",
        "null",
        "true",
        "{}",
        "[]",
        "\\u202e",
        "\\n",
        "\\ud800",
        "1e999",
        "18446744073709551616",
        "|",
        "\"pod\":",
        "\"host\":",
    ],
};

fn run(input: &[u8]) {
    if let Ok(reply) = Reply::parse(input, PING) {
        let (name, instance) = (&reply.service, reply.instance(&[]));
        check(&instance);
        assert!(
            name.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                && !name.is_empty(),
            "{name:?}"
        );
        let sent = json::parse(input).expect("a reply that counts is JSON");
        assert_eq!(sent["name"].as_str(), Some(name.as_str()), "the name as it was sent");
        assert_eq!(sent["id"].as_str(), Some(instance.id.as_str()), "the id as it was sent");
        let of = |name: &str, types| Ok::<_, NotCounted>(Reply::parse(input, types)?.of(name)?.instance(&[]));
        assert_eq!(of(name, PING).as_ref(), Ok(&instance));
        assert_eq!(of(name, ALIVE).as_ref(), Ok(&instance));
        assert!(of("another", PING).is_err() || name == "another");
        assert!(reply.metadata()["pod"].is_null() || input.len() > 20);
    }
    if let Ok(reply) = Reply::parse(input, ALIVE) {
        check(&reply.instance(&[]));
    }
    if let Ok(reply) = Reply::parse(input, STATS) {
        let stats = reply.stats();
        assert!(is_id(&reply.id), "{:?}", reply.id);
        assert!(stats.endpoints.len() <= 64 && stats.last_errors.len() <= 64);
        for (name, counters) in stats.endpoints.iter() {
            assert_clean(name, 64);
            let most = 64 << 53;
            assert!(
                counters.requests <= most && counters.errors <= most && counters.processing <= most,
                "{counters:?}"
            );
        }
        for (name, error) in &stats.last_errors {
            assert_clean(name, 64);
            assert_clean(error, 80);
            assert!(stats.endpoints.get(name).is_some(), "an error of no endpoint");
        }
        if let Some(started) = stats.started {
            assert!(Timestamp::now().since(started) < Duration::MAX);
        }
    }
}

/// Asserts that all that is kept of an instance can be printed as it stands.
pub fn check(instance: &Instance) {
    let id = &instance.id;
    assert!(
        is_id(id) && id.len() <= 128 && id.bytes().all(|b| b.is_ascii_graphic() && !b".*>|".contains(&b)),
        "{id:?}"
    );
    assert_clean(&instance.version, 64);
    assert!(instance.metadata.len() <= 6);
    for (key, value) in &instance.metadata {
        assert_clean(key, 32);
        assert_clean(value, 64);
    }
}
