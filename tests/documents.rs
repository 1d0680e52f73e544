//! README, man page and help say the same as the program.

use std::collections::BTreeSet;
use std::path::Path;

use check_nats_service::cli;
use check_nats_service::values::reason::Reason;

use crate::support::Check;
use crate::support::markdown::{blocks, read, words};

/// All flags of all commands, with their dashes.
fn flags() -> BTreeSet<String> {
    fn collect(command: &clap::Command, flags: &mut BTreeSet<String>) {
        flags.extend(
            command
                .get_arguments()
                .filter_map(|arg| arg.get_long())
                .map(|flag| format!("--{flag}")),
        );
        command.get_subcommands().for_each(|command| collect(command, flags));
    }
    let mut flags = BTreeSet::new();
    collect(&cli::whole_command(), &mut flags);
    flags
}

#[test]
fn the_man_page_is_made_from_the_flags() {
    let program = Path::new(crate::support::check::BINARY).with_file_name("examples/make_man");
    let page = Check::program(program.to_str().unwrap(), [] as [&str; 0]).run();
    assert_eq!(
        page.stdout,
        read("man/check_nats_service.8"),
        "make it anew: cargo run --example make_man >man/check_nats_service.8"
    );
}

#[test]
#[ignore = "needs mandoc"]
fn the_man_page_is_well_formed() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("man/check_nats_service.8");
    Check::program("mandoc", ["-Tlint", "-W", "warning"])
        .arg(&page)
        .run()
        .assert(0, "");
    let text = Check::program("mandoc", ["-Tutf8"]).arg(&page).run().stdout;
    for section in [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "OPTIONS",
        "HOW IT DECIDES",
        "REASONS",
        "TROUBLESHOOTING",
        "JSON OUTPUT",
        "METRICS",
        "HTTP",
        "EXIT STATUS",
        "ENVIRONMENT",
        "FILES",
        "SECURITY",
        "EXAMPLES",
    ] {
        // Bold is a letter, a backspace and the letter again.
        let bold: String = section
            .chars()
            .map(|c| {
                if c == ' ' {
                    " ".to_owned()
                } else {
                    format!("{c}\u{8}{c}")
                }
            })
            .collect();
        assert!(text.lines().any(|line| line == bold), "{section}\n{text}");
    }
}

/// Whoever asks for help reads it in a terminal, of 80 columns at worst.
#[test]
fn help_fits_into_80_columns() {
    for words in [
        &["--help"][..],
        &["check", "--help"],
        &["textfile", "--help"],
        &["probe", "--help"],
        &["probe", "liveness", "--help"],
        &["watch", "--help"],
        &["state", "show", "--help"],
        &["state", "list", "--help"],
        &["list", "--help"],
        &["server", "--help"],
    ] {
        let help = Check::new(words).run();
        assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""), "{words:?}");
        for line in help.stdout.lines() {
            assert!(line.chars().count() <= 80, "{words:?}: {line}");
        }
    }
}

#[test]
fn every_flag_has_its_help() {
    fn look(command: &clap::Command) {
        for arg in command.get_arguments() {
            assert!(arg.get_help().is_some(), "{} --{}", command.get_name(), arg.get_id());
        }
        command.get_subcommands().for_each(look);
    }
    look(&cli::whole_command());
}

#[test]
fn man_page_has_every_reason_and_command() {
    let man = read("man/check_nats_service.8");
    for reason in Reason::ALL {
        assert!(man.contains(&format!("\n{}\n", reason.name())), "{}", reason.name());
    }
    for spec in &cli::COMMANDS {
        let name = format!("\\fB{}\\fR", spec.name);
        assert!(man.contains(&name), "{}", spec.name);
    }
}

/// All documents of the project, by their path.
fn documents() -> Vec<String> {
    let listed = Check::program("git", ["-C", env!("CARGO_MANIFEST_DIR"), "ls-files", "*.md"]).run();
    listed.stdout.lines().map(str::to_owned).collect()
}

