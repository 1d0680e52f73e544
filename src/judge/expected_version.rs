//! The rule for the versions of the instances that answer (`--expect-version`).

use super::rule::{MAX_NAMED, RuleInput, RuleOutput};
use crate::probe::observation::Instance;
use crate::values::status::{Reason, Status};
use crate::values::text::{count, some_of};
use crate::values::version::{Fit, Requirement};

/// A WARNING: the service is there, and somebody has deployed something else.
pub fn judge(input: &RuleInput<'_>, output: &mut RuleOutput) {
    let Some(requirement) = &input.policy.expected_version else {
        return;
    };
    let instances = input.answers().iter().filter(|answer| answer.tells_its_version());
    let unfit: Vec<String> = instances
        .filter_map(|answer| unfit(&answer.instance, requirement))
        .collect();
    if unfit.is_empty() {
        return;
    }
    let text = format!(
        "{} of {} {} not of version {requirement}: {}",
        unfit.len(),
        count(input.answers().len(), "instance"),
        if unfit.len() == 1 { "is" } else { "are" },
        some_of(&unfit, MAX_NAMED, unfit.len()),
    );
    output.add_finding(Status::Warning, Reason::VersionUnexpected, text);
}

/// The instance in brief, with what is the matter with its version; `None` if it is as required.
fn unfit(instance: &Instance, requirement: &Requirement) -> Option<String> {
    match requirement.fit(&instance.version) {
        Fit::Matches => None,
        Fit::Differs => Some(instance.in_brief()),
        Fit::Missing => Some(instance.in_brief_as("no version")),
        Fit::Malformed => Some(instance.in_brief_as(&format!("{} is no semantic version", instance.version))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::fixture::{SILENT, answered, at, failed, findings, saw, up, versions};
    use crate::judge::{Policy, judge};
    use crate::probe::observation::Outcome;

    /// Returns the findings, except those about the presence of the service.
    fn found(requirement: Option<&str>, outcome: Outcome) -> String {
        let policy = Policy {
            expected_version: requirement.map(|text| Requirement::parse(text).expect("a requirement")),
            ..Policy::default()
        };
        let (verdict, _) = judge("orders", &up(), &saw(outcome), &policy, at(100));
        let lines = findings(&verdict);
        let mine = lines.lines().filter(|line| line.contains("version_unexpected"));
        mine.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn each_instance_has_to_match() {
        let cases: &[(&[&str], &str)] = &[
            (&["1.4.0", "1.9.3"], ""),
            (
                &["1.4.0", "1.3.9", "1.5.0"],
                "1 of 3 instances is not of version ^1.4: id1 (1.3.9, pod=web-1)",
            ),
            (
                &["2.0.0"],
                "1 of 1 instance is not of version ^1.4: id0 (2.0.0, pod=web-0)",
            ),
            (
                &["", "v1.4.0", "1.4.0-rc.1"],
                "3 of 3 instances are not of version ^1.4: id0 (no version, pod=web-0), id1 (v1.4.0 is no semantic version, \
                 pod=web-1), id2 (1.4.0-rc.1, pod=web-2)",
            ),
            (
                &["1.0.0"; 5],
                "5 of 5 instances are not of version ^1.4: id0 (1.0.0, pod=web-0), id1 (1.0.0, pod=web-1), id2 (1.0.0, \
                 pod=web-2) and 2 more",
            ),
        ];
        for (these, text) in cases {
            let expected = match *text {
                "" => String::new(),
                text => format!("WARNING version_unexpected: {text}"),
            };
            assert_eq!(found(Some("^1.4"), versions(these)), expected, "{these:?}");
            assert_eq!(found(None, versions(these)), "", "{these:?}");
        }
    }

    #[test]
    fn no_version_is_judged_without_answers() {
        for outcome in [Outcome::NoResponders, SILENT, failed(Reason::NatsUnreachable)] {
            assert_eq!(found(Some("^9"), outcome.clone()), "", "{outcome:?}");
        }
        assert_ne!(found(Some("^9"), answered(1)), "");
    }

    /// The state that an overlapping run has left has the versions of some hundred instances only.
    #[test]
    fn a_version_that_is_not_remembered_is_not_judged() {
        let mut outcome = versions(&["1.4.0", "", "1.3.0", ""]);
        if let Outcome::Answered(answers) = &mut outcome {
            answers.iter_mut().take(3).for_each(|answer| answer.rtt = None);
        }
        assert_eq!(
            found(Some("^1.4"), outcome),
            "WARNING version_unexpected: 2 of 4 instances are not of version ^1.4: id2 (1.3.0, pod=web-2), id3 (no version, \
             pod=web-3)"
        );
    }
}
