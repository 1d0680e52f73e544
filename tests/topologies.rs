//! Clusters, leaves, gateways and account imports: what is true next to the service is true from everywhere.

use std::process::Command;
use std::thread;
use std::time::Duration;

use super::support::net::{Net, STREAM, import};
use super::support::server::{free_port, on};
use super::support::{Monitor, Namespace, Output, Proxy, Server, Service, Version, each, raw, wait_for};

/// Up is OK and down is CRITICAL from everywhere, wherever the service is.
fn is_seen_from_everywhere(net: &Net) {
    net.everywhere(|n, next_to_it| {
        let name = &format!("orders{n}");
        let monitors: Vec<Monitor> = net
            .0
            .iter()
            .map(|server| Monitor::new(server.url()).service(name))
            .collect();
        let all = |code, text: &str| {
            net.everywhere(|n, _| {
                let out = monitors[n].check(["--confirm", "300ms"]).run();
                out.assert_first(code, &text.replace("NAME", name));
            });
        };
        let service = Service::async_nats(&next_to_it.url(), name).count(2).start();
        net.wait_for_instances(name, 2);
        all(0, "NATS_SERVICE OK - NAME: 2 instances, slowest answer * | *");
        service.kill();
        net.wait_for_instances(name, 0);
        let down =
            "NATS_SERVICE CRITICAL - NAME: down, no responders, 2 instances until *s ago, NATS * is fine (*), last seen: * | *";
        all(2, down);
        all(
            2,
            "NATS_SERVICE CRITICAL - NAME: still down for *s, no responders, had 2 instances, NATS * | *",
        );
        let _service = Service::async_nats(&next_to_it.url(), name).start();
        net.wait_for_instances(name, 1);
        let recovered = "NATS_SERVICE OK - NAME: 1 instance (had 2), recovered after *s, gone: * (1.0.0) | *";
        all(0, recovered);
    });
}

#[test]
#[ignore = "needs nats-server"]
fn a_cluster_is_one_for_the_probe() {
    on(&[Version::V2_9, Version::Newest], |version| {
        is_seen_from_everywhere(&Net::cluster(version, 3))
    });
}

#[test]
#[ignore = "needs nats-server"]
fn a_leaf_and_its_hub_are_one_for_the_probe() {
    is_seen_from_everywhere(&Net::leaf(Version::Newest));
}

#[test]
#[ignore = "needs nats-server"]
fn two_clusters_with_a_gateway_are_one_for_the_probe() {
    is_seen_from_everywhere(&Net::gateway(Version::Newest));
}

/// While the server next to the probe restarts, and until it knows of the service again, there is no outage. Returns how
/// many of three first runs after a restart had to ask again.
fn a_restart_is_no_outage(mut net: Net, probe: usize, service: usize) -> usize {
    let _service = Service::async_nats(&net.0[service].url(), "orders").start();
    net.wait_for_instances("orders", 1);
    let monitor = Monitor::new(net.0[probe].url());
    let check = || monitor.check(["--unreachable", "warning", "-vvv"]).run();
    let up = "NATS_SERVICE OK - orders: 1 instance, slowest answer * | *";
    check().assert_first(0, up);
    let mut asked_again = 0;
    for _ in 0..3 {
        net.0[probe].stop();
        check().assert_first(
            1,
            "NATS_SERVICE WARNING - orders: cannot reach NATS at *: connection refused *",
        );
        net.0[probe].start_again();
        let early = check().assert_first(0, up);
        asked_again += usize::from(early.stdout.contains("ms asking again\n"));
        check().assert_first(0, up);
    }
    asked_again
}

#[test]
#[ignore = "needs nats-server"]
fn a_restarted_node_of_a_cluster_is_no_outage() {
    on(&Version::ALL, |version| {
        a_restart_is_no_outage(Net::cluster(version, 3), 1, 0);
    });
}

#[test]
#[ignore = "needs nats-server"]
fn a_restarted_hub_is_no_outage() {
    on(&Version::ALL, |version| {
        // The leaf waits for 1 s before it connects again: the first run comes too early for one asking.
        assert!(a_restart_is_no_outage(Net::leaf(version), 0, 1) > 0);
    });
}

#[test]
#[ignore = "needs nats-server"]
fn a_restarted_leaf_is_no_outage() {
    on(&Version::ALL, |version| {
        a_restart_is_no_outage(Net::leaf(version), 1, 0);
    });
}

