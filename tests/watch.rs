//! The sidecar: steady, ends at once, leaks nothing, and tells each outage once.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::support::check::{find_secret, matches};
use super::support::http;
use super::support::server::free_port;
use super::support::sidecar::{GRACE, Sidecar, at_rest, memory, wait_for_rest};
use super::support::{
    Blackhole, Certs, Check, Conn, Fake, LIMIT, Metrics, Proxy, SLACK, Server, Service, TempDir, Version, assert_took,
    each, is_root, process, wait_for,
};

/// A server with a service, for as many connections as come.
fn up(conn: &mut Conn) -> io::Result<()> {
    conn.handshake()?;
    let request = conn.read_request()?;
    conn.reply(&request, br#"{"name":"orders","id":"A"}"#)?;
    conn.hold(LIMIT)
}

/// When connections come to a fake server.
fn times_of_connections(count: usize, flags: &[&str]) -> (Instant, Vec<Instant>) {
    let times = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = std::sync::Arc::clone(&times);
    let fake = Fake::start(move |conn| {
        seen.lock().unwrap().push(Instant::now());
        up(conn)
    });
    let begin = Instant::now();
    let sidecar = Sidecar::start(&fake.url(), flags);
    wait_for("enough checks", || (times.lock().unwrap().len() >= count).then_some(()));
    sidecar.end(libc::SIGTERM);
    let times = times.lock().unwrap().clone();
    (begin, times)
}

#[test]
#[ignore = "timed: tests/run.sh runs it alone"]
fn timed_the_first_check_comes_at_once_and_the_others_at_a_steady_interval() {
    // The times are those of the other side, which may be late itself.
    let interval = Duration::from_millis(200);
    let (begin, times) = times_of_connections(12, &["--interval", "200ms", "--stall", "20ms"]);
    assert!(
        times[0] - begin < Duration::from_millis(150) + SLACK,
        "{:?}",
        times[0] - begin
    );
    // However long a single check takes: what is late now is not late for ever.
    let steps: Vec<f64> = times[1..]
        .iter()
        .map(|time| (*time - times[1]).div_duration_f64(interval))
        .collect();
    for step in &steps {
        assert!((step - step.round()).abs() < 0.5, "not in step: {steps:?}");
    }
    assert!(*steps.last().unwrap() < 14.0, "it lost its step: {steps:?}");
    let shift = (times[1] - times[0]).div_duration_f64(interval);
    assert!(shift < 2.5, "shifted by an interval at most: {shift}");
}

/// A thousand sidecars that start at once do not ask in step.
#[test]
fn each_sidecar_has_a_phase_of_its_own() {
    let shifts: Vec<f64> = (0..4)
        .map(|_| {
            let (_, times) = times_of_connections(2, &["--interval", "600ms", "--stall", "20ms"]);
            (times[1] - times[0]).as_secs_f64()
        })
        .collect();
    let (least, most) = shifts
        .iter()
        .fold((f64::MAX, 0.0_f64), |(a, b), x| (a.min(*x), b.max(*x)));
    // All four within a thirtieth of the interval by chance: once in 7000 times.
    assert!(most - least > 0.02, "{shifts:?}");
}

#[test]
#[ignore = "needs nats-server"]
fn timed_a_signal_ends_it_whatever_it_waits_for() {
    let server = Server::start(Version::Newest);
    let frozen = Server::start(Version::Newest);
    frozen.freeze();
    let hole = Blackhole::start();
    let mute = Fake::start(|conn| conn.hold(LIMIT));
    each([libc::SIGTERM, libc::SIGINT], |signal| {
        let sleeping = Sidecar::start(&server.url(), &["--interval", "1h"]);
        sleeping.wait_for_the_next();
        wait_for("the end of the check", || sleeping.check().is_none().then_some(()));
        sleeping.end(signal);
        for url in [frozen.url(), hole.url(), mute.url()] {
            let hanging = Sidecar::start(&url, &["--interval", "1h"]);
            wait_for("a check", || hanging.check());
            // It may just have been born, or have come to where it hangs.
            thread::sleep(Duration::from_millis(if signal == libc::SIGTERM { 100 } else { 0 }));
            hanging.end(signal);
            // A signal that is not its end leaves it as able to end.
            let hanging = Sidecar::start(&url, &["--interval", "1h"]);
            wait_for("a check", || hanging.check());
            hanging.signal(libc::SIGHUP);
            // It has no trace: nothing shows that the signal was taken.
            thread::sleep(Duration::from_millis(50));
            hanging.end(signal);
        }
    });
}

#[test]
#[ignore = "needs nats-server"]
fn files_are_whole_at_whatever_moment_it_ends() {
    let server = Server::start(Version::Newest);
    let _service = Service::async_nats(&server.url(), "orders").count(3).start();
    each(0..3, |n: u64| {
        for m in 0..12 {
            let sidecar = Sidecar::start(&server.url(), &["--interval", "1ms", "--stall", "5ms"]);
            wait_for("the first file", || sidecar.status());
            // The passing of time is what is tested: each sidecar is ended at another instant.
            thread::sleep(Duration::from_micros(1300 * (12 * n + m)));
            sidecar.end(libc::SIGTERM);
        }
    });
}

#[test]
#[ignore = "needs nats-server"]
fn watch_logs_each_change_once_and_remembers_without_a_file() {
    let mut server = Server::start(Version::Newest);
    let start = || Service::async_nats(&server.url(), "orders").start();
    let service = start();
    let flags = ["--interval", "50ms", "--stall", "20ms", "--confirm", "100ms"];
    let sidecar = Sidecar::start(&server.url(), &flags);
    sidecar.wait_for_line("orders OK service_up: 1 instance, slowest answer ");
    for _ in 0..5 {
        sidecar.wait_for_the_next();
    }
    service.stop();
    sidecar.wait_for_line("orders CRITICAL service_down: down, no responders, 1 instance until ");
    for _ in 0..3 {
        let status = sidecar.wait_for_the_next();
        assert_eq!(
            (&status["reason"], &status["up"]),
            (&"service_down".into(), &false.into())
        );
    }
    let service = start();
    sidecar.wait_for_line("orders OK service_recovered: 1 instance, recovered after ");
    sidecar.wait_for_status("quiet again", |status| status["reason"] == "service_up");
    server.stop();
    sidecar.wait_for_line("orders UNKNOWN nats_unreachable: cannot reach NATS at ");
    // What it cannot ask, it writes too.
    let status = sidecar.wait_for_the_next();
    assert_eq!((&status["asked"], &status["up"]), (&false.into(), &Value::Null));
    drop(service);
    server.start_again();
    sidecar.wait_for_status("down", |status| status["reason"] == "service_down");
    wait_for("its line", || {
        (sidecar.log().matches("service_down: down, ").count() == 2).then_some(())
    });
    let said: Vec<String> = sidecar
        .lines()
        .iter()
        .map(|line| line.split(':').next().unwrap().trim_start_matches("orders ").to_owned())
        .collect();
    assert_eq!(
        said,
        [
            "OK service_up",
            "CRITICAL service_down",
            "OK service_recovered",
            "OK service_up",
            "UNKNOWN nats_unreachable",
            "CRITICAL service_down"
        ],
        "{}",
        sidecar.log()
    );
    sidecar.end(libc::SIGTERM);
}

/// With a state file, an outage outlives the sidecar.
#[test]
#[ignore = "needs nats-server"]
fn with_a_state_file_it_remembers_when_it_comes_back() {
    let server = Server::start(Version::V2_10);
    let service = Service::nats_py(&server.url(), "orders").start();
    let dir = TempDir::new();
    let state = dir.join("state.json");
    let flags = [
        "--interval",
        "50ms",
        "--stall",
        "20ms",
        "--confirm",
        "100ms",
        "--state",
        state.as_str(),
    ];
    let sidecar = Sidecar::start(&server.url(), &flags);
    sidecar.wait_for_line("orders OK service_up: ");
    sidecar.end(libc::SIGTERM);
    service.kill();
    server.wait_for_instances("orders", 0);
    let sidecar = Sidecar::start(&server.url(), &flags);
    sidecar.wait_for_line("orders CRITICAL service_down: down, no responders, 1 instance until ");
    sidecar.end(libc::SIGTERM);
    let sidecar = Sidecar::start(&server.url(), &flags);
    sidecar.wait_for_line("orders CRITICAL service_down: still down for ");
    sidecar.end(libc::SIGTERM);
    // Without one it begins anew.
    let sidecar = Sidecar::start(&server.url(), &flags[..6]);
    sidecar.wait_for_line("orders UNKNOWN service_never_seen: ");
    sidecar.end(libc::SIGTERM);
}

#[test]
#[ignore = "needs nats-server"]
fn sighup_checks_at_once_and_reads_the_credentials_anew() {
    let config = |password: &str| format!("authorization {{ user: mon, password: {password} }}");
    let mut server = Server::with_config(Version::Newest, &config("old"));
    let files = TempDir::new();
    let password = files.join("password");
    fs::write(&password, "old\n").unwrap();
    let login = [
        "--user",
        "mon",
        "--password-file",
        &password,
        "--interval",
        "1h",
        "--stall",
        "20ms",
    ];
    let sidecar = Sidecar::start(
        &server.url(),
        &[&login[..], &["--never-seen", "ok", "--confirm", "0"]].concat(),
    );
    sidecar.wait_for_line("orders OK service_never_seen: ");
    server.restart(&config("new"));
    let again = |line: &str| {
        wait_for("it sleeps", || sidecar.check().is_none().then_some(()));
        sidecar.signal(libc::SIGHUP);
        sidecar.wait_for_line(line);
    };
    again("orders UNKNOWN auth_rejected: NATS at ");
    fs::write(&password, "new\n").unwrap();
    let before = sidecar.log().matches("service_never_seen").count();
    again("SIGHUP: checking now");
    wait_for("it is let in", || {
        (sidecar.log().matches("service_never_seen").count() > before).then_some(())
    });
    // What is wrong with the new ones is told, and the next ones are read again.
    fs::remove_file(&password).unwrap();
    again(&format!(
        "orders UNKNOWN config_unusable: --password-file {password}: No such file"
    ));
    assert_eq!(sidecar.status().unwrap()["reason"], "config_unusable");
    let metrics = fs::read_to_string(sidecar.dir.join("orders.prom")).unwrap();
    assert_eq!(Metrics::parse(&metrics).reasons("orders"), ["config_unusable"]);
    // Another cause is worth another line, under the same reason; the same one is not.
    fs::write(&password, "\n").unwrap();
    for _ in 0..2 {
        let signals = || sidecar.log().matches("SIGHUP: checking now").count();
        let before = signals();
        again(&format!(
            "orders UNKNOWN config_unusable: --password-file {password}: its first line is empty"
        ));
        wait_for("the signal", || (signals() > before).then_some(()));
        wait_for("the end of the check", || sidecar.check().is_none().then_some(()));
        assert_eq!(
            sidecar.log().matches(" config_unusable: ").count(),
            2,
            "{}",
            sidecar.log()
        );
    }
    fs::write(&password, "new\n").unwrap();
    again("SIGHUP: checking now");
    sidecar.wait_for_status("it is let in", |status| status["reason"] == "service_never_seen");
    sidecar.end(libc::SIGTERM);
}

/// NATS that hangs uses up all of the timeout. Then the files say so, even on a disk that is slow: else they would go on saying that
/// all is well.
#[test]
#[ignore = "needs nats-server, strace"]
fn the_files_are_written_when_nats_hangs_and_the_disk_is_slow() {
    let server = Server::start(Version::Newest);
    let _service = Service::nats_py(&server.url(), "orders").start();
    let dir = TempDir::new();
    let (metrics, status) = (dir.join("orders.prom"), dir.join("orders.json"));
    let words = [
        "watch",
        "-s",
        &server.url(),
        "-n",
        "orders",
        "--interval",
        "100ms",
        "-t",
        "1s",
    ];
    let sidecar = Check::new(words).args(["--textfile", &metrics, "--status-file", &status]);
    let _sidecar = sidecar.tampered("fdatasync", "delay_enter=250000", &[]).spawn();
    let wait_for_reason = |reason: &str| {
        wait_for(reason, || {
            let status: Value = serde_json::from_str(&fs::read_to_string(&status).ok()?).unwrap();
            (status["reason"] == reason).then_some(())
        })
    };
    wait_for_reason("service_up");
    server.freeze();
    wait_for_reason("nats_unreachable");
    let metrics = Metrics::parse(&fs::read_to_string(&metrics).unwrap());
    assert_eq!(metrics.reasons("orders"), ["nats_unreachable"]);
    server.thaw();
    wait_for_reason("service_up");
}

/// Whoever reads the log may stop: nothing waits for that.
#[test]
#[ignore = "needs nats-server"]
fn a_log_that_nobody_reads_stops_nothing() {
    let server = Server::start(Version::Newest);
    let service = Service::nats_py(&server.url(), "orders").start();
    let dir = TempDir::new();
    // Full from the beginning, and never read.
    let script = r#"mkfifo "$0" && exec 3<>"$0" && head -c 65536 /dev/zero >&3 && exec "$@" 2>&3"#;
    let under = ["sh", "-c", script, &dir.join("log")];
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let flags = [
        "--interval",
        "50ms",
        "--stall",
        "20ms",
        "--confirm",
        "100ms",
        "--any-instance",
        "--listen",
        &address,
    ];
    let sidecar = Sidecar::start_under(&under, &server.url(), &flags);
    sidecar.wait_for_status("it is up", |status| status["reason"] == "service_up");
    let probe = |status: u16| {
        wait_for("the probe", || {
            http::ask(port, "GET", "/readyz")
                .ok()
                .filter(|reply| reply.status == status)
        })
    };
    probe(200);
    service.kill();
    sidecar.wait_for_status("it is down", |status| status["reason"] == "service_down");
    probe(503);
    sidecar.end(libc::SIGTERM);
}

/// Nothing is forgotten that cannot be asked: an alert on the metrics must not end because a Secret is missing.
#[test]
#[ignore = "needs nats-server"]
fn an_outage_outlives_a_missing_file_of_the_login() {
    let server = Server::with_config(Version::Newest, "authorization { user: mon, password: s3cret }");
    let login = server.url().replace("//", "//mon:s3cret@");
    let dir = TempDir::new();
    let (password, state, states) = (dir.join("password"), dir.join("state.json"), dir.join("states"));
    let places: [&[&str]; 3] = [&[], &["--state", &state], &["--state-dir", &states]];
    for place in places {
        let service = Service::nats_py(&login, "orders").start();
        fs::write(&password, "s3cret\n").unwrap();
        let flags = [
            "--user",
            "mon",
            "--password-file",
            &password,
            "--interval",
            "50ms",
            "--stall",
            "20ms",
            "--confirm",
            "100ms",
        ];
        let sidecar = Sidecar::start(&server.url(), &[&flags[..], place].concat());
        sidecar.wait_for_status("it is up", |status| status["reason"] == "service_up");
        service.kill();
        sidecar.wait_for_status("it is down", |status| status["reason"] == "service_down");
        fs::remove_file(&password).unwrap();
        let status = sidecar.wait_for_status("it cannot be asked", |status| status["asked"] == false);
        let findings = [("service_down", "CRITICAL"), ("config_unusable", "UNKNOWN")];
        for (nth, (reason, code)) in findings.into_iter().enumerate() {
            let finding = &status["findings"][nth];
            assert_eq!(
                (&finding["reason"], &finding["status"]),
                (&reason.into(), &code.into()),
                "{place:?}: {status}"
            );
        }
        let text = status["text"].as_str().unwrap();
        assert!(
            text.starts_with("still down for ") && text.contains(", last answer from NATS "),
            "{place:?}: {text}"
        );
        assert!(status["outage"]["since"].is_string(), "{place:?}: {status}");
        // The textfile is written before the status file.
        let metrics = Metrics::parse(&fs::read_to_string(sidecar.dir.join("orders.prom")).unwrap());
        assert_eq!(metrics.of("orders", "nats_service_outage"), Some(1.0));
        fs::write(&password, "s3cret\n").unwrap();
        let _service = Service::nats_py(&login, "orders").start();
        sidecar.wait_for_line("orders OK service_recovered: 1 instance, recovered after ");
        sidecar.end(libc::SIGTERM);
    }
}

/// The first line says what is watched, and how; the last one, why it ends. Neither has a secret.
#[test]
#[ignore = "needs nats-server"]
fn the_log_begins_and_ends_with_a_line_and_can_be_json() {
    let server = Server::with_config(Version::Newest, "authorization { user: mon, password: s3cret }");
    let login = server.url().replace("//", "//mon:s3cret@");
    let service = Service::async_nats(&login, "orders").metadata("pod", "one").start();
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    let flags = [
        "--listen",
        &listen,
        "--match",
        "pod=one",
        "--interval",
        "100ms",
        "--stall",
        "50ms",
    ];
    let nats = format!("127.0.0.1:{}", server.port());
    let what = |sidecar: &Sidecar, state: &str| {
        format!(
            "watches orders, NATS at {nats}, every 0.1s, timeout 10s, own instance by pod=one, {state}, metrics in {}, status in {}",
            sidecar.dir.join("orders.prom"),
            sidecar.dir.join("orders.json")
        )
    };
    let version = env!("CARGO_PKG_VERSION");

    let sidecar = Sidecar::start(&login, &flags);
    sidecar.wait_for_line("/readyz 200 OK: ");
    let log = sidecar.log();
    let first = format!("* check_nats_service {version} {}", what(&sidecar, "state in memory"));
    assert!(matches(&first, log.lines().next().unwrap()), "{log}");
    assert_eq!(sidecar.lines()[0], format!("answers over HTTP on {listen}"));
    assert_eq!(find_secret(&log), None, "{log}");
    let log = sidecar.end(libc::SIGTERM);
    let last = log.lines().last().unwrap();
    assert!(matches("*Z SIGTERM: ends, after * check* in *s", last), "{log}");

    let sidecar = Sidecar::start(
        &login,
        &[&flags[..], &["--no-state", "--log-format", "json", "-c", "1:"]].concat(),
    );
    sidecar.wait_for_line("/readyz");
    service.stop();
    sidecar.wait_for_line("\"CRITICAL\"");
    sidecar.wait_for_line("readiness fail");
    let log = sidecar.log();
    let objects: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    for object in &objects {
        let time = object["time"].as_str().unwrap_or_default();
        assert!(time.len() == 24 && time.ends_with('Z'), "{object}");
        assert_eq!(object["service"], "orders", "{object}");
        assert!(object["msg"].is_string(), "{object}");
    }
    let with = |expected: Value, msg: &str| {
        let fits = |object: &&Value| {
            let mut fields = expected.as_object().unwrap().iter();
            fields.all(|(key, value)| object[key] == *value) && matches(msg, object["msg"].as_str().unwrap())
        };
        assert!(objects.iter().any(|object| fits(&object)), "{expected} {msg}: {log}");
    };
    with(
        json!({"level": "info", "version": version}),
        &what(&sidecar, "no state"),
    );
    with(json!({"level": "info"}), &format!("answers over HTTP on {listen}"));
    with(
        json!({"level": "info", "status": "OK", "reason": "service_up"}),
        "1 instance, slowest answer *",
    );
    with(
        json!({"level": "error", "status": "CRITICAL", "reason": "instances_out_of_range"}),
        "0 instances*",
    );
    with(
        json!({"level": "info", "probe": "/livez", "http_status": 200}),
        "liveness pass: orders: * answered * ago",
    );
    with(
        json!({"level": "warning", "probe": "/readyz", "http_status": 503}),
        "readiness fail: orders: the instance with pod=one did not answer the check of * ago",
    );
    let log = sidecar.end(libc::SIGINT);
    assert_eq!(find_secret(&log), None, "{log}");
    let last: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert!(
        matches("SIGINT: ends, after * check* in *s", last["msg"].as_str().unwrap()),
        "{log}"
    );

    Check::new(["watch", "-n", "orders", "--log-format", "xml"])
        .run()
        .assert_stderr(
            3,
            "",
            "check_nats_service: --log-format: 'xml' is neither text nor json (see --help)",
        );
}

/// `nohup` works: the end of a terminal ends nothing.
#[test]
#[ignore = "needs nats-server"]
fn sighup_that_was_ignored_stays_ignored() {
    let server = Server::start(Version::Newest);
    let flags = ["--interval", "1h", "--never-seen", "ok", "--confirm", "0"];
    let sidecar = Sidecar::start_under(&["nohup"], &server.url(), &flags);
    sidecar.wait_for_line("orders OK service_never_seen: ");
    sidecar.signal(libc::SIGHUP);
    // Whatever comes after it, it was not heard.
    thread::sleep(Duration::from_millis(300));
    assert!(!sidecar.log().contains("SIGHUP"), "{}", sidecar.log());
    sidecar.end(libc::SIGTERM);
    // A check, too: it ends by its time limit.
    let hole = Blackhole::start();
    let words = ["check", "-n", "orders", "--no-state", "-t", "1s", "-s", &hole.url()];
    let check = Check::new(words).under(["nohup"]).spawn();
    let pid = check.pid();
    wait_for("it connects", || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        // Until then it is nohup, which ignores it as well.
        (status.contains("Name:\tcheck_nats_serv") && !status.contains("Threads:\t1\n")).then_some(())
    });
    check.signal(libc::SIGHUP);
    let out = check.wait();
    assert!(!out.stdout.contains("SIGHUP"), "{}", out.stdout);
    assert_eq!(out.code, Some(3));
}

