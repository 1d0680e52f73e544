//! One step of the search, by the real judge and the real format, and what must be true of it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use check_nats_service::judge::verdict::Verdict;
use check_nats_service::judge::{Policy, judge};
use check_nats_service::probe::observation::{Failure, InstanceReply, Observation, Outcome};
use check_nats_service::state::format;
use check_nats_service::state::key::StateKey;
use check_nats_service::state::memory::Memory;
use check_nats_service::values::status::{Reason, Status};
use check_nats_service::values::timestamp::Timestamp;

use super::events::{Event, File, INSTANCES, NOW, Seen, instance};
use super::{World, ensure};

/// Time window of the baseline, in microseconds: the default of `--baseline-settle`.
pub const SETTLE: i64 = 900 * 1_000_000;

/// Truth after a path, found out without the judge. Times are microseconds before now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Truth {
    /// Number of instances in the last epoch that the memory can know.
    pub last: Option<usize>,
    /// The open outage: how long ago it was first missed, and how many instances there were before.
    pub outage: Option<(i64, usize)>,
    /// Numbers of instances, each with how long ago there was another one; `None`: an earlier version did not remember.
    sizes: Option<Vec<(usize, i64)>>,
    /// The instances of the last epoch that had any.
    there: Vec<usize>,
    /// Time since an instance last disappeared.
    latest_loss: Option<i64>,
    /// Numbers of instances of each version that disappeared and that came.
    went_and_came: BTreeMap<&'static str, (u64, u64)>,
}

/// One service under these events.
pub struct OneService<'a> {
    pub policy: Policy,
    pub events: &'a [Event],
}

impl World for OneService<'_> {
    type State = Node;
    type Event = Event;

    fn start(&self) -> Node {
        Node::default()
    }

    fn events(&self, _: &Node) -> Cow<'_, [Event]> {
        Cow::Borrowed(self.events)
    }

    fn after(&self, node: &Node, event: &Event) -> Result<Option<Node>, String> {
        node.after(event, &self.policy).map(Some)
    }
}

/// A memory, and the truth about it.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// As it was read from the state file; `None`: there is no file.
    memory: Option<Memory>,
    truth: Truth,
}

impl std::hash::Hash for Node {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        let text = self.memory.as_ref().map(|memory| format::write(&key(), memory));
        (text, &self.truth).hash(state);
    }
}

fn key() -> StateKey {
    StateKey {
        prefix: "$SRV".into(),
        servers: vec!["127.0.0.1:4222".into()],
        service: "orders".into(),
        user: None,
    }
}

impl Node {
    /// The node after this event.
    ///
    /// # Errors
    ///
    /// The fault of the step.
    fn after(&self, event: &Event, policy: &Policy) -> Result<Node, String> {
        let mut truth = self.truth.clone();
        truth.wait(event.pause);
        let memory = self.read(event, &mut truth)?;
        let seen = event.observation(&memory);
        let peeked = Memory {
            sequence: memory.sequence - u64::from(event.overlaps),
            ..memory.clone()
        };
        let (verdict, next) = match memory.newer_epoch(&peeked, &seen) {
            Some(epoch) => {
                let newer = epoch.observed_like(&seen);
                let (verdict, _) = judge("orders", &memory, &newer, policy, NOW);
                let was_up = epoch.count > 0;
                truth.check_status(&verdict, if was_up { Class::Up } else { Class::Empty }, false, policy)?;
                (None, memory.clone())
            }
            None => {
                let (verdict, next) = judge("orders", &memory, &seen, policy, NOW);
                (Some(verdict), next)
            }
        };
        if let Some(verdict) = verdict {
            let class = Class::of(&seen.outcome, policy);
            let before = truth.clone();
            let recovered = truth.learn(&event.seen, class);
            ensure(next.sequence >= memory.sequence, "the sequence number falls")?;
            truth.check_status(&verdict, class, recovered, policy)?;
            if class == Class::Unknown {
                ensure(truth == before, "the truth changes without an answer")?;
                ensure(
                    without_trouble(&next) == without_trouble(&memory),
                    "a run that could not ask changes the memory",
                )?;
            }
            let total = |memory: &Memory| memory.changes.as_ref().map_or(0, |changes| changes.restarts);
            ensure(total(&next) >= total(&memory), "the total of the restarts falls")?;
        }
        truth.check_memory(&next)?;
        if event.is_killed {
            let mut truth = self.truth.clone();
            truth.wait(event.pause);
            return Ok(Node::new(&self.read(event, &mut truth)?, truth));
        }
        Ok(Node::new(&next, truth))
    }

