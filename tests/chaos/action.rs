//! The actions of the driver, and the dice that choose one.

use std::time::Duration;

/// Maximum duration of a lame duck, which lets its clients go one by one.
const LAME_DUCK: Duration = Duration::from_secs(60);

/// Numbers that look random, and are the same for the same seed (splitmix64).
pub struct Dice(pub u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0 to below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    Whole,
    /// Packets vanish.
    Stuck,
    /// Connections are closed.
    Cut,
}

/// End of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With SIGTERM.
    Stop,
    Kill,
    LameDuck,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Start {
        client: &'static str,
        host: usize,
        server: usize,
        pod: String,
    },
    Kill(String),
    KillAll,
    Freeze(String),
    ThawAll,
    StopServer {
        server: usize,
        end: End,
    },
    StartServer(usize),
    FreezeServer(usize),
    ThawServer(usize),
    /// All servers read their configuration again, which may let all clients go.
    Reload {
        lets_go: bool,
    },
    LinkDown(usize),
    LinkUp(usize),
    Loss {
        host: usize,
        percent: usize,
    },
    Path(Path),
    /// The same, of the way between the servers of a leaf or a gateway.
    Joint(Path),
    /// Time that bytes take from a distance, each way.
    Delay(Duration),
    /// Nothing for a while.
    Rest,
}

impl Action {
    /// Maximum duration, if that is more than a moment.
    pub fn longest(&self) -> Duration {
        match self {
            Action::StopServer { end: End::LameDuck, .. } => LAME_DUCK,
            _ => Duration::ZERO,
        }
    }

    /// Returns `true` if connections that are made meanwhile may be lost, though NATS is fine before and after.
    pub fn disturbs(&self) -> bool {
        matches!(self, Action::Reload { lets_go: true })
    }
}
