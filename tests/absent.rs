//! Nobody answers: never seen, restarts, silence, asking again.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::support::{Fake, LIMIT, Monitor, SLACK, Server, Service, Version, each, raw, wait_for};

/// For runs in which the confirmation is not what the test is about.
const SOON: [&str; 2] = ["--confirm", "50ms"];

/// Half of the time is patience with a service that does not answer.
const IMPATIENT: [&str; 6] = ["--timeout", "3s", "--confirm", "50ms", "--stall", "100ms"];

/// As real services answer.
const ANSWER: &[u8] =
    br#"{"type":"io.nats.micro.v1.ping_response","name":"orders","id":"A","version":"1.2.3","metadata":{}}"#;

#[test]
#[ignore = "needs nats-server"]
fn never_seen_service_stays_unknown() {
    let server = Server::start(Version::Newest);
    let _orders = Service::async_nats(&server.url(), "orders").start();
    // A typo is as silent as an outage: the server cannot tell one from the other.
    let monitor = Monitor::new(server.url()).service("ordes");
    let never = "never seen in this account, no responders, did you mean orders?";
    let perfdata = "rtt_max=U nats_rtt=* outage=0.000000s;;;0; probe=*s;;;0;";
    let line = format!("NATS_SERVICE UNKNOWN - ordes: {never} | instances=0;;;0; {perfdata}");
    for _ in 0..4 {
        monitor.check(SOON).arg("-v").run().assert(
            3,
            &format!("{line}\nUNKNOWN service_never_seen\nasked NATS *\nasked 2 times"),
        );
    }
    let epoch = monitor.epoch();
    assert!(epoch.contains(", 0 instances\nno outage\n"), "{epoch}");

    // A plain threshold needs no memory.
    let line = format!(
        "NATS_SERVICE CRITICAL - ordes: 0 instances, fewer than 1 (range 1:), {never} | instances=0;;1:;0; {perfdata}\n\
         CRITICAL instances_out_of_range\n\
         UNKNOWN service_never_seen\nasked NATS *\nasked 2 times"
    );
    for _ in 0..2 {
        monitor.check(SOON).args(["-c", "1:", "-v"]).run().assert(2, &line);
    }
    let nobody_knows = "no responders, and without a state it is not known whether it was ever there (--no-state), did you mean orders?";
    let without_state = |flags: &[&str]| monitor.check(SOON).args(["--no-state", "-v"]).args(flags).run();
    for _ in 0..2 {
        without_state(&[]).assert(
            3,
            &format!(
                "NATS_SERVICE UNKNOWN - ordes: {nobody_knows} | instances=0;;;0; {perfdata}\n\
                 UNKNOWN service_never_seen\nasked NATS *\nasked 2 times"
            ),
        );
        without_state(&["-c", "1:"]).assert(
            2,
            &format!(
                "NATS_SERVICE CRITICAL - ordes: 0 instances, fewer than 1 (range 1:), {nobody_knows} | \
                 instances=0;;1:;0; {perfdata}\n\
                 CRITICAL instances_out_of_range\n\
                 UNKNOWN service_never_seen\nasked NATS *\nasked 2 times"
            ),
        );
    }
    // UNKNOWN is worse than WARNING.
    without_state(&["-w", "1:"]).assert(
        3,
        &format!(
            "NATS_SERVICE UNKNOWN - ordes: {nobody_knows}, 0 instances, fewer than 1 (range 1:) | instances=0;1:;;0; \
             {perfdata}\n\
             UNKNOWN service_never_seen\n\
             WARNING instances_out_of_range\nasked NATS *\nasked 2 times"
        ),
    );
}

