//! Memory + observation + policy -> verdict and new memory. Pure: no clock, no file, no network.
//!
//! Two steps: [`advance`](advance::advance) makes the new memory, then the rules read both memories and report. Each rule is a file of
//! its own, and a line in [`RULES`].

mod advance;
mod credentials;
mod details;
mod expected_version;
mod instances;
mod lost;
mod mixed_versions;
pub mod overview;
pub mod pod;
mod policy;
pub mod presence;
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

/// A rule: reads the input, and adds findings, metrics and details. It cannot see what other rules have added.
type Rule = fn(&RuleInput<'_>, &mut RuleOutput);

/// The rules. Their order is that of the metrics and of the details in the output, and of nothing else.
const RULES: [Rule; 12] = [
    presence::judge,
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
    details::trace,
];

/// Judges an observation by the memory of the runs before, and returns the verdict and the new memory.
///
/// `now` is the time of the verdict; the epoch is at [`Observation::at`]. An interrupted probe leaves the memory as it was, to
/// the last bit.
pub fn judge(
    service: &str,
    previous: &Memory,
    observation: &Observation,
    policy: &Policy,
    now: Timestamp,
) -> (Verdict, Memory) {
    judge_by(&RULES, service, previous, observation, policy, now)
}

fn judge_by(
    rules: &[Rule],
    service: &str,
    previous: &Memory,
    observation: &Observation,
    policy: &Policy,
    now: Timestamp,
) -> (Verdict, Memory) {
    let mut next = advance::advance(previous, observation, policy);
    let input = RuleInput {
        service,
        previous,
        next: &next,
        observation,
        policy,
        now,
    };
    let mut output = RuleOutput::default();
    for rule in rules {
        rule(&input, &mut output);
    }
    let verdict = output.verdict(service);
    if !matches!(&observation.outcome, Outcome::Failed(failure) if failure.reason == Reason::Interrupted) {
        next.status = Some(verdict.status());
    }
    if next != *previous {
        next.sequence += 1;
    }
    (verdict, next)
}

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
