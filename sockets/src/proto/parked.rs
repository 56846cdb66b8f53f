//! Messages that wait for a window, in the order in which they were sent.

use std::collections::VecDeque;

use bytes::Bytes;

use super::frame::{CallId, PREFIX};

/// What a parked message is, which decides what it needs to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Needs a window.
    Emit,
    /// Needs a window. A nested one is made by a handler, for which the other side may be waiting.
    Request { id: CallId, nested: bool },
    /// An answer: waits only for its turn, behind what was sent before it.
    InTurn,
    /// Word that no more calls will come: waits for its turn, and never overtakes.
    Last,
}

impl Class {
    fn is_nested(self) -> bool {
        matches!(self, Self::Request { nested: true, .. })
    }
}

/// What a parked message takes besides its frame, about. Requests are counted; emits are not, so the smallest ones have
/// to weigh what they are.
const OVERHEAD: usize = 64;

struct Parked {
    frame: Bytes,
    class: Class,
    number: u64,
}

/// A moment in the life of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark(u64);

/// How many messages of one class are parked, and their bytes.
#[derive(Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) messages: usize,
    pub(super) bytes: usize,
}

/// A queue of whole frames.
#[derive(Default)]
pub(super) struct Queue {
    messages: VecDeque<Parked>,
    /// The next message's number.
    number: u64,
    emits: Tally,
    requests: Tally,
    nested: usize,
    in_turn: Tally,
    last: Tally,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// This moment.
    pub(super) fn mark(&self) -> Mark {
        Mark(self.number)
    }

    /// Whether anything is still here that a handler may have sent since then.
    pub(super) fn holds_since(&self, mark: Mark) -> bool {
        let of_handlers = |parked: &&Parked| match parked.class {
            Class::Emit => true,
            Class::Request { nested, .. } => nested,
            Class::InTurn | Class::Last => false,
        };
        let latest = self.messages.iter().rev().find(of_handlers);
        latest.is_some_and(|parked| parked.number >= mark.0)
    }

    pub(super) fn bytes(&self) -> usize {
        self.emits.messages * OVERHEAD + self.emits.bytes + self.requests.bytes + self.in_turn.bytes + self.last.bytes
    }

    pub(super) fn emits(&self) -> Tally {
        self.emits
    }

    pub(super) fn requests(&self) -> Tally {
        self.requests
    }

    /// How many of the requests are nested.
    pub(super) fn nested(&self) -> usize {
        self.nested
    }

    pub(super) fn in_turn(&self) -> Tally {
        self.in_turn
    }

    pub(super) fn push(&mut self, frame: Bytes, class: Class) {
        let tally = self.tally(class);
        tally.messages += 1;
        tally.bytes += frame.len();
        self.nested += usize::from(class.is_nested());
        self.messages.push_back(Parked { frame, class, number: self.number });
        self.number += 1;
    }

    /// Takes the first message if it may go; `admits` is asked about a length without prefix.
    pub(super) fn pop_if(&mut self, admits: impl FnOnce(usize) -> bool) -> Option<(Bytes, Class)> {
        let front = self.messages.front()?;
        if matches!(front.class, Class::Emit | Class::Request { .. }) && !admits(front.frame.len() - PREFIX) {
            return None;
        }
        self.messages.pop_front().map(|parked| self.taken(parked))
    }

    /// Takes out one request.
    pub(super) fn remove(&mut self, id: CallId) {
        if let Some(at) = self
            .messages
            .iter()
            .position(|parked| matches!(parked.class, Class::Request { id: this, .. } if this == id))
        {
            self.messages.remove(at).map(|parked| self.taken(parked));
        }
    }

    /// Takes out all messages of the classes that `wanted` names.
    pub(super) fn take(&mut self, wanted: impl Fn(Class) -> bool) -> Vec<(Bytes, Class)> {
        let (taken, kept): (VecDeque<_>, _) = self.messages.drain(..).partition(|parked| wanted(parked.class));
        self.messages = kept;
        taken.into_iter().map(|parked| self.taken(parked)).collect()
    }

    fn taken(&mut self, parked: Parked) -> (Bytes, Class) {
        let tally = self.tally(parked.class);
        tally.messages -= 1;
        tally.bytes -= parked.frame.len();
        self.nested -= usize::from(parked.class.is_nested());
        (parked.frame, parked.class)
    }

    fn tally(&mut self, class: Class) -> &mut Tally {
        match class {
            Class::Emit => &mut self.emits,
            Class::Request { .. } => &mut self.requests,
            Class::InTurn => &mut self.in_turn,
            Class::Last => &mut self.last,
        }
    }
}
