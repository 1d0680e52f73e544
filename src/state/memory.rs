//! The memory from run to run: checks that got an answer, the open outage, and since when NATS cannot be asked.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::baseline::Baseline;
use super::changes::Changes;
use super::fields::{self, MAX_INSTANCES};
use super::statistics::Statistics;
use crate::probe::known::{IdFingerprint, KnownInstances};
use crate::probe::observation::{Fate, Instance, InstanceReply, Observation, Outcome};
use crate::values::status::{Reason, Status};
use crate::values::timestamp::Timestamp;

/// Maximum number of instances that are remembered with version and metadata.
pub const MAX_DESCRIBED: usize = 256;

/// Maximum number of epochs that are remembered in brief.
pub const MAX_HISTORY: usize = 32;

/// An observation that answered the question: some instances, or confirmed none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epoch {
    pub at: Timestamp,
    /// Number of instances.
    pub count: usize,
    /// The instances themselves, as far as they are remembered.
    #[serde(with = "fields::InstanceList")]
    pub instances: Vec<Instance>,
    /// The digest of all ids, where not all of them are remembered.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "fields::HexDigest")]
    pub digest: Option<u64>,
}

impl Epoch {
    /// The epoch in which these instances answered.
    pub fn new(at: Timestamp, answers: &[InstanceReply]) -> Epoch {
        let instances = answers
            .iter()
            .take(MAX_INSTANCES)
            .enumerate()
            .map(|(n, answer)| match n {
                0..MAX_DESCRIBED => answer.instance.clone(),
                _ => Instance {
                    id: answer.instance.id.clone(),
                    version: String::new(),
                    metadata: Vec::new(),
                },
            })
            .collect();
        let ids = answers.iter().map(|answer| answer.instance.id.as_str());
        Epoch {
            at,
            count: answers.len(),
            instances,
            digest: (answers.len() > MAX_INSTANCES).then(|| IdFingerprint::of(ids).digest),
        }
    }

    /// Returns `true` if every instance is known by id, so that each can be asked for itself.
    pub fn is_complete(&self) -> bool {
        self.instances.len() == self.count
    }

    /// Returns the observation that the run of this other observation would have made, had it seen this epoch.
    pub fn observed_like(&self, other: &Observation) -> Observation {
        let answer = |instance: &Instance| InstanceReply {
            instance: instance.clone(),
            rtt: None,
        };
        Observation {
            at: self.at,
            outcome: match self.count {
                0 => Outcome::NoResponders,
                _ => Outcome::Answered(self.instances.iter().map(answer).collect()),
            },
            ..other.clone()
        }
    }
}

/// The time without instances after an epoch with some. It ends when an instance answers again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outage {
    /// The last epoch with instances: when it was, and who was there.
    pub last_seen: Epoch,
    /// The first epoch without.
    pub first_missed: Timestamp,
}

/// Since when NATS cannot be asked, and why not at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreachable {
    pub since: Timestamp,
    pub reason: Reason,
}

/// An epoch in brief.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochSummary {
    pub at: Timestamp,
    pub count: usize,
    /// Since when NATS could not be asked, if that was so just before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_asked_since: Option<Timestamp>,
}

impl EpochSummary {
    /// The epoch before which NATS could be asked.
    pub const fn new(at: Timestamp, count: usize) -> EpochSummary {
        EpochSummary {
            at,
            count,
            not_asked_since: None,
        }
    }
}

/// An instance that answered before and does not any more, while others do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absentee {
    #[serde(with = "fields::InstanceFields")]
    pub instance: Instance,
    /// The first epoch without it.
    pub since: Timestamp,
    #[serde(with = "fields::FateWord")]
    pub fate: Fate,
}

