//! Messages that wait for a window, in the order in which they were sent.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{
    capacity::ReleaseUnused,
    evictable::EvictableQueue,
    frame::{CallId, PREFIX},
};

/// What a parked message is, which decides what it needs to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PendingKind {
    /// Needs a window.
    Emit,
    /// An emit that may be dropped for newer ones of its method. It needs room among the bytes that wait for the wire,
    /// too, since it is out of reach there.
    Evictable { key: u64 },
    /// Needs a window. A nested one is made by a handler, for which the other side may be waiting.
    Request { id: CallId, nested: bool },
    /// An answer: waits only for its turn, behind what was sent before it.
    Response,
    /// Word that no more calls will come: waits for its turn, and never overtakes.
    Last,
}

impl PendingKind {
    fn is_nested(self) -> bool {
        matches!(self, Self::Request { nested: true, .. })
    }

    /// Returns `true` if a handler may have sent it, unless it is recallable.
    fn is_of_handler(self) -> bool {
        matches!(self, Self::Emit | Self::Request { nested: true, .. })
    }
}

/// The bytes that an emit that waits for the window counts beside its frame. Requests are limited in number. Emits are
/// not, so the smallest ones have to count for the memory that they take.
pub const PENDING_OVERHEAD: usize = 64;

pub(super) struct PendingMessage {
    frame: Bytes,
    class: PendingKind,
    pub(super) number: u64,
}

/// A moment in the life of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct QueuePosition(u64);

/// How many messages of one class are parked, and their bytes.
#[derive(Clone, Copy, Default)]
pub(super) struct Count {
    pub(super) messages: usize,
    pub(super) bytes: usize,
}

/// A queue of whole frames.
#[derive(Default)]
pub(super) struct PendingQueue {
    /// All but the recallable ones.
    messages: VecDeque<PendingMessage>,
    /// Those, if there are any.
    recallable: Option<Box<EvictableQueue>>,
    /// The next message's number.
    number: u64,
    emits: Count,
    requests: Count,
    nested: usize,
    responses: Count,
    last: Count,
    /// The number of the latest message that a handler may have sent, recallable ones apart. Every reply asks for it, so
    /// it is not searched for.
    latest_of_handlers: Option<u64>,
    /// The number of messages that were inspected to find those of handlers.
    #[cfg(test)]
    inspected: std::cell::Cell<usize>,
}

