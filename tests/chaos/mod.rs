//! Everything breaks at random, and an oracle knows the truth: no false alarm, and no missed outage.
//!
//! A driver starts, kills, freezes and thaws instances of three services and seven client libraries, stops, kills and freezes servers, pulls and plugs
//! the cables of the hosts that the instances are on, loses packets, breaks the path of a monitor that asks from a distance, and kills
//! runs. Meanwhile monitors and probes run all the time. Each run is judged by what was true from its start to its end.
//!
//! The usual run is short. `CHAOS_SEED=7 CHAOS_SECONDS=3600 tests/run.sh chaos -- --nocapture` is the long one: the same actions
//! for the same seed, on one server or on a cluster, and a table of what was said.

/// Hosts with links that can break and lose packets.
mod hosts;
/// The state of the world, the actions that are possible in it, and the state after each.
mod model;
/// The truth at each instant, and the verdicts that it allows a run.
mod oracle;
/// The watchers, which check again and again, and are judged.
mod watcher;
/// The servers, the services and the network, and what breaks them.
mod world;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::support::Version;
use model::{Action, Dice};
use oracle::{Fault, From};
use watcher::{AllWatcher, KILLED, KILLED_ALL, Tally, Watcher};
use world::World;

/// Breaks things at random for as long, while everybody asks. Returns what came of it.
fn chaos(seed: u64, time: Duration) -> Vec<(&'static str, Arc<Mutex<Tally>>)> {
    let mut world = World::new(seed);
    world.start_one("nats.js 3", "orders-first");
    let far = world.far.url();
    let watcher = |name, from, url: &str, flags| Watcher::new(name, from, url, flags, world.clock);
    let url = world.url();
    let stats = &[
        "--stats",
        "--lost-warning",
        "1",
        "--restarts-warning",
        "50",
        "--mixed-versions",
        "warning",
    ];
    let watchers = [
        watcher("check", From::Nearby, &url, &[]),
        watcher(KILLED, From::Nearby, &url, &[]),
        watcher("check --stats", From::Nearby, &url, stats),
        watcher("check -c 1:", From::Nearby, &url, &["-c", "1:", "--census", "0"]),
        watcher("check from afar", From::ADistance, &far, &[]),
        watcher("probe", From::Nearby, &url, &[]),
        watcher("probe from afar", From::ADistance, &far, &[]),
    ];
    let all_watchers = [
        AllWatcher::new("check --all", From::Nearby, &url, &["--census", "0"], world.clock),
        AllWatcher::new(KILLED_ALL, From::Nearby, &url, &[], world.clock),
        AllWatcher::new("--all from afar", From::ADistance, &far, &[], world.clock),
    ];
    let tally = |name, tally: &Arc<Mutex<Tally>>| (name, Arc::clone(tally));
    let of_one = watchers.iter().map(|watcher| tally(watcher.name, &watcher.tally));
    let of_all = all_watchers.iter().map(|watcher| tally(watcher.name, &watcher.tally));
    let tallies: Vec<_> = of_one.chain(of_all).collect();
    let over = AtomicBool::new(false);
    let history = Arc::clone(&world.history);
    thread::scope(|scope| {
        for (nth, mut watcher) in watchers.into_iter().enumerate() {
            let (over, history, mut dice) = (&over, &history, Dice(seed + nth as u64 + 1));
            scope.spawn(move || {
                while !over.load(SeqCst) {
                    if watcher.name == KILLED && dice.below(4) == 0 {
                        watcher.killed_check(&mut dice);
                    }
                    match watcher.name.starts_with("probe") {
                        true => watcher.probe(history, &mut dice),
                        false => watcher.check(history),
                    }
                    thread::sleep(Duration::from_millis(dice.below(500) as u64));
                }
            });
        }
        for (nth, mut watcher) in all_watchers.into_iter().enumerate() {
            let (over, history, mut dice) = (&over, &history, Dice(seed + nth as u64 + 100));
            scope.spawn(move || {
                while !over.load(SeqCst) {
                    if watcher.name == KILLED_ALL && dice.below(4) == 0 {
                        watcher.killed_check(&mut dice);
                    }
                    watcher.check(history);
                    thread::sleep(Duration::from_millis(dice.below(500) as u64));
                }
            });
        }
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            world.rage(time);
            finish(&mut world, &tallies);
        }));
        over.store(true, SeqCst);
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    tallies
}

