//! What waits for a window, and for how long.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::SessionCore;
use crate::{
    calls::CallResult,
    frame::{Frame, PREFIX},
    keep_alive::KeepAlive,
    pending::PendingKind,
    send_buffer::SendBuffer,
};

/// When nothing parked has moved for so long, calls of handlers are given up: in a circle of nested calls, both sides
/// wait for each other.
const NESTED_CALL_TIMEOUT: Duration = Duration::from_secs(1);
/// After so long, answers overtake what their handlers have sent, which may wait for handlers that wait for the answers.
/// It is longer, since only an order that is promised is given up with it, and slow handlers look the same.
const RESPONSE_OVERTAKE_DELAY: Duration = Duration::from_secs(5);

impl<C, H: Clone> SessionCore<C, H> {
    pub(super) fn push_pending(&mut self, now: Instant, frame: Bytes, class: PendingKind) {
        // The clock starts anew with the first message that may be part of a circle.
        let first = match class {
            PendingKind::Emit | PendingKind::Evictable { .. } | PendingKind::Last => false,
            PendingKind::Request { nested, .. } => nested && self.pending.nested() == 0,
            PendingKind::Response => self.pending.responses().messages == 0,
        };
        if first || self.stalled.is_none() {
            self.stalled = Some(now);
        }
        self.pending.push(frame, class);
    }

    pub(super) fn flush_pending(&mut self, now: Instant) {
        if self.stalled.is_none() || self.is_detached {
            return;
        }
        while let Some((frame, class)) = self
            .pending
            .pop_if(|length| self.send_window.can_send(length), || self.outbox.has_capacity(self.queue_limit / 2))
        {
            let length = frame.len() - PREFIX;
            match class {
                PendingKind::Emit | PendingKind::Evictable { .. } => self.send_window.consume_emit(length),
                PendingKind::Request { id, .. } => {
                    self.send_window.consume_request(length);
                    self.calls.mark_sent(id);
                }
                PendingKind::Response | PendingKind::Last => {}
            }
            self.outbox.push_encoded(&frame);
            self.stalled = Some(now);
        }
        if self.pending.is_empty() {
            self.stalled = None;
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do. It may be early, never late.
    pub fn next_timeout(&self) -> Option<Instant> {
        let look = self.keep_alive.as_ref().and_then(KeepAlive::next_timeout);
        [self.calls.next_deadline(), self.nested_deadline(), self.response_overtake_deadline(), look]
            .into_iter()
            .flatten()
            .min()
    }

    /// When parked calls of handlers are given up.
    fn nested_deadline(&self) -> Option<Instant> {
        self.stalled.filter(|_| self.pending.nested() > 0 && !self.is_detached).map(|since| since + NESTED_CALL_TIMEOUT)
    }

    /// When parked answers overtake.
    fn response_overtake_deadline(&self) -> Option<Instant> {
        self.stalled
            .filter(|_| self.pending.responses().messages > 0 && !self.is_detached)
            .map(|since| since + RESPONSE_OVERTAKE_DELAY)
    }

    /// So many bytes have come of a frame that is not whole.
    pub fn on_partial(&mut self, now: Instant, bytes: usize) {
        if let Some(liveness) = &mut self.keep_alive {
            liveness.on_partial(now, bytes);
        }
    }

    /// Whether messages wait until fewer bytes wait for the wire: then they go on with [`go_on`](Self::on_writable).
    pub fn has_evictable(&self) -> bool {
        self.pending.has_evictable()
    }

    /// Queues what has waited for room among the bytes for the wire, or for a link.
    pub fn on_writable(&mut self, now: Instant) {
        self.flush_pending(now);
    }

    /// Whether nothing was heard for too long; `listened` says that all that has come was looked at.
    pub fn poll_idle_timeout(&mut self, now: Instant, listened: bool) -> bool {
        self.keep_alive.as_mut().is_some_and(|liveness| liveness.poll_idle_timeout(now, listened))
    }

    /// Releases memory that the last load needed: nothing has been sent for a while.
    fn shrink(&mut self) {
        if let Some(reliable) = &mut self.retransmit {
            reliable.shrink();
        }
        if self.outbox.is_empty() {
            self.outbox = SendBuffer::default();
        }
        self.pending.shrink();
        self.calls.shrink();
        self.handlers.shrink_to_fit();
    }

    /// Ends the calls whose time is up, breaks circles of waiting, and lets the other side hear that this one is there.
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<(C, CallResult)> {
        let mut ended = Vec::new();
        if let Some(quiet) = self.keep_alive.as_mut().and_then(|liveness| liveness.poll_heartbeat(now)) {
            self.heartbeat_due = quiet;
            if quiet {
                self.shrink();
            }
        }
        for id in self.calls.overdue(now) {
            let Some((consumer, sent)) = self.calls.expire(id) else { continue };
            if sent {
                // The other side's deadline is later, by as long as the call was on its way or parked.
                self.outbox.push_header_only(Frame::Cancel { id });
            } else {
                self.pending.remove(id);
            }
            ended.push((consumer, CallResult::TimedOut));
        }
        if self.response_overtake_deadline().is_some_and(|at| now >= at) {
            for (frame, _) in self.pending.take(|class, _| class == PendingKind::Response) {
                self.outbox.push_encoded(&frame);
            }
        }
        if self.nested_deadline().is_some_and(|at| now >= at) {
            for (_, class) in self.pending.take(|class, _| matches!(class, PendingKind::Request { nested: true, .. })) {
                let PendingKind::Request { id, .. } = class else { continue };
                ended.extend(self.calls.take_pending(id).map(|consumer| (consumer, CallResult::Overloaded)));
            }
        }
        if !ended.is_empty() {
            self.flush_pending(now);
        }
        ended
    }
}
