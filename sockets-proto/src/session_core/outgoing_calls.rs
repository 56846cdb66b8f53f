//! Requests and emits that local callers make.

use std::time::{Duration, Instant};

use super::SessionCore;
use crate::{
    calls::CancelledCall,
    codec::Payload,
    frame::{CallId, Frame, HEADER_MAX, PREFIX},
    pending::PendingKind,
    send_buffer::whole_frame,
    shared_frame::SharedRequest,
    timeout,
};

/// The outcome of an attempt to send a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// The message is in the send buffer.
    Sent,
    /// The message waits in order until the window has capacity.
    Pending,
    /// The queue or the window has no capacity now. The message was not accepted.
    Full,
    /// The peer does not accept a frame of this size.
    TooLarge {
        /// The length of the frame, in bytes. For a request, it is the maximum length.
        length: usize,
        /// The longest frame that the peer accepts, in bytes.
        limit: usize,
    },
    /// The queue or the window has no capacity, and the session dropped the message.
    Dropped,
    /// The peer is going away and accepts no new calls.
    ShuttingDown,
}

/// The origin of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallOrigin {
    /// A handler of this session or of another session.
    Handler,
    /// Code outside of handlers.
    Other,
    /// Code that prepares a new session: a hook, or a handler of this session while a hook runs.
    Preparation,
}

impl<C, H: Clone> SessionCore<C, H> {
    /// Sends a request. If the request has to wait, the session queues it as pending.
    ///
    /// # Errors
    ///
    /// Returns the reason for which the session did not accept the request.
    pub fn request(
        &mut self,
        now: Instant,
        key: u64,
        timeout: Duration,
        payload: &Payload<'_>,
        consumer: C,
        by: CallOrigin,
    ) -> Result<CallId, SendOutcome> {
        let id = self.calls.next_id();
        let timeout = timeout::clamp(timeout);
        let header = Frame::Request { id, timeout: timeout::to_wire(timeout), key }.header();
        let length = header.len() + payload.len();
        let sent = match self.admit_request(length, payload.len(), by)? {
            SendOutcome::Sent => {
                self.send_buffer.push(header, payload);
                self.send_window.consume_request(length);
                true
            }
            _ => {
                self.push_pending(
                    now,
                    whole_frame(header, payload),
                    PendingKind::Request { id, nested: by == CallOrigin::Handler },
                );
                false
            }
        };
        self.calls.insert(id, consumer, now + timeout, length, sent);
        Ok(id)
    }

    /// Sends a request to the session's peer, which is a member of an audience.
    /// [`shared_request`](crate::shared_request) encoded the request once for all members. If the
    /// request has to wait, the session queues it as pending.
    ///
    /// # Errors
    ///
    /// Returns the reason for which the session did not accept the request, and gives back
    /// `consumer`.
    pub fn request_shared(
        &mut self,
        now: Instant,
        request: &SharedRequest,
        consumer: C,
        by: CallOrigin,
    ) -> Result<(), (SendOutcome, C)> {
        let length = request.frame.len() - PREFIX;
        let sent = match self.admit_request(length, request.payload, by) {
            Ok(SendOutcome::Sent) => {
                self.send_buffer.push_encoded(&request.frame);
                self.send_window.consume_request(length);
                true
            }
            Ok(_) => {
                self.push_pending(
                    now,
                    request.frame.clone(),
                    PendingKind::Request { id: request.id, nested: by == CallOrigin::Handler },
                );
                false
            }
            Err(refused) => return Err((refused, consumer)),
        };
        self.calls.insert(request.id, consumer, now + request.timeout, length, sent);
        Ok(())
    }

    /// Returns `true` if the session can send a message of this length immediately. Without a
    /// connection, all messages wait. So if a call ends before the reconnection, it is never sent.
    pub(super) fn can_send(&self, length: usize) -> bool {
        !self.is_detached && !self.is_held && self.pending.is_empty() && self.send_window.can_send(length)
    }

    /// Returns `true` if the session can send a message that prepares the session. Such a message
    /// precedes all pending messages.
    pub(super) fn can_prepare(&self, length: usize) -> bool {
        !self.is_detached && self.send_window.can_send(length)
    }

    fn admit_request(&self, length: usize, payload: usize, by: CallOrigin) -> Result<SendOutcome, SendOutcome> {
        // Assume the longest header, so that the result is the same for all members of an audience.
        // The length of the request's id may differ between them.
        if HEADER_MAX + payload > self.max_frame {
            return Err(SendOutcome::TooLarge { length: HEADER_MAX + payload, limit: self.max_frame });
        }
        if self.peer_is_going_away {
            return Err(SendOutcome::ShuttingDown);
        }
        // A peer that guesses ids can reply before the driver has written the request, and the
        // reply returns the request's share of the window. So the window alone does not bound the
        // send buffer. The bound `most` does, and honest peers do not reach it.
        let most = self.queue_limit.saturating_add(self.send_window.size_bytes()).saturating_mul(2);
        if self.send_buffer.len() > most.saturating_add(self.max_frame) {
            return Err(SendOutcome::Full);
        }
        if by == CallOrigin::Preparation {
            return if self.can_prepare(length) { Ok(SendOutcome::Sent) } else { Err(SendOutcome::Full) };
        }
        if self.can_send(length) {
            return Ok(SendOutcome::Sent);
        }
        let has_capacity = self.pending.requests().bytes < self.queue_limit;
        if has_capacity && self.pending.requests().messages < self.max_pending_requests {
            Ok(SendOutcome::Pending)
        } else {
            Err(SendOutcome::Full)
        }
    }

    /// Sends an emit, or queues the emit after other pending messages. Returns `Full` if there is
    /// no capacity. The method calls `now` only if the emit becomes pending.
    ///
    /// If the emit has to wait for the window, the session does not queue the emit but returns
    /// `Full`, since the sender can wait. There are two exceptions:
    ///
    /// - The session queues an emit of a handler. A handler must not wait, because a handler of the
    ///   peer may be waiting for it.
    /// - If other messages are pending, the session queues the emit after them. Otherwise it would
    ///   always send later calls before the emit.
    pub fn emit(
        &mut self,
        now: impl FnOnce() -> Instant,
        key: u64,
        payload: &Payload<'_>,
        by: CallOrigin,
    ) -> SendOutcome {
        let header = Frame::Emit { key }.header();
        let length = header.len() + payload.len();
        if length > self.max_frame {
            return SendOutcome::TooLarge { length, limit: self.max_frame };
        }
        if !self.has_capacity() {
            return SendOutcome::Full;
        }
        if self.can_send(length) || by == CallOrigin::Preparation && self.can_prepare(length) {
            self.send_buffer.push(header, payload);
            self.send_window.consume_emit(length);
            return SendOutcome::Sent;
        }
        let may_wait = by == CallOrigin::Other && self.pending.is_empty() && !self.is_detached && !self.is_held;
        if may_wait || by == CallOrigin::Preparation {
            return SendOutcome::Full;
        }
        self.push_pending(now(), whole_frame(header, payload), PendingKind::Emit);
        SendOutcome::Pending
    }

    /// Cancels a request.
    pub fn cancel(&mut self, now: Instant, id: CallId) {
        match self.calls.cancel(id) {
            Some(CancelledCall::Sent) => self.send_buffer.push_header_only(Frame::Cancel { id }),
            Some(CancelledCall::Pending) => {
                self.pending.remove(id);
                self.flush_pending(now);
            }
            None => {}
        }
    }
}
