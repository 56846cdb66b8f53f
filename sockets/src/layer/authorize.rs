//! The layers that the library provides.

use std::{
    future::{Ready, ready},
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::Either;
use tower::{limit::ConcurrencyLimitLayer, timeout::TimeoutLayer};
use tower_layer::Layer;
use tower_service::Service;

use super::request::{Request, Response};

/// Returns a layer that passes on the calls and emits for which `check` returns `Ok`. It denies the
/// others: they fail with [`CallError::Denied`](crate::CallError::Denied) and the message of
/// `check`.
///
/// The layer does not suspend, so it keeps the order of the calls.
///
/// ```
/// use sockets::{CallError, Client, Server, Socket, layer::{Request, authorize}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let staff_only = authorize(|request: &Request| {
///     let socket: Option<Socket<String>> = request.socket();
///     let is_staff = socket.is_some_and(|socket| *socket.identity() == "ada");
///     if is_staff || request.method() != "order" { Ok(()) } else { Err("only staff may order") }
/// });
/// let server = Server::builder()
///     .authenticate(|name: String| async move { Ok(name) })
///     .connected(|socket: Socket<String>| async move {
///         socket.listen("order", |count: u32| async move { count });
///     })
///     .layer(staff_only)
///     .build();
/// let ada = Client::builder().auth("ada").connect_local(&server).await.unwrap();
/// let ben = Client::builder().auth("ben").connect_local(&server).await.unwrap();
/// assert_eq!(ada.request("order", &5_u32).await, Ok(5_u32));
/// assert_eq!(ben.request::<u32>("order", &5_u32).await, Err(CallError::Denied("only staff may order".into())));
/// # }
/// ```
pub fn authorize<F, E>(check: F) -> Authorize<F>
where
    F: Fn(&Request) -> Result<(), E> + Clone,
    E: Into<String>,
{
    Authorize { check }
}

/// Returns tower's layer that limits the number of calls and emits that run at the same time.
/// Further calls wait, at most until their deadlines. A call with a detached handler waits longer:
/// its handler may start after the deadline of the call.
///
/// Of a server, all clients share the limit. The calls that wait start in their order, but may
/// start after later calls to methods that the layer does not enclose. To fail further calls with
/// [`CallError::Overloaded`](crate::CallError::Overloaded) at once, use `load_shed` and
/// `concurrency_limit` of `tower::ServiceBuilder`.
///
/// ```
/// use sockets::{Client, Server, layer::concurrency};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let server = Server::builder()
///     .layer(concurrency(100))
///     .connected(|socket| async move {
///         socket.listen("double", |n: u32| async move { 2 * n });
///     })
///     .build();
/// let client = Client::builder().connect_local(&server).await.unwrap();
/// assert_eq!(client.request("double", &21_u32).await, Ok(42_u32));
/// # }
/// ```
pub fn concurrency(limit: usize) -> ConcurrencyLimitLayer {
    ConcurrencyLimitLayer::new(limit)
}

/// Returns tower's layer that stops calls and emits after `timeout`. A request then fails with
/// [`CallError::Timeout`](crate::CallError::Timeout). An earlier deadline of the call still
/// applies. The layer also stops detached handlers.
///
/// ```
/// use std::time::Duration;
/// use sockets::{CallError, Client, Server, layer::timeout};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let server = Server::builder()
///     .layer(timeout(Duration::from_millis(10)))
///     .connected(|socket| async move {
///         socket.listen("wait", |(): ()| std::future::pending::<()>());
///     })
///     .build();
/// let client = Client::builder().connect_local(&server).await.unwrap();
/// assert_eq!(client.request::<()>("wait", &()).await, Err(CallError::Timeout));
/// # }
/// ```
pub fn timeout(timeout: Duration) -> TimeoutLayer {
    TimeoutLayer::new(timeout)
}

/// A layer that denies calls. [`authorize`] returns it.
#[derive(Clone)]
pub struct Authorize<F> {
    check: F,
}

impl<S, F: Clone> Layer<S> for Authorize<F> {
    type Service = Authorized<S, F>;

    fn layer(&self, next: S) -> Authorized<S, F> {
        Authorized { check: self.check.clone(), next }
    }
}

impl<F> std::fmt::Debug for Authorize<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authorize").finish_non_exhaustive()
    }
}

/// The service of [`Authorize`].
#[derive(Clone)]
pub struct Authorized<S, F> {
    check: F,
    next: S,
}

impl<S, F, E> Service<Request> for Authorized<S, F>
where
    S: Service<Request, Response = Response>,
    F: Fn(&Request) -> Result<(), E>,
    E: Into<String>,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.next.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match (self.check)(&request) {
            Ok(()) => Either::Left(self.next.call(request)),
            Err(message) => Either::Right(ready(Ok(request.deny(message)))),
        }
    }
}

impl<S, F> std::fmt::Debug for Authorized<S, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authorized").finish_non_exhaustive()
    }
}
