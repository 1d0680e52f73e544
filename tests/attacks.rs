//! Attacks by a hostile server, or by a hostile peer of the service, each in all modes: the reason is right, nothing hangs,
//! grows, panics or ends in another status, and no attack makes or hides an outage.
//!
//! The usual run is a sample of the modes. `ATTACKS=all tests/run.sh attacks -- --nocapture` tries all, and prints the table.

use std::fs;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::fake::Request;
use crate::support::{Check, Conn, Fake, LIMIT, Metrics, Output, TempDir};

const A: &[u8] = br#"{"name":"orders","id":"A"}"#;

/// Maximum memory of a run, in KiB, whatever is sent to it.
const MAX_MEMORY_KIB: u64 = 64 * 1024;

/// Time limit of each run, not counting the time that a busy machine adds.
const TIMEOUT: Duration = Duration::from_millis(2000);
const SLACK: Duration = Duration::from_secs(5);

type Script = Arc<dyn Fn(&mut Conn) -> io::Result<()> + Send + Sync>;

/// End of an attack.
#[derive(Clone, Copy, Debug)]
enum End {
    /// There are instances.
    Up,
    /// There are none, as the server says; it is the one that can be believed, or nobody.
    Down,
    /// Somebody is subscribed, and nobody answers.
    Silent,
    /// NATS could not be asked, for one of these reasons.
    Unasked(&'static [&'static str]),
}

const UNREACHABLE: End = End::Unasked(&["nats_unreachable"]);
const PROTOCOL: End = End::Unasked(&["protocol_error"]);
/// Where it depends on the machine whether the flood or the end of the time comes first.
const EITHER: End = End::Unasked(&["protocol_error", "nats_unreachable"]);

struct Attack {
    name: &'static str,
    end: End,
    script: Script,
}

/// On each connection.
fn server(
    name: &'static str,
    end: End,
    script: impl Fn(&mut Conn) -> io::Result<()> + Send + Sync + 'static,
) -> Attack {
    Attack {
        name,
        end,
        script: Arc::new(script),
    }
}

/// To each request of whatever kind, behind a login like any other.
fn peer(
    name: &'static str,
    end: End,
    reply: impl Fn(&mut Conn, &Request) -> io::Result<()> + Send + Sync + 'static,
) -> Attack {
    server(name, end, move |conn| {
        conn.handshake()?;
        loop {
            let request = conn.read_request()?;
            reply(conn, &request)?;
        }
    })
}

/// An INFO of ours, in which some fields are others.
fn info(name: &'static str, end: End, fields: Value) -> Attack {
    server(name, end, move |conn| {
        conn.handshake_with(fields.clone())?;
        loop {
            let request = conn.read_request()?;
            conn.reply(&request, A)?;
        }
    })
}

/// This line instead of an INFO.
fn line(name: &'static str, end: End, line: impl Into<Vec<u8>>) -> Attack {
    let line = line.into();
    server(name, end, move |conn| {
        conn.send_raw(&line)?;
        conn.hold(LIMIT)
    })
}

/// This without end.
fn flood(conn: &mut Conn, bytes: &[u8]) -> io::Result<()> {
    let many = bytes.repeat(1 + 60_000 / bytes.len());
    loop {
        conn.send_raw(&many)?;
    }
}

fn message(request: &Request, payload: &str) -> String {
    format!(
        "MSG {} {} {}\r\n{payload}\r\n",
        request.reply,
        request.sid,
        payload.len()
    )
}

fn slowly(conn: &mut Conn, bytes: &[u8], pause: u64) -> io::Result<()> {
    for byte in bytes {
        conn.send_raw(&[*byte])?;
        // The passing of time is what is tested: a server that is slow.
        thread::sleep(Duration::from_millis(pause));
    }
    Ok(())
}

/// A login, and then bytes of the server's own before any request is answered.
fn behind_the_login(
    name: &'static str,
    end: End,
    then: impl Fn(&mut Conn) -> io::Result<()> + Send + Sync + 'static,
) -> Attack {
    server(name, end, move |conn| {
        conn.handshake()?;
        conn.read_request()?;
        then(conn)
    })
}

