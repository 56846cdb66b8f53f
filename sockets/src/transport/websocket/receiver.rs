//! The receiving half: messages become frames of ours, and control frames are answered.

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
use crate::lock::TransportMutex;
use crate::transport::{Discarded, Receive, ReceiveError, poll_discard, pool, wake_after_others};
use sockets_proto::ProtocolError;

/// How many reads one turn makes without receiving a whole message. A read may hold thousands of control frames and empty
/// fragments, which take about 100 µs.
const READS: u32 = 4;
/// How many fragments in a row may be empty. RFC 6455 sets no limit, but only an attacker has a use for more.
const EMPTY_FRAGMENTS: u32 = 64;

pub(super) struct Receiver<R, W> {
    role: Role,
    io: R,
    outgoing: Arc<TransportMutex<FrameWriter<W>>>,
    /// What has been read and not been looked at.
    read: BytesMut,
    messages: Reassembly,
    /// The frame whose payload is coming.
    current: Option<FrameInProgress>,
    /// How many fragments in a row have been empty.
    empty_fragments: u32,
    /// The payload of a control frame.
    control: Vec<u8>,
    /// There may be an answer to a control frame that is not written.
    answering: bool,
    end: Option<ReceiveEnd>,
}

/// Why nothing more is taken.
#[derive(Clone, Copy)]
enum ReceiveEnd {
    Closed,
    Misuse(WsProtocolError),
    TooLarge { length: usize, limit: usize },
}

