//! Encoding without an allocation for each message.

use std::cell::Cell;

use serde::Serialize;

use super::{EncodeError, encode_into};

/// A larger buffer is not kept.
const KEEP: usize = 64 * 1024;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Encodes `value` into a buffer of this thread and hands it to `use_it`, which may take it away.
///
/// The user's code that encodes runs under no lock; should it come back here, it finds an empty buffer.
pub(crate) fn with_scratch<T, R>(value: &T, use_it: impl FnOnce(&mut Vec<u8>) -> R) -> Result<R, EncodeError>
where
    T: Serialize + ?Sized,
{
    let mut buffer = encode_into(value, SCRATCH.take())?;
    let result = use_it(&mut buffer);
    if buffer.capacity() <= KEEP {
        buffer.clear();
        SCRATCH.set(buffer);
    }
    Ok(result)
}
