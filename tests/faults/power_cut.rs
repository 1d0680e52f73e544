//! Power cuts, simulated: what real runs do to the disk is recorded, and played back up to each point, without what a file
//! system may have lost by then.
//!
//! The content of a file is only sure once that file was synced; else it is whole, half, empty or full of zeros. The folder is never
//! synced, so none of the latest changes of names is sure: a journal keeps them in their order, up to a point; without one, any of
//! them may be there and any other not.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::{Place, Scope, Tally, long_form};
use crate::support::{Output, Server, Service, Version, in_parallel};

/// Number of the latest changes of names that a file system may have in memory only: those of three runs and more.
const UNSURE: usize = 10;

/// The run that wrote something, which is all that tells one content of a file from another.
type Run = usize;

/// A file, whatever its names are.
type File = usize;

/// Step of a run on the disk.
#[derive(Clone, Debug)]
enum Step {
    /// New files behind these names (the ends of the paths), or their removal. All or nothing.
    Names(Vec<(String, Option<File>)>),
    /// The file has the content of this run, in memory at first. It may be one that has another name on the disk.
    Wrote(File, Run),
    /// The content of the file is on the disk.
    Synced(File),
}

/// Content that may be left of a file that was written and not synced, and so of its earlier content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Content {
    New,
    /// Content that was last synced.
    Old,
    /// Content that was written before, and not synced either.
    Previous,
    /// The first half is new, the rest is old.
    Torn,
    Half,
    Empty,
    Zeros,
}

const CONTENTS: [Content; 7] = [
    Content::New,
    Content::Old,
    Content::Previous,
    Content::Torn,
    Content::Half,
    Content::Empty,
    Content::Zeros,
];

/// Which files are there after the cut, and the bytes in them.
type Disk = BTreeMap<String, Vec<u8>>;

/// Some runs, what they did, and what each of them has written.
struct Recorder {
    place: Place,
    steps: Vec<Step>,
    states: Vec<Vec<u8>>,
    names: BTreeMap<String, File>,
    /// Files that are open at this moment.
    open: BTreeMap<String, File>,
    files: usize,
}

impl Recorder {
    fn new(url: String, scope: Scope) -> Recorder {
        Recorder {
            place: Place::empty(url, "orders", scope),
            steps: Vec::new(),
            states: Vec::new(),
            names: BTreeMap::new(),
            open: BTreeMap::new(),
            files: 0,
        }
    }

    fn run(&mut self, code: i32) {
        let out = self.run_under("");
        assert_eq!(out.code, Some(code), "{out:?}");
    }

    /// A run that is killed: before its state is synced, or in turn, before it is renamed.
    fn run_killed(&mut self) -> bool {
        let calls = ["fdatasync", "?rename,?renameat"][self.states.len() / 2 % 2];
        let out = self.run_under(&format!("inject={calls}:signal=KILL:when=1"));
        out.signal == Some(libc::SIGKILL)
    }

    fn run_under(&mut self, how: &str) -> Output {
        let trace = self.place.dir.join("trace");
        let calls = "openat,write,?unlink,?unlinkat,?rename,?renameat,?link,linkat,fdatasync,fsync";
        let out = self.place.traced(calls, how, &trace).run();
        for line in fs::read_to_string(&trace).unwrap().lines() {
            self.record(line);
        }
        // What a killed run has written may not be the state yet.
        let written = fs::read(self.place.path(".tmp")).or_else(|_| fs::read(self.place.path("")));
        self.states.push(written.unwrap());
        out
    }

    fn record(&mut self, line: &str) {
        let Some((call, result)) = line
            .rsplit_once(" = ")
            .filter(|(_, result)| !result.starts_with(['-', '?']))
        else {
            return;
        };
        let (call, arguments) = call.split_once(' ').unwrap().1.trim_start().split_once('(').unwrap();
        let descriptor = arguments.split([',', ')']).next().unwrap();
        let quoted = arguments.split('"').skip(1).step_by(2);
        let names: Vec<String> = quoted
            .filter_map(|name| name.strip_prefix("s.json").map(str::to_owned))
            .collect();
        if names.first().is_some_and(|name| name == ".lock") {
            return;
        }
        let file = |name: &str| Some(self.names[name]);
        let changes = match (call, &names[..]) {
            ("write", _) => {
                let written = self.open[descriptor];
                return self.steps.push(Step::Wrote(written, self.states.len()));
            }
            ("fdatasync" | "fsync", _) => return self.steps.push(Step::Synced(self.open[descriptor])),
            ("openat", [name]) if arguments.contains("O_CREAT") => {
                self.files += 1;
                self.open.insert(result.to_owned(), self.files);
                vec![(name.clone(), Some(self.files))]
            }
            ("openat", [name]) => {
                self.open.insert(result.to_owned(), self.names[name]);
                return;
            }
            // The folder.
            ("openat", _) => return,
            ("unlink" | "unlinkat", [name]) => vec![(name.clone(), None)],
            ("link" | "linkat", [from, to]) => vec![(to.clone(), file(from))],
            (_, [from, to]) => vec![(from.clone(), None), (to.clone(), file(from))],
            _ => panic!("{line}"),
        };
        apply(&mut self.names, &changes);
        self.steps.push(Step::Names(changes));
    }

