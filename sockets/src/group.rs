//! Dynamic calls, by path and name.

use std::{future::Future, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    call_error::CallError,
    listener::{Listener, ListenerFn, ListenerKind},
    method::{Callee, Named},
    session::{ListenerService, Peer, Registration},
};
use sockets_proto::name::{InvalidName, check_path, check_segment, key};

/// A handle to the group of a peer or an audience under a path.
///
/// The handle calls and serves the methods of the group by name, without a contract. A call by name
/// and a call by a stub are the same on the wire.
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

impl Group<Peer> {
    /// Sends an emit to the listeners of `name` in this group, as [`Peer::emit`] does outside of
    /// any group.
    ///
    /// # Errors
    ///
    /// The method has the errors of [`Peer::emit`]. It also fails if the path is invalid.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before completion, the emit has not been sent.
    pub async fn emit(&self, name: &str, args: &(impl Serialize + ?Sized)) -> Result<(), CallError> {
        self.target.emit_to(Callee::Named(&self.named(name)?), args).await
    }

    /// Sends a request to the handler or listener of `name` in this group, as [`Peer::request`]
    /// does outside of any group.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before completion, the call is cancelled, and the peer stops the
    /// handler.
    pub async fn request<R: DeserializeOwned>(
        &self,
        name: &str,
        args: &(impl Serialize + ?Sized),
    ) -> Result<R, CallError> {
        self.target.call(Callee::Named(&self.named(name)?), None, args).await
    }

    /// Adds a listener for `name` in this group, as [`Peer::listen`] does outside of any group.
    ///
    /// # Panics
    ///
    /// The method panics in the cases of [`Peer::listen`]. It also panics if the path is invalid.
    #[track_caller]
    pub fn listen<A, F, Fut>(&self, name: &str, f: F) -> Listener
    where
        A: DeserializeOwned + Send + 'static,
        F: Fn(A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: Serialize + Send> + Send + 'static,
    {
        self.add_listener(name, f, ListenerKind::Listener)
    }

    /// Adds a listener that answers all requests for `name` in this group, as
    /// [`Peer::set_callback`] does outside of any group.
    ///
    /// # Panics
    ///
    /// The method panics in the cases of [`Peer::set_callback`]. It also panics if the path is
    /// invalid.
    #[track_caller]
    pub fn set_callback<A, F, Fut>(&self, name: &str, f: F) -> Listener
    where
        A: DeserializeOwned + Send + 'static,
        F: Fn(A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: Serialize + Send> + Send + 'static,
    {
        self.add_listener(name, f, ListenerKind::Callback)
    }

    #[track_caller]
    fn add_listener<A, F>(&self, name: &str, f: F, kind: ListenerKind) -> Listener
    where
        ListenerFn<F, A>: ListenerService + 'static,
    {
        let listen = Arc::new(ListenerFn::new(f));
        match Listener::add(self.target.session(), &self.path, name, listen, kind) {
            Ok(listener) => {
                self.target.added(|| Registration::Listener(listener.clone()));
                listener
            }
            Err(error) => panic!("{error}"),
        }
    }
}
