//! The state file under violence: whatever kills a run, fills the disk or lies in the file's place, an outage is never
//! forgotten without a word, and what went wrong never ends in OK.

use std::ffi::CString;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    Check, Conn, Fake, LIMIT, Output, Running, SLACK, Server, Service, TempDir, Version, is_root, wait_for,
};

const NOBODY: u32 = 65534;

/// A server of its own, and one state file, in a folder that the first run makes.
struct Bench {
    server: Server,
    dir: TempDir,
}

impl Bench {
    fn new() -> Bench {
        Bench {
            server: Server::start(Version::Newest),
            dir: TempDir::new(),
        }
    }

    /// A bench whose state remembers one instance, which is still there.
    fn up() -> (Bench, Service) {
        let bench = Bench::new();
        let service = bench.start(1);
        bench.check().run().assert(0, UP);
        (bench, service)
    }

    /// A bench whose state has an open outage.
    fn down() -> Bench {
        let (bench, service) = Bench::up();
        bench.end(service);
        bench.check().run().assert(2, DOWN);
        bench
    }

    fn start(&self, count: usize) -> Service {
        let service = Service::async_nats(&self.server.url(), "orders").count(count).start();
        self.server.wait_for_instances("orders", count);
        service
    }

    /// Kills the service, and waits until the server knows.
    fn end(&self, service: Service) {
        service.kill();
        self.server.wait_for_instances("orders", 0);
    }

    /// A check that asks once only.
    fn check(&self) -> Check {
        self.check_with(&self.path(""))
    }

    fn check_with(&self, file: &str) -> Check {
        let url = self.server.url();
        Check::new(["-s", &url, "-n", "orders", "--confirm", "0", "--stall", "100ms"]).args(["--state", file])
    }

    /// `state show` or `state reset`.
    fn state(&self, what: &str) -> Check {
        Check::new(["state", what, "-s", &self.server.url(), "-n", "orders"]).args(["--state", &self.path("")])
    }

    /// The state file, or one of those beside it.
    fn path(&self, suffix: &str) -> String {
        self.dir.join(&format!("state/orders.json{suffix}"))
    }

    fn folder(&self) -> String {
        self.dir.join("state")
    }

    fn read(&self) -> Option<Vec<u8>> {
        fs::read(self.path("")).ok()
    }

    #[track_caller]
    fn memory(&self) -> Value {
        serde_json::from_slice(&self.read().expect("a state file")).expect("a whole one")
    }

    #[track_caller]
    fn write(&self, bytes: &[u8]) {
        fs::write(self.path(""), bytes).unwrap();
    }

