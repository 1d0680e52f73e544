//! The flags that judge -> a [`Policy`].

use std::time::Duration;

use super::flag_values::FlagValues;
use super::request;
use crate::connect::target::Prefix;
use crate::judge::{Loss, LossLimits, Policy, RateLimits, RestartLimits};
use crate::probe::reply::{KEY_CHARS, MAX_KEPT_KEYS};
use crate::state::changes::{self, Succession};
use crate::state::store::StateLocation;
use crate::values::duration::age;
use crate::values::status::Status;
use crate::values::text::clean;
use crate::values::version::Requirement;

/// Flags any of which asks for the statistics.
const STATISTICS: &[&str] = &[
    "stats",
    "error-rate-warning",
    "error-rate-critical",
    "latency-warning",
    "latency-critical",
    "min-requests",
];

/// Flags that mean nothing without a state, and why.
const NEEDING_STATE: [(&[&str], &str); 4] = [
    (
        STATISTICS,
        "rates are made of two runs, so something must be remembered, leave out --no-state",
    ),
    (
        &["lost-warning", "lost-critical", "baseline-settle"],
        "how many instances are normal is known from earlier runs, so something must be remembered, leave out --no-state, or give \
         -w or -c",
    ),
    (
        &["restarts-warning", "restarts-critical", "restarts-window"],
        "a restart is seen between two runs, so something must be remembered, leave out --no-state",
    ),
    (
        &["mixed-versions"],
        "without a state nobody knows since when versions are mixed, leave out --no-state",
    ),
];

/// Returns the policy of a check. `unreachable`: the status where NATS cannot be asked, if the user gave one. `confirm`: that of its timing.
pub(super) fn policy(
    values: &FlagValues<'_>,
    unreachable: Option<Status>,
    confirm: Duration,
    location: &StateLocation,
) -> Result<Policy, String> {
    let remembers = *location != StateLocation::Nowhere;
    for (flags, why) in NEEDING_STATE {
        match values.first_given(flags) {
            Some(flag) if !remembers => return Err(format!("--{flag}: {why}")),
            _ => {}
        }
    }
    let standard = Policy::default();
    let prefix = values.read("srv-prefix", Prefix::parse)?;
    let mixed_versions = values.status("mixed-versions")?;
    let creds_warning = values.duration_above_zero("creds-warning")?;
    let creds_critical = values.duration_above_zero("creds-critical")?;
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
        mixed_metadata: mixed_metadata(values, mixed_versions)?,
        creds_warning,
        creds_critical,
        never_seen: values.status("never-seen")?.unwrap_or(standard.never_seen),
        unreachable: unreachable.unwrap_or(standard.unreachable),
        silent: values.status("silent")?.unwrap_or(standard.silent),
        forget_after: values.duration_above_zero("forget-after")?,
        rates: RateLimits {
            wanted: values.first_given(STATISTICS).is_some(),
            error_warning: values.percent("error-rate-warning")?,
            error_critical: values.percent("error-rate-critical")?,
            latency_warning: values.duration("latency-warning")?,
            latency_critical: values.duration("latency-critical")?,
            min_requests: values.number("min-requests")?.unwrap_or(standard.rates.min_requests),
        },
        request: request::limits(values)?,
        loss: LossLimits {
            warning: values.read("lost-warning", read_loss)?,
            critical: values.read("lost-critical", read_loss)?,
            settle: values
                .duration_above_zero("baseline-settle")?
                .unwrap_or(standard.loss.settle),
        },
        restarts: RestartLimits {
            warning: values.read("restarts-warning", read_restarts)?,
            critical: values.read("restarts-critical", read_restarts)?,
            succession: Succession {
                confirm,
                window: restarts_window(values)?.unwrap_or(standard.restarts.succession.window),
            },
        },
        remembers,
        imported: prefix
            .filter(Prefix::is_imported)
            .map(|prefix| prefix.as_str().to_owned()),
    })
}

fn mixed_metadata(values: &FlagValues<'_>, mixed_versions: Option<Status>) -> Result<Vec<String>, String> {
    let keys: Vec<String> = values.words("mixed-metadata")?.into_iter().map(str::to_owned).collect();
    if !keys.is_empty() && mixed_versions.is_none() {
        return Err("--mixed-metadata: give a status with --mixed-versions, too".into());
    }
    match keys.len() > MAX_KEPT_KEYS || keys.iter().any(|key| key.is_empty() || key.len() > KEY_CHARS) {
        true => Err(format!(
            "--mixed-metadata: at most {MAX_KEPT_KEYS} keys of at most {KEY_CHARS} characters"
        )),
        false => Ok(keys),
    }
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

fn read_restarts(text: &str) -> Result<usize, String> {
    let max = changes::MAX_RESTARTS;
    match text.parse::<usize>() {
        Ok(number) if (1..=max).contains(&number) && !text.starts_with('+') => Ok(number),
        _ => Err(format!("'{}' is not a whole number from 1 to {max}", clean(text, 80))),
    }
}

fn restarts_window(values: &FlagValues<'_>) -> Result<Option<Duration>, String> {
    match values.duration_above_zero("restarts-window")? {
        Some(window) if window > changes::KEPT => Err(format!(
            "--restarts-window: it is longer than {}, for which restarts are remembered",
            age(changes::KEPT)
        )),
        window => Ok(window),
    }
}
