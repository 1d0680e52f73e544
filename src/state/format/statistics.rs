//! The statistics in the state file. Counters are `[requests, errors, nanoseconds of processing]`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::writer::Writer;
use crate::probe::stats::{Counters, Endpoints, MOST_ENDPOINTS};
use crate::state::statistics::{Counted, InstanceCounters, MOST_COUNTERS, Statistics, Window};
use crate::values::timestamp::Timestamp;

pub fn write(json: &mut Writer, statistics: &Statistics) {
    // Their names once, and not with each instance.
    let mut names: Vec<&str> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for name in statistics
        .instances
        .values()
        .flat_map(|counters| counters.endpoints.iter().map(|(name, _)| name))
    {
        places.entry(name).or_insert_with(|| {
            names.push(name);
            names.len() - 1
        });
    }
    let write_instance = |json: &mut Writer, (id, counters): (&String, &InstanceCounters)| {
        json.array_of(|json| {
            json.string(id);
            json.string(&counters.at.to_string());
            json.array(counters.endpoints.iter(), |json, (name, c)| {
                let place = places[name] as u64;
                json.array([place, c.requests, c.errors, c.processing], Writer::number);
            });
        });
    };
    json.object(|json| {
        write_counted(json.field("all"), &statistics.all);
        json.field("at").string(&statistics.at.to_string());
        json.field("endpoints").object(|json| {
            for (name, counted) in &statistics.endpoints {
                write_counted(json.field(name), counted);
            }
        });
        json.field("instances").array(&statistics.instances, write_instance);
        json.field("names").array(&names, |json, name| json.string(name));
    });
}

fn write_counted(json: &mut Writer, counted: &Counted) {
    json.object(|json| {
        json.field("closed").option(counted.closed.as_ref(), write_window);
        write_window(json.field("open"), &counted.open);
        write_counters(json.field("total"), counted.total);
    });
}

fn write_window(json: &mut Writer, window: &Window) {
    json.object(|json| {
        write_counters(json.field("counted"), window.counted);
        json.field("since").string(&window.since.to_string());
        json.field("until").string(&window.until.to_string());
    });
}

fn write_counters(json: &mut Writer, counters: Counters) {
    json.array(
        [counters.requests, counters.errors, counters.processing],
        Writer::number,
    );
}

/// `None`: a field is missing or malformed.
pub fn parse(value: &Value) -> Option<Statistics> {
    let mut endpoints = BTreeMap::new();
    for (name, counted) in value["endpoints"].as_object()?.iter().take(MOST_ENDPOINTS) {
        endpoints.insert(name.clone(), parse_counted(counted)?);
    }
    let names = value["names"].as_array()?;
    let mut instances = BTreeMap::new();
    for instance in value["instances"].as_array()?.iter().take(MOST_COUNTERS) {
        let mut endpoints = Endpoints::default();
        for endpoint in instance[2].as_array()?.iter().take(MOST_ENDPOINTS) {
            let place = usize::try_from(endpoint[0].as_u64()?).ok()?;
            let counters = Counters {
                requests: endpoint[1].as_u64()?,
                errors: endpoint[2].as_u64()?,
                processing: endpoint[3].as_u64()?,
            };
            endpoints.add(names.get(place)?.as_str()?, counters);
        }
        let at = parse_time(&instance[1])?;
        instances.insert(instance[0].as_str()?.to_owned(), InstanceCounters { at, endpoints });
    }
    Some(Statistics {
        at: parse_time(&value["at"])?,
        all: parse_counted(&value["all"])?,
        endpoints,
        instances,
    })
}

fn parse_counted(value: &Value) -> Option<Counted> {
    Some(Counted {
        total: parse_counters(&value["total"])?,
        open: parse_window(&value["open"])?,
        closed: match &value["closed"] {
            Value::Null => None,
            window => Some(parse_window(window)?),
        },
    })
}

fn parse_window(value: &Value) -> Option<Window> {
    Some(Window {
        since: parse_time(&value["since"])?,
        until: parse_time(&value["until"])?,
        counted: parse_counters(&value["counted"])?,
    })
}

fn parse_counters(value: &Value) -> Option<Counters> {
    Some(Counters {
        requests: value[0].as_u64()?,
        errors: value[1].as_u64()?,
        processing: value[2].as_u64()?,
    })
}

fn parse_time(value: &Value) -> Option<Timestamp> {
    Timestamp::parse(value.as_str()?)
}
