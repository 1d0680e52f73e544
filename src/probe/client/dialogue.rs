//! The dialogue over one connection: sends what the schedule says, and hands it what came; then the same for the request to an
//! endpoint.

use std::mem;
use std::time::{Duration, Instant};

use super::link::{Link, Purpose};
use super::probe::{Probe, Stop};
use super::worker::{ClientEvent, INBOX_SIZE, Message, headers, introduce, is_changed};
use crate::connect::request::Destination;
use crate::probe::diagnosis::{self, Stage};
use crate::probe::endpoint::{Call, EndpointAction, EndpointPlan};
use crate::probe::info::is_of_the_server;
use crate::probe::observation::{Observation, Outcome};
use crate::probe::plan::{PingPlan, Query, Wanted};
use crate::probe::reply::read_alive;
use crate::probe::schedule::{PingAction, Schedule};
use crate::values::duration::latency;
use crate::values::status::Reason;
use crate::values::timestamp::Timestamp;

/// Minimum time of the last retry, where the user allows it, before a service is down.
const MIN_CONFIRM: Duration = Duration::from_millis(250);

/// Rejected replies beyond this count are treated as a flood.
const FLOOD: u32 = 32;

/// Maximum number of instances that are reported for their unreadable headers.
const MAX_UNREADABLE: usize = 10;

/// Time of a long run that is reserved for the verdict when an endpoint does not reply.
const VERDICT_RESERVE: Duration = Duration::from_millis(500);

/// The requests over one connection, and their results.
pub(super) struct Dialogue {
    link: Link,
    schedule: Schedule,
    /// The request to an endpoint, where one is to be sent.
    call: Option<Call>,
    /// The answer to the question itself, when it is known.
    outcome: Option<Outcome>,
    /// When to stop waiting for the PONG that tells the round trip.
    round_trip_end: Option<Duration>,
    /// Set when the connection broke after the outcome was known.
    broken: bool,
}

impl Dialogue {
    /// Returns the observation with this outcome.
    pub(super) fn observation(self, ended: Timestamp, outcome: Outcome) -> Observation {
        let link = self.link;
        let seen = self.schedule.observation(link.began.1, ended, outcome, &link.clock);
        // The worker would end now, which costs more than to let it wait for the end of the process.
        mem::forget(link);
        Observation {
            request: self.call.filter(Call::has_begun).map(|call| call.seen()),
            ..seen
        }
    }
}

/// The next action.
enum Step {
    /// Something was sent or decided: ask again what to do.
    Again,
    Ping,
    /// Listen, until this time at the latest.
    Listen(Duration),
    /// The outcome is known, and all else that was to be asked.
    Done,
}

