//! One instance among several: gone, not answering or slow; and who is there when the service asked for is not.

use std::io::{BufRead, BufReader};
use std::thread;

use super::support::raw::wait_until_gone;
use super::support::server::on;
use super::support::service::Builder;
use super::support::{Certs, Monitor, Output, Server, Service, Version, raw, wait_for};

type Start = fn(&str, &str) -> Builder;

/// Three implementations of ADR-32, and the version and the pod of the instance that each of them makes.
const KINDS: [(Start, &str, &str); 3] = [
    (Service::nats_py, "1.0.1", "orders-py"),
    (Service::nats_js, "1.0.2", "orders-js"),
    (Service::async_nats, "1.0.3", "orders-rs"),
];

fn start(url: &str, kind: usize) -> Service {
    let (start, version, pod) = KINDS[kind % 3];
    // What names the place is told, wherever it is among the metadata.
    let service = start(url, "orders").version(version);
    service
        .metadata("area", "51")
        .metadata("pod", pod)
        .metadata("zone", "a")
        .start()
}

/// Returns the name of an instance in the line.
fn name(service: &Service, kind: usize) -> String {
    let (_, version, pod) = KINDS[kind % 3];
    format!("{} ({version}, pod={pod})", service.id())
}

#[track_caller]
fn assert_ok(monitor: &Monitor, text: &str) -> Output {
    let out = monitor.check(["-v"]).run();
    out.assert_first(0, &format!("NATS_SERVICE OK - orders: {text} | instances=*"))
}

#[test]
#[ignore = "needs nats-server"]
fn a_frozen_and_a_killed_instance_are_named() {
    thread::scope(|scope| {
        for frozen in 0..3 {
            scope.spawn(move || frozen_and_killed(frozen, frozen + 1, frozen + 2));
        }
    });
}

fn frozen_and_killed(frozen_kind: usize, killed_kind: usize, lives_kind: usize) {
    let server = Server::start([Version::V2_9, Version::V2_10, Version::Newest][frozen_kind]);
    let url = server.url();
    let [frozen, killed, _lives] = [frozen_kind, killed_kind, lives_kind].map(|kind| start(&url, kind));
    let monitor = Monitor::new(&url);
    assert_ok(&monitor, "3 instances, slowest answer *");

    frozen.freeze();
    let gone = name(&killed, killed_kind);
    let gone_id = killed.id().to_owned();
    killed.kill();
    wait_until_gone(&url, &gone_id);
    let silent = name(&frozen, frozen_kind);
    // The memory of a loss outlasts the run that sees it first.
    for _ in 0..3 {
        let text = format!("1 instance, slowest answer *, not answering: {silent}, gone: {gone}");
        let out = assert_ok(&monitor, &text);
        out.assert_line(&format!("not answering since *Z: {} version *", frozen.id()))
            .assert_line(&format!("gone since *Z: {gone_id} version * pod=*"));
    }
    // Where the number is judged, too.
    monitor.check(["-w", "3:"]).run().assert(
        1,
        &format!(
            "NATS_SERVICE WARNING - orders: 1 instance, fewer than 3 (range 3:), not answering: {silent}, gone: {gone} | \
             instances=1;3:;;0; *"
        ),
    );

    frozen.thaw();
    server.wait_for_instances("orders", 2);
    assert_ok(&monitor, &format!("2 instances, slowest answer *, gone: {gone}"));
    // Another one takes its place, under an id of its own.
    let _replacement = start(&url, killed_kind);
    monitor.check(["-w", "3:", "--census", "0"]).run().assert(
        0,
        "NATS_SERVICE OK - orders: 3 instances, slowest answer * | instances=3;3:;;0; *",
    );
    assert_ok(&monitor, "3 instances, slowest answer *");
}

