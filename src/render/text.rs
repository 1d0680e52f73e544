//! For people at a terminal: what the Nagios line says, and what `-vv` adds, without perfdata.

use crate::verdict::Verdict;

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