/// A check out of turn takes no turn away.
#[test]
#[ignore = "timed: tests/run.sh runs it alone"]
fn timed_sighup_does_not_delay_the_next_check() {
    let connections = std::sync::Arc::new(AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&connections);
    let fake = Fake::start(move |conn| {
        count.fetch_add(1, SeqCst);
        up(conn)
    });
    let sidecar = Sidecar::start(&fake.url(), &["--interval", "1s", "--stall", "20ms"]);
    let wait_for_count = |n| wait_for("a check", || (connections.load(SeqCst) >= n).then_some(()));
    wait_for_count(2);
    let begin = Instant::now();
    wait_for("it sleeps", || sidecar.check().is_none().then_some(()));
    sidecar.signal(libc::SIGHUP);
    wait_for_count(3);
    let third = begin.elapsed();
    wait_for_count(4);
    let fourth = begin.elapsed();
    sidecar.end(libc::SIGTERM);
    assert!(third < Duration::from_millis(700), "{third:?}");
    assert!(fourth < Duration::from_millis(1700), "{fourth:?}");
}

/// Process 1 gets no signal that it does not ask for, and inherits the children of others.
#[test]
#[ignore = "needs nats-server"]
fn timed_as_process_1_it_ends_on_sigterm_and_reaps_orphans() {
    if !is_root() {
        return;
    }
    let server = Server::start(Version::Newest);
    // Makes orphans that end at once, and becomes the sidecar.
    let script = "for n in 1 2 3; do (sleep 0.05 & ) ; done; exec \"$@\"";
    let under = ["unshare", "--pid", "--fork", "--kill-child", "sh", "-c", script, "sh"];
    let sidecar = Sidecar::start_under(&under, &server.url(), &["--interval", "50ms", "--stall", "20ms"]);
    sidecar.wait_for_line("orders UNKNOWN service_never_seen: ");
    let pid = sidecar.check().expect("process 1 in its own eyes");
    assert!(
        fs::read_to_string(format!("/proc/{pid}/status"))
            .unwrap()
            .contains("\t1\n")
    );
    let children = || fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let is_dead =
        |child: &str| fs::read_to_string(format!("/proc/{child}/stat")).is_ok_and(|stat| stat.contains(") Z "));
    let are_buried = || {
        let names = |child: &str| fs::read_to_string(format!("/proc/{child}/comm")).unwrap_or_default();
        !children()
            .split_whitespace()
            .any(|child| names(child).contains("sleep") || is_dead(child))
    };
    sidecar.wait_for_the_next();
    wait_for("no orphans", || are_buried().then_some(()));
    let sent = Instant::now();
    // SAFETY: kill has no memory effects; the process is the child of ours that has not ended.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
    wait_for("its end", || {
        (!Path::new(&format!("/proc/{pid}")).exists()).then_some(())
    });
    assert_took(sent.elapsed(), GRACE + SLACK, &"its end");
    let mut sidecar = sidecar;
    assert_eq!(
        process::wait(&mut sidecar.child, LIMIT).and_then(|status| status.code()),
        Some(0)
    );
    sidecar.assert_whole();
}