    /// Returns the files in the folder, sorted.
    fn files(&self) -> Vec<String> {
        let names = fs::read_dir(self.folder()).into_iter().flatten();
        let mut names: Vec<String> = names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

const UP: &str = "NATS_SERVICE OK - orders: 1 instance, slowest answer * | instances=1;;;0; rtt_max=0.*";
const RECOVERED: &str = "NATS_SERVICE OK - orders: 1 instance, recovered after * | instances=1;;;0; rtt_max=0.*";
const DOWN: &str = "NATS_SERVICE CRITICAL - orders: down, no responders, 1 instance until * ago, NATS * is fine* \
                    | instances=0;;;0; rtt_max=U *";
const STILL_DOWN: &str = "NATS_SERVICE CRITICAL - orders: still down for *, no responders, had 1 instance, NATS * is fine* \
                          | instances=0;;;0; rtt_max=U *";
const NEVER_SEEN: &str = "never seen in this account, no responders, no service at all answers here: is this the right account, and --srv-prefix?";

/// The line of a run that found this in spite of a problem with the state.
fn beside(status: &str, finding: &str, problem: &str) -> String {
    let (first, second) = match status {
        // The worse of the two leads; of two equals, what is said of the service.
        "UNKNOWN" if finding != NEVER_SEEN => (problem, finding),
        _ => (finding, problem),
    };
    format!("NATS_SERVICE {status} - orders: {first}, {second} | *")
}

/// The system calls by which a run changes what others see of its state. Where an architecture has only the newer of two,
/// strace passes over the other.
const SYSCALLS: [&str; 9] = [
    "?mkdir,?mkdirat",
    "openat",
    "flock",
    "?unlink,?unlinkat",
    "write",
    "fdatasync",
    "?rename,?renameat",
    "close",
    // Not in use: each would be a way to have half a file for a moment.
    "ftruncate,copy_file_range,?sendfile",
];

/// Runs it by strace, which tampers with its system calls on these paths.
fn tampered(check: Check, calls: &str, how: &str, paths: &[&str]) -> Check {
    let (trace, inject) = (format!("trace={calls}"), format!("inject={calls}:{how}"));
    let strace = ["strace", "-f", "-qqq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
    // By its path where it is open, and by its name where it is named in its folder.
    let names = paths.iter().filter_map(|path| path.rsplit('/').next());
    let paths = paths.iter().copied().chain(names).flat_map(|path| ["-P", path]);
    check.under(strace.into_iter().chain(paths))
}

/// Kills runs of this check before the first, the second, ... of all system calls on its state. `old` and `new`: what the
/// next run says, by the state that it finds.
fn kill_at_every_point(bench: &Bench, before: Option<&[u8]>, old: (i32, &str), new: (i32, &str)) {
    let paths = ["", ".lock", ".tmp"].map(|suffix| bench.path(suffix));
    let folder = bench.folder();
    let paths = [paths[0].as_str(), &paths[1], &paths[2], &folder];
    let (mut kept, mut replaced) = (0, 0);
    for calls in SYSCALLS {
        for nth in 1.. {
            let _ = fs::remove_dir_all(bench.folder());
            if let Some(before) = before {
                fs::create_dir(bench.folder()).unwrap();
                fs::set_permissions(bench.folder(), Permissions::from_mode(0o700)).unwrap();
                bench.write(before);
            }
            let killed = tampered(bench.check(), calls, &format!("signal=KILL:when={nth}"), &paths).run();
            if killed.signal.is_none() {
                // There is no such call any more: this one ended by itself.
                killed.assert(old.0, old.1);
                break;
            }
            assert_eq!(
                (killed.signal, killed.stdout.as_str(), killed.stderr.as_str()),
                (Some(9), "", "")
            );

            let after = bench.read();
            let (code, pattern) = match after.as_deref() == before {
                true => {
                    kept += 1;
                    old
                }
                false => {
                    let sequence = |bytes: &[u8]| {
                        let memory: Value = serde_json::from_slice(bytes).expect("never half a file");
                        memory["sequence"].as_u64().unwrap()
                    };
                    let earlier = before.map_or(0, sequence);
                    assert_eq!(after.as_deref().map(sequence), Some(earlier + 1));
                    replaced += 1;
                    new
                }
            };
            bench.check().run().assert(code, pattern);
            assert_eq!(
                bench.files(),
                ["orders.json", "orders.json.lock"],
                "after {calls} {nth}"
            );
        }
    }
    assert!(
        kept >= 8 && replaced >= 1,
        "killed {kept} times before the new state was there, {replaced} times after"
    );
}

#[test]
#[ignore = "needs nats-server"]
fn killed_at_any_point_an_open_outage_stays_open() {
    let bench = Bench::down();
    let before = bench.read().unwrap();
    let since = bench.memory()["outage"].clone();
    kill_at_every_point(&bench, Some(&before), (2, STILL_DOWN), (2, STILL_DOWN));
    assert_eq!(bench.memory()["outage"], since);
}

#[test]
#[ignore = "needs nats-server"]
fn killed_at_any_point_a_new_outage_is_seen_by_the_next_run() {
    let (bench, service) = Bench::up();
    let before = bench.read().unwrap();
    bench.end(service);
    kill_at_every_point(&bench, Some(&before), (2, DOWN), (2, STILL_DOWN));
}

#[test]
#[ignore = "needs nats-server"]
fn killed_at_any_point_a_recovery_is_not_lost() {
    let bench = Bench::down();
    let before = bench.read().unwrap();
    let _service = bench.start(1);
    kill_at_every_point(&bench, Some(&before), (0, RECOVERED), (0, UP));
}

#[test]
#[ignore = "needs nats-server"]
fn killed_at_any_point_the_first_run_is_the_first_run() {
    let bench = Bench::new();
    let _service = bench.start(1);
    kill_at_every_point(&bench, None, (0, UP), (0, UP));
}

/// Faults when the state is read, locked or written: the call, the file, and the text.
const FAULTS: [(&str, &str, &str, &str); 8] = [
    (
        "openat",
        "error=EACCES",
        ".lock",
        "cannot open the lock *.lock: Permission denied (os error 13)",
    ),
    (
        "flock",
        "error=ENOLCK",
        ".lock",
        "cannot lock *.lock: No locks available (os error 37)",
    ),
    (
        "openat",
        "error=EROFS",
        ".tmp",
        "cannot write the state *.json: Read-only file system (os error 30)",
    ),
    (
        "write",
        "error=ENOSPC",
        ".tmp",
        "cannot write the state *.json: No space left on device (os error 28)",
    ),
    (
        "write",
        "error=EDQUOT",
        ".tmp",
        "cannot write the state *.json: * (os error 122)",
    ),
    (
        "fdatasync",
        "error=EIO",
        ".tmp",
        "cannot write the state *.json: Input/output error (os error 5)",
    ),
    (
        "?rename,?renameat",
        "error=EIO",
        ".tmp",
        "cannot write the state *.json: Input/output error (os error 5)",
    ),
    (
        "?unlink,?unlinkat",
        "error=EPERM",
        ".tmp",
        "cannot write the state *.json: Operation not permitted (os error 1)",
    ),
];

/// Runs the check under each fault, from the same state each time, which it must not change.
fn fail_everywhere(bench: &Bench, code: i32, status: &str, finding: &str) {
    let before = bench.read();
    for (calls, error, suffix, problem) in FAULTS {
        let out = tampered(bench.check(), calls, error, &[&bench.path(suffix)]).run();
        out.assert(code, &beside(status, finding, problem));
        assert_eq!(bench.read(), before, "{calls} {error}");
        assert_eq!(bench.files(), ["orders.json", "orders.json.lock"], "{calls} {error}");
    }
}

#[test]
#[ignore = "needs nats-server"]
fn a_state_that_cannot_be_written_is_never_ok() {
    let (bench, service) = Bench::up();
    fail_everywhere(&bench, 3, "UNKNOWN", "1 instance, slowest answer *");
    // Nothing is written of this outage, so each run sees it as new: CRITICAL each time.
    bench.end(service);
    fail_everywhere(
        &bench,
        2,
        "CRITICAL",
        "down, no responders, 1 instance until * ago, NATS * is fine*",
    );
    bench.check().run().assert(2, DOWN);
    fail_everywhere(
        &bench,
        2,
        "CRITICAL",
        "still down for *, no responders, had 1 instance, NATS * is fine*",
    );
    let _service = bench.start(1);
    fail_everywhere(&bench, 3, "UNKNOWN", "1 instance, recovered after *");
    bench.check().run().assert(0, RECOVERED);
}

#[test]
#[ignore = "needs nats-server"]
fn a_state_that_cannot_be_read_is_neither_ok_nor_lost() {
    let bench = Bench::down();
    let before = bench.read();
    let problem = "cannot read the state *.json: Input/output error (os error 5)";
    let file = bench.path("");
    let unreadable = || tampered(bench.check(), "read", "error=EIO", &[&file]).run();
    let finding = "still down for *, no responders, had 1 instance, NATS * is fine*";
    // Whether there is an outage is what cannot be read.
    unreadable().assert(3, &beside("UNKNOWN", NEVER_SEEN, problem));
    assert_eq!(bench.read(), before);
    // But once read, it is not forgotten when the second look fails.
    let out = tampered(bench.check(), "openat", "error=EIO:when=2", &[&file]).run();
    out.assert(2, &beside("CRITICAL", finding, problem));
    let _service = bench.start(1);
    unreadable().assert(3, &beside("UNKNOWN", "1 instance, slowest answer *", problem));
    assert_eq!(bench.read(), before);
    bench.check().run().assert(0, RECOVERED);
}

/// As on a network file system whose server is gone: what the probe saw is told all the same.
///
/// strace keeps a call waiting, and the run with it, but what the run says it says before that, or it would be of the
/// usual kind.
#[test]
#[ignore = "needs nats-server"]
fn timed_a_state_that_hangs_does_not_cost_the_verdict() {
    let bench = Bench::down();
    let before = bench.read().unwrap();
    let hang = |(n, (calls, when, suffix)): (usize, (&str, &str, &str))| {
        let file = bench.path(&format!("{n}"));
        fs::write(&file, &before).unwrap();
        let check = bench.check_with(&file).args(["--timeout", "300ms"]);
        let how = format!("delay_enter=1000000:when={when}");
        (
            tampered(check, calls, &how, &[&format!("{file}{suffix}")]).spawn(),
            file,
        )
    };
    let reading = ("openat", "1", "");
    let saving = [
        ("openat", "1", ".lock"),
        ("openat", "2", ""),
        ("openat", "1", ".tmp"),
        ("fdatasync", "1", ".tmp"),
    ];
    let unread = "NATS_SERVICE UNKNOWN - orders: the state * cannot be read: the time is up (--timeout)";
    let unsaved = "the state was perhaps not saved: the time is up (--timeout)";
    let still_down = "still down for *, no responders, had 1 instance, NATS * is fine*";
    let recovered = "1 instance, recovered after *";
    let all_hang = |code: i32, line: &str| {
        let runs: Vec<_> = [reading].into_iter().chain(saving).enumerate().map(hang).collect();
        for (n, (run, file)) in runs.into_iter().enumerate() {
            // strace may wonder about the end of what it keeps waiting.
            let out = Output {
                stderr: String::new(),
                ..run.wait()
            };
            match n {
                0 => out.assert(3, unread),
                _ => out.assert(code, line),
            };
            assert_eq!(fs::read(file).unwrap(), before);
        }
    };
    all_hang(2, &beside("CRITICAL", still_down, unsaved));
    let _service = bench.start(1);
    all_hang(3, &beside("UNKNOWN", recovered, unsaved));
}

/// A file system of its own, gone with its owner.
struct Mount(CString);

impl Mount {
    fn tmpfs(path: &str, options: &str) -> Mount {
        let mount = Mount(CString::new(path).unwrap());
        mount.mount(options, 0);
        mount
    }

    fn read_only(&self) {
        self.mount("", libc::MS_REMOUNT | libc::MS_RDONLY);
    }

    fn mount(&self, options: &str, flags: libc::c_ulong) {
        let options = CString::new(options).unwrap();
        // SAFETY: all strings are alive and end with a zero.
        let result = unsafe {
            let (kind, data) = (c"tmpfs".as_ptr(), options.as_ptr().cast());
            libc::mount(kind, self.0.as_ptr(), kind, flags, data)
        };
        assert_eq!(result, 0, "mount: {}", std::io::Error::last_os_error());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // SAFETY: the path is alive and ends with a zero.
        unsafe { libc::umount2(self.0.as_ptr(), libc::MNT_DETACH) };
    }
}

#[test]
#[ignore = "needs nats-server"]
fn a_full_disk_keeps_the_old_state_and_every_outage() {
    if !is_root() {
        return;
    }
    let mut bench = Bench::new();
    fs::create_dir(bench.folder()).unwrap();
    let _mount = Mount::tmpfs(&bench.folder(), "size=16k,mode=0700");
    let service = bench.start(1);
    bench.check().run().assert(0, UP);
    let before = bench.read();
    let fill = || {
        let mut file = File::create(bench.folder() + "/fill").unwrap();
        while file.write_all(&[0; 512]).is_ok() {}
    };
    let full = "cannot write the state *.json: No space left on device (os error 28)";
    fill();
    for _ in 0..2 {
        bench
            .check()
            .run()
            .assert(3, &beside("UNKNOWN", "1 instance, slowest answer *", full));
        assert_eq!(bench.read(), before);
        assert_eq!(bench.files(), ["fill", "orders.json", "orders.json.lock"]);
    }
    bench.end(service);
    let down = "down, no responders, 1 instance until * ago, NATS * is fine*";
    for _ in 0..2 {
        bench.check().run().assert(2, &beside("CRITICAL", down, full));
    }
    fs::remove_file(bench.folder() + "/fill").unwrap();
    bench.check().run().assert(2, DOWN);
    fill();
    let still_down = "still down for *, no responders, had 1 instance, NATS * is fine*";
    bench.check().run().assert(2, &beside("CRITICAL", still_down, full));
    bench.server.stop();
    let latched = "still down for *, last answer from NATS * ago, had 1 instance, last seen: *, cannot reach NATS at *";
    bench.check().run().assert(2, &beside("CRITICAL", latched, full));
}

#[test]
#[ignore = "needs nats-server"]
fn a_read_only_file_system_does_not_hide_an_outage() {
    if !is_root() {
        return;
    }
    let bench = Bench::new();
    fs::create_dir(bench.folder()).unwrap();
    let mount = Mount::tmpfs(&bench.folder(), "mode=0700");
    let service = bench.start(1);
    bench.check().run().assert(0, UP);
    bench.end(service);
    bench.check().run().assert(2, DOWN);
    let before = bench.read();
    mount.read_only();
    let problem = "cannot open the lock *.lock: Read-only file system (os error 30)";
    let still_down = "still down for *, no responders, had 1 instance, NATS * is fine*";
    bench.check().run().assert(2, &beside("CRITICAL", still_down, problem));
    let _service = bench.start(1);
    bench
        .check()
        .run()
        .assert(3, &beside("UNKNOWN", "1 instance, recovered after *", problem));
    assert_eq!(bench.read(), before);
    bench.state("show").run().assert(
        0,
        "*\n*\nlast verdict CRITICAL\n*\noutage since *\nlast seen *\n*\n*\ncheck *\ncheck *",
    );
    bench
        .state("reset")
        .run()
        .assert(3, &format!("NATS_SERVICE UNKNOWN - {problem}"));
}

/// A folder that another user could have prepared is not trusted, and nothing is written there.
#[test]
#[ignore = "needs nats-server"]
fn a_folder_that_others_can_write_to_is_not_trusted() {
    let (bench, _service) = Bench::up();
    let before = bench.read();
    let open = |mode: u32| {
        let problem = format!(
            "others can write to the state folder * (mode {mode:04o}), make it 0700 or give --state-dir (in Kubernetes, name a \
             subfolder of the mounted volume: --state-dir */state/check_nats_service)"
        );
        (mode, None, problem)
    };
    // The last ones are an emptyDir, on a disk and in memory.
    let mut cases = [0o702, 0o777, 0o1777].map(open).to_vec();
    if is_root() {
        let foreign = "the state folder * belongs to user 65534, not to user 0, give --state-dir";
        cases.push((0o700, Some(NOBODY), foreign.to_owned()));
    }
    for (mode, owner, problem) in cases {
        chown(bench.folder(), owner.or(Some(euid())), None).unwrap();
        fs::set_permissions(bench.folder(), Permissions::from_mode(mode)).unwrap();
        bench
            .check()
            .run()
            .assert(3, &beside("UNKNOWN", "1 instance, slowest answer *", &problem));
        for what in ["show", "reset"] {
            bench
                .state(what)
                .run()
                .assert(3, &format!("NATS_SERVICE UNKNOWN - {problem}"));
        }
        assert_eq!(bench.read(), before);
        assert_eq!(bench.files(), ["orders.json", "orders.json.lock"]);
    }
    // Reading it is no harm.
    chown(bench.folder(), Some(euid()), None).unwrap();
    fs::set_permissions(bench.folder(), Permissions::from_mode(0o755)).unwrap();
    bench.check().run().assert(0, UP);
}

/// With fsGroup the kubelet opens all of a volume to a group, at every mount.
#[test]
#[ignore = "needs nats-server"]
fn a_folder_that_was_opened_to_a_group_is_trusted_and_closed_again() {
    let bench = Bench::down();
    fs::set_permissions(bench.folder(), Permissions::from_mode(0o2770)).unwrap();
    for suffix in ["", ".lock"] {
        fs::set_permissions(bench.path(suffix), Permissions::from_mode(0o660)).unwrap();
    }
    bench.check().run().assert(2, STILL_DOWN);
    let mode = |path: String| fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!(mode(bench.folder()), 0o700);
    assert_eq!((mode(bench.path("")), mode(bench.path(".lock"))), (0o640, 0o600));
}

/// In a pod all containers share the volumes: in an emptyDir, which everybody can write to, a subfolder will do.
#[test]
#[ignore = "needs nats-server"]
fn in_a_pod_a_subfolder_of_an_open_volume_will_do() {
    let (bench, _service) = Bench::up();
    fs::set_permissions(bench.dir.path(), Permissions::from_mode(0o777)).unwrap();
    let problem = "others can write to * (mode 0777), above the state folder */state, make it 0755 or give --state-dir";
    let up = "1 instance, slowest answer *";
    bench.check().run().assert(3, &beside("UNKNOWN", up, problem));
    bench
        .check()
        .env("KUBERNETES_SERVICE_HOST", "10.0.0.1")
        .run()
        .assert(0, UP);
    // As /tmp is, and an emptyDir in memory.
    fs::set_permissions(bench.dir.path(), Permissions::from_mode(0o1777)).unwrap();
    bench.check().run().assert(0, UP);
    fs::set_permissions(bench.dir.path(), Permissions::from_mode(0o770)).unwrap();
    let problem = "others can write to * (mode 0770), above the state folder */state, make it 0755 or give --state-dir";
    bench.check().run().assert(3, &beside("UNKNOWN", up, problem));
}

/// A link of ours leads to another disk; one of somebody else's leads wherever they want, the next time.
#[test]
#[ignore = "needs nats-server"]
fn a_link_on_the_way_is_followed_only_if_it_is_ours() {
    let (bench, service) = Bench::up();
    let link = bench.dir.join("link");
    symlink(bench.folder(), &link).unwrap();
    let check = || bench.check_with(&format!("{link}/orders.json"));
    check().run().assert(0, UP);
    let up = "1 instance, slowest answer *";
    if is_root() {
        std::os::unix::fs::lchown(&link, Some(NOBODY), None).unwrap();
        let problem = "*/link, above the state folder */link, belongs to user 65534, not to user 0, give --state-dir";
        let problem = problem.replace("*/link, above the state folder */link,", "the state folder */link");
        check().run().assert(3, &beside("UNKNOWN", up, &problem));
        chown(bench.dir.path(), Some(NOBODY), None).unwrap();
        let problem = "*, above the state folder */state, belongs to user 65534, not to user 0, give --state-dir";
        bench.check().run().assert(3, &beside("UNKNOWN", up, problem));
        chown(bench.dir.path(), Some(0), None).unwrap();
    }
    fs::remove_file(&link).unwrap();
    symlink(&link, &link).unwrap();
    let problem = "cannot use the state folder */link: Too many levels of symbolic links (os error 40)";
    check().run().assert(3, &beside("UNKNOWN", up, problem));
    bench.end(service);
}

/// The folder that was read is the one that is written, whatever is put in its place meanwhile.
#[test]
fn the_folder_is_opened_once() {
    let dir = TempDir::new();
    let (fake, told, go) = scripted(vec![Turn::Up, Turn::UpWhenTold, Turn::Down]);
    for folder in ["one", "two"] {
        fs::create_dir(dir.join(folder)).unwrap();
    }
    let link = dir.join("link");
    let check = || {
        let state = format!("{link}/orders.json");
        Check::new(["-s", &fake.url(), "-n", "orders", "--confirm", "0", "--state", &state])
    };
    symlink("one", &link).unwrap();
    check().run().assert(0, UP);
    let slow = check().spawn();
    told.recv_timeout(LIMIT).unwrap();
    fs::remove_file(&link).unwrap();
    symlink("two", &link).unwrap();
    go.send(()).unwrap();
    slow.wait().assert(0, UP);
    assert!(!Path::new(&dir.join("two/orders.json.lock")).exists());
    fs::remove_file(&link).unwrap();
    symlink("one", &link).unwrap();
    check().run().assert(2, SAID_DOWN);
}

/// Root with the HOME of somebody else leaves nothing there that is in the way of its owner.
#[test]
#[ignore = "needs nats-server"]
fn a_run_of_root_leaves_nothing_in_another_user_s_home() {
    if !is_root() {
        return;
    }
    let bench = Bench::new();
    let _service = bench.start(1);
    let home = bench.dir.join("home");
    fs::create_dir(&home).unwrap();
    chown(&home, Some(NOBODY), None).unwrap();
    let check = || Check::new(["-s", &bench.server.url(), "-n", "orders", "--stall", "100ms"]).env("HOME", &home);
    let problem = format!(
        "{home}, above the state folder {home}/.local/state/check_nats_service, belongs to user 65534, not to user 0, give \
         --state-dir"
    );
    check()
        .run()
        .assert(3, &beside("UNKNOWN", "1 instance, slowest answer *", &problem));
    assert_eq!(fs::read_dir(&home).unwrap().count(), 0);
    fs::set_permissions(bench.dir.path(), Permissions::from_mode(0o755)).unwrap();
    check().uid(NOBODY).run().assert(0, UP);
}

/// As in /var/lib/check_nats_service, where root makes a folder for each user.
#[test]
#[ignore = "needs nats-server"]
fn a_folder_that_only_root_can_make_is_reported_with_the_command() {
    if !is_root() {
        return;
    }
    let bench = Bench::new();
    let _service = bench.start(1);
    fs::set_permissions(bench.dir.path(), Permissions::from_mode(0o755)).unwrap();
    let check = || {
        let file = bench.dir.join("65534/orders.json");
        bench.check_with(&file).uid(NOBODY)
    };
    let problem = "user 65534 cannot make the state folder */65534: Permission denied (os error 13), as root, run install -d -o \
                   65534 -m 700 */65534, or give --state-dir";
    check()
        .run()
        .assert(3, &beside("UNKNOWN", "1 instance, slowest answer *", problem));
    fs::create_dir(bench.dir.join("65534")).unwrap();
    chown(bench.dir.join("65534"), Some(NOBODY), None).unwrap();
    check().run().assert(0, UP);
}

/// Whoever can read the state must not be able to keep all runs waiting.
#[test]
#[ignore = "needs nats-server"]
fn lock_file_is_private_to_its_user() {
    let (bench, _service) = Bench::up();
    let mode = || fs::metadata(bench.path(".lock")).unwrap().mode() & 0o7777;
    assert_eq!(mode(), 0o600);
    fs::set_permissions(bench.path(".lock"), Permissions::from_mode(0o640)).unwrap();
    bench.check().run().assert(0, UP);
    assert_eq!(mode(), 0o600);
}

fn euid() -> u32 {
    // SAFETY: geteuid always succeeds.
    unsafe { libc::geteuid() }
}

#[test]
#[ignore = "needs nats-server"]
fn another_user_cannot_use_a_state_that_is_not_theirs() {
    if !is_root() {
        return;
    }
    let (bench, _service) = Bench::up();
    let before = bench.read();
    let up = "1 instance, slowest answer *";
    fs::set_permissions(bench.dir.path(), Permissions::from_mode(0o755)).unwrap();
    let run = |problem: &str| {
        let out = bench.check().uid(NOBODY).run();
        out.assert(3, &beside("UNKNOWN", up, problem));
        assert_eq!(bench.read(), before);
    };
    run("cannot open the lock *.lock: Permission denied (os error 13)");
    fs::set_permissions(bench.folder(), Permissions::from_mode(0o755)).unwrap();
    run("cannot open the lock *.lock: Permission denied (os error 13)");
    // In a folder of their own, with a file that they may not read, it is left alone.
    chown(bench.folder(), Some(NOBODY), None).unwrap();
    chown(bench.path(".lock"), Some(NOBODY), None).unwrap();
    fs::set_permissions(bench.path(""), Permissions::from_mode(0o600)).unwrap();
    run("cannot read the state *.json: Permission denied (os error 13)");
    // One that they may read could say anything.
    fs::set_permissions(bench.path(""), Permissions::from_mode(0o644)).unwrap();
    let problem =
        "the state *.json belongs to user 0, not to user 65534, set aside as *.json.bad, what it remembered is lost";
    let out = bench.check().uid(NOBODY).run();
    out.assert(3, &beside("UNKNOWN", up, problem));
    assert_eq!(fs::read(bench.path(".bad")).ok(), before);
    assert_eq!(fs::metadata(bench.path("")).unwrap().uid(), NOBODY);
    bench.check().uid(NOBODY).run().assert(0, UP);
}

/// Each state is synced before it takes the place of the one before; nothing else is, the folder neither.
#[test]
#[ignore = "needs nats-server"]
fn a_state_is_synced_once_before_it_is_renamed() {
    let (bench, _service) = Bench::up();
    let trace = bench.dir.join("trace");
    let calls = "trace=fdatasync,fsync,?rename,?renameat,?renameat2";
    for _ in 0..3 {
        let strace = ["strace", "-f", "-qqq", "-o", &trace, "-e", calls];
        bench.check().under(strace).run().assert(0, UP);
        let traced = fs::read_to_string(&trace).unwrap();
        let name = |line: &str| {
            line.split_once(' ')
                .unwrap()
                .1
                .trim_start()
                .split('(')
                .next()
                .unwrap()
                .to_owned()
        };
        let order: Vec<String> = traced.lines().filter(|line| line.contains('(')).map(name).collect();
        assert!(
            order.len() == 2 && order[0].contains("sync") && order[1].starts_with("rename"),
            "{traced}"
        );
        assert_eq!(bench.files(), ["orders.json", "orders.json.lock"]);
    }
}

/// They would never be read again, and could be taken for something that counts.
#[test]
#[ignore = "needs nats-server"]
fn leftover_files_of_the_previous_version_are_removed() {
    let (bench, _service) = Bench::up();
    let leave = || [".spare", ".synced"].map(|suffix| fs::write(bench.path(suffix), bench.read().unwrap()).unwrap());
    leave();
    bench.check().run().assert(0, UP);
    assert_eq!(bench.files(), ["orders.json", "orders.json.lock"]);
    leave();
    bench.state("reset").run().assert(0, "forgotten: *");
    assert_eq!(bench.files(), ["orders.json.lock"]);
}

/// A file that cannot be believed is told, kept as `.bad`, and never ends in OK; the run after it is a usual one.
#[test]
#[ignore = "needs nats-server"]
fn damaged_or_foreign_state_is_set_aside() {
    let bench = Bench::down();
    let outage = bench.read().unwrap();
    let with = |field: &str, value: Value| {
        let mut memory = bench.memory();
        *memory.pointer_mut(field).unwrap() = value;
        memory.to_string().into_bytes()
    };
    let mut cases = vec![
        (Vec::new(), "is damaged: EOF while parsing a value at line 1 column 0"),
        (
            b"\0\0\0\0\0\0\0\0".to_vec(),
            "is damaged: expected value at line 1 column 1",
        ),
        (
            b"garbage \xff|\n".to_vec(),
            "is damaged: expected value at line 1 column 1",
        ),
        (b"[]".to_vec(), "is damaged: no format"),
        (b"{\"orders\": 3}".to_vec(), "is damaged: no format"),
        (
            format!("{{\"format\":1,\"more\":{}", "[".repeat(10_000)).into_bytes(),
            "is damaged: EOF while parsing a list at line 1 column *",
        ),
        (with("/format", json!(2)), "has format 2, this program knows format 1"),
        (
            with("/question/service", json!("billing")),
            "belongs to another question (service, servers, user or prefix)",
        ),
        (
            with("/question/servers", json!(["h:1"])),
            "belongs to another question (service, servers, user or prefix)",
        ),
        (
            with("/epoch/count", json!(null)),
            "is damaged: a field is missing or malformed",
        ),
    ];
    for length in [1, 20, outage.len() / 2, outage.len() - 2] {
        cases.push((
            outage[..length].to_vec(),
            "is damaged: EOF while parsing * at line 1 column *",
        ));
    }
    for (bytes, why) in &cases {
        bench.write(bytes);
        bench
            .state("show")
            .run()
            .assert(3, &format!("NATS_SERVICE UNKNOWN - the state *.json {why}"));
        assert_eq!(&bench.read().unwrap(), bytes, "looking at it changes nothing");
        let problem = format!("the state *.json {why}, set aside as *.json.bad, what it remembered is lost");
        // Over the one of the case before.
        bench.check().run().assert(3, &beside("UNKNOWN", NEVER_SEEN, &problem));
        assert_eq!(&fs::read(bench.path(".bad")).unwrap(), bytes);
        bench
            .check()
            .run()
            .assert(3, &format!("NATS_SERVICE UNKNOWN - orders: {NEVER_SEEN} | *"));
    }
    let service = bench.start(1);
    for (bytes, why) in &cases {
        bench.write(bytes);
        let problem = format!("the state *.json {why}, set aside as *.json.bad, what it remembered is lost");
        bench
            .check()
            .run()
            .assert(3, &beside("UNKNOWN", "1 instance, slowest answer *", &problem));
        bench.check().run().assert(0, UP);
    }
    assert_eq!(bench.files(), ["orders.json", "orders.json.bad", "orders.json.lock"]);
    // Only its last line end is missing: nothing of it is lost.
    bench.write(&outage[..outage.len() - 1]);
    bench.check().run().assert(0, RECOVERED);
    bench.end(service);
}

/// The clock was ahead, and was set back: what happened happened, at whatever time.
#[test]
#[ignore = "needs nats-server"]
fn a_state_from_the_future_keeps_its_outage() {
    let bench = Bench::down();
    let ahead = |field: &str| {
        let mut memory = bench.memory();
        *memory.pointer_mut(field).unwrap() = json!("2999-01-01T00:00:00Z");
        memory.to_string().into_bytes()
    };
    let problem =
        "the state *.json has a time in the future (2999-01-01T00:00:00Z), which counts as now, check the clock";
    let still_down = "still down for *, no responders, had 1 instance, NATS * is fine*";
    let cases = ["/epoch/at", "/census", "/outage/first_missed", "/outage/last_seen/at"].map(ahead);
    for bytes in &cases {
        bench.write(bytes);
        let shown = bench.state("show").run();
        let told = "the clock was set back: times up to 2999-01-01T00:00:00Z count as of now\n";
        assert!(shown.stdout.contains(told), "{}", shown.stdout);
        bench.check().run().assert(2, &beside("CRITICAL", still_down, problem));
        assert_eq!(bench.files(), ["orders.json", "orders.json.lock"]);
        bench.check().run().assert(2, STILL_DOWN);
    }
    let _service = bench.start(1);
    for bytes in &cases {
        bench.write(bytes);
        let recovered = "1 instance, recovered after *";
        bench.check().run().assert(3, &beside("UNKNOWN", recovered, problem));
        bench.check().run().assert(0, UP);
    }
}

/// Whoever deletes the file has it forgotten, without a word.
#[test]
#[ignore = "needs nats-server"]
fn a_state_that_is_missing_is_a_first_run() {
    let bench = Bench::down();
    let lose = || fs::remove_file(bench.path("")).unwrap();
    lose();
    let shown = bench.state("show").run();
    assert!(shown.stdout.contains("\nnothing is remembered"), "{}", shown.stdout);
    bench
        .check()
        .run()
        .assert(3, &format!("NATS_SERVICE UNKNOWN - orders: {NEVER_SEEN} | *"));
    let _service = bench.start(1);
    lose();
    bench.check().run().assert(0, UP);
}

/// Something was appended to it, or lies behind it: what is whole of it counts.
#[test]
#[ignore = "needs nats-server"]
fn outage_survives_text_after_the_state() {
    let bench = Bench::down();
    let outage = bench.read().unwrap();
    let still_down = "still down for *, no responders, had 1 instance, NATS * is fine*";
    for rest in [&b"garbage"[..], &[0; 4096], &outage] {
        let damaged = [&outage[..], rest].concat();
        bench.write(&damaged);
        let problem = "the state *.json is damaged: trailing characters at line 2 column 1, set aside as *.json.bad, what \
                       could be read of it counts";
        bench.check().run().assert(2, &beside("CRITICAL", still_down, problem));
        assert_eq!(fs::read(bench.path(".bad")).unwrap(), damaged);
        bench.check().run().assert(2, STILL_DOWN);
    }
}

#[test]
#[ignore = "needs nats-server"]
fn of_a_huge_file_no_more_is_read_than_is_ever_written() {
    let (bench, _service) = Bench::up();
    File::create(bench.path("")).unwrap().set_len(100 << 20).unwrap();
    let problem = "the state *.json is damaged: expected value at line 1 column 1, set aside as *.json.bad, what it remembered is lost";
    bench
        .check()
        .run()
        .assert(3, &beside("UNKNOWN", "1 instance, slowest answer *", problem));
    assert_eq!(fs::metadata(bench.path(".bad")).unwrap().len(), 100 << 20);
    bench.check().run().assert(0, UP);
}

/// It is as large as it may be, and made of what takes the most memory.
#[test]
#[ignore = "needs nats-server"]
fn a_file_that_would_take_much_memory_is_read_within_bounds() {
    let bench = Bench::down();
    let mut memory = bench.memory();
    let absentee =
        r#"{"fate":"gone","instance":{"id":"","metadata":{},"version":""},"since":"2026-01-01T00:00:00Z"}"#.to_owned();
    let many = |item: &str| {
        serde_json::from_str(&format!(
            "[{}{item}]",
            format!("{item},").repeat((3 << 20) / (item.len() + 1))
        ))
    };
    memory["absentees"] = many(&absentee).unwrap();
    bench.write(memory.to_string().as_bytes());
    bench.check().run().assert(2, STILL_DOWN);
    memory["absentees"] = many("[0]").unwrap();
    bench.write(memory.to_string().as_bytes());
    let problem = "the state *.json is damaged: a field is missing or malformed, set aside as *.json.bad, what it remembered is lost";
    bench.check().run().assert(3, &beside("UNKNOWN", NEVER_SEEN, problem));
}

/// The target of a link is neither believed nor touched: it may be anybody's.
#[test]
#[ignore = "needs nats-server"]
fn symbolic_links_are_not_followed() {
    let bench = Bench::down();
    let outage = bench.read().unwrap();
    let elsewhere = bench.dir.join("elsewhere");
    let untouched = || {
        assert_eq!(fs::read(&elsewhere).unwrap(), outage);
        let written = fs::metadata(&elsewhere).unwrap();
        (written.mtime(), written.mtime_nsec(), written.ino())
    };
    fs::rename(bench.path(""), &elsewhere).unwrap();
    let as_it_was = untouched();
    let _service = bench.start(1);
    let up = "1 instance, slowest answer *";

    symlink(&elsewhere, bench.path("")).unwrap();
    let problem = "the state *.json is a symbolic link, name a file";
    for _ in 0..2 {
        bench.check().run().assert(3, &beside("UNKNOWN", up, problem));
        assert_eq!(fs::read_link(bench.path("")).unwrap(), Path::new(&elsewhere));
        assert_eq!(untouched(), as_it_was);
    }
    fs::rename(bench.path(""), bench.path(".bad")).unwrap();
    bench.check().run().assert(0, UP);

    // The link that lies there now is replaced, not written through.
    bench.write(b"garbage");
    let problem = "the state *.json is damaged: *, set aside as *.json.bad, what it remembered is lost";
    bench.check().run().assert(3, &beside("UNKNOWN", up, problem));
    assert_eq!(fs::read(bench.path(".bad")).unwrap(), b"garbage");

    symlink(&elsewhere, bench.path(".tmp")).unwrap();
    bench.check().run().assert(0, UP);
    assert_eq!(untouched(), as_it_was);

    fs::remove_file(bench.path(".lock")).unwrap();
    symlink(&elsewhere, bench.path(".lock")).unwrap();
    let problem = "cannot open the lock *.lock: Too many levels of symbolic links (os error 40)";
    bench.check().run().assert(3, &beside("UNKNOWN", up, problem));
    assert_eq!(untouched(), as_it_was);
}

#[test]
#[ignore = "needs nats-server"]
fn devices_and_folders_in_place_of_the_state_neither_hang_nor_are_ok() {
    let (bench, _service) = Bench::up();
    let up = "1 instance, slowest answer *";
    let fifo = |suffix: &str| {
        let path = CString::new(bench.path(suffix)).unwrap();
        // SAFETY: the path is alive and ends with a zero.
        assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
    };
    let remove = |suffix: &str| fs::remove_file(bench.path(suffix)).unwrap();

    remove("");
    fifo("");
    let problem = "the state *.json is no regular file, name a file";
    for _ in 0..2 {
        bench.check().run().assert(3, &beside("UNKNOWN", up, problem));
        assert_eq!(bench.files(), ["orders.json", "orders.json.lock"]);
    }
    remove("");
    bench.check().run().assert(0, UP);

    fifo(".tmp");
    bench.check().run().assert(0, UP);
    assert_eq!(bench.files(), ["orders.json", "orders.json.lock"]);

    remove(".lock");
    fifo(".lock");
    let problem = "cannot open the lock *.lock: No such device or address (os error 6)";
    bench.check().run().assert(3, &beside("UNKNOWN", up, problem));
    remove(".lock");

    // A folder with something in it cannot be a mistake of ours; it is not touched.
    let before = bench.read();
    for (suffix, problem) in [
        (".tmp", "cannot write the state *.json: Is a directory (os error 21)"),
        (".lock", "cannot open the lock *.lock: Is a directory (os error 21)"),
    ] {
        let _ = fs::remove_file(bench.path(suffix));
        fs::create_dir(bench.path(suffix)).unwrap();
        bench.check().run().assert(3, &beside("UNKNOWN", up, problem));
        assert_eq!(bench.read(), before);
        fs::remove_dir(bench.path(suffix)).unwrap();
    }
    remove("");
    fs::create_dir_all(bench.path("/something")).unwrap();
    let folder = "the state *.json is a folder, name a file";
    bench.check().run().assert(3, &beside("UNKNOWN", up, folder));
    bench
        .state("show")
        .run()
        .assert(3, &format!("NATS_SERVICE UNKNOWN - {folder}"));
    let problem = "cannot remove the state *.json: Is a directory (os error 21)";
    bench
        .state("reset")
        .run()
        .assert(3, &format!("NATS_SERVICE UNKNOWN - {problem}"));
    fs::remove_dir_all(bench.path("")).unwrap();

    // The same where it should be set aside.
    fs::create_dir(bench.path(".bad")).unwrap();
    bench.write(b"garbage");
    let problem = "the state *.json is damaged: *, and cannot be set aside: Is a directory (os error 21)";
    bench.check().run().assert(3, &beside("UNKNOWN", up, problem));
    assert_eq!(bench.read().unwrap(), b"garbage");
    fs::remove_dir(bench.path(".bad")).unwrap();
}

#[test]
#[ignore = "needs nats-server"]
fn timed_a_lock_that_is_never_free_costs_the_timeout_and_no_outage() {
    let bench = Bench::down();
    let before = bench.read();
    let lock = File::open(bench.path(".lock")).unwrap();
    lock.lock().unwrap();
    let timeout = Duration::from_millis(600);
    let check = || bench.check().args(["--timeout", "600ms"]).run();
    let problem = "another run holds the lock *.lock for too long";
    let still_down = "still down for *, no responders, had 1 instance, NATS * is fine*";
    let end = timeout + Duration::from_millis(100) + SLACK;
    check()
        .assert(2, &beside("CRITICAL", still_down, problem))
        .assert_within(end);
    let service = bench.start(1);
    check()
        .assert(3, &beside("UNKNOWN", "1 instance, recovered after *", problem))
        .assert_within(end);
    let out = bench.state("reset").args(["--timeout", "600ms"]).run();
    out.assert(3, &format!("NATS_SERVICE UNKNOWN - {problem}"))
        .assert_within(end);
    assert_eq!(bench.read(), before);

    // A run that waits for its turn goes on as soon as it has it.
    let waiting = bench.check().spawn();
    wait_for("the run waits for the lock", || {
        waits_for_the_lock(waiting.pid()).then_some(())
    });
    lock.unlock().unwrap();
    waiting.wait().assert(0, RECOVERED);
    bench.end(service);
}

/// Returns `true` if the process has this lock file open, as it has from its verdict to its end.
fn waits_for_the_lock(pid: u32) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut targets = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok());
    targets.any(|target| target.extension().is_some_and(|extension| extension == "lock"))
}

#[test]
#[ignore = "needs nats-server"]
fn the_modes_are_ours_whatever_the_umask() {
    for umask in ["000", "022", "077"] {
        let bench = Bench::new();
        let _service = bench.start(1);
        let file = bench.dir.join("made/for/it/orders.json");
        for _ in 0..2 {
            let script = format!("umask {umask}; exec \"$@\"");
            bench
                .check_with(&file)
                .under(["sh", "-c", &script, "sh"])
                .run()
                .assert(0, UP);
        }
        let mode = |path: &str| fs::metadata(bench.dir.join(path)).unwrap().mode() & 0o7777;
        assert_eq!(mode("made/for/it/orders.json"), 0o640, "{umask}");
        for folder in ["made", "made/for", "made/for/it"] {
            assert_eq!(mode(folder), 0o700, "{umask}");
        }
        assert_eq!(mode("made/for/it/orders.json.lock"), 0o600, "{umask}");
    }
}

#[test]
#[ignore = "needs nats-server"]
fn a_state_folder_that_cannot_be_made_is_reported() {
    let bench = Bench::new();
    let _service = bench.start(1);
    fs::write(bench.dir.join("file"), "").unwrap();
    for (file, problem) in [
        ("file/orders.json", "the state folder */file is no folder"),
        (
            "file/sub/orders.json",
            "cannot use the state folder */file/sub: Not a directory (os error 20)",
        ),
    ] {
        let out = bench.check_with(&bench.dir.join(file)).run();
        out.assert(3, &beside("UNKNOWN", "1 instance, slowest answer *", problem));
    }
    // In the working folder, if that is what the user says.
    let out = bench.check_with("orders.json").cwd(bench.dir.path()).run();
    out.assert(0, UP);
    assert!(Path::new(&bench.dir.join("orders.json")).is_file());
}

#[test]
#[ignore = "needs nats-server"]
fn each_question_has_a_memory_of_its_own_and_thresholds_are_no_question() {
    let server = Server::with_config(
        Version::Newest,
        "authorization { users: [{user: a, password: p}, {user: b, password: p}, {user: n}] }\nno_auth_user: n",
    );
    let service = Service::async_nats(&server.url(), "orders").start();
    server.wait_for_instances("orders", 1);
    let dir = TempDir::new();
    let ask = |flags: &[&str]| {
        let stall = [
            "--confirm",
            "0",
            "--stall",
            "100ms",
            "--state-dir",
            dir.path().to_str().unwrap(),
        ];
        Check::new(flags).args(["-n", "orders"]).args(stall)
    };
    let url = server.url();
    let with_localhost = url.replace("127.0.0.1", "localhost");
    let two = format!("{url},{with_localhost}");
    let questions: [&[&str]; 5] = [
        &["-s", &url],
        &["-s", &with_localhost],
        &["-s", &two],
        &["-s", &url, "--user", "a", "--password", "p"],
        &["-s", &url, "--user", "b", "--password", "p"],
    ];
    let names = |dir: &Path| -> Vec<String> {
        let names = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name.ends_with(".json")).collect();
        names.sort();
        names
    };
    for (n, question) in questions.iter().enumerate() {
        assert_eq!(names(dir.path()).len(), n);
        ask(question).run().assert(0, UP);
        // The same question: the order of the servers and what the user wants to be warned of do not count.
        ask(question).args(["-w", "3:", "--rtt-critical", "5s"]).run().assert(
            1,
            "NATS_SERVICE WARNING - orders: 1 instance, fewer than 3 (range 3:) | *",
        );
        assert_eq!(names(dir.path()).len(), n + 1);
    }
    let turned = format!("{with_localhost},{url}");
    ask(&["-s", &turned]).run().assert(0, UP);
    ask(&["-s", &url]).args(["--srv-prefix", "X.$SRV"]).run().assert(
        3,
        "NATS_SERVICE UNKNOWN - orders: never seen in this account (asked X.$SRV.PING.orders), *",
    );
    assert_eq!(names(dir.path()).len(), questions.len() + 1);
    assert!(names(dir.path()).iter().all(|name| name.starts_with("orders-")));

