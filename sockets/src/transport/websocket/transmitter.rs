//! The sending half. It shares the frame writer with the receiver.

use std::{
    io,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::io::AsyncWrite;

use super::frame_writer::FrameWriter;
use crate::lock::TransportMutex;
use crate::transport::Transmit;
use sockets_proto::SendBuffer;

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
