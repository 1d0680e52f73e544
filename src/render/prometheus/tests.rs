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
fn instances_have_samples_on_request() {
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
    assert_eq!(heads.len(), 27, "{heads:?}");
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
    // What names instances and errors comes and goes; no alert is for it alone.
    let of_instances = [
        "nats_service_instance_missing",
        "nats_service_recent_restarts",
        "nats_service_last_error",
    ];
    all.retain(|series| !of_instances.iter().any(|name| series.starts_with(name)));
    // One series for each metric, one for each reason, and three for each of two endpoints.
    assert_eq!(all.len(), 18 + Reason::of_services().count() + 6, "{all:?}");
    for text in &texts {
        let mine: BTreeSet<&str> = samples(text).into_keys().collect();
        for series in all.iter().filter(|series| !mine.contains(**series)) {
            let name = series.split('{').next().unwrap_or_default();
            assert!(!always.contains(&name), "{series} is not in\n{text}");
        }
    }
}

#[test]
fn unknown_values_have_no_sample() {
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
fn unreadable_state_denies_no_outage() {
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
        ("pod=x", "'pod' is a label of the metrics themselves"),
        ("host=x", "'host' is a label of the metrics themselves"),
        ("fate=x", "'fate' is a label of the metrics themselves"),
        ("code=x", "'code' is a label of the metrics themselves"),
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
fn ten_thousand_instances_are_counted_and_some_are_listed() {
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

/// The series of a metric, with what stands between its braces after the service.
fn of_metric(text: &str, metric: &str) -> Vec<String> {
    let head = format!("{metric}{{service=\"orders\",");
    let lines = text.lines().filter_map(|line| line.strip_prefix(&head));
    lines.map(str::to_owned).collect()
}

#[test]
fn missing_instances_are_named_with_their_place_and_fate() {
    let missing = |text: &str| of_metric(text, "nats_service_instance_missing");
    let named = |n: usize, fate: &str| {
        format!(r#"instance_id="id{n}",version="1.2.3",pod="orders-{n}",host="",fate="{fate}"}} 1"#)
    };
    for (state, report) in sample_reports() {
        let expected = match state {
            "degraded" => vec![named(2, "gone")],
            "down" => vec![named(0, "gone"), named(1, "gone")],
            // Still those that were there before the outage.
            "down_and_nats_away" => vec![named(0, "missing"), named(1, "missing")],
            "silent" => [3, 4, 5].map(|n| named(n, "not_answering")).into(),
            _ => vec![],
        };
        assert_eq!(missing(&render(&report, &Style::default())), expected, "{state}");
    }

    // A wildcard subscriber hides that an instance is gone: nobody can tell that it hangs.
    let fewer = |silence| {
        let memory = &mut Memory::default();
        run(memory, saw(0, answered(0..2)));
        let mut fewer = saw(60, answered(0..1));
        fewer.absent = vec![("id1".into(), Fate::NotAnswering)];
        fewer.silence = silence;
        missing(&render(&run(memory, fewer), &Style::default()))
    };
    assert_eq!(fewer(Silence::Subscribed), [named(1, "not_answering")]);
    assert_eq!(fewer(Silence::Hidden), [named(1, "missing")]);
}

#[test]
fn place_of_an_instance_is_pod_and_host_of_its_metadata() {
    type Pair = (&'static str, &'static str);
    let cases: [(&[Pair], Pair); 6] = [
        (&[], ("", "")),
        (&[("pod", "web-0"), ("host", "n1")], ("web-0", "n1")),
        (
            &[("pod_ip", "10.0.0.1"), ("pod", "web-0"), ("node", "n1")],
            ("web-0", "n1"),
        ),
        (&[("pod_name", "web-0"), ("hostname", "n1")], ("web-0", "n1")),
        (&[("region", "eu")], ("", "")),
        (&[("node", "n1"), ("host", "h1")], ("", "h1")),
    ];
    for (metadata, expected) in cases {
        let metadata = metadata.iter().map(|(key, value)| ((*key).into(), (*value).into()));
        let instance = Instance {
            metadata: metadata.collect(),
            ..instance(0)
        };
        assert_eq!(place(&instance), expected, "{metadata:?}", metadata = instance.metadata);
    }
}

/// The text of an id is a service's own: two that look alike once they are cleaned are one series.
#[test]
fn hostile_ids_forge_no_series_and_make_none_twice() {
    let mut seen = saw(0, answered(0..3));
    if let Outcome::Answered(answers) = &mut seen.outcome {
        answers[0].instance.id = "a\"} 7\n".into();
        answers[1].instance.id = "a\"} 7\r".into();
        for answer in &mut answers[..2] {
            answer.instance.metadata.clear();
        }
    }
    let memory = &mut Memory::default();
    run(memory, seen);
    let text = render(&run(memory, saw(60, Outcome::NoResponders)), &Style::default());
    // Panics if a series is there twice.
    samples(&text);
    assert_eq!(
        of_metric(&text, "nats_service_instance_missing")[0],
        r#"instance_id="a?} 7?",version="1.2.3",pod="",host="",fate="gone"} 1"#
    );
}

#[test]
fn restarts_are_counted_by_place() {
    let memory = &mut Memory::default();
    // One that crashes again and again in one pod, beside one that is well.
    let of_pod = |n: usize| InstanceReply {
        instance: Instance {
            metadata: vec![("pod".into(), "orders-1".into())],
            ..instance(n)
        },
        rtt: Some(Duration::from_micros(600)),
    };
    let crash = |memory: &mut Memory, n: usize| {
        let Outcome::Answered(mut answers) = answered(0..1) else {
            unreachable!()
        };
        answers.push(of_pod(n));
        let mut seen = saw(60 * n as i64, Outcome::Answered(answers));
        seen.absent = vec![(instance(n - 1).id, Fate::Gone)];
        let text = render(&run(memory, seen), &Style::default());
        of_metric(&text, "nats_service_recent_restarts")
    };
    assert_eq!(crash(memory, 10), [""; 0]);
    // It may still connect again.
    assert_eq!(crash(memory, 11), [""; 0]);
    assert_eq!(crash(memory, 12), [r#"pod="orders-1",host=""} 1"#]);
    assert_eq!(crash(memory, 13), [r#"pod="orders-1",host=""} 2"#]);
    let later = render(&run(memory, saw(3600, answered([0, 13]))), &Style::default());
    assert_eq!(
        of_metric(&later, "nats_service_recent_restarts"),
        [""; 0],
        "15 minutes later"
    );
}

#[test]
fn last_error_is_reported_by_its_code() {
    let cases = [
        ("500:disk full", "500"),
        ("404: no such order 7f3a", "404"),
        ("disk full", ""),
        ("123456:x", ""),
        ("", ""),
        ("5\"} 7:x", ""),
    ];
    for (error, code) in cases {
        let mut stats = crate::probe::stats::Stats::default();
        stats.last_errors.insert("delete".into(), error.into());
        let mut seen = saw(0, answered(0..3));
        seen.stats = Some(crate::probe::stats::SeenStats {
            instances: BTreeMap::from([("id1".to_owned(), stats)]),
            denied: String::new(),
        });
        let text = render(&run(&mut Memory::default(), seen), &Style::default());
        let expected = format!(r#"endpoint="delete",code="{code}",pod="orders-1",host=""}} 1"#);
        assert_eq!(of_metric(&text, "nats_service_last_error"), [expected], "{error:?}");
    }
}

/// Every service of a large account is down: the file stays small, and each is named with an instance.
#[test]
fn missing_instances_of_many_services_are_bounded() {
    let reports = |services: usize| -> Vec<Report> {
        let memory = &mut Memory::default();
        run(memory, saw(0, answered(0..20)));
        let down = run(memory, saw(60, Outcome::NoResponders));
        let named = |n: usize| {
            let mut report = down.clone();
            report.verdict.service = format!("service{n}");
            report
        };
        (0..services).map(named).collect()
    };
    for (number, each) in [(1, 10), (100, 10), (500, 2), (2000, 1)] {
        let text = services(&reports(number), &Style::default());
        let missing = text.matches("\nnats_service_instance_missing{").count();
        assert_eq!(missing, number * each, "{number}");
    }
}

/// One series twice, and the collector drops it.
#[test]
fn each_instance_has_one_sample() {
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
