//! Replies of services (ADR-32): which ones count, and what is kept of them. Everything in them is hostile.

use serde_json::Value;

use crate::probe::observation::{Instance, NotCounted, names_a_place};
use crate::probe::target::ServiceName;
use crate::values::text::clean;

/// A PING reply is some hundred bytes; what is longer than this (in bytes) is not one.
const LONGEST_REPLY: usize = 64 * 1024;

/// How much of an instance's own words is kept: characters of the version, entries of the metadata, and characters of
/// each key and value. Bounds the memory, the state file and the output, whatever a service says.
///
/// A semantic version is that long where it names a commit.
const VERSION_CHARS: usize = 64;
const METADATA_ENTRIES: usize = 6;
pub const KEY_CHARS: usize = 32;
pub const VALUE_CHARS: usize = 64;

/// The longest id that is believed, in characters. Those of the known libraries have 16 to 32.
const LONGEST_ID: usize = 128;

/// Reads a reply to `$SRV.PING.<service>`, as strictly as ADR-32 allows: only `name` and `id` are always there, `type`
/// may be missing, metadata may be null, unknown fields may appear.
///
/// # Errors
///
/// Why the reply does not count.
pub fn read_ping(service: &str, payload: &[u8]) -> Result<Instance, NotCounted> {
    match read_any_ping(payload)? {
        (name, instance) if name == service => Ok(instance),
        _ => Err(NotCounted::Foreign),
    }
}

/// Reads a reply to `$SRV.PING`: the name of a service, and an instance of it.
///
/// # Errors
///
/// Why the reply does not count.
pub fn read_any_ping(payload: &[u8]) -> Result<(String, Instance), NotCounted> {
    if payload.len() > LONGEST_REPLY {
        return Err(NotCounted::Broken);
    }
    let reply: Value = serde_json::from_slice(payload).map_err(|_| NotCounted::Broken)?;
    let Some(name) = reply["name"].as_str() else {
        // A JetStream stream that captures the subject answers with its own acknowledgement.
        let ack = reply["stream"].is_string() && reply["seq"].is_u64();
        return Err(if ack { NotCounted::Ack } else { NotCounted::Broken });
    };
    if !reply["type"].is_null() && !reply["type"].as_str().is_some_and(is_ping_type) {
        return Err(NotCounted::Broken);
    }
    let id = reply["id"].as_str().filter(|id| is_id(id)).ok_or(NotCounted::Broken)?;
    let name = ServiceName::parse(name).map_err(|_| NotCounted::Foreign)?;
    let instance = Instance {
        id: id.to_owned(),
        version: clean(reply["version"].as_str().unwrap_or(""), VERSION_CHARS),
        metadata: read_metadata(&reply["metadata"]),
    };
    Ok((name.as_str().to_owned(), instance))
}

/// Whether the metadata of a reply has all of these values, whatever of it is remembered.
pub fn has_metadata(payload: &[u8], wanted: &[(String, String)]) -> bool {
    let reply: Value = serde_json::from_slice(payload).unwrap_or_default();
    wanted
        .iter()
        .all(|(key, value)| reply["metadata"][key].as_str() == Some(value))
}

/// `io.nats.micro.v1.ping_response`; another version of the same may come.
fn is_ping_type(kind: &str) -> bool {
    kind.starts_with("io.nats.micro.v") && kind.ends_with(".ping_response")
}

/// An id is a token of a subject, since `$SRV.PING.<name>.<id>` must reach the instance.
pub fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= LONGEST_ID && id.bytes().all(|b| b.is_ascii_graphic() && !b".*>|".contains(&b))
}

