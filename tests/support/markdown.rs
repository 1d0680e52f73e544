//! The parts of documents: their sections, and the blocks in them that people paste.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

/// Returns the text of a file of the repository.
pub fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(root.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The section of a document below a heading such as `## Kubernetes`, up to the next heading of the same level.
#[track_caller]
pub fn section(path: &str, heading: &str) -> String {
    let text = read(path);
    let (_, rest) = text
        .split_once(&format!("\n{heading}\n"))
        .unwrap_or_else(|| panic!("{path} has no section {heading}"));
    let level = heading.split(' ').next().unwrap();
    rest.split(&format!("\n{level} ")).next().unwrap().to_owned()
}

/// The fenced blocks of a text in this language (`""` for none), without the indent of their fences.
pub fn blocks(text: &str, language: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(fence) = lines.find(|line| line.trim_start().starts_with("```")) {
        let indent = fence.len() - fence.trim_start().len();
        let block: Vec<&str> = lines.by_ref().take_while(|line| line.trim() != "```").collect();
        if fence.trim() == format!("```{language}") {
            found.push(
                block
                    .iter()
                    .map(|line| format!("{}\n", line.get(indent..).unwrap_or_default()))
                    .collect(),
            );
        }
    }
    found
}

/// Splits a command into words as a shell does: by blanks, with quotes, up to a comment.
pub fn words(command: &str) -> Vec<OsString> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in command.chars() {
        match (quote, c) {
            (Some(end), _) if c == end => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            (None, '#') if word.is_none() => break,
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words.into_iter().map(OsString::from).collect()
}

#[test]
fn blocks_are_found_with_their_language_and_without_their_indent() {
    let text = "a\n```\none\n```\n1. b\n\n   ```yaml\n   two:\n     - 3\n   ```\n";
    assert_eq!(blocks(text, ""), ["one\n"]);
    assert_eq!(blocks(text, "yaml"), ["two:\n  - 3\n"]);
}
