//! Ending: from within a handler, with values whose drop panics, and midway.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::Poll,
    time::{Duration, Instant},
};

use sockets::{Call, Client, Limits, Refusal, Server, Socket};
use sockets_tests::{eventually, tcp_and_memory, within};
use tokio::sync::{Notify, mpsc::unbounded_channel, oneshot};

tcp_and_memory! {
    async fn shutdown_in_a_handler_returns_at_once_and_its_call_is_answered(net: Transport) {
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
        let client = net.connect(&server, Client::builder()).await;
        let other = net.connect(&server, Client::builder()).await;
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
        let client = net.connect(&server, Client::builder()).await;
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
        let _ = within(net.try_connect(&server, Client::builder())).await;
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
        net.deserted(&server).await;
    }

    async fn hook_runs_once_when_handlers_panic_while_they_are_dropped(net: Transport) {
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
            // The driver keeps what it has looked up.
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
async fn hook_runs_once_when_the_identity_panics_while_it_is_dropped() {
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

/// Drops the server, and binds another at once, without a turn of the runtime between.
async fn rebind(url: &str) {
    let server = Server::builder().bind(url).await.unwrap();
    let url = match server.local_addrs().first() {
        Some(addr) => format!("{}://{addr}", url.split(':').next().unwrap()),
        None => url.to_owned(),
    };
    // The listener's task waits for connections.
    tokio::task::yield_now().await;
    drop(server);
    let again = Server::builder();
    let mut binding = Box::pin(again.bind(&url));
    let bound = std::future::poll_fn(|cx| Poll::Ready(binding.as_mut().poll(cx))).await;
    match bound {
        Poll::Ready(bound) => drop(bound.expect("the address is free")),
        Poll::Pending => drop(within(binding).await.expect("the address is free")),
    }
}

#[tokio::test]
async fn address_is_free_when_the_server_is_dropped_on_one_thread() {
    rebind("tcp://127.0.0.1:0").await;
    rebind("ws://127.0.0.1:0").await;
    #[cfg(unix)]
    rebind(&format!("unix:{}", sockets_tests::path_of_its_own().display())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn address_is_free_when_the_server_is_dropped() {
    for _ in 0..20 {
        rebind("tcp://127.0.0.1:0").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connect_dropped_midway_leaves_no_detached_session() {
    let authenticated = Arc::new(Notify::new());
    let authenticating = Arc::clone(&authenticated);
    let server = Server::builder()
        .authenticate(move |(): ()| {
            authenticating.notify_one();
            async { Ok::<_, Refusal>(()) }
        })
        .connected(|socket: Socket| async move {
            // It outlives a moment, in which the client leaves.
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_in_a_handler_of_another_server_waits() {
    let limits = Limits { shutdown_grace: Duration::from_secs(2), ..Limits::default() };
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
