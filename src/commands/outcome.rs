//! Results of a check of `watch`, as they go from the process of the check to the sidecar, and to the one that answers over
//! HTTP. All three are this program, so the format between them is free to change.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::rc::{Rc, Weak};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::check_report::CheckReport;
use super::handover::{self, Span, TextWriter};
use crate::judge::status_file::LastCheck;
use crate::judge::verdict::Verdict;
use crate::render;
use crate::render::prometheus::Style;
use crate::render::report::Report;
use crate::state::account::AccountKey;
use crate::values::status::{Reason, Status};
use crate::values::timestamp::Timestamp;

/// The result of a check that the sidecar needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckOutcome {
    /// The verdict; that over all services, where there are many.
    pub verdict: ShortVerdict,
    /// Those of each service, where there are many.
    pub services: BTreeMap<String, ShortVerdict>,
    /// Set if the pod's own instance replied; `None`: NATS could not be asked, or no instance was named.
    pub own_up: Option<bool>,
    /// The state to carry to the next check, where no file holds it.
    pub state: Option<String>,
    /// Whose state it is; `None`: that is not known.
    pub key: Option<AccountKey>,
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
    pub fn new(report: &CheckReport, state: Option<String>, key: Option<AccountKey>) -> CheckOutcome {
        let (services, own_up) = match report {
            CheckReport::One(report) => (&[][..], report.own_up),
            CheckReport::All(report) => (&report.reports[..], None),
        };
        let of_service = |report: &Report| (report.verdict.service.clone(), (&report.verdict).into());
        CheckOutcome {
            verdict: report.verdict().into(),
            services: services.iter().map(of_service).collect(),
            own_up,
            state,
            key,
        }
    }

    /// Returns whether it tells of the services: a check that could not begin tells of none, and not that they are gone.
    pub fn has_services(&self) -> bool {
        !self.services.is_empty() || !self.verdict.reason.is_of_whole_run()
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
            own_up: None,
            state: None,
            key: None,
        }
    }
}

/// Facts that the sidecar knows from its checks so far.
#[derive(Clone, Debug, Default)]
pub struct ChecksSoFar {
    /// Since when each verdict has had its status: that over all services under an empty name.
    statuses: BTreeMap<String, (Status, Timestamp)>,
    /// The account in which the pod's own instance has replied: in another one it may never have been.
    own_was_up_in: Option<AccountKey>,
}

impl ChecksSoFar {
    /// Takes in the verdicts of a check that has just ended.
    pub fn update(&mut self, outcome: &CheckOutcome, now: Timestamp) {
        if outcome.own_up == Some(true) {
            self.own_was_up_in = outcome.key.clone();
        }
        if outcome.has_services() {
            self.statuses
                .retain(|name, _| name.is_empty() || outcome.services.contains_key(name));
        }
        let verdicts = outcome.services.iter().map(|(name, verdict)| (name.as_str(), verdict));
        for (name, verdict) in verdicts.chain([("", &outcome.verdict)]) {
            let since = self.since(name, verdict.status, now);
            self.statuses.insert(name.to_owned(), (verdict.status, since));
        }
    }

    /// Since when the verdict has had this status; `now`, if it had another one.
    pub fn since(&self, name: &str, status: Status, now: Timestamp) -> Timestamp {
        let same = self.statuses.get(name).filter(|(before, _)| *before == status);
        same.map_or(now, |(_, since)| *since)
    }
}

/// The result of a check that is served over HTTP: what tells of it, and the file with its texts, as they were rendered.
#[derive(Clone, Debug)]
pub struct Served {
    pub result: ServedResult,
    /// Number of checks that the process that answers over HTTP had requested when this one began.
    pub check_requests: u64,
    file: Rc<File>,
    /// Texts that are being sent, by their offsets: each is in the memory once, however many ask for it.
    sent: Rc<RefCell<BTreeMap<Span, Weak<str>>>>,
}

/// Index at the end of the file: the places of the texts in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedIndex {
    pub result: ServedResult,
    /// See [`Served::check_requests`].
    pub check_requests: u64,
}

/// The result of a check, without its texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServedResult {
    One(ServedCheck),
    All(ServedAll),
}

/// The texts of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedTexts {
    /// The JSON output.
    pub json: Span,
    /// The metrics, in the text exposition format.
    pub metrics: Span,
    /// The part of the page for people that does not change until the next check.
    pub html: Span,
}

/// The result of a check of one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedCheck {
    pub status: Status,
    /// The source of the answers to probes.
    pub check: LastCheck,
    pub texts: ServedTexts,
}

/// The result of a check of all services.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedAll {
    pub status: Status,
    /// The time of the check.
    pub time: Timestamp,
    pub texts: ServedTexts,
    /// The status of each service, and the part of its page that does not change until the next check.
    pub services: BTreeMap<String, (Status, Span)>,
}

