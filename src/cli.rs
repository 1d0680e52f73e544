//! Arguments and variables as typed -> a valid [`Config`]. The flags are defined in [`flags`].
//!
//! clap only finds the values; they are read here, so that every mistake is told in one line of our own that never
//! shows a secret.

mod connection;
mod flags;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::ArgMatches;
use clap::error::{ContextKind, ContextValue, ErrorKind};

pub use self::flags::command;
use crate::asking::Wanted;
use crate::duration;
use crate::files::{read_text, shown};
use crate::judge::Policy;
use crate::observation::is_id;
use crate::pod::{self, Kind};
use crate::range::Range;
use crate::render::prometheus::{Label, Style};
use crate::state::{Place, Question};
use crate::target::{Auth, Prefix, Secret, ServerUrl, ServiceName, Target, redact};
use crate::text::clean;
use crate::verdict::Status;

/// What the program is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    Check,
    Textfile {
        output: PathBuf,
        /// Exit with the status of the verdict, and not with that of the writing.
        exit_status: bool,
    },
    /// A Kubernetes exec probe.
    Probe {
        kind: Kind,
        which: Which,
        /// What it means when NATS cannot be asked.
        without_nats: pod::Answer,
        /// Do not ask NATS, but read the file of a sidecar, which must not be older than this.
        from: Option<(PathBuf, Duration)>,
    },
    /// A sidecar that probes again and again.
    Watch {
        interval: Duration,
        textfile: Option<PathBuf>,
        status_file: Option<PathBuf>,
    },
    StateShow,
    StateReset,
}

/// Which instance is a pod's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
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
}

impl Format {
    fn parse(word: &str) -> Option<Format> {
        match word {
            "nagios" => Some(Format::Nagios),
            "json" => Some(Format::Json),
            "text" => Some(Format::Text),
            "prometheus" => Some(Format::Prometheus),
            _ => None,
        }
    }

    /// The format asked for, as far as that can be told of arguments that are wrong: mistakes come in it, too.
    pub fn guess(args: &[OsString]) -> Format {
        let words: Vec<&str> = args.iter().filter_map(|arg| arg.to_str()).collect();
        let inline = words.iter().find_map(|word| word.strip_prefix("--format="));
        let apart = words.windows(2).find(|pair| pair[0] == "--format").map(|pair| pair[1]);
        inline.or(apart).and_then(Format::parse).unwrap_or_default()
    }
}

/// How everything is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Telling {
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
    /// Whether the user has said nothing about `confirm`.
    pub confirm_by_default: bool,
    /// Waiting for one more answer after the latest.
    pub stall: Duration,
    /// How often at least to wait for instances that nobody knows of.
    pub census: Duration,
}

/// What the user has said, checked, but for how to connect: that may stand in files, which take their time.
#[derive(Clone, Debug)]
pub struct Typed {
    pub mode: Mode,
    pub service: ServiceName,
    pub timing: Timing,
    pub policy: Policy,
    pub place: Place,
    pub telling: Telling,
    matches: ArgMatches,
}

impl Typed {
    /// Reads the files that say how to connect, until the deadline.
    ///
    /// # Errors
    ///
    /// One line that says what is wrong and what would be right.
    pub fn target(&self, env: Env<'_>, deadline: Instant) -> Result<Target, Problem> {
        let given = Given {
            matches: &self.matches,
            env,
            deadline,
        };
        connection::target(self.service.clone(), &given).map_err(|problem| match problem {
            Problem::Usage(why) => Problem::Usage(redact(&why)),
            Problem::File(why) => Problem::File(redact(&why)),
        })
    }

    /// With how to connect, that is everything.
    pub fn with_target(self, target: Target) -> Config {
        Config {
            mode: self.mode,
            target,
            timing: self.timing,
            policy: self.policy,
            place: self.place,
            telling: self.telling,
        }
    }
}

