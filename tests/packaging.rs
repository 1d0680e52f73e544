//! The parts of the packages that are made from the definition of the flags: the shells and daemons accept them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use check_nats_service::cli;
use serde_json::Value;

use crate::support::markdown::read;
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
        "icinga2/director-basket.json",
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

/// The parts of the packages exist, and have the version of the program.
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
    assert_is_dep_5(&out.stdout);
    let nats = format!("Files: vendor/nats-{}/*\nCopyright: ", version.unwrap());
    assert!(out.stdout.contains(&nats), "{nats}");
}

/// A copyright file in the form of DEP-5: paragraphs of fields; who has the rights in each of the files, under which licences, and the
/// text of each of these.
#[track_caller]
fn assert_is_dep_5(text: &str) {
    let field = |paragraph: &str, name: &str| -> Option<String> {
        let (_, rest) = format!("\n{paragraph}\n")
            .split_once(&format!("\n{name}: "))
            .map(|(a, b)| (a.to_owned(), b.to_owned()))?;
        let first = rest.lines().next().unwrap_or_default().to_owned();
        let more = rest.lines().skip(1).take_while(|line| line.starts_with(' '));
        Some(
            std::iter::once(first.as_str())
                .chain(more)
                .collect::<Vec<_>>()
                .join("\n"),
        )
    };
    let paragraphs: Vec<&str> = text
        .split("\n\n")
        .map(str::trim_end)
        .filter(|text| !text.is_empty())
        .collect();
    let format = field(paragraphs[0], "Format");
    let expected = "https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/";
    assert_eq!(format.as_deref(), Some(expected));
    let is_line =
        |line: &str| line.starts_with(' ') || line.split_once(':').is_some_and(|(name, _)| !name.contains(' '));
    assert!(text.lines().all(|line| line.is_empty() || is_line(line)), "{text}");
    let (mut named, mut given, mut files) = (BTreeSet::new(), BTreeSet::new(), 0);
    for paragraph in &paragraphs[1..] {
        let licence = field(paragraph, "License").unwrap_or_else(|| panic!("{paragraph}"));
        if field(paragraph, "Files").is_none() {
            let (name, text) = licence.split_once('\n').unwrap_or_else(|| panic!("{paragraph}"));
            assert!(text.len() > 40, "{paragraph}");
            given.insert(name.to_owned());
            continue;
        }
        files += 1;
        assert!(
            field(paragraph, "Copyright").is_some_and(|who| who.len() > 3),
            "{paragraph}"
        );
        let names = licence.replace(',', "").replace(" and ", " or ");
        named.extend(names.split(" or ").map(str::to_owned));
    }
    assert!(files > 50, "{files}");
    assert_eq!(named, given);
    assert!(
        text.contains("\nFiles: *\nCopyright: 2026 The check_nats_service developers\nLicense: Apache-2.0\n"),
        "{text}"
    );
}

/// The files of a package, by where they are installed.
fn installed(package: &str) -> BTreeSet<String> {
    let manifest = read("Cargo.toml");
    let (_, section) = manifest
        .split_once(&format!("[package.metadata.{package}]"))
        .expect("the package");
    let section = section.split("\n[").next().unwrap_or_default();
    let mut files = BTreeSet::new();
    for line in section.lines().map(str::trim) {
        let asset = match line.strip_prefix("[\"") {
            Some(asset) => asset.split_once("\", \""),
            None => line
                .strip_prefix("{ source = \"")
                .and_then(|asset| asset.split_once("\", dest = \"")),
        };
        let Some((source, target)) = asset else { continue };
        let target = target.split('"').next().unwrap_or_default().trim_start_matches('/');
        let names = match source.strip_suffix("/*") {
            Some(folder) => fs::read_dir(root(folder))
                .expect("a folder")
                .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
                .collect(),
            None => vec![source.rsplit('/').next().unwrap_or_default().to_owned()],
        };
        files.extend(names.iter().map(|name| match target.ends_with('/') {
            true => format!("/{target}{name}"),
            false => format!("/{target}"),
        }));
    }
    files
}

const PACKAGES: [&str; 2] = ["deb", "generate-rpm"];

