//! The state of a session: what is in flight each way, what waits, and what has to be written.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    Violation,
    calls::{Answer, Calls, GivenUp},
    frame::{CallId, FailureCode, Farewell, Frame, PREFIX},
    outbox::{Outbox, Payload, whole_frame},
    parked::{Class, Queue},
    window::{Grant, Inbound, Outbound},
};

/// When nothing parked has moved for so long, answers overtake, and calls parked in a circle of nested calls are given
/// up: both sides may be waiting for each other.
const STALL: Duration = Duration::from_secs(1);
/// The longest deadline. Longer ones, a peer's `u64::MAX` among them, are cut to it.
const TIMEOUT_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What came of an attempt to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is in the outbox.
    Sent,
    /// It waits for a window; it keeps its place in the order.
    Parked,
    /// There is no room now.
    Full,
    /// The other side does not accept so large a frame.
    TooLarge { limit: usize },
    /// The other side is going away and takes no new calls.
    ShuttingDown,
}

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
    /// Goes back to [`Core::answer`] or [`Core::end_emit`], exactly once.
    pub(crate) length: usize,
}

/// What a frame asks of the driver.
#[derive(Debug, PartialEq)]
pub(crate) enum Event<C, H> {
    /// Nothing; the state has changed.
    Handled,
    /// A method is called. `length` goes back to [`Core::answer`] or [`Core::end_emit`], exactly once.
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
    /// The server takes no new calls.
    GoingAway,
    /// The client has seen that.
    Drained,
    /// The other side has left.
    Goodbye { reason: Farewell, text: String },
}

/// The protocol's state for one session. `C` stands for who waits for an answer, `H` for a running handler that can
/// be stopped; the core keeps both for the driver and knows nothing of them.
pub(crate) struct Core<C, H> {
    outbox: Outbox,
    parked: Queue,
    outbound: Outbound,
    inbound: Inbound,
    calls: Calls<C>,
    running: HashMap<Open, H>,
    emits_started: u64,
    /// Since when the parked messages have not moved.
    stalled: Option<Instant>,
    /// What the other side accepts.
    max_frame: usize,
    /// How many requests may be parked, and how many bytes may wait.
    parked_requests: usize,
    queue_limit: usize,
    peer_is_leaving: bool,
    side: Side,
}

/// Which end of the connection this is. Only a few frames care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

impl<C, H> Core<C, H> {
    /// `granted` and `max_frame` are what the other side announced, `grant` is what we did.
    pub(crate) fn new(side: Side, granted: Grant, max_frame: usize, grant: Grant, queue_limit: usize) -> Self {
        Self {
            outbox: Outbox::default(),
            parked: Queue::default(),
            outbound: Outbound::new(granted),
            inbound: Inbound::new(grant),
            calls: Calls::new(),
            running: HashMap::new(),
            emits_started: 0,
            stalled: None,
            max_frame,
            parked_requests: grant.calls as usize,
            queue_limit,
            peer_is_leaving: false,
            side,
        }
    }

    /// Sends a request, or parks it.
    pub(crate) fn request(
        &mut self,
        now: Instant,
        key: u64,
        timeout: Duration,
        payload: &Payload<'_>,
        consumer: C,
    ) -> Result<CallId, Admission> {
        let id = self.calls.next_id();
        let timeout = timeout.min(TIMEOUT_MAX);
        let header = Frame::Request { id, timeout: millis(timeout), key }.header();
        let length = header.as_slice().len() + payload.len();
        let sent = match self.admit_request(length)? {
            Admission::Sent => {
                self.outbox.push(&header, payload);
                self.outbound.take(length);
                true
            }
            _ => {
                self.park(now, whole_frame(&header, payload), Class::Request(id));
                false
            }
        };
        self.calls.insert(id, consumer, now + timeout, length, sent);
        Ok(id)
    }

