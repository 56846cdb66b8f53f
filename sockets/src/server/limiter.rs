//! How many may be in, and how many may be on their way in.
//!
//! Somebody who has a handshake to make waits for a place. One who says nothing, or is being hung up on, has a place only
//! until somebody else wants it: so a storm of silent connections does not keep the others out.

use std::{collections::BTreeMap, future::Future, pin::pin, sync::Arc, time::Duration};

use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until},
};

use crate::{
    limits::Limits,
    lock::{Mutex, Notify},
};

/// How long one has to greet while others wait for its place.
const HELLO_GRACE: Duration = Duration::from_secs(1);

/// The places of a server.
pub(super) struct ConnectionLimiter {
    places: Mutex<LimiterState>,
    connections: usize,
    handshakes: usize,
    /// Those who wait may look again.
    changed: Notify,
}

#[derive(Default)]
struct LimiterState {
    connections: usize,
    /// Handshakes that are this side's turn.
    ours: usize,
    /// Handshakes that are the other side's turn, oldest first: since when, and what ends them when it is dropped.
    theirs: BTreeMap<u64, (Instant, oneshot::Sender<()>)>,
    next: u64,
}

impl ConnectionLimiter {
    pub(super) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            places: Mutex::default(),
            connections: limits.connections as usize,
            handshakes: limits.handshakes as usize,
            changed: Notify::new(),
        })
    }

    /// Waits until another handshake may begin.
    pub(super) async fn acquire_handshake(self: &Arc<Self>) -> HandshakePermit {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            let next = {
                let mut places = self.places.lock();
                let oldest = places.theirs.first_entry().map(|oldest| oldest.get().0 + HELLO_GRACE);
                let is_full = places.ours + places.theirs.len() >= self.handshakes;
                let makes_room = is_full && oldest.is_some_and(|until| until <= Instant::now());
                if makes_room || !is_full {
                    let ended = if makes_room { places.theirs.pop_first() } else { None };
                    places.ours += 1;
                    drop(places);
                    // Without the lock, since that wakes its connection.
                    drop(ended);
                    return HandshakePermit { admission: Arc::clone(self), is_held: true };
                }
                oldest
            };
            match next {
                Some(next) => tokio::select! {
                    () = changed => {}
                    () = sleep_until(next) => {}
                },
                None => changed.await,
            }
        }
    }

    /// Disconnects the clients that have sent nothing for [`HELLO_GRACE`]. Called when the system has no sockets left, so that
    /// silent connections do not keep others out below the limit of handshakes.
    pub(super) fn evict_silent(&self) {
        let now = Instant::now();
        let mut evicted = Vec::new();
        let mut places = self.places.lock();
        while let Some(oldest) = places.theirs.first_entry().filter(|oldest| oldest.get().0 + HELLO_GRACE <= now) {
            evicted.push(oldest.remove());
        }
        // Released first: dropping the senders wakes the connections.
        drop(places);
        drop(evicted);
    }

    /// Whether there is no place for another connection.
    pub(super) fn is_full(&self) -> bool {
        self.places.lock().connections >= self.connections
    }

    /// A place for a connection, if there is one.
    pub(super) fn try_acquire_connection(self: &Arc<Self>) -> Option<ConnectionPermit> {
        let mut places = self.places.lock();
        if places.connections >= self.connections {
            return None;
        }
        places.connections += 1;
        Some(ConnectionPermit(Arc::clone(self)))
    }
}

/// A connection's place, until it is dropped.
pub(super) struct ConnectionPermit(Arc<ConnectionLimiter>);

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.0.places.lock().connections -= 1;
    }
}

/// A handshake's place, until it is dropped.
pub(super) struct HandshakePermit {
    admission: Arc<ConnectionLimiter>,
    is_held: bool,
}

impl HandshakePermit {
    /// Returns the place, before a wait that another client should not have to share.
    pub(super) fn release(&mut self) {
        if std::mem::take(&mut self.is_held) {
            self.admission.places.lock().ours -= 1;
            self.admission.changed.notify_one();
        }
    }

    /// Waits for the other side. `None` if the place was given to somebody else meanwhile.
    pub(super) async fn wait_for_peer<T>(&mut self, waiting: impl Future<Output = T>) -> Option<T> {
        if !self.is_held {
            return None;
        }
        let (keep, lost) = oneshot::channel();
        let number = {
            let mut places = self.admission.places.lock();
            let number = places.next;
            places.next += 1;
            places.ours -= 1;
            places.theirs.insert(number, (Instant::now(), keep));
            number
        };
        self.admission.changed.notify_waiters();
        let _back = PeerWaitGuard { turn: self, number };
        tokio::select! {
            biased;
            done = waiting => Some(done),
            _ = lost => None,
        }
    }
}

impl Drop for HandshakePermit {
    fn drop(&mut self) {
        self.release();
    }
}

/// It is this side's turn again, unless the place is lost.
struct PeerWaitGuard<'a> {
    turn: &'a mut HandshakePermit,
    number: u64,
}

impl Drop for PeerWaitGuard<'_> {
    fn drop(&mut self) {
        let mut places = self.turn.admission.places.lock();
        let place = places.theirs.remove(&self.number);
        if place.is_some() {
            places.ours += 1;
        }
        drop(places);
        self.turn.is_held = place.is_some();
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn eviction_ends_only_handshakes_that_were_silent_for_a_second() {
        let admission = ConnectionLimiter::new(&Limits::default());
        let mut silent = admission.acquire_handshake().await;
        let old = tokio::spawn(async move { silent.wait_for_peer(pending::<()>()).await });
        tokio::time::sleep(HELLO_GRACE).await;
        let mut recent = admission.acquire_handshake().await;
        let mut waiting = pin!(recent.wait_for_peer(pending::<()>()));
        assert_eq!(waiting.as_mut().now_or_never(), None);

        admission.evict_silent();
        assert_eq!(old.await.unwrap(), None);
        assert_eq!(waiting.as_mut().now_or_never(), None, "the recent client is not evicted");
    }
}
