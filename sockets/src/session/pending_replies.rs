//! Encoded replies that wait for capacity in the send queue.

use std::{
    collections::{BTreeSet, HashSet},
    sync::atomic::Ordering,
    time::Instant,
};

use sockets_proto::{CallId, ReleaseUnused, codec::SHARE_FROM};

use super::{Session, State};
use crate::clock::now;

/// The replies of a session that wait for capacity, and the methods that may return further
/// large replies.
#[derive(Default)]
pub(super) struct PendingReplies {
    /// The calls of the replies that wait.
    calls: HashSet<CallId>,
    bytes: usize,
    /// The keys of methods that have returned large replies. Only methods that are served here are
    /// among them.
    large: BTreeSet<u64>,
    /// The number of held handlers.
    held: usize,
    /// The time since which handlers are held, if a held handler has ended without being resumed.
    /// `None` after all held handlers have been resumed.
    unresumed_since: Option<Instant>,
}

impl State {
    /// Returns `true` if replies wait for capacity.
    pub(super) fn has_pending_replies(&self) -> bool {
        self.replies.as_ref().is_some_and(|replies| !replies.calls.is_empty())
    }

    /// Returns the number of bytes of the replies that wait.
    pub(super) fn pending_reply_bytes(&self) -> usize {
        self.replies.as_ref().map_or(0, |replies| replies.bytes)
    }

    /// Records the length of a reply, since further replies of its method may be as long.
    pub(super) fn record_reply(&mut self, key: u64, length: usize) {
        if length >= SHARE_FROM {
            self.replies.get_or_insert_default().large.insert(key);
        }
    }

    /// Returns `true` if the handlers of methods with large replies are held. Either a full queue
    /// of replies waits, or the session ends since it would hold too many bytes while it is
    /// detached.
    pub(super) fn is_under_pressure(&self) -> bool {
        self.pending_reply_bytes() >= self.core.queue_limit() || self.is_detached() && self.closing.is_some()
    }

    /// Resets the time since which handlers are held, if no handler is held.
    pub(super) fn end_pressure(&mut self) {
        if let Some(replies) = self.replies.as_deref_mut().filter(|replies| replies.held == 0) {
            replies.unresumed_since = None;
        }
    }

    /// Returns `true` if the handler of this call must not be resumed now. If its reply already
    /// waits, it may be resumed, to try to queue it.
    pub(super) fn holds_handler(&self, key: u64, call: CallId) -> bool {
        let may_add = |replies: &PendingReplies| replies.large.contains(&key) && !replies.calls.contains(&call);
        self.is_under_pressure() && self.replies.as_deref().is_some_and(may_add)
    }
}

/// Counts an encoded reply that waits for capacity, until it is dropped.
pub(super) struct PendingReply<'a> {
    session: &'a Session,
    call: CallId,
    bytes: usize,
}

impl<'a> PendingReply<'a> {
    pub(super) fn new(session: &'a Session, call: CallId, bytes: usize) -> Self {
        let mut state = session.state.lock();
        let replies = state.replies.get_or_insert_default();
        replies.calls.insert(call);
        replies.bytes += bytes;
        session.update_pressure(&mut state);
        state.update_share();
        Self { session, call, bytes }
    }
}

impl Drop for PendingReply<'_> {
    fn drop(&mut self) {
        let mut state = self.session.state.lock();
        if let Some(replies) = &mut state.replies {
            replies.calls.remove(&self.call);
            replies.calls.release_unused();
            replies.bytes -= self.bytes;
        }
        self.session.update_pressure(&mut state);
        if self.session.is_released.load(Ordering::Relaxed) {
            state.release_share();
        }
    }
}

/// Counts a handler that is held, until it is dropped.
///
/// A handler may end while it is held, at its deadline or since its call is cancelled. Then the
/// next held handler takes over the time at which this handler was first held. Otherwise a peer
/// could hold one handler after another, each for less than the limit.
pub(super) struct HeldHandler<'a> {
    session: &'a Session,
    since: Instant,
    is_resumed: bool,
}

impl<'a> HeldHandler<'a> {
    pub(super) fn new(session: &'a Session) -> Self {
        let mut state = session.state.lock();
        let replies = state.replies.get_or_insert_default();
        replies.held += 1;
        let since = replies.unresumed_since.unwrap_or_else(now);
        Self { session, since, is_resumed: false }
    }

    /// Returns the time since which the handler counts as held.
    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// Records that the handler has been resumed.
    pub(super) fn resume(&mut self) {
        self.is_resumed = true;
    }
}

impl Drop for HeldHandler<'_> {
    fn drop(&mut self) {
        let mut state = self.session.state.lock();
        let is_under_pressure = state.is_under_pressure();
        let Some(replies) = &mut state.replies else { return };
        replies.held -= 1;
        if !self.is_resumed {
            replies.unresumed_since.get_or_insert(self.since);
        }
        if replies.held == 0 && !is_under_pressure {
            replies.unresumed_since = None;
        }
    }
}
