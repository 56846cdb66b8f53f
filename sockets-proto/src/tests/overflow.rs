//! Tests of the overflow policies for a member that has a full queue.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::{
    CallOrigin, Frame, Overflow, PREFIX, Role, SendBuffer, SendOutcome, SessionCore, Settings, VolatileEmit, WhenFull,
    codec::Payload, frame::next_frame, pending::PENDING_OVERHEAD, shared_emit, window::WindowSize,
};

/// The number of bytes of a message on the wire.
const MESSAGE: usize = 100;
/// The number of bytes that the queue counts for a pending message.
const PENDING: usize = MESSAGE + PENDING_OVERHEAD;
const POSITION: u64 = 1;
const LINE: u64 = 2;
const NOTE: u64 = 3;

/// Creates a core. Its peer accepts `calls` calls in flight, and its queue holds `queue` bytes.
fn core(calls: u32, queue: usize) -> SessionCore<u32, u32> {
    let settings = Settings { max_frame: 1 << 20, window: WindowSize { calls, bytes: 1 << 20 } };
    SessionCore::new(Role::Server, settings, settings, queue)
}

fn broadcast(
    core: &mut SessionCore<u32, u32>,
    key: u64,
    overflow: Overflow,
    numbers: impl IntoIterator<Item = u8>,
) -> Vec<SendOutcome> {
    let frame = |number| shared_emit(key, &Payload::Copied(&[number; MESSAGE - 13]));
    let outcomes = numbers.into_iter().map(|number| share(core, &frame(number), key, overflow));
    outcomes.collect()
}

fn share(core: &mut SessionCore<u32, u32>, frame: &Bytes, key: u64, overflow: Overflow) -> SendOutcome {
    core.broadcast(Instant::now(), frame, key, overflow, WhenFull::ApplyPolicy)
}

/// Sends all messages while the peer returns the window. Returns the numbers of the messages.
fn deliver_all(core: &mut SessionCore<u32, u32>) -> Vec<u8> {
    let mut numbers = Vec::new();
    loop {
        let mut bytes = core.send_buffer().take_all();
        if bytes.is_empty() {
            return numbers;
        }
        let frames: Vec<_> = std::iter::from_fn(|| next_frame(&mut bytes)).collect();
        numbers.extend(frames.iter().filter_map(|frame| frame.last()));
        let bytes = frames.iter().map(|frame| frame.len() as u64).sum();
        let credit = Frame::Credit { calls: u32::try_from(frames.len()).expect("few frames"), bytes };
        core.handle(Instant::now(), Bytes::copy_from_slice(&credit.header().prefixed(0)[PREFIX..]))
            .expect("a credit for sent emits");
        if core.has_evictable() {
            core.on_writable(Instant::now());
        }
    }
}

#[test]
fn message_for_full_queue_is_dropped_or_disconnects() {
    let mut core = core(1, MESSAGE + 2 * PENDING);
    broadcast(&mut core, NOTE, Overflow::Disconnect, [0, 1, 2]);
    assert_eq!(broadcast(&mut core, NOTE, Overflow::Disconnect, [3]), [SendOutcome::Full]);
    assert_eq!(broadcast(&mut core, LINE, Overflow::DropNewest, [4, 5]), [SendOutcome::Dropped; 2]);
    assert_eq!(core.dropped(), 2);
    assert_eq!(deliver_all(&mut core), [0, 1, 2]);
    assert_eq!(broadcast(&mut core, LINE, Overflow::DropNewest, [6]), [SendOutcome::Sent]);
}

#[test]
fn oldest_messages_are_dropped_until_new_one_fits() {
    let mut core = core(1, MESSAGE + 4 * PENDING);
    broadcast(&mut core, LINE, Overflow::DropOldest, [0, 1]);
    broadcast(&mut core, NOTE, Overflow::Disconnect, [2]);
    broadcast(&mut core, LINE, Overflow::DropOldest, [3]);
    broadcast(&mut core, POSITION, Overflow::DropOldest, [4]);
    assert_eq!((core.dropped(), core.queued()), (0, core.queue_limit()));
    assert_eq!(broadcast(&mut core, LINE, Overflow::DropOldest, [5]), [SendOutcome::Pending]);
    assert_eq!((core.dropped(), core.queued()), (1, core.queue_limit()));
    let large = shared_emit(LINE, &Payload::Copied(&[6; 3 * MESSAGE - 13]));
    assert_eq!(share(&mut core, &large, LINE, Overflow::DropOldest), SendOutcome::Pending);
    assert_eq!((core.dropped(), core.queued()), (2, core.queue_limit() + 2 * MESSAGE));
    assert_eq!(broadcast(&mut core, LINE, Overflow::DropOldest, [7]), [SendOutcome::Pending]);
    assert_eq!(core.dropped(), 4);
    assert_eq!(deliver_all(&mut core), [0, 2, 4, 7]);
    assert_eq!(core.queued(), 0);
}

