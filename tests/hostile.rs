//! Servers and services that break the rules, or do what is rare: none makes the run hang, lie, grow or print what it likes.

use std::fs;
use std::io;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::fake::Request;
use crate::support::server::{free_port, on};
use crate::support::{
    self, Certs, Check, Conn, Fake, LIMIT, Output, SLACK, Server, Service, TempDir, Version, from_env,
};

const A: &[u8] = br#"{"name":"orders","id":"A"}"#;
const B: &[u8] = br#"{"name":"orders","id":"B"}"#;

/// Maximum memory of a run, in KiB, whatever is sent to it.
const MAX_MEMORY_KIB: u64 = 64 * 1024;

/// Script of a server for a connection, and its reply to a request.
type Script = fn(&mut Conn) -> io::Result<()>;
type Reply = fn(&mut Conn, &Request) -> io::Result<()>;

/// A run that does not wait for its deadline, which is at 10 s, ends before this on a busy machine too.
const SOON: Duration = ms(5000);

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The check of the service at this server.
fn check(fake: &Fake) -> Check {
    Check::new(["-s", &fake.url(), "-n", "orders"])
}

/// A server that lets everybody in, where `reply` deals with each request; it is told which one of its connection it is.
fn service(reply: impl Fn(&mut Conn, &Request, usize) -> io::Result<()> + Send + Sync + 'static) -> Fake {
    Fake::start(move |conn| serve(conn, &reply))
}

fn serve(conn: &mut Conn, reply: impl Fn(&mut Conn, &Request, usize) -> io::Result<()>) -> io::Result<()> {
    conn.handshake()?;
    for nth in 1.. {
        let request = conn.read_request()?;
        reply(conn, &request, nth)?;
    }
    Ok(())
}

/// A server that is well at its first connection, and the memory of the run that had it: one instance. Later connections
/// are dealt with by the script.
fn well_then(script: impl Fn(&mut Conn) -> io::Result<()> + Send + Sync + 'static) -> (Fake, TempDir) {
    let first = Mutex::new(true);
    let fake = Fake::start(move |conn| {
        if std::mem::take(&mut *first.lock().unwrap()) {
            return serve(conn, |conn, request, _| conn.reply(request, A));
        }
        script(conn)
    });
    let home = TempDir::new();
    check(&fake)
        .home(&home)
        .run()
        .assert(0, "NATS_SERVICE OK - orders: 1 instance, *");
    (fake, home)
}

/// The same, where later connections differ in their replies only.
fn well_then_service(
    reply: impl Fn(&mut Conn, &Request, usize) -> io::Result<()> + Send + Sync + 'static,
) -> (Fake, TempDir) {
    well_then(move |conn| serve(conn, &reply))
}

/// Asserts that the memory is unchanged: one instance, and no outage.
#[track_caller]
fn assert_no_epoch(fake: &Fake, home: &TempDir) {
    let shown = Check::new(["state", "show", "-s", &fake.url(), "-n", "orders"])
        .home(home)
        .run();
    assert!(
        shown.stdout.contains("\nno outage\n") && shown.stdout.matches("\ncheck ").count() == 1,
        "{}",
        shown.stdout
    );
}

/// Answers the PING that goes behind a request, at once.
fn pong(conn: &mut Conn) -> io::Result<()> {
    while conn.read_line()? != "PING" {}
    conn.send_raw(b"PONG\r\n")
}

