//! Every outcome on every server and topology, with services of every client library: a table of what was right.
//!
//! The outcomes are those of section 4 of the specification.
//!
//! The usual run is a sample. `MATRIX=all tests/run.sh matrix -- --nocapture` is the whole of it, which gets the servers between the
//! oldest and the newest as well; `MATRIX=2.12.8` is all of one server.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::support::jwt::{Account, User, now};
use super::support::net::{Net, STREAM, import};
use super::support::service::Builder;
use super::support::{Check, Fake, LIMIT, Monitor, Output, Server, Service, TempDir, Version, raw, wait_for};

/// All servers that can be had, of each line the latest: that of Debian 12, and those of the PyPI package.
const VERSIONS: [Version; 8] = [
    Version::V2_9,
    Version::V2_10,
    Version::Other("2.10.26"),
    Version::Other("2.11.11"),
    Version::Other("2.12.8"),
    Version::Other("2.14.6"),
    Version::Other("2.15.0"),
    Version::Newest,
];

type Start = fn(&str, &str) -> Builder;

const CLIENTS: [(&str, Start); 9] = [
    ("nats-py 2.16", Service::nats_py),
    ("nats-micro 0.0.5 (PyPI)", Service::nats_micro_py),
    ("nats.js 3", Service::nats_js),
    ("nats.js 2.29", Service::nats_js_2),
    ("nats-micro 0.25 (npm)", Service::nats_micro_js),
    ("nats.go 1.22", Service::nats_go),
    ("nats.go 1.41", Service::nats_go_1_41),
    ("async-nats 0.51", Service::async_nats),
    ("nats 0.26 (Rust)", Service::demo),
];

/// The service that has one version only.
const ONE_VERSION: &str = "nats 0.26 (Rust)";

/// Services that fail on request.
const FAILING: [&str; 4] = ["nats-py 2.16", "nats.js 3", "nats.js 2.29", "async-nats 0.51"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Topology {
    One,
    Cluster,
    Leaf,
    Gateway,
    Import,
}

const TOPOLOGIES: [Topology; 5] = [
    Topology::One,
    Topology::Cluster,
    Topology::Leaf,
    Topology::Gateway,
    Topology::Import,
];

/// Whoever says nothing is `app`; `mute` may ask nobody.
const USERS: &str = r#"
no_auth_user: app
authorization { users: [
  {user: app, password: app}
  {user: mute, password: mute, permissions: {publish: {deny: ["$SRV.>"]}}}
] }
"#;

/// Servers, who asks one of them, and services at the other end.
struct Place<'a> {
    version: Version,
    topology: Topology,
    client: &'static str,
    start: Start,
    net: Net,
    monitor: Monitor,
    table: &'a Mutex<Table>,
}

