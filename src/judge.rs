//! Memory + observation + policy -> verdict and new memory. Pure: no clock, no file, no network.

use std::time::Duration;

use crate::duration::{age, latency};
use crate::epoch::{Epoch, Memory, Outage, Trouble};
use crate::observation::{Answer, Failure, Ignored, Instance, Observation, Outcome};
use crate::range::Range;
use crate::text::count;
use crate::timestamp::Timestamp;
use crate::verdict::{Detail, Finding, Metric, Reason, Status, Unit, Verdict};

/// How many instances `-v` names; `-vv` names all.
const NAMED: usize = 10;

/// What the user wants to be told, and how loudly.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// On the number of instances.
    pub warning: Option<Range>,
    pub critical: Option<Range>,
    /// On the slowest answer.
    pub rtt_warning: Option<Duration>,
    pub rtt_critical: Option<Duration>,
    /// The status of a service that no epoch has ever seen.
    pub never_seen: Status,
    /// The status of being unable to ask: NATS unreachable, credentials or TLS refused.
    pub unreachable: Status,
    /// The status of silence. Below CRITICAL it is no epoch: it opens no outage.
    pub silent: Status,
    /// After how long an outage is forgotten.
    pub forget_after: Option<Duration>,
    /// Whether there is a state at all; without one the texts must not speak of earlier runs.
    pub remembers: bool,
    /// Whether the service is asked through an account import.
    pub imported: bool,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            warning: None,
            critical: None,
            rtt_warning: None,
            rtt_critical: None,
            never_seen: Status::Unknown,
            unreachable: Status::Unknown,
            silent: Status::Critical,
            forget_after: None,
            remembers: true,
            imported: false,
        }
    }
}

/// Judges what was seen in the light of what is remembered.
///
/// `now` is when the verdict is said; the epoch is at [`Observation::at`]. An interrupted probe leaves the memory as it
/// was, to the last bit; any other one that could not ask leaves the epoch and the outage as they were.
pub fn judge(service: &str, memory: &Memory, seen: &Observation, policy: &Policy, now: Timestamp) -> (Verdict, Memory) {
    let case = Case {
        memory,
        seen,
        policy,
        now,
    };
    let (findings, mut next) = match &seen.outcome {
        Outcome::Answered(answers) => case.answered(answers),
        Outcome::NoResponders => case.absent(Reason::ServiceDown, "no responders"),
        Outcome::Silent(_) => case.silent(),
        Outcome::Failed(failure) => case.not_asked(failure),
    };
    let metrics = case.metrics(&next);
    let verdict = Verdict::new(service, findings, metrics, case.details(&next));
    if !matches!(&seen.outcome, Outcome::Failed(failure) if failure.reason == Reason::Interrupted) {
        next.status = Some(verdict.status());
    }
    if next != *memory {
        next.sequence += 1;
    }
    (verdict, next)
}

/// One case before the judge.
struct Case<'a> {
    memory: &'a Memory,
    seen: &'a Observation,
    policy: &'a Policy,
    now: Timestamp,
}

type Ruling = (Vec<Finding>, Memory);

