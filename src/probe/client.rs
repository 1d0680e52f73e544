//! Asks NATS, and always comes back in time.
//!
//! The client has no timeouts: it can hang in a connect, a login, a write or the wait for a PONG. So a worker thread holds
//! it, one for each connection, and tells what happens through a channel; the probe waits for that channel, for the
//! inboxes and for the alarms, all at once and never longer than to the deadline. A worker that hangs is left alone: the
//! process is about to end. For the same reason no connection is ever closed, which would cost two round trips.

mod connect;
mod listen;
mod worker;

use std::collections::BTreeSet;
use std::mem;

pub use self::connect::ProbeRequest;
use self::connect::{Probe, Stop};
use crate::probe::diagnosis;
use crate::probe::endpoint::Call;
use crate::probe::observation::{Fate, Observation, Outcome};
use crate::probe::schedule::Schedule;
use crate::probe::stats::SeenStats;
use crate::values::timestamp::Timestamp;

/// Asks, and returns by the deadline with what was seen.
pub fn probe(request: &ProbeRequest<'_>) -> Observation {
    let mut probe = Probe {
        request,
        server: None,
        schedule: None,
        call: None,
        denied: String::new(),
        stats_denied: String::new(),
        alive_at: None,
        relayed: request.target.request.is_some(),
        headerless: false,
        unreadable: BTreeSet::new(),
        trace: Vec::new(),
        remarks: Vec::new(),
    };
    let outcome = probe.run().unwrap_or_else(|stop| {
        let (Stop::Lost(failure) | Stop::Final(failure)) = stop;
        Outcome::Failed(failure.with_hint(request.target.hint.as_deref()))
    });
    let schedule = probe.schedule.as_ref();
    let alive_at = probe.alive_at.filter(|_| matches!(outcome, Outcome::Answered(_)));
    Observation {
        at: alive_at.unwrap_or_else(Timestamp::now),
        outcome,
        census: schedule.is_some_and(Schedule::was_census),
        rounds: schedule.map_or(0, Schedule::rounds),
        ignored: schedule.map(Schedule::ignored).unwrap_or_default(),
        absent: schedule
            .map(|schedule| absent(schedule, probe.headerless))
            .unwrap_or_default(),
        others: schedule.and_then(Schedule::others),
        silence: schedule.map(Schedule::silence).unwrap_or_default(),
        one_reply_each: schedule.is_some_and(Schedule::one_reply_each),
        same_id: schedule.map(Schedule::same_id).unwrap_or_default(),
        without_ping: schedule.is_some_and(Schedule::without_ping),
        stats: request.plan.stats.then(|| SeenStats {
            instances: schedule.map(|schedule| schedule.stats().clone()).unwrap_or_default(),
            denied: probe.stats_denied,
        }),
        denied: probe.denied,
        unreadable: probe.unreadable.into_iter().collect(),
        headerless: probe.headerless,
        request: probe.call.filter(Call::has_begun).map(|call| call.seen()),
        server: probe.server,
        credentials: request.target.expiry(),
        took: request.start.elapsed(),
        trace: probe.trace,
        remarks: [request.target.remarks.clone(), probe.remarks].concat(),
    }
}

/// The instances that did not answer. Without headers there is no 503, so it is not known who is gone.
fn absent(schedule: &Schedule, headerless: bool) -> Vec<(String, Fate)> {
    let fate = |fate| match fate {
        Fate::NotAnswering if headerless => Fate::NotAsked,
        fate => fate,
    };
    let absent = schedule.absent().into_iter();
    absent.map(|(id, seen)| (id, fate(seen))).collect()
}

impl Probe<'_> {
    fn run(&mut self) -> Result<Outcome, Stop> {
        // A server that restarts is no reason to give up, and neither is one lost packet. Where a reply is what broke the
        // connection, the next one goes through a relay, and where there can be no relay, the last one is without headers.
        for last in [false, true, true] {
            let mut link = self.connect()?;
            let relayed = link.relayed;
            match self.ask(&mut link) {
                Err(Stop::Lost(failure)) => {
                    self.relayed = true;
                    self.step(format_args!("lost: {}", failure.text));
                }
                // Without headers there is no 503, so only an answer means anything.
                end if self.headerless && !matches!(end, Ok(Outcome::Answered(_))) => break,
                end => {
                    // The worker would end now, which costs more than to let it wait for the end of the process.
                    mem::forget(link);
                    return end;
                }
            }
            if last && (relayed || self.headerless) {
                break;
            }
            self.headerless = last;
        }
        self.headerless = false;
        let address = self
            .server
            .as_ref()
            .map(|server| server.address.clone())
            .unwrap_or_default();
        Err(Stop::Final(diagnosis::lost_twice(&address)))
    }
}
