//! The JSON of a reply: reads what the other modules look for and drops the rest, so that a reply of any size that the
//! server lets through costs no more memory than the fields that are kept.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Maximum number of endpoints of a reply, and of entries of its metadata, that are kept.
pub const MAX_ENTRIES: usize = 1000;

/// Fields of a reply and of an endpoint in it that are kept, beside `metadata` and `endpoints`.
const FIELDS: [&str; 13] = [
    "name",
    "id",
    "type",
    "version",
    "subject",
    "started",
    "stream",
    "seq",
    "num_requests",
    "num_errors",
    "processing_time",
    "average_processing_time",
    "last_error",
];

/// Parses a reply. `endpoints` is an array in the result, whether the service sent an array or an object: the values of an
/// object are its endpoints, and a key is the name of an endpoint that has none. What is no text is replaced: bytes that are not
/// UTF-8, and one half of a surrogate pair.
///
/// Returns `None` if the payload is not a JSON object.
pub fn parse(payload: &[u8]) -> Option<Value> {
    // A flood of large messages must not cost more than this.
    if !payload.trim_ascii_start().starts_with(b"{") {
        return None;
    }
    let text = str::from_utf8(payload).map_or_else(|_| String::from_utf8_lossy(payload), Cow::Borrowed);
    let read = |text: &str| {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let value = Part::Reply.deserialize(&mut deserializer).ok()?;
        deserializer.end().ok()?;
        Some(value)
    };
    read(&text).or_else(|| read(&without_halves(&text)?))
}

/// The text with U+FFFD in place of each escape that is one half of a surrogate pair. JSON allows it, Python and JavaScript write it
/// (for a byte that is no text, or an emoji that was cut), and no string can hold it. `None`: there is none.
fn without_halves(text: &str) -> Option<String> {
    let unit = |escape: &str| u16::from_str_radix(escape.strip_prefix("\\u")?.get(..4)?, 16).ok();
    let (mut whole, mut rest, mut has_half) = (String::new(), text, false);
    while let Some(at) = rest.find('\\') {
        let escape = &rest[at..];
        let (length, is_half) = match (unit(escape), escape.get(6..).and_then(unit)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => (12, false),
            (Some(0xd800..=0xdfff), _) => (6, true),
            // The second character may be another backslash.
            _ => (2, false),
        };
        whole += &rest[..at];
        whole += if is_half { "\\ufffd" } else { escape.get(..length)? };
        has_half |= is_half;
        rest = &escape[length..];
    }
    has_half.then(|| whole + rest)
}

/// A part of a reply, which decides what is kept of it.
#[derive(Clone, Copy)]
enum Part {
    Reply,
    /// The metadata: its texts.
    Metadata,
    Endpoints,
    Endpoint,
    /// A text, a number, true, false or null. Of an array or an object, only that it is one.
    Scalar,
}