impl PendingQueue {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.recallable.is_none()
    }

    /// Whether some of it waits for room among the bytes for the wire, perhaps.
    pub(super) fn has_evictable(&self) -> bool {
        self.recallable.is_some()
    }

    /// This moment.
    #[inline]
    pub(super) fn position(&self) -> QueuePosition {
        QueuePosition(self.number)
    }

    /// Whether anything is still here that a handler may have sent since then.
    #[inline]
    pub(super) fn has_calls_since(&self, mark: QueuePosition) -> bool {
        let recallable = self.recallable.as_ref().and_then(|recallable| recallable.last()).map(|last| last.number);
        self.latest_of_handlers.max(recallable).is_some_and(|latest| latest >= mark.0)
    }

    /// Finds the latest message of a handler among the first `end` messages.
    fn find_latest(&mut self, end: usize) {
        let mut before = self.messages.range(..end).rev();
        #[cfg(test)]
        let mut before = before.by_ref().inspect(|_| self.inspected.update(|inspected| inspected + 1));
        self.latest_of_handlers = before.find(|parked| parked.class.is_of_handler()).map(|parked| parked.number);
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

    /// How many of the requests are nested.
    pub(super) fn nested(&self) -> usize {
        self.nested
    }

    #[inline]
    pub(super) fn responses(&self) -> Count {
        self.responses
    }

    pub(super) fn push(&mut self, frame: Bytes, class: PendingKind) {
        let tally = self.count_mut(class);
        tally.messages += 1;
        tally.bytes += frame.len();
        self.nested += usize::from(class.is_nested());
        let parked = PendingMessage { frame, class, number: self.number };
        match class {
            PendingKind::Evictable { key } => self.recallable.get_or_insert_default().push(key, parked),
            _ => self.messages.push_back(parked),
        }
        if class.is_of_handler() {
            self.latest_of_handlers = Some(self.number);
        }
        self.number += 1;
    }

    fn front(&self) -> Option<&PendingMessage> {
        let front = self.messages.front();
        match self.recallable.as_ref().and_then(|recallable| recallable.first()) {
            Some(recallable) if front.is_none_or(|front| recallable.number < front.number) => Some(recallable),
            _ => front,
        }
    }

    /// Takes the first message if it may go; `admits` is asked about a length without prefix, and `room` for a recallable
    /// one.
    pub(super) fn pop_if(
        &mut self,
        admits: impl FnOnce(usize) -> bool,
        room: impl FnOnce() -> bool,
    ) -> Option<(Bytes, PendingKind)> {
        let PendingMessage { class, ref frame, .. } = *self.front()?;
        let bytes = frame.len();
        let needs_window = !matches!(class, PendingKind::Response | PendingKind::Last);
        let is_recallable = matches!(class, PendingKind::Evictable { .. });
        if needs_window && !admits(bytes - PREFIX) || is_recallable && !room() {
            return None;
        }
        if is_recallable {
            self.evict(EvictableQueue::pop_first)
        } else {
            let first = self.messages.pop_front();
            self.messages.release_unused();
            // If the first message is the latest one of a handler, none is left.
            self.latest_of_handlers =
                self.latest_of_handlers.filter(|latest| first.as_ref().is_none_or(|first| first.number != *latest));
            first.map(|parked| self.count_removed(parked))
        }
    }

    /// Takes out the first message of a method's recallable ones, to drop it.
    pub(super) fn drop_oldest(&mut self, key: u64) -> bool {
        self.evict(|recallable| recallable.pop_oldest_of(key)).is_some()
    }

    fn evict(
        &mut self,
        take: impl FnOnce(&mut EvictableQueue) -> Option<PendingMessage>,
    ) -> Option<(Bytes, PendingKind)> {
        let recallable = self.recallable.as_mut()?;
        let parked = take(recallable)?;
        if recallable.is_empty() {
            self.recallable = None;
        }
        Some(self.count_removed(parked))
    }

    /// Takes out one request.
    pub(super) fn remove(&mut self, id: CallId) {
        if let Some(at) = self
            .messages
            .iter()
            .position(|parked| matches!(parked.class, PendingKind::Request { id: this, .. } if this == id))
        {
            let removed = self.messages.remove(at);
            self.messages.release_unused();
            if removed.as_ref().map(|removed| removed.number) == self.latest_of_handlers {
                self.find_latest(at);
            }
            removed.map(|parked| self.count_removed(parked));
        }
    }

    /// Takes out all messages that `wanted` names by their class and their frame, but no recallable ones.
    pub(super) fn take(&mut self, wanted: impl Fn(PendingKind, &Bytes) -> bool) -> Vec<(Bytes, PendingKind)> {
        let (taken, kept): (VecDeque<_>, _) =
            self.messages.drain(..).partition(|parked| wanted(parked.class, &parked.frame));
        self.messages = kept;
        self.find_latest(self.messages.len());
        taken.into_iter().map(|parked| self.count_removed(parked)).collect()
    }

    /// Releases memory that no message needs now.
    pub(super) fn shrink(&mut self) {
        self.messages.shrink_to_fit();
    }

    fn count_removed(&mut self, parked: PendingMessage) -> (Bytes, PendingKind) {
        let tally = self.count_mut(parked.class);
        tally.messages -= 1;
        tally.bytes -= parked.frame.len();
        self.nested -= usize::from(parked.class.is_nested());
        (parked.frame, parked.class)
    }

    fn count_mut(&mut self, class: PendingKind) -> &mut Count {
        match class {
            PendingKind::Emit | PendingKind::Evictable { .. } => &mut self.emits,
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
    fn replies_after_a_parked_emit_are_not_inspected_again() {
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
                    Step::Push(class) => queue.push(frame(), class),
                    Step::Pop => _ = queue.pop_if(|_| true, || true),
                    Step::Remove(number) => queue.remove(CallId { number, shared: false }),
                    Step::TakeRequests => _ = queue.take(|class, _| matches!(class, PendingKind::Request { .. })),
                }
                let recallable = queue.recallable.as_ref().and_then(|recallable| recallable.last());
                let parked = queue.messages.iter().filter(|parked| parked.class.is_of_handler()).chain(recallable);
                let numbers: Vec<_> = parked.map(|parked| parked.number).collect();
                for mark in 0..=queue.number {
                    let expected = numbers.iter().any(|number| *number >= mark);
                    prop_assert_eq!(queue.has_calls_since(QueuePosition(mark)), expected);
                }
            }
        }
    }
}