#[test]
fn message_without_older_one_of_method_is_dropped() {
    let mut core = core(1, MESSAGE + 2 * PENDING);
    broadcast(&mut core, NOTE, Overflow::Disconnect, [0, 1]);
    broadcast(&mut core, LINE, Overflow::DropOldest, [2]);
    assert_eq!(broadcast(&mut core, LINE + 10, Overflow::DropOldest, [3]), [SendOutcome::Dropped]);
    assert_eq!(deliver_all(&mut core), [0, 1, 2]);
}

#[test]
fn evictable_message_stays_pending_and_in_order() {
    let mut core = core(1000, 10 * MESSAGE);
    broadcast(&mut core, LINE, Overflow::DropOldest, 0..5);
    assert_eq!(core.send_buffer().len(), 5 * MESSAGE);
    assert_eq!(broadcast(&mut core, LINE, Overflow::DropOldest, [5]), [SendOutcome::Pending]);
    assert_eq!(
        broadcast(&mut core, NOTE, Overflow::Disconnect, [6]),
        [SendOutcome::Pending],
        "it follows pending messages"
    );
    broadcast(&mut core, LINE, Overflow::DropOldest, 7..20);
    assert_eq!(deliver_all(&mut core), [0, 1, 2, 3, 4, 6, 17, 18, 19]);
}

#[test]
fn messages_after_dropped_one_are_sent_at_once() {
    let settings = Settings { max_frame: 1 << 20, window: WindowSize { calls: 100, bytes: 400 } };
    let mut core: SessionCore<u32, u32> = SessionCore::new(Role::Server, settings, settings, 1800);
    broadcast(&mut core, NOTE, Overflow::Disconnect, [0, 1, 2]);
    // The emit is larger than the remaining window.
    let large = shared_emit(POSITION, &Payload::Copied(&[3; 1300]));
    share(&mut core, &large, POSITION, Overflow::DropOldest);
    broadcast(&mut core, NOTE, Overflow::Disconnect, [4]);
    assert_eq!(core.send_buffer().len(), 3 * MESSAGE);
    let larger = shared_emit(POSITION, &Payload::Copied(&[5; 1400]));
    share(&mut core, &larger, POSITION, Overflow::DropOldest);
    assert_eq!((core.dropped(), core.send_buffer().len()), (1, 4 * MESSAGE));
}

/// Returns a frame of the maximum length that the peer accepts.
fn largest() -> Bytes {
    shared_emit(NOTE, &Payload::Copied(&vec![0; (1 << 20) - 9]))
}

#[test]
fn queue_below_limit_accepts_one_message_of_any_size() {
    let limit = MESSAGE + PENDING;
    for overflow in [Overflow::Disconnect, Overflow::DropNewest, Overflow::DropOldest] {
        let mut core = core(1, limit);
        broadcast(&mut core, NOTE, Overflow::Disconnect, [0]);
        assert_eq!(share(&mut core, &largest(), LINE, overflow), SendOutcome::Pending, "{overflow:?}");
        let refused = broadcast(&mut core, NOTE, Overflow::DropNewest, [1]);
        assert_eq!(refused, [SendOutcome::Dropped], "the queue is full");
    }
    let mut core = core(1, limit);
    broadcast(&mut core, NOTE, Overflow::Disconnect, [0]);
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
    assert!(request().is_ok(), "sent");
    assert!(request().is_ok(), "the queue is empty");
    assert_eq!(request(), Err(SendOutcome::Full));
}

#[test]
fn awaited_member_accepts_messages_beyond_its_limit() {
    let mut core = core(1, MESSAGE);
    broadcast(&mut core, NOTE, Overflow::Disconnect, [0]);
    let frame = |number| shared_emit(NOTE, &Payload::Copied(&[number; MESSAGE - 13]));
    for (number, overflow) in [(1, Overflow::Disconnect), (2, Overflow::DropNewest), (3, Overflow::DropOldest)] {
        let accepted = core.broadcast(Instant::now(), &frame(number), NOTE, overflow, WhenFull::Accept);
        assert_eq!(accepted, SendOutcome::Pending);
    }
    assert_eq!(broadcast(&mut core, NOTE, Overflow::Disconnect, [4]), [SendOutcome::Full]);
    assert_eq!((core.dropped(), deliver_all(&mut core)), (0, vec![0, 1, 2, 3]));
}

#[test]
fn volatile_emit_is_sent_while_queue_is_below_limit() {
    let mut core = core(1000, MESSAGE + 1);
    broadcast(&mut core, NOTE, Overflow::Disconnect, [0]);
    assert_eq!(core.emit_volatile(&VolatileEmit::Shared(&largest())), SendOutcome::Sent);
    assert_eq!(core.emit_volatile(&VolatileEmit::Shared(&largest())), SendOutcome::Dropped);
}

#[test]
fn large_frame_in_retransmit_buffer_leaves_queue_empty() {
    let mut core = core(1000, MESSAGE);
    core.enable_resumption(2 * MESSAGE, 2 * MESSAGE);
    share(&mut core, &largest(), NOTE, Overflow::Disconnect);
    core.poll_transmit(&mut SendBuffer::default());
    assert!(core.has_capacity() && !core.is_full(), "retained frames are not queued");
    assert_eq!(
        broadcast(&mut core, NOTE, Overflow::Disconnect, [1]),
        [SendOutcome::Pending],
        "it waits for the window"
    );
}