/// Runs a few cases at once, since they mostly wait; a panic tells the name of its case.
fn each<T: Send>(cases: impl IntoIterator<Item = (&'static str, T)>, run: impl Fn(T) + Sync) {
    let mut cases = cases.into_iter().peekable();
    while cases.peek().is_some() {
        thread::scope(|scope| {
            for (name, case) in cases.by_ref().take(7) {
                let thread = thread::Builder::new().name(name.to_owned());
                thread.spawn_scoped(scope, || run(case)).unwrap();
            }
        });
    }
}

/// Runs it, and fails if it ever uses more memory than it may.
#[track_caller]
fn within_memory(check: Check) -> Output {
    let (output, peak) = check.spawn().wait_and_weigh();
    assert!((1..MAX_MEMORY_KIB).contains(&peak), "{peak} KiB");
    output
}

/// There is one first line with all perfdata, and nothing in it that Nagios, a terminal or a browser would act on.
#[track_caller]
fn assert_cannot_forge(output: &Output) {
    let text = &output.stdout;
    assert!(
        text.starts_with("NATS_SERVICE ") && !text.contains("\nNATS_SERVICE "),
        "{text}"
    );
    assert_eq!(text.matches('|').count(), 1, "{text}");
    let bad = |c: char| c != '\n' && c != '|' && (c.is_control() || "`~$&'\"<>\\\u{202e}".contains(c));
    assert!(!text.contains(bad), "{text:?}");
}

// --- The traps of the client. ---

#[test]
#[ignore = "timed: tests/run.sh runs it alone"]
fn timed_no_run_waits_before_it_connects() {
    let fake = service(|conn, request, _| conn.no_responders(request));
    let took = |_| {
        let output = check(&fake).args(["--confirm", "0"]).run();
        let output = output.assert(3, "NATS_SERVICE UNKNOWN - orders: never seen in this account, *");
        output.perfdata("probe").expect("how long it took")
    };
    let mut took: Vec<f64> = (0..20).map(took).collect();
    took.sort_by(f64::total_cmp);
    // The client's own wait is half a second at the median.
    assert!(took[10] < 0.25, "{took:?}");
}

#[test]
#[ignore = "needs strace"]
fn no_certificates_are_read_for_a_plain_connection() {
    let fake = service(|conn, request, _| conn.reply(request, A));
    let dir = TempDir::new();
    fs::write(dir.join("certificates"), "").unwrap();
    check(&fake)
        .under([
            "strace",
            "-f",
            "-e",
            "trace=open,openat,stat,statx,newfstatat,readlink",
            "-o",
            &dir.join("trace"),
        ])
        .env("SSL_CERT_FILE", dir.join("certificates"))
        .run()
        .assert(0, "NATS_SERVICE OK - orders: 1 instance, *");
    let trace = fs::read_to_string(dir.join("trace")).unwrap();
    assert!(trace.contains(".lock\""), "the state is in the trace: {trace}");
    for path in ["/certificates", "/etc/ssl", "/usr/share/ca-certificates", "/etc/pki"] {
        assert!(!trace.contains(path), "{path} in {trace}");
    }
    // Nor does it matter what is wrong with them.
    check(&fake)
        .env("SSL_CERT_FILE", "/nowhere")
        .env("SSL_CERT_DIR", "/nowhere")
        .run()
        .assert(0, "NATS_SERVICE OK - orders: 1 instance, *");
}

#[test]
#[ignore = "timed: tests/run.sh runs it alone"]
fn timed_a_server_that_hangs_ends_the_run_at_its_deadline() {
    let accepts = "127.0.0.1:* accepts the connection but sends nothing for *, \
                   is nats-server frozen, does it want TLS first (handshake_first), or is this another service?";
    let login = "NATS at 127.0.0.1:* did not finish the login within *";
    let request = "NATS at 127.0.0.1:* took the request but stopped answering, waited *";
    let cases: [(&str, (Script, &str)); 9] = [
        ("no INFO", (|conn| conn.hold(LIMIT), accepts)),
        (
            "half an INFO",
            (
                |conn| {
                    conn.send_raw(b"INFO {\"server_id\":\"N")?;
                    conn.hold(LIMIT)
                },
                login,
            ),
        ),
        (
            "an INFO, byte by byte, without end",
            (
                |conn| {
                    conn.send_raw(b"INFO {\"server_id\":\"N")?;
                    loop {
                        conn.send_raw(b"N")?;
                        conn.hold(ms(20))?;
                    }
                },
                login,
            ),
        ),
        (
            "no PONG",
            (
                |conn| {
                    conn.answer_pings(false);
                    conn.send_info()?;
                    conn.hold(LIMIT)
                },
                login,
            ),
        ),
        (
            "PING for ever instead of a PONG",
            (
                |conn| {
                    conn.answer_pings(false);
                    conn.send_info()?;
                    loop {
                        conn.send_raw(b"PING\r\n")?;
                        conn.hold(ms(20))?;
                    }
                },
                login,
            ),
        ),
        (
            "no second PONG",
            (
                |conn| {
                    conn.handshake()?;
                    conn.answer_pings(false);
                    conn.hold(LIMIT)
                },
                login,
            ),
        ),
        (
            "no PONG to the request",
            (
                |conn| {
                    conn.handshake()?;
                    conn.read_request()?;
                    conn.answer_pings(false);
                    conn.hold(LIMIT)
                },
                request,
            ),
        ),
        (
            "half a reply",
            (
                |conn| {
                    conn.handshake()?;
                    let request = conn.read_request()?;
                    conn.send_raw(format!("MSG {} {} 26\r\n{{\"name\"", request.reply, request.sid).as_bytes())?;
                    conn.hold(LIMIT)
                },
                request,
            ),
        ),
        (
            "no PONG to the second request",
            (
                |conn| {
                    conn.handshake()?;
                    conn.read_request()?;
                    conn.read_request()?;
                    conn.answer_pings(false);
                    conn.hold(LIMIT)
                },
                request,
            ),
        ),
    ];
    each(cases, |(script, text)| {
        let (fake, home) = well_then(script);
        check(&fake)
            .args(["-t", "1", "--confirm", "60ms", "--stall", "100ms"])
            .home(&home)
            .run()
            .assert(3, &format!("NATS_SERVICE UNKNOWN - orders: {text} | instances=U *"))
            .assert_within(ms(1100) + SLACK);
        assert_no_epoch(&fake, &home);
    });
}

#[test]
fn a_connection_that_breaks_at_the_login_is_no_outage() {
    let cases: [(&str, Script); 4] = [
        ("before the INFO", |conn| conn.close()),
        ("within the INFO", |conn| {
            conn.send_raw(b"INFO {\"server_id\":\"N")?;
            conn.close()
        }),
        ("before the PONG", |conn| {
            conn.send_info()?;
            conn.close()
        }),
        ("between the PONGs", |conn| {
            conn.handshake()?;
            conn.close()
        }),
    ];
    each(cases, |script| {
        let (fake, home) = well_then(script);
        check(&fake)
            .home(&home)
            .run()
            .assert(
                3,
                "NATS_SERVICE UNKNOWN - orders: cannot reach NATS at 127.0.0.1:*: it closed the connection during the \
                 login (is it stopping, or at its connection limit?) | instances=U *",
            )
            .assert_within(SOON);
        assert_no_epoch(&fake, &home);
    });
}

/// Events on a connection after the request.
const LOSSES: [(&str, Reply); 5] = [
    ("the end", |conn, _| conn.close()),
    ("a reset", |_, _| Ok(())),
    ("the end behind the PONG", |conn, _| {
        pong(conn)?;
        conn.close()
    }),
    ("half a reply, and the end", |conn, request| {
        conn.send_raw(format!("MSG {} {} 26\r\n{{\"name\"", request.reply, request.sid).as_bytes())?;
        conn.close()
    }),
    ("half a line, and the end", |conn, request| {
        conn.send_raw(format!("MSG {}", request.reply).as_bytes())?;
        conn.close()
    }),
];

#[test]
fn a_connection_that_breaks_behind_the_request_is_no_outage() {
    each(LOSSES, |lose| {
        let (fake, home) = well_then(move |conn| {
            conn.handshake()?;
            let request = conn.read_request()?;
            lose(conn, &request)
        });
        check(&fake)
            .home(&home)
            .run()
            .assert(
                3,
                "NATS_SERVICE UNKNOWN - orders: the connection to NATS at 127.0.0.1:* broke twice while asking, \
                 NATS restarts again and again, or a reply breaks the protocol | instances=U *",
            )
            .assert_within(SOON);
        assert_eq!(
            fake.connections(),
            3,
            "one more try, and no reconnect of the client's own"
        );
        assert_no_epoch(&fake, &home);
    });
}

#[test]
fn a_connection_that_breaks_once_is_asked_anew() {
    each(LOSSES, |lose| {
        let lost = Mutex::new(false);
        let (fake, home) = well_then(move |conn| {
            conn.handshake()?;
            let request = conn.read_request()?;
            if !std::mem::replace(&mut *lost.lock().unwrap(), true) {
                return lose(conn, &request);
            }
            conn.reply(&request, A)?;
            conn.hold(LIMIT)
        });
        let output = check(&fake).home(&home).run();
        output.assert(
            0,
            "NATS_SERVICE OK - orders: 1 instance, slowest answer * | instances=1;*",
        );
    });
}

/// A server that closes its second connection at this request. `well` deals with the requests of the first one, and `later` with all
/// others.
fn breaks_at(nth: usize, well: Reply, later: Reply) -> Fake {
    let connection = Mutex::new(0);
    service(move |conn, request, number| {
        let mut connection = connection.lock().unwrap();
        *connection += usize::from(number == 1);
        match *connection {
            1 => well(conn, request),
            2 if number == nth => conn.close(),
            _ => later(conn, request),
        }
    })
}

fn one_instance(conn: &mut Conn, request: &Request) -> io::Result<()> {
    conn.reply(request, A)
}

fn two_instances(conn: &mut Conn, request: &Request) -> io::Result<()> {
    conn.reply(request, A)?;
    conn.reply(request, B)
}

/// Replies of a server where no instance is.
const NOBODY: [(&str, Reply); 2] = [
    ("no responders", |conn, request| conn.no_responders(request)),
    ("silence", |_, _| Ok(())),
];

/// Runs the check twice, the second time over two connections.
fn check_twice<'a>(fake: &Fake, home: &TempDir, args: impl IntoIterator<Item = &'a str>) -> [Output; 2] {
    let args: Vec<_> = args.into_iter().collect();
    let outputs = [(); 2].map(|()| check(fake).args(&args).home(home).run());
    assert_eq!(fake.connections(), 3);
    outputs
}

