//! The handle of a session.

use std::{future::Future, sync::Arc};

use super::{Service, Session, Stats};
use crate::disconnect_reason::DisconnectReason;

/// The remote endpoint of a session, which can call and be called.
///
/// A [`Client`](crate::Client) or [`Socket`](crate::Socket) is a peer, too: both dereference to
/// this type. A peer is a handle. Its clones refer to the same session, and do not keep the session
/// open.
#[derive(Clone)]
pub struct Peer {
    session: Arc<Session>,
}

impl Peer {
    pub(crate) fn new(session: Arc<Session>) -> Self {
        Self { session }
    }

    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Serves a group to this peer alone. If a group is served to all peers under the same path,
    /// the new group shadows that group.
    ///
    /// # Panics
    ///
    /// Panics in each of these cases:
    ///
    /// - The path is already served to this peer.
    /// - The key of a method (the hash of its path and name, see PROTOCOL.md, section 5) equals the
    ///   key of another method that is already served.
    /// - There are more names than [`Limits::names_per_peer`](crate::Limits::names_per_peer).
    pub fn serve(&self, service: impl Service) {
        let service: Arc<dyn Service> = Arc::new(service);
        // A clone is kept here, so that a refused service is not dropped under the lock.
        let served = self.session.serve(&service);
        if let Err(error) = served {
            panic!("{error}");
        }
    }

    /// Runs `f` once when the session has ended, for any reason. If the session has already ended,
    /// `f` runs immediately. A socket leaves its rooms before `f` runs.
    ///
    /// The function `f` runs on the tokio runtime. If the runtime has been shut down, `f` does not
    /// run.
    ///
    /// # Panics
    ///
    /// Panics if the session has already ended and the caller is not in a tokio runtime.
    pub fn on_disconnect<F, Fut>(&self, f: F)
    where
        F: FnOnce(DisconnectReason) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.session.on_disconnect(Box::new(|reason| Box::pin(f(reason))));
    }

    /// Waits until the session has ended, and returns the reason.
    ///
    /// # Cancel safety
    ///
    /// The caller may drop the future and call the method again.
    pub async fn disconnected(&self) -> DisconnectReason {
        self.session.disconnected().await
    }

    /// Returns `true` if the session has not ended and is not ending, even if the session is
    /// [detached](Self::is_away).
    pub fn is_connected(&self) -> bool {
        !self.session.is_ending()
    }

    /// Returns `true` if the session is detached. Its connection was lost, and it waits for another
    /// connection. Messages to the peer also wait for that connection. A server waits for at most
    /// [`Limits::resume_within`](crate::Limits::resume_within).
    pub fn is_away(&self) -> bool {
        !self.session.is_ending() && self.session.is_detached()
    }

    /// Returns the counts of messages and handlers that this session has dropped.
    pub fn stats(&self) -> Stats {
        self.session.stats()
    }
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Peer").field(&self.session).finish()
    }
}