/// A link between two servers that is broken for 2.2 s is no outage. One that is broken for longer than `--confirm` is an outage until
/// it is mended.
fn a_broken_link_is_reported_in_time(start: impl FnOnce(&mut dyn FnMut(u16) -> u16) -> Net) {
    let mut links = Vec::new();
    let net = start(&mut |port| Proxy::before(port, &mut links));
    let on_all_links = |what: fn(&Proxy)| links.iter().for_each(what);
    let [here, there] = &net.0[..] else {
        panic!("two servers")
    };
    let _service = Service::async_nats(&there.url(), "orders").start();
    net.wait_for_instances("orders", 1);
    let up = "NATS_SERVICE OK - orders: 1 instance, slowest answer * | *";
    for servers in [here.url(), format!("{},{}", here.url(), there.url())] {
        let monitor = Monitor::new(servers);
        monitor.check([""; 0]).run().assert_first(0, up);
        on_all_links(Proxy::cut);
        let run = monitor.check([""; 0]).spawn();
        // The passing of time is what is tested: the link is broken for so long.
        thread::sleep(Duration::from_millis(2200));
        on_all_links(Proxy::mend);
        run.wait().assert_first(0, up);
        here.wait_for_instances("orders", 1);
    }
    let breaks: [(_, fn(&Proxy)); 2] = [
        ("down, no responders", Proxy::cut),
        (
            "silent, no answer within *s though somebody is subscribed (hung, *, or behind a link or server that hangs)",
            Proxy::stick,
        ),
    ];
    for (what, break_it) in breaks {
        let monitor = Monitor::new(here.url());
        let check = || monitor.check([""; 0]).run();
        check().assert_first(0, up);
        on_all_links(break_it);
        check().assert_first(
            2,
            &format!(
                "NATS_SERVICE CRITICAL - orders: {what}, 1 instance until *s ago, NATS * is fine (*), last seen: * | *"
            ),
        );
        on_all_links(Proxy::mend);
        on_all_links(Proxy::unstick);
        here.wait_for_instances("orders", 1);
        check().assert_first(0, "NATS_SERVICE OK - orders: 1 instance, recovered after *s | *");
    }
}

#[test]
#[ignore = "needs nats-server"]
fn a_broken_link_to_a_leaf_is_reported_in_time() {
    a_broken_link_is_reported_in_time(|link| Net::leaf_on("127.0.0.1", Version::Newest, "", link));
}

#[test]
#[ignore = "needs nats-server"]
fn a_broken_link_between_gateways_is_reported_in_time() {
    a_broken_link_is_reported_in_time(|link| Net::gateway_on("127.0.0.1", Version::Newest, "", link));
}

/// A monitor that knows both servers asks the other one.
#[test]
#[ignore = "needs nats-server"]
fn a_stopped_leaf_or_gateway_is_no_outage_of_those_behind_the_other_one() {
    each([Net::leaf, Net::gateway], |start| {
        let mut net = start(Version::Newest);
        let _service = Service::async_nats(&net.0[1].url(), "orders").start();
        net.wait_for_instances("orders", 1);
        let monitor = Monitor::new(format!("{},{}", net.0[0].url(), net.0[1].url()));
        let check = || monitor.check([""; 0]).run();
        let up = "NATS_SERVICE OK - orders: 1 instance, slowest answer * | *";
        check().assert_first(0, up);
        net.0[0].stop();
        check().assert_first(0, up);
    });
}

#[test]
#[ignore = "needs nats-server"]
fn a_restarted_gateway_is_no_outage() {
    on(&Version::ALL, |version| {
        assert!(a_restart_is_no_outage(Net::gateway(version), 0, 1) > 0);
    });
}

/// Asserts the verdict just after one server of a cluster, the one next to the services, went away in this way: they connect to
/// another one, some of them after 2 s.
fn a_failover_is_no_outage(go_away: impl Fn(&mut Server) + Sync) {
    let clients = [Service::nats_py, Service::nats_js, Service::async_nats];
    each(clients, |start| {
        let mut net = Net::cluster(Version::Newest, 3);
        let _service = start(&net.0[0].url(), "orders").start();
        net.wait_for_instances("orders", 1);
        let up = "NATS_SERVICE OK - orders: 1 instance, slowest answer * | *";
        // One asks the server that goes away, and another one only if it has to; the other asks one that stays.
        let both = Monitor::new(format!("{},{}", net.0[0].url(), net.0[1].url()));
        let neighbour = Monitor::new(net.0[2].url());
        let check = |monitor: &Monitor| monitor.check([""; 0]).run().assert_first(0, up);
        check(&both);
        check(&neighbour);
        go_away(&mut net.0[0]);
        each([&both, &neighbour], |monitor| {
            check(monitor);
            assert!(monitor.epoch().contains("\nno outage\n"));
        });
    });
}

