//! The real Nagios core runs the check: an outage becomes HARD, whatever happens meanwhile, and ends when the service is back.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;

use crate::support::check::{BINARY, Running, matches};
use crate::support::markdown::{blocks, read};
use crate::support::{Check, LIMIT, Monitor, Server, Service, TempDir, Version, from_env, is_root, wait_for};

/// A user of no rights: Nagios is not meant to run as root.
const NOBODY: u32 = 65534;

/// A Nagios daemon with one host and one service, which it checks each second. Ends with the value.
struct Nagios {
    dir: TempDir,
    daemon: Option<Running>,
}

impl Nagios {
    /// Checks as packaging/nagios says, the server on this port.
    fn start(port: u16) -> Nagios {
        let dir = TempDir::new();
        let path = dir.path().display();
        // Ours: the program where nobody reaches it, the server's port, and a check each second.
        let server = format!("{path}/check_nats_service server -p {port}");
        let plugin = format!("{path}/check_nats_service --state-dir {path}/state -p {port}");
        let commands = packaging("check-nats-service.cfg")
            .replace("/usr/lib/nagios/plugins/check_nats_service server", &server)
            .replace("/usr/lib/nagios/plugins/check_nats_service", &plugin);
        // NATS itself is HARD first, as in the example.
        let services = packaging("services.cfg")
            .replace("retry_interval       0.5", "retry_interval 2")
            .replace("_interval       0.25", "_interval 1")
            .replace("/usr/share/doc/check-nats-service/examples/nagios", &path.to_string());
        // Nobody may be able to reach where it was built.
        fs::copy(BINARY, dir.join("check_nats_service")).unwrap();
        // Instead of systemctl by sudo.
        let handler = packaging("nats-service-handler").replace("sudo -n systemctl", &format!("{path}/systemctl"));
        let systemctl = format!("#!/bin/sh\necho \"$@\" >>{path}/restarted\n");
        for (name, text) in [("nats-service-handler", handler), ("systemctl", systemctl)] {
            fs::write(dir.join(name), text).unwrap();
            fs::set_permissions(dir.join(name), Permissions::from_mode(0o755)).unwrap();
        }
        let daemon = nagios4(&dir, &(commands + &services), &[]);
        let stdout = fs::File::create(dir.join("stdout")).unwrap();
        Nagios {
            daemon: Some(daemon.stdout(stdout).limit(12 * LIMIT).spawn()),
            dir,
        }
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.dir.join(name)).unwrap_or_default()
    }

    /// A field of a service in the status file, as every user interface of Nagios reads it.
    fn status(&self, service: &str, field: &str) -> Option<String> {
        let status = self.file("status.dat");
        let mut services = status.split("servicestatus {").skip(1);
        let service = services.find(|text| text.contains(&format!("service_description={service}\n")))?;
        let (service, _) = service.split_once("\t}")?;
        let field = format!("{field}=");
        service
            .lines()
            .find_map(|line| Some(line.trim().strip_prefix(&field)?.to_owned()))
    }

    /// Waits until the status file shows an output like this.
    #[track_caller]
    fn wait_for_output(&self, service: &str, pattern: &str) {
        wait_for(pattern, || {
            matches(pattern, &self.status(service, "plugin_output")?).then_some(())
        });
    }

    /// The notifications so far, as in `nats-payments PROBLEM NATS_SERVICE CRITICAL - …`.
    fn notifications(&self) -> Vec<String> {
        self.file("notifications").lines().map(str::to_owned).collect()
    }

    /// All changes of a service's state so far, as in `CRITICAL;SOFT;1;NATS_SERVICE CRITICAL - …`.
    fn alerts(&self, service: &str) -> Vec<String> {
        let log = self.file("nagios.log");
        let head = format!("SERVICE ALERT: nats.example.org;{service};");
        let alerts = log.lines().filter_map(|line| line.split_once(&head));
        alerts.map(|(_, alert)| alert.to_owned()).collect()
    }

    /// Waits for the nth of these, and compares.
    #[track_caller]
    fn wait_for_alert(&self, service: &str, nth: usize, pattern: &str) {
        let alert = wait_for(pattern, || self.alerts(service).get(nth).cloned());
        assert!(
            matches(pattern, &alert),
            "{pattern}: {alert}\n{}",
            self.file("nagios.log")
        );
    }
}

