//! A conversation, which consists of two cores and the connection between them.

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
    /// The limits of the calls in flight and of their bytes, for each endpoint.
    pub(super) windows: [(u32, u32); 2],
    pub(super) queue_limit: usize,
}

#[derive(Debug)]
pub(super) enum Operation {
    Request {
        endpoint: usize,
        size: usize,
        audience: bool,
        timeout: u64,
    },
    Emit {
        endpoint: usize,
        size: usize,
    },
    Broadcast {
        endpoint: usize,
        size: usize,
    },
    /// A frame arrives. If the frame is a call, the call's handler is either suspended or held.
    Deliver {
        endpoint: usize,
        suspends: bool,
    },
    /// A handler ends.
    EndHandler {
        endpoint: usize,
        which: Index,
        size: usize,
        fails: bool,
    },
    Cancel {
        endpoint: usize,
        which: Index,
    },
    /// Time passes, in milliseconds.
    Advance(u64),
}

/// An endpoint of the conversation. Its callers are numbers, and `running` contains its running
/// handlers.
struct Endpoint {
    core: SessionCore<u64, HandlerId>,
    /// Received calls that have not ended.
    running: Vec<IncomingCall>,
    /// The requests that have no outcome yet, by consumer.
    waiting: BTreeMap<u64, CallId>,
    outcomes: BTreeMap<u64, u32>,
    /// The number that the last received call or emit contained.
    last_received: u64,
}

pub(super) struct Conversation {
    endpoints: [Endpoint; 2],
    /// Frames in transit to each endpoint.
    wires: [VecDeque<Bytes>; 2],
    /// The window towards each endpoint.
    windows: [Window; 2],
    now: Instant,
    /// The number of calls and emits so far. The next call or emit contains this number.
    count: u64,
}

impl Conversation {
    pub(super) fn new(settings: &Setup) -> Self {
        let windows = settings.windows.map(|(calls, bytes)| WindowSize { calls, bytes });
        let settings_of = |endpoint: usize| Settings { max_frame: MAX_FRAME, window: windows[endpoint] };
        let window = windows[0].min(windows[1]);
        let end = |endpoint: usize, kind| Endpoint {
            core: SessionCore::new(kind, settings_of(endpoint), settings_of(1 - endpoint), settings.queue_limit),
            running: Vec::new(),
            waiting: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            last_received: 0,
        };
        Self {
            endpoints: [end(0, Role::Server), end(1, Role::Client)],
            wires: [VecDeque::new(), VecDeque::new()],
            windows: [window, window].map(|window| Window::new((window.calls, window.bytes))),
            now: Instant::now(),
            count: 0,
        }
    }

    pub(super) fn apply(&mut self, operation: &Operation) {
        match *operation {
            Operation::Request { endpoint, size, audience, timeout } => self.request(endpoint, size, audience, timeout),
            Operation::Emit { endpoint, size } => {
                let (payload, now) = (self.payload(size), self.now);
                let by = if size.is_multiple_of(2) { CallOrigin::Handler } else { CallOrigin::Other };
                self.endpoints[endpoint].core.emit(|| now, 1, &Payload::Copied(&payload), by);
            }
            Operation::Broadcast { endpoint, size } => {
                let frame = shared_emit(1, &Payload::Copied(&self.payload(size)));
                self.endpoints[endpoint].core.broadcast(
                    self.now,
                    &frame,
                    1,
                    Overflow::Disconnect,
                    WhenFull::ApplyPolicy,
                );
            }
            Operation::Deliver { endpoint, suspends } => self.deliver(endpoint, suspends),
            Operation::EndHandler { endpoint, which, size, fails } => {
                let running = &mut self.endpoints[endpoint].running;
                if !running.is_empty() {
                    let call = running.remove(which.index(running.len()));
                    self.end(endpoint, &call, fails.then_some(FailureCode::Panicked), size);
                }
            }
            Operation::Cancel { endpoint, which } => {
                let end = &mut self.endpoints[endpoint];
                if !end.waiting.is_empty() {
                    let consumer = *end.waiting.keys().nth(which.index(end.waiting.len())).expect("a waiting caller");
                    let id = end.waiting.remove(&consumer).expect("a waiting caller");
                    // For a cancelled call, the cancellation is the outcome.
                    *end.outcomes.entry(consumer).or_default() += 1;
                    end.core.cancel(self.now, id);
                }
            }
            Operation::Advance(millis) => self.advance(Duration::from_millis(millis)),
        }
        self.transmit();
    }

    /// Returns a payload that begins with the number of its call.
    fn payload(&mut self, size: usize) -> Vec<u8> {
        self.count += 1;
        [&self.count.to_le_bytes()[..], &vec![0; size]].concat()
    }

    fn request(&mut self, endpoint: usize, size: usize, audience: bool, timeout: u64) {
        let (payload, timeout) = (self.payload(size), Duration::from_millis(timeout));
        let (consumer, payload) = (self.count, Payload::Copied(&payload));
        let by = if size.is_multiple_of(2) { CallOrigin::Handler } else { CallOrigin::Other };
        let end = &mut self.endpoints[endpoint];
        let id = if audience {
            let request = shared_request(consumer, 1, timeout, &payload);
            let asked = end.core.request_shared(self.now, &request, consumer, by);
            asked.map(|()| request.id()).map_err(|(refused, _)| refused)
        } else {
            end.core.request(self.now, 1, timeout, &payload, consumer, by)
        };
        match id {
            Ok(id) => _ = end.waiting.insert(consumer, id),
            Err(refused) => assert_eq!(refused, SendOutcome::Full),
        }
    }