#[test]
#[ignore = "needs nats-server"]
fn a_check_that_hangs_is_ended_and_the_next_goes_on() {
    let server = Server::start(Version::Newest);
    let _service = Service::async_nats(&server.url(), "orders").start();
    let flags = [
        "--interval",
        "100ms",
        "--stall",
        "20ms",
        "--timeout",
        "300ms",
        "--confirm",
        "50ms",
    ];
    let sidecar = Sidecar::start(&server.url(), &flags);
    sidecar.wait_for_line("orders OK service_up: ");
    let frozen = wait_for("a check that is stopped", || {
        let pid = sidecar.check()?;
        // SAFETY: kill has no memory effects; at worst the check has just ended.
        unsafe { libc::kill(pid, libc::SIGSTOP) };
        let stopped = |stat: String| stat.contains(") T ");
        fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(stopped)
            .then_some(pid)
    });
    // While it waits for one that will not come, it still hears.
    sidecar.signal(libc::SIGHUP);
    sidecar.wait_for_line("orders UNKNOWN interrupted: a check hung or died, and was ended");
    assert!(!Path::new(&format!("/proc/{frozen}")).exists());
    wait_for("it goes on", || {
        (sidecar.log().matches("orders OK service_up: ").count() == 2).then_some(())
    });
    sidecar.end(libc::SIGTERM);

    // And it ends at once while a check hangs for ever.
    let sidecar = Sidecar::start(
        &server.url(),
        &["--interval", "1ms", "--stall", "20ms", "--timeout", "1m"],
    );
    wait_for("a check that is stopped", || {
        let pid = sidecar.check()?;
        // SAFETY: as above.
        unsafe { libc::kill(pid, libc::SIGSTOP) };
        fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| stat.contains(") T "))
            .then_some(())
    });
    sidecar.end(libc::SIGINT);
}

