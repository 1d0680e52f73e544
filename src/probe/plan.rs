//! The rules of one probe of a service, and what it can ask.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::probe::known::KnownInstances;
use crate::probe::reply;
use crate::values::range::Range;
use crate::values::selection::Selection;

/// Retry times: measured to outlast each condition in which a server's 503 is a false "down" (a service that has just
/// subscribed elsewhere in the cluster, a restarted node, hub or gateway), and the 2 to 4 s that clients wait before they
/// connect again. After the last one the gaps double.
const RETRY_TIMES: [Duration; 5] = [
    Duration::from_millis(50),
    Duration::from_millis(250),
    Duration::from_millis(1200),
    Duration::from_millis(2500),
    Duration::from_secs(5),
];

/// Retry time where one retry is enough: nobody was there before, so an absence is no news.
pub const FIRST_RETRY: Duration = RETRY_TIMES[0];

/// Time between the first round and the retry with this number, from 0 on.
pub(super) fn retry_time(nth: usize) -> Duration {
    match RETRY_TIMES.get(nth) {
        Some(time) => *time,
        None => RETRY_TIMES[RETRY_TIMES.len() - 1] * 2_u32.saturating_pow((nth + 1 - RETRY_TIMES.len()).min(20) as u32),
    }
}

/// Whose reply is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Those of all instances.
    All,
    /// That of any instance; one is enough.
    Any,
    /// That of the instance with this id.
    Id(String),
    /// That of an instance with these values in its metadata.
    Match(Vec<(String, String)>),
}

/// One request of a probe, as it decides on it. The client knows the subjects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// PING to the service, or to the one instance that is wanted; the nth one, from 0 on.
    Ping(usize),
    /// STATS of all instances, beside a PING.
    Stats,
    /// PING to the instance with this id.
    InstancePing(String),
    /// STATS and INFO of the instance with this id: it may be alive and not reply to PING.
    InstanceStatus(String),
    /// PING to an id that no instance has. Where the server knows of a subscriber to that, one listens to everything, and the
    /// want of a 503 means nothing.
    UnusedId,
    /// PING to all services. In a run for all, this is the second one, or one by name beside it: see
    /// [`Reach`](crate::probe::reach::Reach).
    Discovery,
}

impl Query {
    /// Returns the types of the replies that count.
    pub fn reply_types(&self) -> &'static [&'static str] {
        match self {
            Query::Stats => reply::STATS,
            Query::InstanceStatus(_) => reply::ALIVE,
            Query::Ping(_) | Query::InstancePing(_) | Query::UnusedId | Query::Discovery => reply::PING,
        }
    }

    /// Number of PINGs to the service among these queries.
    pub fn pings(queries: &[Query]) -> usize {
        queries.iter().filter(|query| matches!(query, Query::Ping(_))).count()
    }
}

/// Plan of the requests over one connection.
#[derive(Clone, Debug)]
pub struct ProbePlan {
    /// The services that are known or expected, each with what is known of it. The single check has one.
    pub services: Vec<PingPlan>,
    /// Ask all services with one query, and take in those that reply. `None`: the single check.
    pub discovery: Option<DiscoveryPlan>,
}

/// Time limit for the PONG where nothing else is asked.
const ROUND_TRIP: Duration = Duration::from_secs(1);

impl ProbePlan {
    /// The plan of a check of the server alone: connect, log in, PING.
    pub fn of_server() -> ProbePlan {
        ProbePlan {
            services: Vec::new(),
            discovery: None,
        }
    }

    /// The service of a single check.
    pub fn single(&self) -> Option<&PingPlan> {
        match self.discovery {
            None => self.services.first(),
            Some(_) => None,
        }
    }

    /// Time limit for one more reply after the latest.
    pub fn stall(&self) -> Duration {
        let of_all = self.discovery.as_ref().map(|discovery| discovery.stall);
        of_all.or(self.single().map(|plan| plan.stall)).unwrap_or(ROUND_TRIP)
    }
}

impl From<PingPlan> for ProbePlan {
    /// The plan of a single check.
    fn from(plan: PingPlan) -> ProbePlan {
        ProbePlan {
            services: vec![plan],
            discovery: None,
        }
    }
}

/// The rules of a query to all services.
#[derive(Clone, Debug)]
pub struct DiscoveryPlan {
    /// The plan of a service that was not in [`ProbePlan::services`], without its name. It has `census` set: nobody knows how many
    /// instances such a service has.
    pub newcomer: PingPlan,
    /// Which services are taken in beside those planned.
    pub selection: Selection,
    /// Wait for services that nobody knows of, even when every known instance has replied.
    pub census: bool,
    /// Time limit for one more reply after the latest, of whatever service.
    pub stall: Duration,
    /// Minimum time, from the first request on, to wait for unknown services: they may be slower than the others. At most a
    /// quarter of the time of the run.
    pub least: Duration,
}

/// The usual value of [`DiscoveryPlan::least`].
pub const LEAST_CENSUS: Duration = Duration::from_secs(1);

/// The rules of the probe of one service.
#[derive(Clone, Debug)]
pub struct PingPlan {
    pub service: String,
    pub wanted: Wanted,
    /// The instances that are expected.
    pub known: KnownInstances,
    /// Ids of instances that did not reply in an earlier run, and are asked again one by one.
    pub previously_missing: BTreeSet<String>,
    /// Ids of the instances before an outage that is open: if no instance replies, they may still hang; and when
    /// others do, they may be gone.
    pub before_outage: Vec<String>,
    /// Wait for instances that are not known, even when all known ones have replied.
    pub census: bool,
    /// Verify that a single reply is that of a single instance, even where there is no other reason to doubt it.
    pub thorough: bool,
    /// Look for other services if there is no instance.
    pub discover: bool,
    /// Request the statistics, too, in the same write.
    pub stats: bool,
    /// Keys of the metadata whose values must be kept.
    pub kept_metadata: Vec<String>,
    /// Time of the last retry when no instance replies. Zero: ask once.
    pub confirm: Duration,
    /// Ranges of the number of instances that raise no alarm. An alarm for known instances that do not reply is confirmed
    /// with the same retries, up to `confirm_fewer`.
    pub thresholds: Vec<Range>,
    pub confirm_fewer: Duration,
    /// Time limit for one more reply after the latest.
    pub stall: Duration,
    /// Time limit for a first reply where somebody is subscribed: a slow reply is not an outage.
    pub patience: Duration,
}

impl PingPlan {
    /// Plan for a service of which nothing is known: waits for a first reply and asks nothing further.
    pub fn new(service: &str, wanted: Wanted, confirm: Duration, stall: Duration) -> PingPlan {
        PingPlan {
            service: service.to_owned(),
            wanted,
            known: KnownInstances::default(),
            previously_missing: BTreeSet::new(),
            before_outage: Vec::new(),
            census: false,
            thorough: false,
            discover: false,
            stats: false,
            kept_metadata: Vec::new(),
            confirm,
            thresholds: Vec::new(),
            confirm_fewer: Duration::ZERO,
            stall,
            patience: Duration::ZERO,
        }
    }

    /// The first queries, which the client sends as soon as it is connected.
    pub fn first_queries(&self) -> Vec<Query> {
        let stats = self.stats.then_some(Query::Stats);
        [Query::Ping(0)].into_iter().chain(stats).collect()
    }
}
