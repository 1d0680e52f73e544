//! The rule for fewer instances than normal (`--lost-warning`, `--lost-critical`).

use super::policy::Loss;
use super::rule::{RuleInput, RuleOutput, crossed};
use super::verdict::{Finding, Metric};
use crate::state::baseline::Baseline;
use crate::values::dated;
use crate::values::status::Reason;

/// Reports the baseline. The finding is reported with the number of instances: [`finding`].
pub fn judge(input: &RuleInput<'_>, output: &mut RuleOutput) {
    if !input.policy.loss.are_none() {
        let baseline = input.next.baseline.as_ref().map(Baseline::count);
        output.add_metric(Metric::count("baseline", baseline));
    }
}

/// The finding on this number of instances, more than none.
pub fn finding(input: &RuleInput<'_>, instances: usize) -> Option<Finding> {
    let baseline = input.next.baseline.as_ref()?;
    let normal = baseline.count();
    let lost = normal.saturating_sub(instances);
    let limits = &input.policy.loss;
    let (status, word, limit) = crossed(limits.critical, limits.warning, |limit| lost >= limit.instances(normal))?;
    let at = input.observation.at;
    let since = baseline.fewer_since().filter(|since| *since < at);
    let since = since
        .map(|since| format!(" for {}", dated::age(since, at)))
        .unwrap_or_default();
    let text = format!(
        "{instances} of {normal} instances, {lost} lost{since}, {word} from {}",
        limit.in_words()
    );
    Some(Finding::new(
        input.at_least_so_many(status),
        Reason::InstancesLost,
        text,
    ))
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
