//! What a handler may know of its caller.

use std::{sync::Arc, time::Instant};

use crate::{
    peer::Peer,
    server::{Identity, Server, Socket},
    session::Session,
};

/// A call, as its handler sees it. A handler that needs it takes `call: &sockets::Call` as its first argument after
/// `&self`; it is not on the wire, and the stub has no such parameter.
#[derive(Clone, Debug)]
pub struct Call {
    peer: Peer,
    deadline: Instant,
}

impl Call {
    pub(crate) fn new(peer: Peer, deadline: Instant) -> Self {
        Self { peer, deadline }
    }

    pub(crate) fn session(&self) -> &Arc<Session> {
        self.peer.session()
    }

    /// The caller, which can be called back.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The caller's socket. `None` on a client, or if `I` is not the server's identity.
    pub fn socket<I: Identity>(&self) -> Option<Socket<I>> {
        self.peer.session().socket::<I>()
    }

    /// The server, for its rooms and sockets. `None` on a client, or if `I` is not the server's identity. It does not
    /// keep the server open.
    pub fn server<I: Identity>(&self) -> Option<Server<I>> {
        self.socket().map(|socket| socket.server())
    }

    /// When the handler is stopped, at its next suspension, because nobody waits any more.
    ///
    /// It is the caller's deadline, counted from when the call came in.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }
}
