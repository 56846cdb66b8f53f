//! tower's layers around connecting, calls and emits. Requires the feature `middleware`.
//!
//! A layer is a [`tower_layer::Layer`], from tower, from another crate or your own. Layers can be
//! added around
//!
//! - received calls, before handlers and listeners:
//!   [`ServerBuilder::layer`](crate::ServerBuilder::layer) and
//!   [`ClientBuilder::layer`](crate::ClientBuilder::layer);
//! - sent calls, by stubs and by name:
//!   [`ServerBuilder::layer_outgoing`](crate::ServerBuilder::layer_outgoing) and
//!   [`ClientBuilder::layer_outgoing`](crate::ClientBuilder::layer_outgoing);
//! - the authentication of clients:
//!   [`ServerBuilder::layer_connecting`](crate::ServerBuilder::layer_connecting).
//!
//! Around calls, the layer's service is a `Service<Request, Response = Response>` that can be
//! cloned: see [`CallLayer`]. Each call is handled by a clone of the service, which is polled until
//! it is ready before it is called.
//!
//! # Order
//!
//! The layer added last is the outermost: it receives a call first, and the response last. A layer
//! wraps everything that the builder serves, wherever it is added. In a
//! `tower::ServiceBuilder`, the *first* layer is the outermost.
//!
//! ```
//! use std::time::Duration;
//! use sockets::{CallError, Client, Server};
//! use tower::ServiceBuilder;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let layers = ServiceBuilder::new()
//!     .load_shed()
//!     .concurrency_limit(100)
//!     .timeout(Duration::from_millis(10));
//! let server = Server::builder()
//!     .layer(layers)
//!     .connected(|socket| async move {
//!         socket.listen("double", |n: u32| async move { 2 * n });
//!         socket.listen("wait", |(): ()| std::future::pending::<()>());
//!     })
//!     .build();
//! let client = Client::builder().connect_local(&server).await.unwrap();
//! assert_eq!(client.request("double", &21_u32).await, Ok(42_u32));
//! assert_eq!(client.request::<()>("wait", &()).await, Err(CallError::Timeout));
//! # }
//! ```
//!
//! # Received calls
//!
//! The layers of a received call are part of its handler. They run in the task of the connection
//! until their first suspension. When the call is cancelled or its deadline passes, the layers are
//! stopped together with the handler. A panic of a layer is a panic of the handler.
//!
//! At the first suspension, the next call may start. If a layer suspends before it calls the next
//! service, handlers may therefore start in another order than their calls were sent. Examples are
//! a concurrency limit at its limit, a rate limit, and a buffer.
//!
//! A received call for a name without a handler does not pass the layers. A received emit with
//! several listeners passes the layers once for each listener.
//!
//! # Sent calls
//!
//! The layers of a sent call run in the task of the caller. When the caller drops the future of the
//! call, the layers are dropped, too. Their time counts towards the timeout of a request. If a
//! layer suspends before it calls the next service, calls may be sent in another order.
//!
//! A request to an audience passes the layers once for each member. The layers run when the request
//! is made, and after a suspension when its [`Replies`](crate::Replies) are polled. An emit to an
//! audience passes the layers once, and then has no [peer](Request::peer).
//!
//! # Errors
//!
//! The error of a layer becomes the error of the call:
//!
//! | error | error of the call |
//! | --- | --- |
//! | [`CallError`](crate::CallError) | the same |
//! | `tower::timeout::error::Elapsed` | [`Timeout`](crate::CallError::Timeout) |
//! | `tower::load_shed::error::Overloaded` | [`Overloaded`](crate::CallError::Overloaded) |
//! | any other | [`Failed`](crate::CallError::Failed) with the error's text, and a warning in the log |
//!
//! # Costs
//!
//! Each added layer costs one allocation for each call, and a stack of layers in a
//! `tower::ServiceBuilder` counts as a single layer. If no layer is added, calls cost the same as
//! without the feature.

mod authorize;
mod chain;
mod connecting;
mod incoming;
mod request;

pub use tower_layer::{Layer, layer_fn};
pub use tower_service::Service;

pub use self::{
    authorize::{Authorize, Authorized, authorize, concurrency, timeout},
    chain::{CallLayer, Next, NextFuture},
    connecting::{Authentication, Connecting},
    request::{Request, Response},
};
pub(crate) use self::{chain::Layers, connecting::ConnectLayers};