/// Everything that is remembered about one question, as it is written to the state file.
///
/// Options that have always been there must be in the file: one that does not speak of an outage is no whole one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Counts the runs that changed this memory, so that a run can tell whether another one was faster.
    pub sequence: u64,
    /// The status of the latest verdict.
    #[serde(deserialize_with = "Option::deserialize")]
    pub status: Option<Status>,
    #[serde(deserialize_with = "Option::deserialize")]
    pub epoch: Option<Epoch>,
    #[serde(deserialize_with = "Option::deserialize")]
    pub outage: Option<Outage>,
    pub baseline: Option<Baseline>,
    /// Instances that went missing lately, latest first.
    #[serde(default, deserialize_with = "fields::at_most::<MAX_INSTANCES, _, _>")]
    pub absentees: Vec<Absentee>,
    /// Since when the instances have been of more than one version.
    pub mixed_since: Option<Timestamp>,
    #[serde(rename = "not_asked", deserialize_with = "Option::deserialize")]
    pub unreachable: Option<Unreachable>,
    /// When everybody was last waited for, not only the instances already known.
    #[serde(deserialize_with = "Option::deserialize")]
    pub census: Option<Timestamp>,
    /// The latest epochs, oldest first.
    #[serde(deserialize_with = "fields::at_most::<MAX_HISTORY, _, _>")]
    pub history: Vec<EpochSummary>,
    /// Counters of the instances; `None` if they were never requested.
    pub statistics: Option<Statistics>,
    /// Arrivals and departures of instances; `None` before two checks could be compared.
    pub changes: Option<Changes>,
}

impl Memory {
    /// The instances to expect, if all of them are known.
    pub fn known(&self) -> &[Instance] {
        match &self.epoch {
            Some(epoch) if epoch.is_complete() => &epoch.instances,
            _ => &[],
        }
    }

    /// The instances to expect, so that one can tell when all have answered.
    pub fn known_instances(&self) -> KnownInstances {
        match &self.epoch {
            Some(Epoch {
                count,
                digest: Some(digest),
                ..
            }) => KnownInstances::Counted(IdFingerprint {
                count: *count,
                digest: *digest,
            }),
            _ => KnownInstances::Ids(self.known().iter().map(|instance| instance.id.clone()).collect()),
        }
    }

    /// Returns `true` if the last epoch had no instances, whatever was before.
    pub fn is_absent(&self) -> bool {
        self.outage.is_some() || self.epoch.as_ref().is_some_and(|epoch| epoch.count == 0)
    }

    /// The latest epoch, if it had instances.
    pub fn epoch_with_instances(&self) -> Option<&Epoch> {
        self.epoch.as_ref().filter(|epoch| epoch.count > 0)
    }

    /// The last epoch that had instances, before an open outage too.
    pub fn last_seen(&self) -> Option<&Epoch> {
        let before_outage = self.outage.as_ref().map(|outage| &outage.last_seen);
        self.epoch_with_instances().or(before_outage)
    }

    /// Returns `true` if the service had instances once, so that it is missed when it has none.
    pub fn is_remembered(&self) -> bool {
        self.last_seen().is_some()
    }

    /// The instances of the last epoch that had any, if all of them are known.
    pub fn last_known(&self) -> Option<&[Instance]> {
        let epoch = self.last_seen()?;
        (epoch.count > 0 && epoch.is_complete()).then_some(&epoch.instances)
    }

    /// The ids of instances that did not answer, or could not be asked: they may answer again, or be gone by now.
    pub fn previously_missing(&self) -> BTreeSet<String> {
        let absent = self.absentees.iter().filter(|absentee| absentee.fate != Fate::Gone);
        let at = self.epoch.as_ref().map(|epoch| epoch.at);
        let in_doubt = at.and_then(|at| Some(self.changes.as_ref()?.in_doubt(at).map(str::to_owned)));
        absent
            .map(|absentee| absentee.instance.id.clone())
            .chain(in_doubt.into_iter().flatten())
            .collect()
    }

    /// The ids of those that were there before the open outage.
    pub fn before_outage(&self) -> Vec<String> {
        let last_seen = self.outage.iter().flat_map(|outage| &outage.last_seen.instances);
        last_seen.map(|instance| instance.id.clone()).collect()
    }

