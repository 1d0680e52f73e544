use super::*;

use std::time::Duration;

use crate::connect::target::Auth;
use crate::judge::Policy;
use crate::render::prometheus::{Label, Style};
use crate::state::store::StateLocation;
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
        Command::Check(arguments) => {
            let target = arguments.target(&env, Instant::now() + Duration::from_secs(10));
            let Scope::One(service) = arguments.scope.clone() else {
                panic!("all services");
            };
            Ok(Config {
                service,
                target: target.map_err(|problem| problem.text().to_owned())?,
                settings: arguments.settings,
            })
        }
        other => panic!("no check: {other:?}"),
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
fn clap_accepts_the_definition_of_the_flags() {
    command().debug_assert();
}

#[test]
fn options_that_are_not_given_have_their_defaults() {
    let config = parsed("", &[]).expect("a name is enough");
    assert_eq!(
        config.target.subject("PING", config.service.as_str()),
        "$SRV.PING.orders"
    );
    assert_eq!(config.target.servers[0].address(), "127.0.0.1:4222");
    assert_eq!(config.target.auth, Auth::None);
    let Timing {
        timeout,
        confirm,
        stall,
        census,
    } = config.settings.timing;
    assert_eq!(
        [timeout, confirm, stall, census].map(|d| d.as_millis()),
        [10_000, 5000, 300, 300_000]
    );
    assert_eq!(config.settings.policy, Policy::default());
    assert_eq!(config.settings.location, StateLocation::Default);
    let nats = Label {
        name: "nats".to_owned(),
        value: "127.0.0.1".to_owned(),
    };
    let metrics = Style {
        labels: vec![nats],
        per_instance: false,
    };
    assert_eq!(
        config.settings.output,
        OutputOptions {
            metrics,
            ..OutputOptions::default()
        }
    );
}

#[test]
fn given_options_are_used() {
    let config = parsed(
        "-w 3: -c @0 --rtt-warning 100ms --rtt-critical 2 --never-seen CRITICAL --unreachable warning --silent ok \
         --forget-after 2d -t 5 --confirm 0 --stall 1s --census 1h -vv --no-state --srv-prefix APP.$SRV",
        &[],
    )
    .expect("all of it is right");
    assert_eq!(config.settings.policy.warning, Range::parse("3:").ok());
    assert_eq!(config.settings.policy.critical, Range::parse("@0").ok());
    assert_eq!(config.settings.policy.rtt_warning, Some(Duration::from_millis(100)));
    assert_eq!(config.settings.policy.rtt_critical, Some(Duration::from_secs(2)));
    assert_eq!(config.settings.policy.never_seen, Status::Critical);
    assert_eq!(config.settings.policy.unreachable, Status::Warning);
    assert_eq!(config.settings.policy.silent, Status::Ok);
    assert_eq!(config.settings.policy.forget_after, Some(Duration::from_secs(172_800)));
    assert!(!config.settings.policy.remembers);
    assert_eq!(config.settings.timing.timeout, Duration::from_secs(5));
    assert_eq!(config.settings.timing.confirm, Duration::ZERO);
    assert_eq!(
        config.target.subject("PING", config.service.as_str()),
        "APP.$SRV.PING.orders"
    );
    assert_eq!(
        (config.settings.location, config.settings.output.verbosity),
        (StateLocation::Nowhere, 2)
    );
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

/// A host in the place of the one in a URL takes no TLS away.
#[test]
fn a_host_keeps_the_tls_of_the_url_that_it_replaces() {
    for (args, url, tls) in [
        ("-H h", "tls://nats:4222", true),
        ("-H h -p 1", "nats://a,tls://b", true),
        ("-H h", "nats://nats:4222", false),
        ("-s nats://h", "tls://nats:4222", false),
    ] {
        let servers = parsed(args, &[("NATS_URL", url)]).expect("a host").target.servers;
        assert_eq!((servers.len(), servers[0].tls), (1, tls), "{args} {url}");
    }
}

#[test]
fn contradicting_flags_are_reported() {
    let both = [("NATS_USER", "u"), ("NATS_TOKEN", "t")];
    let cases: &[(&str, Variables, &str)] = &[
        ("--password p", &[], "a password needs a user: give --user"),
        (
            "-s u:p@h --user u",
            &[],
            "credentials twice: in the URL of --server and in flags of their own, give them once",
        ),
        ("", &both, "NATS_TOKEN and NATS_USER are both set, unset one"),
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
fn state_key_has_the_user_and_no_threshold() {
    let question = |args: &str| parsed(args, &[]).expect("right arguments").state_key();
    let one = question("-s nats://b:2,u:p@a:1 -w 3:");
    assert_eq!(one.servers, ["a:1", "b:2"]);
    assert_eq!(one.user.as_deref(), Some("u"));
    assert_eq!(one, question("-s a:1,b:2 --user u --password other -c 1: -t 3"));
    assert_ne!(one, question("-s a:1,b:2"));
    assert_eq!(question("--token t").user, None);
    assert_eq!(question("-H h").servers, ["h:4222"]);
    assert_eq!(question("-H ::1 -p 5").servers, ["[::1]:5"]);
}