/// One instance is farther away than the other, and crashes again and again.
#[test]
#[ignore = "needs nats-server"]
fn a_slow_replacement_is_counted_by_the_next_run() {
    let server = Server::start(Version::Newest);
    let url = server.url();
    let _near = Service::odd(&url, "orders", 1, &[]).start();
    let start_far = || Service::odd(&url, "orders", 1, &["delay=5"]).start();
    let mut far = start_far();
    let monitor = Monitor::new(&url);
    assert_ok(&monitor, "2 instances, slowest answer *");
    for crashes in 1..=6 {
        let id = far.id().to_owned();
        far.kill();
        wait_until_gone(&url, &id);
        assert_ok(&monitor, &format!("1 instance, slowest answer *, gone: {id} (1.0.0)"));
        far = start_far();
        let (code, line) = match crashes {
            1..3 => (0, "OK - orders: 2 instances, slowest answer * |*".to_owned()),
            _ => (
                1,
                format!("WARNING - orders: {crashes} restarts within 15m, warning from 3, *"),
            ),
        };
        let out = monitor.check(["--restarts-warning", "3", "--confirm", "0s"]).run();
        assert_eq!(out.perfdata("instances"), Some(2.0), "{out:?}");
        out.assert_first(code, &format!("NATS_SERVICE {line}"));
    }
}

/// The same over TLS, where other paths of the client are taken, for a user who may do no more than what the README says.
#[test]
#[ignore = "needs nats-server"]
fn over_tls_with_the_least_permissions_they_are_named_too() {
    let certs = Certs::new();
    let permissions =
        r#"publish: {allow: ["$SRV.PING.orders", "$SRV.PING.orders.*"]}, subscribe: {allow: ["_INBOX_mon.>"]}"#;
    let config = certs.config("server", "") + "allow_non_tls: true\n" + &with_permissions(permissions);
    let server = Server::with_config(Version::Newest, &config);
    let url = format!("nats://svc:svc@127.0.0.1:{}", server.port());
    // The JavaScript client would insist on TLS.
    let [frozen, killed, _lives] = [0, 2, 2].map(|kind| start(&url, kind));
    let monitor = Monitor::new(format!("tls://mon:s3cret@127.0.0.1:{}", server.port()));
    let monitor = monitor.login(&["--inbox-prefix", "_INBOX_mon", "--tlsca", &certs.path("ca.pem")]);
    assert_ok(&monitor, "3 instances, slowest answer *");
    frozen.freeze();
    let (silent, gone, id) = (name(&frozen, 0), name(&killed, 2), killed.id().to_owned());
    killed.kill();
    wait_until_gone(&url, &id);
    for _ in 0..2 {
        assert_ok(
            &monitor,
            &format!("1 instance, slowest answer *, not answering: {silent}, gone: {gone}"),
        );
    }
}

/// All are replaced at once, as in a rollout: nobody is missed.
#[test]
#[ignore = "needs nats-server"]
fn replaced_instances_are_not_missed() {
    let server = Server::start(Version::Newest);
    let old: Vec<Service> = (0..3).map(|_| start(&server.url(), 2)).collect();
    let monitor = Monitor::new(server.url());
    assert_ok(&monitor, "3 instances, slowest answer *");
    let _new: Vec<Service> = (0..3).map(|_| start(&server.url(), 2)).collect();
    for service in old {
        service.stop();
    }
    server.wait_for_instances("orders", 3);
    for _ in 0..2 {
        assert_ok(&monitor, "3 instances, slowest answer *");
    }
}

/// An instance that is restarted has another id; the old one is not missed for ever.
#[test]
#[ignore = "needs nats-server"]
fn more_missing_instances_than_fit_are_counted() {
    let server = Server::start(Version::Newest);
    let _one = start(&server.url(), 2);
    let five = Service::async_nats(&server.url(), "orders").count(5).start();
    let monitor = Monitor::new(server.url());
    assert_ok(&monitor, "6 instances, slowest answer *");
    let ids = five.ids().to_vec();
    five.kill();
    ids.iter().for_each(|id| wait_until_gone(&server.url(), id));
    for _ in 0..2 {
        let out = assert_ok(
            &monitor,
            "1 instance, slowest answer *, gone: * (1.0.0), * (1.0.0), * (1.0.0) and 2 more",
        );
        for id in &ids {
            assert!(out.stdout.contains(&format!(": {id} version 1.0.0")), "{}", out.stdout);
        }
    }
}