#[test]
fn a_connection_that_breaks_late_leaves_no_time_to_say_down() {
    each(NOBODY, |later| {
        // At 1.2 s, when 2.8 s are left; an answer that counts would take 3 s.
        let (fake, home) = (breaks_at(4, one_instance, later), TempDir::new());
        let [first, second] = check_twice(&fake, &home, ["--timeout", "4s"]);
        first.assert(0, "NATS_SERVICE OK - orders: 1 instance, *");
        second.assert(
            3,
            "NATS_SERVICE UNKNOWN - orders: the connection to NATS at 127.0.0.1:* broke while asking, and --timeout left too \
             little time after that: services may be connecting again, too | instances=U *",
        );
        assert_no_epoch(&fake, &home);
    });
}

#[test]
fn a_connection_that_breaks_late_leaves_no_time_to_say_fewer() {
    let critical = "NATS_SERVICE CRITICAL - orders: 1 instance, fewer than 2 (range 2:), *";
    let unknown =
        "NATS_SERVICE UNKNOWN - orders: the connection to NATS at 127.0.0.1:* broke while asking, and --timeout left *";
    // The first retry has 31 requests, in case that the instance shares a queue group. The last one here is that at 1.2 s.
    let cases = [("early", (2, "10s", 2, critical)), ("late", (34, "4s", 3, unknown))];
    each(cases, |(nth, timeout, code, text)| {
        let (fake, home) = (breaks_at(nth, two_instances, one_instance), TempDir::new());
        let [first, second] = check_twice(&fake, &home, ["-c", "2:", "--timeout", timeout]);
        first.assert(0, "NATS_SERVICE OK - orders: 2 instances, *");
        second.assert(code, text);
    });
}

#[test]
fn a_connection_that_breaks_early_hides_no_outage() {
    each(NOBODY, |later| {
        let (fake, home) = (breaks_at(2, one_instance, later), TempDir::new());
        let [first, second] = check_twice(&fake, &home, []);
        first.assert(0, "NATS_SERVICE OK - orders: 1 instance, *");
        second.assert(
            2,
            "NATS_SERVICE CRITICAL - orders: *, 1 instance until * | instances=0;*",
        );
    });
}

/// A server that refuses every login.
fn refusing() -> Fake {
    Fake::start(|conn| {
        conn.send_info()?;
        conn.read_line()?;
        conn.send_raw(b"-ERR 'Authorization Violation'\r\n")?;
        conn.close()
    })
}

/// An address where nobody listens.
fn closed() -> String {
    format!("nats://127.0.0.1:{}", free_port())
}

#[test]
fn the_most_important_error_leads_whatever_the_order_of_the_servers() {
    let (refusing, closed) = (refusing(), closed());
    for turn in 0..20 {
        let mut list = [refusing.url(), closed.clone()];
        list.rotate_left(turn % 2);
        Check::new(["-n", "orders", "-s", &list.join(",")]).run().assert(
            3,
            &format!(
                "NATS_SERVICE UNKNOWN - orders: NATS at {} wants credentials (Authorization Violation): give --creds, --user, --token or --nkey, cannot reach NATS at {}: connection refused \
                 (is nats-server running there?) | instances=U *",
                refusing.url().trim_start_matches("nats://"),
                closed.trim_start_matches("nats://"),
            ),
        );
    }
    let good = service(|conn, request, _| conn.reply(request, A));
    Check::new(["-n", "orders", "-s", &[closed, refusing.url(), good.url()].join(",")])
        .run()
        .assert(0, "NATS_SERVICE OK - orders: 1 instance, *");
}

#[test]
fn user_info_is_decoded_and_sent_to_its_own_server_only() {
    /// The fields of a CONNECT that log in.
    fn login(connect: &Value) -> Value {
        json!([connect["user"], connect["pass"], connect["auth_token"]])
    }
    let server = || {
        let (sender, logins) = std::sync::mpsc::channel();
        let sender = Mutex::new(sender);
        let fake = Fake::start(move |conn| {
            let connect = conn.handshake()?;
            sender.lock().unwrap().send(connect).unwrap();
            Err(io::ErrorKind::Other.into())
        });
        (fake, logins)
    };
    let ((first, first_logins), (second, second_logins)) = (server(), server());
    let host = |fake: &Fake| fake.url().trim_start_matches("nats://").to_owned();
    let cases = [
        (
            ["us%40er:p%40ss%3A%2F%25", "t%2Fk"],
            [json!(["us@er", "p@ss:/%", null]), json!([null, null, "t/k"])],
        ),
        (
            ["%C3%BC:%F0%9F%94%91", "x:y"],
            [json!(["ü", "🔑", null]), json!(["x", "y", null])],
        ),
    ];
    for (users, logins) in cases {
        let list = format!(
            "nats://{}@{},nats://{}@{}",
            users[0],
            host(&first),
            users[1],
            host(&second)
        );
        let output = Check::new(["-n", "orders", "-s", &list]).run();
        assert_eq!(login(&first_logins.recv_timeout(LIMIT).unwrap()), logins[0]);
        assert_eq!(login(&second_logins.recv_timeout(LIMIT).unwrap()), logins[1]);
        output.assert(3, "NATS_SERVICE UNKNOWN - orders: *");
    }
}

/// The addresses of the other servers: 6 kB of them.
fn many_urls() -> Vec<String> {
    (0..300)
        .map(|n| format!("10.20.{}.{}:4222", n / 100, n % 100))
        .collect()
}

#[test]
fn an_info_with_the_addresses_of_many_servers_is_read() {
    let urls = many_urls();
    let (fake, home) = well_then(move |conn| {
        conn.handshake_with(json!({ "connect_urls": urls, "ws_connect_urls": urls }))?;
        let request = conn.read_request()?;
        conn.reply(&request, A)?;
        conn.hold(LIMIT)
    });
    check(&fake)
        .args(["-vvv"])
        .home(&home)
        .run()
        .assert_first(0, "NATS_SERVICE OK - orders: 1 instance, *");
}

#[test]
fn an_info_that_the_client_cannot_read_is_named() {
    let (fake, home) = well_then(move |conn| {
        conn.handshake_with(json!({ "server_name": "n".repeat(5000) }))?;
        conn.hold(LIMIT)
    });
    check(&fake).home(&home).run().assert(
        3,
        "NATS_SERVICE UNKNOWN - orders: 127.0.0.1:* sent a line of more than 4096 bytes, more than this client reads, \
         if that is its INFO, set no_advertise or fewer connect_urls | instances=U *",
    );
    assert_no_epoch(&fake, &home);
}

/// There the client cannot be helped: the certificate is for the name of the server.
#[test]
fn over_tls_an_info_with_the_addresses_of_many_servers_is_named() {
    let fake = Fake::start(move |conn| {
        conn.send_info_with(json!({ "connect_urls": many_urls(), "tls_required": true }))?;
        conn.hold(LIMIT)
    });
    check(&fake).run().assert(
        3,
        "NATS_SERVICE UNKNOWN - orders: 127.0.0.1:* sent a line of more than 4096 bytes, more than this client reads, \
         if that is its INFO, set no_advertise or fewer connect_urls | instances=U *",
    );
}

