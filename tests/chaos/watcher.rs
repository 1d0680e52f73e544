//! Who asks again and again, and is judged.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::model::Dice;
use super::oracle::{Fault, From, History, Nats, Said, Told, Truth, judge_probe};
use super::world::Clock;
use crate::support::{Monitor, Output};

/// Some of whose runs are killed.
pub const KILLED: &str = "check, killed";

/// Who asks again and again, and what came of it.
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

    /// What a check says, as JSON.
    pub fn check(&mut self, history: &Mutex<History>) {
        let start = Instant::now();
        let out = self.monitor.check(self.flags).args(["--format", "json"]).run();
        let end = Instant::now();
        let truth = history
            .lock()
            .expect("no panic")
            .truth(self.from, start, end, end, None);
        let truth = as_far_as_it_ran(truth, &out);
        let (said, asked) = read(&out);
        let fault = self.told.judge(said, truth).or_else(|| {
            let codes: &[i32] = match said {
                Said::Up | Said::Recovered => &[0, 1],
                Said::Down { .. } => &[2],
                Said::NotAsked => &[3],
                // By `-c 1:`, which needs no memory.
                Said::NeverSeen => &[2, 3],
            };
            let good = out.code.is_some_and(|code| codes.contains(&code)) && out.stderr.is_empty();
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

    /// What a probe of one pod says: of one that is there, or was lately.
    pub fn probe(&mut self, history: &Mutex<History>, dice: &mut Dice) {
        let pods = history.lock().expect("no panic").pods();
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
            .truth(self.from, start, end, start, Some(pod));
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
        tally.epochs += usize::from(epoch);
        tally.had_to_pass += usize::from(truth.up);
        tally.had_to_fail += usize::from(truth.down);
        *tally.said.entry(said.to_owned()).or_default() += 1;
        if let Some(fault) = fault {
            *tally.faults.entry(fault).or_default() += 1;
            let (clock, name) = (self.clock.at(Instant::now()), self.name);
            let complaint = format!("{clock} {fault:?}: {name} said {said}, but {truth:?}: {out:?}");
            println!("{complaint}");
            tally.complaints.push(complaint);
        }
    }
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

/// What a check says, and whether it got an answer.
fn read(out: &Output) -> (Said, bool) {
    let json: Value = serde_json::from_str(&out.stdout).unwrap_or_else(|error| panic!("{error}: {out:?}"));
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
