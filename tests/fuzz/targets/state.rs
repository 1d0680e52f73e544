//! The state file: what is read is written as it was, and whatever is in it can be told.

use check_nats_service::render::memory;
use check_nats_service::state::format::{FormatError, read, write};
use check_nats_service::state::key::StateKey;
use check_nats_service::state::store::MAX_STATE_BYTES;
use check_nats_service::values::timestamp::Timestamp;

use super::Target;

pub const TARGET: Target = Target {
    name: "state",
    run,
    seeds: &[
        r#"{"format":1,"question":{"service":"demo","prefix":"$SRV","servers":["h:4222"],"user":null},"sequence":1,"status":"OK","epoch":{"at":"2026-09-21T14:13:20Z","count":1,"instances":[{"id":"A","version":"1.0.0","metadata":{"pod":"w"}}]},"outage":null,"baseline":{"count":1,"fewer":null},"absentees":[],"not_asked":null,"census":null,"history":[]}"#,
        r#"{"format":1,"question":{"service":"demo","prefix":"$SRV","servers":["h:4222"],"user":null},"sequence":7,"status":"CRITICAL","epoch":{"at":"2026-09-21T14:13:20Z","count":0,"instances":[]},"outage":{"first_missed":"2026-09-21T14:13:20Z","last_seen":{"at":"2026-09-21T14:12:20Z","count":5000,"digest":"00000000000000ff","instances":[{"id":"A","version":"","metadata":{"z":"1","pod":"w","host":"h"}}]}},"baseline":{"count":3,"fewer":{"since":"2026-09-21T14:13:20Z","most":2},"raised":{"from":1,"since":"2026-09-21T14:13:20Z","latest":"2026-09-21T14:13:20Z"}},"absentees":[{"instance":{"id":"B","version":"1","metadata":{}},"since":"2026-09-21T14:13:20Z","fate":"not answering"}],"mixed_since":"2026-09-21T14:13:20Z","not_asked":{"since":"2026-09-21T14:13:20Z","reason":"nats_unreachable"},"census":"2026-09-21T14:13:20.5Z","servers":["N1","N2"],"statistics":{"at":"2026-09-21T14:13:20Z","all":{"total":[3,1,5],"open":{"since":"2026-09-21T14:13:20Z","until":"2026-09-21T14:13:20Z","counted":[0,0,0]},"closed":null},"endpoints":{"add":{"total":[3,1,5],"open":{"since":"2026-09-21T14:13:20Z","until":"2026-09-21T14:13:20Z","counted":[0,0,0]},"closed":{"since":"2026-09-21T14:13:20Z","until":"2026-09-21T14:13:20Z","counted":[18446744073709551615,1,1]}}},"names":["add"],"instances":[["A","2026-09-21T14:13:20Z",[[0,3,1,5]]]]},"changes":{"restarts":2,"log":[{"at":"2026-09-21T14:13:20Z","what":"arrived","id":"A","version":"1","place":["pod","w"],"replaces":"B"},{"at":"2026-09-21T14:13:20Z","what":"left","id":"B","version":""},{"at":"2026-09-21T14:13:20Z","what":"missing","id":"C","version":""}]},"history":[{"at":"2026-09-21T14:13:20Z","count":3}]}"#,
    ],
    samples: None,
    words: &[
        "null",
        "\"format\":1",
        "\"at\":",
        "\"count\":",
        "\"digest\":\"f\"",
        "\"+f\"",
        "\"place\":[\"pod\",\"x\"]",
        "\"replaces\":\"B\"",
        "\"endpoints\":",
        "\"metadata\":{}",
        "9999-12-31T23:59:59Z",
        "-00:01",
        "\"2026-09-21T14:13:20Z\"",
        "18446744073709551615",
        "-1",
        "1.5",
        "\"host\":\"h\"",
        "\\n",
        "\\u0000",
        "\"raised\":",
        "\"fewer\":null",
    ],
};

pub fn question() -> StateKey {
    StateKey {
        service: "demo".into(),
        prefix: "$SRV".into(),
        servers: vec!["h:4222".into()],
        user: None,
    }
}

fn run(input: &[u8]) {
    let now = Timestamp::from_seconds(1_790_000_100);
    let loaded = match read(&question(), input, now) {
        Ok(loaded) => loaded,
        // It is told behind the name of the file, with what is in it only where that is a number or a time.
        Err(FormatError::Damaged(why) | FormatError::OtherKind(why)) => {
            return assert!(why.len() < 200 && !why.contains(char::is_control), "{why}");
        }
    };
    let memory = &loaded.memory;
    let written = write(&question(), memory);
    assert_eq!(
        read(&question(), written.as_bytes(), now)
            .map(|loaded| loaded.memory)
            .as_ref(),
        Ok(memory),
        "{written}"
    );
    assert!(input.len() as u64 > MAX_STATE_BYTES / 16 || (written.len() as u64) < MAX_STATE_BYTES);
    let shown = memory::render(&question(), None, Some(&loaded), now);
    assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
}
