//! What every rule is given, and where it puts what it finds.

use std::time::Duration;

use super::policy::Policy;
use super::verdict::{Detail, Finding, Metric};
use crate::probe::observation::{InstanceReply, Observation, Outcome};
use crate::state::memory::Memory;
use crate::values::status::Status;
use crate::values::timestamp::Timestamp;

/// What a rule may look at.
pub struct RuleInput<'a> {
    pub service: &'a str,
    pub memory: &'a Memory,
    pub observation: &'a Observation,
    pub policy: &'a Policy,
    /// When the verdict is said; the epoch is at [`Observation::at`].
    pub now: Timestamp,
}

impl RuleInput<'_> {
    /// How many instances there are; `None` if nobody could be asked.
    pub fn instances(&self) -> Option<usize> {
        match &self.observation.outcome {
            Outcome::Answered(answers) => Some(answers.len()),
            Outcome::NoResponders | Outcome::Silent(_) => Some(0),
            Outcome::Failed(_) => None,
        }
    }

    /// The status of too few instances: never CRITICAL where only some of them can be counted.
    pub fn at_least_so_many(&self, status: Status) -> Status {
        match self.observation.one_reply_each {
            true => status.min(Status::Warning),
            false => status,
        }
    }

    /// The answers; empty where there are none.
    pub fn answers(&self) -> &[InstanceReply] {
        match &self.observation.outcome {
            Outcome::Answered(answers) => answers,
            _ => &[],
        }
    }
}

/// What the rules have to say so far.
#[derive(Default)]
pub struct RuleOutput {
    pub findings: Vec<Finding>,
    pub metrics: Vec<Metric>,
    pub details: Vec<Detail>,
    /// What is to be remembered; at first, what was.
    pub next: Memory,
}

impl RuleOutput {
    pub fn add_finding(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// A line from this verbosity on.
    pub fn add_detail(&mut self, verbosity: u8, text: String) {
        self.details.push(Detail { verbosity, text });
    }
}

/// The worst of two limits that is crossed: the status that it gives, the word for it, and itself.
pub fn crossed<L>(
    critical: Option<L>,
    warning: Option<L>,
    is_crossed: impl Fn(&L) -> bool,
) -> Option<(Status, &'static str, L)> {
    let critical = critical
        .filter(&is_crossed)
        .map(|limit| (Status::Critical, "critical", limit));
    critical.or_else(|| {
        warning
            .filter(is_crossed)
            .map(|limit| (Status::Warning, "warning", limit))
    })
}

/// How many instances of a kind the first line names.
pub const MAX_NAMED: usize = 3;

/// The first names, and how many more of `all` there are: `A, B, C and 2 more`.
pub fn some_of(names: &[String], all: usize) -> String {
    let shown = &names[..names.len().min(MAX_NAMED)];
    let text = shown.join(", ");
    match all.saturating_sub(shown.len()) {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}

/// The slowest of these answers, as far as is known.
pub fn slowest(answers: &[InstanceReply]) -> Option<Duration> {
    answers.iter().filter_map(|answer| answer.rtt).max()
}
