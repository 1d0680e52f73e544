//! The sidecar over HTTP: exactly the right pod fails, NATS being away is nobody's fault, and no client delays a check.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::support::check::{BINARY, SECRET, binary, find_secret, matches};
use super::support::crowd;
use super::support::http::{self, Reply};
use super::support::prometheus::{Prometheus, assert_clean};
use super::support::server::free_port;
use super::support::sidecar::{Sidecar, at_rest, memory, wait_for_rest};
use super::support::{
    Check, Crowd, Fake, LIMIT, Metrics, Proxy, Server, Service, TempDir, Version, each, from_env, is_root, process,
    raw, wait_for,
};

/// Checks often, and soon knows that an instance does not answer.
const SOON: [&str; 8] = [
    "--interval",
    "100ms",
    "--stall",
    "100ms",
    "--confirm",
    "200ms",
    "--max-age",
    "1m",
];

/// A sidecar that answers over HTTP on a port of its own.
struct Listening {
    sidecar: Sidecar,
    port: u16,
}

impl Listening {
    fn start(server: &str, flags: &[&str]) -> Listening {
        Listening::start_under(&[], server, flags)
    }

    fn start_under(under: &[&str], server: &str, flags: &[&str]) -> Listening {
        let port = free_port();
        let address = format!("127.0.0.1:{port}");
        let mut all = vec!["--listen", &address];
        all.extend(flags);
        let sidecar = Sidecar::start_under(under, server, &all);
        let listening = Listening { sidecar, port };
        wait_for("a check", || http::get(port, "/status").ok());
        listening
    }

    #[track_caller]
    fn ask(&self, path: &str) -> Reply {
        http::ask(self.port, "GET", path).unwrap_or_else(|e| panic!("{path}: {e}: {}", self.sidecar.log()))
    }

    #[track_caller]
    fn wait_for(&self, path: &str, status: u16) -> Reply {
        wait_for(&format!("{path} {status}"), || {
            Some(self.ask(path)).filter(|reply| reply.status == status)
        })
    }

    /// Ends it, which has never had to say anything of its HTTP server.
    #[track_caller]
    fn end_without_trouble(self) {
        let log = self.sidecar.log();
        assert!(!log.contains("HTTP server"), "{log}");
        self.sidecar.end(libc::SIGTERM);
    }

    /// The process that answers: of the children, the only one that holds the port.
    #[track_caller]
    fn server(&self) -> u32 {
        wait_for("the one that answers", || {
            let held = format!("socket:[{}]", listening_socket(self.port)?);
            let holders: Vec<u32> = children(self.sidecar.pid())
                .into_iter()
                .filter(|child| descriptors(*child).contains(&held))
                .collect();
            // A check has it too, for a moment.
            (holders.len() == 1).then(|| holders[0])
        })
    }
}

/// The inode of the socket that listens on this port.
fn listening_socket(port: u16) -> Option<String> {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let end = format!(":{port:04X}");
    let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = lines.find(|words| words[1].ends_with(&end) && words[3] == "0A")?;
    Some(line[9].to_owned())
}

fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn descriptors(pid: u32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let targets = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
    targets.map(|target| target.to_string_lossy().into_owned()).collect()
}

fn kill(pid: u32, signal: i32) {
    // SAFETY: kill has no memory effects.
    assert_eq!(unsafe { libc::kill(pid as i32, signal) }, 0);
}

/// Each pod has its own sidecar, which asks for its own instance.
#[test]
#[ignore = "needs nats-server"]
fn exactly_the_right_pod_fails() {
    each([Service::nats_py, Service::nats_js, Service::async_nats], |start| {
        let server = Server::start(Version::Newest);
        let proxy = Proxy::start(server.port());
        let pod = |url: &str, name: &str| start(url, "orders").metadata("pod", name).start();
        let names = ["lives", "frozen", "killed", "cut"];
        let [_lives, frozen, killed] = ["lives", "frozen", "killed"].map(|name| pod(&server.url(), name));
        let cut = pod(&proxy.url(), "cut");
        let cut_id = cut.id().to_owned();
        let sidecars = names.map(|name| {
            let label = format!("pod={name}");
            Listening::start(&server.url(), &[&SOON[..], &["--match", &label]].concat())
        });
        let assert_failing = |failing: &[&str]| {
            each(names.iter().zip(&sidecars), |(name, sidecar)| {
                let status = if failing.contains(name) { 503 } else { 200 };
                for path in ["/livez", "/readyz", "/startupz"] {
                    let reply = sidecar.wait_for(path, status);
                    let text = match status {
                        200 => " answered ".to_owned(),
                        _ => format!(" fail: orders: the instance with pod={name} did not answer "),
                    };
                    assert!(reply.body.contains(&text), "{path} of {name}: {reply:?}");
                }
            });
        };
        assert_failing(&[]);
        frozen.freeze();
        assert_failing(&["frozen"]);
        killed.kill();
        assert_failing(&["frozen", "killed"]);
        proxy.cut();
        wait_for("the server knows that it is gone", || {
            let none = raw::ask(&server.url(), &format!("$SRV.PING.orders.{cut_id}"), 1)
                .ok()?
                .is_empty();
            none.then_some(())
        });
        assert_failing(&["frozen", "killed", "cut"]);
        frozen.thaw();
        proxy.mend();
        assert_failing(&["killed"]);
        for sidecar in sidecars {
            sidecar.end_without_trouble();
        }
    });
}

/// Whatever happens to NATS: no pod is restarted for it, none is sent traffic, and all are back with it.
#[test]
#[ignore = "needs nats-server"]
fn nats_outage_passes_liveness_over_http() {
    each([Service::nats_py, Service::nats_js, Service::async_nats], |start| {
        let mut server = Server::start(Version::Newest);
        let _service = start(&server.url(), "orders").metadata("pod", "one").start();
        let flags = [
            "--interval",
            "300ms",
            "--timeout",
            "6s",
            "--stall",
            "100ms",
            "--match",
            "pod=one",
        ];
        let listening = Listening::start(&server.url(), &flags);
        listening.wait_for("/readyz", 200);
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let looks = scope.spawn(|| {
                let mut looks = 0;
                while !over.load(SeqCst) {
                    let reply = listening.ask("/livez");
                    assert_eq!(reply.status, 200, "{reply:?}");
                    looks += 1;
                    thread::sleep(Duration::from_millis(5));
                }
                looks
            });
            // Whatever happens: nobody looks for ever.
            let end = AtTheEnd(&over);
            let away = |why: &str| {
                let reply = listening.wait_for("/readyz", 503);
                assert!(
                    reply.body.starts_with("readiness fail: orders: cannot ask: "),
                    "{reply:?}"
                );
                listening.wait_for("/startupz", 200);
                wait_for(why, || listening.ask("/livez").body.contains(why).then_some(()));
            };
            server.stop();
            away("connection refused");
            server.start_again();
            listening.wait_for("/readyz", 200);
            server.freeze();
            away("sends nothing for");
            server.thaw();
            listening.wait_for("/readyz", 200);
            listening.wait_for("/startupz", 200);
            drop(end);
            assert!(looks.join().expect("it never fails") > 100);
        });
        listening.sidecar.end(libc::SIGINT);
    });
}

/// Sets it when it is dropped, in a panic too.
struct AtTheEnd<'f>(&'f AtomicBool);

impl Drop for AtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

