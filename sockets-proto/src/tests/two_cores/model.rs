//! A model of the window in one direction. The model is written from `PROTOCOL.md`, and observes
//! only the frames.

use std::collections::HashMap;

use crate::{CallId, Frame};

/// The calls in flight in a direction.
pub(super) struct Window {
    calls: u32,
    bytes: u64,
    in_flight_calls: u32,
    in_flight_bytes: u64,
    requests: HashMap<CallId, u64>,
}

impl Window {
    pub(super) fn new((calls, bytes): (u32, u32)) -> Self {
        Self { calls, bytes: bytes.into(), in_flight_calls: 0, in_flight_bytes: 0, requests: HashMap::new() }
    }

    /// Records a frame that is sent in this direction.
    pub(super) fn send(&mut self, frame: Frame, length: usize) {
        let length = length as u64;
        match frame {
            Frame::Request { id, .. } => {
                assert_eq!(self.requests.insert(id, length), None, "an id in flight is reused");
            }
            Frame::Emit { .. } => {}
            _ => return,
        }
        let fits = self.in_flight_bytes + length <= self.bytes || self.in_flight_bytes <= self.bytes / 2;
        assert!(self.in_flight_calls < self.calls && fits, "{frame:?} overruns the window");
        self.in_flight_calls += 1;
        self.in_flight_bytes += length;
    }

    /// Records a frame of the opposite direction, which arrives at the sender of this direction.
    pub(super) fn arrive(&mut self, frame: Frame) {
        let (calls, bytes) = match frame {
            Frame::Reply { id } | Frame::Failure { id, .. } => {
                (1, self.requests.remove(&id).expect("one reply for each request"))
            }
            Frame::Credit { calls, bytes } => (calls, bytes),
            _ => return,
        };
        self.in_flight_calls = self.in_flight_calls.checked_sub(calls).expect("at most the used window is returned");
        self.in_flight_bytes = self.in_flight_bytes.checked_sub(bytes).expect("at most the used window is returned");
    }

    /// Checks that the window is free after all calls have ended. The receiver may withhold credit
    /// for less than a quarter of the window.
    pub(super) fn assert_free(&self) {
        assert!(self.requests.is_empty(), "requests without a reply: {:?}", self.requests);
        assert!(self.in_flight_calls < (self.calls / 4).max(1), "{} calls are not returned", self.in_flight_calls);
        assert!(self.in_flight_bytes < (self.bytes / 4).max(1), "{} bytes are not returned", self.in_flight_bytes);
    }
}
