//! Who came and who went, in the state file.

use serde_json::Value;

use super::writer::Writer;
use crate::probe::observation::Instance;
use crate::state::changes::{Change, Changes, MOST_CHANGES, What};
use crate::values::timestamp::Timestamp;

pub fn write(json: &mut Writer, changes: &Changes) {
    json.object(|json| {
        json.field("log").array(&changes.log, write_change);
        json.field("restarts").number(changes.restarts);
    });
}

fn write_change(json: &mut Writer, change: &Change) {
    json.object(|json| {
        json.field("at").string(&change.at.to_string());
        json.field("id").string(&change.instance.id);
        if let Some((key, place)) = change.place() {
            json.field("place").array([key, place], |json, text| json.string(text));
        }
        if let Some(id) = change.replaces() {
            json.field("replaces").string(id);
        }
        json.field("version").string(&change.instance.version);
        json.field("what").string(change.what.name());
    });
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
