//! What the program can be asked to do, one file for each. All that look at a service do so by [`run_check`].

mod check;
mod child;
mod listen;
mod log;
mod probe;
mod run_check;
pub mod site;
mod state;
mod textfile;
pub mod watch;

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Instant;

use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use signal_hook::consts::SIGXFSZ;

use self::run_check::state_store;
use crate::cli::{self, Arguments, Command, ConfigError, Format, Invocation, OutputOptions};
use crate::process::exit::Output;
use crate::process::watchdog;
use crate::values::env::Env;
use crate::values::status::Reason;

/// One whole run of any command.
pub fn run(args: &[OsString], env: Env<'_>, start: Instant) -> Output {
    // Secrets are in no core dump, and other processes of the same user cannot read them here.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    // Writing beyond the limit of a file's size is then an error, and not the end of the process.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
    if listen::is_asked_for(args) {
        return listen::run_server_child();
    }
    // Before there is a second thread: it forks.
    if watch::is_asked_for(args) {
        return watch::run(args, env);
    }
    let last_words = |cause: &watchdog::Alarm| check::unknown(cause.reason(), cause.to_string());
    if let Err(error) = watchdog::install(Box::new(last_words)) {
        return check::unknown(Reason::Interrupted, format!("cannot take over the signals: {error}"));
    }
    match cli::parse(args, env) {
        Ok(Invocation::Print(text)) => Output::success(text),
        Ok(Invocation::StateList(options)) => state::list(&options, env, start),
        Ok(Invocation::Run(arguments)) => {
            run_command(*arguments, env, start).unwrap_or_else(|problem| usage(args, &problem))
        }
        Err(problem) => usage(args, &problem),
    }
}

/// The error is a mistake in what the user has said.
fn run_command(arguments: Arguments, env: Env<'_>, start: Instant) -> Result<Output, String> {
    if let Command::Probe(options) = &arguments.command {
        return probe::run(&arguments, options, env, start);
    }
    let deadline = start + arguments.timing.timeout;
    // Files can hang, too.
    watchdog::watch(deadline);
    let target = arguments.target(env, deadline).map_err(ConfigError::into_text)?;
    let config = arguments.with_target(target);
    let store = state_store(&config, env);
    Ok(match &config.command {
        Command::Check => check::run(&config, &store, start),
        Command::Textfile { output, exit_status } => textfile::run(&config, &store, start, output, *exit_status),
        Command::StateShow => state::show(&config, &store),
        Command::StateReset => state::reset(&config, &store, start),
        // Both were begun above.
        Command::Probe(_) | Command::Watch { .. } => Output::failure("not what was asked for"),
    })
}

/// Bad arguments: also told in the format asked for, and by a command that writes files on stderr.
fn usage(args: &[OsString], problem: &str) -> Output {
    let problem = format!("{problem} (see --help)");
    match args.get(1).and_then(|command| command.to_str()) {
        Some("textfile" | "probe" | "watch") => Output::failure(&problem),
        _ => {
            let options = OutputOptions {
                format: Format::guess(args),
                ..OutputOptions::default()
            };
            check::bare(Reason::Usage, problem, &options)
        }
    }
}
