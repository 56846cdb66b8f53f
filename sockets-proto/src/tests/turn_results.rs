//! The results of a turn, as the core takes them over.

use std::time::Instant;

use serde::ser::{Error, Serialize, SerializeTuple, Serializer};

use crate::{
    CallId, Event, Frame, IncomingCall, PREFIX, ReplyError, Role, SessionCore, Settings, TurnResults, next_frame,
    window::WindowSize,
};

const WINDOW: WindowSize = WindowSize { calls: 10, bytes: 100_000 };
const MAX_FRAME: usize = 10_000;

fn core() -> SessionCore<u64, u64> {
    let settings = Settings { max_frame: 1 << 20, window: WINDOW };
    SessionCore::new(Role::Server, settings, settings, 1 << 20)
}

fn call_id(number: u64) -> CallId {
    CallId { number, shared: false }
}

/// A value whose `Serialize` fails after its first bytes.
struct Failing;

impl Serialize for Failing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(2)?;
        tuple.serialize_element("the first bytes")?;
        Err(S::Error::custom("refused"))
    }
}

fn receive(core: &mut SessionCore<u64, u64>, header: Frame) -> IncomingCall {
    let event = core.handle(Instant::now(), header.header().prefixed(0)[PREFIX..].to_vec().into());
    let Ok(Event::Call(call)) = event else { panic!("{event:?}") };
    call
}

fn request(core: &mut SessionCore<u64, u64>, id: u64) -> IncomingCall {
    receive(core, Frame::Request { id: call_id(id), timeout: 1000, key: 1 })
}

fn sent(core: &mut SessionCore<u64, u64>) -> Vec<(Frame, usize)> {
    let mut bytes = core.send_buffer().take_all();
    let frames = std::iter::from_fn(|| next_frame(&mut bytes));
    frames.map(|mut frame| (Frame::decode(&mut frame).unwrap(), frame.len())).collect()
}

#[test]
fn failed_replies_leave_the_other_results_unchanged() {
    let mut core = core();
    let mut results = TurnResults::default();
    let permits: Vec<_> = (0..4).map(|id| request(&mut core, id).permit).collect();
    assert_eq!(results.reply(call_id(0), permits[0], &7_u8, MAX_FRAME).unwrap(), 1);
    assert!(matches!(results.reply(call_id(1), permits[1], &Failing, MAX_FRAME), Err(ReplyError::Encode(_))));
    let large = results.reply(call_id(2), permits[2], &"x".repeat(MAX_FRAME), MAX_FRAME);
    assert!(matches!(large, Err(ReplyError::TooLarge { length }) if length > MAX_FRAME), "{large:?}");
    assert_eq!(results.reply(call_id(3), permits[3], &"abc", MAX_FRAME).unwrap(), 4);
    core.settle(Instant::now(), &mut results);
    assert!(results.is_empty());
    assert_eq!(sent(&mut core), [(Frame::Reply { id: call_id(0) }, 1), (Frame::Reply { id: call_id(3) }, 4)]);
}

#[test]
fn results_of_a_turn_release_the_window() {
    let mut core = core();
    let mut results = TurnResults::default();
    for long in [false, true] {
        let reply = "x".repeat(if long { 5_000 } else { 10 });
        for id in 0..5 {
            let permit = request(&mut core, id).permit;
            results.reply(call_id(id), permit, &reply, MAX_FRAME).unwrap();
        }
        for _ in 0..5 {
            results.end_emit(receive(&mut core, Frame::Emit { key: 1 }).permit);
        }
        assert!(!core.is_idle());
        core.settle(Instant::now(), &mut results);
        assert!(core.is_idle());
        let frames = sent(&mut core);
        assert_eq!(frames.iter().filter(|(header, _)| matches!(header, Frame::Reply { .. })).count(), 5);
        assert!(frames.iter().any(|(header, _)| matches!(header, Frame::Credit { calls: 5, .. })), "{frames:?}");
    }
}

#[test]
fn memory_of_a_failed_reply_is_released() {
    const MOST: usize = 4 * 1024 * 1024;
    let mut core = core();
    let mut results = TurnResults::default();
    let large = "x".repeat(4 * MOST);
    for then in [None, Some(10), Some(50_000)] {
        let permit = request(&mut core, 0).permit;
        let failed = results.reply(call_id(0), permit, &large, MAX_FRAME);
        assert!(matches!(failed, Err(ReplyError::TooLarge { .. })), "{failed:?}");
        if let Some(length) = then {
            results.reply(call_id(0), permit, &"x".repeat(length), 1 << 20).unwrap();
        } else {
            results.reply(call_id(0), permit, &1_u8, MAX_FRAME).unwrap();
        }
        core.settle(Instant::now(), &mut results);
        sent(&mut core);
        assert!(results.capacity() <= MOST, "{} bytes, {then:?}", results.capacity());
    }
}
