//! The state under faults, counted: faults injected, outages lost, false alarms. The last two are zero.
//!
//! A bench has a service that is there and one that is not, and knows of each what a run remembers: that it was there, or that its
//! outage is open. Each fault meets all four, and then two runs meet what it has left on the disk. Checks of one service and of all
//! services meet the same faults, and those that meet each other's files.
//!
//! The usual run is a sample of the errors. `FAULTS=all tests/run.sh faults -- --nocapture` injects each of them into each system
//! call, once and for good, cuts the power of a real file system (which takes root and loop devices), and prints the table.

mod power_cut;

use std::ffi::CString;
use std::fmt::Display;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use check_nats_service::state::account::AccountKey;
use serde_json::Value;

use crate::support::{Check, Output, Running, Server, Service, TempDir, Version, in_parallel, is_root};

/// Returns `true` if the environment asks for the long form.
fn long_form() -> bool {
    std::env::var_os("FAULTS").is_some()
}

/// Memory of a service, and its presence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    Up,
    Gone,
    StillDown,
    Back,
    /// It is there, and nothing is remembered, not even a folder for it.
    First,
}

impl Case {
    const REMEMBERED: [Case; 4] = [Case::Up, Case::Gone, Case::StillDown, Case::Back];
    const ALL: [Case; 5] = [Case::Up, Case::Gone, Case::StillDown, Case::Back, Case::First];

    fn is_up(self) -> bool {
        matches!(self, Case::Up | Case::Back | Case::First)
    }

    /// Returns the case with the opposite memory of the same service.
    fn opposite(self) -> Case {
        match self {
            Case::Up => Case::Back,
            Case::Back => Case::Up,
            Case::Gone => Case::StillDown,
            Case::StillDown => Case::Gone,
            Case::First => Case::First,
        }
    }

    fn service(self) -> &'static str {
        if self.is_up() { "orders" } else { "billing" }
    }
}

/// Which check meets the faults, and where its memory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// One service, and its own state.
    One,
    /// All services, and the state of the account.
    All,
    /// One service, which is remembered in the state of the account only.
    TakeOver,
    /// All services, where one has its own state, and the entry in the state of the account says the opposite.
    AllBesideOne,
}

impl Scope {
    /// Those with one file.
    const ALONE: [Scope; 2] = [Scope::One, Scope::All];

    /// Returns the memories that are possible.
    fn cases(self) -> &'static [Case] {
        match self {
            Scope::One | Scope::All => &Case::ALL,
            Scope::TakeOver | Scope::AllBesideOne => &Case::REMEMBERED,
        }
    }
}

/// Each check with each case.
fn all_cases() -> Vec<(Scope, Case)> {
    let scopes = [Scope::One, Scope::All, Scope::TakeOver, Scope::AllBesideOne];
    let cases = |scope: Scope| scope.cases().iter().map(move |case| (scope, *case));
    scopes.into_iter().flat_map(cases).collect()
}

/// Each check that has one file, with each case in which something is remembered.
fn remembered_alone() -> Vec<(Scope, Case)> {
    let cases = |scope: Scope| Case::REMEMBERED.map(|case| (scope, case));
    Scope::ALONE.into_iter().flat_map(cases).collect()
}

/// A server with one of two services, and what was remembered of both.
struct Bench {
    server: Server,
    /// The state of each case: of the service, and of the account.
    saved: [[Vec<u8>; 4]; 2],
    _service: Service,
}

