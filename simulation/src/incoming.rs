//! The model of received calls. It contains their handlers, replies and credits.

use std::{collections::VecDeque, time::Instant};

use bytes::Bytes;

use crate::{outgoing::Outgoing, window::Window};
use sockets_proto::{CallId, FailureCode, Frame, HandlerId, IncomingCall};

/// A handler that has started and has not ended.
#[derive(Debug)]
pub(super) struct Handler {
    /// The number with which the core cancels the handler.
    pub(super) number: u64,
    pub(super) call: IncomingCall,
    /// The length of the call's frame.
    pub(super) length: usize,
    pub(super) deadline: Instant,
    /// The number of the last message that any endpoint sent before this call was received.
    pub(super) received_after: u64,
    pub(super) suspended: bool,
    /// `true` if the handler has been cancelled.
    pub(super) stopping: bool,
    /// The number of the handler's own request, if the handler waits for the result of a request.
    /// The field is `None` if the handler waits for no result.
    pub(super) waits_for: Option<u64>,
}

/// A received call that may not start yet.
#[derive(Debug)]
pub(super) struct HeldCall {
    pub(super) call: IncomingCall,
    pub(super) length: usize,
    pub(super) received: Instant,
    pub(super) received_after: u64,
    pub(super) revoked: bool,
}

/// The result of a handler.
#[derive(Clone, Debug)]
pub(super) enum HandlerResult {
    Reply(Vec<u8>),
    Failure(FailureCode, String),
}

impl HandlerResult {
    /// Returns `true` if a frame is the reply that reports this result. The caller accepts frames
    /// of at most `max_frame` bytes, so a longer reply becomes a failure.
    fn matches(&self, header: Frame, payload: &[u8], max_frame: usize) -> bool {
        match (self, header) {
            (Self::Reply(reply), Frame::Reply { .. }) => reply == payload,
            (Self::Reply(reply), Frame::Failure { id, code: FailureCode::TooLarge }) => {
                Frame::Reply { id }.header().len() + reply.len() > max_frame
            }
            (Self::Failure(expected, text), Frame::Failure { code, .. }) => {
                code == *expected && text.as_bytes().starts_with(payload)
            }
            _ => false,
        }
    }
}

/// A reply that the driver has passed to the core and that is not in the send buffer.
#[derive(Debug)]
struct PendingReply {
    id: CallId,
    handler: Option<u64>,
    received_after: u64,
    result: HandlerResult,
    is_new: bool,
}

pub(super) struct Incoming {
    pub(super) window: Window,
    unreturned_calls: u32,
    unreturned_bytes: u64,
    pub(super) handlers: Vec<Handler>,
    pub(super) held: VecDeque<HeldCall>,
    /// The number of held calls that ended without a handler because their deadline had passed.
    pub(super) overdue: u64,
    pending_replies: Vec<PendingReply>,
    /// The longest frame that the peer accepts, in bytes.
    max_frame: usize,
}

impl Incoming {
    pub(super) fn new(window: Window, max_frame: u32) -> Self {
        Self {
            window,
            unreturned_calls: 0,
            unreturned_bytes: 0,
            handlers: Vec::new(),
            held: VecDeque::new(),
            overdue: 0,
            pending_replies: Vec::new(),
            max_frame: max_frame as usize,
        }
    }

    /// Returns `true` if the model contains no calls, handlers or pending replies.
    pub(super) fn is_idle(&self) -> bool {
        self.handlers.is_empty() && self.held.is_empty() && self.pending_replies.is_empty()
    }

    /// Returns the handler of a call if the handler is suspended. The core considers the id of a
    /// call in flight only as long as the handler is suspended.
    pub(super) fn suspended(&self, handler_id: HandlerId) -> Option<&Handler> {
        self.handlers.iter().find(|handler| handler.suspended && handler.call.handler == handler_id)
    }

    pub(super) fn is_held(&self, handler_id: HandlerId) -> bool {
        self.held.iter().any(|held| held.call.handler == handler_id)
    }

