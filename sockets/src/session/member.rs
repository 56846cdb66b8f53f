//! The emits and requests to an audience, as the session of a member handles them.

use std::{sync::Arc, time::Instant};

use super::{MultiCallSlot, Session, State, Waiter};
use crate::{
    broadcast::{Batch, BroadcastLog, FullWait, Member, Message},
    call_error::CallError,
    clock::now,
    disconnect_reason::DisconnectReason,
    handler_context::call_origin,
    method::Callee,
};
use sockets_proto::{CallId, CallOrigin, LatestEmit, SendOutcome, SharedRequest, VolatileEmit, WhenFull};

impl Member for Session {
    fn max_frame(&self) -> u32 {
        self.peer_max_frame
    }

    /// If a message does not fit into the queue, the session closes.
    fn deliver(&self, now: Instant, batch: &Batch<Self>) -> bool {
        let mut state = self.state.lock();
        if self.is_over(&state) {
            return false;
        }
        let state = &mut *state;
        state.broadcast.before_delivery(&state.core);
        let new = state.broadcast.advance(batch);
        let (joined, largest) = batch.concatenated();
        let all_at_once = new.len() == batch.len()
            && !batch.is_volatile()
            && !batch.is_latest()
            && batch.method().is_none_or(|method| state.signatures.matches(method))
            && state.core.broadcast_all(joined, new.len(), largest, batch.overflow());
        if !all_at_once && !new.iter().all(|entry| self.queue_broadcast(state, now, entry.message())) {
            return false;
        }
        self.after_delivery(state);
        self.needs_write(state)
    }

    fn flush(&self) {
        self.flush_requested();
    }

    fn full_until(&self, now: Instant, began: Instant, last: Instant) -> Option<Instant> {
        let accepted_at = self.write_progress.last_accepted();
        let mut state = self.state.lock();
        state.queue_has_shrunk();
        let is_over = self.is_over(&state);
        match state.broadcast.wait_for_full(now, (began, last), accepted_at, is_over) {
            FullWait::Until(until) => Some(until),
            FullWait::GivenUp => {
                state.give_up_waiting();
                None
            }
            FullWait::Accepts => None,
        }
    }

    fn long_until(&self, now: Instant) -> Option<Instant> {
        let accepted_at = self.write_progress.last_accepted();
        let state = self.state.lock();
        state.broadcast.long_until(now, accepted_at).filter(|_| !self.is_over(&state))
    }
}

impl Session {
    /// Subscribes this session to the log of a shard. The server calls this function once, before
    /// it sends any message.
    pub(crate) fn subscribe(self: &Arc<Self>, log: Arc<BroadcastLog<Self>>, number: u64) {
        self.state.lock().broadcast.subscribe(log, number, Arc::downgrade(self));
    }

    /// Queues the earlier emits to audiences of this session, before the caller queues its message.
    pub(super) fn sync_broadcasts(&self, state: &mut State) {
        if state.broadcast.has_new() && !self.is_over(state) {
            let new = state.broadcast.take_new();
            let now = state.now();
            state.broadcast.before_delivery(&state.core);
            // If a message does not fit, the session closes.
            if new.iter().all(|message| self.queue_broadcast(state, now, message)) && !new.is_empty() {
                self.after_delivery(state);
            }
        }
    }

    /// Updates the lag of this member after messages have been queued.
    #[inline]
    fn after_delivery(&self, state: &mut State) {
        if state.broadcast.needs_update(&state.core) {
            self.update_lag(state);
        }
    }

    #[cold]
    fn update_lag(&self, state: &mut State) {
        let blocked_since = || self.write_progress.blocked_since();
        if let Some(emitters) = state.broadcast.update_lag(&state.core, blocked_since) {
            state.notify_emitters(emitters);
        }
    }

    /// Queues a message to an audience. If the message does not fit into the queue, closes the
    /// session and returns `false`.
    fn queue_broadcast(&self, state: &mut State, now: Instant, message: &Message) -> bool {
        if message.method().is_some_and(|method| !state.signatures.matches(method)) {
            self.counters.count_mismatched_emit();
            state.report_mismatched_emit();
            return true;
        }
        let dropped = state.core.dropped();
        let outcome = if let Some(key) = message.latest() {
            let (frame, is_volatile) = (message.frame(), message.is_volatile());
            state.core.emit_latest(now, LatestEmit { frame, key, is_volatile }, CallOrigin::Other)
        } else if message.is_volatile() {
            state.core.emit_volatile(&VolatileEmit::Shared(message.frame()))
        } else {
            let when_full = if state.broadcast.is_given_up() { WhenFull::ApplyPolicy } else { WhenFull::Accept };
            state.core.broadcast(now, message.frame(), message.key(), message.overflow(), when_full)
        };
        match outcome {
            SendOutcome::Full => {
                state.close(DisconnectReason::TooSlow);
                return false;
            }
            SendOutcome::TooLarge { .. } => state.report_too_large_emit(),
            SendOutcome::Sent | SendOutcome::Pending | SendOutcome::Dropped | SendOutcome::ShuttingDown => {}
        }
        let dropped = state.core.dropped() - dropped;
        if dropped > 0 {
            state.report_dropped_emits(dropped, message.overflow());
        }
        true
    }

    /// Sends a broadcast request to this member of an audience.
    pub(crate) fn request_shared(
        &self,
        now: Instant,
        callee: Callee<'_>,
        request: &SharedRequest,
        member: MultiCallSlot,
    ) -> (bool, Result<(), (CallError, MultiCallSlot)>) {
        let mut state = match self.begin_sending() {
            Ok(state) => state,
            Err(error) => return (false, Err((error, member))),
        };
        if let Err(error) = state.signatures.check(callee) {
            return (false, Err((error, member)));
        }
        match state.core.request_shared(now, request, Waiter::Member(member), call_origin()) {
            Ok(()) => {
                state.arm_timer();
                self.record_pending(&state);
                (self.needs_write(&mut state), Ok(()))
            }
            Err((refused, Waiter::Member(member))) => (false, Err((CallError::from_send_outcome(refused), member))),
            Err((refused, Waiter::Caller(_))) => {
                debug_assert!(false, "the consumer of a broadcast request is a member: {refused:?}");
                (false, Ok(()))
            }
        }
    }

    /// Cancels a broadcast request to this member, since the caller has dropped it.
    pub(crate) fn cancel_request(&self, id: CallId) {
        let mut state = self.state.lock();
        state.core.cancel(now(), id);
        state.check_capacity();
        self.notify_if_idle(&mut state);
        self.after_queueing(state, false);
    }

    /// Returns `true` if the shard has to write for this session, since no other task will.
    fn needs_write(&self, state: &mut State) -> bool {
        let is_covered = state.core.send_buffer().is_empty() || state.dispatching.is_some() || state.flush_requested;
        if is_covered || self.is_blocked() {
            state.update_share();
            return false;
        }
        state.flush_requested = true;
        true
    }
}
