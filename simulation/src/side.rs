//! One honest side: a core, the account of what goes through it, and the manners of a driver.

use std::{collections::VecDeque, time::Instant};

use bytes::Bytes;

use crate::{
    engine::{Engine, Setting},
    incoming::Incoming,
    liveness::Vigil,
    outgoing::Outgoing,
    resuming::Reliability,
    window::Window,
};
use sockets_proto::{self as proto, CloseReason, FailureCode, Frame, HandlerId, IncomingCall, PREFIX, Response};

/// The time, and the number of the last message that anybody sent.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    pub(super) now: Instant,
    pub(super) last: u64,
}

/// How many bytes count for each handler, besides its call.
const HANDLER: usize = 2048;

#[expect(clippy::struct_excessive_bools, reason = "they are independent of each other")]
pub(super) struct Side {
    pub(super) kind: proto::Role,
    pub(super) engine: Engine,
    pub(super) outgoing: Outgoing,
    pub(super) incoming: Incoming,
    /// Whether the other side is there, if this side minds.
    pub(super) vigil: Option<Vigil>,
    pub(super) ours: Setting,
    pub(super) theirs: Setting,
    /// The other side keeps to the protocol.
    pub(super) trusts: bool,
    pub(super) is_open: bool,
    /// Calls of the other side may start.
    pub(super) ready: bool,
    pub(super) handlers_started: u64,
    /// What the other side has said that it may say once.
    pub(super) heard_ready: bool,
    pub(super) heard_going_away: bool,
    pub(super) heard_drained: bool,
    pub(super) said_going_away: bool,
    pub(super) owes_drained: bool,
    /// There is no link.
    pub(super) is_away: bool,
    pub(super) reliability: Reliability,
    /// What was said that is not in the queue to the wire.
    said: VecDeque<Frame>,
    /// The frames in that queue, and whether they are calls.
    unwritten: VecDeque<(bool, usize)>,
    /// The numbers of the calls of which no byte has been taken for the wire.
    kept_back: Vec<u64>,
    /// Handlers of a session before this one that have been stopped, and have not ended.
    late: Vec<IncomingCall>,
}

impl Side {
    pub(super) fn new(kind: proto::Role, ours: Setting, theirs: Setting, trusts: bool, now: Instant) -> Self {
        Self {
            kind,
            engine: Engine::new(kind, ours, theirs),
            outgoing: Outgoing::new(Window::between(ours, theirs), now),
            incoming: Incoming::new(Window::between(ours, theirs), theirs.max_frame),
            vigil: None,
            ours,
            theirs,
            trusts,
            is_open: true,
            ready: kind == proto::Role::Client,
            handlers_started: 0,
            heard_ready: false,
            heard_going_away: false,
            heard_drained: false,
            said_going_away: false,
            owes_drained: false,
            is_away: false,
            reliability: Reliability::default(),
            said: VecDeque::new(),
            unwritten: VecDeque::new(),
            kept_back: Vec::new(),
            late: Vec::new(),
        }
    }

    /// Says something that needs no window.
    pub(super) fn say(&mut self, now: Instant, frame: Frame, text: &str) {
        self.said.push_back(frame);
        self.engine.say(frame, text);
        self.settle(now);
        assert!(self.said.is_empty(), "{:?} is not queued", self.said);
    }

    /// Takes bytes for the wire.
    pub(super) fn write(&mut self, now: Instant, most: usize) -> Bytes {
        let bytes = self.take(now, most);
        self.engine.go_on(now);
        self.settle(now);
        bytes
    }

    /// The link has broken.
    pub(super) fn rest(&mut self) {
        (self.is_away, self.outgoing.is_away) = (true, true);
        // A server that goes away is not come back to.
        self.heard_going_away &= self.kind == proto::Role::Server;
        self.engine.rest();
    }

    /// The frames that are being sent again, and whether they are calls.
    pub(super) fn set_unwritten(&mut self, frames: impl IntoIterator<Item = (bool, usize)>) {
        self.unwritten = frames.into_iter().collect();
        self.kept_back.clear();
    }

    /// There is another link, to a server that knows nothing of this side: what is under way ends, and nothing of it is left. What has
    /// not left goes there.
    pub(super) fn start_anew(&mut self, now: Instant, theirs: Setting) {
        let ids = self.outgoing.flying();
        let (told, stopped) = self.engine.start_anew(now, self.ours, theirs);
        self.late.extend(self.incoming.closed(stopped).into_iter().map(|handler| handler.called));
        self.outgoing.start_anew(now, Window::between(self.ours, theirs), theirs.max_frame, told, &self.kept_back);
        let begun = Self::new(self.kind, self.ours, theirs, self.trusts, now);
        let ended = std::mem::replace(self, begun);
        (self.engine, self.outgoing) = (ended.engine, ended.outgoing);
        (self.handlers_started, self.late) = (ended.handlers_started, ended.late);
        // Callers that have been told may still go away, as far as the core can know.
        for id in ids {
            self.engine.cancel(now, id);
        }
        self.engine.set_off(now);
        self.settle(now);
    }

