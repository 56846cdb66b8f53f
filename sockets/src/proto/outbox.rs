//! Bytes on their way out: whole frames, each with its prefix, small ones side by side in one buffer.

use std::{collections::VecDeque, io::IoSlice, mem};

use bytes::{Buf, Bytes};

use super::frame::{Frame, Header, PREFIX};
use crate::codec::{Payload, SHARE_FROM};

/// An empty outbox keeps a buffer of at most this size, so that idle connections hold little.
const KEEP: usize = 8192;
/// From so many bytes on that have been taken from the front of that buffer, the rest moves up.
const MOVE_FROM: usize = 4096;

/// A queue of frames, to be taken from its front.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// Sealed bytes, before those of `tail`.
    sealed: VecDeque<Bytes>,
    sealed_bytes: usize,
    tail: Vec<u8>,
    /// How much of `tail` has been taken.
    taken: usize,
}

impl Outbox {
    pub(crate) fn len(&self) -> usize {
        self.sealed_bytes + self.tail.len() - self.taken
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether so many bytes more are at most `most`. Anything goes into an empty one.
    pub(super) fn has_room(&self, bytes: usize, most: usize) -> bool {
        self.is_empty() || self.len() + bytes <= most
    }

    /// Appends a frame.
    pub(crate) fn push(&mut self, mut header: Header, payload: &Payload<'_>) {
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
    pub(crate) fn push_bare(&mut self, frame: Frame) {
        self.push(frame.header(), &Payload::Copied(&[]));
    }

    /// Appends a frame that is a message of the handshake.
    pub(crate) fn push_message(&mut self, message: &[u8]) {
        self.tail.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_le_bytes());
        self.tail.extend_from_slice(message);
    }

    /// Appends a frame that is encoded already, its prefix included.
    pub(crate) fn push_whole(&mut self, frame: &Bytes) {
        if frame.len() < SHARE_FROM { self.tail.extend_from_slice(frame) } else { self.share(frame.clone()) }
    }

    /// Appends whole frames of which there will hardly be more: no room for the like of them is kept.
    pub(crate) fn push_once(&mut self, frames: Bytes) {
        self.share(frames);
    }

    /// Appends what is in another one, which keeps it.
    pub(crate) fn extend(&mut self, other: &Self) {
        other.sealed.iter().for_each(|piece| self.push_whole(piece));
        self.tail.extend_from_slice(other.unsealed());
    }

    fn share(&mut self, bytes: Bytes) {
        let mut tail = Bytes::from(mem::take(&mut self.tail));
        tail.advance(mem::take(&mut self.taken));
        for segment in [tail, bytes] {
            if !segment.is_empty() {
                self.sealed_bytes += segment.len();
                self.sealed.push_back(segment);
            }
        }
    }

    /// The pieces before [`unsealed`](Self::unsealed).
    pub(super) fn sealed(&self) -> impl Iterator<Item = &Bytes> {
        self.sealed.iter()
    }

    /// The bytes at its end, small frames side by side.
    pub(super) fn unsealed(&self) -> &[u8] {
        &self.tail[self.taken..]
    }

    /// What is at its front, if that is in a piece of its own.
    #[cfg(feature = "compression")]
    pub(crate) fn first_sealed(&self) -> Option<&Bytes> {
        self.sealed.front()
    }

    /// Fills `slices` from the front and returns how many were filled.
    pub(crate) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let tail = Some(self.unsealed()).filter(|tail| !tail.is_empty());
        let parts = self.sealed.iter().map(|segment| &segment[..]).chain(tail);
        let mut filled = 0;
        for (slice, part) in slices.iter_mut().zip(parts) {
            *slice = IoSlice::new(part);
            filled += 1;
        }
        filled
    }

    /// Forgets the first `count` bytes.
    pub(crate) fn advance(&mut self, mut count: usize) {
        while let Some(front) = self.sealed.front_mut().filter(|_| count > 0) {
            let step = count.min(front.len());
            front.advance(step);
            self.sealed_bytes -= step;
            count -= step;
            if front.is_empty() {
                self.sealed.pop_front();
            }
        }
        if self.sealed.is_empty() {
            // Large messages are rare, and idle connections many.
            self.sealed = VecDeque::new();
        }
        self.taken += count;
        if self.taken == self.tail.len() {
            self.clear_tail();
        } else if self.taken >= MOVE_FROM.max(self.tail.len() / 2) {
            self.tail.drain(..self.taken);
            self.taken = 0;
        }
    }

    /// Takes everything as one piece.
    pub(crate) fn take_all(&mut self) -> Bytes {
        let taken = if self.sealed.is_empty() {
            Bytes::copy_from_slice(self.unsealed())
        } else {
            let mut all = Vec::with_capacity(self.len());
            self.sealed.iter().for_each(|segment| all.extend_from_slice(segment));
            all.extend_from_slice(self.unsealed());
            all.into()
        };
        self.advance(taken.len());
        taken
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.tail.capacity()
    }

    fn clear_tail(&mut self) {
        self.taken = 0;
        self.tail.clear();
        if self.tail.capacity() > KEEP {
            self.tail = Vec::new();
        }
    }
}

/// Encodes a frame once, prefix included, for many connections or for later.
pub(super) fn whole_frame(mut header: Header, payload: &Payload<'_>) -> Bytes {
    let mut frame = Vec::with_capacity(PREFIX + header.len() + payload.len());
    frame.extend_from_slice(header.prefixed(payload.len()));
    frame.extend_from_slice(payload.as_slice());
    frame.into()
}
