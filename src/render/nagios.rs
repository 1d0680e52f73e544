//! The output of a Nagios plugin, as the Monitoring Plugins guidelines define it: one line with all perfdata on it, and
//! longer text below.

use crate::judge::verdict::{Detail, Metric, Unit, Verdict};
use crate::render::report::AllReport;
use crate::values::status::Status;
use crate::values::text::{count, shorten};

/// Maximum length of the text of the first line, in characters: NRPE 2 reads 1024 bytes, and the perfdata come behind it.
const FIRST_LINE: usize = 600;

/// Maximum length of the perfdata, in bytes: those of very many services are left out, so that there is room for text.
const MAX_PERFDATA: usize = 5000;

/// Number of bytes of an output that Nagios reads.
const ALL: usize = 8192;

/// Room for the line that counts those that are left out, in bytes.
const LEFT_OUT: usize = 40;

/// The verbosity of the steps of the probe.
const STEPS: u8 = 3;

/// Maximum length of the steps where there are many other lines, in bytes.
const MAX_STEPS: usize = 1500;

/// Maximum length of the line of a service, in characters.
const MAX_SERVICE_LINE: usize = 400;

/// `NATS_SERVICE STATUS - service: text, text | perfdata`, and the details of this verbosity below it.
pub fn render(verdict: &Verdict, verbosity: u8) -> String {
    output("NATS_SERVICE", verdict, verbosity, std::iter::empty())
}

/// The same for all services: `NATS_SERVICES STATUS - text, text | perfdata`. `-v` adds a line for each service that is not OK, `-vv`
/// one for each.
pub fn render_all(report: &AllReport, verbosity: u8) -> String {
    let services = report.worst_first().into_iter().map(|service| {
        let Verdict { service: name, .. } = &service.verdict;
        let status = service.verdict.status();
        let (shown_from, text) = match report.told(service) {
            Some(text) if status != Status::Ok => (1, text),
            Some(text) => (2, text),
            None => (2, "not asked".into()),
        };
        let line = format!("{} {name}: {text}", status.name());
        (shown_from, shorten(&line, MAX_SERVICE_LINE))
    });
    output("NATS_SERVICES", &report.overview, verbosity, services)
}

/// The same for NATS itself: `NATS_SERVER STATUS - text | perfdata`.
pub fn render_server(verdict: &Verdict, verbosity: u8) -> String {
    output("NATS_SERVER", verdict, verbosity, std::iter::empty())
}

/// The output with this word before the status. `lines` come before the steps of the probe, each with the verbosity that
/// shows it.
fn output(word: &str, verdict: &Verdict, verbosity: u8, lines: impl Iterator<Item = (u8, String)>) -> String {
    let mut text = format!("{word} {} - ", verdict.status().name());
    if !verdict.service.is_empty() {
        text.push_str(&verdict.service);
        text.push_str(": ");
    }
    let texts: Vec<&str> = verdict.told().collect();
    text.push_str(&texts.join(", "));
    // Nagios separates the fields of its log by semicolons, and writes ':' for one in the output of a plugin.
    let first = |text: &str| one_line(text).replace(';', ",");
    let mut output = shorten(&first(&text), FIRST_LINE);
    let told = output.clone();
    let end = output.len() + MAX_PERFDATA;
    let mut metrics = verdict.metrics.iter().map(perfdata);
    let mut separator = " | ";
    let unfit = metrics.find(|metric| {
        let fits = output.len() + separator.len() + metric.len() <= end;
        if fits {
            output.extend([separator, metric]);
            separator = " ";
        }
        !fits
    });
    output.push('\n');
    let left_out = unfit.iter().count() + metrics.count();
    let left_out = (left_out > 0).then(|| (0, format!("{} left out, no room", count(left_out, "metric"))));
    let findings = verdict.findings().iter().map(|finding| {
        let (status, reason) = (finding.status.name(), finding.reason.name());
        // The first line is repeated only if it was cut.
        match told.contains(&first(&finding.text)) {
            true => (1, format!("{status} {reason}")),
            false => (1, format!("{status} {reason}: {}", finding.text)),
        }
    });
    let (steps, details): (Vec<&Detail>, Vec<&Detail>) = verdict.details.iter().partition(|d| d.verbosity >= STEPS);
    let line = |detail: &&Detail| (detail.verbosity, detail.text.clone());
    let above = (left_out.into_iter().chain(findings))
        .chain(details.iter().map(line))
        .chain(lines);
    let steps: Vec<_> = steps.iter().map(line).filter(|step| step.0 <= verbosity).collect();
    // The lines above leave room for the steps of -vvv.
    let length: usize = steps.iter().map(|(_, step)| step.len() + 1).sum();
    append(&mut output, above, verbosity, ALL - length.min(MAX_STEPS));
    append(&mut output, steps.into_iter(), verbosity, ALL);
    output
}

