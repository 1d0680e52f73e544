//! The crates of the program, as `.cargo/deny.toml` accepts them. The short form of tests/supply_chain.sh, which also looks for
//! advisories, and at what only the tests have; this one needs nothing but cargo.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::support::{Check, TempDir};

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The texts in quotes between `key = [` and the next line that is `]`, or the end of the line.
fn list(key: &str) -> Vec<String> {
    let config = read(".cargo/deny.toml");
    let start = format!("\n{key} = [");
    let (_, rest) = config.split_once(&start).unwrap_or_else(|| panic!("no {key}"));
    let end = rest.find("]\n").expect("an end");
    rest[..end].split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The crates that are linked into the program: not those of its tests, of other systems, or that only build it.
fn linked() -> Vec<Value> {
    let output = Command::new("rustc")
        .args(["--print", "host-tuple"])
        .output()
        .expect("rustc");
    let target = String::from_utf8(output.stdout).expect("UTF-8");
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--quiet",
            "--locked",
            "--offline",
            "--format-version",
            "1",
            "--filter-platform",
            target.trim(),
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let graph: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let nodes: BTreeMap<&str, &Value> = graph["resolve"]["nodes"]
        .as_array()
        .expect("nodes")
        .iter()
        .map(|node| (node["id"].as_str().expect("an id"), node))
        .collect();
    let root = graph["resolve"]["root"].as_str().expect("a root");
    let packages = graph["packages"].as_array().expect("packages");
    let runs_in_the_compiler = |package: &&Value| package["targets"][0]["kind"][0] == "proc-macro";
    let macros = packages.iter().filter(runs_in_the_compiler);
    let macros: BTreeSet<&str> = macros.map(|package| package["id"].as_str().expect("an id")).collect();
    let (mut found, mut waiting) = (BTreeSet::new(), vec![root]);
    while let Some(id) = waiting.pop() {
        if macros.contains(id) || !found.insert(id) {
            continue;
        }
        let is_linked = |dependency: &&Value| {
            let kinds = dependency["dep_kinds"].as_array().expect("kinds");
            kinds.iter().any(|kind| kind["kind"].is_null())
        };
        let dependencies = nodes[id]["deps"]
            .as_array()
            .expect("dependencies")
            .iter()
            .filter(is_linked);
        waiting.extend(dependencies.map(|dependency| dependency["pkg"].as_str().expect("an id")));
    }
    found.remove(root);
    let is_found = |package: &&Value| package["id"].as_str().is_some_and(|id| found.contains(id));
    packages.iter().filter(is_found).cloned().collect()
}

/// Returns `true` if an allowed licence can be chosen from the expression. `A/B` is an old way to write `A OR B`.
fn is_allowed(licence: &str, allowed: &[String]) -> bool {
    let licence = licence.replace('/', " OR ");
    if let Some(start) = licence.rfind('(') {
        let end = start + licence[start..].find(')').expect("a bracket");
        let inner = if is_allowed(&licence[start + 1..end], allowed) {
            "yes"
        } else {
            "no"
        };
        return is_allowed(&[&licence[..start], inner, &licence[end + 1..]].concat(), allowed);
    }
    let is = |one: &str| one == "yes" || allowed.iter().any(|allowed| allowed == one);
    licence
        .split(" OR ")
        .any(|choice| choice.split(" AND ").all(|one| is(one.trim())))
}

#[test]
fn every_licence_is_one_that_may_be_passed_on() {
    let allowed = list("allow");
    for (licence, expected) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0/MIT", true),
        ("(MIT OR X) AND ISC", true),
        ("MIT AND (X OR Y)", false),
    ] {
        assert_eq!(is_allowed(licence, &allowed), expected, "{licence}");
    }
    let linked = linked();
    assert!(linked.len() > 50, "only {} crates were found", linked.len());
    for package in linked {
        let licence = package["license"]
            .as_str()
            .unwrap_or_else(|| panic!("{}: no licence", package["name"]));
        assert!(is_allowed(licence, &allowed), "{} is under {licence}", package["name"]);
    }
}