/// The anchor that a heading gets: lower case, without punctuation, with dashes for spaces.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = kept
        .chars()
        .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn links_of_all_documents_lead_somewhere() {
    let mut links = 0;
    for document in documents() {
        let text = read(&document);
        let folder = Path::new(&document).parent().expect("a folder");
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split_once(')'))
            .map(|(link, _)| link)
        {
            if link.starts_with("https://") {
                continue;
            }
            links += 1;
            let (path, section) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() {
                document.clone()
            } else {
                folder.join(path).display().to_string()
            };
            assert!(
                Path::new(env!("CARGO_MANIFEST_DIR")).join(&target).exists(),
                "{document}: {link}"
            );
            let has = |line: &str| line.starts_with('#') && anchor(line) == section;
            assert!(
                section.is_empty() || read(&target).lines().any(has),
                "{document}: {link}"
            );
        }
    }
    assert!(links > 3, "{links}");
}

/// Every command in the documents, whoever is to run it, has arguments that the program understands.
#[test]
fn commands_in_the_documents_are_understood() {
    let mut number = 0;
    for document in documents() {
        let languages = ["", "console", "sh", "nrpe", "nagios"];
        let blocks = languages.iter().flat_map(|language| blocks(&read(&document), language));
        for line in blocks.flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>()) {
            let line = line
                .trim()
                .trim_start_matches("$ ")
                .trim_start_matches("sudo -u nagios ");
            let line = line
                .split_once("]=/usr/lib/nagios/plugins/")
                .map_or(line, |(_, command)| command);
            let command = match line.strip_prefix("check_command") {
                Some(definition) => {
                    let (name, options) = definition.trim().split_once('!').unwrap_or((definition.trim(), ""));
                    match (name, options.split_once('!')) {
                        ("check_nats_server", _) => format!("check_nats_service server -H h {options}"),
                        ("check_nats_services", _) => format!("check_nats_service --all -H h {options}"),
                        ("check_nats_service", Some((service, rest))) => {
                            format!("check_nats_service -n {service} -H h {rest}")
                        }
                        _ => format!("check_nats_service -n {options} -H h"),
                    }
                }
                None => line.to_owned(),
            };
            let is_ours = command.starts_with("check_nats_service ") && !command.contains('…');
            if is_ours && !command.contains("state reset") {
                let known = cli::parse(&words(&command.replace("$$", "$")), &|_: &str| None);
                assert!(known.is_ok(), "{document}: {line}: {known:?}");
                number += 1;
            }
        }
    }
    assert!(number > 10, "{number}");
}

#[test]
fn no_document_names_a_flag_that_is_not_there() {
    let flags = flags();
    let foreign = [
        "--arch",
        "--check",
        "--collector",
        "--create",
        "--release",
        "--locked",
        "--example",
        "--from-file",
        "--ignore-missing",
        "--nocapture",
        "--comment",
        "--duration",
        "--previous",
        "--now",
        "--help",
        "--version",
    ];
    let documents = documents();
    let documents = documents
        .iter()
        .map(String::as_str)
        .filter(|path| !path.starts_with("tests/"));
    for path in documents.chain(["man/check_nats_service.8"]) {
        let text = read(path).replace("\\-", "-");
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
        let named: BTreeSet<&str> = words
            .filter(|word| word.starts_with("--") && !word.trim_matches('-').is_empty())
            .collect();
        for flag in named {
            assert!(flags.contains(flag) || foreign.contains(&flag), "{path}: {flag}");
        }
    }
}

#[test]
fn the_man_page_knows_every_variable_that_the_program_reads() {
    let man = read("man/check_nats_service.8");
    let sources = ["src/cli/connection.rs", "src/connect/context.rs", "src/state/store.rs"]
        .map(read)
        .concat();
    // Their names are string literals with a line in the middle, and nothing else is written so.
    let is_name = |word: &&str| word.contains('_') && word.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    let variables: BTreeSet<&str> = sources.split('"').filter(is_name).collect();
    assert!(variables.len() >= 12, "{variables:?}");
    for variable in variables {
        assert!(man.contains(variable) || *variable == *"CARGO_PKG_NAME", "{variable}");
    }
}

#[test]
fn no_document_is_longer_than_its_limit() {
    for document in documents() {
        let limit = match document.as_str() {
            "README.md" => 250,
            "CHANGELOG.md" => 25,
            _ => 400,
        };
        let lines = read(&document).lines().count();
        assert!(lines <= limit, "{document} has {lines} lines, more than {limit}");
    }
}
