//! The truth at each instant. Pure: it is told the events and their times.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// State of NATS: reachable or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nats {
    Fine,
    /// By some, or for a part of the time: then there is nothing that a run has to say.
    Disturbed,
    Away,
}

/// Host of an instance, and the server that it was started with.
pub type Spot = (usize, usize);

/// Truth until the next moment.
#[derive(Clone, Debug)]
pub struct Moment {
    pub from: Instant,
    /// The pods whose instance can answer, each with the time from which on a run that ends has no excuse not to have heard it.
    pub can: BTreeMap<String, Instant>,
    /// The pods whose instance is active, and where each is. All others cannot answer.
    pub may: BTreeMap<String, Spot>,
    /// Where answers come from; also those that were sent before.
    pub reached: BTreeSet<Spot>,
    pub nats: Nats,
    /// The same for those who ask from a distance.
    pub path: Nats,
}

impl Moment {
    /// While something changes, that is true which is true before and after it.
    pub fn between(before: &Moment, after: &Moment) -> Moment {
        let both = |before, after| if before == after { before } else { Nats::Disturbed };
        let can = before.can.iter().filter_map(|(pod, settled)| {
            let later = (*settled).max(*after.can.get(pod)?);
            Some((pod.clone(), later))
        });
        Moment {
            from: after.from,
            can: can.collect(),
            may: before.may.clone().into_iter().chain(after.may.clone()).collect(),
            reached: before.reached.union(&after.reached).copied().collect(),
            nats: both(before.nats, after.nats),
            path: both(before.path, after.path),
        }
    }

    /// As it is for those who ask from a distance.
    fn seen_from_a_distance(mut self) -> Moment {
        self.nats = match (self.nats, self.path) {
            (Nats::Fine, Nats::Fine) => Nats::Fine,
            (Nats::Away, _) | (_, Nats::Away) => Nats::Away,
            _ => Nats::Disturbed,
        };
        if self.nats != Nats::Fine {
            self.can.clear();
        }
        if self.nats == Nats::Away {
            self.reached.clear();
        }
        self
    }
}

/// So many moments are lately.
pub const LATELY: usize = 12;

/// All moments, in their order.
#[derive(Default)]
pub struct History {
    moments: Vec<Moment>,
    started: Vec<String>,
    killed: Vec<String>,
}

/// Place that a check asks from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    Nearby,
    ADistance,
}

/// Truth for the whole of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truth {
    /// An instance could answer all along, and has had the time that it needs.
    pub up: bool,
    /// An instance was there all along; whether it has had its time or not.
    pub there: bool,
    /// Nobody could answer: at no time, or none of it could arrive.
    pub down: bool,
    /// Instances of whom `up` is true, and those that could have answered at any time.
    pub least: usize,
    pub most: usize,
    pub nats: Nats,
}

impl History {
    pub fn push(&mut self, moment: Moment) {
        self.moments.push(moment);
    }

    /// Notes that a pod starts now.
    pub fn start(&mut self, pod: &str) {
        self.started.push(pod.to_owned());
    }

    /// Notes that a pod ends now.
    pub fn kill(&mut self, pod: &str) {
        self.killed.push(pod.to_owned());
    }

    /// Numbers of these pods that have started so far, and ended.
    pub fn turnover(&self, asked: impl Fn(&str) -> bool) -> [usize; 2] {
        [&self.started, &self.killed].map(|pods| pods.iter().filter(|pod| asked(pod)).count())
    }

    /// The pods that are there, or were lately.
    pub fn pods(&self) -> Vec<String> {
        let lately = self.moments.iter().rev().take(LATELY);
        let pods: BTreeSet<_> = lately.flat_map(|moment| moment.may.keys().cloned()).collect();
        pods.into_iter().collect()
    }

