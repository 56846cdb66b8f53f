//! A cache of recently compressed frames.
//!
//! The members of an audience share the buffer of a broadcast, which is compressed once.

use std::{
    collections::VecDeque,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;

use super::lz4::compress;
use crate::lock::Mutex;

/// The capacity in bytes of uncompressed frames. A single longer frame is cached, too.
const CAPACITY: usize = 1 << 20;

#[derive(Default)]
pub(super) struct CompressedCache(Mutex<CacheState>);

#[derive(Default)]
struct CacheState {
    entries: VecDeque<CacheEntry>,
    bytes: usize,
}

struct CacheEntry {
    /// Keeps the memory in use, so that its address identifies the frame.
    frame: Bytes,
    compressed: Arc<OnceLock<Option<Bytes>>>,
}

impl CompressedCache {
    /// Returns the compressed frame, or `None` if it is not shorter.
    ///
    /// Concurrent callers with the same frame wait for the first caller to compress it.
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
