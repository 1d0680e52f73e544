//! Everything that there is to say after a run, for whichever renderer says it.

use std::sync::Arc;

use crate::judge::overview::ServiceResult;
use crate::judge::verdict::{Finding, Verdict};
use crate::probe::observation::Observation;
use crate::state::memory::Memory;
use crate::values::dated;
use crate::values::status::{Reason, Status};
use crate::values::timestamp::Timestamp;

/// The report of a run for all services.
#[derive(Clone, Debug)]
pub struct AllReport {
    /// One for each watched service, by name. Their observations have no trace: it stands in `common`.
    pub reports: Arc<Vec<Report>>,
    /// The verdict over all of them; its service is empty.
    pub overview: Verdict,
    /// Facts of the whole run; `None` if there was no probe.
    pub common: Option<Arc<Observation>>,
    /// The time of the verdict.
    pub now: Timestamp,
}

impl AllReport {
    /// A verdict without a probe: bad arguments, or a run that was ended too early.
    pub fn bare(overview: Verdict) -> AllReport {
        AllReport {
            reports: Arc::default(),
            overview,
            common: None,
            now: Timestamp::now(),
        }
    }

    /// The services, worst first.
    pub fn worst_first(&self) -> Vec<&Report> {
        let mut reports: Vec<&Report> = self.reports.iter().collect();
        reports.sort_by_cached_key(|report| report.result().rank(self.now));
        reports
    }

    /// Returns the text about a service; `None` if the overview has one for all that could not be asked.
    pub fn told(&self, report: &Report) -> Option<String> {
        self.told_dated(report).map(|text| dated::plain(&text))
    }

    /// The same, its ages [`dated`].
    pub fn told_dated(&self, report: &Report) -> Option<String> {
        report.result().told(self.common.as_deref())
    }

    /// Returns `true` if NATS could be asked.
    pub fn is_asked(&self) -> bool {
        let seen = self.common.as_ref();
        seen.is_some_and(|seen| seen.outcome.answers().is_some())
    }

    /// A metric of the overview; `None` if it could not be determined.
    pub fn metric(&self, name: &str) -> Option<f64> {
        self.overview.metrics.iter().find(|metric| metric.name == name)?.value
    }

    /// The same, UNKNOWN for one reason.
    pub fn unknown(reason: Reason, text: impl Into<String>) -> AllReport {
        AllReport::bare(Report::unknown("", reason, text).verdict)
    }
}

/// A verdict, and what it is drawn from.
#[derive(Clone, Debug)]
pub struct Report {
    pub verdict: Verdict,
    /// Observation of the probe; `None` if there was none. Shared: it can be large, and the watchdog holds it too.
    pub seen: Option<Arc<Observation>>,
    /// Memory after this run.
    pub memory: Arc<Memory>,
    /// Result for the pod's own instance; `None` if NATS could not be asked, or no instance was named.
    pub own_up: Option<bool>,
    /// When the verdict was said.
    pub now: Timestamp,
}

impl Report {
    /// A verdict without a probe: bad arguments, or a run that was ended too early.
    pub fn bare(verdict: Verdict) -> Report {
        Report {
            verdict,
            seen: None,
            memory: Arc::default(),
            own_up: None,
            now: Timestamp::now(),
        }
    }

    /// The part of it that the overview reads.
    pub fn result(&self) -> ServiceResult<'_> {
        ServiceResult {
            verdict: &self.verdict,
            memory: &self.memory,
            seen: self.seen.as_deref(),
        }
    }

    /// The same, UNKNOWN for one reason. Without a service where the arguments did not say.
    pub fn unknown(service: &str, reason: Reason, text: impl Into<String>) -> Report {
        let finding = Finding::new(Status::Unknown, reason, text);
        Report::bare(Verdict::new(service, vec![finding], vec![], vec![]))
    }
}