    // What one of them remembers is nothing to the others.
    service.kill();
    server.wait_for_instances("orders", 0);
    ask(&["-s", &url, "-c", "0:"]).run().assert(
        2,
        "NATS_SERVICE CRITICAL - orders: down, no responders, 1 instance until * ago, *",
    );
    ask(&["-s", &url]).run().assert(2, STILL_DOWN);
    ask(questions[4]).run().assert(2, DOWN);
}

#[test]
#[ignore = "needs nats-server"]
fn state_show_prints_the_memory() {
    let mut bench = Bench::new();
    let head = format!(
        "service orders under $SRV, asked at 127.0.0.1:{}\nstate file {}\n",
        bench.server.port(),
        bench.path("")
    );
    let show = |rest: &str| bench.state("show").run().assert(0, &format!("{head}{rest}"));
    show("nothing is remembered: no run has written it yet");
    assert!(bench.files().is_empty());
    let service = Service::async_nats(&bench.server.url(), "orders")
        .version("2.1.0")
        .metadata("pod", "orders-0")
        .start();
    bench.server.wait_for_instances("orders", 1);
    let instance = format!("  {} version 2.1.0 pod=orders-0", service.id());
    bench.check().run().assert(0, UP);
    let before = bench.read();
    show(&format!(
        "last verdict OK\nlast answer 20*Z (*s ago), 1 instance\n{instance}\nno outage\nlast full count 20*Z (*s ago)\n\
         check 20*Z: 1 instance"
    ));
    bench.end(service);
    bench.check().run().assert(2, DOWN);
    // Being unable to ask is remembered beside the outage.
    let (url, other) = (bench.server.url(), "nats://127.0.0.1:1");
    let args = ["--state", &bench.path(""), "-n", "orders", "-t", "2s"];
    Check::new(["-s", other]).args(args).run().assert(
        3,
        "NATS_SERVICE UNKNOWN - orders: cannot reach NATS at 127.0.0.1:1: connection refused (is nats-server running there?), \
         the state * belongs to another question (service, servers, user or prefix), set aside as *.bad, what it \
         remembered is lost | *",
    );
    fs::rename(bench.path(".bad"), bench.path("")).unwrap();
    bench.server.stop();
    Check::new(["-s", &url]).args(args).run().assert(
        2,
        "NATS_SERVICE CRITICAL - orders: still down for *, last answer from NATS * ago, had 1 instance, last seen: *, cannot reach NATS at \
         *: connection refused (is nats-server running there?) | instances=U *",
    );
    let shown = format!(
        "{head}last verdict CRITICAL\nlast answer 20*Z (*s ago), 0 instances\noutage since 20*Z (*s ago)\n\
         last seen 20*Z (*s ago), 1 instance\n{instance}\nNATS could not be asked since 20*Z (*s ago): nats_unreachable\n\
         last full count 20*Z (*s ago)\ncheck 20*Z: 0 instances\ncheck 20*Z: 1 instance"
    );
    bench.state("show").run().assert(0, &shown);
    assert_ne!(bench.read(), before);
}