#[test]
fn a_panic_of_the_client_ends_in_unknown() {
    // A line that is longer than the client's buffer, and has no end yet: the client runs over the end of its buffer.
    let cases: [(&str, Script); 2] = [
        ("at the login", |conn| {
            conn.answer_pings(false);
            conn.send_info()?;
            conn.send_raw(&[b'x'; 5000])?;
            conn.hold(LIMIT)
        }),
        ("at the request", |conn| {
            conn.handshake()?;
            conn.read_request()?;
            conn.answer_pings(false);
            conn.send_raw(&[b'x'; 5000])?;
            conn.hold(LIMIT)
        }),
    ];
    each(cases, |script| {
        let (fake, home) = well_then(script);
        check(&fake)
            .home(&home)
            .run()
            .assert(3, "NATS_SERVICE UNKNOWN - orders: internal error at * | instances=U *")
            .assert_within(SOON);
        assert_no_epoch(&fake, &home);
    });
}

/// The release build has no tables for unwinding.
#[test]
#[ignore = "needs the release build"]
fn a_panic_of_the_client_is_reported_by_the_release_build_too() {
    let fake = Fake::start(|conn| {
        conn.answer_pings(false);
        conn.send_info()?;
        conn.send_raw(&[b'x'; 5000])?;
        conn.hold(LIMIT)
    });
    let program = from_env("CHECK_NATS_SERVICE_RELEASE");
    Check::program(&program, ["-s", &fake.url(), "-n", "orders", "--no-state"])
        .run()
        .assert(3, "NATS_SERVICE UNKNOWN - orders: internal error at * | instances=U *");
}

#[test]
#[ignore = "timed: tests/run.sh runs it alone"]
fn timed_memory_is_bounded_whatever_is_sent() {
    let cases: [(&str, (Reply, &str)); 5] = [
        (
            "a reply of 100 MB",
            (
                |conn, request| {
                    conn.send_raw(format!("MSG {} {} 100000000\r\n", request.reply, request.sid).as_bytes())?;
                    for _ in 0..100 {
                        conn.send_raw(&[b'x'; 1_000_000])?;
                    }
                    conn.hold(LIMIT)
                },
                "the server sent more than the memory limit allows: 100000000 bytes at once",
            ),
        ),
        (
            "a reply of 4 GiB",
            (
                |conn, request| {
                    conn.send_raw(format!("MSG {} {} 4294967295\r\n", request.reply, request.sid).as_bytes())?;
                    conn.hold(LIMIT)
                },
                "the server sent more than the memory limit allows: 4294967295 bytes at once",
            ),
        ),
        (
            "a header of 4 GiB",
            (
                |conn, request| {
                    let sizes = "4294967295 4294967295";
                    conn.send_raw(format!("HMSG {} {} {sizes}\r\n", request.reply, request.sid).as_bytes())?;
                    conn.hold(LIMIT)
                },
                "the server sent more than the memory limit allows: 4294967295 bytes at once",
            ),
        ),
        (
            "replies without end",
            (
                |conn, request| {
                    let message = format!("MSG {} {} 26\r\n{}\r\n", request.reply, request.sid, "x".repeat(26));
                    let many = message.repeat(1000);
                    loop {
                        conn.send_raw(many.as_bytes())?;
                    }
                },
                "*",
            ),
        ),
        (
            "large replies without end",
            (
                |conn, request| {
                    let payload = vec![b'x'; 1 << 20];
                    loop {
                        conn.reply(request, &payload)?;
                    }
                },
                "*",
            ),
        ),
    ];
    each(cases, |(script, text)| {
        let (fake, home) = well_then_service(move |conn, request, _| script(conn, request));
        within_memory(check(&fake).args(["-t", "2"]).home(&home))
            .assert(3, &format!("NATS_SERVICE UNKNOWN - orders: {text} | instances=U *"))
            .assert_within(ms(2100) + SLACK);
        assert_no_epoch(&fake, &home);
    });
    // Before the login there is nobody to tell who it is.
    let fake = Fake::start(|conn| {
        conn.send_raw(b"INFO {\"server_id\":\"")?;
        loop {
            conn.send_raw(&[b'N'; 100_000])?;
        }
    });
    within_memory(check(&fake).args(["-t", "1"]))
        .assert(
            3,
            "NATS_SERVICE UNKNOWN - orders: NATS at 127.0.0.1:* did not finish the login within * | *",
        )
        .assert_within(ms(1100) + SLACK);
}

#[test]
#[ignore = "needs nats-server"]
fn a_reply_as_large_as_the_server_allows_is_an_answer() {
    for (pad, version) in [(66_000, Version::V2_9), (1_000_000, Version::Newest)] {
        let server = Server::start(version);
        let _big = Service::odd(&server.url(), "orders", 8, &[&format!("pad={pad}"), "meta=pod:orders"]).start();
        let home = TempDir::new();
        let check = || Check::new(["-s", &server.url(), "-n", "orders", "-c", "8:"]).home(&home);
        for _ in 0..2 {
            within_memory(check()).assert(0, "NATS_SERVICE OK - orders: 8 instances, *");
        }
        Check::new([
            "probe",
            "readiness",
            "-s",
            &server.url(),
            "-n",
            "orders",
            "--match",
            "pod=orders-5",
            "-t",
            "30s",
            // Each of these takes long to read, and the one that is wanted may come last.
            "--stall",
            "10s",
        ])
        .home(&home)
        .run()
        .assert(0, "readiness pass: orders: * (1.0.0, pod=orders-5) answered in *");
    }
}

#[test]
fn a_reply_with_headers_that_the_client_cannot_read_counts() {
    let cases: [(&str, Reply); 4] = [
        ("a header that is none", |conn, request| {
            conn.reply_with_headers(request, "HTTP/1.1 200 OK\r\n\r\n", A)
        }),
        ("a header without a colon", |conn, request| {
            conn.reply_with_headers(request, "NATS/1.0\r\nnonsense\r\n\r\n", A)
        }),
        ("a header that is not UTF-8", |conn, request| {
            conn.send_raw(format!("HMSG {} {} 20 46\r\nNATS/1.0\r\n", request.reply, request.sid).as_bytes())?;
            conn.send_raw(&[b"A: \xff\xff\xff\r\n\r\n", A, b"\r\n"].concat())
        }),
        ("a reply subject of 4 kB", |conn, request| {
            let line = format!("MSG {} {} {} 26\r\n", request.reply, request.sid, "r".repeat(4060));
            conn.send_raw(&[line.as_bytes(), A, b"\r\n"].concat())
        }),
    ];
    each(cases, |script| {
        let (fake, home) = well_then_service(move |conn, request, _| script(conn, request));
        check(&fake)
            .home(&home)
            .run()
            .assert(0, "NATS_SERVICE OK - orders: 1 instance, *");
        // Nobody is known.
        check(&fake)
            .args(["--no-state"])
            .run()
            .assert(0, "NATS_SERVICE OK - orders: 1 instance, *");
    });
}

