//! The ways in which a client connects: in the background, with retries, or by a connector.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use sockets::{CallError, Client, ClientState, ConnectError, Limits, Reconnect, Server, Socket};
use sockets_tests::{FirstSession, eventually, reconnecting, session_of, within};
use tokio::net::TcpListener;

/// Returns an address at which no server listens yet.
async fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("tcp://{}", listener.local_addr().unwrap())
}

async fn answering(url: &str) -> Server {
    let connected = |socket: Socket| async move {
        socket.listen("answer", |(): ()| async { 7_u32 });
    };
    Server::builder().connected(connected).bind(url).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn call_of_a_lazy_client_waits_for_its_server() {
    let url = free_address().await;
    let client = reconnecting().connect_lazy(&url).unwrap();
    let mut states = client.states();
    assert!(matches!(client.state(), ClientState::Reconnecting { reason: None, .. }));
    let calling = client.clone();
    let call = tokio::spawn(async move { calling.request::<u32>("answer", &()).await });
    client.emit("seen", &1_u32).await.unwrap();
    while !matches!(within(states.next()).await, Some(ClientState::Reconnecting { error: Some(_), .. })) {}
    assert!(!call.is_finished());
    let _server = answering(&url).await;
    assert_eq!(within(call).await.unwrap(), Ok(7));
    assert_eq!(session_of(&client), Some(1));
}

#[tokio::test]
async fn call_of_a_lazy_client_without_a_server_times_out() {
    let limits = Limits::new().call_timeout(Duration::from_millis(100));
    let client = reconnecting().limits(limits).connect_lazy(&free_address().await).unwrap();
    assert_eq!(within(client.request::<u32>("answer", &())).await, Err(CallError::Timeout));
    assert!(client.is_connected() && client.is_away());
}

#[tokio::test]
async fn lazy_client_fails_only_on_an_invalid_address() {
    let error = Client::builder().connect_lazy("nowhere").unwrap_err();
    assert_eq!(error.address(), "nowhere");
}

#[tokio::test]
async fn lazy_client_that_never_reconnects_makes_a_single_attempt() {
    let builder = Client::builder().reconnect(Reconnect::never());
    let client = builder.connect_lazy(&free_address().await).unwrap();
    within(client.disconnected()).await;
    let server = answering("tcp://127.0.0.1:0").await;
    let builder = Client::builder().reconnect(Reconnect::never());
    let client = builder.connect_lazy(&format!("tcp://{}", server.local_addr())).unwrap();
    assert_eq!(within(client.request::<u32>("answer", &())).await, Ok(7));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hook_of_a_lazy_client_precedes_its_first_calls() {
    let url = free_address().await;
    let client = reconnecting().each_session(|peer, session| async move {
        peer.emit("note", &session.number).await.unwrap();
    });
    let client = client.connect_lazy(&url).unwrap();
    client.emit("note", &0_u64).await.unwrap();
    let (sender, mut received) = tokio::sync::mpsc::unbounded_channel();
    let connected = move |socket: Socket| {
        let sender = sender.clone();
        async move {
            socket.listen("note", move |number: u64| {
                sender.send(number).unwrap();
                async {}
            });
        }
    };
    let _server = Server::builder().connected(connected).bind(&url).await.unwrap();
    assert_eq!(within(received.recv()).await, Some(1));
    assert_eq!(within(received.recv()).await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_connection_is_retried_only_on_request() {
    let url = free_address().await;
    assert!(matches!(Client::builder().connect(&url).await, Err(ConnectError::Unreachable(_))));
    let soon = || Reconnect::default().first_within(Duration::from_millis(5)).retry_first();
    let gave_up = Client::builder().reconnect(soon().attempts(2)).connect(&url);
    let error = within(gave_up).await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable(_)), "the error of the last attempt: {error:?}");
    let connecting = url.clone();
    let client = tokio::spawn(async move { Client::builder().reconnect(soon()).connect(&connecting).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!client.is_finished());
    let _server = answering(&url).await;
    let client = within(client).await.unwrap().unwrap();
    assert_eq!(within(client.request::<u32>("answer", &())).await, Ok(7));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connector_opens_each_connection() {
    let server = answering("tcp://127.0.0.1:0").await;
    let opened = Arc::new(AtomicU32::new(0));
    let (streams, mut taken) = tokio::sync::mpsc::unbounded_channel();
    let (accepting, counted) = (server.clone(), Arc::clone(&opened));
    let connector = move || {
        let number = counted.fetch_add(1, Ordering::Relaxed);
        let (near, middle) = tokio::io::duplex(1 << 16);
        let (other, far) = tokio::io::duplex(1 << 16);
        drop(accepting.accept(far));
        let (mut middle, mut other) = (middle, other);
        let copying = tokio::spawn(async move { tokio::io::copy_bidirectional(&mut middle, &mut other).await });
        streams.send(copying.abort_handle()).unwrap();
        async move { if number == 1 { Err(io::Error::other("not now")) } else { Ok(near) } }
    };
    let client = within(reconnecting().connect_with(connector)).await.unwrap();
    assert_eq!(within(client.request::<u32>("answer", &())).await, Ok(7));
    taken.recv().await.unwrap().abort();
    eventually("the session is resumed", || {
        matches!(client.state(), ClientState::Connected { session: 1, resumed: true, .. })
    })
    .await;
    assert_eq!(within(client.request::<u32>("answer", &())).await, Ok(7));
    assert!(opened.load(Ordering::Relaxed) >= 3, "the failed attempt is repeated");
}

#[tokio::test]
async fn connector_that_fails_or_panics_is_unreachable() {
    for panics in [false, true] {
        let connector = move || async move {
            assert!(!panics, "a broken connector");
            io::Result::<tokio::io::DuplexStream>::Err(io::Error::other("no"))
        };
        let connected = within(Client::builder().connect_with(connector)).await;
        assert!(matches!(connected, Err(ConnectError::Unreachable(_))), "{connected:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_login_is_a_failed_attempt() {
    let server = Server::builder().limits(Limits::new().resume_sessions(0));
    let server = server.authenticate(|login: u32| async move { Ok(login) }).bind("tcp://127.0.0.1:0").await.unwrap();
    let url = format!("tcp://{}", server.local_addr());
    let attempts = Arc::new(AtomicU32::new(0));
    let made = Arc::clone(&attempts);
    let builder = reconnecting().try_auth_with(move || {
        let number = made.fetch_add(1, Ordering::Relaxed);
        async move { if number == 1 { Err("no token".into()) } else { Ok(number) } }
    });
    let client = within(builder.connect(&url)).await.unwrap();
    server.sockets()[0].disconnect("");
    within(client.disconnected()).await;
    let failed = Client::builder().try_auth_with(|| async { Result::<u32, _>::Err("no token".into()) }).connect(&url);
    match within(failed).await {
        Err(ConnectError::Login(error)) => assert_eq!(error.to_string(), "no token"),
        other => panic!("{other:?}"),
    }
    let since = Instant::now();
    attempts.store(0, Ordering::Relaxed);
    let made = Arc::clone(&attempts);
    let soon = Reconnect::default().first_within(Duration::from_millis(5)).retry_first();
    let failing = Client::builder().reconnect(soon.clone().attempts(2));
    let failing = failing.try_auth_with(|| async { Result::<u32, _>::Err("no token".into()) }).connect(&url);
    match within(failing).await {
        Err(ConnectError::Login(error)) => assert_eq!(error.to_string(), "no token", "after the last attempt"),
        other => panic!("{other:?}"),
    }
    let builder = Client::builder().reconnect(soon).try_auth_with(move || {
        let number = made.fetch_add(1, Ordering::Relaxed);
        async move { if number < 2 { Err("no token".into()) } else { Ok(number) } }
    });
    let _client = within(builder.connect(&url)).await.unwrap();
    assert_eq!(attempts.load(Ordering::Relaxed), 3, "{:?}", since.elapsed());
}

#[tokio::test]
async fn clone_of_a_builder_connects_with_the_same_settings() {
    let server = Server::builder().authenticate(|login: String| async move { Ok(login) }).build();
    let builder = Client::builder().auth("ada");
    let _clients =
        [builder.clone().connect_local(&server).await.unwrap(), builder.connect_local(&server).await.unwrap()];
    assert_eq!(server.sockets().iter().filter(|socket| **socket.identity() == *"ada").count(), 2);
}

/// The session of such a client exists before the server has announced its limits.
#[tokio::test]
async fn lazy_client_replies_within_the_servers_frame_limit() {
    let server = Server::builder().limits(Limits::new().max_frame(64 * 1024)).build();
    server.bind("tcp://127.0.0.1:0").await.unwrap();
    let client = Client::builder()
        .first_session(|peer| async move {
            peer.set_callback("bytes", |length: usize| async move { vec![7_u8; length] });
        })
        .connect_lazy(&format!("tcp://{}", server.local_addr()))
        .unwrap();
    eventually("the client has connected", || !server.sockets().is_empty()).await;
    let socket = server.sockets().pop().unwrap();
    for _ in 0..3 {
        let large = socket.request::<Vec<u8>>("bytes", &100_000_usize).await;
        assert!(matches!(large, Err(CallError::TooLarge(_))), "{large:?}");
        assert_eq!(socket.request::<Vec<u8>>("bytes", &10_usize).await.map(|bytes| bytes.len()), Ok(10));
    }
    assert!(client.is_connected());
}
