//! When the credentials expire that the check itself logs in with (`--creds-warning`, `--creds-critical`).
//!
//! Told before it happens, and whatever else is the matter: afterwards nobody can be asked.

use std::time::Duration;

use super::rule::{RuleInput, RuleOutput, crossed};
use super::verdict::Metric;
use crate::probe::observation::Outcome;
use crate::values::dated;
use crate::values::duration::age;
use crate::values::range::Range;
use crate::values::status::{Reason, Status};
use crate::values::timestamp::Timestamp;

pub fn judge(input: &RuleInput<'_>, output: &mut RuleOutput) {
    let Some(credentials) = &input.observation.credentials else {
        return;
    };
    // Nothing is left of what has expired.
    let left = credentials.at.map(|at| at.since(input.now));
    let (warning, critical) = (input.policy.creds_warning, input.policy.creds_critical);
    if warning.or(critical).is_some() {
        let range = |limit: Duration| Range::at_least(limit.as_secs_f64());
        output.add_metric(Metric::seconds("creds_expiry", left).with_limits(warning, critical, range));
    }
    let file = &credentials.file;
    match (credentials.at, left) {
        (Some(at), Some(left)) if left.is_zero() => expired(input, file, at, output),
        (Some(at), Some(left)) => expiring(input, file, at, left, output),
        _ => output.add_detail(1, format!("credentials of {file} never expire")),
    }
}

fn expiring(input: &RuleInput<'_>, file: &str, at: Timestamp, left: Duration, output: &mut RuleOutput) {
    let text = format!(
        "credentials {file} expire in {}, at {at}",
        dated::time_left(at, input.now)
    );
    match limit(input, left) {
        Some((status, word, limit)) => {
            let text = format!("{text}, {word} below {}", age(limit));
            output.add_finding(status, Reason::CredentialsExpiring, text);
        }
        None => output.add_detail(1, text),
    }
}

fn expired(input: &RuleInput<'_>, file: &str, at: Timestamp, output: &mut RuleOutput) {
    let let_in = match &input.observation.outcome {
        // The server reports this itself.
        Outcome::Failed(failure) if failure.reason == Reason::AuthRejected => return,
        Outcome::Failed(_) => "",
        _ => ", yet NATS accepts them: does it verify the JWT, and are the clocks right?",
    };
    let text = format!(
        "credentials {file} expired {} ago, at {at}{let_in}",
        dated::age(at, input.now)
    );
    match limit(input, Duration::ZERO) {
        Some((status, ..)) => output.add_finding(status, Reason::CredentialsExpiring, text),
        None => output.add_detail(1, text),
    }
}

