//! After a peak of load, a server releases the memory that it needed only for the peak.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use allocation_counter::measure;
use sockets::{Client, Limits, Refusal, Server, Socket};
use sockets_tests::{FirstSession, eventually};
use tokio::{runtime::Runtime, sync::Semaphore, task::JoinSet, time::sleep};

/// Maximum number of bytes that may stay allocated. For example, all connections of this thread
/// share buffers that the thread keeps.
const KEPT: i64 = 64 << 10;

/// Runs a small load and then a peak of the same load. Waits until the memory of the peak has been
/// released, except for [`KEPT`] bytes.
fn releases_memory(runtime: &Runtime, peak: usize, load: impl AsyncFn(usize)) {
    runtime.block_on(load(10));
    let mut kept = measure(|| runtime.block_on(load(peak))).bytes_current;
    let began = Instant::now();
    while kept > KEPT && began.elapsed() < Duration::from_secs(10) {
        // The tasks of ended sessions may still have to run.
        kept += measure(|| runtime.block_on(async { sleep(Duration::from_millis(20)).await })).bytes_current;
    }
    assert!(kept <= KEPT, "{kept} bytes are still allocated");
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn rooms_release_their_memory() {
    const ROOMS: usize = 100_000;
    let runtime = runtime();
    let limits = Limits::new().rooms_per_socket(u32::MAX);
    let (socket, _client) = runtime.block_on(async {
        let server = Server::builder().limits(limits).build();
        let client = Client::builder().connect_local(&server).await.unwrap();
        let socket: Socket = server.sockets().pop().unwrap();
        (socket, client)
    });
    releases_memory(&runtime, ROOMS, async |rooms| {
        for room in 0..rooms {
            socket.join(&room.to_string()).unwrap();
        }
        assert_eq!(socket.server().rooms().len(), rooms);
        for room in 0..rooms {
            socket.leave(&room.to_string());
        }
    });
}

#[test]
fn disconnected_users_release_their_memory() {
    let runtime = runtime();
    let server = Server::builder()
        .authenticate(|name: String| async move { Ok::<_, Refusal>(name) })
        .connected(|socket: Socket<String>| async move { socket.join("room").unwrap() });
    let server = runtime.block_on(async { server.build() });
    let load = async |users| {
        let mut clients = Vec::new();
        for number in 0..users {
            let client = Client::builder().auth(number.to_string());
            clients.push(client.connect_local(&server).await.unwrap());
        }
        server.room("room").emit("note", &()).await.unwrap();
        drop(clients);
        eventually("all have left", || server.sockets().is_empty()).await;
        tokio::task::yield_now().await;
    };
    releases_memory(&runtime, 500, load);
}

#[test]
fn answered_calls_release_their_memory() {
    let runtime = runtime();
    let (server, client, permits) = runtime.block_on(async {
        // A session that has sent nothing for the interval of heartbeats releases its tables of
        // calls. So this interval is short.
        let limits = Limits::new().heartbeat(Duration::from_millis(100));
        let server = Server::builder().limits(limits.clone()).build();
        let client = Client::builder().limits(limits).connect_local(&server).await.unwrap();
        let permits = Arc::new(Semaphore::new(0));
        let waits = Arc::clone(&permits);
        server.sockets()[0].listen("wait", move |(): ()| {
            let waits = Arc::clone(&waits);
            async move { waits.acquire().await.unwrap().forget() }
        });
        (server, client, permits)
    });
    releases_memory(&runtime, 2000, async |count| {
        let mut calls = JoinSet::new();
        for _ in 0..count {
            let peer = sockets::Peer::clone(client.as_peer());
            calls.spawn(async move { peer.request::<()>("wait", &()).await.unwrap() });
        }
        tokio::task::yield_now().await;
        permits.add_permits(count);
        while calls.join_next().await.is_some() {}
    });
    drop(server);
}

#[test]
fn received_messages_release_their_memory() {
    const EMITS: usize = 20_000;
    let runtime = runtime();
    let (server, client, permits) = runtime.block_on(async {
        let server = Server::builder().build();
        let permits = Arc::new(Semaphore::new(0));
        let waits = Arc::clone(&permits);
        let client = Client::builder().first_session(|peer| async move {
            peer.listen("note", move |(): ()| {
                let waits = Arc::clone(&waits);
                async move { drop(waits.acquire().await.unwrap()) }
            });
        });
        (server.clone(), client.connect_local(&server).await.unwrap(), permits)
    });
    releases_memory(&runtime, EMITS, async |emits| {
        for _ in 0..emits {
            server.all().emit("note", &()).await.unwrap();
        }
        permits.add_permits(1000);
        let socket = server.sockets().pop().unwrap();
        client.listen("fence", |(): ()| async {});
        socket.request::<()>("fence", &()).await.unwrap();
    });
}
