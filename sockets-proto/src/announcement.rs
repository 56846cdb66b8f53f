//! Announcements. An announcement lists the methods that a peer serves, with their signatures.

use bytes::{Buf, Bytes};

use super::{
    frame::{Frame, PREFIX},
    send_buffer::whole_frame,
};
use crate::codec::Payload;

/// The length of an entry in bytes. An entry is a key of 8 bytes and a signature of 8 bytes.
pub(super) const ENTRY: usize = 16;

/// A list of signatures by key, encoded once for all connections that receive it.
///
/// An entry with the signature 0 withdraws the earlier announcement of the entry's key.
#[derive(Clone, Debug)]
pub struct Announcement(Bytes);

impl Announcement {
    /// Encodes pairs of a key and a signature. Returns `None` if there are none.
    pub fn new(entries: impl IntoIterator<Item = (u64, u64)>) -> Option<Self> {
        let payload: Vec<u8> = entries.into_iter().flat_map(|(key, signature)| pair(key, signature)).collect();
        (!payload.is_empty()).then(|| Self(frame(&payload)))
    }

    /// Returns the announcement as whole frames of at most `max_frame` bytes each.
    pub(super) fn frames(&self, max_frame: usize) -> Bytes {
        if self.0.len() - PREFIX <= max_frame {
            return self.0.clone();
        }
        let header = Frame::Signatures.header().len();
        let most = (max_frame - header) / ENTRY * ENTRY;
        self.0[PREFIX + header..].chunks(most).flat_map(frame).collect()
    }
}

fn pair(key: u64, signature: u64) -> impl Iterator<Item = u8> {
    key.to_le_bytes().into_iter().chain(signature.to_le_bytes())
}

fn frame(payload: &[u8]) -> Bytes {
    whole_frame(Frame::Signatures.header(), &Payload::Copied(payload))
}

/// Returns the keys and signatures in the payload of a [`Frame::Signatures`].
pub fn announced(mut payload: impl Buf) -> impl Iterator<Item = (u64, u64)> {
    std::iter::from_fn(move || Some((payload.try_get_u64_le().ok()?, payload.try_get_u64_le().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::next_frame;

    #[test]
    fn announcement_is_split_by_frame_limit() {
        let entries: Vec<_> = (0..100).map(|i| (i, u64::MAX - i)).collect();
        let announcement = Announcement::new(entries.iter().copied()).unwrap();
        for (max_frame, expected) in [(1 << 20, 1), (1601, 1), (1600, 2), (256, 7)] {
            let mut batch = announcement.frames(max_frame);
            let (mut frames, mut found) = (0, Vec::new());
            while let Some(mut frame) = next_frame(&mut batch) {
                assert!(frame.len() <= max_frame);
                assert_eq!(Frame::decode(&mut frame), Ok(Frame::Signatures));
                found.extend(announced(frame));
                frames += 1;
            }
            assert_eq!(frames, expected);
            assert_eq!(found, entries);
        }
        assert!(Announcement::new([]).is_none());
    }
}
