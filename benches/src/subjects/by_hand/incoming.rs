//! The receiving half of a connection.
//!
//! All connections of a thread share a read buffer, so an idle connection needs no read buffer. A
//! connection copies only an incomplete frame out of the shared buffer. If a frame is longer than
//! the shared buffer, the connection reads the frame into a separate buffer.

use std::{
    cell::RefCell,
    pin::Pin,
    task::{Context, Poll, ready},
};

use anyhow::{Result, bail};
use bytes::BufMut;
use tokio::{
    io::{AsyncRead, ReadBuf},
    net::tcp::OwnedReadHalf,
};
use tokio_util::io::poll_read_buf;

use super::frame::{Frame, frame_length, take_frame};

const SHARED: usize = 64 << 10;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SHARED].into());
}

pub enum Received<'a> {
    Frame(Frame<'a>),
    /// A frame of more than [`SHARED`] bytes, in a separate buffer.
    Large(Vec<u8>),
}

impl<'a> Received<'a> {
    /// Returns the frame, or an error if the frame is large.
    pub fn expect_small(self) -> Result<Frame<'a>> {
        match self {
            Self::Frame(frame) => Ok(frame),
            Self::Large(_) => bail!("an unexpected large frame"),
        }
    }
}

pub struct Incoming {
    read: OwnedReadHalf,
    /// The part of an incomplete frame that has been received.
    partial: Vec<u8>,
}

impl Incoming {
    pub fn new(read: OwnedReadHalf) -> Self {
        Self { read, partial: Vec::new() }
    }

    /// Reads once and handles the complete frames. Returns `false` if the peer has closed the
    /// connection.
    pub fn poll_frames(
        &mut self,
        cx: &mut Context<'_>,
        mut handle: impl FnMut(Received<'_>) -> Result<()>,
    ) -> Poll<Result<bool>> {
        if let Some(length) = frame_length(&self.partial)?.filter(|&length| length > SHARED) {
            return self.poll_large(cx, length, handle);
        }
        BUFFER.with_borrow_mut(|buffer| {
            let before = self.partial.len();
            buffer[..before].copy_from_slice(&self.partial);
            let mut unfilled = ReadBuf::new(&mut buffer[before..]);
            ready!(Pin::new(&mut self.read).poll_read(cx, &mut unfilled))?;
            let read = unfilled.filled().len();
            let mut rest = &buffer[..before + read];
            while let Some(frame) = take_frame(&mut rest)? {
                handle(Received::Frame(frame))?;
            }
            self.partial = rest.to_vec();
            Poll::Ready(Ok(read > 0))
        })
    }

    fn poll_large(
        &mut self,
        cx: &mut Context<'_>,
        length: usize,
        mut handle: impl FnMut(Received<'_>) -> Result<()>,
    ) -> Poll<Result<bool>> {
        let missing = length - self.partial.len();
        self.partial.reserve_exact(missing);
        let mut unfilled = (&mut self.partial).limit(missing);
        let read = ready!(poll_read_buf(Pin::new(&mut self.read), cx, &mut unfilled))?;
        if read == missing {
            handle(Received::Large(std::mem::take(&mut self.partial)))?;
        }
        Poll::Ready(Ok(read > 0))
    }
}
