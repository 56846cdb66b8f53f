//! The methods of a call that only a server has: its socket and its server.

use super::{Identity, Server, Socket, socket::WeakSocket};
use crate::session::Call;

impl Call {
    /// Returns the caller's socket.
    ///
    /// Returns `None` on a client, and if `I` is not the server's identity type. Also returns
    /// `None` if the caller has left and no handle to its socket exists.
    pub fn socket<I: Identity>(&self) -> Option<Socket<I>> {
        self.peer().session().owner::<WeakSocket<I>>()?.upgrade()
    }

    /// Returns the server, for access to its rooms and sockets. Returns `None` in the cases in
    /// which [`socket`](Self::socket) returns `None`. The handle does not keep the server open.
    pub fn server<I: Identity>(&self) -> Option<Server<I>> {
        self.socket().map(|socket| socket.server())
    }
}
