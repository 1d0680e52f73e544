//! Memory + observation + policy -> verdict and new memory. Pure: no clock, no file, no network.
//!
//! Each rule is a file of its own, and a line in [`RULES`].

mod changes;
mod credentials;
mod details;
mod expected_version;
mod instances;
mod lost;
mod mixed_versions;
pub mod pod;
mod policy;
mod presence;
mod rates;
mod request;
mod response_time;
mod restarts;
mod rule;
pub mod status_file;
mod suggest;
pub mod verdict;

pub use self::policy::{Loss, LossLimits, Policy, RateLimits, RequestLimits, RestartLimits};
use self::rule::{RuleInput, RuleOutput};
use self::verdict::Verdict;
use crate::probe::observation::{Observation, Outcome};
use crate::state::memory::Memory;
use crate::values::status::Reason;
use crate::values::timestamp::Timestamp;

/// The rules, in the order in which they are asked and in which their metrics and details are told.
const RULES: &[Rule] = &[
    presence::judge,
    changes::judge,
    instances::judge,
    expected_version::judge,
    response_time::judge,
    details::judge,
    rates::judge,
    mixed_versions::judge,
    credentials::judge,
    request::judge,
    lost::judge,
    restarts::judge,
];

/// One rule: looks at the case, adds what it finds, and changes what is to be remembered.
type Rule = fn(&RuleInput<'_>, &mut RuleOutput);

/// Judges what was seen in the light of what is remembered.
///
/// `now` is when the verdict is said; the epoch is at [`Observation::at`]. An interrupted probe leaves the memory as it
/// was, to the last bit; any other one that could not ask leaves the epoch and the outage as they were.
pub fn judge(service: &str, memory: &Memory, seen: &Observation, policy: &Policy, now: Timestamp) -> (Verdict, Memory) {
    let input = RuleInput {
        service,
        memory,
        observation: seen,
        policy,
        now,
    };
    let mut output = RuleOutput {
        next: memory.clone(),
        ..RuleOutput::default()
    };
    for rule in RULES {
        rule(&input, &mut output);
    }
    for (at, step) in &seen.trace {
        output.add_detail(3, format!("{:9.2}ms {step}", at.as_secs_f64() * 1000.0));
    }
    let RuleOutput {
        findings,
        metrics,
        details,
        mut next,
    } = output;
    let verdict = Verdict::new(service, findings, metrics, details);
    if !matches!(&seen.outcome, Outcome::Failed(failure) if failure.reason == Reason::Interrupted) {
        next.status = Some(verdict.status());
    }
    if next != *memory {
        next.sequence += 1;
    }
    (verdict, next)
}

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
