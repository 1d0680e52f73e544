//! Power cuts, simulated: what real runs do to the disk is recorded, and played back up to each point, without what a file
//! system may have lost by then.
//!
//! What is in a file is only sure once that file was synced; else it is whole, half, empty or full of zeros. The folder is never
//! synced, so none of the latest changes of names is sure: a journal keeps them in their order, up to a point; without one, any of
//! them may be there and any other not.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

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

#[test]
fn the_power_is_cut_at_each_point() {
    let server = Server::start(Version::Newest);
    let start = || {
        let service = Service::async_nats(&server.url(), "orders").start();
        server.wait_for_instances("orders", 1);
        service
    };
    let end = |service: Service| {
        service.kill();
        server.wait_for_instances("orders", 0);
    };
    let mut recorder = Recorder {
        place: Place::empty(server.url(), "orders"),
        steps: Vec::new(),
        states: Vec::new(),
        names: BTreeMap::new(),
    };
    let service = start();
    recorder.run(0);
    // From here on, somebody has been told something.
    let sure = recorder.steps.len();
    (0..3).for_each(|_| recorder.run(0));
    end(service);
    (0..4).for_each(|_| recorder.run(2));
    let service = start();
    (0..4).for_each(|_| recorder.run(0));
    end(service);
    (0..2).for_each(|_| recorder.run(2));

    let Recorder { steps, states, .. } = recorder;
    let disks: Vec<Disk> = disks(&steps, sure).into_iter().collect();
    let number = disks.len();
    assert!(number > 100, "{number}");
    let every = if long_form() { 1 } else { number / 50 };
    let tally = Tally::new("power cuts");
    let play_back = |is_up: bool| {
        let sample = disks.iter().skip(usize::from(is_up)).step_by(every).collect();
        in_parallel(sample, |disk: &Disk| {
            let place = Place::empty(server.url(), "orders");
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
    };
    play_back(false);
    let _service = start();
    play_back(true);
    tally.report(100);
}
