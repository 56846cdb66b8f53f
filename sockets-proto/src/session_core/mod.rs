//! The state of a session: what is in flight each way, what waits, and what has to be written.

mod broadcast;
mod incoming_calls;
mod outgoing_calls;
mod pending;
mod resumption;

use std::{collections::HashMap, fmt, time::Instant};

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
    pending::{PendingKind, PendingQueue},
    retransmit::RetransmitState,
    send_buffer::{SendBuffer, whole_frame},
    settings::Settings,
    timeout,
    window::{RecvWindow, SendWindow},
};
use crate::codec::Payload;

/// One of the two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The side that connected.
    Client,
    /// The side that accepted the connection.
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

/// The protocol's state for one session. `C` stands for who waits for an answer, `H` for a running handler that can
/// be stopped; the core keeps both for the driver and knows nothing of them.
#[expect(clippy::struct_excessive_bools, reason = "they are independent of each other")]
pub struct SessionCore<C, H> {
    outbox: SendBuffer,
    pending: PendingQueue,
    send_window: SendWindow,
    recv_window: RecvWindow,
    calls: Calls<C>,
    handlers: HashMap<HandlerId, H>,
    emits_started: u64,
    /// Since when the parked messages have not moved.
    stalled: Option<Instant>,
    /// How many emits to audiences were dropped, since the queue was full.
    dropped: u64,
    /// What the other side accepts.
    max_frame: usize,
    /// How many requests may be parked, and how many bytes may wait.
    max_pending_requests: usize,
    queue_limit: usize,
    /// The server has finished its `connected`.
    peer_is_ready: bool,
    /// The server has refused the session before it was ready, and has started none of its calls.
    is_refused: bool,
    /// The server takes no new calls.
    peer_is_going_away: bool,
    /// The client has heard of that.
    peer_is_drained: bool,
    side: Role,
    /// Set once the session is on a link.
    keep_alive: Option<KeepAlive>,
    /// Set if the session can go on over another link.
    retransmit: Option<Box<RetransmitState>>,
    /// It is time to say something about the link, if nothing else is.
    heartbeat_due: bool,
    /// There is no link now.
    is_detached: bool,
    /// How often this session has started anew: what belongs to an earlier time is not answered any more.
    epoch: u32,
}

impl<C, H: Clone> SessionCore<C, H> {
    /// A session between sides that have told each other these terms. `queue_limit` is how many bytes may wait here.
    pub fn new(side: Role, ours: Settings, theirs: Settings, queue_limit: usize) -> Self {
        let window = ours.window.min(theirs.window);
        Self {
            outbox: SendBuffer::default(),
            pending: PendingQueue::default(),
            send_window: SendWindow::new(window),
            recv_window: RecvWindow::new(window),
            calls: Calls::new(),
            handlers: HashMap::new(),
            emits_started: 0,
            stalled: None,
            dropped: 0,
            max_frame: theirs.max_frame as usize,
            max_pending_requests: ours.window.calls as usize,
            queue_limit,
            peer_is_ready: false,
            is_refused: false,
            peer_is_going_away: false,
            peer_is_drained: false,
            side,
            keep_alive: None,
            retransmit: None,
            heartbeat_due: false,
            is_detached: false,
            epoch: 0,
        }
    }

    /// From now on, this side minds silence.
    pub fn set_keep_alive(&mut self, liveness: KeepAlive) {
        self.keep_alive = Some(liveness);
    }

    /// Queues a frame that needs no window, with as much of a text as the other side accepts.
    pub fn send_control(&mut self, frame: Frame, text: &str) {
        let text = truncate(text, self.max_frame.saturating_sub(HEADER_MAX));
        self.outbox.push(frame.header(), &Payload::Copied(text.as_bytes()));
    }

    /// Queues word of signatures, in frames that the other side accepts.
    pub fn announce(&mut self, announcement: &Announcement) {
        self.outbox.push_exact(announcement.frames(self.max_frame));
    }

