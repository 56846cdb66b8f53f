//! A client that acts at random, and reconnects after each loss.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sockets::{Client, Limits, Reconnect};
use tokio::{
    select,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Tally,
    server::{Member, MemberServer, NEVER, WorkClient},
};
use crate::Relay;

pub(super) struct RandomClient {
    number: usize,
    relay: Arc<Relay>,
    tally: Arc<Tally>,
    pause: Duration,
    /// The last number that the client has sent.
    last_note: u64,
}

impl RandomClient {
    pub(super) fn new(number: usize, relay: Arc<Relay>, tally: Arc<Tally>, pause: Duration) -> Self {
        Self { number, relay, tally, pause, last_note: 0 }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        // The random pause spreads the start of the clients.
        sleep(self.pause.mul_f64(fastrand::f64())).await;
        while !stop.is_cancelled() {
            let handler = Handler { tally: Arc::clone(&self.tally), last: AtomicU64::new(0) };
            let limits = Limits::new().authentication(Duration::from_secs(5));
            let client = Client::builder().auth(self.number as u64).limits(limits).serve(MemberServer::new(handler));
            // In every second client, the library reconnects after a loss. The other clients start
            // a new connection themselves.
            let reconnects = self.number.is_multiple_of(2);
            let client = client.reconnect(if reconnects { Reconnect::default() } else { Reconnect::never() });
            // The connection may freeze or be lost at any time, so `connect` may fail.
            let Ok(client) = client.connect(&self.relay.url()).await else {
                sleep(Duration::from_millis(50)).await;
                continue;
            };
            self.tally.connections.add();
            while client.is_connected() && !stop.is_cancelled() {
                self.make_call(&client).await;
                select! {
                    () = sleep(self.pause.mul_f64(2.0 * fastrand::f64())) => {}
                    _ = client.disconnected() => {}
                    () = stop.cancelled() => {}
                }
            }
            if !client.is_connected() {
                self.tally.disconnections.add();
            }
        }
    }

    async fn make_call(&mut self, client: &Client) {
        let work = WorkClient::new(client).with_timeout(Duration::from_secs(3));
        match fastrand::u8(..8) {
            0 => drop(work.enter(fastrand::u32(..1000)).await),
            1 => {
                self.last_note += 1;
                if work.note(self.last_note).await.is_ok() {
                    self.tally.emits.add();
                }
            }
            2 => {
                self.tally.calls.add();
                let impatient = WorkClient::new(client).with_timeout(Duration::from_millis(5));
                self.tally.count(impatient.next(NEVER).await.map(drop));
            }
            3 => {
                self.tally.calls.add();
                match timeout(Duration::from_millis(fastrand::u64(..5)), work.next(NEVER)).await {
                    Ok(outcome) => self.tally.count(outcome.map(drop)),
                    Err(_) => self.tally.cancelled.add(),
                }
            }
            _ => {
                let number = fastrand::u64(..1 << 40);
                self.tally.calls.add();
                self.tally.count(work.next(number).await.map(|next| assert_eq!(next, number + 1)));
            }
        }
    }
}

struct Handler {
    tally: Arc<Tally>,
    last: AtomicU64,
}

impl Member for Handler {
    async fn message(&self, number: u64) {
        let before = self.last.swap(number, Ordering::Relaxed);
        assert!(before < number, "broadcasts arrive in order and once: {number} after {before}");
        self.tally.broadcasts_received.add();
    }

    async fn successor(&self, number: u64) -> u64 {
        number + 1
    }
}
