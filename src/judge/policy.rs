//! The limits and statuses that the user has set.

use std::time::Duration;

use crate::state::baseline::Baseline;
use crate::state::changes::Succession;
use crate::state::memory::Memory;
use crate::values::range::Range;
use crate::values::status::Status;
use crate::values::version::Requirement;

/// Limits and statuses that the user has set.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// On the number of instances.
    pub warning: Option<Range>,
    pub critical: Option<Range>,
    /// On the slowest answer.
    pub rtt_warning: Option<Duration>,
    pub rtt_critical: Option<Duration>,
    /// On the version of each instance.
    pub expected_version: Option<Requirement>,
    /// The status of more than one version for longer than a rollout takes.
    pub mixed_versions: Option<Status>,
    /// Keys of the metadata whose values tell versions apart, beside the version itself.
    pub mixed_metadata: Vec<String>,
    /// On the time until the credentials expire.
    pub creds_warning: Option<Duration>,
    pub creds_critical: Option<Duration>,
    /// The status of a service that no epoch has ever seen.
    pub never_seen: Status,
    /// The status of being unable to ask: NATS unreachable, credentials or TLS refused.
    pub unreachable: Status,
    /// The status of silence. Below CRITICAL it is no epoch: it opens no outage.
    pub silent: Status,
    /// After how long an outage is forgotten.
    pub forget_after: Option<Duration>,
    pub rates: RateLimits,
    /// On the request to an endpoint; `None` where none is to be sent.
    pub request: Option<RequestLimits>,
    pub loss: LossLimits,
    pub restarts: RestartLimits,
    /// Set if there is a state; without one the texts must not mention earlier runs.
    pub remembers: bool,
    /// The prefix of the subjects where the service is asked through an account import.
    pub imported: Option<String>,
}

/// Time limits for the reply of an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestLimits {
    pub warning: Option<Duration>,
    pub critical: Option<Duration>,
}

impl Policy {
    /// Every range outside of which the number of instances raises an alarm.
    pub fn thresholds(&self, memory: &Memory) -> Vec<Range> {
        let baseline = memory.baseline.as_ref().map_or(0, Baseline::count);
        let losses = [self.loss.warning, self.loss.critical].into_iter().flatten();
        let losses = losses.map(|loss| Range::at_least((baseline + 1).saturating_sub(loss.instances(baseline)) as f64));
        [self.warning, self.critical]
            .into_iter()
            .flatten()
            .chain(losses)
            .collect()
    }
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            warning: None,
            critical: None,
            rtt_warning: None,
            rtt_critical: None,
            expected_version: None,
            mixed_versions: None,
            mixed_metadata: Vec::new(),
            creds_warning: None,
            creds_critical: None,
            never_seen: Status::Unknown,
            unreachable: Status::Unknown,
            silent: Status::Critical,
            forget_after: None,
            rates: RateLimits::default(),
            request: None,
            loss: LossLimits::default(),
            restarts: RestartLimits::default(),
            remembers: true,
            imported: None,
        }
    }
}

/// Limits for the statistics.
#[derive(Clone, Debug, PartialEq)]
pub struct RateLimits {
    /// Set if the statistics are requested.
    pub wanted: bool,
    /// In percent of the requests.
    pub error_warning: Option<f64>,
    pub error_critical: Option<f64>,
    /// On the mean processing time of a request.
    pub latency_warning: Option<Duration>,
    pub latency_critical: Option<Duration>,
    /// Minimum number of requests for a rate.
    pub min_requests: u64,
}

impl Default for RateLimits {
    fn default() -> RateLimits {
        RateLimits {
            wanted: false,
            error_warning: None,
            error_critical: None,
            latency_warning: None,
            latency_critical: None,
            min_requests: 10,
        }
    }
}

impl RateLimits {
    /// Returns `true` if no limit is set.
    pub fn are_none(&self) -> bool {
        let none = (None, None, None, None);
        none == (
            self.error_warning,
            self.error_critical,
            self.latency_warning.map(|limit| limit.as_secs_f64()),
            self.latency_critical.map(|limit| limit.as_secs_f64()),
        )
    }
}

/// Number or share of missing instances, compared with the normal number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    Instances(usize),
    /// Of the baseline, from 1 to 100.
    Percent(u8),
}

impl Loss {
    /// Number of lost instances from which on it is reached, of `baseline`; at least one.
    pub fn instances(self, baseline: usize) -> usize {
        match self {
            Loss::Instances(limit) => limit.max(1),
            Loss::Percent(limit) => (baseline as u128 * u128::from(limit)).div_ceil(100).max(1) as usize,
        }
    }
}

/// Limits for missing instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossLimits {
    pub warning: Option<Loss>,
    pub critical: Option<Loss>,
    /// After how long fewer instances are the normal number.
    pub settle: Duration,
}

impl Default for LossLimits {
    fn default() -> LossLimits {
        LossLimits {
            warning: None,
            critical: None,
            settle: Duration::from_secs(900),
        }
    }
}

impl LossLimits {
    pub fn are_none(&self) -> bool {
        self.warning.is_none() && self.critical.is_none()
    }
}

/// Limits for restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartLimits {
    pub warning: Option<usize>,
    pub critical: Option<usize>,
    /// When an arrival counts as a restart; the window is also that of the number.
    pub succession: Succession,
}

impl RestartLimits {
    /// Returns the number of changes that have to be remembered so that the limits can be reached: a restart is made of two.
    pub fn fewest_changes(&self) -> usize {
        self.warning.max(self.critical).unwrap_or(0) * 2
    }
}

impl Default for RestartLimits {
    fn default() -> RestartLimits {
        RestartLimits {
            warning: None,
            critical: None,
            succession: Succession {
                confirm: Duration::from_secs(5),
                window: Duration::from_secs(900),
            },
        }
    }
}

impl RestartLimits {
    pub fn are_none(&self) -> bool {
        self.warning.is_none() && self.critical.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each number of instances for which a run has to look twice.
    #[test]
    fn numbers_that_raise_an_alarm_follow_the_limits() {
        let range = |text| Range::parse(text).ok();
        let memory = |baseline| Memory {
            baseline: Some(Baseline::new(baseline)),
            ..Memory::default()
        };
        let lost = |warning, critical| Policy {
            loss: LossLimits {
                warning,
                critical,
                ..LossLimits::default()
            },
            ..Policy::default()
        };
        let ranges = Policy {
            warning: range("3:"),
            critical: range("1:6"),
            ..Policy::default()
        };
        let cases = [
            (Policy::default(), 5, vec![]),
            (ranges, 5, vec![0, 1, 2, 7, 8]),
            (lost(Some(Loss::Instances(2)), None), 5, vec![0, 1, 2, 3]),
            (lost(None, Some(Loss::Instances(1))), 3, vec![0, 1, 2]),
            (lost(None, Some(Loss::Instances(7))), 5, vec![]),
            (lost(Some(Loss::Percent(50)), None), 4, vec![0, 1, 2]),
        ];
        for (policy, baseline, expected) in cases {
            let thresholds = policy.thresholds(&memory(baseline));
            let alerts = |count: &usize| thresholds.iter().any(|range| range.alerts(*count as f64));
            let alerting: Vec<usize> = (0..9).filter(alerts).collect();
            assert_eq!(alerting, expected, "{policy:?}");
        }
    }
}
