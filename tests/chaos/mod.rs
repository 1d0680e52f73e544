//! Everything breaks at random, and an oracle knows the truth: no false alarm, and no missed outage.
//!
//! A driver starts, kills, freezes and thaws instances of seven client libraries, stops, kills and freezes servers, pulls and plugs
//! the cables of the hosts that the instances are on, loses packets, and breaks the path of a monitor that asks from a distance, and
//! kills runs.
//! Meanwhile monitors and probes run all the time. Each run is judged by what was true from its start to its end.
//!
//! The usual run is short. `CHAOS_SEED=7 CHAOS_SECONDS=3600 tests/run.sh chaos -- --nocapture` is the long one: the same actions
//! for the same seed, on one server or on a cluster, and a table of what was said.

mod hosts;
mod model;
mod oracle;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::support::service::Builder;
use super::support::{Monitor, Output, Proxy, Server, Service, Version, is_root};
use super::topologies::Net;
use hosts::Hosts;
use model::{Action, CLIENTS, Dice, Model, Path};
use oracle::{Fault, From, History, Moment, Nats, Said, Told, Truth, judge_probe};

/// The servers, the services and the network between them.
struct World {
    net: Net,
    hosts: Option<Hosts>,
    services: BTreeMap<String, Service>,
    far: Proxy,
    model: Model,
    history: Arc<Mutex<History>>,
    dice: Dice,
    clock: Clock,
}

/// Tells times in seconds since the beginning.
#[derive(Clone, Copy)]
struct Clock(Instant);

impl Clock {
    fn at(self, time: Instant) -> String {
        format!("{:8.3}", (time - self.0).as_secs_f64())
    }
}

impl World {
    fn new(seed: u64) -> World {
        let mut dice = Dice(seed);
        let version = *dice.one_of(&Version::ALL);
        let size = *dice.one_of(&[1, 1, 3]);
        println!("seed {seed}:");
        World::of(version, size, dice)
    }

    fn of(version: Version, size: usize, dice: Dice) -> World {
        let hosts = is_root().then(|| Hosts::new(2));
        let address = hosts.as_ref().map_or("127.0.0.1".into(), Hosts::switch);
        let net = match size {
            1 => Net(vec![Server::on_host(&address, version, "")]),
            _ => Net::cluster_on(&address, version, size),
        };
        let loss = match &hosts {
            Some(hosts) if hosts.netem() => "netem",
            Some(_) => "no netem in this kernel: packets are lost by iptables, and delayed by a proxy only",
            None => "no hosts of their own",
        };
        println!("{size} servers, {version:?}; {loss}");
        let far = Proxy::to(format!("{address}:{}", net.0[0].port()).parse().expect("an address"));
        let model = Model::new(size, 2, hosts.is_some());
        let history = Arc::new(Mutex::new(History::default()));
        history.lock().expect("no panic").push(model.moment(Instant::now()));
        World {
            net,
            hosts,
            services: BTreeMap::new(),
            far,
            model,
            history,
            dice,
            clock: Clock(Instant::now()),
        }
    }

    /// All servers, in the order in which a monitor tries them.
    fn url(&self) -> String {
        let urls: Vec<_> = self.net.0.iter().map(Server::url).collect();
        urls.join(",")
    }

    /// Does it, and notes what is true before, meanwhile and after.
    fn act(&mut self, action: &Action) {
        let before = self.model.moment(Instant::now());
        let now = Instant::now();
        let planned = self.model.after(action, now).moment(now);
        self.note(Moment::between(&before, &planned));
        self.perform(action);
        let now = Instant::now();
        println!("{} {action:?}", self.clock.at(now));
        self.model = self.model.after(action, now);
        self.note(self.model.moment(now));
    }

    fn note(&self, moment: Moment) {
        self.history.lock().expect("no panic").push(moment);
    }

    fn perform(&mut self, action: &Action) {
        match action {
            Action::Start { client, host, pod } => {
                let service = self.start(client, *host, pod);
                self.services.insert(pod.clone(), service);
            }
            Action::Kill(pod) => self.services.remove(pod).expect("it runs").kill(),
            Action::KillAll => std::mem::take(&mut self.services).into_values().for_each(Service::kill),
            Action::Freeze(pod) => self.services[pod].freeze(),
            Action::ThawAll => self.services.values().for_each(Service::thaw),
            Action::StopServer { server, hard: true } => self.net.0[*server].kill(),
            Action::StopServer { server, hard: false } => self.net.0[*server].stop(),
            Action::StartServer(server) => self.net.0[*server].start_again(),
            Action::FreezeServer(server) => self.net.0[*server].freeze(),
            Action::ThawServer(server) => self.net.0[*server].thaw(),
            Action::LinkDown(host) => self.hosts.as_ref().expect("links").link(*host, false),
            Action::LinkUp(host) => self.hosts.as_ref().expect("links").link(*host, true),
            Action::Loss { host, percent } => self.hosts.as_ref().expect("links").lose(*host, *percent),
            Action::Path(Path::Stuck) => self.far.stick(),
            Action::Path(Path::Cut) => self.far.cut(),
            Action::Path(Path::Whole) => {
                self.far.unstick();
                self.far.mend();
            }
            Action::Delay(each_way) => self.far.delay(*each_way),
            Action::Rest => {}
        }
    }

