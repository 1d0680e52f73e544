//! No password and no token is ever seen in an output, an error, the state file or its name, wherever it was put by mistake.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Mutex;

use data_encoding::BASE64;
use serde_json::json;

use crate::support::jwt::{Account, User};
use crate::support::server::free_port;
use crate::support::{Check, Output, Server, TempDir, Version, http, in_parallel, is_root, wait_for};

/// In every part of every secret below: no piece of one may be seen either.
const MARK: &str = "S3CRET";

/// Beginning of a run's output: it logged in, it was refused, it reached nothing, or it did not begin.
const IN: &str = "NATS_SERVICE UNKNOWN - orders: never seen in this account, no responders, *";
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
    (&["-s", "nats://S3CRET,S3CRET@h"], &[], USAGE),
    (&[], &[("NATS_URL", "S3CRET,S3CRET@h")], USAGE),
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
#[ignore = "needs nats-server"]
fn no_secret_is_ever_shown() {
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

    let seen = Mutex::new(Vec::new());
    let look = |run: &str, place: &str, bytes: &[u8]| {
        if bytes.windows(MARK.len()).any(|window| window == MARK.as_bytes()) {
            let text = format!("{run}, {place}: {}", String::from_utf8_lossy(bytes));
            seen.lock().unwrap().push(text);
        }
    };
    in_parallel(RUNS, |(args, env, line)| {
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
    });
    let seen = seen.into_inner().unwrap();
    assert!(seen.is_empty(), "\n{}", seen.join("\n"));
}

#[test]
#[ignore = "needs nats-server"]
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
fn a_seed_in_the_place_of_its_file_is_not_shown() {
    let seed = nkeys::KeyPair::new_user().seed().unwrap();
    let line = "the value is the secret itself, give the name of a file (see --help)";
    let flag = Check::new(["-n", "orders", "-vvv", "--nkey", &seed]);
    flag.run().assert(3, &format!("NATS_SERVICE UNKNOWN - --nkey: {line}"));
    let variable = Check::new(["-n", "orders", "-vvv"]).env("NATS_NKEY", seed);
    variable
        .run()
        .assert(3, &format!("NATS_SERVICE UNKNOWN - NATS_NKEY: {line}"));
}

