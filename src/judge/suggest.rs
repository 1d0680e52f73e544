//! The other services, for a user who gave a wrong name, or asks in a wrong account.

use super::rule::RuleInput;
use crate::values::text::{LIKE, some_of};

/// Maximum number of other services that are named.
const MAX_NAMED: usize = 5;

pub fn other_services(input: &RuleInput<'_>) -> String {
    let others = &input.observation.others;
    let names: Vec<&str> = others.iter().flatten().map(|(name, _)| name.as_str()).collect();
    let like = names
        .iter()
        .map(|name| (strsim::jaro_winkler(input.service, name), *name));
    let mut near: Vec<(f64, &str)> = like.filter(|(like, _)| *like > LIKE).collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    let near: Vec<&str> = near.into_iter().take(MAX_NAMED).map(|(_, name)| name).collect();
    match (others, names.len()) {
        (None, _) => "check the name, the account and --srv-prefix".to_owned(),
        (Some(_), 0) if !input.observation.denied.is_empty() => {
            format!("and other services cannot be listed: {}", input.observation.denied)
        }
        (Some(_), 0) => "no service at all answers here: is this the right account, and --srv-prefix?".to_owned(),
        _ if !near.is_empty() => format!("did you mean {}?", near.join(" or ")),
        (_, others) => format!("here are: {}", some_of(&names, MAX_NAMED, others)),
    }
}
