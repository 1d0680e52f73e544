//! The state of a single check: a file of its own, and before there is one, the entry in the state of its account.

use std::collections::BTreeSet;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::account::AccountKey;
use super::account_format::{self, MAX_ACCOUNT_BYTES};
use super::format::{self, Loaded};
use super::key::StateKey;
pub use super::location::{StateEnvironment, StateLocation};
use super::memory::Memory;
use super::state_file::{self, LoadError, LockedState, StateFile};
use crate::files::folder::Ancestors;
use crate::values::timestamp::Timestamp;

/// Maximum size of a state file in bytes: 4096 ids of 128 bytes, twice, and the words of 256 instances stay below it.
pub const MAX_STATE_BYTES: u64 = 4 * 1024 * 1024;

/// The state of one question.
#[derive(Debug)]
pub struct Store {
    /// `None`: nothing is to be remembered. `Err`: it is, and there is no place for it.
    file: Result<Option<StateFile>, String>,
    /// The state of all services of the account, where the memory is if the service was never checked alone.
    account: Option<StateFile>,
    /// Memory without a file, of a process that keeps running.
    held: Option<Box<Memory>>,
    key: StateKey,
}

/// A state that lies beside others: in a file of its own or in that of an account.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The name of the file.
    pub name: String,
    /// Content of the file, or why it cannot be read.
    pub loaded: Result<Loaded, String>,
}

impl Store {
    pub fn new(place: &StateLocation, key: StateKey, state_environment: &StateEnvironment<'_>) -> Store {
        let (own, account) = (key.file_name(), AccountKey::from(&key).file_name());
        let path = place.file(&[&own, &account], state_environment);
        let ancestors = state_environment.ancestors();
        let new = |path| StateFile::new(path, ancestors, MAX_STATE_BYTES);
        let file = path.and_then(|path| path.map(new).transpose());
        let shares_folder = !matches!(place, StateLocation::File(_));
        let beside = |own: &StateFile| own.beside(&account, MAX_ACCOUNT_BYTES);
        Store {
            account: file.iter().flatten().filter(|_| shares_folder).map(beside).next(),
            file,
            held: None,
            key,
        }
    }

    /// The state in this file, whatever the account remembers.
    pub(super) fn of_file(file: StateFile, key: StateKey) -> Store {
        Store {
            file: Ok(Some(file)),
            account: None,
            held: None,
            key,
        }
    }

    /// A state without a file, for a process that goes on: it holds the text of [`Store::write_text`], at first an empty one.
    /// A memory of another question is not used.
    pub fn holding(text: &str, key: StateKey) -> Store {
        // This memory is of the same process, whatever its clock has done.
        let held = format::read(&key, text.as_bytes(), Timestamp::now());
        Store {
            file: Ok(None),
            account: None,
            held: Some(Box::new(held.map(|loaded| loaded.memory).unwrap_or_default())),
            key,
        }
    }

    /// The memory as it is written to the file.
    pub fn write_text(&self, memory: &Memory) -> String {
        format::write(&self.key, memory)
    }

    /// Where the state is kept, if it is.
    pub fn path(&self) -> Option<&Path> {
        Some(self.file.as_ref().ok()?.as_ref()?.path())
    }

    /// Where the state is kept, to be printed; empty if it is not.
    pub fn shown_path(&self) -> String {
        self.path().map(|path| path.display().to_string()).unwrap_or_default()
    }

    /// Returns the memory when the run begins: the instances to expect. Takes no lock, changes nothing, and reports no error:
    /// [`Store::update`] finds them all.
    pub fn peek(&self, now: Timestamp) -> Memory {
        match (&self.held, self.read(now)) {
            (Some(held), _) => Memory::clone(held),
            (None, Ok(loaded)) => loaded.memory,
            (None, Err(_)) => Memory::default(),
        }
    }

    /// Reads what is remembered. Where the own file is damaged, the copy of the account counts, if there is one.
    pub(super) fn read(&self, now: Timestamp) -> Result<Loaded, LoadError> {
        let file = self.usable().map_err(LoadError::Failed)?;
        match (self.load(file, now), &self.account) {
            (Err(LoadError::Damaged(why)), Some(account)) => {
                self.entry(account, now).map_err(|_| LoadError::Damaged(why))
            }
            (loaded, _) => Ok(loaded?.1),
        }
    }

