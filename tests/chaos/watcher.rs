//! The watchers, which check again and again, and are judged.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::action::Dice;
use super::model::{SERVICES, is_of};
use super::oracle::{History, Nats, Truth};
use super::verdict::{Fault, Flags, Said, Told, judge_probe};
use super::world::Place;
use crate::support::{AllMonitor, Metrics, Monitor, Output, TempDir};

/// Watcher, which checks again and again.
pub trait Watch: Send {
    /// Runs a check, or a few, and records what came of it.
    fn ask(&mut self, history: &Mutex<History>, dice: &mut Dice);
    fn book(&self) -> &Book;
}

/// Results of one watcher.
#[derive(Clone)]
pub struct Book {
    pub name: &'static str,
    place: Place,
    tally: Arc<Mutex<Tally>>,
}

#[derive(Default)]
pub struct Tally {
    pub runs: usize,
    /// Runs that got an answer: what the state counts as an epoch.
    pub epochs: usize,
    pub had_to_pass: usize,
    pub had_to_fail: usize,
    pub said: BTreeMap<String, usize>,
    pub faults: BTreeMap<Fault, usize>,
    /// Verdicts that would be wrong if the manual did not announce them.
    pub windows: BTreeMap<&'static str, usize>,
    pub complaints: Vec<String>,
}

impl Book {
    pub fn new(name: &'static str, place: &Place) -> Book {
        Book {
            name,
            place: place.clone(),
            tally: Arc::default(),
        }
    }

    pub fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().expect("no panic")
    }

    /// Counts a run about the first service, or one of its pods.
    pub fn run(&self, truth: Truth) {
        let mut tally = self.tally();
        tally.runs += 1;
        tally.had_to_pass += usize::from(truth.up);
        tally.had_to_fail += usize::from(truth.down);
    }

    /// Counts what was said.
    pub fn said(&self, said: &str, epoch: bool, truth: Truth, fault: Option<Fault>, out: &dyn Debug) {
        let mut tally = self.tally();
        tally.epochs += usize::from(epoch);
        *tally.said.entry(said.to_owned()).or_default() += 1;
        if let Some(fault) = fault {
            let (clock, name) = (self.place.clock.at(Instant::now()), self.name);
            let complaint = format!("{clock} {fault:?}: {name} said {said}, but {truth:?}: {out:?}");
            println!("{complaint}");
            *tally.faults.entry(fault).or_default() += 1;
            tally.complaints.push(complaint);
        }
    }

    pub fn window(&self, window: &'static str) {
        *self.tally().windows.entry(window).or_default() += 1;
    }

    /// Truth about these pods for the time of a run.
    pub fn truth(
        &self,
        history: &Mutex<History>,
        [start, end, settled]: [Instant; 3],
        asked: impl Fn(&str) -> bool,
    ) -> Truth {
        let history = history.lock().expect("no panic");
        history.truth(self.place.from, start, end, settled, asked)
    }

    /// Judges what the flags have found in a check of a service that is up.
    pub fn judge_flags(&self, json: &Value, lost: bool, history: &Mutex<History>, truth: Truth) -> Option<Fault> {
        if json["up"] != true {
            return None;
        }
        let service = json["service"].as_str().expect("a service");
        let [started, killed] = history.lock().expect("no panic").turnover(|pod| is_of(service, pod));
        let number = |key: &str| json[key].as_u64().unwrap_or(0) as usize;
        let changes = json["changes"].as_array().into_iter().flatten();
        let flags = Flags {
            lost: lost.then(|| has(json, "instances_lost")),
            baseline: number("baseline_instances"),
            instances: number("instances"),
            replaced: changes.filter(|change| !change["replaces"].is_null()).count(),
            mixed: has(json, "versions_mixed"),
        };
        if flags.replaced > killed {
            self.window("restart of one that connects again");
        } else if number("restarts_total") > killed {
            self.window("restarts_total counts one that came back");
        }
        flags.judge(truth, started)
    }
}