/// The log names the file, the other file and the metrics have the reason, the checks go on, and the end is clean.
#[test]
#[ignore = "needs nats-server"]
fn an_unwritable_file_has_a_reason_of_its_own_and_the_checks_go_on() {
    let server = Server::start(Version::Newest);
    for (file, reason) in [
        ("orders.prom", "textfile_unwritable"),
        ("orders.json", "status_file_unwritable"),
    ] {
        let port = free_port();
        let listen = format!("127.0.0.1:{port}");
        let (dir, elsewhere) = (TempDir::new(), TempDir::new());
        let path = elsewhere.join(&format!("none/{file}"));
        let files = ["orders.prom", "orders.json"].map(|name| if name == file { path.clone() } else { dir.join(name) });
        let flags = [
            "--interval",
            "10ms",
            "--confirm",
            "0",
            "--stall",
            "10ms",
            "--never-seen",
            "ok",
        ];
        let flags = [&flags[..], &["--listen", &listen]].concat();
        let sidecar = Sidecar::start_writing(dir, files, &[], &server.url(), &flags);
        sidecar.wait_for_line(&format!(
            " orders UNKNOWN {reason}: cannot write {path}: there is no folder "
        ));
        for (page, text) in [
            ("/metrics", format!("reason=\"{reason}\"}} 1\n")),
            ("/status", format!("\"{reason}\"")),
        ] {
            wait_for(page, || http::get(port, page).ok().filter(|body| body.contains(&text)));
        }
        if file == "orders.prom" {
            let status = sidecar.wait_for_the_next();
            assert_eq!(
                (&status["status"], &status["reason"]),
                (&"UNKNOWN".into(), &reason.into())
            );
            sidecar.wait_for_the_next();
            assert_eq!(sidecar.log().matches(reason).count(), 1, "a repeated line");
            assert_eq!(
                sidecar.log().matches(reason).count(),
                1,
                "a line that does not change is not repeated"
            );
        }
        fs::create_dir(elsewhere.join("none")).unwrap();
        sidecar.wait_for_line(" orders OK service_never_seen: ");
        wait_for("the file", || fs::metadata(&path).ok());
        sidecar.end(libc::SIGTERM);
    }
}

