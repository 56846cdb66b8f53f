//! Allocations in steady state, counted for each side apart: each has a thread of its own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    sync::{Arc, Barrier, mpsc},
    thread,
};

use allocation_counter::measure;
use sockets_counts::{ALLOCATIONS, ALLOCATIONS_PER_MEMBER, Load, Loader, Sides, runtime, server};
use tokio::sync::Notify;

/// Of counting, one after another.
const TURNS: std::ops::Range<u32> = 0..3;

/// How many allocations so many rounds make in steady state: after as many others, and in the best of three turns, since
/// a buffer may still have to grow for the largest batch of all.
fn allocations(load: Load, rounds: u32) -> Sides {
    rlimit::increase_nofile_limit(4096).unwrap();
    let (tell, told) = mpsc::channel();
    let together = Arc::new(Barrier::new(2));
    let next = Arc::new(Notify::new());
    let server = thread::spawn({
        let (next, together) = (Arc::clone(&next), Arc::clone(&together));
        move || {
            let runtime = runtime();
            let (server, _) = server();
            runtime.block_on(server.bind("tcp://127.0.0.1:0")).unwrap();
            tell.send(format!("tcp://{}", server.local_addr())).unwrap();
            runtime.block_on(next.notified());
            let count = |_| {
                together.wait();
                measure(|| runtime.block_on(next.notified())).count_total
            };
            TURNS.map(count).min()
        }
    });
    let runtime = runtime();
    let loader = runtime.block_on(Loader::connect(&told.recv().unwrap(), load));
    runtime.block_on(loader.run(rounds));
    next.notify_one();
    let count = |_| {
        together.wait();
        let [none, all] = [0, rounds].map(|rounds| measure(|| runtime.block_on(loader.run(rounds))).count_total);
        next.notify_one();
        // Without what the tasks of the callers themselves are made of.
        all.saturating_sub(none)
    };
    let counts = [TURNS.map(count).min(), server.join().unwrap()];
    let [client, server] = counts.map(|count| f64::from(u32::try_from(count.unwrap()).unwrap()));
    Sides { server, client }
}

/// Fails if a call costs more than it may.
fn check(load: Load, rounds: u32) {
    let spent = allocations(load, rounds);
    let calls = f64::from(rounds * load.size());
    let each = Sides { server: spent.server / calls, client: spent.client / calls };
    assert!(each.within(ALLOCATIONS), "{load:?}: {each:?} allocations per call; bounds: {ALLOCATIONS:?}");
}

#[test]
fn a_lone_call_allocates_nothing_on_the_server_and_little_on_the_client() {
    check(Load::Calls { in_flight: 1 }, 500);
}

#[test]
fn one_of_64_calls_in_flight_allocates_nothing_on_the_server_and_little_on_the_client() {
    check(Load::Calls { in_flight: 64 }, 20);
}

#[test]
fn one_of_512_calls_in_flight_allocates_nothing_on_the_server_and_little_on_the_client() {
    check(Load::Calls { in_flight: 512 }, 4);
}

#[test]
fn an_emit_allocates_nothing_on_the_server_and_little_on_the_client() {
    check(Load::Emits, 100);
}

#[test]
fn a_broadcast_allocates_nothing_for_a_member() {
    const ROUNDS: u32 = 2;
    const MESSAGES: u32 = 16;
    let room = |members| Load::Room { members, messages: MESSAGES };
    let [few, many] = [10, 1000].map(|members| allocations(room(members), ROUNDS).server);
    let each = (many - few) / f64::from((1000 - 10) * MESSAGES * ROUNDS);
    assert!(each <= ALLOCATIONS_PER_MEMBER, "{each} allocations for each further member");
}
