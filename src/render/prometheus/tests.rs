use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;
use crate::judge::verdict::Finding;
use crate::probe::observation::Outcome;
use crate::render::sample_reports::{
    answered, assert_snapshot, instance, run, sample_all_reports, sample_reports, saw,
};
use crate::state::memory::Memory;
use crate::values::status::Status;
use crate::values::timestamp::Timestamp;

const ALL: Style = Style {
    labels: Vec::new(),
    per_instance: true,
};

/// The samples of a text, by metric and labels. Whatever else is in it has to be HELP or TYPE.
#[track_caller]
fn samples(text: &str) -> BTreeMap<&str, f64> {
    assert!(text.ends_with('\n'), "no end of the last line: {text}");
    let mut samples = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with("# ")) {
        let (series, value) = line.rsplit_once(' ').expect("a value");
        let number = value.chars().all(|c| c.is_ascii_digit() || c == '.' || c == '-');
        assert!(number, "{line}");
        assert_eq!(samples.insert(series, value.parse().expect("a number")), None, "{line}");
    }
    samples
}

fn metrics(text: &str) -> BTreeSet<&str> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.filter_map(|line| line.split(' ').next()).collect()
}

#[test]
fn each_state_has_its_text() {
    for (state, report) in sample_reports() {
        assert_snapshot(&format!("{state}.prom"), &render(&report, &Style::default()));
    }
}

#[test]
fn all_services_have_each_metric_once() {
    let nats = Style {
        labels: vec![Label {
            name: "nats".into(),
            value: "prod".into(),
        }],
        per_instance: true,
    };
    for (state, report) in sample_all_reports() {
        let text = render_all(&report, &nats);
        assert_snapshot(&format!("{state}.prom"), &text);
        let heads = text.lines().filter(|line| line.starts_with("# TYPE ")).count();
        assert_eq!(heads, metrics(&text).len(), "{state}");
        // Each service as it is told alone.
        let alone: Vec<String> = report.reports.iter().map(|service| render(service, &nats)).collect();
        let alone: BTreeMap<&str, f64> = alone.iter().flat_map(|text| samples(text)).collect();
        let mut all = samples(&text);
        all.retain(|series, _| !series.starts_with("nats_services"));
        assert_eq!(all, alone, "{state}");
        // The samples of a metric stand together.
        let names = text.lines().filter(|line| !line.starts_with('#'));
        let mut names: Vec<&str> = names.filter_map(|line| line.split('{').next()).collect();
        names.dedup();
        assert_eq!(names.len(), heads, "{state}");
    }
    let (_, report) = sample_all_reports().remove(0);
    let text = render_all(&report, &Style::default());
    assert!(text.contains("\nnats_services 4\n"), "{text}");
    assert!(
        text.contains("\nnats_services_reason{reason=\"service_up\"} 1\n"),
        "{text}"
    );
}

/// A run that came to no verdict, on bad arguments say.
#[test]
fn run_without_services_claims_nothing_about_them() {
    let report = AllReport::unknown(Reason::Usage, "no such flag");
    let text = render_all(&report, &Style::default());
    let names: Vec<&str> = metrics(&text).into_iter().collect();
    let expected = ["probe_success", "probe_timestamp_seconds", "reason", "status"];
    assert_eq!(names, expected.map(|name| format!("nats_services_{name}")));
}

