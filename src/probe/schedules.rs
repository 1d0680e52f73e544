//! The schedules of many services over one connection: which of them acts next, and to whom a reply belongs. Pure, as a
//! [`Schedule`].
//!
//! In a run for all services, the first PING goes to all of them at once, and is the first one of each schedule. From then on each
//! asks its own service by name, as in a single check.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::time::Duration;

use crate::probe::clock::PingClock;
use crate::probe::discovery::Discovery;
use crate::probe::observation::{Failure, NotCounted, Observation, Outcome};
use crate::probe::plan::{PingPlan, ProbePlan, Query};
use crate::probe::reach::{Reach, Unreached};
use crate::probe::replies::MAX_INSTANCES;
use crate::probe::reply::Reply;
use crate::probe::schedule::{PingAction, Schedule};
use crate::values::timestamp::Timestamp;

/// Maximum number of services that are asked by name a second time.
const MAX_ASKED_AGAIN: usize = 64;

/// A query, and whom it asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The number of the service. `None`: all services.
    pub service: Option<usize>,
    pub query: Query,
}

impl Question {
    /// The first questions of a probe.
    pub fn first(plan: &ProbePlan) -> Vec<Question> {
        let of = |service, plan: &PingPlan| {
            let queries = plan.first_queries().into_iter();
            queries.map(move |query| Question { service, query })
        };
        match &plan.discovery {
            Some(discovery) => of(None, &discovery.newcomer).collect(),
            None => {
                let services = plan.services.iter().enumerate();
                services.flat_map(|(number, plan)| of(Some(number), plan)).collect()
            }
        }
    }
}

/// The next action of all schedules together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send these in one write. They count as sent. Those of one service stand together.
    Send(Vec<Question>),
    /// Make sure that the server is still there.
    Ping,
    /// Listen, until this time at the latest.
    Listen(Duration),
    /// Enough was received.
    Done,
    /// More instances replied than there can be.
    Flooded,
}

/// Use that was made of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    Counted,
    /// The outcome of its service was known before.
    Late,
    /// It is one of a service that is not selected, or of one too many.
    NotWatched,
    NotCounted(NotCounted),
}

#[derive(Clone, Debug)]
enum State {
    Asked(Schedule),
    Known(Observation),
}

#[derive(Clone, Debug)]
struct Service {
    name: String,
    /// Set if it was not planned.
    is_newcomer: bool,
    /// Set if it has replied to the query to all services.
    is_reached: bool,
    /// Set if its outcome is known, and an instance that was known before has replied.
    is_as_before: bool,
    state: Box<State>,
    /// When the schedule acts next; an entry of [`Schedules::wakes`] as long as it is asked.
    wake: Duration,
}

/// One probe of all its services.
#[derive(Clone, Debug)]
pub struct Schedules {
    /// When the first request left.
    began: Timestamp,
    services: Vec<Service>,
    /// The number of each service, by its name.
    numbers: BTreeMap<String, usize>,
    /// The services whose outcome is not known, and when each acts next.
    wakes: BTreeSet<(Duration, usize)>,
    discovery: Option<Discovery>,
    /// Number of instances that have replied.
    instances: usize,
    /// When everything was known, or the time was up.
    ended: Option<Duration>,
}

/// Observation of all services.
#[derive(Debug)]
pub struct Seen {
    /// By name.
    pub services: BTreeMap<String, Observation>,
    /// Facts that belong to no service: `denied`, `ignored`, `census` and the outcome of the run.
    pub common: Observation,
    pub too_many: usize,
}

impl Seen {
    /// Nothing, since no service could be asked.
    pub fn nothing(plan: &ProbePlan, ended: Timestamp, outcome: Outcome) -> Seen {
        let of = |plan: &PingPlan| (plan.service.clone(), Observation::new(ended, outcome.clone()));
        Seen {
            services: plan.services.iter().map(of).collect(),
            common: Observation::new(ended, outcome),
            too_many: 0,
        }
    }

    /// Number of instances that replied, of all services.
    pub fn replies(&self) -> usize {
        let services = self.services.values();
        services.filter_map(|seen| seen.outcome.answers()).map(<[_]>::len).sum()
    }
}

impl Schedules {
    /// The schedules of a probe whose first questions left at this time.
    pub fn new(plan: ProbePlan, began: Timestamp) -> Schedules {
        let mut schedules = Schedules {
            began,
            services: Vec::with_capacity(plan.services.len()),
            numbers: BTreeMap::new(),
            wakes: BTreeSet::new(),
            discovery: plan
                .discovery
                .map(|discovery| Discovery::new(discovery, plan.services.is_empty())),
            instances: 0,
            ended: None,
        };
        for plan in plan.services {
            schedules.add(plan, false);
        }
        schedules
    }

