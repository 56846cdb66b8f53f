//! An honest endpoint. It consists of a core, the models of the core's state, and the behavior of a
//! driver.

use std::{collections::VecDeque, time::Instant};

use bytes::Bytes;

use crate::{
    engine::{Engine, Limits, is_refusal},
    incoming::Incoming,
    keep_alive::KeepAliveModel,
    latest::Buffered,
    outgoing::Outgoing,
    resumption::RetransmitModel,
    window::Window,
};
use sockets_proto::{self as proto, CloseReason, FailureCode, Frame, HandlerId, IncomingCall, PREFIX, Response};

/// The current time, and the number of the last message that any endpoint sent.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    pub(super) now: Instant,
    pub(super) last: u64,
}

/// The number of bytes that each handler counts in addition to its call.
const HANDLER_OVERHEAD: usize = 2048;

#[expect(clippy::struct_excessive_bools, reason = "they are independent of each other")]
pub(super) struct Endpoint {
    pub(super) role: proto::Role,
    pub(super) engine: Engine,
    pub(super) outgoing: Outgoing,
    pub(super) incoming: Incoming,
    /// The model of keep-alive. The field is `None` if keep-alive is disabled.
    pub(super) keep_alive: Option<KeepAliveModel>,
    pub(super) local: Limits,
    pub(super) peer: Limits,
    /// `true` if the peer keeps to the protocol.
    pub(super) peer_is_honest: bool,
    pub(super) is_open: bool,
    /// `true` if the peer's calls may start.
    pub(super) ready: bool,
    pub(super) handlers_started: u64,
    /// `true` after the ready frame was received. The peer may send this frame only once.
    pub(super) received_ready: bool,
    /// `true` after the go-away was received. The peer may send this frame only once.
    pub(super) received_go_away: bool,
    /// `true` after the drained frame was received. The peer may send this frame only once.
    pub(super) received_drained: bool,
    pub(super) sent_go_away: bool,
    pub(super) is_drained_due: bool,
    /// `true` if the endpoint has no connection.
    pub(super) is_detached: bool,
    pub(super) retransmit: RetransmitModel,
    /// The control frames that the endpoint has requested and that are not in the send buffer.
    control_frames: VecDeque<Frame>,
    /// The frames that have not been written completely. Each entry consists of a flag and of the
    /// number of bytes still to be written. The flag is `true` if the frame is a call.
    pub(super) unwritten: VecDeque<(bool, usize)>,
    /// The emits in the send buffer that newer emits replace.
    pub(super) buffered: Vec<Buffered>,
    /// The place of the emit that the last emit of the step has replaced, if any.
    pub(super) replacement: Option<&'static str>,
    /// The numbers of the calls of which the endpoint has transmitted no byte.
    pub(super) unsent_calls: Vec<u64>,
    /// The handlers of a previous session that were cancelled and have not ended.
    stale: Vec<IncomingCall>,
}

impl Endpoint {
    pub(super) fn new(role: proto::Role, local: Limits, peer: Limits, peer_is_honest: bool, now: Instant) -> Self {
        Self {
            role,
            engine: Engine::new(role, local, peer),
            outgoing: Outgoing::new(Window::between(local, peer), now),
            incoming: Incoming::new(Window::between(local, peer), peer.max_frame),
            keep_alive: None,
            local,
            peer,
            peer_is_honest,
            is_open: true,
            ready: role == proto::Role::Client,
            handlers_started: 0,
            received_ready: false,
            received_go_away: false,
            received_drained: false,
            sent_go_away: false,
            is_drained_due: false,
            is_detached: false,
            retransmit: RetransmitModel::default(),
            control_frames: VecDeque::new(),
            unwritten: VecDeque::new(),
            buffered: Vec::new(),
            replacement: None,
            unsent_calls: Vec::new(),
            stale: Vec::new(),
        }
    }

    /// Sends a control frame. Control frames need no window.
    pub(super) fn send_control(&mut self, now: Instant, frame: Frame, text: &str) {
        self.control_frames.push_back(frame);
        self.engine.send_control(frame, text);
        self.process_queued(now);
        assert!(self.control_frames.is_empty(), "control frames {:?} are not queued", self.control_frames);
    }

