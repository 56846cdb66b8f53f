//! Calls that the peer makes, from their receipt to their end.

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

/// The result of a received request, which the session sends to the peer.
#[derive(Clone, Copy, Debug)]
pub enum Response<'a> {
    /// The encoded reply.
    Reply(&'a Payload<'a>),
    /// A failure with a message for the caller.
    Failure(FailureCode, &'a str),
}

impl<C, H: Clone> SessionCore<C, H> {
    /// Replies to a request, and releases the share of the window that the request used.
    pub fn respond(&mut self, now: Instant, id: CallId, permit: WindowPermit, outcome: &Response<'_>) {
        if permit.epoch != self.epoch {
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
            let length = header.len() + payload.len();
            let text = format!("{length} bytes, and the caller accepts frames of at most {} bytes", self.max_frame);
            return self.respond(now, id, permit, &Response::Failure(FailureCode::TooLarge, &text));
        }
        self.remove_handler(HandlerId::Request(id));
        self.recv_window.release_request(permit.length());
        // The messages that the handler sent have to arrive before its reply, so the reply waits
        // while such messages are pending. Messages that were pending before the call do not delay
        // the reply, since they may be waiting for it. Held messages do not belong to the handler.
        if !self.is_held && self.pending.has_calls_since(permit.received_at) {
            self.push_pending(now, whole_frame(header, &payload), PendingKind::Response);
        } else {
            self.send_buffer.push(header, &payload);
        }
    }

    /// Returns `true` if the peer accepts a reply of this length.
    pub fn may_send(&self, id: CallId, outcome: &Response<'_>) -> bool {
        match outcome {
            Response::Reply(payload) => Frame::Reply { id }.header().len() + payload.len() <= self.max_frame,
            Response::Failure(..) => true,
        }
    }

    /// Returns a new id for the handler of an emit. If several listeners subscribe to an emit, each
    /// of them is a handler with an id of its own.
    pub fn next_handler_id(&mut self) -> HandlerId {
        self.emits_started += 1;
        HandlerId::Emit(self.emits_started)
    }

    /// Ends the handler of an emit, and releases the share of the window that the emit used.
    pub fn end_emit(&mut self, handler_id: HandlerId, permit: WindowPermit) {
        self.remove_handler(handler_id);
        if permit.epoch != self.epoch {
            return;
        }
        self.recv_window.release_emit(permit.length());
        if let Some((calls, bytes)) = self.recv_window.take_credit() {
            self.send_buffer.push_header_only(Frame::Credit { calls, bytes });
        }
    }

    /// Stores a handler that has been suspended, so that the peer can cancel it.
    pub fn insert_handler(&mut self, handler_id: HandlerId, handler: H) {
        self.handlers.insert(handler_id, handler);
    }

    /// Removes a handler that has ended.
    pub fn remove_handler(&mut self, handler_id: HandlerId) {
        // The table is often empty, because most handlers never suspend. Check this first, because
        // a lookup would hash the id even in an empty table.
        if !self.handlers.is_empty() {
            self.handlers.remove(&handler_id);
        }
    }

    /// Checks that no request with this id is in flight. If the check fails, the driver must not
    /// start the call.
    ///
    /// # Errors
    ///
    /// Returns a protocol error if another request with this id is already in flight.
    pub fn check_id(&self, handler_id: HandlerId) -> Result<(), ProtocolError> {
        let taken = !self.handlers.is_empty() && self.handlers.contains_key(&handler_id);
        if taken { Err(ProtocolError::DuplicateId) } else { Ok(()) }
    }
}
