//! A cache of recently compressed frames.
//!
//! The members of a broadcast share a single buffer, so a cache lets a server compress this buffer
//! only once.

use std::{
    collections::VecDeque,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;

use super::lz4::compress;
use crate::lock::Mutex;

/// The capacity of the cache in bytes of uncompressed frames. A longer frame is cached alone.
const CAPACITY: usize = 1 << 20;

#[derive(Default)]
pub(super) struct CompressedCache(Mutex<CacheState>);

#[derive(Default)]
struct CacheState {
    entries: VecDeque<CacheEntry>,
    bytes: usize,
}

struct CacheEntry {
    /// The uncompressed frame. The address of its memory identifies the frame: as long as the entry
    /// keeps the memory, no other frame can have this address.
    frame: Bytes,
    compressed: Arc<OnceLock<Option<Bytes>>>,
}

impl CompressedCache {
    /// Returns the compressed frame. Returns `None` if compression does not make the frame shorter.
    ///
    /// If several callers pass the same frame concurrently, the first caller compresses it, and the
    /// other callers wait.
    pub(super) fn get_or_compress(&self, frame: &Bytes) -> Option<Bytes> {
        let compressed = self.0.lock().entry(frame);
        compressed.get_or_init(|| compress(frame)).clone()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().entries.len()
    }
}

impl CacheState {
    fn entry(&mut self, frame: &Bytes) -> Arc<OnceLock<Option<Bytes>>> {
        let address = |bytes: &Bytes| (bytes.as_ptr(), bytes.len());
        if let Some(known) = self.entries.iter().rev().find(|entry| address(&entry.frame) == address(frame)) {
            return Arc::clone(&known.compressed);
        }
        self.bytes += frame.len();
        while self.bytes > CAPACITY
            && let Some(oldest) = self.entries.pop_front()
        {
            self.bytes -= oldest.frame.len();
        }
        let compressed = Arc::default();
        self.entries.push_back(CacheEntry { frame: frame.clone(), compressed: Arc::clone(&compressed) });
        compressed
    }
}
