//! Signals, closed and stuck outputs, panics, and limits of memory, threads and files: whatever happens to the process, it
//! ends in time, says one line, and exits with 0 to 3; with 0 only if all is well.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::fd::AsRawFd;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use crate::support::{
    Blackhole, Check, Conn, Fake, LIMIT, Output, Running, SLACK, TempDir, assert_took, is_root, wait_for,
};

/// Time that a run may take beyond its deadline, or beyond a signal (SPEC, section 3).
const GRACE: Duration = Duration::from_millis(100);

/// No run may ever use more, in KiB.
const MAX_MEMORY_KIB: u64 = 64 * 1024;

const STATE: &str = "orders.json";

const UP: &str = "NATS_SERVICE OK - orders: 1 instance, slowest answer * | instances=1;*";
const DOWN: &str =
    "NATS_SERVICE CRITICAL - orders: down, no responders, 1 instance until * ago, NATS * | instances=0;*";
/// The latch: what is said of an open outage by a run that could not ask, with why not.
const LATCHED: &str =
    "NATS_SERVICE CRITICAL - orders: still down for *, last answer from NATS * ago, had 1 instance, last seen: *, ";
const UNKNOWN: &str = "NATS_SERVICE UNKNOWN - orders: ";

type Script = fn(&mut Conn) -> io::Result<()>;

/// A fake server with a service, and a state that remembers it.
struct Bench {
    fake: Fake,
    dir: TempDir,
}

