//! Events that received frames cause.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{
    calls::CallResult,
    frame::{CallId, CloseReason},
    pending::QueuePosition,
    timeout::clamp,
};

/// Identifies a handler that has started and not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HandlerId {
    /// The handler of a request, by the request's id.
    Request(CallId),
    /// The handler of an emit, by a local number. Emits have no id on the wire.
    Emit(u64),
}

/// A received request or emit.
#[derive(Debug, PartialEq)]
pub struct IncomingCall {
    /// The key of the method.
    pub key: u64,
    /// Identifies the handler until it ends.
    pub handler: HandlerId,
    /// The timeout that the caller allows. Emits have none.
    pub timeout: Option<Duration>,
    /// The encoded arguments.
    pub payload: Bytes,
    /// The share of the window that the call uses until its handler ends.
    pub permit: WindowPermit,
}

impl IncomingCall {
    /// Returns the deadline of the handler, or `None` if the deadline has already passed and the
    /// handler must not start.
    ///
    /// `arrived` is the time at which the bytes of the call were received. `default` is the timeout
    /// of emits.
    pub fn deadline(&self, arrived: Instant, default: Duration, now: Instant) -> Option<Instant> {
        let deadline = arrived + clamp(self.timeout.unwrap_or(default));
        (now <= deadline).then_some(deadline)
    }
}

/// A received call's share of the receive window. Pass it to
/// [`SessionCore::respond`](super::SessionCore::respond) or
/// [`SessionCore::end_emit`](super::SessionCore::end_emit), exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowPermit {
    pub(super) length: usize,
    /// The position of the queue when the call arrived. Messages that were pending before cannot be
    /// the handler's, so the reply need not wait for them.
    pub(super) received_at: QueuePosition,
    /// The number of times that the session had been reset.
    pub(super) epoch: u32,
}

impl WindowPermit {
    /// Returns the length of the call's frame in bytes.
    pub fn length(self) -> usize {
        self.length
    }
}

/// The consequence of a received frame for the driver.
#[derive(Debug, PartialEq)]
pub enum Event<C, H> {
    /// Nothing to do; the state has changed.
    Handled,
    /// The peer calls a method.
    Call(IncomingCall),
    /// A local call has completed.
    Completed {
        /// The waiting caller.
        consumer: C,
        /// The result of the call.
        result: CallResult,
    },
    /// The handler has to be cancelled.
    Cancelled(H),
    /// The peer cancelled a request that has no suspended handler: the request has not started, or
    /// has ended.
    Revoked(CallId),
    /// A reply arrived for a call that does not exist or has completed.
    UnknownReply,
    /// The server has finished its `connected`.
    Ready,
    /// The client has received the server's go-away, and makes no more calls.
    Drained,
    /// The peer serves methods with these signatures; see [`announced`](super::announced).
    Announcement(Bytes),
    /// The peer has acknowledged received bytes.
    Acknowledged,
    /// The peer has closed the session.
    Closed {
        /// The reason.
        reason: CloseReason,
        /// A message for the user; it may be empty.
        text: String,
    },
}
