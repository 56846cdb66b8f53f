//! Requests that local callers made and that have no reply yet.

use std::{collections::BTreeMap, time::Instant};

use bytes::Bytes;
use slab::Slab;

use super::frame::{CallId, FailureCode};

/// Width in bits of the generation, which is the lower part of a call's id. The generation
/// distinguishes successive calls in the same slot. Without a generation, a duplicate reply to an
/// old call could complete the next call in the slot.
const GENERATION_BITS: u32 = 6;

/// The result of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallResult {
    /// The payload of the reply.
    Reply(Bytes),
    /// The peer failed the call.
    Failure {
        /// The reason.
        code: FailureCode,
        /// A message for the caller; it may be empty.
        text: String,
    },
    /// The deadline passed locally.
    TimedOut,
    /// The window stayed exhausted while both peers waited for each other.
    Overloaded,
    /// The session ended before a reply arrived.
    Disconnected {
        /// `true` if the peer may have executed the call.
        maybe_executed: bool,
    },
}

/// A request that has no reply yet. The request keeps its id and its share of the window until the
/// reply arrives, even if the caller cancels the request. Otherwise another call could reuse the id
/// while the reply may still arrive.
struct Call<C> {
    id: CallId,
    /// The waiting caller. The field is `None` once the caller has received a result or has
    /// cancelled the call.
    consumer: Option<C>,
    deadline: Instant,
    /// The length of the frame as the window counts it.
    length: usize,
    /// `false` while the request waits in the queue of pending messages.
    sent: bool,
}

/// The table of calls, by slot.
pub(super) struct Calls<C> {
    slots: Slab<Call<C>>,
    /// The slots of requests to audiences. Their ids are not derived from a slot.
    shared: BTreeMap<u64, usize>,
    generation: u64,
    /// A time that is not later than the deadline of any waiting call. The time may be too early,
    /// because the end of a call does not update it. A time that is too early only causes an
    /// unnecessary scan of the table. A timer for each call would cost more.
    next_deadline: Option<Instant>,
}

impl<C> Calls<C> {
    pub(super) fn new() -> Self {
        Self { slots: Slab::new(), shared: BTreeMap::new(), generation: 0, next_deadline: None }
    }

    /// Returns the id of the next call that is not shared.
    #[inline]
    pub(super) fn next_id(&self) -> CallId {
        let generation = self.generation % (1 << GENERATION_BITS);
        CallId { number: (self.slots.vacant_key() as u64) << GENERATION_BITS | generation, shared: false }
    }

    /// Adds a call. `id` is [`next_id`](Self::next_id) or a shared id.
    #[inline]
    pub(super) fn insert(&mut self, id: CallId, consumer: C, deadline: Instant, length: usize, sent: bool) {
        self.generation += 1;
        let slot = self.slots.insert(Call { id, consumer: Some(consumer), deadline, length, sent });
        if id.shared {
            self.shared.insert(id.number, slot);
        }
        self.next_deadline = Some(self.next_deadline.map_or(deadline, |earliest| earliest.min(deadline)));
    }

    #[inline]
    fn slot(&self, id: CallId) -> Option<usize> {
        let slot = if id.shared {
            *self.shared.get(&id.number)?
        } else {
            usize::try_from(id.number >> GENERATION_BITS).ok()?
        };
        self.slots.get(slot).filter(|call| call.id == id).map(|_| slot)
    }

    /// Removes a call to which a reply has arrived. Returns the call's caller and the length of the
    /// call's frame. Returns `None` if no call with this id was sent.
    pub(super) fn complete(&mut self, id: CallId) -> Option<(Option<C>, usize)> {
        let slot = self.slot(id).filter(|slot| self.slots[*slot].sent)?;
        let call = self.remove(slot);
        Some((call.consumer, call.length))
    }

    fn remove(&mut self, slot: usize) -> Call<C> {
        let call = self.slots.remove(slot);
        if call.id.shared {
            self.shared.remove(&call.id.number);
        }
        call
    }

    /// Records that the call's frame has left the queue of pending messages.
    pub(super) fn mark_sent(&mut self, id: CallId) {
        if let Some(slot) = self.slot(id) {
            self.slots[slot].sent = true;
        }
    }

    /// Cancels a call. A call that was not sent is removed.
    pub(super) fn cancel(&mut self, id: CallId) -> Option<CancelledCall> {
        let slot = self.slot(id)?;
        let call = &mut self.slots[slot];
        if call.sent {
            call.consumer.take().map(|_| CancelledCall::Sent)
        } else {
            self.remove(slot);
            Some(CancelledCall::Pending)
        }
    }

    /// Removes a pending call and returns its caller.
    pub(super) fn take_pending(&mut self, id: CallId) -> Option<C> {
        let slot = self.slot(id).filter(|slot| !self.slots[*slot].sent)?;
        self.remove(slot).consumer
    }

    /// Returns the ids of the calls that have a waiting caller and a deadline that has passed. Also
    /// sets `next_deadline` to the earliest deadline of the remaining calls.
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<CallId> {
        if self.next_deadline.is_none_or(|earliest| now < earliest) {
            return Vec::new();
        }
        let waiting = || self.slots.iter().map(|(_, call)| call).filter(|call| call.consumer.is_some());
        let overdue = waiting().filter(|call| call.deadline <= now).map(|call| call.id).collect();
        self.next_deadline = waiting().filter(|call| call.deadline > now).map(|call| call.deadline).min();
        overdue
    }

    /// Takes the caller of an overdue call. The flag is `true` if the call was sent.
    pub(super) fn expire(&mut self, id: CallId) -> Option<(C, bool)> {
        let slot = self.slot(id)?;
        if self.slots[slot].sent {
            self.slots[slot].consumer.take().map(|consumer| (consumer, true))
        } else {
            self.remove(slot).consumer.map(|consumer| (consumer, false))
        }
    }

    #[inline]
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.next_deadline
    }

    /// Returns `true` if no caller waits.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.iter().all(|(_, call)| call.consumer.is_none())
    }

    /// Releases unused memory.
    pub(super) fn shrink(&mut self) {
        self.slots.shrink_to_fit();
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Removes all calls. The flag is `true` for each call that was sent.
    pub(super) fn drain(&mut self) -> Vec<(C, CallId, bool)> {
        self.shared = BTreeMap::new();
        let mut slots = std::mem::take(&mut self.slots);
        slots.drain().filter_map(|call| Some((call.consumer?, call.id, call.sent))).collect()
    }

    /// Removes the calls that were sent.
    pub(super) fn drain_sent(&mut self) -> Vec<(C, CallId, bool)> {
        let sent: Vec<_> = self.slots.iter().filter(|(_, call)| call.sent).map(|(slot, _)| slot).collect();
        let ended = sent.into_iter().map(|slot| self.remove(slot));
        ended.filter_map(|call| Some((call.consumer?, call.id, true))).collect()
    }
}

/// The consequence of a cancellation.
pub(super) enum CancelledCall {
    /// The peer has to receive a `Cancel`.
    Sent,
    /// The request has to leave the queue of pending messages.
    Pending,
}