fn attacks_at_the_login(decoy: &Fake) -> Vec<Attack> {
    let elsewhere = decoy.url().trim_start_matches("nats://").to_owned();
    vec![
        server("accepts, and says nothing", UNREACHABLE, |conn| conn.hold(LIMIT)),
        server("an INFO byte by byte, no end", UNREACHABLE, |conn| {
            conn.send_raw(b"INFO {\"server_id\":\"")?;
            slowly(conn, &[b'N'; 1000], 20)
        }),
        server("an INFO in a flood, no end", EITHER, |conn| {
            conn.send_raw(b"INFO {\"server_id\":\"")?;
            flood(conn, b"N")
        }),
        line(
            "an INFO of 1 MB",
            EITHER,
            format!("INFO {{\"server_id\":\"{}\"}}\r\n", "N".repeat(1_000_000)),
        ),
        line(
            "an INFO of 2000 nested lists",
            PROTOCOL,
            format!("INFO {{\"x\":{}{}}}\r\n", "[".repeat(2000), "]".repeat(2000)),
        ),
        line(
            "an INFO of 4000 brackets",
            PROTOCOL,
            format!("INFO {}\r\n", "[".repeat(4000)),
        ),
        line("an INFO that is a number", EITHER, "INFO 1e9999\r\n"),
        line("an INFO that is null", EITHER, "INFO null\r\n"),
        line("an INFO without anything", EITHER, "INFO\r\n"),
        line("an INFO of NULs", EITHER, b"INFO \0\0\0\0\r\n".to_vec()),
        line(
            "an INFO that is no UTF-8",
            EITHER,
            b"INFO {\"version\":\"\xff\xfe\"}\r\n".to_vec(),
        ),
        info(
            "an INFO of wrong types",
            EITHER,
            json!({"server_id": {}, "port": "x", "max_payload": -1, "client_id": 1e300, "headers": "yes"}),
        ),
        info("an INFO that allows no payload", End::Up, json!({"max_payload": 0})),
        info("an INFO without headers", End::Up, json!({"headers": false})),
        info(
            "a version that is none",
            End::Up,
            json!({"version": "99999999999999999999.-1.\u{202e}x"}),
        ),
        server("+OK without end", EITHER, |conn| {
            conn.send_info()?;
            flood(conn, b"+OK\r\n")
        }),
        server("PING without end", EITHER, |conn| {
            conn.send_info()?;
            flood(conn, b"PING\r\n")
        }),
        server("INFO without end", EITHER, |conn| {
            conn.send_info()?;
            flood(conn, b"INFO {\"server_id\":\"N\",\"version\":\"2.10.0\"}\r\n")
        }),
        server("an -ERR of 4 MB", EITHER, |conn| {
            conn.send_info()?;
            conn.send_raw(b"-ERR '")?;
            conn.send_raw(&vec![b'E'; 4_000_000])?;
            conn.send_raw(b"'\r\n")?;
            conn.hold(LIMIT)
        }),
        server("a PONG byte by byte", UNREACHABLE, |conn| {
            conn.answer_pings(false);
            conn.send_info()?;
            slowly(conn, b"PONG", 900)?;
            conn.hold(LIMIT)
        }),
        server("ends each connection at once", UNREACHABLE, |conn| conn.close()),
        server("resets each connection at once", UNREACHABLE, |_| Ok(())),
        server("ends each connection at the login", UNREACHABLE, |conn| {
            conn.send_info()?;
            conn.read_line()?;
            conn.close()
        }),
        server("garbage instead of TLS", End::Unasked(&["tls_failed"]), |conn| {
            conn.send_info_with(json!({"tls_required": true}))?;
            conn.send_raw(&[0x16; 600])?;
            conn.hold(LIMIT)
        }),
        server("a TLS record that never ends", UNREACHABLE, |conn| {
            conn.send_info_with(json!({"tls_required": true}))?;
            conn.send_raw(b"\x16\x03\x03\x3f\xff\x02")?;
            conn.hold(LIMIT)
        }),
        server(
            "the end instead of TLS",
            End::Unasked(&["tls_failed", "nats_unreachable"]),
            |conn| {
                conn.send_info_with(json!({"tls_required": true}))?;
                conn.close()
            },
        ),
        server("names other servers, and ends", EITHER, move |conn| {
            conn.handshake_with(json!({"connect_urls": [elsewhere]}))?;
            conn.read_request()?;
            conn.close()
        }),
    ]
}