    fn add(&mut self, plan: PingPlan, is_newcomer: bool) -> usize {
        let number = self.services.len();
        let (name, queries) = (plan.service.clone(), plan.first_queries());
        let mut schedule = Schedule::new(plan);
        schedule.sent(Duration::ZERO, &queries);
        self.numbers.insert(name.clone(), number);
        self.wakes.insert((Duration::ZERO, number));
        self.services.push(Service {
            name,
            is_newcomer,
            is_reached: false,
            is_as_before: false,
            state: Box::new(State::Asked(schedule)),
            wake: Duration::ZERO,
        });
        number
    }

    /// The name of the service with this number.
    pub fn name(&self, number: usize) -> &str {
        &self.services[number].name
    }

    /// The outcome of the service with this number, when it is known.
    pub fn outcome(&self, number: usize) -> Option<&Outcome> {
        match &*self.services.get(number)?.state {
            State::Known(seen) => Some(&seen.outcome),
            State::Asked(_) => None,
        }
    }

    /// Returns whether all is known, or the time is up.
    pub fn is_done(&self) -> bool {
        self.ended.is_some()
    }

    /// Returns whether the outcome of a service is known, and is that an instance has replied.
    pub fn has_answers(&self) -> bool {
        let mut outcomes = (0..self.services.len()).filter_map(|number| self.outcome(number));
        outcomes.any(|outcome| matches!(outcome, Outcome::Answered(_)))
    }

    /// The names of those that the query to all services does not reach though they reply when asked by name. `None`: it seems to reach
    /// all.
    pub fn unreached(&self) -> Option<Unreached<&str>> {
        let reach = self.discovery.as_ref()?.reach.as_ref()?;
        Some(match reach.unreached(self.ended?)? {
            Unreached::All => Unreached::All,
            Unreached::Some(numbers) => Unreached::Some(numbers.into_iter().map(|number| self.name(number)).collect()),
        })
    }

    /// Returns the last questions: those that find out whether the query to all services reaches those that replied only when
    /// asked by name.
    fn check_reach(&mut self, now: Duration) -> Vec<Question> {
        let is_asked = |number: &usize| self.services[*number].is_as_before;
        let up = (0..self.services.len()).filter(is_asked);
        let (mut services, reached): (Vec<usize>, Vec<usize>) =
            up.partition(|number| !self.services[*number].is_reached);
        let is_doubtful = !services.is_empty();
        // The second query may reach other instances than the first.
        services.extend(reached);
        services.truncate(MAX_ASKED_AGAIN);
        match &mut self.discovery {
            Some(discovery) if discovery.reach.is_none() && discovery.denied.is_empty() && is_doubtful => {
                discovery.check_reach(now, &services);
                let services = [None].into_iter().chain(services.into_iter().map(Some));
                let query = Query::Discovery;
                services
                    .map(|service| Question {
                        service,
                        query: query.clone(),
                    })
                    .collect()
            }
            _ => Vec::new(),
        }
    }

    /// All outcomes are this failure, but those of services that have replied.
    pub fn keep_answers(&mut self, failure: &Failure) {
        for service in &mut self.services {
            match &mut *service.state {
                State::Known(Observation { outcome, .. }) if !matches!(outcome, Outcome::Answered(_)) => {
                    *outcome = Outcome::Failed(failure.clone());
                }
                _ => {}
            }
        }
    }

    /// Returns the action at this time.
    pub fn next(&mut self, now: Duration, clock: &PingClock) -> Action {
        let later = self.wakes.split_off(&(now + Duration::from_nanos(1), 0));
        let due = mem::replace(&mut self.wakes, later);
        let (mut questions, mut ping) = (Vec::new(), false);
        let mut flooded = self.discovery.is_some() && self.instances >= MAX_INSTANCES;
        let hold = self.discovery.as_ref().map_or(Duration::ZERO, Discovery::hold);
        for (_, number) in due {
            let State::Asked(schedule) = &mut *self.services[number].state else {
                continue;
            };
            let wake = match schedule.next(now, clock) {
                PingAction::Send(_) if now < hold && schedule.awaits_first_reply() => hold,
                PingAction::Send(queries) => {
                    schedule.sent(now, &queries);
                    let service = Some(number);
                    questions.extend(queries.into_iter().map(|query| Question { service, query }));
                    Duration::ZERO
                }
                PingAction::Ping => {
                    ping = true;
                    Duration::ZERO
                }
                PingAction::Listen(until) => until,
                PingAction::Flooded => {
                    flooded = true;
                    Duration::ZERO
                }
                PingAction::Done(outcome) => {
                    self.settle(number, now, outcome, clock);
                    continue;
                }
            };
            self.services[number].wake = wake;
            self.wakes.insert((wake, number));
        }
        let until_known = self.wakes.first().map(|(wake, _)| *wake);
        let until_seen = self
            .discovery
            .as_ref()
            .and_then(|discovery| discovery.wait(now, self.instances > 0));
        let reach = self.discovery.as_ref().and_then(|discovery| discovery.reach.as_ref());
        let until_reached = reach.map(Reach::end).filter(|end| now < *end);
        match until_known.into_iter().chain(until_seen).chain(until_reached).min() {
            _ if flooded => Action::Flooded,
            _ if !questions.is_empty() => Action::Send(questions),
            _ if ping => Action::Ping,
            Some(until) => Action::Listen(until),
            None => match self.check_reach(now) {
                questions if questions.is_empty() => {
                    self.ended.get_or_insert(now);
                    Action::Done
                }
                questions => Action::Send(questions),
            },
        }
    }

