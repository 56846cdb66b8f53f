//! Tests of both ends of a connection.

use std::{future::poll_fn, task::Poll};

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex, split};
use tungstenite::protocol::Role;

use super::over_websocket;
use crate::transport::Link;
use sockets_proto::{SendBuffer, next_frame};

/// Returns a client's end and a server's end of a pipe with this capacity.
fn ends(capacity: usize) -> [Link; 2] {
    let (near, far) = duplex(capacity);
    [(Role::Client, near), (Role::Server, far)].map(|(role, end)| {
        let (reader, writer) = split(end);
        over_websocket(role, BytesMut::new(), reader, writer)
    })
}

/// Returns frames of many sizes, including the limits of headers and buffers.
fn frames() -> Vec<Bytes> {
    let sizes = [1, 2, 125, 126, 127, 4095, 4096, 16_383, 16_384, 65_535, 65_536, 300_000];
    let bytes = || (0..=250_u8).cycle();
    sizes.into_iter().chain(1..200).map(|size| bytes().take(size).collect()).collect()
}

async fn send(link: &mut Link, frames: &[Bytes]) {
    let mut send_buffer = SendBuffer::default();
    for (number, frame) in frames.iter().enumerate() {
        let length = u32::try_from(frame.len()).unwrap().to_le_bytes();
        let whole: Bytes = [&length, &frame[..]].concat().into();
        // Every third frame is a chunk of its own. The other frames share chunks.
        if number % 3 == 0 { send_buffer.push_exact(whole) } else { send_buffer.push_encoded(&whole) }
    }
    poll_fn(|cx| link.transmitter.poll_transmit(cx, &mut send_buffer)).await.unwrap();
    assert!(send_buffer.is_empty());
    poll_fn(|cx| link.transmitter.poll_finish(cx)).await.unwrap();
}

