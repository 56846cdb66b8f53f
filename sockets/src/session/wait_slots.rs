//! The slots of callers that wait for results.

use std::{mem, task::Waker};

use bytes::Bytes;
use slab::Slab;

use super::{MultiCallSlot, Waiter, WakeList, wake_list::Wakeup};
use crate::hooks::contain;
use sockets_proto::CallResult;

/// Number of batches between two times at which [`WaitSlots::detach_old_results`] copies old
/// results out of the buffers in which they arrived.
const DETACH_AFTER_BATCHES: u8 = 64;
/// Minimum length of a reply that is not copied. Such a reply takes most of its buffer, so a copy
/// would release little memory.
const MAX_COPIED: usize = 8 * 1024;

/// The slots of a session.
#[derive(Default)]
pub(super) struct WaitSlots {
    slots: Slab<WaitSlot>,
    /// The number of batches that were handled since old results were last detached.
    batches: u8,
}

/// The slot for the result of a request, and the waker of its caller.
pub(super) struct WaitSlot {
    result: Option<CallResult>,
    waker: Option<Waker>,
    /// `true` if the result is in a buffer of its own.
    detached: bool,
    /// `true` if earlier frames have to be handled before the caller may take the result.
    withheld: bool,
}

impl WaitSlots {
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Adds the slot of a caller with this waker.
    pub(super) fn insert(&mut self, waker: Waker) -> usize {
        self.slots.insert(WaitSlot { result: None, waker: Some(waker), detached: false, withheld: false })
    }

    /// Removes a slot. The caller drops the slot without the lock, since the slot has a waker.
    pub(super) fn remove(&mut self, slot: usize) -> WaitSlot {
        self.slots.remove(slot)
    }

    /// If a slot has a result, removes the slot and returns the result. Such a slot has no waker.
    pub(super) fn take_result(&mut self, slot: usize) -> Option<CallResult> {
        let WaitSlot { result, withheld, .. } = &self.slots[slot];
        if result.is_some() && !withheld { self.slots.remove(slot).result } else { None }
    }

    /// Returns the old waker, which the caller drops without the lock.
    pub(super) fn replace_waker(&mut self, slot: usize, waker: Option<Waker>) -> Option<Waker> {
        mem::replace(&mut self.slots[slot].waker, waker)
    }

    /// Stores the results of calls that have ended together. Returns the wake-ups of their callers.
    pub(super) fn complete_all(&mut self, results: Vec<(Waiter, CallResult)>) -> WakeList {
        let mut wakes = WakeList::new();
        for (consumer, result) in results {
            wakes.add(self.complete(consumer, result));
        }
        wakes
    }

    /// Stores the result of a call. The caller of this function must hold the lock under which it
    /// removed the call from the table of calls. After the lock has been released, the future of
    /// the call may be dropped, and another call may use the slot.
    pub(super) fn complete(&mut self, consumer: Waiter, result: CallResult) -> Option<Wakeup> {
        match consumer {
            Waiter::Member(member) => Some(Wakeup::Member(member, result)),
            Waiter::Caller(slot) => {
                let slot = self.slots.get_mut(slot)?;
                slot.result = Some(result);
                slot.waker.take().map(Wakeup::Wake)
            }
        }
    }

    /// Stores the result of a call as [`complete`](Self::complete) does. The caller of the call can
    /// take the result after [`release`](Self::release).
    pub(super) fn withhold(&mut self, consumer: Waiter, result: CallResult) -> Withheld {
        match consumer {
            Waiter::Member(member) => Withheld::Member(Some((member, result))),
            Waiter::Caller(number) => {
                if let Some(slot) = self.slots.get_mut(number) {
                    (slot.result, slot.withheld) = (Some(result), true);
                }
                Withheld::Caller(number)
            }
        }
    }

    /// Lets the caller of a call take its result. Adds the wake-up to `wakes`.
    pub(super) fn release(&mut self, mut withheld: Withheld, wakes: &mut WakeList) {
        match &mut withheld {
            Withheld::Member(member) => {
                wakes.add(member.take().map(|(member, result)| Wakeup::Member(member, result)));
            }
            Withheld::Caller(slot) => {
                // The call may have been dropped, so another call may use the slot.
                if let Some(slot) = self.slots.get_mut(*slot).filter(|slot| slot.withheld) {
                    slot.withheld = false;
                    wakes.add(slot.waker.take().map(Wakeup::Wake));
                }
            }
        }
    }

    /// Lets all callers take their results, because the session ends. Adds the wake-ups to `wakes`.
    pub(super) fn release_all(&mut self, wakes: &mut WakeList) {
        for (_, slot) in &mut self.slots {
            if mem::take(&mut slot.withheld) {
                wakes.add(slot.waker.take().map(Wakeup::Wake));
            }
        }
    }

    /// Copies old replies out of the buffers in which they were received. A reply is old if its
    /// caller has not taken it for several batches. Without the copy, each old reply could keep a
    /// whole buffer. Other replies are not copied. The driver calls this function for each batch.
    pub(super) fn detach_old_results(&mut self) {
        self.batches = (self.batches + 1) % DETACH_AFTER_BATCHES;
        if self.batches > 0 {
            return;
        }
        for (_, slot) in &mut self.slots {
            if let Some(CallResult::Reply(reply)) = &mut slot.result
                && !mem::replace(&mut slot.detached, true)
                && reply.len() < MAX_COPIED
            {
                *reply = Bytes::copy_from_slice(reply);
            }
        }
    }

    /// Releases unused memory.
    pub(super) fn shrink_to_fit(&mut self) {
        self.slots.shrink_to_fit();
    }
}

/// A received result that waits until earlier frames have been handled. The slot of a caller holds
/// its result. The result of a member is delivered when this value is dropped.
pub(crate) enum Withheld {
    Caller(usize),
    Member(Option<(MultiCallSlot, CallResult)>),
}

impl Drop for Withheld {
    fn drop(&mut self) {
        if let Self::Member(member) = self
            && let Some((member, result)) = member.take()
        {
            contain(|| member.complete(result));
        }
    }
}

impl WaitSlot {
    pub(super) fn has_result(&self) -> bool {
        self.result.is_some()
    }
}
