//! A value's bytes, on their way into a frame.

use bytes::Bytes;

/// From this size on, a payload is shared instead of copied: a copy of less costs no more than the bookkeeping of a
/// segment.
pub const SHARE_FROM: usize = 4096;

/// The payload of a frame that is about to be queued.
#[derive(Clone, Debug)]
pub enum Payload<'a> {
    /// Bytes that are copied into the send buffer.
    Copied(&'a [u8]),
    /// Bytes that are shared by reference count.
    Shared(Bytes),
}

impl<'a> Payload<'a> {
    /// A value that has been encoded before.
    pub fn of(bytes: &'a Bytes) -> Self {
        if bytes.len() < SHARE_FROM { Self::Copied(bytes) } else { Self::Shared(bytes.clone()) }
    }

    /// Returns the bytes, to be kept. Bytes that are shared are not copied.
    pub fn to_bytes(&self) -> Bytes {
        match self {
            Self::Copied(bytes) => Bytes::copy_from_slice(bytes),
            Self::Shared(bytes) => bytes.clone(),
        }
    }

    /// Returns the bytes.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Payload::Copied(bytes) => bytes,
            Payload::Shared(bytes) => bytes,
        }
    }

    /// Returns `true` if there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    /// Returns the number of bytes.
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }
}
