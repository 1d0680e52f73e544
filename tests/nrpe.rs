//! The check behind a real NRPE: the whole of the first line arrives in the small packets of version 2, all lines in those of 4.

use std::fs;
use std::path::Path;

use crate::support::check::{BINARY, Output, Running};
use crate::support::markdown::{blocks, read};
use crate::support::server::free_port;
use crate::support::{Check, LIMIT, Server, Service, TempDir, Version, from_env, wait_for};

/// A user of no rights.
const NOBODY: u32 = 65534;

struct Nrpe {
    _daemon: Running,
    _dir: TempDir,
    port: u16,
}

impl Nrpe {
    /// The commands of packaging/nagios/nrpe.cfg, and one with the long output.
    fn start(server: &Server) -> Nrpe {
        let (dir, port) = (TempDir::new(), free_port());
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/nagios/nrpe.cfg");
        // NRPE does not run as root; and nobody may be able to reach where the check was built.
        fs::copy(BINARY, dir.join("check_nats_service")).unwrap();
        // SAFETY: geteuid always succeeds.
        if unsafe { libc::geteuid() } == 0 {
            dir.give_to(NOBODY);
        }
        let path_of = |name| dir.join(name);
        let plugin = format!(
            "{} -s {} --state-dir {}",
            path_of("check_nats_service"),
            server.url(),
            path_of("state")
        );
        let commands = fs::read_to_string(path)
            .unwrap()
            .replace(
                "/usr/lib/nagios/plugins/check_nats_service server",
                &format!("{} server -s {}", path_of("check_nats_service"), server.url()),
            )
            .replace("/usr/lib/nagios/plugins/check_nats_service", &plugin);
        let config = format!(
            "server_port={port}
server_address=127.0.0.1
allowed_hosts=127.0.0.1
nrpe_user=nobody
nrpe_group=nogroup
pid_file={}
disable_syslog=1
{commands}
command[long]={plugin} -n orders -w 3: -c 1: -vv
",
            dir.join("pid")
        );
        fs::write(dir.join("nrpe.cfg"), config).unwrap();
        let daemon = Nrpe::program("/usr/sbin/nrpe")
            .args(["-n", "-f", "-c", &dir.join("nrpe.cfg")])
            .limit(3 * LIMIT)
            .spawn();
        Nrpe {
            _daemon: daemon,
            _dir: dir,
            port,
        }
    }

    fn program(path: &str) -> Check {
        let tree = from_env("NRPE");
        let libraries = fs::read_dir(format!("{tree}/usr/lib")).unwrap();
        let libraries: Vec<_> = libraries
            .map(|entry| entry.unwrap().path().display().to_string())
            .collect();
        Check::program(&format!("{tree}{path}"), [""; 0]).env("LD_LIBRARY_PATH", libraries.join(":"))
    }

    fn ask(&self, packets: &str, command: &str) -> Output {
        let port = self.port.to_string();
        let args = [
            "-n",
            "-H",
            "127.0.0.1",
            "-p",
            &port,
            packets,
            "-u",
            "-t",
            "15:UNKNOWN",
            "-c",
            command,
        ];
        let args = args.into_iter().filter(|arg| !arg.is_empty());
        Nrpe::program("/usr/lib/nagios/plugins/check_nrpe").args(args).run()
    }
}

#[test]
#[ignore = "needs nats-server"]
fn the_line_fits_into_a_small_packet_and_all_lines_into_a_large_one() {
    let server = Server::start(Version::Newest);
    let service = Service::async_nats(&server.url(), "orders")
        .count(200)
        .metadata("pod", &"p".repeat(60))
        .metadata("host", &"h".repeat(60))
        .start();
    let nrpe = Nrpe::start(&server);
    let line = "NATS_SERVICE OK - orders: 200 instances, slowest answer * | instances=200;3:;1:;0; *probe=*s;;;0;";
    let ok = wait_for("NRPE answers", || {
        let out = nrpe.ask("-2", "check_nats_orders");
        (out.code == Some(0)).then_some(out)
    });
    ok.assert(0, line);
    nrpe.ask("", "check_nats_orders").assert(0, line);

    // What is cut is the end of the long output, never the line.
    let cut = nrpe.ask("-2", "long").assert_first(0, line);
    assert!((600..=1024).contains(&cut.stdout.len()), "{cut:?}");
    let whole = nrpe.ask("", "long").assert_first(0, line);
    // All that the check itself prints for Nagios, which is bounded.
    assert!((7000..=8192).contains(&whole.stdout.len()), "{}", whole.stdout.len());

    // The state is that of NRPE's user, and outlives the asking.
    service.kill();
    server.wait_for_instances("orders", 0);
    nrpe.ask("-2", "check_nats_orders").assert(
        2,
        "NATS_SERVICE CRITICAL - orders: down, no responders, 200 instances until *, NATS 2.15.* is fine (*), last seen: * | instances=0;3:;1:;0; *",
    );
    assert_eq!(nrpe.ask("", "nothing").code, Some(3));

    // NATS itself; and a dollar sign, which is doubled in its file.
    nrpe.ask("", "check_nats_server").assert(
        0,
        "NATS_SERVER OK - NATS at 127.0.0.1:* is fine (*) | nats_rtt=*s;;;0; probe=*s;;;0;",
    );
    let mail =
        "NATS_SERVICE UNKNOWN - mail: never seen in this account (asked APP.$SRV.PING.mail), no responders, * | *";
    nrpe.ask("", "check_nats_mail").assert(3, mail);
}

/// The commands of the document are those that are tested above.
#[test]
fn commands_of_the_document_are_in_the_file() {
    let file = read("packaging/nagios/nrpe.cfg");
    let lines = blocks(&read("packaging/nagios/README.md"), "nrpe").concat();
    assert!(lines.lines().count() > 2, "{lines}");
    for line in lines.lines() {
        assert!(file.lines().any(|known| known == line), "{line}");
    }
}