#[test]
#[ignore = "needs nats-server"]
fn never_seen_flag_sets_the_status() {
    let server = Server::start(Version::Newest);
    let monitor = Monitor::new(server.url());
    for (status, code) in [("ok", 0), ("warning", 1), ("critical", 2), ("unknown", 3)] {
        let (word, flags) = (status.to_uppercase(), ["--never-seen", status, "-v"]);
        for state in [&[][..], &["--no-state"]] {
            monitor.check(SOON).args(flags).args(state).run().assert(
                code,
                &format!(
                    "NATS_SERVICE {word} - orders: * | instances=0;;;0; *\n{word} service_never_seen\nasked \
                     *\nasked 2 times"
                ),
            );
        }
    }
    // Harmless or not, a threshold is a threshold.
    monitor
        .check(SOON)
        .args(["--never-seen", "ok", "-c", "1:"])
        .run()
        .assert(
            2,
            "NATS_SERVICE CRITICAL - orders: 0 instances, fewer than 1 (range 1:), never seen in this account, *",
        );
    // And once it was seen, it is an outage.
    let service = Service::async_nats(&server.url(), "orders").start();
    monitor
        .check(SOON)
        .run()
        .assert(0, "NATS_SERVICE OK - orders: 1 instance, slowest *");
    service.kill();
    server.wait_for_instances("orders", 0);
    for text in ["down", "still down for *s"] {
        monitor
            .check(SOON)
            .args(["--never-seen", "ok"])
            .run()
            .assert(2, &format!("NATS_SERVICE CRITICAL - orders: {text}, no responders, *"));
    }
}

#[test]
#[ignore = "needs nats-server"]
fn a_restart_of_a_2_9_server_is_no_outage() {
    a_restart_is_no_outage(Version::V2_9);
}

#[test]
#[ignore = "needs nats-server"]
fn a_restart_of_the_newest_server_is_no_outage() {
    a_restart_is_no_outage(Version::Newest);
}

/// The services need two seconds to come back, and until then there are no responders.
fn a_restart_is_no_outage(version: Version) {
    let mut server = Server::start(version);
    let _service = Service::nats_py(&server.url(), "orders").count(2).start();
    let monitor = Monitor::new(server.url());
    let check = || monitor.check(["--confirm", "3s"]).run();
    let up = "NATS_SERVICE OK - orders: 2 instances, slowest answer *";
    let closed = "NATS_SERVICE UNKNOWN - orders: cannot reach NATS at 127.0.0.1:*";
    check().assert(0, up);

    // Checks all the time, whatever the server does: before, while the port is closed, and after.
    let (stop, runs) = (AtomicBool::new(false), AtomicUsize::new(0));
    let outputs = thread::scope(|scope| {
        let checks = scope.spawn(|| {
            let mut outputs = Vec::new();
            while !stop.load(Ordering::SeqCst) {
                outputs.push(check());
                runs.fetch_add(1, Ordering::SeqCst);
            }
            outputs
        });
        let run_more = |more: usize| {
            let before = runs.load(Ordering::SeqCst);
            wait_for("more runs", || {
                (runs.load(Ordering::SeqCst) >= before + more).then_some(())
            });
        };
        run_more(2);
        server.stop();
        run_more(3);
        server.start_again();
        run_more(3);
        stop.store(true, Ordering::SeqCst);
        checks.join().expect("the checks run")
    });
    let (mut unreachable, mut last) = (0, None);
    for output in outputs {
        let code = output.code;
        match code {
            Some(0) => drop(output.assert(0, up)),
            _ => {
                output.assert(3, closed);
                unreachable += 1;
            }
        }
        last = code;
    }
    assert!(
        unreachable >= 2 && last == Some(0),
        "{unreachable} unreachable, then {last:?}"
    );
    check().assert(0, up);
    assert!(monitor.epoch().contains("\nno outage\n"));
}

/// Real services, and a server that does not know of them yet.
#[test]
#[ignore = "needs nats-server"]
fn a_service_that_subscribes_late_is_no_outage() {
    each([Version::V2_9, Version::Newest], |version| {
        let server = Server::with_config(version, "trace: true");
        let monitor = Monitor::new(server.url());
        let old = Service::async_nats(&server.url(), "orders").start();
        monitor
            .check(SOON)
            .run()
            .assert(0, "NATS_SERVICE OK - orders: 1 instance, *");
        old.kill();
        server.wait_for_instances("orders", 0);
        let asked = || {
            let log = server.log();
            let ours = |line: &&str| line.contains("PUB $SRV.PING.orders ") && !line.contains("_INBOX.raw");
            log.lines().filter(ours).count()
        };
        let before = asked();
        let run = monitor.check(["--confirm", "3s", "-v"]).spawn();
        wait_for("the first asking", || (asked() > before).then_some(()));
        let new = Service::async_nats(&server.url(), "orders").start();
        run.wait().assert(
            0,
            &format!(
                "NATS_SERVICE OK - orders: 1 instance, slowest answer * | instances=1;;;0; *\n\
                 OK service_up\nasked NATS *\n\
                 answered in *: {} version 1.0.0",
                new.id()
            ),
        );
        assert!(monitor.epoch().contains("\nno outage\n"));
    });
}

