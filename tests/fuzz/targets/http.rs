//! The head of an HTTP request: it is whole, the beginning of one, or refused, and nothing of it is in the answer.

use std::time::Duration;

use check_nats_service::commands::site::Site;
use check_nats_service::probe::plan::Wanted;
use check_nats_service::serve::request::{MAX_HEAD_BYTES, ParsedRequest, parse};
use check_nats_service::serve::response::HttpStatus;
use check_nats_service::values::timestamp::Timestamp;

use super::Target;

pub const TARGET: Target = Target {
    name: "http",
    run,
    seeds: &[
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "HEAD /livez?verbose HTTP/1.0\r\n\r\n",
        "GET /metrics HTTP/1.1\nhost:a\nAccept: */*\n\n",
        "GET /../livez HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}",
        "POST http://a/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    ],
    samples: None,
    words: &[
        "GET ",
        "HEAD ",
        "/livez",
        "/readyz",
        "/startupz",
        "/metrics",
        "/status",
        "?verbose",
        "unreachable=pass",
        "&",
        "%2e",
        " HTTP/1.1",
        " HTTP/1.0",
        "\r\n",
        "\r\n\r\n",
        "Host: ",
        "Transfer-Encoding: chunked",
    ],
};

const PATHS: [&str; 7] = ["/", "/livez", "/readyz", "/startupz", "/healthz", "/metrics", "/status"];
/// The same where all services are watched.
const PATHS_OF_MANY: [&str; 5] = ["/", "/healthz", "/metrics", "/status", "/probe"];

fn run(input: &[u8]) {
    let ParsedRequest::Complete(request) = parse(input) else {
        return;
    };
    let path = request.path;
    assert!(path.starts_with('/') && path.len() < MAX_HEAD_BYTES, "{path:?}");
    assert!(
        !path.contains(|c: char| c.is_control() || c == ' ' || c == '?'),
        "{path:?}"
    );
    // What follows does not change it, and nothing less is it.
    let more = [input, b"GET / HTTP/1.1\r\n\r\n"].concat();
    assert_eq!(parse(&more), ParsedRequest::Complete(request));
    let end = (1..=input.len()).find(|end| parse(&input[..*end]) != ParsedRequest::Partial);
    let end = end.expect("the whole is no part");
    assert_eq!(parse(&input[..end]), ParsedRequest::Complete(request), "{input:?}");

    let site = Site {
        service: "demo".into(),
        is_of_many: input.len().is_multiple_of(2),
        interval: Duration::from_secs(15),
        max_age: Duration::from_secs(45),
        unreachable: None,
        selector: None,
        started: Timestamp::from_seconds(0),
        check_requests: 0,
        served: None,
    };
    let answer = |request| site.answer(&request, || Some(Ok(Wanted::Any)), 0, Timestamp::from_seconds(0));
    let response = answer(request);
    let is_page = match site.is_of_many {
        true => PATHS_OF_MANY.contains(&path) || path.starts_with("/service/"),
        false => PATHS.contains(&path),
    };
    assert_eq!(response.status == HttpStatus::NotFound, !is_page, "{path:?}");
    // A probe of a pod is told why there is none.
    if response.status == HttpStatus::NotFound && !PATHS.contains(&path) {
        let mut other = request;
        other.path = "/nowhere";
        assert_eq!(response, answer(other), "nothing of it is said back");
    }
}
