//! What is told beside the findings: how NATS and the probe itself did, and lines for `-v` and `-vv`.

use std::time::Duration;

use super::case::{Case, Ruling};
use super::verdict::Metric;
use crate::probe::observation::{Ignored, Outcome};
use crate::values::duration::latency;

/// How many instances `-v` names.
pub const MAX_NAMED: usize = 10;

/// How many `-vv` names: more than any output has room for.
pub const LISTED: usize = 500;

pub fn judge(case: &Case<'_>, ruling: &mut Ruling) {
    let outage = ruling.next.outage.as_ref();
    let outage = outage.map_or(Duration::ZERO, |outage| case.now.since(outage.first_missed));
    let server = case.seen.server.as_ref();
    ruling.metrics.extend([
        Metric::seconds("nats_rtt", server.and_then(|server| server.rtt)),
        Metric::seconds("outage", Some(outage)),
        Metric::seconds("probe", Some(case.seen.took)),
    ]);
    details(case, ruling);
}

fn details(case: &Case<'_>, ruling: &mut Ruling) {
    let next = ruling.next.clone();
    let mut tell = |verbosity, text| ruling.tell(verbosity, text);
    if let Some(server) = &case.seen.server {
        let rtt = server
            .rtt
            .map(|rtt| format!(", round trip {}", latency(rtt)))
            .unwrap_or_default();
        tell(1, format!("asked {server}{rtt}"));
    }
    for remark in &case.seen.remarks {
        tell(1, remark.clone());
    }
    // Of interest if it did not help.
    if case.seen.rounds > 1 && !matches!(case.seen.outcome, Outcome::Answered(_)) {
        tell(1, format!("asked {} times", case.seen.rounds));
    }
    if let Outcome::Answered(answers) = &case.seen.outcome {
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
    // A trouble that begins now is told by its finding.
    if let (Some(trouble), true) = (&case.memory.trouble, next.trouble.is_some()) {
        tell(
            1,
            format!("NATS not asked since {}: {}", trouble.since, trouble.reason.name()),
        );
    }
    if case.seen.ignored.total() > 0 {
        let Ignored {
            foreign, acks, broken, ..
        } = case.seen.ignored;
        tell(
            1,
            format!(
                "{} not counted: {foreign} of another service, {acks} of JetStream, {broken} malformed",
                match case.seen.ignored.total() {
                    1 => "1 reply".to_owned(),
                    total => format!("{total} replies"),
                }
            ),
        );
    }
    if !case.seen.unreadable.is_empty() {
        tell(
            1,
            format!(
                "headers that are not UTF-8, or malformed, in replies of: {}",
                case.seen.unreadable.join(", ")
            ),
        );
    }
    if case.seen.headerless {
        tell(
            1,
            "an instance replies with headers that are not UTF-8, or malformed: asked again without headers".to_owned(),
        );
    }
}

fn verbosity_of(nth: usize) -> u8 {
    if nth < MAX_NAMED { 1 } else { 2 }
}
