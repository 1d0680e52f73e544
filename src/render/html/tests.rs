use super::*;
use std::sync::Arc;

use super::history::history;
use super::service::MAX_INSTANCES;
use crate::judge::verdict::{Finding, Verdict};
use crate::probe::observation::{Failure, InstanceReply, Outcome};
use crate::render::report::{AllReport, Report};
use crate::render::sample_reports::{answered, assert_snapshot, at, run, sample_all_reports, sample_reports, saw};
use crate::state::memory::{MAX_HISTORY, Memory};
use crate::values::status::Reason;

const INTERVAL: Duration = Duration::from_secs(15);

/// The sample reports are a minute apart.
const MAX_AGE: Duration = Duration::from_secs(60);

/// The page of the report, read so long after its check.
fn read_after(report: &Report, delay: Duration) -> String {
    let text = checked(report, at(-60), MAX_AGE);
    let checked = Checked {
        status: report.verdict.status(),
        at: report.now,
        is_stale: false,
        text: &text,
    };
    let subject = Subject::Service(&report.verdict.service);
    page(subject, Some(&checked), INTERVAL, report.now + delay)
}

fn whole(report: &Report) -> String {
    read_after(report, Duration::from_secs(3))
}

#[test]
fn each_state_has_its_page() {
    for (state, report) in sample_reports() {
        if ["up", "degraded", "down", "nats_away"].contains(&state) {
            let page = whole(&report)
                .replace(STYLE, "")
                .replace(env!("CARGO_PKG_VERSION"), "0.0.0");
            assert_snapshot(&format!("{state}.html"), &page);
        }
    }
}

fn list_read_after(report: &AllReport, delay: Duration) -> String {
    let text = checked_all(report, |_| at(-60));
    let checked = Checked {
        status: report.overview.status(),
        at: report.now,
        is_stale: false,
        text: &text,
    };
    page(Subject::All, Some(&checked), INTERVAL, report.now + delay)
}

fn whole_list(report: &AllReport) -> String {
    list_read_after(report, Duration::from_secs(3))
}

#[test]
fn all_services_have_a_page() {
    for (state, report) in sample_all_reports() {
        if ["some_down", "all_nats_away", "no_service"].contains(&state) {
            let page = whole_list(&report)
                .replace(STYLE, "")
                .replace(env!("CARGO_PKG_VERSION"), "0.0.0");
            assert_snapshot(&format!("{state}.html"), &page);
        }
    }
}

#[test]
fn page_of_one_of_many_leads_back_to_all() {
    let page = page(Subject::OneOfAll("orders"), None, INTERVAL, at(0));
    for part in [
        "<p class=\"kind\"><a href=\"/\">All services</a></p>\n<h1>orders</h1>",
        "<a href=\"/probe?service=orders\">Metrics</a>",
    ] {
        assert!(page.contains(part), "{page}");
    }
}

#[test]
fn thousand_services_are_a_page_with_a_link_to_each() {
    let (_, mut report) = sample_all_reports().remove(2);
    let one = report.reports[0].clone();
    let service = |n: usize| {
        let mut service = one.clone();
        service.verdict.service = format!("service-{n}");
        service
    };
    report.reports = Arc::new((0..1000).map(service).collect());
    let page = whole_list(&report);
    assert_eq!(page.matches("<a href=\"/service/service-").count(), 1000);
    assert!(page.len() < 512 * 1024, "{}", page.len());
    report.reports = Arc::new((0..2001).map(service).collect());
    assert!(whole_list(&report).contains("<p class=\"dim\">and 1 more</p>"));
}

