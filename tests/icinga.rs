//! The real Icinga 2 with the definitions of packaging/icinga2: what it runs, and how an outage goes through it.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use check_nats_service::cli;
use clap::ArgAction;

use crate::support::check::{BINARY, Running, matches};
use crate::support::markdown::{blocks, read};
use crate::support::{Check, LIMIT, Server, Service, TempDir, Version, from_env, wait_for};

fn packaging(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("packaging/icinga2")
        .join(file);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The definitions that every test uses, and where each result goes: a line with its fields, as Icinga understood them.
/// The files have the second in their names, so there must be one a second at most.
const COMMON: &str = r#"
include <itl>
include <plugins>
include "nats-service.conf"
include "services.conf"
const NodeName = "localhost"
const ZoneName = NodeName
object Endpoint NodeName { }
object Zone ZoneName { endpoints = [ NodeName ] }
object CheckerComponent "checker" { }
object PerfdataWriter "perfdata" {
  host_perfdata_path = DataDir + "/hosts"
  service_perfdata_path = DataDir + "/results/file"
  host_temp_path = DataDir + "/hosts.tmp"
  service_temp_path = DataDir + "/results.tmp"
  service_format_template = "$service.name$ $service.state$ $service.state_type$ $service.output$"
  rotation_interval = 1.1s
}
"#;

/// An Icinga daemon that checks each second. Ends with the value.
struct Icinga {
    dir: TempDir,
    daemon: Option<Running>,
}

impl Icinga {
    /// `plugin` is what runs as check_nats_service, `services` the text of services.conf, `more` configuration besides.
    fn start(plugin: &Path, services: &str, more: &str) -> Icinga {
        let dir = TempDir::new();
        fs::write(dir.join("nats-service.conf"), packaging("nats-service.conf")).unwrap();
        // NATS itself is HARD first, as in the example.
        let services = services
            .replace("check_interval = 1m", "check_interval = 1s")
            .replace("check_interval = 20s", "check_interval = 1s")
            .replace("retry_interval = 20s", "retry_interval = 2s")
            .replace("retry_interval = 10s", "retry_interval = 1s");
        fs::write(dir.join("services.conf"), services).unwrap();
        fs::write(dir.join("icinga2.conf"), format!("{COMMON}{more}")).unwrap();
        fs::create_dir(dir.join("plugins")).unwrap();
        fs::create_dir_all(dir.join("data/results")).unwrap();
        fs::copy(plugin, dir.join("plugins/check_nats_service")).unwrap();
        let daemon = Icinga::program(&dir, &["daemon"]).limit(12 * LIMIT).spawn();
        Icinga {
            daemon: Some(daemon),
            dir,
        }
    }

    fn program(dir: &TempDir, words: &[&str]) -> Check {
        let plugins = format!("PluginContribDir={}", dir.join("plugins"));
        let args = words.iter().copied().chain(["-c"]).map(String::from);
        let of_itl = format!("PluginDir={}", dir.join("plugins"));
        let args = args.chain([dir.join("icinga2.conf"), "-D".into(), plugins, "-D".into(), of_itl]);
        Check::program(&from_env("ICINGA2"), [dir.path().to_str().unwrap().to_owned()]).args(args)
    }

    /// All results of a service so far, as in `CRITICAL SOFT NATS_SERVICE CRITICAL - …`, each once where several are the same.
    fn results(&self, service: &str) -> Vec<String> {
        let files = fs::read_dir(self.dir.join("data/results")).unwrap();
        let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        files.sort();
        let text: String = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
        let prefix = format!("{service} ");
        text.lines()
            .filter_map(|line| Some(line.strip_prefix(&prefix)?.trim_end().to_owned()))
            .collect()
    }

    /// Waits for a result like this, behind the first `seen` ones; returns how many there are up to it.
    #[track_caller]
    fn wait_for(&self, service: &str, seen: usize, pattern: &str) -> usize {
        wait_for(pattern, || {
            let results = self.results(service);
            let at = results.iter().skip(seen).position(|line| matches(pattern, line))?;
            Some(seen + at + 1)
        })
    }
}

impl Icinga {
    /// Ends it, and looks at its log: a variable that is not defined would be a warning at each check.
    #[track_caller]
    fn end_without_a_word(mut self) {
        let daemon = self.daemon.take().expect("it runs");
        daemon.signal(libc::SIGTERM);
        let out = daemon.wait();
        for word in ["warning/", "critical/"] {
            assert!(!out.stdout.contains(word), "{}", out.stdout);
        }
    }
}

impl Drop for Icinga {
    fn drop(&mut self) {
        let Some(daemon) = self.daemon.take() else { return };
        daemon.signal(libc::SIGTERM);
        let out = daemon.wait();
        if thread::panicking() {
            println!("{}\n{}", out.stdout, out.stderr);
            for service in ["nats-services", "nats-orders", "nats-payments", "nats-mail"] {
                println!("{service}: {:#?}", self.results(service));
            }
        }
    }
}

/// Starts a port that takes what Icinga sends to Graphite: its reading of the performance data.
fn graphite() -> (u16, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let text = Arc::new(Mutex::new(String::new()));
    let seen = Arc::clone(&text);
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        let Ok((mut stream, _)) = listener.accept() else {
            return;
        };
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            seen.lock()
                .unwrap()
                .push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    });
    (port, text)
}

