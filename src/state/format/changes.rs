//! Who came and who went, in the state file.

use serde_json::{Value, json};

use crate::probe::observation::Instance;
use crate::state::changes::{Change, Changes, MOST_CHANGES, What};
use crate::values::timestamp::Timestamp;

pub fn to_json(changes: &Changes) -> Value {
    json!({
        "restarts": changes.restarts,
        "log": changes.log.iter().map(change_to_json).collect::<Vec<Value>>(),
    })
}

fn change_to_json(change: &Change) -> Value {
    let mut value = json!({
        "at": change.at.to_string(),
        "what": change.what.name(),
        "id": change.instance.id,
        "version": change.instance.version,
    });
    if let Some((key, place)) = change.place() {
        value["place"] = json!([key, place]);
    }
    if let Some(id) = change.replaces() {
        value["replaces"] = id.into();
    }
    value
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
                id => Some(text(id)?),
            },
        },
        "missing" => What::Missing,
        "left" => What::Left,
        _ => return None,
    };
    let metadata = match &value["place"] {
        Value::Null => Vec::new(),
        place => vec![(text(&place[0])?, text(&place[1])?)],
    };
    Some(Change {
        at: Timestamp::parse(value["at"].as_str()?)?,
        what,
        instance: Instance {
            id: text(&value["id"])?,
            version: text(&value["version"])?,
            metadata,
        },
    })
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}
