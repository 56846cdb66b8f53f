//! Emits of which only the latest waits.

use std::collections::BTreeMap;

use bytes::Bytes;

/// The identity of emits that replace each other. It identifies their method, and the values of the
/// arguments that the method names as its key.
///
/// Different values must have different keys, even if a peer chooses the values. Therefore the
/// caller computes the key by a cryptographic hash with a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LatestKey(pub [u64; 2]);

/// An encoded emit of which only the latest waits.
#[derive(Clone, Copy, Debug)]
pub struct LatestEmit<'a> {
    /// The emit, including its prefix.
    pub frame: &'a Bytes,
    /// The identity of the emits that this emit replaces.
    pub key: LatestKey,
    /// `true` if the emit does not wait for the window or for a connection, and is not
    /// retransmitted.
    pub is_volatile: bool,
}

/// The place of a message that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It is this chunk of the send buffer.
    SendBuffer(usize),
    /// It is the pending message with this number.
    Pending(u64),
}

/// A message that is a chunk of the send buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Buffered {
    pub(super) chunk: usize,
    pub(super) key: LatestKey,
    pub(super) is_volatile: bool,
}

/// The places of the waiting messages of a session.
#[derive(Debug, Default)]
pub(super) struct LatestMessages {
    places: BTreeMap<LatestKey, Place>,
    /// The messages in the send buffer, in order.
    buffered: Vec<Buffered>,
}

impl LatestMessages {
    pub(super) fn place(&self, key: LatestKey) -> Option<Place> {
        self.places.get(&key).copied()
    }

    /// Records that a message has been added to the send buffer as its last chunk.
    pub(super) fn insert_buffered(&mut self, message: Buffered) {
        self.places.insert(message.key, Place::SendBuffer(message.chunk));
        self.buffered.push(message);
    }

    /// Records that a message has become pending.
    pub(super) fn insert_pending(&mut self, key: LatestKey, number: u64) {
        self.places.insert(key, Place::Pending(number));
    }

    pub(super) fn remove(&mut self, key: LatestKey) {
        self.places.remove(&key);
    }

    /// Records that a chunk of the send buffer has been removed, which was a message.
    pub(super) fn remove_buffered(&mut self, removed: usize) {
        self.buffered.retain(|message| message.chunk != removed);
        self.places.retain(|_, place| *place != Place::SendBuffer(removed));
        let places = self.places.values_mut().filter_map(|place| match place {
            Place::SendBuffer(chunk) => Some(chunk),
            Place::Pending(_) => None,
        });
        let chunks = places.chain(self.buffered.iter_mut().map(|message| &mut message.chunk));
        chunks.filter(|chunk| **chunk > removed).for_each(|chunk| *chunk -= 1);
    }

    /// Returns the messages in the send buffer, which are about to leave it, and forgets them.
    pub(super) fn take_buffered(&mut self) -> Vec<Buffered> {
        self.places.retain(|_, place| matches!(place, Place::Pending(_)));
        std::mem::take(&mut self.buffered)
    }

    pub(super) fn has_buffered(&self) -> bool {
        !self.buffered.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty() && self.buffered.is_empty()
    }

    /// Returns `true` if a pending message has this key.
    pub(super) fn is_pending(&self, key: LatestKey) -> bool {
        matches!(self.place(key), Some(Place::Pending(_)))
    }
}
