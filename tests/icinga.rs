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
        let services = services
            .replace("check_interval = 1m", "check_interval = 1s")
            .replace("retry_interval = 20s", "retry_interval = 1s");
        fs::write(dir.join("services.conf"), services).unwrap();
        fs::write(dir.join("icinga2.conf"), format!("{COMMON}{more}")).unwrap();
        fs::create_dir(dir.join("plugins")).unwrap();
        fs::create_dir_all(dir.join("data/results")).unwrap();
        fs::copy(plugin, dir.join("plugins/check_nats_service")).unwrap();
        let daemon = Icinga::program(&dir, &["daemon"]).limit(3 * LIMIT).spawn();
        Icinga {
            daemon: Some(daemon),
            dir,
        }
    }

    fn program(dir: &TempDir, words: &[&str]) -> Check {
        let plugins = format!("PluginContribDir={}", dir.join("plugins"));
        let args = words.iter().copied().chain(["-c"]).map(String::from);
        let args = args.chain([dir.join("icinga2.conf"), "-D".into(), plugins]);
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

impl Drop for Icinga {
    fn drop(&mut self) {
        let daemon = self.daemon.take().expect("it runs");
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

/// What arrives on a port, as by Graphite: Icinga sends there what it made of the perfdata.
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
fn it_takes_the_definitions_without_a_word() {
    let dir = TempDir::new();
    for file in ["nats-service.conf", "services.conf"] {
        fs::write(dir.join(file), packaging(file)).unwrap();
    }
    fs::write(dir.join("icinga2.conf"), COMMON).unwrap();
    let out = Icinga::program(&dir, &["daemon", "-C"]).run();
    assert_eq!(out.code, Some(0), "{out:?}");
    assert!(out.stdout.contains("Instantiated 4 Services."), "{out:?}");
    for word in ["warning/", "critical/"] {
        assert!(!out.stdout.contains(word), "{out:?}");
    }
}

/// An outage goes OK, SOFT, HARD, OK; with the password in the environment, and one rule for all services.
#[test]
#[ignore = "needs nats-server"]
fn an_outage_becomes_hard_and_ends_with_the_service_s_return() {
    let config = "authorization { users: [
        { user: svc, password: svc },
        { user: mon, password: s3cret, permissions: { publish: { allow: [\"$SRV.>\"] } } },
    ] }";
    let server = Server::with_config(Version::Newest, config);
    let url = server.url().replace("//", "//svc:svc@");
    let start = || Service::nats_py(&url, "payments").count(3).start();
    let service = start();
    let (port, metrics) = graphite();
    let state = TempDir::new();
    let services = packaging("services.conf").replace(
        "vars.nats_service_server = \"nats://$host.address$\"",
        &format!(
            "vars.nats_service_server = \"nats://$host.address$:{}\"
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
    let icinga = Icinga::start(Path::new(BINARY), &services, &graphite);
    let payments = "nats-payments";
    let ok = "OK HARD NATS_SERVICE OK - payments: 3 instances, slowest answer *ms";
    let seen = icinga.wait_for(payments, 0, ok);
    let all = "nats-services";
    let all_seen = icinga.wait_for(all, 0, "OK HARD NATS_SERVICES OK - 1 service, 3 instances*");
    // The others of the same rule, each with its own options.
    icinga.wait_for(
        "nats-orders",
        0,
        "UNKNOWN * NATS_SERVICE UNKNOWN - orders: never seen *",
    );
    icinga.wait_for(
        "nats-mail",
        0,
        "UNKNOWN * NATS_SERVICE UNKNOWN - mail: *APP.$SRV.PING.mail*",
    );

    // The check of all services has the same memory, and may be the first that sees it, or its end.
    service.kill();
    let down = "CRITICAL SOFT NATS_SERVICE CRITICAL - payments: *down*, no responders, *3 instances*";
    let seen = icinga.wait_for(payments, seen, down);
    let still = "CRITICAL HARD NATS_SERVICE CRITICAL - payments: still down for *, no responders, had 3 instances, NATS 2.15.* is fine (*), last seen: *";
    let seen = icinga.wait_for(payments, seen, still);
    let all_down =
        "CRITICAL HARD NATS_SERVICES CRITICAL - 1 of 1 service still down: payments (3 instances until * ago)*";
    let all_seen = icinga.wait_for(all, all_seen, all_down);
    let _service = start();
    icinga.wait_for(payments, seen, ok);
    icinga.wait_for(all, all_seen, "OK HARD NATS_SERVICES OK - 1 service, 3 instances*");

    // It parsed the numbers and the thresholds.
    for metric in [
        "instances.value 3 ",
        "instances.warn *",
        "rtt_max.value 0.00*",
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
}

/// The command runs the program with `first`, all flags that are its own and nothing besides.
#[track_caller]
fn assert_variables(check_command: &str, first: Option<&str>, is_own: impl Fn(&str) -> bool) {
    let plugin = TempDir::new();
    // Each run leaves its arguments, a line each, and the secrets of its environment.
    let script = format!(
        "#!/bin/sh\nprintf '%s\\n' \"$@\" NATS_PASSWORD=\"$NATS_PASSWORD\" NATS_TOKEN=\"$NATS_TOKEN\" >{0}/new.$$\nmv {0}/new.$$ {0}/args\n",
        plugin.path().display()
    );
    fs::write(plugin.join("plugin"), script).unwrap();
    fs::set_permissions(plugin.join("plugin"), fs::Permissions::from_mode(0o755)).unwrap();

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
