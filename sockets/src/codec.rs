//! Encodes and decodes values of users' types. Asserts that no lock is held, since their
//! `Serialize` and `Deserialize` are user code.
#![expect(clippy::disallowed_methods, reason = "no lock is held")]

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

/// Decodes a value that occupies all of `bytes`, and limits its memory to about `limit` bytes.
#[inline]
pub(crate) fn decode_within<'de, T: Deserialize<'de>>(bytes: &'de [u8], limit: usize) -> Result<T, DecodeError> {
    assert_unlocked();
    codec::decode_within(bytes, limit)
}

/// Decodes as [`decode_within`] does. On failure, also returns the number of elements of the tuple
/// after the failed element.
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
