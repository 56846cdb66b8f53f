//! The suspended handlers of methods with `detached`, which run to completion.

use std::{
    future::Future,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::Session;

/// Maximum time for which a shutdown waits for stopped handlers. A handler that blocks its thread
/// stops later.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// The detached handlers of a server. They may outlive their sessions, but not a shutdown.
#[derive(Default)]
pub(crate) struct DetachedHandlers {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl DetachedHandlers {
    fn spawn(&self, handler: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        tokio::spawn(self.tasks.track_future(async move {
            stop.run_until_cancelled_owned(handler).await;
        }));
    }

    /// Stops all handlers at their next suspension.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits until all handlers have completed, and stops them after `grace`.
    pub(crate) async fn finish(&self, grace: Duration) {
        self.tasks.close();
        if timeout(grace, self.tasks.wait()).await.is_err() {
            self.stop();
            let _ = timeout(STOP_TIMEOUT, self.tasks.wait()).await;
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
        let all = session.detached_handlers.get().map_or(0, |handlers| handlers.tasks.len());
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
