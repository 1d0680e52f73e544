//! Whom to expect: the instances of the last epoch, by id or, where there are too many to remember, by a digest of all ids.

use std::collections::BTreeSet;

use crate::values::text::digest;

/// A set of ids, known by its size and a digest only: enough to tell when all of them have answered, in any order.
///
/// Two sets can in theory have the same digest. What that could hide is one run in which an instance was replaced by
/// another one: the next census finds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IdFingerprint {
    pub count: usize,
    pub digest: u64,
}

impl IdFingerprint {
    pub fn of<'a>(ids: impl IntoIterator<Item = &'a str>) -> IdFingerprint {
        ids.into_iter().fold(IdFingerprint::default(), |mut set, id| {
            set.add(id);
            set
        })
    }

    /// Adds an id that is not in it yet.
    pub fn add(&mut self, id: &str) {
        // The hash is mixed so that ids that differ only in the last character do not cancel out in the sum.
        let hash = digest(id.bytes());
        let mixed = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        self.count += 1;
        self.digest = self.digest.wrapping_add(mixed ^ (mixed >> 33));
    }
}

/// The instances that are expected to answer. Empty where nobody is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KnownInstances {
    Ids(BTreeSet<String>),
    Counted(IdFingerprint),
}

impl Default for KnownInstances {
    fn default() -> KnownInstances {
        KnownInstances::Ids(BTreeSet::new())
    }
}

impl KnownInstances {
    pub fn count(&self) -> usize {
        match self {
            KnownInstances::Ids(ids) => ids.len(),
            KnownInstances::Counted(set) => set.count,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// The ids, as far as they are known.
    pub fn ids(&self) -> impl Iterator<Item = &String> {
        match self {
            KnownInstances::Ids(ids) => Some(ids),
            KnownInstances::Counted(_) => None,
        }
        .into_iter()
        .flatten()
    }
}

/// Which of the known instances have answered.
#[derive(Clone, Debug)]
pub struct Outstanding {
    known: KnownInstances,
    /// Number of instances known by id that have not answered yet.
    missing: usize,
    answered: IdFingerprint,
}

impl Outstanding {
    pub fn new(known: KnownInstances) -> Outstanding {
        Outstanding {
            missing: known.ids().count(),
            answered: IdFingerprint::default(),
            known,
        }
    }

    /// An instance answered, for the first time.
    pub fn answered(&mut self, id: &str) {
        match &self.known {
            KnownInstances::Ids(ids) => self.missing -= usize::from(ids.contains(id)),
            KnownInstances::Counted(_) => self.answered.add(id),
        }
    }

    /// None has answered yet.
    pub fn forget_answers(&mut self) {
        *self = Outstanding::new(self.known.clone());
    }

    /// Returns `true` if all expected instances have answered. If some are known by number only, no other instance has answered.
    pub fn is_complete(&self) -> bool {
        match &self.known {
            KnownInstances::Ids(_) => self.missing == 0,
            KnownInstances::Counted(expected) => self.answered == *expected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_known_in_any_order_and_by_each_of_its_ids() {
        let ids: Vec<String> = (0..10_000).map(|n| format!("id{n}")).collect();
        let all = IdFingerprint::of(ids.iter().map(String::as_str));
        assert_eq!(all.count, 10_000);
        assert_eq!(all, IdFingerprint::of(ids.iter().rev().map(String::as_str)));
        for replaced in [0, 1, 4095, 9999] {
            let other = ids.iter().enumerate().map(|(n, id)| match n == replaced {
                true => "another",
                false => id.as_str(),
            });
            assert_ne!(all, IdFingerprint::of(other), "{replaced}");
        }
        // Sets that a plain sum of hashes would confuse.
        assert_ne!(IdFingerprint::of(["a1", "b2"]), IdFingerprint::of(["a2", "b1"]));
        assert_ne!(IdFingerprint::of(["ab", "c"]), IdFingerprint::of(["a", "bc"]));
    }

    #[test]
    fn probe_is_complete_with_the_last_expected_instance() {
        let ids = ["a", "b"];
        let by_id = KnownInstances::Ids(ids.iter().map(|id| id.to_string()).collect());
        let counted = KnownInstances::Counted(IdFingerprint::of(ids));
        // Repliers, and `true` if all known instances have then replied: by id, and by number.
        let cases: [(&[&str], bool, bool); 6] = [
            (&[], false, false),
            (&["a"], false, false),
            (&["b", "a"], true, true),
            (&["a", "new"], false, false),
            // A new instance replied, too: only a census counts all.
            (&["a", "new", "b"], true, false),
            (&["new", "newer"], false, false),
        ];
        for (answers, of_ids, of_counted) in cases {
            for (known, expected) in [(&by_id, of_ids), (&counted, of_counted)] {
                let mut call = Outstanding::new(known.clone());
                answers.iter().for_each(|id| call.answered(id));
                assert_eq!(call.is_complete(), expected, "{known:?} {answers:?}");
            }
        }
        assert!(Outstanding::new(KnownInstances::default()).is_complete());
        assert!(KnownInstances::default().is_empty() && !counted.is_empty());
    }
}
