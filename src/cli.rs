//! Arguments and variables as typed -> a valid [`Config`]. Every flag is defined here, with its help.
//!
//! clap only finds the values; they are read here, so that every mistake is told in one line of our own that never
//! shows a secret.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::ValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::duration;
use crate::judge::Policy;
use crate::range::Range;
use crate::state::{Place, Question};
use crate::target::{Auth, DEFAULT_PORT, DEFAULT_SERVER, Prefix, Secret, ServerUrl, ServiceName, Target, redact};
use crate::text::clean;
use crate::verdict::Status;

/// What the program is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Check,
    StateShow,
    StateReset,
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
    pub mode: Mode,
    pub target: Target,
    pub timing: Timing,
    pub policy: Policy,
    pub place: Place,
    /// How many times `-v` was given.
    pub verbosity: u8,
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
            user: user.map(str::to_owned),
        }
    }
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Parsed {
    Run(Box<Config>),
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
pub fn parse(args: impl IntoIterator<Item = OsString>, env: Env<'_>) -> Result<Parsed, String> {
    let args: Vec<OsString> = args.into_iter().collect();
    let matches = match command().try_get_matches_from(&args) {
        Ok(matches) => matches,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            return Ok(Parsed::Print(error.to_string()));
        }
        Err(error) => return Err(one_line(&error, args.get(1))),
    };
    let (mode, matches) = match matches.subcommand() {
        None => (Mode::Check, &matches),
        Some(("state", state)) => match state.subcommand() {
            Some(("reset", matches)) => (Mode::StateReset, matches),
            Some((_, matches)) => (Mode::StateShow, matches),
            None => return Err("state what? Say state show, or state reset".into()),
        },
        Some((_, matches)) => (Mode::Check, matches),
    };
    config(mode, &Given { matches, env }).map(|config| Parsed::Run(Box::new(config)))
}

/// The definition of the command line, for the man page too.
pub fn command() -> Command {
    let with_target = |command: Command| command.args(connection_args()).args(state_args());
    let check = |command: Command| with_target(command).args(check_args());
    let show = Command::new("show").about("Show what is remembered about a service");
    let reset = Command::new("reset").about("Forget what is remembered about a service, an open outage too");
    check(Command::new("check_nats_service"))
        .version(env!("CARGO_PKG_VERSION"))
        .about("Asks NATS itself whether a micro service (ADR-32) is up, as a Nagios and Icinga check")
        .after_help(AFTER_HELP)
        .args_conflicts_with_subcommands(true)
        .disable_help_subcommand(true)
        .subcommand(check(Command::new("check")).about("Check a service (what happens without a command)"))
        .subcommand(
            Command::new("state")
                .about("Look at, or clear, what is remembered")
                .disable_help_subcommand(true)
                .subcommand_required(true)
                .subcommand(with_target(show))
                .subcommand(with_target(reset)),
        )
}

const AFTER_HELP: &str = "\
A DURATION reads as 500ms, 10s, 15m or 1h30m; a bare number is seconds.
A RANGE is that of Nagios: '3:' alerts below 3, '10' above 10, '1:5' outside of it, '@1:5' inside.
A STATUS is ok, warning, unknown or critical.

Exit status: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN; never another one.

Example: check_nats_service -s nats://nats.example.org -n orders -w 3: -c 1:";

/// A flag with a value of any kind.
fn value(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name(value)
        .help(help)
        .value_parser(ValueParser::os_string())
}

