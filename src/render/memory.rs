//! What `state show` prints.

use std::path::Path;

use crate::probe::observation::shown_id;
use crate::probe::stats::Counters;
use crate::state::format::Loaded;
use crate::state::key::StateKey;
use crate::state::memory::Epoch;
use crate::values::duration::age;
use crate::values::text::count;
use crate::values::timestamp::Timestamp;

/// What is remembered, for people. `None`: nothing.
pub fn render(key: &StateKey, path: Option<&Path>, loaded: Option<&Loaded>, now: Timestamp) -> String {
    let StateKey {
        service,
        prefix,
        servers,
        user,
    } = key;
    let user = user.as_ref().map(|user| format!(" as user {user}")).unwrap_or_default();
    let mut lines = vec![
        format!(
            "service {service} under {prefix}, asked at {}{user}",
            servers.join(", ")
        ),
        format!("state file {}", path.unwrap_or(Path::new("")).display()),
    ];
    let Some(Loaded { memory, future, .. }) = loaded else {
        lines.push("nothing is remembered: no run has written it yet".into());
        return finish(lines);
    };
    if let Some(latest) = future {
        lines.push(format!("the clock was set back: times up to {latest} count as of now"));
    }
    let when = |at: Timestamp| format!("{at} ({} ago)", age(now.since(at)));
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
            "not asked since {}: {}",
            when(unreachable.since),
            unreachable.reason.name()
        ));
    }
    if let Some(census) = memory.census {
        lines.push(format!("last census {}", when(census)));
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
        lines.push(format!("epoch {}: {}", brief.at, count(brief.count, "instance")));
    }
    finish(lines)
}

fn finish(lines: Vec<String>) -> String {
    // A path can hold anything; nothing else in here can.
    let clean = |line: String| line.replace(|c: char| c.is_control(), "?");
    lines.into_iter().map(clean).collect::<Vec<_>>().join("\n") + "\n"
}
