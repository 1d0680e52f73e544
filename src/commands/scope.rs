//! One service or all of them: the one place that tells the commands apart by it.

use std::sync::Arc;
use std::time::Instant;

use super::run_all::{account_store, run_all};
use super::run_check::{run_check, state_store};
use crate::cli::{AllConfig, Arguments, Config, ConfigError, Format, OutputOptions, Scope};
use crate::judge::verdict::{Finding, Verdict};
use crate::process::exit::Output;
use crate::render;
use crate::render::prometheus::Style;
use crate::render::report::{AllReport, Report};
use crate::state::account_store::AccountStore;
use crate::state::store::Store;
use crate::values::env::Env;
use crate::values::status::{Reason, Status};

/// What a command is about, with its state.
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
            Question::One(config, store) => CheckReport::One(run_check(config, store, start, last_words)),
            Question::All(config, store) => CheckReport::All(run_all(config, store, start, last_words)),
        }
    }
}

/// Reports for a command when its run is ended early, given the cause in words. It runs in a thread that must not wait
/// for anything any more, a file say.
pub type AbortReport = Arc<dyn Fn(&CheckReport, &str) -> Output + Send + Sync>;

/// The report of a check.
pub enum CheckReport {
    One(Report),
    All(AllReport),
}

impl CheckReport {
    /// UNKNOWN for one reason, before anything was asked.
    pub fn unknown(scope: &Scope, reason: Reason, text: &str) -> CheckReport {
        match scope {
            Scope::One(service) => CheckReport::One(Report::unknown(service.as_str(), reason, text)),
            Scope::All(_) => CheckReport::All(AllReport::unknown(reason, text)),
        }
    }

    /// The verdict; that over all services, where there are many.
    pub fn verdict(&self) -> &Verdict {
        match self {
            CheckReport::One(report) => &report.verdict,
            CheckReport::All(report) => &report.overview,
        }
    }

    pub fn status(&self) -> Status {
        self.verdict().status()
    }

    /// Adds what went wrong beside the check itself.
    pub fn add(&mut self, finding: Finding) {
        match self {
            CheckReport::One(report) => report.verdict.add(finding),
            CheckReport::All(report) => report.overview.add(finding),
        }
    }

    /// One JSON value.
    pub fn json(&self) -> String {
        match self {
            CheckReport::One(report) => render::json::render(report),
            CheckReport::All(report) => render::json::render_all(report),
        }
    }

    /// The metrics, in the text exposition format.
    pub fn metrics(&self, style: &Style) -> String {
        match self {
            CheckReport::One(report) => render::prometheus::render(report, style),
            CheckReport::All(report) => render::prometheus::render_all(report, style),
        }
    }

    /// The output of `check`, in the format that was asked for.
    pub fn output(&self, options: &OutputOptions) -> Output {
        let verbosity = options.verbosity;
        let text = match (options.format, self) {
            (Format::Json, _) => self.json(),
            (Format::Prometheus, _) => self.metrics(&options.metrics),
            (Format::Text, CheckReport::One(report)) => render::text::render(&report.verdict, verbosity),
            (Format::Text, CheckReport::All(report)) => render::text::render_all(report, verbosity),
            (Format::Checkmk, CheckReport::One(report)) => render::checkmk::render(&report.verdict, verbosity),
            (Format::Checkmk, CheckReport::All(report)) => render::checkmk::render_all(report, verbosity),
            // The parser refuses the formats of a list.
            (_, CheckReport::One(report)) => render::nagios::render(&report.verdict, verbosity),
            (_, CheckReport::All(report)) => render::nagios::render_all(report, verbosity),
        };
        Output {
            exit_code: self.status().exit_code(),
            ..Output::success(text)
        }
    }
}

/// UNKNOWN before there is a service to speak of.
pub fn bare(reason: Reason, text: impl Into<String>, options: &OutputOptions) -> Output {
    CheckReport::One(Report::unknown("", reason, text)).output(options)
}

/// The same in the format for people and Nagios.
pub fn unknown(reason: Reason, text: impl Into<String>) -> Output {
    bare(reason, text, &OutputOptions::default())
}