fn connection_args() -> Vec<Arg> {
    let heading = "Connection";
    let args = vec![
        value("name", "NAME", "The service to ask for").short('n'),
        value(
            "srv-prefix",
            "SUBJECT",
            "Subject of the services, APP.$SRV through an account import [default: $SRV]",
        ),
        value(
            "server",
            "URL[,URL...]",
            "Servers, tried one by one [NATS_URL] [default: nats://127.0.0.1:4222]",
        )
        .short('s'),
        value("hostname", "HOST", "The server's host, instead of --server")
            .short('H')
            .conflicts_with("server"),
        value("port", "PORT", "The server's port, with --hostname [default: 4222]")
            .short('p')
            .requires("hostname"),
        value("user", "USER", "User; one without a password is a token [NATS_USER]").allow_hyphen_values(true),
        value(
            "password",
            "PASSWORD",
            "Password; better from NATS_PASSWORD or a file [NATS_PASSWORD]",
        )
        .allow_hyphen_values(true),
        value("password-file", "FILE", "Read the password from this file").conflicts_with("password"),
        value("token", "TOKEN", "Token; better from NATS_TOKEN or a file [NATS_TOKEN]")
            .allow_hyphen_values(true)
            .conflicts_with_all(["user", "password", "password-file"]),
        value("token-file", "FILE", "Read the token from this file").conflicts_with_all([
            "token",
            "user",
            "password",
            "password-file",
        ]),
        value(
            "timeout",
            "DURATION",
            "For the whole run, whatever hangs [default: 10s]",
        )
        .short('t'),
    ];
    args.into_iter().map(|arg| arg.help_heading(heading)).collect()
}

fn state_args() -> Vec<Arg> {
    let args = vec![
        value("state", "FILE", "Remember in this file"),
        value("state-dir", "DIR", "Remember in a file in this folder").conflicts_with("state"),
        Arg::new("no-state")
            .long("no-state")
            .help("Remember nothing: an outage is seen only with -c or -w")
            .action(ArgAction::SetTrue)
            .conflicts_with_all(["state", "state-dir"]),
    ];
    args.into_iter().map(|arg| arg.help_heading("State")).collect()
}

fn check_args() -> Vec<Arg> {
    let asking = [
        value(
            "confirm",
            "DURATION",
            "Ask again for so long when nobody answers; 0 never [default: 1.5s]",
        ),
        value(
            "stall",
            "DURATION",
            "Wait for one more answer after the latest [default: 300ms]",
        ),
        value(
            "census",
            "DURATION",
            "Wait for unknown instances at least so often [default: 5m]",
        ),
    ];
    let judging = [
        value("warning", "RANGE", "WARNING by the number of instances")
            .short('w')
            .allow_hyphen_values(true),
        value("critical", "RANGE", "CRITICAL by the number of instances")
            .short('c')
            .allow_hyphen_values(true),
        value("rtt-warning", "DURATION", "WARNING if the slowest answer took longer"),
        value("rtt-critical", "DURATION", "CRITICAL if the slowest answer took longer"),
        value(
            "never-seen",
            "STATUS",
            "When no run has ever seen the service [default: unknown]",
        ),
        value("unreachable", "STATUS", "When NATS cannot be asked [default: unknown]"),
        value(
            "silent",
            "STATUS",
            "When somebody is subscribed but nobody answers [default: critical]",
        ),
        value("forget-after", "DURATION", "Forget an outage that is older than this"),
    ];
    let verbose = Arg::new("verbose")
        .short('v')
        .long("verbose")
        .help("More text below the line; -vv every instance, -vvv each step with its time")
        .action(ArgAction::Count);
    let mut args: Vec<Arg> = asking.into_iter().map(|arg| arg.help_heading("Asking")).collect();
    args.extend(judging.into_iter().map(|arg| arg.help_heading("Judgement")));
    args.push(verbose);
    args
}

/// What was given by flags, and what by the environment.
struct Given<'a> {
    matches: &'a ArgMatches,
    env: Env<'a>,
}

