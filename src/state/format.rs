//! The state as JSON, format 1; the man page describes it for admins. Pure: it is given the text and the time.

mod changes;
mod statistics;
mod writer;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use self::writer::Writer;
use super::baseline::{Baseline, Peak, Raise};
use super::memory::{Absentee, Brief, Epoch, HISTORY, Memory, Outage, Trouble};
use super::question::Question;
use crate::probe::observation::{Fate, Instance, names_a_place};
use crate::values::status::{Reason, Status};
use crate::values::timestamp::Timestamp;

/// The version of the file's format.
const FORMAT: u64 = 1;

const MALFORMED: &str = "is damaged: a field is missing or malformed";

/// How far a file may be ahead of the clock: clocks are set back a little now and then, and once by a time zone.
const CLOCK_SLACK: Duration = Duration::from_secs(3600);

/// The text of the state file.
pub fn write(question: &Question, memory: &Memory) -> String {
    let mut json = Writer::default();
    json.object(|json| {
        json.field("format").number(FORMAT);
        write_question(json.field("question"), question);
        write_memory(json, memory);
    });
    json.into_text()
}

/// Reads what [`write`] wrote.
///
/// # Errors
///
/// What is wrong with it ("the state FILE …").
pub fn read(question: &Question, text: &[u8], now: Timestamp) -> Result<Memory, String> {
    if let Ok(stored) = serde_json::from_slice(text) {
        return parse(question, stored, now);
    }
    let value = serde_json::from_slice(text).map_err(|e| format!("is damaged: {e}"))?;
    // Of another format, perhaps.
    is_known(&value)?;
    Err(MALFORMED.into())
}

/// Reads what [`write`] wrote while the clock was ahead of what it is now: what has not come yet is as of now.
///
/// # Errors
///
/// As for [`read`].
pub fn read_by_another_clock(question: &Question, text: &[u8], now: Timestamp) -> Result<Memory, String> {
    let mut value = serde_json::from_slice(text).map_err(|e| format!("is damaged: {e}"))?;
    bring_forward(&mut value, now);
    read(question, value.to_string().as_bytes(), now)
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

fn write_memory(json: &mut Writer, memory: &Memory) {
    json.field("absentees").array(&memory.absentees, |json, absentee| {
        json.object(|json| {
            json.field("fate").string(absentee.fate.name());
            write_instance(json.field("instance"), &absentee.instance);
            write_time(json.field("since"), absentee.since);
        });
    });
    json.field("baseline").option(memory.baseline.as_ref(), write_baseline);
    json.field("census").option(memory.census, write_time);
    json.field("changes").option(memory.changes.as_ref(), changes::write);
    json.field("epoch").option(memory.epoch.as_ref(), write_epoch);
    json.field("history").array(&memory.history, |json, brief| {
        json.object(|json| {
            write_time(json.field("at"), brief.at);
            json.field("count").number(brief.count);
        });
    });
    json.field("mixed_since").option(memory.mixed_since, write_time);
    json.field("not_asked")
        .option(memory.trouble.as_ref(), |json, trouble| {
            json.object(|json| {
                json.field("reason").string(trouble.reason.name());
                write_time(json.field("since"), trouble.since);
            });
        });
    json.field("outage").option(memory.outage.as_ref(), |json, outage| {
        json.object(|json| {
            write_time(json.field("first_missed"), outage.first_missed);
            write_epoch(json.field("last_seen"), &outage.last_seen);
        });
    });
    json.field("sequence").number(memory.sequence);
    json.field("statistics")
        .option(memory.statistics.as_ref(), statistics::write);
    json.field("status")
        .option(memory.status.map(Status::name), Writer::string);
}

fn write_baseline(json: &mut Writer, baseline: &Baseline) {
    json.object(|json| {
        json.field("latest").number(baseline.latest);
        json.field("peaks").array(&baseline.peaks, |json, peak| {
            json.object(|json| {
                json.field("count").number(peak.count);
                write_time(json.field("until"), peak.until);
            });
        });
        json.field("raised").option(baseline.raised, |json, raise| {
            json.object(|json| {
                json.field("from").number(raise.from);
                write_time(json.field("latest"), raise.latest);
                write_time(json.field("since"), raise.since);
            });
        });
    });
}

fn write_question(json: &mut Writer, question: &Question) {
    json.object(|json| {
        json.field("prefix").string(&question.prefix);
        json.field("servers")
            .array(&question.servers, |json, server| json.string(server));
        json.field("service").string(&question.service);
        json.field("user").option(question.user.as_deref(), Writer::string);
    });
}

fn write_epoch(json: &mut Writer, epoch: &Epoch) {
    json.object(|json| {
        write_time(json.field("at"), epoch.at);
        json.field("count").number(epoch.count);
        if let Some(digest) = epoch.digest {
            json.field("digest").string(&format!("{digest:016x}"));
        }
        json.field("instances").array(&epoch.instances, write_instance);
    });
}

fn write_instance(json: &mut Writer, instance: &Instance) {
    json.object(|json| {
        json.field("id").string(&instance.id);
        json.field("metadata").object(|json| {
            for (key, value) in &instance.metadata {
                json.field(key).string(value);
            }
        });
        json.field("version").string(&instance.version);
    });
}

fn write_time(json: &mut Writer, at: Timestamp) {
    json.string(&at.to_string());
}

/// The state as it stands in the file: a tree, but for its history, which is most of it and all alike.
struct Stored {
    fields: Value,
    history: Vec<Brief>,
}

impl<'de> Deserialize<'de> for Stored {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Stored, D::Error> {
        deserializer.deserialize_map(StoredVisitor)
    }
}

struct StoredVisitor;

impl<'de> Visitor<'de> for StoredVisitor {
    type Value = Stored;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a state")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Stored, A::Error> {
        let (mut fields, mut history) = (Map::new(), None);
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "history" => history = Some(map.next_value::<Vec<StoredBrief<'_>>>()?),
                _ => drop(fields.insert(name, map.next_value()?)),
            }
        }
        let history = history.ok_or_else(|| A::Error::missing_field("history"))?;
        let briefs = history.into_iter().take(HISTORY).map(StoredBrief::brief);
        Ok(Stored {
            fields: Value::Object(fields),
            history: briefs
                .collect::<Option<_>>()
                .ok_or_else(|| A::Error::custom("a time is malformed"))?,
        })
    }
}

