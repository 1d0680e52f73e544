//! What is said in the end: a status, the findings behind it, and the numbers.

use crate::range::Range;

/// The four states of a check, from harmless to worst.
///
/// The order is that of the contract (OK < WARNING < UNKNOWN < CRITICAL), not that of the exit codes: a check that
/// cannot tell is worse than one that warns, and better than a known outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

/// Why the verdict is what it is. The words are part of the contract: texts may improve, reasons stay.
///
/// The order is the one in which findings of equal severity are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    Usage,
    ServiceDown,
    ServiceSilent,
    InstancesOutOfRange,
    Slow,
    AuthRejected,
    PermissionDenied,
    TlsFailed,
    ProtocolError,
    NatsUnreachable,
    Interrupted,
    ServiceNeverSeen,
    StateUnusable,
    ServiceRecovered,
    ServiceUp,
}

impl Reason {
    /// Every reason, in the order in which they are told.
    pub const ALL: [Reason; 15] = [
        Reason::Usage,
        Reason::ServiceDown,
        Reason::ServiceSilent,
        Reason::InstancesOutOfRange,
        Reason::Slow,
        Reason::AuthRejected,
        Reason::PermissionDenied,
        Reason::TlsFailed,
        Reason::ProtocolError,
        Reason::NatsUnreachable,
        Reason::Interrupted,
        Reason::ServiceNeverSeen,
        Reason::StateUnusable,
        Reason::ServiceRecovered,
        Reason::ServiceUp,
    ];

    /// The fixed snake_case word.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Usage => "usage",
            Reason::ServiceDown => "service_down",
            Reason::ServiceSilent => "service_silent",
            Reason::InstancesOutOfRange => "instances_out_of_range",
            Reason::Slow => "slow",
            Reason::AuthRejected => "auth_rejected",
            Reason::PermissionDenied => "permission_denied",
            Reason::TlsFailed => "tls_failed",
            Reason::ProtocolError => "protocol_error",
            Reason::NatsUnreachable => "nats_unreachable",
            Reason::Interrupted => "interrupted",
            Reason::ServiceNeverSeen => "service_never_seen",
            Reason::StateUnusable => "state_unusable",
            Reason::ServiceRecovered => "service_recovered",
            Reason::ServiceUp => "service_up",
        }
    }

    /// Reads a reason by its word.
    pub fn parse(word: &str) -> Option<Reason> {
        Reason::ALL.into_iter().find(|reason| reason.name() == word)
    }
}

/// One thing that was found, with the status that it alone would give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub status: Status,
    pub reason: Reason,
    /// For an operator: what is the matter, since when, and where to look.
    pub text: String,
}

impl Finding {
    pub fn new(status: Status, reason: Reason, text: impl Into<String>) -> Finding {
        Finding {
            status,
            reason,
            text: text.into(),
        }
    }
}

/// The unit of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Count,
    Seconds,
}

/// A number with its limits.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// `[a-z0-9_]`, unique within its first 19 characters (RRD's limit).
    pub name: &'static str,
    /// `None` where the value could not be determined.
    pub value: Option<f64>,
    pub unit: Unit,
    pub warning: Option<Range>,
    pub critical: Option<Range>,
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

    /// The worst finding's status. Nothing found is UNKNOWN: only a finding can say OK.
    pub fn status(&self) -> Status {
        self.findings.first().map_or(Status::Unknown, |f| f.status)
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
        }
        for reason in Reason::ALL {
            assert_eq!(Reason::parse(reason.name()), Some(reason));
        }
        assert_eq!(Status::parse("good"), None);
    }

    #[test]
    fn nothing_found_is_unknown() {
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
