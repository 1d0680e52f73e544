//! The state of a run for all services: one file for the account, beside the files of services that were checked alone.
//!
//! The memory of a service is in its own file if there is one, else in the state of the account. One file for all, since 1000 files
//! take seconds to sync; own files count, since a single check knows no other services.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hasher};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::account::{AccountKey, AccountMemory, MAX_SERVICES, max_changes, max_history};
use super::account_format::{self, LoadedAccount, MAX_ACCOUNT_BYTES};
use super::format;
use super::key::{FILE_NAME_CHARS, StateKey};
use super::location::{StateEnvironment, StateLocation};
use super::memory::Memory;
use super::state_file::{self, LoadError, StateFile};
use super::store::{self, MAX_STATE_BYTES, Store};
use crate::connect::target::ServiceName;
use crate::values::selection::Selection;
use crate::values::timestamp::Timestamp;

/// Maximum number of changes that are kept of all services together where the limits of the user want more than usual. They take
/// some 4 MB of the file.
const MAX_WANTED_CHANGES: usize = 20_000;

/// The states of services that were checked alone, by the name of the service.
type OwnStates = BTreeMap<String, Store>;

/// The state of an account.
#[derive(Debug)]
pub struct AccountStore {
    /// `None`: nothing is to be remembered. `Err`: it is, and there is no place for it.
    file: Result<Option<StateFile>, String>,
    /// Set if services can have a state of their own, beside this one.
    has_own_states: bool,
    /// Digest of the file, if it was whole and all that was peeked.
    peeked: Cell<Option<u64>>,
    /// Memory without a file, of a process that keeps running.
    held: Option<RefCell<AccountMemory>>,
    key: AccountKey,
}

/// One run's access to the state of an account.
pub struct Turn<'a> {
    /// Memory before this run.
    before: &'a AccountMemory,
    /// The new memories of the services that were judged.
    judged: BTreeMap<String, Arc<Memory>>,
    /// See [`AccountMemory::candidates`].
    pub candidates: BTreeMap<String, Timestamp>,
    /// See [`AccountMemory::census`].
    pub census: Option<Timestamp>,
    /// Of the services with a state file of their own.
    own: OwnStates,
    peeked: &'a AccountMemory,
    deadline: Instant,
    /// Number of changes of a service that the user's limits want to be kept.
    pub fewest_changes: usize,
    /// Number of services that were taken in.
    newcomers: usize,
    /// Number of services that were not.
    refused: usize,
}

impl AccountStore {
    pub fn new(place: &StateLocation, key: AccountKey, environment: &StateEnvironment<'_>) -> AccountStore {
        let path = place.file(&[&key.file_name()], environment);
        let new = |path| StateFile::new(path, environment.ancestors(), MAX_ACCOUNT_BYTES);
        AccountStore {
            file: path.and_then(|path| path.map(new).transpose()),
            has_own_states: !matches!(place, StateLocation::File(_)),
            peeked: Cell::default(),
            held: None,
            key,
        }
    }

    /// A state without a file, for a process that goes on: it holds the text of [`AccountStore::held_text`], at first an empty
    /// one. What was held for another account is none of this one.
    pub fn holding(text: &str, key: AccountKey) -> AccountStore {
        // This memory is of the same process, whatever its clock has done.
        let held = account_format::read(&key, text.as_bytes(), Timestamp::now());
        let memory = held.map(|loaded| loaded.memory).unwrap_or_default();
        AccountStore {
            file: Ok(None),
            has_own_states: false,
            peeked: Cell::default(),
            held: Some(RefCell::new(memory)),
            key,
        }
    }

    /// Returns what is held after the latest update. `None`: it is in a file, or nowhere.
    pub fn held_text(&self) -> Option<String> {
        let held = self.held.as_ref()?;
        Some(account_format::write(&self.key, &held.borrow()))
    }

    /// Path of the account's state file, if there is one.
    pub fn path(&self) -> Option<&Path> {
        Some(self.file.as_ref().ok()?.as_ref()?.path())
    }

    /// The path to be printed; empty if there is none.
    pub fn shown_path(&self) -> String {
        self.path().map(|path| path.display().to_string()).unwrap_or_default()
    }

