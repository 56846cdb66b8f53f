//! Tests of rules of the core that a conversation of honest peers cannot test.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::{
    CallId, CallOrigin, CallResult, Event, FailureCode, Frame, HandlerId, Overflow, PREFIX, ProtocolError, Response,
    Role, SessionCore, Settings, WhenFull, codec::Payload, frame::next_frame, shared_emit, window::WindowSize,
};

const WINDOW: WindowSize = WindowSize { calls: 4, bytes: 100 };
const MINUTE: Duration = Duration::from_secs(60);
const NOTHING: Payload<'_> = Payload::Copied(&[]);

fn settings(window: WindowSize) -> Settings {
    Settings { max_frame: 1 << 20, window }
}

fn core(window: WindowSize) -> SessionCore<u32, u32> {
    SessionCore::new(Role::Server, settings(WINDOW), settings(window), 1 << 20)
}

fn frame(frame: Frame, payload: &[u8]) -> Bytes {
    Bytes::from([&frame.header().prefixed(0)[PREFIX..], payload].concat())
}

/// Takes the frames that the core has to send.
fn written(core: &mut SessionCore<u32, u32>) -> Vec<Frame> {
    let mut bytes = core.send_buffer().take_all();
    std::iter::from_fn(|| next_frame(&mut bytes))
        .map(|mut frame| Frame::decode(&mut frame).expect("a valid frame"))
        .collect()
}

fn call_id(number: u64) -> CallId {
    CallId { number, shared: false }
}

#[test]
fn maximum_timeout_is_limited() {
    let mut core = core(WINDOW);
    let request = frame(Frame::Request { id: call_id(0), timeout: u64::MAX, key: 1 }, &[]);
    let call = core.handle(Instant::now(), request);
    let Ok(Event::Call(call)) = call else { panic!("{call:?}") };
    let timeout = call.timeout.expect("requests have a timeout");
    assert!(Instant::now().checked_add(timeout).is_some());
    assert!(timeout < Duration::from_secs(366 * 24 * 60 * 60), "{timeout:?}");
}

#[test]
fn long_failure_text_is_truncated() {
    let (now, mut core) = (Instant::now(), core(WINDOW));
    let failure = Frame::Failure { id: call_id(0), code: FailureCode::Panicked };
    let id = core.request(now, 1, MINUTE, &NOTHING, 7, CallOrigin::Other);
    assert_eq!(id, Ok(call_id(0)));
    let text = "é".repeat(100_000);
    let answered = core.handle(now, frame(failure, text.as_bytes()));
    let Ok(Event::Completed { result: CallResult::Failure { text, .. }, .. }) = answered else {
        panic!("expected a result, got {answered:.200?}")
    };
    assert_eq!(text, "é".repeat(32 * 1024));
}

#[test]
fn calls_or_bytes_beyond_window_are_overrun() {
    let now = Instant::now();
    let mut core = core(WINDOW);
    for _ in 0..4 {
        assert!(matches!(core.handle(now, frame(Frame::Emit { key: 1 }, &[])), Ok(Event::Call(_))));
    }
    assert_eq!(core.handle(now, frame(Frame::Emit { key: 1 }, &[])), Err(ProtocolError::WindowOverrun));

    let mut core = self::core(WINDOW);
    // The core accepts a frame that is larger than the window if no other call is in flight.
    assert!(matches!(core.handle(now, frame(Frame::Emit { key: 1 }, &[0; 500])), Ok(Event::Call(_))));
    assert_eq!(core.handle(now, frame(Frame::Emit { key: 1 }, &[])), Err(ProtocolError::WindowOverrun));
}

#[test]
fn credit_beyond_emits_in_flight_is_overrun() {
    let now = Instant::now();
    let credits = [(1, 0), (1, 1), (u32::MAX, u64::MAX)];
    for (calls, bytes) in credits {
        let mut core = core(WINDOW);
        assert_eq!(core.handle(now, frame(Frame::Credit { calls, bytes }, &[])), Err(ProtocolError::CreditOverrun));
    }
}

