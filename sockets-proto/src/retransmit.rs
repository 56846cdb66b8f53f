//! What makes a session survive its link: each side counts what it has received, and keeps what the other may not have.

use super::{
    ProtocolError,
    frame::{Frame, PREFIX},
    retransmit_buffer::{Retransmission, RetransmitBuffer},
    send_buffer::SendBuffer,
};

/// So many bytes that are not acknowledged yet are, with whatever else is written. It is less where the other side keeps less.
const PIGGYBACKED_ACK_THRESHOLD: usize = 4 * 1024;
/// So many are by themselves.
const ACK_THRESHOLD: usize = 64 * 1024;

/// Both directions of a session that can be resumed.
#[derive(Debug)]
pub(super) struct RetransmitState {
    retained: RetransmitBuffer,
    /// How many bytes the other side keeps.
    peer_limit: usize,
    /// Up to where everything has been received.
    received: u64,
    /// Up to where the other side knows.
    on_ack: u64,
    /// How much of what is written next comes before the session's first frame.
    before: usize,
}

impl RetransmitState {
    /// `limit` is how many bytes are kept, and `theirs` how many the other side does.
    pub(super) fn new(limit: usize, theirs: usize) -> Self {
        Self { retained: RetransmitBuffer::new(limit), peer_limit: theirs, received: 0, on_ack: 0, before: 0 }
    }

    /// The session begins once more, with another one.
    pub(super) fn reset(&mut self, theirs: usize) {
        *self = Self::new(self.retained.limit(), theirs);
    }

    /// So many bytes are written first that are none of the session's.
    pub(super) fn exclude_prefix(&mut self, before: usize) {
        self.before = before;
    }

    /// A frame of this length has been taken in.
    #[inline]
    pub(super) fn on_received(&mut self, header: Frame, length: usize) -> Result<(), ProtocolError> {
        if header.is_connection_scoped() { Ok(()) } else { self.skipped((PREFIX + length) as u64) }
    }

    /// The position moves on by so many bytes, which will not come if they have not.
    #[inline]
    pub(super) fn skipped(&mut self, bytes: u64) -> Result<(), ProtocolError> {
        self.received = self.received.checked_add(bytes).ok_or(ProtocolError::Position)?;
        Ok(())
    }

    /// The other side has everything up to here.
    pub(super) fn on_ack(&mut self, position: u64) -> Result<(), ProtocolError> {
        if self.retained.acknowledge(position) { Ok(()) } else { Err(ProtocolError::Position) }
    }

    /// The position of what is going to be queued next.
    pub(super) fn next_position(&self, outbox: &SendBuffer) -> u64 {
        self.retained.end() + (outbox.len() - self.before) as u64
    }

    pub(super) fn record_volatile(&mut self, position: u64, length: usize) {
        self.retained.record_volatile(position, length);
    }

    /// All that is in `outbox` is being written.
    #[inline]
    pub(super) fn record(&mut self, outbox: &mut SendBuffer) {
        let before = std::mem::take(&mut self.before);
        if before > 0 {
            let mut rest = SendBuffer::default();
            let mut all = outbox.take_all();
            let first = all.split_to(before);
            rest.push_exact(all.clone());
            self.retained.push(&rest);
            outbox.push_exact(first);
            outbox.push_exact(all);
        } else {
            self.retained.push(outbox);
        }
    }

    /// Whether it is time for an acknowledgement; `alone` says that nothing else is written.
    #[inline]
    pub(super) fn is_ack_due(&self, alone: bool) -> bool {
        let enough = if alone {
            ACK_THRESHOLD.min(self.peer_limit / 4)
        } else {
            PIGGYBACKED_ACK_THRESHOLD.min(self.peer_limit / 16)
        };
        self.received - self.on_ack >= enough.max(1) as u64
    }

    /// Whether anything has been received that is not acknowledged.
    #[inline]
    pub(super) fn has_unacknowledged(&self) -> bool {
        self.received > self.on_ack
    }

    /// The acknowledgement of all that has been received.
    pub(super) fn take_ack(&mut self) -> Frame {
        self.on_ack = self.received;
        Frame::Ack { position: self.received }
    }

    /// Nothing has been said for a while.
    pub(super) fn shrink(&mut self) {
        self.retained.shrink();
    }

    /// Up to where everything has been received.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// From where on everything that has been sent is kept.
    pub(super) fn first_retained(&self) -> u64 {
        self.retained.start()
    }

    /// How many bytes are kept.
    pub(super) fn retained_bytes(&self) -> usize {
        self.retained.len()
    }

    /// How many bytes are kept beyond the limit, since they have been sent again and may have to be once more.
    pub(super) fn excess(&self) -> usize {
        self.retained.excess()
    }

    /// Whether one who has everything up to here can be sent the rest.
    pub(super) fn can_retransmit_from(&self, position: u64) -> bool {
        self.retained.can_retransmit_from(position)
    }

    /// What another link has to carry first: see [`RetransmitBuffer::resend`].
    pub(super) fn resume(&mut self, position: u64, outbox: &SendBuffer) -> Option<Retransmission> {
        self.before = 0;
        let mut resent = self.retained.retransmit(position, outbox)?;
        // One who has been told of a new token has to be heard, and this is what it says at least.
        resent.outbox.push_header_only(self.take_ack());
        Some(resent)
    }
}
