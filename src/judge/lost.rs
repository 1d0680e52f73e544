//! Whether there are fewer instances than normal (`--lost-warning`, `--lost-critical`).

use super::policy::Loss;
use super::rule::{RuleInput, RuleOutput, crossed};
use super::verdict::{Finding, Metric, Unit};
use crate::values::duration::age;
use crate::values::status::Reason;

/// The number that is normal, beside that of the instances. What is lost is found where they are counted: [`find`].
pub fn judge(input: &RuleInput<'_>, output: &mut RuleOutput) {
    if !input.policy.loss.are_none() {
        output.metrics.push(Metric {
            name: "baseline",
            value: output.next.baseline.as_ref().map(|baseline| baseline.count() as f64),
            unit: Unit::Count,
            warning: None,
            critical: None,
        });
    }
}

/// What there is to say of this number of instances, more than none.
pub fn find(input: &RuleInput<'_>, output: &mut RuleOutput, instances: usize) {
    let Some(baseline) = &output.next.baseline else {
        return;
    };
    let normal = baseline.count();
    let lost = normal.saturating_sub(instances);
    let limits = &input.policy.loss;
    let reached = crossed(limits.critical, limits.warning, |limit| lost >= limit.instances(normal));
    let Some((status, word, limit)) = reached else {
        return;
    };
    let status = input.at_least_so_many(status);
    let number = format!("{instances} of {normal} instances");
    let since = baseline.fewer_since().unwrap_or(input.observation.at);
    let since = match since < input.observation.at {
        true => format!(" for {}", age(input.observation.at.since(since))),
        false => String::new(),
    };
    let text = format!("{number}, {lost} lost{since}, {word} from {}", limit.in_words());
    output.add_finding(Finding::new(status, Reason::InstancesLost, text));
}

impl Loss {
    fn in_words(self) -> String {
        match self {
            Loss::Instances(limit) => limit.to_string(),
            Loss::Percent(limit) => format!("{limit}%"),
        }
    }
}

#[cfg(test)]
mod tests;
