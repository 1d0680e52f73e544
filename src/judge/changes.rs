//! Who came and who went since the last epoch with instances: remembered, and judged by other rules.

use super::rule::{RuleInput, RuleOutput};
use crate::probe::observation::{InstanceReply, Outcome, Silence};
use crate::state::changes::{Changes, Epochs};
use crate::state::memory::REMEMBERED_WORDS;

pub fn judge(input: &RuleInput<'_>, output: &mut RuleOutput) {
    let (Outcome::Answered(answers), Some(before)) = (&input.observation.outcome, input.memory.last_known()) else {
        return;
    };
    if !are_our_own(answers) {
        return;
    }
    let epochs = Epochs {
        before,
        with_versions: REMEMBERED_WORDS,
        at: input.observation.at,
        answers,
        absent: &input.observation.absent,
        hidden: input.observation.silence == Silence::Hidden,
    };
    let window = input.policy.restarts.window;
    output.next.changes = Some(Changes::after(input.memory.changes.as_ref(), epochs, window));
}

/// What an overlapping run has seen, it has judged. It has no times.
fn are_our_own(answers: &[InstanceReply]) -> bool {
    answers.iter().any(|answer| answer.rtt.is_some())
}
