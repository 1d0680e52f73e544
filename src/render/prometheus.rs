//! Metrics in the text exposition format of Prometheus, for the textfile collector of node_exporter.
//!
//! The collector drops a metric, silently, whose HELP or TYPE is another one in another file, and a series that is in two
//! files. So these texts never change, and every sample carries the service. Whatever changes with the status is in a
//! value: a series that comes and goes cannot be alerted on. What is not known is absent, and not 0.

mod exposition;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use self::exposition::Label;
use self::exposition::{NO_LABELS, Page, escape, flag, labels};
use crate::probe::observation::{EndpointSeen, Fate, Instance, InstanceReply, Observation, Outcome, Silence, versions};
use crate::probe::stats::{Counters, MAX_ENDPOINTS};
use crate::render::report::{AllReport, Report};
use crate::state::memory::Memory;
use crate::values::status::Reason;

/// Maximum number of instances with samples of their own.
const MAX_INSTANCES: usize = 200;

/// Maximum number of missing instances that are reported of one service, and about of all services together; at least one of each.
const MAX_MISSING: usize = 10;
const MAX_MISSING_OF_ALL: usize = 1000;

/// Maximum number of places whose restarts are reported of one service.
const MAX_PLACES: usize = 10;

/// Age up to which a restart counts as recent.
const RECENT: Duration = Duration::from_secs(900);

/// Maximum number of digits in the code of an error.
const MAX_CODE: usize = 5;

/// Options of the metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Style {
    pub labels: Vec<Label>,
    /// Also tell each instance: their ids change with each restart.
    pub per_instance: bool,
}

/// The text of one file: HELP, TYPE and samples of all metrics, without timestamps, with a line end at the end.
pub fn render(report: &Report, style: &Style) -> String {
    services(std::slice::from_ref(report), style)
}

/// The same for all services: metrics of the whole run, and those of the services, each once with the samples of all of them.
pub fn render_all(report: &AllReport, style: &Style) -> String {
    let subjects = [(labels(&style.labels), report)];
    let mut page = Page::new(&subjects);
    page.gauge("nats_services", "Number of services that are watched.", |report| {
        report.metric("services")
    });
    page.gauge(
        "nats_services_down",
        "Number of services with an open outage, whether NATS can be asked or not.",
        |report| report.metric("services_down"),
    );
    page.gauge(
        "nats_services_status",
        "Status of the check of all services: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.",
        |report| Some(f64::from(report.overview.status().exit_code())),
    );
    page.gauge(
        "nats_services_probe_success",
        "Whether NATS could be asked for all services.",
        |report| Some(flag(report.is_asked())),
    );
    page.gauge(
        "nats_services_probe_duration_seconds",
        "Duration of the probe of all services.",
        |report| Some(report.common.as_ref()?.took.as_secs_f64()),
    );
    page.gauge(
        "nats_services_probe_timestamp_seconds",
        "When the services were last probed, in seconds since 1970.",
        |report| Some(report.now.as_seconds()),
    );
    page.reasons(
        "nats_services_reason",
        "Whether this is a reason for the status of the check of all services.",
        |report| &report.overview,
    );
    page.into_text() + &services(&report.reports, style)
}

