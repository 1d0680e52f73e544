//! One JSON object with everything that the other outputs say. The man page documents its fields; they stay.

use serde_json::{Map, Value, json};

use crate::judge::status_file::MAX_INSTANCES;
use crate::judge::verdict::{Finding, Verdict};
use crate::probe::observation::{EndpointSeen, Instance, InstanceReply, Observation};
use crate::render::report::{AllReport, Report};
use crate::state::changes::Change;
use crate::state::memory::Epoch;
use crate::state::statistics::{RequestCounts, Statistics};
use crate::values::timestamp::Timestamp;

/// The object, on one line, with a line end. Times are RFC 3339, durations are seconds; what is not known is null.
pub fn render(report: &Report) -> String {
    format!("{}\n", object(report))
}

/// An array: an object on all services, whose `service` is null, and one for each service as [`render`] writes it; each on a line.
pub fn render_all(report: &AllReport) -> String {
    let mut text = format!("[{}", overview(report));
    for service in report.reports.iter() {
        text += &format!(",\n{}", object(service));
    }
    text + "]\n"
}

fn overview(report: &AllReport) -> Value {
    let seen = report.common.as_deref();
    let number = |name: &str| Value::from(report.metric(name).map(|value| value as u64));
    let mut object = head(&report.overview, report.now);
    object.extend(of_the_run(seen));
    object.insert("asked".into(), report.is_asked().into());
    for name in ["services", "services_down", "instances"] {
        object.insert(name.into(), number(name));
    }
    Value::Object(object)
}

/// The verdict.
fn head(verdict: &Verdict, now: Timestamp) -> Map<String, Value> {
    let findings: Vec<Value> = verdict.findings().iter().map(finding).collect();
    let lead = verdict.findings().first();
    members(json!({
        "service": text_or_null(&verdict.service),
        "status": verdict.status().name(),
        "exit_code": verdict.status().exit_code(),
        "reason": lead.map(|finding| finding.reason.name()),
        "text": lead.map(|finding| finding.text.as_str()),
        "findings": findings,
        "time": now.to_string(),
    }))
}

/// NATS, the credentials and the probe.
fn of_the_run(seen: Option<&Observation>) -> Map<String, Value> {
    members(json!({
        "nats": seen.and_then(|seen| seen.server.as_ref()).map(|server| json!({
            "address": server.address,
            "name": text_or_null(&server.name),
            "version": text_or_null(&server.version),
            "rtt_seconds": server.rtt.map(|rtt| rtt.as_secs_f64()),
        })),
        "credentials": seen.and_then(|seen| seen.credentials.as_ref()).map(|credentials| json!({
            "file": credentials.file,
            "expires": credentials.at.map(|at| at.to_string()),
        })),
        "not_counted": seen.map(|seen| json!({
            "other_services": seen.ignored.foreign,
            "jetstream_acks": seen.ignored.acks,
            "malformed": seen.ignored.broken,
        })),
        "probe_seconds": seen.map(|seen| seen.took.as_secs_f64()),
    }))
}

