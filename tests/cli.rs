//! Arguments as typed by people: each mistake gets one line that names it and the way out, and ends with status 3.

use crate::support::{Check, Server, TempDir, Version};

fn says(args: &[&str], line: &str) {
    Check::new(args)
        .run()
        .assert(3, &format!("NATS_SERVICE UNKNOWN - {line} (see --help)"));
}

#[test]
fn help_and_version_are_no_errors() {
    let version = format!("check_nats_service {}", env!("CARGO_PKG_VERSION"));
    for flag in ["--version", "-V"] {
        Check::new([flag]).run().assert(0, &version);
    }
    let help = Check::new(["--help"]).run();
    assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""));
    assert!(
        help.stdout
            .contains("Usage: check_nats_service [check] -n NAME [OPTIONS]"),
        "{}",
        help.stdout
    );
    for args in [
        vec!["-h"],
        vec!["-n", "orders", "-h"],
        vec!["check", "--help"],
        vec!["state", "show", "--help"],
    ] {
        let other = Check::new(&args).run();
        assert_eq!((other.code, other.stderr.as_str()), (Some(0), ""), "{args:?}");
        assert!(
            other.stdout.contains("Usage: check_nats_service"),
            "{args:?}: {}",
            other.stdout
        );
    }
}

#[test]
fn a_mistake_is_one_line() {
    says(&[], "which service? Give its name with --name, or say --all");
    says(&["check"], "which service? Give its name with --name, or say --all");
    says(
        &["state", "show"],
        "which service? Give its name with --name, or say --all",
    );
    says(
        &["state"],
        "'check_nats_service state' requires a subcommand but one was not provided [subcommands: show, reset, list]",
    );
    says(
        &["state", "forget", "-n", "orders"],
        "what about the state? Say state show, reset or list",
    );
    says(
        &["orders"],
        "'orders' is not a command: check, textfile, probe, watch, state, list or server",
    );
    says(
        &["-n", "a", "state", "show"],
        "say state first, and the flags behind it",
    );
    says(&["-n"], "a value is required for '--name <NAME>' but none was supplied");
    says(
        &["-n", "a", "-n", "b"],
        "the argument '--name <NAME>' cannot be used multiple times",
    );
    says(
        &["-n", "a", "--timeot", "3"],
        "unexpected argument '--timeot' found, a similar argument exists: '--timeout'",
    );
    says(
        &["-n", "a", "--state", "x", "--no-state"],
        "the argument '--state <FILE>' cannot be used with '--no-state'",
    );
    says(
        &["-n", "a", "-s", "nats://h", "-p", "4223"],
        "--server and --port: write the port into the URL, like nats://nats.example.org:4223",
    );
    says(
        &["-n", "a", "-s", "nats://h", "-H", "h"],
        "the argument '--server <URL[,URL...]>' cannot be used with '--hostname <HOST>'",
    );
    says(
        &["-n", "a", "-p", "4222"],
        "the following required arguments were not provided: --hostname <HOST>",
    );
}

/// The Nagios commands always give the host: a variable of the daemon's own environment does not change that.
#[test]
fn hostname_and_port_beat_nats_url() {
    for command in [&["-n", "a", "--no-state"][..], &["server"]] {
        let out = Check::new(command)
            .args(["-H", "127.0.0.1", "-p", "1"])
            .env("NATS_URL", "nats://127.0.0.1:2")
            .run();
        assert!(out.stdout.contains("cannot reach NATS at 127.0.0.1:1: "), "{out:?}");
        let of_variable = Check::new(command).env("NATS_URL", "nats://127.0.0.1:2").run();
        assert!(
            of_variable.stdout.contains("cannot reach NATS at 127.0.0.1:2: "),
            "{of_variable:?}"
        );
    }
}

