//! Runs the command under test as a monitoring system would, and looks at all that came out.

use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::{LIMIT, TempDir, process};

/// The debug build of the program under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_check_nats_service");

/// The program under test: `CHECK_NATS_SERVICE`, the release build in the timed tests, else the debug build.
pub fn binary() -> &'static str {
    static PATH: once_cell::sync::OnceCell<String> = once_cell::sync::OnceCell::new();
    PATH.get_or_init(|| std::env::var("CHECK_NATS_SERVICE").unwrap_or_else(|_| BINARY.to_owned()))
}

/// A copy of a program in a folder that every user can reach: the original may lie below a private home. The folder, and the
/// path of the copy.
pub fn published(program: &str) -> (TempDir, String) {
    let dir = TempDir::new();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let copy = dir.join(Path::new(program).file_name().unwrap().to_str().unwrap());
    fs::hard_link(program, &copy)
        .or_else(|_| fs::copy(program, &copy).map(drop))
        .unwrap();
    (dir, copy)
}

/// Is a part of each password and token in the tests that is to be kept.
pub const SECRET: &str = "s3cret";

/// A run to be: of the program under test unless said otherwise, with an environment of PATH and HOME only, stdin empty.
pub struct Check {
    words: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    home: Option<PathBuf>,
    cwd: Option<PathBuf>,
    uid: Option<u32>,
    stdout: Option<Stdio>,
    limit: Duration,
}

