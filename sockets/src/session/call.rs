//! The call as its handler sees it.

use std::{sync::Arc, time::Instant};

use super::{Peer, Session};

/// A call, as its handler sees it.
///
/// A method that needs it declares `call: &sockets::Call` as its first argument after `&self`, in
/// the trait and in its implementations. It is not sent, and the method of the stub does not have
/// this parameter.
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

    /// Returns the caller, which can be called back.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Returns the time at which the handler is stopped, at its next suspension.
    ///
    /// It is the time at which the call was received, plus the timeout of the caller. An emit has
    /// no timeout: the receiver's [`Limits::call_timeout`](crate::Limits::call_timeout) applies.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }
}
