//! Typed RPC in both directions over a single connection, with rooms and sessions that survive
//! reconnects.
//!
//! A *contract* is a trait with the [`group`] attribute. A peer serves it with a handler and the
//! other peer calls it through a generated stub, so the compiler checks both ends. Server and
//! client can serve contracts at the same time, over the same connection.
//!
//! ```
//! use sockets::{Client, Server};
//!
//! #[sockets::group("Prices")]
//! pub trait Prices {
//!     /// A request: the caller awaits the reply.
//!     async fn price(&self, item: &str) -> Option<u32>;
//!     /// An emit: it has no reply.
//!     #[emit]
//!     async fn viewed(&self, item: &str);
//! }
//!
//! struct Shop;
//!
//! impl Prices for Shop {
//!     async fn price(&self, item: &str) -> Option<u32> {
//!         (item == "sword").then_some(10)
//!     }
//!     async fn viewed(&self, item: &str) {
//!         println!("a client viewed the {item}");
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::builder().serve(PricesServer::new(Shop)).bind("tcp://127.0.0.1:0").await?;
//! let client = Client::builder().connect(&format!("tcp://{}", server.local_addr())).await?;
//!
//! let shop = PricesClient::new(&client);
//! shop.viewed("sword").await?;
//! assert_eq!(shop.price("sword").await?, Some(10));
//! # Ok(()) }
//! ```
//!
//! # Overview
//!
//! - [`group`] describes contracts: arguments, replies, deadlines and overflow policies.
//! - [`Server`] and [`ServerBuilder`] listen, authenticate clients and hold their [`Socket`]s.
//! - [`Authenticate`] maps a client's login and its [`ConnectInfo`] to an [`Identity`], or to a
//!   [`Refusal`].
//! - [`Client`] and [`ClientBuilder`] connect, and reconnect after a connection has broken. The
//!   client then resumes its session, and no message is lost or delivered twice. See
//!   [`ClientState`] and [`Reconnect`].
//! - [`Audience`] addresses a room, a list of users or all clients. An emit goes to every member,
//!   and a request returns [`Replies`], a stream with exactly one result for each member.
//! - [`Peer`], [`Group`] and [`Listener`] call and serve methods by name, without a contract.
//! - [`CallError`], [`ConnectError`] and [`DisconnectReason`] describe failures.
//! - [`ServerBuilder::serve_each`] creates a handler for each [`Socket`]. [`Call`] is an argument by
//!   which any handler accesses its caller: a [`Peer`], and on a server also a [`Socket`].
//! - [`Limits`] bounds the resources that a peer can consume. [`Stats`] counts the messages of a
//!   session that were dropped or failed.
//!
//! The library runs on [tokio](https://docs.rs/tokio), and encodes arguments and replies with
//! [postcard](https://docs.rs/postcard).
//!
//! # Cargo features
//!
//! No feature is enabled by default.
//!
//! | feature | adds |
//! | --- | --- |
//! | `tls` | `tls://` addresses, and `wss://` together with `ws` |
//! | `ws` | `ws://` addresses: WebSockets |
//! | `axum` | a route for WebSockets in an axum application; enables `ws` |
//! | `compression` | LZ4 for large messages |
//! | `middleware` | tower's layers around connecting, calls and emits |
//! | `test-util` | a link between clients and a server that tests can break, freeze and restore |
//!
//! # Further reading
//!
//! The [README] has complete programs, all transports and measurements. [RELIABILITY] states the
//! guarantees and [PROTOCOL] the wire format.
//!
//! [README]: https://github.com/sockets-rs/sockets#readme
//! [RELIABILITY]: https://github.com/sockets-rs/sockets/blob/main/RELIABILITY.md
//! [PROTOCOL]: https://github.com/sockets-rs/sockets/blob/main/PROTOCOL.md
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod address;
mod authenticator;
#[cfg(feature = "axum")]
mod axum_route;
mod backoff;
mod broadcast;
mod call_error;
mod client;
mod client_builder;
mod client_state;
mod clock;
mod codec;
mod connect_error;
mod connector;
mod disconnect_reason;
mod driver;
mod elements;
mod extensions;
mod group;
mod handler_context;
mod handshake;
mod hooks;
mod identity;
#[cfg(feature = "middleware")]
pub mod layer;
mod limits;
mod listener;
mod lock;
mod method;
mod peer_label;
mod peer_methods;
mod postcard;
mod reconnect;
mod reconnector;
mod refusal;
mod scheduler;
mod server;
mod session;
mod session_hooks;
mod states;
mod stub;
mod target;
#[cfg(feature = "test-util")]
pub mod test_util;
#[cfg(test)]
mod tests;
mod thread_cache;
#[cfg(feature = "tls")]
pub mod tls;
mod transport;
mod type_checks;

/// Items that generated code uses. They are not part of the public interface.
#[doc(hidden)]
pub mod __private {
    pub use crate::{
        method::{Kind, Method},
        session::{Completed, HandlerSlot, Responder},
        stub::Stub,
        type_checks::{Outgoing, Owned, Probe, Unencodable, Unsendable},
    };
    pub use sockets_proto::Overflow;
}

/// Compiles and runs the programs of the README with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmePrograms;

pub use sockets_macros::{Identity, group};
pub use sockets_proto::name::InvalidName;

#[cfg(feature = "axum")]
pub use self::axum_route::axum_route;
pub use self::{
    address::AddressError,
    authenticator::{Admission, Authenticate, IntoAdmission},
    call_error::{CallError, DecodeError, EncodeError, SignatureMismatch, TooLarge},
    client::Client,
    client_builder::ClientBuilder,
    client_state::ClientState,
    connect_error::{AcceptError, BindError, ConnectError},
    disconnect_reason::DisconnectReason,
    extensions::Extensions,
    group::Group,
    identity::{Identity, IntoKey},
    limits::Limits,
    listener::Listener,
    reconnect::Reconnect,
    refusal::Refusal,
    server::{
        Accepting, Audience, BuilderState, Excluded, HookOutcome, JoinError, Member, NoIdentityYet, Replies, Server,
        ServerBuilder, Shutdown, Socket, SocketId, SocketState, Unset,
    },
    session::{Call, Peer, Service, Stats},
    session_hooks::SessionInfo,
    states::States,
    target::{IntoTarget, Target},
    transport::{BoxError, ConnectInfo, PeerCredentials},
};
