//! Why a connection or a listener did not come about.

use std::io;

use crate::{
    address::ParseAddressError, disconnect_reason::DisconnectReason, refusal::Refusal,
    registration_error::RegistrationError,
};

/// Why `connect` failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address cannot be understood.
    #[error("{0}")]
    Address(String),
    /// Nothing answers at the address, or the link broke.
    #[error("the server cannot be reached: {0}")]
    Unreachable(#[source] io::Error),
    /// The certificate that the server shows over TLS is not trusted, or not for this host.
    #[error("the server's certificate is not trusted: {0}")]
    Untrusted(String),
    /// What answers does not speak this protocol, or not in time, or could not understand the greeting.
    #[error("the handshake failed: {0}")]
    Handshake(String),
    /// The server speaks another version of the protocol.
    #[error("the server speaks version {theirs} of the protocol, this client version {ours}")]
    Version {
        /// The client's.
        ours: u16,
        /// The server's.
        theirs: u16,
    },
    /// The server's authentication or its `connected` hook refused the client, or the server is full or shuts down.
    /// [`UnsupportedType::retry_after`] tells whether another attempt may succeed.
    #[error("the server refused the connection: {0}")]
    Refused(Refusal),
    /// The login could not be made, or not be encoded.
    #[error("the login cannot be sent: {0}")]
    Login(String),
    /// The session ended before the server's `connected` had finished.
    #[error("the session ended before it began: {0}")]
    Disconnected(DisconnectReason),
    /// What the builder was told to serve does not go together.
    #[error("{0}")]
    Registration(String),
}

impl ConnectError {
    /// Returns the error of a `connect` whose session has ended for this reason before it was ready.
    pub(crate) fn ended(reason: DisconnectReason) -> Self {
        match reason {
            DisconnectReason::Refused(refusal) => Self::Refused(refusal),
            reason => Self::Disconnected(reason),
        }
    }
}

impl From<ParseAddressError> for ConnectError {
    fn from(error: ParseAddressError) -> Self {
        Self::Address(error.to_string())
    }
}

impl From<RegistrationError> for ConnectError {
    fn from(error: RegistrationError) -> Self {
        Self::Registration(error.to_string())
    }
}

/// Why `bind` failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The address cannot be understood.
    #[error("{0}")]
    Address(String),
    /// The address cannot be listened at.
    #[error("cannot listen at {address}: {error}")]
    Listen {
        /// The address, as it was given.
        address: String,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// What the builder was told to serve does not go together.
    #[error("{0}")]
    Registration(String),
    /// The server has been shut down.
    #[error("the server has been shut down")]
    ShutDown,
}

impl From<ParseAddressError> for BindError {
    fn from(error: ParseAddressError) -> Self {
        Self::Address(error.to_string())
    }
}

impl From<RegistrationError> for BindError {
    fn from(error: RegistrationError) -> Self {
        Self::Registration(error.to_string())
    }
}

/// Why a connection that was handed to [`Server::accept`](crate::Server::accept) did not become a socket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// The link broke.
    #[error("the connection was lost: {0}")]
    Io(#[from] io::Error),
    /// The peer does not speak this protocol or version, or not in time, or its login does not decode.
    #[error("the handshake failed: {0}")]
    Handshake(String),
    /// Authentication refused the client, or the server is full.
    #[error("the connection was refused: {0}")]
    Refused(Refusal),
    /// What the builder was told to serve does not go together.
    #[error("{0}")]
    Registration(String),
}
