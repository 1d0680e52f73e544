use serde_json::{Value, json};

use super::*;
use crate::probe::observation::{Fate, Instance, InstanceReply};
use crate::state::changes::{Changes, Epochs, MAX_CHANGES, Succession};
use crate::state::fields::MAX_INSTANCES;
use crate::state::fixture::{at, epoch, memory, state_key};
use crate::state::memory::{MAX_HISTORY, Memory, Outage};
use crate::state::store::MAX_STATE_BYTES;

#[test]
fn a_memory_reads_back_as_it_was_written() {
    let full = memory();
    for memory in [
        full.clone(),
        Memory::default(),
        Memory {
            epoch: Some(epoch(40, 3)),
            outage: None,
            unreachable: None,
            ..full.clone()
        },
        // More instances than are remembered by id.
        Memory {
            epoch: Some(Epoch {
                count: 5000,
                ..epoch(40, 3)
            }),
            ..full
        },
    ] {
        let text = write(&state_key(), &memory);
        assert_eq!(read(&state_key(), text.as_bytes(), at(100)), Ok(loaded(memory)));
    }
}

/// A memory, and nothing wrong with its file.
fn loaded(memory: Memory) -> Loaded {
    Loaded {
        key: state_key(),
        memory,
        damage: None,
        future: None,
    }
}

fn parsed(value: &Value, now: Timestamp) -> Result<Memory, FormatError> {
    read(&state_key(), value.to_string().as_bytes(), now).map(|loaded| loaded.memory)
}

/// The file of the first programs of format 1 is read for ever.
#[test]
fn the_first_file_of_this_format_is_read() {
    let text = include_str!("format-1.json").trim_end();
    assert_eq!(read(&state_key(), text.as_bytes(), at(100)), Ok(loaded(memory())));
}

#[test]
fn times_in_the_future_count_as_now() {
    let mut memory = memory();
    memory.history[3].not_asked_since = Some(at(2));
    let text = write(&state_key(), &memory);
    let now = at(30);
    let read = |text: &str| read(&state_key(), text.as_bytes(), now).expect("a memory");
    let early = read(&text);
    assert_eq!(early.future, None, "clocks are set back a little now and then");
    let outage = early.memory.outage.expect("the outage");
    assert_eq!((outage.first_missed, outage.last_seen.at), (now, now));
    assert_eq!(outage.last_seen.instances, epoch(40, 3).instances);
    assert_eq!(early.memory.history[10].at, at(10));
    assert_eq!(early.memory.history[31].at, now);
    // Each time of the file is looked at.
    for field in [
        "/epoch/at",
        "/outage/first_missed",
        "/outage/last_seen/at",
        "/not_asked/since",
        "/census",
        "/mixed_since",
        "/history/3/at",
        "/history/3/not_asked_since",
        "/absentees/0/since",
        "/baseline/peaks/0/until",
        "/baseline/raised/latest",
        "/changes/log/0/at",
        "/statistics/at",
        "/statistics/all/open/until",
        "/statistics/instances/0/1",
    ] {
        let mut json: Value = serde_json::from_str(&text).expect("JSON");
        *json.pointer_mut(field).unwrap_or_else(|| panic!("no {field}")) = json!("2999-01-01T00:00:00Z");
        let loaded = read(&json.to_string());
        assert_eq!(loaded.future, Timestamp::parse("2999-01-01T00:00:00Z"), "{field}");
        let written = write(&state_key(), &loaded.memory);
        assert!(!written.contains("2999"), "{field}: {written}");
    }
}

#[test]
fn text_after_a_whole_state_is_ignored() {
    let text = write(&state_key(), &memory()) + "\n";
    let read = |rest: &str| read(&state_key(), (text.clone() + rest).as_bytes(), at(100));
    assert_eq!(read(" \n "), Ok(loaded(memory())));
    for rest in ["x", "\0\0", &text] {
        let damage = Some("is damaged: trailing characters at line 2 column 1".into());
        let expected = Loaded {
            damage,
            ..loaded(memory())
        };
        assert_eq!(read(rest), Ok(expected));
    }
}

