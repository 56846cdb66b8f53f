//! Messages that wait for the window, in the order in which they were sent.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{
    capacity::ReleaseUnused,
    evictable::EvictableQueue,
    frame::{CallId, PREFIX},
    latest::LatestKey,
};

/// The kind of a pending message. The kind decides the conditions under which the session sends the
/// message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PendingKind {
    /// An emit. The session sends it when the window has capacity.
    Emit,
    /// An emit that the queue may drop when a newer emit of the same method arrives. The session
    /// moves the emit to the send buffer only when both the window and the send buffer have
    /// capacity. The send buffer cannot drop an emit, so the emit stays in the queue until then.
    Evictable { key: u64 },
    /// An emit that a newer emit with the same key replaces. The session sends it when the window
    /// has capacity.
    Latest { key: LatestKey },
    /// A request. The session sends it when the window has capacity. If `nested` is `true`, a
    /// handler made the request, and the peer may be waiting for that handler.
    Request { id: CallId, nested: bool },
    /// A reply. It waits only for the messages before it.
    Response,
    /// The notice that the session makes no more calls. The notice waits for all messages before
    /// it, and never overtakes them.
    Last,
}

impl PendingKind {
    fn is_nested(self) -> bool {
        matches!(self, Self::Request { nested: true, .. })
    }

    /// Returns `true` if the message is not evictable and a handler may have sent it.
    fn is_of_handler(self) -> bool {
        matches!(self, Self::Emit | Self::Latest { .. } | Self::Request { nested: true, .. })
    }
}

/// Number of bytes that the queue counts for a pending emit in addition to its frame. It stands for
/// the memory of the emit's entry in the queue. Without this addition, small emits could take much
/// memory, because the queue limits the number of requests but not the number of emits.
pub const PENDING_OVERHEAD: usize = 64;

pub(super) struct PendingMessage {
    frame: Bytes,
    kind: PendingKind,
    pub(super) number: u64,
}

/// A point in the order of a queue's messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct QueuePosition(pub(crate) u64);

/// The number of pending messages of a kind, and their bytes.
#[derive(Clone, Copy, Default)]
pub(super) struct Count {
    pub(super) messages: usize,
    pub(super) bytes: usize,
}

/// A queue of whole frames.
#[derive(Default)]
pub(super) struct PendingQueue {
    /// All messages that are not evictable.
    messages: VecDeque<PendingMessage>,
    /// The evictable messages. The field is `None` if no evictable message is pending, as in most
    /// sessions.
    evictable: Option<Box<EvictableQueue>>,
    /// The number of the next message.
    number: u64,
    emits: Count,
    requests: Count,
    nested: usize,
    responses: Count,
    last: Count,
    /// The number of the last pending message that a handler may have sent and that is not
    /// evictable. The queue stores the number, because the core needs it before each reply.
    latest_of_handlers: Option<u64>,
    /// The number of messages that were inspected to find a handler's messages.
    #[cfg(test)]
    inspected: std::cell::Cell<usize>,
}

