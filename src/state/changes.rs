//! The changes between checks: instances that arrived or left, and those of them that are restarts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::fields;
use crate::probe::observation::{Fate, Instance, InstanceReply, names_a_place};
use crate::values::timestamp::Timestamp;

/// Maximum number of changes that are remembered, and their maximum age.
pub const MAX_CHANGES: usize = 256;
pub const KEPT: Duration = Duration::from_secs(86_400);

/// Maximum number of restarts that can be distinguished: each is made of two changes, with room for others beside them.
pub const MAX_RESTARTS: usize = 100;

/// For how long an instance that does not answer is asked for itself.
const ASKED: Duration = Duration::from_secs(900);

/// Kind of a change: what became of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum ChangeKind {
    /// It is new. If it took the place of one of the same version that had left, that is a restart.
    Arrived {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaces: Option<String>,
    },
    /// It does not answer, and whether it is gone is not known. It may come back, and then it never went.
    Missing,
    /// The server knows nobody by its id.
    Left,
}

impl ChangeKind {
    /// As told, and as kept in the state.
    pub fn name(&self) -> &'static str {
        match self {
            ChangeKind::Arrived { .. } => "arrived",
            ChangeKind::Missing => "missing",
            ChangeKind::Left => "left",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The epoch that saw it.
    pub at: Timestamp,
    #[serde(flatten)]
    pub what: ChangeKind,
    /// Of its metadata, only what names its place.
    #[serde(flatten, with = "fields::PlacedInstance")]
    pub instance: Instance,
}

impl Change {
    /// The id in whose place this one came.
    pub fn replaces(&self) -> Option<&str> {
        match &self.what {
            ChangeKind::Arrived { replaces } => replaces.as_deref(),
            _ => None,
        }
    }

    /// The metadata that names the place of the instance.
    pub fn place(&self) -> Option<(&str, &str)> {
        let place = self.instance.metadata.first();
        place.map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

/// An epoch and the one before it, as far as they matter here.
#[derive(Clone, Copy)]
pub struct Epochs<'a> {
    /// Instances of the check before: all, by id.
    pub before: &'a [Instance],
    /// Number of these whose versions are known too.
    pub with_versions: usize,
    pub at: Timestamp,
    pub answers: &'a [InstanceReply],
    /// The fates of the instances that did not answer.
    pub absent: &'a [(String, Fate)],
    /// Set if a wildcard subscriber is known to hide which instances are gone.
    pub hidden: bool,
    /// The beginning of the outage that this epoch ends: since then all of `before` have been away.
    pub away_since: Option<Timestamp>,
}

/// The time for which an instance has been away when another one counts as its replacement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Succession {
    /// Minimum: after a restart of NATS it may still connect again.
    pub confirm: Duration,
    /// Maximum.
    pub window: Duration,
}

/// Instances that arrived or left, latest last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// Number of restarts since the service is known; it never falls.
    pub restarts: u64,
    #[serde(deserialize_with = "fields::at_most::<MAX_CHANGES, _, _>")]
    pub log: Vec<Change>,
}

impl Changes {
    /// The changes after an epoch in which instances answered.
    ///
    /// An instance is gone only when the server says so; one that is missing and comes back never went. An arrival takes the
    /// place of one that left in time and was of the same version; or that went missing, where the server does not say who is gone
    /// and it is silent for the second time.
    #[must_use]
    pub fn after(before: Option<&Changes>, epochs: Epochs<'_>, succession: Succession) -> Changes {
        let mut next = before.cloned().unwrap_or_default();
        let absent: BTreeSet<String> = next.not_there().map(|change| change.instance.id.clone()).collect();
        let answered: BTreeMap<&str, &Instance> = epochs
            .answers
            .iter()
            .map(|answer| (answer.instance.id.as_str(), &answer.instance))
            .collect();
        next.drop_returned(&answered);
        // Which instances the others replaced could not be reported.
        for instance in epochs.before.iter().take(epochs.with_versions) {
            if !answered.contains_key(instance.id.as_str()) && !absent.contains(&instance.id) {
                next.push(epochs.at, ChangeKind::Missing, instance);
            }
        }
        let left = next.mark_left(epochs.at, epochs.absent);
        let known: BTreeSet<&str> = epochs.before.iter().map(|instance| instance.id.as_str()).collect();
        let arrivals: Vec<&Instance> = answered
            .values()
            .copied()
            .filter(|instance| !known.contains(instance.id.as_str()) && !absent.contains(&instance.id))
            .collect();
        next.add_arrivals(epochs.at, arrivals);
        next.pair_arrivals(&epochs, &left, succession);
        next.trim(epochs.at);
        next
    }

    /// Those that left, or may have.
    fn not_there(&self) -> impl Iterator<Item = &Change> {
        self.log
            .iter()
            .filter(|change| !matches!(change.what, ChangeKind::Arrived { .. }))
    }

