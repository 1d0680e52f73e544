//! Each way in which NATS cannot be asked: its reason, its time, and an epoch that stays.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::support::server::free_port;
use super::support::{
    Blackhole, Check, Conn, Fake, LIMIT, Monitor, Output, SLACK, Server, Service, TempDir, Version, each, is_root,
    is_timed, raw, wait_for,
};

/// Time of a run that may have to use it up. A tenth of it has to be enough for what comes after the asking, on a busy machine too.
fn timeout() -> Duration {
    Duration::from_secs(if is_timed() { 1 } else { 2 })
}

/// Maximum time after its deadline at which a run ends: that of the contract, and that which a busy machine may add.
const AFTER: Duration = Duration::from_millis(100).saturating_add(SLACK);

const NOT_ASKED: &str = "instances=U rtt_max=U nats_rtt=* outage=*s;;;0; probe=*s;;;0;";

const LAME_DUCK: &str = "lame_duck_duration: 30s\nlame_duck_grace_period: 20s\n";

const MON: &[&str] = &["--user", "mon", "--password", "pw"];

const ANSWER: &[u8] = br#"{"name":"orders","id":"A"}"#;

type Script = fn(&mut Conn) -> io::Result<()>;

/// Trouble of a server that was good and needs no login.
enum Trouble {
    Stopped,
    /// Accepts connections, by the kernel alone, and says nothing.
    Frozen,
    /// Takes no new connections any more, and keeps those that it has.
    LameDuck,
    /// Starts again with this configuration.
    Config(String),
    /// The same, and somebody has taken the one connection that there is.
    Full(&'static str),
    /// Something else is at its address.
    Blackhole,
    Fake(Script),
    /// Its name is known no more: the name service says so, or says nothing.
    NoSuchName,
    DnsHangs,
}

/// One way to fail, and what is to be said of it, with ADDRESS for the server's.
struct Case {
    login: &'static [&'static str],
    trouble: Trouble,
    reason: &'static str,
    text: &'static str,
}

/// Stand-in for the server, or a peer beside it.
#[derive(Default)]
struct StandIn {
    _guest: Option<TcpStream>,
    _blackhole: Option<Blackhole>,
    _fake: Option<Fake>,
}

/// A server that can get into trouble and out of it, and somebody who watches a service there.
struct Place {
    server: Server,
    names: Option<Names>,
    monitor: Monitor,
    stand_in: StandIn,
}

impl Place {
    fn new(trouble: &Trouble, login: &[&str]) -> Place {
        let server = Server::with_config(Version::Newest, LAME_DUCK);
        let names = match trouble {
            Trouble::NoSuchName => Some(Names::new(true)),
            Trouble::DnsHangs => Some(Names::new(false)),
            _ => None,
        };
        let host = names.as_ref().map_or("127.0.0.1", |_| Names::HOST);
        let monitor = Monitor::new(format!("nats://{host}:{}", server.port())).login(login);
        Place {
            server,
            names,
            monitor,
            stand_in: StandIn::default(),
        }
    }

    /// A run that waits for its deadline, and changes nothing that another one would see.
    fn check_in_time(&self, flags: &[&str]) -> Output {
        let timeout = format!("{}ms", timeout().as_millis());
        let flags = [flags, &["--timeout", &timeout]].concat();
        self.check(&flags)
    }

    fn check(&self, flags: &[&str]) -> Output {
        let check = self.monitor.check(flags).arg("-v");
        match &self.names {
            Some(names) => check.under(names.under()).run(),
            None => check.run(),
        }
    }

    fn get_into(&mut self, trouble: &Trouble) {
        let port = self.server.port();
        match trouble {
            Trouble::Frozen => self.server.freeze(),
            Trouble::LameDuck => {
                // Without anybody to wait for, it would end at once.
                self.stand_in._guest = Some(raw::subscribe(&self.server.url(), "x").expect("a guest"));
                self.server.signal(libc::SIGUSR2);
                wait_for("lame duck mode", || TcpStream::connect(("127.0.0.1", port)).err());
            }
            Trouble::Stopped => self.server.stop(),
            Trouble::Config(config) => self.restart(config),
            Trouble::Full(config) => {
                self.restart(config);
                let url = format!("nats://mon:pw@127.0.0.1:{port}");
                self.stand_in._guest = Some(raw::subscribe(&url, "x").expect("a guest"));
            }
            Trouble::Blackhole => {
                self.server.stop();
                self.stand_in._blackhole = Some(Blackhole::on(port));
            }
            Trouble::Fake(script) => {
                self.server.stop();
                self.stand_in._fake = Some(Fake::on(port, *script));
            }
            Trouble::NoSuchName | Trouble::DnsHangs => self.names.as_ref().expect("names").forget(),
        }
    }

    fn get_out_of(&mut self, trouble: &Trouble) {
        self.stand_in = StandIn::default();
        match trouble {
            Trouble::Frozen => self.server.thaw(),
            Trouble::LameDuck => {
                // SIGTERM would wait for the guest to leave.
                self.server.signal(libc::SIGKILL);
                self.restart(LAME_DUCK);
            }
            Trouble::Config(_) | Trouble::Full(_) => self.restart(LAME_DUCK),
            Trouble::Stopped | Trouble::Blackhole | Trouble::Fake(_) => self.server.start_again(),
            Trouble::NoSuchName | Trouble::DnsHangs => self.names.as_ref().expect("names").know(),
        }
    }

