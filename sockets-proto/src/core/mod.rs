//! The state of a session: what is in flight each way, what waits, and what has to be written.

mod calling;
mod hearing;
mod resuming;
mod serving;
mod waiting;

use std::{collections::HashMap, fmt, time::Instant};

use bytes::Bytes;

pub use self::{
    calling::{Admission, Caller},
    resuming::Volatile,
    serving::Outcome,
};
use super::{
    Violation,
    announcement::Announcement,
    calls::{Answer, Calls},
    event::{Called, Event, Occupied, Open},
    frame::{CallId, CloseReason, Frame, HEADER_MAX},
    liveness::Liveness,
    outbox::{Outbox, whole_frame},
    parked::{Class, Queue},
    reliable::Reliable,
    terms::Terms,
    timeout,
    window::{Inbound, Outbound},
};
use crate::codec::Payload;

/// One of the two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The side that connected.
    Client,
    /// The side that accepted the connection.
    Server,
}

impl fmt::Display for Side {
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
pub struct Core<C, H> {
    outbox: Outbox,
    parked: Queue,
    outbound: Outbound,
    inbound: Inbound,
    calls: Calls<C>,
    running: HashMap<Open, H>,
    emits_started: u64,
    /// Since when the parked messages have not moved.
    stalled: Option<Instant>,
    /// How many emits to audiences were dropped, since the queue was full.
    dropped: u64,
    /// What the other side accepts.
    max_frame: usize,
    /// How many requests may be parked, and how many bytes may wait.
    parked_requests: usize,
    queue_limit: usize,
    /// The server has finished its `connected`.
    peer_is_ready: bool,
    /// The server has refused the session before it was ready, and has started none of its calls.
    is_refused: bool,
    /// The server takes no new calls.
    peer_is_leaving: bool,
    /// The client has heard of that.
    peer_is_drained: bool,
    side: Side,
    /// Set once the session is on a link.
    liveness: Option<Liveness>,
    /// Set if the session can go on over another link.
    reliable: Option<Box<Reliable>>,
    /// It is time to say something about the link, if nothing else is.
    is_to_speak: bool,
    /// There is no link now.
    is_away: bool,
    /// How often this session has started anew: what belongs to an earlier time is not answered any more.
    times: u32,
}

impl<C, H: Clone> Core<C, H> {
    /// A session between sides that have told each other these terms. `queue_limit` is how many bytes may wait here.
    pub fn new(side: Side, ours: Terms, theirs: Terms, queue_limit: usize) -> Self {
        let window = ours.window.smaller(theirs.window);
        Self {
            outbox: Outbox::default(),
            parked: Queue::default(),
            outbound: Outbound::new(window),
            inbound: Inbound::new(window),
            calls: Calls::new(),
            running: HashMap::new(),
            emits_started: 0,
            stalled: None,
            dropped: 0,
            max_frame: theirs.max_frame as usize,
            parked_requests: ours.window.calls as usize,
            queue_limit,
            peer_is_ready: false,
            is_refused: false,
            peer_is_leaving: false,
            peer_is_drained: false,
            side,
            liveness: None,
            reliable: None,
            is_to_speak: false,
            is_away: false,
            times: 0,
        }
    }

    /// From now on, this side minds silence.
    pub fn mind(&mut self, liveness: Liveness) {
        self.liveness = Some(liveness);
    }

    /// Queues a frame that needs no window, with as much of a text as the other side accepts.
    pub fn control(&mut self, frame: Frame, text: &str) {
        let text = cut(text, self.max_frame.saturating_sub(HEADER_MAX));
        self.outbox.push(frame.header(), &Payload::Copied(text.as_bytes()));
    }

    /// Queues word of signatures, in frames that the other side accepts.
    pub fn announce(&mut self, announcement: &Announcement) {
        self.outbox.push_once(announcement.frames(self.max_frame));
    }

    /// Takes in a frame, without its prefix.
    ///
    /// # Errors
    ///
    /// Returns the violation that ends the connection.
    pub fn handle(&mut self, now: Instant, mut frame: Bytes) -> Result<Event<C, H>, Violation> {
        let length = frame.len();
        let header = Frame::decode(&mut frame)?;
        if let Some(liveness) = &mut self.liveness {
            liveness.heard(now);
        }
        if let Some(reliable) = &mut self.reliable {
            reliable.took(header, length)?;
        }
        self.check_turn(header)?;
        Ok(match header {
            Frame::Emit { key } => {
                let place = self.occupy(length)?;
                self.emits_started += 1;
                let open = Open::Emit(self.emits_started);
                Event::Called(Called { key, open, timeout: None, payload: frame, place })
            }
            Frame::Request { id, timeout, key } => {
                let open = Open::Request(id);
                self.check_id(open)?;
                let place = self.occupy(length)?;
                let timeout = Some(timeout::from_wire(timeout));
                Event::Called(Called { key, open, timeout, payload: frame, place })
            }
            Frame::Reply { id } => self.answered(now, id, Answer::Reply(frame)),
            Frame::Failure { id, code } => {
                let text = text_of(&frame);
                self.answered(now, id, Answer::Failure { code, text })
            }
            // It stays in the table until it is answered: its id is not free before.
            Frame::Cancel { id } => match self.running.get(&Open::Request(id)) {
                Some(handler) => Event::Cancelled(handler.clone()),
                None => Event::Revoked(id),
            },
            Frame::Credit { calls, bytes } => {
                self.outbound.credit(calls, bytes)?;
                self.unpark(now);
                Event::Handled
            }
            Frame::Ready => {
                self.peer_is_ready = true;
                Event::Ready
            }
            Frame::GoingAway => {
                self.peer_is_leaving = true;
                self.control_last(now, Frame::Drained);
                Event::Handled
            }
            Frame::Drained => {
                self.peer_is_drained = true;
                Event::Drained
            }
            Frame::Signatures => Event::Announced(frame),
            Frame::Acknowledged { position } => {
                self.acknowledged(position)?;
                Event::Acknowledged
            }
            Frame::Skipped { bytes } => {
                self.skipped(bytes)?;
                Event::Handled
            }
            Frame::Heartbeat | Frame::Unknown { .. } => Event::Handled,
            Frame::Goodbye { reason } if reason.refuses() && !self.peer_is_ready => {
                self.is_refused = true;
                Event::Goodbye { reason, text: text_of(&frame) }
            }
            Frame::Goodbye { reason } => Event::Goodbye { reason, text: text_of(&frame) },
        })
    }

