//! The verdicts that the truth allows. Pure.

use super::oracle::{Nats, Truth};

/// Verdict of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    Up,
    Recovered,
    /// `asked`: it is not only remembered.
    Down {
        asked: bool,
    },
    NotAsked,
    NeverSeen,
}

/// Fault of a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    FalseAlarm,
    MissedOutage,
    /// An outage begins while an instance that is there has not come back yet, as it would have.
    HastyAlarm,
    /// None of these: UNKNOWN for no reason, or an end of an outage that there was not.
    Odd,
}

/// Verdicts of one watcher so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told {
    pub seen: bool,
    pub outage: bool,
    /// A run was killed: nobody has heard what it has remembered.
    pub unsure: bool,
}

impl Told {
    /// Takes what a check has said, and judges it.
    pub fn judge(&mut self, said: Said, truth: Truth) -> Option<Fault> {
        let before = *self;
        self.unsure = false;
        match said {
            Said::Up | Said::Recovered => (self.seen, self.outage) = (true, false),
            Said::Down { .. } => self.outage = true,
            Said::NotAsked | Said::NeverSeen => self.outage = false,
        }
        let (was_down, was_up) = (before.outage && !before.unsure, !before.outage && !before.unsure);
        let has_to_be_told = truth.down && truth.nats == Nats::Fine && before.seen;
        match said {
            Said::Up | Said::Recovered if truth.down => Some(Fault::MissedOutage),
            // It ended without a word, or there was none.
            Said::Up if was_down => Some(Fault::MissedOutage),
            Said::Recovered if was_up => Some(Fault::Odd),
            Said::Down { asked: true } if truth.up => Some(Fault::FalseAlarm),
            Said::Down { asked: true } if truth.there && was_up => Some(Fault::HastyAlarm),
            Said::Down { asked: false } if was_up => Some(Fault::FalseAlarm),
            Said::Down { asked: false } if truth.nats == Nats::Fine => Some(Fault::Odd),
            Said::NotAsked | Said::NeverSeen if has_to_be_told || was_down => Some(Fault::MissedOutage),
            Said::NotAsked if truth.nats == Nats::Fine => Some(Fault::Odd),
            Said::NeverSeen if before.seen || truth.up => Some(Fault::Odd),
            _ => None,
        }
    }
}

/// Findings of the flags of a check, besides the verdict on the service.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flags {
    /// Fewer instances than the baseline, if that was to be judged.
    pub lost: Option<bool>,
    pub baseline: usize,
    /// Instances that answer, and those in whose place others are said to have come.
    pub instances: usize,
    pub replaced: usize,
    /// Several versions; there is one.
    pub mixed: bool,
}

impl Flags {
    /// Judges them, where the service is up. `started` instances have been started so far: nobody who answers was replaced, and nobody
    /// twice.
    pub fn judge(self, truth: Truth, started: usize) -> Option<Fault> {
        match self.lost {
            _ if self.mixed || self.replaced + self.instances > started => Some(Fault::FalseAlarm),
            Some(true) if truth.least >= self.baseline => Some(Fault::FalseAlarm),
            Some(false) if truth.most < self.baseline && truth.nats == Nats::Fine => Some(Fault::MissedOutage),
            _ => None,
        }
    }
}

