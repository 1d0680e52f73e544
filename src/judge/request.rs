//! The rule for the request to an endpoint (`--request`, `--subject`): a PING proves that a service lives, not that it works.

use super::policy::RequestLimits;
use super::rule::{RuleInput, RuleOutput, crossed};
use super::verdict::{Finding, Metric};
use crate::probe::observation::{EndpointEnd, EndpointReply, EndpointSeen, Failure, Outcome, ServiceError};
use crate::values::duration::{age, latency};
use crate::values::range::Range;
use crate::values::status::{Reason, Status};
use crate::values::text::{LIKE, count, some_of};

/// Maximum number of other endpoints that are named.
const MAX_NAMED: usize = 8;

pub fn judge(input: &RuleInput<'_>, output: &mut RuleOutput) {
    let Some(limits) = &input.policy.request else {
        return;
    };
    // Without an instance there is no request; other rules report that.
    let seen = input
        .observation
        .request
        .as_ref()
        .filter(|_| !input.answers().is_empty());
    if matches!(input.observation.outcome, Outcome::Answered(_)) {
        output.add_findings(match seen {
            Some(seen) => finding(input, limits, seen),
            None => Some(unjudged(
                "this check saw no instance, but another one at the same time did",
            )),
        });
    }
    if let Some(seen) = seen {
        details(input, seen, output);
    }
    let took = seen.and_then(|seen| seen.reply()).map(|reply| reply.took);
    output.add_metric(Metric::seconds("request", took).with_limits(limits.warning, limits.critical, Range::up_to));
}

/// The endpoint does not do what it is there for.
fn failed(text: String) -> Finding {
    Finding::new(
        Status::Critical,
        Reason::RequestFailed,
        format!("request failed: {text}"),
    )
}

/// Nobody can tell whether it does.
fn unjudged(text: impl std::fmt::Display) -> Finding {
    let text = format!("request not judged: {text}");
    Finding::new(Status::Unknown, Reason::RequestFailed, text)
}

/// Returns the finding for a request that cannot be sent as the user wants it.
fn unaskable(text: String) -> Finding {
    Finding::new(Status::Unknown, Reason::Usage, format!("request not sent: {text}"))
}

fn finding(input: &RuleInput<'_>, limits: &RequestLimits, seen: &EndpointSeen) -> Option<Finding> {
    let subject = &seen.subject;
    let there = match input.observation.without_ping {
        true => format!("{} answered", count(input.answers().len(), "instance")),
        false => format!("{} answered PING", count(input.answers().len(), "instance")),
    };
    Some(match &seen.end {
        EndpointEnd::Replied(reply) => return replied(limits, subject, reply),
        // The service reports the subject as it is in its own account.
        EndpointEnd::NoResponders { certain: false } => unjudged(format!(
            "no responders on {subject}, which may have another name here, through an import: give it with --subject"
        )),
        EndpointEnd::NoResponders { .. } if seen.endpoint.is_empty() => {
            failed(format!("no responders on {subject}, though {there}"))
        }
        // Some libraries leave the group out of the subject that INFO has.
        EndpointEnd::NoResponders { .. } => failed(format!(
            "no responders on {subject}, though {there} (if the endpoint is in a group, give --subject GROUP.{subject})"
        )),
        EndpointEnd::NoReply {
            waited, enough: false, ..
        } => unjudged(format!(
            "no reply on {subject}, but only {} were left to wait: raise --timeout",
            latency(*waited)
        )),
        EndpointEnd::NoReply {
            waited, captured: true, ..
        } => failed(format!(
            "no reply on {subject} within {}, but the acknowledgement of a JetStream stream that captures it",
            age(*waited)
        )),
        EndpointEnd::NoReply { waited, .. } => failed(format!(
            "no reply on {subject} within {}, though {there}: hung, overloaded, or not allowed to \
             publish to our inbox",
            age(*waited)
        )),
        EndpointEnd::Unknown { known, complete } => {
            let text = format!(
                "no endpoint is named {}, {}",
                seen.endpoint,
                names(&seen.endpoint, known)
            );
            match complete {
                true => failed(text),
                false => unjudged(format!("{text}, not all instances reported theirs")),
            }
        }
        EndpointEnd::NotASubject { told } => unaskable(format!(
            "the endpoint {} reports the subject {told}, which has wildcards or belongs to NATS itself: give a subject with --subject",
            seen.endpoint
        )),
        EndpointEnd::NoInfo {
            subject,
            no_responders: true,
        } => unjudged(format!(
            "the endpoints are unknown: no responders on {subject}, though {there}, import it too, or \
             give --subject"
        )),
        EndpointEnd::NoInfo { subject, .. } => unjudged(format!("no answer on {subject}, though {there}")),
        EndpointEnd::TooLarge { size, limit } => unaskable(format!(
            "it has {size} bytes, and the server takes {limit} (max_payload)"
        )),
        EndpointEnd::NoHeaders => unaskable("the server takes no headers: leave out --header".into()),
        EndpointEnd::NoTime => unjudged("no time was left to send it: raise --timeout"),
        EndpointEnd::Failed(failure) => not_asked(input, failure),
    })
}