    /// Records that an emit ended. Afterwards the endpoint has to return the emit's share of the
    /// window by a credit.
    pub(super) fn on_emit_ended(&mut self, length: usize) {
        self.unreturned_calls += 1;
        self.unreturned_bytes += length as u64;
    }

    /// Records that a request ended. The request's share of the window is now free, and the core
    /// has to send a reply. `handler` is `None` if the peer cancelled the request before it had a
    /// handler.
    pub(super) fn on_request_ended(
        &mut self,
        id: CallId,
        length: usize,
        handler: Option<u64>,
        received_after: u64,
        result: HandlerResult,
    ) {
        self.window.release(1, length as u64);
        self.pending_replies.push(PendingReply { id, handler, received_after, result, is_new: true });
    }

    /// Checks a reply that the core has queued.
    pub(super) fn on_reply_queued(&mut self, now: Instant, header: Frame, payload: &Bytes, sent: &mut Outgoing) {
        let (Frame::Reply { id } | Frame::Failure { id, .. }) = header else { panic!("{header:?} is not a reply") };
        // A hostile peer may reuse an id before it has received the reply to the first request. The
        // core may then send the reply to the latest request first.
        let is_match = |reply: &PendingReply| reply.id == id && reply.result.matches(header, payload, self.max_frame);
        let newest = self.pending_replies.iter().rposition(|reply| reply.is_new && is_match(reply));
        let at = newest.or_else(|| self.pending_replies.iter().position(is_match));
        let at = at.expect("one reply for each ended request");
        let reply = self.pending_replies.remove(at);
        if let Some(handler) = reply.handler {
            sent.check_reply_order(now, handler);
        }
        if !reply.is_new {
            sent.last_progress = now;
        }
    }

    /// Checks a credit that the core has queued. The credit must return the shares of all ended
    /// emits that no earlier credit has returned.
    pub(super) fn on_credit_queued(&mut self, calls: u32, bytes: u64) {
        let unreturned = (std::mem::take(&mut self.unreturned_calls), std::mem::take(&mut self.unreturned_bytes));
        assert_eq!((calls, bytes), unreturned, "a credit returns everything that is unreturned");
        self.window.release(calls, bytes);
    }

    /// Checks the conditions that must be true after every step.
    pub(super) fn check(&mut self, now: Instant, sent: &mut Outgoing) {
        let is_returned = !self.window.is_credit_due(self.unreturned_calls, self.unreturned_bytes);
        assert!(is_returned, "{} calls of {} bytes are not returned", self.unreturned_calls, self.unreturned_bytes);
        let is_first = self.pending_replies.iter().all(|reply| reply.is_new);
        for reply in self.pending_replies.iter_mut().filter(|reply| reply.is_new) {
            let may_wait = sent.may_delay_reply(reply.received_after);
            assert!(may_wait, "the reply to {:?} waits although its handler has sent nothing", reply.id);
            reply.is_new = false;
            if is_first {
                sent.last_progress = now;
            }
        }
    }

    /// Checks the conditions that must be true after all due timers.
    pub(super) fn check_time(&self, now: Instant, sent: &Outgoing) {
        let is_stuck = !sent.is_detached
            && !self.pending_replies.is_empty()
            && now >= sent.last_progress + super::outgoing::RESPONSE_OVERTAKE_DELAY;
        assert!(
            !is_stuck,
            "replies wait too long: {:?}; no progress for {:?}",
            self.pending_replies,
            now - sent.last_progress
        );
    }

    /// Checks at the end of a session that the core cancels all suspended handlers and no other
    /// handlers. Returns all handlers of the session.
    pub(super) fn on_close(&mut self, mut stopped: Vec<u64>) -> Vec<Handler> {
        stopped.sort_unstable();
        let suspended = self.handlers.iter().filter(|handler| handler.suspended).map(|handler| handler.number);
        assert_eq!(stopped, suspended.collect::<Vec<_>>(), "at the end, the running handlers are cancelled");
        self.held.clear();
        self.pending_replies.clear();
        std::mem::take(&mut self.handlers)
    }
}
