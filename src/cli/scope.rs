//! Which services a run is about: `--name`, or `--all` and the flags that belong to it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::flag_values::{ConfigError, FlagValues, Origin};
use crate::connect::target::ServiceName;
use crate::files::read::shown;
use crate::values::selection::{Glob, Selection};

/// Subject of a run: one service, or all of them.
#[derive(Clone, Debug)]
pub enum Scope {
    /// `--name`
    One(ServiceName),
    /// `--all`
    All(AllServices),
}

impl Scope {
    /// The service, in words where it is every one.
    pub fn name(&self) -> &str {
        match self {
            Scope::One(service) => service.as_str(),
            Scope::All(_) => "all services",
        }
    }
}

/// Which services are watched: those that answer or are remembered, if they are selected, and those that are expected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllServices {
    pub selection: Selection,
    /// Those that must be there even if they were never seen.
    pub expected: BTreeSet<String>,
    /// A file with the names of more of them.
    pub expect_file: Option<PathBuf>,
    /// For how long a new service must have answered before it is watched.
    pub adopt_after: Duration,
}

/// Flags that mean nothing for one service.
const OF_ALL_SERVICES: [&str; 6] = ["only", "exclude", "expect", "expect-file", "adopt-after", "per-service"];

/// Maximum number of services that can be expected.
const MAX_EXPECTED: usize = 10_000;

pub(super) fn scope(values: &FlagValues<'_>) -> Result<Scope, String> {
    if values.has("all") {
        return Ok(Scope::All(all(values)?));
    }
    // clap drops a requirement that contradicts another flag.
    if let Some(flag) = values.first_given(&OF_ALL_SERVICES) {
        return Err(format!("--{flag} needs --all, in the place of --name"));
    }
    let service = values.read("name", ServiceName::parse)?;
    let way_out = match values.defines("all") {
        true => "Give its name with --name, or say --all",
        false => "Give its name with --name",
    };
    Ok(Scope::One(service.ok_or_else(|| format!("which service? {way_out}"))?))
}

/// The services of `--all`, or of `list`, without those of the file of `--expect-file`.
pub(super) fn all(values: &FlagValues<'_>) -> Result<AllServices, String> {
    let globs = |flag: &str| -> Result<Vec<Glob>, String> {
        let words = values.words(flag)?;
        let globs = words.into_iter().map(Glob::parse);
        globs
            .collect::<Result<_, _>>()
            .map_err(|why| format!("--{flag}: {why}"))
    };
    let expected = values.words("expect")?.into_iter().map(ServiceName::parse);
    let expected: Result<BTreeSet<String>, String> =
        expected.map(|name| name.map(|name| name.as_str().to_owned())).collect();
    Ok(AllServices {
        selection: Selection {
            only: globs("only")?,
            exclude: globs("exclude")?,
        },
        expected: expected.map_err(|why| format!("--expect: {why}"))?,
        expect_file: values.path("expect-file")?,
        adopt_after: values.duration("adopt-after")?.unwrap_or(Duration::ZERO),
    })
}

/// The services with those that the file names, one a line; `#` begins a comment.
pub(super) fn with_file(all: &AllServices, values: &FlagValues<'_>) -> Result<AllServices, ConfigError> {
    let mut all = all.clone();
    if let Some(path) = &all.expect_file {
        let text = values.read_file(Origin::Flag("expect-file"), path)?;
        for (number, line) in text.lines().enumerate() {
            let name = line.split('#').next().unwrap_or_default().trim();
            if name.is_empty() {
                continue;
            }
            let name = ServiceName::parse(name).map_err(|why| {
                ConfigError::File(format!("--expect-file {}, line {}: {why}", shown(path), number + 1))
            })?;
            all.expected.insert(name.as_str().to_owned());
        }
    }
    if all.expected.len() > MAX_EXPECTED {
        return Err(format!("--expect: more than {MAX_EXPECTED} services").into());
    }
    match all.expected.iter().find(|name| !all.selection.includes(name)) {
        Some(name) => Err(format!("--expect: {name} is left out by --only or --exclude").into()),
        None => Ok(all),
    }
}