impl Bench {
    fn new() -> Bench {
        let server = Server::start(Version::Newest);
        let start = |name: &str| {
            let service = Service::async_nats(&server.url(), name).start();
            server.wait_for_instances(name, 1);
            service
        };
        // Its outage, and that it was there before.
        let story = |name: &'static str| {
            let places = Scope::ALONE.map(|scope| Place::empty(server.url(), name, scope));
            let remembered = |code: i32| {
                places.each_ref().map(|place| {
                    assert_eq!(place.check().run().code, Some(code));
                    fs::read(place.path("")).unwrap()
                })
            };
            let service = start(name);
            let up = remembered(0);
            service.kill();
            server.wait_for_instances(name, 0);
            (up, remembered(2))
        };
        let ((up, back), (gone, still_down)) = (story("orders"), story("billing"));
        let of = |scope: usize| [&up, &gone, &still_down, &back].map(|saved| saved[scope].clone());
        Bench {
            _service: start("orders"),
            saved: [of(0), of(1)],
            server,
        }
    }

    fn saved(&self, scope: Scope, case: Case) -> &[u8] {
        &self.saved[scope as usize][case as usize]
    }

    /// A folder of its own in which all is as it was remembered.
    fn place(&self, scope: Scope, case: Case) -> Place {
        let place = Place::empty(self.server.url(), case.service(), scope);
        if case == Case::First {
            return place;
        }
        place.make_folder();
        match scope {
            Scope::One | Scope::All => place.lay_out(&place.name(), self.saved(scope, case)),
            Scope::TakeOver => place.lay_out(&place.account_name(), self.saved(Scope::All, case)),
            Scope::AllBesideOne => {
                place.lay_out(&place.name(), self.saved(Scope::One, case));
                place.lay_out(&place.account_name(), self.saved(Scope::All, case.opposite()));
            }
        }
        place
    }
}

/// A folder with a state, and whom to ask for which service.
struct Place {
    url: String,
    service: &'static str,
    scope: Scope,
    dir: TempDir,
}

impl Place {
    fn empty(url: String, service: &'static str, scope: Scope) -> Place {
        // Thousands of syncs would keep others from the disk.
        let dir = TempDir::new_in("/dev/shm");
        Place {
            url,
            service,
            scope,
            dir,
        }
    }

    fn make_folder(&self) {
        fs::create_dir(self.folder()).unwrap();
        fs::set_permissions(self.folder(), Permissions::from_mode(0o700)).unwrap();
    }

    fn lay_out(&self, name: &str, saved: &[u8]) {
        let path = format!("{}/{name}", self.folder());
        fs::write(&path, saved).unwrap();
        fs::write(format!("{path}.lock"), "").unwrap();
    }

    fn folder(&self) -> String {
        self.dir.join("state")
    }

    /// Name of the state file that counts.
    fn name(&self) -> String {
        match self.scope {
            Scope::One | Scope::All => "s.json".into(),
            Scope::TakeOver | Scope::AllBesideOne => self.account().of_service(self.service).file_name(),
        }
    }

    /// Name of the state of the account, where there is one beside it.
    fn account_name(&self) -> String {
        self.account().file_name()
    }

    fn account(&self) -> AccountKey {
        AccountKey {
            prefix: "$SRV".into(),
            servers: vec![self.url.trim_start_matches("nats://").into()],
            user: None,
        }
    }

    fn names(&self) -> Vec<String> {
        match self.scope {
            Scope::One | Scope::All => vec![self.name()],
            Scope::TakeOver | Scope::AllBesideOne => vec![self.account_name(), self.name()],
        }
    }

    /// The state file, or one of those beside it.
    fn path(&self, suffix: &str) -> String {
        format!("{}/{}{suffix}", self.folder(), self.name())
    }

    /// A check that asks once only.
    fn check(&self) -> Check {
        self.check_confirming("0")
    }

    fn check_confirming(&self, confirm: &str) -> Check {
        let check = Check::new(["-s", &self.url, "--confirm", confirm, "--stall", "50ms"]);
        let check = match self.scope {
            Scope::One | Scope::TakeOver => check.args(["-n", self.service]),
            Scope::All | Scope::AllBesideOne => check.args(["--all", "--only", self.service]),
        };
        match self.scope {
            Scope::One | Scope::All => check.args(["--state", &self.path("")]),
            Scope::TakeOver | Scope::AllBesideOne => check.args(["--state-dir", &self.folder()]),
        }
    }

    /// All paths that belong to the state, and the names of the files in its folder.
    fn paths(&self) -> Vec<String> {
        let suffixes = ["", ".lock", ".tmp", ".bad"];
        let names = self.names().into_iter();
        let names: Vec<String> = names
            .flat_map(|name| suffixes.map(|suffix| name.clone() + suffix))
            .collect();
        let paths: Vec<String> = names.iter().map(|name| format!("{}/{name}", self.folder())).collect();
        paths.into_iter().chain(names).chain([self.folder()]).collect()
    }

