//! The model of the calls that an endpoint has sent, and of the callers that wait.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use crate::window::Window;
use sockets_proto::{CallId, CallResult, Frame, PREFIX};

/// The timeout of nested calls. If the queue makes no progress for this time, the calls may fail.
const NESTED_CALL_TIMEOUT: Duration = Duration::from_secs(1);
pub(super) const RESPONSE_OVERTAKE_DELAY: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MessageKind {
    Emit,
    /// An emit that a newer emit of the method with this key replaces.
    Latest(u64),
    /// A request with its id. The flag is `true` if a handler made the request.
    Request(CallId, bool),
}

/// A call or emit that the core has accepted and that is not in the send buffer.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) number: u64,
    /// The length of the frame without its prefix.
    pub(super) length: usize,
    pub(super) kind: MessageKind,
    /// The number of the handler that has sent the message.
    pub(super) handler: Option<u64>,
    /// The key of the method, if the emit may be dropped when a newer emit of the method arrives.
    pub(super) evictable: Option<u64>,
    /// `true` if the core accepted the message in the current step.
    pub(super) is_new: bool,
}

impl Message {
    pub(super) fn is_nested(&self) -> bool {
        matches!(self.kind, MessageKind::Request(_, true))
    }

    fn is_request(&self) -> bool {
        matches!(self.kind, MessageKind::Request(..))
    }
}

/// A request that was sent and has no reply yet.
struct InFlight {
    number: u64,
    length: usize,
    /// `true` if the caller has cancelled the request and the core has not queued the cancel.
    is_cancel_due: bool,
}

/// A caller that has no outcome yet.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) id: CallId,
    pub(super) deadline: Instant,
}

/// The caller for which a reply is intended.
#[derive(Debug)]
pub(super) enum ReplyTarget {
    Caller(u64),
    Cancelled,
    /// No request with this id is in flight.
    Unknown,
}

pub(super) struct Outgoing {
    pub(super) window: Window,
    emits: u32,
    emit_bytes: u64,
    pending: VecDeque<Message>,
    in_flight: BTreeMap<u64, InFlight>,
    pub(super) waiting: BTreeMap<u64, Waiting>,
    /// The latest time at which the core is known to have sent a pending message.
    last_sent_at: Instant,
    /// An upper bound of the time at which the core's queue began to wait.
    pub(super) last_progress: Instant,
    /// The number of replies that have overtaken messages of their handlers.
    pub(super) overtakes: u64,
    /// The number of calls that have failed as overloaded.
    pub(super) overloaded: u64,
    /// The number of the last message that the core must send before the drained frame.
    last_before_drained: Option<u64>,
    /// `true` if the endpoint has no connection, so that all messages wait.
    pub(super) is_detached: bool,
}

fn wire_id(id: CallId) -> u64 {
    id.number << 1 | u64::from(id.shared)
}

impl Outgoing {
    pub(super) fn new(window: Window, now: Instant) -> Self {
        Self {
            window,
            emits: 0,
            emit_bytes: 0,
            pending: VecDeque::new(),
            in_flight: BTreeMap::new(),
            waiting: BTreeMap::new(),
            last_sent_at: now,
            last_progress: now,
            overtakes: 0,
            overloaded: 0,
            last_before_drained: None,
            is_detached: false,
        }
    }

    /// Returns `true` if the core can send a message of this length immediately.
    pub(super) fn can_send(&self, length: usize) -> bool {
        !self.is_detached && self.pending.is_empty() && self.window.can_fit(length)
    }

    /// Records that the endpoint has another connection. The timers of pending messages restart,
    /// because they must not count the time without a connection.
    pub(super) fn restart(&mut self, now: Instant) {
        self.is_detached = false;
        (self.last_sent_at, self.last_progress) = (now, now);
    }

