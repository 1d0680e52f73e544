//! What the tests of the state remember.

use super::memory::{Absentee, Baseline, Brief, Epoch, HISTORY, Memory, Outage, Trouble};
use super::question::Question;
use crate::probe::observation::{Fate, Instance};
use crate::values::status::{Reason, Status};
use crate::values::timestamp::Timestamp;

pub fn question() -> Question {
    Question {
        service: "orders".into(),
        prefix: "$SRV".into(),
        servers: vec!["n1:4222".into(), "n2:4222".into()],
        user: Some("mon".into()),
    }
}

pub const fn at(second: i64) -> Timestamp {
    Timestamp::from_micros(1_790_000_000_000_000 + second * 1_000_000)
}

pub fn epoch(second: i64, number: usize) -> Epoch {
    let instance = |n: usize| Instance {
        id: format!("id-{n}"),
        version: "1.2.3".into(),
        metadata: vec![("pod".into(), format!("web-{n}")), ("app".into(), "é".into())],
    };
    Epoch {
        at: at(second),
        count: number,
        instances: (0..number).map(instance).collect(),
        digest: None,
    }
}

/// One with everything in it.
pub fn memory() -> Memory {
    Memory {
        sequence: 42,
        status: Some(Status::Critical),
        epoch: Some(epoch(60, 0)),
        outage: Some(Outage {
            last_seen: epoch(40, 3),
            first_missed: at(60),
        }),
        baseline: Some(Baseline {
            count: 3,
            fewer: Some((at(50), 2)),
        }),
        absentees: vec![Absentee {
            instance: epoch(50, 1).instances.remove(0),
            since: at(50),
            fate: Fate::NotAnswering,
        }],
        mixed_since: Some(at(55)),
        trouble: Some(Trouble {
            since: at(70),
            reason: Reason::AuthRejected,
        }),
        census: Some(at(60)),
        servers: vec!["NB".into(), "NA".into()],
        history: (0..HISTORY)
            .map(|n| Brief {
                at: at(n as i64),
                count: n,
            })
            .collect(),
    }
}
