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

/// A group by its path, on a peer or an audience: the dynamic interface, on the same wire as the typed one.
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

    /// The subgroup under this path.
    pub fn group(&self, path: &str) -> Self {
        let path = if self.path.is_empty() { path.to_owned() } else { format!("{}/{path}", self.path) };
        Self { target: self.target.clone(), path }
    }

    /// What is called.
    pub(crate) fn target(&self) -> &T {
        &self.target
    }

    /// The path.
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
    /// The group under this path, for dynamic calls; a group is created by being named. A path that breaks the rules is
    /// an error of the calls that use it.
    pub fn group(&self, path: &str) -> Group<Self> {
        Group::root(self.clone()).group(path)
    }

    /// Sends an emit to the listeners of `name` that are in no group, and waits for room in the outgoing buffer.
    ///
    /// `args` is one tuple; a single argument may stand alone, since `(x,)` and `x` are the same bytes. Nobody checks types
    /// here, so mind those of literals: `2` is an `i32`, and for a listener that takes a `u32` it has to be `2_u32`.
    ///
    /// # Errors
    ///
    /// If the name is not legal, the arguments do not encode or are too large, or the connection has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it has sent nothing.
    pub async fn emit<A: Serialize + ?Sized>(&self, name: &str, args: &A) -> Result<(), CallError> {
        Group::root(self.clone()).emit(name, args).await
    }

    /// Makes a request of whoever answers `name` and is in no group.
    ///
    /// `args` is as for [`emit`](Self::emit). A method that returns a `Result` is answered with that: `R` is `Result<T, E>`
    /// then.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it cancels the call: its handler is stopped at its next suspension.
    pub async fn request<R: DeserializeOwned>(
        &self,
        name: &str,
        args: &(impl Serialize + ?Sized),
    ) -> Result<R, CallError> {
        Group::root(self.clone()).request(name, args).await
    }

    /// Listens to `name`, in no group. Emits are heard by all listeners; a request is answered by the first.
    ///
    /// Arguments are one tuple: `|(item, count): (String, u32)| async move { … }`. What is returned is the reply.
    ///
    /// # Panics
    ///
    /// If the name is not legal, has the key of another one, or is one too many.
    pub fn listen<A, F, Fut>(&self, name: &str, f: F) -> Listener
    where
        A: DeserializeOwned + Send + 'static,
        F: Fn(A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: Serialize + Send> + Send + 'static,
    {
        Group::root(self.clone()).listen(name, f)
    }

    /// Answers requests to `name`, in no group, instead of whoever does now.
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
    /// As [`Peer::emit`], in this group.
    ///
    /// # Errors
    ///
    /// As [`Peer::emit`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it has sent nothing.
    pub async fn emit<A: Serialize + ?Sized>(&self, name: &str, args: &A) -> Result<(), CallError> {
        self.target.session().emit(Callee::Named(&self.named(name)?), args).await
    }

    /// As [`Peer::request`], in this group.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it cancels the call on the other side.
    pub async fn request<R: DeserializeOwned>(
        &self,
        name: &str,
        args: &(impl Serialize + ?Sized),
    ) -> Result<R, CallError> {
        self.target.session().call(Callee::Named(&self.named(name)?), None, args).await
    }

    /// As [`Peer::listen`], in this group.
    ///
    /// # Panics
    ///
    /// As [`Peer::listen`], and if the path is not legal.
    pub fn listen<A, F, Fut>(&self, name: &str, f: F) -> Listener
    where
        A: DeserializeOwned + Send + 'static,
        F: Fn(A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: Serialize + Send> + Send + 'static,
    {
        self.add_listener(name, f, ListenerKind::InTurn)
    }

    /// As [`Peer::set_callback`], in this group.
    ///
    /// # Panics
    ///
    /// As [`Peer::listen`], and if the path is not legal.
    pub fn set_callback<A, F, Fut>(&self, name: &str, f: F) -> Listener
    where
        A: DeserializeOwned + Send + 'static,
        F: Fn(A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: Serialize + Send> + Send + 'static,
    {
        self.add_listener(name, f, ListenerKind::Always)
    }

    fn add_listener<A, F>(&self, name: &str, f: F, answering: ListenerKind) -> Listener
    where
        ListenerFn<F, A>: ListenerService + 'static,
    {
        let listen = Arc::new(ListenerFn::new(f));
        match Listener::add(self.target.session(), &self.path, name, listen, answering) {
            Ok(listener) => listener,
            Err(error) => panic!("{error}"),
        }
    }
}
