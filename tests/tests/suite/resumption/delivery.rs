//! Idempotent requests and volatile emits. The tests lose connections and sessions during such
//! calls.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use sockets::{CallError, ClientState, Limits, Server, test_util::Link};
use sockets_tests::{eventually, reconnecting, within};
use tokio::sync::Semaphore;

#[sockets::group("Board")]
trait Board {
    #[request(idempotent)]
    async fn set(&self, number: u32);
    async fn add(&self, number: u32);
    #[emit(volatile)]
    async fn moved(&self, number: u32);
    #[emit]
    async fn noted(&self, number: u32);
}

/// A handler that records its calls. The first request to it never ends.
#[derive(Clone)]
struct Noting {
    noted: Arc<Mutex<Vec<(&'static str, u32)>>>,
    begun: Arc<Semaphore>,
}

impl Default for Noting {
    fn default() -> Self {
        Self { noted: Arc::default(), begun: Arc::new(Semaphore::new(0)) }
    }
}

impl Noting {
    fn note(&self, what: &'static str, number: u32) -> usize {
        let mut noted = self.noted.lock().unwrap();
        noted.push((what, number));
        noted.iter().filter(|(noted, _)| *noted == what).count()
    }

    fn all(&self) -> Vec<(&'static str, u32)> {
        self.noted.lock().unwrap().clone()
    }
}

impl Board for Noting {
    async fn set(&self, number: u32) {
        if self.note("set", number) == 1 {
            self.begun.add_permits(1);
            std::future::pending::<()>().await;
        }
    }

    async fn add(&self, number: u32) {
        self.note("add", number);
        self.begun.add_permits(1);
        std::future::pending::<()>().await;
    }

    async fn moved(&self, number: u32) {
        self.note("moved", number);
    }

    async fn noted(&self, number: u32) {
        self.note("noted", number);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_idempotent_request_is_repeated_in_a_new_session() {
    let noting = Noting::default();
    let server = Server::builder()
        .limits(Limits::new().resume_within(Duration::from_millis(50)))
        .serve(BoardServer::new(noting.clone()))
        .build();
    let link = Link::to(&server);
    let client = within(link.connect(reconnecting())).await.unwrap();
    let board = BoardClient::new(&client);
    let breaking = async {
        noting.begun.acquire_many(2).await.unwrap().forget();
        let socket = server.sockets().remove(0);
        link.cut();
        socket.disconnected().await;
        link.restore();
    };
    let (set, added, ()) = within(async { tokio::join!(board.set(1), board.add(2), breaking) }).await;
    assert!(matches!((set, added), (Ok(()), Err(CallError::Disconnected { maybe_executed: true, .. }))));
    assert_eq!(noting.all(), [("set", 1), ("add", 2), ("set", 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn volatile_emit_to_a_detached_client_is_dropped() {
    let server = Server::builder().connected(|socket| async move { socket.join("room").unwrap() }).build();
    let noting = Noting::default();
    let link = Link::to(&server);
    let client = within(link.connect(reconnecting().serve(BoardServer::new(noting.clone())))).await.unwrap();
    let (socket, room) = (server.sockets().remove(0), server.room("room"));
    let (one, all) = (BoardClient::new(&socket), BoardClient::new(&room));
    one.moved(1).await.unwrap();
    all.moved(2).await.unwrap();
    one.noted(3).await.unwrap();
    eventually("the emits are received", || noting.all().len() == 3).await;
    link.cut();
    eventually("the client has no connection", || matches!(client.state(), ClientState::Reconnecting { .. })).await;
    // The server may not have noticed the loss yet. If it has written messages to the lost
    // connection, these messages are lost, too.
    for number in 0..10 {
        one.moved(100 + number).await.unwrap();
        all.moved(200 + number).await.unwrap();
    }
    one.noted(4).await.unwrap();
    link.restore();
    eventually("the emit that is kept is received", || noting.all().contains(&("noted", 4))).await;
    one.moved(5).await.unwrap();
    all.moved(6).await.unwrap();
    eventually("later emits are received", || noting.all().len() == 6).await;
    assert_eq!(noting.all(), [("moved", 1), ("moved", 2), ("noted", 3), ("noted", 4), ("moved", 5), ("moved", 6)]);
}
