//! The turnover of instances: rolling deployments, losses, crash loops, scaling, with the messages of real services.

use std::thread;
use std::time::{Duration, Instant};

use super::support::service::Builder;
use super::support::{Check, Metrics, Monitor, Output, Server, Service, TempDir, Version, raw, wait_for};

type Start = fn(&str, &str) -> Builder;

const PY: Start = Service::nats_py;
const RS: Start = Service::async_nats;

/// All that can be judged of it, as strictly as can be.
const STRICT: [&str; 4] = ["--lost-critical", "1", "--restarts-warning", "1"];

/// A service on a server, and somebody who checks it.
struct Stage {
    server: Server,
    monitor: Monitor,
    start: Start,
}

impl Stage {
    fn new(start: Start, version: Version) -> Stage {
        let server = Server::start(version);
        let monitor = Monitor::new(server.url());
        Stage { server, monitor, start }
    }

    fn start(&self, version: &str, pod: &str) -> Service {
        let service = (self.start)(&self.server.url(), "orders");
        service.version(version).metadata("pod", pod).start()
    }

    fn three(&self) -> Vec<Service> {
        (0..3).map(|n| self.start("1.0.0", &format!("orders-{n}"))).collect()
    }

    /// A run that sees newcomers, too, and at once takes whoever is gone for replaced.
    fn check(&self, flags: &[&str]) -> Output {
        self.monitor
            .check(["--census", "0", "--confirm", "0s"])
            .args(flags)
            .run()
    }

    /// Until the server knows that they are gone.
    fn kill(&self, service: Service) {
        let id = service.id().to_owned();
        service.kill();
        self.wait_until_gone(&id);
    }

    fn wait_until_gone(&self, id: &str) {
        wait_for("the server knows that it is gone", || {
            let asked = Instant::now();
            let replies = raw::ask(&self.server.url(), &format!("$SRV.PING.orders.{id}"), 1).ok()?;
            (replies.is_empty() && asked.elapsed() < Duration::from_millis(500)).then_some(())
        });
    }

    /// All is well, whatever is judged, and nobody speaks of those of before.
    #[track_caller]
    fn assert_quiet(&self, number: usize) {
        let instances = match number {
            1 => "1 instance".to_owned(),
            number => format!("{number} instances"),
        };
        let perfdata = format!("instances={number};;;0; * baseline=*;;;0; restarts=*");
        self.check(&STRICT).assert(
            0,
            &format!("NATS_SERVICE OK - orders: {instances}, slowest answer * | {perfdata}"),
        );
    }
}

/// Three are replaced one by one by a new version; each step is seen. With surge the new one comes first.
fn rolling_deployment(start: Start, server: Version, surge: bool) {
    let stage = Stage::new(start, server);
    let mut running = stage.three();
    stage.assert_quiet(3);
    for n in 0..3 {
        let pod = format!("orders-new-{n}");
        if surge {
            running.push(stage.start("2.0.0", &pod));
            stage.assert_quiet(4);
            stage.kill(running.remove(0));
        } else {
            let old = running.remove(0);
            let id = old.id().to_owned();
            stage.kill(old);
            // As long as one is missing, that is a loss; and it is told who.
            stage.check(&STRICT).assert(
                2,
                &format!(
                    "NATS_SERVICE CRITICAL - orders: 2 of 3 instances, 1 lost, critical from 1, gone: {id} (1.0.0, \
                     pod=orders-{n}) | instances=2;;;0; * baseline=3;;;0; restarts=0;0;;0;"
                ),
            );
            running.push(stage.start("2.0.0", &pod));
        }
        stage.assert_quiet(3);
    }
    // And it is over at once.
    let out = stage.check(&STRICT);
    assert_eq!(
        (out.perfdata("baseline"), out.perfdata("restarts")),
        (Some(3.0), Some(0.0))
    );
    stage
        .check(&["--format", "prometheus"])
        .assert_line("nats_service_restarts_total{service=\"orders\",nats=\"127.0.0.1:*\"} 0");
}

#[test]
#[ignore = "needs nats-server"]
fn a_rolling_deployment_is_neither_a_loss_nor_a_restart() {
    thread::scope(|scope| {
        for (start, version) in [(PY, Version::Newest), (RS, Version::V2_9)] {
            for surge in [true, false] {
                scope.spawn(move || rolling_deployment(start, version, surge));
            }
        }
    });
}

