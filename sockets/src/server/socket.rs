//! A connected client, from the server's point of view.

use std::{
    any::type_name,
    collections::BTreeSet,
    hash::{Hash, Hasher},
    mem,
    net::SocketAddr,
    sync::{Arc, OnceLock, Weak},
};

use super::{Inner, Server, SocketId, SocketState, join_error::JoinError, socket_state::states_of};
#[cfg(feature = "middleware")]
use crate::layer::Request;
use crate::{
    disconnect_reason::DisconnectReason,
    identity::Identity,
    lock::{DroppedUnlocked, RwLock},
    peer_methods::peer_methods,
    session::{Call, Peer, Session},
    states::States,
    transport::ConnectInfo,
};
use sockets_proto::name::check_room;

/// A handle to a connected client.
///
/// The handle has the methods of a [`Peer`], and adds the client's identity and rooms. Clones refer
/// to the same client. A socket does not keep the connection open.
pub struct Socket<I = ()>(Arc<SocketInner<I>>);

struct SocketInner<I> {
    number: u64,
    peer: Peer,
    /// The identity and the info of the last connection. A resumption replaces both. The new
    /// identity has the same key.
    connection: RwLock<(Arc<I>, Arc<ConnectInfo>)>,
    key_hash: u64,
    /// The rooms that the socket was in when its session ended.
    last_rooms: OnceLock<BTreeSet<String>>,
    server: Arc<Inner<I>>,
    _unlocked: DroppedUnlocked,
}

impl<I> Socket<I> {
    pub(super) fn new(number: u64, peer: Peer, (identity, info): (I, Arc<ConnectInfo>), server: Arc<Inner<I>>) -> Self
    where
        I: Identity,
    {
        let key_hash = server.hash(&identity.key());
        let connection = RwLock::new((Arc::new(identity), info));
        let last_rooms = OnceLock::new();
        Self(Arc::new(SocketInner {
            number,
            peer,
            connection,
            key_hash,
            last_rooms,
            server,
            _unlocked: DroppedUnlocked,
        }))
    }

    /// Returns the hash of the identity's key. The hash is computed once, while no lock is held.
    pub(super) fn key_hash(&self) -> u64 {
        self.0.key_hash
    }

    /// Returns the number of the socket, which follows the order in which sockets connected.
    pub(super) fn number(&self) -> u64 {
        self.0.number
    }

    pub(super) fn last_rooms(&self) -> Option<&BTreeSet<String>> {
        self.0.last_rooms.get()
    }

    /// Sets the rooms that the socket was in when its session ended.
    pub(super) fn set_last_rooms(&self, rooms: BTreeSet<String>) {
        // A socket leaves the registry once.
        let _ = self.0.last_rooms.set(rooms);
    }

    pub(super) fn peer(&self) -> &Peer {
        &self.0.peer
    }

    pub(crate) fn session(&self) -> &Arc<Session> {
        self.0.peer.session()
    }

    /// Returns the number and the session, as audiences need them.
    pub(super) fn with_number(&self) -> (u64, &Arc<Session>) {
        (self.0.number, self.session())
    }

    /// Returns the ID of the session. It does not change when the session is resumed. Two sockets
    /// of the same user have different IDs.
    pub fn id(&self) -> SocketId {
        SocketId::new(self.0.server.id_prefix, self.0.number)
    }

    /// Returns the identity from the last authentication.
    ///
    /// When the session is resumed over another connection, the server authenticates the client
    /// again. The new identity must have the [key](Identity::key) of the former identity, and
    /// replaces it. All other parts can change. Call this method whenever the identity is needed,
    /// and do not store a copy.
    pub fn identity(&self) -> Arc<I> {
        Arc::clone(&self.0.connection.read().0)
    }

    /// Returns the facts about the current connection, or about the last connection if there is
    /// none.
    ///
    /// When the session is resumed over another connection, the facts of that connection replace
    /// the former facts. The server keeps them, with the headers of a WebSocket's request, until the
    /// socket is dropped.
    ///
    /// ```
    /// # use sockets::Socket;
    /// # fn example(socket: &Socket<String>) {
    /// println!("{} is connected over {}", socket.identity(), socket.info().transport());
    /// # }
    /// ```
    pub fn info(&self) -> Arc<ConnectInfo> {
        Arc::clone(&self.0.connection.read().1)
    }

    /// Returns the client's address from [`info`](Self::info). Returns `None` if the transport has
    /// no addresses.
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        self.0.connection.read().1.remote_addr()
    }

    /// Replaces the identity and the info. Returns the former values, which the caller drops while
    /// it holds no lock.
    pub(super) fn set_connection(&self, identity: I, info: Arc<ConnectInfo>) -> (Arc<I>, Arc<ConnectInfo>) {
        let connection = (Arc::new(identity), info);
        mem::replace(&mut *self.0.connection.write(), connection)
    }
}

impl<I: Identity> Socket<I> {
    peer_methods!();

    /// Returns the client as a peer, for code that serves clients and servers alike.
    pub fn as_peer(&self) -> &Peer {
        self.peer()
    }

    /// Returns the server. The handle does not keep the server open.
    pub fn server(&self) -> Server<I> {
        Server::weak_handle(Arc::clone(&self.0.server))
    }

