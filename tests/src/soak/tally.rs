//! Counts of both peers, and their checks.

use std::sync::atomic::{AtomicU64, Ordering};

use sockets::CallError;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counts of both peers.
#[derive(Debug, Default)]
#[allow(missing_docs, reason = "they say what they count")]
pub struct Tally {
    pub connections: Count,
    pub disconnections: Count,
    pub calls: Count,
    pub replies: Count,
    pub timeouts: Count,
    pub cancelled: Count,
    /// Their connection ended, and they may have been executed.
    pub lost: Count,
    /// Their connection ended, and they were not.
    pub refused: Count,
    /// The server's, of calls that have begun.
    pub executed: Count,
    pub emits: Count,
    pub emits_heard: Count,
    pub broadcasts: Count,
    pub broadcasts_heard: Count,
    pub questions: Count,
    pub asked: Count,
    pub answers: Count,
    pub no_answers: Count,
}

impl Tally {
    /// Records the outcome of a client's call.
    pub(super) fn count(&self, outcome: Result<(), CallError>) {
        match outcome {
            Ok(()) => self.replies.add(),
            Err(CallError::Timeout) => self.timeouts.add(),
            Err(CallError::Disconnected { maybe_executed: true }) => self.lost.add(),
            Err(CallError::Disconnected { maybe_executed: false }) => self.refused.add(),
            Err(other) => panic!("a call has failed: {other}"),
        }
    }

    /// Checks that every call has one outcome, and that the server has executed exactly the calls
    /// that it must or may have.
    ///
    /// # Panics
    ///
    /// If something does not add up.
    pub fn check(&self) {
        let [calls, replies, executed] = [&self.calls, &self.replies, &self.executed].map(Count::get);
        let maybe = self.timeouts.get() + self.cancelled.get() + self.lost.get();
        assert_eq!(calls, replies + maybe + self.refused.get(), "each call has one outcome: {self:?}");
        assert!(replies <= executed, "what was answered was executed: {self:?}");
        assert!(executed <= replies + maybe, "nothing was executed twice, or after it was refused: {self:?}");
        assert!(self.emits_heard.get() <= self.emits.get(), "no emit is heard twice: {self:?}");
        assert_eq!(
            self.asked.get(),
            self.answers.get() + self.no_answers.get(),
            "each member has one outcome: {self:?}"
        );
        for (what, count) in [("calls", calls), ("emits", self.emits_heard.get()), ("answers", self.answers.get())] {
            assert!(count > 0, "there were no {what}: {self:?}");
        }
    }
}
