//! The receiving half. It converts messages to frames of the protocol, and replies to control
//! frames.

use std::{
    io, mem,
    pin::Pin,
    str,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::io::poll_read_buf;
use tungstenite::protocol::{Role, frame::coding::CloseCode};

use super::{
    frame::{self, FrameInProgress, Kind, WsProtocolError},
    frame_writer::FrameWriter,
    reassembly::Reassembly,
};
use crate::{
    lock::TransportMutex,
    scheduler::wake_after_others,
    transport::{Discarded, Receive, ReceiveError, buffer_pool, poll_discard},
};
use sockets_proto::ProtocolError;

/// Maximum number of reads in a poll without a complete message. The number is low, because a
/// single read may contain thousands of control frames and empty fragments. Handling them takes
/// about 100 µs.
const READS: u32 = 4;
/// The maximum number of consecutive empty fragments. RFC 6455 sets no limit, but only an attacker
/// has a use for more empty fragments.
const MAX_EMPTY_FRAGMENTS: u32 = 64;

pub(super) struct Receiver<R, W> {
    role: Role,
    io: R,
    writer: Arc<TransportMutex<FrameWriter<W>>>,
    /// Received bytes that have not been parsed.
    read: BytesMut,
    messages: Reassembly,
    /// The current frame. Its payload is being received.
    current: Option<FrameInProgress>,
    /// The number of consecutive empty fragments.
    empty_fragments: u32,
    /// The payload of a control frame.
    control: Vec<u8>,
    /// `true` while a reply to a control frame may be unwritten.
    has_unsent_replies: bool,
    end: Option<ReceiveEnd>,
}

/// The reason for which the receiver stops.
#[derive(Clone, Copy)]
enum ReceiveEnd {
    Closed,
    ProtocolError(WsProtocolError),
    TooLarge { length: usize, limit: usize },
}

impl From<WsProtocolError> for ReceiveEnd {
    fn from(error: WsProtocolError) -> Self {
        Self::ProtocolError(error)
    }
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Receiver<R, W> {
    pub(super) fn new(role: Role, read: BytesMut, io: R, writer: Arc<TransportMutex<FrameWriter<W>>>) -> Self {
        Self {
            role,
            io,
            writer,
            read,
            messages: Reassembly::default(),
            current: None,
            empty_fragments: 0,
            control: Vec::new(),
            has_unsent_replies: false,
            end: None,
        }
    }

    /// Parses received bytes. Stops at an incomplete header, or after a large message.
    fn parse_buffered(&mut self, cx: &mut Context<'_>, max_frame: usize) -> Result<(), ReceiveEnd> {
        // A large message ends its batch, because a small message after it in the same batch would
        // keep the memory of both messages.
        while !self.messages.has_large() {
            if self.current.is_none() && !self.begin_frame(max_frame)? {
                return Ok(());
            }
            let Some(frame) = &mut self.current else { return Ok(()) };
            let (payload, _) = self.read.split_at(frame.missing.min(self.read.len()));
            let count = payload.len();
            if frame.kind.is_control() {
                self.control.extend_from_slice(payload);
            } else {
                self.messages.extend(payload, &mut frame.mask);
            }
            self.read.advance(count);
            frame.missing -= count;
            if frame.missing > 0 {
                return Ok(());
            }
            let frame = *frame;
            self.current = None;
            self.end_frame(cx, frame)?;
        }
        Ok(())
    }

    /// Parses the header of the next frame. Returns `false` if the header is incomplete, or if the
    /// frame has to wait until the complete messages are handled.
    fn begin_frame(&mut self, max_frame: usize) -> Result<bool, ReceiveEnd> {
        let Some((frame, header)) = frame::parse(&self.read, self.role)? else { return Ok(false) };
        match (frame.kind, self.messages.in_message()) {
            (Kind::Continuation, false) => return Err(WsProtocolError::new("a continuation without a message").into()),
            (Kind::Message, true) => return Err(WsProtocolError::new("a message begins within another message").into()),
            (Kind::Continuation | Kind::Message, _) => {
                let length = frame.missing.saturating_add(self.messages.message_length());
                if length > max_frame && self.messages.has_complete() {
                    // Wait until the session has handled the complete messages, because they may
                    // change `max_frame`: the limit of the handshake differs from the limit of the
                    // session.
                    return Ok(false);
                }
                if length > max_frame {
                    return Err(ReceiveEnd::TooLarge { length, limit: max_frame });
                }
                let is_empty_fragment = frame.missing == 0 && !frame.is_final;
                self.empty_fragments = if is_empty_fragment { self.empty_fragments + 1 } else { 0 };
                if self.empty_fragments > MAX_EMPTY_FRAGMENTS {
                    let reason = "a message has more than 64 consecutive empty fragments";
                    return Err(WsProtocolError { code: CloseCode::Policy, reason }.into());
                }
                if !self.messages.in_message() {
                    self.messages.begin();
                }
            }
            (Kind::Ping | Kind::Pong | Kind::Close, _) => {}
        }
        self.read.advance(header);
        self.current = Some(frame);
        Ok(true)
    }

    fn end_frame(&mut self, cx: &mut Context<'_>, mut frame: FrameInProgress) -> Result<(), ReceiveEnd> {
        let mut payload = mem::take(&mut self.control);
        frame.mask.apply(&mut payload);
        match frame.kind {
            Kind::Message | Kind::Continuation if frame.is_final => self.messages.end(),
            Kind::Message | Kind::Continuation | Kind::Pong => {}
            Kind::Ping => {
                self.writer.lock().push_pong(cx, &payload);
                self.has_unsent_replies = true;
            }
            Kind::Close => {
                check_close(&payload)?;
                // The reply repeats the code, but may omit the reason.
                payload.truncate(2);
                self.writer.lock().push_close(&payload);
                self.has_unsent_replies = true;
                return Err(ReceiveEnd::Closed);
            }
        }
        Ok(())
    }

    fn poll_replies(&mut self, cx: &mut Context<'_>) {
        if self.has_unsent_replies {
            // The next read reports an error of the connection.
            self.has_unsent_replies = self.writer.lock().poll_control(cx).is_pending();
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if let Some(FrameInProgress { kind, missing, mask, .. }) = &mut self.current
            && !kind.is_control()
            && *missing > buffer_pool::READ_SIZE
            && self.read.is_empty()
        {
            let read = ready!(self.messages.poll_read(&mut self.io, cx, *missing, mask))?;
            *missing -= read;
            return Poll::Ready(Ok(read));
        }
        if self.read.is_empty() {
            buffer_pool::reserve(&mut self.read, 0);
        } else if self.read.capacity() == self.read.len() {
            self.read.reserve(buffer_pool::READ_SIZE);
        }
        poll_read_buf(Pin::new(&mut self.io), cx, &mut self.read)
    }

    /// Returns the buffers to the pool while the connection is idle.
    fn release_buffers(&mut self) {
        if self.read.is_empty() {
            // The next connection that takes the buffer can then use its whole memory.
            let _ = self.read.try_reclaim(buffer_pool::READ_SIZE);
            buffer_pool::put(mem::take(&mut self.read));
        }
        self.messages.release_buffer();
    }

    /// Returns the error for `end`. Also sets the close code that the peer will receive.
    fn fail(&self, end: ReceiveEnd) -> ReceiveError {
        let (code, error) = match end {
            ReceiveEnd::Closed => return ReceiveError::Closed,
            ReceiveEnd::ProtocolError(WsProtocolError { code, reason }) => (code, ProtocolError::WebSocket(reason)),
            ReceiveEnd::TooLarge { length, limit } => (CloseCode::Size, ProtocolError::FrameTooLarge { length, limit }),
        };
        self.writer.lock().set_close_code(code);
        error.into()
    }
}

impl<R: AsyncRead + Send + Unpin, W: AsyncWrite + Send + Unpin> Receive for Receiver<R, W> {
    fn poll_receive(&mut self, cx: &mut Context<'_>, max_frame: usize) -> Poll<Result<Bytes, ReceiveError>> {
        for _ in 0..READS {
            if self.end.is_none() {
                self.end = self.parse_buffered(cx, max_frame).err();
            }
            self.poll_replies(cx);
            if self.messages.has_complete() {
                return Poll::Ready(Ok(self.messages.take()));
            }
            if let Some(end) = self.end {
                return Poll::Ready(Err(self.fail(end)));
            }
            match self.poll_read(cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(ReceiveError::Closed)),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Pending => {
                    self.release_buffers();
                    return Poll::Pending;
                }
            }
        }
        wake_after_others(cx);
        Poll::Pending
    }

    fn partial_bytes(&self) -> usize {
        self.messages.partial_bytes()
    }

    fn has_unsent_replies(&self) -> bool {
        self.has_unsent_replies
    }

    // The connection has already sent the close frame and the end of the stream. It therefore
    // discards received bytes without parsing them.
    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<Discarded> {
        poll_discard(cx, |cx| {
            self.read.clear();
            buffer_pool::reserve(&mut self.read, 0);
            poll_read_buf(Pin::new(&mut self.io), cx, &mut self.read).map(|read| matches!(read, Ok(1..)))
        })
    }
}

/// Checks the payload of a close frame.
fn check_close(payload: &[u8]) -> Result<(), WsProtocolError> {
    match payload.split_first_chunk::<2>() {
        None if payload.is_empty() => Ok(()),
        None => Err(WsProtocolError::new("a close frame has an incomplete code")),
        Some((code, _)) if !CloseCode::from(u16::from_be_bytes(*code)).is_allowed() => {
            Err(WsProtocolError::new("a close frame has a reserved code"))
        }
        Some((_, reason)) if str::from_utf8(reason).is_err() => {
            Err(WsProtocolError { code: CloseCode::Invalid, reason: "the reason of a close frame is not UTF-8" })
        }
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::ReadBuf;

    use super::*;

    /// An endless repetition of a frame, which is always ready.
    struct Flood {
        frame: &'static [u8],
        reads: u32,
    }

    impl AsyncRead for Flood {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            self.reads += 1;
            while buf.remaining() >= self.frame.len() {
                buf.put_slice(self.frame);
            }
            Poll::Ready(Ok(()))
        }
    }

    fn receiver(frame: &'static [u8]) -> Receiver<Flood, tokio::io::Sink> {
        let writer = Arc::new(TransportMutex::new(FrameWriter::new(Role::Client, tokio::io::sink())));
        Receiver::new(Role::Client, BytesMut::new(), Flood { frame, reads: 0 }, writer)
    }

    #[test]
    fn endless_control_frames_do_not_block_other_tasks() {
        for frame in [&[0x8a, 0][..], &[0x89, 0]] {
            let mut receiver = receiver(frame);
            let mut cx = Context::from_waker(Waker::noop());
            for polls in 1..10 {
                assert!(receiver.poll_receive(&mut cx, 100).is_pending());
                assert_eq!(receiver.io.reads, polls * READS);
            }
            assert!(receiver.poll_closed(&mut cx) == Poll::Ready(Discarded::Part), "discarding pauses");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn peer_that_keeps_sending_is_discarded_at_a_bounded_rate() {
        let mut receiver = receiver(&[0; 8192]);
        crate::transport::close_gracefully(&mut receiver, |_| Poll::Ready(Ok(()))).await;
        let reads = receiver.io.reads;
        assert!((16..=16 * 2001).contains(&reads), "{reads} reads in two seconds");
    }

    #[test]
    fn too_many_consecutive_empty_fragments_are_rejected() {
        let mut receiver = receiver(&[0x00, 0]);
        receiver.read.extend_from_slice(&[0x02, 0]);
        let polled = receiver.poll_receive(&mut Context::from_waker(Waker::noop()), 100);
        let Poll::Ready(Err(ReceiveError::Violation(error))) = polled else { panic!("{polled:?}") };
        assert!(error.to_string().contains("empty fragments"), "{error}");
    }
}
