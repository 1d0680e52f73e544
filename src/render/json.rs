//! One JSON object with everything that the other outputs say. The man page documents its fields; they stay.

use serde_json::{Map, Value, json};

use crate::epoch::Epoch;
use crate::observation::{Answer, Instance, Outcome};
use crate::report::Report;
use crate::verdict::Finding;

/// How many instances are told one by one.
const MOST_INSTANCES: usize = 1000;

/// The object, on one line, with a line end. Times are RFC 3339, durations are seconds; what is not known is null.
pub fn render(report: &Report) -> String {
    let Report {
        verdict,
        seen,
        memory,
        now,
    } = report;
    let seen = seen.as_ref();
    let answers: Option<&[Answer]> = match seen.map(|seen| &seen.outcome) {
        Some(Outcome::Answered(answers)) => Some(answers),
        Some(Outcome::NoResponders | Outcome::Silent(_)) => Some(&[]),
        Some(Outcome::Failed(_)) | None => None,
    };
    let findings: Vec<Value> = verdict.findings().iter().map(finding).collect();
    let lead = verdict.findings().first();
    let told = answers.iter().copied().flatten().take(MOST_INSTANCES);
    let object = json!({
        "service": verdict.service,
        "status": verdict.status().name(),
        "exit_code": verdict.status().exit_code(),
        "reason": lead.map(|finding| finding.reason.name()),
        "text": lead.map(|finding| finding.text.as_str()),
        "findings": findings,
        "time": now.to_string(),
        "asked": answers.is_some(),
        "up": answers.map(|answers| !answers.is_empty()),
        "instances": answers.map(<[Answer]>::len),
        "baseline_instances": memory.baseline.as_ref().map(|baseline| baseline.count),
        "answers": told.map(answer).collect::<Vec<Value>>(),
        "absent": memory.absentees.iter().map(|absentee| {
            let mut object = instance(&absentee.instance);
            object.insert("fate".into(), absentee.fate.name().into());
            object.insert("since".into(), absentee.since.to_string().into());
            Value::Object(object)
        }).collect::<Vec<Value>>(),
        "others": seen.and_then(|seen| seen.others.as_ref()).map(|others| others.iter().map(|(name, instances)| json!({
            "service": name,
            "instances": instances,
        })).collect::<Vec<Value>>()),
        "last_seen": memory.last_seen().map(|at| at.to_string()),
        "outage": memory.outage.as_ref().map(|outage| json!({
            "since": outage.first_missed.to_string(),
            "seconds": now.since(outage.first_missed).as_secs_f64(),
            "last_seen": epoch(&outage.last_seen),
        })),
        "not_asked": memory.trouble.as_ref().map(|trouble| json!({
            "since": trouble.since.to_string(),
            "reason": trouble.reason.name(),
        })),
        "rtt_max_seconds": answers.and_then(|answers| answers.iter().filter_map(|a| a.rtt).max()).map(|rtt| rtt.as_secs_f64()),
        "nats": seen.and_then(|seen| seen.server.as_ref()).map(|server| json!({
            "address": server.address,
            "name": text_or_null(&server.name),
            "version": text_or_null(&server.version),
            "rtt_seconds": server.rtt.map(|rtt| rtt.as_secs_f64()),
        })),
        "askings": seen.map_or(0, |seen| seen.askings),
        "not_counted": seen.map(|seen| json!({
            "other_services": seen.ignored.foreign,
            "jetstream_acks": seen.ignored.acks,
            "malformed": seen.ignored.broken,
        })),
        "probe_seconds": seen.map(|seen| seen.took.as_secs_f64()),
    });
    format!("{object}\n")
}

fn finding(finding: &Finding) -> Value {
    json!({ "status": finding.status.name(), "reason": finding.reason.name(), "text": finding.text })
}

fn answer(answer: &Answer) -> Value {
    let mut object = instance(&answer.instance);
    object.insert("rtt_seconds".into(), answer.rtt.map(|rtt| rtt.as_secs_f64()).into());
    Value::Object(object)
}

fn instance(instance: &Instance) -> Map<String, Value> {
    let metadata = instance
        .metadata
        .iter()
        .map(|(key, value)| (key.clone(), Value::from(value.as_str())))
        .collect();
    Map::from_iter([
        ("id".to_owned(), instance.id.as_str().into()),
        ("version".to_owned(), text_or_null(&instance.version)),
        ("metadata".to_owned(), Value::Object(metadata)),
    ])
}

fn epoch(epoch: &Epoch) -> Value {
    let answers = epoch
        .instances
        .iter()
        .take(MOST_INSTANCES)
        .map(|i| Value::Object(instance(i)));
    json!({ "time": epoch.at.to_string(), "instances": epoch.count, "answers": answers.collect::<Vec<Value>>() })
}

fn text_or_null(text: &str) -> Value {
    match text {
        "" => Value::Null,
        text => text.into(),
    }
}
