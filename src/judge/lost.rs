//! Whether there are fewer instances than normal (`--lost-warning`, `--lost-critical`).

use super::case::{Case, Ruling, crossed};
use super::policy::Loss;
use super::verdict::{Finding, Metric, Unit};
use crate::values::duration::age;
use crate::values::status::Reason;

/// The number that is normal, beside that of the instances. What is lost is found where they are counted: [`find`].
pub fn judge(case: &Case<'_>, ruling: &mut Ruling) {
    if !case.policy.loss.are_none() {
        ruling.metrics.push(Metric {
            name: "baseline",
            value: ruling.next.baseline.as_ref().map(|baseline| baseline.count() as f64),
            unit: Unit::Count,
            warning: None,
            critical: None,
        });
    }
}

/// What there is to say of this number of instances, more than none.
pub fn find(case: &Case<'_>, ruling: &mut Ruling, instances: usize) {
    let Some(baseline) = &ruling.next.baseline else {
        return;
    };
    let normal = baseline.count();
    let lost = normal.saturating_sub(instances);
    let limits = &case.policy.loss;
    let reached = crossed(limits.critical, limits.warning, |limit| limit.is_reached(lost, normal));
    let Some((status, word, limit)) = reached else {
        return;
    };
    let number = format!("{instances} of {normal} instances");
    let since = baseline.fewer_since().unwrap_or(case.seen.at);
    if since >= case.seen.at && was_disturbed(case) {
        ruling.tell(
            1,
            format!("{number}: judged by the next run, since NATS was restarted or not asked before"),
        );
        return;
    }
    let since = match since < case.seen.at {
        true => format!(" for {}", age(case.seen.at.since(since))),
        false => String::new(),
    };
    let text = format!("{number}, {lost} lost{since}, {word} from {}", limit.in_words());
    ruling.find(Finding::new(status, Reason::InstancesLost, text));
}

/// Whether instances may still be on their way back to NATS: they come back one by one.
fn was_disturbed(case: &Case<'_>) -> bool {
    let known = &case.memory.servers;
    let is_new = |id: &String| !id.is_empty() && !known.is_empty() && !known.contains(id);
    case.memory.trouble.is_some() || case.seen.server.as_ref().is_some_and(|server| is_new(&server.id))
}

impl Loss {
    /// At least so many, or so many percent of what is normal. None is no loss.
    fn is_reached(self, lost: usize, normal: usize) -> bool {
        let share = |percent: u8| (lost as u128) * 100 >= u128::from(percent) * (normal as u128);
        lost > 0
            && match self {
                Loss::Instances(limit) => lost >= limit,
                Loss::Percent(limit) => share(limit),
            }
    }

    fn in_words(self) -> String {
        match self {
            Loss::Instances(limit) => limit.to_string(),
            Loss::Percent(limit) => format!("{limit}%"),
        }
    }
}

#[cfg(test)]
mod tests;