#[tokio::test]
async fn accepted_bytes_grow_while_peer_reads_slowly() {
    let (near, mut far) = duplex(100);
    let (reader, writer) = split(near);
    let mut link = over_websocket(Role::Server, BytesMut::new(), reader, writer);
    let mut send_buffer = SendBuffer::default();
    send_buffer.push_message(&[7; 10_000]);
    let mut accepted = 0;
    while accepted < 9900 {
        let polled = poll_fn(|cx| Poll::Ready(link.transmitter.poll_transmit(cx, &mut send_buffer))).await;
        assert!(polled.is_pending() && !send_buffer.is_empty());
        assert_eq!(link.transmitter.accepted(), accepted + 100);
        accepted += 100;
        far.read_exact(&mut [0; 100]).await.unwrap();
        // The yield renews the budget of tokio. Without budget, `poll_transmit` would return
        // `Pending`, which the test could not distinguish from a full pipe.
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn every_ping_is_answered_while_peer_reads() {
    const PINGS: u32 = 5000;
    let (near, mut far) = duplex(1 << 20);
    let (reader, writer) = split(near);
    let mut link = over_websocket(Role::Client, BytesMut::new(), reader, writer);
    let pings: Vec<u8> = (0..PINGS).flat_map(|number| [&[0x89, 4][..], &number.to_le_bytes()].concat()).collect();
    far.write_all(&pings).await.unwrap();
    let receive = poll_fn(|cx| link.receiver.poll_receive(cx, 100));
    let read = async {
        for number in 0..PINGS {
            let mut pong = [0; 10];
            far.read_exact(&mut pong).await.unwrap();
            assert_eq!(pong[..2], [0x8a, 0x84]);
            let mask: [u8; 4] = pong[2..6].try_into().unwrap();
            let payload: Vec<u8> = pong[6..].iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect();
            assert_eq!(payload, number.to_le_bytes());
        }
    };
    tokio::select! {
        received = receive => panic!("pings are not messages: {received:?}"),
        () = read => {}
    }
}

async fn receive(link: &mut Link, mut count: usize) -> Vec<Bytes> {
    let mut received = Vec::new();
    while count > 0 {
        let mut batch = poll_fn(|cx| link.receiver.poll_receive(cx, 300_000)).await.unwrap();
        while let Some(frame) = next_frame(&mut batch) {
            received.push(frame);
            count -= 1;
        }
        assert!(batch.is_empty(), "a batch holds whole frames");
    }
    received
}

#[tokio::test]
async fn frames_of_all_sizes_arrive_in_order() {
    let frames = frames();
    for capacity in [17, 1000, 1 << 20] {
        for sender_is_server in [false, true] {
            let mut ends = ends(capacity);
            if sender_is_server {
                ends.reverse();
            }
            let [mut from, mut to] = ends;
            let ((), received) = tokio::join!(send(&mut from, &frames), receive(&mut to, frames.len()));
            assert!(received == frames, "through a pipe of {capacity} bytes, from the server: {sender_is_server}");
            let end = poll_fn(|cx| to.receiver.poll_receive(cx, 300_000)).await;
            assert!(matches!(end, Err(crate::transport::ReceiveError::Closed)));
        }
    }
}

#[tokio::test]
async fn too_large_message_is_rejected_after_earlier_ones() {
    let [mut client, mut server] = ends(1 << 20);
    send(&mut client, &[Bytes::from_static(b"first"), Bytes::from_static(b"longer")]).await;
    let first = poll_fn(|cx| server.receiver.poll_receive(cx, 5)).await.unwrap();
    assert_eq!(first, b"\x05\0\0\0first"[..]);
    // The limit changes here, as it does between the handshake and the session.
    let second = poll_fn(|cx| server.receiver.poll_receive(cx, 6)).await.unwrap();
    assert_eq!(second, b"\x06\0\0\0longer"[..]);

    let [mut client, mut server] = ends(1 << 20);
    send(&mut client, &[Bytes::from_static(b"longer")]).await;
    let error = poll_fn(|cx| server.receiver.poll_receive(cx, 5)).await.unwrap_err();
    assert_eq!(error.to_string(), "a frame of 6 bytes exceeds the limit of 5 bytes");
}

#[tokio::test]
async fn bytes_received_with_upgrade_are_delivered() {
    let (near, mut far) = duplex(64);
    let (reader, writer) = split(near);
    let mut link = over_websocket(Role::Client, BytesMut::from(&b"\x82\x05he"[..]), reader, writer);
    far.write_all(b"llo").await.unwrap();
    let received = poll_fn(|cx| link.receiver.poll_receive(cx, 100)).await.unwrap();
    assert_eq!(received, b"\x05\0\0\0hello"[..]);
}

/// Generates frames with plausible first bytes. Masks of frames from a client are zero.
fn frame_like() -> impl Strategy<Value = Vec<u8>> {
    let first =
        prop_oneof![Just(0x82_u8), Just(0x02), Just(0x00), Just(0x80), Just(0x88), Just(0x89), Just(0x8a), any::<u8>()];
    (first, 0_u8..=130, any::<bool>(), proptest::collection::vec(any::<u8>(), 0..130)).prop_map(
        |(first, length, masked, payload)| {
            let second = length | if masked { 0x80 } else { 0 };
            [&[first, second][..], if masked { &[0; 4] } else { &[] }, &payload[..payload.len().min(length.into())]]
                .concat()
        },
    )
}

proptest! {
    #[test]
    fn any_bytes_are_accepted_or_rejected(
        pieces in proptest::collection::vec(frame_like(), 0..20),
        role in prop_oneof![Just(Role::Client), Just(Role::Server)],
    ) {
        const LIMIT: usize = 200;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (near, far) = duplex(1 << 20);
            let (reader, writer) = split(near);
            let mut link = over_websocket(role, BytesMut::new(), reader, writer);
            let (mut replies, mut sent) = split(far);
            sent.write_all(&pieces.concat()).await.unwrap();
            sent.shutdown().await.unwrap();
            while let Ok(mut batch) = poll_fn(|cx| link.receiver.poll_receive(cx, LIMIT)).await {
                assert!(!batch.is_empty());
                while let Some(frame) = next_frame(&mut batch) {
                    assert!(frame.len() <= LIMIT);
                }
                assert!(batch.is_empty(), "a batch holds whole frames");
            }
            poll_fn(|cx| link.transmitter.poll_finish(cx)).await.unwrap();
            drop(link);
            let mut reply = Vec::new();
            replies.read_to_end(&mut reply).await.unwrap();
            assert!(!reply.is_empty(), "at least a close frame");
        });
    }
}

#[tokio::test]
async fn message_after_large_message_has_its_own_batch() {
    let [mut client, mut server] = ends(1 << 20);
    let large = Bytes::from(vec![7; 100_000]);
    send(&mut client, &[large.clone(), Bytes::from_static(b"small")]).await;
    let first = poll_fn(|cx| server.receiver.poll_receive(cx, 300_000)).await.unwrap();
    assert_eq!(first[4..], large);
    let second = poll_fn(|cx| server.receiver.poll_receive(cx, 300_000)).await.unwrap();
    assert_eq!(second, b"\x05\0\0\0small"[..]);
}
