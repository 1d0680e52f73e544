//! The one table of the commands. The parser, the help, the man page and the completions are made from it.

use clap::Command as Definition;

use super::arguments::{check, list, probe, server, state_list, state_reset, state_show, textfile, watch};
use super::config::{Command, Format};
use super::flag_values::FlagValues;
use super::flags;
use crate::judge::pod::ProbeKind;

/// One command.
pub struct CommandSpec {
    /// Its words, as they are typed.
    pub name: &'static str,
    pub summary: &'static str,
    /// The ways to call it, each with the flags that it needs.
    pub ways: &'static [&'static str],
    /// The values of its `--format`, the default first; none: it has no such flag.
    pub formats: &'static [Format],
    define: fn(Definition) -> Definition,
    pub(super) read: fn(&FlagValues<'_>) -> Result<Command, String>,
}

/// Every command. The first one needs no word.
pub static COMMANDS: [CommandSpec; 11] = [
    CommandSpec {
        name: "check",
        summary: "Check a service, or all of them (what happens without a command)",
        ways: &["-n NAME", "--all"],
        formats: &Format::OF_VERDICT,
        define: flags::check,
        read: check,
    },
    CommandSpec {
        name: "textfile",
        summary: "Check a service or all, and write metrics for the textfile collector",
        ways: &["-n NAME -o FILE", "--all -o FILE"],
        formats: &[],
        define: flags::textfile,
        read: textfile,
    },
    probe_spec(
        "probe liveness",
        "Fails if the instance does not answer; passes if NATS cannot be asked",
        |values| probe(values, ProbeKind::Liveness),
    ),
    probe_spec("probe readiness", "Passes only if the instance answers", |values| {
        probe(values, ProbeKind::Readiness)
    }),
    probe_spec(
        "probe startup",
        "Passes once the instance answers; passes if NATS cannot be asked",
        |values| probe(values, ProbeKind::Startup),
    ),
    CommandSpec {
        name: "watch",
        summary: "Check a service or all again and again, write files, answer over HTTP",
        ways: &["-n NAME", "--all"],
        formats: &[],
        define: flags::watch,
        read: watch,
    },
    CommandSpec {
        name: "state show",
        summary: "Show the state of a service, or of all",
        ways: &["-n NAME", "--all"],
        formats: &[],
        define: flags::state,
        read: state_show,
    },
    CommandSpec {
        name: "state reset",
        summary: "Remove the state of a service or of all, open outages too",
        ways: &["-n NAME", "--all"],
        formats: &[],
        define: flags::state,
        read: state_reset,
    },
    CommandSpec {
        name: "state list",
        summary: "List the states in a folder: service, servers, user, last answer, outage",
        ways: &[""],
        formats: &Format::OF_STATE_LIST,
        define: flags::state_list,
        read: state_list,
    },
    CommandSpec {
        name: "list",
        summary: "List the services that answer now, and those that are remembered",
        ways: &[""],
        formats: &Format::OF_LIST,
        define: flags::list,
        read: list,
    },
    CommandSpec {
        name: "server",
        summary: "Check NATS itself: whether it can be reached and takes the login",
        ways: &[""],
        formats: &[],
        define: flags::server,
        read: server,
    },
];

const fn probe_spec(
    name: &'static str,
    summary: &'static str,
    read: fn(&FlagValues<'_>) -> Result<Command, String>,
) -> CommandSpec {
    CommandSpec {
        name,
        summary,
        ways: &["-n NAME INSTANCE"],
        formats: &[],
        define: flags::probe,
        read,
    }
}

/// The first words of commands of two words, and what these do.
const GROUPS: [(&str, &str); 2] = [
    ("probe", "Kubernetes exec probe: does this pod's own instance answer?"),
    ("state", "Show, list or remove state files"),
];

const AFTER_HELP: &str = "\
A DURATION reads as 500ms, 10s, 15m or 1h30m; a bare number is seconds.
A RANGE is that of Nagios: '3:' alerts below 3, '10' above 10, '1:5' outside of it, '@1:5' inside.
A STATUS is ok, warning, unknown or critical.

Exit status: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN; never another one.

Example: check_nats_service -s nats://nats.example.org -n orders -w 3: -c 1:";

const ROOT_USAGE: &str = "\
check_nats_service [check] -n NAME [OPTIONS]
       check_nats_service [check] --all [OPTIONS]
       check_nats_service COMMAND [OPTIONS]";

/// The definition of the command line. The flags of a command are defined when it is used.
pub fn command() -> Definition {
    let root = Definition::new("check_nats_service")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Asks NATS itself whether a micro service (ADR-32) is up, as a Nagios and Icinga check")
        .override_usage(ROOT_USAGE)
        .after_help(AFTER_HELP)
        .args_conflicts_with_subcommands(true)
        .disable_help_subcommand(true);
    first_words().into_iter().fold(flags::check(root), |root, word| {
        let defined = Definition::new(word);
        root.subcommand(match GROUPS.iter().find(|(group, _)| *group == word) {
            Some((_, summary)) => defined.about(*summary).defer(define_members),
            None => define(defined, word),
        })
    })
}

/// The same with the flags of every command, for the man page.
pub fn whole_command() -> Definition {
    let mut command = command();
    command.build();
    command
}

/// The first words of all commands, each once.
pub(super) fn first_words() -> Vec<&'static str> {
    let mut words: Vec<&str> = COMMANDS.iter().filter_map(|spec| spec.name.split(' ').next()).collect();
    words.dedup();
    words
}

/// The command with these words.
pub(super) fn find(name: &str) -> Option<&'static CommandSpec> {
    COMMANDS.iter().find(|spec| spec.name == name)
}

/// The usage of a command, a line for each way to call it.
fn usage(spec: &CommandSpec) -> String {
    let line = |way: &&str| format!("check_nats_service {} {way} [OPTIONS]", spec.name).replace("  ", " ");
    spec.ways.iter().map(line).collect::<Vec<_>>().join("\n       ")
}

fn define(command: Definition, name: &str) -> Definition {
    match find(name) {
        Some(spec) => command
            .about(spec.summary)
            .override_usage(usage(spec))
            .defer(spec.define),
        None => command,
    }
}

fn define_members(group: Definition) -> Definition {
    let first = format!("{} ", group.get_name());
    let members = COMMANDS
        .iter()
        .filter_map(|spec| Some((spec.name, spec.name.strip_prefix(&first)?)));
    let members = members.map(|(name, word)| define(Definition::new(word), name));
    group
        .disable_help_subcommand(true)
        .subcommand_required(true)
        .subcommands(members)
}
