//! Everything breaks at random, and an oracle knows the truth: no false alarm, and no missed outage.
//!
//! A driver starts, kills, freezes and thaws instances of three services and seven client libraries, stops, kills and freezes servers, makes them
//! lame ducks, lets them read their configuration again, pulls and plugs the cables of the hosts that the instances are on, loses packets,
//! breaks the way between servers and that of a monitor that asks from a distance, and kills runs. Meanwhile monitors, probes and
//! sidecars run all the time. Each run is judged by what was true from its start to its end.
//!
//! The usual run is short. `CHAOS_SEED=7 CHAOS_SECONDS=3600 tests/run.sh chaos -- --nocapture` is the long one: the same actions
//! for the same seed, in the topology that it chooses (or `CHAOS_TOPOLOGY=leaf`), and a table of what was said.

/// The actions of the driver.
mod action;
/// Hosts with links that can break and lose packets.
mod hosts;
/// The state of the world, the actions that are possible in it, and the state after each.
mod model;
/// The truth at each instant.
mod oracle;
/// The sidecars of pods, their files and their pages.
mod sidecars;
/// The topologies, and what they mean for clients.
mod topology;
/// The verdicts that the truth allows.
mod verdict;
/// The watchers, which check again and again, and are judged.
mod watcher;
/// The servers, the services and the network, and what breaks them.
mod world;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use super::support::Version;
use action::{Action, Dice, End};
use sidecars::Sidecars;
use topology::Topology;
use verdict::Fault;
use watcher::{AllWatcher, Book, Mode, Tally, Watch, Watcher};
use world::World;

/// Breaks things at random for as long, while everybody asks. Returns what came of it, and how it ended.
fn chaos(seed: u64, topology: Option<Topology>, time: Duration) -> (Vec<Book>, thread::Result<()>) {
    let mut world = World::new(seed, topology);
    world.start_one("nats.js 3", "orders-first");
    let (near, far) = (&world.nearby(), &world.far());
    let watcher = |name, mode, place, flags| -> Box<dyn Watch> { Box::new(Watcher::new(name, mode, place, flags)) };
    let all = |name, mode, place, flags| -> Box<dyn Watch> { Box::new(AllWatcher::new(name, mode, place, flags)) };
    let watchers = [
        watcher("check", Mode::Check, near, &[]),
        watcher("check, killed", Mode::Killed, near, &[]),
        watcher("check --stats", Mode::Check, near, &STATS),
        watcher("check -c 1:", Mode::Check, near, &["-c", "1:", "--census", "0"]),
        watcher("check from afar", Mode::Check, far, &[]),
        watcher("textfile", Mode::Textfile, near, &[]),
        watcher("probe", Mode::Probe, near, &[]),
        watcher("probe from afar", Mode::Probe, far, &[]),
        Box::new(Sidecars::new("watch", near)),
        Box::new(Sidecars::new("watch from afar", far)),
        all("check --all", Mode::Check, near, &LOST),
        all("--all, killed", Mode::Killed, near, &[]),
        all("--all from afar", Mode::Check, far, &[]),
    ];
    let books: Vec<Book> = watchers.iter().map(|watcher| watcher.book().clone()).collect();
    // The usual run leaves the processors to the other tests.
    let pause = if time > USUAL { PAUSE } else { 2 * PAUSE };
    let over = AtomicBool::new(false);
    let history = Arc::clone(&world.history);
    let rage = || {
        thread::scope(|scope| {
            for (nth, mut watcher) in watchers.into_iter().enumerate() {
                let (over, history, mut dice) = (&over, &history, Dice(seed + nth as u64 + 1));
                scope.spawn(move || {
                    while !over.load(SeqCst) {
                        watcher.ask(history, &mut dice);
                        thread::sleep(Duration::from_millis(dice.below(pause) as u64));
                    }
                });
            }
            let result = catch_unwind(AssertUnwindSafe(|| {
                world.rage(time);
                finish(&mut world, &books);
            }));
            over.store(true, SeqCst);
            result
        })
    };
    let end = catch_unwind(AssertUnwindSafe(rage)).and_then(|end| end);
    (books, end)
}

/// Flags that judge more than whether the service is there.
const STATS: [&str; 9] = [
    "--stats",
    "--lost-warning",
    "1",
    "--restarts-warning",
    "5",
    "--restarts-critical",
    "20",
    "--mixed-versions",
    "critical",
];
const LOST: [&str; 4] = ["--census", "0", "--lost-critical", "1"];

/// Maximum time between two runs of a watcher, in milliseconds.
const PAUSE: usize = 300;

