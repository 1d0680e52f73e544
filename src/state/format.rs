//! The state as JSON, format 1; the man page describes it for admins. Pure: it is given the text and the time.
//!
//! The types of the memory are the format: a value that is added to it needs nothing in here but its times, in `times`. An `Option`
//! or a `default` reads files that do not have it yet. Types of other rooms have their form in [`super::fields`].

use std::iter::once;
use std::time::Duration;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::error::Category;
use serde_json::{Number, Value};

use super::key::StateKey;
use super::memory::{Epoch, Memory};
use crate::values::timestamp::Timestamp;

/// The version of the file's format.
pub(super) const FORMAT: u64 = 1;

pub(super) const NO_FORMAT: &str = "is damaged: no format";

pub(super) const MALFORMED: &str = "is damaged: a field is missing or malformed";

/// Maximum time that a state may be ahead of the clock without a report: clocks are set back a little now and then, and once by a
/// time zone.
const CLOCK_SLACK: Duration = Duration::from_secs(3600);

/// Content of a state file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded<K = StateKey, M = Memory> {
    pub key: K,
    /// No time in it is later than the one of reading.
    pub memory: M,
    /// Damage in the rest of the file ("the state FILE …").
    pub damage: Option<String>,
    /// The latest time in the file, if the clock was set back since: it is beyond all doubt in the future.
    pub future: Option<Timestamp>,
}

/// Why a state file cannot be read ("the state FILE ...").
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormatError {
    Damaged(String),
    /// It is a state of the other kind: of one service, or of all services of an account.
    OtherKind(String),
}

impl From<&str> for FormatError {
    fn from(why: &str) -> FormatError {
        FormatError::Damaged(why.into())
    }
}

/// Returns the text of the state file.
pub fn write(key: &StateKey, memory: &Memory) -> String {
    let file = StateFile {
        format: FORMAT,
        question: key,
        memory,
    };
    // That cannot fail: all keys are strings.
    serde_json::to_string(&file).unwrap_or_default()
}

/// Reads what [`write()`] wrote for this key. Times that have not come yet are as of `now`.
///
/// # Errors
///
/// The error in it.
pub fn read(key: &StateKey, text: &[u8], now: Timestamp) -> Result<Loaded, FormatError> {
    let loaded = read_any(text, now)?;
    match loaded.key == *key {
        true => Ok(loaded),
        false => Err("belongs to another question (service, servers, user or prefix)".into()),
    }
}

/// Reads the state of any key.
///
/// # Errors
///
/// The error in it.
pub fn read_any(text: &[u8], now: Timestamp) -> Result<Loaded, FormatError> {
    let head = Head::deserialize(&mut serde_json::Deserializer::from_slice(text));
    let head = head.map_err(|e| match e.classify() {
        Category::Data => NO_FORMAT.into(),
        _ => damage(&e),
    })?;
    check_format(&head.format)?;
    if head.question.is_none() && head.account.is_some() {
        let why = "holds all services of an account (--all), give --state-dir in place of --state";
        return Err(FormatError::OtherKind(why.into()));
    }
    let mut json = serde_json::Deserializer::from_slice(text);
    let mut memory = Memory::deserialize(&mut json).map_err(|_| MALFORMED)?;
    let key = head
        .question
        .and_then(|question| StateKey::deserialize(question).ok())
        .ok_or(MALFORMED)?;
    let mut latest = now;
    settle(&mut memory, now, &mut latest)?;
    Ok(Loaded {
        key,
        memory,
        damage: json.end().err().map(|e| format!("is damaged: {e}")),
        future: beyond_doubt(latest, now),
    })
}

/// The part of a file that says whether the rest can be read.
#[derive(Deserialize)]
struct Head {
    format: Number,
    question: Option<Value>,
    account: Option<IgnoredAny>,
}

/// Returns the damage of a file that breaks off or is malformed. The text never repeats what is in the file.
pub(super) fn damage(error: &serde_json::Error) -> FormatError {
    match error.classify() {
        Category::Data => MALFORMED.into(),
        _ => FormatError::Damaged(format!("is damaged: {error}")),
    }
}

pub(super) fn check_format(format: &Number) -> Result<(), FormatError> {
    match format.as_u64() == Some(FORMAT) {
        true => Ok(()),
        false => Err(FormatError::Damaged(format!(
            "has format {format}, this program knows format {FORMAT}"
        ))),
    }
}

/// Checks a memory that was read, and puts its times that have not come yet to `now`. `latest` becomes the latest of them.
///
/// # Errors
///
/// There are more instances in an epoch than it counts.
pub(super) fn settle(memory: &mut Memory, now: Timestamp, latest: &mut Timestamp) -> Result<(), &'static str> {
    let is_whole = |epoch: &Epoch| epoch.instances.len() <= epoch.count;
    let last_seen = memory.outage.iter().map(|outage| &outage.last_seen);
    if !memory.epoch.iter().chain(last_seen).all(is_whole) {
        return Err(MALFORMED);
    }
    settle_times(times(memory), now, latest);
    Ok(())
}

/// See [`settle`].
pub(super) fn settle_times<'a>(
    times: impl IntoIterator<Item = &'a mut Timestamp>,
    now: Timestamp,
    latest: &mut Timestamp,
) {
    for time in times {
        *latest = (*latest).max(*time);
        *time = now.min(*time);
    }
}

/// Returns the latest time of a file, if the clock was set back since.
pub(super) fn beyond_doubt(latest: Timestamp, now: Timestamp) -> Option<Timestamp> {
    (latest > now + CLOCK_SLACK).then_some(latest)
}

#[derive(Serialize)]
struct StateFile<'a> {
    format: u64,
    question: &'a StateKey,
    #[serde(flatten)]
    memory: &'a Memory,
}

/// Every time in the memory.
fn times(memory: &mut Memory) -> Vec<&mut Timestamp> {
    let Memory {
        sequence: _,
        status: _,
        epoch,
        outage,
        baseline,
        absentees,
        mixed_since,
        unreachable,
        census,
        history,
        statistics,
        changes,
    } = memory;
    let mut times: Vec<&mut Timestamp> = mixed_since.iter_mut().chain(census).collect();
    times.extend(epoch.iter_mut().map(|epoch| &mut epoch.at));
    times.extend(absentees.iter_mut().map(|absentee| &mut absentee.since));
    times.extend(unreachable.iter_mut().map(|unreachable| &mut unreachable.since));
    times.extend(
        history
            .iter_mut()
            .flat_map(|summary| once(&mut summary.at).chain(&mut summary.not_asked_since)),
    );
    times.extend(
        changes
            .iter_mut()
            .flat_map(|changes| &mut changes.log)
            .map(|change| &mut change.at),
    );
    if let Some(outage) = outage {
        times.extend([&mut outage.first_missed, &mut outage.last_seen.at]);
    }
    if let Some(baseline) = baseline {
        times.extend(baseline.peaks.iter_mut().map(|peak| &mut peak.until));
        times.extend(
            baseline
                .raised
                .iter_mut()
                .flat_map(|raise| [&mut raise.since, &mut raise.latest]),
        );
    }
    if let Some(statistics) = statistics {
        times.push(&mut statistics.at);
        times.extend(statistics.instances.values_mut().map(|counters| &mut counters.at));
        for counts in once(&mut statistics.all).chain(statistics.endpoints.values_mut()) {
            let windows = once(&mut counts.open).chain(&mut counts.closed);
            times.extend(windows.flat_map(|window| [&mut window.since, &mut window.until]));
        }
    }
    times
}

#[cfg(test)]
mod tests;
