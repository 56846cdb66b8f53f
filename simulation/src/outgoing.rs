//! What one side has sent and what it waits for: an account from the outside, beside the core's own.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use crate::window::Window;
use sockets_proto::{CallId, CallResult, Frame, PREFIX};

/// When nothing has moved for so long, calls of handlers may be given up, and answers overtake.
const GIVE_UP: Duration = Duration::from_secs(1);
pub(super) const OVERTAKE: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Emit,
    /// Whether a handler made it.
    Request(CallId, bool),
}

/// A call or emit that was accepted, and is not in the queue to the wire.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) number: u64,
    /// Without its prefix.
    pub(super) length: usize,
    pub(super) kind: Kind,
    /// The handler that has sent it.
    pub(super) handler: Option<u64>,
    /// The key of an emit that may be dropped for a newer one.
    pub(super) recallable: Option<u64>,
    /// It was accepted in this very step.
    pub(super) new: bool,
}

impl Message {
    pub(super) fn is_nested(&self) -> bool {
        matches!(self.kind, Kind::Request(_, true))
    }

    fn is_request(&self) -> bool {
        matches!(self.kind, Kind::Request(..))
    }
}

/// A request that has no answer from the other side.
struct Flight {
    number: u64,
    length: usize,
    /// The other side has to be told that its caller has gone.
    owes_cancel: bool,
}

/// A caller without an outcome.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) id: CallId,
    pub(super) deadline: Instant,
}

/// Whom an answer is for.
#[derive(Debug)]
pub(super) enum Answered {
    For(u64),
    GivenUp,
    /// Nobody has asked.
    Stray,
}

pub(super) struct Outgoing {
    pub(super) window: Window,
    emits: u32,
    emit_bytes: u64,
    parked: VecDeque<Message>,
    flights: BTreeMap<u64, Flight>,
    pub(super) waiting: BTreeMap<u64, Waiting>,
    /// When a message last left the parked ones, as far as is certain.
    moved: Instant,
    /// No later than this the core has begun to wait.
    pub(super) stirred: Instant,
    /// How many answers have overtaken what their handlers had sent, and how many calls were given up.
    pub(super) overtakes: u64,
    pub(super) given_up: u64,
    /// The message before which the other side is not told that no more come.
    last_before_drained: Option<u64>,
    /// There is no link: everything waits.
    pub(super) is_away: bool,
}

fn wire(id: CallId) -> u64 {
    id.number << 1 | u64::from(id.shared)
}

impl Outgoing {
    pub(super) fn new(window: Window, now: Instant) -> Self {
        Self {
            window,
            emits: 0,
            emit_bytes: 0,
            parked: VecDeque::new(),
            flights: BTreeMap::new(),
            waiting: BTreeMap::new(),
            moved: now,
            stirred: now,
            overtakes: 0,
            given_up: 0,
            last_before_drained: None,
            is_away: false,
        }
    }

    /// Whether nothing waits for a window, so that a message of this length may be sent at once.
    pub(super) fn admits(&self, length: usize) -> bool {
        !self.is_away && self.parked.is_empty() && self.window.admits(length)
    }

    /// There is a link again: what waits has not moved until now.
    pub(super) fn wake(&mut self, now: Instant) {
        self.is_away = false;
        (self.moved, self.stirred) = (now, now);
    }

    /// The next session begins, over a window of its own. What has not left goes to that, as far as its server accepts it: gives the
    /// callers that were told, and whether their calls may be known to the last one.
    pub(super) fn start_anew(
        &mut self,
        now: Instant,
        window: Window,
        max_frame: u32,
        mut told: Vec<(u64, bool)>,
        kept_back: &[u64],
    ) {
        told.sort_unstable();
        let (stay, leave): (VecDeque<_>, _) =
            std::mem::take(&mut self.parked).into_iter().partition(|parked| parked.length <= max_frame as usize);
        let leave: VecDeque<Message> = leave;
        let is = |parked: &VecDeque<Message>, number| parked.iter().any(|message| message.number == number);
        let gone = self.waiting.keys().filter(|number| !is(&stay, **number));
        let expected: Vec<_> =
            gone.map(|number| (*number, !kept_back.contains(number) && !is(&leave, *number))).collect();
        assert_eq!(told, expected, "when a session starts anew, those are told whose calls have left");
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.retain(|number, _| is(&stay, *number));
        let (given_up, overtakes) = (self.given_up, self.overtakes);
        *self = Self { parked: stay, waiting, given_up, overtakes, ..Self::new(window, now) };
    }

