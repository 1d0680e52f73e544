//! Asks NATS, and always comes back in time. The one file that names the `nats` crate.
//!
//! The client has no timeouts: it can hang in a connect, a login, a write or the wait for a PONG. So a worker thread holds
//! it, one for each connection, and tells what happens through a channel; the probe waits for that channel, for the
//! inboxes and for the alarms, all at once and never longer than to the deadline. A worker that hangs is left alone: the
//! process is about to end. For the same reason no connection is ever closed, which would cost two round trips.

// The client is deprecated upstream in favour of an async one, which a program this small does not want.
#![allow(deprecated)]

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Display;
use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Select, Sender, bounded};
use nats::{Message, Options};

use crate::asking::{Asking, Next, Plan};
use crate::diagnosis::{self, Hung};
use crate::duration::latency;
use crate::observation::{Failure, Observation, Outcome, Server};
use crate::sockets::{self, Progress};
use crate::target::{Auth, ServerUrl, Target};
use crate::text::clean;
use crate::timestamp::Timestamp;
use crate::verdict::Reason;
use crate::watchdog::Alarm;

/// How we introduce ourselves to the server.
const CONNECTION_NAME: &str = "check_nats_service";

/// How many replies may wait in one inbox. More than that at once is a flood, no service.
const INBOX_SIZE: usize = 16_384;

/// How many addresses of one name are tried.
const MOST_ADDRESSES: usize = 16;

/// How many steps are remembered for `-vvv`.
const MOST_STEPS: usize = 200;

/// A lost connection sleeps instead of reconnecting: the client would never send the request again.
const NEVER: Duration = Duration::from_secs(3600);

/// The question, and how to ask it.
pub struct Request<'a> {
    pub target: &'a Target,
    /// The ids of the instances that are expected; empty if that is not known.
    pub known: BTreeSet<String>,
    /// Whether to wait for instances that are not known.
    pub census: bool,
    pub confirm: Duration,
    pub stall: Duration,
    /// When the run began, and when it ends.
    pub start: Instant,
    pub deadline: Instant,
    /// What ends it before.
    pub alarms: &'a Receiver<Alarm>,
}

/// Asks, and returns by the deadline with what was seen.
pub fn probe(request: &Request<'_>) -> Observation {
    let mut probe = Probe {
        request,
        server: None,
        asking: None,
        proven: None,
        trace: Vec::new(),
    };
    let outcome = probe.run().unwrap_or_else(|stop| {
        let (Stop::Lost(failure) | Stop::Final(failure)) = stop;
        Outcome::Failed(failure)
    });
    let asking = probe.asking.as_ref();
    let proven = probe.proven.filter(|_| matches!(outcome, Outcome::Answered(_)));
    Observation {
        at: proven.unwrap_or_else(Timestamp::now),
        outcome,
        census: asking.is_some_and(Asking::was_census),
        askings: asking.map_or(0, Asking::askings),
        ignored: asking.map(Asking::ignored).unwrap_or_default(),
        server: probe.server,
        took: request.start.elapsed(),
        trace: probe.trace,
    }
}

/// Why an attempt ended without an answer.
enum Stop {
    /// Another server, or another connection, may do better.
    Lost(Failure),
    /// Nothing else will do better.
    Final(Failure),
}

/// What a worker, or the client's own thread, tells.
enum Event {
    Resolved(io::Result<Vec<SocketAddr>>),
    NotConnected(io::Error),
    Connected,
    /// A request is about to leave, and its replies will come here.
    Asked {
        inbox: Receiver<Message>,
        at: Instant,
    },
    /// A PONG came for the latest PING, after this time.
    Pong(Duration),
    /// The server sent `-ERR`, or the client itself complains.
    Said(String),
    Disconnected,
}

/// What a worker is told to do.
enum Command {
    Ask,
    Ping,
}

/// One connection, as the probe sees it.
struct Link {
    events: Receiver<Event>,
    commands: Sender<Command>,
    server: ServerUrl,
    inboxes: Vec<Receiver<Message>>,
}

