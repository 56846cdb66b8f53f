//! What a handler may know of its caller.

use std::{sync::Arc, time::Instant};

use super::{Peer, Session};

/// A call, as its handler sees it. A method whose handler needs it declares `call: &sockets::Call` as its first argument
/// after `&self`, in the trait as in its implementations; it is not on the wire, and the stub has no such parameter.
#[derive(Clone, Debug)]
pub struct Call {
    peer: Peer,
    deadline: Instant,
}

impl Call {
    pub(crate) fn new(peer: Peer, deadline: Instant) -> Self {
        Self { peer, deadline }
    }

    pub(super) fn session(&self) -> &Arc<Session> {
        self.peer.session()
    }

    /// The caller, which can be called back.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// When the handler is stopped, at its next suspension, because nobody waits any more.
    ///
    /// It is the caller's deadline, counted from when the call came in. An emit, which brings none, has the receiver's
    /// [`Limits::call_timeout`](crate::Limits::call_timeout).
    pub fn deadline(&self) -> Instant {
        self.deadline
    }
}