#[test]
fn each_instance_is_told_on_request() {
    for (state, report) in sample_reports() {
        let (usual, all) = (render(&report, &Style::default()), render(&report, &ALL));
        let more = all.strip_prefix(&usual).expect("only more than usual");
        let series: Vec<String> = samples(&all)
            .into_iter()
            .filter_map(|(series, value)| Some((series.strip_prefix("nats_service_instance_up")?, value)))
            .map(|(labels, value)| format!("{labels} {value}"))
            .collect();
        let up =
            |n: usize, value: u8| format!("{{service=\"orders\",instance_id=\"id{n}\",version=\"1.2.3\"}} {value}");
        let expected = match state {
            "up" | "counting" | "request_failed" => vec![up(0, 1), up(1, 1), up(2, 1)],
            "degraded" => vec![up(0, 1), up(1, 1), up(2, 0)],
            "down" => vec![up(0, 0), up(1, 0)],
            "recovered" => vec![up(3, 1), up(4, 1), up(5, 1)],
            "half_rolled_out" => vec![up(0, 1), up(1, 1), up(2, 1).replace("1.2.3", "1.3.0")],
            "silent" => vec![up(3, 0), up(4, 0), up(5, 0)],
            _ => vec![],
        };
        assert_eq!(series, expected, "{state}");
        assert_eq!(more.is_empty(), expected.is_empty(), "{state}: {more}");
    }
    let (_, up) = sample_reports().remove(0);
    let text = render(&up, &ALL);
    let rtt =
        "\nnats_service_instance_rtt_seconds{service=\"orders\",instance_id=\"id2\",version=\"1.2.3\"} 0.000602\n";
    assert!(text.contains(rtt), "{text}");
}

/// The collector drops a metric whose HELP or TYPE is another one in another file.
#[test]
fn help_and_type_are_the_same_in_every_state() {
    let mut heads = BTreeMap::new();
    for (state, report) in sample_reports() {
        let text = render(&report, &ALL);
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("# ")).collect();
        for pair in lines.chunks(2) {
            let [help, kind] = pair else {
                panic!("{state}: {pair:?}")
            };
            let name = metric_of(help, "# HELP ");
            assert_eq!(name, metric_of(kind, "# TYPE "), "{state}");
            let of_kind = if name.ends_with("_total") { "counter" } else { "gauge" };
            assert_eq!(*kind, format!("# TYPE {name} {of_kind}"), "{state}");
            let head = heads.entry(name.to_owned()).or_insert((*help).to_owned());
            assert_eq!(head, help, "{state}");
        }
        assert_eq!(lines.len(), 2 * metrics(&text).len(), "{state}: one of a kind");
    }
    assert_eq!(heads.len(), 23, "{heads:?}");
}

fn metric_of<'a>(line: &'a str, kind: &str) -> &'a str {
    let rest = line.strip_prefix(kind).unwrap_or_else(|| panic!("no {kind}: {line}"));
    rest.split(' ').next().unwrap_or_default()
}

/// A series whose labels change with the status cannot be alerted on.
#[test]
fn only_values_change_with_the_status() {
    let always = [
        "nats_service_status",
        "nats_service_probe_success",
        "nats_service_probe_timestamp_seconds",
        "nats_service_reason",
    ];
    let mut all = BTreeSet::new();
    let texts: Vec<String> = sample_reports()
        .iter()
        .filter(|(state, _)| *state != "usage")
        .map(|(_, report)| render(report, &Style::default()))
        .collect();
    for text in &texts {
        all.extend(samples(text).into_keys());
    }
    // One series for each metric, one for each reason, and three for each of two endpoints.
    assert_eq!(all.len(), 17 + Reason::ALL.len() + 6, "{all:?}");
    for text in &texts {
        let mine: BTreeSet<&str> = samples(text).into_keys().collect();
        for series in all.iter().filter(|series| !mine.contains(**series)) {
            let name = series.split('{').next().unwrap_or_default();
            assert!(!always.contains(&name), "{series} is not in\n{text}");
        }
    }
}

#[test]
fn what_is_not_known_is_absent() {
    let names = |state: &str| {
        let story = sample_reports();
        let (_, report) = story.iter().find(|(name, _)| *name == state).expect("a state");
        let text = render(report, &ALL);
        metrics(&text).into_iter().map(str::to_owned).collect::<BTreeSet<_>>()
    };
    for state in ["down_and_nats_away", "nats_away"] {
        for name in [
            "nats_service_up",
            "nats_service_instances",
            "nats_service_rtt_max_seconds",
        ] {
            assert!(!names(state).contains(name), "{state}: {name}");
        }
        assert!(names(state).contains("nats_service_outage"), "{state}");
    }
    assert!(!names("usage").contains("nats_service_outage"));
}

