//! Large frames are compressed between two sides that both do it.
//!
//! It happens below the session: the core sees frames as they are, and counts them so.

mod cache;
mod compressor;
mod decompressor;
mod lz4;

use std::sync::Arc;

use self::{cache::CompressedCache, compressor::CompressingTransmitter, decompressor::DecompressingReceiver};
use super::Link;

/// Smaller ones are not worth it, nor may the welcome be compressed.
const MIN_SIZE: u32 = 256;

/// Whether this side compresses, and what it knows for that.
#[derive(Clone, Default)]
pub(crate) struct Compression(Option<Arc<Setting>>);

struct Setting {
    /// From how many bytes on, with the prefix.
    from: usize,
    recent: CompressedCache,
}

impl Compression {
    /// Frames of at least so many bytes are compressed.
    pub(crate) fn from(bytes: u32) -> Self {
        Self(Some(Arc::new(Setting { from: bytes.max(MIN_SIZE) as usize, recent: CompressedCache::default() })))
    }

    /// Whether this side says that it compresses.
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// How many frames that were for many are still kept.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> usize {
        self.0.as_ref().map_or(0, |setting| setting.recent.len())
    }

    /// The same link for a session, after the handshake. `theirs` says whether the other side compresses.
    pub(crate) fn around(&self, link: Link, theirs: bool) -> Link {
        match &self.0 {
            Some(setting) if theirs => Link::new(
                DecompressingReceiver::new(link.receiver, link.received),
                CompressingTransmitter::new(link.transmitter, setting),
            ),
            _ => link,
        }
    }
}

#[cfg(test)]
mod tests;
