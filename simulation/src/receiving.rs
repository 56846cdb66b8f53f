//! What a side does with a frame: it knows from the outside what the core has to make of it.

use std::time::Duration;

use bytes::Bytes;

use crate::{
    choices::Choices,
    engine::is_the_servers,
    hearing::is_a_key,
    incoming::{Ending, Handler, Held},
    outgoing::Answered,
    side::{Moment, Side, number_in, payload_of},
};
use sockets_proto::{
    self as proto, CallResult, CloseReason, Event, FailureCode, Frame, HandlerId, IncomingCall, ProtocolError,
};

/// How long the handler of an emit may take.
const EMIT_TIMEOUT: Duration = Duration::from_secs(30);

/// How handlers behave.
#[derive(Clone, Copy)]
pub(super) struct Manner {
    /// How many of a hundred suspend.
    pub(super) suspend: u64,
    /// The largest reply.
    pub(super) largest: u64,
}

/// What a frame did to the connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    GoesOn,
    /// The other side broke the protocol.
    Broken(ProtocolError),
    Left(CloseReason),
}

impl Side {
    /// Takes in a frame.
    pub(super) fn receive(
        &mut self,
        moment: Moment,
        frame: Bytes,
        manner: Manner,
        choices: &mut Choices<'_>,
    ) -> Received {
        let (length, mut payload) = (frame.len(), frame.clone());
        let predicted = self.predict(&mut payload);
        if let Some(vigil) = &mut self.vigil {
            vigil.heard(moment.now);
        }
        let header = match (predicted, self.engine.handle(moment.now, frame)) {
            (Err(expected), Err(violation)) => {
                assert_eq!(violation, expected);
                assert!(!self.trusts, "an honest side broke the protocol: {violation}");
                return Received::Broken(violation);
            }
            (Ok(header), Ok(event)) => {
                if let Some(received) = self.happened(moment, header, event, payload, length, manner, choices) {
                    return received;
                }
                header
            }
            (predicted, came) => panic!("{came:?} came of a frame that should be {predicted:?}"),
        };
        self.note_received(header, length);
        self.settle(moment.now);
        if let Frame::Close { reason } = header {
            return Received::Left(reason);
        }
        self.check_word();
        Received::GoesOn
    }

    /// Whether a frame is legal. Leaves its payload.
    fn predict(&mut self, frame: &mut Bytes) -> Result<Frame, ProtocolError> {
        let length = frame.len();
        let header = Frame::decode(frame)?;
        let about_the_link = matches!(header, Frame::Ack { .. } | Frame::Skipped { .. });
        if !about_the_link && !self.knows_position(header, length) {
            return Err(ProtocolError::Position);
        }
        let is_client = self.kind == proto::Role::Client;
        let is_in_turn = match header {
            Frame::Ready => is_client && !self.heard_ready,
            Frame::GoAway => is_client && !self.heard_going_away,
            Frame::Drained => !is_client && !self.heard_drained,
            Frame::Close { reason } => is_client || !is_the_servers(reason),
            _ => true,
        };
        if !is_in_turn {
            return Err(ProtocolError::Unexpected(header.kind()));
        }
        match header {
            Frame::Request { id, .. } if self.incoming.suspended(HandlerId::Request(id)).is_some() => {
                Err(ProtocolError::DuplicateId)
            }
            Frame::Emit { .. } | Frame::Request { .. } if !self.incoming.window.admits(length) => {
                Err(ProtocolError::WindowOverrun)
            }
            Frame::Ack { .. } | Frame::Skipped { .. } if !self.knows_position(header, length) => {
                Err(ProtocolError::Position)
            }
            Frame::Credit { calls, bytes } if !self.outgoing.credit(calls, bytes) => Err(ProtocolError::CreditOverrun),
            header => Ok(header),
        }
    }