#[test]
fn a_reply_that_breaks_each_connection_is_no_outage() {
    let (fake, home) = well_then_service(|conn, request, _| {
        conn.send_raw(format!("MSG {} {} -1\r\n", request.reply, request.sid).as_bytes())
    });
    check(&fake).home(&home).run().assert(
        3,
        "NATS_SERVICE UNKNOWN - orders: the connection to NATS at 127.0.0.1:* broke twice while asking, \
         NATS restarts again and again, or a reply breaks the protocol | instances=U *",
    );
    assert_no_epoch(&fake, &home);
}

/// One of four instances has a header that is not UTF-8 in each of its replies.
#[test]
#[ignore = "needs nats-server"]
fn an_instance_with_unreadable_headers_hides_no_other() {
    const HEADER: &str = "header=X-Customer: M\\xfcller";
    on(&Version::ALL, |version| {
        let certs = Certs::new();
        let plain = Server::start(version);
        let tls = Server::with_config(version, &certs.config("server", ""));
        let tls_url = format!("tls://127.0.0.1:{}", tls.port());
        let ca = certs.path("ca.pem");
        let servers = [(plain.url(), vec![], false), (tls_url, vec!["--tlsca", &ca], true)];
        support::each(servers, |(server_url, flags, is_tls)| {
            let three = Service::nats_py(&server_url, "orders").count(3);
            let odd = Service::odd(&server_url, "orders", 1, &[HEADER, "ping_header=1"]);
            let (_three, odd) = match is_tls {
                true => (three.tlsca(&ca).start(), odd.option("tlsca", &ca).start()),
                false => (three.start(), odd.start()),
            };
            let home = TempDir::new();
            let check = || {
                Check::new(["-s", &server_url, "-n", "orders", "-v"])
                    .args(&flags)
                    .home(&home)
            };
            // At first nobody is known.
            for _ in 0..2 {
                let out = check().args(["-w", "4:", "-c", "4:"]).run();
                let out = out.assert_first(0, "NATS_SERVICE OK - orders: 4 instances, *");
                match is_tls {
                    false => out.assert_line(&format!(
                        "headers that are not UTF-8, or malformed, in replies of: {}",
                        odd.id()
                    )),
                    true => out.assert_line(
                        "an instance replies with headers that are not UTF-8, or malformed: asked again without headers",
                    ),
                };
            }
            let probe = |id: &str| {
                let words = ["probe", "liveness", "-s", &server_url, "-n", "orders", "--id", id];
                Check::new(words).args(&flags).home(&home).run()
            };
            probe(odd.id()).assert(0, "liveness pass: orders: *");
            // Down is down.
            odd.kill();
            check()
                .args(["-c", "4:"])
                .run()
                .assert_first(2, "NATS_SERVICE CRITICAL - orders: 3 instances*");
            drop(_three);
            let down = check().args(["--confirm", "500ms"]).run();
            down.assert_first(2, "NATS_SERVICE CRITICAL - orders: down, *");
        });
    });
}

#[test]
fn a_503_beside_answers_does_not_count() {
    // An answer, and then the 503.
    let fake = service(|conn, request, nth| {
        if nth == 1 {
            conn.reply(request, A)?;
        }
        conn.no_responders(request)
    });
    let ok = "NATS_SERVICE OK - orders: 1 instance, slowest answer * | instances=1;*";
    check(&fake).run().assert(0, ok);
    check(&fake).args(["--confirm", "0"]).run().assert(0, ok);

    // First the 503, then an answer to the same asking.
    let (fake, home) = well_then_service(|conn, request, nth| {
        conn.no_responders(request)?;
        pong(conn)?;
        match nth {
            1 => conn.reply(request, A),
            _ => Ok(()),
        }
    });
    check(&fake).home(&home).run().assert(0, ok);

    // An answer at the last asking only.
    let (fake, home) = well_then_service(|conn, request, nth| match nth {
        1..=3 => conn.no_responders(request),
        _ => conn.reply(request, A),
    });
    check(&fake).home(&home).run().assert(0, ok);
    let rounds = fake.received().iter().filter(|line| line.starts_with("PUB ")).count();
    assert_eq!(rounds, 1 + 4, "of the first run, and of this one");
}

#[test]
fn a_forged_503_in_every_retry_is_reported_as_the_reply_of_the_server() {
    let (fake, home) = well_then_service(|conn, request, _| conn.no_responders(request));
    check(&fake)
        .home(&home)
        .run()
        .assert(
            2,
            "NATS_SERVICE CRITICAL - orders: down, no responders, 1 instance until * ago, NATS 2.10.25 fake at * is fine (*), last seen: * | *",
        )
        .assert_within(SOON);
}

#[test]
fn a_name_that_would_break_the_protocol_never_reaches_the_wire() {
    let fake = service(|conn, request, _| conn.reply(request, A));
    let bad = [
        "",
        " ",
        "a b",
        "a.b",
        "*",
        ">",
        "$SRV",
        "é",
        "x 0\r\n\r\nPUB victim 5\r\nhello",
    ];
    for name in bad {
        Check::new(["-s", &fake.url(), "-n", name])
            .run()
            .assert(3, "NATS_SERVICE UNKNOWN - --name: *");
        Check::new([
            "-s",
            &fake.url(),
            "-n",
            "orders",
            "--srv-prefix",
            &format!("{name}\r\n.*"),
        ])
        .run()
        .assert(3, "NATS_SERVICE UNKNOWN - --srv-prefix: *");
    }
    assert_eq!((fake.connections(), fake.received()), (0, vec![]));
}

#[test]
fn bytes_on_the_wire_are_exactly_these() {
    let fake = service(|conn, request, _| conn.reply(request, A));
    // Without asking again: on a machine that is busy enough, no answer comes in time.
    let out = check(&fake).args(["-vvv", "--confirm", "0"]).run();
    let out = out.assert_first_line(0, "NATS_SERVICE OK - orders: 1 instance, *");
    let (lines, steps) = (fake.received(), out.stdout);
    let words: Vec<Vec<&str>> = lines.iter().map(|line| line.split(' ').collect()).collect();
    let [connect, ping, again, sub, publish, behind] = &words[..] else {
        panic!("{lines:?}\n{steps}");
    };
    assert!(
        connect[0] == "CONNECT" && [ping, again, behind].iter().all(|line| **line == ["PING"]),
        "{lines:?}"
    );
    // One inbox for all answers, a subject below it for each asking.
    let inbox = sub[1].strip_suffix(".*").expect("an inbox with a wildcard");
    let reply = format!("{inbox}.0");
    assert_eq!(
        (sub.as_slice(), publish.as_slice()),
        (&["SUB", sub[1], "1"][..], &["PUB", "$SRV.PING.orders", &reply, "0"][..])
    );
    assert!(
        inbox.strip_prefix("_INBOX.").is_some_and(|token| token.len() == 22),
        "{inbox}"
    );
}

// --- What is rare, and allowed. ---

