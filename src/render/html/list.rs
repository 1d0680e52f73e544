//! The part of the page of all services that does not change until the next check.

use super::markup::{ago, class, facts, in_url, more, table, when, words};
use super::service::{Condition, server};
use super::verdict::findings;
use crate::judge::verdict::Verdict;
use crate::render::report::{AllReport, Report};
use crate::values::dated;
use crate::values::status::Status;
use crate::values::text::count;
use crate::values::timestamp::Timestamp;

/// Maximum number of services in the table.
const MAX_SERVICES: usize = 2000;

/// Maximum length of what is found of a service, in characters.
const MAX_FOUND: usize = 200;

/// The verdict over all services, and a table of them, worst first. `since`: since when a verdict has had its status.
pub fn checked_all(report: &AllReport, since: impl Fn(&Verdict) -> Timestamp) -> String {
    let services = report.worst_first();
    // The table has the times.
    let since_of_all = match services.iter().any(|service| Condition::of(service).is_some()) {
        true => String::new(),
        false => {
            let overview = &report.overview;
            format!(
                "{} since {}",
                overview.status().name(),
                when(since(overview), report.now)
            )
        }
    };
    let server: Vec<_> = report.common.as_deref().and_then(server).into_iter().collect();
    let mut text = findings(&report.overview, &since_of_all) + &facts(&server);
    let shown = services.iter().take(MAX_SERVICES);
    let shown: String = shown.map(|service| row(report, service, &since)).collect();
    if !shown.is_empty() {
        text += "<h2>Services</h2>\n";
        text += &table("services", ["Service", "Status", "Instances", "Found", "Since"], &shown);
        text += &more(services.len().saturating_sub(MAX_SERVICES));
    }
    text
}

/// Returns the cell for a service that could not be asked.
fn not_asked(service: &Report) -> String {
    service.memory.last_seen().map_or("not asked".into(), |epoch| {
        let instances = count(epoch.count, "instance");
        format!("not asked, had {instances} {} ago", dated::age(epoch.at, service.now))
    })
}

fn row(all: &AllReport, service: &Report, since: impl Fn(&Verdict) -> Timestamp) -> String {
    let (name, status) = (&service.verdict.service, service.verdict.status());
    let found = all.told_dated(service).unwrap_or_else(|| not_asked(service));
    let condition = Condition::of(service).map(|condition| condition.since());
    let since = condition.or_else(|| (status != Status::Ok).then(|| since(&service.verdict)));
    let normal = service.memory.baseline.as_ref().map_or(0, |baseline| baseline.count());
    let instances = match service.result().instances() {
        Some(number) if number < normal => format!("{number} of {normal}"),
        Some(number) => number.to_string(),
        None => "?".into(),
    };
    format!(
        "<tr class=\"{class}\"><th scope=\"row\"><a href=\"/service/{path}\">{name}</a></th><td><b>{word}</b></td>\
         <td>{instances}</td><td>{found}</td><td>{since}</td></tr>\n",
        class = class(status),
        path = in_url(name),
        name = words(name),
        word = status.name(),
        found = words(&dated::shorten(&found, MAX_FOUND)),
        since = since.map_or(String::new(), |since| ago(since, all.now)),
    )
}
