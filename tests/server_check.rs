//! The check of NATS itself: it needs no service and keeps no state.

use std::fs;

use crate::support::{Check, Fake, LIMIT, Server, TempDir, Version, each};

const AWAY: &str = "NATS_SERVER CRITICAL - cannot reach NATS at 127.0.0.1:*: connection refused (is nats-server running there?) \
                    | nats_rtt=U probe=*s;;;0;";

#[test]
#[ignore = "needs nats-server"]
fn nats_is_ok_when_it_takes_the_login_and_answers() {
    // No permission is needed: nothing is asked.
    let config = "authorization { user: mon, password: s3cret, permissions: { publish: {deny: [\">\"]} } }";
    let mut server = Server::with_config(Version::Newest, config);
    let home = TempDir::new();
    let check = |flags: &[&str]| {
        let command = ["server", "-s", &server.url(), "--user", "mon"];
        Check::new(command).args(flags).home(&home).run()
    };
    let ok = "NATS_SERVER OK - NATS at 127.0.0.1:* is fine (*) | nats_rtt=*s;;;0; probe=*s;;;0;";
    check(&["--password", "s3cret"]).assert(0, ok);
    check(&["--password", "s3cret", "-v"]).assert(0, &format!("{ok}\nOK nats_reachable\nasked NATS at *, round trip *\n*: the password went over a connection without TLS: *"));
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0, "it keeps no state");

    let refused = "NATS at 127.0.0.1:* refused the user mon or the password * | nats_rtt=U probe=*s;;;0;";
    check(&["--password", "wrong"]).assert(2, &format!("NATS_SERVER CRITICAL - {refused}"));
    let lenient = check(&["--password", "wrong", "--unreachable", "warning"]);
    lenient.assert(1, &format!("NATS_SERVER WARNING - {refused}"));

    let url = server.url();
    server.stop();
    Check::new(["server", "-s", &url]).run().assert(2, AWAY);
}

/// Whoever listens there, and says nothing, or nothing of NATS, is no NATS.
#[test]
#[ignore = "timed: tests/run.sh runs it alone"]
fn timed_peer_that_is_no_nats_server_is_not_ok() {
    let silent = Fake::start(|conn| conn.hold(LIMIT));
    let hung = Fake::start(|conn| {
        conn.handshake()?;
        conn.answer_pings(false);
        conn.hold(LIMIT)
    });
    let http = Fake::start(|conn| conn.send_raw(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
    let cases = [
        (silent, 2, "CRITICAL - *127.0.0.1:*"),
        (hung, 2, "CRITICAL - NATS at 127.0.0.1:* *"),
        (
            http,
            3,
            "UNKNOWN - 127.0.0.1:* is no NATS server: it sent HTTP/1.1 400 Bad Request",
        ),
    ];
    each(cases, |(fake, code, text)| {
        let line = format!("NATS_SERVER {text} | nats_rtt=U probe=*s;;;0;");
        Check::new(["server", "-s", &fake.url(), "-t", "1s"])
            .run()
            .assert(code, &line);
    });
}

#[test]
fn mistakes_are_unknown() {
    for (flags, text) in [
        (["--creds", "/nowhere.creds"], "--creds /nowhere.creds: *"),
        (["--frobnicate", "1"], "unexpected argument '--frobnicate' found*"),
    ] {
        let line = format!("NATS_SERVER UNKNOWN - {text}");
        Check::new(["server", "-s", "nats://127.0.0.1:1"])
            .args(flags)
            .run()
            .assert(3, &line);
    }
}
