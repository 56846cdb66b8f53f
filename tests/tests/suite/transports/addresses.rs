//! Addresses. The tests cover legal and illegal addresses, addresses in use, and several addresses
//! of a server.

use std::{error::Error, sync::Arc, task::Poll};

use sockets::{BindError, Client, ConnectError, ConnectInfo, Refusal, Server, Socket};
use sockets_tests::{within, *};

/// Returns a port that is not in use.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A user, whose key contains the transport.
#[derive(Clone, sockets::Identity)]
struct User {
    #[identity(key)]
    name: String,
    #[identity(key)]
    transport: String,
}

#[tokio::test]
async fn room_spans_all_transports() {
    let check = |name: String, handshake: ConnectInfo| async move {
        Ok::<_, Refusal>(User { name, transport: handshake.transport().to_owned() })
    };
    let server = Server::builder().authenticate(check).connected(|socket: Socket<User>| async move {
        socket.join("lobby").unwrap();
    });
    let server = server.tls(Arc::clone(&LOOPBACK.0)).bind("tcp://127.0.0.1:0").await.unwrap();
    let tcp = format!("tcp://{}", server.local_addr());
    let unix = unix_url(&server);
    let [tls, ws, wss] = ["tls", "ws", "wss"].map(|scheme| format!("{scheme}://127.0.0.1:{}", free_port()));
    for url in [&unix, &tls, &ws, &wss] {
        server.bind(url).await.unwrap();
    }

    let mut received = Vec::new();
    let mut client = |name: &str| {
        let (voter, receives) = Voter::new(name);
        received.push(receives);
        Client::builder().auth(name.to_owned()).serve(LobbyServer::new(voter)).tls(Arc::clone(&LOOPBACK.1))
    };
    let (near, far) = tokio::io::duplex(1024);
    drop(server.accept(far));
    let (left, right) = messages(1024);
    drop(server.accept_messages(right));
    let clients = [
        client("tcp").connect(&tcp).await.unwrap(),
        client("unix").connect(&unix).await.unwrap(),
        client("tls").connect(&tls).await.unwrap(),
        client("ws").connect(&ws).await.unwrap(),
        client("wss").connect(&wss).await.unwrap(),
        client("stream").connect_over(near).await.unwrap(),
        client("messages").connect_over_messages(left).await.unwrap(),
        client("memory").connect_local(&server).await.unwrap(),
    ];
    for identity in server.sockets().iter().map(Socket::identity) {
        assert_eq!(identity.name, identity.transport);
    }

    let lobby = LobbyClient::new(&server.room("lobby"));
    lobby.message("the vote opens").await.unwrap();
    let everything = ["tcp", "unix", "tls", "ws", "wss", "stream", "messages", "memory"].map(str::to_owned);
    let mut votes = lobby.vote(everything.to_vec());
    let mut counted = Vec::new();
    while let Some((member, vote)) = votes.next().await {
        assert_eq!(vote.unwrap(), member.identity().name);
        counted.push(member);
    }
    assert_eq!(counted.len(), clients.len());
    // The server emitted the message before the request for votes, so each client has received it.
    for receives in &mut received {
        assert_eq!(receives.try_recv().unwrap(), "the vote opens");
    }
}

#[tokio::test]
async fn address_error_states_the_remedy() {
    let wrong = [
        ("localhost:7000", "has no scheme: write tcp://host:port"),
        ("carrier://pigeon", r#"the scheme "carrier" is unknown: write one of tcp, unix, tls, ws and wss"#),
        ("tcp://localhost:70000", "has no valid port: write tcp://host:port"),
        ("tls://localhost", "has no valid port: write tls://host:port"),
        ("tcp://localhost:7000/live", "has a path or a query"),
        ("unix:shop.sock", "has no usable path: write unix:///path/to/socket"),
    ];
    for (url, words) in wrong {
        let failed = Client::builder().connect(url).await.unwrap_err();
        let ConnectError::Address(error) = &failed else { panic!("{failed:?}") };
        assert_eq!(failed.source().and_then(|source| source.downcast_ref()), Some(error));
        assert!(failed.to_string().contains(words), "{failed}");
        let failed = Server::builder().bind(url).await.unwrap_err();
        assert!(matches!(failed, BindError::Address(_)), "{failed:?}");
        assert!(failed.to_string().contains(words), "{failed}");
    }
}

#[tokio::test]
async fn address_is_free_after_shutdown() {
    let first = Server::builder().bind("tcp://127.0.0.1:0").await.unwrap();
    let (tcp, unix) = (format!("tcp://{}", first.local_addr()), unix_url(&first));
    first.bind(&unix).await.unwrap();
    first.shutdown().await;
    let second = Server::builder().bind(&tcp).await.unwrap();
    second.bind(&unix).await.unwrap();
}

#[tokio::test]
async fn server_accepts_on_several_addresses() {
    let server = Server::builder().build();
    server.bind("tcp://127.0.0.1:0").await.unwrap();
    let first = server.local_addr();
    server.bind("tcp://localhost:0").await.unwrap();
    assert_eq!(server.local_addr(), first, "it is the address of the first");
    let _over_tcp = Client::builder().connect(&format!("tcp://{first}")).await.unwrap();
    let _within = Client::builder().connect_local(&server).await.unwrap();
    let (near, far) = tokio::io::duplex(1024);
    let (accepted, connected) = tokio::join!(server.accept(far), Client::builder().connect_over(near));
    assert!(accepted.is_ok() && connected.is_ok());
    assert_eq!(server.sockets().len(), 3);
}

#[tokio::test]
async fn invalid_address_is_an_address_error() {
    for url in ["", "127.0.0.1:80", "http://127.0.0.1:80", "tcp://", "tcp://127.0.0.1", "tcp://127.0.0.1:http"] {
        let failed = Client::builder().connect(url).await.unwrap_err();
        assert!(matches!(failed, ConnectError::Address(_)), "{url}: {failed:?}");
        let failed = Server::builder().bind(url).await.unwrap_err();
        assert!(matches!(failed, BindError::Address(_)), "{url}: {failed:?}");
    }
}

#[tokio::test]
async fn unused_port_is_unreachable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let failed = Client::builder().connect(&format!("tcp://{address}")).await.unwrap_err();
    assert!(matches!(failed, ConnectError::Unreachable(_)), "{failed:?}");
}

#[tokio::test]
async fn address_in_use_is_not_bound() {
    let server = Server::builder().bind("tcp://127.0.0.1:0").await.unwrap();
    let url = format!("tcp://{}", server.local_addr());
    let failed = Server::builder().bind(&url).await.unwrap_err();
    assert!(matches!(failed, BindError::Listen { .. }), "{failed:?}");
    assert!(failed.to_string().starts_with(&format!("cannot listen on {url}: Address already in use")), "{failed}");
}

/// Drops a server, and immediately binds another server to the same address. The runtime polls no
/// other task between the two steps.
async fn rebind(url: &str) {
    let server = Server::builder().bind(url).await.unwrap();
    let url = match server.local_addrs().first() {
        Some(addr) => format!("{}://{addr}", url.split(':').next().unwrap()),
        None => url.to_owned(),
    };
    // The yield lets the listener's task run until it waits for connections.
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
    rebind(&format!("unix:{}", unique_path().display())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn address_is_free_when_the_server_is_dropped() {
    for _ in 0..20 {
        rebind("tcp://127.0.0.1:0").await;
    }
}
