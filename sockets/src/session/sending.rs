//! Emits, questions to audiences, and answers.

use std::{sync::atomic::Ordering, time::Instant};

use bytes::Bytes;
use parking_lot::MutexGuard;

use super::{Callee, Consumer, Member, Session, State, worker::caller};
use crate::{
    call_error::CallError,
    clock::now,
    codec,
    disconnect_reason::DisconnectReason,
    proto::{Admission, CallId, Occupied, Open, Outcome, Payload, SharedRequest},
};

/// Whether an answer needs room in the outgoing queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    IfThere,
    Whatever,
}

/// How a member took a message for its audience.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It keeps up.
    Well,
    /// It is behind by more than half of what may wait for it.
    Behind,
    /// It was too far behind and is being disconnected, or has left.
    Lost,
    /// It does not accept so large a message.
    TooLarge,
    /// It serves the method with another signature.
    Differs,
}

impl Session {
    /// Sends an emit; waits for room in the peer's window and in the outgoing queue, in turn.
    ///
    /// Cancel safe: either the emit is queued or it is not.
    pub(crate) async fn emit<A: serde::Serialize + ?Sized>(
        &self,
        callee: Callee<'_>,
        args: &A,
    ) -> Result<(), CallError> {
        let attempt = |first| codec::with_scratch(args, |encoded| self.try_emit(callee, &Payload::of(encoded), first))?;
        if attempt(true)? {
            return Ok(());
        }
        let _waiting = Counted::new(self, |state| &mut state.emits_waiting);
        let _turn = self.emit_turn.lock().await;
        loop {
            let mut room = std::pin::pin!(self.room.notified());
            room.as_mut().enable();
            if attempt(false)? {
                return Ok(());
            }
            room.await;
        }
    }

    /// Whether the emit is queued. A first attempt must not overtake emits that wait.
    fn try_emit(&self, callee: Callee<'_>, payload: &Payload<'_>, first: bool) -> Result<bool, CallError> {
        let mut state = self.state.lock();
        if self.reason.get().is_some() || state.closing.is_some() {
            return Err(CallError::Disconnected { maybe_executed: false });
        }
        state.signatures.check(callee)?;
        if first && state.emits_waiting > 0 {
            return Ok(false);
        }
        match state.core.emit(now(), callee.key(), payload, caller()) {
            Admission::Sent | Admission::Parked => {
                state.arm_if_parked();
                self.after_queueing(state, false);
                Ok(true)
            }
            Admission::Full => {
                drop(state);
                self.flush_unless_blocked();
                Ok(false)
            }
            refused => Err(CallError::refused(refused)),
        }
    }

    pub(super) fn flush_unless_blocked(&self) {
        if !self.is_blocked() {
            self.flush();
        }
    }

    /// Queues a message for an audience, for a shard of the server to write. The first value says whether this member
    /// has to be written for; one who is too far behind is disconnected.
    pub(crate) fn broadcast(&self, now: Instant, callee: Callee<'_>, frame: &Bytes) -> (bool, Taken) {
        let mut state = self.state.lock();
        if self.reason.get().is_some() || state.closing.is_some() {
            return (false, Taken::Lost);
        }
        if state.signatures.check(callee).is_err() {
            self.counters.count_mismatched_emit();
            return (false, Taken::Differs);
        }
        match state.core.broadcast(now, frame) {
            Admission::TooLarge { .. } => return (false, Taken::TooLarge),
            Admission::Full => {
                drop(state);
                self.close(DisconnectReason::TooSlow);
                return (false, Taken::Lost);
            }
            _ => {}
        }
        let taken = if state.core.queued() > state.core.queue_limit() / 2 { Taken::Behind } else { Taken::Well };
        (self.needs_write(&mut state), taken)
    }

    /// Puts a question to this member of an audience.
    pub(crate) fn ask(
        &self,
        now: Instant,
        callee: Callee<'_>,
        ask: &SharedRequest,
        member: Member,
    ) -> (bool, Result<(), (CallError, Member)>) {
        let mut state = self.state.lock();
        if self.reason.get().is_some() || state.closing.is_some() {
            return (false, Err((CallError::Disconnected { maybe_executed: false }, member)));
        }
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

    /// Whether a shard has to write for this session: nobody else is about to.
    fn needs_write(&self, state: &mut MutexGuard<'_, State>) -> bool {
        if state.dispatching.is_some() || state.flush_requested || self.is_blocked() {
            return false;
        }
        state.flush_requested = true;
        true
    }

    /// How many bytes wait to be written or for a window.
    pub(crate) fn queued(&self) -> usize {
        self.state.lock().core.queued()
    }

    /// A question to an audience is dropped: this member need not answer.
    pub(crate) fn cancel(&self, id: CallId) {
        let mut state = self.state.lock();
        state.core.cancel(now(), id);
        self.room_may_be_there(&state);
        self.settle(&state);
        self.after_queueing(state, false);
    }

    /// Answers a request; `false` if there is no room.
    pub(crate) fn answer(&self, id: CallId, place: Occupied, outcome: &Outcome<'_>, room: Room) -> bool {
        let mut state = self.state.lock();
        if self.reason.get().is_some() {
            return true;
        }
        if room == Room::IfThere && state.core.is_full() {
            return false;
        }
        let now = state.now();
        state.core.answer(now, id, place, outcome);
        state.arm_if_parked();
        self.settle(&state);
        self.after_queueing(state, false);
        true
    }

    /// The last handler of an emit has ended.
    pub(crate) fn end_emit(&self, open: Open, place: Occupied) {
        let mut state = self.state.lock();
        if self.reason.get().is_some() {
            return;
        }
        state.core.end_emit(open, place);
        self.settle(&state);
        if !state.core.outbox().is_empty() {
            self.after_queueing(state, false);
        }
    }

    /// Wakes the emits that wait, for there may be room for the first of them.
    pub(super) fn room_may_be_there(&self, state: &State) {
        if state.emits_waiting > 0 {
            self.room.notify_waiters();
        }
    }

    /// Waits while too many bytes wait to be written, so that a peer that does not read its replies does not make us
    /// encode more of them.
    pub(crate) async fn room_for_replies(&self) {
        let has_room = || {
            let state = self.state.lock();
            !state.core.is_full() || self.reason.get().is_some()
        };
        if has_room() {
            return;
        }
        let _waiting = Counted::new(self, |state| &mut state.replies_waiting);
        loop {
            let mut room = std::pin::pin!(self.room.notified());
            room.as_mut().enable();
            if has_room() {
                return;
            }
            room.await;
        }
    }

    /// One of several handlers of an emit has ended.
    pub(crate) fn forget(&self, open: Open) {
        self.state.lock().core.forget(open);
    }

    /// Wakes who waits for the session to become idle, if it is.
    pub(super) fn settle(&self, state: &State) {
        if self.drained.load(Ordering::Relaxed) && state.core.is_idle() {
            self.settled.notify_waiters();
        }
    }
}

/// Counts one that waits, until it is dropped.
struct Counted<'a> {
    session: &'a Session,
    count: fn(&mut State) -> &mut usize,
}

impl<'a> Counted<'a> {
    fn new(session: &'a Session, count: fn(&mut State) -> &mut usize) -> Self {
        *count(&mut session.state.lock()) += 1;
        Self { session, count }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        *(self.count)(&mut self.session.state.lock()) -= 1;
    }
}
