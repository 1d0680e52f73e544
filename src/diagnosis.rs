//! What the client and the server say when something fails, put into reasons and into words for an operator. Pure.
//!
//! The client reports everything as text in an `io::Error`; the texts were measured, and each has its row in the tests.

use std::io::{Error, ErrorKind};

use crate::observation::Failure;
use crate::target::Auth;
use crate::text::clean;
use crate::verdict::Reason;

/// How much of a foreign text is shown, in characters.
const QUOTED: usize = 120;

/// What waits for an answer that does not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hung {
    /// The name does not resolve.
    Resolving,
    /// TCP does not connect.
    Connecting,
    /// Connected, and not a byte has come.
    Greeting,
    /// Something came, and the login is not finished.
    LoggingIn,
    /// Logged in, and no PONG to the request.
    Asking,
}

/// The server (or the name service) did not answer within the time that there was.
pub fn timed_out(address: &str, hung: Hung, waited: &str) -> Failure {
    let text = match hung {
        Hung::Resolving => format!("cannot resolve {address}: no answer from DNS within {waited}"),
        Hung::Connecting => format!(
            "cannot reach NATS at {address}: no answer to the TCP connection within {waited}; \
             is the host up, or does a firewall drop it?"
        ),
        Hung::Greeting => format!(
            "{address} accepts the connection but says nothing for {waited}; \
             is nats-server frozen, or is this another service?"
        ),
        Hung::LoggingIn => format!("NATS at {address} did not finish the login within {waited}"),
        Hung::Asking => format!("NATS at {address} took the request but stopped answering; waited {waited}"),
    };
    Failure::new(Reason::NatsUnreachable, text)
}

/// The name of the server could not be resolved.
pub fn not_resolved(host: &str, error: &Error) -> Failure {
    let text = error.to_string();
    let why = text.rsplit(": ").next().unwrap_or_default();
    Failure::new(
        Reason::NatsUnreachable,
        format!("cannot resolve {host}: {}", clean(why, QUOTED)),
    )
}

/// The user wants TLS.
pub fn no_tls(address: &str) -> Failure {
    let text = format!("tls://{address}: this version cannot do TLS; nats:// would send all in the clear");
    Failure::new(Reason::TlsFailed, text)
}

/// The connection to this address could not be made, or the login failed.
pub fn not_connected(address: &str, auth: &Auth, error: &Error) -> Failure {
    let text = error.to_string();
    if let Some(said) = text.strip_prefix("unexpected line while connecting: Err(") {
        return server_said(address, auth, said.trim_matches(['(', ')', '"']));
    }
    if let Some(said) = text.strip_prefix("expected INFO, received: ") {
        // As in `Err("maximum connections exceeded")`, `Unknown("SSH-2.0-OpenSSH_9.2\r\n")`.
        if let Some(said) = said.strip_prefix("Err(") {
            return server_said(address, auth, said.trim_matches(['(', ')', '"']));
        }
        let said = said.trim_start_matches("Unknown(").trim_matches(['(', ')', '"']);
        let said = clean(said.trim_end_matches("\\r\\n"), QUOTED);
        return protocol(format!("{address} is no NATS server: it said {said}"));
    }
    if let Some(why) = text.strip_prefix("TLS error: ") {
        let text = format!(
            "NATS at {address} wants TLS, which this version cannot do: {}",
            clean(why, QUOTED)
        );
        return Failure::new(Reason::TlsFailed, text);
    }
    match error.kind() {
        ErrorKind::ConnectionRefused => unreachable(address, "connection refused; is nats-server running there?"),
        ErrorKind::TimedOut => unreachable(address, "TCP gave up; is the host up, or does a firewall drop it?"),
        ErrorKind::UnexpectedEof
        | ErrorKind::ConnectionReset
        | ErrorKind::BrokenPipe
        | ErrorKind::ConnectionAborted => unreachable(
            address,
            "it closed the connection during the login; is it stopping, or at its connection limit?",
        ),
        // A few kinds have names that are not stable; the system's own words serve for all of them.
        _ if error.raw_os_error().is_some() => {
            let text = text.split(" (os error").next().unwrap_or_default();
            unreachable(address, &clean(text, QUOTED).to_lowercase())
        }
        _ => protocol(match text.as_str() {
            "received command exceeded fixed command buffer" => {
                format!(
                    "{address} sent a line of more than 4096 bytes, more than this client reads; too many connect_urls?"
                )
            }
            _ => format!("{address} does not speak the NATS protocol: {}", clean(&text, QUOTED)),
        }),
    }
}

