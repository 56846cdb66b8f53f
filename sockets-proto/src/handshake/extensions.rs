//! Optional entries of both hellos.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::codec::{decode, encode};

/// The idle timeout in milliseconds of a peer that sends heartbeats.
pub(super) const KEEP_ALIVE: u32 = 1;
/// The compression algorithms that a peer supports, one bit each.
pub(super) const COMPRESSION: u32 = 2;
/// The parameters of resumption.
pub(super) const RESUMPTION: u32 = 3;
/// Sent by a client that supports refusals after which it tries again.
pub(super) const RETRIES: u32 = 4;

/// The bit of LZ4 in [`COMPRESSION`].
pub(super) const LZ4: u64 = 1;

/// Values by id. A receiver ignores unknown ids.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Extensions(Vec<(u32, Vec<u8>)>);

impl Extensions {
    /// Appends an extension.
    pub(super) fn push(&mut self, id: u32, value: &impl Serialize) {
        // Numbers, tokens and units always encode.
        self.0.extend(encode(value).ok().map(|value| (id, value)));
    }

    /// Decodes the first extension with this id. The error contains `name`.
    pub(super) fn find<T: DeserializeOwned>(&self, id: u32, name: &str) -> Result<Option<T>, String> {
        let value = self.0.iter().find(|(known, _)| *known == id).map(|(_, value)| decode(value));
        value.transpose().map_err(|error| format!("the extension {name} does not decode: {error}"))
    }
}