    fn deliver(&mut self, endpoint: usize, suspends: bool) {
        let Some(frame) = self.wires[endpoint].pop_front() else { return };
        let header = Frame::decode(&mut frame.clone()).expect("a core sends valid frames");
        self.windows[1 - endpoint].arrive(header);
        let end = &mut self.endpoints[endpoint];
        let event = end.core.handle(self.now, frame).expect("an honest endpoint causes no protocol error");
        match event {
            Event::Call(call) => {
                end.core.check_id(call.handler).expect("an id that is not in flight");
                let number = u64::from_le_bytes(call.payload[..8].try_into().expect("eight bytes"));
                assert!(number > end.last_received, "call {number} arrived after {}", end.last_received);
                end.last_received = number;
                if suspends {
                    end.core.insert_handler(call.handler, call.handler);
                }
                end.running.push(call);
            }
            Event::Completed { consumer, .. } => end.outcome(consumer),
            Event::Cancelled(id) => self.cancelled(endpoint, HandlerId::Request(id)),
            Event::Handled => {}
            other => panic!("unexpected event {other:?}"),
        }
    }

    fn cancelled(&mut self, endpoint: usize, running: HandlerId) {
        let all = &mut self.endpoints[endpoint].running;
        if let Some(at) = all.iter().position(|call| call.handler == running) {
            let call = all.remove(at);
            self.end(endpoint, &call, Some(FailureCode::Cancelled), 0);
        }
    }

    fn end(&mut self, endpoint: usize, call: &IncomingCall, failure: Option<FailureCode>, size: usize) {
        let core = &mut self.endpoints[endpoint].core;
        match call.handler {
            HandlerId::Request(id) => {
                let reply = vec![0; size];
                let reply = Payload::Copied(&reply);
                let outcome = failure.map_or(Response::Reply(&reply), |code| Response::Failure(code, "text"));
                core.respond(self.now, id, call.permit, &outcome);
            }
            HandlerId::Emit(_) => core.end_emit(call.handler, call.permit),
        }
        self.transmit();
    }

    fn advance(&mut self, time: Duration) {
        self.now += time;
        for endpoint in 0..2 {
            while self.endpoints[endpoint].core.next_timeout().is_some_and(|at| at <= self.now) {
                for (consumer, _) in self.endpoints[endpoint].core.handle_timeout(self.now) {
                    self.endpoints[endpoint].outcome(consumer);
                }
                self.transmit();
            }
        }
    }

    /// Moves the frames that the cores have to send onto the wires.
    fn transmit(&mut self) {
        for endpoint in 0..2 {
            let mut bytes = self.endpoints[endpoint].core.send_buffer().take_all();
            while let Some(frame) = next_frame(&mut bytes) {
                assert!(frame.len() <= MAX_FRAME as usize);
                let header = Frame::decode(&mut frame.clone()).expect("a core sends valid frames");
                self.windows[1 - endpoint].send(header, frame.len());
                self.wires[1 - endpoint].push_back(frame);
            }
        }
    }

    /// Delivers frames and ends handlers until no frame is in transit and no call is in flight.
    pub(super) fn finish(&mut self) {
        for _ in 0..3_000 {
            let is_idle =
                |end: &Endpoint| end.running.is_empty() && end.core.is_idle() && end.core.calls_in_flight() == 0;
            if self.wires.iter().all(VecDeque::is_empty) && self.endpoints.iter().all(is_idle) {
                return self.assert_ended();
            }
            for endpoint in 0..2 {
                self.deliver(endpoint, true);
                self.transmit();
                if self.endpoints[endpoint].running.is_empty() {
                    continue;
                }
                let call = self.endpoints[endpoint].running.remove(0);
                self.end(endpoint, &call, None, 0);
            }
            self.advance(Duration::from_millis(10));
        }
        panic!("the conversation does not end: {:?}", self.endpoints.each_ref().map(|end| &end.waiting));
    }

    fn assert_ended(&self) {
        for end in &self.endpoints {
            assert_eq!(end.waiting, BTreeMap::new(), "no request is left without an outcome");
            assert!(end.outcomes.values().all(|count| *count == 1), "{:?}", end.outcomes);
        }
        self.windows.iter().for_each(Window::assert_free);
    }

    /// Closes both endpoints, as both would close after the loss of the connection.
    pub(super) fn break_off(mut self) {
        for end in &mut self.endpoints {
            let (ended, handlers) = end.core.close();
            for (consumer, _) in ended {
                end.outcome(consumer);
            }
            assert!(handlers.len() <= end.running.len());
            assert_eq!(end.waiting, BTreeMap::new(), "no request is left without an outcome");
            assert!(end.outcomes.values().all(|count| *count == 1), "{:?}", end.outcomes);
        }
    }
}

impl Endpoint {
    fn outcome(&mut self, consumer: u64) {
        self.waiting.remove(&consumer).expect("a result for a caller that waits");
        *self.outcomes.entry(consumer).or_default() += 1;
    }
}