/// The server sent `-ERR` with this text.
pub fn server_said(address: &str, auth: &Auth, text: &str) -> Failure {
    let lower = text.to_ascii_lowercase();
    let is = |part: &str| lower.contains(part);
    // The client's `Debug` puts a backslash before each quote.
    let said = clean(&text.replace(['\\', '"'], ""), QUOTED);
    if is("permissions violation") {
        let subject = text.split('"').nth(1).unwrap_or_default().trim_end_matches('\\');
        let subject = clean_subject(subject);
        let (verb, list) = match is("subscription") {
            true => ("subscribe to", "subscribe"),
            false => ("publish to", "publish"),
        };
        // The name of an inbox is another one each time.
        let allow = match subject.strip_prefix("_INBOX.") {
            Some(_) => "_INBOX.>",
            None => subject.as_str(),
        };
        let text = match subject.is_empty() {
            true => format!("NATS at {address} does not let us ask: {said}"),
            false => format!("NATS at {address} does not let us {verb} {subject}; allow {list} on {allow}"),
        };
        return Failure::new(Reason::PermissionDenied, text);
    }
    if is("maximum subscriptions") {
        let text = format!("NATS at {address} does not let us subscribe to an inbox: {said}");
        return Failure::new(Reason::PermissionDenied, text);
    }
    if is("authorization violation") || is("authentication") {
        let text = match auth {
            Auth::None => {
                format!("NATS at {address} wants credentials ({said}); give --user and --password, or --token")
            }
            Auth::Token(_) => format!("NATS at {address} refused the token ({said})"),
            Auth::UserPassword { user, .. } => {
                format!(
                    "NATS at {address} refused the user {} or the password ({said})",
                    clean(user, 64)
                )
            }
        };
        return Failure::new(Reason::AuthRejected, text);
    }
    if is("tls required") {
        return Failure::new(Reason::TlsFailed, format!("NATS at {address} wants TLS ({said})"));
    }
    if is("maximum") && is("connections exceeded") {
        return unreachable(address, &format!("no connection is left for us ({said})"));
    }
    if is("stale connection") || is("shutdown") {
        return unreachable(address, &said.to_lowercase());
    }
    if is("slow consumer") {
        return protocol(format!("{address} floods us with replies"));
    }
    protocol(format!("NATS at {address} said: {said}"))
}

/// The connection broke while the service was asked, twice.
pub fn lost_twice(address: &str) -> Failure {
    protocol(format!(
        "the connection to NATS at {address} broke twice while asking; a reply that breaks the protocol does that"
    ))
}

/// Several servers failed: the failure that came farthest leads, the others follow.
pub fn all_failed(failures: Vec<Failure>) -> Failure {
    let progress = |failure: &Failure| match failure.reason {
        Reason::NatsUnreachable => 0,
        Reason::ProtocolError => 1,
        Reason::TlsFailed => 2,
        _ => 3,
    };
    let mut sorted = failures;
    sorted.sort_by_key(|failure| std::cmp::Reverse(progress(failure)));
    let reason = sorted.first().map_or(Reason::ProtocolError, |failure| failure.reason);
    let mut texts: Vec<String> = Vec::new();
    for failure in sorted {
        if !texts.contains(&failure.text) {
            texts.push(failure.text);
        }
    }
    Failure::new(reason, texts.join("; "))
}