/// Where no run falls between, too.
#[test]
#[ignore = "needs nats-server"]
fn a_deployment_between_two_runs_is_no_news() {
    let stage = Stage::new(RS, Version::V2_10);
    let old = stage.three();
    stage.assert_quiet(3);
    let _new: Vec<Service> = (0..4).map(|n| stage.start("2.0.0", &format!("new-{n}"))).collect();
    old.into_iter().for_each(|service| stage.kill(service));
    stage.assert_quiet(4);
}

/// The same version again: each is a restart, whether one comes before or after the other goes.
#[test]
#[ignore = "needs nats-server"]
fn rolling_restart_counts_each_instance_once() {
    thread::scope(|scope| {
        for start in [PY, RS] {
            scope.spawn(move || {
                let stage = Stage::new(start, Version::Newest);
                let mut running = stage.three();
                stage.assert_quiet(3);
                for n in 0..3 {
                    stage.kill(running.remove(0));
                    running.push(stage.start("1.0.0", &format!("orders-new-{n}")));
                    let latest = running.last().unwrap().id().to_owned();
                    let restarts = if n == 0 { "1 restart".into() } else { format!("{} restarts", n + 1) };
                    stage.check(&["--lost-critical", "1", "--restarts-warning", "1"]).assert(
                        1,
                        &format!(
                            "NATS_SERVICE WARNING - orders: {restarts} within 15m, warning from 1, latest 0.0s ago: {latest} \
                             (1.0.0, pod=orders-new-{n}), 3 instances, slowest answer * | instances=3;;;0; * baseline=3;;;0; \
                             restarts={};0;;0;",
                            n + 1
                        ),
                    );
                }
            });
        }
    });
}

/// With surge nobody dies before somebody else is there; but seen between two runs, it is a restart.
#[test]
#[ignore = "needs nats-server"]
fn a_rolling_restart_with_surge_is_no_loss() {
    let stage = Stage::new(RS, Version::Newest);
    let mut running = stage.three();
    stage.assert_quiet(3);
    for n in 0..3 {
        running.push(stage.start("1.0.0", &format!("new-{n}")));
        stage.kill(running.remove(0));
        let out = stage.check(&["--lost-critical", "1", "--restarts-critical", "4"]);
        assert_eq!(
            (out.code, out.perfdata("baseline"), out.perfdata("restarts")),
            (Some(0), Some(3.0), Some(f64::from(n + 1))),
            "{out:?}"
        );
    }
}

/// A wildcard subscriber hides that instances are gone: restarts are presumed when they are silent for the second time.
#[test]
#[ignore = "needs nats-server"]
fn a_crash_loop_is_seen_though_a_wildcard_subscriber_hides_who_is_gone() {
    let stage = Stage::new(RS, Version::Newest);
    let other = Service::odd(&stage.server.url(), "other", 1, &["wild=1"]).start();
    let _steady: Vec<Service> = (0..2).map(|n| stage.start("1.0.0", &format!("orders-{n}"))).collect();
    let mut crashing = stage.start("1.0.0", "orders-2");
    let check = || stage.check(&["--restarts-warning", "2", "-v"]);
    let up = "3 instances, slowest answer *";
    check().assert_first(0, &format!("NATS_SERVICE OK - orders: {up} | *"));
    for n in 1..=3 {
        crashing.kill();
        crashing = stage.start("1.0.0", "orders-2");
        let out = check();
        // Those of before this run.
        assert_eq!(out.perfdata("restarts"), Some(f64::from(n - 1)), "{out:?}");
        match n {
            3 => out
                .assert_first(
                    1,
                    &format!(
                        "NATS_SERVICE WARNING - orders: 2 restarts within 15m, warning from 2, all at pod=orders-2, latest * \
                         ago: * (1.0.0, pod=orders-2) (presumed: a wildcard subscriber hides whether silent instances are \
                         gone), {up} | *"
                    ),
                )
                .assert_line("restart presumed *Z: * version 1.0.0 pod=orders-2 in place of *"),
            _ => out.assert_first(0, &format!("NATS_SERVICE OK - orders: {up} | *")),
        };
    }
    // Without it the server says it.
    other.kill();
    wait_for("the last restart is certain", || {
        let out = check();
        (out.perfdata("restarts") == Some(3.0)).then_some(out)
    })
    .assert_first(1, "NATS_SERVICE WARNING - orders: 3 restarts within 15m, warning from 2, all at pod=orders-2, * (2 of them presumed: *");
}