/// Whatever the length of its lists.
#[test]
fn no_more_is_kept_than_is_ever_written() {
    let mut json: Value = serde_json::from_str(&write(&state_key(), &memory())).expect("JSON");
    let grow = |list: &mut Value| {
        let list = list.as_array_mut().expect("a list");
        *list = list.iter().cycle().take(10_000).cloned().collect();
    };
    for list in ["/history", "/absentees", "/changes/log", "/statistics/instances"] {
        grow(json.pointer_mut(list).expect("a list"));
    }
    let crowd: serde_json::Map<String, Value> = (0..10_000).map(|n| (n.to_string(), json!("x"))).collect();
    json["epoch"] =
        json!({ "at": json["census"], "count": 1, "instances": [{ "id": "A", "version": "", "metadata": crowd }] });
    let memory = parsed(&json, at(100)).expect("a memory");
    assert_eq!(memory.history.len(), MAX_HISTORY);
    assert_eq!(memory.absentees.len(), MAX_INSTANCES);
    assert_eq!(memory.changes.expect("changes").log.len(), MAX_CHANGES);
    assert_eq!(memory.epoch.expect("an epoch").instances[0].metadata.len(), 64);
}

/// The largest state that the program can write is one that it reads again.
#[test]
fn ten_thousand_wordy_instances_fit() {
    // What survives the cleaning and takes the most room: four bytes a character, and quotes in ids, which JSON escapes.
    let wide = |characters: usize| "\u{1d7d8}".repeat(characters);
    let answers: Vec<InstanceReply> = (0..10_000)
        .map(|n| InstanceReply {
            instance: Instance {
                id: format!("{n:05}{}", "\"".repeat(123)),
                version: wide(64) + "...",
                metadata: (0..6)
                    .map(|k| (wide(31) + &k.to_string() + "...", wide(64) + "..."))
                    .collect(),
            },
            rtt: None,
        })
        .collect();
    let crowd = Epoch::new(at(40), &answers);
    // All that can have changed: a whole crowd in place of another one.
    let (before, after) = answers.split_at(128);
    let before: Vec<Instance> = before
        .iter()
        .map(|answer| Instance {
            metadata: vec![(wide(28) + "pod...", wide(64) + "...")],
            ..answer.instance.clone()
        })
        .collect();
    let gone: Vec<(String, Fate)> = before.iter().map(|old| (old.id.clone(), Fate::Gone)).collect();
    let epochs = Epochs {
        before: &before,
        with_versions: 256,
        at: at(40),
        answers: after,
        absent: &gone,
        hidden: false,
        away_since: None,
    };
    let succession = Succession {
        confirm: Duration::ZERO,
        window: Duration::from_secs(900),
    };
    let changes = Some(Changes::after(None, epochs, succession));
    assert_eq!(changes.as_ref().map(|changes| changes.log.len()), Some(MAX_CHANGES));
    let largest = [
        Memory {
            epoch: Some(crowd.clone()),
            outage: None,
            changes: changes.clone(),
            ..memory()
        },
        Memory {
            outage: Some(Outage {
                last_seen: crowd,
                first_missed: at(60),
            }),
            changes,
            ..memory()
        },
    ];
    for memory in largest {
        let text = write(&state_key(), &memory) + "\n";
        assert!(text.len() as u64 <= MAX_STATE_BYTES, "{} bytes", text.len());
        let value: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(parsed(&value, at(100)), Ok(memory));
    }
}

