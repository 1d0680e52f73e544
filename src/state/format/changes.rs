//! Who came and who went, in the state file.

use serde_json::{Value, json};

use super::{instance_to_json, parse_instance, parse_time};
use crate::state::changes::{Change, Changes, MOST_CHANGES, What};

pub fn to_json(changes: &Changes) -> Value {
    let change = |change: &Change| {
        let mut value = json!({
            "at": change.at.to_string(),
            "what": change.what.name(),
            "instance": instance_to_json(&change.instance),
        });
        if let Some(id) = change.replaces() {
            value["replaces"] = id.into();
        }
        value
    };
    json!({
        "restarts": changes.restarts,
        "log": changes.log.iter().map(change).collect::<Vec<Value>>(),
    })
}

pub fn parse(value: &Value) -> Option<Changes> {
    let log = value["log"].as_array()?;
    Some(Changes {
        restarts: value["restarts"].as_u64()?,
        log: log.iter().take(MOST_CHANGES).map(parse_change).collect::<Option<_>>()?,
    })
}

fn parse_change(value: &Value) -> Option<Change> {
    let what = match value["what"].as_str()? {
        "arrived" => What::Arrived {
            replaces: match &value["replaces"] {
                Value::Null => None,
                id => Some(id.as_str()?.to_owned()),
            },
        },
        "missing" => What::Missing,
        "left" => What::Left,
        _ => return None,
    };
    Some(Change {
        at: parse_time(&value["at"])?,
        what,
        instance: parse_instance(&value["instance"])?,
    })
}
