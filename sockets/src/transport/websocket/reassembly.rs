//! Messages as they come in, in fragments maybe, become frames of ours.

use std::{
    io, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::AsyncRead;
use tokio_util::io::poll_read_buf;

use super::frame::Mask;
use crate::transport::pool;
use sockets_proto::PREFIX;

/// A large message's buffer grows in steps of at least this size, and by what has arrived: a peer has to send half of
/// what it makes us set aside.
const GROW: usize = 256 * 1024;

#[derive(Default)]
pub(super) struct Reassembly {
    /// Whole frames, and behind them what there is of one that is not whole.
    frames: BytesMut,
    /// How many bytes of `frames` are whole frames.
    whole: usize,
    /// A message has begun, and its last fragment has not ended.
    in_message: bool,
}

impl Reassembly {
    pub(super) fn has_whole(&self) -> bool {
        self.whole > 0
    }

    /// Whether what is whole is more than is read at once.
    pub(super) fn has_large(&self) -> bool {
        self.whole > pool::READ_SIZE
    }

    pub(super) fn in_message(&self) -> bool {
        self.in_message
    }

    /// How many bytes there are of what is not whole, the frame's prefix included.
    pub(super) fn begun(&self) -> usize {
        self.frames.len() - self.whole
    }

    /// How long the message is, as far as it has come.
    pub(super) fn length(&self) -> usize {
        self.begun().saturating_sub(PREFIX)
    }

    /// A message begins.
    pub(super) fn begin(&mut self) {
        self.in_message = true;
        if self.frames.is_empty() {
            pool::reserve(&mut self.frames, 0);
        }
        self.frames.put_bytes(0, PREFIX);
    }

    /// More of it has come.
    pub(super) fn extend(&mut self, bytes: &[u8], mask: &mut Mask) {
        let start = self.frames.len();
        self.frames.extend_from_slice(bytes);
        mask.apply(&mut self.frames[start..]);
    }

    /// Reads more of it, at most `missing` bytes.
    pub(super) fn poll_read(
        &mut self,
        io: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
        missing: usize,
        mask: &mut Mask,
    ) -> Poll<io::Result<usize>> {
        let start = self.frames.len();
        if self.frames.capacity() - start < missing.min(pool::READ_SIZE) {
            let step = missing.min(GROW.max(self.begun()));
            pool::grow(&mut self.frames, step);
        }
        let read = ready!(poll_read_buf(Pin::new(io), cx, &mut (&mut self.frames).limit(missing)))?;
        mask.apply(&mut self.frames[start..]);
        Poll::Ready(Ok(read))
    }

    /// The message is whole.
    pub(super) fn end(&mut self) {
        let length = u32::try_from(self.length()).unwrap_or(u32::MAX);
        self.frames[self.whole..][..PREFIX].copy_from_slice(&length.to_le_bytes());
        self.whole = self.frames.len();
        self.in_message = false;
    }

    /// Takes what is whole.
    pub(super) fn take(&mut self) -> Bytes {
        let whole = mem::take(&mut self.whole);
        let batch = self.frames.split_to(whole).freeze();
        if self.frames.is_empty() && whole > pool::READ_SIZE {
            // What comes next must not keep the memory of a large message.
            pool::give_back_large(mem::take(&mut self.frames), whole);
        }
        batch
    }

    /// Keeps no memory while nothing comes.
    pub(super) fn rest(&mut self) {
        if self.frames.is_empty() {
            pool::give_back(mem::take(&mut self.frames));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn a_peer_has_to_send_half_of_what_it_makes_us_set_aside() {
        const MESSAGE: usize = 8 * GROW;
        let (mut near, mut far) = tokio::io::duplex(GROW / 4);
        let mut messages = Reassembly::default();
        messages.begin();
        while messages.length() < MESSAGE {
            far.write_all(&vec![7; GROW / 4]).await.unwrap();
            let (missing, mut mask) = (MESSAGE - messages.length(), Mask::NONE);
            poll_fn(|cx| messages.poll_read(&mut near, cx, missing, &mut mask)).await.unwrap();
            let (come, set_aside) = (messages.length(), messages.frames.capacity());
            assert!(set_aside <= 2 * (come.max(GROW) + pool::READ_SIZE), "{set_aside} bytes for {come}");
        }
        messages.end();
        assert_eq!(messages.take().len(), PREFIX + MESSAGE);
        assert_eq!(messages.frames.capacity(), 0, "what comes next does not keep the memory of a large message");
    }

    #[test]
    fn while_nothing_comes_no_memory_is_kept() {
        let (mut messages, mut mask) = (Reassembly::default(), Mask::NONE);
        for _ in 0..3 {
            messages.begin();
            messages.extend(b"hello", &mut mask);
            assert_eq!(messages.begun(), PREFIX + 5);
            messages.end();
            let batch = messages.take();
            assert!(batch.iter().copied().eq([5, 0, 0, 0].into_iter().chain(*b"hello")));
            messages.rest();
            assert_eq!(messages.frames.capacity(), 0);
        }
    }
}
