//! Helpers for the tests of programs that use this library.

use std::{io, sync::Arc};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex, split},
    join, select,
    sync::watch,
};

use crate::{
    client::Client, client_builder::ClientBuilder, connect_error::ConnectError, identity::Identity, server::Server,
};

/// The size of each buffer of a connection, in bytes.
const BUFFER: usize = 16 << 10;

/// A link between clients and a server in the same process. A test can break, freeze and restore it.
///
/// The clients reconnect and resume their sessions as over a network. A link uses no time itself,
/// and works with the paused time of tokio.
///
/// ```
/// use sockets::{Client, ClientState, Server, Socket, test_util::Link};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::builder()
///     .connected(|socket: Socket| async move {
///         socket.listen("double", |number: u32| async move { 2 * number });
///     })
///     .build();
/// let link = Link::to(&server);
/// let client = link.connect(Client::builder()).await?;
/// let mut states = client.states();
///
/// link.cut();
/// assert!(matches!(states.next().await, Some(ClientState::Reconnecting { .. })));
/// // The call waits for the next connection.
/// let (doubled, ()) = tokio::join!(client.request::<u32>("double", &2_u32), async { link.restore() });
/// assert_eq!(doubled?, 4);
/// assert!(matches!(client.state(), ClientState::Connected { resumed: true, .. }));
/// # Ok(()) }
/// ```
///
/// Clones control the same link. A link does not keep its server open. Dropping the link changes
/// nothing for its clients.
#[derive(Clone)]
pub struct Link(watch::Sender<State>);

#[derive(Clone)]
struct State {
    /// Passes the server's end of a connection to the server.
    accept: Arc<dyn Fn(DuplexStream) + Send + Sync>,
    condition: Condition,
    /// The number of calls of [`Link::cut`]. Each ends the connections that existed before.
    cuts: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Condition {
    Whole,
    Frozen,
    Cut,
}

impl Link {
    /// Returns a link to a server.
    pub fn to<I: Identity>(server: &Server<I>) -> Self {
        Self(watch::Sender::new(State { accept: acceptor(server), condition: Condition::Whole, cuts: 0 }))
    }

    /// Connects a client, which opens all its connections over this link. The policy of
    /// [`ClientBuilder::reconnect`] applies.
    ///
    /// # Errors
    ///
    /// The method has the errors of [`ClientBuilder::connect`]. While the link is cut, an attempt
    /// fails with [`ConnectError::Unreachable`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before completion, the connection is closed.
    pub async fn connect(&self, builder: ClientBuilder) -> Result<Client, ConnectError> {
        let link = self.clone();
        let connector = move || {
            let opened = link.open();
            async { opened }
        };
        builder.connect_with(connector).await
    }

    /// Breaks all connections, and opens no new connections until [`restore`](Self::restore).
    ///
    /// Bytes in transit are lost. To break the connections only for a moment, call `restore`
    /// immediately afterwards.
    pub fn cut(&self) {
        self.0.send_modify(|state| {
            state.condition = Condition::Cut;
            state.cuts += 1;
        });
    }

    /// Stops forwarding bytes, in both directions, until [`restore`](Self::restore).
    ///
    /// The connections stay open, and the link holds the bytes in transit. A peer still receives
    /// the at most 32 KiB that were forwarded before and that it has not read. If the link is cut,
    /// it opens connections again, but they cannot complete their handshakes.
    pub fn freeze(&self) {
        self.0.send_modify(|state| state.condition = Condition::Frozen);
    }

    /// Forwards bytes and opens connections again, after [`cut`](Self::cut) or
    /// [`freeze`](Self::freeze).
    pub fn restore(&self) {
        self.0.send_modify(|state| state.condition = Condition::Whole);
    }

    /// Opens all further connections to another server, as after a restart. Existing connections
    /// do not change.
    pub fn set_server<I: Identity>(&self, server: &Server<I>) {
        self.0.send_modify(|state| state.accept = acceptor(server));
    }

    /// Opens a connection, and returns the client's end.
    fn open(&self) -> io::Result<DuplexStream> {
        let State { accept, condition, cuts } = self.0.borrow().clone();
        if condition == Condition::Cut {
            return Err(io::Error::new(io::ErrorKind::ConnectionRefused, "the link is cut"));
        }
        let ((near, client), (far, server)) = (duplex(BUFFER), duplex(BUFFER));
        accept(server);
        // The task has a sender: a connection outlives the handles of its link.
        let link = self.clone();
        tokio::spawn(async move {
            let ((from_client, to_client), (from_server, to_server)) = (split(near), split(far));
            let mut state = link.0.subscribe();
            let to_server = link.forward(from_client, to_server, cuts);
            let to_client = link.forward(from_server, to_client, cuts);
            select! {
                _ = state.wait_for(|state| state.cuts != cuts) => {}
                _ = async { join!(to_server, to_client) } => {}
            }
        });
        Ok(client)
    }

    /// Forwards bytes until the stream ends, or until a read or write fails.
    async fn forward(
        &self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        cuts: u64,
    ) -> Option<()> {
        let (mut buffer, mut state) = (vec![0; BUFFER], self.0.subscribe());
        loop {
            let count = from.read(&mut buffer).await.ok()?;
            // After a cut, the bytes that a frozen link holds must not pass.
            state.wait_for(|state| state.condition != Condition::Frozen && state.cuts == cuts).await.ok()?;
            if count == 0 {
                return to.shutdown().await.ok();
            }
            to.write_all(&buffer[..count]).await.ok()?;
        }
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("condition", &self.0.borrow().condition).finish_non_exhaustive()
    }
}

/// Returns a function that lets a server serve a connection.
fn acceptor<I: Identity>(server: &Server<I>) -> Arc<dyn Fn(DuplexStream) + Send + Sync> {
    let server = server.weak();
    Arc::new(move |stream| drop(server.accept(stream)))
}