    /// Checks the results of a reset, which continues with another server. `window` is the window
    /// for the other server. Each sent call must have ended with a result, which states whether the
    /// previous server may have executed the call. A pending message remains pending if the other
    /// server accepts its length.
    pub(super) fn reset(
        &mut self,
        now: Instant,
        window: Window,
        max_frame: u32,
        mut ended: Vec<(u64, bool)>,
        unsent_calls: &[u64],
    ) {
        ended.sort_unstable();
        let (kept, dropped): (VecDeque<_>, _) =
            std::mem::take(&mut self.pending).into_iter().partition(|pending| pending.length <= max_frame as usize);
        let dropped: VecDeque<Message> = dropped;
        let contains = |pending: &VecDeque<Message>, number| pending.iter().any(|message| message.number == number);
        let sent = self.waiting.keys().filter(|number| !contains(&kept, **number));
        let expected: Vec<_> =
            sent.map(|number| (*number, !unsent_calls.contains(number) && !contains(&dropped, *number))).collect();
        assert_eq!(ended, expected, "after a reset, the callers of sent calls have results");
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.retain(|number, _| contains(&kept, *number));
        let (overloaded, overtakes) = (self.overloaded, self.overtakes);
        *self = Self { pending: kept, waiting, overloaded, overtakes, ..Self::new(window, now) };
    }

    pub(super) fn has_no_pending(&self) -> bool {
        self.pending.is_empty()
    }

    pub(super) fn pending_requests(&self) -> usize {
        self.pending.iter().filter(|message| message.is_request()).count()
    }

    pub(super) fn pending_request_bytes(&self) -> usize {
        self.pending.iter().filter(|message| message.is_request()).map(|message| message.length + PREFIX).sum()
    }

    /// Returns the ids of the requests that were sent and that still have a waiting caller.
    pub(super) fn sent_ids(&self) -> Vec<CallId> {
        let sent =
            self.waiting.iter().filter(|(number, _)| !self.pending.iter().any(|pending| pending.number == **number));
        sent.map(|(_, waiting)| waiting.id).collect()
    }

    /// Returns the ids of the requests that were sent and have no reply yet.
    pub(super) fn in_flight_ids(&self) -> Vec<CallId> {
        self.in_flight.keys().map(|wire_id| CallId { number: wire_id >> 1, shared: wire_id & 1 == 1 }).collect()
    }

    /// Returns the number of calls and the number of bytes that a credit may return.
    pub(super) fn emits_in_flight(&self) -> (u32, u64) {
        (self.emits, self.emit_bytes)
    }

    pub(super) fn calls_in_flight(&self) -> usize {
        self.in_flight.len() + self.pending_requests()
    }

    /// Records a message that the core has accepted.
    pub(super) fn accept(&mut self, now: Instant, message: Message) {
        let first = self.pending.is_empty() || message.is_nested() && !self.pending.iter().any(Message::is_nested);
        if first {
            self.last_progress = now;
        }
        self.pending.push_back(message);
    }

    /// Drops the oldest evictable message of a method, and returns its length. Returns `None` if
    /// there is no such message.
    pub(super) fn drop_oldest(&mut self, key: u64) -> Option<usize> {
        let at = self.pending.iter().position(|message| message.evictable == Some(key))?;
        self.pending.remove(at).map(|message| message.length)
    }

    /// Returns the length of the pending emit that a newer emit of the method replaces.
    pub(super) fn latest_length(&self, key: u64) -> Option<usize> {
        self.pending.iter().find(|message| message.kind == MessageKind::Latest(key)).map(|message| message.length)
    }

    /// Replaces a pending emit.
    pub(super) fn replace_latest(&mut self, key: u64, number: u64, length: usize) {
        let message = self.pending.iter_mut().find(|message| message.kind == MessageKind::Latest(key));
        let message = message.expect("a pending emit");
        (message.number, message.length) = (number, length);
    }

    /// Adds pending messages after all others.
    pub(super) fn add_pending(&mut self, messages: Vec<Message>) {
        self.pending.extend(messages);
    }

