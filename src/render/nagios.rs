//! The output of a Nagios plugin, as the Monitoring Plugins guidelines define it: one line with all perfdata on it, and
//! longer text below.

use crate::judge::verdict::{Metric, Unit, Verdict};

/// The word before the status, in every line.
const NAME: &str = "NATS_SERVICE";

/// What is left of the text of the first line, in characters: NRPE 2 reads 1024 bytes, and the perfdata come behind it.
const FIRST_LINE: usize = 600;

/// What Nagios reads of an output, in bytes.
const ALL: usize = 8192;

/// `NATS_SERVICE STATUS - service: text, text | perfdata`, and the details of this verbosity below it.
pub fn render(verdict: &Verdict, verbosity: u8) -> String {
    let mut text = format!("{NAME} {} - ", verdict.status().name());
    if !verdict.service.is_empty() {
        text.push_str(&verdict.service);
        text.push_str(": ");
    }
    let texts: Vec<&str> = verdict.told().collect();
    text.push_str(&texts.join(", "));
    // Nagios separates the fields of its log by semicolons, and writes ':' for one in the output of a plugin.
    let mut output = cut(&one_line(&text).replace(';', ","), FIRST_LINE);
    let perfdata: Vec<String> = verdict.metrics.iter().map(perfdata).collect();
    if !perfdata.is_empty() {
        output.push_str(" | ");
        output.push_str(&perfdata.join(" "));
    }
    output.push('\n');
    if verbosity > 0 {
        for finding in verdict.findings() {
            let (status, reason) = (finding.status.name(), finding.reason.name());
            append(&mut output, &format!("{status} {reason}: {}", finding.text));
        }
    }
    for detail in verdict.details.iter().filter(|detail| detail.verbosity <= verbosity) {
        append(&mut output, &detail.text);
    }
    output
}

fn perfdata(metric: &Metric) -> String {
    let Some(value) = metric.value else {
        return format!("{}=U", metric.name);
    };
    let (number, unit) = match metric.unit {
        Unit::Count => (format!("{value}"), ""),
        Unit::Seconds => (format!("{value:.6}"), "s"),
        Unit::Percent => (format!("{value:.2}"), "%"),
        Unit::Counter => (format!("{value}"), "c"),
    };
    let range = |range: Option<crate::values::range::Range>| range.map(|range| range.to_string()).unwrap_or_default();
    let most = if metric.unit == Unit::Percent { "100" } else { "" };
    format!(
        "{}={number}{unit};{};{};0;{most}",
        metric.name,
        range(metric.warning),
        range(metric.critical)
    )
}

/// Texts are clean where they come from; this is the last line of defence for the format itself.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c == '|' || c.is_control() { '?' } else { c })
        .collect()
}

fn append(output: &mut String, line: &str) {
    let line = one_line(line);
    if output.len() + line.len() + 1 < ALL {
        output.push_str(&line);
        output.push('\n');
    }
}