/// At the end everybody has to say once more that it is up, and then that it is down: so no outage stays open, none is slept
/// through, and nobody's runs were without meaning.
fn finish(world: &mut World, tallies: &[(&str, Arc<Mutex<Tally>>)]) {
    world.mend();
    world.act(&Action::KillAll);
    world.start_one("async-nats", "orders-last");
    // Probes ask for it alone from now on.
    for _ in 0..oracle::LATELY {
        world.act(&Action::Rest);
    }
    let everybody_again = |what: &str, count: fn(&Tally) -> usize| {
        let counts = || tallies.iter().map(|(_, tally)| count(&tally.lock().expect("no panic")));
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

/// Prints what came of it, and fails if anything was wrong.
#[track_caller]
fn report(tallies: &[(&'static str, Arc<Mutex<Tally>>)]) {
    let mut table = format!(
        "{:<16} | {:>5} | {:>6} | {:>10} | {:>12} | {:>12} | {:>5} | {:>14} | {:>3} | said\n",
        "who", "runs", "epochs", "must be up", "must be down", "false alarms", "hasty", "missed outages", "odd"
    );
    let mut complaints = Vec::new();
    for (name, tally) in tallies {
        let tally = tally.lock().expect("no panic");
        let of = |fault| tally.faults.get(&fault).copied().unwrap_or(0);
        let (alarms, hasty) = (of(Fault::FalseAlarm), of(Fault::HastyAlarm));
        let (missed, odd) = (of(Fault::MissedOutage), of(Fault::Odd));
        let said: Vec<_> = tally
            .said
            .iter()
            .map(|(said, count)| format!("{said} {count}"))
            .collect();
        let said = said.join(", ");
        let (runs, epochs, pass, fail) = (tally.runs, tally.epochs, tally.had_to_pass, tally.had_to_fail);
        writeln!(
            table,
            "{name:<16} | {runs:>5} | {epochs:>6} | {pass:>10} | {fail:>12} | {alarms:>12} | {hasty:>5} | {missed:>14} | {odd:>3} | {said}"
        )
        .expect("memory");
        complaints.extend(tally.complaints.clone());
    }
    println!("{table}");
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
#[ignore = "needs nats-server"]
fn nothing_that_breaks_makes_a_false_alarm_or_hides_an_outage() {
    let number = |name| std::env::var(name).ok().map(|value| value.parse().expect("a number"));
    let seed = number("CHAOS_SEED").unwrap_or(1);
    let seconds = number("CHAOS_SECONDS").unwrap_or(15);
    report(&chaos(seed, Duration::from_secs(seconds)));
}

/// Of checks that are right nothing can be learned about the oracle: one that does not ask again is wrong.
#[test]
#[ignore = "needs nats-server"]
fn a_hasty_check_is_caught() {
    let mut world = World::of(Version::Newest, 1, Dice(1));
    let mut hasty = Watcher::new(
        "hasty check",
        From::Nearby,
        &world.url(),
        &["--confirm", "0"],
        world.clock,
    );
    world.start_one("nats.js 3", "orders-one");
    hasty.check(&world.history);
    world.act(&Action::StopServer { server: 0, hard: true });
    world.act(&Action::StartServer(0));
    hasty.check(&world.history);
    let faults = hasty.tally.lock().expect("no panic").faults.clone();
    assert_eq!(faults, BTreeMap::from([(Fault::HastyAlarm, 1)]));
}
