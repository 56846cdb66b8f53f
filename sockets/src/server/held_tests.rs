//! What is held for clients that are away: all of it counts, and what is too much ends their sessions.

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
    resumption_tests::{PATIENCE, Visitor, come},
};
use crate::{handshake::Resumption, limits::Limits, refusal::Refusal};

/// What all sessions that are away may hold together.
const MOST: u32 = 4 << 20;
/// How many clients go away.
const CLIENTS: u32 = 8;

/// Waits until it is so, while time passes.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, waiting).await.expect(what);
}

/// A server whose handlers wait for permission, and return replies of this length.
struct Waiting {
    server: Server<u32>,
    begun: Arc<AtomicUsize>,
    go: Arc<Semaphore>,
}

impl Waiting {
    fn new(reply: usize) -> Self {
        let limits = Limits { resume_sessions_bytes: MOST, bytes_in_flight: 64 << 20, ..Limits::default() };
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

    /// Clients that have made so many calls with so long arguments.
    async fn calls(&self, calls: u32, length: usize) -> Vec<Visitor> {
        let arguments = encode(&vec![7_u8; length]).unwrap();
        let mut visitors = Vec::new();
        for login in 0..CLIENTS {
            let mut visitor = come(&self.server, login, Resumption::New).await;
            for number in 0..calls {
                let id = CallId { number: number.into(), shared: false };
                let request = Frame::Request { id, timeout: 3_600_000, key: name::key("", "wait") };
                visitor.say_with(request, &arguments).await;
            }
            visitors.push(visitor);
        }
        until("all handlers have begun", || self.begun.load(Ordering::Relaxed) == (CLIENTS * calls) as usize).await;
        visitors
    }

    /// All clients go away.
    async fn leave(&self, visitors: Vec<Visitor>) {
        let sockets = self.server.sockets();
        drop(visitors);
        until("all are away", || sockets.iter().all(|socket| !socket.is_connected() || socket.is_away())).await;
        // The sessions that hold too much end.
        sleep(Duration::from_millis(1)).await;
    }

    fn held(&self) -> usize {
        self.server.sockets().iter().map(|socket| socket.session().held_bytes()).sum()
    }
}

#[tokio::test(start_paused = true)]
async fn received_calls_of_detached_sessions_count() {
    let waiting = Waiting::new(0);
    let visitors = waiting.calls(2, 450 << 10).await;
    // As they were received, and decoded.
    assert!(waiting.held() >= CLIENTS as usize * 2 * (900 << 10), "{} bytes are held", waiting.held());
    waiting.leave(visitors).await;
    let sockets = waiting.server.sockets().len();
    assert!(waiting.held() <= MOST as usize && sockets >= 1, "{sockets} sessions hold {} bytes", waiting.held());
}

#[tokio::test(start_paused = true)]
async fn waiting_handlers_of_detached_sessions_count() {
    let waiting = Waiting::new(0);
    let visitors = waiting.calls(1000, 0).await;
    waiting.leave(visitors).await;
    let sockets = waiting.server.sockets().len();
    assert!(
        waiting.held() <= MOST as usize && sockets < CLIENTS as usize,
        "{sockets} sessions hold {} bytes",
        waiting.held()
    );
}

#[tokio::test(start_paused = true)]
async fn late_replies_to_detached_sessions_are_bounded_at_once() {
    let waiting = Waiting::new(2 << 20);
    let visitors = waiting.calls(50, 0).await;
    waiting.leave(visitors).await;
    assert_eq!(waiting.server.sockets().len(), CLIENTS as usize, "they hold little yet");
    waiting.go.close();
    // Each handler adds a reply when it is woken. The drivers, which end sessions, run only after all handlers.
    let mut most = 0;
    for _ in 0..CLIENTS * 200 {
        yield_now().await;
        most = most.max(waiting.held());
    }
    assert!(most <= MOST as usize, "they held {most} bytes");
    let sockets = waiting.server.sockets().len();
    assert!(sockets < CLIENTS as usize, "{sockets} sessions are left");
}

#[tokio::test(start_paused = true)]
async fn what_was_held_is_released_when_handlers_end() {
    let waiting = Waiting::new(100 << 10);
    let _visitors = waiting.calls(20, 10 << 10).await;
    assert!(waiting.held() > CLIENTS as usize * 20 * (10 << 10));
    waiting.go.close();
    sleep(Duration::from_millis(10)).await;
    // What has been sent is retained until it is acknowledged, and what is not read waits.
    let limits = Limits::default();
    let most = CLIENTS as usize * (limits.resume_bytes + 2 * limits.outgoing_queue) as usize;
    assert!(waiting.held() < most, "{} bytes are held", waiting.held());
}

#[tokio::test(start_paused = true)]
async fn session_that_has_ended_retains_no_messages() {
    let waiting = Waiting::new(0);
    let _visitors = waiting.calls(0, 0).await;
    let socket = waiting.server.sockets().remove(0);
    let before = socket.session().held_bytes();
    socket.emit("hello", &[7_u8; 10_000][..]).await.unwrap();
    sleep(Duration::from_millis(1)).await;
    assert!(socket.session().held_bytes() >= before + 10_000, "it is retained until it is acknowledged");
    socket.disconnect("enough");
    socket.disconnected().await;
    socket.session().released().await;
    assert_eq!(socket.session().held_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn announced_signatures_of_detached_sessions_count() {
    let waiting = Waiting::new(0);
    let mut visitors = waiting.calls(0, 0).await;
    let before = waiting.held();
    let mut announced = 0;
    // Tables with the same signatures would be shared.
    for (signature, visitor) in (1_u64..).zip(&mut visitors) {
        let signatures = (1..3000_u64).flat_map(|key| [key.to_le_bytes(), signature.to_le_bytes()]);
        let signatures: Vec<u8> = signatures.flatten().collect();
        visitor.say_with(Frame::Signatures, &signatures).await;
        announced += signatures.len();
    }
    waiting.leave(visitors).await;
    let counted = waiting.held() - before;
    assert!(counted >= announced, "{counted} bytes are counted");
}