/// Nagios with these objects beside those that its packages bring, in this folder.
fn nagios4(dir: &TempDir, objects: &str, flags: &[&str]) -> Check {
    let path = dir.path().display();
    let main = format!(
        "log_file={path}/nagios.log
         cfg_file={path}/objects.cfg
         object_cache_file={path}/objects.cache
         precached_object_file={path}/objects.precache
         status_file={path}/status.dat
         status_update_interval=1
         state_retention_file={path}/retention.dat
         retain_state_information=0
         check_result_path={path}/results
         lock_file={path}/nagios.pid
         temp_file={path}/nagios.tmp
         temp_path={path}
         command_file={path}/nagios.cmd
         query_socket={path}/nagios.qh
         check_external_commands=0
         check_for_updates=0
         use_syslog=0
         log_service_retries=1
         interval_length=1
         check_workers=1
         service_inter_check_delay_method=n
         execute_host_checks=0
         illegal_macro_output_chars=`~$&|'\"<>
         "
    );
    // What the packages of Nagios bring.
    let brought = format!(
        "define timeperiod {{
           timeperiod_name 24x7
           alias           always
           sunday 00:00-24:00
           monday 00:00-24:00
           tuesday 00:00-24:00
           wednesday 00:00-24:00
           thursday 00:00-24:00
           friday 00:00-24:00
           saturday 00:00-24:00
         }}
         define command {{
           command_name notify
           command_line /bin/echo \"$SERVICEDESC$ $NOTIFICATIONTYPE$ $SERVICEOUTPUT$\" >>{path}/notifications
         }}
         define contact {{
           contact_name                  admin
           service_notification_commands notify
           service_notification_options  w,u,c,r
           service_notification_period   24x7
           host_notification_commands    notify
           host_notification_options     n
           host_notification_period      24x7
         }}
         define contactgroup {{
           contactgroup_name             admins
           alias                         admins
           members                       admin
         }}
         define host {{
           name                generic-host
           register            0
           check_period        24x7
           notification_period 24x7
         }}
         define service {{
           name                  generic-service
           register              0
           check_period          24x7
           contact_groups        admins
           notification_period   24x7
           notification_interval 0
         }}
         "
    );
    fs::write(dir.join("nagios.cfg"), unindented(&main)).unwrap();
    fs::write(dir.join("objects.cfg"), brought + objects).unwrap();
    fs::create_dir(dir.join("results")).unwrap();
    // Nobody may be able to reach where it was built.
    fs::copy(from_env("NAGIOS4"), dir.join("nagios4")).unwrap();
    let daemon = Check::program(&dir.join("nagios4"), flags).arg(dir.join("nagios.cfg"));
    if !is_root() {
        return daemon;
    }
    dir.give_to(NOBODY);
    std::os::unix::fs::chown(dir.join("results"), Some(NOBODY), Some(NOBODY)).unwrap();
    daemon.uid(NOBODY)
}

impl Drop for Nagios {
    fn drop(&mut self) {
        if thread::panicking() {
            return println!("{}\n{}", self.file("stdout"), self.file("nagios.log"));
        }
        // Its workers are in groups of their own; told to end, it ends them.
        let daemon = self.daemon.take().expect("it runs");
        daemon.signal(libc::SIGTERM);
        daemon.wait();
    }
}

fn packaging(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("packaging/nagios")
        .join(file);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn unindented(text: &str) -> String {
    text.lines().map(|line| format!("{}\n", line.trim_start())).collect()
}

/// One daemon sees it all: an outage, NATS away meanwhile, its end; NATS away with every service there; and an outage that NATS hides.
#[test]
#[ignore = "needs nats-server"]
fn an_outage_becomes_hard_and_nats_away_is_one_notification() {
    let mut server = Server::start(Version::Newest);
    let _orders = Service::async_nats(&server.url(), "orders").start();
    let url = server.url();
    let start = |count| Service::nats_py(&url, "payments").count(count).start();
    let (two, one) = (start(2), start(1));
    let nagios = Nagios::start(server.port());
    let payments = "nats-payments";
    let ok = "NATS_SERVICE OK - payments: 3 instances, slowest answer *";
    nagios.wait_for_output(payments, ok);
    nagios.wait_for_output("nats-orders", "NATS_SERVICE OK - orders: 1 instance, *");
    nagios.wait_for_output("nats-services", "NATS_SERVICES OK - 2 services, 4 instances");
    nagios.wait_for_output("nats-server", "NATS_SERVER OK - NATS at 127.0.0.1:* is fine (*)");
    let state =
        |service| ["current_state", "state_type"].map(|field| nagios.status(service, field).unwrap_or_default());
    assert_eq!(state(payments), ["0", "1"]);

    // It degrades first, as it usually does. Nagios would show a semicolon as a colon.
    one.kill();
    nagios.wait_for_alert(
        payments,
        0,
        "WARNING;SOFT;1;NATS_SERVICE WARNING - payments: 2 instances, fewer than 3 *",
    );
    nagios.wait_for_alert(
        payments,
        2,
        "WARNING;HARD;3;NATS_SERVICE WARNING - payments: 2 instances, fewer than 3 *",
    );
    assert_eq!(nagios.file("restarted"), "");
    // The check of all services has the same memory, and may be the first that sees it.
    two.kill();
    nagios.wait_for_alert(
        payments,
        3,
        "CRITICAL;HARD;3;NATS_SERVICE CRITICAL - payments: *down*, no responders, *2 instances*, NATS 2.15.* is fine (*), last seen: *",
    );
    let still = "NATS_SERVICE CRITICAL - payments: still down for *, no responders, had 2 instances, NATS 2.15.* is fine (*), last seen: *";
    nagios.wait_for_output(payments, still);
    nagios.wait_for_alert("nats-services", 2, "CRITICAL;HARD;3;NATS_SERVICES CRITICAL - *");

    // NATS itself goes: that is no news of the service.
    let away = |nth: usize| {
        nagios.wait_for_alert(
            "nats-server",
            nth + 1,
            "CRITICAL;HARD;2;NATS_SERVER CRITICAL - cannot reach NATS *",
        );
        nagios.wait_for_output(
            "nats-server",
            "NATS_SERVER CRITICAL - cannot reach NATS at *: connection refused *",
        );
    };
    server.stop();
    nagios.wait_for_output(
        payments,
        "NATS_SERVICE CRITICAL - payments: still down for *, last answer from NATS * ago, *: connection refused *",
    );
    away(0);
    assert_eq!(state(payments), ["2", "1"]);
    server.start_again();
    nagios.wait_for_output(payments, still);
    assert_eq!(
        (state(payments), nagios.alerts(payments).len()),
        (["2", "1"].map(String::from), 4)
    );
    nagios.wait_for_alert("nats-server", 2, "OK;HARD;*");
    nagios.wait_for_output("nats-orders", "NATS_SERVICE OK - orders: 1 instance, *");

    let service = start(3);
    // The one that comes first tells that it is back.
    nagios.wait_for_alert(payments, 4, "OK;HARD;*;NATS_SERVICE OK - payments: *");
    nagios.wait_for_output(payments, ok);
    assert_eq!(state(payments), ["0", "1"]);
    // Somebody was woken, once, and once told that all is well again.
    let of = |service: &str| -> Vec<String> {
        let own = |line: &String| line.starts_with(&format!("{service} "));
        nagios.notifications().into_iter().filter(own).collect()
    };
    for (service, expected) in [
        (
            payments,
            "nats-payments PROBLEM NATS_SERVICE WARNING - payments: 2 instances, fewer than 3 *\n\
             nats-payments PROBLEM NATS_SERVICE CRITICAL - payments: *down*, no responders, *2 instances*\n\
             nats-payments RECOVERY NATS_SERVICE OK - payments: 3 instances*",
        ),
        (
            "nats-services",
            "nats-services PROBLEM NATS_SERVICES CRITICAL - 1 of 2 services still down: payments (2 instances until * ago)*\n\
             nats-services RECOVERY NATS_SERVICES OK - 2 services, *",
        ),
        (
            "nats-server",
            "nats-server PROBLEM NATS_SERVER CRITICAL - cannot reach NATS at *: connection refused *\n\
             nats-server RECOVERY NATS_SERVER OK - NATS at * is fine (*)",
        ),
        ("nats-orders", ""),
    ] {
        let told = wait_for(service, || {
            let told = of(service);
            (told.len() == expected.lines().count()).then(|| told.join("\n"))
        });
        assert!(matches(expected, &told), "{told}");
    }
    // The event handler acted once, before anybody was woken.
    assert_eq!(nagios.file("restarted"), "restart payments.service\n");

    // NATS away, and every service was there: one notification.
    let before = nagios.notifications().len();
    server.stop();
    away(3);
    for service in [payments, "nats-orders", "nats-services"] {
        wait_for(service, || (state(service) == ["3", "1"]).then_some(()));
    }
    let told = nagios.notifications().split_off(before);
    assert!(
        told.len() == 1 && told[0].starts_with("nats-server PROBLEM "),
        "{told:?}"
    );
    server.start_again();
    nagios.wait_for_output(payments, ok);
    nagios.wait_for_alert("nats-server", 5, "OK;HARD;*");

    // An outage, and NATS goes just then: it is told, when NATS is back at the latest.
    let (before, alerts) = (of(payments).len(), nagios.alerts(payments).len());
    service.kill();
    nagios.wait_for_alert(payments, alerts, "CRITICAL;SOFT;1;*");
    server.stop();
    nagios.wait_for_alert(
        payments,
        alerts + 2,
        "CRITICAL;HARD;3;*still down for *, last answer from NATS *",
    );
    server.start_again();
    let told = wait_for("the outage is told", || of(payments).get(before).cloned());
    assert_eq!(nagios.file("restarted"), "restart payments.service\n".repeat(2));
    assert!(
        told.starts_with("nats-payments PROBLEM NATS_SERVICE CRITICAL - payments: still down for "),
        "{told}"
    );

    nagios.wait_for_output("nats-server", "NATS_SERVER OK - *");
    nagios.wait_for_output("nats-orders", "NATS_SERVICE OK - *");
    // Nagios takes the output apart as it was meant.
    let perfdata = "nats_rtt=*s;;;0; probe=*s;;;0;";
    let fields =
        |service| ["performance_data", "long_plugin_output"].map(|field| nagios.status(service, field).unwrap());
    assert!(
        matches(perfdata, &fields("nats-server")[0]),
        "{:?}",
        fields("nats-server")
    );
    let [perfdata, long] = fields("nats-orders");
    let expected = "instances=1;;;0; rtt_max=*s;;;0; nats_rtt=* outage=0.000000s;;;0; probe=*s;;;0;";
    assert!(matches(expected, &perfdata), "{perfdata}");
    // Without what the first line says.
    let expected = "OK service_up\\nasked NATS 2.15.*\\nanswered in *";
    assert!(matches(expected, &long), "{long}");
}

/// The event handler acts when a service becomes CRITICAL, from OK and from WARNING, whatever kind of state that is; and not again.
#[test]
fn the_event_handler_acts_once_for_an_outage() {
    let dir = TempDir::new();
    let log = dir.join("restarted");
    let handler =
        packaging("nats-service-handler").replace("sudo -n systemctl", &format!("{}/systemctl", dir.path().display()));
    let systemctl = format!("#!/bin/sh\necho \"$@\" >>{log}\n");
    for (name, text) in [("handler", handler), ("systemctl", systemctl)] {
        fs::write(dir.join(name), text).unwrap();
        fs::set_permissions(dir.join(name), Permissions::from_mode(0o755)).unwrap();
    }
    for (state, last, acts) in [
        ("CRITICAL", "OK", true),
        ("CRITICAL", "CRITICAL", false),
        ("CRITICAL", "WARNING", true),
        ("CRITICAL", "UNKNOWN", true),
        ("WARNING", "OK", false),
        ("UNKNOWN", "OK", false),
        ("OK", "CRITICAL", false),
    ] {
        let _ = fs::remove_file(&log);
        Check::program(&dir.join("handler"), [state, last, "payments.service"])
            .run()
            .assert(0, "");
        assert_eq!(Path::new(&log).exists(), acts, "{last} -> {state}");
    }
    let usage = "usage: nats-service-handler STATE LAST_STATE UNIT";
    Check::program(&dir.join("handler"), ["CRITICAL"])
        .run()
        .assert_stderr(2, "", usage);
}

/// Nagios takes the definitions of the documents as they stand. Those that define no host are beside the one of the README.
#[test]
#[ignore = "needs Nagios"]
fn definitions_of_the_documents_are_taken() {
    let quick_start = blocks(&read("README.md"), "nagios").concat();
    let (host, _) = quick_start.split_once("define service").expect("a host and services");
    for (document, host, services) in [("README.md", "", 2), ("packaging/nagios/README.md", host, 3)] {
        let definitions = blocks(&read(document), "nagios").concat();
        let dir = TempDir::new();
        let objects = packaging("check-nats-service.cfg") + host + &definitions;
        let out = nagios4(&dir, &objects, &["-v"]).run();
        assert_eq!(out.code, Some(0), "{document}: {out:?}");
        for line in [
            &format!("\tChecked {services} services."),
            "Total Warnings: 0",
            "Total Errors:   0",
        ] {
            assert!(
                out.stdout.lines().any(|found| found == line),
                "{document}: {line}: {}",
                out.stdout
            );
        }
    }
}

/// The permissions and the account import of the document are enough, and no more than that.
#[test]
#[ignore = "needs nats-server"]
fn permissions_of_the_document_are_enough() {
    let [one, all, accounts] = &blocks(&read("packaging/nagios/README.md"), "nats")[..] else {
        panic!("three blocks");
    };
    for (permissions, flags) in [(one, ["-n", "orders", "-v"]), (all, ["--all", "-v", "-v"])] {
        let config = format!(
            "authorization {{ users: [ {{user: svc, password: svc}}, {{user: mon, password: mon, {permissions}}} ] }}"
        );
        let server = Server::with_config(Version::Newest, &config);
        let service = Service::async_nats(&server.url().replace("//", "//svc:svc@"), "orders")
            .count(2)
            .start();
        let (login, state) = (["--user", "mon", "--password", "mon"], TempDir::new());
        let state = state.join("state");
        let check = || {
            let out = Check::new(flags)
                .args(["-s", &server.url(), "--state-dir", &state])
                .args(login)
                .run();
            assert!(!out.stdout.contains("does not let us"), "{out:?}");
            out.code
        };
        assert_eq!(check(), Some(0));
        service.kill();
        assert_eq!(check(), Some(2));
    }

    let users = |account: &str, user: &str| {
        let begin = format!("{account} {{ ");
        (
            begin.clone(),
            format!("{begin}users: [ {{user: {user}, password: {user}}} ], "),
        )
    };
    let config = [users("APP", "svc"), users("MON", "mon")]
        .iter()
        .fold(accounts.clone(), |config, (begin, with_users)| {
            config.replacen(begin, with_users, 1)
        });
    let server = Server::with_config(Version::Newest, &config);
    let _service = Service::async_nats(&server.url().replace("//", "//svc:svc@"), "orders")
        .count(2)
        .start();
    let monitor = Monitor::new(server.url().replace("//", "//mon:mon@")).login(&["--srv-prefix", "APP.$SRV"]);
    monitor
        .check(["--confirm", "2s"])
        .run()
        .assert_first(0, "NATS_SERVICE OK - orders: 2 instances, *");
}
