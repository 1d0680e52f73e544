//! The dialogue over one connection: sends what the schedule says, and tells it what was heard.

use std::time::{Duration, Instant};

use super::connect::{Link, Probe, Stop};
use super::worker::{Command, Event, INBOX_SIZE, INFO, Message, REQUEST, headers, introduce, is_changed, reply_token};
use crate::probe::diagnosis::{self, Stage};
use crate::probe::endpoint::{Call, EndpointAction, EndpointPlan};
use crate::probe::info::is_of_the_server;
use crate::probe::observation::{Failure, InstanceReply, Outcome, Server};
use crate::probe::reply::read_alive;
use crate::probe::schedule::{PingAction, PingPlan, STATS, Schedule, Wanted};
use crate::values::duration::latency;
use crate::values::status::Reason;

/// Over TLS: how long to do without a sign of life before a PING is sent, then twice as long, and so on.
const FIRST_PING_DELAY: Duration = Duration::from_millis(25);

/// For how long to ask again at least, where the user allows it, before a service is down.
const MIN_CONFIRM: Duration = Duration::from_millis(250);

/// Of no more instances than this the statistics are asked for again whenever nobody has answered yet.
const STATS_RETRY_MAX_INSTANCES: usize = 1000;

/// How many replies that do not count are no accident.
const FLOOD: u32 = 32;

/// Maximum number of instances that are reported for their unreadable headers.
const MAX_UNREADABLE: usize = 10;

/// How much time of a long run is left to tell the verdict when an endpoint does not reply.
const VERDICT_RESERVE: Duration = Duration::from_millis(500);