#[test]
fn no_crate_is_linked_twice_but_those_that_are_known() {
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in linked() {
        let text = |key: &str| package[key].as_str().expect("a text").to_owned();
        versions.entry(text("name")).or_default().insert(text("version"));
    }
    let known = list("skip");
    for (name, versions) in versions.into_iter().filter(|(_, versions)| versions.len() > 1) {
        let is_known = |version: &String| {
            let major = version.split('.').next().unwrap_or_default();
            known.contains(&format!("{name}@{major}"))
        };
        assert_eq!(
            versions.iter().filter(|version| !is_known(version)).count(),
            1,
            "{name}: {versions:?}"
        );
    }
}

#[test]
fn every_crate_comes_from_the_one_registry_with_its_checksum() {
    let lock = read("Cargo.lock");
    let mut sources = BTreeSet::new();
    for package in lock.split("[[package]]\n").skip(1) {
        let field = |key: &str| {
            package
                .lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "))
        };
        match field("source") {
            Some(source) => {
                assert!(
                    field("checksum").is_some_and(|sum| sum.len() == 66),
                    "no checksum: {package}"
                );
                sources.insert(source);
            }
            None => assert_eq!(field("name"), Some("\"check_nats_service\""), "from nowhere"),
        }
    }
    assert_eq!(sources.len(), 1, "{sources:?}");
    assert!(
        sources.iter().all(|source| source.starts_with("\"registry+")),
        "{sources:?}"
    );
}

#[test]
fn every_accepted_advisory_has_its_reason() {
    let texts = list("ignore");
    assert!(!texts.is_empty() && texts.len().is_multiple_of(2), "{texts:?}");
    for pair in texts.chunks(2) {
        assert!(
            pair[0].starts_with("RUSTSEC-") && pair[0].len() == "RUSTSEC-2026-0001".len(),
            "{pair:?}"
        );
        assert!(
            pair[1].len() > 60,
            "which crate, what it does, and why that does not matter here: {pair:?}"
        );
    }
    let ids: BTreeSet<&String> = texts.iter().step_by(2).collect();
    assert_eq!(ids.len(), texts.len() / 2, "one of them twice");
}

/// Where the database of advisories cannot be had, CI relies on the date of the last check.
#[test]
fn an_old_check_of_the_advisories_fails() {
    let age = |line: &str| {
        let script =
            r#"echo "checked = $(date -u -d "$1" +%F)" >"$2"; [ -z "$1" ] && echo >"$2"; tests/advisories_age.sh "$2""#;
        let dir = TempDir::new();
        Check::program("bash", ["-c", script, "bash", line, &dir.join("checked")])
            .cwd(env!("CARGO_MANIFEST_DIR"))
            .run()
    };
    age("today").assert(0, "the advisories were checked last on *, 0 days ago");
    age("89 days ago").assert(0, "the advisories were checked last on *, 89 days ago");
    age("90 days ago").assert(1, "the advisories were checked last on *, 90 days ago");
    age("tomorrow").assert(1, "the advisories were checked last on *, -1 days ago");
    age("").assert(1, "*checked has no line 'checked = YYYY-MM-DD'");
    // The file of this repository can be read; how old it is, is for CI to say.
    let out = Check::program("tests/advisories_age.sh", [".cargo/advisories-checked"])
        .cwd(env!("CARGO_MANIFEST_DIR"))
        .run();
    assert!(
        out.stdout.starts_with("the advisories were checked last on 20"),
        "{out:?}"
    );
    let script = read("tests/supply_chain.sh");
    assert!(script.contains("tests/advisories_age.sh .cargo/advisories-checked) || [ -z \"${CI:-}\" ] ||"));
}

#[test]
fn the_documents_explain_how_to_report_a_vulnerability() {
    assert!(read(".github/SECURITY.md").contains("Report a vulnerability"));
    assert!(read("README.md").contains("(.github/SECURITY.md)"));
}
