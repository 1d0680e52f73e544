//! The main job: up, down, still down, recovered; with two independent services and all servers.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::support::service::Builder;
use super::support::{Fake, LIMIT, Monitor, Output, Server, Service, TempDir, Version, each};

/// Time that a full count waits for one more answer, in seconds.
const STALL: f64 = 0.3;

/// No more than this, in seconds, is a run without a wait: far above what it takes, and well below the stall.
const NO_WAIT: f64 = 0.25;

/// For runs that find nobody, where the confirmation is not what the test is about.
const SOON: [&str; 2] = ["--confirm", "50ms"];

/// For runs whose every line is looked at: on a busy machine an answer may be so late that a second asking is told.
const ONCE: [&str; 2] = ["--confirm", "0"];

// What follows `instances=…` in the perfdata.
const ANSWERED: &str = "rtt_max=0.*s;;;0; nats_rtt=* outage=0.000000s;;;0; probe=*s;;;0;";
const ABSENT: &str = "rtt_max=U nats_rtt=* outage=*s;;;0; probe=*s;;;0;";
const NOT_ASKED: &str = "instances=U rtt_max=U nats_rtt=U outage=*s;;;0; probe=*s;;;0;";

#[test]
#[ignore = "needs nats-server"]
fn nats_py_with_2_9() {
    up_down_still_down_recovered(Version::V2_9, Service::nats_py, Monitor::new);
}

#[test]
#[ignore = "needs nats-server"]
fn nats_py_with_the_newest() {
    up_down_still_down_recovered(Version::Newest, Service::nats_py, |url| Monitor::new(url).state_dir());
}

#[test]
#[ignore = "needs nats-server"]
fn async_nats_with_2_9() {
    up_down_still_down_recovered(Version::V2_9, Service::async_nats, |url| Monitor::new(url).state_dir());
}

#[test]
#[ignore = "needs nats-server"]
fn async_nats_with_the_newest() {
    up_down_still_down_recovered(Version::Newest, Service::async_nats, Monitor::new);
}