    /// Sends a member's copy of a request to an audience, which [`shared_request`] encoded, or parks it.
    pub(crate) fn ask(&mut self, now: Instant, ask: &SharedRequest, consumer: C) -> Result<(), (Admission, C)> {
        let length = ask.frame.len() - PREFIX;
        let sent = match self.admit_request(length) {
            Ok(Admission::Sent) => {
                self.outbox.push_whole(&ask.frame);
                self.outbound.take(length);
                true
            }
            Ok(_) => {
                self.park(now, ask.frame.clone(), Class::Request(ask.id));
                false
            }
            Err(refused) => return Err((refused, consumer)),
        };
        self.calls.insert(ask.id, consumer, now + ask.timeout, length, sent);
        Ok(())
    }

    fn admit_request(&self, length: usize) -> Result<Admission, Admission> {
        if length > self.max_frame {
            return Err(Admission::TooLarge { limit: self.max_frame });
        }
        if self.peer_is_leaving {
            return Err(Admission::ShuttingDown);
        }
        if self.parked.is_empty() && self.outbound.admits(length) {
            return Ok(Admission::Sent);
        }
        let room = self.parked.is_empty() || self.parked.requests().bytes + length <= self.queue_limit;
        if room && self.parked.requests().messages < self.parked_requests {
            Ok(Admission::Parked)
        } else {
            Err(Admission::Full)
        }
    }

    /// Sends an emit if there is room for it now.
    pub(crate) fn emit(&mut self, key: u64, payload: &Payload<'_>) -> Admission {
        let header = Frame::Emit { key }.header();
        let length = header.as_slice().len() + payload.len();
        if length > self.max_frame {
            return Admission::TooLarge { limit: self.max_frame };
        }
        let room = self.outbox.is_empty() || self.outbox.len() + length <= self.queue_limit;
        if !room || !self.parked.is_empty() || !self.outbound.admits(length) {
            return Admission::Full;
        }
        self.outbox.push(&header, payload);
        self.outbound.take(length);
        Admission::Sent
    }

    /// Queues an emit to an audience, which does not wait. `Full` means that this member is too far behind.
    pub(crate) fn broadcast(&mut self, now: Instant, frame: &Bytes) -> Admission {
        let length = frame.len() - PREFIX;
        if length > self.max_frame {
            return Admission::TooLarge { limit: self.max_frame };
        }
        if self.queued() > 0 && self.queued() + frame.len() > self.queue_limit {
            return Admission::Full;
        }
        if self.parked.is_empty() && self.outbound.admits(length) {
            self.outbox.push_whole(frame);
            self.outbound.take(length);
            Admission::Sent
        } else {
            self.park(now, frame.clone(), Class::Emit);
            Admission::Parked
        }
    }

    /// Answers a request, and gives its place back.
    pub(crate) fn answer(
        &mut self,
        now: Instant,
        id: CallId,
        length: usize,
        failure: Option<FailureCode>,
        payload: &Payload<'_>,
    ) {
        let header = match failure {
            None => Frame::Reply { id },
            Some(code) => Frame::Failure { id, code },
        }
        .header();
        if failure.is_none() && header.as_slice().len() + payload.len() > self.max_frame {
            let text = format!("the reply has {} bytes, the limit is {}", payload.len(), self.max_frame);
            return self.answer(now, id, length, Some(FailureCode::TooLarge), &Payload::Copied(text.as_bytes()));
        }
        self.forget(Open::Request(id));
        self.inbound.answered(length);
        if self.parked.is_empty() {
            self.outbox.push(&header, payload);
        } else {
            self.park(now, whole_frame(&header, payload), Class::Answer);
        }
    }

    /// The handler of an emit has ended.
    pub(crate) fn end_emit(&mut self, open: Open, length: usize) {
        self.forget(open);
        self.inbound.ended(length);
        if let Some((calls, bytes)) = self.inbound.credit() {
            self.outbox.push_bare(Frame::Credit { calls, bytes });
        }
    }