/// What is wrong with what the user has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// With the arguments or variables themselves.
    Usage(String),
    /// With a file that they name: it is missing or malformed. A moment later it may be right.
    File(String),
}

impl Problem {
    pub fn text(&self) -> &str {
        match self {
            Problem::Usage(text) | Problem::File(text) => text,
        }
    }
}

impl From<String> for Problem {
    fn from(text: String) -> Problem {
        Problem::Usage(text)
    }
}

impl From<&str> for Problem {
    fn from(text: &str) -> Problem {
        Problem::Usage(text.to_owned())
    }
}

/// Everything that the user has said, checked.
#[derive(Clone, Debug)]
pub struct Config {
    pub mode: Mode,
    pub target: Target,
    pub timing: Timing,
    pub policy: Policy,
    pub place: Place,
    pub telling: Telling,
}

impl Config {
    /// What identifies the question, in the state.
    pub fn question(&self) -> Question {
        let target = &self.target;
        let servers: BTreeSet<String> = target.servers.iter().map(ServerUrl::address).collect();
        let users = target.servers.iter().filter_map(|server| server.auth.as_ref());
        let user = users.chain([&target.auth]).find_map(Auth::user);
        Question {
            service: target.service.as_str().to_owned(),
            prefix: target.prefix.as_str().to_owned(),
            servers: servers.into_iter().collect(),
            user,
        }
    }
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Parsed {
    Run(Box<Typed>),
    /// The help or the version.
    Print(String),
}

/// Looks up an environment variable.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Reads the command line (with the program's name first) and the environment.
///
/// # Errors
///
/// One line that says what is wrong and what would be right.
pub fn parse(args: &[OsString], env: Env<'_>) -> Result<Parsed, String> {
    read(args, env).map_err(|problem| redact(&problem))
}

fn read(args: &[OsString], env: Env<'_>) -> Result<Parsed, String> {
    let matches = match command().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            return Ok(Parsed::Print(error.to_string()));
        }
        Err(error) => return Err(one_line(&error, args.get(1))),
    };
    // Before it is known how long it may take, no file is read.
    let given = |matches| Given {
        matches,
        env,
        deadline: Instant::now(),
    };
    match matches.subcommand() {
        None => config(&given(&matches), |_| Ok(Mode::Check)),
        Some(("textfile", matches)) => config(&given(matches), textfile_mode),
        Some(("probe", probe)) => match probe.subcommand() {
            Some(("liveness", matches)) => config(&given(matches), |given| probe_mode(given, Kind::Liveness)),
            Some(("readiness", matches)) => config(&given(matches), |given| probe_mode(given, Kind::Readiness)),
            Some((_, matches)) => config(&given(matches), |given| probe_mode(given, Kind::Startup)),
            None => Err(WHICH_PROBE.into()),
        },
        Some(("watch", matches)) => config(&given(matches), watch_mode),
        Some(("state", state)) => match state.subcommand() {
            Some(("reset", matches)) => config(&given(matches), |_| Ok(Mode::StateReset)),
            Some((_, matches)) => config(&given(matches), |_| Ok(Mode::StateShow)),
            None => Err("state what? Say state show, or state reset".into()),
        },
        Some((_, matches)) => config(&given(matches), |_| Ok(Mode::Check)),
    }
}

/// What was given by flags, and what by the environment.
struct Given<'a> {
    matches: &'a ArgMatches,
    env: Env<'a>,
    /// Until when a file may be read.
    deadline: Instant,
}

