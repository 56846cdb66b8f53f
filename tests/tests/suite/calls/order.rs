//! The receiver starts handlers in the order in which the peer sent the calls. Nested calls
//! nevertheless do not deadlock.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Waker},
    time::Duration,
};

use sockets::{CallError, Client, Limits, Peer, Server, ServerBuilder, Socket};
use sockets_tests::*;

type Received = Arc<Mutex<Vec<u32>>>;

fn tiny() -> Limits {
    Limits::new().calls_in_flight(4).bytes_in_flight(64)
}

/// Records the received numbers. After each number, the handler yields up to two times, depending
/// on the number.
fn listen(peer: &Peer, received: &Received) {
    let emitted = Arc::clone(received);
    peer.listen("note", move |n: u32| {
        let received = Arc::clone(&emitted);
        async move {
            received.lock().unwrap().push(n);
            for _ in 0..n % 3 {
                tokio::task::yield_now().await;
            }
        }
    });
    let asked = Arc::clone(received);
    peer.listen("ask", move |n: u32| {
        let received = Arc::clone(&asked);
        async move {
            received.lock().unwrap().push(n);
            for _ in 0..n % 3 {
                tokio::task::yield_now().await;
            }
            n
        }
    });
}

fn listening_server(received: &Received) -> ServerBuilder<()> {
    let received = Arc::clone(received);
    Server::builder().connected(move |socket: Socket| {
        listen(socket.as_peer(), &received);
        async {}
    })
}

fn listening_client(received: &Received) -> sockets::ClientBuilder {
    let received = Arc::clone(received);
    Client::builder().first_session(move |peer| {
        listen(&peer, &received);
        async {}
    })
}

/// Sends emits and requests alternately. At most `at_once` requests wait for their replies at the
/// same time.
async fn send_in_turn(peer: &Peer, count: u32, at_once: usize) {
    let mut open = std::collections::VecDeque::new();
    for n in 0..count {
        if n % 2 == 0 {
            peer.emit("note", &n).await.unwrap();
            continue;
        }
        let peer = peer.clone();
        let mut call: Pin<Box<dyn Future<Output = _> + Send>> =
            Box::pin(async move { peer.request::<u32>("ask", &n).await });
        // The first poll sends the request.
        if call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            open.push_back((n, call));
        }
        if open.len() >= at_once {
            let (n, call) = open.pop_front().unwrap();
            assert_eq!(call.await, Ok(n));
        }
    }
    for (n, call) in open {
        assert_eq!(call.await, Ok(n));
    }
}

fn in_order(count: u32) -> Vec<u32> {
    (0..count).collect()
}

every_transport! {
    async fn client_calls_start_in_order(net: Transport) {
        let received = Received::default();
        let server = net.serve(listening_server(&received)).await;
        let client = net.connect(&server, Client::builder()).await;
        send_in_turn(client.as_peer(), 20_000, 300).await;
        eventually("all messages are received", || received.lock().unwrap().len() == 20_000).await;
        assert!(*received.lock().unwrap() == in_order(20_000));
    }

    async fn client_calls_start_in_order_with_a_small_window(net: Transport) {
        let received = Received::default();
        let server = net.serve(listening_server(&received).limits(tiny())).await;
        let client = net.connect(&server, Client::builder().limits(tiny())).await;
        send_in_turn(client.as_peer(), 3000, 3).await;
        eventually("all messages are received", || received.lock().unwrap().len() == 3000).await;
        assert!(*received.lock().unwrap() == in_order(3000));
    }

    async fn socket_and_audience_calls_start_in_order(net: Transport) {
        let received = Received::default();
        let server = net.serve(Server::builder().connected(|socket: Socket| async move { socket.join("room").unwrap() })).await;
        let client = net.connect(&server, listening_client(&received)).await;
        let socket = server.sockets().remove(0);
        for n in 0..4_000 {
            match n % 4 {
                0 => socket.emit("note", &n).await.unwrap(),
                1 => server.room("room").emit("note", &n).await.unwrap(),
                2 => server.all().request::<u32>("ask", &n).for_each_reply(|_, reply| assert_eq!(reply, Ok(n))).await,
                _ => assert_eq!(socket.request::<u32>("ask", &n).await, Ok(n)),
            }
        }
        eventually("all messages are received", || received.lock().unwrap().len() == 4_000).await;
        assert!(*received.lock().unwrap() == in_order(4_000));
        drop(client);
    }
}

