//! Results of a check of `watch`, as they go from the process of the check to the sidecar, and to the one that answers over
//! HTTP. All three are this program, so the format between them is free to change.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::check_report::CheckReport;
use crate::judge::status_file::LastCheck;
use crate::judge::verdict::Verdict;
use crate::render;
use crate::render::prometheus::Style;
use crate::render::report::Report;
use crate::values::status::{Reason, Status};
use crate::values::timestamp::Timestamp;

/// The result of a check that the sidecar needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckOutcome {
    /// The verdict; that over all services, where there are many.
    pub verdict: ShortVerdict,
    /// Those of each service, where there are many.
    pub services: BTreeMap<String, ShortVerdict>,
    /// The state to carry to the next check, where no file holds it.
    pub state: Option<String>,
}

/// A verdict in brief: its status, the reason that leads, and the text of that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShortVerdict {
    pub status: Status,
    pub reason: Reason,
    pub text: String,
}

impl From<&Verdict> for ShortVerdict {
    fn from(verdict: &Verdict) -> ShortVerdict {
        let lead = verdict.findings().first();
        ShortVerdict {
            status: verdict.status(),
            reason: lead.map_or(Reason::Interrupted, |finding| finding.reason),
            text: lead.map_or(String::new(), |finding| finding.text.clone()),
        }
    }
}

impl CheckOutcome {
    pub fn new(report: &CheckReport, state: Option<String>) -> CheckOutcome {
        let services = match report {
            CheckReport::One(_) => &[][..],
            CheckReport::All(report) => &report.reports,
        };
        let of_service = |report: &Report| (report.verdict.service.clone(), (&report.verdict).into());
        CheckOutcome {
            verdict: report.verdict().into(),
            services: services.iter().map(of_service).collect(),
            state,
        }
    }

    /// A check that came to no verdict.
    pub fn failure(text: String) -> CheckOutcome {
        CheckOutcome {
            verdict: ShortVerdict {
                status: Status::Unknown,
                reason: Reason::Interrupted,
                text,
            },
            services: BTreeMap::new(),
            state: None,
        }
    }
}

/// Since when each verdict has had its status: that over all services under an empty name.
#[derive(Clone, Debug, Default)]
pub struct StatusTimes(BTreeMap<String, (Status, Timestamp)>);

impl StatusTimes {
    /// Takes in the verdicts of a check that has just ended.
    pub fn update(&mut self, outcome: &CheckOutcome, now: Timestamp) {
        self.0
            .retain(|name, _| name.is_empty() || outcome.services.contains_key(name));
        let verdicts = outcome.services.iter().map(|(name, verdict)| (name.as_str(), verdict));
        for (name, verdict) in verdicts.chain([("", &outcome.verdict)]) {
            let since = self.since(name, verdict.status, now);
            self.0.insert(name.to_owned(), (verdict.status, since));
        }
    }

    /// Since when the verdict has had this status; `now`, if it had another one.
    pub fn since(&self, name: &str, status: Status, now: Timestamp) -> Timestamp {
        let same = self.0.get(name).filter(|(before, _)| *before == status);
        same.map_or(now, |(_, since)| *since)
    }
}

/// The result of a check that is served over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Served {
    One(ServedCheck),
    All(ServedAll),
}

impl Served {
    pub fn new(report: &CheckReport, times: &StatusTimes, style: &Style) -> Served {
        let since = |name: &str, verdict: &Verdict, now| times.since(name, verdict.status(), now);
        match report {
            CheckReport::One(report) => {
                Served::One(ServedCheck::new(report, since("", &report.verdict, report.now), style))
            }
            CheckReport::All(all) => {
                let of_service = |report: &Report| {
                    let verdict = &report.verdict;
                    let since = since(&verdict.service, verdict, report.now);
                    (verdict.service.clone(), ServedService::new(report, since, style))
                };
                Served::All(ServedAll {
                    status: all.overview.status(),
                    time: all.now,
                    json: render::json::render_all(all).into(),
                    metrics: render::prometheus::render_all(all, style).into(),
                    html: render::html::checked_all(all, since("", &all.overview, all.now)).into(),
                    services: all.reports.iter().map(of_service).collect(),
                })
            }
        }
    }

    pub fn status(&self) -> Status {
        match self {
            Served::One(served) => served.status,
            Served::All(served) => served.status,
        }
    }

    /// The time of the check.
    pub fn time(&self) -> Timestamp {
        match self {
            Served::One(served) => served.check.time,
            Served::All(served) => served.time,
        }
    }

    pub fn json(&self) -> &Rc<str> {
        match self {
            Served::One(served) => &served.json,
            Served::All(served) => &served.json,
        }
    }

    pub fn metrics(&self) -> &Rc<str> {
        match self {
            Served::One(served) => &served.metrics,
            Served::All(served) => &served.metrics,
        }
    }

    /// The part of the page for people that does not change until the next check.
    pub fn html(&self) -> &Rc<str> {
        match self {
            Served::One(served) => &served.html,
            Served::All(served) => &served.html,
        }
    }
}

/// The result of a check of all services that is served over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedAll {
    pub status: Status,
    /// The time of the check.
    pub time: Timestamp,
    #[serde(with = "shared")]
    pub json: Rc<str>,
    #[serde(with = "shared")]
    pub metrics: Rc<str>,
    #[serde(with = "shared")]
    pub html: Rc<str>,
    /// Each service by its name.
    pub services: BTreeMap<String, ServedService>,
}

/// What is served of one service among many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedService {
    pub status: Status,
    #[serde(with = "shared")]
    pub metrics: Rc<str>,
    #[serde(with = "shared")]
    pub html: Rc<str>,
}

impl ServedService {
    fn new(report: &Report, since: Timestamp, style: &Style) -> ServedService {
        ServedService {
            status: report.verdict.status(),
            metrics: render::prometheus::render(report, style).into(),
            html: render::html::checked(report, since).into(),
        }
    }
}

/// The result of a check of one service that is served over HTTP.
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
            let report = CheckReport::One(Box::new(report));
            let outcome = CheckOutcome::new(&report, Some("{\"a\": 1}\n".into()));
            let text = serde_json::to_string(&outcome).expect("JSON");
            assert_eq!(
                serde_json::from_str::<CheckOutcome>(&text).ok(),
                Some(outcome),
                "{state}"
            );
            let served = Served::new(&report, &StatusTimes::default(), &Style::default());
            let text = serde_json::to_string(&served).expect("JSON");
            assert_eq!(serde_json::from_str::<Served>(&text).ok(), Some(served), "{state}");
            // One that was cut is none.
            assert!(serde_json::from_str::<Served>(&text[..text.len() - 1]).is_err());
        }
    }
}
