//! Dropped runtimes, and calls outside of a runtime.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use futures_util::FutureExt;
use sockets::{Client, DisconnectReason, Limits, Server, Socket};
use sockets_tests::*;
use tokio::runtime::Runtime;

/// Runs a short program. When this function returns, the runtime of the program has been dropped.
fn program(run: impl Future<Output = ()> + Send + 'static) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    std::thread::spawn(move || runtime.block_on(run)).join().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closed_client_has_sent_its_emits_when_close_returns() {
    let received = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&received);
    let left = Arc::new(Mutex::new(None));
    let leaving = Arc::clone(&left);
    let server = Server::builder().connected(move |socket: Socket| {
        let (counted, left) = (Arc::clone(&counted), Arc::clone(&leaving));
        async move {
            socket.listen("tick", move |(): ()| {
                counted.fetch_add(1, Ordering::Relaxed);
                async {}
            });
            socket.on_disconnect(move |reason| async move { *left.lock().unwrap() = Some(reason) });
        }
    });
    let server = server.bind("tcp://127.0.0.1:0").await.unwrap();
    let url = format!("tcp://{}", server.local_addr());
    let ended = tokio::task::spawn_blocking(|| {
        program(async move {
            let client = Client::builder().connect(&url).await.unwrap();
            for _ in 0..100 {
                client.emit("tick", &()).await.unwrap();
            }
            client.close().await;
            assert!(!client.is_connected());
        });
    });
    within(ended).await.unwrap();
    eventually("the socket has ended", || left.lock().unwrap().is_some()).await;
    assert_eq!(*left.lock().unwrap(), Some(DisconnectReason::PeerClosed));
    assert_eq!(received.load(Ordering::Relaxed), 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_has_sent_its_reason_when_shutdown_returns() {
    let (sender, addr) = mpsc::channel();
    let (connected, ready) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::task::spawn_blocking(|| {
        program(async move {
            // The client emits throughout the grace, so the session does not become idle earlier.
            let limits = Limits::new().shutdown_grace(Duration::from_millis(100));
            let server = Server::builder().limits(limits).bind("tcp://127.0.0.1:0").await.unwrap();
            sender.send(server.local_addr()).unwrap();
            ready.await.unwrap();
            server.shutdown_with(for_good()).await;
        });
    });
    let addr = tokio::task::spawn_blocking(move || addr.recv().unwrap()).await.unwrap();
    let client = Client::builder().connect(&format!("tcp://{addr}")).await.unwrap();
    connected.send(()).unwrap();
    // The client continues to emit during the shutdown.
    let talking = client.clone();
    tokio::spawn(async move { while talking.emit("tick", &()).await.is_ok() {} });
    assert!(matches!(within(client.disconnected()).await, DisconnectReason::ShuttingDown { comes_back: false, .. }));
    within(serving).await.unwrap();
}

/// A thread emits once on a runtime of its own, which ends before the test emits again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn emit_works_after_an_emitters_runtime_is_dropped() {
    let server = Server::builder().build();
    let received = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&received);
    let client = Client::builder().first_session(|peer| async move {
        peer.listen("news", move |_: Vec<u8>| {
            counted.fetch_add(1, Ordering::Relaxed);
            async {}
        });
    });
    let _client = client.connect_local(&server).await.unwrap();
    let news = vec![0_u8; 1000];
    let (all, text) = (server.all(), news.clone());
    std::thread::spawn(move || Runtime::new().unwrap().block_on(async { all.emit("news", &text).await.unwrap() }))
        .join()
        .unwrap();
    for _ in 0..200 {
        within(server.all().emit("news", &news)).await.unwrap();
    }
    eventually("all messages are received", || received.load(Ordering::Relaxed) == 201).await;
}

/// A program may poll an emit outside of a runtime by mistake.
#[test]
fn emit_works_outside_of_a_runtime() {
    let runtime = Runtime::new().unwrap();
    let server = Server::builder().build();
    let received = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&received);
    let client = Client::builder().first_session(|peer| async move {
        peer.listen("news", move |(): ()| {
            counted.fetch_add(1, Ordering::Relaxed);
            async {}
        });
    });
    let _client = runtime.block_on(client.connect_local(&server)).unwrap();
    assert_eq!(server.all().emit("news", &()).now_or_never(), Some(Ok(())));
    runtime.block_on(async {
        within(server.all().emit("news", &())).await.unwrap();
        eventually("both emits are received", || received.load(Ordering::Relaxed) == 2).await;
    });
}

#[test]
fn session_ends_if_its_driver_never_ran() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = runtime.block_on(async {
        let server = Server::builder().build();
        // The runtime spawns the driver, and then ends before the driver has run.
        let client = Client::builder().connect_local(&server).await.unwrap();
        std::mem::forget(client);
        server
    });
    drop(runtime);
    assert!(server.sockets().is_empty(), "{:?}", server.sockets());
}

/// A program drops its runtime at the end of `main`. A handler that never yields may still be
/// running at that time.
#[test]
fn runtime_dropped_during_a_handler_does_not_hang() {
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
