//! The sending half, which compresses frames.

use std::{
    io,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;

use super::{Setting, lz4::compress};
use crate::transport::{Transmit, take_frame};
use sockets_proto::{SendBuffer, frame_with_prefix};

/// The target size in bytes of the frames that the transmitter compresses before the next write.
const BATCH_SIZE: usize = 64 * 1024;

pub(super) struct CompressingTransmitter {
    transmitter: Box<dyn Transmit>,
    /// Frames that were taken out of the session's send buffer and have not been written.
    prepared: SendBuffer,
    setting: Arc<Setting>,
}

impl CompressingTransmitter {
    pub(super) fn new(transmitter: Box<dyn Transmit>, setting: &Arc<Setting>) -> Self {
        Self { transmitter, prepared: SendBuffer::default(), setting: Arc::clone(setting) }
    }

    /// Moves frames from a send buffer of whole frames to `prepared`.
    fn prepare(&mut self, send_buffer: &mut SendBuffer) -> io::Result<()> {
        while !send_buffer.is_empty() && self.prepared.len() < BATCH_SIZE {
            let frame = self.next_frame(send_buffer).ok_or(io::ErrorKind::InvalidData)?;
            self.prepared.push_encoded(&frame);
        }
        Ok(())
    }

    fn next_frame(&self, send_buffer: &mut SendBuffer) -> Option<Bytes> {
        // If a frame is a chunk of its own, the send buffers of other sessions may contain it, too.
        if let Some(chunk) = send_buffer.first_chunk()
            && frame_with_prefix(chunk) == Some(chunk.len())
        {
            let frame = chunk.clone();
            send_buffer.advance(frame.len());
            let compressed =
                if frame.len() >= self.setting.min_size { self.setting.cache.get_or_compress(&frame) } else { None };
            return Some(compressed.unwrap_or(frame));
        }
        let frame = take_frame(send_buffer)?;
        let compressed = if frame.len() >= self.setting.min_size { compress(&frame) } else { None };
        Some(compressed.unwrap_or(frame))
    }
}

impl Transmit for CompressingTransmitter {
    fn poll_transmit(&mut self, cx: &mut Context<'_>, send_buffer: &mut SendBuffer) -> Poll<io::Result<()>> {
        loop {
            ready!(self.transmitter.poll_transmit(cx, &mut self.prepared))?;
            if send_buffer.is_empty() {
                return Poll::Ready(Ok(()));
            }
            if send_buffer.len() < self.setting.min_size {
                // All frames together are smaller than the minimum size, so no frame reaches it.
                // The transmitter can write the buffer directly, because the buffer does not grow
                // before it is written.
                return self.transmitter.poll_transmit(cx, send_buffer);
            }
            self.prepare(send_buffer)?;
        }
    }

    fn accepted(&self) -> u64 {
        self.transmitter.accepted()
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transmitter.poll_finish(cx)
    }
}
