//! How long the slowest answer took (`--rtt-warning`, `--rtt-critical`).

use std::time::Duration;

use super::rule::{RuleInput, RuleOutput, crossed, slowest};
use super::verdict::{Finding, Metric};
use crate::values::duration::latency;
use crate::values::range::Range;
use crate::values::status::Reason;

pub fn judge(input: &RuleInput<'_>, output: &mut RuleOutput) {
    let rtt = slowest(input.answers());
    if let Some(finding) = rtt.and_then(|rtt| slow(input, rtt)) {
        output.add_finding(finding);
    }
    let limit = |limit: Option<Duration>| limit.map(|limit| Range::at_most(limit.as_secs_f64()));
    output.metrics.push(Metric {
        warning: limit(input.policy.rtt_warning),
        critical: limit(input.policy.rtt_critical),
        ..Metric::seconds("rtt_max", rtt)
    });
}

fn slow(input: &RuleInput<'_>, rtt: Duration) -> Option<Finding> {
    let (status, word, limit) = crossed(input.policy.rtt_critical, input.policy.rtt_warning, |limit| {
        rtt > *limit
    })?;
    let text = format!("slow: an answer took {}, {word} above {}", latency(rtt), latency(limit));
    Some(Finding::new(status, Reason::Slow, text))
}