fn up(conn: &mut Conn) -> io::Result<()> {
    conn.handshake()?;
    let request = conn.read_request()?;
    conn.reply(&request, br#"{"name":"orders","id":"A"}"#)?;
    conn.hold(LIMIT)
}

fn down(conn: &mut Conn) -> io::Result<()> {
    conn.handshake()?;
    let request = conn.read_request()?;
    conn.no_responders(&request)?;
    conn.hold(LIMIT)
}

/// It takes the request, and says nothing more.
fn silent(conn: &mut Conn) -> io::Result<()> {
    conn.handshake()?;
    conn.read_request()?;
    conn.answer_pings(false);
    conn.hold(LIMIT)
}

impl Bench {
    /// A server that plays `first` for the first connections, and then `rest` for all others.
    fn new(first: &'static [Script], rest: Script) -> Bench {
        let connections = AtomicUsize::new(0);
        let fake = Fake::start(move |conn| {
            let nth = connections.fetch_add(1, SeqCst);
            first.get(nth).unwrap_or(&rest)(conn)
        });
        let dir = TempDir::new();
        Bench { fake, dir }
    }

    /// One instance was there; now comes `rest`.
    fn up_then(rest: Script) -> Bench {
        let bench = Bench::new(&[up], rest);
        bench.check().run().assert(0, UP);
        bench
    }

    /// An outage is open; now comes `rest`.
    fn down_then(rest: Script) -> Bench {
        let bench = Bench::new(&[up, down], rest);
        bench.check().run().assert(0, UP);
        bench.check().run().assert(2, DOWN);
        bench
    }

    fn check(&self) -> Check {
        let state = self.dir.join(STATE);
        Check::new([
            "-s",
            &self.fake.url(),
            "-n",
            "orders",
            "--confirm",
            "0",
            "--stall",
            "100ms",
            "--state",
            &state,
        ])
    }

    fn state(&self) -> Vec<u8> {
        fs::read(self.dir.join(STATE)).unwrap()
    }

    /// Runs until the server has the request.
    fn ask(&self, check: Check) -> Running {
        let asked = || {
            self.fake
                .received()
                .iter()
                .filter(|line| line.starts_with("PUB "))
                .count()
        };
        let before = asked();
        let run = check.spawn();
        wait_for("the request", || (asked() > before).then_some(()));
        run
    }
}

/// The two situations in which something happens to a run, and how its line and its status begin then.
fn up_and_down(rest: Script) -> [(Bench, i32, &'static str); 2] {
    [(Bench::up_then(rest), 3, UNKNOWN), (Bench::down_then(rest), 2, LATCHED)]
}

const SIGNALS: [(i32, &str); 3] = [
    (libc::SIGTERM, "SIGTERM"),
    (libc::SIGINT, "SIGINT"),
    (libc::SIGHUP, "SIGHUP"),
];

#[test]
#[ignore = "timed: tests/run.sh runs it alone"]
fn timed_a_signal_ends_it_at_once_and_changes_no_memory() {
    for (bench, code, line) in up_and_down(silent) {
        let before = bench.state();
        for (signal, name) in SIGNALS {
            let run = bench.ask(bench.check());
            let (out, took) = run.end(signal);
            assert_took(took, GRACE + SLACK, &name);
            out.assert(code, &format!("{line}interrupted by {name} | instances=U rtt_max=U *"));
            assert_eq!(bench.state(), before, "{name}");
        }
    }
}

#[test]
#[ignore = "timed: tests/run.sh runs it alone"]
fn timed_a_signal_before_the_connection_ends_the_run() {
    let mute = Fake::start(|conn| conn.hold(LIMIT));
    let hole = Blackhole::start();
    let interrupted = "NATS_SERVICE UNKNOWN - orders: interrupted by SIGTERM | instances=U rtt_max=U nats_rtt=U *";
    for url in [mute.url(), hole.url()] {
        let run = Check::new(["-s", &url, "-n", "orders"]).spawn();
        wait_for_the_watchdog(&run);
        let (out, took) = run.end(libc::SIGTERM);
        assert_took(took, GRACE + SLACK, &url);
        // It may be so early that the name of the service has not been read.
        if out.stdout != "NATS_SERVICE UNKNOWN - interrupted by SIGTERM\n" {
            out.assert(3, interrupted);
        }
    }
}

fn wait_for_the_watchdog(run: &Running) {
    let threads = || fs::read_dir(format!("/proc/{}/task", run.pid())).map_or(0, Iterator::count);
    wait_for("a second thread", || (threads() > 1).then_some(()));
}

/// Before the deadline is known there is no deadline; the monitoring system's patience has to end it.
#[test]
#[ignore = "timed: tests/run.sh runs it alone"]
fn timed_a_signal_ends_what_hangs_beside_the_network() {
    let bench = Bench::up_then(up);
    let fifo = bench.dir.join("password");
    let path = CString::new(fifo.clone()).unwrap();
    // SAFETY: the path is alive and ends with a zero.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
    let lock = File::create(bench.dir.join(&format!("{STATE}.lock"))).unwrap();
    lock.lock().unwrap();
    let (_reader, writer) = stuck_pipe();
    let reset = Check::new([
        "state",
        "reset",
        "-s",
        &bench.fake.url(),
        "-n",
        "orders",
        "--state",
        &bench.dir.join(STATE),
    ]);
    let interrupted = "NATS_SERVICE UNKNOWN - interrupted by SIGTERM";
    for (check, line) in [
        (
            bench.check().args(["--user", "u", "--password-file", &fifo]),
            interrupted,
        ),
        (reset, interrupted),
        (Check::new(["--help"]).stdout(writer), ""),
    ] {
        let run = check.spawn();
        wait_for_the_watchdog(&run);
        let (out, took) = run.end(libc::SIGTERM);
        let out = out.assert(3, line);
        assert_took(took, GRACE + SLACK, &out);
    }
}

/// However early or late it comes: nothing, or a line, and never half a state.
#[test]
fn a_signal_at_any_time_leaves_a_line_and_a_whole_state() {
    let bench = Bench::up_then(up);
    let (mut interrupted, mut ended) = (0, 0);
    for n in 0..40 {
        let (signal, name) = SIGNALS[n % 3];
        let run = bench.check().spawn();
        // The passing of time is what is tested: each run gets its signal at another instant.
        thread::sleep(Duration::from_micros(150 * n as u64));
        run.signal(signal);
        let out = run.wait();
        match (out.code, out.signal) {
            // Before it has taken the signals over.
            (None, Some(number)) if number == signal => {
                assert_eq!((out.stdout, out.stderr), (String::new(), String::new()))
            }
            (Some(0), None) => {
                ended += 1;
                out.assert(0, UP);
            }
            _ => {
                interrupted += 1;
                out.assert(3, &format!("NATS_SERVICE UNKNOWN - *interrupted by {name}*"));
            }
        }
        let _: serde_json::Value = serde_json::from_slice(&bench.state()).expect("a whole state");
    }
    assert!(interrupted > 0, "{ended} ended before");
    bench.check().run().assert(0, UP);
}

/// Returns checks, each with its exit status if all is well, and if nobody can read its output.
fn outputs(bench: &Bench, again: &Bench) -> Vec<(Check, i32, i32)> {
    let state = |what| {
        let state = bench.dir.join(STATE);
        Check::new([
            "state",
            what,
            "-s",
            &bench.fake.url(),
            "-n",
            "orders",
            "--state",
            &state,
        ])
    };
    vec![
        (bench.check(), 0, 3),
        (bench.check().args(["-c", "2:"]), 2, 2),
        (bench.check().args(["-w", "2:", "-vvv"]), 1, 1),
        (again.check(), 2, 2),
        (Check::new(["--no-such-flag"]), 3, 3),
        (Check::new(["--help"]), 0, 3),
        (Check::new(["--version"]), 0, 3),
        (state("show"), 0, 3),
        (state("reset"), 0, 3),
    ]
}

#[test]
fn an_output_that_nobody_can_read_is_never_ok() {
    let (bench, again) = (Bench::up_then(up), Bench::down_then(down));
    for (check, code, _) in outputs(&bench, &again) {
        let out = check.run();
        assert_eq!((out.code, out.stderr.as_str()), (Some(code), ""), "{out:?}");
    }
    bench.check().run().assert(0, UP);
    for kind in ["closed", "full"] {
        for (check, _, code) in outputs(&bench, &again) {
            let stdout: Stdio = match kind {
                "closed" => closed_pipe().into(),
                _ => File::options().write(true).open("/dev/full").unwrap().into(),
            };
            let out = check.stdout(stdout).run();
            assert_eq!((out.code, out.signal), (Some(code), None), "{kind}: {out:?}");
            out.assert(code, "");
        }
    }
}

/// The writing end of a pipe that nobody will ever read.
fn closed_pipe() -> PipeWriter {
    io::pipe().unwrap().1
}

/// A pipe that is full, and whose reader reads nothing.
fn stuck_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = io::pipe().unwrap();
    // SAFETY: a valid descriptor; the call only changes the size of its buffer.
    let size = unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETPIPE_SZ, 4096) };
    writer.write_all(&vec![b'x'; size as usize]).unwrap();
    (reader, writer)
}

