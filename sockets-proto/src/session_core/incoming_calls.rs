//! Calls that the peer makes, from their receipt to their end.

use std::time::Instant;

use bytes::Bytes;

use super::{SessionCore, truncate};
use crate::{
    ProtocolError,
    codec::Payload,
    event::{HandlerId, WindowPermit},
    frame::{CallId, FailureCode, Frame, HEADER_MAX},
    pending::PendingKind,
    send_buffer::whole_frame,
    turn_results::{TakenFrames, TurnReply, TurnResults},
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
            let text = self.too_large(header.len() + payload.len());
            return self.respond(now, id, permit, &Response::Failure(FailureCode::TooLarge, &text));
        }
        self.remove_handler(HandlerId::Request(id));
        self.recv_window.release_requests(1, permit.length() as u64);
        // The messages that the handler sent have to arrive before its reply, so the reply waits
        // while such messages are pending. Messages that were pending before the call do not delay
        // the reply, since they may be waiting for it. Held messages do not belong to the handler.
        if !self.is_held && self.pending.has_calls_since(permit.received_at) {
            self.push_pending(now, whole_frame(header, &payload), PendingKind::Response);
        } else {
            self.send_buffer.push(header, &payload);
        }
    }

    /// Describes a reply that is larger than the caller accepts.
    pub fn too_large(&self, length: usize) -> String {
        format!("{length} bytes, and the caller accepts frames of at most {} bytes", self.max_frame)
    }

    /// Takes over the results of the handlers that ended in a turn. The results are empty
    /// afterwards.
    pub fn settle(&mut self, now: Instant, results: &mut TurnResults) {
        let emits = results.take_emits();
        if emits.count > 0 && emits.epoch == self.epoch {
            self.recv_window.release_emits(emits.count, emits.bytes);
            self.send_credit();
        }
        let Some(first) = results.first_permit() else { return results.discard_failed() };
        // Calls of one turn arrive in order, so the first call has the earliest position.
        let waits = !self.is_held && self.pending.has_calls_since(first.received_at);
        let (frames, replies) = results.take_replies();
        let frames = if waits || first.epoch != self.epoch {
            self.settle_each(now, &frames, &replies);
            TakenFrames::Copied(frames)
        } else {
            for reply in &replies {
                self.remove_handler(HandlerId::Request(reply.id));
            }
            let bytes = replies.iter().map(|reply| reply.permit.length() as u64).sum();
            self.recv_window.release_requests(replies.len(), bytes);
            let frames = TakenFrames::new(frames);
            match &frames {
                TakenFrames::Copied(frames) => self.send_buffer.push_frames(frames),
                TakenFrames::Shared(frames) => self.send_buffer.push_exact(frames.clone()),
            }
            frames
        };
        results.reuse(frames, replies);
    }

    /// Takes over the replies of a turn separately, because some of them may have to wait.
    #[cold]
    fn settle_each(&mut self, now: Instant, frames: &[u8], replies: &[TurnReply]) {
        for &TurnReply { id, permit, payload, end } in replies {
            let payload = Bytes::copy_from_slice(&frames[payload..end]);
            self.respond(now, id, permit, &Response::Reply(&Payload::of(&payload)));
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
        self.recv_window.release_emits(1, permit.length() as u64);
        self.send_credit();
    }

    fn send_credit(&mut self) {
        if let Some((calls, bytes)) = self.recv_window.take_credit() {
            self.send_buffer.push_header_only(Frame::Credit { calls, bytes });
        }
    }

    /// Stores a handler that has been suspended, so that the peer can cancel it.
    pub fn insert_handler(&mut self, handler_id: HandlerId, handler: H) {
        self.handlers.insert(handler_id, handler);
    }

    /// Returns a suspended handler. It stays in the table until it has ended, because the id of the
    /// request is in use until then.
    pub fn handler(&self, handler_id: HandlerId) -> Option<H> {
        self.handlers.get(&handler_id).cloned()
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