/// A path in the documents that a package brings is one of that package.
#[test]
fn documents_of_the_packages_name_what_is_in_them() {
    let examples = "/usr/share/doc/check-nats-service/examples/";
    for package in PACKAGES {
        let files = installed(package);
        let is_there = |path: &str| {
            files
                .iter()
                .any(|file| file == path || file.starts_with(&format!("{}/", path.trim_end_matches('/'))))
        };
        let of_rpm = |path: &str| match package {
            "deb" => path.to_owned(),
            // As its build script has it.
            _ => path
                .replace("/usr/lib/nagios/", "/usr/lib64/nagios/")
                .replace("/etc/nagios-plugins/config/", "/etc/nagios/conf.d/"),
        };
        for document in ["package-readme.md", "nagios/README.md", "icinga2/README.md"] {
            let text = read(&format!("packaging/{document}"));
            let folder = document.split_once('/').map_or("", |(folder, _)| folder);
            let mut named = 0;
            for word in text.split('`').skip(1).step_by(2).filter(|word| !word.contains(' ')) {
                let path = match word {
                    // The link of the RPM is made by its script.
                    "/usr/bin/check_nats_service" if package != "deb" => continue,
                    _ if word.starts_with("/usr/") || word.starts_with("/etc/nagios-plugins/") => of_rpm(word),
                    _ if word.starts_with("examples/") => word.replacen("examples/", examples, 1),
                    _ if word.contains('/') => continue,
                    "check-nats-service.cfg" | "nats-service.conf" => {
                        let ends = |file: &String| file.ends_with(&format!("/{word}"));
                        assert!(files.iter().any(ends), "{package}: {document}: {word}");
                        continue;
                    }
                    _ if !folder.is_empty() && root("packaging").join(folder).join(word).exists() => {
                        format!("{examples}{folder}/{word}")
                    }
                    _ => continue,
                };
                named += 1;
                assert!(is_there(&path), "{package}: {document}: {word}");
            }
            assert!(named > 2, "{document}: {named}");
        }
        assert!(!files.iter().any(|file| file.ends_with("try.sh")), "{files:?}");
    }
    let release = read("packaging/release.sh");
    assert!(
        release.contains("rm \"$temp/static/$name\"/examples/*/try.sh\n"),
        "{release}"
    );
}

/// No example is left out of a package.
#[test]
fn every_example_is_in_the_packages() {
    for folder in ["nagios", "icinga2", "prometheus", "zabbix"] {
        for entry in fs::read_dir(root("packaging").join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            for package in PACKAGES {
                let is_in_use = ["check-nats-service.cfg", "nats-service.conf"].contains(&name.as_str());
                let end = if is_in_use {
                    format!("/{name}")
                } else {
                    format!("/{folder}/{name}")
                };
                let has = |file: &String| file.ends_with(&end);
                assert!(
                    name == "try.sh" || installed(package).iter().any(has),
                    "{package}: {folder}/{name}"
                );
            }
        }
    }
}

/// The program needs it, and cargo-deb does not say so.
#[test]
fn the_debian_package_depends_on_libgcc_and_has_its_units_where_trixie_wants_them() {
    assert!(read("Cargo.toml").contains("\ndepends = \"$auto, libgcc-s1\"\n"));
    let files = installed("deb");
    let is_unit = |file: &&String| file.ends_with(".service") || file.ends_with(".timer");
    let units: Vec<&String> = files.iter().filter(is_unit).collect();
    assert!(units.len() >= 4, "{units:?}");
    assert!(
        units.iter().all(|unit| unit.starts_with("/usr/lib/systemd/system/")),
        "{units:?}"
    );
}

/// A tool that is missing is told before minutes of compiling.
#[test]
fn build_scripts_look_for_their_tools_first() {
    let out = TempDir::new();
    for (script, tool) in [("debian", "cargo-deb"), ("rpm", "cargo-generate-rpm")] {
        let folder = out.join("out");
        Check::program("/usr/bin/env", ["-i", "PATH=/usr/bin:/bin", "bash"])
            .arg(root("packaging").join(script).join("build.sh"))
            .arg(&folder)
            .run()
            .assert_stderr(1, "", &format!("build.sh: no {tool} (cargo install --locked {tool})"));
        assert!(!Path::new(&folder).exists());
    }
}