/// Beside a frozen instance, another one is started: where that cannot be told from a restart, the text says so; and what
/// answers again was not restarted.
#[test]
#[ignore = "needs nats-server"]
fn a_frozen_instance_beside_a_new_one_is_a_presumed_restart_only_if_its_end_is_hidden() {
    for hidden in [false, true] {
        let stage = Stage::new(RS, Version::Newest);
        let _other = hidden.then(|| Service::odd(&stage.server.url(), "other", 1, &["wild=1"]).start());
        let _steady = stage.start("1.0.0", "orders-0");
        let frozen = stage.start("1.0.0", "orders-1");
        let check = || stage.check(&["--restarts-warning", "1"]);
        check().assert_first(0, "NATS_SERVICE OK - orders: 2 instances, *");
        frozen.freeze();
        let _new = stage.start("1.0.0", "orders-2");
        check().assert_first(0, "NATS_SERVICE OK - orders: 2 instances, *");
        let second = check();
        match hidden {
            false => second.assert_first(0, "NATS_SERVICE OK - orders: 2 instances, *"),
            true => second.assert_first(
                1,
                "NATS_SERVICE WARNING - orders: 1 restart within 15m, *(presumed: a wildcard subscriber hides whether silent \
                 instances are gone)*",
            ),
        };
        frozen.thaw();
        wait_for("it answers again", || {
            let out = check();
            (out.perfdata("instances") == Some(3.0)).then_some(out)
        })
        .assert_first(
            0,
            "NATS_SERVICE OK - orders: 3 instances, slowest answer * | * restarts=0;0;;0;",
        );
    }
}

/// One of two dies and comes back, again and again, each time before the check looks.
#[test]
#[ignore = "needs nats-server"]
fn a_crash_loop_is_seen_though_all_are_there_at_every_run() {
    thread::scope(|scope| {
        for (start, version) in [(PY, Version::V2_9), (RS, Version::Newest)] {
            scope.spawn(move || crash_loop(start, version));
        }
    });
}

fn crash_loop(start: Start, version: Version) {
    let stage = Stage::new(start, version);
    let _steady = stage.start("1.0.0", "orders-0");
    let mut crashing = stage.start("1.0.0", "orders-1");
    let flags = [
        "--restarts-warning",
        "2",
        "--restarts-critical",
        "4",
        "--lost-critical",
        "1",
    ];
    let up = "2 instances, slowest answer * | instances=2;;;0; *";
    stage
        .check(&flags)
        .assert_first(0, &format!("NATS_SERVICE OK - orders: {up}"));
    for n in 1..=5 {
        let old = crashing.id().to_owned();
        stage.kill(crashing);
        crashing = stage.start("1.0.0", "orders-1");
        // The usual run sees it, too.
        let out = stage.monitor.check(flags).args(["--confirm", "0s", "-v"]).run();
        let (code, status, word, limit) = match n {
            1 => {
                let out = out.assert_first(0, &format!("NATS_SERVICE OK - orders: {up}"));
                assert_eq!(out.perfdata("restarts"), Some(1.0));
                continue;
            }
            2..4 => (1, "WARNING", "warning", 2),
            _ => (2, "CRITICAL", "critical", 4),
        };
        let id = crashing.id();
        out.assert_first(
            code,
            &format!(
                "NATS_SERVICE {status} - orders: {n} restarts within 15m, {word} from {limit}, all at pod=orders-1, latest 0.0s \
                 ago: {id} (1.0.0, pod=orders-1), {up} restarts={n};1;3;0;"
            ),
        )
        .assert_line(&format!("restart seen *Z: {id} version 1.0.0 pod=orders-1 in place of {old}"));
    }
    stage
        .check(&["--format", "prometheus"])
        .assert_line("nats_service_restarts_total{service=\"orders\",nats=\"127.0.0.1:*\"} 5");
    // When the window is over, so is the alarm; the number stays.
    let out = wait_for("the window is over", || {
        let out = stage.check(&["--restarts-window", "1s", "--restarts-warning", "1"]);
        (out.code == Some(0)).then_some(out)
    });
    assert_eq!(out.perfdata("restarts"), Some(0.0));
    let mut shown = stage.monitor.state("show").run();
    for line in [
        "5 restarts since the service is known",
        &format!(
            "arrived *Z (* ago): {} version 1.0.0 pod=orders-1 in place of *",
            crashing.id()
        ),
        "left *Z (* ago): * version 1.0.0 pod=orders-1",
    ] {
        shown = shown.assert_line(line);
    }
}

