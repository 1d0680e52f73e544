//! Kubernetes exec probes: does *this* pod's instance live? Pure: what was seen -> pass or fail, and a line.
//!
//! That some instance answers says nothing of this pod: a sibling answers as well. And a liveness probe must not fail for
//! what is outside of the pod: NATS being away would restart every pod at once.

use serde::{Deserialize, Serialize};

use crate::probe::observation::{Observation, Outcome, shown_id};
use crate::probe::plan::Wanted;
use crate::probe::reply::{KEY_CHARS, VALUE_CHARS};
use crate::values::dated;
use crate::values::duration::latency;
use crate::values::text::{CUT, clean, count, readable};

/// Maximum length of a line, in characters. An event of Kubernetes has about 1000.
const MAX_LINE: usize = 500;

/// Kind of probe in a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeKind {
    Liveness,
    Readiness,
    Startup,
}

impl ProbeKind {
    pub fn name(self) -> &'static str {
        match self {
            ProbeKind::Liveness => "liveness",
            ProbeKind::Readiness => "readiness",
            ProbeKind::Startup => "startup",
        }
    }

    /// Result of this probe when NATS cannot be asked, unless the user says otherwise.
    pub fn without_nats(self) -> ProbeResult {
        match self {
            ProbeKind::Liveness | ProbeKind::Startup => ProbeResult::Pass,
            ProbeKind::Readiness => ProbeResult::Fail,
        }
    }

    /// Result of this probe when it is answered from a check, and there is no recent one, unless the user says otherwise. A
    /// container that has just started must not pass `startup` before a check: liveness would then kill a slow one.
    pub fn without_check(self) -> ProbeResult {
        match self {
            ProbeKind::Liveness => ProbeResult::Pass,
            ProbeKind::Readiness | ProbeKind::Startup => ProbeResult::Fail,
        }
    }
}

/// Result of a probe for Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProbeResult {
    Pass,
    Fail,
}

impl ProbeResult {
    /// Reads `pass` or `fail`.
    pub fn parse(word: &str) -> Option<ProbeResult> {
        match word {
            "pass" => Some(ProbeResult::Pass),
            "fail" => Some(ProbeResult::Fail),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            ProbeResult::Pass => "pass",
            ProbeResult::Fail => "fail",
        }
    }

    /// Kubernetes: any status but 0 is a failure.
    pub fn exit_code(self) -> u8 {
        match self {
            ProbeResult::Pass => 0,
            ProbeResult::Fail => 1,
        }
    }
}

/// The question of one probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodProbe {
    pub kind: ProbeKind,
    pub service: String,
    pub wanted: Wanted,
    /// Result if NATS cannot be asked (`--unreachable`).
    pub unreachable: Option<ProbeResult>,
}

impl PodProbe {
    /// Judges what the probe saw: the answer, and a line for `kubectl describe`.
    pub fn judge(&self, seen: &Observation) -> (ProbeResult, String) {
        let server = seen
            .server
            .as_ref()
            .map(|server| format!(", {server} is fine"))
            .unwrap_or_default();
        let lacking = usize::try_from(seen.ignored.without_key).unwrap_or(usize::MAX);
        match &seen.outcome {
            Outcome::NoResponders | Outcome::Silent(_) if lacking > 0 => self
                .lacks_key(lacking)
                .unwrap_or_else(|| self.say(ProbeResult::Fail, &format!("{} does not answer", self.whom()))),
            Outcome::Answered(answers) => {
                let who = answers
                    .first()
                    .map(|answer| answer.instance.in_brief())
                    .unwrap_or_default();
                let rtt = answers
                    .first()
                    .and_then(|answer| answer.rtt)
                    .map(|rtt| format!(" in {}", latency(rtt)));
                self.say(ProbeResult::Pass, &format!("{who} answered{}", rtt.unwrap_or_default()))
            }
            Outcome::NoResponders => self.say(
                ProbeResult::Fail,
                &format!("{} is gone, no responders{server}", self.whom()),
            ),
            Outcome::Silent(waited) => {
                // The server reports a denied publish only to the service itself, not here.
                let causes = match seen.ignored.siblings {
                    0 => " (hung, or not allowed to publish to our inbox)",
                    _ => ", though others do",
                };
                let text = format!(
                    "{} does not answer within {}{causes}{server}",
                    self.whom(),
                    latency(*waited)
                );
                self.say(ProbeResult::Fail, &text)
            }
            Outcome::Failed(failure) => self.cannot_ask(&dated::plain(&failure.text)),
        }
    }

