//! Tests that encode and decode all frames, and that decode arbitrary bytes.

use bytes::Bytes;
use proptest::{array::uniform4, collection::vec, prelude::*};

use crate::{
    CallId, CloseReason, FailureCode, Frame, PREFIX, SendBuffer,
    codec::Payload,
    frame::{Code, next_frame},
};

fn failure_code() -> impl Strategy<Value = FailureCode> {
    prop::sample::select(FailureCode::ALL)
}

fn close_reason() -> impl Strategy<Value = CloseReason> {
    prop::sample::select(CloseReason::ALL)
}

/// Generates numbers of every encoded length.
fn number() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..64u32).prop_map(|(number, shift)| number >> shift)
}

fn id() -> impl Strategy<Value = CallId> {
    (number(), any::<bool>()).prop_map(|(number, shared)| CallId { number: number >> 1, shared })
}

/// Generates a frame with a valid payload.
fn frame() -> impl Strategy<Value = (Frame, Vec<u8>)> {
    let payload = || vec(any::<u8>(), 0..64);
    let text = || ".{0,20}".prop_map(String::into_bytes);
    let bare = |frame| (frame, Vec::new());
    prop_oneof![
        (any::<u64>(), payload()).prop_map(|(key, payload)| (Frame::Emit { key }, payload)),
        (id(), number(), any::<u64>(), payload())
            .prop_map(|(id, timeout, key, payload)| (Frame::Request { id, timeout, key }, payload)),
        (id(), payload()).prop_map(|(id, payload)| (Frame::Reply { id }, payload)),
        (id(), failure_code(), text()).prop_map(|(id, code, text)| (Frame::Failure { id, code }, text)),
        id().prop_map(move |id| bare(Frame::Cancel { id })),
        (any::<u32>(), number()).prop_map(move |(calls, bytes)| bare(Frame::Credit { calls, bytes })),
        vec(any::<[u8; 16]>(), 0..4).prop_map(|entries| (Frame::Signatures, entries.concat())),
        Just(bare(Frame::Ready)),
        Just(bare(Frame::Heartbeat)),
        number().prop_map(move |position| bare(Frame::Ack { position })),
        number().prop_map(move |bytes| bare(Frame::Skipped { bytes })),
        Just(bare(Frame::GoAway)),
        Just(bare(Frame::Drained)),
        (close_reason(), text()).prop_map(|(reason, text)| (Frame::Close { reason }, text)),
    ]
}

/// Encodes a frame without its prefix.
fn encode(frame: Frame, payload: &[u8]) -> Vec<u8> {
    [&frame.header().prefixed(payload.len())[PREFIX..], payload].concat()
}

/// Decodes bytes that a peer may have sent. If they are a frame, checks that the frame keeps its
/// meaning when it is encoded and decoded again.
fn decode_anything(bytes: &[u8]) {
    let mut payload = Bytes::copy_from_slice(bytes);
    if let Ok(frame) = Frame::decode(&mut payload) {
        assert!(bytes.ends_with(&payload), "the payload is the end of the frame");
        let mut again = Bytes::from(encode(frame, &payload));
        assert_eq!(Frame::decode(&mut again), Ok(frame));
        assert_eq!(again, payload);
    }
}

proptest! {
    #[test]
    fn encoded_frame_decodes_to_itself((frame, payload) in frame()) {
        let mut bytes = Bytes::from(encode(frame, &payload));
        prop_assert_eq!(bytes[0], frame.kind());
        prop_assert_eq!(Frame::decode(&mut bytes), Ok(frame));
        prop_assert_eq!(&bytes[..], &payload[..]);
    }

    #[test]
    fn truncated_frame_is_error_or_frame((frame, payload) in frame()) {
        let bytes = encode(frame, &payload);
        let header = frame.header().len();
        for length in 0..bytes.len() {
            decode_anything(&bytes[..length]);
            if length < header {
                let mut cut = Bytes::copy_from_slice(&bytes[..length]);
                let accepted = Frame::decode(&mut cut).is_ok();
                prop_assert!(!accepted, "a header of {length} bytes instead of {header} was accepted");
            }
        }
    }

    #[test]
    fn frame_with_flipped_byte_is_error_or_frame((frame, payload) in frame(), flip in 1..=255u8) {
        let bytes = encode(frame, &payload);
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= flip;
            decode_anything(&flipped);
        }
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in vec(any::<u8>(), 0..64)) {
        decode_anything(&bytes);
    }

    #[test]
    fn frames_in_send_buffer_are_split_again(frames in uniform4(frame()), large in 0..9000usize) {
        let mut send_buffer = SendBuffer::default();
        for (frame, payload) in &frames {
            send_buffer.push(frame.header(), &Payload::Copied(payload));
        }
        // A large payload is shared instead of copied.
        let shared = Bytes::from(vec![7; large]);
        send_buffer.push(Frame::Emit { key: 1 }.header(), &Payload::Shared(shared.clone()));
        let length = send_buffer.len();
        let mut batch = send_buffer.take_all();
        prop_assert_eq!(batch.len(), length);
        for (frame, payload) in &frames {
            let mut bytes = next_frame(&mut batch).expect("a whole frame");
            prop_assert_eq!(Frame::decode(&mut bytes), Ok(*frame));
            prop_assert_eq!(&bytes[..], &payload[..]);
        }
        let mut last = next_frame(&mut batch).expect("a whole frame");
        prop_assert_eq!(Frame::decode(&mut last), Ok(Frame::Emit { key: 1 }));
        prop_assert_eq!(last, shared);
        prop_assert!(batch.is_empty());
    }
}

#[test]
fn trailing_bytes_after_frame_without_payload_are_error() {
    let id = CallId { number: 3, shared: false };
    let fixed =
        [Frame::Cancel { id }, Frame::Credit { calls: 1, bytes: 2 }, Frame::Ready, Frame::GoAway, Frame::Drained];
    for frame in fixed {
        let mut bytes = Bytes::from(encode(frame, &[0]));
        assert!(Frame::decode(&mut bytes).is_err(), "{frame:?}");
    }
}

#[test]
fn varint_beyond_64_bits_is_error() {
    for broken in [[&[0xff; 9][..], &[2]].concat(), vec![0x80; 11], vec![0x80; 3]] {
        let mut bytes = Bytes::from([&[5], &broken[..]].concat());
        assert!(Frame::decode(&mut bytes).is_err(), "{broken:?}");
    }
    let most = CallId { number: u64::MAX >> 1, shared: true };
    let mut bytes = Bytes::from([&[5], &[0xff; 9][..], &[1]].concat());
    assert_eq!(Frame::decode(&mut bytes), Ok(Frame::Cancel { id: most }));
}

#[test]
fn prefix_is_length_of_header_and_payload() {
    let mut header = Frame::Emit { key: 5 }.header();
    assert_eq!(header.prefixed(300)[..PREFIX], 309u32.to_le_bytes());
    assert_eq!(PREFIX, 4);
}