    /// The check by strace, which looks at (and does this to) the system calls on the state only.
    fn traced(&self, calls: &str, how: &str, trace: &str) -> Check {
        let trace_calls = format!("trace={calls}");
        let mut strace = vec!["strace", "-f", "-qqq", "-e", "signal=none", "-o", trace];
        strace.extend(["-e", &trace_calls]);
        if !how.is_empty() {
            strace.extend(["-e", how]);
        }
        let paths = self.paths();
        strace.extend(paths.iter().flat_map(|path| ["-P", path.as_str()]));
        self.check().under(strace)
    }

    /// Returns the memory of the service in the file that counts.
    fn memory(&self) -> Value {
        let read = |name: &str| -> Option<Value> {
            let bytes = fs::read(format!("{}/{name}", self.folder())).ok()?;
            serde_json::from_slice(&bytes).ok()
        };
        let of_account = |account: Option<Value>| account.map(|account| account["services"][self.service].clone());
        let memory = match self.scope {
            Scope::One => read(&self.name()),
            Scope::All => of_account(read(&self.name())),
            Scope::TakeOver | Scope::AllBesideOne => {
                read(&self.name()).or_else(|| of_account(read(&self.account_name())))
            }
        };
        memory.unwrap_or_default()
    }

    /// The sequence number of what can be read, which grows with each run that is remembered.
    fn sequence(&self) -> Option<u64> {
        self.memory()["sequence"].as_u64()
    }

    fn has_outage(&self) -> bool {
        self.memory()["outage"].is_object()
    }

    /// Returns the files in the folder, sorted.
    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder()).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }
}

/// Returns `true` if nothing was remembered.
fn is_never_seen(out: &Output) -> bool {
    out.stdout.contains("never seen") || out.stdout.contains("no service has ever answered")
}

/// Results of the faults of one kind.
struct Tally {
    kind: &'static str,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    faults: usize,
    /// Of a service that is down, a run said OK, or one without a fault did not say CRITICAL.
    lost: usize,
    /// Of a service that is up, a run said it is down.
    false_alarms: usize,
    /// The runs that said UNKNOWN, with what is wrong with the state, where it was in their way.
    unknown: usize,
    complaints: Vec<String>,
}

impl Tally {
    fn new(kind: &'static str) -> Tally {
        Tally {
            kind,
            counts: Mutex::default(),
        }
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.lock().unwrap());
    }

    fn complain(&self, fault: &dyn Display, what: &str, out: &Output) {
        let complaint = format!(
            "{}: {fault}: {what}: {:?} {}",
            self.kind,
            out.code,
            out.stdout.trim_end()
        );
        self.count(|counts| counts.complaints.push(complaint));
    }

    /// The run that met the fault. It may have been killed.
    fn under_fault(&self, fault: &dyn Display, is_up: bool, out: &Output) {
        let of_the_state = ["the state", "the lock", "cannot lock"]
            .iter()
            .any(|what| out.stdout.contains(what));
        let unknown = out.code == Some(3) && of_the_state;
        self.count(|counts| {
            counts.faults += 1;
            counts.unknown += usize::from(unknown);
        });
        match (out.code, is_up) {
            _ if unknown || !out.stderr.is_empty() => {}
            (None, _) if out.signal == Some(libc::SIGKILL) && out.stdout.is_empty() => return,
            (Some(0), true) | (Some(2), false) => return,
            (Some(0), false) => self.count(|counts| counts.lost += 1),
            (Some(2), true) => self.count(|counts| counts.false_alarms += 1),
            _ => {}
        }
        if !unknown {
            self.complain(fault, "the run with the fault", out);
        }
    }

    /// A run from what the fault has left. All must be well again at the latest with the second one.
    fn afterwards(&self, fault: &dyn Display, is_up: bool, place: &Place) {
        self.afterwards_knowing(fault, is_up, place, true);
    }

    /// The same; where nothing is left of what was remembered, a service that is down was never seen, and that is not OK.
    fn afterwards_knowing(&self, fault: &dyn Display, is_up: bool, place: &Place, is_known: bool) {
        for nth in ["the next run", "the run after that"] {
            let out = place.check().run();
            // What was lost of the state of all services is told until somebody has looked.
            let is_kept = out.stdout.contains("was damaged, and is kept as");
            let told = out.code == Some(3) && out.stdout.contains("the state") && (nth == "the next run" || is_kept);
            match (out.code, is_up) {
                (Some(0), true) if !place.has_outage() => continue,
                (Some(2), false) if place.has_outage() => continue,
                (Some(3), true) if told => {
                    self.count(|counts| counts.unknown += 1);
                    continue;
                }
                (Some(3), false) if !is_known && is_never_seen(&out) => {
                    self.count(|counts| counts.unknown += 1);
                    continue;
                }
                (Some(2), true) => self.count(|counts| counts.false_alarms += 1),
                (_, false) => self.count(|counts| counts.lost += 1),
                _ => {}
            }
            return self.complain(fault, nth, &out);
        }
    }

    /// Asserts that only the files that belong there are left in the folder.
    fn clean(&self, fault: &dyn Display, place: &Place) {
        let mut files = place.files();
        files.retain(|name| !name.ends_with(".bad"));
        let names = place.names().into_iter();
        let expected: Vec<String> = names.flat_map(|name| [name.clone(), name + ".lock"]).collect();
        if files != expected {
            let complaint = format!("{}: {fault}: left behind: {files:?}", self.kind);
            self.count(|counts| counts.complaints.push(complaint));
        }
    }

    /// Prints the line of the table, and fails if there is anything to complain of.
    #[track_caller]
    fn report(&self, least: usize) {
        let counts = self.counts.lock().unwrap();
        println!(
            "{:<34} | {:>6} faults | {:>5} told as UNKNOWN | {} outages lost | {} false alarms",
            self.kind, counts.faults, counts.unknown, counts.lost, counts.false_alarms
        );
        let (all, first) = (counts.complaints.len(), counts.complaints.iter().take(20));
        let first: Vec<&str> = first.map(String::as_str).collect();
        assert!(
            first.is_empty(),
            "{all} complaints, the first are\n{}",
            first.join("\n")
        );
        assert_eq!((counts.lost, counts.false_alarms), (0, 0));
        assert!(counts.faults >= least, "only {} faults", counts.faults);
    }
}

