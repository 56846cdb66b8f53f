//! Tests of the bytes that detached sessions hold. The server counts all of these bytes, and ends
//! sessions if there are too many.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::codec::encode;
use sockets_proto::{CallId, Frame, name};
use tokio::{
    sync::Semaphore,
    task::yield_now,
    time::{sleep, timeout},
};

use super::{
    Server, Socket,
    resumption_tests::{RawClient, TIMEOUT, connect_raw},
};
use crate::{handshake::Resumption, limits::Limits, refusal::Refusal};

/// The limit on the bytes of all detached sessions.
const LIMIT: u32 = 4 << 20;
/// The number of clients.
const CLIENTS: u32 = 8;

/// Waits until a condition is met.
async fn until(condition: &str, is_met: impl Fn() -> bool) {
    let wait = async {
        while !is_met() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(TIMEOUT, wait).await.expect(condition);
}

/// A server with handlers that wait for permission and return replies of a given length.
struct TestServer {
    server: Server<u32>,
    begun: Arc<AtomicUsize>,
    go: Arc<Semaphore>,
}

impl TestServer {
    fn new(reply: usize) -> Self {
        let limits = Limits::new().resume_sessions_bytes(LIMIT).bytes_in_flight(64 << 20);
        let (begun, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let (beginning, going) = (Arc::clone(&begun), Arc::clone(&go));
        let server = Server::builder()
            .authenticate(|login: u32| async move { Ok::<_, Refusal>(login) })
            .connected(move |socket: Socket<u32>| {
                let (begun, go) = (Arc::clone(&beginning), Arc::clone(&going));
                socket.listen("wait", move |_: Vec<u8>| {
                    let (begun, go) = (Arc::clone(&begun), Arc::clone(&go));
                    async move {
                        begun.fetch_add(1, Ordering::Relaxed);
                        let _permit = go.acquire().await;
                        vec![7_u8; reply]
                    }
                });
                async {}
            })
            .limits(limits)
            .build();
        Self { server, begun, go }
    }

    /// Connects clients, each of which makes `calls` calls with arguments of `length` bytes.
    async fn calls(&self, calls: u32, length: usize) -> Vec<RawClient> {
        let arguments = encode(&vec![7_u8; length]).unwrap();
        let mut clients = Vec::new();
        for login in 0..CLIENTS {
            let mut client = connect_raw(&self.server, login, Resumption::New).await;
            for number in 0..calls {
                let id = CallId { number: number.into(), shared: false };
                let request = Frame::Request { id, timeout: 3_600_000, key: name::key("", "wait") };
                client.send_with(request, &arguments).await;
            }
            clients.push(client);
        }
        until("all handlers have begun", || self.begun.load(Ordering::Relaxed) == (CLIENTS * calls) as usize).await;
        clients
    }

    /// Disconnects all clients.
    async fn detach(&self, clients: Vec<RawClient>) {
        let sockets = self.server.sockets();
        drop(clients);
        until("all are detached", || sockets.iter().all(|socket| !socket.is_connected() || socket.is_away())).await;
        // During this pause, the server ends sessions that hold too many bytes.
        sleep(Duration::from_millis(1)).await;
    }

    fn held(&self) -> usize {
        self.server.sockets().iter().map(|socket| socket.session().held_bytes()).sum()
    }
}

#[tokio::test(start_paused = true)]
async fn received_calls_of_detached_sessions_count() {
    let test = TestServer::new(0);
    let clients = test.calls(2, 450 << 10).await;
    // A call counts as received and as decoded.
    assert!(test.held() >= CLIENTS as usize * 2 * (900 << 10), "{} bytes are held", test.held());
    test.detach(clients).await;
    let sockets = test.server.sockets().len();
    assert!(test.held() <= LIMIT as usize && sockets >= 1, "{sockets} sessions hold {} bytes", test.held());
}

#[tokio::test(start_paused = true)]
async fn waiting_handlers_of_detached_sessions_count() {
    let test = TestServer::new(0);
    let clients = test.calls(1000, 0).await;
    test.detach(clients).await;
    let sockets = test.server.sockets().len();
    assert!(
        test.held() <= LIMIT as usize && sockets < CLIENTS as usize,
        "{sockets} sessions hold {} bytes",
        test.held()
    );
}

#[tokio::test(start_paused = true)]
async fn late_replies_to_detached_sessions_are_bounded() {
    let test = TestServer::new(2 << 20);
    let clients = test.calls(50, 0).await;
    test.detach(clients).await;
    assert_eq!(test.server.sockets().len(), CLIENTS as usize, "the sessions hold few bytes yet");
    test.go.close();
    // The number of held bytes is highest after all handlers have added their replies, and before
    // the drivers have ended sessions. The test measures the number after each yield, and so finds
    // this maximum.
    let mut max_held = 0;
    for _ in 0..CLIENTS * 200 {
        yield_now().await;
        max_held = max_held.max(test.held());
    }
    assert!(max_held <= LIMIT as usize, "the sessions held {max_held} bytes");
    let sockets = test.server.sockets().len();
    assert!(sockets < CLIENTS as usize, "{sockets} sessions are left");
}

#[tokio::test(start_paused = true)]
async fn held_bytes_are_released_when_handlers_complete() {
    let test = TestServer::new(100 << 10);
    let _clients = test.calls(20, 10 << 10).await;
    assert!(test.held() > CLIENTS as usize * 20 * (10 << 10));
    test.go.close();
    sleep(Duration::from_millis(10)).await;
    // Sent messages are retained until the client acknowledges them, and messages that the client
    // does not read wait in the queue.
    let limits = Limits::default();
    let max_held = CLIENTS as usize * (limits.resume_bytes + 2 * limits.outgoing_queue) as usize;
    assert!(test.held() < max_held, "{} bytes are held", test.held());
}

#[tokio::test(start_paused = true)]
async fn ended_session_retains_no_messages() {
    let test = TestServer::new(0);
    let _clients = test.calls(0, 0).await;
    let socket = test.server.sockets().remove(0);
    let before = socket.session().held_bytes();
    socket.emit("hello", &[7_u8; 10_000][..]).await.unwrap();
    sleep(Duration::from_millis(1)).await;
    assert!(socket.session().held_bytes() >= before + 10_000, "the message is retained until it is acknowledged");
    socket.disconnect("enough");
    socket.disconnected().await;
    socket.session().released().await;
    assert_eq!(socket.session().held_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn announced_signatures_of_detached_sessions_count() {
    let test = TestServer::new(0);
    let mut clients = test.calls(0, 0).await;
    let before = test.held();
    let mut announced = 0;
    // Each client has a signature of its own, because tables with equal signatures would be shared.
    for (signature, client) in (1_u64..).zip(&mut clients) {
        let signatures = (1..3000_u64).flat_map(|key| [key.to_le_bytes(), signature.to_le_bytes()]);
        let signatures: Vec<u8> = signatures.flatten().collect();
        client.send_with(Frame::Signatures, &signatures).await;
        announced += signatures.len();
    }
    test.detach(clients).await;
    let counted = test.held() - before;
    assert!(counted >= announced, "{counted} bytes are counted");
}
