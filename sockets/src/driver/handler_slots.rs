//! The slots for the futures of handlers. The driver polls each handler for the first time in a
//! slot. The sessions of a thread share the slots, so that an idle session has none.

use crate::{session::HandlerSlot, thread_cache::ThreadCache};

/// The number of slots of a thread. Two methods share a slot if the first bytes of their keys are
/// equal modulo this number. If calls of two such methods alternate, each call allocates memory for
/// the slot again.
const KEEP: usize = 32;

thread_local! {
    static SLOTS: ThreadCache<Box<HandlerSlots>, 1> = const { ThreadCache::new() };
}

/// The slots of a thread.
#[derive(Default)]
pub(super) struct HandlerSlots([HandlerSlot; KEEP]);

impl HandlerSlots {
    /// Takes the slots from the thread for a batch of calls. If a handler of this batch dispatches
    /// another batch, that batch gets new slots.
    pub(super) fn take_from_thread() -> Box<Self> {
        SLOTS.with(ThreadCache::take).unwrap_or_default()
    }

    /// Returns the slots to the thread.
    pub(super) fn return_to_thread(self: Box<Self>) {
        // If another batch has already returned slots to the thread, those slots are dropped.
        SLOTS.with(|slots| slots.put(self));
    }

    /// Returns the slot of the method with this key.
    pub(super) fn slot_for(&mut self, key: u64) -> &mut HandlerSlot {
        let [first, ..] = key.to_le_bytes();
        &mut self.0[usize::from(first) % KEEP]
    }
}
