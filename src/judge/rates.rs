//! How often the endpoints fail and how long they take, since the epochs before (`--stats`, `--error-rate-…`, `--latency-…`).

use std::time::Duration;

use super::policy::RateLimits;
use super::rule::{RuleInput, RuleOutput, crossed};
use super::verdict::{Finding, Metric, Unit};
use crate::probe::observation::Outcome;
use crate::probe::stats::{Counters, SeenStats};
use crate::state::statistics::{RequestCounts, Statistics, Window};
use crate::values::duration::{age, latency};
use crate::values::range::Range;
use crate::values::status::{Reason, Status};
use crate::values::text::count;

/// For how long a window is judged that no newer one has followed, for want of requests.
const STALE: Duration = Duration::from_secs(900);

pub fn judge(input: &RuleInput<'_>, output: &mut RuleOutput) {
    let limits = &input.policy.rates;
    if !limits.wanted {
        return;
    }
    if let (Outcome::Answered(answers), Some(seen)) = (&input.observation.outcome, &input.observation.stats) {
        let before = input.memory.statistics.as_ref();
        let next = Statistics::after(before, input.observation.at, &seen.instances, limits.min_requests);
        output.next.statistics = Some(next);
        let silent = answers
            .iter()
            .filter(|answer| !seen.instances.contains_key(&answer.instance.id));
        let without = silent.count();
        if !seen.denied.is_empty() {
            output.add_finding(Finding::new(
                Status::Unknown,
                Reason::PermissionDenied,
                format!("no statistics: {}", seen.denied),
            ));
        } else if without > 0 {
            no_statistics(output, limits, without, answers.len());
        }
    }
    let statistics = output.next.statistics.clone();
    metrics(input, output, statistics.as_ref());
    let (Some(statistics), Outcome::Answered(_)) = (statistics, &input.observation.outcome) else {
        return;
    };
    let rates = current(input, &statistics);
    let seen = input.observation.stats.as_ref();
    output.findings.extend(failing(limits, &rates, seen));
    output.findings.extend(slow(limits, &rates));
    if rates.is_empty() {
        output.add_detail(
            1,
            "no rates yet: they are made of the requests between two runs".to_owned(),
        );
    }
    let apart = seen.map_or(0, |seen| {
        seen.instances.values().filter(|stats| stats.errors_apart).count()
    });
    if apart > 0 {
        let text = format!(
            "errors are counted apart from requests by {}: both together are taken as requests",
            count(apart, "instance")
        );
        output.add_detail(1, text);
    }
    for rate in &rates {
        output.add_detail(1, format!("{}: {}", rate.name(), rate.in_words()));
    }
}

/// Some instances have sent no statistics; if it is none of them, nothing can be judged.
fn no_statistics(output: &mut RuleOutput, limits: &RateLimits, without: usize, instances: usize) {
    if without < instances {
        output.add_detail(
            1,
            format!("{without} of {} sent no statistics", count(instances, "instance")),
        );
    } else if limits.are_none() {
        output.add_detail(1, "no instance sent statistics".to_owned());
    } else {
        let reason = match (limits.error_warning, limits.error_critical) {
            (None, None) => Reason::Latency,
            _ => Reason::ErrorRate,
        };
        let text = "cannot be told: no instance answers $SRV.STATS";
        output.add_finding(Finding::new(Status::Unknown, reason, text));
    }
}

/// What was counted of an endpoint, or of all of them together, in a window that is to be judged.
struct Rate<'a> {
    /// `None`: all endpoints.
    endpoint: Option<&'a str>,
    window: Window,
    /// From the beginning of the window to now, where it is not of this run.
    ended: Option<Duration>,
}

/// The windows that can be judged: all endpoints first, then each.
fn current<'a>(input: &RuleInput<'_>, statistics: &'a Statistics) -> Vec<Rate<'a>> {
    let rate = |endpoint, counted: &RequestCounts| {
        let window = counted.closed?;
        let old = input.observation.at.since(window.until);
        (old < STALE).then_some(Rate {
            endpoint,
            window,
            ended: (old > Duration::ZERO).then_some(old),
        })
    };
    let each = statistics
        .endpoints
        .iter()
        .filter_map(|(name, counted)| rate(Some(name.as_str()), counted));
    rate(None, &statistics.all).into_iter().chain(each).collect()
}

