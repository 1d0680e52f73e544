//! The cost of a run, compared with other programs: whole processes, run in turn since machines are noisy. Prints Markdown.
//!
//! tests/bench/run.sh builds and gets all that this needs, and says what to compare.

#[path = "../support/mod.rs"]
mod support;

mod rate;
mod table;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use support::jwt::{Account, Operator, User};
use support::server::free_port;
use support::{Certs, Crowd, Program, Server, Service, TempDir, Version, from_env, process, wait_for};
use table::{Row, Table};

/// Numbers of instances to measure. Up to 10 they are real services; from 100 on a crowd on one connection.
const SIZES: [usize; 5] = [1, 10, 100, 1000, 10_000];

/// One of the builds of ours to measure: a name and a path.
struct Build {
    name: String,
    path: String,
}

/// Where everything is.
struct Bench {
    runs: usize,
    builds: Vec<Build>,
    /// Has the programs to compare with, as run.sh built them.
    others: PathBuf,
    /// The states, and whatever is written.
    dir: TempDir,
}

/// A part of what is measured.
type Section = fn(&Bench);

fn main() {
    // `cargo bench` adds flags of its own.
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let runs = args.next().and_then(|runs| runs.parse().ok()).unwrap_or(200);
    let builds = args.map(|arg| {
        let (name, path) = arg.split_once('=').expect("NAME=PATH");
        Build {
            name: name.to_owned(),
            path: path.to_owned(),
        }
    });
    let bench = Bench {
        runs,
        builds: builds.collect(),
        others: from_env("BENCH_PROGRAMS").into(),
        dir: TempDir::new_in(from_env("BENCH_DIR")),
    };
    println!("# What a run costs\n\n{}\n", machine());
    bench.sizes();
    let sections: [(&str, Section); 6] = [
        ("usual", Bench::usual),
        ("instances", Bench::instances),
        ("down", Bench::down),
        ("refused", Bench::refused),
        ("logins", Bench::logins),
        ("rate", Bench::rate),
    ];
    let wanted = std::env::var("BENCH_ONLY").unwrap_or_default();
    for (name, section) in sections {
        if wanted.is_empty() || wanted.split(',').any(|word| word == name) {
            section(&bench);
        }
    }
}

/// Returns the description of the machine.
fn machine() -> String {
    let says = |words: &[&str]| {
        let output = Command::new(words[0]).args(&words[1..]).output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        text.unwrap_or_default().trim().to_owned()
    };
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!(
        "{} × {}, Linux {}, {}; load at the start {}",
        says(&["nproc"]),
        model.map_or("?", |(_, model)| model),
        says(&["uname", "-r"]),
        says(&["rustc", "--version"]),
        load.split(' ').next().unwrap_or_default(),
    )
}

impl Bench {
    fn sizes(&self) {
        println!("## Size\n\n| program | bytes |\n|---|---|");
        let others = ["empty", "empty-static", "floor", "floor-static"].map(|name| Build {
            name: name.replace('-', ", "),
            path: self.other(name),
        });
        for build in self.builds.iter().chain(&others) {
            let size = fs::metadata(&build.path).map_or(0, |file| file.len());
            println!("| {} | {size} |", build.name);
        }
        println!();
    }

    fn other(&self, name: &str) -> String {
        self.others.join(name).to_str().expect("UTF-8").to_owned()
    }

    /// Returns the programs to compare with: the first one does no more than it must, and is what the others are compared with;
    /// the others do less.
    fn yardsticks(&self, server: u16, service: &str, count: usize) -> Vec<Row> {
        let address = format!("127.0.0.1:{server}");
        let count = count.to_string();
        let floor = |name: &str| Program::new([&self.other(name), &address, service, &count]);
        vec![
            Row::new("socket floor", floor("floor")),
            Row::new("socket floor, static", floor("floor-static")),
            Row::new("check_tcp", check_tcp(server)),
        ]
    }

    fn empty(&self) -> [Row; 2] {
        [("empty", "empty"), ("empty, static", "empty-static")]
            .map(|(name, file)| Row::new(name, Program::new([self.other(file)])))
    }

    /// A run of each build, once its state is known.
    fn builds(&self, what: &str, words: &[&str], url: &str, service: &str) -> Vec<Row> {
        let row = |build: &Build| {
            let program = self.program(build, words, url, service);
            for _ in 0..2 {
                // The second one is usual. An outage that is known has another code.
                let _ = program.run();
            }
            Row::new(format!("{}{what}", build.name), program)
        };
        self.builds.iter().map(row).collect()
    }

    fn program(&self, build: &Build, words: &[&str], url: &str, service: &str) -> Program {
        let state = self.dir.join(&format!(
            "{}-{}-{service}",
            build.name,
            words.concat().replace('/', "-")
        ));
        let keeps = !words.contains(&"--no-state") && words.first() != Some(&"probe");
        let program = Program::new([&build.path]).args(words).args(["-s", url, "-n", service]);
        match keeps {
            true => program.args(["--state-dir", &state]),
            false => program,
        }
    }

