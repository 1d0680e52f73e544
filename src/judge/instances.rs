//! How many instances there are (`--warning`, `--critical`), and who is missing.

use std::collections::{BTreeMap, BTreeSet};

use super::case::{Case, Ruling, crossed, some_of};
use super::lost;
use super::verdict::{Finding, Metric, Unit};
use crate::probe::observation::{Answer, Fate, Instance, Outcome};
use crate::state::baseline::Baseline;
use crate::state::changes::Change;
use crate::state::memory::{Absentee, Memory};
use crate::values::range::Range;
use crate::values::status::Reason;
use crate::values::text::count;

/// How many missing instances are remembered.
pub const MAX_MISSED: usize = 64;

pub fn judge(case: &Case<'_>, ruling: &mut Ruling) {
    let instances = case.instances();
    ruling.metrics.push(Metric {
        name: "instances",
        value: instances.map(|number| number as f64),
        unit: Unit::Count,
        warning: case.policy.warning,
        critical: case.policy.critical,
    });
    // An outage says all that there is to say of the number.
    let told = ruling.next.outage.is_some();
    if let Some(finding) = instances
        .filter(|_| !told)
        .and_then(|number| out_of_range(case, number))
    {
        ruling.find(finding);
    }
    if let Outcome::Answered(answers) = &case.seen.outcome {
        let baseline = baseline(case, &ruling.next, answers);
        ruling.next.absentees = absentees(case, answers, &ruling.next, baseline.count());
        ruling.next.baseline = Some(baseline);
        lost::find(case, ruling, answers.len());
        // Where the number is told, it is told who is missing.
        if let Some(finding) = ruling.findings.last_mut() {
            finding.text.push_str(&who_is_missing(case, answers, &ruling.next));
        }
    }
}

fn baseline(case: &Case<'_>, next: &Memory, answers: &[Answer]) -> Baseline {
    let before = case.memory.baseline.clone().or_else(|| there_were(case.memory));
    let raised = before.as_ref().and_then(|before| before.raised);
    let old_ones_left = match (&next.changes, raised) {
        (Some(changes), Some(raise)) => changes.old_ones_left(case.seen.at, raise.since),
        _ => 0,
    };
    let settle = case.policy.loss.settle;
    Baseline::after(before.as_ref(), case.seen.at, answers.len(), settle, old_ones_left)
}

/// What is normal as far as an earlier version remembered it.
fn there_were(memory: &Memory) -> Option<Baseline> {
    let last_seen = memory.outage.as_ref().map(|outage| &outage.last_seen);
    let epoch = memory.epoch.as_ref().filter(|epoch| epoch.count > 0).or(last_seen)?;
    Some(Baseline::new(epoch.count + memory.absentees.len()))
}

/// Who is missing: no more than there are fewer than `normal`. Others have taken the places of the rest.
fn absentees(case: &Case<'_>, answers: &[Answer], next: &Memory, normal: usize) -> Vec<Absentee> {
    let before = &case.memory.absentees;
    let known = case.memory.last_known().unwrap_or_default();
    let known: BTreeMap<&str, &Instance> = known
        .iter()
        .chain(before.iter().map(|absentee| &absentee.instance))
        .map(|instance| (instance.id.as_str(), instance))
        .collect();
    let since = |id: &str| {
        before
            .iter()
            .find(|b| b.instance.id == id)
            .map_or(case.seen.at, |b| b.since)
    };
    let now_absent = case
        .seen
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
    let told: BTreeSet<&str> = case.seen.absent.iter().map(|(id, _)| id.as_str()).collect();
    let answered: BTreeSet<&str> = answers.iter().map(|answer| answer.instance.id.as_str()).collect();
    let other = |id: &str| !told.contains(id) && !answered.contains(id);
    absentees.extend(before.iter().filter(|b| other(&b.instance.id)).cloned());
    // There was no time to ask for them, or no need.
    let unasked = case
        .memory
        .known()
        .iter()
        .filter(|instance| other(&instance.id))
        .cloned();
    absentees.extend(unasked.map(|instance| Absentee {
        instance,
        since: case.seen.at,
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

fn who_is_missing(case: &Case<'_>, answers: &[Answer], next: &Memory) -> String {
    let mut text = String::new();
    let one_comes_through = one_comes_through(case, answers, next);
    for fate in Fate::ALL {
        // They only look slow.
        if fate == Fate::Slow && (one_comes_through || case.seen.one_reply_each) {
            continue;
        }
        let slow = case
            .seen
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
    if !case.seen.denied.is_empty() && !next.absentees.is_empty() {
        text.push_str(&format!(", {}", case.seen.denied));
    }
    if one_comes_through {
        text.push_str(", only one answers through the import: does its export say response_type: stream?");
    } else if case.seen.one_reply_each {
        text.push_str(", each PING reaches one instance only: their library puts the $SRV subjects into a queue group");
    }
    if let Some((id, replies)) = case.seen.same_id.first() {
        text.push_str(&format!(", {replies} replies from one id ({id}): is it running twice?"));
    }
    text
}

fn one_comes_through(case: &Case<'_>, answers: &[Answer], next: &Memory) -> bool {
    let slow = case.seen.absent.iter().filter(|(_, fate)| *fate == Fate::Slow);
    let one_by_one = slow.count();
    let several = case.memory.known().len() > 1 || one_by_one > 0 || !next.absentees.is_empty();
    case.policy.imported && (case.seen.one_reply_each || several && answers.len() == one_by_one + 1)
}

fn out_of_range(case: &Case<'_>, instances: usize) -> Option<Finding> {
    let alerts = |range: &Range| range.alerts(instances as f64);
    let (status, _, range) = crossed(case.policy.critical, case.policy.warning, alerts)?;
    let status = case.at_least_so_many(status);
    let number = count(instances, "instance");
    let text = format!("{number}, {}", range.in_words(instances));
    Some(Finding::new(status, Reason::InstancesOutOfRange, text))
}
