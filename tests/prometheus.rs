//! The metrics, read by the real programs of Prometheus: promtool, and node_exporter as another user.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::support::check::published;
use crate::support::prometheus::{Prometheus, assert_clean};
use crate::support::server::free_port;
use crate::support::{
    Check, Fake, Metrics, Output, Server, Service, TempDir, Version, from_env, http, is_root, process, wait_for,
};

/// The user of node_exporter; not ours.
const EXPORTER: u32 = 65_534;

const SOON: [&str; 4] = ["--confirm", "50ms", "--stall", "100ms"];

fn promtool(args: &[&str]) -> Output {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/prometheus");
    let promtool = Check::program(&from_env("PROMTOOL"), args).cwd(rules);
    // It computes days of alerts, which takes the processor that others have.
    promtool.limit(Duration::from_secs(300)).run()
}

#[test]
#[ignore = "needs Prometheus"]
fn the_rules_are_valid_and_fire_when_they_should() {
    let checked = promtool(&["check", "rules", "nats-service.rules.yml"]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(checked.stdout.contains("12 rules found"), "{checked:?}");
    let tested = promtool(&["test", "rules", "nats-service.test.yml", "nats-service-days.test.yml"]);
    assert_eq!(tested.code, Some(0), "{tested:?}");
    assert_eq!(tested.stdout.matches("SUCCESS").count(), 2, "{tested:?}");
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The changes to the rules that the README offers, as they stand there.
#[test]
#[ignore = "needs Prometheus"]
fn changes_of_the_rules_in_the_readme_work_as_written() {
    let readme = read("packaging/prometheus/README.md");
    let commands = readme
        .split('`')
        .filter(|text| text.starts_with("sed -i") && text.ends_with(" nats-service.rules.yml"));
    let expected = [
        "by (service, nats, env)",
        "\"https://wiki.example.org/README.md#natsservicedown\"",
    ];
    let mut number = 0;
    for (command, expected) in commands.zip(expected) {
        number += 1;
        let dir = TempDir::new();
        let rules = dir.join("nats-service.rules.yml");
        fs::write(&rules, read("packaging/prometheus/nats-service.rules.yml")).unwrap();
        Check::program("bash", ["-c", command])
            .cwd(dir.path())
            .run()
            .assert(0, "");
        let changed = fs::read_to_string(&rules).unwrap();
        assert!(changed.contains(expected), "{command}: {expected}");
        let checked = promtool(&["check", "rules", &rules]);
        assert_eq!(checked.code, Some(0), "{checked:?}");
    }
    assert_eq!(number, 2);
}

/// The names of our metrics in a query or a text.
fn metrics_in(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '?'));
    let ours = words.filter(|word| word.starts_with("nats_service") && word.len() > "nats_services".len());
    ours.filter(|name| !name.contains('?')).collect()
}

#[test]
fn every_alert_has_its_runbook_and_asks_for_metrics_that_there_are() {
    let (rules, runbook) = (
        read("packaging/prometheus/nats-service.rules.yml"),
        read("packaging/prometheus/README.md"),
    );
    let source = read("src/render/prometheus.rs");
    for name in metrics_in(&rules) {
        assert!(source.contains(&format!("\"{name}\"")), "{name}");
    }
    let alerts: Vec<&str> = rules.split("- alert: ").skip(1).collect();
    assert_eq!(alerts.len(), 12);
    for alert in alerts {
        let name = alert.lines().next().expect("a name");
        let url = format!(
            "\n          runbook_url: \"file:///usr/share/doc/check-nats-service/examples/prometheus/README.md#{}\"\n",
            name.to_lowercase()
        );
        assert_eq!(alert.matches(&url).count(), 1, "{name}: {url}");
        assert!(runbook.contains(&format!("\n### {name}\n")), "{name} has no section");
        assert!(
            alert.contains("severity: critical") || alert.contains("severity: warning"),
            "{name}"
        );
    }
    let sections = runbook.lines().filter_map(|line| line.strip_prefix("### Nats"));
    for section in sections {
        assert!(
            rules.contains(&format!("- alert: Nats{section}\n")),
            "there is no Nats{section}"
        );
    }
}