impl Place<'_> {
    fn new(version: Version, topology: Topology, nth: usize, table: &Mutex<Table>) -> Place<'_> {
        let mut net = match topology {
            Topology::One => Net(vec![Server::start(version)]),
            Topology::Cluster => Net::cluster(version, 3),
            Topology::Leaf => Net::leaf(version),
            Topology::Gateway => Net::gateway(version),
            Topology::Import => {
                let config = import(STREAM) + "\nno_auth_user: app\n";
                Net(vec![Server::with_config(version, &config)])
            }
        };
        if topology != Topology::Import {
            for server in &mut net.0 {
                let config = fs::read_to_string(server.dir().join("server.conf")).expect("its configuration");
                server.restart(&(config.replace("nats-leaf://", "nats-leaf://app:app@") + USERS));
            }
        }
        let monitor = Monitor::new(net.0[0].url());
        let monitor = match topology {
            Topology::Import => monitor.login(&["--user", "mon", "--password", "s3cret", "--srv-prefix", "APP.$SRV"]),
            _ => monitor,
        };
        let (client, start) = CLIENTS[nth];
        Place {
            version,
            topology,
            client,
            start,
            net,
            monitor,
            table,
        }
    }

    /// An instance at the other end.
    fn instance(&self) -> Service {
        let far = self.net.0.last().expect("a server");
        (self.start)(&far.url(), "orders").start()
    }

    fn wait_for(&self, instances: usize) {
        self.net.wait_for_instances("orders", instances);
    }

    /// Asserts the verdict of the monitor.
    fn says(&self, row: &str, code: i32, reason: &str, flags: &[&str]) {
        self.compare(row, code, &[reason], self.monitor.check(flags));
    }

    fn compare(&self, row: &str, code: i32, reasons: &[&str], check: Check) {
        self.note(row, code, reasons, check.args(["--format", "json"]).run());
    }

    fn note(&self, row: &str, code: i32, reasons: &[&str], out: Output) {
        let json: Value = serde_json::from_str(&out.stdout).unwrap_or_default();
        let reason = json["reason"].as_str().unwrap_or_default();
        let is_down = |reason: &str| ["service_down", "service_silent"].contains(&reason);
        let right = out.code == Some(code) && reasons.contains(&reason) && out.stderr.is_empty();
        // It stood in the queue for a processor, and says so: that is the machine's.
        if ["interrupted", "nats_unreachable"].contains(&reason) && !right && out.queued > Duration::from_secs(1) {
            self.table.lock().expect("no panic").starved += 1;
            return;
        }
        let wrong = match (is_down(reasons[0]), is_down(reason) && out.code == Some(2)) {
            _ if right => None,
            (false, true) => Some("false alarm"),
            (true, false) => Some("missed outage"),
            _ => Some("wrong"),
        };
        let mut table = self.table.lock().expect("no panic");
        if let Some(wrong) = wrong {
            let Place {
                version,
                topology,
                client,
                ..
            } = self;
            let place = format!("{version:?} {topology:?} {client}");
            let complaint = format!("{wrong}: {place}: {row}: {code} {reasons:?} expected, but {out:?}");
            println!("{complaint}");
            table.complaints.push((wrong, complaint));
        }
        let topology = format!("{:?}", self.topology);
        for (grid, row) in table.grids.iter_mut().zip([row, &topology, self.client]) {
            grid.count(row, name(self.version), right);
        }
    }

    /// Returns `true` if the server reports no responders: through an import, those before 2.10.26 do not.
    fn says_nobody(&self) -> bool {
        let old = [Version::V2_9, Version::V2_10].contains(&self.version);
        !(old && self.topology == Topology::Import)
    }

    fn gone(&self) -> &'static [&'static str] {
        match self.says_nobody() {
            true => &["service_down"],
            false => &["service_silent"],
        }
    }

    /// All that can be said, in the order of a day.
    fn tell_all(&mut self) {
        self.asks_in_vain();
        self.says("service_never_seen", 3, "service_never_seen", &["-t", "5s"]);
        let (one, two) = (self.instance(), self.instance());
        self.wait_for(2);
        self.says("service_up", 0, "service_up", &[]);
        self.says("service_up, all known", 0, "service_up", &[]);
        self.says("instances_out_of_range", 2, "instances_out_of_range", &["-c", "3:"]);
        self.says("slow", 1, "slow", &["--rtt-warning", "1us"]);
        self.says(
            "version_unexpected",
            1,
            "version_unexpected",
            &["--expect-version", "^9"],
        );
        self.says("service_up, no state", 0, "service_up", &["--no-state", "-c", "1:"]);
        let no_folder = ["--state-dir", "/dev/null/state"];
        self.says("state_unusable", 3, "state_unusable", &no_folder);

        self.judges_a_mix();
        self.judges_credentials();
        if self.topology != Topology::Import {
            // The import is of PING alone.
            self.judges_requests();
            let echo = [
                "--subject",
                "orders.echo",
                "--payload",
                "{}",
                "--request-warning",
                "1us",
            ];
            self.says("request_slow", 1, "request_slow", &echo);
            self.says("request_failed", 2, "request_failed", &["--subject", "orders.nobody"]);
        }

        one.kill();
        self.wait_for(1);
        self.says("instances_lost", 1, "instances_lost", &["--lost-warning", "1"]);
        let three = self.instance();
        self.wait_for(2);
        // Where the server does not say that an instance is gone, the restart is presumed.
        let flags = ["--restarts-warning", "1", "--confirm", "0s"];
        self.says("restarts", 1, "restarts", &flags);

        two.freeze();
        three.freeze();
        self.says("service_silent", 2, "service_silent", &["-t", "5s"]);
        self.says("service_silent, still", 2, "service_silent", &["-t", "5s"]);
        two.thaw();
        three.thaw();
        self.wait_for(2);
        self.says("service_recovered, from silence", 0, "service_recovered", &[]);

        self.net.0[0].stop();
        self.says("nats_unreachable", 3, "nats_unreachable", &[]);
        self.net.0[0].start_again();
        self.says("service_up, NATS restarted", 0, "service_up", &[]);
        self.wait_for(2);
        self.says("service_up, after that", 0, "service_up", &[]);

        two.kill();
        three.kill();
        self.wait_for(0);
        let check = || self.monitor.check(["-t", "5s"]);
        self.compare("service_down", 2, self.gone(), check());
        self.compare("service_down, still", 2, self.gone(), check());
        let check = self.monitor.check(["--no-state", "-c", "1:", "-t", "5s"]);
        self.compare("service_down, no state", 2, &["instances_out_of_range"], check);
        self.net.0[0].stop();
        self.says("service_down, NATS away", 2, "service_down", &[]);
        self.net.0[0].start_again();
        self.compare(
            "service_down, NATS back",
            2,
            self.gone(),
            self.monitor.check(["-t", "5s"]),
        );
        let _four = self.instance();
        self.wait_for(1);
        self.says("service_recovered", 0, "service_recovered", &[]);
    }

    /// Asserts the verdicts on two versions at once. They are there for longer than a rollout takes.
    fn judges_a_mix(&self) {
        let far = self.net.0.last().expect("a server");
        let start = if self.client == ONE_VERSION {
            Service::nats_py
        } else {
            self.start
        };
        let new = start(&far.url(), "orders").version("2.0.0").start();
        self.wait_for(3);
        let flags = ["--mixed-versions", "warning", "--baseline-settle", "50ms"];
        self.says("service_up, rollout", 0, "service_up", &flags);
        // The time after which it is no rollout any more.
        thread::sleep(Duration::from_millis(50));
        self.says("versions_mixed", 1, "versions_mixed", &flags);
        new.kill();
        self.wait_for(2);
        self.says("service_up, one version", 0, "service_up", &flags);
    }

    /// Asserts the verdict on a login that ends soon. It is that of the services: the server knows no JWT, and takes it for nobody.
    fn judges_credentials(&self) {
        let dir = TempDir::new();
        let creds = dir.join("mon.creds");
        let user = User::new("mon").expires(now() + 12 * 3600);
        fs::write(&creds, Account::new("APP").creds(&user)).expect("a file of our own");
        let url = self.net.0[0].url();
        let check = Check::new(["-s", &url, "-n", "orders", "--no-state"]);
        let check = check.args(["--creds", &creds, "--creds-warning", "1d"]);
        self.compare("credentials_expiring", 1, &["credentials_expiring"], check);
    }

    /// Asserts the verdicts on the requests between two runs.
    fn judges_requests(&self) {
        let url = self.net.0[0].url();
        let request = |payload| {
            for _ in 0..20 {
                let replies = raw::request(&url, "orders.echo", payload, 1).expect("a connection");
                assert_eq!(replies.len(), 1, "a reply");
            }
        };
        self.says("service_up, statistics", 0, "service_up", &["--stats"]);
        // Some services read JSON.
        request(r#""work""#);
        self.says("latency", 1, "latency", &["--latency-warning", "0s"]);
        if FAILING.contains(&self.client) {
            request("fail");
            self.says("error_rate", 2, "error_rate", &["--error-rate-critical", "50%"]);
        }
    }

    /// Asserts the verdicts of runs that get no answer.
    fn asks_in_vain(&self) {
        let url = self.net.0[0].url();
        let check = |url: &str, flags: &[&str]| Check::new(["-s", url, "-n", "orders"]).args(flags);
        let wrong = ["--user", "app", "--password", "no"];
        self.compare("auth_rejected", 3, &["auth_rejected"], check(&url, &wrong));
        let mute = match self.topology {
            // May ask through the import only.
            Topology::Import => ["--user", "mon", "--password", "s3cret"],
            _ => ["--user", "mute", "--password", "mute"],
        };
        self.compare("permission_denied", 3, &["permission_denied"], check(&url, &mute));
        let tls = url.replace("nats://", "tls://");
        self.compare("tls_failed", 3, &["tls_failed"], check(&tls, &[]));
        self.compare("usage", 3, &["usage"], check(&url, &["-c", "nonsense"]));

        let other = Fake::start(|conn| conn.send_raw(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
        self.compare("protocol_error", 3, &["protocol_error"], check(&other.url(), &[]));
        let mute = Fake::start(|conn| conn.hold(LIMIT));
        let run = check(&mute.url(), &["--format", "json"]).spawn();
        wait_for("a connection", || (mute.connections() > 0).then_some(()));
        let (out, _) = run.end(libc::SIGTERM);
        self.note("interrupted", 3, &["interrupted"], out);
    }
}

fn name(version: Version) -> &'static str {
    match version {
        Version::V2_9 => "2.9",
        Version::V2_10 => "2.10.25",
        Version::Newest => "2.15.1",
        Version::Other(version) => version,
    }
}

/// Numbers of right verdicts, and of all: by outcome, topology and client, each by version.
#[derive(Default)]
struct Table {
    grids: [Grid; 3],
    /// Runs that the machine gave no processor for so long that they could not ask: they are not judged.
    starved: usize,
    complaints: Vec<(&'static str, String)>,
}

#[derive(Default)]
struct Grid {
    /// In the order in which they came.
    rows: Vec<String>,
    cells: BTreeMap<(usize, &'static str), (usize, usize)>,
}

impl Grid {
    fn count(&mut self, row: &str, version: &'static str, right: bool) {
        let nth = self.rows.iter().position(|known| known == row).unwrap_or_else(|| {
            self.rows.push(row.to_owned());
            self.rows.len() - 1
        });
        let cell = self.cells.entry((nth, version)).or_default();
        cell.0 += usize::from(right);
        cell.1 += 1;
    }

    fn text(&self, title: &str) -> String {
        let versions = VERSIONS.map(name);
        let columns: String = versions.iter().map(|version| format!(" | {version:>9}")).collect();
        let mut text = format!("{title:<32}{columns}\n");
        for (nth, row) in self.rows.iter().enumerate() {
            let cells = versions.iter().map(|version| self.cells.get(&(nth, *version)));
            let cells = cells.map(|cell| cell.map_or("-".into(), |(right, all)| format!("{right}/{all}")));
            let cells: String = cells.map(|cell| format!(" | {cell:>9}")).collect();
            text += &format!("{row:<32}{cells}\n");
        }
        text
    }
}

impl Table {
    /// Prints it, and fails if anything was wrong.
    #[track_caller]
    fn report(&self) {
        for (grid, title) in self.grids.iter().zip(["outcome, right/all", "topology", "client"]) {
            println!("{}", grid.text(title));
        }
        let cells = self.grids[0].cells.values();
        let (right, all) = cells.fold((0, 0), |sum, cell| (sum.0 + cell.0, sum.1 + cell.1));
        let of = |kind| self.complaints.iter().filter(|(wrong, _)| *wrong == kind).count();
        println!(
            "{right} of {all} right; {} false alarms, {} missed outages, {} wrong in another way; not judged: {}",
            of("false alarm"),
            of("missed outage"),
            of("wrong"),
            self.starved
        );
        let complaints: Vec<_> = self.complaints.iter().map(|(_, text)| text.as_str()).collect();
        assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    }
}

/// Tells all at these places, so many at once.
fn tell_all_at(places: impl IntoIterator<Item = (Version, Topology, usize)>, at_once: usize) -> Table {
    let places: Mutex<VecDeque<_>> = Mutex::new(places.into_iter().collect());
    let table = Mutex::default();
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let next = places.lock().expect("no panic").pop_front();
                    let Some((version, topology, client)) = next else { break };
                    Place::new(version, topology, client, &table).tell_all();
                    println!("told all: {} {topology:?} {}", name(version), CLIENTS[client].0);
                }
            });
        }
    });
    table.into_inner().expect("no panic")
}

#[test]
#[ignore = "needs nats-server"]
fn every_outcome_is_right_everywhere() {
    if let Ok(which) = std::env::var("MATRIX") {
        let versions = VERSIONS
            .into_iter()
            .filter(|version| which == "all" || which == name(*version));
        let places = versions.flat_map(|version| {
            let topologies = TOPOLOGIES.into_iter();
            topologies.flat_map(move |topology| (0..CLIENTS.len()).map(move |client| (version, topology, client)))
        });
        let places: Vec<_> = places.collect();
        assert!(!places.is_empty(), "MATRIX={which} is no server of the matrix");
        tell_all_at(places, 16).report();
        return;
    }
    // Each topology, each of these servers, and the clients that no other test is about.
    let places = [
        (Version::V2_9, Topology::Leaf, 6),
        (Version::V2_10, Topology::Cluster, 4),
        (Version::V2_10, Topology::Import, 3),
        (Version::Newest, Topology::Gateway, 1),
        (Version::Newest, Topology::One, 5),
    ];
    tell_all_at(places, places.len()).report();
}
