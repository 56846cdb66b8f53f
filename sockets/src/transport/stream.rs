//! Frames over a byte stream: TCP, or a stream of the user.

use std::{
    io::{self, IoSlice},
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::io::poll_read_buf;

use super::{Discarded, Link, Receive, ReceiveError, Transmit, buffer_pool, poll_discard};
use crate::scheduler::wake_after_others;
use sockets_proto::{PREFIX, ProtocolError, SendBuffer, frame_length};

/// The number of chunks in a vectored write.
const MAX_SLICES: usize = 32;
/// Minimum number of bytes by which the buffer of a large frame grows. A buffer with at least as
/// many received bytes at most doubles. So after the first step, a peer has to send at least half
/// of the bytes that it makes the receiver allocate.
const GROW: usize = 1024 * 1024;
/// Maximum number of reads in a poll without a complete frame. Without this limit, a stream that is
/// always ready and delivers single bytes would occupy the task.
const READS: u32 = 128;

/// Creates a connection over the two halves of a byte stream.
pub(crate) fn over_stream(
    read: impl AsyncRead + Send + Unpin + 'static,
    write: impl AsyncWrite + Send + Unpin + 'static,
) -> Link {
    Link::new(StreamReceiver { io: read, buffer: BytesMut::new() }, StreamTransmitter { io: write, accepted: 0 })
}

struct StreamReceiver<R> {
    io: R,
    /// The received part of an incomplete frame.
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> StreamReceiver<R> {
    /// Reads once.
    ///
    /// A read of a large frame stops at the end of the frame. Otherwise, later frames in the same
    /// buffer would keep the buffer in memory.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let received = self.buffer.len();
        let missing = frame_length(&self.buffer).map_or(0, |length| (PREFIX + length).saturating_sub(received));
        let io = Pin::new(&mut self.io);
        if missing > buffer_pool::READ_SIZE {
            let step = missing.min(GROW.max(received));
            buffer_pool::grow(&mut self.buffer, step);
            return poll_read_buf(io, cx, &mut (&mut self.buffer).limit(step));
        }
        if received > buffer_pool::READ_SIZE {
            self.buffer.reserve(missing);
            return poll_read_buf(io, cx, &mut (&mut self.buffer).limit(missing));
        }
        buffer_pool::reserve(&mut self.buffer, missing);
        poll_read_buf(io, cx, &mut self.buffer)
    }
}

impl<R: AsyncRead + Send + Unpin> Receive for StreamReceiver<R> {
    fn poll_receive(&mut self, cx: &mut Context<'_>, max_frame: usize) -> Poll<Result<Bytes, ReceiveError>> {
        for _ in 0..READS {
            let whole = whole_frames(&self.buffer, max_frame)?;
            if whole > 0 {
                let batch = self.buffer.split_to(whole).freeze();
                if self.buffer.is_empty() && whole > buffer_pool::READ_SIZE {
                    // The next frames must not keep the memory of a large frame.
                    buffer_pool::put_large(mem::take(&mut self.buffer), whole);
                }
                return Poll::Ready(Ok(batch));
            }
            match self.poll_read(cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(ReceiveError::Closed)),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Pending => {
                    if self.buffer.is_empty() {
                        buffer_pool::put(mem::take(&mut self.buffer));
                    }
                    return Poll::Pending;
                }
            }
        }
        wake_after_others(cx);
        Poll::Pending
    }

    fn partial_bytes(&self) -> usize {
        self.buffer.len()
    }

    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<Discarded> {
        poll_discard(cx, |cx| {
            self.buffer.clear();
            self.poll_read(cx).map(|read| matches!(read, Ok(1..)))
        })
    }
}

