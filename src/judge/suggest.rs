//! Who else is there, for the one who asked for a wrong name, or in a wrong account.

use super::rule::RuleInput;
use crate::values::text::LIKE;

/// How many other services are named.
const MAX_NAMED: usize = 5;

pub fn who_else(input: &RuleInput<'_>) -> String {
    let names: Vec<&str> = input
        .observation
        .others
        .iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .collect();
    let mut near: Vec<(f64, &str)> = names
        .iter()
        .map(|name| (strsim::jaro_winkler(input.service, name), *name))
        .filter(|(like, _)| *like > LIKE)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    let near: Vec<&str> = near.into_iter().take(MAX_NAMED).map(|(_, name)| name).collect();
    match (&input.observation.others, names.len()) {
        (None, _) => "check the name, the account and --srv-prefix".to_owned(),
        (Some(_), 0) if !input.observation.denied.is_empty() => {
            format!("and we may not look who is there: {}", input.observation.denied)
        }
        (Some(_), 0) => "no service at all answers here: is this the right account, and --srv-prefix?".to_owned(),
        _ if !near.is_empty() => format!("did you mean {}?", near.join(" or ")),
        (_, others) => {
            let shown = names[..others.min(MAX_NAMED)].join(", ");
            match others.saturating_sub(MAX_NAMED) {
                0 => format!("here are: {shown}"),
                more => format!("here are: {shown} and {more} more"),
            }
        }
    }
}
