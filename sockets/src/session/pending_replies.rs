//! Encoded replies that wait for capacity in the send queue.

use std::{
    collections::{BTreeSet, HashSet},
    time::Instant,
};

use sockets_proto::{CallId, ReleaseUnused, codec::SHARE_FROM};

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
