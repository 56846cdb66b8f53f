//! Flow control: how many calls, and how many bytes of them, may be in flight.

use serde::{Deserialize, Serialize};

use super::ProtocolError;

/// The calls and bytes that may be in flight in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSize {
    /// The number of requests and emits.
    pub calls: u32,
    /// The bytes of their frames, without prefixes.
    pub bytes: u32,
}

impl WindowSize {
    /// Returns the smaller grant of two sides, which applies to both directions. So neither side has to queue more than
    /// its own limit, however much its peer accepts.
    pub fn min(self, other: Self) -> Self {
        Self { calls: self.calls.min(other.calls), bytes: self.bytes.min(other.bytes) }
    }

    /// Whether a frame may join what is in flight. A frame of any legal size may when at most half of the bytes are
    /// in use, so that one larger than the window can be sent at all; and since less than a quarter of the window is
    /// ever owed (see [`RecvWindow::credit`]), it does not wait for a credit that is held back.
    #[inline]
    fn can_fit(self, calls: u32, bytes: u64, length: usize) -> bool {
        let granted = u64::from(self.bytes);
        calls < self.calls && (bytes + length as u64 <= granted || bytes <= granted / 2)
    }
}

/// The sender's account.
#[derive(Debug)]
pub(super) struct SendWindow {
    grant: WindowSize,
    calls: u32,
    bytes: u64,
    /// What emits have of it: they alone are given back by credits.
    emits: u32,
    emit_bytes: u64,
}

impl SendWindow {
    pub(super) fn new(grant: WindowSize) -> Self {
        Self { grant, calls: 0, bytes: 0, emits: 0, emit_bytes: 0 }
    }

    /// How many bytes may be in flight, or one larger frame.
    #[inline]
    pub(super) fn size_bytes(&self) -> usize {
        self.grant.bytes as usize
    }

    #[inline]
    pub(super) fn can_send(&self, length: usize) -> bool {
        self.grant.can_fit(self.calls, self.bytes, length)
    }

    /// Whether so many frames, with so many bytes in all, may be sent one behind the other.
    #[inline]
    pub(super) fn can_send_all(&self, count: usize, bytes: usize) -> bool {
        self.calls as usize + count <= self.grant.calls as usize
            && self.bytes + bytes as u64 <= u64::from(self.grant.bytes)
    }

    #[inline]
    pub(super) fn consume_request(&mut self, length: usize) {
        self.calls += 1;
        self.bytes += length as u64;
    }

    #[inline]
    pub(super) fn consume_emit(&mut self, length: usize) {
        self.consume_emits(1, length);
    }

    /// Takes the place of so many emits, which [`admits_all`](Self::can_send_all) has room for.
    #[inline]
    pub(super) fn consume_emits(&mut self, count: usize, bytes: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.calls += count;
        self.bytes += bytes as u64;
        self.emits += count;
        self.emit_bytes += bytes as u64;
    }

    /// The request of this length has been answered.
    #[inline]
    pub(super) fn release_request(&mut self, length: usize) {
        self.calls -= 1;
        self.bytes -= length as u64;
    }

    /// Emits have ended.
    pub(super) fn credit(&mut self, calls: u32, bytes: u64) -> Result<(), ProtocolError> {
        if calls > self.emits || bytes > self.emit_bytes {
            return Err(ProtocolError::CreditOverrun);
        }
        self.emits -= calls;
        self.emit_bytes -= bytes;
        self.calls -= calls;
        self.bytes -= bytes;
        Ok(())
    }
}

/// The receiver's account. What ended without an answer to tell of it is owed, and given back in lots.
#[derive(Debug)]
pub(super) struct RecvWindow {
    grant: WindowSize,
    calls: u32,
    bytes: u64,
    owed_calls: u32,
    owed_bytes: u64,
}

impl RecvWindow {
    pub(super) fn new(grant: WindowSize) -> Self {
        Self { grant, calls: 0, bytes: 0, owed_calls: 0, owed_bytes: 0 }
    }

    #[inline]
    pub(super) fn receive(&mut self, length: usize) -> Result<(), ProtocolError> {
        if !self.grant.can_fit(self.calls, self.bytes, length) {
            return Err(ProtocolError::WindowOverrun);
        }
        self.calls += 1;
        self.bytes += length as u64;
        Ok(())
    }

    /// A request was answered: the answer itself gives its place back.
    #[inline]
    pub(super) fn release_request(&mut self, length: usize) {
        self.calls -= 1;
        self.bytes -= length as u64;
    }

    /// The handler of an emit ended: its place is owed.
    #[inline]
    pub(super) fn release_emit(&mut self, length: usize) {
        self.owed_calls += 1;
        self.owed_bytes += length as u64;
    }

    /// What to give back now, once it is a quarter of the window: a lone emit costs no frame in return.
    #[inline]
    pub(super) fn take_credit(&mut self) -> Option<(u32, u64)> {
        let due = self.owed_calls >= (self.grant.calls / 4).max(1)
            || self.owed_bytes >= u64::from(self.grant.bytes / 4).max(1);
        if self.owed_calls == 0 || !due {
            return None;
        }
        let (calls, bytes) = (std::mem::take(&mut self.owed_calls), std::mem::take(&mut self.owed_bytes));
        self.calls -= calls;
        self.bytes -= bytes;
        Some((calls, bytes))
    }

    /// Returns the bytes of received calls and emits that have not ended.
    pub(super) fn bytes_in_flight(&self) -> usize {
        usize::try_from(self.bytes - self.owed_bytes).unwrap_or(usize::MAX)
    }

    /// How many received calls and emits have not ended.
    pub(super) fn in_flight(&self) -> u32 {
        self.calls - self.owed_calls
    }
}
