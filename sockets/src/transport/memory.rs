//! Connections within the process. The peers exchange batches without copying them.

use std::{
    collections::VecDeque,
    io, mem,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;

use super::{Discarded, Link, Receive, ReceiveError, Transmit, poll_discard};
use crate::lock::{Mutex, wake};
use sockets_proto::SendBuffer;

/// The capacity of a direction in bytes. While a direction is full, its sender waits, as with the
/// buffers of TCP.
const CAPACITY: usize = 256 * 1024;

/// Creates the two ends of a connection.
pub(crate) fn pair() -> (Link, Link) {
    let (forward, backward) = (Pipe::default(), Pipe::default());
    let end = |from: &Pipe, to: &Pipe| Link::new(PipeReceiver(from.clone()), PipeTransmitter(to.clone()));
    (end(&backward, &forward), end(&forward, &backward))
}

type Pipe = Arc<Mutex<Buffer>>;

/// A direction of a connection.
#[derive(Default)]
struct Buffer {
    batches: VecDeque<Bytes>,
    bytes: usize,
    finished: bool,
    receiver_dropped: bool,
    receiver: Option<Waker>,
    sender: Option<Waker>,
}

/// Marks a direction as finished. The function wakes and drops the wakers only after it has
/// released the lock, since wakers are user code.
fn finish(pipe: &Pipe) {
    let mut buffer = pipe.lock();
    buffer.finished = true;
    let receiver = buffer.receiver.take();
    drop(buffer);
    receiver.into_iter().for_each(wake);
}

struct PipeReceiver(Pipe);

impl PipeReceiver {
    /// Takes the next batch, or the end of the connection. Returns `None` if the receiver has to
    /// wait.
    fn take(&self) -> Option<Result<Bytes, ReceiveError>> {
        let mut buffer = self.0.lock();
        let Some(batch) = buffer.batches.pop_front() else {
            return buffer.finished.then_some(Err(ReceiveError::Closed));
        };
        buffer.bytes -= batch.len();
        let sender = buffer.sender.take();
        drop(buffer);
        sender.into_iter().for_each(wake);
        Some(Ok(batch))
    }
}

impl Receive for PipeReceiver {
    // The sender belongs to this library, and has checked the receiver's limit already.
    fn poll_receive(&mut self, cx: &mut Context<'_>, _max_frame: usize) -> Poll<Result<Bytes, ReceiveError>> {
        if let Some(received) = self.take() {
            return Poll::Ready(received);
        }
        let mut waker = Some(cx.waker().clone());
        let mut buffer = self.0.lock();
        if buffer.batches.is_empty() && !buffer.finished {
            mem::swap(&mut buffer.receiver, &mut waker);
            return Poll::Pending;
        }
        drop(buffer);
        self.take().map_or(Poll::Pending, Poll::Ready)
    }

    // Each frame arrives whole, so no frame is ever incomplete.
    fn partial_bytes(&self) -> usize {
        0
    }

    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<Discarded> {
        poll_discard(cx, |cx| self.poll_receive(cx, usize::MAX).map(|received| received.is_ok()))
    }
}

impl Drop for PipeReceiver {
    fn drop(&mut self) {
        let mut buffer = self.0.lock();
        buffer.receiver_dropped = true;
        mem::take(&mut buffer.batches);
        let sender = buffer.sender.take();
        drop(buffer);
        sender.into_iter().for_each(wake);
    }
}

struct PipeTransmitter(Pipe);

impl Transmit for PipeTransmitter {
    fn poll_transmit(&mut self, cx: &mut Context<'_>, send_buffer: &mut SendBuffer) -> Poll<io::Result<()>> {
        if send_buffer.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let mut waker = None;
        let mut buffer = self.0.lock();
        if buffer.bytes >= CAPACITY {
            drop(buffer);
            waker = Some(cx.waker().clone());
            buffer = self.0.lock();
        }
        if buffer.receiver_dropped || buffer.finished {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if waker.is_some() && buffer.bytes >= CAPACITY {
            mem::swap(&mut buffer.sender, &mut waker);
            return Poll::Pending;
        }
        buffer.bytes += send_buffer.len();
        buffer.batches.push_back(send_buffer.take_all());
        let receiver = buffer.receiver.take();
        drop(buffer);
        receiver.into_iter().for_each(wake);
        Poll::Ready(Ok(()))
    }

    // Always 0: a direction accepts a whole send buffer or nothing, so there is no progress while a
    // send buffer waits.
    fn accepted(&self) -> u64 {
        0
    }

    fn poll_finish(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        finish(&self.0);
        Poll::Ready(Ok(()))
    }
}

impl Drop for PipeTransmitter {
    fn drop(&mut self) {
        finish(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::DISCARD_AT_ONCE;

    #[test]
    fn discarding_pauses_while_peer_keeps_sending() {
        let (mut near, Link { mut transmitter, .. }) = pair();
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..=DISCARD_AT_ONCE {
            let mut send_buffer = SendBuffer::default();
            send_buffer.push_message(b"again");
            assert!(transmitter.poll_transmit(&mut cx, &mut send_buffer).is_ready());
        }
        assert!(transmitter.poll_finish(&mut cx).is_ready());
        assert!(
            near.receiver.poll_closed(&mut cx) == Poll::Ready(Discarded::Part),
            "more batches are left than one pass discards"
        );
        assert!(near.receiver.poll_closed(&mut cx) == Poll::Ready(Discarded::Closed));
    }
}
