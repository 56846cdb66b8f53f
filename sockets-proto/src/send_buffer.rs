//! The frames that a session has to send, each with its prefix. Small frames are stored
//! contiguously.

use std::{collections::VecDeque, io::IoSlice, mem};

use bytes::{Buf, Bytes};

use super::frame::{Frame, Header, PREFIX};
use crate::codec::{Payload, SHARE_FROM};

/// Maximum capacity in bytes of an empty buffer. A buffer with a greater capacity releases its
/// memory when it becomes empty, so that idle connections use little memory.
const RETAINED_CAPACITY: usize = 8192;
/// Minimum number of taken bytes before the buffer moves the remaining bytes to its front.
const COMPACT_THRESHOLD: usize = 4096;

/// A queue of frames to send.
#[derive(Debug, Default)]
pub struct SendBuffer {
    /// The bytes before `tail`. The field is boxed, because few connections send large messages and
    /// many connections are idle.
    chunks: Option<Box<Chunks>>,
    tail: Vec<u8>,
    /// The number of bytes of `tail` that the driver has already taken.
    taken: usize,
}

/// Large frames, and the small frames between them, as shared bytes.
#[derive(Debug, Default)]
struct Chunks {
    queue: VecDeque<Bytes>,
    bytes: usize,
}

impl Chunks {
    /// Drops the first bytes, but not more than `count`. Returns the number of dropped bytes.
    fn advance(&mut self, count: usize) -> usize {
        let mut left = count;
        while let Some(front) = self.queue.front_mut().filter(|_| left > 0) {
            let step = left.min(front.len());
            front.advance(step);
            left -= step;
            if front.is_empty() {
                self.queue.pop_front();
            }
        }
        self.bytes -= count - left;
        count - left
    }
}

impl SendBuffer {
    /// Returns the number of bytes to send.
    #[inline]
    pub fn len(&self) -> usize {
        self.chunks.as_ref().map_or(0, |chunks| chunks.bytes) + self.tail.len() - self.taken
    }

    /// Returns `true` if there is nothing to send.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns `true` if the buffer is empty or holds fewer than `limit` bytes. In this state the
    /// buffer accepts another message of any size.
    #[inline]
    pub(super) fn has_capacity(&self, limit: usize) -> bool {
        self.is_empty() || self.len() < limit
    }

    /// Appends a frame.
    pub fn push(&mut self, mut header: Header, payload: &Payload<'_>) {
        match payload {
            Payload::Copied(bytes) => {
                self.tail.reserve(PREFIX + header.len() + bytes.len());
                self.tail.extend_from_slice(header.prefixed(bytes.len()));
                self.tail.extend_from_slice(bytes);
            }
            Payload::Shared(bytes) => {
                self.tail.extend_from_slice(header.prefixed(bytes.len()));
                self.share(bytes.clone());
            }
        }
    }

    /// Appends a frame that has no payload.
    pub fn push_header_only(&mut self, frame: Frame) {
        self.push(frame.header(), &Payload::Copied(&[]));
    }

