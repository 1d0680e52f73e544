//! Replies of services (ADR-32): which ones count, and what is kept of them. Everything in them is hostile.

use serde_json::Value;

use crate::connect::target::ServiceName;
use crate::probe::json;
use crate::probe::observation::{Instance, MAX_ID, NotCounted, place_rank};
use crate::probe::stats::{Counters, MAX_ENDPOINTS, Stats};
use crate::values::text::{clean, digest};
use crate::values::timestamp::Timestamp;

/// Maximum length of an endpoint's name and of its error text, in characters.
const NAME_CHARS: usize = 64;
const ERROR_CHARS: usize = 80;

/// The endpoint of an instance whose reply has no list of them: nats.go before 1.27 had one only.
const ONLY_ENDPOINT: &str = "default";

/// Maximum length of an instance's version, in characters. With the limits for the metadata (entries, and characters of each key
/// and value) it bounds the memory, the state file and the output, whatever a service sends.
///
/// A semantic version is that long where it names a commit.
const VERSION_CHARS: usize = 64;
pub const METADATA_ENTRIES: usize = 6;
pub const KEY_CHARS: usize = 32;
pub const VALUE_CHARS: usize = 64;

/// Types of replies, as the last word of their `type` field.
pub const PING: &[&str] = &["ping_response"];
pub const STATS: &[&str] = &["stats_response"];
pub const INFO: &[&str] = &["info_response"];
/// Whichever of them proves that an instance is alive.
pub const ALIVE: &[&str] = &["ping_response", "stats_response", "info_response"];

/// A reply of an instance to PING, STATS or INFO.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The name of the service: a [`ServiceName`].
    pub service: String,
    /// The id of the instance.
    pub id: String,
    /// All fields that [`json::parse`] keeps.
    pub fields: Value,
}

impl Reply {
    /// Parses a reply of one of these types, of whatever service, as strictly as ADR-32 allows: only `name` and `id` are always
    /// there, `type` may be missing, metadata may be null, unknown fields may appear.
    ///
    /// # Errors
    ///
    /// Why the reply does not count.
    pub fn parse(payload: &[u8], types: &[&str]) -> Result<Reply, NotCounted> {
        let fields = json::parse(payload).ok_or(NotCounted::Broken)?;
        let Some(name) = fields["name"].as_str() else {
            // A JetStream stream that captures the subject answers with its own acknowledgement.
            let ack = fields["stream"].is_string() && fields["seq"].is_u64();
            return Err(if ack { NotCounted::Ack } else { NotCounted::Broken });
        };
        let id = fields["id"].as_str().filter(|id| is_id(id));
        let (true, Some(id)) = (types.iter().any(|wanted| is_of_type(&fields, wanted)), id) else {
            return Err(NotCounted::Broken);
        };
        let name = ServiceName::parse(name).map_err(|_| NotCounted::Foreign)?;
        Ok(Reply {
            service: name.as_str().to_owned(),
            id: id.to_owned(),
            fields,
        })
    }

    /// The reply, if it is one of this service.
    ///
    /// # Errors
    ///
    /// It is one of another.
    pub fn of(self, service: &str) -> Result<Reply, NotCounted> {
        match self.service == service {
            true => Ok(self),
            false => Err(NotCounted::Foreign),
        }
    }

    /// The instance that sent it. The values of the metadata under the keys to keep come first.
    pub fn instance(&self, kept_keys: &[String]) -> Instance {
        let metadata = self.metadata();
        Instance {
            id: self.id.clone(),
            version: clean(self.fields["version"].as_str().unwrap_or(""), VERSION_CHARS),
            metadata: keep_metadata(read_metadata(metadata), metadata, kept_keys),
        }
    }

    /// The metadata, as it was sent.
    pub fn metadata(&self) -> &Value {
        &self.fields["metadata"]
    }

