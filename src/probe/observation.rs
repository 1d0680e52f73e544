//! The observation of one probe: the instances that answered, or why there is no answer. No clock, no file, no network.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::connect::credentials::Expiry;
use crate::probe::stats::SeenStats;
use crate::values::status::Reason;
use crate::values::text::clean;
use crate::values::timestamp::Timestamp;

/// One running copy of a service (ADR-32). All text in it is clean, except the id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Unique among the instances; a restart gives a new one. As it was received, for subjects and JSON; texts show
    /// [`shown_id`](Instance::shown_id).
    pub id: String,
    /// Empty where the reply had none.
    pub version: String,
    /// Bounded; what names the place (pod, host, node) first.
    pub metadata: Vec<(String, String)>,
}

impl Instance {
    /// The id as texts show it.
    pub fn shown_id(&self) -> String {
        shown_id(&self.id)
    }

    /// Id, version and place, for the first line.
    pub fn in_brief(&self) -> String {
        self.in_brief_as(&self.version)
    }

    /// The same with these words in the place of the version.
    pub fn in_brief_as(&self, version: &str) -> String {
        let place = self.metadata.iter().find(|(key, _)| names_a_place(key));
        let place = place.map(|(key, value)| format!("{key}={value}"));
        let words: Vec<&str> = [version, place.as_deref().unwrap_or("")]
            .into_iter()
            .filter(|w| !w.is_empty())
            .collect();
        match words.is_empty() {
            true => self.shown_id(),
            false => format!("{} ({})", self.shown_id(), words.join(", ")),
        }
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown_id())?;
        if !self.version.is_empty() {
            write!(f, " version {}", self.version)?;
        }
        for (key, value) in &self.metadata {
            write!(f, " {key}={value}")?;
        }
        Ok(())
    }
}

/// Maximum length of an id, in characters. Those of the known libraries have 16 to 32.
pub const MAX_ID: usize = 128;

/// The id of an instance as texts show it: without anything that a terminal, a shell or a page could take for its own.
pub fn shown_id(id: &str) -> String {
    clean(id, MAX_ID)
}

/// An instance that answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceReply {
    pub instance: Instance,
    /// From the request to the reply. `None` where another run got the answer.
    pub rtt: Option<Duration>,
}

impl InstanceReply {
    /// Returns `true` if all words of its version are known: of the reply to another run, not all are remembered.
    pub fn tells_its_version(&self) -> bool {
        self.rtt.is_some() || !self.instance.version.is_empty()
    }
}

/// The versions of the instances that answered, as far as they are known, and how many are of each.
pub fn versions(answers: &[InstanceReply]) -> BTreeMap<&str, usize> {
    let mut versions = BTreeMap::new();
    for answer in answers.iter().filter(|answer| answer.tells_its_version()) {
        *versions.entry(answer.instance.version.as_str()).or_insert(0) += 1;
    }
    versions
}

/// Why the service could not be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub reason: Reason,
    /// Text for an operator: the failed step, the place, and the change to make. Clean; its ages are
    /// [`dated`](crate::values::dated).
    pub text: String,
}

impl Failure {
    pub fn new(reason: Reason, text: impl Into<String>) -> Failure {
        Failure {
            reason,
            text: text.into(),
        }
    }

    /// The same with a hint behind its text, where it may be due to how it was connected.
    pub fn with_hint(self, hint: Option<&str>) -> Failure {
        use Reason::{AuthRejected, NatsUnreachable, ProtocolError, TlsFailed};
        match hint {
            Some(hint) if [AuthRejected, NatsUnreachable, ProtocolError, TlsFailed].contains(&self.reason) => Failure {
                text: format!("{}, {hint}", self.text),
                ..self
            },
            _ => self,
        }
    }
}

/// The answer to "who is there?".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// At least one instance, each once.
    Answered(Vec<InstanceReply>),
    /// The server knows of nobody who is subscribed (status 503), also at the last asking.
    NoResponders,
    /// Somebody is subscribed, and nobody answered in this time.
    Silent(Duration),
    /// The question could not be put, or not to its end.
    Failed(Failure),
}

