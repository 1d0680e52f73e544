//! `--all`: every service of an account in one run, each judged as by a check of its own. Fifty services of four client libraries.

use std::fs;
use std::time::Duration;

use super::support::all::INSTANCES;
use super::support::net::{STREAM, import};
use super::support::server::on;
use super::support::{
    AllMonitor, Check, Crowd, Fifty, Findings, Output, Program, Server, Service, TempDir, Version, raw, wait_for,
};

/// No more runs than these are needed until it is known what is missing.
const SOON: [&str; 4] = ["--confirm", "200ms", "--stall", "100ms"];

/// The names that a finding of the line tells, and the number that it leaves out.
fn named(out: &Output) -> usize {
    out.first_line().matches(" ago)").count()
}

#[test]
#[ignore = "needs nats-server"]
fn one_ten_and_all_of_fifty_services_are_down_and_come_back() {
    let server = Server::start(Version::V2_10);
    let mut fifty = Fifty::start(&server);
    let monitor = AllMonitor::new(server.url());
    let up = format!(
        "NATS_SERVICES OK - 50 services, {INSTANCES} instances* | services=50;;;0; services_down=0;;;0; instances={INSTANCES};;;0;*"
    );
    // The first run waits for all, the second one knows them.
    for _ in 0..2 {
        monitor.all([""; 0]).run().assert(0, &up);
    }

    fifty.kill_orders();
    let down = "NATS_SERVICES CRITICAL - 1 of 50 services down: orders (3 instances until * ago)* | services=50;;;0; services_down=1;;;0; instances=49;;;0;*";
    monitor.all([""; 0]).run().assert(2, down);
    let still =
        "NATS_SERVICES CRITICAL - 1 of 50 services still down: orders (3 instances until * ago)* | services=50;*";
    let out = monitor.all(["-v"]).run().assert_first(2, still);
    let out = out.assert_line("CRITICAL orders: still down for *, no responders, had 3 instances*");
    assert!(!out.stdout.contains("\nOK "), "{out:?}");
    let out = monitor.all(["-vv"]).run().assert_first(2, still);
    let ups = out.stdout.lines().filter(|line| line.starts_with("OK ")).count();
    assert_eq!(ups, 49, "{out:?}");
    out.assert_line("OK py-11: 1 instance, slowest answer *");

    fifty.start_all();
    let recovered =
        format!("NATS_SERVICES OK - 50 services, {INSTANCES} instances, 1 recovered: orders (after *)* | *");
    monitor.all([""; 0]).run().assert(0, &recovered);
    monitor.all([""; 0]).run().assert(0, &up);

    fifty.kill_orders();
    fifty.kill_nine();
    let out = monitor.all([""; 0]).run().assert_first(2, "NATS_SERVICES CRITICAL - 10 of 50 services down: * and * more* | services=50;;;0; services_down=10;;;0; instances=40;;;0;*");
    assert!((3..=5).contains(&named(&out)), "{out:?}");
    let json = monitor.json(2);
    let ten = [
        "bill-0", "bill-1", "bill-2", "bill-3", "mail-0", "mail-1", "mail-2", "mail-3", "mail-4", "orders",
    ];
    assert_eq!(json.with_status("CRITICAL"), ten);
    assert_eq!(json.with_status("OK").len(), 40);
    fifty.start_all();
    let json = monitor.json(0);
    let recovered = json
        .services
        .iter()
        .filter(|service| service["reason"] == "service_recovered");
    assert_eq!(recovered.count(), 10, "{json:?}");

    // NATS itself is fine.
    fifty.kill_all();
    let out = monitor.all([""; 0]).run().assert_first(2, "NATS_SERVICES CRITICAL - 50 of 50 services down: * and * more* | services=50;;;0; services_down=50;;;0; instances=0;;;0;*");
    assert!((3..=5).contains(&named(&out)), "{out:?}");
    monitor
        .all(["-vvv"])
        .run()
        .assert_first(2, "NATS_SERVICES CRITICAL - 50 of 50 services still down: *");
    fifty.start_all();
    assert_eq!(monitor.json(0).all["services_down"], 0);
}

/// Restarts NATS under fifty services, whose clients need up to 2 s to connect again.
fn check_after_a_restart_of_nats() -> Output {
    let mut server = Server::start(Version::V2_9);
    let fifty = Fifty::start(&server);
    let monitor = AllMonitor::new(server.url());
    monitor.json(0);
    server.stop();
    server.start_again();
    let out = monitor.all(["--format", "json"]).run();
    let json = Findings::read(&out, 0);
    assert_eq!(json.with_status("OK").len(), 50);
    assert_eq!(json.all["instances"], INSTANCES, "{:?}", json.all);
    drop(fifty);
    out
}

#[test]
#[ignore = "needs nats-server"]
fn a_restart_of_nats_is_no_outage() {
    check_after_a_restart_of_nats();
}

#[test]
#[ignore = "needs nats-server"]
fn timed_a_restart_of_nats_costs_one_wait_for_fifty_services() {
    check_after_a_restart_of_nats().assert_within(Duration::from_secs(6));
}

/// Those who do not come back after a restart are told in the same run.
#[test]
#[ignore = "needs nats-server"]
fn services_that_died_with_nats_are_down_and_the_others_are_not() {
    let mut server = Server::start(Version::Newest);
    let mut fifty = Fifty::start(&server);
    let monitor = AllMonitor::new(server.url());
    monitor.json(0);
    server.stop();
    fifty.orders.take().expect("it runs").kill();
    server.start_again();
    let json = monitor.json(2);
    assert_eq!(json.with_status("CRITICAL"), ["orders"]);
    assert_eq!(json.with_status("OK").len(), 49);
}

