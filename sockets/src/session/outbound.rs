//! Emits and replies.

use crate::method::{Callee, LatestCallee};
use std::sync::{Arc, atomic::Ordering};
#[cfg(feature = "middleware")]
use {crate::method::Kind, futures_util::future::BoxFuture};

use bytes::Bytes;
use serde::Serialize;

use super::{EmitFuture, Session, State, StateGuard, pending_replies::PendingReply};
use crate::codec::{self, Payload};
use crate::{call_error::CallError, clock::now, handler_context::call_origin};
use sockets_proto::{
    CallId, CallOrigin, HandlerId, LatestEmit, Response, SendOutcome, VolatileEmit, WindowPermit, codec::SHARE_FROM,
    shared_emit,
};

/// The policy for a reply if the send queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QueuePolicy {
    IfCapacity,
    Always,
}

/// An emit whose arguments have been encoded.
enum BegunEmit {
    Sent,
    /// The send queue is full. The encoded arguments wait for capacity.
    Full(Bytes, Option<Box<LatestCallee>>),
    /// The layers send the emit.
    #[cfg(feature = "middleware")]
    Intercepted(BoxFuture<'static, Result<Bytes, CallError>>),
}

impl Session {
    /// Sends an emit. If there is no window, the emit becomes pending. If the send queue is full,
    /// the emit waits for capacity, after the emits that already wait. The returned future does not
    /// refer to `args`.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the emit is either queued or not sent at all.
    pub(crate) fn emit<'a, A: Serialize + ?Sized>(self: &'a Arc<Self>, callee: Callee<'a>, args: &A) -> EmitFuture<'a> {
        match self.begin_emit(callee, args) {
            Ok(BegunEmit::Sent) => EmitFuture::Ready(Some(Ok(()))),
            Ok(BegunEmit::Full(args, latest)) => EmitFuture::Waiting(Box::pin(async move {
                self.emit_queued(callee.with_latest(latest.as_deref()), &Payload::of(&args)).await
            })),
            #[cfg(feature = "middleware")]
            Ok(BegunEmit::Intercepted(sending)) => EmitFuture::Layered(sending),
            Err(error) => EmitFuture::Ready(Some(Err(error))),
        }
    }

    /// Encodes an emit, and queues it if there is capacity.
    fn begin_emit<A: Serialize + ?Sized>(
        self: &Arc<Self>,
        callee: Callee<'_>,
        args: &A,
    ) -> Result<BegunEmit, CallError> {
        let latest = callee.latest_of(args);
        let callee = callee.with_latest(latest.as_deref());
        #[cfg(feature = "middleware")]
        if let Some(interceptor) = self.outgoing_interceptor.as_deref() {
            let sending = self.send_through(interceptor, callee, Kind::Emit, self.limits.call_timeout, args)?;
            return Ok(BegunEmit::Intercepted(sending));
        }
        match codec::with_scratch(args, |payload| self.try_emit(callee, payload, true)) {
            Ok(Ok(false)) => {}
            Ok(queued) => return queued.map(|_| BegunEmit::Sent),
            Err(error) => return Err(self.cannot_encode(callee, &error, args)),
        }
        // Encoding runs user code, so it happens before the emit enters the queue.
        let encoded = codec::encode(args).map_err(|error| self.cannot_encode(callee, &error, args))?;
        Ok(BegunEmit::Full(Bytes::from(encoded), latest))
    }

    /// Sends an emit when there is capacity. The emits that already wait are sent first.
    pub(super) async fn emit_queued(&self, callee: Callee<'_>, payload: &Payload<'_>) -> Result<(), CallError> {
        let _waiting = CountGuard::new(self, |state| &mut state.emits_waiting);
        let _latest = callee.latest().map(|_| CountGuard::new(self, |state| &mut state.latest_waiting));
        let _first = self.emit_queue.get_or_init(Box::default).lock().await;
        loop {
            let mut capacity = std::pin::pin!(self.state.capacity.notified());
            capacity.as_mut().enable();
            if self.try_emit(callee, payload, false)? {
                return Ok(());
            }
            capacity.await;
        }
    }

    /// Locks the state, so that the caller can queue a message. Also queues the earlier broadcasts
    /// for this session, because they have to be sent before the caller's message.
    #[inline]
    pub(super) fn begin_sending(&self) -> Result<StateGuard<'_>, CallError> {
        let mut state = self.state.lock();
        self.sync_broadcasts(&mut state);
        if self.is_over(&state) {
            let reason = self.loss_in(&state);
            return Err(CallError::Disconnected { maybe_executed: false, reason });
        }
        Ok(state)
    }