fn read_metadata(value: &Value) -> Vec<(String, String)> {
    let mut entries: Vec<(&String, &str)> = value
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key, value.as_str()?)))
        .collect();
    // What tells where the instance runs must not be what is cut.
    entries.sort_by_key(|(key, _)| !names_a_place(key));
    entries
        .into_iter()
        .take(METADATA_ENTRIES)
        .map(|(key, value)| (clean(key, KEY_CHARS), clean(value, VALUE_CHARS)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_and_what_does_not() {
        let good = |id: &str| {
            Ok(Instance {
                id: id.into(),
                version: String::new(),
                metadata: vec![],
            })
        };
        let cases: &[(&str, Result<Instance, NotCounted>)] = &[
            (r#"{"name":"orders","id":"A1"}"#, good("A1")),
            (
                r#"{"name":"orders","id":"a-b_c","type":null,"metadata":null,"version":null}"#,
                good("a-b_c"),
            ),
            (
                r#"{"name":"orders","id":"A","type":"io.nats.micro.v1.ping_response","new":[1]}"#,
                good("A"),
            ),
            (
                r#"{"name":"orders","id":"A","type":"io.nats.micro.v2.ping_response"}"#,
                good("A"),
            ),
            (r#"{"name":"orders","id":"A","metadata":{"a":1,"b":null}}"#, good("A")),
            (r#"{"name":"billing","id":"A"}"#, Err(NotCounted::Foreign)),
            (r#"{"name":"Orders","id":"A"}"#, Err(NotCounted::Foreign)),
            (r#"{"stream":"CAP","seq":1}"#, Err(NotCounted::Ack)),
            (
                r#"{"name":"orders","id":"A","type":"io.nats.micro.v1.stats_response"}"#,
                Err(NotCounted::Broken),
            ),
            (r#"{"name":"orders","id":"A","type":7}"#, Err(NotCounted::Broken)),
            (r#"{"name":"orders"}"#, Err(NotCounted::Broken)),
            (r#"{"name":"orders","id":""}"#, Err(NotCounted::Broken)),
            (r#"{"name":"orders","id":"a.b"}"#, Err(NotCounted::Broken)),
            (r#"{"name":"orders","id":"a b"}"#, Err(NotCounted::Broken)),
            (r#"{"name":"orders","id":"a\nb"}"#, Err(NotCounted::Broken)),
            (r#"{"name":"orders","id":">"}"#, Err(NotCounted::Broken)),
            (r#"{"name":"orders","id":7}"#, Err(NotCounted::Broken)),
            (r#"{"name":["orders"],"id":"A"}"#, Err(NotCounted::Broken)),
            (r#"{"name":"orders","id":"A""#, Err(NotCounted::Broken)),
            (r#"{"name":"orders","id":"A"} {}"#, Err(NotCounted::Broken)),
            (r#""orders""#, Err(NotCounted::Broken)),
            ("", Err(NotCounted::Broken)),
            ("null", Err(NotCounted::Broken)),
        ];
        for (payload, expected) in cases {
            assert_eq!(&read_ping("orders", payload.as_bytes()), expected, "{payload}");
        }
        assert_eq!(
            read_ping("orders", b"{\"name\":\"orders\",\"id\":\"\xff\"}"),
            Err(NotCounted::Broken)
        );
        let nested = "[".repeat(100_000);
        assert_eq!(
            read_ping("orders", &nested.as_bytes()[..60_000]),
            Err(NotCounted::Broken)
        );
        let padded = format!(r#"{{"name":"orders","id":"A","x":"{}"}}"#, "x".repeat(LONGEST_REPLY));
        assert_eq!(read_ping("orders", padded.as_bytes()), Err(NotCounted::Broken));
        let long_id = format!(r#"{{"name":"orders","id":"{}"}}"#, "x".repeat(LONGEST_ID + 1));
        assert_eq!(read_ping("orders", long_id.as_bytes()), Err(NotCounted::Broken));
    }

    #[test]
    fn an_instances_words_are_clean_and_bounded() {
        let entries: Vec<String> = (0..50).map(|n| format!(r#""k{n}":"{}""#, "v".repeat(500))).collect();
        let payload = format!(
            r#"{{"name":"orders","id":"A","version":"1.0|instances=99","metadata":{{{},"z_pod":"web\n0"}}}}"#,
            entries.join(",")
        );
        let instance = read_ping("orders", payload.as_bytes()).expect("a reply that counts");
        assert_eq!(instance.version, "1.0?instances=99");
        assert_eq!(instance.metadata.len(), METADATA_ENTRIES);
        assert_eq!(instance.metadata[0], ("z_pod".to_owned(), "web?0".to_owned()));
        assert_eq!(instance.metadata[1].1.len(), VALUE_CHARS + 3);
        assert!(
            instance
                .to_string()
                .starts_with("A version 1.0?instances=99 z_pod=web?0 k0=vvv")
        );
    }
}
