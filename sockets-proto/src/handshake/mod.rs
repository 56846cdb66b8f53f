//! The handshake without I/O. It consists of a client hello and a server hello.
//!
//! [`ClientHello`] is the first message of a connection, and [`ServerHello`] is the response. Each
//! message is encoded as the body of an [`Envelope`]. The envelope has the same form in every
//! version of the protocol.

mod client_hello;
mod envelope;
mod extensions;
mod peer_settings;
mod resumption;
mod server_hello;
#[cfg(test)]
mod tests;

pub use self::{
    client_hello::ClientHello,
    envelope::{Envelope, MAGIC, VERSION},
    peer_settings::{LocalSettings, PeerSettings},
    resumption::{ResumeGrant, ResumeRequest, Resumption},
    server_hello::{Accepted, HelloError, MAX_SERVER_HELLO, ServerHello},
};
