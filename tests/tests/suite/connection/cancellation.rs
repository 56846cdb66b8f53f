//! The future of `connect` is dropped before it completes.

use std::{
    future::pending,
    sync::Arc,
    time::{Duration, Instant},
};

use sockets::{Client, Limits, Refusal, Server, Socket};
use sockets_tests::{eventually, within};
use tokio::sync::Notify;

#[tokio::test]
async fn dropped_connect_leaves_no_socket() {
    let server = Server::builder().connected(|_: Socket| pending::<()>()).build();
    let connect = Client::builder().connect_local(&server);
    assert!(tokio::time::timeout(Duration::from_millis(50), connect).await.is_err());
    eventually("the socket is removed", || server.sockets().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_connect_leaves_no_detached_session() {
    let authenticated = Arc::new(Notify::new());
    let authenticating = Arc::clone(&authenticated);
    let server = Server::builder()
        .authenticate(move |(): ()| {
            authenticating.notify_one();
            async { Ok::<_, Refusal>(()) }
        })
        .connected(|socket: Socket| async move {
            // The hook holds the socket for a moment, in which the client leaves.
            let _ = socket;
            tokio::time::sleep(Duration::from_millis(5)).await;
        })
        .bind("tcp://127.0.0.1:0")
        .await
        .unwrap();
    let url = format!("tcp://{}", server.local_addr());
    for number in 0..200 {
        let mut connecting = Box::pin(Client::builder().connect(&url));
        tokio::select! {
            biased;
            _ = &mut connecting => {}
            () = authenticated.notified() => {
                for _ in 0..number % 5 {
                    tokio::task::yield_now().await;
                }
            }
        }
        drop(connecting);
    }
    eventually("no session is detached", || server.sockets().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_leaving_during_authentication_frees_its_permit() {
    let (begun, dropped) = (Arc::new(Notify::new()), Arc::new(()));
    let (beginning, guard) = (Arc::clone(&begun), Arc::clone(&dropped));
    let server = Server::builder()
        .limits(Limits::new().handshakes(1))
        .authenticate(move |waits: bool| {
            let (begun, guard) = (Arc::clone(&beginning), Arc::clone(&guard));
            async move {
                if waits {
                    begun.notify_one();
                    pending::<()>().await;
                }
                drop(guard);
                Ok::<_, Refusal>(())
            }
        })
        .bind("tcp://127.0.0.1:0")
        .await
        .unwrap();
    let url = format!("tcp://{}", server.local_addr());
    let waiting = Client::builder().auth(true);
    let connecting = tokio::spawn({
        let url = url.clone();
        async move { waiting.connect(&url).await }
    });
    within(begun.notified()).await;
    connecting.abort();
    let since = Instant::now();
    within(Client::builder().auth(false).connect(&url)).await.unwrap();
    assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
    assert_eq!(Arc::strong_count(&dropped), 2, "the authentication of the other client was dropped");
}
