//! When to ask, how long to listen, and when enough has been heard. Pure: it is given the time and told what was heard.
//!
//! All times are durations since the first asking.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::probe::known::{KnownInstances, Outstanding};
use crate::probe::observation::{Fate, Ignored, Instance, InstanceReply, NotCounted, Outcome, Silence};
use crate::probe::reply::{keep_metadata, metadata_of, read_alive, read_any_ping, read_ping, read_stats};
use crate::probe::spread::Spread;
use crate::probe::stats::Stats;
use crate::values::range::Range;

/// Retry times: measured to outlast each condition in which a server's 503 is a false "down" (a service that has just
/// subscribed elsewhere in the cluster, a restarted node, hub or gateway), and the 2 to 4 s that clients wait before they
/// connect again. After the last one the gaps double.
const RETRY_TIMES: [Duration; 5] = [
    Duration::from_millis(50),
    Duration::from_millis(250),
    Duration::from_millis(1200),
    Duration::from_millis(2500),
    Duration::from_secs(5),
];

/// Retry time where one retry is enough: nobody was there before, so an absence is no news.
pub const FIRST_RETRY: Duration = RETRY_TIMES[0];

/// A service has some instances; only a flood of replies has this many.
const MAX_INSTANCES: usize = 100_000;

/// How many instances are asked one by one, and how many other services (and instances of each) are told apart. Beyond
/// these nobody reads on.
const MAX_INQUIRED: usize = 64;
const MAX_OTHERS: usize = 1000;

/// Maximum number of ids that are reported for replying more than once.
const MAX_SAME_ID: usize = 16;

/// The end of the reply subject to which statistics come, and of the one for an id that nobody has.
pub const STATS: &str = "s";
pub const UNUSED_ID: &str = "x";

/// Whose answer is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Those of all instances.
    All,
    /// That of any instance; one is enough.
    Any,
    /// That of the instance with this id.
    Id(String),
    /// That of an instance with these values in its metadata.
    Match(Vec<(String, String)>),
}

impl Wanted {
    /// Whether this instance, which sent this reply, is one that is wanted.
    fn is_met_by(&self, instance: &Instance, payload: &[u8]) -> bool {
        match self {
            Wanted::All | Wanted::Any => true,
            Wanted::Id(id) => instance.id == *id,
            Wanted::Match(values) => {
                let metadata = metadata_of(payload);
                values.iter().all(|(key, value)| metadata[key].as_str() == Some(value))
            }
        }
    }

    /// Whether the instance that sent this reply has all metadata keys that are asked for, whatever their values.
    fn is_keyed(&self, payload: &[u8]) -> bool {
        match self {
            Wanted::Match(values) => {
                let metadata = metadata_of(payload);
                values.iter().all(|(key, _)| metadata[key].is_string())
            }
            _ => true,
        }
    }
}

/// The rules of one probe.
#[derive(Clone, Debug)]
pub struct PingPlan {
    pub service: String,
    pub wanted: Wanted,
    /// The instances that are expected.
    pub known: KnownInstances,
    /// The ids of instances that did not answer in an earlier run, and are to be asked again one by one.
    pub previously_missing: BTreeSet<String>,
    /// The ids of instances that were there before an outage that is open: if nobody answers, they may still hang; and when
    /// others do, they may be gone.
    pub before_outage: Vec<String>,
    /// Whether to wait for instances that are not known, even when all known ones have answered.
    pub census: bool,
    /// Whether to make sure that a single reply is that of a single instance, though nothing else makes one doubt it.
    pub thorough: bool,
    /// Whether to look who else is there if nobody is.
    pub discover: bool,
    /// Whether the statistics are asked for, too: in the same write, with a reply subject that ends with [`STATS`].
    pub stats: bool,
    /// Keys of the metadata whose values must be kept.
    pub kept_metadata: Vec<String>,
    /// Time of the last retry when no instance answers. Zero: ask once.
    pub confirm: Duration,
    /// Ranges of the number of instances that raise no alarm. An alarm for known instances that do not answer is confirmed
    /// with the same retries, up to `confirm_fewer`.
    pub thresholds: Vec<Range>,
    pub confirm_fewer: Duration,
    /// How long to wait for one more answer after the latest.
    pub stall: Duration,
    /// How long to wait for a first answer where somebody is subscribed: a slow reply is not an outage.
    pub patience: Duration,
    /// Ping after so long without anything to do, and then after twice as long each time. `None`: a PING goes behind each
    /// request at once.
    pub first_ping_delay: Option<Duration>,
}

