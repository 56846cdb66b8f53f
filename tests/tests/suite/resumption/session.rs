//! A client resumes its session on a new connection, or gets a new session.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use sockets::{
    CallError, Client, ClientState, ConnectInfo, DisconnectReason, Limits, Reconnect, Refusal, Server, test_util::Link,
};
use sockets_tests::{FragileIdentity, eventually, never, reconnecting, session_of, within};
use tokio::sync::{Notify, Semaphore};

/// Returns `true` if the client has resumed its first session.
fn is_resumed(client: &Client) -> bool {
    matches!(client.state(), ClientState::Connected { session: 1, resumed: true, .. })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resumed_session_keeps_its_state_and_messages() {
    let left = Arc::new(AtomicU32::new(0));
    let leaving = Arc::clone(&left);
    let server = Server::builder()
        .connected(move |socket| {
            let left = Arc::clone(&leaving);
            async move {
                socket.join("room").unwrap();
                let calls = AtomicU32::new(0);
                // The count belongs to a single session, since the hook runs once for each session.
                socket.listen("count", move |(): ()| {
                    let count = calls.fetch_add(1, Ordering::Relaxed) + 1;
                    async move { count }
                });
                socket.on_disconnect(move |_| async move {
                    left.fetch_add(1, Ordering::Relaxed);
                });
            }
        })
        .build();
    let link = Link::to(&server);
    let client = within(link.connect(reconnecting())).await.unwrap();
    let received = Arc::new(Mutex::new(Vec::new()));
    let receiving = Arc::clone(&received);
    client.listen("number_sent", move |number: u32| {
        receiving.lock().unwrap().push(number);
        async {}
    });
    let socket = server.sockets().remove(0);
    for round in 0..10 {
        assert_eq!(within(client.request::<u32>("count", &())).await, Ok(2 * round + 1));
        link.cut();
        // While the client has no connection, the server emits to the client and to its room, and
        // the client sends a request to the server.
        socket.emit("number_sent", &(2 * round)).await.unwrap();
        server.room("room").emit("number_sent", &(2 * round + 1)).await.unwrap();
        let asking = client.clone();
        let asked = tokio::spawn(async move { asking.request::<u32>("count", &()).await });
        tokio::task::yield_now().await;
        link.restore();
        assert_eq!(within(asked).await.unwrap(), Ok(2 * round + 2));
    }
    eventually("all emits are received", || received.lock().unwrap().len() == 20).await;
    assert_eq!(*received.lock().unwrap(), (0..20).collect::<Vec<_>>(), "each once, in order");
    assert_eq!(server.sockets(), std::slice::from_ref(&socket));
    assert_eq!(socket.rooms(), ["room"]);
    assert_eq!(session_of(&client), Some(1));
    assert_eq!(left.load(Ordering::Relaxed), 0, "the socket has not ended");
    drop(client);
    eventually("the socket has ended", || left.load(Ordering::Relaxed) == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_in_flight_are_answered_after_resumption() {
    let (begun, go) = (Arc::new(Semaphore::new(0)), Arc::new(Notify::new()));
    let slow = |begun: &Arc<Semaphore>, go: &Arc<Notify>| {
        let (begun, go) = (Arc::clone(begun), Arc::clone(go));
        move |number: u32| {
            let (begun, go) = (Arc::clone(&begun), Arc::clone(&go));
            async move {
                begun.add_permits(1);
                go.notified().await;
                number + 1
            }
        }
    };
    let (answering, begun_there, go_there) = (slow(&begun, &go), Arc::clone(&begun), Arc::clone(&go));
    let server = Server::builder()
        .connected(move |socket| {
            socket.listen("slow", answering.clone());
            async {}
        })
        .build();
    let link = Link::to(&server);
    let client = within(link.connect(reconnecting())).await.unwrap();
    client.listen("slow", slow(&begun_there, &go_there));
    let socket = server.sockets().remove(0);
    let there = client.request::<u32>("slow", &1_u32);
    let back = socket.request::<u32>("slow", &2_u32);
    let breaking = async {
        begun.acquire_many(2).await.unwrap().forget();
        link.cut();
        link.restore();
        eventually("the client is connected again", || is_resumed(&client)).await;
        // Each handler ends on another connection than the connection on which its call arrived.
        go.notify_one();
        link.cut();
        link.restore();
        go.notify_one();
    };
    let (there, back, ()) = within(async { tokio::join!(there, back, breaking) }).await;
    assert_eq!((there, back), (Ok(2), Ok(3)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_session_ends_and_the_client_gets_a_new_one() {
    let limits = Limits::new().resume_within(Duration::from_millis(100));
    let begun = Arc::new(Notify::new());
    let beginning = Arc::clone(&begun);
    let server = Server::builder()
        .limits(limits)
        .connected(move |socket| {
            let begun = Arc::clone(&beginning);
            socket.listen("never", move |(): ()| {
                begun.notify_one();
                std::future::pending::<()>()
            });
            socket.listen("ping", |(): ()| async { 7_u32 });
            async {}
        })
        .build();
    let link = Link::to(&server);
    let client = within(link.connect(reconnecting())).await.unwrap();
    client.listen("greet", |name: String| async move { format!("hello {name}") });
    let mut states = client.states();
    let socket = server.sockets().remove(0);
    let under_way = client.request::<()>("never", &());
    let going = async {
        begun.notified().await;
        link.cut();
        let reason = socket.disconnected().await;
        assert!(matches!(reason, DisconnectReason::Lost(_)), "{reason:?}");
        // The client has no connection, so the request waits for the next connection. That
        // connection may belong to a new session.
        let waiting = client.request::<u32>("ping", &());
        link.restore();
        assert_eq!(waiting.await, Ok(7));
    };
    let (under_way, ()) = within(async { tokio::join!(under_way, going) }).await;
    assert!(matches!(under_way, Err(CallError::Disconnected { maybe_executed: true, .. })));
    let first = within(states.next()).await.unwrap();
    assert!(matches!(first, ClientState::Reconnecting { .. } | ClientState::Connected { session: 2, .. }), "{first:?}");
    assert_eq!(session_of(&client), Some(2));
    // The client's handlers serve the new session, too.
    let anew = server.sockets().remove(0);
    assert_ne!(anew, socket);
    assert_eq!(within(anew.request::<String>("greet", "ada")).await, Ok("hello ada".into()));
    drop(client);
    let last = within(async {
        loop {
            if let Some(ClientState::Ended(reason)) = states.next().await {
                break reason;
            }
        }
    });
    assert_eq!(last.await, DisconnectReason::Closed);
    assert_eq!(within(states.next()).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_without_reconnect_or_disconnected_ends() {
    let server = Server::builder().build();
    let link = Link::to(&server);
    let once = within(link.connect(Client::builder().reconnect(Reconnect::never()))).await.unwrap();
    let socket = server.sockets().remove(0);
    link.cut();
    link.restore();
    assert!(matches!(within(once.disconnected()).await, DisconnectReason::Lost(_)));
    assert!(matches!(within(socket.disconnected()).await, DisconnectReason::Lost(_)));
    assert!(matches!(once.state(), ClientState::Ended(DisconnectReason::Lost(_))));

    let again = within(link.connect(reconnecting())).await.unwrap();
    server.sockets().remove(0).disconnect("be nice");
    assert_eq!(within(again.disconnected()).await.message(), Some("be nice"));

    // If the server disconnects a client that has no connection, the session ends immediately, too.
    let away = within(link.connect(reconnecting())).await.unwrap();
    let socket = server.sockets().remove(0);
    link.cut();
    eventually("the client has no connection", || matches!(away.state(), ClientState::Reconnecting { .. })).await;
    socket.disconnect("be nice");
    assert_eq!(within(socket.disconnected()).await.message(), Some("be nice"));
    link.restore();
    eventually("the client has a new session", || session_of(&away) == Some(2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn session_is_resumed_only_by_its_identity() {
    let logins = Arc::new(AtomicU32::new(0));
    let server = Server::builder().authenticate(|login: u32| async move { Ok::<_, Refusal>(login) }).build();
    let link = Link::to(&server);
    // The client logs in with another identity on each connection.
    let client = reconnecting().auth_with(move || {
        let login = logins.fetch_add(1, Ordering::Relaxed);
        async move { login }
    });
    let client = within(link.connect(client)).await.unwrap();
    link.cut();
    link.restore();
    eventually("the client has a new session", || session_of(&client) == Some(2)).await;
    let mut identities: Vec<_> = server.sockets().iter().map(|socket| *socket.identity()).collect();
    identities.sort_unstable();
    assert_eq!(identities, [0, 1], "the first one's session waits for its own client");
    never("the first session has ended", server.socket(&0).unwrap().disconnected()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn identity_panicking_on_drop_does_not_end_resumption() {
    let server =
        Server::builder().authenticate(|(): ()| async { Ok::<_, Refusal>(FragileIdentity(Arc::new(7))) }).build();
    let link = Link::to(&server);
    let client = within(link.connect(reconnecting())).await.unwrap();
    server.sockets().remove(0).listen("hello", |(): ()| async {});
    for _ in 0..3 {
        link.cut();
        link.restore();
        // The resumed session drops its previous identity, and keeps its handlers.
        assert_eq!(within(client.request::<()>("hello", &())).await, Ok(()));
    }
    assert_eq!(session_of(&client), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn login_panic_on_reconnect_is_a_failed_attempt() {
    let server = Server::builder().build();
    let logins = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&logins);
    let login = move || {
        let number = counted.fetch_add(1, Ordering::Relaxed);
        async move { assert_ne!(number, 1, "the second login fails") }
    };
    let link = Link::to(&server);
    let client = within(link.connect(reconnecting().auth_with(login))).await.unwrap();
    link.cut();
    link.restore();
    eventually("a third login succeeds", || logins.load(Ordering::Relaxed) == 3).await;
    eventually("the session is resumed", || session_of(&client) == Some(1)).await;
}

/// At any time, each name belongs to at most one client.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authentication_distinguishes_resuming_and_new_clients() {
    let taken = Arc::new(Mutex::new(Vec::new()));
    let names = Arc::clone(&taken);
    let server = Server::builder()
        .authenticate(move |login: u32, handshake: ConnectInfo| {
            let names = Arc::clone(&names);
            async move {
                let mut names = names.lock().unwrap();
                let known = names.contains(&login);
                if known && !handshake.is_resumption() {
                    return Err(Refusal::new("the name is taken"));
                }
                if !handshake.is_resumption() {
                    names.push(login);
                }
                Ok(login)
            }
        })
        .build();
    let link = Link::to(&server);
    let faithful = within(link.connect(reconnecting().auth(1_u32))).await.unwrap();
    let logins = AtomicU32::new(2);
    let faithless = reconnecting().auth_with(move || std::future::ready(logins.fetch_add(1, Ordering::Relaxed)));
    let faithless = within(link.connect(faithless)).await.unwrap();
    link.cut();
    link.restore();
    eventually("a client with another identity has a new session", || session_of(&faithless) == Some(2)).await;
    eventually("the other client has resumed its session", || is_resumed(&faithful)).await;
    assert_eq!(within(faithful.request::<()>("nothing", &())).await, Err(CallError::NoSuchMethod));
    assert_eq!(session_of(&faithful), Some(1));
    assert_eq!(*taken.lock().unwrap(), [1, 2, 3], "each is given once");
}