/// All of these, or every nth of them: a number that has nothing in common with those of which they are made.
fn sample<T>(all: Vec<T>, nth: usize) -> Vec<T> {
    all.into_iter().step_by(if long_form() { 1 } else { nth }).collect()
}

/// A system call on the state: its name, and which one of that name it is.
#[derive(Clone, Debug)]
struct Call {
    name: String,
    nth: usize,
}

/// All system calls that a run makes on its state.
fn calls(place: &Place) -> Vec<Call> {
    let trace = place.dir.join("trace");
    place.traced("%file,%desc", "", &trace).run();
    let mut calls: Vec<Call> = Vec::new();
    for line in fs::read_to_string(&trace).unwrap().lines() {
        let call = line.split_once(' ').unwrap().1.trim_start();
        let name: String = call
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
            .collect();
        let nth = 1 + calls.iter().filter(|call| call.name == name).count();
        calls.push(Call { name, nth });
    }
    let names: Vec<&str> = calls.iter().map(|call| call.name.as_str()).collect();
    assert!(
        names.len() > 14 && names.iter().any(|name| name.starts_with("rename")),
        "{names:?}"
    );
    calls
}

/// Kills runs in these cases, before each of their system calls on the state that `prepare` has left.
fn kill_everywhere(tally: &Tally, cases: &[(Scope, Case)], prepare: impl Fn(&Place) + Sync) {
    let bench = Bench::new();
    let prepared = |scope, case| {
        let place = bench.place(scope, case);
        prepare(&place);
        place
    };
    let calls = |(scope, case)| {
        calls(&prepared(scope, case))
            .into_iter()
            .map(move |call| (scope, case, call))
    };
    let all = sample(cases.iter().copied().flat_map(calls).collect(), 17);
    let number = all.len();
    in_parallel(all, |(scope, case, Call { name, nth })| {
        let place = prepared(scope, case);
        let how = format!("inject={name}:signal=KILL:when={nth}");
        let out = place.traced(&name, &how, "/dev/null").run();
        let fault = format!("{scope:?} {case:?} killed at {name} {nth}");
        if out.signal != Some(libc::SIGKILL) {
            tally.complain(&fault, "not killed", &out);
        }
        tally.under_fault(&fault, case.is_up(), &out);
        tally.afterwards(&fault, case.is_up(), &place);
        tally.clean(&fault, &place);
    });
    tally.report(number);
}

