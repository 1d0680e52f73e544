//! A page for a person: the verdict, since when, who is there, and how many there were. Without a script; all is escaped.

use std::fmt::Write;
use std::time::Duration;

use crate::judge::verdict::{Finding, Verdict};
use crate::probe::observation::{Instance, Observation, Outcome};
use crate::render::report::{AllReport, Report};
use crate::state::memory::{EpochSummary, MAX_HISTORY, Memory};
use crate::values::duration::{age, latency};
use crate::values::status::Status;
use crate::values::text::{count, shorten};
use crate::values::timestamp::Timestamp;

/// How many instances are told one by one.
const MAX_INSTANCES: usize = 200;

/// Maximum number of services in the table.
const MAX_SERVICES: usize = 2000;

/// Maximum length of what is found of a service, in the table, in characters.
const MAX_FOUND: usize = 200;

const STYLE: &str = include_str!("page.css");

/// What the page may do, for its Content-Security-Policy: nothing but its own style (that with this digest) and its icon.
pub const POLICY: &str = "style-src 'sha256-j68fQJ0UoG3d/ixO3oq45iPbfR8ZQuGEbc33ExUp4V0='; img-src data:";

/// What the last check has to tell.
pub struct Checked<'t> {
    pub status: Status,
    /// How long ago it was.
    pub age: Duration,
    /// Whether that is too long for it to say anything.
    pub is_stale: bool,
    /// Of [`checked`].
    pub text: &'t str,
}

/// The subject of a page.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'t> {
    /// The one service that is watched.
    Service(&'t str),
    /// One of the services that are watched.
    OneOfAll(&'t str),
    /// All of them.
    All,
}

/// The whole page. `None`: no check has ended yet.
pub fn page(subject: Subject<'_>, checked: Option<&Checked<'_>>, interval: Duration) -> String {
    let status = match checked {
        Some(checked) if !checked.is_stale => checked.status,
        _ => Status::Unknown,
    };
    let links = |links: &[(&str, &str)]| -> String {
        let link = |(to, text): &(&str, &str)| format!("<a href=\"{to}\">{text}</a>");
        links.iter().map(link).collect()
    };
    const JSON_AND_METRICS: [(&str, &str); 2] = [("/status", "JSON"), ("/metrics", "Metrics")];
    let (kind, heading, more): (String, String, String) = match subject {
        Subject::Service(name) => ("NATS service".into(), escape(name), links(&JSON_AND_METRICS)),
        Subject::All => ("NATS".into(), "All services".into(), links(&JSON_AND_METRICS)),
        Subject::OneOfAll(name) => {
            let metrics = format!("/probe?service={}", in_url(name));
            let more = links(&[("/", "All services"), (&metrics, "Metrics")]);
            ("<a href=\"/\">All services</a>".into(), escape(name), more)
        }
    };
    let warning = match checked {
        None => verdict(Status::Unknown, "no check has ended yet", ""),
        Some(checked) if checked.is_stale => verdict(
            Status::Unknown,
            &format!(
                "The last check is {} old. What it found may not be so any more:",
                age(checked.age)
            ),
            "",
        ),
        Some(_) => String::new(),
    };
    let text = checked.map_or("", |checked| checked.text);
    let checked_ago = checked.map_or(String::new(), |checked| {
        format!("Checked {} ago, every {}. ", age(checked.age), age(interval))
    });
    let class = match (checked.is_some_and(|checked| checked.is_stale), subject) {
        (true, Subject::All) => "stale all",
        (false, Subject::All) => "fresh all",
        (true, _) => "stale",
        (false, _) => "fresh",
    };
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"refresh\" content=\"{refresh}\">\n\
         <title>{name} - {heading}</title>\n<link rel=\"icon\" href=\"{icon}\">\n<style>{STYLE}</style>\n</head>\n\
         <body class=\"{class}\">\n<main>\n<p class=\"kind\">{kind}</p>\n<h1>{heading}</h1>\n{warning}\
         <div class=\"checked\">\n{text}</div>\n\
         <footer>\n<p>{checked_ago}{more}</p>\n\
         <p>check_nats_service {version}</p>\n</footer>\n</main>\n</body>\n</html>\n",
        refresh = interval.as_secs().clamp(5, 300),
        name = status.name(),
        icon = icon(status),
        version = env!("CARGO_PKG_VERSION"),
    )
}

