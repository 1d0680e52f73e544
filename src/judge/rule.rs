//! The input of every rule, and its output.

use std::time::Duration;

use super::policy::Policy;
use super::verdict::{Detail, Finding, Metric, Verdict};
use crate::probe::observation::{InstanceReply, Observation};
use crate::state::memory::Memory;
use crate::values::dated;
use crate::values::status::{Reason, Status};
use crate::values::timestamp::Timestamp;

/// The input of a rule.
pub struct RuleInput<'a> {
    pub service: &'a str,
    /// The memory of the runs before.
    pub previous: &'a Memory,
    /// The memory that this run leaves.
    pub next: &'a Memory,
    pub observation: &'a Observation,
    pub policy: &'a Policy,
    /// The time of the verdict; the epoch is at [`Observation::at`].
    pub now: Timestamp,
}

impl<'a> RuleInput<'a> {
    /// Number of instances; `None` if NATS could not be asked.
    pub fn instances(&self) -> Option<usize> {
        self.observation.outcome.answers().map(<[_]>::len)
    }

    /// The status of too few instances: never CRITICAL where only some of them can be counted.
    pub fn at_least_so_many(&self, status: Status) -> Status {
        match self.observation.queue_group {
            true => status.min(Status::Warning),
            false => status,
        }
    }

    /// The answers; empty where there are none.
    pub fn answers(&self) -> &'a [InstanceReply] {
        self.observation.outcome.answers().unwrap_or_default()
    }
}

/// The output of the rules. A rule can only add to it.
#[derive(Default)]
pub struct RuleOutput {
    findings: Vec<Finding>,
    metrics: Vec<Metric>,
    details: Vec<Detail>,
}

impl RuleOutput {
    pub fn add_finding(&mut self, status: Status, reason: Reason, text: impl Into<String>) {
        self.findings.push(Finding::new(status, reason, text));
    }

    pub fn add_findings(&mut self, findings: impl IntoIterator<Item = Finding>) {
        self.findings.extend(findings);
    }

    pub fn add_metric(&mut self, metric: Metric) {
        self.metrics.push(metric);
    }

    /// Adds a line that is shown from this verbosity on (`-v` is 1).
    pub fn add_detail(&mut self, verbosity: u8, text: impl AsRef<str>) {
        let text = dated::plain(text.as_ref());
        self.details.push(Detail { verbosity, text });
    }

    pub fn verdict(self, service: &str) -> Verdict {
        Verdict::new(service, self.findings, self.metrics, self.details)
    }
}

/// The worse one of two limits that is crossed: its status, its name, and the limit itself.
pub fn crossed<L>(
    critical: Option<L>,
    warning: Option<L>,
    is_crossed: impl Fn(&L) -> bool,
) -> Option<(Status, &'static str, L)> {
    let limits = [
        (Status::Critical, "critical", critical),
        (Status::Warning, "warning", warning),
    ];
    let mut limits = limits
        .into_iter()
        .filter_map(|(status, word, limit)| Some((status, word, limit?)));
    limits.find(|(_, _, limit)| is_crossed(limit))
}

/// Number of instances of a kind that the first line names.
pub const MAX_NAMED: usize = 3;

/// The slowest of these replies, as far as is known.
pub fn slowest(replies: &[InstanceReply]) -> Option<Duration> {
    replies.iter().filter_map(|reply| reply.rtt).max()
}
