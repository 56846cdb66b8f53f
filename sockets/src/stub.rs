//! The common part of all generated stubs.

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    authenticator::Identity,
    call_error::CallError,
    client::Client,
    method::{Callee, Method},
    server::{Audience, Replies, Socket, decode_fallible, decode_plain},
    session::Peer,
};

/// The target of a stub: a [`Client`], a [`Socket`], a [`Peer`], an [`Audience`], or a reference to
/// any of them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be called",
    label = "pass a `&Client`, `&Socket`, `&Peer` or `&Audience`"
)]
pub trait Callable {
    /// The type of the handle that the stub holds. It determines the result of a request.
    type Target;

    /// Returns a handle to the target. The handle does not keep the target open.
    fn target(&self) -> Self::Target;
}

impl Callable for Peer {
    type Target = Self;

    fn target(&self) -> Self {
        self.clone()
    }
}

impl Callable for Client {
    type Target = Peer;

    fn target(&self) -> Peer {
        Peer::clone(self)
    }
}

impl<I: Identity> Callable for Socket<I> {
    type Target = Peer;

    fn target(&self) -> Peer {
        Peer::clone(self)
    }
}

impl<I: Identity> Callable for Audience<I> {
    type Target = Self;

    fn target(&self) -> Self {
        self.clone()
    }
}

impl<C: Callable + ?Sized> Callable for &C {
    type Target = C::Target;

    fn target(&self) -> C::Target {
        (**self).target()
    }
}

/// The implementation of every generated `XClient<T>`.
#[derive(Clone, Debug)]
pub struct Stub<T> {
    target: T,
    timeout: Option<Duration>,
}

impl<T> Stub<T> {
    /// Returns a stub for a target.
    pub fn new<C: Callable<Target = T> + ?Sized>(target: &C) -> Self {
        Self { target: target.target(), timeout: None }
    }

    /// Sets a timeout for every request of this stub.
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// Returns the timeout of the stub, or else the timeout of the trait.
    fn timeout(&self, method: &Method) -> Option<Duration> {
        self.timeout.or(method.timeout)
    }
}

impl Stub<Peer> {
    /// Sends a request of a method that returns a plain value. If the future is dropped, the peer
    /// stops the handler at the handler's next suspension.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub async fn request<R: DeserializeOwned>(
        &self,
        method: &'static Method,
        args: &(impl Serialize + ?Sized),
    ) -> Result<R, CallError> {
        self.target.session().call(Callee::Declared(method), self.timeout(method), args).await
    }

    /// Sends a request of a method that returns a `Result`. If the future is dropped, the peer
    /// stops the handler at the handler's next suspension.
    ///
    /// # Errors
    ///
    /// Returns [`CallError::Handler`] with the handler's own error. For the other variants, see
    /// [`CallError`].
    pub async fn try_request<R: DeserializeOwned, E: DeserializeOwned>(
        &self,
        method: &'static Method,
        args: &(impl Serialize + ?Sized),
    ) -> Result<R, CallError<E>> {
        let reply = self.request::<Result<R, E>>(method, args).await.map_err(CallError::widen)?;
        reply.map_err(CallError::Handler)
    }

    /// Sends an emit. Waits until the outgoing queue has capacity.
    ///
    /// # Errors
    ///
    /// The method fails if the arguments cannot be encoded or are too large, or if the session has
    /// ended. It also fails if the peer serves the method with another signature.
    pub async fn emit<A: Serialize + ?Sized>(&self, method: &'static Method, args: &A) -> Result<(), CallError> {
        self.target.session().emit(Callee::Declared(method), args).await
    }
}

impl<I: Identity> Stub<Audience<I>> {
    /// Sends a request of a method that returns a plain value. Every member receives the request.
    pub fn request<R: DeserializeOwned>(
        &self,
        method: &'static Method,
        args: &(impl Serialize + ?Sized),
    ) -> Replies<I, R> {
        self.target.request_all(Callee::Declared(method), self.timeout(method), args, decode_plain)
    }

    /// Sends a request of a method that returns a `Result`. Every member receives the request.
    pub fn try_request<R: DeserializeOwned, E: DeserializeOwned>(
        &self,
        method: &'static Method,
        args: &(impl Serialize + ?Sized),
    ) -> Replies<I, R, E> {
        self.target.request_all(Callee::Declared(method), self.timeout(method), args, decode_fallible)
    }

    /// Sends an emit to every member. Waits for slow members as [every emit to an
    /// audience](Audience) does.
    ///
    /// # Errors
    ///
    /// The method fails if the arguments cannot be encoded or are too large.
    pub async fn emit<A: Serialize + ?Sized>(&self, method: &'static Method, args: &A) -> Result<(), CallError> {
        self.target.emit_to_all(Callee::Declared(method), args).await
    }
}
