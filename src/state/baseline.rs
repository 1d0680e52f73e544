//! The number of instances that is normal.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::fields;
use crate::values::timestamp::Timestamp;

/// The number of instances that is normal: the largest number within the settle time (`--baseline-settle`). So a loss stays
/// visible, and the new size of a service that was scaled down becomes normal.
///
/// The number of an epoch counts until the next epoch with instances: nobody knows better, and so a loss is seen however
/// rarely the service is checked. An outage says nothing of what is normal.
///
/// A rolling deployment may start the new ones before it stops the old ones. So the baseline falls with the old ones that
/// leave a while after it rose, as far as it was before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BaselineFile")]
pub struct Baseline {
    /// Number of instances in the latest epoch that had any.
    pub latest: usize,
    /// Larger numbers within the settle time, oldest and largest first.
    pub peaks: Vec<Peak>,
    /// Latest rise of the baseline.
    pub raised: Option<BaselineRaise>,
}

/// A number of instances, larger than any after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peak {
    pub count: usize,
    /// The first epoch with fewer instances.
    pub until: Timestamp,
}

/// A rise of the baseline that a rolling deployment may take back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaselineRaise {
    /// Baseline before the rise.
    pub from: usize,
    /// When it rose. Who was there before that is an old one.
    pub since: Timestamp,
    /// When it last rose, or fell with an old one that left.
    pub latest: Timestamp,
}

/// A service that grows by more at once is not being replaced.
const MAX_RAISE: usize = 128;

/// Peaks are remembered from this many parts of the settle time, one of each: so there are no more than that and one.
const PARTS: u32 = 32;

/// Maximum number of peaks.
pub const MAX_PEAKS: usize = PARTS as usize + 1;

/// A baseline in the state file. Earlier versions knew one number (`count`), and since when there were `fewer`.
#[derive(Deserialize)]
struct BaselineFile {
    count: Option<usize>,
    fewer: Option<Fewer>,
    latest: Option<usize>,
    #[serde(default, deserialize_with = "fields::at_most::<MAX_PEAKS, _, _>")]
    peaks: Vec<Peak>,
    raised: Option<BaselineRaise>,
}

#[derive(Deserialize)]
struct Fewer {
    most: usize,
    since: Timestamp,
}

impl TryFrom<BaselineFile> for Baseline {
    type Error = &'static str;

    fn try_from(file: BaselineFile) -> Result<Baseline, Self::Error> {
        let (latest, peaks) = match (file.latest, file.count, file.fewer) {
            (Some(latest), ..) => (latest, file.peaks),
            (None, Some(count), Some(Fewer { most, since: until })) => (most, vec![Peak { count, until }]),
            (None, Some(count), None) => (count, Vec::new()),
            (None, None, _) => return Err("no number"),
        };
        Ok(Baseline {
            latest,
            peaks,
            raised: file.raised,
        })
    }
}

impl Baseline {
    pub fn new(count: usize) -> Baseline {
        Baseline {
            latest: count,
            peaks: Vec::new(),
            raised: None,
        }
    }

    /// Number of instances that is normal.
    pub fn count(&self) -> usize {
        self.peaks.first().map_or(self.latest, |peak| peak.count)
    }

    /// Since when there are fewer instances than normal.
    pub fn fewer_since(&self) -> Option<Timestamp> {
        self.peaks.first().map(|peak| peak.until)
    }

    /// The baseline after an epoch with this number of instances, more than none.
    ///
    /// `old_ones_left`: how many have left since that were there before it rose ([`BaselineRaise::since`]).
    pub fn after(
        before: Option<&Baseline>,
        at: Timestamp,
        count: usize,
        settle: Duration,
        old_ones_left: usize,
    ) -> Baseline {
        let Some(before) = before else {
            return Baseline::new(count);
        };
        let latest = Peak {
            count: before.latest,
            until: at,
        };
        let settling = before.peaks.iter().filter(|peak| at.since(peak.until) < settle);
        let mut peaks: Vec<Peak> = settling.copied().chain([latest]).collect();
        let mut normal = peaks[0].count;
        let mut raised = before.raised.filter(|raise| at.since(raise.latest) < settle);
        if let Some(raise) = raised.as_mut().filter(|_| old_ones_left > 0) {
            normal = normal.saturating_sub(old_ones_left).max(raise.from).min(normal);
            raise.latest = at;
        }
        for peak in &mut peaks {
            peak.count = peak.count.min(normal);
        }
        if count > normal {
            let from = raised.map_or(normal, |raise| raise.from);
            let since = raised.map_or(at, |raise| raise.since);
            let raise = BaselineRaise {
                from,
                since,
                latest: at,
            };
            let is_small = count.saturating_sub(from) <= MAX_RAISE;
            raised = Some(raise).filter(|_| is_small);
        } else {
            raised = raised.filter(|raise| raise.from < normal);
        }
        Baseline {
            latest: count,
            peaks: thinned(peaks, count, settle),
            raised,
        }
    }
}

