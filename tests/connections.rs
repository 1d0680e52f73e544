//! All ways to connect, and each way in which a server refuses: in the words of an operator, in time, and without a secret.
//!
//! Every run is one with `-vvv`: no step shows a secret either ([`Check`] looks at all that comes out).

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::Duration;

use data_encoding::BASE64;
use nkeys::KeyPair;
use serde_json::json;

use super::support::check::matches;
use super::support::jwt::{Account, Operator, User, now};
use super::support::server::{free_port, on};
use super::support::{
    Certs, Check, Fake, Monitor, Output, SLACK, Server, Service, TempDir, Version, is_root, raw, wait_for,
};

/// Time limit of a run that may have to use it up; SPEC says how much later it may end. It is less than the 2 s after which a
/// server closes a connection that sends nothing.
const TIMEOUT: Duration = Duration::from_millis(1500);
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
    .args(["--timeout", "1500ms"])
    .args(flags)
}

/// Asserts a refusal: UNKNOWN for this reason, in these words, in time.
#[track_caller]
fn assert_refused(out: Output, reason: &str, text: &str) -> Output {
    assert_refused_in(TIMEOUT, out, reason, text)
}

#[track_caller]
fn assert_refused_in(timeout: Duration, out: Output, reason: &str, text: &str) -> Output {
    out.assert_first(3, &format!("NATS_SERVICE UNKNOWN - orders: {text} | {REFUSED}"))
        .assert_finding(&format!("UNKNOWN {reason}: {text}"))
        .assert_within(timeout + AFTER)
}

#[track_caller]
fn assert_let_in(out: Output) -> Output {
    out.assert_first(0, "NATS_SERVICE OK - orders: 1 instance, slowest answer * | *")
        .assert_finding("OK service_up: 1 instance, *")
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
#[ignore = "needs nats-server"]
fn a_refused_login_is_named() {
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
#[ignore = "needs nats-server"]
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
#[ignore = "needs nats-server"]
fn a_jwt_that_expires_during_the_run_is_reported() {
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
#[ignore = "needs nats-server"]
fn a_server_without_free_connections_is_reported() {
    on(&Version::ALL, |version| {
        let server = Server::with_config(version, "max_connections: 1");
        let _guest = raw::subscribe(&server.url(), "x").expect("a guest");
        let out = check(&["-s", &server.url()]).run();
        // The server may be faster with the end of the connection than the client with its first write.
        let why = match out.stdout.contains("it closed the connection") {
            true => "it closed the connection during the login (is it stopping, or at its connection limit?)",
            false => "it is at its connection limit (maximum connections exceeded)",
        };
        let text = at(&server, &format!("cannot reach NATS at 127.0.0.1:PORT: {why}"));
        assert_refused(out, "nats_unreachable", &text);

        let files = Files::new();
        let (operator, account) = (Operator::new(), Account::new("APP").connections(1));
        let server = Server::with_config(version, &operator.config(&[&account]));
        let creds = files.write("mon.creds", &account.creds(&User::new("mon")));
        let _guest = Service::async_nats(&server.url(), "orders").creds(&creds).start();
        let text = "cannot reach NATS at 127.0.0.1:PORT: it is at its connection limit (maximum account active connections \
                    exceeded)";
        let out = check(&["-s", &server.url(), "--creds", &creds]).run();
        assert_refused(out, "nats_unreachable", &at(&server, text));
    });
}

#[test]
#[ignore = "needs nats-server"]
fn probe_needs_one_subscription() {
    on(&Version::ALL, |version| {
        let mut server = Server::start(version);
        let monitor = Monitor::new(server.url());
        let service = Service::async_nats(&server.url(), "orders").start();
        let up = "NATS_SERVICE OK - orders: 1 instance, *";
        monitor.check([""; 0]).run().assert(0, up);
        service.kill();
        server.restart("max_subscriptions: 1");
        let down = "NATS_SERVICE CRITICAL - orders: down, no responders, 1 instance until *s ago, *";
        monitor.check(["--confirm", "300ms"]).run().assert(2, down);
        // Who else is there is asked through the same inbox.
        let never = "NATS_SERVICE UNKNOWN - orders: never seen in this account, no responders, no service at all *";
        Monitor::new(server.url()).check([""; 0]).run().assert(3, never);
    });
}

/// Whoever does what the line says, and nothing else, can ask.
#[test]
#[ignore = "needs nats-server"]
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
            let text = format!("NATS at 127.0.0.1:PORT does not let us {what}, add to the user's permissions: {paste}");
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
        let text = "NATS at 127.0.0.1:PORT does not let us subscribe to other.mon.*, add to the user's permissions: subscribe: \
                    {allow: [\"other.mon.>\"]}";
        assert_refused(prefix("other.mon"), "permission_denied", &at(&server, text));
    });
}

