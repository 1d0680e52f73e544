//! Recognises a service whose instances share their control subjects in a queue group, as nats.net 2.0.0 to 2.0.2 does: each
//! PING reaches one instance only. Or some of them do, halfway through an update of the library. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::values::text::digest;

/// Number of requests that tell such a service from one instance: for two instances, all of them reach the same one once in
/// 2^31 times.
const ENOUGH: usize = 32;

/// Number of requests for each instance that has replied: so few stay unheard.
const FOR_EACH: usize = 16;

/// Maximum number of requests.
const MAX_REQUESTS: usize = 1024;

/// Maximum number of instances of which several replied to one request and others may still share a queue group.
const MAX_MIXED: usize = 64;

/// Requests in one write, and who replied to each of them.
#[derive(Clone, Debug, Default)]
struct Batch {
    first: usize,
    repliers: BTreeMap<usize, BTreeSet<u64>>,
    /// Maximum number of instances that replied to one of them.
    most: usize,
    /// All that replied to any of them.
    ids: BTreeSet<u64>,
}

/// Which instances replied to which request.
#[derive(Clone, Debug, Default)]
pub struct Spread {
    /// The digest of the first id that replied to each request, and how many replies there were.
    first: Vec<(Option<u64>, usize)>,
    /// All digests, of at most [`MAX_REQUESTS`] ids.
    ids: BTreeSet<u64>,
    /// Set if several instances replied to one request.
    several: bool,
    /// Set if one request had more than [`MAX_MIXED`] replies, of whatever instances: more requests would be a flood of our own making.
    is_flood: bool,
    /// Those requests that were last sent several in one write.
    batch: Option<Batch>,
}

impl Spread {
    /// So many more requests were sent, in one write.
    pub fn asked(&mut self, times: usize) {
        if times > 1 {
            self.batch = Some(Batch {
                first: self.first.len(),
                ..Batch::default()
            });
        }
        self.first.resize(self.first.len() + times, (None, 0));
    }

    /// An instance replied to the nth request.
    pub fn replied(&mut self, nth: usize, id: &str) {
        let id = digest(id.bytes());
        let Some((first, replies)) = self.first.get_mut(nth) else {
            return;
        };
        self.several |= *first.get_or_insert(id) != id;
        *replies += 1;
        self.is_flood |= *replies > MAX_MIXED;
        if self.ids.len() < MAX_REQUESTS {
            self.ids.insert(id);
        }
        if let Some(batch) = &mut self.batch
            && nth >= batch.first
            && self.ids.len() <= MAX_MIXED
        {
            let of_request = batch.repliers.entry(nth).or_default();
            of_request.insert(id);
            batch.most = batch.most.max(of_request.len());
            batch.ids.insert(id);
        }
    }

    /// Returns whether a request reaches some of the instances only: each was replied to by one, and not always by the same one; or of
    /// those in one write, each was replied to by fewer than all of them together.
    pub fn is_queue_group(&self) -> bool {
        let is_shared = |batch: &Batch| batch.most < batch.ids.len();
        (!self.several && self.ids.len() > 1) || self.batch.as_ref().is_some_and(is_shared)
    }

    /// Returns whether several instances replied to one request: others may share a queue group all the same.
    pub fn has_several(&self) -> bool {
        self.several
    }

    /// Number of requests that are still to be sent until it is known whether each of them reaches some instances only, and which
    /// instances there are. `unheard` more than those that have replied are expected.
    pub fn missing(&self, unheard: usize) -> usize {
        if self.ids.is_empty() || self.is_flood || self.several && self.ids.len() > MAX_MIXED {
            return 0;
        }
        let wanted = ENOUGH.max(FOR_EACH * (self.ids.len() + unheard)).min(MAX_REQUESTS);
        wanted.saturating_sub(self.first.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_reaches_some_instances_only() {
        // Repliers to each request; the requests were sent one by one.
        let cases: [(&[&[&str]], bool, usize); 7] = [
            (&[&[]], false, 0),
            (&[&["a"]], false, 31),
            (&[&["a"], &["a"]], false, 30),
            (&[&["a"], &["b"]], true, 30),
            // Two processes use the same id.
            (&[&["a", "a"], &["b", "b"]], true, 30),
            (&[&["a", "b"]], false, 31),
            // A third instance replied in between.
            (&[&["a"], &["b"], &["b", "a"]], false, 29),
        ];
        for (requests, expected, missing) in cases {
            let mut spread = Spread::default();
            for (nth, ids) in requests.iter().enumerate() {
                spread.asked(1);
                ids.iter().for_each(|id| spread.replied(nth, id));
            }
            assert_eq!(
                (spread.is_queue_group(), spread.missing(0)),
                (expected, missing),
                "{requests:?}"
            );
        }
    }

    #[test]
    fn some_in_a_queue_group_are_recognised_in_one_write() {
        // Repliers to each request of one write; before it, both instances of another pair replied.
        let cases: [(&[&[&str]], bool); 6] = [
            (&[&["a", "b"], &["a", "b"]], false),
            // Beside a and b one of c and d.
            (&[&["a", "b", "c"], &["a", "b", "d"]], true),
            (&[&["a", "c"], &["a", "d"], &["a", "c"]], true),
            // One instance stops, one starts, and the reply of one is late.
            (&[&["a", "b"], &["a"]], false),
            (&[&["a"], &["a", "b"]], false),
            (&[&["a", "b"], &["b"], &["a", "b"]], false),
        ];
        for (requests, expected) in cases {
            let mut spread = Spread::default();
            spread.asked(1);
            ["x", "y"].iter().for_each(|id| spread.replied(0, id));
            assert!(!spread.is_queue_group());
            spread.asked(requests.len());
            for (nth, ids) in requests.iter().enumerate() {
                ids.iter().for_each(|id| spread.replied(1 + nth, id));
            }
            assert_eq!(spread.is_queue_group(), expected, "{requests:?}");
        }
        for id in [|n: usize| format!("id{n}"), |_| "id".to_owned()] {
            let mut spread = Spread::default();
            spread.asked(1);
            (0..=MAX_MIXED).for_each(|n| spread.replied(0, &id(n)));
            assert_eq!((spread.missing(0), spread.missing(9)), (0, 0));
        }
    }

    #[test]
    fn more_instances_need_more_requests() {
        let mut spread = Spread::default();
        for nth in 0..32 {
            spread.asked(1);
            spread.replied(nth, &format!("id{}", nth % 5));
        }
        assert_eq!((spread.missing(0), spread.missing(1)), (5 * 16 - 32, 6 * 16 - 32));
        for nth in 32..MAX_REQUESTS {
            spread.asked(1);
            spread.replied(nth, &format!("id{nth}"));
        }
        assert_eq!(spread.missing(1), 0);
    }
}