    /// Replaces an emit in the send buffer by an emit of another length. Returns `false` if that
    /// exceeds the window.
    pub(super) fn resize(&mut self, old: usize, new: usize) -> bool {
        let fits = new <= old || self.window.fits_exactly(new - old);
        if fits {
            self.release_emit(old);
            self.window.calls += 1;
            self.window.bytes += new as u64;
            self.emits += 1;
            self.emit_bytes += new as u64;
        }
        fits
    }

    /// Returns the share of an emit that is never sent.
    pub(super) fn release_emit(&mut self, length: usize) {
        // A hostile peer may have returned the share already.
        self.on_credit(1, length as u64);
    }

    /// Checks that a call or emit that the core has queued is the next message in order.
    pub(super) fn on_queued(&mut self, now: Instant, header: Frame, length: usize, number: u64) {
        let message = self.pending.pop_front().expect("a frame for each accepted message");
        assert_eq!((message.number, message.length), (number, length), "messages are sent in order");
        self.window.consume(length);
        match (header, message.kind) {
            (Frame::Emit { .. }, MessageKind::Emit | MessageKind::Latest(_)) => {
                self.emits += 1;
                self.emit_bytes += length as u64;
            }
            (Frame::Request { id, .. }, MessageKind::Request(known, _)) => {
                assert_eq!(id, known, "the request has the id that was returned");
                let request = InFlight { number, length, is_cancel_due: false };
                assert!(self.in_flight.insert(wire_id(id), request).is_none(), "an id in flight is reused");
            }
            (header, kind) => panic!("{kind:?} was sent as {header:?}"),
        }
        if !message.is_new {
            (self.last_sent_at, self.last_progress) = (now, now);
        }
    }

    /// Checks a cancel that the core has queued.
    pub(super) fn on_cancel_queued(&mut self, id: CallId) {
        let was_due = self.in_flight.get_mut(&wire_id(id)).map(|request| std::mem::take(&mut request.is_cancel_due));
        assert_eq!(was_due, Some(true), "one cancel for each cancelled call");
    }

    /// Records a reply that has arrived.
    pub(super) fn on_reply(&mut self, id: CallId) -> ReplyTarget {
        let Some(request) = self.in_flight.remove(&wire_id(id)) else { return ReplyTarget::Unknown };
        self.window.release(1, request.length as u64);
        self.waiting.remove(&request.number).map_or(ReplyTarget::Cancelled, |_| ReplyTarget::Caller(request.number))
    }

    /// Records a credit that has arrived. Returns `false` if the credit exceeds the emits in
    /// flight.
    pub(super) fn on_credit(&mut self, calls: u32, bytes: u64) -> bool {
        if calls > self.emits || bytes > self.emit_bytes {
            return false;
        }
        self.emits -= calls;
        self.emit_bytes -= bytes;
        self.window.release(calls, bytes);
        true
    }

    /// Records that the caller of a request does not wait any more. The caller has cancelled the
    /// request, or has received a result before the reply.
    pub(super) fn withdraw(&mut self, number: u64) {
        let waiting = self.waiting.remove(&number).expect("one outcome for each waiting caller");
        match self.pending.iter().position(|message| message.number == number) {
            Some(at) => _ = self.pending.remove(at),
            None => self.in_flight.get_mut(&wire_id(waiting.id)).expect("a request in flight").is_cancel_due = true,
        }
    }

    /// Checks a result that no frame has caused.
    pub(super) fn on_timeout(&mut self, now: Instant, number: u64, result: &CallResult) {
        let waiting = self.waiting.get(&number).expect("a result for a waiting caller");
        match result {
            CallResult::TimedOut => assert!(waiting.deadline <= now, "request {number} timed out early"),
            CallResult::Overloaded => {
                let pending = self.pending.iter().find(|message| message.number == number);
                assert!(pending.is_some_and(Message::is_nested), "only pending calls of handlers fail");
                assert!(
                    now >= self.last_sent_at + NESTED_CALL_TIMEOUT && !self.is_detached,
                    "a call fails while the queue makes progress"
                );
                self.overloaded += 1;
            }
            other => panic!("unexpected result {other:?} without a frame"),
        }
        self.withdraw(number);
    }

