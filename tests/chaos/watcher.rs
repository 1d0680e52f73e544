//! The watchers, which check again and again, and are judged.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::model::{Dice, SERVICES, is_of};
use super::oracle::{Fault, From, History, Nats, Said, Told, Truth, judge_probe};
use super::world::Clock;
use crate::support::{AllMonitor, Monitor, Output};

/// Some of whose runs are killed.
pub const KILLED: &str = "check, killed";

/// The same, of those who ask for all services.
pub const KILLED_ALL: &str = "--all, killed";

/// Watcher, which checks again and again, and its results.
pub struct Watcher {
    pub name: &'static str,
    from: From,
    monitor: Monitor,
    flags: &'static [&'static str],
    told: Told,
    clock: Clock,
    pub tally: Arc<Mutex<Tally>>,
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
    pub complaints: Vec<String>,
}

impl Watcher {
    pub fn new(name: &'static str, from: From, url: &str, flags: &'static [&'static str], clock: Clock) -> Watcher {
        Watcher {
            name,
            from,
            monitor: Monitor::new(url),
            flags,
            told: Told::default(),
            clock,
            tally: Arc::default(),
        }
    }

    /// Runs a check, and records its verdict, from JSON.
    pub fn check(&mut self, history: &Mutex<History>) {
        let start = Instant::now();
        let out = self.monitor.check(self.flags).args(["--format", "json"]).run();
        let end = Instant::now();
        let truth = history
            .lock()
            .expect("no panic")
            .truth(self.from, start, end, end, |pod| is_of(SERVICES[0], pod));
        let truth = as_far_as_it_ran(truth, &out);
        let json: Value = serde_json::from_str(&out.stdout).unwrap_or_else(|error| panic!("{error}: {out:?}"));
        let (said, asked) = read(&json);
        let fault = self.told.judge(said, truth).or_else(|| {
            let good = fits(said, out.code) && out.stderr.is_empty();
            (!good).then_some(Fault::Odd)
        });
        self.count(&format!("{said:?}"), asked, truth, fault, &out);
    }

    /// A run that is killed while it is at it. The next one has to be right all the same.
    pub fn killed_check(&mut self, dice: &mut Dice) {
        let run = self.monitor.check(self.flags).spawn();
        thread::sleep(Duration::from_millis(dice.below(400) as u64));
        drop(run);
        self.told.unsure = true;
    }

    /// Runs a probe of one pod, and records its result: of a pod that is there, or was lately.
    pub fn probe(&mut self, history: &Mutex<History>, dice: &mut Dice) {
        let mut pods = history.lock().expect("no panic").pods();
        pods.retain(|pod| is_of(SERVICES[0], pod));
        if pods.is_empty() {
            return;
        }
        let (pod, liveness) = (dice.one_of(&pods), dice.below(2) == 0);
        let kind = if liveness { "liveness" } else { "readiness" };
        let start = Instant::now();
        // More than the 800 ms that it has: this machine is busy, and a late answer is none.
        let words = ["probe", kind, "--match", &format!("pod={pod}"), "--timeout", "3s"];
        let out = self.monitor.ask(&words).run();
        let end = Instant::now();
        // A probe does not wait for an instance that comes back: Kubernetes asks three times.
        let truth = history
            .lock()
            .expect("no panic")
            .truth(self.from, start, end, start, |other| other == pod);
        let truth = as_far_as_it_ran(truth, &out);
        let fault = match out.code {
            Some(code @ (0 | 1)) => judge_probe(liveness, code == 0, truth),
            _ => Some(Fault::Odd),
        };
        let answer = if out.code == Some(0) { "passes" } else { "fails" };
        self.count(&format!("{kind} {answer}"), false, truth, fault, &out);
    }

    fn count(&self, said: &str, epoch: bool, truth: Truth, fault: Option<Fault>, out: &Output) {
        let mut tally = self.tally.lock().expect("no panic");
        tally.runs += 1;
        tally.had_to_pass += usize::from(truth.up);
        tally.had_to_fail += usize::from(truth.down);
        tally.count(said, epoch);
        if let Some(fault) = fault {
            let (clock, name) = (self.clock.at(Instant::now()), self.name);
            tally.complain(
                fault,
                format!("{clock} {fault:?}: {name} said {said}, but {truth:?}: {out:?}"),
            );
        }
    }
}

impl Tally {
    fn count(&mut self, said: &str, epoch: bool) {
        self.epochs += usize::from(epoch);
        *self.said.entry(said.to_owned()).or_default() += 1;
    }

