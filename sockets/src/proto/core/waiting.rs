//! What waits for a window, and for how long.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Core;
use crate::proto::{calls::Answer, frame::PREFIX, parked::Class};

/// When nothing parked has moved for so long, answers overtake, and calls parked in a circle of nested calls are given
/// up: both sides may be waiting for each other.
const STALL: Duration = Duration::from_secs(1);
impl<C, H> Core<C, H> {
    pub(super) fn park(&mut self, now: Instant, frame: Bytes, class: Class) {
        self.stalled.get_or_insert(now);
        self.parked.push(frame, class);
    }

    pub(super) fn unpark(&mut self, now: Instant) {
        if self.parked.is_empty() {
            return;
        }
        while let Some((frame, class)) = self.parked.pop_if(|length| self.outbound.admits(length)) {
            if class != Class::InTurn {
                self.outbound.take(frame.len() - PREFIX);
            }
            if let Class::Request(id) = class {
                self.calls.mark_sent(id);
            }
            self.outbox.push_whole(&frame);
        }
        self.stalled = (!self.parked.is_empty()).then_some(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do. It may be early, never late.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let stall = self.stalled.filter(|_| self.is_deadlocked()).map(|since| since + STALL);
        [self.calls.earliest(), stall].into_iter().flatten().min()
    }

    /// Whether what is parked may be waiting for itself: answers behind it, or calls made by handlers.
    fn is_deadlocked(&self) -> bool {
        self.parked.in_turn().messages > 0 || self.parked.requests().messages > 0 && !self.running.is_empty()
    }

    /// Ends the calls whose time is up, and breaks circles of waiting.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Vec<(C, Answer)> {
        let mut ended = Vec::new();
        for id in self.calls.overdue(now) {
            let Some((consumer, sent)) = self.calls.expire(id) else { continue };
            if !sent {
                self.parked.remove(id);
            }
            ended.push((consumer, Answer::TimedOut));
        }
        if self.stalled.is_some_and(|since| now >= since + STALL) && self.is_deadlocked() {
            for (frame, _) in self.parked.take(|class| class == Class::InTurn) {
                self.outbox.push_whole(&frame);
            }
            if !self.running.is_empty() {
                for (_, class) in self.parked.take(|class| matches!(class, Class::Request(_))) {
                    let Class::Request(id) = class else { continue };
                    ended.extend(self.calls.take_parked(id).map(|consumer| (consumer, Answer::Overloaded)));
                }
            }
            self.unpark(now);
        }
        ended
    }
}
