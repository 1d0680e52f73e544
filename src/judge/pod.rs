//! Kubernetes exec probes: does *this* pod's instance live? Pure: what was seen -> pass or fail, and a line.
//!
//! That some instance answers says nothing of this pod: a sibling answers as well. And a liveness probe must not fail for
//! what is outside of the pod: NATS being away would restart every pod at once.

use crate::probe::observation::{Observation, Outcome, shown_id};
use crate::probe::schedule::Wanted;
use crate::values::duration::latency;

/// Longer lines are not read in `kubectl describe`; in characters.
const LINE: usize = 199;

/// What the probe is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Liveness,
    Readiness,
    Startup,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Liveness => "liveness",
            Kind::Readiness => "readiness",
            Kind::Startup => "startup",
        }
    }

    /// What it means for this probe when NATS cannot be asked, unless the user says otherwise.
    pub fn without_nats(self) -> Answer {
        match self {
            Kind::Liveness => Answer::Pass,
            Kind::Readiness | Kind::Startup => Answer::Fail,
        }
    }
}

/// What Kubernetes is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Pass,
    Fail,
}

impl Answer {
    /// Reads `pass` or `fail`.
    pub fn parse(word: &str) -> Option<Answer> {
        match word {
            "pass" => Some(Answer::Pass),
            "fail" => Some(Answer::Fail),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Answer::Pass => "pass",
            Answer::Fail => "fail",
        }
    }

    /// Kubernetes: any status but 0 is a failure.
    pub fn exit_code(self) -> u8 {
        match self {
            Answer::Pass => 0,
            Answer::Fail => 1,
        }
    }
}

/// The question of one probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub kind: Kind,
    pub service: String,
    pub wanted: Wanted,
    /// What it means when NATS cannot be asked.
    pub without_nats: Answer,
}

impl Question {
    /// Judges what the probe saw: the answer, and a line for `kubectl describe`.
    pub fn judge(&self, seen: &Observation) -> (Answer, String) {
        let server = seen
            .server
            .as_ref()
            .map(|server| format!(", {server} is fine"))
            .unwrap_or_default();
        let siblings = match seen.ignored.siblings {
            0 => "",
            _ => ", though others do",
        };
        match &seen.outcome {
            Outcome::Answered(answers) => {
                let who = answers
                    .first()
                    .map(|answer| answer.instance.in_brief())
                    .unwrap_or_default();
                let rtt = answers
                    .first()
                    .and_then(|answer| answer.rtt)
                    .map(|rtt| format!(" in {}", latency(rtt)));
                self.say(Answer::Pass, &format!("{who} answered{}", rtt.unwrap_or_default()))
            }
            Outcome::NoResponders => self.say(Answer::Fail, &format!("{} is gone, no responders{server}", self.whom())),
            Outcome::Silent(waited) => {
                // To the one who may not publish, the server says so; to us, nobody does.
                let causes = match seen.ignored.siblings {
                    0 => " (hung, or not allowed to publish to our inbox)",
                    _ => siblings,
                };
                let text = format!(
                    "{} does not answer within {}{causes}{server}",
                    self.whom(),
                    latency(*waited)
                );
                self.say(Answer::Fail, &text)
            }
            Outcome::Failed(failure) => self.cannot_ask(&failure.text),
        }
    }

    /// NATS cannot be asked, or the sidecar's file does not say.
    pub fn cannot_ask(&self, why: &str) -> (Answer, String) {
        let text = match self.without_nats {
            Answer::Pass => format!("cannot ask, which is not this pod's fault: {why}"),
            Answer::Fail => format!("cannot ask: {why}"),
        };
        self.say(self.without_nats, &text)
    }

    /// The line of an answer.
    pub fn say(&self, answer: Answer, text: &str) -> (Answer, String) {
        let line = format!("{} {}: {}: {text}", self.kind.name(), answer.name(), self.service);
        let line: String = line.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        let line = match line.char_indices().nth(LINE) {
            Some(_) => line.chars().take(LINE - 3).collect::<String>() + "...",
            None => line,
        };
        (answer, line)
    }

