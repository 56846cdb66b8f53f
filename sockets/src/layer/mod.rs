//! Middleware around connecting, calls and emits, such as logging, metrics, permissions and
//! timeouts. Requires the feature `middleware`.
//!
//! A layer is a [`tower_layer::Layer`]. It wraps the next service in a service of its own, a
//! [`CallService`]. The service receives each [`Request`], and passes the request to the next
//! service or denies it. The service then receives the [`Response`]. Layers can be added around
//!
//! - received calls, before handlers and listeners:
//!   [`ServerBuilder::layer`](crate::ServerBuilder::layer) and
//!   [`ClientBuilder::layer`](crate::ClientBuilder::layer);
//! - sent calls, by stubs and by name:
//!   [`ServerBuilder::layer_outgoing`](crate::ServerBuilder::layer_outgoing) and
//!   [`ClientBuilder::layer_outgoing`](crate::ClientBuilder::layer_outgoing);
//! - the authentication of clients, as a [`ConnectService`]:
//!   [`ServerBuilder::layer_connecting`](crate::ServerBuilder::layer_connecting).
//!
//! The first layer added is the outermost: it receives a call first, and the response last.
//!
//! ```
//! use std::sync::atomic::{AtomicU64, Ordering};
//! use std::sync::Arc;
//! use sockets::layer::{CallService, Request, Response, layer_fn};
//! use sockets::{Client, Server};
//!
//! /// Counts calls and passes them on.
//! struct Count<S> {
//!     calls: Arc<AtomicU64>,
//!     next: S,
//! }
//!
//! impl<S: CallService> CallService for Count<S> {
//!     async fn call(&self, request: Request<'_>) -> Response {
//!         self.calls.fetch_add(1, Ordering::Relaxed);
//!         self.next.call(request).await
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let calls = Arc::new(AtomicU64::new(0));
//! let counted = Arc::clone(&calls);
//! let server = Server::builder()
//!     .layer(layer_fn(move |next| Count { calls: Arc::clone(&counted), next }))
//!     .connected(|socket| async move {
//!         socket.listen("double", |n: u32| async move { 2 * n });
//!     })
//!     .build();
//! let client = Client::builder().connect_local(&server).await.unwrap();
//! assert_eq!(client.request("double", &21_u32).await, Ok(42_u32));
//! assert_eq!(calls.load(Ordering::Relaxed), 1);
//! # }
//! ```
//!
//! Some calls do not pass the layers, or pass them several times:
//!
//! - A request to an audience does not pass the layers around sent calls.
//! - A received call for a name without a handler does not pass the layers around received calls.
//! - A received emit with several listeners passes the layers once for each listener.
//!
//! Each layer costs a few allocations for each call. If no layer is added, calls cost the same as
//! without the feature.

mod chain;
mod connecting;
mod incoming;
mod request;

pub use tower_layer::{Layer, layer_fn};

pub(crate) use self::{chain::Layers, connecting::ConnectLayers};
pub use self::{
    chain::{CallService, Next},
    connecting::{Authentication, ConnectService, Connecting, Rejection},
    request::{Request, Response},
};