#[test]
#[ignore = "needs nats-server"]
fn a_run_is_killed_at_each_system_call_on_its_state() {
    kill_everywhere(&Tally::new("kill -9 at each call"), &all_cases(), |_| ());
}

#[test]
#[ignore = "needs nats-server"]
fn a_run_is_killed_while_it_sets_a_damaged_state_aside() {
    let mut cases = remembered_alone();
    cases.retain(|(_, case)| long_form() || *case == Case::StillDown);
    kill_everywhere(&Tally::new("kill -9, the state being damaged"), &cases, |place| {
        let mut file = File::options().append(true).open(place.path("")).unwrap();
        file.write_all(b"garbage").unwrap();
    });
}

#[test]
#[ignore = "needs nats-server"]
fn each_system_call_on_the_state_fails() {
    const ERRORS: [&str; 6] = ["ENOSPC", "EIO", "EROFS", "EDQUOT", "EINTR", "EACCES"];
    let bench = Bench::new();
    let tally = Tally::new("an error at each call");
    let mut all = Vec::new();
    for (scope, case) in all_cases() {
        for call in calls(&bench.place(scope, case)) {
            for error in ERRORS {
                all.push((scope, case, call.clone(), error, ""));
                // An interruption for good would be none.
                if error != "EINTR" {
                    all.push((scope, case, call.clone(), error, "+"));
                }
            }
        }
    }
    let all = sample(all, 127);
    let number = all.len();
    in_parallel(all, |(scope, case, Call { name, nth }, error, from_then_on)| {
        let place = bench.place(scope, case);
        let how = format!("inject={name}:error={error}:when={nth}{from_then_on}");
        let (trace, before) = (place.dir.join("trace"), place.sequence());
        let out = place.traced(&name, &how, &trace).run();
        let fault = format!("{scope:?} {case:?} {error} at {name} {nth}{from_then_on}");
        if !fs::read_to_string(&trace).unwrap().contains("(INJECTED)") {
            tally.complain(&fault, "no fault", &out);
        }
        tally.under_fault(&fault, case.is_up(), &out);
        if out.code == Some(0) && place.sequence() <= before {
            tally.complain(&fault, "OK, and not remembered", &out);
        }
        tally.afterwards(&fault, case.is_up(), &place);
        tally.clean(&fault, &place);
    });
    tally.report(number);
}

/// The kernel writes a part of it, and then no more.
#[test]
#[ignore = "needs nats-server"]
fn a_save_ends_at_each_part_of_its_length() {
    let bench = Bench::new();
    let tally = Tally::new("a file that may not grow");
    let mut all = Vec::new();
    for (scope, case) in remembered_alone() {
        let length = bench.saved(scope, case).len() as u64;
        let sizes = [0, 1, 100, length / 2, length - 1, length, length + 1];
        all.extend(sizes.map(|size| (scope, case, size)));
    }
    let all = sample(all, 2);
    let number = all.len();
    in_parallel(all, |(scope, case, size)| {
        let place = bench.place(scope, case);
        let limit = format!("--fsize={size}");
        let out = place.check().under(["prlimit", &limit]).run();
        let fault = format!("{scope:?} {case:?} {size} bytes");
        tally.under_fault(&fault, case.is_up(), &out);
        tally.afterwards(&fault, case.is_up(), &place);
        tally.clean(&fault, &place);
    });
    tally.report(number);
}

/// Kind of thing that may stand in the place of a file of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Empty,
    Zeros,
    Fifo,
    Socket,
    Device,
    Folder,
    FullFolder,
    DanglingLink,
    LinkToFile,
    HardLink,
}

impl Kind {
    const ALL: [Kind; 10] = [
        Kind::Empty,
        Kind::Zeros,
        Kind::Fifo,
        Kind::Socket,
        Kind::Device,
        Kind::Folder,
        Kind::FullFolder,
        Kind::DanglingLink,
        Kind::LinkToFile,
        Kind::HardLink,
    ];