#[test]
#[ignore = "needs Icinga"]
fn icinga_accepts_the_definitions_without_warnings() {
    let dir = TempDir::new();
    for file in ["nats-service.conf", "services.conf"] {
        fs::write(dir.join(file), packaging(file)).unwrap();
    }
    fs::write(dir.join("icinga2.conf"), COMMON).unwrap();
    let out = Icinga::program(&dir, &["daemon", "-C"]).run();
    assert_eq!(out.code, Some(0), "{out:?}");
    assert!(out.stdout.contains("Instantiated 5 Services."), "{out:?}");
    for word in ["warning/", "critical/"] {
        assert!(!out.stdout.contains(word), "{out:?}");
    }
}

/// So are the definitions of the documents, as they stand.
#[test]
#[ignore = "needs Icinga"]
fn definitions_of_the_documents_are_taken() {
    for (document, services) in [("README.md", 2), ("packaging/icinga2/README.md", 5)] {
        let dir = TempDir::new();
        fs::write(dir.join("nats-service.conf"), packaging("nats-service.conf")).unwrap();
        fs::write(dir.join("services.conf"), blocks(&read(document), "icinga2").concat()).unwrap();
        fs::write(dir.join("icinga2.conf"), COMMON).unwrap();
        let out = Icinga::program(&dir, &["daemon", "-C"]).run();
        assert_eq!(out.code, Some(0), "{document}: {out:?}");
        assert!(
            out.stdout.contains(&format!("Instantiated {services} Services.")),
            "{document}: {out:?}"
        );
        for word in ["warning/", "critical/"] {
            assert!(!out.stdout.contains(word), "{document}: {out:?}");
        }
    }
}

/// Returns the notifications in a file, with their receivers.
fn notifications(file: &str) -> String {
    format!(
        "\nobject NotificationComponent \"notification\" {{ }}
         object User \"admin\" {{ }}
         object NotificationCommand \"note\" {{
           command = [ \"/bin/sh\", \"-c\", \"echo $service.name$ $notification.type$ $service.state$ >>{file}\" ]
         }}
         apply Notification \"note\" to Service {{ command = \"note\", users = [ \"admin\" ], interval = 0, assign where true }}
         "
    )
}