impl Given<'_> {
    fn raw(&self, flag: &str) -> Option<&OsStr> {
        // Not every mode has every flag.
        let value = self.matches.try_get_one::<OsString>(flag).ok().flatten();
        value.map(OsString::as_os_str)
    }

    /// All values of a flag that can be repeated.
    fn words(&self, flag: &str) -> Result<Vec<&str>, String> {
        let values = self.matches.try_get_many::<OsString>(flag).ok().flatten();
        let words = values.into_iter().flatten();
        words
            .map(|word| word.to_str().ok_or(format!("the value of --{flag} is not UTF-8")))
            .collect()
    }

    fn path(&self, flag: &str) -> Result<Option<PathBuf>, String> {
        match self.raw(flag) {
            Some(path) if path.is_empty() => Err(format!("--{flag}: the name is empty")),
            path => Ok(path.map(PathBuf::from)),
        }
    }

    fn has(&self, flag: &str) -> bool {
        self.matches
            .try_get_one::<bool>(flag)
            .ok()
            .flatten()
            .is_some_and(|set| *set)
    }

    fn text(&self, flag: &str) -> Result<Option<&str>, String> {
        self.raw(flag)
            .map(|value| value.to_str().ok_or(format!("the value of --{flag} is not UTF-8")))
            .transpose()
    }

    /// A variable; an empty one counts as unset.
    fn variable(&self, name: &str) -> Result<Option<String>, String> {
        match (self.env)(name).filter(|value| !value.is_empty()) {
            Some(value) => value
                .into_string()
                .map(Some)
                .map_err(|_| format!("the variable {name} is not UTF-8")),
            None => Ok(None),
        }
    }

    fn duration(&self, flag: &str) -> Result<Option<Duration>, String> {
        self.read(flag, duration::parse)
    }

    fn duration_above_zero(&self, flag: &str) -> Result<Option<Duration>, String> {
        match self.duration(flag)? {
            Some(Duration::ZERO) => Err(format!("--{flag}: it must be longer than 0")),
            duration => Ok(duration),
        }
    }

    fn range(&self, flag: &str) -> Result<Option<Range>, String> {
        let read = |text: &str| Range::parse(text).map_err(|why| format!("'{text}': {why}"));
        self.read(flag, read)
    }

    fn status(&self, flag: &str) -> Result<Option<Status>, String> {
        let read = |text: &str| {
            Status::parse(text).ok_or(format!("'{text}' is not a status: ok, warning, unknown or critical"))
        };
        self.read(flag, read)
    }

    fn read<T>(&self, flag: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Result<Option<T>, String> {
        let named = |why: String| format!("--{flag}: {why}");
        self.text(flag)?.map(|text| read(text).map_err(named)).transpose()
    }

    /// A secret from a flag, or from the file that another flag names.
    fn secret(&self, flag: &str, file_flag: &str) -> Result<Option<Secret>, Problem> {
        if let Some(text) = self.text(flag)? {
            return match text {
                "" => Err(format!("--{flag}: it is empty").into()),
                text => Ok(Some(Secret::new(text))),
            };
        }
        let Some(path) = self.raw(file_flag) else {
            return Ok(None);
        };
        let source = format!("--{file_flag}");
        let path = Path::new(path);
        let text =
            self.read_file(&source, path)
                .map_err(|problem| match path.to_string_lossy().contains(['/', '.']) {
                    true => problem,
                    // The name may be the secret itself, given by mistake.
                    false => Problem::File(format!(
                        "{source}: there is no such file, or it cannot be read; give its path, like ./FILE"
                    )),
                })?;
        match text.lines().next() {
            None | Some("") => Err(Problem::File(format!(
                "{source} {}: its first line is empty",
                shown(path)
            ))),
            Some(line) => Ok(Some(Secret::new(line))),
        }
    }

    /// A path from a flag, a variable or the context, and where it came from.
    fn file(&self, flag: &str, variable: &str, context: Option<&PathBuf>) -> Option<(String, PathBuf)> {
        let path = |value: &OsStr| PathBuf::from(value);
        self.raw(flag)
            .map(|value| (format!("--{flag}"), path(value)))
            .or_else(|| {
                let value = (self.env)(variable).filter(|value| !value.is_empty())?;
                Some((variable.to_owned(), path(&value)))
            })
            .or_else(|| Some(("the context".to_owned(), context?.clone())))
    }

    /// A small file of text: a secret, a key, a certificate, a context.
    fn read_file(&self, source: &str, path: &Path) -> Result<String, Problem> {
        const LARGEST: u64 = 1024 * 1024;
        read_text(path, LARGEST, self.deadline).map_err(|why| Problem::File(format!("{source} {}: {why}", shown(path))))
    }
}

