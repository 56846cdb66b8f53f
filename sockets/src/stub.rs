//! The common part of all generated stubs.

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    call_error::CallError,
    identity::Identity,
    method::{Callee, Method},
    server::{Audience, Replies, decode_fallible, decode_plain},
    session::Peer,
    target::{IntoTarget, Target},
};

/// The implementation of every generated `XClient<T>`.
#[derive(Clone, Debug)]
pub struct Stub<T> {
    target: T,
    timeout: Option<Duration>,
}

impl<T> Stub<T> {
    /// Returns a stub for a target.
    pub fn new<C: IntoTarget<Target = T> + ?Sized>(target: &C) -> Self {
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

impl<T: Target> Stub<T> {
    /// Sends an emit. For a peer, waits until the outgoing queue has capacity. For an audience,
    /// waits for slow members as [every emit to an audience](Audience) does.
    ///
    /// The method encodes the arguments, so its future is `Send` even if they are not `Sync`.
    ///
    /// # Errors
    ///
    /// The method fails if the arguments cannot be encoded or are too large. For a peer, it also
    /// fails if the session has ended, or if the peer serves the method with another signature.
    pub fn emit(
        &self,
        method: &'static Method,
        args: &(impl Serialize + ?Sized),
    ) -> impl Future<Output = Result<(), CallError>> + Send {
        self.target.emit(method, args)
    }
}

impl Stub<Peer> {
    /// Sends a request of a method that returns a plain value. If the future is dropped, the peer
    /// stops the handler at the handler's next suspension.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub fn request<R: DeserializeOwned>(
        &self,
        method: &'static Method,
        args: &(impl Serialize + ?Sized),
    ) -> impl Future<Output = Result<R, CallError>> {
        self.target.call(Callee::Declared(method), self.timeout(method), args)
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
}
