//! When to ask, how long to listen, and when enough was received. Pure: it is given the time and what came.
//!
//! All times are durations since the first request. Several schedules can share a connection: each is told of the replies to its
//! own queries.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::probe::clock::PingClock;
use crate::probe::observation::{Failure, Fate, NotCounted, Observation, Outcome, Silence};
use crate::probe::plan::{PingPlan, Query, Wanted, retry_time};
use crate::probe::replies::{MAX_INSTANCES, Replies};
use crate::probe::reply::Reply;
use crate::probe::stats::SeenStats;
use crate::values::status::Reason;
use crate::values::timestamp::Timestamp;

/// Maximum number of instances that are asked one by one.
const MAX_ASKED_SINGLY: usize = 64;

/// Up to this number of known instances, each retry asks for the statistics again: if the instances are only slow, theirs are on
/// the way.
const STATS_RETRY_MAX_INSTANCES: usize = 1000;

/// Over a server that is slow to deal with the requests, how many stall times to wait for what it says of a silence.
const SLOW_SERVER_STALLS: u32 = 4;

/// The next action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PingAction {
    /// Send these in one write, each with a reply subject of its own.
    Send(Vec<Query>),
    /// Make sure that the server is still there.
    Ping,
    /// Listen, until this time at the latest.
    Listen(Duration),
    /// Enough was received.
    Done(Outcome),
    /// More instances replied than any service has.
    Flooded,
}

/// The last queries, when the outcome is known: to know more.
#[derive(Clone, Debug)]
struct FollowUp {
    queries: Vec<Query>,
    outcome: Outcome,
    /// The server said that there is no more to come.
    over: bool,
}

impl FollowUp {
    /// Returns whether the queries are to find out why the service is silent.
    fn is_of_silence(&self) -> bool {
        matches!(self.outcome, Outcome::Silent(_))
    }

    /// The instances asked one by one.
    fn ids(&self) -> impl Iterator<Item = &String> {
        self.queries.iter().filter_map(|query| match query {
            Query::InstancePing(id) | Query::InstanceStatus(id) => Some(id),
            _ => None,
        })
    }
}

/// One probe of a service.
#[derive(Clone, Debug)]
pub struct Schedule {
    plan: PingPlan,
    replies: Replies,
    /// Number of rounds; a round has several PINGs where instances may share a queue group.
    rounds: usize,
    pings: usize,
    /// Set if the server replied to the latest PING that nobody is subscribed.
    no_responders: bool,
    last_asked: Duration,
    follow_up: Option<FollowUp>,
    silence: Silence,
    unused_id_denied: bool,
    /// Why the server did not allow the follow-up, or the statistics.
    denied: String,
    stats_denied: String,
    /// Why the server did not allow to ask the service by name, in a run for all services.
    denied_by_name: String,
}

impl Schedule {
    pub fn new(plan: PingPlan) -> Schedule {
        Schedule {
            replies: Replies::new(&plan),
            plan,
            rounds: 0,
            pings: 0,
            no_responders: false,
            last_asked: Duration::ZERO,
            follow_up: None,
            silence: Silence::Unknown,
            unused_id_denied: false,
            denied: String::new(),
            stats_denied: String::new(),
            denied_by_name: String::new(),
        }
    }

    /// The queries of [`PingAction::Send`] were sent.
    pub fn sent(&mut self, now: Duration, queries: &[Query]) {
        self.last_asked = now;
        let pings = Query::pings(queries);
        if pings == 0 {
            self.follow_up = Some(FollowUp {
                queries: queries.to_vec(),
                outcome: match (self.replies.is_empty(), self.no_responders) {
                    // Instances that have replied are known, and more may reply.
                    (false, _) => Outcome::Answered(Vec::new()),
                    (true, true) => Outcome::NoResponders,
                    (true, false) => Outcome::Silent(now),
                },
                over: false,
            });
        } else {
            self.rounds += 1;
            self.pings += pings;
            self.replies.spread.asked(pings);
            self.no_responders = false;
        }
    }

    /// The first PING went to all services at once and is not allowed: this one is still to be asked.
    pub fn not_asked(&mut self) {
        if self.rounds == 1 {
            self.rounds = 0;
        }
    }

    /// A 503 came for this query. After a reply it means nothing: any peer can send one.
    pub fn no_responders(&mut self, query: &Query) {
        match (query, &mut self.follow_up) {
            // A PONG for an earlier PING is no evidence about the latest.
            (Query::Ping(nth), _) => self.no_responders |= nth + 1 == self.pings,
            (Query::InstancePing(id) | Query::InstanceStatus(id), _) => {
                self.replies.fates.entry(id.clone()).or_insert(Fate::Gone);
            }
            (Query::UnusedId, _) => self.silence = Silence::Subscribed,
            (Query::Discovery, Some(follow_up)) => follow_up.over = !follow_up.is_of_silence(),
            // An instance that cannot send statistics may be fine.
            (Query::Stats | Query::Discovery, _) => {}
        }
    }

