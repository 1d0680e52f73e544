//! The verdict over all services of a run with `--all`: the worst service decides, and the line says how many of how many, which, and
//! since when.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use super::policy::Policy;
use super::rule::{RuleInput, RuleOutput};
use super::verdict::{Finding, Metric, Verdict};
use super::{credentials, details, presence};
use crate::probe::observation::{Observation, Outcome};
use crate::state::baseline::Baseline;
use crate::state::memory::Memory;
use crate::values::dated;
use crate::values::duration::{age, latency};
use crate::values::status::{Reason, Status};
use crate::values::text::{count, digest, shorten};
use crate::values::timestamp::Timestamp;

/// Maximum number of services that a finding names.
const MAX_NAMED: usize = 5;

/// Length of the names in the worst finding, and in each of the others, in characters: one more name if it is not reached.
const NAMES_LENGTH: [usize; 2] = [200, 80];

/// Maximum length of what a finding says of a service, in characters.
const MAX_WHAT: usize = 80;

/// Maximum length of the text on a permission, in characters.
const MAX_PERMISSION: usize = 300;

/// Maximum length of a name in RRD files, in bytes.
const MAX_LABEL: usize = 19;

/// One service of the run: its verdict, and what that is drawn from.
#[derive(Clone, Copy, Debug)]
pub struct ServiceResult<'a> {
    pub verdict: &'a Verdict,
    /// The memory that this run leaves.
    pub memory: &'a Memory,
    pub seen: Option<&'a Observation>,
}

impl<'a> ServiceResult<'a> {
    /// Number of instances that answered; `None` if that could not be asked.
    pub fn instances(&self) -> Option<usize> {
        Some(self.seen?.outcome.answers()?.len())
    }

    /// Since when it has been down, not been asked, or had fewer instances than normal.
    pub fn since(&self) -> Option<Timestamp> {
        let Memory {
            outage,
            unreachable,
            baseline,
            ..
        } = self.memory;
        let outage = outage.as_ref().map(|outage| outage.first_missed);
        let fewer = baseline.as_ref().and_then(Baseline::fewer_since);
        outage.or(unreachable.map(|unreachable| unreachable.since)).or(fewer)
    }

    /// The place in a list for people: worst first, then the latest change.
    pub fn rank(&self, now: Timestamp) -> (Reverse<Status>, Duration) {
        // Times are compared in seconds: events of one run stay in the order of the names.
        let age = self.since().map_or(Duration::MAX, |since| now.since(since));
        (Reverse(self.verdict.status()), Duration::from_secs(age.as_secs()))
    }

    /// Returns `true` if the finding belongs to the whole run, and not to the service.
    fn is_common(&self, finding: &Finding, common: &Observation) -> bool {
        let failed =
            |outcome: &Outcome| matches!(outcome, Outcome::Failed(failure) if failure.reason == finding.reason);
        let of_nats = self.seen.is_some_and(|seen| failed(&seen.outcome)) && failed(&common.outcome);
        of_nats || finding.reason == Reason::CredentialsExpiring
    }

    /// Returns the text about the service without what holds for the whole run, its ages [`dated`]; `None` if nothing is left.
    pub fn told(&self, common: Option<&Observation>) -> Option<String> {
        let is_own = |finding: &Finding| common.is_none_or(|common| !self.is_common(finding, common));
        let own = self.verdict.told_where(is_own);
        let own: Vec<&str> = own.map(|finding| finding.dated.as_str()).collect();
        let server = self.seen.and_then(|seen| seen.server.as_ref());
        let fine = server.map(presence::is_fine).filter(|_| common.is_some());
        (!own.is_empty()).then(|| match fine {
            Some(fine) => own.join(", ").replace(&fine, ""),
            None => own.join(", "),
        })
    }
}

/// Services, each with the finding that leads.
type Group<'a> = Vec<(&'a ServiceResult<'a>, &'a Finding)>;

/// The input of [`overview`].
#[derive(Clone, Copy, Debug)]
pub struct OverviewInput<'a> {
    /// The watched services, by name.
    pub services: &'a [ServiceResult<'a>],
    /// Part of the observation that holds for the whole run.
    pub common: &'a Observation,
    /// Number of services that answered and were too many to be watched.
    pub too_many: usize,
    /// Services that are not watched yet (`--adopt-after`): since when they answer.
    pub candidates: &'a BTreeMap<String, Timestamp>,
    pub policy: &'a Policy,
    /// Set if each service has a metric of its own (`--per-service`).
    pub per_service: bool,
    pub now: Timestamp,
}

