//! Whatever reads foreign bytes reads all bytes: the short form of tests/fuzz/run.sh, without coverage, on the seeds and on
//! random mutations of them. Always the same ones, unless FUZZ_SEED is another number; FUZZ_TIMES as many.

mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use targets::{TARGETS, Target};

/// How many mutations of the seeds each target reads.
const MUTATIONS: u64 = 1200;

fn number(variable: &str, otherwise: u64) -> u64 {
    let text = std::env::var(variable).ok();
    text.map_or(otherwise, |text| text.parse().expect(variable))
}

/// A linear congruential generator: the same numbers everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit.max(1)
    }
}

/// What libFuzzer does to an input, in small: cuts, doubles, crosses, and puts in words and odd bytes.
fn mutate(random: &mut Random, target: &Target, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut input = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(4) {
        let (at, end) = (random.below(input.len() + 1), random.below(input.len() + 1));
        let (at, end) = (at.min(end), at.max(end));
        match random.below(8) {
            0 => drop(input.drain(at..end)),
            1 => input.truncate(at),
            2 => {
                let part = input[at..end].to_vec();
                input.splice(at..at, part);
            }
            3 => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len() + 1);
                input.splice(at.., other[from..].iter().copied());
            }
            4 | 5 => {
                let word = target.words[random.below(target.words.len())];
                input.splice(at..at, word.bytes());
            }
            6 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = random.below(256) as u8;
                }
            }
            _ => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
        }
    }
    input.truncate(64 * 1024);
    input
}

/// The input, if it breaks a promise.
fn breaks(target: &Target, input: &[u8]) -> Option<String> {
    let ended = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    ended
        .is_err()
        .then(|| format!("{}: \"{}\"", target.name, input.escape_ascii()))
}

#[test]
fn every_target_keeps_its_promises() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let check = |target: &Target| {
        let seeds = target.seeds(root);
        assert!(seeds.len() > 1, "{} has seeds", target.name);
        let mut random = Random(number("FUZZ_SEED", 1));
        let mutations = MUTATIONS * number("FUZZ_TIMES", 1);
        let mutated = (0..mutations).map(|_| mutate(&mut random, target, &seeds));
        let mut inputs = [Vec::new()].into_iter().chain(seeds.clone()).chain(mutated);
        inputs.find_map(|input| breaks(target, &input))
    };
    let broken: Vec<String> = TARGETS.iter().filter_map(check).collect();
    assert!(broken.is_empty(), "what broke it is told above:\n{}", broken.join("\n"));
}
