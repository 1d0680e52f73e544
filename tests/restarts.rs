//! A restart of the server is no outage of its services, whichever client they are written with: they come back by
//! themselves, some of them only after seconds. And a service that died with its server is told at once all the same.
//!
//! Three ways to lose a connection: the server restarts; a leaf between the service and the server that is asked restarts; the
//! server closes the connections of its clients.
//!
//! The checks run with the flags that they have without a word from the user.
//!
//! The usual run is a sample: one delay for each kind of client. `RESTART_RUNS=20 tests/run.sh restarts -- --nocapture` is the
//! proof: 20 times all delays, and a table of what was said, and how fast.

use std::fmt;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::support::check::matches;
use super::support::server::free_port;
use super::support::service::Builder;
use super::support::{Certs, Monitor, Output, Server, Service, Version, each, raw, wait_for};

/// Times after the server is ready at which the check runs.
const DELAYS: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_millis(200),
    Duration::from_millis(1000),
    Duration::from_millis(2500),
];

const CLIENTS: [(&str, Start); 5] = [
    ("nats-py", Service::nats_py),
    ("nats.js 3", Service::nats_js),
    ("nats.js 2", Service::nats_js_2),
    ("nats.go", Service::nats_go),
    ("async-nats", Service::async_nats),
];

/// With an account of its own for who administrates.
const SYSTEM_ACCOUNT: &str =
    "accounts { APP { users: [{user: app, password: app}] }, SYS { users: [{user: sys, password: sys}] } }
     system_account: SYS, no_auth_user: app";

const UP: &str = "NATS_SERVICE OK - orders: 1 instance, slowest answer *";
const DOWN: &str = "NATS_SERVICE CRITICAL - orders: down, no responders, 1 instance until *";
const STILL_DOWN: &str = "NATS_SERVICE CRITICAL - orders: still down for *s, no responders, had 1 instance, *";
const RECOVERED: &str = "NATS_SERVICE OK - orders: 1 instance, recovered after *";

/// Trouble of NATS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    /// The server restarts.
    Server,
    /// The leaf restarts on which the services are; the hub is asked.
    Leaf,
    /// The server closes the connections of all its clients.
    Kick,
}

const TROUBLES: [Trouble; 3] = [Trouble::Server, Trouble::Leaf, Trouble::Kick];

type Start = fn(&str, &str) -> Builder;

/// A server and its one service, and somebody who asks for it.
struct Place {
    trouble: Trouble,
    /// The server of the services.
    server: Server,
    _hub: Option<Server>,
    /// Of the services.
    url: String,
    certs: Option<Certs>,
    start: Start,
    service: Option<Service>,
    monitor: Monitor,
}

impl Place {
    /// All is well there, and remembered.
    fn new(start: Start, tls: bool, trouble: Trouble) -> Place {
        let certs = tls.then(Certs::new);
        let config = certs
            .as_ref()
            .map(|certs| certs.config("server", "") + "allow_non_tls: true\n");
        let config = config.unwrap_or_default();
        let port = free_port();
        let (hub, config) = match trouble {
            Trouble::Server => (None, config),
            Trouble::Leaf => {
                let leafnodes = format!("{config}leafnodes {{ listen: \"127.0.0.1:{port}\" }}");
                let remote = format!("remotes: [{{url: \"nats-leaf://127.0.0.1:{port}\"}}], reconnect: 1");
                let hub = Server::with_config(Version::Newest, &leafnodes);
                (Some(hub), format!("{config}leafnodes {{ {remote} }}"))
            }
            Trouble::Kick => (None, format!("{config}{SYSTEM_ACCOUNT}")),
        };
        let server = Server::with_config(Version::Newest, &config);
        let scheme = if tls { "tls" } else { "nats" };
        let url = |server: &Server| format!("{scheme}://127.0.0.1:{}", server.port());
        let monitor = Monitor::new(url(hub.as_ref().unwrap_or(&server)));
        let url = url(&server);
        let monitor = match &certs {
            Some(certs) => monitor.login(&["--tlsca", &certs.path("ca.pem")]),
            None => monitor,
        };
        let mut place = Place {
            trouble,
            server,
            _hub: hub,
            url,
            certs,
            start,
            service: None,
            monitor,
        };
        place.start_service();
        place.settle();
        place.check().assert_first(0, UP);
        place
    }

    fn start_service(&mut self) {
        let service = (self.start)(&self.url, "orders");
        let service = match &self.certs {
            Some(certs) => service.tlsca(&certs.path("ca.pem")),
            None => service,
        };
        self.service = Some(service.start());
    }

