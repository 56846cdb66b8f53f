//! Your own code around connecting, calls and emits: logging, counting, permissions, time limits. Feature `middleware`.
//!
//! A layer is a [`tower_layer::Layer`] that wraps the rest of the way of a call in a service of yours: a [`CallService`], which
//! gets each [`Request`], passes it on or does not, and sees what has come of it. It can be put around
//!
//! - what comes in, to handlers and listeners: [`ServerBuilder::layer`](crate::ServerBuilder::layer),
//!   [`ClientBuilder::layer`](crate::ClientBuilder::layer);
//! - what is sent, by stubs and by name: [`ServerBuilder::layer_outgoing`](crate::ServerBuilder::layer_outgoing),
//!   [`ClientBuilder::layer_outgoing`](crate::ClientBuilder::layer_outgoing);
//! - connecting to a server, as a [`ConnectService`]: [`ServerBuilder::layer_connecting`](crate::ServerBuilder::layer_connecting).
//!
//! Of several layers the first is the outermost: it sees a call first, and what has come of it last.
//!
//! ```
//! use std::sync::atomic::{AtomicU64, Ordering};
//! use std::sync::Arc;
//! use sockets::layer::{CallService, Request, Response, layer_fn};
//! use sockets::{Client, Server};
//!
//! /// Counts calls, and passes them on.
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
//! What does not pass the layers, or passes them more than once:
//!
//! - A question to an audience does not pass the layers around what is sent.
//! - What comes in for a name that nobody serves does not pass the layers around what comes in.
//! - An emit that several hear passes the layers around what comes in once for each of them.
//!
//! A call with a layer around it costs a few allocations more; without layers nothing changes.

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
