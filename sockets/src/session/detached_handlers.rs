//! The suspended handlers of methods with `detached`, which run to completion.

use std::{
    future::Future,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{select, sync::watch, time::timeout};

use super::Session;

/// Maximum time for which a shutdown waits for stopped handlers. A handler that blocks its thread
/// stops later.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// The detached handlers of a server. They may outlive their sessions, but not a shutdown.
///
/// Each handler has a receiver, which receives `true` when the handlers are stopped.
#[derive(Default)]
pub(crate) struct DetachedHandlers(watch::Sender<bool>);

impl DetachedHandlers {
    fn len(&self) -> usize {
        self.0.receiver_count()
    }

    fn spawn(&self, handler: impl Future<Output = ()> + Send + 'static) {
        let mut stop = self.0.subscribe();
        tokio::spawn(async move {
            select! {
                _ = stop.wait_for(|stop| *stop) => {}
                () = handler => {}
            }
        });
    }

    /// Stops all handlers at their next suspension.
    pub(crate) fn stop(&self) {
        self.0.send_replace(true);
    }

    /// Waits until all handlers have completed, and stops them after `grace`.
    pub(crate) async fn finish(&self, grace: Duration) {
        if timeout(grace, self.0.closed()).await.is_err() {
            self.stop();
            let _ = timeout(STOP_TIMEOUT, self.0.closed()).await;
        }
    }
}

/// The permit of a detached handler. It counts towards
/// [`Limits::max_detached_handlers`](crate::Limits::max_detached_handlers) until it is dropped.
pub(crate) struct DetachedPermit(Arc<Session>);

impl DetachedPermit {
    /// Returns a permit, or `None` if the peer has the maximum number of detached handlers.
    ///
    /// A peer may start handlers in many sessions, one after the other. So the handlers of a
    /// server, of which there are at most [`Limits::connections`](crate::Limits::connections),
    /// include those of sessions that have ended.
    pub(crate) fn acquire(session: &Arc<Session>) -> Option<Self> {
        let all = session.detached_handlers.get().map_or(0, |handlers| handlers.len());
        if all >= session.limits.connections as usize {
            return None;
        }
        let limit = session.limits.max_detached_handlers;
        let next = |count: u32| (count < limit).then(|| count + 1);
        session.detached_count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok()?;
        Some(Self(Arc::clone(session)))
    }

    /// Runs a suspended handler to completion. The server may stop it when the server shuts down.
    pub(crate) fn spawn(self, handler: impl Future<Output = ()> + Send + 'static) {
        let session = Arc::clone(&self.0);
        let counted = async move {
            let _permit = self;
            handler.await;
        };
        match session.detached_handlers.get() {
            Some(handlers) => handlers.spawn(counted),
            // A client never stops its detached handlers.
            None => drop(tokio::spawn(counted)),
        }
    }
}

impl Drop for DetachedPermit {
    fn drop(&mut self) {
        self.0.detached_count.fetch_sub(1, Ordering::Relaxed);
    }
}