    /// The latest epoch, if a run that overlaps saw it after this observation, and after `peeked` was read.
    pub fn newer_epoch(&self, peeked: &Memory, seen: &Observation) -> Option<&Epoch> {
        let is_epoch = !matches!(seen.outcome, Outcome::Failed(_));
        let newer = |epoch: &&Epoch| epoch.at > seen.at && epoch.is_complete();
        (is_epoch && self.sequence != peeked.sequence)
            .then_some(self.epoch.as_ref())?
            .filter(newer)
    }

    /// Makes this epoch the latest one.
    pub fn enter(&mut self, epoch: Epoch) {
        self.history.push(EpochSummary {
            not_asked_since: self.unreachable.map(|unreachable| unreachable.since),
            ..EpochSummary::new(epoch.at, epoch.count)
        });
        let surplus = self.history.len().saturating_sub(MAX_HISTORY);
        self.history.drain(..surplus);
        self.epoch = Some(epoch);
        self.unreachable = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::observation::Failure;
    use crate::state::changes::{Change, ChangeKind};

    fn answers(count: usize) -> Vec<InstanceReply> {
        (0..count)
            .map(|n| InstanceReply {
                instance: Instance {
                    id: format!("id{n}"),
                    version: "1.2.3".into(),
                    metadata: vec![("pod".into(), "web-0".into())],
                },
                rtt: None,
            })
            .collect()
    }

    #[test]
    fn ten_thousand_instances_are_counted_and_not_all_remembered() {
        let epoch = Epoch::new(Timestamp::from_micros(0), &answers(10_000));
        assert_eq!(epoch.count, 10_000);
        assert_eq!(epoch.instances.len(), MAX_INSTANCES);
        assert_eq!(epoch.instances[MAX_DESCRIBED - 1].version, "1.2.3");
        assert_eq!(epoch.instances[MAX_DESCRIBED].version, "");
        assert!(!epoch.is_complete());
        let mut memory = Memory::default();
        memory.enter(epoch);
        assert!(
            memory.known().is_empty(),
            "nobody can be asked for where not everybody is known"
        );
        let ids: Vec<String> = (0..10_000).map(|n| format!("id{n}")).collect();
        let all = IdFingerprint::of(ids.iter().map(String::as_str));
        assert_eq!(
            memory.known_instances(),
            KnownInstances::Counted(all),
            "but all of them are expected"
        );
    }

    #[test]
    fn digest_of_many_ids_is_read_as_it_was_written() {
        for count in [1, MAX_INSTANCES + 1] {
            let epoch = epoch(10, count);
            assert_eq!(epoch.digest.is_some(), count > MAX_INSTANCES);
            let text = serde_json::to_string(&epoch).expect("JSON");
            assert_eq!(serde_json::from_str::<Epoch>(&text).expect("an epoch"), epoch);
        }
    }

    #[test]
    fn history_has_the_times_when_nats_was_not_asked() {
        let at = Timestamp::from_seconds;
        let mut memory = Memory::default();
        memory.enter(Epoch::new(at(10), &answers(2)));
        memory.unreachable = Some(Unreachable {
            since: at(20),
            reason: Reason::NatsUnreachable,
        });
        memory.enter(Epoch::new(at(30), &answers(2)));
        memory.enter(Epoch::new(at(40), &answers(2)));
        let gaps: Vec<_> = memory.history.iter().map(|epoch| epoch.not_asked_since).collect();
        assert_eq!(gaps, [None, Some(at(20)), None]);
    }

    /// An epoch with so many instances at this second.
    fn epoch(second: i64, count: usize) -> Epoch {
        Epoch::new(Timestamp::from_seconds(second), &answers(count))
    }

    #[test]
    fn epoch_of_an_overlapping_run_counts_if_it_is_newer() {
        let at = Timestamp::from_seconds;
        let memory = |sequence, epoch| Memory {
            sequence,
            epoch,
            ..Memory::default()
        };
        let answered = || Outcome::Answered(answers(3));
        let failed = || Outcome::Failed(Failure::new(Reason::NatsUnreachable, ""));
        let too_many = MAX_INSTANCES + 1;
        // The run began with sequence 7, and saw its outcome at second 40. Meanwhile: the sequence and the epoch.
        let cases = [
            (8, Some(epoch(50, 2)), answered(), true),
            (8, Some(epoch(50, 2)), Outcome::NoResponders, true),
            (8, Some(epoch(50, 0)), answered(), true),
            // Nobody wrote it, or only one that could not ask.
            (7, Some(epoch(50, 2)), answered(), false),
            (8, None, answered(), false),
            // It is older, or not known to its end.
            (8, Some(epoch(40, 2)), answered(), false),
            (8, Some(epoch(30, 2)), answered(), false),
            (8, Some(epoch(50, too_many)), answered(), false),
            // This run has no epoch.
            (8, Some(epoch(50, 2)), failed(), false),
        ];
        let peeked = memory(7, Some(epoch(20, 3)));
        for (sequence, epoch, outcome, counts) in cases {
            let memory = memory(sequence, epoch);
            let seen = Observation::new(at(40), outcome);
            let expected = memory.epoch.as_ref().filter(|_| counts);
            assert_eq!(memory.newer_epoch(&peeked, &seen), expected, "{memory:?} {seen:?}");
        }
    }

    #[test]
    fn instances_that_may_come_back_are_asked_for() {
        let instance = |n: usize| answers(n + 1).remove(n).instance;
        let absentee = |n, fate| Absentee {
            instance: instance(n),
            since: Timestamp::from_seconds(10),
            fate,
        };
        let change = |second, what, n| Change {
            at: Timestamp::from_seconds(second),
            what,
            instance: instance(n),
        };
        let came = ChangeKind::Arrived { replaces: None };
        let log = vec![
            change(30, ChangeKind::Missing, 4),
            change(30, ChangeKind::Left, 5),
            change(30, came, 6),
        ];
        let memory = Memory {
            epoch: Some(epoch(40, 1)),
            absentees: vec![
                absentee(1, Fate::NotAnswering),
                absentee(2, Fate::Gone),
                absentee(3, Fate::NotAsked),
            ],
            changes: Some(Changes { restarts: 0, log }),
            ..Memory::default()
        };
        assert_eq!(
            memory.previously_missing(),
            BTreeSet::from(["id1", "id3", "id4"].map(str::to_owned))
        );
        assert!(memory.before_outage().is_empty());
        let down = Memory {
            epoch: Some(epoch(40, 0)),
            outage: Some(Outage {
                last_seen: epoch(20, 2),
                first_missed: Timestamp::from_seconds(40),
            }),
            ..Memory::default()
        };
        assert!(down.previously_missing().is_empty());
        assert_eq!(down.before_outage(), ["id0", "id1"]);
        assert_eq!(down.last_known().map(<[_]>::len), Some(2));
        let empty = Memory {
            outage: Some(Outage {
                last_seen: epoch(20, 0),
                first_missed: Timestamp::from_seconds(40),
            }),
            ..Memory::default()
        };
        assert_eq!(empty.last_known(), None);
        // Nobody is there, whatever was before.
        let never = Memory {
            epoch: Some(epoch(40, 0)),
            ..Memory::default()
        };
        let without_epoch = Memory {
            epoch: None,
            ..down.clone()
        };
        let absent = [down, never, without_epoch, memory, Memory::default()];
        assert_eq!(
            absent.map(|memory| memory.is_absent()),
            [true, true, true, false, false]
        );
    }

    #[test]
    fn the_history_keeps_the_latest() {
        let mut memory = Memory::default();
        for second in 0..100 {
            memory.enter(Epoch::new(Timestamp::from_micros(second), &answers(2)));
        }
        assert_eq!(memory.history.len(), MAX_HISTORY);
        assert_eq!(memory.history[0].at, Timestamp::from_micros(100 - MAX_HISTORY as i64));
        assert_eq!(memory.known().len(), 2);
    }
}
