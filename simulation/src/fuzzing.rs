//! The entries of the fuzz targets in `fuzz`, whose bytes are frames or the choices of a world.

use bytes::Bytes;

use crate::{
    choices::Choices,
    world::{Peers, World},
};
use sockets_proto::{Frame, PREFIX};

/// Decodes any bytes as a frame. They are refused, or mean the same when they are encoded again.
///
/// # Panics
///
/// Panics if they do not.
pub fn decode_frame(bytes: &[u8]) {
    let mut payload = Bytes::copy_from_slice(bytes);
    let Ok(header) = Frame::decode(&mut payload) else { return };
    if matches!(header, Frame::Unknown { .. }) {
        return;
    }
    let again = [&header.header().prefixed(0)[PREFIX..], &payload].concat();
    assert!(again.len() <= bytes.len(), "a header is as short as it can be");
    let mut again = Bytes::from(again);
    assert_eq!(Frame::decode(&mut again), Ok(header));
    assert_eq!(again, payload);
}

/// Simulates a peer that sends any bytes, cut into frames.
pub fn peer_bytes(bytes: &[u8]) {
    live(bytes, Peers { most: 1, hostile: 100, babble: true, minding: false });
}

/// Simulates two peers that send well-formed frames in any order, to a server that also broadcasts to both.
pub fn peer_frames(bytes: &[u8]) {
    live(bytes, Peers { most: 2, hostile: 100, babble: false, minding: false });
}

fn live(bytes: &[u8], peers: Peers) {
    let mut world = World::new(Choices::Given(bytes), peers, false);
    let habits = world.habits();
    while !world.choices.are_over() {
        world.step(&habits);
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
        fn fuzz_targets_with_random_bytes_hold(bytes in vec(any::<u8>(), 0..600)) {
            decode_frame(&bytes);
            peer_bytes(&bytes);
            peer_frames(&bytes);
        }
    }
}