    fn restart(&mut self, config: &str) {
        self.server.stop();
        fs::write(self.server.dir().join("server.conf"), config).expect("a configuration");
        self.server.start_again();
    }
}

/// A name service of our own, for the runs under a shell that puts it in the place of the system's.
struct Names {
    dir: TempDir,
    _socket: UdpSocket,
}

impl Names {
    const HOST: &str = "nats.test";

    /// The name stands for this machine until it is forgotten. Then DNS says that there is no such name, or nothing.
    fn new(answers: bool) -> Names {
        // Something may be on port 53 of some of these addresses.
        let socket = (1..255)
            .find_map(|last| UdpSocket::bind((format!("127.0.53.{last}"), 53)).ok())
            .expect("port 53 of an address is free, and we may have it");
        let address = socket.local_addr().expect("its address");
        let dir = TempDir::new();
        let write = |name: &str, text: &str| fs::write(dir.join(name), text).expect("a file");
        write("nsswitch.conf", "hosts: files dns\n");
        write("resolv.conf", &format!("nameserver {}\n", address.ip()));
        if answers {
            let socket = socket.try_clone().expect("the same socket");
            thread::spawn(move || say_no_such_name(&socket));
        }
        let names = Names { dir, _socket: socket };
        names.know();
        names
    }

    fn know(&self) {
        fs::write(self.dir.join("hosts"), format!("127.0.0.1 {}\n", Names::HOST)).expect("a file");
    }

    fn forget(&self) {
        fs::write(self.dir.join("hosts"), "").expect("a file");
    }

    fn under(&self) -> Vec<String> {
        let mount = ["resolv.conf", "nsswitch.conf", "hosts"]
            .map(|name| format!("mount --bind {} /etc/{name} && ", self.dir.join(name)))
            .concat();
        let script = format!("{mount} exec \"$@\"");
        ["unshare", "-m", "sh", "-c", &script, "sh"].map(String::from).to_vec()
    }
}

/// Answers every query with NXDOMAIN, until the test process ends.
fn say_no_such_name(socket: &UdpSocket) {
    let mut packet = [0; 512];
    while let Ok((size, from)) = socket.recv_from(&mut packet) {
        // A response, recursion available; the name does not exist.
        (packet[2], packet[3]) = (0x81, 0x83);
        // Nothing but the question: not what the query had in its additional section.
        packet[6..12].fill(0);
        let name = packet[12..size]
            .iter()
            .position(|byte| *byte == 0)
            .expect("the end of a name");
        let _ = socket.send_to(&packet[..12 + name + 1 + 4], from);
    }
}

/// First a good run, then the failure, and the service ends where nobody can see it. The failure is no answer: neither OK
/// nor an outage. It leaves the epoch alone, so that the outage is seen as soon as NATS can be asked again; and with the
/// outage open, it is CRITICAL whatever the failure is.
fn endures(case: Case) {
    let Case {
        login,
        trouble,
        reason,
        text,
    } = &case;
    let mut place = Place::new(trouble, login);
    let address = format!("127.0.0.1:{}", place.server.port());
    let text = text.replace("ADDRESS", &address);
    let in_time = |out: Output| drop(out.assert_within(timeout() + AFTER));

    let service = Service::async_nats(&place.server.url(), "orders").count(3).start();
    place
        .check(&[])
        .assert_first(0, "NATS_SERVICE OK - orders: 3 instances, *");
    let known = place.monitor.epoch();
    assert!(
        known.contains(", 3 instances\n") && known.contains("\nno outage\n"),
        "{known}"
    );
    service.kill();
    place.server.wait_for_instances("orders", 0);

    place.get_into(trouble);
    let unknown = format!("NATS_SERVICE UNKNOWN - orders: {text}* | {NOT_ASKED}");
    let out = place.check_in_time(&[]).assert_first(3, &unknown);
    let out = out.assert_finding(&format!("UNKNOWN {reason}: {text}*"));
    assert_eq!(out.perfdata("outage"), Some(0.0));
    in_time(out);
    assert_eq!(place.monitor.epoch(), known);
    // The user may think less of it, if it is only that NATS cannot be reached.
    let out = place.check_in_time(&["--unreachable", "ok"]);
    let out = out.assert_line(&format!("NATS could not be asked since *: {reason}"));
    in_time(match *reason {
        "nats_unreachable" | "auth_rejected" | "tls_failed" => out
            .assert_first(
                0,
                &format!("NATS_SERVICE OK - orders: {text} (failing for *s) | {NOT_ASKED}"),
            )
            .assert_finding(&format!("OK {reason}: {text} (failing for *s)")),
        _ => out
            .assert_first(
                3,
                &format!("NATS_SERVICE UNKNOWN - orders: {text} (failing for *s) | {NOT_ASKED}"),
            )
            .assert_finding(&format!("UNKNOWN {reason}: {text} (failing for *s)")),
    });
    assert_eq!(place.monitor.epoch(), known);

    place.get_out_of(trouble);
    let soon = ["--confirm", "50ms"];
    place
        .check(&soon)
        .assert_first(
            2,
            "NATS_SERVICE CRITICAL - orders: down, no responders, 3 instances until *s ago, *",
        )
        .assert_finding("CRITICAL service_down: down, *");
    let known = place.monitor.epoch();
    assert!(known.contains(", 0 instances\noutage since "), "{known}");

    place.get_into(trouble);
    let still = "still down for *s, last answer from NATS *s ago, had 3 instances, last seen: *";
    let out = place.check_in_time(&["--unreachable", "ok"]);
    let out = out.assert_first(
        2,
        &format!("NATS_SERVICE CRITICAL - orders: {still}, {text}* | {NOT_ASKED}"),
    );
    assert!(out.perfdata("outage") > Some(0.0));
    in_time(
        out.assert_finding(&format!("CRITICAL service_down: {still}"))
            .assert_finding(&format!("* {reason}: {text}*")),
    );
    assert_eq!(place.monitor.epoch(), known);

    place.get_out_of(trouble);
    place.check(&soon).assert_first(
        2,
        "NATS_SERVICE CRITICAL - orders: still down for *s, no responders, had 3 instances, *",
    );
}

