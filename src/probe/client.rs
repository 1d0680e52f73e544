//! Asks NATS, and always comes back in time. The one file that names the `nats` crate.
//!
//! The client has no timeouts: it can hang in a connect, a login, a write or the wait for a PONG. So a worker thread holds
//! it, one for each connection, and tells what happens through a channel; the probe waits for that channel, for the
//! inboxes and for the alarms, all at once and never longer than to the deadline. A worker that hangs is left alone: the
//! process is about to end. For the same reason no connection is ever closed, which would cost two round trips.

// The client is deprecated upstream in favour of an async one, which a program this small does not want.
#![allow(deprecated)]

use std::collections::{HashSet, VecDeque};
use std::fmt::Display;
use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Select, Sender, bounded};
use nats::{HeaderMap, Message, Options};

use crate::guard::watchdog::Alarm;
use crate::probe::diagnosis::{self, Hung, Peer};
use crate::probe::endpoint::{self, Call};
use crate::probe::info::{Headers, is_of_the_server};
use crate::probe::observation::{Answer, EndpointEnd, Failure, Observation, Outcome, Server};
use crate::probe::request::{Destination, EndpointRequest, Subject};
use crate::probe::schedule::{NOBODY, Next, Plan, RECONNECTED, STATS, Schedule, Wanted};
use crate::probe::sockets::{self, Progress};
use crate::probe::stats::SeenStats;
use crate::probe::target::{Auth, ServerUrl, Target, Tls};
use crate::values::duration::latency;
use crate::values::status::Reason;
use crate::values::text::clean;
use crate::values::timestamp::Timestamp;

/// Over TLS: how long to do without a sign of life before a PING is sent, then twice as long, and so on.
const NUDGE: Duration = Duration::from_millis(25);

/// For how long to ask again at least, where the user allows it, before a service is down.
const HASTY: Duration = Duration::from_millis(250);

/// How many replies may wait in one inbox. More than that at once is a flood, no service.
const INBOX_SIZE: usize = 32_768;

/// Of no more instances than this the statistics are asked for again whenever nobody has answered yet.
const FEW: usize = 1000;

/// How many replies that do not count are no accident.
const FLOOD: u32 = 32;

/// How many addresses of one name are tried.
const MOST_ADDRESSES: usize = 16;

/// How many steps are remembered for `-vvv`.
const MOST_STEPS: usize = 200;

/// How much time of a long run is left to tell the verdict when an endpoint does not reply.
const VERDICT: Duration = Duration::from_millis(500);

/// How the last tokens of the inboxes begin to which instances tell their endpoints, and an endpoint replies: `info-NTH`.
const INFO: &str = "info";
const REQUEST: &str = "request";

/// A lost connection sleeps instead of reconnecting: the client would never send the request again.
const NEVER: Duration = Duration::from_secs(3600);