impl Served {
    /// Writes the result of a check of this account to the file. `max_age`: a check that is older says nothing any more.
    ///
    /// # Errors
    ///
    /// That of the system.
    pub fn write(
        file: &File,
        report: &CheckReport,
        key: Option<&AccountKey>,
        so_far: &ChecksSoFar,
        style: &Style,
        max_age: Duration,
        check_requests: u64,
    ) -> io::Result<()> {
        let mut writer = TextWriter::new(file)?;
        let since = |verdict: &Verdict, now| so_far.since(&verdict.service, verdict.status(), now);
        let html = match report {
            CheckReport::One(one) => {
                let since = so_far.since("", one.verdict.status(), one.now);
                render::html::checked(one, since, max_age)
            }
            CheckReport::All(all) => render::html::checked_all(all, |verdict| since(verdict, all.now)),
        };
        let texts = ServedTexts {
            json: writer.add(&report.json())?,
            metrics: writer.add(&report.metrics(style))?,
            html: writer.add(&html)?,
        };
        let status = report.status();
        let result = match report {
            CheckReport::One(report) => {
                let check = LastCheck::new(&report.verdict, report.seen.as_deref(), report.now);
                let own_was_up = key.is_some() && so_far.own_was_up_in.as_ref() == key;
                let check = if own_was_up { check.of_one_seen() } else { check };
                ServedResult::One(ServedCheck { status, check, texts })
            }
            CheckReport::All(all) => {
                let mut services = BTreeMap::new();
                for report in all.reports.iter() {
                    let html = render::html::checked(report, since(&report.verdict, report.now), max_age);
                    let served = (report.verdict.status(), writer.add(&html)?);
                    services.insert(report.verdict.service.clone(), served);
                }
                ServedResult::All(ServedAll {
                    status,
                    time: all.now,
                    texts,
                    services,
                })
            }
        };
        writer.finish(&ServedIndex { result, check_requests })
    }

    /// Reads what [`Served::write`] has written. `None`: it is not whole.
    pub fn read(file: File) -> Option<Served> {
        let ServedIndex { result, check_requests } = handover::read_index(&file)?;
        Some(Served {
            result,
            check_requests,
            file: Rc::new(file),
            sent: Rc::default(),
        })
    }

    pub fn status(&self) -> Status {
        match &self.result {
            ServedResult::One(served) => served.status,
            ServedResult::All(served) => served.status,
        }
    }

    /// The time of the check.
    pub fn time(&self) -> Timestamp {
        match &self.result {
            ServedResult::One(served) => served.check.time,
            ServedResult::All(served) => served.time,
        }
    }

    pub fn texts(&self) -> &ServedTexts {
        match &self.result {
            ServedResult::One(served) => &served.texts,
            ServedResult::All(served) => &served.texts,
        }
    }

    /// Reads one of its texts; an empty one if it cannot be read.
    pub fn text(&self, span: Span) -> Rc<str> {
        let mut sent = self.sent.borrow_mut();
        if let Some(text) = sent.get(&span).and_then(Weak::upgrade) {
            return text;
        }
        let text: Rc<str> = handover::read_text(&self.file, span).unwrap_or_default().into();
        sent.insert(span, Rc::downgrade(&text));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::sample_reports::sample_reports;

    #[test]
    fn encoded_check_decodes_to_the_same_check() {
        for (state, report) in sample_reports() {
            let report = CheckReport::One(Box::new(report));
            let key = AccountKey {
                prefix: "$SRV".into(),
                servers: vec!["h:4222".into()],
                user: None,
            };
            let outcome = CheckOutcome::new(&report, Some("{\"a\": 1}\n".into()), Some(key));
            let text = serde_json::to_string(&outcome).expect("JSON");
            assert_eq!(
                serde_json::from_str::<CheckOutcome>(&text).ok(),
                Some(outcome),
                "{state}"
            );
            let file = handover::file().expect("a file");
            Served::write(
                &file,
                &report,
                None,
                &ChecksSoFar::default(),
                &Style::default(),
                Duration::MAX,
                7,
            )
            .expect("written");
            let copy = file.try_clone().expect("a copy");
            let served = Served::read(copy).expect("a whole result");
            let texts = served.texts();
            assert_eq!(served.check_requests, 7);
            assert_eq!(*served.text(texts.json), *report.json(), "{state}");
            assert_eq!(
                *served.text(texts.metrics),
                *report.metrics(&Style::default()),
                "{state}"
            );
            // A truncated outcome is invalid.
            let length = file.metadata().expect("its length").len();
            file.set_len(length - 1).expect("cut");
            assert!(Served::read(file).is_none(), "{state}");
        }
    }
}
