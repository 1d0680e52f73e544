//! Every order of what can come over the connection while an endpoint is asked, in simulated time.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use check_nats_service::connect::request::{Destination, EndpointRequest, Payload, Subject};
use check_nats_service::probe::clock::PingClock;
use check_nats_service::probe::endpoint::{Call, EndpointAction, EndpointPlan};
use check_nats_service::probe::info::Headers;
use check_nats_service::probe::observation::{EndpointEnd, Failure};
use check_nats_service::values::status::Reason;

use super::{World, ensure};

/// When the wait for a reply ends.
const END: Duration = ms(9500);

/// Time without a message after which none is expected any more.
const PATIENCE: Duration = ms(2500);

/// Maximum time after a request in which a 503 of the server can come.
const AT_ONCE: Duration = ms(1000);

/// Times after the first request at which it may be sent again, as the manual has it.
const AGAIN: [Duration; 2] = [ms(50), ms(250)];

const SUBJECT: &str = "orders.echo";
const INFO: &str = "$SRV.INFO.orders";

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Report of an instance about its endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    HasIt,
    HasOthers,
    /// It has it on a subject that nobody can publish to.
    Wild,
}

/// Message over the connection, or silence for as long as the run listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// The reply to the request, when it was sent for the nth time.
    Reply(usize),
    /// The same with `Nats-Service-Error`.
    ErrorReply(usize),
    /// A JetStream stream acknowledges the request.
    StreamAck(usize),
    /// The server knows of no subscriber. It says so before its PONG.
    NoResponders(usize),
    /// A peer sends the same.
    Forged(usize),
    /// An instance reports its endpoints.
    Info(&'static str, Report),
    /// Something that is no such report.
    Foreign,
    InfoNoResponders(usize),
    Pong,
    /// The server does not let us publish to the subject of the request, or to that of the endpoints.
    Denied,
    InfoDenied,
    Disconnected,
    /// All instances have replied to the question itself.
    Begin,
    Nothing,
}

impl Message {
    /// Returns `true` if the client takes it after all that is in the inbox.
    fn is_event(self) -> bool {
        matches!(
            self,
            Message::Disconnected | Message::Pong | Message::Denied | Message::InfoDenied
        )
    }
}

/// Message, and whether more come before the run acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    message: Message,
    is_with_next: bool,
}

impl fmt::Display for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let with = if self.is_with_next { ", at once with" } else { "" };
        write!(f, "{:?}{with}", self.message)
    }
}

/// A request to an endpoint.
pub struct Request {
    pub name: String,
    to: Destination,
    instances: &'static [&'static str],
    is_secure: bool,
}

/// The requests to search.
pub fn runs() -> Vec<Request> {
    let subject = Destination::Subject(Subject::parse(SUBJECT).expect("a subject"));
    let endpoint = Destination::Endpoint("echo".into());
    let mut runs = Vec::new();
    for is_secure in [false, true] {
        let tls = if is_secure { "TLS" } else { "plain" };
        runs.push(Request {
            name: format!("request to a subject, {tls}"),
            to: subject.clone(),
            instances: &["a"],
            is_secure,
        });
        for instances in [&["a"][..], &["a", "b"]] {
            runs.push(Request {
                name: format!("request to an endpoint of {} instances, {tls}", instances.len()),
                to: endpoint.clone(),
                instances,
                is_secure,
            });
        }
    }
    runs
}

impl Request {
    /// Number of messages to search in the short form.
    pub fn usual_depth(&self) -> usize {
        match self.to {
            Destination::Subject(_) => 6,
            Destination::Endpoint(_) => 3,
        }
    }
}

impl World for Request {
    type State = Run;
    type Event = Arrival;

    fn start(&self) -> Run {
        let mut run = Run::new(self);
        match run.act() {
            Ok(true) => run,
            ended => panic!("{}: {ended:?} before anything can come", self.name),
        }
    }

