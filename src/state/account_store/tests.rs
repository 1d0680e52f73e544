use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::state::changes::Changes;
use crate::state::fixture::{account_key, at, epoch, memory};
use crate::state::store::list;

/// A state folder of its own, which is removed at the end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let dir = std::env::temp_dir().join(format!("check_nats_service-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        Place(dir)
    }

    fn environment(&self) -> StateEnvironment<'_> {
        StateEnvironment {
            var: &|_| None,
            package_dir: Path::new("/nonexistent/package"),
            euid: 1000,
        }
    }

    fn location(&self) -> StateLocation {
        StateLocation::Dir(self.0.clone())
    }

    fn account(&self) -> AccountStore {
        AccountStore::new(&self.location(), account_key(), &self.environment())
    }

    fn single(&self, service: &str) -> Store {
        Store::new(&self.location(), account_key().of_service(service), &self.environment())
    }

    /// Lets a run for all give these services these memories.
    fn run_for_all(&self, services: &[(&str, Memory)]) -> Vec<String> {
        let store = self.account();
        let peeked = store.peek(at(100));
        let (told, problems) = store.update(deadline(), &peeked, |turn| {
            let judge = |(name, next): &(&str, Memory)| turn.service(name, |_| ((), next.clone())).1;
            services.iter().flat_map(judge).collect::<Vec<_>>()
        });
        [told, problems].concat()
    }

    /// Lets a single check give this service this memory. Returns what it remembered, and the problems.
    fn run_single(&self, service: &str, next: Memory) -> (Memory, Vec<String>) {
        let store = self.single(service);
        let peeked = store.peek(at(100));
        let (old, problems) = store.update(deadline(), &peeked, |old| (old.clone(), next));
        assert_eq!(old, peeked);
        (old, problems)
    }

    fn account_text(&self) -> String {
        fs::read_to_string(self.account().path().expect("a path")).expect("a file")
    }

    fn write_account(&self, text: &str) {
        fs::write(self.account().path().expect("a path"), text).expect("written");
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

fn up(instances: usize) -> Memory {
    Memory {
        sequence: 1,
        epoch: Some(epoch(40, instances)),
        ..Memory::default()
    }
}

fn names(memory: &AccountMemory) -> Vec<&str> {
    memory.services.keys().map(String::as_str).collect()
}

const NONE: Vec<String> = Vec::new();

#[test]
fn one_file_remembers_all_services() {
    let place = Place::new("all");
    assert_eq!(place.account().peek(at(100)), AccountMemory::default());
    assert_eq!(place.run_for_all(&[("orders", memory()), ("billing", up(3))]), NONE);
    let name = account_key().file_name();
    assert_eq!(place.files(), [name.clone(), format!("{name}.lock")]);
    let peeked = place.account().peek(at(100));
    assert_eq!(
        peeked.services,
        [("billing".into(), up(3)), ("orders".into(), memory())].into()
    );
    // What is not judged stays.
    assert_eq!(place.run_for_all(&[("billing", up(4))]), NONE);
    let peeked = place.account().peek(at(100));
    assert_eq!(
        peeked.services,
        [("billing".into(), up(4)), ("orders".into(), memory())].into()
    );
}

#[test]
fn candidates_and_the_last_full_count_are_kept() {
    let place = Place::new("candidates");
    let store = place.account();
    let peeked = AccountMemory::default();
    let (_, problems) = store.update(deadline(), &peeked, |turn| {
        turn.candidates.insert("mail".into(), at(30));
        turn.census = Some(at(60));
    });
    assert_eq!(problems, NONE);
    let peeked = store.peek(at(100));
    assert_eq!(
        (peeked.candidates.clone(), peeked.census),
        ([("mail".into(), at(30))].into(), Some(at(60)))
    );
    assert_eq!(peeked.remembered(), BTreeSet::new());
    store.update(deadline(), &peeked, |turn| turn.candidates.clear());
    assert_eq!(store.peek(at(100)).candidates, BTreeMap::new());
}

/// Nothing changed: nothing is written.
#[test]
fn a_run_that_changes_nothing_writes_nothing() {
    use std::os::unix::fs::MetadataExt;
    let place = Place::new("unchanged");
    place.run_for_all(&[("orders", memory())]);
    let inode = || {
        fs::metadata(place.account().path().expect("a path"))
            .expect("a file")
            .ino()
    };
    let before = inode();
    place.run_for_all(&[("orders", memory())]);
    assert_eq!(inode(), before);
}

/// A service that was forgotten, or was expected and is no more, leaves nothing.
#[test]
fn a_service_that_is_not_watched_any_more_is_dropped() {
    let place = Place::new("dropped");
    let never_seen = Memory {
        sequence: 1,
        epoch: Some(epoch(40, 0)),
        ..Memory::default()
    };
    place.run_for_all(&[("orders", never_seen.clone()), ("billing", up(1))]);
    assert_eq!(
        names(&place.account().peek(at(100))),
        ["billing", "orders"],
        "it was judged"
    );
    assert_eq!(place.account().peek(at(100)).remembered(), ["billing"].into());
    place.run_for_all(&[]);
    assert_eq!(names(&place.account().peek(at(100))), ["billing"]);
}

/// The same memory, whether a service is checked alone or with the others.
#[test]
fn the_first_single_check_takes_over_what_the_account_remembers() {
    let place = Place::new("first");
    place.run_for_all(&[("orders", memory()), ("billing", up(3))]);
    let shown = place
        .single("orders")
        .show(at(100))
        .expect("a state")
        .map(|(path, loaded)| (path.to_owned(), loaded.memory));
    assert_eq!(
        shown,
        Some((place.account().path().expect("a path").to_owned(), memory()))
    );
    assert_eq!(place.run_single("orders", up(2)), (memory(), NONE));
    // From then on both use the service's own file; the account keeps a copy.
    assert_eq!(place.account().peek(at(100)).services["orders"], up(2));
    assert_eq!(place.run_for_all(&[("orders", up(5)), ("billing", up(3))]), NONE);
    assert!(place.account_text().contains("orders"));
    assert_eq!(place.run_single("orders", up(6)), (up(5), NONE));
    assert_eq!(place.account().peek(at(100)).services["orders"], up(6));
    assert_eq!(place.account().peek(at(100)).services["billing"], up(3));
    // A service that the account does not know is a first run, without a lock of the account that is missing.
    let alone = Place::new("alone");
    assert_eq!(alone.run_single("mail", up(1)), (Memory::default(), NONE));
    assert_eq!(alone.files().len(), 2);
}

/// Whatever has happened before the first run for all.
#[test]
fn services_that_were_checked_alone_are_remembered() {
    let place = Place::new("migration");
    let long = "x".repeat(120);
    for service in ["orders", "a-b-c", &long] {
        place.run_single(service, memory());
    }
    let other = Store::new(
        &place.location(),
        crate::state::key::StateKey {
            user: None,
            ..account_key().of_service("foreign")
        },
        &place.environment(),
    );
    other.update(deadline(), &Memory::default(), |_| ((), memory()));
    fs::write(place.0.join("notes-1.json"), "x").expect("written");
    let peeked = place.account().peek(at(100));
    assert_eq!(peeked.remembered(), ["a-b-c", "orders", &long].into());
    assert_eq!(place.run_for_all(&[("orders", up(2)), (&long, up(1))]), NONE);
    assert_eq!(place.run_single("orders", up(2)).0, up(2));
    assert!(
        place
            .account()
            .show(at(100))
            .expect("a state")
            .is_some_and(|all| all.memory.services.len() == 3)
    );
}

#[test]
fn damaged_state_file_is_reported_with_its_service() {
    let place = Place::new("broken-own");
    place.run_single("orders", memory());
    let path = place.single("orders").shown_path();
    fs::write(&path, "x").expect("written");
    let peeked = place.account().peek(at(100));
    assert_eq!((peeked.services.len(), peeked.remembered()), (0, ["orders"].into()));
    let told = place.run_for_all(&[("orders", up(1))]);
    assert_eq!(
        told,
        [format!(
            "the state {path} is damaged: expected value at line 1 column 1, set aside as {path}.bad, what it remembered is lost"
        )]
    );
    assert_eq!(place.account().peek(at(100)).services["orders"], up(1));
    assert_eq!(fs::read_to_string(format!("{path}.bad")).expect("set aside"), "x");
}

#[test]
fn a_broken_entry_costs_none_of_the_others() {
    let place = Place::new("broken-entry");
    place.run_for_all(&[("billing", up(3)), ("orders", memory())]);
    let path = place.account().shown_path();
    let broken = place
        .account_text()
        .replacen("\"first_missed\":\"", "\"first_missed\":\"x", 1);
    place.write_account(&broken);
    // A single check tells it too, and leaves the file to the run for all.
    let why = format!("the state {path} is damaged: 1 part cannot be read (orders)");
    let (old, told) = place.run_single("orders", up(1));
    assert_eq!(
        (old, told),
        (
            Memory::default(),
            vec![format!("{why}, what it knew of the service is lost")]
        )
    );
    assert_eq!(place.run_single("orders", up(1)), (up(1), NONE));
    assert_eq!(place.run_single("billing", up(4)), (up(3), NONE));
    assert_eq!(place.account_text(), broken);
    let told = place.run_for_all(&[("orders", up(1))]);
    assert_eq!(
        told,
        [format!(
            "{why}, set aside as {path}.bad, what could be read of it counts"
        )]
    );
    assert_eq!(fs::read_to_string(format!("{path}.bad")).expect("set aside"), broken);
    // It is told until somebody has looked at it: a service that was down may be forgotten.
    let standing = format!(
        "the state {path} was damaged, and is kept as {path}.bad: a service that was down then may be forgotten, remove that file when \
         all are there"
    );
    for _ in 0..2 {
        assert_eq!(place.run_for_all(&[("orders", up(1))]), [standing.as_str()]);
    }
    fs::remove_file(format!("{path}.bad")).expect("removed");
    assert_eq!(place.run_for_all(&[("orders", up(1))]), NONE);
    assert_eq!(names(&place.account().peek(at(100))), ["billing", "orders"]);
}

/// A file that was peeked is not read a second time, and yet its faults are told.
#[test]
fn what_is_wrong_with_a_file_that_was_peeked_is_told() {
    let place = Place::new("peeked");
    place.run_for_all(&[("billing", up(3)), ("orders", memory())]);
    let (path, whole) = (place.account().shown_path(), place.account_text());
    let with_first_missed = |value: &str| {
        let mut json: serde_json::Value = serde_json::from_str(&whole).expect("JSON");
        json["services"]["orders"]["outage"]["first_missed"] = value.into();
        json.to_string()
    };
    let faults = [
        (
            "2999-01-01T00:00:00Z",
            "has a time in the future (2999-01-01T00:00:00Z), which counts as now, check the clock".to_owned(),
        ),
        (
            "yesterday",
            format!(
                "is damaged: 1 part cannot be read (orders), set aside as {path}.bad, what could be read of it counts"
            ),
        ),
    ];
    for (first_missed, why) in faults {
        place.write_account(&with_first_missed(first_missed));
        assert_eq!(
            place.run_for_all(&[("billing", up(3))]),
            [format!("the state {path} {why}")]
        );
    }
}

/// The state of an account may be larger than that of a service.
#[test]
fn a_single_check_reads_an_account_of_any_allowed_size() {
    let place = Place::new("wide");
    place.run_for_all(&[("orders", memory())]);
    let padding = " ".repeat(MAX_STATE_BYTES as usize);
    place.write_account(&place.account_text().replacen('{', &format!("{{{padding}"), 1));
    assert_eq!(place.run_single("orders", up(2)), (memory(), NONE));
}

#[test]
fn where_the_own_file_is_damaged_the_copy_of_the_account_counts() {
    let place = Place::new("copy");
    place.run_single("orders", up(2));
    place.run_for_all(&[("orders", memory()), ("billing", up(3))]);
    let path = place.single("orders").shown_path();
    for damage in ["x", r#"{"format":99}"#] {
        fs::write(&path, damage).expect("written");
        let peeked = place.account().peek(at(100));
        assert_eq!(peeked.services["orders"], memory(), "{damage}");
        assert_eq!(peeked.unreadable, BTreeSet::new(), "{damage}");
        let (old, problems) = place.account().update(deadline(), &peeked, |turn| {
            let (old, problems) = turn.service("orders", |old| (old.clone(), old.clone()));
            assert_eq!(problems.len(), 1, "{problems:?}");
            old
        });
        assert_eq!((old, problems), (memory(), NONE), "{damage}");
        assert_eq!(place.account().peek(at(100)).services["orders"], memory());
    }
}

/// Whichever of the two runs first.
#[test]
fn a_single_check_whose_file_is_damaged_takes_the_copy_of_the_account() {
    let place = Place::new("copy-single");
    place.run_single("orders", up(2));
    place.run_for_all(&[("orders", memory()), ("billing", up(3))]);
    let path = place.single("orders").shown_path();
    for (damage, why) in [
        ("x", "is damaged: expected value at line 1 column 1"),
        (r#"{"format":99}"#, "has format 99, this program knows format 1"),
    ] {
        fs::write(&path, damage).expect("written");
        let told = format!("the state {path} {why}, set aside as {path}.bad, what it remembered is lost");
        assert_eq!(place.run_single("orders", memory()), (memory(), vec![told]), "{damage}");
        assert_eq!(fs::read_to_string(format!("{path}.bad")).expect("set aside"), damage);
        assert_eq!(place.account().peek(at(100)).services["orders"], memory());
    }
    // Where the account has none, it is a first run.
    place.run_single("mail", up(1));
    let path = place.single("mail").shown_path();
    fs::write(&path, "x").expect("written");
    let (old, told) = place.run_single("mail", up(1));
    assert_eq!((old, told.len()), (Memory::default(), 1));
}

#[test]
fn a_state_of_the_other_kind_is_refused_and_kept() {
    let place = Place::new("kind");
    place.run_for_all(&[("billing", up(3))]);
    place.run_single("orders", memory());
    let account_path = place.account().path().expect("a path").to_owned();
    let single_path = place.single("orders").path().expect("a path").to_owned();
    let texts = || {
        (
            fs::read(&account_path).expect("a file"),
            fs::read(&single_path).expect("a file"),
        )
    };
    let before = texts();
    let single = Store::new(
        &StateLocation::File(account_path.clone()),
        account_key().of_service("billing"),
        &place.environment(),
    );
    let told = single.update(deadline(), &Memory::default(), |_| ((), up(1))).1;
    let why = format!(
        "the state {} holds all services of an account (--all), give --state-dir in place of --state",
        account_path.display()
    );
    assert_eq!(told, std::slice::from_ref(&why));
    assert_eq!(single.reset(deadline()), Err(why.clone()));
    assert_eq!(single.show(at(100)), Err(why));
    let all = AccountStore::new(
        &StateLocation::File(single_path.clone()),
        account_key(),
        &place.environment(),
    );
    let ((), told) = all.update(deadline(), &AccountMemory::default(), |turn| {
        turn.service("orders", |_| ((), up(1)));
    });
    let why = format!(
        "the state {} holds a single service (-n), give --state-dir in place of --state",
        single_path.display()
    );
    assert_eq!(told, std::slice::from_ref(&why));
    assert_eq!(all.reset(deadline(), &Selection::default()), Err(why));
    assert_eq!(texts(), before);
    assert_eq!(place.files().len(), 4, "nothing is set aside");
}

/// `--state FILE` is one file, whatever lies beside it.
#[test]
fn a_named_file_stands_alone() {
    let place = Place::new("named");
    place.run_single("orders", memory());
    let file = place.0.join("f.json");
    let all = AccountStore::new(&StateLocation::File(file.clone()), account_key(), &place.environment());
    assert_eq!(all.path(), Some(file.as_path()));
    assert_eq!(all.peek(at(100)), AccountMemory::default());
    all.update(deadline(), &AccountMemory::default(), |turn| {
        turn.service("orders", |old| (assert_eq!(old, &Memory::default()), up(1)));
    });
    assert_eq!(all.peek(at(100)).services["orders"], up(1));
    assert_eq!(place.run_single("orders", memory()).0, memory());
}

/// Services that were checked alone and other accounts lie in the folder of a state, too.
#[test]
fn services_checked_alone_and_other_accounts_are_found() {
    let place = Place::new("found");
    let account = place.account();
    assert_eq!(account.show(at(100)), Ok(None));
    assert_eq!(account.checked_alone(), Ok(BTreeMap::new()));
    place.run_single("orders", memory());
    let shown = account.show(at(100)).expect("a state").expect("a service");
    assert_eq!(shown.memory.services, [("orders".into(), memory())].into());
    let path = place.single("orders").path().expect("a path").to_owned();
    assert_eq!(account.checked_alone(), Ok([("orders".into(), path)].into()));
    assert_eq!(account.siblings(at(100)), Ok(Vec::new()));
    let other = AccountKey {
        user: None,
        ..account_key()
    };
    for service in ["orders", "mail"] {
        let key = other.of_service(service);
        let store = Store::new(&place.location(), key, &place.environment());
        store.update(deadline(), &Memory::default(), |_| ((), memory()));
    }
    assert_eq!(account.siblings(at(100)), Ok(vec![other]));
    // A turn tells what it has made of a service.
    account.update(deadline(), &AccountMemory::default(), |turn| {
        turn.service("billing", |_| ((), up(3)));
        assert_eq!(
            (&*turn.judged("billing"), &*turn.judged("none")),
            (&up(3), &Memory::default())
        );
    });
}

#[test]
fn other_states_of_a_service_are_found_in_the_folder() {
    let place = Place::new("siblings");
    let at_server = |server: &str| StateKey {
        servers: vec![server.into()],
        ..account_key().of_service("orders")
    };
    let store = |server: &str| Store::new(&place.location(), at_server(server), &place.environment());
    let only_sibling = |server: &str| {
        let found = store(server).only_sibling(at(100)).expect("a folder");
        found.map(|(path, loaded)| (path, loaded.key))
    };
    let check = |store: Store| store.update(deadline(), &memory(), |_| ((), up(1))).1;
    assert_eq!((check(place.single("billing")), check(store("a:4222"))), (NONE, NONE));
    assert_eq!(store("a:4222").siblings(at(100)), Ok(Vec::new()));
    let path = store("a:4222").path().expect("a path").to_owned();
    assert_eq!(only_sibling("b:4222"), Some((path, at_server("a:4222"))));
    assert_eq!(check(store("b:4222")), NONE);
    assert_eq!(store("a:4222").siblings(at(100)), Ok(vec![at_server("b:4222")]));
    assert_eq!(only_sibling("c:4222"), None, "there are two");
}

#[test]
fn a_reset_forgets_a_service_wherever_it_is() {
    let place = Place::new("reset");
    let reset = |service: &str| place.single(service).reset(deadline()).expect("forgotten");
    assert_eq!(reset("mail"), NONE);
    assert_eq!(place.files(), NONE, "it makes none");
    place.run_for_all(&[("billing", up(3)), ("orders", memory())]);
    let (all, own) = (place.account().shown_path(), place.single("billing").shown_path());
    assert_eq!(reset("mail"), NONE);
    // In the account only; in both files; in its own only.
    assert_eq!(reset("orders"), [format!("orders in {all}")]);
    assert_eq!(names(&place.account().peek(at(100))), ["billing"]);
    place.run_single("billing", up(4));
    assert!(place.account_text().contains("billing"));
    assert_eq!(reset("billing"), [format!("billing in {all}"), own.clone()]);
    assert_eq!(place.account().peek(at(100)), AccountMemory::default());
    place.run_single("billing", up(4));
    let reset_all = || place.account().reset(deadline(), &Selection::default());
    assert_eq!((reset_all(), reset_all()), (Ok(Some(0)), Ok(None)));
    assert_eq!(names(&place.account().peek(at(100))), ["billing"], "its own file stays");
    assert_eq!(reset("billing"), [own]);
    assert_eq!(place.account().peek(at(100)), AccountMemory::default());
}

#[test]
fn a_reset_of_all_forgets_what_is_selected() {
    use crate::values::selection::Glob;
    let place = Place::new("selected");
    place.run_for_all(&[("billing", up(3)), ("mail", up(1)), ("orders", memory())]);
    let only = |glob: &str| Selection {
        only: vec![Glob::parse(glob).expect("a pattern")],
        exclude: Vec::new(),
    };
    assert_eq!(place.account().reset(deadline(), &only("m*")), Ok(Some(1)));
    assert_eq!(place.account().reset(deadline(), &only("m*")), Ok(Some(0)));
    assert_eq!(names(&place.account().peek(at(100))), ["billing", "orders"]);
    assert_eq!(place.account().reset(deadline(), &Selection::default()), Ok(Some(2)));
    assert_eq!(place.account().peek(at(100)), AccountMemory::default());
}

#[test]
fn every_service_is_listed_once() {
    let place = Place::new("list");
    place.run_for_all(&[("billing", up(3)), ("orders", memory())]);
    place.run_single("billing", up(4));
    let listed = || {
        let states = list(&place.0, place.environment().ancestors(), at(100)).expect("a list");
        let seen = |state: crate::state::store::Listed| {
            let loaded = state.loaded.map(|loaded| (loaded.key.service, loaded.memory));
            (state.name, loaded)
        };
        states.into_iter().map(seen).collect::<Vec<_>>()
    };
    let account = account_key().file_name();
    assert_eq!(
        listed(),
        [
            (
                account_key().of_service("billing").file_name(),
                Ok(("billing".into(), up(4)))
            ),
            (account.clone(), Ok(("orders".into(), memory()))),
        ]
    );
    place.write_account("x");
    assert_eq!(listed().len(), 2);
    assert!(
        listed()
            .iter()
            .any(|(name, loaded)| *name == account && loaded.is_err())
    );
}

/// Without a place every service is judged once all the same.
#[test]
fn without_a_state_folder_the_check_judges_and_reports_it() {
    let place = Place::new("nowhere");
    let homeless = "no folder for the state: neither HOME nor XDG_STATE_HOME is set, \
                    give --state-dir, or --no-state to go without";
    for (location, problem) in [(StateLocation::Default, Some(homeless)), (StateLocation::Nowhere, None)] {
        let store = AccountStore::new(&location, account_key(), &place.environment());
        let peeked = store.peek(at(100));
        let judge = |turn: &mut Turn<'_>| turn.service("orders", |old| (old.clone(), up(1)));
        let ((old, own), told) = store.update(deadline(), &peeked, judge);
        let problems: Vec<String> = problem.map(str::to_owned).into_iter().collect();
        assert_eq!((old, own, told), (Memory::default(), NONE, problems));
        assert_eq!(store.peek(at(100)), AccountMemory::default());
        assert!(store.show(at(100)).is_err() && store.reset(deadline(), &Selection::default()).is_err());
        assert_eq!(store.held_text(), None);
    }
}

/// A lock that another run holds costs the memory of this run, not that of the other.
#[test]
fn state_that_cannot_be_locked_is_judged_and_not_written() {
    let place = Place::new("locked");
    place.run_for_all(&[("orders", memory())]);
    let store = place.account();
    let peeked = store.peek(at(100));
    let ((), problems) = store.update(deadline(), &peeked, |_| {
        let second = place.account();
        let (old, problems) = second.update(Instant::now(), &peeked, |turn| {
            turn.service("orders", |old| (old.clone(), up(1))).0
        });
        assert_eq!(old, memory());
        assert!(
            problems[0].ends_with(".lock for too long") && problems.len() == 1,
            "{problems:?}"
        );
        // A single check does not take over an entry that is being written.
        let single = place.single("orders");
        let (old, problems) = single.update(Instant::now(), &memory(), |old| (old.clone(), up(1)));
        assert_eq!((old, problems.len()), (memory(), 1));
    });
    assert_eq!(problems, NONE);
    assert_eq!(place.account().peek(at(100)).services["orders"], memory());
}

/// A sidecar without a file outlives a clock that is set back.
#[test]
fn memory_without_a_file_is_kept_between_checks() {
    let judge = |turn: &mut Turn<'_>| {
        turn.service("orders", |_| ((), memory()));
        turn.candidates.insert("mail".into(), at(30));
    };
    let store = AccountStore::holding("", account_key());
    let peeked = store.peek(at(100));
    assert_eq!(peeked, AccountMemory::default());
    assert_eq!(store.update(deadline(), &peeked, judge), ((), NONE));
    let text = store.held_text().expect("a text");
    let next = AccountStore::holding(&text, account_key()).peek(at(100));
    assert_eq!(
        (next.services["orders"].clone(), next.candidates["mail"]),
        (memory(), at(30))
    );
    let ahead = AccountStore::holding(&text.replace("\"20", "\"29"), account_key()).peek(at(100));
    assert!(ahead.services["orders"].outage.is_some());
    assert_eq!(
        AccountStore::holding("garbage", account_key()).peek(at(100)),
        AccountMemory::default()
    );
}

/// The memory that the overlapping run has written counts, not the one that was peeked.
#[test]
fn a_run_judges_from_what_an_overlapping_run_has_written() {
    let place = Place::new("overlap");
    place.run_for_all(&[("billing", up(3)), ("orders", up(2))]);
    let slow = place.account();
    let peeked = slow.peek(at(100));
    place.run_for_all(&[("mail", up(1)), ("orders", memory())]);
    let (old, problems) = slow.update(deadline(), &peeked, |turn| {
        assert!(turn.is_remembered("mail") && !turn.is_remembered("other"));
        turn.service("orders", |old| (old.clone(), up(4))).0
    });
    assert_eq!((old, problems), (memory(), NONE));
    let next = place.account().peek(at(100)).services;
    assert_eq!(
        next,
        [
            ("billing".into(), up(3)),
            ("mail".into(), up(1)),
            ("orders".into(), up(4))
        ]
        .into()
    );
    // Also that of a single check.
    let peeked = slow.peek(at(100));
    place.run_single("orders", memory());
    let (old, _) = slow.update(deadline(), &peeked, |turn| {
        turn.service("orders", |old| (old.clone(), up(5))).0
    });
    assert_eq!(old, memory());
    assert_eq!(place.run_single("orders", up(6)).0, up(5));
}

#[test]
fn no_more_services_are_taken_in_than_can_be_read_again() {
    let place = Place::new("many");
    // There is room for one more.
    let names: Vec<String> = (1..MAX_SERVICES).map(|n| format!("s{n:05}")).collect();
    let services: Vec<(&str, Memory)> = names.iter().map(|name| (name.as_str(), up(1))).collect();
    assert_eq!(place.run_for_all(&services), NONE);
    let newcomers = ["first", "second", "third"].map(|name| (name, up(1)));
    let told = place.run_for_all(&[[("s00001", up(2))].as_slice(), &newcomers].concat());
    let path = place.account().shown_path();
    let why = "has 10000 services and takes in no more: 2 not remembered, use --only or --exclude";
    assert_eq!(told, [format!("the state {path} {why}")]);
    let peeked = place.account().peek(at(100));
    assert_eq!(
        (peeked.services.len(), &peeked.services["s00001"]),
        (MAX_SERVICES, &up(2))
    );
    assert!(peeked.services.contains_key("first"));
}

/// A day of deployments does not make the state too large.
#[test]
fn of_many_services_fewer_changes_are_remembered() {
    assert_eq!([0, 32, 100, 1000, 10_000].map(max_changes), [256, 256, 81, 8, 8]);
    assert_eq!([0, 512, 1000, 10_000].map(max_history), [32, 32, 16, 8]);
    let place = Place::new("changes");
    // Of one there are too many changes, of another too many epochs; of a third there is as much as there may be.
    let lengths = [("s0", 9, 0), ("s1", 0, 17), ("s2", 8, 16)];
    let mut services: Vec<(String, Memory)> = (0..1000).map(|n| (format!("s{n}"), up(1))).collect();
    for ((_, full), (_, changes, history)) in services.iter_mut().zip(lengths) {
        let all = memory();
        let log = all.changes.as_ref().expect("changes").log.iter().cycle();
        full.changes = Some(Changes {
            restarts: 0,
            log: log.take(changes).cloned().collect(),
        });
        full.history = all.history[..history].to_vec();
    }
    let services: Vec<(&str, Memory)> = services
        .iter()
        .map(|(name, memory)| (name.as_str(), memory.clone()))
        .collect();
    place.run_for_all(&services);
    // Those of the run before count.
    place.run_for_all(&services[..3]);
    let peeked = place.account().peek(at(100));
    let kept = lengths.map(|(name, ..)| {
        let memory = &peeked.services[name];
        (
            memory.changes.as_ref().expect("changes").log.len(),
            memory.history.len(),
        )
    });
    assert_eq!(kept, [(8, 0), (0, 16), (8, 16)]);
}

/// More than can be read again is not written, and what was written stays.
#[test]
fn a_state_that_would_be_too_large_is_not_written() {
    let place = Place::new("large");
    place.run_for_all(&[("orders", memory())]);
    let crowd = up(4000);
    let many: Vec<(String, Memory)> = (0..60).map(|n| (format!("s{n}"), crowd.clone())).collect();
    let many: Vec<(&str, Memory)> = many
        .iter()
        .map(|(name, memory)| (name.as_str(), memory.clone()))
        .collect();
    let told = place.run_for_all(&many);
    let path = place.account().shown_path();
    assert_eq!(
        told,
        [format!("cannot write the state {path}: it would be larger than 8 MiB")]
    );
    assert_eq!(names(&place.account().peek(at(100))), ["orders"]);
}