    /// NATS cannot be asked.
    pub fn cannot_ask(&self, why: &str) -> (ProbeResult, String) {
        self.excuse(self.kind.without_nats(), why)
    }

    /// There is no recent check to answer from.
    pub fn no_check(&self, why: &str) -> (ProbeResult, String) {
        self.excuse(self.kind.without_check(), why)
    }

    fn excuse(&self, answer: ProbeResult, why: &str) -> (ProbeResult, String) {
        let answer = self.unreachable.unwrap_or(answer);
        let text = match answer {
            ProbeResult::Pass => format!("cannot ask, which is not this pod's fault: {why}"),
            ProbeResult::Fail => format!("cannot ask: {why}"),
        };
        self.say(answer, &text)
    }

    /// Nobody is subscribed, and no instance was ever seen: NATS may have been asked in the wrong account, which a restart of the
    /// pod does not change. A container that hangs from its first moment on fails its startup probe.
    pub fn never_seen(&self) -> (ProbeResult, String) {
        let why = "no instance was ever seen in this account, is it the right one?";
        match (self.kind, self.unreachable) {
            (ProbeKind::Liveness, None | Some(ProbeResult::Pass)) => {
                self.say(ProbeResult::Pass, &format!("{why} Passes until one was"))
            }
            _ => self.say(ProbeResult::Fail, why),
        }
    }

    /// Instances answer, none of which has the metadata that was asked for. `None`: the question is not about metadata.
    pub fn lacks_key(&self, instances: usize) -> Option<(ProbeResult, String)> {
        let Wanted::Match(values) = &self.wanted else {
            return None;
        };
        let keys: Vec<&str> = values.iter().map(|(key, _)| key.as_str()).collect();
        let answer = if instances == 1 { "answers" } else { "answer" };
        let text = format!(
            "{} {answer}, none has {} in its metadata",
            count(instances, "instance"),
            clean(&keys.join(", "), 80)
        );
        Some(self.say(ProbeResult::Fail, &text))
    }