    /// Puts it there. `elsewhere` is a file of somebody else's.
    fn put(self, path: &str, elsewhere: &str) {
        let _ = fs::remove_file(path);
        let name = CString::new(path).unwrap();
        match self {
            Kind::Empty => fs::write(path, "").unwrap(),
            Kind::Zeros => fs::write(path, [0; 600]).unwrap(),
            // SAFETY: the path is alive and ends with a zero.
            Kind::Fifo => assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0),
            Kind::Socket => drop(UnixListener::bind(path).unwrap()),
            // The one that reads as zeros without end.
            // SAFETY: as above.
            Kind::Device => assert_eq!(
                unsafe { libc::mknod(name.as_ptr(), libc::S_IFCHR | 0o600, libc::makedev(1, 5)) },
                0
            ),
            Kind::Folder => fs::create_dir(path).unwrap(),
            Kind::FullFolder => fs::create_dir_all(format!("{path}/something")).unwrap(),
            Kind::DanglingLink => symlink("/nonexistent/file", path).unwrap(),
            Kind::LinkToFile => symlink(elsewhere, path).unwrap(),
            Kind::HardLink => fs::hard_link(elsewhere, path).unwrap(),
        }
    }
}

fn remove(path: &str) {
    let _ = fs::remove_file(path).or_else(|_| fs::remove_dir_all(path));
}

#[test]
#[ignore = "needs nats-server"]
fn foreign_files_in_place_of_the_state_files() {
    if !is_root() {
        return;
    }
    let bench = Bench::new();
    let tally = Tally::new("something else in its place");
    let mut all = Vec::new();
    for (scope, case) in remembered_alone() {
        for suffix in ["", ".tmp", ".lock", ".bad"] {
            all.extend(Kind::ALL.map(|kind| (scope, case, suffix, kind)));
        }
    }
    let all = sample(all, 13);
    let number = all.len();
    in_parallel(all, |(scope, case, suffix, kind)| {
        let place = bench.place(scope, case);
        let elsewhere = place.dir.join("elsewhere");
        fs::write(&elsewhere, "precious").unwrap();
        kind.put(&place.path(suffix), &elsewhere);
        let out = place.check().run();
        let fault = format!("{scope:?} {case:?} {kind:?} as s.json{suffix}");
        tally.under_fault(&fault, case.is_up(), &out);
        if fs::read(&elsewhere).unwrap() != b"precious" {
            tally.complain(&fault, "the file elsewhere was written", &out);
        }
        // What the program does not touch, an admin has to remove.
        match suffix {
            ".lock" => remove(&place.path(suffix)),
            "" if matches!(kind, Kind::Empty | Kind::Zeros | Kind::HardLink) => {}
            "" => remove(&place.path(suffix)),
            _ if matches!(kind, Kind::Folder | Kind::FullFolder) => remove(&place.path(suffix)),
            _ => {}
        }
        // Of a state that was replaced nothing is left.
        tally.afterwards_knowing(&fault, case.is_up(), &place, !suffix.is_empty());
    });
    tally.report(number);
}

/// Somebody appends to the state without end while it is read.
#[test]
#[ignore = "needs nats-server"]
fn a_state_grows_while_it_is_read() {
    let bench = Bench::new();
    let tally = Tally::new("a file that grows while it is read");
    let mut all = Vec::new();
    for (scope, case) in remembered_alone() {
        for (what, bytes) in [("white space", b' '), ("garbage", b'x')] {
            for nth in [1, 2, 3, 4] {
                all.push((scope, case, what, bytes, nth));
            }
        }
    }
    let all = sample(all, 3);
    let number = all.len();
    in_parallel(all, |(scope, case, what, byte, nth)| {
        let place = bench.place(scope, case);
        let how = format!("inject=read:delay_enter=30000:when={nth}");
        let mut file = File::options().append(true).open(place.path("")).unwrap();
        let done = AtomicBool::new(false);
        let out = thread::scope(|scope| {
            scope.spawn(|| {
                // Ten times what a state can have is endless enough.
                for _ in 0..640 {
                    if done.load(SeqCst) {
                        break;
                    }
                    file.write_all(&[byte; 1 << 16]).unwrap();
                    thread::sleep(Duration::from_millis(1));
                }
            });
            let out = place.traced("read", &how, "/dev/null").run();
            done.store(true, SeqCst);
            out
        });
        let fault = format!("{scope:?} {case:?} {what}, at read {nth}");
        tally.under_fault(&fault, case.is_up(), &out);
        tally.afterwards(&fault, case.is_up(), &place);
    });
    tally.report(number);
}

