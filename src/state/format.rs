//! The state as JSON, format 1; the man page describes it for admins. Pure: it is given the text and the time.
//!
//! The types of the memory are the format: a value that is added to it needs nothing in here but its times, in `times`. An `Option`
//! or a `default` reads files that do not have it yet. Types of other rooms have their form in [`super::fields`].

use std::iter::once;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::error::Category;
use serde_json::{Number, Value};

use super::key::StateKey;
use super::memory::{Epoch, Memory};
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
/// What is wrong with it ("the state FILE …").
pub fn read(key: &StateKey, text: &[u8], now: Timestamp) -> Result<Loaded, String> {
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
/// What is wrong with it ("the state FILE …").
pub fn read_any(text: &[u8], now: Timestamp) -> Result<Loaded, String> {
    // The text of an error never repeats what is in the file.
    let head = Head::deserialize(&mut serde_json::Deserializer::from_slice(text));
    let Head { format, question } = head.map_err(|e| match e.classify() {
        Category::Data => "is damaged: no format".to_owned(),
        _ => format!("is damaged: {e}"),
    })?;
    if format.as_u64() != Some(FORMAT) {
        return Err(format!("has format {format}, this program knows format {FORMAT}"));
    }
    let mut json = serde_json::Deserializer::from_slice(text);
    let mut memory = Memory::deserialize(&mut json).map_err(|_| MALFORMED)?;
    let key = question.and_then(|question| StateKey::deserialize(question).ok());
    let is_whole = |epoch: &Epoch| epoch.instances.len() <= epoch.count;
    let last_seen = memory.outage.iter().map(|outage| &outage.last_seen);
    let (Some(key), true) = (key, memory.epoch.iter().chain(last_seen).all(is_whole)) else {
        return Err(MALFORMED.into());
    };
    let mut latest = now;
    for time in times(&mut memory) {
        latest = latest.max(*time);
        *time = now.min(*time);
    }
    Ok(Loaded {
        key,
        memory,
        damage: json.end().err().map(|e| format!("is damaged: {e}")),
        future: Some(latest).filter(|latest| *latest > now + CLOCK_SLACK),
    })
}

/// The part of a file that says whether the rest can be read.
#[derive(Deserialize)]
struct Head {
    format: Number,
    question: Option<Value>,
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
    times.extend(history.iter_mut().map(|summary| &mut summary.at));
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
