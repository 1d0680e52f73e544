//! Power cuts, simulated: what real runs do to the disk is recorded, and played back up to each point, without what a file
//! system may have lost by then.
//!
//! What is in a file is only sure once that file was synced; else it is whole, half, empty or full of zeros. The folder is never
//! synced, so none of the latest changes of names is sure: a journal keeps them in their order, up to a point; without one, any of
//! them may be there and any other not.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::{Place, Tally, in_parallel, long_form};
use crate::support::{Server, Service, Version};

/// How many of the latest changes of names a file system may have in memory only: those of three runs and more.
const UNSURE: usize = 10;

/// The run that wrote a file, which is all that tells one from another.
type Written = usize;

/// What a run does to the disk.
#[derive(Clone, Debug)]
enum Step {
    /// What these names (the ends of the paths) stand for from now on, or that they are no more. All or nothing.
    Names(Vec<(String, Option<Written>)>),
    /// The content is on the disk.
    Synced(Written),
}

/// What is left of the content of a file that was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Content {
    Whole,
    Half,
    Empty,
    Zeros,
}

/// Which files are there after the cut, and what is in them.
type Disk = BTreeMap<String, (Written, Content)>;

/// Some runs, what they did, and what each of them has written.
struct Recorder {
    place: Place,
    steps: Vec<Step>,
    states: Vec<Vec<u8>>,
    names: BTreeMap<String, Written>,
}

impl Recorder {
    fn run(&mut self, code: i32) {
        let trace = self.place.dir.join("trace");
        let calls = "openat,?unlink,?unlinkat,?rename,?renameat,?renameat2,?link,linkat,fdatasync,fsync";
        let out = self.place.traced(calls, "", &trace).run();
        assert_eq!(out.code, Some(code), "{out:?}");
        for line in fs::read_to_string(&trace).unwrap().lines() {
            self.record(line);
        }
        self.states.push(fs::read(self.place.path("")).unwrap());
    }

    fn record(&mut self, line: &str) {
        let written = self.states.len();
        let succeeded = line
            .rsplit_once(" = ")
            .is_some_and(|(_, result)| !result.starts_with('-'));
        let call = line.split_once(' ').unwrap().1.trim_start();
        let (call, arguments) = call.split_once('(').unwrap();
        if !succeeded || call == "openat" && !arguments.contains("O_CREAT") {
            return;
        }
        let path = self.place.path("");
        let quoted = arguments.split('"').skip(1).step_by(2);
        let names: Vec<String> = quoted
            .filter_map(|name| name.strip_prefix(&path).map(str::to_owned))
            .collect();
        let inode = |name: &str| Some(self.names[name]);
        let changes = match (call, &names[..]) {
            ("fdatasync" | "fsync", _) => return self.steps.push(Step::Synced(written)),
            (_, [lock]) if lock == ".lock" => return,
            ("openat", [name]) => vec![(name.clone(), Some(written))],
            ("unlink" | "unlinkat", [name]) => vec![(name.clone(), None)],
            ("link" | "linkat", [from, to]) => vec![(to.clone(), inode(from))],
            (_, [from, to]) => vec![(from.clone(), None), (to.clone(), inode(from))],
            _ => panic!("{line}"),
        };
        apply(&mut self.names, &changes);
        self.steps.push(Step::Names(changes));
    }
}

fn apply(names: &mut BTreeMap<String, Written>, changes: &[(String, Option<Written>)]) {
    for (name, written) in changes {
        match written {
            Some(written) => names.insert(name.clone(), *written),
            None => names.remove(name),
        };
    }
}