/// The state cannot be read: nobody knows whether there was an instance before.
#[test]
fn without_a_memory_no_outage_is_denied() {
    let outage = |report: &Report| {
        let text = render(report, &Style::default());
        samples(&text).get("nats_service_outage{service=\"orders\"}").copied()
    };
    let unusable = |mut report: Report| {
        let finding = Finding::new(Status::Unknown, Reason::StateUnusable, "cannot read the state");
        report.verdict.add(finding);
        outage(&report)
    };
    let story: BTreeMap<&str, Report> = sample_reports().into_iter().collect();
    let of = |state: &str| story[state].clone();
    assert_eq!(outage(&of("never_seen")), Some(0.0));
    assert_eq!(unusable(of("never_seen")), None);
    assert_eq!(unusable(of("nats_away")), None);
    assert_eq!(unusable(of("up")), Some(0.0), "an instance answered");
    assert_eq!(unusable(of("down")), Some(1.0));
    assert_eq!(unusable(of("down_and_nats_away")), Some(1.0));
}

#[test]
fn labels_are_escaped_and_on_every_sample() {
    let label = |text: &str| Label::parse(text).expect("a label");
    let style = Style {
        labels: vec![label("site=a\\b \"c\"\nd=e"), label("_x9=é|{}"), label("empty=")],
        per_instance: true,
    };
    for (state, report) in sample_reports() {
        let text = render(&report, &style);
        let service = &report.verdict.service;
        let labels = format!("{{service=\"{service}\",site=\"a\\\\b \\\"c\\\"\\nd=e\",_x9=\"é|{{}}\",empty=\"\"");
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, rest) = line.split_at(line.find('{').expect("labels"));
            assert!(name.starts_with("nats_service_"), "{state}: {line}");
            let rest = rest.strip_prefix(&labels).unwrap_or_else(|| panic!("{state}: {line}"));
            assert!(rest.starts_with("} ") || rest.starts_with(','), "{state}: {line}");
        }
    }
    // The name of the service, and what instances say of themselves, cannot break out either.
    let (_, mut report) = sample_reports().remove(0);
    report.verdict.service = "a\"b\\\n".into();
    if let Some(Outcome::Answered(answers)) = report
        .seen
        .as_mut()
        .map(|seen| &mut std::sync::Arc::make_mut(seen).outcome)
    {
        answers[0].instance.version = "1\"} 7\nnats_service_up 0".into();
    }
    let text = render(&report, &ALL);
    assert!(
        text.contains("nats_service_up{service=\"a\\\"b\\\\\\n\"} 1\n"),
        "{text}"
    );
    assert!(
        text.contains(",version=\"1\\\"} 7\\nnats_service_up 0\"} 1\n"),
        "{text}"
    );
}

#[test]
fn bad_labels_are_refused() {
    let cases = [
        ("site", "a label is NAME=VALUE"),
        ("", "a label is NAME=VALUE"),
        (
            "=x",
            "'' is no label name: it has letters, digits and '_' only, and no digit first",
        ),
        (
            "9a=x",
            "'9a' is no label name: it has letters, digits and '_' only, and no digit first",
        ),
        (
            "a-b=x",
            "'a-b' is no label name: it has letters, digits and '_' only, and no digit first",
        ),
        (
            "a\nb=x",
            "'a?b' is no label name: it has letters, digits and '_' only, and no digit first",
        ),
        (
            "é=x",
            "'é' is no label name: it has letters, digits and '_' only, and no digit first",
        ),
        (
            "__name__=x",
            "'__name__': names that begin with __ belong to Prometheus",
        ),
        ("service=x", "'service' is a label of the metrics themselves"),
        ("reason=x", "'reason' is a label of the metrics themselves"),
        ("instance_id=x", "'instance_id' is a label of the metrics themselves"),
        ("version=x", "'version' is a label of the metrics themselves"),
        ("endpoint=x", "'endpoint' is a label of the metrics themselves"),
    ];
    for (text, why) in cases {
        assert_eq!(Label::parse(text).err().as_deref(), Some(why), "{text:?}");
    }
    for text in ["site=x", "_=x", "Site9=", "a=b=c"] {
        let label = Label::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
        assert_eq!(format!("{}={}", label.name, label.value), text);
    }
}