impl Given<'_> {
    fn raw(&self, flag: &str) -> Option<&OsStr> {
        // Not every mode has every flag.
        let value = self.matches.try_get_one::<OsString>(flag).ok().flatten();
        value.map(OsString::as_os_str)
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
    fn secret(&self, flag: &str, file_flag: &str) -> Result<Option<Secret>, String> {
        if let Some(text) = self.text(flag)? {
            return match text {
                "" => Err(format!("--{flag}: it is empty")),
                text => Ok(Some(Secret::new(text))),
            };
        }
        self.raw(file_flag)
            .map(|path| read_secret(path).map_err(|why| format!("--{file_flag} {}: {why}", path.to_string_lossy())))
            .transpose()
    }
}

/// The first line of a file.
fn read_secret(path: &OsStr) -> Result<Secret, String> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(64 * 1024).read_to_string(&mut text))
        .map_err(|e| e.to_string())?;
    match text.lines().next() {
        None | Some("") => Err("its first line is empty".into()),
        Some(line) => Ok(Secret::new(line)),
    }
}

fn config(mode: Mode, given: &Given<'_>) -> Result<Config, String> {
    let service = match given.read("name", ServiceName::parse)? {
        Some(service) => service,
        None => return Err("which service? Give its name with --name".into()),
    };
    let (servers, auth) = servers(given)?;
    let place = match (given.raw("state"), given.raw("state-dir")) {
        (Some(path), _) if path.is_empty() => return Err("--state: the name of the file is empty".into()),
        (_, Some(path)) if path.is_empty() => return Err("--state-dir: the name of the folder is empty".into()),
        (Some(file), _) => Place::File(PathBuf::from(file)),
        (_, Some(dir)) => Place::Dir(PathBuf::from(dir)),
        _ if given.has("no-state") => Place::Nowhere,
        _ => Place::Default,
    };
    let standard = Policy::default();
    Ok(Config {
        mode,
        target: Target {
            service,
            prefix: given
                .read("srv-prefix", Prefix::parse)?
                .map_or(Prefix::parse(Prefix::DEFAULT), Ok)?,
            servers,
            auth,
        },
        timing: Timing {
            timeout: given.duration_above_zero("timeout")?.unwrap_or(Duration::from_secs(10)),
            confirm: given.duration("confirm")?.unwrap_or(Duration::from_millis(1500)),
            stall: given
                .duration_above_zero("stall")?
                .unwrap_or(Duration::from_millis(300)),
            census: given.duration("census")?.unwrap_or(Duration::from_secs(300)),
        },
        policy: Policy {
            warning: given.range("warning")?,
            critical: given.range("critical")?,
            rtt_warning: given.duration("rtt-warning")?,
            rtt_critical: given.duration("rtt-critical")?,
            never_seen: given.status("never-seen")?.unwrap_or(standard.never_seen),
            unreachable: given.status("unreachable")?.unwrap_or(standard.unreachable),
            silent: given.status("silent")?.unwrap_or(standard.silent),
            forget_after: given.duration_above_zero("forget-after")?,
            remembers: place != Place::Nowhere,
        },
        place,
        verbosity: given
            .matches
            .try_get_one::<u8>("verbose")
            .ok()
            .flatten()
            .copied()
            .unwrap_or(0),
    })
}