/// The metrics of these services.
fn services(reports: &[Report], style: &Style) -> String {
    let subject = |report| {
        let service = Service::new(report);
        (service.labels(&style.labels), service)
    };
    let subjects: Vec<_> = reports.iter().map(subject).collect();
    let with_missing = subjects
        .iter()
        .filter(|(_, service)| service.missing().next().is_some());
    let max_missing = (MAX_MISSING_OF_ALL / with_missing.count().max(1)).clamp(1, MAX_MISSING);
    let mut page = Page::new(&subjects);
    page.gauge(
        "nats_service_up",
        "Whether an instance of the service answered; absent when NATS could not be asked.",
        |service| service.answers.map(|answers| flag(!answers.is_empty())),
    );
    page.gauge(
        "nats_service_instances",
        "Number of instances that answered; absent when NATS could not be asked.",
        |service| service.answers.map(|answers| answers.len() as f64),
    );
    page.gauge(
        "nats_service_own_instance_up",
        "Whether the pod's own instance answered; absent when NATS could not be asked, or when watch was given none.",
        |service| service.report.own_up.map(flag),
    );
    page.gauge(
        "nats_service_baseline_instances",
        "Number of instances that is normal.",
        |service| Some(service.memory.baseline.as_ref()?.count() as f64),
    );
    page.gauge(
        "nats_service_versions",
        "Number of different versions among the instances that answered; absent when NATS could not be asked.",
        |service| service.answers.map(|answers| versions(answers).len() as f64),
    );
    page.gauge(
        "nats_service_status",
        "Status of the check: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.",
        |service| Some(f64::from(service.report.verdict.status().exit_code())),
    );
    page.gauge(
        "nats_service_outage",
        "Whether an outage is open: no instance since one was seen, whether NATS can be asked or not.",
        |service| match service.memory.outage {
            Some(_) => Some(1.0),
            None if service.is_unsure() => None,
            None => Some(0.0),
        },
    );
    page.gauge(
        "nats_service_outage_start_timestamp_seconds",
        "When the open outage was found, in seconds since 1970; absent without one.",
        |service| Some(service.memory.outage.as_ref()?.first_missed.as_seconds()),
    );
    page.gauge(
        "nats_service_last_seen_timestamp_seconds",
        "When an instance was last seen, in seconds since 1970; absent if none is remembered.",
        |service| Some(service.memory.last_seen()?.at.as_seconds()),
    );
    page.family(
        "nats_service_instance_missing",
        "gauge",
        "1 for each instance that was there and is missed, the first ones; pod and host are from its metadata.",
        |service| {
            service
                .missing_labels(max_missing)
                .into_iter()
                .map(|labels| (labels, 1.0))
        },
    );
    page.gauge(
        "nats_service_rtt_max_seconds",
        "Time until the slowest answer; absent without one.",
        |service| {
            Some(
                service
                    .answers?
                    .iter()
                    .filter_map(|answer| answer.rtt)
                    .max()?
                    .as_secs_f64(),
            )
        },
    );
    page.gauge(
        "nats_service_probe_success",
        "Whether NATS could be asked.",
        |service| Some(flag(service.answers.is_some())),
    );
    page.gauge(
        "nats_service_probe_duration_seconds",
        "Duration of the probe.",
        |service| Some(service.seen?.took.as_secs_f64()),
    );
    page.gauge(
        "nats_service_probe_timestamp_seconds",
        "When the service was last probed, in seconds since 1970.",
        |service| Some(service.report.now.as_seconds()),
    );
    page.gauge(
        "nats_service_credentials_expiry_timestamp_seconds",
        "When the credentials that log in to NATS expire, in seconds since 1970; absent if they never do.",
        |service| Some(service.seen?.credentials.as_ref()?.at?.as_seconds()),
    );
    page.family(
        "nats_service_restarts_total",
        "counter",
        "Instances that were replaced by others of the same version; absent before the second run that saw any.",
        |service| {
            service
                .memory
                .changes
                .iter()
                .map(|changes| (NO_LABELS, changes.restarts as f64))
        },
    );
    page.family(
        "nats_service_recent_restarts",
        "gauge",
        "Restarts within the last 15 minutes by place, those with the most; pod and host are from the metadata.",
        |service| service.recent_restarts(),
    );
    statistics(&mut page);
    page.family(
        "nats_service_last_error",
        "gauge",
        "1 for each endpoint of which an instance reports a last error, with the code of the error.",
        |service| service.last_errors().into_iter().map(|labels| (labels, 1.0)),
    );
    page.gauge(
        "nats_service_request_success",
        "Whether the endpoint replied as wanted, however slowly; absent when that could not be found out.",
        |service| service.request?.success().map(flag),
    );
    page.gauge(
        "nats_service_request_duration_seconds",
        "Time until the reply of the endpoint; absent without one.",
        |service| Some(service.request?.reply()?.took.as_secs_f64()),
    );
    page.reasons(
        "nats_service_reason",
        "Whether this is a reason for the status.",
        |service| &service.report.verdict,
    );
    page.family(
        "nats_service_build_info",
        "gauge",
        "1, with the version of check_nats_service that wrote these metrics.",
        |_| [([("version", env!("CARGO_PKG_VERSION"))], 1.0)],
    );
    if style.per_instance {
        instances(&mut page);
    }
    page.into_text()
}

