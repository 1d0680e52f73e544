//! The flags of each command -> a [`Command`]: everything but how to connect.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::config::{
    Arguments, Command, Format, ListOptions, ListenOptions, LogFormat, OutputOptions, ProbeOptions, Selector, Settings,
    StateListOptions, StateShowOptions, TextfileOptions, Timing, WatchOptions,
};
use super::connection;
use super::flag_values::FlagValues;
use super::policy::policy;
use super::scope::{self, AllServices, Scope, scope};
use crate::connect::target::ServiceName;
use crate::judge::Policy;
use crate::judge::pod::{ProbeKind, ProbeResult};
use crate::probe::reply::is_id;
use crate::render::prometheus::{Label, Style};
use crate::state::store::StateLocation;
use crate::values::duration::age;
use crate::values::status::Status;
use crate::values::text::clean;

/// Defaults of a check.
const CHECK: Timing = Timing {
    timeout: Duration::from_secs(10),
    confirm: Duration::from_secs(5),
    stall: Duration::from_millis(300),
    census: Duration::from_secs(300),
};

/// Flags that mean nothing for all services.
const OF_ONE_SERVICE: [&str; 7] = [
    "request",
    "subject",
    "id",
    "id-file",
    "match",
    "match-env",
    "any-instance",
];

/// Defaults of a Kubernetes probe, which has a second at most.
const PROBE: Timing = Timing {
    timeout: Duration::from_millis(800),
    confirm: Duration::from_millis(300),
    ..CHECK
};

pub(super) fn check(values: &FlagValues<'_>) -> Result<Command, String> {
    Ok(Command::Check(judged(values, CHECK)?))
}

pub(super) fn textfile(values: &FlagValues<'_>) -> Result<Command, String> {
    let arguments = judged(values, CHECK)?;
    let output = values.path("output")?.ok_or("which file? Give it with --output")?;
    let options = TextfileOptions {
        output,
        exit_status: values.has("exit-status"),
        verbose: values.has("verbose"),
    };
    Ok(Command::Textfile(arguments, options))
}

pub(super) fn probe(values: &FlagValues<'_>, kind: ProbeKind) -> Result<Command, String> {
    let arguments = arguments(values, PROBE, None, StateLocation::Nowhere)?;
    let selector = selector(values)?
        .ok_or("which instance is this pod's? Give --id, --id-file, --match or --match-env, or say --any-instance")?;
    let unreachable = values.read("unreachable", |word| {
        ProbeResult::parse(word).ok_or(format!("'{}' is neither pass nor fail", clean(word, 80)))
    })?;
    let max_age = values
        .duration_above_zero("max-age")?
        .unwrap_or(Duration::from_secs(60));
    let options = ProbeOptions {
        kind,
        selector,
        unreachable,
        from: values.path("from")?.map(|file| (file, max_age)),
    };
    Ok(Command::Probe(arguments, options))
}

pub(super) fn watch(values: &FlagValues<'_>) -> Result<Command, String> {
    let mut standard = CHECK;
    // A check that answers probes has to see a new pod, which may be slower than the known ones.
    let answers_probes = values.raw("listen").is_some() || values.raw("status-file").is_some();
    if answers_probes && !values.has("all") {
        standard.census = Duration::ZERO;
    }
    let (unreachable, result) = watch_unreachable(values)?;
    let arguments = arguments(values, standard, unreachable, location(values)?)?;
    let interval = values
        .duration_above_zero("interval")?
        .unwrap_or(Duration::from_secs(15));
    let options = WatchOptions {
        interval,
        textfile: values.path("textfile")?,
        status_file: values.path("status-file")?,
        listen: listen(values, interval, arguments.settings.timing.timeout, result)?,
        log_format: values
            .read("log-format", |word| {
                LogFormat::parse(word).ok_or(format!("'{}' is neither text nor json", clean(word, 80)))
            })?
            .unwrap_or_default(),
    };
    Ok(Command::Watch(arguments, options))
}

