//! Resumption. A session that can be resumed survives the loss of its connection.

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

/// An emit that the session sends immediately or drops, and does not retain.
pub enum VolatileEmit<'a> {
    /// An emit of the method with this key.
    Own(u64, &'a Payload<'a>),
    /// An encoded emit, including its prefix.
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

/// The estimated memory of a handler in bytes, without the call's frame. The estimate covers the
/// handler's task, timer and future.
const HANDLER_OVERHEAD: usize = 2048;

impl<C, H: Clone> SessionCore<C, H> {
    /// Enables resumption. The session retains at most about `limit` bytes of sent frames until the
    /// peer acknowledges them. The session acknowledges received bytes early enough for a peer that
    /// retains only `peer_limit` bytes.
    pub fn enable_resumption(&mut self, limit: usize, peer_limit: usize) {
        self.retransmit = Some(Box::new(RetransmitState::new(limit, peer_limit)));
    }

    /// Does not count the first `before` bytes of the send buffer in the positions of the session.
    /// These bytes are the server hello.
    pub fn exclude_prefix(&mut self, before: usize) {
        if let Some(retransmit) = &mut self.retransmit {
            retransmit.exclude_prefix(before);
        }
    }

    /// Returns `true` if the driver has bytes to send.
    pub fn wants_write(&self) -> bool {
        !self.send_buffer.is_empty() || self.has_control_frames()
    }

    /// Returns `true` if the session has to send a frame that concerns only the connection.
    pub fn has_control_frames(&self) -> bool {
        self.heartbeat_due || self.retransmit.as_ref().is_some_and(|retransmit| retransmit.is_ack_due(true))
    }

    /// Returns `true` if a heartbeat is due because the session sent nothing for an interval.
    pub fn owes_heartbeat(&self) -> bool {
        self.heartbeat_due
    }

    /// Moves the frames to send into `send_buffer`, which must be empty. If a heartbeat or an
    /// acknowledgement is due, the method appends it.
    #[inline]
    pub fn poll_transmit(&mut self, send_buffer: &mut SendBuffer) {
        if self.latest.as_ref().is_some_and(|latest| latest.has_buffered()) {
            self.commit_latest();
        }
        mem::swap(&mut self.send_buffer, send_buffer);
        let (alone, heartbeat_due) = (send_buffer.is_empty(), mem::take(&mut self.heartbeat_due));
        let mut control = (heartbeat_due && alone).then_some(Frame::Heartbeat);
        if let Some(retransmit) = &mut self.retransmit {
            retransmit.record(send_buffer);
            if retransmit.is_ack_due(alone) || heartbeat_due && retransmit.has_unacknowledged() {
                control = Some(retransmit.take_ack());
            }
        }
        if let Some(frame) = control {
            send_buffer.push_header_only(frame);
        }
        if let Some(keep_alive) = self.keep_alive.as_mut().filter(|_| !send_buffer.is_empty()) {
            keep_alive.on_sent();
        }
    }

    pub(super) fn acknowledged(&mut self, position: u64) -> Result<(), ProtocolError> {
        self.retransmit.as_mut().map_or(Ok(()), |retransmit| retransmit.on_ack(position))
    }

    pub(super) fn skipped(&mut self, bytes: u64) -> Result<(), ProtocolError> {
        self.retransmit.as_mut().map_or(Ok(()), |retransmit| retransmit.skipped(bytes))
    }

    /// Sends an emit immediately, or drops the emit. The connections of an audience share the bytes
    /// of an encoded emit.
    pub fn emit_volatile(&mut self, emit: &VolatileEmit<'_>) -> SendOutcome {
        let length = emit.length();
        if length > self.max_frame {
            return SendOutcome::TooLarge { length, limit: self.max_frame };
        }
        if !self.can_send(length) || !self.has_capacity() {
            self.dropped += 1;
            return SendOutcome::Dropped;
        }
        if let Some(retransmit) = &mut self.retransmit {
            let position = retransmit.next_position(&self.send_buffer);
            retransmit.record_volatile(position, length);
        }
        match emit {
            VolatileEmit::Own(key, payload) => self.send_buffer.push(Frame::Emit { key: *key }.header(), payload),
            VolatileEmit::Shared(frame) => self.send_buffer.push_encoded(frame),
        }
        self.send_window.consume_emit(length);
        SendOutcome::Sent
    }

    /// Returns `true` if the session has no connection.
    pub fn is_detached(&self) -> bool {
        self.is_detached
    }

    /// Holds all messages until [`release`](Self::release), except those that
    /// [prepare](super::CallOrigin::Preparation) the session.
    pub fn hold(&mut self) {
        self.is_held = true;
    }

    /// Returns `true` if messages are held.
    #[inline]
    pub fn is_held(&self) -> bool {
        self.is_held
    }

    /// Sends the held messages. If the server is going away, the messages wait for the next server.
    pub fn release(&mut self, now: Instant) {
        self.is_held = self.awaits_next_server();
        self.flush_pending(now);
    }

    /// Returns the position up to which the session has received all bytes, and the position from
    /// which it retains sent frames. Returns `None` if the session cannot be resumed.
    pub fn positions(&self) -> Option<(u64, u64)> {
        self.retransmit.as_ref().map(|retransmit| (retransmit.received(), retransmit.first_retained()))
    }

