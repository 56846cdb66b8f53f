//! The state of a session. It consists of the calls in flight, the pending messages and the bytes
//! to send.

mod broadcast;
mod incoming_calls;
mod latest;
mod outgoing_calls;
mod pending;
mod resumption;

use std::{collections::BTreeMap, fmt, time::Instant};

use bytes::Bytes;

pub use self::{
    incoming_calls::Response,
    outgoing_calls::{CallOrigin, SendOutcome},
    resumption::VolatileEmit,
};
use super::{
    ProtocolError,
    announcement::Announcement,
    calls::{CallResult, Calls},
    event::{Event, HandlerId, IncomingCall, WindowPermit},
    frame::{CallId, CloseReason, Frame, HEADER_MAX},
    keep_alive::KeepAlive,
    latest::LatestMessages,
    pending::{PendingKind, PendingQueue},
    retransmit::RetransmitState,
    send_buffer::{SendBuffer, whole_frame},
    settings::Settings,
    timeout,
    window::{RecvWindow, SendWindow},
};
use crate::codec::Payload;

/// The role of a peer on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The peer that opened the connection.
    Client,
    /// The peer that accepted the connection.
    Server,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Server => "server",
        })
    }
}

/// The protocol's state for a session.
///
/// `C` is the type of a caller that waits for a result. `H` is the type of a running handler that
/// can be cancelled. The core only stores these values for the driver and never uses them.
#[expect(clippy::struct_excessive_bools, reason = "they are independent of each other")]
pub struct SessionCore<C, H> {
    send_buffer: SendBuffer,
    pending: PendingQueue,
    /// The places of waiting emits that newer ones replace. The field is `None` in sessions without
    /// such emits.
    latest: Option<Box<LatestMessages>>,
    send_window: SendWindow,
    recv_window: RecvWindow,
    calls: Calls<C>,
    handlers: BTreeMap<HandlerId, H>,
    emits_started: u64,
    /// The time at which the queue of pending messages last made progress or began to wait. The
    /// field is `None` if the queue is empty.
    stalled: Option<Instant>,
    /// The number of emits to audiences that the session dropped because the queue was full.
    dropped: u64,
    /// The longest frame that the peer accepts, in bytes.
    max_frame: usize,
    /// Maximum number of pending requests.
    max_pending_requests: usize,
    /// Maximum number of queued bytes.
    queue_limit: usize,
    /// The server has finished its `connected` hook.
    peer_is_ready: bool,
    /// The server has refused the session before it was ready, so it has not started any call of
    /// the session.
    is_refused: bool,
    /// The server accepts no new calls.
    peer_is_going_away: bool,
    /// The client has received the go-away and makes no more calls.
    peer_is_drained: bool,
    role: Role,
    /// The state of keep-alive. The field is `None` until the session is on a connection.
    keep_alive: Option<KeepAlive>,
    /// The state for retransmission. The field is `None` if the session cannot be resumed.
    retransmit: Option<Box<RetransmitState>>,
    /// The session has to send a heartbeat, unless it sends another frame.
    heartbeat_due: bool,
    /// The session has no connection.
    is_detached: bool,
    /// Messages wait until the client's hooks have prepared a new session.
    is_held: bool,
    /// The epoch, which is the number of resets of the session. A call that arrived in an earlier
    /// epoch receives no reply.
    epoch: u32,
}

impl<C, H: Clone> SessionCore<C, H> {
    /// Creates the state of a session of an endpoint with the settings `local` and a peer with the
    /// settings `peer`. About `queue_limit` bytes may wait until the driver sends them.
    pub fn new(role: Role, local: Settings, peer: Settings, queue_limit: usize) -> Self {
        let window = local.window.min(peer.window);
        Self {
            send_buffer: SendBuffer::default(),
            pending: PendingQueue::default(),
            latest: None,
            send_window: SendWindow::new(window),
            recv_window: RecvWindow::new(window),
            calls: Calls::new(),
            handlers: BTreeMap::new(),
            emits_started: 0,
            stalled: None,
            dropped: 0,
            max_frame: peer.max_frame as usize,
            max_pending_requests: local.window.calls as usize,
            queue_limit,
            peer_is_ready: false,
            is_refused: false,
            peer_is_going_away: false,
            peer_is_drained: false,
            role,
            keep_alive: None,
            retransmit: None,
            heartbeat_due: false,
            is_detached: false,
            is_held: false,
            epoch: 0,
        }
    }

    /// Enables keep-alive.
    pub fn set_keep_alive(&mut self, keep_alive: KeepAlive) {
        self.keep_alive = Some(keep_alive);
    }

    /// Queues a frame that needs no window, with `text` after its header. If the frame would exceed
    /// the peer's frame limit, `text` is truncated.
    pub fn send_control(&mut self, frame: Frame, text: &str) {
        let text = truncate(text, self.max_frame.saturating_sub(HEADER_MAX));
        self.send_buffer.push(frame.header(), &Payload::Copied(text.as_bytes()));
    }