    /// The statistics in a reply to STATS.
    ///
    /// Numbers that are none, negative or beyond all measure count as zero, and so do missing ones.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats {
            started: self.fields["started"].as_str().and_then(Timestamp::parse),
            ..Stats::default()
        };
        match self.fields["endpoints"].as_array() {
            Some(endpoints) => {
                for endpoint in endpoints.iter().take(MAX_ENDPOINTS) {
                    if let Some(name) = endpoint["name"].as_str() {
                        add_endpoint(&mut stats, &clean(name, NAME_CHARS), endpoint);
                    }
                }
            }
            None if self.fields["num_requests"].is_number() => add_endpoint(&mut stats, ONLY_ENDPOINT, &self.fields),
            None => {}
        }
        stats
    }
}

/// Maximum number of keys of the metadata that [`Reply::instance`] keeps, so that the place of an instance is kept, too.
pub const MAX_KEPT_KEYS: usize = 4;

/// Puts the values of these keys in front of the entries. What is cut of a long value is told apart by a digest.
fn keep_metadata(entries: Vec<(String, String)>, metadata: &Value, keys: &[String]) -> Vec<(String, String)> {
    let mut kept: Vec<(String, String)> = Vec::new();
    for key in keys {
        if let Some(value) = metadata[key].as_str() {
            let short = match value.chars().count() > VALUE_CHARS {
                true => format!(
                    "{} #{:08x}",
                    clean(value, VALUE_CHARS / 2),
                    digest(value.bytes()) as u32
                ),
                false => clean(value, VALUE_CHARS),
            };
            kept.push((key.clone(), short));
        }
    }
    kept.extend(entries.into_iter().filter(|(key, _)| !keys.contains(key)));
    kept.truncate(METADATA_ENTRIES);
    kept
}

/// Returns `true` if a reply is of this type, such as `io.nats.micro.v1.ping_response`. Another version of the same type may
/// come, and old libraries send none.
fn is_of_type(reply: &Value, kind: &str) -> bool {
    let is_kind = |text: &str| {
        let version = text.strip_prefix("io.nats.micro.v");
        version
            .and_then(|rest| rest.strip_suffix(kind))
            .is_some_and(|rest| rest.ends_with('.'))
    };
    reply["type"].is_null() || reply["type"].as_str().is_some_and(is_kind)
}

/// An id is a token of a subject, since `$SRV.PING.<name>.<id>` must reach the instance.
pub fn is_id(id: &str) -> bool {
    let is_good = |b: u8| b.is_ascii_graphic() && !matches!(b, b'.' | b'*' | b'>' | b'|');
    !id.is_empty() && id.len() <= MAX_ID && id.bytes().all(is_good)
}

fn read_metadata(value: &Value) -> Vec<(String, String)> {
    let mut entries: Vec<(&String, &str)> = value
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key, value.as_str()?)))
        .collect();
    // The fields that locate the instance must not be cut off.
    entries.sort_by_key(|(key, _)| place_rank(key));
    entries
        .into_iter()
        .take(METADATA_ENTRIES)
        .map(|(key, value)| (clean(key, KEY_CHARS), clean(value, VALUE_CHARS)))
        .collect()
}

/// Adds the endpoint in this JSON.
fn add_endpoint(stats: &mut Stats, name: &str, endpoint: &Value) {
    let counters = Counters {
        requests: number(&endpoint["num_requests"]),
        errors: number(&endpoint["num_errors"]),
        processing: number(&endpoint["processing_time"]),
    };
    stats.add(name, counters);
    stats.errors_apart |= counters.has_errors_apart(number(&endpoint["average_processing_time"]));
    if let Some(error) = endpoint["last_error"].as_str().filter(|error| !error.is_empty()) {
        stats.last_errors.insert(name.to_owned(), clean(error, ERROR_CHARS));
    }
}

