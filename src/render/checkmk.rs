//! A local check of the Checkmk agent: status, item, metrics and text, on one line.

use crate::judge::verdict::{Metric, Verdict};
use crate::render::report::AllReport;
use crate::values::range::Range;

/// `STATUS "NATS service NAME" metrics text`; the details of this verbosity follow with `\n` between them, which Checkmk shows as
/// lines of their own.
pub fn render(verdict: &Verdict, verbosity: u8) -> String {
    let item = match verdict.service.as_str() {
        "" => "NATS service".to_owned(),
        service => format!("NATS service {service}"),
    };
    line(&item, verdict, verbosity)
}

/// A line for all services together, and one for each: Checkmk has a service of its own for each line.
pub fn render_all(report: &AllReport, verbosity: u8) -> String {
    let services = report.reports.iter().map(|service| render(&service.verdict, verbosity));
    line("NATS services", &report.overview, verbosity) + &services.collect::<String>()
}

fn line(item: &str, verdict: &Verdict, verbosity: u8) -> String {
    let metrics: Vec<String> = verdict.metrics.iter().filter_map(metric).collect();
    let metrics = match metrics.is_empty() {
        true => "-".to_owned(),
        false => metrics.join("|"),
    };
    let texts: Vec<&str> = verdict.told().collect();
    let details = verdict.details.iter().filter(|detail| detail.verbosity <= verbosity);
    let lines: Vec<String> = [texts.join(", ")]
        .into_iter()
        .chain(details.map(|detail| detail.text.clone()))
        .map(|line| line.replace(|c: char| c == '\\' || c.is_control(), "?"))
        .collect();
    let text = lines.join("\\n");
    format!("{} \"{item}\" {metrics} {text}\n", verdict.status().exit_code())
}

/// `name=value;warning;critical;min`, or nothing where there is no value. The status is ours; limits are for the graphs.
fn metric(metric: &Metric) -> Option<String> {
    let value = metric.value?;
    let limits = [metric.warning, metric.critical].map(|range| range.and_then(limit).unwrap_or_default());
    Some(format!("{}={value};{};{};0", metric.name, limits[0], limits[1]))
}

/// `upper`, or `lower:upper`. Checkmk has no limits without an upper one, and none that alert inside.
fn limit(range: Range) -> Option<String> {
    match range.limits()? {
        (_, upper) if !upper.is_finite() => None,
        (lower, upper) if lower.is_finite() && lower != 0.0 => Some(format!("{lower}:{upper}")),
        (_, upper) => Some(upper.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::verdict::{Detail, Finding, Unit};
    use crate::render::sample_reports::{assert_snapshot, sample_all_reports, sample_reports};
    use crate::values::status::{Reason, Status};

    #[test]
    fn each_state_has_its_line() {
        let lines: String = sample_reports()
            .iter()
            .map(|(state, report)| format!("{state}: {}", render(&report.verdict, 0)))
            .collect();
        assert_snapshot("story.checkmk", &lines);
    }

    #[test]
    fn all_services_have_a_line_each() {
        let mut texts = String::new();
        for (state, report) in sample_all_reports() {
            texts += &format!("--- {state}\n{}", render_all(&report, 0));
        }
        assert_snapshot("all.checkmk", &texts);
    }

    #[test]
    fn limits_are_as_checkmk_knows_them() {
        let cases = [
            ("10", "10"),
            ("3:10", "3:10"),
            ("~:10", "10"),
            ("3:", ""),
            ("@1:5", ""),
            ("0.5:2.25", "0.5:2.25"),
        ];
        for (range, expected) in cases {
            let metric = Metric {
                name: "instances".into(),
                value: Some(3.0),
                unit: Unit::Count,
                warning: Range::parse(range).ok(),
                critical: None,
            };
            assert_eq!(
                super::metric(&metric),
                Some(format!("instances=3;{expected};;0")),
                "{range}"
            );
        }
        assert_eq!(super::metric(&Metric::seconds("rtt_max", None)), None);
    }

    #[test]
    fn nothing_breaks_out_of_the_line() {
        let finding = Finding::new(Status::Critical, Reason::ServiceDown, "a\\nb\n0 \"x\" - fine");
        let detail = Detail {
            verbosity: 1,
            text: "asked\r\nNATS".into(),
        };
        let verdict = Verdict::new("orders", vec![finding], vec![], vec![detail]);
        assert_eq!(render(&verdict, 0), "2 \"NATS service orders\" - a?nb?0 \"x\" - fine\n");
        assert_eq!(
            render(&verdict, 1),
            "2 \"NATS service orders\" - a?nb?0 \"x\" - fine\\nasked??NATS\n"
        );
    }
}
