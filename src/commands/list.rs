//! Lists the services that answer now, and those that are remembered and do not. Remembers nothing.

use std::time::Instant;

use super::check_report::unknown;
use super::run_all::probe_plan;
use super::scope::Question;
use crate::cli::{Arguments, ConfigError, Format, ListOptions};
use crate::probe::client::{ProbeRequest, probe_all};
use crate::probe::observation::Outcome;
use crate::probe::plan::FIRST_RETRY;
use crate::process::exit::Output;
use crate::process::watchdog;
use crate::render::list::{DEFAULT_TEMPLATE, ListEntry, ListFormat, ListStyle, render};
use crate::state::memory::Memory;
use crate::values::env::Env;
use crate::values::timestamp::Timestamp;

pub fn run(arguments: &Arguments, options: &ListOptions, env: Env<'_>, start: Instant) -> Result<Output, ConfigError> {
    let deadline = start + arguments.settings.timing.timeout;
    let alarms = watchdog::watch(deadline);
    let question = Question::new(arguments, env, deadline, None)?;
    let Question::All(config, store) = question else {
        return Err(ConfigError::Usage("list is about all services".into()));
    };
    let memory = store.peek(Timestamp::now());
    let mut plan = probe_plan(&config, &memory, Timestamp::now());
    for plan in &mut plan.services {
        // A missing service is listed and raises no alarm: one retry is enough.
        plan.confirm = plan.confirm.min(FIRST_RETRY);
        plan.census = true;
    }
    if let Some(discovery) = &mut plan.discovery {
        discovery.census = true;
    }
    let seen = probe_all(&ProbeRequest {
        target: &config.target,
        plan,
        start,
        deadline,
        alarms: &alarms,
    });
    if let Outcome::Failed(failure) = &seen.common.outcome {
        return Ok(unknown(failure.reason, failure.text.as_str()));
    }
    let entries: Vec<ListEntry<'_>> = seen
        .services
        .iter()
        .map(|(service, seen)| ListEntry {
            service,
            seen: Some(seen),
            memory: memory.services.get(service),
        })
        .filter(|entry| {
            let answers = matches!(entry.seen.map(|seen| &seen.outcome), Some(Outcome::Answered(_)));
            let remembered = entry.memory.is_some_and(Memory::is_remembered);
            answers || remembered || config.services.expected.contains(entry.service)
        })
        .collect();
    let labels = &config.settings.output.metrics.labels;
    let nats = labels.iter().find(|label| label.name == "nats");
    Ok(Output::success(render(
        &entries,
        &ListStyle {
            format: match config.settings.output.format {
                Format::Json => ListFormat::Json,
                Format::Zabbix => ListFormat::Zabbix,
                Format::Icinga => ListFormat::Icinga,
                Format::Nagios => ListFormat::Nagios,
                Format::PrometheusSd => ListFormat::PrometheusSd,
                _ => ListFormat::Text,
            },
            template: options.template.as_deref().unwrap_or(DEFAULT_TEMPLATE),
            nats: nats.map(|label| label.value.as_str()),
            now: Timestamp::now(),
        },
    )))
}
