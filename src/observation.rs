//! What one probe saw: the instances that answered, or why there is no answer. No clock, no file, no network.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use crate::epoch::Epoch;
use crate::target::ServiceName;
use crate::text::clean;
use crate::timestamp::Timestamp;
use crate::verdict::Reason;

/// A PING reply is some hundred bytes; what is longer than this (in bytes) is not one.
const LONGEST_REPLY: usize = 64 * 1024;

/// How much of an instance's own words is kept: characters of the version, entries of the metadata, and characters of
/// each key and value. Bounds the memory, the state file and the output, whatever a service says.
const VERSION_CHARS: usize = 32;
const METADATA_ENTRIES: usize = 6;
pub const KEY_CHARS: usize = 32;
pub const VALUE_CHARS: usize = 64;

/// The longest id that is believed, in characters. Those of the known libraries have 16 to 32.
const LONGEST_ID: usize = 128;

/// One running copy of a service (ADR-32). All text in it is clean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Unique among the instances; a restart gives a new one.
    pub id: String,
    /// Empty where the reply had none.
    pub version: String,
    /// Bounded; what names the place (pod, host, node) first.
    pub metadata: Vec<(String, String)>,
}

impl Instance {
    /// Id, version and place, for the first line.
    pub fn in_brief(&self) -> String {
        let place = self.metadata.iter().find(|(key, _)| names_a_place(key));
        let place = place.map(|(key, value)| format!("{key}={value}"));
        let words: Vec<&str> = [self.version.as_str(), place.as_deref().unwrap_or("")]
            .into_iter()
            .filter(|w| !w.is_empty())
            .collect();
        match words.is_empty() {
            true => self.id.clone(),
            false => format!("{} ({})", self.id, words.join(", ")),
        }
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.id)?;
        if !self.version.is_empty() {
            write!(f, " version {}", self.version)?;
        }
        for (key, value) in &self.metadata {
            write!(f, " {key}={value}")?;
        }
        Ok(())
    }
}

/// An instance that answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub instance: Instance,
    /// From the request to the reply. `None` where another run got the answer.
    pub rtt: Option<Duration>,
}

/// Why the service could not be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub reason: Reason,
    /// What failed, where, and what to change. Clean.
    pub text: String,
}

impl Failure {
    pub fn new(reason: Reason, text: impl Into<String>) -> Failure {
        Failure {
            reason,
            text: text.into(),
        }
    }
}

/// The answer to "who is there?".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// At least one instance, each once.
    Answered(Vec<Answer>),
    /// The server knows of nobody who is subscribed (status 503), also at the last asking.
    NoResponders,
    /// Somebody is subscribed, and nobody answered in this time.
    Silent(Duration),
    /// The question could not be put, or not to its end.
    Failed(Failure),
}

/// What is known of an instance that answered before and does not now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nobody is subscribed under its id any more.
    Gone,
    /// It is subscribed, and does not answer.
    NotAnswering,
    /// It answered when it was asked for itself, after the others.
    Slow,
    /// We may not ask it.
    NotAsked,
}

impl Fate {
    pub const ALL: [Fate; 4] = [Fate::NotAnswering, Fate::Gone, Fate::Slow, Fate::NotAsked];

    /// As told, and as kept in the state.
    pub fn name(self) -> &'static str {
        match self {
            Fate::Gone => "gone",
            Fate::NotAnswering => "not answering",
            Fate::Slow => "slow",
            Fate::NotAsked => "missing",
        }
    }

    pub fn parse(word: &str) -> Option<Fate> {
        Fate::ALL.into_iter().find(|fate| fate.name() == word)
    }
}

/// Replies that were not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ignored {
    /// PING replies of another service.
    pub foreign: u32,
    /// Acknowledgements of a JetStream stream that captures the request.
    pub acks: u32,
    /// Everything else.
    pub broken: u32,
    /// Other instances, where one of them was asked for.
    pub siblings: u32,
}

impl Ignored {
    /// How many came from something else than the service.
    pub fn total(&self) -> u32 {
        self.foreign.saturating_add(self.acks).saturating_add(self.broken)
    }

    pub fn add(&mut self, kind: NotCounted) {
        let counter = match kind {
            NotCounted::Foreign => &mut self.foreign,
            NotCounted::Ack => &mut self.acks,
            NotCounted::Broken => &mut self.broken,
            NotCounted::Sibling => &mut self.siblings,
        };
        *counter = counter.saturating_add(1);
    }
}

/// Why a reply is not an answer of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotCounted {
    Foreign,
    Ack,
    Broken,
    /// It is, but of another instance than the one that was asked for.
    Sibling,
}

/// The NATS server that was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Server {
    /// `host:port` as configured.
    pub address: String,
    /// Another one after each start; empty as long as it has sent us no message. Clean.
    pub id: String,
    /// Its name where somebody gave it one, else empty. Clean.
    pub name: String,
    /// Clean.
    pub version: String,
    /// From a PING to its PONG.
    pub rtt: Option<Duration>,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NATS")?;
        for word in [&self.version, &self.name] {
            if !word.is_empty() {
                write!(f, " {word}")?;
            }
        }
        write!(f, " at {}", self.address)
    }
}

/// What one probe saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The moment that it tells of: with instances, when the request left that they answered; else when it was complete.
    pub at: Timestamp,
    pub outcome: Outcome,
    /// Whether it waited for instances that nobody knew of.
    pub census: bool,
    /// How many times the service was asked.
    pub askings: usize,
    pub server: Option<Server>,
    pub ignored: Ignored,
    /// The instances that answered before and did not now, or only when asked for themselves, by id.
    pub absent: Vec<(String, Fate)>,
    /// The other services that are there, with how many instances; `None` where nobody looked.
    pub others: Option<Vec<(String, usize)>>,
    /// What we were not allowed to ask beside the question. Clean; empty if nothing.
    pub denied: String,
    /// From the start of the run to the end of the probe.
    pub took: Duration,
    /// Each step, with its time since the start of the run.
    pub trace: Vec<(Duration, String)>,
}

impl Observation {
    /// A probe that ended before it could ask anything.
    pub fn failed(at: Timestamp, failure: Failure) -> Observation {
        Observation {
            at,
            outcome: Outcome::Failed(failure),
            census: false,
            askings: 0,
            server: None,
            ignored: Ignored::default(),
            absent: Vec::new(),
            others: None,
            denied: String::new(),
            took: Duration::ZERO,
            trace: Vec::new(),
        }
    }

    /// What this observation is worth beside a newer epoch of an overlapping run: that run's answer.
    #[must_use]
    pub fn superseded_by(&self, newer: &Epoch) -> Observation {
        let answer = |instance: &Instance| Answer {
            instance: instance.clone(),
            rtt: None,
        };
        Observation {
            at: newer.at,
            outcome: match newer.count {
                0 => Outcome::NoResponders,
                _ => Outcome::Answered(newer.instances.iter().map(answer).collect()),
            },
            ..self.clone()
        }
    }
}

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

/// Whether the value under this key tells where an instance runs.
pub fn names_a_place(key: &str) -> bool {
    ["pod", "host", "node"].iter().any(|place| key.contains(place))
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