    /// The line of an answer.
    pub fn say(&self, answer: ProbeResult, text: &str) -> (ProbeResult, String) {
        let line = format!("{} {}: {}: {text}", self.kind.name(), answer.name(), self.service);
        let line = match line.chars().nth(MAX_LINE) {
            Some(_) => readable(&line, MAX_LINE - CUT.len()),
            None => readable(&line, MAX_LINE),
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

/// Returns `true` if a wanted instance is among those that answered; `None` if NATS could not be asked.
pub fn is_up(wanted: &Wanted, seen: &Observation) -> Option<bool> {
    let Outcome::Answered(answers) = &seen.outcome else {
        return match seen.outcome {
            Outcome::Failed(_) => None,
            _ => Some(false),
        };
    };
    Some(answers.iter().any(|answer| match wanted {
        Wanted::All | Wanted::Any => true,
        Wanted::Id(id) => answer.instance.id == *id,
        // Instances have the values as they are printed.
        Wanted::Match(values) => values.iter().all(|(key, value)| {
            let printed = (clean(key, KEY_CHARS), clean(value, VALUE_CHARS));
            answer.instance.metadata.contains(&printed)
        }),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use crate::probe::observation::{Failure, Instance, InstanceReply, Server};
    use crate::values::status::Reason;
    use crate::values::timestamp::Timestamp;

    fn question(kind: ProbeKind) -> PodProbe {
        PodProbe {
            kind,
            service: "orders".into(),
            wanted: Wanted::Match(vec![("pod".into(), "orders-1".into())]),
            unreachable: None,
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
        Outcome::Answered(vec![InstanceReply {
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
    fn probe_results_follow_the_table() {
        let failure = || Outcome::Failed(Failure::new(Reason::NatsUnreachable, "connection refused"));
        let silent = || Outcome::Silent(Duration::from_millis(700));
        let cases = [
            (
                ProbeKind::Liveness,
                answered(),
                "liveness pass: orders: AbC (1.0.0, pod=orders-1) answered in 1.2ms",
            ),
            (
                ProbeKind::Readiness,
                answered(),
                "readiness pass: orders: AbC (1.0.0, pod=orders-1) answered in 1.2ms",
            ),
            (
                ProbeKind::Startup,
                answered(),
                "startup pass: orders: AbC (1.0.0, pod=orders-1) answered in 1.2ms",
            ),
            (
                ProbeKind::Liveness,
                Outcome::NoResponders,
                "liveness fail: orders: the instance with pod=orders-1 is gone, no responders, NATS 2.10.25 at h:4222 is fine",
            ),
            (
                ProbeKind::Readiness,
                silent(),
                "readiness fail: orders: the instance with pod=orders-1 does not answer within 700ms (hung, or not allowed to \
                 publish to our inbox), NATS 2.10.25 at h:4222 is fine",
            ),
            (
                ProbeKind::Startup,
                silent(),
                "startup fail: orders: the instance with pod=orders-1 does not answer within 700ms (hung, or not allowed to \
                 publish to our inbox), NATS 2.10.25 at h:4222 is fine",
            ),
            (
                ProbeKind::Liveness,
                failure(),
                "liveness pass: orders: cannot ask, which is not this pod's fault: connection refused",
            ),
            (
                ProbeKind::Readiness,
                failure(),
                "readiness fail: orders: cannot ask: connection refused",
            ),
            (
                ProbeKind::Startup,
                failure(),
                "startup pass: orders: cannot ask, which is not this pod's fault: connection refused",
            ),
        ];
        for (kind, outcome, line) in cases {
            let (answer, said) = question(kind).judge(&saw(outcome));
            assert_eq!(said, line);
            assert!(said.contains(answer.name()), "{answer:?} {said}");
        }
        let strict = PodProbe {
            unreachable: Some(ProbeResult::Fail),
            ..question(ProbeKind::Liveness)
        };
        assert_eq!(strict.judge(&saw(failure())).0, ProbeResult::Fail);
    }

    #[test]
    fn only_the_wanted_instance_is_up() {
        let pod = |value: &str| Wanted::Match(vec![("pod".into(), value.into())]);
        let failure = Failure::new(Reason::NatsUnreachable, "connection refused");
        let cases = [
            (Wanted::Any, answered(), Some(true)),
            (Wanted::All, answered(), Some(true)),
            (Wanted::Id("AbC".into()), answered(), Some(true)),
            (Wanted::Id("abc".into()), answered(), Some(false)),
            (pod("orders-1"), answered(), Some(true)),
            (pod("orders-2"), answered(), Some(false)),
            (Wanted::Any, Outcome::Answered(vec![]), Some(false)),
            (Wanted::Any, Outcome::NoResponders, Some(false)),
            (Wanted::Any, Outcome::Silent(Duration::from_secs(1)), Some(false)),
            (Wanted::Any, Outcome::Failed(failure), None),
        ];
        for (wanted, outcome, expected) in cases {
            assert_eq!(is_up(&wanted, &saw(outcome)), expected, "{wanted:?}");
        }
        assert_eq!(
            [ProbeResult::Pass, ProbeResult::Fail].map(ProbeResult::exit_code),
            [0, 1]
        );
    }

    #[test]
    fn probe_line_mentions_other_instances_and_is_bounded() {
        let mut seen = saw(Outcome::Silent(Duration::from_millis(700)));
        seen.ignored.siblings = 2;
        let (_, line) = question(ProbeKind::Liveness).judge(&seen);
        assert!(line.contains("within 700ms, though others do, NATS"), "{line}");
        seen.ignored.without_key = 1;
        let (answer, line) = question(ProbeKind::Liveness).judge(&seen);
        let text = "liveness fail: orders: 1 instance answers, none has pod in its metadata";
        assert_eq!((answer, line.as_str()), (ProbeResult::Fail, text));
        let (_, line) = question(ProbeKind::Liveness).cannot_ask(&format!("a\nb{}", "x".repeat(600)));
        assert_eq!(line.chars().count(), MAX_LINE);
        assert!(line.contains("a?b") && line.ends_with("x..."), "{line}");
    }
}
