//! Everything that there is to say after a run, for whichever renderer says it.

use std::sync::Arc;

use crate::judge::verdict::Verdict;
use crate::probe::observation::Observation;
use crate::state::memory::Memory;
use crate::values::timestamp::Timestamp;

/// A verdict, and what it is drawn from.
#[derive(Clone, Debug)]
pub struct Report {
    pub verdict: Verdict,
    /// What the probe saw; `None` if there was none. Shared: it can be large, and the watchdog holds it too.
    pub seen: Option<Arc<Observation>>,
    /// What is remembered after this run.
    pub memory: Memory,
    /// When the verdict was said.
    pub now: Timestamp,
}

impl Report {
    /// A verdict without a probe: bad arguments, or a run that was ended too early.
    pub fn bare(verdict: Verdict) -> Report {
        Report {
            verdict,
            seen: None,
            memory: Memory::default(),
            now: Timestamp::now(),
        }
    }
}