impl PingPlan {
    /// Plan for a service of which nothing is known: waits for a first answer and inquires no further.
    pub fn new(service: &str, wanted: Wanted, confirm: Duration, stall: Duration) -> PingPlan {
        PingPlan {
            service: service.to_owned(),
            wanted,
            known: KnownInstances::default(),
            previously_missing: BTreeSet::new(),
            before_outage: Vec::new(),
            census: false,
            thorough: false,
            discover: false,
            stats: false,
            kept_metadata: Vec::new(),
            confirm,
            thresholds: Vec::new(),
            confirm_fewer: Duration::ZERO,
            stall,
            patience: Duration::ZERO,
            first_ping_delay: None,
        }
    }
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PingAction {
    /// Ask, with a fresh inbox.
    Ask,
    /// Ask so many times, in one write, with a fresh inbox each time: one instance replied, and there may be others in a queue
    /// group with it.
    AskMany(usize),
    /// Ask each of these instances for itself, in one write; the nth reply subject ends with n. Ask for an id that nobody has,
    /// too; its reply subject ends with [`UNUSED_ID`].
    AskEach(Vec<String>),
    /// Ask everybody, whatever the service.
    Discover,
    /// Somebody is subscribed and nobody answers: ask for the statistics and the information of each of these instances; the
    /// nth reply subject ends with n. Ask for an id that nobody has; its reply subject ends with [`UNUSED_ID`]. And ask
    /// everybody, if so.
    LookInto { ids: Vec<String>, discover: bool },
    /// Only make sure that the server is still there.
    Ping,
    /// Listen, until this time at the latest.
    Listen(Duration),
    /// Enough was heard.
    Done(Outcome),
    /// Whatever this is, it is no service.
    Flooded,
}

/// One asking: a request, and what the server said to it.
#[derive(Clone, Debug, Default)]
struct SentPing {
    asked: Duration,
    no_responders: bool,
}

/// The last asking, after the question itself has been answered: to know more.
#[derive(Clone, Debug)]
struct Inquiry {
    /// The instances asked one by one.
    ids: Vec<String>,
    /// Whether everybody was asked, whatever the service.
    everybody: bool,
    /// Whether it is a silence that is looked into.
    silent: bool,
    /// The answer to the question itself.
    outcome: Outcome,
    asked: Duration,
    /// When it was asked, or the latest reply came that told something new.
    latest: Duration,
    /// The server said that there is no more to come.
    over: bool,
}

/// One probe in the making.
#[derive(Debug)]
pub struct Schedule {
    plan: PingPlan,
    requests: Vec<SentPing>,
    /// How many times it was decided to ask; [`PingAction::AskMany`] is one.
    rounds: usize,
    /// When the question was last asked many times.
    last_many: Duration,
    /// Who replied to which request.
    spread: Spread,
    inquiry: Option<Inquiry>,
    /// When the server was last sent anything, and when it was last asked.
    last_sent: Duration,
    last_asked: Duration,
    /// How many pings were sent, how many of them since the last asking, and how many the server answered with a PONG.
    pings: usize,
    pings_since_asked: u32,
    pongs: usize,
    /// Each with its time, the round of its latest reply, and the number of its replies in that round.
    answers: BTreeMap<String, (Instance, Duration, (usize, usize))>,
    /// The ids that replied to one request more than once, and how often.
    same_id: BTreeMap<String, usize>,
    /// When the latest new instance answered.
    last_answer: Duration,
    /// When the latest request left that was answered.
    alive_at: Option<Duration>,
    /// Who of the known instances has answered.
    outstanding: Outstanding,
    /// What became of the instances asked one by one.
    fates: BTreeMap<String, Fate>,
    /// Which services answered when everybody was asked, and with how many instances.
    others: BTreeMap<String, BTreeSet<String>>,
    ignored: Ignored,
    /// The instances that lack a metadata key that is asked for, and whether another one has all of them.
    keyless: BTreeSet<String>,
    has_keyed_sibling: bool,
    /// What is known of a silence.
    silence: Silence,
    /// Whether it was allowed to ask for an id that nobody has.
    nobody_asked: bool,
    /// Whether somebody answers for an id that nobody has.
    answers_for_anybody: bool,
    /// Whether the answers came to other questions than a PING.
    without_ping: bool,
    /// The statistics, by id; how many of those that have answered are still to send theirs; when the latest came.
    stats: BTreeMap<String, Stats>,
    stats_outstanding: usize,
    last_stats: Duration,
}

impl Schedule {
    pub fn new(plan: PingPlan) -> Schedule {
        Schedule {
            outstanding: Outstanding::new(plan.known.clone()),
            plan,
            requests: Vec::new(),
            rounds: 0,
            last_many: Duration::ZERO,
            spread: Spread::default(),
            inquiry: None,
            last_sent: Duration::ZERO,
            last_asked: Duration::ZERO,
            pings: 0,
            pings_since_asked: 0,
            pongs: 0,
            answers: BTreeMap::new(),
            same_id: BTreeMap::new(),
            last_answer: Duration::ZERO,
            fates: BTreeMap::new(),
            others: BTreeMap::new(),
            alive_at: None,
            ignored: Ignored::default(),
            keyless: BTreeSet::new(),
            has_keyed_sibling: false,
            silence: Silence::Unknown,
            nobody_asked: true,
            answers_for_anybody: false,
            without_ping: false,
            stats: BTreeMap::new(),
            stats_outstanding: 0,
            last_stats: Duration::ZERO,
        }
    }

