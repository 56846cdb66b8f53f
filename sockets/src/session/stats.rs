//! What a session counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// What has been dropped on a connection because it was not taken. None of it harms the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Emits from the other side to which nobody here listened.
    pub unheard_emits: u64,
    /// Answers from the other side to calls that nobody made, or that had been answered before.
    pub stray_answers: u64,
    /// Emits that were dropped by the policy of their method: those to an audience for this member of it, since its queue was
    /// full (`#[emit(overflow = "…")]`), and those that could not be sent at once (`#[emit(volatile)]`).
    pub dropped_emits: u64,
    /// Emits to an audience that were not sent to this member of it, which serves the method with another signature.
    pub mismatched_emits: u64,
    /// Emits from the peer whose arguments could not be decoded.
    pub undecodable_emits: u64,
    /// Emits from the peer whose handlers were stopped at their deadline
    /// ([`Limits::call_timeout`](crate::Limits::call_timeout)).
    pub timed_out_emits: u64,
    /// Handlers that were stopped before their end, since the peer cancelled the call or the session ended.
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
