//! Single rules of the core that no honest conversation shows.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::{
    CallId, CallOrigin, CallResult, Event, FailureCode, Frame, HandlerId, Overflow, PREFIX, ProtocolError, Response,
    Role, SessionCore, Settings, WhenFull, codec::Payload, frame::next_frame, shared_emit, window::WindowSize,
};

const WINDOW: WindowSize = WindowSize { calls: 4, bytes: 100 };
const MINUTE: Duration = Duration::from_secs(60);
const NOTHING: Payload<'_> = Payload::Copied(&[]);

fn terms(window: WindowSize) -> Settings {
    Settings { max_frame: 1 << 20, window }
}

fn core(granted: WindowSize) -> SessionCore<u32, u32> {
    SessionCore::new(Role::Server, terms(WINDOW), terms(granted), 1 << 20)
}

fn frame(frame: Frame, payload: &[u8]) -> Bytes {
    Bytes::from([&frame.header().prefixed(0)[PREFIX..], payload].concat())
}

/// What is to be written, frame by frame.
fn written(core: &mut SessionCore<u32, u32>) -> Vec<Frame> {
    let mut bytes = core.outbox().take_all();
    std::iter::from_fn(|| next_frame(&mut bytes))
        .map(|mut frame| Frame::decode(&mut frame).expect("a frame of our own"))
        .collect()
}

fn own(number: u64) -> CallId {
    CallId { number, shared: false }
}

#[test]
fn a_deadline_of_all_the_time_in_the_world_is_cut() {
    let mut core = core(WINDOW);
    let request = frame(Frame::Request { id: own(0), timeout: u64::MAX, key: 1 }, &[]);
    let called = core.handle(Instant::now(), request);
    let Ok(Event::Call(called)) = called else { panic!("{called:?}") };
    let timeout = called.timeout.expect("requests bring one");
    assert!(Instant::now().checked_add(timeout).is_some());
    assert!(timeout < Duration::from_secs(366 * 24 * 60 * 60), "{timeout:?}");
}

#[test]
fn a_long_text_of_a_peer_is_cut() {
    let (now, mut core) = (Instant::now(), core(WINDOW));
    let failure = Frame::Failure { id: own(0), code: FailureCode::Panicked };
    let id = core.request(now, 1, MINUTE, &NOTHING, 7, CallOrigin::Other);
    assert_eq!(id, Ok(own(0)));
    let text = "é".repeat(100_000);
    let answered = core.handle(now, frame(failure, text.as_bytes()));
    let Ok(Event::Completed { answer: CallResult::Failure { text, .. }, .. }) = answered else {
        panic!("the call is answered, not {answered:.200?}")
    };
    assert_eq!(text, "é".repeat(32 * 1024));
}

#[test]
fn more_calls_or_bytes_than_the_window_are_an_overrun() {
    let now = Instant::now();
    let mut core = core(WINDOW);
    for _ in 0..4 {
        assert!(matches!(core.handle(now, frame(Frame::Emit { key: 1 }, &[])), Ok(Event::Call(_))));
    }
    assert_eq!(core.handle(now, frame(Frame::Emit { key: 1 }, &[])), Err(ProtocolError::WindowOverrun));

    let mut core = self::core(WINDOW);
    // Larger than the window, and let in alone.
    assert!(matches!(core.handle(now, frame(Frame::Emit { key: 1 }, &[0; 500])), Ok(Event::Call(_))));
    assert_eq!(core.handle(now, frame(Frame::Emit { key: 1 }, &[])), Err(ProtocolError::WindowOverrun));
}

#[test]
fn more_credit_than_was_taken_is_an_overrun() {
    let now = Instant::now();
    let credits = [(1, 0), (1, 1), (u32::MAX, u64::MAX)];
    for (calls, bytes) in credits {
        let mut core = core(WINDOW);
        assert_eq!(core.handle(now, frame(Frame::Credit { calls, bytes }, &[])), Err(ProtocolError::CreditOverrun));
    }
}

