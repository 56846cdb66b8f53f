//! Events that a session core returns for received frames.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{
    calls::CallResult,
    frame::{CallId, CloseReason},
    pending::QueuePosition,
    timeout::clamp,
};

/// An identifier of a handler that has started and has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    /// The identifier of the handler. It is valid until the handler ends.
    pub handler: HandlerId,
    /// The timeout that the caller allows. Emits have none.
    pub timeout: Option<Duration>,
    /// The encoded arguments.
    pub payload: Bytes,
    /// The share of the window that the call uses until the call's handler ends.
    pub permit: WindowPermit,
}

impl IncomingCall {
    /// Returns the deadline of the handler. If the deadline has passed, returns `None`, and the
    /// driver must not start the handler.
    ///
    /// `arrived` is the time at which the bytes of the call were received. `default` is the timeout
    /// that applies to emits, which carry no timeout of their own.
    pub fn deadline(&self, arrived: Instant, default: Duration, now: Instant) -> Option<Instant> {
        let deadline = arrived + clamp(self.timeout.unwrap_or(default));
        (now <= deadline).then_some(deadline)
    }
}

/// A received call's share of the receive window. The driver passes the share exactly once to
/// [`SessionCore::respond`](super::SessionCore::respond) or
/// [`SessionCore::end_emit`](super::SessionCore::end_emit).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowPermit {
    pub(super) length: u32,
    /// The end of the queue of pending messages when the call arrived. All messages before this
    /// position are older than the call's handler, so the reply does not wait for them.
    pub(super) received_at: QueuePosition,
    /// The number of resets of the session before the call arrived.
    pub(super) epoch: u32,
}

impl WindowPermit {
    /// Records that the handler starts now. `position` is a recent
    /// [`SessionCore::pending_position`](super::SessionCore::pending_position). The reply does not
    /// wait for messages before this position.
    #[inline]
    pub fn start(&mut self, position: u64) {
        self.received_at = self.received_at.max(QueuePosition(position));
    }

    /// Returns the length of the call's frame in bytes.
    pub fn length(self) -> usize {
        self.length as usize
    }
}

/// The consequence of a received frame for the driver.
#[derive(Debug, PartialEq)]
pub enum Event<C> {
    /// The core has processed the frame. The driver has nothing to do.
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
    /// The peer cancelled a request. The driver has to cancel the request's handler, if the handler
    /// has not ended.
    Cancelled(CallId),
    /// A reply arrived for a call that does not exist or has completed.
    UnknownReply,
    /// The server has finished its `connected`.
    Ready,
    /// The client has received the server's go-away. The client makes no more calls.
    Drained,
    /// The peer serves methods with these signatures. The function [`announced`](super::announced)
    /// decodes the bytes.
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
