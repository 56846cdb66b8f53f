//! The methods by which a driver runs its session.

use std::{collections::VecDeque, mem, sync::atomic::Ordering, task::Waker, time::Instant};

use bytes::Bytes;
use futures_util::future::AbortHandle;

use super::{Session, State, StateGuard, Turn, Waiter, WakeList, turn::ResultsOf, wait_slots::Withheld};
use crate::{
    disconnect_reason::{DisconnectReason, delayed},
    transport::Batch,
};
use sockets_proto::{
    CallId, CloseReason, Event, Frame, HandlerId, IncomingCall, ProtocolError, TurnResults, announced,
};

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
    /// Start a handler, unless the peer has already cancelled the call.
    Call { call: IncomingCall, is_cancelled: bool },
    /// Deliver the result of a local call.
    Completed(Withheld),
    /// The peer has cancelled an earlier request.
    Cancelled(CallId),
    /// Record these signatures before anything else is handled.
    Announced(Bytes),
    /// The server is ready.
    Ready,
    /// The peer has closed the session.
    Closed(DisconnectReason),
    /// The peer has broken the protocol.
    Violated(ProtocolError),
}

/// The state of a session after its expired deadlines have been handled.
pub(crate) struct Timers {
    /// The next deadline, at which the driver wakes up.
    pub(crate) next: Option<Instant>,
    /// Callers have requested a flush.
    pub(crate) flush_requested: bool,
}

impl Session {
    /// Writes the bytes that the connection did not accept before. Returns an error if the session
    /// has to leave its connection.
    pub(crate) fn prepare(&self, now: Instant) -> Result<(), DisconnectReason> {
        if self.state.is_interrupted() {
            let mut state = self.state.lock();
            state.closing(now)?;
            if state.reattach.has_offer() {
                return Err(DisconnectReason::Superseded);
            }
            self.state.clear_interruption(&state);
        }
        if self.is_blocked() {
            let error = self.writer.lock().take_error();
            if let Some(error) = error {
                return Err(DisconnectReason::Lost(error.to_string()));
            }
            self.flush();
        }
        Ok(())
    }

    /// Registers the driver of a connected session.
    pub(crate) fn start_driver(&self, waker: &Waker) {
        self.register_driver(waker);
        // The session may have queued messages before the driver started. Request a flush instead of
        // writing now, so that the same write can contain a call that follows immediately.
        let mut state = self.state.lock();
        state.flush_requested |= !state.core.send_buffer().is_empty();
    }

    /// Registers the waker of the driver's task. Wakers are cloned and dropped without a lock.
    pub(crate) fn register_driver(&self, waker: &Waker) {
        let (waker, writer_waker) = (waker.clone(), waker.clone());
        let replaced = mem::replace(&mut self.state.lock().driver, waker);
        drop(replaced);
        let replaced = self.writer.lock().set_waker(writer_waker);
        drop(replaced);
    }

    /// Accepts received frames, until a number of frames or bytes is reached. Appends the actions of
    /// the driver to `received`, in the order of the frames. Adds the wake-ups for the received
    /// results to `wakes`.
    ///
    /// If frames of an earlier turn are left in `received`, accepts no more.
    ///
    /// The first access of a turn begins the turn. Messages that its handlers queue are written
    /// together. If the turn has nothing to run, it ends at once. `has_held` is `true` if the driver
    /// can start held calls.
    pub(crate) fn accept(
        &self,
        turn: &mut Turn,
        batch: &mut Batch,
        received: &mut VecDeque<Received>,
        wakes: &mut WakeList,
        has_held: bool,
    ) {
        let mut state = self.state.lock();
        if !mem::replace(&mut turn.is_open, true) {
            state.dispatching = Some(turn.began);
            state.queued_before = state.core.send_buffer().len();
            state.wait_slots.detach_old_results();
        }
        if received.is_empty() {
            self.accept_frames(&mut state, turn.began, batch, received, wakes);
            state.check_capacity();
        }
        turn.capacity = state.core.reply_capacity();
        turn.max_frame = state.core.max_frame();
        if turn.results == ResultsOf::Session && !state.is_detached() {
            turn.results = ResultsOf::NextHandler;
        }
        if !received.is_empty() {
            turn.can_dispatch = state.can_dispatch();
        } else if batch.is_empty() && !has_held {
            self.close_turn(state, turn);
        }
    }

    /// Ends a turn. Takes over the results of its handlers, and writes the messages that they have
    /// queued.
    pub(crate) fn end_turn(&self, turn: &mut Turn) {
        if turn.is_open {
            self.close_turn(self.state.lock(), turn);
        }
    }

