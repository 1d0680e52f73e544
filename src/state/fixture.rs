//! Memories for the tests of the state.

use super::account::AccountKey;
use super::baseline::{Baseline, BaselineRaise, Peak};
use super::changes::{Change, ChangeKind, Changes};
use super::key::StateKey;
use super::memory::{Absentee, Epoch, EpochSummary, MAX_HISTORY, Memory, Outage, Unreachable};
use super::statistics::Statistics;
use crate::probe::observation::{Fate, Instance};
use crate::probe::stats::{Counters, Stats};
use crate::values::status::{Reason, Status};
use crate::values::timestamp::Timestamp;

pub fn state_key() -> StateKey {
    StateKey {
        service: "orders".into(),
        prefix: "$SRV".into(),
        servers: vec!["n1:4222".into(), "n2:4222".into()],
        user: Some("mon".into()),
    }
}

pub fn account_key() -> AccountKey {
    AccountKey::from(&state_key())
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
            latest: 2,
            peaks: vec![Peak {
                count: 3,
                until: at(50),
            }],
            raised: Some(BaselineRaise {
                from: 2,
                since: at(10),
                latest: at(20),
            }),
        }),
        absentees: vec![Absentee {
            instance: epoch(50, 1).instances.remove(0),
            since: at(50),
            fate: Fate::NotAnswering,
        }],
        mixed_since: Some(at(55)),
        unreachable: Some(Unreachable {
            since: at(70),
            reason: Reason::AuthRejected,
        }),
        census: Some(at(60)),
        statistics: Some(statistics()),
        changes: Some(changes()),
        history: (0..MAX_HISTORY).map(|n| EpochSummary::new(at(n as i64), n)).collect(),
    }
}

/// One was restarted, one is new, and of one it is not known whether it is gone.
pub fn changes() -> Changes {
    let change = |second, what, n: usize| Change {
        at: at(second),
        what,
        instance: Instance {
            metadata: vec![("pod".into(), format!("web-{n}"))],
            ..epoch(0, n + 1).instances.remove(n)
        },
    };
    let replaces = Some("id-7".into());
    Changes {
        restarts: 5,
        log: vec![
            change(10, ChangeKind::Arrived { replaces: None }, 1),
            change(20, ChangeKind::Left, 7),
            change(20, ChangeKind::Arrived { replaces }, 2),
            change(50, ChangeKind::Missing, 0),
        ],
    }
}

/// Two instances and two endpoints, with a closed window of one and open ones of both.
pub fn statistics() -> Statistics {
    let seen = |requests: u64| {
        let instance = |n: u64| {
            let mut stats = Stats::default();
            for (name, times) in [("add", 1), ("\u{e9}", n)] {
                let counters = Counters {
                    requests: requests * times,
                    errors: n,
                    processing: 1 << 53,
                };
                stats.add(name, counters);
            }
            (format!("id-{n}"), stats)
        };
        (0..2).map(instance).collect()
    };
    let first = Statistics::after(None, at(0), &seen(0), 10);
    let second = Statistics::after(Some(&first), at(20), &seen(10), 10);
    Statistics::after(Some(&second), at(40), &seen(12), 10)
}
