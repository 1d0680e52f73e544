//! What is remembered from run to run: epochs, the open outage, and since when NATS cannot be asked.

use std::collections::BTreeSet;
use std::time::Duration;

use super::changes::Changes;
use super::statistics::Statistics;
use crate::probe::known::{IdSet, KnownInstances};
use crate::probe::observation::{Answer, Fate, Instance, Observation, Outcome};
use crate::values::status::{Reason, Status};
use crate::values::timestamp::Timestamp;

/// How many instances are remembered by id, and how many of them with version and metadata. What is beyond is counted
/// only, so that the state stays small whatever a service says.
const REMEMBERED_IDS: usize = 4096;
pub const REMEMBERED_WORDS: usize = 256;

/// How many servers are remembered: those of a large cluster, and a few restarts.
const REMEMBERED_SERVERS: usize = 16;

/// How many epochs are remembered in brief.
pub const HISTORY: usize = 32;

/// An observation that answered the question: some instances, or confirmed none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epoch {
    pub at: Timestamp,
    /// How many instances there were.
    pub count: usize,
    /// The instances themselves, as far as they are remembered.
    pub instances: Vec<Instance>,
    /// The digest of all ids, where not all of them are remembered.
    pub digest: Option<u64>,
}

impl Epoch {
    /// The epoch in which these instances answered.
    pub fn new(at: Timestamp, answers: &[Answer]) -> Epoch {
        let instances = answers
            .iter()
            .take(REMEMBERED_IDS)
            .enumerate()
            .map(|(n, answer)| match n {
                0..REMEMBERED_WORDS => answer.instance.clone(),
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
            digest: (answers.len() > REMEMBERED_IDS).then(|| IdSet::of(ids).digest),
        }
    }

    /// Whether every instance is known by id, so that each can be asked for itself.
    pub fn is_complete(&self) -> bool {
        self.instances.len() == self.count
    }

    /// What the run of this other observation would have seen, had it been the one that saw this epoch.
    pub fn observed_like(&self, other: &Observation) -> Observation {
        let answer = |instance: &Instance| Answer {
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// The last epoch with instances: when it was, and who was there.
    pub last_seen: Epoch,
    /// The first epoch without.
    pub first_missed: Timestamp,
}

/// The number of instances that is normal: raised at once, and lowered only when fewer have been there for a while. So a
/// loss stays visible, and the new size of a service that was scaled down becomes normal.
///
/// A rolling deployment may start the new ones before it stops the old ones. So the baseline falls with the old ones that
/// leave a while after it rose, as far as it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Baseline {
    pub count: usize,
    /// Since when there are fewer, and how many of them there were at most.
    pub fewer: Option<(Timestamp, usize)>,
    /// How it rose lately.
    pub raised: Option<Raise>,
}

/// A rise of the baseline that a rolling deployment may take back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raise {
    /// What the baseline was before.
    pub from: usize,
    /// When it rose. Who was there before that is an old one.
    pub since: Timestamp,
    /// When it last rose, or fell with an old one that left.
    pub latest: Timestamp,
}

/// A service that grows by more at once is not being replaced.
const LARGEST_RAISE: usize = 128;

impl Baseline {
    pub fn new(count: usize) -> Baseline {
        Baseline {
            count,
            fewer: None,
            raised: None,
        }
    }

    /// The baseline after an epoch with this number of instances, more than none. An outage says nothing of what is normal.
    ///
    /// `old_ones_left`: how many have left since that were there before it rose ([`Raise::since`]).
    pub fn after(
        before: Option<Baseline>,
        at: Timestamp,
        count: usize,
        settle: Duration,
        old_ones_left: usize,
    ) -> Baseline {
        let Some(before) = before else {
            return Baseline::new(count);
        };
        let mut raised = before.raised.filter(|raise| at.since(raise.latest) < settle);
        let mut normal = before.count;
        if let Some(raise) = raised.as_mut().filter(|_| old_ones_left > 0) {
            normal = normal.saturating_sub(old_ones_left).max(raise.from).min(before.count);
            raise.latest = at;
        }
        if count > normal {
            let raise = Raise {
                latest: at,
                ..raised.unwrap_or(Raise {
                    from: normal,
                    since: at,
                    latest: at,
                })
            };
            let small = count.saturating_sub(raise.from) <= LARGEST_RAISE;
            return Baseline {
                raised: small.then_some(raise),
                ..Baseline::new(count)
            };
        }
        raised = raised.filter(|raise| raise.from < normal);
        if count == normal {
            return Baseline {
                raised,
                ..Baseline::new(count)
            };
        }
        let fewer = before.fewer.filter(|(_, most)| *most < normal);
        let (since, most) = fewer.map_or((at, count), |(since, most)| (since, most.max(count)));
        match at.since(since) >= settle {
            false => Baseline {
                count: normal,
                fewer: Some((since, most)),
                raised,
            },
            true => Baseline {
                fewer: (count < most).then_some((at, count)),
                ..Baseline::new(most)
            },
        }
    }
}

/// Since when NATS cannot be asked, and why not at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub since: Timestamp,
    pub reason: Reason,
}