pub(super) fn state_show(values: &FlagValues<'_>) -> Result<Command, String> {
    let is_server_given = connection::is_given(values)?;
    Ok(Command::StateShow(
        judged(values, CHECK)?,
        StateShowOptions { is_server_given },
    ))
}

pub(super) fn state_reset(values: &FlagValues<'_>) -> Result<Command, String> {
    Ok(Command::StateReset(judged(values, CHECK)?))
}

pub(super) fn state_list(values: &FlagValues<'_>) -> Result<Command, String> {
    values.refuse_secrets()?;
    Ok(Command::StateList(StateListOptions {
        location: location(values)?,
        service: values.read("name", ServiceName::parse)?,
        format: format(values, &Format::OF_STATE_LIST)?,
        timeout: values.duration_above_zero("timeout")?.unwrap_or(CHECK.timeout),
    }))
}

/// NATS itself. It is its own subject, so being unable to ask it is CRITICAL.
pub(super) fn server(values: &FlagValues<'_>) -> Result<Command, String> {
    values.refuse_secrets()?;
    Ok(Command::Server(Box::new(Arguments {
        scope: Scope::All(AllServices::default()),
        settings: Settings {
            timing: timing(values, CHECK)?,
            policy: Policy {
                unreachable: values.status("unreachable")?.unwrap_or(Status::Critical),
                ..Policy::default()
            },
            output: output_options(values, &[Format::Nagios])?,
            location: StateLocation::Nowhere,
        },
        matches: values.matches.clone(),
    })))
}

/// Services of the account: those that answer, and those that are remembered.
pub(super) fn list(values: &FlagValues<'_>) -> Result<Command, String> {
    values.refuse_secrets()?;
    let (output, template) = (output_options(values, &Format::OF_LIST)?, values.text("use")?);
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if let Some(bad) = template.filter(|name| name.is_empty() || name.len() > 100 || !name.chars().all(good)) {
        return Err(format!("--use: '{}' is not the name of a template", clean(bad, 80)));
    }
    if template.is_some() && !matches!(output.format, Format::Nagios | Format::Icinga) {
        return Err("--use: only the formats nagios and icinga have a template".into());
    }
    let arguments = Arguments {
        scope: Scope::All(scope::all(values)?),
        settings: Settings {
            timing: timing(values, CHECK)?,
            policy: Policy::default(),
            output,
            location: location(values)?,
        },
        matches: values.matches.clone(),
    };
    let template = template.map(str::to_owned);
    Ok(Command::List(Box::new(arguments), ListOptions { template }))
}

/// The arguments of a command that has the flags of a check.
fn judged(values: &FlagValues<'_>, standard: Timing) -> Result<Box<Arguments>, String> {
    arguments(values, standard, values.status("unreachable")?, location(values)?)
}

fn arguments(
    values: &FlagValues<'_>,
    standard: Timing,
    unreachable: Option<Status>,
    location: StateLocation,
) -> Result<Box<Arguments>, String> {
    values.refuse_secrets()?;
    let scope = scope(values)?;
    if let Scope::All(all) = &scope
        && values.has("no-state")
        && all.expected.is_empty()
        && all.expect_file.is_none()
    {
        return Err(
            "--no-state: without a state nobody knows which services there were, give --expect, or leave it out".into(),
        );
    }
    if let (Scope::All(_), Some(flag)) = (&scope, values.first_given(&OF_ONE_SERVICE)) {
        return Err(format!(
            "--{flag} is for one service: give its name with --name, and not --all"
        ));
    }
    let timing = timing(values, standard)?;
    Ok(Box::new(Arguments {
        scope,
        settings: Settings {
            policy: policy(values, unreachable, timing.confirm, &location)?,
            timing,
            output: output_options(values, &Format::OF_VERDICT)?,
            location,
        },
        matches: values.matches.clone(),
    }))
}