    pub(super) fn nothing_is_parked(&self) -> bool {
        self.parked.is_empty()
    }

    pub(super) fn parked_requests(&self) -> usize {
        self.parked.iter().filter(|message| message.is_request()).count()
    }

    pub(super) fn parked_request_bytes(&self) -> usize {
        self.parked.iter().filter(|message| message.is_request()).map(|message| message.length + PREFIX).sum()
    }

    /// The ids of the requests that somebody waits for and that have left.
    pub(super) fn flying(&self) -> Vec<CallId> {
        let gone =
            self.waiting.iter().filter(|(number, _)| !self.parked.iter().any(|parked| parked.number == **number));
        gone.map(|(_, waiting)| waiting.id).collect()
    }

    /// The ids of the requests that were sent and not answered.
    pub(super) fn flights(&self) -> Vec<CallId> {
        self.flights.keys().map(|wire| CallId { number: wire >> 1, shared: wire & 1 == 1 }).collect()
    }

    /// What could be given back for emits.
    pub(super) fn emits(&self) -> (u32, u64) {
        (self.emits, self.emit_bytes)
    }

    pub(super) fn unanswered(&self) -> usize {
        self.flights.len() + self.parked_requests()
    }

    /// The core has accepted a message.
    pub(super) fn accept(&mut self, now: Instant, message: Message) {
        let first = self.parked.is_empty() || message.is_nested() && !self.parked.iter().any(Message::is_nested);
        if first {
            self.stirred = now;
        }
        self.parked.push_back(message);
    }

    /// Drops the oldest message of this key that may be dropped; gives its length.
    pub(super) fn drop_oldest(&mut self, key: u64) -> Option<usize> {
        let at = self.parked.iter().position(|message| message.recallable == Some(key))?;
        self.parked.remove(at).map(|message| message.length)
    }

    /// A call or emit is queued for the wire: the next one in order.
    pub(super) fn queued(&mut self, now: Instant, header: Frame, length: usize, number: u64) {
        let message = self.parked.pop_front().expect("only what was accepted is sent, and once");
        assert_eq!((message.number, message.length), (number, length), "messages leave in their order, and whole");
        self.window.take(length);
        match (header, message.kind) {
            (Frame::Emit { .. }, Kind::Emit) => {
                self.emits += 1;
                self.emit_bytes += length as u64;
            }
            (Frame::Request { id, .. }, Kind::Request(known, _)) => {
                assert_eq!(id, known, "a request has the id that its caller was told");
                let flight = Flight { number, length, owes_cancel: false };
                assert!(self.flights.insert(wire(id), flight).is_none(), "an id in flight is used again");
            }
            (header, kind) => panic!("{kind:?} became {header:?}"),
        }
        if !message.new {
            (self.moved, self.stirred) = (now, now);
        }
    }

    /// A cancel is queued for the wire.
    pub(super) fn cancel_queued(&mut self, id: CallId) {
        let owed = self.flights.get_mut(&wire(id)).map(|flight| std::mem::take(&mut flight.owes_cancel));
        assert_eq!(owed, Some(true), "a cancel is for a call that was sent and given up, once");
    }

    /// An answer has come.
    pub(super) fn answered(&mut self, id: CallId) -> Answered {
        let Some(flight) = self.flights.remove(&wire(id)) else { return Answered::Stray };
        self.window.give_back(1, flight.length as u64);
        self.waiting.remove(&flight.number).map_or(Answered::GivenUp, |_| Answered::For(flight.number))
    }

    /// A credit has come; `false` if it is for more than was sent.
    pub(super) fn credit(&mut self, calls: u32, bytes: u64) -> bool {
        if calls > self.emits || bytes > self.emit_bytes {
            return false;
        }
        self.emits -= calls;
        self.emit_bytes -= bytes;
        self.window.give_back(calls, bytes);
        true
    }

