//! Reassembly of fragmented messages into frames of the protocol.

use std::{
    io, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::AsyncRead;
use tokio_util::io::poll_read_buf;

use super::frame::Mask;
use crate::transport::buffer_pool;
use sockets_proto::PREFIX;

/// Minimum number of bytes by which the buffer of a large message grows. A buffer with at least as
/// many received bytes at most doubles. So after the first step, a peer has to send at least half
/// of the bytes that it makes the receiver allocate.
const GROW: usize = 256 * 1024;

#[derive(Default)]
pub(super) struct Reassembly {
    /// Complete frames, then the received part of an incomplete frame.
    frames: BytesMut,
    /// The length of the complete frames in `frames`.
    complete: usize,
    /// `true` from the begin of a message to the end of its last fragment.
    in_message: bool,
}

impl Reassembly {
    pub(super) fn has_complete(&self) -> bool {
        self.complete > 0
    }

    /// Returns `true` if the complete frames are longer than a read.
    pub(super) fn has_large(&self) -> bool {
        self.complete > buffer_pool::READ_SIZE
    }

    pub(super) fn in_message(&self) -> bool {
        self.in_message
    }

    /// Returns the received length of the incomplete frame, including its prefix.
    pub(super) fn partial_bytes(&self) -> usize {
        self.frames.len() - self.complete
    }

    /// Returns the received length of the incomplete message.
    pub(super) fn message_length(&self) -> usize {
        self.partial_bytes().saturating_sub(PREFIX)
    }

    /// Begins a message.
    pub(super) fn begin(&mut self) {
        self.in_message = true;
        if self.frames.is_empty() {
            buffer_pool::reserve(&mut self.frames, 0);
        }
        self.frames.put_bytes(0, PREFIX);
    }

    /// Appends payload to the message.
    pub(super) fn extend(&mut self, bytes: &[u8], mask: &mut Mask) {
        let start = self.frames.len();
        self.frames.extend_from_slice(bytes);
        mask.apply(&mut self.frames[start..]);
    }

    /// Reads payload of the message, at most `missing` bytes.
    pub(super) fn poll_read(
        &mut self,
        io: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
        missing: usize,
        mask: &mut Mask,
    ) -> Poll<io::Result<usize>> {
        let start = self.frames.len();
        if self.frames.capacity() - start < missing.min(buffer_pool::READ_SIZE) {
            let step = missing.min(GROW.max(self.partial_bytes()));
            buffer_pool::grow(&mut self.frames, step);
        }
        let read = ready!(poll_read_buf(Pin::new(io), cx, &mut (&mut self.frames).limit(missing)))?;
        mask.apply(&mut self.frames[start..]);
        Poll::Ready(Ok(read))
    }

    /// Completes the message.
    pub(super) fn end(&mut self) {
        let length = u32::try_from(self.message_length()).unwrap_or(u32::MAX);
        self.frames[self.complete..][..PREFIX].copy_from_slice(&length.to_le_bytes());
        self.complete = self.frames.len();
        self.in_message = false;
    }

    /// Takes the complete frames.
    pub(super) fn take(&mut self) -> Bytes {
        let complete = mem::take(&mut self.complete);
        let batch = self.frames.split_to(complete).freeze();
        if self.frames.is_empty() && complete > buffer_pool::READ_SIZE {
            // The next messages must not keep the memory of a large message.
            buffer_pool::put_large(mem::take(&mut self.frames), complete);
        }
        batch
    }

    /// Returns the buffer to the pool while the connection is idle.
    pub(super) fn release_buffer(&mut self) {
        if self.frames.is_empty() {
            buffer_pool::put(mem::take(&mut self.frames));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn allocation_is_at_most_twice_the_received_bytes() {
        const MESSAGE: usize = 8 * GROW;
        let (mut near, mut far) = tokio::io::duplex(GROW / 4);
        let mut messages = Reassembly::default();
        messages.begin();
        while messages.message_length() < MESSAGE {
            far.write_all(&vec![7; GROW / 4]).await.unwrap();
            let (missing, mut mask) = (MESSAGE - messages.message_length(), Mask::NONE);
            poll_fn(|cx| messages.poll_read(&mut near, cx, missing, &mut mask)).await.unwrap();
            let (received, allocated) = (messages.message_length(), messages.frames.capacity());
            assert!(
                allocated <= 2 * (received.max(GROW) + buffer_pool::READ_SIZE),
                "{allocated} bytes allocated, {received} received"
            );
        }
        messages.end();
        assert_eq!(messages.take().len(), PREFIX + MESSAGE);
        assert_eq!(messages.frames.capacity(), 0, "the next message does not keep the memory of a large one");
    }

    #[test]
    fn idle_connection_holds_no_buffer() {
        let (mut messages, mut mask) = (Reassembly::default(), Mask::NONE);
        for _ in 0..3 {
            messages.begin();
            messages.extend(b"hello", &mut mask);
            assert_eq!(messages.partial_bytes(), PREFIX + 5);
            messages.end();
            let batch = messages.take();
            assert!(batch.iter().copied().eq([5, 0, 0, 0].into_iter().chain(*b"hello")));
            messages.release_buffer();
            assert_eq!(messages.frames.capacity(), 0);
        }
    }
}