    /// Checks that the messages of a handler were sent before the handler's reply. A reply may
    /// overtake these messages only if the queue has made no progress for some time.
    pub(super) fn check_reply_order(&mut self, now: Instant, handler: u64) {
        let overtaken = self.pending.iter().find(|message| message.handler == Some(handler));
        if let Some(message) = overtaken {
            assert!(
                now >= self.last_sent_at + RESPONSE_OVERTAKE_DELAY && !self.is_detached,
                "a reply overtakes message {} of its handler",
                message.number
            );
            self.overtakes += 1;
        }
    }

    /// Returns `true` if the reply to a request may be pending. The reply waits while a message of
    /// a handler is pending, if this message is newer than the request.
    pub(super) fn may_delay_reply(&self, received_after: u64) -> bool {
        self.pending
            .iter()
            .any(|message| message.number > received_after && (!message.is_request() || message.is_nested()))
    }

    /// Records a go-away. The core must not send the drained frame before it has sent the requests
    /// that are pending now.
    pub(super) fn mark_last_before_drained(&mut self) {
        self.last_before_drained = self.pending.iter().rfind(|message| message.is_request()).map(|last| last.number);
    }

    pub(super) fn on_drained_queued(&mut self, now: Instant) {
        self.last_progress = now;
        let overtaken = self.pending.iter().find(|message| {
            message.is_request() && self.last_before_drained.is_some_and(|last| message.number <= last)
        });
        assert!(overtaken.is_none(), "drained overtakes {overtaken:?}");
    }

    /// Checks the conditions that must be true after every step. The caller sets `stays_pending` if
    /// evictable messages have to wait for capacity of the send buffer.
    pub(super) fn check(&mut self, stays_pending: bool) {
        self.pending.iter_mut().for_each(|message| message.is_new = false);
        if let Some(first) = self.pending.front() {
            let must_wait =
                self.is_detached || !self.window.can_fit(first.length) || first.evictable.is_some() && stays_pending;
            assert!(must_wait, "message {} is pending although the window is open", first.number);
        }
        let missing = self.in_flight.values().find(|request| request.is_cancel_due);
        assert!(missing.is_none(), "no cancel was sent for request {:?}", missing.map(|it| it.number));
    }

    /// Checks the conditions that must be true after all due timers.
    pub(super) fn check_time(&self, now: Instant) {
        let overdue = self.waiting.iter().find(|(_, waiting)| waiting.deadline <= now);
        assert!(overdue.is_none(), "a caller still waits after its deadline: {overdue:?}");
        let stuck = self
            .pending
            .iter()
            .find(|message| message.is_nested())
            .filter(|_| now >= self.last_progress + NESTED_CALL_TIMEOUT && !self.is_detached);
        assert!(stuck.is_none(), "a nested call is stuck: {stuck:?}");
    }

    /// Checks at the end of a session that each waiting caller has a result. The result must state
    /// whether the peer may have executed the call. The peer cannot have executed pending calls, or
    /// the calls in `unsent_calls`.
    pub(super) fn on_close(&mut self, mut ended: Vec<(u64, bool)>, unsent_calls: &[u64]) {
        ended.sort_unstable();
        let is_unsent =
            |number| unsent_calls.contains(&number) || self.pending.iter().any(|pending| pending.number == number);
        let expected: Vec<_> = self.waiting.keys().map(|number| (*number, !is_unsent(*number))).collect();
        assert_eq!(ended, expected, "at the end, every waiting caller has a result");
        self.waiting.clear();
        self.pending.clear();
    }
}
