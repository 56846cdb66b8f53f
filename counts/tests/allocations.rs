//! Counts allocations in steady state. The server and the client run on separate threads, and the
//! test counts their allocations separately.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    sync::{Arc, Barrier, mpsc},
    thread,
};

use allocation_counter::measure;
use sockets_counts::{ALLOCATIONS, ALLOCATIONS_PER_MEMBER, Load, Loader, PerPeer, runtime, server};
use tokio::sync::Notify;

/// The repetitions of each count.
const REPETITIONS: std::ops::Range<u32> = 0..3;

/// Returns the number of allocations that `rounds` rounds need in steady state.
///
/// A warm-up of the same number of rounds precedes the count. The result is the minimum of three
/// repetitions, since a buffer may still grow for the largest batch.
fn allocations(load: Load, rounds: u32) -> PerPeer {
    rlimit::increase_nofile_limit(4096).unwrap();
    let (url_sender, url) = mpsc::channel();
    let start = Arc::new(Barrier::new(2));
    let next = Arc::new(Notify::new());
    let server = thread::spawn({
        let (next, start) = (Arc::clone(&next), Arc::clone(&start));
        move || {
            let runtime = runtime();
            let (server, _) = server();
            runtime.block_on(server.bind("tcp://127.0.0.1:0")).unwrap();
            url_sender.send(format!("tcp://{}", server.local_addr())).unwrap();
            runtime.block_on(next.notified());
            let count = |_| {
                start.wait();
                measure(|| runtime.block_on(next.notified())).count_total
            };
            REPETITIONS.map(count).min()
        }
    });
    let runtime = runtime();
    let loader = runtime.block_on(Loader::connect(&url.recv().unwrap(), load));
    runtime.block_on(loader.run(rounds));
    next.notify_one();
    let count = |_| {
        start.wait();
        let [none, all] = [0, rounds].map(|rounds| measure(|| runtime.block_on(loader.run(rounds))).count_total);
        next.notify_one();
        // The result does not include the allocations for the callers' tasks.
        all.saturating_sub(none)
    };
    let counts = [REPETITIONS.map(count).min(), server.join().unwrap()];
    let [client, server] = counts.map(|count| f64::from(u32::try_from(count.unwrap()).unwrap()));
    PerPeer { server, client }
}

/// Fails if the allocations of a call exceed the bounds.
fn check(load: Load, rounds: u32) {
    let counts = allocations(load, rounds);
    let calls = f64::from(rounds * load.size());
    let each = PerPeer { server: counts.server / calls, client: counts.client / calls };
    assert!(each.within(ALLOCATIONS), "{load:?}: {each:?} allocations per call; bounds: {ALLOCATIONS:?}");
}

#[test]
fn single_call_allocates_within_bounds() {
    check(Load::Calls { in_flight: 1 }, 500);
}

#[test]
fn calls_with_64_in_flight_allocate_within_bounds() {
    check(Load::Calls { in_flight: 64 }, 20);
}

#[test]
fn calls_with_512_in_flight_allocate_within_bounds() {
    check(Load::Calls { in_flight: 512 }, 4);
}

#[test]
fn emits_allocate_within_bounds() {
    check(Load::Emits, 100);
}

#[test]
fn broadcast_does_not_allocate_per_member() {
    const ROUNDS: u32 = 2;
    const MESSAGES: u32 = 16;
    let room = |members| Load::Room { members, messages: MESSAGES };
    let [few, many] = [10, 1000].map(|members| allocations(room(members), ROUNDS).server);
    let each = (many - few) / f64::from((1000 - 10) * MESSAGES * ROUNDS);
    assert!(each <= ALLOCATIONS_PER_MEMBER, "{each} allocations for each additional member");
}
