//! How many instances were replaced by others of the same version (`--restarts-…`): a crash loop that each single run would
//! take for a service that is up.

use std::collections::BTreeMap;

use super::case::{Case, Ruling, crossed};
use super::policy::RestartLimits;
use super::verdict::{Finding, Metric, Unit};
use crate::probe::observation::{Fate, Outcome};
use crate::state::changes::Change;
use crate::values::duration::age;
use crate::values::range::Range;
use crate::values::status::{Reason, Status};
use crate::values::text::count;

/// How many restarts `-v` tells; `-vv` tells all.
const MAX_NAMED: usize = 10;

pub fn judge(case: &Case<'_>, ruling: &mut Ruling) {
    let limits = &case.policy.restarts;
    if limits.are_none() {
        return;
    }
    let changes = ruling.next.changes.clone();
    let restarts = changes
        .as_ref()
        .map(|changes| changes.restarts_within(limits.window, case.seen.at));
    let is_presumed = |restart: &Change| changes.as_ref().is_some_and(|changes| changes.is_presumed(restart));
    ruling.metrics.push(Metric {
        name: "restarts",
        value: restarts.as_ref().map(|restarts| restarts.len() as f64),
        unit: Unit::Count,
        warning: limits.warning.map(below),
        critical: limits.critical.map(below),
    });
    // One that could not ask knows nothing new.
    if matches!(case.seen.outcome, Outcome::Failed(_)) {
        return;
    }
    let restarts = restarts.unwrap_or_default();
    let presumed = restarts.iter().filter(|restart| is_presumed(restart)).count();
    ruling.findings.extend(too_many(case, limits, &restarts, presumed));
    ruling.findings.extend(cannot_be_told(case));
    for (n, restart) in restarts.iter().rev().enumerate() {
        let verbosity = if n < MAX_NAMED { 1 } else { 2 };
        let old = restart.replaces().unwrap_or_default();
        ruling.tell(
            verbosity,
            format!(
                "restart {} {}: {} in place of {old}",
                if is_presumed(restart) { "presumed" } else { "seen" },
                restart.at,
                restart.instance
            ),
        );
    }
}

/// What alerts from this number on.
fn below(limit: usize) -> Range {
    Range::at_most(limit.saturating_sub(1) as f64)
}

/// `presumed`: how many of them the server did not confirm.
fn too_many(case: &Case<'_>, limits: &RestartLimits, restarts: &[&Change], presumed: usize) -> Option<Finding> {
    let latest = restarts.last()?;
    let (status, word, limit) = crossed(limits.critical, limits.warning, |limit| restarts.len() >= *limit)?;
    let text = format!(
        "{} within {}, {word} from {limit}{}, latest {} ago: {}{}",
        count(restarts.len(), "restart"),
        age(case.policy.restarts.window),
        where_most(restarts),
        age(case.seen.at.since(latest.at)),
        latest.instance.in_brief(),
        why_presumed(case, restarts.len(), presumed),
    );
    Some(Finding::new(status, Reason::Restarts, text))
}

/// ` (2 of them presumed: a wildcard subscriber hides whether silent instances are gone)`, where some are.
fn why_presumed(case: &Case<'_>, restarts: usize, presumed: usize) -> String {
    let cause = match case.policy.imported {
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
fn cannot_be_told(case: &Case<'_>) -> Option<Finding> {
    let denied = &case.seen.denied;
    let not_asked = case.seen.absent.iter().any(|(_, fate)| *fate == Fate::NotAsked);
    let unknown = not_asked && !denied.is_empty() && matches!(case.seen.outcome, Outcome::Answered(_));
    let text = format!("restarts cannot be told: {denied}");
    unknown.then(|| Finding::new(Status::Unknown, Reason::PermissionDenied, text))
}

#[cfg(test)]
mod tests;
