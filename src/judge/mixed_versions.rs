//! Whether the instances have been of more than one version for longer than a rollout takes (`--mixed-versions`).

use std::collections::BTreeMap;

use super::case::{Case, Ruling};
use super::verdict::{Finding, Metric, Unit};
use crate::probe::observation::{Fate, Outcome, versions};
use crate::state::memory::Memory;
use crate::values::duration::age;
use crate::values::status::Reason;
use crate::values::text::clean;
use crate::values::timestamp::Timestamp;

/// How many versions are named, and how many characters of each.
const NAMED: usize = 3;
const VERSION_CHARS: usize = 32;

/// Since when is remembered in any case, so that it is known when somebody wants to hear of it.
pub fn judge(case: &Case<'_>, ruling: &mut Ruling) {
    let versions = versions(case.answers());
    let since = mixed_since(case, &ruling.next, &versions);
    ruling.next.mixed_since = since;
    let mixed = since.filter(|_| versions.len() > 1);
    if let Some(since) = mixed {
        ruling.tell(1, format!("versions mixed since {since}: {}", list(&versions)));
    }
    let Some(status) = case.policy.mixed_versions else {
        return;
    };
    ruling.metrics.push(Metric {
        name: "versions",
        value: case.instances().map(|_| versions.len() as f64),
        unit: Unit::Count,
        warning: None,
        critical: None,
    });
    if let Some(time) = mixed
        .map(|since| case.seen.at.since(since))
        .filter(|time| *time >= case.policy.loss.settle)
    {
        let text = format!(
            "mixed versions for {}: {} (is a rollout stuck?)",
            age(time),
            list(&versions)
        );
        ruling.find(Finding::new(status, Reason::VersionsMixed, text));
    }
}

/// Since when the versions are mixed, as is to be remembered.
fn mixed_since(case: &Case<'_>, next: &Memory, versions: &BTreeMap<&str, usize>) -> Option<Timestamp> {
    // A clock that was set back must not make it wait for longer.
    let before = case.memory.mixed_since.map(|since| since.min(case.seen.at));
    match &case.seen.outcome {
        Outcome::Answered(_) if versions.len() > 1 => before.or(Some(case.seen.at)),
        Outcome::Answered(_) => before.filter(|_| is_another_there(next, versions)),
        Outcome::Failed(_) => case.memory.mixed_since,
        // Whoever comes after an outage has been started anew.
        _ if next.is_absent() => None,
        _ => case.memory.mixed_since,
    }
}

/// Whether an instance of another version is missing without being gone: one slow answer is no end of a rollout.
fn is_another_there(next: &Memory, versions: &BTreeMap<&str, usize>) -> bool {
    next.absentees.iter().any(|absentee| {
        let version = absentee.instance.version.as_str();
        absentee.fate != Fate::Gone && !version.is_empty() && !versions.contains_key(version)
    })
}

