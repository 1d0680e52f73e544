//! All ways to connect, and each way in which a server refuses: in the words of an operator, in time, and without a secret.
//!
//! Every run is one with `-vvv`: no step shows a secret either ([`Check`] looks at all that comes out).

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use nkeys::KeyPair;

use super::support::jwt::{Account, Operator, User, now};
use super::support::server::free_port;
use super::support::{Certs, Check, Output, SLACK, Server, Service, TempDir, Version, raw, wait_for};

/// What a run has that may have to use it up, and how much later than that it may end by the contract.
const TIMEOUT: Duration = Duration::from_secs(1);
const AFTER: Duration = Duration::from_millis(100).saturating_add(SLACK);

const REFUSED: &str = "instances=U rtt_max=U nats_rtt=* outage=0.000000s;;;0; probe=*s;;;0;";

/// Asks once for `orders`, and remembers nothing.
fn check(flags: &[&str]) -> Check {
    Check::new([
        "-n",
        "orders",
        "--no-state",
        "--stall",
        "20ms",
        "--confirm",
        "100ms",
        "-vvv",
    ])
    .args(["--timeout", "1s"])
    .args(flags)
}

/// What is said of a run that was refused: UNKNOWN for this reason, in these words, in time.
#[track_caller]
fn assert_refused(out: Output, reason: &str, text: &str) -> Output {
    assert_refused_in(TIMEOUT, out, reason, text)
}

#[track_caller]
fn assert_refused_in(timeout: Duration, out: Output, reason: &str, text: &str) -> Output {
    out.assert_first(3, &format!("NATS_SERVICE UNKNOWN - orders: {text} | {REFUSED}"))
        .assert_line(&format!("UNKNOWN {reason}: {text}"))
        .assert_within(timeout + AFTER)
}

#[track_caller]
fn assert_let_in(out: Output) -> Output {
    out.assert_first(0, "NATS_SERVICE OK - orders: 1 instance, slowest answer *ms | *")
        .assert_line("OK service_up: 1 instance, *")
}

/// Does the same with each of these servers, at once.
fn on(versions: &[Version], test: impl Fn(Version) + Sync) {
    thread::scope(|scope| {
        for version in versions {
            let thread = thread::Builder::new().name(format!("{version:?}"));
            thread.spawn_scoped(scope, || test(*version)).expect("a thread");
        }
    });
}

/// The port takes the place of PORT.
fn at(server: &Server, text: &str) -> String {
    text.replace("PORT", &server.port().to_string())
}

struct Files(TempDir);

impl Files {
    fn new() -> Files {
        Files(TempDir::new())
    }

    /// Writes a file and returns its path.
    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).expect("a file");
        path
    }
}

#[test]
fn a_refused_login_says_what_it_was() {
    on(&Version::ALL, |version| {
        let files = Files::new();
        let (key, stranger) = (KeyPair::new_user(), KeyPair::new_user());
        let config = format!(
            "authorization {{ users: [{{user: svc, password: svc}}, {{user: mon, password: s3cret}}, {{nkey: {}}}] }}",
            key.public_key()
        );
        let server = Server::with_config(version, &config);
        let _service = Service::async_nats(&at(&server, "nats://svc:svc@127.0.0.1:PORT"), "orders").start();
        let good = files.write("good.nk", &key.seed().expect("a seed"));
        let bad = files.write("bad.nk", &format!("# s3cret\n{}\n", stranger.seed().expect("a seed")));
        let account = Account::new("A");
        let creds = files.write("mon.creds", &account.creds(&User::new("mon")));
        let run = |flags: &[&str]| check(&["-s", &server.url()]).args(flags).run();
        let refused = |flags: &[&str], text: &str| {
            let text = at(&server, &format!("NATS at 127.0.0.1:PORT {text}"));
            assert_refused(run(flags), "auth_rejected", &text);
        };

        assert_let_in(run(&["--user", "mon", "--password", "s3cret"]));
        assert_let_in(run(&["--nkey", &good]));
        refused(
            &[],
            "wants credentials (Authorization Violation): give --creds, --user, --token or --nkey",
        );
        refused(
            &["--user", "mon", "--password", "s3cret-2"],
            "refused the user mon or the password (Authorization Violation)",
        );
        refused(&["--token", "s3cret"], "refused the token (Authorization Violation)");
        refused(
            &["--nkey", &bad],
            &format!(
                "does not know the user of {bad} (Authorization Violation): its public NKey is {}",
                stranger.public_key()
            ),
        );
        // A server without an operator.
        refused(
            &["--creds", &creds],
            &format!("refused the credentials of {creds}: the user JWT is current, so *"),
        );
    });
}