/// A service, and what its samples are made of.
struct Service<'a> {
    report: &'a Report,
    memory: &'a Memory,
    seen: Option<&'a Observation>,
    request: Option<&'a EndpointSeen>,
    /// The instances that answered; `None` if NATS could not be asked.
    answers: Option<&'a [InstanceReply]>,
}

impl<'a> Service<'a> {
    fn new(report: &'a Report) -> Service<'a> {
        let seen = report.seen.as_deref();
        Service {
            report,
            memory: &report.memory,
            seen,
            request: seen.and_then(|seen| seen.request.as_ref()),
            answers: seen.and_then(|seen| seen.outcome.answers()),
        }
    }

    /// The labels of every sample.
    fn labels(&self, more: &[Label]) -> String {
        let service = format!("service=\"{}\"", escape(&self.report.verdict.service));
        match more {
            [] => service,
            more => format!("{service},{}", labels(more)),
        }
    }

    /// Returns `true` if nobody can know whether there is an outage: no instance answers, and the state could not be read.
    fn is_unsure(&self) -> bool {
        let findings = self.report.verdict.findings();
        let unusable = findings.iter().any(|finding| finding.reason == Reason::StateUnusable);
        self.seen.is_none() || (unusable && self.answers.unwrap_or_default().is_empty())
    }

    /// The first ones that answered.
    fn told(&self) -> &'a [InstanceReply] {
        let answers = self.answers.unwrap_or_default();
        &answers[..answers.len().min(MAX_INSTANCES)]
    }

    /// The instances that were there and are not any more, as far as they are remembered, with what is known of their fate. While
    /// NATS cannot be asked, only those of an open outage are known to be missing.
    fn missing(&self) -> impl Iterator<Item = (&'a Instance, Option<Fate>)> {
        let outcome = self.seen.map(|seen| &seen.outcome);
        let hidden = self.seen.is_some_and(|seen| seen.silence == Silence::Hidden);
        let of_all = match outcome {
            Some(Outcome::NoResponders) => Some(Fate::Gone),
            Some(Outcome::Silent(_)) if !hidden => Some(Fate::NotAnswering),
            _ => None,
        };
        let absentees = self.answers.iter().flat_map(|_| &self.memory.absentees);
        let outage = self.memory.outage.iter().flat_map(|outage| &outage.last_seen.instances);
        absentees
            .map(move |absentee| {
                let is_in_doubt = hidden && absentee.fate == Fate::NotAnswering;
                (&absentee.instance, Some(absentee.fate).filter(|_| !is_in_doubt))
            })
            .chain(outage.map(move |instance| (instance, of_all)))
    }