#[test]
#[ignore = "needs nats-server"]
fn a_failover_to_another_server_is_no_outage() {
    a_failover_is_no_outage(Server::stop);
}

/// As `nats-server --signal ldm` does: no new connections, the old ones are sent away, then the server ends.
#[test]
#[ignore = "needs nats-server"]
fn a_lame_duck_is_no_outage() {
    a_failover_is_no_outage(|server| {
        server.signal(libc::SIGUSR2);
        wait_for("lame duck mode", || server.log().contains("lame duck").then_some(()));
    });
}

/// The server keeps its id, and lets go of the clients whose user has changed.
#[test]
#[ignore = "needs nats-server"]
fn a_reload_that_lets_clients_go_is_no_outage() {
    let config = |password: &str| {
        format!("authorization {{ users: [ {{user: mon, password: s3cret}}, {{user: app, password: {password}}} ] }}")
    };
    each([Service::nats_js, Service::async_nats], |start| {
        let server = Server::with_config(Version::Newest, &config("app"));
        let reload = |password: &str, line: &str| {
            let before = server.log().matches(line).count();
            std::fs::write(server.dir().join("server.conf"), config(password)).unwrap();
            server.signal(libc::SIGHUP);
            wait_for(line, || (server.log().matches(line).count() > before).then_some(()));
        };
        let url = format!("nats://app:app@127.0.0.1:{}", server.port());
        let _service = start(&url, "orders").start();
        let monitor = Monitor::new(server.url()).login(&["--user", "mon", "--password", "s3cret"]);
        let up = "NATS_SERVICE OK - orders: 1 instance, slowest answer * | *";
        monitor.check([""; 0]).run().assert_first(0, up);
        // The server closes the connection of the service, which is let in again after the second reload.
        reload("new", "authentication error - User \"app\"");
        reload("app", "Reloaded server configuration");
        monitor
            .check(["--confirm", "30s", "-t", "60s"])
            .run()
            .assert_first(0, up);
        assert!(monitor.epoch().contains("\nno outage\n"));
    });
}

/// Two servers with 110 addresses each: the INFO of either names all of them, in more bytes than the client reads.
#[test]
#[ignore = "needs nats-server"]
fn servers_with_many_addresses_are_read() {
    on(&Version::ALL, |version| {
        let host = Namespace::with_addresses(110);
        let ports = [free_port(), free_port()];
        let node = |port: u16| {
            let routes = ports.map(|port| format!("nats://127.0.0.1:{port}"));
            let cluster = format!("name: c, listen: \"127.0.0.1:{port}\", routes: {routes:?}");
            Server::inside(&host, version, &format!("cluster {{ {cluster} }}"))
        };
        let servers = ports.map(node);
        let [url, other] = [&servers[0], &servers[1]].map(|server| format!("nats://127.0.0.1:{}", server.port()));
        let run_in = host.run_in();
        let run_in: Vec<&str> = run_in.iter().map(String::as_str).collect();
        let service = Service::async_nats(&other, "orders").under(&run_in).start();
        let length = || {
            let script = format!("exec 3<>/dev/tcp/127.0.0.1/{}; head -n 1 <&3", servers[0].port());
            let out = Command::new(run_in[0])
                .args(&run_in[1..])
                .args(["bash", "-c", &script])
                .output();
            let info = out.expect("bash runs").stdout;
            (info.len() > 4096).then_some(())
        };
        wait_for("an INFO that names all addresses", length);
        let monitor = Monitor::new(&url);
        let check = || monitor.check(["--confirm", "50ms"]).under(&run_in).run();
        wait_for("the service is seen by the first server", || {
            (check().first_line().starts_with("NATS_SERVICE OK")).then_some(())
        });
        check().assert_first(0, "NATS_SERVICE OK - orders: 1 instance, slowest answer * | *");
        service.stop();
        let down = "NATS_SERVICE CRITICAL - orders: down, no responders, 1 instance until * ago, *";
        check().assert_first(2, down);
    });
}