#[test]
fn an_unusual_answer_is_an_answer() {
    let cases: [(&str, Reply); 14] = [
        ("the PONG before the answer", |conn, request| {
            pong(conn)?;
            conn.reply(request, A)
        }),
        ("an INFO before the answer", |conn, request| {
            conn.send_info_with(json!({"version": "2.12.0", "connect_info": true}))?;
            conn.reply(request, A)
        }),
        ("an INFO behind the answer", |conn, request| {
            conn.reply(request, A)?;
            conn.send_info_with(json!({"version": "2.12.0", "connect_info": true}))
        }),
        ("a PING before the answer", |conn, request| {
            conn.send_raw(b"PING\r\n")?;
            conn.reply(request, A)
        }),
        ("verbs and white space of all kinds", |conn, request| {
            conn.send_raw(b"+OK\r\npong\r\nping\r\n")?;
            conn.send_raw(format!("msg \t{}  {} \t 26\r\n", request.reply, request.sid).as_bytes())?;
            conn.send_raw(&[A, b"\r\n"].concat())
        }),
        ("two spaces, as 2.9 writes them", |conn, request| {
            conn.send_raw(format!("MSG {}  {}  26\r\n", request.reply, request.sid).as_bytes())?;
            conn.send_raw(&[A, b"\r\n"].concat())
        }),
        ("a reply subject", |conn, request| {
            conn.send_raw(format!("MSG {} {} reply.to 26\r\n", request.reply, request.sid).as_bytes())?;
            conn.send_raw(&[A, b"\r\n"].concat())
        }),
        ("headers, as through an account import", |conn, request| {
            let headers = "NATS/1.0\r\nNats-Request-Info: {\"acc\":\"MON\",\"rtt\":1}\r\n\r\n";
            conn.reply_with_headers(request, headers, A)
        }),
        ("the header of a service error with the code 503", |conn, request| {
            let headers = "NATS/1.0\r\nNats-Service-Error: x\r\nNats-Service-Error-Code: 503\r\n\r\n";
            conn.reply_with_headers(request, headers, A)
        }),
        ("single bytes", |conn, request| {
            let message = format!(
                "MSG {} {} 26\r\n{}\r\n",
                request.reply,
                request.sid,
                String::from_utf8_lossy(A)
            );
            for byte in message.bytes() {
                conn.send_raw(&[byte])?;
            }
            Ok(())
        }),
        ("a pause within the answer", |conn, request| {
            pong(conn)?;
            conn.send_raw(format!("MSG {} {} 26\r\n{{\"name\"", request.reply, request.sid).as_bytes())?;
            // The passing of time is what is tested: the second half comes later.
            thread::sleep(ms(30));
            conn.send_raw(&[&A[7..], b"\r\n"].concat())
        }),
        ("the same answer three times", |conn, request| {
            conn.reply(request, A)?;
            conn.reply(request, A)?;
            conn.reply(request, A)
        }),
        ("messages to subscriptions that nobody has", |conn, request| {
            conn.send_raw(format!("MSG {} 99 26\r\n{}\r\n", request.reply, String::from_utf8_lossy(B)).as_bytes())?;
            conn.reply(request, A)
        }),
        ("lame duck mode", |conn, request| {
            conn.send_info_with(json!({"ldm": true}))?;
            conn.reply(request, A)
        }),
    ];
    each(cases, |reply| {
        let fake = service(move |conn, request, _| reply(conn, request));
        let home = TempDir::new();
        // As a stranger, and then as one who is known.
        for _ in 0..2 {
            let output = check(&fake).arg("-v").home(&home).run().assert_within(SOON);
            let output = output.assert_first_line(
                0,
                "NATS_SERVICE OK - orders: 1 instance, slowest answer * | instances=1;*",
            );
            let end = &output.stdout[output.stdout.find("\nanswered in ").expect("an answer")..];
            assert!(
                end.ends_with("ms: A\n") && end.matches('\n').count() == 2,
                "{}",
                output.stdout
            );
        }
    });
}

#[test]
fn an_info_before_the_pong_costs_one_more_try() {
    let early = |conn: &mut Conn| {
        conn.send_info()?;
        conn.send_info()
    };
    let turn = Mutex::new(0);
    let (fake, home) = well_then(move |conn| {
        let turn = {
            let mut turn = turn.lock().unwrap();
            *turn += 1;
            *turn
        };
        if turn == 1 {
            early(conn)?;
            return conn.hold(LIMIT);
        }
        serve(conn, |conn, request, _| conn.reply(request, A))
    });
    check(&fake)
        .home(&home)
        .run()
        .assert(0, "NATS_SERVICE OK - orders: 1 instance, *");

    // A server that always does it cannot be asked; it is no outage.
    let (fake, home) = well_then(move |conn| {
        early(conn)?;
        conn.hold(LIMIT)
    });
    check(&fake)
        .home(&home)
        .run()
        .assert(
            3,
            "NATS_SERVICE UNKNOWN - orders: 127.0.0.1:* does not speak the NATS protocol: * | instances=U *",
        )
        .assert_within(SOON);
    assert_no_epoch(&fake, &home);
}

#[test]
fn a_reply_to_an_earlier_request_counts() {
    let first = Mutex::new(None);
    let fake = service(move |conn, request, nth| {
        let mut first = first.lock().unwrap();
        match nth {
            1 => {
                *first = Some(request.clone());
                Ok(())
            }
            _ => conn.reply(first.as_ref().unwrap(), A),
        }
    });
    check(&fake).arg("-v").run().assert(
        0,
        "NATS_SERVICE OK - orders: 1 instance, *\nOK *\nasked NATS *\nanswered in *: A",
    );
}

#[test]
fn a_late_503_does_not_count_for_a_later_request() {
    let first = Mutex::new(None);
    let (fake, home) = well_then_service(move |conn, request, nth| {
        let mut first = first.lock().unwrap();
        match nth {
            1 => {
                *first = Some(request.clone());
                Ok(())
            }
            _ => conn.no_responders(first.as_ref().unwrap()),
        }
    });
    check(&fake)
        .args(["-t", "4", "--confirm", "60ms", "--stall", "100ms"])
        .home(&home)
        .run()
        .assert(2, "NATS_SERVICE CRITICAL - orders: silent, no answer within *, 1 instance until * ago, NATS * is fine (*), last seen: * | *");
}

// --- What the server says. ---