    /// Lets a service act at once.
    fn wake(&mut self, number: usize) {
        let Service { state, wake, .. } = &mut self.services[number];
        if matches!(**state, State::Asked(_)) && !wake.is_zero() {
            self.wakes.remove(&(*wake, number));
            *wake = Duration::ZERO;
            self.wakes.insert((*wake, number));
        }
    }

    /// Does this with each schedule that is not done, and lets it act.
    fn each(&mut self, mut act: impl FnMut(&mut Schedule)) {
        for number in 0..self.services.len() {
            if let State::Asked(schedule) = &mut *self.services[number].state {
                act(schedule);
                self.wake(number);
            }
        }
    }

    /// The outcome of a service is known.
    fn settle(&mut self, number: usize, now: Duration, outcome: Outcome, clock: &PingClock) {
        let Service {
            state,
            wake,
            is_as_before,
            ..
        } = &mut self.services[number];
        if let State::Asked(schedule) = &**state {
            *is_as_before = schedule.is_as_before();
            let seen = schedule.observation(self.began, self.began + now, outcome, clock);
            **state = State::Known(seen);
            self.wakes.remove(&(*wake, number));
        }
    }

    /// A message came in reply to this question, which left at `sent`.
    pub fn reply(&mut self, now: Duration, sent: Duration, question: &Question, payload: &[u8]) -> Taken {
        if self.is_done() {
            return Taken::Late;
        }
        let query = &question.query;
        let parse = || Reply::parse(payload, query.reply_types());
        match (question.service, &mut self.discovery) {
            (Some(number), Some(Discovery { reach: Some(reach), .. })) if *query == Query::Discovery => {
                match parse().and_then(|reply| reply.of(&self.services[number].name)) {
                    Ok(_) => {
                        reach.replied_by_name(now, number);
                        Taken::Counted
                    }
                    Err(why) => Taken::NotCounted(why),
                }
            }
            (Some(number), _) => self.reply_of(number, now, sent, query, parse),
            (None, None) => Taken::NotWatched,
            (None, Some(discovery)) => match parse() {
                Ok(reply) => {
                    discovery.reply_received(now);
                    match self.number(&reply.service) {
                        Some(number) => {
                            self.reached(number, now, query);
                            self.reply_of(number, now, sent, query, || Ok(reply))
                        }
                        None => Taken::NotWatched,
                    }
                }
                Err(why) => {
                    discovery.ignored.add(why);
                    Taken::NotCounted(why)
                }
            },
        }
    }

    /// A service replied to the query to all.
    fn reached(&mut self, number: usize, now: Duration, query: &Query) {
        self.services[number].is_reached |= *query != Query::Stats;
        if let (Query::Discovery, Some(Discovery { reach: Some(reach), .. })) = (query, &mut self.discovery) {
            reach.replied_to_all(now, number);
        }
    }

    fn reply_of(
        &mut self,
        number: usize,
        now: Duration,
        sent: Duration,
        query: &Query,
        reply: impl FnOnce() -> Result<Reply, NotCounted>,
    ) -> Taken {
        let State::Asked(schedule) = &mut *self.services[number].state else {
            return Taken::Late;
        };
        let before = schedule.count();
        let taken = match schedule.reply(now, sent, query, reply()) {
            Ok(()) => Taken::Counted,
            Err(why) => Taken::NotCounted(why),
        };
        self.instances += schedule.count().saturating_sub(before);
        self.wake(number);
        taken
    }

    /// The number of the service with this name, which has replied. `None`: it is not watched.
    fn number(&mut self, name: &str) -> Option<usize> {
        if let Some(number) = self.numbers.get(name) {
            return Some(*number);
        }
        let discovery = self.discovery.as_mut()?;
        let plan = discovery.take_in(name)?;
        let stats_denied = discovery.stats_denied.clone();
        let number = self.add(plan, true);
        if let State::Asked(schedule) = &mut *self.services[number].state
            && !stats_denied.is_empty()
        {
            schedule.denied(Some(&Query::Stats), &stats_denied);
        }
        Some(number)
    }