/// A counter. Some libraries write floats.
fn number(value: &Value) -> u64 {
    /// The largest that a float can hold exactly. Beyond it, nobody has counted.
    const MAX_SAFE_INTEGER: u64 = 1 << 53;
    let number = match (value.as_u64(), value.as_f64()) {
        (Some(number), _) => number,
        // A negative one becomes 0, and one that is too large the largest integer.
        (None, Some(float)) => float as u64,
        (None, None) => 0,
    };
    if number > MAX_SAFE_INTEGER { 0 } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_ping(service: &str, payload: &[u8]) -> Result<Instance, NotCounted> {
        Ok(Reply::parse(payload, PING)?.of(service)?.instance(&[]))
    }

    fn read_stats(service: &str, payload: &[u8]) -> Result<(String, Stats), NotCounted> {
        let reply = Reply::parse(payload, STATS)?.of(service)?;
        Ok((reply.id.clone(), reply.stats()))
    }

    #[test]
    fn only_ping_replies_of_the_service_count() {
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
            (r#"{"stream":"CAP"}"#, Err(NotCounted::Broken)),
            (r#"{"seq":1}"#, Err(NotCounted::Broken)),
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
        let schema = "x".repeat(1 << 20);
        for padded in [
            format!(r#"{{"name":"orders","id":"A","x":"{schema}"}}"#),
            format!(r#"{{"metadata":{{"schema":{{"x":["{schema}"]}}}},"name":"orders","id":"A"}}"#),
        ] {
            assert_eq!(read_ping("orders", padded.as_bytes()), good("A"));
        }
        let long_id = format!(r#"{{"name":"orders","id":"{}"}}"#, "x".repeat(MAX_ID + 1));
        assert_eq!(read_ping("orders", long_id.as_bytes()), Err(NotCounted::Broken));
    }

    #[test]
    fn text_of_an_instance_is_clean_and_bounded() {
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

    #[test]
    fn metadata_that_is_asked_for_is_kept() {
        let value = |key: &str, text: String| format!(r#""{key}":"{text}""#);
        let others: Vec<String> = (0..9).map(|n| value(&format!("a{n}"), "x".into())).collect();
        let long = |end: &str| format!("registry.example.com/{}@{end}", "team/".repeat(20));
        let kept = |image: String| {
            let words = [
                others.join(","),
                value("pod", "web-0".into()),
                value("image", image),
                value("zz", "1".into()),
            ];
            let payload = format!(r#"{{"name":"orders","id":"A","metadata":{{{}}}}}"#, words.join(","));
            let reply = Reply::parse(payload.as_bytes(), PING).expect("a reply");
            reply.instance(&["image", "zz", "absent"].map(str::to_owned)).metadata
        };
        let (one, other) = (kept(long("1")), kept(long("2")));
        let keys: Vec<&str> = one.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["image", "zz", "pod", "a0", "a1", "a2"]);
        assert_eq!(one[1].1, "1");
        assert!(
            one[0].1.starts_with("registry.example.com/team/") && one[0].1.len() < VALUE_CHARS,
            "{one:?}"
        );
        assert_ne!(one[0], other[0]);
        assert_eq!(one, kept(long("1")));
        // As long as is allowed: whole.
        let longest = "x".repeat(VALUE_CHARS);
        assert_eq!(kept(longest.clone())[0].1, longest);
    }

    #[test]
    fn only_valid_statistics_count() {
        let wrong: &[(&str, NotCounted)] = &[
            ("", NotCounted::Broken),
            ("[]", NotCounted::Broken),
            (r#"{"name":"orders"}"#, NotCounted::Broken),
            (r#"{"id":"A"}"#, NotCounted::Broken),
            (r#"{"name":"orders","id":"a.b"}"#, NotCounted::Broken),
            (r#"{"name":"Orders","id":"A"}"#, NotCounted::Foreign),
            (
                r#"{"name":"orders","id":"A","type":"io.nats.micro.v1.ping_response"}"#,
                NotCounted::Broken,
            ),
            (r#"{"stream":"CAP","seq":1}"#, NotCounted::Ack),
        ];
        for (payload, why) in wrong {
            assert_eq!(read_stats("orders", payload.as_bytes()), Err(*why), "{payload}");
        }
        let long = format!(r#"{{"name":"orders","id":"A","x":"{}"}}"#, "x".repeat(1 << 20));
        assert!(read_stats("orders", long.as_bytes()).is_ok());
    }

    #[test]
    fn counters_are_read_whatever_they_look_like() {
        // Columns: value of all three counters, value read.
        let cases = [
            ("7", 7),
            ("0", 0),
            ("7.9", 7),
            ("1e3", 1000),
            ("-1", 0),
            ("-0.5", 0),
            ("1e300", 0),
            ("18446744073709551615", 0),
            ("99999999999999999999999", 0),
            ("9007199254740992", 1 << 53),
            ("\"7\"", 0),
            ("null", 0),
            ("[7]", 0),
        ];
        for (text, number) in cases {
            let payload = format!(
                r#"{{"name":"orders","id":"A","endpoints":[{{"name":"add","num_requests":{text},"num_errors":{text},"processing_time":{text}}}]}}"#
            );
            let (id, stats) = read_stats("orders", payload.as_bytes()).expect("a reply");
            let counters = Counters {
                requests: number,
                errors: number,
                processing: number,
            };
            assert_eq!(
                (id.as_str(), stats.endpoints.get("add").expect("an endpoint")),
                ("A", counters),
                "{text}"
            );
        }
    }

    #[test]
    fn endpoints_are_bounded_and_clean() {
        let endpoint = |n: usize| format!(r#"{{"name":"e{n}|x\n","num_requests":1}}"#);
        let endpoints: Vec<String> = (0..100).map(endpoint).collect();
        let payload = format!(r#"{{"name":"orders","id":"A","endpoints":[{}]}}"#, endpoints.join(","));
        let (_, stats) = read_stats("orders", payload.as_bytes()).expect("a reply");
        assert_eq!(stats.endpoints.len(), MAX_ENDPOINTS);
        assert!(stats.endpoints.get("e0?x?").is_some());
        // An object of endpoints is read like a list.
        let payload = r#"{"name":"orders","id":"A","endpoints":{"find":{"num_requests":2},"x":{"name":"ping","num_requests":3}}}"#;
        let (_, stats) = read_stats("orders", payload.as_bytes()).expect("a reply");
        let requests: Vec<(&str, u64)> = stats.endpoints.iter().map(|(name, c)| (name, c.requests)).collect();
        assert_eq!(requests, [("find", 2), ("ping", 3)]);
        // Two endpoints have the same name, and some have none.
        let payload = r#"{"name":"orders","id":"A","started":"2026-11-22T07:14:46Z","endpoints":[{"name":"a","num_requests":2},
            {"name":"a","num_requests":3,"num_errors":1,"last_error":"429:slow\ndown"},{"num_requests":9},7,null]}"#;
        let (_, stats) = read_stats("orders", payload.as_bytes()).expect("a reply");
        assert_eq!(stats.endpoints.len(), 1);
        assert_eq!(stats.endpoints.get("a").map(|a| (a.requests, a.errors)), Some((5, 1)));
        assert_eq!(stats.last_errors["a"], "429:slow?down");
        assert_eq!(stats.started, Timestamp::parse("2026-11-22T07:14:46Z"));
    }

    #[test]
    fn errors_counted_apart_are_seen() {
        for (mean, apart) in [(2000, true), (4000, false)] {
            let payload = format!(
                r#"{{"name":"orders","id":"A","endpoints":[{{"name":"a","num_requests":3,"num_errors":3,"processing_time":12000,"average_processing_time":{mean}}}]}}"#
            );
            let (_, stats) = read_stats("orders", payload.as_bytes()).expect("a reply");
            assert_eq!(stats.errors_apart, apart, "{mean}");
        }
    }

    #[test]
    fn a_reply_without_endpoints_is_that_of_an_old_library_or_of_none() {
        let old = br#"{"name":"demo","id":"A","num_requests":13,"num_errors":1,"processing_time":104517}"#;
        let (_, stats) = read_stats("demo", old).expect("a reply");
        let counters = Counters {
            requests: 13,
            errors: 1,
            processing: 104_517,
        };
        assert_eq!(stats.endpoints.get(ONLY_ENDPOINT), Some(counters));
        for none in [
            r#"{"name":"demo","id":"A","endpoints":[]}"#,
            r#"{"name":"demo","id":"A"}"#,
        ] {
            assert!(
                read_stats("demo", none.as_bytes())
                    .expect("a reply")
                    .1
                    .endpoints
                    .is_empty()
            );
        }
    }
}
