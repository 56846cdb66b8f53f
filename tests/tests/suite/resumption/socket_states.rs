//! The states of a socket: connected, away and ended.

use std::time::Duration;

use sockets::{Client, DisconnectReason, Limits, Server, Socket, SocketState, test_util::Link};
use sockets_tests::{eventually, never, reconnecting, tcp_and_memory, within};

tcp_and_memory! {
    async fn socket_states_end_after_the_end_of_the_session(net: Transport) {
        let server = net.serve(Server::builder()).await;
        let client = net.connect(&server, Client::builder()).await;
        let socket = server.sockets().remove(0);
        let mut states = socket.states();
        never("a state before a change", states.next()).await;
        socket.disconnect("enough");
        let ended = Some(SocketState::Ended(DisconnectReason::Kicked("enough".into())));
        assert_eq!(within(states.next()).await, ended);
        assert_eq!((within(states.next()).await, within(states.next()).await), (None, None));
        within(client.disconnected()).await;
        assert_eq!(within(socket.states().next()).await, ended, "a stream of an ended session");
    }
}

/// Returns a server, and a client that reaches it over a link.
async fn linked() -> (Server, Link, Client, Socket) {
    let server = Server::builder().build();
    let link = Link::to(&server);
    let client = within(link.connect(reconnecting())).await.unwrap();
    let socket = server.sockets().remove(0);
    (server, link, client, socket)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn socket_states_report_away_and_back() {
    let (_server, link, _client, socket) = linked().await;
    let mut states = socket.states();
    for _ in 0..3 {
        link.cut();
        assert_eq!(within(states.next()).await, Some(SocketState::Away));
        assert!(socket.is_away());
        never("a state while the client is away", states.next()).await;
        link.restore();
        assert_eq!(within(states.next()).await, Some(SocketState::Connected));
        assert!(!socket.is_away());
    }
    never("a state while the client is connected", states.next()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn socket_states_include_an_away_that_was_missed() {
    let (_server, link, _client, socket) = linked().await;
    let mut states = socket.states();
    for _ in 0..3 {
        link.cut();
        eventually("the client is away", || socket.is_away()).await;
        link.restore();
        eventually("the client is back", || !socket.is_away()).await;
    }
    assert_eq!(within(states.next()).await, Some(SocketState::Away));
    assert_eq!(within(states.next()).await, Some(SocketState::Connected));
    never("earlier states", states.next()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn socket_that_does_not_return_is_away_and_then_ended() {
    let limits = Limits::new().resume_within(Duration::from_millis(100));
    let server = Server::builder().limits(limits).build();
    let link = Link::to(&server);
    let _client = within(link.connect(reconnecting())).await.unwrap();
    let mut states = server.sockets()[0].states();
    link.cut();
    assert_eq!(within(states.next()).await, Some(SocketState::Away));
    let ended = within(states.next()).await;
    assert!(matches!(ended, Some(SocketState::Ended(DisconnectReason::Lost(_)))), "{ended:?}");
    assert_eq!(within(states.next()).await, None);
}
