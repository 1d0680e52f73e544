//! `watch`: the sidecar, with a metrics file and a status file.

use std::fmt::Debug;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::check::BINARY;
use super::{LIMIT, SLACK, TempDir, assert_took, process, wait_for};

/// Time after a signal for which it may still run.
pub const GRACE: Duration = Duration::from_millis(100);

/// A sidecar under way. Its outputs go to files, which can be looked at meanwhile. Killed on drop.
pub struct Sidecar {
    pub child: Child,
    pub dir: TempDir,
}

impl Sidecar {
    pub fn start(server: &str, flags: &[&str]) -> Sidecar {
        Sidecar::start_under(&[], server, flags)
    }

    pub fn start_under(under: &[&str], server: &str, flags: &[&str]) -> Sidecar {
        let dir = TempDir::new();
        let files = [dir.join("orders.prom"), dir.join("orders.json")];
        Sidecar::start_writing(dir, files, under, server, flags)
    }

    /// With these paths of the textfile and the status file.
    pub fn start_writing(dir: TempDir, files: [String; 2], under: &[&str], server: &str, flags: &[&str]) -> Sidecar {
        let file = |name| fs::File::create(dir.join(name)).unwrap();
        let mut words = under.to_vec();
        let [textfile, status] = files;
        words.extend([BINARY, "watch", "-s", server, "-n", "orders", "--textfile", &textfile]);
        words.extend(["--status-file", &status]);
        words.extend(flags);
        let mut command = process::command(words[0]);
        command
            .args(&words[1..])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(file("stdout"))
            .stderr(file("stderr"));
        Sidecar {
            child: process::spawn(command),
            dir,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("stderr")).unwrap()
    }

    /// The lines of the log, without their times, and without the one at the start.
    #[track_caller]
    pub fn lines(&self) -> Vec<String> {
        let strip = |line: &str| {
            let (time, text) = line.split_once(' ').unwrap_or_else(|| panic!("{line}"));
            // RFC 3339 with milliseconds.
            assert!(time.len() == 24 && time.ends_with('Z') && time.contains('T'), "{line}");
            text.to_owned()
        };
        let mut lines: Vec<String> = self.log().lines().map(strip).collect();
        assert!(lines[0].contains(" watches orders, "), "{lines:?}");
        lines.remove(0);
        lines
    }

    #[track_caller]
    pub fn wait_for_line(&self, text: &str) {
        wait_for(text, || self.log().contains(text).then_some(()));
    }

    /// The status file, which is whole whenever it is there.
    pub fn status(&self) -> Option<Value> {
        let text = fs::read_to_string(self.dir.join("orders.json")).ok()?;
        Some(serde_json::from_str(&text).unwrap_or_else(|e| panic!("not whole: {e}: {text}")))
    }

    #[track_caller]
    pub fn wait_for_status(&self, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let mut seen = None;
        wait_for(what, || {
            // It can be large, and is read again when it was replaced.
            let file = fs::metadata(self.dir.join("orders.json")).ok()?;
            let file = Some((file.ino(), file.mtime(), file.mtime_nsec()));
            if std::mem::replace(&mut seen, file) == file {
                return None;
            }
            self.status().filter(&condition)
        })
    }

    /// Waits until another check has ended.
    #[track_caller]
    pub fn wait_for_the_next(&self) -> Value {
        let before = self.status().map(|status| status["time"].clone());
        self.wait_for_status("another check", |status| Some(&status["time"]) != before.as_ref())
    }

    pub fn signal(&self, signal: i32) {
        process::signal(self.child.id(), signal);
    }

    /// The running check, if there is one.
    pub fn check(&self) -> Option<i32> {
        let pid = self.child.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
        children.split_whitespace().next()?.parse().ok()
    }

    /// Ends it, and looks at what it leaves behind. Returns its log.
    #[track_caller]
    pub fn end(mut self, signal: i32) -> String {
        let (sent, queued) = (Instant::now(), process::queued(&self.child));
        self.signal(signal);
        assert!(process::ends(self.child.id(), LIMIT), "it ends");
        let queued = process::queued(&self.child).saturating_sub(queued);
        let took = sent.elapsed().saturating_sub(queued);
        let status = process::wait(&mut self.child, LIMIT).expect("it has ended");
        assert_eq!(status.code(), Some(0), "{status:?}: {}", self.log());
        assert_took(took, GRACE + SLACK, &self.log());
        assert_eq!(fs::read_to_string(self.dir.join("stdout")).unwrap(), "");
        self.assert_whole();
        self.log()
    }

    /// Whole files or none, and no others.
    #[track_caller]
    pub fn assert_whole(&self) {
        self.status();
        if let Ok(text) = fs::read_to_string(self.dir.join("orders.prom")) {
            assert!(text.starts_with("# HELP ") && text.ends_with('\n'), "{text}");
            assert!(text.contains("nats_service_probe_timestamp_seconds{"), "{text}");
        }
        let names = fs::read_dir(self.dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
        names.retain(|name| !["stdout", "stderr", "orders.prom", "orders.json"].contains(&name.as_str()));
        assert!(names.is_empty(), "left behind: {names:?}");
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        process::kill(&mut self.child);
    }
}

/// The least of many looks: a check under way takes more, a leak is in each.
pub fn at_rest<T: Ord>(look: impl Fn() -> T) -> T {
    let looks = (0..200).map(|_| {
        thread::sleep(Duration::from_millis(1));
        look()
    });
    looks.min().unwrap()
}

/// Waits for a look that is this at most. On a busy machine a check is nearly always under way.
#[track_caller]
pub fn wait_for_rest<T: Ord + Debug>(most: &T, look: impl Fn() -> T) -> T {
    let start = Instant::now();
    loop {
        let now = look();
        if now <= *most {
            return now;
        }
        assert!(start.elapsed() < LIMIT, "{now:?}, and not {most:?} at most as before");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Memory that a process has at this moment, in KiB.
pub fn memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