fn up_down_still_down_recovered(version: Version, start: fn(&str, &str) -> Builder, watch: fn(String) -> Monitor) {
    let mut server = Server::start(version);
    let url = server.url();
    let nats = format!("NATS {} at 127.0.0.1:{}", number(version), server.port());
    let monitor = watch(url.clone());
    let limits = ["-w", "3:", "-c", "1:"];
    let two = start(&url, "orders").count(2).start();
    let one = start(&url, "orders")
        .version("1.2.3")
        .metadata("pod", "orders-7")
        .start();

    // Three are up. The first run does not know how many to expect, and waits for one more.
    let line = format!("NATS_SERVICE OK - orders: 3 instances, slowest answer * | instances=3;3:;1:;0; {ANSWERED}");
    let first = monitor.check(limits).run().assert(0, &line);
    assert!(probe_time(&first) >= STALL, "{first:?}");
    let usual = quickest(|| monitor.check(limits).run().assert(0, &line));
    assert!(usual < NO_WAIT, "a usual run waited: {usual}");

    // One of three goes.
    let lost = one.id().to_owned();
    one.kill();
    server.wait_for_instances("orders", 2);
    let line = format!(
        "NATS_SERVICE WARNING - orders: 2 instances, fewer than 3 (range 3:), gone: * | instances=2;3:;1:;0; {ANSWERED}"
    );
    let [a, b] = sorted(two.ids());
    monitor.check(limits).args(ONCE).arg("-v").run().assert(
        1,
        &format!(
            "{line}\n\
             WARNING instances_out_of_range\n\
             OK service_up: 2 instances, slowest answer *\n\
             asked {nats}*\n\
             answered in *: {a} version 1.0.0\n\
             answered in *: {b} version 1.0.0\n\
             gone since *: {lost} version 1.2.3 pod=orders-7"
        ),
    );
    monitor.check(limits).run().assert(1, &line);

    // All of them are gone: the very next run says so.
    two.kill();
    server.wait_for_instances("orders", 0);
    let found = monitor.check(limits).args(SOON).arg("-v").run().assert(
        2,
        &format!(
            "NATS_SERVICE CRITICAL - orders: down, no responders, 2 instances until *s ago, {nats} is fine (*), last seen: * \
             | instances=0;3:;1:;0; {ABSENT}\n\
             CRITICAL service_down\n\
             asked {nats}, round trip *\n\
             asked 2 times\n\
             last seen *T*Z, missed since *T*Z\n\
             was there: {a} version 1.0.0\n\
             was there: {b} version 1.0.0"
        ),
    );

    // And again and again, so that Nagios reaches a HARD state.
    let mut outage = outage_of(&found);
    let still = format!(
        "NATS_SERVICE CRITICAL - orders: still down for *s, no responders, had 2 instances, {nats} is fine (*), last seen: * \
         | instances=0;3:;1:;0; {ABSENT}"
    );
    let mut still_down = || {
        let again = monitor.check(limits).args(SOON).run().assert(2, &still);
        assert!(outage_of(&again) > outage, "after {outage}: {again:?}");
        outage = outage_of(&again);
    };
    for _ in 0..10 {
        still_down();
    }

    // NATS goes as well. Nobody can tell now, and an outage that was seen is not over.
    server.stop();
    for since in ["", "\nNATS could not be asked since *T*Z: nats_unreachable"] {
        let blind = monitor.check(limits).arg("-v").run().assert(
            2,
            &format!(
                "NATS_SERVICE CRITICAL - orders: still down for *s, last answer from NATS *s ago, had 2 instances, last seen: *, \
                 cannot reach NATS at 127.0.0.1:{port}: connection refused (is nats-server running there?)* | \
                 {NOT_ASKED}\n\
                 CRITICAL service_down\n\
                 UNKNOWN nats_unreachable\n\
                 last seen *T*Z, missed since *T*Z\n\
                 was there: {a} version 1.0.0\n\
                 was there: {b} version 1.0.0{since}",
                port = server.port()
            ),
        );
        assert!(outage_of(&blind) > 0.0);
    }

    // NATS is back, the service is not.
    server.start_again();
    still_down();

    // The service is back, under new ids.
    let back = start(&url, "orders").count(3).start();
    let recovered = monitor.check(limits).args(ONCE).arg("-v").run();
    let [a, b, c] = sorted(back.ids());
    recovered.assert(
        0,
        &format!(
            "NATS_SERVICE OK - orders: 3 instances (had 2), recovered after *s | instances=3;3:;1:;0; {ANSWERED}\n\
             OK service_recovered\n\
             asked {nats}*\n\
             answered in *: {a} version 1.0.0\n\
             answered in *: {b} version 1.0.0\n\
             answered in *: {c} version 1.0.0"
        ),
    );

    // All is as it was, quick runs too.
    let line = format!("NATS_SERVICE OK - orders: 3 instances, slowest answer * | instances=3;3:;1:;0; {ANSWERED}");
    let usual = quickest(|| monitor.check(limits).run().assert(0, &line));
    assert!(usual < NO_WAIT, "a usual run waited: {usual}");
}