    /// Tries to queue an emit. Returns `true` if the emit has been queued or dropped. If `first` is
    /// `true`, this is the first attempt to queue the emit, which must not overtake emits that
    /// already wait. So the first attempt returns `false` if other emits wait.
    pub(super) fn try_emit(&self, callee: Callee<'_>, payload: &Payload<'_>, first: bool) -> Result<bool, CallError> {
        let mut state = self.begin_sending()?;
        state.signatures.check(callee)?;
        if first && state.emits_waiting > 0 && (callee.latest().is_none() || state.latest_waiting > 0) {
            return Ok(false);
        }
        // The server would drop an emit that arrives after it has drained. An emit of a handler
        // precedes the end of that handler, for which the server waits.
        if state.core.awaits_next_server() && !callee.is_volatile() && !self.runs_here() {
            return Ok(false);
        }
        let origin = self.call_origin(&state);
        let is_volatile = callee.is_volatile() && origin != CallOrigin::Preparation;
        let outcome = if let Some(key) = callee.latest() {
            let (now, frame) = (state.now(), shared_emit(callee.key(), payload));
            state.core.emit_latest(now, LatestEmit { frame: &frame, key, is_volatile }, origin)
        } else if is_volatile {
            state.core.emit_volatile(&VolatileEmit::Own(callee.key(), payload))
        } else {
            state.core.emit(now, callee.key(), payload, origin)
        };
        match outcome {
            SendOutcome::Dropped => Ok(true),
            SendOutcome::Sent | SendOutcome::Pending => {
                state.arm_timer_if_pending();
                self.record_pending(&state);
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

    /// Returns the origin of a message that is sent on this thread.
    #[inline]
    pub(super) fn call_origin(&self, state: &State) -> CallOrigin {
        if state.core.is_held() && self.runs_here() { CallOrigin::Preparation } else { call_origin() }
    }

    pub(super) fn flush_unless_blocked(&self) {
        if !self.is_blocked() {
            self.flush();
        }
    }

    /// Answers a request to the method with this key. Returns `false` if there is no capacity.
    pub(crate) fn respond(
        &self,
        key: u64,
        id: CallId,
        permit: WindowPermit,
        response: &Response<'_>,
        policy: QueuePolicy,
    ) -> bool {
        let mut state = self.state.lock();
        if self.reason.get().is_some() {
            return true;
        }
        self.sync_broadcasts(&mut state);
        if let Response::Reply(payload) = response {
            if payload.len() >= SHARE_FROM {
                state.replies.record_long(key);
            }
            if !state.admits_reply(payload.len()) {
                self.update_pressure(&mut state);
                return true;
            }
        }
        if policy == QueuePolicy::IfCapacity && state.core.is_full() && state.core.may_send(id, response) {
            return false;
        }
        let now = state.now();
        state.core.respond(now, id, permit, response);
        state.arm_timer_if_pending();
        self.notify_if_idle(&mut state);
        self.after_queueing(state, false);
        true
    }

    /// Records that the last handler of an emit has ended.
    pub(crate) fn end_emit(&self, handler: HandlerId, permit: WindowPermit) {
        let mut state = self.state.lock();
        if self.reason.get().is_some() {
            return;
        }
        state.core.end_emit(handler, permit);
        self.notify_if_idle(&mut state);
        if !state.core.send_buffer().is_empty() {
            self.after_queueing(state, false);
        }
    }

    /// Queues an encoded reply that did not fit into the queue. Calls `attempt` immediately, and
    /// again each time the queue may have capacity, until `attempt` returns `true`. Meanwhile, the
    /// reply counts with `bytes` bytes towards the session's waiting replies.
    pub(super) async fn reply_when_possible(&self, call: CallId, bytes: usize, attempt: impl Fn() -> bool) {
        let _pending = PendingReply::new(self, call, bytes);
        loop {
            let mut capacity = std::pin::pin!(self.state.capacity.notified());
            capacity.as_mut().enable();
            if attempt() {
                return;
            }
            capacity.await;
        }
    }

    /// Records that a handler of an emit with several handlers has ended.
    pub(crate) fn remove_handler(&self, handler: HandlerId) {
        self.state.lock().core.remove_handler(handler);
    }

    /// Updates `reply_pressure`, which is `true` while the session holds handlers. When it becomes
    /// `false`, wakes the first held handler.
    pub(super) fn update_pressure(&self, state: &mut State) {
        let is_under_pressure = state.is_under_pressure();
        if self.reply_pressure.swap(is_under_pressure, Ordering::Relaxed) && !is_under_pressure {
            state.replies.end_pressure();
            state.notify_capacity();
        }
    }

    /// If the session is idle, wakes the tasks that wait until it is idle.
    pub(super) fn notify_if_idle(&self, state: &mut State) {
        if self.peer_drained.load(Ordering::Relaxed) && state.core.is_idle() {
            state.notify_changed();
        }
    }
}

/// A guard that increments a count of the state. When the guard is dropped, it decrements the
/// count.
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
