//! The key of the state: all that identifies the question.

use serde::{Deserialize, Serialize};

use crate::values::text::digest;

/// Maximum number of characters of the service in the name of its file.
pub const FILE_NAME_CHARS: usize = 100;

/// Key of the state: it identifies the question, so that the answers to two questions are never mixed up. Thresholds are no part
/// of it, and no secret is. It stands in the state file as it is here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateKey {
    pub prefix: String,
    /// `host:port`, sorted.
    pub servers: Vec<String>,
    pub service: String,
    pub user: Option<String>,
}

impl StateKey {
    /// The name of the state file: the service, for people, and a digest of the whole question.
    pub fn file_name(&self) -> String {
        // A collision is noticed, since the file holds the question itself.
        let text = serde_json::to_string(self).unwrap_or_default();
        let digest = digest(text.bytes());
        let service: String = self.service.chars().take(FILE_NAME_CHARS).collect();
        format!("{service}-{digest:016x}.json")
    }
}
