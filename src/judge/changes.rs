//! Who came and who went since the last epoch with instances: remembered, and judged by other rules.

use super::case::{Case, Ruling};
use crate::probe::observation::{Answer, Outcome, Silence};
use crate::state::changes::{Changes, Epochs};
use crate::state::memory::REMEMBERED_WORDS;

pub fn judge(case: &Case<'_>, ruling: &mut Ruling) {
    let (Outcome::Answered(answers), Some(before)) = (&case.seen.outcome, case.memory.last_known()) else {
        return;
    };
    if !are_our_own(answers) {
        return;
    }
    let epochs = Epochs {
        before,
        with_versions: REMEMBERED_WORDS,
        at: case.seen.at,
        answers,
        absent: &case.seen.absent,
        hidden: case.seen.silence == Silence::Hidden,
    };
    let window = case.policy.restarts.window;
    ruling.next.changes = Some(Changes::after(case.memory.changes.as_ref(), epochs, window));
}

/// What an overlapping run has seen, it has judged. It has no times.
fn are_our_own(answers: &[Answer]) -> bool {
    answers.iter().any(|answer| answer.rtt.is_some())
}
