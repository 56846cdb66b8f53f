//! The call as its handler sees it.

use std::{sync::Arc, time::Instant};

use super::{Peer, Session};

/// A call, as its handler sees it.
///
/// If a method needs this value, it declares `call: &sockets::Call` as its first argument after
/// `&self`. It declares the argument in the trait and in its implementations. The caller does not
/// send this argument, and the method of the stub does not have this parameter.
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

    /// Returns the deadline of the handler. After the deadline, the handler is stopped at its next
    /// suspension.
    ///
    /// The deadline of a request is the time at which it was received, plus the timeout of the
    /// caller. An emit carries no timeout of the caller, so
    /// [`Limits::call_timeout`](crate::Limits::call_timeout) of the receiver applies instead.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }
}
