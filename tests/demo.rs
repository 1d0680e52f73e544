//! The demo: its service speaks ADR-32, and its script tells the whole story, fails loudly, and leaves nothing behind.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::check::BINARY;
use crate::support::service::example;
use crate::support::{Check, Server, Service, TempDir, Version, from_env, raw, wait_for};

/// Lines that the script prints about the check, from scene to scene. It compares the texts itself; here are the statuses.
const STORY: &str = "
1. The service orders has three instances.
$ check_nats_service -s nats://127.0.0.1:* -n orders -w 3: -c 1: --state-dir *
NATS_SERVICE OK - orders: 3 instances, slowest answer * | instances=3;3:;1:;0; *
$ echo $?
0

2. One instance is lost.
$ check_nats_service *
NATS_SERVICE WARNING - orders: 2 instances, *
$ echo $?
1

3. All instances are lost: an outage.
$ check_nats_service *
NATS_SERVICE CRITICAL - orders: down, no responders, 2 instances until * ago, NATS 2.15.* is fine (*), last seen: * | *
$ echo $?
2

4. The outage stays, run after run, until an instance answers.
$ check_nats_service *
NATS_SERVICE CRITICAL - orders: still down for *, no responders, *
$ echo $?
2

5. NATS itself is stopped: that is no answer, so the outage stays.
$ check_nats_service *
NATS_SERVICE CRITICAL - orders: still down for *, last answer from NATS * ago, *: connection refused *
$ echo $?
2

6. NATS is back, the service is not.
$ check_nats_service *
NATS_SERVICE CRITICAL - orders: still down for *, no responders, *
$ echo $?
2

7. The service is back.
$ check_nats_service *
NATS_SERVICE OK - orders: 3 instances (had 2), recovered after * | *
$ echo $?
0

8. From then on all is well.
$ check_nats_service *
NATS_SERVICE OK - orders: 3 instances, slowest answer * | *
$ echo $?
0

9. One run watches every service of the account: another one, billing, is found by itself.
$ check_nats_service -s nats://127.0.0.1:* --all --state-dir *
NATS_SERVICES OK - 2 services, 4 instances | *
$ echo $?
0

10. billing is lost: the run says which of them is down.
$ check_nats_service *
NATS_SERVICES CRITICAL - 1 of 2 services down: billing (1 instance until * ago) | *
$ echo $?
2

All 10 as expected.";

/// A run of the script with what is built already, and with a folder of its own for all that it might leave behind.
fn demo(temp: &TempDir) -> Check {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/demo.sh");
    Check::program(script.to_str().unwrap(), [""; 0])
        .env("TMPDIR", temp.path())
        .env("NATS_SERVER", from_env("NATS_SERVER_NEWEST"))
        .env("CHECK_NATS_SERVICE", BINARY)
        .env("DEMO_SERVICE", example("demo_service"))
        // What the user has set is about the user's own server.
        .env("NATS_URL", "nats://192.0.2.1")
        .env("NATS_TOKEN", "nonsense")
}

/// Nothing lies about, and no process of the run is left.
#[track_caller]
fn assert_clean(temp: &TempDir) {
    let files: Vec<_> = fs::read_dir(temp.path()).unwrap().map(|e| e.unwrap().path()).collect();
    assert!(files.is_empty(), "{files:?}");
    let left = processes_of(temp);
    assert!(left.is_empty(), "{left:?}");
}

/// The command lines of all processes that have the folder for their temporary one.
fn processes_of(temp: &TempDir) -> Vec<String> {
    let marker = format!("TMPDIR={}", temp.path().display());
    let text = |path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    processes
        .filter(|process| {
            text(process.join("environ"))
                .split('\0')
                .any(|variable| variable == marker)
        })
        .map(|process| text(process.join("cmdline")).replace('\0', " "))
        .collect()
}

#[test]
#[ignore = "needs nats-server"]
fn demo_shows_an_outage_from_begin_to_end_and_leaves_nothing_behind() {
    // Several at once do not disturb each other.
    let runs = [(); 2].map(|()| {
        thread::spawn(|| {
            let temp = TempDir::new();
            demo(&temp)
                .run()
                .assert_stderr(0, STORY, "demo.sh: nats-server: v2.15.* runs at nats://127.0.0.1:*")
                .assert_within(Duration::from_secs(30));
            assert_clean(&temp);
        })
    });
    for run in runs {
        run.join().unwrap();
    }
}

#[test]
#[ignore = "needs nats-server"]
fn an_unexpected_status_is_a_failure_and_leaves_nothing_behind() {
    let temp = TempDir::new();
    demo(&temp).env("CHECK_NATS_SERVICE", "/bin/true").run().assert_stderr(
        1,
        "\n1. The service *\n$ check_nats_service *\n\n$ echo $?\n0",
        "demo.sh: nats-server: *\n\
         demo.sh: not as expected: NATS_SERVICE OK - orders: 3 instances, * (exit code 0)",
    );
    assert_clean(&temp);
}

#[test]
#[ignore = "needs nats-server"]
fn failed_start_is_reported_and_leaves_nothing_behind() {
    let temp = TempDir::new();
    demo(&temp).env("DEMO_SERVICE", "/bin/false").run().assert_stderr(
        1,
        "",
        "demo.sh: nats-server: *\ndemo.sh: an instance does not start",
    );
    demo(&temp)
        .env("NATS_SERVER", "/bin/false")
        .run()
        .assert_stderr(1, "", "demo.sh: nats-server does not start");
    demo(&temp).env("NATS_SERVER", "/nowhere").run().assert_stderr(
        1,
        "",
        "demo.sh: NATS_SERVER is no program: /nowhere",
    );
    assert_clean(&temp);
}

