//! The statistics of services from run to run: totals that only grow, and the windows of which rates are made.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::fields;
use crate::probe::stats::{Counters, Endpoints, MAX_ENDPOINTS, Stats};
use crate::values::timestamp::Timestamp;

/// Maximum number of remembered counters of single endpoints of single instances. Beyond these, no rate is made of them.
pub const MAX_COUNTERS: usize = 4096;

/// For how long the counters of an instance that does not answer are kept: it may only be slow.
const KEPT: Duration = Duration::from_secs(900);

/// Maximum difference between the clocks of an instance and of this host, when it says that it was started after our last epoch.
const CLOCK_SLACK: Duration = Duration::from_secs(5);

/// Counts in a span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateWindow {
    pub since: Timestamp,
    pub until: Timestamp,
    #[serde(with = "fields::CounterTriple")]
    pub counted: Counters,
}

/// Counts of an endpoint, or of all of them together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestCounts {
    /// Since the statistics were first asked for; it never goes back.
    #[serde(with = "fields::CounterTriple")]
    pub total: Counters,
    /// Since the window before was closed.
    pub open: RateWindow,
    /// The latest window with enough requests to be judged.
    pub closed: Option<RateWindow>,
}

impl RequestCounts {
    fn new(since: Timestamp) -> RequestCounts {
        RequestCounts {
            total: Counters::default(),
            open: RateWindow {
                since,
                until: since,
                counted: Counters::default(),
            },
            closed: None,
        }
    }

    /// Adds what has been counted until `at`, and closes the window when it has so many requests.
    fn add(&mut self, at: Timestamp, counted: Counters, enough: u64) {
        self.total = self.total.plus(counted);
        self.open.until = at;
        self.open.counted = self.open.counted.plus(counted);
        if self.open.counted.requests >= enough.max(1) {
            self.closed = Some(self.open);
            self.open = RequestCounts::new(at).open;
        }
    }
}

/// The counters of an instance when they were last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceCounters {
    pub at: Timestamp,
    pub endpoints: Endpoints,
}

/// Memory of the statistics of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "StatisticsFile", try_from = "StatisticsFile")]
pub struct Statistics {
    /// When they were last seen.
    pub at: Timestamp,
    /// All endpoints together.
    pub all: RequestCounts,
    /// By name; the first ones to be seen, as many as an instance may have.
    pub endpoints: BTreeMap<String, RequestCounts>,
    /// By id.
    pub instances: BTreeMap<String, InstanceCounters>,
}

impl Statistics {
    /// Nothing has been counted before this.
    fn new(at: Timestamp) -> Statistics {
        Statistics {
            at,
            all: RequestCounts::new(at),
            endpoints: BTreeMap::new(),
            instances: BTreeMap::new(),
        }
    }

    /// The statistics after those of `seen`, at this time. A window is closed when it has `enough` requests.
    ///
    /// Where errors are counted apart from the requests, or grow more than these, both together count as requests.
    ///
    /// An instance that was not known counts from its start, if that was after the statistics were last seen; else what it
    /// has counted before is not of this time.
    #[must_use]
    pub fn after(
        before: Option<&Statistics>,
        at: Timestamp,
        seen: &BTreeMap<String, Stats>,
        enough: u64,
    ) -> Statistics {
        let Some(before) = before else {
            let mut first = Statistics::new(at);
            first.remember(at, seen);
            return first;
        };
        // The slower of two overlapping runs has nothing new.
        if at <= before.at {
            return before.clone();
        }
        let mut next = before.clone();
        let mut counted: BTreeMap<&str, Counters> = BTreeMap::new();
        for (id, stats) in seen {
            let known = before.instances.get(id);
            let is_new = stats.started.is_some_and(|started| started + CLOCK_SLACK > before.at);
            for (name, now) in stats.endpoints.iter() {
                let then = known.map(|known| known.endpoints.get(name).unwrap_or_default());
                let mut since = match (then, is_new) {
                    (Some(then), _) => now.since(then),
                    (None, true) => now,
                    (None, false) => Counters::default(),
                };
                if stats.errors_apart || since.errors > since.requests {
                    since = since.with_errors_as_requests();
                }
                let sum = counted.entry(name).or_default();
                *sum = sum.plus(since);
            }
        }
        let all = counted.values().fold(Counters::default(), |sum, more| sum.plus(*more));
        next.all.add(at, all, enough);
        let newcomers = counted.keys().filter(|name| !next.endpoints.contains_key(**name));
        if next.endpoints.len() + newcomers.count() > MAX_ENDPOINTS {
            // Those that no instance has any more make room: a version may have other names for all of them.
            let instances = before.instances.values().flat_map(|known| known.endpoints.iter());
            let had: BTreeSet<&str> = instances.map(|(name, _)| name).collect();
            let is_there = |name: &str| had.contains(name) || counted.contains_key(name);
            next.endpoints.retain(|name, _| is_there(name));
        }
        for (name, counted) in counted {
            if next.endpoints.len() < MAX_ENDPOINTS || next.endpoints.contains_key(name) {
                let new = RequestCounts::new(before.at);
                next.endpoints
                    .entry(name.to_owned())
                    .or_insert(new)
                    .add(at, counted, enough);
            }
        }
        next.at = at;
        next.instances.retain(|_, counters| at.since(counters.at) < KEPT);
        next.remember(at, seen);
        next
    }