    /// Takes at most `max` bytes, which the driver writes to the connection.
    pub(super) fn write(&mut self, now: Instant, max: usize) -> Bytes {
        let bytes = self.transmit_bytes(now, max);
        self.engine.on_writable(now);
        self.process_queued(now);
        bytes
    }

    /// Records that the endpoint has lost its connection.
    pub(super) fn detach(&mut self) {
        (self.is_detached, self.outgoing.is_detached) = (true, true);
        // If the server goes away, the client does not return to that server.
        self.received_go_away &= self.role == proto::Role::Server;
        self.engine.detach();
    }

    /// Sets the frames that the endpoint retransmits. The flag is `true` for a call.
    pub(super) fn set_unwritten(&mut self, frames: impl IntoIterator<Item = (bool, usize)>) {
        self.unwritten = frames.into_iter().collect();
        self.buffered.clear();
        self.unsent_calls.clear();
    }

    /// Continues on another connection with a server that does not know this session. The calls in
    /// flight end, and the endpoint keeps no state for them. It sends the pending messages to the
    /// new server.
    pub(super) fn reset(&mut self, now: Instant, peer: Limits) {
        let ids = self.outgoing.sent_ids();
        let kept = self.take_buffered();
        self.outgoing.add_pending(kept);
        let (ended, stopped) = self.engine.reset(now, self.local, peer);
        self.stale.extend(self.incoming.on_close(stopped).into_iter().map(|handler| handler.call));
        self.outgoing.reset(now, Window::between(self.local, peer), peer.max_frame, ended, &self.unsent_calls);
        let new = Self::new(self.role, self.local, peer, self.peer_is_honest, now);
        let old = std::mem::replace(self, new);
        (self.engine, self.outgoing) = (old.engine, old.outgoing);
        (self.handlers_started, self.stale) = (old.handlers_started, old.stale);
        // These calls have ended. Nevertheless callers may cancel these calls later.
        for id in ids {
            self.engine.cancel(now, id);
        }
        self.engine.flush(now);
        self.process_queued(now);
    }

    /// Ends a handler of a previous session. The peer must not notice the end of this handler.
    pub(super) fn end_stale_handler(&mut self, now: Instant) {
        let Some(call) = self.stale.pop() else { return };
        match call.handler {
            HandlerId::Request(id) => {
                self.engine.respond(now, id, call.permit, &Response::Failure(FailureCode::Cancelled, ""));
            }
            HandlerId::Emit(_) => self.engine.end_emit(now, call.handler, call.permit),
        }
        self.process_queued(now);
    }

    fn transmit_bytes(&mut self, now: Instant, max: usize) -> Bytes {
        if self.engine.is_written() {
            self.unsent_calls.clear();
            self.buffered.clear();
            let (waiting, before) = (self.engine.unsent_bytes(), self.engine.retained());
            self.record_first_transmission();
            if let Some(control) = self.engine.transmit() {
                self.on_connection_frame(now, &control);
            }
            if let Some(keep_alive) = self.keep_alive.as_mut().filter(|_| self.engine.unwritten() > 0) {
                keep_alive.on_transmit(now);
            }
            self.check_acknowledged(waiting == 0);
            let (retained, max) =
                (self.engine.retained(), if waiting == 0 { before } else { waiting.max(self.local.retained) });
            assert!(retained <= max, "{retained} bytes are retained, at most {max} are allowed");
        }
        let bytes = self.engine.write(max);
        if let Some(keep_alive) = self.keep_alive.as_mut().filter(|_| !bytes.is_empty()) {
            keep_alive.on_sent(now);
        }
        let mut written = bytes.len();
        while let Some((_, left)) = self.unwritten.front_mut().filter(|_| written > 0) {
            let step = written.min(*left);
            *left -= step;
            written -= step;
            if *left == 0 {
                self.unwritten.pop_front();
            }
        }
        bytes
    }

    /// Checks the frames that the core has queued in the last step, and the state of the models.
    pub(super) fn process_queued(&mut self, now: Instant) {
        for frame in self.engine.queued_frames() {
            self.on_frame_queued(now, frame);
        }
        let (unwritten, half) = (self.engine.unsent_bytes(), self.local.queue / 2);
        self.outgoing.check(unwritten > 0 && unwritten >= half);
        self.incoming.check(now, &mut self.outgoing);
        self.check();
    }

