//! Races in the life of a session, in thousands of orders.
//!
//! Each seed chooses how often each task yields, and so determines an order. A failed test prints
//! its seed, which repeats the failure.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use fastrand::Rng;
use sockets::{CallError, Client, ConnectError, DisconnectReason, JoinError, Limits, Server, Socket};
use sockets_tests::FirstSession;
use tokio::task::{JoinSet, yield_now};

const SEEDS: u64 = 1_000;

/// Runs a scenario with each seed, on a single thread and in paused time.
fn play<F: Future<Output = ()>>(scenario: impl Fn(Rng) -> F) {
    for seed in 0..SEEDS {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let played = catch_unwind(AssertUnwindSafe(|| {
            runtime.block_on(async {
                // Paused time advances by an hour only if no task can continue.
                let hour = Duration::from_secs(3600);
                tokio::time::timeout(hour, scenario(Rng::with_seed(seed))).await.expect("the scenario hangs");
            });
        }));
        if let Err(panic) = played {
            eprintln!("seed {seed} failed");
            resume_unwind(panic);
        }
    }
}

/// Yields a random number of times.
async fn give_way(rng: &mut Rng) {
    for _ in 0..rng.u32(0..12) {
        yield_now().await;
    }
}

#[test]
fn request_dropped_during_its_reply_leaves_nothing() {
    const CALLS: u32 = 4;
    play(|mut rng| async move {
        let limits = Limits::new().calls_in_flight(CALLS);
        let seeds = rng.fork();
        let server = Server::builder()
            .limits(limits.clone())
            .connected(move |socket: Socket| {
                let seeds = Arc::new(std::sync::Mutex::new(seeds.clone()));
                async move {
                    socket.listen("echo", move |number: u32| {
                        let mut rng = seeds.lock().unwrap().fork();
                        async move {
                            give_way(&mut rng).await;
                            number
                        }
                    });
                }
            })
            .build();
        let client = Client::builder().limits(limits).connect_local(&server).await.unwrap();
        for number in 0..20 {
            let call = client.request::<u32>("echo", &number);
            tokio::select! {
                reply = call => assert_eq!(reply, Ok(number)),
                () = give_way(&mut rng) => {}
            }
        }
        // The test fills the whole window with requests. If an earlier call has not returned its
        // share of the window, some of these requests fail.
        let client = &client;
        let calls = (0..CALLS).map(|number| async move { client.request::<u32>("echo", &number).await });
        let replies = futures_util::future::join_all(calls).await;
        assert_eq!(replies, (0..CALLS).map(Ok).collect::<Vec<_>>());
        assert_eq!(client.stats().stray_answers, 0);
    });
}

/// Fault 27 of RELIABILITY.md.
#[test]
fn join_racing_disconnect_leaves_no_member() {
    play(|mut rng| async move {
        let left = Arc::new(AtomicUsize::new(0));
        let hooks = Arc::clone(&left);
        let server = Server::builder()
            .connected(move |socket: Socket| {
                let left = Arc::clone(&hooks);
                async move {
                    socket.on_disconnect(move |_| async move {
                        left.fetch_add(1, Ordering::Relaxed);
                    });
                }
            })
            .build();
        let client = Client::builder().connect_local(&server).await.unwrap();
        let socket = server.sockets().remove(0);
        let joins = async {
            for room in ["a", "b", "c", "a"] {
                let _ = socket.join(room);
                yield_now().await;
            }
        };
        let mut other = rng.fork();
        let kicks = rng.bool();
        let ends = async {
            give_way(&mut other).await;
            if kicks {
                socket.disconnect("enough");
            } else {
                drop(client);
            }
        };
        tokio::join!(joins, ends);
        socket.disconnected().await;
        assert_eq!(socket.join("late"), Err(JoinError::Disconnected));
        assert_eq!(server.rooms(), Vec::<String>::new());
        assert!(server.sockets().is_empty() && !socket.is_in("late"));
        assert!(server.room("a").sockets().is_empty());
        while left.load(Ordering::Relaxed) == 0 {
            yield_now().await;
        }
        give_way(&mut rng).await;
        assert_eq!(left.load(Ordering::Relaxed), 1, "the hook runs once");
    });
}

#[test]
fn connect_racing_shutdown_is_refused_or_disconnected() {
    play(|mut rng| async move {
        let server = Server::builder()
            .connected(|socket: Socket| async move {
                socket.listen("echo", |number: u32| async move {
                    yield_now().await;
                    number
                });
            })
            .build();
        let mut clients = JoinSet::new();
        for number in 0..3 {
            let (server, mut rng) = (server.clone(), rng.fork());
            clients.spawn(async move {
                give_way(&mut rng).await;
                let client = match Client::builder().connect_local(&server).await {
                    Ok(client) => client,
                    Err(
                        ConnectError::Refused(_) | ConnectError::Disconnected(DisconnectReason::ShuttingDown { .. }),
                    ) => {
                        return;
                    }
                    Err(other) => panic!("{other:?}"),
                };
                match client.request::<u32>("echo", &number).await {
                    Ok(reply) => assert_eq!(reply, number),
                    Err(CallError::ShuttingDown | CallError::Disconnected { .. }) => {}
                    Err(other) => panic!("{other:?}"),
                }
                assert!(matches!(client.disconnected().await, DisconnectReason::ShuttingDown { comes_back: true, .. }));
            });
        }
        give_way(&mut rng).await;
        server.shutdown().await;
        assert!(server.sockets().is_empty());
        while let Some(done) = clients.join_next().await {
            done.unwrap();
        }
    });
}

#[test]
fn broadcast_request_racing_disconnects_has_all_outcomes() {
    play(|mut rng| async move {
        let server = Server::builder().connected(|socket: Socket| async move { socket.join("room").unwrap() }).build();
        let mut members = Vec::new();
        for _ in 0..4 {
            let seeds = rng.fork();
            let member = Client::builder().first_session(move |peer: sockets::Peer| async move {
                peer.listen("vote", move |()| {
                    let mut rng = seeds.clone();
                    async move { give_way(&mut rng).await }
                });
            });
            members.push(member.connect_local(&server).await.unwrap());
        }
        let mut votes = server.room("room").request::<()>("vote", &());
        let mut leaver = rng.fork();
        let leaves = async {
            give_way(&mut leaver).await;
            members.truncate(2);
        };
        let counts = async {
            let mut received = Vec::new();
            while let Some((member, vote)) = votes.next().await {
                assert!(matches!(vote, Ok(()) | Err(CallError::Disconnected { .. })), "{vote:?}");
                let socket = member.socket().unwrap();
                assert!(!received.contains(&socket), "one outcome for each member");
                received.push(socket);
            }
            received.len()
        };
        let ((), outcomes) = tokio::join!(leaves, counts);
        assert_eq!(outcomes, 4);
    });
}
