//! The formats that are not for Nagios: one JSON object in every case, a text for people, and metrics on stdout.

use check_nats_service::values::timestamp::Timestamp;
use serde_json::{Value, json};

use crate::support::{
    Blackhole, Check, Fake, LIMIT, Metrics, Monitor, Output, Server, Service, TempDir, Version, wait_for,
};

/// Nothing listens there.
const NOWHERE: &str = "nats://127.0.0.1:1";

const JSON: [&str; 4] = ["--format", "json", "--confirm", "50ms"];

/// The object that a run has printed: on one line, with nothing beside it, and with its own exit code in it.
#[track_caller]
fn object(out: &Output) -> Value {
    assert_eq!(out.stderr, "", "{out:?}");
    assert!(
        out.stdout.ends_with('\n') && out.stdout.matches('\n').count() == 1,
        "{out:?}"
    );
    let object: Value = serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}: {out:?}"));
    assert_eq!(object["exit_code"], json!(out.code), "{out:?}");
    let code = match object["status"].as_str() {
        Some("OK") => 0,
        Some("WARNING") => 1,
        Some("CRITICAL") => 2,
        _ => 3,
    };
    assert_eq!(out.code, Some(code), "{out:?}");
    // What leads is the first of the findings.
    for key in ["status", "reason", "text"] {
        assert_eq!(object[key], object["findings"][0][key], "{out:?}");
    }
    assert!(moment(&object["time"]) <= Timestamp::now(), "{out:?}");
    object
}

#[track_caller]
fn moment(value: &Value) -> Timestamp {
    let text = value.as_str().unwrap_or_else(|| panic!("no time: {value}"));
    Timestamp::parse(text).unwrap_or_else(|| panic!("no RFC 3339: {value}"))
}

#[track_caller]
fn ids(value: &Value) -> Vec<&str> {
    let instances = value.as_array().unwrap_or_else(|| panic!("no list: {value}"));
    let mut ids: Vec<&str> = instances.iter().map(|i| i["id"].as_str().expect("an id")).collect();
    ids.sort();
    ids
}

fn sorted(ids: &[String]) -> Vec<&str> {
    let mut ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    ids.sort();
    ids
}

fn reasons(object: &Value) -> Vec<&str> {
    let findings = object["findings"].as_array().expect("findings");
    findings
        .iter()
        .map(|f| f["reason"].as_str().expect("a reason"))
        .collect()
}

