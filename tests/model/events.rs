//! The alphabet: what can happen between two runs, and what a run can see.

use std::fmt;
use std::time::Duration;

use check_nats_service::judge::{Loss, LossLimits, Policy, RestartLimits};
use check_nats_service::probe::observation::{Fate, Instance, Silence};
use check_nats_service::values::range::Range;
use check_nats_service::values::status::{Reason, Status};
use check_nats_service::values::timestamp::Timestamp;
use check_nats_service::values::version::Requirement;

/// The time of every run: memories are moved to it, so that equal ones are equal.
pub const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3600 * SECOND;

/// Time from one run to the next, in microseconds; negative where the clock was set back.
pub const PAUSES: [i64; 4] = [SECOND / 20, 60 * SECOND, 16 * 60 * SECOND, -HOUR];

/// Id, version and place of each instance. Two of them can replace each other; one is of another version.
pub const INSTANCES: [(&str, &str, &str); 4] = [
    ("a", "1.0.0", "one"),
    ("b", "1.0.0", "two"),
    ("c", "2.0.0", "two"),
    ("d", "1.0.0", "one"),
];

pub fn instance(nth: usize) -> Instance {
    let (id, version, place) = INSTANCES[nth];
    Instance {
        id: id.into(),
        version: version.into(),
        metadata: vec![("pod".into(), place.into())],
    }
}

/// Observation of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// These instances answer, by number; of the others that are known this is found out. `queue`: each request reaches one instance.
    Instances {
        answer: Vec<usize>,
        absent: Fate,
        queue: bool,
    },
    NoResponders,
    Silent(Silence),
    Failed(Reason),
}

/// State of the file when the run reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    Whole,
    Missing,
    /// Nothing of it can be read.
    Damaged,
    /// Something stands behind it.
    Garbage,
    /// An earlier version wrote it, which remembered less.
    Old,
}

/// A run, and what led to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub pause: i64,
    pub file: File,
    pub seen: Seen,
    /// It began before the last run saw its epoch, and ends after it.
    pub overlaps: bool,
    /// It is killed before it saves.
    pub is_killed: bool,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.pause as f64 / SECOND as f64;
        write!(f, "{seconds:>8} s later: ")?;
        match &self.seen {
            Seen::Instances { answer, absent, queue } => {
                let ids: Vec<&str> = answer.iter().map(|nth| INSTANCES[*nth].0).collect();
                write!(f, "{} answer, others {}", ids.join(" "), absent.name())?;
                if *queue {
                    write!(f, ", one reply per request")?;
                }
            }
            other => write!(f, "{other:?}")?,
        }
        if self.file != File::Whole {
            write!(f, ", state {:?}", self.file)?;
        }
        let overlaps = if self.overlaps {
            ", began before the last one"
        } else {
            ""
        };
        let killed = if self.is_killed { ", killed before it saves" } else { "" };
        write!(f, "{overlaps}{killed}")
    }
}

fn run(pause: i64, seen: &Seen) -> Event {
    Event {
        pause,
        file: File::Whole,
        seen: seen.clone(),
        overlaps: false,
        is_killed: false,
    }
}

/// Every subset of these instances but the empty one.
fn subsets(numbers: &[usize]) -> Vec<Vec<usize>> {
    let chosen = |bits: usize| {
        let is_in = move |(nth, number): (usize, &usize)| (bits >> nth & 1 == 1).then_some(*number);
        numbers.iter().enumerate().filter_map(is_in).collect()
    };
    (1..1 << numbers.len()).map(chosen).collect()
}

fn answers(numbers: &[usize], fates: &[Fate]) -> Vec<Seen> {
    let with = |answer: Vec<usize>| {
        fates.iter().map(move |absent| Seen::Instances {
            answer: answer.clone(),
            absent: *absent,
            queue: false,
        })
    };
    subsets(numbers).into_iter().flat_map(with).collect()
}

/// Every event there is.
pub fn wide() -> Vec<Event> {
    let mut seen = answers(&[0, 1, 2, 3], &[Fate::Gone, Fate::NotAnswering]);
    seen.extend([0, 1, 2].map(|nth| Seen::Instances {
        answer: vec![nth],
        absent: Fate::NotAnswering,
        queue: true,
    }));
    seen.push(Seen::NoResponders);
    seen.extend([Silence::Unknown, Silence::Subscribed, Silence::Hidden].map(Seen::Silent));
    let failures = [
        Reason::NatsUnreachable,
        Reason::AuthRejected,
        Reason::PermissionDenied,
        Reason::TlsFailed,
        Reason::ProtocolError,
        Reason::Interrupted,
    ];
    seen.extend(failures.map(Seen::Failed));
    let mut events: Vec<Event> = PAUSES
        .iter()
        .flat_map(|pause| seen.iter().map(|seen| run(*pause, seen)))
        .collect();
    let basic = basic();
    for seen in &basic {
        let usual = run(PAUSES[1], seen);
        events.extend(
            [File::Missing, File::Damaged, File::Garbage, File::Old].map(|file| Event { file, ..usual.clone() }),
        );
        events.push(Event {
            is_killed: true,
            ..usual
        });
        events.push(Event {
            overlaps: true,
            ..run(PAUSES[0], seen)
        });
    }
    events
}

/// One of each kind.
fn basic() -> [Seen; 4] {
    [
        Seen::Instances {
            answer: vec![0, 1],
            absent: Fate::Gone,
            queue: false,
        },
        Seen::NoResponders,
        Seen::Silent(Silence::Subscribed),
        Seen::Failed(Reason::NatsUnreachable),
    ]
}

/// Few events, for long sequences: one instance and the one that takes its place.
pub fn narrow() -> Vec<Event> {
    let mut seen = answers(&[0, 3], &[Fate::Gone, Fate::NotAnswering]);
    seen.extend([
        Seen::NoResponders,
        Seen::Silent(Silence::Subscribed),
        Seen::Failed(Reason::NatsUnreachable),
    ]);
    let mut events: Vec<Event> = PAUSES[1..3]
        .iter()
        .flat_map(|pause| seen.iter().map(|seen| run(*pause, seen)))
        .collect();
    let down = Seen::NoResponders;
    events.push(Event {
        overlaps: true,
        ..run(PAUSES[0], &down)
    });
    events.push(Event {
        file: File::Old,
        ..run(PAUSES[1], &down)
    });
    events
}

/// Without flags; with all that raise an alarm; and with those that keep quiet.
pub fn policies() -> [(&'static str, Policy); 3] {
    let loud = Policy {
        warning: Range::parse("3:").ok(),
        critical: Range::parse("1:").ok(),
        expected_version: Requirement::parse("^1").ok(),
        mixed_versions: Some(Status::Warning),
        unreachable: Status::Critical,
        never_seen: Status::Critical,
        loss: LossLimits {
            warning: Some(Loss::Instances(1)),
            critical: Some(Loss::Percent(50)),
            settle: Duration::from_secs(900),
        },
        restarts: RestartLimits {
            warning: Some(1),
            critical: Some(3),
            ..RestartLimits::default()
        },
        ..Policy::default()
    };
    let quiet = Policy {
        silent: Status::Warning,
        never_seen: Status::Ok,
        unreachable: Status::Ok,
        ..Policy::default()
    };
    [
        ("no flags", Policy::default()),
        ("all alarms", loud),
        ("quiet flags", quiet),
    ]
}