/// Each element that is opened is closed, and nothing is there that a policy would have to allow.
#[test]
fn every_page_is_well_formed() {
    let pages = sample_reports()
        .into_iter()
        .map(|(state, report)| (state, whole(&report)));
    let lists = sample_all_reports()
        .into_iter()
        .map(|(state, report)| (state, whole_list(&report)));
    for (state, page) in pages.chain(lists) {
        let mut open = Vec::new();
        for tag in page.split('<').skip(1) {
            let name = tag.split([' ', '>', '\n']).next().unwrap_or_default();
            match name.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop(), Some(name), "{state}: {page}"),
                None if ["!doctype", "meta", "link", "wbr"].contains(&name) => {}
                None if tag.split('>').next().is_some_and(|tag| tag.ends_with('/')) => {}
                None => open.push(name),
            }
        }
        assert!(open.is_empty(), "{state}: {open:?}");
        let lower = page.replace(STYLE, "").to_lowercase();
        for word in ["<script", "javascript:", " style=", " on", "src="] {
            let found = lower
                .find(word)
                .filter(|_| word != " on" || lower.contains(" onclick="));
            assert_eq!(found, None, "{state}: {word}: {page}");
        }
    }
}

#[test]
fn a_hostile_text_stays_a_text() {
    let evil = "</p><script>alert('1')</script>\"&";
    let mut seen = saw(0, answered(0..1));
    if let Outcome::Answered(answers) = &mut seen.outcome {
        let InstanceReply { instance, .. } = &mut answers[0];
        (instance.id, instance.version) = (evil.into(), evil.into());
        instance.metadata = vec![(evil.into(), evil.into())];
    }
    let mut report = run(&mut Memory::default(), seen);
    report.verdict = Verdict::new(evil, vec![], vec![], vec![]);
    report
        .verdict
        .add(Finding::new(Status::Critical, Reason::ServiceDown, evil));
    report.verdict.add(Finding::new(Status::Ok, Reason::ServiceUp, evil));
    if let Some(server) = report
        .seen
        .as_mut()
        .and_then(|seen| Arc::make_mut(seen).server.as_mut())
    {
        server.name = evil.into();
    }
    let page = whole(&report);
    assert!(!page.contains("<script") && !page.contains("alert('"), "{page}");
    assert!(page.matches("&lt;script&gt;alert(&#39;1&#39;)").count() >= 7, "{page}");
}

#[test]
fn hostile_name_stays_a_name() {
    let evil = "\"><script>alert('1')</script>?/../&";
    let (_, mut report) = sample_all_reports().remove(0);
    Arc::make_mut(&mut report.reports)[0].verdict.service = evil.into();
    let page = whole_list(&report).replace("<wbr>", "");
    assert!(!page.contains("<script"), "{page}");
    let link = "<a href=\"/service/%22%3E%3Cscript%3Ealert%28%271%27%29%3C%2Fscript%3E%3F%2F%2E%2E%2F%26\">\
                &#34;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;?/../&amp;</a>";
    assert!(page.contains(link), "{page}");
}

#[test]
fn ten_thousand_instances_are_a_short_page() {
    let memory = &mut Memory::default();
    let page = whole(&run(memory, saw(0, answered(0..10_000))));
    assert!(page.contains("<p class=\"dim\">and 9800 more</p>"));
    assert_eq!(page.matches("<code>").count(), MAX_INSTANCES);
    let page = whole(&run(memory, saw(60, answered(0..1))));
    assert!(page.len() < 100_000, "{}", page.len());
    assert!(page.contains("height=\"2\""), "one of ten thousand is seen: {page}");
}

#[test]
fn the_history_ends_at_the_right_edge() {
    let memory = &mut Memory::default();
    assert_eq!(history(memory, at(0), MAX_AGE), "");
    for n in 0..MAX_HISTORY as i64 + 5 {
        run(memory, saw(n, answered(0..3)));
        let drawn = history(memory, at(n), MAX_AGE);
        assert!(drawn.contains(" x=\"96.88%\" "), "{n}: {drawn}");
        assert_eq!(drawn.matches("<g class=\"bar\"><title>").count(), memory.history.len());
    }
    assert_eq!(memory.history.len(), MAX_HISTORY);
    assert!(history(memory, at(40), MAX_AGE).contains(" x=\"0.00%\" "));
}