#[test]
#[ignore = "needs nats-server"]
fn every_page_is_what_the_files_say() {
    let server = Server::start(Version::Newest);
    let _service = Service::async_nats(&server.url(), "orders").count(2).start();
    // After the first check there is time to look at it.
    let listening = Listening::start(
        &server.url(),
        &[
            "--interval",
            "1h",
            "--label",
            "env=prod",
            "--nats-label",
            "eu",
            "--any-instance",
        ],
    );
    let sidecar = &listening.sidecar;
    let page = |path: &str| {
        // On a busy machine, the check that /startupz starts may not be done in time now and then.
        let ask = |method: &str| {
            let ask = || http::ask(listening.port, method, path).ok();
            wait_for(path, || ask().filter(|reply| reply.status == 200))
        };
        let reply = ask("GET");
        let [kind, length] = ["Content-Type", "Content-Length"].map(|name| reply.header(name).unwrap().to_owned());
        assert_eq!((reply.status, length), (200, reply.body.len().to_string()), "{path}");
        for (name, value) in [
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Connection", "close"),
        ] {
            assert_eq!(reply.header(name), Some(value), "{path}");
        }
        let policy = reply.header("Content-Security-Policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; "), "{path}: {policy}");
        let head = ask("HEAD");
        assert_eq!(head.body, "", "{path}");
        assert_eq!(head.header("Content-Type"), reply.header("Content-Type"), "{path}");
        (kind, reply.body)
    };
    // The next check would change them: there is none.
    let file = |name: &str| fs::read_to_string(sidecar.dir.join(name)).unwrap();
    assert_eq!(page("/status"), ("application/json".into(), file("orders.json")));
    let metrics = page("/metrics");
    assert_eq!(
        metrics,
        ("text/plain; version=0.0.4; charset=utf-8".into(), file("orders.prom"))
    );
    assert_clean(&metrics.1);
    assert!(
        metrics
            .1
            .contains("nats_service_instances{service=\"orders\",nats=\"eu\",env=\"prod\"} 2\n")
    );
    assert_eq!(Metrics::parse(&metrics.1).reasons("orders"), ["service_up"]);
    let (kind, html) = page("/");
    assert_eq!(kind, "text/html; charset=utf-8");
    assert!(
        html.contains("<title>OK - orders</title>") && html.contains("<p>2 instances, slowest answer "),
        "{html}"
    );
    for (path, name) in [
        ("/livez", "liveness"),
        ("/readyz", "readiness"),
        ("/startupz", "startup"),
    ] {
        let (kind, body) = page(path);
        assert_eq!(kind, "text/plain; charset=utf-8");
        let line = format!("{name} pass: orders: ");
        assert!(body.starts_with(&line) && body.lines().count() == 1, "{body}");
        let (_, verbose) = page(&format!("{path}?verbose"));
        let lines: Vec<&str> = verbose.lines().collect();
        assert!(lines.len() == 3 && lines[0].starts_with(&line), "{verbose}");
        assert!(lines[1].starts_with("OK service_up: 2 instances, "), "{verbose}");
        assert!(
            lines[2].starts_with("checked ") && lines[2].ends_with(", every 1h; counts for 3h"),
            "{verbose}"
        );
    }
    for (method, path, status) in [
        ("GET", "/etc/passwd", 404),
        ("GET", "/../../etc/passwd", 404),
        ("GET", "/%2e%2e/%2e%2e/etc/passwd", 404),
        ("GET", "/livez/", 404),
        ("GET", "/<script>", 404),
        ("POST", "/livez", 405),
        ("DELETE", "/status", 405),
    ] {
        let reply = http::ask(listening.port, method, path).unwrap();
        assert_eq!(reply.status, status, "{method} {path}");
        assert!(
            !reply.body.contains("passwd") && !reply.body.contains("script"),
            "{reply:?}"
        );
        assert_eq!(
            reply.header("Allow"),
            (status == 405).then_some("GET, HEAD"),
            "{method} {path}"
        );
    }
    listening.sidecar.end(libc::SIGTERM);
}

/// The policy of the page allows its own style, and nothing else.
#[test]
#[ignore = "needs nats-server"]
fn the_policy_of_the_page_is_that_of_its_style() {
    let server = Server::start(Version::Newest);
    let listening = Listening::start(&server.url(), &["--interval", "1h", "--never-seen", "ok"]);
    let page = listening.ask("/");
    let style = page
        .body
        .split("<style>")
        .nth(1)
        .unwrap()
        .split("</style>")
        .next()
        .unwrap();
    let dir = TempDir::new();
    fs::write(dir.join("style"), style).unwrap();
    let script = "import base64, hashlib, sys; print(base64.b64encode(hashlib.sha256(open(sys.argv[1], 'rb').read()).digest()).decode())";
    let digest = Check::program(&from_env("NATS_PY_PYTHON"), ["-c", script, &dir.join("style")])
        .run()
        .stdout;
    let policy = page.header("Content-Security-Policy").unwrap();
    let expected = format!("; style-src 'sha256-{}'; img-src data:", digest.trim());
    assert!(
        policy.ends_with(&expected),
        "src/render/html/mod.rs: {policy}, but it is {expected}"
    );
}

#[test]
#[ignore = "needs nats-server"]
fn without_an_instance_there_are_no_probes() {
    let server = Server::start(Version::Newest);
    let _service = Service::async_nats(&server.url(), "orders").start();
    let listening = Listening::start(&server.url(), &SOON);
    for path in ["/livez", "/readyz", "/startupz?verbose"] {
        let reply = listening.ask(path);
        assert_eq!(reply.status, 404, "{reply:?}");
        assert!(
            reply
                .body
                .starts_with("which instance is this pod's? Start watch with --id, "),
            "{reply:?}"
        );
    }
    assert_eq!(listening.ask("/status").status, 200);
}

#[test]
#[ignore = "needs nats-server"]
fn instance_can_be_selected_by_each_flag() {
    let server = Server::start(Version::Newest);
    let service = Service::async_nats(&server.url(), "orders")
        .metadata("pod", "one")
        .start();
    let dir = TempDir::new();
    let file = dir.join("id");
    for flags in [
        &["--id", service.id()][..],
        &["--match", "pod=one"],
        &["--any-instance"],
    ] {
        let listening = Listening::start(&server.url(), &[&SOON[..], flags].concat());
        let reply = listening.ask("/readyz");
        assert!(
            reply.status == 200 && reply.body.contains(service.id()),
            "{flags:?}: {reply:?}"
        );
    }
    for flags in [&["--id", "other"][..], &["--match", "pod=two"]] {
        let listening = Listening::start(&server.url(), &[&SOON[..], flags].concat());
        assert_eq!(listening.ask("/livez").status, 503, "{flags:?}");
    }
    // The application writes its id when it has one, and another after a restart.
    let listening = Listening::start(&server.url(), &[&SOON[..], &["--id-file", &file]].concat());
    let reply = listening.ask("/livez");
    let text = format!("liveness fail: orders: no instance yet: the id file {file}: No such file");
    assert!(reply.status == 503 && reply.body.starts_with(&text), "{reply:?}");
    fs::write(&file, service.id()).unwrap();
    assert_eq!(listening.ask("/livez").status, 200);
    fs::write(&file, "other\n").unwrap();
    assert_eq!(listening.ask("/livez").status, 503);
}

