//! The flags of a command -> [`Arguments`]: everything but how to connect.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use clap::ArgMatches;

use super::config::{
    Command, Config, Format, ListenOptions, OutputOptions, ProbeOptions, Selector, StateListOptions, Timing,
};
use super::connection;
use super::flag_values::{ConfigError, FlagValues};
use super::request;
use crate::connect::target::{Prefix, ServiceName, Target};
use crate::judge::pod::{self, ProbeKind};
use crate::judge::{Loss, LossLimits, Policy, RateLimits, RestartLimits};
use crate::probe::plan::Wanted;
use crate::probe::reply::{KEY_CHARS, MAX_KEPT_KEYS, is_id};
use crate::render::prometheus::{Label, Style};
use crate::state::changes;
use crate::state::store::StateLocation;
use crate::values::duration::age;
use crate::values::env::Env;
use crate::values::status::Status;
use crate::values::text::clean;
use crate::values::version::Requirement;

/// What the user has said, checked, but for how to connect: that may stand in files, which take their time.
#[derive(Clone, Debug)]
pub struct Arguments {
    pub command: Command,
    pub service: ServiceName,
    pub timing: Timing,
    pub policy: Policy,
    pub place: StateLocation,
    pub output: OutputOptions,
    pub(super) matches: ArgMatches,
}

impl Arguments {
    /// Reads the files that say how to connect, until the deadline.
    ///
    /// # Errors
    ///
    /// One line that says what is wrong and what would be right.
    pub fn target(&self, env: Env<'_>, deadline: Instant) -> Result<Target, ConfigError> {
        let given = FlagValues::new(&self.matches, env, deadline);
        connection::target(self.service.clone(), &given).map_err(|problem| problem.redacted())
    }

    /// With how to connect, that is everything.
    pub fn with_target(self, target: Target) -> Config {
        Config {
            command: self.command,
            target,
            timing: self.timing,
            policy: self.policy,
            place: self.place,
            output: self.output,
        }
    }
}

