//! Calls of the other side, from their coming to their end.

use std::time::Instant;

use super::{Core, cut};
use crate::{
    Violation,
    codec::Payload,
    event::{Occupied, Open},
    frame::{CallId, FailureCode, Frame, HEADER_MAX},
    outbox::whole_frame,
    parked::Class,
};

/// How a request ends here.
#[derive(Clone, Copy, Debug)]
pub enum Outcome<'a> {
    /// The encoded reply.
    Reply(&'a Payload<'a>),
    /// With words for the caller.
    Failure(FailureCode, &'a str),
}

impl<C, H: Clone> Core<C, H> {
    /// Answers a request, and gives its place back.
    pub fn answer(&mut self, now: Instant, id: CallId, place: Occupied, outcome: &Outcome<'_>) {
        if place.times != self.times {
            return;
        }
        let (header, payload) = match *outcome {
            Outcome::Reply(payload) => (Frame::Reply { id }.header(), payload.clone()),
            Outcome::Failure(code, text) => {
                let text = cut(text, self.max_frame.saturating_sub(HEADER_MAX));
                (Frame::Failure { id, code }.header(), Payload::Copied(text.as_bytes()))
            }
        };
        if header.len() + payload.len() > self.max_frame {
            let text = format!(
                "the reply has {} bytes, and the caller accepts frames of at most {} bytes",
                payload.len(),
                self.max_frame
            );
            return self.answer(now, id, place, &Outcome::Failure(FailureCode::TooLarge, &text));
        }
        self.forget(Open::Request(id));
        self.inbound.answered(place.length);
        // What its handler has sent arrives before it. What was parked before that does not hold it up: it may be
        // waiting for this very answer.
        if self.parked.holds_since(place.came) {
            self.park(now, whole_frame(header, &payload), Class::InTurn);
        } else {
            self.outbox.push(header, &payload);
        }
    }

    /// Whether the other side accepts an answer of this length.
    pub fn may_send(&self, id: CallId, outcome: &Outcome<'_>) -> bool {
        match outcome {
            Outcome::Reply(payload) => Frame::Reply { id }.header().len() + payload.len() <= self.max_frame,
            Outcome::Failure(..) => true,
        }
    }

    /// A name for one more handler of an emit that several hear.
    pub fn another_hearer(&mut self) -> Open {
        self.emits_started += 1;
        Open::Emit(self.emits_started)
    }

    /// The handler of an emit has ended.
    pub fn end_emit(&mut self, open: Open, place: Occupied) {
        self.forget(open);
        if place.times != self.times {
            return;
        }
        self.inbound.ended(place.length);
        if let Some((calls, bytes)) = self.inbound.credit() {
            self.outbox.push_bare(Frame::Credit { calls, bytes });
        }
    }

    /// Keeps a suspended handler.
    pub fn suspend(&mut self, open: Open, handler: H) {
        self.running.insert(open, handler);
    }

    /// A handler has ended.
    pub fn forget(&mut self, open: Open) {
        // Most handlers never suspend, so that there is nothing to hash for.
        if !self.running.is_empty() {
            self.running.remove(&open);
        }
    }

    /// Whether a call may start: the id of its request must not be in flight.
    ///
    /// # Errors
    ///
    /// Returns a violation if a request is in flight under this id.
    pub fn check_id(&self, open: Open) -> Result<(), Violation> {
        let taken = !self.running.is_empty() && self.running.contains_key(&open);
        if taken { Err(Violation::DuplicateId) } else { Ok(()) }
    }
}