/// Kind of the runs of a watcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Check,
    /// A check, and now and then one that is killed.
    Killed,
    Textfile,
    Probe,
}

/// Watcher of the first service.
pub struct Watcher {
    mode: Mode,
    monitor: Monitor,
    flags: &'static [&'static str],
    told: Told,
    book: Book,
    dir: TempDir,
}

impl Watcher {
    pub fn new(name: &'static str, mode: Mode, place: &Place, flags: &'static [&'static str]) -> Watcher {
        Watcher {
            mode,
            monitor: Monitor::new(&place.url).login(&strs(&place.flags)),
            flags,
            told: Told::default(),
            book: Book::new(name, place),
            dir: TempDir::new(),
        }
    }

    /// Runs a check, and records its verdict, from JSON.
    fn check(&mut self, history: &Mutex<History>) {
        let start = Instant::now();
        let out = self.monitor.check(self.flags).args(["--format", "json"]).run();
        let truth = self.truth(history, start, &out);
        let json: Value = serde_json::from_str(&out.stdout).unwrap_or_else(|error| panic!("{error}: {out:?}"));
        let (said, asked) = read(&json);
        let lost = self.flags.iter().any(|flag| flag.starts_with("--lost"));
        let fault = self
            .told
            .judge(said, truth)
            .or_else(|| self.book.judge_flags(&json, lost, history, truth))
            .or_else(|| (!fits(said, &json, out.code) || !out.stderr.is_empty()).then_some(Fault::Odd));
        self.book.run(truth);
        self.book.said(&format!("{said:?}"), asked, truth, fault, &out);
    }

    /// Writes a metrics file, and records the verdict in it.
    fn textfile(&mut self, history: &Mutex<History>) {
        let (start, file) = (Instant::now(), self.dir.join("orders.prom"));
        let out = self.monitor.ask(&["textfile"]).args(["-o", &file]).run();
        let truth = self.truth(history, start, &out);
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{error}: {out:?}"));
        let (said, asked, sound) = read_metrics(&text);
        let sound = sound && out.code == Some(0) && out.stderr.is_empty();
        let fault = self.told.judge(said, truth).or((!sound).then_some(Fault::Odd));
        self.book.run(truth);
        self.book.said(&format!("{said:?}"), asked, truth, fault, &(out, text));
    }

    /// A run that is killed while it is at it. The next one has to be right all the same.
    fn killed_check(&mut self, dice: &mut Dice) {
        let run = self.monitor.check(self.flags).spawn();
        thread::sleep(Duration::from_millis(dice.below(400) as u64));
        drop(run);
        self.told.unsure = true;
    }

    /// Runs a probe of one pod, and records its result: of a pod that is there, or was lately.
    fn probe(&mut self, history: &Mutex<History>, dice: &mut Dice) {
        let Some(pod) = one_pod(history, dice) else { return };
        let kind = *dice.one_of(&["liveness", "readiness", "startup"]);
        let start = Instant::now();
        // More than the 800 ms that it has: this machine is busy, and a late answer is none.
        let words = ["probe", kind, "--match", &format!("pod={pod}"), "--timeout", "3s"];
        let out = self.monitor.ask(&words).run();
        // A probe does not wait for an instance that comes back: Kubernetes asks three times.
        let times = [start, Instant::now(), start];
        let truth = as_far_as_it_ran(self.book.truth(history, times, |other| other == pod), &out);
        let fault = match out.code {
            Some(code @ (0 | 1)) => judge_probe(kind != "readiness", code == 0, truth),
            _ => Some(Fault::Odd),
        };
        // No instance had a processor, either: a reply after the time limit is none.
        let fault = fault.filter(|fault| {
            let late = *fault == Fault::FalseAlarm && out.queued > Duration::from_millis(500);
            if late {
                self.book.window("probe of a machine without a free processor");
            }
            !late
        });
        let answer = if out.code == Some(0) { "passes" } else { "fails" };
        self.book.run(truth);
        self.book.said(&format!("{kind} {answer}"), false, truth, fault, &out);
    }

    fn truth(&self, history: &Mutex<History>, start: Instant, out: &Output) -> Truth {
        let end = Instant::now();
        let truth = self
            .book
            .truth(history, [start, end, end], |pod| is_of(SERVICES[0], pod));
        as_far_as_it_ran(truth, out)
    }
}

impl Watch for Watcher {
    fn ask(&mut self, history: &Mutex<History>, dice: &mut Dice) {
        match self.mode {
            Mode::Killed if dice.below(4) == 0 => self.killed_check(dice),
            Mode::Check | Mode::Killed => self.check(history),
            Mode::Textfile => self.textfile(history),
            Mode::Probe => self.probe(history, dice),
        }
    }

