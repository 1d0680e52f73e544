//! For people at a terminal: what the Nagios line says, and what `-vv` adds, without perfdata.

use crate::judge::verdict::Verdict;

/// The verdict, its findings, and the details of this verbosity; two levels more than the Nagios output.
pub fn render(verdict: &Verdict, verbosity: u8) -> String {
    let mut lines = Vec::new();
    let service = if verdict.service.is_empty() {
        "check_nats_service"
    } else {
        &verdict.service
    };
    lines.push(format!("{service}: {}", verdict.status().name()));
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
    use crate::render::sample_reports::{assert_snapshot, sample_reports};
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
    fn no_text_forges_a_line() {
        let finding = Finding::new(Status::Critical, Reason::ServiceDown, "down\norders: OK\r\x1b[2J");
        let verdict = Verdict::new("orders", vec![finding], vec![], vec![]);
        assert_eq!(
            render(&verdict, 0),
            "orders: CRITICAL\n  CRITICAL service_down: down?orders: OK??[2J\n"
        );
    }
}

/// stub
pub fn render_all(report: &crate::render::report::AllReport, _verbosity: u8) -> String {
    format!("{:?}\n", report.overview)
}