/// Returns the total length of the complete frames at the beginning of `bytes`.
fn whole_frames(bytes: &[u8], max_frame: usize) -> Result<usize, ProtocolError> {
    let mut whole = 0;
    while let Some(length) = frame_length(&bytes[whole..]) {
        if length > max_frame {
            // The session still handles the frames before a frame that is too large.
            return if whole > 0 { Ok(whole) } else { Err(ProtocolError::FrameTooLarge { length, limit: max_frame }) };
        }
        if bytes.len() - whole < PREFIX + length {
            break;
        }
        whole += PREFIX + length;
    }
    Ok(whole)
}

struct StreamTransmitter<W> {
    io: W,
    accepted: u64,
}

impl<W: AsyncWrite + Send + Unpin> Transmit for StreamTransmitter<W> {
    fn poll_transmit(&mut self, cx: &mut Context<'_>, send_buffer: &mut SendBuffer) -> Poll<io::Result<()>> {
        while !send_buffer.is_empty() {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let filled = send_buffer.slices(&mut slices);
            let io = Pin::new(&mut self.io);
            let written = match &slices[..filled] {
                [only] => ready!(io.poll_write(cx, only))?,
                several => ready!(io.poll_write_vectored(cx, several))?,
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            send_buffer.advance(written);
            self.accepted += written as u64;
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn accepted(&self) -> u64 {
        self.accepted
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test for fault 1 of RELIABILITY.md.
    #[test]
    fn frame_over_limit_is_rejected_by_its_prefix() {
        let bytes = u32::MAX.to_le_bytes();
        let rejected = whole_frames(&bytes, 4 << 20);
        assert_eq!(rejected, Err(ProtocolError::FrameTooLarge { length: u32::MAX as usize, limit: 4 << 20 }));
    }

    #[test]
    fn frames_before_too_large_frame_are_delivered() {
        let bytes = [1, 0, 0, 0, 9, 255, 255, 255, 255];
        assert_eq!(whole_frames(&bytes, 10), Ok(5));
        assert_eq!(whole_frames(&bytes[..4], 10), Ok(0));
    }

    #[tokio::test]
    async fn frame_received_byte_by_byte_is_assembled() {
        use tokio::io::AsyncWriteExt;
        let (near, mut far) = tokio::io::duplex(64);
        let (read, write) = tokio::io::split(near);
        let mut link = over_stream(read, write);
        let sender = async {
            for byte in [3, 0, 0, 0, b'a', b'b', b'c'] {
                far.write_all(&[byte]).await.expect("the other end is open");
                tokio::task::yield_now().await;
            }
        };
        let receiver = std::future::poll_fn(|cx| link.receiver.poll_receive(cx, 8));
        let (received, ()) = tokio::join!(receiver, sender);
        assert_eq!(received.expect("a frame"), [3, 0, 0, 0, b'a', b'b', b'c'][..]);
    }

    #[tokio::test]
    async fn frame_after_large_frame_has_its_own_buffer() {
        use tokio::io::AsyncWriteExt;
        const LARGE: usize = 3 * GROW;
        let (near, mut far) = tokio::io::duplex(2 * LARGE);
        let (read, write) = tokio::io::split(near);
        let mut link = over_stream(read, write);
        let large = u32::try_from(LARGE).expect("it fits").to_le_bytes();
        let bytes = [&large[..], &vec![7; LARGE], &[1, 0, 0, 0, 9]].concat();
        far.write_all(&bytes).await.expect("the other end is open");
        let first = std::future::poll_fn(|cx| link.receiver.poll_receive(cx, LARGE)).await.expect("a frame");
        assert_eq!(first.len(), PREFIX + LARGE, "the large frame alone");
        let second = std::future::poll_fn(|cx| link.receiver.poll_receive(cx, LARGE)).await.expect("a frame");
        assert_eq!(second, [1, 0, 0, 0, 9][..]);
        drop(link);
        assert!(
            second.try_into_mut().is_ok_and(|buffer| buffer.capacity() <= buffer_pool::READ_SIZE),
            "it has its own buffer"
        );
    }
}
