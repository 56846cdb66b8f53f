//! The errors of connecting, listening and accepting.

use std::{io, mem, panic::Location};

use crate::{address::AddressError, disconnect_reason::DisconnectReason, refusal::Refusal, transport::BoxError};

/// The error of [`ClientBuilder::connect`](crate::ClientBuilder::connect), and of the other methods
/// that connect a client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address is invalid. The message states the correction.
    #[error("{0}")]
    Address(#[source] AddressError),
    /// No server responds at the address, or the connection broke.
    #[error("the server cannot be reached: {0}")]
    Unreachable(#[source] io::Error),
    /// The server's certificate is not trusted, or is not valid for this host.
    #[error("the server's certificate is not trusted: {0}")]
    Untrusted(String),
    /// The peer does not speak this protocol, was not ready in time, or could not decode the
    /// client's hello.
    #[error("the handshake failed: {0}")]
    Handshake(String),
    /// The server speaks another version of the protocol. Update the older of the two peers.
    #[non_exhaustive]
    #[error("the server speaks version {theirs} of the protocol, and this client version {ours}; update the older one")]
    Version {
        /// The client's version.
        ours: u16,
        /// The server's version.
        theirs: u16,
    },
    /// The server refused the client. Either its authentication or its `connected` hook refused the
    /// client, or the server is full or is shutting down.
    ///
    /// If another attempt may succeed, [`Refusal::retry_after`] returns `Some`.
    #[error("the server refused the connection: {0}")]
    Refused(#[source] Refusal),
    /// The login could not be created or encoded.
    #[error("the login cannot be sent: {0}")]
    Login(#[source] BoxError),
    /// The session ended before the server's `connected` hook had completed.
    #[error("the session ended before it was ready: {0}")]
    Disconnected(#[source] DisconnectReason),
}

impl ConnectError {
    /// Returns the error of a `connect`, if the session ended for this `reason` before it was
    /// ready.
    pub(crate) fn ended(reason: DisconnectReason) -> Self {
        match reason {
            DisconnectReason::Refused(refusal) => Self::Refused(refusal),
            reason => Self::Disconnected(reason),
        }
    }
}

/// Two errors are equal if they have the same variant and the same message.
impl PartialEq for ConnectError {
    fn eq(&self, other: &Self) -> bool {
        mem::discriminant(self) == mem::discriminant(other) && self.to_string() == other.to_string()
    }
}

impl From<AddressError> for ConnectError {
    fn from(error: AddressError) -> Self {
        Self::Address(error)
    }
}

/// The error of a server that cannot listen on an address. For example,
/// [`ServerBuilder::bind`](crate::ServerBuilder::bind) returns it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The address is invalid. The message states the correction.
    #[error("{0}")]
    Address(#[source] AddressError),
    /// The operating system refused to listen on the address.
    #[non_exhaustive]
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address as passed by the caller.
        address: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The server has been shut down.
    #[error("the server has been shut down")]
    ShutDown,
}

impl From<AddressError> for BindError {
    fn from(error: AddressError) -> Self {
        Self::Address(error)
    }
}

/// The error of [`Server::accept`](crate::Server::accept) for a connection that did not become a
/// socket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// The connection broke.
    #[error("the connection was lost: {0}")]
    Io(#[from] io::Error),
    /// The peer does not speak this protocol or this version, was too slow, or sent a login that
    /// the server cannot decode.
    #[error("the handshake failed: {0}")]
    Handshake(String),
    /// The server's authentication refused the client, or the server is full.
    #[error("the connection was refused: {0}")]
    Refused(#[source] Refusal),
}

/// The error of serving a group or a name that conflicts with a group or a name served before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RegistrationError {
    #[error(
        "the group {path:?} is served twice: by `{first}` at {first_location}, and by `{second}` at \
         {second_location}; remove one of the two"
    )]
    ServedTwice {
        path: &'static str,
        first: &'static str,
        first_location: &'static Location<'static>,
        second: &'static str,
        second_location: &'static Location<'static>,
    },
    #[error("the names {first:?} and {second:?} have the same key; rename one of them")]
    SameKey { first: String, second: String },
    #[error("more than {limit} names on one connection; raise `Limits::names_per_peer`")]
    TooManyNames { limit: usize },
}