    fn check(&self) -> Output {
        self.monitor.check([] as [&str; 0]).run()
    }

    /// The connections of the services are lost, and then some time goes by: a real sleep, since it is this time that matters.
    fn disturb(&mut self, delay: Duration) {
        match self.trouble {
            Trouble::Kick => self.kick(),
            Trouble::Server | Trouble::Leaf => {
                self.server.stop();
                self.server.start_again();
            }
        }
        thread::sleep(delay);
    }

    /// Closes the connections of all clients of the server.
    fn kick(&self) {
        let url = format!("nats://sys:sys@127.0.0.1:{}", self.server.port());
        let ask = |subject: &str, payload: &str| {
            let reply = raw::request(&url, subject, payload, 1).expect("a reply").remove(0);
            serde_json::from_slice::<Value>(&reply).expect("JSON")
        };
        let found = ask("$SYS.REQ.SERVER.PING.CONNZ", r#"{"auth": true}"#);
        let server = found["server"]["id"].as_str().expect("an id");
        for connection in found["data"]["connections"].as_array().expect("connections") {
            if connection["account"] == "APP" {
                let cid = format!(r#"{{"cid": {}}}"#, connection["cid"]);
                ask(&format!("$SYS.REQ.SERVER.{server}.KICK"), &cid);
            }
        }
    }

    /// Until the service has come back, and what was said of it before, right or wrong, is over.
    fn settle(&self) {
        wait_for("the service is back", || (self.check().code == Some(0)).then_some(()));
    }
}

/// Results of all restarts with one client, over one transport, after one delay.
struct Tally {
    client: &'static str,
    tls: bool,
    trouble: Trouble,
    delay: Duration,
    tried: usize,
    /// One at most for each restart.
    complaints: Vec<String>,
    /// Durations of the runs with the right verdict: for each kind of run.
    walls: Vec<Walls>,
}

impl Tally {
    fn new(client: &'static str, tls: bool, trouble: Trouble, delay: Duration) -> Tally {
        Tally {
            client,
            tls,
            trouble,
            delay,
            tried: 0,
            complaints: Vec::new(),
            walls: Vec::new(),
        }
    }

    /// Takes one more restart, and its runs in the order of the columns: each with what it had to say.
    fn add(&mut self, runs: &[(&Output, i32, &str)]) {
        self.tried += 1;
        self.walls.resize_with(runs.len(), Walls::default);
        let mut complaint = None;
        for ((out, code, line), walls) in runs.iter().zip(&mut self.walls) {
            if out.code == Some(*code) && out.stderr.is_empty() && matches(line, out.first_line()) {
                walls.0.push(out.wall);
            } else {
                complaint =
                    complaint.or_else(|| Some(format!("{line:?} expected, but {:?}\n{}", out.wall, out.stdout)));
            }
        }
        let place = self.place();
        self.complaints.extend(complaint.map(|text| format!("{place}: {text}")));
    }

    fn place(&self) -> String {
        let transport = if self.tls { "TLS" } else { "plain" };
        let trouble = format!("{:?}", self.trouble);
        format!(
            "{:<10} {transport:<5} {trouble:<6} {:>4}",
            self.client,
            self.delay.as_millis()
        )
    }
}

#[derive(Default)]
struct Walls(Vec<Duration>);

impl fmt::Display for Walls {
    /// The median and the maximum.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mut walls: Vec<_> = self.0.iter().map(Duration::as_secs_f64).collect();
        walls.sort_by(f64::total_cmp);
        match walls.last() {
            Some(max) => write!(f, "{:>6.2} /{:>6.2} s", walls[walls.len() / 2], max),
            None => write!(f, "{:>16}", "-"),
        }
    }
}

/// Returns the number of times that each delay is tried, if the environment has it.
fn long_form() -> Option<usize> {
    let runs = std::env::var("RESTART_RUNS").ok()?;
    Some(runs.parse().expect("a number"))
}

/// Disturbs servers with all clients over all transports, ten at once: what they do is mostly to wait. In the usual form each of
/// these has one kind of trouble and one delay, and all of them have their turn.
fn tally(test: impl Fn(&mut Place, &mut Tally) + Sync) -> Vec<Tally> {
    let transports = [false, true].into_iter().enumerate();
    let all: Vec<_> = transports
        .flat_map(|(n, tls)| {
            let clients = CLIENTS.into_iter().enumerate();
            clients.map(move |(m, (client, start))| (client, start, tls, m + 2 * n))
        })
        .collect();
    let tallies = Mutex::new(Vec::new());
    let turns = if long_form().is_some() { TROUBLES.len() } else { 1 };
    for turn in 0..turns {
        each(all.clone(), |(client, start, tls, nth)| {
            let trouble = TROUBLES[(nth + turn) % TROUBLES.len()];
            let mut place = Place::new(start, tls, trouble);
            let nth = nth % DELAYS.len();
            let delays = if long_form().is_some() {
                &DELAYS[..]
            } else {
                &DELAYS[nth..=nth]
            };
            let tally = |delay: &Duration| Tally::new(client, tls, trouble, *delay);
            let mut all: Vec<_> = delays.iter().map(tally).collect();
            for _ in 0..long_form().unwrap_or(1) {
                all.iter_mut().for_each(|tally| test(&mut place, tally));
            }
            tallies.lock().expect("no panic").extend(all);
        });
    }
    let mut tallies = tallies.into_inner().expect("no panic");
    tallies.sort_by_key(|tally: &Tally| (tally.client, tally.tls, tally.trouble, tally.delay));
    tallies
}

/// Prints the table, and fails if there is anything to complain of.
#[track_caller]
fn report(tallies: &[Tally], wrong: &str, kinds: &[&str]) {
    let kinds: String = kinds.iter().map(|kind| format!(" | {kind:>16}")).collect();
    let mut table = format!("client     over  what   ms later | restarts | {wrong}{kinds} (median / maximum)\n");
    for tally in tallies {
        let walls: String = tally.walls.iter().map(|walls| format!(" | {walls}")).collect();
        let (tried, complaints) = (tally.tried, tally.complaints.len());
        table += &format!(
            "{}     | {tried:>8} | {complaints:>width$}{walls}\n",
            tally.place(),
            width = wrong.len()
        );
    }
    println!("{table}");
    let complaints: Vec<_> = tallies.iter().flat_map(|tally| tally.complaints.clone()).collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// One after the other in the long form: together they would be twice as many at once.
static LONG_FORM: Mutex<()> = Mutex::new(());

#[test]
#[ignore = "needs nats-server"]
fn no_restart_is_an_outage() {
    let _alone = long_form().map(|_| LONG_FORM.lock());
    let tallies = tally(|place, tally| {
        place.settle();
        let well = place.check();
        place.disturb(tally.delay);
        let first = place.check();
        let epoch = place.monitor.epoch();
        let second = place.check();
        tally.add(&[(&well, 0, UP), (&first, 0, UP), (&second, 0, UP)]);
        if first.code == Some(0) && !epoch.contains("\nno outage\n") {
            tally.complaints.push(format!("{}: {epoch}", tally.place()));
        }
    });
    report(&tallies, "false outages", &["all well", "after a restart", "and again"]);
}

#[test]
#[ignore = "needs nats-server"]
fn a_service_that_died_with_the_server_is_down_in_the_same_run() {
    let _alone = long_form().map(|_| LONG_FORM.lock());
    let tallies = tally(|place, tally| {
        place.settle();
        let well = place.check();
        place.service.take().expect("a service").kill();
        place.disturb(tally.delay);
        let (first, second) = (place.check(), place.check());
        place.start_service();
        let recovered = place.check();
        tally.add(&[
            (&well, 0, UP),
            (&first, 2, DOWN),
            (&second, 2, STILL_DOWN),
            (&recovered, 0, RECOVERED),
        ]);
    });
    report(
        &tallies,
        "not told at once",
        &["all well", "first down", "still down", "recovered"],
    );
}

/// Instances of one service that are written with several clients come back one after the other.
#[test]
#[ignore = "needs nats-server"]
fn a_part_of_the_instances_that_is_back_is_no_shortage() {
    let mut server = Server::start(Version::Newest);
    let clients: [Start; 3] = [Service::nats_go, Service::nats_py, Service::async_nats];
    let _services = clients.map(|start| start(&server.url(), "orders").start());
    let monitor = Monitor::new(server.url());
    let well = "NATS_SERVICE OK - orders: 3 instances, slowest answer *";
    monitor.check(["-c", "2:"]).run().assert_first(0, well);
    for _ in 0..long_form().unwrap_or(2) {
        server.stop();
        server.start_again();
        let out = monitor.check(["-c", "2:"]).run();
        let out = out.assert_first(0, "NATS_SERVICE OK - orders: * instances, slowest answer *");
        assert!(out.perfdata("instances") >= Some(2.0), "{out:?}");
        wait_for("all are back", || {
            let out = monitor.check(["-c", "2:"]).run();
            (out.perfdata("instances") == Some(3.0)).then_some(())
        });
    }
}
