//! The promises about every output, whatever was seen and remembered.

use std::collections::BTreeSet;

use check_nats_service::render::prometheus::Style;
use check_nats_service::render::report::Report;
use check_nats_service::render::{checkmk, json, nagios, prometheus, text};
use check_nats_service::values::status::Status;
use serde_json::Value;

/// No text in any format forges a line, performance data, a sample or a field.
#[track_caller]
pub fn assert_told_well(report: &Report) {
    let verdict = &report.verdict;
    let status = verdict.status();
    assert!(status != Status::Ok || verdict.findings().iter().all(|finding| finding.status == Status::Ok));
    for verbosity in 0..=3 {
        nagios_is_well_formed(&nagios::render(verdict, verbosity), status);
        let line = checkmk::render(verdict, verbosity);
        assert_one_line(&line);
        assert!(
            line.starts_with(&format!("{} \"NATS service", status.exit_code())),
            "{line}"
        );
        let lines = text::render(verdict, verbosity);
        assert!(
            lines.ends_with('\n') && !lines.contains(|c: char| c.is_control() && c != '\n'),
            "{lines}"
        );
    }
    let object = json::render(report);
    // JSON knows no other control characters than those of ASCII.
    assert!(
        object.ends_with('\n') && object.trim_end().bytes().all(|b| b >= b' '),
        "{object:?}"
    );
    let object: Value = serde_json::from_str(&object).unwrap_or_else(|e| panic!("{e}: {object}"));
    assert_eq!(object["status"].as_str(), Some(status.name()));
    for per_instance in [false, true] {
        let style = Style {
            per_instance,
            ..Style::default()
        };
        assert_metrics(&prometheus::render(report, &style));
    }
}

#[track_caller]
pub fn assert_one_line(line: &str) {
    let is_one = line
        .strip_suffix('\n')
        .is_some_and(|line| !line.contains(char::is_control));
    assert!(is_one, "not one line: {line:?}");
}

#[track_caller]
fn nagios_is_well_formed(output: &str, status: Status) {
    assert!(output.len() < 8192, "{} bytes", output.len());
    let first = output.lines().next().unwrap_or_default();
    assert!(
        first.starts_with(&format!("NATS_SERVICE {} - ", status.name())),
        "{first}"
    );
    assert_eq!(
        output.matches('|').count(),
        first.matches('|').count(),
        "performance data below the first line"
    );
    assert!(!output.contains(|c: char| c.is_control() && c != '\n'), "{output:?}");
    let Some((_, perfdata)) = first.split_once('|') else {
        return;
    };
    for word in perfdata.split_whitespace() {
        let (label, value) = word.split_once('=').unwrap_or_else(|| panic!("{word:?} in {first}"));
        assert!(
            !label.is_empty() && label.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
            "{first}"
        );
        let number = value
            .split(';')
            .next()
            .unwrap_or_default()
            .trim_end_matches(['s', '%', 'c']);
        assert!(
            number == "U" || number.parse::<f64>().is_ok_and(f64::is_finite),
            "{word:?} in {first}"
        );
    }
}

/// The exposition format: each family once, each series once, each value a number.
#[track_caller]
fn assert_metrics(page: &str) {
    assert!(page.is_empty() || page.ends_with('\n'), "{page}");
    let (mut families, mut series) = (BTreeSet::new(), BTreeSet::new());
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# ") {
            let (kind, name) = rest.split_once(' ').expect("a comment of two words");
            let name = name.split(' ').next().unwrap_or_default();
            assert!(families.insert((kind, name)), "{name} twice:\n{page}");
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line:?}"));
        assert!(value.parse::<f64>().is_ok_and(|value| !value.is_nan()), "{line}");
        let (name, labels) = sample.split_once('{').unwrap_or_else(|| panic!("{line:?}"));
        assert!(
            families.contains(&("TYPE", name)) && families.contains(&("HELP", name)),
            "{line}"
        );
        assert_labels(labels.strip_suffix('}').unwrap_or_else(|| panic!("{line:?}")));
        assert!(series.insert(sample), "a series twice: {line}\n{page}");
    }
}

/// `name="value",…`, where a value has its quotes and backslashes escaped.
#[track_caller]
fn assert_labels(labels: &str) {
    let (mut rest, mut names) = (labels, BTreeSet::new());
    while !rest.is_empty() {
        let (name, value) = rest.split_once("=\"").unwrap_or_else(|| panic!("{labels:?}"));
        assert!(
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'),
            "{labels:?}"
        );
        assert!(names.insert(name), "a label twice: {labels:?}");
        let mut escaped = false;
        let end = value.find(|c| {
            let is_end = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            is_end
        });
        let end = end.unwrap_or_else(|| panic!("no end: {labels:?}"));
        rest = &value[end + 1..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
}
