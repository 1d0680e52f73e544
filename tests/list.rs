//! `list`: the services that answer now, and those that are remembered and missing, for people, programs and the daemons that are told
//! of them.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::support::check::matches;
use super::support::net::{STREAM, import};
use super::support::{AllMonitor, Check, Output, Server, Service, TempDir, Version, from_env};

/// `orders` (three instances of two versions), `mail`, and `billing`, which is remembered and missing.
struct Shop {
    server: Server,
    monitor: AllMonitor,
    _services: Vec<Service>,
}

impl Shop {
    fn open() -> Shop {
        let server = Server::start(Version::Newest);
        let url = server.url();
        let orders = Service::async_nats(&url, "orders")
            .count(2)
            .metadata("pod", "orders-0")
            .start();
        let newer = Service::nats_js(&url, "orders")
            .version("1.1.0")
            .metadata("host", "h1")
            .start();
        let mail = Service::nats_py(&url, "mail").start();
        let billing = Service::nats_py(&url, "billing").start();
        let monitor = AllMonitor::new(&url);
        monitor.json(0);
        billing.kill();
        server.wait_for_instances("billing", 0);
        Shop {
            server,
            monitor,
            _services: vec![orders, newer, mail],
        }
    }

    fn list(&self, flags: &[&str]) -> Output {
        self.monitor.run(&["list"]).args(["--stall", "100ms"]).args(flags).run()
    }

    #[track_caller]
    fn text(&self, flags: &[&str]) -> String {
        let out = self.list(flags);
        assert_eq!((out.code, out.stderr.as_str()), (Some(0), ""), "{out:?}");
        out.stdout
    }
}

#[track_caller]
fn assert_line(text: &str, pattern: &str) {
    assert!(text.lines().any(|line| matches(pattern, line)), "{pattern}\n{text}");
}

#[test]
#[ignore = "needs nats-server"]
fn table_has_the_services_that_reply_and_those_missing() {
    let shop = Shop::open();
    let text = shop.text(&[]);
    let words: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    let names: Vec<&str> = words.iter().filter_map(|words| words.first().copied()).collect();
    let place = |name: &str| {
        names
            .iter()
            .position(|other| *other == name)
            .unwrap_or_else(|| panic!("no {name}: {text}"))
    };
    assert!(place("mail") < place("orders"), "{text}");
    assert_line(&text, "orders *3*1.0.0*1.1.0*up*");
    assert_line(&text, "mail *1*1.0.0*up*");
    assert_line(&text, "billing *0*missing*");
    assert!(
        text.contains("orders-0") && text.contains("h1"),
        "pods and hosts: {text}"
    );
    // An outage that is known: since when.
    let out = shop.monitor.all(["--confirm", "100ms"]).run();
    assert_eq!(out.code, Some(2), "{out:?}");
    assert_line(&shop.text(&[]), "billing *missing*");
    // It remembers nothing, and forgets nothing.
    let state = shop.monitor.run(&["state", "show", "-n", "billing"]).run();
    assert!(state.stdout.contains("outage since "), "{state:?}");
}

#[test]
#[ignore = "needs nats-server"]
fn the_names_can_be_chosen() {
    let shop = Shop::open();
    let text = shop.text(&["--only", "o*"]);
    assert!(
        text.contains("orders") && !text.contains("mail") && !text.contains("billing"),
        "{text}"
    );
    let text = shop.text(&["--exclude", "o*", "--expect", "nobody"]);
    assert!(
        text.contains("mail") && text.contains("billing") && text.contains("nobody") && !text.contains("orders"),
        "{text}"
    );
}

#[test]
#[ignore = "needs nats-server"]
fn list_has_a_format_for_each_program() {
    let shop = Shop::open();
    let parse = |format: &str| -> Value {
        serde_json::from_str(&shop.text(&["--format", format])).unwrap_or_else(|e| panic!("{format}: {e}"))
    };
    assert_eq!(
        parse("zabbix"),
        json!([{"{#SERVICE}": "billing"}, {"{#SERVICE}": "mail"}, {"{#SERVICE}": "orders"}])
    );

    let list = parse("json");
    let of = |name: &str| {
        let services = list.as_array().expect("an array");
        services
            .iter()
            .find(|service| service["service"] == name)
            .unwrap_or_else(|| panic!("no {name}: {list}"))
            .clone()
    };
    assert_eq!(of("orders")["instances"], 3);
    assert_eq!(of("orders")["versions"], json!(["1.0.0", "1.1.0"]));
    assert_eq!(of("billing")["instances"], 0);

    let targets = parse("prometheus-sd");
    let groups = targets.as_array().expect("an array");
    let names: Vec<&Value> = groups
        .iter()
        .flat_map(|group| group["targets"].as_array().expect("targets"))
        .collect();
    assert_eq!(
        names,
        ["billing", "mail", "orders"]
            .map(Value::from)
            .iter()
            .collect::<Vec<_>>()
    );
    for group in groups {
        let labels = group["labels"].as_object().expect("labels");
        assert!(labels.values().all(Value::is_string), "{group}");
        assert_eq!(labels["nats"], format!("127.0.0.1:{}", shop.server.port()), "{group}");
    }
}

