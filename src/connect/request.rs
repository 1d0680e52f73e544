//! The request to an endpoint of the service: validated, and never printed.

use std::fmt;
use std::sync::Arc;

use crate::values::secret::Secret;
use crate::values::text::{clean, keep};

/// Maximum length of a subject, in bytes: a protocol line of a server ends at 4096.
pub const MAX_SUBJECT_BYTES: usize = 1024;

/// A subject that can be published to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject(String);

impl Subject {
    /// # Errors
    ///
    /// The error. The server would take a wildcard for a literal, and a line break for the end of a protocol line.
    pub fn parse(text: &str) -> Result<Subject, String> {
        let good = |token: &str| {
            let plain = token.chars().all(|c| !c.is_control() && !c.is_whitespace());
            !token.is_empty() && plain && token != "*" && token != ">"
        };
        if text.len() > MAX_SUBJECT_BYTES || !text.split('.').all(good) {
            return Err(format!(
                "'{}' is no subject to ask on: it has tokens with dots between them, without blanks and wildcards, like orders.echo",
                clean(text, 80)
            ));
        }
        Ok(Subject(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn shown(&self) -> String {
        shown(&self.0)
    }
}

/// A subject or a pattern of subjects to be shown, and to paste into permissions: [`clean`] would take out its `$` and `>`.
pub fn shown(subject: &str) -> String {
    keep(subject, 200, |c| c.is_ascii_alphanumeric() || "-_.$/:=+@*>".contains(c))
}

/// Where a request is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// To the endpoint of this name, whose subject the service tells.
    Endpoint(String),
    Subject(Subject),
}

/// The bytes of a request. They may be a secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Payload(Arc<[u8]>);

impl Payload {
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Payload {
        Payload(bytes.into())
    }

    /// The bytes themselves, for the request only.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// One request to one instance, and what its reply should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointRequest {
    pub to: Destination,
    pub payload: Payload,
    /// Valid ones; their values may be secrets.
    pub headers: Vec<(String, Secret)>,
    /// A text that has to be in the reply.
    pub reply_contains: Option<String>,
}

impl EndpointRequest {
    /// Returns the size that the server counts, in bytes: the headers as they are sent, and the payload.
    pub fn size(&self) -> usize {
        let lines = self
            .headers
            .iter()
            .map(|(key, value)| key.len() + value.reveal().len() + 3);
        let headers = match self.headers.is_empty() {
            true => 0,
            false => "NATS/1.0\r\n\r\n".len() + lines.sum::<usize>(),
        };
        headers + self.payload.reveal().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_cannot_break_the_protocol() {
        for good in ["orders", "orders.echo", "$SRV.PING", "a*b.c>d", "größe.x"] {
            assert_eq!(
                Subject::parse(good).map(|subject| subject.as_str().to_owned()),
                Ok(good.into())
            );
        }
        let long = "x".repeat(MAX_SUBJECT_BYTES + 1);
        for bad in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "a b",
            "a\tb",
            "a\u{a0}b",
            "*",
            "a.*",
            "a.>",
            ">",
            "x 0\r\n\r\nPUB victim 5\r\n",
            "a\0",
            "a\u{7f}",
            &long,
        ] {
            let why = Subject::parse(bad).expect_err(bad);
            assert!(why.contains("is no subject to ask on"), "{why}");
            assert!(why.len() < 300 && !why.contains('\n'), "{why}");
        }
        let evil = Subject::parse("a|b<c'`$x").expect("a subject, though a strange one");
        assert_eq!(evil.shown(), "a?b?c??$x");
    }

    #[test]
    fn the_size_is_what_the_server_counts() {
        let mut request = EndpointRequest {
            to: Destination::Endpoint("a".into()),
            payload: Payload::default(),
            headers: vec![],
            reply_contains: None,
        };
        assert_eq!(request.size(), 0);
        request.payload = Payload::new(&b"12345"[..]);
        assert_eq!(request.size(), 5);
        request.headers = vec![
            ("A".into(), Secret::new("1")),
            ("Authorization".into(), Secret::new("s3cret")),
        ];
        assert_eq!(
            request.size(),
            "NATS/1.0\r\nA:1\r\nAuthorization:s3cret\r\n\r\n12345".len()
        );
        let shown = format!("{request:?}");
        assert!(!shown.contains("s3cret") && !shown.contains("12345"), "{shown}");
    }
}
