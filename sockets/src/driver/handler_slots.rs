//! Where handlers are polled first, shared by the connections of a thread: one that waits holds none.

use std::cell::Cell;

use crate::session::HandlerSlot;

/// How many a thread keeps. Methods whose keys begin alike share one, and make it anew for each other.
const KEEP: usize = 32;

thread_local! {
    static PLACES: Cell<Option<Box<HandlerSlots>>> = const { Cell::new(None) };
}

/// The places of a thread.
#[derive(Default)]
pub(super) struct HandlerSlots([HandlerSlot; KEEP]);

impl HandlerSlots {
    /// Takes them, for one batch of calls. A handler that comes back here finds new ones.
    pub(super) fn take_from_thread() -> Box<Self> {
        PLACES.take().unwrap_or_default()
    }

    pub(super) fn return_to_thread(self: Box<Self>) {
        // What has come there meanwhile is dropped.
        drop(PLACES.replace(Some(self)));
    }

    /// The place of the method with this key.
    pub(super) fn slot_for(&mut self, key: u64) -> &mut HandlerSlot {
        let [first, ..] = key.to_le_bytes();
        &mut self.0[usize::from(first) % KEEP]
    }
}