    /// The service was asked, in a new round.
    pub fn asked(&mut self, now: Duration) {
        self.ask(now, 1);
    }

    /// After [`PingAction::AskMany`]: asked so many times, each in a new round.
    pub fn asked_many(&mut self, now: Duration, times: usize) {
        self.last_many = now;
        self.ask(now, times);
    }

    fn ask(&mut self, now: Duration, times: usize) {
        self.rounds += 1;
        for _ in 0..times {
            self.spread.asked();
            self.requests.push(SentPing {
                asked: now,
                no_responders: false,
            });
        }
        self.request_sent(now);
    }

    /// After [`PingAction::AskEach`] or [`PingAction::Discover`]: asked, in a round that is the last one. `ids` is empty for the latter.
    pub fn inquired(&mut self, now: Duration, ids: Vec<String>) {
        let everybody = ids.is_empty();
        self.inquire(now, ids, everybody, false);
    }

    /// After [`PingAction::LookInto`]: asked, in a round that is the last one.
    pub fn looked_into(&mut self, now: Duration, ids: Vec<String>, discover: bool) {
        self.inquire(now, ids, discover, true);
    }

    fn inquire(&mut self, now: Duration, ids: Vec<String>, everybody: bool, silent: bool) {
        let outcome = match self.answers.is_empty() {
            false => self.answered(),
            true if self.requests.last().is_some_and(|round| round.no_responders) => Outcome::NoResponders,
            true => Outcome::Silent(now),
        };
        self.inquiry = Some(Inquiry {
            ids,
            everybody,
            silent,
            outcome,
            asked: now,
            latest: now,
            over: false,
        });
        self.request_sent(now);
    }

    fn request_sent(&mut self, now: Duration) {
        self.last_sent = now;
        self.last_asked = now;
        self.pings_since_asked = 0;
        if self.plan.first_ping_delay.is_none() {
            self.pinged(now);
        }
    }

    /// The request of this round really left at this time, a little after it was decided on.
    pub fn on_wire(&mut self, round: usize, at: Duration) {
        if let Some(round) = self.requests.get_mut(round) {
            round.asked = at;
        } else if let Some(inquiry) = &mut self.inquiry {
            inquiry.asked = at;
        }
    }

    /// A PING was sent.
    pub fn pinged(&mut self, now: Duration) {
        self.last_sent = now;
        self.pings += 1;
        self.pings_since_asked += 1;
    }

    /// A PONG came: everything sent before its PING has been dealt with. PONGs come in the order of their PINGs.
    pub fn pong(&mut self) {
        self.pongs += 1;
    }

    /// Whether the server has answered everything sent to it.
    pub fn server_answered(&self) -> bool {
        self.pings_since_asked > 0 && self.pongs >= self.pings
    }

    /// A 503 came to the inbox of this round, with this last token of its subject. After an answer it means nothing: any
    /// peer can send one.
    pub fn no_responders(&mut self, round: usize, token: &str) {
        if let Some(round) = self.requests.get_mut(round) {
            round.no_responders = true;
        } else if let Some(inquiry) = &mut self.inquiry {
            match id_of(inquiry, token) {
                Some(id) => drop(self.fates.entry(id).or_insert(Fate::Gone)),
                None if token == UNUSED_ID => self.silence = Silence::Subscribed,
                None => inquiry.over = !inquiry.silent,
            }
        }
    }

