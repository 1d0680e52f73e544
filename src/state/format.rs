//! The state as JSON, format 1; the man page describes it for admins. Pure: it is given the text and the time.
//!
//! The types in here are the format. A remembered value that is added needs a field in one of them and a line in each of its two
//! conversions; an `Option` or a `default` reads files that do not have it yet.

mod bounded;
mod statistics;
mod time;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Number;
use serde_json::error::Category;

use self::bounded::{Pairs, at_most};
use self::statistics::StatisticsFile;
use self::time::{Clock, Time};
use super::baseline::{Baseline, BaselineRaise, MAX_PEAKS, Peak};
use super::changes::{Change, Changes, MAX_CHANGES, What};
use super::key::StateKey;
use super::memory::{Absentee, Epoch, EpochSummary, HISTORY, Memory, Outage, REMEMBERED_IDS, Unreachable};
use crate::probe::observation::{Fate, Instance, names_a_place};
use crate::values::status::{Reason, Status};
use crate::values::timestamp::Timestamp;

/// The version of the file's format.
const FORMAT: u64 = 1;

const MALFORMED: &str = "is damaged: a field is missing or malformed";

/// How far a time may be ahead of the clock without a word: clocks are set back a little now and then, and once by a time zone.
const CLOCK_SLACK: Duration = Duration::from_secs(3600);

/// What a state file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    pub key: StateKey,
    /// No time in it is later than the one of reading.
    pub memory: Memory,
    /// What is wrong with the rest of the file ("the state FILE …").
    pub damage: Option<String>,
    /// The latest time in the file, if the clock was set back since: it is beyond all doubt in the future.
    pub future: Option<Timestamp>,
}

/// Returns the text of the state file.
pub fn write(key: &StateKey, memory: &Memory) -> String {
    // That cannot fail: all keys are strings.
    serde_json::to_string(&StateFile::new(key, memory)).unwrap_or_default()
}

/// Reads what [`write()`] wrote for this question. Times that have not come yet are as of `now`.
///
/// # Errors
///
/// What is wrong with it ("the state FILE …").
pub fn read(key: &StateKey, text: &[u8], now: Timestamp) -> Result<Loaded, String> {
    let loaded = read_any(text, now)?;
    match loaded.key == *key {
        true => Ok(loaded),
        false => Err("belongs to another question (service, servers, user or prefix)".into()),
    }
}

/// Reads the state of whatever question.
///
/// # Errors
///
/// What is wrong with it ("the state FILE …").
pub fn read_any(text: &[u8], now: Timestamp) -> Result<Loaded, String> {
    let mut json = serde_json::Deserializer::from_slice(text);
    let file = StateFile::deserialize(&mut json).map_err(|e| what_is_wrong(text, &e))?;
    check_format(&file.format.into())?;
    let clock = Clock::new(now);
    let (key, memory) = file.read(&clock).ok_or(MALFORMED)?;
    Ok(Loaded {
        key,
        memory,
        damage: json.end().err().map(|e| format!("is damaged: {e}")),
        future: Some(clock.latest()).filter(|latest| *latest > now + CLOCK_SLACK),
    })
}

/// The format alone, which may be another one.
#[derive(Deserialize)]
struct Head {
    format: Number,
}

/// The text of an error never repeats what is in the file.
fn what_is_wrong(text: &[u8], error: &serde_json::Error) -> String {
    if error.classify() != Category::Data {
        return format!("is damaged: {error}");
    }
    let head: Result<Head, _> = serde_json::from_slice(text);
    let checked = match head {
        Ok(head) => check_format(&head.format),
        Err(e) if e.is_data() => Err("is damaged: no format".into()),
        Err(e) => Err(format!("is damaged: {e}")),
    };
    checked.err().unwrap_or_else(|| MALFORMED.into())
}

fn check_format(format: &Number) -> Result<(), String> {
    match format.as_u64() {
        Some(FORMAT) => Ok(()),
        _ => Err(format!("has format {format}, this program knows format {FORMAT}")),
    }
}

/// Optional fields that have always been there must be there: a file that does not speak of an outage is no whole one. Those that
/// are plain options came later.
#[derive(Serialize, Deserialize)]
struct StateFile {
    format: u64,
    question: StateKey,
    #[serde(default, deserialize_with = "at_most::<REMEMBERED_IDS, _, _>")]
    absentees: Vec<AbsenteeFile>,
    baseline: Option<BaselineFile>,
    #[serde(deserialize_with = "Option::deserialize")]
    census: Option<Time>,
    changes: Option<ChangesFile>,
    #[serde(deserialize_with = "Option::deserialize")]
    epoch: Option<EpochFile>,
    #[serde(deserialize_with = "at_most::<HISTORY, _, _>")]
    history: Vec<SummaryFile>,
    mixed_since: Option<Time>,
    #[serde(deserialize_with = "Option::deserialize")]
    not_asked: Option<UnreachableFile>,
    #[serde(deserialize_with = "Option::deserialize")]
    outage: Option<OutageFile>,
    sequence: u64,
    statistics: Option<StatisticsFile>,
    #[serde(deserialize_with = "Option::deserialize")]
    status: Option<String>,
}