#[test]
fn an_answer_to_a_call_that_nobody_made_changes_nothing() {
    let now = Instant::now();
    let mut core = core(WINDOW);
    for stray in [own(0), own(u64::MAX >> 1), CallId { number: 0, shared: true }] {
        assert_eq!(core.handle(now, frame(Frame::Reply { id: stray }, b"x")), Ok(Event::UnknownReply));
        let failure = Frame::Failure { id: stray, code: FailureCode::Panicked };
        assert_eq!(core.handle(now, frame(failure, b"x")), Ok(Event::UnknownReply));
        assert_eq!(core.handle(now, frame(Frame::Cancel { id: stray }, b"")), Ok(Event::Revoked(stray)));
    }
    assert!(core.outbox().is_empty());
    assert!(core.is_idle());
}

#[test]
fn a_second_answer_does_not_meet_the_next_call() {
    let now = Instant::now();
    let mut core = core(WINDOW);
    let first = core.request(now, 1, MINUTE, &NOTHING, 1, CallOrigin::Other).expect("a window");
    let reply = frame(Frame::Reply { id: first }, b"x");
    assert!(matches!(core.handle(now, reply.clone()), Ok(Event::Completed { consumer: 1, .. })));
    core.request(now, 1, MINUTE, &NOTHING, 2, CallOrigin::Other).expect("a window");
    assert_eq!(core.handle(now, reply), Ok(Event::UnknownReply));
}

/// Fault 37 of RELIABILITY.md: a slot is used more often than its ids can count.
#[test]
fn ids_that_wrap_meet_no_call_that_lives() {
    let now = Instant::now();
    let mut core = core(WINDOW);
    let mut live = std::collections::VecDeque::new();
    let mut ids = std::collections::HashSet::new();
    for call in 0..1000 {
        let id = core.request(now, 1, MINUTE, &NOTHING, call, CallOrigin::Other).expect("a window");
        assert!(live.iter().all(|(other, _)| *other != id), "{id:?} lives");
        ids.insert(id.number);
        live.push_back((id, call));
        // The first call of all lives on; of the others, the older of two is answered.
        if live.len() == 4 {
            let (id, answered) = live.remove(1).expect("one of four");
            let event = core.handle(now, frame(Frame::Reply { id }, b"x"));
            assert!(matches!(event, Ok(Event::Completed { consumer, .. }) if consumer == answered), "{event:?}");
        }
    }
    assert!(ids.len() < 500, "they have wrapped: {}", ids.len());
}

#[test]
fn a_credit_gives_back_no_request() {
    let now = Instant::now();
    let mut core = core(WINDOW);
    core.request(now, 1, MINUTE, &NOTHING, 7, CallOrigin::Other).expect("a window");
    let length = written(&mut core)[0].header().len() as u64;
    // The place of a request comes back with its answer. This peer would open the window without end.
    let credit = frame(Frame::Credit { calls: 1, bytes: length }, &[]);
    assert_eq!(core.handle(now, credit), Err(ProtocolError::CreditOverrun));
    let told: Vec<_> = core.close().0.into_iter().map(|(consumer, _)| consumer).collect();
    assert_eq!(told, [7], "the caller waits for ever");
}

#[test]
fn the_id_of_a_cancelled_request_is_not_free_before_its_answer() {
    let now = Instant::now();
    let mut core = core(WINDOW);
    let request = frame(Frame::Request { id: own(3), timeout: 1000, key: 1 }, &[]);
    let called = core.handle(now, request.clone());
    let Ok(Event::Call(called)) = called else { panic!("{called:?}") };
    core.insert_handler(called.handler, 1);
    for _ in 0..2 {
        assert_eq!(core.handle(now, frame(Frame::Cancel { id: own(3) }, &[])), Ok(Event::Cancelled(1)));
    }
    assert_eq!(core.close().1, [1], "its handler is still known");
    core.insert_handler(called.handler, 1);
    assert_eq!(core.handle(now, request), Err(ProtocolError::DuplicateId));
}

