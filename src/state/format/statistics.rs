//! The statistics in the state file: the names of the endpoints stand there once and not with each instance.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::fields::at_most;
use crate::probe::stats::{Counters, Endpoints, MAX_ENDPOINTS};
use crate::state::statistics::{InstanceCounters, MAX_COUNTERS, RequestCounts, Statistics};
use crate::values::timestamp::Timestamp;

#[derive(Serialize, Deserialize)]
pub struct StatisticsFile {
    all: RequestCounts,
    at: Timestamp,
    endpoints: BTreeMap<String, RequestCounts>,
    #[serde(deserialize_with = "at_most::<MAX_COUNTERS, _, _>")]
    instances: Vec<(String, Timestamp, EndpointsFile)>,
    #[serde(deserialize_with = "at_most::<MAX_COUNTERS, _, _>")]
    names: Vec<String>,
}

/// The counters of the endpoints of an instance: the index of the name, requests, errors, nanoseconds of processing.
#[derive(Serialize, Deserialize)]
struct EndpointsFile(#[serde(deserialize_with = "at_most::<MAX_ENDPOINTS, _, _>")] Vec<(usize, u64, u64, u64)>);

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
