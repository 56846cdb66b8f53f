//! Replies that wait for room in the outgoing queue, encoded.

use std::{
    collections::{BTreeSet, HashSet},
    sync::atomic::Ordering,
    time::Instant,
};

use sockets_proto::{CallId, ReleaseUnused, codec::SHARE_FROM};

use super::{Session, State};
use crate::clock::now;

/// The replies of a session that wait for room, and the methods whose handlers may add large ones.
#[derive(Default)]
pub(super) struct PendingReplies {
    /// The calls whose replies wait.
    calls: HashSet<CallId>,
    bytes: usize,
    /// The keys of methods that have returned large replies. Only methods that are served here are among them.
    large: BTreeSet<u64>,
    /// How many handlers are held.
    held: usize,
    /// Since when a handler was held that ended without being resumed. `None` after all held handlers have been resumed.
    unresumed_since: Option<Instant>,
}

impl State {
    /// Whether replies wait for room.
    pub(super) fn replies_wait(&self) -> bool {
        self.replies.as_ref().is_some_and(|replies| !replies.calls.is_empty())
    }

    /// Returns how many bytes of encoded replies wait.
    pub(super) fn pending_reply_bytes(&self) -> usize {
        self.replies.as_ref().map_or(0, |replies| replies.bytes)
    }

    /// Takes note of a reply's length, since further replies of its method may be as long.
    pub(super) fn record_reply(&mut self, key: u64, length: usize) {
        if length >= SHARE_FROM {
            self.replies.get_or_insert_default().large.insert(key);
        }
    }

    /// Whether the handlers of methods with large replies are held: so many bytes of replies wait, or the session ends
    /// since it would hold too much while it is detached.
    pub(super) fn is_under_pressure(&self) -> bool {
        self.pending_reply_bytes() >= self.core.queue_limit() || self.is_detached() && self.closing.is_some()
    }

    /// Forgets handlers that ended while they were held, if none is held any more.
    pub(super) fn end_pressure(&mut self) {
        if let Some(replies) = self.replies.as_deref_mut().filter(|replies| replies.held == 0) {
            replies.unresumed_since = None;
        }
    }

    /// Whether this call's handler is not to be resumed now. One that has returned is: its reply may go.
    pub(super) fn holds_handler(&self, key: u64, call: CallId) -> bool {
        let may_add = |replies: &PendingReplies| replies.large.contains(&key) && !replies.calls.contains(&call);
        self.is_under_pressure() && self.replies.as_deref().is_some_and(may_add)
    }
}

/// Counts an encoded reply that waits for room, until it is dropped.
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
        if self.session.parted.load(Ordering::Relaxed) {
            state.release_share();
        }
    }
}

/// Counts a handler that is held, until it is dropped.
///
/// A handler may end while it is held, at its deadline or since its call is cancelled. Then the next handler counts as
/// held since that one was. Otherwise a peer could hold one handler after another, each for less than the limit.
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

    /// Returns since when the handler counts as held.
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
