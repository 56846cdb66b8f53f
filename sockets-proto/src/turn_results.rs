//! The results of the handlers that a driver runs in a turn.

use bytes::Bytes;
use serde::Serialize;

use crate::{
    codec::{EncodeError, append},
    event::WindowPermit,
    frame::{CallId, Frame, PREFIX},
};

/// Maximum capacity in bytes of the memory that is kept for later turns.
const RETAINED_CAPACITY: usize = 2 * 1024 * 1024;
/// Minimum length in bytes of the replies of a turn that the session shares instead of copying. A
/// copy of fewer bytes costs less than the allocations of a shared buffer.
const SHARE_REPLIES_FROM: usize = 16 * 1024;

/// The results of the handlers that a driver runs between two accesses to its session.
///
/// A handler that ends without suspension adds its result here instead of locking the session. Its
/// reply is encoded in place, as a frame. At the end of the turn,
/// [`SessionCore::settle`](crate::SessionCore::settle) takes over all results in one step.
#[derive(Debug, Default)]
pub struct TurnResults {
    /// The frames of the replies, followed by the bytes of a reply that failed, if any.
    frames: Vec<u8>,
    /// The length of the frames of `replies`.
    complete: usize,
    replies: Vec<TurnReply>,
    emits: EndedEmits,
    /// The frames of the last long turn. Once they have been written and acknowledged, their memory
    /// is reused.
    lent: Bytes,
}

/// A reply in a turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TurnReply {
    pub(crate) id: CallId,
    pub(crate) permit: WindowPermit,
    /// The start and the end of the encoded reply.
    pub(crate) payload: usize,
    pub(crate) end: usize,
}

/// The emits whose handlers have ended in a turn.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EndedEmits {
    pub(crate) count: u32,
    pub(crate) bytes: u64,
    /// The epoch of the session in which the emits arrived.
    pub(crate) epoch: u32,
}

/// The reason for which a reply was not added.
#[derive(Debug)]
pub enum ReplyError {
    /// The value could not be encoded.
    Encode(EncodeError),
    /// The frame is longer than the peer accepts.
    TooLarge {
        /// The length of the frame in bytes.
        length: usize,
    },
}

impl TurnResults {
    /// Encodes the reply to a request. Returns the length of the encoded reply in bytes.
    ///
    /// If the method panics or fails, the results remain as they were.
    ///
    /// # Errors
    ///
    /// Returns an error if the value cannot be encoded, or if the frame without its prefix is longer
    /// than `max_frame` bytes.
    #[inline]
    pub fn reply<R: Serialize>(
        &mut self,
        id: CallId,
        permit: WindowPermit,
        reply: &R,
        max_frame: usize,
    ) -> Result<usize, ReplyError> {
        let start = self.complete;
        // Removes the bytes of a reply whose encoding has failed.
        self.frames.truncate(start);
        if self.frames.capacity() == 0 {
            self.reuse_memory();
        }
        let mut header = Frame::Reply { id }.header();
        self.frames.extend_from_slice(header.prefixed(0));
        let payload = self.frames.len();
        if let Err(error) = append(reply, &mut self.frames) {
            self.discard_failed();
            return Err(ReplyError::Encode(error));
        }
        let length = self.frames.len() - start - PREFIX;
        let Some(prefix) = u32::try_from(length).ok().filter(|_| length <= max_frame) else {
            self.discard_failed();
            return Err(ReplyError::TooLarge { length });
        };
        self.frames[start..start + PREFIX].copy_from_slice(&prefix.to_le_bytes());
        self.complete = self.frames.len();
        self.replies.push(TurnReply { id, permit, payload, end: self.complete });
        Ok(self.complete - payload)
    }

    /// Adds the end of the last handler of an emit.
    #[inline]
    pub fn end_emit(&mut self, permit: WindowPermit) {
        if self.emits.epoch != permit.epoch {
            self.emits = EndedEmits { epoch: permit.epoch, ..EndedEmits::default() };
        }
        self.emits.count += 1;
        self.emits.bytes += permit.length() as u64;
    }

    /// Returns the length of the replies in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.complete
    }

    /// Returns `true` if there are no results.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.replies.is_empty() && self.emits.count == 0
    }

    /// Returns the permit of the first request that has a reply.
    #[inline]
    pub(crate) fn first_permit(&self) -> Option<WindowPermit> {
        self.replies.first().map(|reply| reply.permit)
    }

    /// Takes the ended emits.
    pub(crate) fn take_emits(&mut self) -> EndedEmits {
        std::mem::take(&mut self.emits)
    }

    /// Takes the frames and the replies. The caller returns both by [`reuse`](Self::reuse).
    pub(crate) fn take_replies(&mut self) -> (Vec<u8>, Vec<TurnReply>) {
        self.frames.truncate(self.complete);
        self.complete = 0;
        (std::mem::take(&mut self.frames), std::mem::take(&mut self.replies))
    }

    /// Keeps the memory of replies that the session has taken over.
    pub(crate) fn reuse(&mut self, frames: TakenFrames, mut replies: Vec<TurnReply>) {
        replies.clear();
        self.replies = replies;
        match frames {
            TakenFrames::Copied(mut frames) => {
                frames.clear();
                frames.shrink_to(RETAINED_CAPACITY);
                self.frames = frames;
            }
            TakenFrames::Shared(frames) if frames.len() <= RETAINED_CAPACITY => self.lent = frames,
            TakenFrames::Shared(_) => {}
        }
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.frames.capacity() + self.lent.len()
    }

    /// Discards the bytes of a reply that has failed, and the memory that it has taken.
    pub(crate) fn discard_failed(&mut self) {
        self.frames.truncate(self.complete);
        self.frames.shrink_to(RETAINED_CAPACITY);
    }

    /// Reuses the memory of the last long turn, if the connection does not need it any more.
    fn reuse_memory(&mut self) {
        if let Ok(mut lent) = std::mem::take(&mut self.lent).try_into_mut() {
            lent.clear();
            self.frames = lent.into();
        }
    }
}

/// The frames of a turn, after a session has taken them over.
pub(crate) enum TakenFrames {
    /// The session has a copy.
    Copied(Vec<u8>),
    /// The session shares the memory.
    Shared(Bytes),
}

impl TakenFrames {
    /// Prepares frames for a send buffer. Long frames are shared instead of copied.
    pub(crate) fn new(mut frames: Vec<u8>) -> Self {
        if frames.len() < SHARE_REPLIES_FROM {
            return Self::Copied(frames);
        }
        // A failed reply may have been much longer than the other replies.
        if frames.capacity() > RETAINED_CAPACITY {
            frames.shrink_to_fit();
        }
        Self::Shared(frames.into())
    }
}
