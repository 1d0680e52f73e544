//! The versions of the instances: as required (`--expect-version`), and all the same but for a rollout (`--mixed-versions`).

use check_nats_service::values::timestamp::Timestamp;
use serde_json::json;

use super::support::raw::wait_until_gone;
use super::support::{Check, Fake, Metrics, Monitor, Server, Service, TempDir, Version, each};

/// The check of this server, which expects `^1.4`.
fn expects(url: &str) -> Check {
    Check::new(["-s", url, "-n", "orders", "--expect-version", "^1.4"])
}

#[test]
#[ignore = "needs nats-server"]
fn an_instance_of_another_version_is_named() {
    each(Version::ALL, |version| {
        let server = Server::start(version);
        let monitor = Monitor::new(server.url());
        let new = Service::async_nats(&server.url(), "orders").version("1.4.2").start();
        let js = Service::nats_js(&server.url(), "orders").version("1.5.0").start();
        let run = |requirement: &str| monitor.check(["--expect-version", requirement, "-v"]).run();
        let up = "NATS_SERVICE OK - orders: 2 instances, slowest answer * | instances=2;;;0; *";
        run("^1.4").assert_first(0, up);
        run(">=1.4.2, <2").assert_first(0, up);

        let old = Service::nats_py(&server.url(), "orders")
            .version("1.3.9")
            .metadata("pod", "web-7");
        let old = old.start();
        let text = format!(
            "1 of 3 instances is not of version ^1.4: {} (1.3.9, pod=web-7)",
            old.id()
        );
        // A newcomer is heard by a census.
        let out = monitor.check(["--expect-version", "^1.4", "--census", "0", "-v"]).run();
        let line = format!("NATS_SERVICE WARNING - orders: {text}, 3 instances, slowest answer * | instances=3;;;0; *");
        out.assert_first(1, &line)
            .assert_finding(&format!("WARNING version_unexpected: {text}"));
        // As long as it is there.
        run("^1.4").assert_first(1, &line);
        monitor
            .check([""; 0])
            .run()
            .assert_first(0, "NATS_SERVICE OK - orders: 3 instances, *");
        // A bare number is the same.
        run("1.4").assert_first(1, &line);
        run("~1.5").assert_first(
            1,
            "NATS_SERVICE WARNING - orders: 2 of 3 instances are not of version ~1.5: *",
        );
        // It leads only where nothing is worse.
        let worse = monitor.check(["--expect-version", "^1.4", "-c", "9:"]).run();
        let line = format!("NATS_SERVICE CRITICAL - orders: 3 instances, fewer than 9 (range 9:), {text} | *");
        worse.assert_first(2, &line);

        let id = old.id().to_owned();
        old.stop();
        wait_until_gone(&server.url(), &id);
        run("^1.4").assert_first(
            0,
            "NATS_SERVICE OK - orders: 2 instances, slowest answer *, gone: * | *",
        );
        // Nobody has a version where nobody is.
        js.stop();
        new.stop();
        server.wait_for_instances("orders", 0);
        let down = monitor.check(["--expect-version", "^9", "--confirm", "100ms"]).run();
        down.assert_first(
            2,
            "NATS_SERVICE CRITICAL - orders: down, no responders, 2 instances until *",
        );
    });
}

/// A pre-release is matched by a requirement that names one of the same numbers only; a build does not count.
#[test]
#[ignore = "needs nats-server"]
fn pre_releases_and_builds_are_matched_as_documented() {
    let server = Server::start(Version::Newest);
    let url = server.url();
    let build = format!("1.4.0+{}", "c0ffee".repeat(12));
    let instances = ["1.4.0-rc.1", &build].map(|version| {
        let service = Service::async_nats(&url, "orders").version(version);
        service.start()
    });
    let run = |requirement: &str| {
        let check = Check::new([
            "-s",
            &url,
            "-n",
            "orders",
            "--no-state",
            "--expect-version",
            requirement,
        ]);
        check.run()
    };
    let one = |requirement: &str, id: &str| {
        let line =
            format!("NATS_SERVICE WARNING - orders: 1 of 2 instances is not of version {requirement}: {id} (*), *");
        run(requirement).assert_first(1, &line);
    };
    one("^1.4", instances[0].id());
    one("*", instances[0].id());
    one("=1.4.0-rc.1", instances[1].id());
    run(">=1.4.0-rc.1").assert_first(0, "NATS_SERVICE OK - *");
    run("=1.4.0-rc.2").assert_first(
        1,
        "NATS_SERVICE WARNING - orders: 2 of 2 instances are not of version =1.4.0-rc.2: *",
    );
}

