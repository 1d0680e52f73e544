//! Answers a Kubernetes probe from the status that the sidecar writes, without any network. Pure: it is given the text.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::judge::pod::{PodProbe, ProbeKind, ProbeResult};
use crate::judge::presence;
use crate::judge::verdict::Verdict;
use crate::probe::observation::{InstanceReply, Observation, Outcome, shown_id};
use crate::probe::plan::Wanted;
use crate::probe::reply::{KEY_CHARS, METADATA_ENTRIES, VALUE_CHARS};
use crate::values::duration::age;
use crate::values::status::Reason;
use crate::values::text::{clean, readable};
use crate::values::timestamp::Timestamp;

/// Maximum time that the file may be ahead of the clock; both are of one host.
const SLACK: Duration = Duration::from_secs(2);

/// Maximum number of instances that are listed one by one.
pub const MAX_INSTANCES: usize = 1000;

/// Maximum length of the text of a verdict in the line of a probe, in characters: it says what to do at its end.
const MAX_CAUSE: usize = 400;

/// Where the status comes from, in words: what it is, and what to look at if it is too old.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    name: &'static str,
    hint: &'static str,
    /// Set if the check began after the container had started, as far as that is known: a startup probe requires it.
    is_current: bool,
}

/// The file of `watch --status-file`.
const FILE: Source = Source {
    name: "the status file",
    hint: "does the sidecar run?",
    is_current: true,
};

impl Source {
    /// Returns the source that the sidecar's own HTTP server uses. `is_current`: the check began after the container had started,
    /// as far as that is known.
    pub fn last_check(is_current: bool) -> Source {
        Source {
            name: "the last check",
            hint: "do the checks hang?",
            is_current,
        }
    }
}