/// Its table is the list of the metrics, with the words of their HELP.
#[test]
fn readme_of_prometheus_lists_every_metric() {
    let readme = read("packaging/prometheus/README.md");
    let listed: BTreeSet<&str> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `nats_service")?.split(['`', '{']).next())
        .collect();
    let man = read("man/sections.roff");
    let documented: BTreeSet<&str> = man
        .lines()
        .filter_map(|line| line.strip_prefix("nats_service"))
        .filter(|name| !name.contains(' '))
        .collect();
    assert_eq!(listed, documented);
    for name in metrics_in(&readme) {
        assert!(
            documented.contains(name.strip_prefix("nats_service").unwrap()),
            "{name}"
        );
    }
}

#[test]
#[ignore = "needs nats-server"]
fn the_metrics_of_every_verdict_are_clean() {
    let mut server = Server::start(Version::Newest);
    let url = server.url();
    let home = TempDir::new();
    let check = |args: &[&str]| {
        let metrics = ["--format", "prometheus", "--per-instance", "--label", "env=a\"b\\c"];
        Check::new(["-s", &url, "-n", "orders"])
            .args(SOON)
            .args(metrics)
            .args(args)
            .home(&home)
            .run()
    };
    let assert = |out: Output, code: i32, reason: &str| {
        assert_eq!((out.code, out.stderr.as_str()), (Some(code), ""), "{out:?}");
        assert_eq!(
            Metrics::parse(&out.stdout).reasons(&service_of(&out)),
            [reason],
            "{out:?}"
        );
        assert_clean(&out.stdout);
    };
    assert(check(&[]), 3, "service_never_seen");
    let service = Service::async_nats(&url, "orders").count(2).start();
    assert(check(&[]), 0, "service_up");
    service.freeze();
    assert(check(&["-t", "4s"]), 2, "service_silent");
    service.kill();
    server.wait_for_instances("orders", 0);
    assert(check(&[]), 2, "service_down");
    let service = Service::async_nats(&url, "orders").start();
    assert(check(&[]), 0, "service_recovered");
    server.stop();
    assert(check(&[]), 3, "nats_unreachable");
    drop(service);
    assert(check(&["-x"]), 3, "usage");
    let fake = Fake::start(|conn| conn.send_raw(b"SSH-2.0-x\r\n"));
    let other = Check::new(["-s", &fake.url(), "-n", "orders", "--format", "prometheus"]).run();
    assert(other, 3, "protocol_error");
}

fn service_of(out: &Output) -> String {
    let empty = out.stdout.contains("nats_service_status{service=\"\"");
    if empty { String::new() } else { "orders".to_owned() }
}

/// A node_exporter that only reads this folder. Killed on drop.
struct Exporter {
    child: Child,
    port: u16,
    /// Where its user can reach it.
    _program: TempDir,
}

impl Exporter {
    fn start(folder: &TempDir) -> Exporter {
        let port = free_port();
        let (dir, program) = published(&from_env("NODE_EXPORTER"));
        let mut command = process::command(program);
        command
            .arg("--collector.disable-defaults")
            .arg("--collector.textfile")
            .arg(format!("--collector.textfile.directory={}", folder.path().display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if is_root() {
            command.uid(EXPORTER).gid(EXPORTER);
        }
        let exporter = Exporter {
            child: process::spawn(command),
            port,
            _program: dir,
        };
        wait_for("node_exporter serves", || http::get(port, "/metrics").ok());
        exporter
    }

    /// Returns the metrics that it serves now, which must be without an error.
    fn scrape(&self) -> Metrics {
        let metrics = Metrics::parse(&http::get(self.port, "/metrics").expect("metrics"));
        assert_eq!(metrics.plain("node_textfile_scrape_error"), Some(0.0));
        metrics
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        process::kill(&mut self.child);
    }
}

#[test]
#[ignore = "needs nats-server"]
fn a_real_node_exporter_serves_the_whole_story() {
    let mut server = Server::start(Version::Newest);
    let url = server.url();
    let (home, folder) = (TempDir::new(), TempDir::new());
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let exporter = Exporter::start(&folder);
    let write = |service: &str| {
        let file = folder.join(&format!("{service}.prom"));
        Check::new(["textfile", "-s", &url, "-n", service, "-o", &file])
            .args(SOON)
            .home(&home)
            .run()
            .assert(0, "");
        exporter.scrape()
    };
    let values = |metrics: &Metrics| {
        let names = [
            "up",
            "instances",
            "baseline_instances",
            "status",
            "outage",
            "probe_success",
        ];
        names.map(|name| metrics.of("orders", &format!("nats_service_{name}")))
    };
    let (one, two) = (
        Service::async_nats(&url, "orders").start(),
        Service::async_nats(&url, "orders").count(2).start(),
    );
    let billing = Service::async_nats(&url, "billing").start();

    let up = [Some(1.0), Some(3.0), Some(3.0), Some(0.0), Some(0.0), Some(1.0)];
    assert_eq!(values(&write("orders")), up);
    // A second file beside it: no series of the first is lost.
    let both = write("billing");
    assert_eq!(values(&both), up);
    assert_eq!(both.of("billing", "nats_service_instances"), Some(1.0));

    one.kill();
    server.wait_for_instances("orders", 2);
    let degraded = [Some(1.0), Some(2.0), Some(3.0), Some(0.0), Some(0.0), Some(1.0)];
    assert_eq!(values(&write("orders")), degraded);

    two.kill();
    server.wait_for_instances("orders", 0);
    let down = write("orders");
    assert_eq!(
        values(&down),
        [Some(0.0), Some(0.0), Some(3.0), Some(2.0), Some(1.0), Some(1.0)]
    );
    assert_eq!(down.reasons("orders"), ["service_down"]);

    // NATS away: the number is not known, and the outage is still open.
    server.stop();
    let away = write("orders");
    assert_eq!(values(&away), [None, None, Some(3.0), Some(2.0), Some(1.0), Some(0.0)]);
    assert_eq!(away.reasons("orders"), ["nats_unreachable", "service_down"]);

    server.start_again();
    let _service = Service::async_nats(&url, "orders").count(3).start();
    let recovered = write("orders");
    assert_eq!(values(&recovered), up);
    assert_eq!(recovered.reasons("orders"), ["service_recovered"]);
    drop(billing);
}

/// The collector drops a series that is in two files: the name of the NATS system tells them apart.
#[test]
#[ignore = "needs nats-server"]
fn the_same_service_of_two_systems_is_not_lost_in_one_folder() {
    let (up, down) = (Server::start(Version::Newest), Server::start(Version::V2_9));
    let _service = Service::async_nats(&up.url(), "orders").start();
    let (home, folder) = (TempDir::new(), TempDir::new());
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let exporter = Exporter::start(&folder);
    let write = |server: &Server, flags: &[&str]| {
        let file = folder.join(&format!("orders-{}.prom", server.port()));
        let check = Check::new(["textfile", "-s", &server.url(), "-n", "orders", "-o", &file]);
        check.args(SOON).args(flags).home(&home).run().assert(0, "");
    };
    let served = || http::get(exporter.port, "/metrics").expect("metrics");
    let both_are_there = |[up, down]: [&str; 2]| {
        let metrics = served();
        for (nats, value) in [(up, 1), (down, 0)] {
            let sample = format!("\nnats_service_up{{nats=\"{nats}\",service=\"orders\"}} {value}\n");
            assert!(metrics.contains(&sample), "{sample}{metrics}");
        }
        Metrics::parse(&metrics);
        assert!(metrics.contains("\nnode_textfile_scrape_error 0\n"), "{metrics}");
    };
    write(&up, &[]);
    write(&down, &[]);
    let ports = [&up, &down].map(|server| format!("127.0.0.1:{}", server.port()));
    both_are_there([&ports[0], &ports[1]]);
    write(&up, &["--nats-label", "eu"]);
    write(&down, &["--nats-label", "us"]);
    both_are_there(["eu", "us"]);
}

#[test]
fn the_name_of_the_nats_system_is_the_flag_the_context_or_the_first_server() {
    let dir = TempDir::new();
    let context = dir.join("prod.json");
    fs::write(&context, r#"{"url": "nats://127.0.0.1:1"}"#).unwrap();
    let far = "nats://mon:pw@127.0.0.1:4222,nats://127.0.0.1:2";
    let cases: [(&[&str], Option<&str>); 7] = [
        (&["-s", far], Some("127.0.0.1")),
        (&["-s", "nats://127.0.0.1:1,127.0.0.1:2"], Some("127.0.0.1:1")),
        (&["-H", "::1", "-p", "1"], Some("[::1]:1")),
        (&["--context", &context], Some("prod")),
        (&["--context", &context, "-s", "127.0.0.1:1"], Some("prod")),
        (&["-s", far, "--nats-label", "eu \"1\""], Some("eu \\\"1\\\"")),
        (&["-s", far, "--nats-label", ""], None),
    ];
    for (flags, nats) in cases {
        let check = Check::new(["-n", "orders", "--no-state", "--confirm", "0", "--format", "prometheus"]);
        let out = check.args(flags).run();
        let label = nats.map_or(String::new(), |nats| format!(",nats=\"{nats}\""));
        let sample = format!("nats_service_status{{service=\"orders\"{label}}} 3");
        assert!(
            out.stdout.lines().any(|line| line == sample),
            "{flags:?}: {sample}\n{out:?}"
        );
    }
    let out = Check::new(["-n", "orders", "--label", "nats=eu"]).run();
    out.assert(
        3,
        "NATS_SERVICE UNKNOWN - --label: 'nats' is a label of the metrics themselves: set it with --nats-label (see --help)",
    );
}

#[test]
#[ignore = "needs nats-server"]
fn a_real_prometheus_fires_and_resolves_the_right_alerts() {
    let mut server = Server::start(Version::Newest);
    let url = server.url();
    let (home, folder) = (TempDir::new(), TempDir::new());
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let exporter = Exporter::start(&folder);
    let prometheus = Prometheus::start(exporter.port);
    let file = folder.join("orders.prom");
    let write = || {
        let textfile = ["textfile", "-s", &url, "-n", "orders", "-o", &file];
        Check::new(textfile).args(SOON).home(&home).run().assert(0, "");
    };
    // Probes again and again, as a timer does, until exactly these alerts fire.
    let expect = |what: &str, alerts: &[&str]| {
        let alerts: BTreeSet<String> = alerts.iter().map(|name| format!("Nats{name}")).collect();
        wait_for(what, || {
            write();
            (prometheus.firing() == alerts).then_some(())
        });
    };
    let (one, two) = (
        Service::async_nats(&url, "orders").start(),
        Service::async_nats(&url, "orders").count(2).start(),
    );
    write();
    wait_for("a scrape", || {
        let up = http::get(prometheus.port, "/api/v1/query?query=nats_service_up").ok()?;
        up.contains("orders").then_some(())
    });
    expect("all is well", &[]);
    let lost = one.ids()[0].clone();
    one.kill();
    server.wait_for_instances("orders", 2);
    // As if its baseline settled for longer than the rules wait.
    expect("degraded", &["ServiceDegraded"]);
    // The pod of a missing instance is its own, where it says one, and never that of the watcher.
    let missing = prometheus.query("nats_service_instance_missing");
    assert!(missing.contains(&lost), "{missing}");
    assert!(!missing.contains("watcher"), "{missing}");
    assert!(prometheus.query("nats_service_up").contains("\"pod\":\"watcher\""));
    two.kill();
    server.wait_for_instances("orders", 0);
    expect("down", &["ServiceDown", "ServiceDownForLong"]);
    server.stop();
    expect(
        "down, and NATS away",
        &["ServiceDown", "ServiceDownForLong", "Unreachable"],
    );
    server.start_again();
    let service = Service::async_nats(&url, "orders").count(3).start();
    expect("recovered", &[]);
    // Nobody probes any more.
    wait_for("stale", || {
        (prometheus.firing() == ["NatsServiceProbeStale".to_owned()].into()).then_some(())
    });
    drop(service);
}

/// Every query of the dashboard, without the variables of Grafana.
fn queries(dashboard: &serde_json::Value) -> Vec<String> {
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().expect("targets"));
    let annotations = dashboard["annotations"]["list"].as_array().expect("annotations");
    let queries = targets
        .chain(annotations)
        .map(|target| target["expr"].as_str().expect("a query"));
    queries
        .map(|query| query.replace("$service", ".*").replace("$nats", ".*"))
        .collect()
}

/// There is no Grafana to be had here: its queries are parsed by promtool, and ask only for what we write.
#[test]
#[ignore = "needs Prometheus"]
fn the_queries_of_the_dashboard_are_right() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/prometheus/dashboard.json");
    let dashboard = serde_json::from_str(&fs::read_to_string(path).unwrap()).expect("JSON");
    let queries = queries(&dashboard);
    assert!(queries.len() >= 12, "{queries:?}");
    let source = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/render/prometheus.rs")).unwrap();
    let mut rules = "groups:\n  - name: dashboard\n    rules:\n".to_owned();
    for (n, query) in queries.iter().enumerate() {
        let names = query.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        for name in names.filter(|word| word.starts_with("nats_service")) {
            assert!(source.contains(&format!("\"{name}\"")), "{name} in {query}");
        }
        rules += &format!(
            "      - record: query:{n}\n        expr: {}\n",
            serde_json::json!(query)
        );
    }
    let dir = TempDir::new();
    fs::write(dir.join("rules.yml"), rules).unwrap();
    let checked = Check::program(&from_env("PROMTOOL"), ["check", "rules", &dir.join("rules.yml")]).run();
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(
        checked.stdout.contains(&format!("{} rules found", queries.len())),
        "{checked:?}"
    );
}

/// An Alertmanager with the example, which has been sent these alerts. Killed on drop.
struct Alertmanager {
    child: Child,
    port: u16,
    _dir: TempDir,
}

impl Alertmanager {
    fn start(alerts: &[&[&str]]) -> Alertmanager {
        let (dir, port) = (TempDir::new(), free_port());
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/prometheus/alertmanager.yml");
        let program = from_env("ALERTMANAGER");
        // Debian's looks for its templates in /usr/share; it is unpacked, and not installed.
        let share = Path::new(&program).ancestors().nth(2).expect("a tree").join("share");
        let mut command = process::command("unshare");
        let user: &[&str] = if is_root() { &[] } else { &["--map-root-user"] };
        command
            .args(user)
            .args(["--mount", "sh", "-c", "mount --bind \"$0\" /usr/share && exec \"$@\""])
            .arg(share)
            .arg(&program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", dir.join("data")))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--cluster.listen-address=")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let alertmanager = Alertmanager {
            child: process::spawn(command),
            port,
            _dir: dir,
        };
        wait_for("Alertmanager is ready", || http::get(port, "/-/ready").ok());
        let amtool = Path::new(&program).with_file_name("amtool");
        for labels in alerts {
            let url = format!("--alertmanager.url=http://127.0.0.1:{port}");
            let add = Check::program(amtool.to_str().expect("a path"), ["alert", "add", &url]);
            add.args(labels.iter()).run().assert(0, "");
        }
        alertmanager
    }

    /// The alerts that call somebody, and whom: `NatsServiceDown orders: on-call`.
    fn notified(&self) -> BTreeSet<String> {
        let text = http::get(self.port, "/api/v2/alerts").expect("alerts");
        let alerts: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let of = |alert: &serde_json::Value, label: &str| alert["labels"][label].as_str().unwrap_or("-").to_owned();
        let alerts = alerts.as_array().expect("alerts").iter();
        let active = alerts.filter(|alert| alert["status"]["state"] == "active");
        active
            .map(|alert| {
                let receiver = alert["receivers"][0]["name"].as_str().expect("a receiver");
                format!(
                    "{} {} {}: {receiver}",
                    of(alert, "alertname"),
                    of(alert, "service"),
                    of(alert, "nats")
                )
            })
            .collect()
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        process::kill(&mut self.child);
    }
}

#[test]
#[ignore = "needs Alertmanager"]
fn a_real_alertmanager_calls_somebody_once() {
    let alertmanager = Alertmanager::start(&[
        // In eu NATS is away; an outage of orders is open. In us, where NATS is well, mail is down for long.
        &["NatsUnreachable", "nats=eu", "severity=critical"],
        &["NatsServiceDown", "service=orders", "nats=eu", "severity=critical"],
        &[
            "NatsServiceProbeFailing",
            "service=billing",
            "nats=eu",
            "severity=warning",
        ],
        &["NatsServiceProbeFailing", "nats=eu", "severity=warning"],
        &[
            "NatsServiceErrors",
            "service=billing",
            "nats=eu",
            "endpoint=add",
            "severity=warning",
        ],
        &[
            "NatsServiceRestarting",
            "service=billing",
            "nats=eu",
            "severity=warning",
        ],
        &["NatsServiceDegraded", "service=billing", "nats=eu", "severity=warning"],
        &[
            "NatsServiceRequestFailing",
            "service=billing",
            "nats=eu",
            "severity=critical",
        ],
        &[
            "NatsServiceProbeFailing",
            "service=billing",
            "nats=us",
            "severity=warning",
        ],
        &["NatsServiceDown", "service=mail", "nats=us", "severity=critical"],
        &["NatsServiceDownForLong", "service=mail", "nats=us", "severity=warning"],
        &[
            "NatsServiceErrors",
            "service=mail",
            "nats=us",
            "endpoint=add",
            "severity=warning",
        ],
        &["NatsServiceRestarting", "service=orders", "nats=us", "severity=warning"],
    ]);
    let expected = [
        "NatsUnreachable - eu: on-call",
        "NatsServiceDown orders eu: on-call",
        "NatsServiceProbeFailing billing us: tickets",
        "NatsServiceDown mail us: on-call",
        "NatsServiceDownForLong mail us: tickets",
        "NatsServiceRestarting orders us: tickets",
    ];
    let expected: BTreeSet<String> = expected.map(str::to_owned).into();
    wait_for("the alerts are routed", || {
        (alertmanager.notified() == expected)
            .then_some(())
            .ok_or(alertmanager.notified())
            .ok()
    });
}

#[test]
#[ignore = "needs systemd"]
fn systemd_takes_the_units() {
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/systemd");
    let dir = TempDir::new();
    for (name, unit, kinds) in [
        (
            "check-nats-service@",
            "check-nats-service@orders",
            &["service", "timer"][..],
        ),
        ("check-nats-services", "check-nats-services", &["service", "timer"]),
        (
            "check-nats-service-watch@",
            "check-nats-service-watch@orders",
            &["service"],
        ),
        ("check-nats-services-watch", "check-nats-services-watch", &["service"]),
    ] {
        let paths = kinds.iter().map(|kind| {
            let text = fs::read_to_string(units.join(format!("{name}.{kind}"))).unwrap();
            // What is not on every machine: the program in its place, and its user.
            let text = text
                .replace("/usr/bin/check_nats_service", crate::support::check::BINARY)
                .replace("User=check-nats-service", "User=daemon");
            let path = dir.join(&format!("{unit}.{kind}"));
            fs::write(&path, text).unwrap();
            path
        });
        let paths: Vec<String> = paths.collect();
        let verify = Check::program("systemd-analyze", ["verify", "--man=no"]);
        verify.args(&paths).run().assert(0, "");
        // At most 2 of 10, where 10 is fully exposed.
        let secure = ["security", "--offline=true", "--threshold=20", &paths[0]];
        let rated = Check::program("systemd-analyze", secure).run();
        assert_eq!(rated.code, Some(0), "{rated:?}");
    }
    // The sandbox of all is the same, but for the memory of a process that has others.
    let sandbox = |unit: &str| {
        let text = fs::read_to_string(units.join(unit)).unwrap();
        let (_, sandbox) = text.split_once("User=check-nats-service\n").expect("a sandbox");
        let sandbox = sandbox.split("\n[Install]").next().unwrap_or_default();
        sandbox.replace("MemoryMax=192M", "MemoryMax=64M").trim_end().to_owned()
    };
    let one = sandbox("check-nats-service@.service");
    for unit in [
        "check-nats-services.service",
        "check-nats-service-watch@.service",
        "check-nats-services-watch.service",
    ] {
        assert_eq!(sandbox(unit), one, "{unit}");
    }
    // Settings of all services, and of one, which beat them.
    for unit in ["check-nats-service@.service", "check-nats-service-watch@.service"] {
        let text = fs::read_to_string(units.join(unit)).unwrap();
        let files =
            "EnvironmentFile=-/etc/default/check-nats-service\nEnvironmentFile=-/etc/default/check-nats-service-%i\n";
        assert!(text.contains(files), "{unit}");
    }
    // A monitor is started again for ever.
    for unit in ["check-nats-service-watch@.service", "check-nats-services-watch.service"] {
        let text = fs::read_to_string(units.join(unit)).unwrap();
        for line in [
            "StartLimitIntervalSec=0",
            "Restart=always",
            "WantedBy=multi-user.target",
        ] {
            assert!(text.contains(&format!("\n{line}\n")), "{unit}: {line}");
        }
    }
}
