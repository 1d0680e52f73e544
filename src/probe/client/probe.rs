//! One probe under way.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Select};

use super::worker::{ClientEvent, Message};
use crate::connect::target::Target;
use crate::probe::observation::{Failure, Server};
use crate::probe::plan::ProbePlan;
use crate::process::watchdog::Alarm;

/// Maximum number of steps that are kept for `-vvv`.
const MAX_STEPS: usize = 200;

/// A probe to run: target, plan and deadline.
pub struct ProbeRequest<'a> {
    pub target: &'a Target,
    /// As the user wants it. Its times are fitted into what is left, once connected.
    pub plan: ProbePlan,
    /// When the run began, and when it ends.
    pub start: Instant,
    pub deadline: Instant,
    /// Alarms that end it earlier.
    pub alarms: &'a Receiver<Alarm>,
}

/// Why an attempt ended without a result.
pub(super) enum Stop {
    /// Another server, or another connection, may do better.
    Lost(Failure),
    /// Nothing else will do better.
    Final(Failure),
}

/// One probe under way.
pub(super) struct Probe<'a> {
    pub(super) request: &'a ProbeRequest<'a>,
    pub(super) server: Option<Server>,
    /// Set if the server is to leave out the headers of messages.
    pub(super) headerless: bool,
    /// Set once a connection broke while the service was asked.
    pub(super) lost: bool,
    /// See [`Observation::unreadable`]: each with the name of its service, which may be empty.
    pub(super) unreadable: BTreeSet<(String, String)>,
    pub(super) trace: Vec<(Duration, String)>,
    /// See [`Observation::remarks`].
    pub(super) remarks: Vec<String>,
}

impl Probe<'_> {
    /// Waits for an event, for a message in the inbox, or until the time given. `None`: no event.
    pub(super) fn wait(
        &self,
        events: &Receiver<ClientEvent>,
        inbox: Option<&Receiver<Message>>,
        until: Instant,
    ) -> Result<Option<ClientEvent>, Stop> {
        let mut select = Select::new();
        select.recv(self.request.alarms);
        select.recv(events);
        if let Some(inbox) = inbox {
            select.recv(inbox);
        }
        // Everything that is ready is handled below; so are an error and a timeout.
        let _ = select.ready_deadline(until);
        if let Ok(alarm) = self.request.alarms.try_recv() {
            return Err(Stop::Final(Failure::new(alarm.reason(), alarm.to_string())));
        }
        Ok(events.try_recv().ok())
    }

    pub(super) fn left(&self) -> Duration {
        self.request.deadline.saturating_duration_since(Instant::now())
    }

    pub(super) fn step(&mut self, what: impl Display) {
        if self.trace.len() < MAX_STEPS {
            self.trace.push((self.request.start.elapsed(), what.to_string()));
        }
    }
}
