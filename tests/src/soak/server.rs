//! The server of a soak, and its broadcasts.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sockets::{Call, CallError, Limits, Socket};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Tally;

/// The number of rooms.
const ROOMS: u32 = 50;
/// A number that marks calls without an end. A call with this number never returns.
pub(super) const NEVER: u64 = u64::MAX;

pub(super) type Server = sockets::Server<u64>;

#[sockets::group("Work")]
#[allow(missing_docs, reason = "only for the soak test")]
pub(super) trait Work {
    /// Returns the number after `number`.
    async fn next(&self, number: u64) -> u64;
    /// Moves the caller into a room, and out of another room.
    async fn enter(&self, call: &Call, room: u32);
    #[emit]
    async fn note(&self, number: u64);
}

#[sockets::group("Member")]
#[allow(missing_docs, reason = "only for the soak test")]
pub(super) trait Member {
    #[emit]
    async fn message(&self, number: u64);
    async fn successor(&self, number: u64) -> u64;
}

/// The handlers of a socket.
struct Worker {
    tally: Arc<Tally>,
    last_note: AtomicU64,
}

impl Work for Worker {
    async fn next(&self, number: u64) -> u64 {
        self.tally.executed.add();
        if number == NEVER {
            std::future::pending::<()>().await;
        }
        if number.is_multiple_of(3) {
            sleep(Duration::from_millis(number % 10)).await;
        }
        number + 1
    }

    async fn enter(&self, call: &Call, room: u32) {
        let Some(socket): Option<Socket<u64>> = call.socket() else { return };
        socket.leave(&name(room + 1));
        // The client may have left.
        let _ = socket.join(&name(room));
    }

    async fn note(&self, number: u64) {
        let before = self.last_note.swap(number, Ordering::Relaxed);
        assert!(before < number, "notes arrive in order and once: {number} after {before}");
        self.tally.emits_received.add();
    }
}

fn name(room: u32) -> String {
    format!("room/{}", room % ROOMS)
}

pub(super) async fn start(tally: &Arc<Tally>) -> Server {
    let tally = Arc::clone(tally);
    let server = sockets::Server::builder().authenticate(|number: u64| async move { Ok(number) });
    let server = server.connected(move |socket: Socket<u64>| {
        let worker = Worker { tally: Arc::clone(&tally), last_note: AtomicU64::new(0) };
        async move { socket.serve(WorkServer::new(worker)) }
    });
    // `resume_within` is shorter than most faults but longer than some, so that some clients resume
    // their sessions and others get new sessions.
    let limits = Limits::new().resume_within(Duration::from_secs(2));
    server.limits(limits).bind("tcp://127.0.0.1:0").await.expect("the server starts")
}

/// Sends broadcasts and broadcast requests to rooms until `stop` is cancelled.
pub(super) async fn broadcast(server: Server, tally: Arc<Tally>, stop: CancellationToken) {
    for number in 1.. {
        sleep(Duration::from_millis(20)).await;
        if stop.is_cancelled() {
            return;
        }
        let room = server.room(&name(fastrand::u32(..ROOMS)));
        MemberClient::new(&room).message(number).await.expect("the broadcast is sent");
        tally.broadcasts.add();
        if number % 10 == 0 {
            tally.broadcast_requests.add();
            broadcast_request(&room, &tally, number).await;
        }
    }
}

async fn broadcast_request(room: &sockets::Audience<u64>, tally: &Tally, number: u64) {
    let mut replies = MemberClient::new(room).with_timeout(Duration::from_secs(1)).successor(number);
    while let Some((_, reply)) = replies.next().await {
        tally.expected_replies.add();
        match reply {
            Ok(reply) => {
                assert_eq!(reply, number + 1);
                tally.member_replies.add();
            }
            Err(CallError::Timeout | CallError::Disconnected { .. }) => tally.missing_replies.add(),
            Err(other) => panic!("a broadcast request failed: {other}"),
        }
    }
}