/// A killed sidecar leaves no check that would go on asking, and writing to its files.
#[test]
fn a_check_ends_when_its_sidecar_is_killed() {
    let hole = Blackhole::start();
    let sidecar = Sidecar::start(&hole.url(), &["--timeout", "1h", "--interval", "2h"]);
    let check = wait_for("a check", || sidecar.check());
    sidecar.signal(libc::SIGKILL);
    wait_for("the end of the check", || {
        // What nobody has waited for has ended, too.
        match fs::read_to_string(format!("/proc/{check}/stat")) {
            Ok(stat) => stat.contains(") Z ").then_some(()),
            Err(_) => Some(()),
        }
    });
}

#[test]
fn bad_arguments_are_reported_on_stderr() {
    for (args, text) in [
        (&[][..], "which service? *"),
        (
            &["-n", "orders", "--interval", "0"],
            "--interval: it must be longer than 0 *",
        ),
        (
            &["-n", "orders", "--interval", "soon"],
            "--interval: 'soon' is not a duration *",
        ),
        (&["-n", "orders", "--creds", "/none"], "--creds /none: *"),
        (&["-n", "orders", "--textfile", ""], "--textfile: the name is empty *"),
    ] {
        Check::new(["watch"])
            .args(args)
            .run()
            .assert_stderr(3, "", &format!("check_nats_service: {text}"));
    }
}