    fn new(memory: &Memory, truth: Truth) -> Node {
        let memory = Memory {
            // The judge does not read the history, and of the sequence number only whether it is another one.
            history: Vec::new(),
            sequence: 1,
            ..memory.clone()
        };
        Node {
            memory: Some(memory),
            truth,
        }
    }

    /// Returns the memory that the run reads from the state file.
    fn read(&self, event: &Event, truth: &mut Truth) -> Result<Memory, String> {
        let nothing = Memory {
            sequence: 1,
            ..Memory::default()
        };
        let Some(mut memory) = self.memory.clone() else {
            return Ok(nothing);
        };
        shift(&mut memory, -event.pause);
        let mut text = format::write(&key(), &memory).into_bytes();
        match event.file {
            File::Whole => {}
            File::Garbage => text.extend_from_slice(b"garbage"),
            File::Old => {
                text = forget_what_is_new(&text);
                truth.sizes = None;
                truth.went_and_came.clear();
            }
            File::Damaged => text.truncate(text.len() / 2),
            File::Missing => {
                *truth = Truth::default();
                return Ok(nothing);
            }
        }
        let loaded = match format::read(&key(), &text, NOW) {
            Err(_) if event.file == File::Damaged => {
                *truth = Truth::default();
                return Ok(nothing);
            }
            read => read.map_err(|e| format!("unreadable: {e:?}"))?,
        };
        ensure(event.file != File::Damaged, "half a state is read")?;
        ensure(
            loaded.damage.is_some() == (event.file == File::Garbage),
            "damage is not told",
        )?;
        ensure(
            loaded.memory == memory || event.pause < 0 || event.file == File::Old,
            "what is read is not what was written",
        )?;
        Ok(loaded.memory)
    }
}

/// The memory without what a run that could not ask may change.
pub fn without_trouble(memory: &Memory) -> Memory {
    Memory {
        sequence: 0,
        status: None,
        unreachable: None,
        // It has a mark where NATS could not be asked.
        history: Vec::new(),
        ..memory.clone()
    }
}

/// As an earlier version of the program would have written it.
fn forget_what_is_new(text: &[u8]) -> Vec<u8> {
    let mut json: serde_json::Value = serde_json::from_slice(text).expect("JSON");
    let fields = json.as_object_mut().expect("an object");
    for name in ["baseline", "absentees", "mixed_since", "statistics", "changes"] {
        fields.remove(name);
    }
    json.to_string().into_bytes()
}

/// Moves all times of the memory.
pub fn shift(memory: &mut Memory, micros: i64) {
    let moved = |at: &mut Timestamp| *at = Timestamp::from_micros(at.as_micros() + micros);
    let epochs = memory.epoch.iter_mut();
    epochs.for_each(|epoch| moved(&mut epoch.at));
    if let Some(outage) = &mut memory.outage {
        moved(&mut outage.first_missed);
        moved(&mut outage.last_seen.at);
    }
    memory
        .absentees
        .iter_mut()
        .for_each(|absentee| moved(&mut absentee.since));
    memory.mixed_since.iter_mut().for_each(moved);
    memory.census.iter_mut().for_each(moved);
    memory
        .unreachable
        .iter_mut()
        .for_each(|unreachable| moved(&mut unreachable.since));
    memory
        .changes
        .iter_mut()
        .flat_map(|changes| &mut changes.log)
        .for_each(|change| moved(&mut change.at));
    if let Some(baseline) = &mut memory.baseline {
        baseline.peaks.iter_mut().for_each(|peak| moved(&mut peak.until));
        if let Some(raise) = &mut baseline.raised {
            moved(&mut raise.since);
            moved(&mut raise.latest);
        }
    }
}