/// A server where the instances A, B, ... answer, each with what stands here in the place of its version.
fn with_versions(versions: &[serde_json::Value]) -> Fake {
    let replies: Vec<String> = ('A'..='Z')
        .zip(versions)
        .map(|(id, version)| json!({"name": "orders", "id": id.to_string(), "version": version}).to_string())
        .collect();
    Fake::start(move |conn| {
        conn.handshake()?;
        loop {
            let request = conn.read_request()?;
            for reply in &replies {
                conn.reply(&request, reply.as_bytes())?;
            }
        }
    })
}

#[test]
fn a_version_that_is_not_semantic_is_reported() {
    let cases = [
        (json!(null), "A (no version)"),
        (json!(""), "A (no version)"),
        (json!(["1.4.0"]), "A (no version)"),
        (json!("v1.4.0"), "A (v1.4.0 is no semantic version)"),
        (json!("1.4"), "A (1.4 is no semantic version)"),
        (json!("latest"), "A (latest is no semantic version)"),
        (json!("1.4.0|up=1\nOK"), "A (1.4.0?up=1?OK is no semantic version)"),
        (json!(" 1.4.0"), "A ( 1.4.0 is no semantic version)"),
    ];
    for (version, who) in cases {
        let fake = with_versions(&[version, json!("1.4.0")]);
        expects(&fake.url()).run().assert_first(
            1,
            &format!(
                "NATS_SERVICE WARNING - orders: 1 of 2 instances is not of version ^1.4: {who}, 2 instances, * | *"
            ),
        );
    }
    // However many and however long they are, it is one short line.
    let fake = with_versions(&vec![json!("x".repeat(10_000)); 26]);
    let out = expects(&fake.url()).run().assert_first(
        1,
        "NATS_SERVICE WARNING - orders: 26 of 26 instances are not of version ^1.4: A (xxx*xxx... is no semantic version), *, \
         C (*) and 23 more, 26 instances, * | *",
    );
    assert!(out.stdout.len() < 1024, "{out:?}");
}

#[test]
fn a_bad_requirement_is_one_line() {
    for (requirement, why) in [
        ("", "unexpected end of input while parsing major version number"),
        ("latest", "unexpected character 'l' while parsing major version number"),
        (">=1.2 <2", "expected comma after minor version number, found '<'"),
        ("1.2 - 2", "expected comma after minor version number, found '-'"),
        ("^1.4\nOK", "expected comma after minor version number, found '\\n'"),
    ] {
        let problem = format!(
            "--expect-version: '{}' is no requirement on versions like ^1.4, ~1.4.2 or '>=1.2, <2': {why} (see --help)",
            requirement.replace('\n', "?")
        );
        let args = ["-n", "orders", "--expect-version", requirement];
        Check::new(args)
            .run()
            .assert(3, &format!("NATS_SERVICE UNKNOWN - {problem}"));
        for mode in [&["watch"][..], &["textfile", "-o", "/nowhere/orders.prom"]] {
            let out = Check::new(mode).args(args).run();
            out.assert_stderr(3, "", &format!("check_nats_service: {problem}"));
        }
    }
    let probe = Check::new([
        "probe",
        "liveness",
        "-n",
        "orders",
        "--expect-version",
        "^1.4",
        "--any-instance",
    ]);
    let stderr = "check_nats_service: unexpected argument '--expect-version' found* (see --help)";
    probe.run().assert_stderr(3, "", stderr);
}

/// The same in metrics and as JSON.
#[test]
#[ignore = "needs nats-server"]
fn other_outputs_tell_it_too() {
    let server = Server::start(Version::Newest);
    let _old = Service::async_nats(&server.url(), "orders").version("1.3.0").start();
    let out = expects(&server.url()).args(["--format", "json"]).run();
    let object: serde_json::Value = serde_json::from_str(&out.stdout).unwrap();
    assert_eq!(object["reason"], "version_unexpected");
    assert_eq!(
        (&object["status"], object["findings"].as_array().unwrap().len()),
        (&json!("WARNING"), 2)
    );

    let dir = TempDir::new();
    let file = dir.join("orders.prom");
    let flags = [
        "textfile",
        "-n",
        "orders",
        "-s",
        &server.url(),
        "--expect-version",
        "^1.4",
        "-o",
        &file,
    ];
    Check::new(flags).home(&dir).run().assert(0, "");
    let metrics = Metrics::parse(&std::fs::read_to_string(&file).unwrap());
    assert_eq!(metrics.reasons("orders"), ["version_unexpected", "service_up"]);
    assert_eq!(metrics.of("orders", "nats_service_status"), Some(1.0));
}

/// Memory of a service, in a file that the test can look into.
struct Remembered(String);

