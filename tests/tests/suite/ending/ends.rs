//! What has ended has ended whole: nothing of it is held, waits, or comes back.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Poll},
    time::Duration,
};

use futures_util::FutureExt;
use sockets::{Client, DisconnectReason, Limits, Listener, Server, Socket};
use sockets_tests::*;
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf},
    runtime::Runtime,
    time::timeout,
};

#[tokio::test]
async fn shutdown_may_be_called_again_while_calls_are_under_way() {
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
    within(async { tokio::join!(server.shutdown(), server.shutdown()) }).await;
    assert_eq!(call.await.unwrap(), Ok(7));
    assert_eq!(within(client.disconnected()).await, DisconnectReason::ShuttingDown);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_waits_no_longer_than_it_may_for_a_handler_that_blocks() {
    let (entered, running) = mpsc::channel();
    let limits = Limits { shutdown_grace: Duration::from_millis(100), ..Limits::default() };
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

/// A thread with a runtime of its own emits once, and is gone before others do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_is_heard_after_the_runtime_of_an_emitter_is_gone() {
    let server = Server::builder().build();
    let heard = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&heard);
    let client = Client::builder().connected(|peer| async move {
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
    eventually("all is heard", || heard.load(Ordering::Relaxed) == 201).await;
}

/// A stream that knows whether it is held.
struct Held(DuplexStream, #[expect(dead_code, reason = "counted by its clones")] Arc<()>);

impl AsyncRead for Held {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Held {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// A program may poll an emit where there is no runtime, if only by mistake.
#[test]
fn a_room_is_heard_after_an_emit_outside_of_a_runtime() {
    let runtime = Runtime::new().unwrap();
    let server = Server::builder().build();
    let heard = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&heard);
    let client = Client::builder().connected(|peer| async move {
        peer.listen("news", move |(): ()| {
            counted.fetch_add(1, Ordering::Relaxed);
            async {}
        });
    });
    let _client = runtime.block_on(client.connect_local(&server)).unwrap();
    assert_eq!(server.all().emit("news", &()).now_or_never(), Some(Ok(())));
    runtime.block_on(async {
        within(server.all().emit("news", &())).await.unwrap();
        eventually("both are heard", || heard.load(Ordering::Relaxed) == 2).await;
    });
}

#[tokio::test]
async fn a_handle_does_not_keep_the_connection_of_an_ended_session() {
    let server = Server::builder().build();
    let (near, far) = tokio::io::duplex(1 << 16);
    let held = Arc::new(());
    let near = Held(near, Arc::clone(&held));
    let (accepted, connected) = tokio::join!(server.accept(near), Client::builder().connect_over(far));
    let socket = accepted.unwrap();
    drop(connected.unwrap());
    assert_eq!(within(socket.disconnected()).await, DisconnectReason::PeerClosed);
    eventually("the stream is dropped", || Arc::strong_count(&held) == 1).await;
    drop(socket);
}

#[test]
fn a_session_ends_also_if_its_driver_has_never_run() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = runtime.block_on(async {
        let server = Server::builder().build();
        // The last thing that this runtime does is to spawn the driver.
        let client = Client::builder().connect_local(&server).await.unwrap();
        std::mem::forget(client);
        server
    });
    drop(runtime);
    assert!(server.sockets().is_empty(), "{:?}", server.sockets());
}

/// Dropping a listener runs what its closure has captured, which may come back here.
#[tokio::test]
async fn a_listener_that_stops_another_when_it_is_dropped_does_not_hang() {
    struct StopsWhenDropped(Listener);

    impl Drop for StopsWhenDropped {
        fn drop(&mut self) {
            self.0.stop();
        }
    }

    let server = Server::builder().build();
    let client = Client::builder().connect_local(&server).await.unwrap();
    let guard = StopsWhenDropped(client.listen("other", |(): ()| async {}));
    let listener = client.listen("one", move |(): ()| {
        let _ = &guard;
        async {}
    });
    let (done, stopped) = mpsc::channel();
    std::thread::spawn(move || {
        listener.stop();
        done.send(()).unwrap();
    });
    let stopped = tokio::task::spawn_blocking(move || stopped.recv_timeout(Duration::from_secs(5)));
    assert_eq!(stopped.await.unwrap(), Ok(()), "it hangs");
}
