//! A value's bytes, on their way into a frame.

use bytes::Bytes;

/// From this size on, a payload is shared instead of copied: a copy of less costs no more than the bookkeeping of a
/// segment.
pub(crate) const SHARE_FROM: usize = 4096;

/// The payload of a frame that is about to be queued.
#[derive(Clone, Debug)]
pub(crate) enum Payload<'a> {
    Copied(&'a [u8]),
    Shared(Bytes),
}

impl<'a> Payload<'a> {
    /// A value that has been encoded before.
    pub(crate) fn of(bytes: &'a Bytes) -> Self {
        if bytes.len() < SHARE_FROM { Self::Copied(bytes) } else { Self::Shared(bytes.clone()) }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Payload::Copied(bytes) => bytes,
            Payload::Shared(bytes) => bytes,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.as_slice().len()
    }
}
