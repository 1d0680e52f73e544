//! The sidecars of pods: each check is judged by what is written and served of it.

use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::action::Dice;
use super::model::{SERVICES, is_of};
use super::oracle::{History, Nats};
use super::verdict::{Fault, Told, judge_probe};
use super::watcher::{Book, Watch, code_of, fits, one_pod, read, read_metrics, strs};
use super::world::Place;
use crate::support::server::free_port;
use crate::support::{Sidecar, http};

/// Number of checks until a sidecar is ended, and of those after the end of its pod.
const CHECKS: usize = 20;
const CHECKS_AFTER: usize = 4;
/// Time from the start of a process to its first request, unless the machine is very busy.
const START: Duration = Duration::from_millis(500);
/// Age that the last check never exceeds: `--interval` and `--timeout`, and what a busy machine takes.
const MAX_AGE: Duration = Duration::from_secs(20);

/// Runs `watch --listen` beside a pod, for a while, then beside another one.
pub struct Sidecars {
    place: Place,
    book: Book,
    beside: Option<Beside>,
}

struct Beside {
    pod: String,
    port: u16,
    sidecar: Sidecar,
    told: Told,
    checks: usize,
    checks_after: usize,
    /// Time of the latest look, and of the check that was the last one then.
    looked: Instant,
    time: Value,
    /// Time when that check was seen first.
    since: Instant,
}

impl Sidecars {
    pub fn new(name: &'static str, place: &Place) -> Sidecars {
        Sidecars {
            place: place.clone(),
            book: Book::new(name, place),
            beside: None,
        }
    }

    fn start(&self, pod: String) -> Beside {
        let port = free_port();
        let (listen, own) = (format!("127.0.0.1:{port}"), format!("pod={pod}"));
        let mut flags = strs(&self.place.flags);
        flags.extend(["--interval", "1s", "--listen", &listen, "--match", &own]);
        let now = Instant::now();
        Beside {
            pod,
            port,
            sidecar: Sidecar::start(&self.place.url, &flags),
            told: Told::default(),
            checks: 0,
            checks_after: 0,
            looked: now,
            time: Value::Null,
            since: now,
        }
    }
}

impl Watch for Sidecars {
    fn ask(&mut self, history: &Mutex<History>, dice: &mut Dice) {
        if self.beside.is_none() {
            self.beside = one_pod(history, dice).map(|pod| self.start(pod));
        }
        let Some(beside) = &mut self.beside else { return };
        for _ in 0..20 {
            beside.look(&self.book, history);
            thread::sleep(Duration::from_millis(20));
        }
        if beside.checks >= CHECKS || beside.checks_after >= CHECKS_AFTER {
            let beside = self.beside.take().expect("it runs");
            beside.sidecar.end(libc::SIGTERM);
        }
    }

    fn book(&self) -> &Book {
        &self.book
    }
}

impl Beside {
    /// Judges the last check, if it is another one than at the latest look.
    fn look(&mut self, book: &Book, history: &Mutex<History>) {
        let (before, now) = (self.looked, Instant::now());
        let status = self.sidecar.status();
        self.looked = now;
        let Some(json) = status.filter(|status| status["time"] != self.time) else {
            // The time of the test itself does not count.
            self.since += now
                .saturating_duration_since(before)
                .saturating_sub(Duration::from_millis(500));
            assert!(
                now - self.since < MAX_AGE,
                "no check for {MAX_AGE:?}: {}",
                self.sidecar.log()
            );
            return;
        };
        // It has ended between the two looks.
        let took = Duration::from_secs_f64(json["probe_seconds"].as_f64().unwrap_or(0.0));
        let start = before - took - START;
        // Another one may have been missed.
        self.told.unsure |= start > self.since + Duration::from_secs(1);
        (self.time, self.since) = (json["time"].clone(), now);
        self.checks += 1;

        let truth = book.truth(history, [start, now, before], |pod| is_of(SERVICES[0], pod));
        let (said, asked) = read(&json);
        let fault = self
            .told
            .judge(said, truth)
            .or_else(|| book.judge_flags(&json, false, history, truth))
            .or_else(|| (!fits(said, &json, code_of(&json))).then_some(Fault::Odd));
        book.run(truth);
        book.said(&format!("{said:?}"), asked, truth, fault, &json);

        // What is served of the same check, if that is still the last one.
        let get =
            |path| http::ask(self.port, "GET", path).unwrap_or_else(|e| panic!("{path}: {e}: {}", self.sidecar.log()));
        let is_same = || {
            let reply = get("/status");
            serde_json::from_str::<Value>(&reply.body).is_ok_and(|served| served["time"] == self.time)
        };
        let first = Instant::now();
        while !is_same() {
            if first.elapsed() > START {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        let [live, ready, metrics] = ["/livez", "/readyz", "/metrics"].map(get);
        if !is_same() {
            return;
        }
        let truth = book.truth(history, [start, now, start], |pod| pod == self.pod);
        self.checks_after += usize::from(truth.down && truth.nats == Nats::Fine);
        for (name, liveness, reply) in [("livez", true, live), ("readyz", false, ready)] {
            let mut fault = match reply.status {
                200 => judge_probe(liveness, true, truth),
                503 => judge_probe(liveness, false, truth),
                _ => Some(Fault::Odd),
            };
            // "It may be the wrong account."
            if liveness && fault == Some(Fault::MissedOutage) && json["last_seen"].is_null() {
                book.window("never seen, /livez passes");
                fault = None;
            }
            let answer = if reply.status == 200 { "passes" } else { "fails" };
            book.said(
                &format!("{name} {answer}"),
                false,
                truth,
                fault,
                &(&self.pod, reply, &json),
            );
        }
        let (served, _, sound) = read_metrics(&metrics.body);
        if served != said || !sound {
            book.said("/metrics", false, truth, Some(Fault::Odd), &(metrics, &json));
        }
    }
}