    /// Queues an announcement. The announcement is divided into frames that the peer accepts.
    pub fn announce(&mut self, announcement: &Announcement) {
        self.send_buffer.push_exact(announcement.frames(self.max_frame));
    }

    /// Processes a received frame, without its prefix.
    ///
    /// # Errors
    ///
    /// Returns the protocol error that ends the connection.
    pub fn handle(&mut self, now: Instant, mut frame: Bytes) -> Result<Event<C>, ProtocolError> {
        let length = frame.len();
        let header = Frame::decode(&mut frame)?;
        if let Some(keep_alive) = &mut self.keep_alive {
            keep_alive.on_received(now);
        }
        if let Some(retransmit) = &mut self.retransmit {
            retransmit.on_received(header, length)?;
        }
        self.check_expected(header)?;
        Ok(match header {
            Frame::Emit { key } => {
                let permit = self.acquire_permit(length)?;
                self.emits_started += 1;
                let handler_id = HandlerId::Emit(self.emits_started);
                Event::Call(IncomingCall { key, handler: handler_id, timeout: None, payload: frame, permit })
            }
            Frame::Request { id, timeout, key } => {
                let handler_id = HandlerId::Request(id);
                self.check_id(handler_id)?;
                let permit = self.acquire_permit(length)?;
                let timeout = Some(timeout::from_wire(timeout));
                Event::Call(IncomingCall { key, handler: handler_id, timeout, payload: frame, permit })
            }
            Frame::Reply { id } => self.complete_call(now, id, CallResult::Reply(frame)),
            Frame::Failure { id, code } => {
                let text = text_of(&frame);
                self.complete_call(now, id, CallResult::Failure { code, text })
            }
            Frame::Cancel { id } => Event::Cancelled(id),
            Frame::Credit { calls, bytes } => {
                self.send_window.credit(calls, bytes)?;
                self.flush_pending(now);
                Event::Handled
            }
            Frame::Ready => {
                self.peer_is_ready = true;
                Event::Ready
            }
            Frame::GoAway => {
                self.peer_is_going_away = true;
                self.send_control_after_pending(now, Frame::Drained);
                Event::Handled
            }
            Frame::Drained => {
                self.peer_is_drained = true;
                Event::Drained
            }
            Frame::Signatures => Event::Announcement(frame),
            Frame::Ack { position } => {
                self.acknowledged(position)?;
                Event::Acknowledged
            }
            Frame::Skipped { bytes } => {
                self.skipped(bytes)?;
                Event::Handled
            }
            Frame::Heartbeat | Frame::Unknown { .. } => Event::Handled,
            Frame::Close { reason } if reason.refuses() && !self.peer_is_ready => {
                self.is_refused = true;
                Event::Closed { reason, text: text_of(&frame) }
            }
            Frame::Close { reason } => Event::Closed { reason, text: text_of(&frame) },
        })
    }

    fn acquire_permit(&mut self, length: usize) -> Result<WindowPermit, ProtocolError> {
        self.recv_window.receive(length)?;
        let length = u32::try_from(length).map_err(|_| ProtocolError::WindowOverrun)?;
        Ok(WindowPermit { length, received_at: self.pending.position(), epoch: self.epoch })
    }

    /// Checks that the peer's role permits this frame. Also checks that the peer does not repeat a
    /// frame that it may send only once. Otherwise the peer could repeat it without limit.
    fn check_expected(&self, header: Frame) -> Result<(), ProtocolError> {
        let legal = match header {
            Frame::Ready => self.role == Role::Client && !self.peer_is_ready,
            Frame::GoAway => self.role == Role::Client && !self.peer_is_going_away,
            Frame::Drained => self.role == Role::Server && !self.peer_is_drained,
            Frame::Close {
                reason:
                    CloseReason::Kicked
                    | CloseReason::ShuttingDown
                    | CloseReason::NotReady
                    | CloseReason::Superseded
                    | CloseReason::Restarting
                    | CloseReason::Refused
                    | CloseReason::Retry,
            } => self.role == Role::Client,
            _ => true,
        };
        if legal { Ok(()) } else { Err(ProtocolError::Unexpected(header.kind())) }
    }

    /// Queues a frame that must follow all pending messages.
    fn send_control_after_pending(&mut self, now: Instant, frame: Frame) {
        if self.pending.is_empty() || self.is_held {
            self.send_control(frame, "");
        } else {
            self.push_pending(now, whole_frame(frame.header(), &Payload::Copied(&[])), PendingKind::Last);
        }
    }

    fn complete_call(&mut self, now: Instant, id: CallId, result: CallResult) -> Event<C> {
        let Some((consumer, length)) = self.calls.complete(id) else { return Event::UnknownReply };
        self.send_window.release_request(length);
        self.flush_pending(now);
        consumer.map_or(Event::Handled, |consumer| Event::Completed { consumer, result })
    }