/// The worst limit that is reached where this time is left.
fn limit(input: &RuleInput<'_>, left: Duration) -> Option<(Status, &'static str, Duration)> {
    crossed(input.policy.creds_critical, input.policy.creds_warning, |limit| {
        left < *limit
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::credentials::Expiry;
    use crate::judge::fixture::{SILENT, answered, at, failed, findings, saw, up};
    use crate::judge::{Policy, judge};
    use crate::probe::observation::Observation;

    const DAY: i64 = 86_400;

    fn limits(warning: Option<u64>, critical: Option<u64>) -> Policy {
        Policy {
            creds_warning: warning.map(Duration::from_secs),
            creds_critical: critical.map(Duration::from_secs),
            ..Policy::default()
        }
    }

    /// Returns the finding, or else the detail of `-v`, for credentials with this time of expiry; and the metric.
    fn judged(outcome: Outcome, expires: Option<Timestamp>, policy: &Policy) -> (String, Option<Option<f64>>) {
        let seen = Observation {
            credentials: Some(Expiry {
                file: "/mon.creds".into(),
                at: expires,
            }),
            ..saw(outcome)
        };
        let (verdict, _) = judge("orders", &up(), &seen, policy, at(100));
        let lines = findings(&verdict);
        let mut mine = lines.lines().filter(|line| line.contains("credentials_expiring"));
        let details = verdict.details.iter().filter(|detail| detail.verbosity == 1);
        let mut told = details
            .map(|detail| detail.text.as_str())
            .filter(|text| text.contains("/mon.creds"));
        let text = mine.next().or(told.next()).unwrap_or_default().to_owned();
        assert_eq!((mine.next(), told.next()), (None, None), "once");
        let metric = verdict.metrics.iter().find(|metric| metric.name == "creds_expiry");
        (text, metric.map(|metric| metric.value))
    }

    #[test]
    fn the_worst_limit_that_is_crossed_counts() {
        let both = limits(Some(7 * 86_400), Some(86_400));
        let expires = |second: i64| Some(at(100 + second));
        let warned = ", warning below 7d";
        let critical = ", critical below 1d";
        let of = |status: &str, left: &str, when: &str| {
            format!("{status}credentials /mon.creds expire in {left}, at {when}")
        };
        let (w, c) = ("WARNING credentials_expiring: ", "CRITICAL credentials_expiring: ");
        let cases = [
            (expires(30 * DAY), &both, of("", "30d", "1970-01-31T00:01:40Z")),
            (expires(7 * DAY), &both, of("", "7d", "1970-01-08T00:01:40Z")),
            (
                expires(7 * DAY - 1),
                &both,
                of(w, "6d 23h", "1970-01-08T00:01:39Z") + warned,
            ),
            (expires(DAY), &both, of(w, "1d", "1970-01-02T00:01:40Z") + warned),
            (
                expires(DAY - 1),
                &both,
                of(c, "23h 59m", "1970-01-02T00:01:39Z") + critical,
            ),
            (expires(1), &both, of(c, "1.0s", "1970-01-01T00:01:41Z") + critical),
            (expires(1), &limits(None, None), of("", "1.0s", "1970-01-01T00:01:41Z")),
            (
                expires(1),
                &limits(Some(60), None),
                of(w, "1.0s", "1970-01-01T00:01:41Z") + ", warning below 60s",
            ),
            (
                expires(1),
                &limits(None, Some(60)),
                of(c, "1.0s", "1970-01-01T00:01:41Z") + ", critical below 60s",
            ),
            (None, &both, "credentials of /mon.creds never expire".into()),
            (
                Some(Timestamp::from_micros(i64::MAX)),
                &both,
                of("", "106751991d 3h", "9999-12-31T23:59:59Z"),
            ),
        ];
        for (expires, policy, text) in cases {
            let left = expires.map(|at| at.since(super::super::fixture::at(100)).as_secs_f64());
            let metric = (*policy != Policy::default()).then_some(left);
            for outcome in [answered(1), Outcome::NoResponders, SILENT, failed(Reason::AuthRejected)] {
                assert_eq!(
                    judged(outcome, expires, policy),
                    (text.clone(), metric),
                    "{expires:?} {policy:?}"
                );
            }
        }
    }

    #[test]
    fn expired_credentials_are_reported_once() {
        let plain = "credentials /mon.creds expired 60s ago, at 1970-01-01T00:00:40Z";
        let let_in = format!("{plain}, yet NATS accepts them: does it verify the JWT, and are the clocks right?");
        let cases = [
            (answered(1), let_in.as_str()),
            (Outcome::NoResponders, &let_in),
            (SILENT, &let_in),
            (failed(Reason::NatsUnreachable), plain),
            (failed(Reason::TlsFailed), plain),
            // What NATS says of them is enough.
            (failed(Reason::AuthRejected), ""),
        ];
        for (outcome, text) in cases {
            for (policy, status) in [
                (limits(None, None), ""),
                (limits(Some(60), None), "WARNING credentials_expiring: "),
                (limits(Some(60), Some(30)), "CRITICAL credentials_expiring: "),
            ] {
                let expected = if text.is_empty() {
                    String::new()
                } else {
                    format!("{status}{text}")
                };
                let metric = (policy != Policy::default()).then_some(Some(0.0));
                let case = format!("{outcome:?} {policy:?}");
                assert_eq!(
                    judged(outcome.clone(), Some(at(40)), &policy),
                    (expected, metric),
                    "{case}"
                );
            }
        }
        // The moment of expiry counts as expired.
        let (text, _) = judged(answered(1), Some(at(100)), &limits(Some(60), None));
        assert!(
            text.starts_with("WARNING credentials_expiring: credentials /mon.creds expired 0.0s ago"),
            "{text}"
        );
    }

    #[test]
    fn no_expiry_is_reported_without_credentials() {
        let (verdict, _) = judge("orders", &up(), &saw(answered(1)), &limits(Some(60), Some(30)), at(100));
        assert!(!findings(&verdict).contains("credentials"));
        assert!(verdict.metrics.iter().all(|metric| metric.name != "creds_expiry"));
    }
}