#[test]
#[ignore = "needs nats-server"]
fn nats_that_cannot_be_asked_is_one_unknown_or_critical_while_an_outage_is_open() {
    let mut server = Server::start(Version::V2_9);
    let url = server.url();
    let fifty = Fifty::start(&server);
    let monitor = AllMonitor::new(&url);
    let first_run = AllMonitor::new(&url);
    monitor.json(0);

    server.stop();
    let away = "NATS_SERVICES UNKNOWN - cannot reach NATS at 127.0.0.1:*: connection refused* | services=50;;;0; services_down=0;;;0; instances=U*";
    let out = monitor.all(["-v"]).run().assert_first(3, away);
    assert!(
        !out.stdout.contains("py-0") && out.first_line().len() < 500,
        "not one line for each service: {out:?}"
    );
    let json = monitor.json(3);
    assert_eq!(
        (
            &json.all["asked"],
            json.all["findings"].as_array().expect("findings").len()
        ),
        (&false.into(), 1)
    );
    assert_eq!(json.with_status("UNKNOWN").len(), 50);
    first_run.all([""; 0]).run().assert(
        3,
        "NATS_SERVICES UNKNOWN - cannot reach NATS at 127.0.0.1:*: connection refused* | *",
    );

    server.start_again();
    fifty.wait_for(INSTANCES);
    let json = monitor.json(0);
    assert_eq!(json.with_status("OK").len(), 50, "an epoch that stayed: {json:?}");
    let mut fifty = fifty;
    fifty.kill_orders();
    assert_eq!(monitor.json(2).with_status("CRITICAL"), ["orders"]);

    server.stop();
    let still = "NATS_SERVICES CRITICAL - 1 of 50 services still down: orders (3 instances until * ago), cannot reach NATS at 127.0.0.1:*: connection refused* | services=50;;;0; services_down=1;;;0; instances=U*";
    monitor.all([""; 0]).run().assert(2, still);
    let json = monitor.json(2);
    assert_eq!(json.with_status("CRITICAL"), ["orders"]);
    assert_eq!(json.with_status("UNKNOWN").len(), 49);
    monitor
        .all(["--unreachable", "ok"])
        .run()
        .assert_first(2, "NATS_SERVICES CRITICAL - 1 of 50 services still down: *");
}

#[test]
#[ignore = "needs nats-server"]
fn unreachable_flag_sets_the_status_for_all_services() {
    let monitor = AllMonitor::new("nats://127.0.0.1:1");
    for (status, name, code) in [("ok", "OK", 0), ("warning", "WARNING", 1), ("critical", "CRITICAL", 2)] {
        let out = monitor.all(["--unreachable", status]).run();
        out.assert(
            code,
            &format!("NATS_SERVICES {name} - cannot reach NATS at 127.0.0.1:1: connection refused* | *"),
        );
    }
}

#[test]
#[ignore = "needs nats-server"]
fn a_service_with_a_new_name_leaves_an_outage_that_can_be_forgotten() {
    let server = Server::start(Version::V2_9);
    let url = server.url();
    let orders = Service::nats_py(&url, "orders").start();
    let _mail = Service::nats_js(&url, "mail").start();
    let monitor = AllMonitor::new(&url);
    let check = || monitor.all(SOON).run();
    check().assert_first(0, "NATS_SERVICES OK - 2 services, 2 instances*");
    orders.stop();
    let _orders_v2 = Service::nats_py(&url, "orders-v2").start();
    check().assert_first(2, "NATS_SERVICES CRITICAL - 1 of 3 services down: orders (1 instance until * ago)* | services=3;;;0; services_down=1;;;0; instances=2;*");
    check().assert_first(
        2,
        "NATS_SERVICES CRITICAL - 1 of 3 services still down: orders (1 instance until * ago)*",
    );
    let out = monitor.run(&["state", "reset", "-n", "orders"]).run();
    assert_eq!((out.code, out.stderr.as_str()), (Some(0), ""), "{out:?}");
    check().assert_first(0, "NATS_SERVICES OK - 2 services, 2 instances*");
    assert_eq!(monitor.json(0).names(), ["mail", "orders-v2"]);
    // Nothing of it comes back by a check of its own.
    let out = monitor.one("orders", SOON).run();
    out.assert_first(3, "NATS_SERVICE UNKNOWN - orders: never seen in this account*");
    check().assert_first(0, "NATS_SERVICES OK - 2 services, 2 instances*");
}

#[test]
#[ignore = "needs nats-server"]
fn an_outage_ends_by_itself_after_forget_after() {
    let server = Server::start(Version::Newest);
    let orders = Service::async_nats(&server.url(), "orders").start();
    let _mail = Service::async_nats(&server.url(), "mail").start();
    let monitor = AllMonitor::new(server.url());
    let check = || monitor.all(SOON).args(["--forget-after", "1s"]).run();
    check().assert_first(0, "NATS_SERVICES OK - 2 services, 2 instances*");
    orders.stop();
    check().assert_first(2, "NATS_SERVICES CRITICAL - 1 of 2 services down: orders *");
    wait_for("it is forgotten", || (check().code == Some(0)).then_some(()));
    assert_eq!(monitor.json(0).names(), ["mail"]);
}