    /// Returns what was remembered when the run began, of the services with a state file of their own too. Takes no lock,
    /// changes nothing and knows no error: [`AccountStore::update`] finds them all.
    pub fn peek(&self, now: Timestamp) -> AccountMemory {
        let Ok(Some(file)) = &self.file else {
            return self.held_memory();
        };
        let read = |bytes: &[u8]| Ok((account_format::read(&self.key, bytes, now)?, fingerprint(bytes)));
        let mut memory = match file.read(read) {
            Ok((loaded, fingerprint)) => {
                let is_whole = loaded.damage.is_none() && loaded.future.is_none();
                self.peeked.set(is_whole.then_some(fingerprint));
                loaded.memory
            }
            Err(_) => AccountMemory::default(),
        };
        let own = self.own_states(file).unwrap_or_default();
        if !own.is_empty() {
            self.peeked.set(None);
            read_own_states(&own, &mut memory, now);
        }
        memory
    }

    /// Reads, lets `run` judge the services through [`Turn::service`], and writes, all under the lock of the account's state.
    ///
    /// `run` is called once, whatever happens; with what was peeked where the state cannot be read or locked. The second value
    /// returned tells what is wrong with the account's state, in a line each.
    pub fn update<T>(
        &self,
        deadline: Instant,
        peeked: &AccountMemory,
        run: impl FnOnce(&mut Turn<'_>) -> T,
    ) -> (T, Vec<String>) {
        let file = match &self.file {
            Ok(Some(file)) => file,
            Ok(None) => {
                let before = self.held_memory();
                let mut turn = Turn::new(&before, OwnStates::new(), peeked, deadline);
                let said = run(&mut turn);
                let next = self.held.as_ref().map(|_| turn.memory());
                self.held
                    .iter()
                    .zip(next)
                    .for_each(|(held, next)| drop(held.replace(next)));
                return (said, Vec::new());
            }
            Err(problem) => {
                let mut turn = Turn::new(peeked, OwnStates::new(), peeked, deadline);
                return (run(&mut turn), vec![problem.clone()]);
            }
        };
        let mut is_as_peeked = false;
        let begun = file.begin(deadline, |bytes| {
            is_as_peeked = self.peeked.get() == Some(fingerprint(bytes));
            match is_as_peeked {
                // Reading 1000 services takes longer than judging them.
                true => Ok(LoadedAccount::empty(self.key.clone())),
                false => account_format::read(&self.key, bytes, Timestamp::now()),
            }
        });
        let (mut state, own) = match begun.and_then(|state| Ok((state, self.own_states(file)?))) {
            Ok(begun) => begun,
            Err(problem) => {
                let own = self.own_states(file).unwrap_or_default();
                return (run(&mut Turn::new(peeked, own, peeked, deadline)), vec![problem]);
            }
        };
        let read = mem::take(&mut state.memory);
        let before = if is_as_peeked { peeked } else { &read };
        let mut turn = Turn::new(before, own, peeked, deadline);
        let said = run(&mut turn);
        let services = turn.entries();
        let has_changed = turn.candidates != before.candidates
            || turn.census != before.census
            || services.len() != before.services.len()
            || services
                .iter()
                .any(|(name, memory)| before.services.get(*name) != Some(memory));
        let mut problems = state.save(has_changed, |file| {
            account_format::write_parts(file, &self.key, services, &turn.candidates, turn.census)
        });
        if problems.is_empty()
            && let Some(aside) = file.aside()
        {
            problems.push(format!(
                "the state {} was damaged, and is kept as {}: a service that was down then may be forgotten, remove that file when all \
                 are there",
                file.path().display(),
                aside.display()
            ));
        }
        if turn.refused > 0 {
            let (shown, refused) = (file.path().display(), turn.refused);
            problems.push(format!(
                "the state {shown} has {MAX_SERVICES} services and takes in no more: {refused} not remembered, use --only or \
                 --exclude"
            ));
        }
        (said, problems)
    }

    /// Returns the memory for `state show`, with the services that have a state file of their own. `Ok(None)`: nothing.
    ///
    /// # Errors
    ///
    /// Why it cannot be read.
    pub fn show(&self, now: Timestamp) -> Result<Option<LoadedAccount>, String> {
        let file = self.usable()?;
        let own = self.own_states(file)?;
        let mut loaded = match file.read(|bytes| account_format::read(&self.key, bytes, now)) {
            Ok(LoadedAccount { damage: Some(why), .. }) => {
                return Err(format!("the state {} {why}", self.shown_path()));
            }
            Ok(loaded) => loaded,
            Err(LoadError::Missing) if own.is_empty() => return Ok(None),
            Err(LoadError::Missing) => LoadedAccount::empty(self.key.clone()),
            Err(error) => return Err(error.into_text()),
        };
        read_own_states(&own, &mut loaded.memory, now);
        Ok(Some(loaded))
    }

    /// Forgets the selected services; those that were checked alone keep their own states. Returns how many services and
    /// candidates it has forgotten. `None`: there is no state.
    ///
    /// # Errors
    ///
    /// Why they cannot be forgotten.
    pub fn reset(&self, deadline: Instant, selection: &Selection) -> Result<Option<usize>, String> {
        let file = self.usable()?;
        if !file.exists()? {
            return Ok(None);
        }
        let read = |bytes: &[u8]| account_format::read(&self.key, bytes, Timestamp::now());
        let memory = file.read(read).map(|loaded| loaded.memory).unwrap_or_default();
        let names = memory.services.keys().chain(memory.candidates.keys());
        let selected: BTreeSet<&String> = names.filter(|name| selection.includes(name)).collect();
        // Services that were checked alone have copies here only.
        let own = self.own_states(file)?;
        let count = |names: &[&String]| names.iter().filter(|name| !own.contains_key(**name)).count();
        if *selection == Selection::default() {
            let removed = file.remove(deadline, read)?;
            file.remove_aside()?;
            let selected: Vec<&String> = selected.into_iter().collect();
            return Ok(removed.then(|| count(&selected)));
        }
        let mut state = file.begin(deadline, read)?;
        let mut memory = mem::take(&mut state.memory);
        let forgotten: Vec<&String> = selected.into_iter().filter(|name| memory.forget(name)).collect();
        let problems = state.save(!forgotten.is_empty(), |file| {
            account_format::write_to(file, &self.key, &memory)
        });
        match problems.is_empty() {
            true => Ok(Some(count(&forgotten))),
            false => Err(problems.join(", ")),
        }
    }

    /// The services that were checked alone, and the files with their states.
    ///
    /// # Errors
    ///
    /// Why the folder cannot be looked at.
    pub fn checked_alone(&self) -> Result<BTreeMap<String, PathBuf>, String> {
        let own = self.own_states(self.usable()?)?.into_iter();
        Ok(own
            .filter_map(|(service, state)| Some((service, state.path()?.to_owned())))
            .collect())
    }

    /// The questions of the other accounts that have a state in the folder, one of each account.
    ///
    /// # Errors
    ///
    /// Why the folder cannot be looked at.
    pub fn siblings(&self, now: Timestamp) -> Result<Vec<AccountKey>, String> {
        let keys = store::keys_beside(self.usable()?, now)?;
        let mut accounts: Vec<AccountKey> = Vec::new();
        for account in keys.iter().map(AccountKey::from) {
            if account != self.key && !accounts.contains(&account) {
                accounts.push(account);
            }
        }
        Ok(accounts)
    }

    pub fn key(&self) -> &AccountKey {
        &self.key
    }

    fn usable(&self) -> Result<&StateFile, String> {
        state_file::usable(&self.file)
    }

    fn held_memory(&self) -> AccountMemory {
        self.held.as_ref().map(|held| held.borrow().clone()).unwrap_or_default()
    }

    /// The states of this account's services that were checked alone.
    fn own_states(&self, file: &StateFile) -> Result<OwnStates, String> {
        if !self.has_own_states {
            return Ok(OwnStates::new());
        }
        let states = file.all_in_folder(MAX_STATE_BYTES)?.into_iter().filter_map(|file| {
            let key = self.question_of(&file)?;
            Some((key.service.clone(), Store::of_file(file, key)))
        });
        Ok(states.collect())
    }

    /// The question of such a file, by the name of the file, which ends with its digest. `None`: of another account.
    fn question_of(&self, file: &StateFile) -> Option<StateKey> {
        let name = file.shown_name();
        let (service, _) = name.rsplit_once('-')?;
        let key = match service.len() < FILE_NAME_CHARS {
            true => self.key.of_service(service),
            // The file name may hold only a part of the name.
            false => file.read(|bytes| format::read_any(bytes, Timestamp::now())).ok()?.key,
        };
        let is_ours = AccountKey::from(&key) == self.key && key.file_name() == name;
        (is_ours && ServiceName::parse(&key.service).is_ok()).then_some(key)
    }
}

/// Puts what the services' own files hold in place of the entries.
fn read_own_states(own: &OwnStates, memory: &mut AccountMemory, now: Timestamp) {
    for (service, state) in own {
        match state.read(now) {
            Ok(loaded) => {
                memory.unreadable.remove(service);
                memory.services.insert(service.clone(), loaded.memory);
            }
            // It was reset a moment ago.
            Err(LoadError::Missing) => {}
            // The entry of the account counts.
            Err(_) if memory.services.contains_key(service) => {}
            Err(_) => drop(memory.unreadable.insert(service.clone())),
        }
    }
}

impl<'a> Turn<'a> {
    /// A turn without a file.
    pub fn of(peeked: &'a AccountMemory) -> Turn<'a> {
        Turn::new(peeked, OwnStates::new(), peeked, Instant::now())
    }

    fn new(before: &'a AccountMemory, own: OwnStates, peeked: &'a AccountMemory, deadline: Instant) -> Turn<'a> {
        Turn {
            before,
            judged: BTreeMap::new(),
            candidates: before.candidates.clone(),
            census: before.census,
            own,
            peeked,
            deadline,
            fewest_changes: 0,
            newcomers: 0,
            refused: 0,
        }
    }