/// Result of a check, as far as probes need it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastCheck {
    pub time: Timestamp,
    service: String,
    /// The instances that answered, or why NATS could not be asked.
    seen: Result<Instances, String>,
    /// Set if nobody is subscribed, and no instance was ever seen in this account.
    never_seen: bool,
    /// The reason and the text of the verdict. Clean.
    pub reason: String,
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Instances {
    count: u64,
    listed: Vec<ListedInstance>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ListedInstance {
    id: String,
    metadata: BTreeMap<String, String>,
}

impl LastCheck {
    /// Returns the result of a check: the instances that replied, as many as the JSON output lists, or why NATS could not be asked.
    pub fn new(verdict: &Verdict, seen: Option<&Observation>, now: Timestamp) -> LastCheck {
        let lead = verdict.findings().first();
        let text = readable(lead.map_or("", |finding| finding.text.as_str()), MAX_CAUSE);
        let seen = match seen.map(|seen| &seen.outcome) {
            Some(Outcome::Answered(replies)) => Ok(Instances {
                count: replies.len() as u64,
                listed: replies.iter().take(MAX_INSTANCES).map(ListedInstance::new).collect(),
            }),
            Some(Outcome::NoResponders | Outcome::Silent(_)) => Ok(Instances::default()),
            Some(Outcome::Failed(_)) | None => Err(text.clone()),
        };
        LastCheck {
            time: now,
            service: verdict.service.clone(),
            seen,
            never_seen: verdict
                .findings()
                .iter()
                .any(|finding| is_never_seen(finding.reason.name(), &finding.text)),
            reason: lead.map_or("", |finding| finding.reason.name()).to_owned(),
            text,
        }
    }

    /// The same of a watcher that has seen the instance, though its state may not remember it.
    pub fn of_one_seen(self) -> LastCheck {
        LastCheck {
            never_seen: false,
            ..self
        }
    }

    /// Parses the JSON output.
    ///
    /// # Errors
    ///
    /// The error in it.
    fn parse(text: &str) -> Result<LastCheck, String> {
        let status: Value = serde_json::from_str(text).map_err(|e| format!("is damaged: {e}"))?;
        let word = |key: &str| status[key].as_str();
        let time = word("time")
            .and_then(Timestamp::parse)
            .ok_or("is damaged: no time in it")?;
        let seen = match status["asked"].as_bool() {
            Some(true) => Ok(instances(&status).ok_or("is damaged: no answers in it")?),
            _ => Err(readable(word("text").unwrap_or("NATS could not be asked"), MAX_CAUSE)),
        };
        Ok(LastCheck {
            time,
            service: word("service").ok_or("is damaged: no service in it")?.to_owned(),
            seen,
            never_seen: status["findings"].as_array().into_iter().flatten().any(|finding| {
                let word = |key: &str| finding[key].as_str().unwrap_or_default();
                is_never_seen(word("reason"), word("text"))
            }),
            reason: clean(word("reason").unwrap_or_default(), 64),
            text: readable(word("text").unwrap_or_default(), MAX_CAUSE),
        })
    }
}

fn is_never_seen(reason: &str, text: &str) -> bool {
    reason == Reason::ServiceNeverSeen.name() && presence::is_never_seen(text)
}

fn instances(status: &Value) -> Option<Instances> {
    let listed = status["answers"].as_array()?.iter().map(|answer| {
        let metadata = answer["metadata"].as_object().into_iter().flatten();
        ListedInstance {
            id: answer["id"].as_str().unwrap_or_default().to_owned(),
            metadata: metadata
                .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
                .collect(),
        }
    });
    Some(Instances {
        count: status["instances"].as_u64().unwrap_or_default(),
        listed: listed.collect(),
    })
}

impl ListedInstance {
    fn new(reply: &InstanceReply) -> ListedInstance {
        ListedInstance {
            id: reply.instance.id.clone(),
            metadata: reply.instance.metadata.iter().cloned().collect(),
        }
    }
}

/// Answers the question from the text of the status file.
pub fn answer_from_file(question: &PodProbe, text: &str, max_age: Duration, now: Timestamp) -> (ProbeResult, String) {
    match LastCheck::parse(text) {
        Ok(check) => answer(question, FILE, &check, max_age, now),
        Err(why) => question.no_check(&format!("{} {why}", FILE.name)),
    }
}

/// Answers the question from what `watch` found last. A check that is stale, damaged or of another service does not say how
/// the pod is.
pub fn answer(
    question: &PodProbe,
    Source { name, hint, is_current }: Source,
    check: &LastCheck,
    max_age: Duration,
    now: Timestamp,
) -> (ProbeResult, String) {
    let old = now.since(check.time);
    if check.time > now + SLACK {
        return question.no_check(&format!("{name} is from the future ({})", check.time));
    }
    if old > max_age {
        let (old, max_age) = (age(old), age(max_age));
        return question.no_check(&format!("{name} is {old} old, more than {max_age} ({hint})"));
    }
    if check.service != question.service {
        return question.no_check(&format!("{name} is of the service {}", clean(&check.service, 80)));
    }
    let Instances { count, listed } = match &check.seen {
        Ok(instances) => instances,
        Err(why) => return question.cannot_ask(why),
    };
    let when = age(old);
    if let Some(id) = find(&question.wanted, listed) {
        if question.kind == ProbeKind::Startup && !is_current {
            let text = format!("{name} began before this start of the container, waiting for the next");
            return question.say(ProbeResult::Fail, &text);
        }
        return question.say(ProbeResult::Pass, &format!("{} answered {when} ago", shown_id(id)));
    }
    // The file of a large service lists only a part of its instances: this one may be among the others.
    if *count > listed.len() as u64 {
        let told = listed.len();
        return question.no_check(&format!(
            "{name} lists only {told} of {count} instances, use probe without --from, which asks NATS"
        ));
    }
    if let Some(answer) = lacks_key(question, listed) {
        return answer;
    }
    if check.never_seen {
        return question.never_seen();
    }
    let others = if listed.is_empty() { "" } else { ", though others did" };
    question.say(
        ProbeResult::Fail,
        &format!("{} did not answer the check of {when} ago{others}", question.whom()),
    )
}

/// The id of an instance that is wanted.
fn find<'i>(wanted: &Wanted, listed: &'i [ListedInstance]) -> Option<&'i str> {
    let found = match wanted {
        Wanted::All | Wanted::Any => listed.first(),
        Wanted::Id(id) => listed.iter().find(|instance| instance.id == *id),
        // The output has the values as they are printed.
        Wanted::Match(values) => {
            let values: Vec<(String, String)> = values
                .iter()
                .map(|(key, value)| (clean(key, KEY_CHARS), clean(value, VALUE_CHARS)))
                .collect();
            let fits = |instance: &&ListedInstance| {
                values
                    .iter()
                    .all(|(key, value)| instance.metadata.get(key) == Some(value))
            };
            listed.iter().find(fits)
        }
    };
    found.map(|instance| instance.id.as_str())
}

