#![doc = include_str!("../../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

#[cfg(feature = "axum")]
pub mod axum;
mod call_error;
mod client;
mod clock;
mod codec;
mod connect_error;
mod disconnect_reason;
mod driver;
mod group;
mod handshake;
mod limits;
mod listener;
#[cfg(feature = "middleware")]
pub mod middleware;
mod name;
mod proto;
mod reconnect;
mod registration_error;
mod server;
mod session;
mod stub;
#[cfg(feature = "tls")]
pub mod tls;
mod token;
mod transport;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

/// The entries of `fuzz`, which do not exist in any other build.
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod __fuzzing {
    pub use crate::proto::tests::sim::fuzzing::{a_frame, bytes_of_a_peer, frames_of_two_peers};
}

pub use sockets_macros::group;

pub use self::{
    call_error::CallError,
    client::{Client, ClientBuilder},
    connect_error::{AcceptError, BindError, ConnectError, Refusal},
    disconnect_reason::DisconnectReason,
    group::Group,
    limits::Limits,
    listener::Listener,
    reconnect::{ClientState, Reconnect, StateChanges},
    server::{Accepting, Audience, Authenticate, Excluded, Identity, Replies, Server, ServerBuilder, Socket},
    session::{Call, Peer, Stats},
    stub::Callable,
    transport::{Handshake, PeerCredentials},
};
