//! One probe under way, and its way to a connection.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Display;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Select, Sender, bounded};

use super::worker::{Command, Event, Login, Message, Subjects, spawn, work};
use crate::connect::target::{Auth, ServerUrl, Target};
use crate::probe::diagnosis::{self, Peer, Stage};
use crate::probe::endpoint::Call;
use crate::probe::observation::{Failure, Server};
use crate::probe::schedule::{PingPlan, Schedule, Wanted};
use crate::probe::sockets::{self, Progress};
use crate::process::watchdog::Alarm;
use crate::values::duration::latency;
use crate::values::status::Reason;
use crate::values::timestamp::Timestamp;

/// How many addresses of one name are tried.
const MAX_ADDRESSES: usize = 16;

/// How many steps are remembered for `-vvv`.
const MAX_STEPS: usize = 200;

/// The question, and how to ask it.
pub struct ProbeRequest<'a> {
    pub target: &'a Target,
    /// As the user wants it. How long it may take is fitted into the time that there is, once connected.
    pub plan: PingPlan,
    /// When the run began, and when it ends.
    pub start: Instant,
    pub deadline: Instant,
    /// What ends it before.
    pub alarms: &'a Receiver<Alarm>,
}

/// Why an attempt ended without an answer.
pub(super) enum Stop {
    /// Another server, or another connection, may do better.
    Lost(Failure),
    /// Nothing else will do better.
    Final(Failure),
}

/// One connection, as the probe sees it.
pub(super) struct Link {
    pub(super) events: Receiver<Event>,
    pub(super) commands: Sender<Command>,
    pub(super) server: ServerUrl,
    pub(super) secure: bool,
    /// Whether it goes through a relay.
    pub(super) relayed: bool,
    /// When the first request was about to leave.
    pub(super) connected: (Instant, Timestamp),
    pub(super) inbox: Receiver<Message>,
    /// An id that no instance has.
    pub(super) unused_id: String,
    /// How many requests have left.
    pub(super) asked: usize,
}

pub(super) struct Probe<'a> {
    pub(super) request: &'a ProbeRequest<'a>,
    pub(super) server: Option<Server>,
    pub(super) schedule: Option<Schedule>,
    /// The request to an endpoint, where one is to be sent.
    pub(super) call: Option<Call>,
    pub(super) denied: String,
    /// Why the statistics were not asked for.
    pub(super) stats_denied: String,
    /// See [`Schedule::alive_at`].
    pub(super) alive_at: Option<Timestamp>,
    /// Whether connections go through a relay, where there is no TLS: a reply may be one that the client cannot read.
    pub(super) relayed: bool,
    /// Whether the server is to leave out the headers of messages.
    pub(super) headerless: bool,
    /// See [`Observation::unreadable`](crate::probe::observation::Observation::unreadable).
    pub(super) unreadable: BTreeSet<String>,
    pub(super) trace: Vec<(Duration, String)>,
    /// See [`Observation::remarks`](crate::probe::observation::Observation::remarks).
    pub(super) remarks: Vec<String>,
}

/// One step on the way to a connection.
enum Attempt {
    Resolve(ServerUrl),
    Connect {
        server: ServerUrl,
        address: SocketAddr,
        secure: bool,
        again: bool,
        /// Whether it goes through a relay.
        relayed: bool,
    },
}

