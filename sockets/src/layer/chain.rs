//! The services through which a call passes.

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

/// A service through which calls and emits pass. A layer wraps the next service in such a service.
pub trait CallService: Send + Sync + 'static {
    /// Handles a call, usually by passing the call to the next service. The service can run code
    /// before and after the next service, or deny the call.
    ///
    /// The layers of a received call are part of its handler. They run in the task of the
    /// connection until their first suspension. When the call is cancelled or its deadline passes,
    /// the layers are stopped together with the handler. A panic of a layer is a panic of the
    /// handler.
    ///
    /// When a layer suspends for the first time, the next call may start. Therefore handlers may
    /// start in another order if a layer suspends before it passes the call to the next service.
    ///
    /// The timeout of a sent call includes the time that its layers take.
    fn call(&self, request: Request<'_>) -> impl Future<Output = Response> + Send;
}

/// The next service of a layer. It is the service of another layer. For the innermost layer, it is
/// the handler of a received call, or the connection for a sent call.
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

/// A type-erased [`CallService`]. With it, the type of a service is not part of other types.
pub(super) trait ErasedCall: Send + Sync {
    fn call<'s: 'f, 'r: 'f, 'f>(&'s self, request: Request<'r>) -> BoxFuture<'f, Response>;
}

impl<S: CallService> ErasedCall for S {
    fn call<'s: 'f, 'r: 'f, 'f>(&'s self, request: Request<'r>) -> BoxFuture<'f, Response> {
        Box::pin(CallService::call(self, request))
    }
}

/// The last service of each chain: the handler or the connection.
struct Destination;

impl CallService for Destination {
    async fn call(&self, request: Request<'_>) -> Response {
        request.finish().await
    }
}

type BoxLayer = Box<dyn Fn(Next) -> Next + Send + Sync>;

/// The layers of a server or client, the outermost first.
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
        self.incoming.push(boxed(layer));
    }

    pub(crate) fn add_outgoing<L>(&mut self, layer: L)
    where
        L: Layer<Next, Service: CallService> + Send + Sync + 'static,
    {
        self.outgoing.push(boxed(layer));
    }

    /// Returns the interceptor that consists of the layers, or `None` if there are no layers.
    pub(crate) fn interceptor(&self) -> Option<Arc<dyn Interceptor>> {
        let chains = LayerChains { incoming: chain(&self.incoming), outgoing: chain(&self.outgoing) };
        (chains.incoming.is_some() || chains.outgoing.is_some()).then(|| Arc::new(chains) as Arc<dyn Interceptor>)
    }
}

fn boxed<L>(layer: L) -> BoxLayer
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
        let request = Request { path, method, kind, peer, length, direction: Direction::Out(send) };
        Box::pin(async move { chain.call(request).await.sent() })
    }
}
