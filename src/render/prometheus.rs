//! Metrics in the text exposition format of Prometheus, for the textfile collector of node_exporter.
//!
//! The collector drops a metric, silently, whose HELP or TYPE is another one in another file, and a series that is in two
//! files. So these texts never change, and every sample carries the service. Whatever changes with the status is in a
//! value: a series that comes and goes cannot be alerted on. What is not known is absent, and not 0.

use std::fmt::Write;

use crate::probe::observation::{EndpointSeen, Instance, InstanceReply, Outcome, versions};
use crate::probe::stats::Counters;
use crate::render::report::Report;
use crate::state::statistics::Statistics;
use crate::values::status::Reason;
use crate::values::text::clean;

/// How many instances are told one by one.
const MAX_INSTANCES: usize = 200;

/// A label of every sample, as the user said. The name is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    pub name: String,
    pub value: String,
}

impl Label {
    /// Reads `NAME=VALUE`.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Label, String> {
        const OURS: [&str; 5] = ["service", "reason", "instance_id", "version", "endpoint"];
        let Some((name, value)) = text.split_once('=') else {
            return Err("a label is NAME=VALUE".into());
        };
        let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(good) || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(format!(
                "'{}' is no label name: it has letters, digits and '_' only, and no digit first",
                clean(name, 80)
            ));
        }
        if name.starts_with("__") {
            return Err(format!("'{name}': names that begin with __ belong to Prometheus"));
        }
        if name == "nats" {
            return Err("'nats' is a label of the metrics themselves: set it with --nats-label".into());
        }
        if OURS.contains(&name) {
            return Err(format!("'{name}' is a label of the metrics themselves"));
        }
        Ok(Label {
            name: name.to_owned(),
            value: value.to_owned(),
        })
    }
}

/// What to write beside the metrics of the service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Style {
    pub labels: Vec<Label>,
    /// Also tell each instance: their ids change with each restart.
    pub per_instance: bool,
}

/// The text of one file: HELP, TYPE and samples of all metrics, without timestamps, with a line end at the end.
pub fn render(report: &Report, style: &Style) -> String {
    let mut page = Page {
        text: String::new(),
        labels: labels(&report.verdict.service, &style.labels),
    };
    let seen = report.seen.as_ref();
    let memory = &report.memory;
    let answers: Option<&[InstanceReply]> = match seen.map(|seen| &seen.outcome) {
        Some(Outcome::Answered(answers)) => Some(answers),
        Some(Outcome::NoResponders | Outcome::Silent(_)) => Some(&[]),
        Some(Outcome::Failed(_)) | None => None,
    };
    let count = answers.map(<[InstanceReply]>::len);
    let rtt = answers.iter().copied().flatten().filter_map(|answer| answer.rtt).max();
    let flag = |set: bool| f64::from(u8::from(set));

    page.gauge(
        "nats_service_up",
        "Whether an instance of the service answered; absent when NATS could not be asked.",
        count.map(|count| flag(count > 0)),
    );
    page.gauge(
        "nats_service_instances",
        "Number of instances that answered; absent when NATS could not be asked.",
        count.map(|count| count as f64),
    );
    page.gauge(
        "nats_service_own_instance_up",
        "Whether the pod's own instance answered; absent when NATS could not be asked, or when watch was given none.",
        report.own_up.map(flag),
    );
    page.gauge(
        "nats_service_baseline_instances",
        "Number of instances that is normal.",
        memory.baseline.as_ref().map(|baseline| baseline.count() as f64),
    );
    page.gauge(
        "nats_service_versions",
        "Number of different versions among the instances that answered; absent when NATS could not be asked.",
        answers.map(|answers| versions(answers).len() as f64),
    );
    page.gauge(
        "nats_service_status",
        "Status of the check: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.",
        Some(f64::from(report.verdict.status().exit_code())),
    );
    page.gauge(
        "nats_service_outage",
        "Whether an outage is open: no instance since one was seen, whether NATS can be asked or not.",
        match &memory.outage {
            Some(_) => Some(1.0),
            None if is_unsure(report, count) => None,
            None => Some(0.0),
        },
    );
    page.gauge(
        "nats_service_outage_start_timestamp_seconds",
        "When the open outage was found, in seconds since 1970; absent without one.",
        memory.outage.as_ref().map(|outage| outage.first_missed.as_seconds()),
    );
    page.gauge(
        "nats_service_last_seen_timestamp_seconds",
        "When an instance was last seen, in seconds since 1970; absent if none is remembered.",
        memory.last_seen().map(|epoch| epoch.at.as_seconds()),
    );
    page.gauge(
        "nats_service_rtt_max_seconds",
        "Time until the slowest answer; absent without one.",
        rtt.map(|rtt| rtt.as_secs_f64()),
    );
    page.gauge(
        "nats_service_probe_success",
        "Whether NATS could be asked.",
        Some(flag(count.is_some())),
    );
    page.gauge(
        "nats_service_probe_duration_seconds",
        "Duration of the probe.",
        seen.map(|seen| seen.took.as_secs_f64()),
    );
    page.gauge(
        "nats_service_probe_timestamp_seconds",
        "When the service was last probed, in seconds since 1970.",
        Some(report.now.as_seconds()),
    );
    page.gauge(
        "nats_service_credentials_expiry_timestamp_seconds",
        "When the credentials that log in to NATS expire, in seconds since 1970; absent if they never do.",
        seen.and_then(|seen| seen.credentials.as_ref()?.at)
            .map(|at| at.as_seconds()),
    );
    page.typed_family(
        "nats_service_restarts_total",
        "counter",
        "Instances that were replaced by others of the same version; absent before the second run that saw any.",
        memory.changes.iter().map(|changes| ([], changes.restarts as f64)),
    );
    if let Some(statistics) = &memory.statistics {
        page.statistics(statistics);
    }
    let request = seen.and_then(|seen| seen.request.as_ref());
    page.gauge(
        "nats_service_request_success",
        "Whether the endpoint replied as wanted, however slowly; absent when that could not be found out.",
        request.and_then(EndpointSeen::success).map(flag),
    );
    page.gauge(
        "nats_service_request_duration_seconds",
        "Time until the reply of the endpoint; absent without one.",
        request
            .and_then(EndpointSeen::reply)
            .map(|reply| reply.took.as_secs_f64()),
    );
    let findings = report.verdict.findings();
    page.family(
        "nats_service_reason",
        "Whether this is a reason for the status.",
        Reason::ALL.iter().copied().map(|reason| {
            let given = findings.iter().any(|finding| finding.reason == reason);
            ([("reason", reason.name())], flag(given))
        }),
    );
    if let (true, Some(answers)) = (style.per_instance, answers) {
        page.instances(answers, &missing(report));
    }
    page.text
}

