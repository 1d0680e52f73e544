//! Memory + observation + policy -> verdict and new memory. Pure: no clock, no file, no network.
//!
//! Each rule is a file of its own, and a line in [`RULES`].

mod details;
mod instances;
mod others;
pub mod pod;
mod policy;
mod presence;
mod response_time;
pub mod status_file;
pub mod verdict;

use std::time::Duration;

pub use self::policy::Policy;
use self::verdict::{Detail, Finding, Metric, Verdict};
use crate::probe::observation::{Answer, Observation, Outcome};
use crate::state::memory::Memory;
use crate::values::status::Reason;
use crate::values::timestamp::Timestamp;

/// The rules, in the order in which they are asked and in which their metrics and details are told.
const RULES: &[Rule] = &[presence::judge, instances::judge, response_time::judge, details::judge];

/// One rule: looks at the case, adds what it finds, and changes what is to be remembered.
type Rule = fn(&Case<'_>, &mut Ruling);

/// What a rule may look at.
struct Case<'a> {
    service: &'a str,
    memory: &'a Memory,
    seen: &'a Observation,
    policy: &'a Policy,
    /// When the verdict is said; the epoch is at [`Observation::at`].
    now: Timestamp,
}

impl Case<'_> {
    /// How many instances there are; `None` if nobody could be asked.
    fn instances(&self) -> Option<usize> {
        match &self.seen.outcome {
            Outcome::Answered(answers) => Some(answers.len()),
            Outcome::NoResponders | Outcome::Silent(_) => Some(0),
            Outcome::Failed(_) => None,
        }
    }

    /// The answers; empty where there are none.
    fn answers(&self) -> &[Answer] {
        match &self.seen.outcome {
            Outcome::Answered(answers) => answers,
            _ => &[],
        }
    }
}

/// What the rules have to say so far.
#[derive(Default)]
struct Ruling {
    findings: Vec<Finding>,
    metrics: Vec<Metric>,
    details: Vec<Detail>,
    /// What is to be remembered; at first, what was.
    next: Memory,
}

impl Ruling {
    fn find(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// A line from this verbosity on.
    fn tell(&mut self, verbosity: u8, text: String) {
        self.details.push(Detail { verbosity, text });
    }
}

/// Judges what was seen in the light of what is remembered.
///
/// `now` is when the verdict is said; the epoch is at [`Observation::at`]. An interrupted probe leaves the memory as it
/// was, to the last bit; any other one that could not ask leaves the epoch and the outage as they were.
pub fn judge(service: &str, memory: &Memory, seen: &Observation, policy: &Policy, now: Timestamp) -> (Verdict, Memory) {
    let case = Case {
        service,
        memory,
        seen,
        policy,
        now,
    };
    let mut ruling = Ruling {
        next: memory.clone(),
        ..Ruling::default()
    };
    for rule in RULES {
        rule(&case, &mut ruling);
    }
    for (at, step) in &seen.trace {
        ruling.tell(3, format!("{:9.2}ms {step}", at.as_secs_f64() * 1000.0));
    }
    let Ruling {
        findings,
        metrics,
        details,
        mut next,
    } = ruling;
    let verdict = Verdict::new(service, findings, metrics, details);
    if let (Some(server), true) = (&seen.server, next.epoch != memory.epoch)
        && !server.id.is_empty()
    {
        next.enter_server(&server.id);
    }
    if !matches!(&seen.outcome, Outcome::Failed(failure) if failure.reason == Reason::Interrupted) {
        next.status = Some(verdict.status());
    }
    if next != *memory {
        next.sequence += 1;
    }
    (verdict, next)
}

/// The slowest of these answers, as far as is known.
fn slowest(answers: &[Answer]) -> Option<Duration> {
    answers.iter().filter_map(|answer| answer.rtt).max()
}

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