/// `2 of 1.3.9, 1 of 1.4.0`, the most frequent first.
fn list(versions: &BTreeMap<&str, usize>) -> String {
    let mut versions: Vec<(&str, usize)> = versions.iter().map(|(version, count)| (*version, *count)).collect();
    versions.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let told: Vec<String> = versions
        .iter()
        .take(NAMED)
        .map(|(version, count)| match *version {
            "" => format!("{count} of no version"),
            version => format!("{count} of {}", clean(version, VERSION_CHARS)),
        })
        .collect();
    match versions.len().saturating_sub(NAMED) {
        0 => told.join(", "),
        more => format!("{} and {more} more", told.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::fixture::{SILENT, absentee, at, failed, findings, saw, up, versions};
    use crate::judge::{Policy, judge};
    use crate::probe::observation::Observation;
    use crate::values::status::Status;

    const SINCE: Option<Timestamp> = Some(at(-801));

    /// Mixed for so long at second 100 that it is told.
    fn stuck() -> Memory {
        Memory {
            mixed_since: SINCE,
            ..up()
        }
    }

    fn asked(silent: Status) -> Policy {
        Policy {
            mixed_versions: Some(Status::Warning),
            silent,
            ..Policy::default()
        }
    }

    /// What is found of the versions, and since when they are mixed from then on.
    fn judged(memory: &Memory, seen: &Observation, policy: &Policy) -> (String, Option<Timestamp>) {
        let (verdict, next) = judge("orders", memory, seen, policy, at(101));
        let lines = findings(&verdict);
        let mine = lines
            .lines()
            .filter_map(|line| line.strip_prefix("WARNING versions_mixed: "));
        (mine.collect::<Vec<_>>().join("\n"), next.mixed_since)
    }

    /// Since when before, which versions, what is found, and since when from then on.
    type Row<'a> = (Option<i64>, &'a [&'a str], &'a str, Option<Timestamp>);

    #[test]
    fn a_mix_is_told_when_it_has_had_its_time() {
        let now = Some(at(100));
        let two = &["2.0.0", "1.0.0", "1.0.0"][..];
        let cases: &[Row<'_>] = &[
            (None, &["1.0.0"], "", None),
            (None, &["1.0.0"; 3], "", None),
            (None, &[""], "", None),
            (None, two, "", now),
            (Some(99), two, "", Some(at(99))),
            (Some(100 - 899), two, "", Some(at(100 - 899))),
            (
                Some(100 - 900),
                two,
                "mixed versions for 15m: 2 of 1.0.0, 1 of 2.0.0 (is a rollout stuck?)",
                Some(at(100 - 900)),
            ),
            // Other versions than those that it began with.
            (
                Some(-86_300),
                &["", "v3", "3.0.0+b", "3.0.0+a", "3.0.0+a"],
                "mixed versions for 1d: 2 of 3.0.0+a, 1 of no version, 1 of 3.0.0+b and 1 more (is a rollout stuck?)",
                Some(at(-86_300)),
            ),
            (Some(-900), &["2.0.0"; 3], "", None),
            // The clock was set back: it begins anew.
            (Some(4000), two, "", now),
        ];
        for (since, these, text, next) in cases {
            let memory = Memory {
                mixed_since: since.map(at),
                ..up()
            };
            let seen = saw(versions(these));
            let case = format!("{since:?} {these:?}");
            assert_eq!(
                judged(&memory, &seen, &asked(Status::Critical)),
                ((*text).to_owned(), *next),
                "{case}"
            );
            assert_eq!(
                judged(&memory, &seen, &Policy::default()),
                (String::new(), *next),
                "{case}"
            );
        }
    }

    #[test]
    fn where_nobody_answers_nothing_is_told() {
        let cases = [
            (Outcome::NoResponders, Status::Critical, None),
            (SILENT, Status::Critical, None),
            // No epoch.
            (SILENT, Status::Warning, SINCE),
            (failed(Reason::NatsUnreachable), Status::Critical, SINCE),
            (failed(Reason::AuthRejected), Status::Critical, SINCE),
            (failed(Reason::Interrupted), Status::Critical, SINCE),
        ];
        for (outcome, silent, next) in cases {
            let seen = saw(outcome);
            assert_eq!(
                judged(&stuck(), &seen, &asked(silent)),
                (String::new(), next),
                "{seen:?}"
            );
        }
    }

    #[test]
    fn an_instance_that_is_missing_without_being_gone_keeps_the_mix() {
        let seen = |fate| Observation {
            absent: vec![("id2".into(), fate)],
            ..saw(versions(&["1.0.0", "1.0.0"]))
        };
        // All three are 1.2.3 in the memory.
        for (fate, next) in [(Fate::NotAnswering, SINCE), (Fate::NotAsked, SINCE), (Fate::Gone, None)] {
            assert_eq!(
                judged(&stuck(), &seen(fate), &asked(Status::Critical)),
                (String::new(), next),
                "{fate:?}"
            );
        }
        let same = Observation {
            absent: vec![("id2".into(), Fate::NotAnswering)],
            ..saw(versions(&["1.2.3", "1.2.3"]))
        };
        assert_eq!(judged(&stuck(), &same, &asked(Status::Critical)).1, None);
        let long_gone = Memory {
            absentees: vec![absentee(7, 90, Fate::Gone)],
            ..stuck()
        };
        assert_eq!(
            judged(&long_gone, &saw(versions(&["1.0.0"; 3])), &asked(Status::Critical)).1,
            None
        );
    }

    /// In any sequence of epochs it is told exactly where every answer of the last 15 minutes or more was mixed.
    #[test]
    fn it_is_told_of_a_mix_without_a_gap_and_never_else() {
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        let policy = asked(Status::Critical);
        let (mut told, mut fine) = (0, 0);
        for _ in 0..300 {
            let (mut memory, mut second, mut since) = (Memory::default(), 0, None);
            for _ in 0..40 {
                second += i64::try_from(next(400)).expect("small");
                // Mixed in most epochs, so that it lasts.
                let outcome = match next(20) {
                    0 => versions(&["1.0.0", "1.0.0"]),
                    1 => Outcome::NoResponders,
                    2 | 3 => failed(Reason::NatsUnreachable),
                    4 => failed(Reason::Interrupted),
                    _ => versions(&["1.0.0", "2.0.0"]),
                };
                let mixed = matches!(&outcome, Outcome::Answered(answers) if super::versions(answers).len() > 1);
                let asked = !matches!(outcome, Outcome::Failed(_));
                since = if mixed {
                    since.or(Some(second))
                } else {
                    since.filter(|_| !asked)
                };
                let seen = Observation {
                    at: at(second),
                    // The old instance of the two is gone, not hung.
                    absent: vec![("id1".into(), Fate::Gone)],
                    ..saw(outcome)
                };
                let expected = mixed && since.is_some_and(|since| second - since >= 900);
                let (verdict, after) = judge("orders", &memory, &seen, &policy, at(second));
                let found = verdict
                    .findings()
                    .iter()
                    .any(|finding| finding.reason == Reason::VersionsMixed);
                assert_eq!(found, expected, "{seen:?}\n{memory:?}");
                assert_eq!(after.mixed_since, since.map(at));
                memory = after;
                told += usize::from(found);
                fine += usize::from(!found);
            }
        }
        assert!(told > 1000 && fine > 1000, "{told} {fine}");
    }

    #[test]
    fn the_number_of_versions_is_a_metric_for_whoever_asks() {
        let value = |outcome, policy| {
            let (verdict, _) = judge("orders", &up(), &saw(outcome), &policy, at(101));
            let metric = verdict.metrics.iter().find(|metric| metric.name == "versions");
            metric.map(|metric| metric.value)
        };
        let two = || versions(&["1.0.0", "2.0.0", "2.0.0"]);
        assert_eq!(value(two(), Policy::default()), None);
        assert_eq!(value(two(), asked(Status::Critical)), Some(Some(2.0)));
        assert_eq!(value(Outcome::NoResponders, asked(Status::Critical)), Some(Some(0.0)));
        assert_eq!(value(failed(Reason::TlsFailed), asked(Status::Critical)), Some(None));
    }
}
