//! Emits and answers.

use crate::method::Callee;
use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;

use super::{Session, State, StateGuard, handler_context::call_origin, pending_replies::PendingReply};
use crate::codec::{self, Payload};
use crate::{call_error::CallError, clock::now};
use sockets_proto::{CallId, HandlerId, Response, SendOutcome, VolatileEmit, WindowPermit};

/// Whether an answer needs room in the outgoing queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QueuePolicy {
    IfCapacity,
    Always,
}

impl Session {
    /// Sends an emit; waits for room in the peer's window and in the outgoing queue, in turn.
    ///
    /// Cancel safe: either the emit is queued or it is not.
    pub(crate) async fn emit<A: serde::Serialize + ?Sized>(
        self: &Arc<Self>,
        callee: Callee<'_>,
        args: &A,
    ) -> Result<(), CallError> {
        if let Some(around) = self.around.as_deref() {
            return Box::pin(self.emit_intercepted(around, callee, args)).await;
        }
        match codec::with_scratch(args, |payload| self.try_emit(callee, payload, true)) {
            Ok(Ok(false)) => {}
            Ok(queued) => return queued.map(drop),
            Err(error) => return Err(self.cannot_encode(callee, &error, args)),
        }
        // Encoded before it waits for its turn: that runs user code.
        let args = Bytes::from(codec::encode(args).map_err(|error| self.cannot_encode(callee, &error, args))?);
        self.emit_queued(callee, &Payload::of(&args)).await
    }

    /// Waits until there is room for an emit, after those that wait already.
    pub(super) async fn emit_queued(&self, callee: Callee<'_>, payload: &Payload<'_>) -> Result<(), CallError> {
        let _waiting = CountGuard::new(self, |state| &mut state.emits_waiting);
        let _turn = self.emit_turn.lock().await;
        loop {
            let mut room = std::pin::pin!(self.state.capacity.notified());
            room.as_mut().enable();
            if self.try_emit(callee, payload, false)? {
                return Ok(());
            }
            room.await;
        }
    }

    /// The state, to queue a message; what was said before to an audience of this session is queued first.
    #[inline]
    pub(super) fn begin_sending(&self) -> Result<StateGuard<'_>, CallError> {
        let mut state = self.state.lock();
        self.sync_broadcasts(&mut state);
        if self.is_over(&state) { Err(CallError::Disconnected { maybe_executed: false }) } else { Ok(state) }
    }

    /// Whether the emit is queued. A first attempt must not overtake emits that wait.
    pub(super) fn try_emit(&self, callee: Callee<'_>, payload: &Payload<'_>, first: bool) -> Result<bool, CallError> {
        let mut state = self.begin_sending()?;
        state.signatures.check(callee)?;
        if first && state.emits_waiting > 0 {
            return Ok(false);
        }
        let admission = if callee.is_volatile() {
            state.core.emit_volatile(&VolatileEmit::Own(callee.key(), payload))
        } else {
            state.core.emit(now, callee.key(), payload, call_origin())
        };
        match admission {
            SendOutcome::Dropped => Ok(true),
            SendOutcome::Sent | SendOutcome::Pending => {
                state.arm_timer_if_pending();
                self.after_queueing(state, false);
                Ok(true)
            }
            SendOutcome::Full => {
                drop(state);
                self.flush_unless_blocked();
                Ok(false)
            }
            refused => Err(CallError::from_send_outcome(refused)),
        }
    }

    pub(super) fn flush_unless_blocked(&self) {
        if !self.is_blocked() {
            self.flush();
        }
    }

    /// Answers a request to the method with this key; `false` if there is no room.
    pub(crate) fn respond(
        &self,
        key: u64,
        id: CallId,
        place: WindowPermit,
        outcome: &Response<'_>,
        room: QueuePolicy,
    ) -> bool {
        let mut state = self.state.lock();
        if self.reason.get().is_some() {
            return true;
        }
        self.sync_broadcasts(&mut state);
        if let Response::Reply(payload) = outcome {
            state.record_reply(key, payload.len());
            if !state.admits_reply(payload.len()) {
                self.update_pressure(&mut state);
                return true;
            }
        }
        if room == QueuePolicy::IfCapacity && state.core.is_full() && state.core.may_send(id, outcome) {
            return false;
        }
        let now = state.now();
        state.core.respond(now, id, place, outcome);
        state.arm_timer_if_pending();
        self.notify_if_idle(&mut state);
        self.after_queueing(state, false);
        true
    }

    /// The last handler of an emit has ended.
    pub(crate) fn end_emit(&self, open: HandlerId, place: WindowPermit) {
        let mut state = self.state.lock();
        if self.reason.get().is_some() {
            return;
        }
        state.core.end_emit(open, place);
        self.notify_if_idle(&mut state);
        if !state.core.outbox().is_empty() {
            self.after_queueing(state, false);
        }
    }

    /// Wakes the emits that wait, for there may be room for the first of them.
    pub(super) fn notify_capacity(&self, state: &mut State) {
        self.queue_has_shrunk(state);
        if state.emits_waiting > 0 {
            state.notify_capacity();
        }
    }

    /// Repeats `attempt` until there is room for a call's reply, which holds so many bytes meanwhile.
    pub(super) async fn reply_in_turn(&self, call: CallId, bytes: usize, attempt: impl Fn() -> bool) {
        let _pending = PendingReply::new(self, call, bytes);
        loop {
            let mut room = std::pin::pin!(self.state.capacity.notified());
            room.as_mut().enable();
            if attempt() {
                return;
            }
            room.await;
        }
    }

    /// One of several handlers of an emit has ended.
    pub(crate) fn remove_handler(&self, open: HandlerId) {
        self.state.lock().core.remove_handler(open);
    }

    /// Wakes who waits for the session to become idle, if it is.
    pub(super) fn notify_if_idle(&self, state: &mut State) {
        if self.drained.load(Ordering::Relaxed) && state.core.is_idle() {
            state.notify_changed();
        }
    }
}

/// Counts one that waits, until it is dropped.
struct CountGuard<'a> {
    session: &'a Session,
    count: fn(&mut State) -> &mut usize,
}

impl<'a> CountGuard<'a> {
    fn new(session: &'a Session, count: fn(&mut State) -> &mut usize) -> Self {
        *count(&mut session.state.lock()) += 1;
        Self { session, count }
    }
}

impl Drop for CountGuard<'_> {
    fn drop(&mut self) {
        *(self.count)(&mut self.session.state.lock()) -= 1;
    }
}