    /// Whether the core has seen in a frame what there was to see.
    #[expect(clippy::too_many_arguments, reason = "they are what a frame is")]
    fn happened(
        &mut self,
        moment: Moment,
        header: Frame,
        event: Event<u64, u64>,
        payload: Bytes,
        length: usize,
        manner: Manner,
        choices: &mut Choices<'_>,
    ) -> Option<Received> {
        match (header, event) {
            (Frame::Emit { key }, Event::Call(called)) => {
                assert!(matches!(called.handler, HandlerId::Emit(_)) && called.timeout.is_none(), "an emit is one");
                assert_eq!((key, &payload), (called.key, &called.payload), "an emit is as it was sent");
                return self.called(moment, called, length, manner, choices).err().map(Received::Broken);
            }
            (Frame::Request { id, timeout, key }, Event::Call(called)) => {
                let allowed = Duration::from_millis(timeout.min(7 * 24 * 60 * 60 * 1000));
                assert_eq!((called.handler, called.timeout), (HandlerId::Request(id), Some(allowed)));
                assert_eq!((key, &payload), (called.key, &called.payload), "a request is as it was sent");
                return self.called(moment, called, length, manner, choices).err().map(Received::Broken);
            }
            (Frame::Reply { id } | Frame::Failure { id, .. }, event) => match (self.outgoing.answered(id), event) {
                (Answered::For(number), Event::Completed { consumer, answer }) => {
                    self.check_answer(number, consumer, header, payload, answer);
                }
                (Answered::GivenUp, Event::Handled) => {}
                (Answered::Stray, Event::UnknownReply) if !self.trusts => {}
                (answered, event) => panic!("{event:?} came of an answer: {answered:?}"),
            },
            (Frame::Cancel { id }, event) => match (self.incoming.suspended(HandlerId::Request(id)), event) {
                (Some(known), Event::Cancelled(handler)) => {
                    assert_eq!(handler, known.number, "the right handler is stopped");
                    let running = self.incoming.handlers.iter_mut().find(|running| running.number == handler);
                    running.expect("it is there").stopping = true;
                }
                (None, Event::Revoked(revoked)) => {
                    assert_eq!(revoked, id);
                    let mut held = self.incoming.held.iter_mut();
                    if let Some(held) = held.find(|held| held.called.handler == HandlerId::Request(id)) {
                        held.revoked = true;
                    }
                }
                (known, event) => panic!("{event:?} came of a cancel for {known:?}"),
            },
            (Frame::Ready, Event::Ready) => self.heard_ready = true,
            (Frame::Drained, Event::Drained) => self.heard_drained = true,
            (Frame::GoAway, Event::Handled) => {
                self.heard_going_away = true;
                self.owes_drained = true;
                self.outgoing.close_the_list();
            }
            (Frame::Close { reason }, Event::Closed { reason: told, text }) => {
                assert_eq!((reason, payload), (told, Bytes::from(text)), "a farewell is as it was said");
            }
            (Frame::Signatures, Event::Announcement(announced)) => assert_eq!(announced, payload),
            (Frame::Ack { .. }, Event::Acknowledged)
            | (
                Frame::Credit { .. } | Frame::Heartbeat | Frame::Skipped { .. } | Frame::Unknown { .. },
                Event::Handled,
            ) => {}
            (header, event) => panic!("{event:?} came of {header:?}"),
        }
        None
    }

    fn check_answer(&mut self, number: u64, consumer: u64, header: Frame, payload: Bytes, answer: CallResult) {
        assert_eq!(consumer, number, "the caller that waits for it is told");
        if self.trusts && matches!(header, Frame::Reply { .. }) {
            assert_eq!(number_in(&payload), Some(number), "the reply is that to another request");
        }
        let expected = match header {
            Frame::Failure { code, .. } => {
                let text = String::from_utf8(payload.to_vec()).expect("a text that was checked");
                CallResult::Failure { code, text }
            }
            _ => CallResult::Reply(payload),
        };
        assert_eq!(answer, expected, "an answer is as it was given");
    }

