//! Flow control: the window of a peer, pending calls and full queues.

use std::{
    future::pending,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use sockets::{CallError, Client, Limits, Server, Socket};
use sockets_tests::*;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};

use super::worker::{WorkClient, WorkServer, Worker, server_with_permits};

every_transport! {
    /// If a caller emits in a tight loop, each emit waits until the window permits it, and no emit
    /// is lost.
    async fn emit_waits_for_a_busy_receiver_and_is_not_lost(net: Transport) {
        let limits = Limits::new().calls_in_flight(16).outgoing_queue(4096);
        let server = net.serve(Server::builder().limits(limits.clone())).await;
        let client = net.connect(&server, Client::builder().limits(limits)).await;
        let (go, received) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let (permits, counted) = (Arc::clone(&go), Arc::clone(&received));
        server.sockets()[0].listen("busy", move |_: Vec<u8>| {
            let (permits, received) = (Arc::clone(&permits), Arc::clone(&counted));
            async move {
                permits.acquire().await.unwrap().forget();
                received.fetch_add(1, Ordering::SeqCst);
            }
        });
        let sent = Arc::new(AtomicUsize::new(0));
        let emitters: Vec<_> = (0..4).map(|_| {
            let (client, sent) = (client.clone(), Arc::clone(&sent));
            tokio::spawn(async move {
                for _ in 0..500 {
                    client.emit("busy", &vec![0_u8; 100]).await.unwrap();
                    sent.fetch_add(1, Ordering::SeqCst);
                }
            })
        }).collect();
        sleep(Duration::from_millis(100)).await;
        assert!(sent.load(Ordering::SeqCst) <= 16, "{sent:?}");
        go.add_permits(2000);
        for emitter in emitters {
            emitter.await.unwrap();
        }
        eventually("all emits are received", || received.load(Ordering::SeqCst) == 2000).await;
    }

    /// If a wake-up is lost, a call waits until its timeout. The timeout is longer than any delay
    /// by the scheduler, so only a lost wake-up makes the test fail.
    async fn full_small_queues_lose_no_wake_up(net: Transport) {
        // No request is refused: 48 requests may be pending, and together they have about 1 KiB,
        // which fits into the queue. Some of the replies are larger than the queue.
        let limits = Limits::new().calls_in_flight(48).bytes_in_flight(8192).outgoing_queue(2048);
        let server = Server::builder().limits(limits.clone()).serve(WorkServer::new(Worker::default()));
        let server = net.serve(server).await;
        let client = net.connect(&server, Client::builder().limits(limits.clone())).await;
        let until = Instant::now() + Duration::from_secs(1);
        let callers: Vec<_> = (0..48_usize)
            .map(|caller| {
                let work = WorkClient::new(&client);
                tokio::spawn(async move {
                    let mut times = caller;
                    while Instant::now() < until {
                        times = (times * 7 + 13) % 3000;
                        if times % 5 == 0 {
                            work.note(1).await.unwrap();
                        }
                        let reply =
                            timeout(Duration::from_secs(3), work.repeat(1, times)).await.expect("a lost wake-up");
                        assert_eq!(reply.map(|bytes| bytes.len()), Ok(times));
                    }
                })
            })
            .collect();
        for caller in callers {
            within(caller).await.unwrap();
        }
    }
}