/// One step on the way to a connection.
enum Attempt {
    Resolve(ServerUrl),
    Connect {
        server: ServerUrl,
        address: SocketAddr,
        again: bool,
    },
}

struct Probe<'a> {
    request: &'a Request<'a>,
    server: Option<Server>,
    asking: Option<Asking>,
    /// See [`Asking::proven`].
    proven: Option<Timestamp>,
    trace: Vec<(Duration, String)>,
}

impl Probe<'_> {
    fn run(&mut self) -> Result<Outcome, Stop> {
        // A server that restarts is no reason to give up, and neither is one lost packet.
        for _ in 0..2 {
            let mut link = self.connect()?;
            match self.ask(&mut link) {
                Err(Stop::Lost(failure)) => self.step(format_args!("lost: {}", failure.text)),
                end => return end,
            }
        }
        let address = self
            .server
            .as_ref()
            .map(|server| server.address.clone())
            .unwrap_or_default();
        Err(Stop::Final(diagnosis::lost_twice(&address)))
    }

    /// Tries the servers one by one, each address of each in its turn: the client would shuffle them, and report the last
    /// error only. Each gets its part of the time left.
    fn connect(&mut self) -> Result<Link, Stop> {
        let mut attempts: VecDeque<Attempt> = self.request.target.servers.iter().map(first_attempt).collect();
        let mut failures = Vec::new();
        while let Some(attempt) = attempts.pop_front() {
            let share = self.left() / (attempts.len() as u32 + 1);
            let until = Instant::now() + share;
            let result = match attempt {
                Attempt::Resolve(server) => self.resolve(&server, until).map(|addresses| {
                    for address in addresses.into_iter().rev() {
                        let server = server.clone();
                        attempts.push_front(Attempt::Connect {
                            server,
                            address,
                            again: false,
                        });
                    }
                    None
                }),
                Attempt::Connect { server, address, again } => match self.log_in(&server, address, until) {
                    Ok(LoggedIn::Yes(link)) => Ok(Some(link)),
                    Ok(LoggedIn::TryAgain(error)) if again => Err(Stop::Lost(diagnosis::not_connected(
                        &server.address(),
                        self.auth(&server),
                        &error,
                    ))),
                    Ok(LoggedIn::TryAgain(_)) => {
                        attempts.push_front(Attempt::Connect {
                            server,
                            address,
                            again: true,
                        });
                        Ok(None)
                    }
                    Err(stop) => Err(stop),
                },
            };
            match result {
                Ok(Some(link)) => return Ok(link),
                Ok(None) => {}
                Err(Stop::Lost(failure)) => {
                    self.step(format_args!("failed: {}", failure.text));
                    failures.push(failure);
                }
                Err(stop) => return Err(stop),
            }
        }
        Err(Stop::Final(diagnosis::all_failed(failures)))
    }

    fn resolve(&mut self, server: &ServerUrl, until: Instant) -> Result<Vec<SocketAddr>, Stop> {
        self.step(format_args!("resolving {}", server.host));
        let began = Instant::now();
        let (sender, events) = bounded(1);
        let (host, port) = (server.host.clone(), server.port);
        spawn("resolver", move || {
            let addresses = (host.as_str(), port).to_socket_addrs().map(|addresses| {
                let mut distinct = Vec::new();
                for address in addresses {
                    if !distinct.contains(&address) && distinct.len() < MOST_ADDRESSES {
                        distinct.push(address);
                    }
                }
                distinct
            });
            let _ = sender.send(Event::Resolved(addresses));
        })?;
        match self.wait(&events, &[], until)? {
            Some(Event::Resolved(Ok(addresses))) if !addresses.is_empty() => Ok(addresses),
            Some(Event::Resolved(Err(error))) => Err(Stop::Lost(diagnosis::not_resolved(&server.host, &error))),
            Some(_) => {
                let error = io::Error::other("the name has no address");
                Err(Stop::Lost(diagnosis::not_resolved(&server.host, &error)))
            }
            None => Err(Stop::Lost(diagnosis::timed_out(
                &server.host,
                Hung::Resolving,
                &latency(began.elapsed()),
            ))),
        }
    }

    fn log_in(&mut self, server: &ServerUrl, address: SocketAddr, until: Instant) -> Result<LoggedIn, Stop> {
        self.step(format_args!("connecting to {}", shown(server, address)));
        let began = Instant::now();
        // Enough for whatever a sane connection tells; an insane one waits for us, or is not heard.
        let (sender, events) = bounded(256);
        let (commands, orders) = bounded(16);
        let auth = self.auth(server).clone();
        let subject = self.request.target.ping_subject();
        spawn("client", move || work(address, &auth, &subject, &sender, &orders))?;
        let failure = match self.wait(&events, &[], until)? {
            Some(Event::Connected) => {
                self.step("logged in");
                return Ok(LoggedIn::Yes(Link {
                    events,
                    commands,
                    server: server.clone(),
                    inboxes: Vec::new(),
                }));
            }
            Some(Event::NotConnected(error)) => {
                // The server may send an INFO at any moment; the client takes it for an error just now.
                if error.to_string().starts_with("unexpected line while connecting: Info(") {
                    return Ok(LoggedIn::TryAgain(error));
                }
                diagnosis::not_connected(&shown(server, address), self.auth(server), &error)
            }
            Some(_) => Failure::new(Reason::ProtocolError, "the client is confused"),
            None => {
                let hung = match sockets::progress(address) {
                    Progress::NotConnected => Hung::Connecting,
                    Progress::NothingReceived => Hung::Greeting,
                    Progress::Received => Hung::LoggingIn,
                };
                diagnosis::timed_out(&shown(server, address), hung, &latency(began.elapsed()))
            }
        };
        Err(Stop::Lost(failure))
    }

    fn ask(&mut self, link: &mut Link) -> Result<Outcome, Stop> {
        let request = self.request;
        let (origin, began) = (Instant::now(), Timestamp::now());
        let budget = request.deadline - request.start;
        let left = self.left();
        self.server = Some(Server {
            address: link.server.address(),
            ..Server::default()
        });
        let mut asking = Asking::new(Plan {
            service: request.target.service.as_str().to_owned(),
            known: request.known.clone(),
            census: request.census,
            // A little of the time is kept for the connection, whatever the user said.
            confirm: request.confirm.min(budget * 3 / 4),
            stall: request.stall,
            patience: request.confirm.max(budget / 2).min(left * 3 / 4),
        });
        // The worker asks without being told, as soon as it is connected.
        asking.asked(Duration::ZERO);
        let end = self.listen(link, &mut asking, origin);
        self.proven = asking.proven().map(|proven| began + proven);
        self.asking = Some(asking);
        end
    }

    fn listen(&mut self, link: &mut Link, asking: &mut Asking, origin: Instant) -> Result<Outcome, Stop> {
        loop {
            let now = origin.elapsed();
            let until = match asking.next(now) {
                Next::Done(outcome) => return Ok(outcome),
                Next::Ask => {
                    asking.asked(now);
                    order(link, Command::Ask);
                    continue;
                }
                Next::Ping => {
                    asking.pinged(now);
                    order(link, Command::Ping);
                    continue;
                }
                Next::Listen(until) => origin.checked_add(until).unwrap_or(self.request.deadline),
            };
            let event = self.wait(&link.events, &link.inboxes, until.min(self.request.deadline))?;
            // Events first, then the inboxes: whatever came before an event is then in the inboxes.
            let events: Vec<Event> = event.into_iter().chain(link.events.try_iter()).collect();
            self.empty_inboxes(link, asking, origin);
            for event in events {
                self.hear(link, asking, origin, event)?;
            }
            // A reply can come in the moment in which its inbox is handed over.
            self.empty_inboxes(link, asking, origin);
            if Instant::now() >= self.request.deadline && !matches!(asking.next(origin.elapsed()), Next::Done(_)) {
                return self.out_of_time(link, asking);
            }
        }
    }

    fn hear(&mut self, link: &mut Link, asking: &mut Asking, origin: Instant, event: Event) -> Result<(), Stop> {
        let address = link.server.address();
        match event {
            Event::Asked { inbox, at } => {
                asking.on_wire(link.inboxes.len(), at.saturating_duration_since(origin));
                link.inboxes.push(inbox);
                self.step(format_args!("asked {}", self.request.target.ping_subject()));
            }
            Event::Pong(rtt) => {
                asking.pong();
                if let Some(server) = &mut self.server {
                    server.rtt = Some(server.rtt.map_or(rtt, |best| best.min(rtt)));
                }
                self.step("PONG: the server has dealt with all so far");
            }
            Event::Said(text) => {
                let failure = diagnosis::server_said(&address, self.auth(&link.server), &text);
                return Err(match failure.reason {
                    Reason::NatsUnreachable => Stop::Lost(failure),
                    _ => Stop::Final(failure),
                });
            }
            Event::Disconnected => {
                let text = format!("the connection to NATS at {address} broke");
                return Err(Stop::Lost(Failure::new(Reason::NatsUnreachable, text)));
            }
            Event::Resolved(_) | Event::Connected | Event::NotConnected(_) => {}
        }
        Ok(())
    }

    fn empty_inboxes(&mut self, link: &Link, asking: &mut Asking, origin: Instant) {
        for (round, inbox) in link.inboxes.iter().enumerate() {
            // Not for ever, however fast they come.
            for message in inbox.try_iter().take(INBOX_SIZE) {
                self.introduce(&message);
                if message.is_no_responders() {
                    asking.no_responders(round);
                    self.step("503: no responders");
                    continue;
                }
                let from = asking.reply(origin.elapsed(), round, &message.data);
                let size = message.data.len();
                match from {
                    None => self.step(format_args!("a reply, {size} bytes")),
                    Some(kind) => self.step(format_args!("a reply that does not count ({kind:?}), {size} bytes")),
                }
            }
        }
    }

    /// Who the server is, which the client tells only through its messages.
    fn introduce(&mut self, message: &Message) {
        let (Some(server), Some(client)) = (&mut self.server, &message.client) else {
            return;
        };
        if server.version.is_empty() {
            let info = client.server_info();
            server.version = clean(&info.version, 32);
            // Without a name of its own, a server calls itself by its id, which tells nobody anything.
            if info.server_name != info.server_id {
                server.name = clean(&info.server_name, 64);
            }
        }
    }

    fn out_of_time(&self, link: &Link, asking: &Asking) -> Result<Outcome, Stop> {
        if let Some(outcome) = asking.so_far() {
            return Ok(outcome);
        }
        let address = link.server.address();
        let waited = latency(self.request.start.elapsed());
        let failure = match asking.server_answered() {
            false => diagnosis::timed_out(&address, Hung::Asking, &waited),
            // It may be up, down or slow: there was no time to ask again.
            true => Failure::new(
                Reason::NatsUnreachable,
                format!("NATS at {address} is too slow: no time left to ask again after {waited}; raise --timeout"),
            ),
        };
        Err(Stop::Final(failure))
    }

    /// Waits for an event, for something in an inbox, or until the time given. `None`: no event.
    fn wait(
        &self,
        events: &Receiver<Event>,
        inboxes: &[Receiver<Message>],
        until: Instant,
    ) -> Result<Option<Event>, Stop> {
        let mut select = Select::new();
        select.recv(self.request.alarms);
        select.recv(events);
        for inbox in inboxes {
            select.recv(inbox);
        }
        // Whatever is ready is looked at below; so are an error and a timeout.
        let _ = select.ready_deadline(until);
        if let Ok(alarm) = self.request.alarms.try_recv() {
            return Err(Stop::Final(Failure::new(alarm.reason(), alarm.to_string())));
        }
        Ok(events.try_recv().ok())
    }

    fn left(&self) -> Duration {
        self.request.deadline.saturating_duration_since(Instant::now())
    }

    /// How to log in at this server.
    fn auth<'s>(&'s self, server: &'s ServerUrl) -> &'s Auth {
        server.auth.as_ref().unwrap_or(&self.request.target.auth)
    }

    fn step(&mut self, what: impl Display) {
        if self.trace.len() < MOST_STEPS {
            self.trace.push((self.request.start.elapsed(), what.to_string()));
        }
    }
}

