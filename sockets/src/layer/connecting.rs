//! Layers around the authentication of clients.

use std::{future::Future, sync::Arc};

use futures_util::future::BoxFuture;
use tower_layer::Layer;

use crate::{
    authenticator::{AuthFailure, Authenticator, Identity},
    refusal::Refusal,
    transport::ConnectInfo,
};

/// A service through which connecting clients pass before the server's authentication.
pub trait ConnectService<I>: Send + Sync + 'static {
    /// Authenticates a client, usually by passing the client to the next service. Returns the
    /// client's identity, or a rejection.
    ///
    /// The call is part of the handshake, and must complete within
    /// [`Limits::authentication`](crate::Limits::authentication).
    fn connect(&self, connecting: Connecting) -> impl Future<Output = Result<I, Rejection>> + Send;
}

/// A client that is connecting and is not authenticated yet.
pub struct Connecting {
    login: Vec<u8>,
    info: ConnectInfo,
}

impl Connecting {
    /// Returns the facts about the connection.
    pub fn handshake(&self) -> &ConnectInfo {
        &self.info
    }

    /// Returns the encoded login of the client.
    pub fn login(&self) -> &[u8] {
        &self.login
    }
}

impl std::fmt::Debug for Connecting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The output does not contain the login, which may be a secret.
        f.debug_struct("Connecting").field("info", &self.info).finish_non_exhaustive()
    }
}

/// The reason for rejecting a client. It is a [`Refusal`] with a message for the client, or a login
/// that the server cannot decode.
#[derive(Debug)]
pub struct Rejection(AuthFailure);

impl From<Refusal> for Rejection {
    fn from(refusal: Refusal) -> Self {
        Self(refusal.into())
    }
}

impl std::fmt::Display for Rejection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            AuthFailure::Refused(refusal) => f.write_str(refusal.message()),
            AuthFailure::InvalidLogin(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Rejection {}

/// The next service of a layer. It is the service of another layer. For the innermost layer, it is
/// the server's authentication.
pub struct Authentication<I>(Arc<dyn ErasedConnect<I>>);

impl<I: Identity> ConnectService<I> for Authentication<I> {
    async fn connect(&self, connecting: Connecting) -> Result<I, Rejection> {
        self.0.connect(connecting).await
    }
}

impl<I> Clone for Authentication<I> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<I> std::fmt::Debug for Authentication<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authentication").finish_non_exhaustive()
    }
}

trait ErasedConnect<I>: Send + Sync {
    fn connect(&self, connecting: Connecting) -> BoxFuture<'_, Result<I, Rejection>>;
}

impl<I: Identity, S: ConnectService<I>> ErasedConnect<I> for S {
    fn connect(&self, connecting: Connecting) -> BoxFuture<'_, Result<I, Rejection>> {
        Box::pin(ConnectService::connect(self, connecting))
    }
}

/// The function that was passed to the server's builder.
struct Authenticating<I>(Box<Authenticator<I>>);

impl<I: Identity> ConnectService<I> for Authenticating<I> {
    async fn connect(&self, connecting: Connecting) -> Result<I, Rejection> {
        let Connecting { login, info } = connecting;
        (self.0)(&login, info).await.map_err(Rejection)
    }
}

type BoxConnectLayer<I> = Box<dyn Fn(Authentication<I>) -> Authentication<I> + Send + Sync>;

/// The layers, the outermost first.
pub(crate) struct ConnectLayers<I>(Vec<BoxConnectLayer<I>>);

impl<I> Default for ConnectLayers<I> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<I: Identity> ConnectLayers<I> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn add<L>(&mut self, layer: L)
    where
        L: Layer<Authentication<I>, Service: ConnectService<I>> + Send + Sync + 'static,
    {
        self.0.push(Box::new(move |next| Authentication(Arc::new(layer.layer(next)))));
    }

    /// Returns the authentication with the layers around it.
    pub(crate) fn wrap(self, authenticate: Box<Authenticator<I>>) -> Box<Authenticator<I>> {
        if self.0.is_empty() {
            return authenticate;
        }
        let innermost = Authentication(Arc::new(Authenticating(authenticate)) as Arc<dyn ErasedConnect<I>>);
        let chain = self.0.iter().rfold(innermost, |next, layer| layer(next));
        Box::new(move |login, info| {
            let (chain, connecting) = (chain.clone(), Connecting { login: login.to_vec(), info });
            Box::pin(async move { chain.0.connect(connecting).await.map_err(|rejection| rejection.0) })
        })
    }
}
