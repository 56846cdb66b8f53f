//! The model of received frames. The model predicts the effect of each frame, so that the
//! simulation can compare this prediction with the effect in the core.

use std::time::Duration;

use bytes::Bytes;

use crate::{
    audience::is_method,
    choices::Choices,
    endpoint::{Endpoint, Moment, number_in, payload_of},
    engine::is_server_only,
    incoming::{Handler, HandlerResult, HeldCall},
    outgoing::ReplyTarget,
};
use sockets_proto::{
    self as proto, CallResult, CloseReason, Event, FailureCode, Frame, HandlerId, IncomingCall, ProtocolError,
};

/// The timeout that applies to emits.
const EMIT_TIMEOUT: Duration = Duration::from_secs(30);

/// The behavior of handlers.
#[derive(Clone, Copy)]
pub(super) struct HandlerBehavior {
    /// The percentage of handlers that suspend.
    pub(super) suspend_percent: u64,
    /// The largest reply in bytes.
    pub(super) max_payload: u64,
}

/// The effect that a frame has on the connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    Continue,
    /// The peer broke the protocol.
    ProtocolError(ProtocolError),
    Closed(CloseReason),
}

impl Endpoint {
    /// Receives a frame from the peer.
    pub(super) fn receive(
        &mut self,
        moment: Moment,
        frame: Bytes,
        behavior: HandlerBehavior,
        choices: &mut Choices<'_>,
    ) -> Received {
        let (length, mut payload) = (frame.len(), frame.clone());
        let predicted = self.predict(&mut payload);
        if let Some(keep_alive) = &mut self.keep_alive {
            keep_alive.on_received(moment.now);
        }
        let header = match (predicted, self.engine.handle(moment.now, frame)) {
            (Err(expected), Err(error)) => {
                assert_eq!(error, expected);
                assert!(!self.peer_is_honest, "an honest endpoint caused a protocol error: {error}");
                return Received::ProtocolError(error);
            }
            (Ok(header), Ok(event)) => {
                if let Some(received) = self.check_event(moment, header, event, payload, length, behavior, choices) {
                    return received;
                }
                header
            }
            (predicted, outcome) => panic!("a frame caused {outcome:?}, expected {predicted:?}"),
        };
        self.record_received(header, length);
        self.process_queued(moment.now);
        if let Frame::Close { reason } = header {
            return Received::Closed(reason);
        }
        self.check_ack_requested();
        Received::Continue
    }

    /// Predicts whether a frame is valid. After the call, `frame` holds only the payload.
    fn predict(&mut self, frame: &mut Bytes) -> Result<Frame, ProtocolError> {
        let length = frame.len();
        let header = Frame::decode(frame)?;
        let is_connection_scoped = matches!(header, Frame::Ack { .. } | Frame::Skipped { .. });
        if !is_connection_scoped && !self.is_valid_position(header, length) {
            return Err(ProtocolError::Position);
        }
        let is_client = self.role == proto::Role::Client;
        let is_expected = match header {
            Frame::Ready => is_client && !self.received_ready,
            Frame::GoAway => is_client && !self.received_go_away,
            Frame::Drained => !is_client && !self.received_drained,
            Frame::Close { reason } => is_client || !is_server_only(reason),
            _ => true,
        };
        if !is_expected {
            return Err(ProtocolError::Unexpected(header.kind()));
        }
        match header {
            Frame::Request { id, .. } if self.incoming.suspended(HandlerId::Request(id)).is_some() => {
                Err(ProtocolError::DuplicateId)
            }
            Frame::Emit { .. } | Frame::Request { .. } if !self.incoming.window.can_fit(length) => {
                Err(ProtocolError::WindowOverrun)
            }
            Frame::Ack { .. } | Frame::Skipped { .. } if !self.is_valid_position(header, length) => {
                Err(ProtocolError::Position)
            }
            Frame::Credit { calls, bytes } if !self.outgoing.on_credit(calls, bytes) => {
                Err(ProtocolError::CreditOverrun)
            }
            header => Ok(header),
        }
    }

