//! The part of the page of one service that does not change until the next check.

use std::time::Duration;

use super::history::history;
use super::markup::{ago, escape, facts, more, table, when, words};
use super::verdict::findings;
use crate::probe::observation::{Instance, Observation, Outcome};
use crate::render::report::Report;
use crate::state::baseline::Baseline;
use crate::state::memory::{Memory, Unreachable};
use crate::values::duration::latency;
use crate::values::status::Reason;
use crate::values::text::count;
use crate::values::timestamp::Timestamp;

/// Maximum number of instances in the table.
pub const MAX_INSTANCES: usize = 200;

/// Condition that has lasted since a remembered moment.
pub enum Condition {
    /// No instance answers; the last one was seen then.
    Down(Timestamp),
    NotAsked(Unreachable),
    /// There are fewer instances than normal, and that is what the verdict is about.
    Fewer(Timestamp),
}

impl Condition {
    pub fn of(report: &Report) -> Option<Condition> {
        let Memory {
            outage,
            unreachable,
            baseline,
            ..
        } = &*report.memory;
        let lead = report.verdict.findings().first().map(|finding| finding.reason);
        let fewer = || baseline.as_ref().and_then(Baseline::fewer_since);
        match (outage, unreachable, lead) {
            (Some(outage), ..) => Some(Condition::Down(outage.last_seen.at)),
            (_, Some(unreachable), _) => Some(Condition::NotAsked(*unreachable)),
            (.., Some(Reason::InstancesLost | Reason::InstancesOutOfRange)) => fewer().map(Condition::Fewer),
            _ => None,
        }
    }

    pub fn since(&self) -> Timestamp {
        match self {
            Condition::Down(since) | Condition::Fewer(since) => *since,
            Condition::NotAsked(unreachable) => unreachable.since,
        }
    }
}

/// `since`: since when the status has been the same. `max_age`: a check that is older says nothing any more.
pub fn checked(report: &Report, since: Timestamp, max_age: Duration) -> String {
    let now = report.now;
    let since = match Condition::of(report) {
        Some(Condition::Down(last)) => format!("An instance last answered {}", when(last, now)),
        Some(Condition::NotAsked(unreachable)) => not_asked(&unreachable, now),
        Some(Condition::Fewer(since)) => format!("Fewer instances than normal since {}", when(since, now)),
        None => format!("{} since {}", report.verdict.status().name(), when(since, now)),
    };
    findings(&report.verdict, &since)
        + &facts(&other_facts(report))
        + &instances(report)
        + &history(&report.memory, now, max_age)
}

/// Text beside the verdict.
fn other_facts(report: &Report) -> Vec<(&'static str, String)> {
    let Report { seen, memory, now, .. } = report;
    let mut facts = Vec::new();
    if let Some(outage) = &memory.outage {
        facts.push(("First missed", when(outage.first_missed, *now)));
        facts.extend(
            memory
                .unreachable
                .map(|unreachable| ("Meanwhile", not_asked(&unreachable, *now))),
        );
    }
    facts.extend(seen.as_deref().and_then(server));
    facts
}

fn not_asked(unreachable: &Unreachable, now: Timestamp) -> String {
    let reason = escape(unreachable.reason.name());
    format!(
        "NATS cannot be asked since {}, <code>{reason}</code>",
        when(unreachable.since, now)
    )
}

/// The server that was asked.
pub fn server(seen: &Observation) -> Option<(&'static str, String)> {
    let server = seen.server.as_ref()?;
    let rtt = server
        .rtt
        .map_or(String::new(), |rtt| format!(", round trip {}", latency(rtt)));
    Some(("Asked", format!("{}{rtt}", words(&server.to_string()))))
}

/// The instances that answered, and those that are missed: where none answered, those that were there before.
fn instances(report: &Report) -> String {
    let Report { seen, memory, now, .. } = report;
    let answers = match seen.as_ref().map(|seen| &seen.outcome) {
        Some(Outcome::Answered(answers)) => answers.as_slice(),
        _ => &[],
    };
    let before = memory.last_seen().filter(|_| answers.is_empty());
    let absent = memory.absentees.iter().map(|absentee| {
        let state = format!("{}, first missed {}", absentee.fate.name(), ago(absentee.since, *now));
        row(&absentee.instance, &state, " class=\"gone\"")
    });
    let class = memory.outage.as_ref().map_or("", |_| " class=\"gone\"");
    let gone = before.iter().flat_map(|epoch| {
        let state = format!("last seen {}", ago(epoch.at, *now));
        let row = move |instance| row(instance, &state, class);
        epoch.instances.iter().map(row)
    });
    let there = answers.iter().map(|answer| {
        let time = answer.rtt.map_or(String::new(), |rtt| format!(" in {}", latency(rtt)));
        row(&answer.instance, &format!("answered{time}"), "")
    });
    // Missing instances first: readers look for these.
    let mut rows = absent.chain(gone).chain(there);
    let shown: String = rows.by_ref().take(MAX_INSTANCES).collect();
    if shown.is_empty() {
        return String::new();
    }
    let unlisted = before.map_or(0, |epoch| epoch.count - epoch.instances.len().min(epoch.count));
    let heading = before.map_or(String::new(), |epoch| {
        let now_none = memory.outage.as_ref().map_or("", |_| "None answers now. ");
        let (were, when) = (were(epoch.count), when(epoch.at, *now));
        format!("<p class=\"dim\">{now_none}{were} at the last answer, {when}:</p>\n")
    });
    let table = table("instances", ["Instance", "Version", "Metadata", "State"], &shown);
    format!("<h2>Instances</h2>\n{heading}{table}{}", more(rows.count() + unlisted))
}

/// `There were 3 instances`
fn were(number: usize) -> String {
    let verb = if number == 1 { "was" } else { "were" };
    format!("There {verb} {}", count(number, "instance"))
}

/// `state` is HTML.
fn row(instance: &Instance, state: &str, class: &str) -> String {
    let metadata = instance.metadata.iter().map(|(key, value)| format!("{key}={value}"));
    let metadata: Vec<String> = metadata.collect();
    format!(
        "<tr{class}><th scope=\"row\"><code>{}</code></th><td>{}</td><td>{}</td><td>{state}</td></tr>\n",
        words(&instance.shown_id()),
        words(&instance.version),
        words(&metadata.join(", ")),
    )
}
