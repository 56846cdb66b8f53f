//! Graceful shutdown. The server drains its sessions, and ends in time whatever the peers do.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use sockets::{CallError, Client, ConnectError, DisconnectReason, Limits, Server, Socket, test_util::Link};
use sockets_tests::*;
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

/// Returns a server with the method `slow`. The handler of `slow` notifies `started`, and replies
/// after the test has notified `go`.
fn slow_server(started: &Arc<Notify>, go: &Arc<Notify>) -> sockets::ServerBuilder<()> {
    let (started, go) = (Arc::clone(started), Arc::clone(go));
    Server::builder().connected(move |socket: Socket| {
        let (started, go) = (Arc::clone(&started), Arc::clone(&go));
        async move {
            socket.listen("slow", move |n: u32| {
                let (started, go) = (Arc::clone(&started), Arc::clone(&go));
                async move {
                    started.notify_one();
                    go.notified().await;
                    n + 1
                }
            });
        }
    })
}

every_transport! {
    async fn queued_emits_arrive_before_shutdown(net: Transport) {
        let server = net.serve(Server::builder()).await;
        let received = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&received);
        let client = net.connect(&server, Client::builder().first_session(|peer| async move {
            peer.listen("tick", move |(): ()| {
                counted.fetch_add(1, Ordering::Relaxed);
                async {}
            });
        })).await;
        for _ in 0..3000 {
            server.all().emit("tick", &()).await.unwrap();
        }
        within(server.shutdown_with(for_good())).await;
        client.disconnected().await;
        assert_eq!(received.load(Ordering::Relaxed), 3000);
    }

    async fn client_emits_before_shutdown_are_handled(net: Transport) {
        let received = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&received);
        let server = net.serve(Server::builder().connected(move |socket: Socket| {
            let counted = Arc::clone(&counted);
            async move {
                socket.listen("tick", move |(): ()| {
                    counted.fetch_add(1, Ordering::Relaxed);
                    async {}
                });
            }
        })).await;
        let client = net.connect(&server, Client::builder()).await;
        for _ in 0..3000 {
            client.emit("tick", &()).await.unwrap();
        }
        within(server.shutdown_with(for_good())).await;
        assert_eq!(received.load(Ordering::Relaxed), 3000);
    }

    async fn connect_during_shutdown_fails_or_is_disconnected(net: Transport) {
        for round in 0..30 {
            let server = net.serve(Server::builder()).await;
            let connecting: Vec<_> = (0..4).map(|_| {
                let server = server.clone();
                tokio::spawn(async move { net.try_connect(&server, Client::builder()).await })
            }).collect();
            for _ in 0..round {
                tokio::task::yield_now().await;
            }
            within(server.shutdown_with(for_good())).await;
            for connecting in connecting {
                match connecting.await.unwrap() {
                    Ok(client) => assert!(matches!(client.disconnected().await, DisconnectReason::ShuttingDown { comes_back: false, .. })),
                    Err(ConnectError::Disconnected(reason)) => assert!(matches!(reason, DisconnectReason::ShuttingDown { comes_back: false, .. })),
                    Err(ConnectError::Address(error)) => panic!("{error}"),
                    // The server has closed the listener, or rejected the client hello.
                    Err(_) => {}
                }
            }
            assert!(server.sockets().is_empty());
        }
    }
}

tcp_and_memory! {
    async fn idle_server_shuts_down_at_once(net: Transport) {
        let server = net.serve(Server::builder()).await;
        let client = net.connect(&server, Client::builder()).await;
        within(server.shutdown_with(for_good())).await;
        assert!(matches!(client.disconnected().await, DisconnectReason::ShuttingDown { comes_back: false, .. }));
    }

    /// The grace period of 10 s is longer than `PATIENCE`, after which `within` fails. So the test
    /// fails if the shutdown waits until the end of the grace period.
    async fn shutdown_ends_when_running_handlers_have_replied(net: Transport) {
        let (started, go) = (Arc::default(), Arc::default());
        let server = net.serve(slow_server(&started, &go)).await;
        let client = net.connect(&server, once()).await;
        let call = tokio::spawn({
            let peer = sockets::Peer::clone(client.as_peer());
            async move { peer.request::<u32>("slow", &1_u32).await }
        });
        started.notified().await;
        let shutdown = tokio::spawn({
            let server = server.clone();
            async move { server.shutdown_with(for_good()).await }
        });
        // A client that cannot reconnect refuses new calls as soon as it has received the notice of
        // the shutdown. The loop waits for that.
        let mut refused = client.request::<u32>("unknown", &()).await;
        while refused == Err(CallError::NoSuchMethod) {
            refused = client.request::<u32>("unknown", &()).await;
        }
        assert_eq!(refused, Err(CallError::ShuttingDown));
        assert!(!shutdown.is_finished(), "the shutdown waits for the running handler");
        go.notify_one();
        assert_eq!(call.await.unwrap(), Ok(2));
        within(shutdown).await.unwrap();
        assert!(matches!(client.disconnected().await, DisconnectReason::ShuttingDown { comes_back: false, .. }));
    }

    async fn handler_that_never_ends_is_stopped_after_the_grace(net: Transport) {
        let (started, go) = (Arc::default(), Arc::default());
        let limits = Limits::new().shutdown_grace(Duration::from_millis(200));
        let server = net.serve(slow_server(&started, &go).limits(limits)).await;
        let client = net.connect(&server, Client::builder()).await;
        let call = client.request::<u32>("slow", &1_u32);
        let (outcome, ()) = tokio::join!(call, async {
            started.notified().await;
            within(server.shutdown_with(for_good())).await;
        });
        assert!(matches!(outcome, Err(CallError::Disconnected { maybe_executed: true, .. })));
        assert!(matches!(client.disconnected().await, DisconnectReason::ShuttingDown { comes_back: false, .. }));
    }
}

