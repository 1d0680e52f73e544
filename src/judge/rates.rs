//! The rule for the error rate and the processing time of endpoints, since the checks before (`--stats`, `--error-rate-…`,
//! `--latency-…`).

use std::time::Duration;

use super::policy::RateLimits;
use super::rule::{RuleInput, RuleOutput, crossed};
use super::verdict::{Finding, Metric, Unit};
use crate::probe::observation::{InstanceReply, Outcome};
use crate::probe::stats::SeenStats;
use crate::state::statistics::{RateWindow, RequestCounts, Statistics};
use crate::values::dated;
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
    let statistics = input.next.statistics.as_ref();
    let Outcome::Answered(replies) = &input.observation.outcome else {
        metrics(limits, output, statistics, None);
        return;
    };
    let seen = input.observation.stats.as_ref();
    if let Some(seen) = seen {
        no_statistics(limits, output, seen, replies);
    }
    let rates = statistics.map(|statistics| current(input, statistics));
    metrics(
        limits,
        output,
        statistics,
        rates.as_ref().and_then(|rates| rates.first()),
    );
    let Some(rates) = rates else {
        return;
    };
    let apart = seen.map_or(0, |seen| {
        seen.instances.values().filter(|stats| stats.errors_apart).count()
    });
    output.add_findings(failing(limits, &rates, seen, apart > 0));
    output.add_findings(slow(limits, &rates));
    if rates.is_empty() {
        output.add_detail(1, "no rates yet: they need the counters of two checks");
    }
    if apart > 0 {
        let text = format!(
            "errors are not among the requests of {}: each error counts as one more request",
            count(apart, "instance")
        );
        output.add_detail(1, text);
    }
    for rate in &rates {
        output.add_detail(1, format!("{}: {}", rate.name(), rate.in_words()));
    }
}

/// Reports instances that sent no statistics; if none did, nothing can be judged.
fn no_statistics(limits: &RateLimits, output: &mut RuleOutput, seen: &SeenStats, replies: &[InstanceReply]) {
    let without = replies
        .iter()
        .filter(|reply| !seen.instances.contains_key(&reply.instance.id));
    let without = without.count();
    if !seen.denied.is_empty() {
        let text = format!("no statistics: {}", seen.denied);
        output.add_finding(Status::Unknown, Reason::PermissionDenied, text);
    } else if without == 0 {
    } else if without < replies.len() {
        let all = count(replies.len(), "instance");
        output.add_detail(1, format!("{without} of {all} sent no statistics"));
    } else if limits.are_none() {
        output.add_detail(1, "no instance sent statistics");
    } else {
        let reason = match (limits.error_warning, limits.error_critical) {
            (None, None) => Reason::Latency,
            _ => Reason::ErrorRate,
        };
        let text = "no statistics: no instance answers $SRV.STATS";
        output.add_finding(Status::Unknown, reason, text);
    }
}

/// Counts of an endpoint, or of all of them together, in a window that is judged.
struct Rate<'a> {
    /// `None`: all endpoints.
    endpoint: Option<&'a str>,
    window: RateWindow,
    /// Age of the window's end, where it is not of this run.
    ended: Option<String>,
}

/// The windows that can be judged: all endpoints first, then each.
fn current<'a>(input: &RuleInput<'_>, statistics: &'a Statistics) -> Vec<Rate<'a>> {
    let rate = |endpoint, counted: &RequestCounts| {
        let window = counted.closed?;
        let old = input.observation.at.since(window.until);
        (old < STALE).then_some(Rate {
            endpoint,
            window,
            ended: (old > Duration::ZERO).then(|| dated::age(window.until, input.observation.at)),
        })
    };
    let each = statistics
        .endpoints
        .iter()
        .filter_map(|(name, counted)| rate(Some(name.as_str()), counted));
    rate(None, &statistics.all).into_iter().chain(each).collect()
}

impl Rate<'_> {
    /// In percent. No more than all requests can fail, whatever a service says.
    fn errors(&self) -> f64 {
        match self.window.counted.requests {
            0 => 0.0,
            requests => (self.window.counted.errors as f64 / requests as f64 * 100.0).min(100.0),
        }
    }

    fn mean(&self) -> Duration {
        Duration::from_nanos(self.window.counted.processing / self.window.counted.requests.max(1))
    }

    fn name(&self) -> String {
        match self.endpoint {
            Some(name) => format!("endpoint {name}"),
            None => "all endpoints".to_owned(),
        }
    }

    /// `301 requests in 62s`
    fn requests(&self) -> String {
        let requests = usize::try_from(self.window.counted.requests).unwrap_or(usize::MAX);
        let span = age(self.window.until.since(self.window.since));
        let ended = self.ended.as_ref().map(|age| format!(" until {age} ago"));
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

/// The rate with the largest of these values; among equals the first, which is that of all endpoints.
fn worst<'r, 'a, V: PartialOrd>(rates: &'r [Rate<'a>], value: impl Fn(&Rate<'a>) -> V) -> Option<&'r Rate<'a>> {
    rates
        .iter()
        .reduce(|worst, rate| if value(rate) > value(worst) { rate } else { worst })
}

/// The finding on the worst error rate. `apart`: some instances count errors apart from requests.
fn failing(limits: &RateLimits, rates: &[Rate<'_>], seen: Option<&SeenStats>, apart: bool) -> Option<Finding> {
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
    // One error for each request, and none is told.
    let all_fail = match apart {
        true => rate.window.counted.errors.saturating_mul(2) == rate.window.counted.requests,
        false => rate.errors() >= 100.0,
    };
    let hint = match last_error {
        Some(last_error) => last_error,
        None if all_fail => {
            " (no last error is reported: the client library may count each success as an error)".to_owned()
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
fn metrics(limits: &RateLimits, output: &mut RuleOutput, statistics: Option<&Statistics>, rate: Option<&Rate<'_>>) {
    let error_rate = Metric::new("error_rate", Unit::Percent, rate.map(Rate::errors));
    let latency = Metric::seconds("latency", rate.map(Rate::mean));
    output.add_metric(error_rate.with_limits(limits.error_warning, limits.error_critical, Range::at_most));
    output.add_metric(latency.with_limits(limits.latency_warning, limits.latency_critical, Range::up_to));
    let total = statistics.map(|statistics| statistics.all.total);
    let requests = total.map(|total| total.requests as f64);
    output.add_metric(Metric::new("requests", Unit::Counter, requests));
    output.add_metric(Metric::new(
        "errors",
        Unit::Counter,
        total.map(|total| total.errors as f64),
    ));
}

#[cfg(test)]
mod tests;
