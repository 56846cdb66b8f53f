//! Emits to audiences, which do not wait: what becomes of them is their method's policy, for a member whose queue is full.
//!
//! Half of the queue may be bytes for the wire. Those are out of reach, so messages that may be dropped later are parked
//! beyond that, and what comes behind them, too.

use std::time::Instant;

use bytes::Bytes;

use super::{Admission, Core};
use crate::{
    frame::PREFIX,
    overflow::{Overflow, WhenFull},
    parked::Class,
};

impl<C, H: Clone> Core<C, H> {
    /// Queues an emit of the method with this key.
    pub fn broadcast(
        &mut self,
        now: Instant,
        frame: &Bytes,
        key: u64,
        overflow: Overflow,
        when_full: WhenFull,
    ) -> Admission {
        let length = frame.len() - PREFIX;
        if length > self.max_frame {
            return Admission::TooLarge { limit: self.max_frame };
        }
        let is_accepted = when_full == WhenFull::Accept && overflow != Overflow::Latest;
        if !self.has_room() && !is_accepted && !self.make_room(now, key, overflow) {
            if overflow == Overflow::Disconnect {
                return Admission::Full;
            }
            self.dropped += 1;
            return Admission::Dropped;
        }
        let stays_in_reach = overflow.recalls() && !self.outbox.has_room(self.queue_limit / 2);
        if self.goes(length) && !stays_in_reach {
            self.outbox.push_whole(frame);
            self.outbound.take_emit(length);
            return Admission::Sent;
        }
        let class = if overflow.recalls() { Class::Recallable { key } } else { Class::Emit };
        self.park(now, frame.clone(), class);
        Admission::Parked
    }

    /// Drops what a method's policy gives up for a new message, and says whether that can be queued then.
    fn make_room(&mut self, now: Instant, key: u64, overflow: Overflow) -> bool {
        if !overflow.recalls() {
            return false;
        }
        let before = self.dropped;
        while (overflow == Overflow::Latest || !self.has_room()) && self.parked.drop_oldest(key) {
            self.dropped += 1;
        }
        // The latest message of a method finds room: that is one of each method, at most.
        let room = overflow == Overflow::Latest || self.has_room();
        if self.dropped > before {
            // What has been behind them may be able to go.
            self.unpark(now);
        }
        room
    }

    /// Queues several emits of one method at once, `joined` with their prefixes; `false` if they do not all have room.
    pub fn broadcast_all(&mut self, joined: &Bytes, count: usize, largest: usize, overflow: Overflow) -> bool {
        let length = joined.len() - count * PREFIX;
        let limit = if overflow.recalls() { self.queue_limit / 2 } else { self.queue_limit };
        let room = self.backlog() + joined.len() <= limit && largest <= self.max_frame;
        if !room || self.is_away || !self.parked.is_empty() || !self.outbound.admits_all(count, length) {
            return false;
        }
        self.outbox.push_whole(joined);
        self.outbound.take_emits(count, length);
        true
    }
}