#[test]
fn an_error_at_any_moment_is_no_outage() {
    type Error = fn(&mut Conn, &str) -> io::Result<()>;
    let moments: [(&str, Error); 7] = [
        ("instead of an INFO", |conn, error| {
            conn.send_raw(error.as_bytes())?;
            conn.close()
        }),
        ("behind the CONNECT", |conn, error| {
            conn.send_info()?;
            conn.read_line()?;
            conn.send_raw(error.as_bytes())?;
            conn.close()
        }),
        ("behind the login", |conn, error| {
            conn.handshake()?;
            while conn.read_line()? != "PING" {}
            conn.send_raw(format!("PONG\r\n{error}").as_bytes())?;
            conn.hold(LIMIT)
        }),
        ("behind the request", |conn, error| {
            conn.handshake()?;
            conn.read_request()?;
            conn.send_raw(error.as_bytes())?;
            conn.hold(LIMIT)
        }),
        ("behind the 503", |conn, error| {
            conn.handshake()?;
            let request = conn.read_request()?;
            conn.no_responders(&request)?;
            conn.send_raw(error.as_bytes())?;
            conn.hold(LIMIT)
        }),
        ("while it is waited for an answer", |conn, error| {
            conn.handshake()?;
            conn.read_request()?;
            pong(conn)?;
            conn.hold(ms(30))?;
            conn.send_raw(error.as_bytes())?;
            conn.hold(LIMIT)
        }),
        ("at the last asking", |conn, error| {
            conn.handshake()?;
            for _ in 0..3 {
                let request = conn.read_request()?;
                conn.no_responders(&request)?;
            }
            conn.read_request()?;
            conn.send_raw(error.as_bytes())?;
            conn.hold(LIMIT)
        }),
    ];
    let errors = [
        (
            "-ERR 'Unknown Protocol Operation'\r\n",
            "NATS at 127.0.0.1:* said: Unknown Protocol Operation",
        ),
        ("-ERR\r\n", "NATS at 127.0.0.1:* said: "),
        (
            "-ERR 'User Authentication Expired'\r\n",
            "NATS at 127.0.0.1:* wants credentials (User Authentication Expired): give --creds, --user, --token or --nkey",
        ),
        // Nothing in it can forge anything.
        (
            "-ERR 'no|instances=99;;;0; \x1b[31m<b>$(id)`id`\\x\u{202e}\r NATS_SERVICE OK - orders'\r\n",
            "NATS at 127.0.0.1:* said: no?instances=99,,,0, *[31m?b??(id)?id?x* NATS_SERVICE OK - orders",
        ),
    ];
    let cases = moments
        .into_iter()
        .flat_map(|(moment, script)| errors.map(|error| (moment, (script, error))));
    each(cases, |(script, (error, text))| {
        let (fake, home) = well_then(move |conn| script(conn, error));
        let output = check(&fake).home(&home).run();
        let output = output.assert(3, &format!("NATS_SERVICE UNKNOWN - orders: {text} | instances=U *"));
        assert_cannot_forge(&output);
        assert_no_epoch(&fake, &home);
    });
}

