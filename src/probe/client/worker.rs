//! The worker: the thread that holds the `nats` client, and what it is told and tells. The one file that names that crate.

// The client is deprecated upstream in favour of an async one, which a program this small does not want.
#![allow(deprecated)]

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
pub(super) use nats::Message;
use nats::{HeaderMap, Options};

use crate::connect::credentials::{Nkey, is_nonce};
use crate::connect::request::{Destination, EndpointRequest, Subject};
use crate::connect::target::{Auth, Tls};
use crate::probe::diagnosis;
use crate::probe::info::Headers;
use crate::probe::observation::{EndpointEnd, Failure, Server};
use crate::probe::relay;
use crate::probe::schedule::{STATS, UNUSED_ID};
use crate::values::status::Reason;
use crate::values::text::clean;
use crate::values::timestamp::Timestamp;

/// How many replies may wait in one inbox. More than that at once is a flood, no service.
pub(super) const INBOX_SIZE: usize = 32_768;

/// How the last tokens of the inboxes begin to which instances tell their endpoints, and an endpoint replies: `info-NTH`.
pub(super) const INFO: &str = "info";
pub(super) const REQUEST: &str = "request";

/// A lost connection sleeps instead of reconnecting: the client would never send the request again.
const NO_RECONNECT: Duration = Duration::from_secs(3600);

/// What a worker, or the client's own thread, tells.
pub(super) enum Event {
    Resolved(io::Result<Vec<SocketAddr>>),
    NotConnected(io::Error),
    /// Logged in at this time; the first request is about to leave, and all replies will come to this inbox; then an id
    /// that no instance has, and whether the connection goes through a relay.
    Connected(Instant, Timestamp, Receiver<Message>, String, bool),
    /// So many requests are about to leave.
    Asked(Instant, usize),
    /// The request to an endpoint is about to leave.
    Requested(Instant),
    /// It cannot leave.
    NotRequested(EndpointEnd),
    /// A PONG came for the latest PING, after this time.
    Pong(Duration),
    /// The server sent `-ERR`, or the client itself complains.
    ServerError(String),
    Disconnected,
}

/// What a worker is told to do.
pub(super) enum Command {
    /// For the statistics, too, where they are wanted.
    Ask {
        stats: bool,
    },
    /// So many times, each with a reply subject of its own.
    AskMany(usize),
    AskEach(Vec<String>),
    Discover,
    LookInto {
        ids: Vec<String>,
        discover: bool,
    },
    Ping,
    /// Ask the instances for their endpoints, for the nth time.
    AskInfo(usize),
    /// Send the request to this endpoint, for the nth time.
    Request(Subject, usize),
}

/// How a worker connects.
pub(super) struct Login {
    pub(super) url: String,
    /// Made for TLS, by URL or by upgrade.
    pub(super) secure: bool,
    /// The server, where the connection goes through a relay.
    pub(super) relay: Option<SocketAddr>,
    /// Whether the server is to leave out the headers of messages.
    pub(super) headerless: bool,
    pub(super) auth: Auth,
    pub(super) tls: Tls,
    pub(super) connection_name: String,
}

/// What a worker asks, and where the replies come.
pub(super) struct Subjects {
    pub(super) ping: String,
    pub(super) discovery: String,
    pub(super) stats: String,
    pub(super) info: String,
    /// Whether each asking is for the statistics, too.
    pub(super) with_stats: bool,
    /// What to ask an endpoint.
    pub(super) request: Option<EndpointRequest>,
    pub(super) inbox_prefix: String,
}

impl Subjects {
    /// Where the instances tell their endpoints, if that is of interest.
    fn info(&self) -> Option<&str> {
        let by_name = |request: &EndpointRequest| matches!(request.to, Destination::Endpoint(_));
        self.request
            .as_ref()
            .filter(|request| by_name(request))
            .map(|_| self.info.as_str())
    }
}