#[test]
#[ignore = "needs nats-server"]
fn a_slow_instance_is_counted_and_named() {
    let server = Server::start(Version::Newest);
    let (_fast, slow) = (start(&server.url(), 2), start(&server.url(), 0));
    let monitor = Monitor::new(server.url());
    assert_ok(&monitor, "2 instances, slowest answer *");
    slow.freeze();
    // It goes on when it is asked for itself.
    let tap = raw::subscribe(&server.url(), "$SRV.PING.orders.*").expect("a tap");
    let run = monitor.check(["-v", "--stall", "600ms"]).spawn();
    let asked = BufReader::new(tap).lines().map_while(Result::ok);
    assert!(
        asked.take(9).any(|line| line.starts_with("MSG ")),
        "it is asked for itself"
    );
    slow.thaw();
    let text = format!("2 instances, slowest answer *s, slow: {}", name(&slow, 0));
    let out = run.wait();
    assert!(out.perfdata("rtt_max") >= Some(0.6), "{out:?}");
    out.assert_first(0, &format!("NATS_SERVICE OK - orders: {text} | instances=2;;;0; *"));
    // It is not missed.
    assert_ok(&monitor, "2 instances, slowest answer *");
}

/// A user who may do nothing but what the permissions say.
fn with_permissions(permissions: &str) -> String {
    format!(
        "authorization {{ users: [{{user: svc, password: svc}}, {{user: mon, password: s3cret, permissions: {{
         {permissions} }}}}] }}"
    )
}

const INBOX: &str = r#"subscribe: {allow: ["_INBOX.>"]}"#;

