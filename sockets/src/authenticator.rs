//! The function by which a server authenticates clients.

use std::future::Future;

use futures_util::{TryFutureExt, future::BoxFuture};
use serde::de::DeserializeOwned;

use crate::{identity::Identity, refusal::Refusal, transport::ConnectInfo};

/// A function that authenticates clients. The function takes the login, or the login and a
/// [`ConnectInfo`]. It returns a future of `Result<I, Refusal>` or `Result<Admission<I>, Refusal>`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot authenticate",
    label = "write `|login: Login| async move {{ .. }}` or `|login: Login, info: \
             ConnectInfo| async move {{ .. }}`, which return `Result<I, Refusal>`",
    note = "the login needs `#[derive(serde::Deserialize)]`, and the identity `I` `#[derive(Clone, sockets::Identity)]`"
)]
pub trait Authenticate<Args>: Send + Sync + 'static {
    /// The type of the login that the client sends.
    type Login: DeserializeOwned;

    /// The identity of an admitted client.
    type Identity: Identity;

    /// Returns the admission of the client, or a refusal.
    fn authenticate(
        &self,
        login: Self::Login,
        info: ConnectInfo,
    ) -> impl Future<Output = Result<Admission<Self::Identity>, Refusal>> + Send + 'static;
}

impl<F, Fut, L, A> Authenticate<(L, A)> for F
where
    F: Fn(L) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<A, Refusal>> + Send + 'static,
    L: DeserializeOwned,
    A: IntoAdmission,
{
    type Login = L;
    type Identity = A::Identity;

    fn authenticate(
        &self,
        login: L,
        _: ConnectInfo,
    ) -> impl Future<Output = Result<Admission<A::Identity>, Refusal>> + Send + 'static {
        self(login).map_ok(A::into_admission)
    }
}

impl<F, Fut, L, A> Authenticate<(L, ConnectInfo, A)> for F
where
    F: Fn(L, ConnectInfo) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<A, Refusal>> + Send + 'static,
    L: DeserializeOwned,
    A: IntoAdmission,
{
    type Login = L;
    type Identity = A::Identity;

    fn authenticate(
        &self,
        login: L,
        info: ConnectInfo,
    ) -> impl Future<Output = Result<Admission<A::Identity>, Refusal>> + Send + 'static {
        self(login, info).map_ok(A::into_admission)
    }
}

/// An identity that a server has admitted.
#[derive(Clone, Debug)]
pub struct Admission<I> {
    identity: I,
}

impl<I: Identity> Admission<I> {
    /// Admits an identity as long as its session lasts.
    pub fn new(identity: I) -> Self {
        Self { identity }
    }

    /// Returns the admitted identity.
    pub fn identity(&self) -> &I {
        &self.identity
    }

    pub(crate) fn into_identity(self) -> I {
        self.identity
    }
}

/// An [`Identity`], or the [`Admission`] of an identity.
pub trait IntoAdmission: 'static {
    /// The admitted identity.
    type Identity: Identity;

    /// Returns the admission.
    fn into_admission(self) -> Admission<Self::Identity>;
}

impl<I: Identity> IntoAdmission for I {
    type Identity = I;

    fn into_admission(self) -> Admission<I> {
        Admission::new(self)
    }
}

impl<I: Identity> IntoAdmission for Admission<I> {
    type Identity = I;

    fn into_admission(self) -> Self {
        self
    }
}

/// The message to a client if its authentication panics, or fails in a layer.
pub(crate) const FAILED: &str = "the server failed to authenticate the client";

/// The error of an authentication.
#[derive(Debug)]
pub(crate) enum AuthFailure {
    Refused(Refusal),
    /// The login cannot be decoded as the type of the authentication.
    InvalidLogin(String),
}

impl From<Refusal> for AuthFailure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// The authentication of a server, with its layers.
pub(crate) type Authenticator<I> =
    dyn Fn(&[u8], ConnectInfo) -> BoxFuture<'static, Result<Admission<I>, AuthFailure>> + Send + Sync;
