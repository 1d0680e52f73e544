//! The file for node_exporter: whole, readable by others, there whatever happens to NATS; and a clear word if it cannot be.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, SystemTime};

use check_nats_service::files::replace;

use crate::support::{
    Blackhole, Check, Fake, LIMIT, Metrics, Mount, Running, SLACK, Server, Service, TempDir, Version, is_root, wait_for,
};

const NOBODY: u32 = 65534;

/// Nothing listens there: a run that cannot ask, and is over at once.
const NOWHERE: &str = "nats://127.0.0.1:1";

/// A folder for the file, and one for the state.
struct Bench {
    url: String,
    dir: TempDir,
    home: TempDir,
}

impl Bench {
    fn new(url: impl Into<String>) -> Bench {
        Bench {
            url: url.into(),
            dir: TempDir::new(),
            home: TempDir::new(),
        }
    }

    fn path(&self) -> String {
        self.dir.join("orders.prom")
    }

    /// A run that asks once only, and writes the usual file.
    fn run(&self) -> Check {
        self.run_to(self.path())
    }

    fn run_to(&self, file: impl AsRef<OsStr>) -> Check {
        Check::new([
            "textfile",
            "-s",
            &self.url,
            "-n",
            "orders",
            "--confirm",
            "0",
            "--stall",
            "100ms",
            "-o",
        ])
        .arg(file)
        .home(&self.home)
    }

    #[track_caller]
    fn text(&self) -> String {
        fs::read_to_string(self.path()).expect("the file is there")
    }

    #[track_caller]
    fn metrics(&self) -> Metrics {
        Metrics::parse(&self.text())
    }

    fn files(&self) -> Vec<String> {
        files(self.dir.path())
    }
}

/// Returns the files in a folder, sorted.
fn files(dir: impl AsRef<Path>) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap();
    let mut names: Vec<String> = names
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Asserts the samples of orders: status, outage, up, instances, whether NATS could be asked, and the reasons.
#[track_caller]
fn assert_says(metrics: &Metrics, status: u8, outage: Option<u8>, instances: Option<u8>, reasons: &[&str]) {
    let value = |name: &str| metrics.of("orders", name);
    assert_eq!(value("nats_service_status"), Some(status.into()), "{metrics:?}");
    assert_eq!(value("nats_service_outage"), outage.map(f64::from), "{metrics:?}");
    assert_eq!(value("nats_service_instances"), instances.map(f64::from), "{metrics:?}");
    let up = instances.map(|number| f64::from(u8::from(number > 0)));
    assert_eq!(value("nats_service_up"), up, "{metrics:?}");
    let asked = f64::from(u8::from(instances.is_some()));
    assert_eq!(value("nats_service_probe_success"), Some(asked), "{metrics:?}");
    assert_eq!(metrics.reasons("orders"), reasons);
}

#[test]
#[ignore = "needs nats-server"]
fn textfile_follows_an_outage_from_begin_to_end() {
    let mut server = Server::start(Version::Newest);
    let service = Service::async_nats(&server.url(), "orders").count(3).start();
    let bench = Bench::new(server.url());
    let now = || {
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs_f64()
    };
    let run = || {
        let before = now();
        bench.run().run().assert(0, "");
        let metrics = bench.metrics();
        let at = metrics
            .of("orders", "nats_service_probe_timestamp_seconds")
            .expect("a time");
        assert!(before <= at && at <= now(), "{before} {at}");
        let took = metrics.of("orders", "nats_service_probe_duration_seconds");
        assert!(took.is_some_and(|took| took > 0.0 && took < 20.0), "{took:?}");
        metrics
    };

    let up = run();
    assert_says(&up, 0, Some(0), Some(3), &["service_up"]);
    let seen = up.of("orders", "nats_service_last_seen_timestamp_seconds");
    assert_eq!(up.of("orders", "nats_service_baseline_instances"), Some(3.0));
    assert!(
        up.of("orders", "nats_service_rtt_max_seconds")
            .is_some_and(|rtt| rtt > 0.0)
    );
    assert_eq!(up.of("orders", "nats_service_outage_start_timestamp_seconds"), None);

    service.kill();
    server.wait_for_instances("orders", 0);
    let down = run();
    assert_says(&down, 2, Some(1), Some(0), &["service_down"]);
    let start = down.of("orders", "nats_service_outage_start_timestamp_seconds");
    assert!(start > seen, "{start:?} {seen:?}");
    assert_eq!(down.of("orders", "nats_service_last_seen_timestamp_seconds"), seen);
    assert_eq!(down.of("orders", "nats_service_rtt_max_seconds"), None);

    server.stop();
    for _ in 0..2 {
        let away = run();
        assert_says(&away, 2, Some(1), None, &["service_down", "nats_unreachable"]);
        assert_eq!(away.of("orders", "nats_service_outage_start_timestamp_seconds"), start);
        assert_eq!(away.of("orders", "nats_service_baseline_instances"), Some(3.0));
    }

    server.start_again();
    let still = run();
    assert_says(&still, 2, Some(1), Some(0), &["service_down"]);
    assert_eq!(still.of("orders", "nats_service_outage_start_timestamp_seconds"), start);

    let _service = Service::async_nats(&server.url(), "orders").count(2).start();
    let recovered = run();
    assert_says(&recovered, 0, Some(0), Some(2), &["service_recovered"]);
    assert_eq!(
        recovered.of("orders", "nats_service_outage_start_timestamp_seconds"),
        None
    );
    assert_eq!(recovered.of("orders", "nats_service_baseline_instances"), Some(3.0));
    assert_says(&run(), 0, Some(0), Some(2), &["service_up"]);
    assert_eq!(bench.files(), ["orders.prom"]);
}

