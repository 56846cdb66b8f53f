//! Counts of both peers, and checks of these counts.

use std::sync::atomic::{AtomicU64, Ordering};

use sockets::CallError;

/// A counter.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counts of both peers.
#[derive(Debug, Default)]
#[allow(missing_docs, reason = "the names state the counted events")]
pub struct Tally {
    pub connections: Count,
    pub disconnections: Count,
    pub calls: Count,
    pub replies: Count,
    pub timeouts: Count,
    pub cancelled: Count,
    /// Calls that failed since their connection was lost. The server may have executed them.
    pub lost: Count,
    /// Calls that failed since their connection was lost. The server has not executed them.
    pub not_executed: Count,
    /// Calls with a handler that has started.
    pub executed: Count,
    pub emits: Count,
    pub emits_received: Count,
    pub broadcasts: Count,
    pub broadcasts_received: Count,
    pub broadcast_requests: Count,
    pub expected_replies: Count,
    pub member_replies: Count,
    pub missing_replies: Count,
}

impl Tally {
    /// Records the outcome of a client's call.
    pub(super) fn count(&self, outcome: Result<(), CallError>) {
        match outcome {
            Ok(()) => self.replies.add(),
            Err(CallError::Timeout) => self.timeouts.add(),
            Err(CallError::Disconnected { maybe_executed: true, .. }) => self.lost.add(),
            Err(CallError::Disconnected { maybe_executed: false, .. }) => self.not_executed.add(),
            Err(other) => panic!("a call failed: {other}"),
        }
    }

    /// Checks that every call has a single outcome. Also checks that the server has executed all
    /// calls that it must execute, and no call that it must not execute.
    ///
    /// # Panics
    ///
    /// Panics if the counts are inconsistent.
    pub fn check(&self) {
        let [calls, replies, executed] = [&self.calls, &self.replies, &self.executed].map(Count::get);
        let maybe = self.timeouts.get() + self.cancelled.get() + self.lost.get();
        assert_eq!(calls, replies + maybe + self.not_executed.get(), "each call has one outcome: {self:?}");
        assert!(replies <= executed, "each call with a reply was executed: {self:?}");
        assert!(
            executed <= replies + maybe,
            "no call was executed twice, or after it was reported as not executed: {self:?}"
        );
        assert!(self.emits_received.get() <= self.emits.get(), "no emit is received twice: {self:?}");
        assert_eq!(
            self.expected_replies.get(),
            self.member_replies.get() + self.missing_replies.get(),
            "each member has one outcome: {self:?}"
        );
        for (name, count) in
            [("calls", calls), ("emits", self.emits_received.get()), ("replies of members", self.member_replies.get())]
        {
            assert!(count > 0, "there were no {name}: {self:?}");
        }
    }
}
