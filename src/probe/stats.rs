//! The statistics of instances (ADR-32): what their endpoints have counted.

use std::collections::BTreeMap;

use crate::values::timestamp::Timestamp;

/// Maximum number of endpoints of an instance that are counted.
pub const MAX_ENDPOINTS: usize = 64;

/// Counters of an endpoint, or their growth.
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

    /// Returns `true` if errors are counted apart from the requests, as nats.ex does, and not among them. Then there are more
    /// errors than requests, or the mean processing time in nanoseconds (0: unknown) is that of requests and errors together.
    #[must_use]
    pub fn has_errors_apart(self, mean: u64) -> bool {
        let (requests, errors, processing, mean) = (
            self.requests as f64,
            self.errors as f64,
            self.processing as f64,
            mean as f64,
        );
        let calls = requests + errors;
        // The mean is rounded to a nanosecond.
        let by_mean = mean > 1.0
            && processing / (mean + 1.0) > requests + errors / 2.0
            && processing / (mean + 1.0) <= calls
            && processing / (mean - 1.0) >= calls;
        errors > 0.0 && (errors > requests || by_mean)
    }

    /// Counts errors that were counted apart as requests too.
    #[must_use]
    pub fn with_errors_as_requests(self) -> Counters {
        Counters {
            requests: self.requests.saturating_add(self.errors),
            ..self
        }
    }

    /// Returns the growth of the counters since `before`. A counter that went back began anew: then all of it is growth.
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

/// Counters of the endpoints of an instance: by name, in order. There are few, and there can be many instances.
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
    /// Set if an endpoint counts its errors apart from the requests: [`Counters::has_errors_apart`].
    pub errors_apart: bool,
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
    fn errors_are_counted_apart_or_among_the_requests() {
        // Columns: requests, errors, processing time, mean, and `true` if errors are counted separately.
        let cases = [
            ((30, 0, 30_000, 1000), false),
            ((30, 30, 30_000, 1000), false),
            ((30, 30, 60_000, 1000), true),
            ((30, 31, 0, 0), true),
            ((0, 1, 0, 0), true),
            ((30, 30, 60_000, 0), false),
            // nats.ex rounds up, the other libraries round down.
            ((3, 2, 1_000_001, 200_001), true),
            ((3, 2, 1_000_001, 333_333), false),
            // Too few errors to tell them from a rounded mean.
            ((1_000_000, 1, 100_000_000, 100), false),
            ((1_000_000, 1, 100_000_100, 100), false),
            // The mean is in another unit.
            ((30, 30, 30_000, 1), false),
            ((30, 30, 30_000_000, 1000), false),
            ((30, 30, 30_000, 1_000_000), false),
        ];
        for ((requests, errors, processing, mean), apart) in cases {
            let counters = Counters {
                requests,
                errors,
                processing,
            };
            assert_eq!(counters.has_errors_apart(mean), apart, "{counters:?} {mean}");
        }
    }

    #[test]
    fn a_counter_that_went_back_began_anew() {
        let counters = |requests, errors, processing| Counters {
            requests,
            errors,
            processing,
        };
        // Columns: counters before, counters now, difference.
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
