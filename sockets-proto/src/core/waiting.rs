//! What waits for a window, and for how long.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Core;
use crate::{
    calls::Answer,
    frame::{Frame, PREFIX},
    liveness::Liveness,
    outbox::Outbox,
    parked::Class,
};

/// When nothing parked has moved for so long, calls of handlers are given up: in a circle of nested calls, both sides
/// wait for each other.
const GIVE_UP: Duration = Duration::from_secs(1);
/// After so long, answers overtake what their handlers have sent, which may wait for handlers that wait for the answers.
/// It is longer, since only an order that is promised is given up with it, and slow handlers look the same.
const OVERTAKE: Duration = Duration::from_secs(5);

impl<C, H: Clone> Core<C, H> {
    pub(super) fn park(&mut self, now: Instant, frame: Bytes, class: Class) {
        // The clock starts anew with the first message that may be part of a circle.
        let first = match class {
            Class::Emit | Class::Recallable { .. } | Class::Last => false,
            Class::Request { nested, .. } => nested && self.parked.nested() == 0,
            Class::InTurn => self.parked.in_turn().messages == 0,
        };
        if first || self.stalled.is_none() {
            self.stalled = Some(now);
        }
        self.parked.push(frame, class);
    }

    pub(super) fn unpark(&mut self, now: Instant) {
        if self.stalled.is_none() || self.is_away {
            return;
        }
        while let Some((frame, class)) =
            self.parked.pop_if(|length| self.outbound.admits(length), || self.outbox.has_room(self.queue_limit / 2))
        {
            let length = frame.len() - PREFIX;
            match class {
                Class::Emit | Class::Recallable { .. } => self.outbound.take_emit(length),
                Class::Request { id, .. } => {
                    self.outbound.take_request(length);
                    self.calls.mark_sent(id);
                }
                Class::InTurn | Class::Last => {}
            }
            self.outbox.push_whole(&frame);
            self.stalled = Some(now);
        }
        if self.parked.is_empty() {
            self.stalled = None;
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do. It may be early, never late.
    pub fn next_timeout(&self) -> Option<Instant> {
        let look = self.liveness.as_ref().and_then(Liveness::next_look);
        [self.calls.earliest(), self.give_up_at(), self.overtake_at(), look].into_iter().flatten().min()
    }

    /// When parked calls of handlers are given up.
    fn give_up_at(&self) -> Option<Instant> {
        self.stalled.filter(|_| self.parked.nested() > 0 && !self.is_away).map(|since| since + GIVE_UP)
    }

    /// When parked answers overtake.
    fn overtake_at(&self) -> Option<Instant> {
        self.stalled.filter(|_| self.parked.in_turn().messages > 0 && !self.is_away).map(|since| since + OVERTAKE)
    }

    /// So many bytes have come of a frame that is not whole.
    pub fn heard_part(&mut self, now: Instant, bytes: usize) {
        if let Some(liveness) = &mut self.liveness {
            liveness.heard_part(now, bytes);
        }
    }

    /// Whether messages wait until fewer bytes wait for the wire: then they go on with [`go_on`](Self::go_on).
    pub fn holds_back(&self) -> bool {
        self.parked.holds_recallable()
    }

    /// Queues what has waited for room among the bytes for the wire, or for a link.
    pub fn go_on(&mut self, now: Instant) {
        self.unpark(now);
    }

    /// Whether nothing was heard for too long; `listened` says that all that has come was looked at.
    pub fn is_silent(&mut self, now: Instant, listened: bool) -> bool {
        self.liveness.as_mut().is_some_and(|liveness| liveness.is_silent(now, listened))
    }

    /// Releases memory that the last load needed: nothing has been sent for a while.
    fn shrink(&mut self) {
        if let Some(reliable) = &mut self.reliable {
            reliable.rest();
        }
        if self.outbox.is_empty() {
            self.outbox = Outbox::default();
        }
        self.parked.shrink();
        self.calls.shrink();
        self.running.shrink_to_fit();
    }

    /// Ends the calls whose time is up, breaks circles of waiting, and lets the other side hear that this one is there.
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<(C, Answer)> {
        let mut ended = Vec::new();
        if let Some(quiet) = self.liveness.as_mut().and_then(|liveness| liveness.is_to_speak(now)) {
            self.is_to_speak = quiet;
            if quiet {
                self.shrink();
            }
        }
        for id in self.calls.overdue(now) {
            let Some((consumer, sent)) = self.calls.expire(id) else { continue };
            if sent {
                // The other side's deadline is later, by as long as the call was on its way or parked.
                self.outbox.push_bare(Frame::Cancel { id });
            } else {
                self.parked.remove(id);
            }
            ended.push((consumer, Answer::TimedOut));
        }
        if self.overtake_at().is_some_and(|at| now >= at) {
            for (frame, _) in self.parked.take(|class, _| class == Class::InTurn) {
                self.outbox.push_whole(&frame);
            }
        }
        if self.give_up_at().is_some_and(|at| now >= at) {
            for (_, class) in self.parked.take(|class, _| matches!(class, Class::Request { nested: true, .. })) {
                let Class::Request { id, .. } = class else { continue };
                ended.extend(self.calls.take_parked(id).map(|consumer| (consumer, Answer::Overloaded)));
            }
        }
        if !ended.is_empty() {
            self.unpark(now);
        }
        ended
    }
}