pub fn textfile_command(values: &FlagValues<'_>) -> Result<Command, String> {
    match values.path("output")? {
        Some(output) => Ok(Command::Textfile {
            output,
            exit_status: values.has("exit-status"),
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

/// Which instance is this pod's own, if that is said.
fn selector(values: &FlagValues<'_>) -> Result<Option<Selector>, String> {
    let id = values.read("id", |id| match is_id(id) {
        true => Ok(id.to_owned()),
        false => Err(format!("'{}' is not the id of an instance", clean(id, 80))),
    })?;
    let mut wanted = Vec::new();
    for word in values.words("match")? {
        let (key, value) = key_and_value("match", "VALUE", word)?;
        // A value that starts so was meant to be another one.
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
            (Some(id), ..) => Some(Selector::Is(Wanted::Id(id))),
            (_, Some(file), ..) => Some(Selector::IdFile(file)),
            (_, _, false, _) => Some(Selector::Is(Wanted::Match(wanted))),
            (.., true) => Some(Selector::Is(Wanted::Any)),
            _ => None,
        },
    )
}

pub fn probe_command(values: &FlagValues<'_>, kind: ProbeKind) -> Result<Command, String> {
    let selector = selector(values)?
        .ok_or("which instance is this pod's? Give --id, --id-file, --match or --match-env, or say --any-instance")?;
    let unreachable = values.read("unreachable", |word| {
        pod::ProbeResult::parse(word).ok_or(format!("'{}' is neither pass nor fail", clean(word, 80)))
    })?;
    let max_age = values
        .duration_above_zero("max-age")?
        .unwrap_or(Duration::from_secs(60));
    Ok(Command::Probe(ProbeOptions {
        kind,
        selector,
        unreachable,
        from: values.path("from")?.map(|file| (file, max_age)),
    }))
}

pub fn watch_command(values: &FlagValues<'_>) -> Result<Command, String> {
    let interval = values
        .duration_above_zero("interval")?
        .unwrap_or(Duration::from_secs(15));
    Ok(Command::Watch {
        interval,
        textfile: values.path("textfile")?,
        status_file: values.path("status-file")?,
        listen: listen(values, interval)?,
    })
}

/// For the whole run, unless told otherwise; less in a Kubernetes probe, which has a second at most.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How many intervals the last check counts for, unless told otherwise: one may be late, and one may fail.
const INTERVALS: u32 = 3;

/// How much longer than its timeout a check may take on a busy machine.
const SLACK: Duration = Duration::from_secs(2);

/// How long the last check counts for. Longer than the next one may take: else a pod that hangs, and with it each check,
/// would pass now and then.
fn max_age(values: &FlagValues<'_>, interval: Duration) -> Result<Duration, String> {
    let timeout = values.duration_above_zero("timeout")?.unwrap_or(TIMEOUT);
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

fn listen(values: &FlagValues<'_>, interval: Duration) -> Result<Option<ListenOptions>, String> {
    let Some(typed) = values.text("listen")? else {
        return Ok(None);
    };
    Ok(Some(ListenOptions {
        typed: typed.to_owned(),
        addresses: addresses(typed).map_err(|why| format!("--listen: {why}"))?,
        selector: selector(values)?,
        unreachable: watch_unreachable(values)?.1,
        max_age: max_age(values, interval)?,
    }))
}

/// `--unreachable` of `watch`: a status is for the verdict, and pass or fail for the probes of `--listen`. Each can be given.
fn watch_unreachable(values: &FlagValues<'_>) -> Result<(Option<Status>, Option<pod::ProbeResult>), String> {
    let (mut status, mut result) = (None, None);
    for word in values.words("unreachable")? {
        let is_twice = match (Status::parse(word), pod::ProbeResult::parse(word)) {
            (Some(values), _) => status.replace(values).is_some(),
            (_, Some(values)) => result.replace(values).is_some(),
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

/// The defaults of a command: a Kubernetes probe has a second at most.
fn timing(values: &FlagValues<'_>, command: &Command) -> Result<Timing, String> {
    let (timeout, confirm) = match command {
        Command::Probe(_) => (Duration::from_millis(800), Duration::from_millis(300)),
        _ => (TIMEOUT, Duration::from_secs(5)),
    };
    // Where probes are answered from a check, it has to see a pod that is new, which may be slower than those known.
    let census = match command {
        Command::Watch {
            listen, status_file, ..
        } if listen.is_some() || status_file.is_some() => Duration::ZERO,
        _ => Duration::from_secs(300),
    };
    Ok(Timing {
        timeout: values.duration_above_zero("timeout")?.unwrap_or(timeout),
        confirm: values.duration("confirm")?.unwrap_or(confirm),
        stall: values
            .duration_above_zero("stall")?
            .unwrap_or(Duration::from_millis(300)),
        census: values.duration("census")?.unwrap_or(census),
    })
}

/// What is judged of the statistics. Rates are made of two runs, so there must be a state.
fn rates(values: &FlagValues<'_>, place: &StateLocation) -> Result<RateLimits, String> {
    let standard = RateLimits::default();
    let limits = RateLimits {
        wanted: false,
        error_warning: values.percent("error-rate-warning")?,
        error_critical: values.percent("error-rate-critical")?,
        latency_warning: values.duration("latency-warning")?,
        latency_critical: values.duration("latency-critical")?,
        min_requests: values.number("min-requests")?.unwrap_or(standard.min_requests),
    };
    const IMPLYING: [&str; 5] = [
        "error-rate-warning",
        "error-rate-critical",
        "latency-warning",
        "latency-critical",
        "min-requests",
    ];
    let flag = match values.has("stats") {
        true => Some("stats"),
        false => IMPLYING.into_iter().find(|flag| values.raw(flag).is_some()),
    };
    match flag {
        Some(flag) if *place == StateLocation::Nowhere => Err(format!(
            "--{flag}: rates are made of two runs, so something must be remembered, leave out --no-state"
        )),
        flag => Ok(RateLimits {
            wanted: flag.is_some(),
            ..limits
        }),
    }
}

/// The first of these flags that is given, where nothing is remembered.
fn is_in_vain<'f>(values: &FlagValues<'_>, place: &StateLocation, flags: &[&'f str]) -> Option<&'f str> {
    let mut found = flags.iter().filter(|flag| values.raw(flag).is_some());
    found.next().copied().filter(|_| *place == StateLocation::Nowhere)
}

/// What is judged of lost instances. What is normal is known from earlier runs.
fn loss(values: &FlagValues<'_>, place: &StateLocation) -> Result<LossLimits, String> {
    let flags = ["lost-warning", "lost-critical", "baseline-settle"];
    if let Some(flag) = is_in_vain(values, place, &flags) {
        return Err(format!(
            "--{flag}: how many instances are normal is known from earlier runs, so something must be remembered, leave out \
             --no-state, or give -w or -c"
        ));
    }
    Ok(LossLimits {
        warning: values.read("lost-warning", read_loss)?,
        critical: values.read("lost-critical", read_loss)?,
        settle: values
            .duration_above_zero("baseline-settle")?
            .unwrap_or(LossLimits::default().settle),
    })
}

fn read_loss(text: &str) -> Result<Loss, String> {
    let (digits, is_percent) = match text.strip_suffix('%') {
        Some(digits) => (digits, true),
        None => (text, false),
    };
    let plain = digits.chars().all(|c| c.is_ascii_digit());
    let number = digits.parse::<u64>().ok().filter(|number| plain && *number > 0);
    let loss = match (number, is_percent) {
        (Some(percent @ 1..=100), true) => u8::try_from(percent).ok().map(Loss::Percent),
        (Some(number), false) => usize::try_from(number).ok().map(Loss::Instances),
        _ => None,
    };
    loss.ok_or_else(|| {
        format!(
            "'{}' is neither a number of instances, like 1, nor a part of them from 1% to 100%",
            clean(text, 80)
        )
    })
}

/// What is judged of restarts. They are seen between two runs.
fn restarts(values: &FlagValues<'_>, place: &StateLocation) -> Result<RestartLimits, String> {
    let flags = ["restarts-warning", "restarts-critical", "restarts-window"];
    if let Some(flag) = is_in_vain(values, place, &flags) {
        return Err(format!(
            "--{flag}: a restart is seen between two runs, so something must be remembered, leave out --no-state"
        ));
    }
    let limit = |flag: &str| -> Result<Option<usize>, String> {
        let most = changes::MAX_RESTARTS;
        values.read(flag, |text| match text.parse::<usize>() {
            Ok(number) if (1..=most).contains(&number) && !text.starts_with('+') => Ok(number),
            _ => Err(format!("'{}' is not a whole number from 1 to {most}", clean(text, 80))),
        })
    };
    let standard = RestartLimits::default();
    let window = values
        .duration_above_zero("restarts-window")?
        .unwrap_or(standard.window);
    if window > changes::KEPT {
        let most = age(changes::KEPT);
        return Err(format!(
            "--restarts-window: it is longer than {most}, for which restarts are remembered"
        ));
    }
    Ok(RestartLimits {
        warning: limit("restarts-warning")?,
        critical: limit("restarts-critical")?,
        window,
    })
}

fn policy(
    values: &FlagValues<'_>,
    command: &Command,
    prefix: Option<&Prefix>,
    place: &StateLocation,
) -> Result<Policy, String> {
    let standard = Policy::default();
    // The same flag says pass or fail in a probe.
    let unreachable = match command {
        Command::Probe(_) => None,
        Command::Watch { .. } => watch_unreachable(values)?.0,
        _ => values.status("unreachable")?,
    };
    let mixed_versions = values.status("mixed-versions")?;
    if mixed_versions.is_some() && *place == StateLocation::Nowhere {
        return Err(
            "--mixed-versions: without a state nobody knows since when versions are mixed, leave out --no-state".into(),
        );
    }
    let mixed_metadata: Vec<String> = values.words("mixed-metadata")?.into_iter().map(str::to_owned).collect();
    if !mixed_metadata.is_empty() && mixed_versions.is_none() {
        return Err("--mixed-metadata: give a status with --mixed-versions, too".into());
    }
    if mixed_metadata.len() > MAX_KEPT_KEYS || mixed_metadata.iter().any(|key| key.is_empty() || key.len() > KEY_CHARS)
    {
        return Err(format!(
            "--mixed-metadata: at most {MAX_KEPT_KEYS} keys of at most {KEY_CHARS} characters"
        ));
    }
    let (creds_warning, creds_critical) = (
        values.duration_above_zero("creds-warning")?,
        values.duration_above_zero("creds-critical")?,
    );
    if creds_warning.is_some() && creds_warning <= creds_critical {
        return Err("--creds-warning: it must be longer than --creds-critical, or it would never be told".into());
    }
    Ok(Policy {
        warning: values.range("warning")?,
        critical: values.range("critical")?,
        rtt_warning: values.duration("rtt-warning")?,
        rtt_critical: values.duration("rtt-critical")?,
        expected_version: values.read("expect-version", Requirement::parse)?,
        mixed_versions,
        mixed_metadata,
        creds_warning,
        creds_critical,
        never_seen: values.status("never-seen")?.unwrap_or(standard.never_seen),
        unreachable: unreachable.unwrap_or(standard.unreachable),
        silent: values.status("silent")?.unwrap_or(standard.silent),
        forget_after: values.duration_above_zero("forget-after")?,
        rates: rates(values, place)?,
        request: request::limits(values)?,
        loss: loss(values, place)?,
        restarts: restarts(values, place)?,
        remembers: *place != StateLocation::Nowhere,
        imported: prefix.is_some_and(Prefix::is_imported),
    })
}

pub fn arguments(
    values: &FlagValues<'_>,
    command: impl FnOnce(&FlagValues<'_>) -> Result<Command, String>,
) -> Result<Arguments, String> {
    values.refuse_secrets()?;
    let service = match values.read("name", ServiceName::parse)? {
        Some(service) => service,
        None => return Err("which service? Give its name with --name".into()),
    };
    let command = command(values)?;
    let prefix = values.read("srv-prefix", Prefix::parse)?;
    let place = match command {
        Command::Probe(_) => StateLocation::Nowhere,
        _ if values.has("no-state") => StateLocation::Nowhere,
        _ => place(values)?,
    };
    Ok(Arguments {
        timing: timing(values, &command)?,
        policy: policy(values, &command, prefix.as_ref(), &place)?,
        output: output_options(values)?,
        command,
        service,
        place,
        matches: values.matches.clone(),
    })
}

fn place(values: &FlagValues<'_>) -> Result<StateLocation, String> {
    Ok(match (values.path("state")?, values.path("state-dir")?) {
        (Some(file), _) => StateLocation::File(file),
        (_, Some(dir)) => StateLocation::Dir(dir),
        _ => StateLocation::Default,
    })
}

pub fn state_list_options(values: &FlagValues<'_>) -> Result<StateListOptions, String> {
    values.refuse_secrets()?;
    let format = values.read("format", |word| match word {
        "text" | "json" => Ok(word.to_owned()),
        _ => Err(format!("'{}' is neither text nor json", clean(word, 80))),
    })?;
    Ok(StateListOptions {
        place: place(values)?,
        service: values.read("name", ServiceName::parse)?,
        json: format.as_deref() == Some("json"),
        timeout: values.duration_above_zero("timeout")?.unwrap_or(TIMEOUT),
    })
}

fn output_options(values: &FlagValues<'_>) -> Result<OutputOptions, String> {
    let format = values.read("format", |word| {
        Format::parse(word).ok_or_else(|| format!("'{}' is not a format: {}", clean(word, 80), Format::words()))
    })?;
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
        format: format.unwrap_or_default(),
        verbosity: values
            .matches
            .try_get_one::<u8>("verbose")
            .ok()
            .flatten()
            .copied()
            .unwrap_or(0),
        metrics: Style {
            labels,
            per_instance: values.has("per-instance"),
        },
    })
}