#[test]
#[ignore = "needs nats-server"]
fn state_reset_forgets_a_service() {
    let bench = Bench::down();
    let path = bench.path("");
    bench.state("reset").run().assert(0, &format!("forgotten: {path}"));
    assert_eq!(bench.files(), ["orders.json.lock"]);
    bench
        .state("reset")
        .run()
        .assert(0, &format!("nothing to forget: there is no {path}"));
    bench
        .check()
        .run()
        .assert(3, &format!("NATS_SERVICE UNKNOWN - orders: {NEVER_SEEN} | *"));
    // Also what cannot be read.
    bench.write(b"garbage");
    bench.state("reset").run().assert(0, &format!("forgotten: {path}"));
    fs::remove_dir_all(bench.folder()).unwrap();
    bench
        .state("reset")
        .run()
        .assert(0, &format!("nothing to forget: there is no {path}"));
    assert!(
        !Path::new(&bench.folder()).exists(),
        "nothing is made in order to forget"
    );

    let no_state = "NATS_SERVICE UNKNOWN - --no-state: there is no state";
    let homeless = "NATS_SERVICE UNKNOWN - no folder for the state: neither HOME nor XDG_STATE_HOME is set, give --state-dir, \
                    or --no-state to go without";
    for what in ["show", "reset"] {
        let state = || Check::new(["state", what, "-n", "orders"]);
        state().arg("--no-state").run().assert(3, no_state);
        state().env("HOME", "").run().assert(3, homeless);
    }
}