    /// The server does not allow what was asked last. `false` if that was the question itself.
    pub fn denied(&mut self) -> bool {
        match &mut self.inquiry {
            // Much was asked, and only some of it was not allowed.
            Some(Inquiry { silent: true, .. }) => true,
            Some(inquiry) => {
                inquiry.over = true;
                for id in inquiry.ids.clone() {
                    self.fates.entry(id).or_insert(Fate::NotAsked);
                }
                true
            }
            None => false,
        }
    }

    /// Whether it is a silence that is looked into.
    pub fn is_looking(&self) -> bool {
        self.inquiry.as_ref().is_some_and(|inquiry| inquiry.silent)
    }

    /// Whether an id that nobody has was asked for, with the instances that were asked one by one or in a silence.
    fn has_asked_nobody(&self) -> bool {
        let asked = |inquiry: &Inquiry| inquiry.silent || !inquiry.ids.is_empty();
        self.nobody_asked && self.inquiry.as_ref().is_some_and(asked)
    }

    /// The server does not allow to ask for statistics.
    pub fn stats_denied(&mut self) {
        self.plan.stats = false;
    }

    /// The server does not allow to ask for an id that nobody has, so no 503 to it means nothing.
    pub fn nobody_denied(&mut self) {
        self.silence = Silence::Unknown;
        self.nobody_asked = false;
    }

    /// A message came to the inbox of this round, with this last token of its subject. Returns why it does not count, if it
    /// does not.
    pub fn reply(&mut self, now: Duration, round: usize, token: &str, payload: &[u8]) -> Option<NotCounted> {
        if token == STATS {
            return self.stats_reply(now, payload);
        }
        let inquiry = self.inquiry.as_ref().filter(|_| round >= self.requests.len());
        if inquiry.is_some_and(|inquiry| inquiry.everybody && token.is_empty()) {
            return self.other(now, payload);
        }
        let looking = inquiry.is_some_and(|inquiry| inquiry.silent);
        if looking && !self.may_be_alive(token, payload) {
            return Some(NotCounted::Broken);
        }
        let asked = match (self.requests.get(round), &self.inquiry) {
            (Some(round), _) => round.asked,
            (None, Some(inquiry)) => inquiry.asked,
            (None, None) => Duration::ZERO,
        };
        let instance = match looking {
            true => read_alive(&self.plan.service, payload),
            false => read_ping(&self.plan.service, payload),
        };
        if let Ok(instance) = &instance {
            self.spread.replied(round, &instance.id);
        }
        match instance {
            Ok(instance) if !self.plan.wanted.is_met_by(&instance, payload) => {
                self.ignored.add(NotCounted::Sibling);
                if self.plan.wanted.is_keyed(payload) {
                    self.has_keyed_sibling = true;
                } else if self.keyless.len() < MAX_INSTANCES {
                    self.keyless.insert(instance.id);
                }
                Some(NotCounted::Sibling)
            }
            Ok(mut instance) => {
                keep_metadata(&mut instance, payload, &self.plan.kept_metadata);
                self.alive_at = self.alive_at.max(Some(asked));
                if let Some((_, _, latest)) = self.answers.get_mut(&instance.id) {
                    let is_second = latest.0 == round && round < self.requests.len();
                    *latest = (round, if is_second { latest.1 + 1 } else { 1 });
                    if is_second && self.same_id.len() < MAX_SAME_ID {
                        let most = self.same_id.entry(instance.id.clone()).or_default();
                        *most = latest.1.max(*most);
                    }
                }
                if !self.answers.contains_key(&instance.id) && self.answers.len() < MAX_INSTANCES {
                    self.outstanding.answered(&instance.id);
                    self.without_ping |= looking;
                    self.stats_outstanding += usize::from(!self.stats.contains_key(&instance.id));
                    self.last_answer = now;
                    self.fates.remove(&instance.id);
                    self.answers
                        .insert(instance.id.clone(), (instance, now.saturating_sub(asked), (round, 1)));
                }
                None
            }
            Err(kind) => {
                // What comes to other questions is no answer to this one, and no wrong one either.
                if !looking {
                    self.ignored.add(kind);
                }
                Some(kind)
            }
        }
    }

