//! Kubernetes probes: only the pod's own instance counts, and NATS being away is not the pod's fault.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::{Value, json};

use super::support::check::BINARY;
use super::support::{
    Blackhole, Certs, Check, Conn, Fake, LIMIT, Output, Proxy, SLACK, Server, Service, TempDir, Version, each, is_root,
    raw, wait_for,
};

/// Maximum time after its timeout at which a probe ends: Kubernetes gives it a second.
const GRACE: Duration = Duration::from_millis(50);

/// The timeout of a probe unless told otherwise.
const TIMEOUT: Duration = Duration::from_millis(800);

const KINDS: [&str; 3] = ["liveness", "readiness", "startup"];

/// A probe with time enough for a busy machine, unless its time is given.
fn probe(kind: &str, server: &str, flags: &[&str]) -> Check {
    let probe = hasty_probe(kind, server, flags);
    match flags.contains(&"--timeout") {
        true => probe,
        false => probe.args(["--timeout", "4s"]),
    }
}

/// One with the time that it has by default.
fn hasty_probe(kind: &str, server: &str, flags: &[&str]) -> Check {
    Check::new(["probe", kind, "-s", server, "-n", "orders"]).args(flags)
}

/// Passes or fails with one short line, and nothing else.
#[track_caller]
fn assert_says(out: Output, kind: &str, answer: &str, text: &str) -> Output {
    assert!(out.stdout.chars().count() <= 501, "too long: {out:?}");
    assert_eq!(out.stdout.lines().count(), 1, "{out:?}");
    out.assert(i32::from(answer == "fail"), &format!("{kind} {answer}: orders: {text}"))
}

#[test]
#[ignore = "needs nats-server"]
fn each_pod_sees_only_its_own_instance() {
    each([Service::nats_py, Service::nats_js, Service::async_nats], |start| {
        let server = Server::start(Version::Newest);
        // The services can be cut off from the server, and the probes go straight to it.
        let proxy = Proxy::start(server.port());
        let stuck = Proxy::start(server.port());
        let pod = |url: &str, name: &str| start(url, "orders").metadata("pod", name).start();
        let [lives, frozen, killed] = ["lives", "frozen", "killed"].map(|name| pod(&server.url(), name));
        let (cut, parted) = (pod(&proxy.url(), "cut"), pod(&stuck.url(), "parted"));
        let ids = [&lives, &frozen, &killed, &cut, &parted].map(|service| service.id().to_owned());
        let names = ["lives", "frozen", "killed", "cut", "parted"];
        let pods: Vec<(&str, &str)> = names.into_iter().zip(ids.iter().map(String::as_str)).collect();
        each(pods.clone(), |(name, id)| assert_probes(&server, name, id, Fate::Lives));

        frozen.freeze();
        killed.kill();
        proxy.cut();
        stuck.stick();
        for id in [&ids[2], &ids[3]] {
            wait_for("the server knows that it is gone", || {
                let none = raw::ask(&server.url(), &format!("$SRV.PING.orders.{id}"), 1)
                    .ok()?
                    .is_empty();
                none.then_some(())
            });
        }
        each(pods, |(name, id)| {
            let fate = match name {
                "lives" => Fate::Lives,
                "frozen" | "parted" => Fate::Silent,
                _ => Fate::Gone,
            };
            assert_probes(&server, name, id, fate);
        });
        // Any other instance is enough where that is asked for.
        for kind in KINDS {
            let out = probe(kind, &server.url(), &["--any-instance"]).run();
            assert_says(
                out,
                kind,
                "pass",
                &format!("{} (1.0.0, pod=lives) answered in *", ids[0]),
            );
        }
        lives.freeze();
        let out = probe("liveness", &server.url(), &["--any-instance"]).run();
        assert_says(
            out,
            "liveness",
            "fail",
            "the service does not answer within * (hung, or not allowed to publish to our inbox), NATS * is fine",
        );

        // And back: thawed and connected again, it passes.
        frozen.thaw();
        wait_for("the thawed one answers", || {
            let passes = probe("liveness", &server.url(), &["--id", &ids[1]]).run().code == Some(0);
            passes.then_some(())
        });
    });
}