#[test]
fn a_bad_value_is_named() {
    let cases: &[(&[&str], &str)] = &[
        (&["-n", ""], "--name: the service name is empty"),
        (
            &["-n", "or.ders"],
            "--name: 'or.ders' is no service name: it has letters, digits, '-' and '_' only (ADR-32)",
        ),
        (
            &["-n", "x 0\r\nPUB victim 5\r\n"],
            "--name: 'x 0??PUB victim 5??' is no service name: it has letters, digits, '-' and '_' only (ADR-32)",
        ),
        (
            &["-n", "a", "--srv-prefix", "APP.>"],
            "--srv-prefix: 'APP.?' is no subject prefix: it has tokens with dots between them, without blanks and \
             wildcards, like APP.$SRV",
        ),
        (
            &["-n", "a", "-t", "3x"],
            "--timeout: '3x' is not a duration like 500ms, 10s, 15m or 1h30m",
        ),
        (&["-n", "a", "-t", "0"], "--timeout: it must be longer than 0"),
        (&["-n", "a", "--stall", "0s"], "--stall: it must be longer than 0"),
        (
            &["-n", "a", "-w", "5:1"],
            "--warning: '5:1': the start 5 is above the end 1",
        ),
        (&["-n", "a", "-c", "few"], "--critical: 'few': 'few' is not a number"),
        (
            &["-n", "a", "--silent", "good"],
            "--silent: 'good' is not a status: ok, warning, unknown or critical",
        ),
        (
            &["-n", "a", "-s", "http://h"],
            "--server: 'http://h': the scheme http:// is not supported, use nats:// or tls://",
        ),
        (
            &["-n", "a", "-H", "h", "-p", "http"],
            "--port: it must be a number from 1 to 65535",
        ),
        (
            &["-n", "a", "-H", "h", "-p", "0"],
            "--port: it must be a number from 1 to 65535",
        ),
        (
            &["-n", "a", "-H", "h/x"],
            "--hostname: it is not a host name or address",
        ),
        (
            &["-n", "a", "-H", "nats://h"],
            "--hostname takes a host only, give a URL with --server",
        ),
        (&["-n", "a", "--state", ""], "--state: the name is empty"),
    ];
    for (args, line) in cases {
        says(args, line);
    }
    // The help knows nothing of a file.
    for (args, line) in [
        (
            &["--user", "u", "--password-file", "/nonexistent/file"][..],
            "--password-file /nonexistent/file: No such file or directory (os error 2)",
        ),
        (
            &["--token-file", "/dev/null"],
            "--token-file /dev/null: its first line is empty",
        ),
    ] {
        let run = Check::new(["-n", "a"]).args(args).run();
        run.assert(3, &format!("NATS_SERVICE UNKNOWN - {line}"));
    }
}

