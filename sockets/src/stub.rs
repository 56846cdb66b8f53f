//! What the stubs of all groups have in common.

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    call_error::CallError,
    client::Client,
    method::{Callee, Method},
    server::{Audience, Identity, Replies, Socket, decode_fallible, decode_plain},
    session::Peer,
};

/// What a stub can be made for: a [`Client`], a [`Socket`], a [`Peer`], an [`Audience`], or a reference to one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be called",
    label = "give a `&Client`, `&Socket`, `&Peer` or `&Audience`"
)]
pub trait Callable {
    /// What the stub calls. It decides what a request gives.
    type Target;

    /// The target, as a handle that keeps nothing open.
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

/// The inside of every `XClient<T>`.
#[derive(Clone, Debug)]
pub struct Stub<T> {
    target: T,
    timeout: Option<Duration>,
}

impl<T> Stub<T> {
    /// A stub for a target.
    pub fn new<C: Callable<Target = T> + ?Sized>(target: &C) -> Self {
        Self { target: target.target(), timeout: None }
    }

    /// The same with a deadline for every request.
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// What the caller has set, or the trait.
    fn timeout(&self, method: &Method) -> Option<Duration> {
        self.timeout.or(method.timeout)
    }
}

impl Stub<Peer> {
    /// Calls a method that returns a plain value. Dropping the future stops the handler at its next suspension.
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

    /// Calls a method that returns a `Result`.
    ///
    /// # Errors
    ///
    /// The handler's own error, and what else can happen to a call: see [`CallError`].
    pub async fn try_request<R: DeserializeOwned, E: DeserializeOwned>(
        &self,
        method: &'static Method,
        args: &(impl Serialize + ?Sized),
    ) -> Result<R, CallError<E>> {
        let reply = self.request::<Result<R, E>>(method, args).await.map_err(CallError::widen)?;
        reply.map_err(CallError::Handler)
    }

    /// Sends an emit.
    ///
    /// # Errors
    ///
    /// If the arguments do not encode or are too large, the other side serves the method with another signature, or the
    /// connection has ended.
    pub async fn emit<A: Serialize + ?Sized>(&self, method: &'static Method, args: &A) -> Result<(), CallError> {
        self.target.session().emit(Callee::Declared(method), args).await
    }
}

impl<I: Identity> Stub<Audience<I>> {
    /// Asks every member by a method that returns a plain value.
    pub fn request<R: DeserializeOwned>(
        &self,
        method: &'static Method,
        args: &(impl Serialize + ?Sized),
    ) -> Replies<I, R> {
        self.target.request_all(Callee::Declared(method), self.timeout(method), args, decode_plain)
    }

    /// Asks every member by a method that returns a `Result`.
    pub fn try_request<R: DeserializeOwned, E: DeserializeOwned>(
        &self,
        method: &'static Method,
        args: &(impl Serialize + ?Sized),
    ) -> Replies<I, R, E> {
        self.target.request_all(Callee::Declared(method), self.timeout(method), args, decode_fallible)
    }

    /// Sends an emit to every member.
    ///
    /// # Errors
    ///
    /// If the arguments do not encode or are too large.
    pub async fn emit<A: Serialize + ?Sized>(&self, method: &'static Method, args: &A) -> Result<(), CallError> {
        self.target.emit_to_all(Callee::Declared(method), args).await
    }
}
