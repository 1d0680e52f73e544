//! Every order of what can come over the connection of one run for all services, by the real schedules in simulated time.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use check_nats_service::probe::clock::PingClock;
use check_nats_service::probe::known::KnownInstances;
use check_nats_service::probe::observation::{Failure, Fate, Outcome};
use check_nats_service::probe::plan::{DiscoveryPlan, PingPlan, ProbePlan, Query, Wanted};
use check_nats_service::probe::reach::Unreached;
use check_nats_service::probe::schedules::{Action, Question, Schedules, Taken};
use check_nats_service::values::range::Range;
use check_nats_service::values::selection::{Glob, Selection};
use check_nats_service::values::status::Reason;
use check_nats_service::values::timestamp::Timestamp;

use super::order::{END, RETRIES, ms};
use super::{World, ensure};

/// The services that can reply. The first ones are known, `hidden` is not selected.
const SERVICES: [&str; 3] = ["orders", "billing", "hidden"];

/// The one instance of each service that replies to everybody. The first service had another one, which replies only when it is asked
/// by its id.
const INSTANCE: &str = "a";
const MISSING: &str = "b";

/// Message over the connection, or silence for as long as the run listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// To this question, a service replies.
    Reply(Question, &'static str),
    NoResponders(Question),
    Denied(Option<Question>),
    Pong,
    Nothing,
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// A run that listens, and what is true of it.
#[derive(Clone, Debug)]
pub struct Run {
    schedules: Schedules,
    clock: PingClock,
    /// Number of services that were planned.
    known: usize,
    now: Duration,
    /// Questions sent so far, and when.
    sent: Vec<(Question, Duration)>,
    pings: usize,
    pongs: usize,
    /// The services, and their instances, with a reply that was taken.
    replied: BTreeSet<(&'static str, String)>,
    /// The services that replied to the last query to all, and to the one by name beside it.
    reached: (BTreeSet<&'static str>, BTreeSet<&'static str>),
    /// Set if anything came of the queries to all.
    is_heard: bool,
    /// The questions to which the server said that nobody is there.
    nobody: Vec<Question>,
    is_denied: bool,
    until: Duration,
}

/// A probe of all services with this plan.
pub struct AllProbe {
    pub name: String,
    plan: ProbePlan,
    secure: bool,
}

impl World for AllProbe {
    type State = Run;
    type Event = Message;

    fn start(&self) -> Run {
        match Run::new(self.plan.clone(), self.secure).act() {
            Ok(Some(run)) => run,
            Ok(None) => panic!("{} ends before anything can come", self.name),
            Err(wrong) => panic!("{}: {wrong}", self.name),
        }
    }

    fn events(&self, run: &Run) -> Cow<'_, [Message]> {
        Cow::Owned(run.messages())
    }

    fn after(&self, run: &Run, message: &Message) -> Result<Option<Run>, String> {
        run.receive(message)
    }
}

/// The probes to search.
pub fn runs() -> Vec<AllProbe> {
    let mut runs = Vec::new();
    for known in 0..=2 {
        for (secure, census) in [(false, true), (false, false), (true, true), (true, false)] {
            let services = SERVICES.iter().take(known);
            let plan = ProbePlan {
                services: services.map(|name| plan(name, census)).collect(),
                discovery: Some(DiscoveryPlan {
                    newcomer: PingPlan {
                        known: KnownInstances::default(),
                        thresholds: Vec::new(),
                        ..plan("", true)
                    },
                    selection: Selection {
                        only: Vec::new(),
                        exclude: vec![Glob::parse("hidden").expect("a pattern")],
                    },
                    census,
                    stall: ms(300),
                    least: ms(1000),
                }),
            };
            let tls = if secure { "TLS" } else { "plain" };
            let census = if census { "census" } else { "usual" };
            let name = format!("--all, {known} known, {tls}, {census}");
            runs.push(AllProbe { name, plan, secure });
        }
    }
    runs
}

fn plan(service: &str, census: bool) -> PingPlan {
    let (known, at_least) = match service == SERVICES[0] {
        true => (&[INSTANCE, MISSING][..], 2.0),
        false => (&[INSTANCE][..], 1.0),
    };
    PingPlan {
        known: KnownInstances::Ids(known.iter().map(|id| (*id).to_owned()).collect()),
        census,
        thresholds: vec![Range::at_least(at_least)],
        confirm_fewer: ms(5000),
        patience: ms(5000),
        ..PingPlan::new(service, Wanted::All, ms(5000), ms(300))
    }
}

impl Run {
    fn new(plan: ProbePlan, secure: bool) -> Run {
        let first = Question::first(&plan);
        let mut run = Run {
            known: plan.services.len(),
            schedules: Schedules::new(plan, Timestamp::from_seconds(0)),
            clock: PingClock::new(secure),
            now: Duration::ZERO,
            sent: Vec::new(),
            pings: 0,
            pongs: 0,
            replied: BTreeSet::new(),
            reached: (BTreeSet::new(), BTreeSet::new()),
            is_heard: false,
            nobody: Vec::new(),
            is_denied: false,
            until: Duration::ZERO,
        };
        run.publish(first);
        run
    }

    fn publish(&mut self, questions: Vec<Question>) {
        self.clock.request_sent(self.now);
        self.pings += usize::from(self.clock.ping_due().is_none());
        let now = self.now;
        self.sent.extend(questions.into_iter().map(|question| (question, now)));
    }

    fn ping(&mut self) {
        self.clock.ping_sent(self.now);
        self.pings += 1;
    }

    /// Acts until it has to listen, or has ended.
    fn act(mut self) -> Result<Option<Run>, String> {
        for _ in 0..100 {
            match self.schedules.next(self.now, &self.clock) {
                Action::Send(questions) => self.send(questions)?,
                Action::Ping => self.ping(),
                Action::Done => return self.end(None).map(|()| None),
                Action::Flooded => return Err("a few instances are no flood".into()),
                // The client ends the run with what is known so far.
                Action::Listen(_) if self.now >= END => {
                    let is_enough = self.schedules.out_of_time(self.now, &self.clock);
                    let failure = (!is_enough).then(|| Failure::new(Reason::NatsUnreachable, "too slow"));
                    return self.end(failure).map(|()| None);
                }
                Action::Listen(until) => {
                    let due = self.clock.ping_due().unwrap_or(Duration::MAX);
                    if due <= self.now {
                        self.ping();
                        continue;
                    }
                    ensure(until > self.now, "it listens until a time that is over")?;
                    self.until = until.min(due).min(END);
                    return Ok(Some(self));
                }
            }
        }
        Err("it acts without an end".into())
    }

    fn send(&mut self, questions: Vec<Question>) -> Result<(), String> {
        for of_service in questions.chunk_by(|one, other| one.service == other.service) {
            let Some(number) = of_service[0].service else { continue };
            let is_ping = |question: &&Question| matches!(question.query, Query::Ping(_));
            let pings = of_service.iter().filter(is_ping).count();
            if pings == 0 {
                continue;
            }
            let sent: BTreeSet<Duration> = self.pings_to(number).map(|(_, at)| *at).collect();
            let due = RETRIES.get(sent.len()).copied().unwrap_or(ms(5000));
            // The query to all was the first one, if it was allowed. Several PINGs at once are for a queue group.
            let is_timed = pings == 1 && !self.is_denied && !self.has_replied(number);
            ensure(!is_timed || self.now >= due, "a retry before its time")?;
            ensure(sent.len() < 2 * RETRIES.len(), "more rounds than the schedule has")?;
        }
        let to_all = |questions: &[Question]| questions.iter().filter(|question| question.service.is_none()).count();
        let sent: Vec<Question> = self.sent.iter().map(|(question, _)| question.clone()).collect();
        ensure(to_all(&sent) + to_all(&questions) <= 2, "all are asked a third time")?;
        self.publish(questions);
        Ok(())
    }

    /// The PINGs by name to the service with this number, and when they left.
    fn pings_to(&self, number: usize) -> impl DoubleEndedIterator<Item = &(Question, Duration)> {
        let is_ping =
            move |question: &Question| question.service == Some(number) && matches!(question.query, Query::Ping(_));
        self.sent.iter().filter(move |(question, _)| is_ping(question))
    }

    fn name(&self, number: usize) -> &'static str {
        let name = self.schedules.name(number);
        SERVICES
            .into_iter()
            .find(|service| *service == name)
            .expect("one of the services")
    }

    fn has_replied(&self, number: usize) -> bool {
        let name = self.name(number);
        self.replied.iter().any(|(service, _)| *service == name)
    }

    /// Returns the messages that can come now.
    fn messages(&self) -> Vec<Message> {
        let mut messages = vec![Message::Nothing, Message::Denied(None)];
        if self.pongs < self.pings {
            messages.push(Message::Pong);
        }
        for (question, _) in &self.sent {
            let services = match question.service {
                None => SERVICES.to_vec(),
                // A reply to the last question by name; what is older adds nothing.
                Some(number) => match (&question.query, self.pings_to(number).next_back()) {
                    (Query::UnusedId, _) => Vec::new(),
                    (Query::Ping(_), Some((last, _))) if last != question => continue,
                    _ => vec![self.name(number)],
                },
            };
            messages.extend(services.iter().map(|service| Message::Reply(question.clone(), service)));
            messages.push(Message::NoResponders(question.clone()));
            messages.push(Message::Denied(Some(question.clone())));
        }
        messages
    }

    /// The run after this message.
    fn receive(&self, message: &Message) -> Result<Option<Run>, String> {
        let mut run = self.clone();
        run.now = match message {
            Message::Nothing => run.until,
            _ => (run.now + ms(1)).min(run.until),
        };
        match message {
            Message::Nothing => {}
            Message::Pong => {
                run.pongs += 1;
                run.clock.pong_received();
                run.schedules.pong(run.now, &run.clock);
            }
            Message::Reply(question, service) => run.reply(question, service)?,
            Message::NoResponders(question) => {
                run.schedules.no_responders(question);
                run.is_heard |= question.service.is_none();
                if !run.nobody.contains(question) {
                    run.nobody.push(question.clone());
                }
            }
            Message::Denied(question) => {
                run.is_denied = true;
                if !run.schedules.denied(question.as_ref(), "denied") {
                    let failure = Failure::new(Reason::PermissionDenied, "denied");
                    return run.end(Some(failure)).map(|()| None);
                }
            }
        }
        run.act()
    }

    fn reply(&mut self, question: &Question, service: &'static str) -> Result<(), String> {
        let sent = self.sent.iter().rfind(|(sent, _)| sent == question);
        let sent = sent.expect("a question that was sent").1;
        let id = match &question.query {
            Query::InstancePing(id) | Query::InstanceStatus(id) => id,
            _ => INSTANCE,
        };
        let payload = format!(r#"{{"name":"{service}","id":"{id}"}}"#);
        self.is_heard |= question.service.is_none();
        let taken = self.schedules.reply(self.now, sent, question, payload.as_bytes());
        ensure(
            service != "hidden" || taken == Taken::NotWatched,
            "a service that is not selected counts",
        )?;
        if question.query == Query::Discovery {
            let (to_all, by_name) = &mut self.reached;
            let is_of_one = question.service.is_some();
            let reached = if is_of_one { by_name } else { to_all };
            reached.insert(service);
            if is_of_one {
                return Ok(());
            }
        }
        if taken == Taken::Counted {
            self.replied.insert((service, id.to_owned()));
        }
        Ok(())
    }

    /// Checks what was seen. `failure`: why the run did not come to its end.
    fn end(&self, failure: Option<Failure>) -> Result<(), String> {
        ensure(self.now <= END, "it ends after the deadline")?;
        let is_failed = failure.is_some();
        let unreached = self.schedules.unreached();
        let outcome = failure.map_or(Outcome::Answered(Vec::new()), Outcome::Failed);
        let seen = self
            .schedules
            .clone()
            .seen(Timestamp::from_seconds(0), outcome, &self.clock);
        for number in 0..self.known {
            ensure(
                seen.services.contains_key(self.name(number)),
                "a known service was forgotten",
            )?;
        }
        for (service, _) in &self.replied {
            let outcome = seen.services.get(*service).map(|seen| &seen.outcome);
            let is_failed = is_failed || self.is_denied;
            ensure(
                matches!(outcome, Some(Outcome::Answered(_)))
                    || is_failed && !matches!(outcome, Some(Outcome::NoResponders | Outcome::Silent(_))),
                "a reply was lost",
            )?;
        }
        for (service, seen) in &seen.services {
            let number = (0..).find(|number| self.schedules.name(*number) == service);
            let number = number.expect("a service of the schedules");
            self.check(number, &seen.outcome)?;
            for (id, fate) in &seen.absent {
                let own = |query: Query| Question {
                    service: Some(number),
                    query,
                };
                let own = [Query::InstancePing(id.clone()), Query::InstanceStatus(id.clone())].map(own);
                ensure(
                    *fate != Fate::Gone || own.iter().any(|question| self.nobody.contains(question)),
                    "gone without a 503 of its own",
                )?;
            }
        }
        let is_to_all = |question: &Question| question.service.is_none();
        ensure(
            !seen.common.census || self.is_heard || self.pongs > 0,
            "all are there, though nothing came",
        )?;
        match unreached {
            Some(Unreached::Some(names)) => ensure(
                names
                    .iter()
                    .all(|name| self.reached.1.contains(name) && !self.reached.0.contains(name)),
                "a service that replied to all is not reached",
            ),
            Some(Unreached::All) => ensure(
                self.reached.0.is_empty() && self.nobody.iter().filter(|question| is_to_all(question)).count() == 2,
                "nobody is reached, without a 503 to each query to all",
            ),
            None => Ok(()),
        }
    }

    fn check(&self, number: usize, outcome: &Outcome) -> Result<(), String> {
        let name = self.name(number);
        match outcome {
            Outcome::Answered(replies) => {
                let ids: BTreeSet<&str> = replies.iter().map(|reply| reply.instance.id.as_str()).collect();
                let replied = self.replied.iter().filter(|(service, _)| *service == name);
                ensure(
                    ids == replied.map(|(_, id)| id.as_str()).collect(),
                    "others are counted than replied",
                )
            }
            Outcome::NoResponders => {
                ensure(number < self.known, "an unknown service is down")?;
                ensure(!self.has_replied(number), "down, though an instance replied")?;
                ensure(self.now >= ms(5000), "down, while a retry was still due")?;
                let last = self.pings_to(number).next_back();
                ensure(
                    last.is_some_and(|(question, _)| self.nobody.contains(question)),
                    "down without a 503 to the last retry",
                )
            }
            Outcome::Silent(_) => {
                ensure(number < self.known, "an unknown service is silent")?;
                ensure(!self.has_replied(number), "silent, though an instance replied")?;
                ensure(self.now >= ms(5000), "silent before patience ended")?;
                ensure(
                    self.pings_to(number).next().is_some(),
                    "silent, though nobody asked by name",
                )
            }
            Outcome::Failed(_) => Ok(()),
        }
    }
}

impl Hash for Run {
    /// Everything that decides how it goes on.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let text = format!("{:?}{:?}{:?}{:?}", self.schedules, self.clock, self.now, self.nobody);
        (text, &self.replied, &self.reached, self.is_denied, self.is_heard).hash(state);
    }
}