/// Returns the verdict over all services. Its `service` is empty.
pub fn overview(input: &OverviewInput<'_>) -> Verdict {
    let mut output = RuleOutput::default();
    let outages = input
        .services
        .iter()
        .filter_map(|service| service.memory.outage.as_ref());
    let down = outages.clone().count();
    output.add_metric(Metric::count("services", Some(input.services.len())));
    output.add_metric(Metric::count("services_down", Some(down)));
    output.add_metric(Metric::count("instances", input.instances()));
    output.add_findings(input.account());
    output.add_findings(input.groups());
    input.whole_run(&mut output);
    let mut verdict = output.verdict("");
    let longest = outages.map(|outage| input.now.since(outage.first_missed)).max();
    for metric in verdict.metrics.iter_mut().filter(|metric| metric.name == "outage") {
        metric.value = Some(longest.unwrap_or_default().as_secs_f64());
    }
    if input.per_service {
        let labels = labels(input.services, &verdict.metrics);
        let of_services = input.services.iter().zip(labels).filter_map(|(service, label)| {
            let instances = service.verdict.metrics.iter().find(|m| m.name == "instances")?;
            Some(Metric {
                name: label.into(),
                ..instances.clone()
            })
        });
        verdict.metrics.extend(of_services);
    }
    verdict
}

/// Returns the verdict on NATS itself, of a probe that asked no service. Its `service` is empty.
pub fn server(seen: &Observation, policy: &Policy, now: Timestamp) -> Verdict {
    let mut output = RuleOutput::default();
    if let (Outcome::Answered(_), Some(server)) = (&seen.outcome, &seen.server) {
        match server.rtt {
            Some(rtt) => {
                let text = format!("{server} is fine ({})", latency(rtt));
                output.add_finding(Status::Ok, Reason::NatsReachable, text);
            }
            None => {
                let text = format!("{server} accepted the login, but does not answer");
                output.add_finding(policy.unreachable, Reason::NatsUnreachable, text);
            }
        }
    }
    let input = OverviewInput {
        services: &[],
        common: seen,
        too_many: 0,
        candidates: &BTreeMap::new(),
        policy,
        per_service: false,
        now,
    };
    input.whole_run(&mut output);
    let mut verdict = output.verdict("");
    verdict.metrics.retain(|metric| metric.name != "outage");
    verdict
}

/// Adds a problem of the account state to the verdict of [`overview`]. There may be outages that could not be read.
pub fn add_problem(overview: &mut Verdict, problem: &str) {
    overview.add(Finding::new(Status::Unknown, Reason::StateUnusable, problem));
    for metric in overview.metrics.iter_mut().filter(|m| m.name == "services_down") {
        metric.value = metric.value.filter(|down| *down > 0.0);
    }
}