    fn events(&self, run: &Run) -> Cow<'_, [Arrival]> {
        Cow::Owned(run.arrivals())
    }

    fn after(&self, run: &Run, arrival: &Arrival) -> Result<Option<Run>, String> {
        let mut run = run.clone();
        run.receive(*arrival)?;
        let goes_on = arrival.is_with_next || run.act()?;
        Ok(goes_on.then_some(run))
    }
}

/// One time that the request was sent, and what came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Sent {
    at: Duration,
    /// The number of PINGs when it was sent: the server has dealt with it when as many PONGs have come.
    pings: usize,
    /// A 503 came that is the server's own, as far as anybody can tell.
    is_refused: bool,
}

/// A run that listens, and what is true of it.
#[derive(Clone, Debug)]
pub struct Run {
    call: Call,
    clock: PingClock,
    is_secure: bool,
    instances: &'static [&'static str],
    now: Duration,
    until: Duration,
    sent: Vec<Sent>,
    pings: usize,
    pongs: usize,
    /// The first reply to the latest request: whether it is an error.
    reply: Option<bool>,
    is_captured: bool,
    /// The instances that have reported, whatever.
    told: BTreeSet<&'static str>,
    has_it: bool,
    infos_asked: usize,
    info_refused: BTreeSet<usize>,
    /// It was denied, or the connection broke, before there was a reply.
    is_failed: bool,
    /// Set if more messages follow those since the run last acted: of events, when one of them has come.
    batch: Option<bool>,
}

impl Hash for Run {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Everything that decides how it goes on.
        format!("{:?}{:?}", self.call, self.clock).hash(state);
        (self.now, self.until, &self.sent, self.reply, self.is_captured).hash(state);
        (&self.told, self.has_it, &self.info_refused, self.is_failed, self.batch).hash(state);
    }
}

impl Run {
    fn new(request: &Request) -> Run {
        let wanted = EndpointRequest {
            to: request.to.clone(),
            payload: Payload::default(),
            headers: Vec::new(),
            reply_contains: None,
        };
        let mut run = Run {
            call: Call::new("orders", INFO.into(), wanted),
            clock: PingClock::new(request.is_secure),
            is_secure: request.is_secure,
            instances: request.instances,
            now: Duration::ZERO,
            until: Duration::ZERO,
            sent: Vec::new(),
            pings: 0,
            pongs: 0,
            reply: None,
            is_captured: false,
            told: BTreeSet::new(),
            has_it: false,
            infos_asked: 0,
            info_refused: BTreeSet::new(),
            is_failed: false,
            batch: None,
        };
        run.request_sent();
        if run.call.info_subject().is_some() {
            run.call.info_asked(Duration::ZERO);
            run.infos_asked = 1;
        }
        run
    }

    fn begin(&mut self) {
        let plan = EndpointPlan {
            instances: self.instances.iter().map(|id| (*id).to_owned()).collect(),
            imported: false,
            end: END,
            patience: PATIENCE,
            stall: ms(300),
        };
        self.call.begin(self.now, plan);
    }

    fn request_sent(&mut self) {
        self.clock.request_sent(self.now);
        self.pings += usize::from(!self.is_secure);
    }

    fn ping(&mut self) {
        self.clock.ping_sent(self.now);
        self.pings += 1;
    }