    /// The labels of the first missing instances, each once.
    fn missing_labels(&self, max: usize) -> BTreeSet<[(&'static str, String); 5]> {
        let labels = self.missing().take(max).map(|(instance, fate)| {
            let (pod, host) = place(instance);
            let fate = fate.unwrap_or(Fate::NotAsked).name().replace(' ', "_");
            [
                ("instance_id", instance.shown_id()),
                ("version", instance.version.clone()),
                ("pod", pod.to_owned()),
                ("host", host.to_owned()),
                ("fate", fate),
            ]
        });
        labels.collect()
    }

    /// The number of recent restarts of each place, those with the most.
    fn recent_restarts(&self) -> Vec<([(&'static str, &'a str); 2], f64)> {
        let mut places: BTreeMap<(&str, &str), u32> = BTreeMap::new();
        let changes = self.memory.changes.iter();
        for restart in changes.flat_map(|changes| changes.restarts_within(RECENT, self.report.now)) {
            *places.entry(place(&restart.instance)).or_default() += 1;
        }
        let mut places: Vec<_> = places.into_iter().collect();
        places.sort_by_key(|(_, restarts)| std::cmp::Reverse(*restarts));
        places.truncate(MAX_PLACES);
        let sample = |((pod, host), restarts)| ([("pod", pod), ("host", host)], f64::from(restarts));
        places.into_iter().map(sample).collect()
    }

    /// The labels of the last error of each endpoint: that of the first instance which reports one. Of its text, only a code can
    /// be trusted not to make a new series each time.
    fn last_errors(&self) -> Vec<[(&'static str, String); 4]> {
        let stats = self.seen.and_then(|seen| seen.stats.as_ref());
        let mut errors: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
        for (id, stats) in stats.iter().flat_map(|stats| &stats.instances) {
            for (endpoint, error) in &stats.last_errors {
                errors.entry(endpoint).or_insert((id, error));
            }
        }
        let labels = |(endpoint, (id, error)): (&str, (&str, &str))| {
            let mut answers = self.answers.unwrap_or_default().iter();
            let instance = answers.find(|answer| answer.instance.id == id);
            let (pod, host) = instance.map_or(("", ""), |answer| place(&answer.instance));
            let code = error.split(':').next().unwrap_or_default().trim();
            let is_code = code.len() <= MAX_CODE && code.bytes().all(|byte| byte.is_ascii_digit());
            [
                ("endpoint", endpoint.to_owned()),
                ("code", if is_code { code.to_owned() } else { String::new() }),
                ("pod", pod.to_owned()),
                ("host", host.to_owned()),
            ]
        };
        errors.into_iter().take(MAX_ENDPOINTS).map(labels).collect()
    }
}

/// Pod and host (or node) of an instance, from its metadata; empty where it does not say. An empty label keeps a Prometheus that
/// honours labels from putting those of the target in its place.
fn place(instance: &Instance) -> (&str, &str) {
    let find = |is_it: &dyn Fn(&str) -> bool| {
        let value = instance.metadata.iter().find(|(key, _)| is_it(key));
        value.map(|(_, value)| value.as_str())
    };
    let pod = find(&|key| key == "pod").or_else(|| find(&|key| key.contains("pod")));
    let host = find(&|key| key == "host").or_else(|| find(&|key| key.contains("host") || key.contains("node")));
    (pod.unwrap_or_default(), host.unwrap_or_default())
}

/// The metrics of one service among those of all.
pub fn of_service(metrics: &str, service: &str) -> String {
    let label = format!("{{service=\"{}\"", escape(service));
    let (mut text, mut head) = (String::new(), String::new());
    for line in metrics.split_inclusive('\n') {
        if line.starts_with("# HELP ") {
            head = line.to_owned();
        } else if line.starts_with('#') {
            head.push_str(line);
        } else if line.contains(&label) {
            text.push_str(&head);
            text.push_str(line);
            head.clear();
        }
    }
    text
}

/// By endpoint. Counters: they are kept in the state, and only grow.
fn statistics(page: &mut Page<'_, Service<'_>>) {
    let mut counter = |name: &str, help: &str, value: fn(Counters) -> f64| {
        page.family(name, "counter", help, |service| {
            let endpoints = service
                .memory
                .statistics
                .iter()
                .flat_map(|statistics| &statistics.endpoints);
            endpoints.map(move |(endpoint, counted)| ([("endpoint", endpoint.as_str())], value(counted.total)))
        });
    };
    counter(
        "nats_service_requests_total",
        "Requests to this endpoint of all instances, since they were first asked for.",
        |total| total.requests as f64,
    );
    counter(
        "nats_service_errors_total",
        "Requests to this endpoint that failed.",
        |total| total.errors as f64,
    );
    counter(
        "nats_service_processing_seconds_total",
        "Time that the handlers of this endpoint took.",
        |total| total.processing as f64 / 1e9,
    );
}

fn instances(page: &mut Page<'_, Service<'_>>) {
    page.family(
        "nats_service_instance_up",
        "gauge",
        "Whether this instance answered.",
        |service| {
            let up = service.told().iter().map(|answer| (labels_of(&answer.instance), 1.0));
            let room = service.answers.map_or(0, |_| MAX_INSTANCES - service.told().len());
            let missing = service.missing().take(room);
            up.chain(missing.map(|(instance, _)| (labels_of(instance), 0.0)))
        },
    );
    page.family(
        "nats_service_instance_rtt_seconds",
        "gauge",
        "Time until the answer of this instance.",
        |service| {
            let answers = service.told().iter();
            answers.filter_map(|answer| Some((labels_of(&answer.instance), answer.rtt?.as_secs_f64())))
        },
    );
}

fn labels_of(instance: &Instance) -> [(&'static str, &str); 2] {
    [("instance_id", &instance.id), ("version", &instance.version)]
}

#[cfg(test)]
mod tests;
