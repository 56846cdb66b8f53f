//! Encoded replies that wait for capacity in the send queue. While too many bytes of replies wait,
//! the session holds handlers: it does not resume them.

use std::{
    collections::{BTreeSet, HashSet},
    sync::atomic::Ordering,
    time::Instant,
};

use sockets_proto::{CallId, ReleaseUnused};

use super::Session;
use crate::clock::now;

/// The replies of a session that wait for capacity, and the keys of methods that have returned
/// large replies. Further calls of these methods may return large replies, too, so the session may
/// have to hold their handlers.
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
    /// The keys of methods that have returned large replies. The number of keys is bounded by the
    /// number of methods that the local endpoint serves.
    large: BTreeSet<u64>,
    /// The number of held handlers.
    held: usize,
    /// The start time that the next held handler inherits. The field is set when a held handler
    /// ends without being resumed. The field becomes `None` when no handler has to be held any
    /// more.
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

    /// Records a reply of at least `SHARE_FROM` bytes, since further replies of its method may be
    /// as long.
    #[cold]
    pub(super) fn record_long(&mut self, key: u64) {
        self.content.get_or_insert_default().large.insert(key);
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

    /// Returns `true` if the handler of this call may add a large reply. Returns `false` if the
    /// handler's reply already waits. In that case, the session may resume the handler, which
    /// queues the waiting reply.
    pub(super) fn may_grow(&self, key: u64, call: CallId) -> bool {
        self.content.as_deref().is_some_and(|content| content.large.contains(&key) && !content.calls.contains(&call))
    }

    /// Counts a held handler. Returns the time since which it counts as held.
    pub(super) fn hold(&mut self) -> Instant {
        let content = self.content.get_or_insert_default();
        content.held += 1;
        content.unresumed_since.unwrap_or_else(now)
    }

    /// Stops counting a handler that was held from the time `since`. If the handler ended without
    /// being resumed, the next held handler inherits this time.
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

    /// If no handler is held, the next held handler inherits no start time.
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

/// Counts a handler that the session holds, until this value is dropped. The session does not
/// resume a held handler: see `SuspendedHandler`.
///
/// The session ends when it has held a handler for [`Limits::stall`](crate::Limits::stall). A
/// handler may end while it is held, because of its deadline or because its caller cancels the
/// call. The next held handler then inherits the start time of the ended handler. Otherwise a peer
/// could keep the session for longer than `stall`, by a sequence of handlers that are each held for
/// a shorter time.
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
