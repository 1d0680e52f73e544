//! Two services in one memory: a run with `--all`, by the real judge of all and the real format of the account's state.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use check_nats_service::cli::{self, AllConfig, Command, Scope};
use check_nats_service::commands::run_all::{judge_all, probe_plan};
use check_nats_service::judge::verdict::Verdict;
use check_nats_service::judge::{judge, overview};
use check_nats_service::probe::observation::{AllObservation, Failure, Fate, Observation, Outcome, Silence};
use check_nats_service::state::account::{AccountKey, AccountMemory};
use check_nats_service::state::account_format;
use check_nats_service::state::account_store::Turn;
use check_nats_service::state::memory::Memory;
use check_nats_service::values::status::{Reason, Status};
use check_nats_service::values::timestamp::Timestamp;

use super::events::{NOW, PAUSES, Seen};
use super::truth::{Class, Truth, shift, without_trouble};
use super::{World, ensure};

const NAMES: [&str; 2] = ["x", "y"];

/// The sets of flags.
pub const FLAGS: [&str; 4] = [
    "",
    "--expect x",
    "--adopt-after 10m --lost-warning 1 --restarts-warning 1",
    "--silent warning --never-seen ok --unreachable ok --forget-after 10m",
];

/// Result of the query to all services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Common {
    Asked,
    /// It is not allowed, so that each service is asked by name.
    Denied,
    /// NATS could not be asked, or not to the end: only those that replied are known.
    Failed(Reason),
}

/// Observation of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    common: Common,
    seen: [Seen; 2],
}

/// State of the file when a run reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    Whole,
    Missing,
    /// The memory of this service cannot be read.
    Broken(usize),
    /// The file ends within the memory of this service.
    Cut(usize),
}

/// Event that changes the memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Run {
        pause: i64,
        file: File,
        look: Look,
        is_killed: bool,
    },
    /// Two runs read the same memory; the one that sees its epoch first saves last.
    Overlap { earlier: Look, later: Look },
    /// `state reset --only NAME`
    Forget(usize),
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Seen::Instances { answer, .. } => write!(f, "{} instances", answer.len()),
            other => write!(f, "{other:?}"),
        }
    }
}

impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [x, y] = &self.seen;
        write!(f, "{:?}, x {x}, y {y}", self.common)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Run {
                pause,
                file,
                look,
                is_killed,
            } => {
                let killed = if *is_killed { ", killed before it saves" } else { "" };
                let seconds = *pause as f64 / 1e6;
                write!(f, "{seconds:>8} s later: {look}, state {file:?}{killed}")
            }
            Event::Overlap { earlier, later } => write!(f, "at once: first {earlier}; saves first: {later}"),
            Event::Forget(nth) => write!(f, "{} is forgotten", NAMES[*nth]),
        }
    }
}

/// Instances with these numbers answer.
fn up(answer: &[usize]) -> Seen {
    Seen::Instances {
        answer: answer.to_vec(),
        absent: Fate::Gone,
        queue: false,
    }
}

fn asked(x: &Seen, y: &Seen) -> Look {
    Look {
        common: Common::Asked,
        seen: [x.clone(), y.clone()],
    }
}

fn failed(reason: Reason) -> Look {
    Look {
        common: Common::Failed(reason),
        seen: [Seen::Failed(reason), Seen::Failed(reason)],
    }
}

fn run(pause: i64, look: Look) -> Event {
    Event::Run {
        pause,
        file: File::Whole,
        look,
        is_killed: false,
    }
}

/// Each pair of these.
fn pairs(seen: &[Seen]) -> Vec<Look> {
    seen.iter()
        .flat_map(|x| seen.iter().map(move |y| asked(x, y)))
        .collect()
}

