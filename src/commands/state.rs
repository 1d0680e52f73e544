//! `state show`, `state reset` and `state list`: looks at, or forgets, what is remembered.

use std::time::Instant;

use super::check_report::unknown;
use super::run_check::state_environment;
use super::scope::Question;
use crate::cli::{Format, StateListOptions};
use crate::process::exit::Output;
use crate::process::watchdog;
use crate::render;
use crate::state::key::StateKey;
use crate::state::store::{self, Store};
use crate::values::env::Env;
use crate::values::status::Reason;
use crate::values::timestamp::Timestamp;

pub fn show(question: &Question) -> Output {
    let now = Timestamp::now();
    let Question::One(config, store) = question else {
        return unknown(Reason::StateUnusable, "not yet");
    };
    let key = config.state_key();
    match (store.show(now), others(&key, store, now)) {
        (Ok(None), Some(others)) => unknown(Reason::StateUnusable, others),
        (Ok(shown), _) => {
            let (path, loaded) = shown
                .as_ref()
                .map_or((store.path(), None), |(path, loaded)| (Some(*path), Some(loaded)));
            Output::success(render::memory::render(&key, path, loaded, now))
        }
        (Err(problem), _) => unknown(Reason::StateUnusable, problem),
    }
}

pub fn reset(question: &Question, start: Instant) -> Output {
    let Question::One(config, store) = question else {
        return unknown(Reason::StateUnusable, "not yet");
    };
    let path = store.shown_path();
    match store.reset(start + config.settings.timing.timeout) {
        Ok(true) => Output::success(format!("forgotten: {path}\n")),
        Ok(false) => match others(&config.state_key(), store, Timestamp::now()) {
            Some(others) => unknown(Reason::StateUnusable, others),
            None => Output::success(format!("nothing to forget: there is no {path}\n")),
        },
        Err(problem) => unknown(Reason::StateUnusable, problem),
    }
}

/// Names the states of the same service that lie beside the one that is missing: one of them was meant, perhaps.
fn others(key: &StateKey, store: &Store, now: Timestamp) -> Option<String> {
    let others = store.siblings(now).ok().filter(|others| !others.is_empty())?;
    Some(render::state_list::no_such_state(key, &others))
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
