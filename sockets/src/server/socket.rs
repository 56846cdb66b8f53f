//! A client, as the server sees it.

use std::{
    hash::{Hash, Hasher},
    mem,
    ops::Deref,
    sync::{Arc, Weak},
};

use super::{Identity, Inner, Server};
use crate::lock::{DroppedUnlocked, RwLock, event};
use crate::{
    disconnect_reason::DisconnectReason,
    session::{Peer, Session},
};
use sockets_proto::name::check_room;

/// A connected client. It is a [`Peer`], with an identity and rooms; clones mean the same one, and none of them keeps
/// the connection open.
pub struct Socket<I = ()>(Arc<SocketInner<I>>);

struct SocketInner<I> {
    number: u64,
    peer: Peer,
    /// A resumption replaces it by an equal one.
    identity: RwLock<Arc<I>>,
    identity_hash: u64,
    server: Arc<Inner<I>>,
    _unlocked: DroppedUnlocked,
}

impl<I> Socket<I> {
    pub(super) fn new(number: u64, peer: Peer, identity: I, server: Arc<Inner<I>>) -> Self
    where
        I: Identity,
    {
        let identity_hash = server.hash(&identity);
        let identity = RwLock::new(Arc::new(identity));
        Self(Arc::new(SocketInner { number, peer, identity, identity_hash, server, _unlocked: DroppedUnlocked }))
    }

    /// The hash of its identity, which is computed once and without a lock.
    pub(super) fn identity_hash(&self) -> u64 {
        self.0.identity_hash
    }

    /// The number of its coming.
    pub(super) fn number(&self) -> u64 {
        self.0.number
    }

    /// Its number and session, as audiences know them.
    pub(super) fn with_number(&self) -> (u64, &Arc<Session>) {
        (self.0.number, self.0.peer.session())
    }

    /// Returns the identity that authentication returned last.
    ///
    /// It can change when the session is resumed over another connection: that client authenticates too, and its
    /// identity replaces the earlier one if the two are equal. So call this where the identity is needed, and do not
    /// keep a copy.
    pub fn identity(&self) -> Arc<I> {
        Arc::clone(&self.0.identity.read())
    }

    /// Replaces the identity by an equal one and returns the earlier one, which is dropped without a lock.
    pub(super) fn replace_identity(&self, identity: Arc<I>) -> Arc<I> {
        mem::replace(&mut *self.0.identity.write(), identity)
    }
}

impl<I: Identity> Socket<I> {
    /// The server. The handle does not keep it open.
    pub fn server(&self) -> Server<I> {
        Server::weak_handle(Arc::clone(&self.0.server))
    }

    /// Joins a room, which is created by that.
    ///
    /// A name that is empty, too long or has control characters in it, and one that is more than
    /// [`Limits::rooms_per_socket`](crate::Limits::rooms_per_socket) allows, is not joined; a warning is traced.
    pub fn join(&self, room: &str) {
        if let Err(error) = check_room(room) {
            event!(warn, %error, "a room is not joined");
        } else if !self.0.server.registry.write().join(self.number(), room) {
            event!(warn, "a room is not joined: the socket is in as many rooms as it may be");
        }
    }

    /// Leaves a room, which is gone when it is empty.
    pub fn leave(&self, room: &str) {
        self.0.server.registry.write().leave(self.number(), room);
    }

    /// The rooms that it is in, in alphabetical order.
    pub fn rooms(&self) -> Vec<String> {
        self.0.server.registry.read().rooms_of(self.number())
    }

    /// Ends the connection with words for the client. What was sent before arrives before them.
    pub fn disconnect(&self, message: &str) {
        self.session().close(DisconnectReason::Kicked(message.to_owned()));
    }

    pub(crate) fn downgrade(&self) -> WeakSocket<I> {
        WeakSocket(Arc::downgrade(&self.0))
    }
}

impl<I> Clone for Socket<I> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<I> Deref for Socket<I> {
    type Target = Peer;

    fn deref(&self) -> &Peer {
        &self.0.peer
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

/// A socket that its session can know without keeping it.
pub(crate) struct WeakSocket<I>(Weak<SocketInner<I>>);

impl<I> WeakSocket<I> {
    pub(crate) fn upgrade(&self) -> Option<Socket<I>> {
        self.0.upgrade().map(Socket)
    }
}
