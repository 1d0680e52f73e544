//! The head of an HTTP request. Pure: bytes -> a request, or why it is refused.

use std::net::IpAddr;
use std::str::from_utf8;

use httparse::{EMPTY_HEADER, Error};

use super::response::HttpStatus;

/// Maximum length of the request line and the headers together, in bytes.
pub const MAX_HEAD_BYTES: usize = 8 * 1024;

/// Maximum number of headers. Browsers send some twenty.
const MAX_HEADERS: usize = 64;

/// A request for a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpRequest<'b> {
    /// As it was sent: nothing in it is decoded or resolved, so that only the very words of a path are one.
    pub path: &'b str,
    /// HEAD: the headers of the page, without the page.
    pub head_only: bool,
    /// Text behind the `?`, as it was sent; empty without one.
    pub query: &'b str,
    /// The Host header. No browser leaves it out.
    pub host: Option<&'b str>,
}

impl<'b> HttpRequest<'b> {
    /// A request for this path, with nothing else in it.
    pub fn get(path: &'b str) -> HttpRequest<'b> {
        HttpRequest {
            path,
            head_only: false,
            query: "",
            host: None,
        }
    }

    /// The value of a parameter of the query, empty where it has none. The first counts, and nothing in it is decoded.
    pub fn parameter(&self, name: &str) -> Option<&'b str> {
        let of_name = |part: &'b str| match part.strip_prefix(name)? {
            "" => Some(""),
            rest => rest.strip_prefix('='),
        };
        self.query.split('&').find_map(of_name)
    }

    /// Returns `true` if the request may be meant for a server that only its own machine can reach. A page in a browser there can
    /// send requests to it too, under a name that its author had resolved to 127.0.0.1 (DNS rebinding): then the Host is that
    /// name.
    pub fn is_for_loopback(&self) -> bool {
        let Some(host) = self.host else { return true };
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => host,
        };
        let address = name
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(name);
        match address.parse::<IpAddr>() {
            Ok(address) => address.to_canonical().is_loopback(),
            Err(_) => {
                let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
                // RFC 6761, section 6.3.
                name == "localhost" || name.ends_with(".localhost")
            }
        }
    }
}

/// Meaning of the bytes received so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParsedRequest<'b> {
    /// The beginning of a request.
    Partial,
    Complete(HttpRequest<'b>),
    Refused(HttpStatus),
}

/// Reads the head of a request, whatever follows it.
pub fn parse(bytes: &[u8]) -> ParsedRequest<'_> {
    let head = &bytes[..bytes.len().min(MAX_HEAD_BYTES)];
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => read(&request),
        Ok(httparse::Status::Partial) if head.len() == MAX_HEAD_BYTES => {
            ParsedRequest::Refused(HttpStatus::HeadTooLarge)
        }
        Ok(httparse::Status::Partial) => ParsedRequest::Partial,
        Err(Error::TooManyHeaders) => ParsedRequest::Refused(HttpStatus::HeadTooLarge),
        // The preface of HTTP/2 is a request of version 2.
        Err(Error::Version) => ParsedRequest::Refused(HttpStatus::VersionNotSupported),
        Err(_) => ParsedRequest::Refused(HttpStatus::BadRequest),
    }
}

