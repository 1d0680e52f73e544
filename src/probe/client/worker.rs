//! The worker: the thread that holds the `nats` client, and what it is told and tells. The one file that names that crate.

// Upstream deprecated this client in favour of an async one, which would be too heavy for a program this small.
#![allow(deprecated)]

use std::io;
use std::iter;
use std::mem;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
pub(super) use nats::Message;
use nats::{Connection, HeaderMap, Options};

use crate::connect::credentials::{Nkey, is_nonce};
use crate::connect::request::{EndpointRequest, Subject};
use crate::connect::target::{Auth, Tls};
use crate::probe::diagnosis;
use crate::probe::info::Headers;
use crate::probe::observation::{EndpointEnd, Failure, Server};
use crate::probe::relay;
use crate::values::status::Reason;
use crate::values::text::clean;
use crate::values::timestamp::Timestamp;

/// Maximum number of events that wait for the probe; the client's own reports beyond it are dropped.
const MAX_EVENTS: usize = 32_768;

/// Maximum number of replies that wait in one inbox. More than that at once is a flood, no service.
pub(super) const INBOX_SIZE: usize = 32_768;

/// A lost connection sleeps instead of reconnecting: the client would never send the request again.
const NO_RECONNECT: Duration = Duration::from_secs(3600);

/// A report of a worker, or of the client's own thread.
pub(super) enum ClientEvent {
    Resolved(io::Result<Vec<SocketAddr>>),
    NotConnected(io::Error),
    Connected(Connected),
    /// These messages are about to leave.
    Sent {
        at: Instant,
        first: usize,
        count: usize,
    },
    /// The request to an endpoint cannot leave.
    NotSent(EndpointEnd),
    /// A PONG came for the latest PING, after this time. It stands behind the messages of so many commands.
    Pong {
        rtt: Duration,
        commands: usize,
    },
    /// The server sent `-ERR`, or the client itself complains.
    ServerError(String),
    Disconnected,
}

/// A connection that is logged in.
pub(super) struct Connected {
    /// When the first message is about to leave.
    pub(super) at: (Instant, Timestamp),
    /// Where all replies come.
    pub(super) inbox: Receiver<Message>,
    /// An id that no instance has.
    pub(super) unused_id: String,
    /// Set if the connection goes through a relay.
    pub(super) relayed: bool,
}

/// An order for a worker. The number of a message is the last token of its reply subject.
pub(super) enum ClientCommand {
    /// Publish empty messages to these subjects, in one write. They are numbered from `first` on.
    Publish {
        first: usize,
        subjects: Vec<String>,
    },
    /// Send the request to an endpoint.
    Request {
        number: usize,
        subject: Subject,
        request: EndpointRequest,
    },
    Ping,
}

/// Login of a worker, with its TLS files.
pub(super) struct Login {
    pub(super) url: String,
    /// Made for TLS, by URL or by upgrade.
    pub(super) secure: bool,
    /// The server, where the connection goes through a relay.
    pub(super) relay: Option<SocketAddr>,
    /// Set if the server is to leave out the headers of messages.
    pub(super) headerless: bool,
    pub(super) auth: Auth,
    pub(super) tls: Tls,
    pub(super) connection_name: String,
    pub(super) inbox_prefix: String,
}

/// Holds the client. Ends when the probe has no more use for it, or hangs for as long as the process lives.
pub(super) fn work(login: &Login, events: &Sender<ClientEvent>, commands: &Receiver<ClientCommand>) {
    let (connection, relayed) = match connect(login, events) {
        Ok(connected) => connected,
        Err(error) => return drop(events.send(ClientEvent::NotConnected(error))),
    };
    // One inbox receives all replies, so that retries work on a server that limits subscriptions.
    let inbox = connection.new_inbox().replacen("_INBOX", &login.inbox_prefix, 1);
    let replies = match login.headerless {
        false => format!("{inbox}.*"),
        true => without_headers(&inbox),
    };
    let subscription = match connection.subscribe(&replies) {
        Ok(subscription) => subscription,
        Err(_) => return drop(events.send(ClientEvent::Disconnected)),
    };
    subscription.set_message_limits(INBOX_SIZE);
    let connected = events.send(ClientEvent::Connected(Connected {
        at: (Instant::now(), Timestamp::now()),
        inbox: subscription.receiver().clone(),
        // The random part of an inbox makes an id unique, too.
        unused_id: inbox.rsplit('.').next().unwrap_or_default().to_owned(),
        relayed,
    }));
    // Dropping it would unsubscribe.
    mem::forget(subscription);
    if connected.is_ok() {
        obey(commands, &connection, &inbox, login.secure, events);
    }
    mem::forget(connection);
}

