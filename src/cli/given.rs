//! The values of flags and variables, by name. Every mistake is one line that names the flag.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::ArgMatches;

use crate::files::read::{read_text, shown};
use crate::values::duration;
use crate::values::env::Env;
use crate::values::range::Range;
use crate::values::secret::{Secret, redact};
use crate::values::status::Status;
use crate::values::text::clean;

/// What is wrong with what the user has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// With the arguments or variables themselves.
    Usage(String),
    /// With a file that they name: it is missing or malformed. A moment later it may be right.
    File(String),
}

impl Problem {
    pub fn text(&self) -> &str {
        match self {
            Problem::Usage(text) | Problem::File(text) => text,
        }
    }

    pub fn into_text(self) -> String {
        match self {
            Problem::Usage(text) | Problem::File(text) => text,
        }
    }

    /// Without the user info of URLs.
    #[must_use]
    pub fn redacted(&self) -> Problem {
        match self {
            Problem::Usage(text) => Problem::Usage(redact(text)),
            Problem::File(text) => Problem::File(redact(text)),
        }
    }
}

impl From<String> for Problem {
    fn from(text: String) -> Problem {
        Problem::Usage(text)
    }
}

impl From<&str> for Problem {
    fn from(text: &str) -> Problem {
        Problem::Usage(text.to_owned())
    }
}

/// What was given by flags, and what by the environment.
pub struct Given<'a> {
    pub matches: &'a ArgMatches,
    pub env: Env<'a>,
    /// Until when a file may be read.
    pub deadline: Instant,
}

impl Given<'_> {
    pub fn raw(&self, flag: &str) -> Option<&OsStr> {
        // Not every mode has every flag.
        let value = self.matches.try_get_one::<OsString>(flag).ok().flatten();
        value.map(OsString::as_os_str)
    }

    /// All values of a flag that can be repeated.
    pub fn words(&self, flag: &str) -> Result<Vec<&str>, String> {
        let values = self.matches.try_get_many::<OsString>(flag).ok().flatten();
        let words = values.into_iter().flatten();
        words
            .map(|word| word.to_str().ok_or(format!("the value of --{flag} is not UTF-8")))
            .collect()
    }

    pub fn path(&self, flag: &str) -> Result<Option<PathBuf>, String> {
        match self.raw(flag) {
            Some(path) if path.is_empty() => Err(format!("--{flag}: the name is empty")),
            path => Ok(path.map(PathBuf::from)),
        }
    }

    pub fn has(&self, flag: &str) -> bool {
        self.matches
            .try_get_one::<bool>(flag)
            .ok()
            .flatten()
            .is_some_and(|set| *set)
    }

    pub fn text(&self, flag: &str) -> Result<Option<&str>, String> {
        self.raw(flag)
            .map(|value| value.to_str().ok_or(format!("the value of --{flag} is not UTF-8")))
            .transpose()
    }

    /// A variable; an empty one counts as unset.
    pub fn variable(&self, name: &str) -> Result<Option<String>, String> {
        match (self.env)(name).filter(|value| !value.is_empty()) {
            Some(value) => value
                .into_string()
                .map(Some)
                .map_err(|_| format!("the variable {name} is not UTF-8")),
            None => Ok(None),
        }
    }

    pub fn duration(&self, flag: &str) -> Result<Option<Duration>, String> {
        self.read(flag, duration::parse)
    }

    pub fn duration_above_zero(&self, flag: &str) -> Result<Option<Duration>, String> {
        match self.duration(flag)? {
            Some(Duration::ZERO) => Err(format!("--{flag}: it must be longer than 0")),
            duration => Ok(duration),
        }
    }

    /// A number without a sign and a fraction.
    pub fn number(&self, flag: &str) -> Result<Option<u64>, String> {
        let wrong = |text: &str| format!("'{}' is not a whole number from 0 to 1000000000", clean(text, 80));
        self.read(flag, |text| match text.parse::<u64>() {
            Ok(number) if number <= 1_000_000_000 && !text.starts_with('+') => Ok(number),
            _ => Err(wrong(text)),
        })
    }

    /// `5`, `0.1` or `5%`: from 0 to 100.
    pub fn percent(&self, flag: &str) -> Result<Option<f64>, String> {
        self.read(flag, |text| {
            let digits = text.strip_suffix('%').unwrap_or(text);
            let plain = digits.chars().all(|c| c.is_ascii_digit() || c == '.');
            match digits.parse::<f64>() {
                Ok(percent) if plain && (0.0..=100.0).contains(&percent) => Ok(percent),
                _ => Err(format!("'{}' is not a percentage from 0 to 100", clean(text, 80))),
            }
        })
    }

    pub fn range(&self, flag: &str) -> Result<Option<Range>, String> {
        let read = |text: &str| Range::parse(text).map_err(|why| format!("'{text}': {why}"));
        self.read(flag, read)
    }

    pub fn status(&self, flag: &str) -> Result<Option<Status>, String> {
        let read = |text: &str| {
            Status::parse(text).ok_or(format!("'{text}' is not a status: ok, warning, unknown or critical"))
        };
        self.read(flag, read)
    }

    pub fn read<T>(&self, flag: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Result<Option<T>, String> {
        let named = |why: String| format!("--{flag}: {why}");
        self.text(flag)?.map(|text| read(text).map_err(named)).transpose()
    }

    /// A secret from a flag, or from the file that another flag names.
    pub fn secret(&self, flag: &str, file_flag: &str) -> Result<Option<Secret>, Problem> {
        if let Some(text) = self.text(flag)? {
            return match text {
                "" => Err(format!("--{flag}: it is empty").into()),
                text => Ok(Some(Secret::new(text))),
            };
        }
        let Some(path) = self.raw(file_flag) else {
            return Ok(None);
        };
        let source = format!("--{file_flag}");
        let path = Path::new(path);
        let text =
            self.read_file(&source, path)
                .map_err(|problem| match path.to_string_lossy().contains(['/', '.']) {
                    true => problem,
                    // The name may be the secret itself, given by mistake.
                    false => Problem::File(format!(
                        "{source}: there is no such file, or it cannot be read; give its path, like ./FILE"
                    )),
                })?;
        match text.lines().next() {
            None | Some("") => Err(Problem::File(format!(
                "{source} {}: its first line is empty",
                shown(path)
            ))),
            Some(line) => Ok(Some(Secret::new(line))),
        }
    }

    /// A path from a flag, a variable or the context, and where it came from.
    pub fn file(&self, flag: &str, variable: &str, context: Option<&PathBuf>) -> Option<(String, PathBuf)> {
        let path = |value: &OsStr| PathBuf::from(value);
        self.raw(flag)
            .map(|value| (format!("--{flag}"), path(value)))
            .or_else(|| {
                let value = (self.env)(variable).filter(|value| !value.is_empty())?;
                Some((variable.to_owned(), path(&value)))
            })
            .or_else(|| Some(("the context".to_owned(), context?.clone())))
    }

    /// A small file of text: a secret, a key, a certificate, a context.
    pub fn read_file(&self, source: &str, path: &Path) -> Result<String, Problem> {
        const LARGEST: u64 = 1024 * 1024;
        read_text(path, LARGEST, self.deadline).map_err(|why| Problem::File(format!("{source} {}: {why}", shown(path))))
    }
}