#[test]
fn damage_of_a_state_file_is_reported() {
    let good: Value = serde_json::from_str(&write(&state_key(), &memory())).expect("JSON");
    let malformed = "is damaged: a field is missing or malformed";
    let foreign = "belongs to another question (service, servers, user or prefix)";
    let set = |path: &str, value: Value| {
        let mut json = good.clone();
        *json.pointer_mut(path).unwrap_or_else(|| panic!("no {path}")) = value;
        json
    };
    let without = |path: &str| {
        let mut json = good.clone();
        let (parent, name) = path.rsplit_once('/').expect("a path");
        let parent = json.pointer_mut(parent).and_then(Value::as_object_mut);
        parent
            .and_then(|parent| parent.remove(name))
            .unwrap_or_else(|| panic!("no {path}"));
        json
    };
    let cases = [
        (json!(null), "is damaged: no format".to_owned()),
        (json!([]), "is damaged: no format".into()),
        (json!("state"), "is damaged: no format".into()),
        (json!({}), "is damaged: no format".into()),
        (set("/format", json!("1")), "is damaged: no format".into()),
        (
            set("/format", json!(2)),
            "has format 2, this program knows format 1".into(),
        ),
        (
            set("/format", json!(1.5)),
            "has format 1.5, this program knows format 1".into(),
        ),
        (without("/question"), malformed.into()),
        (set("/question/service", json!("orders2")), foreign.into()),
        (set("/question/servers", json!(["n1:4222"])), foreign.into()),
        (set("/question/user", json!(null)), foreign.into()),
        (set("/question/prefix", json!("APP.$SRV")), foreign.into()),
        (set("/sequence", json!(-1)), malformed.into()),
        (set("/status", json!("FINE")), malformed.into()),
        (set("/status", json!(2)), malformed.into()),
        (set("/epoch", json!([])), malformed.into()),
        (set("/epoch/at", json!("yesterday")), malformed.into()),
        (set("/epoch/count", json!("3")), malformed.into()),
        (set("/epoch/instances", json!(null)), malformed.into()),
        (set("/outage", json!(false)), malformed.into()),
        (set("/outage/first_missed", json!(1_790_000_000)), malformed.into()),
        (set("/outage/last_seen", json!(null)), malformed.into()),
        // More instances than there were.
        (set("/outage/last_seen/count", json!(2)), malformed.into()),
        (set("/outage/last_seen/instances/0/id", json!(7)), malformed.into()),
        (
            set("/outage/last_seen/instances/0/version", json!(null)),
            malformed.into(),
        ),
        (
            set("/outage/last_seen/instances/0/metadata", json!([])),
            malformed.into(),
        ),
        (
            set("/outage/last_seen/instances/0/metadata/pod", json!(0)),
            malformed.into(),
        ),
        (set("/baseline/latest", json!("three")), malformed.into()),
        (set("/baseline/peaks/0/count", json!(-1)), malformed.into()),
        (set("/baseline/peaks/0/until", json!(null)), malformed.into()),
        (set("/baseline/peaks", json!({})), malformed.into()),
        (set("/baseline/raised/since", json!(null)), malformed.into()),
        (set("/baseline/raised/from", json!(-1)), malformed.into()),
        (set("/changes/restarts", json!(-1)), malformed.into()),
        (set("/changes/log", json!(null)), malformed.into()),
        (set("/changes/log/0/what", json!("vanished")), malformed.into()),
        (set("/changes/log/0/at", json!(7)), malformed.into()),
        (set("/changes/log/0/id", json!(null)), malformed.into()),
        (set("/changes/log/0/version", json!(1.5)), malformed.into()),
        (set("/changes/log/0/place", json!("web-1")), malformed.into()),
        (set("/changes/log/2/replaces", json!(7)), malformed.into()),
        (set("/absentees/0/fate", json!("late")), malformed.into()),
        (set("/absentees/0/instance/id", json!(7)), malformed.into()),
        (set("/mixed_since", json!(7)), malformed.into()),
        (set("/not_asked/reason", json!("tired")), malformed.into()),
        (set("/not_asked/since", json!(null)), malformed.into()),
        (set("/census", json!(0)), malformed.into()),
        (set("/history", json!({})), malformed.into()),
        (set("/history/0", json!(null)), malformed.into()),
        (set("/history/31/count", json!(1.5)), malformed.into()),
        // A file that says nothing of an outage does not say that there is none.
        (without("/sequence"), malformed.into()),
        (without("/status"), malformed.into()),
        (without("/epoch"), malformed.into()),
        (without("/outage"), malformed.into()),
        (without("/not_asked"), malformed.into()),
        (without("/census"), malformed.into()),
        (without("/history"), malformed.into()),
        (without("/outage/last_seen"), malformed.into()),
        (without("/epoch/at"), malformed.into()),
        (without("/outage/last_seen/instances/2/id"), malformed.into()),
        (without("/history/7/at"), malformed.into()),
    ];
    for (json, why) in cases {
        assert_eq!(parsed(&json, at(100)), Err(FormatError::Damaged(why)), "{json}");
    }
    // A program before this one did not know since when versions are mixed.
    let earlier = Memory {
        mixed_since: None,
        ..memory()
    };
    assert_eq!(parsed(&without("/mixed_since"), at(100)), Ok(earlier));
    // Earlier programs of the same format said less.
    let mut less = good.clone();
    less.as_object_mut().and_then(|less| less.remove("changes"));
    less["baseline"].as_object_mut().and_then(|less| less.remove("raised"));
    let read = parsed(&less, at(100)).expect("a memory");
    assert_eq!(
        (read.changes, read.baseline.and_then(|baseline| baseline.raised)),
        (None, None)
    );
    // A later program of the same format may say more.
    let mut more = good.clone();
    more["rates"] = json!({"count": 3});
    assert_eq!(parsed(&more, at(100)), Ok(memory()));
}