impl StateFile {
    fn new(key: &StateKey, memory: &Memory) -> StateFile {
        StateFile {
            format: FORMAT,
            question: key.clone(),
            absentees: memory.absentees.iter().map(AbsenteeFile::new).collect(),
            baseline: memory.baseline.as_ref().map(BaselineFile::new),
            census: memory.census.map(Time),
            changes: memory.changes.as_ref().map(ChangesFile::new),
            epoch: memory.epoch.as_ref().map(EpochFile::new),
            history: memory.history.iter().map(SummaryFile::new).collect(),
            mixed_since: memory.mixed_since.map(Time),
            not_asked: memory.unreachable.map(UnreachableFile::new),
            outage: memory.outage.as_ref().map(OutageFile::new),
            sequence: memory.sequence,
            statistics: memory.statistics.as_ref().map(StatisticsFile::new),
            status: memory.status.map(|status| status.name().to_owned()),
        }
    }

    /// `None`: a field is malformed.
    fn read(self, clock: &Clock) -> Option<(StateKey, Memory)> {
        let at = |time: Time| time.read(clock);
        let memory = Memory {
            sequence: self.sequence,
            status: optional(self.status, |status| Status::parse(&status))?,
            epoch: optional(self.epoch, |epoch| epoch.read(clock))?,
            outage: optional(self.outage, |outage| outage.read(clock))?,
            baseline: optional(self.baseline, |baseline| baseline.read(clock))?,
            absentees: all(self.absentees, |absentee| absentee.read(clock))?,
            mixed_since: self.mixed_since.map(at),
            unreachable: optional(self.not_asked, |unreachable| unreachable.read(clock))?,
            census: self.census.map(at),
            history: self.history.into_iter().map(|brief| brief.read(clock)).collect(),
            statistics: optional(self.statistics, |statistics| statistics.read(clock))?,
            changes: self.changes.map(|changes| changes.read(clock)),
        };
        Some((self.question, memory))
    }
}

/// `None`: it is there, and malformed.
fn optional<F, T>(field: Option<F>, read: impl FnOnce(F) -> Option<T>) -> Option<Option<T>> {
    match field {
        Some(field) => read(field).map(Some),
        None => Some(None),
    }
}

/// `None`: one of them is malformed.
fn all<F, T>(fields: Vec<F>, read: impl FnMut(F) -> Option<T>) -> Option<Vec<T>> {
    fields.into_iter().map(read).collect()
}

#[derive(Serialize, Deserialize)]
struct InstanceFile {
    id: String,
    metadata: Pairs,
    version: String,
}

impl InstanceFile {
    fn new(instance: &Instance) -> InstanceFile {
        InstanceFile {
            id: instance.id.clone(),
            metadata: Pairs(instance.metadata.clone()),
            version: instance.version.clone(),
        }
    }