    fn on_frame_queued(&mut self, now: Instant, frame: Bytes) {
        let length = frame.len();
        assert!(length <= self.peer.max_frame as usize, "a frame of {length} bytes exceeds the limit of the peer");
        let mut payload = frame.clone();
        let header = Frame::decode(&mut payload).expect("a core sends valid frames");
        let is_call = matches!(header, Frame::Emit { .. } | Frame::Request { .. });
        self.unwritten.push_back((is_call, PREFIX + length));
        self.record_queued(&frame, number_in(&payload).filter(|_| is_call));
        match header {
            Frame::Emit { .. } | Frame::Request { .. } => {
                let number = number_in(&payload).expect("calls of an honest endpoint are numbered");
                self.unsent_calls.push(number);
                self.record_buffered(header, number, length);
                assert_eq!(payload, payload_of(number, payload.len()), "the payload is unchanged");
                self.outgoing.on_queued(now, header, length, number);
            }
            Frame::Cancel { id } => self.outgoing.on_cancel_queued(id),
            Frame::Reply { .. } | Frame::Failure { .. } => {
                self.incoming.on_reply_queued(now, header, &payload, &mut self.outgoing);
            }
            Frame::Credit { calls, bytes } => self.incoming.on_credit_queued(calls, bytes),
            Frame::Drained => {
                assert!(std::mem::take(&mut self.is_drained_due), "a drained frame without a go-away");
                self.outgoing.on_drained_queued(now);
            }
            Frame::Ready | Frame::GoAway | Frame::Close { .. } => {
                assert_eq!(self.control_frames.pop_front(), Some(header), "only requested control frames are sent");
            }
            Frame::Heartbeat
            | Frame::Ack { .. }
            | Frame::Signatures
            | Frame::Skipped { .. }
            | Frame::Unknown { .. } => panic!("unexpected {header:?} in the queue"),
        }
    }

    /// Records a frame that concerns only the connection and is not part of the session.
    fn on_connection_frame(&mut self, now: Instant, frame: &Bytes) {
        self.unwritten.push_back((false, PREFIX + frame.len()));
        match Frame::decode(&mut frame.clone()) {
            Ok(Frame::Heartbeat) => self.keep_alive.as_ref().expect("a heartbeat without keep-alive").on_heartbeat(now),
            Ok(Frame::Ack { position }) => self.on_ack_sent(position),
            other => panic!("{other:?} is not connection-scoped"),
        }
    }

    /// Checks that no state leaks or grows without bound.
    fn check(&mut self) {
        if !self.is_open {
            return;
        }
        assert_eq!(self.engine.calls_in_flight(), self.outgoing.calls_in_flight(), "requests in flight");
        let is_idle = self.incoming.is_idle()
            && self.outgoing.waiting.is_empty()
            && self.outgoing.has_no_pending()
            && !self.is_drained_due;
        assert_eq!(self.engine.is_idle(), is_idle, "the core is idle");

        let held = self.engine.held_bytes();
        let calls = self.incoming.handlers.iter().map(|handler| handler.length);
        let calls = calls.chain(self.incoming.held.iter().map(|held| held.length));
        let counted = self.engine.queued()
            + self.engine.retained()
            + calls.map(|length| 2 * length + HANDLER_OVERHEAD).sum::<usize>();
        assert_eq!(held, counted, "held bytes");

        assert!(self.outgoing.pending_requests() <= self.local.calls as usize, "too many pending requests");
        let (queue, max_frame) = (self.local.queue, self.peer.max_frame as usize);
        let calls: usize = self.unwritten.iter().filter(|(is_call, _)| *is_call).map(|(_, length)| length).sum();
        let max_calls = self.outgoing.window.max_bytes(self.peer.max_frame) + queue + max_frame;
        assert!(calls <= max_calls, "{calls} bytes of calls are unwritten, at most {max_calls} are allowed");
        // `max` includes the pending requests and replies. For each call, it also includes a
        // cancel, and either a failure or a credit.
        let max = max_calls + 3 * (queue + max_frame) + 128 * self.local.calls.min(self.peer.calls) as usize;
        let queued = self.engine.queued();
        assert!(queued <= max, "{queued} bytes are queued, at most {max} are allowed");
    }

