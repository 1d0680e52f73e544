use super::*;
use crate::probe::observation::Answer;

fn question() -> Question {
    Question {
        service: "orders".into(),
        prefix: "$SRV".into(),
        servers: vec!["n1:4222".into(), "n2:4222".into()],
        user: Some("mon".into()),
    }
}

fn store() -> Store {
    Store {
        path: None,
        held: None,
        question: question(),
    }
}

const fn at(second: i64) -> Timestamp {
    Timestamp::from_micros(1_790_000_000_000_000 + second * 1_000_000)
}

fn epoch(second: i64, number: usize) -> Epoch {
    let instance = |n: usize| Instance {
        id: format!("id-{n}"),
        version: "1.2.3".into(),
        metadata: vec![("pod".into(), format!("web-{n}")), ("app".into(), "é".into())],
    };
    Epoch {
        at: at(second),
        count: number,
        instances: (0..number).map(instance).collect(),
        digest: None,
    }
}

/// One with everything in it.
fn memory() -> Memory {
    Memory {
        sequence: 42,
        status: Some(Status::Critical),
        epoch: Some(epoch(60, 0)),
        outage: Some(Outage {
            last_seen: epoch(40, 3),
            first_missed: at(60),
        }),
        baseline: Some(Baseline {
            count: 3,
            fewer: Some((at(50), 2)),
        }),
        absentees: vec![Absentee {
            instance: epoch(50, 1).instances.remove(0),
            since: at(50),
            fate: Fate::NotAnswering,
        }],
        trouble: Some(Trouble {
            since: at(70),
            reason: Reason::AuthRejected,
        }),
        census: Some(at(60)),
        servers: vec!["NB".into(), "NA".into()],
        history: (0..HISTORY)
            .map(|n| Brief {
                at: at(n as i64),
                count: n,
            })
            .collect(),
    }
}

/// The name must be the same for ever, or an update of the program forgets an outage.
#[test]
fn each_question_has_its_own_file_and_keeps_it() {
    let base = question();
    let with = |change: fn(&mut Question)| {
        let mut question = question();
        change(&mut question);
        question.file_name()
    };
    assert_eq!(base.file_name(), "orders-69e1f4a2c45a9b52.json");
    let others = [
        with(|q| q.service = "orders2".into()),
        with(|q| q.prefix = "APP.$SRV".into()),
        with(|q| q.servers = vec!["n1:4222".into()]),
        with(|q| q.servers = vec!["n1:4222,n2:4222".into()]),
        with(|q| q.user = None),
        with(|q| q.user = Some(String::new())),
    ];
    assert_eq!(
        others,
        [
            "orders2-46bbcdd999ca5c6c.json",
            "orders-822f6c66e4d5983d.json",
            "orders-2ee2cedffe33f336.json",
            "orders-e7f934837803dc32.json",
            "orders-4961ddd29773a219.json",
            "orders-2b0835cb99ce2ab2.json",
        ]
    );
    // The longest service name still makes a file name, with room for the suffixes.
    let long = with(|q| q.service = "x".repeat(255));
    assert!(long.len() < 200, "{long}");
}

