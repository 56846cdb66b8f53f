//! Reuse of buffers. It avoids an allocation for each encoded message.

use std::cell::Cell;

use bytes::Bytes;
use serde::Serialize;

use super::{
    EncodeError, encode_into,
    payload::{Payload, SHARE_FROM},
};

/// The maximum capacity of a buffer that the thread keeps.
const KEEP: usize = 64 * 1024;
/// The maximum length of a large message whose memory the thread reuses.
const KEEP_LENT: usize = 2 * 1024 * 1024;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    /// The encoding of the last large message of this thread. Once the message has been written to
    /// all connections, the thread reuses the memory for the next message. Fresh memory would cost
    /// a page fault for every 4 KiB. Together these page faults cost more than all copies of a
    /// message.
    static LENT: Cell<Bytes> = const { Cell::new(Bytes::new()) };
}

/// Encodes `value` into a buffer of this thread, and passes the encoded payload to `use_it`.
///
/// No lock is held while the user's `Serialize` runs. If the user's `Serialize` calls this function
/// again, the inner call uses an empty buffer.
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

/// Reserves capacity for `more` bytes. If no connection uses the memory of the last large message
/// any more, the function reuses that memory.
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
        if small.capacity() <= KEEP {
            small.clear();
            SCRATCH.set(small);
        }
    }
    buffer.reserve(more);
}