    /// The server does not allow this query (`None`: one that it does not name), and says so with this text. Returns `false` if
    /// that leaves the question without an answer.
    pub fn denied(&mut self, query: Option<&Query>, text: &str) -> bool {
        match (query, &mut self.follow_up) {
            (Some(Query::Stats), _) => self.stats_denied = text.to_owned(),
            (Some(Query::UnusedId), _) => self.unused_id_denied = true,
            (_, None) => return false,
            (query, Some(follow_up)) if follow_up.is_of_silence() => {
                // Several subjects were used, and only some are denied.
                if query == Some(&Query::Discovery) {
                    self.denied = text.to_owned();
                }
            }
            (_, Some(follow_up)) => {
                follow_up.over = true;
                for id in follow_up.ids() {
                    self.replies.fates.entry(id.clone()).or_insert(Fate::NotAsked);
                }
                self.denied = text.to_owned();
            }
        }
        true
    }

    /// In a run for all services, the server does not allow to ask this one by name. Its replies to the query to all of them count.
    pub fn denied_by_name(&mut self, text: &str) {
        self.denied_by_name = text.to_owned();
    }

    /// A message came in reply to this query, which left at `sent`. It was parsed as one of the types of [`Query::reply_types`].
    ///
    /// # Errors
    ///
    /// Why it does not count.
    pub fn reply(
        &mut self,
        now: Duration,
        sent: Duration,
        query: &Query,
        reply: Result<Reply, NotCounted>,
    ) -> Result<(), NotCounted> {
        let of_silence = self.follow_up.as_ref().is_some_and(FollowUp::is_of_silence);
        let (plan, replies) = (&self.plan, &mut self.replies);
        match query {
            Query::Stats => replies.add_stats(plan, now, reply),
            Query::Discovery if plan.discover => replies.add_other(now, reply),
            Query::InstanceStatus(id) => replies.add_status(plan, now, sent, id, reply),
            Query::UnusedId if of_silence => match reply {
                // A stream acknowledges whatever is asked.
                Err(NotCounted::Ack) => Err(NotCounted::Ack),
                _ => {
                    replies.reply_for_unused_id();
                    Err(NotCounted::Broken)
                }
            },
            Query::Ping(nth) => replies.add_ping(plan, now, sent, Some(*nth), reply),
            Query::InstancePing(_) | Query::UnusedId | Query::Discovery => {
                replies.add_ping(plan, now, sent, None, reply)
            }
        }
    }

    /// Returns the action at this time.
    pub fn next(&self, now: Duration, clock: &PingClock) -> PingAction {
        if let Some(follow_up) = &self.follow_up {
            return self.next_of_follow_up(follow_up, now, clock);
        }
        match self.next_of_question(now, clock) {
            PingAction::Done(outcome) => match self.follow_up_queries(&outcome) {
                queries if queries.is_empty() => PingAction::Done(outcome),
                queries => PingAction::Send(queries),
            },
            action => action,
        }
    }

    fn next_of_question(&self, now: Duration, clock: &PingClock) -> PingAction {
        if self.rounds == 0 {
            return self.ask();
        }
        if !self.replies.is_empty() {
            return self.next_with_replies(now);
        }
        if !self.denied_by_name.is_empty() {
            return match self.last_asked + self.plan.stall {
                until if now < until => PingAction::Listen(until),
                _ => PingAction::Done(self.denial()),
            };
        }
        // The last reply expected in a silence needs its time, too.
        let end = match self.no_responders {
            true => self.plan.confirm,
            false => self.plan.confirm.min(self.plan.patience),
        };
        match self.next_retry(end) {
            Some(time) if now < time => PingAction::Listen(time),
            Some(_) => self.ask(),
            None if self.no_responders => PingAction::Done(Outcome::NoResponders),
            None => self.next_in_silence(now, clock),
        }
    }

    fn next_with_replies(&self, now: Duration) -> PingAction {
        if let Some(time) = self.next_retry_of_few() {
            return match now < time {
                true => PingAction::Listen(time),
                false => self.ask(),
            };
        }
        let all_known = self.plan.wanted != Wanted::All || !self.plan.census && self.replies.outstanding.is_complete();
        let all_stats = !self.asks_for_stats() || self.replies.stats_outstanding == 0;
        let until = self.replies.latest.max(self.last_asked) + self.plan.stall;
        if self.replies.count() >= MAX_INSTANCES {
            PingAction::Flooded
        } else if !(all_known && all_stats) && now < until {
            PingAction::Listen(until)
        } else if self.hidden_requests() > 0 {
            self.ask()
        } else {
            PingAction::Done(self.heard())
        }
    }