tcp_and_memory! {
    async fn only_requests_beyond_window_and_pending_are_overloaded(net: Transport) {
        let worker = Worker::default();
        let limits = Limits::new().calls_in_flight(4);
        let server = net.serve(Server::builder().limits(limits.clone()).serve(WorkServer::new(worker))).await;
        let client = net.connect(&server, Client::builder().limits(limits)).await;
        let work = WorkClient::new(&client).with_timeout(Duration::from_millis(300));
        let outcomes = join_all((0..12).map(|_| work.hang())).await;
        let count = |wanted: &CallError| outcomes.iter().filter(|outcome| outcome.as_ref() == Err(wanted)).count();
        assert_eq!((count(&CallError::Timeout), count(&CallError::Overloaded)), (8, 4), "{outcomes:?}");
        assert_eq!(work.double(1).await, Ok(2));
    }

    /// Even if requests are always pending, an emit must get window, too.
    async fn emit_is_not_starved_by_requests_beyond_the_window(net: Transport) {
        let limits = Limits::new().calls_in_flight(4);
        let received = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&received);
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
        eventually("all emits are received", || received.load(Ordering::Relaxed) == 20).await;
        callers.iter().for_each(tokio::task::JoinHandle::abort);
    }

    /// If a pending request is dropped, later pending messages must no longer wait for that
    /// request.
    async fn pending_call_continues_when_an_earlier_one_is_dropped(net: Transport) {
        let permits = Arc::new(Semaphore::new(0));
        let limits = Limits::new().bytes_in_flight(1000);
        let server = net.serve(server_with_permits(&permits).limits(limits)).await;
        let client = net.connect(&server, Client::builder()).await;
        let padding = vec![0_u8; 600];
        let mut long = Box::pin(client.request::<()>("hold", &padding));
        assert!(poll_once(&mut long).is_pending());
        let mut too_much = Box::pin(client.request::<()>("hold", &padding));
        assert!(poll_once(&mut too_much).is_pending());
        // The window has capacity for this request, but the request has to wait after an earlier
        // request that does not fit into the window.
        let mut small = Box::pin(client.request::<u32>("echo", &2_u32));
        assert!(poll_once(&mut small).is_pending());
        let emitted = timeout(Duration::from_secs(2), client.emit("unhandled", &())).await;
        assert_eq!(emitted, Ok(Ok(())), "it waits in its place");
        let socket = server.sockets().remove(0);
        assert_eq!(socket.stats().unhandled_emits, 0, "it does not overtake");
        drop(too_much);
        let after = timeout(Duration::from_secs(2), small).await;
        assert_eq!(after, Ok(Ok(2)), "the call is stuck");
        eventually("the emit arrives", || socket.stats().unhandled_emits == 1).await;
    }
}

/// If a request waits for window and is then dropped, the time of its wait must not count for a
/// later request.
#[tokio::test(start_paused = true)]
async fn pending_request_ignores_an_earlier_wait_for_window() {
    let permits = Arc::new(Semaphore::new(0));
    let limits = Limits::new().calls_in_flight(1);
    let server = server_with_permits(&permits).limits(limits).build();
    let client = Client::builder()
        .first_session(|peer| async move {
            peer.listen("forever", |(): ()| pending::<()>());
        })
        .connect_local(&server)
        .await
        .unwrap();
    let long = client.request::<u32>("waiting", &1_u32);
    let mut long = pin!(long);
    assert!(poll_once(&mut long).is_pending());
    let mut parked = Box::pin(client.request::<u32>("echo", &1_u32));
    assert!(poll_once(&mut parked).is_pending());
    drop(parked);
    sleep(Duration::from_secs(2)).await;
    // This request starts a handler in the client. While the handler runs, the library must assume
    // that calls of the two peers wait for each other, although here they do not.
    let _votes = server.all().request::<()>("forever", &());
    sleep(Duration::from_millis(100)).await;
    let (waiting, ()) = tokio::join!(client.request::<u32>("echo", &2_u32), async {
        sleep(Duration::from_millis(500)).await;
        permits.add_permits(1);
    });
    assert_eq!(waiting, Ok(2));
    assert_eq!(long.await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn reply_ignores_pending_messages_of_other_handlers() {
    const WINDOW: u32 = 3;
    let limits = || Limits::new().calls_in_flight(WINDOW);
    let server = Server::builder()
        .limits(limits())
        .connected(|socket: Socket| async move {
            let caller = socket.clone();
            socket.set_callback("ask", move |_: u32| {
                let socket = caller.clone();
                // The last of these requests is pending, because the client answers none of them.
                async move {
                    join_all((0..=WINDOW).map(|_| socket.request::<u32>("never", &0_u32))).await;
                    0
                }
            });
            socket.set_callback("echo", |n: u32| async move { n });
            socket.set_callback("never", |_: u32| pending::<u32>());
        })
        .build();
    let client = Client::builder()
        .limits(limits())
        .first_session(|peer| async move {
            peer.set_callback("never", |_: u32| pending::<u32>());
        })
        .connect_local(&server)
        .await
        .unwrap();
    // A lone caller would write its request at once. With another call in flight, the driver writes
    // the next two requests together.
    let mut never = pin!(client.request::<u32>("never", &0_u32));
    assert!(poll_once(&mut never).is_pending());
    sleep(Duration::from_millis(1)).await;
    let began = Instant::now();
    tokio::select! {
        biased;
        asked = client.request::<u32>("ask", &0_u32) => panic!("{asked:?}"),
        echoed = client.request::<u32>("echo", &7_u32) => assert_eq!(echoed, Ok(7)),
    }
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
}
