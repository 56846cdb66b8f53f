//! Links of the feature `test-util`. The tests pause time.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use sockets::{CallError, Client, ClientState, ConnectError, DisconnectReason, Peer, Server, Socket, test_util::Link};
use sockets_tests::{never, once};
use tokio::time::{Instant, sleep};

/// Returns a server that doubles numbers, and the numbers that it has received.
fn doubling() -> (Server, Arc<Mutex<Vec<u32>>>) {
    let received = Arc::new(Mutex::new(Vec::new()));
    let receiving = Arc::clone(&received);
    let connected = move |socket: Socket| {
        let received = Arc::clone(&receiving);
        async move {
            socket.listen("double", move |number: u32| {
                received.lock().unwrap().push(number);
                async move { 2 * number }
            });
        }
    };
    (Server::builder().connected(connected).build(), received)
}

async fn double(peer: &Peer, number: u32) -> Result<u32, CallError> {
    peer.request("double", &number).await
}

#[tokio::test(start_paused = true)]
async fn client_of_a_cut_link_resumes_when_it_is_restored() {
    let (server, received) = doubling();
    let link = Link::to(&server);
    let client = link.connect(Client::builder()).await.unwrap();
    let (socket, mut states) = (server.sockets().remove(0), client.states());
    for number in 0..3 {
        link.cut();
        assert!(matches!(states.next().await, Some(ClientState::Reconnecting { .. })));
        let restoring = async {
            sleep(Duration::from_secs(5)).await;
            assert!(client.is_away() && socket.is_away());
            link.restore();
        };
        let (doubled, ()) = tokio::join!(double(client.as_peer(), number), restoring);
        assert_eq!(doubled, Ok(2 * number));
        while !matches!(states.next().await, Some(ClientState::Connected { session: 1, resumed: true, .. })) {}
    }
    assert_eq!(*received.lock().unwrap(), [0, 1, 2]);
    assert_eq!(server.sockets(), [socket]);
}

#[tokio::test(start_paused = true)]
async fn frozen_link_holds_bytes_until_it_is_restored() {
    let (server, received) = doubling();
    let link = Link::to(&server);
    let client = link.connect(Client::builder()).await.unwrap();
    let mut states = client.states();
    link.freeze();
    let restoring = async {
        sleep(Duration::from_secs(20)).await;
        assert!(received.lock().unwrap().is_empty());
        link.restore();
    };
    let (doubled, ()) = tokio::join!(double(client.as_peer(), 4), restoring);
    assert_eq!(doubled, Ok(8));
    never("the connection has ended", states.next()).await;
}

#[tokio::test(start_paused = true)]
async fn bytes_that_a_frozen_link_holds_are_lost_when_it_is_cut() {
    let (server, received) = doubling();
    let link = Link::to(&server);
    let client = link.connect(once()).await.unwrap();
    let socket = server.sockets().remove(0);
    link.freeze();
    client.emit("double", &7_u32).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    link.cut();
    link.restore();
    assert!(matches!(client.disconnected().await, DisconnectReason::Lost(_)));
    assert!(matches!(socket.disconnected().await, DisconnectReason::Lost(_)));
    assert!(received.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn connect_over_a_cut_or_frozen_link_fails() {
    let server = Server::builder().build();
    let link = Link::to(&server);
    link.cut();
    let refused = link.connect(Client::builder()).await;
    assert!(matches!(refused, Err(ConnectError::Unreachable(_))), "{refused:?}");
    link.freeze();
    let since = Instant::now();
    let silent = link.connect(Client::builder()).await;
    assert!(silent.is_err() && since.elapsed() >= Duration::from_secs(10), "{silent:?}");
    link.restore();
    assert!(link.connect(Client::builder()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn client_reaches_the_next_server_after_a_restart() {
    let ((first, _), (second, received)) = (doubling(), doubling());
    let link = Link::to(&first);
    let sessions = Arc::new(Mutex::new(Vec::new()));
    let preparing = Arc::clone(&sessions);
    let builder = Client::builder().each_session(move |_, session| {
        preparing.lock().unwrap().push(session.number);
        async {}
    });
    let client = link.connect(builder).await.unwrap();
    link.set_server(&second);
    first.shutdown().await;
    assert_eq!(double(client.as_peer(), 3).await, Ok(6));
    assert_eq!(*received.lock().unwrap(), [3]);
    assert_eq!(*sessions.lock().unwrap(), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn link_does_not_keep_its_server_open() {
    let (server, _) = doubling();
    let link = Link::to(&server);
    let client = link.connect(once()).await.unwrap();
    drop(server);
    assert!(matches!(client.disconnected().await, DisconnectReason::ShuttingDown { .. }));
}

#[tokio::test(start_paused = true)]
async fn client_outlives_the_handles_of_its_link() {
    let (server, _) = doubling();
    let client = Link::to(&server).connect(Client::builder()).await.unwrap();
    sleep(Duration::from_secs(100)).await;
    assert_eq!(double(client.as_peer(), 1).await, Ok(2));
}