/// Prometheus itself reads the targets.
#[test]
#[ignore = "needs nats-server"]
fn prometheus_takes_the_targets() {
    let shop = Shop::open();
    let dir = TempDir::new();
    fs::write(dir.join("targets.json"), shop.text(&["--format", "prometheus-sd"])).unwrap();
    let config =
        "scrape_configs:\n- job_name: nats\n  metrics_path: /probe\n  file_sd_configs: [{files: [targets.json]}]\n";
    fs::write(dir.join("prometheus.yml"), config).unwrap();
    let out = Check::program(&from_env("PROMTOOL"), ["check", "config", "prometheus.yml"])
        .cwd(dir.path())
        .run();
    assert_eq!(out.code, Some(0), "{out:?}");
}

/// A user of no rights.
const NOBODY: u32 = 65534;

/// Configuration that a package of Nagios brings, as small as it can be.
const NAGIOS: &str = "
    define timeperiod {\n timeperiod_name 24x7\n alias always\n monday 00:00-24:00\n }
    define contact {\n contact_name admin\n service_notification_commands notify\n host_notification_commands notify\n
      service_notification_period 24x7\n host_notification_period 24x7\n service_notification_options n\n host_notification_options n\n }
    define command {\n command_name notify\n command_line /bin/true\n }
    define host {\n host_name nats.example.org\n address 127.0.0.1\n max_check_attempts 1\n check_period 24x7\n contacts admin\n notification_period 24x7\n }
    define service {\n name nats-service-of-host\n register 0\n host_name nats.example.org\n max_check_attempts 3\n check_period 24x7\n
      notification_period 24x7\n contacts admin\n check_interval 1\n retry_interval 1\n }
";

/// The real Nagios takes the definitions as they are, beside the commands of the package.
#[test]
#[ignore = "needs nats-server"]
fn nagios_takes_the_definitions() {
    let shop = Shop::open();
    let dir = TempDir::new();
    let path = dir.path().display();
    let commands =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/nagios/check-nats-service.cfg"))
            .unwrap();
    let list = shop.text(&["--format", "nagios", "--use", "nats-service-of-host"]);
    assert_eq!(list.matches("define service").count(), 3, "{list}");
    fs::write(dir.join("list.cfg"), &list).unwrap();
    let unindented: String = NAGIOS.lines().map(|line| format!("{}\n", line.trim())).collect();
    fs::write(dir.join("objects.cfg"), unindented + &commands).unwrap();
    let main = format!(
        "log_file={path}/log\ncfg_file={path}/objects.cfg\ncfg_file={path}/list.cfg\nobject_cache_file={path}/cache\nstatus_file={path}/status\n\
         check_result_path={path}\nlock_file={path}/pid\ntemp_file={path}/tmp\ntemp_path={path}\ncommand_file={path}/cmd\nquery_socket={path}/qh\n\
         state_retention_file={path}/retention\n"
    );
    fs::write(dir.join("nagios.cfg"), main).unwrap();
    // It does not run as root; and nobody may be able to reach where it lies.
    fs::copy(from_env("NAGIOS4"), dir.join("nagios4")).unwrap();
    let nagios = Check::program(&dir.join("nagios4"), ["-v", &dir.join("nagios.cfg")]);
    // SAFETY: geteuid always succeeds.
    let out = match unsafe { libc::geteuid() } {
        0 => {
            dir.give_to(NOBODY);
            nagios.uid(NOBODY).run()
        }
        _ => nagios.run(),
    };
    assert_eq!(out.code, Some(0), "{out:?}\n{list}");
    assert!(
        out.stdout.contains("Checked 3 services.") && out.stdout.contains("Total Errors:   0"),
        "{out:?}\n{list}"
    );
    for name in ["orders", "mail", "billing"] {
        assert!(list.contains(&format!("check_nats_service!{name}")), "{list}");
    }
    let plain = shop.text(&["--format", "nagios"]);
    assert_line(&plain, "*use *nats-service*");
}

/// The real Icinga, too, beside the CheckCommand of the package.
#[test]
#[ignore = "needs nats-server"]
fn icinga_takes_the_definitions() {
    let shop = Shop::open();
    let dir = TempDir::new();
    let command = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/icinga2/nats-service.conf");
    fs::copy(command, dir.join("nats-service.conf")).unwrap();
    let list = shop.text(&["--format", "icinga", "--use", "of-host"]);
    fs::write(dir.join("list.conf"), &list).unwrap();
    let config = r#"include <itl>
        include <plugins>
        const NodeName = "localhost"
        const ZoneName = NodeName
        object Endpoint NodeName { }
        object Zone ZoneName { endpoints = [ NodeName ] }
        object CheckerComponent "checker" { }
        object Host "nats.example.org" { check_command = "dummy" }
        template Service "of-host" { host_name = "nats.example.org" }
        include "nats-service.conf"
        include "list.conf"
    "#;
    fs::write(dir.join("icinga2.conf"), config).unwrap();
    let words = [
        "daemon",
        "-C",
        "-c",
        &dir.join("icinga2.conf"),
        "-D",
        "PluginContribDir=/usr/lib/nagios/plugins",
        "-D",
        "PluginDir=/usr/lib/nagios/plugins",
    ];
    let out = Check::program(&from_env("ICINGA2"), [dir.path().to_str().unwrap()])
        .args(words)
        .run();
    assert_eq!(out.code, Some(0), "{out:?}\n{list}");
    assert!(out.stdout.contains("Instantiated 3 Services."), "{out:?}\n{list}");
    assert!(
        !out.stdout.contains("warning/") && !out.stdout.contains("critical/"),
        "{out:?}\n{list}"
    );
}