#[test]
fn no_responders_and_then_an_answer_is_no_outage() {
    let gone = Arc::new(AtomicUsize::new(0));
    let fake = {
        let gone = Arc::clone(&gone);
        Fake::start(move |conn| {
            conn.handshake()?;
            loop {
                let request = conn.read_request()?;
                match gone.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
                    Ok(_) => conn.no_responders(&request)?,
                    Err(_) => conn.reply(&request, ANSWER)?,
                }
            }
        })
    };
    let monitor = Monitor::new(fake.url());
    let up = "NATS_SERVICE OK - orders: 1 instance, slowest answer * | instances=1;;;0; *";
    monitor.check(SOON).run().assert(0, up);
    // How many rounds find nobody, and how long a run asks.
    for (times, confirm) in [(1, "50ms"), (1, "1.5s"), (2, "300ms"), (3, "1.5s")] {
        gone.store(times, Ordering::SeqCst);
        let (before, _) = fake.rounds();
        monitor.check(["--confirm", confirm]).run().assert(0, up);
        let (after, inboxes) = fake.rounds();
        // A busy machine may ask once more before it has read the reply.
        assert!(after - before > times, "{before} to {after}");
        assert_eq!(inboxes, after, "each asking has an inbox of its own");
        assert!(monitor.epoch().contains("\nno outage\n"));
    }
    // One asking less, and it is one.
    gone.store(2, Ordering::SeqCst);
    monitor.check(["--confirm", "50ms"]).run().assert(
        2,
        "NATS_SERVICE CRITICAL - orders: down, no responders, 1 instance until *s ago, *",
    );
}

#[test]
fn a_service_is_down_only_after_the_last_retry() {
    // --confirm and --timeout; how many rounds, and when the last one is due, in milliseconds.
    let cases: [(&[&str], usize, u64); 9] = [
        (&["--confirm", "0"], 1, 0),
        (&["--confirm", "50ms"], 2, 50),
        (&["--confirm", "300ms"], 4, 300),
        (&["--confirm", "1.5s"], 5, 1500),
        (&["--confirm", "3s"], 6, 3000),
        (&[], 6, 5000),
        (&["--confirm", "6s"], 7, 6000),
        // Bounded by the time limit as well: after three quarters of what the connection left of it.
        (&["--timeout", "4s"], 6, 2900),
        (&["--confirm", "10s", "--timeout", "1s"], 4, 700),
    ];
    each(cases, |(flags, rounds, last)| {
        let there = Arc::new(AtomicBool::new(true));
        let fake = switched(&there);
        let monitor = Monitor::new(fake.url());
        monitor
            .check(flags)
            .run()
            .assert(0, "NATS_SERVICE OK - orders: 1 instance, *");
        there.store(false, Ordering::SeqCst);
        let times = match rounds {
            1 => String::new(),
            more => format!("asked {more} times\n"),
        };
        let (before, _) = fake.rounds();
        let out = monitor.check(flags).arg("-v").run().assert(
            2,
            &format!(
                "NATS_SERVICE CRITICAL - orders: down, no responders, 1 instance until *s ago, \
                 NATS 2.10.25 fake at * is fine* | instances=0;;;0; *\n\
                 CRITICAL service_down\n\
                 asked NATS *\n{times}last seen *, missed since *\nwas there: A version 1.2.3"
            ),
        );
        let (after, inboxes) = fake.rounds();
        assert_eq!((after - before, inboxes), (rounds, after), "{flags:?}");
        assert!(out.wall >= Duration::from_millis(last), "{out:?}");

        // While the outage is open, one asking again is enough.
        let still = "NATS_SERVICE CRITICAL - orders: still down for *s, no responders, had 1 instance, *";
        monitor.check(flags).run().assert(2, still);
        assert_eq!(fake.rounds().0 - after, rounds.min(2), "{flags:?}");
    });
}

/// Without a state every run may be the one after a restart of NATS.
#[test]
fn without_a_state_an_absence_is_confirmed_as_long() {
    let fake = switched(&Arc::new(AtomicBool::new(false)));
    for flags in [&["-c", "1:"][..], &[]] {
        let before = fake.rounds().0;
        Monitor::new(fake.url()).check(["--no-state"]).args(flags).run();
        assert_eq!(fake.rounds().0 - before, 6, "{flags:?}");
    }
}