/// One memory, whether a service is checked alone or with the others.
#[test]
#[ignore = "needs nats-server"]
fn a_service_has_one_memory_whether_it_is_checked_alone_or_with_the_others() {
    let bench = Bench::new();
    let service = bench.start(1);
    let (url, folder) = (bench.server.url(), bench.folder());
    let run = |args: &[&str]| Check::new(args.iter().copied().chain(["--state-dir", &folder])).run();
    let show = |args: &[&str]| run(&[args, &["-s", &url]].concat());
    let check = |args: &[&str]| show(&[args, &["--confirm", "0", "--stall", "100ms"]].concat());
    show(&["state", "show", "--all"]).assert(
        0,
        "all services under $SRV, asked at 127.0.0.1:*\nstate file */state/all-*.json\nnothing is remembered: no run has written it yet",
    );
    check(&["--all"]).assert(0, "NATS_SERVICES OK - 1 service, 1 instance* | services=1;*");
    let instance = format!("  {}*", service.id());
    let of_service = format!(
        "last verdict OK\nlast answer 20*Z (*s ago), 1 instance\n{instance}\nno outage\nlast full count 20*Z (*s ago)\ncheck 20*Z: 1 instance"
    );
    show(&["state", "show", "-n", "orders"]).assert(
        0,
        &format!("service orders under $SRV, asked at *\nstate file */state/all-*.json\n{of_service}"),
    );
    show(&["state", "show", "--all"]).assert(
        0,
        &format!("all services under $SRV, asked at *\nstate file */all-*.json\n1 service, none down\nlast full count *\n\nservice orders\n{of_service}"),
    );
    run(&["state", "list"]).assert(0, "orders at 127.0.0.1:*: 1 instance *s ago, no outage");
    bench.end(service);
    // What all services had seen, the check of one misses, and the other way round.
    check(&["-n", "orders"]).assert(2, DOWN);
    check(&["--all"]).assert(
        2,
        "NATS_SERVICES CRITICAL - 1 of 1 service* down: orders (1 instance until *",
    );
    run(&["state", "list"]).assert(
        0,
        "orders at 127.0.0.1:*: 0 instances *s ago, down since *, 1 instance before",
    );
    let names: Vec<String> = bench
        .files()
        .iter()
        .map(|name| name.split('-').next().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["all", "all", "orders", "orders"]);
    show(&["state", "reset", "--all"]).assert(
        0,
        "forgotten: 0 services in */all-*.json\nkept, since they were checked alone: orders (state reset -n NAME)",
    );
    check(&["--all"]).assert(2, "NATS_SERVICES CRITICAL - *");
    // The copy, and the file itself.
    show(&["state", "reset", "-n", "orders"]).assert(
        0,
        "forgotten: orders in */state/all-*.json\nforgotten: */state/orders-*.json",
    );
    check(&["--all"]).assert(3, "NATS_SERVICES UNKNOWN - no service has ever answered here*");
}

