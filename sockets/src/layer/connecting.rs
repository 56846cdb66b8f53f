//! Layers around the authentication of clients.

use std::{
    fmt,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tower::BoxError;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    authenticator::{Admission, AuthFailure, Authenticator, FAILED},
    identity::Identity,
    lock::event,
    peer_label::PeerLabel,
    refusal::Refusal,
    transport::ConnectInfo,
};

/// A client that is connecting and is not authenticated yet.
pub struct Connecting {
    login: Bytes,
    info: ConnectInfo,
}

impl Connecting {
    /// Returns the facts about the connection.
    pub fn info(&self) -> &ConnectInfo {
        &self.info
    }

    /// Returns the encoded login of the client.
    pub fn login(&self) -> &Bytes {
        &self.login
    }
}

impl fmt::Debug for Connecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The output does not contain the login, which may be a secret.
        f.debug_struct("Connecting").field("info", &self.info).finish_non_exhaustive()
    }
}

/// The next service of a layer. It is the service of another layer. For the innermost layer, it is
/// the server's authentication. It is always ready.
///
/// Its error is a [`Refusal`], the error of a layer, or an error for a login that the server cannot
/// decode.
pub struct Authentication<I>(Arc<AuthenticateFn<I>>);

type AuthenticateFn<I> = dyn Fn(Connecting) -> BoxFuture<'static, Result<Admission<I>, BoxError>> + Send + Sync;

impl<I> Service<Connecting> for Authentication<I> {
    type Response = Admission<I>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Admission<I>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, connecting: Connecting) -> Self::Future {
        (self.0)(connecting)
    }
}

impl<I> Clone for Authentication<I> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<I> fmt::Debug for Authentication<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authentication").finish_non_exhaustive()
    }
}

/// A login that the server cannot decode. It passes the layers as an error.
#[derive(Debug)]
struct InvalidLogin(String);

impl fmt::Display for InvalidLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidLogin {}

impl From<AuthFailure> for BoxError {
    fn from(failure: AuthFailure) -> Self {
        match failure {
            AuthFailure::Refused(refusal) => refusal.into(),
            AuthFailure::InvalidLogin(message) => InvalidLogin(message).into(),
        }
    }
}

/// Returns the failure of a client's authentication for an error of the layers.
///
/// The client does not receive other errors than refusals, since their text may be internal. It may
/// try again, since such an error is not a decision about the client.
#[cold]
fn failure(error: BoxError, peer: PeerLabel) -> AuthFailure {
    let error = match error.downcast::<Refusal>() {
        Ok(refusal) => return AuthFailure::Refused(*refusal),
        Err(error) => error,
    };
    match error.downcast::<InvalidLogin>() {
        Ok(login) => AuthFailure::InvalidLogin(login.0),
        Err(error) => {
            event!(warn, %peer, %error, "a layer failed an authentication");
            AuthFailure::Refused(Refusal::retry(FAILED))
        }
    }
}

type SharedConnectLayer<I> = Arc<dyn Fn(Authentication<I>) -> Authentication<I> + Send + Sync>;

/// The layers, the innermost first.
#[derive(Clone)]
pub(crate) struct ConnectLayers<I>(Vec<SharedConnectLayer<I>>);

impl<I> Default for ConnectLayers<I> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<I: Identity> ConnectLayers<I> {
    pub(crate) fn add<L>(&mut self, layer: L)
    where
        L: Layer<Authentication<I>> + Send + Sync + 'static,
        L::Service: Service<Connecting, Response = Admission<I>, Error: Into<BoxError>, Future: Send>
            + Clone
            + Send
            + Sync
            + 'static,
    {
        self.0.push(Arc::new(move |next| {
            let service = layer.layer(next);
            Authentication(Arc::new(move |connecting| {
                let mut service = service.clone();
                Box::pin(async move {
                    poll_fn(|cx| service.poll_ready(cx).map_err(Into::into)).await?;
                    service.call(connecting).await.map_err(Into::into)
                })
            }))
        }));
    }

    /// Returns the authentication with the layers around it.
    pub(crate) fn wrap(self, authenticate: Arc<Authenticator<I>>) -> Arc<Authenticator<I>> {
        if self.0.is_empty() {
            return authenticate;
        }
        let innermost = Authentication(Arc::new(move |connecting: Connecting| {
            let decided = authenticate(&connecting.login, connecting.info);
            Box::pin(async move { decided.await.map_err(BoxError::from) }) as BoxFuture<'static, _>
        }));
        let outermost = self.0.iter().fold(innermost, |next, layer| layer(next));
        Arc::new(move |login, info| {
            let peer = PeerLabel::Connecting { address: info.remote_addr };
            let decided = (outermost.0)(Connecting { login: Bytes::copy_from_slice(login), info });
            Box::pin(async move { decided.await.map_err(|error| failure(error, peer)) })
        })
    }
}
