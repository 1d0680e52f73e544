//! Texts of a server, and of the client about it: any of them ends in a reason and a line.

use std::io::{Error, ErrorKind};
use std::time::Duration;

use check_nats_service::connect::target::Auth;
use check_nats_service::probe::diagnosis::{Peer, denied_subject, not_connected, not_resolved, server_said, tls_error};
use check_nats_service::probe::observation::Failure;
use check_nats_service::values::secret::Secret;
use check_nats_service::values::status::Reason;
use check_nats_service::values::timestamp::Timestamp;

use super::{SECRET, Target, text};

pub const TARGET: Target = Target {
    name: "server_text",
    run,
    seeds: &[
        "Authorization Violation",
        "Permissions Violation for Publish to \"$SRV.PING.demo\"",
        "Permissions Violation for Subscription to \"_INBOX.x|y\"",
        "unexpected line while connecting: Err(\"Authorization Violation\")",
        "expected INFO, received: Unknown(\"SSH-2.0-OpenSSH_9.2\\r\\n\")",
        "expected INFO, received: Err(\"maximum connections exceeded\")",
        "TLS error: invalid peer certificate: UnknownIssuer",
        "TLS error: received fatal alert: CertificateRequired",
        "received command exceeded fixed command buffer",
        "failed to fill whole buffer",
        "failed to lookup address information: Name or service not known",
        "maximum subscriptions exceeded",
        "slow consumer",
        "Stale Connection",
        "User Authentication Expired",
    ],
    samples: None,
    words: &[
        "permissions violation",
        " for Publish to ",
        "subscription",
        "\"",
        "\\\"",
        "$SRV.PING.demo.",
        "_INBOX.",
        "maximum",
        "connections exceeded",
        "tls required",
        "Err(",
        "Unknown(",
        "TLS error: ",
        "alert: ",
        "|",
        "\n",
        ">",
        "*",
    ],
};

/// Those that are about the service, and not about NATS.
const OF_THE_SERVICE: [Reason; 4] = [
    Reason::ServiceDown,
    Reason::ServiceSilent,
    Reason::ServiceNeverSeen,
    Reason::ServiceUp,
];

fn run(input: &[u8]) {
    let Some(text) = text(input) else { return };
    let logins = [
        Auth::None,
        Auth::Token(Secret::new(SECRET)),
        Auth::UserPassword {
            user: "mon|\n".into(),
            password: Secret::new(SECRET),
        },
    ];
    for auth in &logins {
        let peer = Peer {
            address: "h:4222".into(),
            auth,
            inbox_prefix: "_INBOX",
            ping_subject: "$SRV.PING.demo".into(),
            subjects: vec!["$SRV.PING".into()],
            all_services: text.len().is_multiple_of(3),
            identity: text.len().is_multiple_of(2),
            now: Timestamp::from_seconds(1_790_000_000),
        };
        check(text, &server_said(&peer, text));
        for kind in [ErrorKind::Other, ErrorKind::UnexpectedEof, ErrorKind::InvalidData] {
            check(
                text,
                &not_connected(&peer, &Error::new(kind, text), Duration::from_secs(2)),
            );
        }
    }
    check(text, &not_resolved("h", &Error::other(text)));
    assert!(tls_error(&Error::other(text)).is_none_or(|why| text.ends_with(&why)));
    assert!(denied_subject(text).is_none_or(|subject| text.contains(subject)));
}

fn check(text: &str, failure: &Failure) {
    let told = &failure.text;
    assert!(
        !OF_THE_SERVICE.contains(&failure.reason),
        "{text:?} says {:?} of the service",
        failure.reason
    );
    assert!(
        !told.is_empty() && !told.contains(|c: char| c == '|' || c.is_control()),
        "{told:?}"
    );
    assert!(told.chars().count() < 500, "{told}");
    // What the server repeats is no secret of ours. Not all of its characters are repeated.
    let letters: String = text.chars().filter(char::is_ascii_alphanumeric).collect();
    let repeated = letters.contains(SECRET);
    assert!(repeated || !told.contains(SECRET), "{told}");
}