impl Outcome {
    /// The instances that answered; `None` if NATS could not be asked.
    pub fn answers(&self) -> Option<&[InstanceReply]> {
        match self {
            Outcome::Answered(answers) => Some(answers),
            Outcome::NoResponders | Outcome::Silent(_) => Some(&[]),
            Outcome::Failed(_) => None,
        }
    }
}

/// Cause, as far as it is known, of the silence of a service or an instance: the server does not say that nobody is subscribed,
/// and no reply comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Silence {
    /// Nothing.
    #[default]
    Unknown,
    /// Nobody listens to whatever is asked, so it is the service itself that is subscribed.
    Subscribed,
    /// Somebody may listen to whatever is asked: that one hides whether the service is there.
    Hidden,
}

/// State of an instance that answered before and does not now.
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
    /// Number of instances that answered, if none of them has the metadata key that was asked for.
    pub without_key: u32,
}

impl Ignored {
    /// Returns the number of replies that did not come from the service.
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

/// Result of a request to an endpoint of the service. All text in it is clean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSeen {
    /// Its name; empty where a subject was given.
    pub endpoint: String,
    /// Where it was asked; empty where that did not become known.
    pub subject: String,
    pub end: EndpointEnd,
    /// Disagreement among the instances, or other subjects of the same name; empty if there is none.
    pub doubt: String,
}

impl EndpointSeen {
    pub fn reply(&self) -> Option<&EndpointReply> {
        match &self.end {
            EndpointEnd::Replied(reply) => Some(reply),
            _ => None,
        }
    }

    /// Returns `true` if the endpoint replied as wanted, however slowly; `None` if that could not be found out.
    pub fn success(&self) -> Option<bool> {
        match &self.end {
            EndpointEnd::Replied(reply) => Some(reply.error.is_none() && reply.lacks.is_empty()),
            EndpointEnd::NoResponders { certain } => certain.then_some(false),
            EndpointEnd::NoReply { enough, .. } => enough.then_some(false),
            EndpointEnd::Unknown { complete, .. } => complete.then_some(false),
            EndpointEnd::NotASubject { .. }
            | EndpointEnd::NoInfo { .. }
            | EndpointEnd::TooLarge { .. }
            | EndpointEnd::NoHeaders
            | EndpointEnd::NoTime
            | EndpointEnd::Failed(_) => None,
        }
    }
}

/// End of a request to an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointEnd {
    Replied(EndpointReply),
    /// Nobody is subscribed to its subject (status 503), also at the last asking.
    NoResponders {
        /// Set if the endpoint certainly has this subject here: through an import, the service reports another one.
        certain: bool,
    },
    /// Nothing came within this time.
    NoReply {
        waited: Duration,
        /// Set if the wait was long enough for a verdict.
        enough: bool,
        /// Set if a JetStream stream acknowledged the request.
        captured: bool,
    },
    /// No instance has an endpoint of this name.
    Unknown {
        /// The names of those that there are.
        known: Vec<String>,
        /// Set if all instances have replied.
        complete: bool,
    },
    /// The subject that the service reports has wildcards, is none, or belongs to NATS itself.
    NotASubject {
        told: String,
    },
    /// No instance told its endpoints, when asked on this subject.
    NoInfo {
        subject: String,
        no_responders: bool,
    },
    /// The server takes messages of `limit` bytes at most, and this one has `size`.
    TooLarge {
        size: usize,
        limit: usize,
    },
    /// The server takes no headers.
    NoHeaders,
    /// There was no time left to ask.
    NoTime,
    /// NATS did not let us ask, or was lost meanwhile.
    Failed(Failure),
}

/// The reply of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointReply {
    /// From the request to the reply.
    pub took: Duration,
    /// In bytes.
    pub size: usize,
    pub error: Option<ServiceError>,
    /// The text that it should contain and does not; empty if it is as wanted.
    pub lacks: String,
    /// Beginning of the reply.
    pub excerpt: String,
    /// The id of the instance, where the reply tells; else empty.
    pub sender: String,
}

/// An error that an endpoint has answered with. Clean; either may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceError {
    pub code: String,
    pub text: String,
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