fn textfile_mode(given: &Given<'_>) -> Result<Mode, String> {
    match given.path("output")? {
        Some(output) => Ok(Mode::Textfile {
            output,
            exit_status: given.has("exit-status"),
        }),
        None => Err("which file? Give it with --output".into()),
    }
}

fn key_and_value<'w>(flag: &str, what: &str, word: &'w str) -> Result<(&'w str, &'w str), String> {
    match word.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key, value)),
        _ => Err(format!("--{flag}: '{}' is not KEY={what}", clean(word, 80))),
    }
}

fn probe_mode(given: &Given<'_>, kind: Kind) -> Result<Mode, String> {
    let id = given.read("id", |id| match is_id(id) {
        true => Ok(id.to_owned()),
        false => Err(format!("'{}' is not the id of an instance", clean(id, 80))),
    })?;
    let mut values = Vec::new();
    for word in given.words("match")? {
        let (key, value) = key_and_value("match", "VALUE", word)?;
        // A value that starts so was meant to be another one.
        if value.is_empty() || value.starts_with("$(") {
            return Err(format!(
                "--match {}: Kubernetes puts no downward API variables into the commands of probes; say --match-env \
                 {key}=VARIABLE",
                clean(word, 80)
            ));
        }
        values.push((key.to_owned(), value.to_owned()));
    }
    for word in given.words("match-env")? {
        let (key, name) = key_and_value("match-env", "VARIABLE", word)?;
        match given.variable(name)? {
            Some(value) => values.push((key.to_owned(), value)),
            None => return Err(format!("--match-env: the variable {} is not set", clean(name, 80))),
        }
    }
    let which = match (id, given.path("id-file")?, values.is_empty(), given.has("any-instance")) {
        (Some(id), ..) => Which::Is(Wanted::Id(id)),
        (_, Some(file), ..) => Which::IdFile(file),
        (_, _, false, _) => Which::Is(Wanted::Match(values)),
        (.., true) => Which::Is(Wanted::Any),
        _ => {
            return Err(
                "which instance is this pod's? Give --id, --id-file, --match or --match-env, or say --any-instance"
                    .into(),
            );
        }
    };
    let without_nats = given.read("unreachable", |word| {
        pod::Answer::parse(word).ok_or(format!("'{}' is neither pass nor fail", clean(word, 80)))
    })?;
    let max_age = given.duration_above_zero("max-age")?.unwrap_or(Duration::from_secs(60));
    Ok(Mode::Probe {
        kind,
        which,
        without_nats: without_nats.unwrap_or(kind.without_nats()),
        from: given.path("from")?.map(|file| (file, max_age)),
    })
}

fn watch_mode(given: &Given<'_>) -> Result<Mode, String> {
    Ok(Mode::Watch {
        interval: given
            .duration_above_zero("interval")?
            .unwrap_or(Duration::from_secs(15)),
        textfile: given.path("textfile")?,
        status_file: given.path("status-file")?,
    })
}

/// The defaults of a mode: a Kubernetes probe has a second at most.
fn timing(given: &Given<'_>, mode: &Mode) -> Result<Timing, String> {
    let (timeout, confirm) = match mode {
        Mode::Probe { .. } => (Duration::from_millis(800), Duration::from_millis(300)),
        _ => (Duration::from_secs(10), Duration::from_secs(3)),
    };
    Ok(Timing {
        timeout: given.duration_above_zero("timeout")?.unwrap_or(timeout),
        confirm: given.duration("confirm")?.unwrap_or(confirm),
        confirm_by_default: given.raw("confirm").is_none(),
        stall: given
            .duration_above_zero("stall")?
            .unwrap_or(Duration::from_millis(300)),
        census: given.duration("census")?.unwrap_or(Duration::from_secs(300)),
    })
}