fn connect(login: &Login, events: &Sender<ClientEvent>) -> io::Result<(Connection, bool)> {
    let relay = login.relay.map_or(Ok(None), relay::start)?;
    let url = relay.map_or_else(|| login.url.clone(), |address| format!("nats://{address}"));
    Ok((options(login, events).connect(url.as_str())?, relay.is_some()))
}

fn obey(
    commands: &Receiver<ClientCommand>,
    connection: &Connection,
    inbox: &str,
    secure: bool,
    events: &Sender<ClientEvent>,
) {
    while let Ok(first) = commands.recv() {
        // Those that have come meanwhile share a PING, so that a slow server does not get slower.
        let mut pings = 0;
        for command in iter::once(first).chain(commands.try_iter()) {
            let sent = match &command {
                ClientCommand::Publish { first, subjects } => {
                    let (at, count) = (Instant::now(), subjects.len());
                    let _ = events.send(ClientEvent::Sent {
                        at,
                        first: *first,
                        count,
                    });
                    let mut numbered = subjects.iter().zip(*first..);
                    // Each request has its own reply subject: a late 503 for an earlier request must not count for this one.
                    numbered
                        .try_for_each(|(subject, n)| connection.publish_request(subject, &format!("{inbox}.{n}"), ""))
                }
                ClientCommand::Request {
                    number,
                    subject,
                    request,
                } => send_request(connection, secure, subject, request, inbox, *number, events),
                ClientCommand::Ping => Ok(()),
            };
            if sent.is_err() {
                let _ = events.send(ClientEvent::Disconnected);
                return;
            }
            match (secure, command) {
                (false, _) => pings += 1,
                // Over TLS the wait for a PONG can hang, since a writer takes the data that the reader waits for. The next PING
                // ends the wait.
                (true, ClientCommand::Ping) => {
                    let (connection, events) = (connection.clone(), events.clone());
                    let _ = spawn("pinger", move || {
                        ping(&connection, 1, &events);
                        mem::forget(connection);
                    });
                }
                (true, _) => {}
            }
        }
        // A PING follows the requests: errors about them arrive before its PONG.
        if pings > 0 {
            ping(connection, pings, events);
        }
    }
}

/// The subscription to the replies, behind a second CONNECT that asks the server for messages without headers.
///
/// The client ends the connection for a header that is not UTF-8, so one such instance would hide all others. Without TLS the
/// relay makes it readable; over TLS only the server itself can leave it out. The client has no option for that, but passes on
/// whatever is in a subject. Used for the third attempt only, after two connections broke. Nothing foreign gets into these
/// lines: the inbox is a [`Prefix`](crate::connect::target::Prefix), which has no blank and no control character, and random
/// letters of ours. The server keeps the login of the first CONNECT.
fn without_headers(inbox: &str) -> String {
    /// A subscription number that the client does not use.
    const UNUSED: &str = "999999";
    let connect = r#"CONNECT {"headers":false,"no_responders":false}"#;
    format!("{inbox} {UNUSED}\r\n{connect}\r\nSUB {inbox}.*")
}

/// Sends a PING behind the messages of so many commands, and waits for the PONG.
fn ping(connection: &Connection, commands: usize, events: &Sender<ClientEvent>) {
    let began = Instant::now();
    let _ = events.send(match connection.flush() {
        Ok(()) => ClientEvent::Pong {
            rtt: began.elapsed(),
            commands,
        },
        Err(_) => ClientEvent::Disconnected,
    });
}

/// Sends the request to an endpoint, if the server takes it: it would close the connection for one that is too large.
fn send_request(
    connection: &Connection,
    secure: bool,
    subject: &Subject,
    request: &EndpointRequest,
    inbox: &str,
    number: usize,
    events: &Sender<ClientEvent>,
) -> io::Result<()> {
    // Over TLS, the client knows the limit of an INFO before the handshake only. There the server itself has to report it.
    let limit = if secure { usize::MAX } else { connection.max_payload() };
    let size = request.size();
    if size > limit {
        let _ = events.send(ClientEvent::NotSent(EndpointEnd::TooLarge { size, limit }));
        return Ok(());
    }
    let headers: HeaderMap = request
        .headers
        .iter()
        .map(|(key, value)| (key.as_str(), value.reveal()))
        .collect();
    let (at, first, count) = (Instant::now(), number, 1);
    let _ = events.send(ClientEvent::Sent { at, first, count });
    let sent = connection.publish_with_reply_or_headers(
        subject.as_str(),
        Some(&format!("{inbox}.{number}")),
        Some(&headers).filter(|headers| !headers.is_empty()),
        request.payload.reveal(),
    );
    match sent {
        // The one thing that the client itself looks at.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            let _ = events.send(ClientEvent::NotSent(EndpointEnd::NoHeaders));
            Ok(())
        }
        sent => sent,
    }
}