/// The clock of the host jumps: what is remembered was written by another clock.
#[test]
#[ignore = "needs nats-server"]
fn the_clock_jumps_both_ways() {
    const HOUR: i64 = 3600;
    let bench = Bench::new();
    let tally = Tally::new("a clock that jumps");
    let mut all = Vec::new();
    for (scope, case) in remembered_alone() {
        for hours in [1, 24, 366 * 24, 50 * 366 * 24] {
            for seconds in [hours * HOUR - 60, hours * HOUR + 60] {
                all.extend([(scope, case, seconds), (scope, case, -seconds)]);
            }
        }
        all.extend([(scope, case, 60), (scope, case, -60)]);
    }
    let all = sample(all, 11);
    let number = all.len();
    in_parallel(all, |(scope, case, seconds)| {
        let place = bench.place(scope, case);
        let text = fs::read_to_string(place.path("")).unwrap();
        let mut memory: Value = serde_json::from_str(&text).unwrap();
        shift(&mut memory, seconds);
        fs::write(place.path(""), memory.to_string()).unwrap();
        let out = place.check().run();
        let fault = format!("{scope:?} {case:?} by {} s", -seconds);
        tally.under_fault(&fault, case.is_up(), &out);
        tally.afterwards(&fault, case.is_up(), &place);
    });
    tally.report(number);
}

/// Moves all times in it.
fn shift(value: &mut Value, seconds: i64) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| shift(value, seconds)),
        Value::Object(fields) => fields.values_mut().for_each(|value| shift(value, seconds)),
        Value::String(text) => {
            use time::OffsetDateTime;
            use time::format_description::well_known::Rfc3339;
            if let Ok(at) = OffsetDateTime::parse(text, &Rfc3339) {
                *text = (at + time::Duration::seconds(seconds)).format(&Rfc3339).unwrap();
            }
        }
        _ => {}
    }
}

/// Two hundred runs at once on one state, while the service dies under them, and again while it comes back; and every seventh of
/// them is killed somewhere on the way.
#[test]
#[ignore = "needs nats-server"]
fn two_hundred_runs_overlap() {
    let server = Server::start(Version::Newest);
    let start = || Service::async_nats(&server.url(), "orders").start();
    let place = Place::empty(server.url(), "orders", Scope::One);
    let tally = Tally::new("200 runs at once, twice");
    let service = start();
    server.wait_for_instances("orders", 1);
    place.check().run().assert_first_line(0, "NATS_SERVICE OK - *");
    let spawn = |number: usize| -> Vec<Running> {
        let check = || place.check_confirming("50ms").args(["--timeout", "60"]);
        let runs = (0..number).map(|_| check().limit(Duration::from_secs(90)).spawn());
        let runs: Vec<Running> = runs.collect();
        runs.iter().step_by(7).for_each(|run| run.signal(libc::SIGKILL));
        runs
    };
    let sequence = |place: &Place| place.sequence().expect("a whole state");
    // While it dies, and while it comes back, either word may be right; but nothing else is.
    let either = |runs: Vec<Running>| {
        for out in runs.into_iter().map(Running::wait) {
            tally.count(|counts| counts.faults += 1);
            let killed = out.signal == Some(libc::SIGKILL);
            if !(killed || matches!(out.code, Some(0 | 2)) && out.stderr.is_empty()) {
                tally.complain(&"overlapping", "neither up nor down", &out);
            }
        }
    };
    let mut runs = spawn(100);
    service.kill();
    runs.extend(spawn(100));
    either(runs);
    server.wait_for_instances("orders", 0);
    let before = sequence(&place);
    tally.afterwards(&"after the end", false, &place);
    let mut runs = spawn(100);
    let _service = start();
    runs.extend(spawn(100));
    either(runs);
    server.wait_for_instances("orders", 1);
    tally.afterwards(&"after the return", true, &place);
    assert!(sequence(&place) > before + 10, "from {before} on");
    tally.clean(&"overlapping", &place);
    tally.report(400);
}