/// The basket for Icinga Director has a field for each variable of the CheckCommands, with the keys that Director reads.
#[test]
fn the_basket_has_the_variables_of_the_check_commands() {
    let basket: Value = serde_json::from_str(&read("packaging/icinga2/director-basket.json")).unwrap();
    let conf = read("packaging/icinga2/nats-service.conf");
    let fields = basket["Datafield"].as_object().unwrap();
    let mut ids = BTreeSet::new();
    for (number, field) in fields {
        let variable = field["varname"].as_str().unwrap();
        assert!(conf.contains(&format!("${variable}$")), "{variable}");
        assert!(ids.insert(field["uuid"].as_str().unwrap()), "{number}");
        let datatype = field["datatype"].as_str().unwrap();
        let datatype = datatype
            .strip_prefix("Icinga\\Module\\Director\\DataType\\DataType")
            .unwrap();
        assert!(["String", "Boolean", "Array"].contains(&datatype), "{datatype}");
        let is_secret = ["nats_service_password", "nats_service_token"].contains(&variable);
        assert_eq!(field["settings"]["visibility"] == "hidden", is_secret, "{variable}");
    }
    let command = cli::whole_command();
    let variables = |command: &clap::Command, left_out: &[&str]| -> BTreeSet<String> {
        let flags = command.get_arguments().filter_map(clap::Arg::get_long);
        let flags = flags.filter(|flag| !["help", "version", "all"].contains(flag) && !left_out.contains(flag));
        flags
            .map(|flag| format!("nats_service_{}", flag.replace('-', "_")))
            .collect()
    };
    let of_all = ["only", "exclude", "expect", "expect-file", "adopt-after", "per-service"];
    for (name, expected) in [
        ("nats_service", variables(&command, &of_all)),
        ("nats_services", variables(&command, &["name"])),
        (
            "nats_server",
            variables(command.find_subcommand("server").unwrap(), &[]),
        ),
    ] {
        assert!(conf.contains(&format!("object CheckCommand \"{name}\" {{")), "{name}");
        let object = &basket["ExternalCommand"][name];
        assert_eq!(
            (&object["object_name"], &object["object_type"]),
            (&name.into(), &"external_object".into())
        );
        let listed = object["fields"].as_array().unwrap().iter();
        let listed = listed.map(|field| {
            fields[&field["datafield_id"].to_string()]["varname"]
                .as_str()
                .unwrap()
                .to_owned()
        });
        assert_eq!(listed.collect::<BTreeSet<_>>(), expected, "{name}");
        let template = &basket["ServiceTemplate"][&format!("tpl-service-{}", name.replace('_', "-"))];
        assert_eq!(
            (&template["check_command"], &template["object_type"]),
            (&name.into(), &"template".into())
        );
    }
}

fn home(folder: &str) -> String {
    format!("{}/{folder}", std::env::var("HOME").unwrap_or_default())
}

/// The words that a real bash offers behind these.
fn bash(words: &[&str]) -> Vec<String> {
    let script = format!(
        "compopt() {{ :; }}; . {}; COMP_WORDS=(check_nats_service \"$@\"); COMP_CWORD=$#
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
    // Words where there are some, and files for files only.
    let statuses = ["ok", "warning", "unknown", "critical"];
    assert_eq!(bash(&["--never-seen", ""]), statuses);
    assert_eq!(
        bash(&["watch", "--unreachable", ""]),
        [&statuses[..], &["pass", "fail"]].concat()
    );
    assert_eq!(bash(&["probe", "liveness", "--unreachable", ""]), ["pass", "fail"]);
    assert_eq!(bash(&["server", "--unreachable", "cri"]), ["critical"]);
    assert_eq!(
        bash(&["--format", ""]),
        ["nagios", "json", "text", "prometheus", "checkmk"]
    );
    assert_eq!(bash(&["state", "list", "--format", ""]), ["text", "json"]);
    assert_eq!(bash(&["list", "--format", "za"]), ["zabbix"]);
    for flag in [
        "--name",
        "--server",
        "--timeout",
        "--warning",
        "--user",
        "--label",
        "--request",
    ] {
        assert_eq!(bash(&[flag, "make"]), ["make"], "{flag} takes no file");
    }
    assert_eq!(bash(&["textfile", "--output", "make"]), ["make.rs"]);
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
