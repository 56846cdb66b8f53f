//! The services through which a call passes.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::time::timeout_at;
use tower::BoxError;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    incoming::{LayeredListener, LayeredService},
    request::{Request, Response},
};
use crate::{
    call_error::CallError,
    method::OwnedCallee,
    session::{
        GroupService, HandlerFuture, HandlerSlot, Interceptor, LayeredResult, ListenerService, OutgoingCall, Responder,
        Sending,
    },
};
use sockets_proto::name::key;

/// A tower layer around calls and emits. The trait is implemented for every type that meets its
/// bounds, and for no other type.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a layer around calls",
    note = "a `tower_layer::Layer` is needed, with a service that implements \
            `tower_service::Service<sockets::layer::Request, Response = sockets::layer::Response>` and `Clone`"
)]
pub trait CallLayer:
    Layer<
        Next,
        Service: Service<Request, Response = Response, Error: Into<BoxError>, Future: Send>
                     + Clone
                     + Send
                     + Sync
                     + 'static,
    > + Send
    + Sync
    + 'static
{
}

impl<L: Layer<Next, Service: CallService> + Send + Sync + 'static> CallLayer for L {}

/// The bounds of the service of a [`CallLayer`].
pub(super) trait CallService:
    Service<Request, Response = Response, Error: Into<BoxError>, Future: Send> + Clone + Send + Sync + 'static
{
}

impl<S> CallService for S where
    S: Service<Request, Response = Response, Error: Into<BoxError>, Future: Send> + Clone + Send + Sync + 'static
{
}

/// The next service of a layer. It is the service of another layer, or after the last layer the
/// handler or the connection. It is always ready, and returns errors as [`Response`]s.
#[derive(Clone)]
pub struct Next(
    /// `None` after the last layer.
    Option<Arc<dyn ErasedService>>,
);

impl Service<Request> for Next {
    type Response = Response;
    type Error = Infallible;
    type Future = NextFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> NextFuture {
        match &self.0 {
            Some(layer) => NextFuture(NextState::Layer(layer.handle(request))),
            None => request.finish(),
        }
    }
}

impl std::fmt::Debug for Next {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Next").finish_non_exhaustive()
    }
}

/// The future of a [`Next`].
#[must_use = "futures do nothing unless polled"]
pub struct NextFuture(NextState);

enum NextState {
    Layer(BoxFuture<'static, Response>),
    /// A handler and its result. The future is `None` if there is no handler for the method.
    Handler(Option<HandlerFuture>, LayeredResult),
    Sending(Sending),
    Audience(BoxFuture<'static, Result<(), CallError>>),
}

impl NextFuture {
    pub(super) fn handler(future: Option<HandlerFuture>, result: LayeredResult) -> Self {
        Self(NextState::Handler(future, result))
    }

    pub(super) fn sending(sending: Sending) -> Self {
        Self(NextState::Sending(sending))
    }

    pub(super) fn audience(sent: BoxFuture<'static, Result<(), CallError>>) -> Self {
        Self(NextState::Audience(sent))
    }
}

impl Future for NextFuture {
    type Output = Result<Response, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = match &mut self.0 {
            NextState::Layer(layer) => return layer.as_mut().poll(cx).map(Ok),
            NextState::Handler(future, result) => {
                if let Some(future) = future {
                    // A handler that fails has set its result, too.
                    let (Ok(_) | Err(_)) = ready!(future.poll(cx));
                }
                result.take().unwrap_or(Err(CallError::NoSuchMethod))
            }
            NextState::Sending(sending) => ready!(Pin::new(sending).poll(cx)),
            NextState::Audience(sent) => ready!(sent.as_mut().poll(cx)).map(|()| Bytes::new()),
        };
        Poll::Ready(Ok(Response(result)))
    }
}

impl std::fmt::Debug for NextFuture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NextFuture").finish_non_exhaustive()
    }
}

/// The service of a layer without its type. Each method makes a single future of a clone of the
/// service. The clone and its future share one allocation.
pub(super) trait ErasedService: Send + Sync {
    /// Handles a call that has passed an outer layer.
    fn handle(&self, request: Request) -> BoxFuture<'static, Response>;

    /// Handles a received call as the outermost layer. The future answers the call.
    fn answer(&self, request: Request, responder: Responder, slot: &mut HandlerSlot);

