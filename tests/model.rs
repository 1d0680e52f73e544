//! The judge and its memory under every sequence of events, and the schedules of one run under every order of messages, breadth first, as
//! deep as time allows: no outage is missed, none is invented.
//!
//! Each memory goes through the bytes of the state file. Memories that differ only in how long ago things were are told apart, those that
//! differ only in the time of day are not. An independent model of a few lines knows the truth of each path, and every step is
//! compared with it. The shortest path to a wrong step is printed.
//!
//! The usual run takes seconds; with `MODEL=SECONDS` it goes on for so long with each alphabet and each set of flags, and prints the table
//! of `tests/README.md`.

mod account;
mod endpoint;
mod events;
mod order;
mod order_all;
mod truth;

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Display;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

/// Maximum number of states that are kept to go on from: beyond it, steps are checked, and no further ones follow.
const MAX_KEPT: usize = 1_500_000;

/// World that can be searched: states, and the events that lead from one to the next.
trait World {
    type State: Hash;
    type Event: Clone + Display;

    fn start(&self) -> Self::State;

    /// Returns the events that are possible in this state.
    fn events(&self, state: &Self::State) -> Cow<'_, [Self::Event]>;

    /// The state after this event; `None`: that is the end of the path.
    ///
    /// # Errors
    ///
    /// The fault of the step.
    fn after(&self, state: &Self::State, event: &Self::Event) -> Result<Option<Self::State>, String>;
}

/// Search, with the states that it has visited.
#[derive(Default)]
struct Search {
    seen: HashSet<u64>,
    /// Of each state the one before it, and the number of the event between them.
    paths: Vec<(u32, u16)>,
    transitions: u64,
    /// Number of events from which on no path is left out; `None`: of none.
    depth: Option<usize>,
}

impl Search {
    /// Visits all states up to this depth, or up to the depth that is complete within the time that `MODEL` gives.
    fn of<W: World>(world: &W, depth: usize) -> Search {
        let end = long_form().map(|time| Instant::now() + time);
        let mut search = Search::default();
        let mut frontier = vec![(0, world.start())];
        search.paths.push((0, 0));
        for done in 0.. {
            search.depth = Some(done);
            if end.is_none() && done == depth {
                break;
            }
            let mut next = Vec::new();
            let mut is_whole = true;
            for (number, state) in frontier {
                if end.is_some_and(|end| Instant::now() > end) {
                    return search;
                }
                for (nth, event) in world.events(&state).iter().enumerate() {
                    search.transitions += 1;
                    let after = match world.after(&state, event) {
                        Ok(after) => after,
                        Err(wrong) => panic!("{wrong}\n{}", search.table(world, number, event)),
                    };
                    let Some(after) = after.filter(|after| search.seen.insert(hash(after))) else {
                        continue;
                    };
                    is_whole &= next.len() < MAX_KEPT;
                    if is_whole {
                        search.paths.push((number, nth as u16));
                        next.push((search.paths.len() as u32 - 1, after));
                    }
                }
            }
            if next.is_empty() {
                search.depth = None;
                break;
            }
            if !is_whole {
                search.depth = Some(done + 1);
                break;
            }
            frontier = next;
        }
        search
    }

    /// The events on the way to this state, and the one that went wrong.
    fn table<W: World>(&self, world: &W, mut number: u32, last: &W::Event) -> String {
        let mut path = Vec::new();
        while number > 0 {
            let (before, nth) = self.paths[number as usize];
            path.push(usize::from(nth));
            number = before;
        }
        let (mut lines, mut state) = (Vec::new(), world.start());
        for nth in path.into_iter().rev() {
            let event = world.events(&state)[nth].clone();
            lines.push(event.to_string());
            if let Ok(Some(after)) = world.after(&state, &event) {
                state = after;
            }
        }
        lines.push(last.to_string());
        lines.join("\n")
    }

    /// A row of the table of `tests/README.md`.
    fn tell(&self, name: &str, states: &str) {
        let (seen, transitions) = (self.seen.len(), self.transitions);
        let depth = match self.depth {
            Some(depth) => format!("complete to depth {depth}"),
            None => "complete".to_owned(),
        };
        println!("{name}: {seen} {states}, {transitions} transitions, {depth}");
        assert!(seen > 10, "{name}: too few {states}");
    }
}

fn ensure(is_true: bool, what: &str) -> Result<(), String> {
    if is_true { Ok(()) } else { Err(what.to_owned()) }
}

fn hash(state: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

/// Time for each search, in the long form.
fn long_form() -> Option<Duration> {
    let seconds = std::env::var("MODEL").ok()?;
    Some(Duration::from_secs(
        seconds.parse().expect("MODEL is a number of seconds"),
    ))
}

fn search_of_one_service(name: &str, events: &[events::Event], usual_depth: usize) {
    for (flags, policy) in events::policies() {
        let world = truth::OneService { policy, events };
        Search::of(&world, usual_depth).tell(&format!("{name}, {flags}"), "memories");
    }
}

#[test]
fn every_sequence_of_events_is_judged_rightly() {
    search_of_one_service("all events", &events::wide(), 1);
}

#[test]
fn long_sequences_of_few_events_are_judged_rightly() {
    search_of_one_service("few events", &events::narrow(), 3);
}

#[test]
fn every_sequence_of_events_of_two_services_is_judged_rightly() {
    for flags in account::FLAGS {
        let world = account::TwoServices::known(flags, account::wide());
        Search::of(&world, 1).tell(&format!("--all, all events, {}", world.name()), "memories");
    }
}

#[test]
fn long_sequences_of_few_events_of_two_services_are_judged_rightly() {
    for flags in account::FLAGS {
        let world = account::TwoServices::new(flags, account::narrow());
        Search::of(&world, 3).tell(&format!("--all, few events, {}", world.name()), "memories");
    }
}

#[test]
fn every_order_of_messages_ends_rightly() {
    for run in order::runs() {
        Search::of(&run, 4).tell(&run.name, "runs");
    }
}

#[test]
fn every_order_of_messages_of_all_services_ends_rightly() {
    for run in order_all::runs() {
        Search::of(&run, 3).tell(&run.name, "runs");
    }
}

#[test]
fn every_order_of_messages_of_a_request_ends_rightly() {
    for run in endpoint::runs() {
        Search::of(&run, run.usual_depth()).tell(&run.name, "runs");
    }
}
