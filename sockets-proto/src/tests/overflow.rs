//! The policies for a member whose queue is full, message by message.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::{
    CallOrigin, Frame, Overflow, PREFIX, Role, SendBuffer, SendOutcome, SessionCore, Settings, VolatileEmit, WhenFull,
    codec::Payload, frame::next_frame, pending::PENDING_OVERHEAD, shared_emit, window::WindowSize,
};

/// A message as it is queued, and as it is parked.
const MESSAGE: usize = 100;
const PARKED: usize = MESSAGE + PENDING_OVERHEAD;
const POSITION: u64 = 1;
const LINE: u64 = 2;
const NOTE: u64 = 3;

/// A core whose peer has so many places for calls.
fn core(calls: u32, queue: usize) -> SessionCore<u32, u32> {
    let terms = Settings { max_frame: 1 << 20, window: WindowSize { calls, bytes: 1 << 20 } };
    SessionCore::new(Role::Server, terms, terms, queue)
}

fn say(
    core: &mut SessionCore<u32, u32>,
    key: u64,
    overflow: Overflow,
    numbers: impl IntoIterator<Item = u8>,
) -> Vec<SendOutcome> {
    let frame = |number| shared_emit(key, &Payload::Copied(&[number; MESSAGE - 13]));
    let said = numbers.into_iter().map(|number| share(core, &frame(number), key, overflow));
    said.collect()
}

fn share(core: &mut SessionCore<u32, u32>, frame: &Bytes, key: u64, overflow: Overflow) -> SendOutcome {
    core.broadcast(Instant::now(), frame, key, overflow, WhenFull::ApplyPolicy)
}

/// What is written, by its numbers, when all that was written before has been heard and given back.
fn heard(core: &mut SessionCore<u32, u32>) -> Vec<u8> {
    let mut numbers = Vec::new();
    loop {
        let mut bytes = core.outbox().take_all();
        if bytes.is_empty() {
            return numbers;
        }
        let frames: Vec<_> = std::iter::from_fn(|| next_frame(&mut bytes)).collect();
        numbers.extend(frames.iter().filter_map(|frame| frame.last()));
        let bytes = frames.iter().map(|frame| frame.len() as u64).sum();
        let credit = Frame::Credit { calls: u32::try_from(frames.len()).expect("a few"), bytes };
        core.handle(Instant::now(), Bytes::copy_from_slice(&credit.header().prefixed(0)[PREFIX..]))
            .expect("what is owed");
        if core.has_evictable() {
            core.on_writable(Instant::now());
        }
    }
}

#[test]
fn a_message_that_finds_no_room_is_the_end_of_a_member_or_dropped() {
    let mut core = core(1, MESSAGE + 2 * PARKED);
    say(&mut core, NOTE, Overflow::Disconnect, [0, 1, 2]);
    assert_eq!(say(&mut core, NOTE, Overflow::Disconnect, [3]), [SendOutcome::Full]);
    assert_eq!(say(&mut core, LINE, Overflow::DropNewest, [4, 5]), [SendOutcome::Dropped; 2]);
    assert_eq!(core.dropped(), 2);
    assert_eq!(heard(&mut core), [0, 1, 2]);
    assert_eq!(say(&mut core, LINE, Overflow::DropNewest, [6]), [SendOutcome::Sent]);
}

#[test]
fn as_many_of_the_oldest_of_a_method_as_it_takes_are_dropped() {
    let mut core = core(1, MESSAGE + 4 * PARKED);
    say(&mut core, LINE, Overflow::DropOldest, [0, 1]);
    say(&mut core, NOTE, Overflow::Disconnect, [2]);
    say(&mut core, LINE, Overflow::DropOldest, [3]);
    say(&mut core, POSITION, Overflow::Latest, [4]);
    assert_eq!((core.dropped(), core.queued()), (0, core.queue_limit()));
    assert_eq!(say(&mut core, LINE, Overflow::DropOldest, [5]), [SendOutcome::Pending]);
    assert_eq!((core.dropped(), core.queued()), (1, core.queue_limit()));
    let large = shared_emit(LINE, &Payload::Copied(&[6; 3 * MESSAGE - 13]));
    assert_eq!(share(&mut core, &large, LINE, Overflow::DropOldest), SendOutcome::Pending);
    assert_eq!((core.dropped(), core.queued()), (2, core.queue_limit() + 2 * MESSAGE));
    assert_eq!(say(&mut core, LINE, Overflow::DropOldest, [7]), [SendOutcome::Pending]);
    assert_eq!(core.dropped(), 4);
    assert_eq!(heard(&mut core), [0, 2, 4, 7]);
    assert_eq!(core.queued(), 0);
}

