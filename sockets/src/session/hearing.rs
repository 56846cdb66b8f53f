//! A member of audiences takes what is said to them, and what they are asked.

use std::{
    sync::{Arc, Weak},
    time::Instant,
};

use super::{
    Consumer, Member, Session, State,
    log::{Log, Message, Run},
    worker::caller,
};
use crate::{call_error::CallError, clock::now, disconnect_reason::DisconnectReason, method::Callee};
use sockets_proto::{Admission, CallId, SharedRequest, Volatile, WhenFull};

/// Where a member of audiences finds what is said to them.
pub(super) struct Following {
    pub(super) log: Arc<Log>,
    /// The member's number.
    pub(super) member: u64,
    pub(super) session: Weak<Session>,
}

impl Session {
    /// Makes this session a member of a shard, whose log it follows from now on. Called once, before any other sends.
    pub(crate) fn follow(self: &Arc<Self>, log: Arc<Log>, member: u64) {
        self.state.lock().heard = log.newest();
        // There is one log, set before anybody can look.
        let _ = self.following.set(Following { log, member, session: Arc::downgrade(self) });
    }

    /// Queues what is new of a run of messages. Returns `true` if somebody has to write for this member. A member that
    /// is too far behind is disconnected.
    pub(crate) fn hear(&self, now: Instant, run: &Run) -> bool {
        let mut state = self.state.lock();
        if self.is_over(&state) {
            return false;
        }
        Self::before_delivery(&mut state);
        let new = run.since(state.heard);
        state.heard = state.heard.max(run.last_number());
        let (joined, largest) = run.joined();
        let all_at_once = new.len() == run.len()
            && !run.is_volatile()
            && run.method().is_none_or(|method| state.signatures.agree(method))
            && state.core.broadcast_all(joined, new.len(), largest, run.overflow());
        if !all_at_once && !new.iter().all(|entry| self.take(&mut state, now, entry.message())) {
            return false;
        }
        self.after_delivery(&mut state);
        self.needs_write(&mut state)
    }

    /// Queues what has been said to audiences of this session, before something else is queued.
    pub(super) fn catch_up(&self, state: &mut State) {
        if let Some(Following { log, member, .. }) = self.following.get()
            && log.newest() != state.heard
            && !self.is_over(state)
        {
            let (new, newest) = log.since(state.heard, *member);
            state.heard = newest;
            let now = state.now();
            Self::before_delivery(state);
            // Should one find no room, the session is closing.
            if new.iter().all(|entry| self.take(state, now, entry)) && !new.is_empty() {
                self.after_delivery(state);
            }
        }
    }

    /// Queues a message to an audience; `false` if it does not fit into the queue, and the session closes.
    fn take(&self, state: &mut State, now: Instant, entry: &Message) -> bool {
        if entry.method().is_some_and(|method| !state.signatures.agree(method)) {
            self.counters.count_mismatched_emit();
            state.report_mismatched_emit();
            return true;
        }
        let dropped = state.core.dropped();
        let admission = if entry.is_volatile() {
            state.core.emit_volatile(&Volatile::Shared(entry.frame()))
        } else {
            let when_full = if state.lag.is_given_up() { WhenFull::ApplyPolicy } else { WhenFull::Accept };
            state.core.broadcast(now, entry.frame(), entry.key(), entry.overflow(), when_full)
        };
        match admission {
            Admission::Full => {
                state.close(DisconnectReason::TooSlow);
                return false;
            }
            Admission::TooLarge { .. } => state.report_too_large_emit(),
            Admission::Sent | Admission::Parked | Admission::Dropped | Admission::ShuttingDown => {}
        }
        let dropped = state.core.dropped() - dropped;
        if dropped > 0 {
            state.report_dropped_emits(dropped, entry.overflow());
        }
        true
    }

    /// Puts a question to this member of an audience.
    pub(crate) fn ask(
        &self,
        now: Instant,
        callee: Callee<'_>,
        ask: &SharedRequest,
        member: Member,
    ) -> (bool, Result<(), (CallError, Member)>) {
        let mut state = match self.begin_sending() {
            Ok(state) => state,
            Err(error) => return (false, Err((error, member))),
        };
        if let Err(error) = state.signatures.check(callee) {
            return (false, Err((error, member)));
        }
        match state.core.ask(now, ask, Consumer::Member(member), caller()) {
            Ok(()) => {
                state.arm();
                (self.needs_write(&mut state), Ok(()))
            }
            Err((refused, Consumer::Member(member))) => (false, Err((CallError::refused(refused), member))),
            Err((refused, Consumer::Caller(_))) => {
                debug_assert!(false, "a question's consumer is the member that it was given: {refused:?}");
                (false, Ok(()))
            }
        }
    }

    /// A question to an audience is dropped: this member need not answer.
    pub(crate) fn cancel(&self, id: CallId) {
        let mut state = self.state.lock();
        state.core.cancel(now(), id);
        self.room_may_be_there(&mut state);
        self.settle(&mut state);
        self.after_queueing(state, false);
    }

    /// Whether a shard has to write for this session: nobody else is about to.
    fn needs_write(&self, state: &mut State) -> bool {
        let idle = state.core.outbox().is_empty() || state.dispatching.is_some() || state.flush_requested;
        if idle || self.is_blocked() {
            state.update_share();
            return false;
        }
        state.flush_requested = true;
        true
    }
}