#[test]
#[ignore = "needs nats-server"]
fn timed_missing_server_is_unknown() {
    each(
        [
            Case {
                login: &[],
                trouble: Trouble::Stopped,
                reason: "nats_unreachable",
                text: "cannot reach NATS at ADDRESS: connection refused (is nats-server running there?)",
            },
            Case {
                login: &[],
                trouble: Trouble::LameDuck,
                reason: "nats_unreachable",
                text: "cannot reach NATS at ADDRESS: connection refused (is nats-server running there?)",
            },
            Case {
                login: &[],
                trouble: Trouble::Blackhole,
                reason: "nats_unreachable",
                text: "cannot reach NATS at ADDRESS: no answer to the TCP connection within *s (is the host up, \
                   or does a firewall drop it?)",
            },
        ],
        endures,
    );
}

/// With a name service of our own, which only root can put in the place of the system's.
#[test]
#[ignore = "needs nats-server"]
fn timed_host_name_that_does_not_resolve_is_unknown() {
    if !is_root() {
        return;
    }
    each(
        [
            Case {
                login: &[],
                trouble: Trouble::NoSuchName,
                reason: "nats_unreachable",
                text: "cannot resolve nats.test: Name or service not known",
            },
            Case {
                login: &[],
                trouble: Trouble::DnsHangs,
                reason: "nats_unreachable",
                text: "cannot resolve nats.test: no answer from DNS within *s",
            },
        ],
        endures,
    );
}

#[test]
#[ignore = "needs nats-server"]
fn timed_hanging_server_is_unknown() {
    each(
        [
            Case {
                login: &[],
                trouble: Trouble::Frozen,
                reason: "nats_unreachable",
                text: "ADDRESS accepts the connection but sends nothing for *s, is nats-server frozen, does it want \
                       TLS first (handshake_first), or is this another service?",
            },
            // A web server waits for a request.
            Case {
                login: &[],
                trouble: Trouble::Fake(|conn| {
                    conn.read_line()?;
                    Ok(())
                }),
                reason: "nats_unreachable",
                text: "ADDRESS accepts the connection but sends nothing for *s, is nats-server frozen, does it want \
                       TLS first (handshake_first), or is this another service?",
            },
            // After its INFO.
            Case {
                login: &[],
                trouble: Trouble::Fake(|conn| {
                    conn.send_info()?;
                    conn.answer_pings(false);
                    conn.hold(LIMIT)
                }),
                reason: "nats_unreachable",
                text: "NATS at ADDRESS did not finish the login within *s, is it too slow for --timeout?",
            },
            // After the request.
            Case {
                login: &[],
                trouble: Trouble::Fake(|conn| {
                    conn.handshake()?;
                    conn.read_request()?;
                    conn.answer_pings(false);
                    conn.hold(LIMIT)
                }),
                reason: "nats_unreachable",
                text: "NATS at ADDRESS took the request but stopped answering, waited *s",
            },
        ],
        endures,
    );
}

#[test]
#[ignore = "needs nats-server"]
fn refused_login_is_unknown() {
    let config = |text: &str| Trouble::Config(format!("authorization {{ {text} }}"));
    each(
        [
            Case {
                login: MON,
                trouble: config("user: mon, password: other"),
                reason: "auth_rejected",
                text: "NATS at ADDRESS refused the user mon or the password (Authorization Violation)",
            },
            Case {
                login: MON,
                trouble: config("user: someone, password: pw"),
                reason: "auth_rejected",
                text: "NATS at ADDRESS refused the user mon or the password (Authorization Violation)",
            },
            Case {
                login: &["--token", "tok"],
                trouble: config("token: other"),
                reason: "auth_rejected",
                text: "NATS at ADDRESS refused the token (Authorization Violation)",
            },
            Case {
                login: &[],
                trouble: config("user: mon, password: pw"),
                reason: "auth_rejected",
                text: "NATS at ADDRESS wants credentials (Authorization Violation): give --creds, --user, --token \
                       or --nkey",
            },
        ],
        endures,
    );
}