    fn start(&mut self, client: &str, host: usize, pod: &str) -> Service {
        const STARTS: [fn(&str, &str) -> Builder; 7] = [
            Service::nats_py,
            Service::nats_js,
            Service::nats_js_2,
            Service::nats_go_1_41,
            Service::async_nats,
            Service::nats_micro_py,
            Service::nats_micro_js,
        ];
        let nth = CLIENTS.iter().position(|name| *name == client).expect("a client");
        let url = self.dice.one_of(&self.net.0).url();
        let builder = STARTS[nth](&url, "orders").metadata("pod", pod);
        match &self.hosts {
            Some(hosts) => builder
                .under(&hosts.run_on(host).each_ref().map(String::as_str))
                .start(),
            None => builder.start(),
        }
    }

    fn start_one(&mut self, client: &'static str, pod: &str) {
        self.act(&Action::Start {
            client,
            host: 0,
            pod: pod.into(),
        });
    }

    /// Actions at random for as long, with pauses between them.
    fn rage(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            let action = self.model.choose(&mut self.dice);
            self.act(&action);
            // Real time has to go by: runs are under way meanwhile.
            thread::sleep(Duration::from_millis(*self.dice.one_of(&[0, 50, 300, 1000, 3000])));
        }
    }

    fn mend(&mut self) {
        while let Some(action) = self.model.mend() {
            self.act(&action);
        }
    }
}

/// Some of whose runs are killed.
const KILLED: &str = "check, killed";

/// Who asks again and again, and what came of it.
struct Watcher {
    name: &'static str,
    from: From,
    monitor: Monitor,
    flags: &'static [&'static str],
    told: Told,
    clock: Clock,
    tally: Arc<Mutex<Tally>>,
}

#[derive(Default)]
struct Tally {
    runs: usize,
    /// Runs that got an answer: what the state counts as an epoch.
    epochs: usize,
    had_to_pass: usize,
    had_to_fail: usize,
    said: BTreeMap<String, usize>,
    faults: BTreeMap<Fault, usize>,
    complaints: Vec<String>,
}