#[test]
fn ten_thousand_instances_are_counted_and_not_all_told() {
    let report = run(&mut Memory::default(), saw(0, answered(0..10_000)));
    let text = render(&report, &ALL);
    let samples = samples(&text);
    assert_eq!(samples["nats_service_instances{service=\"orders\"}"], 10_000.0);
    let told = |name: &str| samples.keys().filter(|series| series.starts_with(name)).count();
    assert_eq!(told("nats_service_instance_up"), MAX_INSTANCES);
    assert_eq!(told("nats_service_instance_rtt_seconds"), MAX_INSTANCES);
    assert!(text.len() < 64 * 1024, "{} bytes", text.len());

    // Those that are missing count, too.
    let memory = &mut Memory::default();
    run(memory, saw(0, answered(0..1000)));
    let text = render(&run(memory, saw(60, Outcome::NoResponders)), &ALL);
    let lines = text
        .lines()
        .filter(|line| line.starts_with("nats_service_instance_up{"));
    assert_eq!(lines.count(), MAX_INSTANCES);
}

/// One series twice, and the collector drops it.
#[test]
fn no_instance_is_told_twice() {
    let memory = &mut Memory::default();
    for (second, outcome) in [
        (0, answered(0..5)),
        (60, answered([0, 2, 7])),
        (120, answered([2, 1, 8])),
        (180, Outcome::NoResponders),
        (240, answered([1])),
    ] {
        // Panics if a series is there twice.
        samples(&render(&run(memory, saw(second, outcome)), &ALL));
    }
}

#[test]
fn the_strangest_numbers_are_numbers() {
    for (duration, moment) in [
        (Duration::MAX, i64::MAX),
        (Duration::ZERO, 0),
        (Duration::from_nanos(1), i64::MIN),
    ] {
        for (_, mut report) in sample_reports() {
            let moment = Timestamp::from_micros(moment);
            report.now = moment;
            if let Some(seen) = report.seen.as_mut().map(std::sync::Arc::make_mut) {
                seen.took = duration;
                if let Outcome::Answered(answers) = &mut seen.outcome {
                    answers.iter_mut().for_each(|answer| answer.rtt = Some(duration));
                }
            }
            let memory = std::sync::Arc::make_mut(&mut report.memory);
            if let Some(outage) = &mut memory.outage {
                outage.first_missed = moment;
                outage.last_seen.at = moment;
            }
            if let Some(baseline) = &mut memory.baseline {
                baseline.peaks.clear();
                baseline.latest = usize::MAX;
            }
            let text = render(&report, &ALL);
            for (series, value) in samples(&text) {
                assert!(value.is_finite(), "{series} {value}");
            }
        }
    }
}

#[test]
fn the_man_page_knows_every_metric() {
    let page = include_str!("../../../man/sections.roff");
    let mut told = BTreeSet::new();
    for (_, report) in sample_reports() {
        told.extend(metrics(&render(&report, &ALL)).into_iter().map(str::to_owned));
    }
    for (_, report) in sample_all_reports() {
        told.extend(metrics(&render_all(&report, &ALL)).into_iter().map(str::to_owned));
    }
    for metric in &told {
        assert!(page.contains(&format!(".TP\n{metric}\n")), "{metric}");
    }
    let documented = page.lines().filter(|line| line.starts_with("nats_service"));
    for name in documented.filter(|line| !line.contains(' ')) {
        assert!(told.contains(name), "there is no {name}");
    }
}

#[test]
fn an_instance_without_a_time_has_no_time() {
    let mut seen = saw(0, answered(0..2));
    if let Outcome::Answered(answers) = &mut seen.outcome {
        answers[1].rtt = None;
    }
    let report = run(&mut Memory::default(), seen);
    let text = render(&report, &ALL);
    let with_times = text.matches("nats_service_instance_rtt_seconds{").count();
    assert_eq!((with_times, instance(1).id.as_str()), (1, "id1"), "{text}");
}