#[test]
#[ignore = "needs nats-server"]
fn each_v_adds_lines() {
    let server = Server::start(Version::Newest);
    let service = Service::async_nats(&server.url(), "orders").count(12).start();
    let monitor = Monitor::new(server.url());
    let first = format!("NATS_SERVICE OK - orders: 12 instances, slowest answer * | instances=12;;;0; {ANSWERED}\n");
    let found = "OK service_up\n";
    let asked = format!(
        "asked NATS {} at 127.0.0.1:{}*\n",
        number(server.version()),
        server.port()
    );
    let ids: [String; 12] = sorted(service.ids());
    let named = |ids: &[String]| -> String {
        ids.iter()
            .map(|id| format!("answered in *: {id} version 1.0.0\n"))
            .collect()
    };
    // The first run, a census, says it all as well as a usual one.
    monitor
        .check(ONCE)
        .arg("-v")
        .run()
        .assert(0, &format!("{first}{found}{asked}{}", named(&ids[..10])));
    monitor.check([""; 0]).run().assert(0, &first);
    monitor
        .check(ONCE)
        .arg("-v")
        .run()
        .assert(0, &format!("{first}{found}{asked}{}", named(&ids[..10])));
    let all = format!("{first}{found}{asked}{}", named(&ids));
    monitor.check(ONCE).arg("-vv").run().assert(0, &all);
    monitor.check(ONCE).args(["--verbose", "-v"]).run().assert(0, &all);

    let steps = monitor.check(ONCE).arg("-vvv").run();
    let (_, steps) = steps
        .stdout
        .split_at(steps.stdout.find("ms connecting").expect("steps"));
    // Equal ones in a row are one line.
    let replies = steps.lines().filter_map(|line| line.split_once("ms a reply, "));
    let times = replies.map(|(_, rest)| match rest.strip_suffix(" times") {
        Some(rest) => rest.rsplit(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0),
        None => 1,
    });
    assert_eq!(times.sum::<usize>(), 12, "{steps}");
    for step in [
        "connecting to 127.0.0.1:",
        "ms logged in\n",
        "ms asking $SRV.PING.orders\n",
    ] {
        assert!(steps.contains(step), "{steps}");
    }
}

#[test]
#[ignore = "needs nats-server"]
fn thresholds_add_up_and_the_worst_leads() {
    let server = Server::start(Version::Newest);
    let _service = Service::async_nats(&server.url(), "orders").count(3).start();
    // A folder in the place of the state file: remembering fails, which is UNKNOWN.
    let parent = TempDir::new();
    let folder = parent.join("state");
    fs::create_dir(&folder).expect("a folder");
    // Its text is told where no threshold tells the number.
    let up = "OK service_up*";
    let few = "3 instances, fewer than 4 (range 4:)";
    let too_few = "3 instances, fewer than 4 (range 4:)";
    let slow = "slow: an answer took *, warning above 0.00ms";
    let too_slow = "slow: an answer took *, critical above 0.00ms";
    let no_state = format!("the state {folder} is a folder, name a file");
    let no_state = no_state.as_str();
    let (warning, critical) = ("WARNING instances_out_of_range", "CRITICAL instances_out_of_range");
    let (slow_warning, slow_critical, unusable) = ("WARNING slow", "CRITICAL slow", "UNKNOWN state_unusable");
    let cases: &[(&[&str], i32, &str, &[&str])] = &[
        // flags; exit code; the first line's text; the findings
        (
            &["-w", "3:", "-c", "1:"],
            0,
            "OK - orders: 3 instances, slowest answer *",
            &[up],
        ),
        (
            &["-w", "3", "-c", "5"],
            0,
            "OK - orders: 3 instances, slowest answer *",
            &[up],
        ),
        (&["-w", "@4:9"], 0, "OK - orders: 3 instances, slowest answer *", &[up]),
        (
            &["--rtt-warning", "20s", "--rtt-critical", "30s"],
            0,
            "OK - orders: 3 instances, *",
            &[up],
        ),
        (&["-w", "4:"], 1, &format!("WARNING - orders: {few}"), &[warning, up]),
        (
            &["-w", "4:", "-c", "1:"],
            1,
            &format!("WARNING - orders: {few}"),
            &[warning, up],
        ),
        (
            &["-w", "2"],
            1,
            "WARNING - orders: 3 instances, more than 2 (range 2), for fewer than 2 write 2:",
            &["WARNING instances_out_of_range", up],
        ),
        (
            &["-c", "@3:3"],
            2,
            "CRITICAL - orders: 3 instances, exactly 3 (range @3:3)",
            &["CRITICAL instances_out_of_range", up],
        ),
        // Only the worse of two thresholds on one thing is told.
        (
            &["-w", "5:", "-c", "4:"],
            2,
            &format!("CRITICAL - orders: {too_few}"),
            &[critical, up],
        ),
        (
            &["--rtt-warning", "1us"],
            1,
            &format!("WARNING - orders: {slow}, 3 instances, slowest answer *"),
            &[slow_warning, up],
        ),
        (
            &["--rtt-warning", "1us", "--rtt-critical", "1us"],
            2,
            &format!("CRITICAL - orders: {too_slow}, 3 instances, slowest answer *"),
            &[slow_critical, up],
        ),
        // Two things at once: the worst first, whichever it is.
        (
            &["-w", "4:", "--rtt-warning", "1us"],
            1,
            &format!("WARNING - orders: {few}, {slow}"),
            &[warning, slow_warning, up],
        ),
        (
            &["-w", "4:", "--rtt-critical", "1us"],
            2,
            &format!("CRITICAL - orders: {too_slow}, {few}"),
            &[slow_critical, warning, up],
        ),
        (
            &["-c", "4:", "--rtt-warning", "1us"],
            2,
            &format!("CRITICAL - orders: {too_few}, {slow}"),
            &[critical, slow_warning, up],
        ),
        // UNKNOWN is worse than WARNING, and better than CRITICAL.
        (
            &["--state", &folder],
            3,
            &format!("UNKNOWN - orders: {no_state}, 3 instances, slowest answer *"),
            &[unusable, up],
        ),
        (
            &["--state", &folder, "-w", "4:"],
            3,
            &format!("UNKNOWN - orders: {no_state}, {few}"),
            &[unusable, warning, up],
        ),
        (
            &["--state", &folder, "-c", "4:"],
            2,
            &format!("CRITICAL - orders: {too_few}, {no_state}"),
            &[critical, unusable, up],
        ),
    ];
    each(cases, |(flags, code, text, findings)| {
        let monitor = Monitor::new(server.url());
        let limit = |flag: &str| {
            let at = flags.iter().position(|given| *given == flag)?;
            Some(flags[at + 1])
        };
        let seconds = |flag: &str| match limit(flag) {
            Some("1us") => "0.000001",
            Some(longer) => longer.trim_end_matches('s'),
            None => "",
        };
        let (warning, critical) = (limit("-w").unwrap_or_default(), limit("-c").unwrap_or_default());
        let (rtt_warning, rtt_critical) = (seconds("--rtt-warning"), seconds("--rtt-critical"));
        let perfdata = format!(
            "instances=3;{warning};{critical};0; rtt_max=0.*s;{rtt_warning};{rtt_critical};0; nats_rtt=* \
             outage=0.000000s;;;0; probe=*s;;;0;"
        );
        let out = monitor.check(*flags).args(ONCE).arg("-v").run();
        let details = "\nasked *\nanswered in *\nanswered in *\nanswered in *";
        let out = out.assert(
            *code,
            &format!("NATS_SERVICE {text} | {perfdata}\n{}{details}", findings.join("\n")),
        );
        assert_eq!(out.perfdata("instances"), Some(3.0));
    });
}