/// An epoch in brief.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Brief {
    pub at: Timestamp,
    pub count: usize,
}

/// An instance that answered before and does not any more, while others do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absentee {
    pub instance: Instance,
    /// The first epoch without it.
    pub since: Timestamp,
    pub fate: Fate,
}

/// Everything that is remembered about one question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Counts the runs that changed this memory, so that a run can tell whether another one was faster.
    pub sequence: u64,
    /// The status of the latest verdict.
    pub status: Option<Status>,
    pub epoch: Option<Epoch>,
    pub outage: Option<Outage>,
    pub baseline: Option<Baseline>,
    /// Who went missing lately, latest first.
    pub absentees: Vec<Absentee>,
    /// Since when the instances have been of more than one version.
    pub mixed_since: Option<Timestamp>,
    pub trouble: Option<Trouble>,
    /// When everybody was last waited for, not only the instances already known.
    pub census: Option<Timestamp>,
    /// The ids of the servers that were asked lately, latest first.
    pub servers: Vec<String>,
    /// The latest epochs, oldest first.
    pub history: Vec<Brief>,
    /// What the instances have counted; nothing where it was never asked for.
    pub statistics: Option<Statistics>,
    /// Who came and who went; nothing before two epochs could be compared.
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
            }) => KnownInstances::Counted(IdSet {
                count: *count,
                digest: *digest,
            }),
            _ => KnownInstances::Ids(self.known().iter().map(|instance| instance.id.clone()).collect()),
        }
    }

    /// Whether the last epoch had no instances, whatever was before.
    pub fn is_absent(&self) -> bool {
        self.outage.is_some() || self.epoch.as_ref().is_some_and(|epoch| epoch.count == 0)
    }

    /// The instances of the last epoch that had any, before an open outage too, if all of them are known.
    pub fn last_known(&self) -> Option<&[Instance]> {
        let last_seen = self.outage.as_ref().map(|outage| &outage.last_seen);
        let epoch = self.epoch.as_ref().filter(|epoch| epoch.count > 0).or(last_seen)?;
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

    /// Whether an instance was there in the last epoch, or is missed since.
    pub fn has_seen_any(&self) -> bool {
        self.outage.is_some() || self.epoch.as_ref().is_some_and(|epoch| epoch.count > 0)
    }

    /// When an instance was last there.
    pub fn last_seen(&self) -> Option<Timestamp> {
        let epoch = self.epoch.as_ref().filter(|epoch| epoch.count > 0);
        epoch
            .or(self.outage.as_ref().map(|outage| &outage.last_seen))
            .map(|epoch| epoch.at)
    }

    /// Remembers which server was asked, by its id.
    pub fn enter_server(&mut self, id: &str) {
        self.servers.retain(|known| known != id);
        self.servers.insert(0, id.to_owned());
        self.servers.truncate(REMEMBERED_SERVERS);
    }

    /// Makes this epoch the latest one.
    pub fn enter(&mut self, epoch: Epoch) {
        self.history.push(Brief {
            at: epoch.at,
            count: epoch.count,
        });
        let surplus = self.history.len().saturating_sub(HISTORY);
        self.history.drain(..surplus);
        self.epoch = Some(epoch);
        self.trouble = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(count: usize) -> Vec<Answer> {
        (0..count)
            .map(|n| Answer {
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
        assert_eq!(epoch.instances.len(), REMEMBERED_IDS);
        assert_eq!(epoch.instances[REMEMBERED_WORDS - 1].version, "1.2.3");
        assert_eq!(epoch.instances[REMEMBERED_WORDS].version, "");
        assert!(!epoch.is_complete());
        let mut memory = Memory::default();
        memory.enter(epoch);
        assert!(
            memory.known().is_empty(),
            "nobody can be asked for where not everybody is known"
        );
        let ids: Vec<String> = (0..10_000).map(|n| format!("id{n}")).collect();
        let all = IdSet::of(ids.iter().map(String::as_str));
        assert_eq!(
            memory.known_instances(),
            KnownInstances::Counted(all),
            "but all of them are expected"
        );
    }

    #[test]
    fn the_servers_asked_last_are_remembered() {
        let mut memory = Memory::default();
        for id in ["N1", "N2", "N1"] {
            memory.enter_server(id);
        }
        assert_eq!(memory.servers, ["N1", "N2"]);
        for n in 0..100 {
            memory.enter_server(&format!("N{n}"));
        }
        assert_eq!(memory.servers.len(), REMEMBERED_SERVERS);
        assert_eq!(memory.servers[0], "N99");
    }

    #[test]
    fn the_history_keeps_the_latest() {
        let mut memory = Memory::default();
        for second in 0..100 {
            memory.enter(Epoch::new(Timestamp::from_micros(second), &answers(2)));
        }
        assert_eq!(memory.history.len(), HISTORY);
        assert_eq!(memory.history[0].at, Timestamp::from_micros(100 - HISTORY as i64));
        assert_eq!(memory.known().len(), 2);
    }

    #[test]
    fn a_baseline_rises_at_once_and_falls_when_it_has_settled() {
        let at = Timestamp::from_seconds;
        let settle = Duration::from_secs(900);
        // Each epoch: when, how many, and the baseline after it.
        let steps: &[&[(i64, usize, usize)]] = &[
            &[(0, 3, 3), (60, 5, 5), (120, 4, 5), (180, 5, 5)],
            &[(0, 3, 3), (60, 2, 3), (959, 2, 3), (960, 2, 2)],
            // The most that were there meanwhile are normal; fewer than these have to settle again.
            &[
                (0, 5, 5),
                (60, 2, 5),
                (120, 4, 5),
                (180, 1, 5),
                (960, 1, 4),
                (1859, 1, 4),
                (1860, 1, 1),
            ],
            // All back: from then on it begins anew.
            &[(0, 3, 3), (60, 2, 3), (900, 3, 3), (960, 2, 3), (1020, 2, 3)],
        ];
        for steps in steps {
            let mut baseline = None;
            for (second, count, expected) in *steps {
                let after = Baseline::after(baseline, at(*second), *count, settle, 0);
                assert_eq!(after.count, *expected, "{steps:?} at {second}");
                baseline = Some(after);
            }
        }
    }

    /// Each epoch: when, how many, how many old ones left, and the baseline after it.
    #[test]
    fn a_baseline_falls_with_the_old_ones_that_leave_after_it_rose() {
        let at = Timestamp::from_seconds;
        let settle = Duration::from_secs(900);
        let steps: &[&[(i64, usize, usize, usize)]] = &[
            // A rolling deployment, one by one, and one that always has one more until its end.
            &[
                (0, 3, 0, 3),
                (60, 4, 0, 4),
                (120, 3, 1, 3),
                (180, 4, 0, 4),
                (240, 3, 1, 3),
            ],
            &[
                (0, 3, 0, 3),
                (600, 4, 0, 4),
                (1200, 4, 1, 4),
                (1800, 4, 1, 4),
                (2400, 3, 1, 3),
            ],
            // Two more at first, which leave one by one.
            &[
                (0, 3, 0, 3),
                (60, 4, 0, 4),
                (120, 5, 0, 5),
                (180, 4, 1, 4),
                (240, 3, 1, 3),
            ],
            // Fewer than before it: of these, those are lost that were there before.
            &[(0, 3, 0, 3), (60, 4, 0, 4), (120, 2, 2, 3), (180, 1, 1, 3)],
            // A new one that died is lost, until an old one leaves for it.
            &[(0, 3, 0, 3), (60, 4, 0, 4), (120, 3, 0, 4), (180, 3, 1, 3)],
            &[
                (0, 3, 0, 3),
                (60, 4, 0, 4),
                (1019, 3, 0, 4),
                (1918, 3, 0, 4),
                (1919, 3, 0, 3),
            ],
            // It rose long ago, or all at once by too many.
            &[(0, 3, 0, 3), (60, 4, 0, 4), (960, 3, 1, 4)],
            &[(0, 3, 0, 3), (60, 400, 0, 400), (120, 300, 100, 400)],
            // Never rose.
            &[(0, 3, 0, 3), (60, 2, 1, 3), (120, 1, 1, 3)],
            // Both at once.
            &[(0, 3, 0, 3), (60, 4, 1, 4), (120, 3, 2, 3)],
        ];
        for steps in steps {
            let mut baseline = None;
            for (second, count, old, expected) in *steps {
                let after = Baseline::after(baseline, at(*second), *count, settle, *old);
                assert_eq!(after.count, *expected, "{steps:?} at {second}");
                assert!(after.count >= *count);
                baseline = Some(after);
            }
        }
    }
}