    /// Reads, lets `judge` make the new memory of the old one, and writes, all under the lock of this state.
    ///
    /// `judge` is called once, whatever happens; with what was peeked where the state cannot be read or locked. The second value
    /// returned tells what is wrong with the state, in a line each; it is empty if nothing is.
    pub fn update<T, M: Into<Arc<Memory>>>(
        &self,
        deadline: Instant,
        peeked: &Memory,
        judge: impl FnOnce(&Memory) -> (T, M),
    ) -> (T, Vec<String>) {
        let file = match &self.file {
            Ok(None) => return (judge(self.held.as_deref().unwrap_or(&Memory::default())).0, Vec::new()),
            Ok(Some(file)) => file,
            Err(problem) => return (judge(&Memory::default()).0, vec![problem.clone()]),
        };
        let mut state = match self.begin(file, deadline) {
            Ok(state) => state,
            Err(problem) => return (judge(peeked).0, vec![problem]),
        };
        let (said, next) = judge(&state.memory);
        let next = next.into();
        let has_changed = *next != state.memory;
        (
            said,
            state.save(has_changed, |file| file.write_all(self.write_text(&next).as_bytes())),
        )
    }

    /// Locks and reads the state. On its first run a single check takes over what the account remembers of the service, and also
    /// where its own file is damaged.
    fn begin<'a>(&'a self, file: &'a StateFile, deadline: Instant) -> Result<LockedState<'a, Memory>, String> {
        let begin = || file.begin(deadline, |bytes| format::read(&self.key, bytes, Timestamp::now()));
        let mut state = begin()?;
        let account = match &self.account {
            Some(account) if state.is_empty && account.exists()? => account,
            _ => return Ok(state),
        };
        // Where there are no hard links, it was moved away, and is missing the second time.
        let problems = mem::take(&mut state.problems);
        // A run for all locks the account first, and then each service.
        drop(state);
        let (_, lock) = account.lock(deadline)?;
        let mut state = begin()?;
        if state.is_empty {
            if state.problems.is_empty() {
                state.problems = problems;
            }
            match self.entry(account, Timestamp::now()) {
                Ok(loaded) => state.memory = loaded.memory,
                Err(LoadError::Missing) => {}
                Err(LoadError::Failed(why) | LoadError::OtherKind(why)) => return Err(why),
                Err(LoadError::Damaged(why)) => state
                    .problems
                    .push(format!("{why}, what it knew of the service is lost")),
            }
        }
        state.keep(lock);
        Ok(state)
    }

    /// Reads the state, from the file that has it.
    fn load<'a>(&'a self, file: &'a StateFile, now: Timestamp) -> Result<(&'a Path, Loaded), LoadError> {
        match (file.read(|bytes| format::read(&self.key, bytes, now)), &self.account) {
            (Err(LoadError::Missing), Some(account)) => Ok((account.path(), self.entry(account, now)?)),
            (loaded, _) => Ok((file.path(), loaded?)),
        }
    }

    /// Reads what the account remembers of the service.
    fn entry(&self, account: &StateFile, now: Timestamp) -> Result<Loaded, LoadError> {
        let entry = account.read(|bytes| account_format::read_service(&self.key, bytes, now))?;
        entry.ok_or(LoadError::Missing)
    }

    /// Returns the memory for `state show`, and its file.
    ///
    /// # Errors
    ///
    /// Why it cannot be read. A missing file is `Ok(None)`.
    pub fn show(&self, now: Timestamp) -> Result<Option<(&Path, Loaded)>, String> {
        match self.load(self.usable()?, now) {
            Ok((path, Loaded { damage: Some(why), .. })) => Err(format!("the state {} {why}", path.display())),
            Ok(shown) => Ok(Some(shown)),
            Err(LoadError::Missing) => Ok(None),
            Err(error) => Err(error.into_text()),
        }
    }

    /// Forgets everything, in the state of the account too. Returns what was forgotten, to be printed.
    ///
    /// # Errors
    ///
    /// Why it cannot be forgotten.
    pub fn reset(&self, deadline: Instant) -> Result<Vec<String>, String> {
        let (file, service) = (self.usable()?, &self.key.service);
        let remove = || -> Result<Vec<String>, String> {
            let is_removed = file.remove(deadline, |bytes| format::read(&self.key, bytes, Timestamp::now()))?;
            Ok(is_removed.then(|| self.shown_path()).into_iter().collect())
        };
        let account = match &self.account {
            Some(account) if account.exists()? => account,
            _ => return remove(),
        };
        // The entry first, and both under the lock of the account: a run that is killed between leaves no old memory to
        // come back.
        let key = AccountKey::from(&self.key);
        let mut state = account.begin(deadline, |bytes| account_format::read(&key, bytes, Timestamp::now()))?;
        let has_entry = state.memory.forget(service);
        let memory = mem::take(&mut state.memory);
        let problems = state.save(has_entry, |file| account_format::write_to(file, &key, &memory));
        if !problems.is_empty() {
            return Err(problems.join(", "));
        }
        let entry = has_entry.then(|| format!("{service} in {}", account.path().display()));
        Ok(entry.into_iter().chain(remove()?).collect())
    }

    /// The other states of the same service in the folder, whatever their servers, users and prefixes are.
    ///
    /// # Errors
    ///
    /// Why the folder cannot be looked at.
    pub fn siblings(&self, now: Timestamp) -> Result<Vec<StateKey>, String> {
        let mut keys = keys_beside(self.usable()?, now)?;
        keys.retain(|other| other.service == self.key.service && *other != self.key);
        Ok(keys)
    }

    /// The other state of the same service in the folder, and the file that has it, if there is exactly one.
    ///
    /// # Errors
    ///
    /// Why the folder cannot be looked at.
    pub fn only_sibling(&self, now: Timestamp) -> Result<Option<(PathBuf, Loaded)>, String> {
        let file = self.usable()?;
        let of_service = list_beside(file, now)?.into_iter().filter_map(|state| {
            let loaded = state
                .loaded
                .ok()
                .filter(|loaded| loaded.key.service == self.key.service)?;
            Some((file.path().with_file_name(state.name), loaded))
        });
        let mut siblings: Vec<(PathBuf, Loaded)> = of_service.collect();
        Ok(siblings.pop().filter(|_| siblings.is_empty()))
    }

    fn usable(&self) -> Result<&StateFile, String> {
        state_file::usable(&self.file)
    }
}