#[test]
fn an_answer_does_not_wait_for_a_request_that_was_given_up() {
    let now = Instant::now();
    let mut core = core(WindowSize { calls: 1, bytes: 100 });
    core.request(now, 1, MINUTE, &NOTHING, 1, CallOrigin::Other).expect("a window");
    let called = core.handle(now, frame(Frame::Request { id: own(9), timeout: 1000, key: 1 }, &[]));
    let Ok(Event::Call(called)) = called else { panic!("{called:?}") };
    let parked = core.request(now, 1, MINUTE, &NOTHING, 2, CallOrigin::Handler).expect("a place to wait");
    core.respond(now, own(9), called.permit, &Response::Reply(&NOTHING));
    written(&mut core);
    core.cancel(now, parked);
    assert_eq!(written(&mut core), [Frame::Reply { id: own(9) }]);
}

#[test]
fn an_answer_does_not_wait_for_a_request_whose_time_is_up() {
    let now = Instant::now();
    let mut core = core(WindowSize { calls: 1, bytes: 100 });
    core.request(now, 1, MINUTE, &NOTHING, 1, CallOrigin::Other).expect("a window");
    let called = core.handle(now, frame(Frame::Request { id: own(9), timeout: 1000, key: 1 }, &[]));
    let Ok(Event::Call(called)) = called else { panic!("{called:?}") };
    core.request(now, 1, Duration::from_millis(5), &NOTHING, 2, CallOrigin::Handler).expect("a place to wait");
    core.respond(now, own(9), called.permit, &Response::Reply(&NOTHING));
    written(&mut core);
    assert_eq!(core.handle_timeout(now + Duration::from_millis(5)), [(2, CallResult::TimedOut)]);
    assert_eq!(written(&mut core), [Frame::Reply { id: own(9) }]);
}

#[test]
fn an_answer_waits_only_for_what_its_handler_may_have_sent() {
    let now = Instant::now();
    let mut core = core(WindowSize { calls: 1, bytes: 100 });
    core.broadcast(now, &shared_emit(1, &NOTHING), 1, Overflow::Disconnect, WhenFull::ApplyPolicy);
    core.broadcast(now, &shared_emit(1, &NOTHING), 1, Overflow::Disconnect, WhenFull::ApplyPolicy);
    let called = core.handle(now, frame(Frame::Request { id: own(9), timeout: 1000, key: 1 }, &[]));
    let Ok(Event::Call(called)) = called else { panic!("{called:?}") };
    written(&mut core);
    core.respond(now, own(9), called.permit, &Response::Reply(&NOTHING));
    assert_eq!(written(&mut core), [Frame::Reply { id: own(9) }], "the second emit may be waiting for it");
}

#[test]
fn an_answer_does_not_wait_for_requests_that_no_handler_made() {
    let now = Instant::now();
    let mut core = core(WindowSize { calls: 1, bytes: 100 });
    core.request(now, 1, MINUTE, &NOTHING, 1, CallOrigin::Other).expect("a window");
    let called = core.handle(now, frame(Frame::Request { id: own(9), timeout: 1000, key: 1 }, &[]));
    let Ok(Event::Call(called)) = called else { panic!("{called:?}") };
    core.request(now, 1, MINUTE, &NOTHING, 2, CallOrigin::Other).expect("it waits");
    written(&mut core);
    core.respond(now, own(9), called.permit, &Response::Reply(&NOTHING));
    assert_eq!(written(&mut core), [Frame::Reply { id: own(9) }], "the window may be waiting for it");
}

