//! The verdict: a status, its findings, and the metrics.

use std::borrow::Cow;
use std::time::Duration;

use crate::values::dated;
use crate::values::range::Range;
use crate::values::status::{Reason, Status};

/// One thing that was found, with the status that it alone would give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub status: Status,
    pub reason: Reason,
    /// For an operator: what is the matter, since when, and where to look.
    pub text: String,
    /// The same with the moments of its ages ([`dated`]), for a page that is read later.
    pub dated: String,
}

impl Finding {
    /// The finding with this text, in which ages may be [`dated`].
    pub fn new(status: Status, reason: Reason, text: impl Into<String>) -> Finding {
        let dated = text.into();
        Finding {
            status,
            reason,
            text: dated::plain(&dated),
            dated,
        }
    }

    /// Appends to the text.
    pub fn append(&mut self, text: &str) {
        self.dated += text;
        self.text += &dated::plain(text);
    }
}

/// The unit of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Count,
    Seconds,
    Percent,
    /// A total that only grows.
    Counter,
}

/// A number with its limits.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// `[a-z0-9_]`, unique within its first 19 characters (RRD's limit).
    pub name: Cow<'static, str>,
    /// `None` where the value could not be determined.
    pub value: Option<f64>,
    pub unit: Unit,
    pub warning: Option<Range>,
    pub critical: Option<Range>,
}

impl Metric {
    /// A number without limits.
    pub fn new(name: &'static str, unit: Unit, value: Option<f64>) -> Metric {
        Metric {
            name: name.into(),
            value,
            unit,
            warning: None,
            critical: None,
        }
    }

    /// A number of things, without limits.
    pub fn count(name: &'static str, value: Option<usize>) -> Metric {
        Metric::new(name, Unit::Count, value.map(|number| number as f64))
    }

    /// A duration, without limits.
    pub fn seconds(name: &'static str, value: Option<Duration>) -> Metric {
        Metric::new(name, Unit::Seconds, value.map(|duration| duration.as_secs_f64()))
    }

    /// The metric with these limits, of which `range` makes the ranges.
    pub fn with_limits<L>(self, warning: Option<L>, critical: Option<L>, range: impl Fn(L) -> Range) -> Metric {
        Metric {
            warning: warning.map(&range),
            critical: critical.map(&range),
            ..self
        }
    }
}

/// A line that is shown only from the given verbosity on (`-v` is 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detail {
    pub verbosity: u8,
    pub text: String,
}

/// The answer to the question that was asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The service asked about; empty where the arguments did not say.
    pub service: String,
    /// Worst first.
    findings: Vec<Finding>,
    pub metrics: Vec<Metric>,
    pub details: Vec<Detail>,
}

impl Verdict {
    pub fn new(service: &str, findings: Vec<Finding>, metrics: Vec<Metric>, details: Vec<Detail>) -> Verdict {
        let mut verdict = Verdict {
            service: service.to_owned(),
            findings: Vec::new(),
            metrics,
            details,
        };
        for finding in findings {
            verdict.add(finding);
        }
        verdict
    }

    /// Adds a finding in its place: worst first, then in the order of [`Reason`].
    pub fn add(&mut self, finding: Finding) {
        let place = |f: &Finding| (std::cmp::Reverse(f.status), f.reason);
        let at = self.findings.partition_point(|f| place(f) <= place(&finding));
        self.findings.insert(at, finding);
    }

    /// The findings, worst first.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The texts of the findings that a single line tells: all, but not twice how many instances there are.
    pub fn told(&self) -> impl Iterator<Item = &str> {
        self.told_where(|_| true).map(|finding| finding.text.as_str())
    }

    /// The same findings, those for which `is_wanted` holds.
    pub fn told_where(&self, is_wanted: impl Fn(&Finding) -> bool) -> impl Iterator<Item = &Finding> {
        let number_told = self
            .findings
            .iter()
            .any(|f| matches!(f.reason, Reason::InstancesOutOfRange | Reason::InstancesLost) && f.status != Status::Ok);
        self.findings
            .iter()
            .filter(move |f| is_wanted(f) && !(number_told && f.reason == Reason::ServiceUp))
    }

    /// The worst finding's status. Nothing found is UNKNOWN: only a finding can say OK.
    pub fn status(&self) -> Status {
        self.findings.first().map_or(Status::Unknown, |f| f.status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdict_without_findings_is_unknown() {
        let verdict = Verdict::new("x", vec![], vec![], vec![]);
        assert_eq!(verdict.status(), Status::Unknown);
    }

    #[test]
    fn the_worst_finding_leads_whatever_the_order_of_adding() {
        let verdict = Verdict::new(
            "x",
            vec![
                Finding::new(Status::Ok, Reason::ServiceUp, "up"),
                Finding::new(Status::Critical, Reason::InstancesOutOfRange, "range"),
                Finding::new(Status::Unknown, Reason::StateUnusable, "state"),
                Finding::new(Status::Critical, Reason::ServiceDown, "down"),
            ],
            vec![],
            vec![],
        );
        let texts: Vec<&str> = verdict.findings().iter().map(|f| f.text.as_str()).collect();
        assert_eq!(texts, ["down", "range", "state", "up"]);
        assert_eq!(verdict.status(), Status::Critical);
    }
}