    /// A call has come: it starts, or is held.
    fn called(
        &mut self,
        moment: Moment,
        called: IncomingCall,
        length: usize,
        manner: Manner,
        choices: &mut Choices<'_>,
    ) -> Result<(), ProtocolError> {
        self.incoming.window.take(length);
        let held = Held { called, length, received: moment.now, came: moment.last, revoked: false };
        if self.gate_is_open() && self.incoming.held.is_empty() {
            self.start(moment, held, manner, choices);
        } else if self.incoming.is_held(held.called.handler) {
            assert!(!self.trusts, "an honest side uses an id twice");
            // It counts until the connection has ended.
            self.incoming.held.push_back(held);
            return Err(ProtocolError::DuplicateId);
        } else {
            self.incoming.held.push_back(held);
        }
        Ok(())
    }

    fn gate_is_open(&self) -> bool {
        self.ready && !self.engine.is_full()
    }

    /// Starts what was held, as far as that may go on.
    pub(super) fn release(
        &mut self,
        moment: Moment,
        manner: Manner,
        choices: &mut Choices<'_>,
    ) -> Result<(), ProtocolError> {
        while self.gate_is_open() {
            let Some(held) = self.incoming.held.pop_front() else { break };
            match held.called.handler {
                HandlerId::Request(id) if held.revoked => {
                    let ending = Ending::Failure(FailureCode::Cancelled, String::new());
                    self.incoming.request_ended(id, held.length, None, held.came, ending.clone());
                    self.answer(moment, id, held.called.permit, &ending);
                    self.settle(moment.now);
                }
                open => {
                    let checked = self.engine.check_id(open);
                    assert_eq!(checked.is_err(), self.incoming.suspended(open).is_some(), "whether the id is taken");
                    if let Err(violation) = checked {
                        self.incoming.held.push_front(held);
                        return Err(violation);
                    }
                    self.start(moment, held, manner, choices);
                }
            }
        }
        Ok(())
    }

    /// A handler starts, and ends or suspends.
    fn start(&mut self, moment: Moment, held: Held, manner: Manner, choices: &mut Choices<'_>) {
        let Held { called, length, received, came, .. } = held;
        assert!(!self.trusts || is_a_key(called.key), "a call arrives under its key");
        let deadline = received + called.timeout.unwrap_or(EMIT_TIMEOUT);
        let starts_until = called.deadline(received, EMIT_TIMEOUT, moment.now);
        assert_eq!(starts_until, (moment.now <= deadline).then_some(deadline), "only a call in time starts");
        if starts_until.is_none() {
            return self.end_overdue(moment, &called, length, came);
        }
        self.handlers_started += 1;
        let number = self.handlers_started;
        let open = called.handler;
        let handler =
            Handler { number, called, length, deadline, came, suspended: false, stopping: false, waits_for: None };
        self.incoming.handlers.push(handler);
        let last = self.incoming.handlers.len() - 1;
        let suspends = choices.percent(manner.suspend) || self.engine.is_full();
        if suspends {
            self.incoming.handlers[last].suspended = true;
            self.engine.suspend(open, number);
        } else {
            let ending = self.ending_of(last, manner, choices);
            self.end(moment, last, ending);
        }
    }

    /// Ends a call whose deadline passed while it was held.
    fn end_overdue(&mut self, moment: Moment, called: &IncomingCall, length: usize, came: u64) {
        self.incoming.overdue += 1;
        match called.handler {
            HandlerId::Request(id) => {
                let ending = Ending::Failure(FailureCode::Timeout, String::new());
                self.incoming.request_ended(id, length, None, came, ending.clone());
                self.answer(moment, id, called.permit, &ending);
            }
            HandlerId::Emit(_) => {
                self.incoming.emit_ended(length);
                self.engine.end_emit(called.handler, called.permit);
            }
        }
        self.settle(moment.now);
    }

    /// How a handler may end.
    pub(super) fn ending_of(&self, at: usize, manner: Manner, choices: &mut Choices<'_>) -> Ending {
        let handler = &self.incoming.handlers[at];
        if handler.stopping {
            return Ending::Failure(FailureCode::Cancelled, String::new());
        }
        if choices.percent(15) {
            let text = "words, ".repeat(choices.index(8));
            return Ending::Failure(FailureCode::Panicked, text);
        }
        let size = choices.index(usize::try_from(manner.largest).unwrap_or(0));
        Ending::Reply(payload_of(number_in(&handler.called.payload).unwrap_or(0), size))
    }
}
