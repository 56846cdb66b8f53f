//! The envelope of both messages of the handshake.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The first bytes of both messages of the handshake.
pub const MAGIC: [u8; 4] = *b"SKTS";

/// The version of the protocol.
pub const VERSION: u16 = 1;

const MISSING: &str = "the first message does not begin with the magic bytes SKTS of this protocol";

/// The outer form of a message of the handshake, which is the same in every version of the
/// protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    magic: Magic,
    /// The version of the sender.
    pub version: u16,
    /// The message, in a form that depends on the version.
    pub body: Vec<u8>,
}

impl Envelope {
    /// Returns an envelope of this version.
    pub(super) fn new(body: Vec<u8>) -> Self {
        Self { magic: Magic, version: VERSION, body }
    }

    /// Returns a probe, with which a client tests whether a server responds. A probe contains no
    /// login.
    pub fn probe() -> Self {
        Self::new(Vec::new())
    }

    /// Returns `true` if the envelope is a probe.
    pub fn is_probe(&self) -> bool {
        self.version == VERSION && self.body.is_empty()
    }
}

/// The magic bytes. A message without them does not decode, and the error states the reason.
/// Otherwise the bytes of another protocol would be decoded as a version and a body.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Magic;

impl Serialize for Magic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        MAGIC.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Magic {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match <[u8; 4]>::deserialize(deserializer) {
            Ok(MAGIC) => Ok(Self),
            Ok(_) => Err(de::Error::custom(MISSING)),
            Err(error) => Err(de::Error::custom(format!("{MISSING}: {error}"))),
        }
    }
}