    /// Three instances, plain, all of them known: what an interval costs.
    fn usual(&self) {
        let server = Server::start(Version::Newest);
        let url = server.url();
        let service = Service::async_nats(&url, "orders").count(3).start();
        let mut rows = self.yardsticks(server.port(), "orders", 3);
        rows.extend(self.empty());
        rows.extend(self.builds("", &[], &url, "orders"));
        rows.extend(self.builds(" --no-state", &["--no-state", "--stall", "1ms"], &url, "orders"));
        rows.extend(self.builds(" --stats", &["--stats"], &url, "orders"));
        let file = self.dir.join("orders.prom");
        rows.extend(self.builds(" textfile", &["textfile", "-o", &file], &url, "orders"));
        let probe = ["probe", "liveness", "--id", &service.ids()[0]];
        rows.extend(self.builds(" probe", &probe, &url, "orders"));
        let status = self.status_file(&url);
        rows.extend(self.builds.iter().map(|build| {
            let from = ["--any-instance", "--from", &status, "--max-age", "24h"];
            let program = Program::new([&build.path, "probe", "liveness", "-n", "orders"]).args(from);
            Row::new(format!("{} probe --from", build.name), program)
        }));
        rows.push(self.nats_py(&url, "orders", 3));
        Table::new("Up, 3 instances, state known, plain", self.runs).measure(&rows);
    }

    fn nats_py(&self, url: &str, service: &str, count: usize) -> Row {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bench/nats_py_check.py");
        let words = [&from_env("NATS_PY_PYTHON"), script, url, service, &count.to_string()].map(str::to_owned);
        Row::new("nats-py script", Program::new(words)).slow()
    }

    /// As the sidecar leaves it.
    fn status_file(&self, url: &str) -> String {
        let path = self.dir.join("orders.status");
        let mut command = process::command(&self.builds[0].path);
        command.args([
            "watch",
            "--interval",
            "1h",
            "-s",
            url,
            "-n",
            "orders",
            "--status-file",
            &path,
        ]);
        command
            .args(["--state-dir", &self.dir.join("watch")])
            .stderr(std::process::Stdio::null());
        let mut watch = process::spawn(command);
        wait_for("the status file", || fs::exists(&path).ok().filter(|there| *there));
        process::kill(&mut watch);
        path
    }

    fn instances(&self) {
        for count in SIZES {
            let server = Server::start(Version::Newest);
            let url = server.url();
            let (_service, _crowd);
            if count <= 10 {
                _service = Service::async_nats(&url, "many").count(count).start();
            } else {
                _crowd = Crowd::start(&url, "many", count);
            }
            let mut rows = self.yardsticks(server.port(), "many", count);
            rows.extend(self.builds("", &[], &url, "many"));
            // The statistics of 10,000 are told as a flood.
            if count == 1000 {
                rows.extend(self.builds(" --stats", &["--stats"], &url, "many"));
            }
            if count == 100 {
                rows.push(self.nats_py(&url, "many", count));
            }
            let runs = match count {
                ..1000 => self.runs,
                1000 => self.runs.div_ceil(4),
                _ => self.runs.div_ceil(10),
            };
            Table::new(format!("Up, {count} instance(s), state known"), runs).measure(&rows);
        }
    }

    /// An outage that is known. Ours asks once more, 50 ms later; the others do not.
    fn down(&self) {
        let server = Server::start(Version::Newest);
        let url = server.url();
        let service = Service::async_nats(&url, "gone").count(3).start();
        self.builds("", &[], &url, "gone");
        service.stop();
        server.wait_for_instances("gone", 0);
        let mut rows = self.yardsticks(server.port(), "gone", 3);
        rows.extend(self.builds("", &[], &url, "gone"));
        let rows = ending(rows, 0, 2);
        Table::new("Down, the outage known", self.runs).measure(&rows);
    }

    fn refused(&self) {
        let port = free_port();
        let url = format!("nats://127.0.0.1:{port}");
        let mut rows = self.yardsticks(port, "orders", 3);
        rows.extend(self.builds("", &[], &url, "orders"));
        let rows = ending(rows, 2, 3);
        Table::new("NATS refuses the connection", self.runs).measure(&rows);
    }

    /// The same question, plain, over TLS, and with a JWT.
    fn logins(&self) {
        let certs = Certs::new();
        let plain = Server::start(Version::Newest);
        let tls = Server::with_config(Version::Newest, &certs.config("server", ""));
        let (operator, account) = (Operator::new(), Account::new("APP"));
        let jwt = Server::with_config(Version::Newest, &operator.config(&[&account]));
        let creds = self.dir.join("mon.creds");
        fs::write(&creds, account.creds(&User::new("mon"))).expect("a credentials file");
        let ca = certs.path("ca.pem");
        let tls_url = tls.url().replace("nats://127.0.0.1", "tls://localhost");
        let _services = [
            Service::async_nats(&plain.url(), "plain").count(3).start(),
            Service::async_nats(&tls_url, "tls").count(3).tlsca(&ca).start(),
            Service::async_nats(&jwt.url(), "jwt").count(3).creds(&creds).start(),
        ];
        let mut rows = self.yardsticks(plain.port(), "plain", 3);
        rows.extend(self.builds(", plain", &[], &plain.url(), "plain"));
        rows.extend(self.builds(", TLS, CA given", &["--tlsca", &ca], &tls_url, "tls"));
        rows.extend(self.builds(", JWT", &["--creds", &creds], &jwt.url(), "jwt"));
        Table::new("Logins, 3 instances, state known", self.runs).measure(&rows);
    }

    fn rate(&self) {
        rate::measure(&self.builds[0].path, &self.dir);
    }
}

/// Rows with the exit code that they should end with: that of `check_tcp`, and that of all others.
fn ending(rows: Vec<Row>, of_check_tcp: i32, of_others: i32) -> Vec<Row> {
    let ends = |row: Row| match row.is_check_tcp() {
        true => row.ends_with(of_check_tcp),
        false => row.ends_with(of_others),
    };
    rows.into_iter().map(ends).collect()
}

fn check_tcp(port: u16) -> Program {
    Program::new([
        "/usr/lib/nagios/plugins/check_tcp",
        "-H",
        "127.0.0.1",
        "-p",
        &port.to_string(),
    ])
}
