//! The receiving half, which decompresses frames.

use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::lz4::{COMPRESSED, decompress};
use crate::transport::{Discarded, Receive, ReceiveError};
use sockets_proto::{PREFIX, frame_with_prefix, next_frame};

pub(super) struct DecompressingReceiver {
    receiver: Box<dyn Receive>,
    /// Complete frames that the transport has received, and that this receiver has not returned.
    received: Bytes,
}

impl DecompressingReceiver {
    pub(super) fn new(receiver: Box<dyn Receive>, received: Bytes) -> Self {
        Self { receiver, received }
    }

    /// Returns the length of the uncompressed frames at the beginning.
    fn uncompressed_length(&self) -> usize {
        let mut length = 0;
        while let Some(next) = self.received.get(length..).and_then(frame_with_prefix)
            && self.received.get(length + PREFIX) != Some(&COMPRESSED)
        {
            length += next;
        }
        length.min(self.received.len())
    }
}

impl Receive for DecompressingReceiver {
    fn poll_receive(&mut self, cx: &mut Context<'_>, max_frame: usize) -> Poll<Result<Bytes, ReceiveError>> {
        if self.received.is_empty() {
            self.received = ready!(self.receiver.poll_receive(cx, max_frame))?;
        }
        let length = self.uncompressed_length();
        if length > 0 {
            return Poll::Ready(Ok(self.received.split_to(length)));
        }
        // Decompress only a single frame at a time, so that decompressed frames take at most the
        // memory of the longest frame.
        match next_frame(&mut self.received) {
            Some(compressed) => Poll::Ready(Ok(decompress(&compressed, max_frame)?)),
            None => Poll::Ready(Err(ReceiveError::Closed)),
        }
    }

    fn partial_bytes(&self) -> usize {
        self.receiver.partial_bytes()
    }

    fn has_unsent_replies(&self) -> bool {
        self.receiver.has_unsent_replies()
    }

    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<Discarded> {
        self.received.clear();
        self.receiver.poll_closed(cx)
    }
}