    /// Returns `true` if the service is remembered at this moment; an overlapping run may have adopted it since the peek.
    pub fn is_remembered(&self, name: &str) -> bool {
        let before = match self.own.contains_key(name) {
            true => self.peeked,
            false => self.before,
        };
        let judged = self.judged.get(name).map(|memory| &**memory);
        let memory = judged.or_else(|| before.services.get(name));
        memory.is_some_and(Memory::is_remembered)
    }

    /// The new memory of a service that was judged; an empty one of one that was not taken in.
    pub fn judged(&self, name: &str) -> Arc<Memory> {
        self.judged.get(name).cloned().unwrap_or_default()
    }

    /// Lets `judge` make the new memory of a service from the old one. The second value returned tells what is wrong with the
    /// state file of the service, if it has one of its own.
    pub fn service<T, M: Into<Arc<Memory>>>(
        &mut self,
        name: &str,
        judge: impl FnOnce(&Memory) -> (T, M),
    ) -> (T, Vec<String>) {
        let nothing = Memory::default();
        if let Some(store) = self.own.get(name) {
            let peeked = self.peeked.services.get(name).unwrap_or(&nothing);
            let copy = self.before.services.get(name);
            let mut kept = None;
            let (said, problems) = store.update(self.deadline, peeked, |memory| {
                // It was damaged, and was set aside.
                let is_nothing = *memory == nothing;
                let (said, next) = judge(copy.filter(|_| is_nothing).unwrap_or(memory));
                let next = next.into();
                kept = Some(Arc::clone(&next));
                (said, next)
            });
            let kept = kept.map(|next| (name.to_owned(), self.shortened(next)));
            self.judged.extend(kept);
            return (said, problems);
        }
        let before = self.before.services.get(name);
        let old = self.judged.get(name).map(|memory| &**memory).or(before);
        let (said, next) = judge(old.unwrap_or(&nothing));
        let next = self.shortened(next.into());
        let is_new = old.is_none();
        if is_new && self.before.services.len() + self.newcomers >= MAX_SERVICES {
            self.refused += 1;
        } else {
            self.newcomers += usize::from(is_new);
            self.judged.insert(name.to_owned(), next);
        }
        (said, Vec::new())
    }