/// Both commands ask the same question, and share what is remembered.
#[test]
#[ignore = "needs nats-server"]
fn check_and_textfile_agree() {
    let server = Server::start(Version::Newest);
    let service = Service::async_nats(&server.url(), "orders").start();
    let bench = Bench::new(server.url());
    let check = || Check::new(["-s", &server.url(), "-n", "orders", "--confirm", "0"]).home(&bench.home);
    check().run().assert(0, "NATS_SERVICE OK - *");
    service.kill();
    server.wait_for_instances("orders", 0);
    bench.run().run().assert(0, "");
    assert_says(&bench.metrics(), 2, Some(1), Some(0), &["service_down"]);
    check().run().assert(2, "NATS_SERVICE CRITICAL - orders: still down *");
    // What the check prints in this format is what the other one writes.
    let printed = check().args(["--format", "prometheus"]).run();
    assert_eq!((printed.code, printed.stderr.as_str()), (Some(2), ""));
    assert_says(&Metrics::parse(&printed.stdout), 2, Some(1), Some(0), &["service_down"]);
    bench.run().run().assert(0, "");
    let series = |text: &str| -> Vec<String> {
        let lines = text.lines().map(|line| match line.starts_with('#') {
            true => line,
            false => line.rsplit_once(' ').unwrap().0,
        });
        lines.map(str::to_owned).collect()
    };
    assert_eq!(series(&printed.stdout), series(&bench.text()));
}

#[test]
#[ignore = "needs nats-server"]
fn the_exit_code_is_that_of_the_writing_or_of_the_check() {
    let server = Server::start(Version::Newest);
    let _service = Service::async_nats(&server.url(), "orders").count(2).start();
    let up = Bench::new(server.url());
    let away = Bench::new(NOWHERE);
    let cases: [(&Bench, &[&str], u8); 5] = [
        (&up, &[], 0),
        (&up, &["-w", "3:"], 1),
        (&up, &["-w", "3:", "-c", "3:"], 2),
        (&away, &[], 3),
        (&away, &["--unreachable", "warning"], 1),
    ];
    for (bench, flags, status) in cases {
        bench.run().args(flags).run().assert(0, "");
        assert_eq!(bench.metrics().of("orders", "nats_service_status"), Some(status.into()));
        fs::remove_file(bench.path()).unwrap();
        bench
            .run()
            .arg("--exit-status")
            .args(flags)
            .run()
            .assert(status.into(), "");
        assert_eq!(bench.metrics().of("orders", "nats_service_status"), Some(status.into()));
    }
    // A file that is not there is 3, whatever the verdict.
    let missing = up.dir.join("missing/orders.prom");
    for flags in [&["--exit-status"][..], &["--exit-status", "-c", "3:"]] {
        up.run_to(&missing)
            .args(flags)
            .run()
            .assert_stderr(3, "", "check_nats_service: cannot write *");
    }
}

