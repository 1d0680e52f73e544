//! The rule for instances that were replaced by others of the same version (`--restarts-…`): a crash loop in which each single
//! run finds the service up.

use std::collections::BTreeMap;

use super::details::verbosity_of;
use super::policy::RestartLimits;
use super::rule::{RuleInput, RuleOutput, crossed};
use super::verdict::{Finding, Metric};
use crate::probe::observation::{Fate, Outcome, shown_id};
use crate::state::changes::Change;
use crate::values::dated;
use crate::values::duration::age;
use crate::values::range::Range;
use crate::values::status::{Reason, Status};
use crate::values::text::count;

pub fn judge(input: &RuleInput<'_>, output: &mut RuleOutput) {
    let limits = &input.policy.restarts;
    if limits.are_none() {
        return;
    }
    let changes = input.next.changes.as_ref();
    let (window, before) = (limits.succession.window, input.previous.changes.as_ref());
    let restarts = changes.map(|changes| changes.restarts_to_judge(window, input.observation.at, before));
    let metric = Metric::count("restarts", restarts.as_ref().map(Vec::len));
    output.add_metric(metric.with_limits(limits.warning, limits.critical, below));
    // A run that could not ask has no new evidence.
    if matches!(input.observation.outcome, Outcome::Failed(_)) {
        return;
    }
    let restarts = restarts.unwrap_or_default();
    let is_presumed = |restart: &Change| changes.is_some_and(|changes| changes.is_presumed(restart));
    let presumed = restarts.iter().filter(|restart| is_presumed(restart)).count();
    output.add_findings(too_many(input, limits, &restarts, presumed));
    output.add_findings(may_not_ask(input));
    for (n, restart) in restarts.iter().rev().enumerate() {
        let how = if is_presumed(restart) { "presumed" } else { "seen" };
        let old = shown_id(restart.replaces().unwrap_or_default());
        let text = format!("restart {how} {}: {} in place of {old}", restart.at, restart.instance);
        output.add_detail(verbosity_of(n), text);
    }
}

/// The range that alerts from this number on.
fn below(limit: usize) -> Range {
    Range::at_most(limit.saturating_sub(1) as f64)
}

/// `presumed`: how many of them the server did not confirm.
fn too_many(input: &RuleInput<'_>, limits: &RestartLimits, restarts: &[&Change], presumed: usize) -> Option<Finding> {
    let latest = restarts.last()?;
    let (status, word, limit) = crossed(limits.critical, limits.warning, |limit| restarts.len() >= *limit)?;
    let text = format!(
        "{} within {}, {word} from {limit}{}, latest {} ago: {}{}",
        count(restarts.len(), "restart"),
        age(input.policy.restarts.succession.window),
        where_most(restarts),
        dated::age(latest.at, input.observation.at),
        latest.instance.in_brief(),
        why_presumed(input, restarts.len(), presumed),
    );
    Some(Finding::new(status, Reason::Restarts, text))
}

/// ` (2 of them presumed: a wildcard subscriber hides whether silent instances are gone)`, where some are.
fn why_presumed(input: &RuleInput<'_>, restarts: usize, presumed: usize) -> String {
    let cause = match input.policy.imported.is_some() {
        true => "the account import or a wildcard subscriber",
        false => "a wildcard subscriber",
    };
    let some = match presumed {
        0 => return String::new(),
        all if all == restarts => String::new(),
        some => format!("{some} of them "),
    };
    format!(" ({some}presumed: {cause} hides whether silent instances are gone)")
}

/// `; 3 of them at pod=orders-1`, where one place stands out.
fn where_most(restarts: &[&Change]) -> String {
    let mut places: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for place in restarts.iter().filter_map(|restart| restart.place()) {
        *places.entry(place).or_default() += 1;
    }
    match places.into_iter().max_by_key(|(_, number)| *number) {
        Some(((key, value), number)) if number > 1 && number == restarts.len() => format!(", all at {key}={value}"),
        Some(((key, value), number)) if number > 1 => format!(", {number} of them at {key}={value}"),
        _ => String::new(),
    }
}

/// Where we may not ask for an instance, nobody knows whether it is gone.
fn may_not_ask(input: &RuleInput<'_>) -> Option<Finding> {
    let denied = &input.observation.denied;
    let not_asked = input.observation.absent.iter().any(|(_, fate)| *fate == Fate::NotAsked);
    let unknown = not_asked && !denied.is_empty() && matches!(input.observation.outcome, Outcome::Answered(_));
    let text = format!("restarts unknown: {denied}");
    unknown.then(|| Finding::new(Status::Unknown, Reason::PermissionDenied, text))
}

#[cfg(test)]
mod tests;
