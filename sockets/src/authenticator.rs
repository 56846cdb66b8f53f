//! The function by which a server authenticates clients.

use std::future::Future;

use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;

use crate::{refusal::Refusal, transport::ConnectInfo};

/// A function that authenticates clients. The function takes the login, or the login and a
/// [`ConnectInfo`]. It returns a future of `Result<I, Refusal>`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot authenticate",
    label = "write `|login: Login| async move {{ .. }}` or `|login: Login, info: \
             ConnectInfo| async move {{ .. }}`, which return `Result<I, Refusal>`"
)]
pub trait Authenticate<Args, I>: Send + Sync + 'static {
    /// The type of the login that the client sends.
    type Login: DeserializeOwned;

    /// Returns the identity of the client, or a refusal.
    fn authenticate(
        &self,
        login: Self::Login,
        info: ConnectInfo,
    ) -> impl Future<Output = Result<I, Refusal>> + Send + 'static;
}

impl<F, Fut, L, I> Authenticate<(L,), I> for F
where
    F: Fn(L) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<I, Refusal>> + Send + 'static,
    L: DeserializeOwned,
{
    type Login = L;

    fn authenticate(&self, login: L, _: ConnectInfo) -> impl Future<Output = Result<I, Refusal>> + Send + 'static {
        self(login)
    }
}

impl<F, Fut, L, I> Authenticate<(L, ConnectInfo), I> for F
where
    F: Fn(L, ConnectInfo) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<I, Refusal>> + Send + 'static,
    L: DeserializeOwned,
{
    type Login = L;

    fn authenticate(&self, login: L, info: ConnectInfo) -> impl Future<Output = Result<I, Refusal>> + Send + 'static {
        self(login, info)
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
    dyn Fn(&[u8], ConnectInfo) -> BoxFuture<'static, Result<I, AuthFailure>> + Send + Sync;
