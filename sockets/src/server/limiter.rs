//! Limits the number of connections and of handshakes.
//!
//! Each handshake needs a permit. A handshake sometimes waits for its client to send data, or for a
//! rejected client to close the connection. During such a wait, the server can revoke the permit
//! and grant it to another handshake. A flood of silent connections therefore does not exclude other clients.

use std::{collections::BTreeMap, future::Future, pin::pin, sync::Arc, time::Duration};

use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until},
};

use crate::{
    limits::Limits,
    lock::{Mutex, Notify},
};

/// The time that a client has to send its hello while other clients wait for a permit.
const HELLO_GRACE: Duration = Duration::from_secs(1);

/// The permits of a server.
pub(super) struct ConnectionLimiter {
    state: Mutex<LimiterState>,
    connections: usize,
    handshakes: usize,
    /// Notifies handshakes that wait for a permit.
    changed: Notify,
}

#[derive(Default)]
struct LimiterState {
    connections: usize,
    /// The number of handshakes in which the server has to act next.
    server_acts: usize,
    /// The handshakes in which the client has to act next, oldest first. Each entry contains the
    /// time at which the server began to wait for the client. Dropping the sender in an entry ends
    /// the handshake.
    client_acts: BTreeMap<u64, (Instant, oneshot::Sender<()>)>,
    next: u64,
}

impl ConnectionLimiter {
    pub(super) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            connections: limits.connections as usize,
            handshakes: limits.handshakes as usize,
            changed: Notify::new(),
        })
    }

    /// Waits for a permit for a handshake.
    pub(super) async fn acquire_handshake(self: &Arc<Self>) -> HandshakePermit {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            let next = {
                let mut state = self.state.lock();
                let oldest = state.client_acts.first_entry().map(|oldest| oldest.get().0 + HELLO_GRACE);
                let is_full = state.server_acts + state.client_acts.len() >= self.handshakes;
                let evicts = is_full && oldest.is_some_and(|until| until <= Instant::now());
                if evicts || !is_full {
                    let evicted = if evicts { state.client_acts.pop_first() } else { None };
                    state.server_acts += 1;
                    drop(state);
                    // The lock is released first, since dropping the sender wakes the connection.
                    drop(evicted);
                    return HandshakePermit { limiter: Arc::clone(self), is_held: true };
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

    /// Disconnects the clients that have sent nothing for [`HELLO_GRACE`].
    ///
    /// The server calls this method when the system has no file descriptor left. Otherwise silent
    /// connections would exclude other clients, even if the number of handshakes is below its
    /// limit.
    pub(super) fn evict_silent(&self) {
        let now = Instant::now();
        let mut evicted = Vec::new();
        let mut state = self.state.lock();
        while let Some(oldest) = state.client_acts.first_entry().filter(|oldest| oldest.get().0 + HELLO_GRACE <= now) {
            evicted.push(oldest.remove());
        }
        // The lock is released first, since dropping the senders wakes the connections.
        drop(state);
        drop(evicted);
    }

    /// Returns `true` if there is no permit for another connection.
    pub(super) fn is_full(&self) -> bool {
        self.state.lock().connections >= self.connections
    }

    /// Returns a permit for a connection, or `None` if the server is full.
    pub(super) fn try_acquire_connection(self: &Arc<Self>) -> Option<ConnectionPermit> {
        let mut state = self.state.lock();
        if state.connections >= self.connections {
            return None;
        }
        state.connections += 1;
        Some(ConnectionPermit(Arc::clone(self)))
    }
}

/// The permit of a connection. Dropping the permit returns it to the limiter.
pub(super) struct ConnectionPermit(Arc<ConnectionLimiter>);

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.0.state.lock().connections -= 1;
    }
}

/// The permit of a handshake. Dropping the permit returns it to the limiter.
pub(super) struct HandshakePermit {
    limiter: Arc<ConnectionLimiter>,
    is_held: bool,
}

impl HandshakePermit {
    /// Returns the permit early, before a wait that must not delay other handshakes.
    pub(super) fn release(&mut self) {
        if std::mem::take(&mut self.is_held) {
            self.limiter.state.lock().server_acts -= 1;
            self.limiter.changed.notify_one();
        }
    }

    /// Waits for the client. Returns `None` if the permit was revoked for another handshake during
    /// the wait.
    pub(super) async fn wait_for_peer<T>(&mut self, wait: impl Future<Output = T>) -> Option<T> {
        if !self.is_held {
            return None;
        }
        let (keep, revoked) = oneshot::channel();
        let number = {
            let mut state = self.limiter.state.lock();
            let number = state.next;
            state.next += 1;
            state.server_acts -= 1;
            state.client_acts.insert(number, (Instant::now(), keep));
            number
        };
        self.limiter.changed.notify_waiters();
        let _guard = PeerWaitGuard { permit: self, number };
        tokio::select! {
            biased;
            done = wait => Some(done),
            _ = revoked => None,
        }
    }
}

impl Drop for HandshakePermit {
    fn drop(&mut self) {
        self.release();
    }
}

/// A guard that exists while the server waits for the client of a handshake. Unless the permit was
/// revoked, the drop of the guard records that the server has to act next.
struct PeerWaitGuard<'a> {
    permit: &'a mut HandshakePermit,
    number: u64,
}

impl Drop for PeerWaitGuard<'_> {
    fn drop(&mut self) {
        let mut state = self.permit.limiter.state.lock();
        let entry = state.client_acts.remove(&self.number);
        if entry.is_some() {
            state.server_acts += 1;
        }
        drop(state);
        self.permit.is_held = entry.is_some();
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn eviction_ends_only_silent_handshakes() {
        let limiter = ConnectionLimiter::new(&Limits::default());
        let mut silent = limiter.acquire_handshake().await;
        let old = tokio::spawn(async move { silent.wait_for_peer(pending::<()>()).await });
        tokio::time::sleep(HELLO_GRACE).await;
        let mut recent = limiter.acquire_handshake().await;
        let mut wait = pin!(recent.wait_for_peer(pending::<()>()));
        assert_eq!(wait.as_mut().now_or_never(), None);

        limiter.evict_silent();
        assert_eq!(old.await.unwrap(), None);
        assert_eq!(wait.as_mut().now_or_never(), None, "the recent client is not evicted");
    }
}
