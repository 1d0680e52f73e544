//! The outputs about all services: each output reports the same as the others, and as the single check.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use super::support::check::Running;
use super::support::http::{self, Reply};
use super::support::prometheus::assert_clean;
use super::support::server::free_port;
use super::support::{AllMonitor, Check, Crowd, Findings, Metrics, Server, Service, TempDir, Version, raw, wait_for};

const SOON: [&str; 4] = ["--confirm", "200ms", "--stall", "100ms"];

/// A server with `orders` (three instances), `mail`, which has lost one of two, and `billing`, which is down.
struct Scene {
    server: Server,
    monitor: AllMonitor,
    _services: Vec<Service>,
}

impl Scene {
    fn start() -> Scene {
        let server = Server::start(Version::Newest);
        let url = server.url();
        let orders = Service::async_nats(&url, "orders")
            .count(3)
            .metadata("pod", "orders-0")
            .start();
        let [mail, lost] = [(); 2].map(|()| Service::nats_js(&url, "mail").start());
        let billing = Service::nats_py(&url, "billing").metadata("pod", "billing-0").start();
        let monitor = AllMonitor::new(&url);
        monitor
            .all(["--stall", "2s"])
            .run()
            .assert_first(0, "NATS_SERVICES OK - 3 services, 6 instances*");
        lost.kill();
        billing.kill();
        wait_for("they are gone", || {
            (raw::ask(&url, "$SRV.PING", 5).ok()?.len() == 4).then_some(())
        });
        monitor
            .all(SOON)
            .run()
            .assert_first(2, "NATS_SERVICES CRITICAL - 1 of 3 services down: billing *");
        Scene {
            server,
            monitor,
            _services: vec![orders, mail],
        }
    }

    fn check(&self, flags: &[&str]) -> Check {
        self.monitor.all(SOON).args(["--lost-warning", "1"]).args(flags)
    }

    fn one(&self, name: &str, flags: &[&str]) -> Check {
        self.monitor.one(name, SOON).args(["--lost-warning", "1"]).args(flags)
    }
}

const LINE: &str = "NATS_SERVICES CRITICAL - 1 of 3 services still down: billing (1 instance until * ago), WARNING: 1 degraded: mail (1 of 2 instances)";

#[test]
#[ignore = "needs nats-server"]
fn every_format_says_the_same() {
    let scene = Scene::start();
    let nagios = scene.check(&[]).run();
    let line = LINE.replace("WARNING: ", "*");
    let perfdata =
        "services=3;;;0; services_down=1;;;0; instances=4;;;0; nats_rtt=*s;;;0; outage=*s;;;0; probe=*s;;;0;";
    nagios.assert(2, &format!("{line} | {perfdata}"));

    scene.check(&["-v"]).run().assert(
        2,
        &format!(
            "{line} | {perfdata}\n\
             CRITICAL service_down\n\
             WARNING instances_lost\n\
             asked NATS 2.15.* at 127.0.0.1:*, round trip *\n\
             CRITICAL billing: still down for *, no responders, had 1 instance, last seen: * (1.0.0, pod=billing-0)\n\
             WARNING mail: 1 of 2 instances, 1 lost for *, warning from 1, gone: * (1.0.0)"
        ),
    );
    let out = scene.check(&["-vv"]).run();
    out.assert_line("OK orders: 3 instances, slowest answer *");
    let out = scene.check(&["-vvv"]).run();
    assert!(out.stdout.contains(" logged in\n"), "the steps: {out:?}");

    let text = scene.check(&["--format", "text"]).run();
    assert_eq!((text.code, text.stderr.as_str()), (Some(2), ""), "{text:?}");
    for pattern in [
        "all services: CRITICAL",
        "SERVICE  STATUS    INSTANCES  WHAT",
        "billing  CRITICAL  0          still down for *",
        "mail     WARNING   1          1 of 2 instances*",
        "orders   OK        3          3 instances, slowest answer *",
    ] {
        let found = text
            .stdout
            .lines()
            .any(|line| super::support::check::matches(pattern, line));
        assert!(found, "{pattern}: {text:?}");
    }

    let checkmk = scene.check(&["--format", "checkmk"]).run();
    checkmk.assert(
        2,
        "2 \"NATS services\" services=3;;;0|services_down=1;;;0|instances=4;;;0|* 1 of 3 services still down: billing *\n\
         2 \"NATS service billing\" instances=0;;;0|* still down for *\n\
         1 \"NATS service mail\" instances=1;;;0|* 1 of 2 instances*\n\
         0 \"NATS service orders\" instances=3;;;0|* 3 instances, slowest answer *",
    );

    let json = Findings::read(&scene.check(&["--format", "json"]).run(), 2);
    assert_eq!(json.names(), ["billing", "mail", "orders"]);
    for (field, value) in [
        ("status", Value::from("CRITICAL")),
        ("reason", "service_down".into()),
        ("services", 3.into()),
        ("services_down", 1.into()),
        ("instances", 4.into()),
        ("asked", true.into()),
    ] {
        assert_eq!(json.all[field], value, "{field}: {}", json.all);
    }
    assert_eq!(
        json.all["nats"]["address"],
        format!("127.0.0.1:{}", scene.server.port())
    );
    assert!(
        json.all["text"]
            .as_str()
            .expect("a text")
            .starts_with("1 of 3 services still down: billing ")
    );
    let statuses = ["billing", "mail", "orders"].map(|name| json.of(name)["status"].as_str().expect("a status"));
    assert_eq!(statuses, ["CRITICAL", "WARNING", "OK"]);
}

