//! Libraries that put the control subjects of a service into a queue group: each PING reaches one instance only. And two processes
//! under one id.

use super::support::http;
use super::support::server::free_port;
use super::support::{Check, Monitor, Server, Service, Sidecar, Version, wait_for};

const SHARED: &str = "a PING does not reach all of them: *";

fn in_a_queue_group(server: &Server) -> Service {
    Service::odd(&server.url(), "orders", 3, &["queue=q", "meta=pod:orders"]).start()
}

#[test]
#[ignore = "needs nats-server"]
fn a_queue_group_is_named_and_never_critical() {
    let server = Server::start(Version::Newest);
    let _service = in_a_queue_group(&server);
    let monitor = Monitor::new(server.url());
    let well = format!("NATS_SERVICE OK - orders: 3 instances, slowest answer *, {SHARED}");
    for _ in 0..5 {
        for state in [&["--no-state"][..], &[]] {
            let out = monitor.check(["-w", "3:", "-c", "2:"]).args(state).run();
            assert!(!out.stdout.contains("slow:"), "{out:?}");
            out.assert_first(0, &well);
        }
    }
    // More than there are: they cannot all be counted.
    monitor.check(["--no-state", "-c", "5:"]).run().assert_first(
        1,
        &format!("NATS_SERVICE WARNING - orders: 3 instances, * 5:*, {SHARED}"),
    );
}

/// Halfway through an update of the library: two share a queue group, one does not.
#[test]
#[ignore = "needs nats-server"]
fn a_queue_group_beside_other_instances_is_named_and_never_critical() {
    let server = Server::start(Version::Newest);
    let _old = Service::odd(&server.url(), "orders", 2, &["queue=q", "meta=pod:old"]).start();
    let new = Service::odd(&server.url(), "orders", 1, &["meta=pod:new"]).start();
    let monitor = Monitor::new(server.url());
    let well = format!("NATS_SERVICE OK - orders: 3 instances, slowest answer *, {SHARED}");
    for _ in 0..5 {
        monitor.check(["--no-state", "-c", "3:"]).run().assert_first(0, &well);
        let out = monitor.check(["-c", "3:"]).run();
        out.assert_first(0, "NATS_SERVICE OK - orders: 3 instances, *");
        for pod in ["pod=old-0", "pod=old-1", "pod=new-0"] {
            let flags = ["probe", "liveness", "-n", "orders", "--timeout", "5s", "--match", pod];
            let out = Check::new(flags).args(["-s", &server.url()]).run();
            out.assert(0, "liveness pass: orders: * answered in *");
        }
    }
    let too_few = format!("NATS_SERVICE WARNING - orders: 3 instances, * 5:*, {SHARED}");
    monitor
        .check(["--no-state", "-c", "5:"])
        .run()
        .assert_first(1, &too_few);
    // Two that are not in a queue group are as few as they seem.
    drop(new);
    let _news = Service::odd(&server.url(), "billing", 2, &[]).start();
    let out = Monitor::new(server.url())
        .service("billing")
        .check(["--no-state", "-c", "3:"])
        .run();
    out.assert_first(2, "NATS_SERVICE CRITICAL - billing: 2 instances, fewer than 3 *");
}

#[test]
#[ignore = "needs nats-server"]
fn a_single_instance_that_is_too_few_stays_critical() {
    let server = Server::start(Version::Newest);
    let _service = Service::odd(&server.url(), "orders", 1, &["queue=q"]).start();
    Monitor::new(server.url())
        .check(["--no-state", "-c", "2:"])
        .run()
        .assert_first(2, "NATS_SERVICE CRITICAL - orders: 1 instance, * 2:*");
}

#[test]
#[ignore = "needs nats-server"]
fn a_pod_in_a_queue_group_passes_and_a_frozen_one_fails() {
    let server = Server::start(Version::Newest);
    let pods = ["a", "b", "c"].map(|pod| {
        let meta = format!("meta=pod:{pod}");
        Service::odd(&server.url(), "orders", 1, &["queue=q", &meta]).start()
    });
    let probe = |kind: &str, pod: &str| {
        let values = ["-s", &server.url(), "-n", "orders", "--match", pod].map(String::from);
        Check::new(["probe", kind]).args(values).args(["--timeout", "5s"]).run()
    };
    for _ in 0..10 {
        for pod in ["pod=a-0", "pod=b-0", "pod=c-0"] {
            probe("liveness", pod).assert(0, "liveness pass: orders: * answered in *");
        }
    }
    pods[0].freeze();
    probe("liveness", "pod=a-0").assert(1, "liveness fail: orders: *");
    probe("readiness", "pod=b-0").assert(0, "readiness pass: orders: * answered in *");
}

#[test]
#[ignore = "needs nats-server"]
fn a_sidecar_finds_its_pod_in_a_queue_group() {
    let server = Server::start(Version::Newest);
    let _service = in_a_queue_group(&server);
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let flags = ["--listen", &address, "--match", "pod=orders-0", "--interval", "200ms"];
    let sidecar = Sidecar::start(&server.url(), &flags);
    wait_for("a check", || http::get(port, "/status").ok());
    for _ in 0..10 {
        let reply = http::ask(port, "GET", "/livez").expect("a reply");
        assert_eq!(reply.status, 200, "{}", reply.body);
        sidecar.wait_for_the_next();
    }
    sidecar.end(libc::SIGTERM);
}

#[test]
#[ignore = "needs nats-server"]
fn two_processes_under_one_id_are_named() {
    let server = Server::start(Version::Newest);
    let _service = Service::odd(&server.url(), "orders", 2, &["ids=SAME,SAME"]).start();
    let monitor = Monitor::new(server.url());
    let text = "1 instance, *, 2 replies from one id (SAME): is it running twice?";
    let out = monitor.check(["-w", "2:"]).run();
    out.assert_first(1, &format!("NATS_SERVICE WARNING - orders: {text} |*"));
    monitor
        .check(["--no-state"])
        .run()
        .assert_first(0, &format!("NATS_SERVICE OK - orders: {text} |*"));
}

/// Without it a graph has gaps, and Icinga a warning in its log.
#[test]
#[ignore = "needs nats-server"]
fn the_round_trip_to_nats_is_always_measured() {
    let certs = super::support::Certs::new();
    let config = certs.config("server", "") + "allow_non_tls: true\n";
    let server = Server::with_config(Version::Newest, &config);
    let _service = Service::async_nats(&server.url(), "orders").count(2).start();
    let ca = certs.path("ca.pem");
    let tls = format!("tls://127.0.0.1:{}", server.port());
    for (url, login) in [(server.url(), &[][..]), (tls, &["--tlsca", &ca])] {
        let monitor = Monitor::new(url).login(login);
        for _ in 0..40 {
            let out = monitor.check([""; 0]).run();
            assert!(out.perfdata("nats_rtt").is_some(), "{out:?}");
        }
    }
}