impl Watcher {
    fn new(name: &'static str, from: From, url: &str, flags: &'static [&'static str], clock: Clock) -> Watcher {
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
    fn check(&mut self, history: &Mutex<History>) {
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
    fn killed_check(&mut self, dice: &mut Dice) {
        let run = self.monitor.check(self.flags).spawn();
        thread::sleep(Duration::from_millis(dice.below(400) as u64));
        drop(run);
        self.told.unsure = true;
    }

    /// What a probe of one pod says: of one that is there, or was lately.
    fn probe(&mut self, history: &Mutex<History>, dice: &mut Dice) {
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

/// Breaks things at random for as long, while everybody asks. Returns what came of it.
fn chaos(seed: u64, time: Duration) -> Vec<(&'static str, Arc<Mutex<Tally>>)> {
    let mut world = World::new(seed);
    world.start_one("nats.js 3", "the-first");
    let far = world.far.url();
    let watcher = |name, from, url: &str, flags| Watcher::new(name, from, url, flags, world.clock);
    let url = world.url();
    let stats = &[
        "--stats",
        "--lost-warning",
        "1",
        "--restarts-warning",
        "50",
        "--mixed-versions",
        "warning",
    ];
    let watchers = [
        watcher("check", From::Nearby, &url, &[]),
        watcher(KILLED, From::Nearby, &url, &[]),
        watcher("check --stats", From::Nearby, &url, stats),
        watcher("check -c 1:", From::Nearby, &url, &["-c", "1:", "--census", "0"]),
        watcher("check from afar", From::ADistance, &far, &[]),
        watcher("probe", From::Nearby, &url, &[]),
        watcher("probe from afar", From::ADistance, &far, &[]),
    ];
    let tallies: Vec<_> = watchers
        .iter()
        .map(|watcher| (watcher.name, Arc::clone(&watcher.tally)))
        .collect();
    let over = AtomicBool::new(false);
    let history = Arc::clone(&world.history);
    thread::scope(|scope| {
        for (nth, mut watcher) in watchers.into_iter().enumerate() {
            let (over, history, mut dice) = (&over, &history, Dice(seed + nth as u64 + 1));
            scope.spawn(move || {
                while !over.load(SeqCst) {
                    if watcher.name == KILLED && dice.below(4) == 0 {
                        watcher.killed_check(&mut dice);
                    }
                    match watcher.name.starts_with("probe") {
                        true => watcher.probe(history, &mut dice),
                        false => watcher.check(history),
                    }
                    thread::sleep(Duration::from_millis(dice.below(500) as u64));
                }
            });
        }
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            world.rage(time);
            finish(&mut world, &tallies);
        }));
        over.store(true, SeqCst);
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    tallies
}

/// At the end everybody has to say once more that it is up, and then that it is down: so no outage stays open, none is slept
/// through, and nobody's runs were without meaning.
fn finish(world: &mut World, tallies: &[(&str, Arc<Mutex<Tally>>)]) {
    world.mend();
    world.act(&Action::KillAll);
    world.start_one("async-nats", "the-last");
    // Probes ask for it alone from now on.
    for _ in 0..oracle::LATELY {
        world.act(&Action::Rest);
    }
    let everybody_again = |what: &str, count: fn(&Tally) -> usize| {
        let counts = || tallies.iter().map(|(_, tally)| count(&tally.lock().expect("no panic")));
        let (before, start): (Vec<_>, _) = (counts().collect(), Instant::now());
        while !counts().zip(&before).all(|(now, before)| now > *before) {
            assert!(start.elapsed() < Duration::from_secs(60), "not within a minute: {what}");
            thread::sleep(Duration::from_millis(50));
        }
    };
    everybody_again("everybody hears it", |tally| tally.had_to_pass);
    world.act(&Action::KillAll);
    everybody_again("everybody misses it", |tally| tally.had_to_fail);
}

/// Prints what came of it, and fails if anything was wrong.
#[track_caller]
fn report(tallies: &[(&'static str, Arc<Mutex<Tally>>)]) {
    let mut table = format!(
        "{:<16} | {:>5} | {:>6} | {:>10} | {:>12} | {:>12} | {:>5} | {:>14} | {:>3} | said\n",
        "who", "runs", "epochs", "must be up", "must be down", "false alarms", "hasty", "missed outages", "odd"
    );
    let mut complaints = Vec::new();
    for (name, tally) in tallies {
        let tally = tally.lock().expect("no panic");
        let of = |fault| tally.faults.get(&fault).copied().unwrap_or(0);
        let (alarms, hasty) = (of(Fault::FalseAlarm), of(Fault::HastyAlarm));
        let (missed, odd) = (of(Fault::MissedOutage), of(Fault::Odd));
        let said: Vec<_> = tally
            .said
            .iter()
            .map(|(said, count)| format!("{said} {count}"))
            .collect();
        let said = said.join(", ");
        let (runs, epochs, pass, fail) = (tally.runs, tally.epochs, tally.had_to_pass, tally.had_to_fail);
        writeln!(
            table,
            "{name:<16} | {runs:>5} | {epochs:>6} | {pass:>10} | {fail:>12} | {alarms:>12} | {hasty:>5} | {missed:>14} | {odd:>3} | {said}"
        )
        .expect("memory");
        complaints.extend(tally.complaints.clone());
    }
    println!("{table}");
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn nothing_that_breaks_makes_a_false_alarm_or_hides_an_outage() {
    let number = |name| std::env::var(name).ok().map(|value| value.parse().expect("a number"));
    let seed = number("CHAOS_SEED").unwrap_or(1);
    let seconds = number("CHAOS_SECONDS").unwrap_or(15);
    report(&chaos(seed, Duration::from_secs(seconds)));
}

/// Of checks that are right nothing can be learned about the oracle: one that does not ask again is wrong.
#[test]
fn a_hasty_check_is_caught() {
    let mut world = World::of(Version::Newest, 1, Dice(1));
    let mut hasty = Watcher::new(
        "hasty check",
        From::Nearby,
        &world.url(),
        &["--confirm", "0"],
        world.clock,
    );
    world.start_one("nats.js 3", "one");
    hasty.check(&world.history);
    world.act(&Action::StopServer { server: 0, hard: true });
    world.act(&Action::StartServer(0));
    hasty.check(&world.history);
    let faults = hasty.tally.lock().expect("no panic").faults.clone();
    assert_eq!(faults, BTreeMap::from([(Fault::HastyAlarm, 1)]));
}
