//! For people at a terminal: what the Nagios line says, and what `-vv` adds, without perfdata.

use crate::judge::verdict::Verdict;
use crate::render::report::AllReport;
use crate::render::table;
use crate::values::text::shorten;

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
    use crate::judge::verdict::Finding;
    use crate::render::sample_reports::{assert_snapshot, sample_all_reports, sample_reports};
    use crate::values::status::{Reason, Status};

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
    fn no_text_forges_a_line() {
        let finding = Finding::new(Status::Critical, Reason::ServiceDown, "down\norders: OK\r\x1b[2J");
        let verdict = Verdict::new("orders", vec![finding], vec![], vec![]);
        assert_eq!(
            render(&verdict, 0),
            "orders: CRITICAL\n  CRITICAL service_down: down?orders: OK??[2J\n"
        );
    }
}