#[test]
#[ignore = "needs nats-server"]
fn missing_permissions_are_unknown() {
    let user = |permissions: &str| {
        let user = format!("{{user: mon, password: pw, permissions: {{ {permissions} }}}}");
        Trouble::Config(format!("authorization {{ users: [{user}] }}"))
    };
    each(
        [
            Case {
                login: MON,
                trouble: user(r#"publish: {deny: ["$SRV.PING.orders"]}"#),
                reason: "permission_denied",
                text: "NATS at ADDRESS does not let us publish to $SRV.PING.orders, add to the user's permissions: \
                       publish: {allow: [\"$SRV.PING.orders\"]}",
            },
            Case {
                login: MON,
                trouble: user(r#"publish: {allow: ["$SRV.PING.billing"]}"#),
                reason: "permission_denied",
                text: "NATS at ADDRESS does not let us publish to $SRV.PING.orders, add to the user's permissions: \
                       publish: {allow: [\"$SRV.PING.orders\"]}",
            },
            Case {
                login: MON,
                trouble: user(r#"subscribe: {deny: ["_INBOX.>"]}"#),
                reason: "permission_denied",
                text: "NATS at ADDRESS does not let us subscribe to _INBOX.*, add to the user's permissions: \
                       subscribe: {allow: [\"_INBOX.>\"]}",
            },
            // A real server that leaves us not even one subscription says so, or not, and closes the connection.
            Case {
                login: MON,
                trouble: Trouble::Fake(|conn| {
                    conn.handshake()?;
                    conn.read_request()?;
                    conn.send_raw(b"-ERR 'maximum subscriptions exceeded'\r\n")?;
                    conn.hold(LIMIT)
                }),
                reason: "permission_denied",
                text: "NATS at ADDRESS does not let us subscribe to an inbox: maximum subscriptions exceeded",
            },
        ],
        endures,
    );
}

#[test]
#[ignore = "needs nats-server"]
fn server_at_its_connection_limit_is_unknown() {
    each(
        [
            Case {
                login: MON,
                trouble: Trouble::Full(
                    "accounts { A { users: [{user: mon, password: pw}], limits { max_connections: 1 } } }",
                ),
                reason: "nats_unreachable",
                text: "cannot reach NATS at ADDRESS: it is at its connection limit (maximum account active \
                       connections exceeded)",
            },
            // The server says so, and closes, before anybody has asked: the client may only see the end.
            Case {
                login: &[],
                trouble: Trouble::Full("max_connections: 1"),
                reason: "nats_unreachable",
                text: "cannot reach NATS at ADDRESS: *connection*",
            },
        ],
        endures,
    );
}

/// The client logs in with two round trips, and hears what the server says after the first one before it is ready.
#[test]
#[ignore = "needs nats-server"]
fn server_that_drops_clients_after_the_login_is_unknown() {
    each(
        [
            Case {
                login: &[],
                trouble: Trouble::Fake(|conn| {
                    let_in_and_say(conn, "-ERR 'maximum subscriptions exceeded'\r\nPONG\r\n")?.hold(LIMIT)
                }),
                reason: "permission_denied",
                text: "NATS at ADDRESS does not let us subscribe to an inbox: maximum subscriptions exceeded",
            },
            Case {
                login: &[],
                trouble: Trouble::Fake(|conn| let_in_and_say(conn, "-ERR 'Server Shutdown'\r\n")?.close()),
                reason: "nats_unreachable",
                text: "cannot reach NATS at ADDRESS: server shutdown",
            },
            Case {
                login: &[],
                trouble: Trouble::Fake(|conn| let_in_and_say(conn, "")?.close()),
                reason: "nats_unreachable",
                text: "cannot reach NATS at ADDRESS: it closed the connection during the login (is it stopping, \
                   or at its connection limit?)",
            },
        ],
        endures,
    );
}

#[test]
#[ignore = "needs nats-server"]
fn peer_that_is_no_nats_server_is_unknown() {
    each(
        [
            Case {
                login: &[],
                trouble: Trouble::Fake(ssh),
                reason: "protocol_error",
                text: "ADDRESS is no NATS server: it sent SSH-2.0-OpenSSH_9.2p1 Debian-2",
            },
            Case {
                login: &[],
                trouble: Trouble::Fake(|conn| {
                    conn.send_raw(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")?;
                    conn.close()
                }),
                reason: "protocol_error",
                text: "ADDRESS is no NATS server: it sent HTTP/1.1 400 Bad Request",
            },
            // It says nothing.
            Case {
                login: &[],
                trouble: Trouble::Fake(|conn| conn.close()),
                reason: "nats_unreachable",
                text: "cannot reach NATS at ADDRESS: it closed the connection during the login (is it stopping, \
                   or at its connection limit?)",
            },
        ],
        endures,
    );
}

#[test]
#[ignore = "needs nats-server"]
fn tls_that_the_server_requires_and_that_fails_is_unknown() {
    let keys = TempDir::new();
    let key = keys.join("key.pem");
    let certificate = keys.join("cert.pem");
    let mut openssl = Command::new("openssl");
    openssl
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
        ])
        .args([
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-days",
            "2",
        ])
        .args(["-keyout", &key, "-out", &certificate]);
    let mut cases = vec![Case {
        login: MON,
        trouble: Trouble::Fake(|conn| {
            conn.send_info_with(json!({"tls_required": true}))?;
            conn.send_raw(b"-ERR 'Secure Connection - TLS Required'\r\n")?;
            conn.close()
        }),
        reason: "tls_failed",
        text: "TLS with NATS at ADDRESS failed: it does not answer in TLS, *",
    }];
    // Without openssl on this machine there is only the fake.
    if let Ok(made) = openssl.output() {
        assert!(made.status.success(), "{made:?}");
        cases.push(Case {
            login: MON,
            trouble: Trouble::Config(format!("tls {{ cert_file: \"{certificate}\", key_file: \"{key}\" }}")),
            reason: "tls_failed",
            text: "TLS with NATS at ADDRESS failed: its certificate is a CA certificate, *",
        });
    }
    each(cases, endures);
}

/// Whoever writes tls:// does not want a password to travel in the clear.
#[test]
#[ignore = "needs nats-server"]
fn tls_that_the_server_does_not_offer_is_unknown() {
    let server = Server::start(Version::Newest);
    let _service = Service::async_nats(&server.url(), "orders").start();
    let fake = Fake::start(|conn| {
        conn.handshake()?;
        let request = conn.read_request()?;
        conn.reply(&request, ANSWER)?;
        conn.hold(LIMIT)
    });
    let checked = |port: u16| {
        Monitor::new(format!("tls://mon:pw@127.0.0.1:{port}"))
            .check(["--timeout", &format!("{}s", timeout().as_secs()), "-v"])
            .run()
    };
    let text = format!(
        "TLS with NATS at 127.0.0.1:{} failed: it does not answer in TLS, which is required by *",
        server.port()
    );
    checked(server.port())
        .assert_first(3, &format!("NATS_SERVICE UNKNOWN - orders: {text} | {NOT_ASKED}"))
        .assert_finding(&format!("UNKNOWN tls_failed: {text}"))
        .assert_within(timeout() + AFTER);
    checked(fake.port()).assert_first(3, &format!("NATS_SERVICE UNKNOWN - orders: * | {NOT_ASKED}"));
    let received = fake.received().concat();
    assert!(!received.contains("CONNECT") && !received.contains("pw"), "{received}");
}

#[test]
#[ignore = "needs nats-server"]
fn a_connection_that_breaks_at_every_request() {
    each(
        [Case {
            login: &[],
            trouble: Trouble::Fake(|conn| {
                conn.handshake()?;
                conn.read_request()?;
                conn.close()
            }),
            reason: "nats_unreachable",
            text: "the connection to NATS at ADDRESS broke twice while asking, NATS restarts again and \
                   again, or a reply breaks the protocol",
        }],
        endures,
    );
}

#[test]
fn a_connection_that_breaks_once_is_made_again() {
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    let fake = Fake::start(move |conn| {
        let first = count.fetch_add(1, Ordering::SeqCst) == 0;
        conn.handshake()?;
        let request = conn.read_request()?;
        conn.reply(&request, ANSWER)?;
        // The first connection breaks in the middle of the answers.
        if first {
            return conn.close();
        }
        conn.reply(&request, br#"{"name":"orders","id":"B"}"#)?;
        conn.hold(LIMIT)
    });
    let monitor = Monitor::new(fake.url());
    let up = "NATS_SERVICE OK - orders: 2 instances, slowest answer *";
    for _ in 0..2 {
        connections.store(0, Ordering::SeqCst);
        let before = fake.connections();
        monitor.check(["-w", "2:"]).run().assert(0, up);
        assert_eq!(fake.connections() - before, 2);
        monitor.check(["-w", "2:"]).run().assert(0, up);
    }
}

/// A server that refuses a client says why, and resets the connection: what it said can be lost with it.
#[test]
fn a_server_that_resets_the_login_is_asked_once_more_for_the_cause() {
    let monitor = |cuts: usize| {
        let connections = AtomicUsize::new(0);
        let fake = Fake::start(move |conn| {
            conn.send_info()?;
            if connections.fetch_add(1, Ordering::SeqCst) < cuts {
                return conn.reset();
            }
            conn.send_raw(b"-ERR 'maximum connections exceeded'\r\n")?;
            conn.close()
        });
        (Monitor::new(fake.url()), fake)
    };
    for (cuts, why) in [
        (1, "it is at its connection limit (maximum connections exceeded)"),
        (
            2,
            "it closed the connection during the login (is it stopping, or at its connection limit?)",
        ),
    ] {
        let (monitor, fake) = monitor(cuts);
        let text = format!("cannot reach NATS at 127.0.0.1:{}: {why}", fake.port());
        monitor
            .check(["-v"])
            .run()
            .assert_first(3, &format!("NATS_SERVICE UNKNOWN - orders: {text} | *"))
            .assert_finding(&format!("UNKNOWN nats_unreachable: {text}"));
        assert_eq!(fake.connections(), 2);
    }
}

/// A real server, in the middle of the asking.
fn in_the_middle(happens: impl Fn(&mut Server), text: &str) {
    let limit = Duration::from_secs(1);
    let text = text.replace("ADDRESS", "127.0.0.1:*");
    run_with_a_middle(&happens)
        .assert_first(3, &format!("NATS_SERVICE UNKNOWN - orders: {text} | {NOT_ASKED}"))
        .assert_finding(&format!("UNKNOWN nats_unreachable: {text}"))
        .assert_within(limit + AFTER);
}

/// The service is frozen, so that there is a middle. Whatever happens then, it does not count as an epoch.
fn run_with_a_middle(happens: impl Fn(&mut Server)) -> Output {
    let mut server = Server::with_config(Version::Newest, "trace: true");
    let service = Service::async_nats(&server.url(), "orders").start();
    let monitor = Monitor::new(server.url());
    let check = || monitor.check(["--confirm", "1s", "--timeout", "1s", "-v"]);
    check().run().assert_first(0, "NATS_SERVICE OK - *");
    let known = monitor.epoch();
    service.freeze();
    let asked = || server.log().matches("PUB $SRV.PING.orders ").count();
    let before = asked();
    let run = check().spawn();
    wait_for("the request", || (asked() > before).then_some(()));
    happens(&mut server);
    let out = run.wait();
    assert_eq!(monitor.epoch(), known);
    out
}

#[test]
#[ignore = "needs nats-server"]
fn timed_a_server_that_freezes_in_the_middle_makes_no_silent_service() {
    in_the_middle(
        |server| server.freeze(),
        "NATS at ADDRESS took the request but stopped answering, waited *",
    );
}

#[test]
#[ignore = "needs nats-server"]
fn timed_a_server_that_ends_in_the_middle_makes_no_gone_service() {
    in_the_middle(
        Server::stop,
        "cannot reach NATS at ADDRESS: connection refused (is nats-server running there?)",
    );
}

#[test]
#[ignore = "needs nats-server"]
fn unreachable_flag_sets_the_status() {
    let refused = closed_address();
    let locked = Server::with_config(Version::Newest, "authorization { user: a, password: b }");
    let denies = Fake::start(|conn| {
        conn.handshake()?;
        conn.read_request()?;
        conn.send_raw(b"-ERR 'Permissions Violation for Publish to \"$SRV.PING.orders\"'\r\n")?;
        conn.hold(LIMIT)
    });
    for (status, code) in [("ok", 0), ("warning", 1), ("unknown", 3), ("critical", 2)] {
        let word = status.to_uppercase();
        let cases = [
            (format!("nats://{refused}"), word.as_str(), code, "nats_unreachable"),
            (locked.url(), word.as_str(), code, "auth_rejected"),
            // NATS is reached, and what is wrong is not its being away.
            (denies.url(), "UNKNOWN", 3, "permission_denied"),
        ];
        for (url, word, code, reason) in cases {
            let monitor = Monitor::new(url);
            monitor
                .check(["--unreachable", status, "-v"])
                .run()
                .assert_first(
                    code,
                    &format!("NATS_SERVICE {word} - orders: *NATS at 127.0.0.1:* | {NOT_ASKED}"),
                )
                .assert_finding(&format!("{word} {reason}: *NATS at 127.0.0.1:*"));
        }
    }
}

#[test]
#[ignore = "needs nats-server"]
fn timed_one_reachable_server_of_several_is_enough() {
    let server = Server::start(Version::Newest);
    let locked = Server::with_config(Version::Newest, "authorization { user: a, password: b }");
    let frozen = Server::start(Version::V2_9);
    frozen.freeze();
    let hole = Blackhole::start();
    let ssh = Fake::start(ssh);
    let refused = format!("nats://{}", closed_address());
    let bad = [refused, locked.url(), ssh.url(), hole.url(), frozen.url()];
    let service = Service::async_nats(&server.url(), "orders").count(3).start();

    let mut lists: Vec<String> = bad.iter().map(|bad| format!("{bad},{}", server.url())).collect();
    lists.push(format!("{},{}", server.url(), bad[3]));
    // Each one gets its part of the time that is left.
    lists.push([&bad[..], &[server.url()]].concat().join(", "));
    let monitors: Vec<Monitor> = lists.into_iter().map(Monitor::new).collect();
    let all = |line: &str, code: i32| {
        each(&monitors, |monitor| {
            let flags = ["--timeout", "3s", "--confirm", "50ms", "--stall", "100ms"];
            let out = monitor.check(flags).run().assert_first(code, line);
            out.assert_within(Duration::from_secs(3) + AFTER);
        });
    };
    all("NATS_SERVICE OK - orders: 3 instances, slowest answer *", 0);
    service.kill();
    server.wait_for_instances("orders", 0);
    all(
        "NATS_SERVICE CRITICAL - orders: down, no responders, 3 instances until *s ago, *",
        2,
    );
}

/// The time that a dead server takes is missing in the end: the retries have to do with the rest.
#[test]
#[ignore = "needs nats-server"]
fn timed_a_dead_first_server_hides_no_outage() {
    let server = Server::start(Version::Newest);
    let hole = Blackhole::start();
    let service = Service::async_nats(&server.url(), "orders").start();
    let monitor = Monitor::new(format!("{},{}", hole.url(), server.url()));
    let check = || monitor.check(["--timeout", "2s", "--unreachable", "ok"]).run();
    check().assert_first(0, "NATS_SERVICE OK - orders: 1 instance, slowest answer *");
    service.kill();
    server.wait_for_instances("orders", 0);
    check()
        .assert_first(
            2,
            "NATS_SERVICE CRITICAL - orders: down, no responders, 1 instance until *s ago, *",
        )
        .assert_within(Duration::from_secs(2) + AFTER);
}

#[test]
#[ignore = "needs nats-server"]
fn timed_all_failures_are_reported_and_the_most_important_leads() {
    let refused = closed_address();
    let locked = Server::with_config(Version::Newest, "authorization { user: a, password: b }");
    let ssh = Fake::start(ssh);
    let hole = Blackhole::start();
    let (locked_port, ssh_port, hole_port) = (locked.port(), ssh.port(), hole.port());
    let text = format!(
        "NATS at 127.0.0.1:{locked_port} wants credentials (Authorization Violation): give --creds, --user, --token \
         or --nkey, \
         127.0.0.1:{ssh_port} is no NATS server: it sent SSH-2.0-OpenSSH_9.2p1 Debian-2, \
         cannot reach NATS at "
    );
    let urls = [format!("nats://{refused}"), hole.url(), ssh.url(), locked.url()];
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 3, 0, 1]] {
        let list = order.map(|n| urls[n].clone()).join(",");
        let monitor = Monitor::new(list);
        let seconds = format!("{}s", timeout().as_secs());
        let out = monitor.check(["--timeout", &seconds, "-v"]).run();
        out.assert_first(3, &format!("NATS_SERVICE UNKNOWN - orders: {text}* | {NOT_ASKED}"))
            .assert_finding(&format!("UNKNOWN auth_rejected: {text}*"))
            .assert_line(&format!("*cannot reach NATS at {refused}: connection refused *"))
            .assert_line(&format!(
                "*cannot reach NATS at 127.0.0.1:{hole_port}: no answer to the TCP connection within *"
            ))
            .assert_within(timeout() + AFTER);
    }
}

/// Runs that are let in, or not: the arguments, with PORT for the server's port, and the environment.
struct Login {
    args: &'static [&'static str],
    env: &'static [(&'static str, &'static str)],
    /// Text of a refusal.
    refused: Option<&'static str>,
}