#[test]
fn a_refused_jwt_is_explained_as_far_as_we_can_know() {
    on(&Version::ALL, |version| {
        let files = Files::new();
        let (operator, other) = (Operator::new(), Account::new("OTHER"));
        let (mut account, hour, day) = (Account::new("APP"), 3600, 86_400);
        let revoked = User::new("revoked");
        account.revoke(&revoked);
        let server = Server::with_config(version, &operator.config(&[&account]));
        let service = files.write("svc.creds", &account.creds(&User::new("svc")));
        let _service = Service::async_nats(&server.url(), "orders").creds(&service).start();
        let run = |creds: &str| check(&["-s", &server.url(), "--creds", creds]).run();

        let good = User::new("mon").expires(now() + hour).not_before(now() - hour);
        let good = files.write("good.creds", &account.creds(&good));
        assert_let_in(run(&good)).assert_line(&at(&server, "*ms connecting to 127.0.0.1:PORT"));

        let current = "the user JWT is current, so the user is revoked, its account unknown to this server, its operator \
                       another one, or this address or time not allowed";
        let forged = account.forged_creds(&other, &User::new("mon"));
        let begin = now() + 2 * day;
        let refusals = [
            (
                "expired",
                account.creds(&User::new("mon").expires(now() - 2 * hour)),
                "the user JWT expired 2h ago",
            ),
            (
                "early",
                account.creds(&User::new("mon").not_before(begin)),
                "the user JWT is not valid before 20*Z, in 1d 23h",
            ),
            ("revoked", account.creds(&revoked), current),
            ("unknown", other.creds(&User::new("mon")), current),
            ("forged", forged, current),
            (
                "elsewhere",
                account.creds(&User::new("mon").sources(&["10.0.0.0/8"])),
                current,
            ),
        ];
        for (name, creds, cause) in &refusals {
            let path = files.write(&format!("{name}.creds"), creds);
            let text =
                format!("NATS at 127.0.0.1:PORT refused the credentials of {path}: {cause} (Authorization Violation)");
            assert_refused(run(&path), "auth_rejected", &at(&server, &text));
        }
        // Those of another operator, whose account has the same name; and none at all.
        let theirs = Server::with_config(version, &Operator::new().config(&[&other]));
        let text = "NATS at 127.0.0.1:PORT refused the credentials of *: the user JWT is current, so *";
        let out = check(&["-s", &theirs.url(), "--creds", &good]).run();
        assert_refused(out, "auth_rejected", &at(&theirs, text));
        let text = "NATS at 127.0.0.1:PORT wants credentials (Authorization Violation): give --creds, *";
        let out = check(&["-s", &theirs.url()]).run();
        assert_refused(out, "auth_rejected", &at(&theirs, text));
    });
}

#[test]
fn a_jwt_that_expires_while_we_wait_is_told() {
    on(&Version::ALL, |version| {
        let files = Files::new();
        let (operator, account) = (Operator::new(), Account::new("APP"));
        let server = Server::with_config(version, &operator.config(&[&account]));
        let service = files.write("svc.creds", &account.creds(&User::new("svc")));
        let service = Service::async_nats(&server.url(), "orders").creds(&service).start();
        service.freeze();
        let creds = files.write("mon.creds", &account.creds(&User::new("mon").expires(now() + 2)));
        let out = Check::new([
            "-n",
            "orders",
            "--no-state",
            "-vvv",
            "--timeout",
            "8s",
            "--creds",
            &creds,
        ])
        .args(["-s", &server.url()])
        .run();
        let text = format!(
            "NATS at 127.0.0.1:PORT refused the credentials of {creds}: the user JWT expired *s ago (User Authentication \
             Expired)"
        );
        assert_refused_in(Duration::from_secs(3), out, "auth_rejected", &at(&server, &text));
    });
}

