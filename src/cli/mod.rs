//! Arguments and variables as typed -> a valid [`Config`]. The flags are defined in [`flags`].
//!
//! clap only finds the values; they are read here, so that every mistake is told in one line of our own that never
//! shows a secret.

mod arguments;
mod commands;
mod config;
mod connection;
mod flag_values;
mod flags;
mod help;
mod policy;
mod request;
mod scope;

use std::ffi::OsString;
use std::time::Instant;

use clap::error::{ContextKind, ContextValue, ErrorKind};

pub use self::commands::{COMMANDS, command, whole_command};
pub use self::config::{
    AllConfig, Arguments, Command, Config, Format, ListOptions, ListenOptions, LogFormat, OutputOptions, ProbeOptions,
    Selector, Settings, StateListOptions, StateShowOptions, TextfileOptions, Timing, WatchOptions,
};
pub use self::flag_values::ConfigError;
use self::flag_values::FlagValues;
pub use self::scope::{AllServices, Scope};
use crate::values::env::Env;
use crate::values::secret::redact;
use crate::values::text::{clean, one_of};

/// Reads the command line (with the program's name first) and the environment.
///
/// # Errors
///
/// One line that says what is wrong and what would be right.
pub fn parse(args: &[OsString], env: Env<'_>) -> Result<Command, String> {
    read(args, env).map_err(|problem| redact(&problem))
}

fn read(args: &[OsString], env: Env<'_>) -> Result<Command, String> {
    let matches = match command().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            return Ok(Command::Print(help::wrapped(&error.to_string())));
        }
        Err(error) => return Err(one_line(&error, args)),
    };
    let (mut words, mut matches) = (Vec::new(), &matches);
    while let Some((word, inner)) = matches.subcommand() {
        words.push(word);
        matches = inner;
    }
    let spec = commands::find(&words.join(" ")).unwrap_or(&COMMANDS[0]);
    // No file is read before the time limit is known.
    (spec.read)(&FlagValues::new(matches, env, Instant::now()))
}

/// The message of clap, in one line. Words that may be part of a secret, since it was not quoted, are not repeated.
fn one_line(error: &clap::Error, args: &[OsString]) -> String {
    let first = args.get(1);
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let is_unknown = error.kind() == ErrorKind::UnknownArgument;
    if is_unknown && context(ContextKind::InvalidArg).is_some_and(|arg| arg.starts_with('-') && !is_like_a_flag(arg)) {
        return "a word among the flags begins with '-' and is none of them, it is not shown, since it may be a secret: write \
                --FLAG=VALUE, or give the name of a file"
            .into();
    }
    let text = without_values(error.to_string(), args);
    let stray = match error.kind() {
        ErrorKind::InvalidSubcommand => context(ContextKind::InvalidSubcommand),
        ErrorKind::UnknownArgument => context(ContextKind::InvalidArg).filter(|arg| !arg.starts_with('-')),
        // Flags, then a word: a command or something else.
        ErrorKind::ArgumentConflict => text
            .strip_prefix("error: the subcommand '")
            .and_then(|t| t.split('\'').next()),
        _ => None,
    };
    if let Some(word) = stray {
        return match first {
            Some(first) if first == word => {
                let commands = one_of(&commands::first_words());
                format!("'{}' is not a command: {commands}", clean(word, 80))
            }
            _ if commands::first_words().contains(&word) => {
                format!("say {word} first, and the flags behind it")
            }
            Some(first) if first == "probe" && error.kind() == ErrorKind::InvalidSubcommand => {
                "which probe? Say probe liveness, readiness or startup".into()
            }
            Some(first) if first == "state" && error.kind() == ErrorKind::InvalidSubcommand => {
                "what about the state? Say state show, reset or list".into()
            }
            _ => "a word too many among the flags, a value with blanks needs quotes".into(),
        };
    }
    let mut paragraphs = text.split("\n\n");
    let what = paragraphs.next().unwrap_or_default().trim_start_matches("error: ");
    let tip = paragraphs.find_map(|paragraph| paragraph.trim().strip_prefix("tip: "));
    let words: Vec<&str> = what.split_whitespace().chain(tip.map(|_| ",")).collect();
    let mut line = words.join(" ").replace(" ,", "");
    if let Some(tip) = tip {
        let tip: Vec<&str> = tip.split_whitespace().collect();
        line = format!("{line}, {}", tip.join(" "));
    }
    line
}

fn is_like_a_flag(arg: &str) -> bool {
    let name = arg.trim_start_matches('-');
    let is_long = name.len() > 1 && name.len() <= 40 && name.starts_with(|c: char| c.is_ascii_lowercase());
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    arg.len() - name.len() <= 2 && (name.chars().count() == 1 || is_long && name.chars().all(is_plain))
}

/// The message of clap without the values that it quotes.
fn without_values(mut text: String, args: &[OsString]) -> String {
    for arg in args.iter().skip(1).map(|arg| arg.to_string_lossy()) {
        let value = match arg.split_once('=') {
            Some((flag, value)) if is_like_a_flag(flag) => value,
            _ if is_like_a_flag(&arg) => continue,
            _ => &arg,
        };
        if !value.is_empty() {
            text = text.replace(&format!("unexpected value '{value}'"), "a value that is not expected");
        }
    }
    text
}

#[cfg(test)]
mod tests;