/// Fault 34 of RELIABILITY.md.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn shutdown_under_load_gives_each_request_one_outcome() {
    for _ in 0..10 {
        let server = Server::builder().connected(|socket: Socket| async move {
            socket.listen("echo", |n: u32| async move {
                tokio::task::yield_now().await;
                n
            });
        });
        let server = Transport::Tcp.serve(server).await;
        let answered = Arc::new(AtomicUsize::new(0));
        let mut callers = Vec::new();
        for _ in 0..4 {
            let client = Transport::Tcp.connect(&server, Client::builder()).await;
            for _ in 0..4 {
                let (client, answered) = (client.clone(), Arc::clone(&answered));
                callers.push(tokio::spawn(async move {
                    loop {
                        match client.request::<u32>("echo", &7_u32).await {
                            Ok(7) => answered.fetch_add(1, Ordering::Relaxed),
                            outcome => return outcome,
                        };
                    }
                }));
            }
        }
        eventually("load", || answered.load(Ordering::Relaxed) > 100).await;
        within(server.shutdown_with(for_good())).await;
        for caller in callers {
            let outcome = within(caller).await.unwrap();
            let fair =
                matches!(outcome, Err(CallError::ShuttingDown | CallError::Disconnected { maybe_executed: false, .. }));
            assert!(fair, "an accepted call was not drained: {outcome:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn shutdown_with_a_frozen_peer_ends_after_the_grace() {
    let limits = Limits::new().shutdown_grace(Duration::from_millis(300));
    let server = Server::builder().limits(limits).build();
    let link = Link::to(&server);
    let _client = within(link.connect(once())).await.unwrap();
    link.freeze();
    for _ in 0..100 {
        server.all().emit("nothing", &vec![0_u8; 4096]).await.unwrap();
    }
    let started = Instant::now();
    within(server.shutdown_with(for_good())).await;
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    assert!(server.sockets().is_empty());
}

#[tokio::test]
async fn connect_after_shutdown_is_refused() {
    let server = Server::builder().build();
    server.shutdown().await;
    let outcome = within(Client::builder().connect_local(&server)).await;
    assert!(
        matches!(
            outcome,
            Err(ConnectError::Refused(_) | ConnectError::Disconnected(DisconnectReason::ShuttingDown { .. }))
        ),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn server_after_shutdown_accepts_no_client() {
    let server = Server::builder().bind("tcp://127.0.0.1:0").await.unwrap();
    let url = format!("tcp://{}", server.local_addr());
    server.shutdown().await;
    assert!(Client::builder().connect(&url).await.is_err());
    assert!(Client::builder().connect_local(&server).await.is_err());
    assert!(server.bind("tcp://127.0.0.1:0").await.is_err());
}

#[tokio::test]
async fn shutdown_may_be_called_again() {
    let server = Server::builder().connected(|socket: Socket| async move {
        socket.listen("slow", |n: u32| async move {
            tokio::time::sleep(Duration::from_millis(200)).await;
            n
        });
    });
    let server = server.build();
    let client = Client::builder().connect_local(&server).await.unwrap();
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.request::<u32>("slow", &7_u32).await }
    });
    eventually("the call is under way", || !call.is_finished()).await;
    tokio::task::yield_now().await;
    assert!(timeout(Duration::from_millis(20), server.shutdown()).await.is_err(), "a handler is running");
    within(async { tokio::join!(server.shutdown_with(for_good()), server.shutdown_with(for_good())) }).await;
    assert_eq!(call.await.unwrap(), Ok(7));
    assert!(matches!(within(client.disconnected()).await, DisconnectReason::ShuttingDown { comes_back: false, .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_with_a_blocking_handler_ends_after_the_grace() {
    let (entered, running) = mpsc::channel();
    let limits = Limits::new().shutdown_grace(Duration::from_millis(100));
    let server = Server::builder().limits(limits).connected(move |socket: Socket| {
        let entered = entered.clone();
        async move {
            socket.listen("block", move |(): ()| {
                entered.send(()).unwrap();
                std::thread::sleep(Duration::from_secs(4));
                async {}
            });
        }
    });
    let server = server.build();
    let client = Client::builder().connect_local(&server).await.unwrap();
    let _call = tokio::spawn(async move { client.request::<()>("block", &()).await });
    tokio::task::spawn_blocking(move || running.recv().unwrap()).await.unwrap();
    timeout(Duration::from_secs(3), server.shutdown()).await.expect("a grace of 100 ms, and a second for the driver");
}
