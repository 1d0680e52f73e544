use super::super::fixture::{Row, absent_ones, answered, at, check, down, findings, metric, row, saw, up};
use super::super::policy::LossLimits;
use super::super::{Policy, judge};
use super::*;
use crate::probe::observation::{Fate, Observation, Outcome};
use crate::state::baseline::{Baseline, Peak};
use crate::state::memory::Memory;

fn policy(warning: Option<Loss>, critical: Option<Loss>) -> Policy {
    let loss = LossLimits {
        warning,
        critical,
        ..LossLimits::default()
    };
    Policy {
        loss,
        ..Policy::default()
    }
}

/// Normally `count`, and fewer since this second.
fn fewer_since(count: usize, second: i64, latest: usize) -> Baseline {
    let until = at(second);
    Baseline {
        peaks: vec![Peak { count, until }],
        ..Baseline::new(latest)
    }
}

/// Normally so many, and fewer since this second.
fn normally(count: usize, fewer: Option<(i64, usize)>, memory: Memory) -> Memory {
    Memory {
        baseline: Some(match fewer {
            Some((second, latest)) => fewer_since(count, second, latest),
            None => Baseline::new(count),
        }),
        ..memory
    }
}

#[test]
fn loss_limits_are_numbers_or_percentages() {
    use Loss::{Instances, Percent};
    // How many of how many are left; the limit; whether it is reached.
    let cases = [
        (3, 3, Instances(1), false),
        (4, 3, Instances(1), false),
        (2, 3, Instances(1), true),
        (2, 3, Instances(2), false),
        (1, 3, Instances(2), true),
        (1, 3, Instances(9), false),
        // Of three, one is 33.3 percent.
        (2, 3, Percent(33), true),
        (2, 3, Percent(34), false),
        (2, 3, Percent(50), false),
        (1, 3, Percent(50), true),
        (1, 2, Percent(50), true),
        (3, 3, Percent(1), false),
        (999, 1000, Percent(1), false),
        (990, 1000, Percent(1), true),
        // An outage is no loss, and somebody is left.
        (1, 3, Percent(100), false),
        (1, usize::MAX, Percent(99), true),
    ];
    for (instances, normal, limit, expected) in cases {
        let lost = usize::saturating_sub(normal, instances);
        let reached = lost >= limit.instances(normal);
        assert_eq!(reached, expected, "{instances} of {normal}: {limit:?}");
    }
}

#[test]
fn lost_instances_are_reported() {
    let both = policy(Some(Loss::Instances(1)), Some(Loss::Percent(50)));
    let case = |memory, seen: Observation, findings, next| Row {
        seen,
        policy: both.clone(),
        ..row(memory, Outcome::NoResponders, findings, next)
    };
    check(vec![
        case(
            normally(3, None, up()),
            absent_ones(2, &[(2, Fate::Gone)]),
            "WARNING instances_lost: 2 of 3 instances, 1 lost, warning from 1, gone: id2 (1.2.3, pod=web-2)\n\
             OK service_up: 2 instances, slowest answer 1.2ms",
            "#8 WARNING, epoch 2@100, census 40, id2 gone since 100, history 3@40 2@100",
        ),
        case(
            normally(4, Some((30, 3)), up()),
            absent_ones(2, &[(2, Fate::Gone)]),
            "CRITICAL instances_lost: 2 of 4 instances, 2 lost for 70s, critical from 50%, gone: id2 (1.2.3, pod=web-2)\n\
             OK service_up: 2 instances, slowest answer 1.2ms",
            "#8 CRITICAL, epoch 2@100, census 40, id2 gone since 100, history 3@40 2@100",
        ),
        // All are there, and then some.
        case(
            normally(3, Some((30, 2)), up()),
            saw(answered(4)),
            "OK service_up: 4 instances, slowest answer 1.2ms",
            "#8 OK, epoch 4@100, census 40, history 3@40 4@100",
        ),
        // It has settled.
        case(
            normally(4, Some((100 - 900, 3)), up()),
            saw(answered(3)),
            "OK service_up: 3 instances, slowest answer 1.2ms",
            "#8 OK, epoch 3@100, census 40, history 3@40 3@100",
        ),
        // An outage says it all.
        case(
            normally(3, None, up()),
            saw(Outcome::NoResponders),
            "CRITICAL service_down: down, no responders, 3 instances until 60s ago, NATS 2.10.25 n1 at h:4222 is fine \
             (0.34ms), \
             last seen: id0 (1.2.3, pod=web-0), id1 (1.2.3, pod=web-1), id2 (1.2.3, pod=web-2)",
            "#8 CRITICAL, epoch 0@100, outage 3@40 since 100, census 100, history 3@40 0@100",
        ),
        // Until it is over.
        case(
            normally(3, None, down()),
            absent_ones(2, &[(2, Fate::Gone)]),
            "WARNING instances_lost: 2 of 3 instances, 1 lost, warning from 1, gone: id2 (1.2.3, pod=web-2)\n\
             OK service_recovered: 2 instances (had 3), recovered after 60s",
            "#9 WARNING, epoch 2@100, census 60, id2 gone since 100, history 3@40 0@60 2@100",
        ),
    ]);
}

