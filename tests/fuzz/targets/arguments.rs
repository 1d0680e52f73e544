//! The command line, with zero bytes between its words, and variables among them (`NATS_URL=…`): each mistake is one line,
//! and none shows a secret.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Instant;

use check_nats_service::cli::{self, AllConfig, AllServices, Command, Format};
use check_nats_service::render::report::Report;
use check_nats_service::values::status::Reason;

use super::told::assert_told_well;
use super::{SECRET, Target};

pub const TARGET: Target = Target {
    name: "arguments",
    run,
    seeds: &[
        "-n\0orders\0-w\x003:\0-c\x001:",
        "check\0-n\0orders\0-s\0nats://u:zq9Zq9@h:1,tls://h2\0--format\0json\0-vvv",
        "-n\0orders\0--user\0mon\0--password\0zq9Zq9\0-H\0h\0-p\x004222",
        "-n\0orders\0--token=zq9Zq9\0--confirm\x000\0--stall\x001ms",
        "textfile\0-n\0orders\0-o\0f.prom\0--label\0a=b\0--per-instance",
        "probe\0liveness\0-n\0orders\0--match\0pod=x\0--match-env\0a=NATS_USER\0NATS_USER=x",
        "probe\0readiness\0-n\0orders\0--id\0A\0--from\0f\0--max-age\x001m\0--unreachable\0pass",
        "watch\0-n\0orders\0--interval\x0015s\0--status-file\0f",
        "state\0show\0-n\0orders",
        "state\0reset\0-n\0orders\0--state-dir\0d",
        "--help",
        "probe\0--help",
        "--version",
        "-n\0orders\0--request\0find\0--payload\0zq9Zq9\0--header\0A:zq9Zq9\0--reply-contains\0x\0--request-warning\x001s",
        "-n\0orders\0--lost-warning\x0050%\0--restarts-warning\x003\0--expect-version\0^1.4\0--mixed-versions\0warning\0--error-rate-warning\x001%",
        "-n\0orders\0NATS_URL=nats://u:zq9Zq9@h\0NATS_PASSWORD=zq9Zq9\0NATS_USER=u",
        "-n\0orders\0NATS_URL=nats://u:zq9Zq9@h:port/x",
        "-n\0orders\0-s\0nats://u:zq9Zq9@h,zq9Zq9@,",
        "-n\0orders\0--pasword\0x",
    ],
    samples: None,
    words: &[
        "\0",
        "-n\0orders\0",
        "-s\0",
        "--server=",
        "--password\0",
        "--password=",
        "--token\0",
        "--token=",
        "--user\0u\0",
        "--payload=",
        "--header=A:",
        "--header\0",
        "--request\0e\0",
        "--subject\0",
        "NATS_URL=",
        "NATS_PASSWORD=",
        "NATS_TOKEN=",
        "NATS_USER=",
        "@",
        "nats://u:zq9Zq9@",
        SECRET,
        "check\0",
        "textfile\0",
        "probe\0",
        "liveness\0",
        "watch\0",
        "state\0",
        "--",
        "-h",
        "-V",
        "-w\0",
        "-c\0",
        "--timeout=",
        "--label=",
        "--format=",
        "--match\0",
        "--id=",
        "--inbox-prefix=",
        "--srv-prefix=",
        "\n",
        "'",
        "|",
        "=",
        ":",
    ],
};

/// Flags and variables whose values are secrets.
const SECRETS: [&str; 5] = ["--password", "--token", "--payload", "NATS_PASSWORD", "NATS_TOKEN"];

/// Those that name files: this reads none.
const FILES: [&str; 12] = [
    "--creds",
    "--nkey",
    "--context",
    "--tls",
    "--password-file",
    "--token-file",
    "--payload-file",
    "--id-file",
    "--from",
    "NATS_CREDS",
    "NATS_NKEY",
    "NATS_C",
];

fn run(input: &[u8]) {
    let words: Vec<OsString> = input
        .split(|b| *b == 0)
        .map(|word| OsString::from_vec(word.to_vec()))
        .collect();
    let is_variable = |word: &&OsString| word.to_string_lossy().starts_with("NATS_");
    let (variables, words): (Vec<&OsString>, Vec<&OsString>) = words.iter().partition(is_variable);
    let args: Vec<OsString> = [&OsString::from("check_nats_service")]
        .into_iter()
        .chain(words)
        .cloned()
        .collect();
    let env = |name: &str| {
        let value = variables
            .iter()
            .find_map(|word| word.to_str()?.strip_prefix(name)?.strip_prefix('='));
        value.map(OsString::from)
    };
    let hidden = all_secrets_are_in_their_places(&args, &variables);
    let told = |text: String| {
        assert!(!hidden || !text.contains(SECRET), "shows a secret: {text}");
        assert_told_well(&Report::unknown("", Reason::Usage, format!("{text} (see --help)")));
    };
    Format::guess(&args);
    let arguments = match cli::parse(&args, &env) {
        Err(problem) => return told(problem),
        Ok(Command::Print(text)) => return assert!(text.ends_with('\n'), "{text}"),
        Ok(Command::StateList(_)) => return,
        Ok(Command::Check(arguments) | Command::StateShow(arguments, _) | Command::StateReset(arguments)) => arguments,
        Ok(Command::Server(arguments)) => arguments,
        Ok(Command::Textfile(arguments, _)) => arguments,
        Ok(Command::Probe(arguments, _)) => arguments,
        Ok(Command::List(arguments, _)) => arguments,
        Ok(Command::Watch(arguments, _)) => arguments,
    };
    let names_a_file = |word: &&OsString| FILES.iter().any(|flag| word.to_string_lossy().starts_with(flag));
    if args
        .iter()
        .chain(variables.iter().copied())
        .any(|word| names_a_file(&word))
    {
        return;
    }
    match arguments.target(&env, Instant::now()) {
        Err(problem) => told(problem.text().to_owned()),
        Ok(target) => {
            let shown = format!("{target:?}");
            assert!(!hidden || !shown.contains(SECRET), "{shown}");
            assert!(!target.servers.is_empty());
            let timing = arguments.settings.timing;
            assert!(!timing.timeout.is_zero() && !timing.stall.is_zero());
            let config = AllConfig {
                services: AllServices::default(),
                target,
                settings: arguments.settings,
            };
            let account = format!("{:?}", config.account_key());
            assert!(!hidden || !account.contains(SECRET), "{account}");
        }
    }
}

/// Returns `true` if each secret stands where secrets belong: text that a user puts elsewhere may be shown.
fn all_secrets_are_in_their_places(args: &[OsString], variables: &[&OsString]) -> bool {
    let texts: Vec<String> = args.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let in_url = |text: &str| text.rsplit_once('@').is_some_and(|(_, host)| !host.contains(SECRET));
    let header = |text: &str| text.split_once(':').is_some_and(|(key, _)| !key.contains(SECRET));
    let is_value = |flag: &str, value: &str| match flag {
        "-s" | "--server" | "NATS_URL" => in_url(value),
        "--header" => header(value),
        flag => SECRETS.contains(&flag),
    };
    let of_args = texts.iter().enumerate().all(|(n, text)| {
        let before = n.checked_sub(1).and_then(|n| texts.get(n)).map_or("", String::as_str);
        let inline = text.split_once('=').is_some_and(|(flag, value)| is_value(flag, value));
        !text.contains(SECRET) || inline || is_value(before, text)
    });
    of_args
        && variables.iter().all(|word| {
            let word = word.to_string_lossy();
            !word.contains(SECRET) || word.split_once('=').is_some_and(|(name, value)| is_value(name, value))
        })
}
