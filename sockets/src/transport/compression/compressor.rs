//! The sending half.

use std::{
    io,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;

use super::{Setting, lz4::compress};
use crate::transport::{Transmit, take_frame};
use sockets_proto::{SendBuffer, frame_with_prefix};

/// So many bytes are prepared together.
const AT_ONCE: usize = 64 * 1024;

pub(super) struct CompressingTransmitter {
    transmitter: Box<dyn Transmit>,
    /// What has been taken out of the session's outbox and is not written.
    prepared: SendBuffer,
    setting: Arc<Setting>,
}

impl CompressingTransmitter {
    pub(super) fn new(transmitter: Box<dyn Transmit>, setting: &Arc<Setting>) -> Self {
        Self { transmitter, prepared: SendBuffer::default(), setting: Arc::clone(setting) }
    }

    /// Takes frames out of an outbox that holds whole ones.
    fn prepare(&mut self, outbox: &mut SendBuffer) -> io::Result<()> {
        while !outbox.is_empty() && self.prepared.len() < AT_ONCE {
            let frame = self.next(outbox).ok_or(io::ErrorKind::InvalidData)?;
            self.prepared.push_encoded(&frame);
        }
        Ok(())
    }

    fn next(&self, outbox: &mut SendBuffer) -> Option<Bytes> {
        // In a piece of its own, a frame may be in the outboxes of others, too.
        if let Some(piece) = outbox.first_chunk()
            && frame_with_prefix(piece) == Some(piece.len())
        {
            let frame = piece.clone();
            outbox.advance(frame.len());
            let deflated =
                if frame.len() >= self.setting.from { self.setting.recent.get_or_compress(&frame) } else { None };
            return Some(deflated.unwrap_or(frame));
        }
        let frame = take_frame(outbox)?;
        let deflated = if frame.len() >= self.setting.from { compress(&frame) } else { None };
        Some(deflated.unwrap_or(frame))
    }
}

impl Transmit for CompressingTransmitter {
    fn poll_transmit(&mut self, cx: &mut Context<'_>, outbox: &mut SendBuffer) -> Poll<io::Result<()>> {
        loop {
            ready!(self.transmitter.poll_transmit(cx, &mut self.prepared))?;
            if outbox.is_empty() {
                return Poll::Ready(Ok(()));
            }
            if outbox.len() < self.setting.from {
                // Among so few bytes no frame is to be compressed. It gets no longer until all of it is written.
                return self.transmitter.poll_transmit(cx, outbox);
            }
            self.prepare(outbox)?;
        }
    }

    fn accepted(&self) -> u64 {
        self.transmitter.accepted()
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transmitter.poll_finish(cx)
    }
}
