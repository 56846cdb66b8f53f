//! Tests of emits of which only the latest waits.

use std::{collections::BTreeMap, io::IoSlice, time::Instant};

use bytes::Bytes;
use proptest::prelude::*;

use crate::{
    CallOrigin, Event, Frame, LatestEmit, LatestKey, Overflow, PREFIX, Role, SendBuffer, SendOutcome, SessionCore,
    Settings, VolatileEmit, WhenFull, codec::Payload, frame::next_frame, shared_emit, window::WindowSize,
};

/// The key of a method with emits that are not replaced. The methods with lower keys have emits
/// that are replaced.
const NOTE: u64 = 10;
const VOLATILE_NOTE: u64 = 11;
/// The key of a method with volatile emits that are replaced.
const VOLATILE: u64 = 3;

fn core(role: Role, calls: u32, bytes: u32, queue: usize) -> SessionCore<u32, u32> {
    let settings = Settings { max_frame: 1 << 20, window: WindowSize { calls, bytes } };
    SessionCore::new(role, settings, settings, queue)
}

/// Encodes an emit with a number. Its frame has `length` bytes without its prefix.
fn frame(key: u64, number: u32, length: usize) -> Bytes {
    let mut payload = number.to_le_bytes().to_vec();
    payload.resize(length.max(13) - 9, 0);
    shared_emit(key, &Payload::Copied(&payload))
}

fn emit(core: &mut SessionCore<u32, u32>, key: u64, number: u32, length: usize) -> SendOutcome {
    let emit =
        LatestEmit { frame: &frame(key, number, length), key: LatestKey([key, 0]), is_volatile: key == VOLATILE };
    core.emit_latest(Instant::now(), emit, CallOrigin::Other)
}

fn note(core: &mut SessionCore<u32, u32>, number: u32) -> SendOutcome {
    core.broadcast(Instant::now(), &frame(NOTE, number, 13), NOTE, Overflow::Disconnect, WhenFull::Accept)
}

/// Returns the key and the number of each emit among the frames. A skipped frame has the key 0.
fn read(mut bytes: Bytes) -> Vec<(u64, u32)> {
    let frames = std::iter::from_fn(|| next_frame(&mut bytes));
    let emits = frames.filter_map(|mut frame| match Frame::decode(&mut frame) {
        Ok(Frame::Emit { key }) => Some((key, number(&frame))),
        Ok(Frame::Skipped { .. }) => Some((0, 0)),
        _ => None,
    });
    emits.collect()
}

fn number(payload: &[u8]) -> u32 {
    u32::from_le_bytes(payload[..4].try_into().expect("a number"))
}

fn transmit(core: &mut SessionCore<u32, u32>) -> Bytes {
    let mut buffer = SendBuffer::default();
    core.poll_transmit(&mut buffer);
    buffer.take_all()
}

fn credit(core: &mut SessionCore<u32, u32>, calls: u32, bytes: u64) {
    let credit = Frame::Credit { calls, bytes };
    let frame = Bytes::copy_from_slice(&credit.header().prefixed(0)[PREFIX..]);
    core.handle(Instant::now(), frame).expect("a credit for sent emits");
}

#[test]
fn newer_emit_takes_the_place_of_a_waiting_one() {
    let mut core = core(Role::Server, 10, 1 << 20, 1 << 20);
    emit(&mut core, 1, 1, 20);
    note(&mut core, 2);
    emit(&mut core, 2, 3, 20);
    for number in 4..100 {
        assert_eq!(emit(&mut core, 1, number, number as usize), SendOutcome::Sent);
        assert_eq!(core.queued(), number.max(13) as usize + 20 + 13 + 3 * PREFIX);
    }
    assert_eq!(read(transmit(&mut core)), [(1, 99), (NOTE, 2), (2, 3)]);
    emit(&mut core, 1, 100, 20);
    assert_eq!(read(transmit(&mut core)), [(1, 100)], "an emit that is being written is not replaced");
    assert_eq!(core.dropped(), 0, "replaced emits are not counted");
}

#[test]
fn newer_emit_takes_the_place_of_a_pending_one() {
    let mut core = core(Role::Server, 1, 1 << 20, 1 << 20);
    note(&mut core, 0);
    assert_eq!(emit(&mut core, 1, 1, 20), SendOutcome::Pending);
    note(&mut core, 2);
    for number in 3..100 {
        assert_eq!(emit(&mut core, 1, number, 20), SendOutcome::Pending);
    }
    assert_eq!(read(transmit(&mut core)), [(NOTE, 0)]);
    for (expected, length) in [((1, 99), 13), ((NOTE, 2), 20)] {
        credit(&mut core, 1, length);
        assert_eq!(read(transmit(&mut core)), [expected]);
    }
}