#[test]
#[ignore = "timed: tests/run.sh runs it alone"]
fn timed_an_output_that_is_stuck_ends_at_the_deadline() {
    let (bench, again) = (Bench::up_then(up), Bench::down_then(down));
    let timeout = Duration::from_millis(500);
    let checks = [
        (bench.check(), 3),
        (bench.check().args(["-w", "2:"]), 1),
        (again.check(), 2),
    ];
    // All at once: they only wait.
    let runs = checks.map(|(check, code)| {
        let (reader, writer) = stuck_pipe();
        (check.args(["-t", "500ms"]).stdout(writer).spawn(), code, reader)
    });
    for (run, code, _reader) in runs {
        let out = run.wait().assert(code, "").assert_within(timeout + GRACE + SLACK);
        assert!(out.wall > timeout, "{out:?}");
    }
    bench.check().run().assert(0, UP);
    again
        .check()
        .run()
        .assert(2, "NATS_SERVICE CRITICAL - orders: still down for *");
}

/// As when a laptop sleeps, or a virtual machine is moved.
#[test]
#[ignore = "timed: tests/run.sh runs it alone"]
fn timed_a_run_that_was_stopped_beyond_its_deadline_ends_when_it_goes_on() {
    for (bench, code, line) in up_and_down(silent) {
        let run = bench.ask(bench.check().args(["-t", "300ms"]));
        run.signal(libc::SIGSTOP);
        // The passing of time is what is tested: the deadline goes by meanwhile.
        thread::sleep(Duration::from_millis(450));
        let (out, took) = run.end(libc::SIGCONT);
        assert_took(took, GRACE + SLACK, &out);
        out.assert(code, &format!("{line}* | instances=U *"));
    }
}

/// The server sends a line that is longer than the client's buffer, and not yet at its end.
fn long_line(conn: &mut Conn) -> io::Result<()> {
    conn.answer_pings(false);
    conn.send_info()?;
    while conn.read_line()? != "PING" {}
    conn.send_raw(&[b'x'; 5000])?;
    conn.hold(LIMIT)
}

fn reply_of_4_gib(conn: &mut Conn) -> io::Result<()> {
    conn.handshake()?;
    let request = conn.read_request()?;
    conn.send_raw(format!("MSG {} {} 4294967295\r\n", request.reply, request.sid).as_bytes())?;
    conn.hold(LIMIT)
}

/// It takes all of the memory allowed to read it, and the client does not get to its end.
fn reply_with_many_headers(conn: &mut Conn) -> io::Result<()> {
    conn.handshake()?;
    let request = conn.read_request()?;
    let headers: String = (0..700_000).map(|n| format!("k{n}: v\r\n")).collect();
    conn.reply_with_headers(&request, &format!("NATS/1.0\r\n{headers}\r\n"), b"")?;
    conn.hold(LIMIT)
}