    /// Remembers the counters, in place of earlier ones of the same instances: first of those that answer, as many as fit.
    fn remember(&mut self, at: Timestamp, seen: &BTreeMap<String, Stats>) {
        let mut left = MAX_COUNTERS;
        let mut fits = |endpoints: &Endpoints| {
            let needed = endpoints.len().max(1);
            let fits = needed <= left;
            left -= if fits { needed } else { 0 };
            fits
        };
        let before = std::mem::take(&mut self.instances);
        for (id, stats) in seen.iter().filter(|(_, stats)| fits(&stats.endpoints)) {
            let endpoints = stats.endpoints.clone();
            self.instances.insert(id.clone(), InstanceCounters { at, endpoints });
        }
        let missing = before.into_iter().filter(|(id, _)| !seen.contains_key(id));
        let mut missing: Vec<(String, InstanceCounters)> = missing.collect();
        missing.sort_by_key(|(_, counters)| std::cmp::Reverse(counters.at));
        missing.retain(|(_, counters)| fits(&counters.endpoints));
        self.instances.extend(missing);
    }
}

/// The statistics in the state file. The names of the endpoints stand there once and not with each instance.
#[derive(Serialize, Deserialize)]
struct StatisticsFile {
    all: RequestCounts,
    at: Timestamp,
    endpoints: BTreeMap<String, RequestCounts>,
    #[serde(deserialize_with = "fields::at_most::<MAX_COUNTERS, _, _>")]
    instances: Vec<(String, Timestamp, EndpointsFile)>,
    #[serde(deserialize_with = "fields::at_most::<MAX_COUNTERS, _, _>")]
    names: Vec<String>,
}

