//! Every order of what can come over the connection of one run, by the real schedule in simulated time.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use check_nats_service::probe::clock::PingClock;
use check_nats_service::probe::known::KnownInstances;
use check_nats_service::probe::observation::{Fate, Outcome};
use check_nats_service::probe::plan::{PingPlan, Query, Wanted};
use check_nats_service::probe::reply::Reply;
use check_nats_service::probe::schedule::{PingAction, Schedule};
use check_nats_service::values::range::Range;
use check_nats_service::values::timestamp::Timestamp;

use super::{World, ensure};

/// The deadline of every run.
pub(super) const END: Duration = Duration::from_secs(10);

/// Times of the retries, as the manual has them.
pub(super) const RETRIES: [Duration; 5] = [ms(50), ms(250), ms(1200), ms(2500), ms(5000)];

pub(super) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Message over the connection, or silence for as long as the run listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// To this query an instance replies.
    Reply(Query, &'static str),
    /// To this query, somebody replies what is no answer of the service.
    Foreign(Query),
    NoResponders(Query),
    Denied(Option<Query>),
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
    schedule: Schedule,
    clock: PingClock,
    plan: PingPlan,
    now: Duration,
    /// Queries sent so far, and when.
    sent: Vec<(Query, Duration)>,
    pings: usize,
    pongs: usize,
    replied: BTreeSet<&'static str>,
    /// The queries to which the server said that nobody is there.
    nobody: Vec<Query>,
    rounds: usize,
    until: Duration,
}

/// A probe with this plan.
pub struct Probe {
    pub name: String,
    plan: PingPlan,
    secure: bool,
}

impl World for Probe {
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
pub fn runs() -> Vec<Probe> {
    let mut runs = Vec::new();
    for known in [&[][..], &["a"], &["a", "b"]] {
        for (secure, census) in [(false, true), (false, false), (true, true), (true, false)] {
            for at_least in [0, 2] {
                let plan = PingPlan {
                    known: KnownInstances::Ids(known.iter().map(|id| (*id).to_owned()).collect()),
                    census,
                    discover: known.is_empty(),
                    thresholds: (at_least > 0)
                        .then(|| Range::at_least(f64::from(at_least)))
                        .into_iter()
                        .collect(),
                    confirm_fewer: ms(5000),
                    patience: ms(5000),
                    ..PingPlan::new("orders", Wanted::All, ms(5000), ms(300))
                };
                let tls = if secure { "TLS" } else { "plain" };
                let census = if census { "census" } else { "usual" };
                let name = format!("{} known, {tls}, {census}, {at_least} wanted", known.len());
                runs.push(Probe { name, plan, secure });
            }
        }
    }
    runs
}

impl Run {
    fn new(plan: PingPlan, secure: bool) -> Run {
        Run {
            schedule: Schedule::new(plan.clone()),
            clock: PingClock::new(secure),
            plan,
            now: Duration::ZERO,
            sent: Vec::new(),
            pings: 0,
            pongs: 0,
            replied: BTreeSet::new(),
            nobody: Vec::new(),
            rounds: 0,
            until: Duration::ZERO,
        }
    }

    /// Acts until it has to listen, or has ended.
    fn act(mut self) -> Result<Option<Run>, String> {
        for _ in 0..100 {
            match self.schedule.next(self.now, &self.clock) {
                PingAction::Send(queries) => self.send(&queries)?,
                PingAction::Ping => self.ping(),
                PingAction::Done(outcome) => return self.end(&outcome).map(|()| None),
                PingAction::Flooded => return Err("two instances are no flood".into()),
                // The client ends the run with what is known so far.
                PingAction::Listen(_) if self.now >= END => {
                    if let Some(outcome) = self.schedule.so_far() {
                        self.end(&outcome)?;
                    }
                    return Ok(None);
                }
                PingAction::Listen(until) => {
                    let due = self.clock.ping_due().unwrap_or(Duration::MAX);
                    if due <= self.now {
                        self.ping();
                        continue;
                    }
                    ensure(until > self.now, "it listens until a time that is over")?;
                    ensure(!self.is_certain(), "it waits though nothing can come")?;
                    self.until = until.min(due).min(END);
                    return Ok(Some(self));
                }
            }
        }
        Err("it acts without an end".into())
    }

    fn ping(&mut self) {
        self.clock.ping_sent(self.now);
        self.pings += 1;
    }

    fn send(&mut self, queries: &[Query]) -> Result<(), String> {
        if Query::pings(queries) > 0 {
            if let Some(nth) = self.rounds.checked_sub(1) {
                let due = RETRIES.get(nth).copied().unwrap_or(ms(5000));
                // In a silence the last round is when patience ends; a round over several PINGs is for a queue group.
                let hidden = Query::pings(queries) > 1;
                ensure(
                    hidden || self.now >= due.min(self.plan.confirm),
                    "a retry before its time",
                )?;
            }
            self.rounds += 1;
            ensure(self.rounds <= 2 * RETRIES.len(), "more rounds than the schedule has")?;
        }
        self.schedule.sent(self.now, queries);
        self.clock.request_sent(self.now);
        self.pings += usize::from(self.clock.ping_due().is_none());
        self.sent.extend(queries.iter().map(|query| (query.clone(), self.now)));
        Ok(())
    }