fn logins(server: &Server, cases: &[Login]) {
    let files = TempDir::new();
    for (name, text) in [("good", "p@ss:w/rd\n"), ("bad", "wrong\n"), ("token", "t@ken\nmore\n")] {
        fs::write(files.join(name), text).expect("a file");
    }
    for Login { args, env, refused } in cases {
        let port = server.port().to_string();
        let filled = |text: &str| text.replace("PORT", &port);
        let mut check = Check::new(["-n", "orders", "--no-state", "--stall", "20ms", "-v"])
            .cwd(files.path())
            .args(args.iter().map(|arg| filled(arg)));
        for (name, value) in *env {
            check = check.env(name, filled(value));
        }
        let out = check.run();
        match refused {
            None => out.assert_first(0, "NATS_SERVICE OK - orders: 1 instance, slowest answer * | *"),
            Some(text) => out
                .assert_first(
                    3,
                    &format!("NATS_SERVICE UNKNOWN - orders: NATS at *:{port} {text} | {NOT_ASKED}"),
                )
                .assert_finding(&format!("UNKNOWN auth_rejected: NATS at *:{port} {text}")),
        };
    }
}

#[test]
#[ignore = "needs nats-server"]
fn user_and_password_come_from_flags_variables_files_and_urls() {
    let server = Server::with_config(
        Version::Newest,
        r#"authorization { users: [{user: svc, password: svc}, {user: "m@n", password: "p@ss:w/rd"}] }"#,
    );
    let _service = Service::nats_py(&format!("nats://svc:svc@127.0.0.1:{}", server.port()), "orders").start();
    let good = |args, env| Login {
        args,
        env,
        refused: None,
    };
    let refused = |args, env| Login {
        args,
        env,
        refused: Some("refused the user m@n or the password (Authorization Violation)"),
    };
    let nobody = |args, env| Login {
        args,
        env,
        refused: Some("wants credentials (Authorization Violation): give --creds, --user, --token or --nkey"),
    };
    logins(
        &server,
        &[
            nobody(&["-s", "nats://127.0.0.1:PORT"], &[]),
            // User info, percent-encoded. A good one, so that what beats it is seen, and a bad one.
            good(&["-s", "nats://m%40n:p%40ss%3Aw%2Frd@127.0.0.1:PORT"], &[]),
            good(&["-s", "m%40n:p%40ss%3Aw%2Frd@127.0.0.1:PORT"], &[]),
            refused(&["-s", "nats://m%40n:p%2540ss@127.0.0.1:PORT"], &[]),
            good(&[], &[("NATS_URL", "nats://m%40n:p%40ss%3Aw%2Frd@127.0.0.1:PORT")]),
            // Flags and variables.
            good(
                &[
                    "-s",
                    "nats://127.0.0.1:PORT",
                    "--user",
                    "m@n",
                    "--password",
                    "p@ss:w/rd",
                ],
                &[],
            ),
            good(
                &["-H", "127.0.0.1", "-p", "PORT", "--user=m@n", "--password=p@ss:w/rd"],
                &[],
            ),
            good(
                &["-H", "127.0.0.1", "-p", "PORT"],
                &[("NATS_USER", "m@n"), ("NATS_PASSWORD", "p@ss:w/rd")],
            ),
            good(
                &["-s", "nats://127.0.0.1:PORT", "--user", "m@n"],
                &[("NATS_PASSWORD", "p@ss:w/rd")],
            ),
            // Files.
            good(
                &[
                    "-s",
                    "nats://127.0.0.1:PORT",
                    "--user",
                    "m@n",
                    "--password-file",
                    "good",
                ],
                &[],
            ),
            refused(
                &["-s", "nats://127.0.0.1:PORT", "--user", "m@n", "--password-file", "bad"],
                &[],
            ),
            good(
                &["-s", "nats://127.0.0.1:PORT", "--password-file", "good"],
                &[("NATS_USER", "m@n")],
            ),
            // Flags beat variables, in either direction.
            good(
                &[
                    "-s",
                    "nats://127.0.0.1:PORT",
                    "--user",
                    "m@n",
                    "--password",
                    "p@ss:w/rd",
                ],
                &[
                    ("NATS_URL", "nats://127.0.0.1:1"),
                    ("NATS_USER", "x"),
                    ("NATS_PASSWORD", "wrong"),
                    ("NATS_TOKEN", "wrong"),
                ],
            ),
            refused(
                &["-s", "nats://127.0.0.1:PORT", "--user", "m@n", "--password", "wrong"],
                &[("NATS_USER", "m@n"), ("NATS_PASSWORD", "p@ss:w/rd")],
            ),
            good(
                &["--user", "m@n", "--password", "p@ss:w/rd"],
                &[("NATS_URL", "nats://m%40n:wrong@127.0.0.1:PORT")],
            ),
            refused(
                &["--user", "m@n", "--password", "wrong"],
                &[("NATS_URL", "nats://m%40n:p%40ss%3Aw%2Frd@127.0.0.1:PORT")],
            ),
            good(
                &[
                    "-H",
                    "127.0.0.1",
                    "-p",
                    "PORT",
                    "--user",
                    "m@n",
                    "--password",
                    "p@ss:w/rd",
                ],
                &[("NATS_URL", "nats://127.0.0.1:1")],
            ),
            // The user info of a flag's URL beats variables as well.
            good(
                &["-s", "nats://m%40n:p%40ss%3Aw%2Frd@127.0.0.1:PORT"],
                &[("NATS_USER", "m@n"), ("NATS_PASSWORD", "wrong")],
            ),
            refused(
                &["-s", "nats://m%40n:wrong@127.0.0.1:PORT"],
                &[("NATS_USER", "m@n"), ("NATS_PASSWORD", "p@ss:w/rd")],
            ),
            // Each server has its own.
            good(
                &[
                    "-s",
                    "nats://m%40n:wrong@127.0.0.1:PORT,nats://m%40n:p%40ss%3Aw%2Frd@127.0.0.1:PORT",
                ],
                &[],
            ),
        ],
    );
}