#[test]
fn a_message_is_dropped_itself_if_nothing_of_its_method_waits() {
    let mut core = core(1, MESSAGE + 2 * PARKED);
    say(&mut core, NOTE, Overflow::Disconnect, [0, 1]);
    say(&mut core, LINE, Overflow::DropOldest, [2]);
    assert_eq!(say(&mut core, LINE + 10, Overflow::DropOldest, [3]), [SendOutcome::Dropped]);
    assert_eq!(heard(&mut core), [0, 1, 2]);
}

#[test]
fn the_latest_message_replaces_those_that_wait_and_is_kept_beside_a_full_queue() {
    let mut core = core(1, MESSAGE + 4 * PARKED);
    say(&mut core, NOTE, Overflow::Disconnect, [0]);
    say(&mut core, POSITION, Overflow::Latest, [1, 2]);
    say(&mut core, NOTE, Overflow::Disconnect, [3]);
    say(&mut core, POSITION, Overflow::Latest, [4]);
    assert_eq!(core.dropped(), 0, "all have had room");
    assert_eq!(say(&mut core, POSITION, Overflow::Latest, [5]), [SendOutcome::Pending]);
    assert_eq!(core.dropped(), 3);
    say(&mut core, NOTE, Overflow::Disconnect, [6, 7]);
    assert_eq!(core.queued(), core.queue_limit());
    for number in 8..200 {
        assert_eq!(say(&mut core, POSITION, Overflow::Latest, [number]), [SendOutcome::Pending]);
        assert_eq!(core.queued(), core.queue_limit(), "it has the place of the one before");
    }
    say(&mut core, POSITION + 10, Overflow::Latest, [200, 201]);
    assert_eq!(core.queued(), core.queue_limit() + PARKED, "one of each method, at most");
    assert_eq!(heard(&mut core), [0, 3, 6, 7, 199, 201]);
}

#[test]
fn what_may_be_dropped_stays_in_reach_beyond_half_of_the_queue_and_holds_its_place() {
    let mut core = core(1000, 10 * MESSAGE);
    say(&mut core, LINE, Overflow::DropOldest, 0..5);
    assert_eq!(core.outbox().len(), 5 * MESSAGE);
    assert_eq!(say(&mut core, LINE, Overflow::DropOldest, [5]), [SendOutcome::Pending]);
    assert_eq!(say(&mut core, NOTE, Overflow::Disconnect, [6]), [SendOutcome::Pending], "it stays behind that");
    say(&mut core, LINE, Overflow::DropOldest, 7..20);
    assert_eq!(heard(&mut core), [0, 1, 2, 3, 4, 6, 17, 18, 19]);
}

#[test]
fn what_was_behind_a_dropped_message_goes_on_at_once() {
    let terms = Settings { max_frame: 1 << 20, window: WindowSize { calls: 100, bytes: 400 } };
    let mut core: SessionCore<u32, u32> = SessionCore::new(Role::Server, terms, terms, 1800);
    say(&mut core, NOTE, Overflow::Disconnect, [0, 1, 2]);
    // Too large for what is left of the window.
    let large = shared_emit(POSITION, &Payload::Copied(&[3; 1300]));
    share(&mut core, &large, POSITION, Overflow::Latest);
    say(&mut core, NOTE, Overflow::Disconnect, [4]);
    assert_eq!(core.outbox().len(), 3 * MESSAGE);
    let larger = shared_emit(POSITION, &Payload::Copied(&[5; 1400]));
    share(&mut core, &larger, POSITION, Overflow::Latest);
    assert_eq!((core.dropped(), core.outbox().len()), (1, 4 * MESSAGE));
}

