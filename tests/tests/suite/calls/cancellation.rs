//! If a caller drops a call before it completes, the handler of the call must end, and no other
//! call may be affected.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use sockets::{CallError, Client, Limits, Server};
use sockets_tests::*;
use tokio::{
    sync::{Semaphore, mpsc::unbounded_channel},
    time::timeout,
};

use super::{
    answers::{Answers, CallsClient, CallsServer},
    worker::{WorkClient, WorkServer, Worker, server_with_permits},
};

tcp_and_memory! {
    /// A reply may arrive before the caller polls its request again, and the caller may then drop
    /// the request, as `select!` does. A later request may reuse the slot of the dropped request.
    /// The drop must not cancel that later request.
    async fn request_dropped_after_its_reply_cancels_no_later_one(net: Transport) {
        let permits = Arc::new(Semaphore::new(0));
        let server = net.serve(server_with_permits(&permits)).await;
        let client = net.connect(&server, Client::builder()).await;
        for later in [14, 30, 62, 126, 254] {
            // The library runs on several threads, so the reply may arrive before the first poll
            // ends. In that case, the test makes the request again.
            let answered = loop {
                let mut call = Box::pin(client.request::<u32>("echo", &0_u32));
                if poll_once(&mut call).is_pending() {
                    break call;
                }
            };
            // Replies arrive in order. When these requests have their replies, the reply to the
            // first request has arrived, too, although the test does not poll the first request.
            for n in 0..later {
                assert_eq!(client.request::<u32>("echo", &n).await, Ok(n));
            }
            // The next two requests reuse two slots: the slot of the last request, and the slot of
            // the first.
            let mut others = [1, 2].map(|n: u32| {
                let client = &client;
                Box::pin(async move { client.request::<u32>("waiting", &n).await })
            });
            for other in &mut others {
                assert!(poll_once(other).is_pending());
            }
            drop(answered);
            permits.add_permits(2);
            let outcome = timeout(Duration::from_secs(2), futures_util::future::join_all(others)).await;
            assert_eq!(outcome, Ok(vec![Ok(1), Ok(2)]), "the calls after {later} others");
        }
    }

    /// Fault 36 of RELIABILITY.md.
    async fn call_dropped_at_any_await_leaks_no_permit(net: Transport) {
        let limits = Limits::new().calls_in_flight(8);
        let server = net.serve(server_with_permits(&Arc::new(Semaphore::new(1 << 20))).limits(limits)).await;
        let client = net.connect(&server, Client::builder()).await;
        for round in 0..5000_u32 {
            let name = ["echo", "waiting", "unhandled"][round as usize % 3];
            let mut call = Box::pin(client.request::<u32>(name, &round));
            for _ in 0..round % 4 {
                if poll_once(&mut call).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            drop(call);
            let mut emit = Box::pin(client.emit("unhandled", &round));
            let _ = (round % 2 == 0).then(|| poll_once(&mut emit));
        }
        // The window allows half of these requests, and as many more may be pending.
        let all = (0..16_u32).map(|n| {
            let client = &client;
            async move { client.request::<u32>("echo", &n).await }
        });
        let outcomes = futures_util::future::join_all(all).await;
        assert_eq!(outcomes, (0..16).map(Ok).collect::<Vec<_>>());
    }

    /// The library refuses the second of two broadcast requests locally. If the second request is
    /// dropped, the first request must continue.
    async fn dropped_refused_broadcast_request_cancels_no_other(net: Transport) {
        let server = net.serve(Server::builder()).await;
        let permits = Arc::new(Semaphore::new(0));
        let opened = Arc::clone(&permits);
        let client = net.connect(&server, Client::builder().first_session(|peer| async move {
            peer.listen("vote", move |(): ()| {
                let permits = Arc::clone(&permits);
                async move {
                    permits.acquire().await.unwrap().forget();
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

    async fn dropped_request_cancels_its_handler(net: Transport) {
        let (ended, mut ends) = unbounded_channel();
        let server = net.serve(Server::builder().serve(CallsServer::new(Answers { ended }))).await;
        let client = net.connect(&server, Client::builder()).await;
        let calls = CallsClient::new(&client);
        let mut hanging = Box::pin(calls.hang());
        tokio::select! {
            _ = &mut hanging => panic!("it hangs"),
            started = ends.recv() => assert_eq!(started, Some("started")),
        }
        never("the handler is dropped while its caller waits", ends.recv()).await;
        drop(hanging);
        assert_eq!(ends.recv().await, Some("dropped"));
        assert_eq!(calls.nothing().await, Ok(()));
    }
}

/// The caller and the connection run on different runtimes.
#[test]
fn request_fails_when_the_connections_runtime_is_dropped() {
    let build = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (carrier, caller) = (build(), build());
    let permits = Arc::new(Semaphore::new(0));
    let server = server_with_permits(&permits);
    let (server, client) = carrier.block_on(async {
        let server = server.build();
        let client = Client::builder().connect_local(&server).await.unwrap();
        (server, client)
    });
    let call = caller.spawn(async move { client.request::<u32>("waiting", &1_u32).await });
    std::thread::sleep(Duration::from_millis(50));
    drop(carrier);
    drop(server);
    let outcome = caller.block_on(async { timeout(Duration::from_secs(3), call).await });
    let outcome = outcome.expect("the call hangs").unwrap();
    assert!(matches!(outcome, Err(CallError::Disconnected { .. })), "{outcome:?}");
}

every_transport! {
    async fn dropped_request_drops_its_handler_and_frees_window(net: Transport) {
        let worker = Worker::default();
        let (running, started) = (Arc::clone(&worker.running), Arc::clone(&worker.started));
        let limits = Limits::new().calls_in_flight(1);
        let server = net.serve(Server::builder().limits(limits).serve(WorkServer::new(worker))).await;
        let client = net.connect(&server, Client::builder()).await;
        let work = WorkClient::new(&client);
        for _ in 0..50 {
            tokio::select! {
                outcome = work.hang() => panic!("{outcome:?}"),
                () = started.notified() => {}
            }
            eventually("the handler is dropped", || running.load(Ordering::SeqCst) == 0).await;
        }
        assert_eq!(work.double(1).await, Ok(2));
    }
}
