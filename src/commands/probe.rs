//! A Kubernetes exec probe: answers from the sidecar's file, or by asking for one answer.

use std::path::Path;
use std::time::Instant;

use crate::cli::{Arguments, ConfigError, ProbeOptions, Selector};
use crate::files::read::{read_text, shown};
use crate::judge::pod::{PodProbe, ProbeResult};
use crate::judge::status_file;
use crate::probe::client::{ProbeRequest, probe};
use crate::probe::plan::{PingPlan, Wanted};
use crate::probe::reply::is_id;
use crate::process::exit::Output;
use crate::process::watchdog;
use crate::values::env::Env;
use crate::values::timestamp::Timestamp;

/// A status file of ours cannot be larger, in bytes.
const MAX_STATUS_FILE_BYTES: u64 = 8 * 1024 * 1024;

pub fn run(arguments: &Arguments, options: &ProbeOptions, env: Env<'_>, start: Instant) -> Result<Output, ConfigError> {
    answer(arguments, options, env, start).map(output)
}

fn output((answer, line): (ProbeResult, String)) -> Output {
    Output {
        exit_code: answer.exit_code(),
        // Kubernetes uses the exit status.
        must_be_read: false,
        ..Output::success(line + "\n")
    }
}

fn answer(
    arguments: &Arguments,
    options: &ProbeOptions,
    env: Env<'_>,
    start: Instant,
) -> Result<(ProbeResult, String), ConfigError> {
    let service = arguments.scope.name();
    let question = |wanted| PodProbe {
        kind: options.kind,
        service: service.to_owned(),
        wanted,
        unreachable: options.unreachable,
    };
    let deadline = start + arguments.settings.timing.timeout;
    let alarms = watchdog::watch(deadline);
    let of_anyone = question(Wanted::Any);
    let asks_nats = options.from.is_none();
    watchdog::set_last_words(Box::new(move |cause| {
        let why = cause.to_string();
        output(if asks_nats {
            of_anyone.cannot_ask(&why)
        } else {
            of_anyone.no_check(&why)
        })
    }));
    let target = match arguments.target(env, deadline) {
        Err(problem @ ConfigError::Usage(_)) => return Err(problem),
        target => target,
    };
    let wanted = match wanted(&options.selector, deadline) {
        Ok(wanted) => wanted,
        Err(why) => return Ok(question(Wanted::Any).say(ProbeResult::Fail, &why)),
    };
    let question = question(wanted.clone());
    if let Some((path, max_age)) = &options.from {
        return Ok(match read_text(path, MAX_STATUS_FILE_BYTES, deadline) {
            Ok(text) => status_file::answer_from_file(&question, &text, *max_age, Timestamp::now()),
            Err(why) => question.no_check(&format!("the status file {}: {why}", shown(path))),
        });
    }
    let target = match target {
        Ok(target) => target,
        // A Secret that is renewed late must not restart every pod.
        Err(problem) => return Ok(question.cannot_ask(problem.text())),
    };
    Ok(question.judge(&probe(&ProbeRequest {
        target: &target,
        plan: PingPlan::new(
            service,
            wanted,
            arguments.settings.timing.confirm,
            arguments.settings.timing.stall,
        )
        .into(),
        start,
        deadline,
        alarms: &alarms,
    })))
}

/// Which instance is the pod's own.
///
/// # Errors
///
/// There is none yet: the application writes its id into the file when it has an instance.
pub fn wanted(selector: &Selector, deadline: Instant) -> Result<Wanted, String> {
    match selector {
        Selector::Id(id) => Ok(Wanted::Id(id.clone())),
        Selector::IdFile(path) => id_in(Path::new(path), deadline)
            .map(Wanted::Id)
            .map_err(|why| format!("no instance yet: the id file {}: {why}", shown(Path::new(path)))),
        Selector::Match(values) => Ok(Wanted::Match(values.clone())),
        Selector::Any => Ok(Wanted::Any),
    }
}

/// The id in the file.
fn id_in(path: &Path, deadline: Instant) -> Result<String, String> {
    let text = read_text(path, 4096, deadline)?;
    match text.trim() {
        id if is_id(id) => Ok(id.to_owned()),
        _ => Err("there is no id in it".into()),
    }
}