    fn book(&self) -> &Book {
        &self.book
    }
}

/// Watcher of all services. Each service is judged by its own truth.
pub struct AllWatcher {
    mode: Mode,
    monitor: AllMonitor,
    flags: &'static [&'static str],
    told: BTreeMap<&'static str, Told>,
    book: Book,
}

impl AllWatcher {
    pub fn new(name: &'static str, mode: Mode, place: &Place, flags: &'static [&'static str]) -> AllWatcher {
        AllWatcher {
            mode,
            monitor: AllMonitor::new(&place.url).login(&strs(&place.flags)),
            flags,
            told: SERVICES.map(|service| (service, Told::default())).into(),
            book: Book::new(name, place),
        }
    }

    fn check(&mut self, history: &Mutex<History>) {
        let start = Instant::now();
        let out = self.monitor.all(self.flags).args(["--format", "json"]).run();
        let end = Instant::now();
        let objects: Vec<Value> = serde_json::from_str(&out.stdout).unwrap_or_else(|error| panic!("{error}: {out:?}"));
        let lost = self.flags.iter().any(|flag| flag.starts_with("--lost"));
        let truths = SERVICES.map(|service| {
            let truth = self.book.truth(history, [start, end, end], |pod| is_of(service, pod));
            (service, as_far_as_it_ran(truth, &out))
        });
        self.book.run(truths[0].1);
        let mut worst_is_told = true;
        for (service, truth) in truths {
            let told = self.told.get_mut(service).expect("each service");
            let Some(object) = objects.iter().find(|object| object["service"] == service) else {
                // One that was never seen may be found later; one that was is never left out.
                let fault = told.seen.then_some(Fault::MissedOutage);
                self.book.said("nothing", false, truth, fault, &out);
                continue;
            };
            let (said, asked) = read(object);
            let mut fault = told
                .judge(said, truth)
                .or_else(|| self.book.judge_flags(object, lost, history, truth))
                .or((!fits(said, object, code_of(object))).then_some(Fault::Odd));
            // "There is only this one retry", and after it the outage was as it had been before the check.
            let then = || self.book.truth(history, [start, end, start], |pod| is_of(service, pod));
            if fault == Some(Fault::FalseAlarm) && was_open_before(object, end - start) && !then().up {
                self.book.window("came back while --all went on for others");
                fault = None;
            }
            self.book
                .said(&format!("{said:?}"), asked, truth, fault, &(service, &out));
            worst_is_told &= !matches!(said, Said::Down { .. }) || out.code == Some(2);
        }
        let is_sound = worst_is_told
            && objects[0]["service"].is_null()
            && code_of(&objects[0]) == out.code
            && out.stderr.is_empty();
        if !is_sound {
            self.book.said("the worst", false, truths[0].1, Some(Fault::Odd), &out);
        }
    }

    /// A run that is killed while it is at it.
    fn killed_check(&mut self, dice: &mut Dice) {
        let run = self.monitor.all(self.flags).spawn();
        thread::sleep(Duration::from_millis(dice.below(400) as u64));
        drop(run);
        self.told.values_mut().for_each(|told| told.unsure = true);
    }
}

impl Watch for AllWatcher {
    fn ask(&mut self, history: &Mutex<History>, dice: &mut Dice) {
        match self.mode {
            Mode::Killed if dice.below(4) == 0 => self.killed_check(dice),
            _ => self.check(history),
        }
    }

