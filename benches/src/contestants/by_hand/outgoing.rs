//! Writing: whoever has something to send tries to write it at once; what does not fit waits for the connection's task.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use tokio::{io::AsyncWrite, net::tcp::OwnedWriteHalf};

pub struct Outgoing {
    write: OwnedWriteHalf,
    buffer: Vec<u8>,
    /// How many bytes at the beginning of the buffer have been written.
    written: usize,
    /// The connection takes no more: its task waits until it does.
    blocked: bool,
    /// The task's.
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

    /// How many bytes wait.
    pub fn len(&self) -> usize {
        self.buffer.len() - self.written
    }

    /// To append to.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Writes these bytes behind those that wait, as far as that is possible now.
    pub fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        if self.len() == 0 && !self.blocked {
            rest = &bytes[self.try_write(bytes)?..];
        }
        self.buffer.extend_from_slice(rest);
        Ok(())
    }

    /// The same, without copying what does not fit.
    pub fn push_buffer(&mut self, buffer: Vec<u8>) -> io::Result<()> {
        if self.len() > 0 {
            return self.push(&buffer);
        }
        self.buffer = buffer;
        self.written = 0;
        self.flush()
    }

    /// Writes what waits, as far as that is possible now.
    pub fn flush(&mut self) -> io::Result<()> {
        if !self.blocked && self.len() > 0 {
            let buffer = std::mem::take(&mut self.buffer);
            let tried = self.try_write(&buffer[self.written..]);
            self.buffer = buffer;
            self.advance(tried?);
        }
        Ok(())
    }

    /// Has the task write what does not fit.
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

    /// For the connection's task: writes everything.
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

    /// Gives the buffer back, for a connection that may be idle from now on.
    pub fn free(&mut self) {
        if self.len() == 0 {
            self.buffer = Vec::new();
        }
    }
}
