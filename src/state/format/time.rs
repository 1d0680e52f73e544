//! Times in the state file. They may have been written by a clock that was ahead.

use std::cell::Cell;

use serde::{Deserialize, Serialize, Serializer};

use crate::values::timestamp::Timestamp;

/// The time of reading, and the latest one that was read.
pub struct Clock {
    now: Timestamp,
    latest: Cell<Timestamp>,
}

impl Clock {
    pub fn new(now: Timestamp) -> Clock {
        Clock {
            now,
            latest: Cell::new(now),
        }
    }

    /// The latest time that was read, or the time of reading.
    pub fn latest(&self) -> Timestamp {
        self.latest.get()
    }
}

/// A time in the file. It becomes a [`Timestamp`] only by a [`Clock`].
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub struct Time(pub Timestamp);

impl Time {
    /// The time, or that of reading if it has not come yet.
    pub fn read(self, clock: &Clock) -> Timestamp {
        clock.latest.set(clock.latest.get().max(self.0));
        self.0.min(clock.now)
    }
}

impl TryFrom<String> for Time {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Time, Self::Error> {
        Timestamp::parse(&text).map(Time).ok_or("no time")
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}