fn attacks_behind_the_request() -> Vec<Attack> {
    let changed = AtomicBool::new(false);
    vec![
        behind_the_login("half an end", EITHER, |conn| {
            conn.send_raw(b"PONG\r\n")?;
            conn.close()
        }),
        behind_the_login("PING without end, later", EITHER, |conn| flood(conn, b"PING\r\n")),
        behind_the_login("PONG without end", End::Silent, |conn| flood(conn, b"PONG\r\n")),
        behind_the_login("INFO without end, later", EITHER, |conn| {
            for n in 0.. {
                let urls: Vec<String> = (0..100).map(|m| format!("10.0.{}.{m}:4222", n % 250)).collect();
                conn.send_info_with(json!({"server_id": n.to_string(), "connect_urls": urls}))?;
            }
            Ok(())
        }),
        behind_the_login("-ERR without end", PROTOCOL, |conn| {
            flood(conn, b"-ERR 'you|x=1 \x1b[31m are not welcome'\r\n")
        }),
        behind_the_login("an -ERR of 4 MB, later", EITHER, |conn| {
            conn.send_raw(b"-ERR '")?;
            conn.send_raw(&vec![b'E'; 4_000_000])?;
            conn.send_raw(b"'\r\n")?;
            conn.hold(LIMIT)
        }),
        behind_the_login("messages to nobody without end", EITHER, |conn| {
            flood(conn, b"MSG a.b 99 3\r\nabc\r\n")
        }),
        behind_the_login("a line of 1 MB", EITHER, |conn| {
            conn.send_raw(&vec![b'x'; 1_000_000])?;
            conn.hold(LIMIT)
        }),
        behind_the_login("random bytes", EITHER, |conn| {
            let mut state = 88_172_645_463_325_252_u64;
            let bytes: Vec<u8> = (0..100_000)
                .map(|_| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    state as u8
                })
                .collect();
            flood(conn, &bytes)
        }),
        server("another id in each INFO", End::Up, move |conn| {
            let id = if changed.swap(true, SeqCst) { "NOTHER" } else { "NONE" };
            conn.handshake_with(json!({"server_id": id}))?;
            loop {
                let request = conn.read_request()?;
                conn.send_info_with(json!({"server_id": "NTHIRD", "server_name": "other"}))?;
                conn.reply(&request, A)?;
            }
        }),
    ]
}