#[test]
#[ignore = "needs nats-server"]
fn timed_the_file_is_written_whatever_is_wrong_with_nats() {
    let not_asked = |bench: &Bench, check: Check, reason: &str| {
        fs::write(bench.path(), "old 1\n").unwrap();
        check.run().assert(0, "");
        assert_says(&bench.metrics(), 3, Some(0), None, &[reason]);
        assert_eq!(bench.files(), ["orders.prom"]);
    };
    let bench = Bench::new(NOWHERE);
    not_asked(&bench, bench.run(), "nats_unreachable");

    let hole = Blackhole::start();
    let bench = Bench::new(hole.url());
    not_asked(&bench, bench.run().args(["-t", "300ms"]), "nats_unreachable");

    let closed = Server::with_config(Version::Newest, "authorization { user: u, password: p }");
    let bench = Bench::new(closed.url());
    not_asked(&bench, bench.run(), "auth_rejected");
    not_asked(
        &bench,
        bench.run().args(["--user", "u", "--password", "no"]),
        "auth_rejected",
    );

    let mute = Server::with_config(
        Version::Newest,
        "authorization { users: [{user: u, password: p, permissions: {publish: nothing}}] }",
    );
    let bench = Bench::new(mute.url());
    not_asked(
        &bench,
        bench.run().args(["--user", "u", "--password", "p"]),
        "permission_denied",
    );

    let nonsense = Fake::start(|conn| conn.send_raw(b"SSH-2.0-OpenSSH\r\n"));
    let bench = Bench::new(nonsense.url());
    not_asked(&bench, bench.run(), "protocol_error");
}

/// NATS that hangs uses up all of its own time, and there is some left for a disk that is not fast.
#[test]
#[ignore = "needs nats-server, strace"]
fn timed_a_slow_disk_has_time_where_nats_hangs() {
    let frozen = Server::start(Version::Newest);
    frozen.freeze();
    let bench = Bench::new(frozen.url());
    let check = bench.run().args(["--no-state", "-t", "3s"]);
    let check = check.tampered("fdatasync", "delay_enter=200000", &[]);
    check.run().assert(0, "").assert_within(Duration::from_secs(3) + SLACK);
    assert_says(&bench.metrics(), 3, Some(0), None, &["nats_unreachable"]);
}

/// The metrics are written all the same, and do not deny an outage that nobody can know of.
#[test]
#[ignore = "needs nats-server"]
fn the_file_is_written_without_a_state() {
    let server = Server::start(Version::Newest);
    let service = Service::async_nats(&server.url(), "orders").start();
    let bench = Bench::new(server.url());
    let folder = bench.home.path().display().to_string();
    let run = |flags: &[&str]| {
        bench.run().args(flags).run().assert(0, "");
        bench.metrics()
    };
    let unusable = ["--state", &folder];
    assert_says(&run(&unusable), 3, Some(0), Some(1), &["state_unusable", "service_up"]);
    assert_says(&run(&["--no-state"]), 0, Some(0), Some(1), &["service_up"]);
    service.kill();
    server.wait_for_instances("orders", 0);
    assert_says(
        &run(&unusable),
        3,
        None,
        Some(0),
        &["service_never_seen", "state_unusable"],
    );
    assert_says(&run(&["--no-state"]), 3, Some(0), Some(0), &["service_never_seen"]);
    assert_says(
        &run(&["--no-state", "-c", "1:"]),
        2,
        Some(0),
        Some(0),
        &["instances_out_of_range", "service_never_seen"],
    );
}

#[test]
#[ignore = "timed: tests/run.sh runs it alone"]
fn timed_the_file_is_written_when_the_run_is_interrupted() {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        let fake = Fake::start(|conn| {
            conn.handshake()?;
            conn.read_request()?;
            conn.hold(LIMIT)
        });
        let bench = Bench::new(fake.url());
        let running = bench.run().spawn();
        let asked = || fake.received().iter().any(|line| line.starts_with("PUB $SRV.PING."));
        wait_for("it is asked", || asked().then_some(()));
        running.signal(signal);
        running.wait().assert(0, "").assert_within(LIMIT);
        assert_says(&bench.metrics(), 3, Some(0), None, &["interrupted"]);
        assert_eq!(bench.files(), ["orders.prom"]);
    }
}

#[test]
fn everybody_may_read_it_whatever_the_umask() {
    let bench = Bench::new(NOWHERE);
    for umask in ["0", "022", "077", "0777"] {
        for what in ["a new file", "a file that is there"] {
            let script = format!("umask {umask}; exec \"$0\" \"$@\"");
            bench.run().under(["sh", "-c", &script]).run().assert(0, "");
            let mode = fs::metadata(bench.path()).unwrap().mode();
            assert_eq!(mode, libc::S_IFREG | 0o644, "{mode:o}, umask {umask}, {what}");
            // The mode of the file before does not matter.
            fs::set_permissions(bench.path(), Permissions::from_mode(0o600)).unwrap();
        }
        fs::remove_file(bench.path()).unwrap();
    }
    if is_root() {
        // One that another user has left.
        bench.run().run().assert(0, "");
        bench.dir.give_to(NOBODY);
        bench.run().uid(NOBODY).run().assert(0, "");
        let file = fs::metadata(bench.path()).unwrap();
        assert_eq!((file.uid(), file.mode() & 0o777), (NOBODY, 0o644));
    }
}