/// Each with as many words as are kept, and more.
fn ten_thousand_wordy_instances(conn: &mut Conn) -> io::Result<()> {
    conn.handshake()?;
    let request = conn.read_request()?;
    let (reply, sid) = (&request.reply, &request.sid);
    let metadata: Vec<String> = (0..6).map(|n| format!("\"{:k<30}{n}\":\"{:v<64}\"", "", "")).collect();
    let metadata = metadata.join(",");
    let messages = (0..10_000).map(|n| {
        let payload = format!(r#"{{"name":"orders","id":"{n:x>128}","version":"1.2.3","metadata":{{{metadata}}}}}"#);
        format!("MSG {reply} {sid} {}\r\n{payload}\r\n", payload.len())
    });
    conn.send_raw(messages.collect::<String>().as_bytes())?;
    conn.hold(LIMIT)
}

/// Replies of 1 MB, without end, and nothing else.
fn flood_of_large_replies(conn: &mut Conn) -> io::Result<()> {
    conn.handshake()?;
    let request = conn.read_request()?;
    let payload = vec![b'x'; 1_000_000];
    loop {
        conn.reply(&request, &payload)?;
    }
}

#[test]
#[ignore = "timed: tests/run.sh runs it alone"]
fn timed_messages_that_crash_the_client_are_reported() {
    let cases: [(Script, &str); 3] = [
        (long_line, "internal error at *"),
        (
            flood_of_large_replies,
            "127.0.0.1:* sends far more replies than any service",
        ),
        (
            reply_of_4_gib,
            "the server sent more than the memory limit allows: 4294967295 bytes at once",
        ),
    ];
    let mut most = 0;
    for (script, text) in cases {
        for (bench, code, line) in up_and_down(script) {
            let epoch = |bytes: &[u8]| {
                let memory: serde_json::Value = serde_json::from_slice(bytes).unwrap();
                [&memory["epoch"], &memory["outage"], &memory["history"]].map(Clone::clone)
            };
            let before = epoch(&bench.state());
            let (out, peak) = bench.check().args(["-v", "-t", "2s"]).spawn().wait_and_weigh();
            assert!(peak < MAX_MEMORY_KIB, "{peak} KiB: {out:?}");
            most = most.max(peak);
            let reason = "UNKNOWN protocol_error";
            let out = out.assert_within(Duration::from_secs(2) + GRACE + SLACK);
            let lines: Vec<&str> = out.stdout.lines().collect();
            let said = lines.iter().position(|line| *line == reason);
            assert!(said.is_some(), "no {reason:?} in {out:?}");
            let first = Output {
                stdout: lines[0].to_owned(),
                ..out
            };
            // It depends on the machine how far we can follow a flood.
            let text = match first.stdout.contains("1000000 bytes") {
                true => "the server sent more than the memory limit allows: 1000000 bytes at once",
                false => text,
            };
            first.assert(code, &format!("{line}{text} | instances=U *"));
            assert_eq!(epoch(&bench.state()), before);
        }
    }
    // One that crashes at once may be gone before anybody looks.
    assert!(most > 0, "none was looked at");
}

/// The state of a service takes memory too, and little of it is left.
#[test]
#[ignore = "timed: tests/run.sh runs it alone"]
fn timed_ten_thousand_instances_are_remembered_when_memory_is_short() {
    let bench = Bench::new(&[ten_thousand_wordy_instances, down], reply_with_many_headers);
    let weigh = |code, line: &str| {
        let (out, peak) = bench.check().args(["-t", "3s"]).spawn().wait_and_weigh();
        assert!((1..MAX_MEMORY_KIB).contains(&peak), "{peak} KiB: {out:?}");
        out.assert(code, line)
            .assert_within(Duration::from_secs(3) + GRACE + SLACK);
    };
    weigh(
        0,
        "NATS_SERVICE OK - orders: 10000 instances, slowest answer * | instances=10000;*",
    );
    assert!(bench.state().len() > 500_000);
    weigh(
        2,
        "NATS_SERVICE CRITICAL - orders: down, no responders, 10000 instances until * ago, NATS * | instances=0;*",
    );
    weigh(
        2,
        "NATS_SERVICE CRITICAL - orders: still down for *, last answer from NATS * ago, had 10000 instances, last seen: *, \
         the server sent more than the memory limit allows* | instances=U *",
    );
}

/// Runs both checks under each limit. What is up is OK or UNKNOWN, what is down is CRITICAL or UNKNOWN; with the last limit,
/// which is a sensible one, there is nothing to complain of.
fn starve(limit: &str, sizes: impl IntoIterator<Item = u64>, up: impl Fn() -> Check, down: impl Fn() -> Check) {
    let sizes: Vec<u64> = sizes.into_iter().collect();
    let run = |check: Check, size: u64| {
        let out = check
            .args(["-t", "2s"])
            .under(["prlimit", &format!("--{limit}={size}")])
            .run();
        // So little that the system could not even start it.
        let no_library = out.code == Some(127) && out.stderr.contains("error while loading shared libraries");
        let no_stack = out.stderr.contains("failed to allocate an alternative stack");
        let started = !no_library && !no_stack;
        started.then_some(out)
    };
    let mut said = [0; 4];
    for size in sizes.iter().copied() {
        for (check, good) in [(up(), 0), (down(), 2)] {
            let Some(out) = run(check, size) else { continue };
            let code = out.code.unwrap_or_else(|| panic!("{limit} {size}: {out:?}"));
            assert!(code == good || code == 3, "{limit} {size}: {out:?}");
            let status = ["OK", "WARNING", "CRITICAL", "UNKNOWN"][code as usize];
            out.assert(code, &format!("NATS_SERVICE {status} - *"));
            said[code as usize] += 1;
        }
    }
    assert!(said[3] > 0, "{limit}: no size was too small");
    let largest = *sizes.last().unwrap();
    let sensible = [
        (up(), 0, UP),
        (down(), 2, "NATS_SERVICE CRITICAL - orders: still down for *"),
    ];
    for (check, code, line) in sensible {
        run(check, largest).expect("a start").assert(code, line);
    }
}

#[test]
fn a_lack_of_memory_or_descriptors_is_never_ok() {
    let (well, ill) = (Bench::up_then(up), Bench::down_then(down));
    starve("nofile", 4..=20, || well.check(), || ill.check());
    // With less the kernel cannot even load the program, and kills it.
    let mib = (14..28).chain([256]).map(|mib| mib << 20);
    starve("as", mib, || well.check(), || ill.check());
}

/// Less than the run allows itself, and the server sends more.
#[test]
#[ignore = "timed: tests/run.sh runs it alone"]
fn timed_a_reply_that_the_system_has_no_memory_for_is_reported() {
    let reply_of_36_mib: Script = |conn| {
        conn.handshake()?;
        let request = conn.read_request()?;
        conn.send_raw(format!("MSG {} {} {}\r\n", request.reply, request.sid, 36 << 20).as_bytes())?;
        conn.hold(LIMIT)
    };
    for (bench, code, line) in up_and_down(reply_of_36_mib) {
        let out = bench.check().under(["prlimit", "--as=44000000"]).run();
        let text = "the server sent more than the memory limit allows: 37748736 bytes at once";
        out.assert(code, &format!("{line}{text} | instances=U *"));
    }
}

#[test]
fn a_lack_of_threads_is_never_ok() {
    if !is_root() {
        return;
    }
    // Somebody who has no other process.
    const UID: u32 = 54_321;
    let (well, ill) = (Bench::new(&[], up), Bench::new(&[up, down], down));
    for (bench, lines) in [(&well, &[(0, UP)][..]), (&ill, &[(0, UP), (2, DOWN)])] {
        bench.dir.give_to(UID);
        for (code, line) in lines {
            bench.check().uid(UID).run().assert(*code, line);
        }
    }
    starve("nproc", 1..=8, || well.check().uid(UID), || ill.check().uid(UID));
    // An open outage is told also by a run that can start no thread at all.
    let line = format!("{LATCHED}cannot start a thread: * | instances=U *");
    let alone = |bench: &Bench| bench.check().uid(UID).under(["prlimit", "--nproc=1"]).run();
    alone(&ill).assert(2, &line);
    // And one that has no watchdog either reads a state within bounds, whatever is in it.
    let many = format!("[{}[0]]", "[0],".repeat((2 << 20) / 4 - 3));
    fs::write(well.dir.join(STATE), many).unwrap();
    let line =
        "NATS_SERVICE UNKNOWN - orders: cannot start a thread: *, the state * is damaged: no format, set aside as *";
    alone(&well).assert(3, line);
}

#[test]
fn a_file_that_may_not_grow_is_a_state_that_cannot_be_written() {
    let problem = "cannot write the state *: File too large (os error 27)";
    for (bench, code, line) in [
        (
            Bench::up_then(up),
            3,
            format!("NATS_SERVICE UNKNOWN - orders: {problem}, 1 instance, *"),
        ),
        (
            Bench::up_then(down),
            2,
            format!("NATS_SERVICE CRITICAL - orders: down, *, {problem} | *"),
        ),
    ] {
        let before = bench.state();
        for size in ["0", "100"] {
            let limit = format!("--fsize={size}");
            bench.check().under(["prlimit", &limit]).run().assert(code, &line);
            assert_eq!(bench.state(), before);
        }
    }
}
