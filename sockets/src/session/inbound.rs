//! What a driver does with its session.

use std::{
    mem,
    sync::atomic::Ordering,
    task::{Context, Waker},
    time::Instant,
};

use bytes::Bytes;
use futures_util::future::AbortHandle;

use super::{Session, Waiter, WakeList};
use crate::{
    disconnect_reason::{DisconnectReason, delayed},
    transport::Batch,
};
use sockets_proto::{CallId, CloseReason, Event, Frame, HandlerId, IncomingCall, ProtocolError, announced};

/// How many frames are taken in under one lock: callers wait for it.
const GATHER_LIMIT: usize = 32;
/// And how many bytes, if the last frame is not longer: texts are copied.
const BYTES_TOGETHER: usize = 64 * 1024;
/// How many signatures are recorded under one lock.
const SIGNATURES_TOGETHER: usize = 512;

/// What a frame leaves for the driver to do.
pub(crate) enum Received {
    /// A handler is to be started: at once, or when the gate opens.
    Call { called: IncomingCall, gate_is_open: bool },
    /// A handler is to be stopped.
    Cancelled(AbortHandle),
    /// A request is revoked that has no suspended handler.
    Revoked(CallId),
    /// Signatures are to be recorded before anything else is handled.
    Announced(Bytes),
    /// The server is ready.
    Ready,
    /// The other side has left.
    Goodbye(DisconnectReason),
}

impl Session {
    /// Makes sure that the driver is woken, writes what the connection did not take before, and looks whether the
    /// session is to go on.
    pub(crate) fn prepare(&self, now: Instant, cx: &Context<'_>) -> Result<(), DisconnectReason> {
        let mut state = self.state.lock();
        let known = state.driver.will_wake(cx.waker());
        if !known {
            drop(state);
            self.register_driver(cx.waker());
            state = self.state.lock();
            // What has been said before. A first call may be about to be made, and goes with it.
            state.flush_requested |= !state.core.outbox().is_empty();
        }
        state.closing(now)?;
        if state.has_resumed_connection() {
            return Err(DisconnectReason::Superseded);
        }
        drop(state);
        if self.is_blocked() {
            let error = self.writer.lock().take_error();
            if let Some(error) = error {
                return Err(DisconnectReason::Lost(error.to_string()));
            }
            self.flush();
        }
        Ok(())
    }

    /// Registers the waker of the driver's task. Wakers are cloned and dropped without a lock.
    pub(super) fn register_driver(&self, waker: &Waker) {
        let (waker, writers) = (waker.clone(), waker.clone());
        let replaced = mem::replace(&mut self.state.lock().driver, waker);
        drop(replaced);
        let replaced = self.writer.lock().set_waker(writers);
        drop(replaced);
    }

    /// Handlers are going to be started: what they send and answer is written together.
    pub(crate) fn begin_batch(&self, now: Instant) {
        let mut state = self.state.lock();
        state.dispatching = Some(now);
        state.queued_before = state.core.outbox().len();
        state.detach_old_answers();
    }

    /// Writes what the batch has left.
    pub(crate) fn end_batch(&self) {
        let mut state = self.state.lock();
        state.dispatching = None;
        // What was there before may wait for more to go with it, as somebody has asked for.
        let queued = state.core.outbox().len() > state.queued_before || state.core.has_control_frames();
        self.notify_if_idle(&mut state);
        drop(state);
        if queued {
            self.flush_unless_blocked();
        }
    }

    /// Takes frames in, until one leaves something for the driver to do. `notices` are of those who have been answered.
    pub(crate) fn handle(
        &self,
        now: Instant,
        batch: &mut Batch,
        notices: &mut WakeList,
    ) -> Result<Option<Received>, ProtocolError> {
        let mut state = self.state.lock();
        let enough = batch.len().saturating_sub(BYTES_TOGETHER);
        for _ in 0..GATHER_LIMIT {
            if batch.len() < enough {
                break;
            }
            let Some(frame) = batch.next_frame() else { break };
            let event = state.core.handle(now, frame)?;
            self.notify_capacity(&mut state);
            match event {
                Event::Call(called) => {
                    let gate_is_open = state.can_dispatch();
                    return Ok(Some(Received::Call { called, gate_is_open }));
                }
                Event::Completed { consumer: consumer @ Waiter::Member(_), answer } => {
                    // It waits until the program takes it, with the answers of many others.
                    notices.add(state.complete(consumer, batch.detach_answer(answer)));
                }
                Event::Completed { consumer, answer } => notices.add(state.complete(consumer, answer)),
                Event::Handled => {}
                Event::Cancelled(handler) => return Ok(Some(Received::Cancelled(handler))),
                Event::Revoked(id) => return Ok(Some(Received::Revoked(id))),
                Event::UnknownReply => {
                    self.counters.count_unknown_reply();
                    state.report_unknown_reply();
                }
                Event::Ready => {
                    state.notify_changed();
                    return Ok(Some(Received::Ready));
                }
                Event::Drained => {
                    self.drained.store(true, Ordering::Release);
                    self.notify_if_idle(&mut state);
                }
                Event::Announcement(signatures) => return Ok(Some(Received::Announced(signatures))),
                Event::Acknowledged => {
                    state.confirm_token();
                    state.lag.note_progress();
                    if state.replies_wait() {
                        state.notify_capacity();
                    }
                }
                Event::Closed { reason, text } => {
                    if reason == CloseReason::Restarting {
                        state.set_restart_delay(delayed(&text).0);
                    }
                    return Ok(Some(Received::Goodbye(DisconnectReason::from_close(reason, text))));
                }
            }
        }
        Ok(None)
    }