    /// Appends a message of the handshake as a frame.
    pub fn push_message(&mut self, message: &[u8]) {
        self.tail.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_le_bytes());
        self.tail.extend_from_slice(message);
    }

    /// Appends short encoded frames, including their prefixes.
    pub(super) fn push_frames(&mut self, frames: &[u8]) {
        self.tail.extend_from_slice(frames);
    }

    /// Appends an encoded frame, including its prefix.
    #[inline]
    pub fn push_encoded(&mut self, frame: &Bytes) {
        if frame.len() < SHARE_FROM { self.tail.extend_from_slice(frame) } else { self.share(frame.clone()) }
    }

    /// Appends a frame as a chunk of its own, and returns the index of the chunk. The index is valid
    /// until bytes are taken from the buffer.
    pub(super) fn push_chunk(&mut self, frame: Bytes) -> usize {
        self.share(frame);
        self.chunks.as_ref().map_or(0, |chunks| chunks.queue.len() - 1)
    }

    /// Returns a chunk.
    pub(super) fn chunk(&self, index: usize) -> Bytes {
        self.chunks.as_ref().and_then(|chunks| chunks.queue.get(index)).cloned().unwrap_or_default()
    }

    /// Returns the length of a chunk.
    pub(super) fn chunk_len(&self, index: usize) -> usize {
        self.chunks.as_ref().and_then(|chunks| chunks.queue.get(index)).map_or(0, Bytes::len)
    }

    /// Replaces a chunk.
    pub(super) fn replace_chunk(&mut self, index: usize, frame: Bytes) {
        if let Some(chunks) = &mut self.chunks
            && let Some(chunk) = chunks.queue.get_mut(index)
        {
            chunks.bytes = chunks.bytes - chunk.len() + frame.len();
            *chunk = frame;
        }
    }

    /// Removes a chunk, so that the indices of all later chunks change.
    pub(super) fn remove_chunk(&mut self, index: usize) {
        if let Some(chunks) = &mut self.chunks
            && let Some(chunk) = chunks.queue.remove(index)
        {
            chunks.bytes -= chunk.len();
        }
    }

    /// Joins small chunks.
    pub(super) fn join_chunks(&mut self) {
        let mut joined = Self::default();
        joined.extend(self);
        *self = joined;
    }

    /// Appends whole frames. The buffer reserves no capacity for further frames.
    pub fn push_exact(&mut self, frames: Bytes) {
        self.share(frames);
    }

    /// Appends the content of `other`, and leaves that buffer unchanged.
    #[inline]
    pub fn extend(&mut self, other: &Self) {
        other.chunks().for_each(|piece| self.push_encoded(piece));
        self.tail.extend_from_slice(other.tail());
    }

    fn share(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        let mut tail = Bytes::from(mem::take(&mut self.tail));
        tail.advance(mem::take(&mut self.taken));
        let chunks = self.chunks.get_or_insert_default();
        for piece in [tail, bytes] {
            if !piece.is_empty() {
                chunks.bytes += piece.len();
                chunks.queue.push_back(piece);
            }
        }
    }

    /// Returns the chunks before [`tail`](Self::tail).
    pub(super) fn chunks(&self) -> impl Iterator<Item = &Bytes> {
        self.chunks.iter().flat_map(|chunks| &chunks.queue)
    }

    /// Returns the small frames at the end.
    pub(super) fn tail(&self) -> &[u8] {
        &self.tail[self.taken..]
    }

    /// Returns the chunk at the front, or `None` if only small frames are queued.
    pub fn first_chunk(&self) -> Option<&Bytes> {
        self.chunks().next()
    }

    /// Fills `slices` with bytes from the front of the buffer. Returns the number of filled slices.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let tail = Some(self.tail()).filter(|tail| !tail.is_empty());
        let parts = self.chunks().map(|piece| &piece[..]).chain(tail);
        let mut filled = 0;
        for (slice, part) in slices.iter_mut().zip(parts) {
            *slice = IoSlice::new(part);
            filled += 1;
        }
        filled
    }

    /// Drops the first `count` bytes.
    pub fn advance(&mut self, mut count: usize) {
        if let Some(chunks) = &mut self.chunks {
            count -= chunks.advance(count);
            if chunks.queue.is_empty() {
                self.chunks = None;
            }
        }
        self.taken += count;
        if self.taken == self.tail.len() {
            self.clear_tail();
        } else if self.taken >= COMPACT_THRESHOLD.max(self.tail.len() / 2) {
            self.tail.drain(..self.taken);
            self.taken = 0;
        }
    }

    /// Takes all bytes as a single chunk.
    pub fn take_all(&mut self) -> Bytes {
        let taken = if self.chunks.is_none() {
            Bytes::copy_from_slice(self.tail())
        } else {
            let mut all = Vec::with_capacity(self.len());
            self.chunks().for_each(|piece| all.extend_from_slice(piece));
            all.extend_from_slice(self.tail());
            all.into()
        };
        self.advance(taken.len());
        taken
    }

    #[cfg(test)]
    #[inline]
    pub(super) fn capacity(&self) -> usize {
        self.tail.capacity()
    }

    fn clear_tail(&mut self) {
        self.taken = 0;
        self.tail.clear();
        if self.tail.capacity() > RETAINED_CAPACITY {
            self.tail = Vec::new();
        }
    }
}

/// Encodes a frame, including its prefix, as bytes that several connections can share or that a
/// queue can hold.
pub(super) fn whole_frame(mut header: Header, payload: &Payload<'_>) -> Bytes {
    let mut frame = Vec::with_capacity(PREFIX + header.len() + payload.len());
    frame.extend_from_slice(header.prefixed(payload.len()));
    frame.extend_from_slice(payload.as_slice());
    frame.into()
}