#[test]
#[ignore = "needs nats-server"]
fn a_rolling_deployment_of_three_is_never_anything_but_ok() {
    on(&[Version::V2_10, Version::Newest], |version| {
        let server = Server::start(version);
        let url = server.url();
        let _mail = Service::nats_js(&url, "mail").count(2).start();
        let mut old: Vec<Service> = (0..3).map(|_| Service::nats_py(&url, "orders").start()).collect();
        let monitor = AllMonitor::new(&url);
        // However late a busy machine lets an instance reply.
        let patience = ["--confirm", "20s", "--timeout", "40s"];
        let flags = ["--lost-warning", "1", "--restarts-warning", "1", "--stall", "100ms"];
        let check = || {
            let out = monitor.all(flags).args(patience).run();
            out.assert_first(0, "NATS_SERVICES OK - 2 services, * instances*")
        };
        check().assert_first(0, "NATS_SERVICES OK - 2 services, 5 instances*");
        let mut new = Vec::new();
        while let Some(one) = old.pop() {
            new.push(Service::nats_py(&url, "orders").version("2.0.0").start());
            check();
            one.stop();
            server.wait_for_instances("orders", 3);
            check().assert_first(0, "NATS_SERVICES OK - 2 services, 5 instances*");
        }
        let json = monitor.json(0);
        assert_eq!(
            (
                &json.of("orders")["instances"],
                json.of("orders")["absent"].as_array().map(Vec::len)
            ),
            (&3.into(), Some(0))
        );
    });
}

/// Each flag of the single check judges each of the services.
#[test]
#[ignore = "needs nats-server"]
fn the_thresholds_of_the_single_check_hold_for_each_service() {
    let server = Server::start(Version::Newest);
    let url = server.url();
    let _services = [("orders", 3), ("mail", 1), ("billing", 1)]
        .map(|(name, count)| Service::async_nats(&url, name).count(count).start());
    let monitor = AllMonitor::new(&url);
    monitor.all(["-w", "2:"]).run().assert_first(
        1,
        "NATS_SERVICES WARNING - 2 of 3 services degraded: billing (1 instance), mail (1 instance)*",
    );
    monitor.all(["-w", "2:", "-c", "1:2"]).run().assert_first(
        2,
        "NATS_SERVICES CRITICAL - 1 of 3 services degraded: orders (3 instances), 2 degraded: billing (1 instance), mail (1 instance) | *",
    );
    monitor
        .all(["--expect-version", "2"])
        .run()
        .assert_first(1, "NATS_SERVICES WARNING - 3 of 3 services of an unexpected version: *");
    let out = monitor.all(["--stats"]).run();
    out.assert_first(0, "NATS_SERVICES OK - 3 services, 5 instances*");
}

/// It hides from the server that nobody is there, and makes no service of its own.
#[test]
#[ignore = "needs nats-server"]
fn beside_a_wildcard_subscriber_each_service_is_judged_as_it_is() {
    on(&Version::ALL, |version| {
        let server = Server::start(version);
        let url = server.url();
        let _nosy = raw::subscribe(&url, "$SRV.>").unwrap();
        let orders = Service::nats_py(&url, "orders").count(2).start();
        let _mail = Service::async_nats(&url, "mail").start();
        let _bills = Service::nats_js(&url, "billing").start();
        let monitor = AllMonitor::new(&url);
        for _ in 0..2 {
            monitor
                .all(["--stall", "100ms"])
                .run()
                .assert_first(0, "NATS_SERVICES OK - 3 services, 4 instances*");
        }
        orders.kill();
        wait_for("it is gone", || {
            (raw::ask(&url, "$SRV.PING", 3).ok()?.len() == 2).then_some(())
        });
        let out = monitor.all(["-v", "-t", "6s", "--stall", "100ms"]).run();
        out.assert_first(
            2,
            "NATS_SERVICES CRITICAL - 1 of 3 services silent: orders (2 instances until * ago)*",
        )
        .assert_line("CRITICAL orders: silent, *");
        assert_eq!(monitor.json(2).with_status("OK"), ["billing", "mail"]);
        let orders = Service::nats_py(&url, "orders").count(2).start();
        monitor.all(["--stall", "100ms"]).run().assert_first(
            0,
            "NATS_SERVICES OK - 3 services, 4 instances, 1 recovered: orders (after *)*",
        );
        drop(orders);
    });
}

/// Of a silent service among others, all that can be asked of it is asked, and the others do not wait for it.
#[test]
#[ignore = "needs nats-server"]
fn a_frozen_service_is_silent_and_the_others_are_up() {
    let server = Server::start(Version::V2_10);
    let url = server.url();
    let orders = Service::nats_js(&url, "orders").start();
    let _mail = Service::nats_py(&url, "mail").start();
    let monitor = AllMonitor::new(&url);
    monitor.json(0);
    orders.freeze();
    monitor.all(["-t", "5s", "--silent", "warning"]).run().assert_first(
        1,
        "NATS_SERVICES WARNING - 1 of 2 services silent: orders (1 instance until * ago)*",
    );
    monitor.all(["-t", "6s"]).run().assert_first(
        2,
        "NATS_SERVICES CRITICAL - 1 of 2 services silent: orders (1 instance until * ago)*",
    );
    orders.thaw();
    wait_for("it answers", || {
        (monitor.all([""; 0]).run().code == Some(0)).then_some(())
    });
}

/// A user who may ask single services, but not all of them.
const ONE_BY_ONE: &str = r#"authorization { users: [
    { user: svc, password: svc },
    { user: mon, password: s3cret, permissions: { publish: { allow: ["$SRV.PING.*", "$SRV.PING.*.*"] } } },
] }"#;

const MON: [&str; 4] = ["--user", "mon", "--password", "s3cret"];

