//! Messages to audiences. Each endpoint of the server sends its own copy of such a message.

use std::time::Duration;

use crate::{
    actions::{KEY, MAX_TIMEOUT, millis},
    endpoint::{Endpoint, Moment, payload_of},
    engine::Shared,
    latest::latest_key,
    outgoing::{Message, MessageKind, Waiting},
};
use sockets_proto::{CallOrigin, Frame, Overflow, PENDING_OVERHEAD, PREFIX, SendOutcome, WhenFull};

/// The methods with emits that may be dropped, and the overflow policy of each method.
pub(super) const LOSSY_METHODS: [(u64, Overflow); 3] =
    [(KEY + 1, Overflow::DropNewest), (KEY + 2, Overflow::DropOldest), (KEY + 3, Overflow::DropOldest)];

pub(super) fn is_method(key: u64) -> bool {
    key == KEY || latest_key(Frame::Emit { key }).is_some() || LOSSY_METHODS.iter().any(|(lossy, _)| *lossy == key)
}

impl Endpoint {
    /// Sends a member's copy of a message to an audience. Returns `false` if the member's queue is
    /// full and the overflow policy disconnects the member.
    pub(super) fn send_shared(&mut self, moment: Moment, message: &Shared, size: usize, timeout: Duration) -> bool {
        let continues = match *message {
            Shared::Latest(..) => self.send_latest(moment, message, size),
            Shared::Emit(_, key, overflow) => self.send_shared_emit(moment, message, size, key, overflow),
            Shared::Request(_) => {
                self.send_shared_request(moment, message, size, timeout);
                true
            }
        };
        if continues {
            self.process_queued(moment.now);
        }
        continues
    }

    fn send_shared_emit(
        &mut self,
        moment: Moment,
        message: &Shared,
        size: usize,
        key: u64,
        overflow: Overflow,
    ) -> bool {
        let number = moment.last;
        let length = Frame::Emit { key }.header().len() + payload_of(number, size).len();
        let (mut queued, dropped) = (self.backlog(), self.engine.dropped());
        let unwritten = self.engine.unsent_bytes();
        // In this model, the emitter waits for the member if the number of the message is a
        // multiple of 4. In that case, the member's queue accepts the message even beyond its
        // limit.
        let is_awaited = number.is_multiple_of(4) && queued < self.local.queue + self.peer.max_frame as usize;
        let when_full = if is_awaited { WhenFull::Accept } else { WhenFull::ApplyPolicy };
        let outcome = self.engine.send_shared(moment.now, message, number, CallOrigin::Other, when_full);
        if matches!(outcome, Err(SendOutcome::TooLarge { .. })) {
            assert!(length > self.peer.max_frame as usize, "a frame within the limit is rejected");
            return true;
        }
        let has_capacity = |queued| queued < self.local.queue || is_awaited;
        let mut expected = 0;
        let is_full = !has_capacity(queued);
        let evictable = (overflow == Overflow::DropOldest).then_some(key);
        while is_full
            && !has_capacity(queued)
            && let Some(key) = evictable
            && let Some(length) = self.outgoing.drop_oldest(key)
        {
            queued -= length + PREFIX + PENDING_OVERHEAD;
            expected += 1;
        }
        let is_kept = has_capacity(queued);
        let continues = is_kept || overflow != Overflow::Disconnect;
        expected += u64::from(!is_kept && continues);
        assert_eq!(self.engine.dropped() - dropped, expected, "dropped messages: {overflow:?}");
        let stays_pending = unwritten > 0 && unwritten >= self.local.queue / 2;
        if evictable.is_some() && stays_pending && expected == 0 {
            assert_eq!(self.engine.unsent_bytes(), unwritten, "an evictable message moves to the send buffer early");
        }
        match outcome {
            Ok(None) => {
                assert!(is_kept, "a full member accepts a message");
                let message =
                    Message { number, length, kind: MessageKind::Emit, handler: None, evictable, is_new: true };
                self.outgoing.accept(moment.now, message);
            }
            Err(SendOutcome::Full) => assert!(!continues, "a member with capacity is full"),
            Err(SendOutcome::Dropped) => assert!(!is_kept, "an emit is dropped although there is capacity"),
            other => panic!("an emit has the outcome {other:?}"),
        }
        continues
    }

    fn send_shared_request(&mut self, moment: Moment, message: &Shared, size: usize, timeout: Duration) {
        let (number, payload) = (moment.last, payload_of(moment.last, size).len());
        match self.engine.send_shared(moment.now, message, number, CallOrigin::Other, WhenFull::ApplyPolicy) {
            Ok(None) => panic!("a broadcast request has no id"),
            Ok(Some(id)) => {
                let header = Frame::Request { id, timeout: millis(timeout), key: KEY }.header();
                let length = header.len() + payload;
                let kind = MessageKind::Request(id, false);
                let message = Message { number, length, kind, handler: None, evictable: None, is_new: true };
                self.outgoing.accept(moment.now, message);
                let deadline = moment.now + timeout.min(MAX_TIMEOUT);
                self.outgoing.waiting.insert(number, Waiting { id, deadline });
            }
            Err(refused) => self.check_refusal(refused, payload),
        }
    }
}