/// A denied permission is no failure of the endpoint. NATS being lost is never less than UNKNOWN here: the reply of an
/// endpoint may have been what broke the connection.
fn not_asked(input: &RuleInput<'_>, failure: &Failure) -> Finding {
    let status = match failure.reason {
        Reason::NatsUnreachable => input.policy.unreachable.max(Status::Unknown),
        _ => Status::Unknown,
    };
    Finding::new(status, failure.reason, format!("request not judged: {}", failure.text))
}

fn replied(limits: &RequestLimits, subject: &str, reply: &EndpointReply) -> Option<Finding> {
    if let Some(error) = &reply.error {
        return Some(failed(format!("{subject} answered with {}", named(error))));
    }
    if !reply.lacks.is_empty() {
        let size = count(reply.size, "byte");
        return Some(failed(format!(
            "the reply of {subject} ({size}) does not contain: {}",
            reply.lacks
        )));
    }
    let (status, word, limit) = crossed(limits.critical, limits.warning, |limit| reply.took > *limit)?;
    let text = format!(
        "request slow: {subject} took {}, {word} above {}",
        latency(reply.took),
        latency(limit)
    );
    Some(Finding::new(status, Reason::RequestSlow, text))
}

/// `error 500: kaputt`
fn named(error: &ServiceError) -> String {
    match (error.code.as_str(), error.text.as_str()) {
        ("", "") => "an error without a text".to_owned(),
        (code, "") => format!("error {code}"),
        ("", text) => format!("an error: {text}"),
        (code, text) => format!("error {code}: {text}"),
    }
}

/// Which endpoints there are.
fn names(wanted: &str, known: &[String]) -> String {
    let near = known.iter().filter(|name| strsim::jaro_winkler(wanted, name) > LIKE);
    let near: Vec<&str> = near.map(String::as_str).take(MAX_NAMED).collect();
    if !near.is_empty() {
        return format!("did you mean {}?", near.join(" or "));
    }
    match known.len() {
        0 => "the service has none at all".to_owned(),
        all => format!("there are: {}", some_of(known, MAX_NAMED, all)),
    }
}

/// The lines for `-v`.
fn details(input: &RuleInput<'_>, seen: &EndpointSeen, output: &mut RuleOutput) {
    let name = match seen.endpoint.as_str() {
        "" => String::new(),
        name => format!(" (endpoint {name})"),
    };
    if let Some(reply) = seen.reply() {
        let sender = input.answers().iter().find(|answer| answer.instance.id == reply.sender);
        let sender = sender.map(|answer| format!(", from {}", answer.instance.in_brief()));
        let text = format!(
            "request to {}{name} answered in {}, {}{}",
            seen.subject,
            latency(reply.took),
            count(reply.size, "byte"),
            sender.unwrap_or_default()
        );
        output.add_detail(1, text);
        if !reply.lacks.is_empty() {
            output.add_detail(1, format!("the reply begins: {}", reply.excerpt));
        }
    } else if !seen.subject.is_empty() {
        output.add_detail(1, format!("request to {}{name} not answered", seen.subject));
    }
    if !seen.doubt.is_empty() && !seen.subject.is_empty() {
        output.add_detail(1, format!("endpoint {}: {}", seen.endpoint, seen.doubt));
    }
}

#[cfg(test)]
mod tests;
