//! What a side's program does: calls, emits, and handlers that end.

use std::time::Duration;

use crate::{
    engine::as_encoded,
    incoming::{Ending, Handler},
    outgoing::{Kind, Message, Waiting},
    side::{Moment, Side, payload_of},
};
use sockets_proto::{CallId, CallOrigin, FailureCode, Frame, HandlerId, Response, SendOutcome, WindowPermit};

pub(super) const KEY: u64 = 0x0123_4567_89ab_cdef;
pub(super) const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

impl Side {
    /// Makes a request, which has the number `moment.last`. A handler waits for its own; `true` if it is under way.
    pub(super) fn request(&mut self, moment: Moment, size: usize, timeout: Duration, by: Option<usize>) -> bool {
        let (number, payload) = (moment.last, payload_of(moment.last, size));
        let caller = by.map_or(CallOrigin::Other, |_| CallOrigin::Handler);
        let handler = by.map(|at| self.incoming.handlers[at].number);
        match self.engine.request(moment.now, KEY, timeout, &payload, number, caller) {
            Ok(id) => {
                let header = Frame::Request { id, timeout: millis(timeout), key: KEY }.header();
                let length = header.len() + payload.len();
                let kind = Kind::Request(id, by.is_some());
                self.outgoing
                    .accept(moment.now, Message { number, length, kind, handler, recallable: None, new: true });
                let deadline = moment.now + timeout.min(LONGEST);
                self.outgoing.waiting.insert(number, Waiting { id, deadline });
                if let Some(at) = by {
                    self.incoming.handlers[at].waits_for = Some(number);
                }
                assert!(!self.heard_going_away, "a server that goes away is called");
                self.settle(moment.now);
                true
            }
            Err(refused) => {
                self.check_refusal(refused, payload.len());
                self.settle(moment.now);
                false
            }
        }
    }

    /// Whether a request is rightly refused.
    pub(super) fn check_refusal(&mut self, refused: SendOutcome, payload: usize) {
        // Its header has at most so many bytes.
        let most = payload + 29;
        match refused {
            SendOutcome::TooLarge { .. } => assert!(most > self.theirs.max_frame as usize, "it is small enough"),
            SendOutcome::ShuttingDown => assert!(self.heard_going_away, "nobody goes away"),
            SendOutcome::Full => {
                assert!(!self.outgoing.admits(most), "a request is refused that could be sent");
                let bytes = self.outgoing.parked_request_bytes();
                let is_full = self.outgoing.parked_requests() >= self.ours.calls as usize || bytes >= self.ours.queue;
                assert!(is_full, "a request is refused that could wait");
            }
            other => panic!("a request is refused with {other:?}"),
        }
    }

    /// Sends an emit, if there is room for it.
    pub(super) fn emit(&mut self, moment: Moment, size: usize, by: Option<usize>) -> bool {
        let (number, payload) = (moment.last, payload_of(moment.last, size));
        let caller = by.map_or(CallOrigin::Other, |_| CallOrigin::Handler);
        let handler = by.map(|at| self.incoming.handlers[at].number);
        let length = Frame::Emit { key: KEY }.header().len() + payload.len();
        let has_room = self.backlog() < self.ours.queue;
        let waits = by.is_none() && !self.is_away && self.outgoing.nothing_is_parked() && !self.outgoing.admits(length);
        match self.engine.emit(moment.now, KEY, &payload, caller) {
            SendOutcome::Sent | SendOutcome::Pending => {
                assert!(has_room && !waits, "an emit does not wait for room");
                self.outgoing.accept(
                    moment.now,
                    Message { number, length, kind: Kind::Emit, handler, recallable: None, new: true },
                );
                self.settle(moment.now);
                return true;
            }
            SendOutcome::Full => assert!(!has_room || waits, "an emit waits, and there is room"),
            SendOutcome::TooLarge { .. } => assert!(length > self.theirs.max_frame as usize, "it is small enough"),
            SendOutcome::Dropped | SendOutcome::ShuttingDown => panic!("emits to one are not refused"),
        }
        self.settle(moment.now);
        false
    }

    /// A caller gives up.
    pub(super) fn cancel(&mut self, moment: Moment, number: u64) {
        let id = self.outgoing.waiting[&number].id;
        self.outgoing.withdraw(number);
        self.engine.cancel(moment.now, id);
        self.settle(moment.now);
        // The core does not mind if it is told again.
        self.engine.cancel(moment.now, id);
        self.settle(moment.now);
    }

    /// A handler ends. One that waits for a call of its own gives it up.
    pub(super) fn end(&mut self, moment: Moment, at: usize, ending: Ending) {
        let handler = self.incoming.handlers.remove(at);
        if let Some(number) = handler.waits_for.filter(|number| self.outgoing.waiting.contains_key(number)) {
            // It runs no more, but is known until it has ended.
            self.incoming.handlers.insert(at, handler);
            self.cancel(moment, number);
            self.incoming.handlers[at].waits_for = None;
            return self.end(moment, at, ending);
        }
        let Handler { number, called, length, came, .. } = handler;
        match called.handler {
            HandlerId::Request(id) => {
                self.incoming.request_ended(id, length, Some(number), came, ending.clone());
                self.answer(moment, id, called.permit, &ending);
            }
            HandlerId::Emit(_) => {
                self.incoming.emit_ended(length);
                self.engine.end_emit(called.handler, called.permit);
            }
        }
        self.settle(moment.now);
    }

    pub(super) fn answer(&mut self, moment: Moment, id: CallId, place: WindowPermit, ending: &Ending) {
        match ending {
            Ending::Reply(reply) => {
                self.engine.answer(moment.now, id, place, &Response::Reply(&as_encoded(reply)));
            }
            Ending::Failure(code, text) => {
                self.engine.answer(moment.now, id, place, &Response::Failure(*code, text));
            }
        }
    }

    /// Ends the handlers whose time is up.
    pub(super) fn expire(&mut self, moment: Moment) {
        while let Some(at) = self.incoming.handlers.iter().position(|handler| handler.deadline <= moment.now) {
            self.end(moment, at, Ending::Failure(FailureCode::Timeout, String::new()));
        }
    }

    /// Whether a handler could end by itself now.
    pub(super) fn can_end(&self, at: usize) -> bool {
        let waits_for = self.incoming.handlers[at].waits_for;
        waits_for.is_none_or(|number| !self.outgoing.waiting.contains_key(&number))
    }
}

pub(super) fn millis(timeout: Duration) -> u64 {
    u64::try_from(timeout.min(LONGEST).as_millis()).expect("a week is not long").max(1)
}
