//! The slots in which handlers are polled first. The sessions of a thread share them, so that an
//! idle session holds none.

use crate::{session::HandlerSlot, thread_cache::ThreadCache};

/// The number of slots of a thread. Methods with keys that begin alike share a slot. If they
/// alternate, its memory is allocated again.
const KEEP: usize = 32;

thread_local! {
    static SLOTS: ThreadCache<Box<HandlerSlots>, 1> = const { ThreadCache::new() };
}

/// The slots of a thread.
#[derive(Default)]
pub(super) struct HandlerSlots([HandlerSlot; KEEP]);

impl HandlerSlots {
    /// Takes the slots from the thread for a batch of calls. If a handler dispatches another batch
    /// meanwhile, that batch gets new slots.
    pub(super) fn take_from_thread() -> Box<Self> {
        SLOTS.with(ThreadCache::take).unwrap_or_default()
    }

    /// Returns the slots to the thread.
    pub(super) fn return_to_thread(self: Box<Self>) {
        // Slots that another batch has returned meanwhile are dropped.
        SLOTS.with(|slots| slots.put(self));
    }

    /// Returns the slot of the method with this key.
    pub(super) fn slot_for(&mut self, key: u64) -> &mut HandlerSlot {
        let [first, ..] = key.to_le_bytes();
        &mut self.0[usize::from(first) % KEEP]
    }
}