/// All states in a folder, by the name of the file. None if the folder is not there.
///
/// # Errors
///
/// Why the folder cannot be looked at.
pub fn list(dir: &Path, ancestors: Ancestors, now: Timestamp) -> Result<Vec<Listed>, String> {
    list_beside(
        &StateFile::new(dir.join("any.json"), ancestors, MAX_ACCOUNT_BYTES)?,
        now,
    )
}

/// The questions of all states in the folder of this file.
///
/// # Errors
///
/// Why the folder cannot be looked at.
pub(super) fn keys_beside(file: &StateFile, now: Timestamp) -> Result<Vec<StateKey>, String> {
    let states = list_beside(file, now)?.into_iter();
    Ok(states.filter_map(|state| Some(state.loaded.ok()?.key)).collect())
}

fn list_beside(file: &StateFile, now: Timestamp) -> Result<Vec<Listed>, String> {
    let (mut states, mut entries) = (Vec::new(), Vec::new());
    for file in file.all_in_folder(MAX_ACCOUNT_BYTES)? {
        let listed = |loaded| Listed {
            name: file.shown_name(),
            loaded,
        };
        // The name of the file stands beside it already.
        let shown = format!("the state {} ", file.path().display());
        let why = |error: LoadError| error.into_text().replacen(&shown, "", 1);
        let account = match file.read(|bytes| format::read_any(bytes, now)) {
            Err(LoadError::Missing) => continue,
            Err(LoadError::OtherKind(_)) => file.read(|bytes| account_format::read_any(bytes, now)),
            loaded => {
                states.push(listed(loaded.map_err(why)));
                continue;
            }
        };
        match account {
            Ok(account) => {
                states.extend(account.damage.map(|why| listed(Err(why))));
                let key = account.key;
                entries.extend(account.memory.services.into_iter().map(|(service, memory)| {
                    listed(Ok(Loaded {
                        key: key.of_service(&service),
                        memory,
                        damage: None,
                        future: account.future,
                    }))
                }));
            }
            Err(error) => states.push(listed(Err(why(error)))),
        }
    }
    // The file of a service beats the entry in the state of its account.
    let file_name = |state: &Listed| state.loaded.as_ref().ok().map(|loaded| loaded.key.file_name());
    let own: BTreeSet<String> = states.iter().filter_map(file_name).collect();
    states.extend(
        entries
            .into_iter()
            .filter(|entry| file_name(entry).is_none_or(|name| !own.contains(&name))),
    );
    Ok(states)
}

#[cfg(test)]
mod tests;