#[test]
#[ignore = "needs nats-server"]
fn frozen_instances_are_silent_and_not_down() {
    each([Version::V2_9, Version::Newest], |version| {
        let server = Server::start(version);
        let service = Service::async_nats(&server.url(), "orders").count(2).start();
        let monitor = Monitor::new(server.url());
        let check = |flags: &[&str]| monitor.check(IMPATIENT).arg("-v").args(flags).run();
        let nobody = "no answer within *s though somebody is subscribed (hung, not allowed to publish to our inbox, or behind a link or server that hangs)";
        let perfdata = "instances=0;;;0; rtt_max=U nats_rtt=*s;;;0; outage=*s;;;0; probe=*s;;;0;";
        check(&[]).assert_finding("OK service_up: 2 instances, slowest answer *");

        service.freeze();
        // One who thinks less of it is warned, and sees no outage.
        for (status, code) in [("warning", 1), ("ok", 0), ("unknown", 3)] {
            let word = status.to_uppercase();
            check(&["--silent", status]).assert(
                code,
                &format!(
                    "NATS_SERVICE {word} - orders: {nobody}, 2 instances until *s ago, last seen: * | {perfdata}\n\
                     {word} service_silent\nasked NATS *, round trip *\nasked \
                     3 times"
                ),
            );
            let epoch = monitor.epoch();
            assert!(
                epoch.contains(", 2 instances\n") && epoch.contains("\nno outage\n"),
                "{epoch}"
            );
        }
        check(&[]).assert(
            2,
            &format!(
                "NATS_SERVICE CRITICAL - orders: silent, {nobody}, 2 instances until *s ago, NATS * is fine (*), last seen: * | \
                 {perfdata}\n\
                 CRITICAL service_silent\n\
                 asked NATS *, round trip *\nasked 3 times\nlast seen *\nwas there: *\nwas there: *"
            ),
        );
        // It is an outage now: it stays, also for one who thinks less of silence.
        check(&[]).assert_finding(&format!(
            "CRITICAL service_silent: still down for *s, {nobody}, had 2 instances, *"
        ));
        let latched = check(&["--silent", "warning"]);
        assert_eq!(latched.code, Some(2), "{latched:?}");
        latched.assert_finding(&format!(
            "CRITICAL service_down: still down for *s, {nobody}, had 2 instances, last seen: *"
        ));

        service.thaw();
        server.wait_for_instances("orders", 2);
        check(&[])
            .assert_first(
                0,
                "NATS_SERVICE OK - orders: 2 instances, recovered after *s | instances=2;;;0; *",
            )
            .assert_finding("OK service_recovered: 2 instances, recovered after *s");
        check(&[]).assert_finding("OK service_up: 2 instances, slowest answer *");
    });
}

/// However short the time is: it has room for the last asking, and for waiting for its answer.
#[test]
#[ignore = "needs nats-server"]
fn timed_silence_is_reported_within_a_short_timeout() {
    each([1000, 1200], |timeout| {
        let server = Server::start(Version::Newest);
        let service = Service::async_nats(&server.url(), "orders").start();
        let monitor = Monitor::new(server.url());
        monitor.check([""; 0]).run().assert(0, "NATS_SERVICE OK - *");
        service.freeze();
        // Ten percent of the time are left when it is told.
        let limit = Duration::from_millis(timeout);
        let timeout = format!("{timeout}ms");
        monitor
            .check(["-v", "--timeout", &timeout])
            .run()
            .assert_first(
                2,
                "NATS_SERVICE CRITICAL - orders: *no answer within *s though somebody is subscribed *",
            )
            .assert_finding("CRITICAL service_silent: *")
            .assert_within(limit + Duration::from_millis(100) + SLACK);
    });
}

#[test]
#[ignore = "needs nats-server"]
fn silence_of_a_never_seen_service_is_no_outage() {
    let server = Server::start(Version::Newest);
    let service = Service::async_nats(&server.url(), "orders").start();
    service.freeze();
    let monitor = Monitor::new(server.url());
    for _ in 0..2 {
        monitor.check(IMPATIENT).arg("-v").run().assert(
            3,
            "NATS_SERVICE UNKNOWN - orders: never seen in this account, no answer within *s though somebody is \
             subscribed (*), * | instances=0;;;0; *\n\
             UNKNOWN service_never_seen\nasked NATS *\nasked 3 times",
        );
        assert!(monitor.epoch().contains("\nno outage\n"));
    }
}