/// Returns `true` if the relay had to change the headers of this message.
pub(super) fn is_changed(message: &Message) -> bool {
    let headers = message.headers.as_ref();
    headers.is_some_and(|headers| headers.contains_key(relay::CHANGED))
}

/// The headers of a message, in a form that is ours.
pub(super) fn headers(message: &Message) -> Headers {
    let headers = message.headers.iter().flat_map(|headers| headers.iter());
    headers
        .filter(|(key, _)| key.as_str() != relay::CHANGED)
        .map(|(key, values)| (key.clone(), values.iter().cloned().collect()))
        .collect()
}

/// Takes over what the client knows of the server, if this message tells.
pub(super) fn introduce(message: &Message, secure: bool, server: &mut Server) {
    let Some(client) = &message.client else { return };
    let info = client.server_info();
    server.id = clean(&info.server_id, 64);
    // The first INFO comes before TLS and may be forged; the client drops a later INFO that comes with a PONG.
    if secure {
        return;
    }
    server.version = clean(&info.version, 32);
    // A server without a configured name sends its id as the name, which is of no use in a text.
    if info.server_name != info.server_id {
        server.name = clean(&info.server_name, 64);
    }
}

/// Signs the nonce of a server. The client has no way to refuse one, so its thread ends here with one that no server sends: before
/// anything of the login has left.
fn signer(nkey: &Nkey, events: &Sender<ClientEvent>) -> impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static {
    let (nkey, events) = (nkey.clone(), events.clone());
    move |nonce| {
        if !is_nonce(nonce) {
            let _ = events.send(ClientEvent::NotConnected(io::Error::other(diagnosis::NO_NONCE)));
            loop {
                thread::park();
            }
        }
        nkey.sign(nonce)
    }
}

fn options(login: &Login, events: &Sender<ClientEvent>) -> Options {
    let options = match &login.auth {
        Auth::None => Options::new(),
        Auth::UserPassword { user, password } => Options::with_user_pass(user, password.reveal()),
        Auth::Token(token) => Options::with_token(token.reveal()),
        Auth::Credentials { credentials, .. } => {
            let jwt = credentials.jwt.clone();
            Options::with_jwt(move || Ok(jwt.reveal().to_owned()), signer(&credentials.nkey, events))
        }
        Auth::Nkey { nkey, .. } => Options::with_nkey(&nkey.public(), signer(nkey, events)),
    };
    let options = match (login.secure, &login.tls.ca) {
        (true, Some(ca)) => options.add_root_certificate(ca),
        // The certificates of the system.
        (true, None) => options,
        // Believes nobody: over this connection nothing is said to a server that upgrades it to TLS. And any file given
        // keeps the client from reading all of the system's certificates.
        (false, _) => options.add_root_certificate("/dev/null"),
    };
    let options = match (login.secure, &login.tls.identity) {
        (true, Some((cert, key))) => options.client_cert(cert, key),
        _ => options,
    };
    let connected = AtomicBool::new(false);
    let (errors, disconnects) = (events.clone(), events.clone());
    let report_error = move |text: String| {
        if errors.len() < MAX_EVENTS {
            let _ = errors.send(ClientEvent::ServerError(text));
        }
    };
    options
        .with_name(&login.connection_name)
        // 0 would prevent the first connect.
        .max_reconnects(1)
        .reconnect_buffer_size(0)
        // Called before the first connect, where the default sleeps for up to a second, and after each loss of the connection.
        .reconnect_delay_callback(move |_| match connected.swap(true, SeqCst) {
            false => Duration::ZERO,
            true => NO_RECONNECT,
        })
        .error_callback(move |error| report_error(error.to_string()))
        .disconnect_callback(move || drop(disconnects.send(ClientEvent::Disconnected)))
}

pub(super) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map(drop)
        .map_err(|error| Failure::new(Reason::Interrupted, format!("cannot start a thread: {error}")))
}