/// The same part of the page of all services: the verdict over them, and a table, worst first.
pub fn checked_all(report: &AllReport, since: Timestamp) -> String {
    let server = report.common.as_deref().and_then(server);
    let mut text = findings(&report.overview, since, report.now) + &rows(server);
    let services = report.worst_first();
    let shown = services.iter().take(MAX_SERVICES);
    let shown: String = shown.map(|service| service_row(report, service)).collect();
    if !shown.is_empty() {
        text += &table(["Service", "Status", "Found", "Since", "Instances"], &shown);
        text += &more(services.len().saturating_sub(MAX_SERVICES));
    }
    text
}

fn service_row(all: &AllReport, service: &Report) -> String {
    let (name, status) = (&service.verdict.service, service.verdict.status());
    let result = service.result();
    let found = all.told(service).unwrap_or("not asked".into());
    let since = result.since().map_or(String::new(), |since| {
        format!(
            "<span title=\"{}\">{} ago</span>",
            moment(since),
            age(all.now.since(since))
        )
    });
    let normal = service.memory.baseline.as_ref().map_or(0, |baseline| baseline.count());
    let instances = match result.instances() {
        Some(number) if number < normal => format!("{number} of {normal}"),
        Some(number) => number.to_string(),
        None => "?".into(),
    };
    format!(
        "<tr class=\"{class}\"><td><a href=\"/service/{path}\">{name}</a></td><td><b>{word}</b></td><td>{found}</td>\
         <td class=\"dim\">{since}</td><td>{instances}</td></tr>\n",
        class = class(status),
        path = in_url(name),
        name = escape(name),
        word = status.name(),
        found = escape(&shorten(&found, MAX_FOUND)),
    )
}

/// The part of the page that does not change until the next check. `since`: for how long the status has been the same.
pub fn checked(report: &Report, since: Timestamp) -> String {
    findings(&report.verdict, since, report.now) + &facts(report) + &instances(report) + &history(&report.memory)
}

/// The verdict, and its findings.
fn findings(of: &Verdict, since: Timestamp, now: Timestamp) -> String {
    let findings = of.findings();
    let lead = findings.first().map_or("", |finding| finding.text.as_str());
    let (since, status) = (when(since, now), of.status());
    let mut text = verdict(status, lead, &format!("{} since {since}", status.name()));
    if let Some(rest) = findings.get(1..).filter(|rest| !rest.is_empty()) {
        text += "<ul>\n";
        rest.iter().for_each(|other| text += &finding(other));
        text += "</ul>\n";
    }
    text
}

fn verdict(status: Status, text: &str, since: &str) -> String {
    let (class, name, text) = (class(status), status.name(), escape(text));
    let since = match since {
        "" => String::new(),
        since => format!("<p class=\"dim\">{since}</p>\n"),
    };
    format!("<section class=\"verdict {class}\">\n<strong>{name}</strong>\n<p>{text}</p>\n{since}</section>\n")
}

fn finding(finding: &Finding) -> String {
    let (class, name, text) = (class(finding.status), finding.status.name(), escape(&finding.text));
    format!("<li class=\"{class}\"><b>{name}</b>{text}</li>\n")
}

/// The name of the status in the style.
fn class(status: Status) -> &'static str {
    match status {
        Status::Ok => "ok",
        Status::Warning => "warning",
        Status::Unknown => "unknown",
        Status::Critical => "critical",
    }
}

/// A dot for the tab of the browser, in a colour that is seen on light and on dark.
fn icon(status: Status) -> String {
    let colour = match status {
        Status::Ok => "2da44e",
        Status::Warning => "d29922",
        Status::Unknown => "8957e5",
        Status::Critical => "e5343d",
    };
    format!(
        "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 8 8'%3E%3Ccircle cx='4' cy='4' r='4' \
         fill='%23{colour}'/%3E%3C/svg%3E"
    )
}

/// Times that stand beside the verdict: of an outage, and of NATS itself.
fn facts(report: &Report) -> String {
    let Report { seen, memory, now, .. } = report;
    let mut facts = Vec::new();
    if let Some(outage) = &memory.outage {
        facts.push(("Outage found", when(outage.first_missed, *now)));
        let before = count(outage.last_seen.count, "instance");
        facts.push(("Last seen", format!("{}, {before}", when(outage.last_seen.at, *now))));
    }
    if let Some(unreachable) = &memory.unreachable {
        let reason = escape(unreachable.reason.name());
        facts.push((
            "NATS not asked",
            format!("since {}, {reason}", when(unreachable.since, *now)),
        ));
        if let Some(last) = memory.last_seen().filter(|_| memory.outage.is_none()) {
            facts.push(("Last seen", when(last.at, *now)));
        }
    }
    facts.extend(seen.as_deref().and_then(server));
    rows(facts)
}