impl Part {
    /// The part under this key, or `None` if it is dropped.
    fn child(self, key: &str) -> Option<Part> {
        match (self, key) {
            (Part::Reply, "metadata") => Some(Part::Metadata),
            (Part::Reply, "endpoints") => Some(Part::Endpoints),
            (Part::Reply | Part::Endpoint, _) => FIELDS.contains(&key).then_some(Part::Scalar),
            (Part::Metadata, _) => Some(Part::Scalar),
            (Part::Endpoints, _) => Some(Part::Endpoint),
            (Part::Scalar, _) => None,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Part {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Part {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Value, A::Error> {
        let mut kept = Vec::new();
        if let Part::Endpoints = self {
            while kept.len() < MAX_ENTRIES
                && let Some(endpoint) = array.next_element_seed(Part::Endpoint)?
            {
                kept.push(endpoint);
            }
        }
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(kept.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut kept = Map::new();
        let mut endpoints = Vec::new();
        while let Some(key) = object.next_key::<String>()? {
            let full = kept.len().max(endpoints.len()) >= MAX_ENTRIES;
            let Some(part) = self.child(&key).filter(|_| !full) else {
                object.next_value::<IgnoredAny>()?;
                continue;
            };
            let mut value = object.next_value_seed(part)?;
            match self {
                Part::Endpoints => {
                    if let Some(endpoint) = value.as_object_mut() {
                        endpoint.entry("name").or_insert(key.into());
                    }
                    endpoints.push(value);
                }
                Part::Metadata if !value.is_string() => {}
                _ => drop(kept.insert(key, value)),
            }
        }
        Ok(match self {
            Part::Endpoints => endpoints.into(),
            _ => kept.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_reply_keeps_the_fields_that_are_read() {
        let cases = [
            (" {}", json!({})),
            (
                r#"{"name":"a","id":["x"],"type":{"x":1},"x":[1,2],"seq":-1,"version":1.5,"stream":true}"#,
                json!({"name": "a", "id": [], "type": {}, "seq": -1, "version": 1.5, "stream": true}),
            ),
            (
                r#"{"metadata":{"a":"b","c":1,"d":null,"e":{"f":"g"}},"endpoints":null}"#,
                json!({"metadata": {"a": "b"}, "endpoints": null}),
            ),
            (
                r#"{"metadata":["a"],"endpoints":[{"name":"a","subject":"s","metadata":{"x":"y"}},null,7]}"#,
                json!({"metadata": [], "endpoints": [{"name": "a", "subject": "s"}, null, 7]}),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text.as_bytes()), Some(expected), "{text}");
        }
        for text in [
            "",
            "null",
            "7",
            r#"[{"name":"a"}]"#,
            "{",
            r#"{"a":1} {}"#,
            r#"{"metadata":{"a":}}"#,
            "nul",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn endpoints_of_an_object_are_its_values() {
        let text = r#"{"endpoints":{"find":{"name":"v1","subject":"s"},"ping":{"subject":"p"},"x":1}}"#;
        let expected = json!({"endpoints": [{"name": "v1", "subject": "s"}, {"name": "ping", "subject": "p"}, 1]});
        assert_eq!(parse(text.as_bytes()), Some(expected));
    }

    #[test]
    fn bytes_that_are_not_text_are_replaced() {
        let value = parse(b"{\"metadata\":{\"owner\":\"M\xfcller\"},\"x\":\"\xff\"}");
        assert_eq!(value, Some(json!({"metadata": {"owner": "M\u{fffd}ller"}})));
    }

    /// As Python writes a byte that is no text, and JavaScript an emoji that was cut.
    #[test]
    fn half_of_a_surrogate_pair_is_replaced() {
        for (escape, shown) in [
            (r"M\udcfcller", "M\u{fffd}ller"),
            (r"\ud83d", "\u{fffd}"),
            (r"\uD83D\n", "\u{fffd}\n"),
            (r"\ud83d\ud83d\ude00", "\u{fffd}\u{1f600}"),
            (r"\ude00\ud83d", "\u{fffd}\u{fffd}"),
            (r"\\ud83d \ude00", "\\ud83d \u{fffd}"),
            (r"\ud83dé", "\u{fffd}é"),
        ] {
            let text = format!(r#"{{"id":"A","metadata":{{"owner {escape}":"{escape}"}},"version":"{escape}"}}"#);
            let key = format!("owner {shown}");
            let expected = json!({"id": "A", "metadata": {key: shown}, "version": shown});
            assert_eq!(parse(text.as_bytes()), Some(expected), "{text}");
        }
        for broken in [
            r#"{"id":"\ud83d"#,
            r#"{"id":"\ud8"}"#,
            r#"{"id":"\é"}"#,
            r#"{"id":"\ud83d\"#,
            r#"{"id":"\x \ud83d"}"#,
        ] {
            assert_eq!(parse(broken.as_bytes()), None, "{broken}");
        }
    }

    #[test]
    fn the_tree_is_bounded_and_nesting_is_harmless() {
        let metadata: Vec<String> = (0..5000).map(|n| format!(r#""k{n}":"""#)).collect();
        let endpoints = vec!["{}"; 5000].join(",");
        let text = format!(
            r#"{{"x":{}{},"metadata":{{{}}},"endpoints":[{endpoints}]}}"#,
            "[".repeat(100_000),
            "]".repeat(100_000),
            metadata.join(",")
        );
        let value = parse(text.as_bytes()).expect("JSON");
        assert_eq!(value["metadata"].as_object().map(Map::len), Some(MAX_ENTRIES));
        assert_eq!(value["endpoints"].as_array().map(Vec::len), Some(MAX_ENTRIES));
    }
}