/// The counters of the endpoints of an instance: the index of the name, requests, errors, nanoseconds of processing.
#[derive(Serialize, Deserialize)]
struct EndpointsFile(#[serde(deserialize_with = "fields::at_most::<MAX_ENDPOINTS, _, _>")] Vec<(usize, u64, u64, u64)>);

impl From<Statistics> for StatisticsFile {
    fn from(statistics: Statistics) -> StatisticsFile {
        let mut names: Vec<String> = Vec::new();
        let mut indices: BTreeMap<&str, usize> = BTreeMap::new();
        let mut instances = Vec::new();
        for (id, counters) in &statistics.instances {
            let endpoints = counters.endpoints.iter().map(|(name, c)| {
                let index = *indices.entry(name).or_insert_with(|| {
                    names.push(name.to_owned());
                    names.len() - 1
                });
                (index, c.requests, c.errors, c.processing)
            });
            instances.push((id.clone(), counters.at, EndpointsFile(endpoints.collect())));
        }
        StatisticsFile {
            all: statistics.all,
            at: statistics.at,
            endpoints: statistics.endpoints,
            instances,
            names,
        }
    }
}

impl TryFrom<StatisticsFile> for Statistics {
    type Error = &'static str;

    fn try_from(file: StatisticsFile) -> Result<Statistics, Self::Error> {
        let mut instances = BTreeMap::new();
        for (id, at, counters) in file.instances {
            let mut endpoints = Endpoints::default();
            for (index, requests, errors, processing) in counters.0 {
                let counters = Counters {
                    requests,
                    errors,
                    processing,
                };
                endpoints.add(file.names.get(index).ok_or("no name of an endpoint")?, counters);
            }
            instances.insert(id, InstanceCounters { at, endpoints });
        }
        Ok(Statistics {
            at: file.at,
            all: file.all,
            endpoints: file.endpoints.into_iter().take(MAX_ENDPOINTS).collect(),
            instances,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(second: i64) -> Timestamp {
        Timestamp::from_seconds(1_790_000_000 + second)
    }

    fn counters((requests, errors, processing): (u64, u64, u64)) -> Counters {
        Counters {
            requests,
            errors,
            processing,
        }
    }

    /// Endpoints by name, with their counters.
    type Rows<'a> = &'a [(&'a str, (u64, u64, u64))];

    /// Instances by id, with the second of their start.
    type Seen<'a> = &'a [(&'a str, i64, Rows<'a>)];

    /// Instances with the second of their start and their endpoints.
    fn seen(instances: Seen<'_>) -> BTreeMap<String, Stats> {
        let instance = |(id, started, endpoints): &(&str, i64, Rows<'_>)| {
            let mut stats = Stats {
                started: Some(at(*started)),
                ..Stats::default()
            };
            endpoints
                .iter()
                .for_each(|(name, counted)| stats.add(name, counters(*counted)));
            ((*id).to_owned(), stats)
        };
        instances.iter().map(instance).collect()
    }

    /// The totals after each of these epochs, at seconds 0, 60, 120 and so on.
    #[track_caller]
    fn totals(epochs: &[Seen<'_>], expected: &[(u64, u64, u64)]) {
        let mut statistics: Option<Statistics> = None;
        for ((n, epoch), expected) in epochs.iter().enumerate().zip(expected) {
            let next = Statistics::after(statistics.as_ref(), at(n as i64 * 60), &seen(epoch), 10);
            assert_eq!(next.all.total, counters(*expected), "epoch {n}");
            let of_endpoints = next
                .endpoints
                .values()
                .fold(Counters::default(), |sum, e| sum.plus(e.total));
            assert_eq!(of_endpoints, next.all.total, "epoch {n}");
            statistics = Some(next);
        }
    }

    #[test]
    fn counts_before_the_first_check_are_left_out() {
        totals(
            &[
                &[("a", -999, &[("add", (1000, 9, 500))])],
                &[("a", -999, &[("add", (1007, 9, 570))])],
            ],
            &[(0, 0, 0), (7, 0, 70)],
        );
    }

    #[test]
    fn restarts_newcomers_and_missing_instances_are_accounted_for() {
        totals(
            &[
                &[("a", -9, &[("add", (10, 0, 100))]), ("b", -9, &[("add", (20, 0, 200))])],
                // One instance was replaced: the new one counts from its start.
                &[("a", -9, &[("add", (15, 1, 150))]), ("c", 30, &[("add", (4, 2, 40))])],
                // One instance is missing for an epoch, and comes back.
                &[("c", 30, &[("add", (5, 2, 50))])],
                &[("a", -9, &[("add", (25, 1, 250))]), ("c", 30, &[("add", (5, 2, 50))])],
                // An old one that was never seen: what it has counted may be of any time.
                &[
                    ("a", -9, &[("add", (25, 1, 250))]),
                    ("c", 30, &[("add", (5, 2, 50))]),
                    ("old", -9999, &[("add", (100_000, 50_000, 9))]),
                ],
                // And from then on it counts. Counters that went back began anew.
                &[
                    ("a", -9, &[("add", (3, 0, 30))]),
                    ("old", -9999, &[("add", (100_001, 50_000, 10))]),
                ],
            ],
            &[
                (0, 0, 0),
                (9, 3, 90),
                (10, 3, 100),
                (20, 3, 200),
                (20, 3, 200),
                (24, 3, 231),
            ],
        );
    }

    #[test]
    fn an_endpoint_that_appears_counts_from_zero() {
        totals(
            &[
                &[("a", -9, &[("add", (10, 0, 100))])],
                &[("a", -9, &[("add", (10, 0, 100)), ("del", (3, 3, 30))])],
            ],
            &[(0, 0, 0), (3, 3, 30)],
        );
    }

    #[test]
    fn a_window_is_closed_when_it_has_enough_requests() {
        let mut statistics: Option<Statistics> = None;
        // Requests so far; then the closed window (since, until, requests), and how many the open one has.
        let steps = [
            (100, None, 0),
            (109, None, 9),
            (110, Some((0, 120, 10)), 0),
            (115, Some((0, 120, 10)), 5),
            (215, Some((120, 240, 105)), 0),
            (215, Some((120, 240, 105)), 0),
        ];
        for (n, (requests, closed, open)) in steps.into_iter().enumerate() {
            let epoch = seen(&[("a", -9, &[("add", (requests, 0, 0))])]);
            let next = Statistics::after(statistics.as_ref(), at(n as i64 * 60), &epoch, 10);
            for counted in [&next.all].into_iter().chain(next.endpoints.get("add")) {
                let window = counted.closed.map(|w| (w.since, w.until, w.counted.requests));
                assert_eq!(window, closed.map(|(since, until, r)| (at(since), at(until), r)), "{n}");
                assert_eq!(counted.open.counted.requests, open, "{n}");
            }
            statistics = Some(next);
        }
    }

    #[test]
    fn a_run_that_is_late_changes_nothing() {
        let first = Statistics::after(None, at(0), &seen(&[("a", -9, &[("add", (10, 0, 0))])]), 10);
        let second = Statistics::after(Some(&first), at(60), &seen(&[("a", -9, &[("add", (30, 0, 0))])]), 10);
        for late in [59, 60] {
            let epoch = seen(&[("a", -9, &[("add", (20, 0, 0))])]);
            assert_eq!(Statistics::after(Some(&second), at(late), &epoch, 10), second, "{late}");
        }
    }

    #[test]
    fn it_is_bounded() {
        let stats = |endpoints: usize| {
            let mut stats = Stats::default();
            (0..endpoints).for_each(|n| stats.add(&format!("e{n}"), Counters::default()));
            stats
        };
        let crowd = |instances: usize, endpoints: usize| -> BTreeMap<String, Stats> {
            (0..instances)
                .map(|n| (format!("id{n:05}"), stats(endpoints)))
                .collect()
        };
        for (instances, endpoints, kept) in [(10_000, 1, 4096), (10_000, 0, 4096), (1000, 5, 819), (10, 64, 10)] {
            let statistics = Statistics::after(None, at(0), &crowd(instances, endpoints), 10);
            assert_eq!(statistics.instances.len(), kept, "{instances} {endpoints}");
        }
        // Instances that answer now are kept before those that do not.
        let first = Statistics::after(None, at(0), &crowd(10_000, 1), 10);
        let second = Statistics::after(Some(&first), at(60), &seen(&[("zz", 0, &[("e0", (1, 0, 0))])]), 10);
        assert!(second.instances.contains_key("zz") && second.instances.len() == MAX_COUNTERS);
        // No instance is kept for ever.
        let later = Statistics::after(Some(&second), at(1000), &seen(&[]), 10);
        assert!(later.instances.is_empty());
        let names: Vec<String> = (0..MAX_ENDPOINTS + 8).map(|n| format!("endpoint{n}")).collect();
        let mut statistics = first;
        for (n, name) in names.iter().enumerate() {
            let epoch = seen(&[("a", -9, &[(name.as_str(), (1, 0, 0))])]);
            statistics = Statistics::after(Some(&statistics), at(61 + n as i64), &epoch, 10);
            assert_eq!(statistics.endpoints.len(), n % MAX_ENDPOINTS + 1 + n / MAX_ENDPOINTS);
            assert!(statistics.endpoints.contains_key(name));
        }
    }

    /// The endpoints of a version that is gone keep no room from those of the next one.
    #[test]
    fn a_version_with_other_endpoints_has_room() {
        let of_version = |version: usize| -> BTreeMap<String, Stats> {
            let mut stats = Stats::default();
            (0..40).for_each(|n| stats.add(&format!("v{version}.e{n}"), Counters::default()));
            [(format!("id{version}"), stats)].into()
        };
        let mut statistics = Statistics::after(None, at(0), &of_version(1), 10);
        statistics = Statistics::after(Some(&statistics), at(60), &of_version(1), 10);
        for second in [120, 180, 60 + 901, 120 + 901] {
            statistics = Statistics::after(Some(&statistics), at(second), &of_version(2), 10);
        }
        let of_second = statistics.endpoints.keys().filter(|name| name.starts_with("v2."));
        assert_eq!((of_second.count(), statistics.endpoints.len()), (40, 40));
    }
}
