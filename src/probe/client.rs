//! Asks NATS, and always comes back in time.
//!
//! The client has no timeouts: it can hang in a connect, a login, a write or the wait for a PONG. So a worker thread holds
//! it, one for each connection, and reports what happens through a channel; the probe waits for that channel, for the
//! inbox and for the alarms, all at once and never longer than to the deadline. A worker that hangs is left alone: the
//! process is about to end. For the same reason no connection is ever closed, which would cost two round trips.
//!
//! Everything that is published over a connection has a number, which is the last token of its reply subject: so each message in
//! the inbox belongs to one query of one schedule, or to one request to an endpoint.

mod connect;
mod dialogue;
mod link;
mod probe;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use self::dialogue::Dialogue;
pub use self::probe::ProbeRequest;
use self::probe::{Probe, Stop};
use crate::probe::diagnosis;
use crate::probe::observation::{AllObservation, Fate, Observation, Outcome, Server};
use crate::values::timestamp::Timestamp;

/// Asks, and returns by the deadline with what was seen.
pub fn probe(request: &ProbeRequest<'_>) -> Observation {
    let mut probe = Probe {
        request,
        server: None,
        relayed: request.target.request.is_some(),
        headerless: false,
        unreadable: BTreeSet::new(),
        trace: Vec::new(),
        remarks: Vec::new(),
    };
    let mut dialogue = None;
    let outcome = probe.run(&mut dialogue).unwrap_or_else(|stop| {
        let (Stop::Lost(failure) | Stop::Final(failure)) = stop;
        Outcome::Failed(failure.with_hint(request.target.hint.as_deref()))
    });
    let now = Timestamp::now();
    let seen = match dialogue {
        Some(dialogue) => dialogue.observation(now, outcome),
        None => Observation::new(now, outcome),
    };
    // Without headers there is no 503, so it is not known who is gone.
    let fate = |fate| match fate {
        Fate::NotAnswering if probe.headerless => Fate::NotAsked,
        fate => fate,
    };
    Observation {
        absent: seen.absent.into_iter().map(|(id, seen)| (id, fate(seen))).collect(),
        unreadable: probe.unreadable.into_iter().collect(),
        headerless: probe.headerless,
        server: probe.server,
        credentials: request.target.expiry(),
        took: request.start.elapsed(),
        trace: probe.trace,
        remarks: [request.target.remarks.clone(), probe.remarks].concat(),
        ..seen
    }
}

/// Asks all services over one connection, and returns by the deadline with what was seen of each.
pub fn probe_all(request: &ProbeRequest<'_>) -> AllObservation {
    let mut services = BTreeMap::new();
    for plan in &request.plan.services {
        let seen = probe(&ProbeRequest {
            plan: plan.clone().into(),
            ..*request
        });
        services.insert(plan.service.clone(), Arc::new(seen));
    }
    AllObservation {
        services,
        common: Observation::new(Timestamp::now(), Outcome::Answered(Vec::new())),
        too_many: 0,
    }
}

impl Probe<'_> {
    /// A server that restarts is no reason to give up, and neither is one lost packet. Where a reply is what broke the
    /// connection, the second one goes through a relay, and where there can be no relay, the third is without headers.
    /// Leaves the dialogue over the latest connection in `last`.
    fn run(&mut self, last: &mut Option<Dialogue>) -> Result<Outcome, Stop> {
        for attempt in 1..=3 {
            self.headerless = attempt == 3;
            let link = self.connect()?;
            let relayed = link.relayed;
            self.server = Some(Server {
                address: link.server.address(),
                ..Server::default()
            });
            let dialogue = last.insert(self.begin(link));
            match self.converse(dialogue) {
                Err(Stop::Lost(failure)) => {
                    self.relayed = true;
                    self.step(format_args!("lost: {}", failure.text));
                }
                // Without headers there is no 503, so only a reply means anything.
                end if !self.headerless || matches!(end, Ok(Outcome::Answered(_))) => return end,
                _ => break,
            }
            if attempt == 2 && relayed {
                break;
            }
        }
        self.headerless = false;
        let address = self.server.as_ref().map_or("", |server| server.address.as_str());
        Err(Stop::Final(diagnosis::lost_twice(address)))
    }
}
