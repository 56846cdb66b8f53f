//! The methods by which a driver runs its session.

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

/// Maximum number of frames that the driver handles before it releases the lock. The number is
/// small, because callers wait for the lock.
const MAX_FRAMES_PER_LOCK: usize = 32;
/// Maximum number of bytes that the driver handles before it releases the lock, unless a single
/// frame is longer. This maximum is needed because the driver copies texts of frames while it holds
/// the lock.
const MAX_BYTES_PER_LOCK: usize = 64 * 1024;
/// The number of signatures that are recorded while the lock is held.
const MAX_SIGNATURES_PER_LOCK: usize = 512;

/// The action that a received frame requires of the driver.
pub(crate) enum Received {
    /// Start a handler. If `can_dispatch` is `false`, the handler waits until
    /// [`Session::can_dispatch`] returns `true`.
    Call { call: IncomingCall, can_dispatch: bool },
    /// Stop a suspended handler.
    Cancelled(AbortHandle),
    /// Revoke a request that has no suspended handler.
    Revoked(CallId),
    /// Record these signatures before anything else is handled.
    Announced(Bytes),
    /// The server is ready.
    Ready,
    /// The peer has closed the session.
    Closed(DisconnectReason),
}

impl Session {
    /// Registers the driver's waker, and writes the bytes that the connection did not accept
    /// before. Returns an error if the session has to leave its connection.
    pub(crate) fn prepare(&self, now: Instant, cx: &Context<'_>) -> Result<(), DisconnectReason> {
        let mut state = self.state.lock();
        let is_registered = state.driver.will_wake(cx.waker());
        if !is_registered {
            drop(state);
            self.register_driver(cx.waker());
            state = self.state.lock();
            // The session may have queued messages before the driver started. Request a flush
            // instead of writing now, so that the same write can contain a call that follows
            // immediately.
            state.flush_requested |= !state.core.send_buffer().is_empty();
        }
        state.closing(now)?;
        if state.reattach.has_offer() {
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
        let (waker, writer_waker) = (waker.clone(), waker.clone());
        let replaced = mem::replace(&mut self.state.lock().driver, waker);
        drop(replaced);
        let replaced = self.writer.lock().set_waker(writer_waker);
        drop(replaced);
    }

    /// Begins a batch of received frames. Messages that its handlers queue are written together.
    pub(crate) fn begin_batch(&self, now: Instant) {
        let mut state = self.state.lock();
        state.dispatching = Some(now);
        state.queued_before = state.core.send_buffer().len();
        state.wait_slots.detach_old_results();
    }

    /// Ends a batch, and writes the messages that it has queued.
    pub(crate) fn end_batch(&self) {
        let mut state = self.state.lock();
        state.dispatching = None;
        // Flush only if this batch has queued messages. Messages from before the batch wait for the
        // flush that their callers have requested, because the callers may queue more messages
        // until then.
        let queued = state.core.send_buffer().len() > state.queued_before || state.core.has_control_frames();
        self.notify_if_idle(&mut state);
        drop(state);
        if queued {
            self.flush_unless_blocked();
        }
    }

    /// Handles frames until a frame requires an action of the driver. Adds the wake-ups for the
    /// received results to `wakes`.
    pub(crate) fn handle(
        &self,
        now: Instant,
        batch: &mut Batch,
        wakes: &mut WakeList,
    ) -> Result<Option<Received>, ProtocolError> {
        let mut state = self.state.lock();
        let stop_at = batch.len().saturating_sub(MAX_BYTES_PER_LOCK);
        for _ in 0..MAX_FRAMES_PER_LOCK {
            if batch.len() < stop_at {
                break;
            }
            let Some(frame) = batch.next_frame() else { break };
            let event = state.core.handle(now, frame)?;
            state.check_capacity();
            match event {
                Event::Call(call) => {
                    let can_dispatch = state.can_dispatch();
                    return Ok(Some(Received::Call { call, can_dispatch }));
                }
                Event::Completed { consumer: consumer @ Waiter::Member(_), result } => {
                    // Detach the result from the buffer of the batch. The program may take this
                    // result late, with the results of many other members, and must not keep the
                    // buffer until then.
                    wakes.add(state.wait_slots.complete(consumer, batch.detach_result(result)));
                }
                Event::Completed { consumer, result } => wakes.add(state.wait_slots.complete(consumer, result)),
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
                    self.peer_drained.store(true, Ordering::Release);
                    self.notify_if_idle(&mut state);
                }
                Event::Announcement(signatures) => return Ok(Some(Received::Announced(signatures))),
                Event::Acknowledged => {
                    state.reattach.confirm_token();
                    state.broadcast.note_progress();
                    if !state.replies.is_empty() {
                        state.notify_capacity();
                    }
                }
                Event::Closed { reason, text } => {
                    if reason == CloseReason::Restarting {
                        state.reattach.set_restart_delay(delayed(&text).0);
                    }
                    return Ok(Some(Received::Closed(DisconnectReason::from_close(reason, text))));
                }
            }
        }
        Ok(None)
    }