#[test]
fn no_connection_left_is_told() {
    on(&Version::ALL, |version| {
        let server = Server::with_config(version, "max_connections: 1");
        let _guest = raw::subscribe(&server.url(), "x").expect("a guest");
        let out = check(&["-s", &server.url()]).run();
        // The server may be faster with the end of the connection than the client with its first write.
        let why = match out.stdout.contains("it closed the connection") {
            true => "it closed the connection during the login; is it stopping, or at its connection limit?",
            false => "no connection is left for us (maximum connections exceeded)",
        };
        let text = at(&server, &format!("cannot reach NATS at 127.0.0.1:PORT: {why}"));
        assert_refused(out, "nats_unreachable", &text);

        let files = Files::new();
        let (operator, account) = (Operator::new(), Account::new("APP").connections(1));
        let server = Server::with_config(version, &operator.config(&[&account]));
        let creds = files.write("mon.creds", &account.creds(&User::new("mon")));
        let _guest = Service::async_nats(&server.url(), "orders").creds(&creds).start();
        let text = "cannot reach NATS at 127.0.0.1:PORT: no connection is left for us (maximum account active connections \
                    exceeded)";
        let out = check(&["-s", &server.url(), "--creds", &creds]).run();
        assert_refused(out, "nats_unreachable", &at(&server, text));
    });
}

#[test]
fn no_subscription_left_is_told() {
    on(&Version::ALL, |version| {
        // The second inbox, that of the next asking, is one too many.
        let server = Server::with_config(version, "max_subscriptions: 1");
        let text = "NATS at 127.0.0.1:PORT does not let us subscribe to an inbox: maximum subscriptions exceeded";
        let out = check(&["-s", &server.url()]).run();
        assert_refused(out, "permission_denied", &at(&server, text));
    });
}

/// Whoever does what the line says, and nothing else, can ask.
#[test]
fn the_permission_that_is_missing_can_be_pasted() {
    on(&Version::ALL, |version| {
        let config = |permissions: &str| {
            format!(
                "authorization {{ users: [{{user: svc, password: svc}}, {{user: mon, password: s3cret, permissions: {{
                 {permissions} }}}}] }}"
            )
        };
        let nothing = r#"publish: {deny: [">"]}, subscribe: {deny: [">"]}"#;
        let mut server = Server::with_config(version, &config(nothing));
        let service = at(&server, "nats://svc:svc@127.0.0.1:PORT");
        let _service = Service::async_nats(&service, "orders").start();
        let run = |server: &Server| {
            let mon = ["--user", "mon", "--password", "s3cret"];
            check(&["-s", &server.url()]).args(mon).run()
        };
        let inbox = r#"subscribe: {allow: ["_INBOX.>"]}"#;
        let ping = r#"publish: {allow: ["$SRV.PING.orders"]}"#;
        for (permissions, what, paste) in [
            (nothing.to_owned(), "subscribe to _INBOX.*", inbox),
            (
                inbox.to_owned() + r#", publish: {deny: [">"]}"#,
                "publish to $SRV.PING.orders",
                ping,
            ),
        ] {
            server.restart(&config(&permissions));
            let text = format!("NATS at 127.0.0.1:PORT does not let us {what}; add to the user's permissions: {paste}");
            assert_refused(run(&server), "permission_denied", &at(&server, &text));
        }
        server.restart(&config(&format!("{inbox}, {ping}")));
        wait_for("the service is back", || {
            raw::ping(&service, "orders", 1).ok().filter(|ids| ids.len() == 1)
        });
        assert_let_in(run(&server));

        // Replies come below the prefix that is allowed.
        server.restart(&config(&format!(r#"{ping}, subscribe: {{allow: ["_INBOX_mon.>"]}}"#)));
        wait_for("the service is back", || {
            raw::ping(&service, "orders", 1).ok().filter(|ids| ids.len() == 1)
        });
        let prefix = |prefix: &str| {
            let mon = ["--user", "mon", "--password", "s3cret", "--inbox-prefix", prefix];
            check(&["-s", &server.url()]).args(mon).run()
        };
        assert_let_in(prefix("_INBOX_mon"));
        let text = "NATS at 127.0.0.1:PORT does not let us subscribe to other.mon.*; add to the user's permissions: subscribe: \
                    {allow: [\"other.mon.>\"]}";
        assert_refused(prefix("other.mon"), "permission_denied", &at(&server, text));
    });
}

