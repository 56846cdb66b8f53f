//! A few thousand worlds, one for each seed.

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    time::Instant,
};

use crate::{
    choices::Choices,
    world::{Peers, Tally, World},
};

/// So many worlds take a few seconds.
const WORLDS: u64 = 3_000;
const STEPS: u32 = 300;
/// In one of so many worlds, silence is minded.
const MINDING: u64 = 4;

/// The world of a seed, from its beginning to its end.
fn live(seed: u64, tells: bool) -> Tally {
    let peers = Peers { most: 3, hostile: 30, babble: false, minding: seed.is_multiple_of(MINDING) };
    let mut world = World::new(Choices::Seeded(seed), peers, tells);
    let habits = world.habits();
    for _ in 0..world.choices.between(1, STEPS) {
        world.step(&habits);
    }
    world.finish();
    world.tally
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn worlds_of_all_seeds_keep_guarantees() {
    if let Some(seed) = number("SIM_SEED") {
        live(seed, true);
        return;
    }
    let worlds = number("SIM_WORLDS").unwrap_or(WORLDS);
    let began = Instant::now();
    let mut tally = Tally::new();
    for seed in 0..worlds {
        match catch_unwind(AssertUnwindSafe(|| live(seed, false))) {
            Ok(lived) => lived.into_iter().for_each(|(what, count)| *tally.entry(what).or_default() += count),
            Err(broken) => {
                eprintln!(
                    "a promise is broken in the world of seed {seed}; SIM_SEED={seed} shows it again, step by step"
                );
                resume_unwind(broken);
            }
        }
    }
    eprintln!("{worlds} worlds in {:.1} s: {tally:?}", began.elapsed().as_secs_f64());
    // A simulation in which nothing happens would keep all promises.
    let expected = [
        "cancel",
        "credit overrun",
        "broken off",
        "cut",
        "drained",
        "emit refused",
        "ended by time",
        "found dead",
        "found dead, and broken off",
        "call given up",
        "answer overtakes",
        "goodbye",
        "gone on",
        "held call overdue",
        "id in flight",
        "idle",
        "malformed",
        "missed too much",
        "newest dropped",
        "oldest dropped",
        "all but the latest dropped",
        "out of turn",
        "position that cannot be",
        "question to all",
        "started anew",
        "request refused",
        "too slow",
        "volatile emit",
        "volatile emit dropped",
        "window overrun",
    ];
    let missed: Vec<_> = expected.into_iter().filter(|what| tally.get(what).is_none_or(|count| *count == 0)).collect();
    assert!(worlds < WORLDS || missed.is_empty(), "no world has met {missed:?}");
}
