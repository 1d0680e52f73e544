//! The layout of the code: which file may use which. Reads the sources as text.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms, from the one that uses the others to the one that uses none: as `src/lib.rs` lists them.
fn rooms() -> Vec<String> {
    let text = fs::read_to_string(root().join("src/lib.rs")).expect("src/lib.rs");
    let listed = text.lines().filter_map(|line| line.strip_prefix("//! - [`"));
    listed
        .filter_map(|line| Some(line.split_once('`')?.0.to_owned()))
        .collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every source file by its module path (`judge::presence`), without its unit tests.
fn sources() -> BTreeMap<String, String> {
    fn walk(dir: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => walk(&path, files),
                false if path.extension().is_some_and(|end| end == "rs") => files.push(path),
                false => {}
            }
        }
    }
    let src = root().join("src");
    let mut files = Vec::new();
    walk(&src, &mut files);
    let mut sources = BTreeMap::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a source file");
        let name = file.strip_prefix(&src).expect("below src").with_extension("");
        let name = name.to_str().expect("UTF-8").replace('/', "::");
        // Fixtures and tests may use whatever they test.
        if ["tests", "fixture", "sample_reports"]
            .iter()
            .any(|end| name.ends_with(end))
        {
            continue;
        }
        let text = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
        sources.insert(name.strip_suffix("::mod").unwrap_or(&name).to_owned(), text);
    }
    sources
}

/// The modules that a source file names: after `crate::`, after `super::`, which stands for its room, after `self::`, and `mod`.
fn imports(name: &str, text: &str, all: &BTreeMap<String, String>) -> BTreeSet<String> {
    let is_room = all.keys().any(|other| other.starts_with(&format!("{name}::")));
    let room = match is_room {
        true => name,
        false => name.rsplit_once("::").map_or("", |(room, _)| room),
    };
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join(" ");
    let mut found = BTreeSet::new();
    for (keyword, base) in [("crate::", ""), ("super::", room), ("self::", name)] {
        for (at, _) in code.match_indices(keyword) {
            let rest = &code[at + keyword.len()..];
            // `use crate::room::{a, b::C};` names several.
            let (head, group) = match rest.find(['{', ';', '(', ')', ',', '>', ' ']) {
                Some(end) if rest[end..].starts_with('{') => {
                    let close = rest[end..].find('}').map_or(rest.len(), |close| end + close);
                    (&rest[..end], rest[end + 1..close].split(',').map(str::trim).collect())
                }
                Some(end) => (&rest[..end], vec![""]),
                None => (rest, vec![""]),
            };
            for member in group {
                let path = format!("{base}::{head}{member}");
                let path = path.trim_start_matches("::");
                // The longest beginning that is a module.
                let mut end = path;
                while !all.contains_key(end) {
                    let Some((shorter, _)) = end.rsplit_once("::") else {
                        break;
                    };
                    end = shorter;
                }
                if all.contains_key(end) && end != name {
                    found.insert(end.to_owned());
                }
            }
        }
    }
    // A room stands above what is in it: nothing in it may use what its `mod.rs` defines.
    for declared in text
        .lines()
        .filter_map(|line| line.strip_suffix(';')?.split_once("mod "))
    {
        found.insert(format!("{name}::{}", declared.1));
    }
    found
}

fn graph() -> BTreeMap<String, BTreeSet<String>> {
    let sources = sources();
    sources
        .iter()
        .filter(|(name, _)| !["lib", "main"].contains(&name.as_str()))
        .map(|(name, text)| (name.clone(), imports(name, text, &sources)))
        .collect()
}

fn room(module: &str) -> &str {
    module.split("::").next().unwrap_or(module)
}

#[test]
fn every_folder_is_a_room_that_is_listed() {
    let rooms = rooms();
    let mut there: Vec<String> = graph().keys().map(|module| room(module).to_owned()).collect();
    there.dedup();
    let mut listed = rooms.clone();
    listed.sort();
    assert_eq!(there, listed, "src/lib.rs lists the rooms");
}

#[test]
fn imports_run_down_the_list_of_rooms() {
    let rooms = rooms();
    let place = |module: &str| rooms.iter().position(|listed| listed == room(module));
    let mut seen = 0;
    for (module, imports) in graph() {
        for import in imports {
            seen += 1;
            assert!(
                place(&module) <= place(&import),
                "{module} must not use {import}, which stands above it"
            );
        }
    }
    assert!(seen > 100, "only {seen} imports were found");
}

#[test]
fn no_file_is_in_a_circle() {
    let graph = graph();
    // Takes away, again and again, the files that use nothing that is left.
    let mut left: BTreeSet<&String> = graph.keys().collect();
    loop {
        let free: Vec<&String> = left
            .iter()
            .filter(|module| !graph[**module].iter().any(|import| left.contains(import)))
            .copied()
            .collect();
        if free.is_empty() {
            break;
        }
        left.retain(|module| !free.contains(module));
    }
    assert!(
        left.is_empty(),
        "these files use each other in a circle, or use one: {left:#?}"
    );
}

