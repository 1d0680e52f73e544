//! The status of a check.

use serde::{Deserialize, Serialize};

pub use super::reason::Reason;

/// The four states of a check, from harmless to worst.
///
/// The order is that of the contract (OK < WARNING < UNKNOWN < CRITICAL), not that of the exit codes: a check that
/// cannot tell is worse than one that warns, and better than a known outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    Ok,
    Warning,
    Unknown,
    Critical,
}

impl Status {
    /// Every status, mildest first.
    pub const ALL: [Status; 4] = [Status::Ok, Status::Warning, Status::Unknown, Status::Critical];

    /// The word of the Monitoring Plugins guidelines.
    pub fn name(self) -> &'static str {
        match self {
            Status::Ok => "OK",
            Status::Warning => "WARNING",
            Status::Unknown => "UNKNOWN",
            Status::Critical => "CRITICAL",
        }
    }

    /// The exit code of the Monitoring Plugins guidelines: 0, 1, 2 or 3.
    pub fn exit_code(self) -> u8 {
        match self {
            Status::Ok => 0,
            Status::Warning => 1,
            Status::Critical => 2,
            Status::Unknown => 3,
        }
    }

    /// Reads a status by name, in any case.
    pub fn parse(word: &str) -> Option<Status> {
        Status::ALL
            .into_iter()
            .find(|status| status.name().eq_ignore_ascii_case(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severity_is_not_the_exit_code() {
        let codes: Vec<u8> = Status::ALL.iter().map(|s| s.exit_code()).collect();
        assert_eq!(codes, [0, 1, 3, 2]);
        assert!(Status::ALL.is_sorted());
    }

    #[test]
    fn names_read_back() {
        for status in Status::ALL {
            assert_eq!(Status::parse(&status.name().to_lowercase()), Some(status));
            assert_eq!(serde_json::to_value(status).ok(), Some(status.name().into()));
        }
        assert_eq!(Status::parse("good"), None);
    }
}