    /// Checks the event that the core has returned for a frame.
    #[expect(clippy::too_many_arguments, reason = "the parts of a frame and their context")]
    fn check_event(
        &mut self,
        moment: Moment,
        header: Frame,
        event: Event<u64>,
        payload: Bytes,
        length: usize,
        behavior: HandlerBehavior,
        choices: &mut Choices<'_>,
    ) -> Option<Received> {
        match (header, event) {
            (Frame::Emit { key }, Event::Call(call)) => {
                assert!(
                    matches!(call.handler, HandlerId::Emit(_)) && call.timeout.is_none(),
                    "an emit is handled as an emit"
                );
                assert_eq!((key, &payload), (call.key, &call.payload), "an emit arrives unchanged");
                return self.on_call(moment, call, length, behavior, choices).err().map(Received::ProtocolError);
            }
            (Frame::Request { id, timeout, key }, Event::Call(call)) => {
                let allowed = Duration::from_millis(timeout.min(7 * 24 * 60 * 60 * 1000));
                assert_eq!((call.handler, call.timeout), (HandlerId::Request(id), Some(allowed)));
                assert_eq!((key, &payload), (call.key, &call.payload), "a request arrives unchanged");
                return self.on_call(moment, call, length, behavior, choices).err().map(Received::ProtocolError);
            }
            (Frame::Reply { id } | Frame::Failure { id, .. }, event) => match (self.outgoing.on_reply(id), event) {
                (ReplyTarget::Caller(number), Event::Completed { consumer, result }) => {
                    self.check_result(number, consumer, header, payload, result);
                }
                (ReplyTarget::Cancelled, Event::Handled) => {}
                (ReplyTarget::Unknown, Event::UnknownReply) if !self.peer_is_honest => {}
                (target, event) => panic!("a reply for {target:?} caused {event:?}"),
            },
            (Frame::Cancel { id }, event) => match (self.incoming.suspended(HandlerId::Request(id)), event) {
                (Some(known), Event::Cancelled(cancelled)) => {
                    assert_eq!(cancelled, id);
                    let handler = self.engine.handler(HandlerId::Request(id));
                    assert_eq!(handler, Some(known.number), "the request's handler is cancelled");
                    let handler = known.number;
                    let running = self.incoming.handlers.iter_mut().find(|running| running.number == handler);
                    running.expect("a running handler").stopping = true;
                }
                (None, Event::Cancelled(cancelled)) => {
                    assert_eq!((cancelled, self.engine.handler(HandlerId::Request(id))), (id, None));
                    let mut held = self.incoming.held.iter_mut();
                    if let Some(held) = held.find(|held| held.call.handler == HandlerId::Request(id)) {
                        held.revoked = true;
                    }
                }
                (known, event) => panic!("a cancel for {known:?} caused {event:?}"),
            },
            (Frame::Ready, Event::Ready) => self.received_ready = true,
            (Frame::Drained, Event::Drained) => self.received_drained = true,
            (Frame::GoAway, Event::Handled) => {
                self.received_go_away = true;
                self.is_drained_due = true;
                self.outgoing.mark_last_before_drained();
            }
            (Frame::Close { reason }, Event::Closed { reason: closed_reason, text }) => {
                assert_eq!((reason, payload), (closed_reason, Bytes::from(text)), "a close frame arrives unchanged");
            }
            (Frame::Signatures, Event::Announcement(announced)) => assert_eq!(announced, payload),
            (Frame::Ack { .. }, Event::Acknowledged)
            | (
                Frame::Credit { .. } | Frame::Heartbeat | Frame::Skipped { .. } | Frame::Unknown { .. },
                Event::Handled,
            ) => {}
            (header, event) => panic!("{header:?} caused {event:?}"),
        }
        None
    }

    fn check_result(&mut self, number: u64, consumer: u64, header: Frame, payload: Bytes, result: CallResult) {
        assert_eq!(consumer, number, "the result is for the waiting caller");
        if self.peer_is_honest && matches!(header, Frame::Reply { .. }) {
            assert_eq!(number_in(&payload), Some(number), "the reply is for this request");
        }
        let expected = match header {
            Frame::Failure { code, .. } => {
                let text = String::from_utf8(payload.to_vec()).expect("a valid text");
                CallResult::Failure { code, text }
            }
            _ => CallResult::Reply(payload),
        };
        assert_eq!(result, expected, "a result arrives unchanged");
    }