#[test]
fn an_open_old_file_can_be_read_to_its_end() {
    let bench = Bench::new(NOWHERE);
    bench.run().run().assert(0, "");
    let (before, inode) = (bench.text(), fs::metadata(bench.path()).unwrap().ino());
    let mut open = File::open(bench.path()).unwrap();
    let mut half = vec![0; before.len() / 2];
    open.read_exact(&mut half).unwrap();
    bench.run().run().assert(0, "");
    assert_ne!(fs::metadata(bench.path()).unwrap().ino(), inode);
    assert_ne!(bench.text(), before, "another time");
    let mut rest = String::new();
    open.read_to_string(&mut rest).unwrap();
    assert_eq!(String::from_utf8(half).unwrap() + &rest, before);
}

/// Reads what the collector would read, again and again: all files whose names end in `.prom`, hidden ones too.
fn read_all_the_time(dir: &Path, done: &AtomicBool, is_whole: impl Fn(&str) -> bool) -> usize {
    let mut reads = 0;
    while !done.load(SeqCst) {
        for name in files(dir).iter().filter(|name| name.ends_with(".prom")) {
            assert_eq!(name, "orders.prom");
            let text = fs::read_to_string(dir.join(name)).expect("the file is always there");
            assert!(is_whole(&text), "half a file: {text:?}");
            reads += 1;
        }
    }
    reads
}

#[test]
fn ten_thousand_replacements_leave_a_whole_file_at_every_moment() {
    // In memory: what is measured here is not the disk.
    let dir = TempDir::new_in("/dev/shm");
    let path = dir.path().join("orders.prom");
    let texts: Vec<String> = [1, 40, 3000]
        .iter()
        .map(|lines| "nats_service_up{service=\"orders\"} 1\n".repeat(*lines) + "# end\n")
        .collect();
    replace::write(&path, &texts[0]).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| read_all_the_time(dir.path(), &done, |text| texts.iter().any(|t| t == text)));
        let two = [0, 1].map(|first| {
            let (path, texts) = (&path, &texts);
            scope.spawn(move || {
                for n in 0..5000 {
                    replace::write(path, &texts[(first + n) % texts.len()]).unwrap();
                }
            })
        });
        let written = two.map(|writer| writer.join());
        done.store(true, SeqCst);
        let reads = reader.join().unwrap();
        assert!(written.iter().all(Result::is_ok), "{written:?}");
        assert!(reads > 100, "it was read {reads} times only");
    });
    assert_eq!(files(dir.path()), ["orders.prom"]);
}

#[test]
fn overlapping_runs_leave_a_whole_file_at_every_moment() {
    let bench = Bench::new(NOWHERE);
    bench.run().run().assert(0, "");
    let whole = bench.text().lines().count();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let is_whole = |text: &str| text.ends_with('\n') && text.lines().count() == whole;
            read_all_the_time(bench.dir.path(), &done, is_whole)
        });
        let four_at_once = || (0..4).map(|_| bench.run().spawn()).collect::<Vec<_>>();
        let outputs: Vec<_> = (0..25)
            .flat_map(|_| four_at_once().into_iter().map(Running::wait).collect::<Vec<_>>())
            .collect();
        // Before anything can panic: the scope waits for the reader.
        done.store(true, SeqCst);
        assert!(reader.join().unwrap() > 100);
        for output in outputs {
            output.assert(0, "");
        }
    });
    assert_eq!(bench.files(), ["orders.prom"]);
}

