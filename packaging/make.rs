//! Writes what is made of the definition of the flags: Icinga's CheckCommands, the basket with their fields for Icinga Director, and
//! the completions of the shells; and the alerts of Prometheus as an object of its operator. A test keeps the committed files so.
//!
//! `cargo run --example make_packaging packaging`

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use check_nats_service::cli;
use check_nats_service::values::text::digest;
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, Command, ValueHint};
use clap_complete::Shell;
use serde_json::{Map, Value, json};

/// Flags whose values would be seen in the list of processes: Icinga gives them in the environment.
const SECRETS: [(&str, &str); 2] = [("password", "NATS_PASSWORD"), ("token", "NATS_TOKEN")];

/// The flags of a run for all services, which nats_services has in place of the name.
const OF_ALL: [&str; 7] = [
    "all",
    "only",
    "exclude",
    "expect",
    "expect-file",
    "adopt-after",
    "per-service",
];

fn main() -> io::Result<()> {
    let packaging = env::args_os().nth(1).map_or_else(|| "packaging".into(), PathBuf::from);
    write(
        &packaging.join("icinga2/nats-service.conf"),
        check_commands().as_bytes(),
    )?;
    write(
        &packaging.join("icinga2/director-basket.json"),
        director_basket().as_bytes(),
    )?;
    write(
        &packaging.join("kubernetes/prometheusrule.yaml"),
        prometheus_rule().as_bytes(),
    )?;
    for (shell, name) in [
        (Shell::Bash, "check_nats_service.bash"),
        (Shell::Zsh, "_check_nats_service"),
        (Shell::Fish, "check_nats_service.fish"),
    ] {
        let mut script = Vec::new();
        let mut command = with_values(cli::whole_command(), "");
        clap_complete::generate(shell, &mut command, "check_nats_service", &mut script);
        write(&packaging.join("completions").join(name), &script)?;
    }
    Ok(())
}

fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    fs::write(path, text)
}

/// The command with what a shell can offer as the value of each flag: its words, files, folders, or nothing. `words` are those of
/// the command, none for the first one.
fn with_values(command: Command, words: &str) -> Command {
    let spec = cli::COMMANDS.iter().find(|spec| spec.name == words || words.is_empty());
    let formats = spec.map_or(&[][..], |spec| spec.formats);
    let with_value = |arg: Arg| {
        let name = arg
            .get_value_names()
            .and_then(|names| names.first())
            .map_or("", |name| name.as_str());
        let listed: Vec<&'static str> = match name {
            "FORMAT" => formats.iter().map(|format| format.name()).collect(),
            _ => name.split('|').flat_map(words_of).copied().collect(),
        };
        match name {
            "FILE" | "NAME|FILE.json" => arg.value_hint(ValueHint::FilePath),
            "DIR" => arg.value_hint(ValueHint::DirPath),
            "" => arg,
            _ if listed.is_empty() => arg.value_hint(ValueHint::Other),
            _ => arg.value_parser(PossibleValuesParser::new(listed)),
        }
    };
    command.mut_args(with_value).mut_subcommands(|inner| {
        let words = format!("{words} {}", inner.get_name());
        with_values(inner, words.trim_start())
    })
}

/// The words that a part of a value's name stands for; none if it stands for any text.
fn words_of(name: &str) -> &'static [&'static str] {
    match name {
        "STATUS" => &["ok", "warning", "unknown", "critical"],
        "pass" => &["pass"],
        "fail" => &["fail"],
        _ => &[],
    }
}

/// The alerts, indented as the `spec` of the object.
fn prometheus_rule() -> String {
    let rules = include_str!("prometheus/nats-service.rules.yml");
    let (_, groups) = rules.split_once("\ngroups:\n").expect("groups");
    let indented: String = groups
        .lines()
        .map(|line| {
            if line.is_empty() {
                "\n".into()
            } else {
                format!("  {line}\n")
            }
        })
        .collect();
    format!("{HEAD_OF_RULE}{indented}")
}

const HEAD_OF_RULE: &str = "\
# The alerts of packaging/prometheus/nats-service.rules.yml for the Prometheus operator. alertmanager.yml beside them has an inhibition.
#
# Made by `cargo run --example make_packaging packaging`.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: nats-services
spec:
  groups:
