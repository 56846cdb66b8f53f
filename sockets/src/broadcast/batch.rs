//! Messages that a shard delivers together.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::{Members, log::LogEntry};
use sockets_proto::{Overflow, PREFIX, codec::SHARE_FROM};

/// Consecutive messages of the same method to the same members. If a member has received none of
/// these messages, its session queues all messages as a single buffer.
pub(crate) struct Batch<M> {
    entries: Vec<LogEntry<M>>,
    concatenated: Bytes,
    largest: usize,
}

impl<M> Batch<M> {
    pub(super) fn new(first: LogEntry<M>) -> Self {
        Self { entries: vec![first], concatenated: Bytes::new(), largest: 0 }
    }

    /// Adds an entry, or returns `false` if it needs another batch.
    pub(super) fn try_add(&mut self, entry: &LogEntry<M>) -> bool {
        let first = &self.entries[0];
        let accepts = first.message.is_alike(&entry.message)
            && Arc::ptr_eq(&first.members, &entry.members)
            // Large frames are shared separately, so that they are never copied.
            && first.message.frame().len().max(entry.message.frame().len()) < SHARE_FROM;
        if accepts {
            self.entries.push(entry.clone());
        }
        accepts
    }

    /// Prepares [`concatenated`](Self::concatenated), after the last entry has been added.
    pub(super) fn concatenate(&mut self) {
        if self.is_latest() {
            return;
        }
        self.largest = self.entries.iter().map(|entry| entry.message.frame().len() - PREFIX).max().unwrap_or(0);
        self.concatenated = match &self.entries[..] {
            [only] => only.message.frame().clone(),
            several => {
                let mut joined = BytesMut::with_capacity(several.iter().map(|entry| entry.message.frame().len()).sum());
                for entry in several {
                    joined.extend_from_slice(entry.message.frame());
                }
                joined.freeze()
            }
        };
    }

    /// Returns the number of messages.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn members(&self) -> &Members<M> {
        &self.entries[0].members
    }

    pub(crate) fn method(&self) -> Option<(u64, u64)> {
        self.entries[0].message.method()
    }

    pub(crate) fn is_volatile(&self) -> bool {
        self.entries[0].message.is_volatile()
    }

    /// Returns `true` if these messages replace older ones.
    pub(crate) fn is_latest(&self) -> bool {
        self.entries[0].message.latest().is_some()
    }

    pub(crate) fn overflow(&self) -> Overflow {
        self.entries[0].message.overflow()
    }

    pub(super) fn last_number(&self) -> u64 {
        self.entries[self.entries.len() - 1].message.number
    }

    /// Returns the entries after `cursor`.
    pub(super) fn since(&self, cursor: u64) -> &[LogEntry<M>] {
        &self.entries[self.entries.partition_point(|entry| entry.message.number <= cursor)..]
    }

    /// Returns all frames in a single buffer, and the length of the largest.
    pub(crate) fn concatenated(&self) -> (&Bytes, usize) {
        (&self.concatenated, self.largest)
    }
}
