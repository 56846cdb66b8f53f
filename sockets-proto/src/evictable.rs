//! Pending emits that the queue may drop when a newer emit of the same method arrives.

use std::collections::VecDeque;

use super::{capacity::ReleaseUnused, pending::PendingMessage};

/// The queues of pending emits that may be dropped. Each method has a queue of its own. A list of
/// queues suffices, because few methods have an overflow policy that drops old emits.
#[derive(Default)]
pub(super) struct EvictableQueue(Vec<(u64, VecDeque<PendingMessage>)>);

impl EvictableQueue {
    pub(super) fn push(&mut self, key: u64, message: PendingMessage) {
        match self.of(key) {
            Some(messages) => messages.push_back(message),
            None => self.0.push((key, VecDeque::from([message]))),
        }
    }

    fn of(&mut self, key: u64) -> Option<&mut VecDeque<PendingMessage>> {
        self.0.iter_mut().find(|(this, _)| *this == key).map(|(_, messages)| messages)
    }

    /// Returns the oldest message of all methods.
    pub(super) fn first(&self) -> Option<&PendingMessage> {
        self.0.iter().filter_map(|(_, messages)| messages.front()).min_by_key(|first| first.number)
    }

    pub(super) fn last(&self) -> Option<&PendingMessage> {
        self.0.iter().filter_map(|(_, messages)| messages.back()).max_by_key(|last| last.number)
    }

    pub(super) fn pop_first(&mut self) -> Option<PendingMessage> {
        let fronts = self.0.iter_mut().filter(|(_, messages)| !messages.is_empty());
        let first = fronts.min_by_key(|(_, messages)| messages.front().map(|first| first.number))?.1.pop_front();
        self.release_unused();
        first
    }

    /// Removes the oldest message of a method.
    pub(super) fn pop_oldest_of(&mut self, key: u64) -> Option<PendingMessage> {
        let oldest = self.pop_oldest(key);
        self.release_unused();
        oldest
    }

    fn pop_oldest(&mut self, key: u64) -> Option<PendingMessage> {
        self.of(key)?.pop_front()
    }

    /// Removes the queues of methods without messages.
    fn release_unused(&mut self) {
        self.0.retain(|(_, messages)| !messages.is_empty());
        self.0.iter_mut().for_each(|(_, messages)| messages.release_unused());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