#[test]
fn a_page_before_the_first_check() {
    let page = page(Subject::Service("orders"), None, Duration::from_millis(10), at(0));
    assert!(
        page.contains("<title>UNKNOWN - orders</title>") && page.contains("no check has ended yet"),
        "{page}"
    );
    assert!(page.contains("content=\"5\""), "{page}");
}

/// The ages that stand behind a moment on the page, with it, and the texts of all ages in all texts.
fn ages(page: &str) -> (Vec<(Timestamp, String)>, Vec<String>) {
    let mut of_moments = Vec::new();
    for part in page.split("<time datetime=\"").skip(1) {
        let moment = Timestamp::parse(part.split('"').next().unwrap_or_default()).expect("a moment");
        let (shown, behind) = part.split_once("</time>").expect("the end");
        let age = match behind.strip_prefix(" (") {
            Some(behind) => behind,
            None if part.contains("title=") => shown.split_once('>').expect("text").1,
            // The moment of the check, whose age stands before it.
            None => continue,
        };
        of_moments.push((moment, age.split(" ago").next().unwrap_or_default().to_owned()));
    }
    let is_part = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit()) && word.ends_with(['s', 'm', 'h', 'd']);
    let texts = page.replace(['>', '('], " ");
    let texts = texts.split(" ago").map(|text| {
        let mut words: Vec<&str> = text.split(' ').rev().take(2).take_while(is_part).collect();
        words.reverse();
        words.join(" ")
    });
    let mut texts: Vec<String> = texts.collect();
    texts.pop();
    (of_moments, texts)
}

/// Reports and when they are read: each age is that of a moment of the report, as of the reading.
#[test]
fn ages_count_from_now_and_one_moment_has_one_age() {
    for delay in [0, 3, 61, 3600].map(Duration::from_secs) {
        let pages = sample_reports()
            .into_iter()
            .map(|(state, report)| (state, report.now + delay, read_after(&report, delay)));
        let lists = sample_all_reports()
            .into_iter()
            .map(|(state, report)| (state, report.now + delay, list_read_after(&report, delay)));
        for (state, now, page) in pages.chain(lists) {
            let (of_moments, texts) = ages(&page);
            for (moment, text) in &of_moments {
                assert_eq!(*text, age(now.since(*moment)), "{state} {delay:?}: {page}");
            }
            // What a text says without its moment is the age of a check, or of the last one.
            let told = (-60..=360).map(|second| age(now.since(at(second))));
            let told: Vec<String> = told.chain([age(delay)]).collect();
            for text in texts {
                assert!(told.contains(&text), "{state} {delay:?}: {text} ago: {page}");
            }
        }
    }
}

#[test]
fn text_of_an_outage_ages_with_its_moment() {
    let (_, report) = sample_reports().remove(2);
    for (delay, text) in [(0, "until 60s ago"), (2, "until 62s ago"), (3600, "until 1h 1m ago")] {
        let page = read_after(&report, Duration::from_secs(delay));
        let last = text.trim_start_matches("until ");
        assert!(page.contains(text), "{page}");
        assert_eq!(
            page.matches(&format!("14:14:20 UTC</time> ({last})")).count(),
            2,
            "{page}"
        );
    }
    let (_, report) = sample_all_reports().remove(2);
    let page = list_read_after(&report, Duration::from_secs(3600));
    assert!(page.contains("orders (3 instances until 1h 1m ago)"), "{page}");
    assert!(
        page.contains("title=\"2026-09-21 14:14:20 UTC\">1h 1m ago</time>"),
        "{page}"
    );
}

#[test]
fn page_speaks_of_checks_and_not_of_epochs() {
    for (_, report) in sample_reports() {
        assert!(!whole(&report).to_lowercase().contains("epoch"));
    }
    let (_, report) = sample_reports().remove(2);
    assert!(whole(&report).contains("<h2>Instances in the last 3 checks</h2>"));
}