#[test]
#[ignore = "needs nats-server"]
fn json_follows_an_outage_from_begin_to_end() {
    let mut server = Server::start(Version::Newest);
    let url = server.url();
    let monitor = Monitor::new(url.clone());
    let run = || object(&monitor.check(JSON).run());
    let two = Service::async_nats(&url, "orders").count(2).start();
    let one = Service::async_nats(&url, "orders")
        .version("1.2.3")
        .metadata("pod", "orders-7")
        .start();
    let address = format!("127.0.0.1:{}", server.port());

    let up = run();
    assert_eq!((&up["service"], &up["status"]), (&json!("orders"), &json!("OK")));
    assert_eq!(reasons(&up), ["service_up"]);
    assert_eq!([&up["asked"], &up["up"]], [&json!(true), &json!(true)]);
    assert_eq!([&up["instances"], &up["baseline_instances"]], [3, 3]);
    // Another one on a busy machine.
    assert!(up["rounds"].as_u64().is_some_and(|rounds| rounds >= 1), "{up}");
    let answers = up["answers"].as_array().unwrap();
    let seventh = answers
        .iter()
        .find(|answer| answer["id"] == one.id())
        .expect("it answered");
    assert_eq!(
        (&seventh["version"], &seventh["metadata"]),
        (&json!("1.2.3"), &json!({"pod": "orders-7"}))
    );
    let slowest = answers
        .iter()
        .map(|a| a["rtt_seconds"].as_f64().unwrap())
        .fold(0.0, f64::max);
    assert_eq!(up["rtt_max_seconds"].as_f64(), Some(slowest));
    assert!(slowest > 0.0 && slowest < up["probe_seconds"].as_f64().unwrap(), "{up}");
    assert_eq!(up["nats"]["address"], address);
    assert!(up["nats"]["version"].as_str().unwrap().starts_with("2.15."), "{up}");
    assert!(up["nats"]["rtt_seconds"].as_f64().unwrap() > 0.0, "{up}");
    assert!(moment(&up["last_seen"]) <= moment(&up["time"]));
    for key in ["outage", "not_asked", "others"] {
        assert_eq!(up[key], Value::Null, "{key}");
    }
    assert_eq!(up["absent"], json!([]));
    let none = json!({"other_services": 0, "jetstream_acks": 0, "malformed": 0});
    assert_eq!(up["not_counted"], none);

    let lost = one.id().to_owned();
    one.kill();
    server.wait_for_instances("orders", 2);
    let degraded = run();
    assert_eq!(reasons(&degraded), ["service_up"]);
    assert_eq!([&degraded["instances"], &degraded["baseline_instances"]], [2, 3]);
    let absent = &degraded["absent"][0];
    assert_eq!(
        [&absent["id"], &absent["fate"], &absent["version"]],
        [lost.as_str(), "gone", "1.2.3"]
    );
    assert_eq!(absent["metadata"]["pod"], "orders-7");
    assert!(moment(&absent["since"]) <= moment(&degraded["time"]));

    let there = two.ids().to_vec();
    two.kill();
    server.wait_for_instances("orders", 0);
    let down = run();
    assert_eq!(
        (reasons(&down), &down["status"]),
        (vec!["service_down"], &json!("CRITICAL"))
    );
    assert_eq!([&down["up"], &down["asked"]], [&json!(false), &json!(true)]);
    assert_eq!([&down["instances"], &down["answers"]], [&json!(0), &json!([])]);
    assert_eq!(down["rtt_max_seconds"], Value::Null);
    let outage = &down["outage"];
    assert_eq!(ids(&outage["last_seen"]["answers"]), sorted(&there));
    assert_eq!(outage["last_seen"]["instances"], 2);
    assert_eq!(outage["last_seen"]["time"], degraded["last_seen"]);
    assert_eq!(down["last_seen"], degraded["last_seen"]);
    assert!(moment(&outage["last_seen"]["time"]) < moment(&outage["since"]));

    server.stop();
    for _ in 0..2 {
        let away = run();
        assert_eq!(reasons(&away), ["service_down", "nats_unreachable"]);
        assert_eq!((&away["status"], &away["asked"]), (&json!("CRITICAL"), &json!(false)));
        for key in ["up", "instances", "rtt_max_seconds", "nats"] {
            assert_eq!(away[key], Value::Null, "{key}");
        }
        assert_eq!(away["outage"]["since"], outage["since"]);
        assert!(
            away["outage"]["seconds"].as_f64() > outage["seconds"].as_f64(),
            "{away}"
        );
        assert_eq!(away["not_asked"]["reason"], "nats_unreachable");
        assert!(moment(&away["not_asked"]["since"]) > moment(&outage["since"]));
    }

    server.start_again();
    let still = run();
    assert_eq!(
        (reasons(&still), &still["not_asked"]),
        (vec!["service_down"], &Value::Null)
    );
    assert_eq!(still["outage"]["since"], outage["since"]);

    let back = Service::async_nats(&url, "orders").count(3).start();
    let recovered = run();
    assert_eq!(reasons(&recovered), ["service_recovered"]);
    assert_eq!((&recovered["outage"], &recovered["up"]), (&Value::Null, &json!(true)));
    assert_eq!(ids(&recovered["answers"]), sorted(back.ids()));
}