/// The file of a check of one kind is not forgotten by a check of the other.
#[test]
#[ignore = "needs nats-server"]
fn a_state_of_the_other_kind_is_refused_and_kept() {
    let (bench, _service) = Bench::up();
    let single = bench.read();
    let all = |file: &str| {
        let url = bench.server.url();
        Check::new(["--all", "-s", &url, "--confirm", "0", "--stall", "100ms"]).args(["--state", file])
    };
    let path = bench.path("");
    all(&path).run().assert(
        3,
        &format!("NATS_SERVICES UNKNOWN - *the state {path} holds a single service (-n), give --state-dir in place of --state*"),
    );
    assert_eq!((bench.read(), bench.files().len()), (single, 2));
    fs::remove_file(&path).unwrap();
    all(&path).run().assert(0, "NATS_SERVICES OK - *");
    let account = bench.read();
    let refused = "holds all services of an account (--all), give --state-dir in place of --state";
    bench
        .check()
        .run()
        .assert(3, &beside("UNKNOWN", "*", &format!("the state {path} {refused}")));
    for what in ["show", "reset"] {
        bench
            .state(what)
            .run()
            .assert(3, &format!("NATS_SERVICE UNKNOWN - the state {path} {refused}"));
    }
    assert_eq!((bench.read(), bench.files().len()), (account, 2));
}

