//! Handlers and hooks that call `shutdown` or `close`. If these functions waited for all running
//! handlers, they would wait for the handler that calls them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sockets::{Call, Client, Limits, Server, Socket};
use sockets_tests::{once, tcp_and_memory, within};
use tokio::sync::{Notify, mpsc::unbounded_channel, oneshot};

#[sockets::group("Stopping")]
trait Stopping {
    async fn stop(&self, call: &Call);
}

struct Stops;

impl Stopping for Stops {
    async fn stop(&self, call: &Call) {
        let server = call.server::<()>().expect("a server");
        server.shutdown().await;
    }
}

tcp_and_memory! {
    async fn shutdown_in_a_handler_returns_and_its_reply_arrives(net: Transport) {
        let server = net.serve(Server::builder().connected(|socket: Socket| async move {
            let server = socket.server();
            socket.listen("stop", move |(): ()| {
                let server = server.clone();
                async move {
                    let since = Instant::now();
                    server.shutdown().await;
                    since.elapsed() < Duration::from_secs(2)
                }
            });
        })).await;
        let client = net.connect(&server, once()).await;
        let other = net.connect(&server, once()).await;
        assert_eq!(within(client.request::<bool>("stop", &())).await, Ok(true));
        within(client.disconnected()).await;
        within(other.disconnected()).await;
    }

    async fn shutdown_in_a_suspended_handler_returns_at_once(net: Transport) {
        let (go, returned) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (going, returning) = (Arc::clone(&go), Arc::clone(&returned));
        let server = net.serve(Server::builder().connected(move |socket: Socket| {
            let (go, returned) = (Arc::clone(&going), Arc::clone(&returning));
            async move {
                let server = socket.server();
                socket.listen("stop", move |(): ()| {
                    let (server, go, returned) = (server.clone(), Arc::clone(&go), Arc::clone(&returned));
                    async move {
                        go.notified().await;
                        server.shutdown().await;
                        returned.notify_one();
                    }
                });
            }
        })).await;
        let client = net.connect(&server, once()).await;
        let (stopped, ()) = within(async { tokio::join!(client.request::<()>("stop", &()), async { go.notify_one() }) }).await;
        assert_eq!(stopped, Ok(()));
        within(returned.notified()).await;
        within(client.disconnected()).await;
    }

    async fn shutdown_in_the_connected_hook_returns_at_once(net: Transport) {
        let (done, mut is_done) = unbounded_channel();
        let server = net.serve(Server::builder().connected(move |socket: Socket| {
            let done = done.clone();
            async move {
                socket.server().shutdown().await;
                done.send(()).unwrap();
            }
        })).await;
        let since = Instant::now();
        let _ = within(net.try_connect(&server, once())).await;
        within(is_done.recv()).await.unwrap();
        assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    }

    async fn close_in_a_handler_returns_at_once(net: Transport) {
        let server = net.serve(Server::builder()).await;
        let client = net.connect(&server, Client::builder()).await;
        let (done, is_done) = oneshot::channel();
        let (own, done) = (client.clone(), std::sync::Mutex::new(Some(done)));
        client.listen("stop", move |(): ()| {
            let (own, done) = (own.clone(), done.lock().unwrap().take());
            async move {
                own.close().await;
                done.unwrap().send(()).unwrap();
            }
        });
        server.sockets()[0].emit("stop", &()).await.unwrap();
        within(is_done).await.unwrap();
        within(client.disconnected()).await;
        net.wait_until_empty(&server).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_in_a_handler_of_another_server_waits() {
    let limits = Limits::new().shutdown_grace(Duration::from_secs(2));
    let drained = Server::builder().limits(limits).serve(StoppingServer::new(Stops)).build();
    let other = Server::builder().build();
    let target = drained.clone();
    let client = within(Client::builder().connect_local(&other)).await.unwrap();
    let waiting = within(Client::builder().connect_local(&drained)).await.unwrap();
    other.sockets()[0].listen("stop", move |(): ()| {
        let (target, waiting) = (target.clone(), waiting.clone());
        async move {
            target.shutdown().await;
            !waiting.is_connected()
        }
    });
    assert_eq!(within(client.request::<bool>("stop", &())).await, Ok(true), "the other server has drained");
}
