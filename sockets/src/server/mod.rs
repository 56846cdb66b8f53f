//! The server: its builder, sockets, rooms and audiences.

mod accept;
mod audience;
mod authentication;
mod builder;
mod builder_state;
mod detached;
mod join_error;
mod limiter;
mod listening;
mod member;
mod registry;
mod replies;
mod shutdown;
mod socket;
mod socket_id;
mod socket_state;

use std::{
    borrow::Borrow,
    hash::{BuildHasher, Hash, RandomState},
    mem,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::{BoxFuture, join_all};
use tokio::join;
use tokio_util::sync::CancellationToken;

pub(crate) use self::replies::{decode_fallible, decode_plain};
pub use self::{
    accept::Accepting,
    audience::{Audience, Excluded},
    builder::{HookOutcome, ServerBuilder},
    builder_state::{BuilderState, NoIdentityYet, Unset},
    join_error::JoinError,
    member::Member,
    replies::Replies,
    shutdown::Shutdown,
    socket::Socket,
    socket_id::SocketId,
    socket_state::SocketState,
};
use self::{
    audience::Selector,
    detached::DetachedSessions,
    limiter::ConnectionLimiter,
    listening::{Listening, ListeningGuard, listen},
    registry::Registry,
};
use crate::lock::{self, Mutex, RwLock};
use crate::{
    address::Address,
    authenticator::Authenticator,
    backoff::random_fraction,
    broadcast::Fanout,
    connect_error::BindError,
    identity::{Identity, IntoKey},
    limits::Limits,
    refusal::Refusal,
    session::{DetachedHandlers, Interceptor, Routes, Session},
    transport::{Acceptor, ServerOptions},
};
use sockets_proto::Announcement;

#[cfg(test)]
mod detached_tests;
#[cfg(test)]
mod held_tests;
#[cfg(test)]
mod resumption_tests;

type ConnectedHook<I> = dyn Fn(Socket<I>) -> BoxFuture<'static, Result<(), Refusal>> + Send + Sync;

/// The state that the handles and sockets of a server share.
struct Inner<I> {
    registry: RwLock<Registry<I>>,
    /// The hasher of keys. It must not run while the registry is locked, since the `Hash` of a key is
    /// user code.
    key_hasher: RandomState,
    fanout: Fanout<Session>,
    limiter: Arc<ConnectionLimiter>,
    detached: Arc<DetachedSessions>,
    detached_handlers: Arc<DetachedHandlers>,
    limits: Arc<Limits>,
    options: ServerOptions,
    /// The layers around calls and emits.
    interceptor: Option<Arc<dyn Interceptor>>,
    routes: Arc<Routes>,
    /// The announcement of the methods of `routes`. The server sends it to each client.
    announcement: Option<Announcement>,
    authenticate: Arc<Authenticator<I>>,
    connected: Vec<Arc<ConnectedHook<I>>>,
    /// The random part of the IDs of this server's sockets.
    id_prefix: u64,
    next_socket: AtomicU64,
    next_multi_call: AtomicU64,
    /// The addresses in the order in which they were bound.
    local_addrs: Mutex<Vec<SocketAddr>>,
    /// The token that stops the listeners.
    stop: CancellationToken,
    listeners: Mutex<Vec<Arc<Listening>>>,
}

#[cfg(feature = "middleware")]
impl<I> Inner<I> {
    /// Returns the layers around outgoing calls, if there are any.
    fn outgoing_interceptor(&self) -> Option<&dyn Interceptor> {
        self.interceptor.as_deref().filter(|layers| layers.wraps_outgoing())
    }
}

/// A handle to a server.
///
/// Clones refer to the same server. `build` and `bind` return the first handle. When that handle
/// and all of its clones are dropped, the server closes all sessions and listeners, as by
/// [`shutdown`](Server::shutdown) without grace. Its addresses are then free.
pub struct Server<I = ()> {
    inner: Arc<Inner<I>>,
    /// The guard that keeps the server open. Handles from sockets and calls have no guard, since
    /// they do not keep the server open.
    keep_open: Option<Arc<ShutdownOnDrop<I>>>,
}

impl Server {
    /// Returns a builder with default settings.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::new()
    }
}

/// A guard that closes the server when the last handle is dropped.
struct ShutdownOnDrop<I>(Arc<Inner<I>>);

impl<I> Drop for ShutdownOnDrop<I> {
    fn drop(&mut self) {
        let shutdown = Shutdown::new();
        for (session, delay) in self.0.close(&shutdown) {
            session.shut_down(shutdown.reason(), delay);
        }
        self.0.detached_handlers.stop();
    }
}

