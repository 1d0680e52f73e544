//! `state show` and `state reset`: looks at, or forgets, what is remembered.

use std::time::Instant;

use super::check;
use crate::cli::Config;
use crate::guard::exit::Output;
use crate::render;
use crate::state::store::Store;
use crate::values::status::Reason;
use crate::values::timestamp::Timestamp;

pub fn show(config: &Config, store: &Store) -> Output {
    let now = Timestamp::now();
    match store.show(now) {
        Ok(loaded) => Output::fine(render::memory::render(
            &config.question(),
            store.path(),
            loaded.as_ref(),
            now,
        )),
        Err(problem) => check::unknown(Reason::StateUnusable, problem),
    }
}

pub fn reset(config: &Config, store: &Store, start: Instant) -> Output {
    let path = store.shown_path();
    match store.reset(start + config.timing.timeout) {
        Ok(true) => Output::fine(format!("forgotten: {path}\n")),
        Ok(false) => Output::fine(format!("nothing to forget: there is no {path}\n")),
        Err(problem) => check::unknown(Reason::StateUnusable, problem),
    }
}
