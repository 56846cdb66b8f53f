//! Read buffers, shared by the connections of a thread, so that an idle connection holds none.

use std::mem;

use bytes::BytesMut;

use crate::thread_cache::ThreadCache;

/// The size of a read in bytes, unless a frame is larger.
pub(super) const READ_SIZE: usize = 16 * 1024;
/// The number of buffers that a thread keeps.
const MAX_POOLED: usize = 4;
/// The maximum size of a frame for reuse. The memory of a larger frame is not reused.
const KEEP_LARGE: usize = 2 * 1024 * 1024;

thread_local! {
    static BUFFERS: ThreadCache<BytesMut, MAX_POOLED> = const { ThreadCache::new() };
    /// The rest of the buffer of the last large frame. When no payload refers to the buffer any
    /// more, the next large frame reuses its memory. New memory would cost a page fault for each 4
    /// KiB, which takes more time than the read itself.
    static LARGE: ThreadCache<BytesMut, 1> = const { ThreadCache::new() };
}

/// Takes an empty buffer from the pool. Its capacity may be smaller than [`READ_SIZE`].
pub(super) fn take() -> BytesMut {
    BUFFERS.with(ThreadCache::take).unwrap_or_default()
}

/// Returns an empty buffer to the pool.
pub(super) fn put(buffer: BytesMut) {
    // A buffer with more capacity was grown for a large frame.
    if buffer.capacity() > READ_SIZE || buffer.capacity() == 0 {
        return;
    }
    BUFFERS.with(|buffers| buffers.put(buffer));
}

/// Reserves capacity for at least `missing` bytes. If `buffer` has no memory, takes a buffer from
/// the pool.
pub(super) fn reserve(buffer: &mut BytesMut, missing: usize) {
    if buffer.capacity() == 0 {
        *buffer = take();
    }
    // `try_reclaim` succeeds if no payload refers to the buffer's memory any more.
    let spare = buffer.capacity() - buffer.len();
    let enough = spare >= READ_SIZE || buffer.try_reclaim(READ_SIZE);
    if !enough && spare < missing.max(READ_SIZE / 4) {
        buffer.reserve(READ_SIZE);
    }
}

/// Reserves capacity for `more` bytes of a large frame.
pub(super) fn grow(buffer: &mut BytesMut, more: usize) {
    if buffer.capacity() - buffer.len() >= more {
        return;
    }
    let mut large = LARGE.with(ThreadCache::take).unwrap_or_default();
    if large.try_reclaim(buffer.len() + more) {
        large.extend_from_slice(buffer);
        let mut small = mem::replace(buffer, large);
        small.clear();
        put(small);
    } else {
        buffer.reserve(more);
    }
}

/// Returns the rest of the buffer of a large frame to the pool.
pub(super) fn put_large(rest: BytesMut, frame: usize) {
    if frame <= KEEP_LARGE {
        LARGE.with(|large| large.put(rest));
    }
}
