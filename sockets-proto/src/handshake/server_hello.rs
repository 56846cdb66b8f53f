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

/// The form in which a server hello is encoded on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Body {
    Accepted(Settings, Extensions),
    Refused(String),
    Malformed(String),
    /// A refusal with a message and a delay in milliseconds. The server sends this refusal only to
    /// a client with the extension *retries*.
    Retry(String, u64),
    Available,
}

/// The response to a client hello or to a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerHello(Body);

/// A server hello that accepts the client.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The settings of the server.
    pub peer: PeerSettings,
    /// The server's response to a client that supports resumption.
    pub granted: Option<ResumeGrant>,
}

/// The reason for which a client cannot use the server after a server hello.
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
        /// The minimum delay before the client may try again. The delay is at most seven days.
        after: Duration,
    },
    /// The server rejected the client hello as malformed. The text describes the error.
    Malformed(String),
    /// The server responded to a probe, although the client sent no probe.
    UnexpectedProbeResponse,
    /// The server hello or its settings are invalid. This text contains a description of the error.
    Invalid(String),
}

impl From<DecodeError> for HelloError {
    fn from(error: DecodeError) -> Self {
        Self::Invalid(error.to_string())
    }
}

impl ServerHello {
    /// Returns a server hello that accepts a client. The server passes `None` as `granted` if the
    /// client does not support resumption.
    pub fn accept(local: &LocalSettings, granted: Option<&ResumeGrant>) -> Self {
        Self(Body::Accepted(local.settings, local.extensions(granted)))
    }

    /// Returns a refusal. If `retry_after` is a duration, the client may try again after that time.
    /// Otherwise the refusal is final.
    ///
    /// The server sets `retries` if the client sent the extension *retries*. Without this
    /// extension, the refusal is always final.
    pub fn refuse(message: String, retry_after: Option<Duration>, retries: bool) -> Self {
        Self(match retry_after.filter(|_| retries) {
            Some(delay) => Body::Retry(message, u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)),
            None => Body::Refused(message),
        })
    }

    /// Returns a server hello that rejects an invalid client hello. The message describes the
    /// error.
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

    /// Returns `true` if the message is the response to a probe. A server that does not support
    /// probes sends another message.
    pub fn is_available(envelope: &Envelope) -> bool {
        envelope.version == VERSION && matches!(decode(&envelope.body), Ok(Body::Available))
    }

    /// Decodes the response to a client hello.
    ///
    /// # Errors
    ///
    /// Returns the reason for which the server does not accept the client.
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
