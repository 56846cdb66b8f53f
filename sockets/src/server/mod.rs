//! The server: its builder, sockets, rooms and audiences.

mod accept;
mod audience;
mod authentication;
mod builder;
mod call;
mod detached;
mod dynamic;

mod hook;
mod limiter;
mod listen;
mod listening;

mod registry;
mod replies;
mod socket;

use std::{
    hash::{BuildHasher, Hash, RandomState},
    mem,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

pub(crate) use self::replies::{decode_fallible, decode_plain};
#[cfg(feature = "middleware")]
pub(crate) use self::socket::WeakSocket;
pub use self::{
    accept::Accepting,
    audience::{Audience, Excluded},
    builder::{Authenticate, ServerBuilder},
    hook::HookOutcome,
    replies::Replies,
    socket::Socket,
};
use self::{
    audience::Selector, detached::DetachedSessions, limiter::ConnectionLimiter, listening::Listening,
    registry::Registry,
};
use crate::lock::{self, Mutex, RwLock};
use crate::{
    address::without_userinfo,
    broadcast::Fanout,
    disconnect_reason::DisconnectReason,
    limits::Limits,
    refusal::Refusal,
    registration_error::RegistrationError,
    session::{Interceptor, Routes, Session},
    transport::{ConnectInfo, ServerOptions},
};
use sockets_proto::Announcement;

/// What a server's authentication gives for a login: who the client is. Every type that can be one is one.
pub trait Identity: Clone + Eq + Hash + Send + Sync + 'static {}

impl<T: Clone + Eq + Hash + Send + Sync + 'static> Identity for T {}

#[cfg(all(test, feature = "compression"))]
mod compression_tests;
#[cfg(test)]
mod detached_tests;
#[cfg(test)]
mod held_tests;
#[cfg(test)]
mod resumption_tests;

/// How authentication fails.
#[derive(Debug)]
pub(crate) enum AuthFailure {
    Refused(Refusal),
    /// The login is not of the type that is asked for.
    Misunderstood(String),
}

impl From<Refusal> for AuthFailure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

pub(crate) type Authenticator<I> =
    dyn Fn(&[u8], ConnectInfo) -> BoxFuture<'static, Result<I, AuthFailure>> + Send + Sync;
type ConnectedHook<I> = dyn Fn(Socket<I>) -> BoxFuture<'static, Result<(), Refusal>> + Send + Sync;

/// What a server's handles and sockets share.
struct Inner<I> {
    registry: RwLock<Registry<I>>,
    /// Hashes identities, without the registry's lock.
    identity_hasher: RandomState,
    fanout: Fanout<Session>,
    limiter: Arc<ConnectionLimiter>,
    detached: Arc<DetachedSessions>,
    limits: Arc<Limits>,
    options: ServerOptions,
    /// What has been put around calls and emits.
    around: Option<Arc<dyn Interceptor>>,
    routes: Arc<Routes>,
    /// Their signatures, as every client is told them.
    announcement: Option<Announcement>,
    /// What the builder was told to serve may not go together; `bind` says so.
    registration: Result<(), RegistrationError>,
    authenticate: Box<Authenticator<I>>,
    connected: Option<Box<ConnectedHook<I>>>,
    next_socket: AtomicU64,
    next_multi_call: AtomicU64,
    /// In the order in which they were bound.
    local_addrs: Mutex<Vec<SocketAddr>>,
    /// Stops the listeners.
    stop: CancellationToken,
    listeners: Mutex<Vec<Arc<Listening>>>,
}

/// A server. Clones mean the same one; when the last of those that `build` or `bind` returned is dropped, it says
/// goodbye to its sockets and closes. Its addresses are free then.
pub struct Server<I = ()> {
    inner: Arc<Inner<I>>,
    /// What keeps the server open, held for its `Drop`. The handles that sockets and calls give have none.
    keep_open: Option<Arc<ShutdownOnDrop<I>>>,
}

impl Server {
    /// A builder for a server.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::new()
    }
}

/// Closes the server when the last handle is dropped.
struct ShutdownOnDrop<I>(Arc<Inner<I>>);

impl<I> Drop for ShutdownOnDrop<I> {
    fn drop(&mut self) {
        let sessions = self.0.close();
        for session in sessions {
            session.close(DisconnectReason::Closed);
        }
    }
}

impl<I: Identity> Server<I> {
    fn open(inner: Inner<I>) -> Self {
        let inner = Arc::new(inner);
        Self { keep_open: Some(Arc::new(ShutdownOnDrop(Arc::clone(&inner)))), inner }
    }

    /// A handle that does not keep the server open.
    fn weak_handle(inner: Arc<Inner<I>>) -> Self {
        Self { inner, keep_open: None }
    }

    /// The address of the first listener that has one: where `tcp://127.0.0.1:0` ended up.
    ///
    /// # Panics
    ///
    /// If the server listens at no such address yet.
    #[expect(clippy::expect_used, reason = "asking a server that listens nowhere where it listens is a mistake")]
    pub fn local_addr(&self) -> SocketAddr {
        *self.local_addrs().first().expect("the server has no listener with an address yet: bind one first")
    }