fn cut(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::verdict::{Detail, Finding};
    use crate::render::sample_reports::sample_reports;
    use crate::values::range::Range;
    use crate::values::status::{Reason, Status};

    fn metric(name: &'static str, value: Option<f64>, unit: Unit) -> Metric {
        Metric::new(name, unit, value)
    }

    #[test]
    fn the_line_is_as_the_guidelines_want_it() {
        let verdict = Verdict::new(
            "orders",
            vec![Finding::new(
                Status::Ok,
                Reason::ServiceUp,
                "3 instances, slowest answer 1.2ms",
            )],
            vec![
                Metric {
                    warning: Range::parse("3:").ok(),
                    critical: Range::parse("1:").ok(),
                    ..metric("instances", Some(3.0), Unit::Count)
                },
                metric("rtt_max", Some(0.001_204), Unit::Seconds),
                metric("nats_rtt", None, Unit::Seconds),
            ],
            vec![
                Detail {
                    verbosity: 1,
                    text: "more".into(),
                },
                Detail {
                    verbosity: 2,
                    text: "most".into(),
                },
            ],
        );
        let line = "NATS_SERVICE OK - orders: 3 instances, slowest answer 1.2ms \
                    | instances=3;3:;1:;0; rtt_max=0.001204s;;;0; nats_rtt=U\n";
        assert_eq!(render(&verdict, 0), line);
        let found = "OK service_up: 3 instances, slowest answer 1.2ms\n";
        assert_eq!(render(&verdict, 1), format!("{line}{found}more\n"));
        assert_eq!(render(&verdict, 3), format!("{line}{found}more\nmost\n"));
    }

    #[test]
    fn the_worst_leads_and_nothing_is_told_twice() {
        let up = Finding::new(Status::Ok, Reason::ServiceUp, "2 instances, slowest answer 1.2ms");
        let few = Finding::new(
            Status::Warning,
            Reason::InstancesOutOfRange,
            "2 instances, fewer than 3 (range 3:)",
        );
        let state = Finding::new(Status::Unknown, Reason::StateUnusable, "disk full");
        let cases = [
            (
                vec![up.clone(), few.clone()],
                "WARNING - x: 2 instances, fewer than 3 (range 3:)\n",
            ),
            (
                vec![up.clone(), state.clone()],
                "UNKNOWN - x: disk full, 2 instances, slowest answer 1.2ms\n",
            ),
            (
                vec![few, state, up],
                "UNKNOWN - x: disk full, 2 instances, fewer than 3 (range 3:)\n",
            ),
            (vec![], "UNKNOWN - x: \n"),
        ];
        for (findings, line) in cases {
            assert_eq!(
                render(&Verdict::new("x", findings, vec![], vec![]), 0),
                format!("NATS_SERVICE {line}")
            );
        }
        let usage = Verdict::new(
            "",
            vec![Finding::new(Status::Unknown, Reason::Usage, "no name")],
            vec![],
            vec![],
        );
        assert_eq!(render(&usage, 0), "NATS_SERVICE UNKNOWN - no name\n");
    }

    #[test]
    fn first_line_has_no_semicolon_before_the_perfdata() {
        for (state, report) in sample_reports() {
            let output = render(&report.verdict, 0);
            let text = output.split(" | ").next().expect("a text");
            assert!(!text.contains(';'), "{state}: {text}");
            let texts = report.verdict.findings().iter().filter(|f| f.text.contains(';'));
            assert_eq!(texts.count(), 0, "{state}");
        }
        let quoted = Finding::new(Status::Critical, Reason::ErrorRate, "last error: a; b;c");
        let verdict = Verdict::new("x", vec![quoted], vec![metric("instances", None, Unit::Count)], vec![]);
        let line = "NATS_SERVICE CRITICAL - x: last error: a, b,c | instances=U\n";
        assert_eq!(render(&verdict, 0), line);
    }

    #[test]
    fn nothing_breaks_out_of_the_line_or_grows_without_end() {
        let evil = format!("a|b=1\nNATS_SERVICE OK{}", "x".repeat(5000));
        let details = (0..1000).map(|n| Detail {
            verbosity: 2,
            text: format!("{n} {}", "y".repeat(100)),
        });
        let findings = vec![Finding::new(Status::Critical, Reason::ServiceDown, evil)];
        let verdict = Verdict::new(
            "x",
            findings,
            vec![metric("instances", Some(0.0), Unit::Count)],
            details.collect(),
        );
        let output = render(&verdict, 2);
        let first = output.lines().next().expect("a line");
        assert!(
            first.starts_with("NATS_SERVICE CRITICAL - x: a?b=1?NATS_SERVICE OKxx"),
            "{first}"
        );
        assert!(first.ends_with("xx... | instances=0;;;0;"), "{first}");
        assert!(output.len() <= ALL && output.ends_with('\n'));
    }
}

/// stub
pub fn render_all(report: &crate::render::report::AllReport, _verbosity: u8) -> String {
    format!("{:?}\n", report.overview)
}
