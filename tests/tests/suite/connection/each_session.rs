//! The hooks that prepare each session of a client.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use sockets::{Client, ClientState, ConnectError, Limits, Peer, Server, Socket, test_util::Link};
use sockets_tests::{eventually, reconnecting, session_of, tcp_and_memory, within};
use tokio::sync::Notify;

/// The texts that a server received, in order.
type Received = Arc<Mutex<Vec<String>>>;

/// Starts a server that records the texts that clients send with `note`. It keeps no session
/// without a connection.
async fn recording(received: &Received) -> Server {
    let received = Arc::clone(received);
    let connected = move |socket: Socket| {
        let received = Arc::clone(&received);
        async move {
            socket.listen("note", move |text: String| {
                received.lock().unwrap().push(text);
                async { 7_u32 }
            });
        }
    };
    let limits = Limits::new().resume_sessions(0);
    Server::builder().limits(limits).connected(connected).bind("tcp://127.0.0.1:0").await.unwrap()
}

async fn note(peer: &Peer, text: String) {
    assert_eq!(peer.request::<u32>("note", &text).await, Ok(7));
}

tcp_and_memory! {
    async fn connect_returns_after_the_hooks(net: Transport) {
        let server = net.serve(Server::builder()).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let (first, second) = (Arc::clone(&order), Arc::clone(&order));
        let client = Client::builder()
            .each_session(move |_, session| {
                let order = Arc::clone(&first);
                async move {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    order.lock().unwrap().push(("first", session.number));
                }
            })
            .each_session(move |_, session| {
                let order = Arc::clone(&second);
                async move { order.lock().unwrap().push(("second", session.number)) }
            });
        let _client = net.connect(&server, client).await;
        assert_eq!(*order.lock().unwrap(), [("first", 1), ("second", 1)]);
    }

    async fn hook_that_fails_lets_connect_fail(net: Transport) {
        let server = net.serve(Server::builder()).await;
        let slow = Client::builder().limits(Limits::new().connected(Duration::from_millis(50)));
        let slow = slow.each_session(|_, _| std::future::pending());
        let broken = Client::builder().each_session(|_, _| async { panic!("a broken hook") });
        for (builder, reason) in [(slow, "Limits::connected"), (broken, "panicked")] {
            match within(net.try_connect(&server, builder)).await {
                Err(ConnectError::Handshake(error)) => assert!(error.contains(reason), "{error}"),
                other => panic!("{other:?}"),
            }
        }
        net.wait_until_empty(&server).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hook_of_a_new_session_precedes_held_messages() {
    let received = Received::default();
    let server = recording(&received).await;
    let runs = Arc::new(Mutex::new(Vec::new()));
    let (ran, go) = (Arc::clone(&runs), Arc::new(Notify::new()));
    let gate = Arc::clone(&go);
    let client = reconnecting().each_session(move |peer, session| {
        ran.lock().unwrap().push(session.number);
        let go = Arc::clone(&gate);
        async move {
            if session.number > 1 {
                go.notified().await;
            }
            // A task of the hook is not held either.
            tokio::spawn(async move { note(&peer, format!("prepared {}", session.number)).await }).await.unwrap();
        }
    });
    let link = Link::to(&server);
    let client = within(link.connect(client)).await.unwrap();
    link.cut();
    eventually("the client is away", || client.is_away()).await;
    let held = client.clone();
    let called = tokio::spawn(async move { held.request::<u32>("note", "call").await });
    client.emit("note", "emit").await.unwrap();
    link.restore();
    eventually("the hook runs again", || runs.lock().unwrap().len() == 2).await;
    let late = client.clone();
    let late = tokio::spawn(async move { late.request::<u32>("note", "late").await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(matches!(client.state(), ClientState::Reconnecting { .. }), "the session is not prepared");
    assert_eq!(received.lock().unwrap()[..], ["prepared 1"]);
    go.notify_one();
    assert_eq!(within(called).await.unwrap(), Ok(7));
    assert_eq!(within(late).await.unwrap(), Ok(7));
    let received = received.lock().unwrap().clone();
    assert_eq!(received[..2], ["prepared 1", "prepared 2"]);
    assert_eq!(received.len(), 5, "{received:?}");
    assert!(matches!(client.state(), ClientState::Connected { session: 2, resumed: false, .. }));
    assert_eq!(*runs.lock().unwrap(), [1, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hook_does_not_run_in_a_resumed_session() {
    let server = Server::builder().build();
    let runs = Arc::new(AtomicU32::new(0));
    let ran = Arc::clone(&runs);
    let client = reconnecting().each_session(move |_, _| {
        ran.fetch_add(1, Ordering::Relaxed);
        async {}
    });
    let link = Link::to(&server);
    let client = within(link.connect(client)).await.unwrap();
    link.cut();
    link.restore();
    eventually("the session is resumed", || {
        matches!(client.state(), ClientState::Connected { session: 1, resumed: true, .. })
    })
    .await;
    assert_eq!(runs.load(Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribers_of_a_hook_belong_to_its_session() {
    let server = recording(&Received::default()).await;
    let heard = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&heard);
    let client = reconnecting().each_session(move |peer, _| {
        let heard = Arc::clone(&counted);
        peer.serve(sockets_tests::LobbyServer::new(sockets_tests::Voter::new("tea").0));
        peer.listen("tick", move |(): ()| {
            heard.fetch_add(1, Ordering::Relaxed);
            async {}
        });
        async {}
    });
    let link = Link::to(&server);
    let client = within(link.connect(client)).await.unwrap();
    link.cut();
    link.restore();
    eventually("the client has a new session", || session_of(&client) == Some(2)).await;
    let socket = server.sockets().pop().unwrap();
    socket.emit("tick", &()).await.unwrap();
    let vote = sockets_tests::LobbyClient::new(&socket).vote(vec!["tea".into()]).await;
    assert_eq!(vote, Ok("tea".into()));
    assert_eq!(heard.load(Ordering::Relaxed), 1, "only the listener of the second session is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_hook_of_a_later_session_is_a_failed_attempt() {
    let received = Received::default();
    let server = recording(&received).await;
    let runs = Arc::new(AtomicU32::new(0));
    let ran = Arc::clone(&runs);
    let limits = Limits::new().connected(Duration::from_millis(100));
    let client = reconnecting().limits(limits).each_session(move |_, _| {
        let run = ran.fetch_add(1, Ordering::Relaxed);
        async move {
            match run {
                1 => panic!("the second run fails"),
                2 => std::future::pending().await,
                _ => {}
            }
        }
    });
    let link = Link::to(&server);
    let client = within(link.connect(client)).await.unwrap();
    link.cut();
    link.restore();
    eventually("the client is away", || client.is_away()).await;
    let since = Instant::now();
    assert_eq!(within(client.request::<u32>("note", "held")).await, Ok(7));
    assert!(since.elapsed() >= Duration::from_millis(100), "the held call waits for a prepared session");
    assert_eq!(runs.load(Ordering::Relaxed), 4);
    assert_eq!(session_of(&client), Some(2), "sessions that were not prepared are not counted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn session_whose_hook_fails_is_never_established() {
    let server = recording(&Received::default()).await;
    let runs = Arc::new(AtomicU32::new(0));
    let ran = Arc::clone(&runs);
    // The server becomes ready while the hook fails. The test repeats this race.
    let builder = reconnecting().each_session(move |_, _| {
        let run = ran.fetch_add(1, Ordering::Relaxed);
        async move { assert!(run == 0 || run > 40, "the hook fails") }
    });
    let link = Link::to(&server);
    let client = within(link.connect(builder)).await.unwrap();
    link.cut();
    link.restore();
    eventually("a later session is prepared", || runs.load(Ordering::Relaxed) > 40 && !client.is_away()).await;
    eventually("the session is established", || session_of(&client).is_some()).await;
    assert_eq!(session_of(&client), Some(2));
}