#[test]
fn an_answer_in_a_circle_overtakes_in_the_end_and_no_credit_of_nothing_stops_it() {
    let start = Instant::now();
    let mut core = core(WindowSize { calls: 1, bytes: 100 });
    core.broadcast(start, &shared_emit(1, &NOTHING), 1, Overflow::Disconnect, WhenFull::ApplyPolicy);
    let called = core.handle(start, frame(Frame::Request { id: own(9), timeout: 1000, key: 1 }, &[]));
    let Ok(Event::Call(called)) = called else { panic!("{called:?}") };
    core.broadcast(start, &shared_emit(1, &NOTHING), 1, Overflow::Disconnect, WhenFull::ApplyPolicy);
    core.respond(start, own(9), called.permit, &Response::Reply(&NOTHING));
    written(&mut core);
    let mut answered = Vec::new();
    for half_second in 1..=11 {
        let now = start + Duration::from_millis(500) * half_second;
        // A credit of nothing is refused, or it could keep the answer waiting.
        let nothing = core.handle(now, frame(Frame::Credit { calls: 0, bytes: 0 }, &[]));
        assert!(matches!(nothing, Err(ProtocolError::Malformed { .. })));
        if core.next_timeout().is_some_and(|at| at <= now) {
            core.handle_timeout(now);
        }
        answered.extend(written(&mut core));
    }
    assert_eq!(answered, [Frame::Reply { id: own(9) }]);
}

#[test]
fn the_word_that_no_more_calls_come_overtakes_none_however_long_they_wait() {
    let start = Instant::now();
    let mut client =
        SessionCore::<u32, u32>::new(Role::Client, terms(WINDOW), terms(WindowSize { calls: 1, bytes: 100 }), 1 << 20);
    client.request(start, 1, MINUTE, &NOTHING, 1, CallOrigin::Other).expect("a window");
    client.request(start, 1, MINUTE, &NOTHING, 2, CallOrigin::Other).expect("a place to wait");
    written(&mut client);
    assert_eq!(client.handle(start, frame(Frame::GoAway, &[])), Ok(Event::Handled));
    let later = start + Duration::from_secs(30);
    assert_eq!(client.handle_timeout(later), []);
    assert_eq!(written(&mut client), [], "the second call is before it");
    assert!(client.next_timeout().is_some_and(|at| at > later), "there is nothing to wake up for");
    client.handle(later, frame(Frame::Reply { id: own(0) }, &[])).expect("an answer");
    assert!(matches!(written(&mut client)[..], [Frame::Request { .. }, Frame::Drained]));
}

#[test]
fn a_request_under_an_id_in_flight_may_not_start() {
    let now = Instant::now();
    let mut core = core(WINDOW);
    let request = frame(Frame::Request { id: own(3), timeout: 1000, key: 1 }, &[]);
    let refused = |core: &mut SessionCore<u32, u32>| match core.handle(now, request.clone()) {
        Ok(Event::Call(called)) => core.check_id(called.handler),
        Ok(other) => panic!("{other:?}"),
        Err(violation) => Err(violation),
    };
    assert_eq!(refused(&mut core), Ok(()));
    core.insert_handler(HandlerId::Request(own(3)), 1);
    assert_eq!(refused(&mut core), Err(ProtocolError::DuplicateId));
}

#[test]
fn what_only_the_other_side_may_say_is_refused() {
    let now = Instant::now();
    let mut core = core(WINDOW);
    assert!(matches!(core.handle(now, frame(Frame::Ready, &[])), Err(ProtocolError::Unexpected(_))));
    assert!(matches!(core.handle(now, frame(Frame::GoAway, &[])), Err(ProtocolError::Unexpected(_))));
    let mut client = SessionCore::<u32, u32>::new(Role::Client, terms(WINDOW), terms(WINDOW), 1 << 20);
    assert!(matches!(client.handle(now, frame(Frame::Drained, &[])), Err(ProtocolError::Unexpected(_))));
}

#[test]
fn one_who_answers_what_has_not_been_written_does_not_fill_the_outbox() {
    let (now, max_frame) = (Instant::now(), 256);
    let terms = Settings { max_frame, window: WINDOW };
    let mut core = SessionCore::<u32, u32>::new(Role::Server, terms, terms, 1000);
    for call in 0..1000 {
        if let Ok(id) = core.request(now, 1, MINUTE, &Payload::Copied(&[0; 50]), call, CallOrigin::Other) {
            let answered = core.handle(now, frame(Frame::Reply { id }, &[]));
            assert!(matches!(answered, Ok(Event::Completed { .. })));
        }
    }
    assert!(core.queued() < 3000, "{} bytes wait", core.queued());
}