/// Makes the file older than any run takes.
fn age(path: impl AsRef<Path>) {
    let file = File::options().append(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
}

#[test]
#[ignore = "needs strace"]
fn killed_at_any_point_a_run_leaves_a_whole_file_and_the_next_one_cleans_up() {
    let bench = Bench::new(NOWHERE);
    let old = "# an old file\n";
    let (mut kept, mut replaced, mut left) = (0, 0, 0);
    // Where an architecture has only the newer of two calls, strace passes over the other.
    for calls in [
        "openat",
        "?statx,?newfstatat",
        "getdents64",
        "flock",
        "fchmod",
        "write",
        "fdatasync",
        "?rename,?renameat",
        "close",
    ] {
        for nth in 1.. {
            fs::write(bench.path(), old).unwrap();
            let check = bench.run().arg("--no-state");
            let killed = check.tampered(calls, &format!("signal=KILL:when={nth}"), &[]).run();
            if killed.signal.is_none() {
                // There is no such call any more: this one ended by itself.
                killed.assert(0, "");
                break;
            }
            assert_eq!((killed.signal, killed.stdout.as_str()), (Some(9), ""));
            match bench.text() == old {
                true => kept += 1,
                false => {
                    assert_says(&bench.metrics(), 3, Some(0), None, &["nats_unreachable"]);
                    replaced += 1;
                }
            }
            // What it left behind is of no interest to the collector, and goes once nobody can be at it any more.
            for file in bench.files().iter().filter(|file| *file != "orders.prom") {
                assert!(!file.ends_with(".prom"), "{file} after {calls} {nth}");
                age(bench.dir.join(file));
                left += 1;
            }
            bench.run().run().assert(0, "");
            assert_eq!(bench.files(), ["orders.prom"], "after {calls} {nth}");
        }
    }
    assert!(
        kept >= 10 && replaced >= 1 && left >= 5,
        "killed {kept} times before the new file was there, {replaced} times after, left something {left} times"
    );
}

#[test]
fn only_unused_leftover_files_are_removed() {
    let bench = Bench::new(NOWHERE);
    let leave = |name: &str| {
        fs::write(bench.dir.join(name), "half").unwrap();
        age(bench.dir.join(name));
    };
    leave(".orders.prom.1-2.tmp");
    // One that a slow run holds, and one that a run has just made.
    leave(".orders.prom.3-4.tmp");
    let held = File::open(bench.dir.join(".orders.prom.3-4.tmp")).unwrap();
    held.lock().unwrap();
    fs::write(bench.dir.join(".orders.prom.5-6.tmp"), "").unwrap();
    // Those of others.
    let others = [
        ".orders.prom.swp",
        ".billing.prom.1-2.tmp",
        "billing.prom",
        "orders.prom.1-2.tmp",
    ];
    others.iter().for_each(|name| leave(name));
    leave("target");
    symlink(bench.dir.join("target"), bench.dir.join(".orders.prom.7-8.tmp")).unwrap();
    // One that would wait for a reader, and one of another user.
    let pipe = bench.dir.join(".orders.prom.8-8.tmp");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    leave(".orders.prom.8-9.tmp");
    if is_root() {
        chown(bench.dir.join(".orders.prom.8-9.tmp"), Some(NOBODY), None).unwrap();
    } else {
        fs::remove_file(bench.dir.join(".orders.prom.8-9.tmp")).unwrap();
    }
    fs::create_dir(bench.dir.join(".orders.prom.9-9.tmp")).unwrap();

    bench.run().run().assert(0, "");
    let mut expected = vec![
        ".orders.prom.3-4.tmp",
        ".orders.prom.5-6.tmp",
        ".orders.prom.7-8.tmp",
        ".orders.prom.8-8.tmp",
        ".orders.prom.9-9.tmp",
        "orders.prom",
        "target",
    ];
    if is_root() {
        expected.push(".orders.prom.8-9.tmp");
    }
    expected.extend(others);
    expected.sort();
    assert_eq!(bench.files(), expected);

    drop(held);
    bench.run().run().assert(0, "");
    assert!(!bench.files().contains(&".orders.prom.3-4.tmp".to_owned()));
}

/// A run that fails says why, in one line on stderr, and the file stays as it was, if it was there.
#[track_caller]
fn assert_fails(check: Check, file: &str, why: &str) {
    let (path, before) = (Path::new(file), fs::read(file).ok());
    let beside = || path.parent().filter(|dir| dir.is_dir()).map(files);
    let files_before = beside();
    check
        .run()
        .assert_stderr(3, "", &format!("check_nats_service: cannot write {file}: {why}"));
    assert_eq!(fs::read(file).ok(), before);
    assert_eq!(beside(), files_before);
}

#[test]
fn a_path_that_is_no_place_for_the_file_is_named() {
    let bench = Bench::new(NOWHERE);
    let dir = bench.dir.path().display();
    fs::write(bench.dir.join("target.prom"), "old 1\n").unwrap();
    symlink("target.prom", bench.dir.join("link.prom")).unwrap();
    symlink("nowhere", bench.dir.join("dangling.prom")).unwrap();
    fs::create_dir(bench.dir.join("folder.prom")).unwrap();
    Check::program("mkfifo", [bench.dir.join("pipe.prom")])
        .run()
        .assert(0, "");
    let long = format!("{}.prom", "x".repeat(250));
    let cases = [
        ("link.prom", "it is a symbolic link, give the path that it stands for"),
        (
            "dangling.prom",
            "it is a symbolic link, give the path that it stands for",
        ),
        ("folder.prom", "it is a folder, give the name of a file in it"),
        ("folder.prom/", "it is a folder, give the name of a file in it"),
        (".", "it is a folder, give the name of a file in it"),
        ("..", "that is not the name of a file"),
        ("pipe.prom", "it is no regular file"),
        ("missing/orders.prom", &format!("there is no folder {dir}/missing")),
        ("target.prom/orders.prom", &format!("{dir}/target.prom is no folder")),
        ("new.prom/", "that is not the name of a file"),
        (&long, "File name too long (os error 36)"),
    ];
    let before = bench.files();
    for (file, why) in cases {
        let path = format!("{dir}/{file}");
        let check = bench.run_to(&path);
        check
            .run()
            .assert_stderr(3, "", &format!("check_nats_service: cannot write {path}: {why}"));
        assert_eq!(bench.files(), before, "{file}");
    }
    assert_eq!(fs::read(bench.dir.join("target.prom")).unwrap(), b"old 1\n");
    let device = bench.run_to("/dev/null").run();
    device.assert_stderr(
        3,
        "",
        "check_nats_service: cannot write /dev/null: it is no regular file",
    );
    // What is in a path cannot forge a line.
    let check = bench.run_to("/nowhere/a\nb.prom");
    check.run().assert_stderr(
        3,
        "",
        "check_nats_service: cannot write /nowhere/a?b.prom: there is no folder /nowhere",
    );
}

#[test]
#[ignore = "needs strace"]
fn failed_write_keeps_the_old_file() {
    let bench = Bench::new(NOWHERE);
    fs::write(bench.path(), "old 1\n").unwrap();
    let cases = [
        ("fchmod", "error=EPERM", "Operation not permitted (os error 1)"),
        ("write", "error=ENOSPC:when=1", "No space left on device (os error 28)"),
        ("write", "error=EDQUOT:when=1", "* (os error 122)"),
        ("fdatasync", "error=EIO", "Input/output error (os error 5)"),
        ("?rename,?renameat", "error=EIO", "Input/output error (os error 5)"),
        (
            "?rename,?renameat",
            "error=EBUSY",
            "it is mounted by itself, mount its folder instead: * (os error 16)",
        ),
    ];
    for (calls, how, why) in cases {
        let check = bench.run().arg("--no-state").tampered(calls, how, &[]);
        assert_fails(check, &bench.path(), why);
    }
    // Where there are no locks, it is written without.
    let check = bench.run().arg("--no-state");
    check.tampered("flock", "error=ENOLCK", &[]).run().assert(0, "");
    assert_says(&bench.metrics(), 3, Some(0), None, &["nats_unreachable"]);
}

/// As on a network file system whose server is gone.
#[test]
#[ignore = "needs strace"]
fn a_disk_that_hangs_does_not_hang_the_run() {
    let bench = Bench::new(NOWHERE);
    fs::write(bench.path(), "old 1\n").unwrap();
    let check = bench.run().args(["--no-state", "-t", "300ms"]);
    // strace keeps the run waiting for as long as the call, and may wonder about its end.
    let out = check.tampered("fdatasync", "delay_enter=1000000", &[]).run();
    let line = format!(
        "check_nats_service: cannot write {}: the time is up (--timeout)",
        bench.path()
    );
    assert_eq!((out.code, out.stdout.as_str()), (Some(3), ""), "{out:?}");
    assert!(out.stderr.lines().any(|told| told == line), "{out:?}");
    assert_eq!(bench.text(), "old 1\n");

    // The state comes first.
    let state = bench.home.join("state");
    let check = bench.run().args(["--state", &state, "-t", "300ms"]);
    let out = check.tampered("fdatasync", "delay_enter=1000000:when=1", &[]).run();
    let why = "the state was perhaps not saved: the time is up (--timeout)";
    let line = format!("check_nats_service: cannot write {}: {why}", bench.path());
    assert_eq!((out.code, out.stdout.as_str()), (Some(3), ""), "{out:?}");
    assert!(out.stderr.lines().any(|told| told == line), "{out:?}");
    assert_eq!(bench.text(), "old 1\n");
}

#[test]
fn a_full_or_read_only_disk_keeps_the_old_file() {
    if !is_root() {
        return;
    }
    let bench = Bench::new(NOWHERE);
    let folder = bench.home.join("folder");
    fs::create_dir(&folder).unwrap();
    let mount = Mount::tmpfs(&folder, "size=16k");
    let file = format!("{folder}/orders.prom");
    bench.run_to(&file).run().assert(0, "");
    let mut ballast = File::create(format!("{folder}/ballast")).unwrap();
    while ballast.write_all(&[0; 512]).is_ok() {}
    assert_fails(bench.run_to(&file), &file, "No space left on device (os error 28)");
    ballast.set_len(0).unwrap();
    bench.run_to(&file).run().assert(0, "");
    drop(ballast);
    mount.read_only();
    assert_fails(bench.run_to(&file), &file, "Read-only file system (os error 30)");
}

#[test]
fn a_folder_of_another_user_is_named_with_the_user() {
    if !is_root() {
        return;
    }
    let bench = Bench::new(NOWHERE);
    fs::set_permissions(bench.dir.path(), Permissions::from_mode(0o755)).unwrap();
    fs::write(bench.path(), "old 1\n").unwrap();
    let why = format!(
        "user {NOBODY} may not write to the folder {}: Permission denied (os error 13)",
        bench.dir.path().display()
    );
    assert_fails(bench.run().uid(NOBODY), &bench.path(), &why);
    // In a folder that all may write to, each file is its owner's.
    fs::set_permissions(bench.dir.path(), Permissions::from_mode(0o1777)).unwrap();
    assert_fails(
        bench.run().uid(NOBODY),
        &bench.path(),
        "Operation not permitted (os error 1)",
    );
}

/// As a container does with a single file: it cannot be replaced there, and must not be written in place.
#[test]
fn a_file_that_is_mounted_by_itself_is_refused() {
    if !is_root() {
        return;
    }
    let bench = Bench::new(NOWHERE);
    let source = bench.home.join("outside.prom");
    fs::write(&source, "old 1\n").unwrap();
    fs::write(bench.path(), "").unwrap();
    let _mount = Mount::bind(&source, &bench.path());
    let why = "it is mounted by itself, mount its folder instead: * (os error 16)";
    assert_fails(bench.run(), &bench.path(), why);
    assert_eq!(fs::read(&source).unwrap(), b"old 1\n");
}

#[test]
fn any_file_name_is_accepted() {
    let bench = Bench::new(NOWHERE);
    for name in [
        &b"a b.prom"[..],
        b"\xff\xfe.prom",
        b".hidden.prom",
        b"_-.prom",
        b"orders",
    ] {
        let name = OsStr::from_bytes(name);
        bench.run_to(name).cwd(bench.dir.path()).run().assert(0, "");
        let path = bench.dir.path().join(name);
        Metrics::parse(&fs::read_to_string(&path).unwrap());
        fs::remove_file(&path).unwrap();
        bench.run_to(&path).run().assert(0, "");
        fs::remove_file(&path).unwrap();
    }
    assert!(bench.files().is_empty());
}

#[test]
fn mistakes_are_reported_on_stderr_and_nothing_is_written() {
    let dir = TempDir::new();
    let file = dir.join("orders.prom");
    fs::write(&file, "old 1\n").unwrap();
    let cases: [(&[&str], &str); 11] = [
        (&["-o", &file], "which service? Give its name with --name, or say --all"),
        (
            &["-n", "orders"],
            "the following required arguments were not provided: --output <FILE>",
        ),
        (&["-n", "orders", "-o", ""], "--output: the name is empty"),
        (&["-n", "or ders", "-o", &file], "--name: *"),
        (
            &["-n", "orders", "-o", &file, "-o", &file],
            "the argument '--output <FILE>' cannot be used multiple times",
        ),
        (
            &["-n", "orders", "-o", &file, "--format", "json"],
            "unexpected argument '--format' found*",
        ),
        (
            &["-n", "orders", "-o", &file, "-vv"],
            "the argument '--verbose' cannot be used multiple times",
        ),
        (
            &["-n", "orders", "-o", &file, "--label", "a-b=c"],
            "--label: 'a-b' is no label name: *",
        ),
        (
            &["-n", "orders", "-o", &file, "--label", "a=b", "--label", "a=c"],
            "--label: 'a' is given twice",
        ),
        (
            &["-n", "orders", "-o", &file, "--label", "service=x"],
            "--label: 'service' is a label of the metrics themselves",
        ),
        (
            &["-n", "orders", "-o", &file, "-s", "nats://u:secret@h:x"],
            "--server: *",
        ),
    ];
    for (flags, why) in cases {
        let out = Check::new(["textfile"]).args(flags).run();
        assert!(!out.stderr.contains("secret"), "{out:?}");
        out.assert_stderr(3, "", &format!("check_nats_service: {why} (see --help)"));
        assert_eq!(files(dir.path()), ["orders.prom"]);
        assert_eq!(fs::read(&file).unwrap(), b"old 1\n");
    }
}

#[test]
fn textfile_needs_no_open_stdout() {
    let bench = Bench::new(NOWHERE);
    let full = || File::options().write(true).open("/dev/full").unwrap();
    bench.run().stdout(full()).run().assert(0, "");
    assert_says(&bench.metrics(), 3, Some(0), None, &["nats_unreachable"]);
    fs::remove_file(bench.path()).unwrap();
    let closed = |check: Check| check.under(["sh", "-c", "exec \"$0\" \"$@\" >&- 2>&-"]).run();
    closed(bench.run()).assert(0, "");
    assert_says(&bench.metrics(), 3, Some(0), None, &["nats_unreachable"]);
    closed(bench.run_to(bench.dir.join("missing/orders.prom"))).assert(3, "");
}

/// The journal of the unit has the findings.
#[test]
#[ignore = "needs nats-server"]
fn verbose_prints_what_is_wrong_and_nothing_when_all_is_well() {
    let server = Server::start(Version::Newest);
    let service = Service::async_nats(&server.url(), "orders").start();
    let bench = Bench::new(server.url());
    let verbose = || bench.run().arg("-v").run();
    verbose().assert(0, "");
    service.kill();
    server.wait_for_instances("orders", 0);
    verbose().assert(
        0,
        "orders CRITICAL service_down: down, no responders, 1 instance until * ago, *",
    );
    assert_says(&bench.metrics(), 2, Some(1), Some(0), &["service_down"]);
    let _service = Service::async_nats(&server.url(), "orders").start();
    verbose().assert(0, "orders OK service_recovered: 1 instance, recovered after *");
    let home = TempDir::new();
    let all = |flags: &[&str]| {
        let file = bench.dir.join("all.prom");
        let check = Check::new(["textfile", "-s", &server.url(), "--all", "-v", "-o", &file]).home(&home);
        check.args(["--confirm", "50ms"]).args(flags).run()
    };
    all(&[]).assert(0, "");
    let out = all(&["-c", "3:"]);
    out.assert(
        0,
        "all services CRITICAL instances_out_of_range: *\norders CRITICAL instances_out_of_range: 1 instance, fewer than 3 *",
    );
    // The memory of one of them, as the alerts of Prometheus tell people to look at it: without a server.
    let first = "service orders under $SRV, asked at 127.0.0.1:*";
    let show = Check::new(["state", "show", "-n", "orders"]).home(&home);
    show.run().assert_first_line(0, first);
    // It is printed also where the file cannot be written.
    let out = bench
        .run_to(bench.dir.join("missing/orders.prom"))
        .args(["-v", "-c", "3:"])
        .run();
    assert_eq!(out.code, Some(3), "{out:?}");
    assert!(
        out.stdout.starts_with("orders CRITICAL instances_out_of_range: "),
        "{out:?}"
    );
    assert!(out.stderr.contains("cannot write"), "{out:?}");
}

#[test]
#[ignore = "needs nats-server"]
fn labels_and_instances_are_written_on_request() {
    let server = Server::start(Version::Newest);
    let service = Service::async_nats(&server.url(), "orders")
        .version("1.2.3")
        .count(2)
        .start();
    let bench = Bench::new(server.url());
    // Some metrics compare two runs.
    bench.run().run().assert(0, "");
    bench.run().run().assert(0, "");
    let usual = bench.metrics().count();
    let label = "site=a \"b\" \\ c\nd";
    bench
        .run()
        .args([
            "--label",
            label,
            "--label",
            "team=x",
            "--per-instance",
            "--nats-label",
            "eu",
        ])
        .run()
        .assert(0, "");
    let (text, metrics) = (bench.text(), bench.metrics());
    assert_eq!(metrics.count(), usual + 4);
    for id in service.ids() {
        let labels = format!(
            "{{service=\"orders\",nats=\"eu\",site=\"a \\\"b\\\" \\\\ c\\nd\",team=\"x\",instance_id=\"{id}\",version=\"1.2.3\"}}"
        );
        assert!(
            text.contains(&format!("nats_service_instance_up{labels} 1\n")),
            "{text}"
        );
        assert!(
            text.contains(&format!("nats_service_instance_rtt_seconds{labels} 0.")),
            "{text}"
        );
    }
    assert_says(&metrics, 0, Some(0), Some(2), &["service_up"]);
}

#[test]
fn the_man_page_knows_its_flags() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("man/check_nats_service.8");
    let page = fs::read_to_string(page).unwrap().replace("\\-", "-");
    let command = check_nats_service::cli::whole_command();
    let textfile = command.find_subcommand("textfile").expect("the command");
    for flag in textfile.get_arguments().filter_map(|arg| arg.get_long()) {
        assert!(page.contains(&format!("\\fB--{flag}\\fR")), "--{flag}");
    }
}
