//! Emits to audiences, which do not wait: what becomes of them is their method's policy, for a member whose queue is full.
//!
//! Half of the queue may be bytes for the wire. Those are out of reach, so messages that may be dropped later are parked
//! beyond that, and what comes behind them, too.

use std::time::Instant;

use bytes::Bytes;

use super::{SendOutcome, SessionCore};
use crate::{
    frame::PREFIX,
    overflow::{Overflow, WhenFull},
    pending::PendingKind,
};

impl<C, H: Clone> SessionCore<C, H> {
    /// Queues an emit of the method with this key.
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
            return SendOutcome::TooLarge { limit: self.max_frame };
        }
        let is_accepted = when_full == WhenFull::Accept && overflow != Overflow::Latest;
        if !self.has_capacity() && !is_accepted && !self.evict_for(now, key, overflow) {
            if overflow == Overflow::Disconnect {
                return SendOutcome::Full;
            }
            self.dropped += 1;
            return SendOutcome::Dropped;
        }
        let stays_in_reach = overflow.is_evictable() && !self.outbox.has_capacity(self.queue_limit / 2);
        if self.can_send(length) && !stays_in_reach {
            self.outbox.push_encoded(frame);
            self.send_window.consume_emit(length);
            return SendOutcome::Sent;
        }
        let class = if overflow.is_evictable() { PendingKind::Evictable { key } } else { PendingKind::Emit };
        self.push_pending(now, frame.clone(), class);
        SendOutcome::Pending
    }

    /// Drops what a method's policy gives up for a new message, and says whether that can be queued then.
    fn evict_for(&mut self, now: Instant, key: u64, overflow: Overflow) -> bool {
        if !overflow.is_evictable() {
            return false;
        }
        let before = self.dropped;
        while (overflow == Overflow::Latest || !self.has_capacity()) && self.pending.drop_oldest(key) {
            self.dropped += 1;
        }
        // The latest message of a method finds room: that is one of each method, at most.
        let room = overflow == Overflow::Latest || self.has_capacity();
        if self.dropped > before {
            // What has been behind them may be able to go.
            self.flush_pending(now);
        }
        room
    }

    /// Queues several emits of one method at once, `joined` with their prefixes; `false` if they do not all have room.
    pub fn broadcast_all(&mut self, joined: &Bytes, count: usize, largest: usize, overflow: Overflow) -> bool {
        let length = joined.len() - count * PREFIX;
        let limit = if overflow.is_evictable() { self.queue_limit / 2 } else { self.queue_limit };
        let room = self.backlog() + joined.len() <= limit && largest <= self.max_frame;
        if !room || self.is_detached || !self.pending.is_empty() || !self.send_window.can_send_all(count, length) {
            return false;
        }
        self.outbox.push_encoded(joined);
        self.send_window.consume_emits(count, length);
        true
    }
}