/// A pod that is new, and slower than those that are known, passes as soon as it answers.
#[test]
fn a_slow_newcomer_is_seen_by_the_next_check() {
    let newcomer = Arc::new(AtomicBool::new(false));
    let there = Arc::clone(&newcomer);
    let fake = Fake::start(move |conn| {
        conn.handshake()?;
        loop {
            let request = conn.read_request()?;
            conn.reply(&request, br#"{"name":"orders","id":"A"}"#)?;
            if there.load(SeqCst) {
                // The passing of time is what is tested: a slow instance.
                thread::sleep(Duration::from_millis(30));
                conn.reply(&request, br#"{"name":"orders","id":"SLOW"}"#)?;
            }
        }
    });
    let listening = Listening::start(&fake.url(), &[&SOON[..], &["--id", "SLOW"]].concat());
    // So that there is nobody to wait for: all that are known have answered.
    listening.wait_for("/startupz", 503);
    (0..3).for_each(|_| drop(listening.sidecar.wait_for_the_next()));
    newcomer.store(true, SeqCst);
    listening.wait_for("/startupz", 200);
    listening.sidecar.end(libc::SIGTERM);
}

/// More instances than are told one by one: of one that is not told nothing is said.
#[test]
#[ignore = "needs nats-server"]
fn a_pod_of_a_large_service_is_not_restarted() {
    let server = Server::start(Version::Newest);
    let _crowd = Crowd::start(&server.url(), "orders", 1500);
    for (id, readiness) in [(crowd::id(3), 200), (crowd::id(1499), 503)] {
        let flags = ["--interval", "500ms", "--id", &id];
        let listening = Listening::start(&server.url(), &flags);
        assert_eq!(listening.ask("/livez").status, 200, "{id}");
        let reply = listening.ask("/readyz");
        let told = reply.body.contains("lists only 1000 of 1500 instances");
        assert_eq!((reply.status, told), (readiness, readiness == 503), "{reply:?}");
    }
}

/// A check of a service that hangs takes its time, and what the one before found counts until then: a pod that fails does not
/// pass now and then.
#[test]
#[ignore = "needs nats-server"]
fn a_pod_that_hangs_fails_all_the_time() {
    let server = Server::start(Version::Newest);
    let service = Service::async_nats(&server.url(), "orders").start();
    let flags = ["--interval", "100ms", "--timeout", "3s", "--id", service.id()];
    let listening = Listening::start(&server.url(), &flags);
    listening.wait_for("/livez", 200);
    service.freeze();
    listening.wait_for("/livez", 503);
    let seen = || listening.sidecar.status().map(|status| status["time"].clone());
    for _ in 0..3 {
        let before = seen();
        wait_for("another check", || {
            let reply = listening.ask("/livez");
            assert_eq!(reply.status, 503, "{reply:?}");
            (seen() != before).then_some(())
        });
    }
    listening.sidecar.end(libc::SIGTERM);
}

/// As many instances as are told, each with as many and as long words as are kept, in the widest letters: pages of megabytes.
#[test]
#[ignore = "timed: tests/run.sh runs it alone"]
fn timed_the_wordiest_service_fits() {
    let letter = "\u{1d4d0}";
    let metadata: Vec<String> = (0..6)
        .map(|n| format!("\"{n}{}\":\"{}\"", letter.repeat(31), letter.repeat(64)))
        .collect();
    let metadata = metadata.join(",");
    let version = letter.repeat(64);
    let fake = Fake::start(move |conn| {
        conn.handshake()?;
        loop {
            let request = conn.read_request()?;
            for n in 0..1000 {
                let id = format!("{n:0>128}");
                let reply = format!(
                    "{{\"name\":\"orders\",\"id\":\"{id}\",\"version\":\"{version}\",\"metadata\":{{{metadata}}}}}"
                );
                conn.reply(&request, reply.as_bytes())?;
            }
        }
    });
    let last = format!("{:0>128}", 999);
    let listening = Listening::start(&fake.url(), &["--interval", "500ms", "--stall", "500ms", "--id", &last]);
    let (pid, begin) = (listening.server(), memory(listening.server()));
    let size = listening.ask("/status").body.len();
    assert!(size > 2_000_000, "{size}");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let _end = AtTheEnd(&done);
        for path in ["/livez", "/readyz?verbose", "/status", "/metrics", "/", "/status"] {
            let (listening, done) = (&listening, &done);
            scope.spawn(move || {
                while !done.load(SeqCst) {
                    assert_eq!(listening.ask(path).status, 200, "{path}");
                    thread::sleep(Duration::from_millis(50));
                }
            });
        }
        for _ in 0..2 {
            listening.sidecar.wait_for_the_next();
        }
    });
    let end = memory(pid);
    eprintln!("/status of {size} bytes; the server takes {begin} KiB at first, {end} KiB at last");
    assert!(end < 64 * 1024, "{end} KiB");
    listening.end_without_trouble();
}

/// Before the first check has ended, and when the checks hang: nothing is known of the pod.
#[test]
#[ignore = "needs nats-server"]
fn outdated_check_does_not_count_for_probes() {
    let frozen = Server::start(Version::Newest);
    let _service = Service::async_nats(&frozen.url(), "orders").start();
    frozen.freeze();
    let start = |more: &[&str]| {
        let port = free_port();
        let address = format!("127.0.0.1:{port}");
        let flags = ["--listen", &address, "--any-instance", "--interval", "100ms"];
        (Sidecar::start(&frozen.url(), &[&flags[..], more].concat()), port)
    };
    let (sidecar, port) = start(&["--timeout", "1m"]);
    let ask = |path| wait_for("it listens", || http::ask(port, "GET", path).ok());
    let none = "cannot ask, which is not this pod's fault: no check has ended yet";
    let reply = ask("/livez");
    assert_eq!(
        (reply.status, reply.body),
        (200, format!("liveness pass: orders: {none}\n"))
    );
    for path in ["/readyz", "/startupz", "/metrics", "/status"] {
        let reply = ask(path);
        assert!(
            reply.status == 503 && reply.body.ends_with("no check has ended yet\n"),
            "{path}: {reply:?}"
        );
    }
    assert!(ask("/").body.contains("<title>UNKNOWN - orders</title>"));
    sidecar.end(libc::SIGTERM);
    frozen.thaw();
    let (sidecar, port) = start(&["--timeout", "800ms", "--stall", "50ms", "--max-age", "1s"]);
    let ask = |path| wait_for("it listens", || http::ask(port, "GET", path).ok());
    wait_for("up", || (ask("/readyz").status == 200).then_some(()));
    // Nobody checks any more, and the server goes on.
    sidecar.signal(libc::SIGSTOP);
    wait_for("too old", || (ask("/readyz").status == 503).then_some(()));
    let old = "the last check is *s old, more than 1.0s (do the checks hang?)";
    let (begin, end) = old.split_once('*').unwrap();
    for (path, status) in [("/readyz", 503), ("/startupz", 503), ("/livez", 200)] {
        let reply = ask(path);
        let said = reply.body.contains(begin) && reply.body.trim_end().ends_with(end);
        assert!(reply.status == status && said, "{reply:?}");
    }
    let page = ask("/").body;
    assert!(
        page.contains("<title>UNKNOWN - orders</title>") && page.contains("The last check is "),
        "{page}"
    );
    sidecar.signal(libc::SIGCONT);
    wait_for("it goes on", || (ask("/readyz").status == 200).then_some(()));
    sidecar.end(libc::SIGTERM);
}

#[test]
#[ignore = "needs nats-server"]
fn a_server_that_dies_or_hangs_is_started_again() {
    let server = Server::start(Version::Newest);
    let _service = Service::async_nats(&server.url(), "orders").start();
    let listening = Listening::start(&server.url(), &[&SOON[..], &["--any-instance"]].concat());
    for n in 1..=2 {
        let first = listening.server();
        kill(first, libc::SIGKILL);
        // No connection is refused meanwhile: the port stays, and what was found last is known again at once.
        assert_eq!(listening.ask("/livez").status, 200);
        assert_eq!(listening.ask("/status").status, 200);
        assert_ne!(listening.server(), first);
        let log = listening.sidecar.log();
        assert_eq!(
            log.matches("the HTTP server died; it is started again\n").count(),
            n,
            "{log}"
        );
    }
    let hung = listening.server();
    kill(hung, libc::SIGSTOP);
    listening
        .sidecar
        .wait_for_line("the HTTP server hung and was ended; it is started again");
    wait_for("its end", || {
        (!Path::new(&format!("/proc/{hung}")).exists()).then_some(())
    });
    assert_eq!(listening.ask("/livez").status, 200);
    let log = listening.sidecar.log();
    assert_eq!(
        log.matches("orders OK service_up").count(),
        1,
        "the checks notice nothing: {log}"
    );
    listening.sidecar.end(libc::SIGTERM);
}

/// It ends with its parent, however that ends, and leaves the port.
#[test]
#[ignore = "needs nats-server"]
fn the_server_ends_with_the_sidecar() {
    let server = Server::start(Version::Newest);
    let is_there = |pid: u32| Path::new(&format!("/proc/{pid}")).exists();
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let listening = Listening::start(&server.url(), &["--interval", "1h", "--never-seen", "ok"]);
        let (pid, port) = (listening.server(), listening.port);
        listening.sidecar.end(signal);
        assert!(!is_there(pid), "{signal}");
        TcpListener::bind(("127.0.0.1", port)).unwrap_or_else(|e| panic!("{signal}: {e}"));
    }
    // A check that is under way ends with it, however it ends.
    let listening = Listening::start(&server.url(), &[&SOON[..2], &["--never-seen", "ok"]].concat());
    let (pid, port) = (listening.server(), listening.port);
    server.freeze();
    let check = wait_for("a check that hangs", || {
        let check = children(listening.sidecar.pid())
            .into_iter()
            .find(|child| *child != pid)?;
        // A check that does not hang has ended by then.
        thread::sleep(Duration::from_millis(200));
        is_there(check).then_some(check)
    });
    listening.sidecar.signal(libc::SIGKILL);
    wait_for("its end", || (!is_there(pid)).then_some(()));
    TcpListener::bind(("127.0.0.1", port)).unwrap();
    wait_for("the end of the check", || (!is_there(check)).then_some(()));
}