#[test]
#[ignore = "needs nats-server"]
fn every_failure_is_an_object_with_the_same_keys() {
    let keys = |value: &Value| -> Vec<String> { value.as_object().expect("an object").keys().cloned().collect() };
    let usual = {
        let server = Server::start(Version::Newest);
        let _service = Service::async_nats(&server.url(), "orders").start();
        keys(&object(&Monitor::new(server.url()).check(JSON).run()))
    };
    let fails = |check: Check, reason: &str| {
        let object = object(&check.args(["--format", "json"]).run());
        assert_eq!(object["reason"], reason, "{object}");
        assert_eq!(keys(&object), usual, "{reason}");
        object
    };
    let ask = |url: &str| Check::new(["-n", "orders", "-s", url]);

    fails(ask(NOWHERE), "nats_unreachable");
    let hole = Blackhole::start();
    fails(ask(&hole.url()).args(["-t", "300ms"]), "nats_unreachable");
    let closed = Server::with_config(Version::Newest, "authorization { user: u, password: secret }");
    let refused = fails(
        ask(&closed.url()).args(["--user", "u", "--password", "wrong-one"]),
        "auth_rejected",
    );
    assert!(!refused.to_string().contains("wrong-one"), "{refused}");

    let server = Server::start(Version::Newest);
    let _others = Service::async_nats(&server.url(), "order").count(2).start();
    let nobody = fails(ask(&server.url()).args(["--confirm", "0"]), "service_never_seen");
    assert_eq!(nobody["others"], json!([{"service": "order", "instances": 2}]));
    assert_eq!((&nobody["instances"], &nobody["last_seen"]), (&json!(0), &Value::Null));

    let folder = TempDir::new();
    let unusable = ask(&server.url()).args(["-c", "1:", "--confirm", "0", "--state", folder.path().to_str().unwrap()]);
    let unusable = fails(unusable, "instances_out_of_range");
    assert_eq!(
        reasons(&unusable),
        ["instances_out_of_range", "service_never_seen", "state_unusable"]
    );

    // Mistakes come in the format that was asked for, wherever it stands.
    for args in [
        &["--format", "json"][..],
        &["--format=json", "-n", "or ders"],
        &["check", "-n", "orders", "--format", "json", "--nonsense"],
        &["-n", "orders", "--format", "json", "--label", "a"],
    ] {
        let usage = object(&Check::new(args).run());
        assert_eq!(
            (&usage["reason"], &usage["service"]),
            (&json!("usage"), &Value::Null),
            "{args:?}"
        );
        assert_eq!(keys(&usage), usual);
    }
}

#[test]
#[ignore = "needs nats-server"]
fn a_local_check_of_checkmk_is_one_line() {
    let server = Server::start(Version::Newest);
    let service = Service::async_nats(&server.url(), "orders").start();
    let monitor = Monitor::new(server.url());
    let check = || {
        monitor
            .check(["--format", "checkmk", "-w", "1:5", "--confirm", "50ms"])
            .run()
    };
    check().assert(
        0,
        "0 \"NATS service orders\" instances=1;1:5;;0|rtt_max=*;;;0|nats_rtt=*;;;0|outage=0;;;0|probe=*;;;0 1 instance, slowest \
         answer *",
    );
    service.kill();
    server.wait_for_instances("orders", 0);
    check().assert(
        2,
        "2 \"NATS service orders\" instances=0;1:5;;0|*|probe=*;;;0 down, no responders, 1 instance until *s ago, NATS * is fine (*), last seen: *",
    );
    Check::new(["--format", "checkmk"]).run().assert(
        3,
        "3 \"NATS service\" - which service? Give its name with --name, or say --all (see --help)",
    );
}

#[test]
fn an_interrupted_run_is_an_object() {
    let fake = Fake::start(|conn| {
        conn.handshake()?;
        conn.read_request()?;
        conn.hold(LIMIT)
    });
    let running = Check::new(["-n", "orders", "-s", &fake.url(), "--format", "json"]).spawn();
    wait_for("it is asked", || (fake.rounds().0 > 0).then_some(()));
    running.signal(libc::SIGTERM);
    let interrupted = object(&running.wait());
    assert_eq!(reasons(&interrupted), ["interrupted"]);
    assert_eq!(
        (&interrupted["asked"], &interrupted["up"]),
        (&json!(false), &Value::Null)
    );
}

/// As on a network file system whose server is gone: the watchdog has the last word.
#[test]
#[ignore = "needs strace"]
fn a_run_that_hangs_is_an_object() {
    let dir = TempDir::new();
    let state = dir.join("state.json");
    let check = Check::new([
        "-n", "orders", "-s", NOWHERE, "--format", "json", "-t", "300ms", "--state", &state,
    ]);
    let out = check
        .tampered("openat", "delay_enter=1000000", &[&state, "state.json"])
        .run();
    // strace may wonder about the end of what it keeps waiting.
    let hung = object(&Output {
        stderr: String::new(),
        ..out
    });
    assert_eq!(
        (reasons(&hung), &hung["asked"]),
        (vec!["state_unusable"], &json!(false))
    );
    assert_eq!(
        hung["text"],
        format!("the state {state} cannot be read: the time is up (--timeout)")
    );
}

