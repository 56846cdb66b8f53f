//! A session that outlives its link.

use std::{collections::HashSet, mem, time::Instant};

use bytes::Bytes;

use super::{SendOutcome, SessionCore};
use crate::{
    ProtocolError,
    calls::CallResult,
    codec::Payload,
    frame::next_frame,
    frame::{CallId, Frame, PREFIX},
    pending::PendingKind,
    retransmit::RetransmitState,
    send_buffer::SendBuffer,
    settings::Settings,
    window::{RecvWindow, SendWindow},
};

/// An emit that is not kept.
pub enum VolatileEmit<'a> {
    /// By its method's key.
    Own(u64, &'a Payload<'a>),
    /// Encoded already, its prefix included.
    Shared(&'a Bytes),
}

impl VolatileEmit<'_> {
    fn length(&self) -> usize {
        match self {
            Self::Own(key, payload) => Frame::Emit { key: *key }.header().len() + payload.len(),
            Self::Shared(frame) => frame.len() - PREFIX,
        }
    }
}

/// An estimate of what a handler takes besides its call's frame: its task, its timer and its future.
const HANDLER_OVERHEAD: usize = 2048;

impl<C, H: Clone> SessionCore<C, H> {
    /// From now on, what is sent is kept until it is acknowledged, within so many bytes, and what is received is
    /// acknowledged, to one who keeps `theirs`.
    pub fn enable_resumption(&mut self, limit: usize, theirs: usize) {
        self.retransmit = Some(Box::new(RetransmitState::new(limit, theirs)));
    }

    /// So many bytes are in the outbox that come before the session's first frame.
    pub fn exclude_prefix(&mut self, before: usize) {
        if let Some(reliable) = &mut self.retransmit {
            reliable.exclude_prefix(before);
        }
    }

    /// Whether there is something to write.
    pub fn wants_write(&self) -> bool {
        !self.outbox.is_empty() || self.has_control_frames()
    }

    /// Whether there is something to say about the link, whatever else there is.
    pub fn has_control_frames(&self) -> bool {
        self.heartbeat_due || self.retransmit.as_ref().is_some_and(|reliable| reliable.is_ack_due(true))
    }

    /// Returns `true` if a heartbeat is to be sent: nothing was sent for a while.
    pub fn owes_heartbeat(&self) -> bool {
        self.heartbeat_due
    }

    /// Gives what is to be written to an empty outbox, with a word about the link behind it, if it is time for one.
    #[inline]
    pub fn poll_transmit(&mut self, outbox: &mut SendBuffer) {
        mem::swap(&mut self.outbox, outbox);
        let (alone, speaks) = (outbox.is_empty(), mem::take(&mut self.heartbeat_due));
        let mut word = (speaks && alone).then_some(Frame::Heartbeat);
        if let Some(reliable) = &mut self.retransmit {
            reliable.record(outbox);
            if reliable.is_ack_due(alone) || speaks && reliable.has_unacknowledged() {
                word = Some(reliable.take_ack());
            }
        }
        if let Some(frame) = word {
            outbox.push_header_only(frame);
        }
        if let Some(liveness) = self.keep_alive.as_mut().filter(|_| !outbox.is_empty()) {
            liveness.on_sent();
        }
    }

    pub(super) fn acknowledged(&mut self, position: u64) -> Result<(), ProtocolError> {
        self.retransmit.as_mut().map_or(Ok(()), |reliable| reliable.on_ack(position))
    }

    pub(super) fn skipped(&mut self, bytes: u64) -> Result<(), ProtocolError> {
        self.retransmit.as_mut().map_or(Ok(()), |reliable| reliable.skipped(bytes))
    }

    /// Sends an emit that is not kept: now, or not at all. What is given whole is shared with others.
    pub fn emit_volatile(&mut self, emit: &VolatileEmit<'_>) -> SendOutcome {
        let length = emit.length();
        if length > self.max_frame {
            return SendOutcome::TooLarge { limit: self.max_frame };
        }
        if !self.can_send(length) || !self.has_capacity() {
            self.dropped += 1;
            return SendOutcome::Dropped;
        }
        if let Some(reliable) = &mut self.retransmit {
            let position = reliable.next_position(&self.outbox);
            reliable.record_volatile(position, length);
        }
        match emit {
            VolatileEmit::Own(key, payload) => self.outbox.push(Frame::Emit { key: *key }.header(), payload),
            VolatileEmit::Shared(frame) => self.outbox.push_encoded(frame),
        }
        self.send_window.consume_emit(length);
        SendOutcome::Sent
    }

    /// Whether there is no link.
    pub fn is_detached(&self) -> bool {
        self.is_detached
    }

    /// Up to where everything has been received, and from where on what has been sent is kept, if the session can go on over
    /// another link.
    pub fn positions(&self) -> Option<(u64, u64)> {
        self.retransmit.as_ref().map(|reliable| (reliable.received(), reliable.first_retained()))
    }

