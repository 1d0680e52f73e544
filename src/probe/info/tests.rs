use std::fs;
use std::path::Path;

use super::*;
use crate::probe::json;

/// `NAME SUBJECT` of each.
fn told(info: &Info) -> Vec<String> {
    let endpoints = info.endpoints.iter();
    endpoints.map(|e| format!("{} {}", e.name, e.subject)).collect()
}

fn sample(name: &str) -> Vec<u8> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples");
    fs::read(dir.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

#[test]
fn endpoints_of_four_libraries_are_read() {
    let cases: &[(&str, &str, &str, &[&str])] = &[
        (
            "async-nats-0.51.0-INFO-full-idle.json",
            "demo-rs",
            "5rRsmgsSdvqiTaMuNlTHnE",
            &["boom demo-rs.boom", "echo demo-rs.echo"],
        ),
        ("async-nats-0.51.0-INFO-noep-idle.json", "demo-rs", "", &[]),
        (
            "nats-py-2.16.0-INFO-full-idle.json",
            "demo-py",
            "Dt8ifkapWIF7Vhjdwq2rsN",
            &[
                "echo demo-py.echo",
                "boom demo-py.boom",
                "soft demo-py.soft",
                "serr demo-py.serr",
            ],
        ),
        ("nats-py-2.16.0-INFO-noep-idle.json", "demo-py", "", &[]),
        (
            "natsjs-services-3.0.0-25-INFO-idle.json",
            "demo-js",
            "RA2D9225021LWM1EEZSJAI",
            &[
                "echo demo-js.echo",
                "boom demo-js.boom",
                "soft demo-js.soft",
                "serr demo-js.serr",
                "iter demo-js.iter",
            ],
        ),
        ("natsjs-services-3.0.0-25-INFO-noep-idle.json", "demo-js", "", &[]),
        (
            "nats.go-1.22.1-INFO-idle.json",
            "demo",
            "2I068RfY579XcXd4f3vuDk",
            &["default demo.echo"],
        ),
    ];
    for (file, service, id, endpoints) in cases {
        let info = read_info(service, &sample(file)).unwrap_or_else(|| panic!("{file}"));
        assert!(id.is_empty() || info.id == *id, "{file}: {}", info.id);
        assert_eq!(told(&info), *endpoints, "{file}");
        assert_eq!(read_info("other", &sample(file)), None, "{file}");
    }
    // Neither a PING reply nor one to STATS.
    for file in ["nats-py-2.16.0-PING-idle.json", "nats-py-2.16.0-STATS-idle.json"] {
        assert_eq!(read_info("demo-py", &sample(file)), None, "{file}");
    }
}

#[test]
fn malformed_info_is_ignored() {
    let long = "x".repeat(MAX_SUBJECT_BYTES + 1);
    let cases: &[(String, Option<&[&str]>)] = &[
        (r#"{"name":"orders","id":"A"}"#.into(), Some(&[])),
        (r#"{"name":"orders","id":"A","endpoints":null}"#.into(), Some(&[])),
        (r#"{"name":"orders","id":"A","endpoints":{"a":1}}"#.into(), Some(&[])),
        (
            r#"{"name":"orders","id":"A","endpoints":[null,7,{},{"name":"a"},{"subject":"s"},{"name":1,"subject":"s"},
               {"name":"a","subject":""},{"name":"b","subject":"s","metadata":null}]}"#
                .into(),
            Some(&["b s"]),
        ),
        (
            format!(r#"{{"name":"orders","id":"A","endpoints":[{{"name":"a","subject":"{long}"}}]}}"#),
            Some(&[]),
        ),
        // Both forms: the newer counts.
        (
            r#"{"name":"orders","id":"A","endpoints":[],"subject":"s"}"#.into(),
            Some(&[]),
        ),
        (r#"{"name":"orders","id":"a.b","endpoints":[]}"#.into(), None),
        (r#"{"name":"orders","endpoints":[]}"#.into(), None),
        (
            r#"{"name":"orders","id":"A","type":"io.nats.micro.v1.ping_response"}"#.into(),
            None,
        ),
        (r#"{"name":"orders","id":"A","type":[]}"#.into(), None),
        (r#"[]"#.into(), None),
        ("".into(), None),
        ("[".repeat(100_000), None),
        (
            format!(r#"{{"name":"orders","id":"A","x":"{}"}}"#, "x".repeat(1 << 20)),
            Some(&[]),
        ),
        (
            r#"{"name":"orders","id":"A","endpoints":{"find":{"name":"v1.find","subject":"s"},"ping":{"subject":"p"}}}"#.into(),
            Some(&["v1.find s", "ping p"]),
        ),
    ];
    for (payload, expected) in cases {
        let info = read_info("orders", payload.as_bytes());
        let shown = &payload[..payload.len().min(200)];
        assert_eq!(
            info.map(|info| told(&info)),
            expected.map(|e| e.iter().map(|e| e.to_string()).collect()),
            "{shown}"
        );
    }
    let many = vec![r#"{"name":"a","subject":"s"}"#; 5000].join(",");
    let info = read_info(
        "orders",
        format!(r#"{{"name":"orders","id":"A","endpoints":[{many}]}}"#).as_bytes(),
    );
    assert_eq!(info.map(|info| info.endpoints.len()), Some(json::MAX_ENTRIES));
}

fn headers(pairs: &[(&str, &str)]) -> Headers {
    let mut headers = Headers::new();
    for (key, value) in pairs {
        headers.entry((*key).into()).or_default().push((*value).into());
    }
    headers
}

/// The headers of a sample as it was on the wire.
fn of_sample(name: &str) -> Headers {
    let raw = sample(name);
    let text = String::from_utf8_lossy(&raw).into_owned();
    let pairs: Vec<(&str, &str)> = text.lines().skip(2).filter_map(|line| line.split_once(": ")).collect();
    headers(&pairs)
}

#[test]
fn errors_of_real_services_are_read() {
    let cases = [
        ("async-nats-0.51.0-errorreply-boom.raw", Some(("500", "kaputt ünï"))),
        (
            "nats-py-2.16.0-errorreply-boom.raw",
            Some(("500", "ValueError(?kaputt ünï?)")),
        ),
        ("nats-py-2.16.0-errorreply-soft.raw", Some(("404", "not found here"))),
        (
            "natsjs-services-3.0.0-25-errorreply-serr.raw",
            Some(("429", "slow down")),
        ),
        (
            "natsjs-services-3.0.0-25-errorreply-soft.raw",
            Some(("404", "not found here")),
        ),
    ];
    for (file, expected) in cases {
        let expected = expected.map(|(code, text)| ServiceError {
            code: code.into(),
            text: text.into(),
        });
        assert_eq!(error(&of_sample(file)), expected, "{file}");
    }
}

#[test]
fn replies_are_errors_by_their_headers() {
    let long = "x".repeat(5000);
    let cut = "x".repeat(ERROR_CHARS) + "...";
    type Case<'a> = (&'a [(&'a str, &'a str)], Option<(&'a str, &'a str)>);
    let cases: &[Case<'_>] = &[
        (&[], None),
        (&[("X-Error", "boom"), ("Status", "200")], None),
        (&[("Nats-Service-Error", "boom")], Some(("", "boom"))),
        (&[("Nats-Service-Error-Code", "400")], Some(("400", ""))),
        (&[("Nats-Service-Error", "")], Some(("", ""))),
        (
            &[("nats-service-error", "boom"), ("NATS-SERVICE-ERROR-CODE", "1")],
            Some(("1", "boom")),
        ),
        (
            &[("Nats-Service-Error", "b"), ("Nats-Service-Error", "a")],
            Some(("", "a")),
        ),
        (
            &[
                ("Nats-Service-Error", "x|instances=9\u{1b}[2J"),
                ("Nats-Service-Error-Code", "5\n0"),
            ],
            Some(("5?0", "x?instances=9?[2J")),
        ),
        (&[("Status", "503")], Some(("503", ""))),
        (
            &[("Status", "409"), ("Description", "Message Size Exceeds MaxBytes")],
            Some(("409", "Message Size Exceeds MaxBytes")),
        ),
        (&[("Status", "200")], None),
        (&[("Status", "failed")], None),
        (&[("Status", "50000")], None),
        (
            &[("Status", "503"), ("Nats-Service-Error", "overloaded")],
            Some(("", "overloaded")),
        ),
        (&[("Nats-Service-Error", &long)], Some(("", &cut))),
    ];
    for (pairs, expected) in cases {
        let expected = expected.map(|(code, text)| ServiceError {
            code: code.into(),
            text: text.into(),
        });
        assert_eq!(error(&headers(pairs)), expected, "{pairs:?}");
    }
}

#[test]
fn a_503_of_the_server_has_no_headers_of_a_service() {
    for (pairs, expected) in [
        (&[("Status", "503")][..], true),
        (&[("Status", "503"), ("Nats-Subject", "orders.echo")], true),
        (&[("Status", "503"), ("Description", "No Responders")], true),
        (&[("Status", "503"), ("X-Request-Id", "7")], false),
        (&[("Status", "503"), ("Nats-Service-Error", "overloaded")], false),
    ] {
        assert_eq!(is_of_the_server(&headers(pairs)), expected, "{pairs:?}");
    }
}

#[test]
fn sender_of_a_reply_is_found_in_its_headers() {
    let ids = ["A1".to_owned(), "B2".to_owned()];
    assert_eq!(sender(&headers(&[("X-Instance", "B2")]), &ids), Some("B2"));
    assert_eq!(sender(&headers(&[("X-Instance", "C3")]), &ids), None);
    assert_eq!(sender(&headers(&[]), &ids), None);
}

#[test]
fn an_acknowledgement_of_a_stream_is_known() {
    for (payload, expected) in [
        (r#"{"stream":"CAP","seq":1}"#, true),
        (r#"{"stream":"CAP", "seq":1, "domain":"hub", "duplicate": true}"#, true),
        (r#"{"stream":"CAP","seq":1,"orders":[]}"#, false),
        (r#"{"stream":"CAP","seq":"1"}"#, false),
        (r#"{"seq":1}"#, false),
        ("", false),
        ("[]", false),
    ] {
        assert_eq!(is_stream_ack(payload.as_bytes()), expected, "{payload}");
    }
}

#[test]
fn a_text_is_found_in_any_bytes() {
    assert!(contains(b"\xff\x00ok\xfe", "ok"));
    assert!(contains("grün".as_bytes(), "ü"));
    assert!(contains(b"", "") && !contains(b"", "x") && !contains(b"o k", "ok"));
    assert_eq!(excerpt(b"\xffa|b\n"), "?a?b?");
    assert_eq!(excerpt("é".repeat(1000).as_bytes()), "é".repeat(EXCERPT_CHARS) + "...");
}
