//! What goes out: messages, and between them what the receiver answers to control frames.

use std::{
    io::{self, IoSlice},
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use tokio::io::AsyncWrite;
use tungstenite::protocol::{
    Role,
    frame::coding::{CloseCode, Control},
};

use super::{
    super::pool,
    frame::{self, HEADER_MAX, Mask},
};
use sockets_proto::{PREFIX, SendBuffer};

/// How many pieces of an outbox are looked at at once.
const GATHER: usize = 32;
/// So many bytes are written at once of an outbox that holds much.
const LARGE: usize = 64 * 1024;
/// The limit, in bytes, of pongs that wait to be written. When it is exceeded, only the latest ping is answered, as
/// RFC 6455, 5.5.3 allows.
const PONGS: usize = 4096;

/// The sending half of a connection, which the receiver shares.
pub(super) struct FrameWriter<W> {
    io: W,
    role: Role,
    /// Bytes that are about to be written, and how many of them have been. Nothing is added until all are.
    staged: BytesMut,
    written: usize,
    /// How many bytes the connection has accepted, in total.
    accepted: u64,
    /// How much of the outbox is in `staged`: as long as some of it is not written, the outbox is not empty.
    taken: usize,
    /// What is missing in `staged` of the message that was begun in it, and its mask.
    missing: usize,
    mask: Mask,
    /// Pongs and a close, to be sent between two messages.
    control: Vec<u8>,
    /// With which code this side closes.
    code: CloseCode,
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
            code: CloseCode::Normal,
            closed: false,
        }
    }

    /// Answers a ping.
    pub(super) fn pong(&mut self, cx: &mut Context<'_>, payload: &[u8]) {
        if self.control.len() > PONGS {
            // An error is reported to the reader, too.
            let _ = self.poll_control(cx);
        }
        if self.control.len() > PONGS && !self.closed {
            self.control.clear();
        }
        self.push_control(Control::Pong, payload);
    }

    /// Closes, or answers a close: nothing goes out behind it.
    pub(super) fn close(&mut self, payload: &[u8]) {
        self.push_control(Control::Close, payload);
        self.closed = true;
    }

    /// Says with which code this side is going to close.
    pub(super) fn fail(&mut self, code: CloseCode) {
        self.code = code;
    }

    fn push_control(&mut self, kind: Control, payload: &[u8]) {
        if !self.closed {
            frame::push_control(kind, payload, self.new_mask(), &mut self.control);
        }
    }

    /// Only clients mask.
    fn new_mask(&self) -> Option<Mask> {
        (self.role == Role::Client).then(Mask::random)
    }

    /// Returns how many bytes the connection has accepted, in total.
    pub(super) fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Writes control frames. If a message is under way, they are left to the task that writes it.
    pub(super) fn poll_control(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.taken > 0 {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_all_control(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// Writes staged bytes, and then control frames as long as there are any.
    fn poll_all_control(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_write_staged(cx))?;
            self.stage_control();
            if self.staged.is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Writes until `outbox` is empty.
    pub(super) fn poll_outbox(&mut self, cx: &mut Context<'_>, outbox: &mut SendBuffer) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_write_staged(cx))?;
            outbox.advance(mem::take(&mut self.taken));
            if self.closed {
                // Nobody hears it any more. What the other side said before it closed may still have to be handled.
                outbox.advance(outbox.len());
            }
            self.stage(outbox)?;
            if self.staged.is_empty() {
                return Pin::new(&mut self.io).poll_flush(cx);
            }
        }
    }

    /// Says that nothing more will come.
    pub(super) fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.close(&u16::from(self.code).to_be_bytes());
        ready!(self.poll_all_control(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    /// Stages control frames. Staged bytes must have been written: otherwise the limit of `control` would limit nothing.
    fn stage_control(&mut self) {
        debug_assert!(self.staged.is_empty(), "control frames are staged once the staged bytes are written");
        // Control frames may not interrupt a frame of a message.
        if self.missing == 0 && !self.control.is_empty() {
            self.staged.extend_from_slice(&self.control);
            self.control = Vec::new();
        }
    }

    /// Stages what is to be written next: of messages, what is at the front of the outbox.
    fn stage(&mut self, outbox: &SendBuffer) -> io::Result<()> {
        self.stage_control();
        if outbox.is_empty() {
            return Ok(());
        }
        let room = if outbox.len() > pool::READ_SIZE { LARGE } else { pool::READ_SIZE };
        if self.staged.capacity() == 0 {
            self.staged = pool::take();
        }
        self.staged.reserve(room);
        let mut slices = [IoSlice::new(&[]); GATHER];
        let filled = outbox.slices(&mut slices);
        let mut front = FrontMessage { slices: &slices[..filled], at: 0, taken: 0 };
        while self.staged.len() + HEADER_MAX < room {
            if self.missing == 0 {
                let Some(length) = front.prefix() else { break };
                let mask = self.new_mask();
                self.missing = length;
                self.mask = mask.unwrap_or(Mask::NONE);
                self.staged.extend_from_slice(frame::message(length, mask).as_slice());
            }
            let start = self.staged.len();
            self.missing -= front.copy(self.missing.min(room - start), &mut self.staged);
            self.mask.apply(&mut self.staged[start..]);
            if self.missing > 0 {
                break;
            }
        }
        self.taken = front.taken;
        // An outbox holds whole frames, each prefix in one piece.
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
        pool::give_back(mem::take(&mut self.staged));
        Poll::Ready(Ok(()))
    }
}

/// The front of an outbox, of which some has been taken.
struct FrontMessage<'a> {
    slices: &'a [IoSlice<'a>],
    /// Where in the first slice.
    at: usize,
    taken: usize,
}

impl FrontMessage<'_> {
    /// What is left of the first slice that is not through.
    fn rest(&mut self) -> &[u8] {
        while let Some((first, others)) = self.slices.split_first()
            && self.at == first.len()
        {
            self.slices = others;
            self.at = 0;
        }
        self.slices.first().map_or(&[], |first| &first[self.at..])
    }

    /// Takes the prefix of a frame: the frame's length.
    fn prefix(&mut self) -> Option<usize> {
        let prefix = *self.rest().first_chunk::<PREFIX>()?;
        self.skip(PREFIX);
        usize::try_from(u32::from_le_bytes(prefix)).ok()
    }

    /// Copies up to `count` bytes, and says how many there were.
    fn copy(&mut self, count: usize, out: &mut BytesMut) -> usize {
        let mut copied = 0;
        while copied < count {
            let rest = self.rest();
            let step = rest.len().min(count - copied);
            if step == 0 {
                break;
            }
            out.extend_from_slice(&rest[..step]);
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

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn pongs_unread_by_peer_are_bounded() {
        for role in [Role::Server, Role::Client] {
            let (near, _unread) = tokio::io::duplex(64);
            let mut outgoing = FrameWriter::new(role, near);
            let mut cx = Context::from_waker(Waker::noop());
            for number in 0..10_000_u32 {
                outgoing.pong(&mut cx, &[&number.to_le_bytes()[..], &[0; 100]].concat());
                if number % 7 == 0 {
                    let _ = outgoing.poll_control(&mut cx);
                }
                let waiting = outgoing.staged.len() + outgoing.control.len();
                assert!(waiting <= 2 * (PONGS + HEADER_MAX + 125), "{waiting} bytes wait");
            }
        }
    }
}