    /// Keeps a suspended handler.
    pub(crate) fn suspend(&mut self, open: Open, handler: H) {
        self.running.insert(open, handler);
    }

    fn forget(&mut self, open: Open) {
        // Most handlers never suspend, so that there is nothing to hash for.
        if !self.running.is_empty() {
            self.running.remove(&open);
        }
    }

    /// The caller of a request gives up.
    pub(crate) fn cancel(&mut self, id: CallId) {
        match self.calls.give_up(id) {
            Some(GivenUp::Sent) => self.outbox.push_bare(Frame::Cancel { id }),
            Some(GivenUp::Parked) => self.parked.remove(id),
            None => {}
        }
    }

    /// Queues a frame that needs no window.
    pub(crate) fn control(&mut self, frame: Frame, text: &str) {
        self.outbox.push(&frame.header(), &Payload::Copied(text.as_bytes()));
    }

    /// Takes in a frame, without its prefix.
    pub(crate) fn handle(&mut self, now: Instant, mut frame: Bytes) -> Result<Event<C, H>, Violation> {
        let length = frame.len();
        let header = Frame::decode(&mut frame)?;
        match (self.side, header) {
            (Side::Server, Frame::Ready | Frame::GoingAway) | (Side::Client, Frame::Drained) => {
                return Err(Violation::Unexpected(header.kind()));
            }
            _ => {}
        }
        Ok(match header {
            Frame::Emit { key } => {
                self.inbound.receive(length)?;
                self.emits_started += 1;
                let open = Open::Emit(self.emits_started);
                Event::Called(Called { key, open, timeout: None, payload: frame, length })
            }
            Frame::Request { id, timeout, key } => {
                self.inbound.receive(length)?;
                let timeout = Some(Duration::from_millis(timeout).min(TIMEOUT_MAX));
                Event::Called(Called { key, open: Open::Request(id), timeout, payload: frame, length })
            }
            Frame::Reply { id } => self.answered(now, id, Answer::Reply(frame))?,
            Frame::Failure { id, code } => {
                let text = String::from_utf8_lossy(&frame).into_owned();
                self.answered(now, id, Answer::Failure { code, text })?
            }
            Frame::Cancel { id } => match self.running.remove(&Open::Request(id)) {
                Some(handler) => Event::Cancelled(handler),
                None => Event::Revoked(id),
            },
            Frame::Credit { calls, bytes } => {
                self.outbound.give_back(calls, bytes)?;
                self.unpark(now);
                Event::Handled
            }
            Frame::Ready => Event::Ready,
            Frame::GoingAway => {
                self.peer_is_leaving = true;
                Event::GoingAway
            }
            Frame::Drained => Event::Drained,
            Frame::Goodbye { reason } => Event::Goodbye { reason, text: String::from_utf8_lossy(&frame).into_owned() },
        })
    }

    /// Whether a handler may start: the id of its request must not be in flight.
    pub(crate) fn check_id(&self, open: Open) -> Result<(), Violation> {
        let taken = !self.running.is_empty() && self.running.contains_key(&open);
        if taken { Err(Violation::DuplicateId) } else { Ok(()) }
    }

    fn answered(&mut self, now: Instant, id: CallId, answer: Answer) -> Result<Event<C, H>, Violation> {
        let Some((length, consumer)) = self.calls.answered(id) else { return Ok(Event::StrayAnswer) };
        self.outbound.give_back(1, length as u64)?;
        self.unpark(now);
        Ok(consumer.map_or(Event::Handled, |consumer| Event::Answered { consumer, answer }))
    }

    fn park(&mut self, now: Instant, frame: Bytes, class: Class) {
        self.stalled.get_or_insert(now);
        self.parked.push(frame, class);
    }