    /// Returns the content of a file after these steps.
    fn content(&self, steps: &[Step], file: File, content: Content) -> Vec<u8> {
        let (mut old, mut new): (Option<Run>, Vec<Run>) = (None, Vec::new());
        for step in steps {
            match step {
                // A text and its line end are two writes.
                Step::Wrote(written, run) if *written == file && new.last() != Some(run) => new.push(*run),
                Step::Synced(synced) if *synced == file => {
                    old = new.pop().or(old);
                    new.clear();
                }
                _ => {}
            }
        }
        let bytes = |run: Option<&Run>| run.map_or(&[][..], |run| self.states[*run].as_slice());
        let old = bytes(old.as_ref());
        let Some(latest) = new.last() else {
            return old.to_vec();
        };
        let whole = bytes(Some(latest));
        let half = whole.len() / 2;
        match content {
            Content::New => whole.to_vec(),
            Content::Old => old.to_vec(),
            Content::Previous => bytes(new.iter().rev().nth(1)).to_vec(),
            Content::Torn => [&whole[..half], old.get(half..).unwrap_or_default()].concat(),
            Content::Half => whole[..half].to_vec(),
            Content::Empty => Vec::new(),
            Content::Zeros => vec![0; whole.len()],
        }
    }

    /// All that may be on the disk after a cut at any point behind the first `sure` steps.
    fn disks(&self, sure: usize) -> BTreeSet<Disk> {
        let mut disks = BTreeSet::new();
        for cut in sure..=self.steps.len() {
            let steps = &self.steps[..cut];
            let before = changes(&self.steps[..sure]).count();
            let all: Vec<_> = changes(steps).collect();
            let unsure = (all.len() - before).min(UNSURE);
            let (kept, latest) = all.split_at(all.len() - unsure);
            let all_names: BTreeSet<BTreeMap<String, File>> = (0..1_u32 << unsure)
                .map(|mask| {
                    let mut names = BTreeMap::new();
                    let there = latest.iter().enumerate().filter(|(n, _)| mask & (1 << n) != 0);
                    for change in kept.iter().chain(there.map(|(_, change)| change)) {
                        apply(&mut names, change);
                    }
                    names
                })
                .collect();
            for names in all_names {
                for content in CONTENTS {
                    let disk = names
                        .iter()
                        .map(|(name, file)| (name.clone(), self.content(steps, *file, content)));
                    disks.insert(disk.collect());
                }
            }
        }
        disks
    }
}

fn apply(names: &mut BTreeMap<String, File>, changes: &[(String, Option<File>)]) {
    for (name, file) in changes {
        match file {
            Some(file) => names.insert(name.clone(), *file),
            None => names.remove(name),
        };
    }
}

fn changes(steps: &[Step]) -> impl Iterator<Item = &Vec<(String, Option<File>)>> {
    steps.iter().filter_map(|step| match step {
        Step::Names(changes) => Some(changes),
        Step::Wrote(..) | Step::Synced(_) => None,
    })
}

/// A server, and its service that comes and goes.
struct Stage {
    server: Server,
    service: Option<Service>,
}

impl Stage {
    fn new() -> Stage {
        Stage {
            server: Server::start(Version::Newest),
            service: None,
        }
    }

    fn set(&mut self, is_up: bool) {
        match (is_up, self.service.take()) {
            (true, None) => self.service = Some(Service::async_nats(&self.server.url(), "orders").start()),
            (false, Some(service)) => service.kill(),
            (_, service) => self.service = service,
        }
        self.server.wait_for_instances("orders", usize::from(is_up));
    }

    /// Has a run for each thing that can happen, and a few usual ones behind it. The first of them has somebody told something.
    fn play(&mut self, mut run: impl FnMut(i32)) {
        for (is_up, runs) in [(true, 4), (false, 4), (true, 4), (false, 2)] {
            self.set(is_up);
            (0..runs).for_each(|_| run(if is_up { 0 } else { 2 }));
        }
    }

    /// Deals with each disk twice: after the cut, the service may be there or not.
    fn both<T: Sync>(&mut self, disks: &[T], every: usize, run_from: impl Fn(&T, bool) + Sync) {
        for is_up in [false, true] {
            self.set(is_up);
            let sample = disks.iter().skip(usize::from(is_up)).step_by(every);
            in_parallel(sample, |disk| run_from(disk, is_up));
        }
    }
}

#[test]
#[ignore = "needs nats-server"]
fn the_power_is_cut_at_each_point() {
    for scope in Scope::ALONE {
        cut_everywhere("power cuts", scope, Recorder::run);
    }
}