    /// Joins a room. The room is created if it does not exist.
    ///
    /// # Errors
    ///
    /// The method fails if the name of the room is invalid, if the socket is in
    /// [`Limits::rooms_per_socket`](crate::Limits::rooms_per_socket) rooms already, or if its
    /// session has ended.
    pub fn join(&self, room: &str) -> Result<(), JoinError> {
        check_room(room)?;
        self.0.server.registry.write().join(self.number(), room)
    }

    /// Leaves a room. A room without members is removed.
    pub fn leave(&self, room: &str) {
        self.0.server.registry.write().leave(self.number(), room);
    }

    /// Returns `true` if the socket is in this room. After the session has ended, the method
    /// describes the rooms at the end, as [`rooms`](Self::rooms) does.
    pub fn is_in(&self, room: &str) -> bool {
        self.0.server.registry.read().rooms_of(self).is_some_and(|rooms| rooms.contains(room))
    }

    /// Returns the names of the socket's rooms, in alphabetical order.
    ///
    /// When its session ends, a socket leaves its rooms, and so is no member of them any more. After
    /// that, this method still returns their names, for hooks of
    /// [`on_disconnect`](Self::on_disconnect):
    ///
    /// ```
    /// # use sockets::{Server, Socket};
    /// # let builder = Server::builder().authenticate(|name: String| async move { Ok(name) });
    /// builder.connected(|socket: Socket<String>| async move {
    ///     socket.join("lobby")?;
    ///     let leaving = socket.clone();
    ///     socket.on_disconnect(|_| async move {
    ///         for room in leaving.rooms() {
    ///             let left = leaving.server().room(&room).emit("left", &*leaving.identity()).await;
    ///             left.unwrap_or_else(|error| println!("{error}"));
    ///         }
    ///     });
    ///     Ok(())
    /// });
    /// ```
    pub fn rooms(&self) -> Vec<String> {
        self.0.server.registry.read().rooms_of(self).into_iter().flatten().cloned().collect()
    }

    /// Returns a stream of the state changes that follow this call.
    ///
    /// If the client was away and is back before the program asks for the next state, the stream
    /// still returns [`SocketState::Away`] and then [`SocketState::Connected`]. The stream ends
    /// after [`SocketState::Ended`].
    ///
    /// ```
    /// # async fn example(socket: &sockets::Socket<String>) {
    /// use sockets::SocketState;
    ///
    /// let mut states = socket.states();
    /// while let Some(state) = states.next().await {
    ///     match state {
    ///         SocketState::Connected => println!("{} is back", socket.identity()),
    ///         SocketState::Away => println!("{} is away", socket.identity()),
    ///         other => println!("{other:?}"),
    ///     }
    /// }
    /// # }
    /// ```
    pub fn states(&self) -> States<SocketState> {
        states_of(Arc::clone(self.session()))
    }

    /// Disconnects the client with a message. The server sends the message after everything that is
    /// already queued.
    ///
    /// The client's session ends with [`DisconnectReason::Kicked`], and the client does not
    /// reconnect. A client that has no connection at that time does not receive the message. When
    /// it reconnects, it logs in to a new session, unless `authenticate` refuses it.
    pub fn disconnect(&self, message: &str) {
        self.session().close(DisconnectReason::Kicked(message.to_owned()));
    }

    pub(super) fn downgrade(&self) -> WeakSocket<I> {
        WeakSocket(Arc::downgrade(&self.0))
    }
}

impl<I> Clone for Socket<I> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<I> PartialEq for Socket<I> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<I> Eq for Socket<I> {}

impl<I> Hash for Socket<I> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.number.hash(state);
    }
}

impl<I> std::fmt::Debug for Socket<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Socket").field("number", &self.0.number).finish_non_exhaustive()
    }
}

/// A weak reference, by which a session refers to its socket.
pub(super) struct WeakSocket<I>(Weak<SocketInner<I>>);

/// Returns the socket of a peer. Returns `None` on a client, or if no handle to the socket exists.
#[track_caller]
fn socket_of<I: Identity>(peer: &Peer) -> Option<Socket<I>> {
    match peer.session().owner::<WeakSocket<I>>()? {
        Ok(socket) => socket.0.upgrade().map(Socket),
        Err(identity) => panic!("the server's identity is `{identity}`, not `{}`", type_name::<I>()),
    }
}

// `Call` and `Request` belong to modules that do not know servers. Their methods that return a
// socket are therefore here.

impl Call {
    /// Returns the caller's socket. Returns `None` on a client, or if the caller has left and no
    /// handle to its socket exists.
    ///
    /// # Panics
    ///
    /// Panics if `I` is not the server's identity type. The message names both types.
    #[track_caller]
    pub fn socket<I: Identity>(&self) -> Option<Socket<I>> {
        socket_of(self.peer())
    }

    /// Returns the server, for access to its rooms and sockets. Returns `None` in the cases in
    /// which [`socket`](Self::socket) returns `None`. The handle does not keep the server open.
    ///
    /// # Panics
    ///
    /// Panics as [`socket`](Self::socket) does.
    #[track_caller]
    pub fn server<I: Identity>(&self) -> Option<Server<I>> {
        Some(self.socket()?.server())
    }
}

#[cfg(feature = "middleware")]
impl Request {
    /// Returns the socket of the remote peer. Returns `None` on a client, for an emit to an
    /// audience, or if the peer has left and no handle to its socket exists.
    ///
    /// # Panics
    ///
    /// Panics if `I` is not the server's identity type. The message names both types.
    #[track_caller]
    pub fn socket<I: Identity>(&self) -> Option<Socket<I>> {
        socket_of(self.peer()?)
    }
}
