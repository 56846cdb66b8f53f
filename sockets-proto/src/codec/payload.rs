//! Payloads, which are encoded values for frames.

use bytes::Bytes;

/// The minimum length in bytes of a payload that is shared instead of copied. For shorter payloads,
/// a copy costs no more than an additional chunk in the send buffer.
pub const SHARE_FROM: usize = 4096;

/// The payload of a frame to send.
#[derive(Clone, Debug)]
pub enum Payload<'a> {
    /// A payload that the session copies into the send buffer.
    Copied(&'a [u8]),
    /// A payload that connections share by reference count.
    Shared(Bytes),
}

impl<'a> Payload<'a> {
    /// Returns the payload for an encoded value.
    pub fn of(bytes: &'a Bytes) -> Self {
        if bytes.len() < SHARE_FROM { Self::Copied(bytes) } else { Self::Shared(bytes.clone()) }
    }

    /// Returns the payload as shared bytes. A shared payload is not copied.
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
