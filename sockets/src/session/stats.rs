//! The counters of a session.

use std::sync::atomic::{AtomicU64, Ordering};

/// The counts of messages and handlers that a session has dropped. None of these events ends the
/// session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Emits from the peer that had no handler here.
    pub unheard_emits: u64,
    /// Results from the peer for calls that were not made, or had been completed before.
    pub stray_answers: u64,
    /// Emits that the session has dropped because of the attribute of their method. With
    /// `#[emit(overflow = "…")]`, an emit to an audience is dropped if the queue of this member is
    /// full. With `#[emit(volatile)]`, an emit is dropped if the session cannot send it
    /// immediately. Emits that a newer one replaces, by `#[emit(latest)]`, are not counted.
    pub dropped_emits: u64,
    /// Emits to an audience that were not sent to this member, because the member serves the method
    /// with another signature.
    pub mismatched_emits: u64,
    /// Emits from the peer with arguments that could not be decoded.
    pub undecodable_emits: u64,
    /// Received emits with a handler that was stopped at its deadline.
    /// [`Limits::call_timeout`](crate::Limits::call_timeout) determines the deadline.
    pub timed_out_emits: u64,
    /// Handlers that were stopped before their end. Either the peer cancelled the call, or the
    /// session ended.
    pub cancelled_handlers: u64,
}

#[derive(Default)]
pub(super) struct Counters {
    unheard_emits: AtomicU64,
    stray_answers: AtomicU64,
    mismatched_emits: AtomicU64,
    undecodable_emits: AtomicU64,
    timed_out_emits: AtomicU64,
    cancelled_handlers: AtomicU64,
}

impl Counters {
    pub(super) fn count_unhandled_emit(&self) {
        self.unheard_emits.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_unknown_reply(&self) {
        self.stray_answers.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_mismatched_emit(&self) {
        self.mismatched_emits.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_undecodable_emit(&self) {
        self.undecodable_emits.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_timed_out_emit(&self) {
        self.timed_out_emits.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_cancelled_handler(&self) {
        self.cancelled_handlers.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self, dropped_emits: u64) -> Stats {
        Stats {
            unheard_emits: self.unheard_emits.load(Ordering::Relaxed),
            stray_answers: self.stray_answers.load(Ordering::Relaxed),
            dropped_emits,
            mismatched_emits: self.mismatched_emits.load(Ordering::Relaxed),
            undecodable_emits: self.undecodable_emits.load(Ordering::Relaxed),
            timed_out_emits: self.timed_out_emits.load(Ordering::Relaxed),
            cancelled_handlers: self.cancelled_handlers.load(Ordering::Relaxed),
        }
    }
}