#[test]
#[ignore = "needs nats-server"]
fn verbose_flag_does_not_change_the_json() {
    let server = Server::start(Version::Newest);
    let _service = Service::async_nats(&server.url(), "orders").start();
    let monitor = Monitor::new(server.url());
    let keys = |flags: &[&str]| {
        let object = object(&monitor.check(JSON).args(flags).run());
        object.as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(keys(&["-vvv"]), keys(&[]));
}

/// The metadata of a service cannot break out of its place.
#[test]
fn a_hostile_service_stays_within_its_values() {
    let reply = json!({"name": "orders", "id": "A", "version": "1\"}\n{\"status\":\"OK\"}", "metadata": {"pod\"": "a\\\"\u{0}"}});
    let fake = Fake::start(move |conn| {
        conn.handshake()?;
        loop {
            let request = conn.read_request()?;
            conn.reply(&request, reply.to_string().as_bytes())?;
        }
    });
    let object = object(&Check::new(["-n", "orders", "-s", &fake.url(), "--format", "json"]).run());
    assert_eq!(object["answers"][0]["version"], "1?}?{?status?:?OK?}");
    assert_eq!(object["answers"][0]["metadata"], json!({"pod?": "a???"}));
}

#[test]
#[ignore = "needs nats-server"]
fn the_text_is_for_people() {
    let server = Server::start(Version::Newest);
    let service = Service::async_nats(&server.url(), "orders").count(2).start();
    let monitor = Monitor::new(server.url());
    let run = || monitor.check(["--format", "text", "--confirm", "50ms"]).run();
    let [a, b] = sorted(service.ids())[..] else {
        panic!("two ids")
    };
    run().assert(
        0,
        &format!(
            "orders: OK\n  OK service_up: 2 instances, slowest answer *\n  asked NATS *, round trip *\n  \
             answered in *: {a} version 1.0.0\n  answered in *: {b} version 1.0.0"
        ),
    );
    let was_there = format!("  was there: {a} version 1.0.0\n  was there: {b} version 1.0.0");
    service.kill();
    server.wait_for_instances("orders", 0);
    run().assert(
        2,
        &format!(
            "orders: CRITICAL\n  CRITICAL service_down: down, no responders, 2 instances until *s ago, NATS * is fine (*), last seen: *\n  \
             asked NATS *\n  asked 2 times\n  last seen *T*Z, missed since *T*Z\n{was_there}"
        ),
    );
    Check::new(["--format", "text"]).run().assert(
        3,
        "check_nats_service: UNKNOWN\n  UNKNOWN usage: which service? Give its name with --name, or say --all (see --help)",
    );
}

#[test]
#[ignore = "needs nats-server"]
fn metrics_can_be_printed() {
    let server = Server::start(Version::Newest);
    let _service = Service::async_nats(&server.url(), "orders").count(2).start();
    let monitor = Monitor::new(server.url());
    let print = |flags: &[&str]| {
        let out = monitor.check(["--format", "prometheus"]).args(flags).run();
        assert_eq!(out.stderr, "", "{out:?}");
        (out.code, Metrics::parse(&out.stdout))
    };
    let (code, metrics) = print(&[]);
    assert_eq!(
        (code, metrics.of("orders", "nats_service_instances")),
        (Some(0), Some(2.0))
    );
    let (code, metrics) = print(&["-w", "3:", "-vvv"]);
    assert_eq!(
        (code, metrics.of("orders", "nats_service_status")),
        (Some(1), Some(1.0))
    );
    assert_eq!(metrics.reasons("orders"), ["instances_out_of_range", "service_up"]);
    let usual = metrics.count();
    let (_, metrics) = print(&["--per-instance", "--label", "site=a"]);
    assert_eq!(metrics.count(), usual + 4);
    let usage = Check::new(["--format", "prometheus"]).run();
    assert_eq!(usage.code, Some(3));
    assert_eq!(Metrics::parse(&usage.stdout).reasons(""), ["usage"]);
}

#[test]
fn a_format_that_is_not_there_is_named() {
    let out = Check::new(["-n", "orders", "--format", "xml"]).run();
    out.assert(
        3,
        "NATS_SERVICE UNKNOWN - --format: 'xml' is not a format: nagios, json, text, prometheus or checkmk (see --help)",
    );
}
