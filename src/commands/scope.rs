//! One service or all of them: the one place that tells the commands apart by it.

use std::time::{Duration, Instant};

use super::check_report::{AbortReport, CheckReport};
use super::run_all::{account_store, run_all, run_all_unasked};
use super::run_check::{Limits, run_check, run_unasked, state_store};
use crate::cli::{AllConfig, Arguments, Config, ConfigError, Scope};
use crate::connect::target::Target;
use crate::probe::observation::Failure;
use crate::state::account::AccountKey;
use crate::state::account_store::AccountStore;
use crate::state::store::Store;
use crate::values::env::Env;

/// Subject of a command, with its state.
pub enum Question {
    One(Box<Config>, Store),
    All(Box<AllConfig>, AccountStore),
}

impl Question {
    /// Reads the files that say how to connect and whom to expect, until the deadline. `carried`: the text of the state, where no
    /// file holds it.
    ///
    /// # Errors
    ///
    /// The message: what is wrong, and the way out.
    pub fn new(
        arguments: &Arguments,
        env: Env<'_>,
        deadline: Instant,
        carried: Option<&str>,
    ) -> Result<Question, ConfigError> {
        let target = arguments.target(env, deadline)?;
        let settings = arguments.settings.clone();
        Ok(match &arguments.scope {
            Scope::One(service) => {
                let service = service.clone();
                let config = Config {
                    service,
                    target,
                    settings,
                };
                let store = state_store(config.state_key(), carried, &config.settings, env);
                Question::One(Box::new(config), store)
            }
            Scope::All(services) => {
                let services = arguments.all_services(services, env, deadline)?;
                let config = AllConfig {
                    services,
                    target,
                    settings,
                };
                let store = account_store(config.account_key(), carried, &config.settings, env);
                Question::All(Box::new(config), store)
            }
        })
    }

    pub fn timeout(&self) -> Duration {
        let settings = match self {
            Question::One(config, _) => &config.settings,
            Question::All(config, _) => &config.settings,
        };
        settings.timing.timeout
    }

    /// Returns the servers, the login and TLS.
    pub fn target(&self) -> &Target {
        match self {
            Question::One(config, _) => &config.target,
            Question::All(config, _) => &config.target,
        }
    }

    /// Whose state it is.
    pub fn key(&self) -> AccountKey {
        match self {
            Question::One(config, _) => AccountKey::from(&config.state_key()),
            Question::All(config, _) => config.account_key(),
        }
    }

    /// The state after this report, to be carried on; `None` where a file holds it.
    pub fn state_text(&self, report: &CheckReport) -> Option<String> {
        match (self, report) {
            (Question::One(_, store), CheckReport::One(report)) => Some(store.write_text(&report.memory)),
            (Question::All(_, store), _) => store.held_text(),
            _ => None,
        }
    }

    /// Probes, judges and remembers.
    pub fn check(&self, limits: Limits, last_words: &AbortReport) -> CheckReport {
        match self {
            Question::One(config, store) => CheckReport::One(Box::new(run_check(config, store, limits, last_words))),
            Question::All(config, store) => CheckReport::All(run_all(config, store, limits, last_words)),
        }
    }
}

/// The same where nobody can be asked, for this reason: what is remembered under this key is judged, and reported. `carried` and the
/// second value returned: the text of the state, where no file holds it.
pub fn check_unasked(
    arguments: &Arguments,
    env: Env<'_>,
    key: &AccountKey,
    carried: Option<&str>,
    failure: Failure,
    limits: Limits,
    last_words: &AbortReport,
) -> (CheckReport, Option<String>) {
    let (Arguments { scope, settings, .. }, end) = (arguments, limits.end);
    match scope {
        Scope::One(service) => {
            let store = state_store(key.of_service(service.as_str()), carried, settings, env);
            let report = run_unasked(service.as_str(), settings, &store, failure, end, last_words);
            let state = carried.map(|_| store.write_text(&report.memory));
            (CheckReport::One(Box::new(report)), state)
        }
        Scope::All(services) => {
            let store = account_store(key.clone(), carried, settings, env);
            // The file with the names of those expected may be the one that cannot be used.
            let with_file = arguments.all_services(services, env, limits.network);
            let services = with_file.as_ref().unwrap_or(services);
            let report = run_all_unasked(services, settings, &store, failure, end, last_words);
            (CheckReport::All(report), store.held_text())
        }
    }
}
