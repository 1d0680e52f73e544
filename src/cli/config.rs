//! What the user has said, as types that cannot be wrong.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::connect::target::{Auth, ServerUrl, ServiceName, Target};
use crate::judge::Policy;
use crate::judge::pod::{self, ProbeKind};
use crate::probe::plan::Wanted;
use crate::render::prometheus::Style;
use crate::state::key::StateKey;
use crate::state::store::StateLocation;

/// What the program is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Check,
    Textfile {
        output: PathBuf,
        /// Exit with the status of the verdict, and not with that of the writing.
        exit_status: bool,
    },
    /// A Kubernetes exec probe.
    Probe(ProbeOptions),
    /// A sidecar that probes again and again.
    Watch {
        interval: Duration,
        textfile: Option<PathBuf>,
        status_file: Option<PathBuf>,
        listen: Option<ListenOptions>,
    },
    StateShow,
    StateReset,
}

/// What a Kubernetes exec probe asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeOptions {
    pub kind: ProbeKind,
    pub selector: Selector,
    /// Result when NATS cannot be asked, where the user says it.
    pub unreachable: Option<pod::ProbeResult>,
    /// Do not ask NATS, but read the file of a sidecar, which must not be older than this.
    pub from: Option<(PathBuf, Duration)>,
}

/// What a sidecar answers over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenOptions {
    /// As the user typed it.
    pub typed: String,
    /// What it stands for: the first that this machine has.
    pub addresses: Vec<SocketAddr>,
    /// Without one, there are no probes.
    pub selector: Option<Selector>,
    /// Result of a probe when NATS cannot be asked, where the user says it.
    pub unreachable: Option<pod::ProbeResult>,
    /// An older check says nothing of a pod any more.
    pub max_age: Duration,
}

/// Which instance is a pod's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    Is(Wanted),
    /// The one whose id is in this file.
    IdFile(PathBuf),
}

/// How a verdict is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    Nagios,
    Json,
    Text,
    Prometheus,
    Checkmk,
}

impl Format {
    /// Each format by its word.
    const ALL: [(&str, Format); 5] = [
        ("nagios", Format::Nagios),
        ("json", Format::Json),
        ("text", Format::Text),
        ("prometheus", Format::Prometheus),
        ("checkmk", Format::Checkmk),
    ];

    /// Reads a format by its word.
    pub fn parse(word: &str) -> Option<Format> {
        Format::ALL
            .iter()
            .find(|(name, _)| *name == word)
            .map(|(_, format)| *format)
    }

    /// The words of all formats, for a message: `nagios, json or text`.
    pub fn words() -> String {
        let [first @ .., last] = Format::ALL.map(|(name, _)| name);
        format!("{} or {last}", first.join(", "))
    }

    /// The format asked for, as far as that can be told of arguments that are wrong: mistakes come in it, too.
    pub fn guess(args: &[OsString]) -> Format {
        let words: Vec<&str> = args.iter().filter_map(|arg| arg.to_str()).collect();
        let inline = words.iter().find_map(|word| word.strip_prefix("--format="));
        let apart = words.windows(2).find(|pair| pair[0] == "--format").map(|pair| pair[1]);
        inline.or(apart).and_then(Format::parse).unwrap_or_default()
    }
}

/// `state list`: which states, and how to print them.
#[derive(Clone, Debug)]
pub struct StateListOptions {
    pub place: StateLocation,
    /// Only those of this service.
    pub service: Option<ServiceName>,
    /// As JSON, and not as text.
    pub json: bool,
    pub timeout: Duration,
}

/// How everything is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutputOptions {
    pub format: Format,
    /// How many times `-v` was given.
    pub verbosity: u8,
    pub metrics: Style,
}

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// The whole run.
    pub timeout: Duration,
    /// Asking again when nobody answers; zero: never.
    pub confirm: Duration,
    /// Waiting for one more answer after the latest.
    pub stall: Duration,
    /// How often at least to wait for instances that nobody knows of.
    pub census: Duration,
}

/// Everything that the user has said, checked.
#[derive(Clone, Debug)]
pub struct Config {
    pub command: Command,
    pub target: Target,
    pub timing: Timing,
    pub policy: Policy,
    pub place: StateLocation,
    pub output: OutputOptions,
}

impl Config {
    /// What identifies the question, in the state.
    pub fn state_key(&self) -> StateKey {
        let target = &self.target;
        let servers: BTreeSet<String> = target.servers.iter().map(ServerUrl::address).collect();
        let users = target.servers.iter().filter_map(|server| server.auth.as_ref());
        let user = users.chain([&target.auth]).find_map(Auth::user);
        StateKey {
            service: target.service.as_str().to_owned(),
            prefix: target.prefix.as_str().to_owned(),
            servers: servers.into_iter().collect(),
            user,
        }
    }
}