#[test]
#[ignore = "needs nats-server"]
fn a_denied_request_for_all_services_names_the_permission_and_the_known_ones_are_asked() {
    on(&Version::ALL, |version| {
        let server = Server::with_config(version, ONE_BY_ONE);
        let url = server.url().replace("//", "//svc:svc@");
        let orders = Service::nats_py(&url, "orders").start();
        let _mail = Service::async_nats(&url, "mail").start();
        let monitor = AllMonitor::new(server.url()).login(&MON);
        let check = || monitor.all(SOON).arg("-v").run();
        let denied =
            "NATS at 127.0.0.1:* does not let us publish to $SRV.PING, add to the user's permissions: *$SRV.PING*";
        check().assert_first(3, &format!("NATS_SERVICES UNKNOWN - {denied} | *"));
        // What a single check knows is known here, too.
        monitor
            .one("orders", SOON)
            .run()
            .assert_first(0, "NATS_SERVICE OK - orders: 1 instance*");
        let out = check();
        assert!(out.stdout.contains("new services cannot be found"), "{out:?}");
        let out = out.assert_first(
            3,
            &format!("NATS_SERVICES UNKNOWN - {denied} | services=1;;;0; services_down=0;;;0; instances=1;*"),
        );
        assert!(!out.stdout.contains("mail"), "{out:?}");
        // And what is expected is asked.
        let json = Findings::read(
            &monitor.all(SOON).args(["--expect", "mail", "--format", "json"]).run(),
            3,
        );
        assert_eq!(json.with_status("OK"), ["mail", "orders"]);
        orders.stop();
        check().assert_first(
            2,
            "NATS_SERVICES CRITICAL - 1 of * services down: orders (1 instance until * ago)*$SRV.PING*",
        );
    });
}

/// The documented permissions (packaging/kubernetes/nats-permissions.conf) are enough for --all.
#[test]
#[ignore = "needs nats-server"]
fn the_permissions_that_are_documented_are_enough() {
    let documented = fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/packaging/kubernetes/nats-permissions.conf"
    ));
    let subjects = r#""$SRV.PING", "$SRV.PING.*" and "$SRV.PING.*.*""#;
    assert!(documented.unwrap().contains(&format!("With --all: {subjects} ")));
    let config = ONE_BY_ONE.replace("allow: [", "allow: [\"$SRV.PING\", ");
    let server = Server::with_config(Version::Newest, &config);
    let url = server.url().replace("//", "//svc:svc@");
    let orders = Service::nats_py(&url, "orders").start();
    let [mail, lost] = [(); 2].map(|()| Service::async_nats(&url, "mail").start());
    let monitor = AllMonitor::new(server.url()).login(&MON);
    let check = || {
        let out = monitor.all(SOON).args(["-v", "--lost-warning", "1"]).run();
        assert!(!out.stdout.contains("does not let us"), "{out:?}");
        out
    };
    check().assert_first(0, "NATS_SERVICES OK - 2 services, 3 instances*");
    lost.stop();
    check().assert_first(
        1,
        "NATS_SERVICES WARNING - 1 of 2 services degraded: mail (1 of 2 instances)*",
    );
    orders.stop();
    check().assert_first(2, "NATS_SERVICES CRITICAL - 1 of 2 services down: orders *");
    drop(mail);
}

/// One service of two may not be asked for by name: that is its own, and no outage.
#[test]
#[ignore = "needs nats-server"]
fn a_denied_request_for_one_service_is_unknown_for_this_one_alone() {
    let config = ONE_BY_ONE.replace(
        r#"allow: ["$SRV.PING.*", "$SRV.PING.*.*"]"#,
        r#"allow: ["$SRV.>"], deny: ["$SRV.PING.orders", "$SRV.PING.orders.*"]"#,
    );
    let server = Server::with_config(Version::Newest, &config);
    let url = server.url().replace("//", "//svc:svc@");
    let orders = Service::nats_py(&url, "orders").start();
    let mail = Service::async_nats(&url, "mail").start();
    let monitor = AllMonitor::new(server.url()).login(&MON);
    let check = || monitor.all(SOON).args(["-v"]).run();
    check().assert_first(0, "NATS_SERVICES OK - 2 services, 2 instances*");
    orders.stop();
    check()
        .assert_first(3, "NATS_SERVICES UNKNOWN - 1 of 2 services not permitted: orders (*)*")
        .assert_line("UNKNOWN orders: *$SRV.PING.orders*");
    mail.stop();
    check().assert_first(
        2,
        "NATS_SERVICES CRITICAL - 1 of 2 services down: mail (1 instance until * ago), *1 not permitted: orders*",
    );
}

/// The services of another account; what its export lets through and what not.
#[test]
#[ignore = "needs nats-server"]
fn services_behind_an_import_are_watched_under_their_prefix() {
    on(&Version::ALL, |version| {
        let whole = import(STREAM).replace("$SRV.PING.>", "$SRV.>");
        let server = Server::with_config(version, &whole);
        let url = server.url().replace("//", "//app:app@");
        let orders = Service::async_nats(&url, "orders").count(3).start();
        let _mail = Service::nats_py(&url, "mail").start();
        let login = [&MON[..], &["--srv-prefix", "APP.$SRV"]].concat();
        let monitor = AllMonitor::new(server.url()).login(&login);
        for _ in 0..2 {
            monitor
                .all(["--stall", "100ms"])
                .run()
                .assert_first(0, "NATS_SERVICES OK - 2 services, 4 instances*");
        }
        orders.kill();
        wait_for("it is gone", || {
            (raw::ask(&url, "$SRV.PING", 2).ok()?.len() == 1).then_some(())
        });
        // Servers before 2.10.26 do not say through an import that nobody is there.
        let word = if version == Version::Newest { "down" } else { "silent" };
        let line = format!("NATS_SERVICES CRITICAL - 1 of 2 services {word}: orders (3 instances until * ago)*");
        monitor
            .all(["-t", "6s", "--stall", "100ms"])
            .run()
            .assert_first(2, &line);
    });
}