/// After a restart of NATS another one is there before the old one has connected again.
#[test]
#[ignore = "needs nats-server"]
fn one_that_connects_again_was_not_replaced() {
    let mut stage = Stage::new(RS, Version::Newest);
    let _steady = stage.start("1.0.0", "orders-0");
    // Connects again after 2 s.
    let slow = PY(&stage.server.url(), "orders").start();
    stage.assert_quiet(2);
    stage.server.stop();
    stage.server.start_again();
    let _new = stage.start("1.0.0", "orders-2");
    stage.server.wait_for_instances("orders", 2);
    let check = || {
        let out = stage.monitor.check(["--census", "0", "--restarts-warning", "1", "-v"]);
        let out = out.run().assert_first(0, "NATS_SERVICE OK - orders: *");
        assert_eq!(out.perfdata("restarts"), Some(0.0), "{out:?}");
        out
    };
    assert_eq!(check().perfdata("instances"), Some(2.0), "the slow one is away");
    wait_for("it is back", || {
        (check().perfdata("instances") == Some(3.0)).then_some(())
    });
    let metrics = stage.check(&["--format", "prometheus"]).stdout;
    let restarts = Metrics::parse(&metrics).of("orders", "nats_service_restarts_total");
    assert_eq!(restarts, Some(0.0));
    slow.kill();
}

#[test]
#[ignore = "needs nats-server"]
fn one_that_hung_and_was_then_killed_has_restarted_when_it_is_back() {
    let stage = Stage::new(PY, Version::Newest);
    let _steady = stage.start("1.0.0", "orders-0");
    let hung = stage.start("1.0.0", "orders-1");
    stage.assert_quiet(2);
    hung.freeze();
    let flags = ["--restarts-warning", "1"];
    let out = stage.check(&flags);
    assert_eq!((out.code, out.perfdata("restarts")), (Some(0), Some(0.0)), "{out:?}");
    // Another one comes, and it is only slow: no restart.
    let extra = stage.start("1.0.0", "orders-2");
    let out = stage.check(&flags);
    assert_eq!((out.code, out.perfdata("restarts")), (Some(0), Some(0.0)), "{out:?}");
    stage.kill(extra);
    stage.check(&flags);
    stage.kill(hung);
    let _back = stage.start("1.0.0", "orders-1");
    let out = stage.check(&flags);
    assert_eq!((out.code, out.perfdata("restarts")), (Some(1), Some(1.0)), "{out:?}");
}

#[test]
#[ignore = "needs nats-server"]
fn baseline_falls_at_once_to_the_largest_number_within_the_settle_time() {
    let stage = Stage::new(RS, Version::Newest);
    let four: Vec<Service> = (0..4).map(|n| stage.start("1.0.0", &format!("orders-{n}"))).collect();
    stage.assert_quiet(4);
    let mut left = four.into_iter();
    for number in [3, 2] {
        stage.kill(left.next().expect("one more"));
        stage.check(&["--lost-warning", "1"]).assert_first(
            1,
            &format!(
                "NATS_SERVICE WARNING - orders: {number} of 4 instances, {} lost*",
                4 - number
            ),
        );
    }
    // There were three for a short time: that number has settled, too.
    stage
        .check(&["--lost-warning", "1", "--baseline-settle", "1ms"])
        .assert_first(0, "NATS_SERVICE OK - orders: 2 instances, * baseline=2;;;0;*");
    stage
        .check(&["--lost-warning", "1"])
        .assert_first(0, "NATS_SERVICE OK - orders: 2 instances, * baseline=2;;;0;*");
}