/// Holds the client. Ends when the probe has no more use for it, or hangs for as long as the process lives.
pub(super) fn work(login: &Login, subjects: &Subjects, events: &Sender<Event>, orders: &Receiver<Command>) {
    let relay = match login.relay.map_or(Ok(None), relay::start) {
        Ok(relay) => relay,
        Err(error) => return drop(events.send(Event::NotConnected(error))),
    };
    let url = relay.map_or_else(|| login.url.clone(), |address| format!("nats://{address}"));
    let connection = match options(login, events).connect(url.as_str()) {
        Ok(connection) => connection,
        Err(error) => return drop(events.send(Event::NotConnected(error))),
    };
    // One inbox for all replies, so that a server with a limit on subscriptions lets us ask again.
    let inbox = connection.new_inbox().replacen("_INBOX", &subjects.inbox_prefix, 1);
    let replies = match login.headerless {
        false => format!("{inbox}.*"),
        true => without_headers(&inbox),
    };
    let subscription = match connection.subscribe(&replies) {
        Ok(subscription) => subscription,
        Err(_) => return drop(events.send(Event::Disconnected)),
    };
    subscription.set_message_limits(INBOX_SIZE);
    let replies = subscription.receiver().clone();
    // Dropping it would unsubscribe.
    mem::forget(subscription);
    // What makes an inbox unique makes an id so, too.
    let unused_id = inbox.rsplit('.').next().unwrap_or_default().to_owned();
    let connected = Event::Connected(
        Instant::now(),
        Timestamp::now(),
        replies,
        unused_id.clone(),
        relay.is_some(),
    );
    if events.send(connected).is_err() {
        return mem::forget(connection);
    }
    let first = std::iter::once(Command::Ask { stats: true });
    let mut round = 0;
    for command in first.chain(orders.iter()) {
        let pinging = matches!(command, Command::Ping);
        let obeyed = match &command {
            Command::AskMany(times) => {
                let _ = events.send(Event::Asked(Instant::now(), *times));
                (round..round + times)
                    .try_for_each(|round| connection.publish_request(&subjects.ping, &format!("{inbox}.{round}"), ""))
            }
            Command::AskInfo(nth) => ask_info(&connection, subjects, &inbox, *nth),
            Command::Request(subject, nth) => {
                request(&connection, login.secure, subjects, subject, &inbox, *nth, events)
            }
            command => command
                .obey(&connection, subjects, &unused_id, &format!("{inbox}.{round}"), events)
                // In the same write.
                .and_then(|()| match command {
                    Command::Ask { .. } => ask_info(&connection, subjects, &inbox, round),
                    _ => Ok(()),
                }),
        };
        let beside = matches!(command, Command::Ping | Command::AskInfo(_) | Command::Request(..));
        round += match command {
            Command::AskMany(times) => times,
            _ => usize::from(!beside),
        };
        if obeyed.is_err() {
            let _ = events.send(Event::Disconnected);
            break;
        }
        match (login.secure, pinging) {
            // A PING behind the request. Whatever the server has to say about the request comes before the PONG.
            (false, _) => ping(&connection, events),
            // Over TLS the wait for a PONG can hang: a writer takes what the reader waits for. The next one frees it.
            (true, true) => {
                let (connection, events) = (connection.clone(), events.clone());
                let _ = spawn("pinger", move || {
                    ping(&connection, &events);
                    mem::forget(connection);
                });
            }
            (true, false) => {}
        }
    }
    mem::forget(connection);
}

/// The subscription to the replies, behind a CONNECT that asks the server for messages without headers. The client has no
/// option for that, and passes on whatever is in a subject. Over TLS nobody else can keep unreadable headers from it.
fn without_headers(inbox: &str) -> String {
    /// A subscription number that the client does not use.
    const UNUSED: &str = "999999";
    let connect = r#"CONNECT {"headers":false,"no_responders":false}"#;
    format!("{inbox} {UNUSED}\r\n{connect}\r\nSUB {inbox}.*")
}

/// Which request a message answers, by the last token of its subject: `ROUND`, or `ROUND-NTH` for the nth instance that was
/// asked for itself. The second value is empty, or NTH.
pub(super) fn reply_token(subject: &str) -> Option<(usize, &str)> {
    let token = subject.rsplit('.').next()?;
    let (round, nth) = token.split_once('-').unwrap_or((token, ""));
    Some((round.parse().ok()?, nth))
}

fn ping(connection: &nats::Connection, events: &Sender<Event>) {
    let began = Instant::now();
    let _ = events.send(match connection.flush() {
        Ok(()) => Event::Pong(began.elapsed()),
        Err(_) => Event::Disconnected,
    });
}

