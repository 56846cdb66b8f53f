//! The other side of a connection.

use std::{future::Future, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    call_error::CallError,
    disconnect_reason::DisconnectReason,
    group::Group,
    listener::{Answering, Listener, ListenerFn},
    service::Service,
    session::Session,
};

/// The other side of a connection: what can be called, and what calls.
///
/// [`Client`](crate::Client) and [`Socket`](crate::Socket) are peers too: they dereference to this. A peer is a handle;
/// clones mean the same one, and none of them keeps the connection open.
#[derive(Clone)]
pub struct Peer {
    session: Arc<Session>,
}

impl Peer {
    pub(crate) fn new(session: Arc<Session>) -> Self {
        Self { session }
    }

    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// The group under this path, for dynamic calls; a group is created by being named. A path that breaks the rules is
    /// an error of the calls that use it.
    pub fn group(&self, path: &str) -> Group<Self> {
        Group::root(self.clone()).group(path)
    }

    /// Sends an emit to the listeners of `name` that are in no group, and waits for room in the outgoing buffer.
    ///
    /// `args` is one tuple; a single argument may stand alone, since `(x,)` and `x` are the same bytes.
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
    /// A method that returns a `Result` is answered with that: `R` is `Result<T, E>` then.
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
        Fut: Future<Output: Serialize + Send + Sync> + Send + 'static,
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
        Fut: Future<Output: Serialize + Send + Sync> + Send + 'static,
    {
        Group::root(self.clone()).set_callback(name, f)
    }

    /// Serves a group to this peer alone. It shadows what is served under the same path for all.
    ///
    /// # Panics
    ///
    /// If the path is served to this peer already, a method has the key of another name, or there are too many names.
    pub fn serve(&self, service: impl Service) {
        let served = self.session.change_routes(|routes| routes.serve(Arc::new(service)));
        if let Err(error) = served {
            panic!("{error}");
        }
    }

    /// Runs `f` once when the session has ended, whatever the reason; at once if it has.
    pub fn on_disconnect<F, Fut>(&self, f: F)
    where
        F: FnOnce(DisconnectReason) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.session.on_disconnect(Box::new(|reason| Box::pin(f(reason))));
    }

    /// Waits until the session has ended, and says why.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped and called again.
    pub async fn disconnected(&self) -> DisconnectReason {
        self.session.disconnected().await
    }

    /// Whether the session has not ended.
    pub fn is_connected(&self) -> bool {
        !self.session.is_ending()
    }

    pub(crate) fn add_listener<A, F>(&self, path: &str, name: &str, f: F, answering: Answering) -> Listener
    where
        ListenerFn<F, A>: crate::service::Listen + 'static,
    {
        match Listener::add(&self.session, path, name, Arc::new(ListenerFn::new(f)), answering) {
            Ok(listener) => listener,
            Err(error) => panic!("{error}"),
        }
    }
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Peer").field(&self.session).finish()
    }
}
