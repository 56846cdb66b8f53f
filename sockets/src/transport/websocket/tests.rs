//! Both ends of a connection.

use std::{future::poll_fn, task::Poll};

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex, split};
use tungstenite::protocol::Role;

use super::over_websocket;
use crate::transport::Link;
use sockets_proto::{SendBuffer, next_frame};

/// A client's and a server's end over a pipe that holds so much.
fn ends(pipe: usize) -> [Link; 2] {
    let (near, far) = duplex(pipe);
    [(Role::Client, near), (Role::Server, far)].map(|(role, end)| {
        let (reader, writer) = split(end);
        over_websocket(role, BytesMut::new(), reader, writer)
    })
}

/// Frames of many sizes, around those where something changes.
fn frames() -> Vec<Bytes> {
    let sizes = [1, 2, 125, 126, 127, 4095, 4096, 16_383, 16_384, 65_535, 65_536, 300_000];
    let bytes = || (0..=250_u8).cycle();
    sizes.into_iter().chain(1..200).map(|size| bytes().take(size).collect()).collect()
}

async fn send(link: &mut Link, frames: &[Bytes]) {
    let mut outbox = SendBuffer::default();
    for (number, frame) in frames.iter().enumerate() {
        let length = u32::try_from(frame.len()).unwrap().to_le_bytes();
        let whole: Bytes = [&length, &frame[..]].concat().into();
        // In pieces of their own, or side by side.
        if number % 3 == 0 { outbox.push_exact(whole) } else { outbox.push_encoded(&whole) }
    }
    poll_fn(|cx| link.transmitter.poll_transmit(cx, &mut outbox)).await.unwrap();
    assert!(outbox.is_empty());
    poll_fn(|cx| link.transmitter.poll_finish(cx)).await.unwrap();
}

#[tokio::test]
async fn accepted_bytes_grow_while_peer_reads_slowly() {
    let (near, mut far) = duplex(100);
    let (reader, writer) = split(near);
    let mut link = over_websocket(Role::Server, BytesMut::new(), reader, writer);
    let mut outbox = SendBuffer::default();
    outbox.push_message(&[7; 10_000]);
    let mut accepted = 0;
    while accepted < 9900 {
        let polled = poll_fn(|cx| Poll::Ready(link.transmitter.poll_transmit(cx, &mut outbox))).await;
        assert!(polled.is_pending() && !outbox.is_empty());
        assert_eq!(link.transmitter.accepted(), accepted + 100);
        accepted += 100;
        far.read_exact(&mut [0; 100]).await.unwrap();
        // Otherwise the task's budget would end, which is the same to the caller as a full pipe.
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
async fn what_goes_in_at_one_end_comes_out_at_the_other() {
    let frames = frames();
    for pipe in [17, 1000, 1 << 20] {
        for sender_is_server in [false, true] {
            let mut ends = ends(pipe);
            if sender_is_server {
                ends.reverse();
            }
            let [mut from, mut to] = ends;
            let ((), received) = tokio::join!(send(&mut from, &frames), receive(&mut to, frames.len()));
            assert!(received == frames, "through a pipe of {pipe} bytes, from the server: {sender_is_server}");
            let end = poll_fn(|cx| to.receiver.poll_receive(cx, 300_000)).await;
            assert!(matches!(end, Err(crate::transport::ReceiveError::Closed)));
        }
    }
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_when_those_before_it_are_through() {
    let [mut client, mut server] = ends(1 << 20);
    send(&mut client, &[Bytes::from_static(b"first"), Bytes::from_static(b"longer")]).await;
    let first = poll_fn(|cx| server.receiver.poll_receive(cx, 5)).await.unwrap();
    assert_eq!(first, b"\x05\0\0\0first"[..]);
    // As the greeting's limit is not that of the session.
    let second = poll_fn(|cx| server.receiver.poll_receive(cx, 6)).await.unwrap();
    assert_eq!(second, b"\x06\0\0\0longer"[..]);

    let [mut client, mut server] = ends(1 << 20);
    send(&mut client, &[Bytes::from_static(b"longer")]).await;
    let refused = poll_fn(|cx| server.receiver.poll_receive(cx, 5)).await.unwrap_err();
    assert_eq!(refused.to_string(), "a frame of 6 bytes is over the limit of 5");
}

#[tokio::test]
async fn bytes_that_came_with_the_upgrade_are_not_lost() {
    let (near, mut far) = duplex(64);
    let (reader, writer) = split(near);
    let mut link = over_websocket(Role::Client, BytesMut::from(&b"\x82\x05he"[..]), reader, writer);
    far.write_all(b"llo").await.unwrap();
    let received = poll_fn(|cx| link.receiver.poll_receive(cx, 100)).await.unwrap();
    assert_eq!(received, b"\x05\0\0\0hello"[..]);
}

/// The first bytes of frames that are worth something; a client masks with nothing.
fn beginnings() -> impl Strategy<Value = Vec<u8>> {
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
    fn whatever_comes_is_taken_or_refused(
        pieces in proptest::collection::vec(beginnings(), 0..20),
        role in prop_oneof![Just(Role::Client), Just(Role::Server)],
    ) {
        const LIMIT: usize = 200;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (near, far) = duplex(1 << 20);
            let (reader, writer) = split(near);
            let mut link = over_websocket(role, BytesMut::new(), reader, writer);
            let (mut answers, mut said) = split(far);
            said.write_all(&pieces.concat()).await.unwrap();
            said.shutdown().await.unwrap();
            while let Ok(mut batch) = poll_fn(|cx| link.receiver.poll_receive(cx, LIMIT)).await {
                assert!(!batch.is_empty());
                while let Some(frame) = next_frame(&mut batch) {
                    assert!(frame.len() <= LIMIT);
                }
                assert!(batch.is_empty(), "a batch holds whole frames");
            }
            poll_fn(|cx| link.transmitter.poll_finish(cx)).await.unwrap();
            drop(link);
            let mut answered = Vec::new();
            answers.read_to_end(&mut answered).await.unwrap();
            assert!(!answered.is_empty(), "at least a close");
        });
    }
}

#[tokio::test]
async fn a_message_after_a_large_one_comes_in_a_batch_of_its_own() {
    let [mut client, mut server] = ends(1 << 20);
    let large = Bytes::from(vec![7; 100_000]);
    send(&mut client, &[large.clone(), Bytes::from_static(b"small")]).await;
    let first = poll_fn(|cx| server.receiver.poll_receive(cx, 300_000)).await.unwrap();
    assert_eq!(first[4..], large);
    let second = poll_fn(|cx| server.receiver.poll_receive(cx, 300_000)).await.unwrap();
    assert_eq!(second, b"\x05\0\0\0small"[..]);
}
