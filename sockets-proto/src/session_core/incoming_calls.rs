//! Calls of the other side, from their coming to their end.

use std::time::Instant;

use super::{SessionCore, truncate};
use crate::{
    ProtocolError,
    codec::Payload,
    event::{HandlerId, WindowPermit},
    frame::{CallId, FailureCode, Frame, HEADER_MAX},
    pending::PendingKind,
    send_buffer::whole_frame,
};

/// How a request ends here.
#[derive(Clone, Copy, Debug)]
pub enum Response<'a> {
    /// The encoded reply.
    Reply(&'a Payload<'a>),
    /// With words for the caller.
    Failure(FailureCode, &'a str),
}

impl<C, H: Clone> SessionCore<C, H> {
    /// Answers a request, and gives its place back.
    pub fn respond(&mut self, now: Instant, id: CallId, place: WindowPermit, outcome: &Response<'_>) {
        if place.epoch != self.epoch {
            return;
        }
        let (header, payload) = match *outcome {
            Response::Reply(payload) => (Frame::Reply { id }.header(), payload.clone()),
            Response::Failure(code, text) => {
                let text = truncate(text, self.max_frame.saturating_sub(HEADER_MAX));
                (Frame::Failure { id, code }.header(), Payload::Copied(text.as_bytes()))
            }
        };
        if header.len() + payload.len() > self.max_frame {
            let text = format!(
                "the reply has {} bytes, and the caller accepts frames of at most {} bytes",
                payload.len(),
                self.max_frame
            );
            return self.respond(now, id, place, &Response::Failure(FailureCode::TooLarge, &text));
        }
        self.remove_handler(HandlerId::Request(id));
        self.recv_window.release_request(place.length);
        // What its handler has sent arrives before it. What was parked before that does not hold it up: it may be
        // waiting for this very answer.
        if self.pending.has_calls_since(place.received_at) {
            self.push_pending(now, whole_frame(header, &payload), PendingKind::Response);
        } else {
            self.outbox.push(header, &payload);
        }
    }

    /// Whether the other side accepts an answer of this length.
    pub fn may_send(&self, id: CallId, outcome: &Response<'_>) -> bool {
        match outcome {
            Response::Reply(payload) => Frame::Reply { id }.header().len() + payload.len() <= self.max_frame,
            Response::Failure(..) => true,
        }
    }

    /// A name for one more handler of an emit that several hear.
    pub fn next_handler_id(&mut self) -> HandlerId {
        self.emits_started += 1;
        HandlerId::Emit(self.emits_started)
    }

    /// The handler of an emit has ended.
    pub fn end_emit(&mut self, open: HandlerId, place: WindowPermit) {
        self.remove_handler(open);
        if place.epoch != self.epoch {
            return;
        }
        self.recv_window.release_emit(place.length);
        if let Some((calls, bytes)) = self.recv_window.take_credit() {
            self.outbox.push_header_only(Frame::Credit { calls, bytes });
        }
    }

    /// Keeps a suspended handler.
    pub fn insert_handler(&mut self, open: HandlerId, handler: H) {
        self.handlers.insert(open, handler);
    }

    /// A handler has ended.
    pub fn remove_handler(&mut self, open: HandlerId) {
        // Most handlers never suspend, so that there is nothing to hash for.
        if !self.handlers.is_empty() {
            self.handlers.remove(&open);
        }
    }

    /// Whether a call may start: the id of its request must not be in flight.
    ///
    /// # Errors
    ///
    /// Returns a violation if a request is in flight under this id.
    pub fn check_id(&self, open: HandlerId) -> Result<(), ProtocolError> {
        let taken = !self.handlers.is_empty() && self.handlers.contains_key(&open);
        if taken { Err(ProtocolError::DuplicateId) } else { Ok(()) }
    }
}
