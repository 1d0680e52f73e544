//! The errors of the client and the server, as reasons and as texts for an operator. Pure.
//!
//! The client reports everything as text in an `io::Error`; the texts were measured, and each has its row in the tests.

use std::io::{Error, ErrorKind};
use std::time::Duration;

use crate::connect::request::shown;
use crate::connect::target::Auth;
use crate::probe::observation::Failure;
use crate::probe::reach::Unreached;
use crate::values::dated;
use crate::values::duration::latency;
use crate::values::status::Reason;
use crate::values::text::clean;
use crate::values::timestamp::Timestamp;

/// The client's words for a line of more than 4096 bytes.
pub const LONG_LINE: &str = "received command exceeded fixed command buffer";

/// The beginning of the client's words for an INFO that it did not expect.
pub const UNTIMELY_INFO: &str = "unexpected line while connecting: Info(";

/// Maximum length of a foreign text that is printed, in characters.
const QUOTED: usize = 120;

/// Whom we talk to, and how.
#[derive(Clone, Debug)]
pub struct Peer<'a> {
    /// `host:port`.
    pub address: String,
    /// Login that was used.
    pub auth: &'a Auth,
    /// The first tokens of our inboxes.
    pub inbox_prefix: &'a str,
    /// The subject on which we ask; one token more, and it is that of an instance.
    pub ping_subject: String,
    /// The other subjects on which this run publishes.
    pub subjects: Vec<String>,
    /// Set if all of these subjects are those of all services: one token more, and it is that of one.
    pub all_services: bool,
    /// Set if a client certificate is used.
    pub identity: bool,
    /// When it happened.
    pub now: Timestamp,
}

impl Peer<'_> {
    /// The subject of a denial as it is shown, and the one to allow; `None` if this run did not use it. The server can put
    /// any words into its text, and what is advised ends up in a configuration.
    fn used(&self, subject: &str) -> Option<(String, String)> {
        let below = |prefix: &str| {
            subject
                .strip_prefix(prefix)?
                .strip_prefix('.')
                .filter(|rest| !rest.is_empty())
        };
        let is_plain = |rest: &str| rest.chars().all(|c| c.is_ascii_alphanumeric() || "-_.*".contains(c));
        // Inbox names differ in each run, and instance ids after each restart.
        if below(self.inbox_prefix).is_some_and(is_plain) {
            return Some((subject.to_owned(), format!("{}.>", self.inbox_prefix)));
        }
        if self.all_services {
            let verbs = || [&self.ping_subject].into_iter().chain(&self.subjects);
            return verbs().find_map(|verb| {
                let (verb, below) = (shown(verb), if subject == verb { None } else { Some(below(verb)?) });
                let subject = match below {
                    None => verb.clone(),
                    Some(rest) if is_plain(rest) => format!("{verb}.{rest}"),
                    Some(_) => format!("{verb}.>"),
                };
                Some((subject, format!("{verb}\", \"{verb}.>")))
            });
        }
        if let Some(id) = below(&self.ping_subject).filter(|id| !id.contains(['.', '>'])) {
            let instances = format!("{}.*", self.ping_subject);
            let shown = if is_plain(id) {
                subject.to_owned()
            } else {
                instances.clone()
            };
            return Some((shown, instances));
        }
        let is_ours = subject == self.ping_subject || self.subjects.iter().any(|used| used == subject);
        is_ours.then(|| (shown(subject), shown(subject)))
    }
}

/// After how long without a word a server has waited for TLS, rather than stopped: it waits for 2 s.
const TLS_FIRST: Duration = Duration::from_millis(1500);

/// Step that gets no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The name does not resolve.
    Resolving,
    /// TCP does not connect.
    Connecting,
    /// Connected, and not a byte has come.
    Greeting,
    /// Something came, and the login is not finished.
    LoggingIn,
    /// Logged in, and no PONG to the request.
    Answering,
}