impl From<WsProtocolError> for ReceiveEnd {
    fn from(misuse: WsProtocolError) -> Self {
        Self::Misuse(misuse)
    }
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Receiver<R, W> {
    pub(super) fn new(role: Role, read: BytesMut, io: R, outgoing: Arc<TransportMutex<FrameWriter<W>>>) -> Self {
        Self {
            role,
            io,
            outgoing,
            read,
            messages: Reassembly::default(),
            current: None,
            empty_fragments: 0,
            control: Vec::new(),
            answering: false,
            end: None,
        }
    }

    /// Looks at what has been read, as far as it goes.
    fn parse_buffered(&mut self, cx: &mut Context<'_>, max_frame: usize) -> Result<(), ReceiveEnd> {
        // Nothing comes into a batch behind a large message: a small one there would keep the memory of both.
        while !self.messages.has_large() {
            if self.current.is_none() && !self.begin(max_frame)? {
                return Ok(());
            }
            let Some(begun) = &mut self.current else { return Ok(()) };
            let (come, _) = self.read.split_at(begun.missing.min(self.read.len()));
            let count = come.len();
            if begun.kind.is_control() {
                self.control.extend_from_slice(come);
            } else {
                self.messages.extend(come, &mut begun.mask);
            }
            self.read.advance(count);
            begun.missing -= count;
            if begun.missing > 0 {
                return Ok(());
            }
            let ended = *begun;
            self.current = None;
            self.ended(cx, ended)?;
        }
        Ok(())
    }

    /// Reads the header of the next frame. `false` if that has to wait.
    fn begin(&mut self, max_frame: usize) -> Result<bool, ReceiveEnd> {
        let Some((begun, header)) = frame::parse(&self.read, self.role)? else { return Ok(false) };
        match (begun.kind, self.messages.in_message()) {
            (Kind::Continuation, false) => return Err(WsProtocolError::new("a continuation continues nothing").into()),
            (Kind::Message, true) => return Err(WsProtocolError::new("a message begins within another one").into()),
            (Kind::Continuation | Kind::Message, _) => {
                let length = begun.missing.saturating_add(self.messages.length());
                if length > max_frame && self.messages.has_whole() {
                    // Those before it are still handled, and the limit may be another one then.
                    return Ok(false);
                }
                if length > max_frame {
                    return Err(ReceiveEnd::TooLarge { length, limit: max_frame });
                }
                let is_empty_fragment = begun.missing == 0 && !begun.is_final;
                self.empty_fragments = if is_empty_fragment { self.empty_fragments + 1 } else { 0 };
                if self.empty_fragments > EMPTY_FRAGMENTS {
                    let what = "a message has more than 64 empty fragments in a row";
                    return Err(WsProtocolError { code: CloseCode::Policy, what }.into());
                }
                if !self.messages.in_message() {
                    self.messages.begin();
                }
            }
            (Kind::Ping | Kind::Pong | Kind::Close, _) => {}
        }
        self.read.advance(header);
        self.current = Some(begun);
        Ok(true)
    }

    fn ended(&mut self, cx: &mut Context<'_>, mut frame: FrameInProgress) -> Result<(), ReceiveEnd> {
        let mut payload = mem::take(&mut self.control);
        frame.mask.apply(&mut payload);
        match frame.kind {
            Kind::Message | Kind::Continuation if frame.is_final => self.messages.end(),
            Kind::Message | Kind::Continuation | Kind::Pong => {}
            Kind::Ping => {
                self.outgoing.lock().pong(cx, &payload);
                self.answering = true;
            }
            Kind::Close => {
                check_close(&payload)?;
                // The same code comes back; the words need not.
                payload.truncate(2);
                self.outgoing.lock().close(&payload);
                self.answering = true;
                return Err(ReceiveEnd::Closed);
            }
        }
        Ok(())
    }

    fn answer(&mut self, cx: &mut Context<'_>) {
        if self.answering {
            // What is wrong with the connection is found out by reading.
            self.answering = self.outgoing.lock().poll_control(cx).is_pending();
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if let Some(FrameInProgress { kind, missing, mask, .. }) = &mut self.current
            && !kind.is_control()
            && *missing > pool::READ_SIZE
            && self.read.is_empty()
        {
            let read = ready!(self.messages.poll_read(&mut self.io, cx, *missing, mask))?;
            *missing -= read;
            return Poll::Ready(Ok(read));
        }
        if self.read.is_empty() {
            pool::reserve(&mut self.read, 0);
        } else if self.read.capacity() == self.read.len() {
            self.read.reserve(pool::READ_SIZE);
        }
        poll_read_buf(Pin::new(&mut self.io), cx, &mut self.read)
    }

    /// Keeps no memory while nothing comes.
    fn rest(&mut self) {
        if self.read.is_empty() {
            // All of it is of use to the next one.
            let _ = self.read.try_reclaim(pool::READ_SIZE);
            pool::give_back(mem::take(&mut self.read));
        }
        self.messages.rest();
    }

    /// The other side is told when this one closes.
    fn fail(&self, end: ReceiveEnd) -> ReceiveError {
        let (code, violation) = match end {
            ReceiveEnd::Closed => return ReceiveError::Closed,
            ReceiveEnd::Misuse(WsProtocolError { code, what }) => (code, ProtocolError::WebSocket(what)),
            ReceiveEnd::TooLarge { length, limit } => (CloseCode::Size, ProtocolError::FrameTooLarge { length, limit }),
        };
        self.outgoing.lock().fail(code);
        violation.into()
    }
}

impl<R: AsyncRead + Send + Unpin, W: AsyncWrite + Send + Unpin> Receive for Receiver<R, W> {
    fn poll_receive(&mut self, cx: &mut Context<'_>, max_frame: usize) -> Poll<Result<Bytes, ReceiveError>> {
        for _ in 0..READS {
            if self.end.is_none() {
                self.end = self.parse_buffered(cx, max_frame).err();
            }
            self.answer(cx);
            if self.messages.has_whole() {
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
                    self.rest();
                    return Poll::Pending;
                }
            }
        }
        wake_after_others(cx);
        Poll::Pending
    }

    fn partial_bytes(&self) -> usize {
        self.messages.begun()
    }

    fn has_unsent_replies(&self) -> bool {
        self.answering
    }

    // Our close has been written, and the end of the stream behind it: nothing is parsed any more.
    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<Discarded> {
        poll_discard(cx, |cx| {
            self.read.clear();
            pool::reserve(&mut self.read, 0);
            poll_read_buf(Pin::new(&mut self.io), cx, &mut self.read).map(|read| matches!(read, Ok(1..)))
        })
    }
}

/// Whether a peer may close like this.
fn check_close(payload: &[u8]) -> Result<(), WsProtocolError> {
    match payload.split_first_chunk::<2>() {
        None if payload.is_empty() => Ok(()),
        None => Err(WsProtocolError::new("a close has half a code")),
        Some((code, _)) if !CloseCode::from(u16::from_be_bytes(*code)).is_allowed() => {
            Err(WsProtocolError::new("a close has a code that is not to be sent"))
        }
        Some((_, reason)) if str::from_utf8(reason).is_err() => {
            Err(WsProtocolError { code: CloseCode::Invalid, what: "a close has a reason that is not UTF-8" })
        }
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::ReadBuf;

    use super::*;

    /// Is always ready, and repeats a frame without end.
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
        let outgoing = Arc::new(TransportMutex::new(FrameWriter::new(Role::Client, tokio::io::sink())));
        Receiver::new(Role::Client, BytesMut::new(), Flood { frame, reads: 0 }, outgoing)
    }

    #[test]
    fn control_frames_without_end_leave_other_tasks_their_turn() {
        for frame in [&[0x8a, 0][..], &[0x89, 0]] {
            let mut receiver = receiver(frame);
            let mut cx = Context::from_waker(Waker::noop());
            for turn in 1..10 {
                assert!(receiver.poll_receive(&mut cx, 100).is_pending());
                assert_eq!(receiver.io.reads, turn * READS);
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
    fn too_many_empty_fragments_in_a_row_are_refused() {
        let mut receiver = receiver(&[0x00, 0]);
        receiver.read.extend_from_slice(&[0x02, 0]);
        let polled = receiver.poll_receive(&mut Context::from_waker(Waker::noop()), 100);
        let Poll::Ready(Err(ReceiveError::Violation(violation))) = polled else { panic!("{polled:?}") };
        assert!(violation.to_string().contains("empty fragments"), "{violation}");
    }
}
