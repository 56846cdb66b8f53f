//! The server shuts down for a restart, or redirects its clients to another server.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sockets::{Client, ClientState, DisconnectReason, Reconnect, Server, Socket};
use sockets_tests::{eventually, reconnecting, unique_path, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_a_restarting_server_reconnect_in_turn() {
    let server = Server::builder().bind("tcp://127.0.0.1:0").await.unwrap();
    let url = format!("tcp://{}", server.local_addr());
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(reconnecting().connect(&url).await.unwrap());
    }
    let once = Client::builder().reconnect(Reconnect::never()).connect(&url).await.unwrap();
    let mut states: Vec<_> = clients.iter().map(Client::states).collect();
    let sockets = server.sockets();
    let began = Instant::now();
    within(server.shutdown_for_restart(Duration::from_millis(500))).await;
    for socket in &sockets[..4] {
        // The server chooses a time for each client, so the reason at the server has no time.
        assert_eq!(within(socket.disconnected()).await, DisconnectReason::Restarting { at: None });
    }
    assert_eq!(within(once.disconnected()).await, DisconnectReason::ShuttingDown);
    let waits = join_all(states.iter_mut().map(|states| async {
        loop {
            match within(states.next()).await {
                Some(ClientState::Reconnecting {
                    attempt, reason: DisconnectReason::Restarting { at: None }, ..
                }) => {
                    if attempt > 0 {
                        break began.elapsed();
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }));
    let mut waits = waits.await;
    waits.sort_unstable();
    let parts = [0, 100, 200, 300].map(Duration::from_millis);
    assert!(waits.iter().zip(parts).all(|(wait, part)| *wait >= part), "each has its own part of the time: {waits:?}");

    // The call waits until the client has connected to the next server.
    let calling = clients[3].clone();
    let called = tokio::spawn(async move { calling.request::<u32>("ping", &()).await });
    let connected = |socket: Socket| async move {
        socket.listen("ping", |(): ()| async { 7_u32 });
    };
    let _server = Server::builder().connected(connected).bind(&url).await.unwrap();
    assert_eq!(within(called).await.unwrap(), Ok(7));
    for client in &clients {
        eventually("the client is connected again", || client.state() == ClientState::Connected { session: 2 }).await;
    }
}

/// Starts a server that replies with its name.
async fn named(name: u32) -> Server {
    let connected = move |socket: Socket| async move {
        socket.listen("name", move |(): ()| async move { name });
    };
    Server::builder().connected(connected).bind("tcp://127.0.0.1:0").await.unwrap()
}

fn url_of(server: &Server) -> String {
    format!("tcp://{}", server.local_addr())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redirected_client_follows_each_redirect() {
    let (first, second, third) = (named(1).await, named(2).await, named(3).await);
    let client = reconnecting().connect(&url_of(&first)).await.unwrap();
    assert_eq!(within(client.request::<u32>("name", &())).await, Ok(1));
    within(first.shutdown_with_redirect(&url_of(&second), Duration::ZERO)).await;
    eventually("the client has followed the redirect", || client.state() == ClientState::Connected { session: 2 })
        .await;
    assert_eq!(within(client.request::<u32>("name", &())).await, Ok(2));
    within(second.shutdown_with_redirect(&url_of(&third), Duration::ZERO)).await;
    eventually("the client has followed the second redirect", || {
        client.state() == ClientState::Connected { session: 3 }
    })
    .await;
    assert_eq!(within(client.request::<u32>("name", &())).await, Ok(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreachable_redirect_returns_to_the_first_server() {
    let first = named(1).await;
    let url = url_of(&first);
    let client = reconnecting().connect(&url).await.unwrap();
    let mut states = client.states();
    let nowhere = "tcp://127.0.0.1:1";
    within(first.shutdown_with_redirect(nowhere, Duration::ZERO)).await;
    match within(states.next()).await {
        Some(ClientState::Reconnecting { reason: DisconnectReason::Restarting { at }, .. }) => {
            assert_eq!(at.as_deref(), Some(nowhere));
        }
        other => panic!("{other:?}"),
    }
    let connected = |socket: Socket| async move {
        socket.listen("name", |(): ()| async { 4_u32 });
    };
    let _again = Server::builder().connected(connected).bind(&url).await.unwrap();
    assert_eq!(within(client.request::<u32>("name", &())).await, Ok(4));
}

/// A server must not redirect a client to a less secure transport.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redirect_to_another_transport_is_ignored() {
    let path = unique_path();
    let url = format!("unix:{}", path.display());
    let first = Server::builder().bind(&url).await.unwrap();
    let elsewhere = named(2).await;
    let client = reconnecting().connect(&url).await.unwrap();
    let mut states = client.states();
    within(first.shutdown_with_redirect(&url_of(&elsewhere), Duration::ZERO)).await;
    let told = within(states.next()).await;
    assert!(matches!(told, Some(ClientState::Reconnecting { .. })), "{told:?}");
    let connected = |socket: Socket| async move {
        socket.listen("name", |(): ()| async { 3_u32 });
    };
    let _again = Server::builder().connected(connected).bind(&url).await.unwrap();
    assert_eq!(within(client.request::<u32>("name", &())).await, Ok(3));
    assert!(elsewhere.sockets().is_empty());
}