    fn complain(&mut self, fault: Fault, complaint: String) {
        *self.faults.entry(fault).or_default() += 1;
        println!("{complaint}");
        self.complaints.push(complaint);
    }
}

/// Watcher that checks all services again and again. Each service is judged by its own truth.
pub struct AllWatcher {
    pub name: &'static str,
    from: From,
    monitor: AllMonitor,
    flags: &'static [&'static str],
    told: BTreeMap<&'static str, Told>,
    clock: Clock,
    pub tally: Arc<Mutex<Tally>>,
}

impl AllWatcher {
    pub fn new(name: &'static str, from: From, url: &str, flags: &'static [&'static str], clock: Clock) -> AllWatcher {
        AllWatcher {
            name,
            from,
            monitor: AllMonitor::new(url),
            flags,
            told: SERVICES.map(|service| (service, Told::default())).into(),
            clock,
            tally: Arc::default(),
        }
    }

    pub fn check(&mut self, history: &Mutex<History>) {
        let start = Instant::now();
        let out = self.monitor.all(self.flags).args(["--format", "json"]).run();
        let end = Instant::now();
        let objects: Vec<Value> = serde_json::from_str(&out.stdout).unwrap_or_else(|error| panic!("{error}: {out:?}"));
        let mut tally = self.tally.lock().expect("no panic");
        tally.runs += 1;
        let mut worst_is_told = true;
        for (service, told) in &mut self.told {
            let of_service = |pod: &str| is_of(service, pod);
            let truth = history
                .lock()
                .expect("no panic")
                .truth(self.from, start, end, end, of_service);
            let truth = as_far_as_it_ran(truth, &out);
            if *service == SERVICES[0] {
                tally.had_to_pass += usize::from(truth.up);
                tally.had_to_fail += usize::from(truth.down);
            }
            let Some(object) = objects.iter().find(|object| object["service"] == *service) else {
                // One that was never seen may be found later; one that was is never left out.
                let fault = told.seen.then_some(Fault::MissedOutage);
                if let Some(fault) = fault {
                    let complaint = format!(
                        "{} {fault:?}: {} left out {service}: {out:?}",
                        self.clock.at(end),
                        self.name
                    );
                    tally.complain(fault, complaint);
                }
                continue;
            };
            let (said, asked) = read(object);
            tally.count(&format!("{said:?}"), asked);
            let fault = told.judge(said, truth);
            let fault = fault.or((!fits(said, code_of(object))).then_some(Fault::Odd));
            if let Some(fault) = fault {
                let (clock, name) = (self.clock.at(Instant::now()), self.name);
                tally.complain(
                    fault,
                    format!("{clock} {fault:?}: {name} said {said:?} of {service}, but {truth:?}: {out:?}"),
                );
            }
            worst_is_told &= !matches!(said, Said::Down { .. }) || out.code == Some(2);
        }
        let is_sound = worst_is_told
            && objects[0]["service"].is_null()
            && code_of(&objects[0]) == out.code
            && out.stderr.is_empty();
        if !is_sound {
            let complaint = format!("{} {:?}: {}: {out:?}", self.clock.at(end), Fault::Odd, self.name);
            tally.complain(Fault::Odd, complaint);
        }
    }

    /// A run that is killed while it is at it.
    pub fn killed_check(&mut self, dice: &mut Dice) {
        let run = self.monitor.all(self.flags).spawn();
        thread::sleep(Duration::from_millis(dice.below(400) as u64));
        drop(run);
        self.told.values_mut().for_each(|told| told.unsure = true);
    }
}

/// The exit code of an object of JSON.
fn code_of(object: &Value) -> Option<i32> {
    object["exit_code"].as_i64().and_then(|code| code.try_into().ok())
}

/// Returns `true` if the verdict on a service has this exit code.
fn fits(said: Said, code: Option<i32>) -> bool {
    let codes: &[i32] = match said {
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

/// Returns the verdict of a check, and whether it got an answer.
fn read(json: &Value) -> (Said, bool) {
    let findings: Vec<_> = json["findings"].as_array().expect("findings").iter().collect();
    let is = |reason| findings.iter().any(|finding| finding["reason"] == reason);
    let asked = json["asked"] == true;
    let said = match () {
        () if is("service_down") || is("service_silent") => Said::Down { asked },
        () if is("service_recovered") => Said::Recovered,
        () if is("service_up") || json["up"] == true => Said::Up,
        () if is("service_never_seen") => Said::NeverSeen,
        () => Said::NotAsked,
    };
    (said, asked)
}
