//! Sessions with handlers or identities that panic when they are dropped.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use sockets::{Client, Refusal, Server, Socket};
use sockets_tests::{FragileIdentity, PanicsOnDrop, eventually, tcp_and_memory, within};
use tokio::sync::mpsc::unbounded_channel;

tcp_and_memory! {
    async fn hook_runs_once_when_handlers_panic_on_drop(net: Transport) {
        let ended = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&ended);
        let builder = Server::builder().serve_each(|_| BoomServer::new(PanicsOnDrop("the handler of a socket")));
        let server = net.serve(builder.connected(move |socket: Socket| {
            let ended = Arc::clone(&counted);
            async move {
                for name in ["one", "two"] {
                    let panicking = PanicsOnDrop("a listener");
                    socket.listen(name, move |(): ()| {
                        let _ = &panicking;
                        async {}
                    });
                }
                socket.serve(BoomServer::new(PanicsOnDrop("a handler")));
                socket.on_disconnect(move |_| async move {
                    ended.fetch_add(1, Ordering::Relaxed);
                });
            }
        })).await;
        for number in 1..=3 {
            let client = net.connect(&server, Client::builder()).await;
            // This call makes the driver cache the handler, so that the end of the session drops
            // the cached handler, too.
            assert_eq!(within(client.request::<()>("one", &())).await, Ok(()));
            assert_eq!(BoomClient::new(&client).boom().await, Ok(()));
            within(client.close()).await;
            eventually("the hook has run", || ended.load(Ordering::Relaxed) == number).await;
            net.wait_until_empty(&server).await;
        }
        assert_eq!(ended.load(Ordering::Relaxed), 3);
    }
}

#[sockets::group("Boom")]
trait Boom {
    async fn boom(&self);
}

impl Boom for PanicsOnDrop {
    async fn boom(&self) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hook_runs_once_when_the_identity_panics_on_drop() {
    let (ended, mut is_ended) = unbounded_channel();
    let server = Server::builder()
        .authenticate(|(): ()| async { Ok::<_, Refusal>(FragileIdentity(Arc::new(7))) })
        .connected(move |socket: Socket<FragileIdentity>| {
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
