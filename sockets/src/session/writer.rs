//! The writer of a session, and the choice of the task that writes.
//!
//! For a small message, the system call of a write costs more than everything else. If a task wakes
//! another task to write, this costs about as much again. So any task may write:
//!
//! - If a caller is alone or finds at least [`WRITE_FROM`] queued bytes, it writes immediately.
//! - When the driver has dispatched a batch, it writes.
//! - Otherwise the first of several concurrent callers asks the driver to write. The driver lets
//!   the other callers run first, and then writes for all.

use std::{
    future::poll_fn,
    io, mem,
    task::{Context, Poll, Waker},
};

use super::{
    Session,
    state_lock::{Deferred, StateGuard},
};
use crate::{
    handler_context::release_woken_task,
    lock::{in_transport, is_in_transport},
    scheduler::poll_unconstrained,
    transport::Transmit,
};
use sockets_proto::SendBuffer;

/// Minimum number of queued bytes for which a caller writes immediately. For a write of this size,
/// waiting for further messages would save few system calls.
const WRITE_FROM: usize = 8 * 1024;

/// The sending half of the connection, and the bytes that it is writing.
pub(super) struct Writer {
    transmitter: Box<dyn Transmit>,
    outbox: SendBuffer,
    /// The waker of the driver.
    waker: Waker,
    error: Option<io::Error>,
    /// `true` if the last write is not complete. The write may be incomplete even if `outbox` is
    /// empty, because the transmitter may have taken all bytes without having written them.
    is_pending: bool,
}

impl Writer {
    pub(super) fn new(transmitter: Box<dyn Transmit>) -> Self {
        Self {
            transmitter,
            outbox: SendBuffer::default(),
            waker: Waker::noop().clone(),
            error: None,
            is_pending: false,
        }
    }

    fn poll_write(&mut self) -> Poll<io::Result<()>> {
        let Self { transmitter, outbox, waker, .. } = self;
        // The cooperative budget of a caller or shard must not make the connection appear blocked.
        let write = poll_fn(|cx| transmitter.poll_transmit(cx, outbox));
        let polled = in_transport(|| poll_unconstrained(write, &mut Context::from_waker(waker)));
        self.is_pending = polled.is_pending();
        polled
    }

    /// Waits until all bytes have been written.
    pub(super) fn poll_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        in_transport(|| self.transmitter.poll_transmit(cx, &mut self.outbox))
    }

    pub(super) fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        in_transport(|| self.transmitter.poll_finish(cx))
    }

    /// Detaches the writer from its connection, and returns the old writer. The caller drops the
    /// old writer without the lock.
    pub(super) fn stop(&mut self) -> Self {
        let stopped = Self {
            waker: mem::replace(&mut self.waker, Waker::noop().clone()),
            ..Self::new(Box::new(ClosedTransmitter))
        };
        mem::replace(self, stopped)
    }

    /// Attaches the writer to another connection. The writer first writes `outbox` to this
    /// connection.
    pub(super) fn start(&mut self, transmitter: Box<dyn Transmit>, outbox: SendBuffer) {
        (self.transmitter, self.outbox) = (transmitter, outbox);
    }

    /// Returns the sending half of the connection. The drop of the returned value closes this half.
    pub(super) fn release(&mut self) -> Self {
        mem::replace(self, Self::new(Box::new(ClosedTransmitter)))
    }

    /// Returns the sending half of the connection, and its unwritten bytes.
    pub(super) fn into_parts(self) -> (Box<dyn Transmit>, SendBuffer) {
        (self.transmitter, self.outbox)
    }

    pub(super) fn take_error(&mut self) -> Option<io::Error> {
        self.error.take()
    }

    /// Returns the total number of bytes that the connection has accepted.
    fn accepted(&self) -> u64 {
        self.transmitter.accepted()
    }

    /// Returns the old waker, which the caller drops without the lock.
    pub(super) fn set_waker(&mut self, waker: Waker) -> Waker {
        mem::replace(&mut self.waker, waker)
    }
}

/// The sending half of a closed connection.
struct ClosedTransmitter;

impl Transmit for ClosedTransmitter {
    fn poll_transmit(&mut self, _: &mut Context<'_>, _: &mut SendBuffer) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
    }

    fn accepted(&self) -> u64 {
        0
    }

    fn poll_finish(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Session {
    /// Decides which task writes the messages that the caller has just queued. `lone` is `true` if
    /// no other call is in flight.
    #[inline]
    pub(super) fn after_queueing<'a>(&'a self, state: StateGuard<'a>, lone: bool) {
        // If the driver dispatches a batch, it writes after the batch, also for concurrent callers.
        if state.dispatching.is_none() {
            self.write_soon(state, lone);
        }
    }

    #[inline(never)]
    fn write_soon<'a>(&'a self, mut state: StateGuard<'a>, lone: bool) {
        if self.is_blocked() {
            state.update_share();
            return;
        }
        if lone || state.core.send_buffer().len() >= WRITE_FROM {
            self.flush_from(state);
        } else if !state.flush_requested {
            state.request_flush();
            drop(state);
            release_woken_task();
        }
    }