    /// Whether the session can go on with one who has received everything up to `position`, and keeps what it has sent from
    /// `kept` on.
    pub fn can_resume(&self, position: u64, kept: u64) -> bool {
        let reliable = self.retransmit.as_ref();
        reliable.is_some_and(|reliable| reliable.can_retransmit_from(position) && kept <= reliable.received())
    }

    /// Returns how many bytes of sent frames are retained for another link.
    pub fn retained(&self) -> usize {
        self.retransmit.as_ref().map_or(0, |reliable| reliable.retained_bytes())
    }

    /// Returns how many bytes the session holds for its peer: frames that wait to be sent, frames that are retained, and
    /// received calls and emits whose handlers have not ended.
    pub fn held_bytes(&self) -> usize {
        // An emit has several handlers if several listeners subscribe to it.
        let handlers = self.handlers.len().max(self.recv_window.in_flight() as usize);
        // The handler holds its arguments, which it has decoded, and the bytes that they may be borrowed from.
        let calls = 2 * self.recv_window.bytes_in_flight() + handlers * HANDLER_OVERHEAD;
        self.queued() + self.retained() + calls
    }

    /// The link has broken.
    pub fn detach(&mut self) {
        self.is_detached = true;
        self.heartbeat_due = false;
        if let Some(liveness) = &mut self.keep_alive {
            liveness.pause();
        }
    }

    /// A server that goes away is not come back to: calls wait for the next one.
    pub fn clear_go_away(&mut self) {
        self.peer_is_going_away = false;
    }

    /// There is another link, to one who has received everything up to `position`: what it has to carry first. `None` if
    /// some of that is not kept any more.
    pub fn resume(&mut self, now: Instant, position: u64) -> Option<SendBuffer> {
        let resent = self.retransmit.as_mut()?.resume(position, &self.outbox)?;
        self.outbox = SendBuffer::default();
        for length in resent.lost {
            // It never comes to a handler, whose end would give its place back. One who has given that back all the same has it from
            // others of its emits.
            let _ = self.send_window.credit(1, length as u64);
        }
        self.is_detached = false;
        if let Some(liveness) = &mut self.keep_alive {
            liveness.restart(now);
        }
        self.stalled = self.stalled.map(|_| now);
        self.flush_pending(now);
        Some(resent.outbox)
    }

    /// There is another link, to one who knows nothing of this session, says these terms, and keeps so many bytes. Calls that have left
    /// end, as they do with [`close_away`](Self::close_detached); what is parked goes to that one, with [`go_on`](Self::on_writable).
    /// If silence is to be minded, that is to be said once more.
    pub fn reset(
        &mut self,
        now: Instant,
        ours: Settings,
        theirs: Settings,
        keeps: usize,
    ) -> (Vec<(C, CallResult)>, Vec<H>) {
        let calls = self.calls.drain_sent();
        let mut ended = self.disconnected(calls);
        let max_frame = theirs.max_frame as usize;
        let is_over = |class, frame: &Bytes| {
            matches!(class, PendingKind::Response | PendingKind::Last) || frame.len() > PREFIX + max_frame
        };
        for (_, class) in self.pending.take(is_over) {
            let PendingKind::Request { id, .. } = class else { continue };
            let consumer = self.calls.take_pending(id);
            ended.extend(consumer.map(|consumer| (consumer, CallResult::Disconnected { maybe_executed: false })));
        }
        let window = ours.window.min(theirs.window);
        self.outbox = SendBuffer::default();
        (self.send_window, self.recv_window) = (SendWindow::new(window), RecvWindow::new(window));
        self.max_frame = max_frame;
        (self.peer_is_ready, self.peer_is_going_away, self.peer_is_drained) = (false, false, false);
        self.is_refused = false;
        self.epoch = self.epoch.wrapping_add(1);
        if let Some(reliable) = &mut self.retransmit {
            reliable.reset(keeps);
        }
        self.keep_alive = None;
        self.is_detached = false;
        self.stalled = self.stalled.map(|_| now);
        (ended, self.take_handlers())
    }

    /// The session ends without a link: who waits for an answer, and the handlers that are to be stopped. What waits to be
    /// written never is.
    pub fn close_detached(&mut self) -> (Vec<(C, CallResult)>, Vec<H>) {
        let calls = self.calls.drain();
        let ended = self.disconnected(calls);
        (ended, self.take_handlers())
    }

    /// Tells callers of the end of their calls. What waits to be written was not sent.
    fn disconnected(&mut self, calls: Vec<(C, CallId, bool)>) -> Vec<(C, CallResult)> {
        let unwritten = self.unsent_requests();
        let calls = self.unless_refused(calls);
        let ended = calls.into_iter().map(|(consumer, id, sent)| {
            let maybe_executed = sent && !unwritten.contains(&id);
            (consumer, CallResult::Disconnected { maybe_executed })
        });
        ended.collect()
    }

    fn unsent_requests(&mut self) -> HashSet<CallId> {
        let mut frames = self.outbox.take_all();
        let mut ids = HashSet::new();
        while let Some(mut frame) = next_frame(&mut frames) {
            if let Ok(Frame::Request { id, .. }) = Frame::decode(&mut frame) {
                ids.insert(id);
            }
        }
        ids
    }
}
