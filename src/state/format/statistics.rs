//! The statistics in the state file. Counters are `[requests, errors, nanoseconds of processing]`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::probe::stats::{Counters, Endpoints, MOST_ENDPOINTS};
use crate::state::statistics::{Counted, InstanceCounters, MOST_COUNTERS, Statistics, Window};
use crate::values::timestamp::Timestamp;

pub fn to_json(statistics: &Statistics) -> Value {
    let endpoints: Map<String, Value> = statistics
        .endpoints
        .iter()
        .map(|(name, counted)| (name.clone(), counted_to_json(counted)))
        .collect();
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
    let instance = |(id, counters): (&String, &InstanceCounters)| {
        let endpoints: Vec<Value> = counters
            .endpoints
            .iter()
            .map(|(name, c)| json!([places[name], c.requests, c.errors, c.processing]))
            .collect();
        json!([id, counters.at.to_string(), endpoints])
    };
    json!({
        "at": statistics.at.to_string(),
        "all": counted_to_json(&statistics.all),
        "endpoints": endpoints,
        "names": names,
        "instances": statistics.instances.iter().map(instance).collect::<Vec<Value>>(),
    })
}

fn counted_to_json(counted: &Counted) -> Value {
    json!({
        "total": counters_to_json(counted.total),
        "open": window_to_json(&counted.open),
        "closed": counted.closed.as_ref().map(window_to_json),
    })
}

fn window_to_json(window: &Window) -> Value {
    json!({
        "since": window.since.to_string(),
        "until": window.until.to_string(),
        "counted": counters_to_json(window.counted),
    })
}

fn counters_to_json(counters: Counters) -> Value {
    json!([counters.requests, counters.errors, counters.processing])
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
