//! Compression of large frames, if both peers announce it.
//!
//! Compression is a layer of the transport, so sessions handle and count uncompressed frames.

mod cache;
mod compressor;
mod decompressor;
mod lz4;

use std::sync::Arc;

use self::{cache::CompressedCache, compressor::CompressingTransmitter, decompressor::DecompressingReceiver};
use super::Link;

/// The lowest possible value of `min_size`. Compression has no benefit for smaller frames. A server
/// hello that accepts a client is smaller, so it is never compressed.
const MIN_SIZE: u32 = 256;

/// The local setting for compression, with its cache. If compression is disabled, the setting is
/// `None`.
#[derive(Clone, Default)]
pub(crate) struct Compression(Option<Arc<Setting>>);

struct Setting {
    /// The minimum length of a compressed frame, including the prefix.
    min_size: usize,
    cache: CompressedCache,
}

impl Compression {
    /// Enables compression of frames of at least `bytes` bytes.
    pub(crate) fn with_min_size(bytes: u32) -> Self {
        Self(Some(Arc::new(Setting { min_size: bytes.max(MIN_SIZE) as usize, cache: CompressedCache::default() })))
    }

    /// Returns `true` if the local endpoint announces compression.
    pub(crate) fn is_enabled(&self) -> bool {
        self.0.is_some()
    }

    /// Returns the number of cached frames.
    #[cfg(test)]
    pub(crate) fn cached(&self) -> usize {
        self.0.as_ref().map_or(0, |setting| setting.cache.len())
    }

    /// Adds compression to a link after the handshake. The peer must have announced compression,
    /// too.
    pub(crate) fn wrap(&self, link: Link, peer_compresses: bool) -> Link {
        match &self.0 {
            Some(setting) if peer_compresses => Link::new(
                DecompressingReceiver::new(link.receiver, link.received),
                CompressingTransmitter::new(link.transmitter, setting),
            ),
            _ => link,
        }
    }
}

#[cfg(test)]
mod tests;
