//! The answer to an HTTP request.

use std::rc::Rc;

/// The status of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpStatus {
    Ok,
    BadRequest,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    Misdirected,
    HeadTooLarge,
    Unavailable,
    VersionNotSupported,
}

impl HttpStatus {
    /// As it stands in the status line.
    pub fn line(self) -> &'static str {
        match self {
            HttpStatus::Ok => "200 OK",
            HttpStatus::BadRequest => "400 Bad Request",
            HttpStatus::NotFound => "404 Not Found",
            HttpStatus::MethodNotAllowed => "405 Method Not Allowed",
            HttpStatus::RequestTimeout => "408 Request Timeout",
            HttpStatus::Misdirected => "421 Misdirected Request",
            HttpStatus::HeadTooLarge => "431 Request Header Fields Too Large",
            HttpStatus::Unavailable => "503 Service Unavailable",
            HttpStatus::VersionNotSupported => "505 HTTP Version Not Supported",
        }
    }

    /// The number in the status line.
    pub fn code(self) -> u16 {
        match self {
            HttpStatus::Ok => 200,
            HttpStatus::BadRequest => 400,
            HttpStatus::NotFound => 404,
            HttpStatus::MethodNotAllowed => 405,
            HttpStatus::RequestTimeout => 408,
            HttpStatus::Misdirected => 421,
            HttpStatus::HeadTooLarge => 431,
            HttpStatus::Unavailable => 503,
            HttpStatus::VersionNotSupported => 505,
        }
    }

    /// In words, for a refusal.
    fn text(self) -> &'static str {
        match self {
            HttpStatus::Ok => "",
            HttpStatus::BadRequest => "this is no request that HTTP/1.1 allows (is it TLS?)",
            HttpStatus::NotFound => "there is no such page",
            HttpStatus::MethodNotAllowed => "only GET and HEAD are answered",
            HttpStatus::RequestTimeout => "the request took longer than a second",
            HttpStatus::Misdirected => {
                "this server is for its own machine only: it answers where the Host is localhost or a loopback address"
            }
            HttpStatus::HeadTooLarge => "the request line and the headers are longer than 8 KiB, or more than 64",
            HttpStatus::Unavailable => "there is nothing to report yet",
            HttpStatus::VersionNotSupported => "only HTTP/1.1 and HTTP/1.0 are spoken",
        }
    }
}

/// Type of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    Text,
    Html,
    Json,
    /// The text exposition format of Prometheus.
    Metrics,
}

impl Content {
    fn media_type(self) -> &'static str {
        match self {
            Content::Text => "text/plain; charset=utf-8",
            Content::Html => "text/html; charset=utf-8",
            Content::Json => "application/json",
            Content::Metrics => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// An answer. Its body is shared: of a large page there is one copy, however many read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpResponse {
    pub status: HttpStatus,
    pub content: Content,
    pub body: Rc<str>,
    /// The Content-Security-Policy: what the page itself may do.
    pub policy: String,
}

/// Pages without anything that is loaded or run.
const NOTHING_ALLOWED: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

impl HttpResponse {
    pub fn new(status: HttpStatus, content: Content, body: impl Into<Rc<str>>) -> HttpResponse {
        HttpResponse {
            status,
            content,
            body: body.into(),
            policy: NOTHING_ALLOWED.to_owned(),
        }
    }

    /// A page for people. `sources`: what else its policy allows.
    pub fn html(status: HttpStatus, body: impl Into<Rc<str>>, sources: &str) -> HttpResponse {
        HttpResponse {
            policy: format!("{NOTHING_ALLOWED}; {sources}"),
            ..HttpResponse::new(status, Content::Html, body)
        }
    }

    /// Why there is no page. Nothing of the request is in it.
    pub fn refusal(status: HttpStatus) -> HttpResponse {
        HttpResponse::new(status, Content::Text, format!("{}\n", status.text()))
    }

    /// The status line and the headers, with the empty line.
    pub fn head(&self) -> String {
        let allow = match self.status {
            HttpStatus::MethodNotAllowed => "Allow: GET, HEAD\r\n",
            _ => "",
        };
        format!(
            "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n{allow}Cache-Control: no-store\r\n\
             X-Content-Type-Options: nosniff\r\nContent-Security-Policy: {}\r\nReferrer-Policy: no-referrer\r\n\
             Connection: close\r\n\r\n",
            self.status.line(),
            self.content.media_type(),
            self.body.len(),
            self.policy,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_describe_the_body() {
        let head = HttpResponse::new(HttpStatus::Ok, Content::Metrics, "größe\n").head();
        assert_eq!(
            head,
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: 8\r\n\
             Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nContent-Security-Policy: default-src 'none'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\nReferrer-Policy: no-referrer\r\n\
             Connection: close\r\n\r\n"
        );
        assert_eq!(HttpStatus::Misdirected.line(), "421 Misdirected Request");
        assert_eq!(HttpStatus::Misdirected.code(), 421);
        let head = HttpResponse::refusal(HttpStatus::MethodNotAllowed).head();
        assert!(head.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"), "{head}");
        assert!(head.contains("\r\nAllow: GET, HEAD\r\n"), "{head}");
        let head = HttpResponse::html(HttpStatus::Ok, "", "img-src data:").head();
        assert!(head.contains("; frame-ancestors 'none'; img-src data:\r\n"), "{head}");
    }
}
