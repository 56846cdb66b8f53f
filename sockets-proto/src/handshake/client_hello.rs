//! The client hello.

use serde::{Deserialize, Serialize};

use super::{
    envelope::{Envelope, VERSION},
    extensions::{Extensions, RETRIES},
    peer_settings::{LocalSettings, PeerSettings},
    resumption::{ResumeRequest, Resumption},
};
use crate::{
    Settings,
    codec::{EncodeError, decode, encode},
};

/// The form in which a client hello is encoded on the wire.
#[derive(Serialize, Deserialize)]
struct Body {
    settings: Settings,
    login: Vec<u8>,
    extensions: Extensions,
}

/// A received client hello.
#[derive(Clone, Debug)]
pub struct ClientHello {
    /// The settings of the client.
    pub peer: PeerSettings,
    /// The encoded login.
    pub login: Vec<u8>,
    /// The session that the client asks to resume.
    pub resume: Option<ResumeRequest>,
}

impl ClientHello {
    /// Encodes a client hello. A client that does not support resumption passes `None` as
    /// `resumption`.
    ///
    /// # Errors
    ///
    /// Returns an error if the message cannot be encoded.
    pub fn encode(
        local: &LocalSettings,
        login: Vec<u8>,
        resumption: Option<&Resumption>,
    ) -> Result<Envelope, EncodeError> {
        let mut extensions = local.extensions(resumption);
        extensions.push(RETRIES, &());
        encode(&Body { settings: local.settings, login, extensions }).map(Envelope::new)
    }

    /// Decodes a client hello.
    ///
    /// # Errors
    ///
    /// Returns an error message for the client if the client uses another version. Also returns an
    /// error message if the client hello or its settings are invalid.
    pub fn decode(envelope: &Envelope) -> Result<Self, String> {
        if envelope.version != VERSION {
            return Err(format!("version {} is not supported; use version {VERSION}", envelope.version));
        }
        let Body { settings, login, extensions } =
            decode(&envelope.body).map_err(|error| format!("the client hello does not decode: {error}"))?;
        let (peer, resumption) = PeerSettings::decode(settings, &extensions)?;
        let resume = match resumption {
            Some(Resumption::Resume(request)) => Some(request),
            Some(Resumption::New) | None => None,
        };
        Ok(Self { peer, login, resume })
    }
}
