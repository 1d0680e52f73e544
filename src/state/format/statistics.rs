//! The statistics in the state file. Counters are `[requests, errors, nanoseconds of processing]`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::bounded::at_most;
use super::time::{Clock, Time};
use crate::probe::stats::{Counters, Endpoints, MAX_ENDPOINTS};
use crate::state::statistics::{InstanceCounters, MAX_COUNTERS, RequestCounts, Statistics, Window};

#[derive(Serialize, Deserialize)]
pub struct StatisticsFile {
    all: RequestCountsFile,
    at: Time,
    endpoints: BTreeMap<String, RequestCountsFile>,
    #[serde(deserialize_with = "at_most::<MAX_COUNTERS, _, _>")]
    instances: Vec<(String, Time, EndpointsFile)>,
    /// The names of the endpoints, once and not with each instance.
    #[serde(deserialize_with = "at_most::<MAX_COUNTERS, _, _>")]
    names: Vec<String>,
}

/// The counters of the endpoints of an instance: the place of the name, requests, errors, nanoseconds of processing.
#[derive(Serialize, Deserialize)]
struct EndpointsFile(#[serde(deserialize_with = "at_most::<MAX_ENDPOINTS, _, _>")] Vec<(usize, u64, u64, u64)>);

impl StatisticsFile {
    pub fn new(statistics: &Statistics) -> StatisticsFile {
        let mut names: Vec<String> = Vec::new();
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        let mut instances = Vec::new();
        for (id, counters) in &statistics.instances {
            let endpoints = counters.endpoints.iter().map(|(name, c)| {
                let place = *places.entry(name).or_insert_with(|| {
                    names.push(name.to_owned());
                    names.len() - 1
                });
                (place, c.requests, c.errors, c.processing)
            });
            instances.push((id.clone(), Time(counters.at), EndpointsFile(endpoints.collect())));
        }
        let endpoints = statistics.endpoints.iter();
        StatisticsFile {
            all: RequestCountsFile::new(&statistics.all),
            at: Time(statistics.at),
            endpoints: endpoints
                .map(|(name, counted)| (name.clone(), RequestCountsFile::new(counted)))
                .collect(),
            instances,
            names,
        }
    }

    /// `None`: a field is malformed.
    pub fn read(self, clock: &Clock) -> Option<Statistics> {
        let mut instances = BTreeMap::new();
        for (id, at, counters) in self.instances {
            let mut endpoints = Endpoints::default();
            for (place, requests, errors, processing) in counters.0 {
                let counters = Counters {
                    requests,
                    errors,
                    processing,
                };
                endpoints.add(self.names.get(place)?, counters);
            }
            let at = at.read(clock);
            instances.insert(id, InstanceCounters { at, endpoints });
        }
        let endpoints = self.endpoints.into_iter().take(MAX_ENDPOINTS);
        Some(Statistics {
            at: self.at.read(clock),
            all: self.all.read(clock),
            endpoints: endpoints.map(|(name, counted)| (name, counted.read(clock))).collect(),
            instances,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct RequestCountsFile {
    closed: Option<WindowFile>,
    open: WindowFile,
    total: (u64, u64, u64),
}

impl RequestCountsFile {
    fn new(counted: &RequestCounts) -> RequestCountsFile {
        RequestCountsFile {
            closed: counted.closed.as_ref().map(WindowFile::new),
            open: WindowFile::new(&counted.open),
            total: written(counted.total),
        }
    }

    fn read(self, clock: &Clock) -> RequestCounts {
        RequestCounts {
            total: counters(self.total),
            open: self.open.read(clock),
            closed: self.closed.map(|window| window.read(clock)),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct WindowFile {
    counted: (u64, u64, u64),
    since: Time,
    until: Time,
}

impl WindowFile {
    fn new(window: &Window) -> WindowFile {
        WindowFile {
            counted: written(window.counted),
            since: Time(window.since),
            until: Time(window.until),
        }
    }

    fn read(self, clock: &Clock) -> Window {
        Window {
            since: self.since.read(clock),
            until: self.until.read(clock),
            counted: counters(self.counted),
        }
    }
}

fn written(counters: Counters) -> (u64, u64, u64) {
    (counters.requests, counters.errors, counters.processing)
}

fn counters((requests, errors, processing): (u64, u64, u64)) -> Counters {
    Counters {
        requests,
        errors,
        processing,
    }
}