/// The check says what it could not ask, and judges without.
#[test]
#[ignore = "needs nats-server"]
fn an_instance_that_may_not_be_asked_is_missing() {
    on(&Version::ALL, |version| {
        let only_by_name = format!(r#"{INBOX}, publish: {{allow: ["$SRV.PING.orders"]}}"#);
        let mut server = Server::with_config(version, &with_permissions(&only_by_name));
        let url = format!("nats://svc:svc@127.0.0.1:{}", server.port());
        let one = Service::async_nats(&url, "orders").metadata("pod", "a").start();
        let two = Service::async_nats(&url, "orders").metadata("pod", "b").start();
        let monitor = Monitor::new(server.url()).login(&["--user", "mon", "--password", "s3cret"]);
        assert_ok(&monitor, "2 instances, slowest answer *");
        two.freeze();
        let missing = format!("{} (1.0.0, pod=b)", two.id());
        let denied = format!(
            "NATS at 127.0.0.1:{} does not let us publish to $SRV.PING.orders.{}, add to the user's permissions: publish: \
             {{allow: [\"$SRV.PING.orders.*\"]}}",
            server.port(),
            two.id(),
        );
        for _ in 0..2 {
            assert_ok(
                &monitor,
                &format!("1 instance, slowest answer *, missing: {missing}, {denied}"),
            );
        }
        monitor.check(["-c", "2:"]).run().assert(
            2,
            &format!(
                "NATS_SERVICE CRITICAL - orders: 1 instance, fewer than 2 (range 2:), missing: {missing}, {denied} | \
                 instances=1;;2:;0; *"
            ),
        );
        let id = two.id().to_owned();
        two.kill();
        wait_for("the end of it", || {
            (raw::ping(&url, "orders", 9).ok()?.len() == 1).then_some(())
        });

        // With the subject that the line names, it is known what became of it.
        server.restart(&with_permissions(&format!(
            r#"{INBOX}, publish: {{allow: ["$SRV.PING.orders", "$SRV.PING.orders.*"]}}"#
        )));
        wait_for("it is back", || {
            (raw::ping(&url, "orders", 9).ok()?.len() == 1).then_some(())
        });
        assert_ok(
            &monitor,
            &format!("1 instance, slowest answer *, gone: {id} (1.0.0, pod=b)"),
        );
        drop(one);
    });
}

/// Nobody has ever seen the service that the monitor asks for; `text` says who is there.
#[track_caller]
fn assert_never_seen(monitor: &Monitor, service: &str, text: &str) {
    let text = format!("never seen in this account, no responders, {text}");
    monitor
        .check(["--confirm", "50ms", "--stall", "200ms", "-v"])
        .run()
        .assert_first(
            3,
            &format!("NATS_SERVICE UNKNOWN - {service}: {text} | instances=0;;;0; *"),
        )
        .assert_finding(&format!("UNKNOWN service_never_seen: {text}"));
}

const NOBODY: &str = "no service at all answers here: is this the right account, and --srv-prefix?";

#[test]
#[ignore = "needs nats-server"]
fn a_wrong_name_is_reported_with_the_nearest_names() {
    let server = Server::start(Version::Newest);
    let url = server.url();
    let asks = |service: &str, text: &str| {
        assert_never_seen(&Monitor::new(&url).service(service), service, text);
    };
    let monitor = Monitor::new(&url).service("ordes");
    assert_never_seen(&monitor, "ordes", NOBODY);
    let _orders = Service::async_nats(&url, "orders").count(3).start();
    // Who is there changes, so every run looks.
    for _ in 0..2 {
        assert_never_seen(&monitor, "ordes", "did you mean orders?");
    }
    for wrong in ["Orders", "order", "orders-", "0rders"] {
        asks(wrong, "did you mean orders?");
    }
    let _second = Service::nats_py(&url, "orders-v2").start();
    asks("orders-v3", "did you mean orders-v2 or orders?");
    asks("billing", "here are: orders, orders-v2");
    let elsewhere = Monitor::new(&url).login(&["--srv-prefix", "APP.$SRV"]);
    // The subject that was asked shows a prefix that was mistyped, or lost its dollar sign on the way.
    let asked =
        "NATS_SERVICE UNKNOWN - orders: never seen in this account (asked APP.$SRV.PING.orders), no responders, *";
    elsewhere.check(["--confirm", "50ms"]).run().assert(3, asked);
    let _more: Vec<Service> = ["a", "b", "c", "d", "e"]
        .map(|name| Service::async_nats(&url, name).start())
        .into();
    asks("billing", "here are: a, b, c, d, e and 2 more");
}

/// In an account of our own there is nobody, whoever is in the others.
#[test]
#[ignore = "needs nats-server"]
fn a_wrong_account_is_suspected() {
    on(&Version::ALL, |version| {
        let server = Server::with_config(
            version,
            "accounts { APP { users: [{user: app, password: app}] }, MON { users: [{user: mon, password: s3cret}] } }",
        );
        let url = format!("nats://app:app@127.0.0.1:{}", server.port());
        let _orders = Service::async_nats(&url, "orders").start();
        let url = format!("nats://mon:s3cret@127.0.0.1:{}", server.port());
        assert_never_seen(&Monitor::new(url), "orders", NOBODY);
    });
}

#[test]
#[ignore = "needs nats-server"]
fn a_missing_permission_for_the_list_of_services_is_reported() {
    on(&Version::ALL, |version| {
        let only_by_name = format!(r#"{INBOX}, publish: {{allow: ["$SRV.PING.ordes", "$SRV.PING.ordes.*"]}}"#);
        let server = Server::with_config(version, &with_permissions(&only_by_name));
        let url = format!("nats://svc:svc@127.0.0.1:{}", server.port());
        let _orders = Service::async_nats(&url, "orders").start();
        let text = format!(
            "and other services cannot be listed: NATS at 127.0.0.1:{} does not let us publish to $SRV.PING, add to the user's \
             permissions: publish: {{allow: [\"$SRV.PING\"]}}",
            server.port()
        );
        let monitor = Monitor::new(server.url()).service("ordes");
        assert_never_seen(
            &monitor.login(&["--user", "mon", "--password", "s3cret"]),
            "ordes",
            &text,
        );
    });
}