    /// Acts until it has to listen. Returns `false` when it has ended.
    fn act(&mut self) -> Result<bool, String> {
        self.batch = None;
        if !self.call.has_begun() {
            let next = self.call.next(self.now, &self.clock);
            ensure(next == EndpointAction::Listen(Duration::MAX), "it begins too early")?;
            self.until = END / 2;
            return Ok(true);
        }
        for _ in 0..100 {
            match self.call.next(self.now, &self.clock) {
                EndpointAction::AskInfo => {
                    ensure(self.told.is_empty(), "asks for endpoints that were reported")?;
                    ensure(self.infos_asked < 4, "asks for the endpoints again and again")?;
                    self.call.info_asked(self.now);
                    self.infos_asked += 1;
                    self.request_sent();
                }
                EndpointAction::Request(subject) => self.send(&subject)?,
                EndpointAction::Ping => self.ping(),
                EndpointAction::ServerHung => {
                    ensure(self.now >= END, "the server hangs, before the end")?;
                    ensure(self.pongs < self.pings, "the server hangs, though it has answered")?;
                    ensure(self.reply.is_none(), "the server hangs, though a reply came")?;
                    return Ok(false);
                }
                EndpointAction::Done => return self.ended().map(|()| false),
                EndpointAction::Listen(until) => {
                    if let Some(due) = self.clock.ping_due().filter(|due| *due <= self.now) {
                        ensure(due < END, "PINGs after the end")?;
                        self.ping();
                        continue;
                    }
                    ensure(self.now < END, "it listens after the end")?;
                    ensure(until > self.now && until <= END, "it listens until a wrong time")?;
                    ensure(self.reply.is_none(), "it waits, though it has the reply")?;
                    ensure(!self.is_failed, "it waits, though nothing can come")?;
                    let is_refused = |sent: &Sent| sent.is_refused;
                    ensure(
                        self.sent.len() <= AGAIN.len() || !self.sent.iter().all(is_refused),
                        "it waits, though nobody is there",
                    )?;
                    self.until = until.min(self.clock.ping_due().unwrap_or(Duration::MAX));
                    return Ok(true);
                }
            }
        }
        Err("it acts without an end".into())
    }

    fn send(&mut self, subject: &Subject) -> Result<(), String> {
        ensure(subject.as_str() == SUBJECT, "another subject than was reported")?;
        ensure(self.now < END, "it is sent after the end")?;
        ensure(
            self.sent.iter().all(|sent| sent.is_refused),
            "it is sent again, though it may have been received",
        )?;
        ensure(self.reply.is_none(), "it is sent again, though a reply came")?;
        if let Some(first) = self.sent.first() {
            let gap = AGAIN.get(self.sent.len() - 1).ok_or("it is sent too often")?;
            ensure(self.now >= first.at + *gap, "it is sent again too early")?;
        }
        ensure(self.call.sent(self.now) == self.sent.len(), "it is numbered wrongly")?;
        self.request_sent();
        self.sent.push(Sent {
            at: self.now,
            pings: self.pings,
            is_refused: false,
        });
        Ok(())
    }

    /// Returns the messages that can come now.
    fn arrivals(&self) -> Vec<Arrival> {
        let mut messages = Vec::new();
        let mut events = vec![Message::Disconnected];
        if self.pongs < self.pings {
            events.push(Message::Pong);
        }
        if let Some(latest) = self.sent.len().checked_sub(1) {
            // To an earlier one there is no reply but a late one, or one that somebody makes up.
            for nth in latest.saturating_sub(1)..=latest {
                messages.extend([Message::Reply(nth), Message::Forged(nth)]);
                let is_dealt_with = !self.is_secure && self.pongs >= self.sent[nth].pings;
                if !self.sent[nth].is_refused && !is_dealt_with && self.reply.is_none() && nth == latest {
                    messages.push(Message::NoResponders(nth));
                }
            }
            messages.extend([Message::ErrorReply(latest), Message::StreamAck(latest)]);
            events.push(Message::Denied);
        }
        if self.infos_asked > 0 {
            let reports = [Report::HasIt, Report::HasOthers, Report::Wild];
            let ids = ["a", "b"].into_iter().filter(|id| !self.told.contains(id));
            messages.extend(ids.flat_map(|id| reports.map(|report| Message::Info(id, report))));
            messages.push(Message::Info("c", Report::HasOthers));
            let refused = (0..self.infos_asked).filter(|round| !self.info_refused.contains(round));
            messages.extend(refused.map(Message::InfoNoResponders));
            messages.push(Message::Foreign);
            events.push(Message::InfoDenied);
        }
        if !self.call.has_begun() {
            messages.push(Message::Begin);
            events.retain(|event| matches!(event, Message::Pong | Message::InfoDenied));
        }
        // The client takes what is in the inbox first, and then the events.
        if self.batch == Some(true) {
            messages.clear();
        }
        let all = messages.into_iter().chain(events);
        let mut arrivals: Vec<Arrival> = all
            .flat_map(|message| {
                // Nothing acts on these, so that it makes no difference when they come.
                let is_idle = matches!(message, Message::Foreign | Message::StreamAck(_) | Message::Begin);
                let both = [false, true]
                    .into_iter()
                    .filter(move |is_with_next| !(is_idle && *is_with_next));
                both.map(move |is_with_next| Arrival { message, is_with_next })
            })
            .collect();
        if self.batch.is_none() && self.call.has_begun() {
            arrivals.push(Arrival {
                message: Message::Nothing,
                is_with_next: false,
            });
        }
        arrivals
    }