/// Resources that it holds: they must be the same after a year.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Holdings {
    threads: usize,
    descriptors: usize,
    children: usize,
}

fn holdings(pid: u32) -> Holdings {
    let count = |what: &str| fs::read_dir(format!("/proc/{pid}/{what}")).unwrap().count();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    Holdings {
        threads: count("task"),
        descriptors: count("fd"),
        children: children.split_whitespace().count(),
    }
}

/// Minimum number of checks in a soak: `WATCH_EPOCHS=10000` for a long one.
fn epochs() -> u64 {
    std::env::var("WATCH_EPOCHS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(150)
}

#[test]
#[ignore = "needs nats-server"]
fn soak_leaks_nothing_and_reports_every_outage() {
    each([false, true], |tls| soak(tls, epochs()));
}

fn soak(tls: bool, epochs: u64) {
    let certs = Certs::new();
    let config = if tls { certs.config("server", "") } else { String::new() };
    let mut server = Server::with_config(Version::Newest, &config);
    let proxy = Proxy::start(server.port());
    let ca = certs.path("ca.pem");
    let scheme = |url: String| if tls { url.replace("nats://", "tls://") } else { url };
    let start = |server: &Server| {
        let service = Service::async_nats(&scheme(server.url()), "orders");
        if tls {
            service.tlsca(&ca).start()
        } else {
            service.start()
        }
    };
    // The confirmation is longer than the service needs to come back after a restart of the server.
    let mut flags = vec![
        "--interval",
        "10ms",
        "--stall",
        "10ms",
        "--confirm",
        "1s",
        "--timeout",
        "1500ms",
    ];
    if tls {
        flags.extend(["--tlsca", &ca]);
    }
    let mut service = Some(start(&server));
    let sidecar = Sidecar::start(&scheme(proxy.url()), &flags);
    sidecar.wait_for_line("orders OK service_up: ");
    let reason = |reason: &'static str| sidecar.wait_for_status(reason, |status| status["reason"] == reason);
    // A machine that is too busy has other reasons for it than the trouble.
    let cannot_ask = || sidecar.wait_for_status("cannot ask", |status| status["asked"] == false);
    // All troubles, one after the other.
    let mut round = |calm: u64| {
        reason("service_up");
        (0..calm).for_each(|_| drop(sidecar.wait_for_the_next()));
        server.stop();
        cannot_ask();
        server.start_again();
        reason("service_up");
        server.freeze();
        cannot_ask();
        server.thaw();
        reason("service_up");
        proxy.cut();
        cannot_ask();
        proxy.mend();
        reason("service_up");
        proxy.stick();
        cannot_ask();
        proxy.unstick();
        reason("service_up");
        drop(service.take());
        reason("service_down");
        // An open outage is still open when NATS was away meanwhile.
        proxy.cut();
        cannot_ask();
        assert_eq!(sidecar.status().unwrap()["reason"], "service_down");
        proxy.mend();
        service = Some(start(&server));
        reason("service_up");
    };
    // What is allocated once is no leak.
    round(10);
    let pid = sidecar.pid();
    let (held, used) = (at_rest(|| holdings(pid)), at_rest(|| memory(pid)));
    let calm = (epochs / 3).min(300);
    let rounds = epochs.div_ceil(calm) as usize;
    (0..rounds).for_each(|_| round(calm));
    let (checks, outages) = (rounds as u64 * calm, rounds + 1);
    wait_for_rest(&held, || holdings(pid));
    // A page here and there is the allocator's; a leak of 100 bytes per check would be more in the long run.
    let now = wait_for_rest(&(used + 256), || memory(pid));
    eprintln!(
        "TLS {tls}: at least {checks} checks, {outages} outages, memory {used} KiB at first, {now} KiB at last, {held:?}"
    );
    let log = sidecar.lines();
    let told = |what: &str| log.iter().filter(|line| line.starts_with(what)).count();
    // Told as found and, where NATS went away meanwhile, never as anything else.
    assert_eq!(
        told("orders CRITICAL service_down: down, no responders, "),
        outages,
        "{}",
        sidecar.log()
    );
    assert_eq!(told("orders CRITICAL "), outages, "{}", sidecar.log());
    let known = [
        "orders OK service_up: ",
        "orders OK service_recovered: ",
        "orders CRITICAL service_down: ",
    ];
    for line in &log {
        assert!(
            known.iter().any(|start| line.starts_with(start)) || line.starts_with("orders UNKNOWN nats_unreachable: "),
            "{line}"
        );
    }
    assert_eq!(told("orders OK service_recovered: "), outages, "{}", sidecar.log());
    sidecar.end(libc::SIGTERM);
}

/// Does it when it is dropped, in a panic too.
struct AtTheEnd<F: Fn()>(F);

impl<F: Fn()> Drop for AtTheEnd<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Neither the log nor the metrics tell of an outage, not for one interval.
#[test]
#[ignore = "needs nats-server"]
fn a_restart_of_the_server_is_no_outage() {
    let mut server = Server::start(Version::Newest);
    let _service = Service::nats_py(&server.url(), "orders").start();
    let sidecar = Sidecar::start(&server.url(), &["--interval", "50ms"]);
    sidecar.wait_for_status("up", |status| status["up"] == true);
    let metrics = sidecar.dir.join("orders.prom");
    let ends = AtomicUsize::new(0);
    thread::scope(|scope| {
        let looks = scope.spawn(|| {
            let mut looks = 0;
            while ends.load(SeqCst) == 0 {
                let text = fs::read_to_string(&metrics).unwrap();
                let metrics = Metrics::parse(&text);
                assert_eq!(metrics.of("orders", "nats_service_outage"), Some(0.0), "{text}");
                assert_ne!(metrics.of("orders", "nats_service_up"), Some(0.0), "{text}");
                looks += 1;
                thread::sleep(Duration::from_millis(1));
            }
            looks
        });
        // Whatever happens: nobody looks for ever.
        let end = AtTheEnd(|| ends.store(1, SeqCst));
        for _ in 0..2 {
            server.stop();
            sidecar.wait_for_status("cannot be asked", |status| status["asked"] == false);
            server.start_again();
            sidecar.wait_for_status("up again", |status| status["up"] == true);
        }
        drop(end);
        assert!(looks.join().expect("no outage in the metrics") > 100);
    });
    let log = sidecar.log();
    assert!(!log.contains("CRITICAL"), "{log}");
    sidecar.end(libc::SIGTERM);
}
