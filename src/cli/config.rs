//! The options of the user, validated, as types that cannot be wrong.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::ArgMatches;
use serde::{Deserialize, Serialize};

use super::connection;
use super::flag_values::{ConfigError, FlagValues};
use super::scope::{self, AllServices, Scope};
use crate::connect::target::{Auth, ServerUrl, ServiceName, Target};
use crate::judge::Policy;
use crate::judge::pod::{ProbeKind, ProbeResult};
use crate::render::prometheus::Style;
use crate::state::account::AccountKey;
use crate::state::key::StateKey;
use crate::state::store::StateLocation;
use crate::values::env::Env;
use crate::values::text::one_of;

/// A command with its validated arguments.
#[derive(Debug)]
pub enum Command {
    Check(Box<Arguments>),
    Textfile(Box<Arguments>, TextfileOptions),
    /// A Kubernetes exec probe.
    Probe(Box<Arguments>, ProbeOptions),
    /// A sidecar that checks again and again.
    Watch(Box<Arguments>, WatchOptions),
    StateShow(Box<Arguments>, StateShowOptions),
    StateReset(Box<Arguments>),
    StateList(StateListOptions),
    /// Services that answer, and those that are remembered.
    List(Box<Arguments>, ListOptions),
    /// NATS itself, and no service.
    Server(Box<Arguments>),
    /// Print the help or the version.
    Print(String),
}

/// Options of `textfile`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextfileOptions {
    pub output: PathBuf,
    /// Exit with the status of the verdict, and not with that of the writing.
    pub exit_status: bool,
    /// Print what is wrong.
    pub verbose: bool,
}

/// Options of `state show`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateShowOptions {
    /// Set if flags or variables name a server or a login.
    pub is_server_given: bool,
}

/// Options of `watch`, the sidecar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchOptions {
    pub interval: Duration,
    pub textfile: Option<PathBuf>,
    pub status_file: Option<PathBuf>,
    pub listen: Option<ListenOptions>,
    pub log_format: LogFormat,
}

/// Format of the lines that `watch` logs on stderr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogFormat {
    #[default]
    Text,
    /// One object a line.
    Json,
}

impl LogFormat {
    /// Reads `text` or `json`.
    pub fn parse(word: &str) -> Option<LogFormat> {
        match word {
            "text" => Some(LogFormat::Text),
            "json" => Some(LogFormat::Json),
            _ => None,
        }
    }
}

/// Options of a Kubernetes exec probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeOptions {
    pub kind: ProbeKind,
    pub selector: Selector,
    /// Result when NATS cannot be asked, where the user says it.
    pub unreachable: Option<ProbeResult>,
    /// Do not ask NATS, but read the file of a sidecar, which must not be older than this.
    pub from: Option<(PathBuf, Duration)>,
}

/// Options of the HTTP server of a sidecar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenOptions {
    /// As the user typed it.
    pub typed: String,
    /// Addresses of `typed` to try in this order: the first one that this machine has is used.
    pub addresses: Vec<SocketAddr>,
    /// Without one, there are no probes.
    pub selector: Option<Selector>,
    /// Result of a probe when NATS cannot be asked, where the user says it.
    pub unreachable: Option<ProbeResult>,
    /// An older check says nothing of a pod any more.
    pub max_age: Duration,
}

/// Which instance is a pod's own. Serialized for the process that answers over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Selector {
    Id(String),
    /// The one whose id is in this file.
    IdFile(OsString),
    /// The one with these keys and values in its metadata.
    Match(Vec<(String, String)>),
    Any,
}

/// Options of `list`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListOptions {
    /// Name of the template that the definitions for Nagios and Icinga use.
    pub template: Option<String>,
}

/// Format of a verdict, or of a list of services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    Nagios,
    Json,
    Text,
    Prometheus,
    Checkmk,
    Zabbix,
    Icinga,
    PrometheusSd,
}

impl Format {
    /// Every format.
    pub const ALL: [Format; 8] = [
        Format::Nagios,
        Format::Json,
        Format::Text,
        Format::Prometheus,
        Format::Checkmk,
        Format::Zabbix,
        Format::Icinga,
        Format::PrometheusSd,
    ];

    /// The formats of a verdict, the default first.
    pub const OF_VERDICT: [Format; 5] = [
        Format::Nagios,
        Format::Json,
        Format::Text,
        Format::Prometheus,
        Format::Checkmk,
    ];

