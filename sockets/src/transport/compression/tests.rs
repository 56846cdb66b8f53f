use std::future::poll_fn;

use bytes::Bytes;

use super::{
    Compression,
    cache::CompressedCache,
    lz4::{COMPRESSED, compress, decompress},
};
use crate::transport::{Link, memory_pair};
use sockets_proto::{PREFIX, ProtocolError, SendBuffer};

const MAX: usize = 4 << 20;

/// A frame, with its prefix, that gets shorter.
fn frame(length: usize) -> Bytes {
    let alone: Vec<u8> = (1..=9).cycle().take(length).collect();
    [&u32::try_from(length).unwrap().to_le_bytes(), &alone[..]].concat().into()
}

/// One that says it becomes so long.
fn compressed(length: u32, block: &[u8]) -> Vec<u8> {
    [&[COMPRESSED], &length.to_le_bytes()[..], block].concat()
}

fn refused(frame: &[u8]) -> String {
    decompress(frame, MAX).unwrap_err().to_string()
}

#[test]
fn what_is_compressed_is_shorter_and_becomes_what_it_was() {
    for length in [300, 5000, MAX] {
        let frame = frame(length);
        let deflated = compress(&frame).unwrap();
        assert!(deflated.len() < frame.len() / 5, "{} of {}", deflated.len(), frame.len());
        assert_eq!(deflated[..PREFIX], u32::try_from(deflated.len() - PREFIX).unwrap().to_le_bytes());
        assert!(decompress(&deflated[PREFIX..], MAX).unwrap() == frame);
    }
}

#[test]
fn what_gets_no_shorter_stays_as_it_is() {
    let mut number = 1_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        number.to_be_bytes()[0]
    })
    .take(5000)
    .collect();
    assert_eq!(compress(&[&5000_u32.to_le_bytes(), &noise[..]].concat()), None);
}

#[test]
fn a_bomb_is_refused_before_it_is_inflated() {
    let bomb = &compress(&frame(MAX)).unwrap()[PREFIX..];
    assert_eq!(decompress(bomb, MAX - 1), Err(ProtocolError::FrameTooLarge { length: MAX, limit: MAX - 1 }));
    let claim = u32::MAX as usize;
    assert_eq!(
        decompress(&compressed(u32::MAX, &[0; 64]), MAX),
        Err(ProtocolError::FrameTooLarge { length: claim, limit: MAX })
    );
    assert!(refused(&compressed(1 << 22, &[0; 64])).contains("so little cannot become that much"));
}

#[test]
fn what_does_not_become_what_it_says_is_refused() {
    let good = compress(&frame(5000)).unwrap();
    let block = &good[PREFIX + 5..];
    for wrong in [4999, 5001, 0] {
        assert!(refused(&compressed(wrong, block)).contains("it does not become what it says"), "{wrong}");
    }
    for cut in 1..block.len() {
        decompress(&compressed(5000, &block[..cut]), MAX).unwrap_err();
    }
    assert!(refused(&compressed(100, &[0xff; 40])).contains("it does not become what it says"));
    for short in 0..5 {
        assert!(refused(&compressed(5000, &[])[..short]).contains("it has no length"), "{short}");
    }
}

#[test]
fn one_within_another_is_refused() {
    let mut within = vec![COMPRESSED; 5000];
    within.splice(0..0, 5000_u32.to_le_bytes());
    assert!(refused(&compress(&within).unwrap()[PREFIX..]).contains("there is another one in it"));
}

#[test]
fn a_frame_for_many_is_compressed_once() {
    let recent = CompressedCache::default();
    let (frame, alike) = (frame(5000), frame(5000));
    let first = recent.get_or_compress(&frame).unwrap();
    assert_eq!(recent.get_or_compress(&frame.clone()).unwrap().as_ptr(), first.as_ptr());
    assert_ne!(recent.get_or_compress(&alike).unwrap().as_ptr(), first.as_ptr());
}

#[test]
fn what_was_compressed_long_ago_is_forgotten() {
    let recent = CompressedCache::default();
    let frames: Vec<_> = std::iter::repeat_with(|| frame(400_000)).take(4).collect();
    for frame in &frames {
        recent.get_or_compress(frame).unwrap();
    }
    let kept: Vec<_> = frames.into_iter().map(|frame| !frame.is_unique()).collect();
    assert_eq!(kept, [false, false, true, true]);
}

#[tokio::test]
async fn frames_of_all_sizes_arrive_in_their_order() {
    let (near, far) = memory_pair();
    let both = Compression::from(1000);
    let (mut near, mut far) = (both.around(near, true), both.around(far, true));
    let sizes = [5, 999, 1000, 70_000, 3, 5000, 1, 200_000, 4];
    let mut outbox = SendBuffer::default();
    for size in sizes {
        outbox.push_encoded(&frame(size));
    }
    poll_fn(|cx| near.transmitter.poll_transmit(cx, &mut outbox)).await.unwrap();
    let expected: Vec<u8> = sizes.iter().flat_map(|size| frame(*size)).collect();
    let mut received = Vec::new();
    while received.len() < expected.len() {
        received.extend(poll_fn(|cx| far.receiver.poll_receive(cx, MAX)).await.unwrap());
    }
    assert!(received == expected);
}

#[tokio::test]
async fn what_came_behind_the_welcome_is_inflated_too() {
    let (_near, far) = memory_pair();
    let received = [&frame(7)[..], &compress(&frame(5000)).unwrap(), &frame(8)].concat().into();
    let mut link = Compression::from(1000).around(Link { received, ..far }, true);
    assert!(link.received.is_empty());
    for size in [7, 5000, 8] {
        assert_eq!(poll_fn(|cx| link.receiver.poll_receive(cx, MAX)).await.unwrap(), frame(size));
    }
}