    /// Returns `true` if the session can be resumed with this peer. The peer has received all bytes
    /// up to `position`, and retains its own frames from `peer_first_retained` on.
    pub fn can_resume(&self, position: u64, peer_first_retained: u64) -> bool {
        let retransmit = self.retransmit.as_ref();
        retransmit.is_some_and(|retransmit| {
            retransmit.can_retransmit_from(position) && peer_first_retained <= retransmit.received()
        })
    }

    /// Returns the number of bytes of sent frames that the session retains for another connection.
    pub fn retained(&self) -> usize {
        self.retransmit.as_ref().map_or(0, |retransmit| retransmit.retained_bytes())
    }

    /// Returns the number of bytes that the session holds on behalf of its peer. They are queued
    /// frames, retained frames, and received calls and emits that have unfinished handlers.
    pub fn held_bytes(&self) -> usize {
        // If several listeners subscribe to an emit, the emit has several handlers.
        let handlers = self.handlers.len().max(self.recv_window.in_flight() as usize);
        // Count the bytes of a call twice, because its handler keeps the decoded arguments and also
        // the encoded bytes, from which the arguments may borrow.
        let calls = 2 * self.recv_window.bytes_in_flight() + handlers * HANDLER_OVERHEAD;
        self.queued() + self.retained() + calls
    }

    /// Records that the session has lost its connection.
    pub fn detach(&mut self) {
        self.is_detached = true;
        self.heartbeat_due = false;
        if let Some(keep_alive) = &mut self.keep_alive {
            keep_alive.pause();
        }
    }

    /// Clears the go-away of the server, so that calls wait for another server instead of failing.
    /// The client calls this method when it starts to connect to another server.
    pub fn clear_go_away(&mut self) {
        self.peer_is_going_away = false;
    }

    /// Resumes the session on another connection. The peer has received all bytes up to `position`.
    /// Returns the frames that the driver has to send first. Returns `None` if the session does not
    /// retain all of these frames.
    pub fn resume(&mut self, now: Instant, position: u64) -> Option<SendBuffer> {
        self.retransmit.as_ref().filter(|retransmit| retransmit.can_retransmit_from(position))?;
        self.commit_latest();
        let is_pending = |key| self.latest.as_ref().is_some_and(|latest| latest.is_pending(key));
        let retransmission = self.retransmit.as_mut()?.resume(position, &self.send_buffer, is_pending)?;
        self.send_buffer = SendBuffer::default();
        for length in retransmission.lost {
            // The lost emit never reaches a handler, so the peer sends no credit for it. The
            // session therefore returns the emit's share of the window itself.
            self.send_window.release_emit(length);
        }
        self.is_detached = false;
        if let Some(keep_alive) = &mut self.keep_alive {
            keep_alive.restart(now);
        }
        self.stalled = self.stalled.map(|_| now);
        self.flush_pending(now);
        Some(retransmission.send_buffer)
    }

    /// Continues on another connection with a peer that does not know this session. The peer has
    /// the settings `peer`, and retains `peer_limit` bytes.
    ///
    /// The calls that were sent end as in [`close_detached`](Self::close_detached). The method
    /// [`on_writable`](Self::on_writable) sends the pending messages to the new peer. The driver
    /// has to enable keep-alive again.
    pub fn reset(
        &mut self,
        now: Instant,
        local: Settings,
        peer: Settings,
        peer_limit: usize,
    ) -> (Vec<(C, CallResult)>, Vec<H>) {
        self.keep_latest(now);
        let calls = self.calls.drain_sent();
        let mut ended = self.disconnected(calls);
        let max_frame = peer.max_frame as usize;
        let is_over = |kind, frame: &Bytes| {
            matches!(kind, PendingKind::Response | PendingKind::Last) || frame.len() > PREFIX + max_frame
        };
        for (_, kind) in self.pending.take(is_over) {
            match kind {
                PendingKind::Request { id, .. } => {
                    let consumer = self.calls.take_pending(id);
                    let result = CallResult::Disconnected { maybe_executed: false };
                    ended.extend(consumer.map(|consumer| (consumer, result)));
                }
                PendingKind::Latest { key } => self.forget_latest(key),
                _ => {}
            }
        }
        let window = local.window.min(peer.window);
        self.send_buffer = SendBuffer::default();
        (self.send_window, self.recv_window) = (SendWindow::new(window), RecvWindow::new(window));
        self.max_frame = max_frame;
        (self.peer_is_ready, self.peer_is_going_away, self.peer_is_drained) = (false, false, false);
        self.is_refused = false;
        self.epoch = self.epoch.wrapping_add(1);
        if let Some(retransmit) = &mut self.retransmit {
            retransmit.reset(peer_limit);
        }
        self.keep_alive = None;
        self.is_detached = false;
        self.stalled = self.stalled.map(|_| now);
        (ended, self.take_handlers())
    }

    /// Ends a session that has no connection. Returns the waiting callers with their results. Also
    /// returns the handlers that the driver has to cancel. Unsent bytes are never sent.
    pub fn close_detached(&mut self) -> (Vec<(C, CallResult)>, Vec<H>) {
        let calls = self.calls.drain();
        let ended = self.disconnected(calls);
        (ended, self.take_handlers())
    }

    /// Returns the result of each caller after the end of the session. A request that is still in
    /// the send buffer counts as not sent.
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
        let mut frames = self.send_buffer.take_all();
        let mut ids = HashSet::new();
        while let Some(mut frame) = next_frame(&mut frames) {
            if let Ok(Frame::Request { id, .. }) = Frame::decode(&mut frame) {
                ids.insert(id);
            }
        }
        ids
    }
}