#[test]
fn flags_for_all_services_and_for_one_are_not_mixed() {
    let dir = TempDir::new();
    let list = dir.path().join("expected");
    std::fs::write(&list, "orders\n# comment\n\nc.d # x\n").unwrap();
    let list = list.to_str().unwrap();
    let in_file = format!(
        "--expect-file {list}, line 4: 'c.d' is no service name: it has letters, digits, '-' and '_' only (ADR-32)"
    );
    let cases: [(&[&str], &str); 13] = [
        (&[], "which service? Give its name with --name, or say --all"),
        (
            &["--all", "-n", "orders"],
            "the argument '--all' cannot be used with '--name <NAME>'",
        ),
        (&["--only", "x"], "--only needs --all, in the place of --name"),
        (
            &["-n", "orders", "--exclude", "x"],
            "--exclude needs --all, in the place of --name",
        ),
        (
            &["-n", "orders", "--per-service"],
            "--per-service needs --all, in the place of --name",
        ),
        (
            &["--all", "--only", "a.b"],
            "--only: 'a.b' is not a pattern of names: letters, digits, - and _, * for any text, ? for one character",
        ),
        (
            &["--all", "--expect", "a.b"],
            "--expect: 'a.b' is no service name: it has letters, digits, '-' and '_' only (ADR-32)",
        ),
        (
            &["--all", "--expect", "a", "--exclude", "a"],
            "--expect: a is left out by --only or --exclude",
        ),
        (
            &["--all", "--request", "echo"],
            "--request is for one service: give its name with --name, and not --all",
        ),
        (
            &["--all", "--no-state", "-c", "1:"],
            "--no-state: without a state nobody knows which services there were, give --expect, or leave it out",
        ),
        (
            &["--all", "--adopt-after", "x"],
            "--adopt-after: 'x' is not a duration like 500ms, 10s, 15m or 1h30m",
        ),
        (
            &["list", "--format", "yaml"],
            "--format: 'yaml' is not a format: text, json, zabbix, icinga, nagios or prometheus-sd",
        ),
        (
            &["list", "--use", "x"],
            "--use: only the formats nagios and icinga have a template",
        ),
    ];
    for (args, line) in cases {
        let name = if args.contains(&"--all") {
            "NATS_SERVICES"
        } else {
            "NATS_SERVICE"
        };
        let expected = format!("{name} UNKNOWN - {line} (see --help)");
        Check::new(args).run().assert(3, &expected);
    }
    // The help knows nothing of a file.
    let missing = "--expect-file /nowhere: No such file or directory (os error 2)";
    for (file, line) in [("/nowhere", missing), (list, &in_file)] {
        let run = Check::new(["--all", "--expect-file", file]).run();
        run.assert(3, &format!("NATS_SERVICES UNKNOWN - {line}"));
    }
    let in_json = Check::new(["--all", "--format", "json", "--only", "a b"]).run();
    in_json.assert(3, "[{*\"reason\":\"usage\"*}]");
    let of_watch = ["watch", "--all", "--listen", ":9422", "--any-instance"];
    Check::new(of_watch).run().assert_stderr(
        3,
        "",
        "check_nats_service: --any-instance is for one service: give its name with --name, and not --all (see --help)",
    );
}

#[test]
fn arguments_that_are_not_utf_8_are_named() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let bad = OsStr::from_bytes(b"or\xffders");
    let line = |text| format!("NATS_SERVICE UNKNOWN - {text} (see --help)");
    Check::new(["-n"])
        .arg(bad)
        .run()
        .assert(3, &line("the value of --name is not UTF-8"));
    Check::new(["-n", "a"])
        .env("NATS_USER", bad)
        .run()
        .assert(3, &line("the variable NATS_USER is not UTF-8"));
}

#[test]
fn a_mistake_touches_no_state() {
    let home = TempDir::new();
    Check::new(["-n", "a", "-t", "0"])
        .home(&home)
        .run()
        .assert(3, "NATS_SERVICE UNKNOWN - *");
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn a_run_without_a_place_for_its_state_reports_it() {
    let run = Check::program(
        "env",
        [
            "-u",
            "HOME",
            crate::support::check::BINARY,
            "-n",
            "a",
            "-s",
            "127.0.0.1:1",
            "-v",
        ],
    )
    .run();
    run.assert(
        3,
        "NATS_SERVICE UNKNOWN - a: cannot reach NATS at 127.0.0.1:1: connection refused (is nats-server running there?), \
         no folder for the state: neither HOME nor XDG_STATE_HOME is set, give --state-dir, or --no-state to go without | *\n\
         UNKNOWN nats_unreachable\n\
         UNKNOWN state_unusable",
    );
    let run = Check::program(
        "env",
        ["-u", "HOME", crate::support::check::BINARY, "state", "show", "-n", "a"],
    )
    .run();
    run.assert(
        3,
        "NATS_SERVICE UNKNOWN - no folder for the state: neither HOME nor XDG_STATE_HOME is set, \
         give --state-dir, or --no-state to go without",
    );
}

/// The manual of the contract says `--service`; people type both.
#[test]
#[ignore = "needs nats-server"]
fn name_flag_has_the_alias_service() {
    let server = Server::start(Version::Newest);
    for flag in ["-n", "--name", "--service"] {
        Check::new([
            flag,
            "orders",
            "-s",
            &server.url(),
            "--no-state",
            "--confirm",
            "0",
            "-c",
            "1:",
        ])
        .run()
        .assert_first(
            2,
            "NATS_SERVICE CRITICAL - orders: 0 instances, fewer than 1 (range 1:), *",
        );
    }
}
