//! The values of flags and variables, by name. Every mistake is one line that names the flag.

use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::ArgMatches;

use crate::connect::context::{Plain, Setting, resolve};
use crate::files::read::{read_text, shown};
use crate::files::user_path::UserPath;
use crate::values::duration;
use crate::values::env::Env;
use crate::values::range::Range;
use crate::values::secret::{Secret, is_secret, redact};
use crate::values::status::Status;
use crate::values::text::clean;

/// Error in the options, as a text for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// With the arguments or variables themselves.
    Usage(String),
    /// With a file that they name: it is missing or malformed. A moment later it may be right.
    File(String),
}

impl ConfigError {
    pub fn text(&self) -> &str {
        match self {
            ConfigError::Usage(text) | ConfigError::File(text) => text,
        }
    }

    /// Without the user info of URLs.
    #[must_use]
    pub fn redacted(&self) -> ConfigError {
        match self {
            ConfigError::Usage(text) => ConfigError::Usage(redact(text)),
            ConfigError::File(text) => ConfigError::File(redact(text)),
        }
    }
}

impl From<String> for ConfigError {
    fn from(text: String) -> ConfigError {
        ConfigError::Usage(text)
    }
}

impl From<&str> for ConfigError {
    fn from(text: &str) -> ConfigError {
        ConfigError::Usage(text.to_owned())
    }
}

/// Where a setting comes from, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Flag(&'static str),
    Variable(&'static str),
    /// A field of the context.
    Context(&'static str),
}

impl Origin {
    /// The value is wrong. That of a context stands in a file.
    pub fn problem(self, why: impl fmt::Display) -> ConfigError {
        let text = format!("{self}: {why}");
        match self {
            Origin::Context(_) => ConfigError::File(text),
            Origin::Flag(_) | Origin::Variable(_) => ConfigError::Usage(text),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag(name) => write!(f, "--{name}"),
            Origin::Variable(name) => f.write_str(name),
            Origin::Context(name) => write!(f, "the {name} of the context"),
        }
    }
}

/// A key, a JWT or a password stands where the name of its file belongs.
pub const SECRET_ITSELF: &str = "the value is the secret itself, give the name of a file";

/// Flags whose value is a secret, or may hold one. No message shows the value of one of them.
const SECRET_FLAGS: [&str; 7] = [
    "server",
    "user",
    "password",
    "token",
    "payload",
    "header",
    "reply-contains",
];

/// Values of the flags and of the environment.
pub struct FlagValues<'a> {
    pub matches: &'a ArgMatches,
    pub env: Env<'a>,
    /// Until when a file may be read.
    pub deadline: Instant,
    /// Remarks on what was given, for `-v`. Clean.
    pub remarks: RefCell<Vec<String>>,
}

impl<'a> FlagValues<'a> {
    pub fn new(matches: &'a ArgMatches, env: Env<'a>, deadline: Instant) -> FlagValues<'a> {
        FlagValues {
            matches,
            env,
            deadline,
            remarks: RefCell::default(),
        }
    }

    /// # Errors
    ///
    /// A flag has a value that has the form of a secret, and is not one whose value is one.
    pub fn refuse_secrets(&self) -> Result<(), String> {
        for id in self.matches.ids().filter(|id| !SECRET_FLAGS.contains(&id.as_str())) {
            let values = self.matches.try_get_many::<OsString>(id.as_str()).ok().flatten();
            if values
                .into_iter()
                .flatten()
                .any(|value| is_secret(&value.to_string_lossy()))
            {
                return Err(format!("--{id}: {SECRET_ITSELF}"));
            }
        }
        Ok(())
    }

    /// The first of these flags that was given.
    pub fn first_given(&self, flags: &[&'static str]) -> Option<&'static str> {
        let is_given = |flag: &&str| self.has(flag) || self.raw(flag).is_some();
        flags.iter().copied().find(is_given)
    }

    /// Returns `true` if the command has this flag, given or not.
    pub fn defines(&self, flag: &str) -> bool {
        self.matches.try_contains_id(flag).is_ok()
    }

    pub fn raw(&self, flag: &str) -> Option<&OsStr> {
        // Some modes lack some flags.
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

    /// A variable that says how to connect. The line break that a Kubernetes Secret or a heredoc leaves at its end is no part of it.
    pub fn setting(&self, name: &'static str) -> Result<Option<String>, String> {
        let Some(value) = self.variable(name)? else {
            return Ok(None);
        };
        let text = value.trim_end_matches(['\r', '\n']);
        if text.len() < value.len() {
            self.remark(format!("{name} ends with a line break, which is left out"));
        }
        Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
    }

    pub fn remark(&self, text: String) {
        let mut remarks = self.remarks.borrow_mut();
        if !remarks.contains(&text) {
            remarks.push(text);
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
    pub fn secret(&self, flag: &str, file_flag: &'static str) -> Result<Option<Secret>, ConfigError> {
        if let Some(text) = self.text(flag)? {
            return match text {
                "" => Err(format!("--{flag}: it is empty").into()),
                text => Ok(Some(Secret::new(text))),
            };
        }
        let Some(path) = self.raw(file_flag) else {
            return Ok(None);
        };
        let (origin, path) = (Origin::Flag(file_flag), Path::new(path));
        let text = self.read_secret_file(origin, path)?;
        match text.lines().next() {
            None | Some("") => Err(ConfigError::File(format!(
                "{origin} {}: its first line is empty",
                shown(path)
            ))),
            Some(line) => Ok(Some(Secret::new(line))),
        }
    }

    /// The path of a file of TLS from a flag, a variable or the context, and where it came from.
    pub fn file(
        &self,
        flag: &'static str,
        variable: &'static str,
        context: Option<&Secret>,
    ) -> Result<Option<(Origin, PathBuf)>, ConfigError> {
        if let Some(path) = self.raw(flag) {
            return Ok(Some((Origin::Flag(flag), path.into())));
        }
        if let Some(path) = self.setting(variable)? {
            return Ok(Some((Origin::Variable(variable), path.into())));
        }
        let Some(value) = context else {
            return Ok(None);
        };
        let origin = Origin::Context(flag.trim_start_matches("tls"));
        match resolve(value, Plain::Path, self.env).map_err(|why| origin.problem(why))? {
            Setting::File(path) => Ok(Some((origin, path))),
            Setting::Text(_) => Err(origin.problem("only the name of a file can stand there, as for the nats CLI")),
        }
    }

    /// A small file of text: a certificate, a context.
    pub fn read_file(&self, origin: Origin, path: &Path) -> Result<String, ConfigError> {
        const MAX_FILE_BYTES: u64 = 1024 * 1024;
        let name = UserPath(path);
        if name.is_secret() {
            return Err(origin.problem(SECRET_ITSELF));
        }
        read_text(path, MAX_FILE_BYTES, self.deadline).map_err(|why| {
            ConfigError::File(match name.is_plain() {
                true => format!("{origin} {name}: {why}"),
                false => format!("{origin}: there is no such file, or it cannot be read, give its path, like ./FILE"),
            })
        })
    }

    /// The same for one with a secret in it: whoever else can read it is remarked.
    pub fn read_secret_file(&self, origin: Origin, path: &Path) -> Result<String, ConfigError> {
        let text = self.read_file(origin, path)?;
        self.remark_readers(origin, path);
        Ok(text)
    }

    /// Remarks that other users can read the file.
    pub fn remark_readers(&self, origin: Origin, path: &Path) {
        if fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o004 != 0) {
            self.remark(format!(
                "other users of this host can read {} ({origin}): chmod o-r",
                shown(path)
            ));
        }
    }
}