    /// Takes in a frame, without its prefix.
    ///
    /// # Errors
    ///
    /// Returns the violation that ends the connection.
    pub fn handle(&mut self, now: Instant, mut frame: Bytes) -> Result<Event<C, H>, ProtocolError> {
        let length = frame.len();
        let header = Frame::decode(&mut frame)?;
        if let Some(liveness) = &mut self.keep_alive {
            liveness.on_received(now);
        }
        if let Some(reliable) = &mut self.retransmit {
            reliable.on_received(header, length)?;
        }
        self.check_expected(header)?;
        Ok(match header {
            Frame::Emit { key } => {
                let place = self.acquire_permit(length)?;
                self.emits_started += 1;
                let open = HandlerId::Emit(self.emits_started);
                Event::Call(IncomingCall { key, handler: open, timeout: None, payload: frame, permit: place })
            }
            Frame::Request { id, timeout, key } => {
                let open = HandlerId::Request(id);
                self.check_id(open)?;
                let place = self.acquire_permit(length)?;
                let timeout = Some(timeout::from_wire(timeout));
                Event::Call(IncomingCall { key, handler: open, timeout, payload: frame, permit: place })
            }
            Frame::Reply { id } => self.complete_call(now, id, CallResult::Reply(frame)),
            Frame::Failure { id, code } => {
                let text = text_of(&frame);
                self.complete_call(now, id, CallResult::Failure { code, text })
            }
            // It stays in the table until it is answered: its id is not free before.
            Frame::Cancel { id } => match self.handlers.get(&HandlerId::Request(id)) {
                Some(handler) => Event::Cancelled(handler.clone()),
                None => Event::Revoked(id),
            },
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
        Ok(WindowPermit { length, received_at: self.pending.position(), epoch: self.epoch })
    }

    /// Whether this frame may come from that side, now. Those that come once could otherwise be repeated without end.
    fn check_expected(&self, header: Frame) -> Result<(), ProtocolError> {
        let legal = match header {
            Frame::Ready => self.side == Role::Client && !self.peer_is_ready,
            Frame::GoAway => self.side == Role::Client && !self.peer_is_going_away,
            Frame::Drained => self.side == Role::Server && !self.peer_is_drained,
            Frame::Close {
                reason:
                    CloseReason::Kicked
                    | CloseReason::ShuttingDown
                    | CloseReason::NotReady
                    | CloseReason::Superseded
                    | CloseReason::Restarting
                    | CloseReason::Refused
                    | CloseReason::Retry,
            } => self.side == Role::Client,
            _ => true,
        };
        if legal { Ok(()) } else { Err(ProtocolError::Unexpected(header.kind())) }
    }

    /// Queues a frame behind what is parked, the last of its calls.
    fn send_control_after_pending(&mut self, now: Instant, frame: Frame) {
        if self.pending.is_empty() {
            self.send_control(frame, "");
        } else {
            self.push_pending(now, whole_frame(frame.header(), &Payload::Copied(&[])), PendingKind::Last);
        }
    }

    fn complete_call(&mut self, now: Instant, id: CallId, answer: CallResult) -> Event<C, H> {
        let Some((consumer, length)) = self.calls.complete(id) else { return Event::UnknownReply };
        self.send_window.release_request(length);
        self.flush_pending(now);
        consumer.map_or(Event::Handled, |consumer| Event::Completed { consumer, answer })
    }

    /// Drops what has not been written, and what is retained for another link.
    pub fn discard(&mut self) {
        self.retransmit = None;
        self.outbox = SendBuffer::default();
        self.pending = PendingQueue::default();
    }

    /// The session has ended: who waits for an answer, and the handlers that are to be stopped.
    pub fn close(&mut self) -> (Vec<(C, CallResult)>, Vec<H>) {
        let calls = self.calls.drain();
        let calls = self.unless_refused(calls);
        let ended =
            calls.into_iter().map(|(consumer, _, sent)| (consumer, CallResult::Disconnected { maybe_executed: sent }));
        (ended.collect(), self.take_handlers())
    }

    /// A server that refuses a session has held its calls: it is as if they had not been sent.
    fn unless_refused(&self, mut calls: Vec<(C, CallId, bool)>) -> Vec<(C, CallId, bool)> {
        for (_, _, sent) in &mut calls {
            *sent &= !self.is_refused;
        }
        calls
    }

    /// The handlers that run, which are to be stopped.
    fn take_handlers(&mut self) -> Vec<H> {
        std::mem::take(&mut self.handlers).into_values().collect()
    }

    /// Whether this is the server's end.
    pub fn is_server(&self) -> bool {
        self.side == Role::Server
    }

    /// What is to be written.
    pub fn outbox(&mut self) -> &mut SendBuffer {
        &mut self.outbox
    }

    /// The bytes that wait, for the wire or for a window.
    pub fn queued(&self) -> usize {
        self.outbox.len() + self.pending.bytes()
    }

    /// The bytes that count against the queue's limit: the queue, and what the replay buffer holds beyond its own limit
    /// after a resumption. Otherwise a peer that resumes again and again without reading would make both grow.
    fn backlog(&self) -> usize {
        self.queued() + self.excess()
    }

    fn excess(&self) -> usize {
        self.retransmit.as_ref().map_or(0, |reliable| reliable.excess())
    }

    /// Returns `true` if the queue is below its limit: then it accepts one more message of any size.
    pub fn has_capacity(&self) -> bool {
        self.backlog() < self.queue_limit
    }

    /// Returns the number of bytes that may wait to be sent.
    pub fn queue_limit(&self) -> usize {
        self.queue_limit
    }

    /// How many emits to audiences were dropped, since the queue was full.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether the other side has to take what waits for it before there is more to answer.
    pub fn is_full(&self) -> bool {
        self.outbox.len() + self.pending.responses().bytes + self.excess() >= self.queue_limit
    }

    /// How many requests of ours are unanswered.
    pub fn calls_in_flight(&self) -> usize {
        self.calls.len()
    }

    /// Whether anything is parked.
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether messages of ours wait for a window.
    pub fn is_window_exhausted(&self) -> bool {
        self.pending.emits().messages > 0 || self.pending.responses().messages > 0
    }

    /// Whether the server has finished its `connected`.
    pub fn peer_is_ready(&self) -> bool {
        self.peer_is_ready
    }

    /// Whether nothing is under way in either direction.
    pub fn is_idle(&self) -> bool {
        self.recv_window.in_flight() == 0 && self.calls.is_empty() && self.pending.is_empty()
    }
}

/// The most bytes of a peer's text that are kept.
const TEXT_MAX: usize = 64 * 1024;

/// Returns the text of a failure or a goodbye.
fn text_of(payload: &[u8]) -> String {
    truncate(&String::from_utf8_lossy(payload), TEXT_MAX).to_owned()
}

/// The beginning of a text, of at most so many bytes.
fn truncate(text: &str, max: usize) -> &str {
    let end = (0..=max.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}
