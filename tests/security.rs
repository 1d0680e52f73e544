//! The sentences of SECURITY in the README and the man page that no other test shows: what a hostile server learns and gets,
//! and what a run does not do.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::jwt::{Account, User};
use crate::support::{Certs, Check, Fake, Server, Service, TempDir, Version, each, wait_for};

fn check(server: &str) -> Check {
    Check::new(["-n", "orders", "-v", "-s", server])
}

/// A proxy could tell a name for which it has a certificate (RUSTSEC-2023-0029).
#[test]
#[ignore = "needs nats-server"]
fn a_certificate_counts_for_the_name_that_the_user_gave_alone() {
    let certs = Certs::new();
    let config = certs.config("other-name", "") + "client_advertise: \"nats.example.org:4222\"\n";
    let server = Server::with_config(Version::Newest, &config);
    let address = format!("127.0.0.1:{}", server.port());
    let mut info = String::new();
    let mut stream = BufReader::new(TcpStream::connect(&address).unwrap());
    stream.read_line(&mut info).unwrap();
    assert!(
        info.contains("nats.example.org"),
        "the server tells another name: {info}"
    );
    for scheme in ["tls", "nats"] {
        check(&format!("{scheme}://{address}"))
            .args(["--tlsca", &certs.path("ca.pem")])
            .run()
            .assert_first_line(
                3,
                "NATS_SERVICE UNKNOWN - orders: TLS with NATS at * failed: its certificate is for another name, *",
            )
            .assert_finding("UNKNOWN tls_failed: *");
    }
}

/// All that a client sends to a server that greets it like this, and does not go on.
fn sent_to(info: &str, scheme: &str) -> (Vec<u8>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let info = format!("INFO {info}\r\n");
    listener.set_nonblocking(true).unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = wait_for("a connection", || listener.accept().ok());
        stream.set_nonblocking(false).unwrap();
        stream.write_all(info.as_bytes()).unwrap();
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard);
        heard
    });
    let out = check(&format!("{scheme}://127.0.0.1:{port}"))
        .args(["--timeout", "500ms", "--user", "mon"])
        .env("NATS_PASSWORD", "S3CRET")
        .run();
    assert_eq!(out.code, Some(3), "{}", out.stdout);
    (server.join().unwrap(), out.stdout)
}

#[test]
fn over_tls_nothing_is_sent_before_the_server_has_shown_its_certificate() {
    let info = |tls: bool| {
        json!({"server_id": "N", "version": "2.10.25", "host": "127.0.0.1", "port": 4222, "max_payload": 1_048_576, "proto": 1,
            "client_id": 1, "go": "", "server_name": "", "client_ip": "", "headers": true, "tls_required": tls})
        .to_string()
    };
    each([("tls", false), ("tls", true), ("nats", true)], |(scheme, tls)| {
        let (heard, stdout) = sent_to(&info(tls), scheme);
        // The first byte of a TLS handshake; and none of the login.
        assert_eq!(heard.first(), Some(&0x16), "{scheme}, {tls}: {heard:?}\n{stdout}");
        let text = String::from_utf8_lossy(&heard);
        assert!(
            !text.contains("CONNECT") && !text.contains("S3CRET") && !text.contains("mon"),
            "{text}"
        );
    });
    // What the README warns of.
    let (heard, _) = sent_to(&info(false), "nats");
    assert!(String::from_utf8_lossy(&heard).contains("S3CRET"), "plain is plain");
}

#[test]
fn a_seed_never_leaves_the_process() {
    let fake = Fake::start(|conn| {
        conn.handshake_with(json!({"auth_required": true, "nonce": "HKB3m1tovAimzzg"}))?;
        let request = conn.read_request()?;
        conn.no_responders(&request)?;
        conn.hold(Duration::from_secs(5))
    });
    let dir = TempDir::new();
    let creds = dir.join("mon.creds");
    let text = Account::new("APP").creds(&User::new("mon"));
    fs::write(&creds, &text).unwrap();
    check(&fake.url())
        .args(["--creds", &creds, "--confirm", "0"])
        .run()
        .assert_first_line(3, "*never seen*");
    let seed = text.lines().find(|line| line.starts_with("SU")).expect("a seed");
    let received = fake.received().join("\n");
    assert!(
        received.contains("\"jwt\":\"ey") && received.contains("\"sig\":"),
        "it logs in: {received}"
    );
    assert!(!received.contains(seed), "{received}");
}

/// A server tells where else it can be reached, and may then go away.
#[test]
fn an_address_that_a_server_tells_is_never_connected_to() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let told = elsewhere.local_addr().unwrap().to_string();
    for lame_duck in [false, true] {
        let told = told.clone();
        let fake = Fake::start(move |conn| {
            conn.handshake_with(json!({"connect_urls": [told]}))?;
            conn.read_request()?;
            if lame_duck {
                conn.send_info_with(json!({"connect_urls": [told], "ldm": true}))?;
            }
            conn.close()
        });
        let out = check(&fake.url()).run();
        assert_eq!(out.code, Some(3), "{}", out.stdout);
        assert!(fake.connections() > 1, "it has tried again, and there");
        let came = elsewhere.accept().map(|(_, peer)| peer);
        assert!(came.is_err(), "{came:?} came to the address that was told");
    }
}