    /// The outcome where instances have replied.
    fn heard(&self) -> Outcome {
        // An alarm has to be confirmed, by name.
        match !self.denied_by_name.is_empty() && self.would_alarm() {
            true => self.denial(),
            false => self.replies.answered(),
        }
    }

    fn denial(&self) -> Outcome {
        Outcome::Failed(Failure::new(Reason::PermissionDenied, self.denied_by_name.as_str()))
    }

    /// Somebody is subscribed, and no instance has replied in any round.
    ///
    /// A silence counts only after a last round, and only if the server itself still answers then: one that froze
    /// meanwhile must not make the service look hung.
    fn next_in_silence(&self, now: Duration, clock: &PingClock) -> PingAction {
        let asks_once = self.plan.confirm.is_zero();
        let last = if asks_once { clock.last_sent() } else { self.last_asked };
        let until = last + self.plan.stall;
        if now < self.plan.patience {
            PingAction::Listen(self.plan.patience)
        } else if last < self.plan.patience && asks_once {
            PingAction::Ping
        } else if last < self.plan.patience {
            self.ask()
        } else if !clock.server_answered() {
            // The deadline of the run ends this wait.
            PingAction::Listen(Duration::MAX)
        } else if now < until {
            PingAction::Listen(until)
        } else {
            PingAction::Done(Outcome::Silent(now))
        }
    }

    fn next_of_follow_up(&self, follow_up: &FollowUp, now: Duration, clock: &PingClock) -> PingAction {
        let is_settled = |id: &String| self.replies.fates.contains_key(id) || self.replies.has(id);
        let all_settled = follow_up.ids().all(is_settled)
            && !follow_up.queries.contains(&Query::Discovery)
            && (!follow_up.is_of_silence() || self.silence == Silence::Subscribed);
        // A 503 or its absence is evidence only once the server has processed the queries.
        let stalls = match follow_up.is_of_silence() && !clock.server_answered() {
            true => SLOW_SERVER_STALLS,
            false => 1,
        };
        let until = self.replies.latest.max(self.last_asked) + self.plan.stall * stalls;
        match follow_up.over || all_settled || now >= until {
            true => PingAction::Done(self.so_far().unwrap_or(follow_up.outcome.clone())),
            false => PingAction::Listen(until),
        }
    }

    /// A round, of several PINGs where instances may share a queue group.
    fn ask(&self) -> PingAction {
        let times = self.hidden_requests().max(1);
        let mut queries: Vec<Query> = (self.pings..self.pings + times).map(Query::Ping).collect();
        let is_first = self.rounds == 0;
        let few = (1..STATS_RETRY_MAX_INSTANCES).contains(&self.plan.known.count());
        if self.asks_for_stats() && times == 1 && (is_first || self.no_responders || few) {
            queries.push(Query::Stats);
        }
        PingAction::Send(queries)
    }

    /// Returns the queries after the outcome is known: to each instance that has not replied, also where others have taken their
    /// places (only then it is known that they are gone, and not slow); for the cause of a silence; for other services.
    fn follow_up_queries(&self, outcome: &Outcome) -> Vec<Query> {
        let plan = &self.plan;
        let known = plan.known.ids().chain(&plan.before_outage);
        let discovery = plan.discover.then_some(Query::Discovery);
        match outcome {
            Outcome::Answered(_) => {
                let expected: BTreeSet<&String> = known.chain(&plan.previously_missing).collect();
                let absent = expected.into_iter().filter(|id| !self.replies.has(id));
                let mut queries: Vec<Query> = absent
                    .take(MAX_ASKED_SINGLY)
                    .cloned()
                    .map(Query::InstancePing)
                    .collect();
                if !queries.is_empty() {
                    queries.push(Query::UnusedId);
                }
                queries
            }
            Outcome::Silent(_) if plan.wanted == Wanted::All => {
                let known = known.take(MAX_ASKED_SINGLY).cloned().map(Query::InstanceStatus);
                known.chain([Query::UnusedId]).chain(discovery).collect()
            }
            Outcome::NoResponders => discovery.into_iter().collect(),
            Outcome::Silent(_) | Outcome::Failed(_) => Vec::new(),
        }
    }

