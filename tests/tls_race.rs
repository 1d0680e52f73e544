//! Over TLS, the client may leave a reply lying where its reader does not see it. That must never look like a silent service.
//!
//! The client's threads share one TLS session: a writer reads what has come, too, and a reader that is about to sleep in
//! poll(2) just then is not told. Only the next word of the server wakes it.
//!
//! The usual run is a sample. `TLS_RACE_RUNS=3000 tests/run.sh --release tls_race -- --nocapture` is the proof.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::support::check::matches;
use super::support::{Certs, Check, Monitor, Output, Server, Service, Version, raw, wait_for};

/// Number of runs, unless the environment has one, and how many run at once.
const RUNS: usize = 104;
const AT_ONCE: usize = 4;

/// Half of the time is patience with a service that does not answer.
const LATE: Duration = Duration::from_millis(1900);

/// A service, and what has to be said of it.
const SERVICES: [(&str, i32, &str); 4] = [
    (
        "gone",
        2,
        "CRITICAL - gone: still down for *s, no responders, had 1 instance, *",
    ),
    ("one", 0, "OK - one: 1 instance, slowest answer * | *"),
    ("ten", 0, "OK - ten: 10 instances, slowest answer * | *"),
    ("slow", 0, "OK - slow: 1 instance, slowest answer * | *"),
];

/// A server with the services, and how to ask it.
struct Place {
    server: Server,
    url: String,
    certs: Certs,
    slow: bool,
    gone: Option<Service>,
    _services: [Service; 2],
}

impl Place {
    /// TLS for those who ask for it, and all services.
    fn asked_for(version: Version) -> Place {
        let mut place = Place::new(version, "tls", "allow_non_tls: true");
        serve_slowly(&place.server.url(), "slow");
        place.slow = true;
        place
    }

    /// TLS for all, whether they ask for it or not. Nobody is slow.
    fn upgraded(version: Version) -> Place {
        Place::new(version, "nats", "")
    }

    fn new(version: Version, scheme: &str, config: &str) -> Place {
        let certs = Certs::new();
        let server = Server::with_config(version, &(certs.config("server", "") + config));
        let url = format!("tls://127.0.0.1:{}", server.port());
        let ca = certs.path("ca.pem");
        let start = |name, count| Service::async_nats(&url, name).tlsca(&ca).count(count).start();
        Place {
            url: format!("{scheme}://127.0.0.1:{}", server.port()),
            slow: false,
            gone: Some(start("gone", 1)),
            _services: [start("one", 1), start("ten", 10)],
            server,
            certs,
        }
    }

    /// Somebody who asks here for each service.
    fn watchers(&self) -> impl Iterator<Item = Watcher> {
        let services = SERVICES.iter().filter(|service| self.slow || service.0 != "slow");
        services.map(|(service, code, line)| Watcher {
            place: format!("{:?} {}", self.server.version(), self.url),
            monitor: Monitor::new(&self.url)
                .service(service)
                .login(&["--tlsca", &self.certs.path("ca.pem")]),
            service,
            code: *code,
            line: format!("NATS_SERVICE {line}"),
        })
    }
}

/// Asks for a service again and again, and remembers.
struct Watcher {
    place: String,
    monitor: Monitor,
    service: &'static str,
    code: i32,
    line: String,
}

impl Watcher {
    /// Asks once only, so that what is missed is not found by asking again.
    fn check(&self) -> Check {
        self.monitor.check(["--confirm", "0", "--timeout", "4s", "-vvv"])
    }

    /// Returns the error in a verdict, if there is one: or it took so long that only the patience at the end has found it.
    fn complaint(&self, out: &Output) -> Option<String> {
        let good = out.code == Some(self.code) && matches(&self.line, out.first_line());
        // By the program's own clock, which does not count how long strace takes to start it.
        let late = || out.perfdata("probe").is_none_or(|probe| probe > LATE.as_secs_f64());
        (!good || late()).then(|| format!("{}: {:?}\n{}", self.place, out.wall, out.stdout))
    }
}