impl Probe<'_> {
    pub(super) fn ask(&mut self, link: &mut Link) -> Result<Outcome, Stop> {
        let request = self.request;
        let plan = &request.plan;
        // Not now: the worker may have asked long before this thread got to know of it.
        let (origin, began) = link.connected;
        let budget = request.deadline - request.start;
        let left = self.left();
        let min_confirm = plan.confirm.min(budget * 3 / 4).min(MIN_CONFIRM);
        // A silence is believed when the last asking has had its time.
        let room = (left * 9 / 10).saturating_sub(plan.stall);
        // Within what is left: another server may have taken much of it. But where there is no time to ask again at
        // all, the run has to end without an answer, and not with a hasty one.
        let confirm = plan.confirm.min(left * 3 / 4).max(min_confirm);
        self.server = Some(Server {
            address: link.server.address(),
            ..Server::default()
        });
        let mut schedule = Schedule::new(PingPlan {
            confirm,
            // The missing are then asked one by one.
            confirm_fewer: plan.confirm.min(room.saturating_sub(plan.stall)),
            patience: plan.confirm.max(budget / 2).min(left * 3 / 4).min(room),
            first_ping_delay: link.secure.then_some(FIRST_PING_DELAY),
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
        self.alive_at = schedule.alive_at().map(|alive_at| began + alive_at);
        if end.is_ok() && plan.wanted == Wanted::All && self.call.is_none() {
            self.measure_round_trip(link);
        }
        let end = match end {
            Ok(Outcome::Answered(answers)) => self
                .request_endpoint(link, &mut schedule, origin, &answers)
                .map(|()| Outcome::Answered(answers)),
            end => end,
        };
        self.schedule = Some(schedule);
        end
    }

    /// Waits for the PONG that tells the round trip, where the answers were faster: no longer than for one more answer, and
    /// whatever happens meanwhile, they count.
    fn measure_round_trip(&mut self, link: &Link) {
        let until = self.request.deadline.min(Instant::now() + self.request.plan.stall);
        let mut first_ping_delay = FIRST_PING_DELAY;
        while self.server.as_ref().is_some_and(|server| server.rtt.is_none()) {
            let now = Instant::now();
            if now >= until {
                break;
            }
            // Over TLS no PING follows a request, and a later one may be what wakes the reader.
            if link.secure {
                order(link, Command::Ping);
            }
            let pause = if link.secure { now + first_ping_delay } else { until };
            first_ping_delay *= 2;
            match self.wait(&link.events, None, pause.min(until)) {
                Ok(Some(Event::Pong(rtt))) => {
                    self.step("PONG: the server is measured");
                    if let Some(server) = &mut self.server {
                        server.rtt = Some(rtt);
                    }
                }
                Ok(Some(Event::Disconnected)) | Err(_) => break,
                Ok(_) => {}
            }
        }
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
        answers: &[InstanceReply],
    ) -> Result<(), Stop> {
        let Some(mut call) = self.call.take() else {
            return Ok(());
        };
        let request = self.request;
        let budget = request.deadline - request.start;
        let end = request.deadline - (budget / 10).min(VERDICT_RESERVE);
        call.begin(
            origin.elapsed(),
            EndpointPlan {
                instances: answers.iter().map(|answer| answer.instance.id.clone()).collect(),
                imported: request.target.prefix.is_imported(),
                end: end.saturating_duration_since(origin),
                patience: budget / 4,
                stall: request.plan.stall,
                first_ping_delay: link.secure.then_some(FIRST_PING_DELAY),
            },
        );
        if self.headerless {
            call.failed(diagnosis::unreadable_headers(&link.server.address()));
        }
        self.call = Some(call);
        self.listen_for_endpoint(link, schedule, origin)
    }

    fn listen_for_endpoint(&mut self, link: &mut Link, schedule: &mut Schedule, origin: Instant) -> Result<(), Stop> {
        while let Some(call) = &mut self.call {
            let now = origin.elapsed();
            let next = call.next(now, schedule.server_answered());
            let until = match next {
                EndpointAction::Done => break,
                EndpointAction::ServerHung => {
                    let waited = latency(self.request.start.elapsed());
                    call.failed(diagnosis::timed_out(&link.server.address(), Stage::Answering, &waited));
                    break;
                }
                EndpointAction::Listen(until) => origin.checked_add(until).unwrap_or(self.request.deadline),
                EndpointAction::AskInfo => {
                    let nth = call.info_asked(now);
                    self.step("asking for the endpoints again");
                    self.order_beside(link, schedule, now, Command::AskInfo(nth));
                    continue;
                }
                EndpointAction::Request(subject) => {
                    let nth = call.sent(now);
                    self.step(format_args!("sending the request to {}", subject.shown()));
                    self.order_beside(link, schedule, now, Command::Request(subject, nth));
                    continue;
                }
                EndpointAction::Ping => {
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
                "{} while waiting for the reply of an endpoint, a reply that breaks the protocol does that",
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
        let no_responders = message.is_no_responders() && is_of_the_server(&headers) && !is_changed(message);
        let text = match (kind, no_responders) {
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
                PingAction::Done(outcome) => return Ok(outcome),
                PingAction::Flooded => return Err(Stop::Final(diagnosis::flooded(&link.server.address()))),
                PingAction::Ask => {
                    // If they are only slow, their statistics are on the way; of thousands, twice would be too many.
                    let stats = schedule.has_found_nobody()
                        || (1..STATS_RETRY_MAX_INSTANCES).contains(&self.request.plan.known.count());
                    schedule.asked(now);
                    self.info_asked_beside(now);
                    self.step("asking again");
                    order(link, Command::Ask { stats });
                    continue;
                }
                PingAction::AskMany(times) => {
                    schedule.asked_many(now, times);
                    self.step(format_args!(
                        "asking {times} times: one instance replied, others may share its queue group"
                    ));
                    order(link, Command::AskMany(times));
                    continue;
                }
                PingAction::AskEach(ids) => {
                    schedule.inquired(now, ids.clone());
                    self.step(format_args!("asking the {} missing, each for itself", ids.len()));
                    order(link, Command::AskEach(ids));
                    continue;
                }
                PingAction::Discover => {
                    schedule.inquired(now, Vec::new());
                    self.step(format_args!(
                        "asking {} who is there",
                        self.request.target.discovery_subject()
                    ));
                    order(link, Command::Discover);
                    continue;
                }
                PingAction::LookInto { ids, discover } => {
                    schedule.looked_into(now, ids.clone(), discover);
                    self.step(format_args!(
                        "looking into the silence, with {} known instances",
                        ids.len()
                    ));
                    order(link, Command::LookInto { ids, discover });
                    continue;
                }
                PingAction::Ping => {
                    schedule.pinged(now);
                    order(link, Command::Ping);
                    continue;
                }
                PingAction::Listen(until) => origin.checked_add(until).unwrap_or(self.request.deadline),
            };
            let event = self.wait(&link.events, Some(&link.inbox), until.min(self.request.deadline))?;
            // Events first, then the inbox: whatever came before an event is then in the inbox.
            let events: Vec<Event> = event.into_iter().chain(link.events.try_iter()).collect();
            self.empty_inbox(link, schedule, origin);
            for event in events {
                self.handle(link, schedule, origin, event)?;
            }
            let ended = || {
                matches!(
                    schedule.next(origin.elapsed()),
                    PingAction::Done(_) | PingAction::Flooded
                )
            };
            if Instant::now() >= self.request.deadline && !ended() {
                return self.out_of_time(link, schedule);
            }
        }
    }

    fn handle(&mut self, link: &mut Link, schedule: &mut Schedule, origin: Instant, event: Event) -> Result<(), Stop> {
        let address = link.server.address();
        match event {
            Event::Asked(at, times) => {
                for round in link.asked..link.asked + times {
                    schedule.on_wire(round, at.saturating_duration_since(origin));
                }
                link.asked += times;
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
                if about(&format!("{}.{}", self.request.target.ping_subject(), link.unused_id)) {
                    self.step(format_args!("denied: {}", failure.text));
                    schedule.nobody_denied();
                    return Ok(());
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
            if let Some(server) = self.server.as_mut().filter(|server| server.id.is_empty()) {
                introduce(&message, link.secure, server);
            }
            self.note_unreadable(&message);
            // A PONG is taken note of after what came before it. Over TLS there is no PING behind each request.
            let answered = !link.secure && schedule.server_answered();
            if self.heard_endpoint(&message, origin.elapsed(), answered) {
                continue;
            }
            let Some((round, token)) = reply_token(&message.subject) else {
                self.step("a message to no request of ours");
                continue;
            };
            if message.is_no_responders() && !is_changed(&message) {
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

    /// Takes note of a message whose headers the relay had to change.
    fn note_unreadable(&mut self, message: &Message) {
        if is_changed(message) && self.unreadable.len() < MAX_UNREADABLE {
            let instance = read_alive(self.request.target.service.as_str(), &message.data);
            self.unreadable
                .insert(instance.map_or("?".to_owned(), |instance| instance.id));
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
            false => diagnosis::timed_out(&address, Stage::Answering, &waited),
            // It may be up, down or slow: there was no time to ask again.
            true => Failure::new(
                Reason::NatsUnreachable,
                format!("NATS at {address} is too slow: no time left to ask again after {waited}, raise --timeout"),
            ),
        };
        Err(Stop::Final(failure))
    }
}

fn order(link: &Link, command: Command) {
    // A worker that is stuck, in the wait for a PONG say, has enough to do when its queue is full.
    let _ = link.commands.try_send(command);
}