impl OverviewInput<'_> {
    /// Number of all instances; `None` if no service could be asked.
    fn instances(&self) -> Option<usize> {
        match self.services {
            [] => self.common.outcome.answers().map(<[_]>::len),
            services => services
                .iter()
                .filter_map(ServiceResult::instances)
                .reduce(|a, b| a + b),
        }
    }

    /// Returns the findings about the account, and no single service.
    fn account(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let outcome = &self.common.outcome;
        let is_said = matches!(outcome, Outcome::Failed(failure) if failure.reason == Reason::PermissionDenied);
        if !self.common.denied.is_empty() && !is_said {
            let text = format!("{}: new services cannot be found", self.common.denied);
            findings.push(Finding::new(Status::Unknown, Reason::PermissionDenied, text));
        }
        if self.too_many > 0 {
            let text = format!(
                "{} more than can be watched: choose with --only or --exclude",
                count(self.too_many, "service")
            );
            findings.push(Finding::new(Status::Unknown, Reason::ProtocolError, text));
        }
        let asked = !matches!(self.common.outcome, Outcome::Failed(_)) && self.common.denied.is_empty();
        if self.services.is_empty() && asked {
            let text = match (self.candidates.len(), self.policy.remembers) {
                (0, true) => {
                    let import = match self.policy.imported.is_some() {
                        true => ", and are $SRV.PING and $SRV.PING.> exported and imported, both",
                        false => "",
                    };
                    format!("no service has ever answered here: is this the right account, and --srv-prefix{import}?")
                }
                (0, false) => {
                    "no service answers here, and without a state it is not known whether any was ever there (--no-state)".to_owned()
                }
                (number, _) => format!("no service is watched yet, {number} answer for less than --adopt-after"),
            };
            findings.push(Finding::new(self.policy.never_seen, Reason::ServiceNeverSeen, text));
        }
        findings
    }

    /// A finding for each group of services with the same status for the same reason, or one if all are OK.
    fn groups(&self) -> Vec<Finding> {
        let mut groups: BTreeMap<_, Group<'_>> = BTreeMap::new();
        let some_answered = self.services.iter().any(|service| service.instances().is_some());
        for service in self.services {
            let findings = service.verdict.findings();
            let own = findings.iter().find(|finding| !service.is_common(finding, self.common));
            // The finding on NATS stands for those that could not be asked, unless others could.
            let lead = own.or(findings.first().filter(|_| some_answered));
            if let Some(lead) = lead {
                let group = groups.entry((Reverse(lead.status), lead.reason)).or_default();
                group.push((service, lead));
            }
        }
        let ok = groups.split_off(&(Reverse(Status::Ok), Reason::ALL[0]));
        if groups.is_empty() {
            return self.all_ok(ok).into_iter().collect();
        }
        let texts = groups
            .into_iter()
            .enumerate()
            .map(|(n, ((Reverse(status), reason), group))| {
                let of = match n {
                    0 => format!(" of {}", count(self.services.len(), "service")),
                    _ => String::new(),
                };
                let (number, word) = (group.len(), self.word(reason, &group));
                let named = self.named(group, NAMES_LENGTH[n.min(1)]);
                Finding::new(status, reason, format!("{number}{of} {word}: {named}"))
            });
        texts.collect()
    }

    /// `37 services, 112 instances, 1 recovered: …`
    fn all_ok(&self, groups: BTreeMap<(Reverse<Status>, Reason), Group<'_>>) -> Option<Finding> {
        let &(_, lead) = groups.keys().next()?;
        let services = count(self.services.len(), "service");
        let instances = count(self.instances().unwrap_or(0), "instance");
        let mut text = format!("{services}, {instances}");
        for ((_, reason), group) in groups {
            if reason != Reason::ServiceUp {
                let (number, word) = (group.len(), self.word(reason, &group));
                text += &format!(", {number} {word}: {}", self.named(group, NAMES_LENGTH[1]));
            }
        }
        Some(Finding::new(Status::Ok, lead, text))
    }

    /// The names of a group, worst first, each with what the operator wants to know; and how many more there are.
    fn named(&self, mut group: Group<'_>, length: usize) -> String {
        group.sort_by_key(|(service, _)| service.rank(self.now));
        let mut text = String::new();
        let mut told = 0;
        for (service, lead) in group.iter().take(MAX_NAMED) {
            if told > 0 && dated::plain(&text).chars().count() > length {
                break;
            }
            text += if told > 0 { ", " } else { "" };
            text += &shorten(&service.verdict.service, MAX_WHAT);
            match self.what(service, lead).as_str() {
                "" => {}
                what => text += &format!(" ({what})"),
            }
            told += 1;
        }
        match group.len() - told {
            0 => text,
            more => format!("{text} and {more} more"),
        }
    }

    /// `3 instances until 62s ago`, `1 of 2 instances`, or what the finding says; empty if the name is enough.
    fn what(&self, service: &ServiceResult<'_>, lead: &Finding) -> String {
        let normal = service.memory.baseline.as_ref().map_or(0, Baseline::count);
        // The same moment is used in the text of the service itself.
        let moment = service.seen.filter(|seen| seen.outcome.answers().is_some());
        let moment = moment.map_or(self.now, |seen| seen.at);
        match (lead.reason, service.memory.last_seen(), service.instances()) {
            (Reason::ServiceDown | Reason::ServiceSilent, Some(epoch), _) => format!(
                "{} until {} ago",
                count(epoch.count, "instance"),
                dated::age(epoch.at, moment)
            ),
            (Reason::InstancesOutOfRange | Reason::InstancesLost, _, Some(number)) if number < normal => {
                format!("{number} of {}", count(normal, "instance"))
            }
            (Reason::InstancesOutOfRange | Reason::InstancesLost, _, Some(number)) => count(number, "instance"),
            (Reason::ServiceNeverSeen, ..) => String::new(),
            // `after 14m 10s`: the number of instances is no news.
            (Reason::ServiceRecovered, ..) => {
                let after = lead
                    .text
                    .split("recovered ")
                    .nth(1)
                    .and_then(|rest| rest.split(',').next());
                after.unwrap_or_default().to_owned()
            }
            // If it were cut, the permission to add would be missing.
            (Reason::PermissionDenied, ..) => dated::shorten(&lead.dated, MAX_PERMISSION),
            _ if service.is_common(lead, self.common) => String::new(),
            _ => dated::shorten(&lead.dated, MAX_WHAT),
        }
    }

    /// Returns the adjective for the services of a group.
    fn word(&self, reason: Reason, group: &[(&ServiceResult<'_>, &Finding)]) -> &'static str {
        let was_down = |service: &ServiceResult<'_>| {
            let outage = service.memory.outage.as_ref();
            outage.is_some_and(|outage| service.seen.is_none_or(|seen| outage.first_missed < seen.at))
        };
        match reason {
            Reason::ServiceDown if group.iter().all(|(service, _)| was_down(service)) => "still down",
            Reason::ServiceDown => "down",
            Reason::ServiceSilent => "silent",
            Reason::RequestFailed => "with a failed request",
            Reason::InstancesOutOfRange | Reason::InstancesLost => "degraded",
            Reason::Restarts => "restarting",
            Reason::Slow => "slow",
            Reason::ErrorRate => "with errors",
            Reason::Latency => "slow to process requests",
            Reason::VersionUnexpected => "of an unexpected version",
            Reason::VersionsMixed => "of mixed versions",
            Reason::RequestSlow => "slow to reply",
            Reason::PermissionDenied => "not permitted",
            Reason::ServiceNeverSeen => "never seen",
            Reason::StateUnusable => "without a usable state",
            Reason::ServiceRecovered => "recovered",
            Reason::ServiceUp | Reason::NatsReachable => "up",
            Reason::Usage
            | Reason::ConfigUnusable
            | Reason::CredentialsExpiring
            | Reason::AuthRejected
            | Reason::TlsFailed
            | Reason::ProtocolError
            | Reason::NatsUnreachable
            | Reason::Interrupted
            | Reason::TextfileUnwritable
            | Reason::StatusFileUnwritable => "not asked",
        }
    }

    /// Adds the findings of the single check's rules about NATS, the probe and the credentials.
    fn whole_run(&self, output: &mut RuleOutput) {
        // The latest time counts: earlier ones belong to services that could not be asked separately.
        let unreachable = self.services.iter().filter_map(|service| service.memory.unreachable);
        let previous = Memory {
            unreachable: unreachable
                .max_by_key(|unreachable| unreachable.since)
                .filter(|unreachable| unreachable.since < self.common.at),
            ..Memory::default()
        };
        let input = RuleInput {
            service: "",
            previous: &previous,
            next: &Memory::default(),
            observation: self.common,
            policy: self.policy,
            now: self.now,
        };
        if matches!(self.common.outcome, Outcome::Failed(_)) {
            presence::judge(&input, output);
        }
        details::judge(&input, output);
        credentials::judge(&input, output);
        let mut candidates: Vec<(&String, &Timestamp)> = self.candidates.iter().collect();
        candidates.sort_by_key(|(_, since)| Reverse(**since));
        for (n, (name, since)) in candidates.into_iter().enumerate() {
            let since = age(self.now.since(*since));
            output.add_detail(
                details::verbosity_of(n),
                format!("not watched yet, answers for {since}: {}", shorten(name, MAX_WHAT)),
            );
        }
        details::trace(&input, output);
    }
}

/// The names of the metrics of services: `[a-z0-9_]`, and unique within [`MAX_LABEL`] bytes, also among `others`. A name follows from
/// that of the service, so that it stays the same whatever other services there are.
fn labels(services: &[ServiceResult<'_>], others: &[Metric]) -> Vec<String> {
    let plain = |name: &str| -> String {
        let letters = name.chars().map(|c| match c.to_ascii_lowercase() {
            c @ ('a'..='z' | '0'..='9') => c,
            _ => '_',
        });
        letters.collect()
    };
    let names = services.iter().map(|service| service.verdict.service.as_str());
    let mut uses: BTreeMap<String, usize> = others.iter().map(|metric| (metric.name.to_string(), 1)).collect();
    for name in names.clone() {
        *uses.entry(plain(name)).or_default() += 1;
    }
    let label = |name: &str| {
        let label = plain(name);
        if label.len() <= MAX_LABEL && uses[&label] == 1 {
            return label;
        }
        // A name that is too long or not unique gets a part of its digest.
        let mut rest = digest(name.bytes());
        let digits = (0..6).map(|_| {
            let digit = char::from_digit((rest % 36) as u32, 36).unwrap_or('_');
            rest /= 36;
            digit
        });
        let digits: String = digits.collect();
        format!("{}_{digits}", &label[..label.len().min(MAX_LABEL - 7)])
    };
    names.map(label).collect()
}

#[cfg(test)]
mod tests;
