//! What makes a session survive its link: each side counts what it has received, and keeps what the other may not have.

use super::{
    Violation,
    frame::{Frame, PREFIX},
    outbox::Outbox,
    retained::{Resent, Retained},
};

/// So many bytes that are not acknowledged yet are, with whatever else is written. It is less where the other side keeps less.
const WITH_OTHERS: usize = 4 * 1024;
/// So many are by themselves.
const BY_ITSELF: usize = 64 * 1024;

/// Both directions of a session that can be resumed.
#[derive(Debug)]
pub(super) struct Reliable {
    retained: Retained,
    /// How many bytes the other side keeps.
    theirs: usize,
    /// Up to where everything has been received.
    received: u64,
    /// Up to where the other side knows.
    told: u64,
    /// How much of what is written next comes before the session's first frame.
    before: usize,
}

impl Reliable {
    /// `limit` is how many bytes are kept, and `theirs` how many the other side does.
    pub(super) fn new(limit: usize, theirs: usize) -> Self {
        Self { retained: Retained::new(limit), theirs, received: 0, told: 0, before: 0 }
    }

    /// The session begins once more, with another one.
    pub(super) fn begin(&mut self, theirs: usize) {
        *self = Self::new(self.retained.limit(), theirs);
    }

    /// So many bytes are written first that are none of the session's.
    pub(super) fn begins_after(&mut self, before: usize) {
        self.before = before;
    }

    /// A frame of this length has been taken in.
    #[inline]
    pub(super) fn took(&mut self, header: Frame, length: usize) -> Result<(), Violation> {
        if header.is_about_the_link() { Ok(()) } else { self.skipped((PREFIX + length) as u64) }
    }

    /// The position moves on by so many bytes, which will not come if they have not.
    #[inline]
    pub(super) fn skipped(&mut self, bytes: u64) -> Result<(), Violation> {
        self.received = self.received.checked_add(bytes).ok_or(Violation::Position)?;
        Ok(())
    }

    /// The other side has everything up to here.
    pub(super) fn acknowledged(&mut self, position: u64) -> Result<(), Violation> {
        if self.retained.acknowledge(position) { Ok(()) } else { Err(Violation::Position) }
    }

    /// The position of what is going to be queued next.
    pub(super) fn next_position(&self, outbox: &Outbox) -> u64 {
        self.retained.end() + (outbox.len() - self.before) as u64
    }

    pub(super) fn is_volatile(&mut self, position: u64, length: usize) {
        self.retained.is_volatile(position, length);
    }

    /// All that is in `outbox` is being written.
    #[inline]
    pub(super) fn keep(&mut self, outbox: &mut Outbox) {
        let before = std::mem::take(&mut self.before);
        if before > 0 {
            let mut rest = Outbox::default();
            let mut all = outbox.take_all();
            let first = all.split_to(before);
            rest.push_once(all.clone());
            self.retained.push(&rest);
            outbox.push_once(first);
            outbox.push_once(all);
        } else {
            self.retained.push(outbox);
        }
    }

    /// Whether it is time for an acknowledgement; `alone` says that nothing else is written.
    #[inline]
    pub(super) fn is_due(&self, alone: bool) -> bool {
        let enough = if alone { BY_ITSELF.min(self.theirs / 4) } else { WITH_OTHERS.min(self.theirs / 16) };
        self.received - self.told >= enough.max(1) as u64
    }

    /// Whether anything has been received that is not acknowledged.
    #[inline]
    pub(super) fn is_owed(&self) -> bool {
        self.received > self.told
    }

    /// The acknowledgement of all that has been received.
    pub(super) fn tell(&mut self) -> Frame {
        self.told = self.received;
        Frame::Acknowledged { position: self.received }
    }

    /// Nothing has been said for a while.
    pub(super) fn rest(&mut self) {
        self.retained.rest();
    }

    /// Up to where everything has been received.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// From where on everything that has been sent is kept.
    pub(super) fn kept_from(&self) -> u64 {
        self.retained.start()
    }

    /// How many bytes are kept.
    pub(super) fn kept(&self) -> usize {
        self.retained.len()
    }

    /// How many bytes are kept beyond the limit, since they have been sent again and may have to be once more.
    pub(super) fn excess(&self) -> usize {
        self.retained.excess()
    }

    /// Whether one who has everything up to here can be sent the rest.
    pub(super) fn reaches(&self, position: u64) -> bool {
        self.retained.reaches(position)
    }

    /// What another link has to carry first: see [`Retained::resend`].
    pub(super) fn resume(&mut self, position: u64, outbox: &Outbox) -> Option<Resent> {
        self.before = 0;
        let mut resent = self.retained.resend(position, outbox)?;
        // One who has been told of a new token has to be heard, and this is what it says at least.
        resent.outbox.push_bare(self.tell());
        Some(resent)
    }
}