    /// The server has said after the last retry that nobody is there, and nothing else was asked since.
    fn is_certain(&self) -> bool {
        let last = self.sent.last().map(|(query, _)| query);
        let said = last.is_some_and(|last| matches!(last, Query::Ping(_)) && self.nobody.contains(last));
        said && self.replied.is_empty() && self.now >= self.plan.confirm
    }

    /// Returns the messages that can come now.
    fn messages(&self) -> Vec<Message> {
        let mut messages = vec![Message::Nothing];
        if self.pongs < self.pings {
            messages.push(Message::Pong);
        }
        // A reply to the round before may be late; what is older adds nothing.
        let pings: Vec<&Query> = self
            .sent
            .iter()
            .map(|(query, _)| query)
            .filter(|query| matches!(query, Query::Ping(_)))
            .collect();
        for query in pings.iter().rev().take(2) {
            messages.extend(["a", "b"].map(|id| Message::Reply((*query).clone(), id)));
            messages.push(Message::NoResponders((*query).clone()));
        }
        messages.extend(pings.last().map(|query| Message::Foreign((*query).clone())));
        messages.push(Message::Denied(None));
        for (query, _) in &self.sent {
            match query {
                Query::InstancePing(id) | Query::InstanceStatus(id) => {
                    let id = if id == "a" { "a" } else { "b" };
                    messages.push(Message::Reply(query.clone(), id));
                    messages.push(Message::NoResponders(query.clone()));
                    messages.push(Message::Denied(Some(query.clone())));
                }
                Query::UnusedId | Query::Discovery => {
                    messages.push(Message::NoResponders(query.clone()));
                    messages.push(Message::Foreign(query.clone()));
                }
                Query::Ping(_) | Query::Stats => {}
            }
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
            }
            Message::Reply(query, id) => {
                let payload = format!(r#"{{"name":"orders","id":"{id}"}}"#);
                if run.reply(query, &payload) {
                    run.replied.insert(id);
                }
            }
            Message::Foreign(query) => {
                ensure(
                    !run.reply(query, r#"{"name":"billing","id":"x"}"#) || *query == Query::Discovery,
                    "a foreign reply counts",
                )?;
            }
            Message::NoResponders(query) => {
                run.schedule.no_responders(query);
                run.nobody.push(query.clone());
                run.nobody.dedup();
            }
            Message::Denied(query) => {
                if !run.schedule.denied(query.as_ref(), "denied") {
                    // The client ends the run: it could not ask.
                    return Ok(None);
                }
            }
        }
        run.act()
    }

    /// Returns whether it counts.
    fn reply(&mut self, query: &Query, payload: &str) -> bool {
        let sent = self
            .sent
            .iter()
            .rfind(|(sent, _)| sent == query)
            .expect("a query that was sent")
            .1;
        let reply = Reply::parse(payload.as_bytes(), query.reply_types());
        self.schedule.reply(self.now, sent, query, reply).is_ok()
    }

    fn end(&self, outcome: &Outcome) -> Result<(), String> {
        let at = Timestamp::from_seconds(0);
        let seen = self.schedule.observation(at, at, outcome.clone(), &self.clock);
        ensure(self.now <= END, "it ends after the deadline")?;
        for (id, fate) in &seen.absent {
            let own = [Query::InstancePing(id.clone()), Query::InstanceStatus(id.clone())];
            ensure(
                *fate != Fate::Gone || own.iter().any(|query| self.nobody.contains(query)),
                "gone without a 503 of its own",
            )?;
        }
        match outcome {
            Outcome::Answered(replies) => {
                let ids: BTreeSet<&str> = replies.iter().map(|reply| reply.instance.id.as_str()).collect();
                ensure(ids == self.replied, "others are counted than replied")
            }
            Outcome::NoResponders => {
                ensure(self.replied.is_empty(), "down, though an instance replied")?;
                ensure(self.now >= self.plan.confirm, "down, while a retry was still due")?;
                let is_last = |query: &&Query| matches!(query, Query::Ping(nth) if nth + 1 == self.pings_to_all());
                ensure(
                    self.nobody.iter().any(|query| is_last(&query)),
                    "down without a 503 to the last retry",
                )
            }
            Outcome::Silent(_) => {
                ensure(self.replied.is_empty(), "silent, though an instance replied")?;
                ensure(self.now >= self.plan.patience, "silent before patience ended")
            }
            Outcome::Failed(_) => Ok(()),
        }
    }

    fn pings_to_all(&self) -> usize {
        self.sent
            .iter()
            .filter(|(query, _)| matches!(query, Query::Ping(_)))
            .count()
    }
}

impl Hash for Run {
    /// Everything that decides how it goes on.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let text = format!("{:?}{:?}{:?}{:?}", self.schedule, self.clock, self.now, self.nobody);
        (text, &self.replied).hash(state);
    }
}
