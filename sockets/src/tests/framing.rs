//! Frames over a byte stream that is split at arbitrary positions.

use std::{future::poll_fn, time::Duration};

use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use tokio::{io::AsyncWriteExt, runtime::Builder, time::timeout};

use crate::transport::{ReceiveError, over_stream};
use sockets_proto::next_frame;

const MAX_FRAME: usize = 100;

/// Sends the pieces one after another, and receives frames until the connection ends. Returns the
/// frames and the final error.
fn receive(pieces: &[Vec<u8>]) -> (Vec<Bytes>, ReceiveError) {
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    let (near, mut far) = tokio::io::duplex(16);
    let (read, write) = tokio::io::split(near);
    let link = over_stream(read, write);
    let sender = async move {
        for piece in pieces {
            // The receiver may have refused an earlier piece.
            if far.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    let receiver = async move {
        // Moves the whole link, so that both halves are closed at the end.
        let mut link = link;
        let mut frames = Vec::new();
        loop {
            match poll_fn(|cx| link.receiver.poll_receive(cx, MAX_FRAME)).await {
                Ok(mut batch) => {
                    while let Some(frame) = next_frame(&mut batch) {
                        assert!(frame.len() <= MAX_FRAME);
                        frames.push(frame);
                    }
                    assert!(batch.is_empty(), "a batch is whole frames");
                }
                Err(error) => return (frames, error),
            }
        }
    };
    let both = async { tokio::join!(receiver, sender).0 };
    runtime.block_on(async { timeout(Duration::from_secs(10), both).await }).expect("the stream ends")
}

fn prefixed(frames: &[Vec<u8>]) -> Vec<u8> {
    let prefix = |frame: &Vec<u8>| u32::try_from(frame.len()).expect("a short frame").to_le_bytes();
    frames.iter().flat_map(|frame| [&prefix(frame)[..], frame].concat()).collect()
}

/// Splits the bytes into pieces of these lengths, repeatedly.
fn split(bytes: &[u8], lengths: &[usize]) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    let mut rest = bytes;
    for length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, remaining) = rest.split_at((*length).min(rest.len()));
        pieces.push(piece.to_vec());
        rest = remaining;
    }
    pieces
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn frames_are_received_from_any_split_of_the_stream(
        frames in vec(vec(any::<u8>(), 0..=MAX_FRAME), 0..8),
        lengths in vec(1..40usize, 1..6),
    ) {
        let (received, end) = receive(&split(&prefixed(&frames), &lengths));
        prop_assert_eq!(received, frames);
        prop_assert!(matches!(end, ReceiveError::Closed), "{end:?}");
    }

    #[test]
    fn random_bytes_cause_no_panic_and_no_large_frame(
        bytes in vec(prop_oneof![4 => Just(0), 1 => any::<u8>()], 0..300),
        lengths in vec(1..40usize, 1..6),
    ) {
        let (received, _) = receive(&split(&bytes, &lengths));
        prop_assert!(received.iter().map(Bytes::len).sum::<usize>() <= bytes.len());
    }

    #[test]
    fn frame_over_the_limit_ends_after_earlier_frames(
        frames in vec(vec(any::<u8>(), 0..=MAX_FRAME), 0..4),
        length in u32::try_from(MAX_FRAME).expect("a short frame") + 1..,
    ) {
        let bytes = [prefixed(&frames), length.to_le_bytes().to_vec()].concat();
        let (received, end) = receive(&[bytes]);
        prop_assert_eq!(received, frames);
        prop_assert!(matches!(end, ReceiveError::Violation(_)), "{end:?}");
    }
}
