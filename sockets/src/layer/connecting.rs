//! Layers around connecting.

use std::{future::Future, sync::Arc};

use futures_util::future::BoxFuture;
use tower_layer::Layer;

use crate::{
    refusal::Refusal,
    server::{AuthFailure, Authenticator, Identity},
    transport::ConnectInfo,
};

/// A service that those who connect to a server go through, to the server's authentication.
pub trait ConnectService<I>: Send + Sync + 'static {
    /// Lets somebody in, mostly by passing on: it gives the identity, or says why not.
    ///
    /// It is a part of the handshake, and has to end within [`Limits::authentication`](crate::Limits::authentication).
    fn connect(&self, connecting: Connecting) -> impl Future<Output = Result<I, Rejection>> + Send;
}

/// Somebody who connects, and has not been authenticated yet.
pub struct Connecting {
    login: Vec<u8>,
    handshake: ConnectInfo,
}

impl Connecting {
    /// What the transport tells.
    pub fn handshake(&self) -> &ConnectInfo {
        &self.handshake
    }

    /// What it has sent to log in with, encoded.
    pub fn login(&self) -> &[u8] {
        &self.login
    }
}

impl std::fmt::Debug for Connecting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the login, which may be a secret.
        f.debug_struct("Connecting").field("handshake", &self.handshake).finish_non_exhaustive()
    }
}

/// Why somebody is not let in: a [`UnsupportedType`], whose words the client is told, or a login that does not decode.
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
            AuthFailure::Misunderstood(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Rejection {}

/// The rest of the way of those who connect: other layers, and then the server's authentication.
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

/// What the server's builder was given.
struct Authenticating<I>(Box<Authenticator<I>>);

impl<I: Identity> ConnectService<I> for Authenticating<I> {
    async fn connect(&self, connecting: Connecting) -> Result<I, Rejection> {
        let Connecting { login, handshake } = connecting;
        (self.0)(&login, handshake).await.map_err(Rejection)
    }
}

type BoxConnectLayer<I> = Box<dyn Fn(Authentication<I>) -> Authentication<I> + Send + Sync>;

/// Layers, the outermost first.
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

    /// Puts them around an authentication.
    pub(crate) fn around(self, authenticate: Box<Authenticator<I>>) -> Box<Authenticator<I>> {
        if self.0.is_empty() {
            return authenticate;
        }
        let innermost = Authentication(Arc::new(Authenticating(authenticate)) as Arc<dyn ErasedConnect<I>>);
        let chain = self.0.iter().rfold(innermost, |next, layer| layer(next));
        Box::new(move |login, handshake| {
            let (chain, connecting) = (chain.clone(), Connecting { login: login.to_vec(), handshake });
            Box::pin(async move { chain.0.connect(connecting).await.map_err(|rejection| rejection.0) })
        })
    }
}
