//! Sessions whose handlers or identities panic when they are dropped.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use sockets::{Client, Refusal, Server, Socket};
use sockets_tests::{eventually, tcp_and_memory, within};
use tokio::sync::mpsc::unbounded_channel;

tcp_and_memory! {
    async fn hook_runs_once_when_handlers_panic_on_drop(net: Transport) {
        let ended = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&ended);
        let server = net.serve(Server::builder().connected(move |socket: Socket| {
            let ended = Arc::clone(&counted);
            async move {
                for name in ["one", "two"] {
                    let panicking = Panicking;
                    socket.listen(name, move |(): ()| {
                        let _ = &panicking;
                        async {}
                    });
                }
                socket.serve(BoomServer::new(Panicking));
                socket.on_disconnect(move |_| async move {
                    ended.fetch_add(1, Ordering::Relaxed);
                });
            }
        })).await;
        for number in 1..=3 {
            let client = net.connect(&server, Client::builder()).await;
            // The driver caches handlers.
            assert_eq!(within(client.request::<()>("one", &())).await, Ok(()));
            assert_eq!(BoomClient::new(&client).boom().await, Ok(()));
            within(client.close()).await;
            eventually("the hook has run", || ended.load(Ordering::Relaxed) == number).await;
            net.deserted(&server).await;
        }
        assert_eq!(ended.load(Ordering::Relaxed), 3);
    }
}

#[sockets::group("Boom")]
trait Boom {
    async fn boom(&self);
}

/// Panics when it is dropped.
struct Panicking;

impl Boom for Panicking {
    async fn boom(&self) {}
}

impl Drop for Panicking {
    fn drop(&mut self) {
        panic!("a value panics while it is dropped");
    }
}

/// An identity that panics when it is dropped.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Fragile(Arc<u32>);

impl Drop for Fragile {
    fn drop(&mut self) {
        assert!(Arc::strong_count(&self.0) > 1, "an identity panics while it is dropped");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hook_runs_once_when_the_identity_panics_on_drop() {
    let (ended, mut is_ended) = unbounded_channel();
    let server = Server::builder()
        .authenticate(|(): ()| async { Ok::<_, Refusal>(Fragile(Arc::new(7))) })
        .connected(move |socket: Socket<Fragile>| {
            let ended = ended.clone();
            async move {
                socket.on_disconnect(move |_| async move { ended.send(()).unwrap() });
            }
        })
        .build();
    for _ in 0..3 {
        let client = within(Client::builder().connect_local(&server)).await.unwrap();
        within(client.close()).await;
        within(is_ended.recv()).await.unwrap();
        eventually("the socket has left", || server.sockets().is_empty()).await;
    }
    assert!(is_ended.try_recv().is_err());
}
