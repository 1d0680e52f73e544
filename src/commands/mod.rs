//! The commands, one file for each. What they are about, one service or all, is a [`Question`].

mod check;
mod check_report;
mod child;
mod handover;
mod http_child;
mod list;
mod listen;
mod log;
mod outcome;
mod probe;
pub mod run_all;
mod run_check;
mod scope;
mod server;
pub mod site;
mod state;
mod textfile;
mod verdict_log;
mod watch;

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Instant;

use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use signal_hook::consts::SIGXFSZ;

use self::check_report::{BeforeAnyCheck, Subject};
use self::scope::Question;
use crate::cli::{self, Arguments, Command, ConfigError, Format};
use crate::process::exit::Output;
use crate::process::watchdog;
use crate::values::env::Env;
use crate::values::status::Reason;

/// One whole run of any command.
pub fn run(args: &[OsString], env: Env<'_>, start: Instant) -> Output {
    // Keeps secrets out of core dumps, and from other processes of the same user.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    // Writing beyond the file size limit is then an error, and does not end the process.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
    let first = args.get(1).and_then(|argument| argument.to_str());
    if first == Some(http_child::ARGUMENT) {
        return http_child::run();
    }
    let before = before_any_check(args);
    let last_words = move |cause: &watchdog::Alarm| before.output(cause.reason(), &cause.to_string());
    // `watch` forks, so it must not have a second thread.
    if first != Some("watch")
        && let Err(error) = watchdog::install(Box::new(last_words))
    {
        let text = format!("cannot take over the signals: {error}");
        return before_any_check(args).output(Reason::Interrupted, &text);
    }
    let output = cli::parse(args, env)
        .map_err(ConfigError::Usage)
        .and_then(|command| run_command(command, env, start));
    output.unwrap_or_else(|problem| report_mistake(args, &problem))
}

fn run_command(command: Command, env: Env<'_>, start: Instant) -> Result<Output, ConfigError> {
    match command {
        Command::Print(text) => Ok(Output::success(text)),
        Command::StateList(options) => Ok(state::list(&options, env, start)),
        Command::List(arguments, options) => list::run(&arguments, &options, env, start),
        Command::Server(arguments) => server::run(&arguments, env, start),
        Command::Probe(arguments, options) => probe::run(&arguments, &options, env, start),
        Command::Watch(arguments, options) => watch::run(&arguments, &options, env),
        Command::Check(arguments) => {
            let options = arguments.settings.output.clone();
            Ok(check::run(&question(&arguments, env, start)?, start, &options))
        }
        Command::Textfile(arguments, options) => {
            let style = arguments.settings.output.metrics.clone();
            Ok(textfile::run(
                &question(&arguments, env, start)?,
                start,
                &style,
                &options,
            ))
        }
        Command::StateShow(arguments, options) => Ok(state::show(&question(&arguments, env, start)?, options)),
        Command::StateReset(arguments) => Ok(state::reset(&question(&arguments, env, start)?, start)),
    }
}

/// Returns the subject of the command. Reads the files that say how to connect, until the deadline of the run.
fn question(arguments: &Arguments, env: Env<'_>, start: Instant) -> Result<Question, ConfigError> {
    let deadline = start + arguments.settings.timing.timeout;
    // Reading a file can hang, too.
    watchdog::watch(deadline);
    Question::new(arguments, env, deadline, None)
}

/// Reports a mistake: in the format that was asked for, or on stderr by a command that prints no verdict.
fn report_mistake(args: &[OsString], problem: &ConfigError) -> Output {
    let problem = match problem {
        ConfigError::Usage(text) => format!("{text} (see --help)"),
        // The help has nothing about a file.
        ConfigError::File(text) => text.clone(),
    };
    match args.get(1).and_then(|command| command.to_str()) {
        Some("textfile" | "probe" | "watch") => Output::failure(&problem),
        _ => before_any_check(args).output(Reason::Usage, &problem),
    }
}

/// Returns the report for a run that ends before its check, in the format that the arguments ask for, as far as they can be read.
fn before_any_check(args: &[OsString]) -> BeforeAnyCheck {
    let command = args.get(1).and_then(|command| command.to_str());
    let subject = match command {
        Some("server") => Subject::Server,
        _ if args.iter().any(|arg| arg == "--all") => Subject::AllServices,
        _ => Subject::Service,
    };
    // The formats of a list are not those of a verdict.
    let format = match command {
        Some("list" | "state") => Format::default(),
        _ => Format::guess(args),
    };
    BeforeAnyCheck { subject, format }
}