    /// Returns the truth from `start` to `end`: for the pods that `asked` names, those of a service or one of them. An event of
    /// an instance has to be over, with the time that it needs, when `settled` comes.
    pub fn truth(
        &self,
        from: From,
        start: Instant,
        end: Instant,
        settled: Instant,
        asked: impl Fn(&str) -> bool,
    ) -> Truth {
        let first = self
            .moments
            .partition_point(|moment| moment.from <= start)
            .saturating_sub(1);
        let during = self.moments[first..].iter().take_while(|moment| moment.from <= end);
        let mut moments: Vec<Moment> = during.cloned().collect();
        if from == From::ADistance {
            moments = moments.into_iter().map(Moment::seen_from_a_distance).collect();
        }
        let last = moments.last().expect("a run after the beginning");
        let all_along = |pod: &str| moments.iter().all(|moment| moment.can.contains_key(pod));
        let reached = |spot| moments.iter().any(|moment| moment.reached.contains(spot));
        let active = moments.iter().flat_map(|moment| &moment.may);
        let active: BTreeSet<_> = active
            .filter(|(pod, spot)| asked(pod) && reached(spot))
            .map(|(pod, _)| pod)
            .collect();
        let up = last
            .can
            .iter()
            .filter(|(pod, since)| asked(pod) && **since <= settled && all_along(pod));
        let least = up.count();
        let all = |nats| moments.iter().all(|moment| moment.nats == nats);
        Truth {
            up: least > 0,
            there: last.can.keys().any(|pod| asked(pod) && all_along(pod)),
            down: active.is_empty(),
            least,
            most: active.len(),
            nats: match (all(Nats::Fine), all(Nats::Away)) {
                (true, _) => Nats::Fine,
                (_, true) => Nats::Away,
                _ => Nats::Disturbed,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A moment at this second: the pods that can answer (settled at a second), and those that may besides.
    fn moment(zero: Instant, second: u64, can: &[(&str, u64)], may: &[&str], nats: Nats) -> Moment {
        let at = |second| zero + Duration::from_secs(second);
        let can: BTreeMap<_, _> = can.iter().map(|(pod, second)| (pod.to_string(), at(*second))).collect();
        let may = may.iter().map(|pod| pod.to_string()).chain(can.keys().cloned());
        Moment {
            from: at(second),
            may: may.map(|pod| (pod, (0, 0))).collect(),
            can,
            reached: (nats != Nats::Away).then_some((0, 0)).into_iter().collect(),
            nats,
            path: Nats::Fine,
        }
    }

    #[test]
    fn truth_of_a_run_holds_for_all_of_its_time() {
        let zero = Instant::now();
        let mut history = History::default();
        for moment in [
            moment(zero, 0, &[("a", 2), ("b", 0)], &[], Nats::Fine),
            moment(zero, 10, &[("a", 2)], &["b"], Nats::Fine),
            moment(zero, 11, &[("a", 2)], &[], Nats::Fine),
            moment(zero, 20, &[], &["a"], Nats::Disturbed),
            moment(zero, 21, &[], &[], Nats::Away),
            moment(zero, 30, &[], &["a"], Nats::Disturbed),
            moment(zero, 31, &[("a", 35)], &[], Nats::Fine),
        ] {
            history.push(moment);
        }
        let truth = |start: u64, end: u64, pod: Option<&str>| {
            let at = |second| zero + Duration::from_secs(second);
            let asked = |other: &str| pod.is_none_or(|pod| pod == other);
            let truth = history.truth(From::Nearby, at(start), at(end), at(end), asked);
            assert!(truth.there || !truth.up);
            (truth.up, truth.down, truth.nats)
        };
        assert_eq!(truth(1, 1, None), (true, false, Nats::Fine));
        assert_eq!(truth(1, 1, Some("a")), (false, false, Nats::Fine), "not settled");
        assert_eq!(truth(1, 3, Some("a")), (true, false, Nats::Fine));
        assert_eq!(truth(5, 12, None), (true, false, Nats::Fine));
        assert_eq!(
            truth(5, 12, Some("b")),
            (false, false, Nats::Fine),
            "could answer at the beginning"
        );
        assert_eq!(truth(12, 13, Some("b")), (false, true, Nats::Fine));
        assert_eq!(truth(12, 13, Some("c")), (false, true, Nats::Fine));
        assert_eq!(truth(15, 22, None), (false, false, Nats::Disturbed));
        assert_eq!(truth(22, 29, None), (false, true, Nats::Away));
        assert_eq!(truth(22, 32, None), (false, false, Nats::Disturbed));
        assert_eq!(truth(32, 34, None), (false, false, Nats::Fine), "comes back");
        assert_eq!(truth(32, 36, None), (true, false, Nats::Fine));
    }

    #[test]
    fn an_answer_may_arrive_when_its_sender_is_gone() {
        let zero = Instant::now();
        let mut history = History::default();
        // Sent to a server that is frozen, and passed on when it goes on.
        history.push(moment(zero, 0, &[], &[], Nats::Fine));
        history.push(moment(zero, 1, &[], &["a"], Nats::Away));
        history.push(moment(zero, 2, &[], &[], Nats::Away));
        history.push(moment(zero, 3, &[], &[], Nats::Fine));
        let down = |start: u64, end: u64| {
            let at = |second| zero + Duration::from_secs(second);
            history
                .truth(From::Nearby, at(start), at(end), at(end), |pod| pod == "a")
                .down
        };
        assert!(!down(0, 4));
        assert!(!down(1, 4));
        assert!(down(1, 2), "none of it arrives");
        assert!(down(2, 4), "sent before the run");
    }

    #[test]
    fn from_a_distance_the_path_counts_too() {
        let zero = Instant::now();
        let mut history = History::default();
        for (second, path) in [(0, Nats::Fine), (10, Nats::Disturbed), (20, Nats::Away)] {
            let moment = moment(zero, second, &[("a", 0)], &[], Nats::Fine);
            history.push(Moment { path, ..moment });
        }
        let truth = |from, second: u64| {
            let at = zero + Duration::from_secs(second);
            let truth = history.truth(from, at, at, at, |_| true);
            (truth.up, truth.down, truth.nats)
        };
        assert_eq!(truth(From::ADistance, 5), (true, false, Nats::Fine));
        assert_eq!(truth(From::ADistance, 15), (false, false, Nats::Disturbed));
        assert_eq!(truth(From::ADistance, 25), (false, true, Nats::Away));
        assert_eq!(truth(From::Nearby, 25), (true, false, Nats::Fine));
    }

    #[test]
    fn while_something_changes_only_that_is_true_which_stays() {
        let zero = Instant::now();
        let before = moment(zero, 0, &[("a", 1), ("b", 1)], &["c"], Nats::Fine);
        let after = moment(zero, 5, &[("a", 9), ("c", 0)], &[], Nats::Away);
        let during = Moment::between(&before, &after);
        assert_eq!(during.can, moment(zero, 0, &[("a", 9)], &[], Nats::Fine).can);
        assert_eq!(during.may.into_keys().collect::<String>(), "abc");
        assert_eq!((during.nats, during.path), (Nats::Disturbed, Nats::Fine));
    }
}
