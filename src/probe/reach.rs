//! The reach of the query to all services: through an import that lets one reply through, or where several services share a queue
//! group, it does not reach all that reply when asked by name. Then an unknown service is not seen. Pure.
//!
//! Services that did not reply to the first query are asked a second time, with all and by name in one write. So one that was not there
//! yet, or is slow, is not taken for one that the query does not reach.

use std::collections::BTreeMap;
use std::time::Duration;

/// Factor of the latest reply's time for which one more reply is waited for, beside the stall time.
const PATIENCE: u32 = 3;

#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    by_name: bool,
    to_all: bool,
}

/// The second query to all services, and those by name beside it.
#[derive(Clone, Debug)]
pub struct Reach {
    sent: Duration,
    stall: Duration,
    /// Time of the latest reply to any of these queries.
    latest: Duration,
    /// Replies of each service that was asked by name, by its number.
    services: BTreeMap<usize, Heard>,
    /// Set if the server said that nobody is subscribed, to the first query and to the second.
    no_responders: (bool, bool),
    server_answered: bool,
}

/// Whom the query to all services does not reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreached<S> {
    /// Nobody is subscribed to it.
    All,
    /// These do not reply to it.
    Some(Vec<S>),
}

impl Reach {
    /// The queries left at this time. `no_responders`: the first query to all brought a 503.
    pub fn new(sent: Duration, stall: Duration, services: &[usize], no_responders: bool) -> Reach {
        Reach {
            sent,
            stall,
            latest: sent,
            services: services.iter().map(|number| (*number, Heard::default())).collect(),
            no_responders: (no_responders, false),
            server_answered: false,
        }
    }

    /// A service replied to the query by name.
    pub fn replied_by_name(&mut self, now: Duration, number: usize) {
        self.latest = now;
        self.services.entry(number).or_default().by_name = true;
    }

    /// A service replied to the query to all.
    pub fn replied_to_all(&mut self, now: Duration, number: usize) {
        self.latest = now;
        if let Some(heard) = self.services.get_mut(&number) {
            heard.to_all = true;
        }
    }

    /// The query to all brought a 503.
    pub fn no_responders(&mut self) {
        self.no_responders.1 = true;
        self.server_answered = true;
    }

    /// The server has dealt with the queries.
    pub fn pong_received(&mut self) {
        self.server_answered = true;
    }

    /// When the services have had their time to reply.
    pub fn end(&self) -> Duration {
        let to_all = |heard: &Heard| heard.to_all || self.no_responders.1;
        match self.services.values().all(|heard| heard.by_name && to_all(heard)) {
            true => self.latest,
            false => self.latest + self.stall + (self.latest - self.sent) * PATIENCE,
        }
    }

    /// Returns the services that the query did not reach when the probe has ended at this time, by their numbers; `None` if it
    /// reached all.
    pub fn unreached(&self, ended: Duration) -> Option<Unreached<usize>> {
        let services = self.services.iter().filter(|(_, heard)| heard.by_name && !heard.to_all);
        let services: Vec<usize> = services.map(|(number, _)| *number).collect();
        match self.no_responders {
            _ if services.is_empty() || !self.server_answered || ended < self.end() => None,
            (true, true) => Some(Unreached::All),
            (false, false) => Some(Unreached::Some(services)),
            // An instance started or stopped meanwhile.
            (true, false) | (false, true) => None,
        }
    }
}
