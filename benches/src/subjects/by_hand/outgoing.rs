//! The sending half of a connection. A sender first tries to write its bytes immediately. The
//! connection's task writes the rest.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use tokio::{io::AsyncWrite, net::tcp::OwnedWriteHalf};

pub struct Outgoing {
    write: OwnedWriteHalf,
    buffer: Vec<u8>,
    /// The number of bytes at the beginning of the buffer that have been written.
    written: usize,
    /// `true` while the connection accepts no bytes and its task waits.
    blocked: bool,
    /// The waker of the connection's task.
    waker: Waker,
}

impl Outgoing {
    pub fn new(write: OwnedWriteHalf) -> Self {
        Self { write, buffer: Vec::new(), written: 0, blocked: false, waker: Waker::noop().clone() }
    }

    pub fn set_waker(&mut self, waker: &Waker) {
        self.waker.clone_from(waker);
    }

    pub fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Returns the number of unwritten bytes.
    pub fn len(&self) -> usize {
        self.buffer.len() - self.written
    }

    /// Returns the buffer, to which the caller can append frames.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Writes as many of the bytes as possible, and buffers the rest. If earlier bytes are
    /// unwritten, the method buffers all bytes after them.
    pub fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        if self.len() == 0 && !self.blocked {
            rest = &bytes[self.try_write(bytes)?..];
        }
        self.buffer.extend_from_slice(rest);
        Ok(())
    }

    /// Writes a buffer as [`push`](Self::push) does, but does not copy the rest of the bytes.
    pub fn push_buffer(&mut self, buffer: Vec<u8>) -> io::Result<()> {
        if self.len() > 0 {
            return self.push(&buffer);
        }
        self.buffer = buffer;
        self.written = 0;
        self.flush()
    }

    /// Writes as many unwritten bytes as possible.
    pub fn flush(&mut self) -> io::Result<()> {
        if !self.blocked && self.len() > 0 {
            let buffer = std::mem::take(&mut self.buffer);
            let tried = self.try_write(&buffer[self.written..]);
            self.buffer = buffer;
            self.advance(tried?);
        }
        Ok(())
    }

    /// Writes once. If bytes remain unwritten, the method wakes the connection's task.
    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match self.write.try_write(bytes) {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        if written < bytes.len() {
            self.blocked = true;
            self.waker.wake_by_ref();
        }
        Ok(written)
    }

    /// Writes all unwritten bytes. The connection's task calls this method.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.len() > 0 {
            let poll = Pin::new(&mut self.write).poll_write(cx, &self.buffer[self.written..]);
            self.blocked = poll.is_pending();
            match ready!(poll)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.advance(written),
            }
        }
        self.blocked = false;
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, written: usize) {
        self.written += written;
        if self.len() == 0 {
            self.buffer.clear();
            self.written = 0;
        } else if self.written > self.buffer.len() / 2 {
            self.buffer.drain(..self.written);
            self.written = 0;
        }
    }

    /// Frees the buffer if it is empty, since the connection may become idle.
    pub fn release_buffer(&mut self) {
        if self.len() == 0 {
            self.buffer = Vec::new();
        }
    }
}