fn policy(given: &Given<'_>, mode: &Mode, prefix: Option<&Prefix>, place: &Place) -> Result<Policy, String> {
    let standard = Policy::default();
    // The same flag says pass or fail in a probe.
    let unreachable = match mode {
        Mode::Probe { .. } => None,
        _ => given.status("unreachable")?,
    };
    Ok(Policy {
        warning: given.range("warning")?,
        critical: given.range("critical")?,
        rtt_warning: given.duration("rtt-warning")?,
        rtt_critical: given.duration("rtt-critical")?,
        never_seen: given.status("never-seen")?.unwrap_or(standard.never_seen),
        unreachable: unreachable.unwrap_or(standard.unreachable),
        silent: given.status("silent")?.unwrap_or(standard.silent),
        forget_after: given.duration_above_zero("forget-after")?,
        remembers: *place != Place::Nowhere,
        imported: prefix.is_some_and(Prefix::is_imported),
    })
}

fn config(given: &Given<'_>, mode: impl FnOnce(&Given<'_>) -> Result<Mode, String>) -> Result<Parsed, String> {
    let service = match given.read("name", ServiceName::parse)? {
        Some(service) => service,
        None => return Err("which service? Give its name with --name".into()),
    };
    let mode = mode(given)?;
    let prefix = given.read("srv-prefix", Prefix::parse)?;
    let place = match (given.path("state")?, given.path("state-dir")?) {
        (Some(file), _) => Place::File(file),
        (_, Some(dir)) => Place::Dir(dir),
        _ if given.has("no-state") || matches!(mode, Mode::Probe { .. }) => Place::Nowhere,
        _ => Place::Default,
    };
    Ok(Parsed::Run(Box::new(Typed {
        timing: timing(given, &mode)?,
        policy: policy(given, &mode, prefix.as_ref(), &place)?,
        telling: telling(given)?,
        mode,
        service,
        place,
        matches: given.matches.clone(),
    })))
}

fn telling(given: &Given<'_>) -> Result<Telling, String> {
    let format = given.read("format", |word| {
        Format::parse(word).ok_or(format!(
            "'{}' is not a format: nagios, json, text or prometheus",
            clean(word, 80)
        ))
    })?;
    let mut labels: Vec<Label> = Vec::new();
    for word in given.words("label")? {
        let label = Label::parse(word).map_err(|why| format!("--label: {why}"))?;
        if labels.iter().any(|other| other.name == label.name) {
            return Err(format!("--label: '{}' is given twice", label.name));
        }
        labels.push(label);
    }
    Ok(Telling {
        format: format.unwrap_or_default(),
        verbosity: given
            .matches
            .try_get_one::<u8>("verbose")
            .ok()
            .flatten()
            .copied()
            .unwrap_or(0),
        metrics: Style {
            labels,
            per_instance: given.has("per-instance"),
        },
    })
}

const WHICH_PROBE: &str = "which probe? Say probe liveness, readiness or startup";