/// One process for each check, as ever, and one more only with `--listen`.
#[test]
#[ignore = "needs nats-server"]
fn without_listen_there_is_no_further_process() {
    let server = Server::start(Version::Newest);
    let most_at_rest = |pid: u32| {
        // At rest there is no check under way.
        let looks = (0..200).map(|_| {
            thread::sleep(Duration::from_millis(1));
            (children(pid).len(), descriptors(pid).len())
        });
        looks.min().unwrap()
    };
    let plain = Sidecar::start(&server.url(), &["--interval", "1h", "--never-seen", "ok"]);
    plain.wait_for_line("service_never_seen");
    let (children, held) = most_at_rest(plain.pid());
    assert_eq!(children, 0);
    let listening = Listening::start(&server.url(), &["--interval", "1h", "--never-seen", "ok"]);
    // The port, the socket to the server, and what the last check found.
    assert_eq!(most_at_rest(listening.sidecar.pid()), (1, held + 3));
}

#[test]
fn mistakes_are_reported_at_once() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let port = format!(":{}", taken.local_addr().unwrap().port());
    let in_use = |typed: &str| {
        format!(
            "--listen: cannot listen on {typed}: Address already in use*, give another port, or end who has it (ss -ltnp)"
        )
    };
    let no_address = |typed: &str| {
        format!(
            "--listen: '{typed}' is not an address and a port, like :9422, 127.0.0.1:9422 or [::1]:9422 (see --help)"
        )
    };
    let needs = "the following required arguments were not provided: --listen <[ADDR]:PORT> (see --help)";
    for (args, text) in [
        (&["--listen", &address][..], in_use(&address)),
        (&["--listen", &port], in_use(&port)),
        (&["--listen", "9422"], no_address("9422")),
        (&["--listen", "localhost:9422"], no_address("localhost:9422")),
        (&["--listen", ":0"], no_address(":0")),
        (&["--listen", ":65536"], no_address(":65536")),
        (&["--listen", ":+80"], no_address(":+80")),
        (&["--listen", ""], no_address("")),
        (
            &["--listen", "192.0.2.1:9422"],
            "--listen: cannot listen on 192.0.2.1:9422: Cannot assign requested address*, give an address of this machine, or \
             only the port, like :9422"
                .into(),
        ),
        (&["--id", "A"], needs.into()),
        (&["--any-instance"], needs.into()),
        (&["--max-age", "1m"], needs.into()),
        (
            &["--listen", ":9422", "--max-age", "0"],
            "--max-age: it must be longer than 0 (see --help)".into(),
        ),
        (
            &["--listen", ":9422", "--interval", "5s", "--max-age", "14s"],
            "--max-age: 14s is less than --interval and --timeout together (15s), which a good check may be old (see --help)"
                .into(),
        ),
        (
            &["--listen", ":9422", "--match-env", "pod=NO_SUCH"],
            "--match-env: the variable NO_SUCH is not set (see --help)".into(),
        ),
    ] {
        Check::new(["watch", "-n", "orders"])
            .args(args)
            .run()
            .assert_stderr(3, "", &format!("check_nats_service: {text}"));
    }
}

/// Every address of the machine, of IPv4 and, where there is one, of IPv6.
#[test]
#[ignore = "needs nats-server"]
fn only_a_port_is_every_address() {
    let server = Server::start(Version::Newest);
    let port = free_port();
    let typed = format!(":{port}");
    let sidecar = Sidecar::start(&server.url(), &["--interval", "1h", "--listen", &typed]);
    wait_for("IPv4", || http::ask(port, "GET", "/").ok());
    if TcpListener::bind("[::1]:0").is_ok() {
        TcpStream::connect(("::1", port)).expect("IPv6");
    }
    sidecar.wait_for_line(&format!("answers over HTTP on :{port}\n"));
    sidecar.end(libc::SIGTERM);
}

/// A page in a browser on this machine can ask under a name that its author had resolved to 127.0.0.1 (DNS rebinding).
#[test]
#[ignore = "needs nats-server"]
fn on_loopback_only_requests_for_loopback_are_answered() {
    let server = Server::start(Version::Newest);
    let here = Listening::start(&server.url(), &["--interval", "1h", "--never-seen", "ok"]);
    let every_port = free_port();
    let typed = format!(":{every_port}");
    let _everywhere = Sidecar::start(
        &server.url(),
        &["--interval", "1h", "--never-seen", "ok", "--listen", &typed],
    );
    wait_for("a check", || http::get(every_port, "/status").ok());
    let refusal =
        "this server is for its own machine only: it answers where the Host is localhost or a loopback address\n";
    for (host, is_here) in [
        ("localhost", true),
        ("LOCALHOST:9422", true),
        ("127.0.0.1:9422", true),
        ("[::1]", true),
        ("rebind.example.org", false),
        ("rebind.example.org:9422", false),
        ("127.0.0.1.example.org", false),
        ("10.0.0.1", false),
        ("", false),
    ] {
        for path in ["/", "/status", "/metrics", "/livez", "/healthz", "/none"] {
            let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let reply = http::send(here.port, request.as_bytes()).unwrap();
            assert_eq!(reply.status == 421, !is_here, "{host} {path}: {reply:?}");
            assert!(is_here || reply.body == refusal, "{reply:?}");
            let reply = http::send(every_port, request.as_bytes()).unwrap();
            assert_ne!(reply.status, 421, "{host} {path}: {reply:?}");
        }
    }
    // No browser leaves it out.
    assert_eq!(
        http::send(here.port, b"GET /status HTTP/1.0\r\n\r\n").unwrap().status,
        200
    );
}

