//! Answers a Kubernetes probe from the status that the sidecar writes, without any network. Pure: it is given the text.

use std::time::Duration;

use serde_json::Value;

use crate::judge::pod::{Answer, Question};
use crate::probe::schedule::Wanted;
use crate::values::duration::age;
use crate::values::text::clean;
use crate::values::timestamp::Timestamp;

/// How far the file may be ahead of our clock, both being of one host.
const SLACK: Duration = Duration::from_secs(2);

/// Where the status comes from, in words: what it is, and what to look at if it is too old.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    name: &'static str,
    hint: &'static str,
}

/// The file of `watch --status-file`.
pub const FILE: Source = Source {
    name: "the status file",
    hint: "does the sidecar run?",
};

/// What the sidecar itself has at hand, for its own HTTP server.
pub const LAST_CHECK: Source = Source {
    name: "the last check",
    hint: "do the checks hang?",
};

/// Reads the status of `watch`, the JSON output, and answers the question from it.
///
/// One that is stale, damaged or of another service does not say how the pod is: that is as if NATS could not be asked.
pub fn answer(question: &Question, source: Source, text: &str, max_age: Duration, now: Timestamp) -> (Answer, String) {
    match read(question, source, text, max_age, now) {
        Ok(answer) => answer,
        Err(why) => question.cannot_ask(&why),
    }
}

fn read(
    question: &Question,
    Source { name, hint }: Source,
    text: &str,
    max_age: Duration,
    now: Timestamp,
) -> Result<(Answer, String), String> {
    let status: Value = serde_json::from_str(text).map_err(|e| format!("{name} is damaged: {e}"))?;
    let time = status["time"]
        .as_str()
        .and_then(Timestamp::parse)
        .ok_or_else(|| format!("{name} is damaged: no time in it"))?;
    if time > now + SLACK {
        return Err(format!("{name} is from the future ({time})"));
    }
    let old = now.since(time);
    if old > max_age {
        return Err(format!(
            "{name} is {} old, more than {} ({hint})",
            age(old),
            age(max_age)
        ));
    }
    match status["service"].as_str() {
        Some(service) if service == question.service => {}
        Some(service) => return Err(format!("{name} is of the service {}", clean(service, 80))),
        None => return Err(format!("{name} is damaged: no service in it")),
    }
    if status["asked"].as_bool() != Some(true) {
        let why = status["text"].as_str().unwrap_or("NATS could not be asked");
        return Err(clean(why, 200));
    }
    let answers = status["answers"]
        .as_array()
        .ok_or_else(|| format!("{name} is damaged: no answers in it"))?;
    let found = answers.iter().find(|answer| is_wanted(&question.wanted, answer));
    let counted = status["instances"].as_u64().unwrap_or_default();
    // Of a large service, it is not among those that are told, which says nothing of it.
    if found.is_none() && counted > answers.len() as u64 {
        let told = answers.len();
        return Err(format!(
            "{name} tells only {told} of {counted} instances, ask NATS itself, with probe"
        ));
    }
    let when = age(old);
    Ok(match found {
        Some(answer) => {
            let id = clean(answer["id"].as_str().unwrap_or_default(), 64);
            question.say(Answer::Pass, &format!("{id} answered {when} ago"))
        }
        None => {
            let others = if answers.is_empty() { "" } else { ", though others did" };
            question.say(
                Answer::Fail,
                &format!("{} did not answer {when} ago{others}", question.whom()),
            )
        }
    })
}

fn is_wanted(wanted: &Wanted, answer: &Value) -> bool {
    match wanted {
        Wanted::All | Wanted::Any => true,
        Wanted::Id(id) => answer["id"].as_str() == Some(id),
        // The file has the values as they are printed.
        Wanted::Match(values) => values.iter().all(|(key, value)| {
            let (key, value) = (
                clean(key, crate::probe::reply::KEY_CHARS),
                clean(value, crate::probe::reply::VALUE_CHARS),
            );
            answer["metadata"][key].as_str() == Some(value.as_str())
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    use crate::judge::pod::Kind;

    fn ask(kind: Kind, wanted: Wanted, status: &str) -> (Answer, String) {
        let question = Question {
            kind,
            service: "orders".into(),
            wanted,
            without_nats: kind.without_nats(),
        };
        answer(
            &question,
            FILE,
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
                "liveness fail: orders: instance C did not answer 10s ago, though others did",
            ),
            (
                pod("orders-2"),
                "liveness fail: orders: the instance with pod=orders-2 did not answer 10s ago, though others did",
            ),
        ];
        for (wanted, line) in cases {
            assert_eq!(ask(Kind::Liveness, wanted, &status(990, true).to_string()).1, line);
        }
    }

    #[test]
    fn who_is_not_told_is_not_gone() {
        let mut large = status(990, true);
        large["instances"] = 3.into();
        let why = "the status file tells only 2 of 3 instances, ask NATS itself, with probe";
        let (answer, line) = ask(Kind::Liveness, Wanted::Id("C".into()), &large.to_string());
        assert!(answer == Answer::Pass && line.ends_with(why), "{line}");
        let (answer, line) = ask(Kind::Readiness, Wanted::Id("C".into()), &large.to_string());
        assert!(answer == Answer::Fail && line.ends_with(why), "{line}");
        assert_eq!(
            ask(Kind::Readiness, Wanted::Id("A".into()), &large.to_string()).0,
            Answer::Pass
        );
        large["instances"] = 2.into();
        assert_eq!(
            ask(Kind::Liveness, Wanted::Id("C".into()), &large.to_string()).0,
            Answer::Fail
        );
    }

    #[test]
    fn a_file_that_does_not_say_is_as_if_nats_could_not_be_asked() {
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
            let readiness = ask(Kind::Readiness, Wanted::Any, &text);
            assert_eq!(
                readiness,
                (Answer::Fail, format!("readiness fail: orders: cannot ask: {why}"))
            );
            let (liveness, _) = ask(Kind::Liveness, Wanted::Any, &text);
            assert_eq!(liveness, Answer::Pass);
        }
        assert_eq!(
            ask(Kind::Readiness, Wanted::Any, &status(940, true).to_string()).0,
            Answer::Pass
        );
    }
}
