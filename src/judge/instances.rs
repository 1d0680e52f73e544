//! The number of instances, and which are missing (`--warning`, `--critical`; `--lost-warning`, `--lost-critical`).

use super::lost;
use super::rule::{MAX_NAMED, RuleInput, RuleOutput, crossed, slowest};
use super::verdict::{Finding, Metric};
use crate::probe::observation::{Fate, InstanceReply, Outcome, shown_id};
use crate::values::duration::{age, latency};
use crate::values::range::Range;
use crate::values::status::{Reason, Status};
use crate::values::text::{count, some_of};

pub fn judge(input: &RuleInput<'_>, output: &mut RuleOutput) {
    let instances = input.instances();
    let metric = Metric::count("instances", instances);
    output.add_metric(metric.with_limits(input.policy.warning, input.policy.critical, |range| range));
    let mut findings = Vec::new();
    if let Outcome::Answered(replies) = &input.observation.outcome {
        findings.push(answered(input, replies));
    }
    // The finding of an outage reports the number.
    if input.next.outage.is_none() {
        findings.extend(instances.and_then(|number| out_of_range(input, number)));
    }
    if let Outcome::Answered(replies) = &input.observation.outcome {
        findings.extend(lost::finding(input, replies.len()));
        // The last finding that reports the number also names the missing instances.
        if let Some(finding) = findings.last_mut() {
            finding.append(&missing(input, replies));
        }
    }
    output.add_findings(findings);
}

fn answered(input: &RuleInput<'_>, replies: &[InstanceReply]) -> Finding {
    let many = count(replies.len(), "instance");
    if let Some(outage) = &input.previous.outage {
        let before = match outage.last_seen.count {
            had if had == replies.len() => String::new(),
            had => format!(" (had {had})"),
        };
        let down = age(input.observation.at.since(outage.last_seen.at));
        let text = format!("{many}{before}, recovered after {down}");
        return Finding::new(Status::Ok, Reason::ServiceRecovered, text);
    }
    let text = match slowest(replies) {
        Some(_) if input.observation.without_ping => {
            format!("{many}, found by STATS and INFO only, PING gets no reply")
        }
        Some(rtt) => format!("{many}, slowest answer {}", latency(rtt)),
        None => format!("{many}, seen by an overlapping run"),
    };
    Finding::new(Status::Ok, Reason::ServiceUp, text)
}

fn out_of_range(input: &RuleInput<'_>, instances: usize) -> Option<Finding> {
    let alerts = |range: &Range| range.alerts(instances as f64);
    let (status, _, range) = crossed(input.policy.critical, input.policy.warning, alerts)?;
    let status = input.at_least_so_many(status);
    let number = count(instances, "instance");
    let text = format!("{number}, {}", range.in_words(instances));
    Some(Finding::new(status, Reason::InstancesOutOfRange, text))
}

/// The instances that are missing, by fate, and why they may only seem to be.
fn missing(input: &RuleInput<'_>, replies: &[InstanceReply]) -> String {
    let (observation, absentees) = (input.observation, &input.next.absentees);
    let mut text = String::new();
    let one_comes_through = one_comes_through(input, replies);
    for fate in Fate::ALL {
        // They only look slow.
        if fate == Fate::Slow && (one_comes_through || observation.queue_group) {
            continue;
        }
        let missing = absentees.iter().filter(|absentee| absentee.fate == fate);
        let slow = slow(input).filter(|_| fate == Fate::Slow);
        let slow = slow.filter_map(|id| replies.iter().find(|reply| reply.instance.id == *id));
        let names: Vec<String> = missing
            .map(|absentee| absentee.instance.in_brief())
            .chain(slow.map(|reply| reply.instance.in_brief()))
            .collect();
        if !names.is_empty() {
            let names = some_of(&names, MAX_NAMED, names.len());
            text.push_str(&format!(", {}: {names}", fate.name()));
        }
    }
    if !observation.denied.is_empty() && !absentees.is_empty() {
        text.push_str(&format!(", {}", observation.denied));
    }
    if one_comes_through {
        text.push_str(", only one answers through the import: does its export say response_type: stream?");
    } else if observation.queue_group {
        text.push_str(", a PING does not reach all of them: their library puts the $SRV subjects into a queue group");
    }
    if let Some((id, replies)) = observation.same_id.first() {
        text.push_str(&format!(
            ", {replies} replies from one id ({}): is it running twice?",
            shown_id(id)
        ));
    }
    text
}

fn one_comes_through(input: &RuleInput<'_>, replies: &[InstanceReply]) -> bool {
    let one_by_one = slow(input).count();
    let several = one_by_one > 0 || !input.next.absentees.is_empty();
    input.policy.imported.is_some() && (input.observation.queue_group || several && replies.len() == one_by_one + 1)
}

/// The ids of the instances that replied when they were asked for themselves.
fn slow<'a>(input: &RuleInput<'a>) -> impl Iterator<Item = &'a String> {
    let absent = input.observation.absent.iter();
    absent.filter(|(_, fate)| *fate == Fate::Slow).map(|(id, _)| id)
}
