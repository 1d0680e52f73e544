//! A flag as it is written down: cheap, where clap's is dear. Only those that somebody uses are made for clap.

use std::ffi::OsString;

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, Command};

/// One flag. The methods are named as clap's, and mean the same.
#[derive(Clone, Debug)]
pub struct Flag {
    name: &'static str,
    value: &'static str,
    help: &'static str,
    heading: &'static str,
    short: Option<char>,
    alias: Option<&'static str>,
    action: ArgAction,
    is_required: bool,
    may_begin_with_hyphen: bool,
    requires: Option<&'static str>,
    conflicts: Vec<&'static str>,
}

/// A flag with a value of any kind.
pub fn value(name: &'static str, value: &'static str, help: &'static str) -> Flag {
    Flag {
        name,
        value,
        help,
        heading: "Options",
        short: None,
        alias: None,
        action: ArgAction::Set,
        is_required: false,
        may_begin_with_hyphen: false,
        requires: None,
        conflicts: Vec::new(),
    }
}

/// A flag without a value.
pub fn switch(name: &'static str, help: &'static str) -> Flag {
    value(name, "", help).action(ArgAction::SetTrue)
}

impl Flag {
    pub fn short(self, short: char) -> Flag {
        Flag {
            short: Some(short),
            ..self
        }
    }

    pub fn visible_alias(self, alias: &'static str) -> Flag {
        Flag {
            alias: Some(alias),
            ..self
        }
    }

    pub fn action(self, action: ArgAction) -> Flag {
        Flag { action, ..self }
    }

    pub fn required(self) -> Flag {
        Flag {
            is_required: true,
            ..self
        }
    }

    pub fn allow_hyphen_values(self) -> Flag {
        Flag {
            may_begin_with_hyphen: true,
            ..self
        }
    }

    pub fn requires(self, other: &'static str) -> Flag {
        Flag {
            requires: Some(other),
            ..self
        }
    }

    pub fn conflicts_with(self, other: &'static str) -> Flag {
        self.conflicts_with_all([other])
    }

    pub fn conflicts_with_all(self, others: impl IntoIterator<Item = &'static str>) -> Flag {
        Flag {
            conflicts: others.into_iter().collect(),
            ..self
        }
    }

    pub fn help_heading(self, heading: &'static str) -> Flag {
        Flag { heading, ..self }
    }

    fn arg(&self) -> Arg {
        let arg = Arg::new(self.name)
            .long(self.name)
            .short(self.short)
            .help(self.help)
            .help_heading(self.heading)
            .required(self.is_required)
            .action(self.action.clone())
            .conflicts_with_all(&self.conflicts);
        let arg = match self.alias {
            Some(alias) => arg.visible_alias(alias),
            None => arg,
        };
        let arg = match self.requires {
            Some(other) => arg.requires(other),
            None => arg,
        };
        match self.action {
            ArgAction::Set | ArgAction::Append => arg
                .value_name(self.value)
                .value_parser(ValueParser::os_string())
                .allow_hyphen_values(self.may_begin_with_hyphen),
            _ => arg,
        }
    }

    /// Whether this flag stands in these arguments. Yes in doubt: its letter may be a part of another one's value.
    fn is_in(&self, args: &[OsString]) -> bool {
        let is_named = |word: &str| [Some(self.name), self.alias].contains(&Some(word));
        args.iter().any(|arg| match arg.as_encoded_bytes() {
            [b'-', b'-', long @ ..] => {
                let name = long.split(|byte| *byte == b'=').next().unwrap_or_default();
                std::str::from_utf8(name).is_ok_and(is_named)
            }
            [b'-', letters @ ..] => self.short.is_some_and(|short| letters.contains(&(short as u8))),
            _ => false,
        })
    }
}

/// Defines all of these flags.
pub fn define(command: Command, flags: &[Flag]) -> Command {
    command.args(flags.iter().map(Flag::arg))
}

/// Defines only what a command with these arguments needs to know of the flags.
pub fn define_used(command: Command, flags: Vec<Flag>, args: &[OsString]) -> Command {
    let (mut used, rest): (Vec<Flag>, Vec<Flag>) =
        flags.into_iter().partition(|flag| flag.is_required || flag.is_in(args));
    let missed: Vec<&str> = used.iter().filter_map(|flag| flag.requires).collect();
    used.extend(rest.into_iter().filter(|flag| missed.contains(&flag.name)));
    // clap wants to know all that a flag speaks of.
    let names: Vec<&str> = used.iter().map(|flag| flag.name).collect();
    for flag in &mut used {
        flag.conflicts.retain(|name| names.contains(name));
    }
    define(command, &used)
}
