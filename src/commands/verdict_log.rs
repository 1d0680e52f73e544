//! Which verdicts of a check are logged: those that have changed.

use std::collections::BTreeMap;

use super::log::Log;
use super::outcome::{CheckOutcome, ShortVerdict};
use crate::judge::presence::FAILING_FOR;
use crate::values::status::{Reason, Status};
use crate::values::text::count;

/// Maximum number of verdicts of one check that are logged.
const MAX_LINES: usize = 20;

/// The units of a duration, as texts have them.
const UNITS: [&str; 5] = ["ms", "s", "m", "h", "d"];

/// Latest log entry of each verdict; that over all services has an empty name.
#[derive(Debug, Default)]
pub struct VerdictLog(BTreeMap<String, Logged>);

/// Parts of a verdict whose change is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Logged {
    status: Status,
    reason: Reason,
    /// See [`cause`].
    cause: String,
}

impl VerdictLog {
    /// Logs each verdict that has changed. Of many services, those that are well from the beginning are not worth a line each, nor is
    /// what holds for all of them.
    pub fn log_changes(&mut self, log: &Log, outcome: &CheckOutcome) {
        let changed = self.changes(outcome);
        for (name, verdict) in changed.iter().take(MAX_LINES) {
            log.verdict(name.or(log.service.as_deref()), verdict);
        }
        if changed.len() > MAX_LINES {
            let more = count(changed.len() - MAX_LINES, "verdict");
            log.info(&format!("all services: {more} more changed"));
        }
    }

    /// The verdicts that have changed, with the names of the services where there are many.
    fn changes<'o>(&mut self, outcome: &'o CheckOutcome) -> Vec<(Option<&'o str>, &'o ShortVerdict)> {
        if outcome.has_services() {
            self.0
                .retain(|name, _| name.is_empty() || outcome.services.contains_key(name));
        }
        let of_services = outcome
            .services
            .iter()
            .filter(|(_, verdict)| !verdict.reason.is_of_whole_run());
        let mut changed = Vec::new();
        if self.update("", &outcome.verdict).0 {
            changed.push((None, &outcome.verdict));
        }
        for (name, verdict) in of_services {
            let (is_other, is_first) = self.update(name, verdict);
            if is_other && !(is_first && verdict.status == Status::Ok) {
                changed.push((Some(name.as_str()), verdict));
            }
        }
        changed
    }

    /// Returns two flags: the verdict differs from the one before, and it is the first one.
    fn update(&mut self, name: &str, verdict: &ShortVerdict) -> (bool, bool) {
        let logged = Logged {
            status: verdict.status,
            reason: verdict.reason,
            cause: cause(verdict),
        };
        let before = self.0.insert(name.to_owned(), logged.clone());
        (before.as_ref() != Some(&logged), before.is_none())
    }
}

/// Returns the cause behind a reason that has many causes: the text without its durations, which differ each time. The texts of
/// other reasons hold values that differ with each check, such as response times, and name no cause.
fn cause(verdict: &ShortVerdict) -> String {
    use Reason::{PermissionDenied, StateUnusable, StatusFileUnwritable, TextfileUnwritable};
    let reason = verdict.reason;
    let unusable = matches!(
        reason,
        PermissionDenied | StateUnusable | StatusFileUnwritable | TextfileUnwritable
    );
    if !reason.is_of_whole_run() && !unusable {
        return String::new();
    }
    let text = verdict.text.split(FAILING_FOR).next().unwrap_or_default();
    let words = text.split(' ').filter(|word| !is_duration(word));
    words.collect::<Vec<_>>().join(" ")
}

/// Returns `true` for a duration, such as `12m` or `(0.26ms),`.
fn is_duration(word: &str) -> bool {
    let word = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let number = UNITS.iter().find_map(|unit| word.strip_suffix(unit));
    number.is_some_and(|number| number.starts_with(|c: char| c.is_ascii_digit()) && number.parse::<f64>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown(reason: Reason, text: &str) -> CheckOutcome {
        let mut outcome = CheckOutcome::failure(text.into());
        outcome.verdict.reason = reason;
        outcome
    }

    #[test]
    fn new_cause_is_a_change_and_new_duration_is_not() {
        let mut log = VerdictLog::default();
        for (reason, text, is_logged) in [
            (Reason::ConfigUnusable, "--creds x: No such file", true),
            (Reason::ConfigUnusable, "--creds x: No such file", false),
            (Reason::ConfigUnusable, "--creds x: no user JWT in it", true),
            (
                Reason::NatsUnreachable,
                "10.0.0.1:4222 sends nothing for 5.0s, is it frozen?",
                true,
            ),
            (
                Reason::NatsUnreachable,
                "10.0.0.1:4222 sends nothing for 899ms, is it frozen? (failing for 12m 4s)",
                false,
            ),
            (
                Reason::NatsUnreachable,
                "10.0.0.2:4222 sends nothing for 5.0s, is it frozen?",
                true,
            ),
            (
                Reason::AuthRejected,
                "the user JWT expired 59m 58s ago (Authorization Violation)",
                true,
            ),
            (
                Reason::AuthRejected,
                "the user JWT expired 1h ago (Authorization Violation)",
                false,
            ),
            (Reason::ServiceNeverSeen, "never seen, 1 service is there", true),
            (Reason::ServiceNeverSeen, "never seen, 2 services are there", false),
        ] {
            let changes = log.changes(&unknown(reason, text)).len();
            assert_eq!(changes == 1, is_logged, "{text}");
        }
    }

    #[test]
    fn durations_are_recognized_among_words() {
        for (word, is) in [
            ("5.0s", true),
            ("(0.26ms),", true),
            ("12m", true),
            ("3d", true),
            ("s", false),
            ("items", false),
            ("42", false),
            ("10.0.0.1:4222", false),
            ("x5s", false),
            ("nans", false),
        ] {
            assert_eq!(is_duration(word), is, "{word}");
        }
    }
}