/// Returns whether the memory of this process has this text somewhere.
fn has_in_memory(pid: u32, text: &str) -> bool {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let (mut read, mut found) = (0, false);
    for line in maps
        .lines()
        .filter(|line| line.split(' ').nth(1).is_some_and(|mode| mode.starts_with('r')))
    {
        let (begin, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let [begin, end] = [begin, end].map(|at| u64::from_str_radix(at, 16).unwrap());
        let mut part = vec![0; (end - begin) as usize];
        // Some of the kernel's own cannot be read.
        if memory.read_exact_at(&mut part, begin).is_ok() {
            read += part.len();
            found |= String::from_utf8_lossy(&part).contains(text);
        }
    }
    assert!(read > 1_000_000, "only {read} bytes of {pid} could be read");
    found
}

/// Whoever took over the process that answers the network would find none in it.
#[test]
#[ignore = "needs nats-server"]
fn the_process_that_answers_has_no_secret() {
    if !is_root() {
        return;
    }
    let password = "pw-8a1f60c2e7";
    let server = Server::with_config(
        Version::Newest,
        &format!("authorization {{ user: mon, password: \"{password}\" }}"),
    );
    let dir = TempDir::new();
    let file = dir.join("password");
    fs::write(&file, password).unwrap();
    let variable = format!("NATS_PASSWORD={password}");
    let own = ["--user", "mon", "--any-instance"];
    for (under, flags) in [
        (&["env", &variable][..], &[][..]),
        (&[], &["--password-file", &file]),
        (&[], &["--password", password]),
    ] {
        let listening = Listening::start_under(under, &server.url(), &[&SOON[..], &own, flags].concat());
        for path in ["/livez", "/readyz?verbose", "/status", "/metrics", "/"] {
            listening.ask(path);
        }
        assert!(listening.ask("/status").body.contains("\"asked\":true"), "it is let in");
        let first = listening.server();
        kill(first, libc::SIGKILL);
        listening.sidecar.wait_for_the_next();
        // The one that is started later, too, when all has been read.
        let pid = listening.server();
        assert_ne!(pid, first);
        assert!(!has_in_memory(pid, password), "{flags:?}");
        assert_eq!(fs::read(format!("/proc/{pid}/environ")).unwrap(), b"", "{flags:?}");
        assert_eq!(
            fs::read(format!("/proc/{pid}/cmdline")).unwrap(),
            b"check_nats_service\0serve-http\0"
        );
        // And it would be found.
        let is_in_parent = has_in_memory(listening.sidecar.pid(), password);
        assert!(is_in_parent || flags.contains(&"--password-file"), "{flags:?}");
        listening.sidecar.end(libc::SIGTERM);
    }
}

#[test]
fn internal_argument_of_the_http_server_is_refused() {
    Check::new(["serve-http"]).run().assert_stderr(
        3,
        "",
        "check_nats_service: serve-http: only watch --listen uses this",
    );
}

/// Of a failed probe the kubelet tells the status alone.
#[test]
#[ignore = "needs nats-server"]
fn each_change_of_a_probe_is_logged_with_its_line() {
    let mut server = Server::start(Version::Newest);
    let service = Service::async_nats(&server.url(), "orders")
        .metadata("pod", "one")
        .start();
    let other = Service::async_nats(&server.url(), "orders")
        .metadata("pod", "two")
        .start();
    let flags = [&SOON[..], &["--match", "pod=one", "--timeout", "2s"]].concat();
    let listening = Listening::start(&server.url(), &flags);
    let log = || listening.sidecar.log();
    let lines = |path: &str| -> Vec<String> {
        let begin = format!("Z {path} ");
        log()
            .lines()
            .filter_map(|line| Some(line.split_once(&begin)?.1.to_owned()))
            .collect()
    };
    let expect = |path: &str, count: usize, text: &str| {
        let lines = wait_for(text, || Some(lines(path)).filter(|lines| lines.len() >= count));
        assert_eq!(lines.len(), count, "{}", log());
        assert!(matches(text, &lines[count - 1]), "{text}: {}", log());
    };
    expect(
        "/livez",
        1,
        &format!("200 OK: liveness pass: orders: {} answered * ago", service.id()),
    );
    expect(
        "/readyz",
        1,
        &format!("200 OK: readiness pass: orders: {} answered * ago", service.id()),
    );
    expect(
        "/startupz",
        1,
        &format!("200 OK: startup pass: orders: {} answered * ago", service.id()),
    );
    // As it is asked: with its parameter.
    assert_eq!(listening.ask("/livez?verbose&unreachable=fail").status, 200);
    expect("/livez?unreachable=fail", 1, "200 OK: liveness pass: *");
    let own_up = || Metrics::parse(&listening.ask("/metrics").body).of("orders", "nats_service_own_instance_up");
    assert_eq!(own_up(), Some(1.0));
    service.stop();
    let gone = "the instance with pod=one did not answer the check of * ago, though others did";
    expect(
        "/livez",
        2,
        &format!("503 Service Unavailable: liveness fail: orders: {gone}"),
    );
    expect(
        "/readyz",
        2,
        &format!("503 Service Unavailable: readiness fail: orders: {gone}"),
    );
    expect(
        "/startupz",
        2,
        &format!("503 Service Unavailable: startup fail: orders: {gone}"),
    );
    expect(
        "/livez?unreachable=fail",
        2,
        "503 Service Unavailable: liveness fail: *",
    );
    wait_for("the metric", || (own_up() == Some(0.0)).then_some(()));
    (0..3).for_each(|_| drop(listening.sidecar.wait_for_the_next()));
    expect("/livez", 2, "503 *");
    // NATS being away excuses the instance: nobody knows.
    server.stop();
    expect(
        "/livez",
        3,
        "200 OK: liveness pass: orders: cannot ask, which is not this pod's fault: cannot reach NATS at *",
    );
    wait_for("the metric", || own_up().is_none().then_some(()));
    expect("/readyz", 2, "503 *");
    expect("/startupz", 3, "200 OK: startup pass: orders: cannot ask, *");
    expect("/livez?unreachable=fail", 2, "503 *");
    // Whatever becomes of them, the watcher itself works.
    assert_eq!(listening.ask("/healthz").status, 200);
    drop(other);
    listening.sidecar.end(libc::SIGTERM);
}

/// The watcher of one service and that of all, whatever the checks find.
#[test]
#[ignore = "needs nats-server"]
fn healthz_is_ok_while_checks_are_recent() {
    let server = Server::start(Version::Newest);
    each([&["-n", "orders"][..], &["--all"]], |what| {
        let name = if what[0] == "--all" { "all services" } else { "orders" };
        let port = free_port();
        let mut command = process::command(binary());
        command
            .args(["watch", "-s", &server.url(), "--listen", &format!("127.0.0.1:{port}")])
            .args([
                "--timeout",
                "800ms",
                "--interval",
                "100ms",
                "--stall",
                "50ms",
                "--max-age",
                "1s",
            ])
            .args(what)
            .env("STATE_DIRECTORY", "")
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        let mut child = process::spawn(command);
        let health = |status: u16, text: &str| {
            wait_for(&format!("{name} {status}"), || {
                let reply = http::ask(port, "GET", "/healthz").ok()?;
                (reply.status == status && matches(text, &reply.body)).then_some(())
            });
        };
        let ok = format!("ok: {name}: the last check is *s old, every 0.1s\n");
        health(200, &ok);
        process::freeze(child.id());
        health(503, &format!("fail: {name}: the last check is *s old, every 0.1s\n"));
        process::thaw(child.id());
        health(200, &ok);
        process::signal(child.id(), libc::SIGTERM);
        assert_eq!(
            process::wait(&mut child, LIMIT).and_then(|status| status.code()),
            Some(0)
        );
    });
    let listening = Listening::start("nats://127.0.0.1:1", &SOON);
    assert_eq!(
        listening.ask("/healthz").status,
        200,
        "NATS is away, and the watcher works"
    );
}

/// The container ends and starts again between two checks. By the check before, it would pass at once, and liveness would then
/// kill it for being slow.
#[test]
#[ignore = "needs nats-server"]
fn a_slow_start_does_not_pass_by_a_check_of_the_container_before() {
    let server = Server::start(Version::Newest);
    let pod = |name| {
        Service::async_nats(&server.url(), "orders")
            .metadata("pod", name)
            .start()
    };
    let (one, _two) = (pod("one"), pod("two"));
    let flags = [
        "--interval",
        "1h",
        "--stall",
        "100ms",
        "--confirm",
        "100ms",
        "--match",
        "pod=one",
    ];
    let listening = Listening::start(&server.url(), &flags);
    // No check comes by itself any more.
    let passes = |path: &str, id: &str| {
        let reply = listening.wait_for(path, 200);
        assert!(reply.body.contains(&format!("{id} answered ")), "{reply:?}");
    };
    let all_pass = |id: &str| {
        ["/startupz", "/livez", "/readyz"]
            .into_iter()
            .for_each(|path| passes(path, id))
    };
    all_pass(one.id());
    let fails = |why: &str| {
        wait_for(why, || {
            let reply = listening.ask("/startupz");
            assert_eq!(reply.status, 503, "{reply:?}");
            reply.body.contains(why).then_some(())
        });
    };
    one.kill();
    server.wait_for_instances("orders", 1);
    assert_eq!(listening.ask("/livez").status, 200, "nobody has checked");
    fails("the instance with pod=one did not answer ");
    assert_eq!(listening.ask("/livez").status, 503);
    let one = pod("one");
    all_pass(one.id());
    one.freeze();
    fails("the instance with pod=one did not answer ");
    one.thaw();
    // Lost, it is looked for each second until it is back, though no probe asks for a check.
    passes("/livez", one.id());
    one.kill();
    server.wait_for_instances("orders", 1);
    listening.sidecar.signal(libc::SIGHUP);
    listening.wait_for("/livez", 503);
    let one = pod("one");
    passes("/livez", one.id());
    // A check that does not end: the start is not excused, and not answered late.
    server.freeze();
    let reply = listening.ask("/startupz");
    let old = "startup fail: orders: the last check began before this start of the container, waiting for the next\n";
    assert_eq!((reply.status, reply.body.as_str()), (503, old));
    server.thaw();
    passes("/startupz", one.id());
    listening.end_without_trouble();
}

/// It waits for an instance that hangs, longer than a probe waits for it.
#[test]
#[ignore = "needs nats-server"]
fn a_check_that_takes_long_costs_a_start_one_probe() {
    let server = Server::start(Version::Newest);
    let pod = |name| {
        Service::async_nats(&server.url(), "orders")
            .metadata("pod", name)
            .start()
    };
    let (_one, two) = (pod("one"), pod("two"));
    let listening = Listening::start(&server.url(), &["--interval", "1h", "--match", "pod=one"]);
    listening.wait_for("/startupz", 200);
    two.freeze();
    let before = listening.ask("/status").body;
    let reply = listening.ask("/startupz");
    let why = "startup fail: orders: the last check began before this start of the container, waiting for the next\n";
    assert_eq!((reply.status, reply.body.as_str()), (503, why));
    wait_for("the check that was requested", || {
        (listening.ask("/status").body != before).then_some(())
    });
    let reply = listening.ask("/startupz");
    assert_eq!(reply.status, 200, "{reply:?}");
    listening.end_without_trouble();
}

/// Valid credentials of another account: a restart of the pod changes nothing. A service that hangs is not excused by it.
#[test]
#[ignore = "needs nats-server"]
fn liveness_passes_until_an_instance_was_seen_in_the_account() {
    let server = Server::start(Version::Newest);
    let listening = Listening::start(&server.url(), &[&SOON[..], &["--match", "pod=one"]].concat());
    let why = "no instance was ever seen in this account, is it the right one?";
    let file = listening.sidecar.dir.join("orders.json");
    let assert_excused = |kind: &str, path: &str, is_excused: bool| {
        let (status, line) = match is_excused {
            true => (200, format!("{kind} pass: orders: {why} Passes until one was\n")),
            false => (503, format!("{kind} fail: orders: {why}\n")),
        };
        let reply = listening.ask(path);
        assert_eq!((reply.status, &reply.body), (status, &line), "{path}");
        let probe = Check::new(["probe", kind, "-n", "orders", "--match", "pod=one", "--from", &file]);
        probe.run().assert(i32::from(!is_excused), &line);
    };
    assert_excused("liveness", "/livez", true);
    assert_excused("readiness", "/readyz", false);
    assert_excused("startup", "/startupz", false);
    assert_eq!(listening.ask("/livez?unreachable=fail").status, 503);
    // Once any was seen, it is the right account.
    let other = Service::async_nats(&server.url(), "orders")
        .metadata("pod", "two")
        .start();
    let reply = listening.wait_for("/livez", 503);
    assert!(
        matches(
            "liveness fail: orders: the instance with pod=one did not answer the check of * ago, though others did",
            &reply.body
        ),
        "{reply:?}"
    );
    drop(other);
    server.wait_for_instances("orders", 0);
    (0..2).for_each(|_| drop(listening.sidecar.wait_for_the_next()));
    assert_eq!(listening.ask("/livez").status, 503);
    drop(listening);
    // One that is subscribed, and was never seen to answer.
    let hangs = Service::async_nats(&server.url(), "orders")
        .metadata("pod", "one")
        .start();
    hangs.freeze();
    let listening = Listening::start(&server.url(), &[&SOON[..], &["--match", "pod=one"]].concat());
    let reply = listening.ask("/livez");
    assert_eq!(reply.status, 503, "{reply:?}");
    listening.end_without_trouble();
}

#[test]
fn unreachable_flag_sets_the_http_status() {
    let away = "nats://127.0.0.1:1";
    for (flags, status, passing) in [
        (&[][..], "UNKNOWN", &["/livez", "/startupz"][..]),
        (
            &["--unreachable", "pass"],
            "UNKNOWN",
            &["/livez", "/readyz", "/startupz"],
        ),
        (&["--unreachable", "fail"], "UNKNOWN", &[]),
        (&["--unreachable", "critical"], "CRITICAL", &["/livez", "/startupz"]),
        (&["--unreachable", "fail", "--unreachable", "critical"], "CRITICAL", &[]),
    ] {
        let listening = Listening::start(away, &[&SOON[..], &["--any-instance"], flags].concat());
        for path in ["/livez", "/readyz", "/startupz"] {
            let expected = if passing.contains(&path) { 200 } else { 503 };
            let reply = listening.ask(path);
            assert_eq!(reply.status, expected, "{flags:?} {path}: {reply:?}");
            assert!(reply.body.contains("cannot reach NATS at 127.0.0.1:1: "), "{reply:?}");
            // Each probe can decide for itself.
            for (result, expected) in [("pass", 200), ("fail", 503)] {
                let reply = listening.ask(&format!("{path}?unreachable={result}"));
                assert_eq!(reply.status, expected, "{flags:?} {path} {result}: {reply:?}");
            }
            let reply = listening.ask(&format!("{path}?unreachable=maybe"));
            assert_eq!(
                (reply.status, reply.body.as_str()),
                (400, "unreachable is pass or fail, as in /livez?unreachable=fail\n")
            );
        }
        assert_eq!(listening.sidecar.wait_for_the_next()["status"], status);
        listening.sidecar.end(libc::SIGTERM);
    }
    for (flags, problem) in [
        (
            &["--unreachable", "maybe"][..],
            "'maybe' is not a status (ok, warning, unknown or critical), nor pass or fail",
        ),
        (
            &["--unreachable", "pass", "--unreachable", "fail"],
            "give one status, and one of pass and fail",
        ),
    ] {
        let port = free_port();
        Check::new(["watch", "-n", "orders", "--listen", &format!("127.0.0.1:{port}")])
            .args(flags)
            .run()
            .assert_stderr(
                3,
                "",
                &format!("check_nats_service: --unreachable: {problem} (see --help)"),
            );
    }
    Check::new(["watch", "-n", "orders", "--unreachable", "pass"]).run().assert_stderr(
        3,
        "",
        "check_nats_service: --unreachable: pass and fail are for the probes of --listen, otherwise give a status (see --help)",
    );
}

/// Returns the time of a probe beside so many connections at once, of a service with this many instances.
#[test]
#[ignore = "needs nats-server"]
fn timed_many_connections_and_instances_delay_no_probe() {
    const CONNECTIONS: usize = 1500;
    let server = Server::start(Version::Newest);
    let _crowd = Crowd::start(&server.url(), "orders", 1000);
    let listening = Listening::start(&server.url(), &["--interval", "1h", "--id", &crowd::id(999)]);
    listening.wait_for("/livez", 200);
    let mut took: Vec<(Duration, Duration)> = (0..5)
        .map(|_| {
            // All are connected before one of them is answered.
            kill(listening.server(), libc::SIGSTOP);
            let clients: Vec<TcpStream> = (0..CONNECTIONS)
                .map(|_| {
                    let mut stream = TcpStream::connect(("127.0.0.1", listening.port)).unwrap();
                    stream.write_all(b"GET /livez HTTP/1.0\r\n\r\n").unwrap();
                    stream
                })
                .collect();
            let mut probe = TcpStream::connect(("127.0.0.1", listening.port)).unwrap();
            probe.write_all(b"GET /readyz HTTP/1.0\r\n\r\n").unwrap();
            let cpu = cpu_time(listening.server());
            let begin = Instant::now();
            kill(listening.server(), libc::SIGCONT);
            assert_eq!(http::read(&mut probe).unwrap().status, 200);
            let took = begin.elapsed();
            drop(clients);
            (took, cpu_time(listening.server()) - cpu)
        })
        .collect();
    took.sort();
    eprintln!("a probe behind {CONNECTIONS} connections, 1000 instances: {took:?} (wall, CPU of the server)");
    // The kubelet gives it a second; before, each of these cost 3.8 ms.
    assert!(took[0].0 < Duration::from_secs(1), "{took:?}");
}

/// The CPU time that a process has used, to a hundredth of a second.
fn cpu_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = [11, 12].iter().map(|n| fields[*n].parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

/// A sidecar may be ended as soon as it says that it answers.
#[test]
fn sigterm_after_the_first_line_ends_it_with_zero() {
    for _ in 0..20 {
        let address = format!("127.0.0.1:{}", free_port());
        let mut command = process::command(binary());
        command
            .args(["watch", "-n", "orders", "-s", "nats://127.0.0.1:1", "--no-state"])
            .args(["--interval", "1h", "--listen", &address])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = process::spawn(command);
        let mut line = String::new();
        let mut stderr = BufReader::new(child.stderr.take().expect("it is a pipe"));
        stderr.read_line(&mut line).expect("its first line");
        process::signal(child.id(), libc::SIGTERM);
        assert!(
            matches(
                "*Z check_nats_service * watches orders, NATS at 127.0.0.1:1, every 1h, timeout 10s, no state\n",
                &line
            ),
            "{line:?}"
        );
        let status = process::wait(&mut child, LIMIT).expect("it ends");
        assert_eq!(status.code(), Some(0), "{status:?}");
    }
}

/// Also where the system would let a socket of IPv6 be one of IPv6 alone.
#[test]
#[ignore = "needs iproute2"]
fn only_a_port_is_ipv4_too_where_ipv6_is_alone() {
    if !is_root() || TcpListener::bind("[::1]:0").is_err() {
        return;
    }
    let script = "ip link set lo up; echo 1 > /proc/sys/net/ipv6/bindv6only; exec \"$@\"";
    let under = ["unshare", "--net", "sh", "-c", script, "sh"];
    let flags = ["--interval", "1h", "--listen", ":9422"];
    let sidecar = Sidecar::start_under(&under, "nats://127.0.0.1:1", &flags);
    sidecar.wait_for_line("answers over HTTP on :9422\n");
    let namespace = fs::File::open(format!("/proc/{}/ns/net", sidecar.pid())).unwrap();
    let only_ipv6 = thread::spawn(move || {
        // SAFETY: moves this thread alone into the namespace.
        assert_eq!(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) }, 0);
        for host in ["127.0.0.1", "::1"] {
            TcpStream::connect((host, 9422)).unwrap_or_else(|e| panic!("{host}: {e}"));
        }
        fs::read_to_string("/proc/sys/net/ipv6/bindv6only").unwrap()
    });
    assert_eq!(only_ipv6.join().unwrap(), "1\n");
    sidecar.end(libc::SIGTERM);
}

