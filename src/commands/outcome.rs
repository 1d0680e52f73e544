//! Results of a check of `watch`, as they go from the process of the check to the sidecar, and to the one that answers over
//! HTTP. All three are this program, so the format between them is free to change.

use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::judge::status_file::LastCheck;
use crate::render;
use crate::render::prometheus::Style;
use crate::render::report::Report;
use crate::values::status::{Reason, Status};
use crate::values::timestamp::Timestamp;

/// The result of a check that the sidecar needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckOutcome {
    pub status: Status,
    /// The reason that leads, and its text.
    pub reason: Reason,
    pub text: String,
    /// The state to carry to the next check, where no file holds it.
    pub state: Option<String>,
}

impl CheckOutcome {
    pub fn new(report: &Report, state: Option<String>) -> CheckOutcome {
        let verdict = &report.verdict;
        let lead = verdict.findings().first();
        CheckOutcome {
            status: verdict.status(),
            reason: lead.map_or(Reason::Interrupted, |finding| finding.reason),
            text: lead.map_or(String::new(), |finding| finding.text.clone()),
            state,
        }
    }

    /// A check that came to no verdict.
    pub fn failure(text: String) -> CheckOutcome {
        CheckOutcome {
            status: Status::Unknown,
            reason: Reason::Interrupted,
            text,
            state: None,
        }
    }
}

/// The result of a check that is served over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedCheck {
    pub status: Status,
    /// The source of the answers to probes.
    pub check: LastCheck,
    /// The JSON output.
    #[serde(with = "shared")]
    pub json: Rc<str>,
    /// The metrics, in the text exposition format.
    #[serde(with = "shared")]
    pub metrics: Rc<str>,
    /// The part of the page for people that does not change until the next check.
    #[serde(with = "shared")]
    pub html: Rc<str>,
}

impl ServedCheck {
    /// `since`: when the status became what it is.
    pub fn new(report: &Report, since: Timestamp, style: &Style) -> ServedCheck {
        ServedCheck {
            status: report.verdict.status(),
            check: LastCheck::new(&report.verdict, report.seen.as_deref(), report.now),
            json: render::json::render(report).into(),
            metrics: render::prometheus::render(report, style).into(),
            html: render::html::checked(report, since).into(),
        }
    }
}

/// Serializes a shared text as a text.
mod shared {
    use std::rc::Rc;

    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(text: &Rc<str>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(text)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Rc<str>, D::Error> {
        String::deserialize(deserializer).map(Rc::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::sample_reports::sample_reports;

    #[test]
    fn every_check_reads_back() {
        for (state, report) in sample_reports() {
            let outcome = CheckOutcome::new(&report, Some("{\"a\": 1}\n".into()));
            let text = serde_json::to_string(&outcome).expect("JSON");
            assert_eq!(
                serde_json::from_str::<CheckOutcome>(&text).ok(),
                Some(outcome),
                "{state}"
            );
            let served = ServedCheck::new(&report, report.now, &Style::default());
            let text = serde_json::to_string(&served).expect("JSON");
            assert_eq!(serde_json::from_str::<ServedCheck>(&text).ok(), Some(served), "{state}");
            // One that was cut is none.
            assert!(serde_json::from_str::<ServedCheck>(&text[..text.len() - 1]).is_err());
        }
    }
}