    /// A 503 came for this question. After a reply to it, it means nothing: any peer can send one.
    pub fn no_responders(&mut self, question: &Question) -> Taken {
        match (question.service, &mut self.discovery) {
            _ if self.ended.is_some() => return Taken::Late,
            (Some(number), _) => match &mut *self.services[number].state {
                State::Asked(schedule) => {
                    schedule.no_responders(&question.query);
                    self.wake(number);
                }
                State::Known(_) => return Taken::Late,
            },
            (None, Some(Discovery { reach: Some(reach), .. })) if question.query == Query::Discovery => {
                reach.no_responders();
            }
            (None, Some(discovery)) if !discovery.replied && question.query != Query::Stats => {
                discovery.no_responders = true;
                self.each(|schedule| schedule.no_responders(&question.query));
            }
            (None, _) => {}
        }
        Taken::Counted
    }

    /// The server does not allow this question (`None`: one that it does not name). Returns `false` if nothing can be asked then.
    pub fn denied(&mut self, question: Option<&Question>, text: &str) -> bool {
        let Some(Question { service, query }) = question else {
            // If the subscription is denied, no reply arrives, of unknown services either.
            let mut all = !self.is_done() && !self.services.is_empty();
            self.each(|schedule| all &= schedule.denied(None, text));
            return all;
        };
        match (service, &mut self.discovery) {
            (Some(number), discovery) => {
                let is_single = discovery.is_none();
                let is_answerable = match (&mut *self.services[*number].state, query) {
                    (State::Asked(schedule), Query::Ping(_)) if !is_single => {
                        schedule.denied_by_name(text);
                        true
                    }
                    (State::Asked(schedule), _) => schedule.denied(Some(query), text),
                    (State::Known(_), _) => true,
                };
                self.wake(*number);
                return is_answerable;
            }
            (None, Some(discovery)) if *query != Query::Stats => {
                discovery.denied = text.to_owned();
                self.each(Schedule::not_asked);
            }
            (None, Some(discovery)) if discovery.denied.is_empty() => {
                discovery.stats_denied = text.to_owned();
                self.each(|schedule| {
                    schedule.denied(Some(query), text);
                });
            }
            (None, _) => {}
        }
        !self.services.is_empty()
    }

    /// A PONG came.
    pub fn pong(&mut self, now: Duration, clock: &PingClock) {
        if clock.server_answered() {
            self.each(|_| ());
            if let Some(discovery) = &mut self.discovery {
                discovery.pong_received(now);
            }
        }
    }

    /// The time is up: takes what is known so far for the answer. Returns `false` if that is not enough for all services.
    pub fn out_of_time(&mut self, now: Duration, clock: &PingClock) -> bool {
        self.ended.get_or_insert(now);
        for number in 0..self.services.len() {
            if let State::Asked(schedule) = &*self.services[number].state
                && let Some(outcome) = schedule.so_far()
            {
                self.settle(number, now, outcome, clock);
            }
        }
        self.wakes.is_empty() && !self.discovery.as_ref().is_some_and(Discovery::is_unheard)
    }

    /// Number of replies that came from something else than the services, to questions without an answer so far.
    pub fn ignored(&self) -> u32 {
        let of_services = self.services.iter().map(|service| match &*service.state {
            State::Asked(schedule) => schedule.ignored(),
            State::Known(_) => 0,
        });
        let of_all = self.discovery.as_ref().map(|discovery| discovery.ignored.total());
        of_services.chain(of_all).fold(0, u32::saturating_add)
    }

    /// Returns what was seen. `outcome` is that of the run, and of the services whose own is not known.
    pub fn seen(self, ended: Timestamp, outcome: Outcome, clock: &PingClock) -> Seen {
        let mut services = BTreeMap::new();
        for service in self.services {
            let seen = match *service.state {
                State::Known(seen) => seen,
                State::Asked(schedule) => schedule.observation(self.began, ended, outcome.clone(), clock),
            };
            // A newcomer that replied to something else than a PING is unknown.
            if !service.is_newcomer || matches!(seen.outcome, Outcome::Answered(_)) {
                services.insert(service.name, seen);
            }
        }
        let mut seen = Seen {
            services,
            common: Observation::new(ended, outcome),
            too_many: 0,
        };
        if let Some(discovery) = self.discovery {
            seen.too_many = discovery.too_many();
            discovery.tell(self.ended, &mut seen.common);
        }
        seen
    }
}

#[cfg(test)]
mod tests;