impl<I: Identity> Server<I> {
    fn open(inner: Inner<I>) -> Self {
        let inner = Arc::new(inner);
        Self { keep_open: Some(Arc::new(ShutdownOnDrop(Arc::clone(&inner)))), inner }
    }

    /// Returns a handle that does not keep the server open.
    fn weak_handle(inner: Arc<Inner<I>>) -> Self {
        Self { inner, keep_open: None }
    }

    /// Returns a handle to this server that does not keep it open.
    #[cfg(feature = "test-util")]
    pub(crate) fn weak(&self) -> Self {
        Self::weak_handle(Arc::clone(&self.inner))
    }

    /// Listens on an address. The method can be called several times, with addresses of different
    /// transports. Rooms and audiences include the clients of all addresses.
    ///
    /// - With `tcp://host:0`, the system chooses the port. [`local_addrs`](Self::local_addrs)
    ///   returns the address with this port.
    /// - With `ws://host:port/path`, the server accepts WebSockets at that path only. Without a
    ///   path, or with `/`, the server accepts them at every path, and the authentication can check
    ///   the path.
    /// - With `unix:///path`, the server replaces the file of a Unix socket if no process listens
    ///   on it any more.
    ///
    /// # Errors
    ///
    /// The method fails if the address is invalid, or if the system refuses to listen on the
    /// address. It also fails if the server has been shut down. See [`BindError`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before completion, the server does not listen on the address.
    pub async fn bind(&self, url: &str) -> Result<(), BindError> {
        if self.inner.registry.read().closed().is_some() {
            return Err(BindError::ShutDown);
        }
        let address = Address::to_listen(url)?;
        let acceptor = Acceptor::bind(address, &self.inner.options, &self.inner.limits)
            .await
            .map_err(|error| BindError::Listen { address: url.to_owned(), source: error })?;
        if let Some(local_addr) = acceptor.local_addr() {
            self.inner.local_addrs.lock().push(local_addr);
        }
        let listening = Arc::new(Listening::new(acceptor));
        self.inner.listeners.lock().push(Arc::clone(&listening));
        if self.inner.stop.is_cancelled() {
            // `shutdown` has closed the other listeners already.
            listening.close();
            return Err(BindError::ShutDown);
        }
        tokio::spawn(listen(Arc::clone(&self.inner), ListeningGuard(listening)));
        Ok(())
    }

    /// Returns the first socket address to which the server was bound. After a `bind` to
    /// `tcp://127.0.0.1:0`, the address contains the port that the system chose.
    ///
    /// # Panics
    ///
    /// The method panics if no listener of the server has a socket address.
    #[expect(clippy::expect_used, reason = "the caller must have bound an address")]
    pub fn local_addr(&self) -> SocketAddr {
        *self.local_addrs().first().expect("the server does not listen on an address: call `bind` first")
    }

