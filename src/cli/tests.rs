use super::*;

use std::time::Duration;

use clap::Command;
use clap::parser::ValueSource;

use crate::judge::Policy;
use crate::probe::target::Auth;
use crate::state::store::Place;
use crate::values::range::Range;
use crate::values::secret::Secret;
use crate::values::status::Status;

type Variables<'a> = &'a [(&'a str, &'a str)];

fn parsed(args: &str, env: Variables<'_>) -> Result<Config, String> {
    let args = ["check_nats_service", "-n", "orders"]
        .into_iter()
        .chain(args.split_whitespace());
    let env = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
    match parse(&args.map(OsString::from).collect::<Vec<_>>(), &env)? {
        Parsed::Run(typed) => {
            let target = typed.target(&env, Instant::now() + Duration::from_secs(10));
            Ok(typed.with_target(target.map_err(|problem| problem.text().to_owned())?))
        }
        Parsed::Print(text) => panic!("printed {text}"),
    }
}

fn user(user: &str, password: &str) -> Auth {
    Auth::UserPassword {
        user: user.into(),
        password: Secret::new(password),
    }
}

fn token(token: &str) -> Auth {
    Auth::Token(Secret::new(token))
}

#[test]
fn the_definition_is_sound() {
    command().debug_assert();
}

/// All that was found in the arguments, down to the command that was meant; nothing if they are wrong.
fn found(command: Command, args: &[&str]) -> Option<Vec<String>> {
    let whole = whole_command();
    let mut matches = command.try_get_matches_from(args).ok()?;
    let (mut of, mut found) = (&whole, Vec::new());
    while let Some((name, below)) = matches.remove_subcommand() {
        of = of.find_subcommand(&name).expect("a command");
        found.push(name);
        matches = below;
    }
    for id in of.get_arguments().map(clap::Arg::get_id) {
        let values = matches.try_get_raw(id.as_str()).ok().flatten();
        if matches.try_contains_id(id.as_str()).unwrap_or(false)
            && matches.value_source(id.as_str()) == Some(ValueSource::CommandLine)
        {
            found.push(format!("{id} {:?}", values.map(Iterator::collect::<Vec<_>>)));
        }
    }
    Some(found)
}

#[track_caller]
fn assert_same(args: &[&str]) {
    let used = command_for(&args.iter().map(OsString::from).collect::<Vec<_>>());
    assert_eq!(found(used, args), found(command(), args), "{args:?}");
}

/// The words of one flag, with a value where it takes one.
fn words(flag: &clap::Arg) -> Vec<String> {
    let name = format!("--{}", flag.get_long().expect("a long name"));
    match flag.get_action().takes_values() {
        true => vec![name, "1".into()],
        false => vec![name],
    }
}

#[test]
fn only_what_is_used_is_defined_and_means_the_same() {
    let whole = whole_command();
    let commands: [&[&str]; 9] = [
        &[],
        &["check"],
        &["textfile"],
        &["watch"],
        &["probe", "liveness"],
        &["probe", "readiness"],
        &["probe", "startup"],
        &["state", "show"],
        &["state", "reset"],
    ];
    for names in commands {
        let of = names
            .iter()
            .fold(&whole, |of, name| of.find_subcommand(name).expect("a command"));
        let line = |words: Vec<String>| {
            let args = ["check_nats_service"].iter().chain(names).copied();
            assert_same(&args.chain(words.iter().map(String::as_str)).collect::<Vec<_>>());
        };
        for flag in of.get_arguments().filter(|flag| flag.get_id() != "help") {
            line(words(flag));
            for other in of.get_arg_conflicts_with(flag) {
                line([words(flag), words(other)].concat());
            }
        }
    }
}

#[test]
fn whatever_is_typed_is_understood_in_the_same_way() {
    for line in [
        "",
        "-norders -w3: -c=1: -vvv",
        "-vn orders",
        "--service orders --name=orders",
        "--service=orders",
        "-n orders -p 4222",
        "-n orders -H host -p 4222",
        "-n orders -p -H",
        "--payload -x --header -w --header -c -n orders",
        "--user -n --password --token -n orders",
        "--name --payload x",
        "-n orders check",
        "check -n orders check",
        "check check",
        "probe",
        "probe liveness readiness",
        "probe aliveness",
        "state show reset",
        "textfile -n orders",
        "textfile -n orders -o FILE",
        "textfile -n orders --output=FILE --exit-status",
        "watch --interval 5s -- x",
        "-n orders --",
        "-n orders -- --stats",
        "-n orders -- check",
        "-s watch -n probe",
        "--stats=yes",
        "--sta",
        "-x",
        "-",
        "--",
        "--=x",
        "-é",
        "--no-state --state x",
        "probe liveness --from F --max-age 1m --id 1",
        "probe liveness --max-age 1m --id 1",
        "probe liveness --match a=b --match-env c=d --match e=f",
    ] {
        let args: Vec<&str> = ["check_nats_service"]
            .into_iter()
            .chain(line.split_whitespace())
            .collect();
        assert_same(&args);
    }
    assert_same(&[]);
}

#[test]
fn what_is_not_said_has_its_default() {
    let config = parsed("", &[]).expect("a name is enough");
    assert_eq!(config.mode, Mode::Check);
    assert_eq!(config.target.ping_subject(), "$SRV.PING.orders");
    assert_eq!(config.target.servers[0].address(), "127.0.0.1:4222");
    assert_eq!(config.target.auth, Auth::None);
    let Timing {
        timeout,
        confirm,
        stall,
        census,
        ..
    } = config.timing;
    assert_eq!(
        [timeout, confirm, stall, census].map(|d| d.as_millis()),
        [10_000, 3000, 300, 300_000]
    );
    assert_eq!(config.policy, Policy::default());
    assert_eq!(
        (config.place, config.output),
        (Place::Default, OutputOptions::default())
    );
}

