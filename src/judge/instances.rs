//! How many instances there are (`--warning`, `--critical`), and who is missing.

use std::collections::{BTreeMap, BTreeSet};

use super::lost;
use super::rule::{RuleInput, RuleOutput, crossed, some_of};
use super::verdict::{Finding, Metric, Unit};
use crate::probe::observation::{Fate, Instance, InstanceReply, Outcome};
use crate::state::baseline::Baseline;
use crate::state::changes::Change;
use crate::state::memory::{Absentee, Memory};
use crate::values::range::Range;
use crate::values::status::Reason;
use crate::values::text::count;

/// How many missing instances are remembered.
pub const MAX_MISSED: usize = 64;

pub fn judge(input: &RuleInput<'_>, output: &mut RuleOutput) {
    let instances = input.instances();
    output.metrics.push(Metric {
        name: "instances",
        value: instances.map(|number| number as f64),
        unit: Unit::Count,
        warning: input.policy.warning,
        critical: input.policy.critical,
    });
    // An outage says all that there is to say of the number.
    let told = output.next.outage.is_some();
    if let Some(finding) = instances
        .filter(|_| !told)
        .and_then(|number| out_of_range(input, number))
    {
        output.add_finding(finding);
    }
    if let Outcome::Answered(answers) = &input.observation.outcome {
        let baseline = baseline(input, &output.next, answers);
        output.next.absentees = absentees(input, answers, &output.next, baseline.count());
        output.next.baseline = Some(baseline);
        lost::find(input, output, answers.len());
        // Where the number is told, it is told who is missing.
        if let Some(finding) = output.findings.last_mut() {
            finding.text.push_str(&who_is_missing(input, answers, &output.next));
        }
    }
}

fn baseline(input: &RuleInput<'_>, next: &Memory, answers: &[InstanceReply]) -> Baseline {
    let before = input.memory.baseline.clone().or_else(|| there_were(input.memory));
    let raised = before.as_ref().and_then(|before| before.raised);
    let old_ones_left = match (&next.changes, raised) {
        (Some(changes), Some(raise)) => changes.old_ones_left(input.observation.at, raise.since),
        _ => 0,
    };
    let settle = input.policy.loss.settle;
    Baseline::after(
        before.as_ref(),
        input.observation.at,
        answers.len(),
        settle,
        old_ones_left,
    )
}

/// What is normal as far as an earlier version remembered it.
fn there_were(memory: &Memory) -> Option<Baseline> {
    let last_seen = memory.outage.as_ref().map(|outage| &outage.last_seen);
    let epoch = memory.epoch.as_ref().filter(|epoch| epoch.count > 0).or(last_seen)?;
    Some(Baseline::new(epoch.count + memory.absentees.len()))
}

/// Who is missing: no more than there are fewer than `normal`. Others have taken the places of the rest.
fn absentees(input: &RuleInput<'_>, answers: &[InstanceReply], next: &Memory, normal: usize) -> Vec<Absentee> {
    let before = &input.memory.absentees;
    let known = input.memory.last_known().unwrap_or_default();
    let known: BTreeMap<&str, &Instance> = known
        .iter()
        .chain(before.iter().map(|absentee| &absentee.instance))
        .map(|instance| (instance.id.as_str(), instance))
        .collect();
    let since = |id: &str| {
        before
            .iter()
            .find(|b| b.instance.id == id)
            .map_or(input.observation.at, |b| b.since)
    };
    let now_absent = input
        .observation
        .absent
        .iter()
        .filter(|(_, fate)| *fate != Fate::Slow)
        .filter_map(|(id, fate)| {
            Some(Absentee {
                instance: (*known.get(id.as_str())?).clone(),
                since: since(id),
                fate: *fate,
            })
        });
    let mut absentees: Vec<Absentee> = now_absent.collect();
    let told: BTreeSet<&str> = input.observation.absent.iter().map(|(id, _)| id.as_str()).collect();
    let answered: BTreeSet<&str> = answers.iter().map(|answer| answer.instance.id.as_str()).collect();
    let other = |id: &str| !told.contains(id) && !answered.contains(id);
    absentees.extend(before.iter().filter(|b| other(&b.instance.id)).cloned());
    // There was no time to ask for them, or no need.
    let unasked = input
        .memory
        .known()
        .iter()
        .filter(|instance| other(&instance.id))
        .cloned();
    absentees.extend(unasked.map(|instance| Absentee {
        instance,
        since: input.observation.at,
        fate: Fate::NotAsked,
    }));
    // It is known of some that others have taken their places.
    let changes = next.changes.iter().flat_map(|changes| &changes.log);
    let replaced: BTreeSet<&str> = changes.filter_map(Change::replaces).collect();
    let is_replaced = |absentee: &Absentee| replaced.contains(absentee.instance.id.as_str());
    absentees.sort_by_key(|absentee| (is_replaced(absentee), std::cmp::Reverse(absentee.since)));
    absentees.truncate(normal.saturating_sub(answers.len()).min(MAX_MISSED));
    absentees
}

fn who_is_missing(input: &RuleInput<'_>, answers: &[InstanceReply], next: &Memory) -> String {
    let mut text = String::new();
    let one_comes_through = one_comes_through(input, answers, next);
    for fate in Fate::ALL {
        // They only look slow.
        if fate == Fate::Slow && (one_comes_through || input.observation.one_reply_each) {
            continue;
        }
        let slow = input
            .observation
            .absent
            .iter()
            .filter(|(_, f)| (fate, *f) == (Fate::Slow, Fate::Slow));
        let slow = slow.filter_map(|(id, _)| answers.iter().find(|answer| answer.instance.id == *id));
        let missing = next.absentees.iter().filter(|absentee| absentee.fate == fate);
        let who: Vec<String> = missing
            .map(|absentee| absentee.instance.in_brief())
            .chain(slow.map(|answer| answer.instance.in_brief()))
            .collect();
        if !who.is_empty() {
            text.push_str(&format!(", {}: {}", fate.name(), some_of(&who, who.len())));
        }
    }
    if !input.observation.denied.is_empty() && !next.absentees.is_empty() {
        text.push_str(&format!(", {}", input.observation.denied));
    }
    if one_comes_through {
        text.push_str(", only one answers through the import: does its export say response_type: stream?");
    } else if input.observation.one_reply_each {
        text.push_str(", each PING reaches one instance only: their library puts the $SRV subjects into a queue group");
    }
    if let Some((id, replies)) = input.observation.same_id.first() {
        text.push_str(&format!(", {replies} replies from one id ({id}): is it running twice?"));
    }
    text
}

fn one_comes_through(input: &RuleInput<'_>, answers: &[InstanceReply], next: &Memory) -> bool {
    let slow = input.observation.absent.iter().filter(|(_, fate)| *fate == Fate::Slow);
    let one_by_one = slow.count();
    let several = input.memory.known().len() > 1 || one_by_one > 0 || !next.absentees.is_empty();
    input.policy.imported && (input.observation.one_reply_each || several && answers.len() == one_by_one + 1)
}

fn out_of_range(input: &RuleInput<'_>, instances: usize) -> Option<Finding> {
    let alerts = |range: &Range| range.alerts(instances as f64);
    let (status, _, range) = crossed(input.policy.critical, input.policy.warning, alerts)?;
    let status = input.at_least_so_many(status);
    let number = count(instances, "instance");
    let text = format!("{number}, {}", range.in_words(instances));
    Some(Finding::new(status, Reason::InstancesOutOfRange, text))
}
