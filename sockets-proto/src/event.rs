//! What comes in, as the driver sees it.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{
    calls::CallResult,
    frame::{CallId, CloseReason},
    pending::QueuePosition,
    timeout::clamp,
};

/// A handler that has started and not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HandlerId {
    /// A request, by its id.
    Request(CallId),
    /// Emits have no id on the wire; this one only counts.
    Emit(u64),
}

/// A call or emit that has come in.
#[derive(Debug, PartialEq)]
pub struct IncomingCall {
    /// The key of the method.
    pub key: u64,
    /// Identifies the handler until it ends.
    pub handler: HandlerId,
    /// What the caller allows; emits bring none.
    pub timeout: Option<Duration>,
    /// The encoded arguments.
    pub payload: Bytes,
    /// The window space that the call uses until its handler ends.
    pub permit: WindowPermit,
}

impl IncomingCall {
    /// Returns the time at which the handler is to be stopped, or `None` if it must not be started any more.
    ///
    /// `arrived` is when the bytes of the call were received. `default` is the timeout of emits, which state none.
    pub fn deadline(&self, arrived: Instant, default: Duration, now: Instant) -> Option<Instant> {
        let deadline = arrived + clamp(self.timeout.unwrap_or(default));
        (now <= deadline).then_some(deadline)
    }
}

/// A call's place in the window. It goes back to [`SessionCore::answer`](super::SessionCore::answer) or
/// [`SessionCore::end_emit`](super::SessionCore::end_emit), exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowPermit {
    pub(super) length: usize,
    /// When it came: what was parked before cannot be its handler's, and need not arrive before its answer.
    pub(super) received_at: QueuePosition,
    /// How often the session had started anew.
    pub(super) epoch: u32,
}

impl WindowPermit {
    /// How many bytes the call's frame had.
    pub fn length(self) -> usize {
        self.length
    }
}

/// What a frame asks of the driver.
#[derive(Debug, PartialEq)]
pub enum Event<C, H> {
    /// Nothing; the state has changed.
    Handled,
    /// A method is called.
    Call(IncomingCall),
    /// A call of ours has ended.
    Completed {
        /// The waiting caller.
        consumer: C,
        /// The result of the call.
        answer: CallResult,
    },
    /// A handler is to be stopped.
    Cancelled(H),
    /// A request is revoked that has no suspended handler: it is held, or has ended.
    Revoked(CallId),
    /// The answer of a call that nobody made, or made no more.
    UnknownReply,
    /// The server has finished its `connected`.
    Ready,
    /// The client has heard that this server goes away, and makes no more calls.
    Drained,
    /// The other side serves methods with these signatures; see [`announced`](super::announced).
    Announcement(Bytes),
    /// The other side has said up to where it has received what was sent.
    Acknowledged,
    /// The other side has left.
    Closed {
        /// The reason.
        reason: CloseReason,
        /// A message for the user; it may be empty.
        text: String,
    },
}