    /// Removes the absences of instances that answer; what was taken for the replacement of one of them was none.
    fn drop_returned(&mut self, answered: &BTreeMap<&str, &Instance>) {
        let is_back = |id: &str| answered.contains_key(id);
        self.log.retain_mut(|change| match &mut change.what {
            ChangeKind::Arrived { replaces } => {
                replaces.take_if(|id| is_back(id));
                true
            }
            ChangeKind::Missing | ChangeKind::Left => !is_back(&change.instance.id),
        });
    }

    /// Of those that are missing, some are gone. Returns since when these have been missing, by id.
    fn mark_left(&mut self, at: Timestamp, absent: &[(String, Fate)]) -> BTreeMap<String, Timestamp> {
        let gone: BTreeSet<&str> = absent
            .iter()
            .filter(|(_, fate)| *fate == Fate::Gone)
            .map(|(id, _)| id.as_str())
            .collect();
        let is_gone =
            |change: &mut Change| change.what == ChangeKind::Missing && gone.contains(change.instance.id.as_str());
        let left: Vec<Change> = self.log.extract_if(.., is_gone).collect();
        let missing_since = left.iter().map(|change| (change.instance.id.clone(), change.at));
        let missing_since = missing_since.collect();
        self.log.extend(left.into_iter().map(|change| Change {
            at,
            what: ChangeKind::Left,
            ..change
        }));
        missing_since
    }

    fn add_arrivals(&mut self, at: Timestamp, arrivals: Vec<&Instance>) {
        for instance in arrivals {
            self.push(at, ChangeKind::Arrived { replaces: None }, instance);
        }
    }

    /// Each newcomer takes the place of one that left before it came: of one at the same place, else of the first that left.
    /// `left`: since when those have been missing that are gone now.
    fn pair_arrivals(&mut self, epochs: &Epochs<'_>, left: &BTreeMap<String, Timestamp>, succession: Succession) {
        let at = epochs.at;
        let silent = epochs.absent.iter().filter(|(_, fate)| *fate == Fate::NotAnswering);
        let silent: BTreeSet<&str> = silent.filter(|_| epochs.hidden).map(|(id, _)| id.as_str()).collect();
        let taken: BTreeSet<&str> = self.log.iter().filter_map(Change::replaces).collect();
        // Each with the time since when it has been away.
        let mut free: Vec<(Change, Timestamp)> = self
            .log
            .iter()
            .filter(|change| match change.what {
                ChangeKind::Left => true,
                ChangeKind::Missing => change.at < at && silent.contains(change.instance.id.as_str()),
                ChangeKind::Arrived { .. } => false,
            })
            .filter(|change| !taken.contains(change.instance.id.as_str()))
            .map(|change| {
                let missed = left.get(&change.instance.id).copied().unwrap_or(change.at);
                let since = epochs.away_since.filter(|_| missed == at).unwrap_or(missed);
                (change.clone(), since)
            })
            // A clock that was set back makes nobody wait.
            .filter(|(_, since)| at < *since || at.since(*since) >= succession.confirm)
            .collect();
        for same_place in [true, false] {
            for arrival in &mut self.log {
                // However long ago the check before was.
                let fits = |(gone, since): &(Change, Timestamp)| {
                    (arrival.at == at || arrival.at >= *since)
                        && arrival.at.since(gone.at) < succession.window
                        && arrival.instance.id != gone.instance.id
                        && arrival.instance.version == gone.instance.version
                        && (!same_place || arrival.place().is_some() && gone.place() == arrival.place())
                };
                if arrival.what == (ChangeKind::Arrived { replaces: None })
                    && let Some(n) = free.iter().position(fits)
                {
                    let replaces = Some(free.remove(n).0.instance.id);
                    arrival.what = ChangeKind::Arrived { replaces };
                    self.restarts = self.restarts.saturating_add(1);
                }
            }
        }
    }

    /// Returns whether a restart is presumed: the server does not confirm that the replaced instance is gone.
    pub fn is_presumed(&self, restart: &Change) -> bool {
        let is_replaced = |change: &Change| restart.replaces() == Some(&change.instance.id);
        self.log
            .iter()
            .any(|change| change.what == ChangeKind::Missing && is_replaced(change))
    }

    /// Returns `true` if more instances left within the time before `at` than arrived: of any version, so that a rollout does not
    /// count.
    pub fn lack_a_successor(&self, window: Duration, at: Timestamp) -> bool {
        let recent = self.log.iter().filter(|change| at.since(change.at) < window);
        let (came, went): (Vec<_>, Vec<_>) =
            recent.partition(|change| matches!(change.what, ChangeKind::Arrived { .. }));
        went.len() > came.len()
    }

    fn push(&mut self, at: Timestamp, what: ChangeKind, instance: &Instance) {
        let instance = in_brief(instance);
        self.log.push(Change { at, what, instance });
    }