/// The server (or the name service) did not answer within the time that there was.
pub fn timed_out(address: &str, stage: Stage, waited: &str) -> Failure {
    let text = match stage {
        Stage::Resolving => format!("cannot resolve {address}: no answer from DNS within {waited}"),
        Stage::Connecting => format!(
            "cannot reach NATS at {address}: no answer to the TCP connection within {waited} \
             (is the host up, or does a firewall drop it?)"
        ),
        Stage::Greeting => format!(
            "{address} accepts the connection but sends nothing for {waited}, \
             is nats-server frozen, does it want TLS first (handshake_first), or is this another service?"
        ),
        Stage::LoggingIn => {
            format!("NATS at {address} did not finish the login within {waited}, is it too slow for --timeout?")
        }
        Stage::Answering => format!("NATS at {address} took the request but stopped answering, waited {waited}"),
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

/// The text to sign is no nonce (see [`crate::connect::credentials::is_nonce`]).
pub const NO_NONCE: &str = "no nonce";

/// The connection could not be made, or the login failed, after this time.
pub fn not_connected(peer: &Peer<'_>, error: &Error, waited: Duration) -> Failure {
    let address = &peer.address;
    let text = error.to_string();
    if text == NO_NONCE {
        return protocol(format!(
            "{address} asked for a signature of something that is no NATS nonce, so nothing was signed or sent"
        ));
    }
    if let Some(said) = text.strip_prefix("unexpected line while connecting: Err(") {
        return server_said(peer, said.trim_matches(['(', ')', '"']));
    }
    if let Some(said) = text.strip_prefix("expected INFO, received: ") {
        // As in `Err("maximum connections exceeded")`, `Unknown("SSH-2.0-OpenSSH_9.2\r\n")`.
        if let Some(said) = said.strip_prefix("Err(") {
            return server_said(peer, said.trim_matches(['(', ')', '"']));
        }
        let said = said.trim_start_matches("Unknown(").trim_matches(['(', ')', '"']);
        let said = clean(said.trim_end_matches("\\r\\n"), QUOTED);
        return protocol(format!("{address} is no NATS server: it sent {said}"));
    }
    if let Some(why) = tls_error(error) {
        return Failure::new(
            Reason::TlsFailed,
            format!(
                "TLS with NATS at {address} failed: {}",
                explain_tls(&why, peer.identity)
            ),
        );
    }
    match error.kind() {
        ErrorKind::ConnectionRefused => unreachable(address, "connection refused (is nats-server running there?)"),
        ErrorKind::TimedOut => unreachable(
            address,
            "the TCP connection timed out (is the host up, or does a firewall drop it?)",
        ),
        // A server with TLS first waits for the client to begin, and closes the connection after 2 s without a message.
        ErrorKind::UnexpectedEof if text == "failed to fill whole buffer" && waited > TLS_FIRST => Failure::new(
            Reason::TlsFailed,
            format!(
                "{address} sent nothing and closed the connection after {}, it seems to want TLS first (handshake_first), \
                 which this client cannot do: allow handshake_first: auto, or another port",
                latency(waited)
            ),
        ),
        kind if kind == ErrorKind::UnexpectedEof || is_reset(kind) => unreachable(
            address,
            "it closed the connection during the login (is it stopping, or at its connection limit?)",
        ),
        // A few kinds have unstable names, so the message of the operating system is used for all.
        _ if error.raw_os_error().is_some() => {
            let text = text.split(" (os error").next().unwrap_or_default();
            unreachable(address, &clean(text, QUOTED).to_lowercase())
        }
        _ => protocol(match text.as_str() {
            LONG_LINE => format!(
                "{address} sent a line of more than 4096 bytes, more than this client reads, \
                 if that is its INFO, set no_advertise or fewer connect_urls"
            ),
            _ => format!("{address} does not speak the NATS protocol: {}", clean(&text, QUOTED)),
        }),
    }
}

/// Returns `true` if the peer reset the connection: what it said before can be lost.
pub fn is_reset(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted
    )
}

/// Returns the client's text about TLS, if TLS is what failed.
pub fn tls_error(error: &Error) -> Option<String> {
    let text = error.to_string();
    let of_files = [
        "could not load",
        "could not add certificate",
        "could not find client key",
        "cannot determine hostname",
    ];
    match text.strip_prefix("TLS error: ") {
        Some(why) => Some(why.to_owned()),
        None => of_files.iter().any(|start| text.starts_with(start)).then_some(text),
    }
}

fn explain_tls(why: &str, identity: bool) -> String {
    let is = |part: &str| why.contains(part);
    let known = if is("UnknownIssuer") {
        "its certificate is signed by an authority that is not trusted here, give the CA certificate with --tlsca"
    } else if is("NotValidForName") {
        "its certificate is for another name, connect by a name that is in it"
    } else if is("certificate: Expired") || is("CertExpired") {
        "its certificate has expired, renew it"
    } else if is("CaUsedAsEndEntity") {
        "its certificate is a CA certificate, give the server one of its own, signed by that CA"
    } else if is("NotValidYet") {
        "its certificate is not valid yet, look at the clocks"
    } else if is("CertificateRequired") || is("BadCertificate") && !identity {
        // A 2.9 server reports a missing certificate as a bad one.
        "it requires a client certificate, give --tlscert and --tlskey"
    } else if is("alert: CertificateExpired") {
        "it says that the client certificate (--tlscert) has expired, renew it"
    } else if is("alert: UnknownCA") {
        "it does not trust the authority that signed the client certificate"
    } else if is("alert: DecryptError") && identity {
        "the key (--tlskey) does not belong to the certificate (--tlscert)"
    } else if is("UnsupportedCertVersion") {
        "its certificate, or one of those that signed it, is of X.509 version 1, which this client does not accept, issue one of \
         version 3 (with a subjectAltName)"
    } else if is("BadSignature") || is("UnsupportedSignatureAlgorithm") {
        "the signature of its certificate is wrong, or of a kind that this client cannot verify: an authority with a P-521 key, or with \
         an RSA key of less than 2048 bits, use P-256, P-384, Ed25519, or RSA with 2048 bits or more"
    } else if is("EndEntityUsedAsCa") {
        "a certificate that signed its certificate is not that of an authority (basicConstraints without CA:TRUE), issue that one \
         anew with CA:TRUE"
    } else if is("HandshakeFailure") && !identity {
        "it has no key, cipher or TLS version that this client can use, a P-521 key in its certificate does that: use P-256, P-384, \
         Ed25519 or RSA"
    } else if is("fatal alert") && !identity {
        "it refused the handshake"
    } else if is("fatal alert") {
        "it refused the client certificate, or the handshake"
    } else if is("InvalidContentType") {
        "it does not answer in TLS, which is required by tls://, --tls, or a TLS file of a flag, a variable or the context"
    } else if is("could not load platform certs") {
        "the CA certificates of the system cannot be read, give one with --tlsca"
    } else if is("could not load certs") {
        "a certificate in the file of --tlsca is damaged"
    } else if is("could not add certificate") || is("could not find client key") {
        "the certificate (--tlscert) or the key (--tlskey) is damaged, or the key is encrypted, or of a kind that this client cannot \
         use (P-521)"
    } else {
        return clean(why, QUOTED);
    };
    format!("{known} ({})", clean(why, QUOTED))
}

/// The server sent `-ERR` with this text.
pub fn server_said(peer: &Peer<'_>, text: &str) -> Failure {
    let address = &peer.address;
    let lower = text.to_ascii_lowercase();
    let is = |part: &str| lower.contains(part);
    // The client's `Debug` puts a backslash before each quote.
    let said = clean(&text.replace(['\\', '"'], ""), QUOTED);
    if is("permissions violation") {
        let subject = text.split('"').nth(1).unwrap_or_default().trim_end_matches('\\');
        let (verb, list) = match is("subscription") {
            true => ("subscribe to", "subscribe"),
            false => ("publish to", "publish"),
        };
        let text = match peer.used(subject) {
            None => format!("NATS at {address} denies a permission: {said}"),
            Some((subject, allow)) => format!(
                "NATS at {address} does not let us {verb} {subject}, add to the user's permissions: {list}: {{allow: [\"{allow}\"]}}"
            ),
        };
        return Failure::new(Reason::PermissionDenied, text);
    }
    if is("maximum subscriptions") {
        let text = format!("NATS at {address} does not let us subscribe to an inbox: {said}");
        return Failure::new(Reason::PermissionDenied, text);
    }
    // The client always logs in: it, the way or the server is slow.
    if is("authentication timeout") {
        return unreachable(address, &format!("the login took longer than it allows ({said})"));
    }
    if is("authorization violation") || is("authentication") {
        let text = refused(peer, &said);
        return Failure::new(Reason::AuthRejected, text);
    }
    if is("tls required") {
        return Failure::new(
            Reason::TlsFailed,
            format!("NATS at {address} wants TLS ({said}), use tls://"),
        );
    }
    if is("maximum") && is("connections exceeded") {
        return unreachable(address, &format!("it is at its connection limit ({said})"));
    }
    if is("stale connection") || is("shutdown") {
        return unreachable(address, &said.to_lowercase());
    }
    if is("slow consumer") {
        return flooded(address);
    }
    protocol(format!("NATS at {address} said: {said}"))
}

/// The query to all services, on this subject, does not reach those that reply when asked by name. `imported`: through an account import.
pub fn unreached(subject: &str, imported: bool, unreached: &Unreached<&str>) -> String {
    match (unreached, imported) {
        (Unreached::All, true) => format!(
            "nobody is subscribed to {subject}, though services reply to {subject}.NAME, export and import it, too"
        ),
        (Unreached::All, false) => format!(
            "nobody is subscribed to {subject}, though services reply to {subject}.NAME, let them subscribe to it, too"
        ),
        (Unreached::Some(names), _) => {
            let more = match names.len() - 1 {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let why = match imported {
                true => "its export needs response_type: stream (or do services share a queue group?)",
                false => "do services share a queue group, or may they not subscribe to it?",
            };
            format!(
                "not all services reply to {subject}, {}{more} only by name, {why}, --expect names new ones",
                clean(names[0], QUOTED)
            )
        }
    }
}

/// The subject that we may not publish to, if that is what the server sent `-ERR` with this text for.
pub fn denied_subject(text: &str) -> Option<&str> {
    let is_ours = text.to_ascii_lowercase().contains("permissions violation for publish");
    let subject = text.split('"').nth(1).filter(|_| is_ours)?;
    Some(subject.trim_end_matches('\\'))
}

/// A refused login, explained as far as we can know it: the server says the same of all of them.
fn refused(peer: &Peer<'_>, said: &str) -> String {
    let Peer { address, now, .. } = peer;
    match peer.auth {
        Auth::None if peer.identity => format!("NATS at {address} refused the client certificate as a login ({said})"),
        Auth::None => format!("NATS at {address} wants credentials ({said}): give --creds, --user, --token or --nkey"),
        Auth::Token(_) => format!("NATS at {address} refused the token ({said})"),
        Auth::UserPassword { user, .. } => {
            format!(
                "NATS at {address} refused the user {} or the password ({said})",
                clean(user, 64)
            )
        }
        Auth::Nkey { path, nkey } => {
            format!(
                "NATS at {address} does not know the user of {path} ({said}): its public NKey is {}",
                nkey.public()
            )
        }
        Auth::Credentials { path, credentials } => {
            let claims = &credentials.claims;
            let cause = match (claims.expires, claims.not_before) {
                (Some(expires), _) if expires <= *now => {
                    format!("the user JWT expired {} ago", dated::age(expires, *now))
                }
                (_, Some(begin)) if begin > *now => {
                    format!(
                        "the user JWT is not valid before {begin}, in {}",
                        dated::time_left(begin, *now)
                    )
                }
                _ => {
                    "the user JWT is current, so the user is revoked, its account unknown to this server, its operator \
                      another one, or this address or time not allowed"
                        .to_owned()
                }
            };
            format!("NATS at {address} refused the credentials of {path}: {cause} ({said})")
        }
    }
}

/// More replies came than any service has to give.
pub fn flooded(address: &str) -> Failure {
    protocol(format!("{address} sends far more replies than any service"))
}

/// The connection broke while the service was asked, twice.
pub fn lost_twice(address: &str) -> Failure {
    Failure::new(
        Reason::NatsUnreachable,
        format!(
            "the connection to NATS at {address} broke twice while asking, NATS restarts again and again, or a reply breaks \
             the protocol"
        ),
    )
}

/// The connection broke while the service was asked, and what was left of the time was too short to be sure that instances are missing.
pub fn lost_late(address: &str) -> Failure {
    Failure::new(
        Reason::NatsUnreachable,
        format!(
            "the connection to NATS at {address} broke while asking, and --timeout left too little time after that: services may \
             be connecting again, too"
        ),
    )
}

/// The connection broke while the service was asked.
pub fn connection_broke(address: &str) -> Failure {
    let text = format!("the connection to NATS at {address} broke");
    Failure::new(Reason::NatsUnreachable, text)
}

/// The same failure; `is_doubtful`: the connection ended without a word while a request to an endpoint was under way.
pub fn lost_with_request(failure: Failure, is_doubtful: bool) -> Failure {
    match is_doubtful {
        true => Failure {
            text: format!(
                "{} while waiting for the reply of an endpoint, a reply that breaks the protocol does that",
                failure.text
            ),
            ..failure
        },
        false => failure,
    }
}

/// The service may be up, down or slow: the server is so far away that the time was up before it could answer, the login having taken
/// this long.
pub fn too_slow(address: &str, login: Duration, waited: &str) -> Failure {
    let text = format!(
        "NATS at {address} is too slow for --timeout: after a login of {} no time was left to ask, or to ask again, within {waited}, \
         raise --timeout",
        latency(login)
    );
    Failure::new(Reason::NatsUnreachable, text)
}

/// Returns `true` if the server has not had the time to answer a request sent this long ago: the login took four round trips or
/// more, and an answer takes one.
pub fn is_far(login: Duration, since_sent: Duration) -> bool {
    since_sent < login / 2
}

/// Returns the remark on a login without TLS: the secret that can be read on the way; `None` if there is none.
pub fn login_without_tls(auth: &Auth) -> Option<&'static str> {
    Some(match auth {
        Auth::None => return None,
        Auth::UserPassword { .. } => {
            "the password went over a connection without TLS: anybody on the network path can read it"
        }
        Auth::Token(_) => "the token went over a connection without TLS: anybody on the network path can read it",
        Auth::Nkey { .. } => {
            "the NKey was used over a connection without TLS: anybody on the network path can log in as its user meanwhile"
        }
        Auth::Credentials { .. } => {
            "the creds were used over a connection without TLS: anybody on the network path can read the user JWT, and log in as \
             this user meanwhile"
        }
    })
}

/// A reply has headers that the client cannot read, over TLS, so the request could not be sent and judged.
pub fn unreadable_headers(address: &str) -> Failure {
    protocol(format!(
        "a reply over the TLS connection to NATS at {address} has headers that are not UTF-8, which this client cannot read"
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
    Failure::new(reason, texts.join(", "))
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

#[cfg(test)]
mod tests;