    /// The addresses of all listeners that have one, in the order in which they were bound. Those of Unix sockets have none.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.inner.local_addrs.lock().clone()
    }

    /// How long one may take to come in.
    #[cfg(feature = "axum")]
    pub(crate) fn authentication_timeout(&self) -> Duration {
        self.inner.limits.authentication
    }

    /// Which pages may connect.
    #[cfg(feature = "axum")]
    pub(crate) fn origins(&self) -> &crate::transport::Origins {
        &self.inner.options.origins
    }

    /// Everyone.
    pub fn all(&self) -> Audience<I> {
        self.audience(Selector::All)
    }

    /// Those who are in a room. A room exists while somebody is in it.
    pub fn room(&self, name: &str) -> Audience<I> {
        self.audience(Selector::Room(name.to_owned()))
    }

    /// These sockets, as far as they are connected.
    pub fn clients<S: std::borrow::Borrow<Socket<I>>>(&self, sockets: impl IntoIterator<Item = S>) -> Audience<I> {
        self.audience(Selector::sockets(sockets))
    }

    /// All sockets of these identities.
    pub fn users<U: std::borrow::Borrow<I>>(&self, identities: impl IntoIterator<Item = U>) -> Audience<I> {
        self.audience(Selector::users(&self.inner, identities))
    }

    fn audience(&self, selector: Selector<I>) -> Audience<I> {
        Audience::new(Arc::clone(&self.inner), selector)
    }

    /// All sockets, in the order in which they connected.
    pub fn sockets(&self) -> Vec<Socket<I>> {
        self.all().sockets()
    }

    /// The newest socket of an identity.
    pub fn socket(&self, identity: &I) -> Option<Socket<I>> {
        self.sockets_of(identity).pop()
    }

    /// The sockets of an identity, oldest first.
    pub fn sockets_of(&self, identity: &I) -> Vec<Socket<I>> {
        let hash = self.inner.hash(identity);
        let mut sockets: Vec<_> = self.inner.registry.read().sockets_with(hash).cloned().collect();
        lock::assert_unlocked();
        sockets.retain(|socket| *socket.identity() == *identity);
        sockets
    }

    /// The names of all rooms, in alphabetical order.
    pub fn rooms(&self) -> Vec<String> {
        self.inner.registry.read().rooms()
    }

    /// Shuts the server down: it listens no more and takes no new calls, tells its clients so, waits for what is under
    /// way, at most for [`Limits::shutdown_grace`], and then disconnects everyone. `on_disconnect` hooks have been started
    /// by then, and are not waited for. A handler that blocks its thread is given up on after another second.
    ///
    /// Called by a handler, listener, layer or `connected` hook of one of its sessions, which it would wait for, it returns at
    /// once, and the server drains in the background.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it leaves sockets that are not drained connected; it may be called again.
    pub async fn shutdown(&self) {
        self.shut_down(None).await;
    }

    /// As [`shutdown`](Self::shutdown), for a server that is going to be there again, or another one at its address: clients that
    /// come back by themselves ([`ClientBuilder::reconnect`](crate::ClientBuilder::reconnect)) are told to do so, each after its own
    /// part of this time, so that they do not come all at once. They start anew then. The others hear of a shutdown.
    ///
    /// # Cancel safety
    ///
    /// As [`shutdown`](Self::shutdown).
    pub async fn shutdown_for_restart(&self, within: Duration) {
        self.shut_down(Some((within, None))).await;
    }

    /// As [`shutdown_for_restart`](Self::shutdown_for_restart), for a server that another one follows at another address. Clients
    /// that have come over the same transport (`tcp://` and so on) go there, with their logins; they try their old address, too, until one
    /// of the two takes them in. A user and a password in the address are removed: clients send those of their own
    /// address.
    ///
    /// # Cancel safety
    ///
    /// As [`shutdown`](Self::shutdown).
    pub async fn shutdown_with_redirect(&self, url: &str, within: Duration) {
        self.shut_down(Some((within, Some(&without_userinfo(url))))).await;
    }

    /// `back` states within which time clients come back, and perhaps where.
    async fn shut_down(&self, back: Option<(Duration, Option<&str>)>) {
        let sessions = self.inner.close();
        let is_own = sessions.iter().any(Session::runs_here);
        let grace = self.inner.limits.shutdown_grace;
        let count = u32::try_from(sessions.len()).unwrap_or(u32::MAX);
        let drains = (0..).zip(sessions).map(|(number, session)| {
            let back = back.map(|(within, at)| ((within / count).saturating_mul(number), at.map(str::to_owned)));
            session.drain(grace, back)
        });
        let drained = futures_util::future::join_all(drains);
        if is_own {
            // It would wait for its own caller.
            tokio::spawn(drained);
        } else {
            drained.await;
        }
    }
}

impl<I: Hash> Inner<I> {
    /// Hashes an identity, as the registry knows it.
    fn hash(&self, identity: &I) -> u64 {
        lock::assert_unlocked();
        self.identity_hasher.hash_one(identity)
    }
}

impl<I> Inner<I> {
    /// Closes the listeners, whose addresses are free when this returns, and admits no client any more. Returns the sessions
    /// of the server.
    fn close(&self) -> Vec<Arc<Session>> {
        self.stop.cancel();
        for listening in mem::take(&mut *self.listeners.lock()) {
            listening.close();
        }
        self.registry.write().close()
    }

    fn next_multi_call(&self) -> u64 {
        self.next_multi_call.fetch_add(1, Ordering::Relaxed)
    }
}

impl<I> Clone for Server<I> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), keep_open: self.keep_open.clone() }
    }
}

impl<I> std::fmt::Debug for Server<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Formatting runs the code of whoever takes the text.
        let local_addrs = self.inner.local_addrs.lock().clone();
        f.debug_struct("Server").field("local_addrs", &local_addrs).finish_non_exhaustive()
    }
}