/// 20 checks of one service and 20 of all, at once, while the service goes and while it comes back.
#[test]
#[ignore = "needs nats-server"]
fn checks_of_one_and_of_all_services_overlap() {
    let bench = Bench::new();
    let service = bench.start(1);
    let (url, folder) = (bench.server.url(), bench.folder());
    let check = |scope: &[&str]| {
        let common = [
            "-s",
            &url,
            "--state-dir",
            &folder,
            "--confirm",
            "50ms",
            "--stall",
            "50ms",
            "--timeout",
            "60",
        ];
        Check::new(scope.iter().copied().chain(common)).limit(Duration::from_secs(90))
    };
    let (one, all): (&[&str], &[&str]) = (&["-n", "orders"], &["--all"]);
    check(all).run().assert(0, "NATS_SERVICES OK - *");
    let overlap = || -> Vec<Running> { (0..20).flat_map(|_| [check(one).spawn(), check(all).spawn()]).collect() };
    let settle = |runs: Vec<Running>, code: i32| {
        for out in runs.into_iter().map(Running::wait) {
            assert!(matches!(out.code, Some(0 | 2)) && out.stderr.is_empty(), "{out:?}");
        }
        for scope in [one, all] {
            let out = check(scope).run();
            assert_eq!(out.code, Some(code), "{out:?}");
        }
    };
    let mut runs = overlap();
    service.kill();
    runs.extend(overlap());
    bench.server.wait_for_instances("orders", 0);
    settle(runs, 2);
    let mut runs = overlap();
    let _service = bench.start(1);
    runs.extend(overlap());
    settle(runs, 0);
    assert_eq!(bench.files().len(), 4, "{:?}", bench.files());
}

/// Whoever gives another server or login than the check does is told so, and not that nothing is remembered.
#[test]
#[ignore = "needs nats-server"]
fn a_state_of_another_login_is_named_and_not_taken_for_nothing() {
    let server = Server::with_config(
        Version::Newest,
        "authorization { users: [{user: a, password: p}, {user: b, password: p}] }",
    );
    let dir = TempDir::new();
    let (url, folder) = (server.url(), dir.join("state"));
    let args = |words: &[&str], user: &str| {
        let check = Check::new(words).args(["-s", &url, "-n", "orders", "--state-dir", &folder]);
        check.args(["--user", user, "--password", "p"])
    };
    args(&["check", "--confirm", "0"], "a")
        .run()
        .assert(3, "NATS_SERVICE UNKNOWN - orders: never seen *");
    let server = url.replace("nats://", "");
    let line = format!(
        "NATS_SERVICE UNKNOWN - there is no state of orders at {server} as user b, but of orders at {server} as user a: give its \
         --server and login"
    );
    for what in ["show", "reset"] {
        args(&["state", what], "b").run().assert(3, &line);
    }
    // Of another service there may be none.
    let other = [
        "state",
        "reset",
        "-s",
        &url,
        "-n",
        "billing",
        "--state-dir",
        &folder,
        "--user",
        "a",
        "--password",
        "p",
    ];
    Check::new(other).run().assert(0, "nothing to forget: there is no *");
    let shown = args(&["state", "show"], "a").run();
    assert!(
        shown.code == Some(0) && shown.stdout.ends_with(": 0 instances\n"),
        "{shown:?}"
    );
    // Who gives no server means the only one that there is. That is what the alerts of Prometheus tell people to run.
    let alone = || Check::new(["state", "show", "-n", "orders", "--state-dir", &folder]).run();
    let first = format!("service orders under $SRV, asked at {server} as user a");
    alone().assert_first_line(0, &first);
    args(&["check", "--confirm", "0"], "b")
        .run()
        .assert(3, "NATS_SERVICE UNKNOWN - *");
    alone().assert(
        3,
        "NATS_SERVICE UNKNOWN - there is no state of orders at 127.0.0.1:4222, but of orders at *: give its --server and login",
    );
    args(&["state", "reset"], "b").run().assert(0, "forgotten: *");
    args(&["state", "reset"], "a").run().assert(0, "forgotten: *");
    args(&["state", "reset"], "a")
        .run()
        .assert(0, "nothing to forget: there is no *");
}

#[test]
#[ignore = "needs nats-server"]
fn all_states_of_a_folder_are_listed() {
    let (bench, service) = Bench::up();
    let list = |args: &[&str]| {
        Check::new(["state", "list", "--state-dir", &bench.folder()])
            .args(args)
            .run()
    };
    let server = bench.server.url().replace("nats://", "");
    let up = format!("orders at {server}: 1 instance * ago, no outage");
    list(&[]).assert(0, &up);
    bench.end(service);
    bench.check().run().assert(2, DOWN);
    let down = format!("orders at {server}: 0 instances * ago, down since 20*Z, 1 instance before");
    list(&["-n", "orders"]).assert(0, &down);
    list(&["-n", "billing"]).assert(0, &format!("no state in {}", bench.folder()));
    fs::write(format!("{}/broken.json", bench.folder()), "{").unwrap();
    list(&[]).assert(0, &format!("broken.json: is damaged: EOF *\n{down}"));
    let out = list(&["--format", "json"]);
    let json: Value = serde_json::from_str(&out.stdout).expect("JSON");
    assert_eq!(json["folder"], bench.folder());
    let state = &json["states"][1];
    assert_eq!(
        (&state["service"], &state["file"]),
        (&json!("orders"), &json!("orders.json"))
    );
    assert_eq!((&state["servers"], &state["user"]), (&json!([server]), &Value::Null));
    assert_eq!(
        (&state["epoch"]["instances"], &state["status"]),
        (&json!(0), &json!("CRITICAL"))
    );
    assert_eq!(state["outage"]["instances_before"], 1);
    assert!(json["states"][0]["problem"].as_str().unwrap().starts_with("is damaged"));
    // Where the environment says, as for a check; and none is made in order to look.
    let home = bench.dir.join("home");
    let out = Check::new(["state", "list"]).env("HOME", &home).run();
    out.assert(0, &format!("no state in {home}/.local/state/check_nats_service"));
    assert!(!Path::new(&home).exists());
    let wrong = Check::new(["state", "list", "--format", "checkmk"]).run();
    wrong.assert(3, "*'checkmk' is neither text nor json*");
}