/// Duration of the short form.
const USUAL: Duration = Duration::from_secs(12);

/// At the end everybody has to say once more that it is up, and then that it is down: so no outage stays open, none is slept
/// through, and nobody's runs were without meaning.
fn finish(world: &mut World, books: &[Book]) {
    world.mend();
    world.act(&Action::KillAll);
    world.start_one("async-nats", "orders-last");
    // Probes ask for it alone from now on.
    for _ in 0..oracle::LATELY {
        world.act(&Action::Rest);
    }
    let everybody_again = |what: &str, count: fn(&Tally) -> usize| {
        let counts = || books.iter().map(|book| count(&book.tally()));
        let (before, start): (Vec<_>, _) = (counts().collect(), Instant::now());
        while !counts().zip(&before).all(|(now, before)| now > *before) {
            assert!(start.elapsed() < Duration::from_secs(60), "not within a minute: {what}");
            thread::sleep(Duration::from_millis(50));
        }
    };
    everybody_again("everybody hears it", |tally| tally.had_to_pass);
    world.act(&Action::KillAll);
    everybody_again("everybody misses it", |tally| tally.had_to_fail);
}

/// Prints what came of it, and returns what was wrong.
fn report(books: &[Book]) -> Vec<String> {
    let mut table = format!(
        "{:<16} | {:>5} | {:>6} | {:>10} | {:>12} | {:>12} | {:>5} | {:>14} | {:>3} | said, windows\n",
        "who", "runs", "epochs", "must be up", "must be down", "false alarms", "hasty", "missed outages", "odd"
    );
    let (mut complaints, mut sums) = (Vec::new(), [0; 8]);
    let mut row = |name, numbers: [usize; 8], said: &str| {
        let [runs, epochs, pass, fail, alarms, hasty, missed, odd] = numbers;
        writeln!(
            table,
            "{name:<16} | {runs:>5} | {epochs:>6} | {pass:>10} | {fail:>12} | {alarms:>12} | {hasty:>5} | {missed:>14} | {odd:>3} | {said}"
        )
        .expect("memory");
    };
    for book in books {
        let tally = book.tally();
        let of = |fault| tally.faults.get(&fault).copied().unwrap_or(0);
        let counts = [tally.runs, tally.epochs, tally.had_to_pass, tally.had_to_fail];
        let faults = [Fault::FalseAlarm, Fault::HastyAlarm, Fault::MissedOutage, Fault::Odd].map(of);
        let numbers = [counts, faults].concat().try_into().expect("eight");
        let said = tally.said.iter().map(|(said, count)| format!("{said} {count}"));
        let windows = tally
            .windows
            .iter()
            .map(|(window, count)| format!("[{window}] {count}"));
        row(book.name, numbers, &said.chain(windows).collect::<Vec<_>>().join(", "));
        sums.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += number);
        complaints.extend(tally.complaints.clone());
    }
    row("all", sums, "");
    println!("{table}");
    complaints
}

#[test]
#[ignore = "needs nats-server"]
fn nothing_that_breaks_makes_a_false_alarm_or_hides_an_outage() {
    let number = |name| std::env::var(name).ok().map(|value| value.parse().expect("a number"));
    let seed = number("CHAOS_SEED").unwrap_or(1);
    let time = number("CHAOS_SECONDS").map_or(USUAL, Duration::from_secs);
    let topology = std::env::var("CHAOS_TOPOLOGY").ok().map(|name| Topology::of(&name));
    let (books, end) = chaos(seed, topology, time);
    let complaints = report(&books);
    end.unwrap_or_else(|panic| resume_unwind(panic));
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// Of checks that are right nothing can be learned about the oracle: those that do not ask again are wrong.
#[test]
#[ignore = "needs nats-server"]
fn hasty_checks_are_caught() {
    let mut world = World::of(Version::Newest, Topology::One, Dice(1));
    let mut place = world.nearby();
    place.flags.extend(["--confirm", "0"].map(str::to_owned));
    let mut watchers = [Mode::Check, Mode::Textfile].map(|mode| Watcher::new("hasty", mode, &place, &[]));
    let mut ask = |world: &World| {
        watchers
            .each_mut()
            .map(|watcher| watcher.ask(&world.history, &mut Dice(1)))
    };
    world.start_one("nats-py", "orders-one");
    ask(&world);
    world.act(&Action::StopServer {
        server: 0,
        end: End::Kill,
    });
    world.act(&Action::StartServer(0));
    ask(&world);
    for watcher in &watchers {
        assert_eq!(watcher.book().tally().faults, BTreeMap::from([(Fault::HastyAlarm, 1)]));
    }
}
