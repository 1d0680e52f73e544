//! What is made for packages is made from the definition of the flags, and the shells and daemons take it.

use std::fs;
use std::path::Path;

use crate::support::service::example;
use crate::support::{Check, TempDir};

fn root(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn what_is_made_from_the_flags_is_current() {
    let dir = TempDir::new();
    Check::program(example("make_packaging").to_str().unwrap(), [dir.path()])
        .run()
        .assert(0, "");
    for file in [
        "icinga2/nats-service.conf",
        "kubernetes/prometheusrule.yaml",
        "completions/check_nats_service.bash",
        "completions/_check_nats_service",
        "completions/check_nats_service.fish",
    ] {
        let made = fs::read_to_string(dir.join(file)).unwrap();
        let committed = fs::read_to_string(root("packaging").join(file)).unwrap_or_default();
        assert!(
            made == committed,
            "packaging/{file} is old; make it anew: cargo run --example make_packaging packaging"
        );
    }
}

/// What the packages are made of is there, and they have the version of the program.
#[test]
fn the_packages_find_their_files() {
    let manifest = fs::read_to_string(root("Cargo.toml")).unwrap();
    let mut found = 0;
    for line in manifest.lines().map(str::trim) {
        let source = line
            .strip_prefix("[\"")
            .or_else(|| line.strip_prefix("{ source = \""))
            .and_then(|rest| rest.split('"').next());
        let Some(source) = source.filter(|source| !source.starts_with("target/")) else {
            continue;
        };
        let folder = source.trim_end_matches("/*");
        // One of them is a link, which is right only once it is installed.
        assert!(fs::symlink_metadata(root(folder)).is_ok(), "{line}");
        found += 1;
    }
    assert!(found > 20, "{found}");
    let changelog = fs::read_to_string(root("packaging/debian/changelog")).unwrap();
    let version = format!("check-nats-service ({}-1) ", env!("CARGO_PKG_VERSION"));
    assert!(changelog.starts_with(&version), "{changelog}");
}

/// The licences of all that is linked in can be told: no crate is without one.
#[test]
#[ignore = "needs Python"]
fn every_library_has_a_licence() {
    let out = Check::program("python3", ["packaging/licences.py", "x86_64-unknown-linux-gnu"])
        .cwd(root(""))
        .env(
            "CARGO_HOME",
            std::env::var("CARGO_HOME").unwrap_or_else(|_| home(".cargo")),
        )
        .env(
            "RUSTUP_HOME",
            std::env::var("RUSTUP_HOME").unwrap_or_else(|_| home(".rustup")),
        )
        .run();
    assert_eq!((out.code, out.stderr.as_str()), (Some(0), ""));
    let lock = fs::read_to_string(root("Cargo.lock")).unwrap();
    let version = lock
        .split("name = \"nats\"\nversion = \"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let nats = format!("  nats {}: Apache-2.0", version.unwrap());
    assert!(out.stdout.lines().any(|line| line == nats), "{nats}");
}

fn home(folder: &str) -> String {
    format!("{}/{folder}", std::env::var("HOME").unwrap_or_default())
}

/// The words that a real bash offers behind these.
fn bash(words: &[&str]) -> Vec<String> {
    let script = format!(
        ". {}; COMP_WORDS=(check_nats_service \"$@\"); COMP_CWORD=$#
         _check_nats_service check_nats_service \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        root("packaging/completions/check_nats_service.bash").display()
    );
    let out = Check::program("bash", ["-c", &script, "bash"])
        .args(words)
        .cwd(root("man"))
        .run();
    assert_eq!((out.code, out.stderr.as_str()), (Some(0), ""), "{out:?}");
    out.stdout.lines().map(String::from).collect()
}

#[test]
fn bash_completes() {
    assert_eq!(bash(&["pro"]), ["probe"]);
    assert_eq!(bash(&["--rtt"]), ["--rtt-warning", "--rtt-critical"]);
    assert_eq!(bash(&["probe", "live"]), ["liveness"]);
    assert_eq!(bash(&["textfile", "--exit"]), ["--exit-status"]);
    assert!(bash(&["probe", "liveness", "--"]).contains(&"--match-env".to_owned()));
    assert_eq!(bash(&["--creds", "make"]), ["make.rs"], "files are values");
}

/// The other shells at least read theirs, where they are installed.
#[test]
fn zsh_and_fish_read_their_completions() {
    for (shell, args, file) in [
        ("zsh", &["-n"][..], "_check_nats_service"),
        ("fish", &["--no-execute"][..], "check_nats_service.fish"),
    ] {
        if !Check::program("sh", ["-c", &format!("command -v {shell}")])
            .run()
            .stdout
            .is_empty()
        {
            Check::program(shell, args)
                .arg(root("packaging/completions").join(file))
                .run()
                .assert(0, "");
        } else {
            eprintln!("not tested: there is no {shell}");
        }
    }
}