impl Check {
    pub fn new(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Check {
        Check::program(binary(), args)
    }

    /// Another program, in the same isolation.
    pub fn program(program: &str, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Check {
        Check {
            words: Vec::new(),
            env: Vec::new(),
            home: None,
            cwd: None,
            uid: None,
            stdout: None,
            limit: Duration::from_secs(120),
        }
        .arg(program)
        .args(args)
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Check {
        self.words.push(arg.as_ref().to_owned());
        self
    }

    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Check {
        self.words.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Check {
        self.env.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// HOME. Without it each run has a new empty one, so that nothing is remembered.
    pub fn home(mut self, home: &TempDir) -> Check {
        self.home = Some(home.path().to_owned());
        self
    }

    pub fn cwd(mut self, dir: impl AsRef<Path>) -> Check {
        self.cwd = Some(dir.as_ref().to_owned());
        self
    }

    /// As another user, and the group of the same number; HOME is given to them, and the program under test is where they can
    /// reach it. Needs root.
    pub fn uid(mut self, uid: u32) -> Check {
        self.uid = Some(uid);
        self
    }

    /// Runs it by another command, such as `["strace", "-f", "-o", "trace"]`.
    pub fn under(mut self, words: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Check {
        self.words
            .splice(0..0, words.into_iter().map(|word| word.as_ref().to_owned()));
        self
    }

    /// Runs it by strace, which tampers with its system calls on these paths; without paths, with all of them.
    pub fn tampered(self, calls: &str, how: &str, paths: &[&str]) -> Check {
        let (trace, inject) = (format!("trace={calls}"), format!("inject={calls}:{how}"));
        let strace = ["strace", "-f", "-qqq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
        let paths = paths.iter().flat_map(|path| ["-P", path]);
        self.under(strace.into_iter().chain(paths))
    }

    /// Sends stdout elsewhere: a closed pipe, /dev/full. [`Output::stdout`] is empty then.
    pub fn stdout(mut self, stdout: impl Into<Stdio>) -> Check {
        self.stdout = Some(stdout.into());
        self
    }

    /// A run that takes longer is killed, and a panic. 120 s unless set: on a busy machine much takes long.
    pub fn limit(mut self, limit: Duration) -> Check {
        self.limit = limit;
        self
    }

    #[track_caller]
    pub fn run(self) -> Output {
        self.spawn().wait()
    }

    #[track_caller]
    pub fn spawn(mut self) -> Running {
        let public = self.uid.map(|_| self.publish());
        let fresh_home = TempDir::new();
        let home = self.home.as_deref().unwrap_or(fresh_home.path());
        let mut command = process::command(&self.words[0]);
        command
            .args(&self.words[1..])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", home)
            .envs(self.env)
            .current_dir(self.cwd.as_deref().unwrap_or(Path::new("/")))
            // A group of its own, so that all of it can be killed, and a signal to it does not reach the tests.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(self.stdout.unwrap_or_else(Stdio::piped))
            .stderr(Stdio::piped());
        if let Some(uid) = self.uid {
            std::os::unix::fs::chown(home, Some(uid), Some(uid)).expect("uid() needs root");
            command.uid(uid).gid(uid);
        }
        let start = Instant::now();
        let mut child = process::spawn(command);
        Running {
            text: format!("{:?}", self.words),
            stdout: child.stdout.take().map(read),
            stderr: child.stderr.take().map(read),
            child,
            start,
            limit: self.limit,
            _dirs: (fresh_home, public),
        }
    }

    /// Puts the program under test into a folder that everybody can read: the one that it was built in may be private.
    fn publish(&mut self) -> TempDir {
        let (dir, copy) = published(binary());
        for word in self.words.iter_mut().filter(|word| *word == binary()) {
            *word = (&copy).into();
        }
        dir
    }
}

/// A run under way. Killed on drop.
pub struct Running {
    text: String,
    child: Child,
    stdout: Option<Receiver<Vec<u8>>>,
    stderr: Option<Receiver<Vec<u8>>>,
    start: Instant,
    limit: Duration,
    _dirs: (TempDir, Option<TempDir>),
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    #[track_caller]
    pub fn signal(&self, signal: i32) {
        process::signal(self.child.id(), signal);
    }

    /// Returns `true` if it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        !process::ends(self.child.id(), Duration::ZERO)
    }

    /// Waits, and says how much memory it used at most, in KiB; 0 where it ended before it could be looked at.
    #[track_caller]
    pub fn wait_and_weigh(mut self) -> (Output, u64) {
        let path = format!("/proc/{}/status", self.pid());
        let mut peak = 0;
        while self.is_running() && self.start.elapsed() < self.limit {
            let status = fs::read_to_string(&path).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
            peak = peak.max(kib.unwrap_or(0));
            thread::sleep(Duration::from_millis(1));
        }
        (self.wait(), peak)
    }

    /// Sends a signal, and says how long the run took to end then, without what it stood in the queue for a processor.
    #[track_caller]
    pub fn end(self, signal: i32) -> (Output, Duration) {
        let (sent, queued) = (Instant::now(), process::queued(&self.child));
        self.signal(signal);
        let out = self.wait();
        let took = sent.elapsed().saturating_sub(out.queued.saturating_sub(queued));
        (out, took)
    }

    #[track_caller]
    pub fn wait(mut self) -> Output {
        let left = self.limit.saturating_sub(self.start.elapsed());
        let ended = process::ends(self.child.id(), left);
        let wall = self.start.elapsed();
        let queued = process::queued(&self.child);
        let status = ended.then(|| self.child.wait().unwrap());
        if status.is_none() {
            self.kill_group();
        }
        let text = |pipe: Option<Receiver<Vec<u8>>>| {
            let bytes = pipe.map(|pipe| pipe.recv_timeout(LIMIT).expect("its output ends with it"));
            String::from_utf8(bytes.unwrap_or_default()).expect("its output is UTF-8")
        };
        let (stdout, stderr) = (text(self.stdout.take()), text(self.stderr.take()));
        let Some(status) = status else {
            panic!(
                "killed after {:?}: {}\nstdout: {stdout}\nstderr: {stderr}",
                self.limit, self.text
            );
        };
        let output = Output {
            command: self.text.clone(),
            stdout,
            stderr,
            code: status.code(),
            signal: status.signal(),
            wall,
            queued,
        };
        output.assert_keeps_secrets();
        output.assert_no_semicolon_in_text();
        output
    }

    fn kill_group(&self) {
        // SAFETY: kill has no memory effects; the leader of the group, our child, has not been waited for.
        unsafe { libc::kill(-(self.child.id() as i32), libc::SIGKILL) };
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Without effect when it has been waited for: then there is nothing left of it.
        if self.child.try_wait().unwrap().is_none() {
            self.kill_group();
            process::kill(&mut self.child);
        }
    }
}

/// Reads to the end in a thread: a full pipe would stop the child, and waiting for the end can have a limit.
fn read(mut pipe: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        let _ = sender.send(bytes);
    });
    receiver
}

/// All that came out of a run.
#[derive(Debug)]
pub struct Output {
    pub command: String,
    pub stdout: String,
    pub stderr: String,
    /// `None` when a signal ended it.
    pub code: Option<i32>,
    pub signal: Option<i32>,
    /// From just before the start to the very end of the process.
    pub wall: Duration,
    /// The part of it that the run stood in the queue for a processor.
    pub queued: Duration,
}

impl Output {
    /// Exit code, the whole of stdout (see [`matches`](fn@matches)), and nothing on stderr.
    #[track_caller]
    pub fn assert(self, code: i32, stdout: &str) -> Output {
        self.assert_stderr(code, stdout, "")
    }

    /// The same, for the rare run that may write to stderr.
    #[track_caller]
    pub fn assert_stderr(self, code: i32, stdout: &str, stderr: &str) -> Output {
        if self.code != Some(code) || !matches(stdout, &self.stdout) || !matches(stderr, &self.stderr) {
            panic!(
                "expected code {code}, stdout {stdout:?}, stderr {stderr:?}, but\n{}",
                self.report()
            );
        }
        self
    }

    /// Exit code and the first line of stdout, where more lines follow than a test wants to name.
    #[track_caller]
    pub fn assert_first_line(self, code: i32, line: &str) -> Output {
        let first = self.stdout.lines().next().unwrap_or_default();
        if self.code != Some(code) || !matches(line, first) || !self.stderr.is_empty() {
            panic!("expected code {code}, first line {line:?}, but\n{}", self.report());
        }
        self
    }

    /// The text of a plugin's line has no `;`, which Nagios turns into `:`. Checked for every run.
    #[track_caller]
    fn assert_no_semicolon_in_text(&self) {
        let text = self.first_line().split(" | ").next().unwrap_or_default();
        let broken = text.starts_with("NATS_SERVICE") && text.contains(';');
        assert!(!broken, "a semicolon in the text of the first line:\n{}", self.report());
    }

    /// Shows no seed, no JWT, no private key, and no password or token of a test that has [`SECRET`] in it. Every run is
    /// looked at like this.
    #[track_caller]
    fn assert_keeps_secrets(&self) {
        for text in [&self.stdout, &self.stderr] {
            if let Some(secret) = find_secret(text) {
                panic!("shows the secret {secret:?}:\n{}", self.report());
            }
        }
    }

    /// Returns its duration, without the time that it stood in the queue for a processor: an upper limit is asserted against this
    /// clock, which stands still while others have the machine. When nobody else wants it, it is the one on the wall.
    pub fn own(&self) -> Duration {
        self.wall.saturating_sub(self.queued)
    }

    /// Took less than `limit`, see [`Output::own`] and [`super::is_timed`].
    #[track_caller]
    pub fn assert_within(self, limit: Duration) -> Output {
        super::assert_took(self.own(), limit, &self);
        self
    }

    /// The first line, with the perfdata.
    pub fn first_line(&self) -> &str {
        self.stdout.lines().next().unwrap_or_default()
    }

    /// The value of one of the perfdata, all of which have to be as the guidelines want them. `None`: undetermined.
    #[track_caller]
    pub fn perfdata(&self, label: &str) -> Option<f64> {
        let (_, perfdata) = self
            .first_line()
            .split_once(" | ")
            .unwrap_or_else(|| panic!("no perfdata\n{}", self.report()));
        let mut found = None;
        for item in perfdata.split(' ') {
            let parsed = parse_perfdata(item).unwrap_or_else(|| panic!("{item:?} is no perfdata\n{}", self.report()));
            if parsed.0 == label {
                assert!(found.is_none(), "{label} twice\n{}", self.report());
                found = Some(parsed.1);
            }
        }
        found.unwrap_or_else(|| panic!("no {label} in the perfdata\n{}", self.report()))
    }

    /// Exit code, the first line, and nothing on stderr; whatever stands below the line.
    #[track_caller]
    pub fn assert_first(self, code: i32, line: &str) -> Output {
        let good = self.code == Some(code) && self.stderr.is_empty() && matches(line, self.first_line());
        assert!(
            good,
            "expected code {code}, first line {line:?}, but\n{}",
            self.report()
        );
        self
    }

    /// A line of stdout is as the pattern says, wherever it is.
    #[track_caller]
    pub fn assert_line(self, pattern: &str) -> Output {
        let found = self.stdout.lines().any(|line| line_matches(pattern, line));
        assert!(found, "expected a line {pattern:?}, but\n{}", self.report());
        self
    }

    /// `-v` reports a finding, as in `WARNING slow: TEXT`: the first line has its text, and a line of its own the status and the reason.
    /// Where the first line has no room or no need for the text, both are on that line.
    #[track_caller]
    pub fn assert_finding(self, pattern: &str) -> Output {
        let (head, text) = pattern.split_once(": ").expect("a finding");
        let has = |pattern: &str| self.stdout.lines().skip(1).any(|line| line_matches(pattern, line));
        let found = has(pattern) || has(head) && line_matches(&format!("*{text}*"), self.first_line());
        assert!(found, "expected the finding {pattern:?}, but\n{}", self.report());
        self
    }

    fn report(&self) -> String {
        let Output {
            command,
            stdout,
            stderr,
            code,
            signal,
            wall,
            queued,
        } = self;
        format!(
            "{command}\ncode {code:?}, signal {signal:?}, {wall:?}, in the queue {queued:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}\n---"
        )
    }
}

/// Length of a NUID, in characters.
const ID_LENGTH: usize = 22;

/// The first thing in a text that must not be shown.
pub fn find_secret(text: &str) -> Option<&str> {
    let is_seed = |word: &str| {
        let seed = word.starts_with(['S', 'P']) && word.len() > 50;
        seed && word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
    };
    let mut words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'));
    // What JWTs begin with, and keys in PEM form, both in base64; and by chance the id of an instance may.
    let is_encoded = |word: &str| (word.starts_with("eyJ") || word.starts_with("MIG")) && word.len() != ID_LENGTH;
    words.find(|word| word.contains(SECRET) || is_encoded(word) || is_seed(word))
}

/// `label=value[s|%|c];warn;crit;min;max`, or `label=U`.
fn parse_perfdata(item: &str) -> Option<(&str, Option<f64>)> {
    let (label, value) = item.split_once('=')?;
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if label.is_empty() || !label.chars().all(good) {
        return None;
    }
    if value == "U" {
        return Some((label, None));
    }
    let parts: Vec<_> = value.split(';').collect();
    let [value, _warning, _critical, "0", most] = parts[..] else {
        return None;
    };
    let number = value.trim_end_matches(|c: char| "s%c".contains(c));
    if !matches!((&value[number.len()..], most), ("" | "s" | "c", "") | ("%", "100")) {
        return None;
    }
    let plain = number.chars().all(|c| c.is_ascii_digit() || c == '.');
    Some((label, Some(number.parse().ok().filter(|_| plain)?)))
}

/// Returns `true` if a text matches a pattern, from begin to end: `*` stands for anything, or nothing, within a line. Line ends
/// at the end of either do not count.
pub fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<_> = pattern.trim_end_matches('\n').split('\n').collect();
    let text: Vec<_> = text.trim_end_matches('\n').split('\n').collect();
    pattern.len() == text.len()
        && pattern
            .iter()
            .zip(text)
            .all(|(pattern, line)| line_matches(pattern, line))
}

fn line_matches(pattern: &str, line: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else {
        return pattern == line;
    };
    let Some(mut rest) = line.strip_prefix(head) else {
        return false;
    };
    // The first place for each part in the middle is as good as any later one; the last part has to be at the end.
    let mut parts: Vec<_> = tail.split('*').collect();
    let last = parts.pop().unwrap();
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Check {
        Check::program("sh", ["-c", script])
    }

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "\n", true),
            ("", "a", false),
            ("a b", "a b\n", true),
            ("a b", "a  b", false),
            ("a*", "a", true),
            ("a*", "abc", true),
            ("a*", "ba", false),
            ("*a", "ba", true),
            ("*a", "ab", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "a1b2cd", false),
            ("a*bc*bc", "abcbc", true),
            ("a*bc*bc", "abc", false),
            ("a*", "a\nb", false),
            ("a*\n*", "a\nb", true),
            ("a\n*", "a", false),
            (
                "NATS_SERVICE OK - orders: 3 instances, slowest answer * | instances=3;;;0; *",
                "NATS_SERVICE OK - orders: 3 instances, slowest answer 1.2ms | instances=3;;;0; rtt_max=0.001204s;;;0;\n",
                true,
            ),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern:?} {text:?}");
        }
    }

    #[test]
    fn secrets_are_found() {
        let seed = nkeys::KeyPair::new_user().seed().unwrap();
        for shown in [
            "password=s3cret!",
            "nats://mon:s3cret-2@host",
            r#"{"jwt":"eyJ0eXAiOiJKV1QifQ.e30.x"}"#,
            &rcgen::KeyPair::generate().unwrap().serialize_pem(),
            &format!("seed {seed}."),
        ] {
            assert!(find_secret(shown).is_some(), "{shown}");
            let panic = std::panic::catch_unwind(|| sh("echo \"$TEXT\" >&2").env("TEXT", shown).run()).unwrap_err();
            assert!(panic.downcast_ref::<String>().unwrap().contains("shows the secret"));
        }
        let public = nkeys::KeyPair::new_user().public_key();
        for fine in ["secret", "keyJ", &public, "SHA256 SUPER", "eyJXLLyNnQZInSDo4J9hNX"] {
            assert_eq!(find_secret(fine), None);
        }
    }

    #[test]
    fn perfdata_are_read() {
        for (item, expected) in [
            ("instances=3;3:;1:;0;", Some(("instances", Some(3.0)))),
            ("rtt_max=0.001204s;;;0;", Some(("rtt_max", Some(0.001_204)))),
            ("rtt_max=U", Some(("rtt_max", None))),
            ("=3;;;0;", None),
            ("Instances=3;;;0;", None),
            ("instances=3", None),
            ("instances=NaN;;;0;", None),
            ("instances=-1;;;0;", None),
            ("instances=3;;;0;;", None),
            ("", None),
        ] {
            assert_eq!(parse_perfdata(item), expected, "{item}");
        }
        let out = sh("echo 'X OK - a | b=1;;;0; c=U'; echo d").run();
        assert_eq!(out.first_line(), "X OK - a | b=1;;;0; c=U");
        assert_eq!((out.perfdata("b"), out.perfdata("c")), (Some(1.0), None));
        for label in ["d", "b=1"] {
            assert!(std::panic::catch_unwind(|| out.perfdata(label)).is_err(), "{label}");
        }
        assert!(std::panic::catch_unwind(|| sh("echo a").run().assert_line("b*")).is_err());
        sh("echo a; echo b").run().assert_line("b*").assert_first(0, "a*");
        for (script, code, line) in [
            ("echo a", 1, "a"),
            ("echo a; echo b", 0, "b"),
            ("echo a; echo b >&2", 0, "a"),
        ] {
            assert!(
                std::panic::catch_unwind(|| sh(script).run().assert_first(code, line)).is_err(),
                "{script}"
            );
        }
    }

    #[test]
    fn a_run_is_isolated() {
        let out = sh("env | grep -v -e ^PWD= -e ^PATH= -e ^SHLVL= -e ^_=; ls -A ~; cat")
            .env("A", "b")
            .run();
        let lines: Vec<_> = out.stdout.lines().collect();
        assert_eq!(lines.len(), 2, "{out:?}");
        assert!(lines.contains(&"A=b"));
        let home = lines.iter().find_map(|line| line.strip_prefix("HOME=")).unwrap();
        assert!(!Path::new(home).exists(), "it goes after the run");

        let home = TempDir::new();
        sh("echo hello > ~/file").home(&home).run().assert(0, "");
        sh("cat ~/file; pwd")
            .home(&home)
            .cwd(home.path())
            .run()
            .assert(0, &format!("hello\n{}", home.path().display()));
    }

    #[test]
    fn an_output_is_all_of_it() {
        sh("echo one; echo two; exit 2").run().assert(2, "one\nt*");
        let out = sh("echo no >&2; head -c 1000000 /dev/zero | tr '\\0' x; kill -9 $$").run();
        assert_eq!(
            (out.stdout.len(), out.stderr.as_str(), out.code, out.signal),
            (1_000_000, "no\n", None, Some(9))
        );
        let panic = std::panic::catch_unwind(|| sh("echo no >&2").run().assert(0, "")).unwrap_err();
        assert!(panic.downcast_ref::<String>().unwrap().contains("--- stderr\nno"));
        assert_eq!(
            sh("exec true")
                .stdout(std::fs::File::create("/dev/null").unwrap())
                .run()
                .stdout,
            ""
        );
    }

    #[test]
    fn the_wall_time_is_that_of_the_process() {
        let out = sh("sleep 0.2").run();
        assert!(out.wall >= Duration::from_millis(200), "{out:?}");
        out.assert_within(Duration::from_secs(5));
    }

    #[test]
    fn the_clock_of_a_run_stands_still_while_others_have_the_processor() {
        // More than there are processors: each stands in the queue.
        let busy = "n=0; while [ $n -lt 100000 ]; do n=$((n + 1)); done";
        let processors = thread::available_parallelism().unwrap().get();
        let runs: Vec<_> = (0..4 * processors).map(|_| sh(busy).spawn()).collect();
        for run in runs {
            let out = run.wait().assert(0, "");
            assert!(
                out.queued > Duration::ZERO && out.own() == out.wall - out.queued,
                "{out:?}"
            );
        }
        // One that sleeps is not in the queue.
        let out = sh("sleep 0.3").run();
        assert!(out.own() >= Duration::from_millis(250), "{out:?}");
    }

    #[test]
    fn a_run_that_does_not_end_is_killed() {
        let start = Instant::now();
        let run = || {
            sh("echo so far; sleep 60; echo never")
                .limit(Duration::from_millis(300))
                .run()
        };
        let panic = std::panic::catch_unwind(run).unwrap_err();
        let text = panic.downcast_ref::<String>().unwrap();
        assert!(text.contains("so far") && !text.contains("never\n"), "{text}");
        assert!(start.elapsed() < LIMIT);
    }

    #[test]
    fn a_run_can_be_signalled() {
        let dir = TempDir::new();
        let ready = dir.join("ready");
        let mut running = sh(&format!(
            "trap 'echo bye; exit 3' TERM; touch {ready}; while :; do sleep 0.01; done"
        ))
        .spawn();
        super::super::wait_for("the trap is set", || Path::new(&ready).exists().then_some(()));
        assert!(running.is_running());
        running.signal(libc::SIGTERM);
        running.wait().assert(3, "bye");
    }

    #[test]
    fn a_run_can_be_another_user_s() {
        if !super::super::is_root() {
            return;
        }
        let script = "id -u; id -g; id -G; touch ~/mine";
        sh(script).uid(65534).run().assert(0, "65534\n65534\n65534");
        let home = TempDir::new();
        sh(script).uid(65534).home(&home).run().assert(0, "65534\n65534\n65534");
    }

    #[test]
    fn a_run_can_be_under_another_command() {
        sh("echo $A").under(["env", "A=1"]).run().assert(0, "1");
    }

    #[test]
    fn the_program_under_test_runs() {
        Check::new(["--version"]).run().assert(0, "check_nats_service *");
    }
}