    /// Whether this reply, to a question that looks into a silence, comes from the instance that was asked. Somebody who
    /// answers for an id that nobody has answers for anybody.
    fn may_be_alive(&mut self, token: &str, payload: &[u8]) -> bool {
        if token == UNUSED_ID {
            self.answers_for_anybody = true;
            self.answers.clear();
            self.without_ping = false;
        }
        let asked = self.inquiry.as_ref().and_then(|inquiry| id_of(inquiry, token));
        let replied = read_alive(&self.plan.service, payload).ok();
        let is_asked = asked.is_some_and(|id| replied.is_some_and(|instance| instance.id == id));
        is_asked && !self.answers_for_anybody
    }

    /// Statistics came. What is wrong with them is not counted: the instance may be fine.
    fn stats_reply(&mut self, now: Duration, payload: &[u8]) -> Option<NotCounted> {
        match read_stats(&self.plan.service, payload) {
            Ok((id, stats)) if self.stats.len() < MAX_INSTANCES => {
                self.last_stats = now;
                let is_new = !self.stats.contains_key(&id);
                self.stats_outstanding -= usize::from(is_new && self.answers.contains_key(&id));
                self.stats.insert(id, stats);
                None
            }
            Ok(_) => None,
            Err(kind) => Some(kind),
        }
    }

    /// Somebody answered who may be of any service.
    fn other(&mut self, now: Duration, payload: &[u8]) -> Option<NotCounted> {
        match read_any_ping(payload) {
            Ok((name, instance)) => {
                let few = self.others.len() < MAX_OTHERS || self.others.contains_key(&name);
                let ids = if few {
                    Some(self.others.entry(name).or_default())
                } else {
                    None
                };
                if ids.is_some_and(|ids| ids.len() < MAX_OTHERS && ids.insert(instance.id))
                    && let Some(inquiry) = &mut self.inquiry
                {
                    inquiry.latest = now;
                }
                None
            }
            Err(kind) => Some(kind),
        }
    }

    /// What to do at this time.
    pub fn next(&self, now: Duration) -> PingAction {
        match (self.decide(now), self.plan.first_ping_delay) {
            (PingAction::Listen(until), Some(first_ping_delay)) if !self.requests.is_empty() => {
                let due = self.last_sent + first_ping_delay * 2_u32.saturating_pow(self.pings_since_asked.min(16));
                if now >= due {
                    PingAction::Ping
                } else {
                    PingAction::Listen(until.min(due))
                }
            }
            (next, _) => next,
        }
    }

    fn decide(&self, now: Duration) -> PingAction {
        if let Some(inquiry) = &self.inquiry {
            return self.next_of_inquiry(inquiry, now);
        }
        match self.next_of_question(now) {
            PingAction::Done(Outcome::Answered(_)) if !self.absentees().is_empty() => {
                PingAction::AskEach(self.absentees())
            }
            PingAction::Done(Outcome::Silent(_)) if self.plan.wanted == Wanted::All => PingAction::LookInto {
                ids: self
                    .plan
                    .known
                    .ids()
                    .chain(&self.plan.before_outage)
                    .take(MAX_INQUIRED)
                    .cloned()
                    .collect(),
                discover: self.plan.discover,
            },
            PingAction::Done(Outcome::NoResponders) if self.plan.discover => PingAction::Discover,
            next => next,
        }
    }

    fn next_of_question(&self, now: Duration) -> PingAction {
        let Some(latest) = self.requests.last() else {
            return PingAction::Ask;
        };
        if !self.answers.is_empty() {
            let one_is_enough = self.plan.wanted != Wanted::All;
            let all_known = one_is_enough || !self.plan.census && self.outstanding.is_complete();
            let all_stats = !self.plan.stats || self.stats_outstanding == 0;
            if self.is_short()
                && !self.one_reply_each()
                && let Some(time) = self.scheduled(self.plan.confirm_fewer)
            {
                return match self.requests_to_find_others() {
                    _ if now < time => PingAction::Listen(time),
                    0 => PingAction::Ask,
                    times => PingAction::AskMany(times),
                };
            }
            let latest = if self.is_short() {
                self.last_asked
            } else {
                Duration::ZERO
            };
            let latest = latest.max(self.last_many);
            let until = self.last_answer.max(self.last_stats).max(latest) + self.plan.stall;
            return if self.answers.len() >= MAX_INSTANCES {
                PingAction::Flooded
            } else if all_known && all_stats || now >= until {
                match self.requests_to_find_others() {
                    0 => PingAction::Done(self.answered()),
                    times => PingAction::AskMany(times),
                }
            } else {
                PingAction::Listen(until)
            };
        }
        // The last answer to be expected in a silence needs its time, too.
        let end = match latest.no_responders {
            true => self.plan.confirm,
            false => self.plan.confirm.min(self.plan.patience),
        };
        if let Some(time) = self.scheduled(end) {
            return if now >= time {
                self.ask_again()
            } else {
                PingAction::Listen(time)
            };
        }
        if latest.no_responders {
            return PingAction::Done(Outcome::NoResponders);
        }
        self.next_in_silence(now)
    }

