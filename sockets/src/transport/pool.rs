//! Read buffers, shared by the connections of a thread: a connection that waits holds none.

use std::{
    cell::{Cell, RefCell},
    mem,
};

use bytes::BytesMut;

/// How much is read at once, unless a frame is larger.
pub(super) const READ_SIZE: usize = 16 * 1024;
/// How many buffers a thread keeps.
const MAX_POOLED: usize = 4;
/// The memory of a longer frame is not used again.
const KEEP_LARGE: usize = 2 * 1024 * 1024;

thread_local! {
    static BUFFERS: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
    /// What is left of the buffer of the last large frame, whose memory is used again when nobody has a part of it any
    /// more: fresh memory costs a page fault for every 4 KiB of it, which is more than reading into it.
    static LARGE: Cell<BytesMut> = Cell::new(BytesMut::new());
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
        if buffers.len() < MAX_POOLED {
            buffers.push(buffer);
        }
    });
}

/// Makes room to read into, for at least `missing` bytes. A buffer without memory takes one of this thread's.
pub(super) fn reserve(buffer: &mut BytesMut, missing: usize) {
    if buffer.capacity() == 0 {
        *buffer = take();
    }
    // All of the buffer, if nobody has kept any of what was in it before.
    let room = buffer.capacity() - buffer.len();
    let enough = room >= READ_SIZE || buffer.try_reclaim(READ_SIZE);
    if !enough && room < missing.max(READ_SIZE / 4) {
        buffer.reserve(READ_SIZE);
    }
}

/// Makes room for `more` bytes of a large frame.
pub(super) fn grow(buffer: &mut BytesMut, more: usize) {
    if buffer.capacity() - buffer.len() >= more {
        return;
    }
    let mut large = LARGE.take();
    if large.try_reclaim(buffer.len() + more) {
        large.extend_from_slice(buffer);
        let mut small = mem::replace(buffer, large);
        small.clear();
        give_back(small);
    } else {
        buffer.reserve(more);
    }
}

/// Takes back what is left of the buffer of a large frame.
pub(super) fn give_back_large(rest: BytesMut, frame: usize) {
    if frame <= KEEP_LARGE {
        LARGE.set(rest);
    }
}