/// The server that was asked.
fn server(seen: &Observation) -> Option<(&'static str, String)> {
    let server = seen.server.as_ref()?;
    let rtt = server.rtt.map_or(String::new(), |rtt| format!(", {}", latency(rtt)));
    Some(("Asked", format!("{}{rtt}", escape(&server.to_string()))))
}

fn rows(facts: impl IntoIterator<Item = (&'static str, String)>) -> String {
    let row = |(name, value): (&str, String)| format!("<p><span class=\"dim\">{name}</span> {value}</p>\n");
    facts.into_iter().map(row).collect()
}

/// Those that answered, and those that are missed.
fn instances(report: &Report) -> String {
    let answers = match report.seen.as_ref().map(|seen| &seen.outcome) {
        Some(Outcome::Answered(answers)) => answers.as_slice(),
        _ => &[],
    };
    let outage = report.memory.outage.iter();
    let gone = outage
        .flat_map(|outage| &outage.last_seen.instances)
        .map(|instance| (instance, "no answer"));
    let absent = report.memory.absentees.iter();
    let absent = absent.map(|absentee| (&absentee.instance, absentee.fate.name()));
    let there = answers.iter().map(|answer| {
        let time = answer.rtt.map_or("answered".into(), latency);
        row(&answer.instance, &time, "")
    });
    let missed = absent
        .chain(gone)
        .map(|(instance, fate)| row(instance, fate, " class=\"gone\""));
    // Those that are missed first: they are what is looked for.
    let mut rows = missed.chain(there);
    let told: String = rows.by_ref().take(MAX_INSTANCES).collect();
    if told.is_empty() {
        return String::new();
    }
    let table = table(["Id", "Version", "Metadata", "Answer"], &told);
    format!("<h2>Instances</h2>\n{table}{}", more(rows.count()))
}

fn table<const N: usize>(titles: [&str; N], rows: &str) -> String {
    let titles: String = titles.iter().map(|title| format!("<th>{title}</th>")).collect();
    format!("<table>\n<thead><tr>{titles}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n")
}

/// How many more there are than the table has.
fn more(number: usize) -> String {
    match number {
        0 => String::new(),
        more => format!("<p class=\"dim\">and {more} more</p>\n"),
    }
}

fn row(instance: &Instance, answer: &str, class: &str) -> String {
    let metadata = instance.metadata.iter().map(|(key, value)| format!("{key}={value}"));
    let metadata: Vec<String> = metadata.collect();
    format!(
        "<tr{class}><td><code>{}</code></td><td>{}</td><td class=\"dim\">{}</td><td>{}</td></tr>\n",
        escape(&instance.shown_id()),
        escape(&instance.version),
        escape(&metadata.join(", ")),
        escape(answer),
    )
}

/// The width of an epoch in the drawing, and its height.
const STEP: usize = 10;
const HEIGHT: usize = 60;

/// How many instances there were in the last epochs, as bars.
fn history(memory: &Memory) -> String {
    let (Some(first), Some(last)) = (memory.history.first(), memory.history.last()) else {
        return String::new();
    };
    let normal = memory.baseline.as_ref().map_or(0, |baseline| baseline.count());
    let most = memory
        .history
        .iter()
        .map(|brief| brief.count)
        .chain([normal, 1])
        .max()
        .unwrap_or(1);
    let height = |count: usize| count.saturating_mul(HEIGHT) / most;
    // The latest one is at the right edge.
    let left = MAX_HISTORY.saturating_sub(memory.history.len());
    let bars: String = (left..)
        .zip(&memory.history)
        .map(|(n, brief)| bar(n * STEP, brief, height(brief.count)))
        .collect();
    let baseline = match normal {
        0 => String::new(),
        normal => {
            let y = HEIGHT - height(normal);
            format!(
                "<line class=\"base\" x1=\"0\" x2=\"{width}\" y1=\"{y}\" y2=\"{y}\"/>\n",
                width = MAX_HISTORY * STEP
            )
        }
    };
    format!(
        "<h2>{epochs}</h2>\n<svg viewBox=\"0 -1 {width} {total}\" preserveAspectRatio=\"none\" role=\"img\" \
         aria-label=\"Instances in the last epochs\">\n{bars}{baseline}</svg>\n\
         <p class=\"ends\">{begin} to {end}</p>\n",
        epochs = format_args!("Instances in the last {}", count(memory.history.len(), "epoch")),
        width = MAX_HISTORY * STEP,
        total = HEIGHT + 2,
        begin = moment(first.at),
        end = moment(last.at),
    )
}

/// An epoch without instances is a bar of full height, in another colour.
fn bar(x: usize, brief: &EpochSummary, height: usize) -> String {
    let (class, height) = match brief.count {
        0 => ("none", HEIGHT),
        // One of thousands is seen, too.
        _ => ("bar", height.max(2)),
    };
    let (y, width) = (HEIGHT - height, STEP - 2);
    let title = format!("{}: {}", moment(brief.at), count(brief.count, "instance"));
    format!(
        "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"><title>{title}</title></rect>\n"
    )
}

/// To the second, for people.
fn moment(at: Timestamp) -> String {
    let text = at.to_string();
    format!("{} UTC", text.get(..19).unwrap_or(&text).replace('T', " "))
}

fn when(at: Timestamp, now: Timestamp) -> String {
    format!("{} ({} ago)", moment(at), age(now.since(at)))
}

/// A name, as it stands in a URL.
fn in_url(name: &str) -> String {
    let mut url = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => url.push(char::from(byte)),
            byte => {
                let _ = write!(url, "%{byte:02X}");
            }
        }
    }
    url
}