fn timing(values: &FlagValues<'_>, standard: Timing) -> Result<Timing, String> {
    Ok(Timing {
        timeout: values.duration_above_zero("timeout")?.unwrap_or(standard.timeout),
        confirm: values.duration("confirm")?.unwrap_or(standard.confirm),
        stall: values.duration_above_zero("stall")?.unwrap_or(standard.stall),
        census: values.duration("census")?.unwrap_or(standard.census),
    })
}

fn location(values: &FlagValues<'_>) -> Result<StateLocation, String> {
    Ok(match (values.path("state")?, values.path("state-dir")?) {
        _ if values.has("no-state") => StateLocation::Nowhere,
        (Some(file), _) => StateLocation::File(file),
        (_, Some(dir)) => StateLocation::Dir(dir),
        _ => StateLocation::Default,
    })
}

/// The value of `--format`, one of these.
fn format(values: &FlagValues<'_>, formats: &[Format]) -> Result<Format, String> {
    let read = |word: &str| {
        let known = Format::parse(word).filter(|format| formats.contains(format));
        known.ok_or_else(|| {
            let (word, words) = (clean(word, 80), Format::words(formats));
            match formats {
                [one, other] => format!("'{word}' is neither {} nor {}", one.name(), other.name()),
                _ => format!("'{word}' is not a format: {words}"),
            }
        })
    };
    Ok(values.read("format", read)?.unwrap_or(formats[0]))
}

fn output_options(values: &FlagValues<'_>, formats: &[Format]) -> Result<OutputOptions, String> {
    let nats = connection::nats_label(values)?.map(|value| Label {
        name: "nats".to_owned(),
        value,
    });
    let mut labels: Vec<Label> = nats.into_iter().collect();
    for word in values.words("label")? {
        let label = Label::parse(word).map_err(|why| format!("--label: {why}"))?;
        if labels.iter().any(|other| other.name == label.name) {
            return Err(format!("--label: '{}' is given twice", label.name));
        }
        labels.push(label);
    }
    Ok(OutputOptions {
        format: format(values, formats)?,
        verbosity: values
            .matches
            .try_get_one::<u8>("verbose")
            .ok()
            .flatten()
            .copied()
            .unwrap_or(0),
        per_service: values.has("per-service"),
        metrics: Style {
            labels,
            per_instance: values.has("per-instance"),
        },
    })
}

fn key_and_value<'w>(flag: &str, what: &str, word: &'w str) -> Result<(&'w str, &'w str), String> {
    match word.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key, value)),
        _ => Err(format!("--{flag}: '{}' is not KEY={what}", clean(word, 80))),
    }
}

/// Which instance is this pod's own, if that is said.
fn selector(values: &FlagValues<'_>) -> Result<Option<Selector>, String> {
    let id = values.read("id", |id| match is_id(id) {
        true => Ok(id.to_owned()),
        false => Err(format!("'{}' is not the id of an instance", clean(id, 80))),
    })?;
    let mut wanted = Vec::new();
    for word in values.words("match")? {
        let (key, value) = key_and_value("match", "VALUE", word)?;
        // A value that begins like this was meant for another flag.
        if value.is_empty() || value.starts_with("$(") {
            return Err(format!(
                "--match {}: Kubernetes puts no downward API variables into the commands of probes, say --match-env \
                 {key}=VARIABLE",
                clean(word, 80)
            ));
        }
        wanted.push((key.to_owned(), value.to_owned()));
    }
    for word in values.words("match-env")? {
        let (key, name) = key_and_value("match-env", "VARIABLE", word)?;
        match values.variable(name)? {
            // Kubernetes leaves the reference to a variable that it does not know as it is.
            Some(value) if value.starts_with("$(") => {
                return Err(format!(
                    "--match-env: the variable {} is {}, which Kubernetes did not expand",
                    clean(name, 80),
                    clean(&value, 80)
                ));
            }
            Some(value) => wanted.push((key.to_owned(), value)),
            None => return Err(format!("--match-env: the variable {} is not set", clean(name, 80))),
        }
    }
    Ok(
        match (
            id,
            values.path("id-file")?,
            wanted.is_empty(),
            values.has("any-instance"),
        ) {
            (Some(id), ..) => Some(Selector::Id(id)),
            (_, Some(file), ..) => Some(Selector::IdFile(file.into())),
            (_, _, false, _) => Some(Selector::Match(wanted)),
            (.., true) => Some(Selector::Any),
            _ => None,
        },
    )
}