/// An outage goes OK, SOFT, HARD, OK; with the password in the environment, and one rule for all services. NATS away is one
/// notification.
#[test]
#[ignore = "needs nats-server"]
fn an_outage_becomes_hard_and_nats_away_is_one_notification() {
    let config = "authorization { users: [
        { user: svc, password: svc },
        { user: mon, password: s3cret, permissions: { publish: { allow: [\"$SRV.>\"] } } },
    ] }";
    let mut server = Server::with_config(Version::Newest, config);
    let url = server.url().replace("//", "//svc:svc@");
    let start = || Service::nats_py(&url, "payments").count(3).start();
    let service = start();
    let _orders = Service::async_nats(&url, "orders").start();
    let (port, metrics) = graphite();
    let state = TempDir::new();
    // The address is that of the host.
    let services = packaging("services.conf").replace(
        "// vars.nats_service_port = 4223",
        &format!(
            "vars.nats_service_port = {}
             vars.nats_service_user = \"mon\"
             vars.nats_service_password = \"s3cret\"
             vars.nats_service_state_dir = \"{}\"",
            server.port(),
            state.path().display()
        ),
    );
    let graphite = format!(
        "object GraphiteWriter \"graphite\" {{ host = \"127.0.0.1\", port = {port}, enable_send_thresholds = true }}"
    );
    let told = state.join("notifications");
    let icinga = Icinga::start(Path::new(BINARY), &services, &(graphite + &notifications(&told)));
    let told = || -> Vec<String> {
        let text = fs::read_to_string(&told).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    };
    let payments = "nats-payments";
    let ok = "OK HARD NATS_SERVICE OK - payments: 3 instances, slowest answer *";
    let seen = icinga.wait_for(payments, 0, ok);
    let all = "nats-services";
    let all_seen = icinga.wait_for(all, 0, "OK HARD NATS_SERVICES OK - 2 services, 4 instances*");
    // The others of the same rule, each with its own options.
    icinga.wait_for("nats-orders", 0, "OK HARD NATS_SERVICE OK - orders: 1 instance*");
    icinga.wait_for(
        "nats-mail",
        0,
        "UNKNOWN HARD NATS_SERVICE UNKNOWN - mail: *APP.$SRV.PING.mail*",
    );
    let up = "OK HARD NATS_SERVER OK - NATS at 127.0.0.1:* is fine (*)";
    let mut server_seen = icinga.wait_for("nats-server", 0, up);

    // The check of all services has the same memory, and may be the first that sees it, or its end.
    service.kill();
    let down = "CRITICAL SOFT NATS_SERVICE CRITICAL - payments: *down*, no responders, *3 instances*";
    let seen = icinga.wait_for(payments, seen, down);
    let still = "CRITICAL HARD NATS_SERVICE CRITICAL - payments: still down for *, no responders, had 3 instances, NATS 2.15.* is fine (*), last seen: *";
    let seen = icinga.wait_for(payments, seen, still);
    let all_down =
        "CRITICAL HARD NATS_SERVICES CRITICAL - 1 of 2 services still down: payments (3 instances until * ago)*";
    let all_seen = icinga.wait_for(all, all_seen, all_down);
    let service = start();
    let seen = icinga.wait_for(payments, seen, ok);
    let all_seen = icinga.wait_for(all, all_seen, "OK HARD NATS_SERVICES OK - 2 services, 4 instances*");
    let sorted = |mut told: Vec<String>| {
        told.sort();
        told
    };
    let expected = [
        "nats-mail PROBLEM UNKNOWN",
        "nats-payments PROBLEM CRITICAL",
        "nats-payments RECOVERY OK",
        "nats-services PROBLEM CRITICAL",
        "nats-services RECOVERY OK",
    ];
    wait_for("notifications", || (told().len() == expected.len()).then_some(()));
    assert_eq!(sorted(told()), expected);

    // NATS away, and every service was there: one notification.
    server.stop();
    let away = "CRITICAL HARD NATS_SERVER CRITICAL - cannot reach NATS at 127.0.0.1:*: connection refused *";
    server_seen = icinga.wait_for("nats-server", server_seen, away);
    let seen = icinga.wait_for(
        payments,
        seen,
        "UNKNOWN HARD NATS_SERVICE UNKNOWN - payments: cannot reach NATS *",
    );
    icinga.wait_for(
        all,
        all_seen,
        "UNKNOWN HARD NATS_SERVICES UNKNOWN - cannot reach NATS *",
    );
    icinga.wait_for(
        "nats-orders",
        0,
        "UNKNOWN HARD NATS_SERVICE UNKNOWN - orders: cannot reach NATS *",
    );
    assert_eq!(told()[expected.len()..], ["nats-server PROBLEM CRITICAL"]);
    server.start_again();
    let seen = icinga.wait_for(payments, seen, ok);
    server_seen = icinga.wait_for("nats-server", server_seen, up);
    wait_for("nats-server RECOVERY", || {
        (told().len() > expected.len() + 1).then_some(())
    });

    // An outage, and NATS goes just then: it is told, when NATS is back at the latest.
    let before = told().len();
    service.kill();
    let seen = icinga.wait_for(payments, seen, down);
    server.stop();
    icinga.wait_for("nats-server", server_seen, away);
    icinga.wait_for(
        payments,
        seen,
        "CRITICAL HARD NATS_SERVICE CRITICAL - payments: still down for *, last answer from NATS *",
    );
    let of = |service: &str| {
        let told = told();
        told[before..].iter().filter(|line| line.starts_with(service)).count()
    };
    assert_eq!(of("nats-server"), 1, "{:?}", told());
    server.start_again();
    wait_for("the outage is told", || (of(payments) == 1).then_some(()));
    assert!(
        told().contains(&"nats-payments PROBLEM CRITICAL".to_owned()),
        "{:?}",
        told()
    );

    // It parsed the numbers and the thresholds.
    for metric in [
        "instances.value 3 ",
        "instances.warn *",
        "rtt_max.value 0.*",
        "outage.value 0 ",
    ] {
        let pattern = format!("*.nats-payments.nats_service.perfdata.{metric}*");
        let found = || {
            let metrics = metrics.lock().unwrap();
            metrics.lines().any(|line| matches(&pattern, line)).then_some(())
        };
        if !metric.contains("warn") {
            wait_for(&pattern, found);
        }
    }
    let text = metrics.lock().unwrap().clone();
    assert!(text.contains("instances.value 0 "), "{text}");
}

/// Every flag of the check is an argument with a variable of its own, and reaches the program as it was meant.
#[test]
#[ignore = "needs Icinga"]
fn each_variable_reaches_its_flag() {
    // Only a run for all services has these.
    let of_all = ["only", "exclude", "expect", "expect-file", "adopt-after", "per-service"];
    assert_variables("nats_service", None, |flag| !of_all.contains(&flag));
    assert_variables("nats_services", Some("--all"), |flag| flag != "name");
    let command = cli::whole_command();
    let server = command.find_subcommand("server").unwrap();
    let of_server: Vec<&str> = server.get_arguments().filter_map(clap::Arg::get_long).collect();
    assert_variables("nats_server", Some("server"), |flag| of_server.contains(&flag));
}

/// The server is the address of the host, unless a server or a context is given.
#[test]
#[ignore = "needs Icinga"]
fn the_server_is_the_host_of_the_service() {
    let plugin = plugin_that_shows_its_arguments();
    let services: String = [
        ("host", "vars.nats_service_port = 4223"),
        ("server", "vars.nats_service_server = \"tls://nats.example.org:4443\""),
        ("context", "vars.nats_service_context = \"prod\""),
        ("named", "vars.nats_service_hostname = \"other.example.org\""),
    ]
    .iter()
    .map(|(name, variables)| {
        format!(
            "object Service \"{name}\" {{ host_name = \"h\", check_command = \"nats_service\", check_interval = 1s
             vars.nats_service_name = \"{name}\"\n {variables} }}\n"
        )
    })
    .collect();
    let host = "object Host \"h\" { check_command = \"dummy\", address = \"192.0.2.1\" }\n";
    let icinga = Icinga::start(Path::new(&plugin.join("plugin")), &format!("{host}{services}"), "");
    for (name, expected) in [
        ("host", "--hostname 192.0.2.1 --name host --port 4223"),
        ("server", "--name server --server tls://nats.example.org:4443"),
        ("context", "--context prod --name context"),
        ("named", "--hostname other.example.org --name named"),
    ] {
        let args = wait_for("a run", || fs::read_to_string(plugin.join(name)).ok());
        let args: Vec<&str> = args.lines().filter(|line| !line.starts_with("NATS_")).collect();
        assert_eq!(args.join(" "), expected);
    }
    icinga.end_without_a_word();
}

/// Each run leaves its arguments, a line each, and the secrets of its environment, in a file with the name of its service, or `args`.
fn plugin_that_shows_its_arguments() -> TempDir {
    let plugin = TempDir::new();
    let script = format!(
        "#!/bin/sh
file=args
last=
for word; do [ \"$last\" != --name ] || file=$word; last=$word; done
case $file in *[!a-z]*) file=args ;; esac
printf '%s\\n' \"$@\" NATS_PASSWORD=\"$NATS_PASSWORD\" NATS_TOKEN=\"$NATS_TOKEN\" >{0}/new.$$\nmv {0}/new.$$ {0}/$file\n",
        plugin.path().display()
    );
    fs::write(plugin.join("plugin"), script).unwrap();
    fs::set_permissions(plugin.join("plugin"), fs::Permissions::from_mode(0o755)).unwrap();
    plugin
}

/// The command runs the program with `first`, all flags that are its own and nothing besides.
#[track_caller]
fn assert_variables(check_command: &str, first: Option<&str>, is_own: impl Fn(&str) -> bool) {
    let plugin = plugin_that_shows_its_arguments();
    let mut services = format!(
        "object Host \"h\" {{ check_command = \"dummy\" }}
         object Service \"s\" {{\n host_name = \"h\"\n check_command = \"{check_command}\"\n check_interval = 1s\n",
    );
    let command = cli::whole_command();
    let (mut expected, mut secrets) = (Vec::new(), Vec::new());
    expected.extend(first.map(|flag| vec![flag.to_owned()]));
    for arg in command.get_arguments() {
        let flag = arg.get_long().unwrap();
        if ["help", "version", "all"].contains(&flag) || !is_own(flag) {
            continue;
        }
        let variable = format!("nats_service_{}", flag.replace('-', "_"));
        let (value, words) = match arg.get_action() {
            ArgAction::SetTrue => ("true".to_owned(), vec![format!("--{flag}")]),
            ArgAction::Count => ("2".to_owned(), vec!["-vv".to_owned()]),
            ArgAction::Append => (
                "[ \"a=1\", \"b=2\" ]".to_owned(),
                ["a=1", "b=2"]
                    .into_iter()
                    .flat_map(|value| [format!("--{flag}"), value.to_owned()])
                    .collect(),
            ),
            _ => (
                format!("\"-{flag} $$ value\""),
                vec![format!("--{flag}"), format!("-{flag} $ value")],
            ),
        };
        services += &format!(" vars.{variable} = {value}\n");
        match flag {
            "password" | "token" => secrets.push(format!("NATS_{}=-{flag} $ value", flag.to_uppercase())),
            _ => expected.push(words),
        }
    }
    services += "}\n";

    let _icinga = Icinga::start(Path::new(&plugin.join("plugin")), &services, "");
    let args = wait_for("a run", || fs::read_to_string(plugin.join("args")).ok());
    let args: Vec<&str> = args.lines().collect();
    for words in &expected {
        let found = args.windows(words.len()).any(|window| window == words.as_slice());
        assert!(found, "{words:?} in {args:#?}");
    }
    for secret in &secrets {
        assert!(args.contains(&secret.as_str()), "{secret} in {args:#?}");
    }
    // And nothing besides.
    assert_eq!(
        args.len(),
        expected.iter().map(Vec::len).sum::<usize>() + secrets.len(),
        "{args:#?}"
    );
}