/// The object of a service is the one that its own check prints, but for what changes with the time.
#[test]
#[ignore = "needs nats-server"]
fn the_json_of_each_service_is_that_of_its_own_check() {
    let scene = Scene::start();
    let json = Findings::read(&scene.check(&["--format", "json"]).run(), 2);
    for name in ["billing", "mail", "orders"] {
        let out = scene.one(name, &["--format", "json"]).run();
        let single: Value = serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}: {out:?}"));
        let of_all = json.of(name);
        let fields = |value: &Value| {
            value
                .as_object()
                .expect("an object")
                .keys()
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(fields(of_all), fields(&single));
        for field in [
            "service",
            "status",
            "exit_code",
            "reason",
            "asked",
            "up",
            "instances",
            "baseline_instances",
            "absent",
            "restarts_total",
        ] {
            assert_eq!(of_all[field], single[field], "{name} {field}");
        }
        for (object, field) in [("outage", "since"), ("outage", "last_seen"), ("nats", "version")] {
            assert_eq!(of_all[object][field], single[object][field], "{name} {object} {field}");
        }
        let ids = |value: &Value| {
            let answers = value["answers"].as_array().expect("answers").iter();
            let mut ids: Vec<String> = answers
                .map(|answer| answer["id"].as_str().expect("an id").to_owned())
                .collect();
            ids.sort();
            ids
        };
        assert_eq!(ids(of_all), ids(&single), "{name}");
    }
}

#[test]
#[ignore = "needs nats-server"]
fn perfdata_of_each_service_come_on_request() {
    let scene = Scene::start();
    let out = scene.check(&["--per-service"]).run();
    let values =
        ["services", "services_down", "instances", "orders", "mail", "billing"].map(|label| out.perfdata(label));
    assert_eq!(values, [3.0, 1.0, 4.0, 3.0, 1.0, 0.0].map(Some));
    assert!(out.perfdata("outage") > Some(0.0));
    let out = scene.check(&[]).run();
    assert!(!out.stdout.contains("orders="), "{out:?}");
}

/// The metrics of this run, clean, with each family once.
#[track_caller]
fn assert_metrics(text: &str, nats: &str) -> Metrics {
    assert_clean(text);
    for family in [
        "nats_service_outage",
        "nats_service_status",
        "nats_services",
        "nats_services_down",
    ] {
        let heads = ["HELP", "TYPE"].map(|head| text.matches(&format!("# {head} {family} ")).count());
        assert_eq!(heads, [1, 1], "{family}\n{text}");
    }
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    for sample in samples {
        let of_all = sample.starts_with("nats_services");
        let labels = [("service=", !of_all), ("nats=", true)].map(|(label, wanted)| sample.contains(label) == wanted);
        assert_eq!(labels, [true, true], "{sample}");
        assert!(sample.contains(&format!("nats=\"{nats}\"")), "{sample}");
    }
    Metrics::parse(text)
}

