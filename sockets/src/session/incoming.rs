//! A call that has come in, from its start to its one outcome.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Call, Ended, Room, Session};
use crate::clock::now;
use crate::codec::{self, Payload, decode_within};
use crate::lock::event;
use sockets_proto::{CallId, FailureCode, Occupied, Open, Outcome};

/// A call or an emit that has come in. It ends exactly once: with a reply, a failure, or, dropped before that, with
/// what its being dropped means.
pub struct Incoming {
    call: Call,
    payload: Bytes,
    ticket: Ticket,
}

/// What is owed to the peer for a call: an answer, or its place in the window.
enum Ticket {
    Request {
        key: u64,
        id: CallId,
        place: Occupied,
        answered: AtomicBool,
    },
    Emit {
        open: Open,
        place: Occupied,
    },
    /// Several hear the emit, each under a name of its own.
    SharedEmit(#[expect(dead_code, reason = "held until all handlers have ended")] Arc<EmitLease>, Open),
}

/// The place in the window of an emit that several hear, which is given back when the last of its handlers has ended.
pub(crate) struct EmitLease {
    session: Arc<Session>,
    open: Open,
    place: Occupied,
}

impl EmitLease {
    pub(crate) fn new(session: Arc<Session>, open: Open, place: Occupied) -> Self {
        Self { session, open, place }
    }
}

impl Drop for EmitLease {
    fn drop(&mut self) {
        self.session.end_emit(self.open, self.place);
    }
}

impl Incoming {
    pub(crate) fn request(call: Call, payload: Bytes, key: u64, id: CallId, place: Occupied) -> Self {
        Self { call, payload, ticket: Ticket::Request { key, id, place, answered: AtomicBool::new(false) } }
    }

    pub(crate) fn emit(call: Call, payload: Bytes, open: Open, place: Occupied) -> Self {
        Self { call, payload, ticket: Ticket::Emit { open, place } }
    }

    pub(crate) fn shared_emit(call: Call, payload: Bytes, lease: Arc<EmitLease>, open: Open) -> Self {
        Self { call, payload, ticket: Ticket::SharedEmit(lease, open) }
    }

    /// What the handler may know of its caller.
    pub fn call(&self) -> &Call {
        &self.call
    }

    /// Whether the caller waits for an answer.
    #[cfg(feature = "middleware")]
    pub(crate) fn kind(&self) -> super::Kind {
        if matches!(self.ticket, Ticket::Request { .. }) { super::Kind::Request } else { super::Kind::Emit }
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
    pub fn decode<'de, A: Deserialize<'de>>(&'de self) -> Result<A, Ended> {
        let limit = self.call.session().limits().max_decoded as usize;
        decode_within(&self.payload, limit).map_err(|error| {
            event!(debug, %error, "the arguments of a call do not decode");
            self.fail(FailureCode::Decode, &error.to_string())
        })
    }

    /// Answers with a reply; for an emit, which nobody waits for, it does nothing.
    ///
    /// # Errors
    ///
    /// If the reply cannot be encoded; the caller has been told.
    pub async fn reply<R: Serialize>(&self, reply: R) -> Result<Ended, Ended> {
        let Ticket::Request { id, .. } = self.ticket else { return Ok(Ended(())) };
        if let Some(encoded) = self.try_reply(&reply)? {
            // What waits is the encoded reply, whose bytes are counted.
            drop(reply);
            let attempt = || self.answer(&Outcome::Reply(&Payload::of(&encoded)), Room::IfThere);
            self.call.session().reply_in_turn(id, encoded.len(), attempt).await;
        }
        Ok(Ended(()))
    }

    /// Encodes a reply and answers with it. Returns the encoded reply if there is no room for it.
    fn try_reply<R: Serialize>(&self, reply: &R) -> Result<Option<Bytes>, Ended> {
        let answer = |payload: &Payload<'_>| {
            let is_answered = self.answer(&Outcome::Reply(payload), Room::IfThere);
            (!is_answered).then(|| payload.to_bytes())
        };
        codec::with_scratch(reply, answer).map_err(|error| {
            event!(warn, %error, "a reply cannot be encoded");
            self.fail(FailureCode::Encode, &error.to_string())
        })
    }

    /// Ends an emit.
    ///
    /// # Errors
    ///
    /// None; the type is that of a request's end.
    pub fn done(&self) -> Result<Ended, Ended> {
        Ok(Ended(()))
    }

    /// Answers that nobody serves the method.
    pub fn refuse(self) {
        self.fail(FailureCode::NoSuchMethod, "");
    }

    /// Answers with a failure.
    pub(crate) fn fail(&self, code: FailureCode, text: &str) -> Ended {
        self.answer(&Outcome::Failure(code, text), Room::Whatever);
        Ended(())
    }

    /// Whether it is answered now, or was before.
    fn answer(&self, outcome: &Outcome<'_>, room: Room) -> bool {
        let Ticket::Request { key, id, place, answered } = &self.ticket else { return true };
        if answered.load(Ordering::Relaxed) {
            return true;
        }
        let had_room = self.call.session().answer(*key, *id, *place, outcome, room);
        // Only its handler answers a call, and then whoever drops it.
        answered.store(had_room, Ordering::Relaxed);
        had_room
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        match &mut self.ticket {
            Ticket::Request { answered, .. } if answered.load(Ordering::Relaxed) => return,
            Ticket::Request { .. } => {}
            Ticket::Emit { open, place } => {
                self.call.session().end_emit(*open, *place);
                return report_panic();
            }
            Ticket::SharedEmit(_, open) => {
                self.call.session().forget(*open);
                return report_panic();
            }
        }
        let code = if thread::panicking() {
            report_panic();
            FailureCode::Panicked
        } else if now() >= self.call.deadline() {
            FailureCode::Timeout
        } else {
            FailureCode::Cancelled
        };
        self.fail(code, "");
    }
}

fn report_panic() {
    if thread::panicking() {
        event!(error, "a handler panicked");
    }
}
