//! Checks NATS itself: whether it can be reached, takes the login and answers. It asks no service, and keeps no state.

use std::time::Instant;

use super::check_report::server_output;
use crate::cli::{Arguments, ConfigError};
use crate::judge::overview;
use crate::probe::client::{ProbeRequest, probe_all};
use crate::probe::plan::ProbePlan;
use crate::process::exit::Output;
use crate::process::watchdog;
use crate::values::env::Env;
use crate::values::timestamp::Timestamp;

pub fn run(arguments: &Arguments, env: Env<'_>, start: Instant) -> Result<Output, ConfigError> {
    let settings = &arguments.settings;
    let deadline = start + settings.timing.timeout;
    let alarms = watchdog::watch(deadline);
    let target = arguments.target(env, deadline)?;
    let seen = probe_all(&ProbeRequest {
        target: &target,
        plan: ProbePlan::of_server(),
        start,
        deadline,
        alarms: &alarms,
    });
    let verdict = overview::server(&seen.common, &settings.policy, Timestamp::now());
    Ok(server_output(&verdict, settings.output.verbosity))
}
