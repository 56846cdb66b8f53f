//! A received call, from its start to its single result.

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

#[cfg(feature = "middleware")]
use super::LayeredResult;
use super::{Call, Completed, QueuePolicy, Session, turn};
use crate::clock::now;
use crate::codec::{self, DecodeError, EncodeError, Payload, decode_elements};
use crate::lock::event;
#[cfg(feature = "middleware")]
use crate::{call_error::CallError, method::Kind};
#[cfg(feature = "middleware")]
use sockets_proto::CallResult;
use sockets_proto::{CallId, FailureCode, HandlerId, ReplyError, Response, WindowPermit};

/// A received request or emit. The call ends exactly once, with a reply or a failure. If the
/// responder is dropped before the call has ended, the call ends with a failure. The failure code
/// depends on the reason of the drop.
pub struct Responder {
    call: Call,
    payload: Bytes,
    /// The key of the method.
    key: u64,
    obligation: Obligation,
    /// The handler has ended; if the call is a request, it has been answered.
    ended: AtomicBool,
}

/// The duty towards the caller: to answer a request, or to return the permit of an emit.
enum Obligation {
    Request {
        id: CallId,
        permit: WindowPermit,
    },
    Emit {
        handler: HandlerId,
        permit: WindowPermit,
    },
    /// An emit with several handlers, each with an id of its own.
    SharedEmit(#[expect(dead_code, reason = "held until all handlers have ended")] Arc<SharedPermit>, HandlerId),
    /// None. The layers around the handler receive its result, and the [`Responder`] outside of
    /// them answers the call.
    #[cfg(feature = "middleware")]
    Layered(Kind, LayeredResult),
}

/// The window permit of an emit with several handlers. The permit is returned when the last of
/// these handlers has ended.
pub(crate) struct SharedPermit {
    session: Arc<Session>,
    handler: HandlerId,
    permit: WindowPermit,
}

impl SharedPermit {
    pub(crate) fn new(session: Arc<Session>, handler: HandlerId, permit: WindowPermit) -> Self {
        Self { session, handler, permit }
    }
}

impl Drop for SharedPermit {
    fn drop(&mut self) {
        self.session.end_emit(self.handler, self.permit);
    }
}

impl Responder {
    fn new(call: Call, payload: Bytes, key: u64, obligation: Obligation) -> Self {
        Self { call, payload, key, obligation, ended: AtomicBool::new(false) }
    }

    pub(crate) fn request(call: Call, payload: Bytes, key: u64, id: CallId, permit: WindowPermit) -> Self {
        Self::new(call, payload, key, Obligation::Request { id, permit })
    }

    pub(crate) fn emit(call: Call, payload: Bytes, key: u64, handler: HandlerId, permit: WindowPermit) -> Self {
        Self::new(call, payload, key, Obligation::Emit { handler, permit })
    }

    pub(crate) fn shared_emit(
        call: Call,
        payload: Bytes,
        key: u64,
        permit: Arc<SharedPermit>,
        handler: HandlerId,
    ) -> Self {
        Self::new(call, payload, key, Obligation::SharedEmit(permit, handler))
    }

    /// Returns the responder of the handler of a call with layers.
    #[cfg(feature = "middleware")]
    pub(crate) fn layered(call: Call, payload: Bytes, key: u64, kind: Kind, result: LayeredResult) -> Self {
        Self::new(call, payload, key, Obligation::Layered(kind, result))
    }

    /// Returns the call as the handler sees it.
    pub fn call(&self) -> &Call {
        &self.call
    }

    /// Returns the kind of the call.
    #[cfg(feature = "middleware")]
    pub(crate) fn kind(&self) -> Kind {
        if self.is_request() { Kind::Request } else { Kind::Emit }
    }

    /// Takes the encoded arguments, for layers.
    #[cfg(feature = "middleware")]
    pub(crate) fn take_arguments(&mut self) -> Bytes {
        std::mem::take(&mut self.payload)
    }