    fn receive(&mut self, arrival: Arrival) -> Result<(), String> {
        self.now = match arrival.message {
            Message::Nothing => self.until,
            _ if self.batch.is_some() => self.now,
            _ => (self.now + ms(1)).min(self.until),
        };
        self.batch = arrival.is_with_next.then_some(arrival.message.is_event());
        let latest = self.sent.len();
        let denied = Failure::new(Reason::PermissionDenied, "denied");
        match arrival.message {
            Message::Reply(nth) => {
                let counts = self.call.reply(self.now, nth, &Headers::new(), b"ok");
                ensure(
                    counts == (nth + 1 == latest && self.reply.is_none() && !self.is_failed),
                    "a reply counts wrongly",
                )?;
                if counts {
                    self.reply = Some(false);
                }
            }
            Message::ErrorReply(nth) => {
                let headers = Headers::from([("Nats-Service-Error".to_owned(), vec!["broken".to_owned()])]);
                if self.call.reply(self.now, nth, &headers, b"") {
                    self.reply = Some(true);
                }
            }
            Message::StreamAck(nth) => {
                let counts = self
                    .call
                    .reply(self.now, nth, &Headers::new(), br#"{"stream":"S","seq":1}"#);
                ensure(!counts, "an acknowledgement counts")?;
                self.is_captured |= self.reply.is_none();
            }
            Message::NoResponders(nth) | Message::Forged(nth) => {
                let answered = !self.is_secure && self.clock.server_answered();
                let counts = self.call.no_responders(self.now, nth, answered);
                // Nobody can tell a forged one that comes in time from the server's own.
                let is_plausible = nth + 1 == latest
                    && self.reply.is_none()
                    && self.now < self.sent[nth].at + AT_ONCE
                    && (self.is_secure || self.pongs < self.pings);
                ensure(!counts || is_plausible, "a forged 503 counts")?;
                ensure(
                    counts || !is_plausible || arrival.message == Message::Forged(nth),
                    "a 503 of the server does not count",
                )?;
                if counts {
                    self.sent[nth].is_refused = true;
                }
            }
            Message::Info(id, report) => {
                let (name, subject) = match report {
                    Report::HasIt => ("echo", SUBJECT),
                    Report::HasOthers => ("other", "orders.other"),
                    Report::Wild => ("echo", "orders.*"),
                };
                let info = format!(
                    r#"{{"name":"orders","id":"{id}","endpoints":[{{"name":"{name}","subject":"{subject}"}}]}}"#
                );
                if self.call.info(self.now, info.as_bytes()) && self.sent.is_empty() {
                    self.told.insert(id);
                    self.has_it |= report == Report::HasIt;
                }
            }
            Message::Foreign => {
                let foreign = br#"{"name":"billing","id":"x","endpoints":[{"name":"echo","subject":"x"}]}"#;
                ensure(
                    !self.call.info(self.now, foreign),
                    "the report of another service counts",
                )?;
            }
            Message::InfoNoResponders(round) => {
                self.call.info_no_responders(round);
                self.info_refused.insert(round);
            }
            Message::Pong => {
                self.pongs += 1;
                self.clock.pong_received();
            }
            Message::Denied => {
                ensure(self.call.denied(SUBJECT, &denied), "a denial of the request is none")?;
                self.is_failed |= self.reply.is_none();
            }
            Message::InfoDenied => {
                // It may come late, when the endpoints are known.
                let is_ours = self.call.denied(INFO, &denied);
                ensure(
                    is_ours == self.sent.is_empty(),
                    "a denial of the question for endpoints",
                )?;
                self.is_failed |= is_ours;
            }
            Message::Disconnected => {
                self.call.failed(Failure::new(Reason::NatsUnreachable, "lost"));
                self.is_failed |= self.reply.is_none();
            }
            Message::Begin => self.begin(),
            Message::Nothing => {}
        }
        Ok(())
    }

    fn ended(&self) -> Result<(), String> {
        ensure(self.now <= END, "it ends after its deadline")?;
        let seen = self.call.seen();
        let is_refused = |sent: &Sent| sent.is_refused;
        let end = format!("{:?}", seen.end);
        let right = |is_true: bool, what: &str| ensure(is_true, &format!("{what}: {end}"));
        if let Some(is_error) = self.reply.filter(|_| !self.is_failed) {
            let reply = seen.reply();
            return right(
                reply.is_some_and(|reply| reply.error.is_some() == is_error),
                "a reply came before the end",
            );
        }
        match &seen.end {
            EndpointEnd::Failed(_) => right(self.is_failed, "nothing failed"),
            _ if self.is_failed => right(false, "it failed"),
            EndpointEnd::NoResponders { certain } => {
                let is_all = !self.sent.is_empty() && self.sent.iter().all(is_refused);
                right(is_all && *certain, "not everybody said that nobody is there")?;
                right(self.sent.len() == AGAIN.len() + 1, "it was not sent again")
            }
            EndpointEnd::NoReply {
                waited,
                enough,
                captured,
            } => {
                let last = self.sent.last().ok_or("nothing was sent")?;
                right(self.now >= END && *waited == self.now - last.at, "it did not wait")?;
                right(self.pongs >= self.pings, "the server may hang")?;
                let late = last.at + (END - last.at) * 3 / 4;
                right(self.clock.last_ping() >= late, "the server may have frozen")?;
                right(!last.is_refused, "nobody was there")?;
                right(*enough == (*waited >= PATIENCE), "long enough or not")?;
                right(*captured == self.is_captured, "captured or not")
            }
            EndpointEnd::Unknown { complete, .. } => {
                right(!self.has_it && !self.told.is_empty(), "an instance has it")?;
                let is_complete = self.instances.iter().all(|id| self.told.contains(id));
                right(*complete == is_complete, "complete or not")?;
                right(self.sent.is_empty(), "it was sent")
            }
            EndpointEnd::NotASubject { .. } => right(!self.has_it && !self.told.is_empty(), "it has a subject"),
            EndpointEnd::NoInfo { no_responders, .. } => {
                right(self.told.is_empty(), "an instance has reported")?;
                let is_all = self.info_refused.len() == self.infos_asked;
                right(*no_responders == is_all, "somebody was there or not")?;
                right(self.infos_asked > 1, "it did not ask again")
            }
            EndpointEnd::NoTime => right(self.now + PATIENCE / 16 > END, "there was time"),
            EndpointEnd::Replied(_) => right(false, "nothing came"),
            EndpointEnd::TooLarge { .. } | EndpointEnd::NoHeaders => right(false, "nobody said so"),
        }
    }
}
