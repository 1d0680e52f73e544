//! What identifies the question, and so the state file.

use serde_json::{Value, json};

use crate::values::text::digest;

/// What identifies the question, so that the answers to two questions are never mixed up. Thresholds are no part of it,
/// and no secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub service: String,
    pub prefix: String,
    /// `host:port`, sorted.
    pub servers: Vec<String>,
    pub user: Option<String>,
}

impl Question {
    /// As it stands in the state file.
    pub fn to_json(&self) -> Value {
        json!({ "service": self.service, "prefix": self.prefix, "servers": self.servers, "user": self.user })
    }

    /// The name of the state file: the service, for people, and a digest of the whole question.
    pub fn file_name(&self) -> String {
        // A collision is noticed, since the file holds the question itself.
        let digest = digest(self.to_json().to_string().bytes());
        let service: String = self.service.chars().take(100).collect();
        format!("{service}-{digest:016x}.json")
    }
}
