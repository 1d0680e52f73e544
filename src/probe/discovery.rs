//! The query to all services: who is taken in, and how long newcomers are waited for. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::probe::observation::{Ignored, Observation};
use crate::probe::plan::{DiscoveryPlan, PingPlan};
use crate::probe::reach::Reach;
use crate::values::text::digest;

/// Maximum number of services that are taken in beside those planned, and of those beyond that are counted.
pub const MAX_SERVICES: usize = 10_000;

/// While replies to the query to all services come in closer than this, those that are missing may be among the next ones: with many
/// services, asking for each of them again would only add to what is under way. But not for longer than `MAX_WAIT`.
const MAX_GAP: Duration = Duration::from_millis(25);
const MAX_WAIT: Duration = Duration::from_millis(200);

/// The query to all services.
#[derive(Clone, Debug)]
pub struct Discovery {
    plan: DiscoveryPlan,
    /// Set if services that nobody knows of are waited for.
    waits: bool,
    /// Time of the latest reply, or before any of the PONG to the query.
    latest: Option<Duration>,
    pub replied: bool,
    /// Set if the server says that nobody is subscribed.
    pub no_responders: bool,
    /// Why the server did not allow the query, or that for the statistics.
    pub denied: String,
    pub stats_denied: String,
    /// The check whether the query reaches those that reply when asked by name.
    pub reach: Option<Reach>,
    /// Replies that belong to no service.
    pub ignored: Ignored,
    /// The digests of the names of those not taken in.
    too_many: BTreeSet<u64>,
    newcomers: usize,
}

impl Discovery {
    /// Services that nobody knows of are waited for if the plan says so, and if nobody is known.
    pub fn new(plan: DiscoveryPlan, is_nobody_known: bool) -> Discovery {
        Discovery {
            waits: plan.census || is_nobody_known,
            plan,
            latest: None,
            replied: false,
            no_responders: false,
            denied: String::new(),
            stats_denied: String::new(),
            reach: None,
            ignored: Ignored::default(),
            too_many: BTreeSet::new(),
            newcomers: 0,
        }
    }

    /// A reply of a service came.
    pub fn reply_received(&mut self, now: Duration) {
        self.latest = Some(now);
        self.replied = true;
        self.no_responders = false;
    }

    /// The server has dealt with the query.
    pub fn pong_received(&mut self, now: Duration) {
        self.latest.get_or_insert(now);
        if let Some(reach) = &mut self.reach {
            reach.pong_received();
        }
    }

    /// Begins the check whether the query reaches these services, which reply when asked by name.
    pub fn check_reach(&mut self, now: Duration, services: &[usize]) {
        self.reach = Some(Reach::new(now, self.plan.stall, services, self.no_responders));
    }

    /// The plan of a service that was not planned and has replied. `None`: it is not watched.
    pub fn take_in(&mut self, name: &str) -> Option<PingPlan> {
        if !self.plan.selection.includes(name) {
            return None;
        }
        if self.newcomers >= MAX_SERVICES {
            if self.too_many.len() < MAX_SERVICES {
                self.too_many.insert(digest(name.bytes()));
            }
            return None;
        }
        self.newcomers += 1;
        Some(PingPlan {
            service: name.to_owned(),
            ..self.plan.newcomer.clone()
        })
    }

    /// Number of services that were not taken in.
    pub fn too_many(&self) -> usize {
        self.too_many.len()
    }

    /// When the wait for services that nobody knows of ends, if it does not end before `now`. `is_heard`: a service has replied,
    /// to whatever question.
    pub fn wait(&self, now: Duration, is_heard: bool) -> Option<Duration> {
        // There are subscribers but no replies: they are slow.
        let patience = match is_heard || self.is_settled() {
            true => Duration::ZERO,
            false => self.plan.newcomer.patience,
        };
        Some(self.end().max(patience)).filter(|end| self.waits && now < *end)
    }

    /// Returns whether it is known that nobody replies to the query.
    fn is_settled(&self) -> bool {
        self.no_responders || !self.denied.is_empty()
    }

    /// Returns whether the wait cannot end, since nothing came of the query.
    pub fn is_unheard(&self) -> bool {
        self.waits && self.end() == Duration::MAX
    }

    /// When services that nobody knows of have had their time to reply.
    fn end(&self) -> Duration {
        match self.latest {
            _ if self.is_settled() => Duration::ZERO,
            Some(latest) => (latest + self.plan.stall).max(self.plan.least),
            // The deadline of the run ends this wait.
            None => Duration::MAX,
        }
    }

    /// Returns the time before services that have not replied are asked by name, while the replies of others come in.
    pub fn hold(&self) -> Duration {
        let latest = self.latest.filter(|_| self.replied);
        latest.map_or(Duration::ZERO, |latest| (latest + MAX_GAP).min(MAX_WAIT))
    }

    /// Reports the facts beside the services when the probe has ended at this time.
    pub fn tell(self, ended: Option<Duration>, common: &mut Observation) {
        common.census = self.denied.is_empty() && ended.is_some_and(|ended| self.end() <= ended);
        common.denied = self.denied;
        common.ignored = self.ignored;
    }
}
