//! The output of `state show`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::probe::observation::shown_id;
use crate::probe::stats::Counters;
use crate::state::account::AccountKey;
use crate::state::account_format::LoadedAccount;
use crate::state::format::Loaded;
use crate::state::key::StateKey;
use crate::state::memory::{Epoch, Memory};
use crate::values::duration::age;
use crate::values::text::count;
use crate::values::timestamp::Timestamp;

/// Returns the memory of a service as text for people; `None`: there is no state.
pub fn render(key: &StateKey, path: Option<&Path>, loaded: Option<&Loaded>, now: Timestamp) -> String {
    let what = format!("service {}", key.service);
    let mut lines = head(&what, &AccountKey::from(key), path, loaded.map(|loaded| loaded.future));
    if let Some(loaded) = loaded {
        lines.extend(memory_lines(&loaded.memory, now));
    }
    finish(lines)
}

/// Returns the memory of all services as text for people; `None`: there is no state. `files`: those of the services that were
/// checked alone.
pub fn render_all(
    key: &AccountKey,
    path: Option<&Path>,
    loaded: Option<&LoadedAccount>,
    files: &BTreeMap<String, PathBuf>,
    now: Timestamp,
) -> String {
    let mut lines = head("all services", key, path, loaded.map(|loaded| loaded.future));
    let Some(LoadedAccount { memory, .. }) = loaded else {
        return finish(lines);
    };
    let down = memory
        .services
        .values()
        .filter(|memory| memory.outage.is_some())
        .count();
    let number = count(memory.remembered().len(), "service");
    lines.push(format!(
        "{number}, {} down",
        if down == 0 { "none".into() } else { down.to_string() }
    ));
    if let Some(census) = memory.census {
        lines.push(format!("last full count {}", when(census, now)));
    }
    for (service, since) in &memory.candidates {
        lines.push(format!("candidate {service} since {}", when(*since, now)));
    }
    for service in &memory.unreadable {
        lines.push(format!("the state of {service} cannot be read"));
    }
    for (service, memory) in &memory.services {
        lines.extend([String::new(), format!("service {service}")]);
        lines.extend(files.get(service).map(|path| format!("state file {}", path.display())));
        lines.extend(memory_lines(memory, now));
    }
    finish(lines)
}

/// The lines about the file. `future`: its latest time, if the clock was set back; `None` without a file.
fn head(what: &str, key: &AccountKey, path: Option<&Path>, future: Option<Option<Timestamp>>) -> Vec<String> {
    let AccountKey { prefix, servers, .. } = key;
    let login = key.login();
    let mut lines = vec![
        format!("{what} under {prefix}, asked at {}{login}", servers.join(", ")),
        format!("state file {}", path.unwrap_or(Path::new("")).display()),
    ];
    match future {
        None => lines.push("nothing is remembered: no run has written it yet".into()),
        Some(Some(latest)) => lines.push(format!("the clock was set back: times up to {latest} count as of now")),
        Some(None) => {}
    }
    lines
}

/// `2026-11-28T11:00:00Z (62s ago)`
fn when(at: Timestamp, now: Timestamp) -> String {
    format!("{at} ({} ago)", age(now.since(at)))
}

fn memory_lines(memory: &Memory, now: Timestamp) -> Vec<String> {
    let mut lines = Vec::new();
    let when = |at: Timestamp| when(at, now);
    let seen = |epoch: &Epoch| format!("{}, {}", when(epoch.at), count(epoch.count, "instance"));
    let instances = |epoch: &Epoch| -> Vec<String> { epoch.instances.iter().map(|i| format!("  {i}")).collect() };
    if let Some(status) = memory.status {
        lines.push(format!("last verdict {}", status.name()));
    }
    if let Some(epoch) = &memory.epoch {
        lines.push(format!("last answer {}", seen(epoch)));
        lines.extend(instances(epoch));
    }
    match &memory.outage {
        Some(outage) => {
            lines.push(format!("outage since {}", when(outage.first_missed)));
            lines.push(format!("last seen {}", seen(&outage.last_seen)));
            lines.extend(instances(&outage.last_seen));
        }
        None => lines.push("no outage".into()),
    }
    for absentee in &memory.absentees {
        lines.push(format!(
            "{} since {}: {}",
            absentee.fate.name(),
            when(absentee.since),
            absentee.instance
        ));
    }
    if let Some(since) = memory.mixed_since {
        lines.push(format!("versions mixed since {}", when(since)));
    }
    if let Some(unreachable) = &memory.unreachable {
        lines.push(format!(
            "NATS could not be asked since {}: {}",
            when(unreachable.since),
            unreachable.reason.name()
        ));
    }
    if let Some(census) = memory.census {
        lines.push(format!("last full count {}", when(census)));
    }
    if let Some((baseline, since)) = memory.baseline.as_ref().and_then(|b| Some((b, b.fewer_since()?))) {
        let normally = count(baseline.count(), "instance");
        lines.push(format!("normally {normally}, fewer since {}", when(since)));
    }
    if let Some(changes) = &memory.changes {
        if changes.restarts > 0 {
            let restarts = usize::try_from(changes.restarts).unwrap_or(usize::MAX);
            lines.push(format!("{} since the service is known", count(restarts, "restart")));
        }
        for change in changes.log.iter().rev() {
            let replaces = change.replaces().map(|id| format!(" in place of {}", shown_id(id)));
            lines.push(format!(
                "{} {}: {}{}",
                change.what.name(),
                when(change.at),
                change.instance,
                replaces.unwrap_or_default(),
            ));
        }
    }
    if let Some(statistics) = &memory.statistics {
        let Counters { requests, errors, .. } = statistics.all.total;
        let at = when(statistics.at);
        lines.push(format!(
            "statistics {at}: {requests} requests and {errors} errors since they were first asked for"
        ));
    }
    for brief in memory.history.iter().rev() {
        let not_asked = brief.not_asked_since;
        let not_asked = not_asked.map(|since| format!(" (NATS could not be asked before, since {since})"));
        lines.push(format!(
            "check {}: {}{}",
            brief.at,
            count(brief.count, "instance"),
            not_asked.unwrap_or_default(),
        ));
    }
    lines
}

fn finish(lines: Vec<String>) -> String {
    // Only a path can contain any character.
    let clean = |line: String| line.replace(|c: char| c.is_control(), "?");
    lines.into_iter().map(clean).collect::<Vec<_>>().join("\n") + "\n"
}
