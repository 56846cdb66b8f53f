//! Received frames that have not been handled.

use bytes::Bytes;
use sockets_proto::{CallResult, next_frame};

use super::buffer_pool::READ_SIZE;

/// Whole frames that were received together. The frames share a buffer.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    frames: Bytes,
    /// A lower bound for the size of the buffer that all payloads of the batch share. The whole
    /// buffer stays in memory as long as a payload refers to it.
    buffer: usize,
}

impl From<Bytes> for Batch {
    fn from(frames: Bytes) -> Self {
        Self { buffer: frames.len().max(READ_SIZE), frames }
    }
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.frames.len()
    }

    /// Splits off the next frame, without its prefix.
    pub(crate) fn next_frame(&mut self) -> Option<Bytes> {
        next_frame(&mut self.frames)
    }

    /// Returns a payload of this batch in a form for storage.
    ///
    /// If the payload fills less than half of the batch's buffer, the method copies the payload to
    /// a separate buffer. Otherwise the stored payload would keep the whole buffer of the batch in
    /// memory.
    pub(crate) fn detach(&self, payload: Bytes) -> Bytes {
        if payload.len() < self.buffer / 2 { Bytes::copy_from_slice(&payload) } else { payload }
    }

    /// Returns a result for storage, as [`detach`](Self::detach) does.
    pub(crate) fn detach_result(&self, result: CallResult) -> CallResult {
        match result {
            CallResult::Reply(reply) => CallResult::Reply(self.detach(reply)),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(payload: usize, rest: usize) -> (Batch, Bytes) {
        let frame = |length: usize| [&u32::try_from(length).unwrap().to_le_bytes()[..], &vec![7; length]].concat();
        let mut batch = Batch::from(Bytes::from([frame(payload), frame(rest)].concat()));
        let payload = batch.next_frame().unwrap();
        (batch, payload)
    }

    #[test]
    fn payload_of_a_part_of_the_buffer_is_copied() {
        for (payload, rest) in [(0, 0), (10, 0), (READ_SIZE / 2 - 1, 0), (READ_SIZE, 2 * READ_SIZE)] {
            let (batch, payload) = batch(payload, rest);
            let (start, detached) = (payload.as_ptr(), batch.detach(payload.clone()));
            assert_eq!(detached, payload);
            assert_ne!(detached.as_ptr(), start, "{} bytes of {}", payload.len(), batch.buffer);
        }
    }

    #[test]
    fn payload_of_most_of_the_buffer_is_not_copied() {
        let (batch, payload) = batch(READ_SIZE, 10);
        assert_eq!(batch.detach(payload.clone()).as_ptr(), payload.as_ptr());
    }
}
