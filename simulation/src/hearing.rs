//! What is said to all, as one member takes it.

use std::time::Duration;

use crate::{
    acting::{KEY, LONGEST, millis},
    engine::Shared,
    outgoing::{Kind, Message, Waiting},
    side::{Moment, Side, payload_of},
};
use sockets_proto::{CallOrigin, Frame, Overflow, PENDING_OVERHEAD, PREFIX, SendOutcome, WhenFull};

/// The methods of emits that may be dropped.
pub(super) const LOSSY: [(u64, Overflow); 4] = [
    (KEY + 1, Overflow::DropNewest),
    (KEY + 2, Overflow::DropOldest),
    (KEY + 3, Overflow::DropOldest),
    (KEY + 4, Overflow::Latest),
];

pub(super) fn is_a_key(key: u64) -> bool {
    key == KEY || LOSSY.iter().any(|(lossy, _)| *lossy == key)
}

impl Side {
    /// Sends a member's copy of a message to an audience; `false` if it is too far behind.
    pub(super) fn share(&mut self, moment: Moment, message: &Shared, size: usize, timeout: Duration) -> bool {
        let goes_on = match *message {
            Shared::Emit(_, key, overflow) => self.share_emit(moment, message, size, key, overflow),
            Shared::Request(_) => {
                self.share_request(moment, message, size, timeout);
                true
            }
        };
        if goes_on {
            self.settle(moment.now);
        }
        goes_on
    }

    fn share_emit(&mut self, moment: Moment, message: &Shared, size: usize, key: u64, overflow: Overflow) -> bool {
        let number = moment.last;
        let length = Frame::Emit { key }.header().len() + payload_of(number, size).len();
        let (mut queued, dropped) = (self.backlog(), self.engine.dropped());
        let unwritten = self.engine.waiting();
        // Emitters wait for one in four, of which the queue may take one message more.
        let is_awaited = number.is_multiple_of(4) && queued < self.ours.queue + self.theirs.max_frame as usize;
        let when_full = if is_awaited { WhenFull::Accept } else { WhenFull::ApplyPolicy };
        let outcome = self.engine.share(moment.now, message, number, CallOrigin::Other, when_full);
        if matches!(outcome, Err(SendOutcome::TooLarge { .. })) {
            assert!(length > self.theirs.max_frame as usize, "it is small enough");
            return true;
        }
        let is_awaited = is_awaited && overflow != Overflow::Latest;
        let has_room = |queued| queued < self.ours.queue || is_awaited;
        let mut expected = 0;
        let is_full = !has_room(queued);
        let recallable = matches!(overflow, Overflow::DropOldest | Overflow::Latest).then_some(key);
        while is_full
            && (overflow == Overflow::Latest || !has_room(queued))
            && let Some(key) = recallable
            && let Some(length) = self.outgoing.drop_oldest(key)
        {
            queued -= length + PREFIX + PENDING_OVERHEAD;
            expected += 1;
        }
        let is_kept = has_room(queued) || overflow == Overflow::Latest;
        let goes_on = is_kept || overflow != Overflow::Disconnect;
        expected += u64::from(!is_kept && goes_on);
        assert_eq!(self.engine.dropped() - dropped, expected, "what is dropped for want of room: {overflow:?}");
        let stays_in_reach = unwritten > 0 && unwritten >= self.ours.queue / 2;
        if recallable.is_some() && stays_in_reach && expected == 0 {
            assert_eq!(self.engine.waiting(), unwritten, "what may be dropped is out of reach");
        }
        match outcome {
            Ok(None) => {
                assert!(is_kept, "a member that is too far behind has more to take");
                let message = Message { number, length, kind: Kind::Emit, handler: None, recallable, new: true };
                self.outgoing.accept(moment.now, message);
            }
            Err(SendOutcome::Full) => assert!(!goes_on, "a member is not too far behind"),
            Err(SendOutcome::Dropped) => assert!(!is_kept, "an emit is dropped for which there is room"),
            other => panic!("an emit comes to {other:?}"),
        }
        goes_on
    }

    fn share_request(&mut self, moment: Moment, message: &Shared, size: usize, timeout: Duration) {
        let (number, payload) = (moment.last, payload_of(moment.last, size).len());
        match self.engine.share(moment.now, message, number, CallOrigin::Other, WhenFull::ApplyPolicy) {
            Ok(None) => panic!("a question has no id"),
            Ok(Some(id)) => {
                let header = Frame::Request { id, timeout: millis(timeout), key: KEY }.header();
                let length = header.len() + payload;
                let kind = Kind::Request(id, false);
                let message = Message { number, length, kind, handler: None, recallable: None, new: true };
                self.outgoing.accept(moment.now, message);
                let deadline = moment.now + timeout.min(LONGEST);
                self.outgoing.waiting.insert(number, Waiting { id, deadline });
            }
            Err(refused) => self.check_refusal(refused, payload),
        }
    }
}
