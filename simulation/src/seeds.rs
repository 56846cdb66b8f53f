//! Tests that run a few thousand worlds. Each world has its own seed.

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    time::Instant,
};

use crate::{
    choices::Choices,
    world::{Counts, Peers, World},
};

/// The default number of worlds. These worlds take a few seconds.
const WORLDS: u64 = 3_000;
const STEPS: u32 = 300;
/// The reciprocal of the probability that a world uses keep-alive.
const KEEP_ALIVE_EVERY: u64 = 4;

/// Runs the world of a seed from its beginning to its end.
fn run(seed: u64, is_verbose: bool) -> Counts {
    let peers =
        Peers { max_links: 3, hostile_percent: 30, garbage: false, keep_alive: seed.is_multiple_of(KEEP_ALIVE_EVERY) };
    let mut world = World::new(Choices::Seeded(seed), peers, is_verbose);
    let step_weights = world.step_weights();
    for _ in 0..world.choices.between(1, STEPS) {
        world.step(&step_weights);
    }
    world.finish();
    world.counts
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn guarantees_hold_in_worlds_of_all_seeds() {
    if let Some(seed) = number("SIM_SEED") {
        run(seed, true);
        return;
    }
    let worlds = number("SIM_WORLDS").unwrap_or(WORLDS);
    let began = Instant::now();
    let mut counts = Counts::new();
    for seed in 0..worlds {
        match catch_unwind(AssertUnwindSafe(|| run(seed, false))) {
            Ok(run) => run.into_iter().for_each(|(name, count)| *counts.entry(name).or_default() += count),
            Err(panic) => {
                eprintln!("a guarantee does not hold in the world of seed {seed}; SIM_SEED={seed} logs its steps");
                resume_unwind(panic);
            }
        }
    }
    eprintln!("{worlds} worlds in {:.1} s: {counts:?}", began.elapsed().as_secs_f64());
    // Each of these events must occur in some world. Without this check, a simulation without any
    // events would pass, because it violates no guarantee.
    let expected = [
        "cancel",
        "credit overrun",
        "detached",
        "broken",
        "drained",
        "emit rejected",
        "timed out",
        "idle timeout",
        "idle timeout, detached",
        "call overloaded",
        "reply overtakes",
        "close",
        "refusal",
        "resumed",
        "held call overdue",
        "id in flight",
        "idle",
        "malformed",
        "not resumable",
        "newest dropped",
        "oldest dropped",
        "latest dropped",
        "queued emit replaced",
        "pending emit replaced",
        "queued emit moved",
        "unexpected frame",
        "invalid position",
        "broadcast request",
        "reset",
        "request rejected",
        "too slow",
        "volatile emit",
        "volatile emit dropped",
        "window overrun",
    ];
    let missed: Vec<_> = expected.into_iter().filter(|name| counts.get(name).is_none_or(|count| *count == 0)).collect();
    assert!(worlds < WORLDS || missed.is_empty(), "no world has caused {missed:?}");
}
