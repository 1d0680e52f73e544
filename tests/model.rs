//! The judge and its memory under every sequence of events, and the schedule of one run under every order of messages, breadth first, as
//! deep as time allows: no outage is missed, none is invented.
//!
//! Each memory goes through the bytes of the state file. Memories that differ only in how long ago things were are told apart, those that
//! differ only in the time of day are not. An independent model of a few lines knows the truth of each path, and every step is
//! compared with it. The shortest path to a wrong step is printed.
//!
//! The usual run takes seconds; with `MODEL=SECONDS` it goes on for so long with each alphabet and each set of flags, and prints the table
//! of `tests/README.md`.

mod events;
mod order;
mod truth;

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use check_nats_service::judge::Policy;

use self::events::{Event, narrow, wide};
use self::truth::Node;

/// The nodes that were visited, and the path to each.
struct Search<'a> {
    policy: &'a Policy,
    events: &'a [Event],
    seen: HashSet<u64>,
    /// Of each node the one before it, and the number of the event between them.
    paths: Vec<(u32, u16)>,
    transitions: u64,
}

impl Search<'_> {
    /// Visits all nodes up to this depth, or up to the depth that is complete within the time that `MODEL` gives. Returns the depth.
    fn run(&mut self, depth: usize) -> usize {
        let end = long_form().map(|time| Instant::now() + time);
        let mut frontier = vec![(0, Node::default())];
        self.paths.push((0, 0));
        for done in 0.. {
            if end.is_none() && done == depth {
                return depth;
            }
            let mut next = Vec::new();
            for (number, node) in frontier {
                if end.is_some_and(|end| Instant::now() > end) {
                    return done;
                }
                for (nth, event) in self.events.iter().enumerate() {
                    self.transitions += 1;
                    let after = match node.after(event, self.policy) {
                        Ok(after) => after,
                        Err(wrong) => panic!("{wrong}\n{}", self.table(number, event)),
                    };
                    if self.seen.insert(hash(&after)) {
                        self.paths.push((number, nth as u16));
                        next.push((self.paths.len() as u32 - 1, after));
                    }
                }
            }
            if next.is_empty() {
                return usize::MAX;
            }
            frontier = next;
        }
        unreachable!("the depth is bounded");
    }

    /// The events on the way to this node, and the one that went wrong.
    fn table(&self, mut number: u32, last: &Event) -> String {
        let mut lines = vec![last.to_string()];
        while number > 0 {
            let (before, nth) = self.paths[number as usize];
            lines.push(self.events[nth as usize].to_string());
            number = before;
        }
        lines.reverse();
        lines.join("\n")
    }
}

fn ensure(is_true: bool, what: &str) -> Result<(), String> {
    if is_true { Ok(()) } else { Err(what.to_owned()) }
}

fn hash(node: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    node.hash(&mut hasher);
    hasher.finish()
}

/// Time for each search, in the long form.
fn long_form() -> Option<Duration> {
    let seconds = std::env::var("MODEL").ok()?;
    Some(Duration::from_secs(
        seconds.parse().expect("MODEL is a number of seconds"),
    ))
}

fn search(name: &str, events: &[Event], usual_depth: usize) {
    for (flags, policy) in events::policies() {
        let mut search = Search {
            policy: &policy,
            events,
            seen: HashSet::new(),
            paths: Vec::new(),
            transitions: 0,
        };
        let depth = search.run(usual_depth);
        println!(
            "{name}, {flags}: {} events, {} memories, {} transitions, complete to depth {depth}",
            events.len(),
            search.paths.len(),
            search.transitions
        );
        assert!(search.paths.len() > 10, "{name}, {flags}: too few memories");
    }
}

#[test]
fn every_sequence_of_events_is_judged_rightly() {
    search("all events", &wide(), 1);
}

#[test]
fn long_sequences_of_few_events_are_judged_rightly() {
    search("few events", &narrow(), 3);
}

#[test]
fn every_order_of_messages_ends_rightly() {
    for (name, run) in order::runs() {
        let end = long_form().map(|time| Instant::now() + time);
        let is_over = |depth| end.map_or(depth == 4, |end| Instant::now() > end);
        let (runs, transitions, depth) = order::search(run, is_over).unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
        println!("{name}: {runs} runs, {transitions} transitions, complete to depth {depth}");
        assert!(runs > 10, "{name}: too few");
    }
}