/// What clap has to say, in one line. Words that may be part of a secret, since it was not quoted, are not repeated.
fn one_line(error: &clap::Error, first: Option<&OsString>) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let text = error.to_string();
    let stray = match error.kind() {
        ErrorKind::InvalidSubcommand => context(ContextKind::InvalidSubcommand),
        ErrorKind::UnknownArgument => context(ContextKind::InvalidArg).filter(|arg| !arg.starts_with('-')),
        // Flags, and then a word: a command, or something else.
        ErrorKind::ArgumentConflict => text
            .strip_prefix("error: the subcommand '")
            .and_then(|t| t.split('\'').next()),
        _ => None,
    };
    if let Some(word) = stray {
        return match first {
            Some(first) if first == word => format!(
                "'{}' is not a command: check, textfile, probe, watch or state",
                clean(word, 80)
            ),
            _ if matches!(word, "check" | "textfile" | "probe" | "watch" | "state") => {
                format!("say {word} first, and the flags behind it")
            }
            Some(first) if first == "probe" && error.kind() == ErrorKind::InvalidSubcommand => WHICH_PROBE.into(),
            _ => "a word too many among the flags; a value with blanks needs quotes".into(),
        };
    }
    let mut paragraphs = text.split("\n\n");
    let what = paragraphs.next().unwrap_or_default().trim_start_matches("error: ");
    let tip = paragraphs.find_map(|paragraph| paragraph.trim().strip_prefix("tip: "));
    let words: Vec<&str> = what.split_whitespace().chain(tip.map(|_| ";")).collect();
    let mut line = words.join(" ").replace(" ;", "");
    if let Some(tip) = tip {
        let tip: Vec<&str> = tip.split_whitespace().collect();
        line = format!("{line}; {}", tip.join(" "));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    type Variables<'a> = &'a [(&'a str, &'a str)];

    fn parsed(args: &str, env: Variables<'_>) -> Result<Config, String> {
        let args = ["check_nats_service", "-n", "orders"]
            .into_iter()
            .chain(args.split_whitespace());
        let env = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
        match parse(&args.map(OsString::from).collect::<Vec<_>>(), &env)? {
            Parsed::Run(typed) => {
                let target = typed.target(&env, Instant::now() + Duration::from_secs(10));
                Ok(typed.with_target(target.map_err(|problem| problem.text().to_owned())?))
            }
            Parsed::Print(text) => panic!("printed {text}"),
        }
    }

    fn user(user: &str, password: &str) -> Auth {
        Auth::UserPassword {
            user: user.into(),
            password: Secret::new(password),
        }
    }

    fn token(token: &str) -> Auth {
        Auth::Token(Secret::new(token))
    }

    #[test]
    fn the_definition_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn what_is_not_said_has_its_default() {
        let config = parsed("", &[]).expect("a name is enough");
        assert_eq!(config.mode, Mode::Check);
        assert_eq!(config.target.ping_subject(), "$SRV.PING.orders");
        assert_eq!(config.target.servers[0].address(), "127.0.0.1:4222");
        assert_eq!(config.target.auth, Auth::None);
        let Timing {
            timeout,
            confirm,
            stall,
            census,
            ..
        } = config.timing;
        assert_eq!(
            [timeout, confirm, stall, census].map(|d| d.as_millis()),
            [10_000, 3000, 300, 300_000]
        );
        assert_eq!(config.policy, Policy::default());
        assert_eq!((config.place, config.telling), (Place::Default, Telling::default()));
    }

    #[test]
    fn what_is_said_is_taken() {
        let config = parsed(
            "-w 3: -c @0 --rtt-warning 100ms --rtt-critical 2 --never-seen CRITICAL --unreachable warning --silent ok \
             --forget-after 2d -t 5 --confirm 0 --stall 1s --census 1h -vv --no-state --srv-prefix APP.$SRV",
            &[],
        )
        .expect("all of it is right");
        assert_eq!(config.policy.warning, Range::parse("3:").ok());
        assert_eq!(config.policy.critical, Range::parse("@0").ok());
        assert_eq!(config.policy.rtt_warning, Some(Duration::from_millis(100)));
        assert_eq!(config.policy.rtt_critical, Some(Duration::from_secs(2)));
        assert_eq!(config.policy.never_seen, Status::Critical);
        assert_eq!(config.policy.unreachable, Status::Warning);
        assert_eq!(config.policy.silent, Status::Ok);
        assert_eq!(config.policy.forget_after, Some(Duration::from_secs(172_800)));
        assert!(!config.policy.remembers);
        assert_eq!(config.timing.timeout, Duration::from_secs(5));
        assert_eq!(config.timing.confirm, Duration::ZERO);
        assert_eq!(config.target.ping_subject(), "APP.$SRV.PING.orders");
        assert_eq!((config.place, config.telling.verbosity), (Place::Nowhere, 2));
    }

    /// Flags, variables, what all servers are asked with, and what the first one has in its URL.
    #[test]
    fn flags_beat_variables_and_urls_beat_the_rest_of_their_kind() {
        let vars = [("NATS_USER", "vu"), ("NATS_PASSWORD", "vp")];
        let cases: &[(&str, Variables, Auth, Option<Auth>)] = &[
            ("", &[], Auth::None, None),
            ("--user u --password p", &[], user("u", "p"), None),
            ("--user u", &[], token("u"), None),
            ("--token t", &[], token("t"), None),
            ("--password -p- --user -u", &[], user("-u", "-p-"), None),
            ("", &vars, user("vu", "vp"), None),
            ("--user u --password p", &vars, user("u", "p"), None),
            ("--user u", &vars, user("u", "vp"), None),
            ("--password p", &vars, user("vu", "p"), None),
            ("--token t", &vars, token("t"), None),
            ("", &[("NATS_USER", "vu")], token("vu"), None),
            ("", &[("NATS_TOKEN", "vt")], token("vt"), None),
            ("", &[("NATS_TOKEN", ""), ("NATS_USER", "")], Auth::None, None),
            ("", &[("NATS_PASSWORD", "of something else")], Auth::None, None),
            ("-s u:p@h", &[], Auth::None, Some(user("u", "p"))),
            ("-s u:p@h", &vars, user("vu", "vp"), Some(user("u", "p"))),
            (
                "",
                &[("NATS_URL", "u:p@h"), ("NATS_USER", "vu")],
                token("vu"),
                Some(user("u", "p")),
            ),
            ("--token t", &[("NATS_URL", "u:p@h")], token("t"), None),
            ("-s h", &[("NATS_URL", "u:p@h")], Auth::None, None),
            ("-H h -p 1", &[("NATS_URL", "u:p@h")], Auth::None, None),
        ];
        for (args, env, auth, in_url) in cases {
            let config = parsed(args, env).unwrap_or_else(|e| panic!("{args:?} {env:?}: {e}"));
            assert_eq!(
                (&config.target.auth, &config.target.servers[0].auth),
                (auth, in_url),
                "{args:?} {env:?}"
            );
        }
    }

    #[test]
    fn contradictions_are_named() {
        let both = [("NATS_USER", "u"), ("NATS_TOKEN", "t")];
        let cases: &[(&str, Variables, &str)] = &[
            ("--password p", &[], "a password needs a user: give --user"),
            (
                "-s u:p@h --user u",
                &[],
                "credentials twice: in the URL of --server and in flags of their own; give them once",
            ),
            ("", &both, "NATS_TOKEN and NATS_USER are both set; unset one"),
            ("", &[("NATS_URL", " , ")], "NATS_URL: it names no server"),
            (
                "",
                &[("NATS_URL", "http://h")],
                "NATS_URL: 'http://h': the scheme http:// is not supported, use nats:// or tls://",
            ),
        ];
        for (args, env, message) in cases {
            assert_eq!(parsed(args, env).err().as_deref(), Some(*message), "{args:?} {env:?}");
        }
    }

    #[test]
    fn the_question_knows_the_user_and_no_threshold() {
        let question = |args: &str| parsed(args, &[]).expect("right arguments").question();
        let one = question("-s nats://b:2,u:p@a:1 -w 3:");
        assert_eq!(one.servers, ["a:1", "b:2"]);
        assert_eq!(one.user.as_deref(), Some("u"));
        assert_eq!(one, question("-s a:1,b:2 --user u --password other -c 1: -t 3"));
        assert_ne!(one, question("-s a:1,b:2"));
        assert_eq!(question("--token t").user, None);
        assert_eq!(question("-H h").servers, ["h:4222"]);
        assert_eq!(question("-H ::1 -p 5").servers, ["[::1]:5"]);
    }
}
