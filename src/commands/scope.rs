//! One service or all of them: the one place that tells the commands apart by it.

use std::time::Instant;

use super::check_report::{AbortReport, CheckReport};
use super::run_all::{account_store, run_all};
use super::run_check::{run_check, state_store};
use crate::cli::{AllConfig, Arguments, Config, ConfigError, Scope};
use crate::connect::target::Target;
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
                let store = match carried {
                    Some(text) => Store::holding(text, config.state_key()),
                    None => state_store(&config, env),
                };
                Question::One(Box::new(config), store)
            }
            Scope::All(services) => {
                let services = arguments.all_services(services, env, deadline)?;
                let config = AllConfig {
                    services,
                    target,
                    settings,
                };
                let store = match carried {
                    Some(text) => AccountStore::holding(text, config.account_key()),
                    None => account_store(&config, env),
                };
                Question::All(Box::new(config), store)
            }
        })
    }

    /// Returns the servers, the login and TLS.
    pub fn target(&self) -> &Target {
        match self {
            Question::One(config, _) => &config.target,
            Question::All(config, _) => &config.target,
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
    pub fn check(&self, start: Instant, last_words: &AbortReport) -> CheckReport {
        match self {
            Question::One(config, store) => CheckReport::One(Box::new(run_check(config, store, start, last_words))),
            Question::All(config, store) => CheckReport::All(run_all(config, store, start, last_words)),
        }
    }
}