/// Every event there is.
pub fn wide() -> Vec<Event> {
    let all = [
        up(&[0]),
        up(&[3]),
        up(&[0, 1]),
        Seen::NoResponders,
        Seen::Silent(Silence::Subscribed),
        Seen::Failed(Reason::PermissionDenied),
    ];
    let basic = pairs(&[up(&[0]), Seen::NoResponders]);
    let minute = PAUSES[1];
    let mut events: Vec<Event> = PAUSES[1..3]
        .iter()
        .flat_map(|pause| pairs(&all).into_iter().map(|look| run(*pause, look)))
        .collect();
    for pause in PAUSES {
        let reasons = [Reason::NatsUnreachable, Reason::ProtocolError, Reason::Interrupted];
        events.extend(reasons.map(|reason| run(pause, failed(reason))));
    }
    for look in &basic {
        events.push(run(PAUSES[3], look.clone()));
        events.push(Event::Run {
            pause: minute,
            file: File::Whole,
            look: look.clone(),
            is_killed: true,
        });
        events.push(run(
            minute,
            Look {
                common: Common::Denied,
                ..look.clone()
            },
        ));
        let files = [
            File::Missing,
            File::Broken(0),
            File::Broken(1),
            File::Cut(0),
            File::Cut(1),
        ];
        events.extend(files.map(|file| Event::Run {
            pause: minute,
            file,
            look: look.clone(),
            is_killed: false,
        }));
        events.extend(basic.iter().map(|later| Event::Overlap {
            earlier: look.clone(),
            later: later.clone(),
        }));
    }
    for answers in [0, 1] {
        // The connection breaks when one of them has replied.
        let mut look = failed(Reason::NatsUnreachable);
        look.seen[answers] = up(&[0]);
        events.push(run(minute, look));
        events.push(Event::Forget(answers));
    }
    events
}

/// Few events, for long sequences.
pub fn narrow() -> Vec<Event> {
    let minute = PAUSES[1];
    let mut events: Vec<Event> = pairs(&[up(&[0]), Seen::NoResponders])
        .into_iter()
        .map(|look| run(minute, look))
        .collect();
    events.extend([
        run(PAUSES[2], asked(&Seen::NoResponders, &up(&[0]))),
        run(minute, failed(Reason::NatsUnreachable)),
        run(minute, asked(&up(&[3]), &Seen::Failed(Reason::PermissionDenied))),
        Event::Forget(0),
        Event::Run {
            pause: minute,
            file: File::Broken(1),
            look: asked(&Seen::NoResponders, &Seen::NoResponders),
            is_killed: false,
        },
        Event::Overlap {
            earlier: asked(&up(&[0]), &Seen::NoResponders),
            later: asked(&Seen::NoResponders, &up(&[0])),
        },
    ]);
    events
}

/// Two services of one account, with these flags and under these events.
pub struct TwoServices {
    flags: &'static str,
    config: AllConfig,
    events: Vec<Event>,
    /// The events before the search.
    begin: Vec<Event>,
}

impl TwoServices {
    /// Nothing is remembered.
    pub fn new(flags: &'static str, events: Vec<Event>) -> TwoServices {
        let always = "check_nats_service check --all --server 127.0.0.1 --state-dir /nowhere";
        let args: Vec<OsString> = always
            .split(' ')
            .chain(flags.split_whitespace())
            .map(OsString::from)
            .collect();
        let arguments = match cli::parse(&args, &|_| None) {
            Ok(Command::Check(arguments)) => arguments,
            other => panic!("{other:?}"),
        };
        let Scope::All(services) = arguments.scope.clone() else {
            panic!("--all is for all services");
        };
        let config = AllConfig {
            services,
            target: arguments.target(&|_| None, Instant::now()).expect("a target"),
            settings: arguments.settings.clone(),
        };
        TwoServices {
            flags,
            config,
            events,
            begin: Vec::new(),
        }
    }

    /// Both services have answered.
    pub fn known(flags: &'static str, events: Vec<Event>) -> TwoServices {
        let both = run(PAUSES[2], asked(&up(&[0]), &up(&[0])));
        TwoServices {
            begin: vec![both.clone(), both],
            ..TwoServices::new(flags, events)
        }
    }

    /// The flags.
    pub fn name(&self) -> &'static str {
        if self.flags.is_empty() { "no flags" } else { self.flags }
    }
}

impl World for TwoServices {
    type State = Node;
    type Event = Event;

    fn start(&self) -> Node {
        let step = |node: Node, event: &Event| match self.after(&node, event) {
            Ok(Some(after)) => after,
            wrong => panic!("{event}: {wrong:?}"),
        };
        self.begin.iter().fold(Node::default(), step)
    }