    /// Records some of the signatures that the peer has announced. Returns `true` if none are left.
    pub(crate) fn record_signatures(&self, signatures: &mut Bytes) -> bool {
        let mut state = self.state.lock();
        let some = announced(&mut *signatures).take(SIGNATURES_TOGETHER);
        state.signatures.extend(some, self.limits.names_per_peer as usize);
        let is_over = signatures.is_empty();
        if is_over {
            state.signatures.finish();
        }
        is_over
    }

    /// So many bytes have come of a frame that is not whole.
    pub(crate) fn on_partial(&self, now: Instant, bytes: usize) {
        self.state.lock().core.on_partial(now, bytes);
    }

    /// Whether calls may be started.
    pub(crate) fn can_dispatch(&self) -> bool {
        self.state.lock().can_dispatch()
    }

    /// Whether a call that was held may start: no other has its id.
    pub(crate) fn check_id(&self, open: HandlerId) -> Result<(), ProtocolError> {
        self.state.lock().core.check_id(open)
    }

    /// A name for one more handler of an emit that several hear.
    pub(crate) fn next_handler_id(&self) -> HandlerId {
        self.state.lock().core.next_handler_id()
    }

    /// Keeps a handler that has suspended, and is going to be given a task.
    pub(crate) fn suspend(&self, open: HandlerId, handler: AbortHandle) {
        self.state.lock().core.insert_handler(open, handler);
    }

    pub(crate) fn count_timed_out_emit(&self) {
        self.counters.count_timed_out_emit();
    }

    pub(crate) fn count_unhandled_emit(&self) {
        self.counters.count_unhandled_emit();
    }

    /// Whether callers have asked for a write.
    pub(crate) fn flush_is_requested(&self) -> bool {
        self.state.lock().flush_requested
    }

    /// Writes what callers have queued.
    pub(crate) fn flush_shard_member(&self) {
        self.state.lock().flush_requested = false;
        self.flush();
    }

    /// Ends what is overdue, and says when that is to be done next, for which the driver then is armed. `listened` says
    /// that nothing has come that was not handled.
    pub(crate) fn handle_timeout(&self, now: Instant, listened: bool) -> Result<Option<Instant>, DisconnectReason> {
        let stalled = self.stall_limit();
        if stalled.is_some_and(|limit| now >= limit) {
            return Err(DisconnectReason::TooSlow);
        }
        let mut state = self.state.lock();
        if state.core.poll_idle_timeout(now, listened) {
            return Err(DisconnectReason::Silent);
        }
        let closing = state.closing(now)?;
        let before = state.core.outbox().len();
        let ended = state.core.handle_timeout(now);
        if state.core.owes_heartbeat() {
            // The session is idle. The core has released its memory, too.
            state.wait_slots.shrink_to_fit();
        }
        let notices = state.deliver_all(ended);
        // What callers have queued is not this function's to write: they may have more in a moment.
        let queued = state.core.outbox().len() > before || state.core.has_control_frames();
        if queued || !notices.is_empty() {
            self.notify_capacity(&mut state);
            self.notify_if_idle(&mut state);
        }
        let next = [state.core.next_timeout(), stalled, closing].into_iter().flatten().min();
        state.timer = next;
        drop(state);
        drop(notices);
        if queued {
            self.flush_unless_blocked();
        }
        Ok(next)
    }

    /// When the connection will have taken nothing for too long, if it takes nothing now.
    fn stall_limit(&self) -> Option<Instant> {
        if !self.is_blocked() {
            return None;
        }
        let since = self.write_progress.blocked_since()?;
        since.checked_add(self.limits.stall)
    }

    /// Queues the goodbye.
    pub(crate) fn send_control(&self, farewell: Frame, text: &str) {
        self.state.lock().core.send_control(farewell, text);
    }
}