#[test]
fn instances_before_an_outage_are_listed_with_their_place_and_time() {
    for (state, heading) in [
        ("down", "None answers now. There were 2 instances at the last answer, "),
        (
            "nats_away",
            "<p class=\"dim\">There were 3 instances at the last answer, ",
        ),
    ] {
        let (_, report) = sample_reports()
            .into_iter()
            .find(|(name, _)| *name == state)
            .expect("a report");
        let page = whole(&report);
        let last = report.memory.last_seen().expect("seen").at;
        assert!(page.contains(heading), "{page}");
        let row = format!(
            "<td>pod=orders-{}</td><td>last seen <time datetime=\"{last}\" title=",
            if state == "down" { 0 } else { 3 }
        );
        assert!(page.contains(&row), "{row}: {page}");
    }
}

/// Each kind of check, and a time of which nothing is known, is drawn in a shape of its own, which the legend has.
#[test]
fn every_kind_of_check_has_its_shape_and_its_legend() {
    let away = || Outcome::Failed(Failure::new(Reason::NatsUnreachable, "connection refused"));
    let looks = |memory: &Memory, now| {
        let drawn = history(memory, at(now), MAX_AGE);
        let (drawing, legend) = drawn.split_once("<ul class=\"legend\">").expect("a legend");
        let looks: Vec<String> = drawing
            .split("<g class=\"")
            .skip(1)
            .map(|look| look.split('"').next().unwrap_or_default().to_owned())
            .collect();
        for look in ["bar", "fewer", "none", "gap"] {
            let class = format!("<g class=\"{look}\">");
            assert_eq!(
                looks.iter().any(|drawn| drawn == look),
                legend.contains(&class),
                "{drawn}"
            );
        }
        (looks.join(" "), drawn)
    };
    let memory = &mut Memory::default();
    run(memory, saw(0, answered(0..3)));
    let (drawn, text) = looks(memory, 1);
    assert_eq!(drawn, "bar");
    assert!(text.contains("</svg>the normal number: 3 instances</li>"), "{text}");
    run(memory, saw(15, answered(0..2)));
    run(memory, saw(30, Outcome::NoResponders));
    assert_eq!(looks(memory, 31).0, "bar fewer none");
    // One check that could not ask is a gap, at once and later.
    run(memory, saw(45, away()));
    let (drawn, text) = looks(memory, 46);
    assert_eq!(drawn, "bar fewer none gap");
    assert!(
        text.contains("; NATS could not be asked from 2026-09-21 14:14:05 UTC to 2026-09-21 14:14:06 UTC\""),
        "{text}"
    );
    run(memory, saw(60, answered(0..3)));
    assert_eq!(looks(memory, 61).0, "bar fewer none gap bar");
    // So is a time without checks.
    run(memory, saw(1000, answered(0..3)));
    let (drawn, text) = looks(memory, 1001);
    assert_eq!(drawn, "bar fewer none gap bar gap bar");
    assert_eq!(looks(memory, 2000).0, "bar fewer none gap bar gap bar gap");
    let words = "aria-label=\"3 instances at 2026-09-21 14:13:20 UTC; 2 instances at 2026-09-21 14:13:35 UTC; no instance at \
                 2026-09-21 14:13:50 UTC; NATS could not be asked from 2026-09-21 14:14:05 UTC to 2026-09-21 14:14:20 UTC; \
                 3 instances at 2026-09-21 14:14:20 UTC; no answer of a check from 2026-09-21 14:14:20 UTC to \
                 2026-09-21 14:30:00 UTC; 3 instances at 2026-09-21 14:30:00 UTC\"";
    assert!(text.contains(words), "{text}");
}

#[test]
fn long_words_break_behind_punctuation_only() {
    for (text, html) in [
        ("orders-1", "orders-1"),
        (
            "a pod=orders-7c9d8b6f5-x2x4k",
            "a pod=<wbr>orders-<wbr>7c9d8b6f5-<wbr>x2x4k",
        ),
        (
            "nats.example.org:4222 <b>",
            "nats.<wbr>example.<wbr>org:<wbr>4222 &lt;b&gt;",
        ),
        ("VMKS6MHK3QKZ3U3Z2T7E1Q", "VMKS6MHK3QKZ3U3Z2T7E1Q"),
    ] {
        assert_eq!(markup::words(text), html);
    }
}