/// A state that cannot be used remembers nobody. The sidecar itself has seen the instance, and knows that it is gone.
#[test]
#[ignore = "needs nats-server"]
fn without_a_usable_state_an_instance_that_was_seen_is_gone_all_the_same() {
    let server = Server::start(Version::Newest);
    let dir = TempDir::new();
    let flags = ["--any-instance", "--state", &dir.join("missing/state.json")];
    fs::write(dir.join("missing"), "").unwrap();
    let listening = Listening::start(&server.url(), &[&SOON[..], &flags].concat());
    let reply = listening.ask("/livez");
    assert!(
        reply.status == 200 && reply.body.contains("no instance was ever seen in this account"),
        "{reply:?}"
    );
    let service = Service::nats_py(&server.url(), "orders").start();
    listening.wait_for("/readyz", 200);
    service.kill();
    listening.wait_for("/livez", 503);
    listening.sidecar.end(libc::SIGTERM);
}

/// In another account the instance may never have been, and a restart of the pod would not change that.
#[test]
#[ignore = "needs nats-server"]
fn another_account_is_no_fault_of_the_pod() {
    let config = "accounts { A { users: [{user: a, password: pw}] }, B { users: [{user: b, password: pw}] } }";
    let server = Server::with_config(Version::Newest, config);
    let _service = Service::nats_py(&server.url().replace("//", "//a:pw@"), "orders").start();
    let dir = TempDir::new();
    let context = dir.join("nats.json");
    let write = |user: &str| fs::write(&context, format!(r#"{{"user": "{user}", "password": "pw"}}"#)).unwrap();
    write("a");
    let flags = ["--any-instance", "--context", &context];
    let listening = Listening::start(&server.url(), &[&SOON[..], &flags].concat());
    listening.wait_for("/readyz", 200);
    write("b");
    listening.wait_for("/readyz", 503);
    wait_for("never seen", || {
        let reply = listening.ask("/livez");
        assert_eq!(reply.status, 200, "{reply:?}");
        reply
            .body
            .contains("no instance was ever seen in this account")
            .then_some(())
    });
    listening.sidecar.end(libc::SIGTERM);
}

/// A Secret that comes late restarts no pod: were the sidecar to end, its port would be closed, and every probe would fail.
#[test]
#[ignore = "needs nats-server"]
fn a_file_that_comes_late_is_waited_for() {
    let server = Server::with_config(Version::Newest, "authorization { user: mon, password: pw }");
    let _service = Service::async_nats(&server.url().replace("//", "//mon:pw@"), "orders").start();
    let dir = TempDir::new();
    let file = dir.join("password");
    let login = ["--user", "mon", "--password-file", &file, "--any-instance"];
    let listening = Listening::start(&server.url(), &[&SOON[..], &login].concat());
    let why = format!("cannot ask, which is not this pod's fault: --password-file {file}: No such file");
    let reply = listening.ask("/livez");
    assert!(reply.status == 200 && reply.body.contains(&why), "{reply:?}");
    assert_eq!(listening.ask("/readyz").status, 503);
    fs::write(&file, "pw\n").unwrap();
    listening.wait_for("/readyz", 200);
    listening.sidecar.end(libc::SIGTERM);
}

#[test]
#[ignore = "needs nats-server"]
fn no_page_shows_a_secret() {
    let server = Server::with_config(
        Version::Newest,
        &format!("authorization {{ users: [{{user: mon, password: \"{SECRET}\"}}, {{user: svc, password: svc}}] }}"),
    );
    let _service = Service::async_nats(&server.url().replace("//", "//svc:svc@"), "orders").start();
    for password in [SECRET, &format!("{SECRET}-wrong")] {
        let url = server.url().replace("//", &format!("//mon:{password}@"));
        let listening = Listening::start(&url, &[&SOON[..], &["--any-instance"]].concat());
        let is_right = password == SECRET;
        assert_eq!(listening.ask("/readyz").status, if is_right { 200 } else { 503 });
        for path in ["/", "/status", "/metrics", "/livez?verbose", "/readyz?verbose", "/none"] {
            let reply = listening.ask(path);
            assert_eq!(find_secret(&reply.body), None, "{path}: {reply:?}");
        }
        assert_eq!(find_secret(&listening.sidecar.log()), None);
    }
}

/// Requests of odd clients.
#[test]
#[ignore = "needs nats-server"]
fn odd_requests_are_answered_and_forgotten() {
    let server = Server::start(Version::Newest);
    let _service = Service::async_nats(&server.url(), "orders").start();
    let listening = Listening::start(&server.url(), &[&SOON[..], &["--any-instance"]].concat());
    let long = format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\nA: {}\r\n\r\n",
        "x".repeat(1_000_000)
    );
    let path = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(1_000_000));
    let many = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "A: b\r\n".repeat(1000));
    let body = format!(
        "GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n{}",
        "x".repeat(100_000)
    );
    let chunked = "GET /livez HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let pipelined = format!(
        "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n{}",
        "GET /status HTTP/1.1\r\n\0\r\n".repeat(500)
    );
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x01\x02\x03\x04";
    for (bytes, status) in [
        (long.as_bytes(), 431),
        (path.as_bytes(), 431),
        (many.as_bytes(), 431),
        (body.as_bytes(), 200),
        (chunked.as_bytes(), 200),
        (pipelined.as_bytes(), 200),
        (hello, 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", 400),
        (b"\0\0\0\0", 400),
    ] {
        let reply = http::send(listening.port, bytes).unwrap_or_else(|e| panic!("{status}: {e}"));
        assert_eq!(reply.status, status, "{reply:?}");
        assert_eq!(listening.ask("/livez").status, 200);
    }
    // Whoever begins a request and does not end it is told so; whoever says nothing is told nothing.
    let mut slow = TcpStream::connect(("127.0.0.1", listening.port)).unwrap();
    slow.write_all(b"GET / HT").unwrap();
    let mut mute = TcpStream::connect(("127.0.0.1", listening.port)).unwrap();
    let begin = Instant::now();
    assert_eq!(http::read(&mut slow).unwrap().status, 408);
    assert!(http::read(&mut mute).is_err());
    assert!(begin.elapsed() > Duration::from_millis(500), "it had a second");
    // In parts, within that second.
    let mut parts = TcpStream::connect(("127.0.0.1", listening.port)).unwrap();
    for part in ["GET /li", "vez HTTP/1.", "1\r\nHost: localhost\r", "\n\r", "\n"] {
        parts.write_all(part.as_bytes()).unwrap();
        // The passing of time is what is tested: the parts come one after the other.
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(http::read(&mut parts).unwrap().status, 200);
    listening.end_without_trouble();
}

/// Number of connections in the storm: all at once as many as allowed, and then others in their place.
const STORM: usize = 10_000;
const WAVE: usize = 250;

/// Connections that say nothing, or a byte now and then, or read nothing: others are answered, and the checks go on.
#[test]
#[ignore = "needs nats-server"]
fn a_storm_of_connections_delays_nobody() {
    let server = Server::start(Version::Newest);
    let _service = Service::async_nats(&server.url(), "orders").start();
    let listening = Listening::start(&server.url(), &[&SOON[..], &["--any-instance"]].concat());
    let (pid, port) = (listening.server(), listening.port);
    let before = memory(pid);
    let over = AtomicBool::new(false);
    let (slowest, looks, gap, held, used) = thread::scope(|scope| {
        let end = AtTheEnd(&over);
        let asked = scope.spawn(|| {
            let (mut slowest, mut looks, mut again) = (Duration::ZERO, 0, 0);
            while !over.load(SeqCst) {
                let begin = Instant::now();
                // Who comes, and is kept from sending for a while, may have to go for others. The kubelet asks again, too.
                let mut tries = (0..3).map(|_| http::ask(port, "GET", "/livez"));
                let (n, reply) = tries
                    .by_ref()
                    .enumerate()
                    .find(|(_, reply)| reply.is_ok())
                    .expect("one of three");
                assert_eq!(reply.unwrap().status, 200);
                slowest = slowest.max(begin.elapsed());
                (looks, again) = (looks + 1, again + n);
                thread::sleep(Duration::from_millis(5));
            }
            eprintln!("{again} of {looks} probes were asked again");
            (slowest, looks)
        });
        let checked = scope.spawn(|| {
            let (mut gap, mut held, mut used) = (Duration::ZERO, 0, 0);
            while !over.load(SeqCst) {
                let begin = Instant::now();
                listening.sidecar.wait_for_the_next();
                gap = gap.max(begin.elapsed());
                held = held.max(descriptors(pid).len());
                used = used.max(memory(pid));
            }
            (gap, held, used)
        });
        let mut waves: Vec<Vec<TcpStream>> = Vec::new();
        for n in 0..STORM / WAVE {
            let wave = (0..WAVE).filter_map(|m| {
                let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
                let bytes: &[u8] = match (n + m) % 4 {
                    0 => b"",
                    1 => b"G",
                    2 => b"GET / HTTP/1.1\r\nA: ",
                    _ => b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n",
                };
                let _ = stream.write_all(bytes);
                Some(stream)
            });
            waves.push(wave.collect());
            // Those of the wave before go on, a byte at a time.
            for mut stream in waves.iter().rev().nth(1).into_iter().flatten() {
                let _ = stream.write_all(b"x");
            }
            if waves.len() > 2 {
                waves.remove(0);
            }
        }
        drop(end);
        let ((slowest, looks), (gap, held, used)) = (asked.join().unwrap(), checked.join().unwrap());
        (slowest, looks, gap, held, used)
    });
    eprintln!(
        "{STORM} connections: {looks} probes answered, the slowest in {slowest:?}; at most {gap:?} between two checks; \
         {held} descriptors, {before} KiB before, {used} KiB at most"
    );
    assert!(
        slowest < Duration::from_secs(5) && gap < Duration::from_secs(5),
        "{slowest:?} {gap:?}"
    );
    assert!(looks > 10, "{looks}");
    // Those of the server itself, and 64 connections.
    assert!(held <= 64 + 16, "{held} descriptors");
    assert!(used < before + 4096, "memory grew from {before} KiB to {used} KiB");
    wait_for("all are forgotten", || (descriptors(pid).len() <= 16).then_some(()));
    listening.end_without_trouble();
}

/// Without a descriptor for one more connection it gives up one that it has, and does not spin.
#[test]
#[ignore = "needs nats-server"]
fn few_descriptors_are_enough() {
    let server = Server::start(Version::Newest);
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let script = "ulimit -n 24; exec \"$@\"";
    let words = [
        "-c",
        script,
        "sh",
        BINARY,
        "watch",
        "-n",
        "orders",
        "-s",
        &server.url(),
        "--interval",
        "1h",
    ];
    let mut command = process::command("sh");
    command
        .args(words)
        .args(["--listen", &address])
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = process::spawn(command);
    wait_for("a check", || http::get(port, "/status").ok());
    let silent: Vec<TcpStream> = (0..60)
        .map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap())
        .collect();
    assert_eq!(http::ask(port, "GET", "/status").unwrap().status, 200);
    drop(silent);
    assert_eq!(http::ask(port, "GET", "/status").unwrap().status, 200);
    process::signal(child.id(), libc::SIGTERM);
    assert_eq!(
        process::wait(&mut child, Duration::from_secs(10)).and_then(|status| status.code()),
        Some(0)
    );
}

