//! Recognises a service whose instances share their control subjects in a queue group, as nats.net 2.0.0 to 2.0.2 does: each
//! PING reaches one instance only. Pure.

use std::collections::BTreeSet;

use crate::values::text::digest;

/// Number of requests that tell such a service from one instance: for two instances, all of them reach the same one once in
/// 2^31 times.
const ENOUGH: usize = 32;

/// Number of requests for each instance that has replied: so few stay unheard.
const FOR_EACH: usize = 16;

/// Maximum number of requests.
const MAX_REQUESTS: usize = 1024;

/// Which instances replied to which request.
#[derive(Clone, Debug, Default)]
pub struct Spread {
    /// The digest of the first id that replied to each request.
    first: Vec<Option<u64>>,
    /// All digests, of at most [`MAX_REQUESTS`] ids.
    ids: BTreeSet<u64>,
    /// Whether several instances replied to one request.
    several: bool,
}

impl Spread {
    /// So many more requests were sent.
    pub fn asked(&mut self, times: usize) {
        self.first.resize(self.first.len() + times, None);
    }

    /// An instance replied to the nth request.
    pub fn replied(&mut self, nth: usize, id: &str) {
        let id = digest(id.bytes());
        let Some(first) = self.first.get_mut(nth) else { return };
        self.several |= *first.get_or_insert(id) != id;
        if self.ids.len() < MAX_REQUESTS {
            self.ids.insert(id);
        }
    }

    /// Whether each request was replied to by one instance, and not always by the same one.
    pub fn is_one_reply_each(&self) -> bool {
        !self.several && self.ids.len() > 1
    }

    /// Number of requests that are still to be sent until it is known whether each of them reaches one instance only, and which
    /// instances there are. `unheard` more than those that have replied are expected.
    pub fn missing(&self, unheard: usize) -> usize {
        if self.several || self.ids.is_empty() {
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
    fn one_reply_to_each_request_from_changing_instances() {
        // Who replied to each request.
        let cases: [(&[&[&str]], bool, usize); 7] = [
            (&[&[]], false, 0),
            (&[&["a"]], false, 31),
            (&[&["a"], &["a"]], false, 30),
            (&[&["a"], &["b"]], true, 30),
            // Two processes under one id.
            (&[&["a", "a"], &["b", "b"]], true, 30),
            (&[&["a", "b"]], false, 0),
            (&[&["a"], &["b"], &["b", "a"]], false, 0),
        ];
        for (requests, expected, missing) in cases {
            let mut spread = Spread::default();
            for (nth, ids) in requests.iter().enumerate() {
                spread.asked(1);
                ids.iter().for_each(|id| spread.replied(nth, id));
            }
            assert_eq!(
                (spread.is_one_reply_each(), spread.missing(0)),
                (expected, missing),
                "{requests:?}"
            );
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