impl Event {
    /// Returns the observation of a run that looks for the instances in this memory.
    fn observation(&self, memory: &Memory) -> Observation {
        let mut seen = self.seen.observation(memory);
        if self.overlaps
            && let Some(epoch) = &memory.epoch
        {
            seen.at = Timestamp::from_micros(epoch.at.as_micros() - 10_000);
        }
        seen
    }
}

impl Seen {
    /// Returns the observation of a run that looks for the instances in this memory.
    pub fn observation(&self, memory: &Memory) -> Observation {
        let outcome = match self {
            Seen::Instances { answer, .. } => {
                let reply = |nth: &usize| InstanceReply {
                    instance: instance(*nth),
                    rtt: Some(Duration::from_millis(1)),
                };
                Outcome::Answered(answer.iter().map(reply).collect())
            }
            Seen::NoResponders => Outcome::NoResponders,
            Seen::Silent(_) => Outcome::Silent(Duration::from_secs(5)),
            Seen::Failed(reason) => Outcome::Failed(Failure::new(*reason, "why")),
        };
        let mut seen = Observation::new(NOW, outcome);
        seen.rounds = 1;
        seen.census = true;
        match self {
            Seen::Instances { answer, absent, queue } => {
                let is_absent = |id: &str| !answer.iter().any(|nth| INSTANCES[*nth].0 == id);
                let known = memory.known().iter().map(|instance| instance.id.clone());
                let asked = known.chain(memory.previously_missing()).chain(memory.before_outage());
                let mut absent_ids: Vec<String> = asked.filter(|id| is_absent(id)).collect();
                absent_ids.sort();
                absent_ids.dedup();
                seen.absent = absent_ids.into_iter().map(|id| (id, *absent)).collect();
                seen.queue_group = *queue;
            }
            Seen::Silent(silence) => seen.silence = *silence,
            _ => {}
        }
        seen
    }
}

/// Class of a run's knowledge of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Up,
    Empty,
    /// Nothing.
    Unknown,
    /// Silence that the user does not take for an outage.
    Silent,
}

impl Class {
    pub fn of(outcome: &Outcome, policy: &Policy) -> Class {
        match outcome {
            Outcome::Answered(_) => Class::Up,
            Outcome::Silent(_) if policy.silent != Status::Critical => Class::Silent,
            Outcome::NoResponders | Outcome::Silent(_) => Class::Empty,
            Outcome::Failed(_) => Class::Unknown,
        }
    }
}

impl Truth {
    /// The outage is forgotten.
    pub fn forget(&mut self) {
        *self = Truth {
            last: Some(0),
            went_and_came: std::mem::take(&mut self.went_and_came),
            ..Truth::default()
        };
    }

    pub fn wait(&mut self, pause: i64) {
        // Where the clock was set back, what is in the future counts as of now.
        let older = |ago: &mut i64| *ago = (*ago + pause).max(0);
        self.outage.iter_mut().for_each(|(ago, _)| older(ago));
        self.sizes.iter_mut().flatten().for_each(|(_, ago)| older(ago));
        self.latest_loss.iter_mut().for_each(older);
        // What is longer ago makes no difference.
        self.latest_loss.iter_mut().for_each(|ago| *ago = (*ago).min(SETTLE));
    }

