//! The first bytes of both messages of the handshake.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::transport::MAGIC;

const MISSING: &str = "the first message does not begin with the magic bytes SKTS of this protocol";

/// The magic bytes `SKTS`. A message that does not begin with them does not decode, and the error says so: without
/// them, everything after them is decoded from bytes of another protocol.
pub(super) struct Magic;

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