#[test]
#[ignore = "needs nats-server"]
fn the_power_is_cut_after_a_run_was_killed() {
    for scope in Scope::ALONE {
        let killed = Cell::new(0);
        cut_everywhere("power cuts after kill -9", scope, |recorder, code| {
            killed.set(killed.get() + usize::from(recorder.run_killed()));
            recorder.run(code);
        });
        assert!(killed.get() >= 4, "killed {} times", killed.get());
    }
}

fn cut_everywhere(kind: &'static str, scope: Scope, run: impl Fn(&mut Recorder, i32)) {
    let mut stage = Stage::new();
    let mut recorder = Recorder::new(stage.server.url(), scope);
    let mut sure = None;
    stage.play(|code| {
        run(&mut recorder, code);
        sure.get_or_insert(recorder.steps.len());
    });
    let disks: Vec<Disk> = recorder.disks(sure.unwrap()).into_iter().collect();
    let number = disks.len();
    assert!(number > 100, "{number}");
    let every = if long_form() { 1 } else { number / 13 };
    let tally = Tally::new(kind);
    let url = stage.server.url();
    stage.both(&disks, every, |disk, is_up| {
        let place = Place::empty(url.clone(), "orders", scope);
        place.make_folder();
        for (name, bytes) in disk {
            fs::write(place.path(name), bytes).unwrap();
        }
        let lengths: Vec<_> = disk.iter().map(|(name, bytes)| (name, bytes.len())).collect();
        tally.count(|counts| counts.faults += 1);
        tally.afterwards(&format!("{lengths:?}, up: {is_up}"), is_up, &place);
    });
    tally.report(25);
}

/// A file system of its own, in a file, at the folder of a state.
struct Ext4 {
    folder: String,
}

impl Ext4 {
    fn make(image: &str) {
        fs::write(image, vec![0; 4 << 20]).unwrap();
        // All that it has to write now it writes now.
        let now = "lazy_itable_init=0,lazy_journal_init=0";
        command(
            "mkfs.ext4",
            &["-q", "-F", "-b", "1024", "-J", "size=1", "-E", now, image],
        );
    }

    fn mount(image: &str, place: &Place, options: &str) -> Ext4 {
        let folder = place.folder();
        fs::create_dir(&folder).unwrap();
        command(
            "mount",
            &["-t", "ext4", "-o", &format!("loop,{options}"), image, &folder],
        );
        fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
        Ext4 { folder }
    }
}

impl Drop for Ext4 {
    fn drop(&mut self) {
        command("umount", &["-l", &self.folder]);
    }
}

#[track_caller]
fn command(program: &str, args: &[&str]) {
    let out = Command::new(program).args(args).output();
    let out = out.unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(
        out.status.success(),
        "{program} {args:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
}

/// Returns the content of the disk at this moment, while the file system goes on.
fn snapshot(image: &str) -> Vec<u8> {
    loop {
        let (first, second) = (fs::read(image).unwrap(), fs::read(image).unwrap());
        // Nothing was written while it was read.
        if first == second {
            return first;
        }
    }
}

/// A real file system, in the modes in which it promises least. Needs root, and loop devices: in the long form only.
#[test]
fn the_power_of_an_ext4_is_cut() {
    if !long_form() {
        return;
    }
    // Names are on the disk after a second, and what is in the files half a minute later.
    const LAZY: &str = "noauto_da_alloc,commit=1";
    let tally = Tally::new("power cuts of an ext4");
    let writeback = format!("data=writeback,{LAZY}");
    let modes = ["defaults", LAZY, &writeback];
    let modes = Scope::ALONE
        .into_iter()
        .flat_map(|scope| modes.map(|options| (scope, options)));
    for (scope, options) in modes {
        let mut stage = Stage::new();
        let place = Place::empty(stage.server.url(), "orders", scope);
        let image = place.dir.join("image");
        Ext4::make(&image);
        let mounted = Ext4::mount(&image, &place, options);
        let mut disks = Vec::new();
        stage.play(|code| {
            assert_eq!(place.check().run().code, Some(code));
            if disks.is_empty() {
                // From here on, somebody has been told something.
                command("sync", &["-f", &place.folder()]);
            }
            disks.push(snapshot(&image));
            // The journal of ext4 commits by time: the next snapshot finds another state of the disk.
            thread::sleep(Duration::from_millis(1500));
            disks.push(snapshot(&image));
        });
        drop(mounted);
        let url = stage.server.url();
        stage.both(&disks, 1, |disk, is_up| {
            let place = Place::empty(url.clone(), "orders", scope);
            let image = place.dir.join("image");
            fs::write(&image, disk).unwrap();
            let _mounted = Ext4::mount(&image, &place, "defaults");
            let state = fs::metadata(place.path("")).map_or(0, |state| state.len());
            tally.count(|counts| counts.faults += 1);
            tally.afterwards(
                &format!("{scope:?}, {options}, a state of {state} bytes, up: {is_up}"),
                is_up,
                &place,
            );
        });
    }
    tally.report(150);
}
