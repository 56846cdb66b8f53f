//! Why a connection or a listener did not come about.

use std::io;

use crate::{disconnect_reason::DisconnectReason, registration_error::RegistrationError, transport::AddressError};

/// So many bytes of a refusal's words are told.
const WORDS_MAX: usize = 16 * 1024;

/// How authentication says no. The client's `connect` fails with [`ConnectError::Refused`], which carries the words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    message: String,
}

impl Refusal {
    /// A refusal with words for the client. What is over 16 KiB of them is cut off: a client accepts no long answer from one
    /// that it does not know yet.
    pub fn new(message: impl Into<String>) -> Self {
        let mut message = message.into();
        message.truncate((0..=WORDS_MAX).rev().find(|end| message.is_char_boundary(*end)).unwrap_or(0));
        Self { message }
    }

    /// The words.
    pub fn message(&self) -> &str {
        &self.message
    }
}

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
    /// The server's authentication said no, or the server is full or shuts down, as these words say.
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

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        #[cfg(feature = "tls")]
        if let Some(blamed) = crate::transport::tls::blame(&error) {
            return blamed;
        }
        Self::Unreachable(error)
    }
}

impl From<AddressError> for ConnectError {
    fn from(error: AddressError) -> Self {
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

impl From<AddressError> for BindError {
    fn from(error: AddressError) -> Self {
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
    /// Authentication said no, or there was no place for another connection.
    #[error("the connection was refused: {0}")]
    Refused(Refusal),
    /// What the builder was told to serve does not go together.
    #[error("{0}")]
    Registration(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_no_more_words_than_a_client_listens_to() {
        assert_eq!(Refusal::new("no").message(), "no");
        let long = Refusal::new("ä".repeat(WORDS_MAX));
        assert_eq!(long.message(), "ä".repeat(WORDS_MAX / 2));
        assert_eq!(Refusal::new(format!("a{}", "ä".repeat(WORDS_MAX))).message().len(), WORDS_MAX - 1);
    }
}