    /// Somebody is subscribed, and nobody has answered at any of the scheduled rounds.
    ///
    /// A silence is believed only after a last asking, and only if the server itself still answers then: one that froze
    /// meanwhile must not make the service look hung.
    fn next_in_silence(&self, now: Duration) -> PingAction {
        let last = if self.plan.confirm.is_zero() {
            self.last_sent
        } else {
            self.last_asked
        };
        let until = last + self.plan.stall;
        if now < self.plan.patience {
            PingAction::Listen(self.plan.patience)
        } else if last < self.plan.patience {
            match self.plan.confirm.is_zero() {
                true => PingAction::Ping,
                false => self.ask_again(),
            }
        } else if !self.server_answered() {
            // The deadline of the run will end this.
            PingAction::Listen(Duration::MAX)
        } else if now < until {
            PingAction::Listen(until)
        } else {
            PingAction::Done(Outcome::Silent(now))
        }
    }

    fn next_of_inquiry(&self, inquiry: &Inquiry, now: Duration) -> PingAction {
        let settled = |id: &String| self.fates.contains_key(id) || self.answers.contains_key(id);
        let all_settled = match inquiry.silent {
            true => !inquiry.everybody && self.silence == Silence::Subscribed && inquiry.ids.iter().all(settled),
            false => !inquiry.everybody && inquiry.ids.iter().all(settled),
        };
        // What a 503, or the want of one, says of a silence is known when the server has dealt with the questions.
        let turns = if inquiry.silent && !self.server_answered() {
            4
        } else {
            1
        };
        let until = inquiry.latest + self.plan.stall * turns;
        if inquiry.over || all_settled || now >= until {
            PingAction::Done(match self.answers.is_empty() {
                false => self.answered(),
                true => inquiry.outcome.clone(),
            })
        } else {
            PingAction::Listen(until)
        }
    }

    /// Asks again. Where siblings of the wanted instance reply one at a time, often enough to reach it.
    fn ask_again(&self) -> PingAction {
        match self.spread.missing(1) {
            times @ 1.. if matches!(self.plan.wanted, Wanted::Match(_)) => PingAction::AskMany(times),
            _ => PingAction::Ask,
        }
    }

    /// Number of requests that show whether the one instance that replied hides others; 0 where there is no reason to think so.
    fn requests_to_find_others(&self) -> usize {
        let count = self.answers.len() as f64;
        let doubtful = self.plan.thorough
            || self.one_reply_each()
            || !self.outstanding.is_complete()
            || self.plan.thresholds.iter().any(|range| range.alerts(count));
        match self.plan.wanted {
            Wanted::All if doubtful => self.spread.missing(0),
            _ => 0,
        }
    }

    /// Whether each request reaches one instance only, and not always the same one.
    pub fn one_reply_each(&self) -> bool {
        self.spread.is_one_reply_each()
    }

    /// The ids that replied to one request more than once, and how often.
    pub fn same_id(&self) -> Vec<(String, usize)> {
        self.same_id.clone().into_iter().collect()
    }

    /// Whether known instances are missing, and their absence would raise an alarm.
    fn is_short(&self) -> bool {
        let count = self.answers.len() as f64;
        self.plan.wanted == Wanted::All
            && !self.outstanding.is_complete()
            && self.plan.thresholds.iter().any(|range| range.alerts(count))
    }

    /// Time of the next retry; `None` after the last, which is at `end`.
    fn scheduled(&self, end: Duration) -> Option<Duration> {
        let first = self.requests.first()?.asked;
        let nth = self.rounds.checked_sub(1)?;
        let previous = nth.checked_sub(1).map_or(Duration::ZERO, offset);
        (previous < end).then(|| first + offset(nth).min(end))
    }