#[test]
fn the_first_folder_that_applies_is_taken() {
    let none = Path::new("/nonexistent/package");
    let package = Path::new("/");
    type Variables<'a> = &'a [(&'a str, &'a str)];
    let cases: &[(Variables<'_>, &Path, Option<&str>)] = &[
        (
            &[
                ("STATE_DIRECTORY", "/a:/b"),
                ("MP_STATE_PATH", "/c"),
                ("NAGIOS_PLUGIN_STATE_DIRECTORY", "/d"),
                ("XDG_STATE_HOME", "/e"),
                ("HOME", "/f"),
            ],
            package,
            Some("/a"),
        ),
        (
            &[
                ("MP_STATE_PATH", "/c"),
                ("NAGIOS_PLUGIN_STATE_DIRECTORY", "/d"),
                ("XDG_STATE_HOME", "/e"),
                ("HOME", "/f"),
            ],
            package,
            Some("/c/1000/check_nats_service"),
        ),
        (
            &[
                ("STATE_DIRECTORY", ""),
                ("MP_STATE_PATH", ""),
                ("NAGIOS_PLUGIN_STATE_DIRECTORY", "/d"),
                ("XDG_STATE_HOME", "/e"),
                ("HOME", "/f"),
            ],
            package,
            Some("/d/1000/check_nats_service"),
        ),
        (&[("XDG_STATE_HOME", "/e"), ("HOME", "/f")], package, Some("/1000")),
        (&[], package, Some("/1000")),
        (
            &[("XDG_STATE_HOME", "/e"), ("HOME", "/f")],
            none,
            Some("/e/check_nats_service"),
        ),
        (
            &[("XDG_STATE_HOME", ""), ("HOME", "/f")],
            none,
            Some("/f/.local/state/check_nats_service"),
        ),
        (&[("HOME", "")], none, None),
        (&[], none, None),
    ];
    for (variables, package_dir, expected) in cases {
        let var = |name: &str| {
            let value = variables.iter().find(|(variable, _)| *variable == name);
            value.map(|(_, value)| OsString::from(value))
        };
        let surroundings = Surroundings {
            var: &var,
            package_dir,
            euid: 1000,
        };
        let file = expected.map(|dir| Path::new(dir).join(question().file_name()));
        let store = Store::new(Place::Default, question(), &surroundings);
        assert_eq!(store.path(), file.as_deref(), "{variables:?}");

        // What the user says beats all of it.
        let store = Store::new(Place::Dir("/x".into()), question(), &surroundings);
        assert_eq!(
            store.path(),
            Some(Path::new("/x").join(question().file_name()).as_path())
        );
        let store = Store::new(Place::File("/x/y".into()), question(), &surroundings);
        assert_eq!(store.path(), Some(Path::new("/x/y")));
        let store = Store::new(Place::Nowhere, question(), &surroundings);
        assert_eq!(store.path(), None);
    }
}

/// Without a place the verdict is said all the same; only what the user asked for, to remember nothing, is no problem.
#[test]
fn without_a_place_it_judges_once_and_says_so() {
    let surroundings = Surroundings {
        var: &|_| None,
        package_dir: Path::new("/nonexistent/package"),
        euid: 1000,
    };
    let homeless = "no folder for the state: neither HOME nor XDG_STATE_HOME is set; \
                    give --state-dir, or --no-state to go without";
    for (place, problem) in [(Place::Default, Some(homeless)), (Place::Nowhere, None)] {
        let store = Store::new(place, question(), &surroundings);
        let problems: Vec<String> = problem.map(str::to_owned).into_iter().collect();
        assert_eq!(store.peek(at(0)), Memory::default());
        let mut judged = 0;
        let (said, told) = store.update(at(0), Instant::now(), &Memory::default(), |memory| {
            judged += 1;
            assert_eq!(memory, &Memory::default());
            ("verdict", self::memory())
        });
        assert_eq!((said, judged, told), ("verdict", 1, problems));
        assert!(store.show(at(0)).is_err() && store.reset(Instant::now()).is_err());
    }
}

#[test]
fn a_memory_reads_back_as_it_was_written() {
    let full = memory();
    for memory in [
        full.clone(),
        Memory::default(),
        Memory {
            epoch: Some(epoch(40, 3)),
            outage: None,
            trouble: None,
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
        let text = store().to_json(&memory).to_string();
        let value: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(store().parse_json(&value, at(100)), Ok(memory));
    }
}

/// The largest state that the program can write is one that it reads again.
#[test]
fn ten_thousand_wordy_instances_fit() {
    // What survives the cleaning and takes the most room: four bytes a character, and quotes in ids, which JSON escapes.
    let wide = |characters: usize| "\u{1d7d8}".repeat(characters);
    let answers: Vec<Answer> = (0..10_000)
        .map(|n| Answer {
            instance: Instance {
                id: format!("{n:05}{}", "\"".repeat(123)),
                version: wide(32) + "...",
                metadata: (0..6)
                    .map(|k| (wide(31) + &k.to_string() + "...", wide(64) + "..."))
                    .collect(),
            },
            rtt: None,
        })
        .collect();
    let crowd = Epoch::new(at(40), &answers);
    let largest = [
        Memory {
            epoch: Some(crowd.clone()),
            outage: None,
            ..memory()
        },
        Memory {
            outage: Some(Outage {
                last_seen: crowd,
                first_missed: at(60),
            }),
            ..memory()
        },
    ];
    for memory in largest {
        let text = store().to_json(&memory).to_string() + "\n";
        assert!(text.len() as u64 <= LARGEST, "{} bytes", text.len());
        let value: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(store().parse_json(&value, at(100)), Ok(memory));
    }
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let good = store().to_json(&memory());
    let malformed = "is damaged: a field is missing or malformed";
    let foreign = "belongs to another question (service, servers, user or prefix)";
    let future = |at: Timestamp| format!("comes from the future ({at}); check the clock");
    let soon = at(100) + CLOCK_SLACK;
    let later = soon + Duration::from_micros(1);
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
        (without("/question"), foreign.into()),
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
        (set("/baseline/count", json!("three")), malformed.into()),
        (set("/baseline/fewer/most", json!(-1)), malformed.into()),
        (set("/absentees/0/fate", json!("late")), malformed.into()),
        (set("/absentees/0/instance/id", json!(7)), malformed.into()),
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
        // Clocks are set back now and then, but not that far.
        (set("/epoch/at", json!(later.to_string())), future(later)),
        (set("/outage/first_missed", json!(later.to_string())), future(later)),
        (set("/outage/last_seen/at", json!(later.to_string())), future(later)),
        (set("/not_asked/since", json!(later.to_string())), future(later)),
        (set("/census", json!(later.to_string())), future(later)),
    ];
    for (json, why) in cases {
        assert_eq!(store().parse_json(&json, at(100)), Err(why), "{json}");
    }
    let ahead = store().parse_json(&set("/epoch/at", json!(soon.to_string())), at(100));
    assert_eq!(ahead.map(|memory| memory.epoch.map(|epoch| epoch.at)), Ok(Some(soon)));
    // A later program of the same format may say more.
    let mut more = good.clone();
    more["rates"] = json!({"count": 3});
    assert_eq!(store().parse_json(&more, at(100)), Ok(memory()));
}
