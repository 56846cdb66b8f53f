//! Flow control, which limits the number of calls in flight and the number of their bytes.

use serde::{Deserialize, Serialize};

use super::ProtocolError;

/// The limits of the calls in flight in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSize {
    /// The number of requests and emits.
    pub calls: u32,
    /// The number of bytes of the frames of these calls, without prefixes.
    pub bytes: u32,
}

impl WindowSize {
    /// Returns the smaller number of calls and the smaller number of bytes. The result applies to
    /// both directions of a session, so that neither peer has to queue more than its own limit.
    pub fn min(self, other: Self) -> Self {
        Self { calls: self.calls.min(other.calls), bytes: self.bytes.min(other.bytes) }
    }

    /// Returns `true` if a frame fits in addition to the calls in flight.
    ///
    /// If at most half of the bytes are in use, a frame of any legal size fits. Without this rule,
    /// an endpoint could never send a frame larger than the window. A large frame never waits for
    /// withheld credit, because the receiver withholds credit for less than a quarter of the window
    /// (see [`RecvWindow::take_credit`]).
    #[inline]
    fn can_fit(self, calls: u32, bytes: u64, length: usize) -> bool {
        let limit = u64::from(self.bytes);
        calls < self.calls && (bytes + length as u64 <= limit || bytes <= limit / 2)
    }
}

/// The window in the accounts of the sender.
#[derive(Debug)]
pub(super) struct SendWindow {
    size: WindowSize,
    calls: u32,
    bytes: u64,
    /// The part of the window that emits use. Credits can return only this part.
    emits: u32,
    emit_bytes: u64,
}

impl SendWindow {
    pub(super) fn new(size: WindowSize) -> Self {
        Self { size, calls: 0, bytes: 0, emits: 0, emit_bytes: 0 }
    }

    /// Returns the limit of the bytes in flight. A single frame may be larger than the limit.
    #[inline]
    pub(super) fn size_bytes(&self) -> usize {
        self.size.bytes as usize
    }

    #[inline]
    pub(super) fn can_send(&self, length: usize) -> bool {
        self.size.can_fit(self.calls, self.bytes, length)
    }

    /// Returns `true` if `count` frames of `bytes` bytes in total can be sent one after the other.
    #[inline]
    pub(super) fn can_send_all(&self, count: usize, bytes: usize) -> bool {
        self.calls as usize + count <= self.size.calls as usize
            && self.bytes + bytes as u64 <= u64::from(self.size.bytes)
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

    /// Accounts for `count` emits. The caller has checked before that
    /// [`can_send_all`](Self::can_send_all) returns `true`.
    #[inline]
    pub(super) fn consume_emits(&mut self, count: usize, bytes: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.calls += count;
        self.bytes += bytes as u64;
        self.emits += count;
        self.emit_bytes += bytes as u64;
    }

    /// Replaces an emit of `old` bytes by an emit of `new` bytes. If that exceeds the window, changes
    /// nothing and returns `false`. The window then fits all emits that were sent after this emit.
    pub(super) fn resize_emit(&mut self, old: usize, new: usize) -> bool {
        let fits = new <= old || self.bytes + (new - old) as u64 <= u64::from(self.size.bytes);
        if fits {
            self.release_emit(old);
            self.consume_emit(new);
        }
        fits
    }

    /// Releases the share of an emit that is never sent, or that was lost.
    pub(super) fn release_emit(&mut self, length: usize) {
        // Only a peer that has sent too much credit causes an error, and it would harm only itself.
        let _ = self.credit(1, length as u64);
    }

    /// Releases the share of a request after the reply has arrived.
    #[inline]
    pub(super) fn release_request(&mut self, length: usize) {
        self.calls -= 1;
        self.bytes -= length as u64;
    }

    /// Processes a credit that the peer returned for ended emits.
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

/// The receive window. The receiver returns the shares of emits in batches, as credits, because
/// emits have no reply that could return them.
#[derive(Debug)]
pub(super) struct RecvWindow {
    size: WindowSize,
    calls: u32,
    bytes: u64,
    unreturned_calls: u32,
    unreturned_bytes: u64,
}

impl RecvWindow {
    pub(super) fn new(size: WindowSize) -> Self {
        Self { size, calls: 0, bytes: 0, unreturned_calls: 0, unreturned_bytes: 0 }
    }

    #[inline]
    pub(super) fn receive(&mut self, length: usize) -> Result<(), ProtocolError> {
        if !self.size.can_fit(self.calls, self.bytes, length) {
            return Err(ProtocolError::WindowOverrun);
        }
        self.calls += 1;
        self.bytes += length as u64;
        Ok(())
    }

    /// Releases the shares of `count` requests. Their replies return the shares to the sender, so the
    /// receiver sends no credit for them.
    #[inline]
    pub(super) fn release_requests(&mut self, count: usize, bytes: u64) {
        self.calls -= u32::try_from(count).unwrap_or(u32::MAX);
        self.bytes -= bytes;
    }

    /// Records that `count` emits ended. The receiver has to return their share by a credit.
    #[inline]
    pub(super) fn release_emits(&mut self, count: u32, bytes: u64) {
        self.unreturned_calls += count;
        self.unreturned_bytes += bytes;
    }

    /// Returns the credit to send, or `None` if the credit is less than a quarter of the window.
    /// Because of this threshold, the receiver need not send a frame for each emit.
    #[inline]
    pub(super) fn take_credit(&mut self) -> Option<(u32, u64)> {
        let due = self.unreturned_calls >= (self.size.calls / 4).max(1)
            || self.unreturned_bytes >= u64::from(self.size.bytes / 4).max(1);
        if self.unreturned_calls == 0 || !due {
            return None;
        }
        let (calls, bytes) = (std::mem::take(&mut self.unreturned_calls), std::mem::take(&mut self.unreturned_bytes));
        self.calls -= calls;
        self.bytes -= bytes;
        Some((calls, bytes))
    }

    /// Returns the number of bytes of received calls and emits that have not ended.
    pub(super) fn bytes_in_flight(&self) -> usize {
        usize::try_from(self.bytes - self.unreturned_bytes).unwrap_or(usize::MAX)
    }

    /// Returns the number of received calls and emits that have not ended.
    pub(super) fn in_flight(&self) -> u32 {
        self.calls - self.unreturned_calls
    }
}
