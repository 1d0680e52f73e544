//! No password and no token is ever seen in an output, an error, the state file or its name, wherever it was put by mistake.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use serde_json::json;

use crate::support::server::free_port;
use crate::support::{Check, Server, TempDir, Version, wait_for};

/// In every part of every secret below: no piece of one may be seen either.
const MARK: &str = "S3CRET";

/// What a run ends with: it got in, it was kept out, it got nowhere, or it did not begin.
const IN: &str = "NATS_SERVICE UNKNOWN - orders: never seen in this account, no responders; *";
const OUT: &str = "NATS_SERVICE UNKNOWN - orders: NATS at * (Authorization Violation)*";
const AWAY: &str = "NATS_SERVICE UNKNOWN - orders: cannot re*";
const USAGE: &str = "NATS_SERVICE UNKNOWN - *";

/// Arguments, variables, and the first line.
type Run = (
    &'static [&'static str],
    &'static [(&'static str, &'static str)],
    &'static str,
);

/// `USER`, `TOKEN` and `CLOSED` stand for the address of a server that wants the user u and [`PASSWORD`], of one that wants
/// the token `S3CRETt0ken`, and of none; `DIR` for a folder with files.
const RUNS: &[Run] = &[
    // Where they belong.
    (&["-s", "USER", "--user", "u", "--password", PASSWORD], &[], IN),
    (
        &["-s", "USER", "--user=u", "--password=S3CRET p@S3CRET/,S3CRET"],
        &[],
        IN,
    ),
    (&["-s", "USER", "--user", "u"], &[("NATS_PASSWORD", PASSWORD)], IN),
    (
        &["-s", "USER", "--user", "u", "--password-file", "DIR/password"],
        &[],
        IN,
    ),
    (&["-s", "USER"], &[("NATS_USER", "u"), ("NATS_PASSWORD", PASSWORD)], IN),
    (&["-s", "nats://u:S3CRET%20p%40S3CRET%2F%2CS3CRET@USER"], &[], IN),
    (&["-s", "u:S3CRET%20p%40S3CRET%2F%2CS3CRET@USER,CLOSED"], &[], IN),
    (
        &[],
        &[("NATS_URL", "nats://u:S3CRET%20p%40S3CRET%2F%2CS3CRET@USER")],
        IN,
    ),
    (&["-s", "TOKEN", "--token", "S3CRETt0ken"], &[], IN),
    (&["-s", "TOKEN", "--user", "S3CRETt0ken"], &[], IN),
    (&["-s", "TOKEN", "--token-file", "DIR/token"], &[], IN),
    (&["-s", "TOKEN"], &[("NATS_TOKEN", "S3CRETt0ken")], IN),
    (&["-s", "TOKEN"], &[("NATS_USER", "S3CRETt0ken")], IN),
    (&["-s", "nats://S3CRETt0ken@TOKEN"], &[], IN),
    (&[], &[("NATS_URL", "S3CRETt0ken@TOKEN")], IN),
    (&["--context", "DIR/user.json"], &[], IN),
    (&["-s", "TOKEN"], &[("NATS_CONTEXT", "DIR/token.json")], IN),
    (
        &[
            "-s",
            "u:S3CRET%20p%40S3CRET%2F%2CS3CRET@USER",
            "--context",
            "DIR/token.json",
        ],
        &[],
        IN,
    ),
    // Refused.
    (&["-s", "USER", "--user", "u", "--password", "S3CRET"], &[], OUT),
    (&["-s", "USER", "--token", "S3CRET"], &[], OUT),
    (&["-s", "USER", "--user", "S3CRET"], &[], OUT),
    (&["-s", "USER", "--user", "u", "--password-file", "DIR/token"], &[], OUT),
    (&["-s", "USER"], &[("NATS_TOKEN", "S3CRET")], OUT),
    (&["-s", "u:S3CRET@USER,S3CRET@TOKEN,x:S3CRET@CLOSED"], &[], OUT),
    (&["-s", "TOKEN", "--user", "u", "--password", "S3CRET"], &[], OUT),
    (&["-s", "USER", "--context", "DIR/token.json"], &[], OUT),
    (&["-s", "TOKEN", "--context", "DIR/user.json"], &[], OUT),
    // Nobody there.
    (&["-s", "nats://u:S3CRET@CLOSED"], &[], AWAY),
    (&["-s", "CLOSED", "--user", "u", "--password", "S3CRET"], &[], AWAY),
    (&["-s", "CLOSED", "--token", "S3CRET"], &[], AWAY),
    (&["-s", "nats://u:S3CRET@nowhere.invalid"], &[], AWAY),
    // URLs that are none.
    (&["-s", "nats://u:S3CRET@h:port"], &[], USAGE),
    (&["-s", "nats://u:S3CRET@h:99999"], &[], USAGE),
    (&["-s", "nats://u:S3CRET@"], &[], USAGE),
    (&["-s", "nats://:S3CRET@h"], &[], USAGE),
    (&["-s", "nats://u:S3CRET@h/x"], &[], USAGE),
    (&["-s", "ws://u:S3CRET@h"], &[], USAGE),
    (&["-s", "http://S3CRET@h"], &[], USAGE),
    (&["-s", "S3CRET@nats://h"], &[], USAGE),
    (&["-s", "u:S3CRET@nats://h"], &[], USAGE),
    (&["-s", "nats:u:S3CRET@h"], &[], USAGE),
    (&["-s", "nats//u:S3CRET@h:x"], &[], USAGE),
    (&["-s", "nats://u:S3CRET/S3CRET@h"], &[], USAGE),
    (&["-s", "nats://u:S3CRET#S3CRET@h"], &[], USAGE),
    (&["-s", "nats://u:S3CRET?S3CRET@h"], &[], USAGE),
    (&["-s", "nats://u:S3CRET@S3CRET@h:x"], &[], USAGE),
    (&["-s", "nats://u:S3CRET S3CRET@h/x"], &[], USAGE),
    (&["-s", "nats://u:S3CRET'S3CRET@h/x"], &[], USAGE),
    (&["-s", "nats://u:S3CRET\"S3CRET@h/x"], &[], USAGE),
    (&["-s", "nats://u:S3CRET\nS3CRET@h/x"], &[], USAGE),
    (&["-s", "nats://u:S3CRET,S3CRET@h"], &[], USAGE),
    (&["-s", "nats://u:1?S3CRET,S3CRET@h"], &[], USAGE),
    (&["-s", "u:S3CRET://S3CRET@h/x"], &[], USAGE),
    (&["-s", "nats://u:S3CRET%ff@h"], &[], USAGE),
    (&["-s", "nats://u:S3CRET"], &[], USAGE),
    (&["-s", "u:S3CRET"], &[], USAGE),
    (&["-s", "nats://h:4222@u:S3CRET"], &[], USAGE),
    (&["-s", "nats://u@h:S3CRET"], &[], USAGE),
    (&[], &[("NATS_URL", "nats://u:S3CRET@h:port")], USAGE),
    (&[], &[("NATS_URL", "nats://u:S3CRET,S3CRET@h")], USAGE),
    (&["--context", "DIR/url.json"], &[], USAGE),
    // Files with something else in them.
    (&["--context", "DIR/password"], &[], USAGE),
    (&["--context", "DIR/half.json"], &[], USAGE),
    (&["--context", "DIR/list.json"], &[], USAGE),
    (&["--context", "DIR/jwt.json"], &[], USAGE),
    (&["--creds", "DIR/token"], &[], USAGE),
    (&["--creds", "DIR/bad.creds"], &[], USAGE),
    (&[], &[("NATS_CREDS", "DIR/bad.creds")], USAGE),
    (&["--nkey", "DIR/token"], &[], USAGE),
    (&["--nkey", "DIR/bad.nkey"], &[], USAGE),
    (&[], &[("NATS_NKEY", "DIR/bad.nkey")], USAGE),
    (&["--tlscert", "DIR/password", "--tlskey", "DIR/password"], &[], USAGE),
    (&["--tlsca", "DIR/password"], &[], USAGE),
    // The wrong flag.
    (&["-p", "S3CRET", "-H", "h"], &[], USAGE),
    (&["-p", "S3CRET"], &[], USAGE),
    (&["-P", "S3CRET"], &[], USAGE),
    (&["-PS3CRET"], &[], USAGE),
    (&["-H", "u:S3CRET@h"], &[], USAGE),
    (&["-H", "nats://u:S3CRET@h"], &[], USAGE),
    (&["--pass", "S3CRET"], &[], USAGE),
    (&["--pass=S3CRET"], &[], USAGE),
    (&["--passwd=S3CRET"], &[], USAGE),
    (&["--tokens=S3CRET"], &[], USAGE),
    (&["--auth", "S3CRET"], &[], USAGE),
    (&["--user", "u", "--password-file", "S3CRET"], &[], USAGE),
    (&["--token-file", "S3CRETt0ken"], &[], USAGE),
    (&["--token-file", "u:S3CRET@h"], &[], USAGE),
    (&["--context", "u:S3CRET@h"], &[], USAGE),
    (&["--context", "nats://u:S3CRET@h"], &[], USAGE),
    (&["--inbox-prefix", "u:S3CRET@h "], &[], USAGE),
    (&["--label", "u:S3CRET@h"], &[], USAGE),
    (&["--format", "u:S3CRET@h"], &[], USAGE),
    (&["-t", "u:S3CRET@h"], &[], USAGE),
    (&["-w", "u:S3CRET@h"], &[], USAGE),
    (&["--unreachable", "u:S3CRET@h"], &[], USAGE),
    (&["--srv-prefix", "nats://u:S3CRET@h "], &[], USAGE),
    (&["-n", "u:S3CRET@h"], &[], USAGE),
    // One word too many, since it was not quoted, or has no flag.
    (&["--user", "u", "--password", "S3CRET", "S3CRET"], &[], USAGE),
    (&["--token", "S3CRET", "S3CRET"], &[], USAGE),
    (&["-s", "nats://u:S3CRET", "S3CRET@h"], &[], USAGE),
    (&["S3CRET"], &[], USAGE),
    (&["--", "S3CRET"], &[], USAGE),
    (&["nats://u:S3CRET@h"], &[], USAGE),
    // Together with what does not go together.
    (&["--password", "S3CRET"], &[], USAGE),
    (&["--password", "S3CRET", "--password", "S3CRET"], &[], USAGE),
    (&["--token", "S3CRET", "--password", "S3CRET"], &[], USAGE),
    (&["--token", "S3CRET", "--user", "u"], &[], USAGE),
    (&["--token", "S3CRET", "--token-file", "DIR/token"], &[], USAGE),
    (&["-s", "u:S3CRET@h", "--token", "S3CRET"], &[], USAGE),
    (&["-s", "u:S3CRET@h", "-H", "h"], &[], USAGE),
    (&["--token", "S3CRET", "--password"], &[], USAGE),
    (&["--token", "S3CRET", "-t", "0"], &[], USAGE),
    (&["--token", "S3CRET", "--nonsense"], &[], USAGE),
    (&[], &[("NATS_USER", "u"), ("NATS_TOKEN", "S3CRET")], USAGE),
    (&["--token-file", "DIR/empty", "-s", "u:S3CRET@h"], &[], USAGE),
    (&["--token-file", "DIR/binary"], &[], USAGE),
    (&["--token-file", "DIR/nothing"], &[("NATS_TOKEN", "S3CRET")], USAGE),
];