/// Prometheus scrapes the sidecar itself: no node_exporter, no file.
#[test]
#[ignore = "needs nats-server"]
fn a_real_prometheus_scrapes_it_and_fires_and_resolves_the_right_alerts() {
    let mut server = Server::start(Version::Newest);
    let url = server.url();
    let (one, two) = (
        Service::async_nats(&url, "orders").start(),
        Service::async_nats(&url, "orders").count(2).start(),
    );
    let listening = Listening::start(&url, &SOON);
    let prometheus = Prometheus::start(listening.port);
    let expect = |what: &str, alerts: &[&str]| {
        let alerts: BTreeSet<String> = alerts.iter().map(|name| format!("Nats{name}")).collect();
        wait_for(what, || (prometheus.firing() == alerts).then_some(()));
    };
    let clean = || assert_clean(&listening.ask("/metrics").body);
    expect("all is well", &[]);
    clean();
    one.kill();
    expect("degraded", &["ServiceDegraded"]);
    clean();
    two.kill();
    expect("down", &["ServiceDown", "ServiceDownForLong"]);
    clean();
    server.stop();
    expect(
        "down, and NATS away",
        &["ServiceDown", "ServiceDownForLong", "Unreachable"],
    );
    clean();
    server.start_again();
    let _service = Service::async_nats(&url, "orders").count(3).start();
    expect("recovered", &[]);
    // The checks hang, and the server goes on.
    listening.sidecar.signal(libc::SIGSTOP);
    expect("stale", &["ServiceProbeStale"]);
    listening.sidecar.signal(libc::SIGCONT);
    expect("it goes on", &[]);
    listening.sidecar.end(libc::SIGTERM);
}

