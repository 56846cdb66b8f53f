//! A connection within the process: batches change hands, no byte goes through the system.

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

/// How many bytes one direction holds before its sender has to wait, as a TCP connection's buffers would.
const CAPACITY: usize = 256 * 1024;

/// Two ends of one connection.
pub(crate) fn pair() -> (Link, Link) {
    let (there, back) = (Pipe::default(), Pipe::default());
    let end = |from: &Pipe, to: &Pipe| Link::new(PipeReceiver(from.clone()), PipeTransmitter(to.clone()));
    (end(&back, &there), end(&there, &back))
}

type Pipe = Arc<Mutex<Buffer>>;

/// One direction.
#[derive(Default)]
struct Buffer {
    batches: VecDeque<Bytes>,
    bytes: usize,
    finished: bool,
    receiver_is_gone: bool,
    receiver: Option<Waker>,
    sender: Option<Waker>,
}

/// One direction's last batch has been sent. Wakers are cloned, woken and dropped without the lock.
fn finish(pipe: &Pipe) {
    let mut buffer = pipe.lock();
    buffer.finished = true;
    let receiver = buffer.receiver.take();
    drop(buffer);
    receiver.into_iter().for_each(wake);
}

struct PipeReceiver(Pipe);

impl PipeReceiver {
    /// Takes the next batch, or the end, if there is one.
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
    // Both ends are ours, and the sender has checked the other side's limit.
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

    // Frames change hands whole.
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
        buffer.receiver_is_gone = true;
        mem::take(&mut buffer.batches);
        let sender = buffer.sender.take();
        drop(buffer);
        sender.into_iter().for_each(wake);
    }
}

struct PipeTransmitter(Pipe);

impl Transmit for PipeTransmitter {
    fn poll_transmit(&mut self, cx: &mut Context<'_>, outbox: &mut SendBuffer) -> Poll<io::Result<()>> {
        if outbox.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let mut waker = None;
        let mut buffer = self.0.lock();
        if buffer.bytes >= CAPACITY {
            drop(buffer);
            waker = Some(cx.waker().clone());
            buffer = self.0.lock();
        }
        if buffer.receiver_is_gone || buffer.finished {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if waker.is_some() && buffer.bytes >= CAPACITY {
            mem::swap(&mut buffer.sender, &mut waker);
            return Poll::Pending;
        }
        buffer.bytes += outbox.len();
        buffer.batches.push_back(outbox.take_all());
        let receiver = buffer.receiver.take();
        drop(buffer);
        receiver.into_iter().for_each(wake);
        Poll::Ready(Ok(()))
    }

    // An outbox is accepted whole or not at all, so that there is no progress to see while it waits.
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
    fn one_who_goes_on_talking_does_not_keep_others_from_their_turn() {
        let (mut near, Link { mut transmitter, .. }) = pair();
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..=DISCARD_AT_ONCE {
            let mut outbox = SendBuffer::default();
            outbox.push_message(b"again");
            assert!(transmitter.poll_transmit(&mut cx, &mut outbox).is_ready());
        }
        assert!(transmitter.poll_finish(&mut cx).is_ready());
        assert!(
            near.receiver.poll_closed(&mut cx) == Poll::Ready(Discarded::Part),
            "there is more than is thrown away at once"
        );
        assert!(near.receiver.poll_closed(&mut cx) == Poll::Ready(Discarded::Closed));
    }
}
