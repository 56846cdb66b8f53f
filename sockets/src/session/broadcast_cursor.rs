//! The emits and requests to audiences, at the session of a member.

use std::{
    sync::{Arc, Weak},
    time::Instant,
};

use super::{
    MultiCallSlot, Session, State, Waiter,
    broadcast_log::{Batch, BroadcastLog, Message},
    handler_context::call_origin,
};
use crate::{call_error::CallError, clock::now, disconnect_reason::DisconnectReason, method::Callee};
use sockets_proto::{CallId, SendOutcome, SharedRequest, VolatileEmit, WhenFull};

/// The subscription of a member to the log of its shard.
pub(super) struct BroadcastCursor {
    pub(super) log: Arc<BroadcastLog>,
    /// The number of the member.
    pub(super) member: u64,
    pub(super) session: Weak<Session>,
}

impl Session {
    /// Subscribes this session to the log of a shard. It is called once, before any message is
    /// sent.
    pub(crate) fn subscribe(self: &Arc<Self>, log: Arc<BroadcastLog>, member: u64) {
        self.state.lock().cursor = log.newest();
        // It is set once, before the session is shared.
        let _ = self.broadcast_cursor.set(BroadcastCursor { log, member, session: Arc::downgrade(self) });
    }

    /// Queues the new messages of a batch. Returns `true` if the shard has to write for this
    /// member. If a message does not fit into the queue of the member, the session closes.
    pub(crate) fn deliver(&self, now: Instant, batch: &Batch) -> bool {
        let mut state = self.state.lock();
        if self.is_over(&state) {
            return false;
        }
        Self::before_delivery(&mut state);
        let new = batch.since(state.cursor);
        state.cursor = state.cursor.max(batch.last_number());
        let (joined, largest) = batch.concatenated();
        let all_at_once = new.len() == batch.len()
            && !batch.is_volatile()
            && batch.method().is_none_or(|method| state.signatures.matches(method))
            && state.core.broadcast_all(joined, new.len(), largest, batch.overflow());
        if !all_at_once && !new.iter().all(|entry| self.deliver_entry(&mut state, now, entry.message())) {
            return false;
        }
        self.after_delivery(&mut state);
        self.needs_write(&mut state)
    }

    /// Queues the emits to audiences of this session that precede the next message.
    pub(super) fn sync_broadcasts(&self, state: &mut State) {
        if let Some(BroadcastCursor { log, member, .. }) = self.broadcast_cursor.get()
            && log.newest() != state.cursor
            && !self.is_over(state)
        {
            let (new, newest) = log.since(state.cursor, *member);
            state.cursor = newest;
            let now = state.now();
            Self::before_delivery(state);
            // If a message does not fit, the session closes.
            if new.iter().all(|entry| self.deliver_entry(state, now, entry)) && !new.is_empty() {
                self.after_delivery(state);
            }
        }
    }

    /// Queues a message to an audience. Returns `false` and closes the session if the message does
    /// not fit into the queue.
    fn deliver_entry(&self, state: &mut State, now: Instant, entry: &Message) -> bool {
        if entry.method().is_some_and(|method| !state.signatures.matches(method)) {
            self.counters.count_mismatched_emit();
            state.report_mismatched_emit();
            return true;
        }
        let dropped = state.core.dropped();
        let outcome = if entry.is_volatile() {
            state.core.emit_volatile(&VolatileEmit::Shared(entry.frame()))
        } else {
            let when_full = if state.lag.is_given_up() { WhenFull::ApplyPolicy } else { WhenFull::Accept };
            state.core.broadcast(now, entry.frame(), entry.key(), entry.overflow(), when_full)
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
            state.report_dropped_emits(dropped, entry.overflow());
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
        self.notify_capacity(&mut state);
        self.notify_if_idle(&mut state);
        self.after_queueing(state, false);
    }

    /// Returns `true` if the shard has to write for this session, since no other task will.
    fn needs_write(&self, state: &mut State) -> bool {
        let is_covered = state.core.outbox().is_empty() || state.dispatching.is_some() || state.flush_requested;
        if is_covered || self.is_blocked() {
            state.update_share();
            return false;
        }
        state.flush_requested = true;
        true
    }
}
