//! Resumption of a session on another connection. Each endpoint counts the bytes that it receives,
//! and retains the frames that it sends until its peer acknowledges them.

use super::{
    ProtocolError,
    frame::{Frame, PREFIX},
    latest::{Buffered, LatestKey},
    retransmit_buffer::{Retransmission, RetransmitBuffer},
    send_buffer::SendBuffer,
};

/// Minimum number of unacknowledged received bytes before the session adds an acknowledgement to
/// other frames. The threshold is lower if the peer retains only few bytes.
const PIGGYBACKED_ACK_THRESHOLD: usize = 4 * 1024;
/// Minimum number of unacknowledged received bytes before the session sends an acknowledgement
/// without other frames. The threshold is lower if the peer retains only few bytes.
const ACK_THRESHOLD: usize = 64 * 1024;

/// The state of both directions of a session that can be resumed.
#[derive(Debug)]
pub(super) struct RetransmitState {
    retained: RetransmitBuffer,
    /// The number of bytes that the peer retains for retransmission.
    peer_limit: usize,
    /// The position up to which the local endpoint has received all bytes.
    received: u64,
    /// The position up to which the local endpoint has acknowledged received bytes.
    acknowledged: u64,
    /// The number of bytes at the front of the next transmission that are not part of the session.
    excluded: usize,
}

impl RetransmitState {
    /// Creates the state. The local endpoint retains `limit` bytes, and the peer retains
    /// `peer_limit` bytes.
    pub(super) fn new(limit: usize, peer_limit: usize) -> Self {
        Self { retained: RetransmitBuffer::new(limit), peer_limit, received: 0, acknowledged: 0, excluded: 0 }
    }

    /// Resets the state to position 0 for another peer.
    pub(super) fn reset(&mut self, peer_limit: usize) {
        *self = Self::new(self.retained.limit(), peer_limit);
    }

    /// Does not count the first `excluded` bytes of the next transmission in the positions. These
    /// bytes are the server hello, which precedes the frames of the session.
    pub(super) fn exclude_prefix(&mut self, excluded: usize) {
        self.excluded = excluded;
    }

    /// Records a received frame of `length` bytes without its prefix.
    #[inline]
    pub(super) fn on_received(&mut self, header: Frame, length: usize) -> Result<(), ProtocolError> {
        if header.is_connection_scoped() { Ok(()) } else { self.skipped((PREFIX + length) as u64) }
    }

    /// Advances the received position by the number of bytes that the peer skips.
    #[inline]
    pub(super) fn skipped(&mut self, bytes: u64) -> Result<(), ProtocolError> {
        self.received = self.received.checked_add(bytes).ok_or(ProtocolError::Position)?;
        Ok(())
    }

    /// Processes an acknowledgement.
    pub(super) fn on_ack(&mut self, position: u64) -> Result<(), ProtocolError> {
        if self.retained.acknowledge(position) { Ok(()) } else { Err(ProtocolError::Position) }
    }

    /// Returns the position of the frame that is next appended to `send_buffer`.
    pub(super) fn next_position(&self, send_buffer: &SendBuffer) -> u64 {
        self.retained.end() + send_buffer.len() as u64 - self.excluded as u64
    }

    pub(super) fn record_volatile(&mut self, position: u64, length: usize) {
        self.retained.record_volatile(position, length);
    }

    /// Records the emits in `send_buffer` that newer emits replace.
    pub(super) fn record_latest(&mut self, send_buffer: &SendBuffer, messages: &[Buffered]) {
        let mut messages = messages.iter().peekable();
        let mut start = self.next_position(&SendBuffer::default());
        for (at, chunk) in send_buffer.chunks().enumerate() {
            let end = start + chunk.len() as u64;
            if let Some(message) = messages.next_if(|message| message.chunk == at) {
                self.retained.record_skippable(start..end, (!message.is_volatile).then_some(message.key));
            }
            start = end;
        }
        self.retained.sort_skippable();
    }

    /// Records that a chunk of `send_buffer` is about to have another length.
    pub(super) fn resize_chunk(&mut self, send_buffer: &SendBuffer, chunk: usize, length: usize) {
        if self.retained.has_unsent_volatile() {
            let mut chunks = send_buffer.chunks().map(|chunk| chunk.len() as u64);
            let before: u64 = chunks.by_ref().take(chunk).sum();
            let position = self.next_position(&SendBuffer::default()) + before;
            self.retained.move_after(position, chunks.next().unwrap_or(0), length as u64);
        }
    }

    /// Records that everything in `send_buffer` is being transmitted.
    #[inline]
    pub(super) fn record(&mut self, send_buffer: &mut SendBuffer) {
        let excluded = std::mem::take(&mut self.excluded);
        if excluded > 0 {
            let mut rest = SendBuffer::default();
            let mut all = send_buffer.take_all();
            let first = all.split_to(excluded);
            rest.push_exact(all.clone());
            self.retained.push(&rest);
            send_buffer.push_exact(first);
            send_buffer.push_exact(all);
        } else {
            self.retained.push(send_buffer);
        }
    }

    /// Returns `true` if an acknowledgement is due. The caller sets `alone` if it has no other
    /// frame to send.
    #[inline]
    pub(super) fn is_ack_due(&self, alone: bool) -> bool {
        let threshold = if alone {
            ACK_THRESHOLD.min(self.peer_limit / 4)
        } else {
            PIGGYBACKED_ACK_THRESHOLD.min(self.peer_limit / 16)
        };
        self.received - self.acknowledged >= threshold.max(1) as u64
    }

    /// Returns `true` if some received bytes have not been acknowledged.
    #[inline]
    pub(super) fn has_unacknowledged(&self) -> bool {
        self.received > self.acknowledged
    }

    /// Returns an acknowledgement of all received bytes.
    pub(super) fn take_ack(&mut self) -> Frame {
        self.acknowledged = self.received;
        Frame::Ack { position: self.received }
    }

    /// Releases unused memory.
    pub(super) fn shrink(&mut self) {
        self.retained.shrink();
    }

    /// Returns the position up to which the local endpoint has received all bytes.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Returns the position of the first retained byte. All later sent bytes are retained, too.
    pub(super) fn first_retained(&self) -> u64 {
        self.retained.start()
    }

    /// Returns the number of retained bytes.
    pub(super) fn retained_bytes(&self) -> usize {
        self.retained.len()
    }

    /// Returns the number of retained bytes beyond the buffer's limit. The buffer retains these
    /// bytes because they were retransmitted, and the next resumption may need them again.
    pub(super) fn excess(&self) -> usize {
        self.retained.excess()
    }

    /// Returns `true` if all frames from `position` on can be retransmitted.
    pub(super) fn can_retransmit_from(&self, position: u64) -> bool {
        self.retained.can_retransmit_from(position)
    }

    /// Resumes the session on another connection, and returns the first frames for that connection.
    /// [`RetransmitBuffer::retransmit`] describes these frames.
    pub(super) fn resume(
        &mut self,
        position: u64,
        send_buffer: &SendBuffer,
        is_pending: impl Fn(LatestKey) -> bool,
    ) -> Option<Retransmission> {
        self.excluded = 0;
        let mut retransmission = self.retained.retransmit(position, send_buffer, is_pending)?;
        // Append an acknowledgement, so that the client sends a frame after a resumption even if it
        // has no other frame to send. Any frame of the client then confirms to the server that the
        // client received the new token.
        retransmission.send_buffer.push_header_only(self.take_ack());
        Some(retransmission)
    }
}
