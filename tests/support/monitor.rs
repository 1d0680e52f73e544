//! A monitoring system that asks for one service again and again, and remembers.

use std::ffi::OsStr;

use super::{Check, TempDir};

/// The same question at every run, with one state.
pub struct Monitor {
    server: String,
    service: String,
    login: Vec<String>,
    home: TempDir,
    state_dir: Option<String>,
}

impl Monitor {
    /// Asks for `orders`, and keeps the state where it is kept without a word from the user.
    pub fn new(server: impl Into<String>) -> Monitor {
        Monitor {
            server: server.into(),
            service: "orders".into(),
            login: Vec::new(),
            home: TempDir::new(),
            state_dir: None,
        }
    }

    pub fn service(mut self, service: &str) -> Monitor {
        self.service = service.into();
        self
    }

    /// With these flags in every run; the user is a part of the question.
    pub fn login(mut self, flags: &[&str]) -> Monitor {
        self.login = flags.iter().map(|flag| flag.to_string()).collect();
        self
    }

    /// Keeps the state in a folder of its own, with `--state-dir`.
    pub fn state_dir(mut self) -> Monitor {
        self.state_dir = Some(self.home.join("state"));
        self
    }

    /// The usual run, with these flags besides.
    pub fn check(&self, flags: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Check {
        self.ask(&[]).args(flags)
    }

    /// `state show` or `state reset`.
    pub fn state(&self, what: &str) -> Check {
        self.ask(&["state", what])
    }

    /// Returns the lines of `state show` about the last answer, the outage and the instances. They do not change with time.
    #[track_caller]
    pub fn epoch(&self) -> String {
        let shown = self.state("show").run();
        assert_eq!((shown.code, shown.stderr.as_str()), (Some(0), ""), "{shown:?}");
        let of_the_epoch = |line: &&str| {
            [
                "last answer ",
                "  ",
                "outage ",
                "no outage",
                "last seen ",
                "last full count",
                "check ",
            ]
            .iter()
            .any(|start| line.starts_with(start))
        };
        let lines: Vec<String> = shown.stdout.lines().filter(of_the_epoch).map(without_age).collect();
        lines.join("\n")
    }

    /// Another command about the same service. Most have the state of `check`; `probe` has none.
    pub fn ask(&self, command: &[&str]) -> Check {
        let check = Check::new(command)
            .args(["-s", &self.server, "-n", &self.service])
            .args(&self.login)
            .home(&self.home);
        match &self.state_dir {
            Some(dir) => check.args(["--state-dir", dir]),
            None => check,
        }
    }
}

/// `… (1.5s ago)…` without what is in the brackets.
fn without_age(line: &str) -> String {
    match (line.find(" ("), line.find(" ago)")) {
        (Some(start), Some(end)) => format!("{}{}", &line[..start], &line[end + " ago)".len()..]),
        _ => line.to_owned(),
    }
}

#[test]
fn ages_are_left_out() {
    assert_eq!(without_age("outage since T (1.5s ago)"), "outage since T");
    assert_eq!(
        without_age("last answer T (2m 3s ago), 3 instances"),
        "last answer T, 3 instances"
    );
    assert_eq!(without_age("no outage"), "no outage");
}