/// The server tells the service alone: to us it is a silence.
#[test]
fn a_service_that_may_not_answer_is_silent() {
    on(&Version::ALL, |version| {
        let permissions = "permissions: {publish: {deny: [\"_INBOX.mon.>\"]}}";
        let config = format!(
            "authorization {{ users: [{{user: svc, password: svc, {permissions}}}, {{user: mon, password: s3cret}}] }}"
        );
        let server = Server::with_config(version, &config);
        let _service = Service::async_nats(&at(&server, "nats://svc:svc@127.0.0.1:PORT"), "orders").start();
        let home = TempDir::new();
        let mon = |flags: &[&str]| {
            Check::new([
                "-n",
                "orders",
                "-s",
                &at(&server, "nats://mon:s3cret@127.0.0.1:PORT"),
                "-vvv",
            ])
            .args(["--timeout", "1s", "--confirm", "100ms", "--stall", "50ms"])
            .args(flags)
            .home(&home)
            .run()
        };
        assert_let_in(mon(&[]));
        let text = "silent, no answer within *s though somebody is subscribed (hung, or a wildcard subscriber hides that nobody \
                    is there); 1 instance until *s ago; NATS *";
        mon(&["--inbox-prefix", "_INBOX.mon"])
            .assert_first(
                2,
                &format!("NATS_SERVICE CRITICAL - orders: {text} | instances=0;;;0; *"),
            )
            .assert_line("CRITICAL service_silent: *")
            .assert_within(TIMEOUT + AFTER);
    });
}

/// How a server speaks TLS, what we say about it on our side, and why that fails.
struct Tls {
    /// Which certificate it shows.
    server: &'static str,
    /// What else is in its `tls` block, and outside of it.
    more: &'static str,
    outside: &'static str,
    /// With DIR for the folder of the certificates.
    flags: &'static [&'static str],
    text: &'static str,
}

impl Default for Tls {
    fn default() -> Tls {
        Tls {
            server: "server",
            more: "",
            outside: "",
            flags: &["--tlsca", "DIR/ca.pem"],
            text: "",
        }
    }
}

const MUTUAL: &str = "verify: true";

#[test]
fn tls_that_fails_says_why() {
    let refusals = [
        Tls {
            flags: &["--tlsca", "DIR/other-ca.pem"],
            text: "its certificate is of an authority that we do not believe; give the authority with --tlsca (invalid peer \
                   certificate: UnknownIssuer)",
            ..Tls::default()
        },
        // The authorities of the system do not help.
        Tls {
            flags: &[],
            text: "its certificate is of an authority that we do not believe; give the authority with --tlsca (invalid peer \
                   certificate: UnknownIssuer)",
            ..Tls::default()
        },
        Tls {
            server: "other-name",
            text: "its certificate is for another name; connect by a name that is in it (invalid peer certificate: \
                   NotValidForName)",
            ..Tls::default()
        },
        Tls {
            server: "expired",
            text: "its certificate has expired; renew it (invalid peer certificate: Expired)",
            ..Tls::default()
        },
        Tls {
            server: "future",
            text: "its certificate is not valid yet; look at the clocks (invalid peer certificate: NotValidYet)",
            ..Tls::default()
        },
        Tls {
            more: MUTUAL,
            // Those of 2.9 say BadCertificate, later ones CertificateRequired.
            text: "it wants a certificate of ours; give --tlscert and --tlskey (received fatal alert: *Certificate*)",
            ..Tls::default()
        },
        Tls {
            more: MUTUAL,
            flags: &[
                "--tlsca",
                "DIR/ca.pem",
                "--tlscert",
                "DIR/stranger.pem",
                "--tlskey",
                "DIR/stranger.key",
            ],
            text: "it refused our certificate, or the handshake (received fatal alert: *)",
            ..Tls::default()
        },
        Tls {
            more: MUTUAL,
            flags: &[
                "--tlsca",
                "DIR/ca.pem",
                "--tlscert",
                "DIR/client-expired.pem",
                "--tlskey",
                "DIR/client-expired.key",
            ],
            text: "it refused our certificate, or the handshake (received fatal alert: *)",
            ..Tls::default()
        },
        // With a name in it that is not that of a user.
        Tls {
            more: "verify_and_map: true",
            outside: "authorization { users: [{user: \"CN=other\"}] }",
            flags: &[
                "--tlsca",
                "DIR/ca.pem",
                "--tlscert",
                "DIR/client.pem",
                "--tlskey",
                "DIR/client.key",
            ],
            text: "NATS at 127.0.0.1:PORT refused our certificate as a login (Authorization Violation)",
            ..Tls::default()
        },
    ];
    on(&Version::ALL, |version| {
        let certs = Certs::new();
        let dir = certs.path("ca.pem").replace("/ca.pem", "");
        for refusal in &refusals {
            let config = certs.config(refusal.server, refusal.more) + refusal.outside;
            let server = Server::with_config(version, &config);
            let flags: Vec<String> = refusal.flags.iter().map(|flag| flag.replace("DIR", &dir)).collect();
            let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
            let (reason, text) = match refusal.text.starts_with("NATS ") {
                true => ("auth_rejected", at(&server, refusal.text)),
                false => (
                    "tls_failed",
                    at(&server, "TLS with NATS at 127.0.0.1:PORT failed: ") + refusal.text,
                ),
            };
            // By URL, and by the server's upgrade.
            for url in ["tls://127.0.0.1:PORT", "nats://127.0.0.1:PORT"] {
                let out = check(&["-s", &at(&server, url)]).args(&flags).run();
                assert_refused(out, reason, &text);
            }
        }
    });
}

