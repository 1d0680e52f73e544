//! For people at a terminal: what the Nagios line says, and what `-vv` adds, without perfdata. And lines for a log.

use crate::judge::verdict::{Finding, Verdict};
use crate::render::report::{AllReport, Report};
use crate::render::table;
use crate::values::status::Reason;
use crate::values::text::shorten;

/// Maximum number of services with lines in a log.
const MAX_LOGGED: usize = 100;

/// Maximum length of what the table says of a service, in characters, without `-v`.
const MAX_WHAT: usize = 100;

/// The verdict, its findings, and the details of this verbosity; two levels more than the Nagios output.
pub fn render(verdict: &Verdict, verbosity: u8) -> String {
    let service = if verdict.service.is_empty() {
        "check_nats_service"
    } else {
        &verdict.service
    };
    text(service, verdict, verbosity)
}

/// The verdict over all services, and a table of them, worst first.
pub fn render_all(report: &AllReport, verbosity: u8) -> String {
    let head = text("all services", &report.overview, verbosity);
    let rows = report.worst_first().into_iter().map(|service| {
        let instances = service.result().instances();
        let what = report.told(service).unwrap_or("not asked".into());
        let max = if verbosity > 0 { usize::MAX } else { MAX_WHAT };
        [
            service.verdict.service.clone(),
            service.verdict.status().name().to_owned(),
            instances.map_or("-".into(), |number| number.to_string()),
            shorten(&what, max),
        ]
    });
    let titles = ["SERVICE", "STATUS", "INSTANCES", "WHAT"].map(str::to_owned);
    let rows: Vec<[String; 4]> = std::iter::once(titles).chain(rows).collect();
    match rows.len() {
        1 => head,
        _ => format!("{head}\n{}", table::render(&rows)),
    }
}

/// A line for each finding but `service_up`, for a log: `orders CRITICAL service_down: down, no responders`.
pub fn lines(verdict: &Verdict) -> String {
    lines_of(&verdict.service, verdict)
}

/// The same of the verdict over all services, and of those that have more to say than it, worst first.
pub fn lines_of_all(report: &AllReport) -> String {
    let own = |service: &Report| {
        report
            .told(service)
            .map(|_| lines(&service.verdict))
            .unwrap_or_default()
    };
    let of_services = report
        .worst_first()
        .into_iter()
        .map(own)
        .filter(|lines| !lines.is_empty());
    lines_of("all services", &report.overview) + &of_services.take(MAX_LOGGED).collect::<String>()
}

fn lines_of(name: &str, verdict: &Verdict) -> String {
    let name = if name.is_empty() { "check_nats_service" } else { name };
    let worth_a_line = verdict
        .findings()
        .iter()
        .filter(|finding| finding.reason != Reason::ServiceUp);
    let lines = worth_a_line.map(
        |Finding {
             status, reason, text, ..
         }| {
            let line = format!("{name} {} {}: {text}", status.name(), reason.name());
            line.replace(|c: char| c.is_control(), "?") + "\n"
        },
    );
    lines.collect()
}

fn text(name: &str, verdict: &Verdict, verbosity: u8) -> String {
    let mut lines = vec![format!("{name}: {}", verdict.status().name())];
    for finding in verdict.findings() {
        lines.push(format!(
            "  {} {}: {}",
            finding.status.name(),
            finding.reason.name(),
            finding.text
        ));
    }
    let shown = verdict
        .details
        .iter()
        .filter(|detail| detail.verbosity <= verbosity.saturating_add(2));
    lines.extend(shown.map(|detail| format!("  {}", detail.text)));
    let clean = |line: String| line.replace(|c: char| c.is_control(), "?");
    lines.into_iter().map(clean).collect::<Vec<_>>().join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::sample_reports::{assert_snapshot, sample_all_reports, sample_reports};
    use crate::values::status::Status;

    #[test]
    fn each_state_has_its_text() {
        let mut texts = String::new();
        for (state, report) in sample_reports() {
            texts += &format!("--- {state}\n{}", render(&report.verdict, 0));
        }
        assert_snapshot("story.txt", &texts);
    }

    #[test]
    fn all_services_have_their_table() {
        let mut texts = String::new();
        for (state, report) in sample_all_reports() {
            texts += &format!("--- {state}\n{}", render_all(&report, 0));
        }
        assert_snapshot("all.txt", &texts);
    }

    #[test]
    fn a_log_has_a_line_for_each_finding_but_that_the_service_is_up() {
        let mut texts = String::new();
        for (state, report) in sample_reports() {
            texts += &format!("--- {state}\n{}", lines(&report.verdict));
        }
        for (state, report) in sample_all_reports() {
            texts += &format!("--- {state}\n{}", lines_of_all(&report));
        }
        assert_snapshot("journal.txt", &texts);
    }

    #[test]
    fn no_text_forges_a_line() {
        let finding = Finding::new(Status::Critical, Reason::ServiceDown, "down\norders: OK\r\x1b[2J");
        let verdict = Verdict::new("orders", vec![finding], vec![], vec![]);
        assert_eq!(
            render(&verdict, 0),
            "orders: CRITICAL\n  CRITICAL service_down: down?orders: OK??[2J\n"
        );
        assert_eq!(lines(&verdict), "orders CRITICAL service_down: down?orders: OK??[2J\n");
    }
}