/// A service that is forgotten is not missed when it comes back smaller.
#[test]
fn forgotten_outage_resets_the_baseline() {
    let forgetful = Policy {
        forget_after: Some(std::time::Duration::from_secs(1)),
        ..policy(Some(Loss::Instances(1)), None)
    };
    let memory = normally(3, None, down());
    let (_, next) = judge("orders", &memory, &saw(Outcome::NoResponders), &forgetful, at(100));
    let (verdict, _) = judge("orders", &next, &saw(answered(1)), &forgetful, at(100));
    assert_eq!(findings(&verdict), "OK service_up: 1 instance, slowest answer 1.2ms");
}

#[test]
fn baseline_metric_exists_only_with_loss_limits() {
    let memory = normally(3, None, up());
    let named = |policy: &Policy, outcome| {
        let (verdict, _) = judge("orders", &memory, &saw(outcome), policy, at(100));
        verdict
            .metrics
            .iter()
            .any(|metric| metric.name == "baseline")
            .then(|| metric(&verdict, "baseline"))
    };
    let judged = policy(Some(Loss::Instances(1)), None);
    assert_eq!(named(&Policy::default(), answered(2)), None);
    assert_eq!(named(&judged, answered(2)), Some(Some(3.0)));
    assert_eq!(named(&judged, answered(5)), Some(Some(5.0)));
    assert_eq!(named(&judged, Outcome::NoResponders), Some(Some(3.0)));
    let (verdict, _) = judge(
        "orders",
        &Memory::default(),
        &saw(Outcome::NoResponders),
        &judged,
        at(100),
    );
    assert_eq!(metric(&verdict, "baseline"), None);
}

/// Whatever happens, a loss is told for as long as it has to settle, and only an old one that leaves takes a rise back.
#[test]
fn random_histories_hide_no_loss() {
    let mut seed = 7_u64;
    let mut random = move |below: u64| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let limits = policy(None, Some(Loss::Instances(1)));
    let mut memory = Memory::default();
    let mut second = 1_000_000;
    // In how many steps there was a loss, and how often the baseline fell for each reason.
    let (mut losses, mut settled, mut replaced) = (0, 0, 0);
    for _ in 0..1_500 {
        // Now and then nobody looks for a while, and now and then the clock goes back.
        second += [20, 20, 60, 400, -15][random(5) as usize];
        let outcome = match random(20) {
            0 => Outcome::NoResponders,
            1 => super::super::fixture::failed(Reason::NatsUnreachable),
            _ => answered(1 + random(6) as usize),
        };
        let mut seen = Observation {
            at: at(second),
            ..saw(outcome)
        };
        let number = seen_number(&seen);
        // Their ids are the numbers from 0 on; some get others.
        let generation = random(3);
        if let Outcome::Answered(answers) = &mut seen.outcome {
            for answer in answers.iter_mut().take(generation as usize) {
                answer.instance.id = format!("{}-{}", answer.instance.id, second / 500);
            }
        }
        let there: Vec<String> = match &seen.outcome {
            Outcome::Answered(answers) => answers.iter().map(|answer| answer.instance.id.clone()).collect(),
            _ => Vec::new(),
        };
        let known = memory.last_known().unwrap_or_default().iter();
        seen.absent = known
            .map(|instance| instance.id.clone())
            .filter(|id| !there.contains(id))
            .map(|id| (id, Fate::ALL[random(4) as usize]))
            .collect();
        let (verdict, next) = judge("orders", &memory, &seen, &limits, seen.at);
        let case = || format!("{memory:?}\n{seen:?}\n{}", findings(&verdict));
        let lost = verdict.findings().iter().any(|f| f.reason == Reason::InstancesLost);
        match (number, &memory.baseline, &next.baseline) {
            (Some(number @ 1..), before, Some(after)) => {
                assert!(after.count() >= number, "{}", case());
                let missing = after.count() - number;
                assert!(next.absentees.len() <= missing, "{}", case());
                assert_eq!(lost, missing > 0, "{}", case());
                losses += usize::from(lost);
                if let Some(before) = before.as_ref().filter(|before| before.count() > after.count()) {
                    let time = before.fewer_since().map(|since| seen.at.since(since));
                    let has_settled = time.is_some_and(|time| time >= limits.loss.settle);
                    let is_replaced = before.raised.is_some_and(|raise| {
                        after.count() >= raise.from && seen.at.since(raise.latest) < limits.loss.settle
                    });
                    assert!(has_settled || is_replaced, "{}", case());
                    settled += usize::from(has_settled);
                    replaced += usize::from(is_replaced && !has_settled);
                }
            }
            (_, before, after) => {
                assert_eq!((before, lost), (after, false), "{}", case());
            }
        }
        let restarts = |memory: &Memory| memory.changes.as_ref().map_or(0, |changes| changes.restarts);
        assert!(restarts(&next) >= restarts(&memory), "{}", case());
        memory = next;
    }
    assert!(
        losses > 500 && settled > 10 && replaced > 10,
        "{losses} {settled} {replaced}"
    );
}

fn seen_number(seen: &Observation) -> Option<usize> {
    match &seen.outcome {
        Outcome::Answered(answers) => Some(answers.len()),
        Outcome::Failed(_) => None,
        _ => Some(0),
    }
}
