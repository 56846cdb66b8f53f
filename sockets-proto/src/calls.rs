//! The requests that this side has made and that have not been answered.

use std::{collections::HashMap, time::Instant};

use bytes::Bytes;
use slab::Slab;

use super::frame::{CallId, FailureCode};

/// A slot's id carries this many bits of a count of calls, so that an answer that comes twice does not meet the next
/// call in its slot.
const GENERATION_BITS: u32 = 6;

/// How a request ended.
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
    /// The deadline passed on this side.
    TimedOut,
    /// No window space became free while both peers waited for each other.
    Overloaded,
    /// The session ended before a reply arrived.
    Disconnected {
        /// Whether the peer may have executed the call.
        maybe_executed: bool,
    },
}

/// A request without an answer. It keeps its id, and its place in the window, until the answer comes, even when its
/// caller has given up: so no answer can come late.
struct Call<C> {
    id: CallId,
    /// Who waits; `None` once they have been told or have given up.
    consumer: Option<C>,
    deadline: Instant,
    /// The frame's length, as the window counts it.
    length: usize,
    /// Whether it has left the queue of parked messages.
    sent: bool,
}

/// The table of calls, by slot.
pub(super) struct Calls<C> {
    slots: Slab<Call<C>>,
    /// The slots of requests to audiences, whose ids are not ours to choose.
    shared: HashMap<u64, usize>,
    generation: u64,
    /// No deadline is earlier. It may be stale, which costs a look at the table and not a timer per call.
    next_deadline: Option<Instant>,
}

impl<C> Calls<C> {
    pub(super) fn new() -> Self {
        Self { slots: Slab::new(), shared: HashMap::new(), generation: 0, next_deadline: None }
    }

    /// The id that the next call of our own is going to have.
    #[inline]
    pub(super) fn next_id(&self) -> CallId {
        let generation = self.generation % (1 << GENERATION_BITS);
        CallId { number: (self.slots.vacant_key() as u64) << GENERATION_BITS | generation, shared: false }
    }

    /// Adds a call. `id` is [`next_id`](Self::next_id), or a shared one.
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

    /// Removes an answered call, and gives who waits for it and how long its frame was. `None` if no such call was sent.
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

    /// The call's frame leaves the parked ones.
    pub(super) fn mark_sent(&mut self, id: CallId) {
        if let Some(slot) = self.slot(id) {
            self.slots[slot].sent = true;
        }
    }

    /// Its caller gives up. A call that was not sent is forgotten; `true` if the other side has to be told.
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

    /// Takes a parked call out, to tell its caller.
    pub(super) fn take_pending(&mut self, id: CallId) -> Option<C> {
        let slot = self.slot(id).filter(|slot| !self.slots[*slot].sent)?;
        self.remove(slot).consumer
    }

    /// The ids of calls whose deadline has passed and whose callers wait, after which `earliest` is exact.
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<CallId> {
        if self.next_deadline.is_none_or(|earliest| now < earliest) {
            return Vec::new();
        }
        let waiting = || self.slots.iter().map(|(_, call)| call).filter(|call| call.consumer.is_some());
        let overdue = waiting().filter(|call| call.deadline <= now).map(|call| call.id).collect();
        self.next_deadline = waiting().filter(|call| call.deadline > now).map(|call| call.deadline).min();
        overdue
    }

    /// Takes the consumer of an overdue call; whether it was sent comes with it.
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

    /// Whether any caller waits.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.iter().all(|(_, call)| call.consumer.is_none())
    }

    /// Releases memory that no call needs now.
    pub(super) fn shrink(&mut self) {
        self.slots.shrink_to_fit();
        self.shared.shrink_to_fit();
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Ends all calls, with whether each has been sent.
    pub(super) fn drain(&mut self) -> Vec<(C, CallId, bool)> {
        self.shared = HashMap::new();
        let mut slots = std::mem::take(&mut self.slots);
        slots.drain().filter_map(|call| Some((call.consumer?, call.id, call.sent))).collect()
    }

    /// Ends the calls that have been sent.
    pub(super) fn drain_sent(&mut self) -> Vec<(C, CallId, bool)> {
        let sent: Vec<_> = self.slots.iter().filter(|(_, call)| call.sent).map(|(slot, _)| slot).collect();
        let ended = sent.into_iter().map(|slot| self.remove(slot));
        ended.filter_map(|call| Some((call.consumer?, call.id, true))).collect()
    }
}

/// What has to happen when a caller gives up.
pub(super) enum CancelledCall {
    /// Tell the other side.
    Sent,
    /// Take it out of the parked messages.
    Pending,
}
