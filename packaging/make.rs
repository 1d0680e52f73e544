//! Writes what is made of the definition of the flags: Icinga's CheckCommands, and the completions of the shells; and the alerts of
//! Prometheus as an object of its operator. A test keeps the committed files so.
//!
//! `cargo run --example make_packaging packaging`

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use check_nats_service::cli;
use clap::{Arg, ArgAction};
use clap_complete::Shell;

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
        &packaging.join("kubernetes/prometheusrule.yaml"),
        prometheus_rule().as_bytes(),
    )?;
    for (shell, name) in [
        (Shell::Bash, "check_nats_service.bash"),
        (Shell::Zsh, "_check_nats_service"),
        (Shell::Fish, "check_nats_service.fish"),
    ] {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut cli::whole_command(), "check_nats_service", &mut script);
        write(&packaging.join("completions").join(name), &script)?;
    }
    Ok(())
}

fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    fs::write(path, text)
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
    let own = |arg: &&Arg| !matches!(arg.get_id().as_str(), "help" | "version" | "all");
    let of_all = |arg: &&Arg| OF_ALL.contains(&arg.get_id().as_str());
    let (secrets, plain): (Vec<&Arg>, Vec<&Arg>) = command
        .get_arguments()
        .filter(own)
        .partition(|arg| secret(arg).is_some());
    let (of_all, of_one): (Vec<&Arg>, Vec<&Arg>) = plain.into_iter().partition(of_all);
    let [arguments, of_all] = [of_one, of_all].map(|args| args.into_iter().map(argument).collect::<String>());
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
\tcommand = [ PluginContribDir + \"/check_nats_service\" ]

\targuments = {{
{arguments}\t}}

\t// Not as arguments, which every user of the host can read.
{environment}
{unset}}}

// Every service of the account, with the same variables, but for the name.
object CheckCommand \"nats_services\" {{
\timport \"nats_service\"

\tcommand = [ PluginContribDir + \"/check_nats_service\", \"--all\" ]

\targuments.remove(\"--name\")
\targuments += {{
{of_all}\t}}
}}
"
    )
}

const HEAD: &str = "\
// CheckCommands of check_nats_service: is a NATS micro service (ADR-32) up, and are all of an account? Each flag is a variable,
// nats_service_ and its name.
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