impl Remembered {
    fn value(&self) -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(&self.0).unwrap()).unwrap()
    }

    /// Since when the versions are mixed.
    fn since(&self) -> Option<Timestamp> {
        let value = self.value();
        let since = value.get("mixed_since").expect("the field is always there");
        (!since.is_null()).then(|| Timestamp::parse(since.as_str().unwrap()).unwrap())
    }

    /// They have been so for that many minutes.
    fn set_minutes(&self, minutes: i64) {
        let mut value = self.value();
        assert!(!value["mixed_since"].is_null(), "{value}");
        let micros = Timestamp::now().as_micros() - minutes * 60_000_000;
        value["mixed_since"] = Timestamp::from_micros(micros).to_string().into();
        std::fs::write(&self.0, value.to_string()).unwrap();
    }
}

#[test]
#[ignore = "needs nats-server"]
fn a_stuck_rollout_is_reported_after_the_settle_time() {
    each(Version::ALL, |version| {
        let mut server = Server::start(version);
        let url = server.url();
        let home = TempDir::new();
        let state = Remembered(home.join("state.json"));
        let monitor = Monitor::new(&url).login(&["--state", &state.0]);
        let run = |flags: &[&str]| {
            let usual = [
                "--census",
                "0",
                "--confirm",
                "300ms",
                "--mixed-versions",
                "warning",
                "-v",
            ];
            monitor.check([&usual[..], flags].concat()).run()
        };
        let start = |version: &str| Service::async_nats(&url, "orders").version(version).start();
        let ok = |instances: &str| format!("NATS_SERVICE OK - orders: {instances}, slowest answer * | instances=*");
        let _old = [start("1.3.9"), start("1.3.9")];
        run(&[]).assert_first(0, &(ok("2 instances") + " versions=1;;;0;"));
        assert_eq!(state.since(), None);

        // A rolling deployment is nothing to complain of.
        let new = Service::nats_py(&url, "orders").version("1.4.0").start();
        let rolling = ok("3 instances") + " versions=2;;;0;";
        let since = "versions mixed since 20*Z: 2 of 1.3.9, 1 of 1.4.0";
        run(&[]).assert_first(0, &rolling).assert_line(since);
        let began = state.since().expect("they are mixed");
        run(&[]).assert_first(0, &rolling).assert_line(since);
        assert_eq!(state.since(), Some(began), "it began once");
        state.set_minutes(14);
        run(&[]).assert_first(0, &rolling);

        // It is, when it does not end.
        state.set_minutes(20);
        let text = "mixed versions for 20m*: 2 of 1.3.9, 1 of 1.4.0 (is a rollout stuck?)";
        let line = format!("orders: {text}, 3 instances, slowest answer * | *");
        run(&[])
            .assert_first(1, &format!("NATS_SERVICE WARNING - {line}"))
            .assert_line(since);
        let critical = monitor.check(["--mixed-versions", "critical"]).run();
        critical.assert_first(2, &format!("NATS_SERVICE CRITICAL - {line}"));
        // Nobody is told who has not asked.
        let plain = monitor.check([""; 0]).run();
        assert!(!plain.stdout.contains("versions") && plain.code == Some(0), "{plain:?}");
        let shown = monitor.state("show").run();
        assert!(shown.stdout.contains("\nversions mixed since 20"), "{shown:?}");

        // A run that cannot ask knows nothing new.
        server.stop();
        run(&[]).assert_first(
            3,
            "NATS_SERVICE UNKNOWN - orders: cannot reach NATS at *: connection refused * | *versions=U",
        );
        assert!(state.since().is_some());
        server.start_again();
        server.wait_for_instances("orders", 3);
        run(&[]).assert_first(1, &format!("NATS_SERVICE WARNING - {line}"));

        // An instance that hangs is still there.
        new.freeze();
        let alone =
            "NATS_SERVICE OK - orders: 2 instances, slowest answer *, not answering: * (1.4.0) | *versions=1;;;0;";
        run(&[]).assert_first(0, alone);
        assert!(state.since().is_some());
        new.thaw();
        server.wait_for_instances("orders", 3);
        run(&[]).assert_first(1, &format!("NATS_SERVICE WARNING - {line}"));

        // One version: it has ended, and the next one begins anew.
        let id = new.id().to_owned();
        new.stop();
        wait_until_gone(&url, &id);
        run(&[]).assert_first(
            0,
            "NATS_SERVICE OK - orders: 2 instances, slowest answer *, gone: * (1.4.0) | *versions=1;;;0;",
        );
        assert_eq!(state.since(), None);
        let _newer = start("1.5.0");
        run(&[]).assert_first(0, &rolling);
        assert!(state.since() > Some(began));
    });
}

