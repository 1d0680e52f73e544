//! The real Nagios core runs the check: an outage becomes HARD, whatever happens meanwhile, and ends when the service is back.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;

use crate::support::check::{BINARY, Running, matches};
use crate::support::{Check, LIMIT, Server, Service, TempDir, Version, from_env, wait_for};

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
        let objects = format!(
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
               service_notification_options  w,c,r
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
        // Ours: the program where nobody reaches it, the server's port, and a check each second.
        let plugin = format!("{path}/check_nats_service --state-dir {path}/state -p {port}");
        let commands =
            packaging("check-nats-service.cfg").replace("/usr/lib/nagios/plugins/check_nats_service", &plugin);
        let services = packaging("services.cfg")
            .replace("retry_interval       0.5", "retry_interval 1")
            .replace("/usr/share/doc/check-nats-service/examples/nagios", &path.to_string());
        let objects = objects + &commands + &services;
        fs::write(dir.join("nagios.cfg"), unindented(&main)).unwrap();
        fs::write(dir.join("objects.cfg"), objects).unwrap();
        fs::create_dir(dir.join("results")).unwrap();
        // Nobody may be able to reach where they were built.
        fs::copy(BINARY, dir.join("check_nats_service")).unwrap();
        fs::copy(from_env("NAGIOS4"), dir.join("nagios4")).unwrap();
        // Instead of systemctl by sudo.
        let handler = packaging("nats-service-handler").replace("sudo -n systemctl", &format!("{path}/systemctl"));
        let systemctl = format!("#!/bin/sh\necho \"$@\" >>{path}/restarted\n");
        for (name, text) in [("nats-service-handler", handler), ("systemctl", systemctl)] {
            fs::write(dir.join(name), text).unwrap();
            fs::set_permissions(dir.join(name), Permissions::from_mode(0o755)).unwrap();
        }
        let mut daemon = Check::program(&dir.join("nagios4"), [&dir.join("nagios.cfg")]);
        // SAFETY: geteuid always succeeds.
        if unsafe { libc::geteuid() } == 0 {
            daemon = daemon.uid(NOBODY);
            dir.give_to(NOBODY);
            std::os::unix::fs::chown(dir.join("results"), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let stdout = fs::File::create(dir.join("stdout")).unwrap();
        Nagios {
            daemon: Some(daemon.stdout(stdout).limit(3 * LIMIT).spawn()),
            dir,
        }
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.dir.join(name)).unwrap_or_default()
    }

    /// A field of the service in the status file, as every user interface of Nagios reads it.
    fn status(&self, field: &str) -> Option<String> {
        let status = self.file("status.dat");
        let mut services = status.split("servicestatus {").skip(1);
        let service = services.find(|text| text.contains("service_description=nats-payments\n"))?;
        let (service, _) = service.split_once("\t}")?;
        let field = format!("{field}=");
        service
            .lines()
            .find_map(|line| Some(line.trim().strip_prefix(&field)?.to_owned()))
    }

    /// Waits until the status file shows an output like this.
    #[track_caller]
    fn wait_for_output(&self, pattern: &str) {
        wait_for(pattern, || {
            matches(pattern, &self.status("plugin_output")?).then_some(())
        });
    }

    /// All changes of the service's state so far, as in `CRITICAL;SOFT;1;NATS_SERVICE CRITICAL - …`.
    fn alerts(&self) -> Vec<String> {
        self.alerts_of("nats-payments")
    }

    fn alerts_of(&self, service: &str) -> Vec<String> {
        let log = self.file("nagios.log");
        let head = format!("SERVICE ALERT: nats.example.org;{service};");
        let alerts = log.lines().filter_map(|line| line.split_once(&head));
        alerts.map(|(_, alert)| alert.to_owned()).collect()
    }

    /// Waits for the nth of these, and compares.
    #[track_caller]
    fn wait_for_alert(&self, nth: usize, pattern: &str) {
        let alert = wait_for(pattern, || self.alerts().get(nth).cloned());
        assert!(
            matches(pattern, &alert),
            "{pattern}: {alert}\n{}",
            self.file("nagios.log")
        );
    }
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

#[test]
#[ignore = "needs nats-server"]
fn an_outage_becomes_hard_and_ends_with_the_service_s_return() {
    let mut server = Server::start(Version::Newest);
    let service = Service::nats_py(&server.url(), "payments").count(3).start();
    let nagios = Nagios::start(server.port());
    nagios.wait_for_output("NATS_SERVICE OK - payments: 3 instances, slowest answer *ms");
    let state = || ["current_state", "state_type"].map(|field| nagios.status(field).unwrap_or_default());
    assert_eq!(state(), ["0", "1"]);

    // Nagios would show a semicolon as a colon. The check of all services has the same memory, and may be the first that sees it.
    service.kill();
    nagios.wait_for_alert(
        0,
        "CRITICAL;SOFT;1;NATS_SERVICE CRITICAL - payments: *down*, no responders, *3 instances*, NATS 2.15.* is fine (*), last seen: *",
    );
    let still = "NATS_SERVICE CRITICAL - payments: still down for *, no responders, had 3 instances, NATS 2.15.* is fine (*), last seen: *";
    nagios.wait_for_alert(1, &format!("CRITICAL;SOFT;2;{still}"));
    nagios.wait_for_alert(2, &format!("CRITICAL;HARD;3;{still}"));

    // NATS itself goes: that is no news of the service.
    server.stop();
    nagios.wait_for_output(
        "NATS_SERVICE CRITICAL - payments: still down for *, as of the last answer * ago, *: connection refused *",
    );
    assert_eq!(state(), ["2", "1"]);
    server.start_again();
    nagios.wait_for_output(still);
    assert_eq!((state(), nagios.alerts().len()), (["2", "1"].map(String::from), 3));

    let _service = Service::nats_py(&server.url(), "payments").count(3).start();
    // The one that comes first tells that it is back.
    nagios.wait_for_alert(3, "OK;HARD;*;NATS_SERVICE OK - payments: *");
    nagios.wait_for_output("NATS_SERVICE OK - payments: 3 instances, slowest answer *ms");
    assert_eq!(state(), ["0", "1"]);
    // Somebody was woken, once, and once told that all is well again.
    let notifications = nagios.file("notifications");
    for (service, expected) in [
        (
            "nats-payments",
            "nats-payments PROBLEM NATS_SERVICE CRITICAL - payments: still down for *\n\
             nats-payments RECOVERY NATS_SERVICE OK - payments: 3 instances*",
        ),
        (
            "nats-services",
            "nats-services PROBLEM NATS_SERVICES CRITICAL - 1 of 1 service still down: payments (3 instances until * ago)*\n\
             nats-services RECOVERY NATS_SERVICES OK - 1 service, 3 instances*",
        ),
    ] {
        let own = |line: &&str| line.starts_with(&format!("{service} "));
        let told: Vec<&str> = notifications.lines().filter(own).collect();
        assert!(matches(expected, &told.join("\n")), "{notifications}");
    }
    let alerts = nagios.alerts_of("nats-services");
    assert!(
        alerts[2].starts_with("CRITICAL;HARD;3;NATS_SERVICES CRITICAL - "),
        "{alerts:?}"
    );
    // The event handler acted once, before anybody was woken.
    assert_eq!(nagios.file("restarted"), "restart payments.service\n");
    // Nagios takes the output apart as it was meant.
    let perfdata = "instances=3;3:;1:;0; rtt_max=*s;;;0; nats_rtt=* outage=0.000000s;;;0; probe=*s;;;0;";
    let fields = ["performance_data", "long_plugin_output"].map(|field| nagios.status(field).unwrap());
    assert!(matches(perfdata, &fields[0]), "{}", fields[0]);
    let long = "OK service_up: 3 instances, *\\nasked NATS 2.15.*\\nanswered in *";
    assert!(matches(long, &fields[1]), "{}", fields[1]);
}
