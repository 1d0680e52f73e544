//! The verdict over all services of a run with `--all`: the worst service decides, and the line says how many of how many, which, and
//! since when.

use std::collections::BTreeMap;

use super::policy::Policy;
use super::verdict::{Finding, Verdict};
use crate::probe::observation::Observation;
use crate::state::memory::Memory;
use crate::values::status::{Reason, Status};
use crate::values::timestamp::Timestamp;

/// One service of the run: its verdict, and what that is drawn from.
#[derive(Clone, Copy, Debug)]
pub struct ServiceResult<'a> {
    pub verdict: &'a Verdict,
    /// The memory that this run leaves.
    pub memory: &'a Memory,
    pub seen: Option<&'a Observation>,
}

/// The input of [`overview`].
#[derive(Clone, Copy, Debug)]
pub struct OverviewInput<'a> {
    /// The watched services, by name.
    pub services: &'a [ServiceResult<'a>],
    /// What the probe saw that holds for the whole run.
    pub common: &'a Observation,
    /// Number of services that answered and were too many to be watched.
    pub too_many: usize,
    /// Services that are not watched yet (`--adopt-after`): since when they answer.
    pub candidates: &'a BTreeMap<String, Timestamp>,
    /// Problems of the account state, in words.
    pub problems: &'a [String],
    pub policy: &'a Policy,
    /// Whether to add a metric for each service (`--per-service`).
    pub per_service: bool,
    pub now: Timestamp,
}

/// Returns the verdict over all services. Its `service` is empty.
pub fn overview(input: &OverviewInput<'_>) -> Verdict {
    let mut findings = Vec::new();
    for service in input.services {
        findings.extend(service.verdict.findings().first().cloned());
    }
    for problem in input.problems {
        findings.push(Finding::new(Status::Unknown, Reason::StateUnusable, problem.as_str()));
    }
    Verdict::new("", findings, vec![], vec![])
}
