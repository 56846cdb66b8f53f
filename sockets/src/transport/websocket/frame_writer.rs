//! The writer of a connection. It writes messages, and between them replies to control frames.

use std::{
    io::{self, IoSlice},
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use tokio::io::AsyncWrite;
use tungstenite::protocol::{
    Role,
    frame::coding::{CloseCode, Control},
};

use super::{
    super::buffer_pool,
    frame::{self, HEADER_MAX, Mask},
};
use crate::{lock::TransportMutex, transport::Transmit};
use sockets_proto::{PREFIX, SendBuffer};

/// The number of chunks of a send buffer that are read at once.
const MAX_SLICES: usize = 32;
/// The size of a write in bytes if the send buffer holds more than [`buffer_pool::READ_SIZE`].
const LARGE_WRITE: usize = 64 * 1024;
/// Maximum number of bytes of unwritten pongs. When it is reached, the connection answers only the
/// latest ping, which RFC 6455, 5.5.3 allows.
const MAX_PONG_BYTES: usize = 4096;

/// The writer of a connection. The transmitter shares it with the receiver, which replies to
/// control frames.
pub(super) struct FrameWriter<W> {
    io: W,
    role: Role,
    /// Bytes to be written. No bytes are added before all of these bytes are written.
    staged: BytesMut,
    /// The number of written bytes of `staged`.
    written: usize,
    /// The total number of bytes that the connection has accepted.
    accepted: u64,
    /// The number of bytes at the front of the send buffer that are also in `staged`. These bytes
    /// remain in the send buffer until they are written, because an empty send buffer means that
    /// all bytes have been written.
    taken: usize,
    /// The number of bytes of the current message that have not been added to `staged` yet.
    missing: usize,
    /// The mask of the current message.
    mask: Mask,
    /// Pongs and a close frame, to be sent between two messages.
    control: Vec<u8>,
    /// The code of the local close frame.
    close_code: CloseCode,
    closed: bool,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    pub(super) fn new(role: Role, io: W) -> Self {
        Self {
            io,
            role,
            staged: BytesMut::new(),
            written: 0,
            accepted: 0,
            taken: 0,
            missing: 0,
            mask: Mask::NONE,
            control: Vec::new(),
            close_code: CloseCode::Normal,
            closed: false,
        }
    }

    /// Replies to a ping.
    pub(super) fn push_pong(&mut self, cx: &mut Context<'_>, payload: &[u8]) {
        if self.control.len() > MAX_PONG_BYTES {
            // The receiver reports the error when it reads.
            let _ = self.poll_control(cx);
        }
        if self.control.len() > MAX_PONG_BYTES && !self.closed {
            self.control.clear();
        }
        self.push_control(Control::Pong, payload);
    }

    /// Sends a close frame, or replies to the peer's close frame. No frame is sent after it.
    pub(super) fn push_close(&mut self, payload: &[u8]) {
        self.push_control(Control::Close, payload);
        self.closed = true;
    }

    /// Sets the code of the local close frame.
    pub(super) fn set_close_code(&mut self, code: CloseCode) {
        self.close_code = code;
    }

    fn push_control(&mut self, kind: Control, payload: &[u8]) {
        if !self.closed {
            frame::push_control(kind, payload, self.new_mask(), &mut self.control);
        }
    }

    /// Returns a mask for a new frame of a client. Servers do not mask their frames.
    fn new_mask(&self) -> Option<Mask> {
        (self.role == Role::Client).then(Mask::random)
    }

    /// Returns the total number of bytes that the connection has accepted.
    pub(super) fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Writes the queued control frames. If a message is only partly written, this method does
    /// nothing, and [`poll_transmit`](Self::poll_transmit) writes the control frames after the
    /// message.
    pub(super) fn poll_control(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.taken > 0 {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_all_control(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// Writes the bytes of `staged`, and then all queued control frames.
    fn poll_all_control(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_write_staged(cx))?;
            self.stage_control();
            if self.staged.is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Writes until `send_buffer` is empty.
    pub(super) fn poll_transmit(&mut self, cx: &mut Context<'_>, send_buffer: &mut SendBuffer) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_write_staged(cx))?;
            send_buffer.advance(mem::take(&mut self.taken));
            if self.closed {
                // The peer would ignore frames after the close frame, so the remaining frames are
                // dropped. The function returns no error, since the session may still have to
                // handle received frames.
                send_buffer.advance(send_buffer.len());
            }
            self.stage(send_buffer)?;
            if self.staged.is_empty() {
                return Pin::new(&mut self.io).poll_flush(cx);
            }
        }
    }

    /// Sends a close frame and closes the sending half.
    pub(super) fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.push_close(&u16::from(self.close_code).to_be_bytes());
        ready!(self.poll_all_control(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    /// Moves the queued control frames to `staged`.
    ///
    /// All bytes of `staged` must have been written before. Otherwise `staged` would grow, and the
    /// limit of `control` would have no effect.
    fn stage_control(&mut self) {
        debug_assert!(self.staged.is_empty(), "control frames are staged only after all staged bytes are written");
        // Control frames may not interrupt a frame of a message.
        if self.missing == 0 && !self.control.is_empty() {
            self.staged.extend_from_slice(&self.control);
            self.control = Vec::new();
        }
    }

    /// Adds the next bytes to write to `staged`: first the queued control frames, then the front of
    /// the send buffer.
    fn stage(&mut self, send_buffer: &SendBuffer) -> io::Result<()> {
        self.stage_control();
        if send_buffer.is_empty() {
            return Ok(());
        }
        let capacity = if send_buffer.len() > buffer_pool::READ_SIZE { LARGE_WRITE } else { buffer_pool::READ_SIZE };
        if self.staged.capacity() == 0 {
            self.staged = buffer_pool::take();
        }
        self.staged.reserve(capacity);
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let filled = send_buffer.slices(&mut slices);
        let mut front = FrontMessage { slices: &slices[..filled], at: 0, taken: 0 };
        while self.staged.len() + HEADER_MAX < capacity {
            if self.missing == 0 {
                let Some(length) = front.read_prefix() else { break };
                let mask = self.new_mask();
                self.missing = length;
                self.mask = mask.unwrap_or(Mask::NONE);
                self.staged.extend_from_slice(frame::message(length, mask).as_slice());
            }
            let start = self.staged.len();
            self.missing -= front.copy(self.missing.min(capacity - start), &mut self.staged);
            self.mask.apply(&mut self.staged[start..]);
            if self.missing > 0 {
                break;
            }
        }
        self.taken = front.taken;
        // A send buffer holds whole frames, and each prefix is within a single chunk.
        if self.taken == 0 { Err(io::ErrorKind::InvalidData.into()) } else { Ok(()) }
    }

    fn poll_write_staged(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.staged.len() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.staged[self.written..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += written;
            self.accepted += written as u64;
        }
        self.written = 0;
        self.staged.clear();
        // An idle connection holds no buffer.
        buffer_pool::put(mem::take(&mut self.staged));
        Poll::Ready(Ok(()))
    }
}

/// A reader of the front of a send buffer.
struct FrontMessage<'a> {
    slices: &'a [IoSlice<'a>],
    /// The position in the first slice.
    at: usize,
    /// The total number of bytes read.
    taken: usize,
}

impl FrontMessage<'_> {
    /// Returns the unread part of the first slice that has not been read completely.
    fn chunk(&mut self) -> &[u8] {
        while let Some((first, rest)) = self.slices.split_first()
            && self.at == first.len()
        {
            self.slices = rest;
            self.at = 0;
        }
        self.slices.first().map_or(&[], |first| &first[self.at..])
    }

    /// Reads the prefix of a frame, which is the frame's length.
    fn read_prefix(&mut self) -> Option<usize> {
        let prefix = *self.chunk().first_chunk::<PREFIX>()?;
        self.skip(PREFIX);
        usize::try_from(u32::from_le_bytes(prefix)).ok()
    }

    /// Copies up to `count` bytes, and returns the number of copied bytes.
    fn copy(&mut self, count: usize, out: &mut BytesMut) -> usize {
        let mut copied = 0;
        while copied < count {
            let chunk = self.chunk();
            let step = chunk.len().min(count - copied);
            if step == 0 {
                break;
            }
            out.extend_from_slice(&chunk[..step]);
            self.skip(step);
            copied += step;
        }
        copied
    }

    fn skip(&mut self, count: usize) {
        self.at += count;
        self.taken += count;
    }
}

/// The sending half. It shares the frame writer with the receiver.
pub(super) struct Transmitter<W>(Arc<TransportMutex<FrameWriter<W>>>);

impl<W> Transmitter<W> {
    pub(super) fn new(writer: Arc<TransportMutex<FrameWriter<W>>>) -> Self {
        Self(writer)
    }
}

impl<W: AsyncWrite + Send + Unpin> Transmit for Transmitter<W> {
    fn poll_transmit(&mut self, cx: &mut Context<'_>, send_buffer: &mut SendBuffer) -> Poll<io::Result<()>> {
        self.0.lock().poll_transmit(cx, send_buffer)
    }

    fn accepted(&self) -> u64 {
        self.0.lock().accepted()
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().poll_finish(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn pongs_unread_by_peer_are_bounded() {
        for role in [Role::Server, Role::Client] {
            let (near, _unread) = tokio::io::duplex(64);
            let mut writer = FrameWriter::new(role, near);
            let mut cx = Context::from_waker(Waker::noop());
            for number in 0..10_000_u32 {
                writer.push_pong(&mut cx, &[&number.to_le_bytes()[..], &[0; 100]].concat());
                if number % 7 == 0 {
                    let _ = writer.poll_control(&mut cx);
                }
                let unwritten = writer.staged.len() + writer.control.len();
                assert!(unwritten <= 2 * (MAX_PONG_BYTES + HEADER_MAX + 125), "{unwritten} unwritten bytes");
            }
        }
    }
}
