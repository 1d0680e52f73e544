//! The state as JSON, format 1; the man page describes it for admins. Pure: it is given the text and the time.

mod changes;
mod statistics;

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::memory::{Absentee, Baseline, Brief, Epoch, HISTORY, Memory, Outage, Raise, Trouble};
use super::question::Question;
use crate::probe::observation::{Fate, Instance, names_a_place};
use crate::values::status::{Reason, Status};
use crate::values::timestamp::Timestamp;

/// The version of the file's format.
const FORMAT: u64 = 1;

/// How far a file may be ahead of the clock: clocks are set back a little now and then, and once by a time zone.
const CLOCK_SLACK: Duration = Duration::from_secs(3600);

/// The text of the state file.
pub fn write(question: &Question, memory: &Memory) -> String {
    to_json(question, memory).to_string()
}

/// Reads what [`write`] wrote.
///
/// # Errors
///
/// What is wrong with it ("the state FILE …").
pub fn read(question: &Question, text: &[u8], now: Timestamp) -> Result<Memory, String> {
    let value = serde_json::from_slice(text).map_err(|e| format!("is damaged: {e}"))?;
    parse(question, &value, now)
}

/// Reads what [`write`] wrote while the clock was ahead of what it is now: what has not come yet is as of now.
///
/// # Errors
///
/// As for [`read`].
pub fn read_by_another_clock(question: &Question, text: &[u8], now: Timestamp) -> Result<Memory, String> {
    let mut value = serde_json::from_slice(text).map_err(|e| format!("is damaged: {e}"))?;
    bring_forward(&mut value, now);
    parse(question, &value, now)
}

/// Sets all times that have not come yet to `now`. What services say of themselves is not ours.
fn bring_forward(value: &mut Value, now: Timestamp) {
    match value {
        Value::String(text) if Timestamp::parse(text).is_some_and(|at| at > now) => *text = now.to_string(),
        Value::Array(values) => values.iter_mut().for_each(|value| bring_forward(value, now)),
        Value::Object(fields) => {
            let ours = fields.iter_mut().filter(|(name, _)| *name != "metadata");
            ours.for_each(|(_, value)| bring_forward(value, now));
        }
        _ => {}
    }
}

fn to_json(question: &Question, memory: &Memory) -> Value {
    json!({
        "format": FORMAT,
        "question": question.to_json(),
        "sequence": memory.sequence,
        "status": memory.status.map(Status::name),
        "epoch": memory.epoch.as_ref().map(epoch_to_json),
        "outage": memory.outage.as_ref().map(|outage| json!({
            "first_missed": outage.first_missed.to_string(),
            "last_seen": epoch_to_json(&outage.last_seen),
        })),
        "baseline": memory.baseline.map(|baseline| json!({
            "count": baseline.count,
            "fewer": baseline.fewer.map(|(since, most)| json!({ "since": since.to_string(), "most": most })),
            "raised": baseline.raised.map(|raise| json!({
                "from": raise.from,
                "since": raise.since.to_string(),
                "latest": raise.latest.to_string(),
            })),
        })),
        "absentees": memory.absentees.iter().map(|absentee| json!({
            "instance": instance_to_json(&absentee.instance),
            "since": absentee.since.to_string(),
            "fate": absentee.fate.name(),
        })).collect::<Vec<Value>>(),
        "mixed_since": memory.mixed_since.map(|at| at.to_string()),
        "not_asked": memory.trouble.as_ref().map(|trouble| json!({
            "since": trouble.since.to_string(),
            "reason": trouble.reason.name(),
        })),
        "census": memory.census.map(|at| at.to_string()),
        "servers": memory.servers,
        "statistics": memory.statistics.as_ref().map(statistics::to_json),
        "changes": memory.changes.as_ref().map(changes::to_json),
        "history": memory.history.iter().map(|brief| json!({
            "at": brief.at.to_string(),
            "count": brief.count,
        })).collect::<Vec<Value>>(),
    })
}

/// The memory in this JSON, or what is wrong with it ("the state FILE …").
fn parse(question: &Question, value: &Value, now: Timestamp) -> Result<Memory, String> {
    match &value["format"] {
        Value::Number(format) if format.as_u64() == Some(FORMAT) => {}
        Value::Number(format) => return Err(format!("has format {format}, this program knows format {FORMAT}")),
        _ => return Err("is damaged: no format".into()),
    }
    if value["question"] != question.to_json() {
        return Err("belongs to another question (service, servers, user or prefix)".into());
    }
    let memory = parse_memory(value).ok_or("is damaged: a field is missing or malformed")?;
    let times = [
        memory.epoch.as_ref().map(|epoch| epoch.at),
        memory.outage.as_ref().map(|outage| outage.first_missed),
        memory.outage.as_ref().map(|outage| outage.last_seen.at),
        memory.trouble.as_ref().map(|trouble| trouble.since),
        memory.census,
        memory.statistics.as_ref().map(|statistics| statistics.at),
    ];
    match times.into_iter().flatten().max() {
        Some(latest) if latest > now + CLOCK_SLACK => Err(format!("comes from the future ({latest}); check the clock")),
        _ => Ok(memory),
    }
}

