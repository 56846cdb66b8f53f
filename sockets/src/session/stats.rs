//! The counters of a session.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

/// The counts of messages and handlers that a session has dropped. None of these events ends the
/// session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Emits from the peer that had no handler here.
    pub unhandled_emits: u64,
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

/// The counters of a session, which most sessions never need.
#[derive(Default)]
pub(super) struct LazyCounters(OnceLock<Box<Counters>>);

#[derive(Default)]
struct Counters {
    unhandled_emits: AtomicU64,
    stray_answers: AtomicU64,
    mismatched_emits: AtomicU64,
    undecodable_emits: AtomicU64,
    timed_out_emits: AtomicU64,
    cancelled_handlers: AtomicU64,
}

impl LazyCounters {
    fn count(&self, counter: fn(&Counters) -> &AtomicU64) {
        counter(self.0.get_or_init(Box::default)).fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_unhandled_emit(&self) {
        self.count(|counters| &counters.unhandled_emits);
    }

    pub(super) fn count_unknown_reply(&self) {
        self.count(|counters| &counters.stray_answers);
    }

    pub(super) fn count_mismatched_emit(&self) {
        self.count(|counters| &counters.mismatched_emits);
    }

    pub(super) fn count_undecodable_emit(&self) {
        self.count(|counters| &counters.undecodable_emits);
    }

    pub(super) fn count_timed_out_emit(&self) {
        self.count(|counters| &counters.timed_out_emits);
    }

    pub(super) fn count_cancelled_handler(&self) {
        self.count(|counters| &counters.cancelled_handlers);
    }

    pub(super) fn read(&self, dropped_emits: u64) -> Stats {
        let read = |counter: fn(&Counters) -> &AtomicU64| {
            self.0.get().map_or(0, |counters| counter(counters).load(Ordering::Relaxed))
        };
        Stats {
            unhandled_emits: read(|counters| &counters.unhandled_emits),
            stray_answers: read(|counters| &counters.stray_answers),
            dropped_emits,
            mismatched_emits: read(|counters| &counters.mismatched_emits),
            undecodable_emits: read(|counters| &counters.undecodable_emits),
            timed_out_emits: read(|counters| &counters.timed_out_emits),
            cancelled_handlers: read(|counters| &counters.cancelled_handlers),
        }
    }
}
