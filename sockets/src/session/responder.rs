//! A call that has come in, from its start to its one outcome.

use std::{
    any::type_name,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Call, Completed, QueuePolicy, Session};
use crate::clock::now;
use crate::codec::{self, DecodeError, Payload, decode_elements};
use crate::lock::event;
#[cfg(feature = "middleware")]
use crate::method::Kind;
use sockets_proto::{CallId, FailureCode, HandlerId, Response, WindowPermit};

/// A call or an emit that has come in. It ends exactly once: with a reply, a failure, or, dropped before that, with
/// what its being dropped means.
pub struct Responder {
    call: Call,
    payload: Bytes,
    /// The key of the method.
    key: u64,
    obligation: Obligation,
    /// The handler has ended: a request has been answered.
    ended: AtomicBool,
}

/// What is owed to the peer for a call: an answer, or its place in the window.
enum Obligation {
    Request {
        id: CallId,
        place: WindowPermit,
    },
    Emit {
        open: HandlerId,
        place: WindowPermit,
    },
    /// Several hear the emit, each under a name of its own.
    SharedEmit(#[expect(dead_code, reason = "held until all handlers have ended")] Arc<SharedPermit>, HandlerId),
}

/// The place in the window of an emit that several hear, which is given back when the last of its handlers has ended.
pub(crate) struct SharedPermit {
    session: Arc<Session>,
    open: HandlerId,
    place: WindowPermit,
}

impl SharedPermit {
    pub(crate) fn new(session: Arc<Session>, open: HandlerId, place: WindowPermit) -> Self {
        Self { session, open, place }
    }
}

impl Drop for SharedPermit {
    fn drop(&mut self) {
        self.session.end_emit(self.open, self.place);
    }
}

impl Responder {
    fn new(call: Call, payload: Bytes, key: u64, ticket: Obligation) -> Self {
        Self { call, payload, key, obligation: ticket, ended: AtomicBool::new(false) }
    }

    pub(crate) fn request(call: Call, payload: Bytes, key: u64, id: CallId, place: WindowPermit) -> Self {
        Self::new(call, payload, key, Obligation::Request { id, place })
    }

    pub(crate) fn emit(call: Call, payload: Bytes, key: u64, open: HandlerId, place: WindowPermit) -> Self {
        Self::new(call, payload, key, Obligation::Emit { open, place })
    }

    pub(crate) fn shared_emit(call: Call, payload: Bytes, key: u64, lease: Arc<SharedPermit>, open: HandlerId) -> Self {
        Self::new(call, payload, key, Obligation::SharedEmit(lease, open))
    }

    /// What the handler may know of its caller.
    pub fn call(&self) -> &Call {
        &self.call
    }

    /// Whether the caller waits for an answer.
    #[cfg(feature = "middleware")]
    pub(crate) fn kind(&self) -> Kind {
        if self.is_request() { Kind::Request } else { Kind::Emit }
    }

    /// How long the arguments are, in bytes.
    #[cfg(feature = "middleware")]
    pub(crate) fn arguments_len(&self) -> usize {
        self.payload.len()
    }

    /// The arguments, which may borrow from the received bytes.
    ///
    /// # Errors
    ///
    /// If they do not decode; the caller has been told.
    pub fn decode<'de, A: Deserialize<'de>>(&'de self) -> Result<A, Completed> {
        let limit = self.call.session().limits().max_decoded as usize;
        decode_elements(&self.payload, limit).map_err(|error| self.reject_arguments(&error, type_name::<A>()))
    }

    /// Decodes the arguments into the type that a function returns. The function is not called.
    ///
    /// # Errors
    ///
    /// As [`decode`](Self::decode).
    pub fn decode_as<'de, A: Deserialize<'de>>(&'de self, _: impl FnOnce() -> A) -> Result<A, Completed> {
        self.decode()
    }

    #[cold]
    fn reject_arguments(&self, error: &(DecodeError, Option<usize>), rust_type: &str) -> Completed {
        let session = self.call.session();
        let method = session.describe(self.key);
        let error = method.cannot_decode_arguments(session.side(), error, rust_type);
        if !self.is_request() {
            session.counters.count_undecodable_emit();
        }
        event!(warn, method = method.name(), peer = %session.label(), error, "rejected a call");
        self.fail(FailureCode::Decode, &error)
    }