/// The servers, and how to log in where their URL does not say. Flags beat variables; among the variables, user info in
/// a URL beats the rest, as for the nats CLI.
fn servers(given: &Given<'_>) -> Result<(Vec<ServerUrl>, Auth), String> {
    let by_flag = given.text("server")?.is_some();
    let mut servers = match (
        given.text("hostname")?,
        given.text("server")?,
        given.variable("NATS_URL")?,
    ) {
        (Some(host), _, _) => vec![server_of(host, given.text("port")?)?],
        (_, Some(list), _) => server_list("--server", list)?,
        (_, _, Some(list)) => server_list("NATS_URL", &list)?,
        _ => server_list("--server", DEFAULT_SERVER)?,
    };
    let user = given.text("user")?;
    let password = given.secret("password", "password-file")?;
    let user_variable = given.variable("NATS_USER")?;
    let password_variable = given.variable("NATS_PASSWORD")?.map(Secret::new);
    let token_variable = given.variable("NATS_TOKEN")?.map(Secret::new);

    let from_flags = match (user, password, given.secret("token", "token-file")?) {
        (_, _, Some(token)) => Some(Auth::Token(token)),
        (Some(""), _, _) => return Err("--user: it is empty".into()),
        (Some(user), password, _) => Some(login(user, password.or(password_variable.clone()))),
        (None, Some(password), _) => match &user_variable {
            Some(user) => Some(login(user, Some(password))),
            None => return Err("a password needs a user: give --user".into()),
        },
        (None, None, None) => None,
    };
    if let Some(auth) = from_flags {
        if by_flag && servers.iter().any(|server| server.auth.is_some()) {
            return Err("credentials twice: in the URL of --server and in flags of their own; give them once".into());
        }
        for server in &mut servers {
            server.auth = None;
        }
        return Ok((servers, auth));
    }
    let from_variables = match (user_variable, token_variable) {
        (Some(_), Some(_)) => return Err("NATS_USER and NATS_TOKEN are both set; unset one".into()),
        (None, Some(token)) => Auth::Token(token),
        (Some(user), None) => login(&user, password_variable),
        (None, None) => Auth::None,
    };
    Ok((servers, from_variables))
}

/// A user without a password is a token, as for the nats CLI.
fn login(user: &str, password: Option<Secret>) -> Auth {
    match password {
        Some(password) => Auth::UserPassword {
            user: user.to_owned(),
            password,
        },
        None => Auth::Token(Secret::new(user)),
    }
}

fn server_of(host: &str, port: Option<&str>) -> Result<ServerUrl, String> {
    let port = match port {
        None => DEFAULT_PORT,
        // The value is not shown: with other programs, a password follows -p.
        Some(port) => match port.parse() {
            Ok(port) if port > 0 => port,
            _ => return Err("--port: it must be a number from 1 to 65535".into()),
        },
    };
    if host.contains("://") || host.contains('@') {
        return Err("--hostname takes a host only; give a URL with --server".into());
    }
    let bracketed = match host.contains(':') && !host.starts_with('[') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    };
    let url = ServerUrl::parse(&format!("nats://{bracketed}:{port}"));
    url.map_err(|_| format!("--hostname: '{}' is not a host name or address", clean(host, 200)))
}

fn server_list(source: &str, list: &str) -> Result<Vec<ServerUrl>, String> {
    let servers: Result<Vec<ServerUrl>, String> = list
        .split(',')
        .map(str::trim)
        .filter(|url| !url.is_empty())
        .map(ServerUrl::parse)
        .collect();
    match servers {
        Ok(servers) if servers.is_empty() => Err(format!("{source}: it names no server")),
        Ok(servers) => Ok(servers),
        // A comma in a password breaks it in two, and then the message would show its second half.
        Err(_) if list.contains('@') && list.contains(',') => Err(format!(
            "{source}: not a list of server URLs; in user info, write %2C for a comma and %40 for an @"
        )),
        Err(why) => Err(format!("{source}: {why}")),
    }
}

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
            Some(first) if first == word => format!("'{}' is not a command: check or state", clean(word, 80)),
            _ if matches!(word, "check" | "state") => format!("say {word} first, and the flags behind it"),
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
    redact(&line)
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
        match parse(args.map(OsString::from), &env)? {
            Parsed::Run(config) => Ok(*config),
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
        } = config.timing;
        assert_eq!(
            [timeout, confirm, stall, census].map(|d| d.as_millis()),
            [10_000, 1500, 300, 300_000]
        );
        assert_eq!(config.policy, Policy::default());
        assert_eq!((config.place, config.verbosity), (Place::Default, 0));
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
        assert_eq!((config.place, config.verbosity), (Place::Nowhere, 2));
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
            ("", &both, "NATS_USER and NATS_TOKEN are both set; unset one"),
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