/// A frame of as many bytes as the other side accepts.
fn largest() -> Bytes {
    shared_emit(NOTE, &Payload::Copied(&vec![0; (1 << 20) - 9]))
}

#[test]
fn queue_below_limit_accepts_one_message_of_any_size() {
    let limit = MESSAGE + PARKED;
    for overflow in [Overflow::Disconnect, Overflow::DropNewest, Overflow::DropOldest, Overflow::Latest] {
        let mut core = core(1, limit);
        say(&mut core, NOTE, Overflow::Disconnect, [0]);
        assert_eq!(share(&mut core, &largest(), LINE, overflow), SendOutcome::Pending, "{overflow:?}");
        let refused = say(&mut core, NOTE, Overflow::DropNewest, [1]);
        assert_eq!(refused, [SendOutcome::Dropped], "it is full now");
    }
    let mut core = core(1, limit);
    say(&mut core, NOTE, Overflow::Disconnect, [0]);
    let largest = vec![0; (1 << 20) - 9];
    let emit = |core: &mut SessionCore<u32, u32>| {
        core.emit(Instant::now, NOTE, &Payload::Copied(&largest), CallOrigin::Handler)
    };
    assert_eq!((emit(&mut core), emit(&mut core)), (SendOutcome::Pending, SendOutcome::Full));
}

#[test]
fn request_queue_below_limit_accepts_one_request_of_any_size() {
    let mut core = core(4, MESSAGE);
    let payload = vec![0; (1 << 20) - 40];
    let mut request =
        || core.request(Instant::now(), NOTE, Duration::from_secs(1), &Payload::Copied(&payload), 0, CallOrigin::Other);
    assert!(request().is_ok(), "it is sent");
    assert!(request().is_ok(), "the queue is empty");
    assert_eq!(request(), Err(SendOutcome::Full));
}

#[test]
fn awaited_member_accepts_messages_beyond_its_limit() {
    let mut core = core(1, MESSAGE);
    say(&mut core, NOTE, Overflow::Disconnect, [0]);
    let frame = |number| shared_emit(NOTE, &Payload::Copied(&[number; MESSAGE - 13]));
    for (number, overflow) in [(1, Overflow::Disconnect), (2, Overflow::DropNewest), (3, Overflow::DropOldest)] {
        let accepted = core.broadcast(Instant::now(), &frame(number), NOTE, overflow, WhenFull::Accept);
        assert_eq!(accepted, SendOutcome::Pending);
    }
    assert_eq!(say(&mut core, NOTE, Overflow::Disconnect, [4]), [SendOutcome::Full]);
    assert_eq!((core.dropped(), heard(&mut core)), (0, vec![0, 1, 2, 3]));
}

#[test]
fn volatile_emit_is_sent_while_queue_is_below_limit() {
    let mut core = core(1000, MESSAGE + 1);
    say(&mut core, NOTE, Overflow::Disconnect, [0]);
    assert_eq!(core.emit_volatile(&VolatileEmit::Shared(&largest())), SendOutcome::Sent);
    assert_eq!(core.emit_volatile(&VolatileEmit::Shared(&largest())), SendOutcome::Dropped);
}

#[test]
fn large_frame_in_replay_buffer_leaves_queue_empty() {
    let mut core = core(1000, MESSAGE);
    core.enable_resumption(2 * MESSAGE, 2 * MESSAGE);
    share(&mut core, &largest(), NOTE, Overflow::Disconnect);
    core.poll_transmit(&mut SendBuffer::default());
    assert!(core.has_capacity() && !core.is_full(), "what the writer has is not queued");
    assert_eq!(say(&mut core, NOTE, Overflow::Disconnect, [1]), [SendOutcome::Pending], "it waits for the window");
}
