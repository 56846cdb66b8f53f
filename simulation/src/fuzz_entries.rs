//! The entry points of the fuzz targets in `fuzz`. The bytes of a fuzz target are frames, or they
//! are the choices of a world.

use bytes::Bytes;

use crate::{
    choices::Choices,
    world::{Peers, World},
};
use sockets_proto::{Frame, PREFIX};

/// Decodes arbitrary bytes as a frame. The decoder either rejects the bytes or returns a frame. A
/// frame must keep its meaning when it is encoded and decoded again.
///
/// # Panics
///
/// Panics if the meaning of the frame differs after that.
pub fn decode_frame(bytes: &[u8]) {
    let mut payload = Bytes::copy_from_slice(bytes);
    let Ok(header) = Frame::decode(&mut payload) else { return };
    if matches!(header, Frame::Unknown { .. }) {
        return;
    }
    let again = [&header.header().prefixed(0)[PREFIX..], &payload].concat();
    assert!(again.len() <= bytes.len(), "the header is encoded in the shortest form");
    let mut again = Bytes::from(again);
    assert_eq!(Frame::decode(&mut again), Ok(header));
    assert_eq!(again, payload);
}

/// Simulates a server with a single peer. The peer sends arbitrary bytes as frames.
pub fn peer_bytes(bytes: &[u8]) {
    run(bytes, Peers { max_links: 1, hostile_percent: 100, garbage: true, keep_alive: false });
}

/// Simulates two peers that send well-formed frames in any order. They send the frames to a server,
/// which also broadcasts to both peers.
pub fn peer_frames(bytes: &[u8]) {
    run(bytes, Peers { max_links: 2, hostile_percent: 100, garbage: false, keep_alive: false });
}

fn run(bytes: &[u8], peers: Peers) {
    let mut world = World::new(Choices::Given(bytes), peers, false);
    let step_weights = world.step_weights();
    while !world.choices.are_over() {
        world.step(&step_weights);
    }
    world.finish();
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

        #[test]
        fn fuzz_targets_accept_random_bytes(bytes in vec(any::<u8>(), 0..600)) {
            decode_frame(&bytes);
            peer_bytes(&bytes);
            peer_frames(&bytes);
        }
    }
}
