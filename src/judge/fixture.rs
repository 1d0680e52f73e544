//! Inputs for the tests of the rules: memories and observations at fixed times, and tables of cases.

use std::time::Duration;

use super::verdict::{Finding, Verdict};
use super::{Policy, judge};
use crate::probe::observation::{Failure, Fate, Instance, InstanceReply, Observation, Outcome, Server};
use crate::state::memory::{Absentee, Epoch, EpochSummary, Memory, Outage, Unreachable};
use crate::values::range::Range;
use crate::values::status::{Reason, Status};
use crate::values::timestamp::Timestamp;

/// Seconds after a start of our own choice.
pub const fn at(second: i64) -> Timestamp {
    Timestamp::from_micros(second * 1_000_000)
}

pub const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub fn instances(number: usize) -> Vec<Instance> {
    let instance = |n: usize| Instance {
        id: format!("id{n}"),
        version: "1.2.3".into(),
        metadata: vec![("pod".into(), format!("web-{n}"))],
    };
    (0..number).map(instance).collect()
}

/// An epoch whose instances are all known.
pub fn epoch(second: i64, number: usize) -> Epoch {
    Epoch {
        at: at(second),
        count: number,
        instances: instances(number),
        digest: None,
    }
}

pub fn range(text: &str) -> Option<Range> {
    Some(Range::parse(text).expect("a range"))
}

/// Three instances at second 40, all fine.
pub fn up() -> Memory {
    Memory {
        sequence: 7,
        status: Some(Status::Ok),
        epoch: Some(epoch(40, 3)),
        census: Some(at(40)),
        history: vec![EpochSummary::new(at(40), 3)],
        ..Memory::default()
    }
}

/// Three instances at second 40, none at second 60 and since.
pub fn down() -> Memory {
    Memory {
        sequence: 8,
        status: Some(Status::Critical),
        epoch: Some(epoch(60, 0)),
        outage: Some(Outage {
            last_seen: epoch(40, 3),
            first_missed: at(60),
        }),
        census: Some(at(60)),
        history: vec![EpochSummary::new(at(40), 3), EpochSummary::new(at(60), 0)],
        ..Memory::default()
    }
}

/// Asked once, and nobody was there.
pub fn absent() -> Memory {
    Memory {
        sequence: 1,
        status: Some(Status::Unknown),
        epoch: Some(epoch(40, 0)),
        census: Some(at(40)),
        history: vec![EpochSummary::new(at(40), 0)],
        ..Memory::default()
    }
}

/// NATS could not be asked since second 70.
pub fn in_trouble(memory: Memory) -> Memory {
    Memory {
        status: Some(Status::Unknown),
        unreachable: Some(Unreachable {
            since: at(70),
            reason: Reason::NatsUnreachable,
        }),
        ..memory
    }
}

/// Returns the observation of a usual probe at second 100.
pub fn saw(outcome: Outcome) -> Observation {
    Observation {
        rounds: 1,
        server: Some(Server {
            id: "N1".into(),
            address: "h:4222".into(),
            name: "n1".into(),
            version: "2.10.25".into(),
            rtt: Some(Duration::from_micros(340)),
        }),
        took: ms(12),
        ..Observation::new(at(100), outcome)
    }
}

/// That many instances answered, each in 1.2 ms.
pub fn answered(number: usize) -> Outcome {
    let answer = |instance| InstanceReply {
        instance,
        rtt: Some(Duration::from_micros(1200)),
    };
    Outcome::Answered(instances(number).into_iter().map(answer).collect())
}

/// One instance of each of these versions answered.
pub fn versions(versions: &[&str]) -> Outcome {
    let mut outcome = answered(versions.len());
    if let Outcome::Answered(answers) = &mut outcome {
        for (answer, version) in answers.iter_mut().zip(versions) {
            answer.instance.version = (*version).to_owned();
        }
    }
    outcome
}

pub fn failed(reason: Reason) -> Outcome {
    Outcome::Failed(Failure::new(reason, format!("it is {}", reason.name())))
}

pub const SILENT: Outcome = Outcome::Silent(ms(5000));

/// The findings, one in a line: "STATUS reason: text".
pub fn findings(verdict: &Verdict) -> String {
    let line = |f: &Finding| format!("{} {}: {}", f.status.name(), f.reason.name(), f.text);
    verdict.findings().iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A memory in one line: all but the instances' own words.
pub fn told(memory: &Memory) -> String {
    let seconds = |at: Timestamp| at.since(Timestamp::from_micros(0)).as_secs();
    let seen = |epoch: &Epoch| format!("{}@{}", epoch.count, seconds(epoch.at));
    let mut text = format!("#{}", memory.sequence);
    if let Some(status) = memory.status {
        text += &format!(" {}", status.name());
    }
    if let Some(epoch) = &memory.epoch {
        text += &format!(", epoch {}", seen(epoch));
    }
    if let Some(outage) = &memory.outage {
        text += &format!(
            ", outage {} since {}",
            seen(&outage.last_seen),
            seconds(outage.first_missed)
        );
    }
    if let Some(unreachable) = &memory.unreachable {
        text += &format!(", {} since {}", unreachable.reason.name(), seconds(unreachable.since));
    }
    if let Some(census) = memory.census {
        text += &format!(", census {}", seconds(census));
    }
    for absentee in &memory.absentees {
        let (id, fate) = (&absentee.instance.id, absentee.fate.name());
        text += &format!(", {id} {fate} since {}", seconds(absentee.since));
    }
    let history = memory.history.iter();
    let history: Vec<String> = history.map(|b| format!("{}@{}", b.count, seconds(b.at))).collect();
    text + &format!(", history {}", history.join(" "))
}

/// The value of this metric.
#[track_caller]
pub fn metric(verdict: &Verdict, name: &str) -> Option<f64> {
    let metric = verdict.metrics.iter().find(|metric| metric.name == name);
    metric.unwrap_or_else(|| panic!("no metric {name}")).value
}

pub struct Row {
    pub memory: Memory,
    pub seen: Observation,
    pub policy: Policy,
    pub findings: &'static str,
    pub next: &'static str,
}

/// A row with the usual policy and the usual observation around the outcome.
pub fn row(memory: Memory, outcome: Outcome, findings: &'static str, next: &'static str) -> Row {
    Row {
        memory,
        seen: saw(outcome),
        policy: Policy::default(),
        findings,
        next,
    }
}

/// Judges at second 100.
#[track_caller]
pub fn check(rows: Vec<Row>) {
    for row in rows {
        let (verdict, next) = judge("orders", &row.memory, &row.seen, &row.policy, at(100));
        let case = format!("{} + {:?}\n{:?}", told(&row.memory), row.seen.outcome, row.policy);
        assert_eq!(findings(&verdict), row.findings, "{case}");
        assert_eq!(told(&next), row.next, "{case}");
    }
}

pub fn absentee(n: usize, second: i64, fate: Fate) -> Absentee {
    Absentee {
        instance: instances(n + 1).remove(n),
        since: at(second),
        fate,
    }
}

/// That many answered; what was found out about others.
pub fn absent_ones(number: usize, absent: &[(usize, Fate)]) -> Observation {
    Observation {
        absent: absent.iter().map(|(n, fate)| (format!("id{n}"), *fate)).collect(),
        ..saw(answered(number))
    }
}
