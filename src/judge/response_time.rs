//! How long the slowest answer took (`--rtt-warning`, `--rtt-critical`).

use std::time::Duration;

use super::case::{Case, Ruling, crossed, slowest};
use super::verdict::{Finding, Metric};
use crate::values::duration::latency;
use crate::values::range::Range;
use crate::values::status::Reason;

pub fn judge(case: &Case<'_>, ruling: &mut Ruling) {
    let rtt = slowest(case.answers());
    if let Some(finding) = rtt.and_then(|rtt| slow(case, rtt)) {
        ruling.find(finding);
    }
    let limit = |limit: Option<Duration>| limit.map(|limit| Range::at_most(limit.as_secs_f64()));
    ruling.metrics.push(Metric {
        warning: limit(case.policy.rtt_warning),
        critical: limit(case.policy.rtt_critical),
        ..Metric::seconds("rtt_max", rtt)
    });
}

fn slow(case: &Case<'_>, rtt: Duration) -> Option<Finding> {
    let (status, word, limit) = crossed(case.policy.rtt_critical, case.policy.rtt_warning, |limit| rtt > *limit)?;
    let text = format!("slow: an answer took {}, {word} above {}", latency(rtt), latency(limit));
    Some(Finding::new(status, Reason::Slow, text))
}
