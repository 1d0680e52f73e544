//! `state show`, `state reset` and `state list`: looks at, or forgets, what is remembered.

use std::time::Instant;

use super::check_report::unknown;
use super::run_check::state_environment;
use super::scope::Question;
use crate::cli::{Format, StateListOptions, StateShowOptions};
use crate::process::exit::Output;
use crate::process::watchdog;
use crate::render;
use crate::state::account_format::LoadedAccount;
use crate::state::account_store::AccountStore;
use crate::state::key::StateKey;
use crate::state::store::{self, Store};
use crate::values::env::Env;
use crate::values::selection::Selection;
use crate::values::status::Reason;
use crate::values::text::count;
use crate::values::timestamp::Timestamp;

/// Maximum number of services that are named in one line.
const MAX_NAMED: usize = 10;

pub fn show(question: &Question, options: StateShowOptions) -> Output {
    let now = Timestamp::now();
    let shown = match question {
        Question::One(config, store) => show_one(&config.state_key(), store, options, now),
        Question::All(config, store) => show_all(&config.services.selection, store, now),
    };
    shown.map_or_else(|problem| unknown(Reason::StateUnusable, problem), Output::success)
}

fn show_one(key: &StateKey, store: &Store, options: StateShowOptions, now: Timestamp) -> Result<String, String> {
    let shown = store.show(now)?;
    if shown.is_none() {
        // No other state could be meant.
        if let (false, Some((path, loaded))) = (options.is_server_given, store.only_sibling(now)?) {
            return Ok(render::memory::render(&loaded.key, Some(&path), Some(&loaded), now));
        }
        others(key, store, now).map_or(Ok(()), Err)?;
    }
    let (path, loaded) = shown
        .as_ref()
        .map_or((store.path(), None), |(path, loaded)| (Some(*path), Some(loaded)));
    Ok(render::memory::render(key, path, loaded, now))
}

fn show_all(selection: &Selection, store: &AccountStore, now: Timestamp) -> Result<String, String> {
    let mut loaded = store.show(now)?;
    match &mut loaded {
        Some(LoadedAccount { memory, .. }) => memory.select(selection),
        None => other_accounts(store, now).map_or(Ok(()), Err)?,
    }
    let files = store.checked_alone()?;
    Ok(render::memory::render_all(
        store.key(),
        store.path(),
        loaded.as_ref(),
        &files,
        now,
    ))
}

pub fn reset(question: &Question, start: Instant) -> Output {
    let now = Timestamp::now();
    let reset = match question {
        Question::One(config, store) => {
            let deadline = start + config.settings.timing.timeout;
            store.reset(deadline).and_then(|forgotten| match forgotten.is_empty() {
                true => others(&config.state_key(), store, now).map_or(Ok(nothing(&store.shown_path())), Err),
                false => Ok(forgotten.iter().map(|what| format!("forgotten: {what}\n")).collect()),
            })
        }
        Question::All(config, store) => {
            let deadline = start + config.settings.timing.timeout;
            reset_all(&config.services.selection, store, deadline, now)
        }
    };
    reset.map_or_else(|problem| unknown(Reason::StateUnusable, problem), Output::success)
}

fn reset_all(selection: &Selection, store: &AccountStore, deadline: Instant, now: Timestamp) -> Result<String, String> {
    let path = store.shown_path();
    let mut kept: Vec<String> = store.checked_alone()?.into_keys().collect();
    let mut text = match store.reset(deadline, selection)? {
        Some(number) => format!("forgotten: {} in {path}\n", count(number, "service")),
        None if !kept.is_empty() => nothing(&path),
        None => other_accounts(store, now).map_or(Ok(nothing(&path)), Err)?,
    };
    kept.retain(|name| selection.includes(name));
    if !kept.is_empty() {
        let more = match kept.len().saturating_sub(MAX_NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        kept.truncate(MAX_NAMED);
        let kept = kept.join(", ");
        text += &format!("kept, since they were checked alone: {kept}{more} (state reset -n NAME)\n");
    }
    Ok(text)
}

fn nothing(path: &str) -> String {
    format!("nothing to forget: there is no {path}\n")
}

/// Names the states of the same service that lie beside the one that is missing: one of them was meant, perhaps.
fn others(key: &StateKey, store: &Store, now: Timestamp) -> Option<String> {
    let others = store.siblings(now).ok().filter(|others| !others.is_empty())?;
    Some(render::state_list::no_such_state(key, &others))
}

/// The same of the states of accounts.
fn other_accounts(store: &AccountStore, now: Timestamp) -> Option<String> {
    let others = store.siblings(now).ok().filter(|others| !others.is_empty())?;
    Some(render::state_list::no_such_account(store.key(), &others))
}

/// Lists the states in the folder. One that cannot be read is listed with the reason.
pub fn list(options: &StateListOptions, env: Env<'_>, start: Instant) -> Output {
    watchdog::watch(start + options.timeout);
    let now = Timestamp::now();
    let state_environment = state_environment(env);
    let listed = options.location.dir(&[], &state_environment).and_then(|dir| {
        // Without a folder nothing is remembered.
        let dir = dir.unwrap_or_default();
        let states = store::list(&dir, state_environment.ancestors(), now)?;
        Ok((dir, states))
    });
    let (dir, mut states) = match listed {
        Ok(listed) => listed,
        Err(problem) => return unknown(Reason::StateUnusable, problem),
    };
    if let Some(service) = &options.service {
        let is_wanted = |key: &StateKey| key.service == service.as_str();
        states.retain(|state| state.loaded.as_ref().is_ok_and(|loaded| is_wanted(&loaded.key)));
    }
    Output::success(match options.format == Format::Json {
        true => render::state_list::json(&dir, &states),
        false => render::state_list::text(&dir, &states, now),
    })
}
