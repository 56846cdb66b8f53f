//! Emits to audiences. If a member's queue is full, the session applies the method's overflow
//! policy.
//!
//! Evictable emits fill the send buffer only up to half of the queue's limit, because the session
//! cannot drop emits from the send buffer. Further evictable emits wait in the queue of pending
//! messages, and so do all messages after them.

use std::time::Instant;

use bytes::Bytes;

use super::{SendOutcome, SessionCore};
use crate::{
    frame::PREFIX,
    overflow::{Overflow, WhenFull},
    pending::PendingKind,
};

impl<C, H: Clone> SessionCore<C, H> {
    /// Queues an emit of the method with the key `key`.
    pub fn broadcast(
        &mut self,
        now: Instant,
        frame: &Bytes,
        key: u64,
        overflow: Overflow,
        when_full: WhenFull,
    ) -> SendOutcome {
        let length = frame.len() - PREFIX;
        if length > self.max_frame {
            return SendOutcome::TooLarge { length, limit: self.max_frame };
        }
        if !self.has_capacity() && when_full == WhenFull::ApplyPolicy && !self.evict_for(now, key, overflow) {
            if overflow == Overflow::Disconnect {
                return SendOutcome::Full;
            }
            self.dropped += 1;
            return SendOutcome::Dropped;
        }
        let is_evictable = overflow == Overflow::DropOldest;
        let stays_in_reach = is_evictable && !self.send_buffer.has_capacity(self.queue_limit / 2);
        if self.can_send(length) && !stays_in_reach {
            self.send_buffer.push_encoded(frame);
            self.send_window.consume_emit(length);
            return SendOutcome::Sent;
        }
        let kind = if is_evictable { PendingKind::Evictable { key } } else { PendingKind::Emit };
        self.push_pending(now, frame.clone(), kind);
        SendOutcome::Pending
    }

    /// Drops pending messages as the method's overflow policy requires for a new message.
    /// Afterwards, returns `true` if the queue has capacity for the new message.
    fn evict_for(&mut self, now: Instant, key: u64, overflow: Overflow) -> bool {
        if overflow != Overflow::DropOldest {
            return false;
        }
        let before = self.dropped;
        while !self.has_capacity() && self.pending.drop_oldest(key) {
            self.dropped += 1;
        }
        let has_capacity = self.has_capacity();
        if self.dropped > before {
            // The dropped messages may have blocked later messages, which the session sends now if
            // the window permits.
            self.flush_pending(now);
        }
        has_capacity
    }

    /// Queues several emits of the same method together. `joined` contains the emits with their
    /// prefixes. If the queue or the window cannot take all of the emits, this function queues none
    /// of them and returns `false`.
    pub fn broadcast_all(&mut self, joined: &Bytes, count: usize, largest: usize, overflow: Overflow) -> bool {
        let length = joined.len() - count * PREFIX;
        let limit = if overflow == Overflow::DropOldest { self.queue_limit / 2 } else { self.queue_limit };
        let has_capacity = self.backlog() + joined.len() <= limit && largest <= self.max_frame;
        if !has_capacity
            || self.is_detached
            || !self.pending.is_empty()
            || !self.send_window.can_send_all(count, length)
        {
            return false;
        }
        self.send_buffer.push_encoded(joined);
        self.send_window.consume_emits(count, length);
        true
    }
}