#[test]
fn no_secret_that_is_not_utf_8_is_shown() {
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

/// A kind of secret, the secret, and whether its form says what it is.
type Misplaced = (&'static str, String, bool);

/// A secret of each kind that people put where a name belongs.
fn misplaced() -> Vec<Misplaced> {
    let creds = Account::new("APP").creds(&User::new("mon"));
    let line = |start: &str| {
        creds
            .lines()
            .find(|line| line.starts_with(start))
            .expect("a line")
            .to_owned()
    };
    vec![
        ("a key", rcgen::KeyPair::generate().unwrap().serialize_pem(), true),
        ("creds", creds.clone(), true),
        ("a seed", line("SU"), true),
        ("a JWT", line("eyJ"), true),
        (
            "a data: URI",
            format!("data:;base64,{}", BASE64.encode(creds.as_bytes())),
            true,
        ),
        ("a password", "S3CRETpassw0rd".to_owned(), false),
        ("a password with marks", "p@S3CRET/w.rd, x".to_owned(), false),
    ]
}

/// The first piece of the secret that the bytes have.
fn piece_in(bytes: &[u8], secret: &str) -> Option<String> {
    const LENGTH: usize = 12;
    let lines = secret.lines().map(|line| line.trim_start_matches("data:;base64,"));
    let mut pieces = lines
        .filter(|line| !line.starts_with(['-', '*']) && !line.contains("Seed printed"))
        .flat_map(|line| {
            let starts = 0..=line.len().saturating_sub(LENGTH);
            starts
                .step_by(LENGTH / 2)
                .map(move |at| &line[at..line.len().min(at + LENGTH)])
        });
    let is_there =
        |piece: &&str| piece.len() == LENGTH && bytes.windows(LENGTH).any(|window| window == piece.as_bytes());
    pieces.find(is_there).map(str::to_owned)
}

/// Arguments and variables.
type Words = (&'static [&'static str], &'static [(&'static str, &'static str)]);

/// Arguments and variables in which `SECRET` stands for a secret in the place of the name of a file.
const FILE_NAMES: &[Words] = &[
    (&["--creds", "SECRET"], &[]),
    (&["--creds=SECRET"], &[]),
    (&["--nkey", "SECRET"], &[]),
    (&["--tlsca", "SECRET"], &[]),
    (&["--tlscert", "SECRET", "--tlskey", "SECRET"], &[]),
    (&["--tlskey", "SECRET"], &[]),
    (&["--user", "u", "--password-file", "SECRET"], &[]),
    (&["--token-file", "SECRET"], &[]),
    (&["--context", "SECRET"], &[]),
    (&[], &[("NATS_CREDS", "SECRET")]),
    (&[], &[("NATS_NKEY", "SECRET")]),
    (&[], &[("NATS_CA", "SECRET")]),
    (&[], &[("NATS_CERT", "SECRET"), ("NATS_KEY", "SECRET")]),
    (&[], &[("NATS_KEY", "SECRET")]),
    (&[], &[("NATS_CONTEXT", "SECRET")]),
    (&["SECRET"], &[]),
    (&["--creds", "x", "SECRET"], &[]),
    (&["--tls=SECRET"], &[]),
];

/// The same for what has to have another form; a password may have it.
const OTHER_FLAGS: &[Words] = &[
    (&["--srv-prefix", "SECRET"], &[]),
    (&["-s", "SECRET"], &[]),
    (&["--stall=SECRET"], &[]),
    (&[], &[("NATS_URL", "SECRET")]),
    (&["-H", "SECRET"], &[]),
    (&["-H", "h", "-p", "SECRET"], &[]),
    (&["--inbox-prefix", "SECRET"], &[]),
    (&["--connection-name", "SECRET"], &[]),
    (&["-t", "SECRET"], &[]),
    (&["--user", "SECRET", "--password", "x"], &[]),
    (&[], &[("NATS_USER", "SECRET"), ("NATS_PASSWORD", "x")]),
];

/// Contexts in which it stands somewhere.
const CONTEXTS: &[&str] = &[
    r#"{"creds": SECRET}"#,
    r#"{"nkey": SECRET}"#,
    r#"{"ca": SECRET}"#,
    r#"{"cert": SECRET, "key": SECRET}"#,
    r#"{"key": SECRET}"#,
    r#"{"user": "u", "password": SECRET}"#,
    r#"{"token": SECRET}"#,
    r#"{"token": [SECRET]}"#,
];

/// The same where a password is the name of a user, or a prefix.
const OTHER_CONTEXTS: &[&str] = &[
    r#"{"url": SECRET}"#,
    r#"{"user": SECRET, "password": "x"}"#,
    r#"{"inbox_prefix": SECRET}"#,
];

/// In one of the modes and outputs after the other; with `SECRETS=all`, each in all of them.
#[test]
fn no_secret_in_the_place_of_a_name_is_shown() {
    let closed = format!("nats://127.0.0.1:{}", free_port());
    let misplaced = misplaced();
    let dir = TempDir::new();
    let mut cases = Vec::new();
    for kind in &misplaced {
        let fill_in = |text: &str| text.replace("SECRET", &kind.1);
        let flags = FILE_NAMES.iter().chain(OTHER_FLAGS.iter().filter(|_| kind.2));
        cases.extend(flags.map(|(args, env)| {
            let args: Vec<String> = args.iter().map(|arg| fill_in(arg)).collect();
            let env: Vec<_> = env.iter().map(|(name, value)| (*name, fill_in(value))).collect();
            (kind, args, env)
        }));
        for text in CONTEXTS.iter().chain(OTHER_CONTEXTS.iter().filter(|_| kind.2)) {
            let path = dir.join(&format!("context-{}.json", cases.len()));
            fs::write(&path, text.replace("SECRET", &json!(kind.1).to_string())).unwrap();
            cases.push((kind, vec!["--context".to_owned(), path], Vec::new()));
        }
    }
    let all = std::env::var_os("SECRETS").is_some();
    in_parallel(cases.into_iter().enumerate(), |(nth, (kind, args, env))| {
        // Neighbours differ in the flag, those of two kinds in the mode.
        let turn = |modes: usize| (0..modes).filter(move |mode| all || (nth + nth / modes) % modes == *mode);
        turn(MODES.len()).for_each(|mode| run_in(MODES[mode], &closed, kind, &args, &env));
        let is_for_sidecar = args[..]
            .first()
            .is_some_and(|arg| arg == "--context" || arg == "--creds");
        if is_for_sidecar && turn(3).next() == Some(0) {
            sidecar(&closed, kind, &args);
        }
    });
}

/// Each command and each output. `FILE` is the path of a file.
const MODES: &[&[&str]] = &[
    &["check", "-vvv"],
    &["textfile", "-o", "FILE"],
    &["check", "-vvv", "--format", "json"],
    &["probe", "liveness", "--any-instance"],
    &["check", "-vvv", "--format", "text"],
    &["state", "show"],
    &["check", "-vvv", "--format", "prometheus"],
    &["check", "-vvv", "--format", "checkmk"],
];

/// A run with these arguments and variables.
fn run_in(mode: &[&str], server: &str, (kind, secret, _): &Misplaced, args: &[String], env: &[(&str, String)]) {
    let home = TempDir::new();
    let file = home.join("metrics.prom");
    let mode: Vec<&str> = mode
        .iter()
        .map(|word| if *word == "FILE" { &file } else { *word })
        .collect();
    let is_connecting =
        args.iter().any(|arg| ["-s", "-H"].contains(&arg.as_str())) || env.iter().any(|e| e.0 == "NATS_URL");
    // clap itself speaks first of a word that is too much.
    let mut check = Check::new(&mode).args(["-n", "orders"]).args(args).home(&home);
    if !is_connecting && !args.iter().any(|arg| arg == "--context") {
        check = check.args(["-s", server]);
    }
    for (name, value) in env {
        check = check.env(name, value);
    }
    let output = check.run();
    let shown = [
        output.stdout.as_bytes(),
        output.stderr.as_bytes(),
        &all_files(home.path()),
    ]
    .concat();
    if let Some(piece) = piece_in(&shown, secret) {
        panic!(
            "{kind}, {mode:?} {args:?}: {piece:?} in {}",
            String::from_utf8_lossy(&shown)
        );
    }
    assert!(output.code.is_some_and(|code| code <= 3), "{output:?}");
}

/// The sidecar's log, pages and files.
fn sidecar(server: &str, (kind, secret, _): &Misplaced, args: &[String]) {
    let (home, port) = (TempDir::new(), free_port());
    let (metrics, status) = (home.join("metrics.prom"), home.join("status.json"));
    let mut running = Check::new(["watch", "-n", "orders", "--any-instance", "--interval", "1h"])
        .args(["--textfile", &metrics, "--status-file", &status, "--confirm", "0"])
        .args(["--listen", &format!("127.0.0.1:{port}")])
        .args(args)
        .env("NATS_URL", server)
        .home(&home)
        .spawn();
    let mut pages = String::new();
    let is_up = wait_for("its pages, or its end", || match http::get(port, "/status") {
        Ok(_) => Some(true),
        Err(_) => (!running.is_running()).then_some(false),
    });
    if is_up {
        for path in [
            "/livez?verbose",
            "/readyz?verbose",
            "/startupz",
            "/status",
            "/",
            "/metrics",
        ] {
            pages += &http::ask(port, "GET", path).unwrap().body;
        }
        running.signal(libc::SIGTERM);
    }
    let output = running.wait();
    let shown = [
        output.stdout.as_bytes(),
        output.stderr.as_bytes(),
        pages.as_bytes(),
        &all_files(home.path()),
    ];
    if let Some(piece) = piece_in(&shown.concat(), secret) {
        panic!(
            "{kind}, watch {args:?}: {piece:?} in {}",
            String::from_utf8_lossy(&shown.concat())
        );
    }
}

#[test]
fn a_secret_in_the_place_of_its_file_is_recognised() {
    let itself = "the value is the secret itself, give the name of a file (see --help)";
    let certificate = TempDir::new();
    let path = certificate.join("c.pem");
    fs::write(
        &path,
        rcgen::generate_simple_self_signed(vec!["h".into()]).unwrap().cert.pem(),
    )
    .unwrap();
    let says = |check: Check, line: &str| {
        check.run().assert(3, &format!("NATS_SERVICE UNKNOWN - {line}"));
    };
    let run = || Check::new(["-n", "orders", "-vvv"]);
    for (kind, secret, has_form) in misplaced().iter().filter(|kind| kind.0 != "a JWT") {
        for (flag, variable) in [
            ("--creds", "NATS_CREDS"),
            ("--nkey", "NATS_NKEY"),
            ("--tlsca", "NATS_CA"),
        ] {
            let why = match has_form {
                true => itself,
                false => "there is no such file, or it cannot be read, give its path, like ./FILE",
            };
            let by_flag = run().arg(format!("{flag}={secret}"));
            says(by_flag, &format!("{flag}: {why}"));
            says(run().env(variable, secret), &format!("{variable}: {why}"));
        }
        if *kind == "a key" {
            let with_key = || run().env("NATS_CERT", &path).env("NATS_KEY", secret);
            says(with_key(), &format!("NATS_KEY: {itself}"));
            let word = "a word among the flags begins with '-' and is none of them, it is not shown, since it may be a secret: write \
                        --FLAG=VALUE, or give the name of a file (see --help)";
            says(run().args(["--tlscert", &path, "--tlskey", secret]), word);
        }
    }
}

#[test]
fn files_with_secrets_that_others_can_read_are_named() {
    let dir = TempDir::new();
    let creds = Account::new("APP").creds(&User::new("mon"));
    let seed = nkeys::KeyPair::new_user().seed().unwrap();
    let key = rcgen::generate_simple_self_signed(vec!["h".into()]).unwrap();
    for (name, text) in [
        ("mon.creds", creds.as_str()),
        ("mon.nk", &seed),
        ("password", "S3CRET"),
        ("c.pem", &key.cert.pem()),
        ("c.key", &key.signing_key.serialize_pem()),
        ("inline.json", r#"{"user": "u", "password": "S3CRET"}"#),
        (
            "file.json",
            &json!({"user": "u", "password": format!("file://{}", dir.join("password"))}).to_string(),
        ),
        ("none.json", "{}"),
    ] {
        fs::write(dir.join(name), text).unwrap();
    }
    let closed = format!("nats://127.0.0.1:{}", free_port());
    let run = |args: &[&str], verbose: &str| {
        let args = args.iter().map(|arg| arg.replace("DIR", dir.path().to_str().unwrap()));
        let check = Check::new(["-n", "orders", "--no-state", "-s", &closed]).args(args);
        check.args(Some(verbose).filter(|flag| !flag.is_empty())).run()
    };
    for (args, file, origin) in [
        (&["--creds", "DIR/mon.creds"][..], "mon.creds", "--creds"),
        (&["--nkey", "DIR/mon.nk"], "mon.nk", "--nkey"),
        (
            &["--user", "u", "--password-file", "DIR/password"],
            "password",
            "--password-file",
        ),
        (&["--token-file", "DIR/password"], "password", "--token-file"),
        (
            &["--tlscert", "DIR/c.pem", "--tlskey", "DIR/c.key"],
            "c.key",
            "--tlskey",
        ),
        (&["--context", "DIR/inline.json"], "inline.json", "--context"),
        (
            &["--context", "DIR/file.json"],
            "password",
            "the password of the context",
        ),
        (&["--context", "DIR/none.json"], "", ""),
    ] {
        let path = dir.join(file);
        let remark = format!("other users of this host can read {path} ({origin}): chmod o-r");
        let is_remarked = |out: &Output| out.stdout.contains("other users of this host");
        if file.is_empty() {
            assert!(!is_remarked(&run(args, "-v")));
            continue;
        }
        run(args, "-v").assert_line(&remark);
        assert!(!is_remarked(&run(args, "")));
        let readable = fs::metadata(&path).unwrap().permissions();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        assert!(!is_remarked(&run(args, "-v")), "{args:?}");
        fs::set_permissions(&path, readable).unwrap();
    }
}

/// The kernel treats the memory of the process as private: its files in /proc belong to root, and it leaves no core dump.
#[test]
#[ignore = "needs nats-server"]
fn no_secret_is_in_a_core_dump() {
    if !is_root() {
        return;
    }
    let server = Server::start(Version::Newest);
    server.freeze();
    let dir = TempDir::new();
    let limits = ["sh", "-c", "ulimit -c unlimited; exec \"$@\"", "sh"];
    let run = |mode: &[&str]| {
        let check = Check::new(mode)
            .args(["-n", "orders", "-s", &server.url()])
            .env("NATS_TOKEN", "S3CRET");
        check.under(limits).cwd(dir.path()).uid(65_534).spawn()
    };
    fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o777)).unwrap();
    for mode in [
        &["check"][..],
        &["watch"],
        &["probe", "liveness", "--any-instance", "-t", "20s"],
    ] {
        let running = run(mode);
        let owner = |file: &str| {
            fs::metadata(format!("/proc/{}/{file}", running.pid()))
                .ok()
                .map(|file| file.uid())
        };
        wait_for("it is not to be dumped", || (owner("environ") == Some(0)).then_some(()));
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", running.pid())).unwrap_or_default();
        for child in children.split_whitespace() {
            let owner = fs::metadata(format!("/proc/{child}/environ")).map(|file| file.uid());
            assert_eq!(owner.ok(), Some(0), "a child of {mode:?}");
        }
        running.signal(libc::SIGABRT);
        let out = running.wait();
        assert_eq!(out.signal, Some(libc::SIGABRT), "{out:?}");
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
    server.thaw();
}
