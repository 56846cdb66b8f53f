//! Encoding without an allocation for each message.

use std::cell::Cell;

use bytes::Bytes;
use serde::Serialize;

use super::{
    EncodeError, encode_into,
    payload::{Payload, SHARE_FROM},
};

/// A larger buffer is not kept.
const KEEP: usize = 64 * 1024;
/// The memory of a longer message is not used again.
const KEEP_LENT: usize = 2 * 1024 * 1024;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    /// The last large message of this thread. When it has been written everywhere, its memory is used again: fresh memory
    /// costs a page fault for every 4 KiB of it, which is more than all copies of a message together.
    static LENT: Cell<Bytes> = const { Cell::new(Bytes::new()) };
}

/// Encodes `value` into a buffer of this thread and hands it to `use_it`.
///
/// The user's code that encodes runs under no lock; should it come back here, it finds an empty buffer.
///
/// # Errors
///
/// Returns an error if the value cannot be encoded.
pub fn with_scratch<T, R>(value: &T, use_it: impl FnOnce(&Payload<'_>) -> R) -> Result<R, EncodeError>
where
    T: Serialize + ?Sized,
{
    let mut buffer = encode_into(value, SCRATCH.take())?;
    if buffer.len() >= SHARE_FROM {
        let shared = Bytes::from(buffer);
        if shared.len() <= KEEP_LENT {
            LENT.set(shared.clone());
        }
        return Ok(use_it(&Payload::Shared(shared)));
    }
    let result = use_it(&Payload::Copied(&buffer));
    if buffer.capacity() <= KEEP {
        buffer.clear();
        SCRATCH.set(buffer);
    }
    Ok(result)
}

/// Makes room for `more` bytes, if it is there again in the memory of the last large message.
#[cold]
pub(super) fn grow(buffer: &mut Vec<u8>, more: usize) {
    let needed = buffer.len() + more;
    if needed >= SHARE_FROM
        && let Ok(mut lent) = LENT.take().try_into_mut()
        && lent.capacity() >= needed
    {
        lent.clear();
        lent.extend_from_slice(buffer);
        let mut small = std::mem::replace(buffer, lent.into());
        small.clear();
        SCRATCH.set(small);
    }
    buffer.reserve(more);
}
