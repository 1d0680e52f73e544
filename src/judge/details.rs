//! What is told beside the findings: how NATS and the probe itself did, and lines for `-v` and `-vv`.

use std::time::Duration;

use super::rule::{RuleInput, RuleOutput};
use super::verdict::Metric;
use crate::probe::observation::{Ignored, Outcome};
use crate::values::duration::latency;

/// How many instances `-v` names.
pub const MAX_NAMED: usize = 10;

/// How many `-vv` names: more than any output has room for.
pub const LISTED: usize = 500;

pub fn judge(input: &RuleInput<'_>, output: &mut RuleOutput) {
    let outage = output.next.outage.as_ref();
    let outage = outage.map_or(Duration::ZERO, |outage| input.now.since(outage.first_missed));
    let server = input.observation.server.as_ref();
    output.metrics.extend([
        Metric::seconds("nats_rtt", server.and_then(|server| server.rtt)),
        Metric::seconds("outage", Some(outage)),
        Metric::seconds("probe", Some(input.observation.took)),
    ]);
    details(input, output);
}

fn details(input: &RuleInput<'_>, output: &mut RuleOutput) {
    let next = output.next.clone();
    let mut tell = |verbosity, text| output.add_detail(verbosity, text);
    if let Some(server) = &input.observation.server {
        let rtt = server
            .rtt
            .map(|rtt| format!(", round trip {}", latency(rtt)))
            .unwrap_or_default();
        tell(1, format!("asked {server}{rtt}"));
    }
    for remark in &input.observation.remarks {
        tell(1, remark.clone());
    }
    // Of interest if it did not help.
    if input.observation.rounds > 1 && !matches!(input.observation.outcome, Outcome::Answered(_)) {
        tell(1, format!("asked {} times", input.observation.rounds));
    }
    if let Outcome::Answered(answers) = &input.observation.outcome {
        for (n, answer) in answers.iter().take(LISTED).enumerate() {
            let rtt = answer
                .rtt
                .map(|rtt| format!(" in {}", latency(rtt)))
                .unwrap_or_default();
            tell(verbosity_of(n), format!("answered{rtt}: {}", answer.instance));
        }
        for (n, absentee) in next.absentees.iter().enumerate() {
            tell(
                verbosity_of(n),
                format!(
                    "{} since {}: {}",
                    absentee.fate.name(),
                    absentee.since,
                    absentee.instance
                ),
            );
        }
    }
    if let Some(outage) = &next.outage {
        tell(
            1,
            format!(
                "last seen {}, missed since {}",
                outage.last_seen.at, outage.first_missed
            ),
        );
        for (n, instance) in outage.last_seen.instances.iter().take(LISTED).enumerate() {
            tell(verbosity_of(n), format!("was there: {instance}"));
        }
    }
    // A unreachable that begins now is told by its finding.
    if let (Some(unreachable), true) = (&input.memory.unreachable, next.unreachable.is_some()) {
        tell(
            1,
            format!(
                "NATS not asked since {}: {}",
                unreachable.since,
                unreachable.reason.name()
            ),
        );
    }
    if input.observation.ignored.total() > 0 {
        let Ignored {
            foreign, acks, broken, ..
        } = input.observation.ignored;
        tell(
            1,
            format!(
                "{} not counted: {foreign} of another service, {acks} of JetStream, {broken} malformed",
                match input.observation.ignored.total() {
                    1 => "1 reply".to_owned(),
                    total => format!("{total} replies"),
                }
            ),
        );
    }
    if !input.observation.unreadable.is_empty() {
        tell(
            1,
            format!(
                "headers that are not UTF-8, or malformed, in replies of: {}",
                input.observation.unreadable.join(", ")
            ),
        );
    }
    if input.observation.headerless {
        tell(
            1,
            "an instance replies with headers that are not UTF-8, or malformed: asked again without headers".to_owned(),
        );
    }
}

fn verbosity_of(nth: usize) -> u8 {
    if nth < MAX_NAMED { 1 } else { 2 }
}