#[test]
fn reply_to_unknown_call_changes_nothing() {
    let now = Instant::now();
    let mut core = core(WINDOW);
    for unknown in [call_id(0), call_id(u64::MAX >> 1), CallId { number: 0, shared: true }] {
        assert_eq!(core.handle(now, frame(Frame::Reply { id: unknown }, b"x")), Ok(Event::UnknownReply));
        let failure = Frame::Failure { id: unknown, code: FailureCode::Panicked };
        assert_eq!(core.handle(now, frame(failure, b"x")), Ok(Event::UnknownReply));
        assert_eq!(core.handle(now, frame(Frame::Cancel { id: unknown }, b"")), Ok(Event::Cancelled(unknown)));
    }
    assert!(core.send_buffer().is_empty());
    assert!(core.is_idle());
}

#[test]
fn duplicate_reply_does_not_complete_next_call() {
    let now = Instant::now();
    let mut core = core(WINDOW);
    let first = core.request(now, 1, MINUTE, &NOTHING, 1, CallOrigin::Other).expect("a window");
    let reply = frame(Frame::Reply { id: first }, b"x");
    assert!(matches!(core.handle(now, reply.clone()), Ok(Event::Completed { consumer: 1, .. })));
    core.request(now, 1, MINUTE, &NOTHING, 2, CallOrigin::Other).expect("a window");
    assert_eq!(core.handle(now, reply), Ok(Event::UnknownReply));
}

/// Fault 37 of RELIABILITY.md. A slot is reused so often that its generation wraps around.
#[test]
fn wrapped_ids_do_not_collide_with_live_calls() {
    let now = Instant::now();
    let mut core = core(WINDOW);
    let mut live = std::collections::VecDeque::new();
    let mut ids = std::collections::HashSet::new();
    for call in 0..1000 {
        let id = core.request(now, 1, MINUTE, &NOTHING, call, CallOrigin::Other).expect("a window");
        assert!(live.iter().all(|(other, _)| *other != id), "{id:?} is in flight");
        ids.insert(id.number);
        live.push_back((id, call));
        // The first call stays in flight. Of the other two calls, the older call completes.
        if live.len() == 4 {
            let (id, answered) = live.remove(1).expect("four calls");
            let event = core.handle(now, frame(Frame::Reply { id }, b"x"));
            assert!(matches!(event, Ok(Event::Completed { consumer, .. }) if consumer == answered), "{event:?}");
        }
    }
    assert!(ids.len() < 500, "{} ids did not wrap", ids.len());
}

#[test]
fn credit_for_request_is_overrun() {
    let now = Instant::now();
    let mut core = core(WINDOW);
    core.request(now, 1, MINUTE, &NOTHING, 7, CallOrigin::Other).expect("a window");
    let length = written(&mut core)[0].header().len() as u64;
    // The reply to a request returns the request's share of the window. If a credit could also
    // return that share, a peer could enlarge the window without limit.
    let credit = frame(Frame::Credit { calls: 1, bytes: length }, &[]);
    assert_eq!(core.handle(now, credit), Err(ProtocolError::CreditOverrun));
    let ended: Vec<_> = core.close().0.into_iter().map(|(consumer, _)| consumer).collect();
    assert_eq!(ended, [7], "the caller still waits");
}

#[test]
fn id_of_cancelled_request_is_in_use_until_reply() {
    let now = Instant::now();
    let mut core = core(WINDOW);
    let request = frame(Frame::Request { id: call_id(3), timeout: 1000, key: 1 }, &[]);
    let call = core.handle(now, request.clone());
    let Ok(Event::Call(call)) = call else { panic!("{call:?}") };
    core.insert_handler(call.handler, 1);
    for _ in 0..2 {
        assert_eq!(core.handle(now, frame(Frame::Cancel { id: call_id(3) }, &[])), Ok(Event::Cancelled(call_id(3))));
        assert_eq!(core.handler(call.handler), Some(1));
    }
    assert_eq!(core.close().1, [1], "the handler is still registered");
    core.insert_handler(call.handler, 1);
    assert_eq!(core.handle(now, request), Err(ProtocolError::DuplicateId));
}

