//! Promise 2, where it is hard: a call that is dropped, crowded or orphaned takes no other call with it.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use sockets::{CallError, Client, Limits, Server, ServerBuilder, Socket};
use sockets_tests::*;
use tokio::{sync::Semaphore, time::timeout};

/// A server that answers `echo` at once and `gated` when it gets a permit.
fn server(gate: &Arc<Semaphore>) -> ServerBuilder {
    let gate = Arc::clone(gate);
    Server::builder().connected(move |socket: Socket| {
        let gate = Arc::clone(&gate);
        async move {
            socket.listen("echo", |n: u32| async move { n });
            let held = Arc::clone(&gate);
            socket.listen("hold", move |_: Vec<u8>| {
                let gate = Arc::clone(&held);
                async move { gate.acquire().await.unwrap().forget() }
            });
            socket.listen("gated", move |n: u32| {
                let gate = Arc::clone(&gate);
                async move {
                    gate.acquire().await.unwrap().forget();
                    n
                }
            });
        }
    })
}

tcp_and_memory! {
    /// A call that has been answered and not been polled is dropped as every loser of a `select!` may be; whichever call
    /// has come into its place since must not go with it.
    async fn a_call_that_is_dropped_after_its_answer_came_cancels_no_later_one(net: Transport) {
        let gate = Arc::new(Semaphore::new(0));
        let server = net.serve(server(&gate)).await;
        let client = net.connect(&server, Client::builder()).await;
        for later in [14, 30, 62, 126, 254] {
            // On several threads the answer may be there before the first poll ends; then it is asked again.
            let answered = loop {
                let mut call = Box::pin(client.request::<u32>("echo", &0_u32));
                if poll_once(&mut call).is_pending() {
                    break call;
                }
            };
            // Answers come in order, so that of the first call is here after these; it is not polled.
            for n in 0..later {
                assert_eq!(client.request::<u32>("echo", &n).await, Ok(n));
            }
            // One takes the place of the last of these calls, the other that of the first.
            let mut others = [1, 2].map(|n: u32| {
                let client = &client;
                Box::pin(async move { client.request::<u32>("gated", &n).await })
            });
            for other in &mut others {
                assert!(poll_once(other).is_pending());
            }
            drop(answered);
            gate.add_permits(2);
            let outcome = timeout(Duration::from_secs(2), futures_util::future::join_all(others)).await;
            assert_eq!(outcome, Ok(vec![Ok(1), Ok(2)]), "the calls after {later} others");
        }
    }

    /// Fault 36 of RELIABILITY.md.
    async fn calls_dropped_at_each_of_their_awaits_leak_no_place(net: Transport) {
        let limits = Limits { calls_in_flight: 8, ..Limits::default() };
        let server = net.serve(server(&Arc::new(Semaphore::new(1 << 20))).limits(limits)).await;
        let client = net.connect(&server, Client::builder()).await;
        for round in 0..5000_u32 {
            let mut call = Box::pin(client.request::<u32>(["echo", "gated", "nobody"][round as usize % 3], &round));
            for _ in 0..round % 4 {
                if poll_once(&mut call).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            drop(call);
            let mut emit = Box::pin(client.emit("nobody", &round));
            let _ = (round % 2 == 0).then(|| poll_once(&mut emit));
        }
        // As many as there are places, and as many again that wait for one.
        let all = (0..16_u32).map(|n| {
            let client = &client;
            async move { client.request::<u32>("echo", &n).await }
        });
        let outcomes = futures_util::future::join_all(all).await;
        assert_eq!(outcomes, (0..16).map(Ok).collect::<Vec<_>>());
    }

    /// Calls are always waiting for a place here; an emit must get one all the same.
    async fn an_emit_is_not_starved_by_calls_beyond_the_window(net: Transport) {
        let limits = Limits { calls_in_flight: 4, ..Limits::default() };
        let heard = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&heard);
        let server = net.serve(Server::builder().limits(limits).connected(move |socket: Socket| {
            let counted = Arc::clone(&counted);
            async move {
                socket.listen("echo", |n: u32| async move {
                    tokio::task::yield_now().await;
                    n
                });
                socket.listen("tick", move |(): ()| {
                    counted.fetch_add(1, Ordering::Relaxed);
                    async {}
                });
            }
        })).await;
        let client = net.connect(&server, Client::builder()).await;
        let callers: Vec<_> = (0..8).map(|n| {
            let client = client.clone();
            tokio::spawn(async move {
                while client.request::<u32>("echo", &n).await == Ok(n) {}
            })
        }).collect();
        for sent in 1..=20 {
            let emitted = timeout(Duration::from_secs(3), client.emit("tick", &())).await;
            assert!(emitted.is_ok(), "emit {sent} is starved");
        }
        eventually("all emits are heard", || heard.load(Ordering::Relaxed) == 20).await;
        callers.iter().for_each(tokio::task::JoinHandle::abort);
    }

    /// Without its first message nothing may be stuck behind a call that has been given up.
    async fn a_call_behind_one_that_was_dropped_goes_on(net: Transport) {
        let gate = Arc::new(Semaphore::new(0));
        let limits = Limits { bytes_in_flight: 1000, ..Limits::default() };
        let server = net.serve(server(&gate).limits(limits)).await;
        let client = net.connect(&server, Client::builder()).await;
        let padding = vec![0_u8; 600];
        let mut long = Box::pin(client.request::<()>("hold", &padding));
        assert!(poll_once(&mut long).is_pending());
        let mut too_much = Box::pin(client.request::<()>("hold", &padding));
        assert!(poll_once(&mut too_much).is_pending());
        // There is room for this one, only not before the one above.
        let mut small = Box::pin(client.request::<u32>("echo", &2_u32));
        assert!(poll_once(&mut small).is_pending());
        let emitted = timeout(Duration::from_secs(2), client.emit("nobody", &())).await;
        assert_eq!(emitted, Ok(Ok(())), "it waits in its place");
        let socket = server.sockets().remove(0);
        assert_eq!(socket.stats().unheard_emits, 0, "it does not overtake");
        drop(too_much);
        let after = timeout(Duration::from_secs(2), small).await;
        assert_eq!(after, Ok(Ok(2)), "the call is stuck");
        eventually("the emit arrives", || socket.stats().unheard_emits == 1).await;
    }

    /// An audience's question that is refused here has no business with one that is open.
    async fn a_refused_question_that_is_dropped_cancels_no_open_one(net: Transport) {
        let server = net.serve(Server::builder()).await;
        let gate = Arc::new(Semaphore::new(0));
        let opened = Arc::clone(&gate);
        let client = net.connect(&server, Client::builder().connected(|peer| async move {
            peer.listen("vote", move |(): ()| {
                let gate = Arc::clone(&gate);
                async move {
                    gate.acquire().await.unwrap().forget();
                    3_u32
                }
            });
        })).await;
        let mut votes = server.all().request::<u32>("vote", &());
        drop(server.all().request::<u32>("", &()));
        opened.add_permits(1);
        let vote = timeout(Duration::from_secs(2), votes.next()).await.expect("the question was cancelled");
        assert_eq!(vote.unwrap().1, Ok(3));
        drop(client);
    }
}

