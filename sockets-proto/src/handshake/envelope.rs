//! The envelope that contains each message of the handshake.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The first bytes of both messages of the handshake.
pub const MAGIC: [u8; 4] = *b"SKTS";

/// The version of the protocol.
pub const VERSION: u16 = 1;

const MISSING: &str = "the first message does not begin with the magic bytes SKTS of this protocol";

/// The outer form of each message of the handshake. The form is the same in every version of the
/// protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    magic: Magic,
    /// The version of the protocol that the sender of the message uses.
    pub version: u16,
    /// The message, encoded in a form that depends on the version.
    pub body: Vec<u8>,
}

impl Envelope {
    /// Returns an envelope of the version that this crate implements.
    pub(super) fn new(body: Vec<u8>) -> Self {
        Self { magic: Magic, version: VERSION, body }
    }

    /// Returns a probe. A client sends a probe to test whether a server responds. A probe contains
    /// no login.
    pub fn probe() -> Self {
        Self::new(Vec::new())
    }

    /// Returns `true` if the envelope is a probe.
    pub fn is_probe(&self) -> bool {
        self.version == VERSION && self.body.is_empty()
    }
}

/// The magic bytes, which show that a message belongs to this protocol. If a message begins with
/// other bytes, the decoder rejects it and names this reason. Otherwise the receiver would decode
/// the bytes of another protocol as a version and a body.
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
