//! Extensions, which are optional entries of both hellos.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::codec::{decode, encode};

/// The id of the extension that contains the idle timeout in milliseconds. A peer that sends
/// heartbeats announces its idle timeout.
pub(super) const KEEP_ALIVE: u32 = 1;
/// The id of the set of compression algorithms that a peer supports. Each algorithm has a bit.
pub(super) const COMPRESSION: u32 = 2;
/// The id of the parameters of resumption.
pub(super) const RESUMPTION: u32 = 3;
/// The id of the extension *retries*. A client sends this extension if it supports refusals that
/// permit another attempt.
pub(super) const RETRIES: u32 = 4;

/// The bit of LZ4 in [`COMPRESSION`].
pub(super) const LZ4: u64 = 1;

/// The values of the extensions, by id. A receiver ignores the ids that it does not know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Extensions(Vec<(u32, Vec<u8>)>);

impl Extensions {
    /// Appends an extension.
    pub(super) fn push(&mut self, id: u32, value: &impl Serialize) {
        // The encoding cannot fail, because every value is a number, a token or a unit.
        self.0.extend(encode(value).ok().map(|value| (id, value)));
    }

    /// Decodes the value of the first extension with this id. If the value is invalid, the error
    /// message contains `name`.
    pub(super) fn find<T: DeserializeOwned>(&self, id: u32, name: &str) -> Result<Option<T>, String> {
        let value = self.0.iter().find(|(known, _)| *known == id).map(|(_, value)| decode(value));
        value.transpose().map_err(|error| format!("the extension {name} does not decode: {error}"))
    }
}
