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
    out.assert_first(3, &format!("NATS_SERVICE UNKNOWN - orders: {text} | {REFUSED}"))
        .assert_line(&format!("UNKNOWN {reason}: {text}"))
        .assert_within(TIMEOUT + AFTER)
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