    /// Handles an outgoing call as the outermost layer. The deadline of a request ends it.
    fn send(&self, request: Request) -> BoxFuture<'static, Result<Bytes, CallError>>;
}

impl<S: CallService> ErasedService for S {
    fn handle(&self, request: Request) -> BoxFuture<'static, Response> {
        Box::pin(run(self.clone(), request))
    }

    fn answer(&self, request: Request, responder: Responder, slot: &mut HandlerSlot) {
        let running = run(self.clone(), request);
        slot.put(async move { responder.finish(running.await.0).await });
    }

    fn send(&self, request: Request) -> BoxFuture<'static, Result<Bytes, CallError>> {
        let (is_emit, deadline) = (request.is_emit(), request.deadline());
        let running = run(self.clone(), request);
        Box::pin(async move {
            let response = if is_emit { Ok(running.await) } else { timeout_at(deadline.into(), running).await };
            response.map_or(Err(CallError::Timeout), |response| response.0)
        })
    }
}

/// Calls a service when it is ready.
async fn run<S: CallService>(mut service: S, request: Request) -> Response {
    let (callee, peer) = (request.callee.clone(), request.peer().map(|peer| peer.session().label()));
    // The error is converted before the next await, since it may not be `Send`.
    let result = match poll_fn(|cx| service.poll_ready(cx).map_err(Into::into)).await {
        Ok(()) => service.call(request).await.map_err(Into::into),
        Err(error) => Err(error),
    };
    result.unwrap_or_else(|error| Response::failed(&callee, peer, error))
}

type SharedLayer = Arc<dyn Fn(Next) -> Arc<dyn ErasedService> + Send + Sync>;

/// The layers of a server or client, the innermost first.
#[derive(Clone, Default)]
pub(crate) struct Layers {
    incoming: Vec<SharedLayer>,
    outgoing: Vec<SharedLayer>,
}

impl Layers {
    pub(crate) fn add_incoming(&mut self, layer: impl CallLayer) {
        self.incoming.push(shared(layer));
    }

    pub(crate) fn add_outgoing(&mut self, layer: impl CallLayer) {
        self.outgoing.push(shared(layer));
    }

    /// Returns the interceptor that consists of the layers, or `None` if there are no layers.
    pub(crate) fn interceptor(&self) -> Option<Arc<dyn Interceptor>> {
        let chains = LayerChains { incoming: chain(&self.incoming), outgoing: chain(&self.outgoing) };
        (chains.incoming.is_some() || chains.outgoing.is_some()).then(|| Arc::new(chains) as Arc<dyn Interceptor>)
    }
}

fn shared(layer: impl CallLayer) -> SharedLayer {
    Arc::new(move |next| Arc::new(layer.layer(next)))
}

fn chain(layers: &[SharedLayer]) -> Option<Arc<dyn ErasedService>> {
    layers.iter().fold(None, |next, layer| Some(layer(Next(next))))
}

struct LayerChains {
    incoming: Option<Arc<dyn ErasedService>>,
    outgoing: Option<Arc<dyn ErasedService>>,
}

impl Interceptor for LayerChains {
    fn service(&self, service: Arc<dyn GroupService>) -> Arc<dyn GroupService> {
        match &self.incoming {
            Some(chain) => Arc::new(LayeredService { chain: Arc::clone(chain), service }),
            None => service,
        }
    }

    fn listen(&self, path: &str, name: &str, listen: Arc<dyn ListenerService>) -> Arc<dyn ListenerService> {
        match &self.incoming {
            Some(chain) => {
                let callee = OwnedCallee::named(key(path, name), path, name);
                Arc::new(LayeredListener { chain: Arc::clone(chain), listen, callee })
            }
            None => listen,
        }
    }

    fn wraps_outgoing(&self) -> bool {
        self.outgoing.is_some()
    }

    fn send(&self, call: OutgoingCall) -> BoxFuture<'static, Result<Bytes, CallError>> {
        let request = Request::outgoing(call);
        match &self.outgoing {
            Some(chain) => chain.send(request),
            None => Box::pin(async move {
                match request.finish().await {
                    Ok(response) => response.0,
                    Err(never) => match never {},
                }
            }),
        }
    }
}