/// Runs of all kinds, several at a time. Returns what went wrong in how many of them.
fn runs(teams: &[Vec<Watcher>], runs: usize, run: impl Fn(&Watcher) -> Output + Sync) -> Vec<String> {
    let (next, complaints) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for team in teams {
            let (next, complaints, run) = (&next, &complaints, &run);
            scope.spawn(move || {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= runs {
                        break;
                    }
                    let watcher = &team[n % team.len()];
                    complaints
                        .lock()
                        .expect("no panic")
                        .extend(watcher.complaint(&run(watcher)));
                }
            });
        }
    });
    complaints.into_inner().expect("no panic")
}

/// Several who ask at the same time, each with memories of its own. They have seen all services, and one go.
fn teams(places: &mut [Place]) -> Vec<Vec<Watcher>> {
    let team = |_| places.iter().flat_map(Place::watchers).collect();
    let teams: Vec<Vec<Watcher>> = (0..AT_ONCE).map(team).collect();
    let all_at_once = |ask: &(dyn Fn(&Watcher) + Sync)| {
        thread::scope(|scope| {
            for watcher in teams.iter().flatten() {
                scope.spawn(move || ask(watcher));
            }
        });
    };
    all_at_once(&|watcher| {
        // Nobody is missed, however busy the machine is.
        let first = watcher.monitor.check(["--stall", "1s"]).run();
        first.assert_first(0, "NATS_SERVICE OK *");
    });
    for place in places {
        place.gone.take().expect("a service").kill();
    }
    all_at_once(&|watcher| {
        if watcher.service == "gone" {
            wait_for("the end of it", || {
                (watcher.check().run().code == Some(2)).then_some(())
            });
        }
    });
    teams
}

/// A service that answers after about 4.7 ms, just when the client has something to write: until the server ends.
fn serve_slowly(url: &str, name: &str) {
    let stream = raw::subscribe(url, &format!("$SRV.PING.{name}")).expect("a subscription");
    stream.set_read_timeout(None).expect("a socket");
    let reply = format!(r#"{{"name":"{name}","id":"SLOW","version":"1.0.0"}}"#);
    let answer = move |mut stream: &TcpStream, line: &str, delay: Duration| match line
        .split_whitespace()
        .collect::<Vec<_>>()[..]
    {
        ["MSG", _, _, inbox, _] => {
            thread::sleep(delay);
            write!(stream, "PUB {inbox} {}\r\n{reply}\r\n", reply.len())
        }
        ["PING"] => stream.write_all(b"PONG\r\n"),
        _ => Ok(()),
    };
    thread::spawn(move || {
        let mut askings = 0;
        for line in BufReader::new(&stream).lines().map_while(Result::ok) {
            let delay = Duration::from_micros(4200 + askings % 11 * 100);
            askings += u64::from(line.starts_with("MSG "));
            if answer(&stream, &line, delay).is_err() {
                break;
            }
        }
    });
}

#[test]
#[ignore = "needs nats-server"]
fn no_reply_over_tls_is_ever_missed() {
    let number = std::env::var("TLS_RACE_RUNS").map_or(RUNS, |runs| runs.parse().expect("a number"));
    let mut places = [
        Place::asked_for(Version::Newest),
        Place::asked_for(Version::V2_9),
        Place::upgraded(Version::Newest),
    ];
    let wrong = runs(&teams(&mut places), number, |watcher| watcher.check().run());
    println!("{number} runs, {} wrong", wrong.len());
    assert!(
        wrong.is_empty(),
        "{} of {number} runs:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// The race itself, provoked: the reader is held up each time that it is about to sleep, for long enough to be late for what
/// a writer takes meanwhile. A third of the runs would miss it for good.
#[test]
#[ignore = "needs nats-server"]
fn a_reader_that_sleeps_through_a_reply_is_woken() {
    let mut places = [Place::asked_for(Version::Newest)];
    let hold_up = "inject=poll:delay_enter=10000";
    let strace = [
        "strace",
        "-f",
        "--seccomp-bpf",
        "-e",
        "trace=poll",
        "-e",
        hold_up,
        "-o",
        "/dev/null",
    ];
    let number = 32;
    let wrong = runs(&teams(&mut places), number, |watcher| {
        watcher.check().under(strace).run()
    });
    assert!(
        wrong.is_empty(),
        "{} of {number} runs:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
