//! Dynamic calls, by path and name.

use std::{future::Future, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    call_error::CallError,
    listener::{Listener, ListenerFn, ListenerKind},
    method::{Callee, Named},
    session::{ListenerService, Peer},
};
use sockets_proto::name::{InvalidName, check_path, check_segment, key};

/// A handle to a group, by its path, of a peer or an audience.
///
/// Its methods call and serve by name, without a contract. Calls by name and calls by stubs are the
/// same on the wire.
///
/// ```
/// # async fn example(client: &sockets::Client) -> Result<(), sockets::CallError> {
/// let refunds = client.group("Purchases").group("Refunds");
/// let refunded: Result<(), String> = refunds.request("refund", &(7_u32,)).await?;
/// refunds.listen("closed", |reason: String| async move { println!("{reason}") });
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Group<T = Peer> {
    target: T,
    path: String,
}

impl<T: Clone> Group<T> {
    pub(crate) fn root(target: T) -> Self {
        Self { target, path: String::new() }
    }

    /// Returns the subgroup under this path.
    pub fn group(&self, path: &str) -> Self {
        let path = if self.path.is_empty() { path.to_owned() } else { format!("{}/{path}", self.path) };
        Self { target: self.target.clone(), path }
    }

    /// Returns the peer or audience that is called.
    pub(crate) fn target(&self) -> &T {
        &self.target
    }

    /// Returns the path, with `/` between its segments.
    pub fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn named<'a>(&'a self, name: &'a str) -> Result<Named<'a>, InvalidName> {
        check_path(&self.path)?;
        check_segment(name)?;
        Ok(Named { key: key(&self.path, name), path: &self.path, name })
    }
}

impl Peer {
    /// Returns the group under this path, for calls by name. Nothing is created or checked.
    ///
    /// An invalid path is an error of the calls that use it.
    pub fn group(&self, path: &str) -> Group<Self> {
        Group::root(self.clone()).group(path)
    }

    /// Sends an emit to the listeners of `name` outside of any group. Waits for capacity in the
    /// outgoing queue.
    ///
    /// `args` is a tuple. A single argument can be passed without a tuple, since `(x,)` and `x`
    /// have the same encoding.
    ///
    /// Types are not checked here, so literals need the type of the listener. For a listener that
    /// takes a `u32`, pass `2_u32`, since `2` is an `i32`.
    ///
    /// # Errors
    ///
    /// If the name is invalid, the arguments cannot be encoded or are too large, or the session has
    /// ended.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before completion, nothing has been sent.
    pub async fn emit<A: Serialize + ?Sized>(&self, name: &str, args: &A) -> Result<(), CallError> {
        Group::root(self.clone()).emit(name, args).await
    }

    /// Sends a request to the handler or listener of `name` outside of any group, and waits for the
    /// reply.
    ///
    /// `args` is as for [`emit`](Self::emit). If the method returns a `Result`, `R` is that
    /// `Result<T, E>`.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before completion, the call is cancelled: its handler is stopped at
    /// its next suspension.
    pub async fn request<R: DeserializeOwned>(
        &self,
        name: &str,
        args: &(impl Serialize + ?Sized),
    ) -> Result<R, CallError> {
        Group::root(self.clone()).request(name, args).await
    }

    /// Adds a listener for `name` outside of any group.
    ///
    /// An emit is passed to all listeners of the name. A request is answered by the first of them.
    ///
    /// Several arguments are a tuple: `|(item, count): (String, u32)| async move { … }`. The value
    /// that the function returns is the reply.
    ///
    /// # Panics
    ///
    /// If the name is invalid, has the same key as another name, or exceeds
    /// [`Limits::names_per_peer`](crate::Limits::names_per_peer).
    pub fn listen<A, F, Fut>(&self, name: &str, f: F) -> Listener
    where
        A: DeserializeOwned + Send + 'static,
        F: Fn(A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: Serialize + Send> + Send + 'static,
    {
        Group::root(self.clone()).listen(name, f)
    }

    /// Adds a listener for `name`, outside of any group, that answers its requests. It replaces the
    /// function that answered them before.
    ///
    /// # Panics
    ///
    /// As [`listen`](Self::listen).
    pub fn set_callback<A, F, Fut>(&self, name: &str, f: F) -> Listener
    where
        A: DeserializeOwned + Send + 'static,
        F: Fn(A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: Serialize + Send> + Send + 'static,
    {
        Group::root(self.clone()).set_callback(name, f)
    }
}

impl Group<Peer> {
    /// Sends an emit, as [`Peer::emit`] does, in this group.
    ///
    /// # Errors
    ///
    /// As [`Peer::emit`], and if the path is invalid.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before completion, nothing has been sent.
    pub async fn emit<A: Serialize + ?Sized>(&self, name: &str, args: &A) -> Result<(), CallError> {
        self.target.session().emit(Callee::Named(&self.named(name)?), args).await
    }

    /// Sends a request, as [`Peer::request`] does, in this group.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before completion, the call is cancelled, and the peer stops its
    /// handler.
    pub async fn request<R: DeserializeOwned>(
        &self,
        name: &str,
        args: &(impl Serialize + ?Sized),
    ) -> Result<R, CallError> {
        self.target.session().call(Callee::Named(&self.named(name)?), None, args).await
    }

    /// Adds a listener, as [`Peer::listen`] does, in this group.
    ///
    /// # Panics
    ///
    /// As [`Peer::listen`], and if the path is invalid.
    pub fn listen<A, F, Fut>(&self, name: &str, f: F) -> Listener
    where
        A: DeserializeOwned + Send + 'static,
        F: Fn(A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: Serialize + Send> + Send + 'static,
    {
        self.add_listener(name, f, ListenerKind::Listener)
    }

    /// Adds a listener that answers requests, as [`Peer::set_callback`] does, in this group.
    ///
    /// # Panics
    ///
    /// As [`Peer::listen`], and if the path is invalid.
    pub fn set_callback<A, F, Fut>(&self, name: &str, f: F) -> Listener
    where
        A: DeserializeOwned + Send + 'static,
        F: Fn(A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: Serialize + Send> + Send + 'static,
    {
        self.add_listener(name, f, ListenerKind::Callback)
    }

    fn add_listener<A, F>(&self, name: &str, f: F, kind: ListenerKind) -> Listener
    where
        ListenerFn<F, A>: ListenerService + 'static,
    {
        let listen = Arc::new(ListenerFn::new(f));
        match Listener::add(self.target.session(), &self.path, name, listen, kind) {
            Ok(listener) => listener,
            Err(error) => panic!("{error}"),
        }
    }
}