#[test]
#[ignore = "needs nats-server"]
fn a_token_comes_from_a_flag_a_variable_a_file_and_a_url() {
    let server = Server::with_config(Version::Newest, r#"authorization { token: "t@ken" }"#);
    let _service = Service::nats_py(&format!("nats://t@ken@127.0.0.1:{}", server.port()), "orders").start();
    let good = |args, env| Login {
        args,
        env,
        refused: None,
    };
    let refused = |args, env| Login {
        args,
        env,
        refused: Some("refused the token (Authorization Violation)"),
    };
    logins(
        &server,
        &[
            good(&["-s", "nats://127.0.0.1:PORT", "--token", "t@ken"], &[]),
            refused(&["-s", "nats://127.0.0.1:PORT", "--token", "t%40ken"], &[]),
            good(&["-s", "nats://127.0.0.1:PORT"], &[("NATS_TOKEN", "t@ken")]),
            good(&["-s", "nats://127.0.0.1:PORT", "--token-file", "token"], &[]),
            refused(&["-s", "nats://127.0.0.1:PORT", "--token-file", "bad"], &[]),
            // A user without a password is a token, as for the nats CLI.
            good(&["-s", "nats://t%40ken@127.0.0.1:PORT"], &[]),
            good(&["-s", "nats://127.0.0.1:PORT", "--user", "t@ken"], &[]),
            good(&["-s", "nats://127.0.0.1:PORT"], &[("NATS_USER", "t@ken")]),
            good(&[], &[("NATS_URL", "t%40ken@127.0.0.1:PORT")]),
            // Flags beat variables, in either direction.
            good(
                &["-s", "nats://127.0.0.1:PORT", "--token", "t@ken"],
                &[("NATS_TOKEN", "wrong"), ("NATS_USER", "x"), ("NATS_PASSWORD", "y")],
            ),
            refused(
                &["-s", "nats://127.0.0.1:PORT", "--token", "wrong"],
                &[("NATS_TOKEN", "t@ken")],
            ),
            good(
                &["-s", "nats://127.0.0.1:PORT", "--token-file", "token"],
                &[("NATS_TOKEN", "wrong")],
            ),
        ],
    );
}

fn let_in_and_say<'c>(conn: &'c mut Conn, text: &str) -> io::Result<&'c mut Conn> {
    conn.handshake()?;
    while conn.read_line()? != "PING" {}
    conn.send_raw(text.as_bytes())?;
    Ok(conn)
}

fn ssh(conn: &mut Conn) -> io::Result<()> {
    conn.send_raw(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")?;
    conn.hold(LIMIT)
}

/// Where nobody listens.
fn closed_address() -> SocketAddr {
    ([127, 0, 0, 1], free_port()).into()
}
