//! The head of an HTTP request, as it may come in parts.

use check_nats_service::serve::request::{LONGEST, Parsed, parse};
use check_nats_service::serve::response::{Response, Status};

use super::Target;

pub const TARGET: Target = Target {
    name: "http",
    run,
    seeds: &[
        "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n",
        "HEAD /readyz?verbose HTTP/1.0\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: a\r\nAccept: text/plain\r\nContent-Length: 3\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /../%2e%2e/etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET http://a/livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}",
    ],
    samples: None,
    words: &[
        "GET ",
        "HEAD ",
        " HTTP/1.1",
        " HTTP/1.0",
        "\r\n",
        "\r\n\r\n",
        "Host:",
        "?verbose",
        "/livez",
        "%2e",
        "..",
        "\u{0}",
    ],
};

fn run(input: &[u8]) {
    let parsed = parse(input);
    match parsed {
        Parsed::Request(request) => {
            assert!(
                request.path.starts_with('/') && !request.path.contains(['?', ' ', '\r', '\n']),
                "{request:?}"
            );
            // What follows the head changes nothing.
            let mut longer = input.to_vec();
            longer.extend_from_slice(b"GET / HTTP/1.1\r\n\r\n\0");
            assert_eq!(parse(&longer), parsed);
        }
        Parsed::Refused(status) => {
            assert!(!matches!(status, Status::Ok | Status::Unavailable), "{status:?}");
            let response = Response::refusal(status);
            assert!(response.head().ends_with("\r\n\r\n") && response.head().matches("\r\n\r\n").count() == 1);
        }
        Parsed::Partial => assert!(input.len() < LONGEST),
    }
    // A request that comes in parts is none before it is whole, and what was refused stays so.
    let half = input.len() / 2;
    match parse(&input[..half]) {
        Parsed::Partial => {}
        whole => assert_eq!(whole, parsed),
    }
}
