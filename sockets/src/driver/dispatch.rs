//! Starts the handlers of received calls, and polls each to its first suspension.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use bytes::Bytes;
use futures_util::future::abortable;
use tokio::time::timeout_at;

use super::{
    handler_cache::{CachedHandlers, HandlerCache},
    handler_slots::HandlerSlots,
    rate_limiter::RateLimiter,
};
use crate::lock::{assert_unlocked, event};
use crate::{
    clock,
    method::Kind,
    session::{
        Call, DetachedPermit, GroupService, HandlerSlot, Peer, QueuePolicy, Resolved, Responder, Session, SharedPermit,
        Subscriber, SuspendedHandler,
    },
    transport::Batch,
};
use sockets_proto::{CallId, FailureCode, HandlerId, IncomingCall, ProtocolError, ReleaseUnused, Response};

/// A call that waits to be started.
pub(super) struct HeldCall {
    pub(super) call: IncomingCall,
    /// The time at which the bytes of the call were received.
    pub(super) arrived: Instant,
    /// The peer has cancelled the call.
    pub(super) is_cancelled: bool,
}

/// The time slice in which calls are started.
pub(super) struct TimeSlice {
    pub(super) now: Instant,
    /// The end of the time slice.
    pub(super) until: Instant,
}

/// Starts handlers in the order in which their calls were received.
pub(super) struct Dispatcher {
    session: Arc<Session>,
    handlers: HandlerCache,
    held: VecDeque<HeldCall>,
    /// The last emit, if the time slice ended before all of its handlers had been started.
    unfinished: Option<Box<Unfinished>>,
    /// The rate at which calls are started, if it is limited.
    rate: Option<Box<RateLimiter>>,
    /// A handler has suspended in this turn.
    has_suspended: bool,
}

impl Dispatcher {
    pub(super) fn new(session: Arc<Session>) -> Self {
        let rate = RateLimiter::new(session.limits(), clock::now()).map(Box::new);
        Self {
            session,
            handlers: HandlerCache::new(),
            held: VecDeque::new(),
            unfinished: None,
            rate,
            has_suspended: false,
        }
    }

    /// Begins a turn without calls of earlier turns.
    pub(super) fn begin_turn(&mut self) {
        self.has_suspended = false;
    }

    /// Starts the handler of a call, or holds the call. A call is held while `can_dispatch` is
    /// `false`, while the peer exceeds its rate, or while earlier calls are held. The window limits
    /// the number of held calls.
    #[inline]
    pub(super) fn accept(
        &mut self,
        held: HeldCall,
        slice: &TimeSlice,
        can_dispatch: bool,
        slots: &mut HandlerSlots,
        batch: &Batch,
    ) -> Result<(), ProtocolError> {
        if self.has_suspended {
            // The ids of the turn's calls were checked before its handlers started.
            self.session.check_id(held.call.handler)?;
        }
        if !can_dispatch || !self.held.is_empty() || !self.is_within_rate(slice.now) {
            return self.hold(held, batch);
        }
        if held.is_cancelled {
            self.refuse_cancelled(&held.call);
        } else {
            self.start(held.call, held.arrived, slice, slots, Some(batch));
        }
        Ok(())
    }

    #[cold]
    fn hold(&mut self, held: HeldCall, batch: &Batch) -> Result<(), ProtocolError> {
        if self.held.iter().any(|other| other.call.handler == held.call.handler) {
            return Err(ProtocolError::DuplicateId);
        }
        let payload = batch.detach(held.call.payload);
        self.held.push_back(HeldCall { call: IncomingCall { payload, ..held.call }, ..held });
        Ok(())
    }

    /// Answers a cancelled request whose handler has not started.
    #[cold]
    fn refuse_cancelled(&self, call: &IncomingCall) {
        if let HandlerId::Request(id) = call.handler {
            let cancelled = Response::Failure(FailureCode::Cancelled, "");
            self.session.respond(call.key, id, call.permit, &cancelled, QueuePolicy::Always);
        }
    }

    /// Continues the unfinished emit, or starts the oldest held call.
    #[cold]
    pub(super) fn release_next(&mut self, slice: &TimeSlice, slots: &mut HandlerSlots) -> Result<(), ProtocolError> {
        if let Some(Unfinished { emit, remaining }) = self.unfinished.take().map(|unfinished| *unfinished) {
            if slice.now <= emit.call.deadline() {
                let (key, mut suspended) = (emit.key, false);
                self.unfinished =
                    emit.start(&self.session, &remaining.emit_handlers, slice.until, slots, &mut suspended);
                if suspended {
                    self.note_suspended(key);
                }
            } else {
                self.note_expired(emit.key);
                self.session.count_timed_out_emit();
            }
            return Ok(());
        }
        let Some(HeldCall { call, arrived, is_cancelled }) = self.held.pop_front() else { return Ok(()) };
        self.held.release_unused();
        if is_cancelled {
            self.refuse_cancelled(&call);
        } else {
            self.session.check_id(call.handler)?;
            self.start(call, arrived, slice, slots, None);
        }
        Ok(())
    }