#[test]
fn reply_does_not_wait_for_cancelled_request() {
    let now = Instant::now();
    let mut core = core(WindowSize { calls: 1, bytes: 100 });
    core.request(now, 1, MINUTE, &NOTHING, 1, CallOrigin::Other).expect("a window");
    let call = core.handle(now, frame(Frame::Request { id: call_id(9), timeout: 1000, key: 1 }, &[]));
    let Ok(Event::Call(call)) = call else { panic!("{call:?}") };
    let pending = core.request(now, 1, MINUTE, &NOTHING, 2, CallOrigin::Handler).expect("capacity of the queue");
    core.respond(now, call_id(9), call.permit, &Response::Reply(&NOTHING));
    written(&mut core);
    core.cancel(now, pending);
    assert_eq!(written(&mut core), [Frame::Reply { id: call_id(9) }]);
}

#[test]
fn reply_does_not_wait_for_timed_out_request() {
    let now = Instant::now();
    let mut core = core(WindowSize { calls: 1, bytes: 100 });
    core.request(now, 1, MINUTE, &NOTHING, 1, CallOrigin::Other).expect("a window");
    let call = core.handle(now, frame(Frame::Request { id: call_id(9), timeout: 1000, key: 1 }, &[]));
    let Ok(Event::Call(call)) = call else { panic!("{call:?}") };
    core.request(now, 1, Duration::from_millis(5), &NOTHING, 2, CallOrigin::Handler).expect("capacity of the queue");
    core.respond(now, call_id(9), call.permit, &Response::Reply(&NOTHING));
    written(&mut core);
    assert_eq!(core.handle_timeout(now + Duration::from_millis(5)), [(2, CallResult::TimedOut)]);
    assert_eq!(written(&mut core), [Frame::Reply { id: call_id(9) }]);
}

#[test]
fn reply_waits_only_for_messages_after_its_call() {
    let now = Instant::now();
    let mut core = core(WindowSize { calls: 1, bytes: 100 });
    core.broadcast(now, &shared_emit(1, &NOTHING), 1, Overflow::Disconnect, WhenFull::ApplyPolicy);
    core.broadcast(now, &shared_emit(1, &NOTHING), 1, Overflow::Disconnect, WhenFull::ApplyPolicy);
    let call = core.handle(now, frame(Frame::Request { id: call_id(9), timeout: 1000, key: 1 }, &[]));
    let Ok(Event::Call(call)) = call else { panic!("{call:?}") };
    written(&mut core);
    core.respond(now, call_id(9), call.permit, &Response::Reply(&NOTHING));
    assert_eq!(written(&mut core), [Frame::Reply { id: call_id(9) }], "the second emit may wait for the reply");
}

#[test]
fn reply_does_not_wait_for_requests_outside_handlers() {
    let now = Instant::now();
    let mut core = core(WindowSize { calls: 1, bytes: 100 });
    core.request(now, 1, MINUTE, &NOTHING, 1, CallOrigin::Other).expect("a window");
    let call = core.handle(now, frame(Frame::Request { id: call_id(9), timeout: 1000, key: 1 }, &[]));
    let Ok(Event::Call(call)) = call else { panic!("{call:?}") };
    core.request(now, 1, MINUTE, &NOTHING, 2, CallOrigin::Other).expect("capacity of the queue");
    written(&mut core);
    core.respond(now, call_id(9), call.permit, &Response::Reply(&NOTHING));
    assert_eq!(written(&mut core), [Frame::Reply { id: call_id(9) }], "the window may wait for the reply");
}