    /// Forgets what is old, and what is too much.
    fn trim(&mut self, at: Timestamp) {
        self.log.retain(|change| at.since(change.at) < KEPT);
        self.keep(MAX_CHANGES);
    }

    /// Keeps at most so many changes, the latest, and forgets first of all who only came, but for those that may make restarts by the
    /// next check: as many as there is room for.
    pub fn keep(&mut self, max: usize) {
        if self.log.len() <= max {
            return;
        }
        let Some(latest) = self.log.iter().map(|change| change.at).max() else {
            return;
        };
        let waiting = self.waiting(latest, max / 2);
        // The arrival of one that has left is none of them.
        let is_waiting = |change: &Change| {
            let is_new = !matches!(change.what, ChangeKind::Arrived { .. }) || change.at == latest;
            is_new && waiting.contains(&change.instance.id)
        };
        let mut surplus = self.log.len().saturating_sub(max);
        let mut retain = |is_dispensable: &dyn Fn(&Change) -> bool| {
            self.log.retain(|change| {
                let drop = surplus > 0 && is_dispensable(change) && !is_waiting(change);
                surplus -= usize::from(drop);
                !drop
            });
        };
        retain(&|change| change.what == ChangeKind::Arrived { replaces: None });
        retain(&|change| change.what == ChangeKind::Missing);
        retain(&|_| true);
    }

    /// The ids of those that came in the latest check with changes and of as many that left before, of the same version: they may
    /// make restarts. At most so many pairs.
    fn waiting(&self, latest: Timestamp, max: usize) -> BTreeSet<String> {
        let taken: BTreeSet<&str> = self.log.iter().filter_map(Change::replaces).collect();
        let mut gone: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for Change { instance, .. } in self.not_there() {
            if !taken.contains(instance.id.as_str()) {
                gone.entry(&instance.version).or_default().push(&instance.id);
            }
        }
        let newcomers = self
            .log
            .iter()
            .filter(|change| change.at == latest && change.what == ChangeKind::Arrived { replaces: None });
        let pairs = newcomers.filter_map(|Change { instance, .. }| {
            let gone = gone.get_mut(instance.version.as_str())?.pop()?;
            Some([gone.to_owned(), instance.id.clone()])
        });
        pairs.take(max).flatten().collect()
    }

    /// The restarts of the time before `at`, latest last.
    pub fn restarts_within(&self, window: Duration, at: Timestamp) -> Vec<&Change> {
        let recent = |change: &&Change| change.replaces().is_some() && at.since(change.at) < window;
        self.log.iter().filter(recent).collect()
    }

    /// The same for the verdict of a check: those that it has found count however long ago the check before was, which saw the new
    /// instance, and not yet that it took the place of another one. `before`: what was known then.
    pub fn restarts_to_judge(&self, window: Duration, at: Timestamp, before: Option<&Changes>) -> Vec<&Change> {
        let known: BTreeSet<&str> = before
            .iter()
            .flat_map(|before| &before.log)
            .filter(|change| change.replaces().is_some())
            .map(|change| change.instance.id.as_str())
            .collect();
        let counts = |change: &&Change| at.since(change.at) < window || !known.contains(change.instance.id.as_str());
        let restarts = self.log.iter().filter(|change| change.replaces().is_some());
        restarts.filter(counts).collect()
    }

    /// Returns the number of instances that left in this check and had been there before `since`.
    pub fn old_ones_left(&self, at: Timestamp, since: Timestamp) -> usize {
        let new: BTreeSet<&str> = self
            .log
            .iter()
            .filter(|change| matches!(change.what, ChangeKind::Arrived { .. }) && change.at >= since)
            .map(|change| change.instance.id.as_str())
            .collect();
        let left = self.log.iter().filter(|change| change.what == ChangeKind::Left);
        left.filter(|change| change.at == at && !new.contains(change.instance.id.as_str()))
            .count()
    }

    /// The ids of those of whom nobody knows whether they are gone, and whose places are not taken.
    pub fn in_doubt(&self, at: Timestamp) -> impl Iterator<Item = &str> {
        let taken: BTreeSet<&str> = self.log.iter().filter_map(Change::replaces).collect();
        let in_doubt = move |change: &&Change| {
            let is_open = change.what == ChangeKind::Missing && at.since(change.at) < ASKED;
            is_open && !taken.contains(change.instance.id.as_str())
        };
        self.log
            .iter()
            .filter(in_doubt)
            .map(|change| change.instance.id.as_str())
    }
}

/// The instance without its metadata, but for its place.
fn in_brief(instance: &Instance) -> Instance {
    let place = instance.metadata.iter().find(|(key, _)| names_a_place(key));
    Instance {
        metadata: place.cloned().into_iter().collect(),
        ..instance.clone()
    }
}

#[cfg(test)]
mod tests;
