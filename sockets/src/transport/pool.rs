//! Read buffers, shared by the connections of a thread: a connection that waits holds none.

use std::cell::RefCell;

use bytes::BytesMut;

/// How much is read at once, unless a frame is larger.
pub(super) const READ_SIZE: usize = 16 * 1024;
/// How many buffers a thread keeps.
const KEEP: usize = 4;

thread_local! {
    static BUFFERS: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// Takes a buffer. It is empty, but its capacity may be what another connection left of it.
pub(super) fn take() -> BytesMut {
    BUFFERS.with_borrow_mut(Vec::pop).unwrap_or_default()
}

/// Gives an empty buffer back.
pub(super) fn give_back(buffer: BytesMut) {
    // A larger one was grown for a large frame; one without memory is none.
    if buffer.capacity() > READ_SIZE || buffer.capacity() == 0 {
        return;
    }
    BUFFERS.with_borrow_mut(|buffers| {
        if buffers.len() < KEEP {
            buffers.push(buffer);
        }
    });
}