    fn read(self) -> Instance {
        let mut metadata = self.metadata.0;
        // Whatever has sorted the file by name: the place comes first.
        metadata.sort_by_key(|(key, _)| !names_a_place(key));
        Instance {
            id: self.id,
            version: self.version,
            metadata,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct EpochFile {
    at: Time,
    count: usize,
    /// Hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(deserialize_with = "at_most::<REMEMBERED_IDS, _, _>")]
    instances: Vec<InstanceFile>,
}

impl EpochFile {
    fn new(epoch: &Epoch) -> EpochFile {
        EpochFile {
            at: Time(epoch.at),
            count: epoch.count,
            digest: epoch.digest.map(|digest| format!("{digest:016x}")),
            instances: epoch.instances.iter().map(InstanceFile::new).collect(),
        }
    }

    fn read(self, clock: &Clock) -> Option<Epoch> {
        (self.instances.len() <= self.count).then_some(Epoch {
            at: self.at.read(clock),
            count: self.count,
            instances: self.instances.into_iter().map(InstanceFile::read).collect(),
            digest: optional(self.digest, |digest| u64::from_str_radix(&digest, 16).ok())?,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct SummaryFile {
    at: Time,
    count: usize,
}

impl SummaryFile {
    fn new(brief: &EpochSummary) -> SummaryFile {
        SummaryFile {
            at: Time(brief.at),
            count: brief.count,
        }
    }

    fn read(self, clock: &Clock) -> EpochSummary {
        EpochSummary {
            at: self.at.read(clock),
            count: self.count,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct OutageFile {
    first_missed: Time,
    last_seen: EpochFile,
}

impl OutageFile {
    fn new(outage: &Outage) -> OutageFile {
        OutageFile {
            first_missed: Time(outage.first_missed),
            last_seen: EpochFile::new(&outage.last_seen),
        }
    }

    fn read(self, clock: &Clock) -> Option<Outage> {
        Some(Outage {
            last_seen: self.last_seen.read(clock)?,
            first_missed: self.first_missed.read(clock),
        })
    }
}

/// Earlier versions knew one number (`count`), and since when there were `fewer`.
#[derive(Serialize, Deserialize)]
struct BaselineFile {
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fewer: Option<FewerFile>,
    latest: Option<usize>,
    #[serde(default, deserialize_with = "at_most::<MAX_PEAKS, _, _>")]
    peaks: Vec<PeakFile>,
    raised: Option<RaiseFile>,
}

#[derive(Serialize, Deserialize)]
struct FewerFile {
    most: usize,
    since: Time,
}

#[derive(Serialize, Deserialize)]
struct PeakFile {
    count: usize,
    until: Time,
}

#[derive(Serialize, Deserialize)]
struct RaiseFile {
    from: usize,
    latest: Time,
    since: Time,
}

impl BaselineFile {
    fn new(baseline: &Baseline) -> BaselineFile {
        let peak = |peak: &Peak| PeakFile {
            count: peak.count,
            until: Time(peak.until),
        };
        BaselineFile {
            count: None,
            fewer: None,
            latest: Some(baseline.latest),
            peaks: baseline.peaks.iter().map(peak).collect(),
            raised: baseline.raised.map(|raise| RaiseFile {
                from: raise.from,
                latest: Time(raise.latest),
                since: Time(raise.since),
            }),
        }
    }

    fn read(self, clock: &Clock) -> Option<Baseline> {
        let peak = |count, until: Time| Peak {
            count,
            until: until.read(clock),
        };
        let (latest, peaks) = match (self.latest, self.count, self.fewer) {
            (Some(latest), ..) => {
                let peaks = self.peaks.into_iter().map(|it| peak(it.count, it.until));
                (latest, peaks.collect())
            }
            (None, Some(count), Some(fewer)) => (fewer.most, vec![peak(count, fewer.since)]),
            (None, Some(count), None) => (count, Vec::new()),
            (None, None, _) => return None,
        };
        let raised = self.raised.map(|raise| BaselineRaise {
            from: raise.from,
            since: raise.since.read(clock),
            latest: raise.latest.read(clock),
        });
        Some(Baseline { latest, peaks, raised })
    }
}

#[derive(Serialize, Deserialize)]
struct UnreachableFile {
    reason: String,
    since: Time,
}

impl UnreachableFile {
    fn new(unreachable: Unreachable) -> UnreachableFile {
        UnreachableFile {
            reason: unreachable.reason.name().to_owned(),
            since: Time(unreachable.since),
        }
    }

    fn read(self, clock: &Clock) -> Option<Unreachable> {
        Some(Unreachable {
            since: self.since.read(clock),
            reason: Reason::parse(&self.reason)?,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct AbsenteeFile {
    fate: String,
    instance: InstanceFile,
    since: Time,
}

impl AbsenteeFile {
    fn new(absentee: &Absentee) -> AbsenteeFile {
        AbsenteeFile {
            fate: absentee.fate.name().to_owned(),
            instance: InstanceFile::new(&absentee.instance),
            since: Time(absentee.since),
        }
    }

    fn read(self, clock: &Clock) -> Option<Absentee> {
        Some(Absentee {
            instance: self.instance.read(),
            since: self.since.read(clock),
            fate: Fate::parse(&self.fate)?,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct ChangesFile {
    #[serde(deserialize_with = "at_most::<MAX_CHANGES, _, _>")]
    log: Vec<ChangeFile>,
    restarts: u64,
}

#[derive(Serialize, Deserialize)]
struct ChangeFile {
    at: Time,
    id: String,
    /// What names the place of the instance: key and value.
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<(String, String)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replaces: Option<String>,
    version: String,
    what: WhatFile,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WhatFile {
    Arrived,
    Missing,
    Left,
}

impl ChangesFile {
    fn new(changes: &Changes) -> ChangesFile {
        ChangesFile {
            log: changes.log.iter().map(ChangeFile::new).collect(),
            restarts: changes.restarts,
        }
    }

    fn read(self, clock: &Clock) -> Changes {
        Changes {
            restarts: self.restarts,
            log: self.log.into_iter().map(|change| change.read(clock)).collect(),
        }
    }
}

impl ChangeFile {
    fn new(change: &Change) -> ChangeFile {
        ChangeFile {
            at: Time(change.at),
            id: change.instance.id.clone(),
            place: change.place().map(|(key, value)| (key.to_owned(), value.to_owned())),
            replaces: change.replaces().map(str::to_owned),
            version: change.instance.version.clone(),
            what: match change.what {
                What::Arrived { .. } => WhatFile::Arrived,
                What::Missing => WhatFile::Missing,
                What::Left => WhatFile::Left,
            },
        }
    }

    fn read(self, clock: &Clock) -> Change {
        Change {
            at: self.at.read(clock),
            what: match self.what {
                WhatFile::Arrived => What::Arrived {
                    replaces: self.replaces,
                },
                WhatFile::Missing => What::Missing,
                WhatFile::Left => What::Left,
            },
            instance: Instance {
                id: self.id,
                version: self.version,
                metadata: self.place.into_iter().collect(),
            },
        }
    }
}

#[cfg(test)]
mod tests;