    fn is_request(&self) -> bool {
        matches!(self.obligation, Obligation::Request { .. })
    }

    /// Answers with a reply; for an emit, which nobody waits for, it does nothing.
    ///
    /// # Errors
    ///
    /// If the reply cannot be encoded; the caller has been told.
    pub async fn reply<R: Serialize>(&self, reply: R) -> Result<Completed, Completed> {
        let Obligation::Request { id, .. } = self.obligation else { return self.done() };
        if let Some(encoded) = self.try_reply(&reply)? {
            // What waits is the encoded reply, whose bytes are counted.
            drop(reply);
            let attempt = || self.respond(&Response::Reply(&Payload::of(&encoded)), QueuePolicy::IfCapacity);
            // Boxed, so that handlers whose replies find room hold no room for this.
            Box::pin(self.call.session().reply_in_turn(id, encoded.len(), attempt)).await;
        }
        Ok(Completed(()))
    }

    /// Encodes a reply and answers with it. Returns the encoded reply if there is no room for it.
    fn try_reply<R: Serialize>(&self, reply: &R) -> Result<Option<Bytes>, Completed> {
        let answer = |payload: &Payload<'_>| {
            let is_answered = self.respond(&Response::Reply(payload), QueuePolicy::IfCapacity);
            (!is_answered).then(|| payload.to_bytes())
        };
        codec::with_scratch(reply, answer).map_err(|error| {
            let session = self.call.session();
            let method = session.describe(self.key);
            let error = method.cannot_encode_reply(session.side(), &error, type_name::<R>());
            event!(warn, method = method.name(), peer = %session.label(), error, "a call has no reply");
            self.fail(FailureCode::Encode, &error)
        })
    }

    /// Ends an emit.
    ///
    /// # Errors
    ///
    /// None; the type is that of a request's end.
    pub fn done(&self) -> Result<Completed, Completed> {
        self.ended.store(true, Ordering::Relaxed);
        Ok(Completed(()))
    }

    /// Answers that nobody serves the method.
    pub fn refuse(self) {
        self.fail(FailureCode::NoSuchMethod, "");
    }

    /// Answers with a failure.
    pub(crate) fn fail(&self, code: FailureCode, text: &str) -> Completed {
        self.respond(&Response::Failure(code, text), QueuePolicy::Always);
        Completed(())
    }

    /// Whether it is answered now, or was before.
    fn respond(&self, outcome: &Response<'_>, room: QueuePolicy) -> bool {
        if self.ended.load(Ordering::Relaxed) {
            return true;
        }
        let had_room = match self.obligation {
            Obligation::Request { id, place } => self.call.session().respond(self.key, id, place, outcome, room),
            Obligation::Emit { .. } | Obligation::SharedEmit(..) => true,
        };
        // Only its handler answers a call, and then whoever drops it.
        self.ended.store(had_room, Ordering::Relaxed);
        had_room
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        let code = if self.ended.load(Ordering::Relaxed) { None } else { Some(self.report_stopped()) };
        match (&self.obligation, code) {
            (Obligation::Request { .. }, Some(code)) => drop(self.fail(code, "")),
            (Obligation::Request { .. }, None) => {}
            (Obligation::Emit { open, place }, _) => self.call.session().end_emit(*open, *place),
            (Obligation::SharedEmit(_, open), _) => self.call.session().remove_handler(*open),
        }
    }
}

impl Responder {
    /// Counts and reports a handler that is stopped before its end, and returns why.
    #[cold]
    fn report_stopped(&self) -> FailureCode {
        let session = self.call.session();
        let (peer, side) = (session.label(), session.side());
        let method = session.describe(self.key).name();
        if thread::panicking() {
            event!(error, hook = "handler", method, %peer, %side, "a handler panicked");
            return FailureCode::Panicked;
        }
        if now() < self.call.deadline() {
            session.counters.count_cancelled_handler();
            event!(debug, method, %peer, %side, "stopped a handler, since its caller cancelled the call or left");
            return FailureCode::Cancelled;
        }
        if self.is_request() {
            event!(debug, method, %peer, %side, "stopped the handler of a request at its deadline");
        } else {
            session.count_timed_out_emit();
            event!(warn, method, %peer, %side, "stopped the handler of an emit at its deadline");
        }
        FailureCode::Timeout
    }
}
