//! What comes in, as the driver sees it.

use std::time::Duration;

use bytes::Bytes;

use super::{
    calls::Answer,
    frame::{CallId, Farewell},
    parked::Mark,
};

/// A handler that has started and not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Open {
    Request(CallId),
    /// Emits have no id on the wire; this one only counts.
    Emit(u64),
}

/// A call or emit that has come in.
#[derive(Debug, PartialEq)]
pub(crate) struct Called {
    pub(crate) key: u64,
    pub(crate) open: Open,
    /// What the caller allows; emits bring none.
    pub(crate) timeout: Option<Duration>,
    pub(crate) payload: Bytes,
    pub(crate) place: Occupied,
}

/// A call's place in the window. It goes back to [`Core::answer`](super::Core::answer) or
/// [`Core::end_emit`](super::Core::end_emit), exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Occupied {
    pub(super) length: usize,
    /// When it came: what was parked before cannot be its handler's, and need not arrive before its answer.
    pub(super) came: Mark,
    /// How often the session had started anew.
    pub(super) times: u32,
}

impl Occupied {
    /// How many bytes the call's frame had.
    pub(crate) fn length(self) -> usize {
        self.length
    }
}

/// What a frame asks of the driver.
#[derive(Debug, PartialEq)]
pub(crate) enum Event<C, H> {
    /// Nothing; the state has changed.
    Handled,
    /// A method is called.
    Called(Called),
    /// A call of ours has ended.
    Answered { consumer: C, answer: Answer },
    /// A handler is to be stopped.
    Cancelled(H),
    /// A request is revoked that has no suspended handler: it is held, or has ended.
    Revoked(CallId),
    /// The answer of a call that nobody made, or made no more.
    StrayAnswer,
    /// The server has finished its `connected`.
    Ready,
    /// The client has heard that this server goes away, and makes no more calls.
    Drained,
    /// The other side serves methods with these signatures; see [`announced`](super::announced).
    Announced(Bytes),
    /// The other side has said up to where it has received what was sent.
    Acknowledged,
    /// The other side has left.
    Goodbye { reason: Farewell, text: String },
}