/// Judges what a probe of one pod has said.
pub fn judge_probe(liveness: bool, passed: bool, truth: Truth) -> Option<Fault> {
    let not_its_fault = truth.up || (liveness && truth.nats == Nats::Away);
    let has_to_fail = truth.down && (!liveness || truth.nats == Nats::Fine);
    match passed {
        false if not_its_fault => Some(Fault::FalseAlarm),
        true if has_to_fail => Some(Fault::MissedOutage),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn truth(up: bool, down: bool, nats: Nats) -> Truth {
        Truth {
            up,
            there: up,
            down,
            least: usize::from(up),
            most: usize::from(!down),
            nats,
        }
    }

    #[test]
    fn every_wrong_word_of_a_check_is_a_fault() {
        let up = truth(true, false, Nats::Fine);
        let back = Truth { up: false, ..up };
        let down = truth(false, true, Nats::Fine);
        let open = truth(false, false, Nats::Disturbed);
        let away = truth(false, true, Nats::Away);
        let (never, well, ill) = ((false, false), (true, false), (true, true));
        let asked = Said::Down { asked: true };
        let remembered = Said::Down { asked: false };
        let (alarm, missed, odd) = (Some(Fault::FalseAlarm), Some(Fault::MissedOutage), Some(Fault::Odd));
        for ((seen, outage), said, truth, fault) in [
            (well, Said::Up, up, None),
            (well, Said::Up, open, None),
            (well, Said::Up, down, missed),
            (well, Said::Up, away, missed),
            (ill, Said::Up, up, missed),
            (ill, Said::Recovered, up, None),
            (ill, Said::Recovered, down, missed),
            (well, Said::Recovered, up, odd),
            (well, asked, down, None),
            (well, asked, open, None),
            (well, asked, up, alarm),
            (ill, asked, up, alarm),
            (well, asked, back, Some(Fault::HastyAlarm)),
            (ill, asked, back, None),
            (well, remembered, away, alarm),
            (well, remembered, open, alarm),
            (ill, remembered, away, None),
            (ill, remembered, open, None),
            (ill, remembered, down, odd),
            (well, Said::NotAsked, away, None),
            (well, Said::NotAsked, open, None),
            (well, Said::NotAsked, up, odd),
            (well, Said::NotAsked, down, missed),
            (ill, Said::NotAsked, away, missed),
            (never, Said::NotAsked, away, None),
            (never, Said::NeverSeen, down, None),
            (never, Said::NeverSeen, open, None),
            (never, Said::NeverSeen, up, odd),
            (well, Said::NeverSeen, open, odd),
            (well, Said::NeverSeen, down, missed),
        ] {
            let unsure = false;
            let judged = Told { seen, outage, unsure }.judge(said, truth);
            assert_eq!(judged, fault, "{said:?} {truth:?} seen {seen} outage {outage}");
        }
        // What it had to say before may be over.
        for (outage, said, truth, fault) in [
            (true, Said::Up, up, None),
            (false, Said::Recovered, up, None),
            (false, remembered, away, None),
            (true, Said::NotAsked, away, None),
            (true, Said::Up, down, missed),
            (true, Said::NotAsked, down, missed),
            (true, asked, up, alarm),
        ] {
            let (seen, unsure) = (true, true);
            let mut told = Told { seen, outage, unsure };
            assert_eq!(told.judge(said, truth), fault, "{said:?} {truth:?} outage {outage}");
            assert!(!told.unsure);
        }
    }

    #[test]
    fn every_wrong_word_of_a_flag_is_a_fault() {
        let of = |least, most| Truth {
            least,
            most,
            ..truth(true, false, Nats::Fine)
        };
        let (alarm, missed) = (Some(Fault::FalseAlarm), Some(Fault::MissedOutage));
        for (lost, replaced, mixed, truth, fault) in [
            (Some(false), 0, false, of(2, 2), None),
            (Some(true), 0, false, of(2, 2), alarm),
            (Some(true), 0, false, of(1, 2), None),
            (Some(false), 0, false, of(1, 2), None),
            (Some(false), 0, false, of(1, 1), missed),
            (None, 0, false, of(1, 1), None),
            (None, 3, false, of(2, 2), None),
            (None, 4, false, of(2, 2), alarm),
            (None, 0, true, of(2, 2), alarm),
        ] {
            let baseline = 2;
            let flags = Flags {
                lost,
                baseline,
                instances: 2,
                replaced,
                mixed,
            };
            assert_eq!(flags.judge(truth, 5), fault, "{flags:?} {truth:?}");
        }
    }

    #[test]
    fn every_wrong_word_of_a_probe_is_a_fault() {
        let up = truth(true, false, Nats::Fine);
        let down = truth(false, true, Nats::Fine);
        let away = truth(false, true, Nats::Away);
        let open = truth(false, false, Nats::Fine);
        let (alarm, missed) = (Some(Fault::FalseAlarm), Some(Fault::MissedOutage));
        for (truth, passed, liveness, readiness) in [
            (up, true, None, None),
            (up, false, alarm, alarm),
            (down, true, missed, missed),
            (down, false, None, None),
            (away, true, None, missed),
            (away, false, alarm, None),
            (open, true, None, None),
            (open, false, None, None),
        ] {
            assert_eq!(judge_probe(true, passed, truth), liveness, "{truth:?} {passed}");
            assert_eq!(judge_probe(false, passed, truth), readiness, "{truth:?} {passed}");
        }
    }
}
