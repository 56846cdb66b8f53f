//! The server shuts down for a restart, or redirects its clients to another server.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use sockets::{CallError, Client, ClientState, DisconnectReason, Limits, Server, Shutdown, Socket};
use sockets_tests::{eventually, for_good, is_restart, once, reconnecting, session_of, unique_path, within};
use tokio::{sync::Notify, task::JoinHandle};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_a_restarting_server_reconnect_in_turn() {
    let server = Server::builder().bind("tcp://127.0.0.1:0").await.unwrap();
    let url = format!("tcp://{}", server.local_addr());
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(reconnecting().connect(&url).await.unwrap());
    }
    let once = once().connect(&url).await.unwrap();
    let mut states: Vec<_> = clients.iter().map(Client::states).collect();
    let sockets = server.sockets();
    let began = Instant::now();
    within(server.shutdown_with(Shutdown::new().spread(Duration::from_millis(500)))).await;
    for socket in &sockets {
        assert!(is_restart(&within(socket.disconnected()).await));
    }
    assert!(is_restart(&within(once.disconnected()).await));
    let waits = join_all(states.iter_mut().map(|states| async {
        loop {
            match within(states.next()).await {
                Some(ClientState::Reconnecting { attempt, reason: Some(reason), .. }) if is_restart(&reason) => {
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
        eventually("the client is connected again", || session_of(client) == Some(2)).await;
    }
}

/// Starts a server that replies with its name.
async fn named(name: u32) -> Server {
    let connected = move |socket: Socket| async move {
        socket.listen("name", move |(): ()| async move { name });
    };
    Server::builder().connected(connected).bind("tcp://127.0.0.1:0").await.unwrap()
}

/// Returns the settings of a shutdown that sends its clients to this address at once.
fn redirect(url: &str) -> Shutdown {
    Shutdown::new().spread(Duration::ZERO).redirect(url)
}

fn url_of(server: &Server) -> String {
    format!("tcp://{}", server.local_addr())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redirected_client_follows_each_redirect() {
    let (first, second, third) = (named(1).await, named(2).await, named(3).await);
    let client = reconnecting().connect(&url_of(&first)).await.unwrap();
    assert_eq!(within(client.request::<u32>("name", &())).await, Ok(1));
    within(first.shutdown_with(redirect(&url_of(&second)))).await;
    eventually("the client has followed the redirect", || session_of(&client) == Some(2)).await;
    assert_eq!(within(client.request::<u32>("name", &())).await, Ok(2));
    within(second.shutdown_with(redirect(&url_of(&third)))).await;
    eventually("the client has followed the second redirect", || session_of(&client) == Some(3)).await;
    assert_eq!(within(client.request::<u32>("name", &())).await, Ok(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreachable_redirect_returns_to_the_first_server() {
    let first = named(1).await;
    let url = url_of(&first);
    let client = reconnecting().connect(&url).await.unwrap();
    let mut states = client.states();
    let nowhere = "tcp://127.0.0.1:1";
    within(first.shutdown_with(redirect(nowhere))).await;
    match within(states.next()).await {
        Some(ClientState::Reconnecting { reason: Some(DisconnectReason::ShuttingDown { redirect, .. }), .. }) => {
            assert_eq!(redirect.as_deref(), Some(nowhere));
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
    within(first.shutdown_with(redirect(&url_of(&elsewhere)))).await;
    let state = within(states.next()).await;
    assert!(matches!(state, Some(ClientState::Reconnecting { .. })), "{state:?}");
    let connected = |socket: Socket| async move {
        socket.listen("name", |(): ()| async { 3_u32 });
    };
    let _again = Server::builder().connected(connected).bind(&url).await.unwrap();
    assert_eq!(within(client.request::<u32>("name", &())).await, Ok(3));
    assert!(elsewhere.sockets().is_empty());
}

/// Starts a server. Its method `hold` replies after `go` has been notified, its method `name`
/// replies with the server's name, and its method `note` lets the client join a room.
async fn holding(name: &'static str, url: &str, entered: &Arc<Notify>, go: &Arc<Notify>) -> Server {
    let (entered, go) = (Arc::clone(entered), Arc::clone(go));
    let connected = move |socket: Socket| {
        let (entered, go) = (Arc::clone(&entered), Arc::clone(&go));
        async move {
            socket.listen("name", move |(): ()| async move { name });
            socket.listen("hold", move |(): ()| {
                let (entered, go) = (Arc::clone(&entered), Arc::clone(&go));
                async move {
                    entered.notify_one();
                    go.notified().await;
                }
            });
            let noted = socket.clone();
            socket.listen("note", move |text: String| {
                noted.join(&text).unwrap();
                async {}
            });
        }
    };
    Server::builder().connected(connected).bind(url).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn call_made_while_the_server_drains_waits_for_the_next() {
    let (entered, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let first = holding("first", "tcp://127.0.0.1:0", &entered, &go).await;
    let url = url_of(&first);
    let client = reconnecting().connect(&url).await.unwrap();
    let held = spawn_request(&client, "hold");
    within(entered.notified()).await;
    let closing = first.clone();
    let shutdown = tokio::spawn(async move {
        closing.shutdown_with(Shutdown::new().spread(Duration::from_millis(100))).await;
    });
    // A call waits as soon as the client has received the notice.
    let early = loop {
        let mut call = spawn_name(&client);
        match tokio::time::timeout(Duration::from_millis(50), &mut call).await {
            Ok(answer) => assert_eq!(answer.unwrap().as_deref(), Ok("first")),
            Err(_) => break call,
        }
    };
    let emitting = client.clone();
    let emitted = tokio::spawn(async move { emitting.emit("note", "kept").await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let late = spawn_name(&client);
    assert!(!shutdown.is_finished() && !early.is_finished(), "the server still drains");
    go.notify_one();
    assert_eq!(within(held).await.unwrap(), Ok(()), "the call in flight is drained");
    within(shutdown).await.unwrap();
    let after = spawn_name(&client);
    let second = holding("second", &url, &entered, &go).await;
    for call in [early, late, after] {
        assert_eq!(within(call).await.unwrap().as_deref(), Ok("second"));
    }
    assert_eq!(within(emitted).await.unwrap(), Ok(()));
    eventually("the emit is received", || second.rooms() == ["kept"]).await;
}

fn spawn_request(client: &Client, name: &'static str) -> JoinHandle<Result<(), CallError>> {
    let client = client.clone();
    tokio::spawn(async move { client.request(name, &()).await })
}

fn spawn_name(client: &Client) -> JoinHandle<Result<String, CallError>> {
    let client = client.clone();
    tokio::spawn(async move { client.request("name", &()).await })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn call_whose_server_never_returns_times_out() {
    let limits = Limits::new().call_timeout(Duration::from_millis(300));
    let server = named(1).await;
    let client = reconnecting().limits(limits).connect(&url_of(&server)).await.unwrap();
    within(server.shutdown_with(Shutdown::new().spread(Duration::ZERO))).await;
    assert_eq!(within(client.request::<u32>("name", &())).await, Err(CallError::Timeout));
    assert!(client.is_connected());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn call_that_waits_for_a_drain_times_out() {
    let (entered, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let server = holding("first", "tcp://127.0.0.1:0", &entered, &go).await;
    let limits = Limits::new().call_timeout(Duration::from_millis(300));
    let client = reconnecting().limits(limits).connect(&url_of(&server)).await.unwrap();
    let peer = server.sockets().remove(0);
    client.listen("wait", |(): ()| std::future::pending::<()>());
    let _held = tokio::spawn(async move { peer.request::<()>("wait", &()).await });
    let closing = server.clone();
    let _shutdown = tokio::spawn(async move { closing.shutdown().await });
    let outcome = loop {
        match within(client.request::<String>("name", &())).await {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(outcome, CallError::Timeout);
    assert!(!client.is_away(), "the server still drains");
}

/// The server waits for this handler, which the next session would stop.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn call_of_a_handler_during_a_drain_fails_at_once() {
    let server = named(1).await;
    let client = reconnecting().connect(&url_of(&server)).await.unwrap();
    let (entered, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (enters, goes, nested) = (Arc::clone(&entered), Arc::clone(&go), sockets::Peer::clone(client.as_peer()));
    client.listen("ask", move |(): ()| {
        let (entered, go, nested) = (Arc::clone(&enters), Arc::clone(&goes), nested.clone());
        async move {
            entered.notify_one();
            go.notified().await;
            nested.request::<u32>("name", &()).await.map_err(|error| error.to_string())
        }
    });
    let socket = server.sockets().remove(0);
    let asked = tokio::spawn(async move { socket.request::<Result<u32, String>>("ask", &()).await });
    within(entered.notified()).await;
    let closing = server.clone();
    let shutdown = tokio::spawn(async move { closing.shutdown().await });
    let waits = loop {
        let mut call = spawn_request(&client, "unknown");
        if tokio::time::timeout(Duration::from_millis(50), &mut call).await.is_err() {
            break call;
        }
    };
    go.notify_one();
    let refused = CallError::<std::convert::Infallible>::ShuttingDown.to_string();
    assert_eq!(within(asked).await.unwrap(), Ok(Err(refused)));
    within(shutdown).await.unwrap();
    waits.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_for_good_ends_clients_with_its_words() {
    let server = named(1).await;
    let url = url_of(&server);
    let client = reconnecting().connect(&url).await.unwrap();
    let socket = server.sockets().remove(0);
    within(server.shutdown_with(for_good())).await;
    for reason in [within(client.disconnected()).await, within(socket.disconnected()).await] {
        assert_eq!(reason.message(), Some("closed for good"));
        assert!(
            matches!(reason, DisconnectReason::ShuttingDown { comes_back: false, redirect: None, .. }),
            "{reason:?}"
        );
    }
    assert!(!client.is_connected());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_of_a_dropped_server_reconnects() {
    let server = named(1).await;
    let url = url_of(&server);
    let client = reconnecting().connect(&url).await.unwrap();
    let mut states = client.states();
    drop(server);
    match within(states.next()).await {
        Some(ClientState::Reconnecting { reason: Some(reason), .. }) => assert!(is_restart(&reason), "{reason:?}"),
        other => panic!("{other:?}"),
    }
    assert!(client.is_away());
}

#[test]
#[should_panic(expected = "gopher")]
fn redirect_to_an_invalid_address_panics() {
    let _ = Shutdown::new().redirect("gopher://next");
}