/// One subscription takes all replies, and it has two tokens more than the prefix: to allow one of them is not enough.
#[test]
#[ignore = "needs nats-server"]
fn an_inbox_that_is_allowed_in_part_is_named() {
    on(&Version::ALL, |version| {
        let user = |name: &str, inbox: &str| {
            format!(
                "{{user: {name}, password: s3cret, permissions: {{
                 publish: {{allow: [\"$SRV.PING.orders\"]}}, subscribe: {{allow: [\"{inbox}\"]}} }}}}"
            )
        };
        let users = [
            user("all", "_INBOX.>"),
            user("two", "_INBOX.*.*"),
            user("one", "_INBOX.*"),
            user("own", "_INBOX.own.*"),
            "{user: svc, password: svc}".to_owned(),
        ];
        let server = Server::with_config(version, &format!("authorization {{ users: [{}] }}", users.join(", ")));
        let _service = Service::async_nats(&at(&server, "nats://svc:svc@127.0.0.1:PORT"), "orders").start();
        let run = |user: &str, flags: &[&str]| {
            check(&["-s", &server.url(), "--user", user, "--password", "s3cret"])
                .args(flags)
                .run()
        };
        assert_let_in(run("all", &[]));
        assert_let_in(run("two", &[]));
        for (user, flags, prefix) in [
            ("one", &[][..], "_INBOX"),
            ("own", &["--inbox-prefix", "_INBOX.own"], "_INBOX.own"),
        ] {
            let text = format!(
                "NATS at 127.0.0.1:PORT does not let us subscribe to {prefix}.*.*, add to the user's permissions: \
                 subscribe: {{allow: [\"{prefix}.>\"]}}"
            );
            assert_refused(run(user, flags), "permission_denied", &at(&server, &text));
        }
    });
}

/// The server tells the service alone: to us it is a silence, and this is one of its causes.
#[test]
#[ignore = "needs nats-server"]
fn a_service_that_may_not_answer_is_silent() {
    on(&Version::ALL, |version| {
        let start = match version {
            Version::V2_9 => Service::nats_py,
            Version::V2_10 => Service::nats_js,
            _ => Service::nats_js_2,
        };
        let server = Server::with_config(
            version,
            "authorization { users: [{user: mon, password: s3cret},
             {user: svc, password: svc, permissions: {publish: {deny: [\"_INBOX.>\"]}}}] }",
        );
        let _service = start(&at(&server, "nats://svc:svc@127.0.0.1:PORT"), "orders").start();
        let home = TempDir::new();
        let mon = |flags: &[&str]| {
            Check::new(["-n", "orders", "-s", &at(&server, "nats://mon:s3cret@127.0.0.1:PORT")])
                .args(["--timeout", "3s", "--confirm", "100ms", "--stall", "50ms"])
                .args(flags)
                .home(&home)
                .run()
        };
        let silent = "no answer within *s though somebody is subscribed (hung, not allowed to publish to our inbox, or behind a link or server that hangs)";
        let none = "instances=0;;;0; rtt_max=U nats_rtt=*s;;;0; outage=*s;;;0; probe=*s;;;0;";
        mon(&[]).assert(
            3,
            &format!(
                "NATS_SERVICE UNKNOWN - orders: never seen in this account, {silent}, no service at all answers here: is \
                 this the right account, and --srv-prefix? | {none}"
            ),
        );
        // It may publish to any other inbox.
        assert_let_in(mon(&["--inbox-prefix", "_OTHER", "-vvv"]));
        let nats = at(&server, "NATS* at 127.0.0.1:PORT is fine (*), last seen: *");
        let line = format!("silent, {silent}, 1 instance until *s ago, {nats}");
        mon(&[])
            .assert(2, &format!("NATS_SERVICE CRITICAL - orders: {line} | {none}"))
            .assert_within(TIMEOUT + AFTER);
        let line = format!("still down for *s, {silent}, had 1 instance, {nats}");
        mon(&["-vvv"])
            .assert_first(2, &format!("NATS_SERVICE CRITICAL - orders: {line} | {none}"))
            .assert_finding(&format!("CRITICAL service_silent: {line}"))
            .assert_within(TIMEOUT + AFTER);
    });
}

/// TLS of a server, the TLS options of the check, and the cause of the failure.
struct Tls {
    /// Which certificate it shows.
    server: &'static str,
    /// Other lines in its `tls` block, and outside of it.
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
#[ignore = "needs nats-server"]
fn tls_that_fails_is_reported_with_the_cause() {
    let refusals = [
        Tls {
            flags: &["--tlsca", "DIR/other-ca.pem"],
            text: "its certificate is signed by an authority that is not trusted here, give the CA certificate with --tlsca (invalid peer \
                   certificate: UnknownIssuer)",
            ..Tls::default()
        },
        // The authorities of the system do not help.
        Tls {
            flags: &[],
            text: "its certificate is signed by an authority that is not trusted here, give the CA certificate with --tlsca (invalid peer \
                   certificate: UnknownIssuer)",
            ..Tls::default()
        },
        Tls {
            server: "other-name",
            text: "its certificate is for another name, connect by a name that is in it (invalid peer certificate: \
                   NotValidForName)",
            ..Tls::default()
        },
        Tls {
            server: "expired",
            text: "its certificate has expired, renew it (invalid peer certificate: Expired)",
            ..Tls::default()
        },
        Tls {
            server: "future",
            text: "its certificate is not valid yet, look at the clocks (invalid peer certificate: NotValidYet)",
            ..Tls::default()
        },
        Tls {
            more: MUTUAL,
            // Those of 2.9 say BadCertificate, later ones CertificateRequired.
            text: "it requires a client certificate, give --tlscert and --tlskey (received fatal alert: *Certificate*)",
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
            // 2.9 says BadCertificate.
            text: "it * client certificate* (received fatal alert: *)",
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
            text: "it * client certificate* (received fatal alert: *)",
            ..Tls::default()
        },
        // The key of another certificate, and files that are PEM and no more.
        Tls {
            more: MUTUAL,
            flags: &[
                "--tlsca",
                "DIR/ca.pem",
                "--tlscert",
                "DIR/client.pem",
                "--tlskey",
                "DIR/stranger.key",
            ],
            text: "the key (--tlskey) does not belong to the certificate (--tlscert) (received fatal alert: DecryptError)",
            ..Tls::default()
        },
        Tls {
            flags: &["--tlsca", "DIR/damaged.pem"],
            text: "a certificate in the file of --tlsca is damaged (could not load certs: *)",
            ..Tls::default()
        },
        Tls {
            more: MUTUAL,
            flags: &[
                "--tlsca",
                "DIR/ca.pem",
                "--tlscert",
                "DIR/damaged.pem",
                "--tlskey",
                "DIR/client.key",
            ],
            text: "it refused the client certificate, or the handshake (received fatal alert: *)",
            ..Tls::default()
        },
        Tls {
            more: MUTUAL,
            flags: &[
                "--tlsca",
                "DIR/ca.pem",
                "--tlscert",
                "DIR/client.pem",
                "--tlskey",
                "DIR/damaged.key",
            ],
            text: "the certificate (--tlscert) or the key (--tlskey) is damaged, or the key is encrypted, or of a kind that \
                   this client cannot use (P-521) (could not add certificate or key)",
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
            text: "NATS at 127.0.0.1:PORT refused the client certificate as a login (Authorization Violation)",
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
#[ignore = "needs nats-server"]
fn tls_to_a_server_without_tls_is_reported() {
    on(&Version::ALL, |version| {
        let server = Server::with_config(version, "authorization { user: mon, password: s3cret }");
        let text = "TLS with NATS at 127.0.0.1:PORT failed: it does not answer in TLS, which is required by tls://, --tls, or a TLS \
                    file of a flag, a variable or the context (received corrupt message of type InvalidContentType)";
        let out = check(&["-s", &at(&server, "tls://mon:s3cret@127.0.0.1:PORT")]).run();
        assert_refused(out, "tls_failed", &at(&server, text));
    });
}

/// A server that cannot do TLS, or somebody in its place, gets no login from whoever gave any option of TLS.
#[test]
#[ignore = "needs nats-server"]
fn any_tls_option_means_that_tls_is_required() {
    let certs = Certs::new();
    let (ca, cert, key) = (certs.path("ca.pem"), certs.path("client.pem"), certs.path("client.key"));
    let files = Files::new();
    let login = r#""user": "mon", "password": "s3cret""#;
    let with_ca = files.write("ca.json", &format!(r#"{{ {login}, "ca": "file://{ca}" }}"#));
    let with_cert = files.write(
        "cert.json",
        &format!(r#"{{ {login}, "cert": "{cert}", "key": "{key}" }}"#),
    );
    let mon = ["--user", "mon", "--password", "s3cret"];
    let variable = |name: &'static str, value: &str| vec![(name, value.to_owned())];
    type Case<'c> = (Vec<&'c str>, Vec<(&'c str, String)>);
    let cases: [Case; 8] = [
        (vec!["--tls"], vec![]),
        (vec!["--tlsca", &ca], vec![]),
        (vec!["--tlscert", &cert, "--tlskey", &key], vec![]),
        (vec![], variable("NATS_CA", &ca)),
        (
            vec![],
            [variable("NATS_CERT", &cert), variable("NATS_KEY", &key)].concat(),
        ),
        (vec!["--context", &with_ca], vec![]),
        (vec!["--context", &with_cert], vec![]),
        (vec!["--context", &with_ca, "--tls"], vec![]),
    ];
    for (flags, variables) in &cases {
        for by_host in [true, false] {
            let plain = Fake::start(|conn| {
                conn.send_info()?;
                // To a real one, too, TLS is no protocol of NATS.
                conn.send_raw(b"-ERR 'Unknown Protocol Operation'\r\n")?;
                conn.hold(TIMEOUT)
            });
            let (port, url) = (plain.port().to_string(), plain.url());
            let server = match by_host {
                true => ["-H", "127.0.0.1", "-p", &port].to_vec(),
                false => ["-s", &url].to_vec(),
            };
            let mut run = check(&server).args(flags);
            if !flags.contains(&"--context") {
                run = run.args(mon);
            }
            for (name, value) in variables {
                run = run.env(name, value);
            }
            let text =
                format!("TLS with NATS at 127.0.0.1:{port} failed: it does not answer in TLS, which is required *");
            assert_refused(run.run(), "tls_failed", &text);
            let received = plain.received().join("\n");
            assert!(
                !received.contains("CONNECT") && !received.contains("s3cret"),
                "{flags:?}: {received}"
            );
        }
    }
    // One URL of a list that asks for it means all of them.
    let plain = Fake::start(|conn| {
        conn.send_info()?;
        conn.hold(TIMEOUT)
    });
    let list = format!("127.0.0.1:{},tls://127.0.0.1:1", plain.port());
    let out = check(&["-s", &list]).args(mon).run();
    assert_eq!(out.code, Some(3), "{out:?}");
    assert!(plain.connections() > 0, "{out:?}");
    let received = plain.received().join("\n");
    assert!(
        !received.contains("CONNECT") && !received.contains("s3cret"),
        "{received}"
    );
    // The same with a server that has TLS: by host, without any file.
    let server = Server::with_config(Version::Newest, &(certs.config("server", "") + "allow_non_tls: true"));
    let _service = Service::async_nats(&server.url(), "orders").start();
    let port = server.port().to_string();
    let run = |flags: &[&str]| {
        let by_host = check(&["-H", "127.0.0.1", "-p", &port]).args(flags);
        assert_let_in(by_host.env("SSL_CERT_FILE", &ca).run())
    };
    run(&["--tls"]).assert_line("*ms connecting to 127.0.0.1:* with TLS");
    assert!(!run(&[]).stdout.contains("with TLS"));
}

/// Certificates that the client does not accept are reported with the cause, not as a secret of its libraries.
#[test]
#[ignore = "needs nats-server"]
fn certificates_that_the_client_cannot_use_are_named() {
    let certs = Certs::odd();
    let cases = [
        (
            "version-1",
            "ca",
            "*is of X.509 version 1, which this client does not accept, *UnsupportedCertVersion*",
        ),
        (
            "p521",
            "ca",
            "*a P-521 key in its certificate does that: use P-256, *HandshakeFailure*",
        ),
        ("by-p521", "p521-ca", "*an authority with a P-521 key, *BadSignature*"),
        ("rsa1024", "ca", "*an RSA key of less than 2048 bits, *"),
        (
            "by-no-authority",
            "ca",
            "*is not that of an authority (basicConstraints without CA:TRUE), *EndEntityUsedAsCa*",
        ),
    ];
    on(&[Version::V2_9, Version::Newest], |version| {
        for (name, ca, text) in cases {
            let server = Server::with_config(version, &certs.config(name, ""));
            let flags = [
                "-s",
                &at(&server, "tls://127.0.0.1:PORT"),
                "--tlsca",
                &certs.path(&format!("{ca}.pem")),
            ];
            let text = at(&server, &format!("TLS with NATS at 127.0.0.1:PORT failed: {text}"));
            assert_refused(check(&flags).run(), "tls_failed", &text);
        }
    });
}

/// Passes a connection on to the server, with one text in the server's first line in the place of another: what anybody on the
/// way can do to the INFO before TLS.
fn on_the_way(server: &Server, name: &'static str, value: serde_json::Value) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (port, to) = (listener.local_addr().expect("its address").port(), server.port());
    thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, mut server) = (client?, TcpStream::connect(("127.0.0.1", to))?);
            let mut reader = BufReader::new(server.try_clone()?);
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let mut info: serde_json::Value = serde_json::from_str(line.strip_prefix("INFO ").unwrap_or("{}"))?;
            info[name] = value.clone();
            client.write_all(format!("INFO {info}\r\n").as_bytes())?;
            let mut back = client.try_clone()?;
            thread::spawn(move || std::io::copy(&mut reader, &mut back));
            thread::spawn(move || std::io::copy(&mut client, &mut server));
        }
        Ok::<(), std::io::Error>(())
    });
    port
}

#[test]
#[ignore = "needs nats-server"]
fn info_before_tls_is_not_trusted() {
    let (certs, files) = (Certs::new(), Files::new());
    let (operator, account) = (Operator::new(), Account::new("APP"));
    let tls = certs.config("server", "") + "allow_non_tls: true\nserver_name: real\n";
    let server = Server::with_config(Version::Newest, &(tls.clone() + &operator.config(&[&account])));
    let creds = files.write("mon.creds", &account.creds(&User::new("mon")));
    let _service = Service::async_nats(&server.url(), "orders").creds(&creds).start();
    let anybody = Server::with_config(Version::Newest, &tls);
    let _other = Service::async_nats(&anybody.url(), "orders").start();

    let ca = certs.path("ca.pem");
    let run = |port: u16, flags: &[&str]| {
        let url = format!("tls://127.0.0.1:{port}");
        let out = check(&["-s", &url, "--tlsca", &ca]).args(flags).run();
        assert!(
            !out.stdout.contains("forged") && !out.stdout.contains("9.9.9"),
            "{}",
            out.stdout
        );
        out
    };
    for (name, forged) in [("server_name", json!("forged")), ("version", json!("9.9.9"))] {
        for (server, flags) in [(&server, &["--creds", &*creds][..]), (&anybody, &[])] {
            let out = assert_let_in(run(on_the_way(server, name, forged.clone()), flags));
            out.assert_line("asked NATS at 127.0.0.1:*");
        }
    }
    let port = on_the_way(&anybody, "max_payload", json!(1));
    let out = run(port, &["--request", "echo", "--payload", "hello"]);
    assert!(!out.stdout.contains("max_payload"), "{}", out.stdout);
}

/// Whoever is in the place of a server must not get a signature that is worth more than a login.
#[test]
fn only_nonces_are_signed() {
    let files = Files::new();
    let seed = files.write("mon.nk", &KeyPair::new_user().seed().expect("a seed"));
    let creds = files.write("mon.creds", &Account::new("A").creds(&User::new("mon")));
    for nonce in [
        "eyJ0eXAiOiJKV1QifQ.eyJzdWIiOiJVIn0",
        "short",
        "PUB victim 5 hello",
        &"x".repeat(500),
    ] {
        for (flag, file) in [("--nkey", &seed), ("--creds", &creds)] {
            let info = json!({"auth_required": true, "nonce": nonce});
            let fake = Fake::start(move |conn| {
                conn.send_info_with(info.clone())?;
                conn.hold(TIMEOUT)
            });
            let text = format!(
                "127.0.0.1:{} asked for a signature of something that is no NATS nonce, so nothing was signed or sent",
                fake.port()
            );
            let out = check(&["-s", &fake.url(), flag, file]).run();
            assert_refused(out, "protocol_error", &text);
            assert_eq!(fake.received(), [""; 0], "{nonce}");
        }
    }
}

#[test]
#[ignore = "needs nats-server"]
fn login_without_tls_is_reported() {
    let (certs, files) = (Certs::new(), Files::new());
    let key = KeyPair::new_user();
    let users = format!(
        "authorization {{ users: [{{nkey: {}}}, {{user: mon, password: s3cret}}] }}\n",
        key.public_key()
    );
    let server = Server::with_config(
        Version::Newest,
        &(certs.config("server", "") + &users + "allow_non_tls: true"),
    );
    let account = Account::new("APP");
    let with_jwts = Server::with_config(Version::Newest, &Operator::new().config(&[&account]));
    let creds = files.write("mon.creds", &account.creds(&User::new("mon")));
    let seed = files.write("mon.nk", &key.seed().expect("a seed"));
    let open = Server::start(Version::Newest);
    let remark = "on the network path can";
    for (server, flags, line) in [
        (
            &server,
            &["--nkey", &*seed][..],
            "*: the NKey was used over a connection without TLS: *log in as its user*",
        ),
        (
            &with_jwts,
            &["--creds", &creds],
            "*: the creds were used over a connection without TLS: *read the user JWT*",
        ),
        (
            &server,
            &["--user", "mon", "--password", "s3cret"],
            "*: the password went over a connection without TLS: *",
        ),
        (
            &server,
            &["--user", "mon", "--password", "s3cret-2"],
            "*: the password went over a connection without TLS: *",
        ),
    ] {
        let run = |more: &[&str]| {
            Check::new(["-n", "orders", "--no-state", "--confirm", "0", "-s", &server.url()])
                .args(flags)
                .args(more)
                .run()
        };
        run(&["-v"]).assert_line(line);
        assert!(!run(&[]).stdout.contains(remark));
        let tls = run(&["-v", "--tlsca", &certs.path("ca.pem")]);
        assert!(!tls.stdout.contains(remark), "{}", tls.stdout);
    }
    let out = check(&["-s", &open.url()]).run();
    assert!(!out.stdout.contains(remark), "{}", out.stdout);
}

#[test]
#[ignore = "needs nats-server"]
fn handshake_first_is_reported_as_not_supported() {
    on(&[Version::V2_10, Version::Newest], |version| {
        let certs = Certs::new();
        let ca = certs.path("ca.pem");
        let server = Server::with_config(version, &certs.config("server", "handshake_first: true"));
        let text = "127.0.0.1:PORT sent nothing and closed the connection after 2*s, it seems to want TLS first \
                    (handshake_first), which this client cannot do: allow handshake_first: auto, or another port";
        for url in ["tls://127.0.0.1:PORT", "nats://127.0.0.1:PORT"] {
            let flags = ["-s", &at(&server, url), "--tlsca", &ca, "--timeout", "4s"];
            let out = Check::new(["-n", "orders", "--no-state", "-vvv"]).args(flags).run();
            assert_refused_in(Duration::from_secs(3), out, "tls_failed", &at(&server, text));
        }
        // With less time than the server takes.
        let patient = Server::with_config(version, &certs.config("server", "handshake_first: true\ntimeout: 30"));
        let text = "127.0.0.1:PORT accepts the connection but sends nothing for *, is nats-server frozen, does it want TLS \
                    first (handshake_first), or is this another service?";
        let flags = [
            "-s",
            &at(&patient, "tls://127.0.0.1:PORT"),
            "--tlsca",
            &ca,
            "--timeout",
            "4s",
        ];
        let out = Check::new(["-n", "orders", "--no-state", "-vvv"]).args(flags).run();
        assert_refused(out, "nats_unreachable", &at(&patient, text));

        // A server that waits for that a moment only.
        let config = certs.config("server", "handshake_first: auto") + "allow_non_tls: true";
        let server = Server::with_config(version, &config);
        let _service = Service::async_nats(&server.url(), "orders").start();
        assert_let_in(check(&["-s", &at(&server, "tls://127.0.0.1:PORT"), "--tlsca", &ca]).run());
    });
}

/// Without TLS the addresses of other servers are left out, but that may not be enough.
#[test]
fn an_info_that_is_too_long_for_the_client_is_reported_with_the_way_out() {
    let fake = Fake::start(move |conn| {
        conn.handshake_with(json!({ "server_name": "n".repeat(5000) }))?;
        Ok(())
    });
    let text = format!(
        "127.0.0.1:{} sent a line of more than 4096 bytes, more than this client reads, if that is its INFO, set no_advertise \
         or fewer connect_urls",
        fake.port()
    );
    assert_refused(check(&["-s", &fake.url()]).run(), "protocol_error", &text);
}

/// At whatever point a server stops talking TLS, the run ends in time, and no service is blamed.
#[test]
#[ignore = "needs nats-server"]
fn timed_tls_that_hangs_or_breaks_is_no_outage() {
    let hangs = Fake::start(|conn| {
        conn.send_info_with(json!({"tls_required": true}))?;
        conn.answer_pings(false);
        // The passing of time is what is tested: longer than any run waits.
        thread::sleep(TIMEOUT + TIMEOUT);
        Ok(())
    });
    let text = format!("NATS at 127.0.0.1:{} did not finish the login within *", hangs.port());
    let out = check(&["-s", &hangs.url()]).run();
    assert_refused(out, "nats_unreachable", &text);
    let breaks = Fake::start(|conn| {
        conn.send_info_with(json!({"tls_required": true}))?;
        conn.close()
    });
    let text = format!(
        "cannot reach NATS at 127.0.0.1:{}: it closed the connection during the login (is it stopping, or at its connection \
         limit?)",
        breaks.port()
    );
    assert_refused(check(&["-s", &breaks.url()]).run(), "nats_unreachable", &text);

    on(&[Version::V2_9, Version::Newest], |version| {
        let certs = Certs::new();
        let server = Server::with_config(version, &(certs.config("server", "") + "allow_non_tls: true"));
        let service = Service::async_nats(&server.url(), "orders").start();
        let monitor = Monitor::new(at(&server, "tls://127.0.0.1:PORT")).login(&["--tlsca", &certs.path("ca.pem")]);
        let flags = ["--timeout", "1500ms", "--confirm", "100ms", "--stall", "50ms", "-v"];
        assert_let_in(monitor.check(flags).run());
        let known = monitor.epoch();
        service.freeze();
        // The server freezes when it has passed the request on.
        let mut tap = raw::subscribe(&server.url(), "$SRV.PING.orders").expect("a tap");
        let run = monitor.check(flags).spawn();
        let asked = BufReader::new(&mut tap).lines().map_while(Result::ok);
        assert!(asked.take(9).any(|line| line.starts_with("MSG ")), "it is asked");
        server.freeze();
        let text = "NATS at 127.0.0.1:PORT took the request but stopped answering, waited *";
        assert_refused(run.wait(), "nats_unreachable", &at(&server, text));
        assert_eq!(monitor.epoch(), known);
        server.thaw();
        drop(tap);
        // Now it is the service that hangs, and no more.
        let text = "NATS_SERVICE CRITICAL - orders: silent, no answer within *s though somebody is subscribed (hung, not allowed *";
        monitor
            .check(flags)
            .run()
            .assert_first(2, text)
            .assert_within(TIMEOUT + AFTER);
        service.thaw();
        let text = "NATS_SERVICE OK - orders: 1 instance, recovered after *s | *";
        monitor.check(flags).run().assert_first(0, text);
    });
}

#[test]
#[ignore = "needs nats-server"]
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
        let text = "cannot reach NATS at 127.0.0.1:PORT: connection refused (is nats-server running there?)";
        assert_refused(
            check(&["-s", &server.url()]).run(),
            "nats_unreachable",
            &at(&server, text),
        );
    });
}

#[test]
#[ignore = "needs nats-server"]
fn valid_tls_configurations_connect() {
    on(&Version::ALL, |version| {
        let certs = Certs::new();
        let (ca, cert, key) = (certs.path("ca.pem"), certs.path("client.pem"), certs.path("client.key"));
        let lets_in = |server: &Server, url: &str, flags: &[&str]| {
            let out = check(&["-s", &at(server, url), "--tlsca", &ca]).args(flags).run();
            assert_let_in(out).assert_line("*ms connecting to * with TLS")
        };
        let mine = ["--tlscert", &cert, "--tlskey", &key];
        let connects = |out: &Output| out.stdout.matches("ms connecting to ").count();

        // By name and by IP; asked for by us, or by the server alone.
        let server = Server::with_config(version, &certs.config("server", ""));
        let url = at(&server, "tls://127.0.0.1:PORT");
        let _service = Service::async_nats(&url, "orders").tlsca(&ca).start();
        for url in [
            "tls://127.0.0.1:PORT",
            "tls://localhost:PORT",
            "nats://127.0.0.1:PORT",
            "nats://localhost:PORT",
        ] {
            let out = lets_in(&server, url, &[]);
            // With a CA there is no attempt without TLS.
            assert_eq!(connects(&out), 1, "{}", out.stdout);
        }
        // A certificate that nobody asked for does not hurt.
        lets_in(&server, "tls://127.0.0.1:PORT", &mine);
        // The authorities of the system.
        for (url, flags, attempts) in [
            ("tls://127.0.0.1:PORT", &[][..], 1),
            ("nats://127.0.0.1:PORT", &["--tls"], 1),
            ("nats://127.0.0.1:PORT", &[], 2),
        ] {
            let out = check(&["-s", &at(&server, url)])
                .args(flags)
                .env("SSL_CERT_FILE", &ca)
                .run();
            assert_eq!(connects(&assert_let_in(out)), attempts);
        }

        // Ours is asked for, and may be the login.
        let users = "authorization { users: [{user: \"CN=mon\"}] }";
        for config in [
            certs.config("server", MUTUAL),
            certs.config("server", "verify_and_map: true") + users,
        ] {
            let server = Server::with_config(version, &config);
            let service = Service::async_nats(&at(&server, "tls://127.0.0.1:PORT"), "orders");
            let _service = service.tlsca(&ca).identity(&cert, &key).start();
            for url in ["tls://127.0.0.1:PORT", "nats://localhost:PORT"] {
                lets_in(&server, url, &mine);
            }
        }
    });
}

/// A plain run must not pay for TLS, and a CA file of the user's own is in the place of the system's.
#[test]
#[ignore = "needs nats-server"]
fn the_systems_authorities_are_read_only_when_tls_needs_them() {
    let certs = Certs::new();
    let ca = certs.path("ca.pem");
    let config = certs.config("server", "") + "allow_non_tls: true";
    let server = Server::with_config(Version::Newest, &config);
    let _service = Service::async_nats(&server.url(), "orders").start();
    let opened = |url: &str, flags: &[&str]| {
        let dir = TempDir::new();
        let trace = dir.join("trace");
        let strace = ["strace", "-f", "-e", "trace=open,openat,openat2", "-o", &trace];
        // A bundle of the system's, as far as the client can tell.
        let system = dir.join("system.pem");
        fs::copy(&ca, &system).expect("a copy");
        let out = check(&["-s", &at(&server, url)]).args(flags).under(strace);
        assert_let_in(out.env("SSL_CERT_FILE", &system).run());
        let trace = fs::read_to_string(trace).expect("a trace");
        assert!(trace.contains("openat("), "{trace}");
        ["/system.pem", "/etc/ssl", "/usr/lib/ssl", "/ca.pem"].map(|path| trace.contains(path))
    };
    assert_eq!(opened("nats://127.0.0.1:PORT", &[]), [false; 4]);
    assert_eq!(opened("nats://127.0.0.1:PORT", &["--tlsca", &ca])[..3], [false; 3]);
    assert_eq!(
        opened("tls://127.0.0.1:PORT", &["--tlsca", &ca]),
        [false, false, false, true]
    );
    assert!(opened("tls://127.0.0.1:PORT", &[])[0]);
}

#[test]
#[ignore = "needs nats-server"]
fn faults_of_the_systems_ca_certificates_are_reported() {
    let certs = Certs::new();
    let server = Server::with_config(Version::Newest, &certs.config("server", ""));
    let out = check(&["-s", &at(&server, "tls://127.0.0.1:PORT")])
        .env("SSL_CERT_FILE", "/nowhere.pem")
        .run();
    let text = "TLS with NATS at 127.0.0.1:PORT failed: the CA certificates of the system cannot be read, give one with --tlsca (could \
                not load platform certs: *)";
    assert_refused(out, "tls_failed", &at(&server, text));
}

/// The client tries the addresses of a name in any order, and can be stuck at one of them.
#[test]
#[ignore = "needs nats-server"]
fn a_name_of_which_one_address_hangs_is_tried_twice_over_tls() {
    if !is_root() {
        return;
    }
    let certs = Certs::new();
    let server = Server::with_config(Version::Newest, &certs.config("server", ""));
    // Connections are accepted by the system, and nobody says anything.
    let _hangs = TcpListener::bind(("127.0.0.2", server.port())).expect("a port");
    let files = Files::new();
    let hosts = files.write("hosts", "127.0.0.1 localhost\n127.0.0.2 localhost\n");
    let script = r#"mount --bind "$0" /etc/hosts && exec "$@""#;
    let stuck = (0..40).find_map(|_| {
        let out = check(&[
            "-s",
            &at(&server, "tls://localhost:PORT"),
            "--tlsca",
            &certs.path("ca.pem"),
        ])
        .under(["unshare", "--mount", "sh", "-c", script, &hosts])
        .run();
        out.stdout.contains("ms failed: ").then_some(out)
    });
    let out = stuck.expect("one of many runs is stuck");
    assert_eq!(out.stdout.matches("ms connecting to localhost:").count(), 2, "{out:?}");
}

/// Short-lived credentials have another user each time.
#[test]
#[ignore = "needs nats-server"]
fn an_outage_outlives_its_credentials() {
    let (operator, account, files) = (Operator::new(), Account::new("APP"), Files::new());
    let server = Server::with_config(Version::Newest, &operator.config(&[&account]));
    let of_service = files.write("svc.creds", &account.creds(&User::new("svc")));
    let service = Service::async_nats(&server.url(), "orders").creds(&of_service).start();
    let run = || {
        let creds = files.write("mon.creds", &account.creds(&User::new("mon")));
        let words = [
            "-n",
            "orders",
            "-s",
            &server.url(),
            "--creds",
            &creds,
            "--confirm",
            "1s",
            "--state-dir",
        ];
        Check::new(words).arg(files.0.join("state")).run()
    };
    run().assert_first_line(0, "NATS_SERVICE OK - orders: 1 instance, *");
    service.kill();
    run().assert_first_line(
        2,
        "NATS_SERVICE CRITICAL - orders: down, no responders, 1 instance until *",
    );
    run().assert_first_line(2, "NATS_SERVICE CRITICAL - orders: still down *");
    let listed = Check::new(["state", "list", "--state-dir"])
        .arg(files.0.join("state"))
        .run();
    listed.assert(
        0,
        "orders at 127.0.0.1:* in account A*: 0 instances * ago, down since *, 1 instance before\n",
    );
}

/// As with the nats CLI, where each of the two has a place of its own.
#[test]
#[ignore = "needs nats-server"]
fn a_password_is_taken_for_the_user_of_the_context() {
    let server = Server::with_config(Version::Newest, "authorization { user: mon, password: s3cret }");
    let files = Files::new();
    let password = files.write("password", "s3cret\n");
    for rest in ["", r#", "password": "stale""#] {
        let context = format!(r#"{{ "url": "{}", "user": "mon"{rest} }}"#, server.url());
        let context = files.write("x.json", &context);
        let run = |flags: &[&str], variables: &[(&str, &str)]| {
            let run = check(&["--context", &context, "--never-seen", "ok"]).args(flags);
            variables
                .iter()
                .fold(run, |run, (name, value)| run.env(name, value))
                .run()
        };
        for (flags, variables) in [
            (&["--password-file", &password][..], &[][..]),
            (&["--password", "s3cret"], &[("NATS_PASSWORD", "wrong")]),
            (&[], &[("NATS_PASSWORD", "s3cret")]),
        ] {
            run(flags, variables).assert_first_line(0, "NATS_SERVICE OK - orders: no responders, *");
        }
        run(&[], &[]).assert_first_line(
            3,
            "NATS_SERVICE UNKNOWN - orders: NATS at * refused the user mon or the password *",
        );
    }
}

/// A setting that can come from a flag, a variable and a context, with a value that works and one that does not.
struct Setting {
    /// Flag, variable and context key of each part of it; empty where there is none.
    parts: &'static [[&'static str; 3]],
    good: Vec<String>,
    bad: Vec<String>,
    /// Other arguments that are needed.
    rest: Vec<String>,
}

impl Setting {
    /// Asks with the values (good or bad) given by the context, by variables and by flags.
    fn ask(&self, context: Option<bool>, variables: Option<bool>, flags: Option<bool>) -> Output {
        let files = Files::new();
        let values = |good| if good { &self.good } else { &self.bad };
        let mut run = check(&[]).args(&self.rest);
        if let Some(good) = context {
            let pairs = self.parts.iter().zip(values(good));
            let pairs: Vec<String> = pairs
                .map(|([_, _, key], value)| format!("{key:?}: {value:?}"))
                .collect();
            let path = files.write("x.json", &format!("{{ {} }}", pairs.join(", ")));
            run = run.args(["--context", &path]);
        }
        for ([flag, variable, _], n) in self.parts.iter().zip(0..) {
            if let Some(good) = variables {
                run = run.env(variable, &values(good)[n]);
            }
            if let Some(good) = flags {
                run = run.args([*flag, &values(good)[n]]);
            }
        }
        run.run()
    }
}

#[test]
#[ignore = "needs nats-server"]
fn flags_beat_variables_and_variables_beat_the_context() {
    let (certs, files) = (Certs::new(), Files::new());
    let (key, stranger) = (KeyPair::new_user(), KeyPair::new_user());
    let config = certs.config("server", MUTUAL)
        + "allow_non_tls: true\n"
        + &format!(
            "authorization {{ users: [
                {{user: svc, password: svc}}, {{nkey: {}}}, {{user: mon, password: s3cret}},
                {{user: few, password: s3cret, permissions: {{subscribe: {{allow: [\"_INBOX_mon.>\"]}}}}}} ] }}",
            key.public_key()
        );
    let server = Server::with_config(Version::Newest, &config);
    let _service = Service::async_nats(&at(&server, "nats://svc:svc@127.0.0.1:PORT"), "orders").start();
    let with_token = Server::with_config(Version::Newest, "authorization { token: s3cret }");
    let token = at(&with_token, "nats://s3cret@127.0.0.1:PORT");
    let _service_of_token = Service::nats_py(&token, "orders").start();
    let (operator, account) = (Operator::new(), Account::new("APP"));
    let with_jwts = Server::with_config(Version::Newest, &operator.config(&[&account]));
    let good_creds = files.write("good.creds", &account.creds(&User::new("mon")));
    let bad_creds = files.write("bad.creds", &account.creds(&User::new("mon").expires(now() - 1)));
    let _service_of_jwts = Service::async_nats(&with_jwts.url(), "orders")
        .creds(&good_creds)
        .start();

    let strings = |words: &[&str]| words.iter().map(|word| word.to_string()).collect::<Vec<_>>();
    let at_server = |words: &[&str]| words.iter().map(|word| at(&server, word)).collect::<Vec<_>>();
    let ca = certs.path("ca.pem");
    let identity = |name: &str| [certs.path(&format!("{name}.pem")), certs.path(&format!("{name}.key"))];
    let [cert, cert_key] = identity("client");
    let settings = [
        Setting {
            parts: &[["--server", "NATS_URL", "url"]],
            good: at_server(&["nats://mon:s3cret@127.0.0.1:PORT"]),
            bad: strings(&["nats://mon:s3cret@127.0.0.1:1"]),
            rest: vec![],
        },
        // User info in it included.
        Setting {
            parts: &[["--server", "NATS_URL", "url"]],
            good: at_server(&["nats://mon:s3cret@127.0.0.1:PORT"]),
            bad: at_server(&["nats://mon:s3cret-2@127.0.0.1:PORT"]),
            rest: vec![],
        },
        Setting {
            parts: &[
                ["--user", "NATS_USER", "user"],
                ["--password", "NATS_PASSWORD", "password"],
            ],
            good: strings(&["mon", "s3cret"]),
            bad: strings(&["mon", "s3cret-2"]),
            rest: at_server(&["-s", "nats://127.0.0.1:PORT"]),
        },
        Setting {
            parts: &[["--token", "NATS_TOKEN", "token"]],
            good: strings(&["s3cret"]),
            bad: strings(&["s3cret-2"]),
            rest: strings(&["-s", &with_token.url()]),
        },
        Setting {
            parts: &[["--nkey", "NATS_NKEY", "nkey"]],
            good: vec![files.write("good.nk", &key.seed().expect("a seed"))],
            bad: vec![files.write("bad.nk", &stranger.seed().expect("a seed"))],
            rest: at_server(&["-s", "nats://127.0.0.1:PORT"]),
        },
        Setting {
            parts: &[["--creds", "NATS_CREDS", "creds"]],
            good: vec![good_creds],
            bad: vec![bad_creds],
            rest: strings(&["-s", &with_jwts.url()]),
        },
        Setting {
            parts: &[["--tlsca", "NATS_CA", "ca"]],
            good: strings(&[&ca]),
            bad: vec![certs.path("other-ca.pem")],
            rest: at_server(&[
                "-s",
                "tls://mon:s3cret@127.0.0.1:PORT",
                "--tlscert",
                &cert,
                "--tlskey",
                &cert_key,
            ]),
        },
        Setting {
            parts: &[["--tlscert", "NATS_CERT", "cert"], ["--tlskey", "NATS_KEY", "key"]],
            good: identity("client").to_vec(),
            bad: identity("stranger").to_vec(),
            rest: at_server(&["-s", "tls://mon:s3cret@127.0.0.1:PORT", "--tlsca", &ca]),
        },
        Setting {
            parts: &[["--inbox-prefix", "", "inbox_prefix"]],
            good: strings(&["_INBOX_mon"]),
            bad: strings(&["_INBOX"]),
            rest: at_server(&["-s", "nats://few:s3cret@127.0.0.1:PORT"]),
        },
    ];
    // A login beats one of another kind.
    let good_nkey = ["--nkey", &*settings[4].good[0]];
    let bad_token = check(&["-s", &server.url()])
        .args(good_nkey)
        .env("NATS_TOKEN", "s3cret-2");
    assert_let_in(bad_token.run());
    let bad_user = files.write("bad.json", r#"{ "user": "mon", "password": "s3cret-2" }"#);
    let bad_user = check(&["-s", &server.url(), "--context", &bad_user]);
    assert_let_in(bad_user.env("NATS_NKEY", good_nkey[1]).run());

    // User info in a URL is of the level of the URL.
    let bad_url = at(&server, r#"{ "url": "nats://mon:s3cret-2@127.0.0.1:PORT" }"#);
    let bad_url = files.write("url.json", &bad_url);
    let good_variables = check(&["--context", &bad_url])
        .env("NATS_USER", "mon")
        .env("NATS_PASSWORD", "s3cret");
    assert_let_in(good_variables.run());
    assert_let_in(check(&["--context", &bad_url]).args(good_nkey).run());

    let (good, bad) = (Some(true), Some(false));
    for setting in &settings {
        let works = |context, variables: Option<bool>, flags| {
            if variables.is_some() && setting.parts[0][1].is_empty() {
                return;
            }
            assert_let_in(setting.ask(context, variables, flags));
        };
        let fails = |context, variables: Option<bool>, flags| {
            if variables.is_none() || !setting.parts[0][1].is_empty() {
                setting
                    .ask(context, variables, flags)
                    .assert_first(3, "NATS_SERVICE UNKNOWN - orders: *");
            }
        };
        works(good, None, None);
        works(None, good, None);
        works(None, None, good);
        works(bad, good, None);
        works(bad, None, good);
        works(bad, bad, good);
        fails(bad, None, None);
        fails(good, bad, None);
        fails(good, None, bad);
        fails(good, good, bad);
    }
}

#[test]
#[ignore = "needs nats-server"]
fn a_context_is_found_by_name_and_by_path() {
    let server = Server::with_config(Version::Newest, "authorization { user: mon, password: s3cret }");
    let _service = Service::async_nats(&at(&server, "nats://mon:s3cret@127.0.0.1:PORT"), "orders").start();
    let home = TempDir::new();
    let write = |path: &str, text: &str| {
        let path = home.join(path);
        fs::create_dir_all(path.rsplit_once('/').expect("a folder").0).expect("a folder");
        fs::write(&path, at(&server, text)).expect("a file");
    };
    let good = r#"{ "url": "nats://127.0.0.1:PORT", "user": "mon", "password": "s3cret", "description": "x", "nsc": "",
                    "creds": "", "tls_first": false, "jetstream_domain": "y", "color_scheme": 7, "token": null }"#;
    let bad = r#"{ "url": "nats://127.0.0.1:PORT", "token": "s3cret" }"#;
    write(".config/nats/context/mon.json", good);
    write("xdg/nats/context/mon.json", good);
    write("xdg/nats/context/bad.json", bad);
    write("else where/mon.json", good);
    let run = |flags: &[&str], env: &[(&str, &str)]| {
        let mut run = check(flags).home(&home).cwd(home.path());
        for (name, value) in env {
            run = run.env(name, value);
        }
        run.run()
    };
    let xdg = ("XDG_CONFIG_HOME", &*home.join("xdg"));
    assert_let_in(run(&["--context", "mon"], &[]));
    assert_let_in(run(&["--context", "mon"], &[("XDG_CONFIG_HOME", "")]));
    assert_let_in(run(&["--context", "mon"], &[xdg]));
    assert_let_in(run(&[], &[("NATS_CONTEXT", "mon")]));
    assert_let_in(run(&["--context", "mon"], &[("NATS_CONTEXT", "bad"), xdg]));
    assert_let_in(run(&["--context", &home.join("else where/mon.json")], &[]));
    assert_let_in(run(&["--context", "else where/mon.json"], &[]));
    assert_let_in(run(&["--context", "~/else where/mon.json"], &[]));
    assert_let_in(run(&["--context", "$HOME/else where/mon.json"], &[]));
    assert_let_in(run(
        &[],
        &[("NATS_CONTEXT", "${HOME}/$WHERE/mon.json"), ("WHERE", "else where")],
    ));
    let text = at(
        &server,
        "NATS at 127.0.0.1:PORT refused the token (Authorization Violation)",
    );
    assert_refused(run(&["--context", "bad"], &[xdg]), "auth_rejected", &text);
    assert_refused(
        run(&["--context", "bad"], &[xdg, ("NATS_CONTEXT", "mon")]),
        "auth_rejected",
        &text,
    );
}

#[test]
#[ignore = "needs nats-server"]
fn the_paths_in_a_context_are_expanded() {
    let certs = Certs::new();
    let key = KeyPair::new_user();
    let users = format!(
        "authorization {{ users: [{{user: svc, password: svc}}, {{nkey: {}}}] }}\n",
        key.public_key()
    );
    let config = certs.config("server", MUTUAL) + &users + "allow_non_tls: true";
    let server = Server::with_config(Version::Newest, &config);
    let _service = Service::async_nats(&at(&server, "nats://svc:svc@127.0.0.1:PORT"), "orders").start();
    let home = TempDir::new();
    let write = |name: &str, text: &str| fs::write(home.join(name), text).expect("a file");
    write("mon.nk", &key.seed().expect("a seed"));
    for file in ["ca.pem", "client.pem", "client.key"] {
        fs::copy(certs.path(file), home.join(file)).expect("a copy");
    }
    let context = r#"{ "url": "tls://127.0.0.1:PORT", "nkey": "~/mon.nk", "ca": "$HOME/ca.pem", "cert": "${HOME}/$WHO.pem",
                       "key": "~/$WHO.key" }"#;
    write("mon.json", &at(&server, context));
    assert_let_in(
        check(&["--context", "~/mon.json"])
            .home(&home)
            .env("WHO", "client")
            .run(),
    );

    let account = Account::new("APP");
    let server = Server::with_config(Version::Newest, &Operator::new().config(&[&account]));
    write("mon.creds", &account.creds(&User::new("mon")));
    let _service = Service::async_nats(&server.url(), "orders")
        .creds(&home.join("mon.creds"))
        .start();
    write(
        "jwt.json",
        &at(
            &server,
            r#"{ "url": "nats://127.0.0.1:PORT", "creds": "~/$WHO.creds" }"#,
        ),
    );
    assert_let_in(check(&["--context", "~/jwt.json"]).home(&home).env("WHO", "mon").run());
    // A login that we do not know does not matter where another one is given.
    write(
        "jwt.json",
        &at(&server, r#"{ "url": "nats://127.0.0.1:PORT", "user_jwt": "eyJ" }"#),
    );
    let out = check(&["--context", "~/jwt.json", "--creds", &home.join("mon.creds")])
        .home(&home)
        .run();
    assert_let_in(out);
}

#[test]
#[ignore = "needs nats-server"]
fn the_connection_has_the_name_it_is_given() {
    on(&Version::ALL, |version| {
        let http = free_port();
        let server = Server::with_config(version, &format!("http: \"127.0.0.1:{http}\""));
        let _service = Service::async_nats(&server.url(), "orders").start();
        let run = |flags: &[&str]| assert_let_in(check(&["-s", &server.url()]).args(flags).run());
        run(&[]);
        run(&["--connection-name", "the watch of \"orders\""]);
        let names = wait_for("both runs are over for the server, too", || {
            let mut stream = TcpStream::connect(("127.0.0.1", http)).ok()?;
            stream.write_all(b"GET /connz?state=closed HTTP/1.0\r\n\r\n").ok()?;
            let mut text = String::new();
            stream.read_to_string(&mut text).ok()?;
            let closed: serde_json::Value = serde_json::from_str(text.split_once("\r\n\r\n")?.1).ok()?;
            let names = closed["connections"]
                .as_array()?
                .iter()
                .map(|connection| connection["name"].to_string());
            Some(names.collect::<Vec<_>>()).filter(|names| names.len() == 2)
        });
        assert!(names.contains(&r#""check_nats_service""#.to_owned()), "{names:?}");
        assert!(names.contains(&r#""the watch of \"orders\"""#.to_owned()), "{names:?}");
    });
}

#[test]
#[ignore = "needs nats-server"]
fn each_step_is_printed_with_its_time() {
    let certs = Certs::new();
    let tls = certs.config("server", "") + "authorization { user: mon, password: s3cret }\n";
    let server = Server::with_config(Version::Newest, &(tls + "allow_non_tls: true"));
    let _service = Service::async_nats(&at(&server, "nats://mon:s3cret@127.0.0.1:PORT"), "orders").start();
    for (url, how) in [
        ("nats://mon:s3cret@localhost:PORT", ""),
        ("tls://mon:s3cret@localhost:PORT", " with TLS"),
    ] {
        let out = check(&["-s", &at(&server, url)]);
        let out = match how {
            "" => out.run(),
            _ => out.args(["--tlsca", &certs.path("ca.pem")]).run(),
        };
        let mut lines = out.stdout.lines();
        for step in [
            "resolving localhost",
            &at(&server, &format!("connecting to localhost:PORT (127.0.0.1){how}")),
            "logged in",
            "asking $SRV.PING.orders",
            "a reply, * bytes",
        ] {
            let step = format!("*ms {step}");
            assert!(lines.any(|line| matches(&step, line)), "{step} in {}", out.stdout);
        }
    }
}

/// A configuration that cannot work is told before anything is asked: in one line, with what to do.
#[test]
fn a_bad_configuration_is_one_clear_line() {
    let (files, certs) = (Files::new(), Certs::new());
    let account = Account::new("APP");
    let creds = account.creds(&User::new("mon"));
    let (head, tail) = creds.split_once("-----BEGIN USER NKEY SEED-----").expect("two parts");
    let other = account.creds(&User::new("other"));
    let mixed = format!(
        "{head}-----BEGIN USER NKEY SEED-----{}",
        other.split("SEED-----").nth(1).expect("a seed")
    );
    for (name, text) in [
        ("good.creds", creds.as_str()),
        ("seedless.creds", head),
        ("jwtless.creds", &format!("-----BEGIN USER NKEY SEED-----{tail}")),
        ("broken.creds", &creds.replace("eyJ", "s3cret")),
        ("mixed.creds", &mixed),
        ("empty", ""),
        ("plain.json", "url: nats://mon:s3cret@h"),
        ("list.json", "[]"),
        ("number.json", r#"{ "user": "mon", "password": 53 }"#),
        ("first.json", r#"{ "url": "tls://h", "tls_first": true }"#),
        ("jwt.json", r#"{ "url": "nats://h", "user_jwt": "eyJ0.e30.s3cret" }"#),
        ("nsc.json", r#"{ "nsc": "nsc://O/A/s3cret" }"#),
        ("socks.json", r#"{ "socks_proxy": "socks5://mon:s3cret@h" }"#),
        ("creds.json", r#"{ "creds": "~/nowhere.creds" }"#),
        ("inbox.json", r#"{ "inbox_prefix": "_INBOX.*" }"#),
        ("urls.json", r#"{ "url": "nats://mon:s3c,ret@h" }"#),
        ("half.json", r#"{ "url": "nats://h", "cert": "./client.pem" }"#),
    ] {
        files.write(name, text);
    }
    files.write("account.nk", &KeyPair::new_account().seed().expect("a seed"));
    fs::write(files.0.join("binary"), [0xff; 9]).expect("a file");
    fs::create_dir(files.0.join("folder")).expect("a folder");
    let dir = files.0.path().to_str().expect("a path");
    let (cert, key) = (certs.path("client.pem"), certs.path("client.key"));
    let no_jwt = "there is no user JWT in it (-----BEGIN NATS USER JWT-----)";
    let no_seed = "there is no NKey seed in it (-----BEGIN USER NKEY SEED-----)";
    let missing = "No such file or directory (os error 2)";
    let no_certificate = "there is no certificate in PEM form in it";
    // It may be a password.
    let unnamed =
        |source: &str| format!("{source}: there is no such file, or it cannot be read, give its path, like ./FILE");
    let cases: &[(&[&str], &str)] = &[
        (
            &["--creds", "nowhere.creds"],
            &format!("--creds nowhere.creds: {missing}"),
        ),
        (&["--creds", "./nowhere"], &format!("--creds ./nowhere: {missing}")),
        (&["--creds", "nowhere"], &unnamed("--creds")),
        (&["--creds", "folder"], "--creds folder: Is a directory (os error 21)"),
        (&["--creds", "binary"], "--creds binary: it is not text"),
        (&["--creds", "empty"], &format!("--creds empty: {no_jwt}")),
        (
            &["--creds", "jwtless.creds"],
            &format!("--creds jwtless.creds: {no_jwt}"),
        ),
        (
            &["--creds", "seedless.creds"],
            &format!("--creds seedless.creds: {no_seed}"),
        ),
        (
            &["--creds", "broken.creds"],
            "--creds broken.creds: the user JWT in it is malformed",
        ),
        (
            &["--creds", "mixed.creds"],
            "--creds mixed.creds: the user JWT and the NKey seed in it do not belong together",
        ),
        (&["--nkey", "nowhere"], &unnamed("--nkey")),
        (
            &["--nkey", "empty"],
            "--nkey empty: there is no NKey seed in it (a line that begins with SU)",
        ),
        (
            &["--nkey", "account.nk"],
            "--nkey account.nk: the NKey seed in it is not that of a user: it must begin with SU",
        ),
        (&["--tlsca", "nowhere"], &unnamed("--tlsca")),
        (&["--tlsca", "empty"], &format!("--tlsca empty: {no_certificate}")),
        (&["--tlsca", "binary"], "--tlsca binary: it is not text"),
        (&["--tlsca", &key], &format!("--tlsca {key}: {no_certificate}")),
        (
            &["--tlscert", &cert],
            "--tlscert: a certificate needs its key, give --tlskey (see --help)",
        ),
        (
            &["--tlskey", &key],
            "--tlskey: a key needs its certificate, give --tlscert (see --help)",
        ),
        (
            &["--tlscert", &key, "--tlskey", &key],
            &format!("--tlscert {key}: {no_certificate}"),
        ),
        (
            &["--tlscert", &cert, "--tlskey", &cert],
            &format!("--tlskey {cert}: there is no key in PEM form in it"),
        ),
        (
            &["--context", "./half.json"],
            "the cert of the context: a certificate needs its key, give --tlskey",
        ),
        (
            &["--context", "nowhere"],
            "--context: no context of this name in */.config/nats/context: there are none",
        ),
        (
            &["--context", "folder/x.json"],
            &format!("--context folder/x.json: {missing}"),
        ),
        (
            &["--context", "../nowhere"],
            "--context: it is neither the name of a context nor a file ending in .json (see --help)",
        ),
        (
            &["--context", "plain.json"],
            "--context plain.json: it is not JSON: expected value at line 1 column 1",
        ),
        (
            &["--context", "list.json"],
            "--context list.json: it is not a JSON object",
        ),
        (
            &["--context", "number.json"],
            "--context number.json: it has a password that is not a string",
        ),
        (
            &["--context", "first.json"],
            "--context first.json: it has tls_first, which this client cannot do, connect to a server without handshake_first",
        ),
        (
            &["--context", "jwt.json"],
            "the context jwt.json logs in by user_jwt, which this program cannot, give --creds",
        ),
        (
            &["--context", "nsc.json"],
            "the context nsc.json logs in by nsc, which this program cannot, give --creds",
        ),
        (
            &["--context", "socks.json"],
            "--context socks.json: it has a socks_proxy, which this client cannot use",
        ),
        (
            &["--context", "creds.json"],
            &format!("the creds of the context */nowhere.creds: {missing}"),
        ),
        (
            &["--context", "inbox.json"],
            "the inbox_prefix of the context: '_INBOX.*' is no subject prefix: *",
        ),
        (
            &["--context", "urls.json"],
            "the url of the context: not a list of server URLs, in user info, write %2C for a comma and %40 for an @",
        ),
        (
            &["--inbox-prefix", "a..b"],
            "--inbox-prefix: 'a..b' is no subject prefix: * (see --help)",
        ),
        (
            &["--user", "mon", "--creds", "good.creds"],
            "the argument '--user <USER>' cannot be used with '--creds <FILE>' (see --help)",
        ),
    ];
    let says = |run: Check, line: &str| {
        run.run().assert(3, &format!("NATS_SERVICE UNKNOWN - {line}"));
    };
    let orders = ["-n", "orders", "-vvv"];
    for (flags, line) in cases {
        says(Check::new(orders).args(*flags).cwd(dir), line);
    }
    // A variable is called by its name.
    for (variable, line) in [
        ("NATS_CREDS", unnamed("NATS_CREDS")),
        ("NATS_NKEY", unnamed("NATS_NKEY")),
        ("NATS_CA", unnamed("NATS_CA")),
        (
            "NATS_CERT",
            "NATS_CERT: a certificate needs its key, give --tlskey (see --help)".into(),
        ),
        (
            "NATS_CONTEXT",
            "NATS_CONTEXT: no context of this name in */.config/nats/context: there are none".into(),
        ),
    ] {
        says(Check::new(orders).env(variable, "nowhere").cwd(dir), &line);
    }
    // Those of another user.
    for (flag, file) in [
        ("--creds", "good.creds"),
        ("--nkey", "good.creds"),
        ("--tlsca", "good.creds"),
        ("--context", "x.json"),
    ] {
        let path = files.write(file, "s3cret");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a file of our own");
        let denied = format!("{flag} {path}: Permission denied (os error 13)");
        says(Check::new(orders).args([flag, &path]).uid(65_534), &denied);
    }
}

#[test]
fn a_context_that_is_not_there_names_those_that_are() {
    let home = TempDir::new();
    let contexts = home.join(".config/nats/context");
    fs::create_dir_all(&contexts).unwrap();
    let says = |name: &str, what: &str| {
        let line = format!("NATS_SERVICE UNKNOWN - --context: no context of this name in {contexts}: {what}");
        let check = Check::new(["-n", "orders", "--context", name]).home(&home);
        check.run().assert(3, &line);
    };
    for name in ["production-eu", "staging"] {
        fs::write(format!("{contexts}/{name}.json"), "{}").unwrap();
    }
    says("dev", "there are production-eu, staging");
    says(
        "productoin-eu",
        "there are production-eu, staging, did you mean production-eu?",
    );
    for n in 0..5 {
        fs::write(format!("{contexts}/b|{n}.json"), "{}").unwrap();
    }
    says("a", "there are staging, b?0, b?1, b?2, b?3 and 2 more");
}

/// A password manager writes to a pipe when it has found the password, or never does.
#[test]
#[ignore = "needs nats-server"]
fn timed_a_password_that_never_comes_ends_with_the_deadline() {
    let server = Server::with_config(Version::Newest, "authorization { user: mon, password: s3cret }");
    let (dir, url) = (TempDir::new(), server.url());
    let pipe = dir.join("password");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let flags = ["-n", "orders", "-s", &url, "--user", "mon", "--password-file", &pipe];
    let nothing =
        format!("--password-file {pipe}: nothing more comes out of this pipe, and the time is up (--timeout)");
    let limit = Duration::from_millis(300);
    let short = ["--timeout", "300ms"];
    let check = Check::new(flags).args(short).run();
    check
        .assert(3, &format!("NATS_SERVICE UNKNOWN - {nothing}"))
        .assert_within(limit + SLACK + Duration::from_millis(100));
    let probe = |kind: &str| {
        let check = Check::new(["probe", kind, "--any-instance"]);
        check.args(flags).args(short).run()
    };
    probe("liveness").assert(
        0,
        &format!("liveness pass: orders: cannot ask, which is not this pod's fault: {nothing}"),
    );
    probe("readiness").assert(1, &format!("readiness fail: orders: cannot ask: {nothing}"));

    let late = Check::new(flags)
        .args(["--never-seen", "ok", "--confirm", "50ms"])
        .spawn();
    let mut writer = fs::OpenOptions::new().write(true).open(&pipe).unwrap();
    writer.write_all(b"s3cret\n").unwrap();
    drop(writer);
    late.wait()
        .assert(0, "NATS_SERVICE OK - orders: never seen in this account, *");
}

/// As the nats CLI reads a context today.
#[test]
#[ignore = "needs nats-server"]
fn references_in_a_context_are_followed() {
    let (files, account) = (Files::new(), Account::new("APP"));
    let key = KeyPair::new_user();
    let seed = key.seed().expect("a seed");
    let users = Server::with_config(
        Version::Newest,
        &format!(
            "authorization {{ users: [{{user: svc, password: svc}}, {{user: mon, password: s3cret}}, {{user: open, password: \"\"}},
             {{nkey: {}}}] }}",
            key.public_key()
        ),
    );
    let _users = Service::async_nats(&at(&users, "nats://svc:svc@127.0.0.1:PORT"), "orders").start();
    let tokens = Server::with_config(Version::Newest, "authorization { token: s3cret }");
    let _tokens = Service::nats_py(&at(&tokens, "nats://s3cret@127.0.0.1:PORT"), "orders").start();
    let jwts = Server::with_config(Version::Newest, &Operator::new().config(&[&account]));
    let creds = account.creds(&User::new("mon"));
    let creds_file = files.write("mon.creds", &creds);
    let _jwts = Service::async_nats(&jwts.url(), "orders").creds(&creds_file).start();
    let password_file = files.write("password", "s3cret\r\n");
    let data = |text: &str| format!("data:;base64,{}", BASE64.encode(text.as_bytes()));

    let home = TempDir::new();
    fs::write(home.join("mon.nk"), &seed).expect("a file");
    let run = |server: &Server, context: &serde_json::Value| {
        let path = files.write("x.json", &context.to_string());
        let check = check(&["-s", &server.url(), "--context", &path]).home(&home);
        check
            .env("MON_PW", "s3cret\n")
            .env("MON_SEED", &seed)
            .env("MON_CREDS", &creds)
            .run()
    };
    for (server, context) in [
        (&users, json!({"user": "mon", "password": "env://MON_PW"})),
        (
            &users,
            json!({"user": "mon", "password": format!("file://{password_file}")}),
        ),
        (&users, json!({"user": "mon", "password": data("s3cret")})),
        (&users, json!({"nkey": "env://MON_SEED"})),
        (&users, json!({"nkey": data(&seed)})),
        (&users, json!({"nkey": "file://~/mon.nk"})),
        (&users, json!({"nkey": "~/mon.nk"})),
        (&jwts, json!({"creds": "ENV://MON_CREDS"})),
        (&jwts, json!({"creds": data(&creds)})),
        (&jwts, json!({"creds": format!("file://{creds_file}")})),
        (&tokens, json!({"token": "env://MON_PW"})),
        (&tokens, json!({"token": format!("file://{password_file}")})),
        // User, creds, nkey, token: in this order, whatever else is there.
        (
            &users,
            json!({"user": "mon", "password": "s3cret", "token": "x", "creds": "/nowhere.creds", "nkey": "/nowhere.nk"}),
        ),
        (
            &jwts,
            json!({"creds": creds_file, "nkey": "/nowhere.nk", "token": "x", "nsc": "nsc://O/A/U"}),
        ),
        (&users, json!({"nkey": data(&seed), "token": "x"})),
        // An empty password is one.
        (&users, json!({"user": "open", "password": ""})),
        (&users, json!({"user": "open"})),
    ] {
        assert_let_in(run(server, &context));
    }
    // Refused, it is said to be that of the context.
    let text = "NATS at 127.0.0.1:PORT refused the credentials of the context: the user JWT is current, so *";
    let out = run(&users, &json!({"creds": data(&creds)}));
    assert_refused(out, "auth_rejected", &at(&users, text));

    for (context, line) in [
        (
            json!({"user": "mon", "password": "env://NOTHING"}),
            "the password of the context: the variable NOTHING of its env:// is not set",
        ),
        (
            json!({"user": "mon", "password": "op://vault/item/s3cret"}),
            "the password of the context: it is a reference to 1Password (op://), which this program cannot read, use file:// or env://",
        ),
        (
            json!({"creds": "nsc://O/A/U"}),
            "the creds of the context: it is a reference for nsc (nsc://), which this program does not run, use file:// or env://",
        ),
        (
            json!({"nkey": data("SUs3cret")}),
            "the nkey of the context: the NKey seed in it is malformed",
        ),
        (
            json!({"nkey": "data:;base64,s3cret!"}),
            "the nkey of the context: its data: is malformed: not base64",
        ),
        (
            json!({"nkey": "data:,s3cret"}),
            "the nkey of the context: its data: does not say that it is base64",
        ),
        (
            json!({"ca": data("s3cret")}),
            "the ca of the context: only the name of a file can stand there, as for the nats CLI",
        ),
        (
            json!({"nkey": "file:///nowhere.nk"}),
            "the nkey of the context /nowhere.nk: No such file or directory (os error 2)",
        ),
    ] {
        let out = run(&users, &context);
        out.assert(3, &format!("NATS_SERVICE UNKNOWN - {line}"));
    }
}

/// As an init system starts programs.
#[test]
#[ignore = "needs nats-server"]
fn without_home_contexts_are_in_the_home_folder_of_the_user() {
    if !is_root() {
        return;
    }
    let server = Server::with_config(Version::Newest, "authorization { user: mon, password: s3cret }");
    let _service = Service::async_nats(&at(&server, "nats://mon:s3cret@127.0.0.1:PORT"), "orders").start();
    let home = TempDir::new();
    let contexts = home.join(".config/nats/context");
    fs::create_dir_all(&contexts).expect("a folder");
    let context = json!({"url": server.url(), "user": "mon", "password": "file://~/password"});
    fs::write(format!("{contexts}/mon.json"), context.to_string()).expect("a file");
    fs::write(home.join("password"), "s3cret\n").expect("a file");
    let passwd = home.join("passwd");
    fs::write(
        &passwd,
        format!(
            "other:x:7:7::/nowhere:\nroot:x:0:0:root:{}:/bin/sh\n",
            home.path().display()
        ),
    )
    .expect("a file");
    let script = format!("mount --bind {passwd} /etc/passwd && exec env -u HOME \"$@\"");
    for context in ["mon", "~/.config/nats/context/mon.json"] {
        let out = check(&["--context", context]).under(["unshare", "-m", "sh", "-c", &script, "sh"]);
        assert_let_in(out.run());
    }
}

#[test]
fn the_selected_context_of_the_nats_cli_is_named_where_nothing_else_is_given() {
    let home = TempDir::new();
    fs::create_dir_all(home.join(".config/nats/context")).expect("a folder");
    fs::write(home.join(".config/nats/context.txt"), "prod\n").expect("a file");
    fs::write(
        home.join(".config/nats/context/prod.json"),
        r#"{"url": "nats://127.0.0.1:1"}"#,
    )
    .expect("a file");
    // Whatever listens on the default port, it is no server with this service.
    let run = |flags: &[&str]| {
        Check::new(["-n", "no-such-service", "--no-state", "--confirm", "0", "-v"])
            .args(flags)
            .home(&home)
            .run()
    };
    let hint = "did you mean --context prod, which the nats CLI has selected?";
    let out = run(&[]);
    out.assert_line("no server is given, the nats CLI would use its selected context prod: give --context prod");
    for flags in [
        &["-s", "nats://127.0.0.1:1"][..],
        &["--context", "prod"],
        &["-H", "127.0.0.1", "-p", "1"],
    ] {
        let out = run(flags);
        assert!(
            !out.stdout.contains("has selected") && !out.stdout.contains("would use"),
            "{}",
            out.stdout
        );
    }
    if TcpStream::connect(("127.0.0.1", 4222)).is_err() {
        let out = run(&[]);
        assert!(out.first_line().contains(hint), "{}", out.stdout);
    }
}

/// A Kubernetes Secret made from a file ends with one.
#[test]
#[ignore = "needs nats-server"]
fn the_line_break_at_the_end_of_a_variable_is_left_out() {
    let users = Server::with_config(Version::Newest, "authorization { user: mon, password: s3cret }");
    let _users = Service::async_nats(&at(&users, "nats://mon:s3cret@127.0.0.1:PORT"), "orders").start();
    let tokens = Server::with_config(Version::Newest, "authorization { token: s3cret }");
    let _tokens = Service::nats_py(&at(&tokens, "nats://s3cret@127.0.0.1:PORT"), "orders").start();
    for end in ["\n", "\r\n", ""] {
        for (server, variables) in [
            (&users, &[("NATS_USER", "mon"), ("NATS_PASSWORD", "s3cret")][..]),
            (&tokens, &[("NATS_TOKEN", "s3cret")]),
            (&tokens, &[("NATS_USER", "s3cret")]),
        ] {
            let mut run = check(&[]).env("NATS_URL", server.url() + end);
            for (name, value) in variables {
                run = run.env(name, format!("{value}{end}"));
            }
            let out = assert_let_in(run.run());
            for (name, _) in variables {
                let remark = format!("{name} ends with a line break, which is left out");
                assert_eq!(out.stdout.contains(&remark), !end.is_empty(), "{}", out.stdout);
            }
        }
    }
}
