use super::*;
use crate::connect::credentials::{Credentials, Nkey};
use crate::values::dated;
use crate::values::secret::Secret;

fn peer(auth: &Auth) -> Peer<'_> {
    Peer {
        address: "h:4222".into(),
        auth,
        inbox_prefix: "_INBOX",
        ping_subject: "$SRV.PING.x".into(),
        subjects: vec!["$SRV.PING".into(), "orders.echo".into()],
        all_services: false,
        identity: false,
        now: Timestamp::from_seconds(1_000_000),
    }
}

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
            "cannot reach NATS at h:4222: connection refused (is nats-server running there?)",
        ),
        (
            Error::from_raw_os_error(libc::ETIMEDOUT),
            NatsUnreachable,
            "cannot reach NATS at h:4222: the TCP connection timed out (is the host up, or does a firewall drop it?)",
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
            "cannot reach NATS at h:4222: it closed the connection during the login (is it stopping, or at its \
             connection limit?)",
        ),
        (
            Error::from_raw_os_error(libc::EPIPE),
            NatsUnreachable,
            "cannot reach NATS at h:4222: it closed the connection during the login (is it stopping, or at its \
             connection limit?)",
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
            "cannot reach NATS at h:4222: it is at its connection limit (maximum account active connections exceeded)",
        ),
        (
            Error::other(r#"expected INFO, received: Err("maximum connections exceeded")"#),
            NatsUnreachable,
            "cannot reach NATS at h:4222: it is at its connection limit (maximum connections exceeded)",
        ),
        (
            Error::other(r#"expected INFO, received: Unknown("SSH-2.0-OpenSSH_9.2\r\n")"#),
            ProtocolError,
            "h:4222 is no NATS server: it sent SSH-2.0-OpenSSH_9.2",
        ),
        (
            Error::other("expected INFO, received: Ping"),
            ProtocolError,
            "h:4222 is no NATS server: it sent Ping",
        ),
        (
            Error::new(
                ErrorKind::InvalidInput,
                "received command exceeded fixed command buffer",
            ),
            ProtocolError,
            "h:4222 sent a line of more than 4096 bytes, more than this client reads, if that is its INFO, set \
             no_advertise or fewer connect_urls",
        ),
        (
            Error::new(ErrorKind::InvalidInput, "cannot parse server info"),
            ProtocolError,
            "h:4222 does not speak the NATS protocol: cannot parse server info",
        ),
        (
            Error::new(data, "unexpected line while connecting: Unknown(\"x|y=1\\n\")"),
            ProtocolError,
            "h:4222 does not speak the NATS protocol: unexpected line while connecting: Unknown(?x?y=1?n?)",
        ),
    ];
    for (error, reason, text) in cases {
        let failure = not_connected(&peer(&user()), &error, Duration::from_millis(3));
        assert_eq!(failure, Failure::new(reason, text), "{error}");
    }
}