    fn occupy(&mut self, length: usize) -> Result<Occupied, Violation> {
        self.inbound.receive(length)?;
        Ok(Occupied { length, came: self.parked.mark(), times: self.times })
    }

    /// Whether this frame may come from that side, now. Those that come once could otherwise be repeated without end.
    fn check_turn(&self, header: Frame) -> Result<(), Violation> {
        let legal = match header {
            Frame::Ready => self.side == Side::Client && !self.peer_is_ready,
            Frame::GoingAway => self.side == Side::Client && !self.peer_is_leaving,
            Frame::Drained => self.side == Side::Server && !self.peer_is_drained,
            Frame::Goodbye {
                reason:
                    CloseReason::Kicked
                    | CloseReason::ShuttingDown
                    | CloseReason::NotReady
                    | CloseReason::Superseded
                    | CloseReason::Restarting
                    | CloseReason::Refused
                    | CloseReason::Retry,
            } => self.side == Side::Client,
            _ => true,
        };
        if legal { Ok(()) } else { Err(Violation::Unexpected(header.kind())) }
    }

    /// Queues a frame behind what is parked, the last of its calls.
    fn control_last(&mut self, now: Instant, frame: Frame) {
        if self.parked.is_empty() {
            self.control(frame, "");
        } else {
            self.park(now, whole_frame(frame.header(), &Payload::Copied(&[])), Class::Last);
        }
    }

    fn answered(&mut self, now: Instant, id: CallId, answer: Answer) -> Event<C, H> {
        let Some((consumer, length)) = self.calls.answered(id) else { return Event::StrayAnswer };
        self.outbound.answered(length);
        self.unpark(now);
        consumer.map_or(Event::Handled, |consumer| Event::Answered { consumer, answer })
    }

    /// Drops what has not been written, and what is retained for another link.
    pub fn discard(&mut self) {
        self.reliable = None;
        self.outbox = Outbox::default();
        self.parked = Queue::default();
    }

    /// The session has ended: who waits for an answer, and the handlers that are to be stopped.
    pub fn close(&mut self) -> (Vec<(C, Answer)>, Vec<H>) {
        let calls = self.calls.drain();
        let calls = self.unless_refused(calls);
        let ended =
            calls.into_iter().map(|(consumer, _, sent)| (consumer, Answer::Disconnected { maybe_executed: sent }));
        (ended.collect(), self.stopped())
    }

    /// A server that refuses a session has held its calls: it is as if they had not been sent.
    fn unless_refused(&self, mut calls: Vec<(C, CallId, bool)>) -> Vec<(C, CallId, bool)> {
        for (_, _, sent) in &mut calls {
            *sent &= !self.is_refused;
        }
        calls
    }

    /// The handlers that run, which are to be stopped.
    fn stopped(&mut self) -> Vec<H> {
        std::mem::take(&mut self.running).into_values().collect()
    }

    /// Whether this is the server's end.
    pub fn is_server(&self) -> bool {
        self.side == Side::Server
    }

    /// What is to be written.
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// The bytes that wait, for the wire or for a window.
    pub fn queued(&self) -> usize {
        self.outbox.len() + self.parked.bytes()
    }

    /// The bytes that count against the queue's limit: the queue, and what the replay buffer holds beyond its own limit
    /// after a resumption. Otherwise a peer that resumes again and again without reading would make both grow.
    fn backlog(&self) -> usize {
        self.queued() + self.excess()
    }

    fn excess(&self) -> usize {
        self.reliable.as_ref().map_or(0, |reliable| reliable.excess())
    }

    /// Returns `true` if the queue is below its limit: then it accepts one more message of any size.
    pub fn has_room(&self) -> bool {
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
        self.outbox.len() + self.parked.in_turn().bytes + self.excess() >= self.queue_limit
    }

    /// How many requests of ours are unanswered.
    pub fn unanswered(&self) -> usize {
        self.calls.len()
    }

    /// Whether anything is parked.
    pub fn is_parking(&self) -> bool {
        !self.parked.is_empty()
    }

    /// Whether messages of ours wait for a window.
    pub fn waits_for_window(&self) -> bool {
        self.parked.emits().messages > 0 || self.parked.in_turn().messages > 0
    }

    /// Whether the server has finished its `connected`.
    pub fn peer_is_ready(&self) -> bool {
        self.peer_is_ready
    }

    /// Whether nothing is under way in either direction.
    pub fn is_idle(&self) -> bool {
        self.inbound.in_flight() == 0 && self.calls.nobody_waits() && self.parked.is_empty()
    }
}

/// The most bytes of a peer's text that are kept.
const TEXT_MAX: usize = 64 * 1024;

/// Returns the text of a failure or a goodbye.
fn text_of(payload: &[u8]) -> String {
    cut(&String::from_utf8_lossy(payload), TEXT_MAX).to_owned()
}

/// The beginning of a text, of at most so many bytes.
fn cut(text: &str, max: usize) -> &str {
    let end = (0..=max.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}