/// A service on a fake server: what each connection gets, in turn.
struct Script {
    turns: AtomicUsize,
    told: Mutex<Sender<()>>,
    go: Mutex<Receiver<()>>,
}

enum Turn {
    /// An answer at once.
    Up,
    /// A 503 at once.
    Down,
    /// An answer at once, which the test is told of.
    UpAndTell,
    /// The test is told of the request, and says when to answer.
    UpWhenTold,
    /// The test is told of the connection, and says when to greet; then an answer at once.
    GreetWhenTold,
}

/// The fake, with where it tells of and waits for the test.
fn scripted(turns: Vec<Turn>) -> (Fake, Receiver<()>, Sender<()>) {
    let ((told, telling), (go, going)) = (channel(), channel());
    let script = Script {
        turns: AtomicUsize::new(0),
        told: Mutex::new(told),
        go: Mutex::new(going),
    };
    let fake = Fake::start(move |conn: &mut Conn| {
        let turn = &turns[script.turns.fetch_add(1, SeqCst)];
        let tell = || script.told.lock().unwrap().send(()).unwrap();
        let wait = || script.go.lock().unwrap().recv_timeout(LIMIT).unwrap();
        if let Turn::GreetWhenTold = turn {
            tell();
            wait();
        }
        conn.handshake()?;
        let request = conn.read_request()?;
        if let Turn::UpWhenTold = turn {
            tell();
            wait();
        }
        match turn {
            Turn::Down => conn.no_responders(&request)?,
            _ => conn.reply(&request, br#"{"name":"orders","id":"A"}"#)?,
        }
        if let Turn::UpAndTell = turn {
            tell();
        }
        conn.hold(LIMIT)
    });
    (fake, telling, go)
}

fn ask(fake: &Fake, dir: &TempDir, flags: &[&str]) -> Check {
    let state = dir.join("orders.json");
    Check::new(["-s", &fake.url(), "-n", "orders", "--confirm", "0", "--state", &state]).args(flags)
}

const SAID_DOWN: &str = "NATS_SERVICE CRITICAL - orders: down, no responders, 1 instance until * ago, NATS * | *";
const SAID_STILL: &str = "NATS_SERVICE CRITICAL - orders: still down for *, no responders, had 1 instance, NATS * | *";

/// Of two overlapping runs, the one that took longer knows less, if what it knows is older.
#[test]
#[ignore = "needs strace"]
fn timed_an_old_answer_does_not_close_an_outage_that_an_overlapping_run_found() {
    // It had its answer long ago, and waited for more.
    let (fake, told, _go) = scripted(vec![Turn::Up, Turn::UpAndTell, Turn::Down, Turn::Down]);
    let dir = TempDir::new();
    ask(&fake, &dir, &[]).run().assert(0, UP);
    let slow = ask(&fake, &dir, &["--census", "0", "--stall", "1s"]).spawn();
    told.recv_timeout(LIMIT).unwrap();
    ask(&fake, &dir, &[]).run().assert(2, SAID_DOWN);
    slow.wait().assert(2, SAID_STILL);
    ask(&fake, &dir, &[]).run().assert(2, SAID_STILL);

    // Its answer was on the way for long.
    let (fake, told, go) = scripted(vec![Turn::Up, Turn::UpWhenTold, Turn::Down, Turn::Down]);
    let dir = TempDir::new();
    ask(&fake, &dir, &[]).run().assert(0, UP);
    let slow = ask(&fake, &dir, &[]).spawn();
    told.recv_timeout(LIMIT).unwrap();
    ask(&fake, &dir, &[]).run().assert(2, SAID_DOWN);
    go.send(()).unwrap();
    slow.wait().assert(2, SAID_STILL);
    ask(&fake, &dir, &[]).run().assert(2, SAID_STILL);

    // It came to its turn to save too late.
    let (fake, _told, _go) = scripted(vec![Turn::Up, Turn::Up, Turn::Down, Turn::Down]);
    let dir = TempDir::new();
    ask(&fake, &dir, &[]).run().assert(0, UP);
    let lock = dir.join("orders.json.lock");
    let slow = tampered(ask(&fake, &dir, &[]), "flock", "delay_enter=1000000", &[&lock]).spawn();
    wait_for("it has its answer", || (fake.connections() == 2).then_some(()));
    let pid = slow.pid();
    wait_for("it is about to lock", || {
        waits_for_the_lock(child_of(pid)?).then_some(())
    });
    ask(&fake, &dir, &[]).run().assert(2, SAID_DOWN);
    slow.wait().assert(2, SAID_STILL);
    ask(&fake, &dir, &[]).run().assert(2, SAID_STILL);
}

/// The traced process of strace.
fn child_of(pid: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

#[test]
fn a_new_answer_closes_the_outage_of_an_overlapping_run() {
    let (fake, told, go) = scripted(vec![Turn::Up, Turn::GreetWhenTold, Turn::Down, Turn::Up]);
    let dir = TempDir::new();
    ask(&fake, &dir, &[]).run().assert(0, UP);
    let slow = ask(&fake, &dir, &[]).spawn();
    told.recv_timeout(LIMIT).unwrap();
    ask(&fake, &dir, &[]).run().assert(2, SAID_DOWN);
    // It asks only now.
    go.send(()).unwrap();
    slow.wait().assert(0, RECOVERED);
    ask(&fake, &dir, &[]).run().assert(0, UP);
}

#[test]
#[ignore = "needs strace"]
fn timed_an_old_503_does_not_open_an_outage_after_the_answer_of_an_overlapping_run() {
    let (fake, _told, _go) = scripted(vec![Turn::Up, Turn::Down, Turn::Up, Turn::Up]);
    let dir = TempDir::new();
    ask(&fake, &dir, &[]).run().assert(0, UP);
    let lock = dir.join("orders.json.lock");
    let slow = tampered(ask(&fake, &dir, &[]), "flock", "delay_enter=1000000", &[&lock]).spawn();
    wait_for("it is about to lock", || {
        waits_for_the_lock(child_of(slow.pid())?).then_some(())
    });
    ask(&fake, &dir, &[]).run().assert(0, UP);
    slow.wait().assert(
        0,
        "NATS_SERVICE OK - orders: 1 instance, seen by an overlapping run | instances=1;;;0; rtt_max=U *",
    );
    ask(&fake, &dir, &[]).run().assert(0, UP);
}

/// Fifty runs at once, while the service dies under them, and again while it comes back.
#[test]
#[ignore = "needs nats-server"]
fn overlapping_runs_lose_no_outage() {
    let bench = Bench::new();
    let service = bench.start(3);
    let up = |out: &Output| out.code == Some(0) && out.stdout.starts_with("NATS_SERVICE OK - orders: ");
    let down = |out: &Output| {
        let text = out
            .stdout
            .strip_prefix("NATS_SERVICE CRITICAL - orders: ")
            .unwrap_or_default();
        out.code == Some(2) && (text.starts_with("down, no responders, ") || text.starts_with("still down for "))
    };
    // Asked once only, a run may be silent for long: when its request is in the hands of an instance that dies.
    let spawn = |number: usize| -> Vec<_> {
        let check = || {
            Check::new([
                "-s",
                &bench.server.url(),
                "-n",
                "orders",
                "--confirm",
                "50ms",
                "--stall",
                "100ms",
            ])
        };
        let check = || check().args(["--state", &bench.path("")]);
        (0..number).map(|_| check().spawn()).collect()
    };
    for out in spawn(50).into_iter().map(|run| run.wait()) {
        assert!(up(&out) && out.stderr.is_empty(), "{out:?}");
    }
    let mut runs = spawn(25);
    service.kill();
    runs.extend(spawn(25));
    let outs: Vec<Output> = runs.into_iter().map(|run| run.wait()).collect();
    for out in &outs {
        assert!((up(out) || down(out)) && out.stderr.is_empty(), "{out:?}");
    }
    bench.server.wait_for_instances("orders", 0);
    bench
        .check()
        .run()
        .assert(2, "NATS_SERVICE CRITICAL - orders: *down*, no responders, *");
    let memory = bench.memory();
    assert_eq!(memory["epoch"]["count"], 0);
    let before = &memory["outage"]["last_seen"]["count"];
    assert!((1..=3).contains(&before.as_u64().unwrap()), "{before}");
    assert!(memory["history"].as_array().unwrap().len() <= 32);
    assert_eq!(bench.files(), ["orders.json", "orders.json.lock"]);

    let runs = spawn(25);
    let _service = Service::async_nats(&bench.server.url(), "orders").count(3).start();
    for out in runs.into_iter().chain(spawn(25)).map(|run| run.wait()) {
        assert!((up(&out) || down(&out)) && out.stderr.is_empty(), "{out:?}");
    }
    bench.server.wait_for_instances("orders", 3);
    let out = bench.check().run();
    assert!(up(&out), "{out:?}");
    assert_eq!(bench.memory()["outage"], Value::Null);

    // One by one, each of them is an epoch of its own.
    for _ in 0..33 {
        assert!(up(&bench.check().run()));
    }
    let memory = bench.memory();
    let history = memory["history"].as_array().unwrap();
    assert_eq!((history.len(), &history[31]["at"]), (32, &memory["epoch"]["at"]));
}
