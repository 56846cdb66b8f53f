//! The services that a call goes through.

use std::{future::Future, sync::Arc};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tower_layer::Layer;

use super::{
    incoming::{LayeredListener, LayeredService},
    request::{Direction, Request, Response},
};
use crate::{
    call_error::CallError,
    session::{Interceptor, ListenerService, OutgoingCall, Service},
};

/// A service that calls and emits go through. A layer makes one around the rest of the way.
pub trait CallService: Send + Sync + 'static {
    /// Handles a call, mostly by passing it on. It may do something before and after that, and may deny the call instead.
    ///
    /// All layers of a call that comes in are a part of its handler: they run on the connection's own task until they first wait,
    /// end with it when it is cancelled or its deadline has passed, and their panic is its panic. The next call may start
    /// when they first wait: a layer that waits before it passes calls on gives up the order in which handlers start. A call
    /// of this side has all of it within its timeout.
    fn call(&self, request: Request<'_>) -> impl Future<Output = Response> + Send;
}

/// The rest of the way of a call: other layers, and then the handler or the connection.
#[derive(Clone)]
pub struct Next(Arc<dyn ErasedCall>);

impl CallService for Next {
    async fn call(&self, request: Request<'_>) -> Response {
        self.0.call(request).await
    }
}

impl std::fmt::Debug for Next {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Next").finish_non_exhaustive()
    }
}

/// A [`CallService`] whose type is forgotten, so that it is not a part of every other type.
pub(super) trait ErasedCall: Send + Sync {
    fn call<'s: 'f, 'r: 'f, 'f>(&'s self, request: Request<'r>) -> BoxFuture<'f, Response>;
}

impl<S: CallService> ErasedCall for S {
    fn call<'s: 'f, 'r: 'f, 'f>(&'s self, request: Request<'r>) -> BoxFuture<'f, Response> {
        Box::pin(CallService::call(self, request))
    }
}

/// The end of all ways.
struct Destination;

impl CallService for Destination {
    async fn call(&self, request: Request<'_>) -> Response {
        request.finish().await
    }
}

type BoxLayer = Box<dyn Fn(Next) -> Next + Send + Sync>;

/// Layers, the outermost first.
#[derive(Default)]
pub(crate) struct Layers {
    incoming: Vec<BoxLayer>,
    outgoing: Vec<BoxLayer>,
}

impl Layers {
    pub(crate) fn add_incoming<L>(&mut self, layer: L)
    where
        L: Layer<Next, Service: CallService> + Send + Sync + 'static,
    {
        self.incoming.push(any(layer));
    }

    pub(crate) fn add_outgoing<L>(&mut self, layer: L)
    where
        L: Layer<Next, Service: CallService> + Send + Sync + 'static,
    {
        self.outgoing.push(any(layer));
    }

    /// What they are together, if there are any.
    pub(crate) fn around(&self) -> Option<Arc<dyn Interceptor>> {
        let chains = LayerChains { incoming: chain(&self.incoming), outgoing: chain(&self.outgoing) };
        (chains.incoming.is_some() || chains.outgoing.is_some()).then(|| Arc::new(chains) as Arc<dyn Interceptor>)
    }
}

fn any<L>(layer: L) -> BoxLayer
where
    L: Layer<Next, Service: CallService> + Send + Sync + 'static,
{
    Box::new(move |next| Next(Arc::new(layer.layer(next))))
}

fn chain(layers: &[BoxLayer]) -> Option<Arc<dyn ErasedCall>> {
    let destination = Next(Arc::new(Destination));
    (!layers.is_empty()).then(|| layers.iter().rfold(destination, |next, layer| layer(next)).0)
}

struct LayerChains {
    incoming: Option<Arc<dyn ErasedCall>>,
    outgoing: Option<Arc<dyn ErasedCall>>,
}

impl Interceptor for LayerChains {
    fn service(&self, service: Arc<dyn Service>) -> Arc<dyn Service> {
        match &self.incoming {
            Some(chain) => Arc::new(LayeredService { chain: Arc::clone(chain), service }),
            None => service,
        }
    }

    fn listen(&self, path: &str, name: &str, listen: Arc<dyn ListenerService>) -> Arc<dyn ListenerService> {
        match &self.incoming {
            Some(chain) => {
                let names = Arc::new((path.to_owned(), name.to_owned()));
                Arc::new(LayeredListener { chain: Arc::clone(chain), listen, names })
            }
            None => listen,
        }
    }

    fn send<'a>(&'a self, outgoing: OutgoingCall<'a>) -> BoxFuture<'a, Result<Bytes, CallError>> {
        let Some(chain) = &self.outgoing else { return (outgoing.send)() };
        let OutgoingCall { callee, kind, peer, length, send } = outgoing;
        let (path, method) = callee.names();
        let request = Request { path, method, kind, peer, length, way: Direction::Out(send) };
        Box::pin(async move { chain.call(request).await.sent() })
    }
}