fn members(object: Value) -> Map<String, Value> {
    match object {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

fn object(report: &Report) -> Value {
    let Report {
        verdict,
        seen,
        memory,
        own_up,
        now,
    } = report;
    let seen = seen.as_deref();
    let answers = seen.and_then(|seen| seen.outcome.answers());
    let told = answers.iter().copied().flatten().take(MAX_INSTANCES);
    let mut object = head(verdict, *now);
    object.extend(of_the_run(seen));
    object.extend(members(json!({
        "asked": answers.is_some(),
        "up": answers.map(|answers| !answers.is_empty()),
        "instances": answers.map(<[InstanceReply]>::len),
        "own_instance_up": own_up,
        "baseline_instances": memory.baseline.as_ref().map(|baseline| baseline.count()),
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
        "last_seen": memory.last_seen().map(|epoch| epoch.at.to_string()),
        "outage": memory.outage.as_ref().map(|outage| json!({
            "since": outage.first_missed.to_string(),
            "seconds": now.since(outage.first_missed).as_secs_f64(),
            "last_seen": epoch(&outage.last_seen),
        })),
        "mixed_since": memory.mixed_since.map(|at| at.to_string()),
        "not_asked": memory.unreachable.as_ref().map(|unreachable| json!({
            "since": unreachable.since.to_string(),
            "reason": unreachable.reason.name(),
        })),
        "restarts_total": memory.changes.as_ref().map(|changes| changes.restarts),
        "changes": memory.changes.iter().flat_map(|changes| &changes.log).map(change).collect::<Vec<Value>>(),
        "statistics": memory.statistics.as_ref().map(statistics),
        "rtt_max_seconds": answers.and_then(|answers| answers.iter().filter_map(|a| a.rtt).max()).map(|rtt| rtt.as_secs_f64()),
        "rounds": seen.map_or(0, |seen| seen.rounds),
        "request": seen.and_then(|seen| seen.request.as_ref()).map(request),
    })));
    Value::Object(object)
}

fn change(change: &Change) -> Value {
    let mut object = instance(&change.instance);
    object.insert("what".into(), change.what.name().into());
    object.insert("since".into(), change.at.to_string().into());
    object.insert("replaces".into(), change.replaces().into());
    Value::Object(object)
}

fn statistics(statistics: &Statistics) -> Value {
    let endpoint = |(name, endpoint): (&String, &RequestCounts)| {
        let mut object = counted(endpoint);
        object.insert("endpoint".into(), name.as_str().into());
        Value::Object(object)
    };
    let mut object = counted(&statistics.all);
    object.insert("time".into(), statistics.at.to_string().into());
    let endpoints: Vec<Value> = statistics.endpoints.iter().map(endpoint).collect();
    object.insert("endpoints".into(), endpoints.into());
    Value::Object(object)
}

/// Totals, and the latest window with enough requests.
fn counted(counted: &RequestCounts) -> Map<String, Value> {
    let window = counted.closed.map(|window| {
        json!({
            "since": window.since.to_string(),
            "until": window.until.to_string(),
            "requests": window.counted.requests,
            "errors": window.counted.errors,
            "processing_seconds": window.counted.processing as f64 / 1e9,
        })
    });
    Map::from_iter([
        ("requests_total".to_owned(), counted.total.requests.into()),
        ("errors_total".to_owned(), counted.total.errors.into()),
        (
            "processing_seconds_total".to_owned(),
            (counted.total.processing as f64 / 1e9).into(),
        ),
        ("window".to_owned(), window.into()),
    ])
}

fn finding(finding: &Finding) -> Value {
    json!({ "status": finding.status.name(), "reason": finding.reason.name(), "text": finding.text })
}

fn answer(answer: &InstanceReply) -> Value {
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
        .take(MAX_INSTANCES)
        .map(|i| Value::Object(instance(i)));
    json!({ "time": epoch.at.to_string(), "instances": epoch.count, "answers": answers.collect::<Vec<Value>>() })
}

fn request(seen: &EndpointSeen) -> Value {
    let reply = seen.reply();
    let error = reply.and_then(|reply| reply.error.as_ref());
    json!({
        "endpoint": text_or_null(&seen.endpoint),
        "subject": text_or_null(&seen.subject),
        "success": seen.success(),
        "reply_seconds": reply.map(|reply| reply.took.as_secs_f64()),
        "reply_bytes": reply.map(|reply| reply.size),
        "reply_from": text_or_null(reply.map_or("", |reply| &reply.sender)),
        "error": error.map(|error| json!({
            "code": text_or_null(&error.code),
            "text": text_or_null(&error.text),
        })),
    })
}

fn text_or_null(text: &str) -> Value {
    match text {
        "" => Value::Null,
        text => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;
    use crate::judge::verdict::Finding;
    use crate::probe::observation::Outcome;
    use crate::render::sample_reports::{answered, assert_snapshot, run, sample_all_reports, sample_reports, saw};
    use crate::state::memory::Memory;
    use crate::values::status::{Reason, Status};
    use crate::values::timestamp::Timestamp;

    fn parsed(report: &Report) -> Value {
        let text = render(report);
        assert!(text.ends_with('\n') && text.matches('\n').count() == 1, "{text}");
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
    }

    /// On many lines, for people.
    #[test]
    fn each_state_has_its_object() {
        for (state, report) in sample_reports() {
            let text = serde_json::to_string_pretty(&parsed(&report)).expect("JSON");
            assert_snapshot(&format!("{state}.json"), &(text + "\n"));
        }
    }

    fn parsed_all(report: &AllReport) -> Vec<Value> {
        let text = render_all(report);
        assert_eq!(text.lines().count(), 1 + report.reports.len(), "{text}");
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
    }

    #[test]
    fn all_services_are_an_array_behind_the_overview() {
        for (state, report) in sample_all_reports() {
            let array = parsed_all(&report);
            let pretty = serde_json::to_string_pretty(&array[0]).expect("JSON");
            assert_snapshot(&format!("{state}.json"), &(pretty + "\n"));
            let services: Vec<Value> = report.reports.iter().map(parsed).collect();
            assert_eq!(array[1..], services, "{state}");
        }
    }

    #[test]
    fn every_object_has_every_key() {
        let keys = |value: &Value| -> Vec<String> { value.as_object().expect("an object").keys().cloned().collect() };
        let mut all = sample_reports()
            .into_iter()
            .map(|(state, report)| (state, keys(&parsed(&report))));
        let (_, first) = all.next().expect("a state");
        for (state, keys) in all {
            assert_eq!(keys, first, "{state}");
        }
    }

    /// Every key, in whatever depth; but those of the metadata, which are the service's own.
    fn collect_keys(value: &Value, keys: &mut BTreeSet<String>) {
        match value {
            Value::Object(object) => {
                for (key, value) in object {
                    keys.insert(key.clone());
                    if key != "metadata" {
                        collect_keys(value, keys);
                    }
                }
            }
            Value::Array(values) => values.iter().for_each(|value| collect_keys(value, keys)),
            _ => {}
        }
    }

    #[test]
    fn the_man_page_knows_every_key() {
        let page = include_str!("../../man/sections.roff");
        let section = page.split(".SH \"JSON OUTPUT\"").nth(1).expect("a section");
        let section = section.split("\n.SH ").next().unwrap_or_default();
        let (mut keys, mut top, mut full) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let of_all = sample_all_reports();
        let of_all = of_all.iter().map(|(_, report)| parsed_all(report).remove(0));
        for object in sample_reports().iter().map(|(_, report)| parsed(report)).chain(of_all) {
            collect_keys(&object, &mut keys);
            for (key, value) in object.as_object().expect("an object") {
                top.insert(key.clone());
                if !value.is_null() && value != &json!([]) {
                    full.insert(key.clone());
                }
            }
        }
        assert_eq!(top, full, "what is always empty in the story hides its keys");
        for key in &keys {
            let deeper = section.contains(&format!("\\fB{key}\\fR"));
            let known = match top.contains(key) {
                true => section.contains(&format!(".TP\n{key}\n")),
                false => deeper,
            };
            assert!(known, "{key}");
        }
        // No other keys exist.
        let tagged = section.split(".TP\n").skip(1).filter_map(|entry| entry.lines().next());
        let bold = section
            .split("\\fB")
            .skip(1)
            .filter_map(|rest| rest.split("\\fR").next());
        for key in tagged.chain(bold.filter(|word| !word.starts_with("\\-"))) {
            assert!(keys.contains(key), "there is no {key}");
        }
    }

    #[test]
    fn a_hostile_text_stays_a_text() {
        let finding = Finding::new(Status::Critical, Reason::ServiceDown, "a \"b\"\n\\ \u{0} {}");
        let mut report = run(&mut Memory::default(), saw(0, answered(0..1)));
        report.verdict.add(finding);
        assert_eq!(parsed(&report)["text"], "a \"b\"\n\\ \u{0} {}");
    }

    #[test]
    fn ten_thousand_instances_are_counted_and_some_are_listed() {
        let memory = &mut Memory::default();
        let object = parsed(&run(memory, saw(0, answered(0..10_000))));
        assert_eq!(object["instances"], 10_000);
        assert_eq!(object["answers"].as_array().map(Vec::len), Some(MAX_INSTANCES));
        let object = parsed(&run(memory, saw(60, Outcome::NoResponders)));
        assert_eq!(object["outage"]["last_seen"]["instances"], 10_000);
        let told = object["outage"]["last_seen"]["answers"].as_array().map(Vec::len);
        assert_eq!(told, Some(MAX_INSTANCES));
    }

    #[test]
    fn the_strangest_numbers_are_numbers() {
        for (_, mut report) in sample_reports() {
            report.now = Timestamp::from_micros(i64::MAX);
            if let Some(seen) = report.seen.as_mut().map(std::sync::Arc::make_mut) {
                seen.took = Duration::MAX;
                if let Outcome::Answered(answers) = &mut seen.outcome {
                    answers.iter_mut().for_each(|answer| answer.rtt = Some(Duration::MAX));
                }
            }
            let object = parsed(&report);
            assert_eq!(object["time"], "9999-12-31T23:59:59Z");
            let is_number_or_null = |value: &Value| value.is_null() || value.as_f64().is_some_and(f64::is_finite);
            assert!(is_number_or_null(&object["probe_seconds"]), "{object}");
            assert_eq!(object["probe_seconds"].is_null(), report.seen.is_none());
            assert!(is_number_or_null(&object["outage"]["seconds"]), "{object}");
        }
    }
}