#[test]
fn tls_to_a_server_without_it_says_so() {
    on(&Version::ALL, |version| {
        let server = Server::with_config(version, "authorization { user: mon, password: s3cret }");
        let text = "TLS with NATS at 127.0.0.1:PORT failed: it does not speak TLS on this port; use nats:// instead of tls:// \
                    (received corrupt message of type InvalidContentType)";
        let out = check(&["-s", &at(&server, "tls://mon:s3cret@127.0.0.1:PORT")]).run();
        assert_refused(out, "tls_failed", &at(&server, text));
    });
}

#[test]
fn tls_before_the_first_word_says_that_we_cannot() {
    on(&[Version::V2_10, Version::Newest], |version| {
        let certs = Certs::new();
        let ca = certs.path("ca.pem");
        let server = Server::with_config(version, &certs.config("server", "handshake_first: true"));
        let text = "127.0.0.1:PORT closed the connection without a word after 2*s; it seems to want TLS first \
                    (handshake_first), which this client cannot do: allow handshake_first: auto, or another port";
        for url in ["tls://127.0.0.1:PORT", "nats://127.0.0.1:PORT"] {
            let flags = ["-s", &at(&server, url), "--tlsca", &ca, "--timeout", "4s"];
            let out = Check::new(["-n", "orders", "--no-state", "-vvv"]).args(flags).run();
            assert_refused_in(Duration::from_secs(3), out, "tls_failed", &at(&server, text));
        }
        // With less time than the server takes.
        let text = "127.0.0.1:PORT accepts the connection but says nothing for *; is nats-server frozen, does it want TLS \
                    first (handshake_first), or is this another service?";
        let out = check(&["-s", &at(&server, "tls://127.0.0.1:PORT"), "--tlsca", &ca]).run();
        assert_refused(out, "nats_unreachable", &at(&server, text));

        // A server that waits for that a moment only.
        let config = certs.config("server", "handshake_first: auto") + "allow_non_tls: true";
        let server = Server::with_config(version, &config);
        let _service = Service::async_nats(&server.url(), "orders").start();
        assert_let_in(check(&["-s", &at(&server, "tls://127.0.0.1:PORT"), "--tlsca", &ca]).run());
    });
}

#[test]
fn a_server_in_lame_duck_mode_is_asked_to_the_end_and_takes_nobody_new() {
    on(&Version::ALL, |version| {
        let config = "lame_duck_duration: 30s, lame_duck_grace_period: 20s";
        let server = Server::with_config(version, config);
        let service = Service::async_nats(&server.url(), "orders").start();
        service.freeze();
        let flags = ["-s", &server.url(), "--no-state", "-n", "orders", "-vvv"];
        let mut tap = raw::subscribe(&server.url(), "$SRV.PING.orders").expect("a tap");
        let run = Check::new(flags).args(["--confirm", "5s"]).spawn();
        let asked = BufReader::new(&mut tap).lines().map_while(Result::ok);
        assert!(asked.take(9).any(|line| line.starts_with("MSG ")), "it is asked");
        server.signal(libc::SIGUSR2);
        let address = ("127.0.0.1", server.port());
        wait_for("lame duck mode", || TcpStream::connect(address).err());
        service.thaw();
        assert_let_in(run.wait());
        let text = "cannot reach NATS at 127.0.0.1:PORT: connection refused; is nats-server running there?";
        assert_refused(
            check(&["-s", &server.url()]).run(),
            "nats_unreachable",
            &at(&server, text),
        );
    });
}