#[test]
#[ignore = "needs nats-server"]
fn one_frozen_instance_of_three_is_reported() {
    let server = Server::start(Version::Newest);
    let _two = Service::async_nats(&server.url(), "orders").count(2).start();
    let one = Service::nats_py(&server.url(), "orders").start();
    let monitor = Monitor::new(server.url());
    // Once: a busy machine must not make it tell a second asking.
    let check = |flags: &[&str]| monitor.check(flags).args(["--confirm", "0", "-v"]).run();
    check(&["-w", "3:"]).assert_finding("OK service_up: 3 instances, *");
    one.freeze();
    let missing = format!(
        "asked NATS *\nanswered in *\nanswered in *\nnot answering since *: {} version 1.0.0",
        one.id()
    );
    check(&[]).assert(
        0,
        &format!(
            "NATS_SERVICE OK - orders: 2 instances, slowest answer *, not answering: * (1.0.0) | instances=2;;;0; \
             *\n\
             OK service_up\n{missing}"
        ),
    );
    // It stays missed.
    for _ in 0..2 {
        check(&["-w", "3:"]).assert(
            1,
            &format!(
                "NATS_SERVICE WARNING - orders: 2 instances, fewer than 3 (range 3:), not answering: * (1.0.0) | \
                 instances=2;3:;;0; *\n\
                 WARNING instances_out_of_range\n\
                 OK service_up: 2 instances, *\n{missing}"
            ),
        );
    }
    one.thaw();
    server.wait_for_instances("orders", 3);
    check(&["-w", "3:"]).assert_finding("OK service_up: 3 instances, *");
}