/// The server tells the instance alone that it may not answer, and us that we may not hear: only the one is the pod's fault.
#[test]
#[ignore = "needs nats-server"]
fn an_inbox_that_is_not_allowed_is_named_on_either_side() {
    let server = Server::with_config(
        Version::Newest,
        "authorization { users: [{user: mon, password: mon},
         {user: svc, password: svc, permissions: {publish: {deny: [\"_INBOX.>\"]}}},
         {user: deaf, password: deaf, permissions: {subscribe: {allow: [\"_INBOX.*\"]}}}] }",
    );
    let login = |user: &str| format!("nats://{user}:{user}@127.0.0.1:{}", server.port());
    let service = Service::nats_py(&login("svc"), "orders").metadata("pod", "a").start();
    let by_id = format!("instance {}", service.id());
    let which: [(&[&str], &str); 3] = [
        (&["--id", service.id()], &by_id),
        (&["--match", "pod=a"], "the instance with pod=a"),
        (&["--any-instance"], "the service"),
    ];
    each(KINDS, |kind| {
        for (flags, whom) in which {
            let out = probe(kind, &login("mon"), flags).run();
            let text = format!(
                "{whom} does not answer within * (hung, or not allowed to publish to our inbox), NATS* at 127.0.0.1:{} is \
                 fine",
                server.port()
            );
            assert_says(out, kind, "fail", &text);
            // It may publish to any other inbox.
            let out = probe(kind, &login("mon"), flags)
                .args(["--inbox-prefix", "_OTHER"])
                .run();
            assert_says(out, kind, "pass", "* (1.0.0, pod=a) answered in *");

            let out = probe(kind, &login("deaf"), flags).run();
            let why = format!(
                "NATS at 127.0.0.1:{} does not let us subscribe to _INBOX.*.*, add to",
                server.port()
            );
            match kind {
                "liveness" | "startup" => assert_says(
                    out,
                    kind,
                    "pass",
                    &format!("cannot ask, which is not this pod's fault: {why} *"),
                ),
                _ => assert_says(
                    out,
                    kind,
                    "fail",
                    &format!("cannot ask: {why} the user's permissions: subscribe: {{allow: [\"_INBOX.>\"]}}"),
                ),
            };
        }
    });
}

#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Lives,
    /// Somebody is subscribed under its id.
    Silent,
    Gone,
}

/// All probes of a pod, by all ways to say which instance is its own.
#[track_caller]
fn assert_probes(server: &Server, name: &str, id: &str, fate: Fate) {
    let dir = TempDir::new();
    let file = dir.join("id");
    fs::write(&file, format!("{id}\n")).unwrap();
    let label = format!("pod={name}");
    let by_label = (["--match", label.as_str()], format!("the instance with {label}"));
    let by_id = (["--id", id], format!("instance {id}"));
    let by_file = (["--id-file", file.as_str()], format!("instance {id}"));
    let cases = [
        ("liveness", &by_label),
        ("liveness", &by_id),
        ("liveness", &by_file),
        ("readiness", &by_label),
        ("startup", &by_id),
    ];
    for (kind, (which, whom)) in cases {
        let out = probe(kind, &server.url(), which).run();
        let fine = format!("NATS* at 127.0.0.1:{} is fine", server.port());
        match fate {
            Fate::Lives => assert_says(out, kind, "pass", &format!("{id} (1.0.0, {label}) answered in *")),
            Fate::Gone if which[0] != "--match" => {
                assert_says(out, kind, "fail", &format!("{whom} is gone, no responders, {fine}"))
            }
            // By its metadata everybody is asked, and the siblings answer.
            _ => {
                let why = match which[0] {
                    "--match" => ", though others do",
                    _ => " (hung, or not allowed to publish to our inbox)",
                };
                assert_says(
                    out,
                    kind,
                    "fail",
                    &format!("{whom} does not answer within *{why}, {fine}"),
                )
            }
        };
    }
}

/// All values have to be those of one instance.
#[test]
#[ignore = "needs nats-server"]
fn several_matches_are_of_one_instance() {
    let server = Server::start(Version::V2_10);
    let start = |pod, zone| {
        Service::async_nats(&server.url(), "orders")
            .metadata("pod", pod)
            .metadata("zone", zone)
    };
    let (_one, _two) = (start("one", "a").start(), start("two", "b").start());
    for (zone, answer, text) in [
        ("a", "pass", "* (1.0.0, pod=one) answered in *"),
        (
            "b",
            "fail",
            "the instance with pod=one, zone=b does not answer within *, though others do, NATS * is fine",
        ),
    ] {
        let flags = ["--match", "pod=one", "--match", &format!("zone={zone}")];
        assert_says(
            probe("readiness", &server.url(), &flags).run(),
            "readiness",
            answer,
            text,
        );
    }
}

/// The kubelet fills `$(POD_NAME)` into a container's command, but not into its probes: a variable of the downward API is
/// nothing there, and one that it does not know stays as it is.
#[test]
#[ignore = "needs nats-server"]
fn the_name_of_the_pod_comes_from_a_variable() {
    let server = Server::start(Version::Newest);
    let _service = Service::async_nats(&server.url(), "orders")
        .metadata("pod", "one")
        .metadata("zone", "a")
        .start();
    let ask = |flags: &[&str], pod: &str| probe("liveness", &server.url(), flags).env("POD_NAME", pod).run();
    let flags = ["--match-env", "pod=POD_NAME", "--match", "zone=a"];
    assert_says(
        ask(&flags, "one"),
        "liveness",
        "pass",
        "* (1.0.0, pod=one) answered in *",
    );
    let text = "the instance with zone=a, pod=two does not answer within *, though others do, NATS * is fine";
    assert_says(ask(&flags, "two"), "liveness", "fail", text);
    ask(&flags, "").assert_stderr(
        3,
        "",
        "check_nats_service: --match-env: the variable POD_NAME is not set (see --help)",
    );
    ask(&flags, "$(NAME)").assert_stderr(
        3,
        "",
        "check_nats_service: --match-env: the variable POD_NAME is ?(NAME), which Kubernetes did not expand (see --help)",
    );
    for value in ["", "$(POD_NAME)"] {
        let word = format!("pod={value}");
        let text =
            "Kubernetes puts no downward API variables into the commands of probes, say --match-env pod=VARIABLE";
        ask(&["--match", &word], "one").assert_stderr(
            3,
            "",
            &format!(
                "check_nats_service: --match {}: {text} (see --help)",
                word.replace('$', "?")
            ),
        );
    }
}

/// Takes the request, and says nothing more: not even whether NATS is fine.
fn stops_answering(conn: &mut Conn) -> io::Result<()> {
    conn.handshake()?;
    conn.read_request()?;
    conn.answer_pings(false);
    conn.hold(LIMIT)
}

#[test]
#[ignore = "needs nats-server"]
fn timed_nats_outage_passes_liveness_and_startup() {
    let stopped = {
        let mut server = Server::start(Version::Newest);
        server.stop();
        server
    };
    let frozen = Server::start(Version::V2_10);
    frozen.freeze();
    let hole = Blackhole::start();
    let mute = Fake::start(|conn| conn.hold(LIMIT));
    let stops = Fake::start(stops_answering);
    let ssh = Fake::start(|conn| {
        conn.send_raw(b"SSH-2.0-OpenSSH_9.2p1\r\n")?;
        conn.hold(LIMIT)
    });
    let leaves = Fake::start(|conn| {
        conn.handshake()?;
        conn.read_request()?;
        conn.close()
    });
    let locked = Server::with_config(Version::V2_9, "authorization { user: a, password: b }");
    let denies = Server::with_config(
        Version::Newest,
        r#"authorization { users: [{user: a, password: b, permissions: {publish: {deny: ["$SRV.>"]}}}] }
           no_auth_user: a"#,
    );
    let certs = Certs::new();
    let tls = Server::with_config(Version::Newest, &certs.config("server", ""));
    let cases = [
        (stopped.url(), "cannot reach NATS at 127.0.0.1:*: connection refused *"),
        (
            frozen.url(),
            "127.0.0.1:* accepts the connection but sends nothing for *",
        ),
        (
            hole.url(),
            "cannot reach NATS at 127.0.0.1:*: no answer to the TCP connection within *",
        ),
        (mute.url(), "127.0.0.1:* accepts the connection but sends nothing for *"),
        (
            stops.url(),
            "NATS at 127.0.0.1:* took the request but stopped answering, waited *ms",
        ),
        (
            leaves.url(),
            "the connection to NATS at 127.0.0.1:* broke twice while asking, *",
        ),
        (
            ssh.url(),
            "127.0.0.1:* is no NATS server: it sent SSH-2.0-OpenSSH_9.2p1",
        ),
        (
            locked.url(),
            "NATS at 127.0.0.1:* wants credentials (Authorization Violation): *",
        ),
        (
            denies.url(),
            "NATS at 127.0.0.1:* does not let us publish to $SRV.PING.orders, *",
        ),
        (tls.url(), "TLS with NATS at 127.0.0.1:* failed: *"),
        (
            "nats://no-such-host.invalid".into(),
            "cannot resolve no-such-host.invalid: *",
        ),
    ];
    each(cases, |(url, why)| {
        let excused = format!("cannot ask, which is not this pod's fault: {why}");
        let blamed = format!("cannot ask: {why}");
        for (kind, flags, answer, text) in [
            ("liveness", &[][..], "pass", &excused),
            ("readiness", &[], "fail", &blamed),
            ("startup", &[], "pass", &excused),
            ("liveness", &["--unreachable", "fail"], "fail", &blamed),
            ("startup", &["--unreachable", "fail"], "fail", &blamed),
            ("readiness", &["--unreachable", "pass"], "pass", &excused),
        ] {
            let out = hasty_probe(kind, &url, &["--match", "pod=one"]).args(flags).run();
            assert_says(out, kind, answer, text).assert_within(TIMEOUT + GRACE + SLACK);
        }
    });
}

/// The time of a probe can be shorter; then it ends then.
#[test]
#[ignore = "needs nats-server"]
fn timed_each_probe_ends_with_its_timeout() {
    let hole = Blackhole::start();
    let frozen = Server::start(Version::Newest);
    frozen.freeze();
    for url in [hole.url(), frozen.url()] {
        let timeout = Duration::from_millis(200);
        let flags = ["--any-instance", "--timeout", "200ms"];
        let out = assert_says(
            hasty_probe("liveness", &url, &flags).run(),
            "liveness",
            "pass",
            "cannot ask, *",
        );
        let out = out.assert_within(timeout + GRACE + SLACK);
        assert!(out.wall >= timeout, "{out:?}");
    }
}

/// The pod is there all the time, and so no restart of NATS may be taken for an end of it.
#[test]
#[ignore = "needs nats-server"]
fn a_restart_of_nats_restarts_no_pod() {
    let mut server = Server::start(Version::Newest);
    let service = Service::async_nats(&server.url(), "orders")
        .metadata("pod", "one")
        .start();
    let url = server.url();
    let over = std::sync::atomic::AtomicBool::new(false);
    let (mut passed, mut asked) = (0, 0);
    std::thread::scope(|scope| {
        let restarts = scope.spawn(|| {
            for _ in 0..3 {
                server.stop();
                // The passing of time is what is tested: probes meet a server that is away.
                std::thread::sleep(Duration::from_millis(100));
                server.start_again();
                server.wait_for_instances("orders", 1);
            }
            over.store(true, std::sync::atomic::Ordering::SeqCst);
        });
        while !over.load(std::sync::atomic::Ordering::SeqCst) && !restarts.is_finished() {
            let out = probe(
                "liveness",
                &url,
                &["--id", service.id(), "--confirm", "2s", "--timeout", "4s"],
            )
            .run();
            assert_eq!((out.code, out.stderr.as_str()), (Some(0), ""), "{out:?}");
            match out.stdout.contains("answered in") {
                true => passed += 1,
                false => asked += 1,
            }
        }
        restarts.join().unwrap();
    });
    assert!(
        passed > 0 && asked > 0,
        "it saw NATS up {passed} times, away {asked} times"
    );
}

#[test]
#[ignore = "needs nats-server"]
fn the_id_file_is_written_by_the_application() {
    let server = Server::start(Version::Newest);
    let service = Service::async_nats(&server.url(), "orders").start();
    let dir = TempDir::new();
    let file = dir.join("id");
    let ask = |kind| probe(kind, &server.url(), &["--id-file", &file]).run();
    // Whatever NATS does: without an id there is no instance.
    let missing = format!("no instance yet: the id file {file}: *");
    for kind in KINDS {
        assert_says(ask(kind), kind, "fail", &missing);
    }
    for text in ["", "\n", "two words", "a.b", "a>", &"x".repeat(5000)] {
        fs::write(&file, text).unwrap();
        assert_says(ask("liveness"), "liveness", "fail", &missing);
    }
    for end in ["", "\n", "\r\n", "  \n\n"] {
        fs::write(&file, format!("{}{end}", service.id())).unwrap();
        for kind in KINDS {
            assert_says(
                ask(kind),
                kind,
                "pass",
                &format!("{} (1.0.0) answered in *", service.id()),
            );
        }
    }
}

#[test]
fn bad_arguments_are_reported_on_stderr() {
    for (args, text) in [
        (
            &["liveness", "-n", "orders"][..],
            "which instance is this pod's? Give *",
        ),
        (
            &["liveness", "-n", "orders", "--id", "A", "--any-instance"],
            "*--any-instance*",
        ),
        (
            &["liveness", "-n", "orders", "--id", "A", "--match", "a=b"],
            "*--match*",
        ),
        (
            &["liveness", "-n", "orders", "--id", "A", "--id-file", "/f"],
            "*--id-file*",
        ),
        (
            &["liveness", "-n", "orders", "--id", "a.b"],
            "--id: 'a.b' is not the id of an instance *",
        ),
        (
            &["liveness", "-n", "orders", "--match", "pod"],
            "--match: 'pod' is not KEY=VALUE *",
        ),
        (
            &["liveness", "-n", "orders", "--match", "=pod"],
            "--match: '=pod' is not KEY=VALUE *",
        ),
        (&["liveness", "--any-instance"], "which service? *"),
        (
            &["liveness", "-n", "orders", "--any-instance", "--unreachable", "ok"],
            "--unreachable: 'ok' is neither *",
        ),
        (
            &["liveness", "-n", "orders", "--any-instance", "--max-age", "1m"],
            "*--from*",
        ),
        (
            &[
                "liveness",
                "-n",
                "orders",
                "--any-instance",
                "--from",
                "/f",
                "--max-age",
                "0",
            ],
            "--max-age: *",
        ),
        (
            &["aliveness", "-n", "orders", "--any-instance"],
            "which probe? Say probe liveness, readiness or startup *",
        ),
        (&[], "*"),
    ] {
        Check::new(["probe"])
            .args(args)
            .run()
            .assert_stderr(3, "", &format!("check_nats_service: {text}"));
    }
}

/// A place like a hardened container's, by way of the host: everything is read-only, nobody has a name.
const HARDENED: &str = "mount -o remount,bind,ro / && mount --bind /dev/null /etc/passwd && \
    exec setpriv --reuid 54321 --regid 54321 --clear-groups --no-new-privs --inh-caps=-all env -i \"$@\"";

#[test]
#[ignore = "needs nats-server"]
fn it_needs_no_state_no_home_no_name_and_writes_nothing() {
    if !is_root() {
        return;
    }
    let server = Server::start(Version::Newest);
    let service = Service::async_nats(&server.url(), "orders").start();
    let dir = TempDir::new();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let program = dir.join("check_nats_service");
    fs::copy(BINARY, &program).unwrap();
    let hardened = |id: &str| {
        Check::program(
            &program,
            ["probe", "liveness", "-s", &server.url(), "-n", "orders", "--id", id],
        )
        .args(["--timeout", "3s"])
        .under(["unshare", "-m", "sh", "-c", HARDENED, "sh"])
        .run()
    };
    assert_says(hardened(service.id()), "liveness", "pass", "* answered in *");
    assert_says(
        hardened("B"),
        "liveness",
        "fail",
        "instance B is gone, no responders, *",
    );

    // And where it could, it does not.
    let trace = dir.join("trace");
    let calls = "trace=open,openat,creat,mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat";
    let out = probe("liveness", &server.url(), &["--id", service.id(), "--timeout", "10s"])
        .under(["strace", "-f", "-e", calls, "-o", &trace])
        .run();
    assert_says(out, "liveness", "pass", "* answered in *");
    let trace = fs::read_to_string(&trace).unwrap();
    assert!(trace.contains("O_RDONLY"), "{trace}");
    for word in ["O_WRONLY", "O_RDWR", "O_CREAT", "mkdir", "rename", "unlink"] {
        assert!(!trace.contains(word), "{word}: {trace}");
    }
}

/// A status file as `watch` writes it, which remembers what was in the ones before from the same home.
fn status_of(server: &Server, home: &TempDir) -> Value {
    let flags = ["--format", "json", "--never-seen", "ok", "--confirm", "200ms"];
    let out = Check::new(["-s", &server.url(), "-n", "orders"])
        .args(flags)
        .home(home)
        .run();
    serde_json::from_str(&out.stdout).unwrap()
}

/// Then the service has to put it there, which "does not answer" would not say.
#[test]
#[ignore = "needs nats-server"]
fn a_metadata_key_that_no_instance_has_is_named() {
    let server = Server::start(Version::Newest);
    let service = |pod: &str| {
        Service::async_nats(&server.url(), "orders")
            .metadata("pod", pod)
            .start()
    };
    let _services = [service("one"), service("two")];
    let dir = TempDir::new();
    let file = dir.join("status.json");
    fs::write(&file, status_of(&server, &TempDir::new()).to_string()).unwrap();
    let none = "2 instances answer, none has node in its metadata";
    for more in [&[][..], &["--from", &file]] {
        for kind in KINDS {
            let ask = |own: &str| probe(kind, &server.url(), &[&["--match", own], more].concat()).run();
            assert_says(ask("node=n1"), kind, "fail", none);
            assert_says(
                ask("pod=three"),
                kind,
                "fail",
                "the instance with pod=three * not answer *",
            );
            assert_says(ask("pod=two"), kind, "pass", "* answered *");
        }
    }
}

/// A pod with two instances of the service passes while one of them answers: nothing says how many there ought to be. Who wants each
/// of them to answer tells them apart by metadata, or by their ids.
#[test]
#[ignore = "needs nats-server"]
fn a_pod_of_two_instances_passes_while_one_answers() {
    let server = Server::start(Version::Newest);
    let start = |worker| {
        let service = Service::async_nats(&server.url(), "orders").metadata("pod", "one");
        service.metadata("worker", worker).start()
    };
    let [first, second] = ["1", "2"].map(start);
    first.freeze();
    let ask = |flags: &[&str]| probe("liveness", &server.url(), flags).run();
    for flags in [
        &["--match", "pod=one"][..],
        &["--match", "pod=one", "--match", "worker=2"],
    ] {
        let text = format!("{} (1.0.0, pod=one) answered in *", second.id());
        assert_says(ask(flags), "liveness", "pass", &text);
    }
    for flags in [
        &["--match", "pod=one", "--match", "worker=1"][..],
        &["--id", first.id()],
    ] {
        assert_says(ask(flags), "liveness", "fail", "* does not answer within *");
    }
    second.freeze();
    let text = "the instance with pod=one does not answer within *";
    assert_says(ask(&["--match", "pod=one"]), "liveness", "fail", text);
}

/// The server is so far away that a probe cannot ask within its time: it says so, and does not take the server for one that hangs.
/// With more time it tells a dead instance from one that lives.
#[test]
#[ignore = "timed: tests/run.sh runs it alone"]
fn timed_a_way_that_is_too_long_is_named() {
    let server = Server::start(Version::Newest);
    let lives = Service::async_nats(&server.url(), "orders")
        .metadata("pod", "one")
        .start();
    let proxy = Proxy::start(server.port());
    let ask = |kind, more: &[&str]| hasty_probe(kind, &proxy.url(), &[&["--id", "GONE"], more].concat()).run();
    for (ms, why) in [
        (
            135,
            "NATS at 127.0.0.1:* is too slow for --timeout: after a login of * no time was left to ask, or to ask again, within *ms, \
             raise --timeout",
        ),
        (
            300,
            "NATS at 127.0.0.1:* did not finish the login within *ms, is it too slow for --timeout?",
        ),
    ] {
        proxy.delay(Duration::from_millis(ms));
        let excused = format!("cannot ask, which is not this pod's fault: {why}");
        assert_says(ask("liveness", &[]), "liveness", "pass", &excused);
        assert_says(
            ask("readiness", &[]),
            "readiness",
            "fail",
            &format!("cannot ask: {why}"),
        );
    }
    proxy.delay(Duration::from_millis(90));
    let more = ["--timeout", "20s"];
    assert_says(
        ask("liveness", &more),
        "liveness",
        "fail",
        "instance GONE is gone, no responders, NATS 2.15.1 at 127.0.0.1:* is fine",
    );
    let out = hasty_probe("liveness", &proxy.url(), &[&["--id", lives.id()], &more[..]].concat()).run();
    assert_says(
        out,
        "liveness",
        "pass",
        &format!("{} (1.0.0, pod=one) answered in *", lives.id()),
    );
}

#[test]
#[ignore = "needs nats-server"]
fn the_file_of_the_sidecar_answers_without_the_network() {
    let mut server = Server::start(Version::Newest);
    let start = |pod| {
        Service::async_nats(&server.url(), "orders")
            .metadata("pod", pod)
            .start()
    };
    let (one, two) = (start("one"), start("two"));
    let (one_id, two_id) = (one.id().to_owned(), two.id().to_owned());
    let home = TempDir::new();
    let fresh = status_of(&server, &home);
    two.stop();
    server.wait_for_instances("orders", 1);
    let without_two = status_of(&server, &home);
    one.stop();
    server.wait_for_instances("orders", 0);
    let without_any = status_of(&server, &home);
    server.stop();
    let unasked = status_of(&server, &TempDir::new());
    assert_eq!((&unasked["asked"], &fresh["asked"]), (&json!(false), &json!(true)));

    let dir = TempDir::new();
    let (file, id_file) = (dir.join("status.json"), dir.join("id"));
    fs::write(&id_file, &two_id).unwrap();
    let ask = |kind: &str, flags: &[&str]| {
        // Nobody is there; and it does not even try.
        let trace = dir.join("trace");
        let out = probe(kind, "nats://127.0.0.1:1", &["--from", &file])
            .args(flags)
            .under(["strace", "-f", "-e", "trace=socket,connect,execve", "-o", &trace])
            .run();
        let trace = fs::read_to_string(trace).unwrap();
        assert!(
            trace.contains("execve(") && !trace.contains("socket(") && !trace.contains("connect("),
            "{trace}"
        );
        out
    };
    let by_pod = (["--match", "pod=two"], "the instance with pod=two");
    let instance = format!("instance {two_id}");
    let by_id = (["--id", &two_id], instance.as_str());
    let by_file = (["--id-file", &id_file], instance.as_str());
    for (which, whom) in [by_pod, by_id, by_file] {
        for (status, answer, text) in [
            (&fresh, "pass", format!("{two_id} answered * ago")),
            (
                &without_two,
                "fail",
                format!("{whom} did not answer the check of * ago, though others did"),
            ),
            (
                &without_any,
                "fail",
                format!("{whom} did not answer the check of * ago"),
            ),
        ] {
            fs::write(&file, status.to_string()).unwrap();
            for kind in KINDS {
                assert_says(ask(kind, &which), kind, answer, &text);
            }
        }
    }
    fs::write(&file, without_two.to_string()).unwrap();
    let out = ask("liveness", &["--any-instance"]);
    assert_says(out, "liveness", "pass", &format!("{one_id} answered * ago"));

    // What does not say how the pod is.
    let with = |key: &str, value: Value| {
        let mut status = fresh.clone();
        status[key] = value;
        status.to_string()
    };
    let whole = fresh.to_string();
    let cases = [
        (
            Some(unasked.to_string()),
            "cannot reach NATS at 127.0.0.1:*: connection refused *",
        ),
        (
            Some(with("time", "2026-01-01T00:00:00Z".into())),
            "the status file is * old, more than 60s (does the sidecar run?)",
        ),
        (
            Some(with("time", "2999-01-01T00:00:00Z".into())),
            "the status file is from the future (2999-*)",
        ),
        (
            Some(with("time", Value::Null)),
            "the status file is damaged: no time in it",
        ),
        (
            Some(with("service", "billing".into())),
            "the status file is of the service billing",
        ),
        (
            Some(with("answers", Value::Null)),
            "the status file is damaged: no answers in it",
        ),
        (
            Some(whole[..whole.len() / 2].to_owned()),
            "the status file is damaged: *",
        ),
        (Some(String::new()), "the status file is damaged: *"),
        (None, "the status file *status.json: No such file or directory *"),
    ];
    for (text, why) in cases {
        match text {
            Some(text) => fs::write(&file, text).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        let excused = format!("cannot ask, which is not this pod's fault: {why}");
        let blamed = format!("cannot ask: {why}");
        let is_away = why.starts_with("cannot reach NATS");
        for (kind, flags, answer, text) in [
            ("liveness", &[][..], "pass", &excused),
            ("readiness", &[], "fail", &blamed),
            // A start is excused by NATS being away, and not by a sidecar that has not checked.
            match is_away {
                true => ("startup", &[], "pass", &excused),
                false => ("startup", &[], "fail", &blamed),
            },
            ("liveness", &["--unreachable", "fail"], "fail", &blamed),
            ("readiness", &["--unreachable", "pass"], "pass", &excused),
            ("startup", &["--unreachable", "pass"], "pass", &excused),
        ] {
            let flags = [&["--match", "pod=one"], flags].concat();
            assert_says(ask(kind, &flags), kind, answer, text);
        }
    }
    // How old is too old is for the user to say.
    fs::write(&file, with("time", "2026-01-01T00:00:00Z".into())).unwrap();
    let out = ask("readiness", &["--match", "pod=two", "--max-age", "3000d"]);
    assert_says(out, "readiness", "pass", &format!("{two_id} answered * ago"));
}

/// A Secret that is mounted late, or renewed just now, must not restart every pod; bad flags must be told at once.
#[test]
#[ignore = "needs nats-server"]
fn missing_or_malformed_file_passes_liveness_and_startup() {
    let server = Server::start(Version::Newest);
    let service = Service::async_nats(&server.url(), "orders").start();
    let dir = TempDir::new();
    let (missing, malformed) = (dir.join("missing"), dir.join("malformed.json"));
    fs::write(&malformed, "half of it").unwrap();
    let not_there = "No such file or directory (os error 2)";
    let cases = [
        ("--creds", &missing, not_there),
        ("--creds", &malformed, "*"),
        ("--nkey", &missing, not_there),
        ("--nkey", &malformed, "*"),
        ("--token-file", &missing, not_there),
        ("--tlsca", &missing, not_there),
        ("--tlsca", &malformed, "there is no certificate in PEM form in it"),
        ("--context", &malformed, "it is not JSON: *"),
    ];
    each(cases, |(flag, file, why)| {
        let own = ["--id", service.id(), flag, file];
        let text = format!("{flag} {file}: {why}");
        let ask = |kind, more: &[&str]| probe(kind, &server.url(), &own).args(more).run();
        let not_our_fault = format!("cannot ask, which is not this pod's fault: {text}");
        let blamed = format!("cannot ask: {text}");
        for kind in ["liveness", "startup"] {
            assert_says(ask(kind, &[]), kind, "pass", &not_our_fault);
            assert_says(ask(kind, &["--unreachable", "fail"]), kind, "fail", &blamed);
        }
        assert_says(ask("readiness", &[]), "readiness", "fail", &blamed);
        assert_says(
            ask("readiness", &["--unreachable", "pass"]),
            "readiness",
            "pass",
            &not_our_fault,
        );
    });
    // The file of a sidecar needs no credentials.
    let from = ["--any-instance", "--creds", &missing, "--from", &malformed];
    let out = probe("readiness", &server.url(), &from).run();
    assert_says(out, "readiness", "fail", "cannot ask: the status file is damaged: *");
    // Mistakes in flags stay mistakes, whatever the files.
    for (flags, problem) in [
        (&["--creds", &missing, "--user", "mon"][..], "*cannot be used with*"),
        (&["--tlsca", &missing, "-t", "soon"], "--timeout: *"),
        (&["--tlscert", &missing], "*a certificate needs its key, give --tlskey"),
    ] {
        let out = hasty_probe("liveness", &server.url(), &["--any-instance"])
            .args(flags)
            .run();
        out.assert_stderr(3, "", &format!("check_nats_service: {problem} (see --help)"));
    }
}