#[test]
#[ignore = "needs nats-server"]
fn import_that_lets_one_reply_through_hides_no_known_service_and_is_reported() {
    on(&[Version::V2_10, Version::Newest], |version| {
        let config = |export: &str| import(export).replace("$SRV.PING.>", "$SRV.>");
        let mut server = Server::with_config(version, &config(STREAM));
        let url = server.url().replace("//", "//app:app@");
        let _services = ["orders", "mail", "billing"].map(|name| Service::async_nats(&url, name).count(2).start());
        let login = [&MON[..], &["--srv-prefix", "APP.$SRV"]].concat();
        let monitor = AllMonitor::new(server.url()).login(&login);
        monitor
            .all([""; 0])
            .run()
            .assert_first(0, "NATS_SERVICES OK - 3 services, 6 instances*");
        server.restart(&config(r#"service: "$SRV.>""#));
        wait_for("they are back", || {
            (raw::ask(&url, "$SRV.PING", 6).ok()?.len() == 6).then_some(())
        });
        // Now and then more than one reply comes through.
        wait_for("it is told", || {
            let out = monitor.all([""; 0]).run();
            let told = out
                .first_line()
                .starts_with("NATS_SERVICES UNKNOWN - not all services reply to APP.$SRV.PING, ");
            match told {
                true => out.assert_first(
                    3,
                    "NATS_SERVICES UNKNOWN - * only by name, its export needs response_type: stream (*), --expect names new \
                     ones: new services cannot be found* | services=3;;;0; services_down=0;;;0; instances=6;*",
                ),
                false => out.assert_first(0, "NATS_SERVICES OK - 3 services, 6 instances*"),
            };
            told.then_some(())
        });
    });
}

/// As the single check needs it, which is not enough for all.
#[test]
#[ignore = "needs nats-server"]
fn import_without_the_query_to_all_is_reported() {
    on(&[Version::V2_10, Version::Newest], |version| {
        let config = import(STREAM).replace(r#"["APP.$SRV.PING.>"]"#, r#"["APP.$SRV.PING", "APP.$SRV.PING.>"]"#);
        let server = Server::with_config(version, &config);
        let url = server.url().replace("//", "//app:app@");
        let _orders = Service::async_nats(&url, "orders").start();
        let login = [&MON[..], &["--srv-prefix", "APP.$SRV"]].concat();
        let monitor = AllMonitor::new(server.url()).login(&login);
        let nobody = "NATS_SERVICES UNKNOWN - no service has ever answered here: is this the right account, and --srv-prefix, \
                      and are $SRV.PING and $SRV.PING.> exported and imported, both?*";
        monitor.all([""; 0]).run().assert_first(3, nobody);
        monitor
            .one("orders", [""; 0])
            .run()
            .assert_first(0, "NATS_SERVICE OK - orders: 1 instance*");
        let told = "NATS_SERVICES UNKNOWN - nobody is subscribed to APP.$SRV.PING, though services reply to APP.$SRV.PING.NAME, \
                    export and import it, too: new services cannot be found* | services=1;*";
        for _ in 0..2 {
            monitor.all([""; 0]).run().assert_first(3, told);
        }
    });
}

#[test]
#[ignore = "needs nats-server"]
fn denied_inbox_is_reported_and_lists_no_service() {
    let config = ONE_BY_ONE.replace(
        r#"publish: { allow: ["$SRV.PING.*", "$SRV.PING.*.*"] }"#,
        r#"subscribe: { deny: ["_INBOX.>"] }"#,
    );
    on(&Version::ALL, |version| {
        let server = Server::with_config(version, &config);
        let _orders = Service::nats_py(&server.url().replace("//", "//svc:svc@"), "orders").start();
        let monitor = AllMonitor::new(server.url()).login(&MON);
        let denied =
            "NATS at 127.0.0.1:* does not let us subscribe to _INBOX.*, add to the user's permissions: subscribe: *";
        for flags in [&[][..], &["--expect", "orders"]] {
            let out = monitor.all(flags.iter().copied()).run();
            out.assert_first(3, &format!("NATS_SERVICES UNKNOWN - *{denied}"));
        }
        let out = monitor.run(&["list"]).run();
        assert_eq!(out.code, Some(3), "{out:?}");
        assert!(out.stdout.contains("does not let us subscribe to _INBOX."), "{out:?}");
    });
}

/// All instances of a service were replaced, and it may not be asked by name.
#[test]
#[ignore = "needs nats-server"]
fn a_service_that_answers_the_query_to_all_is_up_whatever_is_denied_by_name() {
    let config = ONE_BY_ONE.replace(r#""$SRV.PING.*", "$SRV.PING.*.*""#, r#""$SRV.PING""#);
    on(&Version::ALL, |version| {
        let server = Server::with_config(version, &config);
        let url = server.url().replace("//", "//svc:svc@");
        let orders = Service::nats_py(&url, "orders").start();
        let monitor = AllMonitor::new(server.url()).login(&MON);
        monitor
            .all(SOON)
            .run()
            .assert_first(0, "NATS_SERVICES OK - 1 service, 1 instance*");
        orders.stop();
        monitor
            .all(SOON)
            .run()
            .assert_first(3, "NATS_SERVICES UNKNOWN - 1 of 1 service not permitted: orders (*");
        let _orders = Service::nats_py(&url, "orders").start();
        for _ in 0..2 {
            let out = monitor.all(SOON).arg("-v").run();
            out.assert_first(
                0,
                "NATS_SERVICES OK - 1 service, 1 instance* | services=1;;;0; services_down=0;;;0; instances=1;*",
            );
        }
    });
}

#[test]
#[ignore = "needs nats-server"]
fn only_and_exclude_choose_by_name() {
    let server = Server::start(Version::V2_9);
    let _services = Service::nats_py(&server.url(), "orders,orders-eu,mail,test-1,test-22").start();
    let names = |flags: &[&str]| {
        let monitor = AllMonitor::new(server.url());
        let out = monitor.all(["--format", "json", "--stall", "100ms"]).args(flags).run();
        Findings::read(&out, 0).names().join(" ")
    };
    for (flags, expected) in [
        (&[][..], "mail orders orders-eu test-1 test-22"),
        (&["--only", "orders*"], "orders orders-eu"),
        (&["--only", "orders", "--only", "m*"], "mail orders"),
        (&["--exclude", "test-*"], "mail orders orders-eu"),
        (&["--only", "test-?", "--exclude", "mail"], "test-1"),
        (&["--only", "*orders*", "--exclude", "*-eu"], "orders"),
    ] {
        assert_eq!(names(flags), expected, "{flags:?}");
    }
    let monitor = AllMonitor::new(server.url());
    let out = monitor.all(["--only", "nobody*"]).args(SOON).run();
    out.assert_first(3, "NATS_SERVICES UNKNOWN - no service has ever answered here*");
    let out = monitor.all(["--only", "a b"]).run();
    out.assert(3, "NATS_SERVICE* UNKNOWN - --only: 'a b' is not a pattern of names*");
}

/// A service that was watched and is excluded now is not reported, and stays remembered.
#[test]
#[ignore = "needs nats-server"]
fn an_excluded_service_is_not_judged_and_its_outage_is_not_lost() {
    let server = Server::start(Version::V2_10);
    let orders = Service::nats_py(&server.url(), "orders").start();
    let _mail = Service::nats_py(&server.url(), "mail").start();
    let monitor = AllMonitor::new(server.url());
    let check = |flags: &[&str]| monitor.all(SOON).args(flags).run();
    check(&[]).assert_first(0, "NATS_SERVICES OK - 2 services*");
    orders.stop();
    check(&[]).assert_first(2, "NATS_SERVICES CRITICAL - 1 of 2 services down: orders *");
    check(&["--exclude", "orders"]).assert_first(0, "NATS_SERVICES OK - 1 service, 1 instance*");
    check(&["--only", "mail"]).assert_first(0, "NATS_SERVICES OK - 1 service, 1 instance*");
    check(&[]).assert_first(2, "NATS_SERVICES CRITICAL - 1 of 2 services still down: orders *");
}

#[test]
#[ignore = "needs nats-server"]
fn an_expected_service_has_to_be_there_even_if_it_was_never_seen() {
    let server = Server::start(Version::Newest);
    let _mail = Service::nats_py(&server.url(), "mail").start();
    let monitor = AllMonitor::new(server.url());
    let check = |flags: &[&str]| monitor.all(SOON).args(flags).run();
    check(&["--expect", "mail"]).assert_first(0, "NATS_SERVICES OK - 1 service, 1 instance*");
    check(&["--expect", "orders", "--expect", "mail"]).assert_first(
        3,
        "NATS_SERVICES UNKNOWN - 1 of 2 services never seen: orders* | services=2;*",
    );
    check(&["--expect", "orders", "--never-seen", "critical"])
        .assert_first(2, "NATS_SERVICES CRITICAL - 1 of 2 services never seen: orders*");
    let dir = TempDir::new();
    let file = dir.join("expected");
    fs::write(&file, "# the shop\norders\n\nbilling\nmail\n").unwrap();
    check(&["--expect-file", &file]).assert_first(
        3,
        "NATS_SERVICES UNKNOWN - 2 of 3 services never seen: billing, orders* | *",
    );
    let orders = Service::nats_js(&server.url(), "orders").start();
    check(&["--expect-file", &file])
        .assert_first(3, "NATS_SERVICES UNKNOWN - 1 of 3 services never seen: billing* | *");
    orders.stop();
    check(&["--expect-file", &file]).assert_first(
        2,
        "NATS_SERVICES CRITICAL - 1 of 3 services down: orders (*)*1 never seen: billing*",
    );
    // One that is not expected any more and was never there is nobody's.
    assert_eq!(monitor.json(2).names(), ["mail", "orders"]);
    let out = check(&["--expect-file", &dir.join("nothing")]);
    out.assert(3, "NATS_SERVICE* UNKNOWN - *nothing*: No such file or directory*");
}

#[test]
#[ignore = "needs nats-server"]
fn a_newcomer_is_watched_once_it_has_been_there_for_adopt_after() {
    let server = Server::start(Version::V2_9);
    let _mail = Service::nats_py(&server.url(), "mail").start();
    let monitor = AllMonitor::new(server.url());
    monitor
        .all(SOON)
        .run()
        .assert_first(0, "NATS_SERVICES OK - 1 service, 1 instance*");
    // A newcomer is waited for in each run.
    let flags = ["-vv", "--census", "0", "--adopt-after"];
    let check = |adopt_after: &str| monitor.all(SOON).args(flags).arg(adopt_after).run();
    let job = Service::nats_js(&server.url(), "job").start();
    check("1h")
        .assert_first(0, "NATS_SERVICES OK - 1 service, 1 instance*")
        .assert_line("not watched yet, answers for *: job");
    job.stop();
    // It has come and gone: no outage.
    check("1h").assert_first(0, "NATS_SERVICES OK - 1 service, 1 instance*");
    let out = check("1h");
    assert!(!out.stdout.contains("job"), "{out:?}");
    let job = Service::nats_js(&server.url(), "job").start();
    wait_for("it is watched", || {
        check("1s").first_line().contains("2 services").then_some(())
    });
    job.stop();
    check("1s").assert_first(2, "NATS_SERVICES CRITICAL - 1 of 2 services down: job *");
}

#[test]
#[ignore = "needs nats-server"]
fn all_and_a_name_exclude_each_other() {
    let monitor = AllMonitor::new("nats://127.0.0.1:1");
    for (words, pattern) in [
        (&["--all", "-n", "orders"][..], "NATS_SERVICE* UNKNOWN - *--all*"),
        (&["-n", "orders", "--only", "a"], "NATS_SERVICE* UNKNOWN - *--all*"),
        (
            &["-n", "orders", "--adopt-after", "1s"],
            "NATS_SERVICE* UNKNOWN - *--all*",
        ),
        (&["--all", "--request", "echo"], "NATS_SERVICE* UNKNOWN - *--request*"),
    ] {
        let out = monitor.run(words).run();
        assert_eq!(out.code, Some(3), "{out:?}");
        out.assert(3, pattern);
    }
}

/// An outage is one, whoever finds it and whoever asks.
#[test]
#[ignore = "needs nats-server"]
fn a_check_of_all_and_a_check_of_one_share_their_memory() {
    let server = Server::start(Version::V2_10);
    let url = server.url();
    let start = |name: &str| Service::async_nats(&url, name).count(2).start();
    let (orders, mail, _billing) = (start("orders"), start("mail"), start("billing"));
    let monitor = AllMonitor::new(&url);
    let all = || monitor.all(SOON).run();
    let one = |name: &str| monitor.one(name, SOON).run();
    // Found by all, told by one that has never run before.
    all().assert_first(0, "NATS_SERVICES OK - 3 services, 6 instances*");
    orders.kill();
    server.wait_for_instances("orders", 0);
    all().assert_first(
        2,
        "NATS_SERVICES CRITICAL - 1 of 3 services down: orders (2 instances until * ago)*",
    );
    one("orders").assert_first(
        2,
        "NATS_SERVICE CRITICAL - orders: still down for *, no responders, had 2 instances*",
    );
    // Ended by one, told by all: no outage is left.
    let orders = start("orders");
    one("orders").assert_first(0, "NATS_SERVICE OK - orders: 2 instances*, recovered after *");
    let json = Findings::read(&monitor.all(SOON).args(["--format", "json"]).run(), 0);
    assert_eq!(json.of("orders")["reason"], "service_up");
    // Found by one, told by all.
    one("mail").assert_first(0, "NATS_SERVICE OK - mail: 2 instances*");
    mail.kill();
    server.wait_for_instances("mail", 0);
    one("mail").assert_first(
        2,
        "NATS_SERVICE CRITICAL - mail: down, no responders, 2 instances until *",
    );
    all().assert_first(
        2,
        "NATS_SERVICES CRITICAL - 1 of 3 services still down: mail (2 instances until * ago)*",
    );
    // Ended by all, told by one.
    let _mail = start("mail");
    all().assert_first(
        0,
        "NATS_SERVICES OK - 3 services, 6 instances, 1 recovered: mail (after *)*",
    );
    one("mail").assert_first(0, "NATS_SERVICE OK - mail: 2 instances, slowest answer * | *");
    // Without a word of all, one that is alone from the beginning.
    orders.kill();
    server.wait_for_instances("orders", 0);
    one("orders").assert_first(
        2,
        "NATS_SERVICE CRITICAL - orders: down, no responders, 2 instances until *",
    );
    all().assert_first(2, "NATS_SERVICES CRITICAL - 1 of 3 services still down: orders *");
}

#[test]
#[ignore = "needs nats-server"]
fn the_state_of_all_services_can_be_shown_listed_and_reset() {
    let server = Server::start(Version::Newest);
    let orders = Service::async_nats(&server.url(), "orders").count(2).start();
    let _mail = Service::async_nats(&server.url(), "mail").start();
    let monitor = AllMonitor::new(server.url());
    let all = || monitor.all(SOON).run();
    all().assert_first(0, "NATS_SERVICES OK - 2 services, 3 instances*");
    orders.kill();
    server.wait_for_instances("orders", 0);
    all().assert_first(2, "NATS_SERVICES CRITICAL - 1 of 2 services down: orders *");
    let show = |words: &[&str]| {
        let out = monitor.run(words).run();
        assert_eq!((out.code, out.stderr.as_str()), (Some(0), ""), "{out:?}");
        out.stdout
    };
    let one = show(&["state", "show", "-n", "orders"]);
    assert!(one.contains("outage since "), "{one}");
    let both = show(&["state", "show", "--all"]);
    assert!(
        both.contains("orders") && both.contains("mail") && both.contains("outage since "),
        "{both}"
    );
    let list = Check::new(["state", "list", "--state-dir", &monitor.home.join("state")]).run();
    assert_eq!(list.code, Some(0), "{list:?}");
    assert!(
        list.stdout.contains("orders") && list.stdout.contains("mail"),
        "{list:?}"
    );
    // One is forgotten, and then all.
    show(&["state", "reset", "-n", "orders"]);
    all().assert_first(0, "NATS_SERVICES OK - 1 service, 1 instance*");
    let of_nobody = show(&["state", "reset", "--all", "--only", "nobody*"]);
    assert!(of_nobody.starts_with("forgotten: 0 services in "), "{of_nobody:?}");
    assert!(show(&["state", "show", "--all"]).contains("mail"));
    assert!(!show(&["state", "show", "--all", "--exclude", "mail"]).contains("mail"));
    show(&["state", "reset", "--all"]);
    let both = monitor.run(&["state", "show", "--all"]).run();
    assert!(!both.stdout.contains("mail"), "{both:?}");
    all().assert_first(0, "NATS_SERVICES OK - 1 service, 1 instance*");
}

#[test]
#[ignore = "needs nats-server"]
fn without_a_state_an_outage_is_seen_by_what_is_expected() {
    let server = Server::start(Version::V2_9);
    let _mail = Service::nats_py(&server.url(), "mail").start();
    let check = |flags: &[&str]| {
        let words = ["--all", "-s", &server.url(), "--no-state"];
        Check::new(words).args(SOON).args(flags).run()
    };
    check(&["--expect", "mail"]).assert_first(0, "NATS_SERVICES OK - 1 service, 1 instance*");
    check(&["--expect", "orders", "-c", "1:"]).assert_first(2, "NATS_SERVICES CRITICAL - 1 of 2 services *: orders*");
}

/// One run at a time writes, and none loses what another has found: overlapping runs for all and for one.
#[test]
#[ignore = "needs nats-server"]
fn overlapping_runs_lose_no_outage_and_invent_none() {
    let server = Server::start(Version::Newest);
    let url = server.url();
    let gone = Service::async_nats(&url, "gone-0,gone-1,gone-2").start();
    let _there = Service::async_nats(&url, "there-0,there-1,there-2").start();
    let monitor = AllMonitor::new(&url);
    monitor.json(0);
    gone.kill();
    for name in ["gone-0", "gone-1", "gone-2"] {
        server.wait_for_instances(name, 0);
    }
    let mut runs = Vec::new();
    for number in 0..30 {
        let run = match number % 3 {
            0 => monitor.one(&format!("gone-{}", number / 3 % 3), SOON),
            1 => monitor.one(&format!("there-{}", number / 3 % 3), SOON),
            _ => monitor.all(SOON),
        };
        runs.push((number % 3, run.spawn()));
    }
    for (kind, run) in runs {
        let out = run.wait();
        assert_eq!(out.code, Some(if kind == 1 { 0 } else { 2 }), "{out:?}");
    }
    let json = monitor.json(2);
    assert_eq!(json.with_status("CRITICAL"), ["gone-0", "gone-1", "gone-2"]);
    assert_eq!(json.with_status("OK"), ["there-0", "there-1", "there-2"]);
}

fn thousand(number: usize) -> Vec<String> {
    (0..number).map(|n| format!("service-{n:04}")).collect()
}

/// A thousand services with ten instances each: what a usual run costs, and what the state has.
#[test]
#[ignore = "needs nats-server"]
fn timed_a_thousand_services_keep_to_their_bounds() {
    let server = Server::start(Version::Newest);
    let names = thousand(1000);
    let _most = Crowd::of_services(&server.url(), &names[100..], 10);
    let some = Crowd::of_services(&server.url(), &names[..100], 10);
    let monitor = AllMonitor::new(server.url());
    let up = "NATS_SERVICES OK - 1000 services, 10000 instances* | services=1000;;;0; services_down=0;;;0; instances=10000;*";
    monitor.all([""; 0]).run().assert(0, up);
    let usual = monitor.all([""; 0]).run().assert(0, up);
    let peak = Program::new(monitor.words(&[])).peak_kib().expect("a peak");
    let state = largest_file(&monitor.home.join("state"));
    println!(
        "a usual run: {:?} wall, {peak} KiB; the state: {state} bytes",
        usual.wall
    );
    // On the two cores where it was measured it takes 200 to 260 ms; the bound of 250 ms is for the best of some runs, and another
    // machine may be slower.
    usual.assert_within(Duration::from_millis(350));
    assert!(peak <= 48 << 10, "{peak} KiB");
    assert!(state <= 4 << 20, "{state} bytes");
    // With all that can be said it is bounded, and not useless.
    let told = monitor.all(["-vv"]).run().assert_first(0, up);
    assert!(
        told.stdout.len() <= 8 << 10 && told.stdout.contains("\nOK service-0000: 10 instances"),
        "{} bytes",
        told.stdout.len()
    );

    drop(some);
    wait_for("they are gone", || {
        raw::ping(&server.url(), &names[99], 1).ok()?.is_empty().then_some(())
    });
    let out = monitor.all([""; 0]).run();
    println!("100 of them down: {:?}", out.wall);
    let out = out.assert_first(2, "NATS_SERVICES CRITICAL - 100 of 1000 services down: service-0000 (10 instances until * ago), * and * more* | services=1000;;;0; services_down=100;;;0; instances=9000;*");
    assert!(out.first_line().len() < 1000, "{out:?}");
    out.assert_within(Duration::from_secs(6));
    monitor
        .all([""; 0])
        .run()
        .assert_first(2, "NATS_SERVICES CRITICAL - 100 of 1000 services still down: *")
        .assert_within(Duration::from_secs(2));
}

/// Again and again all instances of all services are replaced: each time they are known from then on, and what is remembered of those
/// that left stays bounded.
#[test]
#[ignore = "needs nats-server"]
fn rollouts_of_a_thousand_services_are_learned() {
    let server = Server::start(Version::Newest);
    let names = thousand(1000);
    let monitor = AllMonitor::new(server.url());
    let up = "NATS_SERVICES OK - 1000 services, 10000 instances* | services=1000;;;0; services_down=0;;;0; instances=10000;*";
    let mut crowd = Crowd::of_services(&server.url(), &names, 10);
    monitor.all([""; 0]).run().assert(0, up);
    for rollout in 1..=3 {
        drop(crowd);
        crowd = Crowd::of_new_instances(&server.url(), &names, 10, rollout * 10_000);
        for _ in 0..2 {
            monitor.all(["-t", "60s"]).run().assert(0, up);
        }
    }
    // Who left within a day is remembered besides.
    let state = largest_file(&monitor.home.join("state"));
    assert!(state <= 4 << 20, "{state} bytes");
    drop(crowd);
}

fn largest_file(dir: &str) -> u64 {
    let files = fs::read_dir(dir).expect("the folder of the state");
    let sizes = files.map(|file| file.expect("a file").metadata().expect("its size").len());
    sizes.max().expect("a state")
}