    /// Decodes the arguments, which may borrow from the received bytes.
    ///
    /// # Errors
    ///
    /// Returns an error if the arguments cannot be decoded. In this case, the call has already
    /// ended with a failure, and needs no other answer.
    pub fn decode<'de, A: Deserialize<'de>>(&'de self) -> Result<A, Completed> {
        let limit = self.call.session().limits().max_decoded as usize;
        decode_elements(&self.payload, limit).map_err(|error| self.reject_arguments(&error, type_name::<A>()))
    }

    /// Decodes the arguments into the return type of a function. The function is not called.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`decode`](Self::decode).
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
        match self.obligation {
            Obligation::Request { .. } => true,
            Obligation::Emit { .. } | Obligation::SharedEmit(..) => false,
            #[cfg(feature = "middleware")]
            Obligation::Layered(kind, _) => kind == Kind::Request,
        }
    }

    /// Answers a request with a reply. If the call is an emit, which has no reply, this method only
    /// ends the emit.
    ///
    /// # Errors
    ///
    /// Returns an error if the reply cannot be encoded. In this case, the call has already ended
    /// with a failure, and needs no other answer.
    pub async fn reply<R: Serialize>(&self, reply: R) -> Result<Completed, Completed> {
        #[cfg(feature = "middleware")]
        if let Obligation::Layered(Kind::Request, result) = &self.obligation {
            let encoded = codec::encode_shared(&reply).map_err(|error| self.reject_reply::<R>(&error))?;
            result.set(Ok(encoded));
            return Ok(Completed(()));
        }
        let Obligation::Request { id, permit } = self.obligation else { return self.done() };
        if let Some(replied) = self.reply_in_turn(id, permit, &reply) {
            return replied;
        }
        let respond = |payload: &Payload<'_>| {
            let is_answered = self.respond(&Response::Reply(payload), QueuePolicy::IfCapacity);
            (!is_answered).then(|| payload.to_bytes())
        };
        let waiting = codec::with_scratch(&reply, respond).map_err(|error| self.reject_reply::<R>(&error))?;
        if let Some(encoded) = waiting {
            // Drop the value now, and let only the encoded reply wait, since the session counts
            // only its bytes.
            drop(reply);
            // This future is boxed, so that the rare case does not enlarge the future of a handler.
            Box::pin(self.reply_when_possible(id, &encoded)).await;
        }
        Ok(Completed(()))
    }

    /// Adds the reply to the results of the turn in which the handler runs. Returns `None` if the
    /// handler runs outside of a turn.
    #[inline]
    fn reply_in_turn<R: Serialize>(
        &self,
        id: CallId,
        permit: WindowPermit,
        reply: &R,
    ) -> Option<Result<Completed, Completed>> {
        if self.ended.load(Ordering::Relaxed) {
            return Some(Ok(Completed(())));
        }
        Some(match turn::reply(self.call.session(), self.key, id, permit, reply)? {
            Ok(()) => {
                self.ended.store(true, Ordering::Relaxed);
                Ok(Completed(()))
            }
            Err(ReplyError::Encode(error)) => Err(self.reject_reply::<R>(&error)),
            Err(ReplyError::TooLarge { length }) => {
                let text = self.call.session().state.lock().core.too_large(length);
                Err(self.fail(FailureCode::TooLarge, &text))
            }
        })
    }

    async fn reply_when_possible(&self, id: CallId, encoded: &Bytes) {
        let attempt = || self.respond(&Response::Reply(&Payload::of(encoded)), QueuePolicy::IfCapacity);
        self.call.session().reply_when_possible(id, encoded.len(), attempt).await;
    }

    #[cold]
    fn reject_reply<R>(&self, error: &EncodeError) -> Completed {
        let session = self.call.session();
        let method = session.describe(self.key);
        let error = method.cannot_encode_reply(session.side(), error, type_name::<R>());
        event!(warn, method = method.name(), peer = %session.label(), error, "failed to encode the reply of a call");
        self.fail(FailureCode::Encode, &error)
    }

    /// Ends a call with the result that its layers have returned.
    #[cfg(feature = "middleware")]
    pub(crate) async fn finish(&self, result: Result<Bytes, CallError>) -> Result<Completed, Completed> {
        let encoded = match result {
            Ok(encoded) => encoded,
            Err(error) => {
                let (code, text) = error.into_failure();
                return Err(self.fail(code, &text));
            }
        };
        let Obligation::Request { id, .. } = self.obligation else { return self.done() };
        let waiting = {
            let payload = Payload::of(&encoded);
            let is_answered = self.respond(&Response::Reply(&payload), QueuePolicy::IfCapacity);
            // A copy, so that a small reply that waits does not keep the memory of others.
            (!is_answered).then(|| payload.to_bytes())
        };
        if let Some(encoded) = waiting {
            Box::pin(self.reply_when_possible(id, &encoded)).await;
        }
        Ok(Completed(()))
    }

    /// Ends an emit.
    ///
    /// # Errors
    ///
    /// Never returns an error. The method returns a `Result` because generated code needs the same
    /// return type as that of [`reply`](Self::reply).
    pub fn done(&self) -> Result<Completed, Completed> {
        self.ended.store(true, Ordering::Relaxed);
        #[cfg(feature = "middleware")]
        if let Obligation::Layered(_, result) = &self.obligation {
            result.set(Ok(Bytes::new()));
        }
        Ok(Completed(()))
    }

    /// Answers that the method is not served.
    pub fn refuse(self) {
        self.fail(FailureCode::NoSuchMethod, "");
    }

    /// Answers with a failure.
    pub(crate) fn fail(&self, code: FailureCode, text: &str) -> Completed {
        #[cfg(feature = "middleware")]
        if let Obligation::Layered(_, result) = &self.obligation {
            let failure = CallResult::Failure { code, text: text.to_owned() };
            let session = self.call.session();
            let failed = CallError::from_call_result(failure, session, || session.describe(self.key).name());
            result.set(failed);
            return Completed(());
        }
        self.respond(&Response::Failure(code, text), QueuePolicy::Always);
        Completed(())
    }

    /// Answers a request. Returns `true` if the request has been answered, now or before. Returns
    /// `true` for every emit.
    fn respond(&self, response: &Response<'_>, policy: QueuePolicy) -> bool {
        if self.ended.load(Ordering::Relaxed) {
            return true;
        }
        let is_answered = match self.obligation {
            Obligation::Request { id, permit } => self.call.session().respond(self.key, id, permit, response, policy),
            _ => true,
        };
        // A load and a store suffice, because no other thread answers at the same time. Only the
        // handler answers its call, and the responder is dropped only afterwards.
        self.ended.store(is_answered, Ordering::Relaxed);
        is_answered
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        #[cfg(feature = "middleware")]
        if let Obligation::Layered(..) = self.obligation {
            return;
        }
        let code = if self.ended.load(Ordering::Relaxed) { None } else { Some(self.report_stopped()) };
        match (&self.obligation, code) {
            (Obligation::Request { .. }, Some(code)) => drop(self.fail(code, "")),
            (Obligation::Request { .. }, None) => {}
            (Obligation::Emit { handler, permit }, _) => {
                let session = self.call.session();
                if !turn::end_emit(session, *permit) {
                    session.end_emit(*handler, *permit);
                }
            }
            (Obligation::SharedEmit(_, handler), _) => self.call.session().remove_handler(*handler),
            #[cfg(feature = "middleware")]
            (Obligation::Layered(..), _) => {}
        }
    }
}

impl Responder {
    /// Counts and reports a handler that was stopped before its end. Returns the failure that the
    /// caller receives.
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
            event!(debug, method, %peer, %side, "stopped a handler: its caller cancelled the call or disconnected");
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