    /// Returns `true` if a handler waits and may start now.
    pub(super) fn has_work(&self, now: Instant) -> bool {
        let may_release = || !self.held.is_empty() && self.is_within_rate(now) && self.session.can_dispatch();
        self.unfinished.is_some() || may_release()
    }

    fn is_within_rate(&self, now: Instant) -> bool {
        self.rate.as_ref().is_none_or(|rate| rate.is_ready(now))
    }

    /// Returns the time at which the rate limit allows the next held call to start. Returns `None`
    /// if no call is held. Also returns `None` while `can_dispatch` returns `false`; when it
    /// returns `true` again, the session wakes the driver.
    pub(super) fn resumes_at(&self) -> Option<Instant> {
        let rate = self.rate.as_ref().filter(|_| !self.held.is_empty() && self.session.can_dispatch())?;
        rate.ready_at()
    }

    /// Handles the cancellation of a request that has no suspended handler. If the request is held,
    /// its handler never runs. The session does not answer the request now, but at the time at
    /// which the handler would have started. Otherwise a peer that does not read could fill the
    /// send queue with immediate answers, without limit.
    pub(super) fn revoke(&mut self, id: CallId) {
        if let Some(held) = self.held.iter_mut().find(|held| held.call.handler == HandlerId::Request(id)) {
            held.is_cancelled = true;
        }
    }

    /// Drops the held calls, which have failed at their callers.
    pub(super) fn clear_held(&mut self) {
        self.held = VecDeque::new();
        self.unfinished = None;
    }

    /// Starts the handler of a call, unless the deadline of the call has passed. `batch` is the
    /// batch that contained the call, or `None` if the payload has been copied out of the batch.
    fn start(
        &mut self,
        mut incoming: IncomingCall,
        arrived: Instant,
        &TimeSlice { now, until }: &TimeSlice,
        slots: &mut HandlerSlots,
        batch: Option<&Batch>,
    ) {
        let Some(deadline) = incoming.deadline(arrived, self.session.limits().call_timeout, now) else {
            // An overdue call does not count for the rate, so that it does not delay later calls.
            return self.expire(&incoming);
        };
        if let Some(rate) = &mut self.rate {
            rate.take(now, incoming.permit.length());
        }
        // Messages of handlers that have started before do not delay the reply of this handler.
        incoming.permit.start(self.session.pending_position());
        let call = Call::new(Peer::new(Arc::clone(&self.session)), deadline);
        let key = incoming.key;
        let handlers = self.handlers.get(&self.session, key);
        if let (Some(batch), Some(CachedHandlers { suspends: true, .. })) = (batch, handlers) {
            incoming.payload = batch.detach(incoming.payload);
        }
        let resolved = handlers.map(|handlers| &handlers.resolved);
        let session = &self.session;
        let suspended = match incoming.handler {
            HandlerId::Request(id) => {
                let responder = Responder::request(call, incoming.payload, key, id, incoming.permit);
                request(session, key, responder, incoming.handler, resolved, slots.slot_for(key))
            }
            HandlerId::Emit(_) => match resolved.map(|resolved| &resolved.emit_handlers[..]) {
                Some([subscriber]) => {
                    let responder = Responder::emit(call, incoming.payload, key, incoming.handler, incoming.permit);
                    run(session, subscriber, key, responder, incoming.handler, slots.slot_for(key))
                }
                subscribers => {
                    let (subscribers, mut suspended) = (subscribers.unwrap_or_default(), false);
                    self.unfinished = emit(session, call, incoming, subscribers, until, slots, &mut suspended);
                    suspended
                }
            },
        };
        if suspended {
            self.note_suspended(key);
        }
    }

    /// Ends a call that was not started before its deadline.
    fn expire(&self, call: &IncomingCall) {
        self.note_expired(call.key);
        match call.handler {
            HandlerId::Request(id) => {
                let timeout = Response::Failure(FailureCode::Timeout, "");
                self.session.respond(call.key, id, call.permit, &timeout, QueuePolicy::Always);
            }
            handler @ HandlerId::Emit(_) => {
                self.session.count_timed_out_emit();
                self.session.end_emit(handler, call.permit);
            }
        }
    }

    fn note_expired(&self, key: u64) {
        let (peer, method) = (self.session.label(), self.session.describe(key).name());
        event!(debug, method, %peer, "the deadline of a call passed before its handler could start");
    }

    fn note_suspended(&mut self, key: u64) {
        self.has_suspended = true;
        self.handlers.record_suspension(key, self.session.max_names());
    }
}

