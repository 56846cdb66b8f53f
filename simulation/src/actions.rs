//! The actions of an endpoint's program. The program makes calls and emits, and ends handlers.

use std::time::Duration;

use crate::{
    endpoint::{Endpoint, Moment, payload_of},
    engine::as_encoded,
    incoming::{Handler, HandlerResult},
    outgoing::{Message, MessageKind, Waiting},
};
use sockets_proto::{CallId, CallOrigin, FailureCode, Frame, HandlerId, Response, SendOutcome, WindowPermit};

pub(super) const KEY: u64 = 0x0123_4567_89ab_cdef;
pub(super) const MAX_TIMEOUT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

impl Endpoint {
    /// Makes a request with the number `moment.last`. If a handler makes the request, the handler
    /// then waits for the result of the request. Returns `true` if the core accepted the request.
    pub(super) fn request(&mut self, moment: Moment, size: usize, timeout: Duration, by: Option<usize>) -> bool {
        let (number, payload) = (moment.last, payload_of(moment.last, size));
        let caller = by.map_or(CallOrigin::Other, |_| CallOrigin::Handler);
        let handler = by.map(|at| self.incoming.handlers[at].number);
        match self.engine.request(moment.now, KEY, timeout, &payload, number, caller) {
            Ok(id) => {
                let header = Frame::Request { id, timeout: millis(timeout), key: KEY }.header();
                let length = header.len() + payload.len();
                let kind = MessageKind::Request(id, by.is_some());
                self.outgoing
                    .accept(moment.now, Message { number, length, kind, handler, evictable: None, is_new: true });
                let deadline = moment.now + timeout.min(MAX_TIMEOUT);
                self.outgoing.waiting.insert(number, Waiting { id, deadline });
                if let Some(at) = by {
                    self.incoming.handlers[at].waits_for = Some(number);
                }
                assert!(!self.received_go_away, "a server that goes away is called");
                self.process_queued(moment.now);
                true
            }
            Err(refused) => {
                self.check_refusal(refused, payload.len());
                self.process_queued(moment.now);
                false
            }
        }
    }

    /// Checks that the core had a valid reason to reject a request.
    pub(super) fn check_refusal(&mut self, refused: SendOutcome, payload: usize) {
        // The maximum length of the header is 29 bytes.
        let max = payload + 29;
        match refused {
            SendOutcome::TooLarge { .. } => {
                assert!(max > self.peer.max_frame as usize, "a frame within the limit is rejected");
            }
            SendOutcome::ShuttingDown => assert!(self.received_go_away, "the server has not sent a go-away"),
            SendOutcome::Full => {
                assert!(!self.outgoing.can_send(max), "a request is rejected although the window is open");
                let bytes = self.outgoing.pending_request_bytes();
                let is_full =
                    self.outgoing.pending_requests() >= self.local.calls as usize || bytes >= self.local.queue;
                assert!(is_full, "a request is rejected although it could wait");
            }
            other => panic!("a request is rejected with {other:?}"),
        }
    }

    /// Sends an emit if the core has capacity for it. Returns `true` if the core accepted the emit.
    pub(super) fn emit(&mut self, moment: Moment, size: usize, by: Option<usize>) -> bool {
        let (number, payload) = (moment.last, payload_of(moment.last, size));
        let caller = by.map_or(CallOrigin::Other, |_| CallOrigin::Handler);
        let handler = by.map(|at| self.incoming.handlers[at].number);
        let length = Frame::Emit { key: KEY }.header().len() + payload.len();
        let has_capacity = self.backlog() < self.local.queue;
        let waits =
            by.is_none() && !self.is_detached && self.outgoing.has_no_pending() && !self.outgoing.can_send(length);
        match self.engine.emit(moment.now, KEY, &payload, caller) {
            SendOutcome::Sent | SendOutcome::Pending => {
                assert!(has_capacity && !waits, "an emit exceeds the capacity");
                self.outgoing.accept(
                    moment.now,
                    Message { number, length, kind: MessageKind::Emit, handler, evictable: None, is_new: true },
                );
                self.process_queued(moment.now);
                return true;
            }
            SendOutcome::Full => assert!(!has_capacity || waits, "an emit is rejected although there is capacity"),
            SendOutcome::TooLarge { .. } => {
                assert!(length > self.peer.max_frame as usize, "a frame within the limit is rejected");
            }
            SendOutcome::Dropped | SendOutcome::ShuttingDown => panic!("an emit to a single peer is dropped"),
        }
        self.process_queued(moment.now);
        false
    }

    /// Cancels a request.
    pub(super) fn cancel(&mut self, moment: Moment, number: u64) {
        let id = self.outgoing.waiting[&number].id;
        self.outgoing.withdraw(number);
        self.engine.cancel(moment.now, id);
        self.process_queued(moment.now);
        // A second cancellation has no effect.
        self.engine.cancel(moment.now, id);
        self.process_queued(moment.now);
    }

    /// Ends a handler. If the handler itself has made a request and waits for the result, it
    /// cancels the request first.
    pub(super) fn end(&mut self, moment: Moment, at: usize, result: HandlerResult) {
        let handler = self.incoming.handlers.remove(at);
        if let Some(number) = handler.waits_for.filter(|number| self.outgoing.waiting.contains_key(number)) {
            // The handler stays in the model until it has ended.
            self.incoming.handlers.insert(at, handler);
            self.cancel(moment, number);
            self.incoming.handlers[at].waits_for = None;
            return self.end(moment, at, result);
        }
        let Handler { number, call, length, received_after, .. } = handler;
        match call.handler {
            HandlerId::Request(id) => {
                self.incoming.on_request_ended(id, length, Some(number), received_after, result.clone());
                self.respond(moment, id, call.permit, &result);
            }
            HandlerId::Emit(_) => {
                self.incoming.on_emit_ended(length);
                self.engine.end_emit(moment.now, call.handler, call.permit);
            }
        }
        self.process_queued(moment.now);
    }

    pub(super) fn respond(&mut self, moment: Moment, id: CallId, permit: WindowPermit, result: &HandlerResult) {
        match result {
            HandlerResult::Reply(reply) => {
                self.engine.respond(moment.now, id, permit, &Response::Reply(&as_encoded(reply)));
            }
            HandlerResult::Failure(code, text) => {
                self.engine.respond(moment.now, id, permit, &Response::Failure(*code, text));
            }
        }
    }

    /// Ends all handlers that have passed their deadline.
    pub(super) fn expire(&mut self, moment: Moment) {
        while let Some(at) = self.incoming.handlers.iter().position(|handler| handler.deadline <= moment.now) {
            self.end(moment, at, HandlerResult::Failure(FailureCode::Timeout, String::new()));
        }
    }

    /// Returns `true` if the handler does not wait for a request of its own.
    pub(super) fn can_end(&self, at: usize) -> bool {
        let waits_for = self.incoming.handlers[at].waits_for;
        waits_for.is_none_or(|number| !self.outgoing.waiting.contains_key(&number))
    }
}

pub(super) fn millis(timeout: Duration) -> u64 {
    u64::try_from(timeout.min(MAX_TIMEOUT).as_millis()).expect("at most a week").max(1)
}