    /// The formats of `list`, the default first.
    pub const OF_LIST: [Format; 6] = [
        Format::Text,
        Format::Json,
        Format::Zabbix,
        Format::Icinga,
        Format::Nagios,
        Format::PrometheusSd,
    ];

    /// The formats of `state list`, the default first.
    pub const OF_STATE_LIST: [Format; 2] = [Format::Text, Format::Json];

    /// The word of the format.
    pub fn name(self) -> &'static str {
        match self {
            Format::Nagios => "nagios",
            Format::Json => "json",
            Format::Text => "text",
            Format::Prometheus => "prometheus",
            Format::Checkmk => "checkmk",
            Format::Zabbix => "zabbix",
            Format::Icinga => "icinga",
            Format::PrometheusSd => "prometheus-sd",
        }
    }

    /// Reads a format by its word.
    pub fn parse(word: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|format| format.name() == word)
    }

    /// The words of formats: `nagios, json or text`.
    pub fn words(formats: &[Format]) -> String {
        let names: Vec<&str> = formats.iter().map(|format| format.name()).collect();
        one_of(&names)
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
    pub location: StateLocation,
    /// Only those of this service.
    pub service: Option<ServiceName>,
    pub format: Format,
    pub timeout: Duration,
}

/// Options of the output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutputOptions {
    pub format: Format,
    /// Number of `-v`, 0 to 3.
    pub verbosity: u8,
    /// With `--all`: a performance value for each service too.
    pub per_service: bool,
    pub metrics: Style,
}

/// Time limits of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// The whole run.
    pub timeout: Duration,
    /// Asking again when nobody answers; zero: never.
    pub confirm: Duration,
    /// Waiting for one more answer after the latest.
    pub stall: Duration,
    /// Maximum time between two full counts, which wait for unknown instances.
    pub census: Duration,
}

/// The validated arguments, without the connection: that may be in files, which can hang.
#[derive(Clone, Debug)]
pub struct Arguments {
    pub scope: Scope,
    pub settings: Settings,
    pub(super) matches: ArgMatches,
}

impl Arguments {
    /// Reads the files that say how to connect, until the deadline.
    ///
    /// # Errors
    ///
    /// The message: what is wrong, and the way out.
    pub fn target(&self, env: Env<'_>, deadline: Instant) -> Result<Target, ConfigError> {
        let values = FlagValues::new(&self.matches, env, deadline);
        connection::target(&values).map_err(|problem| problem.redacted())
    }

    /// Reads the file with the names of expected services, until the deadline: the same services, with those names.
    ///
    /// # Errors
    ///
    /// The message: what is wrong, and the way out.
    pub fn all_services(&self, all: &AllServices, env: Env<'_>, deadline: Instant) -> Result<AllServices, ConfigError> {
        let values = FlagValues::new(&self.matches, env, deadline);
        scope::with_file(all, &values).map_err(|problem| problem.redacted())
    }
}

/// Everything else that the user has said.
#[derive(Clone, Debug)]
pub struct Settings {
    pub timing: Timing,
    pub policy: Policy,
    pub location: StateLocation,
    pub output: OutputOptions,
}

/// Everything that the user has said of one service, checked.
#[derive(Clone, Debug)]
pub struct Config {
    pub service: ServiceName,
    pub target: Target,
    pub settings: Settings,
}

/// The same of all services.
#[derive(Clone, Debug)]
pub struct AllConfig {
    pub services: AllServices,
    pub target: Target,
    pub settings: Settings,
}

impl Config {
    /// Returns the key of the state of one service: all that identifies the question.
    pub fn state_key(&self) -> StateKey {
        account_key(&self.target).of_service(self.service.as_str())
    }
}

impl AllConfig {
    /// Returns the key of the state of an account: all that identifies it.
    pub fn account_key(&self) -> AccountKey {
        account_key(&self.target)
    }
}

fn account_key(target: &Target) -> AccountKey {
    let servers: BTreeSet<String> = target.servers.iter().map(ServerUrl::address).collect();
    let users = target.servers.iter().filter_map(|server| server.auth.as_ref());
    AccountKey {
        prefix: target.prefix.as_str().to_owned(),
        servers: servers.into_iter().collect(),
        user: users.chain([&target.auth]).find_map(Auth::user),
    }
}