/// Minimum number of checks in a soak: `LISTEN_EPOCHS=10000` for a long one.
fn epochs() -> usize {
    let epochs = std::env::var("LISTEN_EPOCHS").ok();
    epochs.and_then(|n| n.parse().ok()).unwrap_or(100)
}

/// `LISTEN_EPOCHS=10000 tests/run.sh listen::a_soak -- --nocapture`
#[test]
#[ignore = "needs nats-server"]
fn a_soak_leaks_nothing() {
    let mut server = Server::start(Version::Newest);
    let _service = Service::async_nats(&server.url(), "orders").count(3).start();
    let flags = [
        "--interval",
        "10ms",
        "--stall",
        "10ms",
        "--confirm",
        "1s",
        "--timeout",
        "1500ms",
        "--any-instance",
    ];
    let listening = Listening::start(&server.url(), &flags);
    let pids = [listening.sidecar.pid(), listening.server()];
    let restarting = AtomicBool::new(false);
    let over = AtomicBool::new(false);
    let asked: Vec<usize> = thread::scope(|scope| {
        let end = AtTheEnd(&over);
        let listening = &listening;
        let (over, restarting) = (&over, &restarting);
        let clients: Vec<_> = ["/livez", "/metrics", "/status", "/"]
            .into_iter()
            .map(|path| {
                scope.spawn(move || {
                    let mut asked = 0;
                    while !over.load(SeqCst) {
                        // After a restart of NATS, the service may take longer to come back than a check waits.
                        let calm = !restarting.load(SeqCst);
                        let reply = listening.ask(path);
                        let calm = calm && !restarting.load(SeqCst);
                        assert!(path != "/livez" || reply.status == 200 || !calm, "{reply:?}");
                        asked += 1;
                        thread::sleep(Duration::from_millis(10));
                    }
                    asked
                })
            })
            .collect();
        let mut round = |checks: usize| {
            let mut seen: Option<Value> = None;
            let mut count = 0;
            while count < checks {
                let status: Value = serde_json::from_str(&listening.ask("/status").body).unwrap();
                if seen.as_ref() != Some(&status["time"]) {
                    count += 1;
                    seen = Some(status["time"].clone());
                }
                thread::sleep(Duration::from_millis(2));
            }
            restarting.store(true, SeqCst);
            server.stop();
            wait_for("cannot ask", || {
                listening.ask("/status").body.contains("\"asked\":false").then_some(())
            });
            server.start_again();
            wait_for("up", || {
                listening.ask("/status").body.contains("\"up\":true").then_some(())
            });
            restarting.store(false, SeqCst);
        };
        // What is allocated once is no leak.
        round(50);
        let before = pids.map(|pid| (at_rest(|| descriptors(pid).len()), at_rest(|| memory(pid))));
        let checks = epochs().min(1000);
        (0..epochs().div_ceil(checks)).for_each(|_| round(checks));
        // Beside clients, it would hardly ever be at rest on a busy machine.
        drop(end);
        let asked = clients.into_iter().map(|client| client.join().unwrap()).collect();
        let after = [0, 1].map(|n| {
            let (pid, (held, used)) = (pids[n], before[n]);
            (
                wait_for_rest(&held, || descriptors(pid).len()),
                wait_for_rest(&(used + 256), || memory(pid)),
            )
        });
        eprintln!(
            "at least {} checks; descriptors and KiB of the sidecar and of the server: {before:?} before, {after:?} after",
            epochs()
        );
        asked
    });
    eprintln!("four clients asked {asked:?} times");
    listening.end_without_trouble();
}