impl Command {
    /// `reply` is another subject each time: a late 503 of an earlier asking must not count against this one.
    fn obey(
        &self,
        connection: &nats::Connection,
        subjects: &Subjects,
        unused_id: &str,
        reply: &str,
        events: &Sender<Event>,
    ) -> io::Result<()> {
        if matches!(self, Command::Ping) {
            return Ok(());
        }
        let _ = events.send(Event::Asked(Instant::now(), 1));
        match self {
            Command::Ask { stats: true } if subjects.with_stats => {
                connection.publish_request(&subjects.ping, reply, "")?;
                connection.publish_request(&subjects.stats, &format!("{reply}-{STATS}"), "")
            }
            Command::Ask { .. } => connection.publish_request(&subjects.ping, reply, ""),
            Command::LookInto { ids, discover } => {
                for (n, id) in ids.iter().enumerate() {
                    for subject in [&subjects.stats, &subjects.info] {
                        connection.publish_request(&format!("{subject}.{id}"), &format!("{reply}-{n}"), "")?;
                    }
                }
                connection.publish_request(
                    &format!("{}.{unused_id}", subjects.ping),
                    &format!("{reply}-{UNUSED_ID}"),
                    "",
                )?;
                match discover {
                    true => connection.publish_request(&subjects.discovery, reply, ""),
                    false => Ok(()),
                }
            }
            Command::Discover => connection.publish_request(&subjects.discovery, reply, ""),
            Command::AskEach(ids) => {
                for (n, id) in ids.iter().enumerate() {
                    connection.publish_request(&format!("{}.{id}", subjects.ping), &format!("{reply}-{n}"), "")?;
                }
                connection.publish_request(
                    &format!("{}.{unused_id}", subjects.ping),
                    &format!("{reply}-{UNUSED_ID}"),
                    "",
                )
            }
            // See `ask_info` and `request`.
            Command::Ping | Command::AskMany(_) | Command::AskInfo(_) | Command::Request(..) => Ok(()),
        }
    }
}

/// Asks the instances for their endpoints, where these are of interest.
fn ask_info(connection: &nats::Connection, subjects: &Subjects, inbox: &str, nth: usize) -> io::Result<()> {
    match subjects.info() {
        Some(info) => connection.publish_request(info, &format!("{inbox}.{INFO}-{nth}"), ""),
        None => Ok(()),
    }
}

/// Sends the request to an endpoint, if the server takes it: it would close the connection for one that is too large.
fn request(
    connection: &nats::Connection,
    secure: bool,
    subjects: &Subjects,
    subject: &Subject,
    inbox: &str,
    nth: usize,
    events: &Sender<Event>,
) -> io::Result<()> {
    let Some(request) = &subjects.request else {
        return Ok(());
    };
    // Over TLS, the limit that the client knows is that of an INFO before it. There the server itself has to say so.
    let limit = if secure { usize::MAX } else { connection.max_payload() };
    let size = request.size();
    if size > limit {
        let _ = events.send(Event::NotRequested(EndpointEnd::TooLarge { size, limit }));
        return Ok(());
    }
    let headers: HeaderMap = request
        .headers
        .iter()
        .map(|(key, value)| (key.as_str(), value.reveal()))
        .collect();
    let _ = events.send(Event::Requested(Instant::now()));
    let sent = connection.publish_with_reply_or_headers(
        subject.as_str(),
        Some(&format!("{inbox}.{REQUEST}-{nth}")),
        Some(&headers).filter(|headers| !headers.is_empty()),
        request.payload.reveal(),
    );
    match sent {
        // The one thing that the client itself looks at.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            let _ = events.send(Event::NotRequested(EndpointEnd::NoHeaders));
            Ok(())
        }
        sent => sent,
    }
}

/// Whether the relay had to change the headers of this message.
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
    // The first INFO comes before TLS, from whoever is on the way, and the client drops a later one that comes with a PONG.
    if secure {
        return;
    }
    server.version = clean(&info.version, 32);
    // Without a name of its own, a server calls itself by its id, which tells nobody anything.
    if info.server_name != info.server_id {
        server.name = clean(&info.server_name, 64);
    }
}

/// Signs the nonce of a server. The client has no way to refuse one, so its thread ends here with one that no server sends: before
/// anything of the login has left.
fn signer(nkey: &Nkey, events: &Sender<Event>) -> impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static {
    let (nkey, events) = (nkey.clone(), events.clone());
    move |nonce| {
        if !is_nonce(nonce) {
            let _ = events.try_send(Event::NotConnected(io::Error::other(diagnosis::NO_NONCE)));
            loop {
                thread::park();
            }
        }
        nkey.sign(nonce)
    }
}

fn options(login: &Login, events: &Sender<Event>) -> Options {
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
        // Those of the system.
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
    options
        .with_name(&login.connection_name)
        // 0 would prevent the first connect.
        .max_reconnects(1)
        .reconnect_buffer_size(0)
        // Asked once before the first connect, where the default sleeps for up to a second, and again after a loss.
        .reconnect_delay_callback(move |_| match connected.swap(true, SeqCst) {
            false => Duration::ZERO,
            true => NO_RECONNECT,
        })
        // The client's own thread must never wait for us.
        .error_callback(move |error| drop(errors.try_send(Event::ServerError(error.to_string()))))
        .disconnect_callback(move || drop(disconnects.try_send(Event::Disconnected)))
}

pub(super) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map(drop)
        .map_err(|error| Failure::new(Reason::Interrupted, format!("cannot start a thread: {error}")))
}
