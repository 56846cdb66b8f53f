//! Promise 0, and the limits of promise 3 that concern the beginning of a connection.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use sockets::{AcceptError, Client, ConnectError, Limits, Refusal, Server, Socket};
use sockets_tests::*;
use tokio::io::{AsyncReadExt, duplex};

/// Whether the server has refused the client, which may try again.
fn is_retry(outcome: &Result<Client, ConnectError>) -> bool {
    matches!(outcome, Err(ConnectError::Refused(refusal)) if refusal.retry_after() == Some(Duration::ZERO))
}

every_transport! {
    async fn connect_returns_when_connected_has_asked_the_client_and_finished(net: Transport) {
        let finished = Arc::new(AtomicBool::new(false));
        let set = Arc::clone(&finished);
        let server = net.serve(Server::builder().connected(move |socket: Socket| {
            let finished = Arc::clone(&set);
            async move {
                assert_eq!(socket.request::<u32>("color", &1_u32).await, Ok(2));
                tokio::time::sleep(Duration::from_millis(50)).await;
                finished.store(true, Ordering::SeqCst);
            }
        })).await;
        let client = net.connect(&server, Client::builder().connected(|peer| async move {
            peer.listen("color", |n: u32| async move { n + 1 });
        })).await;
        assert!(finished.load(Ordering::SeqCst));
        assert!(client.is_connected());
    }

    async fn calls_from_the_client_are_held_until_connected_ends_and_come_in_order(net: Transport) {
        let (ready, heard) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (set, counted) = (Arc::clone(&ready), Arc::clone(&heard));
        let limits = Limits { calls_in_flight: 4, ..Limits::default() };
        let server = net.serve(Server::builder().limits(limits).connected(move |socket: Socket| {
            let (ready, heard) = (Arc::clone(&set), Arc::clone(&counted));
            async move {
                let opened = Arc::clone(&ready);
                socket.listen("early", move |n: usize| {
                    assert!(opened.load(Ordering::SeqCst), "it was not held");
                    assert_eq!(heard.fetch_add(1, Ordering::SeqCst), n);
                    async move { n }
                });
                // The client calls while it answers.
                assert_eq!(socket.request::<()>("hello", &()).await, Ok(()));
                tokio::time::sleep(Duration::from_millis(100)).await;
                ready.store(true, Ordering::SeqCst);
            }
        })).await;
        let (told, early) = tokio::sync::oneshot::channel();
        let client = net.connect(&server, Client::builder().connected(|peer| async move {
            peer.listen("hello", |(): ()| async {});
            for n in 0..20_usize {
                peer.emit("early", &n).await.unwrap();
            }
            told.send(peer.request::<usize>("early", &20_usize).await).unwrap();
        })).await;
        assert_eq!(early.await.unwrap(), Ok(20));
        assert_eq!(client.request::<usize>("early", &21_usize).await, Ok(21));
    }
}

tcp_and_memory! {
    async fn connected_has_a_time_limit_of_its_own(net: Transport) {
        let limits = Limits { connected: Duration::from_millis(100), ..Limits::default() };
        let server = Server::builder().limits(limits).connected(|_: Socket| std::future::pending::<()>());
        let server = net.serve(server).await;
        let outcome = net.try_connect(&server, Client::builder()).await;
        assert!(is_retry(&outcome), "{outcome:?}");
        assert!(server.sockets().is_empty());
    }

    async fn a_connected_that_panics_ends_that_connection_alone(net: Transport) {
        let count = AtomicUsize::new(0);
        let server = Server::builder().connected(move |_: Socket| {
            let first = count.fetch_add(1, Ordering::SeqCst) == 0;
            async move { assert!(!first, "it was told to") }
        });
        let server = net.serve(server).await;
        let outcome = net.try_connect(&server, Client::builder()).await;
        assert!(is_retry(&outcome), "{outcome:?}");
        let client = net.connect(&server, Client::builder()).await;
        assert!(client.is_connected());
    }

    async fn a_refused_login_is_told_in_the_servers_words(net: Transport) {
        let server = Server::builder().authenticate(|name: String| async move {
            if name == "ada" { Ok(name) } else { Err(Refusal::new("not you")) }
        });
        let server = net.serve(server).await;
        match net.try_connect(&server, Client::builder().auth("bob")).await {
            Err(ConnectError::Refused(refusal)) => assert_eq!(refusal.message(), "not you"),
            other => panic!("{other:?}"),
        }
        let client = net.connect(&server, Client::builder().auth("ada")).await;
        assert_eq!(*server.sockets()[0].identity(), "ada");
        drop(client);
    }
}

#[tokio::test]
async fn a_peer_that_says_nothing_is_hung_up_on() {
    let limits = Limits { authentication: Duration::from_millis(100), ..Limits::default() };
    let server = Server::builder().limits(limits).build();
    let (mut silent, io) = duplex(1024);
    let accepted = within(server.accept(io)).await;
    assert!(matches!(accepted, Err(AcceptError::Handshake(_))), "{accepted:?}");
    let mut rest = Vec::new();
    within(silent.read_to_end(&mut rest)).await.unwrap();
}

#[tokio::test]
async fn a_connect_that_is_given_up_leaves_no_socket_behind() {
    let server = Server::builder().connected(|_: Socket| std::future::pending::<()>()).build();
    let connect = Client::builder().connect_local(&server);
    assert!(tokio::time::timeout(Duration::from_millis(50), connect).await.is_err());
    eventually("it is gone", || server.sockets().is_empty()).await;
}

#[tokio::test]
async fn a_socket_is_in_no_more_rooms_and_listens_to_no_more_names_than_its_limits_say() {
    let limits = Limits { rooms_per_socket: 3, names_per_peer: 3, ..Limits::default() };
    let server = Server::builder().limits(limits).build();
    let client = Client::builder().connect_local(&server).await.unwrap();
    let socket = server.sockets().remove(0);
    for room in ["a", "b", "c", "d", "a"] {
        socket.join(room);
    }
    assert_eq!(socket.rooms(), ["a", "b", "c"]);
    socket.leave("a");
    socket.join("d");
    assert_eq!(socket.rooms(), ["b", "c", "d"]);
    for name in ["a", "b", "c", "a"] {
        socket.listen(name, |(): ()| async {});
    }
    let one_more = socket.clone();
    let refused = tokio::spawn(async move { one_more.listen("d", |(): ()| async {}) }).await;
    assert!(refused.unwrap_err().is_panic());
    assert_eq!(within(client.request::<()>("a", &())).await, Ok(()));
}
