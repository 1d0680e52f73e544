//! The memory after an observation. Pure; what it means for an operator is the rules' affair.

use std::collections::{BTreeMap, BTreeSet};

use super::mixed_versions;
use super::policy::Policy;
use crate::probe::observation::{Fate, Instance, InstanceReply, Observation, Outcome, Silence};
use crate::state::baseline::Baseline;
use crate::state::changes::{Change, Changes, Epochs};
use crate::state::memory::{Absentee, Epoch, MAX_DESCRIBED, Memory, Outage, Unreachable};
use crate::state::statistics::Statistics;
use crate::values::status::{Reason, Status};

/// Maximum number of missing instances that are remembered.
pub const MAX_MISSED: usize = 64;

/// Returns the memory after this observation, with the status and the sequence number of the previous one.
///
/// An interrupted probe leaves the memory as it was; any other one that could not ask leaves the epoch and the outage.
pub fn advance(previous: &Memory, observation: &Observation, policy: &Policy) -> Memory {
    let mut next = previous.clone();
    match &observation.outcome {
        Outcome::Answered(replies) => answered(&mut next, previous, observation, policy, replies),
        // Silence is no epoch if `--silent` gives it less than CRITICAL.
        Outcome::Silent(_) if policy.silent != Status::Critical => next.unreachable = None,
        Outcome::NoResponders | Outcome::Silent(_) => absent(&mut next, previous, observation, policy),
        Outcome::Failed(failure) => {
            if failure.reason != Reason::Interrupted {
                next.unreachable = previous.unreachable.or(Some(Unreachable {
                    since: observation.at,
                    reason: failure.reason,
                }));
            }
        }
    }
    next.mixed_since = mixed_versions::since(previous, &next, observation, policy);
    next
}

fn answered(
    next: &mut Memory,
    previous: &Memory,
    observation: &Observation,
    policy: &Policy,
    replies: &[InstanceReply],
) {
    let at = observation.at;
    next.outage = None;
    next.enter(Epoch::new(at, replies));
    if observation.census {
        next.census = Some(at);
    }
    // An overlapping run, whose replies have no times, has remembered the changes that it saw.
    let are_our_own = replies.iter().any(|reply| reply.rtt.is_some());
    if let Some(before) = previous.last_known().filter(|_| are_our_own) {
        let epochs = Epochs {
            before,
            with_versions: MAX_DESCRIBED,
            at,
            answers: replies,
            absent: &observation.absent,
            hidden: observation.silence == Silence::Hidden,
            away_since: previous.outage.as_ref().map(|outage| outage.first_missed),
        };
        let succession = policy.restarts.succession;
        next.changes = Some(Changes::after(previous.changes.as_ref(), epochs, succession));
    }
    let baseline = baseline(previous, next.changes.as_ref(), observation, policy, replies.len());
    let most = baseline.count().saturating_sub(replies.len()).min(MAX_MISSED);
    next.absentees = absentees(previous, next.changes.as_ref(), observation, replies);
    next.absentees.truncate(most);
    next.baseline = Some(baseline);
    if let (true, Some(seen)) = (policy.rates.wanted, &observation.stats) {
        let before = previous.statistics.as_ref();
        let statistics = Statistics::after(before, at, &seen.instances, policy.rates.min_requests);
        next.statistics = Some(statistics);
    }
}

/// An epoch without instances: it opens an outage, or continues it until the user has it forgotten.
fn absent(next: &mut Memory, previous: &Memory, observation: &Observation, policy: &Policy) {
    let at = observation.at;
    next.absentees.clear();
    next.enter(Epoch::new(at, &[]));
    next.census = Some(at);
    if let Some(outage) = &previous.outage {
        let missed = at.since(outage.first_missed);
        if policy.forget_after.is_some_and(|limit| missed > limit) {
            next.outage = None;
            next.baseline = None;
        }
    } else if let Some(epoch) = previous.epoch_with_instances() {
        next.outage = Some(Outage {
            last_seen: epoch.clone(),
            first_missed: at,
        });
    }
}

fn baseline(
    previous: &Memory,
    changes: Option<&Changes>,
    observation: &Observation,
    policy: &Policy,
    instances: usize,
) -> Baseline {
    // An earlier version remembered no baseline.
    let counted = || {
        let instances = previous.last_seen()?.count + previous.absentees.len();
        Some(Baseline::new(instances))
    };
    let before = previous.baseline.clone().or_else(counted);
    let raised = before.as_ref().and_then(|before| before.raised);
    let old_ones_left = match (changes, raised) {
        (Some(changes), Some(raise)) => changes.old_ones_left(observation.at, raise.since),
        _ => 0,
    };
    Baseline::after(
        before.as_ref(),
        observation.at,
        instances,
        policy.loss.settle,
        old_ones_left,
    )
}

/// The instances that may be missing. First those whose place no other one has taken, latest first.
fn absentees(
    previous: &Memory,
    changes: Option<&Changes>,
    observation: &Observation,
    replies: &[InstanceReply],
) -> Vec<Absentee> {
    let before = &previous.absentees;
    let known: BTreeMap<&str, &Instance> = previous
        .last_known()
        .unwrap_or_default()
        .iter()
        .chain(before.iter().map(|absentee| &absentee.instance))
        .map(|instance| (instance.id.as_str(), instance))
        .collect();
    let since = |id: &str| {
        let missed_before = before.iter().find(|absentee| absentee.instance.id == id);
        missed_before.map_or(observation.at, |absentee| absentee.since)
    };
    let now_absent = observation.absent.iter().filter(|(_, fate)| *fate != Fate::Slow);
    let now_absent = now_absent.filter_map(|(id, fate)| {
        Some(Absentee {
            instance: (*known.get(id.as_str())?).clone(),
            since: since(id),
            fate: *fate,
        })
    });
    let mut absentees: Vec<Absentee> = now_absent.collect();
    let judged = observation.absent.iter().map(|(id, _)| id.as_str());
    let answered = replies.iter().map(|reply| reply.instance.id.as_str());
    let seen: BTreeSet<&str> = judged.chain(answered).collect();
    let unseen = |instance: &Instance| !seen.contains(instance.id.as_str());
    absentees.extend(before.iter().filter(|absentee| unseen(&absentee.instance)).cloned());
    // There was no time to ask for them, or no need.
    let unasked = previous.known().iter().filter(|instance| unseen(instance));
    absentees.extend(unasked.map(|instance| Absentee {
        instance: instance.clone(),
        since: observation.at,
        fate: Fate::NotAsked,
    }));
    let log = changes.iter().flat_map(|changes| &changes.log);
    let replaced: BTreeSet<&str> = log.filter_map(Change::replaces).collect();
    let is_replaced = |absentee: &Absentee| replaced.contains(absentee.instance.id.as_str());
    absentees.sort_by_key(|absentee| (is_replaced(absentee), std::cmp::Reverse(absentee.since)));
    absentees
}
