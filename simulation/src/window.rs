//! The window of one direction, as `PROTOCOL.md` tells it.

use crate::engine::Setting;

pub(super) struct Window {
    most_calls: u32,
    most_bytes: u64,
    pub(super) calls: u32,
    pub(super) bytes: u64,
}

impl Window {
    /// It is the smaller of what the two sides accept.
    pub(super) fn between(ours: Setting, theirs: Setting) -> Self {
        let (most_calls, most_bytes) = (ours.calls.min(theirs.calls), ours.bytes.min(theirs.bytes).into());
        Self { most_calls, most_bytes, calls: 0, bytes: 0 }
    }

    pub(super) fn admits(&self, length: usize) -> bool {
        let fits = self.bytes + length as u64 <= self.most_bytes || self.bytes <= self.most_bytes / 2;
        self.calls < self.most_calls && fits
    }

    pub(super) fn take(&mut self, length: usize) {
        assert!(self.admits(length), "the window is overrun by {length} bytes");
        self.calls += 1;
        self.bytes += length as u64;
    }

    pub(super) fn give_back(&mut self, calls: u32, bytes: u64) {
        self.calls = self.calls.checked_sub(calls).expect("no more calls are given back than were taken");
        self.bytes = self.bytes.checked_sub(bytes).expect("no more bytes are given back than were taken");
    }

    /// Whether so much that is owed has to be paid.
    pub(super) fn is_due(&self, calls: u32, bytes: u64) -> bool {
        calls >= (self.most_calls / 4).max(1) || bytes >= (self.most_bytes / 4).max(1)
    }

    /// The most bytes that calls in flight can have, prefixes included.
    pub(super) fn most(&self, max_frame: u32) -> usize {
        let frames = self.most_bytes.max(self.most_bytes / 2 + u64::from(max_frame));
        usize::try_from(frames).expect("a small window") + 4 * self.most_calls as usize
    }
}