#[test]
#[ignore = "needs nats-server"]
fn a_list_that_cannot_be_made_says_why_and_is_unknown() {
    let shop = Shop::open();
    let Shop {
        mut server, monitor, ..
    } = shop;
    server.stop();
    for format in ["text", "json", "zabbix", "nagios", "icinga", "prometheus-sd"] {
        let out = monitor.run(&["list", "--format", format]).run();
        assert_eq!(out.code, Some(3), "{format}: {out:?}");
        assert!(
            format!("{}{}", out.stdout, out.stderr).contains("connection refused"),
            "{format}: {out:?}"
        );
    }
    for (flags, what) in [
        (&["--format", "nonsense"][..], "nonsense"),
        (&["--only", "a b"], "a b"),
        (&["-n", "orders"], "-n"),
    ] {
        let out = monitor.run(&["list"]).args(flags).run();
        assert_eq!(out.code, Some(3), "{flags:?}: {out:?}");
        assert!(
            format!("{}{}", out.stdout, out.stderr).contains(what),
            "{flags:?}: {out:?}"
        );
    }
}

#[test]
#[ignore = "needs nats-server"]
fn list_is_empty_without_services() {
    let server = Server::start(Version::V2_9);
    let monitor = AllMonitor::new(server.url());
    let list = |format: &str| {
        let out = monitor.run(&["list", "--stall", "100ms", "--format", format]).run();
        assert_eq!((out.code, out.stderr.as_str()), (Some(0), ""), "{out:?}");
        out.stdout
    };
    for format in ["json", "zabbix"] {
        assert_eq!(
            serde_json::from_str::<Value>(&list(format)).expect("JSON"),
            json!([]),
            "{format}"
        );
    }
    let targets: Value = serde_json::from_str(&list("prometheus-sd")).expect("JSON");
    assert!(
        targets
            .as_array()
            .expect("groups")
            .iter()
            .all(|group| group["targets"] == json!([])),
        "{targets}"
    );
    assert!(!list("text").is_empty(), "people are told");
}

/// A request for all that is denied leaves out services: that is told, and no list that looks whole.
#[test]
#[ignore = "needs nats-server"]
fn denied_request_for_all_services_is_reported() {
    let config = r#"authorization { users: [
        { user: svc, password: svc },
        { user: mon, password: s3cret, permissions: { publish: { allow: ["$SRV.PING.*"] } } },
    ] }"#;
    let server = Server::with_config(Version::V2_10, config);
    let url = server.url().replace("//", "//svc:svc@");
    let _orders = Service::nats_py(&url, "orders").start();
    let monitor = AllMonitor::new(server.url()).login(&["--user", "mon", "--password", "s3cret"]);
    let out = monitor.run(&["list", "--stall", "100ms"]).run();
    assert_eq!(out.code, Some(3), "{out:?}");
    assert!(
        format!("{}{}", out.stdout, out.stderr).contains("does not let us publish to $SRV.PING"),
        "{out:?}"
    );
}

#[test]
#[ignore = "needs nats-server"]
fn services_behind_an_import_are_listed() {
    let config = import(STREAM).replace("$SRV.PING.>", "$SRV.>");
    let server = Server::with_config(Version::Newest, &config);
    let url = server.url().replace("//", "//app:app@");
    let _orders = Service::async_nats(&url, "orders").count(2).start();
    let login = ["--user", "mon", "--password", "s3cret", "--srv-prefix", "APP.$SRV"];
    let monitor = AllMonitor::new(server.url()).login(&login);
    let out = monitor.run(&["list", "--stall", "100ms", "--format", "json"]).run();
    let list: Value = serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}: {out:?}"));
    assert_eq!(
        (&list[0]["service"], &list[0]["instances"]),
        (&"orders".into(), &2.into())
    );
}

/// A mistake is one line, whatever the format of the list.
#[test]
fn mistakes_are_told_in_one_line() {
    for (args, why) in [
        (
            &["--format", "prometheus"][..],
            "--format: 'prometheus' is not a format: text, json, *",
        ),
        (
            &["--format", "json", "--frobnicate"],
            "unexpected argument '--frobnicate' found*",
        ),
    ] {
        let line = format!("NATS_SERVICE UNKNOWN - {why}");
        Check::new(["list"]).args(args).run().assert(3, &line);
    }
}