fn epoch_to_json(epoch: &Epoch) -> Value {
    let instances: Vec<Value> = epoch.instances.iter().map(instance_to_json).collect();
    let mut value = json!({ "at": epoch.at.to_string(), "count": epoch.count, "instances": instances });
    if let Some(digest) = epoch.digest {
        value["digest"] = format!("{digest:016x}").into();
    }
    value
}

fn instance_to_json(instance: &Instance) -> Value {
    let metadata: Map<String, Value> = instance
        .metadata
        .iter()
        .map(|(key, value)| (key.clone(), value.as_str().into()))
        .collect();
    json!({ "id": instance.id, "version": instance.version, "metadata": metadata })
}

fn parse_memory(value: &Value) -> Option<Memory> {
    let optional = |name: &str| {
        let field = value.get(name)?;
        Some(Some(field).filter(|field| !field.is_null()))
    };
    let mut history = Vec::new();
    for brief in value["history"].as_array()?.iter().take(HISTORY) {
        history.push(Brief {
            at: parse_time(&brief["at"])?,
            count: parse_count(&brief["count"])?,
        });
    }
    let mut absentees = Vec::new();
    for absentee in value["absentees"].as_array().into_iter().flatten() {
        absentees.push(Absentee {
            instance: parse_instance(&absentee["instance"])?,
            since: parse_time(&absentee["since"])?,
            fate: Fate::parse(absentee["fate"].as_str()?)?,
        });
    }
    // Earlier versions did not know the servers.
    let mut servers = Vec::new();
    for id in value["servers"].as_array().into_iter().flatten() {
        servers.push(id.as_str()?.to_owned());
    }
    // An optional field may be null, but it must be there: a file that does not speak of an outage is no whole one.
    Some(Memory {
        sequence: value["sequence"].as_u64()?,
        status: match optional("status")? {
            Some(status) => Some(Status::parse(status.as_str()?)?),
            None => None,
        },
        epoch: match optional("epoch")? {
            Some(epoch) => Some(parse_epoch(epoch)?),
            None => None,
        },
        outage: match optional("outage")? {
            Some(outage) => Some(Outage {
                last_seen: parse_epoch(&outage["last_seen"])?,
                first_missed: parse_time(&outage["first_missed"])?,
            }),
            None => None,
        },
        baseline: match &value["baseline"] {
            Value::Null => None,
            baseline => Some(parse_baseline(baseline)?),
        },
        absentees,
        // Earlier versions did not know it.
        mixed_since: match &value["mixed_since"] {
            Value::Null => None,
            at => Some(parse_time(at)?),
        },
        trouble: match optional("not_asked")? {
            Some(trouble) => Some(Trouble {
                since: parse_time(&trouble["since"])?,
                reason: Reason::parse(trouble["reason"].as_str()?)?,
            }),
            None => None,
        },
        census: match optional("census")? {
            Some(at) => Some(parse_time(at)?),
            None => None,
        },
        statistics: match &value["statistics"] {
            Value::Null => None,
            statistics => Some(statistics::parse(statistics)?),
        },
        changes: match &value["changes"] {
            Value::Null => None,
            changes => Some(changes::parse(changes)?),
        },
        servers,
        history,
    })
}

fn parse_baseline(value: &Value) -> Option<Baseline> {
    let fewer = match value.get("fewer")? {
        Value::Null => None,
        fewer => Some((parse_time(&fewer["since"])?, parse_count(&fewer["most"])?)),
    };
    // Earlier versions did not know how it rose.
    let raised = match &value["raised"] {
        Value::Null => None,
        raised => Some(Raise {
            from: parse_count(&raised["from"])?,
            since: parse_time(&raised["since"])?,
            latest: parse_time(&raised["latest"])?,
        }),
    };
    Some(Baseline {
        count: parse_count(&value["count"])?,
        fewer,
        raised,
    })
}

fn parse_epoch(value: &Value) -> Option<Epoch> {
    let instances = value["instances"].as_array()?;
    let instances: Vec<Instance> = instances.iter().map(parse_instance).collect::<Option<_>>()?;
    let count = parse_count(&value["count"])?;
    let digest = match &value["digest"] {
        Value::Null => None,
        digest => Some(u64::from_str_radix(digest.as_str()?, 16).ok()?),
    };
    (instances.len() <= count).then_some(Epoch {
        at: parse_time(&value["at"])?,
        count,
        instances,
        digest,
    })
}

fn parse_instance(value: &Value) -> Option<Instance> {
    let mut metadata = Vec::new();
    for (key, value) in value["metadata"].as_object()? {
        metadata.push((key.clone(), value.as_str()?.to_owned()));
    }
    // JSON has sorted them by name; the place comes first.
    metadata.sort_by_key(|(key, _): &(String, String)| !names_a_place(key));
    Some(Instance {
        id: value["id"].as_str()?.to_owned(),
        version: value["version"].as_str()?.to_owned(),
        metadata,
    })
}

fn parse_time(value: &Value) -> Option<Timestamp> {
    Timestamp::parse(value.as_str()?)
}

fn parse_count(value: &Value) -> Option<usize> {
    usize::try_from(value.as_u64()?).ok()
}

#[cfg(test)]
mod tests;