#[test]
fn what_is_said_is_taken() {
    let config = parsed(
        "-w 3: -c @0 --rtt-warning 100ms --rtt-critical 2 --never-seen CRITICAL --unreachable warning --silent ok \
         --forget-after 2d -t 5 --confirm 0 --stall 1s --census 1h -vv --no-state --srv-prefix APP.$SRV",
        &[],
    )
    .expect("all of it is right");
    assert_eq!(config.policy.warning, Range::parse("3:").ok());
    assert_eq!(config.policy.critical, Range::parse("@0").ok());
    assert_eq!(config.policy.rtt_warning, Some(Duration::from_millis(100)));
    assert_eq!(config.policy.rtt_critical, Some(Duration::from_secs(2)));
    assert_eq!(config.policy.never_seen, Status::Critical);
    assert_eq!(config.policy.unreachable, Status::Warning);
    assert_eq!(config.policy.silent, Status::Ok);
    assert_eq!(config.policy.forget_after, Some(Duration::from_secs(172_800)));
    assert!(!config.policy.remembers);
    assert_eq!(config.timing.timeout, Duration::from_secs(5));
    assert_eq!(config.timing.confirm, Duration::ZERO);
    assert_eq!(config.target.ping_subject(), "APP.$SRV.PING.orders");
    assert_eq!((config.place, config.output.verbosity), (Place::Nowhere, 2));
}

/// Flags, variables, what all servers are asked with, and what the first one has in its URL.
#[test]
fn flags_beat_variables_and_urls_beat_the_rest_of_their_kind() {
    let vars = [("NATS_USER", "vu"), ("NATS_PASSWORD", "vp")];
    let cases: &[(&str, Variables, Auth, Option<Auth>)] = &[
        ("", &[], Auth::None, None),
        ("--user u --password p", &[], user("u", "p"), None),
        ("--user u", &[], token("u"), None),
        ("--token t", &[], token("t"), None),
        ("--password -p- --user -u", &[], user("-u", "-p-"), None),
        ("", &vars, user("vu", "vp"), None),
        ("--user u --password p", &vars, user("u", "p"), None),
        ("--user u", &vars, user("u", "vp"), None),
        ("--password p", &vars, user("vu", "p"), None),
        ("--token t", &vars, token("t"), None),
        ("", &[("NATS_USER", "vu")], token("vu"), None),
        ("", &[("NATS_TOKEN", "vt")], token("vt"), None),
        ("", &[("NATS_TOKEN", ""), ("NATS_USER", "")], Auth::None, None),
        ("", &[("NATS_PASSWORD", "of something else")], Auth::None, None),
        ("-s u:p@h", &[], Auth::None, Some(user("u", "p"))),
        ("-s u:p@h", &vars, user("vu", "vp"), Some(user("u", "p"))),
        (
            "",
            &[("NATS_URL", "u:p@h"), ("NATS_USER", "vu")],
            token("vu"),
            Some(user("u", "p")),
        ),
        ("--token t", &[("NATS_URL", "u:p@h")], token("t"), None),
        ("-s h", &[("NATS_URL", "u:p@h")], Auth::None, None),
        ("-H h -p 1", &[("NATS_URL", "u:p@h")], Auth::None, None),
    ];
    for (args, env, auth, in_url) in cases {
        let config = parsed(args, env).unwrap_or_else(|e| panic!("{args:?} {env:?}: {e}"));
        assert_eq!(
            (&config.target.auth, &config.target.servers[0].auth),
            (auth, in_url),
            "{args:?} {env:?}"
        );
    }
}

#[test]
fn contradictions_are_named() {
    let both = [("NATS_USER", "u"), ("NATS_TOKEN", "t")];
    let cases: &[(&str, Variables, &str)] = &[
        ("--password p", &[], "a password needs a user: give --user"),
        (
            "-s u:p@h --user u",
            &[],
            "credentials twice: in the URL of --server and in flags of their own; give them once",
        ),
        ("", &both, "NATS_TOKEN and NATS_USER are both set; unset one"),
        ("", &[("NATS_URL", " , ")], "NATS_URL: it names no server"),
        (
            "",
            &[("NATS_URL", "http://h")],
            "NATS_URL: 'http://h': the scheme http:// is not supported, use nats:// or tls://",
        ),
    ];
    for (args, env, message) in cases {
        assert_eq!(parsed(args, env).err().as_deref(), Some(*message), "{args:?} {env:?}");
    }
}

#[test]
fn the_question_knows_the_user_and_no_threshold() {
    let question = |args: &str| parsed(args, &[]).expect("right arguments").question();
    let one = question("-s nats://b:2,u:p@a:1 -w 3:");
    assert_eq!(one.servers, ["a:1", "b:2"]);
    assert_eq!(one.user.as_deref(), Some("u"));
    assert_eq!(one, question("-s a:1,b:2 --user u --password other -c 1: -t 3"));
    assert_ne!(one, question("-s a:1,b:2"));
    assert_eq!(question("--token t").user, None);
    assert_eq!(question("-H h").servers, ["h:4222"]);
    assert_eq!(question("-H ::1 -p 5").servers, ["[::1]:5"]);
}
