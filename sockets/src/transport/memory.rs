//! A connection within the process: batches change hands, no byte goes through the system.

use std::{
    collections::VecDeque,
    io, mem,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{DISCARD_AT_ONCE, Link, Receive, ReceiveError, Transmit};
use sockets_proto::Outbox;

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

impl Buffer {
    fn finish(&mut self) {
        self.finished = true;
        self.receiver.take().into_iter().for_each(Waker::wake);
    }
}

struct PipeReceiver(Pipe);

impl Receive for PipeReceiver {
    // Both ends are ours, and the sender has checked the other side's limit.
    fn poll_receive(&mut self, cx: &mut Context<'_>, _max_frame: usize) -> Poll<Result<Bytes, ReceiveError>> {
        let mut buffer = self.0.lock();
        if let Some(batch) = buffer.batches.pop_front() {
            buffer.bytes -= batch.len();
            buffer.sender.take().into_iter().for_each(Waker::wake);
            return Poll::Ready(Ok(batch));
        }
        if buffer.finished {
            return Poll::Ready(Err(ReceiveError::Closed));
        }
        buffer.receiver = Some(cx.waker().clone());
        Poll::Pending
    }

    // Frames change hands whole.
    fn begun(&self) -> usize {
        0
    }

    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..DISCARD_AT_ONCE {
            match self.poll_receive(cx, usize::MAX) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for PipeReceiver {
    fn drop(&mut self) {
        let mut buffer = self.0.lock();
        buffer.receiver_is_gone = true;
        mem::take(&mut buffer.batches);
        buffer.sender.take().into_iter().for_each(Waker::wake);
    }
}

struct PipeTransmitter(Pipe);

impl Transmit for PipeTransmitter {
    fn poll_transmit(&mut self, cx: &mut Context<'_>, outbox: &mut Outbox) -> Poll<io::Result<()>> {
        if outbox.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let mut buffer = self.0.lock();
        if buffer.receiver_is_gone || buffer.finished {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if buffer.bytes >= CAPACITY {
            buffer.sender = Some(cx.waker().clone());
            return Poll::Pending;
        }
        buffer.bytes += outbox.len();
        buffer.batches.push_back(outbox.take_all());
        buffer.receiver.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(()))
    }

    // An outbox is accepted whole or not at all, so that there is no progress to see while it waits.
    fn accepted(&self) -> u64 {
        0
    }

    fn poll_finish(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().finish();
        Poll::Ready(Ok(()))
    }
}

impl Drop for PipeTransmitter {
    fn drop(&mut self) {
        self.0.lock().finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_who_goes_on_talking_does_not_keep_others_from_their_turn() {
        let (mut near, Link { mut transmitter, .. }) = pair();
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..=DISCARD_AT_ONCE {
            let mut outbox = Outbox::default();
            outbox.push_message(b"again");
            assert!(transmitter.poll_transmit(&mut cx, &mut outbox).is_ready());
        }
        assert!(transmitter.poll_finish(&mut cx).is_ready());
        assert!(near.receiver.poll_closed(&mut cx).is_pending(), "there is more than is thrown away at once");
        assert!(near.receiver.poll_closed(&mut cx).is_ready());
    }
}
