//! Requests and emits of this side.

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

/// What came of an attempt to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// It is in the outbox.
    Sent,
    /// It waits for a window; it keeps its place in the order.
    Pending,
    /// There is no room now.
    Full,
    /// The other side does not accept so large a frame.
    TooLarge {
        /// The longest frame that the peer accepts, in bytes.
        limit: usize,
    },
    /// There is no room now, and it has been dropped.
    Dropped,
    /// The other side is going away and takes no new calls.
    ShuttingDown,
}

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallOrigin {
    /// A handler of this session or of another one.
    Handler,
    /// Anybody else.
    Other,
}

impl<C, H: Clone> SessionCore<C, H> {
    /// Sends a request, or parks it.
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
                self.outbox.push(header, payload);
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

    /// Sends a member's copy of a request to an audience, which [`shared_request`](crate::shared_request) encoded, or parks it.
    ///
    /// # Errors
    ///
    /// Returns the reason for which the request was not accepted, and the consumer.
    pub fn request_shared(
        &mut self,
        now: Instant,
        ask: &SharedRequest,
        consumer: C,
        by: CallOrigin,
    ) -> Result<(), (SendOutcome, C)> {
        let length = ask.frame.len() - PREFIX;
        let sent = match self.admit_request(length, ask.payload) {
            Ok(SendOutcome::Sent) => {
                self.outbox.push_encoded(&ask.frame);
                self.send_window.consume_request(length);
                true
            }
            Ok(_) => {
                self.push_pending(
                    now,
                    ask.frame.clone(),
                    PendingKind::Request { id: ask.id, nested: by == CallOrigin::Handler },
                );
                false
            }
            Err(refused) => return Err((refused, consumer)),
        };
        self.calls.insert(ask.id, consumer, now + ask.timeout, length, sent);
        Ok(())
    }

    /// Whether a message of this length goes at once. Without a link none does: so calls that end before there is another one
    /// are never made.
    pub(super) fn can_send(&self, length: usize) -> bool {
        !self.is_detached && self.pending.is_empty() && self.send_window.can_send(length)
    }

    fn admit_request(&self, length: usize, payload: usize) -> Result<SendOutcome, SendOutcome> {
        // The longest header counts: the actual one depends on the id, which is another one for an audience.
        if HEADER_MAX + payload > self.max_frame {
            return Err(SendOutcome::TooLarge { limit: self.max_frame });
        }
        if self.peer_is_going_away {
            return Err(SendOutcome::ShuttingDown);
        }
        // An answer opens the window again, and one who guesses ids can answer what has not been written. The others do not
        // get near this.
        let most = self.queue_limit.saturating_add(self.send_window.size_bytes()).saturating_mul(2);
        if self.outbox.len() > most.saturating_add(self.max_frame) {
            return Err(SendOutcome::Full);
        }
        if self.can_send(length) {
            return Ok(SendOutcome::Sent);
        }
        let room = self.pending.requests().bytes < self.queue_limit;
        if room && self.pending.requests().messages < self.max_pending_requests {
            Ok(SendOutcome::Pending)
        } else {
            Err(SendOutcome::Full)
        }
    }

    /// Sends an emit, or parks it behind what is parked; `Full` if there is no room for it now. The time is asked for only
    /// if it has to be parked.
    ///
    /// It is not parked for want of a window alone, since its sender can wait. Unless that is a handler, for which the
    /// other side's may be waiting in turn. Behind others it has to be parked, or calls that go on being parked would
    /// always be before it.
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
            self.outbox.push(header, payload);
            self.send_window.consume_emit(length);
            return SendOutcome::Sent;
        }
        if self.pending.is_empty() && by == CallOrigin::Other && !self.is_detached {
            return SendOutcome::Full;
        }
        self.push_pending(now(), whole_frame(header, payload), PendingKind::Emit);
        SendOutcome::Pending
    }

    /// The caller of a request gives up.
    pub fn cancel(&mut self, now: Instant, id: CallId) {
        match self.calls.cancel(id) {
            Some(CancelledCall::Sent) => self.outbox.push_header_only(Frame::Cancel { id }),
            Some(CancelledCall::Pending) => {
                self.pending.remove(id);
                self.flush_pending(now);
            }
            None => {}
        }
    }
}