#[test]
fn emit_too_long_for_the_window_loses_its_place() {
    let mut core = core(Role::Server, 10, 100, 1 << 20);
    emit(&mut core, 1, 1, 20);
    note(&mut core, 2);
    assert_eq!(emit(&mut core, 1, 3, 87), SendOutcome::Sent, "it fits");
    note(&mut core, 4);
    assert_eq!(emit(&mut core, 1, 5, 88), SendOutcome::Sent, "it fits without the older emit, after the others");
    assert_eq!(read(transmit(&mut core)), [(NOTE, 2), (NOTE, 4), (1, 5)]);
}

#[test]
fn full_queue_accepts_as_many_bytes_again() {
    let mut core = core(Role::Server, 100, 1 << 20, 1000);
    while core.has_capacity() {
        note(&mut core, 0);
    }
    let mut keys = 0;
    while emit(&mut core, 100 + keys, 0, 100) == SendOutcome::Sent {
        keys += 1;
    }
    assert_eq!(keys, 10);
    let queued = core.queued();
    assert!((2000..2104).contains(&queued), "{queued} bytes");
    assert_eq!(emit(&mut core, 100 + keys, 1, 100), SendOutcome::Full);
    assert_eq!(emit(&mut core, 100, 1, 101), SendOutcome::Sent, "the queue is below its limit without the older emit");
    assert_eq!(emit(&mut core, 100, 2, 10_000), SendOutcome::Sent);
    assert_eq!(emit(&mut core, 101, 2, 101), SendOutcome::Full, "the emit is longer than the older one");
    assert_eq!(emit(&mut core, 101, 2, 100), SendOutcome::Sent);
    assert_eq!(emit(&mut core, VOLATILE, 2, 20), SendOutcome::Dropped, "a volatile emit never exceeds the limit");
    assert_eq!((core.queued(), core.dropped()), (queued + 9_900, 1));
}

#[test]
fn only_the_latest_emit_is_retransmitted() {
    let mut core = core(Role::Server, 100, 1 << 20, 1 << 20);
    core.enable_resumption(1 << 20, 1 << 20);
    for number in 0..90 {
        emit(&mut core, 1, number, 20);
        emit(&mut core, 2, number, 20);
        emit(&mut core, VOLATILE, number, 20);
        transmit(&mut core);
        credit(&mut core, 3, 60);
    }
    core.detach();
    for number in 90..180 {
        emit(&mut core, 1, number, 20);
    }
    let mut resent = core.resume(Instant::now(), 0).expect("retained frames");
    let resent = read(resent.take_all());
    assert_eq!(resent.iter().filter(|(key, _)| *key == 0).count(), resent.len() - 1);
    assert_eq!(resent[resent.len() - 2..], [(2, 89), (0, 0)]);
    assert_eq!(read(transmit(&mut core)), [(1, 179)]);
}

#[test]
fn waiting_emits_survive_a_reset() {
    let mut core = core(Role::Client, 2, 1 << 20, 1 << 20);
    core.enable_resumption(1 << 20, 1 << 20);
    for key in [1, 2, 5, VOLATILE] {
        emit(&mut core, key, 1, if key == 5 { 200 } else { 20 });
    }
    core.detach();
    emit(&mut core, 1, 2, 20);
    let settings = Settings { max_frame: 100, window: WindowSize { calls: 9, bytes: 1 << 20 } };
    core.reset(Instant::now(), settings, settings, 1 << 20);
    core.on_writable(Instant::now());
    emit(&mut core, 5, 3, 20);
    assert_eq!(read(transmit(&mut core)), [(1, 2), (2, 1), (5, 3)]);
}

#[derive(Clone, Debug)]
enum Step {
    Emit { key: u64, length: usize },
    Note,
    VolatileNote,
    Transmit,
    Deliver { frames: usize },
    Break,
    Resume,
}

fn step() -> impl Strategy<Value = Step> {
    let emit = (1..5_u64, 13..200_usize).prop_map(|(key, length)| Step::Emit { key, length });
    prop_oneof![
        12 => emit,
        3 => Just(Step::Note),
        2 => Just(Step::VolatileNote),
        4 => Just(Step::Transmit),
        4 => (1..6_usize).prop_map(|frames| Step::Deliver { frames }),
        1 => Just(Step::Break),
        2 => Just(Step::Resume),
    ]
}

/// A sender and a receiver, and the bytes between them.
struct Pair {
    sender: SessionCore<u32, u32>,
    receiver: SessionCore<u32, u32>,
    pipe: Bytes,
    received: Vec<(u64, u32)>,
}

impl Pair {
    fn transmit(&mut self) {
        let bytes = transmit(&mut self.sender);
        let mut numbers = BTreeMap::new();
        for (key, number) in read(bytes.clone()) {
            assert!(numbers.insert(key, number).is_none() || key >= NOTE, "several emits of {key} were waiting");
        }
        self.pipe = [self.pipe.clone(), bytes].concat().into();
    }

