//! What was compressed just now: a message to an audience is the same bytes for all its members, and is compressed once.

use std::{
    collections::VecDeque,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;

use super::lz4::compress;
use crate::lock::Mutex;

/// So many bytes of frames are kept, or a single one that is longer.
const KEEP: usize = 1 << 20;

#[derive(Default)]
pub(super) struct CompressedCache(Mutex<CacheState>);

#[derive(Default)]
struct CacheState {
    entries: VecDeque<CacheEntry>,
    bytes: usize,
}

struct CacheEntry {
    /// Kept, so that nothing else can be where it is.
    frame: Bytes,
    deflated: Arc<OnceLock<Option<Bytes>>>,
}

impl CompressedCache {
    /// The frame compressed, unless that does not make it shorter. Who asks for the same one meanwhile waits.
    pub(super) fn get_or_compress(&self, frame: &Bytes) -> Option<Bytes> {
        let deflated = self.0.lock().entry(frame);
        deflated.get_or_init(|| compress(frame)).clone()
    }
}

impl CompressedCache {
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().entries.len()
    }
}

impl CacheState {
    fn entry(&mut self, frame: &Bytes) -> Arc<OnceLock<Option<Bytes>>> {
        let place = |bytes: &Bytes| (bytes.as_ptr(), bytes.len());
        if let Some(known) = self.entries.iter().rev().find(|entry| place(&entry.frame) == place(frame)) {
            return Arc::clone(&known.deflated);
        }
        self.bytes += frame.len();
        while self.bytes > KEEP
            && let Some(oldest) = self.entries.pop_front()
        {
            self.bytes -= oldest.frame.len();
        }
        let deflated = Arc::default();
        self.entries.push_back(CacheEntry { frame: frame.clone(), deflated: Arc::clone(&deflated) });
        deflated
    }
}