    fn close_turn<'a>(&'a self, mut state: StateGuard<'a>, turn: &mut Turn) {
        turn.end(|results, long| self.settle(&mut state, results, long));
        state.dispatching = None;
        // Flush only if this turn has queued messages. Messages from before the turn wait for the
        // flush that their callers have requested, because the callers may queue more messages
        // until then.
        let queued = state.core.send_buffer().len() > state.queued_before || state.core.has_control_frames();
        self.notify_if_idle(&mut state);
        if queued && !self.is_blocked() {
            self.flush_from(state);
        }
    }

    fn settle(&self, state: &mut State, results: &mut TurnResults, long: &mut Vec<u64>) {
        // Only the driver ends or detaches the session, so it is still on its connection.
        self.sync_broadcasts(state);
        long.drain(..).for_each(|key| state.replies.record_long(key));
        let now = state.now();
        state.core.settle(now, results);
        state.arm_timer_if_pending();
    }

    fn accept_frames(
        &self,
        state: &mut State,
        now: Instant,
        batch: &mut Batch,
        received: &mut VecDeque<Received>,
        wakes: &mut WakeList,
    ) {
        let stop_at = batch.len().saturating_sub(MAX_BYTES_PER_LOCK);
        for _ in 0..MAX_FRAMES_PER_LOCK {
            if batch.len() < stop_at {
                return;
            }
            let Some(frame) = batch.next_frame() else { return };
            let event = match state.core.handle(now, frame) {
                Ok(event) => event,
                Err(violation) => return received.push_back(Received::Violated(violation)),
            };
            match event {
                Event::Call(call) => received.push_back(Received::Call { call, is_cancelled: false }),
                Event::Completed { consumer, result } => {
                    // Detach the result of a member from the buffer of the batch. The program may
                    // take this result late, with the results of many other members, and must not
                    // keep the buffer until then.
                    let is_member = matches!(consumer, Waiter::Member(_));
                    let result = if is_member { batch.detach_result(result) } else { result };
                    if received.is_empty() {
                        wakes.add(state.wait_slots.complete(consumer, result));
                    } else {
                        received.push_back(Received::Completed(state.wait_slots.withhold(consumer, result)));
                    }
                }
                Event::Handled => {}
                Event::Cancelled(id) => cancel(received, id),
                Event::UnknownReply => {
                    self.counters.count_unknown_reply();
                    state.report_unknown_reply();
                }
                Event::Ready => {
                    state.notify_changed();
                    received.push_back(Received::Ready);
                }
                Event::Drained => {
                    self.peer_drained.store(true, Ordering::Release);
                    self.notify_if_idle(state);
                }
                Event::Announcement(signatures) => return received.push_back(Received::Announced(signatures)),
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
                    return received.push_back(Received::Closed(DisconnectReason::from_close(reason, text)));
                }
            }
        }
    }

    /// Delivers a result, and the results that follow it directly.
    pub(crate) fn release_results(&self, first: Withheld, received: &mut VecDeque<Received>, wakes: &mut WakeList) {
        let mut state = self.state.lock();
        state.wait_slots.release(first, wakes);
        while let Some(Received::Completed(_)) = received.front()
            && let Some(Received::Completed(next)) = received.pop_front()
        {
            state.wait_slots.release(next, wakes);
        }
    }

    /// Stops the suspended handler of a request that the peer has cancelled. Returns `false` if the
    /// request has no suspended handler.
    #[cold]
    pub(crate) fn stop_handler(&self, id: CallId) -> bool {
        let handler = self.state.lock().core.handler(HandlerId::Request(id));
        if let Some(handler) = &handler {
            handler.abort();
        }
        handler.is_some()
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

    /// Writes queued messages after callers or a shard have requested a flush.
    pub(crate) fn flush_requested(&self) {
        self.state.lock().flush_requested = false;
        self.flush();
    }

    /// Handles expired deadlines. `listened` is `true` if the driver has handled all received bytes.
    pub(crate) fn handle_timeout(&self, now: Instant, listened: bool) -> Result<Timers, DisconnectReason> {
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
        let timers = Timers { next, flush_requested: state.flush_requested };
        if queued && !self.is_blocked() {
            self.flush_from(state);
        } else {
            drop(state);
        }
        drop(wakes);
        Ok(timers)
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

/// Records that the peer has cancelled a request. If its handler has not started, it does not start.
#[cold]
fn cancel(received: &mut VecDeque<Received>, id: CallId) {
    for action in received.iter_mut() {
        if let Received::Call { call, is_cancelled } = action
            && call.handler == HandlerId::Request(id)
        {
            *is_cancelled = true;
            return;
        }
    }
    received.push_back(Received::Cancelled(id));
}