#[test]
fn one_file_knows_each_thing() {
    let users = |word: &str| -> Vec<String> {
        let code = |text: &str| {
            let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            lines.collect::<Vec<_>>().join("\n")
        };
        let using = sources().into_iter().filter(|(_, text)| code(text).contains(word));
        using.map(|(module, _)| module).collect()
    };
    assert_eq!(users("nats::"), ["probe::client::worker"], "the NATS client");
    assert_eq!(users("httparse::"), ["serve::request"], "the parser of HTTP");
    assert_eq!(users("libc::fork"), ["commands::child"], "forks");
    assert_eq!(users("semver::"), ["values::version"], "the crate of versions");
    assert_eq!(
        users("low_level::exit"),
        ["process::exit", "process::memory"],
        "the exit"
    );
    assert_eq!(users("std::io::stdout()"), ["process::exit"], "stdout");
    // The HTTP server, which is this program run anew.
    assert_eq!(users("Command::new"), ["commands::child"], "commands");
    assert_eq!(users("std::process::Command"), ["commands::child"], "starts programs");
    assert_eq!(
        users("unsafe "),
        [
            "commands::child",
            "probe::sockets",
            "process::memory",
            "process::names",
            "process::watchdog"
        ],
        "what the compiler cannot check"
    );
    for pure in ["std::fs", "std::net", "std::thread", "Instant"] {
        for module in users(pure) {
            assert!(
                !["judge", "render", "values"].contains(&room(&module)),
                "{module} is pure, and uses {pure}"
            );
        }
    }
    for module in users("Timestamp::now") {
        assert_ne!(room(&module), "judge", "{module} is given the time");
    }
}

/// Helpers of two test modules are in tests/support. A module's own files (`tests/faults/`) may use the module.
#[test]
fn no_test_module_uses_another() {
    let tests = root().join("tests");
    let main = fs::read_to_string(tests.join("main.rs")).expect("tests/main.rs");
    let modules: Vec<&str> = main
        .lines()
        .filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'))
        .filter(|module| *module != "support")
        .collect();
    assert!(modules.len() > 40, "{modules:?}");
    for module in &modules {
        let mut files = vec![tests.join(format!("{module}.rs"))];
        let own = fs::read_dir(tests.join(module)).into_iter().flatten();
        files.extend(own.map(|entry| entry.expect("an entry").path()));
        for file in files
            .iter()
            .filter(|file| file.extension().is_some_and(|end| end == "rs"))
        {
            let Ok(text) = fs::read_to_string(file) else { continue };
            for other in modules.iter().filter(|other| *other != module) {
                // To a module's own files, `super` is the module.
                let is_own = file.parent() != Some(tests.as_path());
                let is_used = ["crate", if is_own { "super::super" } else { "super" }]
                    .iter()
                    .any(|base| {
                        text.contains(&format!("use {base}::{other}::"))
                            || text.contains(&format!(" {base}::{other}::"))
                    });
                assert!(
                    !is_used,
                    "{} uses {other}: move what it needs to tests/support",
                    file.display()
                );
            }
        }
    }
}

/// A doc comment begins with a noun phrase ("Time limit of …", "Set if …") or a verb in the third person ("Returns …"), and so does each
/// paragraph of it: a question word there makes the reader turn the sentence around.
#[test]
fn doc_comments_begin_with_no_question_word() {
    fn walk(dir: &Path, wrong: &mut Vec<String>, seen: &mut usize) {
        for entry in fs::read_dir(dir).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, wrong, seen);
            }
            if path.extension().is_none_or(|end| end != "rs") {
                continue;
            }
            let text = fs::read_to_string(&path).expect("a source file");
            let mut begins = true;
            for (number, line) in text.lines().enumerate() {
                let line = line.trim_start();
                let comment = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
                let words = comment.map_or("", str::trim_start);
                if begins && !words.is_empty() {
                    *seen += 1;
                    let first = words.split(|c: char| !c.is_alphabetic()).next().unwrap_or_default();
                    if ["What", "How", "Whether", "Who"].contains(&first) {
                        wrong.push(format!("{}:{}: {words}", path.display(), number + 1));
                    }
                }
                begins = words.is_empty();
            }
        }
    }
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for folder in ["src", "tests", "packaging"] {
        walk(&root().join(folder), &mut wrong, &mut seen);
    }
    assert!(seen > 2000, "only {seen} paragraphs were found");
    assert!(wrong.is_empty(), "say the noun or the verb:\n{}", wrong.join("\n"));
}

#[test]
fn main_parses_runs_and_exits() {
    let main = &sources()["main"];
    let lines = main.lines().count();
    assert!(lines <= 40, "src/main.rs has {lines} lines");
    assert!(!main.contains("unsafe"));
}