impl Probe<'_> {
    /// The first messages over a connection.
    pub(super) fn first_messages(&self) -> Vec<(String, Purpose)> {
        let mut messages = self.messages(&self.request.plan.services[0].first_queries(), "");
        let request = self.request.target.request.as_ref();
        if request.is_some_and(|request| matches!(request.to, Destination::Endpoint(_))) {
            messages.push((self.subject("INFO"), Purpose::Info(0)));
        }
        messages
    }

    /// The messages that ask these queries.
    fn messages(&self, queries: &[Query], unused_id: &str) -> Vec<(String, Purpose)> {
        let target = self.request.target;
        let of_instance = |verb: &str, id: &str| format!("{}.{id}", self.subject(verb));
        let mut messages = Vec::new();
        for query in queries {
            let subject = match query {
                Query::Ping(_) => self.ping_subject(),
                Query::Stats => self.subject("STATS"),
                Query::InstancePing(id) => of_instance("PING", id),
                Query::InstanceStatus(id) => {
                    messages.push((of_instance("STATS", id), Purpose::Query(query.clone())));
                    of_instance("INFO", id)
                }
                Query::UnusedId => of_instance("PING", unused_id),
                Query::Discovery => target.discovery_subject("PING"),
            };
            messages.push((subject, Purpose::Query(query.clone())));
        }
        messages
    }

    fn asking(&mut self, messages: &[(String, Purpose)]) {
        let others = match messages.len() - 1 {
            0 => String::new(),
            others => format!(" and {others} more"),
        };
        self.step(format_args!("asking {}{others}", messages[0].0));
    }

    /// The subject to which every instance of the service answers, for this verb.
    fn subject(&self, verb: &str) -> String {
        self.request
            .target
            .subject(verb, &self.request.plan.services[0].service)
    }

    /// The subject of a PING: to all instances, or to one of them.
    fn ping_subject(&self) -> String {
        let all = self.subject("PING");
        match &self.request.plan.services[0].wanted {
            Wanted::Id(id) => format!("{all}.{id}"),
            _ => all,
        }
    }

    /// A dialogue whose first messages have left.
    pub(super) fn begin(&mut self, link: Link) -> Dialogue {
        let (request, target, plan) = (self.request, self.request.target, &self.request.plan.services[0]);
        let budget = request.deadline - request.start;
        let left = self.left();
        let min_confirm = plan.confirm.min(budget * 3 / 4).min(MIN_CONFIRM);
        // A silence counts when the last round has had its time.
        let room = (left * 9 / 10).saturating_sub(plan.stall);
        let mut schedule = Schedule::new(PingPlan {
            // Within what is left: another server may have taken much of it. But where there is no time for a retry at
            // all, the run has to end without an answer, and not with a hasty one.
            confirm: plan.confirm.min(left * 3 / 4).max(min_confirm),
            // The missing are then asked one by one.
            confirm_fewer: plan.confirm.min(room.saturating_sub(plan.stall)),
            patience: plan.confirm.max(budget / 2).min(left * 3 / 4).min(room),
            ..plan.clone()
        });
        schedule.sent(Duration::ZERO, &plan.first_queries());
        let mut call = target
            .request
            .clone()
            .map(|wanted| Call::new(&plan.service, self.subject("INFO"), wanted));
        if let Some(call) = call.as_mut().filter(|call| call.info_subject().is_some()) {
            call.info_asked(Duration::ZERO);
        }
        self.asking(&self.messages(&plan.first_queries(), ""));
        Dialogue {
            link,
            schedule,
            call,
            outcome: None,
            round_trip_end: None,
            broken: false,
        }
    }

    /// Sends and receives until all is known that was to be asked, or until the deadline.
    pub(super) fn converse(&mut self, dialogue: &mut Dialogue) -> Result<Outcome, Stop> {
        let end = self.request.deadline.saturating_duration_since(dialogue.link.began.0);
        loop {
            let now = dialogue.link.now();
            let mut until = match self.next(dialogue, now)? {
                Step::Again => continue,
                Step::Ping => {
                    dialogue.link.ping(now);
                    continue;
                }
                Step::Listen(until) => until.min(end),
                Step::Done => match dialogue.outcome.take() {
                    Some(outcome) => return Ok(outcome),
                    None => continue,
                },
            };
            if now >= end && dialogue.outcome.is_none() {
                let outcome = self.out_of_time(dialogue)?;
                self.settle(dialogue, now, outcome);
                continue;
            }
            if let Some(due) = dialogue.link.clock.ping_due() {
                if now >= due {
                    dialogue.link.ping(now);
                    continue;
                }
                until = until.min(due);
            }
            match self.receive(dialogue, dialogue.link.began.0 + until) {
                // Whatever happens while the round trip is measured, the replies count.
                Err(_) if dialogue.outcome.is_some() && dialogue.call.is_none() => dialogue.broken = true,
                received => received?,
            }
        }
    }

    fn next(&mut self, dialogue: &mut Dialogue, now: Duration) -> Result<Step, Stop> {
        match (&dialogue.outcome, &dialogue.call) {
            (None, _) => self.next_of_schedule(dialogue, now),
            (Some(Outcome::Answered(_)), Some(_)) => Ok(self.next_of_call(dialogue, now)),
            (Some(_), _) => Ok(self.next_of_round_trip(dialogue, now)),
        }
    }

    fn next_of_schedule(&mut self, dialogue: &mut Dialogue, now: Duration) -> Result<Step, Stop> {
        let link = &mut dialogue.link;
        let queries = match dialogue.schedule.next(now, &link.clock) {
            PingAction::Send(queries) => queries,
            PingAction::Ping => return Ok(Step::Ping),
            PingAction::Listen(until) => return Ok(Step::Listen(until)),
            PingAction::Flooded => return Err(Stop::Final(diagnosis::flooded(&link.server.address()))),
            PingAction::Done(outcome) => {
                self.settle(dialogue, now, outcome);
                return Ok(Step::Again);
            }
        };
        let mut messages = self.messages(&queries, &link.unused_id);
        dialogue.schedule.sent(now, &queries);
        let pings = Query::pings(&queries);
        // The instances are asked for their endpoints in the same write.
        if let (Some(call), 1) = (&mut dialogue.call, pings)
            && let Some(subject) = call.info_subject().map(str::to_owned)
        {
            messages.push((subject, Purpose::Info(call.info_asked(now))));
        }
        // Ids come from the service, and are not shown in subjects.
        match &queries[0] {
            Query::Ping(_) if pings == 1 => self.step("asking again"),
            Query::Ping(_) | Query::Stats | Query::Discovery => self.asking(&messages),
            Query::InstancePing(_) => self.step(format_args!("asking {} instances one by one", queries.len() - 1)),
            Query::InstanceStatus(_) | Query::UnusedId => self.step("looking into the silence"),
        }
        link.publish(now, messages);
        Ok(Step::Again)
    }

    /// The question itself has this answer. Then the request to an endpoint may be sent.
    fn settle(&mut self, dialogue: &mut Dialogue, now: Duration, outcome: Outcome) {
        if let (Outcome::Answered(replies), Some(call)) = (&outcome, &mut dialogue.call) {
            let request = self.request;
            let budget = request.deadline - request.start;
            let end = request.deadline - (budget / 10).min(VERDICT_RESERVE);
            let plan = EndpointPlan {
                instances: replies.iter().map(|reply| reply.instance.id.clone()).collect(),
                imported: request.target.prefix.is_imported(),
                end: end.saturating_duration_since(dialogue.link.began.0),
                patience: budget / 4,
                stall: request.plan.services[0].stall,
            };
            call.begin(now, plan);
            if self.headerless {
                call.failed(diagnosis::unreadable_headers(&dialogue.link.server.address()));
            }
        }
        dialogue.outcome = Some(outcome);
    }

    fn next_of_call(&mut self, dialogue: &mut Dialogue, now: Duration) -> Step {
        let (link, Some(call)) = (&mut dialogue.link, &mut dialogue.call) else {
            return Step::Again;
        };
        match call.next(now, &link.clock) {
            EndpointAction::Ping => return Step::Ping,
            EndpointAction::Listen(until) => return Step::Listen(until),
            EndpointAction::Done => return Step::Done,
            EndpointAction::AskInfo => {
                self.step("asking for the endpoints again");
                let subject = self.subject("INFO");
                link.publish(now, vec![(subject, Purpose::Info(call.info_asked(now)))]);
            }
            EndpointAction::Request(subject) => {
                self.step(format_args!("sending the request to {}", subject.shown()));
                link.request(now, call.sent(now), subject, call.request().clone());
            }
            EndpointAction::ServerHung => {
                let waited = latency(self.request.start.elapsed());
                call.failed(diagnosis::timed_out(&link.server.address(), Stage::Answering, &waited));
            }
        }
        Step::Again
    }

    /// Waits for the PONG that tells the round trip, where the replies were faster: no longer than for one more reply.
    fn next_of_round_trip(&self, dialogue: &mut Dialogue, now: Duration) -> Step {
        let is_measured = self.server.as_ref().is_some_and(|server| server.rtt.is_some());
        let is_wanted = self.request.plan.services[0].wanted == Wanted::All && dialogue.call.is_none();
        match dialogue.round_trip_end {
            _ if is_measured || !is_wanted || dialogue.broken => Step::Done,
            None => {
                dialogue.round_trip_end = Some(now + self.request.plan.services[0].stall);
                // Over TLS no PING follows a request.
                if dialogue.link.secure { Step::Ping } else { Step::Again }
            }
            Some(until) if now < until && self.left() > Duration::ZERO => Step::Listen(until),
            Some(_) => Step::Done,
        }
    }

    /// Waits until this time for what comes, and takes it.
    fn receive(&mut self, dialogue: &mut Dialogue, until: Instant) -> Result<(), Stop> {
        let event = self.wait(&dialogue.link.events, Some(&dialogue.link.inbox), until)?;
        // Events first, then the inbox: whatever came before an event is then in the inbox.
        let events = event.into_iter().chain(dialogue.link.events.try_iter());
        let (sent, events): (Vec<ClientEvent>, Vec<ClientEvent>) =
            events.partition(|event| matches!(event, ClientEvent::Sent { .. }));
        for event in sent {
            self.handle(dialogue, event)?;
        }
        self.empty_inbox(dialogue);
        for event in events {
            if let Err(stop) = self.handle(dialogue, event) {
                let (Some(_), Stop::Lost(failure) | Stop::Final(failure)) = (&dialogue.outcome, &stop) else {
                    return Err(stop);
                };
                dialogue.broken = true;
                // The request is not sent over another connection, since somebody may have received it.
                if let Some(call) = &mut dialogue.call {
                    call.failed(diagnosis::lost_with_request(failure.clone(), call.is_under_way()));
                }
            }
        }
        Ok(())
    }

    fn handle(&mut self, dialogue: &mut Dialogue, event: ClientEvent) -> Result<(), Stop> {
        let link = &mut dialogue.link;
        match event {
            ClientEvent::Sent { at, first, count } => {
                let at = at.saturating_duration_since(link.began.0);
                for published in link.published.iter_mut().skip(first).take(count) {
                    published.sent = at;
                    if let (Purpose::Endpoint(_), Some(call)) = (&published.purpose, &mut dialogue.call) {
                        call.on_wire(at);
                    }
                }
            }
            ClientEvent::NotSent(end) => {
                if let Some(call) = &mut dialogue.call {
                    call.ended(end);
                }
            }
            ClientEvent::Pong(rtt) => {
                link.clock.pong_received();
                if let Some(server) = &mut self.server {
                    server.rtt = Some(server.rtt.map_or(rtt, |best| best.min(rtt)));
                }
                self.step("PONG: the server has dealt with all so far");
            }
            ClientEvent::ServerError(text) => return self.server_error(dialogue, &text),
            ClientEvent::Disconnected => return Err(Stop::Lost(diagnosis::connection_broke(&link.server.address()))),
            ClientEvent::Resolved(_) | ClientEvent::Connected(_) | ClientEvent::NotConnected(_) => {}
        }
        Ok(())
    }

    fn server_error(&mut self, dialogue: &mut Dialogue, text: &str) -> Result<(), Stop> {
        let Dialogue {
            link, schedule, call, ..
        } = dialogue;
        let request = call.as_ref().and_then(Call::subject);
        let failure = diagnosis::server_said(&self.peer(&link.server, link.server.address(), request), text);
        if failure.reason == Reason::PermissionDenied {
            let subject = diagnosis::denied_subject(text);
            let published = link
                .published
                .iter()
                .rev()
                .find(|published| Some(published.subject.as_str()) == subject);
            let query = published.and_then(|published| match &published.purpose {
                Purpose::Query(query) => Some(query),
                Purpose::Info(_) | Purpose::Endpoint(_) => None,
            });
            let is_of_call = match (call, subject) {
                (Some(call), Some(subject)) if query.is_none() => call.denied(subject, &failure),
                _ => false,
            };
            if is_of_call || schedule.denied(query, &failure.text) {
                self.step(format_args!("denied: {}", failure.text));
                return Ok(());
            }
        }
        Err(match failure.reason {
            Reason::NatsUnreachable => Stop::Lost(failure),
            _ => Stop::Final(failure),
        })
    }

    fn empty_inbox(&mut self, dialogue: &mut Dialogue) {
        // Not for ever, however fast they come.
        for _ in 0..INBOX_SIZE {
            let Ok(message) = dialogue.link.inbox.try_recv() else {
                break;
            };
            if let Some(server) = self.server.as_mut().filter(|server| server.id.is_empty()) {
                introduce(&message, dialogue.link.secure, server);
            }
            // The relay had to change its headers.
            if is_changed(&message) && self.unreadable.len() < MAX_UNREADABLE {
                let instance = read_alive(&self.request.plan.services[0].service, &message.data);
                self.unreadable
                    .insert(instance.map_or("?".to_owned(), |instance| instance.id));
            }
            self.take(dialogue, &message);
        }
    }

    /// Hands a message to the one whose request it is a reply to.
    fn take(&mut self, dialogue: &mut Dialogue, message: &Message) {
        let Dialogue {
            link,
            schedule,
            call,
            outcome,
            ..
        } = dialogue;
        let (now, size) = (link.now(), message.data.len());
        let number = message
            .subject
            .rsplit('.')
            .next()
            .and_then(|token| token.parse::<usize>().ok());
        let Some(published) = number.and_then(|number| link.published.get(number)) else {
            return self.step("a message to no request of ours");
        };
        let is_503 = message.is_no_responders() && !is_changed(message);
        let what = match (&published.purpose, call) {
            (Purpose::Query(_), _) if outcome.is_some() => "a reply that comes too late",
            (Purpose::Query(query), _) if is_503 => {
                schedule.no_responders(query);
                "503: no responders"
            }
            (Purpose::Query(query), _) => match schedule.reply(now, published.sent, query, &message.data) {
                Ok(()) => "a reply",
                Err(why) => return self.step(format_args!("a reply that does not count ({why:?}), {size} bytes")),
            },
            (Purpose::Info(nth), Some(call)) if is_503 && is_of_the_server(&headers(message)) => {
                call.info_no_responders(*nth);
                "503: nobody replies with endpoints"
            }
            (Purpose::Info(_), Some(call)) => match call.info(now, &message.data) {
                true => "endpoints of an instance",
                false => "a message without endpoints, or none that is new",
            },
            (Purpose::Endpoint(nth), Some(call)) if is_503 && is_of_the_server(&headers(message)) => {
                // Over TLS there is no PING behind the request.
                let answered = !link.secure && link.clock.server_answered();
                match call.no_responders(now, *nth, answered) {
                    true => "503: no responders for the request",
                    false => "a 503 that is not the server's own, or comes too late",
                }
            }
            (Purpose::Endpoint(nth), Some(call)) => match call.reply(now, *nth, &headers(message), &message.data) {
                true => "the reply to the request",
                false => "a message that is no reply to the request, or a further one",
            },
            (Purpose::Info(_) | Purpose::Endpoint(_), None) => "a message to no request of ours",
        };
        self.step(format_args!("{what}, {size} bytes"));
    }

    fn out_of_time(&self, dialogue: &Dialogue) -> Result<Outcome, Stop> {
        if let Some(outcome) = dialogue.schedule.so_far() {
            return Ok(outcome);
        }
        let address = dialogue.link.server.address();
        let waited = latency(self.request.start.elapsed());
        Err(Stop::Final(match dialogue.link.clock.server_answered() {
            // It does not stop answering, but with what is no answer.
            false if dialogue.schedule.ignored() > FLOOD => diagnosis::flooded(&address),
            false => diagnosis::timed_out(&address, Stage::Answering, &waited),
            true => diagnosis::no_time_to_retry(&address, &waited),
        }))
    }
}
