//! Requests and emits of this side.

use std::time::{Duration, Instant};

use super::Core;
use crate::{
    calls::GivenUp,
    codec::Payload,
    frame::{CallId, Frame, HEADER_MAX, PREFIX},
    outbox::whole_frame,
    parked::Class,
    shared::SharedRequest,
    timeout,
};

/// What came of an attempt to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is in the outbox.
    Sent,
    /// It waits for a window; it keeps its place in the order.
    Parked,
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
pub enum Caller {
    /// A handler of this session or of another one.
    Handler,
    /// Anybody else.
    Other,
}

impl<C, H: Clone> Core<C, H> {
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
        by: Caller,
    ) -> Result<CallId, Admission> {
        let id = self.calls.next_id();
        let timeout = timeout::clamp(timeout);
        let header = Frame::Request { id, timeout: timeout::to_wire(timeout), key }.header();
        let length = header.len() + payload.len();
        let sent = match self.admit_request(length, payload.len())? {
            Admission::Sent => {
                self.outbox.push(header, payload);
                self.outbound.take_request(length);
                true
            }
            _ => {
                self.park(now, whole_frame(header, payload), Class::Request { id, nested: by == Caller::Handler });
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
    pub fn ask(&mut self, now: Instant, ask: &SharedRequest, consumer: C, by: Caller) -> Result<(), (Admission, C)> {
        let length = ask.frame.len() - PREFIX;
        let sent = match self.admit_request(length, ask.payload) {
            Ok(Admission::Sent) => {
                self.outbox.push_whole(&ask.frame);
                self.outbound.take_request(length);
                true
            }
            Ok(_) => {
                self.park(now, ask.frame.clone(), Class::Request { id: ask.id, nested: by == Caller::Handler });
                false
            }
            Err(refused) => return Err((refused, consumer)),
        };
        self.calls.insert(ask.id, consumer, now + ask.timeout, length, sent);
        Ok(())
    }

    /// Whether a message of this length goes at once. Without a link none does: so calls that end before there is another one
    /// are never made.
    pub(super) fn goes(&self, length: usize) -> bool {
        !self.is_away && self.parked.is_empty() && self.outbound.admits(length)
    }

    fn admit_request(&self, length: usize, payload: usize) -> Result<Admission, Admission> {
        // The longest header counts: the actual one depends on the id, which is another one for an audience.
        if HEADER_MAX + payload > self.max_frame {
            return Err(Admission::TooLarge { limit: self.max_frame });
        }
        if self.peer_is_leaving {
            return Err(Admission::ShuttingDown);
        }
        // An answer opens the window again, and one who guesses ids can answer what has not been written. The others do not
        // get near this.
        let most = self.queue_limit.saturating_add(self.outbound.granted()).saturating_mul(2);
        if self.outbox.len() > most.saturating_add(self.max_frame) {
            return Err(Admission::Full);
        }
        if self.goes(length) {
            return Ok(Admission::Sent);
        }
        let room = self.parked.requests().bytes < self.queue_limit;
        if room && self.parked.requests().messages < self.parked_requests {
            Ok(Admission::Parked)
        } else {
            Err(Admission::Full)
        }
    }

    /// Sends an emit, or parks it behind what is parked; `Full` if there is no room for it now. The time is asked for only
    /// if it has to be parked.
    ///
    /// It is not parked for want of a window alone, since its sender can wait. Unless that is a handler, for which the
    /// other side's may be waiting in turn. Behind others it has to be parked, or calls that go on being parked would
    /// always be before it.
    pub fn emit(&mut self, now: impl FnOnce() -> Instant, key: u64, payload: &Payload<'_>, by: Caller) -> Admission {
        let header = Frame::Emit { key }.header();
        let length = header.len() + payload.len();
        if length > self.max_frame {
            return Admission::TooLarge { limit: self.max_frame };
        }
        if !self.has_room() {
            return Admission::Full;
        }
        if self.goes(length) {
            self.outbox.push(header, payload);
            self.outbound.take_emit(length);
            return Admission::Sent;
        }
        if self.parked.is_empty() && by == Caller::Other && !self.is_away {
            return Admission::Full;
        }
        self.park(now(), whole_frame(header, payload), Class::Emit);
        Admission::Parked
    }

    /// The caller of a request gives up.
    pub fn cancel(&mut self, now: Instant, id: CallId) {
        match self.calls.give_up(id) {
            Some(GivenUp::Sent) => self.outbox.push_bare(Frame::Cancel { id }),
            Some(GivenUp::Parked) => {
                self.parked.remove(id);
                self.unpark(now);
            }
            None => {}
        }
    }
}