    /// Number of PINGs that reach the instances which others may hide in a queue group; 0 where there is no reason to think so.
    fn hidden_requests(&self) -> usize {
        let spread = &self.replies.spread;
        let doubtful = || match spread.has_several() {
            // This is rare and expensive: it happens only before an alarm.
            true => self.would_alarm(),
            false => {
                self.plan.thorough
                    || spread.is_queue_group()
                    || !self.replies.outstanding.is_complete()
                    || self.would_alarm()
            }
        };
        match self.plan.wanted {
            Wanted::All if self.denied_by_name.is_empty() && doubtful() => spread.missing(0),
            Wanted::Match(_) if self.replies.is_empty() => spread.missing(1),
            _ => 0,
        }
    }

    /// Returns whether the number of instances raises an alarm.
    fn would_alarm(&self) -> bool {
        let count = self.replies.count() as f64;
        self.plan.thresholds.iter().any(|range| range.alerts(count))
    }

    fn asks_for_stats(&self) -> bool {
        self.plan.stats && self.stats_denied.is_empty()
    }

    /// Time of the next retry; `None` after the last, which is at `end`.
    fn next_retry(&self, end: Duration) -> Option<Duration> {
        let nth = self.rounds.checked_sub(1)?;
        let previous = nth.checked_sub(1).map_or(Duration::ZERO, retry_time);
        (previous < end).then(|| retry_time(nth).min(end))
    }

    /// Time of the next retry where so few instances have replied that it would raise an alarm; `None` after the last.
    fn next_retry_of_few(&self) -> Option<Duration> {
        let is_short = self.plan.wanted == Wanted::All && !self.replies.outstanding.is_complete() && self.would_alarm();
        let can_retry = self.denied_by_name.is_empty() && !self.replies.spread.is_queue_group();
        (is_short && can_retry)
            .then(|| self.next_retry(self.plan.confirm_fewer))
            .flatten()
    }

    /// Returns the answer to the question itself as known so far, or `None`; a hasty alarm is none.
    pub fn so_far(&self) -> Option<Outcome> {
        match &self.follow_up {
            None if self.next_retry_of_few().is_some() => None,
            _ if !self.replies.is_empty() => Some(self.heard()),
            _ if !self.denied_by_name.is_empty() => Some(self.denial()),
            follow_up => follow_up.as_ref().map(|follow_up| follow_up.outcome.clone()),
        }
    }

    /// Returns whether there was one round so far, without any reply.
    pub fn awaits_first_reply(&self) -> bool {
        self.rounds == 1 && self.replies.is_empty()
    }

    /// Returns whether an instance has replied that was known before.
    pub fn is_as_before(&self) -> bool {
        !self.replies.without_ping && self.plan.known.ids().any(|id| self.replies.has(id))
    }

    /// Number of instances that have replied.
    pub fn count(&self) -> usize {
        self.replies.count()
    }

    /// Number of replies that came from something else than the service.
    pub fn ignored(&self) -> u32 {
        self.replies.ignored().total()
    }

    /// Returns what is known of a silence. Only a server that has dealt with the query proves by the want of a 503 that somebody
    /// listens.
    fn silence(&self, clock: &PingClock) -> Silence {
        let asked = |follow_up: &FollowUp| follow_up.queries.contains(&Query::UnusedId);
        match self.silence {
            _ if self.unused_id_denied => Silence::Unknown,
            Silence::Unknown if self.follow_up.as_ref().is_some_and(asked) && clock.server_answered() => {
                Silence::Hidden
            }
            silence => silence,
        }
    }

    /// Returns the observation of a probe that began and ended at these times, with this outcome.
    pub fn observation(&self, began: Timestamp, ended: Timestamp, outcome: Outcome, clock: &PingClock) -> Observation {
        let replies = &self.replies;
        let alive_at = replies.alive_at.filter(|_| matches!(outcome, Outcome::Answered(_)));
        let follow_up = self.follow_up.as_ref();
        let ids = follow_up.iter().flat_map(|follow_up| follow_up.ids());
        let discovery = follow_up.filter(|follow_up| follow_up.queries.contains(&Query::Discovery));
        Observation {
            census: self.plan.census || !replies.outstanding.is_complete(),
            rounds: self.rounds,
            ignored: replies.ignored(),
            absent: ids.map(|id| (id.clone(), replies.fate(id))).collect(),
            others: discovery.map(|_| replies.others()),
            silence: self.silence(clock),
            queue_group: replies.spread.is_queue_group(),
            same_id: replies.same_id(),
            without_ping: replies.without_ping,
            denied: match self.denied.as_str() {
                "" => self.denied_by_name.clone(),
                denied => denied.to_owned(),
            },
            stats: self.plan.stats.then(|| SeenStats {
                instances: replies.stats.clone(),
                denied: self.stats_denied.clone(),
            }),
            ..Observation::new(alive_at.map_or(ended, |at| began + at), outcome)
        }
    }
}

#[cfg(test)]
mod tests;
