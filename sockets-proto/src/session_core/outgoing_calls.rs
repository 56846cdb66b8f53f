//! Requests and emits that are made locally.

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
    /// The message waits for the window, in order.
    Pending,
    /// The queue or the window has no capacity now.
    Full,
    /// The peer does not accept a frame of this size.
    TooLarge {
        /// The longest frame that the peer accepts, in bytes.
        limit: usize,
    },
    /// The queue or the window has no capacity, and the message was dropped.
    Dropped,
    /// The peer is going away and accepts no new calls.
    ShuttingDown,
}

/// The origin of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallOrigin {
    /// A handler of this or of another session.
    Handler,
    /// Code outside of handlers.
    Other,
}

impl<C, H: Clone> SessionCore<C, H> {
    /// Sends a request, or queues it as pending.
    ///
    /// # Errors
    ///
    /// Returns the reason for which the request was not accepted.
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
        let sent = match self.admit_request(length, payload.len())? {
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

    /// Sends a member's copy of a request to an audience, which
    /// [`shared_request`](crate::shared_request) encoded, or queues it as pending.
    ///
    /// # Errors
    ///
    /// Returns the reason for which the request was not accepted, and the consumer.
    pub fn request_shared(
        &mut self,
        now: Instant,
        request: &SharedRequest,
        consumer: C,
        by: CallOrigin,
    ) -> Result<(), (SendOutcome, C)> {
        let length = request.frame.len() - PREFIX;
        let sent = match self.admit_request(length, request.payload) {
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

    /// Returns `true` if a message of this length can be sent at once. Without a connection, all
    /// messages wait, so calls that end before a reconnection are never sent.
    pub(super) fn can_send(&self, length: usize) -> bool {
        !self.is_detached && self.pending.is_empty() && self.send_window.can_send(length)
    }

    fn admit_request(&self, length: usize, payload: usize) -> Result<SendOutcome, SendOutcome> {
        // Checked with the longest header, since the length of the id differs between members of an
        // audience.
        if HEADER_MAX + payload > self.max_frame {
            return Err(SendOutcome::TooLarge { limit: self.max_frame });
        }
        if self.peer_is_going_away {
            return Err(SendOutcome::ShuttingDown);
        }
        // A reply returns capacity of the window. A peer that guesses ids could reply to requests
        // that have not been written, and so fill the buffer without limit. Other peers do not
        // reach this bound.
        let most = self.queue_limit.saturating_add(self.send_window.size_bytes()).saturating_mul(2);
        if self.send_buffer.len() > most.saturating_add(self.max_frame) {
            return Err(SendOutcome::Full);
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

    /// Sends an emit, or queues it after other pending messages. Returns `Full` if there is no
    /// capacity. `now` is called only if the emit becomes pending.
    ///
    /// An emit that lacks only window is not queued, since its sender can wait. There are two
    /// exceptions. A handler does not wait, because the peer's handler may wait for it in turn. And
    /// if other messages are pending, the emit is queued after them, or later calls would always be
    /// sent before it.
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
            return SendOutcome::TooLarge { limit: self.max_frame };
        }
        if !self.has_capacity() {
            return SendOutcome::Full;
        }
        if self.can_send(length) {
            self.send_buffer.push(header, payload);
            self.send_window.consume_emit(length);
            return SendOutcome::Sent;
        }
        if self.pending.is_empty() && by == CallOrigin::Other && !self.is_detached {
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