/// Whether nobody can tell if there is an outage: there is nobody, and what is remembered could not be read.
fn is_unsure(report: &Report, count: Option<usize>) -> bool {
    let findings = report.verdict.findings();
    let unusable = findings.iter().any(|finding| finding.reason == Reason::StateUnusable);
    report.seen.is_none() || (unusable && count.unwrap_or(0) == 0)
}

/// The instances that were there and are not any more, as far as they are remembered.
fn missing(report: &Report) -> Vec<&Instance> {
    let outage = report.memory.outage.iter();
    let absentees = report.memory.absentees.iter();
    absentees
        .map(|absentee| &absentee.instance)
        .chain(outage.flat_map(|outage| &outage.last_seen.instances))
        .collect()
}

struct Page {
    text: String,
    /// Those of every sample, as they are written between the braces.
    labels: String,
}

impl Page {
    /// HELP, TYPE and samples of a gauge; nothing if it has none.
    fn family<'a, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = ([(&'a str, &'a str); N], f64)>,
    ) {
        self.typed_family(name, "gauge", help, samples);
    }

    fn typed_family<'a, const N: usize>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        samples: impl IntoIterator<Item = ([(&'a str, &'a str); N], f64)>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_some() {
            let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        }
        for (labels, value) in samples {
            let _ = write!(self.text, "{name}{{{}", self.labels);
            for (label, text) in labels {
                let _ = write!(self.text, ",{label}=\"{}\"", escape(text));
            }
            let _ = writeln!(self.text, "}} {value}");
        }
    }

    fn gauge(&mut self, name: &str, help: &str, value: Option<f64>) {
        self.family(name, help, value.map(|value| ([], value)));
    }

    /// By endpoint. Counters: they are kept in the state, and only grow.
    fn statistics(&mut self, statistics: &Statistics) {
        let mut counter = |name: &str, help: &str, value: fn(Counters) -> f64| {
            let samples = statistics.endpoints.iter();
            let samples = samples.map(|(endpoint, counted)| ([("endpoint", endpoint.as_str())], value(counted.total)));
            self.typed_family(name, "counter", help, samples);
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

    fn instances(&mut self, answers: &[InstanceReply], missing: &[&Instance]) {
        let answers = &answers[..answers.len().min(MAX_INSTANCES)];
        let missing = &missing[..missing.len().min(MAX_INSTANCES - answers.len())];
        let up = answers.iter().map(|answer| (labels_of(&answer.instance), 1.0));
        let down = missing.iter().map(|instance| (labels_of(instance), 0.0));
        let rtts = answers
            .iter()
            .filter_map(|answer| Some((labels_of(&answer.instance), answer.rtt?.as_secs_f64())));
        self.family(
            "nats_service_instance_up",
            "Whether this instance answered.",
            up.chain(down),
        );
        self.family(
            "nats_service_instance_rtt_seconds",
            "Time until the answer of this instance.",
            rtts,
        );
    }
}

fn labels_of(instance: &Instance) -> [(&str, &str); 2] {
    [("instance_id", &instance.id), ("version", &instance.version)]
}

fn labels(service: &str, more: &[Label]) -> String {
    let mut text = format!("service=\"{}\"", escape(service));
    for Label { name, value } in more {
        let _ = write!(text, ",{name}=\"{}\"", escape(value));
    }
    text
}

/// The value of a label, as the exposition format wants it.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests;

/// stub
pub fn render_all(report: &crate::render::report::AllReport, _style: &Style) -> String {
    format!("{:?}\n", report.overview)
}