/// All that may be on the disk after a cut at any point behind the first `sure` steps.
fn disks(steps: &[Step], sure: usize) -> BTreeSet<Disk> {
    let mut disks = BTreeSet::new();
    for cut in sure..=steps.len() {
        let synced: BTreeSet<Written> = steps[..cut]
            .iter()
            .filter_map(|step| match step {
                Step::Synced(written) => Some(*written),
                Step::Names(_) => None,
            })
            .collect();
        let before = changes(&steps[..sure]).count();
        let all: Vec<_> = changes(&steps[..cut]).collect();
        let unsure = (all.len() - before).min(UNSURE);
        let (kept, latest) = all.split_at(all.len() - unsure);
        for mask in 0..1_u32 << unsure {
            let mut names = BTreeMap::new();
            let there = latest.iter().enumerate().filter(|(n, _)| mask & (1 << n) != 0);
            for change in kept.iter().chain(there.map(|(_, change)| change)) {
                apply(&mut names, change);
            }
            for content in [Content::Whole, Content::Half, Content::Empty, Content::Zeros] {
                let disk = names.iter().map(|(name, written)| {
                    let content = if synced.contains(written) {
                        Content::Whole
                    } else {
                        content
                    };
                    (name.clone(), (*written, content))
                });
                disks.insert(disk.collect());
            }
        }
    }
    disks
}

fn changes(steps: &[Step]) -> impl Iterator<Item = &Vec<(String, Option<Written>)>> {
    steps.iter().filter_map(|step| match step {
        Step::Names(changes) => Some(changes),
        Step::Synced(_) => None,
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
            let sample = disks.iter().skip(usize::from(is_up)).step_by(every).collect();
            in_parallel(sample, |disk| run_from(disk, is_up));
        }
    }
}

#[test]
fn the_power_is_cut_at_each_point() {
    let mut stage = Stage::new();
    let mut recorder = Recorder {
        place: Place::empty(stage.server.url(), "orders"),
        steps: Vec::new(),
        states: Vec::new(),
        names: BTreeMap::new(),
    };
    let mut sure = None;
    stage.play(|code| {
        recorder.run(code);
        sure.get_or_insert(recorder.steps.len());
    });
    let Recorder { steps, states, .. } = recorder;
    let disks: Vec<Disk> = disks(&steps, sure.unwrap()).into_iter().collect();
    let number = disks.len();
    assert!(number > 100, "{number}");
    let every = if long_form() { 1 } else { number / 50 };
    let tally = Tally::new("power cuts");
    let url = stage.server.url();
    stage.both(&disks, every, |disk, is_up| {
        let place = Place::empty(url.clone(), "orders");
        place.make_folder();
        for (name, (written, content)) in disk {
            let whole = &states[*written];
            let bytes = match content {
                Content::Whole => whole.clone(),
                Content::Half => whole[..whole.len() / 2].to_vec(),
                Content::Empty => Vec::new(),
                Content::Zeros => vec![0; whole.len()],
            };
            fs::write(place.path(name), bytes).unwrap();
        }
        tally.count(|counts| counts.faults += 1);
        tally.afterwards(&format!("{disk:?}, up: {is_up}"), is_up, &place);
    });
    tally.report(100);
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

/// What is on the disk at this moment, while the file system goes on.
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
    for options in ["defaults", LAZY, &format!("data=writeback,{LAZY}")] {
        let mut stage = Stage::new();
        let place = Place::empty(stage.server.url(), "orders");
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
            thread::sleep(Duration::from_millis(1500));
            disks.push(snapshot(&image));
        });
        drop(mounted);
        let url = stage.server.url();
        stage.both(&disks, 1, |disk, is_up| {
            let place = Place::empty(url.clone(), "orders");
            let image = place.dir.join("image");
            fs::write(&image, disk).unwrap();
            let _mounted = Ext4::mount(&image, &place, "defaults");
            let state = fs::metadata(place.path("")).map_or(0, |state| state.len());
            tally.count(|counts| counts.faults += 1);
            tally.afterwards(
                &format!("{options}, a state of {state} bytes, up: {is_up}"),
                is_up,
                &place,
            );
        });
    }
    tally.report(150);
}