    /// Records some of the signatures that the peer has announced. Returns `true` if none are left.
    pub(crate) fn record_signatures(&self, signatures: &mut Bytes) -> bool {
        let mut state = self.state.lock();
        let next = announced(&mut *signatures).take(MAX_SIGNATURES_PER_LOCK);
        state.signatures.extend(next, self.max_names());
        let is_finished = signatures.is_empty();
        if is_finished {
            state.signatures.finish();
        }
        is_finished
    }

    /// Records that `bytes` of an incomplete frame have been received.
    pub(crate) fn on_partial(&self, now: Instant, bytes: usize) {
        self.state.lock().core.on_partial(now, bytes);
    }

    /// Returns `true` if calls may start.
    pub(crate) fn can_dispatch(&self) -> bool {
        self.state.lock().can_dispatch()
    }

    /// Checks that no other call in flight has the id of a held call, whose handler is about to
    /// start. If the check fails, the caller must not start the handler.
    pub(crate) fn check_id(&self, handler: HandlerId) -> Result<(), ProtocolError> {
        self.state.lock().core.check_id(handler)
    }

    /// Returns an id for a further handler of an emit with several handlers.
    pub(crate) fn next_handler_id(&self) -> HandlerId {
        self.state.lock().core.next_handler_id()
    }

    /// Registers a suspended handler, before a task is spawned for it.
    pub(crate) fn suspend(&self, handler: HandlerId, task: AbortHandle) {
        self.state.lock().core.insert_handler(handler, task);
    }

    pub(crate) fn count_timed_out_emit(&self) {
        self.counters.count_timed_out_emit();
    }

    pub(crate) fn count_unhandled_emit(&self) {
        self.counters.count_unhandled_emit();
    }

    /// Returns `true` if callers have requested a flush.
    pub(crate) fn flush_is_requested(&self) -> bool {
        self.state.lock().flush_requested
    }

    /// Writes queued messages after callers or a shard have requested a flush.
    pub(crate) fn flush_requested(&self) {
        self.state.lock().flush_requested = false;
        self.flush();
    }

    /// Handles expired deadlines. Returns the next deadline, at which the driver wakes up.
    /// `listened` is `true` if the driver has handled all received bytes.
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
        let before = state.core.send_buffer().len();
        let ended = state.core.handle_timeout(now);
        if state.core.owes_heartbeat() {
            // A due heartbeat means that the session is idle. The core has already released its
            // unused memory, and now the slots release theirs.
            state.wait_slots.shrink_to_fit();
        }
        let wakes = state.wait_slots.complete_all(ended);
        // Flush only if the timers have queued messages. The messages of callers wait for the flush
        // that the callers have requested, because the callers may queue more messages until then.
        let queued = state.core.send_buffer().len() > before || state.core.has_control_frames();
        if queued || !wakes.is_empty() {
            state.check_capacity();
            self.notify_if_idle(&mut state);
        }
        let next = [state.core.next_timeout(), stalled, closing].into_iter().flatten().min();
        state.timer = next;
        drop(state);
        drop(wakes);
        if queued {
            self.flush_unless_blocked();
        }
        Ok(next)
    }

    /// Returns the time at which the write timeout expires. Returns `None` if the connection
    /// accepts bytes.
    fn stall_limit(&self) -> Option<Instant> {
        if !self.is_blocked() {
            return None;
        }
        let since = self.write_progress.blocked_since()?;
        since.checked_add(self.limits.stall)
    }

    /// Queues a control frame, such as the last frame of the session.
    pub(crate) fn send_control(&self, frame: Frame, text: &str) {
        self.state.lock().core.send_control(frame, text);
    }
}
