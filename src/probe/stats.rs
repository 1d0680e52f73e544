//! The statistics of instances (ADR-32): what their endpoints have counted.

use std::collections::BTreeMap;

use crate::values::timestamp::Timestamp;

/// How many endpoints of an instance are counted.
pub const MOST_ENDPOINTS: usize = 64;

/// What an endpoint has counted, or how much it has since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub requests: u64,
    pub errors: u64,
    /// Nanoseconds, as on the wire.
    pub processing: u64,
}

impl Counters {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Counters) -> Counters {
        Counters {
            requests: self.requests.saturating_add(other.requests),
            errors: self.errors.saturating_add(other.errors),
            processing: self.processing.saturating_add(other.processing),
        }
    }

    /// What has been counted since `before`. A counter that went back began anew: then all of it has.
    #[must_use]
    pub fn since(self, before: Counters) -> Counters {
        if self.requests < before.requests {
            return self;
        }
        Counters {
            requests: self.requests - before.requests,
            errors: self.errors.saturating_sub(before.errors),
            processing: self.processing.saturating_sub(before.processing),
        }
    }
}

/// What the endpoints of an instance have counted: by name, in order. There are few, and there can be many instances.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints(Vec<(String, Counters)>);

impl Endpoints {
    /// Two endpoints of one name count together.
    pub fn add(&mut self, name: &str, counters: Counters) {
        match self.0.binary_search_by(|(other, _)| other.as_str().cmp(name)) {
            Ok(at) => self.0[at].1 = self.0[at].1.plus(counters),
            Err(at) => {
                self.0.reserve_exact(1);
                self.0.insert(at, (name.to_owned(), counters));
            }
        }
    }

    pub fn get(&self, name: &str) -> Option<Counters> {
        let at = self.0.binary_search_by(|(other, _)| other.as_str().cmp(name)).ok()?;
        Some(self.0[at].1)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, Counters)> {
        self.0.iter().map(|(name, counters)| (name.as_str(), *counters))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The statistics of one instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// When the instance says that it was started.
    pub started: Option<Timestamp>,
    /// Their names are clean.
    pub endpoints: Endpoints,
    /// The latest error of each endpoint that had one; clean.
    pub last_errors: BTreeMap<String, String>,
}

impl Stats {
    /// Adds what an endpoint has counted.
    pub fn add(&mut self, name: &str, counters: Counters) {
        self.endpoints.add(name, counters);
    }
}

/// The statistics that one probe saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenStats {
    /// By the id of the instance.
    pub instances: BTreeMap<String, Stats>,
    /// Why they could not be asked for, if so.
    pub denied: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_went_back_began_anew() {
        let counters = |requests, errors, processing| Counters {
            requests,
            errors,
            processing,
        };
        // Before, now, since.
        let cases = [
            (counters(0, 0, 0), counters(3, 1, 10), counters(3, 1, 10)),
            (counters(3, 1, 10), counters(5, 1, 30), counters(2, 0, 20)),
            (counters(3, 1, 10), counters(3, 1, 10), counters(0, 0, 0)),
            (counters(3, 1, 10), counters(2, 2, 5), counters(2, 2, 5)),
            (counters(3, 9, 99), counters(4, 1, 5), counters(1, 0, 0)),
        ];
        for (before, now, since) in cases {
            assert_eq!(now.since(before), since, "{before:?} {now:?}");
        }
        let most = counters(u64::MAX, u64::MAX, u64::MAX);
        assert_eq!(most.plus(counters(1, 1, 1)), most);
    }
}