/// The answer where no instance has the key that was asked for. Of an instance with much metadata, only a part is listed.
fn lacks_key(question: &PodProbe, listed: &[ListedInstance]) -> Option<(ProbeResult, String)> {
    let Wanted::Match(values) = &question.wanted else {
        return None;
    };
    let keys: Vec<String> = values.iter().map(|(key, _)| clean(key, KEY_CHARS)).collect();
    let lacks = |ListedInstance { metadata, .. }: &ListedInstance| {
        metadata.len() < METADATA_ENTRIES && keys.iter().any(|key| !metadata.contains_key(key))
    };
    let all_lack = !listed.is_empty() && listed.iter().all(lacks);
    all_lack.then(|| question.lacks_key(listed.len()))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ask(kind: ProbeKind, wanted: Wanted, status: &str) -> (ProbeResult, String) {
        let question = PodProbe {
            kind,
            service: "orders".into(),
            wanted,
            unreachable: None,
        };
        answer_from_file(
            &question,
            status,
            Duration::from_secs(60),
            Timestamp::from_seconds(1000),
        )
    }

    fn status(second: i64, asked: bool) -> Value {
        json!({
            "time": Timestamp::from_seconds(second).to_string(),
            "service": "orders",
            "asked": asked,
            "text": "connection refused",
            "answers": [
                {"id": "A", "metadata": {"pod": "orders-1"}},
                {"id": "B", "metadata": {"pod": "or?ders"}},
            ],
        })
    }

    #[test]
    fn the_file_answers_for_one_instance() {
        let pod = |name: &str| Wanted::Match(vec![("pod".into(), name.into())]);
        let cases = [
            (Wanted::Id("A".into()), "liveness pass: orders: A answered 10s ago"),
            (Wanted::Any, "liveness pass: orders: A answered 10s ago"),
            (pod("orders-1"), "liveness pass: orders: A answered 10s ago"),
            (pod("or|ders"), "liveness pass: orders: B answered 10s ago"),
            (
                Wanted::Id("C".into()),
                "liveness fail: orders: instance C did not answer the check of 10s ago, though others did",
            ),
            (
                pod("orders-2"),
                "liveness fail: orders: the instance with pod=orders-2 did not answer the check of 10s ago, though others did",
            ),
        ];
        for (wanted, line) in cases {
            assert_eq!(ask(ProbeKind::Liveness, wanted, &status(990, true).to_string()).1, line);
        }
    }

    #[test]
    fn unlisted_instance_does_not_count_as_gone() {
        let mut large = status(990, true);
        large["instances"] = 3.into();
        let why = "the status file lists only 2 of 3 instances, use probe without --from, which asks NATS";
        let (answer, line) = ask(ProbeKind::Liveness, Wanted::Id("C".into()), &large.to_string());
        assert!(answer == ProbeResult::Pass && line.ends_with(why), "{line}");
        let (answer, line) = ask(ProbeKind::Readiness, Wanted::Id("C".into()), &large.to_string());
        assert!(answer == ProbeResult::Fail && line.ends_with(why), "{line}");
        assert_eq!(
            ask(ProbeKind::Readiness, Wanted::Id("A".into()), &large.to_string()).0,
            ProbeResult::Pass
        );
        large["instances"] = 2.into();
        assert_eq!(
            ask(ProbeKind::Liveness, Wanted::Id("C".into()), &large.to_string()).0,
            ProbeResult::Fail
        );
    }

    #[test]
    fn a_key_that_no_instance_has_is_named() {
        let node = Wanted::Match(vec![("node".into(), "n1".into())]);
        let text = "orders: 2 instances answer, none has node in its metadata";
        let (answer, line) = ask(ProbeKind::Liveness, node.clone(), &status(990, true).to_string());
        assert_eq!((answer, line), (ProbeResult::Fail, format!("liveness fail: {text}")));
        // If only a part of the metadata is listed, the result is unknown.
        let mut much = status(990, true);
        much["answers"][0]["metadata"] = json!({"a": "", "b": "", "c": "", "d": "", "e": "", "f": ""});
        let (_, line) = ask(ProbeKind::Liveness, node, &much.to_string());
        assert!(
            line.ends_with("the instance with node=n1 did not answer the check of 10s ago, though others did"),
            "{line}"
        );
    }

    /// It may be the wrong account, which a restart of the pod does not change.
    #[test]
    fn liveness_passes_until_an_instance_was_seen_in_this_account() {
        let nobody = |text: &str| {
            let mut status = status(990, true);
            status["answers"] = json!([]);
            status["findings"] = json!([
                {"reason": "instances_out_of_range", "text": "0 instances"},
                {"reason": "service_never_seen", "text": text},
            ]);
            status.to_string()
        };
        let wrong = nobody("never seen in this account, no responders, no other service is there");
        let imported =
            nobody("never seen in this account (asked APP.$SRV.PING.orders), no responders, no other service is there");
        let why = "no instance was ever seen in this account, is it the right one?";
        for (kind, result, line) in [
            (
                ProbeKind::Liveness,
                ProbeResult::Pass,
                format!("liveness pass: orders: {why} Passes until one was"),
            ),
            (
                ProbeKind::Readiness,
                ProbeResult::Fail,
                format!("readiness fail: orders: {why}"),
            ),
            (
                ProbeKind::Startup,
                ProbeResult::Fail,
                format!("startup fail: orders: {why}"),
            ),
        ] {
            for seen in [&wrong, &imported] {
                assert_eq!(ask(kind, Wanted::Id("C".into()), seen), (result, line.clone()));
            }
        }
        // An instance that is subscribed hangs, or may not publish.
        let hangs = nobody("never seen in this account, no answer within 5.0s though somebody is subscribed");
        let (result, line) = ask(ProbeKind::Liveness, Wanted::Any, &hangs);
        assert_eq!(
            (result, line.as_str()),
            (
                ProbeResult::Fail,
                "liveness fail: orders: the service did not answer the check of 10s ago"
            )
        );
        let mut seen: Value = serde_json::from_str(&wrong).expect("JSON");
        seen["findings"][1]["reason"] = "service_down".into();
        assert_eq!(
            ask(ProbeKind::Liveness, Wanted::Any, &seen.to_string()).0,
            ProbeResult::Fail
        );
    }

    #[test]
    fn advice_of_a_long_text_is_not_cut() {
        let mut denied = status(990, false);
        let text = format!("{} publish: {{allow: [\"$SRV.PING.orders\"]}}", "x".repeat(250));
        denied["text"] = text.as_str().into();
        let (_, line) = ask(ProbeKind::Readiness, Wanted::Any, &denied.to_string());
        assert_eq!(line, format!("readiness fail: orders: cannot ask: {text}"));
    }

    #[test]
    fn unusable_status_file_counts_as_nats_not_asked() {
        let mut foreign = status(990, true);
        foreign["service"] = "billing".into();
        let cases = [
            (
                String::new(),
                "the status file is damaged: EOF while parsing a value at line 1 column 0",
            ),
            ("{}".into(), "the status file is damaged: no time in it"),
            (
                status(939, true).to_string(),
                "the status file is 61s old, more than 60s (does the sidecar run?)",
            ),
            (
                status(1003, true).to_string(),
                "the status file is from the future (1970-01-01T00:16:43Z)",
            ),
            (foreign.to_string(), "the status file is of the service billing"),
            (status(990, false).to_string(), "connection refused"),
        ];
        for (text, why) in cases {
            let readiness = ask(ProbeKind::Readiness, Wanted::Any, &text);
            assert_eq!(
                readiness,
                (ProbeResult::Fail, format!("readiness fail: orders: cannot ask: {why}"))
            );
            let (liveness, _) = ask(ProbeKind::Liveness, Wanted::Any, &text);
            assert_eq!(liveness, ProbeResult::Pass);
            // A start is excused by NATS being away, and not by a sidecar that has not checked.
            let (startup, _) = ask(ProbeKind::Startup, Wanted::Any, &text);
            let is_away = why == "connection refused";
            assert_eq!(
                startup,
                if is_away { ProbeResult::Pass } else { ProbeResult::Fail },
                "{text}"
            );
        }
        assert_eq!(
            ask(ProbeKind::Readiness, Wanted::Any, &status(940, true).to_string()).0,
            ProbeResult::Pass
        );
    }
}
