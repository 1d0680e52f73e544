use serde_json::{Value, json};

use super::*;
use crate::state::fixture::{account_key, at, epoch, memory, state_key};
use crate::state::format;

fn account() -> AccountMemory {
    let up = Memory {
        sequence: 1,
        epoch: Some(epoch(40, 3)),
        ..Memory::default()
    };
    AccountMemory {
        services: [("billing".to_owned(), up), ("orders".to_owned(), memory())].into(),
        candidates: [("mail".to_owned(), at(30))].into(),
        census: Some(at(60)),
        ..AccountMemory::default()
    }
}

fn parsed(text: &str) -> Result<LoadedAccount, FormatError> {
    read(&account_key(), text.as_bytes(), at(100))
}

/// The state with this value at this place of its JSON.
fn with(pointer: &str, value: Value) -> String {
    let mut json: Value = serde_json::from_str(&write(&account_key(), &account())).expect("JSON");
    *json.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")) = value;
    json.to_string()
}

fn damaged(why: &str) -> FormatError {
    FormatError::Damaged(why.into())
}

/// The name must be the same for ever, or an update of the program forgets every outage.
#[test]
fn each_account_has_its_own_file_and_keeps_it() {
    assert_eq!(account_key().file_name(), "all-5e310c124bc2a518.json");
    assert_eq!(AccountKey::from(&state_key()), account_key());
    assert_eq!(account_key().of_service("orders"), state_key());
}

#[test]
fn an_account_reads_back_as_it_was_written() {
    for memory in [AccountMemory::default(), account()] {
        let loaded = LoadedAccount {
            key: account_key(),
            memory: memory.clone(),
            damage: None,
            future: None,
        };
        assert_eq!(parsed(&write(&account_key(), &memory)), Ok(loaded));
    }
}

/// The file of the first programs of format 1 is read for ever.
#[test]
fn the_first_account_file_of_this_format_is_read() {
    let text = include_str!("account-1.json").trim_end();
    assert_eq!(parsed(text).map(|loaded| loaded.memory), Ok(account()));
}

#[test]
fn a_broken_service_costs_none_of_the_others() {
    let broken = [
        ("/services/orders/outage", json!(7)),
        ("/services/orders/history", json!("x")),
        ("/services/orders", json!(null)),
        ("/services/orders/epoch/count", json!(-1)),
        ("/services/orders/outage/last_seen/count", json!(1)),
        ("/services/orders/outage/first_missed", json!("yesterday")),
    ];
    for (pointer, value) in broken {
        let loaded = parsed(&with(pointer, value)).expect("the other service");
        assert_eq!(
            loaded.damage.as_deref(),
            Some("is damaged: 1 part cannot be read (orders)"),
            "{pointer}"
        );
        assert_eq!(loaded.memory.unreadable, ["orders".to_owned()].into());
        let mut rest = account();
        rest.services.remove("orders");
        rest.unreadable = ["orders".to_owned()].into();
        assert_eq!(loaded.memory, rest);
        assert_eq!(rest.remembered(), ["billing", "orders"].into());
    }
    // Neither does what belongs to no service.
    for (pointer, value) in [
        ("/candidates", json!({"mail": 3})),
        ("/candidates", json!([])),
        ("/census", json!("x")),
    ] {
        let loaded = parsed(&with(pointer, value)).expect("the services");
        assert_eq!(
            loaded.damage.as_deref(),
            Some("is damaged: 1 part cannot be read"),
            "{pointer}"
        );
        assert_eq!(loaded.memory.services, account().services);
    }
}

#[test]
fn intact_part_before_the_damage_counts() {
    let text = write(&account_key(), &account());
    let orders = text.find("\"orders\":").expect("the second service");
    for end in [orders, orders + 20, text.len() - 1] {
        let loaded = parsed(&text[..end]).expect("the first service");
        assert!(
            loaded.damage.is_some_and(|why| why.starts_with("is damaged: EOF")),
            "{end}"
        );
        assert_eq!(loaded.memory.services["billing"], account().services["billing"]);
    }
    let loaded = parsed(&(text.clone() + "\nx")).expect("all services");
    assert_eq!(
        loaded.damage.as_deref(),
        Some("is damaged: trailing characters at line 2 column 1")
    );
    assert_eq!(loaded.memory, account());
    // Without an account it is nobody's.
    for end in 0..text.find(",\"census\"").expect("a census") - 1 {
        assert!(matches!(parsed(&text[..end]), Err(FormatError::Damaged(_))), "{end}");
    }
}