#[test]
#[ignore = "needs nats-server"]
fn the_metrics_of_all_services_are_clean_and_those_of_the_single_check() {
    let mut scene = Scene::start();
    let nats = format!("127.0.0.1:{}", scene.server.port());
    let out = scene.check(&["--format", "prometheus"]).run();
    assert_eq!((out.code, out.stderr.as_str()), (Some(2), ""), "{out:?}");
    let metrics = assert_metrics(&out.stdout, &nats);
    for (name, status, up, instances, outage) in [("orders", 0, 1, 3, 0), ("mail", 1, 1, 1, 0), ("billing", 2, 0, 0, 1)]
    {
        let of = |metric: &str| metrics.of(name, &format!("nats_service_{metric}"));
        let values = ["status", "up", "instances", "outage"].map(of);
        assert_eq!(
            values,
            [status, up, instances, outage].map(|value| Some(f64::from(value))),
            "{name}"
        );
        // The same series, whoever asks: names and labels.
        let single = scene.one(name, &["--format", "prometheus"]).run().stdout;
        let series = |text: &str| -> Vec<String> {
            let lines = text
                .lines()
                .filter(|line| line.contains(&format!("service=\"{name}\"")));
            let mut series: Vec<String> = lines
                .filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned()))
                .collect();
            series.sort();
            series
        };
        assert_eq!(series(&out.stdout), series(&single), "{name}");
    }
    let sample = |name: &str, value: &str| format!("\n{name}{{nats=\"{nats}\"}} {value}\n");
    for (name, value) in [
        ("nats_services", "3"),
        ("nats_services_down", "1"),
        ("nats_services_status", "2"),
        ("nats_services_probe_success", "1"),
    ] {
        assert!(
            out.stdout.contains(&sample(name, value)),
            "{name} {value}\n{}",
            out.stdout
        );
    }

    // Into a file, whatever is said; and with NATS away what is not known is not there.
    let file = scene.monitor.home.join("nats.prom");
    let write = |scene: &Scene, flags: &[&str], code: i32| {
        let words = ["textfile", "--all", "-o", &file];
        let out = scene
            .monitor
            .run(&words)
            .args(SOON)
            .args(["--lost-warning", "1"])
            .args(flags)
            .run();
        out.assert(code, "");
        fs::read_to_string(&file).unwrap()
    };
    let text = write(&scene, &[], 0);
    assert_eq!(
        assert_metrics(&text, &nats).of("billing", "nats_service_outage"),
        Some(1.0)
    );
    assert_eq!(
        write(&scene, &["--exit-status"], 2).lines().count(),
        text.lines().count()
    );
    scene.server.stop();
    let text = write(&scene, &[], 0);
    let metrics = assert_metrics(&text, &nats);
    assert_eq!(
        [
            metrics.of("orders", "nats_service_up"),
            metrics.of("orders", "nats_service_instances")
        ],
        [None, None]
    );
    assert_eq!(metrics.of("billing", "nats_service_outage"), Some(1.0));
    for (name, value) in [
        ("nats_services_probe_success", "0"),
        ("nats_services_down", "1"),
        ("nats_services", "3"),
    ] {
        assert!(text.contains(&sample(name, value)), "{name} {value}\n{text}");
    }
    let text = write(&scene, &["--nats-label", "eu"], 0);
    assert_metrics(&text, "eu");
}

/// `watch --all --listen`.
struct Exporter {
    port: u16,
    watch: Option<Running>,
    dir: TempDir,
}

impl Exporter {
    fn start(url: &str, flags: &[&str]) -> Exporter {
        let (port, dir) = (free_port(), TempDir::new());
        let address = format!("127.0.0.1:{port}");
        let words = ["watch", "--all", "-s", url, "--interval", "200ms", "--listen", &address];
        let watch = Check::new(words)
            .args(SOON)
            .args(flags)
            .limit(Duration::from_secs(120))
            .spawn();
        wait_for("a check", || http::get(port, "/status").ok());
        Exporter {
            port,
            watch: Some(watch),
            dir,
        }
    }