impl PendingQueue {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.evictable.is_none()
    }

    /// Returns `true` if evictable messages are pending. Evictable messages may be waiting for
    /// capacity of the send buffer.
    pub(super) fn has_evictable(&self) -> bool {
        self.evictable.is_some()
    }

    /// Returns the current end of the queue.
    #[inline]
    pub(super) fn position(&self) -> QueuePosition {
        QueuePosition(self.number)
    }

    /// Returns `true` if a message is pending that a handler may have sent after `position`.
    #[inline]
    pub(super) fn has_calls_since(&self, position: QueuePosition) -> bool {
        let evictable = self.evictable.as_ref().and_then(|evictable| evictable.last()).map(|last| last.number);
        self.latest_of_handlers.max(evictable).is_some_and(|latest| latest >= position.0)
    }

    /// Finds the latest message of a handler among the first `end` messages.
    fn find_latest(&mut self, end: usize) {
        let mut before = self.messages.range(..end).rev();
        #[cfg(test)]
        let mut before = before.by_ref().inspect(|_| self.inspected.update(|inspected| inspected + 1));
        self.latest_of_handlers = before.find(|message| message.kind.is_of_handler()).map(|message| message.number);
    }

    #[inline]
    pub(super) fn bytes(&self) -> usize {
        self.emits.messages * PENDING_OVERHEAD
            + self.emits.bytes
            + self.requests.bytes
            + self.responses.bytes
            + self.last.bytes
    }

    #[inline]
    pub(super) fn emits(&self) -> Count {
        self.emits
    }

    #[inline]
    pub(super) fn requests(&self) -> Count {
        self.requests
    }

    /// Returns the number of nested requests.
    pub(super) fn nested(&self) -> usize {
        self.nested
    }

    #[inline]
    pub(super) fn responses(&self) -> Count {
        self.responses
    }

    /// Adds a message, and returns its number.
    pub(super) fn push(&mut self, frame: Bytes, kind: PendingKind) -> u64 {
        let count = self.count_mut(kind);
        count.messages += 1;
        count.bytes += frame.len();
        self.nested += usize::from(kind.is_nested());
        let message = PendingMessage { frame, kind, number: self.number };
        match kind {
            PendingKind::Evictable { key } => self.evictable.get_or_insert_default().push(key, message),
            _ => self.messages.push_back(message),
        }
        if kind.is_of_handler() {
            self.latest_of_handlers = Some(self.number);
        }
        self.number += 1;
        self.number - 1
    }

    /// Returns the index of a message that is not evictable.
    fn index(&self, number: u64) -> Option<usize> {
        self.messages.binary_search_by_key(&number, |message| message.number).ok()
    }

    /// Returns the length of a message that is not evictable.
    pub(super) fn len_of(&self, number: u64) -> usize {
        self.index(number).map_or(0, |at| self.messages[at].frame.len())
    }

    /// Replaces the frame of an emit, which keeps its place in the queue.
    pub(super) fn replace(&mut self, number: u64, frame: Bytes) {
        if let Some(at) = self.index(number) {
            let message = &mut self.messages[at];
            self.emits.bytes = self.emits.bytes - message.frame.len() + frame.len();
            message.frame = frame;
        }
    }

    fn front(&self) -> Option<&PendingMessage> {
        let front = self.messages.front();
        match self.evictable.as_ref().and_then(|evictable| evictable.first()) {
            Some(evictable) if front.is_none_or(|front| evictable.number < front.number) => Some(evictable),
            _ => front,
        }
    }

    /// Removes and returns the first message if the session can send it. `can_send` receives the
    /// length of the frame without its prefix. The queue calls `has_capacity` only for evictable
    /// messages.
    pub(super) fn pop_if(
        &mut self,
        can_send: impl FnOnce(usize) -> bool,
        has_capacity: impl FnOnce() -> bool,
    ) -> Option<(Bytes, PendingKind)> {
        let PendingMessage { kind, ref frame, .. } = *self.front()?;
        let bytes = frame.len();
        let needs_window = !matches!(kind, PendingKind::Response | PendingKind::Last);
        let is_evictable = matches!(kind, PendingKind::Evictable { .. });
        if needs_window && !can_send(bytes - PREFIX) || is_evictable && !has_capacity() {
            return None;
        }
        if is_evictable {
            self.evict(EvictableQueue::pop_first)
        } else {
            let first = self.messages.pop_front();
            self.messages.release_unused();
            // The queue is ordered by age. If the removed message was the latest message of a
            // handler, no message of a handler remains, so clear the field.
            self.latest_of_handlers =
                self.latest_of_handlers.filter(|latest| first.as_ref().is_none_or(|first| first.number != *latest));
            first.map(|message| self.count_removed(message))
        }
    }

    /// Drops the oldest evictable message of a method. Returns `false` if there is none.
    pub(super) fn drop_oldest(&mut self, key: u64) -> bool {
        self.evict(|evictable| evictable.pop_oldest_of(key)).is_some()
    }

    fn evict(
        &mut self,
        take: impl FnOnce(&mut EvictableQueue) -> Option<PendingMessage>,
    ) -> Option<(Bytes, PendingKind)> {
        let evictable = self.evictable.as_mut()?;
        let message = take(evictable)?;
        if evictable.is_empty() {
            self.evictable = None;
        }
        Some(self.count_removed(message))
    }

    /// Removes a request.
    pub(super) fn remove(&mut self, id: CallId) {
        if let Some(at) = self
            .messages
            .iter()
            .position(|message| matches!(message.kind, PendingKind::Request { id: this, .. } if this == id))
        {
            let removed = self.messages.remove(at);
            self.messages.release_unused();
            if removed.as_ref().map(|removed| removed.number) == self.latest_of_handlers {
                self.find_latest(at);
            }
            removed.map(|message| self.count_removed(message));
        }
    }

    /// Removes all messages that satisfy `wanted`, except evictable ones.
    pub(super) fn take(&mut self, wanted: impl Fn(PendingKind, &Bytes) -> bool) -> Vec<(Bytes, PendingKind)> {
        let (taken, kept): (VecDeque<_>, _) =
            self.messages.drain(..).partition(|message| wanted(message.kind, &message.frame));
        self.messages = kept;
        self.find_latest(self.messages.len());
        taken.into_iter().map(|message| self.count_removed(message)).collect()
    }

    /// Releases unused memory.
    pub(super) fn shrink(&mut self) {
        self.messages.shrink_to_fit();
    }

    fn count_removed(&mut self, message: PendingMessage) -> (Bytes, PendingKind) {
        let count = self.count_mut(message.kind);
        count.messages -= 1;
        count.bytes -= message.frame.len();
        self.nested -= usize::from(message.kind.is_nested());
        (message.frame, message.kind)
    }

    fn count_mut(&mut self, kind: PendingKind) -> &mut Count {
        match kind {
            PendingKind::Emit | PendingKind::Evictable { .. } | PendingKind::Latest { .. } => &mut self.emits,
            PendingKind::Request { .. } => &mut self.requests,
            PendingKind::Response => &mut self.responses,
            PendingKind::Last => &mut self.last,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame() -> Bytes {
        Bytes::from_static(&[0; PREFIX + 1])
    }

    #[test]
    fn replies_after_pending_emit_are_not_inspected_again() {
        const REPLIES: usize = 1000;
        let mut queue = PendingQueue::default();
        let began = queue.position();
        queue.push(frame(), PendingKind::Emit);
        for _ in 0..REPLIES {
            assert!(queue.has_calls_since(began));
            assert!(!queue.has_calls_since(queue.position()));
            queue.push(frame(), PendingKind::Response);
        }
        assert!(queue.inspected.get() <= 2 * REPLIES, "{} inspections", queue.inspected.get());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(PendingKind),
        Pop,
        Remove(u64),
        TakeRequests,
    }

    fn step() -> impl Strategy<Value = Step> {
        let request = |(number, nested)| PendingKind::Request { id: CallId { number, shared: false }, nested };
        prop_oneof![
            Just(Step::Push(PendingKind::Emit)),
            Just(Step::Push(PendingKind::Response)),
            Just(Step::Push(PendingKind::Evictable { key: 1 })),
            (0..4_u64, any::<bool>()).prop_map(move |both| Step::Push(request(both))),
            Just(Step::Pop),
            (0..4_u64).prop_map(Step::Remove),
            Just(Step::TakeRequests),
        ]
    }

    proptest! {
        #[test]
        fn messages_of_handlers_are_found_after_any_steps(steps in prop::collection::vec(step(), 0..40)) {
            let mut queue = PendingQueue::default();
            for step in steps {
                match step {
                    Step::Push(kind) => _ = queue.push(frame(), kind),
                    Step::Pop => _ = queue.pop_if(|_| true, || true),
                    Step::Remove(number) => queue.remove(CallId { number, shared: false }),
                    Step::TakeRequests => _ = queue.take(|kind, _| matches!(kind, PendingKind::Request { .. })),
                }
                let evictable = queue.evictable.as_ref().and_then(|evictable| evictable.last());
                let message = queue.messages.iter().filter(|message| message.kind.is_of_handler()).chain(evictable);
                let numbers: Vec<_> = message.map(|message| message.number).collect();
                for position in 0..=queue.number {
                    let expected = numbers.iter().any(|number| *number >= position);
                    prop_assert_eq!(queue.has_calls_since(QueuePosition(position)), expected);
                }
            }
        }
    }
}
