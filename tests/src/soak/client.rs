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
    server::{Ear, EarServer, NEVER, WorkClient},
};
use crate::Relay;

pub(super) struct Visitor {
    number: usize,
    relay: Arc<Relay>,
    tally: Arc<Tally>,
    rest: Duration,
    /// The last number that it has sent.
    said: u64,
}

impl Visitor {
    pub(super) fn new(number: usize, relay: Arc<Relay>, tally: Arc<Tally>, rest: Duration) -> Self {
        Self { number, relay, tally, rest, said: 0 }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        // The clients connect one after another.
        sleep(self.rest.mul_f64(fastrand::f64())).await;
        while !stop.is_cancelled() {
            let ears = Ears { tally: Arc::clone(&self.tally), last: AtomicU64::new(0) };
            let limits = Limits { authentication: Duration::from_secs(5), ..Limits::default() };
            let client = Client::builder().auth(self.number as u64).limits(limits).serve(EarServer::new(ears));
            // One half reconnects.
            let comes_back = self.number.is_multiple_of(2);
            let client = client.reconnect(if comes_back { Reconnect::default() } else { Reconnect::never() });
            // A link may be frozen, or break at any time.
            let Ok(client) = client.connect(&self.relay.url()).await else {
                sleep(Duration::from_millis(50)).await;
                continue;
            };
            self.tally.connections.add();
            while client.is_connected() && !stop.is_cancelled() {
                self.do_something(&client).await;
                select! {
                    () = sleep(self.rest.mul_f64(2.0 * fastrand::f64())) => {}
                    _ = client.disconnected() => {}
                    () = stop.cancelled() => {}
                }
            }
            if !client.is_connected() {
                self.tally.disconnections.add();
            }
        }
    }

    async fn do_something(&mut self, client: &Client) {
        let work = WorkClient::new(client).with_timeout(Duration::from_secs(3));
        match fastrand::u8(..8) {
            0 => drop(work.enter(fastrand::u32(..1000)).await),
            1 => {
                self.said += 1;
                if work.note(self.said).await.is_ok() {
                    self.tally.emits.add();
                }
            }
            2 => {
                self.tally.calls.add();
                let hasty = WorkClient::new(client).with_timeout(Duration::from_millis(5));
                self.tally.count(hasty.next(NEVER).await.map(drop));
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

struct Ears {
    tally: Arc<Tally>,
    last: AtomicU64,
}

impl Ear for Ears {
    async fn said(&self, number: u64) {
        let before = self.last.swap(number, Ordering::Relaxed);
        assert!(before < number, "what is said comes in order, and once: {number} after {before}");
        self.tally.broadcasts_heard.add();
    }

    async fn asked(&self, number: u64) -> u64 {
        number + 1
    }
}