    fn events(&self, _: &Node) -> Cow<'_, [Event]> {
        Cow::Borrowed(&self.events)
    }

    fn after(&self, node: &Node, event: &Event) -> Result<Option<Node>, String> {
        let mut node = node.clone();
        match event {
            Event::Forget(nth) => {
                node.memory.forget(NAMES[*nth]);
                node.truths[*nth] = ServiceTruth::default();
            }
            Event::Run {
                pause,
                file,
                look,
                is_killed,
            } => {
                let read = node.read(*pause, *file)?;
                let saved = node.clone();
                let peeked = node.peeked(&self.config, &read);
                node.look(&self.config, &peeked, look, NOW, &read)?;
                if *is_killed {
                    node = saved;
                }
            }
            Event::Overlap { earlier, later } => {
                let read = node.read(PAUSES[1], File::Whole)?;
                let peeked = node.peeked(&self.config, &read);
                node.look(&self.config, &peeked, later, NOW, &read)?;
                let read = node.read(0, File::Whole)?;
                let before = Timestamp::from_micros(NOW.as_micros() - 10_000);
                node.look(&self.config, &peeked, earlier, before, &read)?;
            }
        }
        // The judge does not read the history, and of the sequence number only whether it is another one.
        for memory in node.memory.services.values_mut() {
            memory.history.clear();
            memory.sequence = 1;
        }
        Ok(Some(node))
    }
}

/// Truth about a service after a path, found out without the judge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct ServiceTruth {
    truth: Truth,
    /// For how long it has answered without being watched, in microseconds.
    candidate: Option<i64>,
}

impl ServiceTruth {
    /// Returns `true` if it had instances in the last epoch, or its outage is open.
    fn is_remembered(&self) -> bool {
        self.truth.outage.is_some() || self.truth.last.is_some_and(|count| count > 0)
    }
}

/// A memory of both services, and the truth about each.
#[derive(Clone, Debug, Default)]
pub struct Node {
    memory: AccountMemory,
    truths: [ServiceTruth; 2],
}

impl Hash for Node {
    fn hash<H: Hasher>(&self, state: &mut H) {
        account_format::write(&key(), &self.memory).hash(state);
        self.truths.hash(state);
    }
}

/// Memory of a run when it begins.
struct Peeked {
    memory: AccountMemory,
    is_watched: [bool; 2],
}

/// Result of reading the file.
#[derive(Default)]
struct Read {
    /// The memories that cannot be read.
    is_broken: [bool; 2],
    damage: Option<String>,
}

fn key() -> AccountKey {
    AccountKey {
        prefix: "$SRV".into(),
        servers: vec!["127.0.0.1:4222".into()],
        user: None,
    }
}

impl Node {
    fn peeked(&self, config: &AllConfig, read: &Read) -> Peeked {
        let is_watched = |nth: usize| {
            self.truths[nth].is_remembered() || read.is_broken[nth] || config.services.expected.contains(NAMES[nth])
        };
        Peeked {
            memory: self.memory.clone(),
            is_watched: [is_watched(0), is_watched(1)],
        }
    }