enum LoggedIn {
    Yes(Link),
    TryAgain(io::Error),
}

fn order(link: &Link, command: Command) {
    // A worker that is stuck, in the wait for a PONG say, has enough to do when its queue is full.
    let _ = link.commands.try_send(command);
}

fn first_attempt(server: &ServerUrl) -> Attempt {
    let server = server.clone();
    match server.host.parse::<IpAddr>() {
        Ok(ip) => Attempt::Connect {
            address: SocketAddr::new(ip, server.port),
            server,
            again: false,
        },
        Err(_) => Attempt::Resolve(server),
    }
}

/// The server as the user knows it, with the address that its name stands for.
fn shown(server: &ServerUrl, address: SocketAddr) -> String {
    match server.host.parse::<IpAddr>() {
        Ok(_) => server.address(),
        Err(_) => format!("{} ({})", server.address(), address.ip()),
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Stop> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map(drop)
        .map_err(|error| {
            Stop::Final(Failure::new(
                Reason::Interrupted,
                format!("cannot start a thread: {error}"),
            ))
        })
}

/// Holds the client. Ends when the probe has no more use for it, or hangs for as long as the process lives.
fn work(address: SocketAddr, auth: &Auth, subject: &str, events: &Sender<Event>, orders: &Receiver<Command>) {
    let connection = match options(auth, events).connect(format!("nats://{address}")) {
        Ok(connection) => connection,
        Err(error) => return drop(events.send(Event::NotConnected(error))),
    };
    if events.send(Event::Connected).is_err() {
        return mem::forget(connection);
    }
    let first = std::iter::once(Command::Ask);
    for command in first.chain(orders.iter()) {
        let done = match command {
            Command::Ask => ask(&connection, subject, events),
            Command::Ping => Ok(()),
        };
        let began = Instant::now();
        // A PING behind the request. Whatever the server has to say about the request comes before the PONG.
        match done.and_then(|()| connection.flush()) {
            Ok(()) => drop(events.send(Event::Pong(began.elapsed()))),
            Err(_) => {
                let _ = events.send(Event::Disconnected);
                break;
            }
        }
    }
    mem::forget(connection);
}

fn ask(connection: &nats::Connection, subject: &str, events: &Sender<Event>) -> io::Result<()> {
    let inbox = connection.new_inbox();
    let subscription = connection.subscribe(&inbox)?;
    subscription.set_message_limits(INBOX_SIZE);
    let _ = events.send(Event::Asked {
        inbox: subscription.receiver().clone(),
        at: Instant::now(),
    });
    // Dropping it would unsubscribe.
    mem::forget(subscription);
    connection.publish_request(subject, &inbox, "")
}

fn options(auth: &Auth, events: &Sender<Event>) -> Options {
    let options = match auth {
        Auth::None => Options::new(),
        Auth::UserPassword { user, password } => Options::with_user_pass(user, password.reveal()),
        Auth::Token(token) => Options::with_token(token.reveal()),
    };
    let connected = AtomicBool::new(false);
    let (errors, disconnects) = (events.clone(), events.clone());
    options
        .with_name(CONNECTION_NAME)
        // 0 would prevent the first connect.
        .max_reconnects(1)
        .reconnect_buffer_size(0)
        // Asked once before the first connect, where the default sleeps for up to a second, and again after a loss.
        .reconnect_delay_callback(move |_| match connected.swap(true, SeqCst) {
            false => Duration::ZERO,
            true => NEVER,
        })
        // Any file given keeps the client from reading all of the system's certificates.
        .add_root_certificate("/dev/null")
        // The client's own thread must never wait for us.
        .error_callback(move |error| drop(errors.try_send(Event::Said(error.to_string()))))
        .disconnect_callback(move || drop(disconnects.try_send(Event::Disconnected)))
}
