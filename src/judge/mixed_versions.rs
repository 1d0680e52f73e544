//! The rule for instances of more than one version for longer than a rollout takes (`--mixed-versions`). Values of their metadata
//! (`--mixed-metadata`) tell versions apart, too.

use std::collections::BTreeMap;
use std::fmt;

use super::policy::Policy;
use super::rule::{MAX_NAMED, RuleInput, RuleOutput};
use super::verdict::Metric;
use crate::probe::observation::{Fate, Instance, InstanceReply, Observation, Outcome};
use crate::probe::reply::{KEY_CHARS, VALUE_CHARS};
use crate::state::memory::Memory;
use crate::values::dated;
use crate::values::status::Reason;
use crate::values::text::{clean, some_of};
use crate::values::timestamp::Timestamp;

/// Maximum length of a version, in characters.
const VERSION_CHARS: usize = 32;

/// Build that an instance runs: its version, and the value of each metadata key that distinguishes versions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Build<'a> {
    version: &'a str,
    metadata: Vec<(&'a str, Option<&'a str>)>,
}

impl<'a> Build<'a> {
    fn of(instance: &'a Instance, keys: &'a [String]) -> Build<'a> {
        let value = |key: &String| instance.metadata.iter().find(|(other, _)| other == key);
        let metadata = keys.iter().map(|key| (key.as_str(), value(key)));
        Build {
            version: &instance.version,
            metadata: metadata
                .map(|(key, entry)| (key, entry.map(|(_, value)| value.as_str())))
                .collect(),
        }
    }
}

impl fmt::Display for Build<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            "" => f.write_str("no version")?,
            version => f.write_str(&clean(version, VERSION_CHARS))?,
        }
        for (key, value) in &self.metadata {
            match value {
                Some(value) => write!(f, " {}={}", clean(key, KEY_CHARS), clean(value, VALUE_CHARS))?,
                None => write!(f, " without {}", clean(key, KEY_CHARS))?,
            }
        }
        Ok(())
    }
}

/// The builds of the instances that answered, as far as they are known, and how many are of each.
fn builds<'a>(answers: &'a [InstanceReply], keys: &'a [String]) -> BTreeMap<Build<'a>, usize> {
    let mut builds = BTreeMap::new();
    for answer in answers.iter().filter(|answer| answer.tells_its_version()) {
        let build = Build::of(&answer.instance, keys);
        // Only a part of the texts that another run received is remembered.
        if answer.rtt.is_some() || build.metadata.iter().all(|(_, value)| value.is_some()) {
            *builds.entry(build).or_insert(0) += 1;
        }
    }
    builds
}

pub fn judge(input: &RuleInput<'_>, output: &mut RuleOutput) {
    let keys = &input.policy.mixed_metadata;
    let builds = builds(input.answers(), keys);
    let mixed = input.next.mixed_since.filter(|_| builds.len() > 1);
    if let Some(since) = mixed {
        output.add_detail(1, format!("versions mixed since {since}: {}", list(&builds)));
    }
    let lacks = |key: &&String| input.answers().iter().all(|reply| !has_key(reply, key));
    if let Some(key) = keys.iter().find(lacks)
        && !input.answers().is_empty()
    {
        output.add_detail(1, format!("no instance has {} in its metadata", clean(key, KEY_CHARS)));
    }
    let Some(status) = input.policy.mixed_versions else {
        return;
    };
    output.add_metric(Metric::count("versions", input.instances().map(|_| builds.len())));
    let at = input.observation.at;
    if let Some(since) = mixed.filter(|since| at.since(*since) >= input.policy.loss.settle) {
        let (time, list) = (dated::age(since, at), list(&builds));
        let text = format!("mixed versions for {time}: {list} (is a rollout stuck?)");
        output.add_finding(status, Reason::VersionsMixed, text);
    }
}

fn has_key(reply: &InstanceReply, key: &str) -> bool {
    reply.instance.metadata.iter().any(|(other, _)| other == key)
}