";

/// Every flag of the check as an argument with a variable of its own, `nats_service_…`.
fn check_commands() -> String {
    let command = cli::whole_command();
    let of_all = |arg: &&Arg| OF_ALL.contains(&arg.get_id().as_str());
    let (secrets, plain): (Vec<&Arg>, Vec<&Arg>) = own(&command).partition(|arg| secret(arg).is_some());
    let (of_all, of_one): (Vec<&Arg>, Vec<&Arg>) = plain.into_iter().partition(of_all);
    let server = server_command(&command);
    let of_server = own(server).filter(|arg| secret(arg).is_none()).collect();
    let [arguments, of_all, of_server] =
        [of_one, of_all, of_server].map(|args: Vec<&Arg>| args.into_iter().map(argument).collect::<String>());
    let environment: String = secrets
        .iter()
        .filter_map(|arg| Some(format!("\tenv.{} = \"${}$\"\n", secret(arg)?, variable(arg))))
        .collect();
    // A variable that is not set would be a warning in the log at each check.
    let unset: String = secrets
        .iter()
        .map(|arg| format!("\t// {}\n\tvars.{} = \"\"\n", help(arg), variable(arg)))
        .collect();
    format!(
        "{HEAD}object CheckCommand \"nats_service\" {{
\timport \"ipv4-or-ipv6\"

\tcommand = [ PluginContribDir + \"/check_nats_service\" ]

\targuments = {{
{arguments}\t}}

\t// Not as arguments, which every user of the host can read.
{environment}
{unset}
\t// The host, where neither a server nor a context is given.
\tvars.nats_service_hostname = {{{{
\t\tif (macro(\"$nats_service_server$\") || macro(\"$nats_service_context$\")) {{ return \"\" }}
\t\treturn macro(\"$check_address$\")
\t}}}}
}}

// Every service of the account, with the same variables, but for the name.
object CheckCommand \"nats_services\" {{
\timport \"nats_service\"

\tcommand = [ PluginContribDir + \"/check_nats_service\", \"--all\" ]

\targuments.remove(\"--name\")
\targuments += {{
{of_all}\t}}
}}

// NATS itself. Checks of services depend on it (services.conf), so that one notification says that NATS is away, and not one for each.
object CheckCommand \"nats_server\" {{
\timport \"nats_service\"

\tcommand = [ PluginContribDir + \"/check_nats_service\", \"server\" ]

\targuments = {{
{of_server}\t}}
}}
"
    )
}

/// A fixed id, by which Director knows the field again when the basket is restored a second time.
fn uuid(name: &str) -> String {
    let [high, low] = ["director", "basket"].map(|salt| digest(salt.bytes().chain(name.bytes())));
    let hex = format!("{high:016x}{low:016x}");
    // Version 8, a form of one's own, and the variant of RFC 9562.
    format!(
        "{}-{}-8{}-8{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[13..16],
        &hex[17..20],
        &hex[20..]
    )
}

/// The flags that are variables of Icinga.
fn own(command: &Command) -> impl Iterator<Item = &Arg> {
    command
        .get_arguments()
        .filter(|arg| !matches!(arg.get_id().as_str(), "help" | "version" | "all"))
}

fn server_command(command: &Command) -> &Command {
    command.find_subcommand("server").expect("the check of the server")
}

/// The variables of the CheckCommands as data fields, and service templates, for Icinga Director: its kickstart knows the commands, which
/// the packages install, and not their variables.
fn director_basket() -> String {
    let command = cli::whole_command();
    let mut numbers = Map::new();
    let mut fields = Map::new();
    for (n, arg) in own(&command).enumerate() {
        // A number of the basket, which Director replaces by its own.
        let number = n + 1;
        let name = variable(arg);
        let (datatype, settings) = match arg.get_action() {
            ArgAction::SetTrue => ("Boolean", json!({})),
            ArgAction::Append => ("Array", json!({})),
            _ if secret(arg).is_some() => ("String", json!({"visibility": "hidden"})),
            _ => ("String", json!({"visibility": "visible"})),
        };
        fields.insert(
            number.to_string(),
            json!({
                "uuid": uuid(&name),
                "varname": name,
                "caption": format!("NATS service: {}", arg.get_id().as_str().replace('-', " ")),
                "description": arg.get_help().map(ToString::to_string),
                "datatype": format!("Icinga\\Module\\Director\\DataType\\DataType{datatype}"),
                "format": null,
                "settings": settings,
            }),
        );
        numbers.insert(name, number.into());
    }
    let mut commands = Map::new();
    let mut templates = Map::new();
    let of_one = |arg: &&Arg| !OF_ALL.contains(&arg.get_id().as_str());
    let of_all = |arg: &&Arg| arg.get_id() != "name";
    let check_commands: [(&str, &str, Vec<&Arg>); 3] = [
        ("nats_service", "", own(&command).filter(of_one).collect()),
        ("nats_services", " --all", own(&command).filter(of_all).collect()),
        ("nats_server", " server", own(server_command(&command)).collect()),
    ];
    for (name, flag, args) in check_commands {
        let fields = args.into_iter().map(|arg| {
            let is_required = if arg.get_id() == "name" { "y" } else { "n" };
            json!({"datafield_id": numbers[&variable(arg)], "is_required": is_required, "var_filter": null})
        });
        let object = json!({
            "command": format!("check_nats_service{flag}"),
            "fields": fields.collect::<Value>(),
            "methods_execute": "PluginCheck",
            "object_name": name,
            "object_type": "external_object",
        });
        commands.insert(name.to_owned(), object);
        let template = format!("tpl-service-{}", name.replace('_', "-"));
        let object = json!({
            "check_command": name,
            "check_interval": if name == "nats_server" { 20 } else { 60 },
            "fields": [],
            "imports": [],
            "max_check_attempts": if name == "nats_server" { 2 } else { 3 },
            "object_name": template,
            "object_type": "template",
            "retry_interval": if name == "nats_server" { 10 } else { 20 },
            "vars": {},
        });
        templates.insert(template, object);
    }
    let basket = json!({"ExternalCommand": commands, "ServiceTemplate": templates, "Datafield": fields});
    serde_json::to_string_pretty(&basket).expect("JSON") + "\n"
}

const HEAD: &str = "\
// CheckCommands of check_nats_service: is a NATS micro service (ADR-32) up, are all of an account, is NATS itself? Each flag is
// a variable, nats_service_ and its name.
//
// Made by `cargo run --example make_packaging packaging`: change it there. How services use it: services.conf.

";

fn argument(arg: &Arg) -> String {
    let flag = arg.get_long().unwrap_or_else(|| arg.get_id().as_str());
    let variable = variable(arg);
    let mut lines = match arg.get_action() {
        ArgAction::SetTrue => vec![format!("set_if = \"${variable}$\"")],
        // As many times as the variable says: true or 1, 2, 3.
        ArgAction::Count => {
            let short = arg.get_short().unwrap_or('v');
            let most: String = std::iter::repeat_n(short, 3).collect();
            vec![
                format!("set_if = \"${variable}$\""),
                "skip_key = true".into(),
                format!("value = {{{{ \"-\" + \"{most}\".substr(0, Math.min(3, number(macro(\"${variable}$\")))) }}}}"),
            ]
        }
        // Its default can be empty.
        _ if flag == "hostname" => vec![
            format!("value = \"${variable}$\""),
            format!("set_if = {{{{ macro(\"${variable}$\") != \"\" }}}}"),
        ],
        _ => vec![format!("value = \"${variable}$\"")],
    };
    if matches!(arg.get_action(), ArgAction::Append) {
        lines.push("repeat_key = true".into());
    }
    if flag == "name" {
        lines.push("required = true".into());
    }
    lines.push(format!("description = \"{}\"", help(arg)));
    let lines: String = lines.iter().map(|line| format!("\t\t\t{line}\n")).collect();
    format!("\t\t\"--{flag}\" = {{\n{lines}\t\t}}\n")
}

fn variable(arg: &Arg) -> String {
    format!("nats_service_{}", arg.get_id().as_str().replace('-', "_"))
}

fn help(arg: &Arg) -> String {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    help.replace('\\', "\\\\").replace('"', "\\\"")
}

fn secret(arg: &Arg) -> Option<&'static str> {
    let id = arg.get_id().as_str();
    SECRETS
        .iter()
        .find(|(name, _)| *name == id)
        .map(|(_, variable)| *variable)
}
