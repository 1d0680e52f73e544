//! The readers of bytes that somebody else has written, and the promises about each, whatever the bytes are. A target takes any
//! input and panics where a promise is broken: libFuzzer calls it (`run.sh`), and so do the ordinary tests (`../mod.rs`).
//!
//! A new one is a file here, with a `TARGET` in it, and a line in [`TARGETS`].

use std::fs;
use std::path::Path;

mod arguments;
mod context;
mod creds;
mod duration;
mod endpoint;
mod http;
mod range;
mod reply;
mod server_text;
mod state;
mod status_file;
mod told;
mod url;
mod verdict;
mod version;

/// One of the things that read bytes.
pub struct Target {
    pub name: &'static str,
    /// Reads the input, and panics where a promise is broken.
    pub run: fn(&[u8]),
    /// Inputs to begin with, and those that once broke a promise.
    pub seeds: &'static [&'static str],
    /// Which of the files of tests/samples are seeds, too: those with this in their names.
    pub samples: Option<&'static str>,
    /// Words that matter to it, for the mutations.
    pub words: &'static [&'static str],
}

/// All of them.
pub const TARGETS: &[Target] = &[
    arguments::TARGET,
    context::TARGET,
    creds::TARGET,
    duration::TARGET,
    endpoint::TARGET,
    http::TARGET,
    range::TARGET,
    reply::TARGET,
    server_text::TARGET,
    state::TARGET,
    status_file::TARGET,
    url::TARGET,
    verdict::TARGET,
    version::TARGET,
];

impl Target {
    /// The inputs to begin with, given the root of the repository.
    pub fn seeds(&self, root: &Path) -> Vec<Vec<u8>> {
        let mut seeds: Vec<Vec<u8>> = self.seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect();
        if let Some(part) = self.samples {
            let samples = fs::read_dir(root.join("tests/samples")).expect("tests/samples");
            let mut paths: Vec<_> = samples.map(|entry| entry.expect("an entry").path()).collect();
            paths.retain(|path| path.to_string_lossy().contains(part));
            paths.sort();
            seeds.extend(paths.iter().map(|path| fs::read(path).expect("a sample")));
        }
        seeds
    }
}

/// A word that stands for a secret in the inputs: where it is one, no output may have it.
pub const SECRET: &str = "zq9Zq9";

/// The input as text, where a parser gets text.
pub fn text(input: &[u8]) -> Option<&str> {
    std::str::from_utf8(input).ok()
}

/// Can be printed anywhere as it stands, and has at most this many characters: no line end, no perfdata, no markup, nothing that
/// a shell, a terminal or a browser acts on.
#[track_caller]
pub fn assert_clean(text: &str, max: usize) {
    let good = |c: char| c.is_alphanumeric() || (' '..='~').contains(&c) && !"`~$&|'\"<>\\".contains(c);
    assert!(text.chars().all(good), "not clean: {text:?}");
    assert!(text.chars().count() <= max + "...".len(), "longer than {max}: {text}");
}
