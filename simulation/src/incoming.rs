//! What one side has received and owes: handlers, answers, credits. An account from the outside, beside the core's own.

use std::{collections::VecDeque, time::Instant};

use bytes::Bytes;

use crate::{outgoing::Outgoing, window::Window};
use sockets_proto::{CallId, FailureCode, Frame, HandlerId, IncomingCall};

/// A handler that has started and not ended.
#[derive(Debug)]
pub(super) struct Handler {
    /// Its own number, by which it is stopped.
    pub(super) number: u64,
    pub(super) called: IncomingCall,
    /// The length of the call's frame.
    pub(super) length: usize,
    pub(super) deadline: Instant,
    /// The number of the last message that was sent before its call came.
    pub(super) came: u64,
    pub(super) suspended: bool,
    /// It has been told to stop.
    pub(super) stopping: bool,
    /// The request of its own that it waits for.
    pub(super) waits_for: Option<u64>,
}

/// A call that has come in before it may start.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) called: IncomingCall,
    pub(super) length: usize,
    pub(super) received: Instant,
    pub(super) came: u64,
    pub(super) revoked: bool,
}

/// How a handler ended.
#[derive(Clone, Debug)]
pub(super) enum Ending {
    Reply(Vec<u8>),
    Failure(FailureCode, String),
}

impl Ending {
    /// Whether this is what a caller is told who accepts frames of this length.
    fn gives(&self, header: Frame, payload: &[u8], max_frame: usize) -> bool {
        match (self, header) {
            (Self::Reply(reply), Frame::Reply { .. }) => reply == payload,
            (Self::Reply(reply), Frame::Failure { id, code: FailureCode::TooLarge }) => {
                Frame::Reply { id }.header().len() + reply.len() > max_frame
            }
            (Self::Failure(given, text), Frame::Failure { code, .. }) => {
                code == *given && text.as_bytes().starts_with(payload)
            }
            _ => false,
        }
    }
}

/// An answer that was given to the core, and is not in the queue to the wire.
#[derive(Debug)]
struct Due {
    id: CallId,
    handler: Option<u64>,
    came: u64,
    ending: Ending,
    new: bool,
}

pub(super) struct Incoming {
    pub(super) window: Window,
    owed_calls: u32,
    owed_bytes: u64,
    pub(super) handlers: Vec<Handler>,
    pub(super) held: VecDeque<Held>,
    /// How many held calls ended without a handler, since their deadlines had passed.
    pub(super) overdue: u64,
    due: Vec<Due>,
    /// The longest frame that the other side accepts.
    max_frame: usize,
}

impl Incoming {
    pub(super) fn new(window: Window, max_frame: u32) -> Self {
        Self {
            window,
            owed_calls: 0,
            owed_bytes: 0,
            handlers: Vec::new(),
            held: VecDeque::new(),
            overdue: 0,
            due: Vec::new(),
            max_frame: max_frame as usize,
        }
    }

    /// Whether calls or handlers are under way, or answers wait for their turn.
    pub(super) fn is_idle(&self) -> bool {
        self.handlers.is_empty() && self.held.is_empty() && self.due.is_empty()
    }

    /// Whether a request under this id has a suspended handler, so that its id is known to be taken.
    pub(super) fn suspended(&self, open: HandlerId) -> Option<&Handler> {
        self.handlers.iter().find(|handler| handler.suspended && handler.called.handler == open)
    }

    pub(super) fn is_held(&self, open: HandlerId) -> bool {
        self.held.iter().any(|held| held.called.handler == open)
    }

    /// An emit has ended: its place is owed.
    pub(super) fn emit_ended(&mut self, length: usize) {
        self.owed_calls += 1;
        self.owed_bytes += length as u64;
    }

    /// A request has ended: its place is free, and the answer has to come. One that was revoked in time had no handler.
    pub(super) fn request_ended(&mut self, id: CallId, length: usize, handler: Option<u64>, came: u64, ending: Ending) {
        self.window.give_back(1, length as u64);
        self.due.push(Due { id, handler, came, ending, new: true });
    }

    /// An answer is queued for the wire.
    pub(super) fn answer_queued(&mut self, now: Instant, header: Frame, payload: &Bytes, sent: &mut Outgoing) {
        let (Frame::Reply { id } | Frame::Failure { id, .. }) = header else { panic!("{header:?} answers nothing") };
        // A hostile peer may use an id again before it has heard the answer; then the newest may be before the others.
        let is_it = |due: &Due| due.id == id && due.ending.gives(header, payload, self.max_frame);
        let newest = self.due.iter().rposition(|due| due.new && is_it(due));
        let at = newest.or_else(|| self.due.iter().position(is_it));
        let at = at.expect("a request that has ended is answered, once and as it ended");
        let due = self.due.remove(at);
        if let Some(handler) = due.handler {
            sent.check_answer_in_order(now, handler);
        }
        if !due.new {
            sent.stirred = now;
        }
    }

    /// A credit is queued for the wire: of all that is owed.
    pub(super) fn credit_queued(&mut self, calls: u32, bytes: u64) {
        let owed = (std::mem::take(&mut self.owed_calls), std::mem::take(&mut self.owed_bytes));
        assert_eq!((calls, bytes), owed, "a credit is of all that is owed");
        self.window.give_back(calls, bytes);
    }

    /// What must hold after every step.
    pub(super) fn check(&mut self, now: Instant, sent: &mut Outgoing) {
        let paid = !self.window.is_due(self.owed_calls, self.owed_bytes);
        assert!(paid, "{} calls of {} bytes are owed, and not given back", self.owed_calls, self.owed_bytes);
        let is_first = self.due.iter().all(|due| due.new);
        for due in self.due.iter_mut().filter(|due| due.new) {
            let waits_for_something = sent.may_hold_an_answer(due.came);
            assert!(waits_for_something, "the answer to {:?} waits, and its handler has sent nothing", due.id);
            due.new = false;
            if is_first {
                sent.stirred = now;
            }
        }
    }

    /// What must hold when all is done that had to be done until now.
    pub(super) fn check_time(&self, now: Instant, sent: &Outgoing) {
        let is_stuck = !sent.is_away && !self.due.is_empty() && now >= sent.stirred + super::outgoing::OVERTAKE;
        assert!(
            !is_stuck,
            "answers wait for longer than they may: {:?}; nothing has moved for {:?}",
            self.due,
            now - sent.stirred
        );
    }

    /// The connection has ended: the suspended handlers were stopped, and no others. Gives them.
    pub(super) fn closed(&mut self, mut stopped: Vec<u64>) -> Vec<Handler> {
        stopped.sort_unstable();
        let suspended = self.handlers.iter().filter(|handler| handler.suspended).map(|handler| handler.number);
        assert_eq!(stopped, suspended.collect::<Vec<_>>(), "at the end, the handlers that run are stopped");
        self.held.clear();
        self.due.clear();
        std::mem::take(&mut self.handlers)
    }
}