/// Cover that hides, on a real server, that no instance is there.
enum Cover {
    Wildcard(&'static str),
    Stream,
}

#[test]
#[ignore = "needs nats-server"]
fn a_wildcard_subscriber_does_not_make_a_gone_service_ok() {
    each(
        [(Version::V2_9, "$SRV.>"), (Version::Newest, ">")],
        |(version, subject)| {
            gone_behind(version, Cover::Wildcard(subject));
        },
    );
}

#[test]
#[ignore = "needs nats-server"]
fn a_stream_does_not_make_a_gone_service_ok() {
    each([Version::V2_9, Version::Newest], |version| {
        gone_behind(version, Cover::Stream)
    });
}

fn gone_behind(version: Version, cover: Cover) {
    let server = Server::with_config(version, "jetstream { store_dir: js }");
    let service = Service::async_nats(&server.url(), "orders").start();
    let mut held: Option<TcpStream> = None;
    let (cause, ignored) = match cover {
        Cover::Wildcard(subject) => {
            held = Some(raw::subscribe(&server.url(), subject).expect("a subscription"));
            ("a wildcard subscriber hides whether it is gone or hung", "")
        }
        Cover::Stream => {
            let stream = r#"{"name":"CAP","subjects":["$SRV.PING.>"],"storage":"memory"}"#;
            let made = raw::request(&server.url(), "$JS.API.STREAM.CREATE.CAP", stream, 1).expect("an answer");
            let made = String::from_utf8_lossy(&made[0]).into_owned();
            assert!(made.contains(r#""config""#) && !made.contains(r#""error""#), "{made}");
            (
                "a JetStream stream captures the request, so nobody may be there",
                "\n* not counted: 0 of another service, * of JetStream, 0 malformed",
            )
        }
    };
    let monitor = Monitor::new(server.url());
    let check = || monitor.check(IMPATIENT).arg("-v").run();
    // Once: a busy machine must not make it tell a second asking.
    monitor.check(["--confirm", "0", "-v"]).run().assert(
        0,
        &format!(
            "NATS_SERVICE OK - orders: 1 instance, slowest answer * | instances=1;;;0; *\n\
             OK service_up\nasked NATS *\nanswered in *{ignored}"
        ),
    );
    service.kill();
    // The server does not say when it has noticed.
    wait_for("the end of the service", || {
        let log = raw::ask(&server.url(), "$SRV.PING.orders", 2).expect("replies");
        (!log
            .iter()
            .any(|reply| String::from_utf8_lossy(reply).contains("ping_response")))
        .then_some(())
    });
    let nobody = format!("no answer within *s though somebody is subscribed ({cause})");
    check().assert(
        2,
        &format!(
            "NATS_SERVICE CRITICAL - orders: silent, {nobody}, 1 instance until *s ago, NATS * is fine (*), last seen: * | \
             instances=0;;;0; *\n\
             CRITICAL service_silent\nasked NATS *\nasked 3 times\n\
             last seen *\nwas there: * version 1.0.0{ignored}"
        ),
    );
    check().assert(
        2,
        &format!(
            "NATS_SERVICE CRITICAL - orders: still down for *s, {nobody}, had 1 instance, NATS * is fine (*), last seen: * | \
             instances=0;;;0; *\n\
             CRITICAL service_silent\nasked NATS *\nasked 3 times\n\
             last seen *\nwas there: * version 1.0.0{ignored}"
        ),
    );
    // A first run knows no more than that nobody answers.
    let fresh = Monitor::new(server.url());
    fresh.check(IMPATIENT).run().assert(
        3,
        &format!("NATS_SERVICE UNKNOWN - orders: never seen in this account, {nobody}, * | instances=0;;;0; *"),
    );
    drop(held);
}

#[test]
fn replies_that_are_no_answers_name_the_cause() {
    let cases: [(&[u8], &str, &str); 3] = [
        (
            br#"{"name":"billing","id":"B"}"#,
            "another service replies in its place",
            "* of another service, 0 of JetStream, 0 malformed",
        ),
        (
            br#"{"stream":"CAP","seq":7}"#,
            "a JetStream stream captures the request, so nobody may be there",
            "0 of another service, * of JetStream, 0 malformed",
        ),
        (
            b"pong",
            "what came is no reply to a PING",
            "0 of another service, 0 of JetStream, * malformed",
        ),
    ];
    each(cases, |(reply, cause, counted)| {
        let there = Arc::new(AtomicBool::new(true));
        let answers = Arc::clone(&there);
        let fake = Fake::start(move |conn| {
            conn.handshake()?;
            loop {
                let request = conn.read_request()?;
                match answers.load(Ordering::SeqCst) {
                    true => conn.reply(&request, ANSWER)?,
                    false => conn.reply(&request, reply)?,
                }
            }
        });
        let monitor = Monitor::new(fake.url());
        let check = || monitor.check(IMPATIENT).arg("-v").run();
        check().assert_finding("OK service_up: 1 instance, *");
        there.store(false, Ordering::SeqCst);
        check().assert(
            2,
            &format!(
                "NATS_SERVICE CRITICAL - orders: silent, no answer within *s though somebody is subscribed ({cause}), \
                 1 instance until *s ago, NATS * is fine (*), last seen: * | instances=0;;;0; *\n\
                 CRITICAL service_silent\nasked NATS *\nasked 3 times\nlast seen *\n\
                 was there: A version 1.2.3\n3 replies not counted: {counted}"
            ),
        );
        there.store(true, Ordering::SeqCst);
        check().assert_finding("OK service_recovered: 1 instance, recovered after *");
    });
}

/// A service that is slow to answer, but answers, is up; however short the asking again is.
#[test]
fn a_late_first_answer_is_no_outage() {
    let fake = Fake::start(|conn| {
        conn.handshake()?;
        let request = conn.read_request()?;
        // The passing of time is what is tested: an answer that is late.
        thread::sleep(Duration::from_millis(700));
        conn.reply(&request, ANSWER)?;
        conn.hold(LIMIT)
    });
    each(["0", "100ms", "1.5s"], |confirm| {
        let monitor = Monitor::new(fake.url());
        monitor.check(["--confirm", confirm, "--timeout", "4s"]).run().assert(
            0,
            "NATS_SERVICE OK - orders: 1 instance, slowest answer * | instances=1;;;0; *",
        );
    });
}

/// One instance, or no responders.
fn switched(there: &Arc<AtomicBool>) -> Fake {
    let there = Arc::clone(there);
    Fake::start(move |conn| {
        conn.handshake()?;
        loop {
            let request = conn.read_request()?;
            match there.load(Ordering::SeqCst) {
                true => conn.reply(&request, ANSWER)?,
                false => conn.no_responders(&request)?,
            }
        }
    })
}
