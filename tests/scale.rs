//! Ten thousand instances of one service: all are counted, and what is said and kept stays small.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::support::{Crowd, Fake, Monitor, Output, Server, TempDir, Version, crowd};

const MANY: usize = 10_000;

/// Maximum size of a state file, in bytes: with the most that is remembered of a service.
const MAX_STATE_BYTES: u64 = 1 << 20;

#[track_caller]
fn assert_counted(out: Output, count: usize) {
    let out = out.assert(
        0,
        &format!("NATS_SERVICE OK - orders: {count} instances, slowest answer *s | instances={count};*"),
    );
    assert!(out.first_line().len() < 300, "{}", out.first_line());
}

#[test]
#[ignore = "needs nats-server"]
fn ten_thousand_instances_are_counted_in_one_short_line() {
    let server = Server::start(Version::Newest);
    let url = server.url();
    let everybody = Crowd::start(&url, "orders", MANY);
    let monitor = Monitor::new(&url);
    let home = TempDir::new();
    let check = |flags: &[&str]| {
        monitor
            .check(flags.iter().copied())
            .args(["--state-dir", &home.join("state"), "-t", "60s"])
            .run()
    };
    // The first looks for everybody, the second knows them; the third one as well, in the time it takes.
    for _ in 0..3 {
        assert_counted(check(&[]), MANY);
    }
    assert!(largest_file(&home.join("state")) < MAX_STATE_BYTES);

    // One in ten thousand is missed.
    drop(everybody);
    server.wait_for_instances("orders", 0);
    let _the_others = Crowd::start(&url, "orders", MANY - 1);
    let out = check(&[]);
    assert!(
        out.first_line().contains(&format!(" {} instances", MANY - 1)),
        "{out:?}"
    );
    assert!(out.first_line().len() < 400, "{out:?}");
}

fn largest_file(dir: &str) -> u64 {
    let files = fs::read_dir(Path::new(dir)).expect("the folder of the state");
    let sizes = files.map(|file| file.expect("a file").metadata().expect("its size").len());
    sizes.max().expect("a state")
}

/// In lots, each later than the one before, and each reply twice.
#[test]
fn a_trickle_with_duplicates_loses_nobody() {
    const LOT: usize = 100;
    let fake = Fake::start(|conn| {
        conn.handshake()?;
        let request = conn.read_request()?;
        for lot in 0..MANY / LOT {
            let numbers = || lot * LOT..(lot + 1) * LOT;
            for number in numbers().chain(numbers()) {
                let payload = format!(r#"{{"name":"orders","id":"{}","version":"1.0.0"}}"#, crowd::id(number));
                conn.reply(&request, payload.as_bytes())?;
            }
            // Far less than what a run waits for one more answer.
            thread::sleep(Duration::from_millis(5));
        }
        conn.hold(Duration::from_secs(10))
    });
    let monitor = Monitor::new(fake.url());
    // A usual run has enough once the last of them has answered, and looks at no duplicates.
    let twice = format!("{MANY} instances, slowest answer *s, 2 replies from one id (*): is it running twice?");
    let out = monitor.check(["-t", "60s"]).run();
    out.assert_first(0, &format!("NATS_SERVICE OK - orders: {twice} | instances={MANY};*"));
    let out = monitor.check(["-t", "60s"]).run();
    out.assert_first(
        0,
        &format!("NATS_SERVICE OK - orders: {MANY} instances, slowest answer *s* | instances={MANY};*"),
    );
}

#[test]
#[ignore = "needs nats-server"]
fn statistics_of_ten_thousand_instances_are_requested() {
    let server = Server::start(Version::Newest);
    let _crowd = Crowd::start(&server.url(), "orders", MANY);
    let monitor = Monitor::new(server.url());
    for _ in 0..2 {
        let out = monitor.check(["--stats", "-t", "60s"]).run();
        out.assert_first(0, &format!("NATS_SERVICE OK - orders: {MANY} instances, *"));
    }
}

#[test]
fn instances_of_a_crowd_have_distinct_ids() {
    assert_eq!((0..MANY).map(crowd::id).collect::<BTreeSet<_>>().len(), MANY);
}
