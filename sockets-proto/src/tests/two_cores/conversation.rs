//! Two cores and the wire between them.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;
use proptest::sample::Index;

use super::model::Window;
use crate::{
    CallId, CallOrigin, Event, FailureCode, Frame, HandlerId, IncomingCall, Overflow, Response, Role, SendOutcome,
    SessionCore, Settings, WhenFull, codec::Payload, frame::next_frame, shared_emit, shared_request,
    window::WindowSize,
};

const MAX_FRAME: u32 = 270;

#[derive(Debug)]
pub(super) struct Setup {
    /// Calls and bytes that each side lets be in flight.
    pub(super) windows: [(u32, u32); 2],
    pub(super) queue_limit: usize,
}

#[derive(Debug)]
pub(super) enum Operation {
    Request {
        side: usize,
        size: usize,
        audience: bool,
        timeout: u64,
    },
    Emit {
        side: usize,
        size: usize,
    },
    Broadcast {
        side: usize,
        size: usize,
    },
    /// One frame arrives. If it calls, its handler suspends or is held.
    Deliver {
        side: usize,
        suspends: bool,
    },
    /// A handler ends.
    End {
        side: usize,
        which: Index,
        size: usize,
        fails: bool,
    },
    Cancel {
        side: usize,
        which: Index,
    },
    /// Milliseconds pass.
    Advance(u64),
}

/// One end. Its consumers are numbers; its running handlers are those of `open`.
struct End {
    core: SessionCore<u64, HandlerId>,
    /// Calls that have come in and not ended.
    open: Vec<IncomingCall>,
    /// Requests without an outcome, by consumer.
    waiting: BTreeMap<u64, CallId>,
    outcomes: BTreeMap<u64, u32>,
    /// The number in the last call or emit that came in.
    heard: u64,
}

pub(super) struct Conversation {
    ends: [End; 2],
    /// Frames on their way to each end.
    wires: [VecDeque<Bytes>; 2],
    /// What is in flight towards each end.
    windows: [Window; 2],
    now: Instant,
    /// Numbers calls and emits in the order in which they were made.
    count: u64,
}

impl Conversation {
    pub(super) fn new(settings: &Setup) -> Self {
        let windows = settings.windows.map(|(calls, bytes)| WindowSize { calls, bytes });
        let terms = |side: usize| Settings { max_frame: MAX_FRAME, window: windows[side] };
        let window = windows[0].min(windows[1]);
        let end = |side: usize, kind| End {
            core: SessionCore::new(kind, terms(side), terms(1 - side), settings.queue_limit),
            open: Vec::new(),
            waiting: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            heard: 0,
        };
        Self {
            ends: [end(0, Role::Server), end(1, Role::Client)],
            wires: [VecDeque::new(), VecDeque::new()],
            windows: [window, window].map(|window| Window::new((window.calls, window.bytes))),
            now: Instant::now(),
            count: 0,
        }
    }

    pub(super) fn apply(&mut self, operation: &Operation) {
        match *operation {
            Operation::Request { side, size, audience, timeout } => self.request(side, size, audience, timeout),
            Operation::Emit { side, size } => {
                let (payload, now) = (self.payload(size), self.now);
                let by = if size.is_multiple_of(2) { CallOrigin::Handler } else { CallOrigin::Other };
                self.ends[side].core.emit(|| now, 1, &Payload::Copied(&payload), by);
            }
            Operation::Broadcast { side, size } => {
                let frame = shared_emit(1, &Payload::Copied(&self.payload(size)));
                self.ends[side].core.broadcast(self.now, &frame, 1, Overflow::Disconnect, WhenFull::ApplyPolicy);
            }
            Operation::Deliver { side, suspends } => self.deliver(side, suspends),
            Operation::End { side, which, size, fails } => {
                let open = &mut self.ends[side].open;
                if !open.is_empty() {
                    let called = open.remove(which.index(open.len()));
                    self.end(side, &called, fails.then_some(FailureCode::Panicked), size);
                }
            }
            Operation::Cancel { side, which } => {
                let end = &mut self.ends[side];
                if !end.waiting.is_empty() {
                    let consumer = *end.waiting.keys().nth(which.index(end.waiting.len())).expect("it is in there");
                    let id = end.waiting.remove(&consumer).expect("it is in there");
                    // Giving up is its outcome.
                    *end.outcomes.entry(consumer).or_default() += 1;
                    end.core.cancel(self.now, id);
                }
            }
            Operation::Advance(millis) => self.advance(Duration::from_millis(millis)),
        }
        self.transmit();
    }

    /// A payload that begins with the number of its call.
    fn payload(&mut self, size: usize) -> Vec<u8> {
        self.count += 1;
        [&self.count.to_le_bytes()[..], &vec![0; size]].concat()
    }