    /// The memory of one of many services: with as many changes and epochs as all of them have room for.
    fn shortened(&self, mut memory: Arc<Memory>) -> Arc<Memory> {
        let services = self.before.services.len().max(self.judged.len());
        let changes = max_changes(services).max(self.fewest_changes.min(MAX_WANTED_CHANGES / services.max(1)));
        let history = max_history(services);
        let is_longer = memory.changes.as_ref().is_some_and(|log| log.log.len() > changes);
        if is_longer || memory.history.len() > history {
            let memory = Arc::make_mut(&mut memory);
            memory.changes.iter_mut().for_each(|log| log.keep(changes));
            memory.history.drain(..memory.history.len().saturating_sub(history));
        }
        memory
    }

    /// Returns the entries to write: not those of services that are not watched any more. A service with a file of its own has
    /// a copy here, for the case that its file is damaged.
    fn entries(&self) -> BTreeMap<&str, &Memory> {
        let before = self.before.services.iter().filter(|(_, memory)| memory.is_remembered());
        let judged = self.judged.iter().map(|(name, memory)| (name, &**memory));
        let entries = before.chain(judged);
        entries.map(|(name, memory)| (name.as_str(), memory)).collect()
    }

    /// Returns what is remembered after this turn, of the services without a state file of their own.
    pub fn memory(&self) -> AccountMemory {
        let entries = self.entries().into_iter();
        AccountMemory {
            services: entries
                .map(|(name, memory)| (name.to_owned(), memory.clone()))
                .collect(),
            unreadable: BTreeSet::new(),
            candidates: self.candidates.clone(),
            census: self.census,
        }
    }
}

/// A digest of a file's text that is good for one run.
fn fingerprint(text: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(text);
    hasher.finish()
}

#[cfg(test)]
mod tests;