    /// The instances to ask one by one: those known, those in doubt, and those before an outage, that have not answered. Also
    /// where others have taken their places: only so it is known that they are gone, and not slow.
    fn absentees(&self) -> Vec<String> {
        let plan = &self.plan;
        let ids = plan
            .known
            .ids()
            .chain(&plan.previously_missing)
            .chain(&plan.before_outage);
        let absent: BTreeSet<&String> = ids.filter(|id| !self.answers.contains_key(*id)).collect();
        absent.into_iter().take(MAX_INQUIRED).cloned().collect()
    }

    /// What is known so far of the answer to the question itself, or `None`.
    pub fn so_far(&self) -> Option<Outcome> {
        match &self.inquiry {
            Some(inquiry) if self.answers.is_empty() => Some(inquiry.outcome.clone()),
            _ => (!self.answers.is_empty()).then(|| self.answered()),
        }
    }

    fn answered(&self) -> Outcome {
        let answers = self.answers.values().map(|(instance, rtt, _)| InstanceReply {
            instance: instance.clone(),
            rtt: Some(*rtt),
        });
        Outcome::Answered(answers.collect())
    }

    /// What became of the instances that were asked one by one.
    pub fn absent(&self) -> Vec<(String, Fate)> {
        let ids = self.inquiry.iter().flat_map(|inquiry| &inquiry.ids);
        ids.map(|id| {
            let fate = match self.answers.contains_key(id) {
                true => Fate::Slow,
                false => self.fates.get(id).copied().unwrap_or(Fate::NotAnswering),
            };
            (id.clone(), fate)
        })
        .collect()
    }

    /// Which other services are there, with how many instances, if that was asked.
    pub fn others(&self) -> Option<Vec<(String, usize)>> {
        self.inquiry.as_ref().filter(|inquiry| inquiry.everybody)?;
        Some(
            self.others
                .iter()
                .map(|(name, ids)| (name.clone(), ids.len()))
                .collect(),
        )
    }

    /// The latest moment for which the answers prove that somebody was there: when the latest request left that was
    /// answered. The answer itself may have been on its way for long.
    pub fn alive_at(&self) -> Option<Duration> {
        self.alive_at
    }

    /// Whether the probe waited for unknown instances: it was to, or a known one did not answer.
    pub fn was_census(&self) -> bool {
        self.plan.census || !self.outstanding.is_complete()
    }

    /// Whether the server said of the latest asking that nobody is there.
    pub fn has_found_nobody(&self) -> bool {
        self.requests.last().is_some_and(|round| round.no_responders)
    }

    /// How many times the service was asked.
    pub fn rounds(&self) -> usize {
        self.rounds
    }

    pub fn ignored(&self) -> Ignored {
        let without_key = match self.has_keyed_sibling {
            true => 0,
            false => u32::try_from(self.keyless.len()).unwrap_or(u32::MAX),
        };
        Ignored {
            without_key,
            ..self.ignored
        }
    }

    /// What is known of a silence. Only a server that has dealt with the question proves by the want of a 503 that somebody
    /// listens.
    pub fn silence(&self) -> Silence {
        match self.silence {
            Silence::Unknown if self.has_asked_nobody() && self.server_answered() => Silence::Hidden,
            silence => silence,
        }
    }

    /// Whether those who answered did so to other questions, and not to a PING.
    pub fn without_ping(&self) -> bool {
        self.without_ping
    }

    /// The statistics that came, by the id of the instance.
    pub fn stats(&self) -> &BTreeMap<String, Stats> {
        &self.stats
    }
}

/// The time between the first asking and the one that comes `nth` after it, from zero on.
fn offset(nth: usize) -> Duration {
    match RETRY_TIMES.get(nth) {
        Some(offset) => *offset,
        None => RETRY_TIMES[RETRY_TIMES.len() - 1] * 2_u32.saturating_pow((nth + 1 - RETRY_TIMES.len()).min(20) as u32),
    }
}

/// The instance whose own reply subject ends with this token.
fn id_of(inquiry: &Inquiry, token: &str) -> Option<String> {
    inquiry.ids.get(token.parse::<usize>().ok()?).cloned()
}

#[cfg(test)]
mod tests;
