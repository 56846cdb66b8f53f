//! A request that waits for its result.

use crate::method::Callee;
use std::{
    any::type_name,
    future::Future,
    mem,
    ops::Deref,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use serde::{Serialize, de::DeserializeOwned};
use tokio::time::timeout_at;

use super::{Described, Session, Waiter};
use crate::codec::{DecodeError, EncodeError, Payload, decode_within};
use crate::elements::failing_element;
use crate::{call_error::CallError, clock::now};
use sockets_proto::{CallId, CallResult, clamp_timeout};

/// The future of a request that has been sent. If the future is dropped before the result arrives,
/// the session cancels the request.
pub(super) struct CallFuture<S: Deref<Target = Session>> {
    session: S,
    id: CallId,
    slot: usize,
    pub(super) deadline: Instant,
    is_complete: bool,
    /// `true` if the future has been polled. Before the first poll, the slot contains the waker
    /// that the constructor has passed to `request`.
    polled: bool,
}

impl Session {
    pub(super) fn decode_reply<R: DeserializeOwned>(&self, callee: Callee<'_>, reply: &[u8]) -> Result<R, CallError> {
        decode_within(reply, self.limits.max_decoded as usize)
            .map_err(|error| self.cannot_decode_reply::<R>(callee, &error))
    }

    /// Describes arguments that could not be encoded.
    #[cold]
    pub(super) fn cannot_encode<A: Serialize + ?Sized>(
        &self,
        callee: Callee<'_>,
        error: &EncodeError,
        args: &A,
    ) -> CallError {
        let failed = failing_element(args);
        Described::new(callee).cannot_encode_arguments(self.side(), error, failed, type_name::<A>())
    }

    /// Describes a reply that could not be decoded.
    #[cold]
    fn cannot_decode_reply<R>(&self, callee: Callee<'_>, error: &DecodeError) -> CallError {
        Described::new(callee).cannot_decode_reply(self.side(), error, type_name::<R>())
    }

    /// Waits until the connection to a server that is shutting down has ended, so that a call can
    /// wait for the next connection.
    ///
    /// Returns an error if the client cannot reconnect. Also returns an error for a call of a
    /// handler of this session: the server waits for the handler, which the next session would
    /// stop.
    #[cold]
    pub(super) async fn until_next_server(&self, deadline: Instant) -> Result<(), CallError> {
        if self.runs_here() || self.state.lock().core.positions().is_none() {
            return Err(CallError::ShuttingDown);
        }
        let next = self.wait_until(|| {
            let is_over = self.reason.get().is_some() || !self.state.lock().core.awaits_next_server();
            is_over.then_some(())
        });
        timeout_at(deadline.into(), next).await.map_err(|_| CallError::Timeout)
    }

    /// Returns `true` if a call that has ended with this result may be repeated in a new session
    /// with the server.
    pub(super) fn may_repeat(&self, callee: Callee<'_>, result: &CallResult) -> bool {
        let CallResult::Disconnected { maybe_executed } = *result else { return false };
        (!maybe_executed || callee.is_idempotent()) && !self.is_ending()
    }

    /// Sends a request. `waker` belongs to the task that polls the returned future without delay.
    pub(super) fn request<S: Deref<Target = Self>>(
        session: S,
        callee: Callee<'_>,
        timeout: Duration,
        payload: &Payload<'_>,
        waker: Waker,
    ) -> Result<CallFuture<S>, CallError> {
        let now = now();
        let mut state = session.begin_sending()?;
        state.signatures.check(callee)?;
        let slot = state.wait_slots.insert(waker);
        let origin = session.call_origin(&state);
        match state.core.request(now, callee.key(), timeout, payload, Waiter::Caller(slot), origin) {
            Ok(id) => {
                state.arm_for(timeout, now);
                session.record_pending(&state);
                // Callers of completed calls are about to run, and may call again.
                let lone = state.core.calls_in_flight() == 1 && state.wait_slots.len() == 1;
                session.after_queueing(state, lone);
                let deadline = now + clamp_timeout(timeout);
                Ok(CallFuture { session, id, slot, deadline, is_complete: false, polled: false })
            }
            Err(refused) => {
                let unused = state.wait_slots.remove(slot);
                drop(state);
                // The waker of the slot is dropped without the lock.
                drop(unused);
                Err(CallError::from_send_outcome(refused))
            }
        }
    }
}

impl<S: Deref<Target = Session> + Unpin> Future for CallFuture<S> {
    type Output = CallResult;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CallResult> {
        let this = self.get_mut();
        if !mem::replace(&mut this.polled, true) {
            // If the result has arrived already, the waker has been woken.
            return Poll::Pending;
        }
        // Wakers are cloned and dropped without the lock.
        let mut waker = None;
        loop {
            let mut state = this.session.state.lock();
            if let Some(result) = state.wait_slots.take_result(this.slot) {
                drop(state);
                this.is_complete = true;
                return Poll::Ready(result);
            }
            if waker.is_some() {
                waker = state.wait_slots.replace_waker(this.slot, waker);
                drop(state);
                drop(waker);
                return Poll::Pending;
            }
            drop(state);
            waker = Some(cx.waker().clone());
        }
    }
}

impl<S: Deref<Target = Session>> Drop for CallFuture<S> {
    fn drop(&mut self) {
        if self.is_complete {
            return;
        }
        let mut state = self.session.state.lock();
        // The waker of the slot is dropped without the lock.
        let slot = state.wait_slots.remove(self.slot);
        if slot.has_result() {
            // The core has removed the call, and another call may have its id.
            drop(state);
            return;
        }
        // The consumer is removed with the slot, so a late result has no effect.
        state.core.cancel(now(), self.id);
        state.check_capacity();
        self.session.notify_if_idle(&mut state);
        self.session.after_queueing(state, false);
    }
}