/// Text, as it stands in HTML and in the values of its attributes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' | '\'' => {
                let _ = write!(escaped, "&#{};", u32::from(c));
            }
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::probe::observation::InstanceReply;
    use crate::render::sample_reports::{answered, assert_snapshot, at, run, sample_all_reports, sample_reports, saw};
    use crate::values::status::Reason;

    const INTERVAL: Duration = Duration::from_secs(15);

    fn whole(report: &Report) -> String {
        let text = checked(report, at(-60));
        let checked = Checked {
            status: report.verdict.status(),
            age: Duration::from_secs(3),
            is_stale: false,
            text: &text,
        };
        page(Subject::Service(&report.verdict.service), Some(&checked), INTERVAL)
    }

    #[test]
    fn each_state_has_its_page() {
        for (state, report) in sample_reports() {
            if ["up", "degraded", "down", "nats_away"].contains(&state) {
                let page = whole(&report)
                    .replace(STYLE, "")
                    .replace(env!("CARGO_PKG_VERSION"), "0.0.0");
                assert_snapshot(&format!("{state}.html"), &page);
            }
        }
    }

    fn whole_list(report: &AllReport) -> String {
        let text = checked_all(report, at(-60));
        let checked = Checked {
            status: report.overview.status(),
            age: Duration::from_secs(3),
            is_stale: false,
            text: &text,
        };
        page(Subject::All, Some(&checked), INTERVAL)
    }

    #[test]
    fn all_services_have_a_page() {
        for (state, report) in sample_all_reports() {
            if ["some_down", "all_nats_away", "no_service"].contains(&state) {
                let page = whole_list(&report)
                    .replace(STYLE, "")
                    .replace(env!("CARGO_PKG_VERSION"), "0.0.0");
                assert_snapshot(&format!("{state}.html"), &page);
            }
        }
    }

    #[test]
    fn page_of_one_of_many_leads_back_to_all() {
        let page = page(Subject::OneOfAll("orders"), None, INTERVAL);
        for part in [
            "<p class=\"kind\"><a href=\"/\">All services</a></p>\n<h1>orders</h1>",
            "<a href=\"/probe?service=orders\">Metrics</a>",
        ] {
            assert!(page.contains(part), "{page}");
        }
    }

    #[test]
    fn thousand_services_are_a_page_with_a_link_to_each() {
        let (_, mut report) = sample_all_reports().remove(2);
        let one = report.reports[0].clone();
        let service = |n: usize| {
            let mut service = one.clone();
            service.verdict.service = format!("service-{n}");
            service
        };
        report.reports = Arc::new((0..1000).map(service).collect());
        let page = whole_list(&report);
        assert_eq!(page.matches("<a href=\"/service/service-").count(), 1000);
        assert!(page.len() < 512 * 1024, "{}", page.len());
        report.reports = Arc::new((0..2001).map(service).collect());
        assert!(whole_list(&report).contains("<p class=\"dim\">and 1 more</p>"));
    }

    /// What is opened is closed, and nothing is there that a policy would have to allow.
    #[test]
    fn every_page_is_well_formed() {
        let pages = sample_reports()
            .into_iter()
            .map(|(state, report)| (state, whole(&report)));
        let lists = sample_all_reports()
            .into_iter()
            .map(|(state, report)| (state, whole_list(&report)));
        for (state, page) in pages.chain(lists) {
            let mut open = Vec::new();
            for tag in page.split('<').skip(1) {
                let name = tag.split([' ', '>', '\n']).next().unwrap_or_default();
                match name.strip_prefix('/') {
                    Some(name) => assert_eq!(open.pop(), Some(name), "{state}: {page}"),
                    None if ["!doctype", "meta", "link", "line"].contains(&name) => {}
                    None => open.push(name),
                }
            }
            assert!(open.is_empty(), "{state}: {open:?}");
            let lower = page.replace(STYLE, "").to_lowercase();
            for word in ["<script", "javascript:", " style=", " on", "src="] {
                let found = lower
                    .find(word)
                    .filter(|_| word != " on" || lower.contains(" onclick="));
                assert_eq!(found, None, "{state}: {word}: {page}");
            }
        }
    }

    #[test]
    fn a_hostile_text_stays_a_text() {
        let evil = "</p><script>alert('1')</script>\"&";
        let mut seen = saw(0, answered(0..1));
        if let Outcome::Answered(answers) = &mut seen.outcome {
            let InstanceReply { instance, .. } = &mut answers[0];
            (instance.id, instance.version) = (evil.into(), evil.into());
            instance.metadata = vec![(evil.into(), evil.into())];
        }
        let mut report = run(&mut Memory::default(), seen);
        report.verdict = Verdict::new(evil, vec![], vec![], vec![]);
        report
            .verdict
            .add(Finding::new(Status::Critical, Reason::ServiceDown, evil));
        report.verdict.add(Finding::new(Status::Ok, Reason::ServiceUp, evil));
        if let Some(server) = report
            .seen
            .as_mut()
            .and_then(|seen| Arc::make_mut(seen).server.as_mut())
        {
            server.name = evil.into();
        }
        let page = whole(&report);
        assert!(!page.contains("<script") && !page.contains("alert('"), "{page}");
        assert!(page.matches("&lt;script&gt;alert(&#39;1&#39;)").count() >= 7, "{page}");
    }

    #[test]
    fn hostile_name_stays_a_name() {
        let evil = "\"><script>alert('1')</script>?/../&";
        let (_, mut report) = sample_all_reports().remove(0);
        Arc::make_mut(&mut report.reports)[0].verdict.service = evil.into();
        let page = whole_list(&report);
        assert!(!page.contains("<script"), "{page}");
        let link = "<a href=\"/service/%22%3E%3Cscript%3Ealert%28%271%27%29%3C%2Fscript%3E%3F%2F%2E%2E%2F%26\">\
                    &#34;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;?/../&amp;</a>";
        assert!(page.contains(link), "{page}");
    }

    #[test]
    fn ten_thousand_instances_are_a_short_page() {
        let memory = &mut Memory::default();
        let page = whole(&run(memory, saw(0, answered(0..10_000))));
        assert!(page.contains("<p class=\"dim\">and 9800 more</p>"));
        assert_eq!(page.matches("<code>").count(), MAX_INSTANCES);
        let page = whole(&run(memory, saw(60, answered(0..1))));
        assert!(page.len() < 100_000, "{}", page.len());
        assert!(page.contains("height=\"2\""), "one of ten thousand is seen: {page}");
    }

    #[test]
    fn the_history_ends_at_the_right_edge() {
        let memory = &mut Memory::default();
        assert!(!history(memory).contains("svg"));
        for n in 0..MAX_HISTORY as i64 + 5 {
            run(memory, saw(n, answered(0..3)));
            let drawn = history(memory);
            assert!(
                drawn.contains(&format!("x=\"{}\"", (MAX_HISTORY - 1) * STEP)),
                "{n}: {drawn}"
            );
            assert_eq!(drawn.matches("<rect").count(), memory.history.len());
        }
        assert_eq!(memory.history.len(), MAX_HISTORY);
        assert!(history(memory).contains(" x=\"0\" "));
    }

    #[test]
    fn a_page_before_the_first_check() {
        let page = page(Subject::Service("orders"), None, Duration::from_millis(10));
        assert!(
            page.contains("<title>UNKNOWN - orders</title>") && page.contains("no check has ended yet"),
            "{page}"
        );
        assert!(page.contains("content=\"5\""), "{page}");
    }
}