/// The time since which the versions are mixed, for the next memory. It is remembered without `--mixed-versions` too, so that it
/// is known when somebody adds the flag.
pub fn since(previous: &Memory, next: &Memory, observation: &Observation, policy: &Policy) -> Option<Timestamp> {
    let Outcome::Answered(replies) = &observation.outcome else {
        // Instances after an outage have been started anew.
        let is_over = !matches!(observation.outcome, Outcome::Failed(_)) && next.is_absent();
        return previous.mixed_since.filter(|_| !is_over);
    };
    let builds = builds(replies, &policy.mixed_metadata);
    // A clock that was set back must not extend the time.
    let before = previous.mixed_since.map(|since| since.min(observation.at));
    match builds.len() {
        2.. => before.or(Some(observation.at)),
        _ => before.filter(|_| is_another_missing(next, policy, &builds)),
    }
}

/// Returns `true` if an instance of another version is missing without being gone: one slow answer is no end of a rollout.
fn is_another_missing(next: &Memory, policy: &Policy, builds: &BTreeMap<Build<'_>, usize>) -> bool {
    next.absentees.iter().any(|absentee| {
        let build = Build::of(&absentee.instance, &policy.mixed_metadata);
        absentee.fate != Fate::Gone && !build.version.is_empty() && !builds.contains_key(&build)
    })
}

/// `2 of 1.3.9, 1 of 1.4.0`, the most frequent first.
fn list(builds: &BTreeMap<Build<'_>, usize>) -> String {
    let mut builds: Vec<(&Build<'_>, usize)> = builds.iter().map(|(build, count)| (build, *count)).collect();
    builds.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let named = builds.iter().take(MAX_NAMED);
    let named: Vec<String> = named.map(|(build, count)| format!("{count} of {build}")).collect();
    some_of(&named, MAX_NAMED, builds.len())
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

    /// Returns the findings about the versions, and since when they are mixed after this run.
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
    fn mixed_versions_are_reported_after_the_settle_time() {
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
            // The versions differ from those at the beginning.
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
    fn metadata_tells_builds_of_one_version_apart() {
        let policy = Policy {
            mixed_metadata: vec!["commit".into()],
            ..asked(Status::Warning)
        };
        let saw = |commits: &[&str]| {
            let Outcome::Answered(mut answers) = versions(&vec!["1.4.0"; commits.len()]) else {
                panic!("answers");
            };
            for (answer, commit) in answers.iter_mut().zip(commits) {
                answer.instance.metadata = match *commit {
                    "" => vec![],
                    commit => vec![("commit".into(), commit.into())],
                };
            }
            saw(Outcome::Answered(answers))
        };
        let text = |list: &str| format!("mixed versions for 15m 1s: {list} (is a rollout stuck?)");
        let cases = [
            (
                &["abc", "def", "abc"][..],
                text("2 of 1.4.0 commit=abc, 1 of 1.4.0 commit=def"),
            ),
            (&["abc", ""], text("1 of 1.4.0 without commit, 1 of 1.4.0 commit=abc")),
            (&["abc", "abc"], String::new()),
            (&["", ""], String::new()),
        ];
        for (commits, expected) in cases {
            assert_eq!(judged(&stuck(), &saw(commits), &policy).0, expected, "{commits:?}");
            assert_eq!(
                judged(&stuck(), &saw(commits), &asked(Status::Warning)).0,
                "",
                "{commits:?}"
            );
        }
        for (commits, lack) in [(["", ""], true), (["", "abc"], false)] {
            let (verdict, _) = judge("orders", &up(), &saw(&commits), &policy, at(101));
            let details: Vec<&str> = verdict.details.iter().map(|detail| detail.text.as_str()).collect();
            let told = details.contains(&"no instance has commit in its metadata");
            assert_eq!(told, lack, "{details:?}");
        }
    }

    #[test]
    fn no_mixed_versions_are_reported_without_answers() {
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
    fn only_an_uninterrupted_mix_of_versions_is_reported() {
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
                let mixed = matches!(&outcome, Outcome::Answered(answers) if builds(answers, &[]).len() > 1);
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
    fn versions_metric_exists_only_with_the_flag() {
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
