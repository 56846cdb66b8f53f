//! Encodes and decodes values of users' types. The `Serialize` and `Deserialize` of these types are
//! user code, so the functions assert that no lock is held.
#![expect(clippy::disallowed_methods, reason = "no lock is held")]

#[cfg(feature = "middleware")]
use {
    bytes::{Bytes, BytesMut},
    std::cell::RefCell,
};

use serde::{Deserialize, Serialize};
use sockets_proto::codec;

pub(crate) use sockets_proto::codec::{DecodeError, EncodeError, Payload};

use crate::lock::assert_unlocked;

/// Decodes a value that occupies all of `bytes`.
#[inline]
pub(crate) fn decode<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, DecodeError> {
    assert_unlocked();
    codec::decode(bytes)
}

/// Decodes a value that occupies all of `bytes`. Limits the value's memory to about `limit` bytes.
#[inline]
pub(crate) fn decode_within<'de, T: Deserialize<'de>>(bytes: &'de [u8], limit: usize) -> Result<T, DecodeError> {
    assert_unlocked();
    codec::decode_within(bytes, limit)
}

/// Decodes a value as [`decode_within`] does. If an element of a tuple cannot be decoded, the error
/// also contains the number of elements after that element.
#[inline]
pub(crate) fn decode_elements<'de, T: Deserialize<'de>>(
    bytes: &'de [u8],
    limit: usize,
) -> Result<T, (DecodeError, Option<usize>)> {
    assert_unlocked();
    codec::decode_elements(bytes, limit)
}

/// Encodes a value into a new buffer.
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, EncodeError> {
    assert_unlocked();
    codec::encode(value)
}

/// Encodes a value into a thread-local buffer and passes it to `consume`.
#[inline]
pub(crate) fn with_scratch<T, R>(value: &T, consume: impl FnOnce(&Payload<'_>) -> R) -> Result<R, EncodeError>
where
    T: Serialize + ?Sized,
{
    assert_unlocked();
    codec::with_scratch(value, consume)
}

#[cfg(feature = "middleware")]
thread_local! {
    static CHUNK: RefCell<BytesMut> = RefCell::default();
}
/// The capacity of a chunk. Only values of at most a quarter of it are put into chunks.
#[cfg(feature = "middleware")]
const CHUNK_LEN: usize = 4096;

/// Encodes a value for layers. Small values share the memory of a chunk. While its values are
/// short-lived, a thread reuses its chunk, and then allocates nothing.
#[cfg(feature = "middleware")]
pub(crate) fn encode_shared<T: Serialize + ?Sized>(value: &T) -> Result<Bytes, EncodeError> {
    with_scratch(value, |payload| {
        if payload.len() > CHUNK_LEN / 4 {
            return payload.to_bytes();
        }
        CHUNK.with_borrow_mut(|chunk| {
            if chunk.capacity() < payload.len() {
                chunk.reserve(CHUNK_LEN);
            }
            chunk.extend_from_slice(payload.as_slice());
            chunk.split().freeze()
        })
    })
}
