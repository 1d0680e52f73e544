//! The state of an account as JSON, format 1; the man page describes it for admins. Pure: it is given the text and the time.
//!
//! A service that cannot be read costs none of the others: what stands before a break, and beside a broken entry, counts.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Number;
use serde_json::value::RawValue;

use super::account::{AccountKey, AccountMemory, MAX_SERVICES};
use super::format::{
    FORMAT, FormatError, Loaded, MALFORMED, NO_FORMAT, beyond_doubt, check_format, damage, settle, settle_times,
};
use super::key::StateKey;
use super::memory::Memory;
use crate::connect::target::ServiceName;
use crate::values::text::count;
use crate::values::timestamp::Timestamp;

/// Maximum size of the state of an account in bytes: a run with twice as much needs more memory than it may have.
pub const MAX_ACCOUNT_BYTES: u64 = 8 * 1024 * 1024;

/// Maximum number of unreadable services that are named.
const MAX_NAMED: usize = 5;

/// Content of an account's state file.
pub type LoadedAccount = Loaded<AccountKey, AccountMemory>;

impl LoadedAccount {
    /// The state of an account of which nothing is remembered.
    pub fn empty(key: AccountKey) -> LoadedAccount {
        Loaded {
            key,
            memory: AccountMemory::default(),
            damage: None,
            future: None,
        }
    }
}

#[derive(Serialize)]
struct AccountFile<'a> {
    format: u64,
    account: &'a AccountKey,
    census: Option<Timestamp>,
    candidates: BTreeMap<&'a str, Timestamp>,
    services: BTreeMap<&'a str, &'a Memory>,
}

/// Returns the text of the state file.
pub fn write(key: &AccountKey, memory: &AccountMemory) -> String {
    let mut text = Vec::new();
    // That cannot fail: all keys are strings.
    let _ = write_to(&mut text, key, memory);
    String::from_utf8(text).unwrap_or_default()
}

/// Writes the text of the state file.
///
/// # Errors
///
/// That of the file.
pub fn write_to(file: &mut dyn Write, key: &AccountKey, memory: &AccountMemory) -> io::Result<()> {
    let services = memory.services.iter();
    let services = services.map(|(name, memory)| (name.as_str(), memory)).collect();
    write_parts(file, key, services, &memory.candidates, memory.census)
}

/// The same from its parts, without a copy of the memories.
///
/// # Errors
///
/// That of the file.
pub fn write_parts(
    file: &mut dyn Write,
    key: &AccountKey,
    services: BTreeMap<&str, &Memory>,
    candidates: &BTreeMap<String, Timestamp>,
    census: Option<Timestamp>,
) -> io::Result<()> {
    let candidates = candidates.iter().take(MAX_SERVICES);
    let account = AccountFile {
        format: FORMAT,
        account: key,
        census,
        candidates: candidates.map(|(name, since)| (name.as_str(), *since)).collect(),
        services,
    };
    Ok(serde_json::to_writer(file, &account)?)
}

/// Reads what [`write()`] wrote for this key. Times that have not come yet are as of `now`.
///
/// # Errors
///
/// The error in it.
pub fn read(key: &AccountKey, text: &[u8], now: Timestamp) -> Result<LoadedAccount, FormatError> {
    of_account(key, read_any(text, now)?)
}

/// Reads the state of any account.
///
/// # Errors
///
/// The error in it.
pub fn read_any(text: &[u8], now: Timestamp) -> Result<LoadedAccount, FormatError> {
    // A whole file is read at once; a broken one again, part by part.
    match Reading::of(text, now, Wanted::Whole) {
        Ok(loaded) if loaded.damage.is_none() => Ok(loaded),
        _ => Reading::of(text, now, Wanted::Parts),
    }
}

/// Reads what the account of a service remembers of it. `None`: nothing.
///
/// # Errors
///
/// The error in it, if the service may have been in there.
pub fn read_service(key: &StateKey, text: &[u8], now: Timestamp) -> Result<Option<Loaded>, FormatError> {
    let account = of_account(
        &AccountKey::from(key),
        Reading::of(text, now, Wanted::Service(&key.service))?,
    )?;
    let mut services = account.memory.services;
    match (services.remove(&key.service), account.damage) {
        (None, Some(why)) => Err(FormatError::Damaged(why)),
        (memory, _) => Ok(memory.map(|memory| Loaded {
            key: key.clone(),
            memory,
            damage: None,
            future: account.future,
        })),
    }
}

fn of_account(key: &AccountKey, loaded: LoadedAccount) -> Result<LoadedAccount, FormatError> {
    match loaded.key == *key {
        true => Ok(loaded),
        false => Err("belongs to another account (servers, user or prefix)".into()),
    }
}

/// Which services to read.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    /// All; a broken one ends it.
    Whole,
    /// All that are not broken.
    Parts,
    /// This one.
    Service(&'a str),
}