#[test]
#[ignore = "needs nats-server"]
fn scaling_makes_no_restarts_and_a_smaller_size_settles() {
    let stage = Stage::new(RS, Version::Newest);
    let one = stage.start("1.0.0", "orders-0");
    stage.assert_quiet(1);
    let nine = (stage.start)(&stage.server.url(), "orders").count(9).start();
    stage.assert_quiet(10);
    let two = (stage.start)(&stage.server.url(), "orders").count(2).start();
    stage.assert_quiet(12);
    let ids = [nine.ids(), two.ids()].concat();
    drop((nine, two));
    ids.iter().for_each(|id| stage.wait_until_gone(id));
    // Nagios asks again and again before it tells anybody; that is what a loss is visible for.
    let flags = ["--lost-warning", "50%", "--restarts-warning", "1"];
    for since in ["", " for *s", " for *s"] {
        stage.check(&flags).assert_first(
            1,
            &format!(
                "NATS_SERVICE WARNING - orders: 1 of 12 instances, 11 lost{since}, warning from 50%, gone: * and 8 more | \
                 instances=1;;;0; * baseline=12;;;0; restarts=0;0;;0;"
            ),
        );
    }
    stage
        .monitor
        .state("show")
        .run()
        .assert_line("normally 12 instances, fewer since *Z (* ago)");
    // And then it is the usual number.
    let settle = [&flags[..], &["--baseline-settle", "2s"]].concat();
    let out = wait_for("it settles", || {
        let out = stage.check(&settle);
        (out.code == Some(0)).then_some(out)
    });
    assert_eq!(out.perfdata("baseline"), Some(1.0), "{out:?}");
    stage.assert_quiet(1);
    drop(one);
}

#[test]
#[ignore = "needs nats-server"]
fn an_outage_counts_its_restarts_when_it_is_over() {
    for start in [PY, RS] {
        let stage = Stage::new(start, Version::V2_10);
        let old = [stage.start("1.0.0", "orders-0"), stage.start("1.0.0", "orders-1")];
        stage.assert_quiet(2);
        old.into_iter().for_each(|service| stage.kill(service));
        let flags = ["--lost-warning", "1", "--restarts-warning", "1"];
        for _ in 0..2 {
            let down = stage.check(&flags);
            assert!(
                down.code == Some(2) && !down.first_line().contains("lost") && down.perfdata("restarts").is_none(),
                "{down:?}"
            );
        }
        let new = stage.start("1.0.0", "orders-0");
        stage.check(&flags).assert_first(
            1,
            &format!(
                "NATS_SERVICE WARNING - orders: 1 of 2 instances, 1 lost, warning from 1, gone: * (1.0.0, pod=orders-1), 1 restart \
                 within 15m, warning from 1, latest 0.0s ago: {} (1.0.0, pod=orders-0), 1 instance (had 2), recovered after * | \
                 instances=1;;;0; * baseline=2;;;0; restarts=1;0;;0;",
                new.id()
            ),
        );
    }
}

/// The instances are the same before and after; they come back one by one.
#[test]
#[ignore = "needs nats-server"]
fn a_restart_of_nats_is_none_of_its_services() {
    let mut stage = Stage::new(PY, Version::Newest);
    let url = stage.server.url();
    let _slow = (0..2)
        .map(|n| stage.start("1.0.0", &format!("orders-{n}")))
        .collect::<Vec<_>>();
    // Back after 0.1 s.
    let _fast = Service::async_nats(&url, "orders").start();
    stage.assert_quiet(3);
    for seen in [true, false, true, false] {
        stage.server.stop();
        if seen {
            let out = stage.check(&STRICT);
            assert_eq!(out.code, Some(3), "{out:?}");
        }
        stage.server.start_again();
        wait_for("the first one is back", || {
            (!raw::ping(&url, "orders", 1).ok()?.is_empty()).then_some(())
        });
        let out = stage.monitor.check(["--census", "0"]).args(STRICT).run();
        assert_eq!((out.code, out.perfdata("restarts")), (Some(0), Some(0.0)), "{out:?}");
        stage.server.wait_for_instances("orders", 3);
        stage.assert_quiet(3);
    }
    let out = stage.check(&["--format", "prometheus"]);
    let restarts = Metrics::parse(&out.stdout).of("orders", "nats_service_restarts_total");
    assert_eq!(restarts, Some(0.0));
}