/// Observation of one probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The moment that it tells of: with instances, when the request left that they answered; else when it was complete.
    pub at: Timestamp,
    pub outcome: Outcome,
    /// Set if the run was a full count, which waits for unknown instances.
    pub census: bool,
    /// Number of times that the service was asked.
    pub rounds: usize,
    pub server: Option<Server>,
    /// Of the credentials that it logs in with; `None` where nothing that we log in with can expire.
    pub credentials: Option<Expiry>,
    pub ignored: Ignored,
    /// The instances that answered before and did not now, or only when asked for themselves, by id.
    pub absent: Vec<(String, Fate)>,
    /// The other services that are there, with how many instances; `None` where nobody looked.
    pub others: Option<Vec<(String, usize)>>,
    /// Denied permission for a further request. Clean; empty if there is none.
    pub denied: String,
    /// Result of the request to an endpoint; `None` if there was none to send, or no instance answered.
    pub request: Option<EndpointSeen>,
    /// From the start of the run to the end of the probe.
    pub took: Duration,
    /// Each step, with its time since the start of the run.
    pub trace: Vec<(Duration, String)>,
    /// Where nobody answered, or not all of the instances known.
    pub silence: Silence,
    /// Set if each PING reached one instance only, and not always the same one: a queue group, or an import that lets one reply
    /// through. There may be more instances than answered.
    pub queue_group: bool,
    /// The ids that replied to one request more than once, and how often.
    pub same_id: Vec<(String, usize)>,
    /// Set if instances answered other requests, but none a PING.
    pub without_ping: bool,
    /// Ids of instances that sent a reply with headers that the client cannot read; `?` for a reply of an endpoint.
    pub unreadable: Vec<String>,
    /// Set if the server was asked to leave out all headers, since a reply has some that the client cannot read.
    pub headerless: bool,
    /// Counters of the instances; `None` if they were not requested.
    pub stats: Option<SeenStats>,
    /// Remarks on how it was connected, for `-v`. Clean.
    pub remarks: Vec<String>,
}

impl Observation {
    /// A probe that ended before it could ask anything.
    pub fn failed(at: Timestamp, failure: Failure) -> Observation {
        Observation::new(at, Outcome::Failed(failure))
    }

    /// A probe of which no more than this outcome is known.
    pub fn new(at: Timestamp, outcome: Outcome) -> Observation {
        Observation {
            at,
            outcome,
            census: false,
            rounds: 0,
            server: None,
            credentials: None,
            ignored: Ignored::default(),
            absent: Vec::new(),
            others: None,
            denied: String::new(),
            request: None,
            took: Duration::ZERO,
            trace: Vec::new(),
            silence: Silence::Unknown,
            queue_group: false,
            same_id: Vec::new(),
            without_ping: false,
            unreadable: Vec::new(),
            headerless: false,
            stats: None,
            remarks: Vec::new(),
        }
    }
}

/// Observation of one probe of all services.
#[derive(Clone, Debug)]
pub struct AllObservation {
    /// Each service that was planned, or that replied to a PING and is selected, by name. Their `trace` and `remarks` are empty: those
    /// of the run are in `common`.
    pub services: BTreeMap<String, Arc<Observation>>,
    /// Facts of the whole run. `outcome` is `Failed` where NATS could not be asked, or not to the end, else `Answered` without
    /// instances; a service of which nothing is known then has the same failure. `denied` is set if asking all services with one
    /// query is not allowed, and names what to allow: services that nobody knows of were not seen. `census` is set if the probe
    /// waited for such services. `ignored` counts the replies that belong to no service.
    pub common: Observation,
    /// Number of services that replied and were not taken in, since there were too many.
    pub too_many: usize,
}

/// Returns `true` if the metadata value under this key names the place where an instance runs.
pub fn names_a_place(key: &str) -> bool {
    place_rank(key) < 2
}

/// The order of the metadata: the pod, then the host it is on, then what names no place.
pub fn place_rank(key: &str) -> u8 {
    match ["host", "node"].iter().any(|place| key.contains(place)) {
        _ if key.contains("pod") => 0,
        true => 1,
        false => 2,
    }
}