#[test]
#[ignore = "needs nats-server"]
fn an_interrupted_demo_leaves_nothing_behind() {
    for (signal, code) in [(libc::SIGINT, 130), (libc::SIGTERM, 143), (libc::SIGHUP, 129)] {
        let temp = TempDir::new();
        // Where the tests run in the background of a script, the demo would ignore what it has inherited as ignored.
        let running = demo(&temp).under(["env", "--default-signal=INT,TERM,HUP"]).spawn();
        let _ = wait_for("the first scene is over", || {
            let work = fs::read_dir(temp.path()).unwrap().next()?.unwrap().path();
            fs::read_dir(work.join("state")).ok()?.next()
        });
        assert!(processes_of(&temp).iter().any(|line| line.contains("demo_service")));
        // As the terminal does for Ctrl-C: to all of its group.
        // SAFETY: kill has no memory effects; the leader of the group has not been waited for.
        assert_eq!(unsafe { libc::kill(-(running.pid() as i32), signal) }, 0);
        let output = running.wait();
        assert_eq!(output.code, Some(code), "{output:?}");
        assert!(!output.stdout.contains("as expected"), "{output:?}");
        assert_clean(&temp);
    }
}

#[test]
#[ignore = "needs nats-server"]
fn not_even_kill_9_leaves_a_process_behind() {
    let temp = TempDir::new();
    let running = demo(&temp).spawn();
    wait_for("an instance runs", || {
        processes_of(&temp)
            .iter()
            .any(|line| line.contains("demo_service"))
            .then_some(())
    });
    running.signal(libc::SIGKILL);
    wait_for("all are gone", || processes_of(&temp).is_empty().then_some(()));
}

/// The replies of a service to a subject, sorted.
fn replies(server: &Server, subject: &str, expected: usize) -> Vec<Value> {
    let payloads = raw::ask(&server.url(), subject, expected).unwrap();
    let mut replies: Vec<Value> = payloads.iter().map(|p| serde_json::from_slice(p).unwrap()).collect();
    replies.sort_by_key(|reply| reply["id"].as_str().unwrap().to_owned());
    replies
}

#[test]
#[ignore = "needs nats-server"]
fn the_service_of_the_demo_speaks_adr_32() {
    let mut server = Server::start(Version::Newest);
    let services: BTreeMap<String, Service> = [(); 2]
        .map(|()| Service::demo(&server.url(), "orders").start())
        .into_iter()
        .map(|service| (service.id().to_owned(), service))
        .collect();
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    for (id, service) in &services {
        assert!(id.len() == 22 && id.chars().all(|c| c.is_ascii_alphanumeric()), "{id}");
        let common = json!({
            "name": "orders",
            "id": id,
            "version": "1.0.0",
            "metadata": {"host": host.trim(), "pid": service.pid().to_string()},
        });
        let with = |fields: Value| {
            let mut reply = common.clone();
            reply
                .as_object_mut()
                .unwrap()
                .extend(fields.as_object().unwrap().clone());
            vec![reply]
        };
        let ask = |verb: &str| replies(&server, &format!("$SRV.{verb}.orders.{id}"), 1);
        assert_eq!(ask("PING"), with(json!({"type": "io.nats.micro.v1.ping_response"})));
        let endpoint = json!({"name": "echo", "subject": "orders.echo", "queue_group": "q", "metadata": {}});
        assert_eq!(
            ask("INFO"),
            with(json!({
                "type": "io.nats.micro.v1.info_response",
                "description": "A service to watch with check_nats_service",
                "endpoints": [endpoint],
            }))
        );
    }
    for subject in [
        "$SRV.PING",
        "$SRV.PING.orders",
        "$SRV.INFO",
        "$SRV.INFO.orders",
        "$SRV.STATS",
        "$SRV.STATS.orders",
    ] {
        let ids: Vec<_> = replies(&server, subject, 2).iter().map(|r| r["id"].clone()).collect();
        assert_eq!(
            ids,
            services.keys().map(|id| json!(id)).collect::<Vec<_>>(),
            "{subject}"
        );
    }

    // Ten requests to the endpoint: each goes to one instance, and counts there.
    for _ in 0..10 {
        assert_eq!(raw::ask(&server.url(), "orders.echo", 1).unwrap(), [b""]);
    }
    let stats = replies(&server, "$SRV.STATS.orders", 2);
    let sum: u64 = stats
        .iter()
        .map(|s| s["endpoints"][0]["num_requests"].as_u64().unwrap())
        .sum();
    assert_eq!(sum, 10, "{stats:?}");
    for reply in stats {
        assert_eq!(reply["type"], "io.nats.micro.v1.stats_response");
        let echo = &reply["endpoints"][0];
        assert_eq!(
            (&echo["num_errors"], &echo["last_error"]),
            (&json!(0), &json!("")),
            "{echo}"
        );
        let number = |field: &str| echo[field].as_u64().unwrap();
        let average = number("processing_time")
            .checked_div(number("num_requests"))
            .unwrap_or(0);
        assert_eq!(number("average_processing_time"), average);
        assert!(reply["started"].as_str().unwrap().ends_with('Z'), "{reply}");
    }

    // It reconnects, and ends when told to.
    server.stop();
    server.start_again();
    server.wait_for_instances("orders", 2);
    for service in services.into_values() {
        service.stop();
    }
    server.wait_for_instances("orders", 0);
}