#[tokio::test]
async fn the_largest_call_timeout_is_a_legal_limit() {
    let limits = Limits { call_timeout: Duration::MAX, ..Limits::default() };
    let server = server(&Arc::new(Semaphore::new(0))).limits(limits.clone()).build();
    let client = Client::builder().limits(limits).connect_local(&server).await.unwrap();
    client.emit("nobody", &()).await.unwrap();
    assert_eq!(within(client.request::<u32>("echo", &1_u32)).await, Ok(1));
}

/// A window that was full once, long ago, says nothing of now.
#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_a_place_is_not_given_up_for_a_wait_of_long_ago() {
    let gate = Arc::new(Semaphore::new(0));
    let limits = Limits { calls_in_flight: 1, ..Limits::default() };
    let server = server(&gate).limits(limits).build();
    let client = Client::builder()
        .connected(|peer| async move {
            peer.listen("forever", |(): ()| std::future::pending::<()>());
        })
        .connect_local(&server)
        .await
        .unwrap();
    let long = client.request::<u32>("gated", &1_u32);
    let mut long = pin!(long);
    assert!(poll_once(&mut long).is_pending());
    let mut parked = Box::pin(client.request::<u32>("echo", &1_u32));
    assert!(poll_once(&mut parked).is_pending());
    drop(parked);
    tokio::time::sleep(Duration::from_secs(2)).await;
    // The client has a handler that runs, so its calls could be in a circle; there is none.
    let _votes = server.all().request::<()>("forever", &());
    tokio::time::sleep(Duration::from_millis(100)).await;
    let (waiting, ()) = tokio::join!(client.request::<u32>("echo", &2_u32), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        gate.add_permits(1);
    });
    assert_eq!(waiting, Ok(2));
    assert_eq!(long.await, Ok(1));
}

/// A handler that never yields to its runtime while that is dropped: the end of every `main`.
#[test]
fn dropping_the_runtime_while_a_handler_is_about_to_suspend_does_not_hang() {
    let (done, finished) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (entered, running) = mpsc::channel();
        runtime.spawn(async move {
            let server = Server::builder().build();
            let client = Client::builder().connect_local(&server).await.unwrap();
            server.sockets()[0].listen("busy", move |(): ()| {
                entered.send(()).unwrap();
                std::thread::sleep(Duration::from_millis(300));
                std::future::pending::<()>()
            });
            client.request::<()>("busy", &()).await
        });
        running.recv().unwrap();
        drop(runtime);
        done.send(()).unwrap();
    });
    assert_eq!(finished.recv_timeout(Duration::from_secs(5)), Ok(()), "the runtime cannot be dropped");
}

/// A caller on another runtime is told when the one that carried its connection is gone.
#[test]
fn a_call_ends_when_the_runtime_that_carried_its_connection_is_dropped() {
    let build = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (carrier, caller) = (build(), build());
    let gate = Arc::new(Semaphore::new(0));
    let server = server(&gate);
    let (server, client) = carrier.block_on(async {
        let server = server.build();
        let client = Client::builder().connect_local(&server).await.unwrap();
        (server, client)
    });
    let call = caller.spawn(async move { client.request::<u32>("gated", &1_u32).await });
    std::thread::sleep(Duration::from_millis(50));
    drop(carrier);
    drop(server);
    let outcome = caller.block_on(async { timeout(Duration::from_secs(3), call).await });
    let outcome = outcome.expect("the call hangs").unwrap();
    assert!(matches!(outcome, Err(CallError::Disconnected { .. })), "{outcome:?}");
}
