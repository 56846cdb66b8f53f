//! The progress of writes, for tasks that do not hold the writer.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use crate::{clock::now, lock::Mutex};

/// The progress of writes to the connection.
///
/// The task that holds the writer's lock records the progress here. Other tasks read the progress
/// here, and must not lock the writer to read it. If such a task locked the writer, a concurrent
/// [`flush`] would leave its messages to this task, which would not write them.
///
/// [`flush`]: super::Session::flush
#[derive(Default)]
pub(super) struct WriteProgress {
    /// `true` if the connection accepts no bytes, or if there is no connection. While this flag is
    /// `true`, only the driver tries to write again.
    is_blocked: AtomicBool,
    times: Mutex<Times>,
}

#[derive(Default)]
struct Times {
    blocked: Option<Blocked>,
    /// The time at which a blocked connection last accepted all bytes.
    unblocked: Option<Instant>,
}

/// A connection that accepts none of the waiting bytes.
struct Blocked {
    since: Instant,
    /// The total number of bytes that the connection had accepted at the time `since`.
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

    /// Records that the connection accepts no more bytes after it has accepted `accepted` bytes in
    /// total. Returns `true` if the connection was not blocked before.
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

    /// Returns the time at which the connection last accepted bytes. Returns `None` if the
    /// connection is not blocked.
    pub(super) fn blocked_since(&self) -> Option<Instant> {
        self.times.lock().blocked.as_ref().map(|blocked| blocked.since)
    }

    /// Returns the time at which the connection last accepted bytes. Returns `None` if the
    /// connection has never been blocked.
    pub(super) fn last_accepted(&self) -> Option<Instant> {
        let times = self.times.lock();
        times.blocked.as_ref().map(|blocked| blocked.since).or(times.unblocked)
    }
}