/// A user who may not ask for an instance by its id cannot know that it is gone.
#[test]
#[ignore = "needs nats-server"]
fn without_the_permission_restarts_cannot_be_counted() {
    let server = Server::with_config(
        Version::Newest,
        r#"authorization { users: [{user: svc, password: svc}, {user: mon, password: s3cret, permissions: {
             publish: {allow: ["$SRV.PING.orders"]}, subscribe: {allow: ["_INBOX.>"]} }}] }"#,
    );
    let url = format!("nats://svc:svc@127.0.0.1:{}", server.port());
    let old = Service::async_nats(&url, "orders").start();
    let monitor = Monitor::new(server.url()).login(&["--user", "mon", "--password", "s3cret"]);
    monitor.check(["--restarts-warning", "1"]).run().assert_first(0, "*");
    let _new = Service::async_nats(&url, "orders").start();
    old.stop();
    wait_for("it is gone", || {
        (raw::ping(&url, "orders", 2).ok()?.len() == 1).then_some(())
    });
    monitor.check(["--restarts-warning", "1"]).run().assert_first(
        3,
        "NATS_SERVICE UNKNOWN - orders: restarts unknown: NATS at * does not let us publish to $SRV.PING.orders.*, add to \
         the user's permissions: publish: {allow: [\"$SRV.PING.orders.*\"]}, 1 instance, slowest answer * | *",
    );
    // Whoever does not ask for restarts, misses nobody: another one has taken the place.
    monitor.check([] as [&str; 0]).run().assert(
        0,
        "NATS_SERVICE OK - orders: 1 instance, slowest answer * | instances=1;;;0; *",
    );
}

#[test]
fn nonsensical_limits_are_reported() {
    let loss = |flag: &str, value: &str| {
        format!("--{flag}: '{value}' is neither a number of instances, like 1, nor a part of them from 1% to 100%")
    };
    let whole = |flag: &str, value: &str| format!("--{flag}: '{value}' is not a whole number from 1 to 100");
    let mut cases: Vec<(Vec<&str>, String)> = Vec::new();
    for flag in ["lost-warning", "lost-critical"] {
        for value in [
            "0",
            "-1",
            "101%",
            "0%",
            "1.5",
            "1.5%",
            "x",
            "",
            "%",
            "+1",
            "1 %",
            "99999999999999999999",
        ] {
            cases.push((vec![flag, value], loss(flag, value)));
        }
    }
    for flag in ["restarts-warning", "restarts-critical"] {
        for value in ["0", "-1", "101", "1.5", "x", "", "5%", "+1"] {
            cases.push((vec![flag, value], whole(flag, value)));
        }
    }
    cases.push((
        vec!["restarts-window", "25h"],
        "--restarts-window: it is longer than 1d, for which restarts are remembered".into(),
    ));
    for flag in ["restarts-window", "baseline-settle"] {
        cases.push((vec![flag, "0"], format!("--{flag}: it must be longer than 0")));
    }
    for (words, message) in cases {
        let value = format!("--{}={}", words[0], words[1]);
        Check::new(["-n", "orders", &value])
            .run()
            .assert(3, &format!("NATS_SERVICE UNKNOWN - {message} (see --help)"));
    }
    for flag in [
        "lost-warning",
        "lost-critical",
        "baseline-settle",
        "restarts-warning",
        "restarts-critical",
        "restarts-window",
    ] {
        let why = match flag.starts_with("restarts") {
            true => "a restart is seen between two runs, so something must be remembered, leave out --no-state",
            false => {
                "how many instances are normal is known from earlier runs, so something must be remembered, leave out --no-state, \
                 or give -w or -c"
            }
        };
        Check::new(["-n", "orders", "--no-state", &format!("--{flag}"), "1"])
            .run()
            .assert(3, &format!("NATS_SERVICE UNKNOWN - --{flag}: {why} (see --help)"));
    }
}

/// A file of before this is read without a word.
#[test]
#[ignore = "needs nats-server"]
fn a_state_of_an_earlier_program_is_good() {
    let stage = Stage::new(RS, Version::Newest);
    let running = stage.three();
    let dir = TempDir::new();
    let file = dir.join("state.json");
    let check = || stage.monitor.check(["--state", &file]).args(STRICT).run();
    check().assert_first(0, "*");
    let text = std::fs::read_to_string(&file).unwrap();
    let mut state: serde_json::Value = serde_json::from_str(&text).unwrap();
    state.as_object_mut().unwrap().remove("changes");
    state["baseline"] = serde_json::json!({"count": 3, "fewer": null});
    std::fs::write(&file, state.to_string()).unwrap();
    let mut running = running.into_iter();
    stage.kill(running.next().unwrap());
    check().assert_first(
        2,
        "NATS_SERVICE CRITICAL - orders: 2 of 3 instances, 1 lost, critical from 1, gone: * (1.0.0, pod=orders-0) | * \
         restarts=0;0;;0;",
    );
}