/// Every `-ERR` that servers were seen to send.
#[test]
fn errors_of_the_server_are_explained() {
    use Reason::*;
    let cases = [
        (
            r#"Permissions Violation for Publish to "$SRV.PING.x""#,
            PermissionDenied,
            "NATS at h:4222 does not let us publish to $SRV.PING.x, add to the user's permissions: publish: {allow: \
             [\"$SRV.PING.x\"]}",
        ),
        (
            r#"Permissions Violation for Publish to "$SRV.PING.x.id7""#,
            PermissionDenied,
            "NATS at h:4222 does not let us publish to $SRV.PING.x.id7, add to the user's permissions: publish: {allow: \
             [\"$SRV.PING.x.*\"]}",
        ),
        (
            r#"Permissions Violation for Subscription to "_INBOX.abc""#,
            PermissionDenied,
            "NATS at h:4222 does not let us subscribe to _INBOX.abc, add to the user's permissions: subscribe: {allow: \
             [\"_INBOX.>\"]}",
        ),
        (
            r#"Permissions Violation for Publish to "orders.echo""#,
            PermissionDenied,
            "NATS at h:4222 does not let us publish to orders.echo, add to the user's permissions: publish: {allow: \
             [\"orders.echo\"]}",
        ),
        (
            r#"Permissions Violation for Publish to "$SRV.PING.x.$(id)""#,
            PermissionDenied,
            "NATS at h:4222 does not let us publish to $SRV.PING.x.*, add to the user's permissions: publish: {allow: \
             [\"$SRV.PING.x.*\"]}",
        ),
        // Subjects that this run did not use: no advice.
        (
            r#"Permissions Violation for Publish to ">""#,
            PermissionDenied,
            "NATS at h:4222 denies a permission: Permissions Violation for Publish to ?",
        ),
        (
            r#"Permissions Violation for Publish to "$SRV.PING.x.>""#,
            PermissionDenied,
            "NATS at h:4222 denies a permission: Permissions Violation for Publish to ?SRV.PING.x.?",
        ),
        (
            r#"Permissions Violation for Publish to "$SRV.PING.y""#,
            PermissionDenied,
            "NATS at h:4222 denies a permission: Permissions Violation for Publish to ?SRV.PING.y",
        ),
        (
            r#"Permissions Violation for Subscription to "_INBOX.>""#,
            PermissionDenied,
            "NATS at h:4222 denies a permission: Permissions Violation for Subscription to _INBOX.?",
        ),
        (
            "Permissions Violation",
            PermissionDenied,
            "NATS at h:4222 denies a permission: Permissions Violation",
        ),
        (
            "maximum subscriptions exceeded",
            PermissionDenied,
            "NATS at h:4222 does not let us subscribe to an inbox: maximum subscriptions exceeded",
        ),
        (
            "User Authentication Expired",
            AuthRejected,
            "NATS at h:4222 wants credentials (User Authentication Expired): give --creds, --user, --token or --nkey",
        ),
        (
            "Authentication Timeout",
            NatsUnreachable,
            "cannot reach NATS at h:4222: the login took longer than it allows (Authentication Timeout)",
        ),
        (
            "Secure Connection - TLS Required",
            TlsFailed,
            "NATS at h:4222 wants TLS (Secure Connection - TLS Required), use tls://",
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
            "h:4222 sends far more replies than any service",
        ),
        (
            "Unknown Protocol Operation",
            ProtocolError,
            "NATS at h:4222 said: Unknown Protocol Operation",
        ),
        ("a|b=1\nOK", ProtocolError, "NATS at h:4222 said: a?b=1?OK"),
    ];
    for (said, reason, text) in cases {
        assert_eq!(
            server_said(&peer(&Auth::None), said),
            Failure::new(reason, text),
            "{said}"
        );
    }
}

#[test]
fn a_server_that_wants_tls_first() {
    let error = Error::new(ErrorKind::UnexpectedEof, "failed to fill whole buffer");
    let failure = not_connected(&peer(&Auth::None), &error, Duration::from_millis(2010));
    let text = "h:4222 sent nothing and closed the connection after 2.0s, it seems to want TLS first (handshake_first), \
                which this client cannot do: allow handshake_first: auto, or another port";
    assert_eq!(failure, Failure::new(Reason::TlsFailed, text));
}

