//! Messages that wait for capacity of the window, and the timers that limit this wait.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::SessionCore;
use crate::{
    calls::CallResult,
    frame::{Frame, PREFIX},
    keep_alive::KeepAlive,
    latest::LatestEmit,
    pending::PendingKind,
    send_buffer::SendBuffer,
};

/// The timeout of pending calls of handlers. If the queue makes no progress for this time, these
/// calls fail. Without the timeout, both peers would wait for each other in a cycle of nested
/// calls.
const NESTED_CALL_TIMEOUT: Duration = Duration::from_secs(1);
/// The timeout of replies that wait for earlier messages of their handlers. If the queue makes no
/// progress for this time, the replies overtake these messages. Otherwise the session could wait
/// forever: such a message may wait for another handler, which may wait for the reply. This timeout
/// is longer than [`NESTED_CALL_TIMEOUT`], because overtaking breaks a guaranteed order, and the
/// session cannot distinguish a slow handler from a cycle.
const RESPONSE_OVERTAKE_DELAY: Duration = Duration::from_secs(5);

impl<C, H: Clone> SessionCore<C, H> {
    pub(super) fn push_pending(&mut self, now: Instant, frame: Bytes, kind: PendingKind) -> u64 {
        // The first pending message that may be part of a cycle restarts the time without progress.
        let first = match kind {
            PendingKind::Emit | PendingKind::Evictable { .. } | PendingKind::Latest { .. } | PendingKind::Last => false,
            PendingKind::Request { nested, .. } => nested && self.pending.nested() == 0,
            PendingKind::Response => self.pending.responses().messages == 0,
        };
        if first || self.stalled.is_none() {
            self.stalled = Some(now);
        }
        self.pending.push(frame, kind)
    }

    pub(super) fn flush_pending(&mut self, now: Instant) {
        if self.stalled.is_none() || self.is_detached || self.is_held {
            return;
        }
        while let Some((frame, kind)) = self
            .pending
            .pop_if(|length| self.send_window.can_send(length), || self.send_buffer.has_capacity(self.queue_limit / 2))
        {
            let length = frame.len() - PREFIX;
            match kind {
                PendingKind::Emit | PendingKind::Evictable { .. } => self.send_window.consume_emit(length),
                PendingKind::Request { id, .. } => {
                    self.send_window.consume_request(length);
                    self.calls.mark_sent(id);
                }
                PendingKind::Latest { key } => {
                    self.send_window.consume_emit(length);
                    self.push_latest(LatestEmit { frame: &frame, key, is_volatile: false });
                    self.stalled = Some(now);
                    continue;
                }
                PendingKind::Response | PendingKind::Last => {}
            }
            self.send_buffer.push_encoded(&frame);
            self.stalled = Some(now);
        }
        if self.pending.is_empty() {
            self.stalled = None;
        }
    }

    /// Returns the time at which the driver has to call [`handle_timeout`](Self::handle_timeout).
    /// The time is never later than the next timeout, but may be earlier.
    pub fn next_timeout(&self) -> Option<Instant> {
        let keep_alive_timeout = self.keep_alive.as_ref().and_then(KeepAlive::next_timeout);
        [self.calls.next_deadline(), self.nested_deadline(), self.response_overtake_deadline(), keep_alive_timeout]
            .into_iter()
            .flatten()
            .min()
    }

    /// Returns the time at which pending calls of handlers fail.
    fn nested_deadline(&self) -> Option<Instant> {
        self.stalled
            .filter(|_| self.pending.nested() > 0 && !self.is_detached && !self.is_held)
            .map(|since| since + NESTED_CALL_TIMEOUT)
    }

    /// Returns the time at which pending replies overtake other messages.
    fn response_overtake_deadline(&self) -> Option<Instant> {
        self.stalled
            .filter(|_| self.pending.responses().messages > 0 && !self.is_detached && !self.is_held)
            .map(|since| since + RESPONSE_OVERTAKE_DELAY)
    }

    /// Records that `bytes` bytes of an incomplete frame have arrived.
    pub fn on_partial(&mut self, now: Instant, bytes: usize) {
        if let Some(keep_alive) = &mut self.keep_alive {
            keep_alive.on_partial(now, bytes);
        }
    }

    /// Returns `true` if messages may be waiting for capacity of the send buffer.
    /// [`on_writable`](Self::on_writable) sends these messages.
    pub fn has_evictable(&self) -> bool {
        self.pending.has_evictable()
    }

    /// Moves messages to the send buffer that have waited for its capacity or for a connection.
    pub fn on_writable(&mut self, now: Instant) {
        self.flush_pending(now);
    }

    /// Returns `true` if the idle timeout has passed. The caller sets `input_drained` if it has
    /// processed all received bytes.
    pub fn poll_idle_timeout(&mut self, now: Instant, input_drained: bool) -> bool {
        self.keep_alive.as_mut().is_some_and(|keep_alive| keep_alive.poll_idle_timeout(now, input_drained))
    }

    /// Releases unused memory. The session calls this method after an interval in which it sent no
    /// frame.
    fn shrink(&mut self) {
        if let Some(retransmit) = &mut self.retransmit {
            retransmit.shrink();
        }
        if self.send_buffer.is_empty() {
            self.send_buffer = SendBuffer::default();
        }
        self.latest.take_if(|latest| latest.is_empty());
        self.pending.shrink();
        self.calls.shrink();
    }

    /// Ends overdue calls, ends cycles of waiting calls, and schedules a heartbeat if it is due.
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<(C, CallResult)> {
        let mut ended = Vec::new();
        if let Some(is_quiet) = self.keep_alive.as_mut().and_then(|keep_alive| keep_alive.poll_heartbeat(now)) {
            self.heartbeat_due = is_quiet;
            if is_quiet {
                self.shrink();
            }
        }
        for id in self.calls.overdue(now) {
            let Some((consumer, sent)) = self.calls.expire(id) else { continue };
            if sent {
                // Stop the peer's handler now. The peer's deadline is later than the local
                // deadline, by the time for which the call was pending and in transit.
                self.send_buffer.push_header_only(Frame::Cancel { id });
            } else {
                self.pending.remove(id);
            }
            ended.push((consumer, CallResult::TimedOut));
        }
        if self.response_overtake_deadline().is_some_and(|at| now >= at) {
            for (frame, _) in self.pending.take(|kind, _| kind == PendingKind::Response) {
                self.send_buffer.push_encoded(&frame);
            }
        }
        if self.nested_deadline().is_some_and(|at| now >= at) {
            for (_, kind) in self.pending.take(|kind, _| matches!(kind, PendingKind::Request { nested: true, .. })) {
                let PendingKind::Request { id, .. } = kind else { continue };
                ended.extend(self.calls.take_pending(id).map(|consumer| (consumer, CallResult::Overloaded)));
            }
        }
        if !ended.is_empty() {
            self.flush_pending(now);
        }
        ended
    }
}