#[test]
fn state_of_another_account_is_reported() {
    let other = with("/account/user", json!("somebody"));
    assert_eq!(
        parsed(&other),
        Err(damaged("belongs to another account (servers, user or prefix)"))
    );
    assert_eq!(parsed(&with("/account", json!(3))), Err(MALFORMED.into()));
    assert_eq!(
        parsed(&with("/format", json!(2))),
        Err(damaged("has format 2, this program knows format 1"))
    );
    for text in ["{}", "{\"format\":\"1\"}", "{\"account\":{}}"] {
        assert_eq!(parsed(text), Err(NO_FORMAT.into()), "{text}");
    }
    assert_eq!(parsed("[]"), Err(MALFORMED.into()));
    assert_eq!(
        parsed(""),
        Err(damaged("is damaged: EOF while parsing a value at line 1 column 0"))
    );
}

/// A file that was named with `--state` for both is no damaged one.
#[test]
fn a_state_of_the_other_kind_is_recognized() {
    let single = format::write(&state_key(), &memory());
    let account = write(&account_key(), &account());
    let read_single = |text: &str| format::read(&state_key(), text.as_bytes(), at(100)).map(|loaded| loaded.memory);
    assert!(matches!(parsed(&single), Err(FormatError::OtherKind(_))));
    assert!(matches!(read_single(&account), Err(FormatError::OtherKind(_))));
    assert!(parsed(&account).is_ok() && read_single(&single).is_ok());
}

#[test]
fn one_service_is_read_alone() {
    let text = write(&account_key(), &account());
    let read = |service: &str, text: &str| {
        let key = account_key().of_service(service);
        read_service(&key, text.as_bytes(), at(100)).map(|loaded| loaded.map(|loaded| (loaded.key, loaded.memory)))
    };
    assert_eq!(read("orders", &text), Ok(Some((state_key(), memory()))));
    assert_eq!(read("mail", &text), Ok(None));
    // What is broken elsewhere does not matter; what may have been this service does.
    let broken = with("/services/billing", json!(1));
    assert_eq!(read("orders", &broken), Ok(Some((state_key(), memory()))));
    assert_eq!(read("mail", &broken), Ok(None));
    assert_eq!(
        read("billing", &broken),
        Err(damaged("is damaged: 1 part cannot be read (billing)"))
    );
    let cut = &text[..text.len() - 1];
    assert_eq!(read("orders", cut), Ok(Some((state_key(), memory()))));
    assert!(read("mail", cut).is_err());
}

#[test]
fn no_time_of_an_account_is_in_the_future() {
    for pointer in ["/census", "/candidates/mail", "/services/orders/outage/first_missed"] {
        let loaded = parsed(&with(pointer, json!("2999-01-01T00:00:00Z"))).expect("a memory");
        assert_eq!(loaded.future, Timestamp::parse("2999-01-01T00:00:00Z"), "{pointer}");
        let written = write(&account_key(), &loaded.memory);
        assert!(!written.contains("2999"), "{pointer}: {written}");
    }
}

/// Whatever the length of its maps, and whatever the names.
#[test]
fn an_account_is_read_within_bounds() {
    let many = |value: Value| -> Value {
        (0..MAX_SERVICES + 10)
            .map(|n| (format!("s{n:05}"), value.clone()))
            .collect()
    };
    let empty: Value = serde_json::to_value(Memory::default()).expect("JSON");
    let loaded = parsed(&with("/services", many(empty))).expect("a memory");
    assert_eq!(loaded.memory.services.len(), MAX_SERVICES);
    assert_eq!(loaded.damage.as_deref(), Some("is damaged: 10 parts cannot be read"));
    let loaded = parsed(&with("/candidates", many(json!("2026-09-21T14:13:20Z")))).expect("a memory");
    assert_eq!(loaded.memory.candidates.len(), MAX_SERVICES);
    let hostile = parsed(&with(
        "/services",
        json!({"a b": memory_json(), "ok": memory_json(), "": 1, "x|y": 1}),
    ));
    let hostile = hostile.expect("a memory");
    assert_eq!(hostile.damage.as_deref(), Some("is damaged: 3 parts cannot be read"));
    assert_eq!(hostile.memory.remembered(), ["ok"].into());
    let seven = parsed(&with(
        "/services",
        (0..7).map(|n| (format!("s{n}"), json!(1))).collect(),
    ))
    .expect("a memory");
    assert_eq!(
        seven.damage.as_deref(),
        Some("is damaged: 7 parts cannot be read (s0, s1, s2, s3, s4 and 2 more)")
    );
}

fn memory_json() -> Value {
    serde_json::to_value(memory()).expect("JSON")
}