const PASSWORD: &str = "S3CRET p@S3CRET/,S3CRET";

/// Every name and every content below a folder.
fn all_files(dir: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        all.extend_from_slice(path.as_os_str().as_bytes());
        match path.is_dir() {
            true => all.extend(all_files(&path)),
            false => all.extend(fs::read(&path).unwrap()),
        }
        all.push(b'\n');
    }
    all
}

#[track_caller]
fn assert_unseen(what: &str, bytes: impl AsRef<[u8]>) {
    let text = String::from_utf8_lossy(bytes.as_ref());
    assert!(!text.to_uppercase().contains(MARK), "{what}: {text}");
}

#[test]
fn no_secret_is_ever_seen() {
    let users = Server::with_config(
        Version::Newest,
        &format!("authorization {{ user: u, password: {PASSWORD:?} }}"),
    );
    let tokens = Server::with_config(Version::Newest, "authorization { token: \"S3CRETt0ken\" }");
    let closed = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let dir = TempDir::new();
    fs::write(dir.join("binary"), b"S3CRET\xff\n").unwrap();
    let fill_in = |text: &str| {
        text.replace("USER", &format!("127.0.0.1:{}", users.port()))
            .replace("TOKEN", &format!("127.0.0.1:{}", tokens.port()))
            .replace("CLOSED", &closed.to_string())
            .replace("DIR", dir.path().to_str().unwrap())
    };

    let user = json!({"url": fill_in("USER"), "user": "u", "password": PASSWORD});
    let bad_creds = "-----BEGIN NATS USER JWT-----\nS3CRET.S3CRET.S3CRET\n------END NATS USER JWT------\n\
                     -----BEGIN USER NKEY SEED-----\nSUAS3CRET\n------END USER NKEY SEED------\n";
    for (name, text) in [
        ("password", &*format!("{PASSWORD}\n")),
        ("token", "S3CRETt0ken\nS3CRET"),
        ("empty", "\nS3CRET"),
        ("user.json", &user.to_string()),
        ("token.json", r#"{"token": "S3CRETt0ken"}"#),
        ("url.json", r#"{"url": "nats://u:S3CRET@h:x"}"#),
        ("half.json", r#"{"token": "S3CRETt0ken"#),
        ("list.json", r#"{"token": ["S3CRETt0ken"], "S3CRET": "S3CRET"}"#),
        ("jwt.json", r#"{"user_jwt": "S3CRET"}"#),
        ("bad.creds", bad_creds),
        ("bad.nkey", "SUAS3CRET\n"),
    ] {
        fs::write(dir.join(name), text).unwrap();
    }

    let mut seen = Vec::new();
    let mut look = |run: &str, place: &str, bytes: &[u8]| {
        if bytes.windows(MARK.len()).any(|window| window == MARK.as_bytes()) {
            seen.push(format!("{run}, {place}: {}", String::from_utf8_lossy(bytes)));
        }
    };
    for (args, env, line) in RUNS {
        let home = TempDir::new();
        let metrics = home.join("metrics.prom");
        let args: Vec<String> = args.iter().map(|arg| fill_in(arg)).collect();
        let around = |before: &[&str], behind: &[&str]| {
            let before = before.iter().map(|arg| arg.to_string());
            let behind = behind.iter().map(|arg| arg.to_string());
            before.chain(args.clone()).chain(behind).collect::<Vec<_>>()
        };
        let mut runs = vec![around(&["-n", "orders", "-vvv"], &[])];
        // A bare first word is a command.
        if args.len() != 1 || args[0].contains(['-', '@']) {
            runs.push(around(&[], &["-n", "orders", "-vvv"]));
        }
        if *line != USAGE {
            runs.iter_mut()
                .for_each(|run| run.extend(["--confirm".into(), "0".into()]));
            for format in ["json", "text", "prometheus"] {
                runs.push(around(
                    &["check", "-n", "orders", "-vvv", "--confirm", "0", "--format", format],
                    &[],
                ));
            }
            runs.push(around(
                &["textfile", "-o", &metrics, "-n", "orders", "--confirm", "0"],
                &[],
            ));
            runs.push(around(&["probe", "readiness", "--any-instance", "-n", "orders"], &[]));
            runs.push(around(&["state", "show", "-n", "orders"], &[]));
            runs.push(around(&["state", "reset", "-n", "orders"], &[]));
        }
        for (nth, run) in runs.iter().enumerate() {
            let mut check = Check::new(run).home(&home);
            for (name, value) in *env {
                check = check.env(name, fill_in(value));
            }
            let output = check.run();
            let run = format!("{run:?} {env:?}");
            look(&run, "stdout", output.stdout.as_bytes());
            look(&run, "stderr", output.stderr.as_bytes());
            look(&run, "a file", &all_files(home.path()));
            // That it went as it should says that the secret was really in use.
            if nth == 0 {
                output.assert_first_line(3, line);
            }
        }
        if *line == IN {
            assert!(home.path().join(".local/state").exists() && Path::new(&metrics).exists());
        }
    }
    assert!(seen.is_empty(), "\n{}", seen.join("\n"));
}

#[test]
fn no_secret_is_in_what_a_sidecar_writes() {
    let server = Server::with_config(Version::Newest, "authorization { token: \"S3CRETt0ken\" }");
    for token in ["S3CRETt0ken", "S3CRET"] {
        let home = TempDir::new();
        let (metrics, status) = (home.join("metrics.prom"), home.join("status.json"));
        let url = format!("nats://{token}@127.0.0.1:{}", server.port());
        let watching = Check::new([
            "watch",
            "-n",
            "orders",
            "-s",
            &url,
            "--textfile",
            &metrics,
            "--status-file",
            &status,
        ])
        .args(["--interval", "100ms", "--confirm", "0"])
        .home(&home)
        .spawn();
        wait_for("both files", || {
            [&metrics, &status]
                .iter()
                .all(|file| Path::new(file).exists())
                .then_some(())
        });
        assert_unseen("a file", all_files(home.path()));
        watching.signal(libc::SIGTERM);
        let output = watching.wait();
        assert_unseen("stdout", &output.stdout);
        assert_unseen("stderr", &output.stderr);
        assert_unseen("a file", all_files(home.path()));
        assert_eq!(output.code, Some(0));
    }
}

#[test]
fn a_seed_in_the_place_of_its_file_is_not_seen() {
    let seed = nkeys::KeyPair::new_user().seed().unwrap();
    let line = "the value is the secret itself; give the name of a file (see --help)";
    let flag = Check::new(["-n", "orders", "-vvv", "--nkey", &seed]);
    flag.run().assert(3, &format!("NATS_SERVICE UNKNOWN - --nkey: {line}"));
    let variable = Check::new(["-n", "orders", "-vvv"]).env("NATS_NKEY", seed);
    variable
        .run()
        .assert(3, &format!("NATS_SERVICE UNKNOWN - NATS_NKEY: {line}"));
}

#[test]
fn not_even_what_is_no_text_is_seen() {
    let bad = |text: &str| {
        let mut bytes = text.as_bytes().to_vec();
        bytes.extend(b"\xff");
        OsString::from_vec(bytes)
    };
    for flag in [
        "--password",
        "--token",
        "--user",
        "-s",
        "-H",
        "-p",
        "-n",
        "-t",
        "--password-file",
        "--nonsense",
        "--x=",
        "",
    ] {
        let args = [OsString::from("-n"), "orders".into(), flag.into(), bad("u:S3CRET@h")];
        let output = Check::new(args.iter().filter(|arg| !arg.is_empty())).arg("-vvv").run();
        assert_unseen(flag, &output.stdout);
        output.assert(3, USAGE);
    }
    for variable in ["NATS_URL", "NATS_USER", "NATS_PASSWORD", "NATS_TOKEN"] {
        let output = Check::new(["-n", "orders", "-vvv"]).env(variable, bad("S3CRET")).run();
        assert_unseen(variable, &output.stdout);
        output.assert(3, USAGE);
    }
}