#[test]
fn empty_credit_does_not_delay_overtaking_reply() {
    let start = Instant::now();
    let mut core = core(WindowSize { calls: 1, bytes: 100 });
    core.broadcast(start, &shared_emit(1, &NOTHING), 1, Overflow::Disconnect, WhenFull::ApplyPolicy);
    let call = core.handle(start, frame(Frame::Request { id: call_id(9), timeout: 1000, key: 1 }, &[]));
    let Ok(Event::Call(call)) = call else { panic!("{call:?}") };
    core.broadcast(start, &shared_emit(1, &NOTHING), 1, Overflow::Disconnect, WhenFull::ApplyPolicy);
    core.respond(start, call_id(9), call.permit, &Response::Reply(&NOTHING));
    written(&mut core);
    let mut answered = Vec::new();
    for half_second in 1..=11 {
        let now = start + Duration::from_millis(500) * half_second;
        // An empty credit returns no calls and no bytes, and the core rejects it. Otherwise each
        // empty credit would restart the timeout after which the reply overtakes the pending emit,
        // and a peer could delay the reply without end.
        let nothing = core.handle(now, frame(Frame::Credit { calls: 0, bytes: 0 }, &[]));
        assert!(matches!(nothing, Err(ProtocolError::Malformed { .. })));
        if core.next_timeout().is_some_and(|at| at <= now) {
            core.handle_timeout(now);
        }
        answered.extend(written(&mut core));
    }
    assert_eq!(answered, [Frame::Reply { id: call_id(9) }]);
}

#[test]
fn drained_never_overtakes_pending_calls() {
    let start = Instant::now();
    let mut client = SessionCore::<u32, u32>::new(
        Role::Client,
        settings(WINDOW),
        settings(WindowSize { calls: 1, bytes: 100 }),
        1 << 20,
    );
    client.request(start, 1, MINUTE, &NOTHING, 1, CallOrigin::Other).expect("a window");
    client.request(start, 1, MINUTE, &NOTHING, 2, CallOrigin::Other).expect("capacity of the queue");
    written(&mut client);
    assert_eq!(client.handle(start, frame(Frame::GoAway, &[])), Ok(Event::Handled));
    let later = start + Duration::from_secs(30);
    assert_eq!(client.handle_timeout(later), []);
    assert_eq!(written(&mut client), [], "the second call comes first");
    assert!(client.next_timeout().is_some_and(|at| at > later), "no timer is due");
    client.handle(later, frame(Frame::Reply { id: call_id(0) }, &[])).expect("an answer");
    assert!(matches!(written(&mut client)[..], [Frame::Request { .. }, Frame::Drained]));
}

#[test]
fn request_with_id_in_flight_is_rejected() {
    let now = Instant::now();
    let mut core = core(WINDOW);
    let request = frame(Frame::Request { id: call_id(3), timeout: 1000, key: 1 }, &[]);
    let refused = |core: &mut SessionCore<u32, u32>| match core.handle(now, request.clone()) {
        Ok(Event::Call(call)) => core.check_id(call.handler),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error),
    };
    assert_eq!(refused(&mut core), Ok(()));
    core.insert_handler(HandlerId::Request(call_id(3)), 1);
    assert_eq!(refused(&mut core), Err(ProtocolError::DuplicateId));
}

#[test]
fn frames_of_wrong_role_are_rejected() {
    let now = Instant::now();
    let mut core = core(WINDOW);
    assert!(matches!(core.handle(now, frame(Frame::Ready, &[])), Err(ProtocolError::Unexpected(_))));
    assert!(matches!(core.handle(now, frame(Frame::GoAway, &[])), Err(ProtocolError::Unexpected(_))));
    let mut client = SessionCore::<u32, u32>::new(Role::Client, settings(WINDOW), settings(WINDOW), 1 << 20);
    assert!(matches!(client.handle(now, frame(Frame::Drained, &[])), Err(ProtocolError::Unexpected(_))));
}

#[test]
fn replies_to_unwritten_requests_do_not_fill_send_buffer() {
    let (now, max_frame) = (Instant::now(), 256);
    let settings = Settings { max_frame, window: WINDOW };
    let mut core = SessionCore::<u32, u32>::new(Role::Server, settings, settings, 1000);
    for call in 0..1000 {
        if let Ok(id) = core.request(now, 1, MINUTE, &Payload::Copied(&[0; 50]), call, CallOrigin::Other) {
            let answered = core.handle(now, frame(Frame::Reply { id }, &[]));
            assert!(matches!(answered, Ok(Event::Completed { .. })));
        }
    }
    assert!(core.queued() < 3000, "{} bytes are queued", core.queued());
}
