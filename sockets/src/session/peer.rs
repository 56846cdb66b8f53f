//! The handle of a session.

use std::sync::Arc;

use super::Session;
use crate::peer_methods::peer_methods;

/// The remote endpoint of a session, which can call and be called.
///
/// A [`Client`](crate::Client) and a [`Socket`](crate::Socket) have the methods of this type, and
/// return their peer by `as_peer`. A peer is a handle. Its clones refer to the same session, and do
/// not keep the session open.
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

    peer_methods!();
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Peer").field(&self.session).finish()
    }
}
