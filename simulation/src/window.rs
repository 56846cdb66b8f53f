//! A model of the window in one direction. The model is written from `PROTOCOL.md`.

use crate::engine::Limits;

pub(super) struct Window {
    max_calls: u32,
    max_bytes_in_flight: u64,
    pub(super) calls: u32,
    pub(super) bytes: u64,
}

impl Window {
    /// Creates a window from the smaller limits of both endpoints.
    pub(super) fn between(local: Limits, peer: Limits) -> Self {
        let (max_calls, max_bytes_in_flight) = (local.calls.min(peer.calls), local.bytes.min(peer.bytes).into());
        Self { max_calls, max_bytes_in_flight, calls: 0, bytes: 0 }
    }

    pub(super) fn can_fit(&self, length: usize) -> bool {
        let fits = self.bytes + length as u64 <= self.max_bytes_in_flight || self.bytes <= self.max_bytes_in_flight / 2;
        self.calls < self.max_calls && fits
    }

    /// Returns `true` if the bytes in flight and these bytes do not exceed the window.
    pub(super) fn fits_exactly(&self, bytes: usize) -> bool {
        self.bytes + bytes as u64 <= self.max_bytes_in_flight
    }

    pub(super) fn consume(&mut self, length: usize) {
        assert!(self.can_fit(length), "the window is overrun by {length} bytes");
        self.calls += 1;
        self.bytes += length as u64;
    }

    pub(super) fn release(&mut self, calls: u32, bytes: u64) {
        self.calls = self.calls.checked_sub(calls).expect("at most the used calls are returned");
        self.bytes = self.bytes.checked_sub(bytes).expect("at most the used bytes are returned");
    }

    /// Returns `true` if the receiver has to return unreturned shares of this size.
    pub(super) fn is_credit_due(&self, calls: u32, bytes: u64) -> bool {
        calls >= (self.max_calls / 4).max(1) || bytes >= (self.max_bytes_in_flight / 4).max(1)
    }

    /// Returns the maximum number of bytes of calls in flight, including prefixes.
    pub(super) fn max_bytes(&self, max_frame: u32) -> usize {
        let frames = self.max_bytes_in_flight.max(self.max_bytes_in_flight / 2 + u64::from(max_frame));
        usize::try_from(frames).expect("a small window") + 4 * self.max_calls as usize
    }
}