impl Rate<'_> {
    fn counted(&self) -> Counters {
        self.window.counted
    }

    /// In percent. No more than all requests can fail, whatever a service says.
    fn errors(&self) -> f64 {
        error_rate(self.counted())
    }

    fn mean(&self) -> Duration {
        mean(self.counted())
    }

    fn name(&self) -> String {
        match self.endpoint {
            Some(name) => format!("endpoint {name}"),
            None => "all endpoints".to_owned(),
        }
    }

    /// `301 requests in 62s`
    fn requests(&self) -> String {
        let requests = usize::try_from(self.counted().requests).unwrap_or(usize::MAX);
        let span = age(self.window.until.since(self.window.since));
        let ended = self.ended.map(|ended| format!(" until {} ago", age(ended)));
        format!("{} in {span}{}", count(requests, "request"), ended.unwrap_or_default())
    }

    fn in_words(&self) -> String {
        format!(
            "{}, {:.1}% errors, mean processing time {}",
            self.requests(),
            self.errors(),
            latency(self.mean())
        )
    }
}

fn error_rate(counted: Counters) -> f64 {
    match counted.requests {
        0 => 0.0,
        requests => (counted.errors as f64 / requests as f64 * 100.0).min(100.0),
    }
}

fn mean(counted: Counters) -> Duration {
    Duration::from_nanos(counted.processing / counted.requests.max(1))
}

/// The rate with the largest of these values; among equals the first, which is that of all endpoints.
fn worst<'r, 'a, V: PartialOrd>(rates: &'r [Rate<'a>], value: impl Fn(&Rate<'a>) -> V) -> Option<&'r Rate<'a>> {
    rates
        .iter()
        .reduce(|worst, rate| if value(rate) > value(worst) { rate } else { worst })
}

fn failing(limits: &RateLimits, rates: &[Rate<'_>], seen: Option<&SeenStats>) -> Option<Finding> {
    let rate = worst(rates, Rate::errors)?;
    let (status, word, limit) = crossed(limits.error_critical, limits.error_warning, |limit| {
        rate.errors() > *limit
    })?;
    let last_error = seen.and_then(|seen| {
        let of_instances = seen.instances.values();
        of_instances
            .flat_map(|stats| &stats.last_errors)
            .find_map(|(name, error)| {
                let is_its = rate.endpoint.is_none_or(|endpoint| endpoint == name);
                is_its.then(|| format!(", last error: {error}"))
            })
    });
    let apart = seen.is_some_and(|seen| seen.instances.values().any(|stats| stats.errors_apart));
    let hint = match last_error {
        Some(last_error) => last_error,
        None if rate.errors() >= 100.0 && !apart => {
            " (no last error is told: the client library may count each success as an error)".to_owned()
        }
        None => String::new(),
    };
    let text = format!(
        "{:.1}% errors of {} to {}, {} above {limit}%{hint}",
        rate.errors(),
        rate.requests(),
        rate.name(),
        word,
    );
    Some(Finding::new(status, Reason::ErrorRate, text))
}

fn slow(limits: &RateLimits, rates: &[Rate<'_>]) -> Option<Finding> {
    let rate = worst(rates, Rate::mean)?;
    let (status, word, limit) = crossed(limits.latency_critical, limits.latency_warning, |limit| {
        rate.mean() > *limit
    })?;
    let text = format!(
        "mean processing time {} of {} to {}, {} above {}",
        latency(rate.mean()),
        rate.requests(),
        rate.name(),
        word,
        latency(limit),
    );
    Some(Finding::new(status, Reason::Latency, text))
}

/// Of all endpoints together: the rates of the window that is judged, and the totals.
fn metrics(input: &RuleInput<'_>, output: &mut RuleOutput, statistics: Option<&Statistics>) {
    let limits = &input.policy.rates;
    let window = statistics.and_then(|statistics| Some(current(input, statistics).first()?.counted()));
    let window = window.filter(|_| matches!(input.observation.outcome, Outcome::Answered(_)));
    let total = statistics.map(|statistics| statistics.all.total);
    let seconds = |limit: Option<Duration>| limit.map(|limit| Range::at_most(limit.as_secs_f64()));
    let counter = |name, value: Option<u64>| Metric {
        name,
        value: value.map(|value| value as f64),
        unit: Unit::Counter,
        warning: None,
        critical: None,
    };
    output.metrics.extend([
        Metric {
            name: "error_rate",
            value: window.map(error_rate),
            unit: Unit::Percent,
            warning: limits.error_warning.map(Range::at_most),
            critical: limits.error_critical.map(Range::at_most),
        },
        Metric {
            warning: seconds(limits.latency_warning),
            critical: seconds(limits.latency_critical),
            ..Metric::seconds("latency", window.map(mean))
        },
        counter("requests", total.map(|total| total.requests)),
        counter("errors", total.map(|total| total.errors)),
    ]);
}

#[cfg(test)]
mod tests;