    /// A caller has gone without an answer, or was told of another end than that.
    pub(super) fn withdraw(&mut self, number: u64) {
        let waiting = self.waiting.remove(&number).expect("one who waits has one outcome");
        match self.parked.iter().position(|message| message.number == number) {
            Some(at) => _ = self.parked.remove(at),
            None => self.flights.get_mut(&wire(waiting.id)).expect("it is in flight").owes_cancel = true,
        }
    }

    /// The core has told a caller of an end that no frame brought.
    pub(super) fn timed(&mut self, now: Instant, number: u64, answer: &CallResult) {
        let waiting = self.waiting.get(&number).expect("only one who waits is told");
        match answer {
            CallResult::TimedOut => assert!(waiting.deadline <= now, "request {number} timed out before its time"),
            CallResult::Overloaded => {
                let parked = self.parked.iter().find(|message| message.number == number);
                assert!(parked.is_some_and(Message::is_nested), "only parked calls of handlers are given up");
                assert!(now >= self.moved + GIVE_UP && !self.is_away, "a call is given up while others move");
                self.given_up += 1;
            }
            other => panic!("no frame has brought {other:?}"),
        }
        self.withdraw(number);
    }

    /// What the handler of an answer that is being queued has sent must be before it, unless nothing moves.
    pub(super) fn check_answer_in_order(&mut self, now: Instant, handler: u64) {
        let overtaken = self.parked.iter().find(|message| message.handler == Some(handler));
        if let Some(message) = overtaken {
            assert!(
                now >= self.moved + OVERTAKE && !self.is_away,
                "an answer overtakes message {} of its handler",
                message.number
            );
            self.overtakes += 1;
        }
    }

    /// Whether an answer may have to wait, since a handler has sent something after its request came.
    pub(super) fn may_hold_an_answer(&self, came: u64) -> bool {
        self.parked.iter().any(|message| message.number > came && (message.kind == Kind::Emit || message.is_nested()))
    }

    /// The server goes away: what waits now is still before the word that no more come.
    pub(super) fn close_the_list(&mut self) {
        self.last_before_drained = self.parked.iter().rfind(|message| message.is_request()).map(|last| last.number);
    }

    pub(super) fn drained_queued(&mut self, now: Instant) {
        self.stirred = now;
        let behind = self.parked.iter().find(|message| {
            message.is_request() && self.last_before_drained.is_some_and(|last| message.number <= last)
        });
        assert!(behind.is_none(), "{behind:?} is behind the word that no more come");
    }

    /// What must hold after every step. `is_in_reach` says whether a message has to wait if it may be dropped.
    pub(super) fn check(&mut self, is_in_reach: bool) {
        self.parked.iter_mut().for_each(|message| message.new = false);
        if let Some(first) = self.parked.front() {
            let waits = self.is_away || !self.window.admits(first.length) || first.recallable.is_some() && is_in_reach;
            assert!(waits, "message {} waits, and the window is open", first.number);
        }
        let silent = self.flights.values().find(|flight| flight.owes_cancel);
        assert!(
            silent.is_none(),
            "the other side is not told that request {:?} was given up",
            silent.map(|it| it.number)
        );
    }

    /// What must hold when all is done that had to be done until now.
    pub(super) fn check_time(&self, now: Instant) {
        let late = self.waiting.iter().find(|(_, waiting)| waiting.deadline <= now);
        assert!(late.is_none(), "a deadline has passed, and its caller waits: {late:?}");
        let stuck = self
            .parked
            .iter()
            .find(|message| message.is_nested())
            .filter(|_| now >= self.stirred + GIVE_UP && !self.is_away);
        assert!(stuck.is_none(), "the call of a handler waits, and nothing moves: {stuck:?}");
    }

    /// The connection has ended: all callers were told, each with whether the other side may know of the call. It does
    /// not know of those that are `kept_back`, and of those that are parked.
    pub(super) fn closed(&mut self, mut told: Vec<(u64, bool)>, kept_back: &[u64]) {
        told.sort_unstable();
        let is_here = |number| kept_back.contains(&number) || self.parked.iter().any(|parked| parked.number == number);
        let expected: Vec<_> = self.waiting.keys().map(|number| (*number, !is_here(*number))).collect();
        assert_eq!(told, expected, "at the end, those who wait are told, and whether their call was sent");
        self.waiting.clear();
        self.parked.clear();
    }
}