    /// Records a received call. The endpoint either starts the call or holds it.
    fn on_call(
        &mut self,
        moment: Moment,
        call: IncomingCall,
        length: usize,
        behavior: HandlerBehavior,
        choices: &mut Choices<'_>,
    ) -> Result<(), ProtocolError> {
        self.incoming.window.consume(length);
        let held = HeldCall { call, length, received: moment.now, received_after: moment.last, revoked: false };
        if self.can_start() && self.incoming.held.is_empty() {
            self.start(moment, held, behavior, choices);
        } else if self.incoming.is_held(held.call.handler) {
            assert!(!self.peer_is_honest, "an honest endpoint reuses an id");
            // The call counts against the window until the connection has ended.
            self.incoming.held.push_back(held);
            return Err(ProtocolError::DuplicateId);
        } else {
            self.incoming.held.push_back(held);
        }
        Ok(())
    }

    fn can_start(&self) -> bool {
        self.ready && !self.engine.is_full()
    }

    /// Starts held calls while the core has capacity for them.
    pub(super) fn release(
        &mut self,
        moment: Moment,
        behavior: HandlerBehavior,
        choices: &mut Choices<'_>,
    ) -> Result<(), ProtocolError> {
        while self.can_start() {
            let Some(held) = self.incoming.held.pop_front() else { break };
            match held.call.handler {
                HandlerId::Request(id) if held.revoked => {
                    let result = HandlerResult::Failure(FailureCode::Cancelled, String::new());
                    self.incoming.on_request_ended(id, held.length, None, held.received_after, result.clone());
                    self.respond(moment, id, held.call.permit, &result);
                    self.process_queued(moment.now);
                }
                handler_id => {
                    let checked = self.engine.check_id(handler_id);
                    assert_eq!(checked.is_err(), self.incoming.suspended(handler_id).is_some(), "the id is in flight");
                    if let Err(error) = checked {
                        self.incoming.held.push_front(held);
                        return Err(error);
                    }
                    self.start(moment, held, behavior, choices);
                }
            }
        }
        Ok(())
    }

    /// Starts a handler. The handler either ends immediately or suspends.
    fn start(&mut self, moment: Moment, held: HeldCall, behavior: HandlerBehavior, choices: &mut Choices<'_>) {
        let HeldCall { call, length, received, received_after, .. } = held;
        assert!(!self.peer_is_honest || is_method(call.key), "a call arrives under its key");
        let deadline = received + call.timeout.unwrap_or(EMIT_TIMEOUT);
        let starts_until = call.deadline(received, EMIT_TIMEOUT, moment.now);
        assert_eq!(
            starts_until,
            (moment.now <= deadline).then_some(deadline),
            "a call starts only before its deadline"
        );
        if starts_until.is_none() {
            return self.end_overdue(moment, &call, length, received_after);
        }
        self.handlers_started += 1;
        let number = self.handlers_started;
        let handler_id = call.handler;
        let handler = Handler {
            number,
            call,
            length,
            deadline,
            received_after,
            suspended: false,
            stopping: false,
            waits_for: None,
        };
        self.incoming.handlers.push(handler);
        let last = self.incoming.handlers.len() - 1;
        let suspends = choices.percent(behavior.suspend_percent) || self.engine.is_full();
        if suspends {
            self.incoming.handlers[last].suspended = true;
            self.engine.insert_handler(handler_id, number);
        } else {
            let result = self.result_of(last, behavior, choices);
            self.end(moment, last, result);
        }
    }

    /// Ends a held call that has passed its deadline.
    fn end_overdue(&mut self, moment: Moment, call: &IncomingCall, length: usize, received_after: u64) {
        self.incoming.overdue += 1;
        match call.handler {
            HandlerId::Request(id) => {
                let result = HandlerResult::Failure(FailureCode::Timeout, String::new());
                self.incoming.on_request_ended(id, length, None, received_after, result.clone());
                self.respond(moment, id, call.permit, &result);
            }
            HandlerId::Emit(_) => {
                self.incoming.on_emit_ended(length);
                self.engine.end_emit(moment.now, call.handler, call.permit);
            }
        }
        self.process_queued(moment.now);
    }

    /// Chooses the result of a handler.
    pub(super) fn result_of(&self, at: usize, behavior: HandlerBehavior, choices: &mut Choices<'_>) -> HandlerResult {
        let handler = &self.incoming.handlers[at];
        if handler.stopping {
            return HandlerResult::Failure(FailureCode::Cancelled, String::new());
        }
        if choices.percent(15) {
            let text = "text, ".repeat(choices.index(8));
            return HandlerResult::Failure(FailureCode::Panicked, text);
        }
        let size = choices.index(usize::try_from(behavior.max_payload).unwrap_or(0));
        HandlerResult::Reply(payload_of(number_in(&handler.call.payload).unwrap_or(0), size))
    }
}