#[test]
#[ignore = "needs nats-server"]
fn a_run_starts_no_program_and_listens_to_nobody() {
    let server = Server::start(Version::Newest);
    let _service = Service::async_nats(&server.url(), "orders").start();
    let dir = TempDir::new();
    let (trace, metrics) = (dir.join("trace"), dir.join("orders.prom"));
    let calls = "trace=execve,execveat,bind,listen,accept,accept4,connect";
    for words in [
        &["check", "--stats", "-vvv"][..],
        &["textfile", "-o", &metrics],
        &["state", "show"],
    ] {
        let out = Check::new(words)
            .args(["-n", "orders", "-s", &server.url(), "--state-dir", &dir.join("state")])
            .under(["strace", "-f", "-qq", "-e", calls, "-o", &trace])
            .run();
        assert_eq!(out.code, Some(0), "{} {}", out.stdout, out.stderr);
        let port = format!("htons({})", server.port());
        let calls = fs::read_to_string(&trace).unwrap();
        let calls: Vec<&str> = calls
            .lines()
            .filter(|line| line.contains('(') && !line.contains("resumed"))
            .collect();
        let (starts, others): (Vec<&str>, Vec<&str>) = calls.into_iter().partition(|line| line.contains("execve"));
        assert_eq!(starts.len(), 1, "{starts:?}");
        assert!(
            others
                .iter()
                .all(|line| line.contains("connect(") && line.contains(&port)),
            "{words:?}: {others:?}"
        );
        assert_eq!(others.is_empty(), words[0] == "state", "{words:?}: {others:?}");
    }
}

#[test]
fn the_file_of_a_sidecar_can_be_read_by_all_and_written_by_it_alone() {
    let dir = TempDir::new();
    let file = dir.join("orders.json");
    let sidecar = Check::new([
        "watch",
        "-n",
        "orders",
        "-s",
        "nats://127.0.0.1:1",
        "--status-file",
        &file,
    ])
    .args(["--textfile", &dir.join("orders.prom")])
    .under(["sh", "-c", "umask 077; exec \"$@\"", "sh"])
    .spawn();
    for name in ["orders.json", "orders.prom"] {
        let mode = wait_for(name, || Some(fs::metadata(dir.join(name)).ok()?.permissions().mode()));
        assert_eq!(mode & 0o7777, 0o644, "{name}");
    }
    let (out, _) = sidecar.end(libc::SIGTERM);
    assert_eq!(out.code, Some(0));
}

/// An id is foreign text like any other: only subjects and JSON have it as it was sent.
#[test]
fn no_text_shows_an_id_as_it_was_sent() {
    const IDS: [&str; 4] = ["<svg/onload=a>", "$(touch/tmp/x)", "`id`&\"'~", "a\\nb"];
    // The second of each pair is there at first only.
    let there = Arc::new(AtomicBool::new(true));
    let all = Arc::clone(&there);
    let fake = Fake::start(move |conn| {
        conn.handshake()?;
        loop {
            let request = conn.read_request()?;
            let count = if all.load(SeqCst) { IDS.len() } else { 1 };
            // The first one runs twice.
            for id in IDS.iter().take(count).chain(&IDS[..1]).map(|id| id.replace('>', "")) {
                conn.reply(
                    &request,
                    json!({"name": "orders", "id": id, "version": "1.0.0"})
                        .to_string()
                        .as_bytes(),
                )?;
            }
        }
    });
    let dir = TempDir::new();
    let state = dir.join("state");
    let run = |words: &[&str]| Check::new(words).args(["-n", "orders", "-s", &fake.url()]).run().stdout;
    let assert_clean = |what: &str, text: &str| {
        for part in ["<svg", "$(", "`", "a\\nb", "&\"", "id`"] {
            assert!(!text.contains(part), "{what}: {part}: {text}");
        }
        assert!(
            text.contains("svg/onload=a") || text.contains("touch/tmp/x"),
            "{what}: {text}"
        );
    };
    let checks: [&[&str]; 3] = [
        &["check", "-vvv", "--state-dir", &state],
        &["check", "-vvv", "--state-dir", &state, "--format", "text"],
        &["check", "-vvv", "--state-dir", &state, "--format", "checkmk"],
    ];
    let all_formats = |when: &str| {
        for words in checks {
            let out = run(words);
            let text = if words.contains(&"checkmk") {
                out.replace("\\n", "\n")
            } else {
                out
            };
            assert_clean(&format!("{when} {words:?}"), &text);
        }
        assert_clean(when, &run(&["state", "show", "--state-dir", &state]));
    };
    let twice = run(&["check", "--no-state"]);
    assert!(
        twice.contains("2 replies from one id (?svg/onload=a): is it running twice?"),
        "{twice}"
    );
    all_formats("all");
    let metrics = run(&["check", "--no-state", "--format", "prometheus", "--per-instance"]);
    assert!(metrics.contains(r#"instance_id="a\\nb""#), "escaped: {metrics}");
    let status = run(&["check", "--no-state", "--format", "json"]);
    let status: Value = serde_json::from_str(&status).unwrap();
    let raw: Vec<&str> = status["answers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| a["id"].as_str().unwrap())
        .collect();
    assert!(raw.contains(&"$(touch/tmp/x)") && raw.contains(&"a\\nb"), "{raw:?}");
    assert_clean("probe", &run(&["probe", "liveness", "--id", "$(touch/tmp/x)"]));
    there.store(false, SeqCst);
    all_formats("one is left");
}