/// The question, and how to ask it.
pub struct Request<'a> {
    pub target: &'a Target,
    /// As the user wants it. How long it may take is fitted into the time that there is, once connected.
    pub plan: Plan,
    /// Whether to ask again for longer where NATS was disturbed, so that services had to connect again.
    pub patient: bool,
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
        schedule: None,
        call: None,
        denied: String::new(),
        stats_denied: String::new(),
        disturbed: request.plan.disturbed,
        proven: None,
        trace: Vec::new(),
    };
    let outcome = probe.run().unwrap_or_else(|stop| {
        let (Stop::Lost(failure) | Stop::Final(failure)) = stop;
        Outcome::Failed(failure)
    });
    let schedule = probe.schedule.as_ref();
    let proven = probe.proven.filter(|_| matches!(outcome, Outcome::Answered(_)));
    Observation {
        at: proven.unwrap_or_else(Timestamp::now),
        outcome,
        census: schedule.is_some_and(Schedule::was_census),
        askings: schedule.map_or(0, Schedule::askings),
        ignored: schedule.map(Schedule::ignored).unwrap_or_default(),
        absent: schedule.map(Schedule::absent).unwrap_or_default(),
        others: schedule.and_then(Schedule::others),
        silence: schedule.map(Schedule::silence).unwrap_or_default(),
        without_ping: schedule.is_some_and(Schedule::without_ping),
        stats: request.plan.stats.then(|| SeenStats {
            instances: schedule.map(|schedule| schedule.stats().clone()).unwrap_or_default(),
            denied: probe.stats_denied,
        }),
        denied: probe.denied,
        request: probe.call.filter(Call::has_begun).map(|call| call.seen()),
        server: probe.server,
        credentials: request.target.expiry(),
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
    /// Logged in at this time; the first request is about to leave, and all replies will come to this inbox; the last
    /// is an id that no instance has.
    Connected(Instant, Timestamp, Receiver<Message>, String),
    /// A request is about to leave.
    Asked(Instant),
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
enum Command {
    /// For the statistics, too, where they are wanted.
    Ask {
        stats: bool,
    },
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

/// One connection, as the probe sees it.
struct Link {
    events: Receiver<Event>,
    commands: Sender<Command>,
    server: ServerUrl,
    secure: bool,
    /// When the first request was about to leave.
    connected: (Instant, Timestamp),
    inbox: Receiver<Message>,
    /// An id that no instance has.
    nobody: String,
    /// How many requests have left.
    asked: usize,
}

/// One step on the way to a connection.
enum Attempt {
    Resolve(ServerUrl),
    Connect {
        server: ServerUrl,
        address: SocketAddr,
        secure: bool,
        again: bool,
    },
}

struct Probe<'a> {
    request: &'a Request<'a>,
    server: Option<Server>,
    schedule: Option<Schedule>,
    /// The request to an endpoint, where one is to be sent.
    call: Option<Call>,
    denied: String,
    /// Why the statistics were not asked for.
    stats_denied: String,
    /// Whether NATS is known to have been disturbed: services may have lost their connections, too.
    disturbed: bool,
    /// See [`Schedule::proven`].
    proven: Option<Timestamp>,
    trace: Vec<(Duration, String)>,
}

impl Probe<'_> {
    fn run(&mut self) -> Result<Outcome, Stop> {
        // A server that restarts is no reason to give up, and neither is one lost packet.
        for _ in 0..2 {
            let mut link = self.connect()?;
            match self.ask(&mut link) {
                Err(Stop::Lost(failure)) => {
                    self.disturbed = true;
                    self.step(format_args!("lost: {}", failure.text));
                }
                end => {
                    // The worker would end now, which costs more than to let it wait for the end of the process.
                    mem::forget(link);
                    return end;
                }
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
        let mut failed = HashSet::new();
        while let Some(attempt) = attempts.pop_front() {
            let share = self.left() / (attempts.len() as u32 + 1);
            let until = Instant::now() + share;
            let server = attempt.server().address();
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
                } => {
                    match self.log_in(&server, address, secure, until) {
                        Ok(link) => Ok(Some(link)),
                        // The server may send an INFO at any moment; the client takes it for an error just now.
                        Err(NoLogin::Untimely(_)) if !again => {
                            attempts.push_front(Attempt::Connect {
                                server,
                                address,
                                secure,
                                again: true,
                            });
                            Ok(None)
                        }
                        Err(NoLogin::WantsTls) => {
                            attempts.push_front(Attempt::Connect {
                                server,
                                address,
                                secure: true,
                                again,
                            });
                            Ok(None)
                        }
                        Err(NoLogin::Untimely(failure)) => Err(Stop::Lost(failure)),
                        Err(NoLogin::Failed(stop)) => Err(stop),
                    }
                }
            };
            match result {
                Ok(Some(link)) => {
                    // That another address of the same name failed says nothing: one may be IPv6.
                    failed.remove(&server);
                    self.disturbed |= !failed.is_empty();
                    return Ok(link);
                }
                Ok(None) => {}
                Err(Stop::Lost(failure)) => {
                    self.step(format_args!("failed: {}", failure.text));
                    failures.push(failure);
                    failed.insert(server);
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
        match self.wait(&events, None, until)? {
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

    fn log_in(
        &mut self,
        server: &ServerUrl,
        address: SocketAddr,
        secure: bool,
        until: Instant,
    ) -> Result<Link, NoLogin> {
        let target = self.request.target;
        let how = if secure { " with TLS" } else { "" };
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
        spawn("client", move || work(&login, &subjects, &sender, &orders)).map_err(NoLogin::Failed)?;
        let failure = match self.wait(&events, None, until).map_err(NoLogin::Failed)? {
            Some(Event::Connected(at, time, inbox, nobody)) => {
                self.step("logged in");
                return Ok(Link {
                    events,
                    commands,
                    server: server.clone(),
                    secure,
                    connected: (at, time),
                    inbox,
                    nobody,
                    asked: 0,
                });
            }
            Some(Event::NotConnected(error)) => {
                if !secure && diagnosis::tls_error(&error).is_some() {
                    return Err(NoLogin::WantsTls);
                }
                let peer = self.peer(server, shown(server, address));
                let failure = diagnosis::not_connected(&peer, &error, began.elapsed());
                if error.to_string().starts_with("unexpected line while connecting: Info(") {
                    return Err(NoLogin::Untimely(failure));
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
                let hung = match sockets::progress(address) {
                    Progress::NotConnected => Hung::Connecting,
                    Progress::NothingReceived => Hung::Greeting,
                    Progress::Received => Hung::LoggingIn,
                };
                diagnosis::timed_out(&shown(server, address), hung, &latency(began.elapsed()))
            }
        };
        Err(NoLogin::Failed(Stop::Lost(failure)))
    }

    fn ask(&mut self, link: &mut Link) -> Result<Outcome, Stop> {
        let request = self.request;
        let plan = &request.plan;
        // Not now: the worker may have asked long before this thread got to know of it.
        let (origin, began) = link.connected;
        let budget = request.deadline - request.start;
        let left = self.left();
        let hasty = plan.confirm.min(budget * 3 / 4).min(HASTY);
        // A silence is believed when the last asking has had its time.
        let room = (left * 9 / 10).saturating_sub(plan.stall);
        // Within what is left: another server may have taken much of it. But where there is no time to ask again at
        // all, the run has to end without an answer, and not with a hasty one.
        let confirm = plan.confirm.min(left * 3 / 4).max(hasty);
        let patient = request.patient && !plan.confirm.is_zero();
        let confirm_disturbed = patient.then(|| plan.confirm.max(RECONNECTED).min(left * 3 / 4).max(confirm));
        self.server = Some(Server {
            address: link.server.address(),
            ..Server::default()
        });
        let mut schedule = Schedule::new(Plan {
            confirm,
            confirm_disturbed,
            disturbed: self.disturbed,
            patience: plan.confirm.max(budget / 2).min(left * 3 / 4).min(room),
            nudge: link.secure.then_some(NUDGE),
            ..plan.clone()
        });
        self.call = request.target.request.clone().map(|wanted| {
            let target = request.target;
            Call::new(target.service.as_str(), target.subject("INFO"), wanted)
        });
        // The worker asks without being told, as soon as it is connected.
        schedule.asked(Duration::ZERO);
        self.info_asked_beside(Duration::ZERO);
        self.step(format_args!("asking {}", self.subject()));
        let end = self.listen(link, &mut schedule, origin);
        self.proven = schedule.proven().map(|proven| began + proven);
        let end = match end {
            Ok(Outcome::Answered(answers)) => self
                .request_endpoint(link, &mut schedule, origin, &answers)
                .map(|()| Outcome::Answered(answers)),
            end => end,
        };
        self.schedule = Some(schedule);
        end
    }

    /// The instances are asked for their endpoints together with the question itself, in one write.
    fn info_asked_beside(&mut self, now: Duration) {
        if let Some(call) = self.call.as_mut().filter(|call| call.info_subject().is_some()) {
            call.info_asked(now);
        }
    }

    /// Sends the request to an endpoint, and waits for its reply. Only an alarm is an error: whatever comes of the request,
    /// the instances have answered.
    fn request_endpoint(
        &mut self,
        link: &mut Link,
        schedule: &mut Schedule,
        origin: Instant,
        answers: &[Answer],
    ) -> Result<(), Stop> {
        let Some(mut call) = self.call.take() else {
            return Ok(());
        };
        let request = self.request;
        let budget = request.deadline - request.start;
        let end = request.deadline - (budget / 10).min(VERDICT);
        call.begin(
            origin.elapsed(),
            endpoint::Plan {
                instances: answers.iter().map(|answer| answer.instance.id.clone()).collect(),
                imported: request.target.prefix.is_imported(),
                end: end.saturating_duration_since(origin),
                patience: budget / 4,
                stall: request.plan.stall,
                nudge: link.secure.then_some(NUDGE),
            },
        );
        self.call = Some(call);
        self.listen_for_endpoint(link, schedule, origin)
    }

    fn listen_for_endpoint(&mut self, link: &mut Link, schedule: &mut Schedule, origin: Instant) -> Result<(), Stop> {
        while let Some(call) = &mut self.call {
            let now = origin.elapsed();
            let next = call.next(now, schedule.server_answered());
            let until = match next {
                endpoint::Next::Done => break,
                endpoint::Next::ServerHung => {
                    let waited = latency(self.request.start.elapsed());
                    call.failed(diagnosis::timed_out(&link.server.address(), Hung::Answering, &waited));
                    break;
                }
                endpoint::Next::Listen(until) => origin.checked_add(until).unwrap_or(self.request.deadline),
                endpoint::Next::AskInfo => {
                    let nth = call.info_asked(now);
                    self.step("asking for the endpoints again");
                    self.order_beside(link, schedule, now, Command::AskInfo(nth));
                    continue;
                }
                endpoint::Next::Request(subject) => {
                    let nth = call.sent(now);
                    self.step(format_args!("sending the request to {}", subject.shown()));
                    self.order_beside(link, schedule, now, Command::Request(subject, nth));
                    continue;
                }
                endpoint::Next::Ping => {
                    call.pinged(now);
                    schedule.pinged(now);
                    order(link, Command::Ping);
                    continue;
                }
            };
            let event = self.wait(&link.events, Some(&link.inbox), until.min(self.request.deadline))?;
            // As for the question itself.
            let events: Vec<Event> = event.into_iter().chain(link.events.try_iter()).collect();
            self.empty_inbox(link, schedule, origin);
            for event in events {
                if let Err(Stop::Lost(failure) | Stop::Final(failure)) = self.handle(link, schedule, origin, event) {
                    self.lost_endpoint(failure);
                }
            }
        }
        Ok(())
    }

    /// What is sent beside the question: a PING goes behind it, where the worker does so.
    fn order_beside(&self, link: &Link, schedule: &mut Schedule, now: Duration, command: Command) {
        if !link.secure {
            schedule.pinged(now);
        }
        order(link, command);
    }

    /// The connection is lost. The request is not sent over another one, since somebody may have received it.
    fn lost_endpoint(&mut self, failure: Failure) {
        let Some(call) = &mut self.call else { return };
        let text = match call.is_under_way() {
            true => format!(
                "{} while waiting for the reply of an endpoint; a reply that breaks the protocol does that",
                failure.text
            ),
            false => failure.text,
        };
        call.failed(Failure::new(failure.reason, text));
    }

    /// A message to an inbox of the request to an endpoint. `false`: it is none.
    fn heard_endpoint(&mut self, message: &Message, now: Duration, server_answered: bool) -> bool {
        let Some(call) = &mut self.call else { return false };
        let token = message
            .subject
            .rsplit('.')
            .next()
            .and_then(|token| token.split_once('-'));
        let Some((kind, Ok(nth))) = token.map(|(kind, nth)| (kind, nth.parse::<usize>())) else {
            return false;
        };
        let (size, headers) = (message.data.len(), headers(message));
        let nobody = message.is_no_responders() && is_of_the_server(&headers);
        let text = match (kind, nobody) {
            (INFO, true) => {
                call.info_no_responders(nth);
                "503: nobody tells endpoints".to_owned()
            }
            (INFO, false) => match call.info(now, &message.data) {
                true => format!("endpoints of an instance, {size} bytes"),
                false => format!("a message that tells no endpoints, or none that is new, {size} bytes"),
            },
            (REQUEST, true) => match call.no_responders(now, nth, server_answered) {
                true => "503: no responders for the request".to_owned(),
                false => "a 503 that is not the server's own, or comes too late".to_owned(),
            },
            (REQUEST, false) => match call.reply(now, nth, &headers, &message.data) {
                true => format!("the reply to the request, {size} bytes"),
                false => format!("a message that is no reply to the request, or a further one, {size} bytes"),
            },
            _ => return false,
        };
        self.step(text);
        true
    }

    fn listen(&mut self, link: &mut Link, schedule: &mut Schedule, origin: Instant) -> Result<Outcome, Stop> {
        loop {
            let now = origin.elapsed();
            let until = match schedule.next(now) {
                Next::Done(outcome) => return Ok(outcome),
                Next::Flooded => return Err(Stop::Final(diagnosis::flooded(&link.server.address()))),
                Next::Ask => {
                    // If they are only slow, their statistics are on the way; of thousands, twice would be too many.
                    let stats = schedule.has_found_nobody() || (1..FEW).contains(&self.request.plan.known.count());
                    schedule.asked(now);
                    self.info_asked_beside(now);
                    self.step("asking again");
                    order(link, Command::Ask { stats });
                    continue;
                }
                Next::AskEach(ids) => {
                    schedule.inquired(now, ids.clone());
                    self.step(format_args!("asking the {} missing, each for itself", ids.len()));
                    order(link, Command::AskEach(ids));
                    continue;
                }
                Next::Discover => {
                    schedule.inquired(now, Vec::new());
                    self.step(format_args!(
                        "asking {} who is there",
                        self.request.target.discovery_subject()
                    ));
                    order(link, Command::Discover);
                    continue;
                }
                Next::LookInto { ids, discover } => {
                    schedule.looked_into(now, ids.clone(), discover);
                    self.step(format_args!(
                        "looking into the silence, with {} known instances",
                        ids.len()
                    ));
                    order(link, Command::LookInto { ids, discover });
                    continue;
                }
                Next::Ping => {
                    schedule.pinged(now);
                    order(link, Command::Ping);
                    continue;
                }
                Next::Listen(until) => origin.checked_add(until).unwrap_or(self.request.deadline),
            };
            let event = self.wait(&link.events, Some(&link.inbox), until.min(self.request.deadline))?;
            // Events first, then the inbox: whatever came before an event is then in the inbox.
            let events: Vec<Event> = event.into_iter().chain(link.events.try_iter()).collect();
            self.empty_inbox(link, schedule, origin);
            for event in events {
                self.handle(link, schedule, origin, event)?;
            }
            let ended = || matches!(schedule.next(origin.elapsed()), Next::Done(_) | Next::Flooded);
            if Instant::now() >= self.request.deadline && !ended() {
                return self.out_of_time(link, schedule);
            }
        }
    }

    fn handle(&mut self, link: &mut Link, schedule: &mut Schedule, origin: Instant, event: Event) -> Result<(), Stop> {
        let address = link.server.address();
        match event {
            Event::Asked(at) => {
                schedule.on_wire(link.asked, at.saturating_duration_since(origin));
                link.asked += 1;
            }
            Event::Pong(rtt) => {
                schedule.pong();
                if let Some(server) = &mut self.server {
                    server.rtt = Some(server.rtt.map_or(rtt, |best| best.min(rtt)));
                }
                self.step("PONG: the server has dealt with all so far");
            }
            Event::ServerError(text) => {
                let failure = diagnosis::server_said(&self.peer(&link.server, address), &text);
                let is_denial = failure.reason == Reason::PermissionDenied;
                let about = |subject: &str| is_denial && text.contains(&format!("\"{subject}\""));
                if about(&self.request.target.subject("STATS")) {
                    self.step(format_args!("denied: {}", failure.text));
                    schedule.stats_denied();
                    self.stats_denied = failure.text;
                    return Ok(());
                }
                if let (Some(call), Some(subject)) = (&mut self.call, diagnosis::denied_subject(&text))
                    && call.denied(subject, &failure)
                {
                    self.step(format_args!("denied: {}", failure.text));
                    return Ok(());
                }
                if about(&format!("{}.{}", self.request.target.ping_subject(), link.nobody)) {
                    schedule.nobody_denied();
                }
                if is_denial && schedule.is_looking() && !about(&self.request.target.discovery_subject()) {
                    self.step(format_args!("denied: {}", failure.text));
                    return Ok(());
                }
                if is_denial && schedule.denied() {
                    self.step(format_args!("denied: {}", failure.text));
                    self.denied = failure.text;
                    return Ok(());
                }
                return Err(match failure.reason {
                    Reason::NatsUnreachable => Stop::Lost(failure),
                    _ => Stop::Final(failure),
                });
            }
            Event::Disconnected => {
                let text = format!("the connection to NATS at {address} broke");
                return Err(Stop::Lost(Failure::new(Reason::NatsUnreachable, text)));
            }
            Event::Requested(at) => {
                if let Some(call) = &mut self.call {
                    call.on_wire(at.saturating_duration_since(origin));
                }
            }
            Event::NotRequested(end) => {
                if let Some(call) = &mut self.call {
                    call.ended(end);
                }
            }
            Event::Resolved(_) | Event::Connected(..) | Event::NotConnected(_) => {}
        }
        Ok(())
    }

    fn empty_inbox(&mut self, link: &Link, schedule: &mut Schedule, origin: Instant) {
        // Not for ever, however fast they come.
        for message in link.inbox.try_iter().take(INBOX_SIZE) {
            self.note_server(&message, schedule);
            // A PONG is taken note of after what came before it. Over TLS there is no PING behind each request.
            let answered = !link.secure && schedule.server_answered();
            if self.heard_endpoint(&message, origin.elapsed(), answered) {
                continue;
            }
            let Some((round, token)) = reply_token(&message.subject) else {
                self.step("a message to no request of ours");
                continue;
            };
            if message.is_no_responders() {
                // Whoever cannot send statistics may be fine.
                if token != STATS {
                    schedule.no_responders(round, token);
                }
                self.step("503: no responders");
                continue;
            }
            let from = schedule.reply(origin.elapsed(), round, token, &message.data);
            let size = message.data.len();
            match from {
                None => self.step(format_args!("a reply, {size} bytes")),
                Some(kind) => self.step(format_args!("a reply that does not count ({kind:?}), {size} bytes")),
            }
        }
    }

    /// Who the server is, which the client tells only through its messages.
    fn note_server(&mut self, message: &Message, schedule: &mut Schedule) {
        let (Some(server), Some(client)) = (&mut self.server, &message.client) else {
            return;
        };
        if server.id.is_empty() {
            let info = client.server_info();
            server.id = clean(&info.server_id, 64);
            schedule.asked_of(&server.id);
            server.version = clean(&info.version, 32);
            // Without a name of its own, a server calls itself by its id, which tells nobody anything.
            if info.server_name != info.server_id {
                server.name = clean(&info.server_name, 64);
            }
        }
    }

    fn out_of_time(&self, link: &Link, schedule: &Schedule) -> Result<Outcome, Stop> {
        if let Some(outcome) = schedule.so_far() {
            return Ok(outcome);
        }
        let address = link.server.address();
        let waited = latency(self.request.start.elapsed());
        let failure = match schedule.server_answered() {
            // It does not stop answering, but with what is no answer.
            false if schedule.ignored().total() > FLOOD => diagnosis::flooded(&address),
            false => diagnosis::timed_out(&address, Hung::Answering, &waited),
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

    fn left(&self) -> Duration {
        self.request.deadline.saturating_duration_since(Instant::now())
    }

    /// How to log in at this server.
    fn auth<'s>(&'s self, server: &'s ServerUrl) -> &'s Auth {
        server.auth.as_ref().unwrap_or(&self.request.target.auth)
    }

    /// Whom to ask: all instances, or one of them.
    fn subject(&self) -> String {
        let all = self.request.target.ping_subject();
        match &self.request.plan.wanted {
            Wanted::Id(id) => format!("{all}.{id}"),
            _ => all,
        }
    }

    fn peer<'s>(&'s self, server: &'s ServerUrl, address: String) -> Peer<'s> {
        Peer {
            address,
            auth: self.auth(server),
            inbox_prefix: self.request.target.inbox_prefix.as_str(),
            ping_subject: self.request.target.ping_subject(),
            identity: self.request.target.tls.identity.is_some(),
            now: Timestamp::now(),
        }
    }

    fn step(&mut self, what: impl Display) {
        if self.trace.len() < MOST_STEPS {
            self.trace.push((self.request.start.elapsed(), what.to_string()));
        }
    }
}

impl Attempt {
    fn server(&self) -> &ServerUrl {
        match self {
            Attempt::Resolve(server) | Attempt::Connect { server, .. } => server,
        }
    }
}

/// Why there is no connection.
enum NoLogin {
    /// The server upgrades to TLS, and this connection was not made for it.
    WantsTls,
    /// The client did not understand something that was right, and may do better next time.
    Untimely(Failure),
    Failed(Stop),
}

fn order(link: &Link, command: Command) {
    // A worker that is stuck, in the wait for a PONG say, has enough to do when its queue is full.
    let _ = link.commands.try_send(command);
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

/// How a worker connects.
struct Login {
    url: String,
    /// Made for TLS, by URL or by upgrade.
    secure: bool,
    auth: Auth,
    tls: Tls,
    connection_name: String,
}

/// What a worker asks, and where the replies come.
struct Subjects {
    ping: String,
    discovery: String,
    stats: String,
    info: String,
    /// Whether each asking is for the statistics, too.
    with_stats: bool,
    /// What to ask an endpoint.
    request: Option<EndpointRequest>,
    inbox_prefix: String,
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
fn work(login: &Login, subjects: &Subjects, events: &Sender<Event>, orders: &Receiver<Command>) {
    let connection = match options(login, events).connect(login.url.as_str()) {
        Ok(connection) => connection,
        Err(error) => return drop(events.send(Event::NotConnected(error))),
    };
    // One inbox for all replies, so that a server with a limit on subscriptions lets us ask again.
    let inbox = connection.new_inbox().replacen("_INBOX", &subjects.inbox_prefix, 1);
    let subscription = match connection.subscribe(&format!("{inbox}.*")) {
        Ok(subscription) => subscription,
        Err(_) => return drop(events.send(Event::Disconnected)),
    };
    subscription.set_message_limits(INBOX_SIZE);
    let replies = subscription.receiver().clone();
    // Dropping it would unsubscribe.
    mem::forget(subscription);
    // What makes an inbox unique makes an id so, too.
    let nobody = inbox.rsplit('.').next().unwrap_or_default().to_owned();
    let connected = Event::Connected(Instant::now(), Timestamp::now(), replies, nobody.clone());
    if events.send(connected).is_err() {
        return mem::forget(connection);
    }
    let first = std::iter::once(Command::Ask { stats: true });
    let mut round = 0;
    for command in first.chain(orders.iter()) {
        let pinging = matches!(command, Command::Ping);
        let obeyed = match &command {
            Command::AskInfo(nth) => ask_info(&connection, subjects, &inbox, *nth),
            Command::Request(subject, nth) => request(&connection, subjects, subject, &inbox, *nth, events),
            command => command
                .obey(&connection, subjects, &nobody, &format!("{inbox}.{round}"), events)
                // In the same write.
                .and_then(|()| match command {
                    Command::Ask { .. } => ask_info(&connection, subjects, &inbox, round),
                    _ => Ok(()),
                }),
        };
        let beside = matches!(command, Command::Ping | Command::AskInfo(_) | Command::Request(..));
        round += usize::from(!beside);
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

/// Which request a message answers, by the last token of its subject: `ROUND`, or `ROUND-NTH` for the nth instance that was
/// asked for itself. The second value is empty, or NTH.
fn reply_token(subject: &str) -> Option<(usize, &str)> {
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
        nobody: &str,
        reply: &str,
        events: &Sender<Event>,
    ) -> io::Result<()> {
        if matches!(self, Command::Ping) {
            return Ok(());
        }
        let _ = events.send(Event::Asked(Instant::now()));
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
                connection.publish_request(&format!("{}.{nobody}", subjects.ping), &format!("{reply}-{NOBODY}"), "")?;
                match discover {
                    true => connection.publish_request(&subjects.discovery, reply, ""),
                    false => Ok(()),
                }
            }
            Command::Discover => connection.publish_request(&subjects.discovery, reply, ""),
            Command::AskEach(ids) => ids.iter().enumerate().try_for_each(|(n, id)| {
                connection.publish_request(&format!("{}.{id}", subjects.ping), &format!("{reply}-{n}"), "")
            }),
            // See `ask_info` and `request`.
            Command::Ping | Command::AskInfo(_) | Command::Request(..) => Ok(()),
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
    subjects: &Subjects,
    subject: &Subject,
    inbox: &str,
    nth: usize,
    events: &Sender<Event>,
) -> io::Result<()> {
    let Some(request) = &subjects.request else {
        return Ok(());
    };
    let (size, limit) = (request.size(), connection.max_payload());
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

/// The headers of a message, in a form that is ours.
fn headers(message: &Message) -> Headers {
    let headers = message.headers.iter().flat_map(|headers| headers.iter());
    headers
        .map(|(key, values)| (key.clone(), values.iter().cloned().collect()))
        .collect()
}

fn options(login: &Login, events: &Sender<Event>) -> Options {
    let options = match &login.auth {
        Auth::None => Options::new(),
        Auth::UserPassword { user, password } => Options::with_user_pass(user, password.reveal()),
        Auth::Token(token) => Options::with_token(token.reveal()),
        Auth::Credentials { credentials, .. } => {
            let (jwt, nkey) = (credentials.jwt.clone(), credentials.nkey.clone());
            Options::with_jwt(move || Ok(jwt.reveal().to_owned()), move |nonce| nkey.sign(nonce))
        }
        Auth::Nkey { nkey, .. } => {
            let key = nkey.clone();
            Options::with_nkey(&nkey.public(), move |nonce| key.sign(nonce))
        }
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
            true => NEVER,
        })
        // The client's own thread must never wait for us.
        .error_callback(move |error| drop(errors.try_send(Event::ServerError(error.to_string()))))
        .disconnect_callback(move || drop(disconnects.try_send(Event::Disconnected)))
}
