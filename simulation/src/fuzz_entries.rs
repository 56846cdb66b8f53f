//! The entry points of the fuzz targets in `fuzz`. Depending on the target, the bytes of the fuzzer
//! are frames or the choices of a world.

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
/// Panics if the meaning of the frame differs after it was encoded and decoded again.
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
    use std::{fs, path::PathBuf};

    use proptest::{collection::vec, prelude::*};

    use super::*;

    type Target = fn(&[u8]);

    /// Returns the files of a directory below the root of the repository.
    fn files(directory: &str) -> Vec<PathBuf> {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(directory);
        let entries = fs::read_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let files: Vec<_> = entries.map(|entry| entry.expect("an entry of the directory").path()).collect();
        assert!(!files.is_empty(), "{} is empty", path.display());
        files
    }

    #[test]
    fn fuzz_targets_accept_their_seeds() {
        let targets: [(&str, Target); 3] =
            [("decode_frame", decode_frame), ("peer_bytes", peer_bytes), ("peer_frames", peer_frames)];
        assert_eq!(files("fuzz/seeds").len(), targets.len(), "each target has seeds");
        for (name, target) in targets {
            for seed in files(&format!("fuzz/seeds/{name}")) {
                target(&fs::read(&seed).expect("a readable seed"));
            }
        }
    }

    #[test]
    fn seeds_of_frames_are_valid_frames() {
        for seed in files("fuzz/seeds/decode_frame") {
            let decoded = Frame::decode(&mut fs::read(&seed).expect("a readable seed").into());
            let header = decoded.unwrap_or_else(|error| panic!("{}: {error}", seed.display()));
            let is_unknown = matches!(header, Frame::Unknown { .. });
            assert_eq!(is_unknown, seed.ends_with("optional"), "{}: {header:?}", seed.display());
        }
    }

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
