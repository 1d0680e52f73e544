//! The rule for the time of the slowest answer (`--rtt-warning`, `--rtt-critical`).

use super::rule::{RuleInput, RuleOutput, crossed, slowest};
use super::verdict::Metric;
use crate::values::duration::latency;
use crate::values::range::Range;
use crate::values::status::Reason;

pub fn judge(input: &RuleInput<'_>, output: &mut RuleOutput) {
    let rtt = slowest(input.answers());
    let (warning, critical) = (input.policy.rtt_warning, input.policy.rtt_critical);
    output.add_metric(Metric::seconds("rtt_max", rtt).with_limits(warning, critical, Range::up_to));
    if let Some(rtt) = rtt
        && let Some((status, word, limit)) = crossed(critical, warning, |limit| rtt > *limit)
    {
        let text = format!("slow: an answer took {}, {word} above {}", latency(rtt), latency(limit));
        output.add_finding(status, Reason::Slow, text);
    }
}