    fn book(&self) -> &Book {
        &self.book
    }
}

pub fn strs(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// Returns a pod of the first service that is there, or was lately.
pub fn one_pod(history: &Mutex<History>, dice: &mut Dice) -> Option<String> {
    let mut pods = history.lock().expect("no panic").pods();
    pods.retain(|pod| is_of(SERVICES[0], pod));
    (!pods.is_empty()).then(|| dice.one_of(&pods).clone())
}

/// The exit code of an object of JSON.
pub fn code_of(object: &Value) -> Option<i32> {
    object["exit_code"].as_i64().and_then(|code| code.try_into().ok())
}

/// Returns `true` if the verdict on a service has this exit code.
pub fn fits(said: Said, json: &Value, code: Option<i32>) -> bool {
    let codes: &[i32] = match said {
        Said::Up | Said::Recovered if has(json, "instances_lost") || has(json, "restarts") => &[0, 1, 2],
        Said::Up | Said::Recovered => &[0, 1],
        Said::Down { .. } => &[2],
        Said::NotAsked => &[3],
        // By `-c 1:`, which needs no memory.
        Said::NeverSeen => &[2, 3],
    };
    code.is_some_and(|code| codes.contains(&code))
}

/// A run that stood in the queue for a processor had less time to ask: whether NATS was fine does not tell what it has to say. Nobody
/// is excused from what was true of the service.
fn as_far_as_it_ran(truth: Truth, out: &Output) -> Truth {
    match out.queued > Duration::from_millis(500) && truth.nats == Nats::Fine {
        true => Truth {
            nats: Nats::Disturbed,
            ..truth
        },
        false => truth,
    }
}

/// Returns `true` if a check that took this long says "still down, no responders".
fn was_open_before(json: &Value, took: Duration) -> bool {
    let since = json["outage"]["seconds"].as_f64();
    has(json, "service_down") && since.is_some_and(|since| since > took.as_secs_f64())
}

fn has(json: &Value, reason: &str) -> bool {
    let findings = json["findings"].as_array().expect("findings");
    findings.iter().any(|finding| finding["reason"] == reason)
}

/// Returns the verdict of a check, and whether it got an answer.
pub fn read(json: &Value) -> (Said, bool) {
    let asked = json["asked"] == true;
    (say(|reason| has(json, reason), asked, json["up"] == true), asked)
}

/// Returns the verdict in metrics, whether the check got an answer, and whether they agree with each other.
pub fn read_metrics(text: &str) -> (Said, bool, bool) {
    let metrics = Metrics::parse(text);
    let of = |name| metrics.of(SERVICES[0], name);
    let reasons = metrics.reasons(SERVICES[0]);
    let (asked, up) = (of("nats_service_probe_success") == Some(1.0), of("nats_service_up"));
    let said = say(|reason| reasons.contains(&reason), asked, up == Some(1.0));
    let fits = match said {
        Said::Up | Said::Recovered => (Some(1.0), Some(0.0)),
        Said::Down { asked: true } => (Some(0.0), Some(1.0)),
        Said::Down { asked: false } => (None, Some(1.0)),
        Said::NeverSeen => (Some(0.0), Some(0.0)),
        Said::NotAsked => (None, Some(0.0)),
    };
    (said, asked, (up, of("nats_service_outage")) == fits)
}

fn say(is: impl Fn(&str) -> bool, asked: bool, up: bool) -> Said {
    match () {
        () if is("service_down") || is("service_silent") => Said::Down { asked },
        () if is("service_recovered") => Said::Recovered,
        () if is("service_up") || up => Said::Up,
        () if is("service_never_seen") => Said::NeverSeen,
        () => Said::NotAsked,
    }
}