    /// Writes all queued messages. If another task is writing, that task writes them.
    pub(crate) fn flush(&self) {
        self.flush_from(self.state.lock());
    }

    /// Writes all queued messages, as [`flush`](Self::flush) does, and releases the state.
    pub(super) fn flush_from<'a>(&'a self, mut state: StateGuard<'a>) {
        if is_in_transport() {
            // This thread may hold a lock that writing needs.
            return state.request_flush();
        }
        loop {
            // The state may be locked here: the task that holds the writer may wait for the state,
            // and this attempt does not wait.
            let Some(mut writer) = self.writer.try_lock() else { return };
            let deferred = self.write(state, &mut writer);
            drop(writer);
            drop(deferred);
            if self.is_blocked() {
                return;
            }
            // While this task held the lock of the writer, another task may have queued a message
            // and left the write to this task. So write again, unless no message is queued.
            state = self.state.lock();
            if !state.core.wants_write() {
                return;
            }
        }
    }

    /// Writes replies of the transport itself, such as pongs. If the peer does not read these
    /// replies, the connection counts as blocked, as it does for messages. So the write timeout
    /// applies to the transport's replies, too.
    #[cold]
    pub(crate) fn flush_transport(&self) {
        let mut deferred = None;
        let is_written = self.poll_writer(&mut self.writer.lock(), &mut deferred);
        drop(deferred);
        if is_written {
            // Callers may have queued messages while the connection was blocked.
            self.flush();
        }
    }

    /// Takes the queued messages, releases the state, and writes the messages. Returns the recorded
    /// wakes and events. The caller runs them after it has released the writer.
    fn write<'a>(&'a self, mut state: StateGuard<'a>, writer: &mut Writer) -> Option<Deferred<'a>> {
        // Take the next messages only after the transport has written all earlier bytes. An empty
        // outbox does not prove this: the transport may have taken all bytes from it, and not have
        // written them yet.
        if writer.outbox.is_empty() && !writer.is_pending {
            if state.is_detached() {
                return state.unlock();
            }
            state.core.poll_transmit(&mut writer.outbox);
            state.queued_before = 0;
            state.flush_requested = false;
            if writer.outbox.is_empty() {
                return state.unlock();
            }
            state.broadcast.note_progress();
            if state.core.has_evictable() && self.reason.get().is_none() {
                let now = state.now();
                state.core.on_writable(now);
            }
            state.queue_has_shrunk();
            if mem::take(&mut state.backpressured) {
                state.wake_driver();
            }
            if state.emits_waiting > 0 || !state.replies.is_empty() {
                state.notify_capacity();
            }
        }
        let mut deferred = state.unlock();
        self.poll_writer(writer, &mut deferred);
        deferred
    }

    /// Returns `true` if all bytes of the writer have been written.
    #[inline]
    fn poll_writer<'a>(&'a self, writer: &mut Writer, deferred: &mut Option<Deferred<'a>>) -> bool {
        match writer.poll_write() {
            Poll::Ready(Ok(())) => {
                self.write_progress.record_ready();
                true
            }
            Poll::Ready(Err(error)) => {
                writer.error = Some(error);
                // No more bytes can be written, so the driver ends the session.
                self.write_progress.record_closed();
                self.wake_driver_after(deferred);
                false
            }
            Poll::Pending => {
                if self.write_progress.record_pending(writer.accepted()) {
                    // The driver has to watch the write timeout.
                    self.wake_driver_after(deferred);
                }
                false
            }
        }
    }

    /// Makes `deferred` wake the driver when it is dropped.
    #[cold]
    fn wake_driver_after<'a>(&'a self, deferred: &mut Option<Deferred<'a>>) {
        Deferred::merge(deferred, self.state.waking_driver());
    }

    /// Returns `true` if the connection accepts no bytes. The driver tries again.
    #[inline]
    pub(crate) fn is_blocked(&self) -> bool {
        self.write_progress.is_blocked()
    }

    /// Writes all queued messages and closes this half of the connection.
    pub(crate) fn poll_finish(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut writer = self.writer.lock();
        loop {
            match writer.poll_all(cx) {
                Poll::Ready(Ok(())) => {}
                unfinished => return unfinished,
            }
            mem::swap(self.state.lock().core.send_buffer(), &mut writer.outbox);
            if writer.outbox.is_empty() {
                return writer.poll_finish(cx);
            }
        }
    }
}