    /// Delivers a frame, and ends its handler at once.
    fn deliver(&mut self) {
        let Some(frame) = next_frame(&mut self.pipe) else { return };
        let event = self.receiver.handle(Instant::now(), frame).expect("the sender keeps to the protocol");
        if let Event::Call(call) = event {
            self.received.push((call.key, number(&call.payload)));
            self.receiver.end_emit(call.handler, call.permit);
        }
        let mut back = transmit(&mut self.receiver);
        while let Some(frame) = next_frame(&mut back) {
            self.sender.handle(Instant::now(), frame).expect("the receiver keeps to the protocol");
        }
    }

    fn lose_connection(&mut self) {
        self.pipe = Bytes::new();
        self.sender.detach();
        self.receiver.detach();
    }

    fn resume(&mut self) {
        if !self.sender.is_detached() {
            return;
        }
        let now = Instant::now();
        let position = |core: &SessionCore<u32, u32>| core.positions().expect("a session that can be resumed").0;
        let (sent, received) = (position(&self.receiver), position(&self.sender));
        self.pipe = self.sender.resume(now, sent).expect("retained frames").take_all();
        let mut numbers = BTreeMap::new();
        for (key, number) in read(self.pipe.clone()).into_iter().filter(|(key, _)| (1..NOTE).contains(key)) {
            assert!(numbers.insert(key, number).is_none() && key != VOLATILE, "emits of {key} are retransmitted");
        }
        let mut back = self.receiver.resume(now, received).expect("retained frames").take_all();
        while let Some(frame) = next_frame(&mut back) {
            self.sender.handle(now, frame).expect("the receiver keeps to the protocol");
        }
    }

    /// Returns the numbers of waiting emits in the send buffer by key.
    fn check_send_buffer(&mut self) {
        let buffer = self.sender.send_buffer();
        let mut slices = vec![IoSlice::new(&[]); 1000];
        let filled = buffer.slices(&mut slices);
        let mut keys: Vec<_> = read(slices[..filled].iter().flat_map(|slice| slice.iter().copied()).collect())
            .into_iter()
            .map(|(key, _)| key)
            .collect();
        keys.retain(|key| *key < NOTE);
        let count = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), count, "several emits with the same key wait");
    }
}

proptest! {
    /// The receiver receives the latest emit of each key, and all other emits once and in order. No
    /// emit with an older number follows a newer one of its key.
    #[test]
    fn latest_emits_arrive_after_any_steps(
        steps in prop::collection::vec(step(), 1..120),
        calls in 1..12_u32,
        bytes in 100..800_u32,
    ) {
        let mut pair = Pair {
            sender: core(Role::Server, calls, bytes, 1 << 20),
            receiver: core(Role::Client, calls, bytes, 1 << 20),
            pipe: Bytes::new(),
            received: Vec::new(),
        };
        pair.sender.enable_resumption(1 << 20, 1 << 10);
        pair.receiver.enable_resumption(1 << 20, 1 << 10);
        let mut latest = BTreeMap::new();
        let mut notes = Vec::new();
        for (number, step) in (0..).zip(steps) {
            match step {
                Step::Emit { key, length } => {
                    emit(&mut pair.sender, key, number, length);
                    if key != VOLATILE {
                        latest.insert(key, number);
                    }
                }
                Step::Note => {
                    note(&mut pair.sender, number);
                    notes.push(number);
                }
                Step::VolatileNote => {
                    pair.sender.emit_volatile(&VolatileEmit::Shared(&frame(VOLATILE_NOTE, number, 13)));
                }
                Step::Transmit if pair.sender.is_detached() => {}
                Step::Transmit => pair.transmit(),
                Step::Deliver { frames } => (0..frames).for_each(|_| pair.deliver()),
                Step::Break => pair.lose_connection(),
                Step::Resume => pair.resume(),
            }
            pair.check_send_buffer();
        }
        pair.resume();
        for round in 0.. {
            if !pair.sender.has_pending() && !pair.sender.wants_write() && pair.pipe.is_empty() {
                break;
            }
            prop_assert!(round < 1000, "the pending emits are not sent");
            pair.transmit();
            while !pair.pipe.is_empty() {
                pair.deliver();
            }
        }
        for key in [1, 2, 3, 4, NOTE, VOLATILE_NOTE] {
            let of_key = pair.received.iter().filter(|(this, _)| *this == key).map(|(_, number)| *number);
            let numbers: Vec<_> = of_key.collect();
            prop_assert!(numbers.is_sorted_by(|one, next| one < next), "emits of {}: {:?}", key, numbers);
            if key == NOTE {
                prop_assert_eq!(&numbers, &notes);
            } else if let Some(number) = latest.get(&key) {
                prop_assert_eq!(numbers.last(), Some(number), "the latest of {}", key);
            }
        }
    }
}