    /// Returns the socket addresses of all listeners, in the order of `bind`. Unix sockets are not
    /// included.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.inner.local_addrs.lock().clone()
    }

    /// Returns the time limit of a handshake.
    #[cfg(feature = "axum")]
    pub(crate) fn authentication_timeout(&self) -> Duration {
        self.inner.limits.authentication
    }

    /// Returns the origins of pages that may connect.
    #[cfg(feature = "axum")]
    pub(crate) fn origins(&self) -> &crate::transport::Origins {
        &self.inner.options.origins
    }

    /// Returns the audience of all sockets.
    pub fn all(&self) -> Audience<I> {
        self.audience(Selector::All)
    }

    /// Returns the audience of the members of a room. A room exists while it has members.
    pub fn room(&self, name: &str) -> Audience<I> {
        self.audience(Selector::Room(name.to_owned()))
    }

    /// Returns the audience of these sockets. Disconnected sockets are ignored.
    pub fn clients<S: Borrow<Socket<I>>>(&self, sockets: impl IntoIterator<Item = S>) -> Audience<I> {
        self.audience(Selector::sockets(sockets))
    }

    /// Returns the audience of all sockets of these users, who are named by the keys of their
    /// identities.
    pub fn users<K: IntoKey<I::Key>>(&self, keys: impl IntoIterator<Item = K>) -> Audience<I> {
        self.audience(Selector::users(&self.inner, keys))
    }

    fn audience(&self, selector: Selector<I>) -> Audience<I> {
        Audience::new(Arc::clone(&self.inner), selector)
    }

    /// Returns all sockets, in the order in which they connected.
    pub fn sockets(&self) -> Vec<Socket<I>> {
        self.all().sockets()
    }

    /// Returns the most recently connected socket of the user with this key.
    pub fn socket<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<Socket<I>>
    where
        I::Key: Borrow<Q>,
    {
        self.sockets_of(key).pop()
    }

    /// Returns the sockets of the user with this key, in the order in which they connected.
    pub fn sockets_of<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Vec<Socket<I>>
    where
        I::Key: Borrow<Q>,
    {
        let hash = self.inner.hash(key);
        let mut sockets: Vec<_> = self.inner.registry.read().sockets_with(hash).cloned().collect();
        lock::assert_unlocked();
        sockets.retain(|socket| socket.identity().key().borrow() == key);
        sockets
    }

    /// Returns the names of all rooms, in alphabetical order.
    pub fn rooms(&self) -> Vec<String> {
        self.inner.registry.read().rooms()
    }

    /// Shuts the server down gracefully. Clients that can reconnect do so.
    ///
    /// The server stops listening, and notifies its clients. It waits for the calls in flight, for
    /// at most [`Limits::shutdown_grace`], and then closes all connections. Calls that a client
    /// makes in the meantime wait for its next connection. Each client reconnects after a different
    /// delay of at most 5 s, and starts a new session. Use
    /// [`shutdown_with`](Self::shutdown_with) to change these times, to redirect the clients to
    /// another address, or to disconnect them for good.
    ///
    /// When the method returns, all `on_disconnect` hooks have been started, but they may not have
    /// completed. If a handler blocks its thread, the method abandons the handler after another
    /// second. A client that does not respond also takes the whole grace and another second.
    ///
    /// If a handler, listener, layer or `connected` hook of this server calls this method, the
    /// server drains in the background. In this case, the method returns without waiting, since it
    /// would otherwise wait for its own caller.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before completion, sockets that are not drained stay connected. The
    /// method can be called again.
    pub async fn shutdown(&self) {
        self.shutdown_with(Shutdown::new()).await;
    }

    /// Shuts the server down, as [`shutdown`](Self::shutdown) does, but with other settings.
    ///
    /// ```
    /// # use sockets::{Server, Shutdown};
    /// # async fn example(server: Server) {
    /// // The clients do not reconnect.
    /// server.shutdown_with(Shutdown::new().for_good("the game is over")).await;
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// The method behaves as [`shutdown`](Self::shutdown) does.
    pub async fn shutdown_with(&self, shutdown: Shutdown) {
        let grace = shutdown.grace_or(self.inner.limits.shutdown_grace);
        let sessions = self.inner.close(&shutdown);
        let is_own = sessions.iter().any(|(session, _)| session.runs_here());
        let drained =
            join_all(sessions.into_iter().map(|(session, delay)| session.drain(grace, shutdown.reason(), delay)));
        let handlers = Arc::clone(&self.inner.detached_handlers);
        let drained = async move { join!(drained, handlers.finish(grace)) };
        if is_own {
            // A handler of this server calls `shutdown`, and the wait would include this handler.
            tokio::spawn(drained);
        } else {
            drained.await;
        }
    }
}

impl<I> Inner<I> {
    /// Returns the hash of a key in the registry.
    fn hash<Q: Hash + ?Sized>(&self, key: &Q) -> u64 {
        lock::assert_unlocked();
        self.key_hasher.hash_one(key)
    }

    /// Closes the listeners and admits no further clients. Returns the sessions of the server, each
    /// with the delay after which its client reconnects.
    ///
    /// When this method returns, the addresses of the listeners are free.
    fn close(&self, shutdown: &Shutdown) -> Vec<(Arc<Session>, Duration)> {
        self.stop.cancel();
        for listening in mem::take(&mut *self.listeners.lock()) {
            listening.close();
        }
        let sessions = self.registry.write().close(shutdown.reason());
        // Each client reconnects in its own part of the time, at a random moment.
        let count = u32::try_from(sessions.len()).unwrap_or(u32::MAX);
        let delay = |number: u32| shutdown.delay((f64::from(number) + random_fraction()) / f64::from(count));
        sessions.into_iter().zip((0..count).map(delay)).collect()
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
        // The lock is released first, since the formatter is user code.
        let local_addrs = self.inner.local_addrs.lock().clone();
        f.debug_struct("Server").field("local_addrs", &local_addrs).finish_non_exhaustive()
    }
}