/// Number of intervals for which the last check counts by default: one may be late, and one may fail.
const INTERVALS: u32 = 3;

/// Time that a check may take beyond its timeout on a busy machine.
const SLACK: Duration = Duration::from_secs(2);

/// Returns the time for which the last check counts. It is longer than the next check may take: else a pod that hangs, and with
/// it each check, would pass now and then.
fn max_age(values: &FlagValues<'_>, interval: Duration, timeout: Duration) -> Result<Duration, String> {
    let least = interval.saturating_add(timeout);
    match values.duration_above_zero("max-age")? {
        Some(max_age) if max_age < least => Err(format!(
            "--max-age: {} is less than --interval and --timeout together ({}), which a good check may be old",
            age(max_age),
            age(least)
        )),
        Some(max_age) => Ok(max_age),
        None => Ok(interval.saturating_mul(INTERVALS).max(least + SLACK)),
    }
}

fn listen(
    values: &FlagValues<'_>,
    interval: Duration,
    timeout: Duration,
    unreachable: Option<ProbeResult>,
) -> Result<Option<ListenOptions>, String> {
    let Some(typed) = values.text("listen")? else {
        return Ok(None);
    };
    Ok(Some(ListenOptions {
        typed: typed.to_owned(),
        addresses: addresses(typed).map_err(|why| format!("--listen: {why}"))?,
        selector: selector(values)?,
        unreachable,
        max_age: max_age(values, interval, timeout)?,
    }))
}

/// `--unreachable` of `watch`: a status is for the verdict, and pass or fail for the probes of `--listen`. Each can be given.
fn watch_unreachable(values: &FlagValues<'_>) -> Result<(Option<Status>, Option<ProbeResult>), String> {
    let (mut status, mut result) = (None, None);
    for word in values.words("unreachable")? {
        let is_twice = match (Status::parse(word), ProbeResult::parse(word)) {
            (Some(word), _) => status.replace(word).is_some(),
            (_, Some(word)) => result.replace(word).is_some(),
            _ => {
                return Err(format!(
                    "--unreachable: '{}' is not a status (ok, warning, unknown or critical), nor pass or fail",
                    clean(word, 80)
                ));
            }
        };
        if is_twice {
            return Err("--unreachable: give one status, and one of pass and fail".into());
        }
    }
    if result.is_some() && values.raw("listen").is_none() {
        return Err("--unreachable: pass and fail are for the probes of --listen, otherwise give a status".into());
    }
    Ok((status, result))
}

/// Reads `127.0.0.1:9422` or `[::1]:9422`; `:9422` is every address of this machine, those of IPv4 where there is no IPv6.
fn addresses(text: &str) -> Result<Vec<SocketAddr>, String> {
    let every = |port: &str| -> Option<Vec<SocketAddr>> {
        let port = port.parse().ok().filter(|_| port.bytes().all(|b| b.is_ascii_digit()))?;
        Some(vec![
            (Ipv6Addr::UNSPECIFIED, port).into(),
            (Ipv4Addr::UNSPECIFIED, port).into(),
        ])
    };
    let read = match text.strip_prefix(':') {
        Some(port) => every(port),
        None => text.parse().ok().map(|address| vec![address]),
    };
    match read {
        Some(addresses) if addresses.iter().all(|address| address.port() > 0) => Ok(addresses),
        _ => Err(format!(
            "'{}' is not an address and a port, like :9422, 127.0.0.1:9422 or [::1]:9422",
            clean(text, 80)
        )),
    }
}