impl Case<'_> {
    fn answered(&self, answers: &[Answer]) -> Ruling {
        let mut next = self.memory.clone();
        next.outage = None;
        next.enter(Epoch::new(self.seen.at, answers));
        if self.seen.census {
            next.census = Some(self.seen.at);
        }

        let many = count(answers.len(), "instance");
        let slowest = slowest(answers);
        let mut findings = vec![match &self.memory.outage {
            Some(outage) => {
                let before = match outage.last_seen.count {
                    had if had == answers.len() => String::new(),
                    had => format!(" (had {had})"),
                };
                let down = age(self.seen.at.since(outage.first_missed));
                let text = format!("{many}{before}, recovered after {down}");
                Finding::new(Status::Ok, Reason::ServiceRecovered, text)
            }
            None => {
                let text = match slowest {
                    Some(rtt) => format!("{many}, slowest answer {}", latency(rtt)),
                    None => format!("{many}, seen by an overlapping run"),
                };
                Finding::new(Status::Ok, Reason::ServiceUp, text)
            }
        }];
        findings.extend(self.out_of_range(answers.len()));
        findings.extend(slowest.and_then(|rtt| self.slow(rtt)));
        (findings, next)
    }

    /// Nobody is there. `how` is what the server said to it.
    fn absent(&self, reason: Reason, how: &str) -> Ruling {
        let mut next = self.memory.clone();
        next.enter(Epoch::new(self.seen.at, &[]));
        next.census = Some(self.seen.at);

        let fine = self.nats_is_fine();
        let text = match &self.memory.outage {
            Some(outage) => {
                let down = self.seen.at.since(outage.first_missed);
                if let Some(limit) = self.policy.forget_after.filter(|limit| down > *limit) {
                    next.outage = None;
                    return self.forgotten(next, outage, limit);
                }
                let had = count(outage.last_seen.count, "instance");
                format!("still down for {}, {how}; had {had}{fine}", age(down))
            }
            None => match self.memory.epoch.as_ref().filter(|epoch| epoch.count > 0) {
                Some(epoch) => {
                    next.outage = Some(Outage {
                        last_seen: epoch.clone(),
                        first_missed: self.seen.at,
                    });
                    let had = count(epoch.count, "instance");
                    let ago = age(self.seen.at.since(epoch.at));
                    let what = match reason {
                        Reason::ServiceSilent => "silent",
                        _ => "down",
                    };
                    format!("{what}, {how}; {had} until {ago} ago{fine}")
                }
                None => return self.never_seen(next, how),
            },
        };
        (vec![Finding::new(Status::Critical, reason, text)], next)
    }

    /// Somebody is subscribed, and nobody answered. An epoch without instances, unless the user thinks less of it.
    fn silent(&self) -> Ruling {
        let how = self.how_silent();
        if self.policy.silent == Status::Critical {
            return self.absent(Reason::ServiceSilent, &how);
        }
        let mut next = self.memory.clone();
        next.trouble = None;
        if self.memory.outage.is_some() {
            return (vec![self.still_down(&how)], next);
        }
        match self.memory.epoch.as_ref().filter(|epoch| epoch.count > 0) {
            Some(epoch) => {
                let had = count(epoch.count, "instance");
                let ago = age(self.seen.at.since(epoch.at));
                let text = format!("{how}; {had} until {ago} ago");
                let finding = Finding::new(self.policy.silent, Reason::ServiceSilent, text);
                (vec![finding], next)
            }
            None => self.never_seen(next, &how),
        }
    }

    fn never_seen(&self, next: Memory, how: &str) -> Ruling {
        let text = match self.policy.remembers {
            true => format!("never seen here, {how}; check the name, the account and --srv-prefix"),
            false => format!("{how}; without a state nobody knows whether it ever was there"),
        };
        let mut findings = vec![Finding::new(self.policy.never_seen, Reason::ServiceNeverSeen, text)];
        findings.extend(self.out_of_range(0));
        (findings, next)
    }

    fn forgotten(&self, next: Memory, outage: &Outage, limit: Duration) -> Ruling {
        let text = format!(
            "no instance for longer than {} (--forget-after): forgotten; had {}",
            age(limit),
            count(outage.last_seen.count, "instance"),
        );
        let mut findings = vec![Finding::new(self.policy.never_seen, Reason::ServiceNeverSeen, text)];
        findings.extend(self.out_of_range(0));
        (findings, next)
    }

    /// NATS could not be asked: no epoch, and an open outage stays open.
    fn not_asked(&self, failure: &Failure) -> Ruling {
        let mut next = self.memory.clone();
        let status = match failure.reason {
            Reason::NatsUnreachable | Reason::AuthRejected | Reason::TlsFailed => self.policy.unreachable,
            _ => Status::Unknown,
        };
        let mut text = failure.text.clone();
        if failure.reason != Reason::Interrupted {
            match &self.memory.trouble {
                Some(trouble) => {
                    text = format!("{text} (not asked for {})", age(self.seen.at.since(trouble.since)));
                }
                None => {
                    next.trouble = Some(Trouble {
                        since: self.seen.at,
                        reason: failure.reason,
                    });
                }
            }
        }
        let mut findings = vec![Finding::new(status, failure.reason, text)];
        if let (Some(_), Some(epoch)) = (&self.memory.outage, &self.memory.epoch) {
            let ago = age(self.now.since(epoch.at));
            findings.push(self.still_down(&format!("as of the last answer {ago} ago")));
        }
        (findings, next)
    }

    /// The latch: an open outage, when this run has no epoch of its own to say so.
    fn still_down(&self, how: &str) -> Finding {
        let text = match &self.memory.outage {
            Some(outage) => format!(
                "still down for {}, {how}; had {}",
                age(self.now.since(outage.first_missed)),
                count(outage.last_seen.count, "instance"),
            ),
            None => how.to_owned(),
        };
        Finding::new(Status::Critical, Reason::ServiceDown, text)
    }

    fn out_of_range(&self, instances: usize) -> Option<Finding> {
        let limits = [
            (Status::Critical, "critical", self.policy.critical),
            (Status::Warning, "warning", self.policy.warning),
        ];
        let (status, word, range) = limits
            .into_iter()
            .find_map(|(status, word, range)| Some((status, word, range.filter(|r| r.alerts(instances as f64))?)))?;
        let text = format!("{}, {word} range is {range}", count(instances, "instance"));
        Some(Finding::new(status, Reason::InstancesOutOfRange, text))
    }

    fn slow(&self, rtt: Duration) -> Option<Finding> {
        let limits = [
            (Status::Critical, "critical", self.policy.rtt_critical),
            (Status::Warning, "warning", self.policy.rtt_warning),
        ];
        let (status, word, limit) = limits
            .into_iter()
            .find_map(|(status, word, limit)| Some((status, word, limit.filter(|limit| rtt > *limit)?)))?;
        let text = format!("slow: an answer took {}, {word} above {}", latency(rtt), latency(limit));
        Some(Finding::new(status, Reason::Slow, text))
    }

    fn how_silent(&self) -> String {
        let waited = match self.seen.outcome {
            Outcome::Silent(waited) => age(waited),
            _ => String::new(),
        };
        let cause = match self.seen.ignored {
            Ignored { acks: 1.., .. } => "a JetStream stream captures the request, so nobody may be there",
            Ignored { foreign: 1.., .. } => "another service replies in its place",
            Ignored { broken: 1.., .. } => "what came was no PING reply",
            _ => "hung, or a wildcard subscriber hides that nobody is there",
        };
        format!("no answer within {waited} though somebody is subscribed ({cause})")
    }

    /// That NATS itself is healthy, for the one who is woken by an outage.
    fn nats_is_fine(&self) -> String {
        match &self.seen.server {
            Some(server) => match server.rtt {
                Some(rtt) => format!("; {server} is fine ({})", latency(rtt)),
                None => format!("; {server} is fine"),
            },
            None => String::new(),
        }
    }

    fn metrics(&self, next: &Memory) -> Vec<Metric> {
        let (instances, rtt) = match &self.seen.outcome {
            Outcome::Answered(answers) => (Some(answers.len()), slowest(answers)),
            Outcome::NoResponders | Outcome::Silent(_) => (Some(0), None),
            Outcome::Failed(_) => (None, None),
        };
        let outage = next
            .outage
            .as_ref()
            .map_or(Duration::ZERO, |outage| self.now.since(outage.first_missed));
        let seconds = |name, value: Option<Duration>| Metric {
            name,
            value: value.map(|duration| duration.as_secs_f64()),
            unit: Unit::Seconds,
            warning: None,
            critical: None,
        };
        let limit = |limit: Option<Duration>| limit.map(|limit| Range::at_most(limit.as_secs_f64()));
        vec![
            Metric {
                name: "instances",
                value: instances.map(|number| number as f64),
                unit: Unit::Count,
                warning: self.policy.warning,
                critical: self.policy.critical,
            },
            Metric {
                warning: limit(self.policy.rtt_warning),
                critical: limit(self.policy.rtt_critical),
                ..seconds("rtt_max", rtt)
            },
            seconds("nats_rtt", self.seen.server.as_ref().and_then(|server| server.rtt)),
            seconds("outage", Some(outage)),
            seconds("probe", Some(self.seen.took)),
        ]
    }

    fn details(&self, next: &Memory) -> Vec<Detail> {
        let mut details = Vec::new();
        let mut tell = |verbosity, text| details.push(Detail { verbosity, text });
        if let Some(server) = &self.seen.server {
            let rtt = server.rtt.map_or("no PONG".into(), latency);
            tell(1, format!("asked {server}, round trip {rtt}"));
        }
        if self.seen.askings > 1 {
            tell(1, format!("asked {} times", self.seen.askings));
        }
        if let Outcome::Answered(answers) = &self.seen.outcome {
            for (n, answer) in answers.iter().enumerate() {
                let rtt = answer
                    .rtt
                    .map(|rtt| format!(" in {}", latency(rtt)))
                    .unwrap_or_default();
                tell(verbosity_of(n), format!("answered{rtt}: {}", answer.instance));
            }
            for instance in self.missing(answers) {
                tell(1, format!("no answer from: {instance}"));
            }
        }
        if let Some(outage) = &next.outage {
            tell(
                1,
                format!(
                    "last seen {}, missed since {}",
                    outage.last_seen.at, outage.first_missed
                ),
            );
            for (n, instance) in outage.last_seen.instances.iter().enumerate() {
                tell(verbosity_of(n), format!("was there: {instance}"));
            }
        }
        // A trouble that begins now is told by its finding.
        if let (Some(trouble), true) = (&self.memory.trouble, next.trouble.is_some()) {
            tell(
                1,
                format!("NATS not asked since {}: {}", trouble.since, trouble.reason.name()),
            );
        }
        if self.seen.ignored.total() > 0 {
            let Ignored { foreign, acks, broken } = self.seen.ignored;
            tell(
                1,
                format!(
                    "{} not counted: {foreign} of another service, {acks} of JetStream, {broken} malformed",
                    match self.seen.ignored.total() {
                        1 => "1 reply".to_owned(),
                        total => format!("{total} replies"),
                    }
                ),
            );
        }
        for (at, step) in &self.seen.trace {
            tell(3, format!("{:9.2}ms {step}", at.as_secs_f64() * 1000.0));
        }
        details
    }

    /// The instances of the epoch before that did not answer now.
    fn missing<'m>(&'m self, answers: &'m [Answer]) -> impl Iterator<Item = &'m Instance> {
        // Answers come sorted by id, but for those of another run; either way the lists are short or cut.
        let ids: std::collections::BTreeSet<&str> = answers.iter().map(|a| a.instance.id.as_str()).collect();
        let before = self.memory.epoch.iter().flat_map(|epoch| &epoch.instances);
        before
            .filter(move |instance| !ids.contains(instance.id.as_str()))
            .take(NAMED)
    }
}

fn verbosity_of(nth: usize) -> u8 {
    if nth < NAMED { 1 } else { 2 }
}

fn slowest(answers: &[Answer]) -> Option<Duration> {
    answers.iter().filter_map(|answer| answer.rtt).max()
}
