//! The server hello.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    envelope::{Envelope, VERSION},
    extensions::Extensions,
    peer_settings::{LocalSettings, PeerSettings},
    resumption::ResumeGrant,
};
use crate::{
    Settings,
    codec::{DecodeError, EncodeError, decode, encode},
    timeout::clamp,
};

/// The maximum length of a server hello in bytes, including its envelope.
pub const MAX_SERVER_HELLO: usize = 64 * 1024;

/// The form of a server hello on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Body {
    Accepted(Settings, Extensions),
    Refused(String),
    Malformed(String),
    /// The message, and the delay in milliseconds. It is sent only to a client with the extension
    /// *retries*.
    Retry(String, u64),
    Available,
}

/// The response to a client hello or to a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerHello(Body);

/// The acceptance of a client.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The settings of the server.
    pub peer: PeerSettings,
    /// The response to a client with resumption.
    pub granted: Option<ResumeGrant>,
}

/// The reason for which a server hello does not accept a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HelloError {
    /// The server uses another version of the protocol.
    Version {
        /// The version of the server.
        server: u16,
    },
    /// The server refused the client, with this message for the user.
    Refused(String),
    /// The server refused the client for now.
    Retry {
        /// The message for the user.
        message: String,
        /// The time before which the client must not try again, of at most seven days.
        after: Duration,
    },
    /// The server rejected the client hello as malformed, with this description of the error.
    Malformed(String),
    /// The server responded to a probe, which was not sent.
    UnexpectedProbeResponse,
    /// The server hello or its settings are invalid, with this description of the error.
    Invalid(String),
}

impl From<DecodeError> for HelloError {
    fn from(error: DecodeError) -> Self {
        Self::Invalid(error.to_string())
    }
}

impl ServerHello {
    /// Returns the acceptance of a client. `granted` is `None` for a client without resumption.
    pub fn accept(local: &LocalSettings, granted: Option<&ResumeGrant>) -> Self {
        Self(Body::Accepted(local.settings, local.extensions(granted)))
    }

    /// Returns a refusal. The client may try again after `retry_after`, unless that is `None`.
    ///
    /// `retries` states that the client has the extension *retries*. Without it, the refusal is final.
    pub fn refuse(message: String, retry_after: Option<Duration>, retries: bool) -> Self {
        Self(match retry_after.filter(|_| retries) {
            Some(delay) => Body::Retry(message, u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)),
            None => Body::Refused(message),
        })
    }

    /// Returns the rejection of an invalid client hello, with a description of the error.
    pub fn malformed(message: String) -> Self {
        Self(Body::Malformed(message))
    }

    /// Returns the response to a probe.
    pub fn available() -> Self {
        Self(Body::Available)
    }

    /// Encodes the message.
    ///
    /// # Errors
    ///
    /// Returns an error if the message cannot be encoded.
    pub fn encode(&self) -> Result<Envelope, EncodeError> {
        encode(&self.0).map(Envelope::new)
    }

    /// Returns `true` if the message is the response to a probe. Servers without probes respond
    /// otherwise.
    pub fn is_available(envelope: &Envelope) -> bool {
        envelope.version == VERSION && matches!(decode(&envelope.body), Ok(Body::Available))
    }

    /// Decodes the response to a client hello.
    ///
    /// # Errors
    ///
    /// Returns the reason for which the client is not accepted.
    pub fn decode(envelope: &Envelope) -> Result<Accepted, HelloError> {
        if envelope.version != VERSION {
            return Err(HelloError::Version { server: envelope.version });
        }
        match decode(&envelope.body)? {
            Body::Accepted(settings, extensions) => {
                let (peer, granted) = PeerSettings::decode(settings, &extensions).map_err(HelloError::Invalid)?;
                Ok(Accepted { peer, granted })
            }
            Body::Refused(message) => Err(HelloError::Refused(message)),
            Body::Retry(message, millis) => {
                Err(HelloError::Retry { message, after: clamp(Duration::from_millis(millis)) })
            }
            Body::Malformed(message) => Err(HelloError::Malformed(message)),
            Body::Available => Err(HelloError::UnexpectedProbeResponse),
        }
    }
}
