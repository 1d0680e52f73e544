//! The file of a sidecar, from which `probe --from` answers: it passes only on what the file says.

use std::time::Duration;

use check_nats_service::judge::pod::{PodProbe, ProbeKind, ProbeResult};
use check_nats_service::judge::status_file::answer_from_file;
use check_nats_service::probe::plan::Wanted;
use check_nats_service::values::timestamp::Timestamp;
use serde_json::Value;

use super::{Target, text};

pub const TARGET: Target = Target {
    name: "status_file",
    run,
    seeds: &[
        r#"{"time":"1970-01-01T00:16:30Z","service":"demo","asked":true,"text":"up","answers":[{"id":"A","metadata":{"pod":"web-0"}}]}"#,
        r#"{"time":"1970-01-01T00:16:30Z","service":"demo","asked":true,"answers":[]}"#,
        r#"{"time":"1970-01-01T00:16:30Z","service":"demo","asked":true,"instances":2,"answers":[{"id":"B"}]}"#,
        r#"{"time":"1970-01-01T00:16:30Z","service":"demo","asked":false,"text":"connection|\nrefused"}"#,
        r#"{"time":"1970-01-01T00:10:00Z","service":"demo"}"#,
        r#"{"time":"1970-01-01T00:17:00Z","service":"other"}"#,
    ],
    samples: None,
    words: &[
        "\"time\":",
        "\"service\":",
        "\"asked\":",
        "\"answers\":",
        "\"text\":",
        "\"id\":\"A\"",
        "\"metadata\":",
        "\"pod\":\"web-0\"",
        "true",
        "null",
        "1970-01-01T00:16:30Z",
        "9999-12-31T23:59:59Z",
        "\\n",
        "\\u202e",
    ],
};

fn run(input: &[u8]) {
    let Some(text) = text(input) else { return };
    let now = Timestamp::from_seconds(1000);
    let wanted = [
        Wanted::Any,
        Wanted::Id("A".into()),
        Wanted::Match(vec![("pod".into(), "web-0".into())]),
    ];
    for (n, wanted) in wanted.into_iter().enumerate() {
        for kind in [ProbeKind::Liveness, ProbeKind::Readiness] {
            let question = PodProbe {
                kind,
                service: "demo".into(),
                wanted: wanted.clone(),
                unreachable: None,
            };
            let (said, line) = answer_from_file(&question, text, Duration::from_secs(60), now);
            let value: Option<Value> = serde_json::from_str(text).ok();
            let expected = value
                .as_ref()
                .and_then(|value| model(value, n))
                .unwrap_or(kind.without_nats());
            assert_eq!(said, expected, "{line}");
            assert!(
                line.chars().count() <= 500 && !line.contains(char::is_control),
                "{line:?}"
            );
            assert!(
                line.starts_with(&format!("{} {}: demo: ", kind.name(), said.name())),
                "{line}"
            );
        }
    }
}

/// Returns the result for the instance, as far as the file is fresh, whole and of this service.
fn model(status: &Value, wanted: usize) -> Option<ProbeResult> {
    let time = Timestamp::parse(status["time"].as_str()?)?.as_micros();
    let fresh = (940_000_000..=1_002_000_000).contains(&time);
    let ours = status["service"] == "demo" && status["asked"] == true;
    let answers = status["answers"].as_array().filter(|_| fresh && ours)?;
    let found = match wanted {
        0 => !answers.is_empty(),
        1 => answers.iter().any(|answer| answer["id"] == "A"),
        _ => answers.iter().any(|answer| answer["metadata"]["pod"] == "web-0"),
    };
    // Not all are told.
    let is_told = status["instances"].as_u64().unwrap_or(0) <= answers.len() as u64;
    (found || is_told).then_some(if found { ProbeResult::Pass } else { ProbeResult::Fail })
}
