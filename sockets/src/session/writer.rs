//! Who writes, and when.
//!
//! A write to the system costs more than everything else about a small message, and waking another task to do it costs
//! about as much again. So whoever has something to write may write: a lone caller at once, a caller behind a long
//! queue at once, the driver when it has dispatched a batch. Between these, the first of several concurrent callers
//! asks the driver, which lets the others run first and then writes for all.

use std::{
    future::{Future, poll_fn},
    io, mem,
    pin::pin,
    task::{Context, Poll, Waker},
};

use tokio::task::unconstrained;

use super::{
    Session,
    handler_context::release_lifo_slot,
    state_lock::{Deferred, StateGuard},
};
use crate::{
    lock::{in_transport, is_in_transport},
    transport::Transmit,
};
use sockets_proto::SendBuffer;

/// From this many queued bytes on, a caller writes itself: later ones would gain little by its waiting.
const WRITE_FROM: usize = 8 * 1024;

/// The sending half of the connection, and what it is in the middle of writing.
pub(super) struct Writer {
    transmitter: Box<dyn Transmit>,
    outbox: SendBuffer,
    /// The driver's.
    waker: Waker,
    error: Option<io::Error>,
    /// The connection has not accepted everything. It may have taken all of the outbox.
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
        // A caller's or a shard's budget must not end its writing: the connection is ready or it is not.
        let write = unconstrained(poll_fn(|cx| transmitter.poll_transmit(cx, outbox)));
        let polled = in_transport(|| pin!(write).poll(&mut Context::from_waker(waker)));
        self.is_pending = polled.is_pending();
        polled
    }

    /// Waits until everything is written.
    pub(super) fn poll_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        in_transport(|| self.transmitter.poll_transmit(cx, &mut self.outbox))
    }

    pub(super) fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        in_transport(|| self.transmitter.poll_finish(cx))
    }

    /// There is no connection any more. Returns the writer of the last one, which is dropped without the lock.
    pub(super) fn stop(&mut self) -> Self {
        let stopped = Self {
            waker: mem::replace(&mut self.waker, Waker::noop().clone()),
            ..Self::new(Box::new(ClosedTransmitter))
        };
        mem::replace(self, stopped)
    }

    /// There is another connection, over which `outbox` is written before everything else.
    pub(super) fn start(&mut self, transmitter: Box<dyn Transmit>, outbox: SendBuffer) {
        (self.transmitter, self.outbox) = (transmitter, outbox);
    }

    /// Closes the connection, as far as it is this half's, when what it returns is dropped.
    pub(super) fn release(&mut self) -> Self {
        mem::replace(self, Self::new(Box::new(ClosedTransmitter)))
    }

    /// The connection's half, and what it was writing.
    pub(super) fn into_parts(self) -> (Box<dyn Transmit>, SendBuffer) {
        (self.transmitter, self.outbox)
    }

    pub(super) fn take_error(&mut self) -> Option<io::Error> {
        self.error.take()
    }

    /// Returns how many bytes the connection has accepted, in total.
    fn accepted(&self) -> u64 {
        self.transmitter.accepted()
    }

    /// Returns the one before, which is dropped without the lock.
    pub(super) fn set_waker(&mut self, waker: Waker) -> Waker {
        mem::replace(&mut self.waker, waker)
    }
}

/// Stands for a connection that has been closed.
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
    /// Decides who writes what has just been queued. `lone` says that nothing else is under way.
    #[inline]
    pub(super) fn after_queueing(&self, state: StateGuard<'_>, lone: bool) {
        // Handlers of a batch and concurrent callers find that the driver is going to write.
        if state.dispatching.is_none() {
            self.write_soon(state, lone);
        }
    }

    #[inline(never)]
    fn write_soon(&self, mut state: StateGuard<'_>, lone: bool) {
        if self.is_blocked() {
            state.update_share();
            return;
        }
        if lone || state.core.outbox().len() >= WRITE_FROM {
            drop(state);
            self.flush();
        } else if !state.flush_requested {
            state.request_flush();
            drop(state);
            release_lifo_slot();
        }
    }

    /// Writes what is queued, unless somebody else is writing, who then does.
    pub(crate) fn flush(&self) {
        if is_in_transport() {
            // It may hold a lock that writing needs.
            return self.state.lock().request_flush();
        }
        loop {
            let Some(mut writer) = self.writer.try_lock() else { return };
            let deferred = self.write(&mut writer);
            drop(writer);
            drop(deferred);
            // Somebody may have queued while we held the writer, and gone away because we did.
            if self.is_blocked() || !self.state.lock().core.wants_write() {
                return;
            }
        }
    }

    /// Writes replies of the transport itself, such as pongs. While the peer does not read them, the connection counts
    /// as blocked, as it does for messages, so that the write timeout applies.
    #[cold]
    pub(crate) fn flush_transport(&self) {
        let mut deferred = None;
        let all_written = self.poll_writer(&mut self.writer.lock(), &mut deferred);
        drop(deferred);
        if all_written {
            // Callers may have queued messages while the connection was blocked.
            self.flush();
        }
    }

    /// Writes what is queued, and returns what runs when the writer has been released.
    fn write(&self, writer: &mut Writer) -> Option<Deferred<'_>> {
        let mut deferred = None;
        loop {
            // A stream may have taken all of it, and not be through with it.
            if writer.outbox.is_empty() && !writer.is_pending {
                let mut state = self.state.lock();
                if state.is_detached() {
                    return deferred;
                }
                state.core.poll_transmit(&mut writer.outbox);
                state.queued_before = 0;
                state.flush_requested = false;
                if writer.outbox.is_empty() {
                    return deferred;
                }
                state.lag.note_progress();
                if state.core.has_evictable() && self.reason.get().is_none() {
                    let now = state.now();
                    state.core.on_writable(now);
                }
                self.queue_has_shrunk(&mut state);
                if mem::take(&mut state.backpressured) {
                    state.wake_driver();
                }
                if state.emits_waiting > 0 || state.replies_wait() {
                    state.notify_capacity();
                }
                Deferred::merge(&mut deferred, state.unlock());
            }
            if !self.poll_writer(writer, &mut deferred) {
                return deferred;
            }
        }
    }

    /// Returns `true` if everything has been written.
    #[inline]
    fn poll_writer<'a>(&'a self, writer: &mut Writer, deferred: &mut Option<Deferred<'a>>) -> bool {
        match writer.poll_write() {
            Poll::Ready(Ok(())) => {
                self.write_progress.record_ready();
                true
            }
            Poll::Ready(Err(error)) => {
                writer.error = Some(error);
                // Nothing can be written any more; the driver ends the session.
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

    /// Has the driver woken when `deferred` is dropped.
    #[cold]
    fn wake_driver_after<'a>(&'a self, deferred: &mut Option<Deferred<'a>>) {
        Deferred::merge(deferred, self.state.waking_driver());
    }

    /// Returns `true` if the connection accepts no bytes. The driver tries again.
    #[inline]
    pub(crate) fn is_blocked(&self) -> bool {
        self.write_progress.is_blocked()
    }
}

impl Session {
    /// Writes everything that is queued and closes this half of the connection.
    pub(crate) fn poll_finish(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut writer = self.writer.lock();
        loop {
            match writer.poll_all(cx) {
                Poll::Ready(Ok(())) => {}
                not_yet => return not_yet,
            }
            mem::swap(self.state.lock().core.outbox(), &mut writer.outbox);
            if writer.outbox.is_empty() {
                return writer.poll_finish(cx);
            }
        }
    }
}