impl Probe<'_> {
    /// Tries the servers one by one, each address of each in its turn: the client would shuffle them, and report the last
    /// error only. Each gets its part of the time left.
    pub(super) fn connect(&mut self) -> Result<Link, Stop> {
        let mut attempts: VecDeque<Attempt> = self.request.target.servers.iter().map(first_attempt).collect();
        let mut failures = Vec::new();
        while let Some(attempt) = attempts.pop_front() {
            let share = self.left() / (attempts.len() as u32 + 1);
            let until = Instant::now() + share;
            let result = match attempt {
                Attempt::Resolve(server) => self.resolve(&server, until).map(|addresses| {
                    // TLS needs the name, so the client has to resolve it again, and to try all addresses in one go.
                    let addresses = if server.tls { &addresses[..1] } else { &addresses };
                    for address in addresses.iter().rev() {
                        attempts.push_front(connect_attempt(&server, *address));
                    }
                    None
                }),
                Attempt::Connect {
                    server,
                    address,
                    secure,
                    again,
                    relayed,
                } => {
                    match self.log_in(&server, address, secure, relayed || self.relayed, until) {
                        Ok(link) => Ok(Some(link)),
                        // The server may send an INFO at any moment; the client takes it for an error just now.
                        Err(NoLogin::Untimely(_)) if !again => {
                            attempts.push_front(Attempt::Connect {
                                server,
                                address,
                                secure,
                                again: true,
                                relayed,
                            });
                            Ok(None)
                        }
                        Err(NoLogin::WantsTls) => {
                            attempts.push_front(Attempt::Connect {
                                server,
                                address,
                                secure: true,
                                again,
                                relayed,
                            });
                            Ok(None)
                        }
                        Err(NoLogin::LongInfo(_)) if !secure && !relayed => {
                            attempts.push_front(Attempt::Connect {
                                server,
                                address,
                                secure,
                                again,
                                relayed: true,
                            });
                            Ok(None)
                        }
                        Err(NoLogin::LongInfo(failure)) => Err(Stop::Lost(failure)),
                        Err(NoLogin::Untimely(failure)) => Err(Stop::Lost(failure)),
                        Err(NoLogin::Failed(stop)) => Err(stop),
                    }
                }
            };
            match result {
                Ok(Some(link)) => {
                    return Ok(link);
                }
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
                    if !distinct.contains(&address) && distinct.len() < MAX_ADDRESSES {
                        distinct.push(address);
                    }
                }
                distinct
            });
            let _ = sender.send(Event::Resolved(addresses));
        })
        .map_err(Stop::Final)?;
        match self.wait(&events, None, until)? {
            Some(Event::Resolved(Ok(addresses))) if !addresses.is_empty() => Ok(addresses),
            Some(Event::Resolved(Err(error))) => Err(Stop::Lost(diagnosis::not_resolved(&server.host, &error))),
            Some(_) => {
                let error = io::Error::other("the name has no address");
                Err(Stop::Lost(diagnosis::not_resolved(&server.host, &error)))
            }
            None => Err(Stop::Lost(diagnosis::timed_out(
                &server.host,
                Stage::Resolving,
                &latency(began.elapsed()),
            ))),
        }
    }

    fn log_in(
        &mut self,
        server: &ServerUrl,
        address: SocketAddr,
        secure: bool,
        relayed: bool,
        until: Instant,
    ) -> Result<Link, NoLogin> {
        let target = self.request.target;
        let how = match (secure, relayed) {
            (true, _) => " with TLS",
            (false, true) => " through a relay in this process",
            (false, false) => "",
        };
        self.step(format_args!("connecting to {}{how}", shown(server, address)));
        let began = Instant::now();
        // Enough for whatever a sane connection tells; an insane one waits for us, or is not heard.
        let (sender, events) = bounded(256);
        let (commands, orders) = bounded(64);
        let login = Login {
            url: match secure {
                true => format!("{}://{}", if server.tls { "tls" } else { "nats" }, server.address()),
                false => format!("nats://{address}"),
            },
            secure,
            relay: Some(address).filter(|_| relayed && !secure),
            headerless: self.headerless,
            auth: self.auth(server).clone(),
            tls: target.tls.clone(),
            connection_name: target.connection_name.clone(),
        };
        let subjects = Subjects {
            ping: self.subject(),
            discovery: target.discovery_subject(),
            stats: target.subject("STATS"),
            info: target.subject("INFO"),
            with_stats: self.request.plan.stats,
            request: target.request.clone(),
            inbox_prefix: target.inbox_prefix.as_str().to_owned(),
        };
        spawn("client", move || work(&login, &subjects, &sender, &orders))
            .map_err(|failure| NoLogin::Failed(Stop::Final(failure)))?;
        let failure = match self.wait(&events, None, until).map_err(NoLogin::Failed)? {
            Some(Event::Connected(at, time, inbox, unused_id, relayed)) => {
                self.step("logged in");
                self.remark_plain_login(server, secure);
                return Ok(Link {
                    events,
                    commands,
                    server: server.clone(),
                    secure,
                    relayed,
                    connected: (at, time),
                    inbox,
                    unused_id,
                    asked: 0,
                });
            }
            Some(Event::NotConnected(error)) => {
                if !secure && diagnosis::tls_error(&error).is_some() {
                    return Err(NoLogin::WantsTls);
                }
                let peer = self.peer(server, shown(server, address));
                let failure = diagnosis::not_connected(&peer, &error, began.elapsed());
                let text = error.to_string();
                if text.starts_with("unexpected line while connecting: Info(") {
                    return Err(NoLogin::Untimely(failure));
                }
                if text == diagnosis::LONG_LINE {
                    return Err(NoLogin::LongInfo(failure));
                }
                failure
            }
            // Two PONGs end a login, and the client hears of what comes with the first one before it is done.
            Some(Event::ServerError(text)) => diagnosis::server_said(&self.peer(server, shown(server, address)), &text),
            Some(Event::Disconnected) => {
                let error = io::ErrorKind::UnexpectedEof.into();
                diagnosis::not_connected(&self.peer(server, shown(server, address)), &error, began.elapsed())
            }
            Some(_) => Failure::new(Reason::ProtocolError, "the client is confused"),
            None => {
                let stage = match sockets::progress(address) {
                    Progress::NotConnected => Stage::Connecting,
                    Progress::NothingReceived => Stage::Greeting,
                    Progress::Received => Stage::LoggingIn,
                };
                diagnosis::timed_out(&shown(server, address), stage, &latency(began.elapsed()))
            }
        };
        if failure.reason == Reason::AuthRejected {
            self.remark_plain_login(server, secure);
        }
        Err(NoLogin::Failed(Stop::Lost(failure)))
    }

    /// Remarks what somebody on the way to the server has learned of the login.
    fn remark_plain_login(&mut self, server: &ServerUrl, secure: bool) {
        let what = match self.auth(server) {
            _ if secure => return,
            Auth::None => return,
            Auth::UserPassword { .. } => {
                "the password went over a connection without TLS: whoever is on the way can read it"
            }
            Auth::Token(_) => "the token went over a connection without TLS: whoever is on the way can read it",
            Auth::Nkey { .. } => {
                "the NKey was used over a connection without TLS: whoever is on the way can log in as its user meanwhile"
            }
            Auth::Credentials { .. } => {
                "the creds were used over a connection without TLS: whoever is on the way can read the user JWT, and log in as \
                 this user meanwhile"
            }
        };
        let remark = format!("{}: {what}, give --tls or a tls:// URL", server.address());
        if !self.remarks.contains(&remark) {
            self.remarks.push(remark);
        }
    }

    /// Waits for an event, for something in an inbox, or until the time given. `None`: no event.
    pub(super) fn wait(
        &self,
        events: &Receiver<Event>,
        inbox: Option<&Receiver<Message>>,
        until: Instant,
    ) -> Result<Option<Event>, Stop> {
        let mut select = Select::new();
        select.recv(self.request.alarms);
        select.recv(events);
        if let Some(inbox) = inbox {
            select.recv(inbox);
        }
        // Whatever is ready is looked at below; so are an error and a timeout.
        let _ = select.ready_deadline(until);
        if let Ok(alarm) = self.request.alarms.try_recv() {
            return Err(Stop::Final(Failure::new(alarm.reason(), alarm.to_string())));
        }
        Ok(events.try_recv().ok())
    }

    pub(super) fn left(&self) -> Duration {
        self.request.deadline.saturating_duration_since(Instant::now())
    }

    /// How to log in at this server.
    fn auth<'s>(&'s self, server: &'s ServerUrl) -> &'s Auth {
        server.auth.as_ref().unwrap_or(&self.request.target.auth)
    }

    /// Whom to ask: all instances, or one of them.
    pub(super) fn subject(&self) -> String {
        let all = self.request.target.ping_subject();
        match &self.request.plan.wanted {
            Wanted::Id(id) => format!("{all}.{id}"),
            _ => all,
        }
    }

    /// The subjects on which this run publishes, besides that of PING.
    fn other_subjects(&self) -> Vec<String> {
        let target = &self.request.target;
        let request = self.call.as_ref().and_then(Call::subject);
        [
            target.discovery_subject(),
            target.subject("STATS"),
            target.subject("INFO"),
        ]
        .into_iter()
        .chain(request.map(str::to_owned))
        .collect()
    }

    pub(super) fn peer<'s>(&'s self, server: &'s ServerUrl, address: String) -> Peer<'s> {
        Peer {
            address,
            auth: self.auth(server),
            inbox_prefix: self.request.target.inbox_prefix.as_str(),
            ping_subject: self.request.target.ping_subject(),
            subjects: self.other_subjects(),
            identity: self.request.target.tls.identity.is_some(),
            now: Timestamp::now(),
        }
    }

    pub(super) fn step(&mut self, what: impl Display) {
        if self.trace.len() < MAX_STEPS {
            self.trace.push((self.request.start.elapsed(), what.to_string()));
        }
    }
}

/// Why there is no connection.
enum NoLogin {
    /// The server upgrades to TLS, and this connection was not made for it.
    WantsTls,
    /// The client did not understand something that was right, and may do better next time.
    Untimely(Failure),
    /// The INFO is longer than the client reads.
    LongInfo(Failure),
    Failed(Stop),
}

fn first_attempt(server: &ServerUrl) -> Attempt {
    match server.host.parse::<IpAddr>() {
        Ok(ip) => connect_attempt(server, SocketAddr::new(ip, server.port)),
        Err(_) => Attempt::Resolve(server.clone()),
    }
}

fn connect_attempt(server: &ServerUrl, address: SocketAddr) -> Attempt {
    Attempt::Connect {
        server: server.clone(),
        address,
        secure: server.tls,
        again: false,
        relayed: false,
    }
}

/// The server as the user knows it, with the address that its name stands for.
fn shown(server: &ServerUrl, address: SocketAddr) -> String {
    match server.host.parse::<IpAddr>() {
        Ok(_) => server.address(),
        Err(_) => format!("{} ({})", server.address(), address.ip()),
    }
}