#[test]
#[ignore = "needs nats-server"]
fn builds_of_one_version_are_told_apart_by_their_metadata() {
    let server = Server::start(Version::Newest);
    let url = server.url();
    let home = TempDir::new();
    let state = Remembered(home.join("state.json"));
    let monitor = Monitor::new(&url).login(&["--state", &state.0]);
    let flags = [
        "--mixed-versions",
        "warning",
        "--mixed-metadata",
        "commit",
        "--mixed-metadata",
        "image",
        "-v",
    ];
    let run = || monitor.check(flags).run();
    let start = |commit: &str| Service::nats_py(&url, "orders").metadata("commit", commit).start();
    let _old = start("8a3f");
    run()
        .assert_first(0, "NATS_SERVICE OK - orders: 1 instance, * versions=1;;;0;")
        .assert_line("no instance has image in its metadata");
    let _new = start("9b21");
    let builds = "1 of 1.0.0 commit=8a3f without image, 1 of 1.0.0 commit=9b21 without image";
    monitor.check(["--census", "0"]).args(flags).run();
    run().assert_line(&format!("versions mixed since 20*Z: {builds}"));
    state.set_minutes(16);
    run().assert_first(
        1,
        &format!("NATS_SERVICE WARNING - orders: mixed versions for 16m*: {builds} (is a rollout stuck?), 2 instances, * versions=2;;;0;"),
    );
    monitor
        .check(["--mixed-versions", "warning"])
        .run()
        .assert_first(0, "NATS_SERVICE OK - orders: 2 instances, * versions=1;;;0;");
    monitor.check(["--mixed-metadata", "commit"]).run().assert(
        3,
        "NATS_SERVICE UNKNOWN - --mixed-metadata: give a status with --mixed-versions, too*",
    );
}

#[test]
#[ignore = "needs nats-server"]
fn an_outage_ends_a_mix() {
    let server = Server::start(Version::Newest);
    let url = server.url();
    let home = TempDir::new();
    let state = Remembered(home.join("state.json"));
    let monitor = Monitor::new(&url).login(&[
        "--state",
        &state.0,
        "--mixed-versions",
        "critical",
        "--confirm",
        "100ms",
    ]);
    let start = || {
        let versions = ["1.3.9", "1.4.0"];
        versions.map(|version| Service::async_nats(&url, "orders").version(version).start())
    };
    let services = start();
    monitor.check([""; 0]).run().assert_first(0, "NATS_SERVICE OK - *");
    state.set_minutes(20);
    services.into_iter().for_each(Service::stop);
    server.wait_for_instances("orders", 0);
    let down = monitor.check([""; 0]).run();
    let line =
        "NATS_SERVICE CRITICAL - orders: down, no responders, 2 instances until * ago, NATS * | *versions=0;;;0;";
    down.assert_first(2, line);
    assert_eq!(state.since(), None);
    let _services = start();
    let recovered = monitor.check([""; 0]).run();
    recovered.assert_first(
        0,
        "NATS_SERVICE OK - orders: 2 instances, recovered after * | *versions=2;;;0;",
    );
}

#[test]
fn without_a_state_nobody_knows_since_when() {
    let problem = "--mixed-versions: without a state nobody knows since when versions are mixed, leave out --no-state (see --help)";
    let args = ["-n", "orders", "--no-state", "--mixed-versions", "warning"];
    Check::new(args)
        .run()
        .assert(3, &format!("NATS_SERVICE UNKNOWN - {problem}"));
    let watch = Check::new(["watch"]).args(args).run();
    watch.assert_stderr(3, "", &format!("check_nats_service: {problem}"));
    Check::new(["-n", "orders", "--mixed-versions", "bad"]).run().assert(
        3,
        "NATS_SERVICE UNKNOWN - --mixed-versions: 'bad' is not a status: ok, warning, unknown or critical (see --help)",
    );
}

/// A crowd of versions is one short line, and a state of the usual size.
#[test]
fn however_many_versions_there_are_the_line_is_short() {
    let versions: Vec<serde_json::Value> = (0..26).map(|n| json!(format!("{n}{}", "x".repeat(9_000)))).collect();
    let fake = with_versions(&versions);
    let home = TempDir::new();
    let state = Remembered(home.join("state.json"));
    let monitor = Monitor::new(fake.url()).login(&["--state", &state.0, "--mixed-versions", "warning"]);
    monitor
        .check([""; 0])
        .run()
        .assert_first(0, "NATS_SERVICE OK - *versions=26;;;0;");
    state.set_minutes(16);
    let out = monitor.check([""; 0]).run().assert_first(
        1,
        "NATS_SERVICE WARNING - orders: mixed versions for 16m*: 1 of 0xxx*xxx..., 1 of 10xxx*xxx..., 1 of 11xxx*xxx... and 23 \
         more (is a rollout stuck?), 26 instances, * | *",
    );
    assert!(out.stdout.len() < 700, "{out:?}");
}
