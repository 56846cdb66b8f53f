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

/// Returns a compressible frame with its prefix.
fn frame(length: usize) -> Bytes {
    let body: Vec<u8> = (1..=9).cycle().take(length).collect();
    [&u32::try_from(length).unwrap().to_le_bytes(), &body[..]].concat().into()
}

/// Returns a compressed frame that announces `length` bytes.
fn compressed(length: u32, block: &[u8]) -> Vec<u8> {
    [&[COMPRESSED], &length.to_le_bytes()[..], block].concat()
}

fn rejection(frame: &[u8]) -> String {
    decompress(frame, MAX).unwrap_err().to_string()
}

#[test]
fn compressed_frame_is_shorter_and_decompresses() {
    for length in [300, 5000, MAX] {
        let frame = frame(length);
        let smaller = compress(&frame).unwrap();
        assert!(smaller.len() < frame.len() / 5, "{} of {}", smaller.len(), frame.len());
        assert_eq!(smaller[..PREFIX], u32::try_from(smaller.len() - PREFIX).unwrap().to_le_bytes());
        assert!(decompress(&smaller[PREFIX..], MAX).unwrap() == frame);
    }
}

#[test]
fn incompressible_frame_is_not_compressed() {
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
fn decompression_bomb_is_rejected_before_allocation() {
    let bomb = &compress(&frame(MAX)).unwrap()[PREFIX..];
    assert_eq!(decompress(bomb, MAX - 1), Err(ProtocolError::FrameTooLarge { length: MAX, limit: MAX - 1 }));
    let length = u32::MAX as usize;
    assert_eq!(
        decompress(&compressed(u32::MAX, &[0; 64]), MAX),
        Err(ProtocolError::FrameTooLarge { length, limit: MAX })
    );
    assert!(rejection(&compressed(1 << 22, &[0; 64])).contains("too short for its original length"));
}

#[test]
fn block_with_wrong_length_is_rejected() {
    let good = compress(&frame(5000)).unwrap();
    let block = &good[PREFIX + 5..];
    for wrong in [4999, 5001, 0] {
        assert!(rejection(&compressed(wrong, block)).contains("does not decompress to its original length"), "{wrong}");
    }
    for cut in 1..block.len() {
        decompress(&compressed(5000, &block[..cut]), MAX).unwrap_err();
    }
    assert!(rejection(&compressed(100, &[0xff; 40])).contains("does not decompress to its original length"));
    for short in 0..5 {
        assert!(
            rejection(&compressed(5000, &[])[..short]).contains("the length of the original frame is missing"),
            "{short}"
        );
    }
}

#[test]
fn nested_compressed_frame_is_rejected() {
    let mut nested = vec![COMPRESSED; 5000];
    nested.splice(0..0, 5000_u32.to_le_bytes());
    assert!(rejection(&compress(&nested).unwrap()[PREFIX..]).contains("the original frame is compressed, too"));
}

#[test]
fn shared_frame_is_compressed_once() {
    let cache = CompressedCache::default();
    let (frame, equal) = (frame(5000), frame(5000));
    let first = cache.get_or_compress(&frame).unwrap();
    assert_eq!(cache.get_or_compress(&frame.clone()).unwrap().as_ptr(), first.as_ptr());
    assert_ne!(cache.get_or_compress(&equal).unwrap().as_ptr(), first.as_ptr());
}

#[test]
fn oldest_cached_frames_are_evicted() {
    let cache = CompressedCache::default();
    let frames: Vec<_> = std::iter::repeat_with(|| frame(400_000)).take(4).collect();
    for frame in &frames {
        cache.get_or_compress(frame).unwrap();
    }
    let cached: Vec<_> = frames.into_iter().map(|frame| !frame.is_unique()).collect();
    assert_eq!(cached, [false, false, true, true]);
}

#[tokio::test]
async fn frames_of_all_sizes_arrive_in_order() {
    let (near, far) = memory_pair();
    let compression = Compression::with_min_size(1000);
    let (mut near, mut far) = (compression.wrap(near, true), compression.wrap(far, true));
    let sizes = [5, 999, 1000, 70_000, 3, 5000, 1, 200_000, 4];
    let mut send_buffer = SendBuffer::default();
    for size in sizes {
        send_buffer.push_encoded(&frame(size));
    }
    poll_fn(|cx| near.transmitter.poll_transmit(cx, &mut send_buffer)).await.unwrap();
    let expected: Vec<u8> = sizes.iter().flat_map(|size| frame(*size)).collect();
    let mut received = Vec::new();
    while received.len() < expected.len() {
        received.extend(poll_fn(|cx| far.receiver.poll_receive(cx, MAX)).await.unwrap());
    }
    assert!(received == expected);
}

#[tokio::test]
async fn frames_received_with_server_hello_are_decompressed() {
    let (_near, far) = memory_pair();
    let received = [&frame(7)[..], &compress(&frame(5000)).unwrap(), &frame(8)].concat().into();
    let mut link = Compression::with_min_size(1000).wrap(Link { received, ..far }, true);
    assert!(link.received.is_empty());
    for size in [7, 5000, 8] {
        assert_eq!(poll_fn(|cx| link.receiver.poll_receive(cx, MAX)).await.unwrap(), frame(size));
    }
}