/// Appends the lines of this verbosity, up to this number of bytes in all, and how many more there are.
fn append(output: &mut String, lines: impl Iterator<Item = (u8, String)>, verbosity: u8, end: usize) {
    let shown = lines.filter(|(shown_from, _)| *shown_from <= verbosity);
    let mut lines = shown.map(|(_, line)| one_line(&line));
    let unfit = lines.find(|line| {
        let fits = output.len() + line.len() + LEFT_OUT < end;
        if fits {
            output.extend([line, "\n"]);
        }
        !fits
    });
    if unfit.is_some() {
        output.push_str(&format!("and {}\n", count(1 + lines.count(), "more line")));
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::verdict::Finding;
    use crate::render::sample_reports::{assert_snapshot, sample_all_reports, sample_reports};
    use crate::values::range::Range;
    use crate::values::status::Reason;

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
        // Texts of the line are not repeated.
        let found = "OK service_up\n";
        assert_eq!(render(&verdict, 1), format!("{line}{found}more\n"));
        assert_eq!(render(&verdict, 3), format!("{line}{found}more\nmost\n"));
    }

    #[test]
    fn worst_finding_leads_and_no_text_is_repeated() {
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

    #[test]
    fn all_services_have_their_output() {
        let mut texts = String::new();
        for (state, report) in sample_all_reports() {
            for verbosity in 0..3 {
                texts += &format!("--- {state} {verbosity}\n{}", render_all(&report, verbosity));
            }
        }
        assert_snapshot("all.nagios", &texts);
    }

    #[test]
    fn output_of_a_thousand_services_says_what_is_left_out() {
        let (_, mut report) = sample_all_reports().remove(2);
        let down = report.reports[0].clone();
        let reports: Vec<crate::render::report::Report> = (0..1000)
            .map(|n| {
                let mut service = down.clone();
                service.verdict.service = format!("service-{n:03}");
                service
            })
            .collect();
        report.reports = reports.into();
        let metrics = (0..1000).map(|n| Metric {
            name: format!("service_{n:03}").into(),
            ..Metric::count("", Some(0))
        });
        report.overview.metrics.extend(metrics);
        let step = |n: u32| Detail {
            verbosity: STEPS,
            text: format!("{n}ms step"),
        };
        report.overview.details.extend((0..1000).map(step));
        for verbosity in 0..4 {
            let output = render_all(&report, verbosity);
            assert!(output.len() <= ALL && output.ends_with('\n'), "{}", output.len());
            let first = output.lines().next().expect("a line");
            assert!(first.ends_with(" service_252=0;;;0;"), "{first}");
            assert_eq!(output.lines().nth(1), Some("747 metrics left out, no room"));
        }
        let output = render_all(&report, 1);
        assert!(output.contains("\nCRITICAL service-002: still down for "), "{output}");
        assert!(output.ends_with("\nand 974 more lines\n"), "{output}");
        let output = render_all(&report, 3);
        assert!(output.contains("\nCRITICAL service-000: still down for "), "{output}");
        assert!(output.contains(" more lines\n0ms step\n1ms step\n"), "{output}");
    }
}