const SINGLE: &str = r#"service: "$SRV.PING.>""#;

const MON: [&str; 6] = ["--user", "mon", "--password", "s3cret", "--srv-prefix", "APP.$SRV"];

/// The services' side of the server.
fn app(server: &Server) -> String {
    format!("nats://app:app@127.0.0.1:{}", server.port())
}

fn wait_for_instances(server: &Server, count: usize) {
    wait_for("the instances", || {
        let ids = raw::ping(&app(server), "orders", count + 1).ok()?;
        (ids.len() == count).then_some(())
    });
}

#[test]
#[ignore = "needs nats-server"]
fn all_instances_are_counted_through_an_import() {
    on(&Version::ALL, |version| {
        let server = Server::with_config(version, &import(STREAM));
        let three = Service::async_nats(&app(&server), "orders").count(3).start();
        let monitor = Monitor::new(server.url()).login(&MON);
        let ok = "NATS_SERVICE OK - orders: 3 instances, slowest answer * | instances=3;;;0; *";
        for _ in 0..2 {
            monitor.check(["-v"]).run().assert_first(0, ok);
        }
        // One is asked for itself, through the import as well.
        let one = Service::nats_py(&app(&server), "orders").start();
        monitor
            .check(["--census", "0"])
            .run()
            .assert_first(0, "NATS_SERVICE OK - orders: 4 instances, *");
        one.freeze();
        let text = format!("3 instances, slowest answer *, not answering: {} (1.0.0)", one.id());
        monitor
            .check(["-v"])
            .run()
            .assert_first(0, &format!("NATS_SERVICE OK - orders: {text} | *"));

        drop((one, three));
        wait_for_instances(&server, 0);
        let out = monitor.check(["-v", "--timeout", "6s", "--stall", "100ms"]).run();
        // Servers before 2.10.26 do not say through an import that nobody is there.
        match version {
            Version::Newest => out
                .assert_first(2, "NATS_SERVICE CRITICAL - orders: down, no responders, 3 instances until *s ago, NATS *")
                .assert_finding("CRITICAL service_down: *"),
            _ => out
                .assert_first(
                    2,
                    "NATS_SERVICE CRITICAL - orders: silent, no answer within *s though somebody is subscribed (hung, or \
                     nobody is there: through an import, a server before 2.10.26 does not say so), 3 instances until *s ago, NATS *",
                )
                .assert_finding("CRITICAL service_silent: *"),
        };
    });
}

#[test]
#[ignore = "needs nats-server"]
fn an_import_that_lets_one_answer_through_is_suspected() {
    on(&Version::ALL, |version| {
        let mut server = Server::with_config(version, &import(STREAM));
        let _three = Service::async_nats(&app(&server), "orders").count(3).start();
        let monitor = Monitor::new(server.url()).login(&MON);
        let ok = "NATS_SERVICE OK - orders: 3 instances, slowest answer * | instances=3;;;0; *";
        monitor.check(["-v"]).run().assert_first(0, ok);
        server.restart(&import(SINGLE));
        wait_for_instances(&server, 3);
        let hint = ", only one answers through the import: does its export say response_type: stream?";
        // Those that do not come through are asked one by one, so that the number is right. They are not slow.
        let hinted = |out: Output, count: &str| {
            assert!(out.perfdata("rtt_max") < Some(0.3), "{}", out.stdout);
            out.assert_first(
                0,
                &format!("NATS_SERVICE OK - orders: {count}, slowest answer *{hint} | *"),
            );
        };
        // The newest server may let another answer through before it has dealt with the first.
        let is_hinted = || Some(monitor.check(["-v"]).run()).filter(|out| out.first_line().contains(hint));
        hinted(wait_for("only one answer comes through", is_hinted), "3 instances");

        // Whoever may not ask one by one counts those whose answers came through to one of many requests.
        server.restart(&import(SINGLE).replace(r#""APP.$SRV.PING.>"]"#, r#""APP.$SRV.PING.*"]"#));
        wait_for_instances(&server, 3);
        for _ in 0..2 {
            let out = wait_for("only one answer comes through", is_hinted);
            out.assert_first(0, &format!("NATS_SERVICE OK - orders: * slowest answer **{hint} | *"));
        }
    });
}
