//! The server and its broadcasts.

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
/// Which calls never end by themselves.
pub(super) const NEVER: u64 = u64::MAX;

pub(super) type Server = sockets::Server<u64>;

#[sockets::group("Work")]
#[allow(missing_docs, reason = "for the soak alone")]
pub(super) trait Work {
    /// Gives the next number.
    async fn next(&self, number: u64) -> u64;
    /// Enters a room and leaves another.
    async fn enter(&self, call: &Call, room: u32);
    #[emit]
    async fn note(&self, number: u64);
}

#[sockets::group("Ear")]
#[allow(missing_docs, reason = "for the soak alone")]
pub(super) trait Ear {
    #[emit]
    async fn said(&self, number: u64);
    async fn asked(&self, number: u64) -> u64;
}

/// The handlers of one socket.
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
        socket.join(&name(room));
    }

    async fn note(&self, number: u64) {
        let before = self.last_note.swap(number, Ordering::Relaxed);
        assert!(before < number, "notes come in order, and once: {number} after {before}");
        self.tally.emits_heard.add();
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
    // Shorter than most faults: some clients resume their sessions, and others get new ones.
    let limits = Limits { resume_within: Duration::from_secs(2), ..Limits::default() };
    server.limits(limits).bind("tcp://127.0.0.1:0").await.expect("the server starts")
}

/// Sends broadcasts and broadcast requests to rooms until cancelled.
pub(super) async fn speak(server: Server, tally: Arc<Tally>, stop: CancellationToken) {
    for number in 1.. {
        sleep(Duration::from_millis(20)).await;
        if stop.is_cancelled() {
            return;
        }
        let room = server.room(&name(fastrand::u32(..ROOMS)));
        EarClient::new(&room).said(number).await.expect("it is sent");
        tally.broadcasts.add();
        if number % 10 == 0 {
            tally.questions.add();
            ask(&room, &tally, number).await;
        }
    }
}

async fn ask(room: &sockets::Audience<u64>, tally: &Tally, number: u64) {
    let mut replies = EarClient::new(room).with_timeout(Duration::from_secs(1)).asked(number);
    while let Some((_, reply)) = replies.next().await {
        tally.asked.add();
        match reply {
            Ok(answer) => {
                assert_eq!(answer, number + 1);
                tally.answers.add();
            }
            Err(CallError::Timeout | CallError::Disconnected { .. }) => tally.no_answers.add(),
            Err(other) => panic!("a question has failed: {other}"),
        }
    }
}