    /// Takes in what the run learned, and returns whether an outage is over.
    pub fn learn(&mut self, seen: &Seen, class: Class) -> bool {
        match class {
            Class::Unknown | Class::Silent => false,
            Class::Empty => {
                if let (None, Some(count @ 1..)) = (self.outage, self.last) {
                    self.outage = Some((0, count));
                }
                self.last = Some(0);
                false
            }
            Class::Up => {
                let Seen::Instances { answer, .. } = seen else {
                    return false;
                };
                let latest = self.there.len();
                self.latest_loss = self.latest_loss.filter(|ago| *ago < SETTLE);
                if self.last.is_some() || self.outage.is_some() {
                    for nth in self.there.iter().filter(|nth| !answer.contains(nth)) {
                        self.latest_loss = Some(0);
                        self.went_and_came.entry(INSTANCES[*nth].1).or_default().0 += 1;
                    }
                    for nth in answer.iter().filter(|nth| !self.there.contains(nth)) {
                        self.went_and_came.entry(INSTANCES[*nth].1).or_default().1 += 1;
                    }
                }
                if latest > 0
                    && let Some(sizes) = &mut self.sizes
                {
                    sizes.push((latest, 0));
                }
                if latest == 0 {
                    self.sizes = Some(Vec::new());
                }
                self.sizes
                    .iter_mut()
                    .for_each(|sizes| sizes.retain(|(_, ago)| *ago < SETTLE));
                self.there.clone_from(answer);
                self.last = Some(answer.len());
                self.outage.take().is_some()
            }
        }
    }

    pub fn check_status(
        &self,
        verdict: &Verdict,
        class: Class,
        recovered: bool,
        policy: &Policy,
    ) -> Result<(), String> {
        let has = |reason: Reason| verdict.findings().iter().any(|finding| finding.reason == reason);
        let says_down =
            has(Reason::ServiceDown) || (has(Reason::ServiceSilent) && verdict.status() == Status::Critical);
        let told = || {
            verdict
                .findings()
                .iter()
                .map(|f| format!("{} {}: {}", f.status.name(), f.reason.name(), f.text))
                .collect::<Vec<_>>()
                .join("; ")
        };
        let wrong = |what: &str| Err(format!("{what}: {}", told()));
        if class != Class::Up && self.outage.is_some() && !(verdict.status() == Status::Critical && says_down) {
            return wrong("an open outage is not CRITICAL");
        }
        if says_down && self.outage.is_none() {
            return wrong("down without an outage");
        }
        if has(Reason::ServiceRecovered) != recovered {
            return wrong("recovered at the wrong time");
        }
        let no_flags = *policy == Policy::default();
        let expected = match (class, self.outage) {
            (Class::Up, _) if no_flags => Status::Ok,
            (Class::Unknown, None) if no_flags => Status::Unknown,
            (Class::Empty, None) if no_flags => Status::Unknown,
            _ => return Ok(()),
        };
        if verdict.status() != expected {
            return wrong("another status was expected");
        }
        Ok(())
    }

    pub fn check_memory(&self, memory: &Memory) -> Result<(), String> {
        let ago = |at: Timestamp| NOW.as_micros() - at.as_micros();
        let outage = memory
            .outage
            .as_ref()
            .map(|outage| (ago(outage.first_missed), outage.last_seen.count));
        ensure(
            outage == self.outage,
            &format!("the outage is {outage:?} and not {:?}", self.outage),
        )?;
        ensure(
            memory.epoch.as_ref().map(|epoch| epoch.count) == self.last,
            "another epoch is remembered",
        )?;
        let restarts = memory.changes.as_ref().map_or(0, |changes| changes.restarts);
        let possible: u64 = self.went_and_came.values().map(|(went, came)| went.min(came)).sum();
        ensure(
            restarts <= possible,
            &format!("{restarts} restarts, but {possible} at most"),
        )?;
        if let (Some(sizes), Some(baseline), Some(1..)) = (&self.sizes, &memory.baseline, self.last) {
            let largest = sizes
                .iter()
                .map(|(count, _)| *count)
                .chain([self.there.len()])
                .max()
                .unwrap_or(0);
            let count = baseline.count();
            ensure(
                count <= largest && count >= self.there.len(),
                &format!("the baseline is {count}, but {largest} instances were there"),
            )?;
            ensure(
                self.latest_loss.is_some() || count == largest,
                &format!("the baseline is {count} and not {largest}"),
            )?;
        }
        Ok(())
    }
}