    /// The time passes, and a run reads the file.
    fn read(&mut self, pause: i64, file: File) -> Result<Read, String> {
        for ServiceTruth { truth, candidate } in &mut self.truths {
            truth.wait(pause);
            candidate.iter_mut().for_each(|ago| *ago = (*ago + pause).max(0));
        }
        let moved = |at: &mut Timestamp| *at = Timestamp::from_micros(at.as_micros() - pause);
        self.memory
            .services
            .values_mut()
            .for_each(|memory| shift(memory, -pause));
        self.memory.candidates.values_mut().for_each(moved);
        self.memory.census.iter_mut().for_each(moved);
        let mut text = account_format::write(&key(), &self.memory);
        let mut read = Read::default();
        let mut lost = Vec::new();
        match file {
            File::Whole => {}
            File::Missing => {
                *self = Node::default();
                return Ok(read);
            }
            File::Broken(nth) | File::Cut(nth) => {
                let begin = format!(r#""{}":{{"sequence""#, NAMES[nth]);
                let Some(at) = text.find(&begin) else {
                    return Ok(read);
                };
                if let File::Broken(_) = file {
                    text.insert(at + begin.len() - 1, '!');
                    lost.push(nth);
                    read.is_broken[nth] = true;
                } else {
                    text.truncate(at + begin.len() + 1);
                    lost.extend(nth..2);
                }
            }
        }
        let loaded =
            account_format::read(&key(), text.as_bytes(), NOW).map_err(|why| format!("unreadable: {why:?}"))?;
        ensure(loaded.damage.is_some() != lost.is_empty(), "damage is not told")?;
        for (nth, name) in NAMES.into_iter().enumerate() {
            if lost.contains(&nth) {
                ensure(!loaded.memory.services.contains_key(name), "half a memory is read")?;
                self.truths[nth].truth = Truth::default();
            } else {
                let (before, after) = (self.memory.services.get(name), loaded.memory.services.get(name));
                ensure(before == after || pause < 0, "what is read is not what was written")?;
            }
        }
        self.memory = loaded.memory;
        read.damage = loaded.damage;
        Ok(read)
    }

    /// A run that began with this knowledge sees this, and saves.
    fn look(
        &mut self,
        config: &AllConfig,
        peeked: &Peeked,
        look: &Look,
        at: Timestamp,
        read: &Read,
    ) -> Result<(), String> {
        let AllConfig { services, settings, .. } = config;
        let policy = &settings.policy;
        let seen = observe(config, &peeked.memory, look, at);
        let mut turn = Turn::of(&self.memory);
        let mut report = judge_all(services, settings, &peeked.memory, &seen, &mut turn, NOW);
        if let Some(damage) = &read.damage {
            overview::add_problem(&mut report.overview, damage);
        }
        let next = turn.memory();
        let mut is_unknown = read.damage.is_some() || look.common != Common::Asked;
        let mut recovered = 0;
        for (nth, name) in NAMES.into_iter().enumerate() {
            let own = &mut self.truths[nth];
            let seen = seen.services.get(name);
            let is_up = matches!(look.seen[nth], Seen::Instances { .. }) && seen.is_some();
            let is_watched = peeked.is_watched[nth] || own.is_remembered();
            let is_adopted = is_up && own.is_adopted(config.services.adopt_after);
            if !matches!(look.common, Common::Failed(_)) {
                own.wait_for_adoption(config.services.adopt_after, is_watched, is_up);
            }
            let nothing = Memory::default();
            let before = self.memory.services.get(name).unwrap_or(&nothing);
            let mut verdicts = report.reports.iter().map(|report| &report.verdict);
            let verdict = verdicts.find(|verdict| verdict.service == name);
            let wrong = |why: String| format!("{name}: {why}");
            let mut expected = Some(before.clone()).filter(Memory::is_remembered);
            if let Some(seen) = seen.filter(|_| is_watched || is_adopted) {
                let mut class = Class::of(&seen.outcome, policy);
                let is_older = before.epoch.as_ref().is_some_and(|epoch| epoch.at > seen.at);
                let mut is_back = false;
                if is_older && class != Class::Unknown {
                    // The other one of two runs saw it later.
                    class = if own.truth.last > Some(0) {
                        Class::Up
                    } else {
                        Class::Empty
                    };
                    expected = Some(before.clone());
                } else {
                    is_back = own.truth.learn(&look.seen[nth], class);
                    own.forget(class, policy.forget_after);
                    expected = Some(judge(name, before, seen, policy, NOW).1);
                }
                recovered += usize::from(is_back);
                if let Some(verdict) = verdict {
                    own.truth.check_status(verdict, class, is_back, policy).map_err(wrong)?;
                }
                ensure(
                    verdict.is_some() || !own.is_remembered(),
                    "a service that is remembered is not told of",
                )?;
                is_unknown |= class == Class::Unknown || own.truth.last == Some(0) && own.truth.outage.is_none();
                let after = next.services.get(name).unwrap_or(&nothing);
                ensure(
                    class != Class::Unknown || without_trouble(before) == without_trouble(after),
                    "a run that could not ask changes the memory",
                )?;
            }
            let after = next.services.get(name);
            ensure(
                after == expected.as_ref(),
                &format!("{name} is remembered otherwise than if it were asked alone: {after:?}, {expected:?}"),
            )?;
            match after {
                Some(memory) => own.truth.check_memory(memory).map_err(wrong)?,
                None => {
                    ensure(!own.is_remembered(), "a service is forgotten")?;
                    own.truth = Truth::default();
                }
            }
        }
        // One that the other of two runs took in meanwhile is not known to this one.
        is_unknown |= !(0..2).any(|nth| self.truths[nth].is_remembered() && seen.services.contains_key(NAMES[nth]));
        self.check_overview(&report.overview, recovered, is_unknown, config)?;
        self.memory = next;
        Ok(())
    }

    fn check_overview(
        &self,
        overview: &Verdict,
        recovered: usize,
        is_unknown: bool,
        config: &AllConfig,
    ) -> Result<(), String> {
        let down: Vec<&str> = (0..2)
            .filter(|nth| self.truths[*nth].truth.outage.is_some())
            .map(|nth| NAMES[nth])
            .collect();
        let findings = overview.findings();
        let told = || {
            let told = findings
                .iter()
                .map(|f| format!("{} {}: {}", f.status.name(), f.reason.name(), f.text));
            told.collect::<Vec<_>>().join("; ")
        };
        let right = |is_true: bool, what: &str| ensure(is_true, &format!("{what}: {}", told()));
        let says_down = findings.iter().filter(|finding| {
            let is_down = matches!(finding.reason, Reason::ServiceDown | Reason::ServiceSilent);
            is_down && finding.status == Status::Critical
        });
        let names: String = says_down.map(|finding| finding.text.as_str()).collect();
        for name in NAMES {
            right(
                names.contains(&format!("{name} (")) == down.contains(&name),
                "the overview names the wrong services as down",
            )?;
        }
        let status = overview.status();
        right(
            down.is_empty() || status == Status::Critical,
            "an open outage is not CRITICAL for the whole run",
        )?;
        right(
            !down.is_empty() || status != Status::Critical,
            "CRITICAL without an outage",
        )?;
        let says_recovered = findings
            .iter()
            .any(|finding| finding.reason == Reason::ServiceRecovered);
        right(
            !says_recovered || recovered > 0,
            "the overview says recovered at the wrong time",
        )?;
        if config.settings.policy == check_nats_service::judge::Policy::default() && down.is_empty() {
            let is_missed =
                |nth: usize| config.services.expected.contains(NAMES[nth]) && !self.truths[nth].is_remembered();
            let is_unknown = is_unknown || is_missed(0) || is_missed(1);
            let expected = if is_unknown { Status::Unknown } else { Status::Ok };
            right(status == expected, &format!("{} was expected", expected.name()))?;
            right(
                status != Status::Ok || says_recovered == (recovered > 0),
                "the overview does not say recovered",
            )?;
        }
        Ok(())
    }
}

impl ServiceTruth {
    fn is_adopted(&self, after: Duration) -> bool {
        i128::from(self.candidate.unwrap_or(0)) >= after.as_micros() as i128
    }

