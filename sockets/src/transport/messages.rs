//! Frames over a user's stream and sink of messages. A message is a frame without its prefix.

use std::{
    error::Error,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{BufMut, Bytes, BytesMut};
use futures_core::Stream;
use futures_util::{
    Sink, StreamExt,
    stream::{Fuse, SplitSink, SplitStream},
};

use super::{Discarded, Link, Receive, ReceiveError, Transmit, poll_discard, take_frame};
use sockets_proto::{PREFIX, ProtocolError, SendBuffer};

/// The target size of a batch in bytes.
const BATCH_SIZE: usize = 16 * 1024;

/// Any error, as in tower.
pub type BoxError = Box<dyn Error + Send + Sync + 'static>;

/// Creates a connection over a stream and sink of messages.
pub(crate) fn over_messages<S, M, E>(messages: S) -> Link
where
    S: Stream<Item = Result<M, E>> + Sink<Bytes, Error: Into<BoxError>> + Send + 'static,
    M: Into<Bytes> + 'static,
    E: Into<BoxError> + 'static,
{
    let (sink, stream) = messages.split();
    Link::new(MessageReceiver { stream: stream.fuse(), end: None }, MessageTransmitter { sink, accepted: 0 })
}

struct MessageReceiver<S> {
    stream: Fuse<SplitStream<S>>,
    /// The end of the stream. The receiver reports it after all earlier messages.
    end: Option<ReceiveError>,
}

impl<S, M, E> Receive for MessageReceiver<S>
where
    S: Stream<Item = Result<M, E>> + Send,
    M: Into<Bytes>,
    E: Into<BoxError>,
{
    fn poll_receive(&mut self, cx: &mut Context<'_>, max_frame: usize) -> Poll<Result<Bytes, ReceiveError>> {
        let mut batch = BytesMut::new();
        while self.end.is_none() && batch.len() < BATCH_SIZE {
            match self.stream.poll_next_unpin(cx) {
                Poll::Ready(Some(Ok(message))) => {
                    let message = message.into();
                    match u32::try_from(message.len()) {
                        Ok(length) if message.len() <= max_frame => {
                            batch.reserve(PREFIX + message.len());
                            batch.put_u32_le(length);
                            batch.put_slice(&message);
                        }
                        _ => {
                            let error = ProtocolError::FrameTooLarge { length: message.len(), limit: max_frame };
                            self.end = Some(error.into());
                        }
                    }
                }
                Poll::Ready(Some(Err(error))) => self.end = Some(io::Error::other(error).into()),
                Poll::Ready(None) => self.end = Some(ReceiveError::Closed),
                Poll::Pending if batch.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        if batch.is_empty() {
            return Poll::Ready(Err(self.end.take().unwrap_or(ReceiveError::Closed)));
        }
        Poll::Ready(Ok(batch.freeze()))
    }

    // Each message arrives whole, so no frame is ever incomplete.
    fn partial_bytes(&self) -> usize {
        0
    }

    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<Discarded> {
        poll_discard(cx, |cx| self.stream.poll_next_unpin(cx).map(|message| matches!(message, Some(Ok(_)))))
    }
}

struct MessageTransmitter<S> {
    sink: SplitSink<S, Bytes>,
    accepted: u64,
}

impl<S: Sink<Bytes, Error: Into<BoxError>> + Send> Transmit for MessageTransmitter<S> {
    fn poll_transmit(&mut self, cx: &mut Context<'_>, send_buffer: &mut SendBuffer) -> Poll<io::Result<()>> {
        let mut sink = Pin::new(&mut self.sink);
        while !send_buffer.is_empty() {
            ready!(sink.as_mut().poll_ready(cx)).map_err(io::Error::other)?;
            let mut frame = take_frame(send_buffer).ok_or(io::ErrorKind::InvalidData)?;
            self.accepted += frame.len() as u64;
            sink.as_mut().start_send(frame.split_off(PREFIX)).map_err(io::Error::other)?;
        }
        sink.poll_flush(cx).map_err(io::Error::other)
    }

    fn accepted(&self) -> u64 {
        self.accepted
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.sink).poll_close(cx).map_err(io::Error::other)
    }
}