fn unreachable(address: &str, why: &str) -> Failure {
    Failure::new(
        Reason::NatsUnreachable,
        format!("cannot reach NATS at {address}: {why}"),
    )
}

fn protocol(text: String) -> Failure {
    Failure::new(Reason::ProtocolError, text)
}

/// A subject to paste into `permissions`: it needs its `$` and `>`, which [`clean`] takes out of ordinary text.
fn clean_subject(subject: &str) -> String {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.$*>/:=".contains(c);
    subject.chars().filter(|c| good(*c)).take(QUOTED).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Secret;

    const AT: &str = "h:4222";

    fn user() -> Auth {
        Auth::UserPassword {
            user: "mon".into(),
            password: Secret::new("s3cret"),
        }
    }

    /// Every way in which a connect was seen to fail.
    #[test]
    fn failed_connects() {
        use Reason::*;
        let data = ErrorKind::InvalidData;
        let cases = [
            (
                Error::from_raw_os_error(libc::ECONNREFUSED),
                NatsUnreachable,
                "cannot reach NATS at h:4222: connection refused; is nats-server running there?",
            ),
            (
                Error::from_raw_os_error(libc::ETIMEDOUT),
                NatsUnreachable,
                "cannot reach NATS at h:4222: TCP gave up; is the host up, or does a firewall drop it?",
            ),
            (
                Error::from_raw_os_error(libc::ENETUNREACH),
                NatsUnreachable,
                "cannot reach NATS at h:4222: network is unreachable",
            ),
            (
                Error::from_raw_os_error(libc::EMFILE),
                NatsUnreachable,
                "cannot reach NATS at h:4222: too many open files",
            ),
            (
                Error::new(ErrorKind::UnexpectedEof, "failed to fill whole buffer"),
                NatsUnreachable,
                "cannot reach NATS at h:4222: it closed the connection during the login; is it stopping, or at its \
                 connection limit?",
            ),
            (
                Error::from_raw_os_error(libc::EPIPE),
                NatsUnreachable,
                "cannot reach NATS at h:4222: it closed the connection during the login; is it stopping, or at its \
                 connection limit?",
            ),
            (
                Error::new(
                    data,
                    r#"unexpected line while connecting: Err("Authorization Violation")"#,
                ),
                AuthRejected,
                "NATS at h:4222 refused the user mon or the password (Authorization Violation)",
            ),
            (
                Error::new(
                    data,
                    r#"unexpected line while connecting: Err("maximum account active connections exceeded")"#,
                ),
                NatsUnreachable,
                "cannot reach NATS at h:4222: no connection is left for us (maximum account active connections exceeded)",
            ),
            (
                Error::other(r#"expected INFO, received: Err("maximum connections exceeded")"#),
                NatsUnreachable,
                "cannot reach NATS at h:4222: no connection is left for us (maximum connections exceeded)",
            ),
            (
                Error::other(r#"expected INFO, received: Unknown("SSH-2.0-OpenSSH_9.2\r\n")"#),
                ProtocolError,
                "h:4222 is no NATS server: it said SSH-2.0-OpenSSH_9.2",
            ),
            (
                Error::other("expected INFO, received: Ping"),
                ProtocolError,
                "h:4222 is no NATS server: it said Ping",
            ),
            (
                Error::new(
                    ErrorKind::InvalidInput,
                    "received command exceeded fixed command buffer",
                ),
                ProtocolError,
                "h:4222 sent a line of more than 4096 bytes, more than this client reads; too many connect_urls?",
            ),
            (
                Error::new(ErrorKind::InvalidInput, "cannot parse server info"),
                ProtocolError,
                "h:4222 does not speak the NATS protocol: cannot parse server info",
            ),
            (
                Error::other("TLS error: invalid peer certificate: UnknownIssuer"),
                TlsFailed,
                "NATS at h:4222 wants TLS, which this version cannot do: invalid peer certificate: UnknownIssuer",
            ),
            (
                Error::new(data, "unexpected line while connecting: Unknown(\"x|y=1\\n\")"),
                ProtocolError,
                "h:4222 does not speak the NATS protocol: unexpected line while connecting: Unknown(?x?y=1?n?)",
            ),
        ];
        for (error, reason, text) in cases {
            assert_eq!(
                not_connected(AT, &user(), &error),
                Failure::new(reason, text),
                "{error}"
            );
        }
    }

    /// Every `-ERR` that servers were seen to send.
    #[test]
    fn words_of_the_server() {
        use Reason::*;
        let cases = [
            (
                r#"Permissions Violation for Publish to "$SRV.PING.x""#,
                PermissionDenied,
                "NATS at h:4222 does not let us publish to $SRV.PING.x; allow publish on $SRV.PING.x",
            ),
            (
                r#"Permissions Violation for Subscription to "_INBOX.abc""#,
                PermissionDenied,
                "NATS at h:4222 does not let us subscribe to _INBOX.abc; allow subscribe on _INBOX.>",
            ),
            (
                "Permissions Violation",
                PermissionDenied,
                "NATS at h:4222 does not let us ask: Permissions Violation",
            ),
            (
                "maximum subscriptions exceeded",
                PermissionDenied,
                "NATS at h:4222 does not let us subscribe to an inbox: maximum subscriptions exceeded",
            ),
            (
                "User Authentication Expired",
                AuthRejected,
                "NATS at h:4222 wants credentials (User Authentication Expired); give --user and --password, or --token",
            ),
            (
                "Authentication Timeout",
                AuthRejected,
                "NATS at h:4222 wants credentials (Authentication Timeout); give --user and --password, or --token",
            ),
            (
                "Secure Connection - TLS Required",
                TlsFailed,
                "NATS at h:4222 wants TLS (Secure Connection - TLS Required)",
            ),
            (
                "Stale Connection",
                NatsUnreachable,
                "cannot reach NATS at h:4222: stale connection",
            ),
            (
                "Server Shutdown",
                NatsUnreachable,
                "cannot reach NATS at h:4222: server shutdown",
            ),
            (
                "slow consumer detected for subscription on subject _INBOX.x. dropping messages",
                ProtocolError,
                "h:4222 floods us with replies",
            ),
            (
                "Unknown Protocol Operation",
                ProtocolError,
                "NATS at h:4222 said: Unknown Protocol Operation",
            ),
            ("a|b=1\nOK", ProtocolError, "NATS at h:4222 said: a?b=1?OK"),
        ];
        for (said, reason, text) in cases {
            assert_eq!(server_said(AT, &Auth::None, said), Failure::new(reason, text), "{said}");
        }
        let token = server_said(AT, &Auth::Token(Secret::new("s3cret")), "Authorization Violation");
        assert_eq!(token.text, "NATS at h:4222 refused the token (Authorization Violation)");
    }

    #[test]
    fn names_that_do_not_resolve() {
        let error = Error::other("failed to lookup address information: Name or service not known");
        let failure = not_resolved("nats.example", &error);
        assert_eq!(failure.reason, Reason::NatsUnreachable);
        assert_eq!(failure.text, "cannot resolve nats.example: Name or service not known");
    }

    #[test]
    fn the_failure_that_came_farthest_leads() {
        let failure = |reason, text| Failure::new(reason, text);
        let all = all_failed(vec![
            failure(Reason::NatsUnreachable, "a refused"),
            failure(Reason::AuthRejected, "b wants a password"),
            failure(Reason::NatsUnreachable, "a refused"),
            failure(Reason::ProtocolError, "c is a web server"),
        ]);
        assert_eq!(
            all,
            failure(Reason::AuthRejected, "b wants a password; c is a web server; a refused")
        );
    }
}
