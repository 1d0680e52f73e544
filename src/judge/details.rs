//! The details beside the findings: NATS, the probe itself, and the lines of `-v` and `-vv`.

use std::time::Duration;

use super::rule::{RuleInput, RuleOutput};
use super::verdict::Metric;
use crate::probe::observation::{Ignored, Outcome, shown_id};
use crate::values::duration::latency;

/// Maximum number of instances that `-v` names.
pub const MAX_NAMED: usize = 10;

/// Maximum number of instances that `-vv` names: more than any output has room for.
pub const LISTED: usize = 500;

/// Maximum number of equal steps in a row that have a line each.
const MAX_EQUAL: usize = 3;

pub fn judge(input: &RuleInput<'_>, output: &mut RuleOutput) {
    let (observation, next) = (input.observation, input.next);
    let outage = next.outage.as_ref();
    let outage = outage.map_or(Duration::ZERO, |outage| input.now.since(outage.first_missed));
    let server = observation.server.as_ref();
    output.add_metric(Metric::seconds("nats_rtt", server.and_then(|server| server.rtt)));
    output.add_metric(Metric::seconds("outage", Some(outage)));
    output.add_metric(Metric::seconds("probe", Some(observation.took)));
    if let Some(server) = server {
        let rtt = server
            .rtt
            .map(|rtt| format!(", round trip {}", latency(rtt)))
            .unwrap_or_default();
        output.add_detail(1, format!("asked {server}{rtt}"));
    }
    for remark in &observation.remarks {
        output.add_detail(1, remark.as_str());
    }
    // Worth a line if the retry did not help.
    if observation.rounds > 1 && !matches!(observation.outcome, Outcome::Answered(_)) {
        output.add_detail(1, format!("asked {} times", observation.rounds));
    }
    if let Outcome::Answered(answers) = &observation.outcome {
        for (n, answer) in answers.iter().take(LISTED).enumerate() {
            let rtt = answer
                .rtt
                .map(|rtt| format!(" in {}", latency(rtt)))
                .unwrap_or_default();
            output.add_detail(verbosity_of(n), format!("answered{rtt}: {}", answer.instance));
        }
        for (n, absentee) in next.absentees.iter().enumerate() {
            output.add_detail(
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
        output.add_detail(
            1,
            format!(
                "last seen {}, missed since {}",
                outage.last_seen.at, outage.first_missed
            ),
        );
        for (n, instance) in outage.last_seen.instances.iter().take(LISTED).enumerate() {
            output.add_detail(verbosity_of(n), format!("was there: {instance}"));
        }
    }
    // If NATS has just become unreachable, the finding reports it.
    if let (Some(unreachable), true) = (&input.previous.unreachable, next.unreachable.is_some()) {
        output.add_detail(
            1,
            format!(
                "NATS could not be asked since {}: {}",
                unreachable.since,
                unreachable.reason.name()
            ),
        );
    }
    if observation.ignored.total() > 0 {
        let Ignored {
            foreign, acks, broken, ..
        } = observation.ignored;
        output.add_detail(
            1,
            format!(
                "{} not counted: {foreign} of another service, {acks} of JetStream, {broken} malformed",
                match observation.ignored.total() {
                    1 => "1 reply".to_owned(),
                    total => format!("{total} replies"),
                }
            ),
        );
    }
    if !observation.unreadable.is_empty() {
        output.add_detail(
            1,
            format!(
                "headers that are not UTF-8, or malformed, in replies of: {}",
                observation
                    .unreadable
                    .iter()
                    .map(|id| shown_id(id))
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        );
    }
    if observation.headerless {
        output.add_detail(
            1,
            "an instance replies with headers that are not UTF-8, or malformed: asked again without headers",
        );
    }
}

/// The steps of the probe, for `-vvv`.
pub fn trace(input: &RuleInput<'_>, output: &mut RuleOutput) {
    // Many services give many equal steps in a row.
    for steps in input.observation.trace.chunk_by(|(_, step), (_, next)| step == next) {
        let shown = if steps.len() > MAX_EQUAL { 1 } else { steps.len() };
        for (at, step) in &steps[..shown] {
            let times = match steps.len() - shown {
                0 => String::new(),
                _ => format!(", {} times", steps.len()),
            };
            output.add_detail(3, format!("{:9.2}ms {step}{times}", at.as_secs_f64() * 1000.0));
        }
    }
}

/// The verbosity that shows the n-th of several lines of a kind: `-v` shows the first ones.
pub fn verbosity_of(nth: usize) -> u8 {
    if nth < MAX_NAMED { 1 } else { 2 }
}
