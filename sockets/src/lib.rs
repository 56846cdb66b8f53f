#![doc = include_str!("../../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod ask;
mod call;
mod call_error;
mod client;
mod clock;
mod codec;
mod connect_error;
mod disconnect_reason;
mod group;
mod handshake;
mod incoming;
mod keys;
mod limits;
mod listener;
mod name;
mod peer;
mod place;
mod proto;
mod routes;
mod server;
mod service;
mod session;
mod stub;
mod transport;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

pub use sockets_macros::group;

pub use self::{
    call::Call,
    call_error::CallError,
    client::{Client, ClientBuilder},
    connect_error::{AcceptError, BindError, ConnectError, Refusal},
    disconnect_reason::DisconnectReason,
    group::Group,
    handshake::Handshake,
    limits::Limits,
    listener::Listener,
    peer::Peer,
    server::{Accepting, Audience, Authenticate, Excluded, Identity, Replies, Server, ServerBuilder, Socket},
    stub::Callable,
};
