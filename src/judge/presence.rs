//! A service without instances: down, silent, never seen; or NATS could not be asked.

use std::time::Duration;

use super::rule::{MAX_NAMED, RuleInput, RuleOutput};
use super::suggest;
use super::verdict::Finding;
use crate::probe::observation::{Failure, Ignored, Instance, Outcome, Server, Silence};
use crate::state::memory::{Epoch, Outage};
use crate::values::dated;
use crate::values::duration::{age, latency};
use crate::values::status::{Reason, Status};
use crate::values::text::{count, some_of};
use crate::values::timestamp::Timestamp;

/// Stands between the cause and since when NATS cannot be asked, which is another text each time.
pub const FAILING_FOR: &str = " (failing for ";

const NEVER_SEEN: &str = "never seen in this account";

const NO_RESPONDERS: &str = "no responders";

/// Returns `true` for the text of a service that no epoch knows of and to which nobody is subscribed: it may be the wrong account.
/// A service that hangs is subscribed.
pub fn is_never_seen(text: &str) -> bool {
    // The subject that was asked may stand between them, and has no comma.
    let rest = text.strip_prefix(NEVER_SEEN).and_then(|rest| rest.split_once(", "));
    rest.is_some_and(|(_, how)| how.starts_with(NO_RESPONDERS))
}

pub fn judge(input: &RuleInput<'_>, output: &mut RuleOutput) {
    output.add_findings(match &input.observation.outcome {
        // The number of instances says that they are there.
        Outcome::Answered(_) => None,
        Outcome::NoResponders => Some(absent(input, Reason::ServiceDown, NO_RESPONDERS)),
        Outcome::Silent(waited) => Some(silent(input, *waited)),
        Outcome::Failed(failure) => Some(not_asked(input, failure)),
    });
    if let (Outcome::Failed(_), Some(outage)) = (&input.observation.outcome, &input.previous.outage) {
        let last = input
            .previous
            .epoch
            .as_ref()
            .map_or(outage.first_missed, |epoch| epoch.at);
        let ago = dated::age(last, input.now);
        let how = format!("last answer from NATS {ago} ago");
        output.add_findings([still_down(input, outage, &how)]);
    }
}

/// An epoch without instances. `how`: the server's reply in words.
fn absent(input: &RuleInput<'_>, reason: Reason, how: &str) -> Finding {
    let fine = nats_is_fine(input);
    let text = match (&input.previous.outage, &input.next.outage) {
        (Some(outage), None) => return forgotten(input, outage),
        (Some(outage), Some(_)) => down_since(input.observation.at, outage, how, &fine),
        (None, Some(Outage { last_seen: epoch, .. })) => {
            let what = match reason {
                Reason::ServiceSilent => "silent",
                _ => "down",
            };
            format!("{what}, {how}, {}{fine}{}", had_until(input, epoch), last_seen(epoch))
        }
        (None, None) => return never_seen(input, how),
    };
    Finding::new(Status::Critical, reason, text)
}

/// An instance is subscribed, and none replied. An epoch without instances, unless the user thinks less of it.
fn silent(input: &RuleInput<'_>, waited: Duration) -> Finding {
    let how = how_silent(input, waited);
    if input.policy.silent == Status::Critical {
        return absent(input, Reason::ServiceSilent, &how);
    }
    match (&input.previous.outage, input.previous.epoch_with_instances()) {
        (Some(outage), _) => still_down(input, outage, &how),
        (None, Some(epoch)) => {
            let text = format!("{how}, {}{}", had_until(input, epoch), last_seen(epoch));
            Finding::new(input.policy.silent, Reason::ServiceSilent, text)
        }
        (None, None) => never_seen(input, &how),
    }
}

/// NATS could not be asked.
fn not_asked(input: &RuleInput<'_>, failure: &Failure) -> Finding {
    let status = match failure.reason {
        Reason::NatsUnreachable | Reason::AuthRejected | Reason::TlsFailed => input.policy.unreachable,
        _ => Status::Unknown,
    };
    let text = match &input.previous.unreachable {
        Some(unreachable) if failure.reason != Reason::Interrupted => {
            let since = dated::age(unreachable.since, input.observation.at);
            format!("{}{FAILING_FOR}{since})", failure.text)
        }
        _ => failure.text.clone(),
    };
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
        dated::age(epoch.at, now),
        count(epoch.count, "instance"),
        last_seen(epoch),
    )
}

/// `, last seen: ID (1.0.0, pod=orders-1)`: who was there, by version and place.
fn last_seen(epoch: &Epoch) -> String {
    let known: Vec<String> = epoch.instances.iter().take(MAX_NAMED).map(Instance::in_brief).collect();
    match known.is_empty() {
        true => String::new(),
        false => format!(", last seen: {}", some_of(&known, MAX_NAMED, epoch.count)),
    }
}

fn forgotten(input: &RuleInput<'_>, outage: &Outage) -> Finding {
    let text = format!(
        "no instance for longer than {} (--forget-after): forgotten, had {}",
        age(input.policy.forget_after.unwrap_or_default()),
        count(outage.last_seen.count, "instance"),
    );
    Finding::new(input.policy.never_seen, Reason::ServiceNeverSeen, text)
}

fn never_seen(input: &RuleInput<'_>, how: &str) -> Finding {
    let others = suggest::other_services(input);
    // A prefix that was not quoted, or whose $ was not doubled for the caller, is seen by its subject.
    let asked = match &input.policy.imported {
        Some(prefix) => format!(" (asked {prefix}.PING.{})", input.service),
        None => String::new(),
    };
    let text = match input.policy.remembers {
        true => format!("{NEVER_SEEN}{asked}, {how}, {others}"),
        false => format!(
            "{how}{asked}, and without a state it is not known whether it was ever there (--no-state), {others}"
        ),
    };
    Finding::new(input.policy.never_seen, Reason::ServiceNeverSeen, text)
}

/// `3 instances until 62s ago`
fn had_until(input: &RuleInput<'_>, epoch: &Epoch) -> String {
    format!(
        "{} until {} ago",
        count(epoch.count, "instance"),
        dated::age(epoch.at, input.observation.at)
    )
}

fn how_silent(input: &RuleInput<'_>, waited: Duration) -> String {
    let waited = age(waited);
    let cause = match input.observation.ignored {
        Ignored { acks: 1.., .. } => "a JetStream stream captures the request, so nobody may be there",
        Ignored { foreign: 1.., .. } => "another service replies in its place",
        Ignored { broken: 1.., .. } => "what came is no reply to a PING",
        _ if input.policy.imported.is_some() && server_may_be_before(input, [2, 10, 26]) => {
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

/// Returns `true` if the server's version may be less than this one: also if it is unknown or no number.
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
    input.observation.server.as_ref().map_or(String::new(), is_fine)
}

/// Returns the words about a healthy NATS in the text of an outage.
pub fn is_fine(server: &Server) -> String {
    match server.rtt {
        Some(rtt) => format!(", {server} is fine ({})", latency(rtt)),
        None => format!(", {server} is fine"),
    }
}