fn attacks_by_replies() -> Vec<Attack> {
    let reply =
        |name, end, payload: String| peer(name, end, move |conn, request| conn.reply(request, payload.as_bytes()));
    let raw = |name, end, head: &'static str, rest: &'static [u8]| {
        peer(name, end, move |conn, request| {
            let head = head.replace("TO", &format!("{} {}", request.reply, request.sid));
            conn.send_raw(head.as_bytes())?;
            conn.send_raw(rest)
        })
    };
    let status = |name, end, line: &'static str| {
        peer(name, end, move |conn, request| {
            conn.reply_with_headers(request, &format!("NATS/1.0 {line}\r\n\r\n"), b"")
        })
    };
    vec![
        reply("an empty reply", End::Silent, String::new()),
        reply(
            "an id with control characters",
            End::Silent,
            json!({"name": "orders", "id": "A\u{1b}[2J\n|x=1"}).to_string(),
        ),
        reply(
            "an id that is written from the right",
            End::Silent,
            json!({"name": "orders", "id": "\u{202e}A\u{2066}"}).to_string(),
        ),
        reply(
            "an id of 100 kB",
            End::Silent,
            json!({"name": "orders", "id": "A".repeat(100_000)}).to_string(),
        ),
        reply(
            "a reply of 100,000 nested lists",
            End::Silent,
            format!(r#"{{"name":"orders","id":"A","x":{}"#, "[".repeat(100_000)),
        ),
        reply(
            "a number of 100,000 digits",
            End::Silent,
            format!(r#"{{"name":"orders","id":{}}}"#, "9".repeat(100_000)),
        ),
        reply(
            "metadata of 10,000 keys",
            End::Up,
            json!({
                "name": "orders",
                "id": "A",
                "metadata": (0..10_000).map(|n| (n.to_string(), Value::from("|x=1\n"))).collect::<serde_json::Map<_, _>>(),
            })
            .to_string(),
        ),
        status("a forged 503", End::Down, "503"),
        status("a forged 503 with words", End::Down, "503 No Responders|x=1 \x1b[2J"),
        status("a forged 404", End::Silent, "404 No Messages"),
        status("a forged 99999", End::Silent, "99999"),
        status("a status that is no number", End::Silent, "abc"),
        peer("a forged 503 with an answer in it", End::Up, |conn, request| {
            conn.reply_with_headers(request, "NATS/1.0 503\r\n\r\n", A)
        }),
        peer("20,000 equal answers", End::Up, |conn, request| {
            conn.send_raw(message(request, r#"{"name":"orders","id":"A"}"#).repeat(20_000).as_bytes())
        }),
        peer("20,000 ids", End::Up, |conn, request| {
            let answer = |n| message(request, &format!(r#"{{"name":"orders","id":"{n}"}}"#));
            conn.send_raw((0..20_000).map(answer).collect::<String>().as_bytes())
        }),
        // All of them fit into the memory allowed, however late the reader is.
        peer("30 MiB of answers", End::Up, |conn, request| {
            let filler = "x".repeat(60_000);
            (0..500).try_for_each(|n| {
                let answer = format!(r#"{{"name":"orders","id":"{n}","metadata":{{"x":"{filler}"}}}}"#);
                conn.reply(request, answer.as_bytes())
            })
        }),
        peer("answers to nobody's question", End::Silent, |conn, request| {
            let inbox = request.reply.rsplit_once('.').map_or("", |(inbox, _)| inbox);
            for token in ["18446744073709551616", "-1",  "s", "x", ""] {
                let to = Request {
                    reply: format!("{inbox}.{token}"),
                    ..request.clone()
                };
                conn.reply(&to, A)?;
            }
            Ok(())
        }),
        peer("answers to each id, and not to the name", End::Silent, |conn, request| {
            match request.subject.strip_prefix("$SRV.").and_then(|rest| rest.split('.').nth(2)) {
                Some(id) => conn.reply(request, json!({"name": "orders", "id": id}).to_string().as_bytes()),
                None => Ok(()),
            }
        }),
        peer("an answer to a question of the future", End::Silent, |conn, request| {
            let inbox = request.reply.rsplit_once('.').map_or("", |(inbox, _)| inbox);
            let to = Request {
                reply: format!("{inbox}.99"),
                ..request.clone()
            };
            conn.reply(&to, A)
        }),
        peer("an answer after the deadline", End::Silent, |conn, request| {
            // The PING behind the request is answered before.
            conn.hold(TIMEOUT * 2)?;
            conn.reply(request, A)
        }),
        peer("1000 headers", End::Up, |conn, request| {
            let headers: String = (0..1000).map(|n| format!("K{n}: v\r\n")).collect();
            conn.reply_with_headers(request, &format!("NATS/1.0\r\n{headers}\r\n"), A)
        }),
        peer("a header of 30 MB", EITHER, |conn, request| {
            let headers = format!("NATS/1.0\r\nK: {}\r\n\r\n", "v".repeat(30_000_000));
            conn.reply_with_headers(request, &headers, A)
        }),
        raw("a size of 4 GiB", PROTOCOL, "MSG TO 4294967295\r\n", b"{"),
        raw("a size beyond all numbers", EITHER, "MSG TO 99999999999999999999999\r\n", b"{"),
        raw("a size below zero", EITHER, "MSG TO -1\r\n", b"{}\r\n"),
        raw("a message without a size", EITHER, "MSG TO\r\n", b"{}\r\n"),
        raw("headers longer than the message", EITHER, "HMSG TO 4000000000 12\r\n", b"NATS/1.0\r\n\r\n\r\n"),
        raw("a message that is longer than it says", End::Silent, "MSG TO 2\r\n", b"{}{}{}{}\r\n"),
        raw("headers that end in the middle", End::Silent, "HMSG TO 12 12\r\n", b"NATS/1.0\r\nA:\r\n"),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Check,
    Textfile,
    Probe,
    Watch,
    /// A check that asks for all that there is to ask: statistics, and an endpoint.
    Deep,
}

impl Mode {
    const ALL: [Mode; 5] = [Mode::Check, Mode::Textfile, Mode::Probe, Mode::Watch, Mode::Deep];
}

/// Result of one run.
struct Seen {
    reason: String,
    took: Duration,
    peak_kib: u64,
    wrong: Option<String>,
}

impl End {
    /// Returns the error in the verdict of a check, if there is one.
    fn wrong(self, exit_code: i64, reason: &str) -> Option<String> {
        let good = match self {
            End::Up => (exit_code, reason) == (0, "service_up"),
            End::Down => (exit_code, reason) == (2, "service_down"),
            End::Silent => (exit_code, reason) == (2, "service_silent"),
            End::Unasked(reasons) => exit_code == 3 && reasons.contains(&reason),
        };
        (!good).then(|| format!("{exit_code} {reason}, not {self:?}"))
    }
}

impl End {
    /// Returns the error in the state of a check that knew one instance and no outage, if there is one.
    fn wrong_memory(self, state: &str) -> Option<String> {
        let memory: Value = serde_json::from_str(&fs::read_to_string(state).unwrap_or_default()).unwrap_or_default();
        let (outage, count) = (memory["outage"].is_object(), memory["epoch"]["count"].as_u64());
        let good = match self {
            End::Up => !outage && count >= Some(1),
            End::Down | End::Silent => outage && count == Some(0),
            End::Unasked(_) => !outage && count >= Some(1),
        };
        (!good).then(|| format!("remembers {memory}"))
    }
}

/// A fake that is well at its first connection, and the memory of the run that had it.
struct Target {
    fake: Fake,
    dir: TempDir,
}

impl Target {
    fn new(script: Script) -> Target {
        let first = Mutex::new(true);
        let fake = Fake::start(move |conn| {
            if std::mem::take(&mut *first.lock().unwrap()) {
                conn.handshake()?;
                let request = conn.read_request()?;
                conn.reply(&request, A)?;
                return conn.hold(LIMIT);
            }
            script(conn)
        });
        let target = Target {
            fake,
            dir: TempDir::new_in("/dev/shm"),
        };
        target
            .run(&[])
            .args(["--confirm", "0", "--stall", "50ms", "-t", "10"])
            .args(["--state", &target.dir.join("state/s.json")])
            .run()
            .assert_first_line(0, "NATS_SERVICE OK - orders: 1 instance, *");
        target
    }

    fn run(&self, words: &[&str]) -> Check {
        Check::new(words).args(["-s", &self.fake.url(), "-n", "orders"])
    }

    fn attacked(&self, mode: Mode, end: End) -> Seen {
        let timeout = format!("{}ms", TIMEOUT.as_millis());
        let flags = ["--confirm", "100ms", "--stall", "100ms", "-t", &timeout];
        let (state, file) = (self.dir.join("state/s.json"), self.dir.join("file"));
        let with_state = |words: &[&str]| self.run(words).args(flags).args(["--state", &state]);
        match mode {
            Mode::Check | Mode::Deep => {
                let deep = [
                    "--error-rate-critical",
                    "5",
                    "--request",
                    "echo",
                    "--payload",
                    "x",
                    "--reply-contains",
                    "y",
                ];
                let words = ["check", "--format", "json", "-vvv"];
                let words = [&words[..], if mode == Mode::Deep { &deep } else { &[] }].concat();
                let (out, peak_kib) = weighed(with_state(&words));
                let told: Value = serde_json::from_str(&out.stdout).unwrap_or_default();
                let (code, reason) = (out.code, told["reason"].as_str().unwrap_or_default().to_owned());
                let wrong = match code {
                    Some(code) if told["exit_code"] != code => Some(format!("{out:?}")),
                    // The instances are there, and nobody replies as wanted; or all that they say at once is too much.
                    Some(2 | 3) if mode == Mode::Deep && reason == "request_failed" => end.wrong(0, "service_up"),
                    Some(3) if mode == Mode::Deep && matches!(end, End::Up) => PROTOCOL.wrong(3, &reason),
                    Some(code) => end.wrong(code.into(), &reason),
                    None => Some(format!("{out:?}")),
                };
                let wrong = wrong.or_else(|| match code {
                    Some(3) => UNREACHABLE.wrong_memory(&state),
                    _ => end.wrong_memory(&state),
                });
                self.seen(reason, &out, peak_kib, wrong)
            }
            Mode::Textfile => {
                let (out, peak_kib) = weighed(with_state(&["textfile", "-o", &file]));
                let text = fs::read_to_string(&file).unwrap_or_default();
                let metrics = (!text.is_empty()).then(|| Metrics::parse(&text));
                let reason = metrics
                    .as_ref()
                    .map_or(String::new(), |metrics| metrics.reasons("orders").concat());
                let status = metrics.and_then(|metrics| metrics.of("orders", "nats_service_status"));
                let wrong = match (out.code, status) {
                    (Some(0), Some(status)) => end.wrong(status as i64, &reason),
                    _ => Some(format!("{out:?}, {text}")),
                };
                self.seen(reason, &out, peak_kib, wrong)
            }
            Mode::Probe => {
                let check = self.run(&["probe", "liveness", "--any-instance"]).args(flags);
                let (out, peak_kib) = weighed(check);
                let (code, word) = match end {
                    End::Up | End::Unasked(_) => (0, "pass"),
                    End::Down | End::Silent => (1, "fail"),
                };
                let good = out.code == Some(code) && out.stdout.starts_with(&format!("liveness {word}: orders: "));
                let wrong = (!good).then(|| format!("{out:?}"));
                let said = out.stdout.split([' ', ':']).nth(1).unwrap_or_default().to_owned();
                self.seen(said, &out, peak_kib, wrong)
            }
            Mode::Watch => {
                let words = ["watch", "--interval", "4s", "--status-file", &file];
                let mut running = with_state(&words).spawn();
                let start = Instant::now();
                let mut peak_kib = 0;
                let status: Value = loop {
                    peak_kib = peak_kib.max(weigh_family(running.pid()));
                    let text = fs::read_to_string(&file).unwrap_or_default();
                    match serde_json::from_str(&text) {
                        Ok(status) => break status,
                        // One that is late is ended by the process that waits for it, and leaves no file.
                        Err(_) if start.elapsed() < LIMIT * 3 => thread::sleep(Duration::from_millis(2)),
                        Err(e) => panic!("no status: {e}: {text}"),
                    }
                    assert!(running.is_running());
                };
                let took = start.elapsed();
                running.signal(libc::SIGTERM);
                let out = running.wait();
                let reason = status["reason"].as_str().unwrap_or_default().to_owned();
                let wrong = match out.code {
                    Some(0) => {
                        let wrong = end.wrong(status["exit_code"].as_i64().unwrap_or(-1), &reason);
                        wrong.map(|why| format!("{why}: {}", status["text"]))
                    }
                    _ => Some(format!("{out:?}")),
                };
                Seen {
                    took,
                    ..self.seen(reason, &out, peak_kib, wrong)
                }
            }
        }
    }

    fn seen(&self, reason: String, out: &Output, peak_kib: u64, wrong: Option<String>) -> Seen {
        let forged = out.stdout.contains("x=1 \u{1b}") || out.stdout.contains(['\u{1b}', '\u{202e}']);
        let wrong = wrong
            .or_else(|| forged.then(|| format!("forged: {out:?}")))
            // That of the memory, two for each run before, and those of a sidecar.
            .or_else(|| (self.fake.connections() > 16).then(|| "a storm of connections".to_owned()))
            .or_else(|| (peak_kib >= MAX_MEMORY_KIB).then(|| format!("{peak_kib} KiB")))
            .or_else(|| (out.own() > TIMEOUT + SLACK).then(|| format!("{out:?}")));
        Seen {
            reason,
            took: out.own(),
            peak_kib,
            wrong,
        }
    }
}

/// Runs it, and says how much memory it had at most when it was looked at; one that is very short may never be.
fn weighed(check: Check) -> (Output, u64) {
    let mut running = check.spawn();
    let mut peak_kib = 0;
    while running.is_running() {
        peak_kib = peak_kib.max(weigh_family(running.pid()));
        thread::sleep(Duration::from_millis(1));
    }
    (running.wait(), peak_kib)
}

/// The most memory of a process and of its children, in KiB.
fn weigh_family(pid: u32) -> u64 {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|child| child.parse().ok());
    let weigh = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok()
    };
    children.chain([pid]).filter_map(weigh).max().unwrap_or(0)
}

#[test]
#[ignore = "timed: tests/run.sh runs it alone"]
fn timed_no_attack_hangs_a_run_or_falsifies_its_verdict_or_exceeds_the_memory_limit() {
    let all = std::env::var_os("ATTACKS").is_some();
    let decoy = Fake::start(|conn| conn.hold(LIMIT));
    let attacks: Vec<Attack> = [
        attacks_at_the_login(&decoy),
        attacks_behind_the_request(),
        attacks_by_replies(),
    ]
    .into_iter()
    .flatten()
    .collect();
    let number = attacks.len();
    let queue = Mutex::new(attacks.into_iter().enumerate());
    let rows = Mutex::new(Vec::new());
    let next = || queue.lock().unwrap().next();
    thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                while let Some((nth, attack)) = next() {
                    let Attack { name, end, script } = attack;
                    // In each other mode one of four, and a check always.
                    let wanted = |mode: Mode| all || mode == Mode::Check || nth % 4 + 1 == mode as usize;
                    let modes = Mode::ALL.into_iter().filter(|mode| wanted(*mode));
                    let seen: Vec<(Mode, Seen)> = modes
                        .map(|mode| (mode, Target::new(Arc::clone(&script)).attacked(mode, end)))
                        .collect();
                    rows.lock().unwrap().push((nth, name, seen));
                }
            });
        }
    });
    let mut rows = rows.into_inner().unwrap();
    rows.sort_by_key(|(nth, ..)| *nth);
    let (mut runs, mut wrong) = (0, Vec::new());
    for (_, name, seen) in &rows {
        let mut row = format!("{name:<38}");
        for (mode, seen) in seen {
            runs += 1;
            let (seconds, mib) = (seen.took.as_secs_f64(), seen.peak_kib as f64 / 1024.0);
            row += &format!(" | {mode:?}: {} {seconds:.2} s {mib:.0} MiB", seen.reason);
            if let Some(why) = &seen.wrong {
                row += " WRONG";
                wrong.push(format!("{name}, {mode:?}: {why}"));
            }
        }
        println!("{row}");
    }
    println!("{number} attacks, {runs} runs, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(rows.len(), number, "each has its row");
    assert_eq!(decoy.connections(), 0, "nobody goes where a server says");
}
