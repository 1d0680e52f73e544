use std::ffi::OsString;

use super::*;
use crate::state::fixture::{at, memory, state_key};

/// The name must be the same for ever, or an update of the program forgets an outage.
#[test]
fn each_question_has_its_own_file_and_keeps_it() {
    let base = state_key();
    let with = |change: fn(&mut StateKey)| {
        let mut key = state_key();
        change(&mut key);
        key.file_name()
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
    let temp = std::env::temp_dir().join(format!("check_nats_service-location-{}", std::process::id()));
    let package = temp.as_path();
    std::fs::create_dir_all(package.join("1000")).expect("a folder");
    let own = package.join("1000");
    let own = own.to_str();
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
        (&[("XDG_STATE_HOME", "/e"), ("HOME", "/f")], package, own),
        (&[], package, own),
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
        let state_environment = StateEnvironment {
            var: &var,
            package_dir,
            euid: 1000,
        };
        let file = expected.map(|dir| Path::new(dir).join(state_key().file_name()));
        let store = Store::new(&StateLocation::Default, state_key(), &state_environment);
        assert_eq!(store.path(), file.as_deref(), "{variables:?}");

        // What the user says beats all of it.
        let store = Store::new(&StateLocation::Dir("/x".into()), state_key(), &state_environment);
        assert_eq!(
            store.path(),
            Some(Path::new("/x").join(state_key().file_name()).as_path())
        );
        let store = Store::new(&StateLocation::File("/x/y".into()), state_key(), &state_environment);
        assert_eq!(store.path(), Some(Path::new("/x/y")));
        let store = Store::new(&StateLocation::Nowhere, state_key(), &state_environment);
        assert_eq!(store.path(), None);
    }
    std::fs::remove_dir_all(package).expect("removed");
}

/// Root makes a folder of the package for a user. Before that the state is below the home, and afterwards it stays there.
#[test]
fn a_state_stays_where_it_is() {
    let temp = std::env::temp_dir().join(format!("check_nats_service-stays-{}", std::process::id()));
    let (package, home) = (temp.join("package"), temp.join("home/check_nats_service"));
    let var = |name: &str| (name == "XDG_STATE_HOME").then(|| temp.join("home").into_os_string());
    let folder = |euid: u32| {
        let state_environment = StateEnvironment {
            var: &var,
            package_dir: &package,
            euid,
        };
        let store = Store::new(&StateLocation::Default, state_key(), &state_environment);
        store.path().and_then(Path::parent).map(Path::to_owned)
    };
    std::fs::create_dir_all(&package).expect("a folder");
    std::fs::create_dir_all(&home).expect("a folder");
    assert_eq!(folder(1000), Some(home.clone()), "nobody but root can make it");
    assert_eq!(folder(0), Some(package.join("0")));
    std::fs::create_dir(package.join("1000")).expect("a folder");
    assert_eq!(folder(1000), Some(package.join("1000")));
    std::fs::write(home.join(state_key().file_name()), "").expect("a file");
    assert_eq!(folder(1000), Some(home));
    std::fs::write(package.join("1000").join(state_key().file_name()), "").expect("a file");
    assert_eq!(folder(1000), Some(package.join("1000")));
    std::fs::remove_dir_all(temp).expect("removed");
}

/// Without a place the verdict is said all the same; only what the user asked for, to remember nothing, is no problem.
#[test]
fn without_a_state_folder_the_check_judges_and_reports_it() {
    let state_environment = StateEnvironment {
        var: &|_| None,
        package_dir: Path::new("/nonexistent/package"),
        euid: 1000,
    };
    let homeless = "no folder for the state: neither HOME nor XDG_STATE_HOME is set, \
                    give --state-dir, or --no-state to go without";
    for (place, problem) in [(StateLocation::Default, Some(homeless)), (StateLocation::Nowhere, None)] {
        let store = Store::new(&place, state_key(), &state_environment);
        let problems: Vec<String> = problem.map(str::to_owned).into_iter().collect();
        assert_eq!(store.peek(at(0)), Memory::default());
        let mut judged = 0;
        let (said, told) = store.update(Instant::now(), &Memory::default(), |memory| {
            judged += 1;
            assert_eq!(memory, &Memory::default());
            ("verdict", self::memory())
        });
        assert_eq!((said, judged, told), ("verdict", 1, problems));
        assert!(store.show(at(0)).is_err() && store.reset(Instant::now()).is_err());
    }
}

/// A sidecar without a file outlives a clock that is set back.
#[test]
fn memory_without_a_file_is_kept_when_the_clock_goes_back() {
    let memory = memory();
    let ahead = Store::holding("", state_key())
        .write_text(&memory)
        .replace("\"20", "\"29");
    let held = Store::holding(&ahead, state_key()).peek(Timestamp::now());
    let outage = held.outage.expect("the outage");
    assert_eq!(
        outage.last_seen.instances,
        memory.outage.expect("an outage").last_seen.instances
    );
    assert!(outage.first_missed <= Timestamp::now());
    // What is none of ours is nothing.
    assert_eq!(Store::holding("garbage", state_key()).peek(at(0)), Memory::default());
}