#[test]
fn refused_logins_are_explained_as_far_as_we_know() {
    let key = nkeys::KeyPair::new_user();
    let seed = key.seed().expect("a seed");
    let creds = |claims: &str| {
        let claims = format!(r#"{{"sub":"{}"{claims}}}"#, key.public_key());
        let jwt = format!("e30.{}.c2ln", data_encoding::BASE64URL_NOPAD.encode(claims.as_bytes()));
        let text = format!("-----BEGIN NATS USER JWT-----\n{jwt}\n---\n-----BEGIN USER NKEY SEED-----\n{seed}\n---\n");
        Auth::Credentials {
            path: "/etc/mon.creds".into(),
            credentials: Box::new(Credentials::parse(&text).expect("good credentials")),
        }
    };
    let nkey = Auth::Nkey {
        path: "/etc/mon.nk".into(),
        nkey: Nkey::parse(&seed).expect("a good seed"),
    };
    let unknown = format!(
        "does not know the user of /etc/mon.nk (Authorization Violation): its public NKey is {}",
        key.public_key()
    );
    let current = "refused the credentials of /etc/mon.creds: the user JWT is current, so the user is revoked, its \
                   account unknown to this server, its operator another one, or this address or time not allowed \
                   (Authorization Violation)";
    let cases = [
        (
            Auth::None,
            "wants credentials (Authorization Violation): give --creds, --user, --token or --nkey",
        ),
        (
            Auth::Token(Secret::new("s3cret")),
            "refused the token (Authorization Violation)",
        ),
        (user(), "refused the user mon or the password (Authorization Violation)"),
        (nkey, unknown.as_str()),
        (creds(""), current),
        (creds(r#","exp":1000001,"nbf":1000000"#), current),
        (
            creds(r#","exp":1000000"#),
            "refused the credentials of /etc/mon.creds: the user JWT expired 0.0s ago (Authorization Violation)",
        ),
        (
            creds(r#","exp":992800"#),
            "refused the credentials of /etc/mon.creds: the user JWT expired 2h ago (Authorization Violation)",
        ),
        (
            creds(r#","nbf":1000060"#),
            "refused the credentials of /etc/mon.creds: the user JWT is not valid before 1970-01-12T13:47:40Z, in 60s \
             (Authorization Violation)",
        ),
    ];
    for (auth, text) in cases {
        let failure = server_said(&peer(&auth), "Authorization Violation");
        let said = (failure.reason, dated::plain(&failure.text));
        assert_eq!(said, (Reason::AuthRejected, format!("NATS at h:4222 {text}")));
    }
}

/// Texts of the client about TLS, and those for an operator.
#[test]
fn tls_is_explained() {
    let cases = [
        (
            "TLS error: invalid peer certificate: UnknownIssuer",
            "give the CA certificate with --tlsca",
        ),
        (
            "TLS error: invalid peer certificate: NotValidForName",
            "connect by a name that is in it",
        ),
        ("TLS error: invalid peer certificate: Expired", "has expired"),
        ("TLS error: invalid peer certificate: NotValidYet", "look at the clocks"),
        (
            "TLS error: invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))",
            "give the server one of its own",
        ),
        (
            "TLS error: received fatal alert: CertificateRequired",
            "give --tlscert and --tlskey",
        ),
        (
            "TLS error: received fatal alert: BadCertificate",
            "give --tlscert and --tlskey",
        ),
        (
            "TLS error: received corrupt message of type InvalidContentType",
            "which is required by tls://",
        ),
        ("TLS error: something|new", "failed: something?new"),
        (
            "could not load certs: BadDer",
            "--tlsca is damaged (could not load certs: BadDer)",
        ),
        (
            "could not load platform certs: could not load certs from file /x",
            "give one with --tlsca",
        ),
        ("could not add certificate or key", "or the key (--tlskey) is damaged"),
        ("could not find client key", "or the key is encrypted"),
        (
            "TLS error: received fatal alert: UnknownCA",
            "does not trust the authority that signed the client certificate",
        ),
        (
            "TLS error: received fatal alert: CertificateExpired",
            "the client certificate (--tlscert) has expired",
        ),
    ];
    for (text, words) in cases {
        let failure = not_connected(&peer(&Auth::None), &Error::other(text), Duration::ZERO);
        assert_eq!(failure.reason, Reason::TlsFailed, "{text}");
        assert!(
            failure.text.starts_with("TLS with NATS at h:4222 failed: "),
            "{}",
            failure.text
        );
        assert!(failure.text.contains(words), "{}", failure.text);
    }
    let shown = Peer {
        all_services: false,
        identity: true,
        ..peer(&Auth::None)
    };
    let error = Error::other("TLS error: received fatal alert: BadCertificate");
    let failure = not_connected(&shown, &error, Duration::ZERO);
    assert!(
        failure.text.contains("it refused the client certificate"),
        "{}",
        failure.text
    );
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
        failure(Reason::AuthRejected, "b wants a password, c is a web server, a refused")
    );
}