    fn request(&mut self, side: usize, size: usize, audience: bool, timeout: u64) {
        let (payload, timeout) = (self.payload(size), Duration::from_millis(timeout));
        let (consumer, payload) = (self.count, Payload::Copied(&payload));
        let by = if size.is_multiple_of(2) { CallOrigin::Handler } else { CallOrigin::Other };
        let end = &mut self.ends[side];
        let id = if audience {
            let ask = shared_request(consumer, 1, timeout, &payload);
            let asked = end.core.request_shared(self.now, &ask, consumer, by);
            asked.map(|()| ask.id()).map_err(|(refused, _)| refused)
        } else {
            end.core.request(self.now, 1, timeout, &payload, consumer, by)
        };
        match id {
            Ok(id) => _ = end.waiting.insert(consumer, id),
            Err(refused) => assert_eq!(refused, SendOutcome::Full),
        }
    }

    fn deliver(&mut self, side: usize, suspends: bool) {
        let Some(frame) = self.wires[side].pop_front() else { return };
        let header = Frame::decode(&mut frame.clone()).expect("a core sends frames");
        self.windows[1 - side].arrive(header);
        let end = &mut self.ends[side];
        let event = end.core.handle(self.now, frame).expect("an honest side breaks no rule");
        match event {
            Event::Call(called) => {
                end.core.check_id(called.handler).expect("an id that is not in flight");
                let number = u64::from_le_bytes(called.payload[..8].try_into().expect("eight bytes"));
                assert!(number > end.heard, "call {number} came behind {}", end.heard);
                end.heard = number;
                if suspends {
                    end.core.insert_handler(called.handler, called.handler);
                }
                end.open.push(called);
            }
            Event::Completed { consumer, .. } => end.outcome(consumer),
            Event::Cancelled(open) => self.cancelled(side, open),
            Event::Revoked(id) => self.cancelled(side, HandlerId::Request(id)),
            Event::Handled => {}
            other => panic!("an honest side causes no {other:?}"),
        }
    }

    fn cancelled(&mut self, side: usize, open: HandlerId) {
        let all = &mut self.ends[side].open;
        if let Some(at) = all.iter().position(|called| called.handler == open) {
            let called = all.remove(at);
            self.end(side, &called, Some(FailureCode::Cancelled), 0);
        }
    }

    fn end(&mut self, side: usize, called: &IncomingCall, failure: Option<FailureCode>, size: usize) {
        let core = &mut self.ends[side].core;
        match called.handler {
            HandlerId::Request(id) => {
                let reply = vec![0; size];
                let reply = Payload::Copied(&reply);
                let outcome = failure.map_or(Response::Reply(&reply), |code| Response::Failure(code, "words"));
                core.respond(self.now, id, called.permit, &outcome);
            }
            HandlerId::Emit(_) => core.end_emit(called.handler, called.permit),
        }
        self.transmit();
    }

    fn advance(&mut self, time: Duration) {
        self.now += time;
        for side in 0..2 {
            while self.ends[side].core.next_timeout().is_some_and(|at| at <= self.now) {
                for (consumer, _) in self.ends[side].core.handle_timeout(self.now) {
                    self.ends[side].outcome(consumer);
                }
                self.transmit();
            }
        }
    }

    /// Puts on the wires what the cores have written.
    fn transmit(&mut self) {
        for side in 0..2 {
            let mut bytes = self.ends[side].core.outbox().take_all();
            while let Some(frame) = next_frame(&mut bytes) {
                assert!(frame.len() <= MAX_FRAME as usize);
                let header = Frame::decode(&mut frame.clone()).expect("a core sends frames");
                self.windows[1 - side].send(header, frame.len());
                self.wires[1 - side].push_back(frame);
            }
        }
    }

    /// Lets everything come to its end.
    pub(super) fn finish(&mut self) {
        for _ in 0..3_000 {
            let is_quiet = |end: &End| end.open.is_empty() && end.core.is_idle() && end.core.calls_in_flight() == 0;
            if self.wires.iter().all(VecDeque::is_empty) && self.ends.iter().all(is_quiet) {
                return self.assert_ended();
            }
            for side in 0..2 {
                self.deliver(side, true);
                self.transmit();
                if self.ends[side].open.is_empty() {
                    continue;
                }
                let called = self.ends[side].open.remove(0);
                self.end(side, &called, None, 0);
            }
            self.advance(Duration::from_millis(10));
        }
        panic!("it does not come to an end: {:?}", self.ends.each_ref().map(|end| &end.waiting));
    }

    fn assert_ended(&self) {
        for end in &self.ends {
            assert_eq!(end.waiting, BTreeMap::new(), "no request is left without an outcome");
            assert!(end.outcomes.values().all(|count| *count == 1), "{:?}", end.outcomes);
        }
        self.windows.iter().for_each(Window::assert_free);
    }

    /// The connection breaks.
    pub(super) fn break_off(mut self) {
        for end in &mut self.ends {
            let (ended, handlers) = end.core.close();
            for (consumer, _) in ended {
                end.outcome(consumer);
            }
            assert!(handlers.len() <= end.open.len());
            assert_eq!(end.waiting, BTreeMap::new(), "no request is left without an outcome");
            assert!(end.outcomes.values().all(|count| *count == 1), "{:?}", end.outcomes);
        }
    }
}

impl End {
    fn outcome(&mut self, consumer: u64) {
        self.waiting.remove(&consumer).expect("only one who waits is told");
        *self.outcomes.entry(consumer).or_default() += 1;
    }
}