    /// Drops the bytes that have not been sent. Also drops the sent bytes that the session retains
    /// for retransmission on another connection.
    pub fn discard(&mut self) {
        self.retransmit = None;
        self.send_buffer = SendBuffer::default();
        self.pending = PendingQueue::default();
        self.latest = None;
    }

    /// Ends the session. Returns the waiting callers with their results. Also returns the handlers
    /// that the driver has to cancel.
    pub fn close(&mut self) -> (Vec<(C, CallResult)>, Vec<H>) {
        let calls = self.calls.drain();
        let calls = self.unless_refused(calls);
        let ended =
            calls.into_iter().map(|(consumer, _, sent)| (consumer, CallResult::Disconnected { maybe_executed: sent }));
        (ended.collect(), self.take_handlers())
    }

    /// Marks all calls as not sent if the server has refused the session, because such a server has
    /// started none of the calls.
    fn unless_refused(&self, mut calls: Vec<(C, CallId, bool)>) -> Vec<(C, CallId, bool)> {
        for (_, _, sent) in &mut calls {
            *sent &= !self.is_refused;
        }
        calls
    }

    /// Takes all running handlers. The driver has to cancel them.
    fn take_handlers(&mut self) -> Vec<H> {
        std::mem::take(&mut self.handlers).into_values().collect()
    }

    /// Returns `true` if the local endpoint is the server.
    pub fn is_server(&self) -> bool {
        self.role == Role::Server
    }

    /// Returns the buffer of frames that the driver has to send.
    pub fn send_buffer(&mut self) -> &mut SendBuffer {
        &mut self.send_buffer
    }

    /// Returns the number of bytes that wait for the connection or for capacity of the window.
    pub fn queued(&self) -> usize {
        self.send_buffer.len() + self.pending.bytes()
    }

    /// Returns the number of bytes that count against the queue's limit. They are the bytes in the
    /// queue, and the bytes that the retransmit buffer holds beyond its own limit. The bytes of the
    /// retransmit buffer count, because a peer that resumes repeatedly without reading could
    /// otherwise make it grow without limit.
    fn backlog(&self) -> usize {
        self.queued() + self.excess()
    }

    fn excess(&self) -> usize {
        self.retransmit.as_ref().map_or(0, |retransmit| retransmit.excess())
    }

    /// Returns `true` if the queue holds fewer bytes than its limit. A queue below its limit
    /// accepts another message of any size.
    pub fn has_capacity(&self) -> bool {
        self.backlog() < self.queue_limit
    }

    /// Returns the length of the longest frame that the peer accepts, in bytes.
    pub fn max_frame(&self) -> usize {
        self.max_frame
    }

    /// Returns the limit of the number of bytes that may wait before they are sent.
    pub fn queue_limit(&self) -> usize {
        self.queue_limit
    }

    /// Returns the number of emits to audiences that the session dropped because the queue was
    /// full.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Returns `true` if the session must not process more calls until the peer has read some
    /// frames.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.reply_capacity() == 0
    }

    /// Returns the number of bytes of replies that the queue accepts below its limit.
    #[inline]
    pub fn reply_capacity(&self) -> usize {
        let queued = self.send_buffer.len() + self.pending.responses().bytes + self.excess();
        self.queue_limit.saturating_sub(queued)
    }

    /// Returns the number of local requests that have no reply yet.
    pub fn calls_in_flight(&self) -> usize {
        self.calls.len()
    }

    /// Returns the end of the queue of pending messages, as a number that never decreases.
    pub fn pending_position(&self) -> u64 {
        self.pending.position().0
    }

    /// Returns `true` if messages are pending.
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Returns `true` if emits or replies are pending.
    pub fn is_window_exhausted(&self) -> bool {
        self.pending.emits().messages > 0 || self.pending.responses().messages > 0
    }

    /// Returns `true` if the server has finished its `connected` hook.
    pub fn peer_is_ready(&self) -> bool {
        self.peer_is_ready
    }

    /// Returns `true` if the server is going away, and the session can continue with the next
    /// server. Messages then wait for that server.
    #[inline]
    pub fn awaits_next_server(&self) -> bool {
        self.peer_is_going_away && self.retransmit.is_some()
    }

    /// Returns `true` if no call is in flight in either direction.
    pub fn is_idle(&self) -> bool {
        self.recv_window.in_flight() == 0 && self.calls.is_empty() && self.pending.is_empty()
    }
}

/// The maximum length in bytes of a peer's text. The session drops the rest of a longer text.
const TEXT_MAX: usize = 64 * 1024;

/// Returns the text of a failure or a close frame.
fn text_of(payload: &[u8]) -> String {
    truncate(&String::from_utf8_lossy(payload), TEXT_MAX).to_owned()
}

/// Truncates a text to at most `max` bytes.
fn truncate(text: &str, max: usize) -> &str {
    let end = (0..=max.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}