    /// Whom the probe asks for, in words.
    pub fn whom(&self) -> String {
        match &self.wanted {
            Wanted::Id(id) => format!("instance {}", shown_id(id)),
            Wanted::Match(values) => {
                let values: Vec<String> = values.iter().map(|(key, value)| format!("{key}={value}")).collect();
                format!("the instance with {}", values.join(", "))
            }
            Wanted::Any | Wanted::All => "the service".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use crate::probe::observation::{Answer as Reply, Failure, Instance, Server};
    use crate::values::status::Reason;
    use crate::values::timestamp::Timestamp;

    fn question(kind: Kind) -> Question {
        Question {
            kind,
            service: "orders".into(),
            wanted: Wanted::Match(vec![("pod".into(), "orders-1".into())]),
            without_nats: kind.without_nats(),
        }
    }

    fn saw(outcome: Outcome) -> Observation {
        let nothing = Observation::failed(Timestamp::from_seconds(0), Failure::new(Reason::NatsUnreachable, ""));
        Observation {
            outcome,
            server: Some(Server {
                id: String::new(),
                address: "h:4222".into(),
                name: String::new(),
                version: "2.10.25".into(),
                rtt: None,
            }),
            ..nothing
        }
    }

    fn answered() -> Outcome {
        Outcome::Answered(vec![Reply {
            instance: Instance {
                id: "AbC".into(),
                version: "1.0.0".into(),
                metadata: vec![("pod".into(), "orders-1".into())],
            },
            rtt: Some(Duration::from_micros(1200)),
        }])
    }

    /// The table of SPEC, section 8.
    #[test]
    fn who_passes_when() {
        let failure = || Outcome::Failed(Failure::new(Reason::NatsUnreachable, "connection refused"));
        let silent = || Outcome::Silent(Duration::from_millis(700));
        let cases = [
            (
                Kind::Liveness,
                answered(),
                "liveness pass: orders: AbC (1.0.0, pod=orders-1) answered in 1.2ms",
            ),
            (
                Kind::Readiness,
                answered(),
                "readiness pass: orders: AbC (1.0.0, pod=orders-1) answered in 1.2ms",
            ),
            (
                Kind::Startup,
                answered(),
                "startup pass: orders: AbC (1.0.0, pod=orders-1) answered in 1.2ms",
            ),
            (
                Kind::Liveness,
                Outcome::NoResponders,
                "liveness fail: orders: the instance with pod=orders-1 is gone, no responders, NATS 2.10.25 at h:4222 is fine",
            ),
            (
                Kind::Readiness,
                silent(),
                "readiness fail: orders: the instance with pod=orders-1 does not answer within 700ms (hung, or not allowed to \
                 publish to our inbox), NATS 2.10.25 at h:4222 is fine",
            ),
            (
                Kind::Startup,
                silent(),
                "startup fail: orders: the instance with pod=orders-1 does not answer within 700ms (hung, or not allowed to \
                 publish to our inbox), NATS 2.10.25 at h:4222 is fine",
            ),
            (
                Kind::Liveness,
                failure(),
                "liveness pass: orders: cannot ask, which is not this pod's fault: connection refused",
            ),
            (
                Kind::Readiness,
                failure(),
                "readiness fail: orders: cannot ask: connection refused",
            ),
            (
                Kind::Startup,
                failure(),
                "startup fail: orders: cannot ask: connection refused",
            ),
        ];
        for (kind, outcome, line) in cases {
            let (answer, said) = question(kind).judge(&saw(outcome));
            assert_eq!(said, line);
            assert!(said.contains(answer.name()), "{answer:?} {said}");
        }
        let strict = Question {
            without_nats: Answer::Fail,
            ..question(Kind::Liveness)
        };
        assert_eq!(strict.judge(&saw(failure())).0, Answer::Fail);
    }

    #[test]
    fn siblings_are_told_and_no_line_is_too_long() {
        let mut seen = saw(Outcome::Silent(Duration::from_millis(700)));
        seen.ignored.siblings = 2;
        let (_, line) = question(Kind::Liveness).judge(&seen);
        assert!(line.contains("within 700ms, though others do, NATS"), "{line}");
        let (_, line) = question(Kind::Liveness).cannot_ask(&format!("a\nb{}", "x".repeat(500)));
        assert_eq!(line.chars().count(), LINE);
        assert!(line.contains("a?b") && line.ends_with("x..."), "{line}");
    }
}