tcp_and_memory! {
    async fn audience_calls_start_in_order_with_a_small_window(net: Transport) {
        let received = Received::default();
        let server = net.serve(Server::builder().limits(tiny())).await;
        let client = net.connect(&server, listening_client(&received).limits(tiny())).await;
        let socket = server.sockets().remove(0);
        for n in 0..3000_u32 {
            if n % 5 == 0 {
                socket.emit("note", &n).await.unwrap();
            } else {
                server.all().emit("note", &n).await.unwrap();
            }
        }
        eventually("all messages are received", || received.lock().unwrap().len() == 3000).await;
        assert!(*received.lock().unwrap() == in_order(3000));
        drop(client);
    }

    async fn emit_of_a_handler_arrives_before_its_reply(net: Transport) {
        let received = Received::default();
        let server = net.serve(Server::builder().limits(tiny()).connected(|socket: Socket| async move {
            let caller = socket.clone();
            socket.listen("tell", move |n: u32| {
                let socket = caller.clone();
                async move {
                    for part in 0..n % 12 {
                        if part % 2 == 0 {
                            socket.server().all().emit("note", &part).await.unwrap();
                        } else {
                            socket.emit("note", &part).await.unwrap();
                        }
                    }
                }
            });
        })).await;
        let client = net.connect(&server, listening_client(&received).limits(tiny())).await;
        for n in 0..1000 {
            client.request::<()>("tell", &n).await.unwrap();
            assert_eq!(std::mem::take(&mut *received.lock().unwrap()), in_order(n % 12), "call {n}");
        }
    }

    async fn nested_requests_do_not_deadlock(net: Transport) {
        let server = net.serve(Server::builder().connected(|socket: Socket| {
            bounce(socket.as_peer());
            async {}
        })).await;
        let client = net.connect(&server, Client::builder().first_session(|peer| {
            bounce(&peer);
            async {}
        })).await;
        let calls = (0..20).map(|_| client.request::<u32>("bounce", &40_u32));
        let outcomes = futures_util::future::join_all(calls).await;
        assert!(outcomes.iter().all(|outcome| *outcome == Ok(40)), "{outcomes:?}");
    }

    /// Fault 20 of RELIABILITY.md. The window is too small for all requests, so the library refuses
    /// some of them. The other requests complete, and the connection continues.
    async fn nested_requests_beyond_a_small_window_all_end(net: Transport) {
        let server = net.serve(Server::builder().limits(tiny()).connected(|socket: Socket| {
            bounce(socket.as_peer());
            async {}
        })).await;
        let client = net.connect(&server, Client::builder().limits(tiny()).first_session(|peer| {
            bounce(&peer);
            async {}
        })).await;
        let calls = (0..8).map(|_| client.request::<u32>("bounce", &9_u32));
        for outcome in futures_util::future::join_all(calls).await {
            assert!(matches!(outcome, Ok(_) | Err(CallError::Overloaded)), "{outcome:?}");
        }
        assert_eq!(client.request::<u32>("bounce", &2_u32).await, Ok(2));
    }

    /// The handlers of the server emit to the client, and the handlers of the client emit to the
    /// server. Each endpoint runs more handlers at the same time than the window permits emits.
    async fn handlers_that_emit_to_their_caller_do_not_deadlock(net: Transport) {
        let received = Received::default();
        let server = net.serve(Server::builder().limits(tiny()).connected({
            let received = Arc::clone(&received);
            move |socket: Socket| {
                listen(socket.as_peer(), &received);
                echo(socket.as_peer(), "ping", "pong", 2);
                async {}
            }
        })).await;
        let client = net.connect(&server, Client::builder().limits(tiny()).first_session(|peer| {
            echo(&peer, "pong", "note", 1);
            async {}
        })).await;
        let pings = (0..200_u32).map(|n| {
            let client = &client;
            async move { client.emit("ping", &n).await }
        });
        let emitted = futures_util::future::join_all(pings).await;
        assert!(emitted.iter().all(Result::is_ok));
        eventually("all emits have returned", || received.lock().unwrap().len() == 400).await;
    }
}

/// Registers a listener for `bounce`. If the depth is 0, the listener replies 0. Otherwise it
/// requests `bounce` from the peer with the depth minus 1, and replies with the peer's result plus
/// 1.
fn bounce(peer: &Peer) {
    let other = peer.clone();
    peer.listen("bounce", move |depth: u32| {
        let other = other.clone();
        async move {
            if depth == 0 {
                return 0;
            }
            other.request::<u32>("bounce", &(depth - 1)).await.map_or(0, |below| below + 1)
        }
    });
}

fn echo(peer: &Peer, name: &str, back: &'static str, times: u32) {
    let other = peer.clone();
    peer.listen(name, move |n: u32| {
        let other = other.clone();
        async move {
            for _ in 0..times {
                other.emit(back, &n).await.unwrap();
            }
        }
    });
}

/// The handler sends emits, and then replies. The reply must arrive after these emits, even if the
/// caller handles the emits slowly.
#[tokio::test(start_paused = true)]
async fn reply_to_a_slow_caller_follows_its_handlers_emits() {
    let server = Server::builder().connected(|socket: Socket| async move {
        let caller = socket.clone();
        socket.listen("tell", move |(): ()| {
            let socket = caller.clone();
            async move {
                for n in 0..12_u32 {
                    socket.server().all().emit("slow", &n).await.unwrap();
                }
            }
        });
    });
    let server = server.build();
    let received = Received::default();
    let noted = Arc::clone(&received);
    let client = Client::builder().limits(tiny()).first_session(|peer| async move {
        peer.listen("slow", move |n: u32| {
            noted.lock().unwrap().push(n);
            tokio::time::sleep(Duration::from_millis(1500))
        });
    });
    let client = client.connect_local(&server).await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), client.request::<()>("tell", &())).await.unwrap().unwrap();
    assert_eq!(*received.lock().unwrap(), in_order(12));
}

#[tokio::test]
async fn handler_runs_to_its_first_suspension_before_the_next() {
    let received = Received::default();
    let noted = Arc::clone(&received);
    let net = Transport::Tcp;
    let server = net
        .serve(Server::builder().connected(move |socket: Socket| {
            let noted = Arc::clone(&noted);
            async move {
                socket.listen("two", move |n: u32| {
                    let noted = Arc::clone(&noted);
                    async move {
                        noted.lock().unwrap().push(2 * n);
                        std::future::ready(()).await;
                        noted.lock().unwrap().push(2 * n + 1);
                        tokio::task::yield_now().await;
                    }
                });
            }
        }))
        .await;
    let client = net.connect(&server, Client::builder()).await;
    let calls = (0..500_u32).map(|n| {
        let client = &client;
        async move { client.request::<()>("two", &n).await }
    });
    for outcome in within(futures_util::future::join_all(calls)).await {
        assert_eq!(outcome, Ok(()));
    }
    assert!(*received.lock().unwrap() == in_order(1000));
}
