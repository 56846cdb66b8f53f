//! The receiving half.

use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::lz4::{COMPRESSED, decompress};
use crate::transport::{Discarded, Receive, ReceiveError};
use sockets_proto::{PREFIX, frame_with_prefix, next_frame};

pub(super) struct DecompressingReceiver {
    receiver: Box<dyn Receive>,
    /// Whole frames that have been received and not been handed on.
    received: Bytes,
}

impl DecompressingReceiver {
    pub(super) fn new(receiver: Box<dyn Receive>, received: Bytes) -> Self {
        Self { receiver, received }
    }

    /// How many bytes at the beginning are frames that are as they are to be.
    fn plain(&self) -> usize {
        let mut plain = 0;
        while let Some(length) = self.received.get(plain..).and_then(frame_with_prefix)
            && self.received.get(plain + PREFIX) != Some(&COMPRESSED)
        {
            plain += length;
        }
        plain.min(self.received.len())
    }
}

impl Receive for DecompressingReceiver {
    fn poll_receive(&mut self, cx: &mut Context<'_>, max_frame: usize) -> Poll<Result<Bytes, ReceiveError>> {
        if self.received.is_empty() {
            self.received = ready!(self.receiver.poll_receive(cx, max_frame))?;
        }
        let plain = self.plain();
        if plain > 0 {
            return Poll::Ready(Ok(self.received.split_to(plain)));
        }
        // One at a time: so they never take more memory than the longest frame.
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