/// Starts the handler of a request. Returns `true` if it has suspended.
fn request(
    session: &Arc<Session>,
    key: u64,
    responder: Responder,
    handler: HandlerId,
    resolved: Option<&Resolved>,
    slot: &mut HandlerSlot,
) -> bool {
    let Some(Resolved { request_handler: Some(subscriber), .. }) = resolved else {
        responder.refuse();
        return false;
    };
    if subscriber.accepts(Kind::Request) {
        return run(session, subscriber, key, responder, handler, slot);
    }
    responder.fail(FailureCode::SignatureMismatch, "an emit");
    false
}

/// Handles an emit with no handler or with several handlers. Starts the handlers until the time
/// `until`. If some handlers have not been started, returns the emit with these handlers. If a
/// handler has suspended, sets `suspended` to `true`.
fn emit(
    session: &Arc<Session>,
    call: Call,
    emitted: IncomingCall,
    subscribers: &[Subscriber],
    until: Instant,
    slots: &mut HandlerSlots,
    suspended: &mut bool,
) -> Option<Box<Unfinished>> {
    let IncomingCall { key, handler, payload, permit, .. } = emitted;
    if subscribers.is_empty() {
        session.count_unhandled_emit();
        event!(debug, key, peer = %session.label(), "dropped an emit that has no handler");
        session.end_emit(handler, permit);
        return None;
    }
    let permit = Arc::new(SharedPermit::new(Arc::clone(session), handler, permit));
    SharedEmit { key, call, payload, permit }.start(session, subscribers, until, slots, suspended)
}

/// An emit with several handlers.
struct SharedEmit {
    key: u64,
    call: Call,
    payload: Bytes,
    permit: Arc<SharedPermit>,
}

/// An emit with handlers that have not been started.
struct Unfinished {
    emit: SharedEmit,
    remaining: Resolved,
}

impl SharedEmit {
    /// Starts the first handler, and further handlers until the time `until`. If some handlers have
    /// not been started, returns the emit with these handlers.
    fn start(
        self,
        session: &Arc<Session>,
        subscribers: &[Subscriber],
        until: Instant,
        slots: &mut HandlerSlots,
        suspended: &mut bool,
    ) -> Option<Box<Unfinished>> {
        for (index, subscriber) in subscribers.iter().enumerate() {
            if index > 0 && clock::now() >= until {
                let remaining = Resolved::new(Arc::clone(session), subscribers[index..].into(), None);
                return Some(Box::new(Unfinished { emit: self, remaining }));
            }
            let handler = session.next_handler_id();
            let responder = Responder::shared_emit(
                self.call.clone(),
                self.payload.clone(),
                self.key,
                Arc::clone(&self.permit),
                handler,
            );
            *suspended |= run(session, subscriber, self.key, responder, handler, slots.slot_for(self.key));
        }
        None
    }
}

/// Starts a handler and polls it once. If the handler suspends, the function spawns a task for it
/// and returns `true`. The handler runs in this task until its end or its deadline.
fn run(
    session: &Arc<Session>,
    subscriber: &Subscriber,
    key: u64,
    responder: Responder,
    handler: HandlerId,
    slot: &mut HandlerSlot,
) -> bool {
    if let Subscriber::Group { service, detached: true, .. } = subscriber {
        return run_detached(session, service, key, responder, handler, slot);
    }
    let deadline = responder.call().deadline();
    assert_unlocked();
    match subscriber {
        Subscriber::Group { service, .. } => service.start(key, responder, slot),
        Subscriber::Listener { listen, .. } => listen.start(responder, slot),
    }
    let Some(future) = slot.poll_once(session) else { return false };
    let (task, handle) = abortable(SuspendedHandler::new(Arc::clone(session), key, handler, future).run());
    // Register the handler before the spawn, because the task may end at any time after the spawn.
    // Do not hold the lock of the session during the spawn. A runtime that is shutting down drops a
    // spawned task immediately, and the drop locks the session to answer the call.
    session.suspend(handler, handle);
    tokio::spawn(timeout_at(deadline.into(), task));
    true
}

/// Starts a handler of a method with `detached` and polls it once. If the handler suspends, the
/// function spawns a task for it and returns `true`. The handler then runs to completion.
#[cold]
fn run_detached(
    session: &Arc<Session>,
    service: &Arc<dyn GroupService>,
    key: u64,
    responder: Responder,
    handler: HandlerId,
    slot: &mut HandlerSlot,
) -> bool {
    let Some(permit) = DetachedPermit::acquire(session) else {
        let (peer, method) = (session.label(), session.describe(key).name());
        event!(warn, method, %peer, "refused a call: the peer or the server has the maximum number of detached handlers");
        responder.fail(FailureCode::Overloaded, "");
        return false;
    };
    assert_unlocked();
    service.start(key, responder, slot);
    let Some(future) = slot.poll_once(session) else { return false };
    permit.spawn(SuspendedHandler::new(Arc::clone(session), key, handler, future).detached().run());
    true
}
