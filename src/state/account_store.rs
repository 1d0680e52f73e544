//! The state of a run for all services: one file for the account, beside the files of services that are checked alone.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use super::account::{AccountKey, AccountMemory};
use super::location::{StateEnvironment, StateLocation};
use super::memory::Memory;
use crate::values::timestamp::Timestamp;

/// The state of an account.
#[derive(Debug)]
pub struct AccountStore {
    key: AccountKey,
}

/// One run's access to the account state, while it is locked.
pub struct Turn {
    services: BTreeMap<String, Memory>,
    /// See [`AccountMemory::candidates`].
    pub candidates: BTreeMap<String, Timestamp>,
    /// See [`AccountMemory::census`].
    pub census: Option<Timestamp>,
}

impl AccountStore {
    pub fn new(location: &StateLocation, key: AccountKey, environment: &StateEnvironment<'_>) -> AccountStore {
        let _ = (location, environment);
        AccountStore { key }
    }

    /// State without a file, for a process that goes on: `text` is that of [`AccountStore::write_text`], at first empty.
    pub fn holding(text: &str, key: AccountKey) -> AccountStore {
        let _ = text;
        AccountStore { key }
    }

    /// Returns the memory as it is written to the file.
    pub fn write_text(&self, memory: &AccountMemory) -> String {
        let _ = memory;
        self.key.file_name()
    }

    /// Path of the account's state file, if there is one.
    pub fn path(&self) -> Option<&Path> {
        None
    }

    /// The path to be printed; empty if there is none.
    pub fn shown_path(&self) -> String {
        String::new()
    }

    /// Returns what is remembered, of the services with a state file of their own too. Takes no lock, changes nothing and
    /// reports no error: [`AccountStore::update`] finds them all.
    pub fn peek(&self, now: Timestamp) -> AccountMemory {
        let _ = now;
        AccountMemory::default()
    }

    /// Reads, lets `run` judge the services through [`Turn::service`], and writes, all under the lock of the account state.
    ///
    /// `run` is called once, whatever happens; with what was peeked where the state cannot be read or locked. The second value
    /// returned says what is wrong with the account state, in a line each.
    pub fn update<T>(
        &self,
        deadline: Instant,
        peeked: &AccountMemory,
        run: impl FnOnce(&mut Turn) -> T,
    ) -> (T, Vec<String>) {
        let _ = deadline;
        let AccountMemory {
            services,
            candidates,
            census,
            ..
        } = peeked.clone();
        let mut turn = Turn {
            services,
            candidates,
            census,
        };
        (run(&mut turn), Vec::new())
    }

    /// Removes the account state; services with a state file of their own keep it. `Ok(false)` if there is none.
    ///
    /// # Errors
    ///
    /// Why it cannot be removed.
    pub fn reset(&self, deadline: Instant) -> Result<bool, String> {
        let _ = deadline;
        Ok(false)
    }
}

impl Turn {
    /// Whether the service is remembered at this moment; an overlapping run may have adopted it since the peek.
    pub fn is_remembered(&self, name: &str) -> bool {
        self.services.get(name).is_some_and(Memory::is_remembered)
    }

    /// Lets `judge` make the new memory of a service from the old one. The second value returned says what is wrong with the
    /// state file of the service, if it has one of its own.
    pub fn service<T>(&mut self, name: &str, judge: impl FnOnce(&Memory) -> (T, Memory)) -> (T, Vec<String>) {
        let old = self.services.remove(name).unwrap_or_default();
        let (said, new) = judge(&old);
        self.services.insert(name.to_owned(), new);
        (said, Vec::new())
    }
}

impl Turn {
    pub fn of(_m: &AccountMemory) -> Turn {
        todo!()
    }
}
impl AccountStore {
    pub fn held_text(&self) -> Option<String> {
        None
    }
}