/// The peaks above `count` that are larger than any after them, one of each part of the settle time.
fn thinned(mut peaks: Vec<Peak>, count: usize, settle: Duration) -> Vec<Peak> {
    let mut most = count;
    peaks.reverse();
    peaks.retain(|peak| {
        let is_larger = peak.count > most;
        most = most.max(peak.count);
        is_larger
    });
    peaks.reverse();
    let part = i64::try_from((settle / PARTS).as_micros()).unwrap_or(i64::MAX).max(1);
    peaks.dedup_by_key(|peak| peak.until.as_micros() / part);
    peaks
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE: Duration = Duration::from_secs(900);

    #[test]
    fn baseline_is_the_largest_number_within_the_settle_time() {
        let at = Timestamp::from_seconds;
        // Each epoch: when, how many, and the baseline after it.
        let steps: &[&[(i64, usize, usize)]] = &[
            &[(0, 3, 3), (60, 5, 5), (120, 4, 5), (180, 5, 5)],
            &[(0, 3, 3), (60, 2, 3), (959, 2, 3), (960, 2, 2)],
            // Each number has its own time to settle, from when there were fewer.
            &[
                (0, 5, 5),
                (60, 2, 5),
                (120, 4, 5),
                (180, 1, 5),
                (959, 1, 5),
                (960, 1, 4),
                (1079, 1, 4),
                (1080, 1, 1),
            ],
            &[(0, 4, 4), (60, 3, 4), (120, 2, 4), (960, 2, 3), (1020, 2, 2)],
            // Changes in quick succession count as one.
            &[(0, 4, 4), (1, 3, 4), (2, 2, 4), (900, 2, 4), (901, 2, 2)],
            // A loss is reported once, even with rare checks.
            &[(0, 3, 3), (5000, 2, 3), (10_000, 2, 2), (15_000, 3, 3), (20_000, 1, 3)],
            // All are back, so the time starts again.
            &[(0, 3, 3), (60, 2, 3), (900, 3, 3), (960, 2, 3), (1020, 2, 3)],
        ];
        for steps in steps {
            let mut baseline: Option<Baseline> = None;
            for (second, count, expected) in *steps {
                let after = Baseline::after(baseline.as_ref(), at(*second), *count, SETTLE, 0);
                assert_eq!(after.count(), *expected, "{steps:?} at {second}");
                baseline = Some(after);
            }
        }
    }

    /// Each epoch: when, how many, how many old ones left, and the baseline after it.
    #[test]
    fn a_baseline_falls_with_the_old_ones_that_leave_after_it_rose() {
        let at = Timestamp::from_seconds;
        let steps: &[&[(i64, usize, usize, usize)]] = &[
            // A rolling deployment, one by one, and one that always has one more until its end.
            &[
                (0, 3, 0, 3),
                (60, 4, 0, 4),
                (120, 3, 1, 3),
                (180, 4, 0, 4),
                (240, 3, 1, 3),
            ],
            &[
                (0, 3, 0, 3),
                (600, 4, 0, 4),
                (1200, 4, 1, 4),
                (1800, 4, 1, 4),
                (2400, 3, 1, 3),
            ],
            // Two more at first, which leave one by one.
            &[
                (0, 3, 0, 3),
                (60, 4, 0, 4),
                (120, 5, 0, 5),
                (180, 4, 1, 4),
                (240, 3, 1, 3),
            ],
            // Fewer than before it: of these, those are lost that were there before.
            &[(0, 3, 0, 3), (60, 4, 0, 4), (120, 2, 2, 3), (180, 1, 1, 3)],
            // A new one that died is lost, until an old one leaves for it.
            &[(0, 3, 0, 3), (60, 4, 0, 4), (120, 3, 0, 4), (180, 3, 1, 3)],
            &[
                (0, 3, 0, 3),
                (60, 4, 0, 4),
                (1019, 3, 0, 4),
                (1918, 3, 0, 4),
                (1919, 3, 0, 3),
            ],
            // It rose long ago, or all at once by too many.
            &[(0, 3, 0, 3), (60, 4, 0, 4), (960, 3, 1, 4)],
            &[(0, 3, 0, 3), (60, 400, 0, 400), (120, 300, 100, 400)],
            &[(0, 3, 0, 3), (60, 4, 0, 4), (500, 4, 0, 4), (960, 3, 1, 4)],
            // Never rose.
            &[(0, 3, 0, 3), (60, 2, 1, 3), (120, 1, 1, 3)],
            // Both at once.
            &[(0, 3, 0, 3), (60, 4, 1, 4), (120, 3, 2, 3)],
        ];
        for steps in steps {
            let mut baseline: Option<Baseline> = None;
            for (second, count, old, expected) in *steps {
                let after = Baseline::after(baseline.as_ref(), at(*second), *count, SETTLE, *old);
                assert_eq!(after.count(), *expected, "{steps:?} at {second}");
                assert!(after.count() >= *count);
                assert!(
                    after.raised.is_none_or(|raise| raise.from < after.count()),
                    "{steps:?} at {second}"
                );
                baseline = Some(after);
            }
        }
    }
    #[test]
    fn what_is_remembered_is_bounded_and_near_the_largest_number() {
        let at = |second: i64| Timestamp::from_seconds(1_790_000_000 + second);
        let mut baseline = Baseline::new(20_000);
        for second in 0..10_000 {
            let count = 20_000 - second as usize;
            baseline = Baseline::after(Some(&baseline), at(second), count, SETTLE, 0);
            assert!(baseline.peaks.len() <= MAX_PEAKS, "{}", baseline.peaks.len());
            // The number of the epoch before counts until this one.
            let largest = count + 900.min(second as usize);
            assert!(
                (largest - 30..=largest + 1).contains(&baseline.count()),
                "{second}: {} of {largest}",
                baseline.count()
            );
        }
        let shrunk = Baseline::after(Some(&baseline), at(10_000), 5, Duration::from_micros(1), 0);
        assert_eq!((shrunk.count(), shrunk.peaks.len()), (10_001, 1));
    }
}
