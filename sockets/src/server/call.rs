//! A call on a server: its socket, and the server.

use super::{Identity, Server, Socket, socket::WeakSocket};
use crate::session::Call;

impl Call {
    /// The caller's socket. `None` on a client, or if `I` is not the server's identity; also when the caller has left and
    /// nobody holds its socket.
    pub fn socket<I: Identity>(&self) -> Option<Socket<I>> {
        self.peer().session().owner::<WeakSocket<I>>()?.upgrade()
    }

    /// The server, for its rooms and sockets. `None` when [`socket`](Self::socket) is. It does not keep the server open.
    pub fn server<I: Identity>(&self) -> Option<Server<I>> {
        self.socket().map(|socket| socket.server())
    }
}