#[derive(serde::Deserialize)]
struct StoredBrief<'a> {
    #[serde(borrow)]
    at: Cow<'a, str>,
    count: usize,
}

impl StoredBrief<'_> {
    fn brief(self) -> Option<Brief> {
        Some(Brief {
            at: Timestamp::parse(&self.at)?,
            count: self.count,
        })
    }
}

fn is_known(value: &Value) -> Result<(), String> {
    match &value["format"] {
        Value::Number(format) if format.as_u64() == Some(FORMAT) => Ok(()),
        Value::Number(format) => Err(format!("has format {format}, this program knows format {FORMAT}")),
        _ => Err("is damaged: no format".into()),
    }
}

/// The memory in this JSON, or what is wrong with it ("the state FILE …").
fn parse(question: &Question, stored: Stored, now: Timestamp) -> Result<Memory, String> {
    let Stored { fields: value, history } = stored;
    is_known(&value)?;
    if value["question"] != question.to_json() {
        return Err("belongs to another question (service, servers, user or prefix)".into());
    }
    let memory = parse_memory(&value, history).ok_or(MALFORMED)?;
    let times = [
        memory.epoch.as_ref().map(|epoch| epoch.at),
        memory.outage.as_ref().map(|outage| outage.first_missed),
        memory.outage.as_ref().map(|outage| outage.last_seen.at),
        memory.trouble.as_ref().map(|trouble| trouble.since),
        memory.census,
        memory.statistics.as_ref().map(|statistics| statistics.at),
    ];
    match times.into_iter().flatten().max() {
        Some(latest) if latest > now + CLOCK_SLACK => Err(format!("comes from the future ({latest}), check the clock")),
        _ => Ok(memory),
    }
}

fn parse_memory(value: &Value, history: Vec<Brief>) -> Option<Memory> {
    let optional = |name: &str| {
        let field = value.get(name)?;
        Some(Some(field).filter(|field| !field.is_null()))
    };
    let mut absentees = Vec::new();
    for absentee in value["absentees"].as_array().into_iter().flatten() {
        absentees.push(Absentee {
            instance: parse_instance(&absentee["instance"])?,
            since: parse_time(&absentee["since"])?,
            fate: Fate::parse(absentee["fate"].as_str()?)?,
        });
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
        history,
    })
}

fn parse_baseline(value: &Value) -> Option<Baseline> {
    let parse_peak = |peak: &Value| {
        Some(Peak {
            count: parse_count(&peak["count"])?,
            until: parse_time(&peak["until"])?,
        })
    };
    let (latest, peaks) = match value.get("peaks") {
        Some(peaks) => {
            let peaks = peaks.as_array()?.iter().map(parse_peak);
            (parse_count(&value["latest"])?, peaks.collect::<Option<_>>()?)
        }
        // Earlier versions knew one number, and since when there were fewer.
        None => {
            let count = parse_count(&value["count"])?;
            match value.get("fewer")? {
                Value::Null => (count, Vec::new()),
                fewer => {
                    let until = parse_time(&fewer["since"])?;
                    (parse_count(&fewer["most"])?, vec![Peak { count, until }])
                }
            }
        }
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
    Some(Baseline { latest, peaks, raised })
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
