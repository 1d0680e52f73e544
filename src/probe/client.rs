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
mod inbox;
mod link;
mod messages;
mod probe;
mod worker;

use std::collections::BTreeSet;
use std::mem;
use std::sync::Arc;

use self::dialogue::Dialogue;
pub use self::probe::ProbeRequest;
use self::probe::{Probe, Stop};
use crate::probe::diagnosis;
use crate::probe::endpoint::Call;
use crate::probe::observation::{AllObservation, EndpointSeen, Failure, Fate, Observation, Outcome, Server};
use crate::probe::schedules::Seen;
use crate::values::timestamp::Timestamp;

/// Asks the service of a single check, and returns by the deadline with what was seen.
pub fn probe(request: &ProbeRequest<'_>) -> Observation {
    let (probe, Seen { services, common, .. }, endpoint) = run(request);
    let service = services.into_values().next().unwrap_or_else(|| common.clone());
    let seen = match common.outcome {
        // This holds whatever else is known.
        Outcome::Failed(_) => Observation {
            at: common.at,
            outcome: common.outcome,
            ..service
        },
        _ => service,
    };
    Observation {
        request: endpoint,
        ..probe.of_run(probe.of_service(seen, None))
    }
}

/// Asks all services over one connection, and returns by the deadline with what was seen of each.
pub fn probe_all(request: &ProbeRequest<'_>) -> AllObservation {
    let (probe, seen, _) = run(request);
    let services = seen.services.into_iter().map(|(name, seen)| {
        let seen = probe.of_service(seen, Some(&name));
        (name, Arc::new(seen))
    });
    AllObservation {
        services: services.collect(),
        common: probe.of_run(probe.of_service(seen.common, None)),
        too_many: seen.too_many,
    }
}

/// Runs a probe. Returns it with what was seen, and what came of the request to an endpoint.
fn run<'a>(request: &'a ProbeRequest<'a>) -> (Probe<'a>, Seen, Option<EndpointSeen>) {
    let mut probe = Probe {
        request,
        server: None,
        headerless: false,
        lost: false,
        unreadable: BTreeSet::new(),
        trace: Vec::new(),
        remarks: Vec::new(),
    };
    let mut last = None;
    let outcome = match probe.run(&mut last) {
        Ok(()) => Outcome::Answered(Vec::new()),
        Err(Stop::Lost(failure) | Stop::Final(failure)) => {
            Outcome::Failed(failure.with_hint(request.target.hint.as_deref()))
        }
    };
    let now = Timestamp::now();
    let Some(Dialogue {
        link, schedules, call, ..
    }) = last
    else {
        return (probe, Seen::nothing(&request.plan, now, outcome), None);
    };
    let (subject, imported) = (
        request.target.discovery_subject("PING"),
        request.target.prefix.is_imported(),
    );
    let unreached = schedules.unreached();
    let unreached = unreached.map(|unreached| diagnosis::unreached(&subject, imported, &unreached));
    let mut seen = schedules.seen(now, outcome, &link.clock);
    if let Some(text) = unreached {
        seen.common.denied = text;
    } else if request.plan.single().is_none() && imported && seen.replies() == 1 && seen.services.len() == 1 {
        probe.remarks.push(format!(
            "one reply to {subject}: does its export say response_type: stream? Else no other service is seen, --expect names them"
        ));
    }
    // Ending the worker now would cost more than letting it wait for the end of the process.
    mem::forget(link);
    (probe, seen, call.filter(Call::has_begun).map(|call| call.seen()))
}

impl Probe<'_> {
    /// A server that restarts is no reason to give up, and neither is one lost packet. Where a reply is what broke the
    /// connection, the second one goes through a relay, and where there can be no relay, the third is without headers.
    /// Leaves the dialogue over the latest connection in `last`.
    fn run(&mut self, last: &mut Option<Dialogue>) -> Result<(), Stop> {
        for attempt in 1..=3 {
            self.headerless = attempt == 3;
            let link = self.connect()?;
            let relayed = link.relayed;
            self.server = Some(Server {
                address: link.server.address(),
                ..Server::default()
            });
            let dialogue = last.insert(self.begin(link));
            let end = self.converse(dialogue);
            // Without headers there is no 503: only a reply is evidence.
            if self.headerless {
                dialogue.schedules.keep_answers(&self.lost_twice());
            }
            match end {
                Err(Stop::Lost(failure)) => {
                    self.lost = true;
                    self.step(format_args!("lost: {}", failure.text));
                }
                end if !self.headerless || end.is_ok() && dialogue.schedules.has_answers() => return end,
                _ => break,
            }
            if attempt == 2 && relayed {
                break;
            }
        }
        self.headerless = false;
        Err(Stop::Final(self.lost_twice()))
    }

    fn lost_twice(&self) -> Failure {
        let address = self.server.as_ref().map_or("", |server| server.address.as_str());
        diagnosis::lost_twice(address)
    }

    /// Returns the observation of a service, with the facts about all of them; without a service, that of the whole run.
    fn of_service(&self, seen: Observation, service: Option<&str>) -> Observation {
        // Without headers there is no 503: which instances are gone is unknown.
        let fate = |fate| match fate {
            Fate::NotAnswering if self.headerless => Fate::NotAsked,
            fate => fate,
        };
        let unreadable = self.unreadable.iter();
        let unreadable = unreadable.filter(|(name, _)| service.is_none_or(|service| service == name));
        Observation {
            absent: seen.absent.into_iter().map(|(id, seen)| (id, fate(seen))).collect(),
            unreadable: unreadable.map(|(_, id)| id.clone()).collect(),
            headerless: self.headerless,
            server: self.server.clone(),
            credentials: self.request.target.expiry(),
            took: self.request.start.elapsed(),
            ..seen
        }
    }

    /// The same with the steps of the run and its remarks.
    fn of_run(&self, seen: Observation) -> Observation {
        Observation {
            trace: self.trace.clone(),
            remarks: [self.request.target.remarks.as_slice(), &self.remarks].concat(),
            ..seen
        }
    }
}
