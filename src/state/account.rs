//! The memory of an account in a run for all services: the memory of each service, and the facts that belong to none of them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::changes::MAX_CHANGES;
use super::key::StateKey;
use super::memory::{MAX_HISTORY, Memory};
use crate::values::selection::Selection;
use crate::values::text::digest;
use crate::values::timestamp::Timestamp;

/// Maximum number of services in an account state, and of candidates.
pub const MAX_SERVICES: usize = 10_000;

/// Maximum number of changes that are remembered of all services together, and how many of each there may be at least. After
/// a day of deployments the state of 1000 services would else not fit into the memory of a run.
const MAX_ALL_CHANGES: usize = 8192;
const FEWEST_CHANGES: usize = 8;

/// The same of the epochs in brief.
const MAX_ALL_HISTORY: usize = 16_384;
const SHORTEST_HISTORY: usize = 8;

/// Maximum number of changes that are remembered of each of so many services.
pub fn max_changes(services: usize) -> usize {
    (MAX_ALL_CHANGES / services.max(1)).clamp(FEWEST_CHANGES, MAX_CHANGES)
}

/// Maximum number of epochs that are remembered in brief of each of so many services.
pub fn max_history(services: usize) -> usize {
    (MAX_ALL_HISTORY / services.max(1)).clamp(SHORTEST_HISTORY, MAX_HISTORY)
}

/// Key of an account: that of a single check without the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountKey {
    pub prefix: String,
    /// `host:port`, sorted.
    pub servers: Vec<String>,
    pub user: Option<String>,
}

impl AccountKey {
    /// Name of the account's state file.
    pub fn file_name(&self) -> String {
        let text = serde_json::to_string(self).unwrap_or_default();
        format!("all-{:016x}.json", digest(text.bytes()))
    }

    /// ` as user mon`, or ` in account A...` where that is known; empty without a login.
    pub fn login(&self) -> String {
        let is_account = |user: &str| user.len() == 56 && user.starts_with('A');
        match &self.user {
            Some(account) if is_account(account) => format!(" in account {account}"),
            Some(user) => format!(" as user {user}"),
            None => String::new(),
        }
    }

    /// Key of the single check of this service.
    pub fn of_service(&self, service: &str) -> StateKey {
        StateKey {
            prefix: self.prefix.clone(),
            servers: self.servers.clone(),
            service: service.to_owned(),
            user: self.user.clone(),
        }
    }
}

impl From<&StateKey> for AccountKey {
    fn from(key: &StateKey) -> AccountKey {
        AccountKey {
            prefix: key.prefix.clone(),
            servers: key.servers.clone(),
            user: key.user.clone(),
        }
    }
}

/// Memory of all services of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountMemory {
    /// The memory of each service, from its own state file if there is one.
    pub services: BTreeMap<String, Memory>,
    /// Services whose memory cannot be read. Judge them in this run, so that the problem is reported with their verdict;
    /// they have no memory any more.
    pub unreadable: BTreeSet<String>,
    /// Newcomers that are not watched yet (`--adopt-after`), each with the time of its first reply.
    pub candidates: BTreeMap<String, Timestamp>,
    /// Time of the latest sweep for services that nobody knows of.
    pub census: Option<Timestamp>,
}

impl AccountMemory {
    /// Returns the services to watch even if they do not reply: those that had instances or have an open outage, and those
    /// whose memory cannot be read.
    pub fn remembered(&self) -> BTreeSet<&str> {
        let remembered = self.services.iter().filter(|(_, memory)| memory.is_remembered());
        let names = remembered.map(|(name, _)| name.as_str());
        names.chain(self.unreadable.iter().map(String::as_str)).collect()
    }

    /// Forgets a service, as a candidate too. Returns whether there was anything to forget.
    pub fn forget(&mut self, service: &str) -> bool {
        let is_candidate = self.candidates.remove(service).is_some();
        self.services.remove(service).is_some() || is_candidate
    }

    /// Leaves only what is selected.
    pub fn select(&mut self, selection: &Selection) {
        self.services.retain(|name, _| selection.includes(name));
        self.unreadable.retain(|name| selection.includes(name));
        self.candidates.retain(|name, _| selection.includes(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::selection::Glob;

    #[test]
    fn more_services_remember_less_of_each() {
        // Services, and the largest number of changes and of epochs in brief of each.
        let cases = [
            (0, 256, 32),
            (1, 256, 32),
            (32, 256, 32),
            (64, 128, 32),
            (512, 16, 32),
            (1024, 8, 16),
            (2048, 8, 8),
            (MAX_SERVICES, 8, 8),
        ];
        for (services, changes, history) in cases {
            assert_eq!(
                (max_changes(services), max_history(services)),
                (changes, history),
                "{services}"
            );
        }
    }

    #[test]
    fn a_selection_leaves_nothing_of_the_others() {
        let both = || ["mail", "orders"].map(str::to_owned);
        let mut memory = AccountMemory {
            services: both().map(|name| (name, Memory::default())).into(),
            unreadable: both().into(),
            candidates: both().map(|name| (name, Timestamp::from_seconds(1))).into(),
            census: None,
        };
        memory.select(&Selection {
            only: vec![Glob::parse("m*").expect("a pattern")],
            exclude: Vec::new(),
        });
        assert_eq!(memory.services.keys().collect::<Vec<_>>(), ["mail"]);
        assert_eq!(memory.candidates.keys().collect::<Vec<_>>(), ["mail"]);
        assert_eq!(memory.unreadable, ["mail".to_owned()].into());
    }
}