    #[track_caller]
    fn get(&self, path: &str, status: u16) -> Reply {
        let reply = http::ask(self.port, "GET", path).unwrap_or_else(|e| panic!("{path}: {e}"));
        assert_eq!(reply.status, status, "{path}: {reply:?}");
        reply
    }

    /// Waits until a page is as it should be.
    #[track_caller]
    fn wait_for(&self, path: &str, what: &str) -> String {
        wait_for(&format!("{path}: {what}"), || {
            http::get(self.port, path).ok().filter(|body| body.contains(what))
        })
    }

    /// Ends it; returns its log.
    #[track_caller]
    fn end(mut self) -> String {
        let (out, _) = self.watch.take().expect("it runs").end(libc::SIGTERM);
        assert_eq!((out.code, out.stdout.as_str()), (Some(0), ""), "{out:?}");
        out.stderr
    }
}

#[test]
#[ignore = "needs nats-server"]
fn watch_serves_all_services_over_http() {
    let mut server = Server::start(Version::Newest);
    let url = server.url();
    let _orders = Service::async_nats(&url, "orders")
        .count(3)
        .metadata("pod", "orders-0")
        .start();
    let mail = Service::nats_js(&url, "mail").start();
    let exporter = Exporter::start(&url, &["--nats-label", "eu"]);
    let _ = &exporter.dir;

    let metrics = assert_metrics(&exporter.get("/metrics", 200).body, "eu");
    assert_eq!(
        [
            metrics.of("orders", "nats_service_instances"),
            metrics.of("mail", "nats_service_up")
        ],
        [Some(3.0), Some(1.0)]
    );
    let status: Vec<Value> = serde_json::from_str(&exporter.get("/status", 200).body).expect("an array");
    let names: Vec<&Value> = status.iter().map(|object| &object["service"]).collect();
    assert_eq!(names, [&Value::Null, &"mail".into(), &"orders".into()]);
    exporter.get("/healthz", 200);

    // The list, and a page of each service.
    let list = exporter.get("/", 200);
    assert_eq!(list.header("Content-Type"), Some("text/html; charset=utf-8"));
    assert!(
        list.header("Content-Security-Policy")
            .expect("a policy")
            .starts_with("default-src 'none'; ")
    );
    for part in [
        "href=\"/service/orders\"",
        "href=\"/service/mail\"",
        ">OK<",
        "<title>OK",
    ] {
        assert!(list.body.contains(part), "{part}\n{}", list.body);
    }
    assert!(!list.body.contains("<script"), "{}", list.body);
    let page = exporter.get("/service/orders", 200);
    assert!(
        page.body.contains("3 instances, slowest answer ") && page.body.contains("orders-0"),
        "{}",
        page.body
    );
    assert!(page.body.contains("href=\"/\""), "a way back: {}", page.body);
    for path in [
        "/service/nobody",
        "/service/",
        "/service/orders/x",
        "/service/%6frders/..",
        "/probe?service=nobody",
    ] {
        exporter.get(path, 404);
    }

    // The metrics of one service are those among all.
    let one = exporter.get("/probe?service=orders", 200);
    assert_eq!(
        one.header("Content-Type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    assert_clean(&one.body);
    let metrics = Metrics::parse(&one.body);
    assert_eq!(
        [
            metrics.of("orders", "nats_service_up"),
            metrics.of("mail", "nats_service_up")
        ],
        [Some(1.0), None]
    );
    assert!(!one.body.contains("mail"), "{}", one.body);

    // Whether a pod lives is a question to one service.
    for path in ["/livez", "/readyz", "/startupz"] {
        let reply = exporter.get(path, 404);
        assert!(
            reply.body.contains("start watch with --name") || reply.body.contains("-n"),
            "{reply:?}"
        );
    }

    // The worst comes first, and its outage is told once.
    mail.kill();
    let list = exporter.wait_for("/", "<title>CRITICAL");
    let places = ["/service/mail\"", "/service/orders\""].map(|link| list.find(link).expect("a link"));
    assert!(places[0] < places[1], "{list}");
    exporter.wait_for("/service/mail", "CRITICAL");
    exporter.wait_for("/metrics", "nats_services_down{nats=\"eu\"} 1\n");

    // NATS away: the exporter is well, and the outage stays open.
    server.stop();
    let metrics = exporter.wait_for("/metrics", "nats_services_probe_success{nats=\"eu\"} 0\n");
    assert_eq!(Metrics::parse(&metrics).of("mail", "nats_service_outage"), Some(1.0));
    exporter.get("/healthz", 200);
    server.start_again();
    exporter.wait_for("/metrics", "nats_services_probe_success{nats=\"eu\"} 1\n");
    let _mail = Service::nats_js(&url, "mail").start();
    exporter.wait_for("/metrics", "nats_services_down{nats=\"eu\"} 0\n");
    let log = exporter.end();
    assert!(log.contains("1 of 2 services down: mail"), "{log}");
    assert!(log.contains("recovered"), "{log}");
    assert!(
        log.lines().count() < 20,
        "a line for each change, and not for each check: {log}"
    );
}

/// Names come from the network.
#[test]
#[ignore = "needs nats-server"]
fn no_name_of_a_service_is_more_than_a_name() {
    let server = Server::start(Version::Newest);
    let url = server.url();
    // Real libraries refuse such names; whoever answers need not be one.
    let long = "l".repeat(300);
    let names = ["<b>x</b>", "x|y=1", "a;b", "orders", &long].map(String::from);
    let _odd = Crowd::of_services(&url, &names, 1);
    let monitor = AllMonitor::new(&url);
    let out = monitor.all(["-vv", "--stall", "300ms"]).run();
    assert_eq!(out.stderr, "", "{out:?}");
    for part in ["<b>", "x|y", "a;b", long.as_str()] {
        assert!(!out.stdout.contains(part), "{part}: {out:?}");
    }
    out.assert_line("OK orders: 1 instance, slowest answer *");
    let metrics = monitor.all(["--format", "prometheus", "--stall", "300ms"]).run();
    assert_clean(&metrics.stdout);
    let exporter = Exporter::start(&url, &[]);
    let list = exporter.wait_for("/", "/service/orders");
    assert!(!list.contains("<b>x") && !list.contains(&long), "{list}");
    exporter.end();
}

/// A page for each of a thousand services stays small enough to be read.
#[test]
#[ignore = "needs nats-server"]
fn a_watcher_of_many_services_serves_each_of_them() {
    let server = Server::start(Version::V2_10);
    let names: Vec<String> = (0..300).map(|number| format!("service-{number:03}")).collect();
    let _crowd = Crowd::of_services(&server.url(), &names, 2);
    let exporter = Exporter::start(&server.url(), &[]);
    let list = exporter.wait_for("/", "service-299");
    assert_eq!(list.matches("href=\"/service/").count(), 300);
    let metrics = exporter.get("/metrics", 200).body;
    assert_eq!(metrics.matches("\nnats_service_instances{").count(), 300);
    for number in [0, 150, 299] {
        let page = exporter.get(&format!("/service/service-{number:03}"), 200).body;
        assert!(page.contains("2 instances"), "{page}");
    }
    exporter.end();
}

#[test]
#[ignore = "needs nats-server"]
fn watch_keeps_the_memory_of_all_services_in_files_or_for_as_long_as_it_lives() {
    let server = Server::start(Version::Newest);
    let url = server.url();
    let dir = TempDir::new();
    let state = dir.join("state");
    for flags in [&[][..], &["--state-dir", &state]] {
        let orders = Service::async_nats(&url, "orders").start();
        let _mail = Service::async_nats(&url, "mail").start();
        let exporter = Exporter::start(&url, flags);
        orders.kill();
        exporter.wait_for("/metrics", "nats_services_down{nats=\"");
        wait_for("an outage", || {
            let metrics = Metrics::parse(&http::get(exporter.port, "/metrics").ok()?);
            (metrics.of("orders", "nats_service_outage") == Some(1.0)).then_some(())
        });
        exporter.end();
        // The next one knows it where there is a file.
        let next = Exporter::start(&url, flags);
        let metrics = Metrics::parse(&next.get("/metrics", 200).body);
        let expected = (!flags.is_empty()).then_some(1.0);
        assert_eq!(metrics.of("orders", "nats_service_outage"), expected, "{flags:?}");
        next.end();
    }
}

/// Nothing is forgotten that cannot be asked: neither which services there are, nor which of them are down.
#[test]
#[ignore = "needs nats-server"]
fn watch_reports_all_services_while_a_file_of_the_login_is_missing() {
    let server = Server::with_config(Version::Newest, "authorization { user: mon, password: s3cret }");
    let (url, login) = (server.url(), server.url().replace("//", "//mon:s3cret@"));
    let dir = TempDir::new();
    let (password, state) = (dir.join("password"), dir.join("state"));
    for place in [&[][..], &["--state-dir", &state]] {
        fs::write(&password, "s3cret\n").expect("written");
        let orders = Service::async_nats(&login, "orders").start();
        let _mail = Service::async_nats(&login, "mail").start();
        let user = ["--user", "mon", "--password-file", &password];
        let exporter = Exporter::start(&url, &[&user, place].concat());
        let metrics = |what: &str, is_so: &dyn Fn(&Metrics) -> bool| {
            wait_for(what, || {
                let metrics = Metrics::parse(&http::get(exporter.port, "/metrics").ok()?);
                is_so(&metrics).then_some(metrics)
            })
        };
        orders.kill();
        metrics("an outage", &|metrics| {
            metrics.of("orders", "nats_service_outage") == Some(1.0)
        });
        fs::remove_file(&password).expect("removed");
        let not_asked = |metrics: &Metrics| metrics.of("mail", "nats_service_probe_success") == Some(0.0);
        let metrics = metrics("nobody can be asked", &not_asked);
        assert_eq!(metrics.of("orders", "nats_service_outage"), Some(1.0), "{place:?}");
        assert_eq!(metrics.of("mail", "nats_service_outage"), Some(0.0), "{place:?}");
        assert_eq!(
            metrics.reasons("orders"),
            ["config_unusable", "service_down"],
            "{place:?}"
        );
        assert!(exporter.get("/service/orders", 200).body.contains("still down for "));
        fs::write(&password, "s3cret\n").expect("written");
        let _orders = Service::async_nats(&login, "orders").start();
        exporter.wait_for("/service/orders", "recovered after ");
        let log = exporter.end();
        // Each service is told once, and that it is back.
        for (line, times) in [
            ("orders CRITICAL service_down: ", 1),
            ("orders OK service_recovered: ", 1),
            ("mail ", 0),
        ] {
            assert_eq!(log.matches(line).count(), times, "{place:?}: {line}: {log}");
        }
    }
}

/// Files of the sidecar hold all services, too.
#[test]
#[ignore = "needs nats-server"]
fn watch_writes_the_textfile_and_the_status_file_of_all_services() {
    let server = Server::start(Version::V2_9);
    let _services = Service::nats_py(&server.url(), "orders,mail").start();
    let dir = TempDir::new();
    let (textfile, status) = (dir.join("nats.prom"), dir.join("nats.json"));
    let words = [
        "watch",
        "--all",
        "-s",
        &server.url(),
        "--interval",
        "200ms",
        "--textfile",
        &textfile,
        "--status-file",
        &status,
    ];
    let watch = Check::new(words).args(SOON).limit(Duration::from_secs(120)).spawn();
    let text = wait_for("the textfile", || fs::read_to_string(&textfile).ok());
    assert_metrics(&text, &format!("127.0.0.1:{}", server.port()));
    let text = wait_for("the status file", || fs::read_to_string(&status).ok());
    let status: Vec<Value> = serde_json::from_str(&text).expect("an array");
    assert_eq!(status.len(), 3);
    let (out, _) = watch.end(libc::SIGTERM);
    assert_eq!(out.code, Some(0), "{out:?}");
}
