//! Whether the service is there: up, recovered, down, silent, never seen; or NATS could not be asked.

use std::time::Duration;

use super::rule::{MAX_NAMED, RuleInput, RuleOutput, slowest, some_of};
use super::suggest;
use super::verdict::Finding;
use crate::probe::observation::{Failure, Ignored, Instance, InstanceReply, Outcome, Silence};
use crate::state::memory::{Epoch, Memory, Outage, Unreachable};
use crate::values::duration::{age, latency};
use crate::values::status::{Reason, Status};
use crate::values::text::count;
use crate::values::timestamp::Timestamp;

pub fn judge(input: &RuleInput<'_>, output: &mut RuleOutput) {
    let next = &mut output.next;
    let finding = match &input.observation.outcome {
        Outcome::Answered(answers) => answered(input, answers, next),
        Outcome::NoResponders => absent(input, Reason::ServiceDown, "no responders", next),
        Outcome::Silent(waited) => silent(input, *waited, next),
        Outcome::Failed(failure) => not_asked(input, failure, next),
    };
    output.add_finding(finding);
    if let (Outcome::Failed(_), Some(outage)) = (&input.observation.outcome, &input.memory.outage) {
        let last = input
            .memory
            .epoch
            .as_ref()
            .map_or(outage.first_missed, |epoch| epoch.at);
        let ago = age(input.now.since(last));
        output.add_finding(still_down(input, outage, &format!("as of the last answer {ago} ago")));
    }
}

fn answered(input: &RuleInput<'_>, answers: &[InstanceReply], next: &mut Memory) -> Finding {
    next.outage = None;
    next.enter(Epoch::new(input.observation.at, answers));
    if input.observation.census {
        next.census = Some(input.observation.at);
    }
    let many = count(answers.len(), "instance");
    if let Some(outage) = &input.memory.outage {
        let before = match outage.last_seen.count {
            had if had == answers.len() => String::new(),
            had => format!(" (had {had})"),
        };
        let down = age(input.observation.at.since(outage.last_seen.at));
        let text = format!("{many}{before}, recovered after {down}");
        return Finding::new(Status::Ok, Reason::ServiceRecovered, text);
    }
    let text = match slowest(answers) {
        Some(_) if input.observation.without_ping => {
            format!("{many}, though not to PING: they answer STATS and INFO only")
        }
        Some(rtt) => format!("{many}, slowest answer {}", latency(rtt)),
        None => format!("{many}, seen by an overlapping run"),
    };
    Finding::new(Status::Ok, Reason::ServiceUp, text)
}

/// Nobody is there. `how` is what the server said to it.
fn absent(input: &RuleInput<'_>, reason: Reason, how: &str, next: &mut Memory) -> Finding {
    next.absentees.clear();
    next.enter(Epoch::new(input.observation.at, &[]));
    next.census = Some(input.observation.at);

    let fine = nats_is_fine(input);
    let text = if let Some(outage) = &input.memory.outage {
        let missed = input.observation.at.since(outage.first_missed);
        if let Some(limit) = input.policy.forget_after.filter(|limit| missed > *limit) {
            next.outage = None;
            next.baseline = None;
            return forgotten(input, outage, limit);
        }
        down_since(input.observation.at, outage, how, &fine)
    } else if let Some(epoch) = epoch_with_instances(input) {
        next.outage = Some(Outage {
            last_seen: epoch.clone(),
            first_missed: input.observation.at,
        });
        let what = match reason {
            Reason::ServiceSilent => "silent",
            _ => "down",
        };
        format!("{what}, {how}, {}{fine}{}", had_until(input, epoch), last_seen(epoch))
    } else {
        return never_seen(input, how);
    };
    Finding::new(Status::Critical, reason, text)
}

/// Somebody is subscribed, and nobody answered. An epoch without instances, unless the user thinks less of it.
fn silent(input: &RuleInput<'_>, waited: Duration, next: &mut Memory) -> Finding {
    let how = how_silent(input, waited);
    if input.policy.silent == Status::Critical {
        return absent(input, Reason::ServiceSilent, &how, next);
    }
    next.unreachable = None;
    match (&input.memory.outage, epoch_with_instances(input)) {
        (Some(outage), _) => still_down(input, outage, &how),
        (None, Some(epoch)) => {
            let text = format!("{how}, {}{}", had_until(input, epoch), last_seen(epoch));
            Finding::new(input.policy.silent, Reason::ServiceSilent, text)
        }
        (None, None) => never_seen(input, &how),
    }
}