    /// Handles all timers that are due.
    pub(super) fn handle_timeouts(&mut self, moment: Moment) {
        if self.engine.next_timeout().is_some_and(|at| at <= moment.now) {
            for (number, result) in self.engine.handle_timeout(moment.now) {
                self.outgoing.on_timeout(moment.now, number, &result);
            }
            let next = self.engine.next_timeout();
            assert!(next.is_none_or(|at| at > moment.now), "the timer fires again at once");
            self.process_queued(moment.now);
        }
        let has_output = self.engine.unwritten() > 0 || self.engine.has_control_frames();
        if let Some(keep_alive) = self.keep_alive.as_ref().filter(|_| !self.is_detached) {
            keep_alive.check_time(moment.now, has_output);
        }
        self.outgoing.check_time(moment.now);
        self.incoming.check_time(moment.now, &self.outgoing);
    }

    /// Ends the session.
    pub(super) fn close(&mut self) {
        // If the endpoint has no connection, it knows which calls it has not sent.
        let unsent_calls = if self.is_detached { self.unsent_calls.clone() } else { Vec::new() };
        self.close_without(&unsent_calls);
    }

    /// Ends the session after a close frame. If the close frame refuses the session, the server has
    /// executed none of its calls.
    pub(super) fn on_closed(&mut self, reason: CloseReason) {
        if is_refusal(reason) && !self.received_ready {
            let all_calls: Vec<_> = self.outgoing.waiting.keys().copied().collect();
            self.close_without(&all_calls);
        } else {
            self.close();
        }
    }

    /// Ends the session. The peer has not executed the calls in `unsent_calls`.
    fn close_without(&mut self, unsent_calls: &[u64]) {
        let (ended, stopped) = self.engine.close();
        self.outgoing.on_close(ended, unsent_calls);
        self.incoming.on_close(stopped);
        assert_eq!(self.engine.calls_in_flight(), 0, "calls remain after the end");
        self.is_open = false;
    }

    /// Sends a close frame and ends the session. Returns the bytes that the driver still has to
    /// write.
    pub(super) fn close_with(&mut self, now: Instant, reason: CloseReason, text: &str) -> Vec<u8> {
        self.send_control(now, Frame::Close { reason }, text);
        let mut bytes = Vec::new();
        while self.engine.unwritten() > 0 {
            bytes.extend(self.transmit_bytes(now, usize::MAX));
        }
        self.close();
        bytes
    }

    /// Returns the number of bytes that count against the queue's limit. They are the queued bytes,
    /// and the bytes that the endpoint retains beyond the limit for retained bytes.
    pub(super) fn backlog(&self) -> usize {
        self.engine.queued() + self.engine.retained().saturating_sub(self.retained_limit())
    }

    /// Returns `true` if no call is in flight and no frame is unwritten.
    pub(super) fn is_quiescent(&mut self) -> bool {
        self.engine.unwritten() == 0
            && !self.engine.has_control_frames()
            && self.engine.is_idle()
            && self.outgoing.calls_in_flight() == 0
    }

    /// Checks an endpoint that has no calls in flight. The receiver may still withhold credit for a
    /// few emits.
    pub(super) fn check_freed(&mut self, mut now: Instant) {
        assert_eq!(self.engine.queued(), 0, "bytes remain queued");
        let window = &self.outgoing.window;
        assert!(!window.is_credit_due(window.calls, window.bytes), "{} calls are not returned", window.calls);
        if self.keep_alive.is_some() {
            // The timer of keep-alive never stops.
            return;
        }
        for _ in 0..8 {
            let Some(at) = self.engine.next_timeout() else { return };
            now = now.max(at);
            self.handle_timeouts(Moment { now, last: 0 });
        }
        panic!("a timer keeps firing while nothing is in flight");
    }
}

/// Returns a payload that contains the number of its message.
pub(super) fn payload_of(number: u64, length: usize) -> Vec<u8> {
    let [filler, ..] = number.to_le_bytes();
    let mut payload = number.to_le_bytes().to_vec();
    payload.resize(length.max(8), filler);
    payload
}

pub(super) fn number_in(payload: &[u8]) -> Option<u64> {
    payload.first_chunk().map(|number| u64::from_le_bytes(*number))
}