    /// A handler of the session before this one ends: that says nothing to anybody.
    pub(super) fn end_late(&mut self, now: Instant) {
        let Some(called) = self.late.pop() else { return };
        match called.handler {
            HandlerId::Request(id) => {
                self.engine.answer(now, id, called.permit, &Response::Failure(FailureCode::Cancelled, ""));
            }
            HandlerId::Emit(_) => self.engine.end_emit(called.handler, called.permit),
        }
        self.settle(now);
    }

    fn take(&mut self, now: Instant, most: usize) -> Bytes {
        if self.engine.takes() {
            self.kept_back.clear();
            let (waiting, before) = (self.engine.waiting(), self.engine.kept());
            self.note_first_sent();
            if let Some(word) = self.engine.hand_over() {
                self.said_about_the_link(now, &word);
            }
            if let Some(vigil) = self.vigil.as_mut().filter(|_| self.engine.unwritten() > 0) {
                vigil.handed_over(now);
            }
            self.check_acknowledged(waiting == 0);
            let (kept, most) = (self.engine.kept(), if waiting == 0 { before } else { waiting.max(self.ours.kept) });
            assert!(kept <= most, "{kept} bytes are kept, at most {most} may be");
        }
        let bytes = self.engine.write(most);
        if let Some(vigil) = self.vigil.as_mut().filter(|_| !bytes.is_empty()) {
            vigil.said(now);
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

    /// Looks at what the last step has queued for the wire, and whether all is as it should be.
    pub(super) fn settle(&mut self, now: Instant) {
        for frame in self.engine.queued_frames() {
            self.queued(now, frame);
        }
        let (unwritten, half) = (self.engine.waiting(), self.ours.queue / 2);
        self.outgoing.check(unwritten > 0 && unwritten >= half);
        self.incoming.check(now, &mut self.outgoing);
        self.check();
    }

    fn queued(&mut self, now: Instant, frame: Bytes) {
        let length = frame.len();
        assert!(
            length <= self.theirs.max_frame as usize,
            "a frame of {length} bytes is longer than the other side accepts"
        );
        let mut payload = frame.clone();
        let header = Frame::decode(&mut payload).expect("a core sends frames");
        let is_call = matches!(header, Frame::Emit { .. } | Frame::Request { .. });
        self.unwritten.push_back((is_call, PREFIX + length));
        self.note_sent(&frame, number_in(&payload).filter(|_| is_call));
        match header {
            Frame::Emit { .. } | Frame::Request { .. } => {
                let number = number_in(&payload).expect("calls of an honest side are numbered");
                self.kept_back.push(number);
                assert_eq!(payload, payload_of(number, payload.len()), "the payload is as it was given");
                self.outgoing.queued(now, header, length, number);
            }
            Frame::Cancel { id } => self.outgoing.cancel_queued(id),
            Frame::Reply { .. } | Frame::Failure { .. } => {
                self.incoming.answer_queued(now, header, &payload, &mut self.outgoing);
            }
            Frame::Credit { calls, bytes } => self.incoming.credit_queued(calls, bytes),
            Frame::Drained => {
                assert!(std::mem::take(&mut self.owes_drained), "nobody asked for word that no more calls come");
                self.outgoing.drained_queued(now);
            }
            Frame::Ready | Frame::GoAway | Frame::Close { .. } => {
                assert_eq!(self.said.pop_front(), Some(header), "only what was said is sent");
            }
            Frame::Heartbeat
            | Frame::Ack { .. }
            | Frame::Signatures
            | Frame::Skipped { .. }
            | Frame::Unknown { .. } => panic!("{header:?} is not ours to queue"),
        }
    }

    /// A frame goes out that is not a part of the session.
    fn said_about_the_link(&mut self, now: Instant, frame: &Bytes) {
        self.unwritten.push_back((false, PREFIX + frame.len()));
        match Frame::decode(&mut frame.clone()) {
            Ok(Frame::Heartbeat) => self.vigil.as_ref().expect("nobody minds silence").heartbeat_said(now),
            Ok(Frame::Ack { position }) => self.acknowledged(position),
            other => panic!("{other:?} says nothing about the link"),
        }
    }

    /// Nothing leaks and nothing grows.
    fn check(&mut self) {
        if !self.is_open {
            return;
        }
        assert_eq!(self.engine.unanswered(), self.outgoing.unanswered(), "requests without an answer");
        let is_idle = self.incoming.is_idle()
            && self.outgoing.waiting.is_empty()
            && self.outgoing.nothing_is_parked()
            && !self.owes_drained;
        assert_eq!(self.engine.is_idle(), is_idle, "whether nothing is under way");

        let held = self.engine.held();
        let calls = self.incoming.handlers.iter().map(|handler| handler.length);
        let calls = calls.chain(self.incoming.held.iter().map(|held| held.length));
        let counted =
            self.engine.queued() + self.engine.kept() + calls.map(|length| 2 * length + HANDLER).sum::<usize>();
        assert_eq!(held, counted, "bytes that are held and counted");

        assert!(self.outgoing.parked_requests() <= self.ours.calls as usize, "more requests wait than may");
        let (queue, max_frame) = (self.ours.queue, self.theirs.max_frame as usize);
        let calls: usize = self.unwritten.iter().filter(|(is_call, _)| *is_call).map(|(_, length)| length).sum();
        let most_calls = self.outgoing.window.most(self.theirs.max_frame) + queue + max_frame;
        assert!(calls <= most_calls, "{calls} bytes of calls wait for the wire, at most {most_calls} may");
        // Requests that wait for a window, answers, and for each call a failure or a credit, and a cancel.
        let most = most_calls + 2 * (queue + max_frame) + 128 * self.ours.calls.min(self.theirs.calls) as usize;
        let queued = self.engine.queued();
        assert!(queued <= most, "{queued} bytes wait, at most {most} may");
    }

    /// Does what is due by now.
    pub(super) fn keep_time(&mut self, moment: Moment) {
        if self.engine.next_timeout().is_some_and(|at| at <= moment.now) {
            for (number, answer) in self.engine.handle_timeout(moment.now) {
                self.outgoing.timed(moment.now, number, &answer);
            }
            let next = self.engine.next_timeout();
            assert!(next.is_none_or(|at| at > moment.now), "the timer goes off again at once");
            self.settle(moment.now);
        }
        let is_to_write = self.engine.unwritten() > 0 || self.engine.owes_word();
        if let Some(vigil) = self.vigil.as_ref().filter(|_| !self.is_away) {
            vigil.check_time(moment.now, is_to_write);
        }
        self.outgoing.check_time(moment.now);
        self.incoming.check_time(moment.now, &self.outgoing);
    }

    /// The connection has ended.
    pub(super) fn close(&mut self) {
        let (told, stopped) = self.engine.close();
        // Without a link it is certain what has not been sent.
        self.outgoing.closed(told, if self.is_away { &self.kept_back } else { &[] });
        self.incoming.closed(stopped);
        assert_eq!(self.engine.unanswered(), 0, "calls are kept after the end");
        self.is_open = false;
    }

    /// Ends the connection with a word, and gives what is still to be written.
    pub(super) fn leave(&mut self, now: Instant, reason: CloseReason, text: &str) -> Vec<u8> {
        self.say(now, Frame::Close { reason }, text);
        let mut bytes = Vec::new();
        while self.engine.unwritten() > 0 {
            bytes.extend(self.take(now, usize::MAX));
        }
        self.close();
        bytes
    }

    /// What counts against the limit of the queue: what waits, and what is kept beyond its own limit to be sent again.
    pub(super) fn backlog(&self) -> usize {
        self.engine.queued() + self.engine.kept().saturating_sub(self.may_keep())
    }

    /// Whether nothing is under way, and nothing waits to be written.
    pub(super) fn is_quiet(&mut self) -> bool {
        self.engine.unwritten() == 0
            && !self.engine.owes_word()
            && self.engine.is_idle()
            && self.outgoing.unanswered() == 0
    }

    /// Nothing is under way: then nothing may be left but what is owed for a few emits.
    pub(super) fn check_freed(&mut self, mut now: Instant) {
        assert_eq!(self.engine.queued(), 0, "bytes are left");
        let window = &self.outgoing.window;
        assert!(!window.is_due(window.calls, window.bytes), "{} calls are not given back", window.calls);
        if self.vigil.is_some() {
            // Its timer goes on.
            return;
        }
        for _ in 0..8 {
            let Some(at) = self.engine.next_timeout() else { return };
            now = now.max(at);
            self.keep_time(Moment { now, last: 0 });
        }
        panic!("a timer goes on, and nothing is under way");
    }
}

/// A payload that says which message it is of.
pub(super) fn payload_of(number: u64, length: usize) -> Vec<u8> {
    let [filler, ..] = number.to_le_bytes();
    let mut payload = number.to_le_bytes().to_vec();
    payload.resize(length.max(8), filler);
    payload
}

pub(super) fn number_in(payload: &[u8]) -> Option<u64> {
    payload.first_chunk().map(|number| u64::from_le_bytes(*number))
}