/// Content of a file, read so far.
struct Reading<'a> {
    now: Timestamp,
    wanted: Wanted<'a>,
    format: Option<Number>,
    key: Option<AccountKey>,
    /// Set if it is the state of a single check.
    is_single: bool,
    memory: AccountMemory,
    latest: Timestamp,
    /// Number of parts that cannot be read.
    broken: usize,
}

impl Reading<'_> {
    fn of(text: &[u8], now: Timestamp, wanted: Wanted<'_>) -> Result<LoadedAccount, FormatError> {
        let mut reading = Reading {
            now,
            wanted,
            format: None,
            key: None,
            is_single: false,
            memory: AccountMemory::default(),
            latest: now,
            broken: 0,
        };
        let mut json = serde_json::Deserializer::from_slice(text);
        let end = json.deserialize_map(&mut reading).and_then(|()| json.end());
        let end = end.err().map(|e| damage(&e));
        match &reading.format {
            Some(format) => check_format(format)?,
            None => return Err(end.unwrap_or(NO_FORMAT.into())),
        }
        if reading.key.is_none() && reading.is_single {
            let why = "holds a single service (-n), give --state-dir in place of --state";
            return Err(FormatError::OtherKind(why.into()));
        }
        let key = reading.key.take().ok_or(MALFORMED)?;
        let damage = match (end, reading.broken) {
            (Some(FormatError::Damaged(why) | FormatError::OtherKind(why)), _) => Some(why),
            (None, 0) => None,
            (None, broken) => Some(reading.broken_parts(broken)),
        };
        Ok(Loaded {
            key,
            damage,
            future: beyond_doubt(reading.latest, now),
            memory: reading.memory,
        })
    }

    /// `is damaged: 2 parts cannot be read (orders, billing)`
    fn broken_parts(&self, broken: usize) -> String {
        let names: Vec<&str> = self.memory.unreadable.iter().map(String::as_str).collect();
        let named = match names.len() {
            0 => String::new(),
            1..=MAX_NAMED => format!(" ({})", names.join(", ")),
            more => format!(" ({} and {} more)", names[..MAX_NAMED].join(", "), more - MAX_NAMED),
        };
        format!("is damaged: {} cannot be read{named}", count(broken, "part"))
    }

    /// Reads a part that stands for itself. `None`: it is broken.
    fn part<'de, T: Deserialize<'de>>(&mut self, text: &'de RawValue) -> Option<T> {
        let part = serde_json::from_str(text.get()).ok();
        self.broken += usize::from(part.is_none());
        part
    }

    fn read_census(&mut self, text: &RawValue) {
        self.memory.census = self.part(text).flatten();
        settle_times(&mut self.memory.census, self.now, &mut self.latest);
    }

    fn read_candidates(&mut self, text: &RawValue) {
        let all: BTreeMap<String, Timestamp> = self.part(text).unwrap_or_default();
        let candidates = all.into_iter().filter(|(name, _)| ServiceName::parse(name).is_ok());
        self.memory.candidates = candidates.take(MAX_SERVICES).collect();
        settle_times(self.memory.candidates.values_mut(), self.now, &mut self.latest);
    }

    /// Takes in the memory of a service. `None`: it is broken.
    fn add_service(&mut self, name: String, memory: Option<Memory>) {
        if ServiceName::parse(&name).is_err() || self.memory.services.len() == MAX_SERVICES {
            self.broken += 1;
            return;
        }
        let memory = memory.and_then(|mut memory| {
            let settled = settle(&mut memory, self.now, &mut self.latest);
            settled.ok().map(|()| memory)
        });
        match memory {
            Some(memory) => drop(self.memory.services.insert(name, memory)),
            None => {
                self.broken += 1;
                self.memory.unreadable.insert(name);
            }
        }
    }
}

impl<'de> Visitor<'de> for &mut Reading<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the state of an account")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(field) = map.next_key::<String>()? {
            if field == "services" {
                map.next_value_seed(Services(self))?;
                continue;
            }
            let text: &RawValue = map.next_value()?;
            match field.as_str() {
                "format" => self.format = self.part(text),
                "account" => self.key = self.part(text),
                "question" => self.is_single = true,
                "census" => self.read_census(text),
                "candidates" => self.read_candidates(text),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The map of the services, of which everything up to a break counts.
struct Services<'r, 'a>(&'r mut Reading<'a>);

impl<'de> DeserializeSeed<'de> for Services<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Services<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of services")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            let memory = match self.0.wanted {
                Wanted::Whole => Some(map.next_value()?),
                Wanted::Service(service) if service != name => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
                Wanted::Parts | Wanted::Service(_) => serde_json::from_str(map.next_value::<&RawValue>()?.get()).ok(),
            };
            self.0.add_service(name, memory);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
