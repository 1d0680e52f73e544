//! The two kinds of flag that every command is made of.

use clap::builder::ValueParser;
use clap::{Arg, ArgAction};

/// A flag with a value of any kind, `--name VALUE`.
pub fn value(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name(value)
        .help(help)
        .value_parser(ValueParser::os_string())
}

/// A flag without a value.
pub fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help).action(ArgAction::SetTrue)
}