/// NATS could not be asked: no epoch, and an open outage stays open.
fn not_asked(input: &RuleInput<'_>, failure: &Failure, next: &mut Memory) -> Finding {
    let status = match failure.reason {
        Reason::NatsUnreachable | Reason::AuthRejected | Reason::TlsFailed => input.policy.unreachable,
        _ => Status::Unknown,
    };
    let mut text = failure.text.clone();
    if failure.reason != Reason::Interrupted {
        match &input.memory.unreachable {
            Some(unreachable) => {
                text = format!(
                    "{text} (not asked for {})",
                    age(input.observation.at.since(unreachable.since))
                )
            }
            None => {
                next.unreachable = Some(Unreachable {
                    since: input.observation.at,
                    reason: failure.reason,
                });
            }
        }
    }
    Finding::new(status, failure.reason, text)
}

/// An open outage, when this run has no epoch of its own to say so.
fn still_down(input: &RuleInput<'_>, outage: &Outage, how: &str) -> Finding {
    let text = down_since(input.now, outage, how, "");
    Finding::new(Status::Critical, Reason::ServiceDown, text)
}

/// The text of an open outage: since an instance was last seen, and who was there. The mail that reaches somebody is often not
/// that of the first run.
fn down_since(now: Timestamp, outage: &Outage, how: &str, fine: &str) -> String {
    let epoch = &outage.last_seen;
    format!(
        "still down for {}, {how}, had {}{fine}{}",
        age(now.since(epoch.at)),
        count(epoch.count, "instance"),
        last_seen(epoch),
    )
}

/// `, last seen: ID (1.0.0, pod=orders-1)`: who was there, by version and place.
fn last_seen(epoch: &Epoch) -> String {
    let known: Vec<String> = epoch.instances.iter().take(MAX_NAMED).map(Instance::in_brief).collect();
    match known.is_empty() {
        true => String::new(),
        false => format!(", last seen: {}", some_of(&known, epoch.count)),
    }
}

fn forgotten(input: &RuleInput<'_>, outage: &Outage, limit: Duration) -> Finding {
    let text = format!(
        "no instance for longer than {} (--forget-after): forgotten, had {}",
        age(limit),
        count(outage.last_seen.count, "instance"),
    );
    Finding::new(input.policy.never_seen, Reason::ServiceNeverSeen, text)
}

fn never_seen(input: &RuleInput<'_>, how: &str) -> Finding {
    let others = suggest::who_else(input);
    let text = match input.policy.remembers {
        true => format!("never seen in this account, {how}, {others}"),
        false => format!("{how}, and nobody remembers whether it was ever there (--no-state), {others}"),
    };
    Finding::new(input.policy.never_seen, Reason::ServiceNeverSeen, text)
}

/// The last epoch, if there was anybody.
fn epoch_with_instances<'a>(input: &RuleInput<'a>) -> Option<&'a Epoch> {
    input.memory.epoch.as_ref().filter(|epoch| epoch.count > 0)
}

/// `3 instances until 62s ago`
fn had_until(input: &RuleInput<'_>, epoch: &Epoch) -> String {
    format!(
        "{} until {} ago",
        count(epoch.count, "instance"),
        age(input.observation.at.since(epoch.at))
    )
}

fn how_silent(input: &RuleInput<'_>, waited: Duration) -> String {
    let waited = age(waited);
    let cause = match input.observation.ignored {
        Ignored { acks: 1.., .. } => "a JetStream stream captures the request, so nobody may be there",
        Ignored { foreign: 1.., .. } => "another service replies in its place",
        Ignored { broken: 1.., .. } => "what came was no PING reply",
        _ if input.policy.imported && server_may_be_before(input, [2, 10, 26]) => {
            "hung, or nobody is there: through an import, a server before 2.10.26 does not say so"
        }
        _ => match input.observation.silence {
            Silence::Subscribed => "hung, not allowed to publish to our inbox, or behind a link or server that hangs",
            Silence::Hidden => "a wildcard subscriber hides whether it is gone or hung",
            Silence::Unknown => {
                "hung, not allowed to publish to our inbox, behind a link or server that hangs, or a wildcard subscriber hides \
                 that nobody is there"
            }
        },
    };
    format!("no answer within {waited} though somebody is subscribed ({cause})")
}

/// What is no number, or not told, may be less.
fn server_may_be_before(input: &RuleInput<'_>, first: [u32; 3]) -> bool {
    let version = input
        .observation
        .server
        .as_ref()
        .map_or("", |server| server.version.as_str());
    let numbers: Vec<u32> = version.split('.').map_while(|number| number.parse().ok()).collect();
    numbers[..] < first[..]
}

fn nats_is_fine(input: &RuleInput<'_>) -> String {
    match &input.observation.server {
        Some(server) => match server.rtt {
            Some(rtt) => format!(", {server} is fine ({})", latency(rtt)),
            None => format!(", {server} is fine"),
        },
        None => String::new(),
    }
}