fn read<'b>(request: &httparse::Request<'_, 'b>) -> ParsedRequest<'b> {
    let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version) else {
        return ParsedRequest::Refused(HttpStatus::BadRequest);
    };
    let head_only = match method {
        "GET" => false,
        "HEAD" => true,
        _ => return ParsedRequest::Refused(HttpStatus::MethodNotAllowed),
    };
    // RFC 9112, section 3.2: exactly one Host from HTTP/1.1 on, and a path as the target, since this is no proxy.
    let is_host = |header: &&httparse::Header<'_>| header.name.eq_ignore_ascii_case("host");
    let mut hosts = request.headers.iter().filter(is_host);
    let host = hosts.next().map(|header| from_utf8(header.value));
    if hosts.next().is_some() || (host.is_none() && version == 1) || !target.starts_with('/') {
        return ParsedRequest::Refused(HttpStatus::BadRequest);
    }
    let Ok(host) = host.transpose() else {
        return ParsedRequest::Refused(HttpStatus::BadRequest);
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    ParsedRequest::Complete(HttpRequest {
        path,
        head_only,
        query,
        host,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str) -> HttpRequest<'_> {
        HttpRequest::get(path)
    }

    #[test]
    fn a_host_is_of_loopback_or_not() {
        let is_ours = |host| HttpRequest { host, ..get("/") }.is_for_loopback();
        assert!(is_ours(None), "no browser");
        for host in [
            "localhost",
            "LocalHost:9422",
            "localhost.",
            "orders.localhost:80",
            "127.0.0.1",
            "127.0.0.1:9422",
            "127.8.9.1",
            "[::1]",
            "[::1]:9422",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(is_ours(Some(host)), "{host}");
        }
        for host in [
            "",
            ":9422",
            "rebind.example.org",
            "rebind.example.org:9422",
            "localhost.example.org",
            "notlocalhost",
            "127.0.0.1.example.org",
            "10.0.0.1",
            "0.0.0.0",
            "[::]",
            "[fe80::1]:9422",
            "localhost:80:80",
            "127.0.0.1@example.org",
        ] {
            assert!(!is_ours(Some(host)), "{host}");
        }
    }

    #[test]
    fn parameters_of_the_query_are_found() {
        let parameter = |query, name| HttpRequest { query, ..get("/") }.parameter(name);
        for (query, name, expected) in [
            ("", "verbose", None),
            ("verbose", "verbose", Some("")),
            ("verbose=", "verbose", Some("")),
            ("verbosely", "verbose", None),
            ("a=1&service=orders&service=mail", "service", Some("orders")),
            ("service=a%20b", "service", Some("a%20b")),
            ("xservice=orders", "service", None),
        ] {
            assert_eq!(parameter(query, name), expected, "{query}");
        }
    }

    fn at<'b>(host: &'b str, request: HttpRequest<'b>) -> HttpRequest<'b> {
        HttpRequest {
            host: Some(host),
            ..request
        }
    }

    #[test]
    fn requests_are_read() {
        let asking = |path, query| HttpRequest { query, ..get(path) };
        let head = HttpRequest {
            head_only: true,
            ..get("/metrics")
        };
        let long = format!("GET / HTTP/1.0\r\nA: {}\r\n\r\n", "x".repeat(MAX_HEAD_BYTES - 23));
        assert_eq!(long.len(), MAX_HEAD_BYTES);
        for (text, request) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", at("a", get("/"))),
            ("GET / HTTP/1.0\r\n\r\n", get("/")),
            // As netcat sends it.
            ("GET /livez HTTP/1.0\n\n", get("/livez")),
            (
                "GET /livez?verbose HTTP/1.1\r\nhost: b:80\r\n\r\n",
                at("b:80", asking("/livez", "verbose")),
            ),
            (
                "GET /livez?a&verbose=1 HTTP/1.0\r\n\r\n",
                asking("/livez", "a&verbose=1"),
            ),
            ("GET /livez?verbosely HTTP/1.0\r\n\r\n", asking("/livez", "verbosely")),
            ("GET /livez?#verbose? HTTP/1.0\r\n\r\n", asking("/livez", "#verbose?")),
            ("HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n", at("a", head)),
            // The rest is not parsed.
            (
                "GET /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
                at("a", get("/a")),
            ),
            (
                "GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\n\r\n\0\0",
                at("a", get("/a")),
            ),
            // Nothing is decoded or resolved: these paths do not exist.
            ("GET /a/../livez HTTP/1.0\r\n\r\n", get("/a/../livez")),
            ("GET /%6civez HTTP/1.0\r\n\r\n", get("/%6civez")),
            ("GET //livez HTTP/1.0\r\n\r\n", get("//livez")),
            (&long, get("/")),
        ] {
            assert_eq!(parse(text.as_bytes()), ParsedRequest::Complete(request), "{text:?}");
        }
    }

    #[test]
    fn malformed_requests_are_refused() {
        let too_long = format!("GET /{} HTTP/1.0\r\n\r\n", "x".repeat(MAX_HEAD_BYTES));
        let too_many = format!("GET / HTTP/1.0\r\n{}\r\n", "A: b\r\n".repeat(MAX_HEADERS + 1));
        let one_more = format!("GET / HTTP/1.0\r\nA: {}\r\n\r\n", "x".repeat(MAX_HEAD_BYTES - 22));
        for (text, status) in [
            ("POST /livez HTTP/1.1\r\nHost: a\r\n\r\n", HttpStatus::MethodNotAllowed),
            ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", HttpStatus::MethodNotAllowed),
            ("get / HTTP/1.0\r\n\r\n", HttpStatus::MethodNotAllowed),
            ("GET / HTTP/1.1\r\n\r\n", HttpStatus::BadRequest),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", HttpStatus::BadRequest),
            ("GET http://a/livez HTTP/1.1\r\nHost: a\r\n\r\n", HttpStatus::BadRequest),
            ("GET  / HTTP/1.0\r\n\r\n", HttpStatus::BadRequest),
            ("GET /\r\n\r\n", HttpStatus::BadRequest),
            ("GET / HTTP/1.0\r\n: b\r\n\r\n", HttpStatus::BadRequest),
            ("GET / HTTP/1.0\r\nA : b\r\n\r\n", HttpStatus::BadRequest),
            ("GET / HTTP/1.0\r\n A: b\r\n\r\n", HttpStatus::BadRequest),
            ("GET / HTTP/1.0\r\nA: b\0\r\n\r\n", HttpStatus::BadRequest),
            ("GET /\0 HTTP/1.0\r\n\r\n", HttpStatus::BadRequest),
            ("\0", HttpStatus::BadRequest),
            // TLS ClientHello.
            ("\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03", HttpStatus::BadRequest),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HttpStatus::VersionNotSupported),
            ("GET / HTTP/9.9\r\n\r\n", HttpStatus::VersionNotSupported),
            (&too_long, HttpStatus::HeadTooLarge),
            (&too_many, HttpStatus::HeadTooLarge),
            (&one_more, HttpStatus::HeadTooLarge),
        ] {
            assert_eq!(parse(text.as_bytes()), ParsedRequest::Refused(status), "{text:?}");
        }
    }

    #[test]
    fn a_request_may_come_in_parts() {
        let text = b"GET /livez?verbose HTTP/1.1\r\nHost: a\r\nUser-Agent: kube-probe/1.33\r\nAccept: */*\r\n\r\n";
        for end in 0..text.len() {
            assert_eq!(parse(&text[..end]), ParsedRequest::Partial, "{end}");
        }
        assert!(matches!(parse(text), ParsedRequest::Complete(_)));
    }

    /// Whatever comes, it is read or refused, and what is read is what was sent: a coverage-guided run begins here, too.
    #[test]
    fn random_bytes_do_no_harm() {
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = move |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random >> 32) as usize % below
        };
        let parts: [&[u8]; 16] = [
            b"GET ",
            b"HEAD ",
            b"PRI ",
            b"/",
            b"/livez",
            b"?verbose",
            b"..",
            b"%2e",
            b" HTTP/1.1",
            b" HTTP/2.0",
            b"\r\n",
            b"\n",
            b"Host: a",
            b"Content-Length: 9",
            b": ",
            b"\0\xff",
        ];
        let (mut read, mut refused) = (0, 0);
        for _ in 0..100_000 {
            let mut bytes = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
            if next(2) == 0 {
                bytes = (0..next(12)).flat_map(|_| parts[next(parts.len())]).copied().collect();
            }
            for _ in 0..next(4) {
                let at = next(bytes.len() + 1);
                bytes.insert(at, next(256) as u8);
            }
            match parse(&bytes) {
                ParsedRequest::Partial => {}
                ParsedRequest::Refused(_) => refused += 1,
                ParsedRequest::Complete(HttpRequest { path, .. }) => {
                    read += 1;
                    assert!(
                        path.starts_with('/') && !path.contains([' ', '?', '\n', '\0']),
                        "{bytes:?}"
                    );
                    assert!(String::from_utf8_lossy(&bytes).contains(path), "{bytes:?}");
                }
            }
        }
        assert!(read > 1000 && refused > 1000, "{read} {refused}");
    }
}