/// An answer is timed from when the request left, however late the probe gets to know of it.
#[test]
fn a_slow_service_is_up_and_slow() {
    let fake = Fake::start(|conn| {
        conn.handshake()?;
        loop {
            let request = conn.read_request()?;
            // The passing of time is what is tested: a slow answer.
            thread::sleep(Duration::from_millis(150));
            conn.reply(&request, br#"{"name":"orders","id":"A"}"#)?;
        }
    });
    let monitor = Monitor::new(fake.url());
    let slow = monitor
        .check(["--rtt-warning", "100ms", "--rtt-critical", "20s", "--confirm", "0"])
        .run()
        .assert(
            1,
            "NATS_SERVICE WARNING - orders: slow: an answer took *, warning above 100ms, 1 instance, slowest answer * \
         | instances=1;;;0; rtt_max=0.*s;0.1;20;0; nats_rtt=* outage=0.000000s;;;0; probe=*s;;;0;",
        );
    assert!(slow.perfdata("rtt_max").expect("an answer") >= 0.15);
}

#[test]
#[ignore = "needs nats-server"]
fn another_threshold_does_not_forget_the_outage() {
    let server = Server::start(Version::Newest);
    let service = Service::async_nats(&server.url(), "orders").count(3).start();
    let monitor = Monitor::new(server.url());
    monitor.check(["-w", "3:"]).run().assert(0, "NATS_SERVICE OK - *");
    service.kill();
    server.wait_for_instances("orders", 0);
    let down = monitor
        .check(SOON)
        .run()
        .assert(2, "NATS_SERVICE CRITICAL - orders: down, *");
    let mut outage = outage_of(&down);
    let others: [&[&str]; 7] = [
        &["-w", "2:", "-c", "1:"],
        &["-c", "@5:9"],
        &["--rtt-warning", "1s", "--rtt-critical", "2s"],
        &["--timeout", "5s", "--stall", "100ms", "--census", "1s"],
        &["--never-seen", "ok", "--unreachable", "ok", "--silent", "ok"],
        &["--forget-after", "1h"],
        &["-v"],
    ];
    for flags in others {
        let again = monitor.check(flags).args(["--confirm", "0"]).run();
        let again =
            again.assert_line("NATS_SERVICE CRITICAL - orders: still down for *s, no responders, had 3 instances*");
        assert_eq!(again.code, Some(2), "{again:?}");
        assert!(outage_of(&again) > outage, "after {outage}: {again:?}");
        outage = outage_of(&again);
    }
}

#[test]
#[ignore = "needs nats-server"]
fn an_outage_is_forgotten_only_after_forget_after() {
    let server = Server::start(Version::Newest);
    let service = Service::async_nats(&server.url(), "orders").count(3).start();
    let monitor = Monitor::new(server.url());
    let check = |flags: &[&str]| monitor.check(flags).args(["--confirm", "0"]).run();
    check(&[]).assert(0, "NATS_SERVICE OK - *");
    service.kill();
    server.wait_for_instances("orders", 0);

    // An outage has to be told before it can be forgotten.
    check(&["--forget-after", "1ms"]).assert(2, "NATS_SERVICE CRITICAL - orders: down, *");
    let still = "NATS_SERVICE CRITICAL - orders: still down for *s, no responders, had 3 instances, *";
    check(&["--forget-after", "1h"]).assert(2, still);
    check(&[]).assert(2, still);
    let forgotten = "no instance for longer than 0.0s (--forget-after): forgotten, had 3 instances";
    check(&["--forget-after", "1ms", "-c", "1:", "-v"]).assert(
        2,
        &format!(
            "NATS_SERVICE CRITICAL - orders: 0 instances, fewer than 1 (range 1:), {forgotten} | instances=0;;1:;0; \
             rtt_max=U nats_rtt=* outage=0.000000s;;;0; probe=*s;;;0;\n\
             CRITICAL instances_out_of_range\n\
             UNKNOWN service_never_seen\n\
             asked NATS *"
        ),
    );
    // From here on it is as if it had never been there; OK it is not.
    for _ in 0..2 {
        check(&[]).assert(
            3,
            "NATS_SERVICE UNKNOWN - orders: never seen in this account, no responders, *",
        );
    }
}

#[test]
#[ignore = "needs nats-server"]
fn the_state_can_be_shown_and_reset() {
    let server = Server::start(Version::Newest);
    let monitor = Monitor::new(server.url()).state_dir();
    let question = format!(
        "service orders under $SRV, asked at 127.0.0.1:{}\nstate file /*/state/orders-*.json",
        server.port()
    );
    monitor.state("show").run().assert(
        0,
        &format!("{question}\nnothing is remembered: no run has written it yet"),
    );
    monitor
        .state("reset")
        .run()
        .assert(0, "nothing to forget: there is no /*/state/orders-*.json");

    let service = Service::async_nats(&server.url(), "orders")
        .metadata("pod", "orders-0")
        .count(2)
        .start();
    let [a, b] = sorted(service.ids());
    let instances = format!("  {a} version 1.0.0 pod=orders-0\n  {b} version 1.0.0 pod=orders-0");
    monitor.check([""; 0]).run().assert(0, "NATS_SERVICE OK - *");
    monitor.state("show").run().assert(
        0,
        &format!(
            "{question}\nlast verdict OK\nlast answer *T*Z (*s ago), 2 instances\n{instances}\nno outage\n\
             last full count *T*Z (*s ago)\ncheck *T*Z: 2 instances"
        ),
    );

    service.kill();
    server.wait_for_instances("orders", 0);
    monitor
        .check(SOON)
        .run()
        .assert(2, "NATS_SERVICE CRITICAL - orders: down, *");
    // Also while NATS cannot be asked: it is a matter of the state alone.
    drop(server);
    monitor.check(SOON).run().assert(
        2,
        "NATS_SERVICE CRITICAL - orders: still down for *s, last answer from NATS *",
    );
    let shown = format!(
        "{question}\nlast verdict CRITICAL\nlast answer *T*Z (*s ago), 0 instances\noutage since *T*Z (*s ago)\n\
         last seen *T*Z (*s ago), 2 instances\n{instances}\nNATS could not be asked since *T*Z (*s ago): nats_unreachable\n\
         last full count *T*Z (*s ago)\ncheck *T*Z: 0 instances\ncheck *T*Z: 2 instances"
    );
    monitor.state("show").run().assert(0, &shown);
    // Showing changes nothing.
    monitor.state("show").run().assert(0, &shown);
}

#[test]
#[ignore = "needs nats-server"]
fn state_reset_ends_the_outage_without_an_ok() {
    let server = Server::start(Version::Newest);
    let service = Service::async_nats(&server.url(), "orders").start();
    let monitor = Monitor::new(server.url());
    monitor.check([""; 0]).run().assert(0, "NATS_SERVICE OK - *");
    service.kill();
    server.wait_for_instances("orders", 0);
    monitor
        .check(SOON)
        .run()
        .assert(2, "NATS_SERVICE CRITICAL - orders: down, *");
    monitor.state("reset").run().assert(0, "forgotten: /*/orders-*.json");
    monitor.state("show").run().assert(
        0,
        "service orders *\nstate file *\nnothing is remembered: no run has written it yet",
    );
    for _ in 0..2 {
        monitor.check(SOON).arg("-v").run().assert(
            3,
            &format!(
                "NATS_SERVICE UNKNOWN - orders: never seen in this account, no responders, no service at all \
                 answers here: is this the right account, and --srv-prefix? \
                 | instances=0;;;0; {ABSENT}\n\
                 UNKNOWN service_never_seen\n\
                 asked NATS *\n\
                 asked 2 times"
            ),
        );
    }
    let _service = Service::async_nats(&server.url(), "orders").start();
    monitor
        .check([""; 0])
        .run()
        .assert(0, "NATS_SERVICE OK - orders: 1 instance, slowest answer * | *");
}

/// A run waits for unknown instances only where it has a reason to.
#[test]
#[ignore = "timed: tests/run.sh runs it alone"]
fn timed_full_count_is_taken_when_it_is_due() {
    let server = Server::start(Version::Newest);
    let service = Service::async_nats(&server.url(), "orders").count(2).start();
    let leaver = Service::async_nats(&server.url(), "orders").start();
    let monitor = Monitor::new(server.url());
    let check = |flags: &[&str]| monitor.check(flags).run();
    let waited = |out: Output| assert!(probe_time(&out) >= STALL, "no census: {out:?}");
    let three = "NATS_SERVICE OK - orders: 3 instances, slowest answer *";
    // The first run.
    waited(check(&[]).assert(0, three));
    assert!(quickest(|| check(&[]).assert(0, three)) < NO_WAIT);
    // The latest one was too long ago.
    waited(check(&["--census", "1ms"]).assert(0, three));
    assert!(quickest(|| check(&["--census", "1h"]).assert(0, three)) < NO_WAIT);
    // The latest verdict was not OK.
    check(&["-w", "4:"]).assert(1, "NATS_SERVICE WARNING - *");
    waited(check(&[]).assert(0, three));
    assert!(quickest(|| check(&[]).assert(0, three)) < NO_WAIT);
    // A known instance does not answer.
    leaver.kill();
    server.wait_for_instances("orders", 2);
    let two = "NATS_SERVICE OK - orders: 2 instances, slowest answer *";
    waited(check(&[]).assert(0, two));
    // And it has no successor yet.
    waited(check(&["--census", "1h"]).assert(0, two));
    // And --stall says for how long.
    let short = quickest(|| check(&["--census", "0", "--stall", "50ms"]).assert(0, two));
    assert!((0.05..NO_WAIT).contains(&short), "{short}");
    service.kill();
    server.wait_for_instances("orders", 0);
    check(&SOON).assert(2, "NATS_SERVICE CRITICAL - orders: down, *");
    let _back = Service::async_nats(&server.url(), "orders").count(2).start();
    waited(check(&[]).assert(0, "NATS_SERVICE OK - orders: 2 instances, recovered after *"));
}

/// One that answers after all that are known have: a usual run does not wait for it, the next census does.
#[test]
fn slow_newcomer_is_found_by_the_next_full_count() {
    let newcomer = Arc::new(AtomicBool::new(false));
    let there = Arc::clone(&newcomer);
    let fake = Fake::start(move |conn| {
        conn.handshake()?;
        loop {
            let request = conn.read_request()?;
            conn.reply(&request, br#"{"name":"orders","id":"A"}"#)?;
            if there.load(Ordering::SeqCst) {
                // The passing of time is what is tested: a slow newcomer.
                thread::sleep(Duration::from_millis(50));
                conn.reply(&request, br#"{"name":"orders","id":"SLOW"}"#)?;
            }
        }
    });
    let monitor = Monitor::new(fake.url());
    let check = |flags: &[&str]| monitor.check(flags).run();
    check(&[]).assert(0, "NATS_SERVICE OK - orders: 1 instance, *");
    newcomer.store(true, Ordering::SeqCst);
    check(&[]).assert(0, "NATS_SERVICE OK - orders: 1 instance, *");
    check(&["--census", "0"]).assert(0, "NATS_SERVICE OK - orders: 2 instances, *");
    // Now it is known, and waited for.
    check(&[]).assert(0, "NATS_SERVICE OK - orders: 2 instances, *");
}

/// A known instance that is slow is waited for: it is not lost, and no warning is due.
#[test]
fn a_known_instance_may_be_late() {
    let delay = Arc::new(AtomicU64::new(0));
    let late = Arc::clone(&delay);
    let fake = Fake::start(move |conn| {
        conn.handshake()?;
        let request = conn.read_request()?;
        conn.reply(&request, br#"{"name":"orders","id":"A"}"#)?;
        // The passing of time is what is tested: an answer that is late.
        thread::sleep(Duration::from_millis(late.load(Ordering::SeqCst)));
        conn.reply(&request, br#"{"name":"orders","id":"B"}"#)?;
        conn.hold(LIMIT)
    });
    let monitor = Monitor::new(fake.url());
    let line = "NATS_SERVICE OK - orders: 2 instances, slowest answer * | instances=2;2:;;0; *";
    monitor.check(["-w", "2:"]).run().assert(0, line);
    delay.store(200, Ordering::SeqCst);
    let late = monitor.check(["-w", "2:"]).run().assert(0, line);
    assert!(late.perfdata("rtt_max").expect("an answer") >= 0.2, "{late:?}");
}

fn number(version: Version) -> &'static str {
    match version {
        Version::V2_9 => "2.9.*",
        Version::V2_10 => "2.10.*",
        _ => "2.*",
    }
}

fn sorted<const N: usize>(ids: &[String]) -> [String; N] {
    let mut ids = ids.to_vec();
    ids.sort();
    ids.try_into().expect("that many instances")
}

#[track_caller]
fn probe_time(out: &Output) -> f64 {
    out.perfdata("probe").expect("a probe always takes time")
}

/// In how many seconds the quickest of a few runs asked: that of each could be held up by the machine.
#[track_caller]
fn quickest(run: impl Fn() -> Output) -> f64 {
    (0..3).map(|_| probe_time(&run())).fold(f64::MAX, f64::min)
}

#[track_caller]
fn outage_of(out: &Output) -> f64 {
    out.perfdata("outage").expect("it is always known")
}
