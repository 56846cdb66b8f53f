//! Encoded replies that wait for capacity in the send queue, and handlers that are held meanwhile.

use std::{
    collections::{BTreeSet, HashSet},
    sync::atomic::Ordering,
    time::Instant,
};

use sockets_proto::{CallId, ReleaseUnused, codec::SHARE_FROM};

use super::Session;
use crate::clock::now;

/// The replies of a session that wait for capacity, and the keys of methods with large replies. The
/// keys are recorded because further calls of these methods may return large replies, too.
#[derive(Default)]
pub(super) struct PendingReplies {
    /// The content. It is `None` until a reply has waited or has been large.
    content: Option<Box<Content>>,
}

#[derive(Default)]
struct Content {
    /// The calls of the replies that wait.
    calls: HashSet<CallId>,
    bytes: usize,
    /// The keys of methods that have returned large replies. Their number is limited, since only
    /// methods that are served here can return replies.
    large: BTreeSet<u64>,
    /// The number of held handlers.
    held: usize,
    /// The time since which the next held handler counts as held. It is set if a held handler ends
    /// without being resumed. It is `None` after all held handlers have been resumed.
    unresumed_since: Option<Instant>,
}

impl PendingReplies {
    /// Returns `true` if no reply waits.
    pub(super) fn is_empty(&self) -> bool {
        self.content.as_ref().is_none_or(|content| content.calls.is_empty())
    }

    /// Returns the number of bytes of the replies that wait.
    pub(super) fn bytes(&self) -> usize {
        self.content.as_ref().map_or(0, |content| content.bytes)
    }

    /// Records the length of a reply, since further replies of its method may be as long.
    pub(super) fn record_length(&mut self, key: u64, length: usize) {
        if length >= SHARE_FROM {
            self.content.get_or_insert_default().large.insert(key);
        }
    }

    /// Counts a reply that waits.
    pub(super) fn add(&mut self, call: CallId, bytes: usize) {
        let content = self.content.get_or_insert_default();
        content.calls.insert(call);
        content.bytes += bytes;
    }

    /// Stops counting a reply that waited.
    pub(super) fn remove(&mut self, call: CallId, bytes: usize) {
        if let Some(content) = &mut self.content {
            content.calls.remove(&call);
            content.calls.release_unused();
            content.bytes -= bytes;
        }
    }

    /// Returns `true` if the handler of this call may add a large reply. Returns `false` if its
    /// reply already waits, because the handler may then be resumed to queue that reply.
    pub(super) fn may_grow(&self, key: u64, call: CallId) -> bool {
        self.content.as_deref().is_some_and(|content| content.large.contains(&key) && !content.calls.contains(&call))
    }

    /// Counts a held handler. Returns the time since which it counts as held.
    pub(super) fn hold(&mut self) -> Instant {
        let content = self.content.get_or_insert_default();
        content.held += 1;
        content.unresumed_since.unwrap_or_else(now)
    }

    /// Stops counting a handler that was held. If the handler has not been resumed, the next held
    /// handler counts as held since the same time.
    pub(super) fn release(&mut self, since: Instant, is_resumed: bool, is_under_pressure: bool) {
        let Some(content) = &mut self.content else { return };
        content.held -= 1;
        if !is_resumed {
            content.unresumed_since.get_or_insert(since);
        }
        if content.held == 0 && !is_under_pressure {
            content.unresumed_since = None;
        }
    }

    /// Resets the time since which handlers are held, if no handler is held.
    pub(super) fn end_pressure(&mut self) {
        if let Some(content) = self.content.as_deref_mut().filter(|content| content.held == 0) {
            content.unresumed_since = None;
        }
    }
}

/// Counts an encoded reply that waits for capacity, until this value is dropped.
pub(super) struct PendingReply<'a> {
    session: &'a Session,
    call: CallId,
    bytes: usize,
}

impl<'a> PendingReply<'a> {
    pub(super) fn new(session: &'a Session, call: CallId, bytes: usize) -> Self {
        let mut state = session.state.lock();
        state.replies.add(call, bytes);
        session.update_pressure(&mut state);
        state.update_share();
        Self { session, call, bytes }
    }
}

impl Drop for PendingReply<'_> {
    fn drop(&mut self) {
        let mut state = self.session.state.lock();
        state.replies.remove(self.call, self.bytes);
        self.session.update_pressure(&mut state);
        if self.session.is_released.load(Ordering::Relaxed) {
            let bytes = state.replies.bytes();
            state.reattach.release_share(bytes);
        }
    }
}

/// Counts a held handler until this value is dropped.
///
/// A handler may end while it is held, because of its deadline or because its caller cancels the
/// call. Then the next held handler counts as held since the time at which this handler was first
/// held. Otherwise a peer could hold handlers in sequence, each for less than the limit.
pub(super) struct HeldHandler<'a> {
    session: &'a Session,
    since: Instant,
    is_resumed: bool,
}

impl<'a> HeldHandler<'a> {
    pub(super) fn new(session: &'a Session) -> Self {
        let since = session.state.lock().replies.hold();
        Self { session, since, is_resumed: false }
    }

    /// Returns the time from which the handler counts as held.
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
        state.replies.release(self.since, self.is_resumed, is_under_pressure);
    }
}