    /// An outage is forgotten by an epoch after this time.
    fn forget(&mut self, class: Class, after: Option<Duration>) {
        let is_over = |ago: i64| after.is_some_and(|after| i128::from(ago) > after.as_micros() as i128);
        if class == Class::Empty && self.truth.outage.is_some_and(|(ago, _)| is_over(ago)) {
            self.truth.forget();
        }
    }

    fn wait_for_adoption(&mut self, after: Duration, is_watched: bool, is_up: bool) {
        let waits = !after.is_zero() && is_up && !is_watched;
        self.candidate = waits.then(|| self.candidate.unwrap_or(0));
    }
}

/// Returns the observation of a run with this memory: the services that are planned, and those that reply to the query to all.
fn observe(config: &AllConfig, memory: &AccountMemory, look: &Look, at: Timestamp) -> AllObservation {
    let plan = probe_plan(config, memory, NOW);
    let mut services = BTreeMap::new();
    let nothing = Memory::default();
    for (name, seen) in NAMES.into_iter().zip(&look.seen) {
        let is_planned = plan.services.iter().any(|plan| plan.service == name);
        let replies = matches!(seen, Seen::Instances { .. }) && look.common != Common::Denied;
        if is_planned || replies {
            let memory = memory.services.get(name).unwrap_or(&nothing);
            let observation = Observation {
                at,
                ..seen.observation(memory)
            };
            services.insert(name.to_owned(), Arc::new(observation));
        }
    }
    let mut common = match look.common {
        Common::Failed(reason) => Observation::failed(at, Failure::new(reason, "why")),
        _ => Observation::new(at, Outcome::Answered(Vec::new())),
    };
    common.census = look.common == Common::Asked;
    if look.common == Common::Denied {
        common.denied = "not allowed".into();
    }
    AllObservation {
        services,
        common,
        too_many: 0,
    }
}
