//! The other side of a connection.

use std::{future::Future, sync::Arc};

use super::{Service, Session, Stats};
use crate::disconnect_reason::DisconnectReason;

/// The other side of a connection: what can be called, and what calls.
///
/// [`Client`](crate::Client) and [`Socket`](crate::Socket) are peers too: they dereference to this. A peer is a handle;
/// clones mean the same one, and none of them keeps the connection open.
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

    /// Serves a group to this peer alone. It shadows what is served under the same path for all.
    ///
    /// # Panics
    ///
    /// If the path is served to this peer already, a method has the key of another name, or there are too many names.
    pub fn serve(&self, service: impl Service) {
        let service: Arc<dyn Service> = Arc::new(service);
        // A clone is kept here, so that one that is refused is not dropped under the lock.
        let served = self.session.serve(&service);
        if let Err(error) = served {
            panic!("{error}");
        }
    }

    /// Runs `f` once when the session has ended, whatever the reason; at once if it has. A socket has left its rooms by then.
    ///
    /// It runs on tokio's runtime, and not at all if the runtime itself has been shut down.
    ///
    /// # Panics
    ///
    /// If the session has ended, and this is called outside of a tokio runtime.
    pub fn on_disconnect<F, Fut>(&self, f: F)
    where
        F: FnOnce(DisconnectReason) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.session.on_disconnect(Box::new(|reason| Box::pin(f(reason))));
    }

    /// Waits until the session has ended, and says why.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped and called again.
    pub async fn disconnected(&self) -> DisconnectReason {
        self.session.disconnected().await
    }

    /// Whether the session has not ended and is not about to. It may be [away](Self::is_detached).
    pub fn is_connected(&self) -> bool {
        !self.session.is_ending()
    }

    /// Whether its connection has broken, and another one is waited for: what is said to it waits, too. A server waits for
    /// [`Limits::resume_within`](crate::Limits::resume_within).
    pub fn is_away(&self) -> bool {
        !self.session.is_ending() && self.session.is_detached()
    }

    /// What has been dropped on this connection.
    pub fn stats(&self) -> Stats {
        self.session.stats()
    }
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Peer").field(&self.session).finish()
    }
}