/// Replies that are no answer of the service, and how each is counted.
fn replies_that_do_not_count() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let padded = format!(r#"{{"name":"orders","x":"{}"}}"#, "x".repeat(100_000));
    let nested = format!(
        r#"{{"name":"orders","id":{}{}}}"#,
        "[".repeat(20_000),
        "]".repeat(20_000)
    );
    let cases: [(&str, &[u8], &str); 14] = [
        ("nothing", b"", MALFORMED),
        ("no JSON", b"pong", MALFORMED),
        ("half of it", br#"{"name":"orders","id":"B""#, MALFORMED),
        ("invalid UTF-8", b"{\"name\":\"orders\",\"id\":\"\xff\"}", MALFORMED),
        ("a NUL", b"{\"name\":\"orders\",\"id\":\"B\0\"}", MALFORMED),
        ("100 kB without an id", padded.as_bytes(), MALFORMED),
        ("a deeply nested id", nested.as_bytes(), MALFORMED),
        (
            "an id that cannot be asked",
            br#"{"name":"orders","id":"a b|instances=9"}"#,
            MALFORMED,
        ),
        ("no id", br#"{"name":"orders"}"#, MALFORMED),
        ("a list", br#"[{"name":"orders","id":"B"}]"#, MALFORMED),
        (
            "statistics",
            br#"{"type":"io.nats.micro.v1.stats_response","name":"orders","id":"B"}"#,
            MALFORMED,
        ),
        ("another service", br#"{"name":"billing","id":"B"}"#, FOREIGN),
        ("almost this service", br#"{"name":"Orders","id":"B"}"#, FOREIGN),
        ("JetStream", br#"{"stream":"CAP","seq":1}"#, JETSTREAM),
    ];
    cases.map(|(name, payload, kind)| (name, payload.to_vec(), kind)).into()
}

const MALFORMED: &str = "0 of another service, 0 of JetStream, 1 malformed";
const FOREIGN: &str = "1 of another service, 0 of JetStream, 0 malformed";
const JETSTREAM: &str = "0 of another service, 1 of JetStream, 0 malformed";

#[test]
fn a_reply_that_is_no_answer_does_not_count() {
    // Beside an answer it changes nothing.
    let cases = replies_that_do_not_count()
        .into_iter()
        .map(|(name, payload, kind)| (name, (payload, kind)));
    each(cases, |(payload, kind)| {
        let fake = service(move |conn, request, _| {
            conn.reply(request, &payload)?;
            conn.reply(request, A)
        });
        check(&fake).args(["-v", "--confirm", "0"]).run().assert(
            0,
            &format!(
                "NATS_SERVICE OK - orders: 1 instance, slowest answer * | instances=1;*\n\
                 OK service_up\nasked NATS *\nanswered in *: A\n1 reply not counted: {kind}"
            ),
        );
    });
}

#[test]
fn rejected_replies_leave_a_service_silent() {
    let cases = replies_that_do_not_count()
        .into_iter()
        .map(|(name, payload, kind)| (name, (payload, kind)));
    each(cases, |(payload, kind)| {
        let cause = match kind {
            FOREIGN => "another service replies in its place",
            JETSTREAM => "a JetStream stream captures the request, so nobody may be there",
            _ => "what came is no reply to a PING",
        };
        let (fake, home) = well_then_service(move |conn, request, _| conn.reply(request, &payload));
        check(&fake)
            .args(["-t", "2", "--confirm", "0", "--stall", "100ms"])
            .home(&home)
            .run()
            .assert(
                2,
                &format!(
                    "NATS_SERVICE CRITICAL - orders: silent, no answer within * though somebody is subscribed ({cause}), \
                     1 instance until * ago, NATS 2.10.25 fake at * is fine (*), last seen: * | instances=0;*"
                ),
            )
            .assert_within(SOON);
    });
}

#[test]
#[ignore = "timed: tests/run.sh runs it alone"]
fn timed_ten_thousand_instances_are_counted_and_cost_little() {
    let fake = service(|conn, request, _| {
        let messages: String = (0..10_000)
            .map(|n| {
                let reply = format!(
                    r#"{{"name":"orders","id":"instance-{n:013}","version":"1.2.3","metadata":{{"pod":"orders-{n}","x":"{:1000}"}}}}"#,
                    ""
                );
                format!("MSG {} {} {}\r\n{reply}\r\n", request.reply, request.sid, reply.len())
            })
            .collect();
        conn.send_raw(messages.as_bytes())
    });
    let dir = TempDir::new();
    let state = dir.join("state.json");
    for _ in 0..2 {
        within_memory(check(&fake).args(["-vv", "--state", &state]))
            .assert_first_line(
                0,
                "NATS_SERVICE OK - orders: 10000 instances, slowest answer * | instances=10000;*",
            )
            .assert_within(SOON);
        let size = fs::metadata(&state).unwrap().len();
        assert!(size < 512 * 1024, "a state of {size} bytes");
    }
}

#[test]
#[ignore = "timed: tests/run.sh runs it alone"]
fn timed_a_flood_of_instances_ends_and_costs_little() {
    let fake = service(|conn, request, _| {
        for round in 0.. {
            let messages: String = (0..1000)
                .map(|n| {
                    let reply = format!(r#"{{"name":"orders","id":"{round:011}{n:011}","x":"{:200}"}}"#, "");
                    format!("MSG {} {} {}\r\n{reply}\r\n", request.reply, request.sid, reply.len())
                })
                .collect();
            conn.send_raw(messages.as_bytes())?;
        }
        Ok(())
    });
    let output = within_memory(check(&fake).args(["-t", "3"])).assert_within(ms(3100) + SLACK);
    // It depends on the machine how far we can follow.
    match output.code {
        Some(0) => output.assert(0, "NATS_SERVICE OK - orders: * instances, *"),
        // What a starved reader has not read yet takes memory too.
        _ if output.stdout.contains("memory") => output.assert(
            3,
            "NATS_SERVICE UNKNOWN - orders: the server sent more than the memory limit allows* | instances=U *",
        ),
        _ => output.assert(
            3,
            "NATS_SERVICE UNKNOWN - orders: 127.0.0.1:* sends far more replies than any service | instances=U *",
        ),
    };
}

#[test]
fn no_text_of_a_service_or_a_server_can_forge_output() {
    // In JSON, as a service would send it.
    let reply = json!({
        "name": "orders",
        "id": "A",
        "version": "1.0|instances=99",
        "metadata": {
            "pod": "web-0\nNATS_SERVICE OK - orders: 9 instances | instances=9",
            "host\u{1b}[31m|x=1": "\u{1b}]0;title\u{7}\u{9b}2J\u{8}\r",
            "html": "<script>alert('x')</script>&amp;",
            "node": "`id` $(id) \"q\" 'q' \\ ~",
            "unseen": "\u{202e}evil\u{200b}\u{feff}\u{2028}\u{85}",
            "zlong": "z".repeat(10_000),
        },
    });
    let info = json!({
        "server_name": "n1|x=1\nNATS_SERVICE OK\u{1b}[2J<b>",
        "version": "2.10|9\r\n'$(id)'\u{202e}",
    });
    let first = Mutex::new(true);
    let fake = Fake::start(move |conn| {
        let first = std::mem::take(&mut *first.lock().unwrap());
        conn.handshake_with(info.clone())?;
        loop {
            let request = conn.read_request()?;
            match first {
                true => conn.reply(&request, reply.to_string().as_bytes())?,
                false => conn.no_responders(&request)?,
            }
        }
    });
    let home = TempDir::new();
    let host = "host?[31m?x=1=?]0;title??2J??";
    let html = "html=?script?alert(?x?)?/script??amp;";
    let node = "node=?id? ?(id) ?q? ?q? ? ?";
    let pod = "pod=web-0?NATS_SERVICE OK - orders: 9 instances ? instances=9";
    let rest = format!("unseen=?evil???? zlong={}...", "z".repeat(64));
    let server = "NATS 2.10?9????(id)?? n1?x=1?NATS_SERVICE OK?[2J?b? at 127.0.0.1:*";
    let up = check(&fake).arg("-vv").home(&home).run().assert(
        0,
        &format!(
            "NATS_SERVICE OK - orders: 1 instance, slowest answer * | instances=1;;;0; rtt_max=*s;;;0; nats_rtt=*s;;;0; \
             outage=0.000000s;;;0; probe=*s;;;0;\n\
             OK service_up\n\
             asked {server}*\n\
             answered in *: A version 1.0?instances=99 {pod} {host} {node} {html} {rest}"
        ),
    );
    assert_cannot_forge(&up);
    // What tells the place comes first, also when it was read back.
    let known = format!("A version 1.0?instances=99 {pod} {host} {node} {html} {rest}");
    let down = check(&fake)
        .args(["-vv", "--confirm", "50ms"])
        .home(&home)
        .run()
        .assert(
            2,
            &format!(
                "NATS_SERVICE CRITICAL - orders: down, no responders, 1 instance until *s ago, {server} is fine (*), last seen: * \
             | instances=0;;;0; rtt_max=U nats_rtt=*s;;;0; outage=*s;;;0; probe=*s;;;0;\n\
             CRITICAL service_down\n\
             asked {server}*\n\
             asked 2 times\n\
             last seen *, missed since *\n\
             was there: {known}"
            ),
        );
    assert_cannot_forge(&down);
    let shown = Check::new(["state", "show", "-s", &fake.url(), "-n", "orders"])
        .home(&home)
        .run();
    assert!(shown.stdout.contains(&format!("\n  {known}\n")), "{}", shown.stdout);
}

#[test]
fn other_protocols_are_quoted() {
    let cases = [
        (
            "SSH",
            (
                "SSH-2.0-OpenSSH_9.2\r\n",
                "127.0.0.1:* is no NATS server: it sent SSH-2.0-OpenSSH_9.2",
            ),
        ),
        (
            "SMTP",
            (
                "220 mail ESMTP|x=1 <b>\x1b[2J\r\n",
                "127.0.0.1:* is no NATS server: it sent 220 mail ESMTP?x=1 ?b?*[2J",
            ),
        ),
        (
            "a NATS server without JSON",
            (
                "INFO |x=1\r\n",
                "127.0.0.1:* does not speak the NATS protocol: cannot parse server info",
            ),
        ),
        ("an empty line", ("\r\n", "127.0.0.1:* is no NATS server: it sent ")),
    ];
    each(cases, |(greeting, text)| {
        let fake = Fake::start(move |conn| {
            conn.send_raw(greeting.as_bytes())?;
            conn.hold(LIMIT)
        });
        let output = check(&fake).run().assert_within(SOON);
        let output = output.assert(3, &format!("NATS_SERVICE UNKNOWN - orders: {text} | instances=U *"));
        assert_cannot_forge(&output);
    });
}

#[test]
fn a_permission_that_is_denied_names_what_to_allow_and_forges_nothing() {
    let cases = [
        (
            "publish",
            (
                r#"Permissions Violation for Publish to "$SRV.PING.orders""#,
                "does not let us publish to $SRV.PING.orders, add to the user's permissions: publish: {allow: [\"$SRV.PING.orders\"]}",
            ),
        ),
        (
            "subscribe",
            (
                r#"Permissions Violation for Subscription to "_INBOX.x""#,
                "does not let us subscribe to _INBOX.x, add to the user's permissions: subscribe: {allow: [\"_INBOX.>\"]}",
            ),
        ),
        (
            "a forger",
            (
                "Permissions Violation for Publish to \"a|x=1<b>`id`\x1b[2J\"",
                "denies a permission: Permissions Violation for Publish to a?x=1?b??id??[2J",
            ),
        ),
    ];
    each(cases, |(error, text)| {
        let (fake, home) = well_then_service(move |conn, _, _| conn.send_raw(format!("-ERR '{error}'\r\n").as_bytes()));
        let line = format!("NATS_SERVICE UNKNOWN - orders: NATS at 127.0.0.1:* {text} | instances=U *");
        let output = check(&fake).home(&home).run().assert(3, &line);
        assert_eq!(output.stdout.matches('|').count(), 1, "{}", output.stdout);
        assert_no_epoch(&fake, &home);
    });
}
