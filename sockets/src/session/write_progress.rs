//! How the connection takes bytes, for tasks that do not hold the writer.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use crate::{clock::now, lock::Mutex};

/// How the connection takes bytes.
///
/// The holder of the writer records it here. A reader must not lock the writer: a concurrent [`flush`] leaves its
/// messages to the holder of that lock, which a reader would not write.
///
/// [`flush`]: super::Session::flush
#[derive(Default)]
pub(super) struct WriteProgress {
    /// The connection accepts nothing, or there is none. Only the driver tries again.
    is_blocked: AtomicBool,
    times: Mutex<Times>,
}

#[derive(Default)]
struct Times {
    blocked: Option<Blocked>,
    /// When the connection last accepted everything after it had been blocked.
    unblocked: Option<Instant>,
}

/// Bytes wait, and the connection accepts none.
struct Blocked {
    since: Instant,
    /// How many bytes the connection had accepted then, in total.
    accepted: u64,
}

impl WriteProgress {
    #[inline]
    pub(super) fn is_blocked(&self) -> bool {
        self.is_blocked.load(Ordering::Acquire)
    }

    /// Records that the connection has accepted all bytes.
    #[inline]
    pub(super) fn record_ready(&self) {
        if self.is_blocked() {
            self.unblock();
        }
    }

    #[cold]
    fn unblock(&self) {
        *self.times.lock() = Times { blocked: None, unblocked: Some(now()) };
        self.is_blocked.store(false, Ordering::Release);
    }

    /// Records that the connection accepts no more bytes after `accepted` in total. Returns `true` if it was not blocked
    /// before.
    pub(super) fn record_pending(&self, accepted: u64) -> bool {
        let mut times = self.times.lock();
        if times.blocked.as_ref().is_none_or(|blocked| blocked.accepted != accepted) {
            times.blocked = Some(Blocked { since: now(), accepted });
        }
        drop(times);
        !self.is_blocked.swap(true, Ordering::AcqRel)
    }

    /// Records that there is no connection to write to.
    pub(super) fn record_closed(&self) {
        *self.times.lock() = Times::default();
        self.is_blocked.store(true, Ordering::Release);
    }

    /// Records that there is another connection.
    pub(super) fn record_opened(&self) {
        self.is_blocked.store(false, Ordering::Release);
    }

    /// Returns when the connection last accepted bytes, if it is blocked.
    pub(super) fn blocked_since(&self) -> Option<Instant> {
        self.times.lock().blocked.as_ref().map(|blocked| blocked.since)
    }

    /// Returns when the connection last accepted bytes, if it has ever been blocked.
    pub(super) fn last_taken(&self) -> Option<Instant> {
        let times = self.times.lock();
        times.blocked.as_ref().map(|blocked| blocked.since).or(times.unblocked)
    }
}