    fn unpark(&mut self, now: Instant) {
        if self.parked.is_empty() {
            return;
        }
        while let Some((frame, class)) = self.parked.pop_if(|length| self.outbound.admits(length)) {
            if class != Class::Answer {
                self.outbound.take(frame.len() - PREFIX);
            }
            if let Class::Request(id) = class {
                self.calls.mark_sent(id);
            }
            self.outbox.push_whole(&frame);
        }
        self.stalled = (!self.parked.is_empty()).then_some(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do. It may be early, never late.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let stall = self.stalled.filter(|_| self.is_deadlocked()).map(|since| since + STALL);
        [self.calls.earliest(), stall].into_iter().flatten().min()
    }

    /// Whether what is parked may be waiting for itself: answers behind it, or calls made by handlers.
    fn is_deadlocked(&self) -> bool {
        self.parked.answers().messages > 0 || self.parked.requests().messages > 0 && !self.running.is_empty()
    }

    /// Ends the calls whose time is up, and breaks circles of waiting.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Vec<(C, Answer)> {
        let mut ended = Vec::new();
        for id in self.calls.overdue(now) {
            let Some((consumer, sent)) = self.calls.expire(id) else { continue };
            if !sent {
                self.parked.remove(id);
            }
            ended.push((consumer, Answer::TimedOut));
        }
        if self.stalled.is_some_and(|since| now >= since + STALL) && self.is_deadlocked() {
            for (frame, _) in self.parked.take(|class| class == Class::Answer) {
                self.outbox.push_whole(&frame);
            }
            if !self.running.is_empty() {
                for (_, class) in self.parked.take(|class| matches!(class, Class::Request(_))) {
                    let Class::Request(id) = class else { continue };
                    ended.extend(self.calls.take_parked(id).map(|consumer| (consumer, Answer::Overloaded)));
                }
            }
            self.unpark(now);
        }
        ended
    }

    /// The session has ended: who waits for an answer, and the handlers that are to be stopped.
    pub(crate) fn close(&mut self) -> (Vec<(C, Answer)>, Vec<H>) {
        let calls = self.calls.drain();
        let ended = calls.map(|(consumer, sent)| (consumer, Answer::Disconnected { maybe_executed: sent }));
        (ended.collect(), self.running.drain().map(|(_, handler)| handler).collect())
    }

    /// What is to be written.
    pub(crate) fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// The bytes that wait, for the wire or for a window.
    pub(crate) fn queued(&self) -> usize {
        self.outbox.len() + self.parked.bytes()
    }

    pub(crate) fn queue_limit(&self) -> usize {
        self.queue_limit
    }

    /// How many requests of ours are unanswered.
    pub(crate) fn unanswered(&self) -> usize {
        self.calls.len()
    }

    /// Whether nothing is under way in either direction.
    pub(crate) fn is_idle(&self) -> bool {
        self.inbound.in_flight() == 0 && self.calls.nobody_waits() && self.parked.is_empty()
    }
}

/// A request to an audience, encoded once.
#[derive(Clone, Debug)]
pub(crate) struct SharedRequest {
    id: CallId,
    timeout: Duration,
    frame: Bytes,
}

/// Encodes a request to an audience. `number` is one that the server has not used.
pub(crate) fn shared_request(number: u64, key: u64, timeout: Duration, payload: &Payload<'_>) -> SharedRequest {
    let id = CallId { number, shared: true };
    let timeout = timeout.min(TIMEOUT_MAX);
    let header = Frame::Request { id, timeout: millis(timeout), key }.header();
    SharedRequest { id, timeout, frame: whole_frame(&header, payload) }
}

impl SharedRequest {
    pub(crate) fn id(&self) -> CallId {
        self.id
    }
}

/// Encodes an emit to an audience.
pub(crate) fn shared_emit(key: u64, payload: &Payload<'_>) -> Bytes {
    whole_frame(&Frame::Emit { key }.header(), payload)
}

/// A timeout on the wire: at least a millisecond, so that it is not over before it begins.
fn millis(timeout: Duration) -> u64 {
    u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).max(1)
}
