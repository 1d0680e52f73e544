//! Over TLS, the client may leave a reply lying where its reader does not see it. That must never look like a silent service.
//!
//! The usual run is a sample. `TLS_RACE_RUNS=3000 cargo test --release tls_race -- --nocapture` is the proof, and tells how
//! many runs took how long.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::support::check::matches;
use super::support::{Certs, Monitor, Output, Server, Service, Version, raw, wait_for};

/// How many runs there are without a word from the environment, and how many at once.
const RUNS: usize = 400;
const AT_ONCE: usize = 4;

/// A run that took longer has missed a reply for a while.
const LATE: Duration = Duration::from_millis(100);

/// A service, and what has to be said of it.
const SERVICES: [(&str, i32, &str); 4] = [
    (
        "gone",
        2,
        "CRITICAL - gone: still down for *s, no responders; had 1 instance; *",
    ),
    ("one", 0, "OK - one: 1 instance, slowest answer *ms | *"),
    ("ten", 0, "OK - ten: 10 instances, slowest answer *ms | *"),
    ("slow", 0, "OK - slow: 1 instance, slowest answer *ms | *"),
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
    fn ask(&self) -> Output {
        self.monitor.check(["--confirm", "0", "--timeout", "2s", "-vvv"]).run()
    }
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
fn no_reply_over_tls_is_ever_missed() {
    let runs = std::env::var("TLS_RACE_RUNS").map_or(RUNS, |runs| runs.parse().expect("a number"));
    let mut places = [
        Place::asked_for(Version::Newest),
        Place::asked_for(Version::V2_9),
        Place::upgraded(Version::Newest),
    ];
    // Several ask at the same time, each with memories of its own. All have seen all services.
    let teams: Vec<Vec<Watcher>> = (0..AT_ONCE)
        .map(|_| places.iter().flat_map(Place::watchers).collect())
        .collect();
    let all_at_once = |ask: &(dyn Fn(&Watcher) + Sync)| {
        thread::scope(|scope| {
            for watcher in teams.iter().flatten() {
                scope.spawn(move || ask(watcher));
            }
        });
    };
    all_at_once(&|watcher| {
        drop(
            watcher
                .monitor
                .check(["--stall", "1s"])
                .run()
                .assert_first(0, "NATS_SERVICE OK *"),
        )
    });
    for place in &mut places {
        place.gone.take().expect("a service").kill();
    }
    all_at_once(&|watcher| {
        if watcher.service == "gone" {
            wait_for("the end of it", || (watcher.ask().code == Some(2)).then_some(()));
        }
    });

    let (next, late, wrong) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for team in &teams {
            let (next, late, wrong) = (&next, &late, &wrong);
            scope.spawn(move || {
                loop {
                    let run = next.fetch_add(1, Ordering::Relaxed);
                    if run >= runs {
                        break;
                    }
                    let watcher = &team[run % team.len()];
                    let out = watcher.ask();
                    late.fetch_add(usize::from(out.wall > LATE), Ordering::Relaxed);
                    if out.code != Some(watcher.code) || !matches(&watcher.line, out.first_line()) {
                        wrong
                            .lock()
                            .expect("no panic")
                            .push(format!("{}: {}", watcher.place, out.stdout));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("no panic");
    println!("{runs} runs, {} wrong, {} late", wrong.len(), late.into_inner());
    assert!(
        wrong.is_empty(),
        "{} of {runs} runs:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
